/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Damaged volumes.
 *
 * Suite `damage` has two halves.  The first feeds the validators superblocks, descriptors, inodes
 * and directory entries that are wrong in one place each, in memory.  The second walks whatever
 * volume the first disk holds: every directory, every name, every block, every file, as far as the
 * walk's own bounds allow.  It must end, whatever is there; the host makes the damaged volumes
 * (tests/host/damage.py) and says on the command line, as damage=WORD, what it expects:
 *
 *	refuse	mounting fails			errors	mounting fails, or the walk meets an error
 *	none, readonly	no error at all		any	the kernel survives
 *
 * After the walk the volume is written to (t_damage_write.c).
 */
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/malloc.h"
#include "tests/kernel/damage.h"
#include "tests/kernel/ktest.h"

static MALLOC_DEFINE(M_TDAMAGE, "damage tests");

/* ---- validators ---- */

#define WHY	160

/* A sound superblock: 16384 blocks of 1 KiB in two groups. */
static void
sound_super(struct ext2_super *es)
{
	memset(es, 0, sizeof(*es));
	es->s_magic = EXT2_MAGIC;
	es->s_rev_level = 1;
	es->s_inodes_count = 4096;
	es->s_blocks_count = 16384;
	es->s_first_data_block = 1;
	es->s_blocks_per_group = 8192;
	es->s_inodes_per_group = 2048;
	es->s_first_ino = 11;
	es->s_inode_size = 128;
	es->s_feature_incompat = EXT2_INCOMPAT_FILETYPE;
	es->s_feature_ro_compat = EXT2_ROCOMPAT_SPARSE_SUPER;
}

/*
 * Check a superblock that differs from a sound one in `size` bytes at `off`; the sentence must
 * contain `words`.
 */
static void
try_super(size_t off, size_t size, uint64_t value, int want, const char *words)
{
	struct ext2_super *es = kmalloc(sizeof(*es), &M_TDAMAGE, M_WAITOK);
	struct ext2_mount *em = kmalloc(sizeof(*em), &M_TDAMAGE, M_WAITOK | M_ZERO);
	char why[WHY];
	int error;

	sound_super(es);
	memcpy((char *)es + off, &value, size);
	error = ext2_super_check(es, 16 * MiB, 512, em, why, sizeof(why));
	if (error != want || strstr(why, words) == NULL)
		ktest_fail(__FILE__, __LINE__, "superblock byte %lu = 0x%lx: %s \"%s\"; expected %s \"%s\"", off,
		    value, errno_name(error), why, errno_name(want), words);
	kfree(es, &M_TDAMAGE);
	kfree(em, &M_TDAMAGE);
}
#define TRY_SUPER(field, value, want, words) \
	try_super(offsetof(struct ext2_super, field), sizeof(((struct ext2_super *)0)->field), value, want, words)

KTEST(damage, superblock_is_checked)
{
	TRY_SUPER(s_magic, EXT2_MAGIC, 0, "");
	TRY_SUPER(s_magic, 0, EINVAL, "magic");
	TRY_SUPER(s_rev_level, 2, EOPNOTSUPP, "revision 2");
	TRY_SUPER(s_log_block_size, 7, EUCLEAN, "1024 << 7");
	TRY_SUPER(s_log_block_size, 0xffffffff, EUCLEAN, "block size");
	TRY_SUPER(s_inode_size, 0, EUCLEAN, "inode size");
	TRY_SUPER(s_inode_size, 192, EUCLEAN, "power of two");
	TRY_SUPER(s_inode_size, 2048, EUCLEAN, "inode size");
	TRY_SUPER(s_first_ino, 3, EUCLEAN, "first free inode");
	TRY_SUPER(s_first_ino, 5000, EUCLEAN, "inodes");
	TRY_SUPER(s_first_data_block, 0, EUCLEAN, "first data block");
	TRY_SUPER(s_first_data_block, 0xffffffff, EUCLEAN, "first data block");
	TRY_SUPER(s_blocks_per_group, 0, EUCLEAN, "blocks per group");
	TRY_SUPER(s_blocks_per_group, 8193, EUCLEAN, "blocks per group");
	TRY_SUPER(s_blocks_per_group, 200, EUCLEAN, "inodes in");
	TRY_SUPER(s_inodes_per_group, 0, EUCLEAN, "inodes per group");
	TRY_SUPER(s_inodes_per_group, 0xffffffff, EUCLEAN, "inodes per group");
	TRY_SUPER(s_inodes_count, 4095, EUCLEAN, "4095 inodes in 2 groups");
	TRY_SUPER(s_blocks_count, 0, EUCLEAN, "volume has 0 blocks");
	TRY_SUPER(s_blocks_count, 0xffffffff, EUCLEAN, "device only");
	TRY_SUPER(s_blocks_count, 16385, EUCLEAN, "device only");
	TRY_SUPER(s_free_blocks_count, 16385, EUCLEAN, "16385 blocks free");
	TRY_SUPER(s_free_inodes_count, 4097, EUCLEAN, "4097 inodes free");
}

KTEST(damage, features_are_refused_by_name)
{
	TRY_SUPER(s_feature_incompat, 0, 0, "");
	TRY_SUPER(s_feature_incompat, 0x42, EOPNOTSUPP, "extents");
	TRY_SUPER(s_feature_incompat, 0x80, EOPNOTSUPP, "64bit");
	TRY_SUPER(s_feature_incompat, 0x08, EOPNOTSUPP, "journal_dev");
	TRY_SUPER(s_feature_incompat, 0x10, EOPNOTSUPP, "meta_bg");
	TRY_SUPER(s_feature_incompat, 0x01, EOPNOTSUPP, "compression");
	TRY_SUPER(s_feature_incompat, 0x04, EOPNOTSUPP, "needs_recovery");
	TRY_SUPER(s_feature_incompat, 0x80000002, EOPNOTSUPP, "0x80000000");
	TRY_SUPER(s_feature_ro_compat, 0x401, 0, "metadata_csum");
	TRY_SUPER(s_feature_ro_compat, 0x80000001, 0, "0x80000000");
	TRY_SUPER(s_feature_compat, 0xffffffff, 0, "");		/* compatible: of no concern */
}

/* A mount of the sound superblock, with both groups as mke2fs would lay them out. */
static struct ext2_mount *
sound_mount(void)
{
	struct ext2_mount *em = kmalloc(sizeof(*em), &M_TDAMAGE, M_WAITOK | M_ZERO);
	struct ext2_super *es = kmalloc(sizeof(*es), &M_TDAMAGE, M_WAITOK);
	char why[WHY];

	sound_super(es);
	CHECK_EQ(ext2_super_check(es, 16 * MiB, 512, em, why, sizeof(why)), 0);
	kfree(es, &M_TDAMAGE);
	strlcpy(em->em_name, "test", sizeof(em->em_name));
	em->em_groups = kmalloc(em->em_ngroups * sizeof(em->em_groups[0]), &M_TDAMAGE, M_WAITOK);
	for (uint32_t g = 0; g < em->em_ngroups; g++) {
		uint32_t first = 1 + g * 8192;
		struct ext2_group_desc gd = {
			.bg_block_bitmap = first + 2, .bg_inode_bitmap = first + 3, .bg_inode_table = first + 4,
		};

		CHECK_EQ(ext2_group_check(em, g, &gd, &em->em_groups[g], why, sizeof(why)), 0);
	}
	return (em);
}

static void
free_mount(struct ext2_mount *em)
{
	kfree(em->em_groups, &M_TDAMAGE);
	kfree(em, &M_TDAMAGE);
}

KTEST(damage, group_descriptors_are_checked)
{
	static const struct {
		uint32_t g, block_bitmap, inode_bitmap, inode_table;
		const char *words;
	} bad[] = {
		{ 0, 0, 4, 5, "group 0: block bitmap at 0" },
		{ 0, 3, 0xffffffff, 5, "inode bitmap at 4294967295" },
		{ 0, 3, 4, 7938, "inode table at 7938" },	/* reaches into the next group */
		{ 0, 3, 4, 0xffffffff, "inode table" },
		{ 0, 2, 4, 5, "block bitmap at 2 lies in the superblock" },
		{ 0, 3, 3, 5, "inode bitmap at 3 lies in the block bitmap" },
		{ 0, 100, 4, 5, "inode table at 5 lies in the block bitmap" },
		{ 1, 3, 8196, 8197, "group 1: block bitmap at 3" },
		{ 1, 8195, 8196, 16200, "inode table at 16200" },	/* past the volume's end */
	};
	struct ext2_mount *em = sound_mount();
	struct ext2_group out;
	char why[WHY];

	for (size_t i = 0; i < nitems(bad); i++) {
		struct ext2_group_desc gd = {
			.bg_block_bitmap = bad[i].block_bitmap, .bg_inode_bitmap = bad[i].inode_bitmap,
			.bg_inode_table = bad[i].inode_table,
		};

		why[0] = '\0';
		if (ext2_group_check(em, bad[i].g, &gd, &out, why, sizeof(why)) != EUCLEAN ||
		    strstr(why, bad[i].words) == NULL)
			ktest_fail(__FILE__, __LINE__, "descriptor %lu: \"%s\", expected \"%s\"", i, why,
			    bad[i].words);
	}
	free_mount(em);
}

KTEST(damage, files_may_not_own_the_filesystems_blocks)
{
	struct ext2_mount *em = sound_mount();

	CHECK(em->em_itable_blocks == 256 && em->em_super_blocks == 2);
	CHECK(!ext2_block_ok(em, 0));			/* boot block */
	CHECK(!ext2_block_ok(em, 1));			/* superblock */
	CHECK(!ext2_block_ok(em, 2));			/* descriptors */
	CHECK(!ext2_block_ok(em, 3) && !ext2_block_ok(em, 4));	/* bitmaps */
	CHECK(!ext2_block_ok(em, 5) && !ext2_block_ok(em, 260));	/* inode table */
	CHECK(ext2_block_ok(em, 261) && ext2_block_ok(em, 8192));
	CHECK(!ext2_block_ok(em, 8193) && !ext2_block_ok(em, 8197 + 255));
	CHECK(ext2_block_ok(em, 8197 + 256) && ext2_block_ok(em, 16383));
	CHECK(!ext2_block_ok(em, 16384) && !ext2_block_ok(em, 0xffffffff));
	free_mount(em);
}

static const struct ext2_dinode sound_file = {
	.i_mode = EXT2_IFREG | 0644, .i_size = 3000, .i_links_count = 1, .i_blocks = 6,
	.i_block = { 1000, 1001, 1002 },
};

/* Decode an inode; it must be refused (or not). */
static void
try_inode(struct ext2_mount *em, const struct ext2_dinode *di, int want, int line)
{
	struct ext2_inode ip;
	int error = ext2_inode_decode(em, 14, di, &ip);

	if (error != want)
		ktest_fail(__FILE__, line, "inode with mode 0%o, size 0x%x%08x: %s, expected %s", di->i_mode,
		    di->i_size_high, di->i_size, errno_name(error), errno_name(want));
}
#define TRY_INODE(want, ...) do {							\
	struct ext2_dinode _di = sound_file;						\
	__VA_ARGS__;									\
	try_inode(em, &_di, want, __LINE__);						\
} while (0)

KTEST(damage, inodes_are_checked)
{
	struct ext2_mount *em = sound_mount();

	/* no need to read them all */
	em->em_messages = (struct ratelimit)RATELIMIT_INITIALIZER(0, 1000);
	TRY_INODE(0, (void)0);
	TRY_INODE(EUCLEAN, _di.i_links_count = 0);
	TRY_INODE(EUCLEAN, _di.i_mode = 0644);
	TRY_INODE(EUCLEAN, _di.i_mode = 0xf000);
	TRY_INODE(EUCLEAN, _di.i_flags = EXT2_FL_EXTENTS);
	TRY_INODE(EUCLEAN, _di.i_blocks = 16384 * 2 + 1);
	TRY_INODE(EUCLEAN, _di.i_file_acl = 16384);
	TRY_INODE(EUCLEAN, _di.i_size_high = 0x80000000);
	TRY_INODE(EUCLEAN, _di.i_size_high = 0x7fffffff);
	/* just over 16 GiB: what 1 KiB blocks can reach is more */
	TRY_INODE(0, _di.i_size_high = 4);
	TRY_INODE(EUCLEAN, _di.i_size_high = 5);
	TRY_INODE(EUCLEAN, _di.i_mode = EXT2_IFDIR | 0755);
	TRY_INODE(0, _di.i_mode = EXT2_IFDIR | 0755; _di.i_size = 2048);
	/* an ACL there */
	TRY_INODE(0, _di.i_mode = EXT2_IFDIR | 0755; _di.i_size = 2048; _di.i_size_high = 1);
	TRY_INODE(EUCLEAN, _di.i_mode = EXT2_IFDIR | 0755; _di.i_size = 0);
	TRY_INODE(EUCLEAN, _di.i_mode = EXT2_IFDIR | 0755; _di.i_size = 0xfffffc00);
	TRY_INODE(EUCLEAN, _di.i_mode = EXT2_IFLNK | 0777; _di.i_size = 0);
	TRY_INODE(EUCLEAN, _di.i_mode = EXT2_IFLNK | 0777; _di.i_size = 1025);
	TRY_INODE(0, _di.i_mode = EXT2_IFLNK | 0777; _di.i_size = 1023);
	TRY_INODE(EUCLEAN, _di.i_mode = EXT2_IFLNK | 0777; _di.i_size = 60; _di.i_blocks = 0);
	TRY_INODE(0, _di.i_mode = EXT2_IFLNK | 0777; _di.i_size = 59; _di.i_blocks = 0);
	TRY_INODE(0, _di.i_mode = EXT2_IFIFO | 0600; _di.i_size = 0; _di.i_blocks = 0);
	free_mount(em);
}

/* Put an entry into a block and check it. */
static void
try_entry(struct ext2_mount *em, uint32_t off, const struct ext2_dirent *de, const char *name,
    const char *words)
{
	char *block = kmalloc(em->em_bsize, &M_TDAMAGE, M_WAITOK | M_ZERO);
	struct ext2_entry out;
	const char *why;
	int error;

	memcpy(block + off, de, MIN(sizeof(*de), em->em_bsize - off));
	if (name != NULL && off + sizeof(*de) + strlen(name) <= em->em_bsize)
		memcpy(block + off + sizeof(*de), name, strlen(name));
	error = ext2_dirent_check(em, block, off, &out, &why);
	if (words == NULL ? error != 0 : error != EUCLEAN || strstr(why, words) == NULL)
		ktest_fail(__FILE__, __LINE__, "entry at %u, length %u: %s, expected %s", off, de->rec_len,
		    why != NULL ? why : "accepted", words != NULL ? words : "to be accepted");
	kfree(block, &M_TDAMAGE);
}
#define ENTRY(ino, rec, namelen)	(&(struct ext2_dirent){ (ino), (rec), (namelen), 1 })

KTEST(damage, directory_entries_are_checked)
{
	struct ext2_mount *em = sound_mount();

	try_entry(em, 0, ENTRY(12, 1024, 5), "hello", NULL);
	try_entry(em, 0, ENTRY(12, 16, 5), "hello", NULL);
	try_entry(em, 1012, ENTRY(12, 12, 4), "four", NULL);
	try_entry(em, 1016, ENTRY(0, 8, 0), NULL, NULL);
	/* unused: the name does not matter */
	try_entry(em, 0, ENTRY(0, 1024, 200), NULL, NULL);
	try_entry(em, 0, ENTRY(12, 0, 5), "hello", "impossible length");
	try_entry(em, 0, ENTRY(12, 4, 5), "hello", "impossible length");
	try_entry(em, 0, ENTRY(12, 18, 5), "hello", "impossible length");
	try_entry(em, 0, ENTRY(12, 1028, 5), "hello", "longer than the rest");
	try_entry(em, 512, ENTRY(12, 516, 5), "hello", "longer than the rest");
	try_entry(em, 0, ENTRY(12, 0xffff, 5), "hello", "impossible length");
	try_entry(em, 0, ENTRY(12, 12, 5), "hello", "longer than itself");
	try_entry(em, 1008, ENTRY(12, 16, 255), "hello", "longer than itself");
	try_entry(em, 0, ENTRY(4097, 16, 5), "hello", "does not have");
	try_entry(em, 0, ENTRY(0xffffffff, 16, 5), "hello", "does not have");
	try_entry(em, 0, ENTRY(12, 16, 0), NULL, "name of impossible length");
	try_entry(em, 0, ENTRY(12, 16, 5), "he/lo", "slash");
	try_entry(em, 0, ENTRY(12, 16, 6), "hello", "NUL");
	try_entry(em, 1020, ENTRY(12, 16, 5), NULL, "does not fit");
	em->em_bsize = 65536;			/* whose length does not fit into 16 bits */
	try_entry(em, 0, ENTRY(0, 0, 0), NULL, NULL);
	try_entry(em, 0, ENTRY(12, 0xffff, 5), "hello", NULL);
	try_entry(em, 4, ENTRY(12, 0xffff, 5), "hello", "longer than the rest");
	try_entry(em, 4, ENTRY(12, 0xfffc, 5), "hello", NULL);
	em->em_bsize = 1024;
	em->em_incompat = 0;
	/* file_type is a length here */
	try_entry(em, 0, ENTRY(12, 16, 5), "hello", "name of impossible length");
	free_mount(em);
}

/* ---- the walk ---- */

#define DIRS_MAX	256
#define NAMES_MAX	5000
#define BLOCKS_MAX	20000		/* of one file */
#define READ_MAX	(2 * MiB)	/* of one file */

struct walk {
	struct vnode	*dirs[DIRS_MAX];	/* referenced; the first `next` are done */
	size_t		 ndirs, next;
	char		 (*names)[256];		/* of the directory at hand */
	size_t		 nnames;
	char		*buf;			/* 16 KiB */
	size_t		 entries, files, links, errors;
	uint64_t	 bytes, blocks;
};

#define NAMES_AT_ONCE	64

static void
walk_error(struct walk *w, const struct vnode *vp, const char *what, int error)
{
	if (w->errors++ == 0)
		printf("# first error: inode %lu: %s: %s\n", vp->v_ino, what, errno_name(error));
}

static int
take_name(void *arg, const struct dirent *de)
{
	struct walk *w = arg;

	if (w->nnames == NAMES_AT_ONCE)
		return (1);
	strlcpy(w->names[w->nnames++], de->d_name, sizeof(w->names[0]));
	return (0);
}

/* Ask for every block of a file. */
static void
walk_blocks(struct walk *w, struct vnode *vp, uint64_t size)
{
	uint64_t blocks = howmany(size, (uint64_t)vp->v_mount->mnt_stat.f_iosize);
	struct bmap bm;
	int error;

	for (uint64_t lbn = 0, n = 0; lbn < blocks && n < BLOCKS_MAX; lbn++, n++) {
		VOP_LOCK(vp, LK_SHARED);
		error = VOP_BMAP(vp, (daddr_t)lbn, NULL, &bm);
		VOP_UNLOCK(vp);
		w->blocks++;
		if (error != 0)
			walk_error(w, vp, "bmap", error);
		else if (bm.hole)
			lbn += bm.ahead;
	}
}

static void
walk_file(struct walk *w, struct vnode *vp)
{
	uint64_t size = 0, off;
	size_t done;
	int error;

	w->files++;
	error = vn_size(vp, &size);
	if (error != 0)
		walk_error(w, vp, "getattr", error);
	walk_blocks(w, vp, size);
	for (off = 0; off < MIN(size, READ_MAX); off += 16 * KiB) {
		error = vn_read(vp, w->buf, 16 * KiB, (off_t)off, &done);
		w->bytes += done;
		if (error != 0)
			walk_error(w, vp, "read", error);
	}
	if (size > READ_MAX && (error = vn_read(vp, w->buf, 16 * KiB, (off_t)(size - 1000), &done)) != 0)
		walk_error(w, vp, "read at the end", error);
}

static void
walk_link(struct walk *w, struct vnode *vp, struct vnode *dvp, const char *name)
{
	struct vnode *target;
	size_t len;
	int error;

	w->links++;
	VOP_LOCK(vp, LK_SHARED);
	error = VOP_READLINK(vp, w->buf, PATH_MAX, &len);
	VOP_UNLOCK(vp);
	if (error != 0)
		walk_error(w, vp, "readlink", error);
	else if (namei(name, dvp, 0, &target) == 0)	/* dangling is no damage */
		vrele(target);
}

/* Remember a directory, once.  => vp referenced; the reference is given up */
static void
walk_remember(struct walk *w, struct vnode *vp)
{
	for (size_t i = 0; i < w->ndirs; i++) {
		if (w->dirs[i] == vp) {
			vrele(vp);
			return;
		}
	}
	if (w->ndirs < DIRS_MAX)
		w->dirs[w->ndirs++] = vp;
	else
		vrele(vp);
}

static void
walk_name(struct walk *w, struct vnode *dvp, const char *name)
{
	struct vnode *vp;
	int error;

	w->entries++;
	error = namei(name, dvp, NAMEI_NOFOLLOW, &vp);
	if (error != 0) {
		walk_error(w, dvp, name, error);
		return;
	}
	if (vp->v_type == VDIR) {
		walk_remember(w, vp);
		return;
	}
	if (vp->v_type == VREG)
		walk_file(w, vp);
	else if (vp->v_type == VLNK)
		walk_link(w, vp, dvp, name);
	vrele(vp);
}

static void
walk_directory(struct walk *w, struct vnode *dvp)
{
	off_t off = 0;
	int error;

	do {
		w->nnames = 0;
		VOP_LOCK(dvp, LK_SHARED);
		error = VOP_READDIR(dvp, &off, take_name, w);
		VOP_UNLOCK(dvp);
		if (error != 0)
			walk_error(w, dvp, "readdir", error);
		for (size_t i = 0; i < w->nnames; i++)
			walk_name(w, dvp, w->names[i]);
	} while (error == 0 && w->nnames > 0 && w->entries < NAMES_MAX);
}

size_t
walk_volume(struct mount *mp)
{
	struct walk *w = kmalloc(sizeof(*w), &M_TDAMAGE, M_WAITOK | M_ZERO);
	size_t errors = 1;

	w->names = kmalloc(NAMES_AT_ONCE * sizeof(w->names[0]), &M_TDAMAGE, M_WAITOK);
	w->buf = kmalloc(16 * KiB, &M_TDAMAGE, M_WAITOK);
	if (CHECK_EQ(VFS_ROOT(mp, &w->dirs[0]), 0)) {
		for (w->ndirs = 1; w->next < w->ndirs; w->next++)
			walk_directory(w, w->dirs[w->next]);
		errors = w->errors;
		for (size_t i = 0; i < w->ndirs; i++)
			vrele(w->dirs[i]);
	}
	printf("# walked %lu directories, %lu entries, %lu files, %lu links, %lu blocks, %lu bytes; %lu errors\n",
	    w->ndirs, w->entries, w->files, w->links, w->blocks, w->bytes, w->errors);
	kfree(w->buf, &M_TDAMAGE);
	kfree(w->names, &M_TDAMAGE);
	kfree(w, &M_TDAMAGE);
	return (errors);
}

KTEST(damage, volume_is_refused_or_walked_to_the_end)
{
	const char *want = cmdline_get("damage");
	const char *name = cmdline_get("volume") != NULL ? cmdline_get("volume") : "vda";
	struct disk *disk = disk_find(name);
	struct mount *mp = rootfs;
	bool root = rootfs != NULL && rootfs->mnt_devvp != NULL && rootfs->mnt_devvp->v_disk == disk;
	int error = 0;
	size_t errors = 0;

	if (disk == NULL) {
		ktest_skip("there is no disk %s", name);
		return;
	}
	if (want == NULL)
		want = "any";
	if (!root)
		error = vfs_mount("ext2", disk, NULL, MNT_RDONLY, &mp);
	if (error == 0)
		errors = walk_volume(mp);
	else
		printf("# mounting was refused: %s\n", errno_name(error));
	if (streq(want, "refuse"))
		CHECK(error != 0);
	else if (streq(want, "errors"))
		CHECK(error != 0 || errors > 0);
	else if (!streq(want, "any"))
		CHECK(error == 0 && errors == 0);
	if (!root && error == 0)
		CHECK_EQ(vfs_unmount(mp), 0);
	if (root && cmdline_get("damage") != NULL)
		scribble("", streq(want, "errors") || streq(want, "none"));
}
