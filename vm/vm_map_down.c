/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Maps from above: the search for the highest free place, and stacks, which grow downwards.
 *
 *	     grow_min                 start          end
 *	        |  ... may grow ...    [ stack entry  )		the lowest entry of a stack has grow_min != 0
 *	 [ other )<- STACK_GUARD_GAP ->
 *
 * A fault below a growing entry adds a new entry in front of it, which takes over grow_min; the two join while
 * neither has an object.  A stack never grows to within STACK_GUARD_GAP of the mapping below it, so that a
 * runaway stack faults instead of writing into somebody else's memory.
 */
#include "vm/vm_map_impl.h"

#define STACK_GUARD_GAP	(256 * PAGE_SIZE)	/* as Linux */
#define STACK_FIRST	(128 * KiB)		/* mapped from the start */
#define STACK_STEP	(64 * KiB)		/* grows by at least this much, where there is room */

static inline struct vm_map_entry *
node_entry(struct rb_node *node)
{
	return (container_of(node, struct vm_map_entry, node));
}

/* The last entry before `entry`, in order, with a gap of at least len behind it; NULL: none. */
static struct vm_map_entry *
previous_with_gap(struct vm_map_entry *entry, vm_size_t len)
{
	struct rb_node *node = &entry->node, *from;

	for (;;) {
		struct rb_node *left = node->child[0];

		if (left != NULL && node_entry(left)->max_gap >= len) {
			for (node = left; ; ) {
				struct rb_node *right = node->child[1];

				if (right != NULL && node_entry(right)->max_gap >= len)
					node = right;
				else if (node_entry(node)->gap >= len)
					return (node_entry(node));
				else
					node = node->child[0];
			}
		}
		do {
			from = node;
			node = rb_parent(node);
		} while (node != NULL && node->child[0] == from);
		if (node == NULL)
			return (NULL);
		if (node_entry(node)->gap >= len)
			return (node_entry(node));
	}
}

int
vm_map_findspace_below(struct vm_map *map, vm_offset_t *addr, vm_size_t len)
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
	e = previous_with_gap(e, len);
	if (e == NULL)
		return (KERN_NO_SPACE);
	*addr = e->end + e->gap - len;
	return (KERN_SUCCESS);
}

int
vm_map_stack(struct vm_map *map, vm_offset_t top, vm_size_t len, vm_prot_t prot)
{
	vm_offset_t start = top - MIN(len, STACK_FIRST);
	int kr;

	vm_map_lock(map);
	kr = vm_map_insert(map, NULL, 0, start, top, prot, VM_PROT_ALL, 0, VM_INHERIT_COPY);
	if (kr == KERN_SUCCESS)
		vm_map_lookup_entry(map, start)->grow_min = top - len;
	vm_map_unlock(map);
	return (vm_errno(kr));
}

/* => map exclusively locked. */
static bool
grow_locked(struct vm_map *map, vm_offset_t addr)
{
	struct vm_map_entry *below, *e;
	vm_offset_t floor, start, limit;

	below = vm_map_entry_before(map, addr);
	if (below != &map->sentinel && addr < below->end)
		return (true);			/* somebody else was faster */
	e = vm_map_next(below);
	if (e == NULL || e->grow_min == 0)
		return (false);
	limit = e->grow_min;
	floor = MAX(limit, below->end + STACK_GUARD_GAP);
	if (trunc_page(addr) < floor)
		return (false);
	start = MAX(floor, MIN(trunc_page(addr), e->start - MIN(e->start, STACK_STEP)));
	e->grow_min = 0;
	if (vm_map_insert(map, NULL, 0, start, e->start, e->protection, e->max_protection, 0,
	    e->inheritance) != KERN_SUCCESS) {
		e->grow_min = limit;
		return (false);
	}
	vm_map_lookup_entry(map, start)->grow_min = limit;
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
