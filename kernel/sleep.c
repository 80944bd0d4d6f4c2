/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sleep queues: threads asleep, found by the address that they wait for.
 *
 *	hash(chan) -> chain of sleepers, longest first
 *	timeouts   -> those of them that also wait for a tick, soonest first
 *
 * tsleep() must not lose a wakeup that comes between letting the interlock go and being asleep.  So
 * a thread first goes on the chain, then drops the interlock, then looks whether it is still on the
 * chain:
 *
 *	tsleep				wakeup
 *	onto the chain			...changes the condition, under the interlock
 *	drop the interlock
 *					off the chain
 *	still there? no: don't sleep
 *
 * Being on a chain and being TD_ASLEEP are thus two things; a wakeup takes a thread off the chain
 * and makes it runnable only if it was really asleep.
 *
 * One lock guards all chains: interlock -> sleepq_lock -> sched_lock.
 */
#include "kernel/clock.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/sched.h"
#include "kernel/stage.h"

#define CHAINS		128	/* a power of two */

static struct spinlock sleepq_lock = SPINLOCK_INITIALIZER("sleepq", RANK_SLEEPQ);
static struct thread_list chains[CHAINS];
static struct thread_list timeouts;

static struct thread_list *
chain_of(const volatile void *chan)
{
	uint64_t key = (uint64_t)chan >> 3;

	return (&chains[(key ^ key >> 7 ^ key >> 14) % CHAINS]);
}

/* => sleepq_lock */
static void
timeout_insert(struct thread *td)
{
	struct thread *at;

	TAILQ_FOREACH(at, &timeouts, timeout_link)
		if (at->wake_tick > td->wake_tick) {
			TAILQ_INSERT_BEFORE(&timeouts, at, td, timeout_link);
			return;
		}
	TAILQ_INSERT_TAIL(&timeouts, td, timeout_link);
}

/* Take a thread off its chain; if it got as far as sleeping, let it run.  => sleepq_lock */
static void
sleepq_remove(struct thread *td, int error)
{
	struct thread_list *chain = chain_of(td->wchan);

	STAGE(WAKE, td->wchan, td, td->tid, 0);
	TAILQ_REMOVE(chain, td, sleep_link);
	if (td->wake_tick != 0)
		TAILQ_REMOVE(&timeouts, td, timeout_link);
	td->wchan = NULL;
	td->wake_tick = 0;
	td->interruptible = false;
	td->wake_error = error;
	sched_wake(td);
}

static int
sleep_on(const volatile void *chan, struct lock *interlock, const char *wmesg, uint64_t nticks, bool interruptible)
{
	struct thread *td = curthread;
	int mode = 0, error;

	KASSERT(chan != NULL && wmesg != NULL, "sleep on nothing");
	KASSERT(td->wchan == NULL, "thread %s sleeps twice", td->name);
	spin_lock(&sleepq_lock);
	td->wchan = chan;
	td->wmesg = wmesg;
	td->wake_error = 0;
	td->interruptible = interruptible;
	td->wake_tick = nticks != 0 ? ticks + nticks : 0;
	TAILQ_INSERT_TAIL(chain_of(chan), td, sleep_link);
	if (nticks != 0)
		timeout_insert(td);
	spin_unlock(&sleepq_lock);

	if (interlock != NULL)
		mode = lock_drop(interlock);
	assert_can_sleep(wmesg);
	STAGE(SLEEP, chan, wmesg, 0, 0);

	spin_lock(&sleepq_lock);
	if (td->wchan != NULL && interruptible && td->ast)
		sleepq_remove(td, ERESTARTSYS);
	if (td->wchan != NULL) {
		spin_lock(&sched_lock);
		thread_set_state(td, TD_ASLEEP);
		spin_unlock(&sleepq_lock);
		sched_switch();
		spin_unlock(&sched_lock);
	} else {
		spin_unlock(&sleepq_lock);
	}
	td->wmesg = NULL;
	error = td->wake_error;
	if (interlock != NULL)
		lock_retake(interlock, mode);	/* may sleep itself */
	return (error);
}

int
tsleep(const volatile void *chan, struct lock *interlock, const char *wmesg, uint64_t nticks)
{
	return (sleep_on(chan, interlock, wmesg, nticks, false));
}

int
tsleep_sig(const volatile void *chan, struct lock *interlock, const char *wmesg, uint64_t nticks)
{
	return (sleep_on(chan, interlock, wmesg, nticks, true));
}

/* Setting ast first: a thread that is not on a chain yet looks at it before it sleeps. */
void
thread_interrupt(struct thread *td)
{
	td->ast = true;
	spin_lock(&sleepq_lock);
	if (td->wchan != NULL && td->interruptible)
		sleepq_remove(td, ERESTARTSYS);
	else
		sched_kick(td);
	spin_unlock(&sleepq_lock);
}

void
wakeup(const volatile void *chan)
{
	struct thread_list *chain = chain_of(chan);
	struct thread *td, *next;

	spin_lock(&sleepq_lock);
	TAILQ_FOREACH_SAFE(td, chain, sleep_link, next)
		if (td->wchan == chan)
			sleepq_remove(td, 0);
	spin_unlock(&sleepq_lock);
}

void
wakeup_one(const volatile void *chan)
{
	struct thread *td;

	spin_lock(&sleepq_lock);
	TAILQ_FOREACH(td, chain_of(chan), sleep_link)
		if (td->wchan == chan) {
			sleepq_remove(td, 0);
			break;
		}
	spin_unlock(&sleepq_lock);
}

int
sleepers(const volatile void *chan)
{
	struct thread *td;
	int n = 0;

	spin_lock(&sleepq_lock);
	TAILQ_FOREACH(td, chain_of(chan), sleep_link)
		if (td->wchan == chan && td->state == TD_ASLEEP)
			n++;
	spin_unlock(&sleepq_lock);
	return (n);
}

void
sleepq_tick(void)
{
	struct thread *td;

	if (TAILQ_EMPTY(&timeouts))	/* a stale look only delays a time-out by a tick */
		return;
	spin_lock(&sleepq_lock);
	while ((td = TAILQ_FIRST(&timeouts)) != NULL && td->wake_tick <= ticks)
		sleepq_remove(td, EWOULDBLOCK);
	spin_unlock(&sleepq_lock);
}
