/* SPDX-License-Identifier: BSD-2-Clause */
/* The watch on shared fields: two planted races are found, and proper locking is not accused. */
#include "kernel/racewatch.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"

#define ROUNDS	1000

static struct mutex lock;
static uint64_t field, other;
static int reports;			/* (atomic) */
static char last_report[160];

static void
record(const char *message)
{
	__atomic_fetch_add(&reports, 1, __ATOMIC_RELAXED);
	strlcpy(last_report, message, sizeof(last_report));
}

static __attribute__((noinline)) void
store(uint64_t *to, bool marked)
{
	if (marked)
		RACE_WRITE(*to);
	(*(volatile uint64_t *)to)++;
}

static void
with_lock(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		mutex_lock(&lock);
		store(&field, true);
		mutex_unlock(&lock);
		RACE_READ(other);	/* nobody writes it: two may read */
	}
}

static void
marked_without_lock(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		store(&field, true);
		yield_point();
	}
}

static void
unmarked_without_lock(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		store(&field, false);
		yield_point();
	}
}

/* with_lock() against another of the three -> how many reports, or -1 for a release build. */
static int
meet(void (*fn)(void *))
{
	uint64_t samples = racewatch_samples(), former;
	struct thread *td[2];

	if (!FAULTLINE_DEBUG) {
		ktest_skip("release builds have no watched fields");
		return (-1);
	}
	mutex_init(&lock, "t-watched", RANK_NONE);
	reports = 0;
	last_report[0] = '\0';
	racewatch_hook = record;
	former = yield_points_set(ktest_random() | 1);
	td[0] = thread_create("t-locked", PRI_USER, with_lock, NULL);
	td[1] = thread_create("t-other", PRI_USER, fn, NULL);
	for (int i = 0; i < 2; i++)
		thread_join(td[i]);
	(void)yield_points_set(former);
	racewatch_hook = NULL;
	CHECK(racewatch_samples() > samples + ROUNDS / 20);
	return (reports);
}

KTEST(racewatch, who_holds_the_lock_is_not_accused)
{
	int n = meet(with_lock);

	CHECK(n <= 0);
}

KTEST_ONE(racewatch, write_without_the_lock_is_found)
{
	int n = meet(marked_without_lock);

	CHECK(n != 0);
	CHECK(n < 0 || strstr(last_report, "race: write") != NULL);
	CHECK(n < 0 || strstr(last_report, "during a write") != NULL || strstr(last_report, "something stored") != NULL);
}

KTEST_ONE(racewatch, store_without_a_mark_is_found)
{
	int n = meet(unmarked_without_lock);

	CHECK(n != 0);
	CHECK(n < 0 || strstr(last_report, "something stored there") != NULL);
}
