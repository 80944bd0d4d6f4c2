/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which swap block belongs to which page of which object: the inside of the swap pager
 * (swap_pager.c, swap_onoff.c).
 */
#ifndef VM_SWAP_MAP_H
#define VM_SWAP_MAP_H

#include "kernel/lib/types.h"
#include "vm/vm.h"

struct blist;
struct disk;
struct vm_object;
struct vm_page;

/* The copy of one page.  (o) both: the object's lock */
struct swap_slot {
	/* (o) on the swap disk; 0: none, for the first page of the disk is never used */
	uint32_t	block;
	uint32_t	sum;		/* (o) debug: checksum of what was written */
};

/* A swap disk and its free blocks come and go as one. */
struct swap_area {
	struct disk	*disk;		/* (c) while it is on */
	struct blist	*map;		/* swap_lock */
	uint32_t	 nblocks;	/* (c) */
};

void swap_map_init(void);

/* Seam for the self-tests: the slabs have no memory for chunks, only the reserve has. */
extern bool swap_map_starve;

/*
 * The area, or NULL.  => whoever owns a block (has it in a locked object, or its page busy) may use
 * it: swap_off() waits for blocks.
 */
struct swap_area *swap_area_get(void);
/* 0 or EBUSY; fills the reserve of chunks.  => sleeps */
int  swap_area_open(struct swap_area *area);
/* Nobody gets new blocks from now on, or gets them again. */
void swap_area_refuse(bool refuse);
/* => refused, no block in use; returns it for the caller to free */
struct swap_area *swap_area_close(void);

/* Consecutive blocks, as many of *count as there are in one run; 0: none at all. */
uint32_t swap_blocks_alloc(uint32_t *count);
void swap_blocks_free(uint32_t first, uint32_t count);

/* => object locked in any mode.  NULL: no block. */
struct swap_slot *swap_slot_find(struct vm_object *object, vm_pindex_t pindex);
/* => object exclusively locked, OBJT_SWAP, no block there.  Never sleeps; false: no memory. */
bool swap_slot_set(struct vm_object *object, vm_pindex_t pindex, struct swap_slot slot);
/* Forget a slot; the block is the caller's.  => exclusively locked; there is one. */
struct swap_slot swap_slot_take(struct vm_object *object, vm_pindex_t pindex);

/* 0 in release builds. */
uint32_t swap_checksum(struct vm_page *m);

#endif
