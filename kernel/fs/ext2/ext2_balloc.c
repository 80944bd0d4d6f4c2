/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Giving blocks to a file, in two steps with the data's way to the disk between them:
 *
 *	ext2_place: which blocks          data is written there          ext2_enter: the pointers
 *
 * Between the steps the blocks belong to nobody, so whatever goes wrong, no pointer leads to bytes
 * that are not the file's.  The pointers then reach the disk with the next sync, which flushes the
 * data before it writes the first of them.
 *
 * A file's next block is wanted behind its last one.  The pointer block for blocks that were just
 * placed goes behind these.
 *
 * A new pointer block is zeroed in memory and waits as BUF_FRESH: it is written before the pointer
 * that leads to it.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"

int
ext2_place(struct ext2_inode *ip, uint64_t lbn, uint32_t want, uint32_t *block, uint32_t *got)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t goal = ext2_inode_goal(em, ip->i_number);
	struct bmap bm;

	if (lbn > 0 && ext2_bmap_inode(ip, (daddr_t)(lbn - 1), &bm) == 0 && !bm.hole)
		goal = ((uint64_t)bm.blkno >> (em->em_bshift - DEV_BSHIFT)) + 1;
	return (ext2_balloc(em, goal, want, block, got));
}

uint64_t
ext2_pointer_blocks(const struct ext2_mount *em, uint64_t lbn, uint64_t count)
{
	uint64_t base = EXT2_NDIRECT, blocks = 0;

	for (uint32_t depth = 1; depth <= 3; depth++) {
		uint64_t reach = 1ul << (em->em_ptr_shift * depth);
		uint64_t from = MAX(lbn, base), to = MIN(lbn + count, base + reach);

		if (from < to) {
			for (uint32_t level = 1; level <= depth; level++)
				blocks += ((to - 1 - base) >> (em->em_ptr_shift * level)) -
				    ((from - base) >> (em->em_ptr_shift * level)) + 1;
		}
		base += reach;
	}
	return (blocks);
}

/* A new, empty pointer block near `goal`.  => sleeps.  0: *block. */
static int
pointer_block_new(struct ext2_inode *ip, uint64_t goal, uint32_t *block)
{
	struct ext2_mount *em = ip->i_em;
	uint32_t got;
	struct buf *bp;
	int error;

	error = ext2_balloc(em, goal, 1, block, &got);
	if (error != 0)
		return (error);
	error = getblk_zero(em->em_devvp, ext2_devblk(em, *block), em->em_bsize, &bp);
	if (error != 0) {
		ext2_bfree_now(em, *block, 1);
		return (error);
	}
	bdwrite(bp, BUF_FRESH);
	ip->i_blocks += em->em_bsize / DEV_BSIZE;
	return (0);
}

/*
 * One step down: the pointer block that entry `index` of another one names, made if there is none.
 */
static int
pointer_step(struct ext2_inode *ip, uint64_t lbn, uint32_t index, uint64_t goal, uint32_t *pointer)
{
	struct ext2_mount *em = ip->i_em;
	uint32_t parent = *pointer;
	struct buf *bp;
	int error;

	error = bread(em->em_devvp, ext2_devblk(em, parent), em->em_bsize, &bp);
	if (error != 0)
		return (error);
	*pointer = ((uint32_t *)bp->b_data)[index];
	brelse(bp);
	if (*pointer != 0)
		return (ext2_block_ok(em, *pointer) ? 0 : ext2_bad_pointer(ip, "the pointer block of block", lbn, *pointer));
	error = pointer_block_new(ip, goal, pointer);
	if (error != 0)
		return (error);
	error = bread(em->em_devvp, ext2_devblk(em, parent), em->em_bsize, &bp);
	if (error != 0) {
		ip->i_blocks -= em->em_bsize / DEV_BSIZE;
		ext2_meta_free(em, *pointer);
		return (error);
	}
	((uint32_t *)bp->b_data)[index] = *pointer;
	bdwrite(bp, BUF_REST);
	return (0);
}

/* The last pointer block on a path, made with all above it if need be.  => path->depth > 0 */
static int
pointer_leaf(struct ext2_inode *ip, const struct ext2_path *path, uint64_t lbn, uint64_t goal, uint32_t *leaf)
{
	int error = 0;

	*leaf = ip->i_block[path->slot];
	if (*leaf == 0) {
		error = pointer_block_new(ip, goal, leaf);
		if (error == 0)
			ip->i_block[path->slot] = *leaf;
	} else if (!ext2_block_ok(ip->i_em, *leaf)) {
		error = ext2_bad_pointer(ip, "the pointer block of block", lbn, *leaf);
	}
	for (uint32_t k = 0; k + 1 < path->depth && error == 0; k++)
		error = pointer_step(ip, lbn, path->index[k], goal, leaf);
	return (error);
}

/* Enter blocks into consecutive pointers p[0..n-1], which must be holes.  Returns how many. */
static uint32_t
pointers_fill(struct ext2_inode *ip, uint32_t *p, uint32_t n, uint32_t block)
{
	uint32_t i;

	for (i = 0; i < n && p[i] == 0; i++)
		p[i] = block + i;
	ip->i_blocks += (uint64_t)i * (ip->i_em->em_bsize / DEV_BSIZE);
	return (i);
}

/* Enter as many as one pointer block, or the inode, takes.  0: *n. */
static int
enter_some(struct ext2_inode *ip, uint64_t lbn, uint32_t block, uint32_t count, uint64_t goal, uint32_t *n)
{
	struct ext2_mount *em = ip->i_em;
	struct ext2_path path;
	struct buf *bp;
	uint32_t leaf, first;
	int error;

	if (!ext2_find_path(em, lbn, &path))
		return (EFBIG);
	if (path.depth == 0) {
		*n = pointers_fill(ip, &ip->i_block[path.slot], MIN(count, EXT2_NDIRECT - path.slot), block);
		return (*n > 0 ? 0 : ext2_damaged(em, "inode %lu: block %lu is no hole any more", ip->i_number, lbn));
	}
	error = pointer_leaf(ip, &path, lbn, goal, &leaf);
	if (error == 0)
		error = bread(em->em_devvp, ext2_devblk(em, leaf), em->em_bsize, &bp);
	if (error != 0)
		return (error);
	first = path.index[path.depth - 1];
	*n = pointers_fill(ip, (uint32_t *)bp->b_data + first, MIN(count, (1u << em->em_ptr_shift) - first), block);
	bdwrite(bp, BUF_REST);
	return (*n > 0 ? 0 : ext2_damaged(em, "inode %lu: block %lu is no hole any more", ip->i_number, lbn));
}

int
ext2_enter(struct ext2_inode *ip, uint64_t lbn, uint32_t block, uint32_t count, uint32_t *done)
{
	uint64_t most = ((uint64_t)count + 4) * (ip->i_em->em_bsize / DEV_BSIZE), goal = (uint64_t)block + count;
	int error = ip->i_blocks + most > UINT32_MAX ? EFBIG : 0;

	*done = 0;
	while (*done < count && error == 0) {
		uint32_t n = 0;

		error = enter_some(ip, lbn + *done, block + *done, count - *done, goal, &n);
		*done += n;
	}
	ext2_iupdate(ip, false);
	return (error);
}
