/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holding back a disk's requests: see stall.h.  The disk's operations are exchanged for ours, which
 * queue a request or call the real ones.
 */
#include "tests/kernel/stall.h"

#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/clock.h"
#include "kernel/thread.h"
#include "tests/kernel/vmtest.h"

static struct spinlock stall_lock = SPINLOCK_INITIALIZER("stall", RANK_NONE);

/* (all under stall_lock) */
static struct {
	struct disk		*disk;
	const struct disk_ops	*real;
	unsigned		 kinds;
	uint64_t		 from, to;
	unsigned		 count;
	unsigned		 seen[3];
	TAILQ_HEAD(, buf)	 held;
} stall;

static unsigned
kind_of(const struct buf *bp)
{
	return ((bp->b_flags & B_READ) ? STALL_READ : STALL_WRITE);
}

static void
stall_strategy(struct disk *dk, struct buf *bp)
{
	uint64_t first = (uint64_t)bp->b_blkno, last = first + bp->b_bcount / DEV_BSIZE;
	const struct disk_ops *real;
	bool hold = false;

	spin_lock(&stall_lock);
	real = stall.real;
	if ((bp->b_flags & B_FLUSH) == 0) {
		stall.seen[kind_of(bp)]++;
		hold = (stall.kinds & kind_of(bp)) != 0 && first < stall.to && last > stall.from;
	}
	if (hold) {
		TAILQ_INSERT_TAIL(&stall.held, bp, b_link);
		stall.count++;
		wakeup(&stall);
	}
	spin_unlock(&stall_lock);
	if (!hold)
		real->strategy(dk, bp);
}

static const struct disk_ops stall_ops = { .strategy = stall_strategy };

void
stall_begin(struct disk *dk)
{
	/* It may hold the filesystem's locks while its write is held back, and the test would wait for them for ever. */
	syncer_freeze(true);
	spin_lock(&stall_lock);
	TAILQ_INIT(&stall.held);
	stall.disk = dk;
	stall.real = dk->dk_ops;
	stall.kinds = stall.count = 0;
	memset(stall.seen, 0, sizeof(stall.seen));
	dk->dk_ops = &stall_ops;
	spin_unlock(&stall_lock);
}

void
stall_end(void)
{
	stall_hold(0, 0, 0);
	while (stall_release(0))
		continue;
	spin_lock(&stall_lock);
	stall.disk->dk_ops = stall.real;
	spin_unlock(&stall_lock);
	syncer_freeze(false);
}

void
stall_hold(unsigned kinds, uint64_t from, uint64_t to)
{
	spin_lock(&stall_lock);
	stall.kinds = kinds;
	stall.from = from;
	stall.to = to;
	spin_unlock(&stall_lock);
}

unsigned
stall_held(void)
{
	return (__atomic_load_n(&stall.count, __ATOMIC_RELAXED));
}

bool
stall_wait(unsigned n)
{
	uint64_t end = ticks + VT_PATIENCE;
	bool there;

	spin_lock(&stall_lock);
	while (stall.count < n && ticks < end)
		tsleep(&stall, &stall_lock.lk, "t-stall", HZ / 10);
	there = stall.count >= n;
	spin_unlock(&stall_lock);
	return (there);
}

static bool
release(bool newest, int error)
{
	struct buf *bp;

	spin_lock(&stall_lock);
	bp = newest ? TAILQ_LAST(&stall.held) : TAILQ_FIRST(&stall.held);
	if (bp != NULL) {
		TAILQ_REMOVE(&stall.held, bp, b_link);
		stall.count--;
	}
	spin_unlock(&stall_lock);
	if (bp == NULL)
		return (false);
	if (error == 0) {
		stall.real->strategy(stall.disk, bp);
	} else {
		bp->b_error = error;
		bp->b_flags |= B_ERROR;
		bp->b_resid = bp->b_bcount;
		disk_done(stall.disk, bp);
	}
	return (true);
}

bool
stall_release(int error)
{
	return (release(false, error));
}

bool
stall_release_newest(int error)
{
	return (release(true, error));
}

unsigned
stall_seen(unsigned kind)
{
	return (__atomic_load_n(&stall.seen[kind], __ATOMIC_RELAXED));
}
