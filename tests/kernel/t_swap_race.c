/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap when things go wrong or happen at the same time: the gate (t_swap_util.c) fails requests, or
 * holds them back until the other side has done what it should not disturb.
 */
#include "tests/kernel/t_swap.h"

#include "kernel/clock.h"
#include "kernel/lib/errno.h"
#include "kernel/thread.h"
#include "tests/kernel/t_vm.h"
#include "vm/pmap.h"
#include "vm/swap_map.h"
#include "vm/swap_pager.h"
#include "vm/vm_check.h"
#include "vm/vm_fault.h"
#include "vm/vm_laundry.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_swapout.h"
#include "vm/vm_torture.h"

#define SIGBUS	7
#define SIGKILL	9

/* ---- errors ---- */

KTEST(swap, read_error_is_sigbus_for_its_owner_alone)
{
	struct space owner, other;
	uint64_t value;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&owner, 4) && space_make(&other, 4));
	for (uint32_t i = 0; i < 4; i++) {
		CHECK_EQ(space_write(&owner, i, 100 + i), 0);
		CHECK_EQ(space_write(&other, i, 200 + i), 0);
	}
	CHECK_EQ(space_swapout(&owner), 4);
	CHECK_EQ(space_swapout(&other), 4);
	gate_fail_reads(2, 0);				/* the cluster, and the page alone */
	CHECK_EQ(space_read(&owner, 1, &value), EFAULT);
	CHECK_EQ(curthread->fault.signo, SIGBUS);
	for (uint32_t i = 0; i < 4; i++)
		space_holds(&other, i, 200 + i);
	/* Not for ever: the block is still there, and the disk may be better now. */
	for (uint32_t i = 0; i < 4; i++)
		space_holds(&owner, i, 100 + i);
	space_free(&owner);
	space_free(&other);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

KTEST(swap, error_in_a_neighbour_does_not_fail_the_page)
{
	struct space s;
	uint64_t value;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&s, 8));
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(space_write(&s, i, 300 + i), 0);
	CHECK_EQ(space_swapout(&s), 8);
	gate_fail_reads(100, 6);			/* blocks 1 to 8: page 5 of the object */
	space_holds(&s, 2, 302);
	CHECK_EQ(space_read(&s, 5, &value), EFAULT);
	CHECK_EQ(curthread->fault.signo, SIGBUS);
	CHECK_EQ(swap_off(), EIO);			/* it cannot come back, so swap stays */
	gate_fail_reads(0, 0);
	for (uint32_t i = 0; i < 8; i++)
		space_holds(&s, i, 300 + i);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

KTEST(swap, write_error_leaves_the_page_dirty)
{
	struct space s;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&s, 8));
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(space_write(&s, i, 400 + i), 0);
	gate_fail_writes(1);
	CHECK_EQ(space_swapout(&s), 0);
	CHECK_EQ(swap_inuse(), 0);
	for (uint32_t i = 0; i < 8; i++)
		space_holds(&s, i, 400 + i);
	CHECK_EQ(space_swapout(&s), 8);
	for (uint32_t i = 0; i < 8; i++)
		space_holds(&s, i, 400 + i);
	space_free(&s);
	gate_end();
}

/* ---- at the same time ---- */

static struct {
	struct space	*space;
	uint32_t	 page;
	bool		 store;
	volatile int	 done;
	int		 error;
	uint64_t	 value;
} toucher[2];

static void
touch_thread(void *arg)
{
	int i = (int)(uintptr_t)arg;

	if (toucher[i].store)
		toucher[i].error = space_write(toucher[i].space, toucher[i].page, toucher[i].value);
	else
		toucher[i].error = space_read(toucher[i].space, toucher[i].page, &toucher[i].value);
	toucher[i].done = 1;
}

static struct thread *
touch_start(int i, struct space *s, uint32_t page, bool store, uint64_t value)
{
	toucher[i].space = s;
	toucher[i].page = page;
	toucher[i].store = store;
	toucher[i].value = value;
	toucher[i].done = 0;
	return (thread_create("toucher", PRI_KERNEL, touch_thread, (void *)(uintptr_t)i));
}

static void
touch_end(struct thread *td)
{
	swap_gate_hold(false);
	while (swap_gate_release())
		;
	thread_join(td);
}

static void
let_others_run(void)
{
	tsleep(&toucher, NULL, "letrun", HZ / 10);
}

/* One page, swapped out; `held`: and being read by toucher 0. */
static struct thread *
page_being_read(struct space *s, uint32_t npages)
{
	struct thread *td;

	CHECK(space_make(s, npages));
	for (uint32_t i = 0; i < npages; i++)
		CHECK_EQ(space_write(s, i, 500 + i), 0);
	space_swapout(s);
	CHECK_EQ(swap_inuse(), npages);
	swap_gate_hold(true);
	td = touch_start(0, s, 0, false, 0);
	CHECK(gate_wait_for_one());
	return (td);
}

KTEST(swap, two_faulters_one_read)
{
	uint64_t ins = VMCNT_GET(v_swapin);
	struct thread *a, *b;
	struct space s;

	if (!gate_begin(0))
		return;
	a = page_being_read(&s, 1);
	b = touch_start(1, &s, 0, false, 0);
	CHECK(wait_asleep(b, "vmpfw"));
	CHECK(!toucher[0].done && !toucher[1].done);
	touch_end(a);
	thread_join(b);
	CHECK_EQ(VMCNT_GET(v_swapin) - ins, 1);
	CHECK_EQ(toucher[0].value, 500);
	CHECK_EQ(toucher[1].value, 500);
	space_free(&s);
	gate_end();
}

KTEST(swap, unmapped_while_being_read)
{
	struct thread *td;
	struct space s;

	if (!gate_begin(0))
		return;
	td = page_being_read(&s, 40);
	/*
	 * The rest of the map changes, so the fault must look again; the page itself stays.
	 * (munmap would wait for what is being read.)
	 */
	CHECK_EQ(vm_munmap(s.vm, s.base + 32 * PAGE_SIZE, 8 * PAGE_SIZE), 0);
	touch_end(td);
	CHECK_EQ(toucher[0].error, 0);
	CHECK_EQ(toucher[0].value, 500);
	space_holds(&s, 1, 501);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

/*
 * The range is given up under a read: what comes from the disk is nobody's, and the page is one of
 * zeros.
 */
KTEST(swap, block_freed_while_being_read)
{
	struct vm_object *object;
	struct thread *td;
	struct space s;

	if (!gate_begin(0))
		return;
	td = page_being_read(&s, 1);
	object = space_object(&s);
	vm_object_lock(object);
	swap_pager_freespace(object, 0, 1);
	vm_object_unlock(object);
	vm_object_deallocate(object);
	touch_end(td);
	CHECK_EQ(toucher[0].error, 0);
	CHECK_EQ(toucher[0].value, 0);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

KTEST(swap, pager_says_fail_where_it_has_nothing)
{
	struct vm_object *object = vm_object_allocate(OBJT_SWAP, 4);
	int before, after;
	struct vm_page *m;

	vm_object_lock(object);
	vm_object_pip_add(object, 1);
	m = vm_page_alloc(object, 2, VM_ALLOC_NORMAL);
	vm_object_unlock(object);
	CHECK_OR_RETURN(m != NULL);
	CHECK_EQ(vm_pager_has_page(object, 2, &before, &after), PAGER_HAS_NOT);
	CHECK_EQ(vm_pager_get_pages(object, &m, 1, 0), VM_PAGER_FAIL);
	vm_object_lock(object);
	vm_page_free(m);
	vm_object_pip_wakeup(object);
	vm_object_unlock(object);
	vm_object_deallocate(object);
}

static void
swapout_thread(void *arg)
{
	space_swapout(arg);
	toucher[0].done = 1;
}

/* A store waits until the page is on disk, and the block of what was written is given back. */
KTEST(swap, store_during_the_write)
{
	struct thread *out, *store;
	struct vm_object *object;
	struct vm_page *m;
	struct space s;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&s, 2));
	CHECK_EQ(space_write(&s, 0, 600), 0);
	CHECK_EQ(space_write(&s, 1, 601), 0);
	swap_gate_hold(true);
	toucher[0].done = 0;
	out = thread_create("swapper", PRI_KERNEL, swapout_thread, &s);
	CHECK(gate_wait_for_one());
	/* Reclaim has no business with a page that is on its way. */
	object = space_object(&s);
	vm_object_lock(object);
	m = vm_page_lookup(object, 0);
	vm_object_unlock(object);
	vm_object_deallocate(object);
	vm_pageout_evict(m);
	CHECK(vm_page_sbusied(m));
	store = touch_start(1, &s, 0, true, 666);
	CHECK(wait_asleep(store, "vmpfw"));
	CHECK(!toucher[1].done);
	touch_end(out);
	thread_join(store);
	CHECK_EQ(toucher[1].error, 0);
	space_holds(&s, 0, 666);
	CHECK_EQ(swap_inuse(), 1);
	space_holds(&s, 1, 601);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

/* The last reference goes while the page is on its way: the end waits, and frees the block. */
KTEST(swap, process_ends_during_the_write)
{
	struct vm_object *object;
	struct thread *out;
	struct space s;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&s, 4));
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(space_write(&s, i, i), 0);
	object = space_object(&s);
	vm_object_lock(object);
	for (struct vm_page *m = vm_page_find_least(object, 0); m != NULL; m = vm_page_next(m)) {
		pmap_remove_all(m);
		vm_page_launder(m);
	}
	vm_object_unlock(object);
	vm_object_deallocate(object);
	swap_gate_hold(true);
	toucher[0].done = 0;
	out = thread_create("swapper", PRI_KERNEL, swapout_thread, &s);
	CHECK(gate_wait_for_one());
	swap_gate_hold(false);
	let_others_run();
	while (swap_gate_release())
		;
	thread_join(out);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

/*
 * While the lower object is being written, a collapse is refused; the next store on the chain makes
 * up for it.
 */
KTEST(swap, collapse_waits_for_the_write)
{
	uint64_t collapses = VMCNT_GET(v_collapses);
	struct space parent, child;
	struct thread *out;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&parent, 10));
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(space_write(&parent, i, 700 + i), 0);
	CHECK_OR_RETURN(space_fork(&parent, &child));
	CHECK_EQ(space_write(&parent, 0, 1), 0);
	swap_gate_hold(true);
	toucher[0].done = 0;
	out = thread_create("swapper", PRI_KERNEL, swapout_thread, &child);
	CHECK(gate_wait_for_one());
	/* a fresh page: this store tries to collapse */
	CHECK_EQ(space_write(&parent, 9, 2), 0);
	CHECK_EQ(VMCNT_GET(v_collapses), collapses);
	touch_end(out);
	space_free(&child);
	CHECK_EQ(space_write(&parent, 1, 3), 0);
	CHECK_EQ(VMCNT_GET(v_collapses) - collapses, 1);
	space_holds(&parent, 0, 1);
	space_holds(&parent, 9, 2);
	space_holds(&parent, 1, 3);
	space_holds(&parent, 7, 707);
	vm_check();
	space_free(&parent);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

/*
 * A page that somebody holds cannot move up; when it is let go, the next store on the chain makes
 * up for it.
 */
KTEST(swap, collapse_waits_for_a_held_page)
{
	uint64_t collapses = VMCNT_GET(v_collapses);
	struct space parent, child;
	struct vm_page *held;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&parent, 10));
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(space_write(&parent, i, 800 + i), 0);
	space_swapout(&parent);
	CHECK_OR_RETURN(space_fork(&parent, &child));
	CHECK_EQ(space_write(&parent, 0, 1), 0);
	CHECK_EQ(vm_fault(&child.vm->map, child.base + 5 * PAGE_SIZE, VM_PROT_READ, VM_FAULT_HOLD, &held), KERN_SUCCESS);
	space_free(&child);
	CHECK_EQ(VMCNT_GET(v_collapses), collapses);
	vm_check();
	vm_page_unwire(held, PQ_ACTIVE);
	CHECK_EQ(space_write(&parent, 9, 2), 0);
	CHECK_EQ(VMCNT_GET(v_collapses) - collapses, 1);
	for (uint32_t i = 1; i < 8; i++)
		space_holds(&parent, i, 800 + i);
	space_free(&parent);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

/*
 * The map is locked by somebody when the read is over: the fault lets go, and finds the page in
 * memory the second time.
 */
KTEST(swap, map_busy_after_the_read)
{
	uint64_t ins = VMCNT_GET(v_swapin);
	struct thread *td;
	struct space s;

	if (!gate_begin(0))
		return;
	td = page_being_read(&s, 1);
	vm_map_lock(&s.vm->map);
	swap_gate_hold(false);
	CHECK(swap_gate_release());
	CHECK(wait_asleep(td, "map"));		/* the page is read by now: this is the second try */
	CHECK(!toucher[0].done);
	vm_map_unlock(&s.vm->map);
	thread_join(td);
	CHECK_EQ(toucher[0].value, 500);
	CHECK_EQ(VMCNT_GET(v_swapin) - ins, 1);
	space_free(&s);
	gate_end();
}

/* ---- no memory left ---- */

/* All free pages that an ordinary allocation gets, as a list through pindex. */
static struct vm_page *
take_free_pages(void)
{
	struct vm_page *list = NULL, *m;

	while ((m = vm_page_alloc(NULL, 0, VM_ALLOC_NORMAL | VM_ALLOC_WIRED)) != NULL) {
		m->pindex = (uintptr_t)list;
		list = m;
	}
	return (list);
}

static void
give_pages_back(struct vm_page *list)
{
	while (list != NULL) {
		struct vm_page *next = (struct vm_page *)(uintptr_t)list->pindex;

		vm_page_free(list);
		list = next;
	}
}

static void
queue_for_laundry(struct vm_object *object, vm_pindex_t pindex, bool referenced)
{
	struct vm_page *m;

	vm_object_lock(object);
	m = vm_page_lookup(object, pindex);
	if (m != NULL) {
		(void)pmap_ts_referenced(m);
		vm_page_flag_clear(m, PG_REFERENCED);
		if (referenced)
			vm_page_reference(m);
		vm_page_launder(m);
	}
	vm_object_unlock(object);
	vm_laundry_wakeup();
}

/*
 * The thread meets a locked object, a page that was used meanwhile, and memory that is no longer
 * short when the write is over.
 */
KTEST_COUNTING(swap, swapout_thread_passes_over_what_it_should)
{
	struct vm_object *object;
	struct vm_page *list, *m;
	struct space s;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&s, 40));
	for (uint32_t i = 0; i < 40; i++)
		CHECK_EQ(space_write(&s, i, 1100 + i), 0);
	object = space_object(&s);
	vm_pageout_freeze(true);	/* it would have all of them written before we ask */
	vm_object_lock(object);
	m = vm_page_lookup(object, 39);
	list = take_free_pages();
	if (m != NULL) {
		vm_page_launder(m);
		vm_swapout_page(m);
		vm_pageout_evict(m);
		vm_laundry_wakeup();
		let_others_run();
		CHECK(vm_page_lookup(object, 39) == m && m->object == object);
	}
	vm_object_unlock(object);
	queue_for_laundry(object, 3, true);
	let_others_run();
	swap_gate_hold(true);
	for (vm_pindex_t i = 0; i < 40; i += 10)
		queue_for_laundry(object, i, false);
	CHECK(gate_wait_for_one());
	give_pages_back(list);
	vm_pageout_freeze(false);
	swap_gate_hold(false);
	while (swap_gate_release())
		;
	let_others_run();
	for (uint32_t i = 0; i < 40; i++)
		space_holds(&s, i, 1100 + i);
	vm_object_deallocate(object);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

static void
swapoff_thread(void *arg)
{
	toucher[0].error = swap_off();
	toucher[0].done = 1;
}

KTEST(swap, swapoff_waits_for_memory)
{
	struct vm_page *list;
	struct thread *td;
	struct space s;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&s, 60));
	for (uint32_t i = 0; i < 60; i++)
		CHECK_EQ(space_write(&s, i, 900 + i), 0);
	space_swapout(&s);
	swap_gate_hold(true);
	toucher[0].done = 0;
	td = thread_create("swapoff", PRI_KERNEL, swapoff_thread, NULL);
	CHECK(gate_wait_for_one());
	list = take_free_pages();
	swap_gate_hold(false);
	CHECK(swap_gate_release());
	let_others_run();
	CHECK(!toucher[0].done);
	give_pages_back(list);
	thread_join(td);
	CHECK_EQ(toucher[0].error, 0);
	CHECK_EQ(swap_on(gate_disk()), 0);
	for (uint32_t i = 0; i < 60; i++)
		space_holds(&s, i, 900 + i);
	space_free(&s);
	gate_end();
}

/*
 * The books need memory, too: first the reserve, then the page-out is put off, and a collapse is
 * refused until there is some again.
 */
KTEST(swap, no_memory_for_the_books)
{
	uint64_t collapses = VMCNT_GET(v_collapses);
	struct space parent, child;
	struct swap_info info;
	const uint32_t n = 40;

	if (vm_torture) {
		ktest_skip("in the torture mode everything is swapped out before memory gets short");
		return;
	}
	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&parent, 16 * n + 1));
	for (uint32_t i = 0; i < n; i++)		/* one page for each chunk */
		CHECK_EQ(space_write(&parent, 16 * i, 1000 + i), 0);
	swap_info(&info);
	CHECK(info.reserve > 0 && info.reserve < n);
	swap_map_starve = true;
	CHECK_EQ(space_swapout(&parent), info.reserve);
	CHECK_EQ(swap_inuse(), info.reserve);
	vm_check();
	CHECK_OR_RETURN(space_fork(&parent, &child));
	CHECK_EQ(space_write(&parent, 16 * n, 1), 0);
	space_free(&child);				/* would collapse, had it chunks */
	CHECK_EQ(VMCNT_GET(v_collapses), collapses);
	vm_check();
	swap_map_starve = false;
	for (uint32_t i = 0; i < n; i++)
		space_holds(&parent, 16 * i, 1000 + i);
	CHECK_EQ(space_write(&parent, 1, 2), 0);
	CHECK_EQ(VMCNT_GET(v_collapses) - collapses, 1);
	for (uint32_t i = 0; i < n; i++)
		space_holds(&parent, 16 * i, 1000 + i);
	space_free(&parent);
	CHECK_EQ(swap_inuse(), 0);
	swap_info(&info);
	CHECK(info.reserve > 0);
	gate_end();
}

KTEST(swap, out_of_memory_fails_the_fault_and_nothing_else)
{
	uint32_t n = vm_page_count + 1000, at = 0, free_before = vm_free_count();
	struct space s, small;
	int error = 0;

	if (vm_page_count > 32 * MiB / PAGE_SIZE) {
		ktest_skip("only with up to 32 MiB of memory");
		return;
	}
	if (!gate_begin(64))
		return;
	CHECK_OR_RETURN(space_make(&s, n) && space_make(&small, 4));
	CHECK_EQ(space_write(&small, 0, 42), 0);
	while (at < n && (error = space_write(&s, at, at)) == 0)
		at++;
	CHECK_EQ(error, EFAULT);
	CHECK_EQ(curthread->fault.signo, SIGKILL);
	CHECK(at > free_before / 2);
	/*
	 * The victim lets go of its memory, and everybody else goes on, also where a page has to
	 * come from the full disk.
	 */
	space_free(&s);
	space_holds(&small, 0, 42);
	CHECK_EQ(space_write(&small, 1, 43), 0);
	space_free(&small);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}
