/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of processes: made, found, numbered, started.
 *
 * A process is born in two ways only: init_run() makes the first one, fork (fork.c) all others.  It ends in
 * exit.c.  Process and thread numbers come from one space, because a process's first thread has its number.
 *
 * Lock order: proc_lock is a spin lock; below it only memory for signals and the scheduler's locks.
 */
#include "kernel/user/proc.h"

#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/cred.h"
#include "kernel/fs/vnode.h"
#include "kernel/kasan.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/exec.h"
#include "kernel/user/proc_impl.h"
#include "vm/vm_map.h"
#include "vm/vm_page.h"

#define PID_LIMIT	4194304		/* as Linux on 64-bit machines */
#define INIT_ARGS_MAX	32

static MALLOC_DEFINE(M_PROC, "proc");

struct spinlock proc_lock = SPINLOCK_INITIALIZER("proc", RANK_PROC);
struct proc_list all_procs;
struct proc *init_proc;

static int last_pid;			/* (P) */
static struct kmem_cache *state_cache;	/* struct user_state, which wants its alignment */

void
proc_init(void)
{
	state_cache = kmem_cache_create("user_state", sizeof(struct user_state), 64);
	signal_init();
	futex_init();
	proc_oom_init();
}

struct proc *
proc_find(int pid)
{
	struct proc *p;

	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p->pid == pid)
			return (p);
	return (NULL);
}

struct uthread *
uthread_find(int tid)
{
	struct uthread *ut;
	struct proc *p;

	TAILQ_FOREACH(p, &all_procs, all_link)
		TAILQ_FOREACH(ut, &p->threads, link)
			if (ut->tid == tid)
				return (ut);
	return (NULL);
}

bool
proc_may_signal(const struct proc *p)
{
	const struct ucred *mine = curproc->cred;

	return (mine->uid == 0 || mine->uid == p->cred->uid);
}

bool
pgrp_exists(int pgid, int sid)
{
	struct proc *p;

	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p->pgid == pgid && p->sid == sid)
			return (true);
	return (false);
}

bool
pgrp_orphaned(int pgid)
{
	struct proc *p;

	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p->pgid == pgid && p->state == PROC_ALIVE && p->parent != NULL &&
		    p->parent->pgid != pgid && p->parent->sid == p->sid)
			return (false);
	return (true);
}

/* A number that no process, thread, group or session carries.  => proc_lock */
static int
number_get(void)
{
	struct proc *p;
	bool taken;

	do {
		last_pid = last_pid < PID_LIMIT ? last_pid + 1 : 1;
		taken = uthread_find(last_pid) != NULL;
		TAILQ_FOREACH(p, &all_procs, all_link)
			taken |= p->pid == last_pid || p->pgid == last_pid || p->sid == last_pid;
	} while (taken);
	return (last_pid);
}

struct proc *
proc_alloc(void)
{
	struct proc *p = kmalloc(sizeof(*p), &M_PROC, M_WAITOK | M_ZERO);

	p->exit_signal = SIGCHLD;
	p->cont_told = true;
	p->start_ns = clock_ns();
	return (p);
}

void
proc_free(struct proc *p)
{
	crfree(p->cred);
	kfree(p, &M_PROC);
}

/* The thread's first function: what is above it on the stack is its user registers. */
static void
uthread_main(void *arg)
{
	struct uthread *ut = arg;
	int tid = ut->tid;

	if (ut->set_tid != 0)
		(void)copyout(&tid, ut->set_tid, sizeof(tid));
	kasan_leave_stack();
	user_enter(ut->frame);
}

struct uthread *
uthread_alloc(struct proc *p)
{
	struct uthread *ut = kmalloc(sizeof(*ut), &M_PROC, M_WAITOK | M_ZERO);

	ut->proc = p;
	ut->td = thread_create_stopped(p->name, PRI_USER, uthread_main, ut);
	if (ut->td == NULL) {
		kfree(ut, &M_PROC);
		return (NULL);
	}
	thread_detach(ut->td);
	ut->td->user = ut;
	ut->td->ustate = kmem_cache_alloc(state_cache, M_WAITOK);
	user_state_init(ut->td->ustate);
	ut->td->cred = crhold(p->cred);
	ut->frame = thread_user_frame(ut->td);
	memset(ut->frame, 0, sizeof(*ut->frame));
	return (ut);
}

void
uthread_free(struct uthread *ut)
{
	kfree(ut, &M_PROC);
}

/* In the thread that never saw user mode. */
static void
discard_main(void *arg)
{
	struct uthread *ut = arg;

	user_state_free(curthread);
	crfree(curthread->cred);
	curthread->cred = NULL;
	curthread->user = NULL;
	uthread_free(ut);
}

void
uthread_discard(struct uthread *ut)
{
	struct thread *td = ut->td;

	td->vmspace = NULL;
	td->entry = discard_main;
	thread_run(td);
}

/* ---- programs' files ---- */

int
text_ref(struct vnode *vp)
{
	bool busy;

	vref(vp);
	spin_lock(&vnode_list_lock);
	busy = vp->v_writecount > 0;
	if (!busy) {
		vp->v_textcount++;
		vp->v_flag |= VTEXT;
	}
	spin_unlock(&vnode_list_lock);
	if (busy)
		vrele(vp);
	return (busy ? ETXTBSY : 0);
}

void
text_release(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	KASSERT(vp->v_textcount > 0, "vnode %p: nobody runs it", vp);
	if (--vp->v_textcount == 0)
		vp->v_flag &= ~VTEXT;
	spin_unlock(&vnode_list_lock);
	vrele(vp);
}

void
user_state_free(struct thread *td)
{
	struct user_state *us = td->ustate;

	spin_lock(&proc_lock);		/* a switch sees it whole or not at all */
	td->ustate = NULL;
	spin_unlock(&proc_lock);
	kmem_cache_free(state_cache, us);
}

bool
uthread_start(struct uthread *ut)
{
	struct proc *p = ut->proc;
	bool started;

	ut->td->vmspace = p->vmspace;
	spin_lock(&proc_lock);
	started = !p->exiting && !p->killed_others;
	if (started) {
		ut->tid = number_get();
		TAILQ_INSERT_TAIL(&p->threads, ut, link);
		p->nthreads++;
		signal_update_ast(ut);
	}
	spin_unlock(&proc_lock);
	return (started);
}

static struct proc_list unborn_procs = TAILQ_HEAD_INITIALIZER(unborn_procs);	/* (P) being made, so that they count */

static uint64_t
count_of(const struct proc_list *list, uint32_t uid)
{
	uint64_t n = 0;
	struct proc *p;

	TAILQ_FOREACH(p, list, all_link)
		if (p->cred->uid == uid)
			n++;
	return (n);
}

bool
proc_announce(struct proc *p, struct proc *parent)
{
	bool yes;

	spin_lock(&proc_lock);
	yes = count_of(&all_procs, p->cred->uid) + count_of(&unborn_procs, p->cred->uid) < parent->limits[RLIMIT_NPROC].cur;
	if (yes)
		TAILQ_INSERT_TAIL(&unborn_procs, p, all_link);
	spin_unlock(&proc_lock);
	return (yes);
}

void
proc_withdraw(struct proc *p)
{
	spin_lock(&proc_lock);
	TAILQ_REMOVE(&unborn_procs, p, all_link);
	spin_unlock(&proc_lock);
}

void
proc_start(struct proc *p, struct proc *parent, struct uthread *ut)
{
	ut->td->vmspace = p->vmspace;
	spin_lock(&proc_lock);
	if (parent != NULL)
		TAILQ_REMOVE(&unborn_procs, p, all_link);
	p->pid = ut->tid = number_get();
	if (parent != NULL) {
		p->pgid = parent->pgid;
		p->sid = parent->sid;
		p->parent = parent;
		TAILQ_INSERT_TAIL(&parent->children, p, sibling);
	} else {
		p->pgid = p->sid = p->pid;
	}
	TAILQ_INSERT_TAIL(&p->threads, ut, link);
	p->nthreads = 1;
	TAILQ_INSERT_TAIL(&all_procs, p, all_link);
	spin_unlock(&proc_lock);
}

/* ---- the first process ---- */

#define NPROC_MAX	1024u
/* What even an idle process costs in memory that cannot be swapped out is 16 pages, so all together get half of it. */
#define NPROC_RAM	32		/* pages of RAM for one process */

static void
default_limits(struct proc *p)
{
	for (int i = 0; i < RLIMIT_COUNT; i++)
		p->limits[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	p->limits[RLIMIT_STACK].cur = 8 * MiB;
	p->limits[RLIMIT_CORE].cur = 0;
	p->limits[RLIMIT_NOFILE] = (struct rlimit){ 1024, 4096 };
	p->limits[RLIMIT_NPROC].cur = p->limits[RLIMIT_NPROC].max = MIN(NPROC_MAX, vm_page_count / NPROC_RAM);
	p->limits[RLIMIT_MEMLOCK] = (struct rlimit){ 8 * MiB, 8 * MiB };
}

struct init_start {
	const char	*path, *args;
	volatile int	 error;		/* what exec said; -1: not yet */
};

/* Cut `args` at blanks into argv[1] and on. */
static int
split_args(char *args, char **argv, int max)
{
	int argc = 1;

	for (char *at = args; argc < max; ) {
		while (*at == ' ' || *at == '\t')
			at++;
		if (*at == '\0')
			break;
		argv[argc++] = at;
		while (*at != '\0' && *at != ' ' && *at != '\t')
			at++;
		if (*at != '\0')
			*at++ = '\0';
	}
	argv[argc] = NULL;
	return (argc);
}

/* In the first process's thread: become the program. */
static void
init_thread(void *arg)
{
	static char *envp[] = { "HOME=/", "TERM=linux", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	struct init_start *start = arg;
	char *argv[INIT_ARGS_MAX + 1], *args;
	size_t size = strlen(start->args) + 1;
	struct proc *p = curproc;
	int error;

	args = kmalloc(size, &M_PROC, M_WAITOK);
	memcpy(args, start->args, size);
	argv[0] = (char *)(uintptr_t)start->path;
	split_args(args, argv, INIT_ARGS_MAX);
	error = fdtable_open_console(p->files);
	if (error == 0)
		error = exec_kernel(start->path, argv, envp);
	kfree(args, &M_PROC);
	start->error = error;
	wakeup(start);
	if (error != 0)
		proc_exit_group(127 << 8);
	kasan_leave_stack();
	user_enter(curuthread->frame);
}

int
init_run(const char *path, const char *args)
{
	struct init_start start = { path, args, -1 };
	struct proc *p = proc_alloc();
	struct uthread *ut;
	int status, error;

	strlcpy(p->name, "init", sizeof(p->name));
	p->cred = cred_create(0, 0);
	p->files = fdtable_create();
	p->fs = fs_context_create();
	default_limits(p);
	ut = uthread_alloc(p);
	KASSERT(ut != NULL, "no memory for the first process");
	ut->td->entry = init_thread;
	ut->td->arg = &start;
	init_proc = p;
	proc_start(p, NULL, ut);
	thread_run(ut->td);
	while (start.error == -1)
		(void)tsleep(&start, NULL, "initexec", HZ);
	error = start.error;
	status = init_wait();
	return (error != 0 ? -error : status);
}
