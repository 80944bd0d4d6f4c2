/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ext2's vnode operations: the thin layer between the vnode's contracts and what the other files
 * know.
 *
 *	lookup    name cache, then ext2_dir.c, then ext2_inode.c
 *	read      files only; from the object's pages (vm/vnode_io.c), which the vnode pager fills through bmap
 *	write     ext2_write.c, on both of its ways
 *	bmap      whatever has block pointers; a short symbolic link has text in their place
 *	fsync     pages, then what is needed to find them: all metadata that waits, for a name on the file's path may be among it;
 *		  fdatasync: only if the inode is among it and has more to tell than times
 *	inactive  deletes what has no name any more
 *	names     ext2_names.c, ext2_rename.c
 *
 * A file's vnode gets its object when somebody first maps or reads it, from the VM's side.
 */
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/lib/string.h"
#include "vm/vm_object.h"
#include "vm/vnode_pager.h"

static int
ext2_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	struct ext2_inode *dip = VTOI(dvp);
	bool dotdot = len == 2 && memcmp(name, "..", 2) == 0;
	struct ext2_slot slot;
	uint64_t ino;
	int error;

	*vpp = NULL;
	if (dvp->v_type != VDIR)
		return (ENOTDIR);
	if (len > NAME_MAX)
		return (ENAMETOOLONG);
	if (len == 1 && name[0] == '.') {
		vref(dvp);
		*vpp = dvp;
		return (0);
	}
	if (!dotdot && cache_lookup(dvp, name, len, vpp))
		return (*vpp != NULL ? 0 : ENOENT);
	if (dip->i_nlink == 0)
		return (ENOENT);		/* removed, but still in use */
	error = ext2_dir_lookup(dip, name, len, &slot);
	if (error == ENOENT && !dotdot)
		cache_enter(dvp, NULL, name, len);
	if (error == ENOENT && dotdot)
		return (ext2_damaged(dip->i_em, "directory %lu has no parent", dip->i_number));
	if (error != 0)
		return (error);
	ino = slot.ino;
	if (ino == dip->i_number && !(dotdot && ino == EXT2_ROOT_INO))
		return (ext2_damaged(dip->i_em, "directory %lu contains itself", ino));
	error = ext2_vget(dip->i_em, ino, vpp);
	if (error == 0 && !dotdot)
		cache_enter(dvp, *vpp, name, len);
	return (error);
}

static int
ext2_getattr(struct vnode *vp, struct vattr *va)
{
	const struct ext2_inode *ip = VTOI(vp);

	va->va_type = ip->i_type;
	va->va_mode = ip->i_perm;
	va->va_uid = ip->i_uid;
	va->va_gid = ip->i_gid;
	va->va_nlink = ip->i_nlink;
	va->va_size = ip->i_size;
	/* Those that have no place yet count, too: else a file just written would look like a hole. */
	va->va_blocks = ip->i_blocks + ip->i_ndelayed * (ip->i_em->em_bsize / DEV_BSIZE);
	va->va_blocksize = ip->i_em->em_bsize;
	va->va_rdev = ext2_rdev(ip);
	va->va_fileid = ip->i_number;
	va->va_atime = ip->i_atime;
	va->va_mtime = ip->i_mtime;
	va->va_ctime = ip->i_ctime;
	return (0);
}

static int
ext2_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	if (vp->v_type == VDIR)
		return (EISDIR);
	if (vp->v_type != VREG || uio->uio_offset < 0)
		return (EINVAL);
	return (vnode_object_read(vp, uio, ioflag, cred));
}

static int
ext2_readdir(struct vnode *vp, off_t *off, dirent_fn fn, void *arg)
{
	if (vp->v_type != VDIR)
		return (ENOTDIR);
	return (ext2_dir_read(VTOI(vp), off, fn, arg));
}

/* Copy the target of a link that is too long for its inode.  => sleeps */
static int
slow_link_read(struct ext2_inode *ip, char *buf, size_t len)
{
	struct ext2_mount *em = ip->i_em;
	struct bmap bm;
	struct buf *bp;
	int error;

	error = ext2_bmap_inode(ip, 0, &bm);
	if (error != 0)
		return (error);
	if (bm.hole)
		return (ext2_damaged(em, "inode %lu: symbolic link without a block", ip->i_number));
	error = bread(em->em_devvp, bm.blkno, em->em_bsize, &bp);
	if (error != 0)
		return (error);
	memcpy(buf, bp->b_data, len);
	brelse(bp);
	return (0);
}

static int
ext2_readlink(struct vnode *vp, char *buf, size_t size, size_t *lenp)
{
	struct ext2_inode *ip = VTOI(vp);
	size_t len = MIN(size, (size_t)ip->i_size);
	int error = 0;

	*lenp = 0;
	if (vp->v_type != VLNK)
		return (EINVAL);
	if (ext2_link_is_fast(ip))
		memcpy(buf, ip->i_block, len);
	else
		error = slow_link_read(ip, buf, len);
	if (error == 0 && memchr(buf, 0, len) != NULL)
		error = ext2_damaged(ip->i_em, "inode %lu: symbolic link with a NUL in it", ip->i_number);
	if (error == 0)
		*lenp = len;
	return (error);
}

static int
ext2_bmap(struct vnode *vp, daddr_t lbn, struct vnode **devvpp, struct bmap *bm)
{
	struct ext2_inode *ip = VTOI(vp);

	if (vp->v_type != VREG && vp->v_type != VDIR && (vp->v_type != VLNK || ext2_link_is_fast(ip)))
		return (EINVAL);
	if (devvpp != NULL)
		*devvpp = ip->i_em->em_devvp;
	return (bm != NULL ? ext2_bmap_inode(ip, lbn, bm) : 0);
}

/* Times, owner, permissions.  => vnode locked exclusively */
static int
attributes_set(struct ext2_inode *ip, const struct vattr *va, int mask)
{
	int error = ext2_begin(ip->i_em);

	if (error != 0)
		return (error);
	if ((mask & VA_MODE) != 0)
		ip->i_perm = va->va_mode & 07777;
	if ((mask & VA_UID) != 0)
		ip->i_uid = va->va_uid;
	if ((mask & VA_GID) != 0)
		ip->i_gid = va->va_gid;
	if ((mask & VA_ATIME) != 0)
		ip->i_atime = va->va_atime;
	if ((mask & VA_MTIME) != 0) {
		ip->i_mtime = va->va_mtime;
		ip->i_mtime_set = true;
	}
	ip->i_ctime = (int64_t)clock_wall_seconds();
	ext2_iupdate(ip, (mask & ~(VA_ATIME | VA_MTIME)) == 0);
	ext2_end(ip->i_em);
	return (0);
}

static int
ext2_setattr(struct vnode *vp, const struct vattr *va, int mask, struct ucred *cred)
{
	struct ext2_inode *ip = VTOI(vp);
	int error = 0;

	if (!ext2_may_change(ip->i_em))
		return (EROFS);
	if ((mask & VA_SIZE) != 0) {
		if (vp->v_type != VREG)
			return (vp->v_type == VDIR ? EISDIR : EINVAL);
		if ((PEEK(vp->v_flag) & VSWAP) != 0)
			return (ETXTBSY);
		error = ext2_setsize(vp, va->va_size, cred);
	}
	mask &= ~VA_SIZE;
	return (error == 0 && mask != 0 ? attributes_set(ip, va, mask) : error);
}

static int
ext2_fsync(struct vnode *vp, off_t start, off_t end, int flags)
{
	struct ext2_inode *ip = VTOI(vp);
	struct ext2_mount *em = ip->i_em;
	struct vm_object *object = vnode_pager_live(vp);
	const struct ext2_change *c;
	int error = 0;

	if (object != NULL)
		error = vm_object_page_clean(object, OFF_TO_IDX(start), end < 0 ? 0 : OFF_TO_IDX(round_page(end)), OBJPC_SYNC);
	if (object == NULL || PEEK(object->dirty_count) == 0)
		ip->i_mtime_set = false;
	if (error != 0 || (flags & FSYNC_WAIT) == 0)
		return (error);
	c = ext2_change_find(em, ip->i_number);
	if ((flags & FSYNC_DATA) == 0 || (c != NULL && !c->c_only_times))
		return (ext2_sync_metadata(em));
	return (ext2_flush(em));
}

static int
ext2_inactive(struct vnode *vp)
{
	struct ext2_inode *ip = VTOI(vp);

	/* Without an inode it never came to life. */
	return (ip != NULL && ip->i_nlink == 0 && !ip->i_gone ? ext2_delete(ip) : 0);
}

static int
ext2_reclaim(struct vnode *vp)
{
	if (vp->v_data != NULL)
		ext2_inode_free(VTOI(vp));
	return (0);
}

const struct vnodeops ext2_vnodeops = {
	.name = "ext2",
	.lookup = ext2_lookup,
	.getattr = ext2_getattr,
	.read = ext2_read,
	.write = ext2_write,
	.readdir = ext2_readdir,
	.readlink = ext2_readlink,
	.bmap = ext2_bmap,
	.fsync = ext2_fsync,
	.setattr = ext2_setattr,
	.create = ext2_create,
	.mkdir = ext2_mkdir,
	.symlink = ext2_symlink,
	.link = ext2_link,
	.remove = ext2_remove,
	.rmdir = ext2_rmdir,
	.rename = ext2_rename,
	.inactive = ext2_inactive,
	.reclaim = ext2_reclaim,
};
