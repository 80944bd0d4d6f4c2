/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmpfs as a mount: its options, its limits, its nodes and their vnodes.
 *
 *	size=BYTES	what files may hold together, with k, m or g; half of memory by default
 *	mode=OCTAL	permissions of the root; 1777 by default
 *
 * A node outlives its vnode for as long as it has a name.  Several threads may want a vnode for the
 * same node at once: each makes one, the first to publish it wins, the others throw theirs away.
 */
#include "kernel/clock.h"
#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

MALLOC_DEFINE(M_TMPFS, "tmpfs");

/* ---- nodes ---- */

int
tmpfs_node_alloc(struct tmpfs_mount *tm, enum vtype type, const struct vattr *va, struct tmpfs_node **np)
{
	struct tmpfs_node *node = kmalloc(sizeof(*node), &M_TMPFS, M_WAITOK | M_ZERO);

	node->refs = 1;
	node->type = type;
	node->perm = va->va_mode & 07777;
	node->uid = va->va_uid;
	node->gid = va->va_gid;
	node->rdev = type == VCHR || type == VBLK ? va->va_rdev : 0;
	node->atime = node->mtime = node->ctime = (int64_t)clock_wall_seconds();
	if (type == VDIR) {
		node->next_cookie = 2;		/* behind "." and ".." */
	} else if (type == VREG) {
		node->object = vm_object_allocate(OBJT_DEFAULT, 0);
		node->object->flags |= OBJ_BOUNDED;
	}
	mutex_lock(&tm->tm_lock);
	if (tm->tm_nnodes < tm->tm_nodes_max) {
		tm->tm_nnodes++;
		node->ino = ++tm->tm_next_ino;
		TAILQ_INSERT_TAIL(&tm->tm_nodes, node, link);
		mutex_unlock(&tm->tm_lock);
		*np = node;
		return (0);
	}
	mutex_unlock(&tm->tm_lock);
	if (node->type == VREG)
		vm_object_deallocate(node->object);
	kfree(node, &M_TMPFS);
	return (ENOSPC);
}

/* => off tm_nodes, nobody has a reference */
static void
node_free(struct tmpfs_node *node)
{
	KASSERT(node->vnode == NULL, "tmpfs inode %lu goes, but has vnode %p", node->ino, node->vnode);
	if (node->type == VREG && node->object != NULL)
		vm_object_deallocate(node->object);
	if (node->type == VLNK)
		kfree(node->target, &M_TMPFS);
	kfree(node, &M_TMPFS);
}

void
tmpfs_node_rele(struct tmpfs_mount *tm, struct tmpfs_node *node)
{
	bool last;

	mutex_lock(&tm->tm_lock);
	KASSERT(node->refs > 0, "tmpfs inode %lu has no reference to give up", node->ino);
	last = --node->refs == 0;
	if (last) {
		TAILQ_REMOVE(&tm->tm_nodes, node, link);
		tm->tm_nnodes--;
		if (node->type == VREG)
			tm->tm_pages -= node->counted;
	}
	mutex_unlock(&tm->tm_lock);
	if (last)
		node_free(node);
}

/* The vnode that it has now, referenced, or NULL.  => vnode_list_lock held; may sleep */
static struct vnode *
node_vnode(struct tmpfs_node *node)
{
	while (node->vnode != NULL && !vget_locked(node->vnode)) {
		vget_wait(node->vnode);
		/* re-check: it is NULL, or another's who was faster. */
	}
	return (node->vnode);
}

int
tmpfs_vget(struct tmpfs_mount *tm, struct tmpfs_node *node, struct vnode **vpp)
{
	struct vnode *fresh;
	int error;

	spin_lock(&vnode_list_lock);
	*vpp = node_vnode(node);
	spin_unlock(&vnode_list_lock);
	if (*vpp != NULL)
		return (0);
	error = getnewvnode(tm->tm_mount, &tmpfs_vnodeops, &fresh);
	if (error != 0)
		return (error);
	mutex_lock(&tm->tm_lock);
	node->refs++;				/* the vnode's; VOP_RECLAIM gives it up */
	mutex_unlock(&tm->tm_lock);
	fresh->v_data = node;
	fresh->v_type = node->type;
	fresh->v_ino = node->ino;
	if (node == tm->tm_root)
		fresh->v_flag |= VROOT;		/* nobody else has seen it yet */
	spin_lock(&vnode_list_lock);
	*vpp = node_vnode(node);
	if (*vpp == NULL)
		*vpp = node->vnode = fresh;
	spin_unlock(&vnode_list_lock);
	if (*vpp != fresh) {
		vgone(fresh);
		vrele(fresh);
	}
	return (0);
}

int
tmpfs_unnamed(struct vnode *vp, const struct vattr *va, struct vnode **vpp)
{
	struct mount *mp = vfs_busy(vp);
	struct tmpfs_node *node;
	int error;

	if (mp == NULL)
		return (EIO);
	error = mp->mnt_op == &tmpfs_vfsops ? tmpfs_node_alloc(MTOT(mp), VREG, va, &node) : EOPNOTSUPP;
	if (error == 0) {
		error = tmpfs_vget(MTOT(mp), node, vpp);
		tmpfs_node_rele(MTOT(mp), node);	/* from here on it is its vnode's alone */
	}
	vfs_unbusy(mp);
	return (error);
}

/* ---- the mount ---- */

/* "64m" and the like.  false: not a number. */
static bool
parse_size(const char *s, uint64_t *bytes)
{
	const char *end;
	uint64_t n = strtou64(s, &end, 10), unit = 1;

	if (end == s)
		return (false);
	switch (*end) {
	case 'k':
		unit = KiB;
		end++;
		break;
	case 'm':
		unit = MiB;
		end++;
		break;
	case 'g':
		unit = GiB;
		end++;
		break;
	}
	*bytes = n > UINT64_MAX / unit ? UINT64_MAX : n * unit;
	return (*end == '\0' || *end == ',');
}

/* One option, up to its comma.  0, EINVAL. */
static int
parse_option(struct tmpfs_mount *tm, struct vattr *root, const char *opt)
{
	const char *end;
	uint64_t bytes;

	if (strncmp(opt, "size=", 5) == 0 && parse_size(opt + 5, &bytes)) {
		tm->tm_pages_max = bytes / PAGE_SIZE;
		return (0);
	}
	if (strncmp(opt, "mode=", 5) == 0) {
		uint64_t mode = strtou64(opt + 5, &end, 8);

		root->va_mode = mode & 07777;
		if (end != opt + 5 && mode <= 07777 && (*end == '\0' || *end == ','))
			return (0);
	}
	printf("tmpfs: %s: options are size=BYTES[kmg] and mode=OCTAL\n", opt);
	return (EINVAL);
}

static int
tmpfs_mount(struct mount *mp, struct disk *disk, const char *opts)
{
	struct vattr root = { .va_type = VDIR, .va_mode = 01777 };
	struct tmpfs_mount *tm;
	int error = 0;

	if (disk != NULL)
		return (EINVAL);
	tm = kmalloc(sizeof(*tm), &M_TMPFS, M_WAITOK | M_ZERO);
	mutex_init(&tm->tm_lock, "tmpfs", RANK_FSOP);
	TAILQ_INIT(&tm->tm_nodes);
	tm->tm_mount = mp;
	tm->tm_pages_max = tm->tm_nodes_max = vm_page_count / 2;
	while (error == 0 && *opts != '\0') {
		const char *comma = strchr(opts, ',');

		error = parse_option(tm, &root, opts);
		opts = comma != NULL ? comma + 1 : "";
	}
	if (error == 0)
		error = tmpfs_node_alloc(tm, VDIR, &root, &tm->tm_root);
	if (error != 0) {
		kfree(tm, &M_TMPFS);
		return (error);
	}
	tm->tm_root->nlink = 2;
	tm->tm_root->parent = tm->tm_root;
	tm->tm_rdonly = (mp->mnt_flag & MNT_RDONLY) != 0;
	mp->mnt_data = tm;
	mp->mnt_stat.f_iosize = mp->mnt_stat.f_bsize = PAGE_SIZE;
	return (0);
}

/* Does a mapping, or a copy of one, still need a file of this mount?  A file without names is its mappings' own. */
static bool
is_mapped(struct tmpfs_mount *tm)
{
	struct tmpfs_node *node;
	bool mapped = false;

	mutex_lock(&tm->tm_lock);
	TAILQ_FOREACH(node, &tm->tm_nodes, link)
		if (node->type == VREG && node->object != NULL &&
		    __atomic_load_n(&node->object->ref_count, __ATOMIC_RELAXED) > 1)
			mapped = true;
	mutex_unlock(&tm->tm_lock);
	return (mapped);
}

/* Read-only: what is under way may still end; nobody can store through a mapping, for there are none. */
static int
tmpfs_remount(struct mount *mp, uint32_t flags)
{
	struct tmpfs_mount *tm = MTOT(mp);

	if ((flags & MNT_RDONLY) != 0 && is_mapped(tm))
		return (EBUSY);
	tm->tm_rdonly = (flags & MNT_RDONLY) != 0;
	return (0);
}

/* => no vnode is left, so references are those of names and the root's own.  EBUSY: a file is mapped */
static int
tmpfs_unmount(struct mount *mp)
{
	struct tmpfs_mount *tm = MTOT(mp);
	struct tmpfs_node *node, *next;

	if (is_mapped(tm))
		return (EBUSY);
	TAILQ_FOREACH_SAFE(node, &tm->tm_nodes, link, next) {
		if (node->type == VDIR)
			tmpfs_dir_destroy(node);
		node_free(node);
	}
	kfree(tm, &M_TMPFS);
	return (0);
}

static int
tmpfs_root(struct mount *mp, struct vnode **vpp)
{
	return (tmpfs_vget(MTOT(mp), MTOT(mp)->tm_root, vpp));
}

static int
tmpfs_statfs(struct mount *mp, struct statfs *st)
{
	struct tmpfs_mount *tm = MTOT(mp);

	*st = mp->mnt_stat;
	mutex_lock(&tm->tm_lock);
	st->f_blocks = tm->tm_pages_max;
	st->f_bfree = st->f_bavail = tm->tm_pages_max - MIN(tm->tm_pages, tm->tm_pages_max);
	st->f_files = tm->tm_nodes_max;
	st->f_ffree = tm->tm_nodes_max - tm->tm_nnodes;
	mutex_unlock(&tm->tm_lock);
	st->f_namemax = NAME_MAX;
	return (0);
}

static int
tmpfs_sync(struct mount *mp, bool wait)
{
	return (0);		/* nothing here outlives the machine */
}

const struct vfsops tmpfs_vfsops = {
	.name = "tmpfs",
	.magic = 0x01021994,
	.mount = tmpfs_mount,
	.unmount = tmpfs_unmount,
	.root = tmpfs_root,
	.statfs = tmpfs_statfs,
	.sync = tmpfs_sync,
	.remount = tmpfs_remount,
};
