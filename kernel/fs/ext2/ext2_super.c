/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is this volume sound, and can we read it?
 *
 * The superblock and the group descriptors say where everything else lies, so they are checked
 * once, when the volume is mounted, and copied; after that the kernel computes with its own copies.
 * Every reason to refuse is a sentence.  Nothing in this file does I/O or takes a lock.
 *
 * What is checked, in this order, since each check relies on the ones before it: magic and
 * revision; block size; features; inode size; size against the device; groups (size against what
 * one bitmap block can describe, number, inodes in all of them together); and then, per group, that
 * its bitmaps and inode table lie in the group itself and do not overlap each other or the copies
 * at its front. (flex_bg would allow them elsewhere; it is an incompatible feature, and refused.)
 *
 * Since each group holds its own metadata, ext2_blocks_ok() can tell for any run of blocks, in
 * constant time for each group, how much of it a file may own.  That is what every block pointer is
 * tested with.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

#define GROUPS_MAX	(1 * MiB / sizeof(struct ext2_group))	/* kmalloc()'s limit */
#define OFF_MAX		((uint64_t)INT64_MAX)			/* off_t's */

struct feature {
	uint32_t	bit;
	const char	*name;		/* as mke2fs and dumpe2fs have it */
};

static const struct feature incompat_features[] = {
	{ 0x0001, "compression" }, { 0x0002, "filetype" }, { 0x0004, "needs_recovery" },
	{ 0x0008, "journal_dev" }, { 0x0010, "meta_bg" }, { 0x0040, "extents" }, { 0x0080, "64bit" },
	{ 0x0100, "mmp" }, { 0x0200, "flex_bg" }, { 0x0400, "ea_inode" }, { 0x1000, "dirdata" },
	{ 0x2000, "metadata_csum_seed" }, { 0x4000, "large_dir" }, { 0x8000, "inline_data" },
	{ 0x10000, "encrypt" }, { 0x20000, "casefold" },
};

static const struct feature rocompat_features[] = {
	{ 0x0001, "sparse_super" }, { 0x0002, "large_file" }, { 0x0004, "btree_dir" },
	{ 0x0008, "huge_file" }, { 0x0010, "uninit_bg" }, { 0x0020, "dir_nlink" },
	{ 0x0040, "extra_isize" }, { 0x0080, "has_snapshot" }, { 0x0100, "quota" },
	{ 0x0200, "bigalloc" }, { 0x0400, "metadata_csum" }, { 0x0800, "replica" },
	{ 0x1000, "read-only" }, { 0x2000, "project" }, { 0x4000, "shared_blocks" },
	{ 0x8000, "verity" },
};

/* Append the names of the features in `bits`; a bit without a name is given as a number. */
static void
features_name(uint32_t bits, const struct feature *table, size_t count, char *out, size_t size)
{
	char number[24];

	for (size_t i = 0; i < count; i++) {
		if ((bits & table[i].bit) == 0)
			continue;
		bits &= ~table[i].bit;
		strlcat(out, " ", size);
		strlcat(out, table[i].name, size);
	}
	if (bits != 0) {
		snprintf(number, sizeof(number), " 0x%x", bits);
		strlcat(out, number, size);
	}
}

/* Magic, revision, block size. */
static int
super_check_kind(const struct ext2_super *es, uint32_t sector_size, struct ext2_mount *em, char *why,
    size_t size)
{
	if (es->s_magic != EXT2_MAGIC) {
		snprintf(why, size, "no ext2 superblock (magic 0x%04x)", es->s_magic);
		return (EINVAL);
	}
	if (es->s_rev_level > 1) {
		snprintf(why, size, "revision %u; 0 and 1 are known", es->s_rev_level);
		return (EOPNOTSUPP);
	}
	if (es->s_log_block_size > 6) {
		snprintf(why, size, "block size is 1024 << %u; 1 KiB to 64 KiB are possible",
		    es->s_log_block_size);
		return (EUCLEAN);
	}
	em->em_rev = es->s_rev_level;
	em->em_bshift = 10 + es->s_log_block_size;
	em->em_bsize = 1u << em->em_bshift;
	em->em_ptr_shift = em->em_bshift - 2;
	if (em->em_bsize < sector_size) {
		snprintf(why, size, "blocks of %u bytes on a device with sectors of %u", em->em_bsize,
		    sector_size);
		return (EOPNOTSUPP);
	}
	return (0);
}

/* Features and inode size: revision 0 has neither fields nor features. */
static int
super_check_features(const struct ext2_super *es, struct ext2_mount *em, char *why, size_t size)
{
	uint32_t unknown;

	em->em_inode_size = EXT2_INODE_SIZE_REV0;
	em->em_first_ino = EXT2_FIRST_INO_REV0;
	if (em->em_rev == 0)
		return (0);
	em->em_compat = es->s_feature_compat;
	em->em_incompat = es->s_feature_incompat;
	em->em_rocompat = es->s_feature_ro_compat;
	unknown = em->em_incompat & ~EXT2_INCOMPAT_KNOWN;
	if (unknown != 0) {
		strlcpy(why, "needs features that ext2 does not have:", size);
		features_name(unknown, incompat_features, nitems(incompat_features), why, size);
		return (EOPNOTSUPP);
	}
	em->em_inode_size = es->s_inode_size;
	em->em_first_ino = es->s_first_ino;
	if (em->em_inode_size < EXT2_INODE_SIZE_REV0 || em->em_inode_size > em->em_bsize ||
	    (em->em_inode_size & (em->em_inode_size - 1)) != 0) {
		snprintf(why, size, "inode size is %u bytes, not a power of two from 128 to %u",
		    em->em_inode_size, em->em_bsize);
		return (EUCLEAN);
	}
	if (em->em_first_ino < EXT2_FIRST_INO_REV0) {
		snprintf(why, size, "first free inode is %u, below %u", em->em_first_ino,
		    EXT2_FIRST_INO_REV0);
		return (EUCLEAN);
	}
	unknown = em->em_rocompat & ~EXT2_ROCOMPAT_KNOWN;
	if (unknown != 0) {
		strlcpy(why, "only to be read because of", size);
		features_name(unknown, rocompat_features, nitems(rocompat_features), why, size);
	}
	return (0);
}

/* The volume's size: against itself and against the device. */
static int
super_check_size(const struct ext2_super *es, uint64_t dev_bytes, struct ext2_mount *em, char *why,
    size_t size)
{
	em->em_first_data = es->s_first_data_block;
	em->em_blocks = es->s_blocks_count;
	if (em->em_first_data != (em->em_bsize == 1024)) {
		snprintf(why, size, "first data block is %lu with blocks of %u bytes",
		    em->em_first_data, em->em_bsize);
		return (EUCLEAN);
	}
	if (em->em_blocks <= em->em_first_data) {
		snprintf(why, size, "volume has %lu blocks", em->em_blocks);
		return (EUCLEAN);
	}
	if (em->em_blocks > dev_bytes >> em->em_bshift) {
		snprintf(why, size, "volume has %lu blocks of %u bytes, the device only %lu",
		    em->em_blocks, em->em_bsize, dev_bytes >> em->em_bshift);
		return (EUCLEAN);
	}
	return (0);
}

/* Groups and inodes. */
static int
super_check_groups(const struct ext2_super *es, struct ext2_mount *em, char *why, size_t size)
{
	uint64_t bits = (uint64_t)em->em_bsize * 8;

	em->em_inodes = es->s_inodes_count;
	em->em_blocks_per_group = es->s_blocks_per_group;
	em->em_inodes_per_group = es->s_inodes_per_group;
	if (em->em_blocks_per_group == 0 || em->em_blocks_per_group > bits) {
		snprintf(why, size, "%u blocks per group; a bitmap block has %lu bits",
		    em->em_blocks_per_group, bits);
		return (EUCLEAN);
	}
	if (em->em_inodes_per_group == 0 || em->em_inodes_per_group > bits) {
		snprintf(why, size, "%u inodes per group; a bitmap block has %lu bits",
		    em->em_inodes_per_group, bits);
		return (EUCLEAN);
	}
	em->em_ngroups = (uint32_t)howmany(em->em_blocks - em->em_first_data, em->em_blocks_per_group);
	if (em->em_ngroups > GROUPS_MAX) {
		snprintf(why, size, "%u groups; this kernel has room for %lu", em->em_ngroups, GROUPS_MAX);
		return (EOPNOTSUPP);
	}
	if (em->em_inodes != (uint64_t)em->em_ngroups * em->em_inodes_per_group ||
	    em->em_inodes < em->em_first_ino) {
		snprintf(why, size, "%lu inodes in %u groups of %u", em->em_inodes, em->em_ngroups,
		    em->em_inodes_per_group);
		return (EUCLEAN);
	}
	return (0);
}

/* What follows from the geometry, and whether a group has room for its own metadata. */
static int
super_derive(const struct ext2_super *es, struct ext2_mount *em, char *why, size_t size)
{
	uint64_t pointers = 1ul << em->em_ptr_shift, reach;
	uint32_t reserved = 0;

	if ((em->em_compat & EXT2_COMPAT_RESIZE_INODE) != 0)
		reserved = es->s_reserved_gdt_blocks;
	em->em_backup_bgs[0] = es->s_backup_bgs[0];
	em->em_backup_bgs[1] = es->s_backup_bgs[1];
	em->em_itable_blocks = (uint32_t)howmany((uint64_t)em->em_inodes_per_group * em->em_inode_size,
	    em->em_bsize);
	em->em_desc_blocks = (uint32_t)howmany(em->em_ngroups * sizeof(struct ext2_group_desc),
	    em->em_bsize);
	em->em_super_blocks = 1 + em->em_desc_blocks + reserved;
	if ((uint64_t)em->em_super_blocks + em->em_itable_blocks + 2 > em->em_blocks_per_group) {
		snprintf(why, size, "a group of %u blocks cannot hold %u of inodes and %u of descriptors",
		    em->em_blocks_per_group, em->em_itable_blocks, em->em_super_blocks);
		return (EUCLEAN);
	}
	reach = EXT2_NDIRECT + pointers + pointers * pointers + pointers * pointers * pointers;
	em->em_size_max = reach > (OFF_MAX >> em->em_bshift) ? OFF_MAX :
	    reach << em->em_bshift;
	return (0);
}

/* The counts of what is free. */
static int
super_check_free(const struct ext2_super *es, const struct ext2_mount *em, char *why, size_t size)
{
	if (es->s_free_blocks_count > em->em_blocks || es->s_r_blocks_count > em->em_blocks) {
		snprintf(why, size, "%u blocks free and %u reserved of %lu", es->s_free_blocks_count,
		    es->s_r_blocks_count, em->em_blocks);
		return (EUCLEAN);
	}
	if (es->s_free_inodes_count > em->em_inodes) {
		snprintf(why, size, "%u inodes free of %lu", es->s_free_inodes_count, em->em_inodes);
		return (EUCLEAN);
	}
	return (0);
}

int
ext2_super_check(const struct ext2_super *es, uint64_t dev_bytes, uint32_t sector_size,
    struct ext2_mount *em, char *why, size_t size)
{
	int error;

	why[0] = '\0';
	error = super_check_kind(es, sector_size, em, why, size);
	if (error == 0)
		error = super_check_features(es, em, why, size);
	if (error == 0)
		error = super_check_size(es, dev_bytes, em, why, size);
	if (error == 0)
		error = super_check_groups(es, em, why, size);
	if (error == 0)
		error = super_derive(es, em, why, size);
	if (error == 0)
		error = super_check_free(es, em, why, size);
	return (error);
}

/* Is n a power of `base`? */
static bool
is_power(uint32_t n, uint32_t base)
{
	while (n > 1 && n % base == 0)
		n /= base;
	return (n == 1);
}

bool
ext2_group_has_super(const struct ext2_mount *em, uint32_t g)
{
	if (g == 0)
		return (true);
	if ((em->em_compat & EXT2_COMPAT_SPARSE_SUPER2) != 0)
		return (g == em->em_backup_bgs[0] || g == em->em_backup_bgs[1]);
	if ((em->em_rocompat & EXT2_ROCOMPAT_SPARSE_SUPER) == 0)
		return (true);
	return (is_power(g, 3) || is_power(g, 5) || is_power(g, 7));
}

uint64_t
ext2_group_first(const struct ext2_mount *em, uint32_t g)
{
	return (em->em_first_data + (uint64_t)g * em->em_blocks_per_group);
}

uint32_t
ext2_group_blocks(const struct ext2_mount *em, uint32_t g)
{
	return ((uint32_t)MIN((uint64_t)em->em_blocks_per_group, em->em_blocks - ext2_group_first(em, g)));
}

/* Do [a, a + alen) and [b, b + blen) share a block? */
static bool
overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return (a < b + blen && b < a + alen);
}

int
ext2_group_check(const struct ext2_mount *em, uint32_t g, const struct ext2_group_desc *gd,
    struct ext2_group *out, char *why, size_t size)
{
	uint64_t first = ext2_group_first(em, g);
	uint64_t end = first + ext2_group_blocks(em, g);
	const struct { const char *what; uint64_t at, len; } parts[] = {
		{ "superblock", first, ext2_group_has_super(em, g) ? em->em_super_blocks : 0 },
		{ "block bitmap", gd->bg_block_bitmap, 1 },
		{ "inode bitmap", gd->bg_inode_bitmap, 1 },
		{ "inode table", gd->bg_inode_table, em->em_itable_blocks },
	};

	for (size_t i = 0; i < nitems(parts); i++) {
		if (parts[i].at < first || parts[i].at + parts[i].len > end) {
			snprintf(why, size, "group %u: %s at %lu + %lu, group is %lu to %lu", g,
			    parts[i].what, parts[i].at, parts[i].len, first, end - 1);
			return (EUCLEAN);
		}
		for (size_t j = 0; j < i; j++) {
			if (parts[j].len == 0 ||
			    !overlap(parts[i].at, parts[i].len, parts[j].at, parts[j].len))
				continue;
			snprintf(why, size, "group %u: %s at %lu lies in the %s", g, parts[i].what,
			    parts[i].at, parts[j].what);
			return (EUCLEAN);
		}
	}
	out->block_bitmap = gd->bg_block_bitmap;
	out->inode_bitmap = gd->bg_inode_bitmap;
	out->inode_table = gd->bg_inode_table;
	/* Damaged counts shall not make us compute with nonsense; e2fsck mends them. */
	out->free_blocks = MIN((uint32_t)gd->bg_free_blocks_count, ext2_group_blocks(em, g));
	out->free_inodes = MIN((uint32_t)gd->bg_free_inodes_count, em->em_inodes_per_group);
	out->used_dirs = gd->bg_used_dirs_count;
	return (0);
}

/*
 * Cut a run of `len` blocks from `block` on where [from, from + count) begins; nothing is left if
 * it begins inside.
 */
static uint64_t
cut_at(uint64_t block, uint64_t len, uint64_t from, uint64_t count)
{
	if (block >= from)
		return (block - from < count ? 0 : len);
	return (MIN(len, from - block));
}

uint64_t
ext2_blocks_ok(const struct ext2_mount *em, uint64_t block, uint64_t count)
{
	uint64_t ok = 0;

	while (ok < count && block >= em->em_first_data && block < em->em_blocks) {
		uint32_t g = (uint32_t)((block - em->em_first_data) / em->em_blocks_per_group);
		const struct ext2_group *group = &em->em_groups[g];
		uint64_t first = ext2_group_first(em, g);
		uint64_t in_group = MIN(first + em->em_blocks_per_group, em->em_blocks) - block;
		uint64_t len = MIN(count - ok, in_group);

		if (block - first < em->em_super_blocks && ext2_group_has_super(em, g))
			break;
		len = cut_at(block, len, group->block_bitmap, 1);
		len = cut_at(block, len, group->inode_bitmap, 1);
		len = cut_at(block, len, group->inode_table, em->em_itable_blocks);
		ok += len;
		block += len;
		if (len < in_group)
			break;
	}
	return (ok);
}

bool
ext2_block_ok(const struct ext2_mount *em, uint64_t block)
{
	return (ext2_blocks_ok(em, block, 1) == 1);
}
