/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address maps as a data structure: entries inserted, clipped, joined, removed, searched.
 *
 * Nothing here is touched, so no page and no fault is involved; what a change of a map does to
 * pages is in t_fault.c, and mmap's words are in t_mmap.c; random changes against a model are in
 * t_map_model.c.  Addresses are spoken of in pages from BASE on: AT(3) is the start of the fourth.
 */
#include "tests/kernel/ktest.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"

#define BASE	0x10000000ul
#define AT(n)	(BASE + (vm_offset_t)(n) * PAGE_SIZE)
#define RW	(VM_PROT_READ | VM_PROT_WRITE)

/* Insert pages [first, end) of an object (NULL: anonymous) that the map is to reference. */
static int
insert(struct vm_map *map, struct vm_object *object, vm_ooffset_t offset, int first, int end)
{
	int kr;

	if (object != NULL)
		vm_object_reference(object);
	vm_map_lock(map);
	kr = vm_map_insert(map, object, offset, AT(first), AT(end), RW, VM_PROT_ALL, 0,
	    VM_INHERIT_COPY);
	vm_map_unlock(map);
	if (object != NULL && kr != KERN_SUCCESS)
		vm_object_deallocate(object);
	return (kr);
}

static int
insert_as(struct vm_map *map, int first, int end, vm_prot_t prot, vm_prot_t max,
    enum vm_inherit inherit)
{
	int kr;

	vm_map_lock(map);
	kr = vm_map_insert(map, NULL, 0, AT(first), AT(end), prot, max, 0, inherit);
	vm_map_unlock(map);
	return (kr);
}

/* Is page n mapped, and by an entry of exactly [first, end)? */
static bool
entry_is(struct vm_map *map, int n, int first, int end)
{
	struct vm_map_entry *e;
	bool good;

	vm_map_rlock(map);
	e = vm_map_lookup_entry(map, AT(n));
	good = e != NULL && e->start == AT(first) && e->end == AT(end);
	vm_map_runlock(map);
	return (good);
}

static bool
mapped(struct vm_map *map, vm_offset_t addr)
{
	bool found;

	vm_map_rlock(map);
	found = vm_map_lookup_entry(map, addr) != NULL;
	vm_map_runlock(map);
	return (found);
}

static vm_prot_t
protection_at(struct vm_map *map, int n)
{
	struct vm_map_entry *e;
	vm_prot_t prot;

	vm_map_rlock(map);
	e = vm_map_lookup_entry(map, AT(n));
	prot = e != NULL ? e->protection : 0xff;
	vm_map_runlock(map);
	return (prot);
}

static int
findspace(struct vm_map *map, vm_offset_t *addr, vm_size_t len)
{
	int kr;

	vm_map_lock(map);
	kr = vm_map_findspace(map, addr, len);
	vm_map_unlock(map);
	return (kr);
}

static void
check_map(struct vm_map *map)
{
	vm_map_lock(map);
	vm_map_check(map);
	vm_map_unlock(map);
}

/* ---- insertion and lookup ---- */

KTEST(map, lookup_finds_an_entry_by_each_of_its_bytes_and_by_no_other)
{
	struct vmspace *vm = vmspace_alloc();

	CHECK(!mapped(&vm->map, AT(0)));
	CHECK_EQ(insert(&vm->map, NULL, 0, 4, 8), KERN_SUCCESS);
	CHECK(!mapped(&vm->map, AT(4) - 1));
	CHECK(mapped(&vm->map, AT(4)));
	CHECK(mapped(&vm->map, AT(8) - 1));
	CHECK(!mapped(&vm->map, AT(8)));
	CHECK(!mapped(&vm->map, VM_USER_MIN));
	CHECK(!mapped(&vm->map, 0));
	CHECK(!mapped(&vm->map, VM_USER_MAX));
	CHECK(!mapped(&vm->map, ~0ul));
	CHECK_EQ(vm->map.nentries, 1);
	CHECK_EQ(vm->map.size, 4 * PAGE_SIZE);
	check_map(&vm->map);
	vmspace_free(vm);
}

KTEST(map, overlap_is_refused_and_changes_nothing)
{
	static const struct { int first, end, kr; } tries[] = {
		{ 5, 11, KERN_NO_SPACE }, { 19, 25, KERN_NO_SPACE }, { 10, 20, KERN_NO_SPACE },
		{ 12, 15, KERN_NO_SPACE }, { 5, 25, KERN_NO_SPACE }, { 10, 11, KERN_NO_SPACE },
		{ 19, 20, KERN_NO_SPACE }, { 5, 35, KERN_NO_SPACE }, { 20, 31, KERN_NO_SPACE },
		{ 5, 10, KERN_SUCCESS }, { 20, 30, KERN_SUCCESS },
	};
	struct vmspace *vm = vmspace_alloc();
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 100);

	CHECK_EQ(insert(&vm->map, NULL, 0, 10, 20), KERN_SUCCESS);
	CHECK_EQ(insert(&vm->map, NULL, 0, 30, 31), KERN_SUCCESS);
	for (size_t i = 0; i < nitems(tries); i++) {
		uint32_t entries = vm->map.nentries, refs = object->ref_count;

		CHECK_EQ(insert(&vm->map, object, 0, tries[i].first, tries[i].end), tries[i].kr);
		if (tries[i].kr == KERN_SUCCESS)
			entries++, refs++;
		CHECK_EQ(vm->map.nentries, entries);
		CHECK_EQ(object->ref_count, refs);
		check_map(&vm->map);
	}
	vmspace_free(vm);
	CHECK_EQ(object->ref_count, 1);
	vm_object_deallocate(object);
}

KTEST(map, insert_refuses_bad_arguments)
{
	static const struct {
		vm_offset_t	start, end;
		vm_ooffset_t	offset;
		vm_prot_t	prot, max;
		int		kr;
	} tries[] = {
		{ AT(0) + 1, AT(2), 0, RW, RW, KERN_INVALID_ARGUMENT },
		{ AT(0), AT(2) - 512, 0, RW, RW, KERN_INVALID_ARGUMENT },
		{ AT(0), AT(2), 100, RW, RW, KERN_INVALID_ARGUMENT },
		{ AT(0), AT(2), -(vm_ooffset_t)PAGE_SIZE, RW, RW, KERN_INVALID_ARGUMENT },
		{ AT(0), AT(2), 0, RW, VM_PROT_READ, KERN_INVALID_ARGUMENT },
		{ AT(0), AT(0), 0, RW, RW, KERN_INVALID_ADDRESS },		/* empty */
		{ AT(2), AT(0), 0, RW, RW, KERN_INVALID_ADDRESS },		/* reversed */
		{ VM_USER_MIN - PAGE_SIZE, AT(0), 0, RW, RW, KERN_INVALID_ADDRESS },
		{ 0, PAGE_SIZE, 0, RW, RW, KERN_INVALID_ADDRESS },
		{ AT(0), VM_USER_MAX + PAGE_SIZE, 0, RW, RW, KERN_INVALID_ADDRESS },
		{ VM_USER_MAX, VM_USER_MAX + PAGE_SIZE, 0, RW, RW, KERN_INVALID_ADDRESS },
		{ DMAP_BASE, DMAP_BASE + PAGE_SIZE, 0, RW, RW, KERN_INVALID_ADDRESS },
		{ ~PAGE_MASK, 0, 0, RW, RW, KERN_INVALID_ADDRESS },		/* wraps */
		{ VM_USER_MIN, VM_USER_MIN + PAGE_SIZE, 0, RW, RW, KERN_SUCCESS },
		{ VM_USER_MAX - PAGE_SIZE, VM_USER_MAX, 0, RW, RW, KERN_SUCCESS },
	};
	struct vmspace *vm = vmspace_alloc();

	for (size_t i = 0; i < nitems(tries); i++) {
		uint32_t entries = vm->map.nentries;
		int kr;

		vm_map_lock(&vm->map);
		kr = vm_map_insert(&vm->map, NULL, tries[i].offset, tries[i].start, tries[i].end,
		    tries[i].prot, tries[i].max, 0, VM_INHERIT_COPY);
		vm_map_unlock(&vm->map);
		if (!CHECK_EQ(kr, tries[i].kr))
			printf("# row %lu\n", i);
		CHECK_EQ(vm->map.nentries, entries + (tries[i].kr == KERN_SUCCESS));
	}
	check_map(&vm->map);
	vmspace_free(vm);
}

KTEST(map, whole_address_space_is_one_entry)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = 0;

	CHECK_EQ(findspace(&vm->map, &addr, VM_USER_MAX - VM_USER_MIN), KERN_SUCCESS);
	CHECK_EQ(addr, VM_USER_MIN);
	CHECK_EQ(vm_map_find(&vm->map, NULL, 0, &addr, VM_USER_MAX - VM_USER_MIN, true, RW, RW, 0,
	    VM_INHERIT_COPY), KERN_SUCCESS);
	CHECK_EQ(vm->map.size, VM_USER_MAX - VM_USER_MIN);
	addr = 0;
	CHECK_EQ(findspace(&vm->map, &addr, PAGE_SIZE), KERN_NO_SPACE);
	CHECK_EQ(insert(&vm->map, NULL, 0, 0, 1), KERN_NO_SPACE);
	check_map(&vm->map);
	CHECK_EQ(vm_map_remove(&vm->map, VM_USER_MIN, VM_USER_MAX), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 0);
	check_map(&vm->map);
	vmspace_free(vm);
}

/* ---- joining ---- */

KTEST(map, equal_neighbours_become_one_entry)
{
	struct vmspace *vm = vmspace_alloc();

	CHECK_EQ(insert(&vm->map, NULL, 0, 0, 4), KERN_SUCCESS);
	CHECK_EQ(insert(&vm->map, NULL, 0, 8, 12), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 2);
	CHECK_EQ(insert(&vm->map, NULL, 0, 4, 8), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 1);
	CHECK(entry_is(&vm->map, 5, 0, 12));
	check_map(&vm->map);
	vmspace_free(vm);
}

KTEST(map, pieces_of_an_object_join_only_when_their_offsets_follow)
{
	struct vmspace *vm = vmspace_alloc();
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 100),
	    *other = vm_object_allocate(OBJT_DEFAULT, 100);

	CHECK_EQ(insert(&vm->map, object, 0, 0, 4), KERN_SUCCESS);
	CHECK_EQ(insert(&vm->map, object, 4 * PAGE_SIZE, 4, 8), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 1);
	CHECK_EQ(object->ref_count, 2);			/* ours, and the one entry's */
	CHECK_EQ(insert(&vm->map, object, 9 * PAGE_SIZE, 8, 10), KERN_SUCCESS);
	/* the same pages again */
	CHECK_EQ(insert(&vm->map, object, 9 * PAGE_SIZE, 10, 12), KERN_SUCCESS);
	CHECK_EQ(insert(&vm->map, other, 11 * PAGE_SIZE, 12, 14), KERN_SUCCESS);
	CHECK_EQ(insert(&vm->map, NULL, 0, 14, 16), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 5);
	CHECK_EQ(object->ref_count, 4);
	check_map(&vm->map);
	vmspace_free(vm);
	CHECK_EQ(object->ref_count, 1);
	CHECK_EQ(other->ref_count, 1);
	vm_object_deallocate(object);
	vm_object_deallocate(other);
}

KTEST(map, neighbours_that_differ_in_anything_stay_apart)
{
	struct vmspace *vm = vmspace_alloc();

	CHECK_EQ(insert_as(&vm->map, 0, 2, RW, VM_PROT_ALL, VM_INHERIT_COPY), KERN_SUCCESS);
	CHECK_EQ(insert_as(&vm->map, 2, 4, VM_PROT_READ, VM_PROT_ALL, VM_INHERIT_COPY),
	    KERN_SUCCESS);
	CHECK_EQ(insert_as(&vm->map, 4, 6, VM_PROT_READ, RW, VM_INHERIT_COPY), KERN_SUCCESS);
	CHECK_EQ(insert_as(&vm->map, 6, 8, VM_PROT_READ, RW, VM_INHERIT_SHARE), KERN_SUCCESS);
	CHECK_EQ(insert_as(&vm->map, 8, 10, VM_PROT_READ, RW, VM_INHERIT_NONE), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 5);
	CHECK_EQ(vm_map_advise(&vm->map, AT(8), AT(9), VM_ADV_RANDOM), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 6);
	CHECK_EQ(vm_map_advise(&vm->map, AT(8), AT(9), VM_ADV_SEQUENTIAL), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 6);
	CHECK_EQ(vm_map_advise(&vm->map, AT(9), AT(10), VM_ADV_SEQUENTIAL), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 5);
	check_map(&vm->map);
	vmspace_free(vm);
}

KTEST(map, advice_is_kept_and_skips_holes)
{
	struct vmspace *vm = vmspace_alloc();
	struct vm_map_entry *e;

	CHECK_EQ(insert(&vm->map, NULL, 0, 0, 4), KERN_SUCCESS);
	CHECK_EQ(insert(&vm->map, NULL, 0, 6, 10), KERN_SUCCESS);
	CHECK_EQ(vm_map_advise(&vm->map, AT(2), AT(8), VM_ADV_RANDOM), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 4);
	vm_map_rlock(&vm->map);
	for (int n = 0; n < 10; n++) {
		e = vm_map_lookup_entry(&vm->map, AT(n));
		if (n == 4 || n == 5)
			CHECK(e == NULL);
		else if (CHECK(e != NULL))
			CHECK_EQ(e->advice, n >= 2 && n < 8 ? VM_ADV_RANDOM : VM_ADV_NORMAL);
	}
	vm_map_runlock(&vm->map);
	CHECK_EQ(vm_map_advise(&vm->map, AT(0), AT(10), VM_ADV_NORMAL), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 2);
	CHECK_EQ(vm_map_advise(&vm->map, AT(0) + 1, AT(1), VM_ADV_RANDOM), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_advise(&vm->map, AT(1), AT(1), VM_ADV_RANDOM), KERN_INVALID_ARGUMENT);
	check_map(&vm->map);
	vmspace_free(vm);
}

/* ---- space ---- */

/* Four gaps of 1, 3, 2 and 3 pages between entries, and all the rest of the address space taken. */
static struct vmspace *
map_with_gaps(void)
{
	struct vmspace *vm = vmspace_alloc();
	static const int taken[][2] = { { 1, 2 }, { 5, 6 }, { 8, 9 } };

	vm_map_lock(&vm->map);
	(void)vm_map_insert(&vm->map, NULL, 0, VM_USER_MIN, AT(0), RW, RW, 0, VM_INHERIT_NONE);
	(void)vm_map_insert(&vm->map, NULL, 0, AT(12), VM_USER_MAX, RW, RW, 0, VM_INHERIT_NONE);
	for (size_t i = 0; i < nitems(taken); i++)
		(void)vm_map_insert(&vm->map, NULL, 0, AT(taken[i][0]), AT(taken[i][1]), RW, RW, 0,
		    VM_INHERIT_COPY);
	vm_map_unlock(&vm->map);
	return (vm);
}

KTEST(map, findspace_takes_the_lowest_gap_at_or_above_the_hint)
{
	/* gaps: [0,1) [2,5) [6,8) [9,12) */
	static const struct { int hint, len, at; } tries[] = {
		{ 0, 1, 0 }, { 0, 2, 2 }, { 0, 3, 2 }, { 1, 1, 2 }, { 2, 3, 2 }, { 3, 3, 9 },
		{ 3, 2, 3 }, { 4, 1, 4 }, { 4, 2, 6 }, { 5, 1, 6 }, { 7, 1, 7 }, { 7, 2, 9 },
		{ 9, 3, 9 }, { 10, 2, 10 }, { 11, 1, 11 },
		{ 10, 3, -1 }, { 11, 2, -1 }, { 12, 1, -1 }, { 0, 4, -1 }, { 100, 1, -1 },
	};
	struct vmspace *vm = map_with_gaps();

	for (size_t i = 0; i < nitems(tries); i++) {
		vm_offset_t addr = AT(tries[i].hint);
		int kr = findspace(&vm->map, &addr, tries[i].len * PAGE_SIZE);

		if (!CHECK_EQ(kr, tries[i].at < 0 ? KERN_NO_SPACE : KERN_SUCCESS) ||
		    !CHECK_EQ(addr, AT(tries[i].at < 0 ? tries[i].hint : tries[i].at)))
			printf("# hint %d, %d pages\n", tries[i].hint, tries[i].len);
	}
	vmspace_free(vm);
}

KTEST(map, findspace_refuses_what_can_never_fit)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = 0;

	CHECK_EQ(findspace(&vm->map, &addr, 0), KERN_NO_SPACE);
	CHECK_EQ(findspace(&vm->map, &addr, VM_USER_MAX - VM_USER_MIN + PAGE_SIZE), KERN_NO_SPACE);
	CHECK_EQ(findspace(&vm->map, &addr, ~PAGE_MASK), KERN_NO_SPACE);
	addr = VM_USER_MAX;
	CHECK_EQ(findspace(&vm->map, &addr, PAGE_SIZE), KERN_NO_SPACE);
	addr = ~PAGE_MASK;
	CHECK_EQ(findspace(&vm->map, &addr, PAGE_SIZE), KERN_NO_SPACE);
	addr = VM_USER_MAX - PAGE_SIZE;
	CHECK_EQ(findspace(&vm->map, &addr, PAGE_SIZE), KERN_SUCCESS);
	CHECK_EQ(addr, VM_USER_MAX - PAGE_SIZE);
	vmspace_free(vm);
}

KTEST(map, find_maps_anywhere_or_exactly_there)
{
	struct vmspace *vm = map_with_gaps();
	vm_offset_t addr = AT(0);

	CHECK_EQ(vm_map_find(&vm->map, NULL, 0, &addr, 2 * PAGE_SIZE, true, RW, RW, 0,
	    VM_INHERIT_SHARE), KERN_SUCCESS);
	CHECK_EQ(addr, AT(2));
	addr = AT(6);
	CHECK_EQ(vm_map_find(&vm->map, NULL, 0, &addr, 3 * PAGE_SIZE, false, RW, RW, 0,
	    VM_INHERIT_COPY), KERN_NO_SPACE);
	CHECK_EQ(vm_map_find(&vm->map, NULL, 0, &addr, 2 * PAGE_SIZE, false, RW, RW, 0,
	    VM_INHERIT_SHARE), KERN_SUCCESS);
	CHECK(entry_is(&vm->map, 7, 6, 8));
	CHECK_EQ(vm_map_find(&vm->map, NULL, 0, &addr, ~PAGE_MASK, false, RW, RW, 0,
	    VM_INHERIT_COPY), KERN_INVALID_ADDRESS);
	addr = ~PAGE_MASK;
	CHECK_EQ(vm_map_find(&vm->map, NULL, 0, &addr, 2 * PAGE_SIZE, false, RW, RW, 0,
	    VM_INHERIT_COPY), KERN_INVALID_ADDRESS);
	check_map(&vm->map);
	vmspace_free(vm);
}

/* ---- removal ---- */

KTEST(map, removing_the_middle_leaves_both_ends)
{
	struct vmspace *vm = vmspace_alloc();
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 16);
	struct vm_map_entry *e;

	CHECK_EQ(insert(&vm->map, object, 0, 0, 16), KERN_SUCCESS);
	CHECK_EQ(vm_map_remove(&vm->map, AT(5), AT(9)), KERN_SUCCESS);
	CHECK(entry_is(&vm->map, 0, 0, 5));
	CHECK(entry_is(&vm->map, 9, 9, 16));
	CHECK(!mapped(&vm->map, AT(5)));
	CHECK(!mapped(&vm->map, AT(9) - 1));
	CHECK_EQ(object->ref_count, 3);
	CHECK_EQ(vm->map.size, 12 * PAGE_SIZE);
	vm_map_rlock(&vm->map);
	e = vm_map_lookup_entry(&vm->map, AT(9));
	CHECK_EQ(e->offset, 9 * PAGE_SIZE);
	vm_map_runlock(&vm->map);
	check_map(&vm->map);
	/* Put back, it is one piece again. */
	CHECK_EQ(insert(&vm->map, object, 5 * PAGE_SIZE, 5, 9), KERN_SUCCESS);
	CHECK(entry_is(&vm->map, 7, 0, 16));
	CHECK_EQ(object->ref_count, 2);
	vmspace_free(vm);
	vm_object_deallocate(object);
}

KTEST(map, removal_crosses_entries_and_holes)
{
	struct vmspace *vm = vmspace_alloc();

	for (int n = 0; n < 40; n += 4)
		CHECK_EQ(insert(&vm->map, NULL, 0, n, n + 2), KERN_SUCCESS);
	CHECK_EQ(vm_map_remove(&vm->map, AT(5), AT(33)), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 4);
	CHECK(entry_is(&vm->map, 4, 4, 5));
	CHECK(entry_is(&vm->map, 33, 33, 34));
	/* nothing is there: no error */
	CHECK_EQ(vm_map_remove(&vm->map, AT(5), AT(33)), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 4);
	CHECK_EQ(vm_map_remove(&vm->map, AT(0), AT(0)), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_remove(&vm->map, AT(9), AT(0)), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_remove(&vm->map, AT(0) + 8, AT(9)), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_remove(&vm->map, AT(0), AT(9) - 8), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_remove(&vm->map, AT(0), VM_USER_MAX + PAGE_SIZE), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_remove(&vm->map, 0, AT(9)), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm->map.nentries, 4);
	check_map(&vm->map);
	vmspace_free(vm);
}

/* ---- protection ---- */

KTEST(map, protection_splits_and_joins)
{
	struct vmspace *vm = vmspace_alloc();

	CHECK_EQ(insert(&vm->map, NULL, 0, 0, 10), KERN_SUCCESS);
	CHECK_EQ(insert_as(&vm->map, 10, 20, RW, VM_PROT_ALL, VM_INHERIT_SHARE), KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(5), AT(15), VM_PROT_READ), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 4);
	for (int n = 0; n < 20; n++)
		CHECK_EQ(protection_at(&vm->map, n), n >= 5 && n < 15 ? VM_PROT_READ : RW);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(5), VM_PROT_READ), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 3);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(20), RW), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 2);
	check_map(&vm->map);
	vmspace_free(vm);
}

KTEST(map, protection_over_a_hole_changes_what_lies_before_it)
{
	struct vmspace *vm = vmspace_alloc();

	CHECK_EQ(insert(&vm->map, NULL, 0, 0, 4), KERN_SUCCESS);
	CHECK_EQ(insert(&vm->map, NULL, 0, 6, 10), KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(2), AT(8), VM_PROT_READ), KERN_INVALID_ADDRESS);
	for (int n = 0; n < 10; n++)
		if (n != 4 && n != 5)
			CHECK_EQ(protection_at(&vm->map, n), n == 2 || n == 3 ? VM_PROT_READ : RW);
	CHECK_EQ(vm->map.nentries, 3);
	/* A hole at the start: nothing changes, and nothing stays cut. */
	CHECK_EQ(vm_map_protect(&vm->map, AT(5), AT(8), VM_PROT_READ), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(4), AT(5), VM_PROT_READ), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(9), AT(11), RW), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(20), AT(21), RW), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm->map.nentries, 3);
	check_map(&vm->map);
	vmspace_free(vm);
}

KTEST(map, protection_never_exceeds_the_maximum)
{
	struct vmspace *vm = vmspace_alloc();

	CHECK_EQ(insert_as(&vm->map, 0, 4, VM_PROT_READ, RW, VM_INHERIT_COPY), KERN_SUCCESS);
	CHECK_EQ(insert_as(&vm->map, 4, 8, VM_PROT_READ, VM_PROT_READ, VM_INHERIT_COPY),
	    KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(4), VM_PROT_ALL), KERN_PROTECTION_FAILURE);
	CHECK_EQ(protection_at(&vm->map, 0), VM_PROT_READ);
	CHECK_EQ(vm_map_protect(&vm->map, AT(5), AT(6), RW), KERN_PROTECTION_FAILURE);
	CHECK_EQ(protection_at(&vm->map, 5), VM_PROT_READ);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(8), RW), KERN_PROTECTION_FAILURE);
	CHECK_EQ(protection_at(&vm->map, 4), VM_PROT_READ);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(8), VM_PROT_NONE), KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(4), AT(8), VM_PROT_READ), KERN_SUCCESS);
	CHECK_EQ(vm->map.nentries, 2);
	check_map(&vm->map);
	vmspace_free(vm);
}

KTEST(map, protect_refuses_bad_ranges_and_accepts_an_empty_one)
{
	struct vmspace *vm = vmspace_alloc();

	CHECK_EQ(insert(&vm->map, NULL, 0, 0, 4), KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(1), AT(1), VM_PROT_READ), KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(&vm->map, AT(2), AT(1), VM_PROT_READ), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0) + 1, AT(1), VM_PROT_READ), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), AT(1) + 1, VM_PROT_READ), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_protect(&vm->map, 0, AT(1), VM_PROT_READ), KERN_INVALID_ARGUMENT);
	CHECK_EQ(vm_map_protect(&vm->map, AT(0), DMAP_BASE, VM_PROT_READ), KERN_INVALID_ARGUMENT);
	for (int n = 0; n < 4; n++)
		CHECK_EQ(protection_at(&vm->map, n), RW);
	CHECK_EQ(vm->map.nentries, 1);
	vmspace_free(vm);
}

/* ---- the time stamp ---- */

KTEST(map, every_change_moves_the_time_stamp_forward_and_no_look_does)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(20);
	uint32_t last = vm->map.timestamp;

#define MOVED() do {								\
	CHECK((int32_t)(vm->map.timestamp - last) > 0);				\
	last = vm->map.timestamp;						\
} while (0)
	CHECK_EQ(insert(&vm->map, NULL, 0, 0, 8), KERN_SUCCESS);
	MOVED();
	CHECK_EQ(vm_map_find(&vm->map, NULL, 0, &addr, PAGE_SIZE, true, RW, RW, 0, VM_INHERIT_COPY),
	    KERN_SUCCESS);
	MOVED();
	CHECK_EQ(vm_map_protect(&vm->map, AT(1), AT(2), VM_PROT_READ), KERN_SUCCESS);
	MOVED();
	CHECK_EQ(vm_map_advise(&vm->map, AT(3), AT(4), VM_ADV_RANDOM), KERN_SUCCESS);
	MOVED();
	CHECK_EQ(vm_map_remove(&vm->map, AT(5), AT(6)), KERN_SUCCESS);
	MOVED();
	CHECK(mapped(&vm->map, AT(1)));
	CHECK_EQ(vm->map.timestamp, last);
	vmspace_free(vm);
#undef MOVED
}

/* ---- the tree ---- */

static struct vm_map_entry *
entry_of(struct rb_node *node)
{
	return (container_of(node, struct vm_map_entry, node));
}

/*
 * Is every node's largest gap the largest of its own and its children's?  Returns the tree's depth
 * in nodes.
 */
static int
check_augmentation(struct vm_map *map)
{
	int deepest = 0;

	for (struct rb_node *n = rb_first(&map->entries); n != NULL; n = rb_next(n)) {
		struct vm_map_entry *e = entry_of(n);
		vm_size_t largest = e->gap;
		int depth = 0;

		for (int i = 0; i < 2; i++)
			if (n->child[i] != NULL)
				largest = MAX(largest, entry_of(n->child[i])->max_gap);
		CHECK_EQ(e->max_gap, largest);
		for (struct rb_node *up = n; up != NULL; up = rb_parent(up))
			depth++;
		deepest = MAX(deepest, depth);
		if (ktest_failed())
			break;
	}
	return (deepest);
}

/*
 * Lookup goes down one way; the search for a gap goes up once and down once, because each node
 * knows whether it has to go on below.  So both cost the depth of the tree, and that is what is
 * measured: with 10 entries, with 100, with 3000.
 */
KTEST(map, depth_grows_as_the_logarithm_of_the_entries)
{
	static const struct { int entries, depth; } tries[] = {
		{ 10, 7 }, { 100, 13 }, { 3000, 23 }
	};

	for (size_t i = 0; i < nitems(tries); i++) {
		struct vmspace *vm = vmspace_alloc();
		vm_offset_t addr = AT(0);

		for (int n = 0; n < tries[i].entries; n++)
			CHECK_EQ(insert(&vm->map, NULL, 0, 3 * n, 3 * n + 2), KERN_SUCCESS);
		CHECK_EQ(vm->map.nentries, tries[i].entries);
		check_map(&vm->map);
		CHECK(check_augmentation(&vm->map) <= tries[i].depth);		/* 2 log2(n + 1) */
		CHECK_EQ(findspace(&vm->map, &addr, 2 * PAGE_SIZE), KERN_SUCCESS);
		CHECK_EQ(addr, AT(3 * tries[i].entries - 1));	/* past all the gaps of one page */
		vmspace_free(vm);
	}
}

/* ---- address spaces ---- */

KTEST(map, address_space_lives_until_its_last_reference)
{
	struct vmspace *vm = vmspace_alloc();
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);

	CHECK_EQ(insert(&vm->map, object, 0, 0, 4), KERN_SUCCESS);
	vmspace_ref(vm);
	vmspace_free(vm);
	CHECK_EQ(object->ref_count, 2);
	CHECK_EQ(vm->map.nentries, 1);
	vmspace_free(vm);
	CHECK_EQ(object->ref_count, 1);
	vm_object_deallocate(object);
}
