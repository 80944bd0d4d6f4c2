/* SPDX-License-Identifier: BSD-2-Clause */
/* Forced yield points: they find a planted race, and stay away from where no switch may be. */
#include "kernel/thread.h"
#include "kernel/yieldpoint.h"
#include "tests/kernel/ktest.h"

#define ROUNDS	400

static struct spinlock bystander = SPINLOCK_INITIALIZER("t-bystander", RANK_NONE);
static volatile int counter, done;

static bool
skip_in_release(void)
{
	if (!FAULTLINE_DEBUG)
		ktest_skip("release builds have no forced yield points");
	return (!FAULTLINE_DEBUG);
}

/* The planted race: the lock that is taken in the middle is not about the counter. */
static void
careless_increment(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		int was = counter;

		spin_lock(&bystander);
		spin_unlock(&bystander);
		counter = was + 1;
	}
	done++;
}

KTEST_ONE(yieldpoint, planted_race_is_found)
{
	uint64_t taken = yield_points_taken(), former;
	struct thread *td[2];

	if (skip_in_release())
		return;
	counter = done = 0;
	former = yield_points_set(ktest_random() | 1);
	for (int i = 0; i < 2; i++)
		td[i] = thread_create("t-careless", PRI_USER, careless_increment, NULL);
	for (int i = 0; i < 2; i++)
		thread_join(td[i]);
	(void)yield_points_set(former);
	CHECK_EQ(done, 2);
	CHECK(yield_points_taken() > taken + ROUNDS / 10);
	CHECK(counter < 2 * ROUNDS - ROUNDS / 10);	/* many were lost, not the one that a tick may cost */
}

KTEST_ONE(yieldpoint, none_with_a_spin_lock_or_interrupts_off)
{
	struct spinlock outer = SPINLOCK_INITIALIZER("t-outer", RANK_NONE);
	uint64_t former, switches;

	if (skip_in_release())
		return;
	former = yield_points_set(ktest_random() | 1);
	spin_lock(&outer);
	switches = curcpu->switches;
	careless_increment(NULL);
	CHECK_EQ(curcpu->switches, switches);
	spin_unlock(&outer);
	intr_disable();
	switches = curcpu->switches;
	careless_increment(NULL);
	CHECK_EQ(curcpu->switches, switches);
	intr_enable();
	(void)yield_points_set(former);
}

KTEST_ONE(yieldpoint, off_means_off)
{
	uint64_t former = yield_points_set(0), taken = yield_points_taken();

	careless_increment(NULL);
	CHECK_EQ(yield_points_taken(), taken);
	(void)yield_points_set(former);
}
