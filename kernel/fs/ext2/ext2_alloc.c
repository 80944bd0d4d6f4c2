/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks: which are free, which are promised, and which are free but not yet to be used.
 *
 *	free (bit clear) --ext2_balloc--> in use (bit set) --ext2_bfree--> pending (bit still set) --sync--> free
 *	     |<-- ext2_reserve: promised to somebody -->|
 *
 * Three rules live here.
 *
 * A write that will need blocks when its pages reach the disk, maybe much later, gets a promise
 * first: em_reserved counts such blocks, and nobody is promised what is promised already.  So a
 * write that succeeded finds its room, and a full disk is reported to whoever wrote.
 *
 * A block that the disk leads to must not be given to another file before the disk has forgotten
 * the first: a power cut in between would leave it with two owners.  So freed blocks wait on
 * em_freed, their bits still set, until a sync has made it true.  When nothing else is left,
 * ext2_reserve() causes that sync.
 *
 * Bitmaps and counts themselves need no order on the disk: after a power cut e2fsck computes them
 * anew.
 *
 * Where: a run of free blocks at the goal or behind it; else the first run in the goal's group that
 * is long enough, or its longest; else in the groups that follow.
 *
 * Locks: em_lock for counts and the list; a bitmap is guarded by its buffer, of which one is held
 * at a time.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_EXT2FREED, "ext2 freed");

#define FREED_RUNS	120		/* in a chunk */

struct ext2_freed {
	struct ext2_freed *f_next;
	uint32_t	f_count;
	struct {
		uint32_t	first;
		uint32_t	count : 31, inode : 1;
	} f_runs[FREED_RUNS];
};

/* ---- promises ---- */

/* => em_lock held */
static bool
reserve_locked(struct ext2_mount *em, struct ucred *cred, uint64_t n)
{
	uint64_t kept = em->em_reserved + (cred != NOCRED && cred->uid != 0 ? em->em_r_blocks : 0);

	if (em->em_free_blocks < kept || em->em_free_blocks - kept < n)
		return (false);
	em->em_reserved += n;
	return (true);
}

int
ext2_reserve(struct ext2_mount *em, struct ucred *cred, uint64_t n)
{
	bool good, pending;

	if (n == 0)
		return (0);
	spin_lock(&em->em_lock);
	good = reserve_locked(em, cred, n);
	pending = em->em_pending_blocks > 0;
	spin_unlock(&em->em_lock);
	if (good || !pending)
		return (good ? 0 : ENOSPC);
	(void)ext2_sync_metadata(em);
	spin_lock(&em->em_lock);
	good = reserve_locked(em, cred, n);
	spin_unlock(&em->em_lock);
	return (good ? 0 : ENOSPC);
}

void
ext2_unreserve(struct ext2_mount *em, uint64_t n)
{
	spin_lock(&em->em_lock);
	KASSERT(em->em_reserved >= n, "ext2 %s: %lu blocks given back, %lu were promised", em->em_name, n, em->em_reserved);
	em->em_reserved -= n;
	spin_unlock(&em->em_lock);
}

/* ---- bitmaps ---- */

static inline bool
bit_test(const uint8_t *map, uint32_t bit)
{
	return ((map[bit / 8] >> (bit % 8)) & 1);
}

uint32_t
ext2_bit_find(const uint8_t *map, uint32_t from, uint32_t end, bool set)
{
	uint64_t skip = set ? 0 : UINT64_MAX;

	while (from < end && bit_test(map, from) != set) {
		if (from % 64 == 0 && end - from >= 64 && ((const uint64_t *)map)[from / 64] == skip)
			from += 64;
		else
			from++;
	}
	return (from);
}

/*
 * The best run of clear bits in [from, end) for `want`: the first that is long enough, else the
 * longest.  Its length, or 0.
 */
static uint32_t
run_find(const uint8_t *map, uint32_t from, uint32_t end, uint32_t want, uint32_t *at)
{
	uint32_t best = 0;

	while (from < end && best < want) {
		uint32_t start = ext2_bit_find(map, from, end, false), stop = ext2_bit_find(map, start, MIN(end, start + want), true);

		if (stop - start > best) {
			best = stop - start;
			*at = start;
		}
		from = stop + 1;
	}
	return (MIN(best, want));
}

/*
 * Find a run in a group's bitmap and set its bits.
 *
 * => goal: bit at which to begin; held buffer.  Returns the length, 0: no bit is clear.
 */
static uint32_t
group_take(struct ext2_mount *em, uint32_t g, uint8_t *map, uint32_t goal, uint32_t want, uint32_t *at)
{
	uint32_t nbits = ext2_group_blocks(em, g), len = 0;

	if (goal < nbits && !bit_test(map, goal)) {
		*at = goal;
		len = ext2_bit_find(map, goal, MIN(nbits, goal + want), true) - goal;
	}
	if (len == 0)
		len = run_find(map, goal, nbits, want, at);
	if (len < want && goal > 0) {
		uint32_t other, n = *at == goal && len > 0 ? 0 : run_find(map, 0, MIN(goal, nbits), want, &other);

		if (n > len) {
			len = n;
			*at = other;
		}
	}
	for (uint32_t i = 0; i < len; i++)
		map[(*at + i) / 8] |= (uint8_t)(1u << ((*at + i) % 8));
	return (len);
}

/*
 * A damaged bitmap calls blocks free that are the filesystem's own: keep the part of the run before
 * them.
 */
static uint32_t
run_check(struct ext2_mount *em, uint32_t g, uint32_t at, uint32_t len)
{
	uint64_t block = ext2_group_first(em, g) + at;
	uint32_t n = 0;

	while (n < len && ext2_block_ok(em, block + n))
		n++;
	if (n < len)
		ext2_damaged(em, "group %u: the bitmap calls block %lu free, which is the filesystem's own", g, block + n);
	return (n);
}

/* Blocks of a group changed hands: + freed, - used. */
static void
count_blocks(struct ext2_mount *em, uint32_t g, int64_t n)
{
	spin_lock(&em->em_lock);
	if (n < 0 && em->em_groups[g].free_blocks < (uint64_t)-n) {
		/* The group had more than its descriptor said. */
		em->em_free_blocks += (uint64_t)-n - em->em_groups[g].free_blocks;
		em->em_groups[g].free_blocks = (uint32_t)-n;
	}
	em->em_groups[g].free_blocks += (uint32_t)n;
	em->em_free_blocks += (uint64_t)n;
	em->em_counts_dirty = true;
	spin_unlock(&em->em_lock);
}

/* Take a run from one group.  0: *got may be 0; EIO. */
static int
group_alloc(struct ext2_mount *em, uint32_t g, uint32_t goal, uint32_t want, uint32_t *block, uint32_t *got)
{
	uint32_t at = 0, len;
	struct buf *bp;
	int error;

	*got = 0;
	error = bread(em->em_devvp, ext2_devblk(em, em->em_groups[g].block_bitmap), em->em_bsize, &bp);
	if (error != 0)
		return (error);
	len = group_take(em, g, bp->b_data, goal, want, &at);
	bdwrite(bp, BUF_REST);
	if (len == 0) {
		ext2_damaged(em, "group %u: %u blocks are said to be free, the bitmap has none", g, em->em_groups[g].free_blocks);
		count_blocks(em, g, -(int64_t)em->em_groups[g].free_blocks);
		return (0);
	}
	count_blocks(em, g, -(int64_t)len);
	*block = (uint32_t)(ext2_group_first(em, g) + at);
	*got = run_check(em, g, at, len);
	return (0);
}

int
ext2_balloc(struct ext2_mount *em, uint64_t goal, uint32_t want, uint32_t *block, uint32_t *got)
{
	uint32_t g, bit;
	int error;

	if (goal < em->em_first_data || goal >= em->em_blocks)
		goal = em->em_first_data;
	g = (uint32_t)((goal - em->em_first_data) / em->em_blocks_per_group);
	bit = (uint32_t)(goal - ext2_group_first(em, g));
	for (uint32_t n = 0; n < em->em_ngroups; n++) {
		while (em->em_groups[g].free_blocks > 0) {
			error = group_alloc(em, g, bit, want, block, got);
			if (error != 0 || *got > 0)
				return (error);
		}
		g = (g + 1) % em->em_ngroups;
		bit = 0;
	}
	return (ENOSPC);
}

/* Clear the bits of blocks that lie in one group. */
static int
group_free(struct ext2_mount *em, uint32_t g, uint32_t bit, uint32_t count)
{
	uint32_t cleared = 0;
	struct buf *bp;
	uint8_t *map;
	int error;

	error = bread(em->em_devvp, ext2_devblk(em, em->em_groups[g].block_bitmap), em->em_bsize, &bp);
	if (error != 0) {
		ext2_damaged(em, "group %u: %u blocks are lost until e2fsck runs: the bitmap cannot be read", g, count);
		return (error);
	}
	map = bp->b_data;
	for (uint32_t i = bit; i < bit + count; i++) {
		cleared += bit_test(map, i);
		map[i / 8] &= (uint8_t)~(1u << (i % 8));
	}
	bdwrite(bp, BUF_REST);
	count_blocks(em, g, cleared);
	if (cleared < count)
		return (ext2_damaged(em, "group %u: %u of the blocks from %lu on were free already", g, count - cleared,
		    ext2_group_first(em, g) + bit));
	return (0);
}

static int
blocks_free(struct ext2_mount *em, uint32_t block, uint32_t count)
{
	int first_error = 0;

	while (count > 0) {
		uint32_t g = (uint32_t)((block - em->em_first_data) / em->em_blocks_per_group);
		uint32_t bit = (uint32_t)(block - ext2_group_first(em, g));
		uint32_t n = MIN(count, ext2_group_blocks(em, g) - bit);
		int error = group_free(em, g, bit, n);

		if (first_error == 0)
			first_error = error;
		block += n;
		count -= n;
	}
	return (first_error);
}

void
ext2_bfree_now(struct ext2_mount *em, uint32_t block, uint32_t count)
{
	(void)blocks_free(em, block, count);
}

/* ---- freed, but not yet to be used ---- */

/*
 * Put a run on the newest chunk, or join it to the last one there.  => em_lock held.  false: the
 * chunk is full, or there is none.
 */
static bool
freed_add_locked(struct ext2_mount *em, bool inode, uint32_t first, uint32_t count)
{
	struct ext2_freed *f = em->em_freed;
	uint32_t last;

	if (f == NULL)
		return (false);
	if (f->f_count > 0) {
		last = f->f_count - 1;
		if (f->f_runs[last].inode == inode && f->f_runs[last].first + f->f_runs[last].count == first) {
			f->f_runs[last].count += count;
			return (true);
		}
		if (f->f_runs[last].inode == inode && first + count == f->f_runs[last].first) {
			f->f_runs[last].first = first;
			f->f_runs[last].count += count;
			return (true);
		}
	}
	if (f->f_count == FREED_RUNS)
		return (false);
	f->f_runs[f->f_count].first = first;
	f->f_runs[f->f_count].count = count;
	f->f_runs[f->f_count].inode = inode;
	f->f_count++;
	return (true);
}

void
ext2_freed_add(struct ext2_mount *em, bool inode, uint32_t first, uint32_t count)
{
	struct ext2_freed *fresh;

	spin_lock(&em->em_lock);
	while (!freed_add_locked(em, inode, first, count)) {
		spin_unlock(&em->em_lock);
		fresh = kmalloc(sizeof(*fresh), &M_EXT2FREED, M_WAITOK | M_RESERVE);
		fresh->f_count = 0;
		spin_lock(&em->em_lock);
		fresh->f_next = em->em_freed;
		em->em_freed = fresh;
		em->em_nfreed++;
	}
	if (inode)
		em->em_pending_inodes += count;
	else
		em->em_pending_blocks += count;
	spin_unlock(&em->em_lock);
}

void
ext2_bfree(struct ext2_mount *em, uint32_t block, uint32_t count)
{
	ext2_freed_add(em, false, block, count);
}

void
ext2_meta_free(struct ext2_mount *em, uint32_t block)
{
	bforget(em->em_devvp, ext2_devblk(em, block), em->em_bsize);
	ext2_freed_add(em, false, block, 1);
}

void
ext2_freed_discard(struct ext2_mount *em)
{
	struct ext2_freed *f;

	while ((f = em->em_freed) != NULL) {
		em->em_freed = f->f_next;
		kfree(f, &M_EXT2FREED);
	}
	em->em_nfreed = 0;
}

int
ext2_freed_apply(struct ext2_mount *em)
{
	struct ext2_freed *f, *next;
	int first_error = 0, error;

	spin_lock(&em->em_lock);
	f = em->em_freed;
	em->em_freed = NULL;
	em->em_nfreed = 0;
	em->em_pending_blocks = em->em_pending_inodes = 0;
	spin_unlock(&em->em_lock);
	for (; f != NULL; f = next) {
		next = f->f_next;
		for (uint32_t i = 0; i < f->f_count; i++) {
			if (f->f_runs[i].inode)
				error = ext2_ifree_apply(em, f->f_runs[i].first, f->f_runs[i].count);
			else
				error = blocks_free(em, f->f_runs[i].first, f->f_runs[i].count);
			if (first_error == 0)
				first_error = error;
		}
		kfree(f, &M_EXT2FREED);
	}
	return (first_error);
}
