/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a user of files does, in one call: read or write a range, cut, name, rename.
 *
 * The vnode operations want their locks held, their names split off and their pages bounded; here
 * it is done.
 *
 *	write	dirty pages are bounded for each file: whoever has made too many cleans them before he makes more.  When memory is short nobody waits
 *		for it with a vnode locked: the write lets go, waits, and goes on where it was.  When the disk is full, the promises made for other
 *		files may be too careful: they are settled by writing everything, once.
 *
 * No lock is held on entry or on return.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_object.h"
#include "vm/vm_oom.h"
#include "vm/vm_page.h"
#include "vm/vnode_pager.h"

#define WRITE_PIECE	(64 * KiB)	/* look at that bound so often */

/* ---- contents ---- */

/*
 * Memory was short, and nobody waits for it with a vnode locked.
 * => false: there is no hope, or we are to go.
 */
static bool
wait_for_memory(int *waits)
{
	return (vm_oom_wait(curthread->vmspace, waits, 0));
}

int
vn_read_uio(struct vnode *vp, struct uio *uio)
{
	int error, waits = 0;

	do {
		VOP_LOCK(vp, LK_SHARED);
		error = VOP_READ(vp, uio, 0, &cred_kernel);
		VOP_UNLOCK(vp);
	} while (error == EAGAIN && wait_for_memory(&waits));
	vnode_pager_settle(vp);
	return (error == EAGAIN ? ENOMEM : error);
}

int
vn_read(struct vnode *vp, void *buf, size_t len, off_t off, size_t *done)
{
	struct iovec iov;
	struct uio uio;
	int error;

	uio_init_kernel(&uio, &iov, buf, len, off, UIO_READ);
	error = vn_read_uio(vp, &uio);
	*done = len - uio.uio_resid;
	return (error);
}

int
vn_size(struct vnode *vp, uint64_t *size)
{
	struct vattr va;
	int error;

	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	VOP_UNLOCK(vp);
	*size = error == 0 ? va.va_size : 0;
	return (error);
}

/* Too many dirty pages?  Then write them.  => vp locked exclusively */
static int
write_bound(struct vnode *vp)
{
	struct vm_object *object = vnode_pager_live(vp);

	if (object == NULL || !vm_object_too_dirty(object))
		return (0);
	return (vm_object_page_clean(object, 0, 0, 0));
}

/* One piece.  => on EAGAIN the caller waits for memory and comes again */
static int
write_piece(struct vnode *vp, struct uio *uio)
{
	size_t rest = uio->uio_resid - MIN(uio->uio_resid, (size_t)WRITE_PIECE);
	int error;

	uio->uio_resid -= rest;
	VOP_LOCK(vp, LK_EXCLUSIVE);
	error = write_bound(vp);
	if (error == 0)
		error = VOP_WRITE(vp, uio, 0, &cred_kernel);
	VOP_UNLOCK(vp);
	uio->uio_resid += rest;
	return (error);
}

int
vn_write_uio(struct vnode *vp, struct uio *uio)
{
	bool settled = false;
	int error = 0, waits = 0;

	while (uio->uio_resid > 0) {
		error = write_piece(vp, uio);
		if (error == EAGAIN) {
			if (!wait_for_memory(&waits))
				break;
		} else if (error == ENOSPC && !settled) {
			(void)vfs_sync_all(true);
			settled = true;
		} else if (error != 0) {
			break;
		}
	}
	vnode_pager_settle(vp);
	return (uio->uio_resid == 0 ? 0 : error == EAGAIN ? ENOMEM : error);
}

int
vn_write(struct vnode *vp, const void *buf, size_t len, off_t off, size_t *done)
{
	struct iovec iov;
	struct uio uio;
	int error;

	uio_init_kernel(&uio, &iov, (void *)(uintptr_t)buf, len, off, UIO_WRITE);
	error = vn_write_uio(vp, &uio);
	*done = len - uio.uio_resid;
	return (error);
}

int
vn_truncate(struct vnode *vp, off_t size)
{
	struct vattr va = { .va_size = (uint64_t)size };
	int error, waits = 0;

	if (size < 0)
		return (EINVAL);
	do {
		VOP_LOCK(vp, LK_EXCLUSIVE);
		error = VOP_SETATTR(vp, &va, VA_SIZE, &cred_kernel);
		VOP_UNLOCK(vp);
	} while (error == EAGAIN && wait_for_memory(&waits));
	vnode_pager_settle(vp);
	return (error == EAGAIN ? ENOMEM : error);
}

int
vn_fsync(struct vnode *vp)
{
	int error;

	VOP_LOCK(vp, LK_EXCLUSIVE);
	error = VOP_FSYNC(vp, 0, -1, FSYNC_WAIT);
	VOP_UNLOCK(vp);
	return (error);
}

/* ---- names ---- */

int
vn_create(const char *path, const struct vattr *va, struct vnode **vpp)
{
	struct name_place last;
	int error = namei_parent(path, NULL, &last);

	*vpp = NULL;
	if (error != 0)
		return (error);
	VOP_LOCK(last.dvp, LK_EXCLUSIVE);
	error = VOP_CREATE(last.dvp, last.name, last.len, va, vpp);
	vput(last.dvp);
	return (error);
}

int
vn_mkdir(const char *path, const struct vattr *va)
{
	struct vnode *vp = NULL;
	struct name_place last;
	int error = namei_parent(path, NULL, &last);

	if (error != 0)
		return (error);
	VOP_LOCK(last.dvp, LK_EXCLUSIVE);
	error = VOP_MKDIR(last.dvp, last.name, last.len, va, &vp);
	vput(last.dvp);
	if (vp != NULL)
		vrele(vp);
	return (error);
}

int
vn_symlink(const char *target, const char *path)
{
	struct vattr va = { .va_type = VLNK, .va_mode = 0777 };
	struct vnode *vp = NULL;
	struct name_place last;
	int error = namei_parent(path, NULL, &last);

	if (error != 0)
		return (error);
	VOP_LOCK(last.dvp, LK_EXCLUSIVE);
	error = VOP_SYMLINK(last.dvp, last.name, last.len, target, &va, &vp);
	vput(last.dvp);
	if (vp != NULL)
		vrele(vp);
	return (error);
}

int
vn_remove(const char *path)
{
	struct name_place last;
	int error = namei_parent(path, NULL, &last);

	if (error != 0)
		return (error == EEXIST ? EISDIR : error);
	VOP_LOCK(last.dvp, LK_EXCLUSIVE);
	error = VOP_REMOVE(last.dvp, last.name, last.len);
	vput(last.dvp);
	return (error);
}

int
vn_rmdir(const char *path)
{
	struct name_place last;
	int error = namei_parent(path, NULL, &last);

	if (error != 0)
		return (error == EEXIST ? EBUSY : error);
	VOP_LOCK(last.dvp, LK_EXCLUSIVE);
	error = VOP_RMDIR(last.dvp, last.name, last.len);
	vput(last.dvp);
	return (error);
}

int
vn_rename(const char *from, const char *to)
{
	struct name_place f, t;
	int error = namei_parent(from, NULL, &f);

	if (error != 0)
		return (error == EEXIST ? EBUSY : error);
	error = namei_parent(to, NULL, &t);
	if (error == 0) {
		if (f.dvp->v_mount != t.dvp->v_mount)
			error = EXDEV;
		else
			error = VOP_RENAME(f.dvp, f.name, f.len, t.dvp, t.name, t.len, 0);
		vrele(t.dvp);
	}
	vrele(f.dvp);
	return (error == EEXIST ? EBUSY : error);
}

int
vn_link(const char *old, const char *new)
{
	struct vnode *vp;
	struct name_place last;
	int error = namei(old, NULL, NAMEI_NOFOLLOW, &vp);

	if (error != 0)
		return (error);
	error = namei_parent(new, NULL, &last);
	if (error == 0) {
		if (vp == last.dvp) {
			error = EPERM;		/* a directory */
		} else {
			VOP_LOCK(last.dvp, LK_EXCLUSIVE);
			error = VOP_LINK(last.dvp, last.name, last.len, vp);
			VOP_UNLOCK(last.dvp);
		}
		vrele(last.dvp);
	}
	vrele(vp);
	return (error);
}
