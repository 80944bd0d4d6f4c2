/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The syncer: what was written reaches the disk in half a minute even if nobody asks for it.
 *
 *	every 5 s, for each mount:	files that have been dirty for 30 s: their pages
 *					then metadata that waits, in the filesystem's order
 *
 * Files first: their pages get their places, and the pointers to these go out with the metadata of
 * the same round.
 *
 * The walk over a mount's vnodes holds a reference on the one it stands on, so it knows where to go
 * on; a vnode that is torn away from its mount meanwhile (vgone) makes it begin again.
 *
 * Locks: the mount lock around everything; one vnode at a time inside.
 */
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/vm_object.h"
#include "vm/vnode_pager.h"

#define SYNC_PERIOD	(5 * HZ)	/* ticks */
#define DIRTY_AGE_MAX	(30 * HZ)

/*
 * Has this vnode pages that have been dirty for so long?  => vnode_list_lock held: a hint, the
 * pages are not locked
 */
static bool
is_dirty(const struct vnode *vp, uint64_t min_age)
{
	const struct vm_object *object = vp->v_object;

	return (object != NULL && PEEK(object->dirty_count) > 0 && (object->flags & OBJ_DEAD) == 0 &&
	    ticks - object->dirty_since >= min_age);
}

/* Which vnodes a walk wants.  => vnode_list_lock held */
typedef bool (*wanted_fn)(const struct vnode *vp, uint64_t min_age);

static bool
is_in_use(const struct vnode *vp, uint64_t min_age)
{
	return (vp->v_usecount > 0);
}

/*
 * The next vnode of a mount that is wanted, referenced.
 *
 * => from: where to go on, referenced, or NULL; the reference is given up.
 */
static struct vnode *
vnode_next(struct mount *mp, struct vnode *from, wanted_fn wanted, uint64_t min_age)
{
	struct vnode *vp;

	spin_lock(&vnode_list_lock);
	if (from != NULL && from->v_mount == mp)
		vp = TAILQ_NEXT(from, v_mntvnodes);
	else
		vp = TAILQ_FIRST(&mp->mnt_vnodelist);
	while (vp != NULL && !(wanted(vp, min_age) && vget_locked(vp)))
		vp = TAILQ_NEXT(vp, v_mntvnodes);
	spin_unlock(&vnode_list_lock);
	if (from != NULL)
		vrele(from);
	return (vp);
}

static int
clean_files(struct mount *mp, wanted_fn wanted, uint64_t min_age)
{
	struct vnode *vp = NULL;
	int first_error = 0, error;

	while ((vp = vnode_next(mp, vp, wanted, min_age)) != NULL) {
		VOP_LOCK(vp, LK_EXCLUSIVE);
		error = VOP_FSYNC(vp, 0, -1, 0);
		VOP_UNLOCK(vp);
		if (first_error == 0 && error != EOPNOTSUPP)
			first_error = error;
	}
	return (first_error);
}

int
vfs_clean_files(struct mount *mp, uint64_t min_age)
{
	return (clean_files(mp, is_dirty, min_age));
}

int
vfs_settle_files(struct mount *mp)
{
	return (clean_files(mp, is_in_use, 0));
}

int
vfs_allow_stores(struct mount *mp, bool allow)
{
	struct vnode *vp = NULL;
	int first_error = 0;

	while ((vp = vnode_next(mp, vp, is_in_use, 0)) != NULL) {
		int error = vnode_pager_allow_stores(vp, allow);

		if (first_error == 0)
			first_error = error;
	}
	return (first_error);
}

/* ---- all mounts ---- */

struct sync_all {
	bool	wait;
	int	error;
};

static int
sync_one(struct mount *mp, void *arg)
{
	struct sync_all *sa = arg;
	int error = mp->mnt_op->sync != NULL ? mp->mnt_op->sync(mp, sa->wait) : 0;

	if (sa->error == 0)
		sa->error = error;
	return (0);
}

int
vfs_sync_all(bool wait)
{
	struct sync_all sa = { .wait = wait };

	(void)vfs_foreach(sync_one, &sa);
	return (sa.error);
}

/* ---- the thread ---- */

static int
sync_round(struct mount *mp, void *arg)
{
	(void)vfs_clean_files(mp, DIRTY_AGE_MAX);
	if (mp->mnt_op->sync != NULL)
		(void)mp->mnt_op->sync(mp, false);
	return (0);
}

static struct spinlock syncer_lock = SPINLOCK_INITIALIZER("syncer", RANK_NONE);
static int frozen;			/* (syncer_lock) > 0: no rounds */
static bool in_round;			/* (syncer_lock) */

static void
syncer_main(void *arg)
{
	spin_lock(&syncer_lock);
	for (;;) {
		(void)tsleep(&syncer_main, &syncer_lock.lk, "syncer", SYNC_PERIOD);
		if (frozen > 0)
			continue;
		in_round = true;
		spin_unlock(&syncer_lock);
		(void)vfs_foreach(sync_round, NULL);
		spin_lock(&syncer_lock);
		in_round = false;
		wakeup(&in_round);
	}
}

void
syncer_freeze(bool on)
{
	spin_lock(&syncer_lock);
	frozen += on ? 1 : -1;
	while (on && in_round)
		(void)tsleep(&in_round, &syncer_lock.lk, "syncfz", 0);
	spin_unlock(&syncer_lock);
}

void
syncer_init(void)
{
	struct thread *td = thread_create("syncer", PRI_KERNEL, syncer_main, NULL);

	KASSERT(td != NULL, "no memory for the syncer");
	thread_detach(td);
}
