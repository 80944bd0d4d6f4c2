/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap: what goes out comes back, the books of the disk are right at every step, and fork, collapse
 * and bypass know that a page on disk is a page.  The runner's vm_check() after each test compares
 * the bitmap with what the objects say, and clean pages with their checksums.
 */
#include "tests/kernel/t_swap.h"

#include "drivers/disk.h"
#include "kernel/amd64/cpu.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/pmap.h"
#include "vm/swap_map.h"
#include "vm/swap_pager.h"
#include "vm/vm_check.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_swapout.h"
#include "vm/vm_torture.h"

static MALLOC_DEFINE(M_TSWP, "swap tests");

#define VALUE(who, page) (((uint64_t)(who) << 32) + (page) + 0x5000000000000ul)

static void
fill(struct space *s, uint32_t first, uint32_t count, unsigned who)
{
	for (uint32_t i = first; i < first + count && !ktest_failed(); i++)
		CHECK_EQ(space_write(s, i, VALUE(who, i)), 0);
}

static void
verify(struct space *s, uint32_t first, uint32_t count, unsigned who)
{
	for (uint32_t i = first; i < first + count && !ktest_failed(); i++)
		space_holds(s, i, VALUE(who, i));
}

static uint32_t
resident(struct space *s)
{
	struct vm_object *object = space_object(s);
	uint32_t n = object->resident_page_count;

	vm_object_deallocate(object);
	return (n);
}

KTEST(swap, contents_survive_out_and_in)
{
	uint64_t outs = VMCNT_GET(v_swapout), ins, pages;
	struct space s;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&s, 64));
	fill(&s, 0, 64, 1);
	space_swapout(&s);
	CHECK_EQ(resident(&s), 0);
	CHECK_EQ(swap_inuse(), 64);
	if (!vm_torture)
		CHECK_EQ(VMCNT_GET(v_swapout) - outs, 2);	/* 32 pages in one request */
	ins = VMCNT_GET(v_swapin);
	pages = VMCNT_GET(v_swappgsin);
	verify(&s, 0, 64, 1);
	CHECK(VMCNT_GET(v_swappgsin) - pages >= 64);
	if (!vm_torture)
		CHECK(VMCNT_GET(v_swapin) - ins <= 6);
	CHECK_EQ(swap_inuse(), 64);			/* clean pages keep their blocks */
	vm_check();
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

KTEST(swap, whole_pages_come_back)
{
	uint8_t *out, *in;
	struct space s;
	struct vmspace *before;

	if (!scratch_begin())
		return;
	out = kmalloc(PAGE_SIZE, &M_TSWP, M_WAITOK);
	in = kmalloc(PAGE_SIZE, &M_TSWP, M_WAITOK);
	CHECK_OR_RETURN(space_make(&s, 8));
	before = thread_set_vmspace(s.vm);
	for (uint32_t p = 0; p < 8; p++) {
		for (uint32_t i = 0; i < PAGE_SIZE; i++)
			out[i] = (uint8_t)(i * 7 + i / 256 + p);
		CHECK_EQ(copyout(out, s.base + p * PAGE_SIZE, PAGE_SIZE), 0);
	}
	CHECK_EQ(space_swapout(&s), 8);
	for (uint32_t p = 8; p-- > 0; ) {
		CHECK_EQ(copyin(s.base + p * PAGE_SIZE, in, PAGE_SIZE), 0);
		for (uint32_t i = 0; i < PAGE_SIZE && !ktest_failed(); i++)
			CHECK_EQ(in[i], (uint8_t)(i * 7 + i / 256 + p));
	}
	thread_set_vmspace(before);
	space_free(&s);
	kfree(out, &M_TSWP);
	kfree(in, &M_TSWP);
	scratch_end();
}

KTEST(swap, blocks_are_freed_on_dirty_unmap_and_end)
{
	struct space s;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&s, 40));
	fill(&s, 0, 40, 1);
	space_swapout(&s);
	verify(&s, 0, 8, 1);
	CHECK_EQ(swap_inuse(), 40);
	/* resident, clean: the store gives the block back */
	fill(&s, 0, 4, 2);
	if (!vm_torture)
		CHECK_EQ(swap_inuse(), 36);
	fill(&s, 30, 2, 2);				/* not resident */
	if (!vm_torture)
		CHECK_EQ(swap_inuse(), 34);
	CHECK_EQ(vm_munmap(s.vm, s.base + 10 * PAGE_SIZE, 10 * PAGE_SIZE), 0);
	vm_check();
	verify(&s, 0, 4, 2);
	verify(&s, 4, 6, 1);
	verify(&s, 30, 2, 2);
	verify(&s, 32, 8, 1);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

/*
 * Nobody else has these pages: what is unmapped must not keep swap until the last page of the
 * object goes.
 */
KTEST(swap, unmapping_frees_the_blocks_of_the_range)
{
	struct space s, child;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&s, 32));
	fill(&s, 0, 32, 1);
	CHECK_EQ(space_swapout(&s), 32);
	CHECK_EQ(vm_munmap(s.vm, s.base + 16 * PAGE_SIZE, 16 * PAGE_SIZE), 0);
	CHECK_EQ(swap_inuse(), 16);
	CHECK_EQ(vm_munmap(s.vm, s.base, 8 * PAGE_SIZE), 0);
	CHECK_EQ(swap_inuse(), 8);
	verify(&s, 8, 8, 1);
	/* After a fork they are the child's as well. */
	space_swapout(&s);
	CHECK_OR_RETURN(space_fork(&s, &child));
	CHECK_EQ(vm_munmap(s.vm, s.base, 32 * PAGE_SIZE), 0);
	CHECK_EQ(swap_inuse(), 8);
	verify(&child, 8, 8, 1);
	space_free(&child);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

KTEST(swap, fork_finds_swapped_pages)
{
	struct space parent, child;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&parent, 32));
	fill(&parent, 0, 32, 1);
	CHECK_EQ(space_swapout(&parent), 32);
	CHECK_OR_RETURN(space_fork(&parent, &child));
	fill(&child, 0, 8, 2);				/* copied up from disk */
	verify(&child, 8, 24, 1);
	verify(&parent, 0, 32, 1);
	fill(&parent, 4, 8, 3);
	space_swapout(&parent);
	space_swapout(&child);
	vm_check();
	verify(&child, 0, 8, 2);
	verify(&child, 8, 24, 1);
	verify(&parent, 0, 4, 1);
	verify(&parent, 4, 8, 3);
	verify(&parent, 12, 20, 1);
	space_free(&parent);
	verify(&child, 0, 8, 2);
	verify(&child, 8, 24, 1);
	space_free(&child);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

KTEST(swap, collapse_moves_blocks_and_frees_hidden_ones)
{
	uint64_t collapses = VMCNT_GET(v_collapses);
	struct space parent, child;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&parent, 40));
	fill(&parent, 0, 40, 1);
	CHECK_OR_RETURN(space_fork(&parent, &child));
	fill(&parent, 0, 8, 2);				/* in the shadow: hides 8 of the 40 below */
	space_swapout(&parent);
	CHECK_EQ(swap_inuse(), 48);
	/* now the lower object is the shadow's alone */
	space_free(&child);
	CHECK_EQ(VMCNT_GET(v_collapses) - collapses, 1);
	CHECK_EQ(swap_inuse(), 40);
	vm_check();
	verify(&parent, 0, 8, 2);
	verify(&parent, 8, 32, 1);
	space_free(&parent);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

/* The same with the parent's pages in memory and the child's not, and the other way round. */
KTEST(swap, collapse_compares_memory_with_disk)
{
	struct space parent, child;
	struct vm_object *object;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&parent, 24));
	fill(&parent, 0, 24, 1);
	CHECK_OR_RETURN(space_fork(&parent, &child));
	fill(&parent, 0, 8, 2);
	object = space_object(&parent);
	/* top: 0-3 on disk, 4-7 in memory; below: all in memory */
	vm_object_swapout(object, 0, 4);
	vm_object_deallocate(object);
	space_swapout(&child);				/* below: all on disk */
	/* some of it in memory again, with its block */
	verify(&child, 12, 4, 1);
	space_free(&child);
	vm_check();
	verify(&parent, 0, 8, 2);
	verify(&parent, 8, 16, 1);
	space_free(&parent);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

/*
 * A bypass may leave an object behind only if it could not see anything of it; a page on disk is
 * something.
 */
KTEST(swap, bypass_sees_swapped_pages)
{
	struct space parent, child, other;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&parent, 41));
	fill(&parent, 0, 8, 1);
	CHECK_EQ(space_write(&parent, 40, VALUE(1, 40)), 0);
	CHECK_OR_RETURN(space_fork(&parent, &child) && space_fork(&parent, &other));
	space_swapout(&parent);
	/* each store tries a bypass; of what is in memory all is hidden now */
	fill(&parent, 0, 8, 2);
	verify(&parent, 40, 1, 1);
	CHECK_EQ(space_write(&parent, 40, VALUE(2, 40)), 0);
	space_free(&other);
	CHECK_OR_RETURN(space_fork(&child, &other));
	fill(&parent, 0, 4, 2);
	verify(&parent, 0, 4, 2);
	verify(&parent, 40, 1, 2);
	verify(&child, 0, 8, 1);
	verify(&child, 40, 1, 1);
	space_free(&child);
	space_free(&other);
	verify(&parent, 0, 8, 2);
	space_free(&parent);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

KTEST(swap, swapoff_brings_everything_back)
{
	struct swap_info info;
	struct space a, b;

	if (!gate_begin(0))
		return;
	CHECK_OR_RETURN(space_make(&a, 50) && space_make(&b, 20));
	fill(&a, 0, 50, 1);
	fill(&b, 0, 20, 2);
	space_swapout(&a);
	space_swapout(&b);
	verify(&a, 5, 3, 1);
	CHECK_EQ(swap_off(), 0);
	swap_info(&info);
	CHECK(info.disk == NULL);
	CHECK_EQ(info.reserve, 0);
	CHECK_EQ(swap_off(), ENXIO);
	CHECK_EQ(resident(&a), 50);
	vm_check();
	verify(&a, 0, 50, 1);
	verify(&b, 0, 20, 2);
	CHECK_EQ(swap_on(gate_disk()), 0);
	/* They are dirty: they go out again. */
	CHECK_EQ(space_swapout(&a), 50);
	verify(&a, 0, 50, 1);
	space_free(&a);
	space_free(&b);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

KTEST(swap, swapon_refuses)
{
	struct disk *dk, *root = NULL;

	for (dk = disk_next(NULL); dk != NULL; dk = disk_next(dk))
		if (dk->dk_vnode != NULL)
			root = dk;
	if (!gate_begin(0))
		return;
	CHECK_EQ(swap_on(gate_disk()), EBUSY);
	if (root != NULL) {
		int error;

		CHECK_EQ(swap_off(), 0);
		error = swap_on(root);
		CHECK(error == EBUSY || error == EROFS);
		gate_disk()->dk_nsectors = 15 * (PAGE_SIZE / DEV_BSIZE);
		CHECK_EQ(swap_on(gate_disk()), EINVAL);
		gate_disk()->dk_nsectors = 16 * (PAGE_SIZE / DEV_BSIZE);
		gate_disk()->dk_readonly = true;
		CHECK_EQ(swap_on(gate_disk()), EROFS);
		gate_disk()->dk_readonly = false;
		gate_fail_reads(1, 0);
		CHECK_EQ(swap_on(gate_disk()), EIO);
		CHECK_EQ(swap_on(gate_disk()), 0);
	}
	gate_end();
}

/*
 * Give the pages that were written back to the disk's first page a look: nothing may have been
 * written there.
 */
KTEST(swap, first_page_of_the_disk_is_left_alone)
{
	uint64_t *before, *after;
	struct disk *dk;
	struct space s;

	dk = scratch_disk();
	if (dk == NULL || (swap_area_get() != NULL && swap_area_get()->disk != dk)) {
		ktest_skip("swap is not on a disk of its own");
		return;
	}
	if (!scratch_begin())
		return;
	before = kmalloc(PAGE_SIZE, &M_TSWP, M_WAITOK);
	after = kmalloc(PAGE_SIZE, &M_TSWP, M_WAITOK);
	CHECK_EQ(disk_rw(dk, 0, before, PAGE_SIZE, B_READ), 0);
	CHECK_OR_RETURN(space_make(&s, 64));
	fill(&s, 0, 64, 1);
	space_swapout(&s);
	CHECK_EQ(disk_rw(dk, 0, after, PAGE_SIZE, B_READ), 0);
	CHECK(memcmp(before, after, PAGE_SIZE) == 0);
	space_free(&s);
	kfree(before, &M_TSWP);
	kfree(after, &M_TSWP);
	scratch_end();
}

KTEST(swap, three_times_ram_is_filled_verified_and_freed)
{
	uint32_t n = 3 * vm_page_count;
	struct swap_info info;
	struct space s;

	if (!scratch_begin())
		return;
	swap_info(&info);
	if (info.nblocks < n) {
		ktest_skip("the swap disk has %u pages, three times the memory are %u", info.nblocks, n);
		scratch_end();
		return;
	}
	CHECK_OR_RETURN(space_make(&s, n));
	fill(&s, 0, n, 1);
	CHECK(swap_inuse() > n / 2);
	verify(&s, 0, n, 1);
	/* it does not fit, and nothing is lost by asking */
	CHECK_EQ(swap_off(), ENOMEM);
	for (uint32_t i = 0; i < n; i += 37)
		fill(&s, i, 1, 2);
	for (uint32_t i = 0; i < n && !ktest_failed(); i++)
		space_holds(&s, n - 1 - i, VALUE((n - 1 - i) % 37 == 0 ? 2 : 1, n - 1 - i));
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

KTEST(swap, full_disk_keeps_pages_in_memory)
{
	struct swap_info info;
	struct space s;

	if (!gate_begin(40))
		return;
	CHECK_OR_RETURN(space_make(&s, 64));
	fill(&s, 0, 64, 1);
	space_swapout(&s);
	swap_info(&info);
	CHECK(info.full);
	CHECK_EQ(info.inuse, 39);
	CHECK_EQ(resident(&s), 25);
	CHECK(vm_page_queue_len(PQ_UNSWAPPABLE) >= 25);
	verify(&s, 0, 64, 1);
	vm_check();
	fill(&s, 0, 30, 2);				/* gives blocks back: room again */
	if (!vm_torture) {
		CHECK(swap_has_room());
		vm_pageout_scan(1);
		CHECK_EQ(vm_page_queue_len(PQ_UNSWAPPABLE), 0);
	}
	verify(&s, 0, 30, 2);
	verify(&s, 30, 34, 1);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	gate_end();
}

/* ---- a random tree of address spaces ---- */

#define SPACES	8
#define PAGES	48

static struct tree {
	struct space	space[SPACES];
	uint64_t	model[SPACES][PAGES];
	bool		mapped[SPACES][PAGES];
} tree;

static void
tree_fork(unsigned from, unsigned to)
{
	if (tree.space[to].vm != NULL) {
		space_free(&tree.space[to]);
		return;
	}
	if (!CHECK(space_fork(&tree.space[from], &tree.space[to])))
		return;
	memcpy(tree.model[to], tree.model[from], sizeof(tree.model[to]));
	memcpy(tree.mapped[to], tree.mapped[from], sizeof(tree.mapped[to]));
}

static void
tree_touch(unsigned who, unsigned page, bool store)
{
	struct space *s = &tree.space[who];
	uint64_t value = 0;

	if (store) {
		value = ktest_random() | 1;
		CHECK_EQ(space_write(s, page, value), tree.mapped[who][page] ? 0 : EFAULT);
		if (tree.mapped[who][page])
			tree.model[who][page] = value;
	} else if (tree.mapped[who][page]) {
		space_holds(s, page, tree.model[who][page]);
	} else {
		CHECK_EQ(space_read(s, page, &value), EFAULT);
	}
}

/* Unmap a few pages, or put fresh ones where they were. */
static void
tree_unmap(unsigned who, unsigned page, bool remap)
{
	struct space *s = &tree.space[who];
	unsigned n = MIN(1 + ktest_random() % 6, (uint64_t)(PAGES - page));
	vm_offset_t addr = s->base + page * PAGE_SIZE;

	if (remap)
		CHECK_EQ(vm_mmap(s->vm, &addr, n * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0), 0);
	else
		CHECK_EQ(vm_munmap(s->vm, addr, n * PAGE_SIZE), 0);
	for (unsigned i = page; i < page + n; i++) {
		tree.mapped[who][i] = remap;
		tree.model[who][i] = 0;
	}
}

/* Push out a piece of what somebody maps, or just any page of the machine. */
static void
tree_push_out(unsigned who)
{
	struct vm_object *object;

	if (ktest_random() % 2) {
		vm_pageout_evict(&vm_page_array[ktest_random() % vm_page_count]);
		return;
	}
	object = space_object(&tree.space[who]);
	if (object == NULL)
		return;
	vm_object_swapout(object, ktest_random() % PAGES, PAGES);
	vm_object_deallocate(object);
}

KTEST(swap, random_tree_matches_a_model)
{
	if (!scratch_begin())
		return;
	memset(&tree, 0, sizeof(tree));
	CHECK_OR_RETURN(space_make(&tree.space[0], PAGES));
	memset(tree.mapped[0], true, PAGES);
	for (int i = 0; i < 10000 && !ktest_failed(); i++) {
		unsigned who = ktest_random() % SPACES, page = ktest_random() % PAGES, dice = ktest_random() % 100;

		while (tree.space[who].vm == NULL)
			who = (who + 1) % SPACES;
		if (dice < 6)
			tree_fork(who, 1 + ktest_random() % (SPACES - 1));
		else if (dice < 10)
			tree_unmap(who, page, dice < 8);
		else if (dice < 20)
			tree_push_out(who);
		else
			tree_touch(who, page, dice < 60);
		if (i % 1000 == 0)
			vm_check();
	}
	for (unsigned who = 0; who < SPACES; who++) {
		for (unsigned page = 0; page < PAGES && tree.space[who].vm != NULL && !ktest_failed(); page++)
			tree_touch(who, page, false);
		space_free(&tree.space[who]);
	}
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}

/* ---- a deep chain ---- */

#define DEPTH	1000

/*
 * What fork does to the parent's one entry, without the price of a child.  Returns the object that
 * is frozen, referenced.
 */
static struct vm_object *
freeze_top(struct space *s)
{
	struct vm_map_entry *e;

	vm_map_lock(&s->vm->map);
	e = vm_map_lookup_entry(&s->vm->map, s->base);
	vm_object_reference(e->object);
	pmap_protect(&s->vm->pmap, e->start, e->end, VM_PROT_READ);
	e->needs_copy = true;
	vm_map_unlock(&s->vm->map);
	return (e->object);
}

KTEST(swap, chain_of_depth_1000)
{
	struct vm_object **keeper;
	struct space s;

	if (!scratch_begin())
		return;
	keeper = kmalloc(DEPTH * sizeof(*keeper), &M_TSWP, M_WAITOK | M_ZERO);
	CHECK_OR_RETURN(space_make(&s, 16));
	fill(&s, 0, 16, 1);
	for (unsigned level = 0; level < DEPTH && !ktest_failed(); level++) {
		keeper[level] = freeze_top(&s);
		CHECK_EQ(space_write(&s, level % 15, level), 0);
		if (level % 3 == 0)
			vm_object_swapout(keeper[level], 0, 16);
	}
	CHECK(swap_inuse() > DEPTH / 4);
	space_holds(&s, 15, VALUE(1, 15));		/* at the very bottom, on disk */
	CHECK_EQ(space_write(&s, 15, 77), 0);
	for (unsigned level = DEPTH - 15; level < DEPTH; level++)
		space_holds(&s, level % 15, level);
	/* From the middle out, so that there is something to collapse on either side. */
	for (unsigned i = 0; i < DEPTH; i++) {
		unsigned level = i % 2 ? DEPTH / 2 + i / 2 : DEPTH / 2 - 1 - i / 2;

		vm_object_deallocate(keeper[level]);
	}
	CHECK_EQ(space_write(&s, 0, 88), 0);
	space_holds(&s, 15, 77);
	vm_check();
	space_free(&s);
	kfree(keeper, &M_TSWP);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
}
