/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Filesystems and where they are mounted.
 *
 *	types:   ext2, ...              registered once, at boot
 *	mounts:  rootfs -> ...          each: operations, device vnode, its vnodes, the directory that it covers
 *
 * A mount that covers no directory is private: its owner reaches it through VFS_ROOT().  The tests
 * mount their volumes so.
 *
 * Unmounting must not wait for the object cache to forget files by itself: it empties the cache of
 * this volume first (vnode_pager_umount), then recycles all idle vnodes, and only what is then
 * still in use is a user.  A thread that is on its way into a mount, but holds no vnode of it yet,
 * is counted in mnt_busy.
 *
 * Locks: mount_lock (sleeps, outermost) guards both lists and serialises mounting and unmounting;
 * what path lookup needs (v_mountedhere, mnt_covered, mnt_busy) is under vnode_list_lock.
 */
#include "drivers/disk.h"
#include "drivers/part.h"
#include "kernel/cmdline.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/fs/procfs/procfs.h"
#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_MOUNT, "mounts");

#define VFS_TYPES_MAX	16

struct mount *rootfs;			/* vnode_list_lock */

static struct mutex mount_lock;
static TAILQ_HEAD(, mount) mounts;	/* mount_lock */
static const struct vfsops *vfs_types[VFS_TYPES_MAX];	/* mount_lock */

void
vfs_init(void)
{
	mutex_init(&mount_lock, "mount", RANK_MOUNT);
	TAILQ_INIT(&mounts);
	vnode_init();
	cache_init();
	vfs_register(&ext2_vfsops);
	vfs_register(&tmpfs_vfsops);
	vfs_register(&procfs_vfsops);
	syncer_init();
}

void
vfs_register(const struct vfsops *ops)
{
	size_t i = 0;

	mutex_lock(&mount_lock);
	while (i < VFS_TYPES_MAX && vfs_types[i] != NULL && vfs_types[i] != ops)
		i++;
	if (i == VFS_TYPES_MAX)
		panic("no room for filesystem type %s", ops->name);
	vfs_types[i] = ops;
	mutex_unlock(&mount_lock);
}

/* => mount_lock held */
static const struct vfsops *
vfs_find_locked(const char *name)
{
	for (size_t i = 0; i < VFS_TYPES_MAX && vfs_types[i] != NULL; i++) {
		if (streq(vfs_types[i]->name, name))
			return (vfs_types[i]);
	}
	return (NULL);
}

/* Give up a mount's device.  => none of its vnodes is left */
static void
mount_free(struct mount *mp)
{
	if (mp->mnt_devvp != NULL) {
		struct disk *disk = mp->mnt_devvp->v_disk;

		binval(mp->mnt_devvp);
		vrele(mp->mnt_devvp);
		disk_release(disk);
	}
	kfree(mp, &M_MOUNT);
}

/* => mount_lock held */
static int
vfs_mount_locked(const struct vfsops *ops, struct disk *disk, const char *opts, uint32_t flags,
    struct mount **mpp)
{
	struct vnode *busy;
	struct mount *mp;
	int error;

	if (disk != NULL && disk_claim(disk, "mount") != 0)
		return (EBUSY);
	mp = kmalloc(sizeof(*mp), &M_MOUNT, M_WAITOK | M_ZERO);
	mp->mnt_op = ops;
	mp->mnt_flag = flags;
	TAILQ_INIT(&mp->mnt_vnodelist);
	mp->mnt_stat.f_fstypename = ops->name;
	strlcpy(mp->mnt_stat.f_mntfromname, disk != NULL ? disk->dk_name : ops->name,
	    sizeof(mp->mnt_stat.f_mntfromname));
	if (disk != NULL)
		mp->mnt_devvp = bdevvp(disk);
	error = ops->mount(mp, disk, opts != NULL ? opts : "");
	if (error != 0) {
		if (vnode_flush_mount(mp, &busy) != 0)
			panic("failed mount of %s left vnodes in use", mp->mnt_stat.f_mntfromname);
		mount_free(mp);
		return (error);
	}
	TAILQ_INSERT_TAIL(&mounts, mp, mnt_list);
	*mpp = mp;
	return (0);
}

int
vfs_mount(const char *fsname, struct disk *disk, const char *opts, uint32_t flags, struct mount **mpp)
{
	const struct vfsops *ops;
	int error;

	*mpp = NULL;
	mutex_lock(&mount_lock);
	ops = vfs_find_locked(fsname);
	if (ops == NULL) {
		printf("mount: no filesystem type %s\n", fsname);
		error = ENODEV;
	} else {
		error = vfs_mount_locked(ops, disk, opts, flags, mpp);
	}
	mutex_unlock(&mount_lock);
	return (error);
}

int
vfs_mount_on(struct mount *mp, struct vnode *covered)
{
	int error = 0;

	if (covered->v_type != VDIR)
		return (ENOTDIR);
	mutex_lock(&mount_lock);
	spin_lock(&vnode_list_lock);
	if (covered->v_mountedhere != NULL || mp->mnt_covered != NULL || covered->v_mount == mp ||
	    mp == rootfs || !vget_locked(covered)) {
		error = EBUSY;
	} else {
		covered->v_mountedhere = mp;
		mp->mnt_covered = covered;
	}
	spin_unlock(&vnode_list_lock);
	mutex_unlock(&mount_lock);
	return (error);
}

void
vfs_mount_at(const char *fsname, const char *path)
{
	struct vnode *covered;
	struct mount *mp;
	int error;

	if (namei(path, NULL, 0, &covered) != 0)
		return;
	error = vfs_mount(fsname, NULL, "", 0, &mp);
	if (error == 0 && (error = vfs_mount_on(mp, covered)) != 0)
		(void)vfs_unmount(mp);
	vrele(covered);
	if (error != 0)
		printf("%s: not mounted on %s: %s\n", fsname, path, errno_name(error));
}

int
vfs_root_of(struct vnode *dvp, struct vnode **vpp)
{
	struct mount *mp;
	int error;

	*vpp = NULL;
	spin_lock(&vnode_list_lock);
	mp = dvp != NULL ? dvp->v_mountedhere : rootfs;
	if (mp != NULL)
		mp->mnt_busy++;
	spin_unlock(&vnode_list_lock);
	if (mp == NULL)
		return (ENOENT);
	error = VFS_ROOT(mp, vpp);
	vfs_unbusy(mp);
	return (error);
}

/*
 * Stop path lookup from finding a mount, or let it find it again.
 *
 * => mount_lock held
 */
static void
mount_hide(struct mount *mp, bool hide, bool was_root)
{
	spin_lock(&vnode_list_lock);
	if (mp->mnt_covered != NULL)
		mp->mnt_covered->v_mountedhere = hide ? NULL : mp;
	if (was_root)
		rootfs = hide ? NULL : mp;
	spin_unlock(&vnode_list_lock);
}

/* => mount_lock held, mp hidden */
static int
vfs_unmount_locked(struct mount *mp)
{
	char name[NAME_MAX + 1];
	struct vnode *busy;
	int error;

	vnode_pager_umount(mp);
	error = vnode_flush_mount(mp, &busy);
	if (error == 0) {
		error = mp->mnt_op->unmount != NULL ? mp->mnt_op->unmount(mp) : 0;
		if (error != 0)
			vnode_resume_mount(mp);
		return (error);
	}
	if (busy == NULL) {
		printf("unmount: %s: an operation is under way\n", mp->mnt_stat.f_mntfromname);
		return (error);
	}
	cache_name_of(busy, name, sizeof(name));
	printf("unmount: %s: inode %lu (%s%s%s) is in use by %d\n", mp->mnt_stat.f_mntfromname, busy->v_ino,
	    vtype_name(busy->v_type), name[0] != '\0' ? " " : "", name, busy->v_usecount - 1);
	vrele(busy);
	return (error);
}

/* What is mounted in a volume, or NULL.  => mount_lock held */
static struct mount *
mounted_in(struct mount *mp)
{
	struct mount *other;

	TAILQ_FOREACH(other, &mounts, mnt_list) {
		if (other->mnt_covered != NULL && other->mnt_covered->v_mount == mp)
			return (other);
	}
	return (NULL);
}

/* => mount_lock held, mp hidden */
static int
vfs_force_locked(struct mount *mp)
{
	const struct mount *other = mounted_in(mp);
	int error;

	if (!mp->mnt_op->forcible)
		return (EOPNOTSUPP);
	if (other != NULL) {
		printf("unmount: %s: %s is mounted in it\n", mp->mnt_stat.f_mntfromname, other->mnt_stat.f_mntfromname);
		return (EBUSY);
	}
	if (vnode_mount_swaps(mp)) {
		printf("unmount: %s: a file of it serves as swap\n", mp->mnt_stat.f_mntfromname);
		return (EBUSY);
	}
	error = mp->mnt_op->sync != NULL ? mp->mnt_op->sync(mp, true) : 0;
	if (error != 0)
		printf("unmount: %s: not everything could be written: %s\n", mp->mnt_stat.f_mntfromname, errno_name(error));
	vnode_pager_umount(mp);
	error = vnode_kill_mount(mp);
	return (error != 0 ? error : vfs_unmount_locked(mp));
}

static int
vfs_unmount_by(struct mount *mp, int (*how)(struct mount *))
{
	struct vnode *covered = mp->mnt_covered;
	bool was_root = mp == rootfs;
	int error;

	mutex_lock(&mount_lock);
	mount_hide(mp, true, was_root);
	error = how(mp);
	if (error != 0) {
		mount_hide(mp, false, was_root);
	} else {
		TAILQ_REMOVE(&mounts, mp, mnt_list);
		mount_free(mp);
	}
	mutex_unlock(&mount_lock);
	if (error == 0 && covered != NULL)
		vrele(covered);
	return (error);
}

int
vfs_unmount(struct mount *mp)
{
	return (vfs_unmount_by(mp, vfs_unmount_locked));
}

int
vfs_unmount_forced(struct mount *mp)
{
	return (vfs_unmount_by(mp, vfs_force_locked));
}

int
vfs_foreach(int (*fn)(struct mount *mp, void *arg), void *arg)
{
	struct mount *mp;
	int error = 0;

	mutex_lock(&mount_lock);
	TAILQ_FOREACH(mp, &mounts, mnt_list) {
		error = fn(mp, arg);
		if (error != 0)
			break;
	}
	mutex_unlock(&mount_lock);
	return (error);
}

int
vfs_remount(struct mount *mp, uint32_t flags)
{
	int error;

	mutex_lock(&mount_lock);
	if ((flags & MNT_RDONLY) != 0 && vnode_mount_swaps(mp))
		error = EBUSY;
	else
		error = mp->mnt_op->remount != NULL ? mp->mnt_op->remount(mp, flags) : EOPNOTSUPP;
	if (error == 0)
		mp->mnt_flag = (mp->mnt_flag & ~MNT_RDONLY) | (flags & MNT_RDONLY);
	mutex_unlock(&mount_lock);
	return (error);
}

void
vfs_shutdown(void)
{
	struct mount *mp;

	(void)vfs_sync_all(true);
	for (;;) {
		mutex_lock(&mount_lock);
		mp = TAILQ_LAST(&mounts);
		mutex_unlock(&mount_lock);
		if (mp == NULL || vfs_unmount(mp) != 0)
			break;
	}
	/* Somebody still uses this one, and perhaps those below it. */
	for (; mp != NULL; mp = TAILQ_PREV(mp, mnt_list)) {
		int error = vfs_remount(mp, MNT_RDONLY);

		if (error != 0 && error != EOPNOTSUPP)
			printf("%s: cannot be left clean: %s\n", mp->mnt_stat.f_mntfromname, errno_name(error));
	}
}

/* ---- the root ---- */

/* Mount a disk as the root.  => says what it did */
static int
mount_root_from(struct disk *disk, const char *why)
{
	struct mount *mp;
	int error = vfs_mount("ext2", disk, "", cmdline_has("ro") ? MNT_RDONLY : 0, &mp);

	if (error != 0) {
		printf("root: %s (%s) cannot be mounted: %s\n", disk->dk_name, why, errno_name(error));
		return (error);
	}
	spin_lock(&vnode_list_lock);
	rootfs = mp;
	spin_unlock(&vnode_list_lock);
	printf("root: %s (%s), %s\n", disk->dk_name, why, mp->mnt_op->name);
	return (0);
}

int
mount_root(void)
{
	const char *word = cmdline_get("root");
	struct disk *disk;

	if (word != NULL && word[0] != '\0') {
		disk = disk_by_word(word);
		if (disk != NULL)
			return (mount_root_from(disk, "root="));
		printf("root: no disk %s; there are:", word);
		for (disk = disk_next(NULL); disk != NULL; disk = disk_next(disk))
			printf(" %s", disk->dk_name);
		printf("\n");
		return (ENODEV);
	}
	for (disk = disk_next(NULL); disk != NULL; disk = disk_next(disk)) {
		if (ext2_vfsops.probe(disk))
			return (mount_root_from(disk, "the first disk with ext2"));
	}
	printf("root: no disk holds ext2\n");
	return (ENODEV);
}
