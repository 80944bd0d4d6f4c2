/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler: which thread runs next.
 *
 *	CPU 0:  [intr] [pageout] [kernel] [user]    one queue per class, best class first, round-robin within
 *	CPU 1:  ...				    and the idle thread, which is on no queue
 *
 * One lock, sched_lock, guards the queues of all CPUs and every thread's state.  It is held across
 * the switch: the thread that leaves takes it, the thread that arrives releases it.  That is what
 * makes a dead or sleeping thread's stack safe to touch for whoever gets the lock next.
 *
 * Preemption: the timer (end of slice) and a wakeup (better class) only set cpu->resched.  The
 * switch comes at the next point where the CPU holds no spin lock and is not in an interrupt:
 * spin_unlock(), or the end of intr_dispatch().  Code that must not be preempted holds a spin lock.
 *
 * Why one lock for all CPUs: a switch is short, eight CPUs are the most, and a lock per queue needs
 * an order between them as soon as threads migrate.  The queues are per CPU already, so that step
 * stays local to this file.
 */
#include "kernel/sched.h"
#include "kernel/amd64/machdep.h"
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

/* Ask for a switch if somebody better than the running thread waits.  => sched_lock */
static void
consider_preemption(struct cpu *cpu, const struct thread *td)
{
	if (td->prio < cpu->thread->prio || cpu->thread == cpu->idle)
		cpu->resched = true;
}

void
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

void
sched_dequeue(struct thread *td)
{
	struct runq *rq = &runqs[td->cpu->id];

	TAILQ_REMOVE(&rq->classes[td->prio], td, run_link);
	rq->count--;
}

/* The best thread waiting for this CPU, taken off its queue; the idle thread if there is none. */
static struct thread *
choose(struct cpu *cpu)
{
	struct runq *rq = &runqs[cpu->id];
	struct thread *td;
	int prio;

	for (prio = 0; rq->count > 0 && prio < PRI_COUNT; prio++) {
		td = TAILQ_FIRST(&rq->classes[prio]);
		if (td != NULL) {
			sched_dequeue(td);
			return (td);
		}
	}
	return (cpu->idle);
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
	thread_set_state(td, TD_RUNNABLE);
	sched_enqueue(td, false);
	consider_preemption(td->cpu, td);
	spin_unlock(&sched_lock);
}

void
sched_wake(struct thread *td)
{
	spin_lock(&sched_lock);
	if (td->state == TD_ASLEEP) {
		thread_set_state(td, TD_RUNNABLE);
		sched_enqueue(td, false);
		consider_preemption(td->cpu, td);
	}
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

	if (td == cpu->idle || --td->slice > 0)
		return;
	cpu->resched = true;
}

void
sched_set_prio(struct thread *td, enum thread_prio prio)
{
	bool queued;

	spin_lock(&sched_lock);
	queued = td->state == TD_RUNNABLE && td != td->cpu->idle;
	if (queued)
		sched_dequeue(td);
	td->prio = (uint8_t)prio;
	if (queued) {
		sched_enqueue(td, false);
		consider_preemption(td->cpu, td);
	} else if (td->state == TD_RUNNING) {
		td->cpu->resched = true;
	}
	spin_unlock(&sched_lock);
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
