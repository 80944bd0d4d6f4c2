/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Big directories: an index in memory, so that the price of a name does not grow with the number
 * of its neighbours.
 *
 *	name --hash--> slot, and those behind it --> place of an entry --> compare in its block
 *
 *	dh_slots:  |   | hash, place | hash, place | deleted |   | hash, place | ...
 *	dh_room:   | block 0: 0 | block 1: 24 | block 2: not known | ...      (bytes)
 *
 * A directory of DIRHASH_MIN bytes or more gets its index when a name is looked for, by one walk
 * through it.  Then names that are entered and removed are entered and removed here, too.  dh_room
 * says how large a new entry a block may at most have room for, as the last search found; what goes
 * from a block makes that unknown again.  So neither a lookup nor an entering walks through blocks
 * in vain.
 *
 * It only ever helps.  When memory is short, when all indexes together have DIRHASH_RAM_SHARE of
 * it, or when the directory is damaged, there is none, and whoever asks walks.  An index that has
 * become too small is thrown away, and the next lookup makes a larger one; as it doubles, that
 * costs each entry the same few steps.
 *
 * Lock: the directory's: shared to make one or to look, exclusive to change or to throw away.  Two
 * that make one at once agree under em_lock.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_EXT2DIRHASH, "ext2 directory indexes");

#define DIRHASH_MIN	(16 * KiB)	/* directories smaller than this are walked */
#define DIRHASH_RAM_SHARE 64
#define SLOTS_MIN	256u
#define ROOM_UNKNOWN	UINT16_MAX
#define PLACE_NONE	0u
#define PLACE_DELETED	1u
#define PLACE_FIRST	2u		/* place = byte offset in the directory / 4 + this */

struct slot {
	uint32_t	hash, place;
};

struct ext2_dirhash {
	size_t		 dh_bytes;	/* (c) of all this */
	uint32_t	 dh_nslots;	/* (c) a power of two */
	uint32_t	 dh_used;	/* slots that are not PLACE_NONE */
	uint64_t	 dh_nblocks;	/* (c) dh_room has so many */
	struct slot	*dh_slots;
	uint16_t	*dh_room;
};

static uint64_t dirhash_bytes;		/* (atomic) of all indexes */

/* FNV-1a, 32 bits. */
static uint32_t
name_hash(const char *name, size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return (hash);
}

static uint32_t
place_of(const struct ext2_inode *dip, uint64_t lbn, uint32_t off)
{
	return ((uint32_t)(((lbn << dip->i_em->em_bshift) + off) / 4) + PLACE_FIRST);
}

/* ---- making and throwing away ---- */

static void
dirhash_free(struct ext2_dirhash *dh)
{
	__atomic_fetch_sub(&dirhash_bytes, dh->dh_bytes, __ATOMIC_RELAXED);
	kfree(dh, &M_EXT2DIRHASH);
}

/* An empty one with room for twice so many names and blocks, or NULL. */
static struct ext2_dirhash *
dirhash_new(uint64_t names, uint64_t blocks)
{
	uint64_t most = (uint64_t)vm_page_count * PAGE_SIZE / DIRHASH_RAM_SHARE;
	uint64_t nslots = SLOTS_MIN, nblocks = 2 * blocks + 16;
	struct ext2_dirhash *dh;
	size_t bytes;

	while (nslots < 3 * names)
		nslots *= 2;
	bytes = sizeof(*dh) + nslots * sizeof(struct slot) + nblocks * sizeof(uint16_t);
	if (__atomic_add_fetch(&dirhash_bytes, bytes, __ATOMIC_RELAXED) > most ||
	    (dh = kmalloc(bytes, &M_EXT2DIRHASH, M_NOWAIT | M_ZERO)) == NULL) {
		__atomic_fetch_sub(&dirhash_bytes, bytes, __ATOMIC_RELAXED);
		return (NULL);
	}
	dh->dh_bytes = bytes;
	dh->dh_nslots = (uint32_t)nslots;
	dh->dh_nblocks = nblocks;
	dh->dh_slots = (struct slot *)(dh + 1);
	dh->dh_room = (uint16_t *)(dh->dh_slots + nslots);
	memset(dh->dh_room, 0xff, nblocks * sizeof(uint16_t));
	return (dh);
}

/* false: it is full. */
static bool
dirhash_insert(struct ext2_dirhash *dh, uint32_t hash, uint32_t place)
{
	uint32_t at = hash & (dh->dh_nslots - 1);

	if (dh->dh_used >= dh->dh_nslots / 4 * 3)
		return (false);
	while (dh->dh_slots[at].place > PLACE_DELETED)
		at = (at + 1) & (dh->dh_nslots - 1);
	dh->dh_used += dh->dh_slots[at].place == PLACE_NONE;
	dh->dh_slots[at] = (struct slot){ .hash = hash, .place = place };
	return (true);
}

/* A walk through the directory, to count its names or to enter them. */
struct walk {
	struct ext2_inode	*dip;
	struct ext2_dirhash	*dh;		/* NULL: count */
	uint64_t		 lbn, names;
};

static int
walk_entry(void *arg, const struct ext2_entry *entry, uint32_t off)
{
	struct walk *w = arg;
	uint32_t hash;

	if (entry->ino == 0)
		return (0);
	w->names++;
	if (w->dh == NULL)
		return (0);
	hash = name_hash(entry->name, entry->namelen);
	return (dirhash_insert(w->dh, hash, place_of(w->dip, w->lbn, off)) ? 0 : ENOMEM);
}

static int
walk_blocks(struct walk *w)
{
	struct ext2_inode *dip = w->dip;
	struct buf *bp;
	int error = 0;

	for (w->lbn = 0; w->lbn < dip->i_size >> dip->i_em->em_bshift && error == 0; w->lbn++) {
		error = ext2_dir_block(dip, w->lbn, &bp);
		if (error != 0)
			break;
		error = ext2_dir_scan(dip, w->lbn, bp->b_data, 0, walk_entry, w);
		brelse(bp);
	}
	return (error);
}

/* The directory's index, made if it is worth it, or NULL. */
static struct ext2_dirhash *
dirhash_get(struct ext2_inode *dip)
{
	struct ext2_dirhash *dh = __atomic_load_n(&dip->i_dirhash, __ATOMIC_ACQUIRE);
	struct walk w = { .dip = dip };

	if (dh != NULL || dip->i_size < DIRHASH_MIN || walk_blocks(&w) != 0)
		return (dh);
	w.dh = dirhash_new(w.names, dip->i_size >> dip->i_em->em_bshift);
	if (w.dh == NULL)
		return (NULL);
	if (walk_blocks(&w) != 0) {
		dirhash_free(w.dh);
		return (NULL);
	}
	spin_lock(&dip->i_em->em_lock);
	dh = dip->i_dirhash;
	if (dh == NULL)
		__atomic_store_n(&dip->i_dirhash, w.dh, __ATOMIC_RELEASE);
	spin_unlock(&dip->i_em->em_lock);
	if (dh == NULL)
		return (w.dh);
	dirhash_free(w.dh);
	return (dh);
}

void
ext2_dirhash_drop(struct ext2_inode *dip)
{
	if (dip->i_dirhash == NULL)
		return;
	dirhash_free(dip->i_dirhash);
	dip->i_dirhash = NULL;
}

/* ---- looking ---- */

/* Has the entry at a place this name?  0: yes; ENOENT: no; EIO, EUCLEAN. */
static int
entry_compare(struct ext2_inode *dip, uint32_t place, const char *name, size_t len,
    struct ext2_slot *slot)
{
	uint64_t byte = (uint64_t)(place - PLACE_FIRST) * 4;
	struct ext2_entry entry;
	const char *why;
	struct buf *bp;
	int error;

	slot->lbn = byte >> dip->i_em->em_bshift;
	slot->off = (uint32_t)(byte & (dip->i_em->em_bsize - 1));
	error = ext2_dir_block(dip, slot->lbn, &bp);
	if (error != 0)
		return (error);
	if (ext2_dirent_check(dip->i_em, bp->b_data, slot->off, &entry, &why) != 0)
		error = ext2_damaged(dip->i_em, "directory %lu: entry at %lu %s", dip->i_number,
		    byte, why);
	else if (entry.ino == 0 || entry.namelen != len || memcmp(entry.name, name, len) != 0)
		error = ENOENT;
	slot->ino = entry.ino;
	brelse(bp);
	return (error);
}

bool
ext2_dirhash_lookup(struct ext2_inode *dip, const char *name, size_t len, struct ext2_slot *slot,
    int *error)
{
	struct ext2_dirhash *dh = dirhash_get(dip);
	uint32_t hash, at;

	if (dh == NULL)
		return (false);
	*error = ENOENT;
	hash = name_hash(name, len);
	at = hash & (dh->dh_nslots - 1);
	while (dh->dh_slots[at].place != PLACE_NONE && *error == ENOENT) {
		const struct slot *s = &dh->dh_slots[at];

		if (s->place != PLACE_DELETED && s->hash == hash)
			*error = entry_compare(dip, s->place, name, len, slot);
		at = (at + 1) & (dh->dh_nslots - 1);
	}
	return (true);
}

bool
ext2_dirhash_may_fit(const struct ext2_inode *dip, uint64_t lbn, uint32_t need)
{
	const struct ext2_dirhash *dh = dip->i_dirhash;

	return (dh == NULL || lbn >= dh->dh_nblocks || dh->dh_room[lbn] >= need);
}

/* ---- changing ---- */

void
ext2_dirhash_no_fit(struct ext2_inode *dip, uint64_t lbn, uint32_t need)
{
	struct ext2_dirhash *dh = dip->i_dirhash;

	if (dh != NULL && lbn < dh->dh_nblocks)
		dh->dh_room[lbn] = (uint16_t)MIN((uint32_t)dh->dh_room[lbn], need - 1);
}

void
ext2_dirhash_add(struct ext2_inode *dip, uint64_t lbn, uint32_t off, const char *name, size_t len)
{
	struct ext2_dirhash *dh = dip->i_dirhash;

	if (dh == NULL)
		return;
	if (lbn >= dh->dh_nblocks ||
	    !dirhash_insert(dh, name_hash(name, len), place_of(dip, lbn, off)))
		ext2_dirhash_drop(dip);
}

void
ext2_dirhash_remove(struct ext2_inode *dip, uint64_t lbn, uint32_t off, const char *name,
    size_t len)
{
	struct ext2_dirhash *dh = dip->i_dirhash;
	uint32_t at, place = place_of(dip, lbn, off);

	if (dh == NULL)
		return;
	at = name_hash(name, len) & (dh->dh_nslots - 1);
	while (dh->dh_slots[at].place != place && dh->dh_slots[at].place != PLACE_NONE)
		at = (at + 1) & (dh->dh_nslots - 1);
	if (dh->dh_slots[at].place == PLACE_NONE) {
		/* On a damaged volume the block may be another directory's, too, which has changed it. */
		ext2_damaged(dip->i_em, "directory %lu: an unknown entry at block %lu, %u", dip->i_number, lbn, off);
		ext2_dirhash_drop(dip);
		return;
	}
	dh->dh_slots[at].place = PLACE_DELETED;
	dh->dh_room[lbn] = ROOM_UNKNOWN;
}
