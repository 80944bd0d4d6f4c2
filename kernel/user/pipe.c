/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pipes: a ring of bytes with a reading and a writing end; with a name (FIFOs) and without.
 *
 *	tail          head
 *	 v             v
 *	[ bytes written ][ room ]	head - tail <= capacity; both only grow
 *
 * The pipe's lock is a spin lock: bytes move between the ring and a kernel buffer under it, between that buffer and
 * the program without it.  A reader takes bytes out of the ring only after the program has them, so a bad pointer
 * loses nothing; `reading` keeps other readers out meanwhile.  A write of up to PIPE_BUF bytes goes in whole.
 *
 * A FIFO's vnode leads to its pipe while anybody has it open (v_pipe).  Who opens one end waits until the other has been
 * opened; that the other may be closed again before he looks does not matter, since what he waits for is a count of openings
 * that only grows.
 *
 * Locks: vnode_list_lock for v_pipe and `users`, the pipe's own for the rest; never both.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"

#define PIPE_SIZE	(64 * KiB)
#define PIPE_BUF	4096

static MALLOC_DEFINE(M_PIPE, "pipes");

struct pipe {
	struct spinlock	 lock;
	uint64_t	 head, tail;	/* (lock) bytes ever written and read */
	int		 readers, writers; /* (lock) open ends */
	int		 reader_opens, writer_opens; /* (lock) how often each end was opened */
	int		 users;		/* (vnode_list_lock) open files, and threads on their way to one */
	unsigned	 capacity;	/* (lock) bytes, at most PIPE_SIZE */
	bool		 reading;	/* (lock) a reader copies the bytes at tail */
	char		 ring[PIPE_SIZE]; /* (lock) */
};

static bool
is_reader(uint32_t flags)
{
	return ((flags & O_ACCMODE) != O_WRONLY);
}

static bool
is_writer(uint32_t flags)
{
	return ((flags & O_ACCMODE) != O_RDONLY);
}

static struct pipe *
pipe_alloc(int users)
{
	struct pipe *p = kmalloc(sizeof(*p), &M_PIPE, M_WAITOK);

	spin_init(&p->lock, "pipe", RANK_FILE);
	p->head = p->tail = 0;
	p->readers = p->writers = p->reader_opens = p->writer_opens = 0;
	p->users = users;
	p->capacity = PIPE_SIZE;
	p->reading = false;
	return (p);
}

/* One user less; the last takes the pipe along.  => vp: the FIFO's, or NULL */
static void
pipe_release(struct pipe *p, struct vnode *vp)
{
	bool last;

	spin_lock(&vnode_list_lock);
	last = --p->users == 0;
	if (last && vp != NULL)
		vp->v_pipe = NULL;
	spin_unlock(&vnode_list_lock);
	if (last)
		kfree(p, &M_PIPE);
}

/* The ring's bytes [at, at + n) to buf, or the other way.  => lock */
static void
ring_copy(struct pipe *p, uint64_t at, char *buf, size_t n, bool in)
{
	size_t off = at % PIPE_SIZE, first = MIN(n, PIPE_SIZE - off);

	if (in) {
		memcpy(p->ring + off, buf, first);
		memcpy(p->ring, buf + first, n - first);
	} else {
		memcpy(buf, p->ring + off, first);
		memcpy(buf + first, p->ring, n - first);
	}
}

/* Wait for a change of the pipe.  => lock held, and again on return. */
static int
pipe_sleep(struct file *fp, struct pipe *p, const char *wmesg)
{
	if (fp->flags & O_NONBLOCK)
		return (EAGAIN);
	return (tsleep_sig(p, &p->lock.lk, wmesg, 0));
}

/* => lock held */
static void
pipe_changed(struct pipe *p)
{
	wakeup(p);
	poll_wakeup();
}

/* Close the ends that flags name. */
static void
end_closed(struct pipe *p, uint32_t flags)
{
	spin_lock(&p->lock);
	p->readers -= is_reader(flags);
	p->writers -= is_writer(flags);
	if (p->readers == 0 && p->writers == 0)
		p->head = p->tail;		/* what nobody has read is lost, even if somebody is about to open it */
	pipe_changed(p);
	spin_unlock(&p->lock);
}

static int
pipe_read(struct file *fp, struct user_io *io, off_t *pos)
{
	struct pipe *p = fp->data;
	char buf[512];
	int error = 0;
	bool some = false;

	if (io->len == 0)
		return (0);
	spin_lock(&p->lock);
	while (io->len > 0 && error == 0) {
		size_t n, before;

		if (p->reading || (p->head == p->tail && p->writers > 0)) {
			if (some)
				break;
			error = pipe_sleep(fp, p, "piperd");
			continue;		/* re-check: all of it */
		}
		n = MIN(MIN(io->len, sizeof(buf)), p->head - p->tail);
		if (n == 0)
			break;			/* no writer: the end */
		ring_copy(p, p->tail, buf, n, false);
		p->reading = true;
		spin_unlock(&p->lock);
		before = io->len;
		error = user_out(io, buf, n);
		spin_lock(&p->lock);
		p->reading = false;
		p->tail += before - io->len;
		some = true;
		pipe_changed(p);
	}
	spin_unlock(&p->lock);
	return (error);
}

/* Put n bytes in, all at once.  => nothing locked */
static int
pipe_put(struct file *fp, struct pipe *p, char *buf, size_t n)
{
	int error = 0;

	spin_lock(&p->lock);
	while (error == 0 && p->readers > 0 && p->capacity - (p->head - p->tail) < n)
		error = pipe_sleep(fp, p, "pipewr");
	if (p->readers == 0)
		error = EPIPE;
	if (error == 0) {
		ring_copy(p, p->head, buf, n, true);
		p->head += n;
		pipe_changed(p);
	}
	spin_unlock(&p->lock);
	return (error);
}

static int
pipe_write(struct file *fp, struct user_io *io, off_t *pos)
{
	char *buf = kmalloc(PIPE_BUF, &M_PIPE, M_WAITOK);
	struct user_io unread;
	int error = 0;

	while (io->len > 0 && error == 0) {
		size_t n = MIN(io->len, (size_t)PIPE_BUF);

		unread = *io;
		error = user_in(io, buf, n);
		if (error == 0)
			error = pipe_put(fp, fp->data, buf, n);
		if (error != 0)
			*io = unread;
	}
	kfree(buf, &M_PIPE);
	if (error == EPIPE)
		signal_thread(curuthread, SIGPIPE, NULL);
	return (error);
}

static int
pipe_poll(struct file *fp)
{
	struct pipe *p = fp->data;
	int bits = 0;

	spin_lock(&p->lock);
	if (is_reader(fp->flags))
		bits |= (p->head != p->tail ? POLLIN : 0) | (p->writers == 0 && p->writer_opens != fp->pos ? POLLHUP : 0);
	if (is_writer(fp->flags))
		bits |= (p->capacity - (p->head - p->tail) >= PIPE_BUF ? POLLOUT : 0) | (p->readers == 0 ? POLLERR : 0);
	spin_unlock(&p->lock);
	return (bits);
}

static int
pipe_ioctl(struct file *fp, uint64_t request, vm_offset_t arg)
{
	struct pipe *p = fp->data;
	int n;

	if (request != 0x541b)			/* FIONREAD */
		return (ENOTTY);
	spin_lock(&p->lock);
	n = (int)(p->head - p->tail);
	spin_unlock(&p->lock);
	return (copyout(&n, arg, sizeof(n)));
}

/* Of a pipe without a name. */
static void
pipe_attributes(const struct pipe *p, struct vattr *va)
{
	*va = (struct vattr){ .va_type = VFIFO, .va_mode = 0600, .va_nlink = 1, .va_blocksize = PIPE_BUF,
	    .va_uid = curproc->cred->uid, .va_gid = curproc->cred->gid,
	    .va_fileid = (ino_t)((uintptr_t)p >> 6 & 0xffffffff) };
}

static int
pipe_stat(struct file *fp, struct vattr *va)
{
	int error;

	if (fp->vp != NULL) {
		VOP_LOCK(fp->vp, LK_SHARED);
		error = VOP_GETATTR(fp->vp, va);
		VOP_UNLOCK(fp->vp);
		return (error);
	}
	pipe_attributes(fp->data, va);
	return (0);
}

static void
pipe_close(struct file *fp)
{
	end_closed(fp->data, fp->flags);
	pipe_release(fp->data, fp->vp);
}

static const struct fileops pipe_fileops = {
	.name = "pipe",
	.read = pipe_read,
	.write = pipe_write,
	.ioctl = pipe_ioctl,
	.poll = pipe_poll,
	.stat = pipe_stat,
	.close = pipe_close,
};

int
pipe_create(struct file **rd, struct file **wr, uint32_t flags)
{
	struct pipe *p = pipe_alloc(2);

	p->readers = p->writers = p->reader_opens = p->writer_opens = 1;
	*rd = file_alloc(&pipe_fileops, p, NULL, O_RDONLY | (flags & O_NONBLOCK));
	*wr = file_alloc(&pipe_fileops, p, NULL, O_WRONLY | (flags & O_NONBLOCK));
	return (0);
}

size_t
pipe_bytes(const struct file *fp)
{
	return (fp->ops == &pipe_fileops ? sizeof(struct pipe) : 0);
}

int64_t
pipe_capacity(struct file *fp, unsigned want)
{
	struct pipe *p = fp->data;
	unsigned size = PIPE_BUF;
	int64_t result;

	if (fp->ops != &pipe_fileops)
		return (-EBADF);
	if (want > PIPE_SIZE)
		return (want > INT32_MAX ? -EINVAL : -EPERM);
	while (size < want)
		size *= 2;
	spin_lock(&p->lock);
	if (want > 0 && p->head - p->tail > size) {
		result = -EBUSY;
	} else {
		p->capacity = want > 0 ? size : p->capacity;
		result = p->capacity;
		pipe_changed(p);
	}
	spin_unlock(&p->lock);
	return (result);
}

/* ---- with a name ---- */

/* The pipe of a FIFO, with one user more.  => vp referenced; sleeps */
static struct pipe *
fifo_pipe(struct vnode *vp)
{
	struct pipe *fresh = pipe_alloc(0), *p;

	spin_lock(&vnode_list_lock);
	if (vp->v_pipe == NULL) {
		vp->v_pipe = fresh;
		fresh = NULL;
	}
	p = vp->v_pipe;
	p->users++;
	spin_unlock(&vnode_list_lock);
	kfree(fresh, &M_PIPE);
	return (p);
}

/* Wait until a count of openings is not `seen` any more. */
static int
fifo_wait(struct pipe *p, const int *opens, int seen, const char *wmesg)
{
	int error = 0;

	while (*opens == seen && error == 0)
		error = tsleep_sig(p, &p->lock.lk, wmesg, 0);
	return (*opens != seen ? 0 : error);
}

/*
 * Open the ends that flags name.  named: it is a FIFO; a pipe without a name waits for nobody.
 * => p->lock; sleeps.  ENXIO: nobody reads, and we are not to wait
 */
static int
ends_open(struct pipe *p, uint32_t flags, bool named)
{
	int readers_seen = p->reader_opens, writers_seen = p->writer_opens;
	bool wait = (flags & O_NONBLOCK) == 0;

	if (named && !wait && p->readers == 0 && (flags & O_ACCMODE) == O_WRONLY)
		return (ENXIO);
	if (is_reader(flags)) {
		p->readers++;
		p->reader_opens++;
	}
	if (is_writer(flags)) {
		p->writers++;
		p->writer_opens++;
	}
	pipe_changed(p);
	if (!named)
		return (0);
	if (wait && p->writers == 0)
		return (fifo_wait(p, &p->writer_opens, writers_seen, "fifoor"));
	if (p->readers == 0)
		return (fifo_wait(p, &p->reader_opens, readers_seen, "fifoow"));
	return (0);
}

/* A pipe's vnode has gone out of use, and with it its share in the pipe. */
static int
pipe_inactive(struct vnode *vp)
{
	struct pipe *p;

	spin_lock(&vnode_list_lock);
	p = vp->v_pipe;
	vp->v_pipe = NULL;
	spin_unlock(&vnode_list_lock);
	if (p != NULL)
		pipe_release(p, NULL);
	return (0);
}

static int
pipe_getattr(struct vnode *vp, struct vattr *va)
{
	pipe_attributes(vp->v_pipe, va);
	return (0);
}

static int
pipe_reclaim(struct vnode *vp)
{
	return (0);
}

static const struct vnodeops pipe_vnodeops = {
	.name = "pipe",
	.getattr = pipe_getattr,
	.inactive = pipe_inactive,
	.reclaim = pipe_reclaim,
};

int
pipe_vnode(struct file *fp, struct vnode **vpp)
{
	struct pipe *p = fp->data;
	int error;

	if (fp->ops != &pipe_fileops)
		return (ENXIO);
	error = getnewvnode(NULL, &pipe_vnodeops, vpp);
	if (error != 0)
		return (error);
	spin_lock(&vnode_list_lock);
	(*vpp)->v_type = VFIFO;
	(*vpp)->v_pipe = p;
	p->users++;
	spin_unlock(&vnode_list_lock);
	return (0);
}

int
fifo_open(struct vnode *vp, uint32_t flags, struct file **fpp)
{
	struct pipe *p = fifo_pipe(vp);
	off_t seen;
	bool opened;
	int error;

	spin_lock(&p->lock);
	error = ends_open(p, flags, vp->v_op != &pipe_vnodeops);
	opened = error != ENXIO;
	/* A reader that did not wait has seen no writer go: poll shall not tell it so before one came. */
	seen = p->writers == 0 && (flags & O_NONBLOCK) ? p->writer_opens : 0;
	spin_unlock(&p->lock);
	if (error != 0) {
		if (opened)
			end_closed(p, flags);
		pipe_release(p, vp);
		return (error);
	}
	*fpp = file_alloc(&pipe_fileops, p, vp, flags);
	(*fpp)->pos = seen;
	return (0);
}
