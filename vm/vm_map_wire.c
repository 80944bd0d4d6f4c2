/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring: making a range of addresses resident, and keeping it so.
 *
 * A page is made resident by a fault, and a fault locks the map itself.  So wiring is three steps:
 *
 *	map locked      mark the entries of the range: wired, and in transition (`wiring` is us)
 *	map unlocked    fault in each page of the marked entries, wiring it
 *	map locked      take the marks of transition off, or of everything when a page failed
 *
 * Between the marks the entries are ours, although the map is not locked: whoever else wants to cut,
 * change, remove, wire, unwire or copy one of them waits for the transition to end, in "mapwire".
 * Faults and look-ups go on.  A page that a truncation cuts off meanwhile stays in its object, without
 * contents, until it is unwired (vm_object_page_remove).
 *
 * Wiring is not counted: a range that is wired twice is unwired by unwiring it once, as for mlock().
 * Pages are counted, because two address spaces may wire the same one.
 *
 * Lock order: map; the faults take what they need with the map unlocked.
 */
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_fault.h"
#include "vm/vm_map_impl.h"
#include "vm/vm_path.h"

void
vm_map_lock_range(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *e;

	vm_map_lock(map);
	e = vm_map_entry_before(map, start);
	while (e != NULL && e->start < end) {
		if (e->end <= start || e->wiring == NULL) {
			e = vm_map_next(e);
			continue;
		}
		VM_PATH("map_waits_for_wiring");
		map->transition_wanted = true;
		(void)tsleep(&map->transition_wanted, &map->lock.lk, "mapwire", 0);
		/* re-check: everything: the map was unlocked. */
		map->timestamp++;
		e = vm_map_entry_before(map, start);
	}
}

/* Unwire the pages [start, end) of one entry. */
static void
unwire_pages(struct vm_map *map, struct vm_map_entry *e, vm_offset_t start, vm_offset_t end)
{
	for (vm_offset_t va = start; va < end; va += PAGE_SIZE)
		vm_fault_unwire_page(e->object, OFF_TO_IDX(e->offset + (va - e->start)));
}

void
vm_map_entry_unwire(struct vm_map *map, struct vm_map_entry *e)
{
	KASSERT(e->wiring == NULL, "unwiring [%lx, %lx) while it is being wired", e->start, e->end);
	pmap_unwire(map->pmap, e->start, e->end);
	unwire_pages(map, e, e->start, e->end);
	e->wired_count = 0;
}

/*
 * Mark what is not wired yet, and cut it off at the ends.
 * => map locked.  KERN_INVALID_ADDRESS: there is a hole, and some of what lies before it is marked.
 */
static int
mark_range(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	vm_offset_t at = start;

	for (struct vm_map_entry *e = vm_map_clip_start(map, start); at < end; e = vm_map_next(e)) {
		if (e == NULL || e->start != at)
			return (KERN_INVALID_ADDRESS);
		vm_map_clip_end(map, e, end);
		if (e->wired_count == 0) {
			e->wired_count = 1;
			e->wiring = curthread;
		}
		at = e->end;
	}
	return (KERN_SUCCESS);
}

/*
 * The transition is over.  Of our entries the pages below `done` were wired.
 * => map locked; keep: they stay so.
 */
static void
end_transition(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t done, bool keep)
{
	for (struct vm_map_entry *e = vm_map_entry_before(map, start); e != NULL && e->start < end; e = vm_map_next(e)) {
		if (e->wiring != curthread || e->end <= start)
			continue;
		e->wiring = NULL;
		if (keep)
			continue;
		/* Others' faults may have found the entry wired, and a page held: those marks go, too. */
		pmap_unwire(map->pmap, e->start, e->end);
		unwire_pages(map, e, e->start, MIN(e->end, done));
		e->wired_count = 0;
	}
	if (map->transition_wanted) {
		map->transition_wanted = false;
		wakeup(&map->transition_wanted);
	}
}

/* The first address at or above `at` of an entry that we are wiring; `end`: there is none. */
static vm_offset_t
next_to_wire(struct vm_map *map, vm_offset_t at, vm_offset_t end)
{
	struct vm_map_entry *e;

	vm_map_rlock(map);
	for (e = vm_map_entry_before(map, at); e != NULL && e->start < end; e = vm_map_next(e))
		if (e->end > at && e->wiring == curthread)
			break;
	at = e != NULL && e->start < end ? MAX(at, e->start) : end;
	vm_map_runlock(map);
	return (at);
}

int
vm_map_wire(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	vm_offset_t done = start, at;
	int kr;

	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ARGUMENT);
	vm_map_lock_range(map, start, end);
	kr = vm_map_room(map, start, end, 0) ? mark_range(map, start, end) : KERN_RESOURCE_SHORTAGE;
	if (kr == KERN_SUCCESS) {
		vm_map_unlock(map);
		while (kr == KERN_SUCCESS && (at = next_to_wire(map, done, end)) < end) {
			kr = vm_fault(map, at, VM_PROT_NONE, VM_FAULT_WIRE, NULL);
			done = kr == KERN_SUCCESS ? at + PAGE_SIZE : at;
		}
		vm_map_lock(map);
	}
	end_transition(map, start, end, done, kr == KERN_SUCCESS);
	vm_map_join_range(map, start, end);
	vm_map_unlock(map);
	return (kr);
}

int
vm_map_unwire(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ARGUMENT);
	if (vm_map_lock_to_clip(map, start, end) != KERN_SUCCESS)
		return (KERN_RESOURCE_SHORTAGE);
	for (struct vm_map_entry *e = vm_map_clip_start(map, start); e != NULL && e->start < end; e = vm_map_next(e)) {
		vm_map_clip_end(map, e, end);
		if (e->wired_count > 0)
			vm_map_entry_unwire(map, e);
	}
	vm_map_join_range(map, start, end);
	vm_map_unlock(map);
	return (KERN_SUCCESS);
}
