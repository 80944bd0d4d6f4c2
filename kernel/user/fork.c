/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork, vfork, clone: new processes and new threads.
 *
 *	CLONE_THREAD	a thread of this process: shares all there is
 *	CLONE_VM	a process on its parent's memory, until it executes something (posix_spawn)
 *	neither		a process with a copy: vmspace_fork() makes both sides copy on write
 *
 *	CLONE_FILES, CLONE_FS	and a process may share its parent's descriptors, its working directory and umask
 *
 * Handlers are shared by threads only: CLONE_SIGHAND without CLONE_THREAD is refused.  A process's actions lie in the
 * process, under the lock of its signals, and no program that we know of wants two processes to have the same.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/cred.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"
#include "vm/vm_map.h"

#define CSIGNAL			0xfful
#define CLONE_VM		0x100ul
#define CLONE_FS		0x200ul
#define CLONE_FILES		0x400ul
#define CLONE_SIGHAND		0x800ul
#define CLONE_VFORK		0x4000ul
#define CLONE_THREAD		0x10000ul
#define CLONE_SYSVSEM		0x40000ul
#define CLONE_SETTLS		0x80000ul
#define CLONE_PARENT_SETTID	0x100000ul
#define CLONE_CHILD_CLEARTID	0x200000ul
#define CLONE_DETACHED		0x400000ul
#define CLONE_CHILD_SETTID	0x1000000ul
#define CLONE_CLEAR_SIGHAND	0x100000000ul
#define CLONE_KNOWN		(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VFORK | CLONE_THREAD | \
	CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED | \
	CLONE_CHILD_SETTID | CLONE_CLEAR_SIGHAND)
#define CLONE_THREAD_NEEDS	(CLONE_VM | CLONE_SIGHAND | CLONE_FILES | CLONE_FS)

struct clone_request {
	uint64_t	flags;
	int		exit_signal;
	vm_offset_t	stack, ptid, ctid, tls;
};

static int
request_check(const struct clone_request *rq)
{
	if ((rq->flags & ~CLONE_KNOWN) != 0 || rq->exit_signal < 0 || rq->exit_signal > NSIG || rq->tls >= VM_USER_MAX)
		return (EINVAL);
	if (rq->flags & CLONE_THREAD)
		return ((rq->flags & CLONE_THREAD_NEEDS) == CLONE_THREAD_NEEDS &&
		    !(rq->flags & (CLONE_VFORK | CLONE_CLEAR_SIGHAND)) ? 0 : EINVAL);
	return (rq->flags & CLONE_SIGHAND ? EINVAL : 0);
}

/* The new thread returns from the same system call, with 0. */
static void
thread_copy(struct uthread *new, const struct clone_request *rq)
{
	struct uthread *me = curuthread;

	*new->frame = *me->frame;
	new->frame->rax = 0;
	new->frame->error = ~0ul;
	if (rq->stack != 0)
		new->frame->rsp = rq->stack;
	user_state_save(me->td->ustate);
	*new->td->ustate = *me->td->ustate;
	if (rq->flags & CLONE_SETTLS)
		new->td->ustate->fs_base = rq->tls;
	new->mask = me->mask;
	if (!(rq->flags & CLONE_VM) || (rq->flags & CLONE_VFORK)) {
		new->altstack = me->altstack;
		new->altstack_size = me->altstack_size;
		new->altstack_flags = me->altstack_flags;
	}
	if (rq->flags & CLONE_CHILD_SETTID)
		new->set_tid = rq->ctid;
	if (rq->flags & CLONE_CHILD_CLEARTID)
		new->clear_tid = rq->ctid;
}

/* The tid where the parent wants it; a bad pointer is nobody's problem, as on Linux. */
static void
tell_parent(const struct clone_request *rq, int tid)
{
	if (rq->flags & CLONE_PARENT_SETTID)
		(void)copyout(&tid, rq->ptid, sizeof(tid));
}

static int64_t
clone_thread(const struct clone_request *rq)
{
	struct proc *p = curproc;
	struct uthread *new = uthread_alloc(p);
	int tid;

	if (new == NULL)
		return (-EAGAIN);
	thread_copy(new, rq);
	if (!uthread_start(new)) {
		uthread_discard(new);
		return (-EAGAIN);
	}
	tid = new->tid;
	tell_parent(rq, tid);
	thread_run(new->td);
	return (tid);
}

/* What a child inherits besides memory and files. */
static void
proc_copy(struct proc *p, struct proc *me, const struct clone_request *rq)
{
	strlcpy(p->name, me->name, sizeof(p->name));
	p->exit_signal = rq->exit_signal;
	p->text = me->text;
	if (p->text != NULL)
		(void)text_ref(p->text);	/* we run it, so nobody writes to it */
	p->brk_start = me->brk_start;
	p->brk = me->brk;
	p->mmap_top = me->mmap_top;
	p->stack_top = me->stack_top;
	p->arg_start = me->arg_start;
	p->arg_end = me->arg_end;
	p->env_end = me->env_end;
	spin_lock(&proc_lock);
	p->cred = crhold(me->cred);
	memcpy(p->limits, me->limits, sizeof(p->limits));
	memcpy(p->actions, me->actions, sizeof(p->actions));
	spin_unlock(&proc_lock);
	if (rq->flags & CLONE_CLEAR_SIGHAND)
		signal_exec(p);
}

/* A process that comes to nothing. */
static void
proc_discard(struct proc *p)
{
	if (p->vmspace != NULL)
		vmspace_free(p->vmspace);
	if (p->text != NULL)
		text_release(p->text);
	proc_free(p);
}

static int64_t
clone_process(const struct clone_request *rq)
{
	struct proc *me = curproc, *p;
	struct uthread *new;
	bool vfork_done = false;
	int pid;

	p = proc_alloc();
	proc_copy(p, me, rq);
	if (!proc_announce(p, me)) {
		proc_discard(p);
		return (-EAGAIN);
	}
	if (rq->flags & CLONE_VM) {
		vmspace_ref(me->vmspace);
		p->vmspace = me->vmspace;
	} else {
		p->vmspace = vmspace_fork(me->vmspace);
	}
	new = p->vmspace != NULL ? uthread_alloc(p) : NULL;
	if (new == NULL) {
		proc_withdraw(p);
		proc_discard(p);
		return (-ENOMEM);
	}
	thread_copy(new, rq);
	p->files = rq->flags & CLONE_FILES ? fdtable_share(me->files) : fdtable_fork(me->files);
	p->fs = rq->flags & CLONE_FS ? fs_context_share(me->fs) : fs_context_fork(me->fs);
	if (rq->flags & CLONE_VFORK)
		p->vfork_done = &vfork_done;
	proc_start(p, me, new);
	pid = p->pid;
	tell_parent(rq, pid);
	thread_run(new->td);			/* p may be gone from here on */
	spin_lock(&proc_lock);
	while ((rq->flags & CLONE_VFORK) && !vfork_done)
		(void)tsleep(&vfork_done, &proc_lock.lk, "vfork", 0);
	spin_unlock(&proc_lock);
	return (pid);
}

static int64_t
do_clone(const struct clone_request *rq)
{
	int error = request_check(rq);

	if (error != 0)
		return (-error);
	return (rq->flags & CLONE_THREAD ? clone_thread(rq) : clone_process(rq));
}

int64_t
sys_clone(const uint64_t *a)
{
	struct clone_request rq = { .flags = a[0] & ~CSIGNAL & UINT32_MAX, .exit_signal = (int)(a[0] & CSIGNAL),
	    .stack = a[1], .ptid = a[2], .ctid = a[3], .tls = a[0] & CLONE_SETTLS ? a[4] : 0 };

	return (do_clone(&rq));
}

int64_t
sys_clone3(const uint64_t *a)
{
	struct {
		uint64_t	flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
				set_tid_size, cgroup;
	} in = { .flags = 0 };
	struct clone_request rq;

	if (a[1] < 64)
		return (-EINVAL);
	if (a[1] > sizeof(in))
		return (-E2BIG);
	if (copyin(a[0], &in, a[1]) != 0)
		return (-EFAULT);
	if ((in.flags & CSIGNAL) != 0 || in.exit_signal > NSIG || in.set_tid_size != 0 ||
	    (in.stack == 0) != (in.stack_size == 0))
		return (-EINVAL);
	rq = (struct clone_request){ .flags = in.flags, .exit_signal = (int)in.exit_signal,
	    .stack = in.stack + in.stack_size, .ptid = in.parent_tid, .ctid = in.child_tid,
	    .tls = in.flags & CLONE_SETTLS ? in.tls : 0 };
	return (do_clone(&rq));
}

int64_t
sys_fork(const uint64_t *a)
{
	struct clone_request rq = { .exit_signal = SIGCHLD };

	return (do_clone(&rq));
}

int64_t
sys_vfork(const uint64_t *a)
{
	struct clone_request rq = { .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD };

	return (do_clone(&rq));
}

int64_t
sys_set_tid_address(const uint64_t *a)
{
	curuthread->clear_tid = a[0];
	return (curuthread->tid);
}
