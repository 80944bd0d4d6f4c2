/* SPDX-License-Identifier: BSD-2-Clause */
/* What thread.c, sched.c and sleep.c share.  Everybody else includes thread.h. */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include "kernel/thread.h"

#define SLICE_TICKS	4

extern struct spinlock sched_lock;	/* all run queues, thread states, the list of all threads */
/* the boot stack's thread; later the boot CPU's idle thread */
extern struct thread thread0;

TAILQ_HEAD(thread_list, thread);
extern struct thread_list all_threads;

/*
 * The only place that changes td->state: panics on a change that thread.c's table doesn't allow.
 * => sched_lock.
 */
void thread_set_state(struct thread *td, enum thread_state state);
const char *thread_state_name(enum thread_state state);

/* The idle thread of a CPU that is to be started: it will find itself on its stack's top.  NULL: no memory. */
struct thread *thread_create_idle(const char *name, struct cpu *cpu);

/* From the boot CPU's clock, each tick: keeps the averages of sched_loads(). */
void sched_load_tick(void);
/* A new thread becomes runnable.  => takes sched_lock. */
void sched_make_runnable(struct thread *td);
/*
 * If it sleeps, it becomes runnable; if not, it was on its way there and will look.  => takes
 * sched_lock.
 */
void sched_wake(struct thread *td);
/*
 * Run the best other thread (idle if there is none).
 * => sched_lock held, and no other spin lock; curthread's state already says where it goes.
 * => returns when this thread runs again, sched_lock held again.
 */
void sched_switch(void);

#endif
