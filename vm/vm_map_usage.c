/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an entry of a map has in memory: for /proc.
 *
 *	a page of an object of the chain, mapped here		resident
 *	a block on the swap disk, and no page is mapped here	swapped
 *
 * A page in memory that is not mapped here is neither: the next touch finds it without a disk.  What a copy in
 * front of it hides, and went to the swap disk like the copy, is counted with it.
 *
 * It goes by the pages and blocks that there are, not by addresses: a program may have mapped more of those than
 * anybody can count.  Nothing stands still meanwhile but the map.  What is said of a page was so at one moment.
 */
#include "vm/vm_map_usage.h"

#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

/* => m's object locked, so that it stays */
static void
count_page(const struct vm_map_entry *e, struct vm_page *m, struct vm_usage *u)
{
	bool shared, dirty = PEEK(m->dirty) != 0 || pmap_is_modified(m);
	int mappings = pmap_page_mapping_count(m);

	shared = mappings > 1;
	u->resident++;
	u->in_proportion += PAGE_SIZE / (unsigned)MAX(mappings, 1);
	u->anonymous += vm_object_is_anonymous(m->object) && e->inheritance != VM_INHERIT_SHARE;
	u->memory_shared += vm_object_is_anonymous(m->object) && e->inheritance == VM_INHERIT_SHARE;
	u->pages[shared][dirty]++;
}

/*
 * The part of one object that the entry shows: from `first` on.
 * => map locked; object locked, either way
 */
static void
count_object(struct vm_map *map, const struct vm_map_entry *e, struct vm_object *object, vm_pindex_t first, struct vm_usage *u)
{
	vm_pindex_t end = first + OFF_TO_IDX(e->end - e->start);
	vm_offset_t base = e->start - (vm_offset_t)IDX_TO_OFF(first);	/* page 0 would be here */

	for (struct vm_page *m = vm_page_find_least(object, first); m != NULL && m->pindex < end; m = vm_page_next(m))
		if (pmap_extract(map->pmap, base + (vm_offset_t)IDX_TO_OFF(m->pindex)) == VM_PAGE_TO_PHYS(m))
			count_page(e, m, u);
	if (!vm_object_is_anonymous(object))
		return;
	for (vm_pindex_t at = first; swap_pager_next(object, &at) && at < end; at++)
		u->swapped += vm_page_lookup(object, at) == NULL && pmap_extract(map->pmap, base + (vm_offset_t)IDX_TO_OFF(at)) == 0;
}

void
vm_map_usage(struct vm_map *map, const struct vm_map_entry *e, struct vm_usage *u)
{
	vm_pindex_t first = OFF_TO_IDX(e->offset);
	struct vm_object *object = e->object;

	*u = (struct vm_usage){ .size = (e->end - e->start) / PAGE_SIZE, .wired = e->wired_count > 0 };
	if (object != NULL)
		vm_object_rlock(object);
	while (object != NULL) {
		count_object(map, e, object, first, u);
		object = vm_object_rdescend(object, &first);
	}
}
