/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults as signals: which, with what code and address, on which stack, and what becomes of the registers. */
#define _GNU_SOURCE
#include "probe.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)
#define RW	(PROT_READ | PROT_WRITE)

static void do_halt(void *arg) { (void)arg; __asm__ volatile("hlt"); }
static void do_ud2(void *arg) { (void)arg; __asm__ volatile("ud2"); }
static void do_int3(void *arg) { (void)arg; __asm__ volatile("int3"); }
static void do_int81(void *arg) { (void)arg; __asm__ volatile("int $0x81"); }
static void do_divide(void *arg)
{
	(void)arg;
	__asm__ volatile("xorl %%edx, %%edx; movl $1, %%eax; xorl %%ecx, %%ecx; divl %%ecx" ::: "eax", "ecx", "edx");
}
static void do_port(void *arg) { (void)arg; __asm__ volatile("inb $0x60, %%al" ::: "eax"); }
static void do_msr(void *arg) { (void)arg; __asm__ volatile("rdmsr" : : "c"(0xc0000080) : "eax", "edx"); }

static void
memory(void)
{
	unsigned char *ro = map(PAGE, PROT_READ, ANON, -1, 0), *none = map(PAGE, PROT_NONE, ANON, -1, 0);
	unsigned char *rw = map(PAGE, RW, ANON, -1, 0), *file = map(2 * PAGE, RW, MAP_SHARED, scratch_file(NULL, PAGE), 0);

	fact("null, load", "%s", load(NULL));
	fact("null and a bit, store", "%s", store((void *)0x123, 1));
	fact("read-only, store", "%s", store(ro + 77, 1));
	fact("no access, load", "%s", load(none + 5));
	fact("not executable, jump", "%s", jump(rw));
	fact("behind the file", "%s", load(file + PAGE + 3));
	fact("the kernel, load", "%s", load((void *)0xffffffff80000000));
	fact("the kernel, store", "%s", store((void *)0xffff888000000000, 1));
	fact("the kernel, jump", "%s", jump((void *)0xffffffff80000000));
	fact("not canonical, load", "%s", load((void *)0x800000000000));
	fact("not canonical, store", "%s", store((void *)0xdead000000000000, 1));
}

static void
instructions(void)
{
	fact("hlt", "%s", attempt(do_halt, NULL, NULL));
	fact("in", "%s", attempt(do_port, NULL, NULL));
	fact("rdmsr", "%s", attempt(do_msr, NULL, NULL));
	fact("int 0x81", "%s", attempt(do_int81, NULL, NULL));
	fact("int3", "%s", attempt(do_int3, NULL, NULL));
	fact("ud2 names its own address", "%.14s", attempt(do_ud2, NULL, NULL));
	fact("division by zero names its own address", "%.13s", attempt(do_divide, NULL, NULL));
}

static volatile unsigned long seen_trapno, seen_error, seen_cr2, on_stack;
static unsigned char *repair;
static unsigned char small_stack[32 << 10] __attribute__((aligned(16)));

static void
mending(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	seen_trapno = (unsigned long)uc->uc_mcontext.gregs[REG_TRAPNO];
	seen_error = (unsigned long)uc->uc_mcontext.gregs[REG_ERR];
	seen_cr2 = (unsigned long)uc->uc_mcontext.gregs[REG_CR2];
	on_stack = (uintptr_t)__builtin_frame_address(0) - (uintptr_t)small_stack < sizeof(small_stack);
	mprotect(repair, PAGE, RW);
}

/* A handler that mends the mapping: the store happens after it, and no register has changed. */
static void
mended_and_repeated(void)
{
	struct sigaction action = { .sa_sigaction = mending, .sa_flags = SA_SIGINFO | SA_ONSTACK }, old;
	stack_t alternate = { .ss_sp = small_stack, .ss_size = sizeof(small_stack) }, before;
	unsigned long in[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, out[8];
	double x = 1.5, y;

	repair = map(PAGE, PROT_READ, ANON, -1, 0);
	need(sigaction(SIGSEGV, &action, &old) == 0 && sigaltstack(&alternate, &before) == 0, "sigaction");
	__asm__ volatile(
	    "movsd %[x], %%xmm7\n\t"
	    "movq 0(%[in]), %%r8\n\tmovq 8(%[in]), %%r9\n\tmovq 16(%[in]), %%r10\n\tmovq 24(%[in]), %%r12\n\t"
	    "stc\n\t"
	    "movb $0xd1, 9(%[page])\n\t"
	    "setc %%al\n\tmovzbl %%al, %%eax\n\tmovq %%rax, 32(%[out])\n\t"
	    "movq %%r8, 0(%[out])\n\tmovq %%r9, 8(%[out])\n\tmovq %%r10, 16(%[out])\n\tmovq %%r12, 24(%[out])\n\t"
	    "movsd %%xmm7, %[y]"
	    : [y] "=m"(y) : [x] "m"(x), [in] "r"(in), [out] "r"(out), [page] "r"(repair)
	    : "rax", "r8", "r9", "r10", "r12", "xmm7", "memory", "cc");
	fact("a fault that its handler mends", "%s", load(repair + 9));
	fact("registers, carry, xmm7", "%lu %lu %lu %lu %lu %.1f", out[0], out[1], out[2], out[3], out[4], y);
	fact("trap number, error code", "%lu 0x%lx", seen_trapno, seen_error);
	fact("the address in cr2", "%d", seen_cr2 == (uintptr_t)repair + 9);
	fact("handled on the alternate stack", "%lu", on_stack);
	need(sigaltstack(&before, NULL) == 0, "sigaltstack");
	need(sigaction(SIGSEGV, &old, NULL) == 0, "sigaction");
}

static int
fault_while_ignored(void *arg)
{
	signal(SIGSEGV, SIG_IGN);
	*(volatile char *)arg = 1;
	return (0);
}

static int
fault_while_blocked(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*(volatile char *)arg = 1;
	return (0);
}

static int
fault_on_bad_stack(void *arg)
{
	__asm__ volatile("movq %0, %%rsp\n\tmovb $1, 0" : : "r"(arg) : "memory");
	return (0);
}

static int
abort_child(void *arg)
{
	(void)arg;
	abort();
}

static void
deaths(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };

	fact("a fault that is ignored", "%s", status_text(in_child(fault_while_ignored, (void *)8)));
	fact("a fault that is blocked", "%s", status_text(in_child(fault_while_blocked, (void *)8)));
	need(sigaction(SIGSEGV, &plain, NULL) == 0, "sigaction");
	fact("a fault without a stack", "%s", status_text(in_child(fault_on_bad_stack, (void *)0x1000)));
	fact("a stack in the kernel", "%s", status_text(in_child(fault_on_bad_stack, (void *)0xffffffff80001000)));
	fact("abort", "%s", status_text(in_child(abort_child, NULL)));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	memory();
	instructions();
	mended_and_repeated();
	deaths();
	return (0);
}
