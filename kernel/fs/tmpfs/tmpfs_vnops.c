/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What can be done with a file of a tmpfs: its bytes, its size, its attributes, its end.
 *
 * Pages are charged to the mount before they are written, and counted anew after each operation:
 * what a mapping has filled or the file has lost shows then.  A file whose last name and last user
 * are gone gives up its object; who still maps it keeps the object alive, and the bytes with it.
 */
#include "kernel/clock.h"
#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "vm/vm_object.h"

#define VTOM(vp)	MTOT((vp)->v_mount)

/* What the file really holds.  => vnode locked; `reserved` pages had been charged in advance */
static void
recount(struct tmpfs_mount *tm, struct tmpfs_node *node, uint64_t reserved)
{
	struct vm_object *object = node->object;
	uint64_t pages = 0;

	if (object != NULL) {
		vm_object_rlock(object);
		/* A page may be in memory and on the swap disk; the file's size bounds both. */
		pages = MIN((uint64_t)object->resident_page_count + object->un_pager.swp.nblocks, object->size);
		vm_object_unlock(object);
	}
	mutex_lock(&tm->tm_lock);
	tm->tm_pages += pages - node->counted - reserved;
	node->counted = pages;
	mutex_unlock(&tm->tm_lock);
}

/* Is there anything in the page of this byte?  => vnode locked */
static bool
has_content(struct tmpfs_node *node, off_t off)
{
	bool has;

	vm_object_rlock(node->object);
	has = vm_object_has_content(node->object, OFF_TO_IDX(off));
	vm_object_unlock(node->object);
	return (has);
}

/*
 * Charge the pages that writing [off, +*len) will add; *len shrinks to what there is room for.
 *
 * => vnode locked exclusively.  0 and *reserved, or ENOSPC.
 */
static int
reserve(struct tmpfs_mount *tm, struct tmpfs_node *node, off_t off, size_t *len, uint64_t *reserved)
{
	off_t end = off + (off_t)*len, at = off;
	uint64_t want = 0, room;

	mutex_lock(&tm->tm_lock);
	room = tm->tm_pages_max - MIN(tm->tm_pages, tm->tm_pages_max);
	mutex_unlock(&tm->tm_lock);
	for (; at < end; at = (off_t)trunc_page(at) + (off_t)PAGE_SIZE) {
		bool add = !has_content(node, at);

		if (add && want == room)
			break;
		want += add;
	}
	*len = (size_t)(MIN(at, end) - off);
	*reserved = want;
	if (*len == 0)
		return (ENOSPC);
	/* Several files may come to the same room at once; each is off by one write at most. */
	mutex_lock(&tm->tm_lock);
	tm->tm_pages += want;
	mutex_unlock(&tm->tm_lock);
	return (0);
}

/*
 * Change the size.  What a mapping stored behind the end is zeroed, whichever way the end moves.
 *
 * => vnode locked exclusively.  0; EIO, EAGAIN: nothing has changed.
 */
static int
set_size(struct tmpfs_node *node, off_t size)
{
	struct vm_object *object = node->object;
	vm_pindex_t pages = OFF_TO_IDX(round_page(size)), old;
	off_t tail = MIN(size, node->size);
	int error = 0;

	if ((tail & PAGE_MASK) != 0 && has_content(node, tail))
		error = vm_object_zero(object, tail, (off_t)round_page(tail));
	if (error != 0)
		return (error);
	vm_object_lock(object);
	old = object->size;
	object->size = pages;		/* published first: a fault that comes now finds the new end */
	if (pages < old)
		vm_object_page_remove(object, pages, old);
	vm_object_unlock(object);
	node->size = size;
	return (0);
}

static void
touch(struct tmpfs_mount *tm, struct tmpfs_node *node)
{
	mutex_lock(&tm->tm_lock);
	node->mtime = node->ctime = (int64_t)clock_wall_seconds();
	mutex_unlock(&tm->tm_lock);
}

static int
tmpfs_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct tmpfs_node *node = VTOT(vp);

	if (vp->v_type != VREG)
		return (vp->v_type == VDIR ? EISDIR : EINVAL);
	return (vm_object_read(node->object, node->size, uio));
}

static int
tmpfs_write(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct tmpfs_mount *tm = VTOM(vp);
	struct tmpfs_node *node = VTOT(vp);
	size_t len = uio->uio_resid, rest;
	off_t old = node->size, end;
	uint64_t reserved;
	int error;

	if (vp->v_type != VREG)
		return (vp->v_type == VDIR ? EISDIR : EINVAL);
	if (tm->tm_rdonly)
		return (EROFS);
	if (uio->uio_offset < 0)
		return (EINVAL);
	if (uio->uio_offset >= TMPFS_FILE_MAX && len > 0)
		return (EFBIG);
	len = MIN(len, (size_t)(TMPFS_FILE_MAX - uio->uio_offset));
	error = len > 0 ? reserve(tm, node, uio->uio_offset, &len, &reserved) : 0;
	if (error != 0 || len == 0)
		return (error);
	end = uio->uio_offset + (off_t)len;
	rest = uio->uio_resid - len;
	if (end > old)
		error = set_size(node, end);
	if (error == 0) {
		uio->uio_resid = len;
		error = vm_object_write(node->object, uio);
		uio->uio_resid += rest;
	}
	if (node->size > MAX(old, uio->uio_offset)) {
		/* It stopped early, and so does the file; no page to be zeroed is missing. */
		int undo = set_size(node, MAX(old, uio->uio_offset));

		error = error != 0 ? error : undo;
	}
	touch(tm, node);
	recount(tm, node, reserved);
	return (error);
}

static int
tmpfs_getattr(struct vnode *vp, struct vattr *va)
{
	struct tmpfs_mount *tm = VTOM(vp);
	struct tmpfs_node *node = VTOT(vp);

	*va = (struct vattr){ .va_type = node->type, .va_blocksize = PAGE_SIZE, .va_rdev = node->rdev,
	    .va_fileid = node->ino };
	if (node->type == VREG) {
		recount(tm, node, 0);
		va->va_size = (uint64_t)node->size;
	} else if (node->type == VLNK) {
		va->va_size = node->target_len;
	}
	mutex_lock(&tm->tm_lock);
	if (node->type == VREG)
		va->va_blocks = node->counted * (PAGE_SIZE / DEV_BSIZE);
	else if (node->type == VDIR)
		va->va_size = (node->nentries + 2) * sizeof(struct tmpfs_dirent);
	va->va_mode = node->perm;
	va->va_uid = node->uid;
	va->va_gid = node->gid;
	va->va_nlink = node->nlink;
	va->va_atime = node->atime;
	va->va_mtime = node->mtime;
	va->va_ctime = node->ctime;
	mutex_unlock(&tm->tm_lock);
	return (0);
}

static int
set_attribute_size(struct vnode *vp, uint64_t size)
{
	int error;

	if (vp->v_type != VREG)
		return (vp->v_type == VDIR ? EISDIR : EINVAL);
	if (size > (uint64_t)TMPFS_FILE_MAX)
		return (EFBIG);
	error = set_size(VTOT(vp), (off_t)size);
	if (error == 0)
		touch(VTOM(vp), VTOT(vp));
	recount(VTOM(vp), VTOT(vp), 0);
	return (error);
}

static int
tmpfs_setattr(struct vnode *vp, const struct vattr *va, int mask, struct ucred *cred)
{
	struct tmpfs_mount *tm = VTOM(vp);
	struct tmpfs_node *node = VTOT(vp);
	int error = tm->tm_rdonly ? EROFS : 0;

	if (error == 0 && (mask & VA_SIZE) != 0)
		error = set_attribute_size(vp, va->va_size);
	if (error != 0)
		return (error);
	mutex_lock(&tm->tm_lock);
	if ((mask & VA_MODE) != 0)
		node->perm = va->va_mode & 07777;
	if ((mask & VA_UID) != 0)
		node->uid = va->va_uid;
	if ((mask & VA_GID) != 0)
		node->gid = va->va_gid;
	if ((mask & VA_ATIME) != 0)
		node->atime = va->va_atime;
	if ((mask & VA_MTIME) != 0)
		node->mtime = va->va_mtime;
	node->ctime = (int64_t)clock_wall_seconds();
	mutex_unlock(&tm->tm_lock);
	return (0);
}

static int
tmpfs_readlink(struct vnode *vp, char *buf, size_t size, size_t *len)
{
	struct tmpfs_node *node = VTOT(vp);

	if (vp->v_type != VLNK)
		return (EINVAL);
	*len = MIN(size, node->target_len);
	memcpy(buf, node->target, *len);
	return (0);
}

static int
tmpfs_fsync(struct vnode *vp, off_t start, off_t end, int flags)
{
	return (0);
}

static int
tmpfs_object(struct vnode *vp, struct vm_object **object)
{
	vm_object_reference(VTOT(vp)->object);
	*object = VTOT(vp)->object;
	return (0);
}

static int
tmpfs_inactive(struct vnode *vp)
{
	struct tmpfs_mount *tm = VTOM(vp);
	struct tmpfs_node *node = VTOT(vp);
	struct vm_object *object;
	bool gone, ours;

	if (node->type != VREG || node->object == NULL)
		return (0);
	spin_lock(&vnode_list_lock);
	ours = node->vnode == vp;	/* not: one that lost the race in tmpfs_vget() */
	spin_unlock(&vnode_list_lock);
	mutex_lock(&tm->tm_lock);
	gone = node->nlink == 0;
	mutex_unlock(&tm->tm_lock);
	if (!ours || !gone)
		return (0);
	/* It shadows nothing and has no vnode, so letting go of it takes no vnode's lock. */
	object = node->object;
	node->object = NULL;
	node->size = 0;
	vm_object_deallocate(object);
	recount(tm, node, 0);
	return (0);
}

static int
tmpfs_reclaim(struct vnode *vp)
{
	struct tmpfs_node *node = VTOT(vp);

	spin_lock(&vnode_list_lock);
	if (node->vnode == vp)
		node->vnode = NULL;
	spin_unlock(&vnode_list_lock);
	tmpfs_node_rele(VTOM(vp), node);
	return (0);
}

const struct vnodeops tmpfs_vnodeops = {
	.name = "tmpfs",
	.lookup = tmpfs_lookup,
	.getattr = tmpfs_getattr,
	.read = tmpfs_read,
	.write = tmpfs_write,
	.readdir = tmpfs_readdir,
	.readlink = tmpfs_readlink,
	.fsync = tmpfs_fsync,
	.setattr = tmpfs_setattr,
	.create = tmpfs_create,
	.mkdir = tmpfs_mkdir,
	.symlink = tmpfs_symlink,
	.link = tmpfs_link,
	.remove = tmpfs_remove,
	.rmdir = tmpfs_rmdir,
	.rename = tmpfs_rename,
	.object = tmpfs_object,
	.inactive = tmpfs_inactive,
	.reclaim = tmpfs_reclaim,
};
