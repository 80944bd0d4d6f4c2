/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signals, with Linux's numbers and structures.
 *
 * A signal is posted (pending on a process or on a thread), later taken by a thread on its way back to user
 * mode.  Posting wakes an interruptible sleep of a thread that can take it.
 */
#ifndef KERNEL_USER_SIGNAL_H
#define KERNEL_USER_SIGNAL_H

#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"

struct proc;
struct trapframe;
struct uthread;

enum {
	SIGHUP = 1, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
	SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
	SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS
};
#define SIGRTMIN	32
#define NSIG		64

typedef uint64_t sigset_t;			/* bit n - 1 is signal n */
#define SIGBIT(n)	(1ul << ((n) - 1))
#define SIG_UNBLOCKABLE	(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))

/* si_code */
#define SI_USER		0
#define SI_KERNEL	128
#define SI_QUEUE	(-1)
#define SI_TKILL	(-6)
enum { CLD_EXITED = 1, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED };

/* What a signal carries.  signal_info_out() lays it out as Linux's siginfo_t. */
struct siginfo {
	int		signo, code;
	int		pid;			/* sender or child */
	uint32_t	uid;
	int		status;			/* SIGCHLD */
	uint64_t	value;			/* SI_QUEUE's value; the address of a fault */
	uint64_t	utime, stime;		/* SIGCHLD: ticks */
};

struct sigqueued;
struct sigpending {
	sigset_t	set;			/* which signals are pending */
	TAILQ_HEAD(, sigqueued) queue;		/* what they carry; one that found no memory is only in the set */
};

/* As rt_sigaction has it. */
struct sigaction {
	uint64_t	handler;		/* SIG_DFL 0, SIG_IGN 1, or an address */
	uint64_t	flags;			/* SA_* */
	uint64_t	restorer;
	sigset_t	mask;
};
#define SIG_DFL		0
#define SIG_IGN		1
#define SA_NOCLDSTOP	0x1ul
#define SA_NOCLDWAIT	0x2ul
#define SA_SIGINFO	0x4ul
#define SA_RESTORER	0x04000000ul
#define SA_ONSTACK	0x08000000ul
#define SA_RESTART	0x10000000ul
#define SA_NODEFER	0x40000000ul
#define SA_RESETHAND	0x80000000ul

/* Post a signal.  Any context but NMI; info NULL: from the kernel.  They take proc_lock, unless it says so. */
void signal_thread(struct uthread *ut, int sig, const struct siginfo *info);
/* To every member of a process group; false: there is none. */
bool signal_pgrp(int pgid, int sig, const struct siginfo *info);
void signal_proc_locked(struct proc *p, int sig, const struct siginfo *info);	/* => proc_lock */
/*
 * A fault of the calling thread: it must end in its handler or in its death, so blocking and ignoring it
 * don't help.
 */
void signal_fault(int sig, int code, vm_offset_t addr);
/* Is there a signal that curthread would act on now?  For loops that would sleep again. */
bool signal_deliverable(void);
/*
 * What the terminal asks before a background process reads or writes: is `sig` blocked or ignored by curthread?
 */
bool signal_ignored(int sig);

/* Deliver what is pending: called by user_ast(). */
void signal_deliver(struct trapframe *frame);
/* exec: handlers go back to the default, ignored ones stay ignored. */
void signal_exec(struct proc *p);
void signal_flush(struct sigpending *pending);	/* forget all.  => proc_lock */
/* ut is off its process's list: what it was woken for goes to others.  => proc_lock */
void signal_thread_gone(struct uthread *ut);
/*
 * Replace curthread's mask until the next return to user mode, for rt_sigsuspend, ppoll and pselect6; a handler
 * that runs then sees and restores the old one.
 */
void signal_swap_mask(sigset_t mask);

#endif
