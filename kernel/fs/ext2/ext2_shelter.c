/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shelter: where a file is at home while its name changes hands.
 *
 * rename(S, T) over a file T rewrites T's entry, and T dies.  Two sectors change, the directory's
 * and T's inode, and a power cut may come between them:
 *
 *	T cleared, then the entry	the name leads to a dead inode: e2fsck -p takes it away
 *	the entry, then T cleared	T is a file without a name: e2fsck -p wants a human
 *
 * So T gets another name first, for the time of one sync and on the disk only:
 *
 *	lost+found/#T --> T    flush    name --> S    flush    T cleared    flush    #T goes
 *
 * Whenever the cut comes, the name leads to T or to S, and e2fsck -p has at most T's link count to
 * mend, or an entry of lost+found that leads to a dead inode to take away.  At worst T stays in
 * lost+found, where whoever misses it will look.
 *
 * The names lie in the first sector of a block of lost+found that has nothing in it there; mke2fs
 * makes lost+found with blocks to spare for such uses.  That sector is written around the cache,
 * from a copy, and in the end once more as the cache has it: no operation ever sees those names.
 * A block that waits to be written is not used, for somebody is at work in it.
 *
 * If there is no lost+found with such a block, T dies before its name is another's: then a cut may
 * take the name away, and S is there by its old one.
 *
 * Locks: em_oplock exclusively, so no directory changes.  em_lostfound is referenced by the rename
 * that is going on, so its blocks remain its own.
 */
#include "drivers/disk.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_EXT2SHELTER, "ext2 shelter");

#define NAME_BYTES	12		/* "#" and ten digits, and its end */

/* ---- lost+found: => em_rename held, no vnode locked ---- */

struct vnode *
ext2_shelter_open(struct ext2_mount *em)
{
	struct ext2_slot slot;
	struct vnode *root, *vp;
	int error;

	if (ext2_vget(em, EXT2_ROOT_INO, &root) != 0)
		return (NULL);
	VOP_LOCK(root, LK_SHARED);
	error = ext2_dir_lookup(VTOI(root), "lost+found", 10, &slot);
	VOP_UNLOCK(root);
	vrele(root);
	if (error != 0 || ext2_vget(em, slot.ino, &vp) != 0)
		return (NULL);
	if (vp->v_type == VDIR && (VTOI(vp)->i_flags & EXT2_FL_INDEX) == 0)
		return (vp);
	vrele(vp);
	return (NULL);
}

/* ---- the sync's part: => em_oplock exclusive ---- */

/* A sector of a directory in memory, and where on the disk it lies. */
struct sheet {
	char		*bytes;		/* the device's sector */
	uint32_t	 len;		/* its size */
	uint64_t	 sector;	/* 512-byte units */
};

/*
 * Take a copy of the first sector of a block of lost+found.
 *
 * => *room: bytes of the unused entry that the block begins with, 0 if it begins with a name or
 *    waits to be written.
 */
static int
sheet_read(struct ext2_inode *dip, uint64_t lbn, struct sheet *sheet, uint32_t *room)
{
	struct ext2_mount *em = dip->i_em;
	struct ext2_entry entry;
	const char *why;
	struct buf *bp;
	int error = ext2_dir_block(dip, lbn, &bp);

	*room = 0;
	if (error != 0)
		return (error);
	if ((bp->b_flags & B_DELWRI) == 0 &&
	    ext2_dirent_check(em, bp->b_data, 0, &entry, &why) == 0 && entry.ino == 0)
		*room = entry.rec_len;
	memcpy(sheet->bytes, bp->b_data, sheet->len);
	sheet->sector = (uint64_t)bp->b_blkno;
	brelse(bp);
	return (0);
}

/*
 * Put "#number" entries for files whose name changes hands into an unused entry of `room` bytes,
 * and mark these files.
 */
static void
sheet_fill(struct ext2_mount *em, struct sheet *sheet, uint32_t room)
{
	struct ext2_dirent *last = NULL;
	char name[NAME_BYTES];
	uint32_t at = 0, need;

	for (struct rb_node *node = rb_first(&em->em_changes); node != NULL; node = rb_next(node)) {
		struct ext2_change *c = container_of(node, struct ext2_change, c_node);

		if (!c->c_replaced || c->c_image.i_links_count != 0)
			continue;
		snprintf(name, sizeof(name), "#%lu", c->c_ino);
		need = EXT2_DIRENT_LEN(strlen(name));
		if (at + need > DEV_BSIZE)
			break;
		if (last != NULL)
			ext2_set_rec_len(last, (uint32_t)(sheet->bytes + at - (char *)last));
		last = (struct ext2_dirent *)(sheet->bytes + at);
		ext2_dirent_fill(em, last, name, strlen(name), c->c_ino,
		    ext2_mode_type(c->c_image.i_mode));
		ext2_set_rec_len(last, room - at);
		c->c_sheltered = true;
		at += need;
	}
}

static int
sheet_write(struct ext2_mount *em, const struct sheet *sheet)
{
	return (disk_rw(em->em_devvp->v_disk, sheet->sector, sheet->bytes, sheet->len, B_WRITE));
}

int
ext2_shelter_write(struct ext2_mount *em, uint64_t *lbn)
{
	struct ext2_inode *dip = em->em_lostfound;
	struct sheet sheet = { .len = MIN(em->em_devvp->v_disk->dk_sectorsize, em->em_bsize) };
	uint64_t blocks = dip->i_size >> em->em_bshift;
	uint32_t room = 0;
	int error = 0;

	sheet.bytes = kmalloc(sheet.len, &M_EXT2SHELTER, M_WAITOK | M_RESERVE);
	for (*lbn = blocks; *lbn > 1 && error == 0 && room < DEV_BSIZE; )
		error = sheet_read(dip, --*lbn, &sheet, &room);
	if (error == 0 && room >= DEV_BSIZE) {
		sheet_fill(em, &sheet, room);
		error = sheet_write(em, &sheet);
	}
	kfree(sheet.bytes, &M_EXT2SHELTER);
	return (error);
}

int
ext2_shelter_clear(struct ext2_mount *em, uint64_t lbn)
{
	struct sheet sheet = { .len = MIN(em->em_devvp->v_disk->dk_sectorsize, em->em_bsize) };
	uint32_t room;
	int error;

	sheet.bytes = kmalloc(sheet.len, &M_EXT2SHELTER, M_WAITOK | M_RESERVE);
	error = sheet_read(em->em_lostfound, lbn, &sheet, &room);
	if (error == 0)
		error = sheet_write(em, &sheet);
	kfree(sheet.bytes, &M_EXT2SHELTER);
	return (error);
}
