/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm_check() itself: each law is broken on purpose, and the walk must name it.
 *
 * A planter damages one thing; called a second time, it mends it.  Between the two calls nothing
 * sleeps, and the reclaim thread has nothing to do, so nobody else meets the damage.
 */
#include "kernel/fs/vnode.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"

#define MESSAGES	16

static struct {
	int	count;
	char	text[MESSAGES][128];
} seen;

static void
note_violation(const char *message)
{
	if (seen.count < MESSAGES)
		strlcpy(seen.text[seen.count], message, sizeof(seen.text[0]));
	seen.count++;
}

static void
check_collecting(void)
{
	seen.count = 0;
	vm_check_violation_hook = note_violation;
	vm_check();
	vm_check_violation_hook = NULL;
}

static bool
was_seen(const char *what)
{
	for (int i = 0; i < MIN(seen.count, MESSAGES); i++)
		if (strstr(seen.text[i], what) != NULL)
			return (true);
	return (false);
}

/*
 * What the planters work on: [0 1 .] over [0 1 2 3], mapped at AT(0) to AT(3).  Page 0 was written,
 * so it is the top's and mapped writable; page 2 is mapped from below; 1 is in both, and not
 * mapped; 3 is not mapped.
 */
static struct {
	struct vmspace		*vm;
	struct vm_object	*top, *bottom;
	struct vm_page		*mine, *hidden, *below, *plain;
	struct vm_map_entry	*entry;
} at;

static void
scene_build(void)
{
	vm_ooffset_t offset = 0;

	at.vm = vmspace_alloc();
	at.top = at.bottom = vm_object_allocate(OBJT_DEFAULT, 4);
	for (vm_pindex_t i = 0; i < 4; i++)
		(void)page_make(at.bottom, i, (uint8_t)i);
	vm_object_reference(at.bottom);			/* or it would collapse */
	vm_object_shadow(&at.top, &offset, 4 * PAGE_SIZE);
	map_object(at.vm, at.top, 0, 0, 4, RW, 0);
	CHECK_EQ(put(at.vm, AT(0), 9), 0);
	(void)page_make(at.top, 1, 9);
	CHECK_EQ(get(at.vm, AT(2)), 2);
	at.mine = vt_page(at.top, 0);
	at.hidden = vt_page(at.bottom, 1);
	at.below = vt_page(at.bottom, 2);
	at.plain = vt_page(at.bottom, 3);
	CHECK(mapped_page(at.vm, AT(0)) == at.mine && mapped_page(at.vm, AT(2)) == at.below);
	vm_map_rlock(&at.vm->map);
	at.entry = vm_map_lookup_entry(&at.vm->map, AT(0));
	vm_map_runlock(&at.vm->map);
}

static void
scene_end(void)
{
	vmspace_free(at.vm);
	vm_object_deallocate(at.top);
	vm_object_deallocate(at.bottom);
}

/* Flip a field: the second call puts back what the first one found. */
#define FLIP(field, damaged) do {						\
	static __typeof__(field) _former;					\
	if (plant) {								\
		_former = (field);						\
		(field) = (damaged);						\
	} else {								\
		(field) = _former;						\
	}									\
} while (0)
#define PLANTER(name, statement) static void name(bool plant) { statement; }

/* Some free page; when it is to be mended, the same. */
static struct vm_page *
free_page(bool plant)
{
	static struct vm_page *m;

	if (plant)
		for (m = vm_page_array; m->queue != PQ_FREE; m++)
			continue;
	return (m);
}

static struct vm_page *
some_page_table(void)
{
	return (PHYS_TO_VM_PAGE(at.vm->pmap.pml4_pa));
}

PLANTER(queue_link, FLIP(at.plain->q_prev, at.plain->q_prev + 1))
PLANTER(queue_name, FLIP(at.plain->queue, PQ_INACTIVE))
PLANTER(free_dirty, FLIP(free_page(plant)->dirty, 1))
PLANTER(free_with_object, FLIP(free_page(plant)->object, at.top))
PLANTER(free_not_freed, FLIP(free_page(plant)->busy, VPB_UNBUSIED))
PLANTER(page_index, FLIP(at.plain->pindex, 1))
PLANTER(page_object, FLIP(at.plain->object, at.top))
PLANTER(page_wired_on_queue, FLIP(at.plain->wire_count, 1))
PLANTER(page_dirty_not_valid, FLIP(at.plain->valid, 0x7f))
PLANTER(page_mapped_not_valid, FLIP(at.below->valid, 0x7f); FLIP(at.below->dirty, 0))
PLANTER(page_lost, FLIP(some_page_table()->wire_count, 0))
PLANTER(object_references, FLIP(at.bottom->ref_count, 0))
PLANTER(object_shadows, FLIP(at.bottom->shadow_count, 2))
PLANTER(object_busy_page, FLIP(at.plain->busy, VPB_EXCLUSIVE))
PLANTER(object_too_small, FLIP(at.bottom->size, 3))
PLANTER(object_offset, FLIP(at.top->backing_object_offset, 512))
PLANTER(object_backing, FLIP(at.top->backing_object, at.top))
PLANTER(object_pages, FLIP(at.bottom->resident_page_count, 5))
PLANTER(anonymous_with_list, FLIP(at.top->dirty_count, 1))
PLANTER(default_with_block, FLIP(at.top->un_pager.swp.nblocks, 1))
PLANTER(map_entry_end, FLIP(at.entry->end, at.entry->end + PAGE_SIZE))
PLANTER(map_entry_unaligned, FLIP(at.entry->start, at.entry->start + 8))
PLANTER(map_entries, FLIP(at.vm->map.nentries, 2))
PLANTER(map_size, FLIP(at.vm->map.size, PAGE_SIZE))
PLANTER(map_needs_copy, FLIP(at.entry->needs_copy, true))
PLANTER(map_read_only, FLIP(at.entry->protection, VM_PROT_READ))
PLANTER(pmap_count, FLIP(at.vm->pmap.resident_count, at.vm->pmap.resident_count + 1))
PLANTER(pmap_unknown, FLIP(at.below->pv, NULL))
PLANTER(pmap_elsewhere, FLIP(at.below->pv->va, AT(3)))

/* The mapping of page 2 stays, though the top holds one of its own there now. */
static void
hidden_but_mapped(bool plant)
{
	if (plant) {
		(void)page_make(at.top, 2, 0x22);
	} else {
		vm_object_lock(at.top);
		vm_object_page_remove(at.top, 2, 3);
		vm_object_unlock(at.top);
	}
}

static const struct {
	const char	*name, *law;
	void		(*plant)(bool plant);
} damages[] = {
	{ "a queue's backward link", "(P1)", queue_link },
	{ "a page that names another queue", "(P1)", queue_name },
	{ "a dirty free page", "(P2)", free_dirty },
	{ "a free page with an object", "(P2)", free_with_object },
	{ "a free page that can be busied", "(P2)", free_not_freed },
	{ "a page's index", "(P3)", page_index },
	{ "a page's object", "(P3)", page_object },
	{ "a wired page on a queue", "(P4)", page_wired_on_queue },
	{ "dirty sectors that are not valid", "(P5)", page_dirty_not_valid },
	{ "a mapped page that is not valid", "(P6)", page_mapped_not_valid },
	{ "a page that nobody has", "neither free, queued, wired nor in an object", page_lost },
	{ "no references", "(O1)", object_references },
	{ "a shadow too many", "(O1)", object_shadows },
	{ "a busy page without paging", "(O2)", object_busy_page },
	{ "a page past the end", "(O3)", object_too_small },
	{ "an unaligned offset", "(O4)", object_offset },
	{ "a chain that ends in itself", "(O4)", object_backing },
	{ "a resident count", "(O8)", object_pages },
	{ "an anonymous object's list of dirty pages", "anonymous, with a list", anonymous_with_list },
	{ "a swap block of what was never swapped out", "and the default pager", default_with_block },
	{ "a gap", "gap", map_entry_end },
	{ "an unaligned entry", "(M1)", map_entry_unaligned },
	{ "a number of entries", "(M2)", map_entries },
	{ "a map's size", "(M2)", map_size },
	{ "a writable page that must be copied", "(M3)", map_needs_copy },
	{ "a writable page of a read-only entry", "(M3)", map_read_only },
	{ "a hidden page that is mapped", "(O6)", hidden_but_mapped },
	{ "a pmap's count", "mappings, noted", pmap_count },
	{ "a mapping that its page does not know", "which does not know it", pmap_unknown },
	{ "a reverse mapping of another address", "which does not know it", pmap_elsewhere },
};

KTEST(check, every_planted_violation_is_named)
{
	scene_build();
	check_collecting();
	CHECK_EQ(seen.count, 0);
	for (size_t i = 0; i < nitems(damages); i++) {
		damages[i].plant(true);
		check_collecting();
		damages[i].plant(false);
		if (!CHECK(was_seen(damages[i].law))) {
			printf("# %s: %d messages, %s expected\n", damages[i].name, seen.count,
			    damages[i].law);
			for (int n = 0; n < MIN(seen.count, MESSAGES); n++)
				printf("#   %s\n", seen.text[n]);
		}
		/* Mended, it is forgotten. */
		check_collecting();
		CHECK_EQ(seen.count, 0);
	}
	scene_end();
}

/* O3 of a file: its vnode, its size in bytes and its size in pages say the same. */
KTEST(check, file_objects_agree_with_their_vnodes)
{
	struct vm_object *object;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN((vp = testfile_open("/t/odd")) != NULL);
	(void)testfile_read_verify(vp, "/t/odd", 0, PAGE_SIZE);
	CHECK_OR_RETURN((object = vp->v_object) != NULL);
	check_collecting();
	CHECK_EQ(seen.count, 0);
	object->un_pager.vnp.vnp_size += PAGE_SIZE;
	check_collecting();
	CHECK(was_seen("(O3)"));
	object->un_pager.vnp.vnp_size -= PAGE_SIZE;
	vp->v_object = NULL;
	check_collecting();
	CHECK(was_seen("(O3)"));
	vp->v_object = object;
	check_collecting();
	CHECK_EQ(seen.count, 0);
	vrele(vp);
}
