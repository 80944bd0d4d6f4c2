/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mounting an ext2 volume.
 *
 *	superblock --check--> geometry --> group descriptors --check--> em_groups --> root inode: a directory?
 *
 * The superblock is read past the metadata cache, since its place and size do not follow the
 * volume's block size, which is only known afterwards.  Everything else goes through bread().
 *
 * A volume is mounted read-only, always: this kernel does not write ext2.  So there is nothing to
 * do on unmounting but to forget, and a volume that was not unmounted cleanly is read as it is, and
 * said so.
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
	kfree(em->em_groups, &M_EXT2MNT);
	kfree(em, &M_EXT2MNT);
}

/* What the mount tells about the volume. */
static void
statfs_fill(const struct ext2_mount *em, const struct ext2_super *es, struct statfs *st)
{
	st->f_iosize = st->f_bsize = em->em_bsize;
	st->f_blocks = em->em_blocks - em->em_first_data -
	    (uint64_t)em->em_ngroups * (em->em_itable_blocks + 2);
	st->f_bfree = es->s_free_blocks_count;
	st->f_bavail = st->f_bfree > es->s_r_blocks_count ? st->f_bfree - es->s_r_blocks_count : 0;
	st->f_files = em->em_inodes;
	st->f_ffree = es->s_free_inodes_count;
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
	em->em_messages = (struct ratelimit)RATELIMIT_INITIALIZER(10, 5);
	strlcpy(em->em_name, disk->dk_name, sizeof(em->em_name));
	error = em_fill(em, disk, es, why);
	if (error != 0) {
		printf("ext2: %s: not mounted: %s\n", em->em_name, why);
		mp->mnt_data = NULL;
		em_free(em);
	} else {
		statfs_fill(em, es, &mp->mnt_stat);
		mp->mnt_flag |= MNT_RDONLY;
		printf("ext2: %s: %lu blocks of %u bytes, %lu inodes; mounted read-only: this kernel "
		    "does not write ext2\n", em->em_name, em->em_blocks, em->em_bsize, em->em_inodes);
	}
	kfree(es, &M_EXT2MNT);
	return (error);
}

static int
ext2_unmount(struct mount *mp)
{
	em_free(MTOE(mp));
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
	*st = mp->mnt_stat;
	return (0);
}

const struct vfsops ext2_vfsops = {
	.name = "ext2",
	.mount = ext2_mount,
	.probe = ext2_probe,
	.unmount = ext2_unmount,
	.root = ext2_root,
	.statfs = ext2_statfs,
};
