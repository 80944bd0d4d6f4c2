/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring: memory that stays.  A wired entry's pages are resident, mapped, on no queue, and counted
 * exactly, whatever happens to the address space around them (M4, P4).
 */
#include "kernel/fs/vnode.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"

/* Wired page n: there, wired `count` times, on no queue, its mapping marked. */
static bool
wired(struct vmspace *vm, int n, uint32_t count)
{
	struct vm_page *m = mapped_page(vm, AT(n));

	return (CHECK(m != NULL) && CHECK_EQ(m->wire_count, count) && CHECK_EQ(m->queue, PQ_NONE) &&
	    CHECK(vm_page_all_valid(m)));
}

static bool
not_wired(struct vmspace *vm, int n)
{
	struct vm_page *m = mapped_page(vm, AT(n));

	return (m == NULL || (CHECK_EQ(m->wire_count, 0) && CHECK(m->queue != PQ_NONE)));
}

KTEST(fault, wiring_makes_pages_resident_and_keeps_them)
{
	struct vmspace *vm = vmspace_alloc();
	uint64_t faults;

	map_anonymous(vm, 0, 8, MAP_PRIVATE);
	CHECK_EQ(put(vm, AT(3), 33), 0);		/* one is there already */
	CHECK_EQ(vm_map_wire(&vm->map, AT(2), AT(6)), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 3);
	CHECK_EQ(vm->pmap.wired_count, 4);
	for (int i = 2; i < 6; i++)
		wired(vm, i, 1);
	CHECK(mapped_page(vm, AT(1)) == NULL && mapped_page(vm, AT(6)) == NULL);
	CHECK_EQ(get(vm, AT(3)), 33);
	faults = curthread->faults;
	for (int i = 2; i < 6; i++)
		CHECK_EQ(put(vm, AT(i), (uint8_t)i), 0);
	CHECK_EQ(curthread->faults, faults);		/* writable at once, too */
	vm_check();

	CHECK_EQ(vm_map_unwire(&vm->map, AT(2), AT(6)), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 1);
	CHECK_EQ(vm->pmap.wired_count, 0);
	for (int i = 2; i < 6; i++) {
		not_wired(vm, i);
		CHECK_EQ(mapped_page(vm, AT(i))->queue, PQ_ACTIVE);
		CHECK_EQ(get(vm, AT(i)), i);
	}
	vmspace_free(vm);
}

/* Clean pages are what reclaim takes; these it may not. */
KTEST(fault, wired_pages_survive_reclaim)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(0);
	struct vnode *vp = NULL;
	struct vm_page *m[4];

	if (!testfiles_load() || (vp = testfile_open("/t/seq")) == NULL) {
		ktest_skip("the root volume has no /t/manifest");
		vmspace_free(vm);
		return;
	}
	CHECK_EQ(vm_mmap(vm, &addr, 32 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	for (int i = 0; i < 32; i++)
		CHECK(get(vm, AT(i)) >= 0);
	CHECK_EQ(vm_map_wire(&vm->map, AT(8), AT(12)), KERN_SUCCESS);
	for (int i = 0; i < 4; i++)
		m[i] = mapped_page(vm, AT(8 + i));
	for (int i = 0; i < 3; i++)
		(void)vm_pageout_scan(vm_page_count);
	CHECK(mapped_page(vm, AT(0)) == NULL);		/* it did take others */
	CHECK_EQ(vp->v_object->resident_page_count, 4);
	for (int i = 0; i < 4; i++) {
		CHECK(mapped_page(vm, AT(8 + i)) == m[i]);
		wired(vm, 8 + i, 1);
	}
	CHECK_EQ(vm_map_unwire(&vm->map, AT(8), AT(12)), KERN_SUCCESS);
	for (int i = 0; i < 3; i++)
		(void)vm_pageout_scan(vm_page_count);
	CHECK_EQ(vp->v_object->resident_page_count, 0);
	vmspace_free(vm);
	vrele(vp);
}

KTEST_COUNTING(fault, wiring_across_entries_and_backings)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(2);
	struct vnode *vp = NULL;

	if (!testfiles_load() || (vp = testfile_open("/t/seq")) == NULL) {
		ktest_skip("the root volume has no /t/manifest");
		vmspace_free(vm);
		return;
	}
	map_anonymous(vm, 0, 2, MAP_PRIVATE);
	CHECK_EQ(vm_mmap(vm, &addr, 2 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, vp, 0), 0);
	addr = AT(4);
	CHECK_EQ(vm_mmap(vm, &addr, 2 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp, 2 * PAGE_SIZE),
	    0);
	map_anonymous(vm, 6, 2, MAP_SHARED);
	CHECK_EQ(vm_map_wire(&vm->map, AT(1), AT(7)), KERN_SUCCESS);
	for (int i = 1; i < 7; i++)
		wired(vm, i, 1);
	/*
	 * A private writable page is copied now, so that wired memory never moves; the file's own
	 * is left alone.
	 */
	CHECK(mapped_page(vm, AT(2))->object != vp->v_object);
	CHECK_EQ(vt_page(vp->v_object, 0)->wire_count, 0);
	CHECK(mapped_page(vm, AT(4))->object == vp->v_object);
	vm_check();
	/* Removal unwires. */
	CHECK_EQ(vm_map_remove(&vm->map, AT(0), AT(5)), KERN_SUCCESS);
	CHECK_EQ(vt_page(vp->v_object, 2)->wire_count, 0);
	CHECK_EQ(vm->pmap.wired_count, 2);
	vm_check();
	vmspace_free(vm);				/* and so does the end */
	CHECK_EQ(vt_page(vp->v_object, 3)->wire_count, 0);
	vrele(vp);
}

/* ---- all or nothing ---- */

KTEST(fault, wiring_over_a_hole_wires_nothing)
{
	struct vmspace *vm = vmspace_alloc();

	map_anonymous(vm, 0, 4, MAP_PRIVATE);
	map_anonymous(vm, 6, 4, MAP_PRIVATE);
	CHECK_EQ(vm_map_wire(&vm->map, AT(1), AT(8)), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_map_wire(&vm->map, AT(4), AT(8)), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_map_wire(&vm->map, AT(9), AT(11)), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_map_wire(&vm->map, AT(20), AT(21)), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_map_wire(&vm->map, AT(1) + 1, AT(2)), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_wire(&vm->map, AT(2), AT(1)), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm->map.nentries, 2);
	CHECK_EQ(vm->pmap.wired_count, 0);
	CHECK_EQ(vm->pmap.resident_count, 0);
	vm_check();
	vmspace_free(vm);
}

KTEST(fault, wiring_that_fails_half_way_is_undone)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(2);
	struct vnode *vp = NULL;

	if (!testfiles_load() || (vp = testfile_open("/t/odd")) == NULL) {
		ktest_skip("the root volume has no /t/manifest");
		vmspace_free(vm);
		return;
	}
	/* The file has four pages; the fifth of the mapping is past EOF. */
	map_anonymous(vm, 0, 2, MAP_PRIVATE);
	CHECK_EQ(vm_mmap(vm, &addr, 6 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	map_anonymous(vm, 8, 2, MAP_PRIVATE);
	CHECK_EQ(vm_map_wire(&vm->map, AT(1), AT(9)), KERN_OUT_OF_BOUNDS);
	/* page 1 was touched and has an object now, page 0 has none */
	CHECK_EQ(vm->map.nentries, 4);
	CHECK_EQ(vm->pmap.wired_count, 0);
	for (int i = 0; i < 10; i++)
		not_wired(vm, i);
	vm_check();
	/* Nothing of it is in the way of a second try. */
	CHECK_EQ(vm_map_wire(&vm->map, AT(1), AT(6)), KERN_SUCCESS);
	for (int i = 1; i < 6; i++)
		wired(vm, i, 1);
	vmspace_free(vm);
	vrele(vp);
}

KTEST(fault, memory_that_may_not_be_read_is_not_wired)
{
	struct vmspace *vm = vmspace_alloc();

	map_anonymous(vm, 0, 4, MAP_PRIVATE);
	CHECK_EQ(vm_map_protect(&vm->map, AT(2), AT(3), VM_PROT_NONE), KERN_SUCCESS);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(4)), KERN_PROTECTION_FAILURE);
	CHECK_EQ(vm->pmap.wired_count, 0);
	for (int i = 0; i < 4; i++)
		not_wired(vm, i);
	vm_check();
	vmspace_free(vm);
}

/* As mlock() has it: not counted, so that one unwiring is enough. */
KTEST(fault, wiring_twice_is_wiring_once)
{
	struct vmspace *vm = vmspace_alloc();

	map_anonymous(vm, 0, 8, MAP_PRIVATE);
	CHECK_EQ(vm_map_wire(&vm->map, AT(3), AT(5)), KERN_SUCCESS);
	CHECK_EQ(vm_map_wire(&vm->map, AT(4), AT(5)), KERN_SUCCESS);
	/* Over a hole it fails, and undoes only what it did itself. */
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(9)), KERN_INVALID_ADDRESS);
	for (int i = 0; i < 8; i++)
		if (i == 3 || i == 4)
			wired(vm, i, 1);
		else
			CHECK(mapped_page(vm, AT(i)) == NULL);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(8)), KERN_SUCCESS);
	for (int i = 0; i < 8; i++)
		wired(vm, i, 1);
	CHECK_EQ(vm_map_unwire(&vm->map, AT(0), AT(8)), KERN_SUCCESS);
	CHECK_EQ(vm->pmap.wired_count, 0);
	vm_check();
	vmspace_free(vm);
}

/* ---- whose wiring it is ---- */

KTEST(fault, page_wired_by_two_stays_for_the_second)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *a = vmspace_alloc(), *b = vmspace_alloc();

	map_object(a, object, 0, 0, 4, RW, 0);
	map_object(b, object, 0, 0, 4, RW, 0);
	CHECK_EQ(vm_map_wire(&a->map, AT(0), AT(4)), KERN_SUCCESS);
	CHECK_EQ(vm_map_wire(&b->map, AT(2), AT(4)), KERN_SUCCESS);
	wired(a, 1, 1);
	wired(a, 2, 2);
	CHECK_EQ(vm_map_unwire(&a->map, AT(0), AT(4)), KERN_SUCCESS);
	not_wired(a, 1);
	wired(b, 2, 1);
	wired(b, 3, 1);
	vmspace_free(b);
	not_wired(a, 2);
	vm_check();
	vmspace_free(a);
	vm_object_deallocate(object);
}

/* Unwiring what was never wired here must not take another's wiring away. */
KTEST(fault, unwiring_takes_only_what_was_wired_here)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *a = vmspace_alloc(), *b = vmspace_alloc();

	map_object(a, object, 0, 0, 4, RW, 0);
	map_object(b, object, 0, 0, 4, RW, 0);
	CHECK_EQ(vm_map_wire(&a->map, AT(0), AT(4)), KERN_SUCCESS);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(put(b, AT(i), 1), 0);
	CHECK_EQ(vm_map_unwire(&b->map, AT(0), AT(4)), KERN_SUCCESS);
	for (int i = 0; i < 4; i++)
		wired(a, i, 1);
	vmspace_free(b);
	for (int i = 0; i < 4; i++)
		wired(a, i, 1);
	vmspace_free(a);
	vm_object_deallocate(object);
}

/* Held by somebody's I/O and wired by the map: two wirings, each given back by its owner. */
KTEST(fault, held_page_and_wired_page_are_counted_apart)
{
	struct vmspace *vm = vmspace_alloc();
	struct vm_page *m = NULL;

	map_anonymous(vm, 0, 1, MAP_PRIVATE);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(1)), KERN_SUCCESS);
	CHECK_EQ(vm_fault(&vm->map, AT(0), VM_PROT_WRITE, VM_FAULT_HOLD, &m), KERN_SUCCESS);
	if (CHECK(m != NULL && m == mapped_page(vm, AT(0)))) {
		CHECK_EQ(m->wire_count, 2);
		CHECK_EQ(vm_map_unwire(&vm->map, AT(0), AT(1)), KERN_SUCCESS);
		CHECK_EQ(m->wire_count, 1);
		CHECK_EQ(m->queue, PQ_NONE);
		vm_page_unwire(m, PQ_ACTIVE);
		CHECK_EQ(m->queue, PQ_ACTIVE);
	}
	vmspace_free(vm);
}

/* Holding does what a fault of that kind does, soft or hard, and hands out the very page. */
KTEST(fault, held_page_is_the_one_that_is_mapped)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *vm = vmspace_alloc();
	struct vm_page *m = NULL, *source = page_make(object, 0, 0x42);

	map_object(vm, object, 0, 0, 4, RW, MAP_COPY_ON_WRITE);
	CHECK_EQ(vm_fault(&vm->map, AT(0) + 5, VM_PROT_READ, VM_FAULT_HOLD, &m), KERN_SUCCESS);
	CHECK(m == source && m->wire_count == 1);
	vm_page_unwire(m, PQ_ACTIVE);
	CHECK_EQ(vm_fault(&vm->map, AT(0) + 5, VM_PROT_WRITE, VM_FAULT_HOLD, &m), KERN_SUCCESS);
	CHECK(m != source && m == mapped_page(vm, AT(0)) && m->wire_count == 1);
	CHECK(page_is_all(m, 0x42));
	vm_page_unwire(m, PQ_ACTIVE);
	CHECK_EQ(vm_fault(&vm->map, AT(3), VM_PROT_WRITE, VM_FAULT_HOLD, &m), KERN_SUCCESS);
	CHECK(page_is_all(m, 0) && m->wire_count == 1);
	vm_page_unwire(m, PQ_ACTIVE);
	m = NULL;
	CHECK_EQ(vm_fault(&vm->map, AT(9), VM_PROT_WRITE, VM_FAULT_HOLD, &m), KERN_INVALID_ADDRESS);
	CHECK(m == NULL);
	vmspace_free(vm);
	vm_object_deallocate(object);
}

/* ---- wiring and copying ---- */

/*
 * Read-only private memory is wired where it lies, below the top.  Made writable and written, it is
 * copied: the wiring must go along, or the address would have a wired mapping of a page that
 * reclaim may take, and the lower page a wiring that nobody gives back.
 */
KTEST(fault, wiring_moves_with_the_copy)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *vm = vmspace_alloc();
	struct vm_page *source = page_make(object, 1, 0x42);

	map_object(vm, object, 0, 0, 4, RO, MAP_COPY_ON_WRITE);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(4)), KERN_SUCCESS);
	CHECK(mapped_page(vm, AT(1)) == source);
	wired(vm, 1, 1);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(4), RW), KERN_SUCCESS);
	CHECK_EQ(put(vm, AT(1) + 1, 1), 0);
	CHECK(mapped_page(vm, AT(1)) != source);
	wired(vm, 1, 1);
	CHECK_EQ(source->wire_count, 0);
	CHECK(source->queue != PQ_NONE);
	CHECK_EQ(vm->pmap.wired_count, 4);
	CHECK_EQ(vm_map_unwire(&vm->map, AT(0), AT(4)), KERN_SUCCESS);
	for (int i = 0; i < 4; i++)
		not_wired(vm, i);
	vm_check();
	vmspace_free(vm);
	for (vm_pindex_t i = 0; i < 4; i++)
		CHECK(vt_page(object, i) == NULL || vt_page(object, i)->wire_count == 0);
	vm_object_deallocate(object);
}

/*
 * Wired memory may lie below the top of its chain, at another index there: [0 .] -> [. 0x41 0x42
 * .].  Whoever unwires it must find it.
 */
KTEST(fault, wired_page_below_the_top_is_found_again)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(0);
	struct vm_page *below;

	(void)page_make(object, 1, 0x41);
	below = page_make(object, 2, 0x42);
	vm_object_reference(object);
	CHECK_EQ(vm_map_find(&vm->map, object, PAGE_SIZE, &addr, 2 * PAGE_SIZE, false, RW,
	    VM_PROT_ALL, MAP_COPY_ON_WRITE, VM_INHERIT_COPY), KERN_SUCCESS);
	CHECK_EQ(put(vm, AT(0), 0), 0);
	CHECK_EQ(chain_length(vm, AT(0)), 2);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(2), RO), KERN_SUCCESS);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(2)), KERN_SUCCESS);
	CHECK(mapped_page(vm, AT(1)) == below);
	wired(vm, 0, 1);
	wired(vm, 1, 1);
	CHECK_EQ(vm_map_unwire(&vm->map, AT(0), AT(2)), KERN_SUCCESS);
	not_wired(vm, 0);
	not_wired(vm, 1);
	CHECK_EQ(below->wire_count, 0);
	vmspace_free(vm);
	vm_object_deallocate(object);
}

/* A shared wired entry is forked: the child sees the memory, the wiring stays with the parent. */
KTEST(fault, wiring_is_not_inherited)
{
	struct vmspace *vm = vmspace_alloc(), *child;

	map_anonymous(vm, 0, 4, MAP_SHARED);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(4)), KERN_SUCCESS);
	child = vmspace_fork(vm);
	CHECK_EQ(put(child, AT(2), 7), 0);
	CHECK_EQ(get(vm, AT(2)), 7);
	wired(vm, 2, 1);
	CHECK_EQ(child->pmap.wired_count, 0);
	vmspace_free(child);
	wired(vm, 2, 1);
	CHECK_EQ(vm_map_unwire(&vm->map, AT(0), AT(4)), KERN_SUCCESS);
	not_wired(vm, 2);
	vmspace_free(vm);
}
