/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /dev: a directory whose entries are the devices that there are.
 *
 *	inode 1		the directory
 *	inode 2...	the character devices and links of the table below; what they do is kernel/user/dev.c's and tty.c's
 *	disks		"vda": the disk's own vnode (kernel/fs/specfs.c), which belongs to no volume
 *
 * Nothing is stored: no name can be made or removed.
 *
 * A node's vnode, while it has one, is found through `nodes`, by the protocol of every table of vnodes:
 * vnode_list_lock, vget_locked(), and VOP_RECLAIM takes it out.
 */
#include "kernel/fs/devfs/devfs.h"

#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

#define INO_ROOT	1
#define INO_FIRST	2
#define INO_DISKS	100		/* the n-th disk's, for readdir */
#define DEV(major, minor)	((uint32_t)(major) << 8 | (uint32_t)(minor))

static struct {
	const char	*name;		/* (c) */
	uint32_t	 rdev;		/* (c) */
	uint16_t	 mode;		/* (c) */
	const char	*link;		/* (c) it is a symbolic link, and leads there */
	struct vnode	*vp;		/* vnode_list_lock; NULL: none at the moment */
} nodes[] = {
	{ "null", DEV(1, 3), 0666, NULL, NULL }, { "zero", DEV(1, 5), 0666, NULL, NULL }, { "full", DEV(1, 7), 0666, NULL, NULL },
	{ "random", DEV(1, 8), 0666, NULL, NULL }, { "urandom", DEV(1, 9), 0666, NULL, NULL },
	{ "tty", DEV(5, 0), 0666, NULL, NULL }, { "console", DEV(5, 1), 0600, NULL, NULL },
	{ "fd", 0, 0777, "/proc/self/fd", NULL }, { "stdin", 0, 0777, "/proc/self/fd/0", NULL },
	{ "stdout", 0, 0777, "/proc/self/fd/1", NULL }, { "stderr", 0, 0777, "/proc/self/fd/2", NULL },
	{ "shm", 0, 0777, "/tmp", NULL },	/* what the C library's shm_open() and sem_open() share */
};

static struct vnode *root_vnode;	/* vnode_list_lock */

static const struct vnodeops devfs_vnodeops;

/* Where the vnode of an inode number is kept. */
static struct vnode **
vnode_place(ino_t ino)
{
	return (ino == INO_ROOT ? &root_vnode : &nodes[ino - INO_FIRST].vp);
}

/* The vnode of a node, referenced.  => sleeps */
static int
devfs_vget(struct mount *mp, ino_t ino, struct vnode **vpp)
{
	struct vnode **place = vnode_place(ino), *fresh = NULL;
	int error = getnewvnode(mp, &devfs_vnodeops, &fresh);

	if (error != 0)
		return (error);
	spin_lock(&vnode_list_lock);
	while (*place != NULL && !vget_locked(*place))
		vget_wait(*place);
	/* re-check: who waited may find another's vnode here, or none. */
	*vpp = *place;
	if (*vpp == NULL) {
		fresh->v_type = ino == INO_ROOT ? VDIR : nodes[ino - INO_FIRST].link != NULL ? VLNK : VCHR;
		fresh->v_ino = ino;
		fresh->v_data = place;
		if (ino == INO_ROOT)
			fresh->v_flag |= VROOT;
		*place = *vpp = fresh;
		fresh = NULL;
	}
	spin_unlock(&vnode_list_lock);
	if (fresh != NULL) {
		vgone(fresh);
		vrele(fresh);
	}
	return (0);
}

static bool
named(const char *name, size_t len, const char *is)
{
	return (strlen(is) == len && memcmp(name, is, len) == 0);
}

static int
devfs_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	char disk[16];
	struct disk *dk;

	if (dvp->v_type != VDIR)
		return (ENOTDIR);
	if (named(name, len, ".") || named(name, len, "..")) {
		vref(dvp);
		*vpp = dvp;
		return (0);
	}
	for (size_t i = 0; i < nitems(nodes); i++)
		if (named(name, len, nodes[i].name))
			return (devfs_vget(dvp->v_mount, INO_FIRST + i, vpp));
	if (len >= sizeof(disk))
		return (ENOENT);
	memcpy(disk, name, len);
	disk[len] = '\0';
	dk = disk_find(disk);
	if (dk == NULL)
		return (ENOENT);
	*vpp = bdevvp(dk);
	return (0);
}

static int
devfs_getattr(struct vnode *vp, struct vattr *va)
{
	*va = (struct vattr){ .va_type = vp->v_type, .va_mode = 0755, .va_nlink = 1, .va_blocksize = 4096,
	    .va_fileid = vp->v_ino };
	va->va_atime = va->va_mtime = va->va_ctime = (int64_t)clock_wall_seconds() - (int64_t)(clock_ns() / 1000000000);
	if (vp->v_type == VDIR) {
		va->va_nlink = 2;
	} else {
		va->va_mode = nodes[vp->v_ino - INO_FIRST].mode;
		va->va_rdev = nodes[vp->v_ino - INO_FIRST].rdev;
	}
	return (0);
}

static int
devfs_readlink(struct vnode *vp, char *buf, size_t size, size_t *len)
{
	if (vp->v_type != VLNK)
		return (EINVAL);
	*len = MIN(size, strlen(nodes[vp->v_ino - INO_FIRST].link));
	memcpy(buf, nodes[vp->v_ino - INO_FIRST].link, *len);
	return (0);
}

/* Entry number n, counted from 0; false: there are not so many. */
static bool
entry(uint64_t n, struct dirent *de)
{
	const char *name;
	struct disk *dk = NULL;

	if (n < 2) {
		name = n == 0 ? "." : "..";
		de->d_ino = INO_ROOT;
		de->d_type = VDIR;
	} else if (n < 2 + nitems(nodes)) {
		name = nodes[n - 2].name;
		de->d_ino = INO_FIRST + n - 2;
		de->d_type = nodes[n - 2].link != NULL ? VLNK : VCHR;
	} else {
		uint64_t skip = n - 2 - nitems(nodes);

		de->d_ino = INO_DISKS + skip;
		de->d_type = VBLK;
		do
			dk = disk_next(dk);
		while (dk != NULL && skip-- > 0);
		if (dk == NULL)
			return (false);
		name = dk->dk_name;
	}
	de->d_namlen = (uint8_t)strlcpy(de->d_name, name, sizeof(de->d_name));
	de->d_next = (off_t)n + 1;
	return (true);
}

static int
devfs_readdir(struct vnode *vp, off_t *off, dirent_fn fn, void *arg)
{
	struct dirent de;
	int error;

	if (vp->v_type != VDIR)
		return (ENOTDIR);
	while (entry((uint64_t)*off, &de)) {
		error = fn(arg, &de);
		if (error != 0)
			return (*off == 0 ? error : 0);
		*off = de.d_next;
	}
	return (0);
}

static int
devfs_reclaim(struct vnode *vp)
{
	struct vnode **place = vp->v_data;

	spin_lock(&vnode_list_lock);
	if (place != NULL && *place == vp)
		*place = NULL;
	spin_unlock(&vnode_list_lock);
	return (0);
}

static const struct vnodeops devfs_vnodeops = {
	.name = "devfs",
	.lookup = devfs_lookup,
	.getattr = devfs_getattr,
	.readlink = devfs_readlink,
	.readdir = devfs_readdir,
	.reclaim = devfs_reclaim,
};

static int
devfs_mount(struct mount *mp, struct disk *disk, const char *opts)
{
	mp->mnt_stat.f_iosize = PAGE_SIZE;
	return (0);
}

static int
devfs_unmount(struct mount *mp)
{
	return (0);
}

static int
devfs_root(struct mount *mp, struct vnode **vpp)
{
	return (devfs_vget(mp, INO_ROOT, vpp));
}

static const struct vfsops devfs_vfsops = {
	.name = "devfs",
	.magic = 0x01021994,
	.mount = devfs_mount,
	.unmount = devfs_unmount,
	.root = devfs_root,
};

void
devfs_init(void)
{
	vfs_register(&devfs_vfsops);
	vfs_mount_at("devfs", "/dev");
}
