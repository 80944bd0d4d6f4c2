/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files that have a vnode: regular files, directories, disks; and how a vnode becomes an open file.
 *
 * Bytes between a program and a file go through a kernel buffer, in pieces: a copy to or from a program may
 * fault, and a fault may need the very vnode or page that the transfer would hold (DESIGN 6).  So a file is
 * read into its own mapping without a special case.
 *
 * Locks: pos_lock (held by the caller for transfers at the file's own offset), then nothing while copying, or the
 * vnode's inside vn_read() and vn_write().
 */
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"

#define PIECE_MAX	(64 * KiB)
#define APPENDERS	16		/* locks for O_APPEND, by vnode */

static MALLOC_DEFINE(M_FILEIO, "file transfers");

static struct mutex append_locks[APPENDERS] = {
	[0 ... APPENDERS - 1] = { .lk = { .name = "append", .kind = LOCK_MUTEX, .rank = RANK_APPEND } }
};

static int
vnode_file_read(struct file *fp, struct user_io *io, off_t *pos)
{
	size_t size = MIN(io->len, (size_t)PIECE_MAX);
	int error = 0;
	char *buf;

	if (fp->vp->v_type == VDIR)
		return (EISDIR);
	if (size == 0)
		return (0);
	buf = kmalloc(size, &M_FILEIO, M_WAITOK);
	while (io->len > 0 && error == 0) {
		size_t want = MIN(io->len, size), before = io->len, done;

		error = vn_read(fp->vp, buf, want, *pos, &done);
		if (done > 0) {
			int copied = user_out(io, buf, done);

			error = copied != 0 ? copied : error;
		}
		*pos += (off_t)(before - io->len);
		if (done < want)
			break;
	}
	kfree(buf, &M_FILEIO);
	return (error);
}

/* As many bytes as the program's limit on file sizes lets us write at `pos`. */
static size_t
within_limit(off_t pos, size_t len)
{
	uint64_t limit = curproc->limits[RLIMIT_FSIZE].cur;

	if ((uint64_t)pos >= limit)
		return (0);
	return (MIN(len, limit - (uint64_t)pos));
}

static int
write_pieces(struct file *fp, struct user_io *io, off_t *pos)
{
	size_t size = MIN(io->len, (size_t)PIECE_MAX);
	char *buf = kmalloc(MAX(size, (size_t)1), &M_FILEIO, M_WAITOK);
	int error = 0;

	while (io->len > 0 && error == 0) {
		size_t want = within_limit(*pos, MIN(io->len, size)), before = io->len, got, done = 0;
		int wrote;

		if (want == 0) {
			signal_thread(curuthread, SIGXFSZ, NULL);
			error = EFBIG;
			break;
		}
		error = user_in(io, buf, want);
		got = before - io->len;
		if (got == 0)
			break;
		wrote = vn_write(fp->vp, buf, got, *pos, &done);
		*pos += (off_t)done;
		io->at -= got - done;
		io->len += got - done;
		if (wrote != 0)
			error = wrote;
	}
	kfree(buf, &M_FILEIO);
	return (error);
}

static int
vnode_file_write(struct file *fp, struct user_io *io, off_t *pos)
{
	struct mutex *append = &append_locks[((uintptr_t)fp->vp >> 7) % APPENDERS];
	uint64_t size;
	int error = 0;

	if (fp->flags & O_APPEND) {
		/* What is the end must stay the end until we have written there. */
		mutex_lock(append);
		error = vn_size(fp->vp, &size);
		*pos = (off_t)size;
	}
	if (error == 0)
		error = write_pieces(fp, io, pos);
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

const struct fileops vnode_fileops = {
	.name = "file",
	.read = vnode_file_read,
	.write = vnode_file_write,
	.stat = vnode_file_stat,
	.seekable = true,
};

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

int
file_open_vnode(struct vnode *vp, uint32_t flags, struct file **fpp)
{
	const struct fileops *ops = &vnode_fileops;
	struct vattr va = { 0 };
	int error = 0;

	if (vp->v_type == VCHR && (flags & O_PATH) == 0) {
		VOP_LOCK(vp, LK_SHARED);
		error = VOP_GETATTR(vp, &va);
		VOP_UNLOCK(vp);
		ops = dev_fileops(va.va_rdev);
		if (error == 0 && ops == NULL)
			error = ENXIO;
	} else if ((vp->v_type == VFIFO || vp->v_type == VSOCK) && (flags & O_PATH) == 0) {
		error = ENXIO;
	}
	if (error != 0) {
		vrele(vp);
		return (error);
	}
	*fpp = file_alloc(ops, NULL, vp, flags & ~(uint32_t)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC));
	return (0);
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
