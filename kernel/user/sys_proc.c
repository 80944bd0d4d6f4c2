/* SPDX-License-Identifier: BSD-2-Clause */
/* Who a process is and what it may: numbers, groups, sessions, users, limits; and what machine this is. */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/cred.h"
#include "kernel/lib/string.h"
#include "kernel/random.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"
#include "vm/swap_pager.h"
#include "vm/vm_map.h"
#include "vm/vm_page.h"

#define KEEP		UINT32_MAX		/* setresuid: leave as it is */

int64_t sys_getpid(const uint64_t *a) { return (curproc->pid); }
int64_t sys_gettid(const uint64_t *a) { return (curuthread->tid); }
int64_t sys_getuid(const uint64_t *a) { return (curthread->cred->uid); }
int64_t sys_geteuid(const uint64_t *a) { return (curthread->cred->uid); }
int64_t sys_getgid(const uint64_t *a) { return (curthread->cred->gid); }
int64_t sys_getegid(const uint64_t *a) { return (curthread->cred->gid); }

int64_t
sys_getppid(const uint64_t *a)
{
	int pid;

	spin_lock(&proc_lock);
	pid = curproc->parent != NULL ? curproc->parent->pid : 0;
	spin_unlock(&proc_lock);
	return (pid);
}

/* ---- groups and sessions ---- */

/* 0: the caller.  => proc_lock */
static struct proc *
proc_or_self(int pid)
{
	return (pid == 0 ? curproc : proc_find(pid));
}

static int
setpgid_locked(struct proc *p, int pgid)
{
	struct proc *me = curproc;

	if (p == NULL || (p != me && p->parent != me))
		return (ESRCH);
	if (p->sid != me->sid || p->sid == p->pid)
		return (EPERM);
	if (p != me && p->execed)
		return (EACCES);
	if (pgid != p->pid && !pgrp_exists(pgid, me->sid))
		return (EPERM);
	p->pgid = pgid;
	return (0);
}

int64_t
sys_setpgid(const uint64_t *a)
{
	int pid = (int)a[0], pgid = (int)a[1], error;
	struct proc *p;

	if (pgid < 0)
		return (-EINVAL);
	spin_lock(&proc_lock);
	p = proc_or_self(pid);
	error = setpgid_locked(p, pgid == 0 && p != NULL ? p->pid : pgid);
	spin_unlock(&proc_lock);
	return (-error);
}

int64_t
sys_getpgid(const uint64_t *a)
{
	struct proc *p;
	int pgid;

	spin_lock(&proc_lock);
	p = proc_or_self((int)a[0]);
	pgid = p != NULL ? p->pgid : -ESRCH;
	spin_unlock(&proc_lock);
	return (pgid);
}

int64_t
sys_getpgrp(const uint64_t *a)
{
	return (curproc->pgid);
}

int64_t
sys_getsid(const uint64_t *a)
{
	struct proc *p;
	int sid;

	spin_lock(&proc_lock);
	p = proc_or_self((int)a[0]);
	sid = p != NULL ? p->sid : -ESRCH;
	spin_unlock(&proc_lock);
	return (sid);
}

int64_t
sys_setsid(const uint64_t *a)
{
	struct proc *me = curproc, *p;
	int sid = me->pid;

	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p->pgid == me->pid)
			sid = -EPERM;
	if (sid > 0)
		me->sid = me->pgid = sid;
	spin_unlock(&proc_lock);
	return (sid);
}

/* ---- users ---- */

/* There is one user and one group number for each process, not three. */
static int
become(uint32_t uid, uint32_t gid)
{
	struct proc *p = curproc;
	struct ucred *old = curthread->cred, *new, *old_proc;

	uid = uid == KEEP ? old->uid : uid;
	gid = gid == KEEP ? old->gid : gid;
	if (old->uid != 0 && (uid != old->uid || gid != old->gid))
		return (EPERM);
	if (uid == old->uid && gid == old->gid)
		return (0);
	new = cred_create(uid, gid);
	curthread->cred = new;
	spin_lock(&proc_lock);
	old_proc = p->cred;
	p->cred = crhold(new);
	spin_unlock(&proc_lock);
	crfree(old_proc);
	crfree(old);
	return (0);
}

int64_t sys_setuid(const uint64_t *a) { return (-become((uint32_t)a[0], KEEP)); }
int64_t sys_setgid(const uint64_t *a) { return (-become(KEEP, (uint32_t)a[0])); }
int64_t sys_setreuid(const uint64_t *a) { return (-become((uint32_t)a[1], KEEP)); }
int64_t sys_setregid(const uint64_t *a) { return (-become(KEEP, (uint32_t)a[1])); }
int64_t sys_setresuid(const uint64_t *a) { return (-become((uint32_t)a[1], KEEP)); }
int64_t sys_setresgid(const uint64_t *a) { return (-become(KEEP, (uint32_t)a[1])); }

static int64_t
three_out(const uint64_t *a, uint32_t id)
{
	for (int i = 0; i < 3; i++)
		if (copyout(&id, a[i], sizeof(id)) != 0)
			return (-EFAULT);
	return (0);
}

int64_t sys_getresuid(const uint64_t *a) { return (three_out(a, curthread->cred->uid)); }
int64_t sys_getresgid(const uint64_t *a) { return (three_out(a, curthread->cred->gid)); }
int64_t sys_getgroups(const uint64_t *a) { return ((int)a[0] < 0 ? -EINVAL : 0); }
int64_t sys_setgroups(const uint64_t *a) { return (curthread->cred->uid == 0 ? 0 : -EPERM); }

/* ---- limits ---- */

static int
limit_set(struct proc *p, unsigned resource, const struct rlimit *new)
{
	struct rlimit *limit = &p->limits[resource];

	if (new->cur > new->max)
		return (EINVAL);
	if (new->max > limit->max && curthread->cred->uid != 0)
		return (EPERM);
	*limit = *new;
	if (resource == RLIMIT_STACK && p->vmspace != NULL)
		__atomic_store_n(&p->vmspace->map.stack_limit, new->cur, __ATOMIC_RELAXED);
	return (0);
}

/* new, old: user addresses, 0: not wanted. */
static int64_t
do_prlimit(int pid, uint64_t resource, vm_offset_t new, vm_offset_t old)
{
	struct rlimit in, out = { 0, 0 };
	struct proc *p;
	int error = 0;

	if (resource >= RLIMIT_COUNT)
		return (-EINVAL);
	if (new != 0 && copyin(new, &in, sizeof(in)) != 0)
		return (-EFAULT);
	spin_lock(&proc_lock);
	p = proc_or_self(pid);
	if (p == NULL) {
		error = ESRCH;
	} else if (!proc_may_signal(p)) {
		error = EPERM;
	} else {
		out = p->limits[resource];
		if (new != 0)
			error = limit_set(p, (unsigned)resource, &in);
	}
	spin_unlock(&proc_lock);
	if (error == 0 && old != 0)
		error = copyout(&out, old, sizeof(out));
	return (-error);
}

int64_t sys_prlimit64(const uint64_t *a) { return (do_prlimit((int)a[0], (uint32_t)a[1], a[2], a[3])); }
int64_t sys_getrlimit(const uint64_t *a) { return (a[1] != 0 ? do_prlimit(0, (uint32_t)a[0], 0, a[1]) : -EFAULT); }
int64_t sys_setrlimit(const uint64_t *a) { return (a[1] != 0 ? do_prlimit(0, (uint32_t)a[0], a[1], 0) : -EFAULT); }

/* ---- the thread and the processor ---- */

int64_t
sys_arch_prctl(const uint64_t *a)
{
	enum { SET_GS = 0x1001, SET_FS, GET_FS, GET_GS };
	struct user_state *us = curthread->ustate;

	switch (a[0]) {
	case SET_FS:
	case SET_GS:
		if (a[1] >= VM_USER_MAX)
			return (-EPERM);
		user_state_set_base(us, a[0] == SET_FS, a[1]);
		return (0);
	case GET_FS:
		return (-copyout(&us->fs_base, a[1], sizeof(us->fs_base)));
	case GET_GS:
		return (-copyout(&us->gs_base, a[1], sizeof(us->gs_base)));
	default:
		return (-EINVAL);
	}
}

int64_t
sys_prctl(const uint64_t *a)
{
	enum { GET_DUMPABLE = 3, SET_DUMPABLE = 4, SET_NAME = 15, GET_NAME = 16, SET_NO_NEW_PRIVS = 38,
	    GET_NO_NEW_PRIVS = 39 };
	struct proc *p = curproc;
	char name[sizeof(p->name)] = "";
	int error;

	switch ((int)a[0]) {
	case GET_DUMPABLE:
		return (1);
	case SET_NAME:
		error = copyinstr(a[1], name, sizeof(name), NULL);
		if (error == EFAULT)
			return (-EFAULT);
		name[sizeof(name) - 1] = '\0';
		strlcpy(p->name, name, sizeof(p->name));
		return (0);
	case GET_NAME:
		return (-copyout(p->name, a[1], sizeof(p->name)));
	case SET_NO_NEW_PRIVS:
		return (a[1] == 1 ? 0 : -EINVAL);
	default:
		return (-EINVAL);
	}
}

int64_t
sys_sched_yield(const uint64_t *a)
{
	thread_yield();
	return (0);
}

/* Is there such a thread?  0: the caller.  -ESRCH; -EINVAL: not a thread's number */
static int64_t
check_thread(int tid)
{
	bool exists;

	if (tid < 0)
		return (-EINVAL);
	spin_lock(&proc_lock);
	exists = tid == 0 || uthread_find(tid) != NULL;
	spin_unlock(&proc_lock);
	return (exists ? 0 : -ESRCH);
}

int64_t
sys_sched_getaffinity(const uint64_t *a)
{
	uint64_t mask = (1ul << ncpus) - 1;
	int64_t result;

	if (a[1] < sizeof(mask) || (a[1] & 7) != 0)
		return (-EINVAL);
	result = check_thread((int)a[0]);
	if (result != 0)
		return (result);
	return (copyout(&mask, a[2], sizeof(mask)) != 0 ? -EFAULT : (int64_t)sizeof(mask));
}

int64_t
sys_getcpu(const uint64_t *a)
{
	uint32_t cpu = curcpu->id, node = 0;

	if (a[0] != 0 && copyout(&cpu, a[0], sizeof(cpu)) != 0)
		return (-EFAULT);
	return (a[1] != 0 ? -copyout(&node, a[1], sizeof(node)) : 0);
}

/* There are no priorities among programs: everybody is at the middle, and may be told to be. */
int64_t sys_getpriority(const uint64_t *a) { return (20); }
int64_t sys_setpriority(const uint64_t *a) { return ((int)a[2] >= 0 || curthread->cred->uid == 0 ? 0 : -EACCES); }

/* Nor policies: all are SCHED_OTHER's, whose only parameter, the priority, is 0. */
int64_t sys_sched_getscheduler(const uint64_t *a) { return (check_thread((int)a[0])); }

int64_t
sys_sched_getparam(const uint64_t *a)
{
	static const int32_t priority;
	int64_t result = a[1] != 0 ? check_thread((int)a[0]) : -EINVAL;

	return (result != 0 ? result : -copyout(&priority, a[1], sizeof(priority)));
}

/* The policies that Linux has, for who asks: FIFO and RR know priorities from 1 to 99. */
static int64_t
policy_priority(int policy, int with_priorities)
{
	enum { SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE = 5 };

	if (policy == SCHED_FIFO || policy == SCHED_RR)
		return (with_priorities);
	return (policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE ? 0 : -EINVAL);
}

int64_t sys_sched_get_priority_max(const uint64_t *a) { return (policy_priority((int)a[0], 99)); }
int64_t sys_sched_get_priority_min(const uint64_t *a) { return (policy_priority((int)a[0], 1)); }

/* ---- the machine ---- */

int64_t
sys_uname(const uint64_t *a)
{
	struct {
		char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
	} u = { "Linux", "faultline", "6.1.0-faultline", "#1 Faultline", "x86_64", "(none)" };

	return (-copyout(&u, a[0], sizeof(u)));
}

int64_t
sys_sysinfo(const uint64_t *a)
{
	struct {
		int64_t		uptime;
		uint64_t	loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
		uint16_t	procs, pad;
		uint64_t	totalhigh, freehigh;
		uint32_t	mem_unit;
	} si = { .uptime = (int64_t)(clock_ns() / 1000000000ul), .mem_unit = 1 };
	unsigned loads[3], running, all;
	struct swap_info swap;
	struct proc *p;

	_Static_assert(sizeof(si) == 112, "Linux's struct sysinfo");
	si.totalram = vm_page_count * PAGE_SIZE;
	si.freeram = (uint64_t)vm_free_count() * PAGE_SIZE;
	swap_info(&swap);
	if (swap.disk != NULL) {
		si.totalswap = swap.nblocks * PAGE_SIZE;
		si.freeswap = (swap.nblocks - swap.inuse) * PAGE_SIZE;
	}
	sched_loads(loads, &running, &all);
	for (int i = 0; i < 3; i++)
		si.loads[i] = loads[i] * 65536ul / 100;
	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link)
		si.procs++;
	spin_unlock(&proc_lock);
	return (-copyout(&si, a[0], sizeof(si)));
}

int64_t
sys_getrandom(const uint64_t *a)
{
	uint8_t buf[256];
	uint64_t done, n, len = MIN(a[1], 32 * MiB);

	if ((a[2] & ~7ul) != 0)
		return (-EINVAL);
	for (done = 0; done < len; done += n) {
		n = MIN(len - done, sizeof(buf));
		random_bytes(buf, n);
		if (copyout(buf, a[0] + done, n) != 0)
			return (done != 0 ? (int64_t)done : -EFAULT);
		if (done != 0 && signal_deliverable())
			return ((int64_t)(done + n));
	}
	return ((int64_t)len);
}

int64_t
sys_reboot(const uint64_t *a)
{
	enum { MAGIC1 = 0xfee1dead, MAGIC2 = 672274793, CAD_ON = 0x89abcdef, CAD_OFF = 0, RESTART = 0x01234567,
	    HALT = 0xcdef0123, POWER_OFF = 0x4321fedc };

	if (curthread->cred->uid != 0)
		return (-EPERM);
	if ((uint32_t)a[0] != MAGIC1 || (uint32_t)a[1] != MAGIC2)
		return (-EINVAL);
	switch ((uint32_t)a[2]) {
	case CAD_ON:
	case CAD_OFF:
		return (0);
	case RESTART:
	case HALT:
	case POWER_OFF:
		proc_end_init(0);		/* the machine ends as if init had */
		return (0);
	default:
		return (-EINVAL);
	}
}
