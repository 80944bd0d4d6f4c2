/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow chains: private memory as layers of copies, and how the layers are taken away again.
 *
 * Chains are built by hand with vm_object_shadow(), so that each test knows who references what.  A
 * picture of a chain is written top first, with the pages that each object holds:  [1] -> [0 1 2].
 */
#include "tests/kernel/t_vm.h"
#include "vm/vm_check.h"

#define DEPTH	1000

/*
 * A new object above *top, as a write to a needs_copy entry makes it.  `offset` pages of *top are
 * skipped.
 */
static struct vm_object *
shadow_of(struct vm_object *backing, vm_pindex_t skip, vm_pindex_t size)
{
	struct vm_object *object = backing;
	vm_ooffset_t offset = IDX_TO_OFF(skip);

	vm_object_shadow(&object, &offset, size * PAGE_SIZE);
	CHECK_EQ(offset, 0);
	CHECK(object != backing && object->backing_object == backing);
	CHECK_EQ(object->backing_object_offset, IDX_TO_OFF(skip));
	CHECK_EQ(object->size, size);
	return (object);
}

static void
collapse(struct vm_object *object)
{
	vm_object_lock(object);
	vm_object_collapse(object);
	vm_object_unlock(object);
}

/* Does the object hold exactly these pages, page i full of value[i]; 0: absent? */
static void
check_pages(struct vm_object *object, const uint8_t *value, int n)
{
	uint32_t resident = 0;

	for (int i = 0; i < n; i++) {
		struct vm_page *m = vt_page(object, i);

		if (CHECK_EQ(m != NULL, value[i] != 0) && m != NULL) {
			CHECK(page_is_all(m, value[i]));
			CHECK_EQ(m->dirty, VM_PAGE_BITS_ALL);
		}
		resident += m != NULL;
	}
	CHECK_EQ(object->resident_page_count, resident);
}
#define PAGES(object, ...) do {							\
	static const uint8_t _v[] = { __VA_ARGS__ };				\
	check_pages((object), _v, nitems(_v));					\
} while (0)

/* ---- shadows ---- */

KTEST(object, shadow_takes_over_the_reference)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 8), *a, *b;

	vm_object_reference(bottom);
	a = shadow_of(bottom, 0, 8);
	CHECK_EQ(bottom->ref_count, 2);
	CHECK_EQ(bottom->shadow_count, 1);
	vm_object_reference(bottom);
	b = shadow_of(bottom, 2, 4);
	CHECK_EQ(bottom->ref_count, 3);
	CHECK_EQ(bottom->shadow_count, 2);
	CHECK(TAILQ_FIRST(&bottom->shadow_head) == a && TAILQ_NEXT(a, shadow_list) == b);
	vm_check();
	vm_object_deallocate(a);
	CHECK_EQ(bottom->shadow_count, 1);
	vm_object_deallocate(b);
	CHECK_EQ(bottom->shadow_count, 0);
	CHECK_EQ(bottom->ref_count, 1);
	vm_object_deallocate(bottom);
}

KTEST(object, write_copies_a_page_once_and_reads_copy_nothing)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *vm = vmspace_alloc();
	struct vm_page *below, *copy;
	uint64_t copies = VMCNT_GET(v_cow_faults);

	for (vm_pindex_t i = 0; i < 4; i++)
		(void)page_make(bottom, i, 0x10 + (uint8_t)i);
	map_object(vm, bottom, 0, 0, 4, RW, MAP_COPY_ON_WRITE);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(get(vm, AT(i)), 0x10 + i);
	CHECK_EQ(VMCNT_GET(v_cow_faults), copies);
	CHECK(object_at(vm, AT(0)) == bottom);
	below = mapped_page(vm, AT(1));
	CHECK(below == vt_page(bottom, 1));

	CHECK_EQ(put(vm, AT(1) + 100, 0x99), 0);
	CHECK_EQ(VMCNT_GET(v_cow_faults), copies + 1);
	copy = mapped_page(vm, AT(1));
	CHECK(copy != below && copy->object == object_at(vm, AT(1)));
	CHECK_EQ(put(vm, AT(1) + 200, 0x98), 0);
	CHECK_EQ(get(vm, AT(1) + 100), 0x99);
	CHECK_EQ(get(vm, AT(1)), 0x11);
	CHECK_EQ(VMCNT_GET(v_cow_faults), copies + 1);
	CHECK(mapped_page(vm, AT(1)) == copy);
	CHECK(page_is_all(below, 0x11));
	CHECK_EQ(object_at(vm, AT(1))->resident_page_count, 1);
	/* The others are still the bottom's own. */
	CHECK(mapped_page(vm, AT(2)) == vt_page(bottom, 2));
	vm_check();
	vmspace_free(vm);
	CHECK_EQ(bottom->ref_count, 1);
	CHECK_EQ(bottom->resident_page_count, 4);
	vm_object_deallocate(bottom);
}

/* MAP_PRIVATE's rule: what others store is seen until the first store of one's own. */
KTEST(object, private_window_on_a_shared_object_follows_it_until_it_copies)
{
	struct vm_object *shared = vm_object_allocate(OBJT_DEFAULT, 2);
	struct vmspace *writer = vmspace_alloc(), *reader = vmspace_alloc();

	map_object(writer, shared, 0, 0, 2, RW, 0);
	map_object(reader, shared, 0, 0, 2, RW, MAP_COPY_ON_WRITE);
	CHECK_EQ(put(writer, AT(1), 1), 0);
	CHECK_EQ(put(writer, AT(0), 1), 0);
	CHECK_EQ(get(reader, AT(0)), 1);
	CHECK_EQ(put(writer, AT(0), 2), 0);
	CHECK_EQ(get(reader, AT(0)), 2);
	CHECK(mapped_page(reader, AT(0)) == mapped_page(writer, AT(0)));
	CHECK_EQ(put(reader, AT(0) + 8, 77), 0);
	CHECK_EQ(put(writer, AT(0), 3), 0);
	CHECK_EQ(get(reader, AT(0)), 2);
	CHECK_EQ(get(writer, AT(0) + 8), 0);
	/* The page next to it was not copied. */
	CHECK_EQ(put(writer, AT(1), 4), 0);
	CHECK_EQ(get(reader, AT(1)), 4);
	vm_check();
	vmspace_free(writer);
	vmspace_free(reader);
	vm_object_deallocate(shared);
}

/* ---- deep chains ---- */

/*
 * A chain of DEPTH objects; the bottom holds page 0, every hundredth the page of its level's number
 * / 100.
 */
static struct vm_object *
deep_chain(void)
{
	struct vm_object *top = vm_object_allocate(OBJT_DEFAULT, 16);

	(void)page_make(top, 0, 0xb0);
	for (int level = 1; level < DEPTH; level++) {
		top = shadow_of(top, 0, 16);
		if (level % 100 == 0)
			(void)page_make(top, level / 100, (uint8_t)(level / 100));
		if (ktest_failed())
			break;
	}
	return (top);
}

/* Nothing recurses: a kernel stack has 16 KiB, 16 bytes for each of these objects. */
KTEST(object, chain_of_a_thousand_is_faulted_through_and_released)
{
	uint64_t objects = vm_object_count();
	struct vm_object *top = deep_chain();
	struct vmspace *vm = vmspace_alloc();

	map_object(vm, top, 0, 0, 16, RO, 0);
	CHECK_EQ(chain_length(vm, AT(0)), DEPTH);
	CHECK_EQ(get(vm, AT(0)), 0xb0);
	for (int i = 1; i < 10; i++)
		CHECK_EQ(get(vm, AT(i)), i);
	CHECK_EQ(get(vm, AT(12)), 0);		/* nowhere in the chain: zeros, in the top */
	CHECK(mapped_page(vm, AT(12))->object == top);
	CHECK_EQ(chain_length(vm, AT(0)), DEPTH);
	vm_check();
	vmspace_free(vm);
	CHECK_EQ(vm_object_count(), objects + DEPTH);
	vm_object_deallocate(top);
	CHECK_EQ(vm_object_count(), objects);
}

KTEST(object, chain_of_a_thousand_collapses_into_one)
{
	uint64_t objects = vm_object_count(), collapses = VMCNT_GET(v_collapses);
	struct vm_object *top = deep_chain();

	collapse(top);
	CHECK_EQ(vm_object_count(), objects + 1);
	CHECK_EQ(VMCNT_GET(v_collapses), collapses + DEPTH - 1);
	CHECK(top->backing_object == NULL);
	PAGES(top, 0xb0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0);
	vm_check();
	vm_object_deallocate(top);
}

/* The same by the way that programs take: a write fault copies up and then cleans up below it. */
KTEST(object, write_through_a_deep_chain_shortens_it)
{
	struct vm_object *top = deep_chain();
	struct vmspace *vm = vmspace_alloc();
	uint64_t objects;

	map_object(vm, top, 0, 0, 16, RW, 0);
	vm_object_deallocate(top);
	objects = vm_object_count();
	CHECK_EQ(put(vm, AT(0) + 1, 0x55), 0);
	CHECK_EQ(chain_length(vm, AT(0)), 1);
	CHECK_EQ(vm_object_count(), objects - DEPTH + 1);
	CHECK_EQ(get(vm, AT(0)), 0xb0);
	CHECK_EQ(get(vm, AT(0) + 1), 0x55);
	CHECK_EQ(get(vm, AT(9)), 9);
	vm_check();
	vmspace_free(vm);
}

/* ---- collapse ---- */

/* [. 2 .] -> [1 1 1] becomes [1 2 1]. */
KTEST(object, collapse_moves_up_what_is_not_hidden)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 3), *top;
	uint64_t objects = vm_object_count(), collapses = VMCNT_GET(v_collapses);
	uint32_t free;
	struct vm_page *moved;

	for (vm_pindex_t i = 0; i < 3; i++)
		(void)page_make(bottom, i, 1);
	moved = vt_page(bottom, 2);
	top = shadow_of(bottom, 0, 3);
	(void)page_make(top, 1, 2);
	free = vm_free_count();
	collapse(top);
	CHECK_EQ(VMCNT_GET(v_collapses), collapses + 1);
	CHECK_EQ(vm_object_count(), objects);
	CHECK(top->backing_object == NULL);
	CHECK_EQ(top->backing_object_offset, 0);
	PAGES(top, 1, 2, 1);
	CHECK(vt_page(top, 2) == moved);		/* moved, not copied */
	CHECK_EQ(vm_free_count(), free + 1);		/* the hidden one */
	vm_check();
	collapse(top);					/* nothing below: nothing to do */
	CHECK_EQ(VMCNT_GET(v_collapses), collapses + 1);
	vm_object_deallocate(top);
}

/* The top sees a window of the bottom only: pages outside of it are nobody's. */
KTEST(object, collapse_respects_the_window)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 10), *middle, *top;

	for (vm_pindex_t i = 0; i < 10; i++)
		(void)page_make(bottom, i, 0x10 + (uint8_t)i);
	middle = shadow_of(bottom, 2, 8);
	(void)page_make(middle, 1, 0x21);		/* hides 3 */
	top = shadow_of(middle, 1, 4);
	(void)page_make(top, 3, 0x33);			/* hides 6 */
	collapse(top);
	CHECK(top->backing_object == NULL);
	PAGES(top, 0x21, 0x14, 0x15, 0x33, 0, 0, 0, 0);
	vm_check();
	vm_object_deallocate(top);
}

KTEST(object, collapse_keeps_the_offset_of_what_lies_below)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 10), *middle, *top;

	(void)page_make(bottom, 7, 0x17);
	vm_object_reference(bottom);			/* stays: others have it */
	middle = shadow_of(bottom, 2, 8);
	top = shadow_of(middle, 3, 4);
	collapse(top);
	CHECK(top->backing_object == bottom);
	CHECK_EQ(top->backing_object_offset, 5 * PAGE_SIZE);
	CHECK_EQ(bottom->shadow_count, 1);
	CHECK_EQ(bottom->ref_count, 2);
	CHECK_EQ(top->resident_page_count, 0);
	vm_check();
	vm_object_deallocate(top);
	CHECK_EQ(bottom->ref_count, 1);
	vm_object_deallocate(bottom);
}

/*
 * A page of the bottom is mapped through the top while it moves: the mapping must not outlive the
 * move unseen.
 */
KTEST(object, collapse_with_mapped_pages)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 4), *top;
	struct vmspace *vm = vmspace_alloc();
	struct vm_page *m;

	for (vm_pindex_t i = 0; i < 4; i++)
		(void)page_make(bottom, i, 0x40 + (uint8_t)i);
	top = shadow_of(bottom, 0, 4);
	map_object(vm, top, 0, 0, 4, RW, 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(get(vm, AT(i)), 0x40 + i);
	m = mapped_page(vm, AT(2));
	CHECK(m->object == bottom);
	collapse(top);
	CHECK(top->backing_object == NULL && m->object == top);
	vm_check();
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(get(vm, AT(i)), 0x40 + i);
		CHECK_EQ(put(vm, AT(i), 0x50 + (uint8_t)i), 0);
	}
	CHECK(mapped_page(vm, AT(2)) == m);
	CHECK_EQ(page_byte(m), 0x52);
	vm_check();
	vmspace_free(vm);
	vm_object_deallocate(top);
}

/*
 * A page whose change is noted only in a page table, through which nobody can write any more, is
 * dirty after it moved.
 */
KTEST(object, collapse_carries_the_modified_bit)
{
	struct vmspace *vm = vmspace_alloc(), *child;
	struct vm_object *before;
	struct vm_page *m;

	map_anonymous(vm, 0, 4, MAP_PRIVATE);
	CHECK_EQ(put(vm, AT(0), 1), 0);
	CHECK_EQ(put(vm, AT(2), 9), 0);
	before = object_at(vm, AT(0));
	m = mapped_page(vm, AT(2));
	CHECK_EQ(m->dirty, 0);
	child = vmspace_fork(vm);
	vmspace_free(child);
	CHECK_EQ(m->dirty, 0);
	CHECK(pmap_is_modified(m));
	CHECK_EQ(put(vm, AT(0), 2), 0);			/* a shadow, a copy, a collapse */
	CHECK(object_at(vm, AT(0)) != before && m->object == object_at(vm, AT(0)));
	CHECK_EQ(m->dirty, VM_PAGE_BITS_ALL);
	CHECK_EQ(get(vm, AT(2)), 9);
	vm_check();
	vmspace_free(vm);
}

/* ---- collapse refused, and tried again ---- */

KTEST(object, collapse_is_refused_while_paging_is_in_progress_and_retried)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 2), *top;
	struct vm_object *paging[2];

	(void)page_make(bottom, 1, 5);
	top = shadow_of(bottom, 0, 2);
	paging[0] = bottom;
	paging[1] = top;
	for (int i = 0; i < 2; i++) {
		vm_object_lock(paging[i]);
		vm_object_pip_add(paging[i], 1);
		vm_object_unlock(paging[i]);
		collapse(top);
		CHECK(top->backing_object == bottom);
		PAGES(bottom, 0, 5);
		vm_object_lock(paging[i]);
		vm_object_pip_wakeup(paging[i]);
		vm_object_unlock(paging[i]);
	}
	vm_check();
	collapse(top);
	CHECK(top->backing_object == NULL);
	PAGES(top, 0, 5);
	vm_object_deallocate(top);
}

/*
 * [. . .] -> [1 1 1] with the middle page held: what moved has moved, and the chain still tells the
 * truth.
 */
KTEST(object, collapse_stops_at_a_wired_or_busy_page)
{
	for (int wired = 0; wired < 2; wired++) {
		struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 3), *top;
		struct vmspace *vm = vmspace_alloc();
		struct vm_page *m;

		for (vm_pindex_t i = 0; i < 3; i++)
			(void)page_make(bottom, i, 0x60 + (uint8_t)i);
		m = vt_page(bottom, 1);
		top = shadow_of(bottom, 0, 3);
		map_object(vm, top, 0, 0, 3, RO, 0);
		vm_object_lock(bottom);
		if (wired)
			vm_page_wire(m);
		else
			CHECK(vm_page_trysbusy(m));
		vm_object_unlock(bottom);
		collapse(top);
		CHECK(top->backing_object == bottom && m->object == bottom);
		CHECK_EQ(bottom->ref_count, 1);
		if (wired)
			vm_page_unwire(m, PQ_ACTIVE);
		else
			vm_page_sunbusy(m);
		for (int i = 0; i < 3; i++)
			CHECK_EQ(get(vm, AT(i)), 0x60 + i);
		vm_check();
		collapse(top);
		CHECK(top->backing_object == NULL);
		PAGES(top, 0x60, 0x61, 0x62);
		vmspace_free(vm);
		vm_object_deallocate(top);
	}
}

KTEST(object, collapse_never_swallows_an_object_that_others_use)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 2), *top;
	uint64_t collapses = VMCNT_GET(v_collapses);

	(void)page_make(bottom, 0, 1);
	vm_object_reference(bottom);
	top = shadow_of(bottom, 0, 2);
	collapse(top);
	CHECK(top->backing_object == bottom);
	CHECK_EQ(VMCNT_GET(v_collapses), collapses);
	vm_object_deallocate(bottom);
	vm_object_deallocate(top);
}

/*
 * When the last but one reference goes and a single shadow is left, the two become one without a
 * further fault.
 */
KTEST(object, release_that_leaves_one_shadow_collapses_it)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 2), *a, *b;
	uint64_t objects = vm_object_count(), collapses = VMCNT_GET(v_collapses);

	(void)page_make(bottom, 0, 1);
	(void)page_make(bottom, 1, 2);
	vm_object_reference(bottom);
	a = shadow_of(bottom, 0, 2);
	b = shadow_of(bottom, 0, 2);
	(void)page_make(a, 1, 3);
	vm_object_deallocate(b);
	CHECK_EQ(VMCNT_GET(v_collapses), collapses + 1);
	CHECK(a->backing_object == NULL);
	PAGES(a, 1, 3);
	CHECK_EQ(vm_object_count(), objects);
	CHECK_EQ(a->ref_count, 1);
	vm_check();
	vm_object_deallocate(a);
}

/* ---- bypass ---- */

/* [2 2] -> [1 1], which others use -> [.]: the top hides all it could see, and goes past. */
KTEST(object, bypass_goes_past_what_is_wholly_hidden)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 4), *middle, *top;
	uint64_t bypasses = VMCNT_GET(v_bypasses);

	(void)page_make(bottom, 3, 0x0b);
	vm_object_reference(bottom);
	middle = shadow_of(bottom, 1, 3);
	(void)page_make(middle, 0, 1);
	(void)page_make(middle, 1, 1);
	vm_object_reference(middle);			/* others */
	top = shadow_of(middle, 0, 3);
	(void)page_make(top, 0, 2);
	collapse(top);
	CHECK(top->backing_object == middle);		/* page 1 still shows through */
	CHECK_EQ(VMCNT_GET(v_bypasses), bypasses);
	(void)page_make(top, 1, 2);
	collapse(top);
	CHECK_EQ(VMCNT_GET(v_bypasses), bypasses + 1);
	CHECK(top->backing_object == bottom);
	CHECK_EQ(top->backing_object_offset, PAGE_SIZE);
	CHECK_EQ(middle->ref_count, 1);
	CHECK_EQ(middle->shadow_count, 0);
	CHECK_EQ(bottom->shadow_count, 2);
	CHECK_EQ(bottom->ref_count, 3);
	PAGES(middle, 1, 1, 0);
	PAGES(top, 2, 2, 0);
	vm_check();
	vm_object_deallocate(middle);
	CHECK_EQ(bottom->ref_count, 2);
	vm_object_deallocate(top);
	vm_object_deallocate(bottom);
}

/* Whatever the order in which pages are hidden, and also when one shows through again that was hidden: a look finds it. */
KTEST(object, bypass_waits_for_the_last_page_that_shows)
{
	static const vm_pindex_t order[] = { 3, 0, 1, 5, 4, 2 };
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 8), *top;
	struct vm_page *again;

	for (vm_pindex_t i = 1; i < 7; i++)
		(void)page_make(bottom, i, 1);
	vm_object_reference(bottom);
	top = shadow_of(bottom, 1, 6);
	for (size_t i = 0; i + 1 < nitems(order); i++) {
		(void)page_make(top, order[i], 2);
		collapse(top);
		CHECK(top->backing_object == bottom);
	}
	vm_object_lock(top);
	again = vm_page_lookup(top, 0);		/* before the place where the last look ended */
	CHECK(vm_page_tryxbusy(again));
	vm_page_free(again);
	vm_object_unlock(top);
	(void)page_make(top, 2, 2);
	collapse(top);
	CHECK(top->backing_object == bottom);
	(void)page_make(top, 0, 2);
	collapse(top);
	CHECK(top->backing_object == NULL);
	CHECK_EQ(bottom->ref_count, 1);
	vm_object_deallocate(top);
	vm_object_deallocate(bottom);
}

/*
 * Pages of the backing object outside of the window do not count; a page that is there but holds
 * nothing does not hide.
 */
KTEST(object, bypass_looks_at_the_window_and_at_validity)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 10), *top;
	struct vm_page *m;

	(void)page_make(bottom, 1, 1);			/* before the window */
	(void)page_make(bottom, 4, 1);			/* its page 0 */
	(void)page_make(bottom, 6, 1);			/* behind it */
	vm_object_reference(bottom);
	top = shadow_of(bottom, 4, 2);
	m = page_make(top, 0, 2);
	m->valid = m->dirty = 0;
	vm_object_lock(top);
	vm_page_wire(m);	/* as a truncated wired page: stays, without contents */
	vm_object_unlock(top);
	collapse(top);
	CHECK(top->backing_object == bottom);
	m->valid = m->dirty = VM_PAGE_BITS_ALL;
	vm_page_unwire(m, PQ_ACTIVE);
	collapse(top);
	CHECK(top->backing_object == NULL);
	CHECK_EQ(bottom->ref_count, 1);
	CHECK_EQ(bottom->resident_page_count, 3);
	vm_check();
	vm_object_deallocate(top);
	vm_object_deallocate(bottom);
}

/* Both in one walk: a chain of collapsible and bypassable objects ends as short as it can be. */
KTEST(object, collapse_and_bypass_alternate_down_a_chain)
{
	struct vm_object *o[6];
	uint64_t objects;

	o[0] = vm_object_allocate(OBJT_DEFAULT, 2);
	objects = vm_object_count();
	(void)page_make(o[0], 0, 1);
	for (int i = 1; i < 6; i++) {
		if (i == 2 || i == 4)
			vm_object_reference(o[i - 1]);	/* o[1], o[3]: others hold them */
		o[i] = shadow_of(o[i - 1], 0, 2);
		(void)page_make(o[i], 0, (uint8_t)(i + 1));
	}
	collapse(o[5]);
	/* o[4] merged, o[3] passed, o[2] is still below o[3] and was left, since o[3] has it. */
	CHECK_EQ(vm_object_count(), objects + 4);
	CHECK(o[5]->backing_object == NULL || o[5]->backing_object == o[2] ||
	    o[5]->backing_object == o[0]);
	PAGES(o[5], 6, 0);
	PAGES(o[3], 4, 0);
	PAGES(o[1], 2, 0);
	vm_check();
	vm_object_deallocate(o[5]);
	vm_object_deallocate(o[3]);
	vm_object_deallocate(o[1]);
	CHECK_EQ(vm_object_count(), objects - 1);
}
