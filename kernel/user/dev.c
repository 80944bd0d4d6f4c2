/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory devices, with Linux's numbers: null, zero, full, random, urandom; and the table of all character devices. */
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/random.h"
#include "kernel/user/file.h"

#define PIECE	256

/* Reads nothing; takes everything. */
static int
null_read(struct file *fp, struct user_io *io, off_t *pos)
{
	return (0);
}

static int
null_write(struct file *fp, struct user_io *io, off_t *pos)
{
	io->at += io->len;
	io->len = 0;
	return (0);
}

static int
zero_read(struct file *fp, struct user_io *io, off_t *pos)
{
	return (user_zero(io, io->len));
}

static int
full_write(struct file *fp, struct user_io *io, off_t *pos)
{
	return (io->len == 0 ? 0 : ENOSPC);
}

static int
random_read(struct file *fp, struct user_io *io, off_t *pos)
{
	char buf[PIECE];
	int error = 0;

	while (error == 0 && io->len > 0) {
		size_t n = MIN(io->len, sizeof(buf));

		random_bytes(buf, n);
		error = user_out(io, buf, n);
	}
	return (error);
}

static int
random_write(struct file *fp, struct user_io *io, off_t *pos)
{
	char buf[PIECE];
	int error = 0;

	while (error == 0 && io->len > 0) {
		size_t n = MIN(io->len, sizeof(buf));

		error = user_in(io, buf, n);
		if (error == 0)
			random_stir(buf, n);
	}
	return (error);
}

static int
dev_stat(struct file *fp, struct vattr *va)
{
	int error;

	VOP_LOCK(fp->vp, LK_SHARED);
	error = VOP_GETATTR(fp->vp, va);
	VOP_UNLOCK(fp->vp);
	return (error);
}

static const struct fileops null_fileops = { .name = "null", .read = null_read, .write = null_write, .stat = dev_stat,
    .seekable = true };
static const struct fileops zero_fileops = { .name = "zero", .read = zero_read, .write = null_write, .stat = dev_stat,
    .seekable = true };
static const struct fileops full_fileops = { .name = "full", .read = zero_read, .write = full_write, .stat = dev_stat,
    .seekable = true };
static const struct fileops random_fileops = { .name = "random", .read = random_read, .write = random_write,
    .stat = dev_stat, .seekable = true };

const struct fileops *
dev_fileops(unsigned rdev)
{
	static const struct {
		unsigned		rdev;
		const struct fileops	*ops;
	} table[] = {
		{ DEV(1, 3), &null_fileops }, { DEV(1, 5), &zero_fileops }, { DEV(1, 7), &full_fileops },
		{ DEV(1, 8), &random_fileops }, { DEV(1, 9), &random_fileops },
		{ DEV_TTY, &tty_fileops }, { DEV(5, 1), &tty_fileops },
	};

	for (size_t i = 0; i < nitems(table); i++)
		if (table[i].rdev == rdev)
			return (table[i].ops);
	return (NULL);
}
