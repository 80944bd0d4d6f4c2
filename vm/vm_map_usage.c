/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an entry of a map has in memory, page by page: for /proc.
 *
 *	the first object of the chain that has the page, valid	resident, if this address space maps that very page
 *	none has it, but one has it on the swap disk		swapped
 *
 * A page in memory that is not mapped here is neither: the next touch finds it without a disk.
 *
 * Nothing stands still meanwhile but the map.  What is said of a page was so at one moment.
 */
#include "vm/vm_map_usage.h"

#include "vm/pmap.h"
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

/* => map locked */
static void
look_at(struct vm_map *map, const struct vm_map_entry *e, vm_offset_t at, struct vm_usage *u)
{
	vm_pindex_t pindex = OFF_TO_IDX(e->offset + (vm_ooffset_t)(at - e->start));
	struct vm_object *object = e->object, *backing;
	bool found = false;
	struct vm_page *m;

	for (; object != NULL && !found; object = backing) {
		vm_object_rlock(object);
		m = vm_page_lookup(object, pindex);
		if (m != NULL && PEEK(m->valid) != 0) {
			found = true;
			if (pmap_extract(map->pmap, at) == VM_PAGE_TO_PHYS(m))
				count_page(e, m, u);
		} else if (vm_object_is_anonymous(object) && vm_object_has_content(object, pindex)) {
			found = true;
			u->swapped++;
		}
		pindex += OFF_TO_IDX(object->backing_object_offset);
		backing = object->backing_object;
		vm_object_unlock(object);
	}
}

void
vm_map_usage(struct vm_map *map, const struct vm_map_entry *e, struct vm_usage *u)
{
	*u = (struct vm_usage){ .size = (e->end - e->start) / PAGE_SIZE, .wired = e->wired_count > 0 };
	for (vm_offset_t at = e->start; e->object != NULL && at < e->end; at += PAGE_SIZE)
		look_at(map, e, at, u);
}
