/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From file to file without a program's memory in between: sendfile() and copy_file_range().
 *
 * The bytes go through a buffer of the kernel's, a piece at a time.  Both ends may be the same file, and nothing is locked
 * from one piece to the next: who writes meanwhile may be seen or not, as with read and write.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"

#define PIECE		(16 * KiB)
#define COUNT_MAX	0x7ffff000ul		/* bytes that one call moves at most, as Linux has it */

static MALLOC_DEFINE(M_COPY, "file copies");

/* One end: a file, and where in it.  own: at the file's own offset, which moves along. */
struct copy_end {
	struct file	*fp;			/* referenced; NULL: no such descriptor */
	off_t		 pos;
	bool		 own;
};

/* A piece from one file into another, by buf; both positions move.  *sent: bytes that arrived there. */
static int
copy_piece(struct copy_end *in, struct copy_end *out, char *buf, size_t want, size_t *sent)
{
	struct user_io io = { .at = (vm_offset_t)buf, .len = want, .kernel = true };
	off_t *to = out->own ? &out->fp->pos : &out->pos, at = in->pos;
	bool lock = out->own && out->fp->ops->seekable;
	size_t got;
	int error = in->fp->ops->read(in->fp, &io, &at);

	got = want - io.len;
	*sent = 0;
	if (got == 0)
		return (error);
	io = (struct user_io){ .at = (vm_offset_t)buf, .len = got, .kernel = true };
	if (lock)
		mutex_lock(&out->fp->pos_lock);
	error = out->fp->ops->write(out->fp, &io, to);
	if (lock)
		mutex_unlock(&out->fp->pos_lock);
	*sent = got - io.len;
	in->pos += (off_t)*sent;
	return (*sent < got && error == 0 ? EAGAIN : error);
}

/* Bytes moved, up to the end of `in`; or, when there were none, -errno. */
static int64_t
copy(struct copy_end *in, struct copy_end *out, uint64_t count)
{
	char *buf = kmalloc(PIECE, &M_COPY, M_WAITOK);
	int64_t total = 0;
	size_t sent = 1;
	int error = 0;

	count = MIN(count, COUNT_MAX);
	while (count > 0 && error == 0 && sent > 0 && !(total > 0 && signal_deliverable())) {
		error = copy_piece(in, out, buf, MIN(count, PIECE), &sent);
		total += (int64_t)sent;
		count -= sent;
	}
	kfree(buf, &M_COPY);
	if (in->own) {
		mutex_lock(&in->fp->pos_lock);
		in->fp->pos = in->pos;
		mutex_unlock(&in->fp->pos_lock);
	}
	return (total > 0 ? total : -error);
}

/* The file, at its own offset. */
static struct copy_end
end_open(int fd)
{
	struct file *fp = fd_get(fd);

	return ((struct copy_end){ .fp = fp, .pos = fp != NULL ? fp->pos : 0, .own = true });
}

/* Or at the one that the program keeps at uoff, if that is not 0.  EFAULT */
static int
end_place(struct copy_end *end, vm_offset_t uoff)
{
	if (uoff != 0) {
		if (copyin(uoff, &end->pos, sizeof(end->pos)) != 0)
			return (EFAULT);
		end->own = false;
	}
	return (0);
}

/* Tell the program where its offset is now. */
static int
end_tell(const struct copy_end *end, vm_offset_t uoff)
{
	return (uoff != 0 ? copyout(&end->pos, uoff, sizeof(end->pos)) : 0);
}

static void
end_close(struct copy_end *end)
{
	if (end->fp != NULL)
		file_release(end->fp);
}

static bool
is_regular(const struct copy_end *end)
{
	return (end->fp->vp != NULL && end->fp->vp->v_type == VREG);
}

static bool
may_copy(const struct copy_end *in, const struct copy_end *out)
{
	return (in->fp != NULL && out->fp != NULL && file_is_open_to(in->fp, false) && in->fp->ops->read != NULL &&
	    file_is_open_to(out->fp, true) && out->fp->ops->write != NULL);
}

int64_t
sys_sendfile(const uint64_t *a)
{
	struct copy_end out = end_open((int)a[0]), in = end_open((int)a[1]);
	int64_t result = 0;

	if (!may_copy(&in, &out))
		result = -EBADF;
	else if (!is_regular(&in) || (out.fp->flags & O_APPEND))
		result = -EINVAL;
	if (result == 0)
		result = -end_place(&in, a[2]);
	if (result == 0 && in.pos < 0)
		result = -EINVAL;
	if (result == 0) {
		result = copy(&in, &out, a[3]);
		if (end_tell(&in, a[2]) != 0)
			result = -EFAULT;
	}
	end_close(&out);
	end_close(&in);
	return (result);
}

/* What copy_file_range() wants of its files, in the order in which Linux looks.  *count shrinks to what there is. */
static int
check_range(const struct copy_end *in, const struct copy_end *out, uint64_t *count)
{
	uint64_t from = (uint64_t)in->pos, to = (uint64_t)out->pos, size;
	int error;

	if ((in->fp->vp != NULL && in->fp->vp->v_type == VDIR) || (out->fp->vp != NULL && out->fp->vp->v_type == VDIR))
		return (EISDIR);
	if (!is_regular(in) || !is_regular(out))
		return (EINVAL);
	if (!may_copy(in, out) || (out->fp->flags & O_APPEND))
		return (EBADF);
	if (*count > UINT64_MAX - MAX(from, to))
		return (EOVERFLOW);
	if (in->pos < 0 || out->pos < 0)
		return (EINVAL);
	error = vn_size(in->fp->vp, &size);
	*count = MIN(*count, size - MIN(from, size));
	if (error == 0 && in->fp->vp == out->fp->vp && from < to + *count && to < from + *count)
		error = EINVAL;
	return (error);
}

int64_t
sys_copy_file_range(const uint64_t *a)
{
	struct copy_end in = end_open((int)a[0]), out = end_open((int)a[2]);
	int64_t result = in.fp == NULL || out.fp == NULL ? -EBADF : 0;
	uint64_t count = a[4];

	if (result == 0)
		result = -end_place(&in, a[1]);
	if (result == 0)
		result = -end_place(&out, a[3]);
	if (result == 0)
		result = a[5] != 0 ? -EINVAL : -check_range(&in, &out, &count);
	if (result == 0) {
		result = copy(&in, &out, count);
		if (end_tell(&in, a[1]) != 0 || end_tell(&out, a[3]) != 0)
			result = -EFAULT;
	}
	end_close(&in);
	end_close(&out);
	return (result);
}
