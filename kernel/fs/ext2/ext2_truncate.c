/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Taking blocks away from a file, and the end of a file.
 *
 *	keep = 1000 blocks of a file with single, double and triple pointers; everything right of the cut goes:
 *
 *	inode --> [direct] [single] [double: p p p p|p p] [triple]
 *	                                         ^ cut: here goes on in one pointer block below
 *
 * The walk goes down from the inode into pointer blocks, in each from its last entry backwards, so
 * that at any moment the file is a shorter version of itself; each pointer block that is done is
 * one change of its own (ext2_begin, ext2_end), so a file of any size is cut in small steps, and a
 * sync may come in between.  The walk keeps block numbers and indexes of at most three levels and
 * holds one buffer at a time; a pointer block that goes entirely is read, not changed.
 *
 * Blocks go to the pending list: they are free when the disk has forgotten this file's pointers
 * (ext2_alloc.c).
 */
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"

/* A walk through what hangs under one of the inode's indirect slots. */
struct trunc_walk {
	struct ext2_inode *ip;
	uint32_t	slot;
	uint32_t	depth;		/* levels of pointer blocks */
	uint64_t	keep;		/* blocks of this tree that stay */
	uint32_t	level;		/* where we are */
	uint32_t	block[3];	/* pointer block at each level */
	int64_t		index[3];	/* the entry to look at next, in descending order */
	/* first block of this tree that the pointer block leads to */
	uint64_t	base[3];
};

/* Blocks under one entry of a pointer block at this level. */
static uint64_t
entry_width(const struct trunc_walk *w, uint32_t level)
{
	return (1ul << (w->ip->i_em->em_ptr_shift * (w->depth - 1 - level)));
}

/* Free one data block, or a directory's block. */
static void
data_free(struct ext2_inode *ip, uint32_t block)
{
	struct ext2_mount *em = ip->i_em;

	if (!ext2_block_ok(em, block)) {
		ext2_bad_pointer(ip, "a block past", ip->i_size >> em->em_bshift, block);
		return;
	}
	if (ip->i_type == VREG)
		ext2_bfree(em, block, 1);
	else
		ext2_meta_free(em, block);
	ip->i_blocks -= MIN(ip->i_blocks, (uint64_t)em->em_bsize / DEV_BSIZE);
}

/*
 * The lowest level: free the entries past the cut, and clear them if the pointer block stays.  One that leads back to
 * the pointer block itself is passed over: its buffer is ours here, so to forget it would be to wait for ourselves.
 */
static int
leaf_free(struct trunc_walk *w)
{
	struct ext2_mount *em = w->ip->i_em;
	uint64_t base = w->base[w->level];
	uint32_t *p, first = base < w->keep ? (uint32_t)(w->keep - base) : 0;
	struct buf *bp;
	int error;

	error = bread(em->em_devvp, ext2_devblk(em, w->block[w->level]), em->em_bsize, &bp);
	if (error != 0)
		return (error);
	p = bp->b_data;
	for (uint32_t i = first; i < 1u << em->em_ptr_shift; i++) {
		if (p[i] == 0)
			continue;
		if (p[i] == w->block[w->level])
			ext2_damaged(em, "inode %lu: pointer block %u leads to itself", w->ip->i_number, p[i]);
		else
			data_free(w->ip, p[i]);
		if (first > 0)
			p[i] = 0;
	}
	if (first > 0)
		bdwrite(bp, BUF_REST);
	else
		brelse(bp);
	return (0);
}

/*
 * Find the next entry to go down into.
 *
 * => 0: *child is it and the walk's index stands on it, or it is 0: nothing left past the cut in
 *    this pointer block.
 */
static int
entry_next(struct trunc_walk *w, uint32_t *child)
{
	struct ext2_mount *em = w->ip->i_em;
	uint64_t width = entry_width(w, w->level);
	const uint32_t *p;
	struct buf *bp;
	int error;

	*child = 0;
	error = bread(em->em_devvp, ext2_devblk(em, w->block[w->level]), em->em_bsize, &bp);
	if (error != 0)
		return (error);
	p = bp->b_data;
	for (; w->index[w->level] >= 0; w->index[w->level]--) {
		uint64_t i = (uint64_t)w->index[w->level];

		if (w->base[w->level] + (i + 1) * width <= w->keep) {
			w->index[w->level] = -1;
			break;
		}
		if (p[i] == 0)
			continue;
		if (ext2_block_ok(em, p[i])) {
			*child = p[i];
			break;
		}
		ext2_bad_pointer(w->ip, "a pointer block past", w->ip->i_size >> em->em_bshift, p[i]);
	}
	brelse(bp);
	return (0);
}

/*
 * Nothing is left under the pointer block at the current level: free it, and clear the pointer to
 * it.
 */
static int
pointer_block_free(struct trunc_walk *w)
{
	struct ext2_inode *ip = w->ip;
	struct ext2_mount *em = ip->i_em;
	uint32_t block = w->block[w->level];
	struct buf *bp;
	int error;

	if (w->level == 0) {
		ip->i_block[w->slot] = 0;
	} else {
		error = bread(em->em_devvp, ext2_devblk(em, w->block[w->level - 1]), em->em_bsize, &bp);
		if (error != 0)
			return (error);
		((uint32_t *)bp->b_data)[w->index[w->level - 1]] = 0;
		bdwrite(bp, BUF_REST);
	}
	ext2_meta_free(em, block);
	ip->i_blocks -= MIN(ip->i_blocks, (uint64_t)em->em_bsize / DEV_BSIZE);
	return (0);
}

/* The pointer block at the current level is done with: one change. */
static int
level_finish(struct trunc_walk *w)
{
	int error = ext2_begin(w->ip->i_em);

	if (error != 0)
		return (error);
	if (w->level == w->depth - 1)
		error = leaf_free(w);
	if (error == 0 && w->base[w->level] >= w->keep)
		error = pointer_block_free(w);
	ext2_iupdate(w->ip, false);
	ext2_end(w->ip->i_em);
	return (error);
}

/* => ip->i_block[slot] != 0 */
static int
tree_free(struct ext2_inode *ip, uint32_t slot, uint32_t depth, uint64_t keep)
{
	struct trunc_walk w = { .ip = ip, .slot = slot, .depth = depth, .keep = keep };
	int64_t last = (1 << ip->i_em->em_ptr_shift) - 1;
	uint32_t child;
	int error;

	w.block[0] = ip->i_block[slot];
	w.index[0] = last;
	for (;;) {
		child = 0;
		error = w.level < depth - 1 ? entry_next(&w, &child) : 0;
		if (error != 0)
			return (error);
		if (child != 0) {
			w.base[w.level + 1] = w.base[w.level] + (uint64_t)w.index[w.level] * entry_width(&w, w.level);
			w.level++;
			w.block[w.level] = child;
			w.index[w.level] = last;
			continue;
		}
		error = level_finish(&w);
		if (error != 0 || w.level == 0)
			return (error);
		w.level--;
		w.index[w.level]--;
	}
}

static int
direct_free(struct ext2_inode *ip, uint64_t keep)
{
	int error = ext2_begin(ip->i_em);

	if (error != 0)
		return (error);
	for (uint32_t i = EXT2_NDIRECT; i-- > keep; ) {
		if (ip->i_block[i] == 0)
			continue;
		data_free(ip, ip->i_block[i]);
		ip->i_block[i] = 0;
	}
	ext2_iupdate(ip, false);
	ext2_end(ip->i_em);
	return (0);
}

int
ext2_truncate_blocks(struct ext2_inode *ip, uint64_t keep)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t base[4] = { EXT2_NDIRECT };
	int error = 0;

	ip->i_uncut = true;
	for (uint32_t depth = 1; depth < 4; depth++)
		base[depth] = base[depth - 1] + (1ul << (em->em_ptr_shift * depth));
	for (uint32_t depth = 3; depth > 0 && error == 0; depth--) {
		uint32_t slot = EXT2_NDIRECT + depth - 1;

		if (ip->i_block[slot] == 0 || keep >= base[depth])
			continue;
		if (!ext2_block_ok(em, ip->i_block[slot]))
			error = ext2_bad_pointer(ip, "the pointer block of block", base[depth - 1], ip->i_block[slot]);
		else
			error = tree_free(ip, slot, depth, keep > base[depth - 1] ? keep - base[depth - 1] : 0);
	}
	if (error == 0 && keep < EXT2_NDIRECT)
		error = direct_free(ip, keep);
	ip->i_uncut = error != 0;
	return (error);
}

/* ---- the end of a file ---- */

/* One inode fewer shares the block of extended attributes.  => between begin and end */
static void
xattr_release(struct ext2_inode *ip)
{
	struct ext2_mount *em = ip->i_em;
	struct ext2_xattr_head *head;
	bool last = false;
	struct buf *bp;

	if (ip->i_acl_block == 0 || bread(em->em_devvp, ext2_devblk(em, ip->i_acl_block), em->em_bsize, &bp) != 0)
		return;
	head = bp->b_data;
	if (head->h_magic != EXT2_XATTR_MAGIC) {
		ext2_damaged(em, "inode %lu: block %u holds no attributes", ip->i_number, ip->i_acl_block);
		brelse(bp);
		return;
	}
	if (head->h_refcount > 1) {
		head->h_refcount--;
		bdwrite(bp, BUF_REST);
	} else {
		brelse(bp);
		last = true;
	}
	if (last)
		ext2_meta_free(em, ip->i_acl_block);
	ip->i_acl_block = 0;
}

int
ext2_delete(struct ext2_inode *ip)
{
	struct ext2_mount *em = ip->i_em;
	bool has_blocks = ip->i_type == VREG || ip->i_type == VDIR || (ip->i_type == VLNK && !ext2_link_is_fast(ip));
	int error = 0;

	KASSERT(ip->i_nlink == 0 && !ip->i_gone, "deleting inode %lu, which has %u names", ip->i_number, ip->i_nlink);
	ip->i_gone = true;
	__atomic_fetch_sub(&em->em_orphans, 1, __ATOMIC_RELAXED);
	ext2_inode_hide(ip);
	ext2_delay_remove(ip, 0, UINT64_MAX);
	ip->i_size = 0;
	if (has_blocks)
		error = ext2_truncate_blocks(ip, 0);
	if (error == 0)
		error = ext2_begin(em);
	if (error != 0) {
		/* On the disk it stays a file without names: e2fsck frees what is left. */
		ext2_damaged(em, "inode %lu is lost until e2fsck runs: %s", ip->i_number, errno_name(error));
		return (error);
	}
	xattr_release(ip);
	memset(ip->i_block, 0, sizeof(ip->i_block));	/* a short link's text, a device's number */
	ip->i_blocks = 0;
	ip->i_dtime = (int64_t)clock_wall_seconds();
	ip->i_ctime = ip->i_dtime;
	ext2_iupdate(ip, false);
	ext2_ifree(em, ip->i_number, ip->i_type == VDIR);
	ext2_end(em);
	return (0);
}
