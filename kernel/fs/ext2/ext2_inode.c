/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inodes: reading them, checking them, and giving each exactly one vnode.
 *
 * em_vnodes is a tree of the inodes that have a vnode, by number.  An inode enters it complete and
 * checked, so whoever finds one there needs to wait for nothing: two threads that look for the same
 * absent inode both read it (one disk read, the block is in the metadata cache), and the one that
 * comes second throws its own away and takes the other's.  It leaves the tree when its vnode is
 * recycled.
 *
 * A tree and not a hash table: no size to choose, and with 8 MiB it costs nothing.
 *
 * Lock: vnode_list_lock guards the tree, so that finding an inode and taking a reference on its
 * vnode are one step.
 */
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_EXT2INO, "ext2 inodes");

static void __printflike(2, 0)
complain(struct ext2_mount *em, const char *fmt, va_list ap)
{
	char line[200];
	uint32_t missed;

	if (!ratelimit_pass(&em->em_messages, clock_ns(), &missed))
		return;
	vsnprintf(line, sizeof(line), fmt, ap);
	if (missed > 0)
		printf("ext2: %s: %u more messages\n", em->em_name, missed);
	printf("ext2: %s: %s\n", em->em_name, line);
}

void
ext2_complain(struct ext2_mount *em, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(em, fmt, ap);
	va_end(ap);
}

int
ext2_damaged(struct ext2_mount *em, const char *fmt, ...)
{
	va_list ap;

	em->em_damaged = true;
	va_start(ap, fmt);
	complain(em, fmt, ap);
	va_end(ap);
	return (EUCLEAN);
}

/* ---- what the disk says, checked ---- */

enum vtype
ext2_mode_type(uint16_t mode)
{
	switch (mode & EXT2_IFMT) {
	case EXT2_IFREG:
		return (VREG);
	case EXT2_IFDIR:
		return (VDIR);
	case EXT2_IFLNK:
		return (VLNK);
	case EXT2_IFBLK:
		return (VBLK);
	case EXT2_IFCHR:
		return (VCHR);
	case EXT2_IFIFO:
		return (VFIFO);
	case EXT2_IFSOCK:
		return (VSOCK);
	default:
		return (VBAD);
	}
}

uint16_t
ext2_type_mode(enum vtype type)
{
	static const uint16_t modes[] = {
		[VREG] = EXT2_IFREG, [VDIR] = EXT2_IFDIR, [VLNK] = EXT2_IFLNK, [VBLK] = EXT2_IFBLK,
		[VCHR] = EXT2_IFCHR, [VFIFO] = EXT2_IFIFO, [VSOCK] = EXT2_IFSOCK,
	};

	return ((unsigned)type < nitems(modes) ? modes[type] : 0);
}

/* The first word holds 8 and 8 bits, as it always did; numbers that do not fit are in the second, in Linux's way. */
uint32_t
ext2_rdev(const struct ext2_inode *ip)
{
	if (ip->i_type != VCHR && ip->i_type != VBLK)
		return (0);
	return (ip->i_block[0] != 0 ? ip->i_block[0] & 0xffff : ip->i_block[1]);
}

void
ext2_rdev_set(struct ext2_inode *ip, uint32_t rdev)
{
	ip->i_block[rdev <= 0xffff ? 0 : 1] = rdev;
}

bool
ext2_link_is_fast(const struct ext2_inode *ip)
{
	uint64_t acl = ip->i_acl_block != 0 ? ip->i_em->em_bsize / DEV_BSIZE : 0;

	return (ip->i_blocks <= acl);
}

/* Does the size make sense for this kind of file? */
static int
inode_check_size(struct ext2_inode *ip)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t max = em->em_size_max;

	switch (ip->i_type) {
	case VREG:
		break;
	case VDIR:
		if (ip->i_size == 0 || ip->i_size % em->em_bsize != 0)
			return (ext2_damaged(em, "inode %lu: directory of %lu bytes, blocks have %u",
			    ip->i_number, ip->i_size, em->em_bsize));
		max = MIN(max, em->em_blocks << em->em_bshift);
		break;
	case VLNK:
		max = MIN((uint64_t)em->em_bsize, (uint64_t)PATH_MAX);
		if (ext2_link_is_fast(ip))
			max = EXT2_FASTLINK_MAX - 1;
		if (ip->i_size == 0)
			return (ext2_damaged(em, "inode %lu: symbolic link to nothing", ip->i_number));
		break;
	default:
		return (0);
	}
	if (ip->i_size > max)
		return (ext2_damaged(em, "inode %lu: %s of %lu bytes, at most %lu are possible",
		    ip->i_number, vtype_name(ip->i_type), ip->i_size, max));
	return (0);
}

/* Type, links, flags, blocks. */
static int
inode_check(struct ext2_inode *ip, const struct ext2_dinode *di)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t most = em->em_blocks << (em->em_bshift - DEV_BSHIFT);

	if (ip->i_nlink == 0)
		return (ext2_damaged(em, "inode %lu is deleted, but a name leads to it", ip->i_number));
	if (ip->i_type == VBAD)
		return (ext2_damaged(em, "inode %lu: mode 0%o has no known type", ip->i_number, di->i_mode));
	if ((di->i_flags & EXT2_FL_FOREIGN) != 0)
		return (ext2_damaged(em, "inode %lu: flags 0x%x mean that it is not ext2's", ip->i_number,
		    di->i_flags));
	if (ip->i_blocks > most && (em->em_rocompat & EXT2_ROCOMPAT_HUGE_FILE) == 0)
		return (ext2_damaged(em, "inode %lu has %lu sectors, the volume %lu", ip->i_number,
		    ip->i_blocks, most));
	if (ip->i_acl_block != 0 && !ext2_block_ok(em, ip->i_acl_block))
		return (ext2_damaged(em, "inode %lu: attributes at block %u, volume has %lu blocks",
		    ip->i_number, ip->i_acl_block, em->em_blocks));
	return (inode_check_size(ip));
}

int
ext2_inode_decode(struct ext2_mount *em, uint64_t ino, const struct ext2_dinode *di,
    struct ext2_inode *ip)
{
	memset(ip, 0, sizeof(*ip));
	ip->i_em = em;
	ip->i_number = ino;
	ip->i_type = ext2_mode_type(di->i_mode);
	ip->i_perm = di->i_mode & 07777;
	ip->i_uid = di->i_uid | (uint32_t)di->i_uid_high << 16;
	ip->i_gid = di->i_gid | (uint32_t)di->i_gid_high << 16;
	ip->i_nlink = di->i_links_count;
	ip->i_size = di->i_size;
	if (ip->i_type == VREG && em->em_rev > 0)
		ip->i_size |= (uint64_t)di->i_size_high << 32;
	ip->i_blocks = di->i_blocks;
	ip->i_acl_block = di->i_file_acl;
	ip->i_atime = (int32_t)di->i_atime;
	ip->i_mtime = (int32_t)di->i_mtime;
	ip->i_ctime = (int32_t)di->i_ctime;
	ip->i_flags = di->i_flags;
	ip->i_generation = di->i_generation;
	memcpy(ip->i_block, di->i_block, sizeof(ip->i_block));
	return (inode_check(ip, di));
}

/* A time as the disk can have it: 1901 to 2038. */
static uint32_t
disk_time(int64_t seconds)
{
	return ((uint32_t)(int32_t)MAX((int64_t)INT32_MIN, MIN((int64_t)INT32_MAX, seconds)));
}

void
ext2_inode_encode(const struct ext2_inode *ip, struct ext2_dinode *di)
{
	memset(di, 0, sizeof(*di));
	di->i_mode = (uint16_t)(ext2_type_mode(ip->i_type) | ip->i_perm);
	di->i_uid = (uint16_t)ip->i_uid;
	di->i_uid_high = (uint16_t)(ip->i_uid >> 16);
	di->i_gid = (uint16_t)ip->i_gid;
	di->i_gid_high = (uint16_t)(ip->i_gid >> 16);
	di->i_size = (uint32_t)ip->i_size;
	if (ip->i_type == VREG && ip->i_em->em_rev > 0)
		di->i_size_high = (uint32_t)(ip->i_size >> 32);
	di->i_atime = disk_time(ip->i_atime);
	di->i_mtime = disk_time(ip->i_mtime);
	di->i_ctime = disk_time(ip->i_ctime);
	di->i_dtime = disk_time(ip->i_dtime);
	di->i_links_count = (uint16_t)ip->i_nlink;
	di->i_blocks = (uint32_t)ip->i_blocks;
	di->i_flags = ip->i_flags;
	di->i_generation = ip->i_generation;
	di->i_file_acl = ip->i_acl_block;
	memcpy(di->i_block, ip->i_block, sizeof(di->i_block));
}

uint64_t
ext2_inode_place(const struct ext2_mount *em, uint64_t ino, uint32_t *byte)
{
	uint64_t g = (ino - 1) / em->em_inodes_per_group;
	uint64_t at = (ino - 1) % em->em_inodes_per_group * em->em_inode_size;

	*byte = (uint32_t)at & (em->em_bsize - 1);
	return (em->em_groups[g].inode_table + (at >> em->em_bshift));
}

/*
 * What the volume says about an inode; what waits to be written is newer than the disk.
 *
 * => ino in range; sleeps.  0 or EIO.
 */
static int
dinode_read(struct ext2_mount *em, uint64_t ino, struct ext2_dinode *di)
{
	uint32_t byte;
	uint64_t block = ext2_inode_place(em, ino, &byte);
	struct buf *bp;
	int error;

	error = bread(em->em_devvp, ext2_devblk(em, block), em->em_bsize, &bp);
	if (error != 0) {
		ext2_complain(em, "inode %lu cannot be read: block %lu, %s", ino, block,
		    errno_name(error));
		return (error);
	}
	memcpy(di, (char *)bp->b_data + byte, sizeof(*di));
	brelse(bp);
	(void)ext2_change_image(em, ino, di);
	return (0);
}

/* => ino in range; sleeps.  0: *ipp allocated; else EIO, EUCLEAN. */
static int
inode_read(struct ext2_mount *em, uint64_t ino, struct ext2_inode **ipp)
{
	struct ext2_dinode di;
	struct ext2_inode *ip;
	int error = dinode_read(em, ino, &di);

	if (error != 0)
		return (error);
	ip = kmalloc(sizeof(*ip), &M_EXT2INO, M_WAITOK);
	error = ext2_inode_decode(em, ino, &di, ip);
	if (error != 0) {
		kfree(ip, &M_EXT2INO);
		ip = NULL;
	}
	*ipp = ip;
	return (error);
}

/* ---- the table: => vnode_list_lock held ---- */

#define NODE_INODE(node)	container_of(node, struct ext2_inode, i_node)

static struct ext2_inode *
table_find(const struct ext2_mount *em, uint64_t ino)
{
	struct rb_node *node = em->em_vnodes.root;

	while (node != NULL && NODE_INODE(node)->i_number != ino)
		node = node->child[ino > NODE_INODE(node)->i_number];
	return (node != NULL ? NODE_INODE(node) : NULL);
}

static void
table_insert(struct ext2_mount *em, struct ext2_inode *ip)
{
	struct rb_node *parent = NULL, *node = em->em_vnodes.root;
	int side = 0;

	while (node != NULL) {
		parent = node;
		side = ip->i_number > NODE_INODE(node)->i_number;
		node = node->child[side];
	}
	rb_insert(&em->em_vnodes, parent, side, &ip->i_node, NULL);
	ip->i_tabled = true;
}

/* The vnode of an inode that has one, referenced, or NULL.  => vnode_list_lock held; may sleep */
static struct vnode *
table_get(struct ext2_mount *em, uint64_t ino)
{
	struct ext2_inode *ip;

	while ((ip = table_find(em, ino)) != NULL) {
		if (vget_locked(ip->i_vnode))
			return (ip->i_vnode);
		vget_wait(ip->i_vnode);
		/* re-check: the table; the inode left it, and may have come back. */
	}
	return (NULL);
}

int
ext2_ino_check_free(struct ext2_mount *em, uint64_t ino)
{
	struct ext2_dinode di;
	bool used;
	int error = dinode_read(em, ino, &di);

	if (error != 0)
		return (error);
	spin_lock(&vnode_list_lock);
	used = table_find(em, ino) != NULL;
	spin_unlock(&vnode_list_lock);
	if (used || di.i_links_count > 0)
		return (ext2_damaged(em, "the bitmap calls inode %lu free, which is in use", ino));
	return (0);
}

void
ext2_inode_hide(struct ext2_inode *ip)
{
	spin_lock(&vnode_list_lock);
	if (ip->i_tabled)
		rb_remove(&ip->i_em->em_vnodes, &ip->i_node, NULL);
	ip->i_tabled = false;
	spin_unlock(&vnode_list_lock);
}

void
ext2_inode_publish(struct ext2_inode *ip)
{
	spin_lock(&vnode_list_lock);
	KASSERT(table_find(ip->i_em, ip->i_number) == NULL, "inode %lu has two vnodes", ip->i_number);
	table_insert(ip->i_em, ip);
	spin_unlock(&vnode_list_lock);
}

void
ext2_inode_free(struct ext2_inode *ip)
{
	ext2_inode_hide(ip);
	ext2_delay_remove(ip, 0, UINT64_MAX);
	ext2_dirhash_drop(ip);
	kfree(ip, &M_EXT2INO);
}

/*
 * A vnode that is nothing yet, locked exclusively until it is something: an unmounting by force
 * waits for that.
 */
static int
vnode_new(struct ext2_mount *em, struct vnode **vpp)
{
	int error = getnewvnode(em->em_mp, &ext2_vnodeops, vpp);

	if (error != 0)
		return (error);
	VOP_LOCK(*vpp, LK_EXCLUSIVE);
	if ((*vpp)->v_mount != NULL)
		return (0);
	vput(*vpp);
	return (ENOENT);
}

int
ext2_inode_new(struct ext2_mount *em, struct vnode **vpp)
{
	struct ext2_inode *ip;
	int error;

	error = vnode_new(em, vpp);
	if (error != 0)
		return (error);
	ip = kmalloc(sizeof(*ip), &M_EXT2INO, M_WAITOK | M_ZERO);
	ip->i_em = em;
	ip->i_vnode = *vpp;
	ip->i_gone = true;
	(*vpp)->v_data = ip;
	return (0);
}

/*
 * Read an inode and make a vnode of it, not yet in the table.
 *
 * => sleeps.  0: *vpp referenced, locked exclusively.
 */
static int
vnode_make(struct ext2_mount *em, uint64_t ino, struct vnode **vpp)
{
	struct ext2_inode *ip;
	struct vnode *vp;
	int error;

	error = inode_read(em, ino, &ip);
	if (error != 0)
		return (error);
	error = vnode_new(em, &vp);
	if (error != 0) {
		kfree(ip, &M_EXT2INO);
		return (error);
	}
	ip->i_vnode = vp;
	vp->v_data = ip;
	vp->v_ino = ino;
	vp->v_type = ip->i_type;
	if (ino == EXT2_ROOT_INO)
		vp->v_flag |= VROOT;
	*vpp = vp;
	return (0);
}

int
ext2_vget(struct ext2_mount *em, uint64_t ino, struct vnode **vpp)
{
	struct vnode *vp, *fresh = NULL;
	int error = 0;

	*vpp = NULL;
	if (ino > em->em_inodes || (ino < em->em_first_ino && ino != EXT2_ROOT_INO))
		return (ext2_damaged(em, "a name leads to inode %lu; files have %u to %lu", ino,
		    em->em_first_ino, em->em_inodes));
	for (;;) {
		spin_lock(&vnode_list_lock);
		vp = table_get(em, ino);
		if (vp == NULL && fresh != NULL) {
			table_insert(em, VTOI(fresh));
			vp = fresh;
		}
		spin_unlock(&vnode_list_lock);
		if (fresh != NULL)
			VOP_UNLOCK(fresh);
		if (vp != NULL)
			break;
		error = vnode_make(em, ino, &fresh);
		if (error != 0)
			return (error);
		/* re-check: another thread may have put the same inode into the table. */
	}
	if (fresh != NULL && fresh != vp) {
		vgone(fresh);
		vrele(fresh);
	}
	*vpp = vp;
	return (0);
}
