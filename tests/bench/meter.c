/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The meter: instructions and disk requests.
 *
 * Under QEMU's `-icount shift=0` virtual time moves by one nanosecond for each guest instruction,
 * and the TSC counts virtual nanoseconds.  So a difference of two TSC values is a number of
 * instructions, the same in each run; meter_init() checks that it is so.
 *
 * Waiting for a disk is not work, and how long it lasts depends on the host.  The kernel's idle
 * thread would halt, and QEMU would then jump to the next timer interrupt, ten milliseconds at a
 * time.  So a thread of the lowest class, the soaker, runs in its place and counts what it is
 * given:
 *
 *	bench thread   ---fault, start the disk---|                        |---wake up, go on---
 *	soaker                                    |-------------|    |-----|
 *	interrupt                                               |-irq|
 *	counted                yes                      no       yes   no           yes
 *
 * It looks at the TSC in a loop; a step of a few counts is its own, a larger one is somebody
 * else's, unless it was the timer's.  As the CPU never halts, nothing but instructions moves the
 * clock; and as the idle thread never runs, nobody zeroes pages behind our back.
 *
 * One race is left: a fast disk may be done before the thread that asked has gone to sleep, which
 * then saves two context switches. Therefore requests are held back, in front of the driver, until
 * the soaker runs: by then everybody sleeps.  It hands them over in the order in which they came.
 * So each request costs a sleep and a wakeup, and the numbers are the same in each run.
 */
#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "tests/bench/bench.h"
#include "vm/swap_pager.h"
#include "vm/vm_meter.h"

/* TSC counts */
#define OWN_STEP_MAX	40	/* a turn of the soaker takes fewer, an interrupt more */
#define TICK_STEP_MAX	2000	/* a timer interrupt that wakes nobody takes fewer */
#define LOOP_TURNS	1000000

static struct thread *soaker_thread;
static volatile bool soaker_ends;
static volatile uint64_t soaked;
static uint64_t own_cost;	/* instructions between the two readings of an empty measurement */
static uint64_t tsc_per_kilo_insn;

static struct spinlock held_lock = SPINLOCK_INITIALIZER("bench", RANK_DISK);

/* The disks in front of whose drivers we stand: the root volume's, and the one that is swapped to. */
static struct watched {
	struct disk	*disk;		/* constant while the meter runs; NULL: there is none */
	const struct disk_ops *ops;	/* the driver's */
	TAILQ_HEAD(, buf) held;		/* held_lock: wait for everybody to sleep */
	struct disk_watch seen;		/* held_lock */
} watched[WATCHED_DISKS];

static void
count_request(struct disk_watch *seen, const struct buf *bp)
{
	uint64_t sectors = bp->b_bcount >> DEV_BSHIFT;

	if (bp->b_flags & B_FLUSH) {
		seen->flushes++;
		return;
	}
	seen->requests++;
	seen->sectors += sectors;
	seen->full += bp->b_bcount == MAXPHYS;
	if (bp->b_flags & B_READ)
		return;
	seen->writes++;
	if (bp->b_flags & B_PBUF) {
		seen->data_writes++;
		seen->data_sectors += sectors;
		seen->data_full += bp->b_bcount == MAXPHYS;
	}
}

static void
watch_strategy(struct disk *dk, struct buf *bp)
{
	struct watched *w = &watched[WATCH_ROOT];

	if (w->disk != dk)
		w = &watched[WATCH_SWAP];
	spin_lock(&held_lock);
	count_request(&w->seen, bp);
	TAILQ_INSERT_TAIL(&w->held, bp, b_link);
	spin_unlock(&held_lock);
}

static const struct disk_ops watch_ops = { .strategy = watch_strategy };

/* The first request that is held back for this disk, if there is one. */
static void
hand_over(struct watched *w)
{
	struct buf *bp;

	if (TAILQ_EMPTY(&w->held))
		return;
	spin_lock(&held_lock);
	bp = TAILQ_FIRST(&w->held);
	TAILQ_REMOVE(&w->held, bp, b_link);
	spin_unlock(&held_lock);
	w->ops->strategy(w->disk, bp);
}

static void
watch_disk(struct watched *w, struct disk *disk)
{
	TAILQ_INIT(&w->held);
	w->disk = disk;
	if (disk != NULL) {
		w->ops = disk->dk_ops;
		disk->dk_ops = &watch_ops;
	}
}

static void
soaker(void *arg)
{
	uint64_t last = rdtsc(), last_tick = curcpu->ticks;

	while (!soaker_ends) {
		uint64_t now = rdtsc(), tick = curcpu->ticks;

		if (now - last < OWN_STEP_MAX || (tick != last_tick && now - last < TICK_STEP_MAX))
			soaked += now - last;
		last = now;
		last_tick = tick;
		hand_over(&watched[WATCH_ROOT]);
		hand_over(&watched[WATCH_SWAP]);
	}
}

void
meter_start(struct meter *m)
{
	m->waited = soaked;
	m->start = rdtsc();
}

uint64_t
meter_stop(const struct meter *m)
{
	uint64_t now = rdtsc(), counts = now - m->start - (soaked - m->waited);

	return (counts > own_cost ? counts - own_cost : 0);
}

uint64_t
meter_elapsed(const struct meter *m)
{
	return (rdtsc() - m->start);
}

uint64_t
meter_tsc_per_kilo_insn(void)
{
	return (tsc_per_kilo_insn);
}

/* A loop of exactly two instructions a turn. */
static void
measure_rate(void)
{
	uint64_t turns = LOOP_TURNS, start = rdtsc();

	__asm__ volatile("1: decq %0\n\tjnz 1b" : "+r"(turns) : : "cc");
	tsc_per_kilo_insn = (rdtsc() - start) * 1000 / (2 * LOOP_TURNS);
}

void
meter_init(void)
{
	struct swap_info swap;
	struct meter m;

	measure_rate();
	soaker_ends = false;
	swap_info(&swap);
	watch_disk(&watched[WATCH_ROOT], rootfs != NULL ? rootfs->mnt_devvp->v_disk : NULL);
	watch_disk(&watched[WATCH_SWAP], swap.disk != NULL ? disk_find(swap.disk) : NULL);
	soaker_thread = thread_create("soaker", PRI_IDLE, soaker, NULL);
	KASSERT(soaker_thread != NULL, "no memory for the soaker");
	own_cost = 0;
	for (int i = 0; i < 3; i++) {	/* the last time everything is warm */
		own_cost = 0;
		meter_start(&m);
		own_cost = meter_stop(&m);
	}
}

void
meter_fini(void)
{
	soaker_ends = true;
	thread_join(soaker_thread);
	for (int i = 0; i < WATCHED_DISKS; i++)
		if (watched[i].disk != NULL)
			watched[i].disk->dk_ops = watched[i].ops;
}

/* ---- the disk ---- */

void
watch_start(struct disk_watch *w, enum watch_disk which)
{
	w->which = which;
	spin_lock(&held_lock);
	watched[w->which].seen = (struct disk_watch){ .which = which };
	spin_unlock(&held_lock);
	w->pager = VMCNT_GET(v_vnodein);
}

void
watch_stop(struct disk_watch *w)
{
	uint64_t before = w->pager;

	spin_lock(&held_lock);
	*w = watched[w->which].seen;
	spin_unlock(&held_lock);
	w->pager = VMCNT_GET(v_vnodein) - before;
}
