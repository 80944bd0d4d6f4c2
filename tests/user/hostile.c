/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that mean harm: whatever they do to their registers, their stack or their number, only they die of it. */
#define _GNU_SOURCE
#include "probe.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define KERNEL		0xffffffff80001000ul
#define NOT_CANONICAL	0x800000000000ul
#define LAST_PAGE	0x7fffffffe000ul

#define FLAG_TF		0x100ul
#define FLAG_IF		0x200ul
#define FLAG_DF		0x400ul
#define FLAG_IOPL	0x3000ul
#define FLAG_NT		0x4000ul

/* ---- what a handler returns to ---- */

static struct {
	int		reg;
	unsigned long	value;
} change;

static void
changes_context(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	if (change.reg == REG_EFL)
		uc->uc_mcontext.gregs[REG_EFL] ^= (long)change.value;
	else
		uc->uc_mcontext.gregs[change.reg] = (long)change.value;
}

/* Raise a signal whose handler changes a register of ours; the flags that we have then. */
static unsigned long
returns_to(int reg, unsigned long value)
{
	struct sigaction sa = { .sa_sigaction = changes_context, .sa_flags = SA_SIGINFO };
	unsigned long flags;

	signal(SIGSEGV, SIG_DFL);
	signal(SIGTRAP, SIG_DFL);
	sigaction(SIGUSR1, &sa, NULL);
	change.reg = reg;
	change.value = value;
	raise(SIGUSR1);
	__asm__ volatile("pushfq; popq %0; cld" : "=r"(flags));
	return (flags);
}

static int to_kernel(void *arg) { (void)arg; returns_to(REG_RIP, KERNEL); return (0); }
static int to_nowhere(void *arg) { (void)arg; returns_to(REG_RIP, NOT_CANONICAL); return (0); }
static int to_far_above(void *arg) { (void)arg; returns_to(REG_RIP, ~0ul); return (0); }
static int stack_in_kernel(void *arg) { (void)arg; returns_to(REG_RSP, KERNEL); return (0); }
static int stack_nowhere(void *arg) { (void)arg; returns_to(REG_RSP, NOT_CANONICAL); return (0); }
static int single_step(void *arg) { (void)arg; returns_to(REG_EFL, FLAG_TF); return (0); }

static int
privileged_flags(void *arg)
{
	unsigned long flags = returns_to(REG_EFL, FLAG_IOPL | FLAG_IF | FLAG_NT);

	(void)arg;
	return ((flags & FLAG_IOPL) == 0 && (flags & FLAG_IF) != 0 ? 9 : 1);
}

static void
returning(void)
{
	fact("a handler returns into the kernel", "%s", status_text(in_child(to_kernel, NULL)));
	fact("to an address that is not canonical", "%s", status_text(in_child(to_nowhere, NULL)));
	fact("to the last byte of all", "%s", status_text(in_child(to_far_above, NULL)));
	fact("with its stack in the kernel", "%s", status_text(in_child(stack_in_kernel, NULL)));
	/* Emulators differ in how they refuse it. */
	fact("with a stack that is not canonical, killed", "%d", WIFSIGNALED(in_child(stack_nowhere, NULL)));
	fact("with the trap flag", "%s", status_text(in_child(single_step, NULL)));
	fact("with flags that are not its own", "%s", status_text(in_child(privileged_flags, NULL)));
}

/* ---- instructions ---- */

static void
ret_nowhere(void *arg)
{
	__asm__ volatile("pushq %0; ret" : : "r"(arg));
}

static int
plain_ret(void *arg)
{
	signal(SIGSEGV, SIG_DFL);
	ret_nowhere(arg);
	return (0);
}

/* A system call in the last two bytes: it would return behind the end of memory. */
static int
call_at_the_end(void *arg)
{
	unsigned char *p = mmap((void *)LAST_PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	(void)arg;
	signal(SIGSEGV, SIG_DFL);
	if (p == MAP_FAILED)
		return (2);
	p[PAGE - 2] = 0x0f;
	p[PAGE - 1] = 0x05;
	__asm__ volatile("jmp *%0" : : "r"(p + PAGE - 2), "a"((long)SYS_getpid));
	return (3);
}

/* A system call while the direction flag and the nested-task flag are set; are its bytes in the right order? */
static int
call_with_flags(void *arg)
{
	static char buf[64];
	int fd = scratch_file(NULL, PAGE);
	long done = SYS_pread64;

	(void)arg;
	__asm__ volatile("pushfq; orq %1, (%%rsp); popfq; movq $0, %%r10; syscall; pushfq; andq %2, (%%rsp); popfq; cld"
	    : "+a"(done) : "i"(FLAG_DF | FLAG_NT), "i"(~FLAG_NT & 0x7fffffff), "D"((long)fd), "S"(buf), "d"(64L) : "rcx", "r10", "r11", "memory");
	return (done == 64 && all_pattern((unsigned char *)buf, 64, 0) ? 4 : 1);
}

static void
instructions(void)
{
	fact("ret into the kernel", "%s", status_text(in_child(plain_ret, (void *)KERNEL)));
	fact("ret to an address that is not canonical", "%s", status_text(in_child(plain_ret, (void *)NOT_CANONICAL)));
	fact("a system call at the end of memory", "%s", status_text(in_child(call_at_the_end, NULL)));
	fact("a system call with flags set", "%s", status_text(in_child(call_with_flags, NULL)));
	fact("the thread's base in the kernel", "%s", result(syscall(SYS_arch_prctl, ARCH_SET_FS, KERNEL)));
	fact("the thread's base not canonical", "%s", result(syscall(SYS_arch_prctl, ARCH_SET_FS, NOT_CANONICAL)));
}

/* ---- too much ---- */

static int
deep(int n)
{
	volatile char here[1024];

	here[0] = (char)n;
	return (n < 0 ? here[0] : deep(n + 1) + here[0]);
}

static int
no_end_of_stack(void *arg)
{
	(void)arg;
	signal(SIGSEGV, SIG_DFL);
	return (deep(0));
}

static void
lengths(void)
{
	int fd = scratch_file(NULL, PAGE);
	char buf[8];
	struct iovec iov[2] = { { buf, 8 }, { buf, ~0ul >> 1 } }, wrap[2] = { { buf, ~0ul - 4 }, { buf, 8 } };

	fact("read of all there is", "%s", result(syscall(SYS_read, fd, buf, ~0ul)));
	fact("write of all there is", "%s", result(syscall(SYS_write, fd, buf, ~0ul)));
	fact("read of half of it", "%s", result(syscall(SYS_read, fd, buf, ~0ul >> 1)));
	fact("readv of more than can be counted", "%s", result(syscall(SYS_readv, fd, iov, 2)));
	fact("writev whose sum wraps", "%s", result(syscall(SYS_writev, fd, wrap, 2)));
	fact("a million vectors", "%s", result(syscall(SYS_readv, fd, iov, 1000000)));
}

#define BOMB_LIMIT	24
#define BOMB_FREE	500

static volatile int *bombs;			/* processes that got going; failures, for want of numbers and else; tries */

/* Fork so often, all together, then wait to be killed. */
static void
bomb(int most)
{
	for (;;) {
		pid_t pid;

		if (__atomic_fetch_add(&bombs[3], 1, __ATOMIC_RELAXED) >= most)
			pause();
		pid = fork();

		if (pid == 0)
			__atomic_fetch_add(&bombs[0], 1, __ATOMIC_RELAXED);
		else if (pid < 0) {
			__atomic_fetch_add(&bombs[errno == EAGAIN ? 1 : 2], 1, __ATOMIC_RELAXED);
			usleep(1000);
		}
	}
}

static int
bomb_held(void *arg)
{
	struct rlimit limit = { BOMB_LIMIT, BOMB_LIMIT };
	int status;
	pid_t pid;

	(void)arg;
	if (setuid(54321) != 0 || setrlimit(RLIMIT_NPROC, &limit) != 0)
		return (1);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		bomb(INT_MAX);
	}
	setpgid(pid, pid);
	while (bombs[1] < 200 && bombs[2] == 0)
		usleep(1000);
	while (kill(-pid, SIGKILL) == 0 && waitpid(pid, &status, WNOHANG) >= 0)
		usleep(1000);
	/* This one and the first of them are not counted. */
	return (bombs[0] == BOMB_LIMIT - 2 && bombs[2] == 0 ? 6 : 1);
}

/* Without a limit of its own: the machine has one, which its memory can bear; here are more than fit into 32 MiB. */
static int
bomb_free(void *arg)
{
	int status;
	pid_t pid;

	(void)arg;
	bombs[0] = bombs[1] = bombs[2] = bombs[3] = 0;
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		bomb(BOMB_FREE);
	}
	setpgid(pid, pid);
	while (bombs[0] < BOMB_FREE && bombs[1] == 0 && bombs[2] == 0)
		usleep(1000);
	while (kill(-pid, SIGKILL) == 0 && waitpid(pid, &status, WNOHANG) >= 0)
		usleep(1000);
	return (bombs[2] == 0 ? 6 : 1);
}

static void
many(void)
{
	fact("a stack without end", "%s", status_text(in_child(no_end_of_stack, NULL)));
	lengths();
	bombs = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fact("a fork bomb under a limit", "%s", status_text(in_child(bomb_held, NULL)));
	fact("one without", "%s", status_text(in_child(bomb_free, NULL)));
	fact("and everybody else lives", "%d", getpid() > 0);
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	returning();
	instructions();
	many();
	return (0);
}
