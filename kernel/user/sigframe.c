/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signal frames: what a handler finds on its stack, and what rt_sigreturn makes of it.
 *
 *	interrupted rsp
 *	  - 128		the red zone, which leaf functions use below rsp (not on an alternate stack)
 *	fx (512 bytes, 64-byte aligned)
 *	siginfo (128)
 *	ucontext (304)
 *	rsp -> return address: SA_RESTORER's, which calls rt_sigreturn		rsp % 16 == 8, as after a call
 *
 * The frame lies in the program's memory, so on the way back nothing in it is trusted: segments are fixed,
 * flags are masked, and user_return() looks at rip.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"

#define RED_ZONE	128
#define SS_ONSTACK	1
#define SS_DISABLE	2
#define SS_AUTODISARM	(1u << 31)
#define MINSIGSTKSZ	2048
/* What a program may change of its flags: CF PF AF ZF SF TF DF OF AC and RF. */
#define RFLAGS_USER	0x50dd5ul
#define UC_FLAGS	0x6			/* UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */

struct stack_t {
	uint64_t	ss_sp;
	uint32_t	ss_flags, pad;
	uint64_t	ss_size;
};

struct sigcontext {
	uint64_t	r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	uint16_t	cs, gs, fs, ss;
	uint64_t	err, trapno, oldmask, cr2, fpstate, reserved[8];
};

struct ucontext {
	uint64_t	uc_flags, uc_link;
	struct stack_t	uc_stack;
	struct sigcontext uc_mcontext;
	uint64_t	uc_sigmask;
};

/* siginfo_t; which part of the union counts depends on signal and code. */
struct linux_siginfo {
	int32_t		si_signo, si_errno, si_code, pad;
	union {
		struct { int32_t pid; uint32_t uid; uint64_t value; } sender;
		struct { int32_t pid; uint32_t uid; int32_t status, pad; int64_t utime, stime; } child;
		struct { uint64_t addr; } fault;
		uint8_t all[112];
	};
};

struct rt_sigframe {
	uint64_t	pretcode;
	struct ucontext	uc;
	struct linux_siginfo info;
};

_Static_assert(sizeof(struct ucontext) == 304 && sizeof(struct linux_siginfo) == 128, "Linux's sizes");

static void
siginfo_fill(const struct siginfo *info, struct linux_siginfo *out)
{
	memset(out, 0, sizeof(*out));
	out->si_signo = info->signo;
	out->si_code = info->code;
	if (info->signo == SIGCHLD && info->code > 0 && info->code != SI_KERNEL) {
		out->child.pid = info->pid;
		out->child.uid = info->uid;
		out->child.status = info->status;
		out->child.utime = (int64_t)info->utime;
		out->child.stime = (int64_t)info->stime;
	} else if (info->code <= 0) {
		out->sender.pid = info->pid;
		out->sender.uid = info->uid;
		out->sender.value = info->value;
	} else {
		out->fault.addr = info->value;
	}
}

int
siginfo_copyout(const struct siginfo *info, vm_offset_t to)
{
	struct linux_siginfo out;

	siginfo_fill(info, &out);
	return (copyout(&out, to, sizeof(out)));
}

static bool
on_altstack(const struct uthread *ut, uint64_t sp)
{
	return (ut->altstack_size != 0 && sp > ut->altstack && sp - ut->altstack <= ut->altstack_size);
}

static struct stack_t
altstack_get(const struct uthread *ut, uint64_t sp)
{
	struct stack_t st = { .ss_sp = ut->altstack, .ss_size = ut->altstack_size,
	    .ss_flags = ut->altstack_size == 0 ? SS_DISABLE : ut->altstack_flags | (on_altstack(ut, sp) ? SS_ONSTACK : 0) };

	return (st);
}

static int
altstack_set(struct uthread *ut, const struct stack_t *st, uint64_t sp)
{
	uint32_t mode = st->ss_flags & ~SS_AUTODISARM;

	if (on_altstack(ut, sp))
		return (EPERM);
	if (mode != 0 && mode != SS_DISABLE && mode != SS_ONSTACK)
		return (EINVAL);
	if (mode == SS_DISABLE) {
		ut->altstack = ut->altstack_size = 0;
		return (0);
	}
	if (st->ss_size < MINSIGSTKSZ)
		return (ENOMEM);
	ut->altstack = st->ss_sp;
	ut->altstack_size = st->ss_size;
	ut->altstack_flags = st->ss_flags & SS_AUTODISARM;
	return (0);
}

static void
context_fill(struct ucontext *uc, const struct trapframe *f, const struct uthread *ut, uint64_t fx, sigset_t mask)
{
	memset(uc, 0, sizeof(*uc));
	uc->uc_flags = UC_FLAGS;
	uc->uc_stack = altstack_get(ut, f->rsp);
	uc->uc_mcontext = (struct sigcontext){ .r8 = f->r8, .r9 = f->r9, .r10 = f->r10, .r11 = f->r11, .r12 = f->r12,
	    .r13 = f->r13, .r14 = f->r14, .r15 = f->r15, .rdi = f->rdi, .rsi = f->rsi, .rbp = f->rbp, .rbx = f->rbx,
	    .rdx = f->rdx, .rax = f->rax, .rcx = f->rcx, .rsp = f->rsp, .rip = f->rip, .rflags = f->rflags,
	    .cs = (uint16_t)f->cs, .ss = (uint16_t)f->ss, .err = ut->fault_error, .trapno = ut->fault_trapno,
	    .oldmask = mask, .cr2 = ut->fault_cr2, .fpstate = fx };
	uc->uc_sigmask = mask;
}

int
sigframe_push(struct trapframe *f, int sig, const struct siginfo *info, const struct sigaction *act, sigset_t mask)
{
	struct uthread *ut = curuthread;
	struct rt_sigframe frame;
	uint64_t sp = f->rsp - RED_ZONE, fx, at;
	bool alt = on_altstack(ut, f->rsp);

	if ((act->flags & SA_ONSTACK) && ut->altstack_size != 0 && !alt) {
		sp = ut->altstack + ut->altstack_size;
		alt = true;
	}
	fx = (sp - sizeof(ut->td->ustate->fx)) & ~63ul;
	at = ((fx - sizeof(frame)) & ~15ul) - 8;
	if (alt && (at < ut->altstack || at > sp))
		return (EFAULT);		/* it has overflowed */
	frame.pretcode = act->restorer;
	siginfo_fill(info, &frame.info);
	context_fill(&frame.uc, f, ut, fx, mask);
	user_state_save(ut->td->ustate);
	if (copyout(ut->td->ustate->fx, fx, sizeof(ut->td->ustate->fx)) != 0 || copyout(&frame, at, sizeof(frame)) != 0)
		return (EFAULT);
	if (ut->altstack_flags & SS_AUTODISARM)
		ut->altstack = ut->altstack_size = ut->altstack_flags = 0;
	f->rsp = at;
	f->rip = act->handler;
	f->rdi = (uint64_t)sig;
	f->rsi = at + offsetof(struct rt_sigframe, info);
	f->rdx = at + offsetof(struct rt_sigframe, uc);
	f->rax = 0;
	f->rflags &= ~(RFLAGS_DF | RFLAGS_TF);
	return (0);
}

/* Registers from the frame, with what a program must not choose left out. */
static void
context_restore(struct trapframe *f, const struct sigcontext *sc)
{
	f->r8 = sc->r8;
	f->r9 = sc->r9;
	f->r10 = sc->r10;
	f->r11 = sc->r11;
	f->r12 = sc->r12;
	f->r13 = sc->r13;
	f->r14 = sc->r14;
	f->r15 = sc->r15;
	f->rdi = sc->rdi;
	f->rsi = sc->rsi;
	f->rbp = sc->rbp;
	f->rbx = sc->rbx;
	f->rdx = sc->rdx;
	f->rax = sc->rax;
	f->rcx = sc->rcx;
	f->rsp = sc->rsp;
	f->rip = sc->rip;
	f->rflags = (f->rflags & ~RFLAGS_USER) | (sc->rflags & RFLAGS_USER) | RFLAGS_IF;
	f->cs = SEL_UCODE;
	f->ss = SEL_UDATA;
	f->error = ~0ul;			/* no system call to start again */
}

/* FPU state from the frame; none there: as a new program's. */
static int
fpu_restore(struct uthread *ut, uint64_t from)
{
	struct user_state new;

	user_state_init(&new);
	if (from != 0 && copyin(from, new.fx, sizeof(new.fx)) != 0)
		return (EFAULT);
	user_state_sanitize(&new);
	new.fs_base = ut->td->ustate->fs_base;
	new.gs_base = ut->td->ustate->gs_base;
	user_state_replace(&new);
	return (0);
}

int64_t
sys_rt_sigreturn(const uint64_t *a)
{
	struct uthread *ut = curuthread;
	struct trapframe *f = ut->frame;
	struct ucontext uc;

	/* The handler's return has popped the return address. */
	if (copyin(f->rsp - sizeof(uint64_t) + offsetof(struct rt_sigframe, uc), &uc, sizeof(uc)) != 0 ||
	    fpu_restore(ut, uc.uc_mcontext.fpstate) != 0) {
		signal_fault(SIGSEGV, SI_KERNEL, 0);
		return (0);
	}
	context_restore(f, &uc.uc_mcontext);
	signal_set_mask(ut, uc.uc_sigmask);
	(void)altstack_set(ut, &uc.uc_stack, f->rsp);
	curthread->ast = true;			/* back by IRET, which restores RCX and R11, too */
	return ((int64_t)f->rax);
}

int64_t
sys_sigaltstack(const uint64_t *a)
{
	struct uthread *ut = curuthread;
	struct stack_t old = altstack_get(ut, ut->frame->rsp), new;
	int error;

	if (a[0] != 0) {
		error = copyin(a[0], &new, sizeof(new));
		if (error == 0)
			error = altstack_set(ut, &new, ut->frame->rsp);
		if (error != 0)
			return (-error);
	}
	return (a[1] != 0 ? -copyout(&old, a[1], sizeof(old)) : 0);
}
