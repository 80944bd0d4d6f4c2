/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens to an address space while a fault in it waits for its pager.
 *
 * The map is unlocked during the wait, so anything may change: the mapping goes, changes its
 * protection, becomes another one, is forked.  Afterwards the fault must notice (by the map's time
 * stamp), start again, and end as the new state says.  The pager here is a gate that the test
 * opens.
 */
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"
#include "vm/vm_pager.h"

#define GATED	3		/* the pager waits at the gate with this page only */

static struct {
	struct spinlock	lock;
	bool		shut;	/* lock */
	int		calls;
} gate = { .lock = SPINLOCK_INITIALIZER("t-gate", RANK_NONE) };

static void
gate_open(void)
{
	spin_lock(&gate.lock);
	gate.shut = false;
	wakeup(&gate);
	spin_unlock(&gate.lock);
}

/* Page i is full of 0x80 + i. */
static int
gate_getpages(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	struct vm_page *req = m[reqpage];

	CHECK_EQ(count, 1);
	spin_lock(&gate.lock);
	gate.calls++;
	while (gate.shut && req->pindex == GATED)
		tsleep(&gate, &gate.lock.lk, "t-gate", 0);
	spin_unlock(&gate.lock);
	memset(VM_PAGE_TO_DMAP(req), 0x80 + (int)req->pindex, PAGE_SIZE);
	vm_page_flag_clear(req, PG_ZERO);
	req->valid = VM_PAGE_BITS_ALL;
	return (VM_PAGER_OK);
}

static enum vm_pager_has
gate_haspage(struct vm_object *object, vm_pindex_t pindex, int *before, int *after)
{
	return (PAGER_HAS);
}

static void
gate_dealloc(struct vm_object *object)
{
}

static const struct pagerops gate_ops = {
	.pgo_getpages = gate_getpages, .pgo_haspage = gate_haspage, .pgo_dealloc = gate_dealloc
};

/* An access by another thread, on its way or done. */
struct access {
	struct vmspace	*vm;
	bool		 write;
	int		 result;
	struct fault_info why;
	struct thread	*td;
};

static void
access_thread(void *arg)
{
	struct access *a = arg;

	a->result = a->write ? put(a->vm, AT(GATED), 0x11) : get(a->vm, AT(GATED));
	a->why = curthread->fault;
}

/* An eight-page mapping of a gated object, and a thread that waits for page GATED of it. */
static struct vm_object *
access_start(struct access *a, bool write, int cow)
{
	struct vm_object *object = vm_object_allocate(OBJT_TEST, 8);

	pagertab[OBJT_TEST] = &gate_ops;
	gate.shut = true;
	gate.calls = 0;
	*a = (struct access){ .vm = vmspace_alloc(), .write = write };
	map_object(a->vm, object, 0, 0, 8, RW, cow);
	a->td = thread_create("t-access", PRI_KERNEL, access_thread, a);
	CHECK(wait_asleep(a->td, "t-gate"));
	CHECK_EQ(gate.calls, 1);
	return (object);
}

static void
access_finish(struct access *a)
{
	gate_open();
	thread_join(a->td);
}

static void
access_end(struct access *a, struct vm_object *object)
{
	vm_check();
	vmspace_free(a->vm);
	if (object != NULL)
		vm_object_deallocate(object);
	pagertab[OBJT_TEST] = NULL;
}

KTEST(fault, nothing_is_done_twice_when_nothing_changed)
{
	uint64_t restarts = VMCNT_GET(v_restarts);
	struct access a;
	struct vm_object *object = access_start(&a, false, 0);

	CHECK_EQ(object->paging_in_progress, 1);
	/* Others go on meanwhile, in the same map, at other pages of the same object. */
	CHECK_EQ(get(a.vm, AT(5)), 0x85);
	access_finish(&a);
	CHECK_EQ(a.result, 0x80 + GATED);
	CHECK_EQ(gate.calls, 2);
	CHECK_EQ(VMCNT_GET(v_restarts), restarts);
	CHECK_EQ(object->paging_in_progress, 0);
	access_end(&a, object);
}

KTEST(fault, change_elsewhere_in_the_map_costs_a_second_look)
{
	uint64_t restarts = VMCNT_GET(v_restarts);
	struct access a;
	struct vm_object *object = access_start(&a, false, 0);

	map_anonymous(a.vm, 100, 1, MAP_PRIVATE);
	access_finish(&a);
	CHECK_EQ(a.result, 0x80 + GATED);
	CHECK_EQ(VMCNT_GET(v_restarts), restarts + 1);
	CHECK_EQ(gate.calls, 1);			/* the page had come and was there */
	access_end(&a, object);
}

KTEST(fault, unmapped_while_waiting_is_a_fault_and_no_hang)
{
	struct access a;
	struct vm_object *object = access_start(&a, false, 0);

	CHECK_EQ(vm_munmap(a.vm, AT(0), 8 * PAGE_SIZE), 0);
	access_finish(&a);
	CHECK_EQ(a.result, -14);
	CHECK_EQ(a.why.signo, 11);
	CHECK_EQ(a.why.code, 1);
	CHECK_EQ(a.why.addr, AT(GATED));
	CHECK(mapped_page(a.vm, AT(GATED)) == NULL);
	CHECK(vt_page(object, GATED) != NULL);	/* what was read is not thrown away */
	access_end(&a, object);
}

static void
unmap_thread(void *arg)
{
	struct access *a = arg;

	CHECK_EQ(vm_munmap(a->vm, AT(0), 8 * PAGE_SIZE), 0);
}

/* The mapping that goes was the object's last reference: its end waits for the pager. */
KTEST(fault, object_of_a_waiting_fault_ends_after_it)
{
	uint64_t objects = vm_object_count();
	struct access a;
	struct vm_object *object = access_start(&a, false, 0);
	struct thread *td;

	vm_object_deallocate(object);
	td = thread_create("t-unmap", PRI_KERNEL, unmap_thread, &a);
	CHECK(wait_asleep(td, "objtrm"));
	CHECK_EQ(vm_object_count(), objects + 1);
	access_finish(&a);
	thread_join(td);
	CHECK_EQ(a.result, -14);
	CHECK_EQ(a.why.code, 1);
	CHECK_EQ(vm_object_count(), objects);
	access_end(&a, NULL);
}

KTEST(fault, protected_while_waiting_is_refused)
{
	struct access a;
	struct vm_object *object = access_start(&a, true, 0);

	CHECK_EQ(vm_map_protect(&a.vm->map, AT(GATED), AT(GATED + 1), RO), KERN_SUCCESS);
	access_finish(&a);
	CHECK_EQ(a.result, 14);
	CHECK_EQ(a.why.signo, 11);
	CHECK_EQ(a.why.code, 2);
	CHECK_EQ(get(a.vm, AT(GATED)), 0x80 + GATED);
	access_end(&a, object);
}

KTEST(fault, replaced_while_waiting_gives_the_new_mapping)
{
	struct access a;
	struct vm_object *object = access_start(&a, false, 0);

	map_anonymous(a.vm, 0, 8, MAP_PRIVATE);
	CHECK_EQ(put(a.vm, AT(GATED), 0x77), 0);
	access_finish(&a);
	CHECK_EQ(a.result, 0x77);
	access_end(&a, object);
}

/*
 * A private write waits for the page that it will copy; meanwhile the space is forked.  The child
 * must not get the write.
 */
KTEST(fault, forked_while_a_private_write_waits)
{
	uint64_t copies = VMCNT_GET(v_cow_faults);
	struct vmspace *child;
	struct access a;
	struct vm_object *object = access_start(&a, true, MAP_COPY_ON_WRITE);

	child = vmspace_fork(a.vm);
	CHECK(child != NULL);
	access_finish(&a);
	CHECK_EQ(a.result, 0);
	CHECK(VMCNT_GET(v_cow_faults) > copies);
	CHECK_EQ(get(a.vm, AT(GATED)), 0x11);
	CHECK_EQ(get(a.vm, AT(GATED) + 1), 0x80 + GATED);
	CHECK_EQ(get(child, AT(GATED)), 0x80 + GATED);
	CHECK_EQ(gate.calls, 1);
	vmspace_free(child);
	CHECK_EQ(get(a.vm, AT(GATED)), 0x11);
	access_end(&a, object);
}

/*
 * Two write faults at one private page: the second waits for the first one's placeholder, and both
 * see one copy.
 */
KTEST(fault, second_writer_waits_for_the_first_ones_copy)
{
	uint64_t copies = VMCNT_GET(v_cow_faults);
	struct access a, b = { .write = true };
	struct vm_object *object = access_start(&a, true, MAP_COPY_ON_WRITE);

	b.vm = a.vm;
	b.td = thread_create("t-second", PRI_KERNEL, access_thread, &b);
	CHECK(wait_asleep(b.td, "vmpfw"));
	access_finish(&a);
	thread_join(b.td);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	CHECK_EQ(VMCNT_GET(v_cow_faults), copies + 1);
	CHECK_EQ(gate.calls, 1);
	access_end(&a, object);
}

/* A collapse under a fault that is on its way down the chain would pull the chain away under it. */
KTEST(fault, chain_is_not_collapsed_while_a_fault_is_in_it)
{
	struct vm_object *bottom, *top, *middle;
	uint64_t collapses = VMCNT_GET(v_collapses);
	vm_ooffset_t offset = 0;
	struct access a;

	pagertab[OBJT_TEST] = &gate_ops;
	gate.shut = true;
	gate.calls = 0;
	bottom = top = vm_object_allocate(OBJT_TEST, 8);
	vm_object_shadow(&top, &offset, 8 * PAGE_SIZE);
	middle = top;
	vm_object_shadow(&top, &offset, 8 * PAGE_SIZE);
	(void)page_make(middle, 0, 1);
	a = (struct access){ .vm = vmspace_alloc(), .write = true };
	map_object(a.vm, top, 0, 0, 8, RW, 0);
	vm_object_deallocate(top);
	a.td = thread_create("t-access", PRI_KERNEL, access_thread, &a);
	CHECK(wait_asleep(a.td, "t-gate"));
	vm_object_lock(top);
	CHECK(top->paging_in_progress > 0);
	vm_object_collapse(top);
	vm_object_unlock(top);
	CHECK(top->backing_object == middle && middle->backing_object == bottom);
	CHECK_EQ(VMCNT_GET(v_collapses), collapses);
	/* A write elsewhere may not, either. */
	CHECK_EQ(put(a.vm, AT(0), 2), 0);
	CHECK(top->backing_object == middle);
	access_finish(&a);
	CHECK_EQ(a.result, 0);
	/* The fault that was in the way does it itself when it is done. */
	CHECK_EQ(VMCNT_GET(v_collapses), collapses + 1);
	CHECK(object_at(a.vm, AT(0)) == top && top->backing_object == bottom);
	CHECK_EQ(get(a.vm, AT(0)), 2);
	CHECK_EQ(get(a.vm, AT(GATED)), 0x11);
	CHECK_EQ(get(a.vm, AT(7)), 0x87);
	access_end(&a, NULL);
}

/* ---- a vnode, and then the map, in somebody else's hands ---- */

static volatile bool map_wanted;

static void
hold_map(void *arg)
{
	struct vmspace *vm = arg;

	vm_map_lock(&vm->map);
	while (map_wanted)
		(void)tsleep((const void *)&map_wanted, NULL, "t-map", 1);
	vm_map_unlock(&vm->map);
}

/*
 * The vnode is locked when the fault needs it: the fault lets go of everything, waits, and starts again
 * with the vnode held.  The map is locked by then: against the order it is only tried, so the vnode
 * goes before the fault waits for the map.
 */
KTEST(fault, holds_neither_page_nor_vnode_while_it_waits_for_either_lock)
{
	struct access a = { .vm = vmspace_alloc() };
	vm_offset_t addr = AT(0);
	struct thread *holder;
	struct vnode *vp;

	if (!testfiles_load() || (vp = testfile_open("/t/seq")) == NULL) {
		ktest_skip("the root volume has no /t/manifest");
		vmspace_free(a.vm);
		return;
	}
	(void)vm_object_cache_shrink(SIZE_MAX, true);
	CHECK_EQ(vm_mmap(a.vm, &addr, 8 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	VOP_LOCK(vp, LK_EXCLUSIVE);
	a.td = thread_create("t-access", PRI_KERNEL, access_thread, &a);
	CHECK(wait_asleep(a.td, vp->v_lock.lk.name));
	CHECK_EQ(vp->v_object->resident_page_count, 0);
	CHECK_EQ(vp->v_object->paging_in_progress, 0);
	map_wanted = true;
	holder = thread_create("t-holder", PRI_KERNEL, hold_map, a.vm);
	CHECK(wait_asleep(holder, "t-map"));
	VOP_UNLOCK(vp);
	CHECK(wait_asleep(a.td, a.vm->map.lock.lk.name));
	CHECK(VOP_TRYLOCK(vp, LK_EXCLUSIVE));
	VOP_UNLOCK(vp);
	map_wanted = false;
	thread_join(holder);
	thread_join(a.td);
	CHECK(a.result >= 0);
	(void)testfile_verify("/t/seq", IDX_TO_OFF(GATED), &(uint8_t){ (uint8_t)a.result }, 1);
	vm_check();
	vmspace_free(a.vm);
	vrele(vp);
}
