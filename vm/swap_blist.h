/* SPDX-License-Identifier: BSD-2-Clause */
/* A bitmap of blocks with an index over it: which blocks of the swap disk are free. */
#ifndef VM_SWAP_BLIST_H
#define VM_SWAP_BLIST_H

#include "kernel/lib/types.h"

struct blist;

#define BLIST_NONE	UINT32_MAX
#define BLIST_RUN_MAX	32u		/* longest run that can be asked for */
#define BLIST_BLOCKS_MAX (8u * 1024 * 1024)

/* Blocks [0, nblocks), all free.  => sleeps for memory; 0 < nblocks <= BLIST_BLOCKS_MAX. */
struct blist *blist_create(uint32_t nblocks);
void blist_destroy(struct blist *bl);
/*
 * Take `count` consecutive free blocks, 1 to BLIST_RUN_MAX; the search goes on where the last one
 * ended.
 * => never sleeps, allocates nothing; the caller serializes.  BLIST_NONE: there is no such run
 *    inside one word of the map.
 */
uint32_t blist_alloc(struct blist *bl, uint32_t count);
/* Give blocks back.  Panics when one of them is free. */
void blist_free(struct blist *bl, uint32_t first, uint32_t count);
/* Mark blocks as taken, whatever they were.  Returns how many of them were free. */
uint32_t blist_fill(struct blist *bl, uint32_t first, uint32_t count);
uint32_t blist_nfree(const struct blist *bl);
bool blist_is_free(const struct blist *bl, uint32_t block);
/*
 * Count the bits, and see that no hint is too small; panics if not.  For the tests and vm_check().
 */
void blist_check(const struct blist *bl);

#endif
