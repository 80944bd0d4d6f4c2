/* SPDX-License-Identifier: BSD-2-Clause */
/* The signal calls that need no frame: actions, masks, kill and its relatives, waiting for signals. */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/cred.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"

#define SIGSET_SIZE	8
enum { SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK };

int64_t
sys_rt_sigaction(const uint64_t *a)
{
	struct proc *p = curproc;
	struct sigaction new, old;
	int sig = (int)a[0];

	if (a[3] != SIGSET_SIZE || sig < 1 || sig > NSIG)
		return (-EINVAL);
	if (a[1] != 0) {
		if ((SIGBIT(sig) & SIG_UNBLOCKABLE) != 0)
			return (-EINVAL);
		if (copyin(a[1], &new, sizeof(new)) != 0)
			return (-EFAULT);
		new.mask &= ~SIG_UNBLOCKABLE;
	}
	spin_lock(&proc_lock);
	old = p->actions[sig];
	if (a[1] != 0) {
		p->actions[sig] = new;
		signal_forget_ignored(p, sig);
	}
	spin_unlock(&proc_lock);
	return (a[2] != 0 ? -copyout(&old, a[2], sizeof(old)) : 0);
}

int64_t
sys_rt_sigprocmask(const uint64_t *a)
{
	struct uthread *ut = curuthread;
	sigset_t set, old = ut->mask;

	if (a[3] != SIGSET_SIZE)
		return (-EINVAL);
	if (a[1] != 0) {
		if (copyin(a[1], &set, sizeof(set)) != 0)
			return (-EFAULT);
		switch ((int)a[0]) {
		case SIG_BLOCK:
			set |= old;
			break;
		case SIG_UNBLOCK:
			set = old & ~set;
			break;
		case SIG_SETMASK:
			break;
		default:
			return (-EINVAL);
		}
		signal_set_mask(ut, set);
	}
	return (a[2] != 0 ? -copyout(&old, a[2], sizeof(old)) : 0);
}

int64_t
sys_rt_sigpending(const uint64_t *a)
{
	struct uthread *ut = curuthread;
	sigset_t set;

	if (a[1] > SIGSET_SIZE)
		return (-EINVAL);
	spin_lock(&proc_lock);
	set = (ut->pending.set | ut->proc->pending.set) & ut->mask;
	spin_unlock(&proc_lock);
	return (-copyout(&set, a[0], a[1]));
}

int64_t
sys_rt_sigsuspend(const uint64_t *a)
{
	static const char chan;
	sigset_t set;

	if (a[1] != SIGSET_SIZE)
		return (-EINVAL);
	if (copyin(a[0], &set, sizeof(set)) != 0)
		return (-EFAULT);
	signal_swap_mask(set);
	while (!signal_deliverable())
		(void)tsleep_sig(&chan, NULL, "sigsusp", 0);
	return (-ERESTARTNOHAND);
}

int64_t
sys_pause(const uint64_t *a)
{
	static const char chan;

	while (!signal_deliverable())
		(void)tsleep_sig(&chan, NULL, "pause", 0);
	return (-ERESTARTNOHAND);
}

int64_t
sys_rt_sigtimedwait(const uint64_t *a)
{
	struct uthread *ut = curuthread;
	struct siginfo info;
	struct timespec ts;
	uint64_t deadline = 0, left = 0;
	sigset_t want;
	int sig, error = 0;

	if (a[3] != SIGSET_SIZE)
		return (-EINVAL);
	if (copyin(a[0], &want, sizeof(want)) != 0)
		return (-EFAULT);
	if (a[2] != 0) {
		error = timespec_in(a[2], &ts);
		if (error != 0)
			return (-error);
		deadline = ticks + ns_to_ticks(timespec_ns(&ts));
		if (timespec_ns(&ts) == 0)
			deadline = ticks;
	}
	want &= ~SIG_UNBLOCKABLE;
	spin_lock(&proc_lock);
	while ((sig = signal_take(ut, want, &info)) == 0) {
		if (a[2] != 0 && deadline <= ticks)
			error = EAGAIN;
		if (error != 0)
			break;
		left = a[2] != 0 ? deadline - ticks : 0;
		error = tsleep_sig(&ut->proc->pending, &proc_lock.lk, "sigwait", left);
		if (error == EWOULDBLOCK)
			error = 0;
	}
	spin_unlock(&proc_lock);
	if (sig == 0)
		return (error == ERESTARTSYS ? -EINTR : -error);
	if (a[1] != 0 && siginfo_copyout(&info, a[1]) != 0)
		return (-EFAULT);
	return (sig);
}

/* ---- sending ---- */

static struct siginfo
from_me(int code)
{
	return ((struct siginfo){ .code = code, .pid = curproc->pid, .uid = curthread->cred->uid });
}

/* Post to those whose process number, group or being there at all matches.  kill(2)'s rules. */
static int
kill_many(int pid, int sig)
{
	struct siginfo info = from_me(SI_USER);
	int found = 0, allowed = 0, pgid = pid == 0 ? curproc->pgid : -pid;
	struct proc *p;

	TAILQ_FOREACH(p, &all_procs, all_link) {
		if (pid == -1 ? p->pid <= 1 || p == curproc : p->pgid != pgid)
			continue;
		found++;
		if (!proc_may_signal(p))
			continue;
		allowed++;
		if (sig != 0)
			signal_proc_locked(p, sig, &info);
	}
	return (found == 0 ? ESRCH : allowed == 0 ? EPERM : 0);
}

int64_t
sys_kill(const uint64_t *a)
{
	struct siginfo info = from_me(SI_USER);
	int pid = (int)a[0], sig = (int)a[1], error = 0;
	struct proc *p;

	if (sig < 0 || sig > NSIG)
		return (-EINVAL);
	if (pid == INT32_MIN)
		return (-ESRCH);
	spin_lock(&proc_lock);
	if (pid <= 0) {
		error = kill_many(pid, sig);
	} else if ((p = proc_find(pid)) == NULL) {
		error = ESRCH;
	} else if (!proc_may_signal(p)) {
		error = EPERM;
	} else if (sig != 0) {
		signal_proc_locked(p, sig, &info);
	}
	spin_unlock(&proc_lock);
	return (-error);
}

/* tgid 0: whatever process the thread belongs to. */
static int
kill_thread(int tgid, int tid, int sig, const struct siginfo *info)
{
	struct uthread *ut;
	int error = 0;

	if (tid <= 0 || sig < 0 || sig > NSIG)
		return (EINVAL);
	spin_lock(&proc_lock);
	ut = uthread_find(tid);
	if (ut == NULL || (tgid != 0 && ut->proc->pid != tgid))
		error = ESRCH;
	else if (!proc_may_signal(ut->proc))
		error = EPERM;
	else if (sig != 0)
		signal_thread_locked(ut, sig, info);
	spin_unlock(&proc_lock);
	return (error);
}

int64_t
sys_tgkill(const uint64_t *a)
{
	struct siginfo info = from_me(SI_TKILL);

	if ((int)a[0] <= 0)
		return (-EINVAL);
	return (-kill_thread((int)a[0], (int)a[1], (int)a[2], &info));
}

int64_t
sys_tkill(const uint64_t *a)
{
	struct siginfo info = from_me(SI_TKILL);

	return (-kill_thread(0, (int)a[0], (int)a[1], &info));
}

/* The head of the caller's siginfo_t: it may say anything, but not that it comes from the kernel. */
static int
queued_info(vm_offset_t from, int pid, struct siginfo *info)
{
	struct { int32_t signo, error, code, pad, pid; uint32_t uid; uint64_t value; } in;

	if (copyin(from, &in, sizeof(in)) != 0)
		return (EFAULT);
	if ((in.code >= 0 || in.code == SI_TKILL) && pid != curproc->pid)
		return (EPERM);
	*info = (struct siginfo){ .code = in.code, .pid = in.pid, .uid = in.uid, .value = in.value };
	return (0);
}

int64_t
sys_rt_sigqueueinfo(const uint64_t *a)
{
	int pid = (int)a[0], sig = (int)a[1], error;
	struct siginfo info;
	struct proc *p;

	error = queued_info(a[2], pid, &info);
	if (error != 0)
		return (-error);
	if (sig < 0 || sig > NSIG)
		return (-EINVAL);
	spin_lock(&proc_lock);
	p = proc_find(pid);
	if (p == NULL)
		error = ESRCH;
	else if (!proc_may_signal(p))
		error = EPERM;
	else if (sig != 0)
		signal_proc_locked(p, sig, &info);
	spin_unlock(&proc_lock);
	return (-error);
}

int64_t
sys_rt_tgsigqueueinfo(const uint64_t *a)
{
	struct siginfo info;
	int error = queued_info(a[3], (int)a[0], &info);

	return (error != 0 ? -error : -kill_thread((int)a[0], (int)a[1], (int)a[2], &info));
}
