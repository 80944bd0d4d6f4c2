/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of threads and processes, and waiting for it.
 *
 *	exit_group, a deadly signal --> `exiting` is set, all threads are told
 *	each thread, on its way out  --> uthread_exit(); the last one goes on:
 *	  memory, files, terminal    --> given back; children go to init
 *	  zombie                     --> the parent is told and waits, or does not care and it is freed at once
 *
 * A thread that is told is woken from interruptible sleeps only: whoever waits for a disk gets his page first.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/cred.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"
#include "vm/vm_map.h"

#define WNOHANG		0x1u
#define WUNTRACED	0x2u			/* waitid calls it WSTOPPED */
#define WEXITED		0x4u
#define WCONTINUED	0x8u
#define WNOWAIT		0x01000000u
#define WAIT_IGNORED	0xe0000000u		/* __WALL, __WCLONE, __WNOTHREAD: there is one kind of child only */
#define WIFSIGNALED(status) (((status) & 0x7f) != 0)
enum { P_ALL, P_PID, P_PGID };

#define INIT_KILL_SECONDS 10

/* ---- leaving ---- */

/* All threads of the process have something to look at.  => proc_lock */
static void
tell_threads(struct proc *p)
{
	struct uthread *ut;

	TAILQ_FOREACH(ut, &p->threads, link)
		thread_interrupt(ut->td);
	wakeup(&p->stop_signal);
	wakeup(&p->pending);
}

void
proc_exit_group(int status)
{
	struct proc *p = curproc;

	spin_lock(&proc_lock);
	if (!p->exiting) {
		p->exiting = true;
		p->exit_status = status;
		tell_threads(p);
	}
	spin_unlock(&proc_lock);
	uthread_exit();
}

void
proc_end_init(int status)
{
	spin_lock(&proc_lock);
	if (init_proc->state == PROC_ALIVE && !init_proc->exiting) {
		init_proc->exiting = true;
		init_proc->exit_status = status;
		tell_threads(init_proc);
	}
	spin_unlock(&proc_lock);
}

void
proc_check_exit(void)
{
	struct uthread *ut = curuthread;
	struct proc *p = ut->proc;
	bool must;

	spin_lock(&proc_lock);
	must = p->exiting || (p->killed_others && p->exec_thread != ut);
	spin_unlock(&proc_lock);
	if (must)
		uthread_exit();
}

int
proc_single_thread(void)
{
	struct uthread *ut = curuthread;
	struct proc *p = ut->proc;
	int error = 0;

	spin_lock(&proc_lock);
	if (p->exiting || p->killed_others) {
		error = EAGAIN;
	} else if (p->nthreads > 1) {
		p->killed_others = true;
		p->exec_thread = ut;
		tell_threads(p);
		while (p->nthreads > 1 && !p->exiting)
			(void)tsleep(&p->nthreads, &proc_lock.lk, "execwait", 0);
		p->killed_others = false;
		if (p->exiting)
			error = EAGAIN;
	}
	if (error == 0)
		ut->tid = p->pid;
	spin_unlock(&proc_lock);
	return (error);
}

void
vfork_release(struct proc *p)
{
	spin_lock(&proc_lock);
	if (p->vfork_done != NULL) {
		*p->vfork_done = true;
		wakeup(p->vfork_done);
		p->vfork_done = NULL;
	}
	spin_unlock(&proc_lock);
}

/* Groups that lost their last tie to their session by p's going and that have a stopped member: they hear of it. */
static void
orphans_tell(struct proc *p)
{
	struct proc *child, *other;

	TAILQ_FOREACH(child, &p->children, sibling) {
		if (child->pgid == p->pgid || child->sid != p->sid || !pgrp_orphaned(child->pgid))
			continue;
		TAILQ_FOREACH(other, &all_procs, all_link)
			if (other->pgid == child->pgid && other->stop_signal != 0)
				break;
		if (other == NULL)
			continue;
		TAILQ_FOREACH(other, &all_procs, all_link)
			if (other->pgid == child->pgid && other->state == PROC_ALIVE) {
				signal_proc_locked(other, SIGHUP, NULL);
				signal_proc_locked(other, SIGCONT, NULL);
			}
	}
}

/* p's children find another parent: init, or nobody if init itself goes.  => proc_lock */
static void
children_give_away(struct proc *p)
{
	struct proc *child, *heir = p == init_proc || init_proc->state != PROC_ALIVE ? NULL : init_proc;

	while ((child = TAILQ_FIRST(&p->children)) != NULL) {
		TAILQ_REMOVE(&p->children, child, sibling);
		child->parent = heir;
		child->exit_signal = SIGCHLD;
		if (heir != NULL)
			TAILQ_INSERT_TAIL(&heir->children, child, sibling);
		if (child->state == PROC_ZOMBIE && heir != NULL)
			proc_notify_parent(child, CLD_EXITED, child->exit_status >> 8 & 0xff);
	}
}

/* A parent that does not want to know: no zombie.  => proc_lock */
static bool
parent_does_not_care(const struct proc *p)
{
	const struct sigaction *act;

	if (p->parent == NULL)
		return (p != init_proc);
	act = &p->parent->actions[SIGCHLD];
	return (act->handler == SIG_IGN || (act->flags & SA_NOCLDWAIT));
}

/* => proc_lock: off all lists. */
static void
proc_unlink(struct proc *p)
{
	if (p->parent != NULL)
		TAILQ_REMOVE(&p->parent->children, p, sibling);
	TAILQ_REMOVE(&all_procs, p, all_link);
	signal_flush(&p->pending);
}

/* The last thread is leaving: what the process owned goes back.  => no user memory loaded any more */
static void
proc_end(struct proc *p)
{
	struct fdtable *files = p->files;
	struct fs_context *fs = p->fs;
	struct vnode *text = p->text;
	struct vmspace *vm;
	bool freed;

	usage_note_memory(p);
	vfork_release(p);
	spin_lock(&proc_lock);			/* /proc may look at it */
	vm = p->vmspace;
	p->vmspace = NULL;
	spin_unlock(&proc_lock);
	if (vm != NULL)				/* the first process has none until its program is there */
		vmspace_free(vm);
	spin_lock(&proc_parts_lock);
	p->files = NULL;
	p->fs = NULL;
	p->text = NULL;
	spin_unlock(&proc_parts_lock);
	fdtable_release(files);
	fs_context_release(fs);
	if (text != NULL)
		text_release(text);
	if (p->sid == p->pid)
		tty_session_ends(p);
	spin_lock(&proc_lock);
	orphans_tell(p);
	children_give_away(p);
	p->state = PROC_ZOMBIE;
	signal_flush(&p->pending);
	freed = parent_does_not_care(p);
	if (p->parent != NULL)
		proc_notify_parent(p, WIFSIGNALED(p->exit_status) ? CLD_KILLED : CLD_EXITED,
		    WIFSIGNALED(p->exit_status) ? p->exit_status & 0x7f : p->exit_status >> 8 & 0xff);
	if (freed)
		proc_unlink(p);
	wakeup(&init_proc);
	spin_unlock(&proc_lock);
	if (freed)
		proc_free(p);
}

void
uthread_exit(void)
{
	struct thread *td = curthread;
	struct uthread *ut = td->user;
	struct proc *p = ut->proc;
	static const uint32_t zero;
	bool last;

	futex_owner_exits();
	if (ut->clear_tid != 0 && !p->exiting && copyout(&zero, ut->clear_tid, sizeof(zero)) == 0)
		(void)futex_wake_address(ut->clear_tid, 1);
	spin_lock(&proc_lock);
	TAILQ_REMOVE(&p->threads, ut, link);
	last = --p->nthreads == 0;
	p->faults += td->faults;
	p->io_faults += td->io_faults;
	if (last && !p->exiting) {
		p->exiting = true;
		p->exit_status = ut->exit_status;
	}
	signal_thread_gone(ut);
	wakeup(&p->nthreads);
	spin_unlock(&proc_lock);
	(void)thread_set_vmspace(NULL);
	user_state_free(td);
	if (last)
		proc_end(p);
	crfree(td->cred);
	td->cred = NULL;
	td->user = NULL;
	uthread_free(ut);
	thread_exit();
}

int64_t
sys_exit(const uint64_t *a)
{
	curuthread->exit_status = ((int)a[0] & 0xff) << 8;
	uthread_exit();
}

int64_t
sys_exit_group(const uint64_t *a)
{
	proc_exit_group(((int)a[0] & 0xff) << 8);
}

/* ---- telling the parent ---- */

void
proc_notify_parent(struct proc *p, int code, int status)
{
	struct siginfo info = { .code = code, .pid = p->pid, .uid = p->cred->uid, .status = status,
	    .utime = p->user_ticks, .stime = p->sys_ticks };
	bool about_stop = code == CLD_STOPPED || code == CLD_CONTINUED;

	if (p->parent == NULL)
		return;
	if (!(about_stop && (p->parent->actions[SIGCHLD].flags & SA_NOCLDSTOP)))
		if (about_stop || p->exit_signal != 0)
			signal_proc_locked(p->parent, about_stop ? SIGCHLD : p->exit_signal, &info);
	wakeup(&p->parent->children);
}

/* ---- waiting ---- */

struct wait_result {
	int		pid, code, status;	/* status: as siginfo has it */
	int		wstatus;		/* as wait4() has it */
	uint32_t	uid;
	struct usage	used;			/* its own, and its children's */
	struct proc	*dead;			/* to be freed */
};

static bool
wait_matches(const struct proc *p, int idtype, int id)
{
	return (idtype == P_ALL || (idtype == P_PID ? p->pid == id : p->pgid == id));
}

/* A zombie is taken, its times added to its parent's children's.  => proc_lock */
static void
reap(struct proc *p, struct wait_result *r)
{
	usage_add(&p->parent->child_usage, &r->used);
	proc_unlink(p);
	r->dead = p;
}

/* Has this child anything to tell of what was asked for?  => proc_lock */
static bool
wait_look(struct proc *p, uint32_t options, struct wait_result *r)
{
	bool keep = (options & WNOWAIT) != 0;

	*r = (struct wait_result){ .pid = p->pid, .uid = p->cred->uid };
	usage_of(p, &r->used);
	usage_add(&r->used, &p->child_usage);
	if (p->state == PROC_ZOMBIE) {
		if (!(options & WEXITED))
			return (false);
		r->wstatus = p->exit_status;
		r->code = WIFSIGNALED(p->exit_status) ? CLD_KILLED : CLD_EXITED;
		r->status = r->code == CLD_KILLED ? p->exit_status & 0x7f : p->exit_status >> 8 & 0xff;
		if (!keep)
			reap(p, r);
		return (true);
	}
	if (p->stop_signal != 0 && !p->stop_told && (options & WUNTRACED)) {
		r->code = CLD_STOPPED;
		r->status = p->stop_signal;
		r->wstatus = p->stop_signal << 8 | 0x7f;
		p->stop_told = !keep;
		return (true);
	}
	if (!p->cont_told && (options & WCONTINUED)) {
		r->code = CLD_CONTINUED;
		r->status = SIGCONT;
		r->wstatus = 0xffff;
		p->cont_told = !keep;
		return (true);
	}
	return (false);
}

/* 0 with r->pid 0: WNOHANG and nothing to tell. */
static int
do_wait(int idtype, int id, uint32_t options, struct wait_result *r)
{
	struct proc *me = curproc, *p;
	int error = 0;
	bool any, found = false;

	spin_lock(&proc_lock);
	for (;;) {
		any = false;
		TAILQ_FOREACH(p, &me->children, sibling) {
			if (!wait_matches(p, idtype, id))
				continue;
			any = true;
			if ((found = wait_look(p, options, r)))
				break;
		}
		if (found) {
			error = 0;
			break;
		}
		*r = (struct wait_result){ .pid = 0 };
		if (!any)
			error = ECHILD;
		if (error != 0 || (options & WNOHANG))
			break;
		/* re-check: the children, also after a signal: SIGCHLD comes along with what it tells of. */
		error = tsleep_sig(&me->children, &proc_lock.lk, "wait", 0);
	}
	spin_unlock(&proc_lock);
	if (found && r->dead != NULL)
		proc_free(r->dead);
	return (error);
}

int64_t
sys_wait4(const uint64_t *a)
{
	uint32_t options = (uint32_t)a[2];
	int pid = (int)a[0], idtype, error;
	struct wait_result r;

	if ((options & ~(WNOHANG | WUNTRACED | WCONTINUED | WAIT_IGNORED)) != 0)
		return (-EINVAL);
	if (pid == INT32_MIN)
		return (-ESRCH);
	idtype = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
	if (pid == 0)
		pid = curproc->pgid;
	error = do_wait(idtype, pid < 0 ? -pid : pid, options | WEXITED, &r);
	if (error != 0 || r.pid == 0)
		return (-error);
	if (a[1] != 0 && copyout(&r.wstatus, a[1], sizeof(r.wstatus)) != 0)
		return (-EFAULT);
	if (a[3] != 0 && rusage_copyout(a[3], &r.used) != 0)
		return (-EFAULT);
	return (r.pid);
}

int64_t
sys_waitid(const uint64_t *a)
{
	struct siginfo info = { .signo = 0 };
	uint32_t options = (uint32_t)a[3];
	struct wait_result r;
	int id = (int)a[1], error;

	if ((options & ~(WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WAIT_IGNORED)) != 0 ||
	    (options & (WUNTRACED | WEXITED | WCONTINUED)) == 0 || a[0] > P_PGID ||
	    (a[0] == P_PID && id <= 0) || (a[0] == P_PGID && id < 0))
		return (-EINVAL);
	if (a[0] == P_PGID && id == 0)
		id = curproc->pgid;
	error = do_wait((int)a[0], id, options, &r);
	if (error != 0)
		return (-error);
	if (r.pid != 0)
		info = (struct siginfo){ .signo = SIGCHLD, .code = r.code, .pid = r.pid, .uid = r.uid, .status = r.status };
	if (a[2] != 0 && siginfo_copyout(&info, a[2]) != 0)
		return (-EFAULT);
	if (a[4] != 0 && rusage_copyout(a[4], &r.used) != 0)
		return (-EFAULT);
	return (0);
}

/* ---- the end of init ---- */

/* Kill all but init, and count those that still live.  => proc_lock */
static int
kill_rest(void)
{
	struct proc *p;
	int alive = 0;

	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p != init_proc && p->state == PROC_ALIVE) {
			alive++;
			signal_proc_locked(p, SIGKILL, NULL);
		}
	return (alive);
}

int
init_wait(void)
{
	uint64_t until;
	struct proc *p;
	int status, alive;

	spin_lock(&proc_lock);
	while (init_proc->state != PROC_ZOMBIE)
		(void)tsleep(&init_proc, &proc_lock.lk, "init", 0);
	status = init_proc->exit_status;
	until = ticks + INIT_KILL_SECONDS * HZ;
	while ((alive = kill_rest()) > 0 && ticks < until)
		(void)tsleep(&init_proc, &proc_lock.lk, "killall", HZ / 10);
	while ((p = TAILQ_FIRST(&all_procs)) != NULL && alive == 0) {
		p->parent = NULL;
		proc_unlink(p);
		spin_unlock(&proc_lock);
		proc_free(p);
		spin_lock(&proc_lock);
	}
	spin_unlock(&proc_lock);
	if (alive > 0)
		printf("init has ended, but %d processes do not\n", alive);
	return (status);
}
