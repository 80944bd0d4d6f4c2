/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disk layer: the list of disks, and the gate through which every request goes in and comes
 * out.
 *
 *	pager, buffer cache --> disk_strategy() --> dk_ops->strategy() --> device
 *	                             |check, count, trace                    |
 *	biodone() <------------ disk_done() <-------- driver's interrupt <---+
 *
 * A driver therefore never sees a request that lies outside of its disk, is not made of whole
 * sectors, is longer than it promised to take or writes where nothing may be written; and the
 * counters mean the same for every driver.
 *
 * A partition is a disk without a driver.  Its requests are checked against its own end, moved to
 * where it begins on the whole disk, counted for both, and given to the driver of that one; so
 * there is one level, no request is copied, and a flush of a partition is a flush of its disk:
 *
 *	b_disk = vda1   b_blkno = 10 --(+ dk_first 2048)--> vda's driver   b_pblkno = 2058
 *
 * Disks come at boot and stay.  (The self-tests also take some away again.)
 *
 * Locks: disk_list_lock for the list and for claims.  Counters are atomic, for completions arrive on any CPU.
 *
 * Not done: sorting.  Requests go to the driver in the order in which they come; the pagers already
 * make them long and consecutive, and the device behind virtio has a scheduler of its own.
 */
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lock.h"
#include "kernel/stage.h"

static TAILQ_HEAD(, disk) disks = TAILQ_HEAD_INITIALIZER(disks);
static struct spinlock disk_list_lock;

/* Set up the empty list. */
void
disk_init(void)
{
	spin_init(&disk_list_lock, "disk list", RANK_DISK);
}

/* Find a disk by name.  => disk_list_lock held. */
static struct disk *
find_locked(const char *name)
{
	struct disk *dk;

	TAILQ_FOREACH(dk, &disks, dk_link) {
		if (streq(dk->dk_name, name))
			return (dk);
	}
	return (NULL);
}

/*
 * Name the disk by its prefix, of which there is a '?' at the end, and the first free letters: a to
 * z, then aa to zz.
 */
static void
name_choose(struct disk *dk)
{
	char *at = dk->dk_name + strlen(dk->dk_name) - 1;
	unsigned n = 0;

	do {
		if (n < 26)
			snprintf(at, 3, "%c", 'a' + n);
		else
			snprintf(at, 3, "%c%c", 'a' + n / 26 - 1, 'a' + n % 26);
		n++;
	} while (find_locked(dk->dk_name) != NULL && n < 27 * 26);
}

/* A partition goes behind its disk and those of its partitions that are there already. */
static void
insert_part(struct disk *part)
{
	struct disk *next = TAILQ_NEXT(part->dk_whole, dk_link);

	while (next != NULL && next->dk_whole == part->dk_whole)
		next = TAILQ_NEXT(next, dk_link);
	if (next != NULL)
		TAILQ_INSERT_BEFORE(&disks, next, part, dk_link);
	else
		TAILQ_INSERT_TAIL(&disks, part, dk_link);
}

/*
 * Put a disk on the list; from here on it gets requests.
 *
 * => a name that ends in '?' gets the first free letter there: "vd?" becomes vda, vdb, ...
 */
void
disk_register(struct disk *dk)
{
	KASSERT(dk->dk_maxsize >= MAXPHYS, "disk %s takes only %u bytes at once", dk->dk_name,
	    dk->dk_maxsize);
	KASSERT(dk->dk_sectorsize >= DEV_BSIZE &&
	    (dk->dk_sectorsize & (dk->dk_sectorsize - 1)) == 0,
	    "disk %s has sectors of %u bytes", dk->dk_name, dk->dk_sectorsize);
	spin_lock(&disk_list_lock);
	if (strchr(dk->dk_name, '?') != NULL)
		name_choose(dk);
	KASSERT(find_locked(dk->dk_name) == NULL, "two disks named %s", dk->dk_name);
	if (dk->dk_whole == NULL)
		TAILQ_INSERT_TAIL(&disks, dk, dk_link);
	else
		insert_part(dk);
	spin_unlock(&disk_list_lock);
}

/* Take a disk off the list.  => no request in flight, no vnode. */
void
disk_unregister(struct disk *dk)
{
	KASSERT(dk->dk_stats.inflight == 0, "disk %s goes with %lu requests in flight", dk->dk_name,
	    dk->dk_stats.inflight);
	KASSERT(dk->dk_vnode == NULL, "disk %s goes with its vnode in use", dk->dk_name);
	KASSERT(disk_next(dk) == NULL || disk_next(dk)->dk_whole != dk, "disk %s goes before %s",
	    dk->dk_name, disk_next(dk)->dk_name);
	KASSERT(dk->dk_use == NULL, "disk %s goes while it is claimed for %s", dk->dk_name,
	    dk->dk_use);
	spin_lock(&disk_list_lock);
	TAILQ_REMOVE(&disks, dk, dk_link);
	spin_unlock(&disk_list_lock);
}

/* The disk of that name, or NULL. */
struct disk *
disk_find(const char *name)
{
	struct disk *dk;

	spin_lock(&disk_list_lock);
	dk = find_locked(name);
	spin_unlock(&disk_list_lock);
	return (dk);
}

/* The next disk in order of registration; NULL behind the last. */
struct disk *
disk_next(struct disk *dk)
{
	spin_lock(&disk_list_lock);
	dk = dk == NULL ? TAILQ_FIRST(&disks) : TAILQ_NEXT(dk, dk_link);
	spin_unlock(&disk_list_lock);
	return (dk);
}

/* Do the two have sectors in common?  Partitions of one disk have not: see part.c. */
static bool
related(const struct disk *a, const struct disk *b)
{
	return (a == b || a->dk_whole == b || b->dk_whole == a);
}

int
disk_claim(struct disk *dk, const char *use)
{
	struct disk *other;

	spin_lock(&disk_list_lock);
	TAILQ_FOREACH(other, &disks, dk_link) {
		if (other->dk_use != NULL && related(dk, other))
			break;
	}
	if (other == NULL && dk->dk_use == NULL)
		dk->dk_use = use;
	else if (other == NULL)
		other = dk;		/* a test's, which is on no list */
	spin_unlock(&disk_list_lock);
	if (other == NULL)
		return (0);
	printf("%s: not for %s: %s is in use (%s)\n", dk->dk_name, use, other->dk_name, other->dk_use);
	return (EBUSY);
}

void
disk_release(struct disk *dk)
{
	spin_lock(&disk_list_lock);
	KASSERT(dk->dk_use != NULL, "disk %s is released and was not claimed", dk->dk_name);
	dk->dk_use = NULL;
	spin_unlock(&disk_list_lock);
}

static void
count(uint64_t *counter, uint64_t by)
{
	__atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

/* Raise a high-water mark. */
static void
count_max(uint64_t *mark, uint64_t value)
{
	uint64_t old = __atomic_load_n(mark, __ATOMIC_RELAXED);

	while (old < value &&
	    !__atomic_compare_exchange_n(mark, &old, value, false, __ATOMIC_RELAXED,
	    __ATOMIC_RELAXED))
		;
}

/* May the driver see this request?  0 or the errno that it ends with. */
static int
request_check(const struct disk *dk, const struct buf *bp)
{
	uint64_t first = bp->b_blkno, sectors = bp->b_bcount >> DEV_BSHIFT;

	if (bp->b_flags & B_FLUSH)
		return ((bp->b_flags & B_READ) ? EINVAL : 0);
	if (bp->b_bcount == 0 || bp->b_bcount > dk->dk_maxsize ||
	    bp->b_bcount % dk->dk_sectorsize != 0 || ((uintptr_t)bp->b_data & 3) != 0)
		return (EINVAL);
	if (bp->b_blkno < 0 || first >= dk->dk_nsectors || sectors > dk->dk_nsectors - first)
		return (EIO);
	if (first % (dk->dk_sectorsize >> DEV_BSHIFT) != 0)
		return (EINVAL);
	if ((bp->b_flags & B_READ) == 0 && dk->dk_readonly)
		return (EROFS);
	return (0);
}

static void
count_start(struct disk *dk)
{
	struct disk_stats *st = &dk->dk_stats;

	count_max(&st->inflight_max, __atomic_add_fetch(&st->inflight, 1, __ATOMIC_RELAXED));
}

static void
count_kind(struct disk *dk, const struct buf *bp)
{
	struct disk_stats *st = &dk->dk_stats;

	if (bp->b_flags & B_FLUSH) {
		count(&st->flushes, 1);
	} else if (bp->b_flags & B_READ) {
		count(&st->reads, 1);
		count(&st->sectors_read, bp->b_bcount >> DEV_BSHIFT);
	} else {
		count(&st->writes, 1);
		count(&st->sectors_written, bp->b_bcount >> DEV_BSHIFT);
	}
}

static void
count_end(struct disk *dk, const struct buf *bp)
{
	count(&dk->dk_stats.errors, bp->b_error != 0);
	count(&dk->dk_stats.inflight, -1ul);
}

/* Check, count and start a request; the contract is in disk.h. */
void
disk_strategy(struct disk *dk, struct buf *bp)
{
	struct disk *driven = dk->dk_whole != NULL ? dk->dk_whole : dk;

	bp->b_disk = dk;
	bp->b_pblkno = bp->b_blkno + (daddr_t)dk->dk_first;
	bp->b_resid = (bp->b_flags & B_FLUSH) ? 0 : bp->b_bcount;
	bp->b_start_tick = ticks;
	if (bp->b_flags & (B_DONE | B_ERROR))
		__atomic_and_fetch(&bp->b_flags, ~(B_DONE | B_ERROR), __ATOMIC_RELAXED);
	STAGE_MARK(DISK_REQUEST, dk, bp->b_blkno);
	TRACE(bp->b_flags & B_FLUSH ? TR_DISK_FLUSH : bp->b_flags & B_READ ? TR_DISK_READ : TR_DISK_WRITE, dk,
	    bp->b_blkno, bp->b_bcount, bp);
	count_start(dk);
	if (driven != dk)
		count_start(driven);
	bp->b_error = request_check(dk, bp);
	if (bp->b_error != 0) {
		disk_done(driven, bp);
		return;
	}
	count_kind(dk, bp);
	if (driven != dk)
		count_kind(driven, bp);
	driven->dk_ops->strategy(driven, bp);
}

/* Count a finished request and give it back to its owner; the contract is in disk.h. */
void
disk_done(struct disk *dk, struct buf *bp)
{
	struct disk *asked = bp->b_disk;

	KASSERT(asked == dk || asked->dk_whole == dk, "disk %s ends a request for %s", dk->dk_name,
	    asked->dk_name);
	if (bp->b_error != 0)
		__atomic_or_fetch(&bp->b_flags, B_ERROR, __ATOMIC_RELAXED);
	count_end(asked, bp);
	if (asked != dk)
		count_end(dk, bp);
	STAGE(DISK_DONE, asked, bp->b_blkno, bp->b_error, bp);
	biodone(bp);
}

/*
 * Read (B_READ) or write any whole number of sectors, MAXPHYS at a time.
 *
 * => sleeps in "diskio".  0 or an errno.
 */
int
disk_rw(struct disk *dk, uint64_t sector, void *data, size_t len, uint32_t bflags)
{
	struct buf buf;
	uint8_t *at = data;
	size_t chunk;
	int error;

	do {
		chunk = MIN(len, (size_t)MAXPHYS);
		buf_init(&buf, NULL, sector, at, chunk, bflags & B_READ);
		disk_strategy(dk, &buf);
		error = biowait(&buf, "diskio");
		if (error != 0)
			return (error);
		sector += chunk >> DEV_BSHIFT;
		at += chunk;
		len -= chunk;
	} while (len > 0);
	return (0);
}

/* Make all completed writes durable.  => sleeps in "dkflush".  0 or an errno. */
int
disk_flush(struct disk *dk)
{
	struct buf buf;

	buf_init(&buf, NULL, 0, NULL, 0, B_FLUSH);
	disk_strategy(dk, &buf);
	return (biowait(&buf, "dkflush"));
}
