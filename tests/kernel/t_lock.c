/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mutual exclusion, preference, upgrades, and the debug checks: rank, recursion, sleeping where one
 * must not.
 */
#include "kernel/clock.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/lockwatch.h"
#include "tests/kernel/vmtest.h"

#define NTHREADS	6
#define ROUNDS		200

static MALLOC_DEFINE(M_TLOCK, "lock tests");

static struct mutex mtx;
static struct rwlock rwl;
static volatile int counter, inside, contended;

static struct thread *workers[NTHREADS];

static void
spawn_all(void (*fn)(void *))
{
	for (int i = 0; i < NTHREADS; i++) {
		workers[i] = thread_create("t-lock", PRI_USER, fn, NULL);
		CHECK(workers[i] != NULL);
	}
}

static void
join_all(void)
{
	for (int i = 0; i < NTHREADS; i++)
		if (workers[i] != NULL)
			thread_join(workers[i]);
}

/* A read, a chance for everybody else, a write: loses counts unless the lock excludes. */
static void
slow_increment(void)
{
	int was = counter;

	CHECK_EQ(inside++, 0);
	if (ktest_random() % 2 == 0)
		thread_yield();
	counter = was + 1;
	inside--;
}

static void
mutex_worker(void *arg)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		if (!mutex_trylock(&mtx)) {
			contended++;
			mutex_lock(&mtx);
		}
		slow_increment();
		mutex_unlock(&mtx);
	}
}

KTEST(lock, mutex_excludes)
{
	mutex_init(&mtx, "t-mutex", RANK_NONE);
	counter = inside = contended = 0;
	/* However the CPUs run afterwards, at first all of them want what we have. */
	mutex_lock(&mtx);
	spawn_all(mutex_worker);
	VT_WAIT(mtx.waiters == NTHREADS);
	mutex_unlock(&mtx);
	join_all();
	CHECK_EQ(counter, NTHREADS * ROUNDS);
	CHECK(contended > 0);
	CHECK_EQ(mtx.waiters, 0);
	CHECK_EQ(mtx.word, 0);
}

static void
rw_worker(void *arg)
{
	int i, seen;

	for (i = 0; i < ROUNDS; i++) {
		if (ktest_random() % 3 == 0) {
			rw_wlock(&rwl);
			slow_increment();
			rw_wunlock(&rwl);
		} else {
			rw_rlock(&rwl);
			seen = counter;
			CHECK_EQ(inside, 0);
			thread_yield();
			if (seen != counter)
				ktest_fail(__FILE__, __LINE__, "a writer got in beside a reader");
			rw_runlock(&rwl);
		}
	}
}

KTEST(lock, rwlock_excludes_writers)
{
	rw_init(&rwl, "t-rwlock", RANK_NONE);
	counter = inside = 0;
	spawn_all(rw_worker);
	join_all();
	CHECK(counter > 0);
	CHECK_EQ(rwl.word, 0);
	CHECK_EQ(rwl.read_waiters, 0);
	CHECK_EQ(rwl.write_waiters, 0);
	CHECK(rwl.writer == NULL);
}

static volatile bool go;

static void
hold_read_lock(void *arg)
{
	rw_rlock(&rwl);
	inside++;
	while (!go)
		(void)tsleep((const void *)&go, NULL, "t-hold", 1);
	rw_runlock(&rwl);
}

KTEST(lock, readers_share)
{
	struct thread *td[3];
	int i;

	rw_init(&rwl, "t-rwlock", RANK_NONE);
	inside = 0;
	go = false;
	for (i = 0; i < 3; i++)
		td[i] = thread_create("t-reader", PRI_KERNEL, hold_read_lock, NULL);
	VT_WAIT(inside == 3);
	CHECK_EQ(rwl.word & RW_READERS, 3);
	CHECK(!rw_trywlock(&rwl));
	CHECK(rw_tryrlock(&rwl));
	rw_runlock(&rwl);
	go = true;
	for (i = 0; i < 3; i++)
		thread_join(td[i]);
	CHECK(rw_trywlock(&rwl));
	rw_wunlock(&rwl);
}

static volatile int order[4], norder;

static void
want_write(void *arg)
{
	rw_wlock(&rwl);
	order[norder++] = 'w';
	rw_wunlock(&rwl);
}

static void
want_read(void *arg)
{
	rw_rlock(&rwl);
	order[norder++] = 'r';
	rw_runlock(&rwl);
}

/* We read; a writer waits; a reader that comes after the writer goes behind it. */
KTEST(lock, waiting_writer_keeps_new_readers_out)
{
	struct thread *writer, *reader;

	rw_init(&rwl, "t-rwlock", RANK_NONE);
	norder = 0;
	rw_rlock(&rwl);
	writer = thread_create("t-writer", PRI_KERNEL, want_write, NULL);
	VT_WAIT(rwl.write_waiters == 1);
	CHECK(!rw_tryrlock(&rwl));
	reader = thread_create("t-reader", PRI_KERNEL, want_read, NULL);
	VT_WAIT(rwl.read_waiters == 1);
	CHECK_EQ(norder, 0);
	rw_runlock(&rwl);
	thread_join(writer);
	thread_join(reader);
	CHECK_EQ(order[0], 'w');
	CHECK_EQ(order[1], 'r');
}

KTEST(lock, upgrade_only_as_the_last_reader)
{
	struct thread *td;

	rw_init(&rwl, "t-rwlock", RANK_NONE);
	inside = 0;
	go = false;
	td = thread_create("t-reader", PRI_KERNEL, hold_read_lock, NULL);
	VT_WAIT(inside == 1);
	rw_rlock(&rwl);
	CHECK(!rw_tryupgrade(&rwl));
	CHECK(!rw_wheld(&rwl) && rw_held(&rwl));
	go = true;
	thread_join(td);
	CHECK(rw_tryupgrade(&rwl));
	CHECK(rw_wheld(&rwl));
	rw_wunlock(&rwl);
	CHECK_EQ(rwl.word, 0);
}

KTEST(lock, downgrade_lets_waiting_readers_in)
{
	struct thread *td;

	rw_init(&rwl, "t-rwlock", RANK_NONE);
	inside = 0;
	go = false;
	rw_wlock(&rwl);
	td = thread_create("t-reader", PRI_KERNEL, hold_read_lock, NULL);
	VT_WAIT(rwl.read_waiters == 1);
	CHECK_EQ(inside, 0);
	rw_downgrade(&rwl);
	VT_WAIT(inside == 1);
	CHECK_EQ(rwl.word & RW_READERS, 2);
	CHECK(!rw_trywlock(&rwl));
	rw_runlock(&rwl);
	go = true;
	thread_join(td);
}

/* A mutex and a reader/writer lock in memory that lives no longer than its last holder wants. */
struct shortlived {
	struct mutex	mtx;
	struct rwlock	rw;
};

static volatile bool taken;

static void
take_and_destroy(void *arg)
{
	struct shortlived *s = arg;

	if (ktest_random() % 2 == 0) {
		mutex_lock(&s->mtx);
		rw_wlock(&s->rw);
	} else {
		while (!mutex_trylock(&s->mtx) || !rw_trywlock(&s->rw)) {
			if (mutex_held(&s->mtx))
				mutex_unlock(&s->mtx);
			if (ktest_random() % 4 == 0)
				thread_yield();
		}
	}
	rw_wunlock(&s->rw);
	mutex_unlock(&s->mtx);
	/* Whoever still looked at the locks would see waiters, and spin on a guard that is never let go. */
	memset(s, 0xa5, sizeof(*s));
	kfree(s, &M_TLOCK);
	taken = true;
}

/* An unlock is over for the lock as soon as another can have it: also when that one frees its memory. */
KTEST(lock, next_holder_may_destroy_the_lock)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct shortlived *s = kmalloc(sizeof(*s), &M_TLOCK, M_WAITOK);
		struct thread *td;

		mutex_init(&s->mtx, "t-mutex", RANK_NONE);
		rw_init(&s->rw, "t-rwlock", RANK_NONE);
		taken = false;
		mutex_lock(&s->mtx);
		rw_wlock(&s->rw);
		td = thread_create("t-heir", round % 2 ? PRI_KERNEL : PRI_USER, take_and_destroy, s);
		CHECK_OR_RETURN(td != NULL);
		if (round % 3 != 0)
			thread_yield();
		mutex_unlock(&s->mtx);
		if (round % 5 != 0)
			thread_yield();
		rw_wunlock(&s->rw);
		thread_join(td);
		CHECK(taken);
	}
}

KTEST(lock, spin_locks_nest_and_restore_interrupts)
{
	struct spinlock a, b;

	spin_init(&a, "t-a", RANK_NONE);
	spin_init(&b, "t-b", RANK_NONE);
	CHECK(intr_enabled());
	spin_lock(&a);
	spin_lock(&b);
	CHECK(!intr_enabled());
	spin_unlock(&a);		/* in any order */
	CHECK(!intr_enabled());
	CHECK(spin_held(&b) && !spin_held(&a));
	spin_unlock(&b);
	CHECK(intr_enabled());
	intr_disable();
	spin_lock(&a);
	spin_unlock(&a);
	CHECK(!intr_enabled());		/* as it was, not on */
	intr_enable();
	CHECK(spin_trylock(&a));
	CHECK(!spin_trylock(&a));
	spin_unlock(&a);
	CHECK(intr_enabled());
}

/* ---- the debug checks: each is seen to fire, and to keep still ---- */

KTEST(lock, rank_order_is_checked)
{
	struct mutex map;
	struct rwlock object;

	mutex_init(&map, "t-map", RANK_MAP);
	rw_init(&object, "t-object", RANK_OBJECT);
	if (!lockwatch_begin())
		return;
	mutex_lock(&map);
	rw_wlock(&object);
	CHECK_EQ(violations, 0);
	rw_wunlock(&object);
	mutex_unlock(&map);

	rw_rlock(&object);
	mutex_lock(&map);
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, "t-map") != NULL && strstr(last_violation, "t-object") != NULL);
	mutex_unlock(&map);
	CHECK(mutex_trylock(&map));		/* a try may break the rule */
	CHECK_EQ(violations, 1);
	mutex_unlock(&map);
	rw_runlock(&object);
	lockwatch_end();
}

KTEST(lock, spin_rank_order_is_checked)
{
	struct spinlock pageq, pv;

	spin_init(&pageq, "t-pageq", RANK_PAGEQ);
	spin_init(&pv, "t-pv", RANK_PV);
	if (!lockwatch_begin())
		return;
	spin_lock(&pageq);
	spin_lock(&pv);
	CHECK_EQ(violations, 0);
	spin_unlock(&pv);
	spin_unlock(&pageq);
	spin_lock(&pv);
	spin_lock(&pageq);
	CHECK_EQ(violations, 1);
	spin_unlock(&pageq);
	spin_unlock(&pv);
	lockwatch_end();
}

KTEST(lock, only_dup_ranks_nest_in_themselves)
{
	struct rwlock shadow, backing;
	struct mutex map1, map2;

	rw_init(&shadow, "t-shadow", RANK_OBJECT);
	rw_init(&backing, "t-backing", RANK_OBJECT);
	mutex_init(&map1, "t-map1", RANK_MAP);
	mutex_init(&map2, "t-map2", RANK_MAP);
	if (!lockwatch_begin())
		return;
	rw_wlock(&shadow);
	rw_wlock(&backing);
	CHECK_EQ(violations, 0);
	rw_wunlock(&backing);
	rw_wunlock(&shadow);
	mutex_lock(&map1);
	mutex_lock(&map2);
	CHECK_EQ(violations, 1);
	mutex_unlock(&map2);
	mutex_unlock(&map1);
	lockwatch_end();
}

KTEST(lock, sleeping_with_a_spin_lock_is_caught)
{
	struct spinlock l;
	struct mutex m;

	spin_init(&l, "t-spin", RANK_NONE);
	mutex_init(&m, "t-mutex", RANK_NONE);
	if (!lockwatch_begin())
		return;
	assert_can_sleep("t-sleep");
	CHECK_EQ(violations, 0);
	spin_lock(&l);
	assert_can_sleep("t-sleep");
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, "t-spin") != NULL && strstr(last_violation, "t-sleep") != NULL);
	mutex_lock(&m);			/* free, but it might have slept */
	CHECK_EQ(violations, 2);
	mutex_unlock(&m);
	spin_unlock(&l);
	lockwatch_end();
}

KTEST(lock, read_lock_released_by_a_stranger_is_caught)
{
	if (!lockwatch_begin())
		return;
	rw_init(&rwl, "t-rwlock", RANK_NONE);
	inside = 0;
	go = false;
	rwl.word = 1;		/* as if another thread read */
	rw_runlock(&rwl);
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, "t-rwlock") != NULL);
	lockwatch_end();
}
