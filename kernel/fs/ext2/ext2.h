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
 * (c) constant while mounted or while the vnode has this identity   (l) vnode_list_lock   (v) the vnode's lock
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
#define EXT2_FASTLINK_MAX	60	/* bytes of a link's target that fit in place of the pointers */
#define EXT2_BLOCK_SIZE_MIN	1024	/* bytes */
#define EXT2_BLOCK_SIZE_MAX	65536

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
	uint8_t		s_journal[44];
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

/* i_flags under which i_block is not what ext2 has there */
#define EXT2_FL_ENCRYPT		0x00000800u
#define EXT2_FL_EXTENTS		0x00080000u
#define EXT2_FL_INLINE_DATA	0x10000000u
#define EXT2_FL_FOREIGN		(EXT2_FL_ENCRYPT | EXT2_FL_EXTENTS | EXT2_FL_INLINE_DATA)

struct ext2_dirent {
	uint32_t	inode;			/* 0: unused */
	uint16_t	rec_len;		/* bytes to the next entry; see ext2_rec_len() */
	uint8_t		name_len;
	uint8_t		file_type;		/* with filetype; else the high byte of the length */
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

/* What we keep of a group. */
struct ext2_group {
	uint32_t	block_bitmap;
	uint32_t	inode_bitmap;
	uint32_t	inode_table;
};

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
	uint32_t		 em_super_blocks;	/* (c) superblock, descriptors and their reserve, where a group has them */
	uint32_t		 em_desc_blocks;	/* (c) blocks of group descriptors */
	uint32_t		 em_rev;	/* (c) */
	uint32_t		 em_compat, em_incompat, em_rocompat;	/* (c) */
	uint32_t		 em_backup_bgs[2];	/* (c) sparse_super2 */
	uint64_t		 em_size_max;	/* (c) bytes that the pointers of an inode can reach */
	struct ext2_group	*em_groups;	/* (c) em_ngroups of them, all checked */
	struct rb_tree		 em_vnodes;	/* (l) ext2_inodes that have a vnode, by number */
	struct ratelimit	 em_messages;	/* about damage */
};

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
	uint32_t	 i_block[EXT2_NPOINTERS];	/* (v) */
};

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
/* How many of the `count` blocks from `block` on may a file own, up to the first that it may not? */
uint64_t ext2_blocks_ok(const struct ext2_mount *em, uint64_t block, uint64_t count);
/* May a file own this block: inside the volume, and none of the filesystem's own? */
bool ext2_block_ok(const struct ext2_mount *em, uint64_t block);

/* ext2_inode.c */
/* The vnode of an inode, referenced and unlocked; always the same one.  => sleeps; EUCLEAN, EIO, ENFILE. */
int  ext2_vget(struct ext2_mount *em, uint64_t ino, struct vnode **vpp);
/* Decode and check what the disk says about inode `ino`.  EUCLEAN, with a message, or 0 and ip filled. */
int  ext2_inode_decode(struct ext2_mount *em, uint64_t ino, const struct ext2_dinode *di,
	struct ext2_inode *ip);
/* The inode loses its vnode.  => frees ip */
void ext2_inode_free(struct ext2_inode *ip);
/* Is the target of this symbolic link in the inode itself? */
bool ext2_link_is_fast(const struct ext2_inode *ip);
/* One line about damage, rate limited: "ext2: vda: ...".  Returns EUCLEAN. */
int  ext2_damaged(struct ext2_mount *em, const char *fmt, ...) __printflike(2, 3);

/* ext2_bmap.c */
/* Where logical block lbn lies.  => inode locked; sleeps; holds no buffer.  EFBIG, EUCLEAN, EIO. */
int  ext2_bmap_inode(struct ext2_inode *ip, daddr_t lbn, struct bmap *bm);

/* ext2_dir.c.  => directory locked; they sleep */
/*
 * Check the entry at `off` in a directory block.  0, or EUCLEAN and *why.  No I/O: tests feed it
 * what they like.
 */
int  ext2_dirent_check(const struct ext2_mount *em, const void *block, uint32_t off,
	struct ext2_entry *out, const char **why);
int  ext2_dir_lookup(struct ext2_inode *dip, const char *name, size_t len, uint64_t *ino);
int  ext2_dir_read(struct ext2_inode *dip, off_t *off, dirent_fn fn, void *arg);

#endif
