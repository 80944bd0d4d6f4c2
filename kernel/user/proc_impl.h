/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the process side share; the files side needs proc.h and signal.h only. */
#ifndef KERNEL_USER_PROC_IMPL_H
#define KERNEL_USER_PROC_IMPL_H

#include "kernel/user/proc.h"

struct siginfo;

/* proc.c */
struct proc *proc_alloc(void);			/* => sleeps for memory */
void proc_free(struct proc *p);			/* on no list any more */
/* A thread that does not run yet, its user registers all zero, unknown to its process.  NULL: no memory. */
struct uthread *uthread_alloc(struct proc *p);
void uthread_free(struct uthread *ut);
void user_state_free(struct thread *td);	/* => curthread, which will not see user mode again */
/* Give it a number and a place in its process; thread_run() lets it run. */
bool uthread_start(struct uthread *ut);		/* false: the process is exiting */
void uthread_discard(struct uthread *ut);	/* one that never ran */
/* A running program's file is busy for those who want to write to it, and the other way round: ETXTBSY. */
int  text_ref(struct vnode *vp);
void text_release(struct vnode *vp);
/*
 * May this user have one more process?  Root, too, is held to the limit: a fork bomb must not fill the machine.  If so, p
 * counts from now on, until proc_start() or proc_withdraw().  => p->cred set
 */
bool proc_announce(struct proc *p, struct proc *parent);
void proc_withdraw(struct proc *p);
/* The same for a process, announced, with its first thread; parent NULL: init, unannounced. */
void proc_start(struct proc *p, struct proc *parent, struct uthread *ut);

/* exit.c */
int  init_wait(void);				/* until init is a zombie; its wait status */
/* All threads but the calling one are gone on return, and the caller has the process's number; EAGAIN: it is exiting. */
int  proc_single_thread(void);
void proc_check_exit(void);			/* does not return when this thread has to go */
void proc_end_init(int status);			/* end init, and with it the machine, as if it had exited */
void vfork_release(struct proc *p);		/* p left its parent's memory */
void proc_notify_parent(struct proc *p, int code, int status);	/* => proc_lock */

/* signal.c */
void signal_init(void);
/* Take the next signal for curthread out of those in `want`; 0: none.  => proc_lock */
/* The action of a signal changed: what is pending and now ignored goes.  => proc_lock */
void signal_forget_ignored(struct proc *p, int sig);
void signal_thread_locked(struct uthread *ut, int sig, const struct siginfo *info);
int  signal_take(struct uthread *ut, sigset_t want, struct siginfo *info);
void signal_update_ast(struct uthread *ut);	/* its mask or its signals changed.  => proc_lock */
void signal_set_mask(struct uthread *ut, sigset_t mask);

/* sigframe.c: the machine's and the ABI's half.  EFAULT: the stack is not to be had. */
int  sigframe_push(struct trapframe *f, int sig, const struct siginfo *info, const struct sigaction *act,
	    sigset_t mask);
int  siginfo_copyout(const struct siginfo *info, vm_offset_t to);

/* futex.c */
void futex_init(void);
void futex_owner_exits(void);			/* the calling thread lets go of the locks on its robust list.  => sleeps */
int  futex_wake_address(vm_offset_t addr, int count);	/* wakes waiters of both kinds; how many, or -errno */

/* sys_time.c */
struct timespec {
	int64_t		tv_sec, tv_nsec;
};
int  timespec_in(vm_offset_t from, struct timespec *ts);	/* EFAULT, EINVAL: not a time */
uint64_t timespec_ns(const struct timespec *ts);		/* saturates */
int  rusage_copyout(vm_offset_t to, const struct usage *u);
void usage_of(struct proc *p, struct usage *u);			/* => proc_lock */
void usage_add(struct usage *to, const struct usage *u);
void usage_note_memory(struct proc *p);				/* before memory is given back, and now and then.  => for curproc, or proc_lock */
uint64_t ns_to_ticks(uint64_t ns);				/* rounded up, and one for the tick under way */

#endif
