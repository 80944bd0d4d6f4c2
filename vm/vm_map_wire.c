/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring: making a range of addresses resident, and keeping it so.
 */
#include "kernel/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_fault.h"
#include "vm/vm_map_impl.h"

void
vm_map_entry_unwire(struct vm_map *map, struct vm_map_entry *e)
{
	pmap_unwire(map->pmap, e->start, e->end);
	for (vm_offset_t va = e->start; va < e->end; va += PAGE_SIZE)
		vm_fault_unwire_page(e->object, OFF_TO_IDX(e->offset + (va - e->start)));
	e->wired_count = 0;
}

/* Undo the marks of vm_map_wire() for [start, end), of which the pages below `done` were wired. */
static void
wire_undo(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t done)
{
	vm_map_lock(map);
	for (struct vm_map_entry *e = vm_map_clip_start(map, start); e != NULL && e->start < end; e = vm_map_next(e)) {
		vm_map_clip_end(map, e, end);
		if (e->end > done && e->start < done)
			vm_map_clip_end(map, e, done);
		if (e->start < done && e->wired_count > 0)
			vm_map_entry_unwire(map, e);
		e->wired_count = 0;
	}
	vm_map_join_range(map, start, end);
	vm_map_unlock(map);
}

int
vm_map_wire(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	vm_offset_t at = start;
	int kr = KERN_SUCCESS;

	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ARGUMENT);
	vm_map_lock(map);
	for (struct vm_map_entry *e = vm_map_clip_start(map, start); at < end; e = vm_map_next(e)) {
		if (e == NULL || e->start != at || e->wired_count > 0) {
			kr = e != NULL && e->start == at ? KERN_INVALID_ARGUMENT : KERN_INVALID_ADDRESS;
			break;
		}
		vm_map_clip_end(map, e, end);
		e->wired_count = 1;
		at = e->end;
	}
	vm_map_unlock(map);
	if (kr != KERN_SUCCESS) {
		if (at > start)
			wire_undo(map, start, at, start);
		return (kr);
	}
	for (at = start; at < end && kr == KERN_SUCCESS; at += PAGE_SIZE)
		kr = vm_fault(map, at, VM_PROT_NONE, VM_FAULT_WIRE, NULL);
	if (kr != KERN_SUCCESS)
		wire_undo(map, start, end, at - PAGE_SIZE);
	return (kr);
}

int
vm_map_unwire(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ARGUMENT);
	wire_undo(map, start, end, end);
	return (KERN_SUCCESS);
}
