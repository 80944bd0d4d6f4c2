/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads, the scheduler, and sleep queues. */
#include "kernel/clock.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/vmtest.h"

static struct spinlock lock = SPINLOCK_INITIALIZER("t_thread", RANK_NONE);

static struct thread *
spawn(const char *name, enum thread_prio prio, void (*fn)(void *), void *arg)
{
	struct thread *td = thread_create(name, prio, fn, arg);

	CHECK(td != NULL);
	return (td);
}

/*
 * ---- creation and end
 * ------------------------------------------------------------------------------
 */

static void
set_flag(void *arg)
{
	*(volatile int *)arg = 1;
}

KTEST(thread, runs_and_joins)
{
	volatile int flag = 0;
	struct thread *td = spawn("t-flag", PRI_KERNEL, set_flag, (void *)&flag);

	thread_join(td);
	CHECK_EQ(flag, 1);
}

static void
count_thread(struct thread *td, void *arg)
{
	(*(int *)arg)++;
}

static int
count_threads(void)
{
	int n = 0;

	thread_foreach(count_thread, &n);
	return (n);
}

KTEST_ONE(thread, detached_threads_are_reaped)
{
	volatile int flag[8] = { 0 };
	int before = count_threads(), i;
	uint64_t inuse = kmalloc_inuse();

	for (i = 0; i < 8; i++)
		thread_detach(spawn("t-detached", PRI_KERNEL, set_flag, (void *)&flag[i]));
	/* The reaper takes a thread off the list before it gives its memory back. */
	VT_WAIT(count_threads() == before && kmalloc_inuse() == inuse);
	for (i = 0; i < 8; i++)
		CHECK_EQ(flag[i], 1);
}

KTEST(thread, many_in_turn)
{
	volatile int flag;
	int i;

	for (i = 0; i < 100; i++) {
		flag = 0;
		thread_join(spawn("t-turn", PRI_KERNEL, set_flag, (void *)&flag));
		if (!CHECK_EQ(flag, 1))
			return;
	}
}

/*
 * ---- preemption
 * ------------------------------------------------------------------------------------
 */

static volatile bool stop;
static volatile uint64_t spins[2];

static void
spin_until_stop(void *arg)
{
	volatile uint64_t *count = arg;

	while (!stop)
		(*count)++;
}

KTEST_ONE(thread, spinning_threads_share_the_cpu)
{
	struct thread *a, *b;
	uint64_t switches = curcpu->switches;

	stop = false;
	spins[0] = spins[1] = 0;
	a = spawn("t-spin-a", PRI_USER, spin_until_stop, (void *)&spins[0]);
	b = spawn("t-spin-b", PRI_USER, spin_until_stop, (void *)&spins[1]);
	(void)tsleep(&stop, NULL, "ktest", 20);
	stop = true;
	thread_join(a);
	thread_join(b);
	CHECK(spins[0] > 0);
	CHECK(spins[1] > 0);
	CHECK(curcpu->switches - switches >= 4);
}

/*
 * Only preemption by the timer can let the second thread stop the first: same class, and it never
 * yields.
 */
KTEST_ONE(thread, timer_preempts_a_spinner_of_the_same_class)
{
	volatile int flag = 0;
	struct thread *a, *b;

	stop = false;
	spins[0] = 0;
	a = spawn("t-spinner", PRI_USER, spin_until_stop, (void *)&spins[0]);
	b = spawn("t-after", PRI_USER, set_flag, (void *)&flag);
	VT_WAIT(flag == 1);
	CHECK(spins[0] > 0);
	stop = true;
	thread_join(a);
	thread_join(b);
}

static volatile uint64_t woken_at;
static volatile bool waiting;

static void
sleep_then_stamp(void *arg)
{
	spin_lock(&lock);
	waiting = true;
	(void)tsleep(&woken_at, &lock.lk, "t-wait", VT_PATIENCE);
	spin_unlock(&lock);
	woken_at = clock_ns();
}

/* The woken thread is of a better class, so it runs before wakeup() has returned to us. */
KTEST_ONE(thread, wakeup_of_a_better_class_preempts_at_once)
{
	struct thread *td;

	woken_at = 0;
	waiting = false;
	td = spawn("t-better", PRI_INTR, sleep_then_stamp, NULL);
	VT_WAIT(waiting && sleepers(&woken_at) == 1);
	wakeup(&woken_at);
	CHECK(woken_at != 0);
	thread_join(td);
}

KTEST_ONE(thread, wakeup_of_a_worse_class_does_not_preempt)
{
	struct thread *td;

	woken_at = 0;
	waiting = false;
	td = spawn("t-worse", PRI_USER, sleep_then_stamp, NULL);
	VT_WAIT(waiting && sleepers(&woken_at) == 1);
	wakeup(&woken_at);
	CHECK(woken_at == 0);
	thread_join(td);
	CHECK(woken_at != 0);
}

KTEST_ONE(thread, holding_a_spin_lock_defers_preemption)
{
	struct thread *td;

	woken_at = 0;
	waiting = false;
	td = spawn("t-deferred", PRI_INTR, sleep_then_stamp, NULL);
	VT_WAIT(waiting && sleepers(&woken_at) == 1);
	spin_lock(&lock);
	wakeup(&woken_at);
	CHECK(woken_at == 0);
	spin_unlock(&lock);
	CHECK(woken_at != 0);
	thread_join(td);
}

/*
 * ---- sleeping
 * --------------------------------------------------------------------------------------
 */

KTEST(sleep, timeout_returns_ewouldblock)
{
	uint64_t begin = ticks;
	int chan = 0;

	CHECK_EQ(tsleep(&chan, NULL, "t-time", 5), EWOULDBLOCK);
	CHECK(ticks - begin >= 5);
	CHECK(ticks - begin < VT_PATIENCE);	/* an early one would be seen above, a late one may be the host's */
	CHECK_EQ(sleepers(&chan), 0);
}

static volatile int order[8], norder;

struct napper {
	const void	*chan;
	uint64_t	 nticks;
	uint64_t	 due;		/* tick at which its time is over, as it begins to sleep */
	int		 number;
	int		 error;
};

static void
nap(void *arg)
{
	struct napper *n = arg;

	spin_lock(&lock);
	n->due = ticks + n->nticks;
	n->error = tsleep(n->chan, &lock.lk, "t-nap", n->nticks);
	order[norder++] = n->number;
	spin_unlock(&lock);
}

/* When each began is the host's affair, so it is asked of each; and on one CPU who wakes first runs first. */
KTEST_ONE(sleep, timeouts_end_in_their_own_order)
{
	struct napper naps[4] = { { .nticks = 8 }, { .nticks = 2 }, { .nticks = 6 }, { .nticks = 4 } };
	struct thread *td[4];
	int i;

	norder = 0;
	for (i = 0; i < 4; i++) {
		naps[i].number = i;
		naps[i].chan = &naps[i];
		td[i] = spawn("t-nap", PRI_KERNEL, nap, &naps[i]);
	}
	for (i = 0; i < 4; i++)
		thread_join(td[i]);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(naps[i].error, EWOULDBLOCK);
		CHECK(i == 0 || naps[order[i - 1]].due <= naps[order[i]].due);
	}
}

KTEST(sleep, wakeup_one_takes_the_longest_sleeper)
{
	struct napper naps[4];
	struct thread *td[4];
	int chan = 0, i;

	norder = 0;
	for (i = 0; i < 4; i++) {
		naps[i] = (struct napper){ .chan = &chan, .nticks = VT_PATIENCE, .number = i, .error = -1 };
		td[i] = spawn("t-one", PRI_KERNEL, nap, &naps[i]);
		VT_WAIT(sleepers(&chan) == i + 1);
	}
	for (i = 0; i < 4; i++) {
		wakeup_one(&chan);
		VT_WAIT(norder == i + 1);
		CHECK_EQ(sleepers(&chan), 3 - i);
		CHECK_EQ(order[i], i);
	}
	for (i = 0; i < 4; i++) {
		thread_join(td[i]);
		CHECK_EQ(naps[i].error, 0);
	}
}

KTEST(sleep, wakeup_takes_all_of_its_channel_only)
{
	struct napper naps[4];
	struct thread *td[4];
	int chan = 0, other = 0, i;

	norder = 0;
	for (i = 0; i < 4; i++) {
		naps[i] = (struct napper){ .chan = i == 2 ? &other : &chan, .nticks = VT_PATIENCE, .number = i };
		td[i] = spawn("t-all", PRI_KERNEL, nap, &naps[i]);
	}
	VT_WAIT(sleepers(&chan) == 3 && sleepers(&other) == 1);
	wakeup(&chan);
	VT_WAIT(norder == 3);
	CHECK_EQ(sleepers(&other), 1);
	wakeup(&other);
	for (i = 0; i < 4; i++)
		thread_join(td[i]);
}

KTEST(sleep, wakeup_without_sleepers_is_forgotten)
{
	int chan = 0;

	wakeup(&chan);
	wakeup_one(&chan);
	CHECK_EQ(tsleep(&chan, NULL, "t-none", 2), EWOULDBLOCK);
}

/*
 * The interlock race: two threads pass a ball, each sleeping until it is theirs, with nothing but
 * the interlock between looking and sleeping.  A wakeup lost once shows as a time-out.
 */
#define PASSES	2000

static struct game {
	struct lock	*interlock;
	void		(*take)(void);
	void		(*drop)(void);
	volatile int	 ball;
	volatile bool	 lost;
	volatile int	 slept;
} game;

static void
play(void *arg)
{
	int me = *(int *)arg, pass;

	for (pass = 0; pass < PASSES && !game.lost; pass++) {
		game.take();
		while (game.ball != me && !game.lost) {
			game.slept++;
			if (tsleep((const void *)&game.ball, game.interlock, "t-ball", VT_PATIENCE) != 0)
				game.lost = true;
		}
		game.ball = 1 - me;
		wakeup((const void *)&game.ball);
		game.drop();
		if (ktest_random() % 4 == 0)
			thread_yield();
	}
}

static void
play_game(struct lock *interlock, void (*take)(void), void (*drop)(void))
{
	static int numbers[2] = { 0, 1 };
	struct thread *a, *b;

	game = (struct game){ .interlock = interlock, .take = take, .drop = drop };
	a = spawn("t-ball-0", PRI_USER, play, &numbers[0]);
	b = spawn("t-ball-1", PRI_USER, play, &numbers[1]);
	thread_join(a);
	thread_join(b);
	CHECK(!game.lost);
	CHECK(game.slept > PASSES / 2);
}

static struct mutex mtx;
static struct rwlock rwl;

static void take_spin(void) { spin_lock(&lock); }
static void drop_spin(void) { spin_unlock(&lock); }
static void take_mutex(void) { mutex_lock(&mtx); }
static void drop_mutex(void) { mutex_unlock(&mtx); }
static void take_write(void) { rw_wlock(&rwl); }
static void drop_write(void) { rw_wunlock(&rwl); }

KTEST(sleep, no_wakeup_is_lost_with_a_spinlock)
{
	play_game(&lock.lk, take_spin, drop_spin);
}

KTEST(sleep, no_wakeup_is_lost_with_a_mutex)
{
	mutex_init(&mtx, "t-mutex", RANK_NONE);
	play_game(&mtx.lk, take_mutex, drop_mutex);
}

KTEST(sleep, no_wakeup_is_lost_with_a_write_lock)
{
	rw_init(&rwl, "t-rwlock", RANK_NONE);
	play_game(&rwl.lk, take_write, drop_write);
}

/*
 * The narrowest place of that race, hit on purpose: letting the interlock go lets a better thread
 * run, which wakes us before we sleep.
 */
static volatile bool ready, ran;
static int narrow_chan;

static void
wake_early_spin(void *arg)
{
	spin_lock(&lock);
	ready = true;
	(void)tsleep((const void *)&ready, &lock.lk, "t-early", VT_PATIENCE);
	ran = true;
	wakeup(&narrow_chan);
	spin_unlock(&lock);
}

KTEST(sleep, wakeup_before_sleeping_is_seen_with_a_spinlock)
{
	struct thread *td;

	ready = ran = false;
	td = spawn("t-early", PRI_INTR, wake_early_spin, NULL);
	VT_WAIT(sleepers((const void *)&ready) == 1);
	spin_lock(&lock);
	wakeup((const void *)&ready);		/* runs as soon as we hold no spin lock */
	CHECK(!ran);
	CHECK_EQ(tsleep(&narrow_chan, &lock.lk, "t-narrow", VT_PATIENCE), 0);
	CHECK(ran);
	spin_unlock(&lock);
	thread_join(td);
}

static void
wake_early_mutex(void *arg)
{
	mutex_lock(&mtx);
	ran = true;
	wakeup(&narrow_chan);
	mutex_unlock(&mtx);
}

KTEST(sleep, wakeup_before_sleeping_is_seen_with_a_mutex)
{
	struct thread *td;

	ran = false;
	mutex_init(&mtx, "t-mutex", RANK_NONE);
	mutex_lock(&mtx);
	td = spawn("t-early", PRI_INTR, wake_early_mutex, NULL);
	VT_WAIT(mtx.waiters == 1);
	CHECK(!ran);
	CHECK_EQ(tsleep(&narrow_chan, &mtx.lk, "t-narrow", VT_PATIENCE), 0);
	CHECK(ran);
	CHECK(mutex_held(&mtx));
	mutex_unlock(&mtx);
	thread_join(td);
}

/* A read interlock is let go while asleep, and taken again as a read lock. */
static volatile int read_error;

static void
sleep_with_read_lock(void *arg)
{
	rw_rlock(&rwl);
	read_error = tsleep((const void *)&read_error, &rwl.lk, "t-read", VT_PATIENCE);
	CHECK(!rw_wheld(&rwl));
	CHECK_EQ(rwl.word & RW_READERS, 1);
	rw_runlock(&rwl);
}

KTEST(sleep, read_interlock_is_let_go_and_retaken)
{
	struct thread *td;

	rw_init(&rwl, "t-rwlock", RANK_NONE);
	read_error = -1;
	td = spawn("t-reader", PRI_KERNEL, sleep_with_read_lock, NULL);
	VT_WAIT(sleepers((const void *)&read_error) == 1);
	CHECK(rw_trywlock(&rwl));
	wakeup((const void *)&read_error);
	(void)tsleep(&td, NULL, "ktest", 2);
	CHECK_EQ(read_error, -1);		/* woken, but it waits for its lock */
	rw_wunlock(&rwl);
	thread_join(td);
	CHECK_EQ(read_error, 0);
	CHECK_EQ(rwl.word, 0);
}

KTEST(sleep, interrupts_and_depth_are_as_before)
{
	int chan = 0;

	CHECK(intr_enabled());
	CHECK_EQ(curcpu->spin_depth, 0);
	spin_lock(&lock);
	CHECK(!intr_enabled());
	(void)tsleep(&chan, &lock.lk, "t-depth", 1);
	CHECK(spin_held(&lock));
	CHECK(!intr_enabled());
	CHECK_EQ(curcpu->spin_depth, 1);
	spin_unlock(&lock);
	CHECK(intr_enabled());
}

/*
 * ---- time
 * ------------------------------------------------------------------------------------------
 */

KTEST(clock, nanoseconds_are_monotonic_and_agree_with_ticks)
{
	uint64_t ns = clock_ns(), last = ns, now, begin = ticks;
	int i;

	for (i = 0; i < 1000; i++) {
		now = clock_ns();
		if (!CHECK(now >= last))
			return;
		last = now;
	}
	(void)tsleep(&ns, NULL, "t-clock", 20);
	ns = (clock_ns() - ns) / 1000000;
	CHECK(ticks - begin >= 20);
	/* A busy host may swallow ticks, but never hands out too many. */
	CHECK(ns >= (ticks - begin - 1) * 1000 / HZ * 8 / 10);
	CHECK(clock_wall_seconds() > 1600000000);
}
