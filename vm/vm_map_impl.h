/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entries of a map, for the files that look at them closely (vm_map*.c, vm_mmap.c, vm_mremap.c, vm_madvise.c).
 * => where it says nothing else, and something changes: the map exclusively locked; by vm_map_lock_range() where
 *    entries change that were there before.
 */
#ifndef VM_VM_MAP_IMPL_H
#define VM_VM_MAP_IMPL_H

#include "vm/vm_map.h"

/* Page aligned, not empty, inside the map?  (Needs no lock.) */
bool vm_map_range_valid(const struct vm_map *map, vm_offset_t start, vm_offset_t end);

struct vm_map_entry *vm_map_entry_create(void);	/* the caller fills it, all of it; => sleeps for memory */
/* Put an entry into the tree, right behind `after`. */
void vm_map_entry_link(struct vm_map *map, struct vm_map_entry *after, struct vm_map_entry *entry);
void vm_map_entry_unlink(struct vm_map *map, struct vm_map_entry *entry);
/* Unmap [start, end) and take its entries out; vm_map_free_entries() frees the list. */
struct vm_map_entry *vm_map_unlink_range(struct vm_map *map, vm_offset_t start, vm_offset_t end);
/* Let go of what a list of entries mapped.  => map UNLOCKED: sleeps for vnodes. */
void vm_map_free_entries(struct vm_map_entry *doomed);
/* The last entry that starts at or below addr; the sentinel if no other does. */
struct vm_map_entry *vm_map_entry_before(struct vm_map *map, vm_offset_t addr);
/*
 * The nearest entry behind this one (way 1) or before it (way 0) with a gap of at least len bytes behind itself;
 * NULL: there is none.
 */
struct vm_map_entry *vm_map_entry_with_gap(struct vm_map_entry *entry, vm_size_t len, int way);
/*
 * The first entry that ends above addr, cut so that it starts at addr or above; NULL: there is
 * none.
 */
struct vm_map_entry *vm_map_clip_start(struct vm_map *map, vm_offset_t addr);
void vm_map_clip_end(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t end);
/* Join what can be joined from the entry that holds `start` to the first one at or behind `end`. */
void vm_map_join_range(struct vm_map *map, vm_offset_t start, vm_offset_t end);

/*
 * What an entry's pages are once its private copies are gone: the object and the place in it that `start` shows,
 * or NULL for zeros (vm_mremap.c).  => map locked, either way.
 */
struct vm_object *vm_map_entry_bottom(struct vm_map_entry *e, vm_ooffset_t *offset);

/*
 * Lock the range as vm_map_lock_range() does, if what its borders cut off can have entries.
 * => KERN_SUCCESS; KERN_RESOURCE_SHORTAGE: not locked.
 */
int  vm_map_lock_to_clip(struct vm_map *map, vm_offset_t start, vm_offset_t end);

/* Unwire the pages of one entry, wherever its chain holds them (vm_map_wire.c). */
void vm_map_entry_unwire(struct vm_map *map, struct vm_map_entry *e);

#endif
