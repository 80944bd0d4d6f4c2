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
struct vnode;

/* The copy of one page.  (o) both: the object's lock */
struct swap_slot {
	/* (o) of the swap area; 0: none, for that number is nobody's */
	uint32_t	block;
	uint32_t	sum;		/* (o) debug: checksum of what was written */
};

/* Blocks that lie side by side on the disk.  (c) all */
struct swap_extent {
	uint32_t	block;		/* the first; the one before it is nobody's */
	uint32_t	count;
	uint64_t	sector;		/* where it lies, 512-byte units */
};

/*
 * What is swapped to, a disk or a file, and its free blocks: they come and go as one.  (c) while it
 * is on
 */
struct swap_area {
	struct disk	*disk;		/* (c) */
	struct vnode	*vp;		/* (c) the file, referenced; NULL: the disk itself */
	struct blist	*map;		/* swap_lock */
	uint32_t	 nblocks;	/* (c) block numbers, those that are nobody's included */
	uint32_t	 usable;	/* (c) blocks */
	uint32_t	 nextents;	/* (c) */
	struct swap_extent *extents;	/* (c) by block */
	struct swap_extent whole;	/* (c) of a disk, the only one */
};

/* swap_file.c: fill in the disk, the file and the extents.  0 or an errno of swap_on_vnode(). */
int  swap_file_open(struct vnode *vp, struct swap_area *area);
void swap_file_close(struct swap_area *area);		/* the file is an ordinary one again */
/* Where a block lies on the disk, 512-byte units.  => it belongs to an extent */
uint64_t swap_area_sector(const struct swap_area *area, uint32_t block);

void swap_map_init(void);

/* Seam for the self-tests: the slabs have no memory for chunks, only the reserve has. */
extern bool swap_map_starve;

/*
 * The area, or NULL.  => whoever owns a block (has it in a locked object, or its page busy) may use
 * it: swap_off() waits for blocks.
 */
struct swap_area *swap_area_get(void);
/* Swap to it from now on; fills the reserve of chunks.  => there is no other; sleeps */
void swap_area_open(struct swap_area *area);
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
