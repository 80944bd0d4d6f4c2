/* SPDX-License-Identifier: BSD-2-Clause */
/* Traps, interrupts, and access to user memory that isn't there. */
#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/lib/errno.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/vm.h"

#define SEGV		11
#define SEGV_MAPERR	1
#define NON_CANONICAL	0x0000900000000000ul

static char buf[64];

static void
expect_fault(int error, vm_offset_t addr)
{
	CHECK_EQ(error, EFAULT);
	CHECK_EQ(curthread->fault.signo, SEGV);
	CHECK_EQ(curthread->fault.code, SEGV_MAPERR);
	CHECK_EQ(curthread->fault.addr, addr);
	memset(&curthread->fault, 0, sizeof(curthread->fault));
}

/* A thread without an address space: every user address is unmapped, and each access really faults. */
KTEST(trap, copies_from_unmapped_user_memory_fail)
{
	struct vmspace *former = thread_set_vmspace(NULL);
	uint64_t faults = curthread->faults;
	size_t done = 99;

	expect_fault(copyin(0x400000, buf, 16), 0x400000);
	expect_fault(copyin(0x400003, buf, 5), 0x400003);
	expect_fault(copyout(buf, 0x400000, 16), 0x400000);
	expect_fault(copyinstr(0x400000, buf, sizeof(buf), &done), 0x400000);
	CHECK_EQ(done, 0);
	expect_fault(copyin(0, buf, 1), 0);
	CHECK_EQ(curthread->faults - faults, 5);
	(void)thread_set_vmspace(former);
}

KTEST(trap, copies_of_kernel_addresses_are_refused_without_a_fault)
{
	uint64_t faults = curthread->faults;

	buf[0] = 'k';
	expect_fault(copyin((vm_offset_t)buf, buf, 1), (vm_offset_t)buf);
	expect_fault(copyout(buf, (vm_offset_t)buf, 1), (vm_offset_t)buf);
	expect_fault(copyinstr(DMAP_BASE, buf, 1, NULL), DMAP_BASE);
	CHECK_EQ(buf[0], 'k');
	CHECK_EQ(curthread->faults, faults);
}

KTEST(trap, copies_that_leave_the_user_half_are_refused)
{
	expect_fault(copyin(VM_USER_MAX - 8, buf, 16), VM_USER_MAX);
	expect_fault(copyin(VM_USER_MAX, buf, 1), VM_USER_MAX);
	expect_fault(copyin(16, buf, ~0ul), VM_USER_MAX);		/* wraps */
	expect_fault(copyin(NON_CANONICAL, buf, 8), NON_CANONICAL);
	expect_fault(copyout(buf, NON_CANONICAL, 8), NON_CANONICAL);
	expect_fault(copyinstr(NON_CANONICAL, buf, 8, NULL), NON_CANONICAL);
}

KTEST(trap, copying_nothing_succeeds)
{
	CHECK_EQ(copyin(0, buf, 0), 0);
	CHECK_EQ(copyout(buf, 0, 0), 0);
}

/* A non-canonical address raises #GP, not #PF; the fix-up serves both. */
KTEST(trap, general_protection_fault_is_fixed_up)
{
	CHECK_EQ(user_copy(buf, (const void *)NON_CANONICAL, 16), EFAULT);
	CHECK(!cpu_smap || (read_rflags() & RFLAGS_AC) == 0);
}

KTEST(trap, peek_reads_what_is_there_and_survives_what_is_not)
{
	static const uint64_t word = 0x1122334455667788;
	uint64_t value = 0;

	CHECK(kernel_peek((vm_offset_t)&word, &value));
	CHECK_EQ(value, word);
	CHECK(!kernel_peek(KVA_BASE + KVA_SIZE, &value));
	CHECK(!kernel_peek(0x1000, &value));
	CHECK(!kernel_peek((vm_offset_t)&word + 1, &value));
	CHECK(!kernel_peek(curthread->kstack - 8, &value));	/* the guard page */
	CHECK(kernel_peek(curthread->kstack, &value));
}

KTEST(trap, protections_are_on)
{
	CHECK(read_cr0() & CR0_WP);
	CHECK_EQ((read_cr4() & CR4_SMEP) != 0, cpu_features.smep);
	CHECK_EQ((read_cr4() & CR4_SMAP) != 0, cpu_features.smap);
	CHECK_EQ(cpu_smap, cpu_features.smap);
	CHECK_EQ((read_rflags() & RFLAGS_AC) != 0, false);
}

/* Faults, interrupts and switches close SMAP's window for others and leave it open for its owner. */
static volatile uint64_t others_flags;

static void
look_at_flags(void *arg)
{
	others_flags = read_rflags();
}

KTEST(trap, open_window_stays_with_its_thread)
{
	struct thread *td;

	if (!cpu_smap) {
		ktest_skip("this CPU has no SMAP");
		return;
	}
	others_flags = RFLAGS_AC;
	user_access_begin();
	td = thread_create("t-flags", PRI_INTR, look_at_flags, NULL);
	CHECK_EQ(others_flags & RFLAGS_AC, 0);
	CHECK(read_rflags() & RFLAGS_AC);
	user_access_end();
	CHECK((read_rflags() & RFLAGS_AC) == 0);
	thread_join(td);
}

/* Every general register holds a pattern while interrupts come; a stub that loses one is seen. */
KTEST(trap, registers_survive_interrupts)
{
	uint64_t end = ticks + 5, bad = 0;

	while (ticks < end && bad == 0)
		__asm__ volatile(
		    "pushq %%rbp\n\t"
		    "movq $0x0a0a0a0a, %%rax\n\t movq $0x0b0b0b0b, %%rbx\n\t"
		    "movq $0x0d0d0d0d, %%rdx\n\t movq $0x51515151, %%rsi\n\t"
		    "movq $0x61616161, %%rdi\n\t movq $0x71717171, %%rbp\n\t"
		    "movq $0x08080808, %%r8\n\t  movq $0x09090909, %%r9\n\t"
		    "movq $0x10101010, %%r10\n\t movq $0x11111111, %%r11\n\t"
		    "movq $0x12121212, %%r12\n\t movq $0x13131313, %%r13\n\t"
		    "movq $0x14141414, %%r14\n\t movq $0x15151515, %%r15\n\t"
		    "movq $200000, %%rcx\n"
		    "1:\tdecq %%rcx\n\t jnz 1b\n\t"
		    "subq $0x0a0a0a0a, %%rax\n\t subq $0x0b0b0b0b, %%rbx\n\t"
		    "subq $0x0d0d0d0d, %%rdx\n\t subq $0x51515151, %%rsi\n\t"
		    "subq $0x61616161, %%rdi\n\t subq $0x71717171, %%rbp\n\t"
		    "subq $0x08080808, %%r8\n\t  subq $0x09090909, %%r9\n\t"
		    "subq $0x10101010, %%r10\n\t subq $0x11111111, %%r11\n\t"
		    "subq $0x12121212, %%r12\n\t subq $0x13131313, %%r13\n\t"
		    "subq $0x14141414, %%r14\n\t subq $0x15151515, %%r15\n\t"
		    "orq %%rbx, %%rax\n\t orq %%rcx, %%rax\n\t orq %%rdx, %%rax\n\t orq %%rsi, %%rax\n\t"
		    "orq %%rdi, %%rax\n\t orq %%rbp, %%rax\n\t orq %%r8, %%rax\n\t orq %%r9, %%rax\n\t"
		    "orq %%r10, %%rax\n\t orq %%r11, %%rax\n\t orq %%r12, %%rax\n\t orq %%r13, %%rax\n\t"
		    "orq %%r14, %%rax\n\t orq %%r15, %%rax\n\t"
		    "popq %%rbp"
		    : "=a"(bad) : : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
		    "r13", "r14", "r15", "cc", "memory");
	CHECK_EQ(bad, 0);
	CHECK(ticks >= end);
}

KTEST(trap, timer_interrupts_are_counted)
{
	struct intr_stat stat;
	uint64_t before;

	CHECK(intr_stat_get(0, &stat));
	CHECK_STR(stat.name, "timer");
	before = stat.count;
	(void)tsleep(&before, NULL, "ktest", 3);
	CHECK(intr_stat_get(0, &stat));
	CHECK(stat.count >= before + 3);
}

KTEST(trap, backtrace_names_are_found)
{
	uint64_t offset;
	const char *name = ksym_lookup((uint64_t)thread_start + 3, &offset);

	if (CHECK(name != NULL)) {
		CHECK_STR(name, "thread_start");
		CHECK_EQ(offset, 3);
	}
	CHECK(ksym_lookup(0x1000, &offset) == NULL);
	CHECK(ksym_lookup(~0ul, &offset) == NULL);
}
