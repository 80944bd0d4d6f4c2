/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Maps from above: the search for the highest free place, and stacks, which grow downwards.
 *
 *	        |<----- stack_limit, at most ---->|
 *	        |  ... may grow ...    [ stack  ) )		all its entries have grow_top, where the stack ends
 *	 [ other )<- STACK_GUARD_GAP ->         grow_top
 *
 * A fault below a stack adds a new entry in front of it; the two join while neither has an object.  A stack never
 * grows to within STACK_GUARD_GAP of accessible memory below it, and the search for space keeps the same distance, so that a
 * runaway stack faults instead of writing into somebody else's memory.  Who maps something there at a fixed
 * address gets it.
 */
#include "kernel/lib/errno.h"
#include "vm/vm_map_impl.h"

#define STACK_GUARD_GAP	(256 * PAGE_SIZE)	/* as Linux */
#define STACK_FIRST	(128 * KiB)		/* mapped from the start */
#define STACK_STEP	(64 * KiB)		/* grows by at least this much, where there is room */

static int
highest_gap(struct vm_map *map, vm_offset_t *addr, vm_size_t len)
{
	vm_offset_t top = MIN(*addr, map->max);
	struct vm_map_entry *e;

	if (len == 0 || len > map->max - map->min || top < map->min + len)
		return (KERN_NO_SPACE);
	/* The gap that `top` lies in, or under, is usable up to `top` only; all before it wholly. */
	e = vm_map_entry_before(map, top - 1);
	if (MIN(e->end + e->gap, top) >= e->end + len) {
		*addr = MIN(e->end + e->gap, top) - len;
		return (KERN_SUCCESS);
	}
	e = vm_map_entry_with_gap(e, len, 0);
	if (e == NULL)
		return (KERN_NO_SPACE);
	*addr = e->end + e->gap - len;
	return (KERN_SUCCESS);
}

int
vm_map_findspace_below(struct vm_map *map, vm_offset_t *addr, vm_size_t len)
{
	vm_offset_t top = *addr;
	struct vm_map_entry *above;

	for (;;) {
		*addr = top;
		if (highest_gap(map, addr, len) != KERN_SUCCESS)
			return (KERN_NO_SPACE);
		above = vm_map_next(vm_map_entry_before(map, *addr));
		if (above == NULL || above->grow_top == 0 || above->start - (*addr + len) >= STACK_GUARD_GAP)
			return (KERN_SUCCESS);
		top = above->start - MIN(above->start, STACK_GUARD_GAP);
	}
}

int
vm_map_stack(struct vm_map *map, vm_offset_t top, vm_size_t len, vm_prot_t prot)
{
	vm_offset_t start = top - MIN(len, STACK_FIRST);
	int kr;

	vm_map_lock(map);
	map->stack_limit = len;
	kr = vm_map_insert(map, NULL, 0, start, top, prot, VM_PROT_ALL, MAP_STACK_GROWS, VM_INHERIT_COPY);
	vm_map_unlock(map);
	return (vm_errno(kr));
}

/* How far down may it grow?  => map locked */
static vm_offset_t
stack_floor(const struct vm_map *map, const struct vm_map_entry *below, const struct vm_map_entry *stack)
{
	vm_size_t limit = MIN(map->stack_limit, stack->grow_top - map->min);
	bool apart = below != &map->sentinel && below->protection != VM_PROT_NONE && below->grow_top == 0;

	return (MAX(round_page(stack->grow_top - limit), below->end + (apart ? STACK_GUARD_GAP : 0)));
}

/* => map exclusively locked. */
static bool
grow_locked(struct vm_map *map, vm_offset_t addr)
{
	struct vm_map_entry *below, *e;
	vm_offset_t floor, start, old;

	below = vm_map_entry_before(map, addr);
	if (below != &map->sentinel && addr < below->end)
		return (true);			/* somebody else was faster */
	e = vm_map_next(below);
	if (e == NULL || e->grow_top == 0)
		return (false);
	floor = stack_floor(map, below, e);
	if (trunc_page(addr) < floor)
		return (false);
	old = e->start;
	start = MAX(floor, MIN(trunc_page(addr), old - MIN(old, STACK_STEP)));
	if (vm_map_insert(map, NULL, 0, start, old, e->protection, e->max_protection, MAP_STACK_GROWS,
	    e->inheritance) != KERN_SUCCESS)
		return (false);
	vm_map_lookup_entry(map, start)->grow_top = e->grow_top;
	vm_map_join_range(map, start, old);
	return (true);
}

bool
vm_map_grow(struct vm_map *map, vm_offset_t addr)
{
	bool grown;

	vm_map_lock(map);
	grown = grow_locked(map, addr);
	vm_map_unlock(map);
	return (grown);
}

int
vm_map_stack_start(struct vm_map *map, vm_offset_t *addr)
{
	struct vm_map_entry *e, *below;
	int error = 0;

	vm_map_rlock(map);
	e = vm_map_lookup_entry(map, *addr);
	if (e == NULL || e->grow_top == 0) {
		error = e == NULL ? ENOMEM : EINVAL;
	} else {
		while ((below = vm_map_entry_before(map, e->start - 1)) != &map->sentinel && below->end == e->start &&
		    below->grow_top == e->grow_top)
			e = below;
		*addr = e->start;
	}
	vm_map_runlock(map);
	return (error);
}
