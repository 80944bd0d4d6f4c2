/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changing directories.
 *
 *	one sector:  | used entry .... | used entry, with room behind it ......... | unused entry ..... |
 *	                                             ^ a new entry can split it      ^ or take its place
 *
 * A power cut may leave any sector of a block old and any other new.  So one rule governs this
 * file: a change to a directory's entries is a change to one sector.  Then a half-written block is
 * a directory in which some changes happened and others did not, never a broken one.  (FFS has the
 * same rule; its directory blocks are sectors.)
 *
 *	add	the new entry lies in the sector of the entry that it splits or replaces
 *	remove	the entry joins the one before it if that is in the same sector; else it becomes unused in place
 *	rename	of a directory in its folder: the sector is packed anew; over a file: the entry gets the other inode
 *	grow	a new block is one unused entry in each sector, so that nothing in it ever crosses a sector
 *
 * Blocks that others made may hold room that reaches over several sectors.  ext2_dir_prepare()
 * carves it: first unused entries are written at the start of each sector in it, where nobody looks
 * yet; they are synced; then the entry before is cut short, in its own sector.
 *
 * A name that went and comes back may find its room in another sector, and a power cut could leave
 * both entries, which e2fsck -p does not mend.  So a directory remembers which names went since the
 * last sync, by a hash, and one that may be among them waits for a sync.
 *
 * A hashed index (dir_index) hides in unused entries.  The first change of such a directory takes
 * its index flag away, on the disk, before.
 *
 * Locks: the directory's, exclusively; one buffer at a time.
 */
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"

#define NOWHERE		UINT32_MAX
#define FOUND		(-1)		/* no errno */

static inline bool
same_sector(uint32_t a, uint32_t b)
{
	return (a / DEV_BSIZE == b / DEV_BSIZE);
}

static inline struct ext2_dirent *
entry_at(void *block, uint32_t off)
{
	return ((struct ext2_dirent *)((char *)block + off));
}

static uint8_t
file_type(const struct ext2_mount *em, enum vtype type)
{
	static const uint8_t types[] = {
		[VREG] = 1, [VDIR] = 2, [VCHR] = 3, [VBLK] = 4, [VFIFO] = 5, [VSOCK] = 6, [VLNK] = 7,
	};

	return ((em->em_incompat & EXT2_INCOMPAT_FILETYPE) != 0 && (unsigned)type < nitems(types) ? types[type] : 0);
}

/* Fill an entry, but for its length; the inode last, which makes it one. */
static void
entry_fill(struct ext2_dirent *de, const char *name, size_t len, uint64_t ino, uint8_t type)
{
	memcpy(de->name, name, len);
	memset(de->name + len, 0, EXT2_DIRENT_LEN(len) - EXT2_DIRENT_MIN - len);
	de->name_len = (uint8_t)len;
	de->file_type = type;
	de->inode = (uint32_t)ino;
}

/* ---- names that went ---- */

static uint32_t
gone_bit(const char *name, size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return (hash % (64 * GONE_WORDS));
}

/* The name at this entry goes.  => between begin and end */
static void
gone_note(struct ext2_inode *dip, const struct ext2_dirent *de)
{
	uint32_t bit = gone_bit(de->name, de->name_len);

	if (dip->i_went_sync != dip->i_em->em_syncs) {
		memset(dip->i_went, 0, sizeof(dip->i_went));
		dip->i_went_sync = dip->i_em->em_syncs;
	}
	dip->i_went[bit / 64] |= 1ul << bit % 64;
}

/*
 * A name shall be entered: if it may have gone since the last sync, let the disk know that first.
 * => sleeps
 */
static int
gone_settle(struct ext2_inode *dip, const char *name, size_t len)
{
	uint32_t bit = gone_bit(name, len);

	if (dip->i_went_sync != dip->i_em->em_syncs || (dip->i_went[bit / 64] >> bit % 64 & 1) == 0)
		return (0);
	return (ext2_sync_metadata(dip->i_em));
}

/* ---- finding room ---- */

struct room {
	uint32_t	need;		/* bytes */
	uint32_t	off;		/* entry that can be split or replaced */
	uint32_t	carve;		/* entry with room over several sectors, or NOWHERE */
};

/* Bytes of an entry that its name uses. */
static uint32_t
entry_used(const struct ext2_entry *entry)
{
	return (entry->ino != 0 ? EXT2_DIRENT_LEN(entry->namelen) : 0);
}

/* First sector boundary that an entry at `off` does not need for itself. */
static uint32_t
carve_start(const struct ext2_entry *entry, uint32_t off)
{
	return ((uint32_t)roundup(off + MAX(entry_used(entry), EXT2_DIRENT_MIN), DEV_BSIZE));
}

static int
room_entry(void *arg, const struct ext2_entry *entry, uint32_t off)
{
	struct room *r = arg;
	uint32_t at = off + entry_used(entry), end = off + entry->rec_len;

	if (at + r->need <= end && same_sector(off + 4, at) && same_sector(at, at + r->need - 1)) {
		r->off = off;
		return (FOUND);
	}
	at = carve_start(entry, off);
	if (r->carve == NOWHERE && at + r->need <= end && same_sector(off, off + EXT2_DIRENT_MIN - 1))
		r->carve = off;
	return (0);
}

/*
 * Part one of carving: unused entries in the room behind an entry.
 *
 * => returns where the first one begins; the entry itself still covers them.
 */
static uint32_t
carve_fill(void *block, const struct ext2_entry *entry, uint32_t off)
{
	uint32_t first = carve_start(entry, off), end = off + entry->rec_len, at = first, next;

	for (; at < end; at = next) {
		next = at + (uint32_t)DEV_BSIZE;
		if (next + EXT2_DIRENT_MIN > end)
			next = end;
		memset(entry_at(block, at), 0, EXT2_DIRENT_MIN);
		ext2_set_rec_len(entry_at(block, at), next - at);
	}
	return (first);
}

/* Cut the room behind an entry into sectors.  => not between begin and end */
static int
dir_carve(struct ext2_inode *dip, uint64_t lbn, uint32_t off)
{
	struct ext2_mount *em = dip->i_em;
	struct ext2_entry entry;
	const char *why;
	uint32_t first = 0;
	struct buf *bp;
	int error;

	for (int part = 1; part <= 2; part++) {
		error = ext2_begin(em);
		if (error != 0)
			return (error);
		error = ext2_dir_block(dip, lbn, &bp);
		if (error != 0) {
			ext2_end(em);
			return (error);
		}
		if (part == 1) {
			(void)ext2_dirent_check(em, bp->b_data, off, &entry, &why);
			first = carve_fill(bp->b_data, &entry, off);
		} else {
			ext2_set_rec_len(entry_at(bp->b_data, off), first - off);
		}
		bdwrite(bp, BUF_NAMES);
		ext2_end(em);
		if (part == 1 && (error = ext2_sync_metadata(em)) != 0)
			return (error);
	}
	return (0);
}

/* Is there room in this block?  FOUND, 0, or an errno. */
static int
room_in_block(struct ext2_inode *dip, uint64_t lbn, struct room *r)
{
	struct buf *bp;
	int error = ext2_dir_block(dip, lbn, &bp);

	if (error != 0)
		return (error);
	r->carve = NOWHERE;
	error = ext2_dir_scan(dip, lbn, bp->b_data, 0, room_entry, r);
	brelse(bp);
	return (error);
}

int
ext2_dir_unindex(struct ext2_inode *dip)
{
	int error;

	if ((dip->i_flags & EXT2_FL_INDEX) == 0)
		return (0);
	error = ext2_begin(dip->i_em);
	if (error != 0)
		return (error);
	dip->i_flags &= ~EXT2_FL_INDEX;
	ext2_iupdate(dip, false);
	ext2_end(dip->i_em);
	return (ext2_sync_metadata(dip->i_em));
}

int
ext2_dir_prepare(struct ext2_inode *dip, const char *name, size_t len, struct ext2_slot *slot, uint64_t *reserved)
{
	struct ext2_mount *em = dip->i_em;
	uint64_t blocks = dip->i_size >> em->em_bshift;
	struct room r = { .need = EXT2_DIRENT_LEN(len) };
	int error = ext2_dir_unindex(dip);

	if (error == 0)
		error = gone_settle(dip, name, len);
	*reserved = 0;
	for (uint64_t n = 0; n < blocks && error == 0; n++) {
		slot->lbn = (dip->i_room + n) % blocks;
		if (!ext2_dirhash_may_fit(dip, slot->lbn, r.need))
			continue;
		error = room_in_block(dip, slot->lbn, &r);
		if (error == 0 && r.carve != NOWHERE) {
			error = dir_carve(dip, slot->lbn, r.carve);
			if (error == 0)
				error = room_in_block(dip, slot->lbn, &r);
		}
		if (error == 0)
			ext2_dirhash_no_fit(dip, slot->lbn, r.need);
	}
	if (error == FOUND) {
		slot->off = r.off;
		dip->i_room = slot->lbn;
		return (0);
	}
	if (error != 0)
		return (error);
	if (dip->i_size + em->em_bsize > INT32_MAX)
		return (EFBIG);
	slot->lbn = blocks;
	slot->off = 0;
	*reserved = 1 + ext2_pointer_blocks(em, blocks, 1);
	error = ext2_reserve(em, NOCRED, *reserved);
	if (error != 0)
		*reserved = 0;
	return (error);
}

/* ---- adding: => between begin and end ---- */

void
ext2_dir_init_block(const struct ext2_mount *em, void *block, uint64_t self, uint64_t parent)
{
	uint32_t dot = EXT2_DIRENT_LEN(1);

	memset(block, 0, em->em_bsize);
	for (uint32_t off = 0; off < em->em_bsize; off += (uint32_t)DEV_BSIZE)
		ext2_set_rec_len(entry_at(block, off), (uint32_t)DEV_BSIZE);
	if (self == 0)
		return;
	ext2_set_rec_len(entry_at(block, 0), dot);
	entry_fill(entry_at(block, 0), ".", 1, self, file_type(em, VDIR));
	ext2_set_rec_len(entry_at(block, dot), (uint32_t)DEV_BSIZE - dot);
	entry_fill(entry_at(block, dot), "..", 2, parent, file_type(em, VDIR));
}

/* One block more, with nothing in it yet.  => room reserved.  0: *bpp busy. */
static int
dir_grow(struct ext2_inode *dip, uint64_t lbn, struct buf **bpp)
{
	struct ext2_mount *em = dip->i_em;
	uint32_t block, got, done;
	int error;

	error = ext2_place(dip, lbn, 1, &block, &got);
	if (error != 0)
		return (error);
	error = ext2_enter(dip, lbn, block, 1, &done);
	if (error != 0) {
		ext2_bfree_now(em, block, 1);
		return (error);
	}
	dip->i_size += em->em_bsize;
	dip->i_room = lbn;
	/* What is born in the new block must not be found before the block is. */
	ext2_change_get(em, dip->i_number)->c_gates = true;
	error = getblk_zero(em->em_devvp, ext2_devblk(em, block), em->em_bsize, bpp);
	if (error == 0)
		ext2_dir_init_block(em, (*bpp)->b_data, 0, 0);
	return (error);
}

static void
dir_touched(struct ext2_inode *dip)
{
	dip->i_mtime = dip->i_ctime = (int64_t)clock_wall_seconds();
	ext2_iupdate(dip, false);
}

void
ext2_dirent_fill(const struct ext2_mount *em, struct ext2_dirent *de, const char *name, size_t len, uint64_t ino, enum vtype type)
{
	entry_fill(de, name, len, ino, file_type(em, type));
}

int
ext2_dir_add(struct ext2_inode *dip, const struct ext2_slot *slot, const char *name, size_t len, uint64_t ino, enum vtype type)
{
	struct ext2_mount *em = dip->i_em;
	bool grow = slot->lbn == dip->i_size >> em->em_bshift;
	struct ext2_dirent *de, *fresh;
	struct ext2_entry entry;
	const char *why;
	uint32_t used;
	struct buf *bp;
	int error;

	error = grow ? dir_grow(dip, slot->lbn, &bp) : ext2_dir_block(dip, slot->lbn, &bp);
	if (error != 0)
		return (error);
	if (ext2_dirent_check(em, bp->b_data, slot->off, &entry, &why) != 0) {
		brelse(bp);
		return (ext2_damaged(em, "directory %lu: entry at %u %s", dip->i_number, slot->off, why));
	}
	used = entry_used(&entry);
	if (used + EXT2_DIRENT_LEN(len) > entry.rec_len) {
		brelse(bp);
		return (ext2_damaged(em, "directory %lu: the room at %u is gone", dip->i_number, slot->off));
	}
	de = entry_at(bp->b_data, slot->off);
	fresh = entry_at(bp->b_data, slot->off + used);
	ext2_set_rec_len(fresh, entry.rec_len - used);
	entry_fill(fresh, name, len, ino, file_type(em, type));
	if (used > 0)
		ext2_set_rec_len(de, used);
	bdwrite(bp, grow ? BUF_FRESH : BUF_NAMES);
	ext2_dirhash_add(dip, slot->lbn, slot->off + used, name, len);
	dir_touched(dip);
	return (0);
}

/* ---- removing and changing: => between begin and end ---- */

struct neighbour {
	uint32_t	at;		/* looked for */
	uint32_t	prev;		/* the entry before it, or NOWHERE */
	bool		found;
};

static int
neighbour_entry(void *arg, const struct ext2_entry *entry, uint32_t off)
{
	struct neighbour *n = arg;

	if (off >= n->at) {
		n->found = off == n->at && entry->ino != 0;
		return (FOUND);
	}
	n->prev = off;
	return (0);
}

static uint32_t
rec_len_at(const struct ext2_mount *em, const void *block, uint32_t off)
{
	struct ext2_entry entry;
	const char *why;

	(void)ext2_dirent_check(em, block, off, &entry, &why);
	return (entry.rec_len);
}

/* Unlink the entry at `off` from the chain of its block, changing one sector. */
static void
entry_remove(const struct ext2_mount *em, void *block, uint32_t off, uint32_t prev)
{
	uint32_t len = rec_len_at(em, block, off), next = off + len;

	if (prev != NOWHERE && same_sector(prev + 4, off) && same_sector(prev, off)) {
		ext2_set_rec_len(entry_at(block, prev), rec_len_at(em, block, prev) + len);
		return;
	}
	/* First of its sector: it stays, unused, and takes in an unused one behind it. */
	if (next < em->em_bsize && same_sector(off, next) && same_sector(off, off + EXT2_DIRENT_MIN - 1) &&
	    entry_at(block, next)->inode == 0)
		ext2_set_rec_len(entry_at(block, off), len + rec_len_at(em, block, next));
	entry_at(block, off)->inode = 0;
}

int
ext2_dir_remove(struct ext2_inode *dip, const struct ext2_slot *slot)
{
	struct neighbour n = { .at = slot->off, .prev = NOWHERE };
	struct ext2_dirent *de;
	struct buf *bp;
	int error;

	error = ext2_dir_block(dip, slot->lbn, &bp);
	if (error != 0)
		return (error);
	error = ext2_dir_scan(dip, slot->lbn, bp->b_data, 0, neighbour_entry, &n);
	if (error != FOUND || !n.found) {
		brelse(bp);
		return (error != FOUND && error != 0 ? error : ext2_damaged(dip->i_em, "directory %lu: no entry at block %lu, %u",
		    dip->i_number, slot->lbn, slot->off));
	}
	de = entry_at(bp->b_data, slot->off);
	gone_note(dip, de);
	ext2_dirhash_remove(dip, slot->lbn, slot->off, de->name, de->name_len);
	entry_remove(dip->i_em, bp->b_data, slot->off, n.prev);
	bdwrite(bp, BUF_NAMES);
	dip->i_room = MIN(dip->i_room, slot->lbn);
	dir_touched(dip);
	return (0);
}

int
ext2_dir_replace(struct ext2_inode *dip, const struct ext2_slot *slot, uint64_t ino, enum vtype type)
{
	struct ext2_mount *em = dip->i_em;
	struct ext2_entry entry;
	const char *why = "is unused";
	struct buf *bp;
	int error;

	error = ext2_dir_block(dip, slot->lbn, &bp);
	if (error != 0)
		return (error);
	if (ext2_dirent_check(em, bp->b_data, slot->off, &entry, &why) != 0 || entry.ino == 0) {
		brelse(bp);
		return (ext2_damaged(em, "directory %lu: entry at %u %s", dip->i_number, slot->off, why));
	}
	entry_at(bp->b_data, slot->off)->file_type = file_type(em, type);
	entry_at(bp->b_data, slot->off)->inode = (uint32_t)ino;
	bdwrite(bp, BUF_NAMES);
	dir_touched(dip);
	return (0);
}

int
ext2_dir_set_parent(struct ext2_inode *dip, uint64_t ino)
{
	struct ext2_slot slot;
	struct buf *bp;
	int error;

	error = ext2_dir_lookup(dip, "..", 2, &slot);
	if (error == 0)
		error = ext2_dir_block(dip, slot.lbn, &bp);
	if (error != 0)
		return (error == ENOENT ? ext2_damaged(dip->i_em, "directory %lu has no parent", dip->i_number) : error);
	entry_at(bp->b_data, slot.off)->inode = (uint32_t)ino;
	bdwrite(bp, BUF_NAMES);
	dir_touched(dip);
	return (0);
}

/* The entries that begin in one sector; one of them is looked for. */
struct sector {
	uint32_t	wanted;
	bool		found;
	uint32_t	at;		/* first byte of the sector */
	uint32_t	first;		/* first entry that begins in it, or NOWHERE */
	uint32_t	end;		/* of the last one */
	uint32_t	used;		/* bytes that their names need */
};

static int
sector_entry(void *arg, const struct ext2_entry *entry, uint32_t off)
{
	struct sector *s = arg;

	if (!same_sector(s->at, off))
		return (off > s->at ? FOUND : 0);
	if (s->first == NOWHERE)
		s->first = off;
	s->found = s->found || (off == s->wanted && entry->ino != 0);
	s->end = off + entry->rec_len;
	s->used += entry_used(entry);
	return (0);
}

/*
 * Pack the entries of a sector, one of them under a new name, and give the last one what is left.
 * => they fit
 */
static void
sector_repack(const struct ext2_mount *em, void *block, const struct sector *s, uint32_t old, const char *name, size_t len)
{
	uint8_t packed[DEV_BSIZE] = { 0 };
	uint32_t at = 0, last = 0;
	struct ext2_entry entry;
	const char *why;

	for (uint32_t off = s->first; off < s->end; off += entry.rec_len) {
		struct ext2_dirent *de = entry_at(block, off);

		(void)ext2_dirent_check(em, block, off, &entry, &why);
		if (entry.ino == 0)
			continue;
		if (off == old)
			entry_fill(entry_at(packed, at), name, len, entry.ino, de->file_type);
		else
			entry_fill(entry_at(packed, at), entry.name, entry.namelen, entry.ino, de->file_type);
		last = at;
		at += EXT2_DIRENT_LEN(entry_at(packed, at)->name_len);
		ext2_set_rec_len(entry_at(packed, last), at - last);
	}
	ext2_set_rec_len(entry_at(packed, last), s->end - s->first - last);
	memcpy((char *)block + s->first, packed, at);
}

/*
 * Rename an entry by changing one sector: all that begin in it are packed anew.
 *
 * => true: done, or *error; false: the sector has no room.  Nothing was changed then.
 */
bool
ext2_dir_rename_in_place(struct ext2_inode *dip, const struct ext2_slot *slot, const char *name, size_t len, int *error)
{
	struct sector s = { .at = slot->off / (uint32_t)DEV_BSIZE * (uint32_t)DEV_BSIZE, .first = NOWHERE, .wanted = slot->off };
	struct buf *bp;
	bool fits;

	*error = ext2_dir_block(dip, slot->lbn, &bp);
	if (*error != 0)
		return (true);
	*error = ext2_dir_scan(dip, slot->lbn, bp->b_data, 0, sector_entry, &s);
	if (*error == 0 || *error == FOUND)
		*error = s.found ? 0 : ext2_damaged(dip->i_em, "directory %lu: no entry at block %lu, %u", dip->i_number,
		    slot->lbn, slot->off);
	if (*error != 0) {
		brelse(bp);
		return (true);
	}
	s.used = s.used - EXT2_DIRENT_LEN(entry_at(bp->b_data, slot->off)->name_len) + EXT2_DIRENT_LEN(len);
	/* The names must stay in the sector; what the last entry reaches over may lie beyond. */
	fits = s.used <= MIN(s.end, s.at + (uint32_t)DEV_BSIZE) - s.first;
	if (!fits) {
		brelse(bp);
		return (false);
	}
	gone_note(dip, entry_at(bp->b_data, slot->off));
	ext2_dirhash_drop(dip);		/* others move, too */
	sector_repack(dip->i_em, bp->b_data, &s, slot->off, name, len);
	bdwrite(bp, BUF_NAMES);
	dir_touched(dip);
	return (true);
}

/* ---- is it empty? ---- */

static int
not_dots(void *arg, const struct ext2_entry *entry, uint32_t off)
{
	return (entry->ino == 0 || ext2_name_is_dots(entry->name, entry->namelen) ? 0 : ENOTEMPTY);
}

int
ext2_dir_empty(struct ext2_inode *dip)
{
	struct buf *bp;
	int error = 0;

	for (uint64_t lbn = 0; lbn < dip->i_size >> dip->i_em->em_bshift && error == 0; lbn++) {
		error = ext2_dir_block(dip, lbn, &bp);
		if (error != 0)
			break;
		error = ext2_dir_scan(dip, lbn, bp->b_data, 0, not_dots, NULL);
		brelse(bp);
	}
	return (error);
}
