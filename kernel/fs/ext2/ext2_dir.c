/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Directories: files of entries, each telling how far it is to the next.
 *
 *	| inode 12 | rec_len 16 | 5 | "hello" | inode 0 (unused) | rec_len 12 | ... | inode 40 | rec_len: to the end |
 *	|<------------ 16 bytes ------------->|
 *
 * An entry never crosses a block, and the last one of a block reaches to the block's end.  An
 * indexed directory (dir_index) hides its tree in what look like unused entries, so a plain scan
 * reads it, too.  Big directories are not scanned for each name: ext2_dirhash.c.
 *
 * Directory blocks are metadata: they come through bmap and bread, never through an object's pages,
 * and a directory has no holes.  Each entry is checked before its name is looked at; since every
 * one is at least 8 bytes long and moves the scan forward, a scan ends, whatever the block holds.
 *
 * Sleeps for disk reads with one buffer held at most; the directory's lock is the caller's.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/lib/string.h"

#define DIRENT_ALIGN	4

/*
 * rec_len has 16 bits; the one length that does not fit, a whole block of 64 KiB, has two
 * spellings.
 */
static uint32_t
ext2_rec_len(const struct ext2_mount *em, uint16_t raw)
{
	if (em->em_bsize == 65536 && (raw == 0 || raw == 65535))
		return (65536);
	return (raw);
}

int
ext2_dirent_check(const struct ext2_mount *em, const void *block, uint32_t off, struct ext2_entry *out,
    const char **why)
{
	const struct ext2_dirent *de = (const void *)((const char *)block + off);
	bool filetype = (em->em_incompat & EXT2_INCOMPAT_FILETYPE) != 0;
	uint32_t room = em->em_bsize - off;

	*why = NULL;
	if (room < EXT2_DIRENT_MIN) {
		*why = "does not fit into the block";
		return (EUCLEAN);
	}
	out->ino = de->inode;
	out->rec_len = ext2_rec_len(em, de->rec_len);
	out->namelen = de->name_len;
	out->file_type = filetype ? de->file_type : 0;
	out->name = de->name;
	if (out->rec_len < EXT2_DIRENT_MIN || out->rec_len % DIRENT_ALIGN != 0)
		*why = "has an impossible length";
	else if (out->rec_len > room)
		*why = "is longer than the rest of the block";
	else if (de->inode > em->em_inodes)
		*why = "names an inode that the volume does not have";
	else if (de->inode == 0)
		return (0);
	else if (out->namelen == 0 || (!filetype && de->file_type != 0))
		*why = "has a name of impossible length";
	else if (EXT2_DIRENT_MIN + (uint32_t)out->namelen > out->rec_len)
		*why = "has a name longer than itself";
	else if (memchr(de->name, '/', de->name_len) != NULL || memchr(de->name, 0, de->name_len) != NULL)
		*why = "has a slash or a NUL in its name";
	return (*why != NULL ? EUCLEAN : 0);
}

int
ext2_dir_block(struct ext2_inode *dip, uint64_t lbn, struct buf **bpp)
{
	struct ext2_mount *em = dip->i_em;
	struct bmap bm;
	int error;

	error = ext2_bmap_inode(dip, (daddr_t)lbn, &bm);
	if (error != 0)
		return (error);
	if (bm.hole)
		return (ext2_damaged(em, "directory %lu: block %lu is a hole", dip->i_number, lbn));
	error = bread(em->em_devvp, bm.blkno, em->em_bsize, bpp);
	if (error != 0)
		ext2_complain(em, "directory %lu: block %lu cannot be read: %s", dip->i_number, lbn,
		    errno_name(error));
	return (error);
}

int
ext2_dir_scan(struct ext2_inode *dip, uint64_t lbn, const void *block, uint32_t from, ext2_entry_fn fn, void *arg)
{
	struct ext2_mount *em = dip->i_em;
	struct ext2_entry entry;
	const char *why;
	int error;

	for (uint32_t off = 0; off < em->em_bsize; off += entry.rec_len) {
		if (ext2_dirent_check(em, block, off, &entry, &why) != 0)
			return (ext2_damaged(em, "directory %lu: entry at %lu %s", dip->i_number,
			    (lbn << em->em_bshift) + off, why));
		if (off < from)
			continue;
		error = fn(arg, &entry, off);
		if (error != 0)
			return (error);
	}
	return (0);
}

/* ---- lookup ---- */

#define FOUND	(-1)			/* no errno */

struct lookup_arg {
	const char	*name;
	size_t		 len;
	struct ext2_slot slot;
};

static int
lookup_entry(void *arg, const struct ext2_entry *entry, uint32_t off)
{
	struct lookup_arg *la = arg;

	if (entry->ino == 0 || entry->namelen != la->len || memcmp(entry->name, la->name, la->len) != 0)
		return (0);
	la->slot.off = off;
	la->slot.ino = entry->ino;
	return (FOUND);
}

int
ext2_dir_lookup(struct ext2_inode *dip, const char *name, size_t len, struct ext2_slot *slot)
{
	struct lookup_arg la = { .name = name, .len = len };
	struct ext2_mount *em = dip->i_em;
	struct buf *bp;
	int error;

	if (ext2_dirhash_lookup(dip, name, len, slot, &error))
		return (error);
	for (uint64_t lbn = 0; lbn < dip->i_size >> em->em_bshift; lbn++) {
		error = ext2_dir_block(dip, lbn, &bp);
		if (error != 0)
			return (error);
		error = ext2_dir_scan(dip, lbn, bp->b_data, 0, lookup_entry, &la);
		brelse(bp);
		if (error == FOUND) {
			*slot = la.slot;
			slot->lbn = lbn;
			return (0);
		}
		if (error != 0)
			return (error);
	}
	return (ENOENT);
}

/* ---- readdir ---- */

#define STOPPED	(-1)

struct read_arg {
	const struct ext2_mount	*em;
	uint64_t		 base;		/* offset of the block in the directory */
	off_t			*off;
	dirent_fn		 fn;
	void			*arg;
	struct dirent		 de;
};

static enum vtype
entry_type(const struct ext2_entry *entry)
{
	static const enum vtype types[] = { VNON, VREG, VDIR, VCHR, VBLK, VFIFO, VSOCK, VLNK };

	return (entry->file_type < nitems(types) ? types[entry->file_type] : VNON);
}

static int
read_entry(void *arg, const struct ext2_entry *entry, uint32_t off)
{
	struct read_arg *ra = arg;

	if (entry->ino == 0)
		return (0);
	ra->de.d_ino = entry->ino;
	ra->de.d_next = (off_t)(ra->base + off + entry->rec_len);
	ra->de.d_type = entry_type(entry);
	ra->de.d_namlen = entry->namelen;
	memcpy(ra->de.d_name, entry->name, entry->namelen);
	ra->de.d_name[entry->namelen] = '\0';
	if (ra->fn(ra->arg, &ra->de) != 0)
		return (STOPPED);
	*ra->off = ra->de.d_next;
	return (0);
}

int
ext2_dir_read(struct ext2_inode *dip, off_t *off, dirent_fn fn, void *arg)
{
	struct ext2_mount *em = dip->i_em;
	struct read_arg ra = { .em = em, .off = off, .fn = fn, .arg = arg };
	struct buf *bp;
	int error;

	if (*off < 0)
		return (EINVAL);
	while ((uint64_t)*off < dip->i_size) {
		uint64_t lbn = (uint64_t)*off >> em->em_bshift;
		uint32_t from = (uint32_t)(*off & (off_t)(em->em_bsize - 1));

		ra.base = lbn << em->em_bshift;
		error = ext2_dir_block(dip, lbn, &bp);
		if (error != 0)
			return (error);
		error = ext2_dir_scan(dip, lbn, bp->b_data, from, read_entry, &ra);
		brelse(bp);
		if (error != 0)
			return (error == STOPPED ? 0 : error);
		*off = (off_t)((lbn + 1) << em->em_bshift);
	}
	return (0);
}
