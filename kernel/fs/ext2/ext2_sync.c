/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What reaches the disk, and in which order.
 *
 * There is no journal.  After a power cut `e2fsck -p` must be able to repair the volume alone, and
 * it refuses when it would have to guess.  It mends, without asking: names that lead to inodes that
 * are not in use, link counts, sizes, block counts, bitmaps, deleted inodes with leftovers.  It
 * gives up on: files and directories without a name, blocks with two owners, pointers and directory
 * blocks that make no sense.  So these must never be on the disk, whatever subset of the writes
 * since the last flush got there.
 *
 * Changes are made in memory, at any time, in any order.  A sync stops them (em_oplock) and writes
 * all of them, in steps with a flush between each:
 *
 *	1  blocks that nothing leads to yet	new pointer and directory blocks.  The flush also makes file data durable, which
 *						was written to its blocks earlier, before any pointer to it.
 *	2  deaths: inodes without links		before the last name goes: a name without a file is mended, a file without a name is not
 *	3  directory blocks			before births, for the same reason
 *	4  everything else, births included	pointers, sizes, link counts; then births inside directories born in this step, and so on
 *	5  late deaths				files whose name became another's: in steps 1 to 5 they have a name in lost+found
 *	6  bitmaps, counts			no order needed.  What was freed is now free, for the disk has forgotten it.
 *
 * One picture of each block is enough, since deaths come before names and names before births: a
 * directory block that lost one name and got another is written once.  The exception is a file that
 * gets a second name and then loses its first: the old name must not go before the new one is
 * there.  Whoever removes a name looks at c_named and syncs first.
 *
 * Inodes share blocks of the inode table, but are born and die in different steps, so a changed
 * inode waits in an ext2_change and is put into its block by the step that writes it.  c_level is
 * how many steps after the names that is: a file born in a directory that is itself just born, or
 * whose new block nothing leads to yet (c_gates), comes one step later than the directory.
 *
 * A write of one sector happens or does not happen.  Inodes and pointers do not cross sectors; how
 * directories keep to that is in ext2_dirmod.c.
 *
 * Why not soft updates (FFS), which need no flushes: they keep, for every dirty block, what to undo
 * before it may be written.  Why not a journal: then it would be ext3, and recovery would be ours.
 *
 * Locks: em_oplock, then buffers; em_lock for the tree of changes.  No vnode is locked here and no
 * page waited for, so a thread that holds such may sync.
 */
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_EXT2CHG, "ext2 changes");

#define CHANGES_MIN	64		/* let so many inodes wait at least */
#define CHANGES_RAM	16		/* and one for so many pages of memory */
#define FREED_MAX	64		/* chunks of freed blocks */

#define NODE_CHANGE(node)	container_of(node, struct ext2_change, c_node)

/* ---- changes ---- */

static bool
sync_is_due(const struct ext2_mount *em)
{
	return (bio_dirty_full() || PEEK(em->em_nfreed) > FREED_MAX ||
	    PEEK(em->em_nchanges) > MAX((uint32_t)CHANGES_MIN, vm_page_count / CHANGES_RAM));
}

int
ext2_begin(struct ext2_mount *em)
{
	int error;

	if (sync_is_due(em)) {
		error = ext2_sync_metadata(em);
		if (error != 0)
			return (error);
	}
	rw_rlock(&em->em_oplock);
	if (em->em_writable)
		return (0);
	rw_runlock(&em->em_oplock);
	return (EROFS);
}

void
ext2_end(struct ext2_mount *em)
{
	rw_runlock(&em->em_oplock);
}

/* => em_lock held */
static struct ext2_change *
change_find_locked(struct ext2_mount *em, uint64_t ino)
{
	struct rb_node *node = em->em_changes.root;

	while (node != NULL && NODE_CHANGE(node)->c_ino != ino)
		node = node->child[ino > NODE_CHANGE(node)->c_ino];
	return (node != NULL ? NODE_CHANGE(node) : NULL);
}

struct ext2_change *
ext2_change_find(struct ext2_mount *em, uint64_t ino)
{
	struct ext2_change *c;

	spin_lock(&em->em_lock);
	c = change_find_locked(em, ino);
	spin_unlock(&em->em_lock);
	return (c);
}

static void
change_insert_locked(struct ext2_mount *em, struct ext2_change *c)
{
	struct rb_node *parent = NULL, *node = em->em_changes.root;
	int side = 0;

	while (node != NULL) {
		parent = node;
		side = c->c_ino > NODE_CHANGE(node)->c_ino;
		node = node->child[side];
	}
	rb_insert(&em->em_changes, parent, side, &c->c_node, NULL);
	em->em_nchanges++;
}

struct ext2_change *
ext2_change_get(struct ext2_mount *em, uint64_t ino)
{
	struct ext2_change *c = ext2_change_find(em, ino);

	/* The vnode's lock keeps everybody else from making the same record. */
	if (c != NULL)
		return (c);
	c = kmalloc(sizeof(*c), &M_EXT2CHG, M_WAITOK | M_ZERO | M_RESERVE);
	c->c_ino = ino;
	c->c_only_times = true;
	spin_lock(&em->em_lock);
	change_insert_locked(em, c);
	spin_unlock(&em->em_lock);
	return (c);
}

void
ext2_change_drop(struct ext2_mount *em, struct ext2_change *c)
{
	spin_lock(&em->em_lock);
	rb_remove(&em->em_changes, &c->c_node, NULL);
	em->em_nchanges--;
	spin_unlock(&em->em_lock);
	kfree(c, &M_EXT2CHG);
}

void
ext2_iupdate(struct ext2_inode *ip, bool only_times)
{
	struct ext2_change *c = ext2_change_get(ip->i_em, ip->i_number);

	c->c_only_times = c->c_only_times && only_times;
	ext2_inode_encode(ip, &c->c_image);
}

/*
 * What an inode on the disk becomes.  Fields that we do not use stay as they are, but in a new
 * file.
 */
static void
image_apply(const struct ext2_mount *em, const struct ext2_change *c, struct ext2_dinode *di)
{
	struct ext2_dinode old = *di;

	if (c->c_born)
		memset(di, 0, em->em_inode_size);
	*di = c->c_image;
	if (c->c_born)
		return;
	di->i_version = old.i_version;
	di->i_generation = old.i_generation;
	di->i_faddr = old.i_faddr;
	di->i_blocks_high = old.i_blocks_high;
	di->i_file_acl_high = old.i_file_acl_high;
	di->i_reserved = old.i_reserved;
	if ((di->i_mode & EXT2_IFMT) != EXT2_IFREG)
		di->i_size_high = old.i_size_high;
}

bool
ext2_change_image(struct ext2_mount *em, uint64_t ino, struct ext2_dinode *di)
{
	struct ext2_change *c;

	spin_lock(&em->em_lock);
	c = change_find_locked(em, ino);
	if (c != NULL)
		*di = c->c_image;
	spin_unlock(&em->em_lock);
	return (c != NULL);
}

/* ---- the superblock and the descriptors ---- */

/* The block with the superblock, and the superblock in it. */
static int
super_bread(struct ext2_mount *em, struct buf **bpp, struct ext2_super **es)
{
	uint64_t byte = (uint64_t)EXT2_SUPER_OFFSET;
	int error;

	error = bread(em->em_devvp, ext2_devblk(em, byte >> em->em_bshift), em->em_bsize, bpp);
	if (error == 0)
		*es = (struct ext2_super *)((char *)(*bpp)->b_data + (byte & (em->em_bsize - 1)));
	return (error);
}

/*
 * Bring our counts into the blocks of the superblock and the descriptors.  => em_oplock exclusive
 */
static int
counts_put(struct ext2_mount *em)
{
	uint32_t per_block = em->em_bsize / sizeof(struct ext2_group_desc);
	struct ext2_group_desc *gd;
	struct ext2_super *es;
	struct buf *bp;
	int error;

	em->em_counts_dirty = false;
	for (uint32_t g = 0; g < em->em_ngroups; ) {
		error = bread(em->em_devvp, ext2_devblk(em, em->em_first_data + 1 + g / per_block), em->em_bsize, &bp);
		if (error != 0)
			return (error);
		gd = bp->b_data;
		for (uint32_t k = 0; k < per_block && g < em->em_ngroups; k++, g++) {
			gd[k].bg_free_blocks_count = (uint16_t)em->em_groups[g].free_blocks;
			gd[k].bg_free_inodes_count = (uint16_t)em->em_groups[g].free_inodes;
			gd[k].bg_used_dirs_count = (uint16_t)em->em_groups[g].used_dirs;
		}
		bdwrite(bp, BUF_REST);
	}
	error = super_bread(em, &bp, &es);
	if (error != 0)
		return (error);
	es->s_free_blocks_count = (uint32_t)em->em_free_blocks;
	es->s_free_inodes_count = (uint32_t)em->em_free_inodes;
	es->s_wtime = (uint32_t)clock_wall_seconds();
	if (em->em_damaged)
		es->s_state |= EXT2_STATE_ERRORS;
	bdwrite(bp, BUF_REST);
	return (0);
}

/*
 * `break=RULE` in a debug kernel: leave out one rule, so that the power-cut tests can show that
 * they would notice.
 */
static bool
rule_broken(const char *rule)
{
	const char *word = FAULTLINE_DEBUG ? cmdline_get("break") : NULL;

	return (word != NULL && streq(word, rule));
}

int
ext2_flush(struct ext2_mount *em)
{
	if (rule_broken("noflush"))
		return (0);
	return (disk_flush(em->em_devvp->v_disk));
}

int
ext2_super_mark(struct ext2_mount *em, bool clean)
{
	struct ext2_super *es;
	struct buf *bp;
	int error;

	error = disk_flush(em->em_devvp->v_disk);		/* what it vouches for comes first */
	if (error == 0)
		error = super_bread(em, &bp, &es);
	if (error != 0)
		return (error);
	if (clean) {
		es->s_state |= EXT2_STATE_CLEAN;
	} else {
		es->s_state &= (uint16_t)~EXT2_STATE_CLEAN;
		es->s_mtime = (uint32_t)clock_wall_seconds();
		es->s_mnt_count++;
	}
	if (em->em_damaged) {
		es->s_state |= EXT2_STATE_ERRORS;
		es->s_state &= (uint16_t)~EXT2_STATE_CLEAN;
	}
	es->s_wtime = (uint32_t)clock_wall_seconds();
	bdwrite(bp, BUF_REST);
	error = bsync(em->em_devvp, BUF_ALL_ORDERS);
	return (error != 0 ? error : disk_flush(em->em_devvp->v_disk));
}

int
ext2_super_set_large_file(struct ext2_mount *em)
{
	struct ext2_super *es;
	struct buf *bp;
	int error = ext2_begin(em);

	if (error != 0)
		return (error);
	error = super_bread(em, &bp, &es);
	if (error == 0) {
		es->s_feature_ro_compat |= EXT2_ROCOMPAT_LARGE_FILE;
		bdwrite(bp, BUF_REST);
		em->em_rocompat |= EXT2_ROCOMPAT_LARGE_FILE;
	}
	ext2_end(em);
	return (error != 0 ? error : ext2_sync_metadata(em));
}

/* ---- the sync: => em_oplock exclusive ---- */

/* When an inode is written: deaths first, then level by level, then late deaths. */
#define STEP_DEATHS		(-1)
#define STEP_LATE_DEATHS	INT32_MAX

static int
change_step(const struct ext2_change *c)
{
	if (c->c_image.i_links_count > 0)
		return (c->c_level);
	return (c->c_sheltered ? STEP_LATE_DEATHS : STEP_DEATHS);
}

/* Put the inodes of one step into their blocks and write these. */
static int
inodes_put(struct ext2_mount *em, int step)
{
	struct rb_node *node;
	struct buf *bp;
	int error;

	for (node = rb_first(&em->em_changes); node != NULL; node = rb_next(node)) {
		struct ext2_change *c = NODE_CHANGE(node);
		uint32_t byte;
		uint64_t block;

		if (c->c_written || change_step(c) != step)
			continue;
		block = ext2_inode_place(em, c->c_ino, &byte);
		error = bread(em->em_devvp, ext2_devblk(em, block), em->em_bsize, &bp);
		if (error != 0)
			return (error);
		image_apply(em, c, (struct ext2_dinode *)((char *)bp->b_data + byte));
		bdwrite(bp, BUF_INODES);
		c->c_written = true;
	}
	return (bsync(em->em_devvp, 1u << BUF_INODES));
}

/* What a sync has to do. */
struct survey {
	bool		deaths, late_deaths;
	int		level_max;
	uint64_t	shelter;	/* block of lost+found, if late_deaths */
};

/* Some may be about to die late: give them their other names.  => 0, or the disk's error */
static int
shelter_replaced(struct ext2_mount *em, struct survey *sv)
{
	bool replaced = false;

	for (struct rb_node *node = rb_first(&em->em_changes); node != NULL; node = rb_next(node)) {
		struct ext2_change *c = NODE_CHANGE(node);

		c->c_sheltered = false;
		replaced = replaced || (c->c_replaced && c->c_image.i_links_count == 0);
	}
	if (!replaced || em->em_lostfound == NULL || rule_broken("shelter"))
		return (0);
	return (ext2_shelter_write(em, &sv->shelter));
}

/* How far the levels go, and whether somebody dies. */
static void
changes_survey(struct ext2_mount *em, struct survey *sv)
{
	for (struct rb_node *node = rb_first(&em->em_changes); node != NULL; node = rb_next(node)) {
		struct ext2_change *c = NODE_CHANGE(node);

		c->c_written = false;
		switch (change_step(c)) {
		case STEP_DEATHS:
			sv->deaths = true;
			break;
		case STEP_LATE_DEATHS:
			sv->late_deaths = true;
			break;
		default:
			sv->level_max = MAX(sv->level_max, change_step(c));
		}
	}
}

/* Steps 1 to 3. */
static int
sync_first_steps(struct ext2_mount *em, bool deaths)
{
	int error = bsync(em->em_devvp, 1u << BUF_FRESH);

	if (error == 0)
		error = ext2_flush(em);
	if (error == 0 && deaths) {
		error = inodes_put(em, STEP_DEATHS);
		if (error == 0)
			error = ext2_flush(em);
	}
	if (error == 0 && (bio_dirty_orders(em->em_devvp) & (1u << BUF_NAMES)) != 0 && !rule_broken("order")) {
		error = bsync(em->em_devvp, 1u << BUF_NAMES);
		if (error == 0)
			error = ext2_flush(em);
	}
	return (error);
}

/* Step 4. */
static int
sync_levels(struct ext2_mount *em, int level_max)
{
	int error = bsync(em->em_devvp, 1u << BUF_REST);

	for (int level = 0; level <= level_max && error == 0; level++) {
		error = inodes_put(em, level);
		if (error == 0)
			error = ext2_flush(em);
	}
	return (error);
}

/* Step 5.  The next flush comes before any of these inodes is used again. */
static int
sync_late_deaths(struct ext2_mount *em, uint64_t shelter)
{
	int error = inodes_put(em, STEP_LATE_DEATHS);

	if (error == 0)
		error = ext2_flush(em);
	return (error != 0 ? error : ext2_shelter_clear(em, shelter));
}

/* Nothing differs from the disk any more. */
static void
changes_forget(struct ext2_mount *em)
{
	struct rb_tree done;
	struct rb_node *node;

	spin_lock(&em->em_lock);
	done = em->em_changes;
	em->em_changes.root = NULL;
	em->em_nchanges = 0;
	spin_unlock(&em->em_lock);
	while ((node = done.root) != NULL) {
		rb_remove(&done, node, NULL);
		kfree(NODE_CHANGE(node), &M_EXT2CHG);
	}
}

void
ext2_changes_discard(struct ext2_mount *em)
{
	changes_forget(em);
	ext2_freed_discard(em);
}

bool
ext2_is_clean(struct ext2_mount *em)
{
	return (PEEK(em->em_nchanges) == 0 && PEEK(em->em_freed) == NULL && !PEEK(em->em_counts_dirty) && bio_dirty_orders(em->em_devvp) == 0);
}

/* All steps. */
static int
sync_all(struct ext2_mount *em)
{
	struct survey sv = { .shelter = 0 };
	int error = shelter_replaced(em, &sv);

	changes_survey(em, &sv);
	if (error == 0)
		error = sync_first_steps(em, sv.deaths);
	if (error == 0)
		error = sync_levels(em, sv.level_max);
	if (error == 0 && sv.late_deaths)
		error = sync_late_deaths(em, sv.shelter);
	if (error != 0 && sv.late_deaths)
		ext2_damaged(em, "names may be left in lost+found");
	if (error != 0)
		return (error);
	changes_forget(em);
	(void)ext2_freed_apply(em);
	if (em->em_counts_dirty)
		error = counts_put(em);
	return (error != 0 ? error : bsync(em->em_devvp, BUF_ALL_ORDERS));
}

int
ext2_sync_metadata(struct ext2_mount *em)
{
	int error;

	rw_wlock(&em->em_oplock);
	__atomic_store_n(&em->em_mp->mnt_syncing, true, __ATOMIC_RELAXED);
	if (!em->em_writable)
		error = 0;
	else if (ext2_is_clean(em))
		error = ext2_flush(em);
	else
		error = sync_all(em);
	if (error != 0)
		ext2_complain(em, "metadata could not be written: %s", errno_name(error));
	else
		em->em_syncs++;
	__atomic_store_n(&em->em_mp->mnt_syncing, false, __ATOMIC_RELAXED);
	rw_wunlock(&em->em_oplock);
	return (error);
}
