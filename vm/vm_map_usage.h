/* SPDX-License-Identifier: BSD-2-Clause */
/* What an entry of a map has in memory. */
#ifndef VM_VM_MAP_USAGE_H
#define VM_VM_MAP_USAGE_H

#include "kernel/lib/types.h"

struct vm_map;
struct vm_map_entry;

/* In pages, but for in_proportion. */
struct vm_usage {
	uint64_t	size;
	uint64_t	resident;	/* mapped by this address space */
	uint64_t	anonymous;	/* of these, private memory: not a file's, or copied */
	uint64_t	memory_shared;	/* of these, memory that is shared, and a tmpfs's */
	uint64_t	pages[2][2];	/* of these, [mapped elsewhere, too][changed] */
	uint64_t	in_proportion;	/* bytes: each page's size divided by how often it is mapped */
	uint64_t	swapped;
	bool		wired;
};

/* => map locked, either way; sleeps for objects.  Takes time for each page and block that the entry's objects have there */
void vm_map_usage(struct vm_map *map, const struct vm_map_entry *e, struct vm_usage *u);

#endif
