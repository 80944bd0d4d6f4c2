/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Byte-range locks between processes, as POSIX's fcntl() has them.
 *
 *	one list of all locks:  [vnode, owner, read|write, start, end) ...
 *
 * An owner's locks on a file never overlap: setting one first takes its range out of what the owner has there,
 * which may cut a lock in two.  All of an owner's locks on a file go when it closes any descriptor of it.  Whoever
 * must wait sleeps for any change; a wait that would close a circle is refused (EDEADLK).
 */
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"

#define F_RDLCK	0
#define F_WRLCK	1
#define F_UNLCK	2

static MALLOC_DEFINE(M_FLOCK, "file locks");

struct flock {
	TAILQ_ENTRY(flock) link;
	struct vnode	*vp;		/* not referenced: its owner has it open */
	struct proc	*owner;		/* NULL: flock()'s, which belongs to the open file */
	struct file	*file;		/* flock()'s; NULL: POSIX */
	int		 type;
	off_t		 start, end;
};

static struct spinlock flock_lock = SPINLOCK_INITIALIZER("file locks", RANK_FILE);
static TAILQ_HEAD(, flock) flocks = TAILQ_HEAD_INITIALIZER(flocks);	/* flock_lock */

/* Whose wait is for whom, for circles: one entry a waiting process. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	struct proc	*proc, *for_whom;
};
static TAILQ_HEAD(, waiter) waiters = TAILQ_HEAD_INITIALIZER(waiters);	/* flock_lock */

/* A lock of somebody else's that keeps this one out; NULL: none.  => flock_lock */
static struct flock *
conflict(struct vnode *vp, const struct proc *owner, const struct file *file, const struct flock_range *r)
{
	struct flock *l;

	TAILQ_FOREACH(l, &flocks, link)
		if (l->vp == vp && (l->file != NULL) == (file != NULL) &&
		    (file != NULL ? l->file != file : l->owner != owner) && l->start < r->end && r->start < l->end &&
		    (l->type == F_WRLCK || r->type == F_WRLCK))
			return (l);
	return (NULL);
}

/* Would p's wait for `whom` end in a wait for p?  => flock_lock */
static bool
closes_circle(const struct proc *p, const struct proc *whom)
{
	struct waiter *w;

	for (int steps = 0; whom != NULL && steps < 64; steps++) {
		if (whom == p)
			return (true);
		TAILQ_FOREACH(w, &waiters, link)
			if (w->proc == whom)
				break;
		whom = w != NULL ? w->for_whom : NULL;
	}
	return (false);
}

/*
 * Take [start, end) out of what the owner has.  => flock_lock.  *spare serves for the second half of a lock that
 * is cut in two.
 */
static void
carve(struct vnode *vp, const struct proc *owner, off_t start, off_t end, struct flock **spare)
{
	struct flock *l, *next;

	TAILQ_FOREACH_SAFE(l, &flocks, link, next) {
		if (l->vp != vp || l->file != NULL || l->owner != owner || l->end <= start || end <= l->start)
			continue;
		if (l->start < start && end < l->end) {
			struct flock *tail = *spare;

			*spare = NULL;
			*tail = *l;
			tail->start = end;
			l->end = start;
			TAILQ_INSERT_TAIL(&flocks, tail, link);
		} else if (l->start < start) {
			l->end = start;
		} else if (end < l->end) {
			l->start = end;
		} else {
			TAILQ_REMOVE(&flocks, l, link);
			kfree(l, &M_FLOCK);
		}
	}
}

/* Wait until nothing keeps us out.  => flock_lock */
static int
wait_free(struct vnode *vp, struct proc *owner, const struct flock_range *r, bool wait)
{
	struct waiter w = { .proc = owner };
	struct flock *in_way;
	int error = 0;

	while ((in_way = conflict(vp, owner, NULL, r)) != NULL) {
		if (!wait)
			return (EAGAIN);
		if (closes_circle(owner, in_way->owner))
			return (EDEADLK);
		w.for_whom = in_way->owner;
		TAILQ_INSERT_TAIL(&waiters, &w, link);
		error = tsleep_sig(&flocks, &flock_lock.lk, "flock", 0);
		TAILQ_REMOVE(&waiters, &w, link);
		if (error != 0)
			return (error);
	}
	return (0);
}

int
flock_set(struct vnode *vp, struct proc *owner, const struct flock_range *r, bool wait)
{
	struct flock *fresh = kmalloc(sizeof(*fresh), &M_FLOCK, M_WAITOK);
	struct flock *spare = kmalloc(sizeof(*spare), &M_FLOCK, M_WAITOK);
	int error = 0;

	spin_lock(&flock_lock);
	if (r->type != F_UNLCK)
		error = wait_free(vp, owner, r, wait);
	if (error == 0) {
		carve(vp, owner, r->start, r->end, &spare);
		if (r->type != F_UNLCK) {
			*fresh = (struct flock){ .vp = vp, .owner = owner, .type = r->type, .start = r->start, .end = r->end };
			TAILQ_INSERT_TAIL(&flocks, fresh, link);
			fresh = NULL;
		}
		wakeup(&flocks);
	}
	spin_unlock(&flock_lock);
	kfree(fresh, &M_FLOCK);
	kfree(spare, &M_FLOCK);
	return (error);
}

void
flock_test(struct vnode *vp, struct proc *owner, struct flock_range *r)
{
	struct flock *l;

	spin_lock(&flock_lock);
	l = conflict(vp, owner, NULL, r);
	if (l == NULL)
		r->type = F_UNLCK;
	else
		*r = (struct flock_range){ l->type, l->owner->pid, l->start, l->end };
	spin_unlock(&flock_lock);
}

void
flock_posix_release(struct vnode *vp, struct proc *owner)
{
	struct flock *l, *next;

	if (TAILQ_EMPTY(&flocks))	/* ours would be seen: we put it there */
		return;
	spin_lock(&flock_lock);
	TAILQ_FOREACH_SAFE(l, &flocks, link, next)
		if (l->vp == vp && l->file == NULL && l->owner == owner) {
			TAILQ_REMOVE(&flocks, l, link);
			kfree(l, &M_FLOCK);
		}
	wakeup(&flocks);
	spin_unlock(&flock_lock);
}

/* ---- flock(): whole files, owned by the open file ---- */

#define LOCK_SH	1
#define LOCK_EX	2
#define LOCK_NB	4
#define LOCK_UN	8

/* => flock_lock */
static void
file_unlock(struct file *fp)
{
	struct flock *l, *next;

	TAILQ_FOREACH_SAFE(l, &flocks, link, next)
		if (l->file == fp) {
			TAILQ_REMOVE(&flocks, l, link);
			kfree(l, &M_FLOCK);
			wakeup(&flocks);
		}
}

void
flock_file_release(struct file *fp)
{
	if (TAILQ_EMPTY(&flocks))
		return;
	spin_lock(&flock_lock);
	file_unlock(fp);
	spin_unlock(&flock_lock);
}

static int
file_lock(struct file *fp, int type, bool wait)
{
	struct flock_range r = { .type = type, .start = 0, .end = INT64_MAX };
	struct flock *l = kmalloc(sizeof(*l), &M_FLOCK, M_WAITOK);
	int error = 0;

	spin_lock(&flock_lock);
	file_unlock(fp);
	while (error == 0 && conflict(fp->vp, NULL, fp, &r) != NULL)
		error = wait ? tsleep_sig(&flocks, &flock_lock.lk, "flock", 0) : EAGAIN;
	if (error == 0) {
		*l = (struct flock){ .vp = fp->vp, .file = fp, .type = type, .start = 0, .end = INT64_MAX };
		TAILQ_INSERT_TAIL(&flocks, l, link);
		l = NULL;
	}
	spin_unlock(&flock_lock);
	kfree(l, &M_FLOCK);
	return (error);
}

int64_t
sys_flock(const uint64_t *a)
{
	int op = (int)a[1] & ~LOCK_NB, error = 0;
	struct file *fp = fd_get((int)a[0]);

	if (fp == NULL)
		return (-EBADF);
	if (op == LOCK_UN)
		flock_file_release(fp);
	else if ((op == LOCK_SH || op == LOCK_EX) && fp->vp != NULL)
		error = file_lock(fp, op == LOCK_SH ? F_RDLCK : F_WRLCK, (a[1] & LOCK_NB) == 0);
	else
		error = EINVAL;
	file_release(fp);
	return (-error);
}
