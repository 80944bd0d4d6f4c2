/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The objects behind the entries of a map: when they are made, and who shares them.
 *
 * An entry of private memory has no object until the first touch, and an entry that shares one
 * copy-on-write (needs_copy) has no shadow until the first store.  Both are made by the look-up of
 * the fault that needs them, with the map locked exclusively for that moment:
 *
 *	untouched         touched            forked              written again
 *	entry -> (none)   entry -> [A]       parent -> [A] *     parent -> [S] -> [A]
 *	                                     child  -> [A] *     child  ---------> [A] *      * needs_copy
 *
 * So a fork copies entries and no pages, but for those that are wired: they must stay as they are for
 * the parent, and are copied at once.
 */
#include "vm/pmap.h"
#include "vm/vm_map_impl.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vnode_pager.h"

/* What the entry's range needs before it can be written or, if it has no object, touched at all. */
static bool
needs_object(const struct vm_map_entry *e, vm_prot_t type)
{
	return (e->object == NULL || (e->needs_copy && (type & VM_PROT_WRITE)));
}

/* => map exclusively locked. */
static void
make_object(struct vm_map_entry *e)
{
	if (e->object == NULL) {
		e->object = vm_object_allocate(OBJT_DEFAULT, OFF_TO_IDX(e->end - e->start));
		e->offset = 0;
	} else {
		vm_object_shadow(&e->object, &e->offset, e->end - e->start);
	}
	e->object->flags |= OBJ_ONEMAPPING;	/* nobody else knows it yet */
	e->needs_copy = false;
}

/* Page tables here have no "not readable": any permission implies reading, as on Linux. */
static vm_prot_t
with_read(vm_prot_t prot)
{
	return (prot != VM_PROT_NONE ? prot | VM_PROT_READ : VM_PROT_NONE);
}

static int
lookup_locked(struct vm_map *map, vm_offset_t addr, vm_prot_t type, struct vm_map_place *place)
{
	struct vm_map_entry *e = vm_map_lookup_entry(map, addr);

	place->entry = e;
	if (e == NULL)
		return (KERN_INVALID_ADDRESS);
	if (e->protection == VM_PROT_NONE || (type & ~with_read(e->protection)) != 0)
		return (KERN_PROTECTION_FAILURE);
	return (KERN_SUCCESS);
}

int
vm_map_lookup(struct vm_map *map, vm_offset_t addr, vm_prot_t type, bool try, struct vm_map_place *place)
{
	struct vm_map_entry *e;
	int kr;

	while ((kr = lookup_locked(map, addr, type, place)) == KERN_SUCCESS) {
		vm_prot_t wants = type;

		e = place->entry;
		/* A wired page must never be copied later: do it now. */
		if (e->wired_count > 0)
			wants |= e->protection & VM_PROT_WRITE;
		if (!needs_object(e, wants))
			break;
		if (rw_tryupgrade(&map->lock)) {
			map->timestamp++;
			make_object(e);
			rw_downgrade(&map->lock);
			break;
		}
		if (try) {
			kr = KERN_RESTART;
			break;
		}
		vm_map_runlock(map);
		vm_map_lock(map);
		rw_downgrade(&map->lock);
		/* re-check: the entry may be another or gone: look it up again. */
	}
	if (kr != KERN_SUCCESS) {
		vm_map_runlock(map);
		return (kr);
	}
	place->object = e->object;
	place->pindex = OFF_TO_IDX(e->offset + (trunc_page(addr) - e->start));
	place->prot = with_read(e->protection);
	if (e->needs_copy)
		place->prot &= ~VM_PROT_WRITE;
	place->wired = e->wired_count > 0;
	return (KERN_SUCCESS);
}

/* ---- fork ---- */

/*
 * Copy what the parent has at one index of its own top object into the child's.
 * => both unlocked; the parent's page is wired, so it stays.  false: no memory, after a while.
 */
static bool
copy_wired_page(struct vm_object *from, vm_pindex_t from_index, struct vm_object *to, vm_pindex_t to_index)
{
	struct vm_page *source, *m;

	vm_object_rlock(from);
	source = vm_page_lookup(from, from_index);
	vm_object_unlock(from);
	if (source == NULL || !vm_page_all_valid(source))
		return (true);		/* it lies below, or was cut off: the child looks there, too */
	vm_object_lock(to);
	while ((m = vm_page_alloc(to, to_index, VM_ALLOC_NORMAL)) == NULL) {
		vm_object_unlock(to);
		if (vm_pageout_hopeless())
			return (false);
		vm_wait();
		vm_object_lock(to);
	}
	pmap_copy_page(source, m);
	vm_page_flag_clear(m, PG_ZERO);
	m->valid = m->dirty = VM_PAGE_BITS_ALL;
	vm_page_activate(m);
	vm_page_xunbusy(m);
	vm_object_unlock(to);
	return (true);
}

/*
 * Wired private memory must stay writable where it is, so it cannot be shared copy-on-write: the
 * child gets copies now, in an object of its own above whatever the parent's shadows.
 * => the parent exclusively locked, no transitions.  false: no memory; the copy's object is right,
 *    but empty in parts.
 */
static bool
copy_wired_entry(const struct vm_map_entry *e, struct vm_map_entry *copy)
{
	struct vm_object *top = e->object, *below;
	vm_pindex_t first = OFF_TO_IDX(e->offset), npages = OFF_TO_IDX(e->end - e->start);

	vm_object_rlock(top);
	below = top->backing_object;
	copy->object = below;
	copy->offset = e->offset + top->backing_object_offset;
	if (below != NULL)
		vm_object_reference(below);
	vm_object_unlock(top);
	vm_object_shadow(&copy->object, &copy->offset, e->end - e->start);
	copy->object->flags |= OBJ_ONEMAPPING;		/* nobody else knows it yet */
	for (vm_pindex_t i = 0; i < npages; i++)
		if (!copy_wired_page(top, first + i, copy->object, i))
			return (false);
	return (true);
}

/* Share the entry's object: as it is, or copy-on-write for both sides.  => the parent exclusively locked. */
static void
share_object(struct vm_map *parent, struct vm_map_entry *e, struct vm_map_entry *copy)
{
	vm_object_reference(e->object);
	vm_object_lock(e->object);
	e->object->flags &= ~OBJ_ONEMAPPING;
	vm_object_unlock(e->object);
	if (e->inheritance != VM_INHERIT_COPY || (!vm_object_is_anonymous(e->object) && !e->needs_copy))
		return;
	/* What the parent can write must become read-only first (M3). */
	if (!e->needs_copy)
		pmap_protect(parent->pmap, e->start, e->end, e->protection & ~VM_PROT_WRITE);
	e->needs_copy = copy->needs_copy = true;
}

/*
 * One entry of the child.
 * => the parent exclusively locked, no transitions; nobody else knows the child.  false: no memory.
 */
static bool
fork_entry(struct vm_map *parent, struct vm_map_entry *e, struct vm_map *child)
{
	struct vm_map_entry *copy;
	bool copied = true;

	if (e->inheritance == VM_INHERIT_NONE || e->on_fork == VM_FORK_OMIT)
		return (true);
	if (e->inheritance == VM_INHERIT_SHARE && (e->object == NULL || e->needs_copy))
		make_object(e);		/* so that both sides share one */
	copy = vm_map_entry_create();
	*copy = *e;
	copy->wired_count = 0;
	if (e->on_fork == VM_FORK_WIPE) {
		copy->object = NULL;
		copy->offset = 0;
		copy->needs_copy = false;
	} else if (e->object != NULL && e->inheritance == VM_INHERIT_COPY && e->wired_count > 0 && !e->needs_copy &&
	    vm_object_is_anonymous(e->object)) {
		copied = copy_wired_entry(e, copy);
	} else if (e->object != NULL) {
		share_object(parent, e, copy);
	}
	if (copy->stores)
		vnode_pager_stores(copy->object, (vm_ooffset_t)(copy->end - copy->start));
	vm_map_entry_link(child, vm_map_entry_before(child, copy->start), copy);
	return (copied);
}

int
vm_map_copy_entries(struct vm_map *parent, struct vm_map *child)
{
	bool copied = true;

	vm_map_lock_range(parent, parent->min, parent->max);
	for (struct vm_map_entry *e = vm_map_first(parent); e != NULL && copied; e = vm_map_next(e))
		copied = fork_entry(parent, e, child);
	vm_map_unlock(parent);
	return (copied ? KERN_SUCCESS : KERN_RESOURCE_SHORTAGE);
}
