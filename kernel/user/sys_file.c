/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls on open files: reading, writing, seeking, flags, syncing. */
#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"
#include "vm/vm.h"

#define IOV_MAX		1024

static MALLOC_DEFINE(M_IOV, "iovecs");

struct user_iovec {
	uint64_t	base, len;
};

typedef int (*transfer_fn)(struct file *fp, struct user_io *io, off_t *pos);

/* The operation, if the file is open for it; NULL: EBADF. */
static transfer_fn
transfer_of(const struct file *fp, bool write)
{
	return (!file_is_open_to(fp, write) ? NULL : write ? fp->ops->write : fp->ops->read);
}

/* Is it a range of the user half at all?  Linux looks before it does anything. */
static bool
in_user_half(uint64_t at, uint64_t len)
{
	return (len <= VM_USER_MAX && at <= VM_USER_MAX - len);
}

/*
 * Move the pieces one after the other.  at < 0: at the file's offset.  Bytes moved; or, when there were none,
 * -errno.
 */
static int64_t
transfer(struct file *fp, const struct user_iovec *iov, unsigned n, off_t at, bool write)
{
	transfer_fn fn = transfer_of(fp, write);
	bool own = at < 0 && fp->ops->seekable;
	off_t *pos = at < 0 ? &fp->pos : &at;
	int64_t moved = 0;
	int error = 0;

	if (fn == NULL)
		return (-EBADF);
	if (own)
		mutex_lock(&fp->pos_lock);
	for (unsigned i = 0; i < n && error == 0; i++) {
		struct user_io io = { .at = iov[i].base, .len = MIN(iov[i].len, 0x7ffff000ul - (uint64_t)moved) };
		size_t want = io.len;

		error = fn(fp, &io, pos);
		moved += (int64_t)(want - io.len);
		if (io.len > 0)
			break;
	}
	if (own)
		mutex_unlock(&fp->pos_lock);
	return (moved > 0 || error == 0 ? moved : -error);
}

static int64_t
transfer_fd(int fd, const struct user_iovec *iov, unsigned n, off_t at, bool write)
{
	struct file *fp = fd_get(fd);
	int64_t result;

	if (fp == NULL)
		return (-EBADF);
	result = transfer(fp, iov, n, at, write);
	file_release(fp);
	return (result);
}

static int64_t
transfer_one(const uint64_t *a, bool write)
{
	struct user_iovec iov = { a[1], a[2] };

	if (!in_user_half(a[1], a[2])) {
		struct file *fp = fd_get((int)a[0]);

		if (fp == NULL)
			return (-EBADF);
		file_release(fp);
		return (-EFAULT);
	}
	return (transfer_fd((int)a[0], &iov, 1, -1, write));
}

int64_t
sys_read(const uint64_t *a)
{
	return (transfer_one(a, false));
}

int64_t
sys_write(const uint64_t *a)
{
	return (transfer_one(a, true));
}

/* pread and pwrite: at an offset of the caller's. */
static int64_t
transfer_at(int fd, const struct user_iovec *iov, unsigned n, off_t at, bool write)
{
	struct file *fp = fd_get(fd);
	int64_t result;

	if (fp == NULL)
		return (-EBADF);
	if (at < 0)
		result = -EINVAL;
	else if (!fp->ops->seekable)
		result = -ESPIPE;
	else
		result = transfer(fp, iov, n, at, write);
	file_release(fp);
	return (result);
}

int64_t
sys_pread64(const uint64_t *a)
{
	struct user_iovec iov = { a[1], a[2] };

	return (in_user_half(a[1], a[2]) ? transfer_at((int)a[0], &iov, 1, (off_t)a[3], false) : -EFAULT);
}

int64_t
sys_pwrite64(const uint64_t *a)
{
	struct user_iovec iov = { a[1], a[2] };

	return (in_user_half(a[1], a[2]) ? transfer_at((int)a[0], &iov, 1, (off_t)a[3], true) : -EFAULT);
}

static int64_t
transfer_vector(const uint64_t *a, bool at_offset, bool write)
{
	uint64_t n = a[2];
	struct user_iovec *iov;
	int64_t result = 0;

	if (n > IOV_MAX)
		return (-EINVAL);
	iov = kmalloc(MAX(n, 1ul) * sizeof(*iov), &M_IOV, M_WAITOK);
	if (n > 0 && copyin(a[1], iov, n * sizeof(*iov)) != 0)
		result = -EFAULT;
	for (uint64_t i = 0; i < n && result == 0; i++) {
		if (iov[i].len > INT64_MAX)
			result = -EINVAL;
		else if (!in_user_half(iov[i].base, iov[i].len))
			result = -EFAULT;
	}
	if (result == 0)
		result = at_offset ? transfer_at((int)a[0], iov, (unsigned)n, (off_t)a[3], write) :
		    transfer_fd((int)a[0], iov, (unsigned)n, -1, write);
	kfree(iov, &M_IOV);
	return (result);
}

int64_t sys_readv(const uint64_t *a) { return (transfer_vector(a, false, false)); }
int64_t sys_writev(const uint64_t *a) { return (transfer_vector(a, false, true)); }
int64_t sys_preadv(const uint64_t *a) { return (transfer_vector(a, true, false)); }
int64_t sys_pwritev(const uint64_t *a) { return (transfer_vector(a, true, true)); }

/* With flags, of which there are none here; an offset of -1 is the file's own.  a[4] is for machines with small words. */
static int64_t
transfer_vector_flags(const uint64_t *a, bool write)
{
	return (a[5] != 0 ? -EOPNOTSUPP : transfer_vector(a, (int64_t)a[3] != -1, write));
}

int64_t sys_preadv2(const uint64_t *a) { return (transfer_vector_flags(a, false)); }
int64_t sys_pwritev2(const uint64_t *a) { return (transfer_vector_flags(a, true)); }

/* ---- the offset ---- */

static int64_t
seek(struct file *fp, off_t off, int whence)
{
	struct vattr va;
	off_t base;
	int error;

	if (!fp->ops->seekable)
		return (-ESPIPE);
	switch (whence) {
	case 0:
		base = 0;
		break;
	case 1:
		base = fp->pos;
		break;
	case 2:
		error = fp->ops->stat(fp, &va);
		if (error != 0)
			return (-error);
		base = (off_t)va.va_size;
		break;
	default:
		return (-EINVAL);
	}
	if (__builtin_add_overflow(base, off, &base) || base < 0)
		return (-EINVAL);
	fp->pos = base;
	return (base);
}

int64_t
sys_lseek(const uint64_t *a)
{
	struct file *fp = fd_get((int)a[0]);
	int64_t result;

	if (fp == NULL)
		return (-EBADF);
	mutex_lock(&fp->pos_lock);
	result = seek(fp, (off_t)a[1], (int)a[2]);
	mutex_unlock(&fp->pos_lock);
	file_release(fp);
	return (result);
}

/* ---- flags and locks ---- */

#define F_DUPFD		0
#define F_GETFD		1
#define F_SETFD		2
#define F_GETFL		3
#define F_SETFL		4
#define F_GETLK		5
#define F_SETLK		6
#define F_SETLKW	7
#define F_DUPFD_CLOEXEC	1030
#define F_SETPIPE_SZ	1031
#define F_GETPIPE_SZ	1032
#define SETTABLE	((uint32_t)(O_APPEND | O_NONBLOCK))

struct user_flock {
	int16_t	type, whence;
	int64_t	start, len;
	int32_t	pid;
};

/* A program's struct flock as an absolute range. */
static int
flock_in(struct file *fp, const struct user_flock *fl, struct flock_range *range)
{
	struct vattr va = { 0 };
	off_t base = fl->whence == 1 ? fp->pos : 0;
	int error = 0;

	if (fl->whence == 2) {
		error = fp->ops->stat(fp, &va);
		base = (off_t)va.va_size;
	}
	if (error == 0 && (fl->whence < 0 || fl->whence > 2 || fl->type < 0 || fl->type > 2))
		error = EINVAL;
	if (error != 0)
		return (error);
	base += fl->start;
	*range = (struct flock_range){ .type = fl->type, .start = base, .end = fl->len == 0 ? INT64_MAX : base + fl->len };
	if (fl->len < 0) {
		range->start = base + fl->len;
		range->end = base;
	}
	return (range->start < 0 ? EINVAL : 0);
}

static int64_t
fcntl_lock(struct file *fp, int cmd, vm_offset_t arg)
{
	struct flock_range range;
	struct user_flock fl;
	int error;

	if (copyin(arg, &fl, sizeof(fl)) != 0)
		return (-EFAULT);
	if (fp->vp == NULL)
		return (-EINVAL);
	error = flock_in(fp, &fl, &range);
	if (error != 0)
		return (-error);
	if (cmd != F_GETLK) {
		if ((range.type == 0 && (fp->flags & O_ACCMODE) == O_WRONLY) ||
		    (range.type == 1 && (fp->flags & O_ACCMODE) == O_RDONLY))
			return (-EBADF);
		return (-flock_set(fp->vp, curproc, &range, cmd == F_SETLKW));
	}
	flock_test(fp->vp, curproc, &range);
	fl.type = (int16_t)range.type;
	if (range.type != 2)
		fl = (struct user_flock){ (int16_t)range.type, 0, range.start,
		    range.end == INT64_MAX ? 0 : range.end - range.start, range.pid };
	return (copyout(&fl, arg, sizeof(fl)) != 0 ? -EFAULT : 0);
}

static int64_t
fcntl_file(struct file *fp, const uint64_t *a)
{
	switch ((int)a[1]) {
	case F_GETFL:
		return (fp->flags);
	case F_SETFL:
		__atomic_store_n(&fp->flags, (fp->flags & ~SETTABLE) | ((uint32_t)a[2] & SETTABLE), __ATOMIC_RELAXED);
		return (0);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
		return (fcntl_lock(fp, (int)a[1], a[2]));
	case F_SETPIPE_SZ:
		return (pipe_capacity(fp, (unsigned)a[2]));
	case F_GETPIPE_SZ:
		return (pipe_capacity(fp, 0));
	default:
		return (-EINVAL);
	}
}

int64_t
sys_fcntl(const uint64_t *a)
{
	int cmd = (int)a[1];
	struct file *fp;
	int64_t result;

	if (cmd == F_GETFD || cmd == F_SETFD)
		return (fd_cloexec((int)a[0], cmd == F_SETFD ? (int)(a[2] & 1) : -1));
	fp = fd_get((int)a[0]);
	if (fp == NULL)
		return (-EBADF);
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) {
		result = fd_install(fp, (int)a[2], cmd == F_DUPFD_CLOEXEC);
		if (result < 0)
			file_release(fp);
		return (result);
	}
	result = fcntl_file(fp, a);
	file_release(fp);
	return (result);
}

#define FIOCLEX		0x5451
#define FIONCLEX	0x5450
#define FIONBIO		0x5421

/* O_NONBLOCK by another name. */
static int
set_nonblocking(struct file *fp, vm_offset_t arg)
{
	int on;

	if (copyin(arg, &on, sizeof(on)) != 0)
		return (EFAULT);
	if (on != 0)
		__atomic_fetch_or(&fp->flags, O_NONBLOCK, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&fp->flags, ~(uint32_t)O_NONBLOCK, __ATOMIC_RELAXED);
	return (0);
}

int64_t
sys_ioctl(const uint64_t *a)
{
	struct file *fp;
	int error;

	if ((uint32_t)a[1] == FIOCLEX || (uint32_t)a[1] == FIONCLEX)
		return (fd_cloexec((int)a[0], (uint32_t)a[1] == FIOCLEX));
	fp = fd_get((int)a[0]);
	if (fp == NULL)
		return (-EBADF);
	if ((uint32_t)a[1] == FIONBIO)
		error = set_nonblocking(fp, a[2]);
	else
		error = fp->ops->ioctl != NULL ? fp->ops->ioctl(fp, (uint32_t)a[1], a[2]) : ENOTTY;
	file_release(fp);
	return (-error);
}

/* ---- size and disk ---- */

int64_t
sys_ftruncate(const uint64_t *a)
{
	struct file *fp;
	int error;

	if ((off_t)a[1] < 0)
		return (-EINVAL);
	fp = fd_get((int)a[0]);
	if (fp == NULL)
		return (-EBADF);
	if (fp->vp == NULL || fp->vp->v_type != VREG || (fp->flags & O_ACCMODE) == O_RDONLY)
		error = EINVAL;
	else
		error = vn_truncate(fp->vp, (off_t)a[1]);
	file_release(fp);
	return (-error);
}

static int64_t
sync_file(int fd, int flags)
{
	struct file *fp = fd_get(fd);
	int error = 0;

	if (fp == NULL)
		return (-EBADF);
	if (fp->vp == NULL || fp->vp->v_type == VCHR || fp->vp->v_type == VFIFO) {
		error = EINVAL;
	} else {
		VOP_LOCK(fp->vp, LK_EXCLUSIVE);
		error = VOP_FSYNC(fp->vp, 0, -1, flags);
		VOP_UNLOCK(fp->vp);
		if (error == EOPNOTSUPP)
			error = 0;		/* nothing of it is on a disk */
	}
	file_release(fp);
	return (-error);
}

int64_t
sys_fsync(const uint64_t *a)
{
	return (sync_file((int)a[0], FSYNC_WAIT));
}

int64_t
sys_fdatasync(const uint64_t *a)
{
	return (sync_file((int)a[0], FSYNC_WAIT | FSYNC_DATA));
}

int64_t
sys_sync(const uint64_t *a)
{
	(void)vfs_sync_all(true);
	return (0);
}

/* Advice on how a file will be read: read-ahead goes by what programs do.  Only what is no advice is an error. */
int64_t
sys_fadvise64(const uint64_t *a)
{
	struct file *fp = fd_get((int)a[0]);
	int error = 0;

	if (fp == NULL)
		return (-EBADF);
	if (fp->vp == NULL || fp->vp->v_type == VFIFO)
		error = ESPIPE;
	else if ((int64_t)a[2] < 0 || a[3] > 5)
		error = EINVAL;
	file_release(fp);
	return (-error);
}

/* No volume of ours can give a file blocks that hold nothing: the C library writes zeros instead. */
int64_t
sys_fallocate(const uint64_t *a)
{
	struct file *fp = fd_get((int)a[0]);
	int error = EOPNOTSUPP;

	if (fp == NULL)
		return (-EBADF);
	if ((int64_t)a[2] < 0 || (int64_t)a[3] <= 0)
		error = EINVAL;
	else if ((fp->flags & O_PATH) || (fp->flags & O_ACCMODE) == O_RDONLY)
		error = EBADF;
	else if (fp->vp == NULL || fp->vp->v_type == VFIFO)
		error = ESPIPE;
	else if (fp->vp->v_type != VREG)
		error = ENODEV;
	file_release(fp);
	return (-error);
}

/* ---- pipes ---- */

int64_t
sys_pipe2(const uint64_t *a)
{
	struct file *rd, *wr;
	int64_t fds[2];
	int32_t out[2];
	bool cloexec = (a[1] & O_CLOEXEC) != 0;

	if ((a[1] & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK)) != 0)
		return (-EINVAL);
	(void)pipe_create(&rd, &wr, (uint32_t)a[1]);
	fds[0] = fd_install(rd, 0, cloexec);
	if (fds[0] < 0) {
		file_release(rd);
		file_release(wr);
		return (fds[0]);
	}
	fds[1] = fd_install(wr, 0, cloexec);
	if (fds[1] < 0) {
		file_release(wr);
		(void)sys_close((uint64_t[]){ (uint64_t)fds[0] });
		return (fds[1]);
	}
	out[0] = (int32_t)fds[0];
	out[1] = (int32_t)fds[1];
	if (copyout(out, a[0], sizeof(out)) != 0) {
		(void)sys_close((uint64_t[]){ (uint64_t)fds[0] });
		(void)sys_close((uint64_t[]){ (uint64_t)fds[1] });
		return (-EFAULT);
	}
	return (0);
}

int64_t
sys_pipe(const uint64_t *a)
{
	return (sys_pipe2((uint64_t[]){ a[0], 0 }));
}
