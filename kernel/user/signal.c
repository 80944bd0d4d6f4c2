/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signals: posted by anybody, taken by a thread on its way back to user mode.
 *
 *	signal_proc_locked(), signal_pgrp()  -> process's pending set --+
 *	signal_thread()                      -> thread's pending set  --+--> signal_deliver(): handler, stop, death, nothing
 *	signal_fault()                       -> thread's pending set, never blocked
 *
 * Posting does what cannot wait (SIGCONT continues at once, a stop signal and SIGCONT cancel each other) and wakes
 * a thread that does not block the signal.  Everything else is decided by the thread that takes it.
 *
 * A thread of a stopped process waits in "stopped", inside signal_deliver(), until stop_signal is 0.
 *
 * All state is under proc_lock.  What a signal carries is queued if there is memory for it; the bit is set anyway.
 */
#include "kernel/user/signal.h"

#include "kernel/amd64/machdep.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "kernel/user/proc_impl.h"

struct sigqueued {
	TAILQ_ENTRY(sigqueued) link;
	struct siginfo	info;
};

enum action { ACT_TERM, ACT_IGNORE, ACT_STOP, ACT_CONT };

/* What happens without a handler; death where nothing else is said. */
static const uint8_t default_action[NSIG + 1] = {
	[SIGCHLD] = ACT_IGNORE, [SIGURG] = ACT_IGNORE, [SIGWINCH] = ACT_IGNORE,
	[SIGCONT] = ACT_CONT,
	[SIGSTOP] = ACT_STOP, [SIGTSTP] = ACT_STOP, [SIGTTIN] = ACT_STOP, [SIGTTOU] = ACT_STOP,
};

#define STOP_SIGNALS	(SIGBIT(SIGSTOP) | SIGBIT(SIGTSTP) | SIGBIT(SIGTTIN) | SIGBIT(SIGTTOU))
/* Of a fault: taken before all others, so that the frame shows the instruction. */
#define SYNC_SIGNALS	(SIGBIT(SIGSEGV) | SIGBIT(SIGBUS) | SIGBIT(SIGILL) | SIGBIT(SIGTRAP) | SIGBIT(SIGFPE) | SIGBIT(SIGSYS))

static struct kmem_cache *queue_cache;

void
signal_init(void)
{
	queue_cache = kmem_cache_create("sigqueued", sizeof(struct sigqueued), 8);
}

/* ---- pending sets ---- */

static void
pending_add(struct sigpending *pending, int sig, const struct siginfo *info)
{
	struct sigqueued *q;

	/* Of an ordinary signal one is enough; real-time signals queue up. */
	if (sig < SIGRTMIN && (pending->set & SIGBIT(sig)) != 0)
		return;
	pending->set |= SIGBIT(sig);
	q = kmem_cache_alloc(queue_cache, M_NOWAIT);
	if (q == NULL)
		return;
	q->info = info != NULL ? *info : (struct siginfo){ .code = SI_KERNEL };
	q->info.signo = sig;
	TAILQ_INSERT_TAIL(&pending->queue, q, link);
}

/* Take one instance of a pending signal out. */
static void
pending_take(struct sigpending *pending, int sig, struct siginfo *info)
{
	struct sigqueued *q, *next;
	bool found = false, more = false;

	*info = (struct siginfo){ .signo = sig, .code = SI_KERNEL };
	TAILQ_FOREACH_SAFE(q, &pending->queue, link, next) {
		if (q->info.signo != sig)
			continue;
		if (found) {
			more = true;
			break;
		}
		found = true;
		*info = q->info;
		TAILQ_REMOVE(&pending->queue, q, link);
		kmem_cache_free(queue_cache, q);
	}
	if (!more)
		pending->set &= ~SIGBIT(sig);
}

/* Forget these signals. */
static void
pending_drop(struct sigpending *pending, sigset_t which)
{
	struct siginfo info;

	while ((pending->set & which) != 0)
		pending_take(pending, __builtin_ctzl(pending->set & which) + 1, &info);
}

void
signal_flush(struct sigpending *pending)
{
	pending_drop(pending, ~0ul);
}

static void
drop_everywhere(struct proc *p, sigset_t which)
{
	struct uthread *ut;

	pending_drop(&p->pending, which);
	TAILQ_FOREACH(ut, &p->threads, link)
		pending_drop(&ut->pending, which);
}

int
signal_take(struct uthread *ut, sigset_t want, struct siginfo *info)
{
	struct sigpending *from = &ut->pending;
	sigset_t set = from->set & want;
	int sig;

	if (set == 0) {
		from = &ut->proc->pending;
		set = from->set & want;
	}
	if (set == 0)
		return (0);
	if (set & SYNC_SIGNALS)
		set &= SYNC_SIGNALS;
	sig = __builtin_ctzl(set) + 1;
	pending_take(from, sig, info);
	return (sig);
}

/* ---- posting ---- */

void
signal_update_ast(struct uthread *ut)
{
	struct proc *p = ut->proc;

	if (((ut->pending.set | p->pending.set) & ~ut->mask) != 0 || p->stop_signal != 0 || p->exiting)
		thread_interrupt(ut->td);
}

/* Would a thread that takes this signal do nothing at all?  => proc_lock */
static bool
is_ignored(const struct proc *p, int sig)
{
	uint64_t handler = p->actions[sig].handler;

	return (handler == SIG_IGN ||
	    (handler == SIG_DFL && (default_action[sig] == ACT_IGNORE || default_action[sig] == ACT_CONT)));
}

/* The process goes on, if it was stopped. */
static void
unstop(struct proc *p, bool tell)
{
	if (p->stop_signal == 0)
		return;
	p->stop_signal = 0;
	p->stop_told = true;
	wakeup(&p->stop_signal);
	if (tell) {
		p->cont_told = false;
		proc_notify_parent(p, CLD_CONTINUED, SIGCONT);
	}
}

/* Wake a thread that can take a signal of the process.  => proc_lock */
static void
wake_one(struct proc *p, int sig)
{
	struct uthread *ut;

	TAILQ_FOREACH(ut, &p->threads, link)
		if ((ut->mask & SIGBIT(sig)) == 0) {
			thread_interrupt(ut->td);
			return;
		}
	/* Blocked by all: those in rt_sigtimedwait() look for themselves. */
	wakeup(&p->pending);
}

/* Signals of the process may have found a thread that does not take them any more: find others.  => proc_lock */
static void
pass_on(struct proc *p, sigset_t which)
{
	for (sigset_t set = p->pending.set & which; set != 0; set &= set - 1)
		wake_one(p, __builtin_ctzl(set) + 1);
}

/* => proc_lock; ut is curuthread */
static void
mask_set(struct uthread *ut, sigset_t mask)
{
	sigset_t more = mask & ~ut->mask;

	ut->mask = mask & ~SIG_UNBLOCKABLE;
	pass_on(ut->proc, more);
}

void
signal_thread_gone(struct uthread *ut)
{
	signal_flush(&ut->pending);
	pass_on(ut->proc, ~ut->mask);
}

/* => proc_lock; ut NULL: to the process. */
static void
post(struct proc *p, struct uthread *ut, int sig, const struct siginfo *info)
{
	sigset_t blocked = ~0ul;
	struct uthread *each;

	if (p->state != PROC_ALIVE || p->exiting)
		return;
	/* Nobody kills init by accident: what it has no handler for passes it by. */
	if (p == init_proc && p->actions[sig].handler == SIG_DFL && info != NULL && info->code <= 0)
		return;
	if (sig == SIGKILL)
		unstop(p, false);
	if (sig == SIGCONT) {
		drop_everywhere(p, STOP_SIGNALS);
		unstop(p, true);
	}
	if (SIGBIT(sig) & STOP_SIGNALS)
		drop_everywhere(p, SIGBIT(SIGCONT));
	TAILQ_FOREACH(each, &p->threads, link)
		if (ut == NULL || each == ut)
			blocked &= each->mask;
	if (is_ignored(p, sig) && (blocked & SIGBIT(sig)) == 0)
		return;
	pending_add(ut != NULL ? &ut->pending : &p->pending, sig, info);
	if (ut == NULL) {
		wake_one(p, sig);
	} else {
		wakeup(&p->pending);
		signal_update_ast(ut);
	}
}

void
signal_proc_locked(struct proc *p, int sig, const struct siginfo *info)
{
	post(p, NULL, sig, info);
}

void
signal_thread_locked(struct uthread *ut, int sig, const struct siginfo *info)
{
	post(ut->proc, ut, sig, info);
}

void
signal_forget_ignored(struct proc *p, int sig)
{
	if (is_ignored(p, sig))
		drop_everywhere(p, SIGBIT(sig));
}

void
signal_thread(struct uthread *ut, int sig, const struct siginfo *info)
{
	spin_lock(&proc_lock);
	post(ut->proc, ut, sig, info);
	spin_unlock(&proc_lock);
}

bool
signal_pgrp(int pgid, int sig, const struct siginfo *info)
{
	struct proc *p;
	bool any = false;

	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p->pgid == pgid && p->state == PROC_ALIVE) {
			any = true;
			if (sig != 0)
				post(p, NULL, sig, info);
		}
	spin_unlock(&proc_lock);
	return (any);
}

void
signal_fault(int sig, int code, vm_offset_t addr)
{
	struct siginfo info = { .signo = sig, .code = code, .value = addr };
	struct uthread *ut = curuthread;
	struct sigaction *act = &ut->proc->actions[sig];

	spin_lock(&proc_lock);
	if ((ut->mask & SIGBIT(sig)) != 0 || act->handler == SIG_IGN) {
		act->handler = SIG_DFL;
		ut->mask &= ~SIGBIT(sig);
	}
	pending_drop(&ut->pending, SIGBIT(sig));
	pending_add(&ut->pending, sig, &info);
	curthread->ast = true;
	spin_unlock(&proc_lock);
}

/* ---- asking ---- */

bool
signal_ignored(int sig)
{
	struct uthread *ut = curuthread;
	bool yes;

	spin_lock(&proc_lock);
	yes = (ut->mask & SIGBIT(sig)) != 0 || ut->proc->actions[sig].handler == SIG_IGN;
	spin_unlock(&proc_lock);
	return (yes);
}

bool
signal_deliverable(void)
{
	struct uthread *ut = curuthread;
	struct proc *p = ut->proc;
	bool yes;

	curthread->ast = false;
	spin_lock(&proc_lock);
	yes = ((ut->pending.set | p->pending.set) & ~ut->mask) != 0 || p->stop_signal != 0 || p->exiting ||
	    (p->killed_others && p->exec_thread != ut);
	spin_unlock(&proc_lock);
	if (yes)
		curthread->ast = true;
	return (yes);
}

/* ---- masks ---- */

void
signal_set_mask(struct uthread *ut, sigset_t mask)
{
	spin_lock(&proc_lock);
	mask_set(ut, mask);
	signal_update_ast(ut);
	spin_unlock(&proc_lock);
}

void
signal_swap_mask(sigset_t mask)
{
	struct uthread *ut = curuthread;

	if (!ut->restore_mask)
		ut->saved_mask = ut->mask;
	ut->restore_mask = true;
	signal_set_mask(ut, mask);
	curthread->ast = true;			/* the old mask comes back on the way out, signal or not */
}

void
signal_exec(struct proc *p)
{
	spin_lock(&proc_lock);
	for (int sig = 1; sig <= NSIG; sig++)
		p->actions[sig] = (struct sigaction){ .handler = p->actions[sig].handler == SIG_IGN ? SIG_IGN : SIG_DFL };
	spin_unlock(&proc_lock);
}

/* ---- delivery ---- */

/*
 * A system call that a signal cut short: once more, or EINTR.
 * handler: one is about to run, with these flags.
 */
static void
finish_syscall(struct trapframe *f, bool handler, uint64_t flags)
{
	int64_t result = (int64_t)f->rax;

	if (f->vector != TRAP_SYSCALL || f->error == ~0ul || (result != -ERESTARTSYS && result != -ERESTARTNOHAND))
		return;
	if (!handler || (result == -ERESTARTSYS && (flags & SA_RESTART))) {
		f->rax = f->error;
		f->rip -= 2;			/* the length of syscall */
	} else {
		f->rax = (uint64_t)-EINTR;
	}
	f->error = ~0ul;
}

/* => proc_lock.  The whole process stops; its threads notice one by one. */
static void
stop(struct proc *p, int sig)
{
	struct uthread *ut;

	if (sig != SIGSTOP && pgrp_orphaned(p->pgid))
		return;
	p->stop_signal = sig;
	p->stop_told = false;
	proc_notify_parent(p, CLD_STOPPED, sig);
	TAILQ_FOREACH(ut, &p->threads, link)
		thread_interrupt(ut->td);
}

/*
 * Decide about one signal that has no handler.
 * => proc_lock; does not return when it kills.
 */
static void
act_default(struct proc *p, int sig)
{
	switch (default_action[sig]) {
	case ACT_IGNORE:
	case ACT_CONT:
		return;
	case ACT_STOP:
		stop(p, sig);
		return;
	default:
		spin_unlock(&proc_lock);
		proc_exit_group(sig);
	}
}

/* Make the thread run its handler when it returns.  => proc_lock on entry, dropped. */
static void
act_handler(struct trapframe *f, struct uthread *ut, int sig, const struct siginfo *info)
{
	struct sigaction *slot = &ut->proc->actions[sig], act = *slot;
	sigset_t old = ut->restore_mask ? ut->saved_mask : ut->mask;

	if (act.flags & SA_RESETHAND)
		slot->handler = SIG_DFL;
	ut->restore_mask = false;
	mask_set(ut, ut->mask | act.mask | (act.flags & SA_NODEFER ? 0 : SIGBIT(sig)));
	spin_unlock(&proc_lock);
	finish_syscall(f, true, act.flags);
	if (sigframe_push(f, sig, info, &act, old) != 0)
		proc_exit_group(SIGSEGV);	/* no stack to tell it on */
}

void
signal_deliver(struct trapframe *f)
{
	struct uthread *ut = curuthread;
	struct proc *p = ut->proc;
	struct siginfo info;
	int sig;

	for (;;) {
		spin_lock(&proc_lock);
		while (p->stop_signal != 0 && !p->exiting)
			(void)tsleep(&p->stop_signal, &proc_lock.lk, "stopped", 0);
		sig = p->exiting ? 0 : signal_take(ut, ~ut->mask, &info);
		if (sig == 0)
			break;
		if (p->actions[sig].handler == SIG_DFL)
			act_default(p, sig);
		else if (p->actions[sig].handler != SIG_IGN) {
			act_handler(f, ut, sig, &info);
			continue;
		}
		spin_unlock(&proc_lock);
	}
	if (ut->restore_mask) {
		ut->restore_mask = false;
		mask_set(ut, ut->saved_mask);
		signal_update_ast(ut);
	}
	spin_unlock(&proc_lock);
	finish_syscall(f, false, 0);
}

void
user_ast(struct trapframe *f)
{
	curthread->ast = false;
	proc_check_exit();
	signal_deliver(f);
}
