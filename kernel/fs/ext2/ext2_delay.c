/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Delayed allocation: blocks of a file that were written into memory and have no place on the disk
 * yet.
 *
 *	write(2) --> pages dirty, ext2_delay_add: room promised         pageout, fsync, syncer --> placed, ext2_delay_remove
 *
 * Placing blocks late lets a file that grew by many small writes lie in one piece, and a file that
 * is deleted soon cost nothing.  The price is that room must be promised early.  i_delayed is a
 * tree of runs of such blocks; i_reserved is what they may cost: the blocks and, at most,
 * ext2_pointer_blocks() of each run.  The bound is not tight (pointer blocks may exist already,
 * runs may share one), so a nearly full disk may refuse a little early; flushing files makes the
 * bound exact.
 *
 * A store through a mapping into a hole promises nothing; it gets its promise, or ENOSPC, when its
 * page is written.
 *
 * Lock: the vnode's, exclusively.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_EXT2DELAY, "ext2 delayed");

#define NODE_DELAY(node)	container_of(node, struct ext2_delay, d_node)

/* The first run that ends behind lbn, or NULL. */
static struct ext2_delay *
delay_from(const struct ext2_inode *ip, uint64_t lbn)
{
	struct rb_node *node = ip->i_delayed.root;
	struct ext2_delay *best = NULL;

	while (node != NULL) {
		struct ext2_delay *d = NODE_DELAY(node);

		if (d->d_start + d->d_count > lbn) {
			best = d;
			node = node->child[0];
		} else {
			node = node->child[1];
		}
	}
	return (best);
}

bool
ext2_delay_has(const struct ext2_inode *ip, uint64_t lbn)
{
	struct ext2_delay *d = delay_from(ip, lbn);

	return (d != NULL && d->d_start <= lbn);
}

/* What a run may cost, in blocks. */
static uint64_t
cost(const struct ext2_inode *ip, uint64_t start, uint64_t count)
{
	return (count > 0 ? count + ext2_pointer_blocks(ip->i_em, start, count) : 0);
}

static void
delay_insert(struct ext2_inode *ip, uint64_t start, uint64_t count)
{
	struct rb_node *parent = NULL, *node = ip->i_delayed.root;
	struct ext2_delay *d = kmalloc(sizeof(*d), &M_EXT2DELAY, M_WAITOK | M_RESERVE);
	int side = 0;

	d->d_start = start;
	d->d_count = count;
	while (node != NULL) {
		parent = node;
		side = start > NODE_DELAY(node)->d_start;
		node = node->child[side];
	}
	rb_insert(&ip->i_delayed, parent, side, &d->d_node, NULL);
	ip->i_reserved += cost(ip, start, count);
	ip->i_ndelayed += count;
}

static void
delay_delete(struct ext2_inode *ip, struct ext2_delay *d)
{
	rb_remove(&ip->i_delayed, &d->d_node, NULL);
	ip->i_reserved -= cost(ip, d->d_start, d->d_count);
	ip->i_ndelayed -= d->d_count;
	kfree(d, &M_EXT2DELAY);
}

/* Add a run that overlaps no other, joining it to its neighbours. */
static void
delay_join(struct ext2_inode *ip, uint64_t start, uint64_t count)
{
	struct ext2_delay *d;

	if (start > 0 && (d = delay_from(ip, start - 1)) != NULL && d->d_start < start) {
		start = d->d_start;
		count += d->d_count;
		delay_delete(ip, d);
	}
	d = delay_from(ip, start + count);
	if (d != NULL && d->d_start == start + count) {
		count += d->d_count;
		delay_delete(ip, d);
	}
	delay_insert(ip, start, count);
}

/*
 * The next run of blocks in [lbn, end) that are holes and not delayed.
 *
 * => sleeps.  0: *start, *count; *count is 0 when there is none.
 */
static int
missing_next(struct ext2_inode *ip, uint64_t lbn, uint64_t end, uint64_t *start, uint64_t *count)
{
	uint64_t eof = howmany(ip->i_size, (uint64_t)ip->i_em->em_bsize);
	struct ext2_delay *d;
	struct bmap bm;
	int error;

	*count = 0;
	while (lbn < end) {
		uint64_t stop = end;

		d = delay_from(ip, lbn);
		if (d != NULL && d->d_start <= lbn) {
			lbn = d->d_start + d->d_count;
			continue;
		}
		if (d != NULL)
			stop = MIN(stop, d->d_start);
		if (lbn < eof) {
			error = ext2_bmap_inode(ip, (daddr_t)lbn, &bm);
			if (error != 0)
				return (error);
			if (!bm.hole) {
				lbn += bm.ahead + 1;
				continue;
			}
			if (lbn + bm.ahead + 1 < eof)
				stop = MIN(stop, lbn + bm.ahead + 1);
		}
		*start = lbn;
		*count = stop - lbn;
		return (0);
	}
	return (0);
}

int
ext2_delay_add(struct ext2_inode *ip, struct ucred *cred, uint64_t lbn, uint64_t count)
{
	uint64_t end = lbn + count, most = 0, before, start, n;
	int error;

	/* First a promise for the worst case, so that a refusal leaves nothing behind. */
	for (uint64_t at = lbn; at < end; at = start + n) {
		error = missing_next(ip, at, end, &start, &n);
		if (error != 0)
			return (error);
		if (n == 0)
			break;
		most += cost(ip, start, n);
	}
	if (most == 0)
		return (0);
	error = ext2_reserve(ip->i_em, cred, most);
	if (error != 0)
		return (error);
	before = ip->i_reserved;
	for (uint64_t at = lbn; at < end && error == 0; at = start + n) {
		error = missing_next(ip, at, end, &start, &n);
		if (error != 0 || n == 0)
			break;
		delay_join(ip, start, n);
	}
	KASSERT(ip->i_reserved <= before + most, "inode %lu: joining runs made them dearer", ip->i_number);
	ext2_unreserve(ip->i_em, before + most - ip->i_reserved);
	return (error);
}

/*
 * Splitting a run can make the bound of its parts larger than it was: then more is promised than
 * was asked for, which harms nobody, as the pointer blocks in question exist by now.
 */
void
ext2_delay_remove(struct ext2_inode *ip, uint64_t lbn, uint64_t count)
{
	uint64_t end = count > UINT64_MAX - lbn ? UINT64_MAX : lbn + count, before = ip->i_reserved;
	struct ext2_delay *d;

	while ((d = delay_from(ip, lbn)) != NULL && d->d_start < end) {
		uint64_t start = d->d_start, stop = start + d->d_count;

		delay_delete(ip, d);
		if (start < lbn)
			delay_insert(ip, start, lbn - start);
		if (stop > end)
			delay_insert(ip, end, stop - end);
	}
	if (ip->i_reserved == before)
		return;
	spin_lock(&ip->i_em->em_lock);
	ip->i_em->em_reserved += ip->i_reserved - before;
	spin_unlock(&ip->i_em->em_lock);
}
