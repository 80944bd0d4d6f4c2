/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * eventfd(): a number that a descriptor stands for.  A write adds to it; a read takes all of it, or with EFD_SEMAPHORE one,
 * and waits while it is 0.  The smallest thing that a thread can wait for together with other files.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"

#define EFD_SEMAPHORE	1u
#define COUNT_MAX	(UINT64_MAX - 1)

static MALLOC_DEFINE(M_EVENTFD, "eventfds");

struct eventfd {
	struct spinlock	 lock;
	uint64_t	 count;			/* (lock) at most COUNT_MAX */
	bool		 semaphore;		/* (c) */
};

/* Wait for a change.  => lock held, and again on return */
static int
eventfd_sleep(struct file *fp, struct eventfd *ev, const char *wmesg)
{
	return (fp->flags & O_NONBLOCK ? EAGAIN : tsleep_sig(ev, &ev->lock.lk, wmesg, 0));
}

/* => lock held */
static void
eventfd_changed(struct eventfd *ev)
{
	wakeup(ev);
	poll_wakeup();
}

static int
eventfd_read(struct file *fp, struct user_io *io, off_t *pos)
{
	struct eventfd *ev = fp->data;
	uint64_t taken = 0;
	int error = 0;

	if (io->len < sizeof(taken))
		return (EINVAL);
	spin_lock(&ev->lock);
	while (ev->count == 0 && error == 0)
		error = eventfd_sleep(fp, ev, "eventrd");
	if (ev->count != 0) {
		error = 0;
		taken = ev->semaphore ? 1 : ev->count;
		ev->count -= taken;
		eventfd_changed(ev);
	}
	spin_unlock(&ev->lock);
	return (error != 0 ? error : user_out(io, &taken, sizeof(taken)));
}

static int
eventfd_write(struct file *fp, struct user_io *io, off_t *pos)
{
	struct eventfd *ev = fp->data;
	struct user_io unread = *io;
	uint64_t more;
	int error;

	if (io->len < sizeof(more))
		return (EINVAL);
	error = user_in(io, &more, sizeof(more));
	if (error == 0 && more > COUNT_MAX)
		error = EINVAL;
	if (error == 0) {
		spin_lock(&ev->lock);
		while (more > COUNT_MAX - ev->count && error == 0)
			error = eventfd_sleep(fp, ev, "eventwr");
		if (error == 0) {
			ev->count += more;
			eventfd_changed(ev);
		}
		spin_unlock(&ev->lock);
	}
	if (error != 0)
		*io = unread;
	return (error);
}

static int
eventfd_poll(struct file *fp)
{
	struct eventfd *ev = fp->data;
	uint64_t count;

	spin_lock(&ev->lock);
	count = ev->count;
	spin_unlock(&ev->lock);
	return ((count > 0 ? POLLIN : 0) | (count < COUNT_MAX ? POLLOUT : 0));
}

static int
eventfd_stat(struct file *fp, struct vattr *va)
{
	*va = (struct vattr){ .va_mode = 0600, .va_nlink = 1, .va_blocksize = PAGE_SIZE,
	    .va_fileid = (ino_t)((uintptr_t)fp->data >> 6 & 0xffffffff) };
	return (0);
}

static void
eventfd_close(struct file *fp)
{
	kfree(fp->data, &M_EVENTFD);
}

static const struct fileops eventfd_fileops = {
	.name = "eventfd",
	.read = eventfd_read,
	.write = eventfd_write,
	.poll = eventfd_poll,
	.stat = eventfd_stat,
	.close = eventfd_close,
};

int64_t
sys_eventfd2(const uint64_t *a)
{
	uint32_t flags = (uint32_t)a[1];
	struct eventfd *ev;
	struct file *fp;
	int64_t fd;

	if ((flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK)) != 0)
		return (-EINVAL);
	ev = kmalloc(sizeof(*ev), &M_EVENTFD, M_WAITOK);
	spin_init(&ev->lock, "eventfd", RANK_FILE);
	ev->count = (uint32_t)a[0];
	ev->semaphore = (flags & EFD_SEMAPHORE) != 0;
	fp = file_alloc(&eventfd_fileops, ev, NULL, O_RDWR | (flags & O_NONBLOCK));
	fd = fd_install(fp, 0, (flags & O_CLOEXEC) != 0);
	if (fd < 0)
		file_release(fp);
	return (fd);
}

int64_t
sys_eventfd(const uint64_t *a)
{
	return (sys_eventfd2((uint64_t[]){ a[0], 0 }));
}
