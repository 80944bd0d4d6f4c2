/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads: made, named, joined, buried.
 *
 * States and who changes them (thread_set_state() refuses everything else):
 *
 *	NEW ----> RUNNABLE <----> RUNNING ----> DEAD
 *		     ^		     |
 *		     +--- ASLEEP <---+
 *
 * A dying thread cannot free the stack it stands on.  It says so under exit_lock, then goes through
 * the scheduler a last time; whoever has seen `exited` and then gets sched_lock knows that it
 * stands there no more.  That is the thread in thread_join(), or the reaper for a detached one.
 *
 * Lock order: exit_lock -> sleep queues -> sched_lock.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/sched.h"
#include "vm/pmap.h"
#include "vm/vm_kern.h"

MALLOC_DEFINE(M_THREAD, "thread");

extern char boot_stack[];

struct thread thread0 = {
	.name = "idle",
	.state = TD_RUNNING,
	.prio = PRI_IDLE,
	.kstack = (vm_offset_t)boot_stack,
};

struct thread_list all_threads;

static struct spinlock exit_lock = SPINLOCK_INITIALIZER("exit", RANK_THREAD);
/* (exit_lock) dead and detached, through sleep_link */
static struct thread_list reap_list;
static uint32_t next_tid = 1;			/* (sched_lock) */

static const char *const state_names[] = { "new", "runnable", "running", "asleep", "dead" };
static const char *const prio_names[] = { "intr", "pageout", "kernel", "user", "idle" };

const char *
thread_state_name(enum thread_state state)
{
	return ((size_t)state < nitems(state_names) ? state_names[state] : "unknown");
}

static const char *
thread_prio_name(enum thread_prio prio)
{
	return ((size_t)prio < nitems(prio_names) ? prio_names[prio] : "unknown");
}

void
thread_set_state(struct thread *td, enum thread_state state)
{
	static const uint8_t allowed[] = {	/* from the index to the states of the mask */
		[TD_NEW] = 1 << TD_RUNNABLE,
		[TD_RUNNABLE] = 1 << TD_RUNNING,
		[TD_RUNNING] = 1 << TD_RUNNABLE | 1 << TD_ASLEEP | 1 << TD_DEAD,
		[TD_ASLEEP] = 1 << TD_RUNNABLE,
		[TD_DEAD] = 0
	};

	KASSERT(spin_held(&sched_lock), "thread state changed without sched_lock");
	if (td->state > TD_DEAD || !(allowed[td->state] >> state & 1))
		panic("thread %s goes from %s to %s", td->name, thread_state_name(td->state),
		    thread_state_name(state));
	td->state = (uint8_t)state;
}

struct trapframe *
thread_user_frame(struct thread *td)
{
	return ((struct trapframe *)(td->kstack + KSTACK_PAGES * PAGE_SIZE) - 1);
}

/*
 * The new thread's stack looks as if it had been switched away from just before thread_trampoline.
 */
static void
prepare_stack(struct thread *td)
{
	struct switch_frame *frame;

	frame = (struct switch_frame *)thread_user_frame(td) - 1;
	memset(frame, 0, sizeof(*frame));
	/* the bit that is always set; interrupts off until thread_start */
	frame->rflags = 0x2;
	frame->rip = (uint64_t)thread_trampoline;
	td->rsp = (uint64_t)frame;
}

/* On the new thread's stack, with the scheduler lock that sched_switch() handed over. */
void
thread_start(void)
{
	struct thread *td = curthread;

	curcpu->spin_if = true;
	spin_unlock(&sched_lock);
	td->entry(td->arg);
	thread_exit();
}

struct thread *
thread_create_stopped(const char *name, enum thread_prio prio, void (*fn)(void *), void *arg)
{
	struct thread *td = kmalloc(sizeof(*td), &M_THREAD, M_WAITOK | M_ZERO);

	if (td == NULL)
		return (NULL);
	td->kstack = kstack_alloc();
	if (td->kstack == 0) {
		kfree(td, &M_THREAD);
		return (NULL);
	}
	strlcpy(td->name, name, sizeof(td->name));
	td->state = TD_NEW;
	td->prio = (uint8_t)prio;
	td->slice = SLICE_TICKS;
	td->entry = fn;
	td->arg = arg;
	prepare_stack(td);
	spin_lock(&sched_lock);
	td->tid = next_tid++;
	td->cpu = curcpu;
	td->pinned = curthread->pinned;
	TAILQ_INSERT_TAIL(&all_threads, td, all_link);
	spin_unlock(&sched_lock);
	return (td);
}

struct thread *
thread_create_idle(const char *name, struct cpu *cpu)
{
	struct thread *td = thread_create_stopped(name, PRI_IDLE, NULL, NULL);

	if (td == NULL)
		return (NULL);
	spin_lock(&sched_lock);
	td->cpu = cpu;
	td->pinned = true;
	thread_set_state(td, TD_RUNNABLE);
	thread_set_state(td, TD_RUNNING);
	spin_unlock(&sched_lock);
	return (td);
}

void
thread_run(struct thread *td)
{
	sched_make_runnable(td);
}

struct thread *
thread_create(const char *name, enum thread_prio prio, void (*fn)(void *), void *arg)
{
	struct thread *td = thread_create_stopped(name, prio, fn, arg);

	if (td != NULL)
		thread_run(td);
	return (td);
}

/*
 * => td is dead, joined or detached: nobody else will touch it.  Waits until it has left its stack.
 */
static void
thread_free(struct thread *td)
{
	spin_lock(&sched_lock);
	KASSERT(td->state == TD_DEAD, "freeing thread %s, which is %s", td->name,
	    thread_state_name(td->state));
	TAILQ_REMOVE(&all_threads, td, all_link);
	spin_unlock(&sched_lock);
	kstack_free(td->kstack);
	kfree(td, &M_THREAD);
}

void
thread_detach(struct thread *td)
{
	spin_lock(&exit_lock);
	KASSERT(!td->detached, "thread %s detached twice", td->name);
	td->detached = true;
	if (td->exited) {
		TAILQ_INSERT_TAIL(&reap_list, td, sleep_link);
		wakeup(&reap_list);
	}
	spin_unlock(&exit_lock);
}

void
thread_join(struct thread *td)
{
	KASSERT(td != curthread, "thread %s joins itself", td->name);
	spin_lock(&exit_lock);
	KASSERT(!td->detached, "thread %s joined, but it is detached", td->name);
	while (!td->exited)
		(void)tsleep(&td->exited, &exit_lock.lk, "join", 0);
	spin_unlock(&exit_lock);
	thread_free(td);
}

void
thread_exit(void)
{
	struct thread *td = curthread;

	KASSERT(td->nheld == 0, "thread %s exits holding %s", td->name, td->held[0]->name);
	if (td->vmspace != NULL)
		(void)thread_set_vmspace(NULL);
	spin_lock(&exit_lock);
	td->exited = true;
	if (td->detached) {
		TAILQ_INSERT_TAIL(&reap_list, td, sleep_link);
		wakeup(&reap_list);
	} else {
		wakeup(&td->exited);
	}
	spin_lock(&sched_lock);
	thread_set_state(td, TD_DEAD);
	spin_unlock(&exit_lock);
	sched_switch();
	panic("dead thread %s runs", td->name);
}

/* Buries detached threads. */
static void
reaper(void *arg)
{
	struct thread *td;

	for (;;) {
		spin_lock(&exit_lock);
		while ((td = TAILQ_FIRST(&reap_list)) == NULL)
			(void)tsleep(&reap_list, &exit_lock.lk, "reaper", 0);
		TAILQ_REMOVE(&reap_list, td, sleep_link);
		spin_unlock(&exit_lock);
		thread_free(td);
	}
}

struct vmspace *
thread_set_vmspace(struct vmspace *vm)
{
	struct thread *td = curthread;
	struct vmspace *former;

	spin_lock(&sched_lock);		/* no switch between the two steps */
	former = td->vmspace;
	td->vmspace = vm;
	if (vm != former)
		pmap_switch(vm);
	spin_unlock(&sched_lock);
	return (former);
}

void
thread_foreach(void (*fn)(struct thread *td, void *arg), void *arg)
{
	spin_lock(&sched_lock);
	threads_foreach_unlocked(fn, arg);
	spin_unlock(&sched_lock);
}

void
threads_foreach_unlocked(void (*fn)(struct thread *td, void *arg), void *arg)
{
	struct thread *td, *next;

	TAILQ_FOREACH_SAFE(td, &all_threads, all_link, next)
		fn(td, arg);
}

static void
print_thread(struct thread *td, void *arg)
{
	printf("  %4u  %-*s %-8s %-7s", td->tid, THREAD_NAME_MAX - 1, td->name,
	    thread_state_name(td->state), thread_prio_name(td->prio));
	if (td->wmesg != NULL)
		printf(" %-8s on %p", td->wmesg, (const void *)(uintptr_t)td->wchan);
	printf("%s\n", td == curthread ? "  <- here" : "");
}

void
threads_print(void)
{
	printf("threads:\n   tid  %-*s state    class   wait\n", THREAD_NAME_MAX - 1, "name");
	threads_foreach_unlocked(print_thread, NULL);
}

void
thread_init(void)
{
	struct thread *td;

	TAILQ_INSERT_TAIL(&all_threads, &thread0, all_link);
	td = thread_create("reaper", PRI_KERNEL, reaper, NULL);
	KASSERT(td != NULL, "no memory for the first thread");
	thread_detach(td);
}
