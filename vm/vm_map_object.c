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
 * So a fork copies entries and no pages.
 */
#include "kernel/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_map_impl.h"
#include "vm/vm_object.h"

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

/* One entry of the child.  => the parent exclusively locked; nobody else knows the child. */
static void
fork_entry(struct vm_map *parent, struct vm_map_entry *e, struct vm_map *child)
{
	struct vm_map_entry *copy;

	if (e->inheritance == VM_INHERIT_NONE || e->on_fork == VM_FORK_OMIT)
		return;
	if (e->inheritance == VM_INHERIT_SHARE && (e->object == NULL || e->needs_copy))
		make_object(e);		/* so that both sides share one */
	copy = vm_map_entry_create();
	*copy = *e;
	copy->wired_count = 0;
	copy->wire_again = false;
	if (e->on_fork == VM_FORK_WIPE) {
		copy->object = NULL;
		copy->offset = 0;
		copy->needs_copy = false;
	}
	if (copy->object != NULL) {
		vm_object_reference(copy->object);
		vm_object_lock(copy->object);
		copy->object->flags &= ~OBJ_ONEMAPPING;
		vm_object_unlock(copy->object);
		if (e->inheritance == VM_INHERIT_COPY && (vm_object_is_anonymous(e->object) || e->needs_copy)) {
			/*
			 * Both sides copy on write from now on; what the parent can write must
			 * become read-only first (M3).
			 */
			if (!e->needs_copy)
				pmap_protect(parent->pmap, e->start, e->end, e->protection & ~VM_PROT_WRITE);
			e->needs_copy = copy->needs_copy = true;
		}
	}
	vm_map_entry_link(child, vm_map_entry_before(child, copy->start), copy);
}

/*
 * Wire what fork unwired: pages that are locked must be the parent's own, and were shared with the child by the copy.
 * Copying them is what the faults of wiring do.  => map unlocked; without memory for that, the lock is lost.
 */
static void
wire_again(struct vm_map *map)
{
	struct vm_map_entry *e;
	vm_offset_t start, end;

	do {
		vm_map_lock(map);
		for (e = vm_map_first(map); e != NULL && !e->wire_again; e = vm_map_next(e))
			;
		if (e != NULL) {
			e->wire_again = false;
			start = e->start;
			end = e->end;
		}
		vm_map_unlock(map);
		if (e != NULL)
			(void)vm_map_wire(map, start, end);
	} while (e != NULL);
}

void
vm_map_copy_entries(struct vm_map *parent, struct vm_map *child)
{
	bool again = false;

	vm_map_lock(parent);
	for (struct vm_map_entry *e = vm_map_first(parent); e != NULL; e = vm_map_next(e)) {
		if (e->wired_count > 0 && e->inheritance == VM_INHERIT_COPY) {
			vm_map_entry_unwire(parent, e);
			e->wire_again = true;
			again = true;
		}
		fork_entry(parent, e, child);
	}
	vm_map_unlock(parent);
	if (again)
		wire_again(parent);
}
