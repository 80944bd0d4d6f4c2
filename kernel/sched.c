/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler: which thread runs next.
 *
 *	CPU 0:  [intr] [pageout] [kernel] [user]    one queue per class, best class first, round-robin within
 *	CPU 1:  ...				    and the idle thread, which is on no queue
 *
 * A thread that wakes up goes to the CPU where it ran last, unless that has something as good to do: then to
 * an idle one, or to the one that does the least important work.  A CPU that runs dry takes from the
 * others.  Where the choice falls on another CPU, that one is interrupted, so that it looks at once.
 *
 * One lock, sched_lock, guards the queues of all CPUs and every thread's state.  It is held across
 * the switch: the thread that leaves takes it, the thread that arrives releases it.  That is what
 * makes a dead or sleeping thread's stack safe to touch for whoever gets the lock next.
 *
 * Preemption: the timer (end of slice) and a wakeup (better class) only set cpu->resched.  The
 * switch comes at the next point where the CPU holds no spin lock and is not in an interrupt:
 * spin_unlock(), or the end of intr_dispatch().  Code that must not be preempted holds a spin lock; so
 * does code that must stay on its CPU, for a thread may be on another one after any preemption.
 *
 * Why one lock for all CPUs: a switch is short, eight CPUs are the most, and a lock per queue needs
 * an order between them as soon as threads migrate.  The queues are per CPU already, so that step
 * stays local to this file.
 */
#include "kernel/sched.h"

#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_page.h"

struct spinlock sched_lock = SPINLOCK_INITIALIZER("sched", RANK_SCHED);

static struct runq {
	struct thread_list classes[PRI_COUNT];
	unsigned	count;
} runqs[MAX_CPUS];

static uint32_t online = 1;		/* (sched_lock) CPUs that run threads */

/* Ask for a switch; another CPU is interrupted, unless that has been done and it has yet to look.  => sched_lock */
static void
ask_switch(struct cpu *cpu)
{
	bool asked = cpu->resched;

	cpu->resched = true;
	if (cpu != curcpu && !asked)
		lapic_send(cpu->lapic_id, VECTOR_RESCHED);
}

static inline bool
cpu_is_idle(const struct cpu *cpu)
{
	return (cpu->thread == cpu->idle && runqs[cpu->id].count == 0);
}

/* The class that a CPU works for.  => sched_lock */
static int
cpu_class(const struct cpu *cpu)
{
	if (cpu_is_idle(cpu))
		return (PRI_COUNT);
	return (cpu->thread == cpu->idle ? PRI_IDLE : cpu->thread->prio);
}

/* Where a thread that becomes runnable is to run.  => sched_lock */
static struct cpu *
choose_cpu(const struct thread *td)
{
	struct cpu *best = td->cpu;
	unsigned i;

	if (td->pinned || cpu_is_idle(best))
		return (best);
	for (i = 0; i < MAX_CPUS; i++)
		if ((online & 1u << i) && cpu_class(&cpus[i]) > cpu_class(best))
			best = &cpus[i];
	return (cpu_class(best) > td->prio ? best : td->cpu);
}

/* Put a runnable thread on its CPU's queue, in front or at the end of its class.  => sched_lock */
static void
sched_enqueue(struct thread *td, bool front)
{
	struct runq *rq = &runqs[td->cpu->id];

	KASSERT(spin_held(&sched_lock), "run queue without sched_lock");
	KASSERT(td->state == TD_RUNNABLE, "thread %s put on a run queue while %s", td->name,
	    thread_state_name(td->state));
	if (front)
		TAILQ_INSERT_HEAD(&rq->classes[td->prio], td, run_link);
	else
		TAILQ_INSERT_TAIL(&rq->classes[td->prio], td, run_link);
	rq->count++;
}

static void
sched_dequeue(struct thread *td)
{
	struct runq *rq = &runqs[td->cpu->id];

	TAILQ_REMOVE(&rq->classes[td->prio], td, run_link);
	rq->count--;
}

/* Queue a thread that has just become runnable, and ask for a switch if it is to run at once.  => sched_lock */
static void
start_running(struct thread *td)
{
	struct cpu *cpu = choose_cpu(td);

	thread_set_state(td, TD_RUNNABLE);
	td->cpu = cpu;
	sched_enqueue(td, false);
	if (cpu->thread == cpu->idle || td->prio < cpu->thread->prio)
		ask_switch(cpu);
}

/* The best thread waiting in a queue, taken off; for another CPU only one that may go there.  NULL: none. */
static struct thread *
take_best(struct runq *rq, bool steal)
{
	struct thread *td;
	int prio;

	for (prio = 0; rq->count > 0 && prio < PRI_COUNT; prio++)
		TAILQ_FOREACH(td, &rq->classes[prio], run_link)
			if (!steal || !td->pinned) {
				sched_dequeue(td);
				return (td);
			}
	return (NULL);
}

/* The best thread waiting for this CPU, else for another one, its neighbour first; else the idle thread. */
static struct thread *
choose(struct cpu *cpu)
{
	struct thread *td = take_best(&runqs[cpu->id], false);
	unsigned i;

	for (i = 1; td == NULL && i < MAX_CPUS; i++) {
		td = take_best(&runqs[(cpu->id + i) % MAX_CPUS], true);
		if (td != NULL)
			cpu->steals++;
	}
	return (td != NULL ? td : cpu->idle);
}

/* The name goes into the event itself: the thread may be no more when somebody reads it. */
static void
trace_switch(const struct thread *to)
{
	uint64_t name[3];

	_Static_assert(sizeof(name) == THREAD_NAME_MAX, "a thread's name fills three words of an event");
	memcpy(name, to->name, sizeof(name));
	trace_record(TR_SWITCH, to->tid, name[0], name[1], name[2]);
}

void
sched_switch(void)
{
	struct cpu *cpu = curcpu;
	struct thread *old = cpu->thread, *new;
	bool spin_if = cpu->spin_if;

	KASSERT(spin_held(&sched_lock), "switch without sched_lock");
	KASSERT(cpu->spin_depth == 1, "thread %s switched away with %d spin locks held", old->name,
	    cpu->spin_depth - 1);
	KASSERT(old->state != TD_RUNNING, "thread %s switched away while running", old->name);
	cpu->resched = false;
	new = choose(cpu);
	thread_set_state(new, TD_RUNNING);
	if (new->slice <= 0)
		new->slice = SLICE_TICKS;
	if (new == old)
		return;
	if (unlikely(trace_on))
		trace_switch(new);
	cpu->switches++;
	cpu->thread = new;
	new->cpu = cpu;
	gdt_set_kstack(new->kstack + KSTACK_PAGES * PAGE_SIZE);
	if (new->vmspace != old->vmspace)
		pmap_switch(new->vmspace);
	if (old->ustate != NULL)
		user_state_save(old->ustate);
	if (new->ustate != NULL)
		user_state_load(new->ustate);
	cpu_switch(&old->rsp, new->rsp);
	/*
	 * We are back, perhaps on another CPU; the lock is ours again, handed over by whoever left.
	 */
	cpu = curcpu;
	cpu->spin_if = spin_if;
}

void
sched_make_runnable(struct thread *td)
{
	spin_lock(&sched_lock);
	start_running(td);
	spin_unlock(&sched_lock);
}

void
sched_wake(struct thread *td)
{
	spin_lock(&sched_lock);
	if (td->state == TD_ASLEEP)
		start_running(td);
	spin_unlock(&sched_lock);
}

void
sched_kick(struct thread *td)
{
	spin_lock(&sched_lock);
	if (td->state == TD_RUNNING && td->cpu != curcpu)
		lapic_send(td->cpu->lapic_id, VECTOR_RESCHED);
	spin_unlock(&sched_lock);
}

void
thread_pin(unsigned id)
{
	struct thread *td = curthread;

	KASSERT(id < ncpus, "thread %s pinned to CPU %u of %u", td->name, id, ncpus);
	assert_can_sleep("pin");
	spin_lock(&sched_lock);
	td->pinned = true;
	if (td->cpu != &cpus[id]) {
		/* The queue of the right CPU, as if woken there. */
		thread_set_state(td, TD_RUNNABLE);
		td->cpu = &cpus[id];
		sched_enqueue(td, false);
		if (td->cpu->thread == td->cpu->idle || td->prio < td->cpu->thread->prio)
			ask_switch(td->cpu);
		sched_switch();
	}
	spin_unlock(&sched_lock);
}

void
thread_unpin(void)
{
	spin_lock(&sched_lock);
	curthread->pinned = false;
	spin_unlock(&sched_lock);
}

/* Let the CPU go without waiting for anything.  => sched_lock */
static void
give_way(struct thread *td, bool front)
{
	thread_set_state(td, TD_RUNNABLE);
	if (td != td->cpu->idle)
		sched_enqueue(td, front);
	sched_switch();
}

void
thread_yield(void)
{
	struct thread *td = curthread;

	assert_can_sleep("yield");
	spin_lock(&sched_lock);
	td->slice = 0;
	give_way(td, false);
	spin_unlock(&sched_lock);
}

/*
 * => interrupts off.  From spin_unlock() and from the end of an interrupt.
 * A thread that a better class pushes aside keeps its place and the rest of its slice.
 */
void
sched_preempt(void)
{
	struct cpu *cpu = curcpu;
	struct thread *td = cpu->thread;

	if (!cpu->resched || cpu->spin_depth > 0 || cpu->intr_depth > 0 || panicking ||
	    cpu->idle == NULL)
		return;
	spin_lock(&sched_lock);
	give_way(td, td->slice > 0);
	spin_unlock(&sched_lock);
}

void
sched_tick(void)
{
	struct cpu *cpu = curcpu;
	struct thread *td = cpu->thread;

	if (td == cpu->idle) {
		/* Was somebody left waiting elsewhere?  A stale look costs a tick, or one vain switch. */
		for (unsigned i = 0; i < MAX_CPUS; i++)
			if (runqs[i].count > 0)
				cpu->resched = true;
		return;
	}
	if (--td->slice > 0)
		return;
	cpu->resched = true;
}

void
sched_init(void)
{
	struct cpu *cpu = curcpu;

	thread0.cpu = cpu;
	thread0.prio = PRI_IDLE;
	thread0.slice = SLICE_TICKS;
}

void
sched_start_cpu(void)
{
	struct cpu *cpu = curcpu;

	spin_lock(&sched_lock);
	cpu->idle = curthread;
	cpu->resched = true;
	online |= 1u << cpu->id;
	spin_unlock(&sched_lock);
	intr_enable();
	for (;;) {
		/* Preemption takes us away the moment somebody else can run. */
		if (cpu->resched)
			thread_yield();
		else if (!vm_page_zero_idle())
			cpu_idle();
	}
}

/* ---- load ---- */

#define LOAD_EVERY	(5 * HZ)		/* ticks between two samples */
#define LOAD_SHIFT	11			/* averages are fixed-point numbers with so many bits behind the point */

static uint64_t load_average[3];		/* sched_lock */

/* How many threads want a CPU or have one.  => sched_lock */
static unsigned
count_wanting(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ncpus; i++)
		n += runqs[i].count + (cpus[i].thread != cpus[i].idle);
	return (n);
}

void
sched_load_tick(void)
{
	/* 2048 * exp(-5 / seconds), for one, five and fifteen minutes */
	static const uint64_t keep[3] = { 1884, 2014, 2037 };
	uint64_t now;

	if (ticks % LOAD_EVERY != 0)
		return;
	spin_lock(&sched_lock);
	now = (uint64_t)count_wanting() << LOAD_SHIFT;
	for (int i = 0; i < 3; i++)
		load_average[i] = (load_average[i] * keep[i] + now * ((1 << LOAD_SHIFT) - keep[i]) +
		    (now >= load_average[i] ? (1 << LOAD_SHIFT) - 1 : 0)) >> LOAD_SHIFT;
	spin_unlock(&sched_lock);
}

void
sched_loads(unsigned loads[3], unsigned *running, unsigned *all)
{
	struct thread *td;

	spin_lock(&sched_lock);
	for (int i = 0; i < 3; i++)
		loads[i] = (unsigned)((load_average[i] * 100 + (1 << LOAD_SHIFT) / 2) >> LOAD_SHIFT);
	*running = count_wanting();
	*all = 0;
	TAILQ_FOREACH(td, &all_threads, all_link)
		++*all;
	spin_unlock(&sched_lock);
}
