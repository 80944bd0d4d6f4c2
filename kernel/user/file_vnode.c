/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files that have a vnode: regular files, directories, disks; and how a vnode becomes an open file.
 *
 * Bytes move between a program and a file as kernel/fs/vn_user.c does it, so a file may be read into its own mapping.
 *
 * Locks: pos_lock (held by the caller for transfers at the file's own offset), the lock of those who append, then the
 * vnode's inside vn_read_user() and vn_write_user().
 */
#include "kernel/fs/vnode.h"
#include "kernel/thread.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"

#define APPENDERS	16		/* locks for O_APPEND, by vnode */

static struct mutex append_locks[APPENDERS] = {
	[0 ... APPENDERS - 1] = { .lk = { .name = "append", .kind = LOCK_MUTEX, .rank = RANK_APPEND } }
};

/* So many bytes were moved. */
static void
moved(struct user_io *io, off_t *pos, size_t done)
{
	io->at += done;
	io->len -= done;
	*pos += (off_t)done;
}

static int
vnode_file_read(struct file *fp, struct user_io *io, off_t *pos)
{
	size_t done;
	int error;

	if (fp->vp->v_type == VDIR)
		return (EISDIR);
	if (io->kernel)
		error = vn_read(fp->vp, (void *)io->at, io->len, *pos, &done);
	else
		error = vn_read_user(fp->vp, io->at, io->len, *pos, &done);
	moved(io, pos, done);
	return (error);
}

/* As many bytes as the program's limit on file sizes lets us write at `pos`; EFBIG and its signal: none. */
static int
within_limit(off_t pos, size_t *len)
{
	uint64_t limit = curproc->limits[RLIMIT_FSIZE].cur;

	if (*len == 0 || (uint64_t)pos < limit) {
		*len = MIN(*len, limit - MIN((uint64_t)pos, limit));
		return (0);
	}
	signal_thread(curuthread, SIGXFSZ, NULL);
	return (EFBIG);
}

static int
vnode_file_write(struct file *fp, struct user_io *io, off_t *pos)
{
	struct mutex *append = &append_locks[((uintptr_t)fp->vp >> 7) % APPENDERS];
	size_t len = io->len, done = 0;
	uint64_t size;
	int error = 0;

	if (fp->flags & O_APPEND) {
		/* What is the end must stay the end until we have written there. */
		mutex_lock(append);
		error = vn_size(fp->vp, &size);
		*pos = (off_t)size;
	}
	if (error == 0)
		error = within_limit(*pos, &len);
	if (error == 0 && io->kernel)
		error = vn_write(fp->vp, (const void *)io->at, len, *pos, &done);
	else if (error == 0)
		error = vn_write_user(fp->vp, io->at, len, *pos, &done);
	moved(io, pos, done);
	if (fp->flags & O_APPEND)
		mutex_unlock(append);
	if (error == 0 && (fp->flags & O_DSYNC))
		error = vn_fsync(fp->vp);
	return (error);
}

static int
vnode_file_stat(struct file *fp, struct vattr *va)
{
	int error;

	VOP_LOCK(fp->vp, LK_SHARED);
	error = VOP_GETATTR(fp->vp, va);
	VOP_UNLOCK(fp->vp);
	return (error);
}

/* ---- opening ---- */

int
vnode_access(struct vnode *vp, int want)
{
	struct ucred *cred = curproc->cred;
	struct vattr va;
	unsigned bits;
	int error;

	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	VOP_UNLOCK(vp);
	if (error != 0)
		return (error);
	if (cred->uid == 0)
		return ((want & 1) && vp->v_type != VDIR && (va.va_mode & 0111) == 0 ? EACCES : 0);
	bits = va.va_mode;
	if (cred->uid == va.va_uid)
		bits >>= 6;
	else if (cred->gid == va.va_gid)
		bits >>= 3;
	return (((unsigned)want & ~bits & 7) != 0 ? EACCES : 0);
}

/* Is this a way to write to a file that a program could run from? */
static bool
counts_as_writer(const struct vnode *vp, uint32_t flags)
{
	return (vp->v_type == VREG && (flags & O_ACCMODE) != O_RDONLY && (flags & O_PATH) == 0);
}

static void
vnode_file_close(struct file *fp)
{
	if (counts_as_writer(fp->vp, fp->flags))
		vnode_writer_end(fp->vp);
	if (fp->vp->v_type == VREG)
		vnode_open_end(fp->vp);
}

const struct fileops vnode_fileops = {
	.name = "file",
	.read = vnode_file_read,
	.write = vnode_file_write,
	.stat = vnode_file_stat,
	.close = vnode_file_close,
	.seekable = true,
};

/* What is done with an open device; a file is left as it is.  ENXIO: there is no such device. */
static int
special_ops(struct vnode *vp, const struct fileops **ops)
{
	struct vattr va = { 0 };
	int error;

	if (vp->v_type == VSOCK || (vp->v_type == VBLK && vp->v_disk == NULL))
		return (ENXIO);
	if (vp->v_type != VCHR)
		return (0);
	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	VOP_UNLOCK(vp);
	*ops = dev_fileops(va.va_rdev);
	if (error == 0 && (*ops == NULL || (va.va_rdev == DEV_TTY && !tty_is_ours())))
		error = ENXIO;
	return (error);
}

int
file_open_vnode(struct vnode *vp, uint32_t flags, struct file **fpp)
{
	const struct fileops *ops = &vnode_fileops;
	int error = 0;

	flags &= ~(uint32_t)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
	if (vp->v_type == VFIFO && (flags & O_PATH) == 0) {
		error = fifo_open(vp, flags, fpp);
	} else {
		if ((flags & O_PATH) == 0)
			error = special_ops(vp, &ops);
		if (error == 0 && counts_as_writer(vp, flags))
			error = vnode_writer_begin(vp);
		if (error == 0 && vp->v_type == VREG)
			vnode_open_begin(vp);
		if (error == 0)
			*fpp = file_alloc(ops, NULL, vp, flags);
	}
	if (error != 0)
		vrele(vp);
	return (error);
}

int
fd_vnode(int fd, struct vnode **vpp, int *mode)
{
	struct file *fp = fd_get(fd);
	int error = 0;

	if (fp == NULL)
		return (EBADF);
	if (fp->flags & O_PATH)
		error = EBADF;
	else if (fp->vp == NULL || (fp->vp->v_type != VREG && fp->vp->v_type != VCHR))
		error = ENODEV;
	if (error == 0) {
		vref(fp->vp);
		*vpp = fp->vp;
		*mode = (int)(fp->flags & O_ACCMODE);
	}
	file_release(fp);
	return (error);
}
