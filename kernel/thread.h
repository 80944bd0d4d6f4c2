/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel threads, the scheduler, and sleeping.
 *
 * A thread is runnable (on a run queue), running, asleep on a channel, or dead.  Round-robin inside
 * a priority class, a higher class first.  The timer preempts at the end of a slice; a wakeup of a
 * higher class preempts at once (at the last spin_unlock or the end of the interrupt).
 *
 * Lock letters:  (s) the scheduler lock  (q) the sleep-queue lock  (t) only the thread itself
 *                (c) constant after thread_create  (e) the exit lock  (a) atomic
 */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"
#include "kernel/lock.h"

struct vmspace;
struct ucred;
struct trapframe;
struct uthread;
struct user_state;

enum thread_state { TD_NEW, TD_RUNNABLE, TD_RUNNING, TD_ASLEEP, TD_DEAD };

/* Classes, best first.  Within one class round-robin. */
enum thread_prio { PRI_INTR, PRI_PAGEOUT, PRI_KERNEL, PRI_USER, PRI_IDLE, PRI_COUNT };

#define THREAD_NAME_MAX		24
#define THREAD_HELD_MAX		16
#define KSTACK_PAGES		(4 << FAULTLINE_KASAN)	/* plus one unmapped guard page below; red zones need room */

/*
 * How the last failed access to a user address ended (vm/vm_fault_trap.c): what a signal would have carried.
 */
struct fault_info {
	/* 0: none; SIGSEGV 11, SIGBUS 7, SIGKILL 9 (out of memory) */
	int		signo;
	int		code;		/* SEGV_MAPERR 1, SEGV_ACCERR 2, BUS_ADRERR 2 */
	vm_offset_t	addr;		/* the exact byte */
};

struct thread {
	/* (a) something waits for it on its way back to user mode; ends interruptible sleeps */
	volatile bool	 ast;
	TAILQ_ENTRY(thread) run_link;		/* (s) run queue */
	TAILQ_ENTRY(thread) sleep_link;		/* (q) sleep-queue chain */
	TAILQ_ENTRY(thread) timeout_link;	/* (q) sleepers with a time-out, soonest first */
	TAILQ_ENTRY(thread) all_link;		/* (s) list of all threads */
	char		 name[THREAD_NAME_MAX];	/* (c) */
	uint32_t	 tid;			/* (c) */
	uint8_t		 state;			/* (s) enum thread_state */
	uint8_t		 prio;			/* (s) enum thread_prio */
	bool		 detached;		/* (e) nobody will join: freed when dead */
	bool		 exited;		/* (e) has called thread_exit() */
	int		 slice;			/* (s) ticks left */
	struct cpu	*cpu;			/* (s) where it runs, waits to run, or ran last */
	bool		 pinned;		/* (s) it runs on that CPU only */

	const volatile void *wchan;		/* (q) what it sleeps on */
	const char	*wmesg;			/* (q) why, in a word */
	uint64_t	 wake_tick;		/* (q) time-out, in ticks; 0: none */
	int		 wake_error;		/* (q) 0, EWOULDBLOCK or ERESTARTSYS */
	bool		 interruptible;		/* (q) sleeps in tsleep_sig() */

	uint64_t	 rsp;			/* (s) saved stack pointer while not running */
	/* (c) lowest mapped byte; the guard page lies below */
	vm_offset_t	 kstack;
	struct trapframe *frame;		/* (t) innermost trap frame, for backtraces */
	struct vmspace	*vmspace;		/* (t) user address space, NULL: none */
	struct ucred	*cred;			/* (t) referenced */
	struct uthread	*user;			/* (c) its user half (kernel/user/proc.h); NULL: a kernel thread */
	/* (t) FPU and segment bases while it does not run; NULL with `user` */
	struct user_state *ustate;
	struct fault_info fault;		/* (t) last failed user access */
	bool		 nofault;		/* (t) a copy to or from user memory fails where it would fault */
	uint64_t	 faults;		/* (t) page faults taken */
	uint64_t	 io_faults;		/* (t) requests to a pager that faults have made */
	/* (t) the last one, for the livelock detector: address */
	vm_offset_t	 refault_va;
	uint64_t	 refault_state;		/* (t) and a digest of error code and registers */
	/* (t) how often it came again with nothing changed */
	uint32_t	 refaults;

	struct lock	*held[THREAD_HELD_MAX];	/* (t) sleep locks held, in order (debug) */
	int		 nheld;			/* (t) */
	bool		 gives_way;		/* (t) it is in a forced yield point (debug) */
	uint32_t	 xbusied;		/* (t) pages that it has exclusive-busy (debug) */

	void		(*entry)(void *);	/* (c) */
	void		*arg;			/* (c) */
};

#include "kernel/amd64/cpu.h"			/* curthread, curcpu */

/* makes the boot stack a thread; kernel KVA must work */
void thread_init(void);
/* => sleeps for memory.  Returns a runnable thread; NULL when memory is short. */
struct thread *thread_create(const char *name, enum thread_prio prio, void (*fn)(void *), void *arg);
/* The same, but it does not run before thread_run(): for callers who have more to set up. */
struct thread *thread_create_stopped(const char *name, enum thread_prio prio, void (*fn)(void *), void *arg);
void thread_run(struct thread *td);
/* Where a thread's user registers are while it is in the kernel: the top of its stack. */
struct trapframe *thread_user_frame(struct thread *td);
void thread_detach(struct thread *td);		/* nobody will join it */
/* => sleeps in "join" until it is dead, then frees it */
void thread_join(struct thread *td);
void thread_exit(void) __noreturn;
void thread_yield(void);			/* let others of the same class run */
/*
 * From now on curthread runs on CPU `id` only, and so do the threads that it creates; or, again, on any.
 * The self-tests use it, where the order in which threads of one CPU run is what they are about.
 */
void thread_pin(unsigned id);
void thread_unpin(void);
/*
 * Switch curthread to another address space (NULL: none).  Returns the former one.  Takes no
 * reference.
 */
struct vmspace *thread_set_vmspace(struct vmspace *vm);
/* Call fn(thread, arg) for each thread, scheduler lock held. */
void thread_foreach(void (*fn)(struct thread *td, void *arg), void *arg);
/* for panic and traps */
void threads_foreach_unlocked(void (*fn)(struct thread *td, void *arg), void *arg);
/* the thread list with wait names; no locks: for panic and the monitor */
void threads_print(void);

/* sched.c */
void sched_init(void);
void sched_start_cpu(void) __noreturn;		/* this CPU's boot thread becomes its idle thread */
void sched_tick(void);				/* from the timer interrupt, on each CPU */
/* Have the CPU that runs td, if any does, pass through its way back from an interrupt soon. */
void sched_kick(struct thread *td);
void sched_preempt(void);			/* at the end of an interrupt, if curcpu->resched */

/*
 * Sleep until wakeup(chan), or until `ticks` have passed (0: for ever).
 *
 * => interlock: a held spinlock, mutex or rwlock (&x->lock.lk), or NULL.  It is released and the
 *    thread put to sleep in one step as seen by wakeup(), and held again, in the same mode, on
 *    return.
 * => chan: any address; a wakeup may be spurious, so the caller looks at its condition again.
 * => returns 0, or EWOULDBLOCK after the time-out.
 */
int  tsleep(const volatile void *chan, struct lock *interlock, const char *wmesg, uint64_t ticks);
/*
 * The same, but a signal ends it: returns ERESTARTSYS when td->ast is set, or becomes
 * so by thread_interrupt().  For waits whose end a program may have to wait for for ever.
 */
int  tsleep_sig(const volatile void *chan, struct lock *interlock, const char *wmesg, uint64_t ticks);
/* Set td->ast and end an interruptible sleep.  Any context but NMI. */
void thread_interrupt(struct thread *td);
/*
 * Averages over 1, 5 and 15 minutes of how many threads wanted a CPU, in hundredths; and how many do now (the caller does),
 * of how many.
 */
void sched_loads(unsigned loads[3], unsigned *running, unsigned *all);
void wakeup(const volatile void *chan);		/* wake all sleepers; any context but NMI */
void wakeup_one(const volatile void *chan);	/* wake the one that has slept longest */
int  sleepers(const volatile void *chan);	/* how many sleep there now (tests) */
void sleepq_tick(void);				/* from the timer interrupt: time-outs */

#endif
