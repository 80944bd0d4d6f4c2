/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ext2: what lies on the disk, and what we keep of it in memory.
 *
 *	byte 0     1024        2048                          (first_data_block is 1 for 1 KiB blocks, else 0)
 *	+----------+-----------+----------------------+
 *	| boot     | super-    | group descriptors    |
 *	+----------+-----------+----------------------+
 *
 *	a group of s_blocks_per_group blocks; the first two parts only in some groups (sparse_super):
 *	+-------+-------------+----------+--------+--------+-------------+-----------------------+
 *	| super | descriptors | reserved | block  | inode  | inode table | data, pointer blocks, |
 *	| copy  | copy        | for more | bitmap | bitmap |             | directories           |
 *	+-------+-------------+----------+--------+--------+-------------+-----------------------+
 *
 * All numbers are little-endian, as is the machine.  The layout follows "The Second Extended
 * Filesystem: Internal Layout" (nongnu.org/ext2-doc) and the ext4 disk-layout pages of Linux's
 * documentation, which also name the feature bits.
 *
 * In memory: one ext2_mount per volume, one ext2_inode per vnode.  An ext2_inode is decoded and
 * checked once, when it is read; nothing later trusts a number that was not checked.
 *
 * (c) constant while mounted or while the vnode has this identity  (l) vnode_list_lock  (v) the
 * vnode's lock (e) em_lock  (o) em_oplock: shared to look, exclusive to change
 */
#ifndef KERNEL_FS_EXT2_EXT2_H
#define KERNEL_FS_EXT2_EXT2_H

#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/ratelimit.h"
#include "kernel/lib/rbtree.h"

#define EXT2_MAGIC		0xef53
#define EXT2_SUPER_OFFSET	1024	/* bytes from the start of the volume */
#define EXT2_ROOT_INO		2
#define EXT2_FIRST_INO_REV0	11	/* first inode that is not reserved, in revision 0 */
#define EXT2_INODE_SIZE_REV0	128	/* bytes */
#define EXT2_NDIRECT		12	/* direct pointers in an inode */
#define EXT2_NPOINTERS		15	/* and single, double, triple indirect */
#define EXT2_LINK_MAX		32000
#define EXT2_FASTLINK_MAX	60	/* bytes of a link's target that fit in place of the pointers */
#define EXT2_BLOCK_SIZE_MAX	65536	/* bytes */

struct ext2_super {
	uint32_t	s_inodes_count;
	uint32_t	s_blocks_count;
	uint32_t	s_r_blocks_count;	/* kept for the superuser */
	uint32_t	s_free_blocks_count;
	uint32_t	s_free_inodes_count;
	uint32_t	s_first_data_block;	/* where group 0 begins */
	uint32_t	s_log_block_size;	/* block size = 1024 << this */
	uint32_t	s_log_frag_size;
	uint32_t	s_blocks_per_group;
	uint32_t	s_frags_per_group;
	uint32_t	s_inodes_per_group;
	uint32_t	s_mtime;
	uint32_t	s_wtime;
	uint16_t	s_mnt_count;
	uint16_t	s_max_mnt_count;
	uint16_t	s_magic;
	uint16_t	s_state;		/* EXT2_STATE_ bits */
	uint16_t	s_errors;
	uint16_t	s_minor_rev_level;
	uint32_t	s_lastcheck;
	uint32_t	s_checkinterval;
	uint32_t	s_creator_os;
	uint32_t	s_rev_level;		/* 0 or 1; what follows is for 1 */
	uint16_t	s_def_resuid;
	uint16_t	s_def_resgid;
	uint32_t	s_first_ino;
	uint16_t	s_inode_size;
	uint16_t	s_block_group_nr;
	uint32_t	s_feature_compat;
	uint32_t	s_feature_incompat;
	uint32_t	s_feature_ro_compat;
	uint8_t		s_uuid[16];
	char		s_volume_name[16];
	char		s_last_mounted[64];
	uint32_t	s_algorithm_usage_bitmap;
	uint8_t		s_prealloc_blocks;
	uint8_t		s_prealloc_dir_blocks;
	uint16_t	s_reserved_gdt_blocks;	/* kept after the descriptors for growing */
	uint8_t		s_journal_uuid[16];
	uint32_t	s_journal_inum, s_journal_dev;
	uint32_t	s_last_orphan;		/* ext3: head of a list of deleted inodes */
	uint8_t		s_hash_seed[16];
	uint8_t		s_hash_version, s_jnl_backup_type;
	uint16_t	s_desc_size;
	uint8_t		s_unused1[0x24c - 0x100];
	uint32_t	s_backup_bgs[2];	/* sparse_super2: the only groups with copies */
	uint8_t		s_unused2[1024 - 0x254];
};
_Static_assert(sizeof(struct ext2_super) == 1024, "superblock is 1024 bytes");
_Static_assert(offsetof(struct ext2_super, s_magic) == 0x38, "magic");
_Static_assert(offsetof(struct ext2_super, s_rev_level) == 0x4c, "revision");
_Static_assert(offsetof(struct ext2_super, s_feature_compat) == 0x5c, "features");
_Static_assert(offsetof(struct ext2_super, s_reserved_gdt_blocks) == 0xce, "reserved descriptors");
_Static_assert(offsetof(struct ext2_super, s_last_orphan) == 0xe8, "orphans");
_Static_assert(offsetof(struct ext2_super, s_desc_size) == 0xfe, "descriptor size");
_Static_assert(offsetof(struct ext2_super, s_backup_bgs) == 0x24c, "backup groups");

#define EXT2_STATE_CLEAN	0x1
#define EXT2_STATE_ERRORS	0x2

/* Features that concern us; the table of names in ext2_super.c knows more. */
#define EXT2_COMPAT_RESIZE_INODE	0x0010u
#define EXT2_COMPAT_SPARSE_SUPER2	0x0200u
#define EXT2_INCOMPAT_FILETYPE		0x0002u
#define EXT2_INCOMPAT_KNOWN		EXT2_INCOMPAT_FILETYPE
#define EXT2_ROCOMPAT_SPARSE_SUPER	0x0001u
#define EXT2_ROCOMPAT_LARGE_FILE	0x0002u
#define EXT2_ROCOMPAT_BTREE_DIR		0x0004u
#define EXT2_ROCOMPAT_HUGE_FILE		0x0008u
#define EXT2_ROCOMPAT_KNOWN	\
	(EXT2_ROCOMPAT_SPARSE_SUPER | EXT2_ROCOMPAT_LARGE_FILE | EXT2_ROCOMPAT_BTREE_DIR)

struct ext2_group_desc {
	uint32_t	bg_block_bitmap;
	uint32_t	bg_inode_bitmap;
	uint32_t	bg_inode_table;
	uint16_t	bg_free_blocks_count;
	uint16_t	bg_free_inodes_count;
	uint16_t	bg_used_dirs_count;
	uint16_t	bg_flags;
	uint8_t		bg_reserved[12];
};
_Static_assert(sizeof(struct ext2_group_desc) == 32, "group descriptor is 32 bytes");

struct ext2_dinode {
	uint16_t	i_mode;
	uint16_t	i_uid;
	uint32_t	i_size;
	uint32_t	i_atime;
	uint32_t	i_ctime;
	uint32_t	i_mtime;
	uint32_t	i_dtime;
	uint16_t	i_gid;
	uint16_t	i_links_count;
	uint32_t	i_blocks;		/* 512-byte units, pointer blocks included */
	uint32_t	i_flags;
	uint32_t	i_version;
	uint32_t	i_block[EXT2_NPOINTERS]; /* pointers, or the target of a short link */
	uint32_t	i_generation;
	uint32_t	i_file_acl;		/* block of extended attributes */
	uint32_t	i_size_high;		/* regular files; i_dir_acl in revision 0 */
	uint32_t	i_faddr;
	uint16_t	i_blocks_high;
	uint16_t	i_file_acl_high;
	uint16_t	i_uid_high;
	uint16_t	i_gid_high;
	uint32_t	i_reserved;
};
_Static_assert(sizeof(struct ext2_dinode) == 128, "an inode's first part is 128 bytes");
_Static_assert(offsetof(struct ext2_dinode, i_block) == 0x28, "pointers");
_Static_assert(offsetof(struct ext2_dinode, i_size_high) == 0x6c, "high half of the size");

#define EXT2_IFMT		0xf000	/* i_mode's type */
#define EXT2_IFSOCK		0xc000
#define EXT2_IFLNK		0xa000
#define EXT2_IFREG		0x8000
#define EXT2_IFBLK		0x6000
#define EXT2_IFDIR		0x4000
#define EXT2_IFCHR		0x2000
#define EXT2_IFIFO		0x1000

#define EXT2_FL_INDEX		0x00001000u	/* a directory with a hashed index */
#define EXT2_FL_INHERITED	0x000000efu	/* a new file has these of its directory's flags: no-atime, append and the like */

/* i_flags under which i_block is not what ext2 has there */
#define EXT2_FL_ENCRYPT		0x00000800u
#define EXT2_FL_EXTENTS		0x00080000u
#define EXT2_FL_INLINE_DATA	0x10000000u
#define EXT2_FL_FOREIGN		(EXT2_FL_ENCRYPT | EXT2_FL_EXTENTS | EXT2_FL_INLINE_DATA)

struct ext2_dirent {
	uint32_t	inode;			/* 0: unused */
	uint16_t	rec_len;		/* bytes to the next entry; see ext2_rec_len() */
	uint8_t		name_len;
	/* with filetype; else the high byte of the length */
	uint8_t		file_type;
	char		name[];
};
_Static_assert(offsetof(struct ext2_dirent, name) == 8, "an entry's fixed part is 8 bytes");

/* A checked directory entry. */
struct ext2_entry {
	uint64_t	ino;			/* 0: unused */
	uint32_t	rec_len;		/* bytes */
	uint8_t		namelen;
	uint8_t		file_type;		/* 0: unknown */
	const char	*name;			/* in the block */
};

/* The block of extended attributes that inodes may share: its head. */
#define EXT2_XATTR_MAGIC	0xea020000u
struct ext2_xattr_head {
	uint32_t	h_magic;
	uint32_t	h_refcount;		/* inodes that point here */
};

/* What we keep of a group. */
struct ext2_group {
	uint32_t	block_bitmap;	/* (c) */
	uint32_t	inode_bitmap;	/* (c) */
	uint32_t	inode_table;	/* (c) */
	uint32_t	free_blocks;	/* (e) bits clear in the bitmap */
	uint32_t	free_inodes;	/* (e) */
	uint32_t	used_dirs;	/* (e) */
};

struct ext2_change;
struct ext2_dirhash;
struct ext2_freed;

struct ext2_mount {
	struct mount		*em_mp;		/* (c) */
	struct vnode		*em_devvp;	/* (c) the mount's reference */
	char			 em_name[16];	/* (c) the disk's, for messages */
	uint32_t		 em_bsize;	/* (c) block size, bytes */
	uint32_t		 em_bshift;	/* (c) its logarithm */
	uint32_t		 em_ptr_shift;	/* (c) logarithm of the pointers in a block */
	uint64_t		 em_blocks;	/* (c) in the volume */
	uint64_t		 em_first_data;	/* (c) where group 0 begins */
	uint64_t		 em_inodes;	/* (c) in the volume */
	uint32_t		 em_blocks_per_group;	/* (c) */
	uint32_t		 em_inodes_per_group;	/* (c) */
	uint32_t		 em_inode_size;	/* (c) bytes */
	uint32_t		 em_first_ino;	/* (c) first inode that is not reserved */
	uint32_t		 em_ngroups;	/* (c) */
	uint32_t		 em_itable_blocks;	/* (c) blocks of each group's inode table */
	/* (c) superblock, descriptors and their reserve, where a group has them */
	uint32_t		 em_super_blocks;
	uint32_t		 em_desc_blocks;	/* (c) blocks of group descriptors */
	uint32_t		 em_rev;	/* (c) */
	uint32_t		 em_compat, em_incompat, em_rocompat;	/* (c) */
	uint32_t		 em_backup_bgs[2];	/* (c) sparse_super2 */
	/* (c) bytes that the pointers of an inode can reach */
	uint64_t		 em_size_max;
	struct ext2_group	*em_groups;	/* (c) em_ngroups of them, all checked */
	struct rb_tree		 em_vnodes;	/* (l) ext2_inodes that have a vnode, by number */
	struct ratelimit	 em_messages;	/* about damage */
	/* What follows is for writing. */
	uint64_t		 em_syncs;	/* (o) syncs completed, and 1 */
	/* (o) lost+found while a file's name changes hands: ext2_shelter.c */
	struct ext2_inode	*em_lostfound;
	struct rwlock		 em_oplock;	/* a change holds it shared, the sync exclusively */
	struct mutex		 em_rename;	/* one rename at a time; before any vnode */
	struct spinlock		 em_lock;
	bool			 em_writable;	/* (o) mounted read-write */
	/* (a) about to become read-only: no new changes but what the pager and the sync write */
	bool			 em_frozen;
	/* (a) damage was met: the volume must not be called clean */
	bool			 em_damaged;
	uint64_t		 em_r_blocks;	/* (c) kept for the superuser */
	char			*em_zeros;	/* (c) a block of zeros */
	uint32_t		 em_orphans;	/* (a) files without a name that are still in use */
	uint64_t		 em_free_blocks;	/* (e) bits clear in the bitmaps */
	uint64_t		 em_free_inodes;	/* (e) */
	uint64_t		 em_reserved;	/* (e) free blocks that are promised to somebody */
	/* (e) freed, but not yet to be used again */
	uint64_t		 em_pending_blocks;
	uint64_t		 em_pending_inodes;	/* (e) */
	/* (e) which blocks and inodes these are; newest chunk first */
	struct ext2_freed	*em_freed;
	uint32_t		 em_nfreed;	/* (e) chunks */
	struct rb_tree		 em_changes;	/* (e) inodes that differ from the disk */
	uint32_t		 em_nchanges;	/* (e) */
	/* (e) superblock and descriptors differ from the disk */
	bool			 em_counts_dirty;
};

/*
 * An inode that differs from the disk: what the disk shall say.  It exists from the first change
 * until a sync has written it; the inode table's blocks are changed by the sync only.  Fields:
 * under the inode's vnode lock and em_oplock, shared; or em_oplock, exclusive.
 */
struct ext2_change {
	struct rb_node	 c_node;		/* (e) in em_changes */
	uint64_t	 c_ino;			/* (c) */
	/* births: how many syncs' steps after the names it is to be written */
	uint16_t	 c_level;
	bool		 c_born;		/* the disk does not know it as a file yet */
	/* a directory: what is born in it must be written a step later */
	bool		 c_gates;
	/* it got one more name, and the disk may not know that yet */
	bool		 c_named;
	/* its last name is another file's now: it dies after the disk knows that */
	bool		 c_replaced;
	bool		 c_sheltered;		/* and has a name in lost+found until then */
	bool		 c_only_times;		/* nothing but times differs */
	bool		 c_written;		/* by the sync that is going on */
	/* what shall be on disk, but for the fields that we never change */
	struct ext2_dinode c_image;
};

/*
 * Consecutive blocks of a file that were written but have no place on the disk yet: room is
 * reserved for them.
 */
struct ext2_delay {
	struct rb_node	d_node;		/* (v) in i_delayed */
	uint64_t	d_start;	/* (v) logical block */
	uint64_t	d_count;	/* (v) */
};

#define GONE_WORDS	16		/* 64 bits each */

struct ext2_inode {
	struct rb_node	 i_node;		/* (l) in em_vnodes, if i_tabled */
	bool		 i_tabled;		/* (l) */
	struct vnode	*i_vnode;		/* (c) */
	struct ext2_mount *i_em;		/* (c) */
	uint64_t	 i_number;		/* (c) */
	enum vtype	 i_type;		/* (c) */
	uint16_t	 i_perm;		/* (v) permission bits */
	uint32_t	 i_uid, i_gid, i_nlink;	/* (v) */
	uint64_t	 i_size;		/* (v) bytes */
	uint64_t	 i_blocks;		/* (v) 512-byte units */
	uint32_t	 i_acl_block;		/* (v) block of extended attributes, 0: none */
	int64_t		 i_atime, i_mtime, i_ctime;	/* (v) seconds since 1970 */
	int64_t		 i_dtime;	/* (v) when it was deleted */
	uint32_t	 i_flags;	/* (v) */
	uint32_t	 i_generation;	/* (c) */
	uint32_t	 i_block[EXT2_NPOINTERS];	/* (v) */
	struct rb_tree	 i_delayed;	/* (v) ext2_delay */
	uint64_t	 i_ndelayed;	/* (v) blocks in all of them */
	/* (v) part of em_reserved: i_delayed and the pointer blocks that it may need */
	uint64_t	 i_reserved;
	/* (v) a directory: names removed since sync i_went_sync, a bit each, by hash */
	uint64_t	 i_went[GONE_WORDS];
	uint64_t	 i_went_sync;	/* (v) */
	uint64_t	 i_room;	/* (v) a directory: the block where room was found last */
	struct ext2_dirhash *i_dirhash;	/* (v) a big directory's index, or NULL */
	/* (v) not a file of the volume: deleted, or not entered yet */
	bool		 i_gone;
	/* (v) on the disk, what follows EOF in its block is zero, for we wrote it */
	bool		 i_slack_zero;
	/* (v) blocks lie past EOF, for a truncation failed; cut them before growing */
	bool		 i_uncut;
	/* (v) by a write or by hand: what the pager writes is not news */
	bool		 i_mtime_set;
};

/* The way to a logical block: pointer slot of the inode, then one index for each pointer block. */
struct ext2_path {
	uint32_t	slot;
	uint32_t	index[3];
	uint32_t	depth;		/* pointer blocks on the way, 0 to 3 */
};

/* A place in a directory. */
struct ext2_slot {
	uint64_t	lbn;		/* block */
	uint32_t	off;		/* of the entry in it */
	uint64_t	ino;		/* whom it names */
};

/* rec_len has 16 bits; a whole block of 64 KiB is said as 65535. */
static inline void
ext2_set_rec_len(struct ext2_dirent *de, uint32_t len)
{
	de->rec_len = len == 65536 ? 65535 : (uint16_t)len;
}

#define VTOI(vp)	((struct ext2_inode *)(vp)->v_data)
#define MTOE(mp)	((struct ext2_mount *)(mp)->mnt_data)

/* Device block (512-byte units) of a filesystem block. */
static inline daddr_t
ext2_devblk(const struct ext2_mount *em, uint64_t block)
{
	return ((daddr_t)(block << (em->em_bshift - DEV_BSHIFT)));
}

extern const struct vfsops ext2_vfsops;
extern const struct vnodeops ext2_vnodeops;

/* ext2_super.c: the checks of a mount.  No I/O and no locks: tests feed them what they like. */
/*
 * Is this a volume that we can read?  Fills em's geometry.
 * => dev_bytes, sector_size: the device's.
 * => 0; EINVAL: not ext2; EOPNOTSUPP: not for us; EUCLEAN: damaged.  `why` says it in words (for 0:
 *    remarks, or "").
 */
int  ext2_super_check(const struct ext2_super *es, uint64_t dev_bytes, uint32_t sector_size,
	struct ext2_mount *em, char *why, size_t size);
/* Is this descriptor of group g sane?  Fills *out.  0 or EUCLEAN and why. */
int  ext2_group_check(const struct ext2_mount *em, uint32_t g, const struct ext2_group_desc *gd,
	struct ext2_group *out, char *why, size_t size);
/* Does group g begin with a copy of superblock and descriptors? */
bool ext2_group_has_super(const struct ext2_mount *em, uint32_t g);
/*
 * How many of the `count` blocks from `block` on may a file own, up to the first that it may not?
 */
uint64_t ext2_blocks_ok(const struct ext2_mount *em, uint64_t block, uint64_t count);
/* May a file own this block: inside the volume, and none of the filesystem's own? */
bool ext2_block_ok(const struct ext2_mount *em, uint64_t block);
/* First block of a group, and how many it has. */
uint64_t ext2_group_first(const struct ext2_mount *em, uint32_t g);
uint32_t ext2_group_blocks(const struct ext2_mount *em, uint32_t g);

/* ext2_inode.c */
/*
 * The vnode of an inode, referenced and unlocked; always the same one.  => sleeps; EUCLEAN, EIO,
 * ENFILE.
 */
int  ext2_vget(struct ext2_mount *em, uint64_t ino, struct vnode **vpp);
/*
 * Decode and check what the disk says about inode `ino`.  EUCLEAN, with a message, or 0 and ip
 * filled.
 */
int  ext2_inode_decode(struct ext2_mount *em, uint64_t ino, const struct ext2_dinode *di,
	struct ext2_inode *ip);
/* The inode loses its vnode.  => frees ip */
void ext2_inode_free(struct ext2_inode *ip);
/* A vnode with an empty inode that nobody can find yet, locked exclusively.  => sleeps; ENFILE. */
int  ext2_inode_new(struct ext2_mount *em, struct vnode **vpp);
/* Is this number nobody's, as the bitmap says?  => sleeps.  0; EUCLEAN: it is in use, which was said; EIO. */
int  ext2_ino_check_free(struct ext2_mount *em, uint64_t ino);
/* From now on the inode can be found by its number, or no longer. */
void ext2_inode_publish(struct ext2_inode *ip);
void ext2_inode_hide(struct ext2_inode *ip);
/* Where on the disk an inode lies: its block, and the byte in it. */
uint64_t ext2_inode_place(const struct ext2_mount *em, uint64_t ino, uint32_t *byte);
/* What the disk shall say about it. */
void ext2_inode_encode(const struct ext2_inode *ip, struct ext2_dinode *di);
uint16_t ext2_type_mode(enum vtype type);
/* A device's number, which lies where others have block pointers; 0 for what is no device.  => vnode locked */
uint32_t ext2_rdev(const struct ext2_inode *ip);
void ext2_rdev_set(struct ext2_inode *ip, uint32_t rdev);
enum vtype ext2_mode_type(uint16_t mode);
/* Is the target of this symbolic link in the inode itself? */
bool ext2_link_is_fast(const struct ext2_inode *ip);
/* One line, rate limited: "ext2: vda: ...". */
void ext2_complain(struct ext2_mount *em, const char *fmt, ...) __printflike(2, 3);
/* The same about damage: the volume will not be called clean.  Returns EUCLEAN. */
int  ext2_damaged(struct ext2_mount *em, const char *fmt, ...) __printflike(2, 3);

/* ext2_bmap.c */
/* => lbn >= 0.  false: beyond what the pointers can reach. */
bool ext2_find_path(const struct ext2_mount *em, uint64_t lbn, struct ext2_path *path);
int  ext2_bad_pointer(const struct ext2_inode *ip, const char *what, uint64_t lbn, uint32_t pointer);
/* Where logical block lbn lies.  => inode locked; sleeps; holds no buffer.  EFBIG, EUCLEAN, EIO. */
int  ext2_bmap_inode(struct ext2_inode *ip, daddr_t lbn, struct bmap *bm);

/* ext2_dir.c.  => directory locked; they sleep */
#define EXT2_DIRENT_MIN		8u	/* bytes of an entry without its name */
#define EXT2_DIRENT_LEN(namelen) roundup(EXT2_DIRENT_MIN + (uint32_t)(namelen), 4u)
/*
 * Check the entry at `off` in a directory block.  0, or EUCLEAN and *why.  No I/O: tests feed it
 * what they like.
 */
int  ext2_dirent_check(const struct ext2_mount *em, const void *block, uint32_t off,
	struct ext2_entry *out, const char **why);
int  ext2_dir_lookup(struct ext2_inode *dip, const char *name, size_t len, struct ext2_slot *slot);
int  ext2_dir_read(struct ext2_inode *dip, off_t *off, dirent_fn fn, void *arg);
/* Read a block.  0: *bpp busy. */
int  ext2_dir_block(struct ext2_inode *dip, uint64_t lbn, struct buf **bpp);
/*
 * Call fn for each entry of a block, unused ones included, from byte `from` of it on; nonzero
 * stops.
 * => returns 0, fn's result, or EUCLEAN (said so).
 */
typedef int (*ext2_entry_fn)(void *arg, const struct ext2_entry *entry, uint32_t off);
int  ext2_dir_scan(struct ext2_inode *dip, uint64_t lbn, const void *block, uint32_t from, ext2_entry_fn fn, void *arg);

/*
 * ---- writing ----
 *
 * Every change happens between ext2_begin() and ext2_end(), which keep the sync away: a sync sees
 * the whole of a change or nothing of it.
 * => in between: no vnode is locked or made, no page waited for, no second ext2_begin().
 */

/* ext2_sync.c */
/* May somebody change something?  => a vnode locked exclusively that the change begins with */
static inline bool
ext2_may_change(const struct ext2_mount *em)
{
	return (em->em_writable && !__atomic_load_n(&em->em_frozen, __ATOMIC_SEQ_CST));
}
/* may sync first, when much is waiting.  EROFS. */
int  ext2_begin(struct ext2_mount *em);
void ext2_end(struct ext2_mount *em);
/*
 * Write all metadata that waits, in the order that ext2_sync.c explains, and flush.  Afterwards
 * what was freed before can be used again.
 * => sleeps; not between ext2_begin() and ext2_end(); vnodes may be locked.  First error; then what
 *    was not written waits on.
 */
int  ext2_sync_metadata(struct ext2_mount *em);
/* the mount ends: what could not be written is lost */
void ext2_changes_discard(struct ext2_mount *em);
/* What was written is durable. */
int  ext2_flush(struct ext2_mount *em);
bool ext2_is_clean(struct ext2_mount *em);		/* nothing waits */
/*
 * The superblock's state, at once and flushed: mounted read-write, or clean.  => nothing else
 * waits.
 */
int  ext2_super_mark(struct ext2_mount *em, bool clean);
int  ext2_super_set_large_file(struct ext2_mount *em);
/* The record of an inode that is about to differ.  => between begin and end; sleeps for memory. */
struct ext2_change *ext2_change_get(struct ext2_mount *em, uint64_t ino);
/* what was to be born is not */
void ext2_change_drop(struct ext2_mount *em, struct ext2_change *c);
/* NULL: same as on disk */
struct ext2_change *ext2_change_find(struct ext2_mount *em, uint64_t ino);
/*
 * The inode changed; `only_times`: fdatasync need not care.  => between begin and end; vnode locked
 * exclusively.
 */
void ext2_iupdate(struct ext2_inode *ip, bool only_times);
/*
 * What the disk shall say about an inode, if that differs from what it says.  false: it does not.
 */
bool ext2_change_image(struct ext2_mount *em, uint64_t ino, struct ext2_dinode *di);

/* ext2_alloc.c: blocks */
/*
 * Promise n free blocks.  => not between begin and end: may sync to get at blocks freed lately.
 * ENOSPC.
 */
int  ext2_reserve(struct ext2_mount *em, struct ucred *cred, uint64_t n);
void ext2_unreserve(struct ext2_mount *em, uint64_t n);
/*
 * Up to `want` consecutive free blocks, at `goal` or as near behind it as can be; their bits are
 * set.
 * => room was reserved (the reservation stays the caller's).  0: *block, *got >= 1; ENOSPC (the
 *    counts were wrong), EIO.
 */
int  ext2_balloc(struct ext2_mount *em, uint64_t goal, uint32_t want, uint32_t *block, uint32_t *got);
/* Blocks that nothing on the disk has ever led to: free at once. */
void ext2_bfree_now(struct ext2_mount *em, uint32_t block, uint32_t count);
/* Blocks that the disk leads to: free after the next sync. */
void ext2_bfree(struct ext2_mount *em, uint32_t block, uint32_t count);
/* the same for a metadata block, whose buffer is dropped */
void ext2_meta_free(struct ext2_mount *em, uint32_t block);
/* The first bit of a bitmap from `from` on whose value is `set`, or `end`. */
uint32_t ext2_bit_find(const uint8_t *map, uint32_t from, uint32_t end, bool set);
/* After a sync: what was freed is free.  => em_oplock exclusive; sleeps */
int  ext2_freed_apply(struct ext2_mount *em);
void ext2_freed_discard(struct ext2_mount *em);
void ext2_freed_add(struct ext2_mount *em, bool inode, uint32_t first, uint32_t count);

/* ext2_ialloc.c: inodes */
/* ENOSPC, EIO */
int  ext2_ialloc(struct ext2_mount *em, const struct ext2_inode *dip, bool dir, uint64_t *ino);
/* it never was on the disk */
void ext2_ifree_now(struct ext2_mount *em, uint64_t ino, bool dir);
void ext2_ifree(struct ext2_mount *em, uint64_t ino, bool dir);		/* after the next sync */
int  ext2_ifree_apply(struct ext2_mount *em, uint64_t ino, uint32_t count);
/* a block in its group */
uint64_t ext2_inode_goal(const struct ext2_mount *em, uint64_t ino);

/*
 * ext2_delay.c: room reserved for blocks not placed yet.  => vnode locked exclusively; not between
 * begin and end
 */
/* ENOSPC, EIO, EUCLEAN */
int  ext2_delay_add(struct ext2_inode *ip, struct ucred *cred, uint64_t lbn, uint64_t count);
void ext2_delay_remove(struct ext2_inode *ip, uint64_t lbn, uint64_t count);
bool ext2_delay_has(const struct ext2_inode *ip, uint64_t lbn);

/* ext2_balloc.c: giving blocks to files.  => vnode locked exclusively */
/*
 * Blocks for the hole [lbn, lbn + want).  They belong to nobody yet.  => as ext2_balloc()
 */
int  ext2_place(struct ext2_inode *ip, uint64_t lbn, uint32_t want, uint32_t *block, uint32_t *got);
/*
 * Enter [block, + count) as the file's blocks from lbn on.  => between begin and end; room for
 * pointer blocks reserved.
 * => *done: how many were entered.  0, EIO, EUCLEAN, ENOSPC, EFBIG.
 */
int  ext2_enter(struct ext2_inode *ip, uint64_t lbn, uint32_t block, uint32_t count, uint32_t *done);
/* at most so many may be new */
uint64_t ext2_pointer_blocks(const struct ext2_mount *em, uint64_t lbn, uint64_t count);

/* ext2_write.c, ext2_truncate.c.  => vnode locked exclusively */
int  ext2_write(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred);
int  ext2_setsize(struct vnode *vp, uint64_t size, struct ucred *cred);		/* both ways */
/* free all blocks from `keep` on */
int  ext2_truncate_blocks(struct ext2_inode *ip, uint64_t keep);
int  ext2_delete(struct ext2_inode *ip);		/* nobody needs it any more */
uint64_t ext2_size_max(const struct ext2_mount *em);

/* ext2_dirmod.c.  => directory locked exclusively */
/*
 * Find or make room for a name; what it may need to grow is reserved in *reserved.  => not between
 * begin and end; sleeps
 */
int  ext2_dir_prepare(struct ext2_inode *dip, const char *name, size_t len, struct ext2_slot *slot, uint64_t *reserved);
int  ext2_dir_add(struct ext2_inode *dip, const struct ext2_slot *slot, const char *name, size_t len, uint64_t ino, enum vtype type);
int  ext2_dir_remove(struct ext2_inode *dip, const struct ext2_slot *slot);
/* The name leads to another inode from now on.  => between begin and end */
int  ext2_dir_replace(struct ext2_inode *dip, const struct ext2_slot *slot, uint64_t ino, enum vtype type);
int  ext2_dir_set_parent(struct ext2_inode *dip, uint64_t ino);
bool ext2_dir_rename_in_place(struct ext2_inode *dip, const struct ext2_slot *slot, const char *name, size_t len, int *error);
void ext2_dir_init_block(const struct ext2_mount *em, void *block, uint64_t self, uint64_t parent);
int  ext2_dir_empty(struct ext2_inode *dip);		/* 0 or ENOTEMPTY, EIO, EUCLEAN */
/* before the first change of an indexed directory */
int  ext2_dir_unindex(struct ext2_inode *dip);

/* An entry's name, inode and type; not its length. */
void ext2_dirent_fill(const struct ext2_mount *em, struct ext2_dirent *de, const char *name, size_t len, uint64_t ino,
    enum vtype type);

/* ext2_dirhash.c: the index of a big directory, if there is one.  => directory locked */
/* false: there is none; else *error is 0 and *slot filled, or ENOENT, EIO, EUCLEAN.  => sleeps */
bool ext2_dirhash_lookup(struct ext2_inode *dip, const char *name, size_t len, struct ext2_slot *slot, int *error);
/* Can a block have room for a new entry of `need` bytes? */
bool ext2_dirhash_may_fit(const struct ext2_inode *dip, uint64_t lbn, uint32_t need);
/* What follows: => locked exclusively. */
void ext2_dirhash_no_fit(struct ext2_inode *dip, uint64_t lbn, uint32_t need);	/* it has none */
void ext2_dirhash_add(struct ext2_inode *dip, uint64_t lbn, uint32_t off, const char *name, size_t len);
void ext2_dirhash_remove(struct ext2_inode *dip, uint64_t lbn, uint32_t off, const char *name, size_t len);
void ext2_dirhash_drop(struct ext2_inode *dip);

/* ext2_shelter.c */
/* lost+found, referenced, or NULL: there is none to be used.  => no vnode locked; sleeps */
struct vnode *ext2_shelter_open(struct ext2_mount *em);
/*
 * Write the names of the files that are c_replaced, as many as have room, and mark these
 * c_sheltered.  => em_oplock exclusive, em_lostfound set; *lbn is for ext2_shelter_clear().
 */
int  ext2_shelter_write(struct ext2_mount *em, uint64_t *lbn);
int  ext2_shelter_clear(struct ext2_mount *em, uint64_t lbn);	/* their names go again */

/* ext2_names.c, ext2_rename.c: vnode operations */
int  ext2_create(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp);
int  ext2_mkdir(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp);
int  ext2_symlink(struct vnode *dvp, const char *name, size_t len, const char *target, const struct vattr *va, struct vnode **vpp);
int  ext2_link(struct vnode *dvp, const char *name, size_t len, struct vnode *vp);
int  ext2_remove(struct vnode *dvp, const char *name, size_t len);
int  ext2_rmdir(struct vnode *dvp, const char *name, size_t len);
int  ext2_rename(struct vnode *fdvp, const char *fname, size_t flen, struct vnode *tdvp, const char *tname, size_t tlen,
	    int rules);
/* What they share.  => directories and files locked exclusively */
/* EROFS, ENOTDIR, ENOENT, ENAMETOOLONG */
int  ext2_name_check(const struct ext2_inode *dip, const char *name, size_t len);
bool ext2_name_is_dots(const char *name, size_t len);
int  ext2_name_add(struct ext2_inode *dip, const struct ext2_slot *slot, const char *name, size_t len, struct ext2_inode *ip);
void ext2_nameless(struct vnode *vp);			/* its object goes with its last user */
void ext2_orphaned(struct ext2_inode *ip);		/* its last name went */
int  ext2_name_drop(struct ext2_inode *dip, const struct ext2_slot *slot, struct ext2_inode *ip);
/* A name shall go, others stay: is one of those that stay not on the disk yet?  Then write it. */
int  ext2_names_settle(struct ext2_inode *ip);
/* ip takes over the name of `old`, whose link goes.  => between begin and end */
int  ext2_name_replace(struct ext2_inode *dip, const struct ext2_slot *slot, struct ext2_inode *ip, struct ext2_inode *old);

#endif
