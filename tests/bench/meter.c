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

/* The disk in front of whose driver we stand. */
static struct disk *watched;
static const struct disk_ops *watched_ops;
static struct spinlock held_lock = SPINLOCK_INITIALIZER("bench", RANK_DISK);
static TAILQ_HEAD(, buf) held;			/* held_lock: wait for everybody to sleep */
static struct disk_watch seen;			/* held_lock */

static void
watch_strategy(struct disk *dk, struct buf *bp)
{
	spin_lock(&held_lock);
	seen.requests++;
	seen.sectors += bp->b_bcount >> DEV_BSHIFT;
	seen.full += bp->b_bcount == MAXPHYS;
	TAILQ_INSERT_TAIL(&held, bp, b_link);
	spin_unlock(&held_lock);
}

static const struct disk_ops watch_ops = { .strategy = watch_strategy };

static void
hand_over(void)
{
	struct buf *bp;

	spin_lock(&held_lock);
	bp = TAILQ_FIRST(&held);
	TAILQ_REMOVE(&held, bp, b_link);
	spin_unlock(&held_lock);
	watched_ops->strategy(watched, bp);
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
		if (!TAILQ_EMPTY(&held))
			hand_over();
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
	struct meter m;

	measure_rate();
	if (rootfs != NULL) {
		watched = rootfs->mnt_devvp->v_disk;
		watched_ops = watched->dk_ops;
		watched->dk_ops = &watch_ops;
	}
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
	if (watched != NULL)
		watched->dk_ops = watched_ops;
}

/* ---- the disk ---- */

void
watch_start(struct disk_watch *w)
{
	spin_lock(&held_lock);
	seen = (struct disk_watch){ 0 };
	spin_unlock(&held_lock);
	w->pager = cnt.v_vnodein;
}

void
watch_stop(struct disk_watch *w)
{
	uint64_t before = w->pager;

	spin_lock(&held_lock);
	*w = seen;
	spin_unlock(&held_lock);
	w->pager = cnt.v_vnodein - before;
}
