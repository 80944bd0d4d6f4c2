/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names: making them, with files or for files that exist, and removing them.
 *
 * Each operation does what may fail or take long first (the name is free, there is room in the
 * directory, an inode, a block, a vnode), and then makes its change between ext2_begin() and
 * ext2_end().  A new file's vnode is made before anybody can find it, and entered into the table of
 * inodes when the change is made.
 *
 * A file lives until it has neither names nor users: VOP_INACTIVE deletes what has no links left.
 * On the disk such a file is an inode without links; after a power cut e2fsck frees it without
 * asking.  That is all that ext2 needs of an orphan list, so s_last_orphan, which is ext3's, is not
 * used: links between deleted inodes would have to reach the disk in an order of their own.
 *
 * Lock order: directory, file in it, em_oplock.
 */
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "vm/vm_object.h"
#include "vm/vnode_pager.h"

#define LEVELS_MAX	8

bool
ext2_name_is_dots(const char *name, size_t len)
{
	return (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

int
ext2_name_check(const struct ext2_inode *dip, const char *name, size_t len)
{
	if (dip->i_type != VDIR)
		return (ENOTDIR);
	if (!ext2_may_change(dip->i_em))
		return (EROFS);
	if (len > NAME_MAX)
		return (ENAMETOOLONG);
	/* a removed directory that is still in use */
	return (len == 0 || dip->i_nlink == 0 ? ENOENT : 0);
}

/* One more name in dip leads to ip.  => between begin and end */
static void
link_counted(struct ext2_inode *dip, struct ext2_inode *ip)
{
	struct ext2_mount *em = dip->i_em;
	struct ext2_change *c, *parent;

	ip->i_nlink++;
	ip->i_ctime = (int64_t)clock_wall_seconds();
	ext2_iupdate(ip, false);
	c = ext2_change_get(em, ip->i_number);
	parent = ext2_change_get(em, dip->i_number);
	if (!c->c_born)
		c->c_named = true;
	else if (parent->c_gates)
		c->c_level = MAX(c->c_level, (uint16_t)(parent->c_level + 1));
}

/* One name less leads to ip.  => between begin and end */
static void
link_dropped(struct ext2_inode *ip)
{
	if (ip->i_nlink > 0 && --ip->i_nlink == 0)
		ext2_orphaned(ip);
	ip->i_ctime = (int64_t)clock_wall_seconds();
	ext2_iupdate(ip, false);
}

/*
 * Enter a name for an inode, counting the link.
 *
 * => between begin and end; the inode's record says if it is being born.
 */
int
ext2_name_add(struct ext2_inode *dip, const struct ext2_slot *slot, const char *name, size_t len, struct ext2_inode *ip)
{
	int error = ext2_dir_add(dip, slot, name, len, ip->i_number, ip->i_type);

	if (error == 0)
		link_counted(dip, ip);
	return (error);
}

void
ext2_orphaned(struct ext2_inode *ip)
{
	__atomic_fetch_add(&ip->i_em->em_orphans, 1, __ATOMIC_RELAXED);
}

int
ext2_name_drop(struct ext2_inode *dip, const struct ext2_slot *slot, struct ext2_inode *ip)
{
	int error = ext2_dir_remove(dip, slot);

	if (error == 0)
		link_dropped(ip);
	return (error);
}

int
ext2_name_replace(struct ext2_inode *dip, const struct ext2_slot *slot, struct ext2_inode *ip, struct ext2_inode *old)
{
	int error = ext2_dir_replace(dip, slot, ip->i_number, ip->i_type);

	if (error != 0)
		return (error);
	link_counted(dip, ip);
	link_dropped(old);
	if (old->i_nlink == 0)
		ext2_change_get(old->i_em, old->i_number)->c_replaced = true;
	return (0);
}

int
ext2_names_settle(struct ext2_inode *ip)
{
	struct ext2_change *c = ext2_change_find(ip->i_em, ip->i_number);

	return (c != NULL && c->c_named && ip->i_nlink > 1 ? ext2_sync_metadata(ip->i_em) : 0);
}

/* ---- new files ---- */

/* A file in the making. */
struct making {
	struct ext2_inode *dip, *ip;
	const char	*name;
	size_t		 len;
	struct ext2_slot slot;
	const char	*target;	/* symbolic link: where to */
	size_t		 target_len;
	uint64_t	 reserved;	/* blocks */
	bool		 has_block;	/* a directory, or a link too long for its inode */
};

/* What the caller and the directory say about a new inode. */
static void
inode_fill(struct making *mk, const struct vattr *va, enum vtype type, uint64_t ino)
{
	struct ext2_inode *ip = mk->ip, *dip = mk->dip;

	ip->i_number = ino;
	ip->i_type = type;
	ip->i_perm = va->va_mode & 07777;
	ip->i_uid = va->va_uid;
	ip->i_gid = va->va_gid;
	if ((dip->i_perm & 02000) != 0) {
		ip->i_gid = dip->i_gid;
		if (type == VDIR)
			ip->i_perm |= 02000;
	}
	ip->i_flags = type == VLNK ? 0 : dip->i_flags & EXT2_FL_INHERITED;
	ip->i_generation = (uint32_t)(clock_ns() ^ ino << 20);
	ip->i_atime = ip->i_mtime = ip->i_ctime = (int64_t)clock_wall_seconds();
	if (type == VCHR || type == VBLK)
		ext2_rdev_set(ip, va->va_rdev);
	ip->i_vnode->v_type = type;
	ip->i_vnode->v_ino = ino;
}

/* The block that a new directory or a long link begins with.  => between begin and end */
static int
first_block_make(struct making *mk)
{
	struct ext2_inode *ip = mk->ip;
	struct ext2_mount *em = ip->i_em;
	uint32_t block, got;
	struct buf *bp;
	int error;

	error = ext2_balloc(em, ext2_inode_goal(em, ip->i_number), 1, &block, &got);
	if (error != 0)
		return (error);
	error = getblk_zero(em->em_devvp, ext2_devblk(em, block), em->em_bsize, &bp);
	if (error != 0) {
		ext2_bfree_now(em, block, 1);
		return (error);
	}
	if (ip->i_type == VDIR)
		ext2_dir_init_block(em, bp->b_data, ip->i_number, mk->dip->i_number);
	else
		memcpy(bp->b_data, mk->target, mk->target_len);
	bdwrite(bp, BUF_FRESH);
	ip->i_block[0] = block;
	ip->i_blocks = em->em_bsize / DEV_BSIZE;
	return (0);
}

/*
 * The change itself.  => between begin and end.  On error nothing is left of it but a grown
 * directory.
 */
static int
making_commit(struct making *mk)
{
	struct ext2_inode *ip = mk->ip, *dip = mk->dip;
	struct ext2_mount *em = ip->i_em;
	struct ext2_change *c;
	int error = mk->has_block ? first_block_make(mk) : 0;

	if (error != 0)
		return (error);
	if (ip->i_type == VDIR) {
		ip->i_size = em->em_bsize;
		ip->i_nlink = 1;		/* its own "." */
	} else if (ip->i_type == VLNK) {
		ip->i_size = mk->target_len;
		if (!mk->has_block)
			memcpy(ip->i_block, mk->target, mk->target_len);
	}
	c = ext2_change_get(em, ip->i_number);
	c->c_born = true;
	c->c_gates = ip->i_type == VDIR;
	error = ext2_name_add(dip, &mk->slot, mk->name, mk->len, ip);
	if (error != 0) {
		if (mk->has_block) {
			bforget(em->em_devvp, ext2_devblk(em, ip->i_block[0]), em->em_bsize);
			ext2_bfree_now(em, ip->i_block[0], 1);
		}
		ext2_change_drop(em, c);
		return (error);
	}
	if (ip->i_type == VDIR) {
		dip->i_nlink++;
		ext2_iupdate(dip, false);
	}
	return (0);
}

/*
 * Each folder in a folder that the disk does not know yet costs the sync one step more: not too
 * many.
 */
static int
depth_limit(struct ext2_inode *dip)
{
	const struct ext2_change *c = ext2_change_find(dip->i_em, dip->i_number);

	return (c != NULL && c->c_gates && c->c_level >= LEVELS_MAX ? ext2_sync_metadata(dip->i_em) : 0);
}

/* Get hold of all that the change needs.  On error what was got is for making_end(). */
static int
making_prepare(struct making *mk, const struct vattr *va, enum vtype type)
{
	struct ext2_mount *em = mk->dip->i_em;
	struct ext2_slot slot;
	uint64_t ino;
	int error;

	error = ext2_dir_lookup(mk->dip, mk->name, mk->len, &slot);
	if (error != ENOENT)
		return (error == 0 ? EEXIST : error);
	if (type == VDIR && mk->dip->i_nlink >= EXT2_LINK_MAX)
		return (EMLINK);
	error = depth_limit(mk->dip);
	if (error == 0)
		error = ext2_dir_prepare(mk->dip, mk->name, mk->len, &mk->slot, &mk->reserved);
	if (error == 0 && mk->has_block) {
		error = ext2_reserve(em, NOCRED, 1);
		mk->reserved += error == 0;
	}
	if (error == 0)
		error = ext2_ialloc(em, mk->dip, type == VDIR, &ino);
	if (error == 0)
		inode_fill(mk, va, type, ino);
	return (error);
}

/*
 * Make a file of any kind.
 *
 * => dvp locked exclusively.  0: *vpp referenced, unlocked.
 */
static int
node_make(struct making *mk, const struct vattr *va, enum vtype type, struct vnode **vpp)
{
	struct ext2_mount *em = mk->dip->i_em;
	struct vnode *vp;
	int error = ext2_inode_new(em, &vp);

	if (error != 0)
		return (error);
	mk->ip = VTOI(vp);
	error = making_prepare(mk, va, type);
	if (error == 0) {
		error = ext2_begin(em);
		if (error == 0) {
			error = making_commit(mk);
			ext2_end(em);
		}
		if (error != 0)
			ext2_ifree_now(em, mk->ip->i_number, type == VDIR);
	}
	ext2_unreserve(em, mk->reserved);
	if (error != 0) {
		VOP_UNLOCK(vp);
		vgone(vp);
		vrele(vp);
		return (error);
	}
	mk->ip->i_gone = false;
	ext2_inode_publish(mk->ip);
	cache_enter(mk->dip->i_vnode, vp, mk->name, mk->len);
	VOP_UNLOCK(vp);
	*vpp = vp;
	return (0);
}

/* Checks that all makers share. */
static int
making_check(struct making *mk, struct vnode *dvp, const char *name, size_t len)
{
	int error = ext2_name_check(VTOI(dvp), name, len);

	*mk = (struct making){ .dip = VTOI(dvp), .name = name, .len = len };
	return (error != 0 ? error : ext2_name_is_dots(name, len) ? EEXIST : 0);
}

int
ext2_create(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp)
{
	struct making mk;
	int error = making_check(&mk, dvp, name, len);

	*vpp = NULL;
	if (error != 0)
		return (error);
	if (va->va_type == VDIR || va->va_type == VLNK || ext2_type_mode(va->va_type) == 0)
		return (EINVAL);
	return (node_make(&mk, va, va->va_type, vpp));
}

int
ext2_mkdir(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp)
{
	struct making mk;
	int error = making_check(&mk, dvp, name, len);

	*vpp = NULL;
	mk.has_block = true;
	return (error != 0 ? error : node_make(&mk, va, VDIR, vpp));
}

int
ext2_symlink(struct vnode *dvp, const char *name, size_t len, const char *target, const struct vattr *va, struct vnode **vpp)
{
	struct making mk;
	int error = making_check(&mk, dvp, name, len);

	*vpp = NULL;
	if (error != 0)
		return (error);
	mk.target = target;
	mk.target_len = strlen(target);
	if (mk.target_len == 0)
		return (ENOENT);
	if (mk.target_len > MIN((size_t)PATH_MAX, mk.dip->i_em->em_bsize - (size_t)1))
		return (ENAMETOOLONG);
	mk.has_block = mk.target_len >= EXT2_FASTLINK_MAX;
	return (node_make(&mk, va, VLNK, vpp));
}

/* ---- names for files that exist ---- */

/* => both locked exclusively */
static int
link_locked(struct ext2_inode *dip, const char *name, size_t len, struct ext2_inode *ip)
{
	struct ext2_mount *em = dip->i_em;
	struct ext2_slot slot;
	uint64_t reserved;
	int error;

	if (ip->i_nlink == 0)
		return (ENOENT);
	if (ip->i_nlink >= EXT2_LINK_MAX)
		return (EMLINK);
	error = ext2_dir_lookup(dip, name, len, &slot);
	if (error != ENOENT)
		return (error == 0 ? EEXIST : error);
	error = ext2_dir_prepare(dip, name, len, &slot, &reserved);
	if (error == 0)
		error = ext2_begin(em);
	if (error == 0) {
		error = ext2_name_add(dip, &slot, name, len, ip);
		ext2_end(em);
	}
	ext2_unreserve(em, reserved);
	if (error == 0)
		cache_enter(dip->i_vnode, ip->i_vnode, name, len);
	return (error);
}

int
ext2_link(struct vnode *dvp, const char *name, size_t len, struct vnode *vp)
{
	int error = ext2_name_check(VTOI(dvp), name, len);

	if (error != 0)
		return (error);
	if (ext2_name_is_dots(name, len))
		return (EEXIST);
	if (vp->v_mount != dvp->v_mount)
		return (EXDEV);
	if (vp->v_type == VDIR)
		return (EPERM);
	VOP_LOCK(vp, LK_EXCLUSIVE);
	error = vp->v_data != NULL ? link_locked(VTOI(dvp), name, len, VTOI(vp)) : EIO;
	VOP_UNLOCK(vp);
	return (error);
}

/*
 * Find the file of a name, to remove it.
 *
 * => 0: *vpp referenced and locked exclusively.
 */
static int
name_find(struct vnode *dvp, const char *name, size_t len, struct ext2_slot *slot, struct vnode **vpp)
{
	struct ext2_inode *dip = VTOI(dvp);
	int error;

	error = ext2_dir_lookup(dip, name, len, slot);
	if (error == 0)
		error = ext2_dir_unindex(dip);
	if (error == 0 && slot->ino == dip->i_number)
		error = ext2_damaged(dip->i_em, "directory %lu contains itself", slot->ino);
	if (error == 0)
		error = ext2_vget(dip->i_em, slot->ino, vpp);
	if (error != 0)
		return (error);
	VOP_LOCK(*vpp, LK_EXCLUSIVE);
	if ((*vpp)->v_data != NULL)
		return (0);
	vput(*vpp);		/* the volume goes */
	return (EIO);
}

/*
 * Does nobody but us and its own object know this file?  => locked exclusively, without a name, so
 * it stays so
 */
static bool
only_ours(struct vnode *vp)
{
	struct vm_object *object;
	bool ours;

	spin_lock(&vnode_list_lock);
	object = vp->v_object;
	ours = vp->v_usecount == (object != NULL ? 2 : 1) && (object == NULL || object->ref_count == 0);
	spin_unlock(&vnode_list_lock);
	return (ours);
}

void
ext2_nameless(struct vnode *vp)
{
	struct ext2_inode *ip = VTOI(vp);

	spin_lock(&vnode_list_lock);
	vp->v_flag |= VNONAME;
	spin_unlock(&vnode_list_lock);
	if (vp->v_type == VREG && only_ours(vp)) {
		/* Pages that nobody will see need not be written. */
		vnode_pager_setsize(vp, 0);
		ip->i_size = 0;
		ip->i_uncut = true;
		ext2_delay_remove(ip, 0, UINT64_MAX);
	}
	/* What is open keeps its pages; who closes it sees VNONAME. */
	if (!vnode_is_open(vp))
		vnode_pager_uncache(vp);
}

int
ext2_remove(struct vnode *dvp, const char *name, size_t len)
{
	struct ext2_inode *dip = VTOI(dvp);
	struct ext2_mount *em = dip->i_em;
	struct ext2_slot slot;
	struct vnode *vp;
	int error = ext2_name_check(dip, name, len);

	if (error == 0 && ext2_name_is_dots(name, len))
		error = EISDIR;
	if (error == 0)
		error = name_find(dvp, name, len, &slot, &vp);
	if (error != 0)
		return (error);
	if (vp->v_type == VDIR)
		error = EISDIR;
	if (error == 0)
		error = ext2_names_settle(VTOI(vp));
	if (error == 0)
		error = ext2_begin(em);
	if (error == 0) {
		error = ext2_name_drop(dip, &slot, VTOI(vp));
		ext2_end(em);
	}
	if (error == 0) {
		cache_enter(dvp, NULL, name, len);
		if (VTOI(vp)->i_nlink == 0)
			ext2_nameless(vp);
	}
	vput(vp);
	return (error);
}

/* => both directories locked exclusively, between begin and end */
static int
rmdir_change(struct ext2_inode *dip, const struct ext2_slot *slot, struct ext2_inode *ip)
{
	int error = ext2_name_drop(dip, slot, ip);

	if (error != 0)
		return (error);
	if (ip->i_nlink > 0)
		ext2_orphaned(ip);
	ip->i_nlink = 0;		/* its "." goes with it */
	ext2_iupdate(ip, false);
	if (dip->i_nlink > 2)
		dip->i_nlink--;
	ext2_iupdate(dip, false);
	return (0);
}

int
ext2_rmdir(struct vnode *dvp, const char *name, size_t len)
{
	struct ext2_inode *dip = VTOI(dvp);
	struct ext2_mount *em = dip->i_em;
	struct ext2_slot slot;
	struct vnode *vp;
	int error = ext2_name_check(dip, name, len);

	if (error == 0 && ext2_name_is_dots(name, len))
		error = len == 1 ? EINVAL : ENOTEMPTY;
	if (error == 0)
		error = name_find(dvp, name, len, &slot, &vp);
	if (error != 0)
		return (error);
	if (vp->v_type != VDIR)
		error = ENOTDIR;
	else if (vp->v_mountedhere != NULL)
		error = EBUSY;
	else
		error = ext2_dir_empty(VTOI(vp));
	if (error == 0)
		error = ext2_begin(em);
	if (error == 0) {
		error = rmdir_change(dip, &slot, VTOI(vp));
		ext2_end(em);
	}
	if (error == 0) {
		cache_purge(vp);
		cache_enter(dvp, NULL, name, len);
	}
	vput(vp);
	return (error);
}
