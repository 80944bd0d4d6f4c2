/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mounting an ext2 volume.
 *
 *	superblock --check--> geometry --> group descriptors --check--> em_groups --> root inode: a directory?
 *
 * The superblock is read past the metadata cache, since its place and size do not follow the
 * volume's block size, which is only known afterwards.  Everything else goes through bread().
 *
 * A volume is mounted read-write if that was asked for and nothing speaks against it: a disk that
 * cannot be written, features that only allow reading, a volume that was not unmounted cleanly or
 * has errors (e2fsck first), or a list of deleted inodes that ext3 left behind.  Else it is mounted
 * read-only, with a sentence.  While it is mounted read-write, the superblock on the disk does not
 * call it clean; the clean unmount, or the change to read-only, writes everything and then says so.
 */
#include "drivers/disk.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_EXT2MNT, "ext2 mounts");

#define WHY_MAX	160		/* bytes of a sentence about a volume */

/*
 * Read the superblock.
 *
 * => sleeps.  0: *es filled; EINVAL: the device is too small to have one; EIO.
 */
static int
super_read(struct disk *disk, struct ext2_super *es)
{
	size_t len = roundup(EXT2_SUPER_OFFSET + sizeof(*es), (size_t)disk->dk_sectorsize);
	char *data;
	int error;

	if (disk->dk_nsectors * DEV_BSIZE < len)
		return (EINVAL);
	data = kmalloc(len, &M_EXT2MNT, M_WAITOK);
	error = disk_rw(disk, 0, data, len, B_READ);
	if (error == 0)
		memcpy(es, data + EXT2_SUPER_OFFSET, sizeof(*es));
	kfree(data, &M_EXT2MNT);
	return (error);
}

static bool
ext2_probe(struct disk *disk)
{
	struct ext2_super *es = kmalloc(sizeof(*es), &M_EXT2MNT, M_WAITOK);
	bool ours = super_read(disk, es) == 0 && es->s_magic == EXT2_MAGIC;

	kfree(es, &M_EXT2MNT);
	return (ours);
}

/* Read and check all group descriptors into em_groups.  0; EIO or EUCLEAN and why. */
static int
groups_read(struct ext2_mount *em, char *why)
{
	uint32_t per_block = em->em_bsize / sizeof(struct ext2_group_desc), g = 0;
	const struct ext2_group_desc *gd;
	struct buf *bp;
	int error = 0;

	em->em_groups = kmalloc(em->em_ngroups * sizeof(em->em_groups[0]), &M_EXT2MNT, M_WAITOK);
	for (uint32_t i = 0; i < em->em_desc_blocks && error == 0; i++) {
		error = bread(em->em_devvp, ext2_devblk(em, em->em_first_data + 1 + i), em->em_bsize, &bp);
		if (error != 0) {
			snprintf(why, WHY_MAX, "group descriptors cannot be read");
			return (error);
		}
		gd = bp->b_data;
		for (uint32_t k = 0; k < per_block && g < em->em_ngroups && error == 0; k++, g++)
			error = ext2_group_check(em, g, &gd[k], &em->em_groups[g], why, WHY_MAX);
		brelse(bp);
	}
	return (error);
}

static int
root_check(struct ext2_mount *em, char *why)
{
	struct vnode *vp;
	int error;

	error = ext2_vget(em, EXT2_ROOT_INO, &vp);
	if (error != 0) {
		snprintf(why, WHY_MAX, "the root directory's inode cannot be used");
		return (error);
	}
	if (vp->v_type != VDIR) {
		snprintf(why, WHY_MAX, "the root is a %s", vtype_name(vp->v_type));
		error = EUCLEAN;
	}
	vrele(vp);
	return (error);
}

static void
em_free(struct ext2_mount *em)
{
	KASSERT(em->em_vnodes.root == NULL, "ext2 %s goes, but has vnodes", em->em_name);
	ext2_changes_discard(em);
	kfree(em->em_zeros, &M_EXT2MNT);
	kfree(em->em_groups, &M_EXT2MNT);
	kfree(em, &M_EXT2MNT);
}

/* What the mount tells about the volume. */
static void
statfs_fill(const struct ext2_mount *em, struct statfs *st)
{
	st->f_iosize = st->f_bsize = em->em_bsize;
	st->f_blocks = em->em_blocks - em->em_first_data -
	    (uint64_t)em->em_ngroups * (em->em_itable_blocks + 2);
	st->f_files = em->em_inodes;
	st->f_namemax = NAME_MAX;
}

/*
 * Everything that can fail.
 *
 * => em: em_mp, em_devvp and em_name set.  On error `why` has the sentence.
 */
static int
em_fill(struct ext2_mount *em, struct disk *disk, struct ext2_super *es, char *why)
{
	struct vnode *busy;
	int error;

	error = super_read(disk, es);
	if (error != 0) {
		snprintf(why, WHY_MAX, error == EINVAL ? "too small for a superblock" :
		    "the superblock cannot be read");
		return (error);
	}
	error = ext2_super_check(es, disk->dk_nsectors * DEV_BSIZE, disk->dk_sectorsize, em, why,
	    WHY_MAX);
	if (error != 0)
		return (error);
	if (why[0] != '\0')
		printf("ext2: %s: %s\n", em->em_name, why);
	em->em_r_blocks = es->s_r_blocks_count;
	if ((es->s_state & (EXT2_STATE_CLEAN | EXT2_STATE_ERRORS)) != EXT2_STATE_CLEAN)
		printf("ext2: %s: %s; e2fsck should look at it\n", em->em_name,
		    (es->s_state & EXT2_STATE_ERRORS) != 0 ? "has errors" : "was not unmounted");
	error = groups_read(em, why);
	if (error != 0)
		return (error);
	em->em_mp->mnt_data = em;
	error = root_check(em, why);
	if (error != 0 && vnode_flush_mount(em->em_mp, &busy) != 0)
		panic("ext2 %s: the root is in use before it is mounted", em->em_name);
	return (error);
}

/* Why this volume cannot be mounted read-write, or NULL. */
static const char *
readonly_because(const struct ext2_mount *em, const struct disk *disk, const struct ext2_super *es)
{
	if (disk->dk_readonly)
		return ("the disk cannot be written");
	if ((em->em_rocompat & ~EXT2_ROCOMPAT_KNOWN) != 0)
		return ("its features allow only reading");
	if ((es->s_state & (EXT2_STATE_CLEAN | EXT2_STATE_ERRORS)) != EXT2_STATE_CLEAN)
		return ("e2fsck has not looked at it");
	if (em->em_rev > 0 && es->s_last_orphan != 0)
		return ("e2fsck has to delete files first");
	return (NULL);
}

/* What is free, as the descriptors say. */
static void
counts_take(struct ext2_mount *em)
{
	em->em_free_blocks = em->em_free_inodes = 0;
	for (uint32_t g = 0; g < em->em_ngroups; g++) {
		em->em_free_blocks += em->em_groups[g].free_blocks;
		em->em_free_inodes += em->em_groups[g].free_inodes;
	}
	em->em_counts_dirty = false;
}

/* Begin to write.  => em_oplock not held */
static int
writing_start(struct ext2_mount *em)
{
	int error = ext2_super_mark(em, false);

	if (error != 0)
		return (error);
	if (em->em_zeros == NULL)
		em->em_zeros = kmalloc(em->em_bsize, &M_EXT2MNT, M_WAITOK | M_ZERO);
	rw_wlock(&em->em_oplock);
	em->em_writable = true;
	rw_wunlock(&em->em_oplock);
	return (0);
}

/*
 * Write everything, call the volume clean, and write no more.  On error it stays writable, and is
 * not called clean.
 */
static int
writing_stop(struct ext2_mount *em)
{
	int error = ext2_sync_metadata(em);

	if (error != 0)
		return (error);
	rw_wlock(&em->em_oplock);
	/*
	 * Somebody may have been faster; and what is deleted but in use cannot be part of a clean
	 * volume.
	 */
	if (!ext2_is_clean(em) || em->em_reserved > 0 || em->em_orphans > 0) {
		rw_wunlock(&em->em_oplock);
		return (EBUSY);
	}
	em->em_writable = false;
	rw_wunlock(&em->em_oplock);
	error = ext2_super_mark(em, true);
	if (error != 0)
		printf("ext2: %s: the superblock could not be written: %s\n", em->em_name, errno_name(error));
	return (error);
}

/* Read-write or not?  Says what it decided. */
static void
mount_mode(struct ext2_mount *em, struct disk *disk, const struct ext2_super *es)
{
	const char *because = readonly_because(em, disk, es);
	bool wanted = (em->em_mp->mnt_flag & MNT_RDONLY) == 0;
	int error;

	if (wanted && because == NULL && (error = writing_start(em)) != 0)
		because = errno_name(error);
	if (!em->em_writable)
		em->em_mp->mnt_flag |= MNT_RDONLY;
	printf("ext2: %s: %lu blocks of %u bytes, %lu inodes; mounted %s%s%s\n", em->em_name, em->em_blocks, em->em_bsize,
	    em->em_inodes, em->em_writable ? "read-write" : "read-only", wanted && because != NULL ? ": " : "",
	    wanted && because != NULL ? because : "");
}

static int
ext2_mount(struct mount *mp, struct disk *disk, const char *opts)
{
	struct ext2_super *es;
	struct ext2_mount *em;
	char why[WHY_MAX];
	int error;

	if (disk == NULL)
		return (ENODEV);
	es = kmalloc(sizeof(*es), &M_EXT2MNT, M_WAITOK);
	em = kmalloc(sizeof(*em), &M_EXT2MNT, M_WAITOK | M_ZERO);
	em->em_mp = mp;
	em->em_devvp = mp->mnt_devvp;
	rw_init(&em->em_oplock, "ext2 change", RANK_FSOP);
	mutex_init(&em->em_rename, "ext2 rename", RANK_RENAME);
	spin_init(&em->em_lock, "ext2 accounts", RANK_FSCOUNT);
	em->em_messages = (struct ratelimit)RATELIMIT_INITIALIZER(10, 5);
	strlcpy(em->em_name, disk->dk_name, sizeof(em->em_name));
	error = em_fill(em, disk, es, why);
	if (error != 0) {
		printf("ext2: %s: not mounted: %s\n", em->em_name, why);
		mp->mnt_data = NULL;
		em_free(em);
	} else {
		statfs_fill(em, &mp->mnt_stat);
		counts_take(em);
		mount_mode(em, disk, es);
	}
	kfree(es, &M_EXT2MNT);
	return (error);
}

static int
ext2_unmount(struct mount *mp)
{
	struct ext2_mount *em = MTOE(mp);

	if (em->em_writable) {
		KASSERT(em->em_reserved == 0, "ext2 %s: %lu blocks are promised to nobody", em->em_name, em->em_reserved);
		if (writing_stop(em) != 0)
			printf("ext2: %s: unmounted, but not clean\n", em->em_name);
	}
	em_free(em);
	mp->mnt_data = NULL;
	return (0);
}

static int
ext2_root(struct mount *mp, struct vnode **vpp)
{
	return (ext2_vget(MTOE(mp), EXT2_ROOT_INO, vpp));
}

static int
ext2_statfs(struct mount *mp, struct statfs *st)
{
	struct ext2_mount *em = MTOE(mp);
	uint64_t free;

	*st = mp->mnt_stat;
	spin_lock(&em->em_lock);
	free = em->em_free_blocks + em->em_pending_blocks;
	st->f_bfree = free > em->em_reserved ? free - em->em_reserved : 0;
	st->f_bavail = st->f_bfree > em->em_r_blocks ? st->f_bfree - em->em_r_blocks : 0;
	st->f_ffree = em->em_free_inodes + em->em_pending_inodes;
	spin_unlock(&em->em_lock);
	return (0);
}

static int
ext2_sync(struct mount *mp, bool wait)
{
	struct ext2_mount *em = MTOE(mp);
	int error = 0, error2;

	if (!em->em_writable)
		return (0);
	if (wait)
		error = vfs_clean_files(mp, 0);
	error2 = wait || !ext2_is_clean(em) ? ext2_sync_metadata(em) : 0;
	return (error != 0 ? error : error2);
}

/*
 * From read-write to read-only, while others go on: first nobody may begin a change, then those
 * under way end, then everything is written, and mappings may not be stored through any more.
 *
 * => EBUSY: a mapping was stored through meanwhile, or a file without a name is in use; then it is
 *    as before.
 */
static int
remount_readonly(struct mount *mp)
{
	struct ext2_mount *em = MTOE(mp);
	int error;

	__atomic_store_n(&em->em_frozen, true, __ATOMIC_SEQ_CST);
	mutex_lock(&em->em_rename);
	mutex_unlock(&em->em_rename);
	error = vfs_settle_files(mp);
	if (error == 0)
		error = writing_stop(em);
	if (error == 0 && (error = vfs_allow_stores(mp, false)) != 0) {
		(void)vfs_allow_stores(mp, true);
		(void)writing_start(em);
	}
	__atomic_store_n(&em->em_frozen, false, __ATOMIC_SEQ_CST);
	return (error);
}

static int
ext2_remount(struct mount *mp, uint32_t flags)
{
	struct ext2_mount *em = MTOE(mp);
	const char *because;
	struct ext2_super *es;
	int error;

	if (((flags & MNT_RDONLY) == 0) == em->em_writable)
		return (0);
	if (em->em_writable)
		return (remount_readonly(mp));
	es = kmalloc(sizeof(*es), &M_EXT2MNT, M_WAITOK);
	error = super_read(em->em_devvp->v_disk, es);
	because = error == 0 ? readonly_because(em, em->em_devvp->v_disk, es) : "the superblock cannot be read";
	kfree(es, &M_EXT2MNT);
	if (because == NULL) {
		(void)vfs_allow_stores(mp, true);
		return (writing_start(em));
	}
	printf("ext2: %s: stays read-only: %s\n", em->em_name, because);
	return (error != 0 ? error : EROFS);
}

const struct vfsops ext2_vfsops = {
	.name = "ext2",
	.magic = 0xef53,
	.mount = ext2_mount,
	.probe = ext2_probe,
	.unmount = ext2_unmount,
	.root = ext2_root,
	.statfs = ext2_statfs,
	.sync = ext2_sync,
	.remount = ext2_remount,
	.forcible = true,
};
