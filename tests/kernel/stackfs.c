/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The filesystem of stackfs.h.
 *
 * Each of its vnodes has a node, which holds a reference on the lower vnode; the mount's table
 * makes sure that a lower vnode has one upper vnode at most, so a file has one object here.  Table
 * and counts are under vnode_list_lock, as in any filesystem.
 *
 * Lock order: a stackfs vnode before the lower one.
 */
#include "tests/kernel/stackfs.h"

#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"

static MALLOC_DEFINE(M_STACKFS, "stackfs");

unsigned stackfs_reads;
int stackfs_error, stackfs_error_times;

struct stack_node {
	TAILQ_ENTRY(stack_node) link;	/* vnode_list_lock: the mount's table, if `listed` */
	struct vnode	*vnode, *lower;	/* (constant) */
	bool		 listed;	/* vnode_list_lock */
};

struct stack_mount {
	TAILQ_HEAD(, stack_node) nodes;	/* vnode_list_lock */
	struct vnode	*lower_root;	/* (constant) */
};

#define NODE(vp)	((struct stack_node *)(vp)->v_data)
#define MOUNT(mp)	((struct stack_mount *)(mp)->mnt_data)

static const struct vnodeops stack_vnodeops;

/* The vnode over `lower` if there is one, referenced.  => vnode_list_lock held; may sleep. */
static struct vnode *
node_find(struct stack_mount *sm, const struct vnode *lower)
{
	struct stack_node *node = TAILQ_FIRST(&sm->nodes);

	while (node != NULL) {
		if (node->lower != lower) {
			node = TAILQ_NEXT(node, link);
			continue;
		}
		if (vget_locked(node->vnode))
			return (node->vnode);
		vget_wait(node->vnode);
		node = TAILQ_FIRST(&sm->nodes);
	}
	return (NULL);
}

/* A vnode over `lower`, not in the table.  => the reference on lower is taken over. */
static int
node_make(struct mount *mp, struct vnode *lower, struct vnode **vpp)
{
	int error = getnewvnode(mp, &stack_vnodeops, vpp);
	struct stack_node *node;

	if (error != 0) {
		vrele(lower);
		return (error);
	}
	node = kmalloc(sizeof(*node), &M_STACKFS, M_WAITOK | M_ZERO);
	node->vnode = *vpp;
	node->lower = lower;
	(*vpp)->v_data = node;
	(*vpp)->v_type = lower->v_type;
	(*vpp)->v_ino = lower->v_ino;
	return (0);
}

/* The vnode over `lower`.  => referenced by the caller, who gives that up.  0: *vpp referenced. */
static int
stack_vget(struct mount *mp, struct vnode *lower, struct vnode **vpp)
{
	struct stack_mount *sm = MOUNT(mp);
	struct vnode *vp, *fresh = NULL;
	int error;

	vref(lower);		/* `fresh` gets one, and ours keeps lower while we look */
	error = node_make(mp, lower, &fresh);
	if (error != 0) {
		vrele(lower);
		return (error);
	}
	spin_lock(&vnode_list_lock);
	vp = node_find(sm, lower);
	if (vp == NULL) {
		TAILQ_INSERT_TAIL(&sm->nodes, NODE(fresh), link);
		NODE(fresh)->listed = true;
		vp = fresh;
		fresh = NULL;
	}
	spin_unlock(&vnode_list_lock);
	vrele(lower);
	if (fresh != NULL) {
		vgone(fresh);
		vrele(fresh);
	}
	*vpp = vp;
	return (0);
}

/* ---- operations ---- */

static int
stack_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	struct vnode *lower = NODE(dvp)->lower, *found;
	int error;

	VOP_LOCK(lower, LK_SHARED);
	error = VOP_LOOKUP(lower, name, len, &found);
	VOP_UNLOCK(lower);
	return (error != 0 ? error : stack_vget(dvp->v_mount, found, vpp));
}

static int
stack_getattr(struct vnode *vp, struct vattr *va)
{
	struct vnode *lower = NODE(vp)->lower;
	int error;

	VOP_LOCK(lower, LK_SHARED);
	error = VOP_GETATTR(lower, va);
	VOP_UNLOCK(lower);
	return (error);
}

static int
stack_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct vnode *lower = NODE(vp)->lower;
	int error;

	stackfs_reads++;
	if (stackfs_error_times > 0) {
		stackfs_error_times--;
		return (stackfs_error);
	}
	/*
	 * When this is a page-in, a page of the upper file is busy.  Nobody who has the lower one locked waits
	 * for that page; but to the lock checker pages are all one class, so we had better not wait.
	 */
	while (!VOP_TRYLOCK(lower, LK_SHARED))
		thread_yield();
	error = VOP_READ(lower, uio, ioflag, cred);
	VOP_UNLOCK(lower);
	return (error);
}

static int
stack_reclaim(struct vnode *vp)
{
	struct stack_node *node = NODE(vp);

	spin_lock(&vnode_list_lock);
	if (node->listed)
		TAILQ_REMOVE(&MOUNT(vp->v_mount)->nodes, node, link);
	spin_unlock(&vnode_list_lock);
	vrele(node->lower);
	kfree(node, &M_STACKFS);
	return (0);
}

static const struct vnodeops stack_vnodeops = {
	.name = "stack",
	.lookup = stack_lookup,
	.getattr = stack_getattr,
	.read = stack_read,
	.reclaim = stack_reclaim,
};

static int
stack_mount(struct mount *mp, struct disk *disk, const char *opts)
{
	struct vnode *root;
	int error = namei(opts, NULL, 0, &root);

	if (error != 0)
		return (error);
	mp->mnt_data = kmalloc(sizeof(struct stack_mount), &M_STACKFS, M_WAITOK | M_ZERO);
	TAILQ_INIT(&MOUNT(mp)->nodes);
	MOUNT(mp)->lower_root = root;
	mp->mnt_stat.f_iosize = mp->mnt_stat.f_bsize = PAGE_SIZE;
	return (0);
}

static int
stack_unmount(struct mount *mp)
{
	KASSERT(TAILQ_EMPTY(&MOUNT(mp)->nodes), "stackfs goes, but has vnodes");
	vrele(MOUNT(mp)->lower_root);
	kfree(mp->mnt_data, &M_STACKFS);
	return (0);
}

static int
stack_root(struct mount *mp, struct vnode **vpp)
{
	vref(MOUNT(mp)->lower_root);
	return (stack_vget(mp, MOUNT(mp)->lower_root, vpp));
}

static const struct vfsops stack_vfsops = {
	.name = "stack",
	.mount = stack_mount,
	.unmount = stack_unmount,
	.root = stack_root,
};

/* ---- for tests ---- */

struct mount *
stackfs_mount(void)
{
	struct mount *mp = NULL;

	vfs_register(&stack_vfsops);
	stackfs_reads = 0;
	stackfs_error = stackfs_error_times = 0;
	CHECK_EQ(vfs_mount("stack", NULL, "/", MNT_RDONLY, &mp), 0);
	return (mp);
}

void
stackfs_unmount(struct mount *mp)
{
	CHECK_EQ(vfs_unmount(mp), 0);
}

struct vnode *
stackfs_file(struct mount *mp, const char *path)
{
	struct vnode *root, *vp = NULL;
	int error = VFS_ROOT(mp, &root);

	if (error == 0) {
		error = namei(path + 1, root, 0, &vp);
		vrele(root);
	}
	CHECK_EQ(error, 0);
	return (vp);
}
