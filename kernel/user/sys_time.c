/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time for programs: clocks, sleeping, timers, and how much of it was used.
 *
 * Sleeps end at a tick of the timer (HZ), never early.  CPU time is counted by whom a tick interrupts.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/lib/string.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"
#include "vm/vm_map.h"

#define NS		1000000000ul
#define TICK_NS		(NS / HZ)
#define TIMER_ABSTIME	1

enum { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME, CLOCK_THREAD_CPUTIME, CLOCK_MONOTONIC_RAW,
    CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME };
#define RUSAGE_SELF	0
#define RUSAGE_CHILDREN	(-1)
#define RUSAGE_THREAD	1

struct timeval {
	int64_t		tv_sec, tv_usec;
};

int
timespec_in(vm_offset_t from, struct timespec *ts)
{
	if (copyin(from, ts, sizeof(*ts)) != 0)
		return (EFAULT);
	return (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= (int64_t)NS ? EINVAL : 0);
}

uint64_t
timespec_ns(const struct timespec *ts)
{
	if ((uint64_t)ts->tv_sec >= INT64_MAX / NS)
		return (INT64_MAX);
	return ((uint64_t)ts->tv_sec * NS + (uint64_t)ts->tv_nsec);
}

uint64_t
ns_to_ticks(uint64_t ns)
{
	return (howmany(ns, TICK_NS) + 1);
}

static struct timespec
to_timespec(uint64_t ns)
{
	return ((struct timespec){ (int64_t)(ns / NS), (int64_t)(ns % NS) });
}

static struct timeval
to_timeval(uint64_t ns)
{
	return ((struct timeval){ (int64_t)(ns / NS), (int64_t)(ns % NS / 1000) });
}

/* CPU time of a process or thread that is not the caller, by the number that the C library makes of its id. */
static bool
clock_read_other(int clock, uint64_t *ns)
{
	enum { CLOCK_OF_THREAD = 4 };
	int id = ~(clock >> 3);
	struct uthread *ut;
	struct proc *p;
	bool found = false;

	if ((clock & 3) == 3)
		return (false);
	spin_lock(&proc_lock);
	if (clock & CLOCK_OF_THREAD) {
		ut = id == 0 ? curuthread : uthread_find(id);
		found = ut != NULL && ut->proc == curproc;
		*ns = found ? (ut->ticks[0] + ut->ticks[1]) * TICK_NS : 0;
	} else {
		p = id == 0 ? curproc : proc_find(id);
		found = p != NULL;
		*ns = found ? (p->user_ticks + p->sys_ticks) * TICK_NS : 0;
	}
	spin_unlock(&proc_lock);
	return (found);
}

static bool
clock_read(int clock, uint64_t *ns)
{
	struct proc *p = curproc;

	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		*ns = clock_wall_ns();
		return (true);
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		*ns = clock_ns();
		return (true);
	case CLOCK_PROCESS_CPUTIME:
		*ns = (p->user_ticks + p->sys_ticks) * TICK_NS;
		return (true);
	case CLOCK_THREAD_CPUTIME:
		*ns = (curuthread->ticks[0] + curuthread->ticks[1]) * TICK_NS;
		return (true);
	default:
		return (clock < 0 && clock_read_other(clock, ns));
	}
}

int64_t
sys_clock_gettime(const uint64_t *a)
{
	struct timespec ts;
	uint64_t ns;

	if (!clock_read((int)a[0], &ns))
		return (-EINVAL);
	ts = to_timespec(ns);
	return (-copyout(&ts, a[1], sizeof(ts)));
}

int64_t
sys_clock_getres(const uint64_t *a)
{
	struct timespec ts = { 0, 1 };
	uint64_t ns;

	if (!clock_read((int)a[0], &ns))
		return (-EINVAL);
	if ((int)a[0] == CLOCK_REALTIME_COARSE || (int)a[0] == CLOCK_MONOTONIC_COARSE)
		ts.tv_nsec = TICK_NS;
	return (a[1] != 0 ? -copyout(&ts, a[1], sizeof(ts)) : 0);
}

int64_t
sys_gettimeofday(const uint64_t *a)
{
	struct timeval tv = to_timeval(clock_wall_ns());
	static const int32_t zone[2];		/* UTC */

	if (a[0] != 0 && copyout(&tv, a[0], sizeof(tv)) != 0)
		return (-EFAULT);
	return (a[1] != 0 ? -copyout(zone, a[1], sizeof(zone)) : 0);
}

int64_t
sys_time(const uint64_t *a)
{
	int64_t now = (int64_t)clock_wall_seconds();

	if (a[0] != 0 && copyout(&now, a[0], sizeof(now)) != 0)
		return (-EFAULT);
	return (now);
}

/* ---- sleeping ---- */

/* Until clock_ns() is `deadline`.  0 or ERESTARTSYS: a signal is to be acted on (stops are not: they just last). */
static int
sleep_until(uint64_t deadline)
{
	static const char chan;
	uint64_t now;

	while ((now = clock_ns()) < deadline) {
		if (signal_deliverable())
			return (ERESTARTSYS);
		(void)tsleep_sig(&chan, NULL, "nanoslp", ns_to_ticks(MIN(deadline - now, 3600 * NS)));
	}
	return (0);
}

/* What is left of a relative sleep goes to the program. */
static int64_t
sleep_relative(uint64_t ns, vm_offset_t left_to)
{
	uint64_t now = clock_ns(), deadline = ns < UINT64_MAX - now ? now + ns : UINT64_MAX;
	struct timespec left;

	if (sleep_until(deadline) == 0)
		return (0);
	now = clock_ns();
	left = to_timespec(deadline > now ? deadline - now : 0);
	if (left_to != 0 && copyout(&left, left_to, sizeof(left)) != 0)
		return (-EFAULT);
	return (-EINTR);
}

int64_t
sys_nanosleep(const uint64_t *a)
{
	struct timespec ts;
	int error = timespec_in(a[0], &ts);

	return (error != 0 ? -error : sleep_relative(timespec_ns(&ts), a[1]));
}

int64_t
sys_clock_nanosleep(const uint64_t *a)
{
	bool realtime = (int)a[0] == CLOCK_REALTIME;
	struct timespec ts;
	uint64_t ns;
	int error;

	if (!realtime && (int)a[0] != CLOCK_MONOTONIC && (int)a[0] != CLOCK_BOOTTIME)
		return (-EINVAL);
	error = timespec_in(a[2], &ts);
	if (error != 0)
		return (-error);
	ns = timespec_ns(&ts);
	if (!(a[1] & TIMER_ABSTIME))
		return (sleep_relative(ns, a[3]));
	if (realtime)
		ns -= MIN(ns, clock_wall_ns() - clock_ns());
	return (sleep_until(ns) == 0 ? 0 : -ERESTARTNOHAND);
}

static uint64_t all_user_ticks, all_sys_ticks;	/* atomic */

void
proc_ticks(uint64_t *user, uint64_t *sys)
{
	*user = __atomic_load_n(&all_user_ticks, __ATOMIC_RELAXED);
	*sys = __atomic_load_n(&all_sys_ticks, __ATOMIC_RELAXED);
}

/* ---- timers ---- */

static volatile uint64_t next_alarm = UINT64_MAX;	/* no ITIMER_REAL is due before this tick; a hint */

/* What a timer counts, so far. */
static uint64_t
timer_clock(const struct proc *p, int which)
{
	return (which == ITIMER_REAL ? ticks : which == ITIMER_VIRTUAL ? p->user_ticks : p->user_ticks + p->sys_ticks);
}

/* value: ticks from now, 0: never.  => proc_lock */
static void
timer_set(struct proc *p, int which, uint64_t value, uint64_t interval)
{
	struct itimer *it = &p->timers[which];

	it->due = value != 0 ? timer_clock(p, which) + value : 0;
	it->interval = interval;
	if (which == ITIMER_REAL && value != 0)
		next_alarm = MIN(next_alarm, it->due);
}

/* Send the signal of a timer that is due, and set it again if it repeats.  => proc_lock */
static void
timer_look(struct proc *p, int which)
{
	static const int signals[] = { [ITIMER_REAL] = SIGALRM, [ITIMER_VIRTUAL] = SIGVTALRM, [ITIMER_PROF] = SIGPROF };
	struct itimer *it = &p->timers[which];
	uint64_t now = timer_clock(p, which);

	if (it->due == 0 || it->due > now)
		return;
	signal_proc_locked(p, signals[which], NULL);
	it->due = it->interval != 0 ? now + it->interval : 0;
}

/* Time is up: a warning for each second beyond the soft limit, death at the hard one.  => proc_lock */
static void
cpu_limit_look(struct proc *p)
{
	struct rlimit *limit = &p->limits[RLIMIT_CPU];
	uint64_t seconds = timer_clock(p, ITIMER_PROF) / HZ;

	if (limit->max != RLIM_INFINITY && seconds >= MAX(limit->max, 1ul)) {
		signal_proc_locked(p, SIGKILL, NULL);
	} else if (limit->cur != RLIM_INFINITY && seconds >= MAX(limit->cur, 1ul)) {
		signal_proc_locked(p, SIGXCPU, NULL);
		limit->cur = seconds + 1;
	}
}

void
proc_tick(struct thread *td)
{
	struct proc *p = td->user->proc;
	bool user = td->frame != NULL && (td->frame->cs & 3) != 0;

	td->user->ticks[user ? 0 : 1]++;
	usage_note_memory(p);
	__atomic_fetch_add(user ? &p->user_ticks : &p->sys_ticks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(user ? &all_user_ticks : &all_sys_ticks, 1, __ATOMIC_RELAXED);
	/* A look without the lock: what another CPU is setting just now is seen at the next tick. */
	if (p->timers[ITIMER_VIRTUAL].due == 0 && p->timers[ITIMER_PROF].due == 0 &&
	    p->limits[RLIMIT_CPU].cur == RLIM_INFINITY && p->limits[RLIMIT_CPU].max == RLIM_INFINITY)
		return;
	spin_lock(&proc_lock);
	timer_look(p, ITIMER_VIRTUAL);
	timer_look(p, ITIMER_PROF);
	cpu_limit_look(p);
	spin_unlock(&proc_lock);
}

void
itimer_tick(void)
{
	struct proc *p;
	uint64_t next = UINT64_MAX;

	if (ticks < next_alarm)
		return;
	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link) {
		timer_look(p, ITIMER_REAL);
		if (p->timers[ITIMER_REAL].due != 0)
			next = MIN(next, p->timers[ITIMER_REAL].due);
	}
	next_alarm = next;
	spin_unlock(&proc_lock);
}

/* A timer as programs see it: its interval, and what is left.  => proc_lock */
static void
timer_values(const struct proc *p, int which, struct timeval tv[2])
{
	uint64_t now = timer_clock(p, which), due = p->timers[which].due;

	tv[0] = to_timeval(p->timers[which].interval * TICK_NS);
	tv[1] = to_timeval(due > now ? (due - now) * TICK_NS : 0);
}

static int
timeval_ticks(const struct timeval *tv, uint64_t *n)
{
	if (tv->tv_sec < 0 || tv->tv_usec < 0 || tv->tv_usec >= 1000000)
		return (EINVAL);
	*n = howmany(MIN((uint64_t)tv->tv_sec, UINT32_MAX) * NS + (uint64_t)tv->tv_usec * 1000, TICK_NS);
	return (0);
}

int64_t
sys_getitimer(const uint64_t *a)
{
	struct timeval tv[2];

	if ((uint32_t)a[0] >= ITIMER_COUNT)
		return (-EINVAL);
	spin_lock(&proc_lock);
	timer_values(curproc, (int)a[0], tv);
	spin_unlock(&proc_lock);
	return (-copyout(tv, a[1], sizeof(tv)));
}

int64_t
sys_setitimer(const uint64_t *a)
{
	struct timeval tv[2] = { { 0, 0 }, { 0, 0 } }, old[2];
	uint64_t interval, value;
	struct proc *p = curproc;

	if ((uint32_t)a[0] >= ITIMER_COUNT)
		return (-EINVAL);
	if (a[1] != 0 && copyin(a[1], tv, sizeof(tv)) != 0)
		return (-EFAULT);
	if (timeval_ticks(&tv[0], &interval) != 0 || timeval_ticks(&tv[1], &value) != 0)
		return (-EINVAL);
	spin_lock(&proc_lock);
	timer_values(p, (int)a[0], old);
	timer_set(p, (int)a[0], value, interval);
	spin_unlock(&proc_lock);
	return (a[2] != 0 ? -copyout(old, a[2], sizeof(old)) : 0);
}

int64_t
sys_alarm(const uint64_t *a)
{
	struct proc *p = curproc;
	uint64_t left;

	spin_lock(&proc_lock);
	left = p->timers[ITIMER_REAL].due;
	left = left > ticks ? howmany(left - ticks, HZ) : 0;
	timer_set(p, ITIMER_REAL, (uint64_t)(uint32_t)a[0] * HZ, 0);
	spin_unlock(&proc_lock);
	return ((int64_t)left);
}

/* ---- time used ---- */

int
rusage_copyout(vm_offset_t to, const struct usage *u)
{
	struct {
		struct timeval	utime, stime;
		int64_t		maxrss, shared, data, stack, minflt, majflt, rest[8];
	} ru = { .utime = to_timeval(u->user_ticks * TICK_NS), .stime = to_timeval(u->sys_ticks * TICK_NS),
	    .maxrss = (int64_t)(u->max_resident * (PAGE_SIZE / KiB)),
	    .minflt = (int64_t)(u->faults - MIN(u->io_faults, u->faults)), .majflt = (int64_t)u->io_faults };

	_Static_assert(sizeof(ru) == 144, "Linux's struct rusage");
	return (copyout(&ru, to, sizeof(ru)));
}

void
usage_note_memory(struct proc *p)
{
	struct vmspace *vm = PEEK(p->vmspace);
	uint64_t resident = vm != NULL ? PEEK(vm->pmap.resident_count) : 0;

	/* The address space stays meanwhile: the process takes it away itself, under proc_lock. */
	if (resident > PEEK(p->max_resident))
		__atomic_store_n(&p->max_resident, resident, __ATOMIC_RELAXED);
}

void
usage_of(struct proc *p, struct usage *u)
{
	struct uthread *ut;

	usage_note_memory(p);
	*u = (struct usage){ .user_ticks = p->user_ticks, .sys_ticks = p->sys_ticks, .faults = p->faults,
	    .io_faults = p->io_faults, .max_resident = p->max_resident };
	TAILQ_FOREACH(ut, &p->threads, link) {
		u->faults += ut->td->faults;
		u->io_faults += ut->td->io_faults;
	}
}

void
usage_add(struct usage *to, const struct usage *u)
{
	to->user_ticks += u->user_ticks;
	to->sys_ticks += u->sys_ticks;
	to->faults += u->faults;
	to->io_faults += u->io_faults;
	to->max_resident = MAX(to->max_resident, u->max_resident);
}

int64_t
sys_getrusage(const uint64_t *a)
{
	struct thread *td = curthread;
	struct proc *p = curproc;
	struct usage u;

	spin_lock(&proc_lock);
	usage_of(p, &u);
	if ((int)a[0] == RUSAGE_CHILDREN)
		u = p->child_usage;
	spin_unlock(&proc_lock);
	switch ((int)a[0]) {
	case RUSAGE_THREAD:
		u.user_ticks = curuthread->ticks[0];
		u.sys_ticks = curuthread->ticks[1];
		u.faults = td->faults;
		u.io_faults = td->io_faults;
		/* FALLTHROUGH */
	case RUSAGE_SELF:
	case RUSAGE_CHILDREN:
		return (-rusage_copyout(a[1], &u));
	default:
		return (-EINVAL);
	}
}

int64_t
sys_times(const uint64_t *a)
{
	struct proc *p = curproc;
	int64_t t[4] = { (int64_t)p->user_ticks, (int64_t)p->sys_ticks, (int64_t)p->child_usage.user_ticks,
	    (int64_t)p->child_usage.sys_ticks };

	if (a[0] != 0 && copyout(t, a[0], sizeof(t)) != 0)
		return (-EFAULT);
	return ((int64_t)ticks);
}
