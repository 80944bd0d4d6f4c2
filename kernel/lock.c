/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks.
 *
 * A spin lock is a word, which CPU holds it, and cli.  A sleep lock is a word, too, as long as nobody waits: one
 * compare-and-swap takes it, another lets it go.  Only who must wait goes through a guard, a spin
 * lock picked by the lock's address:
 *
 *	waiter				holder
 *	lock guard			word: owner away, WAITED stays	(1)
 *	word |= WAITED		(2)	was WAITED set?			(3)
 *	try once more		(4)	   yes: lock guard, wakeup_one, unlock
 *	sleep, guard as interlock
 *
 * (1) and (3) are one atomic step on the word that (2) changes, so either (4) finds the lock free, or
 * (3) sees (2) and wakes.  A lock is not handed over: the woken thread competes, which keeps a busy
 * lock busy.  WAITED is cleared by the last waiter on its way in.
 *
 * After (1) the holder uses the lock's address and never its memory: the thread that gets the lock
 * next may be the one that frees it (vm_object does so).  That is also why guards are not in the lock.
 *
 * Readers and writers work the same way on a count.  A waiting writer keeps new readers out; the
 * last reader wakes one writer, a writer wakes one writer or, if none waits, all readers.
 *
 * In debug builds each step is told to the checker (lockorder.c); release builds have none.
 */
#include "kernel/lock.h"
#include "kernel/kassert.h"
#include "kernel/lockorder.h"
#include "kernel/lockstat.h"
#include "kernel/thread.h"
#include "kernel/yieldpoint.h"

void (*lock_violation_hook)(const char *message);

/*
 * ---- spin locks
 * -----------------------------------------------------------------------------------
 */

void
spin_init(struct spinlock *l, const char *name, enum lock_rank rank)
{
	*l = (struct spinlock){ .lk = { .name = name, .kind = LOCK_SPIN, .rank = (uint8_t)rank } };
}

/* Interrupts off, remembering how they were before the first of several nested spin locks. */
static inline struct cpu *
spin_enter(void)
{
	uint64_t flags = read_rflags();
	struct cpu *cpu;

	intr_disable();
	cpu = curcpu;
	if (cpu->spin_depth++ == 0)
		cpu->spin_if = (flags & RFLAGS_IF) != 0;
	else if (FAULTLINE_DEBUG && (flags & RFLAGS_IF) != 0)
		lock_violation("interrupts are on although CPU %u holds a spin lock", cpu->id);
	return (cpu);
}

static inline void
spin_leave(struct cpu *cpu)
{
	if (--cpu->spin_depth > 0 || !cpu->spin_if)
		return;
	if (unlikely(cpu->resched))
		sched_preempt();
	intr_enable();
}

static inline bool
spin_take(struct spinlock *l, struct cpu *cpu)
{
	struct cpu *free = NULL;

	return (__atomic_compare_exchange_n(&l->owner, &free, cpu, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
}

static __attribute__((noinline)) void
spin_lock_slow(struct spinlock *l, struct cpu *cpu)
{
	uint64_t spins = 0;

	do {
		for (; l->owner != NULL && !panicking_here(); spins++)
			cpu_spinwait();
		if (panicking_here())
			l->owner = NULL;	/* a panic goes through all locks */
	} while (!spin_take(l, cpu));
	lockstat_contended(l->lk.name, spins);
}

void
spin_lock(struct spinlock *l)
{
	struct cpu *cpu;

	yield_point();
	cpu = spin_enter();
#if FAULTLINE_DEBUG
	if (l->owner == cpu && !panicking)
		panic("spin lock %s taken twice by CPU %u", l->lk.name, cpu->id);
#endif
	lockorder_wanted(&l->lk);
	if (unlikely(!spin_take(l, cpu)))
		spin_lock_slow(l, cpu);
	lockorder_spin_acquired(cpu, &l->lk);
}

bool
spin_trylock(struct spinlock *l)
{
	struct cpu *cpu = spin_enter();

	if (!spin_take(l, cpu)) {
		spin_leave(cpu);
		return (false);
	}
	lockorder_spin_acquired(cpu, &l->lk);
	return (true);
}

void
spin_unlock(struct spinlock *l)
{
	struct cpu *cpu = curcpu;

	KASSERT(l->owner == cpu, "unlock of spin lock %s, which CPU %u doesn't hold",
	    l->lk.name, cpu->id);
	lockorder_spin_released(cpu, &l->lk);
	__atomic_store_n(&l->owner, NULL, __ATOMIC_RELEASE);
	spin_leave(cpu);
	yield_point();
}

bool
spin_held(const struct spinlock *l)
{
	return (l->owner == curcpu);
}

/*
 * ---- waiting
 * ----------------------------------------------------------------------------------
 */

#define GUARDS	64		/* a power of two */

/* Slow paths only: going to sleep, and waking.  RANK_NONE: nothing but the sleep queue is taken inside. */
static struct spinlock guards[GUARDS] = {
	[0 ... GUARDS - 1] = SPINLOCK_INITIALIZER("lock guard", RANK_NONE)
};

static struct spinlock *
guard_of(const volatile void *lock)
{
	uintptr_t key = (uintptr_t)lock >> 4;

	return (&guards[(key ^ key >> 6 ^ key >> 12) % GUARDS]);
}

/*
 * ---- mutexes
 * --------------------------------------------------------------------------------------
 */

void
mutex_init(struct mutex *m, const char *name, enum lock_rank rank)
{
	*m = (struct mutex){ .lk = { .name = name, .kind = LOCK_MUTEX, .rank = (uint8_t)rank } };
}

static inline bool
mutex_take(struct mutex *m)
{
	uintptr_t free = 0;

	if (likely(__atomic_compare_exchange_n(&m->word, &free, (uintptr_t)curthread, false, __ATOMIC_SEQ_CST,
	    __ATOMIC_RELAXED)))
		return (true);
	return (free == MUTEX_WAITED && __atomic_compare_exchange_n(&m->word, &free,
	    (uintptr_t)curthread | MUTEX_WAITED, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
}

static __attribute__((noinline)) void
mutex_lock_slow(struct mutex *m)
{
	struct spinlock *guard = guard_of(m);

	lockstat_contended(m->lk.name, 0);
	spin_lock(guard);
	m->waiters++;
	__atomic_fetch_or(&m->word, MUTEX_WAITED, __ATOMIC_SEQ_CST);
	while (!mutex_take(m))
		(void)tsleep(m, &guard->lk, m->lk.name, 0);
	if (--m->waiters == 0)
		__atomic_fetch_and(&m->word, ~MUTEX_WAITED, __ATOMIC_SEQ_CST);
	spin_unlock(guard);
}

/* Let go although somebody waits.  => m is only an address once the word has changed. */
static __attribute__((noinline)) void
mutex_unlock_slow(struct mutex *m)
{
	struct spinlock *guard = guard_of(m);

	__atomic_store_n(&m->word, MUTEX_WAITED, __ATOMIC_SEQ_CST);
	spin_lock(guard);
	wakeup_one(m);
	spin_unlock(guard);
}

void
mutex_lock(struct mutex *m)
{
	yield_point();
	assert_can_sleep(m->lk.name);
	KASSERT(!mutex_held(m), "mutex %s taken twice by thread %s", m->lk.name, curthread->name);
	lockorder_wanted(&m->lk);
	if (unlikely(!mutex_take(m)))
		mutex_lock_slow(m);
	lockorder_acquired(&m->lk);
}

bool
mutex_trylock(struct mutex *m)
{
	if (!mutex_take(m))
		return (false);
	lockorder_acquired(&m->lk);
	return (true);
}

void
mutex_unlock(struct mutex *m)
{
	uintptr_t mine = (uintptr_t)curthread;

	KASSERT(mutex_held(m), "unlock of mutex %s, which thread %s doesn't hold", m->lk.name, curthread->name);
	lockorder_released(&m->lk);
	/* Once a waiter has set its bit, the bit stays until somebody gets in: one try decides. */
	if (unlikely(!__atomic_compare_exchange_n(&m->word, &mine, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)))
		mutex_unlock_slow(m);
	yield_point();
}

bool
mutex_held(const struct mutex *m)
{
	return ((m->word & ~MUTEX_WAITED) == (uintptr_t)curthread);
}

/*
 * ---- reader/writer locks
 * --------------------------------------------------------------------------
 */

void
rw_init(struct rwlock *rw, const char *name, enum lock_rank rank)
{
	*rw = (struct rwlock){ .lk = { .name = name, .kind = LOCK_RW, .rank = (uint8_t)rank } };
}

/* One more reader, unless a writer is in or waits. */
static inline bool
rw_enter_read(struct rwlock *rw)
{
	uint32_t word = __atomic_load_n(&rw->word, __ATOMIC_SEQ_CST);

	while ((word & (RW_WRITER | RW_WRITE_WAITED)) == 0)
		if (__atomic_compare_exchange_n(&rw->word, &word, word + 1, false, __ATOMIC_SEQ_CST,
		    __ATOMIC_SEQ_CST))
			return (true);
	return (false);
}

/*
 * The writer, if there are as many readers as we expect: 0 to take the lock, 1 to upgrade our own
 * read lock.
 */
static inline bool
rw_enter_write(struct rwlock *rw, uint32_t readers)
{
	uint32_t word = __atomic_load_n(&rw->word, __ATOMIC_SEQ_CST);

	while ((word & (RW_WRITER | RW_READERS)) == readers)
		if (__atomic_compare_exchange_n(&rw->word, &word, (word - readers) | RW_WRITER, false,
		    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
			rw->writer = curthread;
			return (true);
		}
	return (false);
}

/*
 * We let go, and the word said that somebody waits: wake who may come in now.
 * => rw is only an address; `word` is what it held when we let go.
 */
static __attribute__((noinline)) void
rw_wake(struct rwlock *rw, uint32_t word)
{
	struct spinlock *guard = guard_of(rw);

	spin_lock(guard);
	if (word & RW_WRITE_WAITED)
		wakeup_one(&rw->write_waiters);
	else
		wakeup(&rw->read_waiters);
	spin_unlock(guard);
}

static __attribute__((noinline)) void
rw_rlock_slow(struct rwlock *rw)
{
	struct spinlock *guard = guard_of(rw);

	lockstat_contended(rw->lk.name, 0);
	spin_lock(guard);
	rw->read_waiters++;
	__atomic_fetch_or(&rw->word, RW_READ_WAITED, __ATOMIC_SEQ_CST);
	while (!rw_enter_read(rw))
		(void)tsleep(&rw->read_waiters, &guard->lk, rw->lk.name, 0);
	if (--rw->read_waiters == 0)
		__atomic_fetch_and(&rw->word, ~RW_READ_WAITED, __ATOMIC_SEQ_CST);
	spin_unlock(guard);
}

/*
 * A writer that gives up its place in `write_waiters` by getting in leaves waking the readers to
 * its unlock.
 */
static __attribute__((noinline)) void
rw_wlock_slow(struct rwlock *rw)
{
	struct spinlock *guard = guard_of(rw);

	lockstat_contended(rw->lk.name, 0);
	spin_lock(guard);
	rw->write_waiters++;
	__atomic_fetch_or(&rw->word, RW_WRITE_WAITED, __ATOMIC_SEQ_CST);
	while (!rw_enter_write(rw, 0))
		(void)tsleep(&rw->write_waiters, &guard->lk, rw->lk.name, 0);
	if (--rw->write_waiters == 0)
		__atomic_fetch_and(&rw->word, ~RW_WRITE_WAITED, __ATOMIC_SEQ_CST);
	spin_unlock(guard);
}

void
rw_rlock(struct rwlock *rw)
{
	yield_point();
	assert_can_sleep(rw->lk.name);
	KASSERT(rw->writer != curthread, "rwlock %s: thread %s reads what it holds to write", rw->lk.name,
	    curthread->name);
	lockorder_wanted(&rw->lk);
	if (unlikely(!rw_enter_read(rw)))
		rw_rlock_slow(rw);
	lockorder_acquired(&rw->lk);
}

bool
rw_tryrlock(struct rwlock *rw)
{
	if (!rw_enter_read(rw))
		return (false);
	lockorder_acquired(&rw->lk);
	return (true);
}

void
rw_runlock(struct rwlock *rw)
{
	uint32_t word;

	KASSERT((rw->word & RW_READERS) > 0, "rwlock %s: read unlock, and nobody reads", rw->lk.name);
	lockorder_released(&rw->lk);
	word = __atomic_fetch_sub(&rw->word, 1, __ATOMIC_SEQ_CST);
	if ((word & RW_READERS) == 1 && unlikely(word & RW_WRITE_WAITED))
		rw_wake(rw, word);
	yield_point();
}

void
rw_wlock(struct rwlock *rw)
{
	yield_point();
	assert_can_sleep(rw->lk.name);
	KASSERT(rw->writer != curthread, "rwlock %s taken twice by thread %s", rw->lk.name,
	    curthread->name);
	lockorder_wanted(&rw->lk);
	if (unlikely(!rw_enter_write(rw, 0)))
		rw_wlock_slow(rw);
	lockorder_acquired(&rw->lk);
}

bool
rw_trywlock(struct rwlock *rw)
{
	if (!rw_enter_write(rw, 0))
		return (false);
	lockorder_acquired(&rw->lk);
	return (true);
}

void
rw_wunlock(struct rwlock *rw)
{
	uint32_t word;

	KASSERT(rw->writer == curthread, "write unlock of rwlock %s, which thread %s doesn't hold",
	    rw->lk.name, curthread->name);
	lockorder_released(&rw->lk);
	rw->writer = NULL;
	word = __atomic_fetch_sub(&rw->word, RW_WRITER, __ATOMIC_SEQ_CST);
	if (unlikely(word & (RW_WRITE_WAITED | RW_READ_WAITED)))
		rw_wake(rw, word);
	yield_point();
}

/* Whoever may unlock it and sees a writer is the writer. */
void
rw_unlock(struct rwlock *rw)
{
	if (rw->word & RW_WRITER)
		rw_wunlock(rw);
	else
		rw_runlock(rw);
}

bool
rw_tryupgrade(struct rwlock *rw)
{
	KASSERT((rw->word & RW_READERS) > 0, "rwlock %s: upgrade, and nobody reads", rw->lk.name);
	return (rw_enter_write(rw, 1));
}

void
rw_downgrade(struct rwlock *rw)
{
	uint32_t word;

	KASSERT(rw->writer == curthread, "downgrade of rwlock %s, which thread %s doesn't hold",
	    rw->lk.name, curthread->name);
	rw->writer = NULL;
	word = __atomic_fetch_sub(&rw->word, RW_WRITER - 1, __ATOMIC_SEQ_CST);
	/* Readers may join us, unless a writer waits: that one is woken by the last of us. */
	if (unlikely((word & (RW_WRITE_WAITED | RW_READ_WAITED)) == RW_READ_WAITED))
		rw_wake(rw, word);
}

bool
rw_wheld(const struct rwlock *rw)
{
	return (rw->writer == curthread);
}

bool
rw_held(const struct rwlock *rw)
{
	return (rw->writer == curthread || (rw->word & RW_READERS) > 0);
}

/*
 * ---- interlocks
 * -----------------------------------------------------------------------------------
 */

enum { MODE_PLAIN, MODE_READ, MODE_WRITE };

int
lock_drop(struct lock *l)
{
	struct rwlock *rw;

	switch (l->kind) {
	case LOCK_SPIN:
		spin_unlock(container_of(l, struct spinlock, lk));
		return (MODE_PLAIN);
	case LOCK_MUTEX:
		mutex_unlock(container_of(l, struct mutex, lk));
		return (MODE_PLAIN);
	default:
		rw = container_of(l, struct rwlock, lk);
		if (rw_wheld(rw)) {
			rw_wunlock(rw);
			return (MODE_WRITE);
		}
		rw_runlock(rw);
		return (MODE_READ);
	}
}

void
lock_retake(struct lock *l, int mode)
{
	if (l->kind == LOCK_SPIN)
		spin_lock(container_of(l, struct spinlock, lk));
	else if (l->kind == LOCK_MUTEX)
		mutex_lock(container_of(l, struct mutex, lk));
	else if (mode == MODE_WRITE)
		rw_wlock(container_of(l, struct rwlock, lk));
	else
		rw_rlock(container_of(l, struct rwlock, lk));
}
