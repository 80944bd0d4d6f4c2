/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Forced yield points.
 *
 * A race needs a thread to be interrupted between two certain instructions, and a timer tick hits those once
 * in a million times.  So debug builds have points where a thread gives way by force:
 *
 *	lock.c		before each lock is waited for, and after each is let go
 *	vm_page.c	before a page's busy word is tried, and after it is let go
 *
 * The word `yields=SEED` on the command line, or a test, turns them on.  Then a point does one of
 *
 *	nothing		most of the time
 *	give way	to another thread of its class, as at the end of a slice: only where that could happen
 *			by itself, too, which is with interrupts on and no spin lock held
 *	dawdle		with several CPUs: a random while, wherever it is, also under a spin lock, so that
 *			others run into what it holds
 *
 * Each CPU draws from a sequence of its own that the seed begins.  The sequence is the same in each run; the
 * instructions that it falls on are so only as far as the machine's interrupts come at the same ones.
 */
#include "kernel/yieldpoint.h"

#include "kernel/amd64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/kassert.h"
#include "kernel/sched.h"
#include "kernel/thread.h"

#define YIELD_ONE_IN	8
#define DAWDLE_ONE_IN	16
#define DAWDLE_TURNS	128	/* at most; a power of two */

bool yield_points;

static uint64_t seed_now;
static uint64_t sequence[MAX_CPUS];	/* (its CPU; a thread that is moved between may spoil a number) */
static uint64_t taken;			/* (atomic) */

uint64_t
yield_points_set(uint64_t seed)
{
	uint64_t former = seed_now;

	yield_points = false;
	seed_now = seed;
	for (unsigned i = 0; i < MAX_CPUS; i++)
		sequence[i] = seed * 0x9e3779b97f4a7c15ul + i + 1;
	yield_points = FAULTLINE_DEBUG && seed != 0;
	return (former);
}

void
yield_points_init(void)
{
	if (cmdline_has("yields"))
		(void)yield_points_set(cmdline_u64("yields", 0));
}

uint64_t
yield_points_taken(void)
{
	return (__atomic_load_n(&taken, __ATOMIC_RELAXED));
}

/* Xorshift: small, and good enough for coins. */
static uint64_t
draw(void)
{
	uint64_t *at = &sequence[curcpu->id], x = *at;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*at = x;
	return (x);
}

/* Could this thread be preempted right here?  The scheduler's own locks bring us back: not twice. */
static bool
may_switch(const struct thread *td)
{
	return (intr_enabled() && cpu_spin_depth() == 0 && !in_interrupt() && curcpu->idle != NULL &&
	    td != curcpu->idle && !td->gives_way);
}

/* Is there another CPU that could come by? */
static bool
others_run(void)
{
	return (ncpus > 1 && !smp_others_held());
}

uint64_t
yield_point_random(void)
{
	return (draw());
}

static void
give_way(struct thread *td)
{
	td->gives_way = true;
	__atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED);
	thread_yield();
	td->gives_way = false;
}

static void
dawdle(uint64_t coin)
{
	for (uint64_t n = coin >> 32 & (DAWDLE_TURNS - 1); n > 0; n--)
		cpu_spinwait();
}

bool
yield_point_can_linger(void)
{
	return (others_run() || may_switch(curthread));
}

void
yield_point_linger(void)
{
	uint64_t coin = draw();

	if (others_run() && coin % 2 == 0)
		dawdle(coin);
	else if (may_switch(curthread))
		give_way(curthread);
}

void
yield_point_taken(void)
{
	struct thread *td = curthread;
	uint64_t coin;

	if (panicking || curcpu->in_nmi)
		return;
	coin = draw();
	if (coin % YIELD_ONE_IN == 0 && may_switch(td))
		give_way(td);
	else if (coin / YIELD_ONE_IN % DAWDLE_ONE_IN == 0 && others_run())
		dawdle(coin);
}
