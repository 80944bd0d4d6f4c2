/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a vnode.
 *
 *	getnewvnode          vrele: last one, VOP_INACTIVE
 *	-----------> in use ------------------------------> idle, on the free list
 *	               ^                                      |            |
 *	               +------ vget_locked (lookup found it) -+            | recycled: VXLOCK
 *	               |                                                   v
 *	               +--- vgone ---> dead, in use --- vrele ---> VOP_RECLAIM, memory freed
 *
 * An idle vnode keeps its identity: the filesystem's inode table and the name cache still find it.
 * It is recycled when there are more vnodes than memory warrants, or when memory is short; then
 * VXLOCK keeps everybody away while VOP_RECLAIM takes it out of the filesystem's table and
 * cache_purge() out of the name cache.  After that nobody can reach it, and its memory goes.
 *
 * A vnode whose object still exists is never idle, for an object holds a reference, also in the
 * object cache.  So recycling never meets pages.
 *
 * VOP_INACTIVE runs once for each period of use: VUSED is set with every reference taken and
 * cleared before the operation runs, so a user who comes and goes while it runs causes another run.
 *
 * Locks: vnode_list_lock (spin) guards counts, flags and lists and is never held across a sleep.
 * v_lock is taken before it.  A vnode that is being recycled has no users, so nobody waits for its
 * v_lock.
 *
 * Why memory is really freed, where BSD kept vnodes for ever: with 8 MiB a burst of lookups must
 * not cost memory for good.  The price is the rule at vget(): hold what keeps the vnode alive.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lockorder.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_page.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_VNODE, "vnodes");

#define VNODES_MIN	128
#define VNODES_MAX	65536
#define VNODE_RAM_EACH	(16 * KiB)	/* one vnode for so much memory */

struct spinlock vnode_list_lock = SPINLOCK_INITIALIZER("vnode list", RANK_VNODE_LIST);

/* (all under vnode_list_lock) */
static struct {
	TAILQ_HEAD(, vnode) free;	/* idle vnodes, next to be recycled first */
	int		 count;		/* all */
	int		 inuse;		/* v_usecount > 0 */
	/* (constant) above this many, recycle before making another */
	int		 desired;
	uint32_t	 next_id;
} vnodes;

/*
 * A directory before what is in it (of two directories their filesystem knows which comes first); of two
 * files, the one with the lower number; a file before the one in another filesystem that it stands on; a
 * vnode that is being recycled last, for nobody else comes to it.
 */
static bool
vnode_nests(const struct lock *held, const struct lock *wanted)
{
	const struct vnode *first = container_of(held, struct vnode, v_lock.lk);
	const struct vnode *second = container_of(wanted, struct vnode, v_lock.lk);

	return (first->v_type == VDIR || first->v_mount != second->v_mount || first->v_ino < second->v_ino ||
	    (second->v_flag & VXLOCK) != 0);
}

void
vnode_init(void)
{
	uint64_t ram = (uint64_t)vm_page_count * PAGE_SIZE;

	lockorder_nesting("vnode", vnode_nests);
	TAILQ_INIT(&vnodes.free);
	vnodes.desired = (int)MIN(MAX(ram / VNODE_RAM_EACH, (uint64_t)VNODES_MIN), (uint64_t)VNODES_MAX);
}

const char *
vtype_name(enum vtype type)
{
	static const char *const names[] = {
		[VNON] = "no file", [VREG] = "file", [VDIR] = "directory", [VLNK] = "symbolic link",
		[VBLK] = "block device", [VCHR] = "character device", [VFIFO] = "fifo",
		[VSOCK] = "socket", [VBAD] = "dead vnode",
	};

	return ((unsigned)type < nitems(names) ? names[type] : "vnode of unknown type");
}

/* ---- dead vnodes: what is left after vgone() ---- */

static int
dead_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	return (ENOENT);
}

static int
dead_getattr(struct vnode *vp, struct vattr *va)
{
	return (EIO);
}

static int
dead_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	return (EIO);
}

static int
dead_fsync(struct vnode *vp, off_t start, off_t end, int flags)
{
	return (EIO);
}

static int
dead_setattr(struct vnode *vp, const struct vattr *va, int mask, struct ucred *cred)
{
	return (EIO);
}

static int
dead_readdir(struct vnode *vp, off_t *off, dirent_fn fn, void *arg)
{
	return (EIO);
}

static int
dead_bmap(struct vnode *vp, daddr_t lbn, struct vnode **devvpp, struct bmap *bm)
{
	return (EIO);
}

static int
dead_strategy(struct vnode *devvp, struct buf *bp)
{
	return (EIO);
}

const struct vnodeops dead_vnodeops = {
	.name = "dead",
	.lookup = dead_lookup,
	.getattr = dead_getattr,
	.read = dead_read,
	.write = dead_read,
	.readdir = dead_readdir,
	.fsync = dead_fsync,
	.setattr = dead_setattr,
	.bmap = dead_bmap,
	.strategy = dead_strategy,
};

/* ---- the vnode lock ---- */

void
VOP_LOCK(struct vnode *vp, enum vlock_mode mode)
{
	if (mode == LK_EXCLUSIVE)
		rw_wlock(&vp->v_lock);
	else
		rw_rlock(&vp->v_lock);
}

bool
VOP_TRYLOCK(struct vnode *vp, enum vlock_mode mode)
{
	return (mode == LK_EXCLUSIVE ? rw_trywlock(&vp->v_lock) : rw_tryrlock(&vp->v_lock));
}

void
VOP_UNLOCK(struct vnode *vp)
{
	rw_unlock(&vp->v_lock);
}

bool
VOP_ISLOCKED(struct vnode *vp)
{
	return (rw_held(&vp->v_lock));
}

/* ---- references ---- */

void
vref(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	KASSERT(vp->v_usecount > 0, "vref of idle vnode %p, inode %lu", vp, vp->v_ino);
	vp->v_usecount++;
	vp->v_flag |= VUSED;
	spin_unlock(&vnode_list_lock);
}

bool
vget_locked(struct vnode *vp)
{
	KASSERT(spin_held(&vnode_list_lock), "vget_locked without vnode_list_lock");
	if ((vp->v_flag & VXLOCK) != 0)
		return (false);
	if (vp->v_usecount++ == 0) {
		KASSERT((vp->v_flag & VONFREE) != 0, "idle vnode %p is not on the free list", vp);
		TAILQ_REMOVE(&vnodes.free, vp, v_freelist);
		vp->v_flag &= ~VONFREE;
		vnodes.inuse++;
	}
	vp->v_flag |= VUSED;
	return (true);
}

void
vget_wait(struct vnode *vp)
{
	if ((vp->v_flag & VXLOCK) != 0)
		tsleep(vp, &vnode_list_lock.lk, "vget", 0);
	/* re-check: everything; the vnode may be no more, so it is not looked at. */
}

int
vget(struct vnode *vp, uint32_t id)
{
	int error = ENOENT;

	spin_lock(&vnode_list_lock);
	if (vp->v_id == id) {
		if (vget_locked(vp))
			error = 0;
		else
			vget_wait(vp);
	}
	spin_unlock(&vnode_list_lock);
	return (error);
}

/*
 * The last reference is gone: rest on the free list, or, when dead, be freed.
 *
 * => vnode_list_lock held on entry, released on return.
 */
static void
vnode_rest(struct vnode *vp)
{
	bool dead = vp->v_op == &dead_vnodeops;

	KASSERT(vp->v_object == NULL, "vnode %p, inode %lu: idle, but has object %p", vp, vp->v_ino,
	    vp->v_object);
	KASSERT((vp->v_flag & (VONFREE | VXLOCK)) == 0, "vnode %p goes idle with flags 0x%x", vp,
	    vp->v_flag);
	vp->v_usecount = 0;
	vnodes.inuse--;
	if (dead) {
		vnodes.count--;
	} else {
		vp->v_flag |= VONFREE;
		if ((vp->v_flag & VAGE) != 0)
			TAILQ_INSERT_HEAD(&vnodes.free, vp, v_freelist);
		else
			TAILQ_INSERT_TAIL(&vnodes.free, vp, v_freelist);
		vp->v_flag &= ~VAGE;
	}
	spin_unlock(&vnode_list_lock);
	if (dead)
		kfree(vp, &M_VNODE);
}

void
vrele(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	for (;;) {
		KASSERT(vp->v_usecount > 0, "vrele of idle vnode %p, inode %lu", vp, vp->v_ino);
		if (vp->v_usecount > 1) {
			vp->v_usecount--;
			spin_unlock(&vnode_list_lock);
			return;
		}
		if ((vp->v_flag & VUSED) == 0 || vp->v_op->inactive == NULL)
			break;
		vp->v_flag &= ~VUSED;
		spin_unlock(&vnode_list_lock);
		VOP_LOCK(vp, LK_EXCLUSIVE);
		VOP_INACTIVE(vp);
		VOP_UNLOCK(vp);
		spin_lock(&vnode_list_lock);
		/* re-check: others may have come (the count), and come and gone (VUSED). */
	}
	vnode_rest(vp);
}

void
vput(struct vnode *vp)
{
	VOP_UNLOCK(vp);
	vrele(vp);
}

/* ---- the end ---- */

/*
 * Take a vnode away from its filesystem.
 *
 * => VXLOCK set by us, so nobody else does it; unlocked.  Sleeps for v_lock if it is in use.
 */
static void
vnode_detach(struct vnode *vp, bool in_use)
{
	VOP_LOCK(vp, LK_EXCLUSIVE);
	if (in_use)
		vnode_pager_gone(vp);
	if (in_use && vp->v_op->inactive != NULL)
		VOP_INACTIVE(vp);
	cache_purge(vp);
	if (vp->v_op->reclaim != NULL)
		VOP_RECLAIM(vp);
	spin_lock(&vnode_list_lock);
	if (vp->v_mount != NULL)
		TAILQ_REMOVE(&vp->v_mount->mnt_vnodelist, vp, v_mntvnodes);
	vp->v_op = &dead_vnodeops;
	vp->v_data = NULL;
	vp->v_mount = NULL;
	vp->v_disk = NULL;
	vp->v_type = VBAD;
	vp->v_id = ++vnodes.next_id;
	vp->v_flag &= ~(VXLOCK | VROOT);
	wakeup(vp);
	spin_unlock(&vnode_list_lock);
	VOP_UNLOCK(vp);
}

void
vgone(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	KASSERT(vp->v_usecount > 0, "vgone of idle vnode %p, inode %lu", vp, vp->v_ino);
	if ((vp->v_flag & VXLOCK) != 0) {
		vget_wait(vp);
		spin_unlock(&vnode_list_lock);
		return;
	}
	if (vp->v_op == &dead_vnodeops) {
		spin_unlock(&vnode_list_lock);
		return;
	}
	vp->v_flag |= VXLOCK;
	spin_unlock(&vnode_list_lock);
	vnode_detach(vp, true);
}

/*
 * Recycle an idle vnode: the next on the free list, or `vp` if given and idle.
 *
 * => vnode_list_lock held; released on return when it was done (true), else still held.
 */
static bool
vnode_recycle(struct vnode *vp)
{
	if (vp == NULL)
		vp = TAILQ_FIRST(&vnodes.free);
	if (vp == NULL || vp->v_usecount > 0 || (vp->v_flag & VXLOCK) != 0)
		return (false);
	KASSERT(vp->v_object == NULL, "recycling vnode %p, which has object %p", vp, vp->v_object);
	TAILQ_REMOVE(&vnodes.free, vp, v_freelist);
	vp->v_flag = (vp->v_flag & ~VONFREE) | VXLOCK;
	vnodes.count--;
	spin_unlock(&vnode_list_lock);
	vnode_detach(vp, false);
	kfree(vp, &M_VNODE);
	return (true);
}

int
vnode_shrink(int n)
{
	int done;

	for (done = 0; done < n; done++) {
		spin_lock(&vnode_list_lock);
		if (!vnode_recycle(NULL)) {
			spin_unlock(&vnode_list_lock);
			break;
		}
	}
	return (done);
}

int
vnode_flush_mount(struct mount *mp, struct vnode **busyp)
{
	struct vnode *vp;

	*busyp = NULL;
	spin_lock(&vnode_list_lock);
	mp->mnt_unmounting = true;
	while (!TAILQ_EMPTY(&mp->mnt_vnodelist) || mp->mnt_busy > 0) {
		TAILQ_FOREACH(vp, &mp->mnt_vnodelist, v_mntvnodes) {
			if (vp->v_usecount > 0)
				break;
		}
		if (vp != NULL || mp->mnt_busy > 0) {
			mp->mnt_unmounting = false;
			if (vp != NULL && vget_locked(vp))
				*busyp = vp;
			spin_unlock(&vnode_list_lock);
			return (EBUSY);
		}
		vp = TAILQ_FIRST(&mp->mnt_vnodelist);
		if ((vp->v_flag & VXLOCK) != 0)
			vget_wait(vp);
		else if (vnode_recycle(vp))
			spin_lock(&vnode_list_lock);
		/* re-check: all of the list; a lookup may have woken an idle vnode of it. */
	}
	spin_unlock(&vnode_list_lock);
	return (0);
}

/* A vnode of a mount that is in use or on its way out, or NULL.  => vnode_list_lock held */
static struct vnode *
in_use_of(struct mount *mp)
{
	struct vnode *vp;

	TAILQ_FOREACH(vp, &mp->mnt_vnodelist, v_mntvnodes) {
		if (vp->v_usecount > 0 || (vp->v_flag & VXLOCK) != 0)
			return (vp);
	}
	return (NULL);
}

/* => vnode_list_lock held */
static bool
swaps_locked(const struct mount *mp)
{
	struct vnode *vp;

	TAILQ_FOREACH(vp, &mp->mnt_vnodelist, v_mntvnodes) {
		if ((vp->v_flag & VSWAP) != 0)
			return (true);
	}
	return (false);
}

bool
vnode_mount_swaps(struct mount *mp)
{
	bool swaps;

	spin_lock(&vnode_list_lock);
	swaps = swaps_locked(mp);
	spin_unlock(&vnode_list_lock);
	return (swaps);
}

int
vnode_kill_mount(struct mount *mp)
{
	struct vnode *vp;

	spin_lock(&vnode_list_lock);
	mp->mnt_unmounting = mp->mnt_dying = true;
	while (mp->mnt_busy > 0)
		tsleep(&mp->mnt_busy, &vnode_list_lock.lk, "mntbsy", 0);
	/* re-check: who was on his way may have turned swap on; from here on nobody can. */
	if (swaps_locked(mp)) {
		mp->mnt_unmounting = mp->mnt_dying = false;
		spin_unlock(&vnode_list_lock);
		return (EBUSY);
	}
	while ((vp = in_use_of(mp)) != NULL) {
		if (!vget_locked(vp)) {
			vget_wait(vp);
			continue;
		}
		spin_unlock(&vnode_list_lock);
		vgone(vp);
		vrele(vp);
		spin_lock(&vnode_list_lock);
		/* re-check: all of the list; idle vnodes of it may be in use now. */
	}
	spin_unlock(&vnode_list_lock);
	return (0);
}

struct mount *
vfs_busy(struct vnode *vp)
{
	struct mount *mp;

	spin_lock(&vnode_list_lock);
	mp = vp->v_mount;
	if (mp != NULL && mp->mnt_dying)
		mp = NULL;
	if (mp != NULL)
		mp->mnt_busy++;
	spin_unlock(&vnode_list_lock);
	return (mp);
}

void
vfs_unbusy(struct mount *mp)
{
	spin_lock(&vnode_list_lock);
	KASSERT(mp->mnt_busy > 0, "mount %p is let go once too often", mp);
	if (--mp->mnt_busy == 0)
		wakeup(&mp->mnt_busy);
	spin_unlock(&vnode_list_lock);
}

bool
vnode_is_writable(struct vnode *vp)
{
	bool writable;

	spin_lock(&vnode_list_lock);
	writable = vp->v_mount != NULL && (vp->v_mount->mnt_flag & MNT_RDONLY) == 0;
	spin_unlock(&vnode_list_lock);
	return (writable);
}

/* ---- the beginning ---- */

/* Make room for one more vnode.  => sleeps; ENFILE when far too many are in use. */
static int
vnode_make_room(void)
{
	int error = 0;

	spin_lock(&vnode_list_lock);
	while (vnodes.count >= vnodes.desired) {
		if (vnode_recycle(NULL)) {
			spin_lock(&vnode_list_lock);
			continue;
		}
		if (vnodes.count >= 2 * vnodes.desired)
			error = ENFILE;
		break;
	}
	spin_unlock(&vnode_list_lock);
	return (error);
}

int
getnewvnode(struct mount *mp, const struct vnodeops *ops, struct vnode **vpp)
{
	struct vnode *vp;
	int error = vnode_make_room();

	*vpp = NULL;
	if (error != 0)
		return (error);
	vp = kmalloc(sizeof(*vp), &M_VNODE, M_WAITOK | M_ZERO);
	rw_init(&vp->v_lock, "vnode", RANK_VNODE);
	TAILQ_INIT(&vp->v_cache_src);
	TAILQ_INIT(&vp->v_cache_dst);
	vp->v_op = ops;
	vp->v_mount = mp;
	vp->v_usecount = 1;
	vp->v_flag = VUSED;
	spin_lock(&vnode_list_lock);
	if (mp != NULL && mp->mnt_unmounting) {
		spin_unlock(&vnode_list_lock);
		kfree(vp, &M_VNODE);
		return (ENOENT);
	}
	vp->v_id = ++vnodes.next_id;
	vnodes.count++;
	vnodes.inuse++;
	if (mp != NULL)
		TAILQ_INSERT_TAIL(&mp->mnt_vnodelist, vp, v_mntvnodes);
	spin_unlock(&vnode_list_lock);
	*vpp = vp;
	return (0);
}

void
vnode_resume_mount(struct mount *mp)
{
	spin_lock(&vnode_list_lock);
	mp->mnt_unmounting = false;
	spin_unlock(&vnode_list_lock);
}

/* ---- counts ---- */

int
vnode_count(void)
{
	return (__atomic_load_n(&vnodes.count, __ATOMIC_RELAXED));
}

int
vnode_inuse(void)
{
	return (__atomic_load_n(&vnodes.inuse, __ATOMIC_RELAXED));
}

int
vnode_writer_begin(struct vnode *vp)
{
	bool busy;

	spin_lock(&vnode_list_lock);
	busy = vp->v_textcount > 0;
	if (!busy)
		vp->v_writecount++;
	spin_unlock(&vnode_list_lock);
	return (busy ? ETXTBSY : 0);
}

void
vnode_writer_end(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	KASSERT(vp->v_writecount > 0, "vnode %p: one writer more goes than came", vp);
	vp->v_writecount--;
	spin_unlock(&vnode_list_lock);
}

void
vnode_open_begin(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	vp->v_opencount++;
	spin_unlock(&vnode_list_lock);
}

void
vnode_open_end(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	KASSERT(vp->v_opencount > 0, "vnode %p: closed more often than opened", vp);
	vp->v_opencount--;
	spin_unlock(&vnode_list_lock);
	vnode_pager_settle(vp);
}

bool
vnode_is_open(struct vnode *vp)
{
	bool open;

	spin_lock(&vnode_list_lock);
	open = vp->v_opencount > 0;
	spin_unlock(&vnode_list_lock);
	return (open);
}
