/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a file's blocks lie.
 *
 *	i_block[0..11] ------------------------------> data		direct
 *	i_block[12] --> [p p p ...] -----------------> data		single
 *	i_block[13] --> [p p ...] --> [p p p ...] ---> data		double
 *	i_block[14] --> [p ...] --> [p ...] --> [p ...] --> data	triple
 *
 * With n pointers in a block, a logical block's path is which of these it hangs under, and its
 * digits in base n: one index for each pointer block on the way down.  The walk is a loop over at
 * most three of them, so even pointer blocks that point at each other end it.  A pointer of zero,
 * at any level, is a hole as wide as what hangs under it.
 *
 * The run around the block is found by looking at its neighbours in the one pointer block (or in
 * the inode) that names it, as far as a transfer can use.  Runs are not joined across pointer
 * blocks: mke2fs and Linux put the next pointer block on the disk right between the two, so there
 * is nothing to join.
 *
 * Every pointer is tested before it is used or reported: inside the volume, and not one of the
 * filesystem's own blocks.  A bad neighbour just ends the run; asked for itself, it is an error.
 *
 * No lock is taken; the inode's is the caller's.  One buffer is held at a time.
 */
#include "kernel/fs/ext2/ext2.h"

#define RUN_BYTES_MAX	MAXPHYS		/* look for neighbours up to so far, each way */

bool
ext2_find_path(const struct ext2_mount *em, uint64_t lbn, struct ext2_path *path)
{
	uint32_t shift = em->em_ptr_shift;

	if (lbn < EXT2_NDIRECT) {
		path->slot = (uint32_t)lbn;
		path->depth = 0;
		return (true);
	}
	lbn -= EXT2_NDIRECT;
	for (uint32_t depth = 1; depth <= 3; depth++) {
		uint64_t reach = 1ul << (shift * depth);

		if (lbn < reach) {
			path->slot = EXT2_NDIRECT + depth - 1;
			path->depth = depth;
			for (uint32_t k = 0; k < depth; k++)
				path->index[k] = (uint32_t)(lbn >> (shift * (depth - 1 - k))) &
				    ((1u << shift) - 1);
			return (true);
		}
		lbn -= reach;
	}
	return (false);
}

int
ext2_bad_pointer(const struct ext2_inode *ip, const char *what, uint64_t lbn, uint32_t pointer)
{
	struct ext2_mount *em = ip->i_em;

	if (pointer >= em->em_blocks)
		return (ext2_damaged(em, "inode %lu: %s %lu points to %u, volume has %lu blocks",
		    ip->i_number, what, lbn, pointer, em->em_blocks));
	return (ext2_damaged(em, "inode %lu: %s %lu points to %u, which is the filesystem's own",
	    ip->i_number, what, lbn, pointer));
}

/* How many of the `count` blocks right before `here` may a file own, without a gap? */
static uint64_t
bmap_ok_behind(const struct ext2_mount *em, uint64_t here, uint64_t count)
{
	uint64_t ok;

	while (count > 0 && (ok = ext2_blocks_ok(em, here - count, count)) < count)
		count -= ok + 1;	/* past the one that is not */
	return (count);
}

/*
 * Describe the run of blocks, or of holes, around p[i].
 *
 * => p[0..n-1]: pointers of consecutive logical blocks; p[i] is that of lbn, which lies inside EOF.
 */
static int
bmap_run(const struct ext2_inode *ip, const uint32_t *p, uint32_t n, uint32_t i, uint64_t lbn,
    uint64_t eof, struct bmap *bm)
{
	const struct ext2_mount *em = ip->i_em;
	uint64_t window = RUN_BYTES_MAX >> em->em_bshift;
	const uint32_t *last = p + i + MIN(MIN((uint64_t)(n - 1 - i), eof - 1 - lbn), window);
	const uint32_t *first = p + i - MIN((uint64_t)i, window), *at;
	uint64_t here = p[i], step = here != 0, next, a, b;

	/* In a run each pointer is one more than the last; in a hole all are 0. */
	for (at = p + i, next = here + step; at < last && at[1] == next; next += step)
		at++;
	a = at - (p + i);
	for (at = p + i, next = here - step; at > first && at[-1] == next; next -= step)
		at--;
	b = p + i - at;
	bm->hole = here == 0;
	bm->blkno = 0;
	if (!bm->hole) {
		a = ext2_blocks_ok(em, here, a + 1);
		if (a-- == 0)
			return (ext2_bad_pointer(ip, "block", lbn, p[i]));
		b = bmap_ok_behind(em, here, b);
		bm->blkno = ext2_devblk(em, here);
	}
	bm->ahead = (uint32_t)a;
	bm->behind = (uint32_t)b;
	return (0);
}

/* A pointer of zero above `width` blocks: all of them are holes.  => at: lbn's place among them. */
static void
bmap_wide_hole(uint64_t width, uint64_t at, uint64_t lbn, uint64_t eof, struct bmap *bm)
{
	bm->hole = true;
	bm->blkno = 0;
	bm->ahead = (uint32_t)MIN(MIN(width - 1 - at, eof - 1 - lbn), (uint64_t)UINT32_MAX);
	bm->behind = (uint32_t)MIN(at, (uint64_t)UINT32_MAX);
}

/* Walk down the pointer blocks.  => path->depth > 0; sleeps; holds one buffer at a time. */
static int
bmap_walk(const struct ext2_inode *ip, const struct ext2_path *path, uint64_t lbn, uint64_t eof,
    struct bmap *bm)
{
	struct ext2_mount *em = ip->i_em;
	uint32_t pointer = ip->i_block[path->slot], pointers = 1u << em->em_ptr_shift;
	struct buf *bp;
	int error = 0;

	for (uint32_t k = 0; k < path->depth; k++) {
		if (pointer == 0) {
			uint64_t width = 1ul << (em->em_ptr_shift * (path->depth - k)), at = 0;

			for (uint32_t j = k; j < path->depth; j++)
				at = at << em->em_ptr_shift | path->index[j];
			bmap_wide_hole(width, at, lbn, eof, bm);
			return (0);
		}
		if (!ext2_block_ok(em, pointer))
			return (ext2_bad_pointer(ip, "the pointer block of block", lbn, pointer));
		error = bread(em->em_devvp, ext2_devblk(em, pointer), em->em_bsize, &bp);
		if (error != 0) {
			ext2_complain(em, "inode %lu: pointer block %u of block %lu cannot be read: %s",
			    ip->i_number, pointer, lbn, errno_name(error));
			return (error);
		}
		if (k == path->depth - 1)
			error = bmap_run(ip, bp->b_data, pointers, path->index[k], lbn, eof, bm);
		else
			pointer = ((const uint32_t *)bp->b_data)[path->index[k]];
		brelse(bp);
	}
	return (error);
}

int
ext2_bmap_inode(struct ext2_inode *ip, daddr_t lbn, struct bmap *bm)
{
	uint64_t eof = howmany(ip->i_size, (uint64_t)ip->i_em->em_bsize);
	struct ext2_path path;

	if (lbn < 0)
		return (EINVAL);
	if (!ext2_find_path(ip->i_em, (uint64_t)lbn, &path))
		return (EFBIG);
	if ((uint64_t)lbn >= eof) {
		/* Past EOF there is nothing, whatever the pointers say. */
		*bm = (struct bmap){ .hole = true };
		return (0);
	}
	if (path.depth == 0)
		return (bmap_run(ip, ip->i_block, EXT2_NDIRECT, path.slot, (uint64_t)lbn, eof, bm));
	return (bmap_walk(ip, &path, (uint64_t)lbn, eof, bm));
}
