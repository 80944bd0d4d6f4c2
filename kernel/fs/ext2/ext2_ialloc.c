/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inodes: which number a new file gets, and when a number can be used again.
 *
 * A directory goes to another group than its neighbours, so that its files, which go to their
 * directory's group, have room around them: of the groups with at least the average of free inodes,
 * the one with most free blocks.  A file that finds its group full goes on to the next ones.
 *
 * A number that was freed waits, like a freed block, until a sync has cleared the dead inode on the
 * disk and the names that led to it.
 *
 * Locks: em_lock for counts; a bitmap is guarded by its buffer.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"

/* The group for a new directory. */
static uint32_t
group_for_dir(struct ext2_mount *em, const struct ext2_inode *dip)
{
	uint64_t average = em->em_free_inodes / em->em_ngroups;
	uint32_t own = (uint32_t)((dip->i_number - 1) / em->em_inodes_per_group), best = own;
	bool found = false;

	spin_lock(&em->em_lock);
	for (uint32_t n = 0; n < em->em_ngroups; n++) {
		uint32_t g = (own + n) % em->em_ngroups;
		const struct ext2_group *group = &em->em_groups[g];

		if (group->free_inodes == 0 || group->free_inodes < average)
			continue;
		if (!found || group->free_blocks > em->em_groups[best].free_blocks)
			best = g;
		found = true;
	}
	spin_unlock(&em->em_lock);
	return (best);
}

/* An inode changed hands: + freed, - used. */
static void
count_inodes(struct ext2_mount *em, uint32_t g, int n, int dirs)
{
	struct ext2_group *group = &em->em_groups[g];

	spin_lock(&em->em_lock);
	if (n < 0 && group->free_inodes == 0) {
		group->free_inodes++;
		em->em_free_inodes++;
	}
	group->free_inodes += (uint32_t)n;
	em->em_free_inodes += (uint64_t)(int64_t)n;
	if (dirs > 0 || group->used_dirs > 0)
		group->used_dirs += (uint32_t)dirs;
	em->em_counts_dirty = true;
	spin_unlock(&em->em_lock);
}

/* Mark the first free number of a group, as its bitmap has it.  0: *ino, which is 0 if there is none; EIO. */
static int
group_mark(struct ext2_mount *em, uint32_t g, uint64_t *ino)
{
	uint32_t first = g == 0 ? em->em_first_ino - 1 : 0, bit;
	struct buf *bp;
	uint8_t *map;
	int error;

	*ino = 0;
	error = bread(em->em_devvp, ext2_devblk(em, em->em_groups[g].inode_bitmap), em->em_bsize, &bp);
	if (error != 0)
		return (error);
	map = bp->b_data;
	bit = ext2_bit_find(map, first, em->em_inodes_per_group, false);
	if (bit < em->em_inodes_per_group) {
		map[bit / 8] |= (uint8_t)(1u << (bit % 8));
		*ino = (uint64_t)g * em->em_inodes_per_group + bit + 1;
		bdwrite(bp, BUF_REST);
	} else {
		brelse(bp);
	}
	return (0);
}

/*
 * Take a free inode of a group.  0: *ino, which is 0 if there is none; EIO.
 *
 * A number that the bitmap wrongly calls free stays marked, so with each try there are fewer.
 */
static int
group_take(struct ext2_mount *em, uint32_t g, uint64_t *ino)
{
	int error;

	do {
		error = group_mark(em, g, ino);
		if (error != 0 || *ino == 0)
			return (error);
		count_inodes(em, g, -1, 0);
		error = ext2_ino_check_free(em, *ino);
	} while (error == EUCLEAN);
	if (error != 0)
		ext2_ifree_now(em, *ino, false);
	return (error);
}

/* One look at all groups from `start` on. */
static int
inode_take(struct ext2_mount *em, uint32_t start, bool dir, uint64_t *ino)
{
	for (uint32_t n = 0; n < em->em_ngroups; n++) {
		uint32_t g = (start + n) % em->em_ngroups;
		int error;

		if (em->em_groups[g].free_inodes == 0)
			continue;
		error = group_take(em, g, ino);
		if (error != 0)
			return (error);
		if (*ino != 0) {
			count_inodes(em, g, 0, dir);
			return (0);
		}
	}
	return (ENOSPC);
}

int
ext2_ialloc(struct ext2_mount *em, const struct ext2_inode *dip, bool dir, uint64_t *ino)
{
	uint32_t start = dir ? group_for_dir(em, dip) : (uint32_t)((dip->i_number - 1) / em->em_inodes_per_group);
	int error = inode_take(em, start, dir, ino);

	if (error == ENOSPC && em->em_pending_inodes > 0) {
		(void)ext2_sync_metadata(em);
		error = inode_take(em, start, dir, ino);
	}
	return (error);
}

int
ext2_ifree_apply(struct ext2_mount *em, uint64_t ino, uint32_t count)
{
	int first_error = 0;

	for (; count > 0; ino++, count--) {
		uint32_t g = (uint32_t)((ino - 1) / em->em_inodes_per_group), bit = (uint32_t)((ino - 1) % em->em_inodes_per_group);
		struct buf *bp;
		uint8_t *byte;
		int error;

		error = bread(em->em_devvp, ext2_devblk(em, em->em_groups[g].inode_bitmap), em->em_bsize, &bp);
		if (error != 0) {
			first_error = error;
			ext2_damaged(em, "inode %lu is lost until e2fsck runs: the bitmap cannot be read", ino);
			continue;
		}
		byte = (uint8_t *)bp->b_data + bit / 8;
		if ((*byte & (1u << (bit % 8))) == 0)
			first_error = ext2_damaged(em, "inode %lu was free already", ino);
		else
			count_inodes(em, g, 1, 0);
		*byte &= (uint8_t)~(1u << (bit % 8));
		bdwrite(bp, BUF_REST);
	}
	return (first_error);
}

void
ext2_ifree_now(struct ext2_mount *em, uint64_t ino, bool dir)
{
	if (dir)
		count_inodes(em, (uint32_t)((ino - 1) / em->em_inodes_per_group), 0, -1);
	(void)ext2_ifree_apply(em, ino, 1);
}

void
ext2_ifree(struct ext2_mount *em, uint64_t ino, bool dir)
{
	if (dir)
		count_inodes(em, (uint32_t)((ino - 1) / em->em_inodes_per_group), 0, -1);
	ext2_freed_add(em, true, (uint32_t)ino, 1);
}

uint64_t
ext2_inode_goal(const struct ext2_mount *em, uint64_t ino)
{
	const struct ext2_group *group = &em->em_groups[(ino - 1) / em->em_inodes_per_group];

	return ((uint64_t)group->inode_table + em->em_itable_blocks);
}
