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

extern char boot_stack[];

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

/*
 * A thread without an address space: every user address is unmapped, and each access really faults.
 */
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
}

KTEST(trap, stacks_have_guard_pages)
{
	uint64_t value;

	CHECK(kernel_peek(curthread->kstack, &value));
	CHECK(!kernel_peek(curthread->kstack - 8, &value));
	CHECK(kernel_peek((vm_offset_t)boot_stack, &value));
	CHECK(!kernel_peek((vm_offset_t)boot_stack - 8, &value));
	CHECK_STR(stack_guard_name((vm_offset_t)boot_stack - 8), "the boot stack");
}

KTEST(trap, protections_are_on)
{
	CHECK(read_cr0() & CR0_WP);
	CHECK_EQ((read_cr4() & CR4_SMEP) != 0, cpu_features.smep);
	CHECK_EQ((read_cr4() & CR4_SMAP) != 0, cpu_features.smap);
	CHECK_EQ(cpu_smap, cpu_features.smap);
	CHECK_EQ((read_rflags() & RFLAGS_AC) != 0, false);
}

/*
 * Faults, interrupts and switches close SMAP's window for others and leave it open for its owner.
 */
static volatile uint64_t others_flags;

static void
look_at_flags(void *arg)
{
	others_flags = read_rflags();
}

KTEST_ONE(trap, open_window_stays_with_its_thread)
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

/*
 * Two threads each hold a pattern of their own in every general register while the timer takes the
 * CPU from the one and gives it to the other.  A register that the stubs or the switch lose holds
 * the other thread's value.
 */
#define SET(reg, value)		"movq $" value ", %%" reg "\n\t"
#define UNSET(reg, value)	"subq $" value ", %%" reg "\n\t orq %%" reg ", (%%rsp)\n\t"
#define ALL_REGISTERS(OP, k)								\
	OP("rax", "0x" k "a0a0a0a") OP("rbx", "0x" k "b0b0b0b") OP("rdx", "0x" k "d0d0d0d")	\
	OP("rsi", "0x" k "1515151") OP("rdi", "0x" k "1616161") OP("rbp", "0x" k "1717171")	\
	OP("r8", "0x" k "8080808") OP("r9", "0x" k "9090909") OP("r10", "0x" k "0101010")	\
	OP("r11", "0x" k "1111111") OP("r12", "0x" k "2121212") OP("r13", "0x" k "3131313")	\
	OP("r14", "0x" k "4141414") OP("r15", "0x" k "5151515")

#define REGISTER_LOOP(name, k)								\
	static void									\
	name(void *arg)									\
	{										\
		volatile uint64_t *bad = arg;						\
		uint64_t end = ticks + 30, differs = 0;					\
											\
		while (ticks < end && differs == 0)					\
			__asm__ volatile(						\
			    "pushq %%rbp\n\t"						\
			    "pushq $0\n\t"						\
			    ALL_REGISTERS(SET, k)					\
			    "movq $2000000, %%rcx\n"					\
			    "1:\tdecq %%rcx\n\t"						\
			    "jnz 1b\n\t"						\
			    ALL_REGISTERS(UNSET, k)					\
			    "popq %%rax\n\t"						\
			    "orq %%rcx, %%rax\n\t"					\
			    "popq %%rbp"						\
			    : "=a"(differs) : : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9",	\
			    "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");	\
		*bad = differs;								\
	}

REGISTER_LOOP(register_loop_a, "1")
REGISTER_LOOP(register_loop_b, "2")

KTEST_ONE(trap, registers_survive_interrupts_and_switches)
{
	volatile uint64_t bad_a = 1, bad_b = 1;
	uint64_t switches = curcpu->switches;
	struct thread *a, *b;

	a = thread_create("t-reg-a", PRI_USER, register_loop_a, (void *)&bad_a);
	b = thread_create("t-reg-b", PRI_USER, register_loop_b, (void *)&bad_b);
	thread_join(a);
	thread_join(b);
	CHECK_EQ(bad_a, 0);
	CHECK_EQ(bad_b, 0);
	CHECK(curcpu->switches - switches >= 6);
}

/* A voluntary switch keeps what a C function keeps. */
#define SAVED_REGISTERS(OP, k)								\
	OP("rbx", "0x" k "b0b0b0b") OP("rbp", "0x" k "1717171") OP("r12", "0x" k "2121212")	\
	OP("r13", "0x" k "3131313") OP("r14", "0x" k "4141414") OP("r15", "0x" k "5151515")
#define UNSET_RAX(reg, value)	"subq $" value ", %%" reg "\n\t orq %%" reg ", %%rax\n\t"


/* The other side of the switch: it destroys all of them and switches back. */
uint64_t t_trap_here, t_trap_there;
void t_trap_other_side(void);
__asm__(
    ".text\n"
    "t_trap_other_side:\n\t"
    "xorl %ebx, %ebx\n\t xorl %ebp, %ebp\n\t xorl %r12d, %r12d\n\t"
    "xorl %r13d, %r13d\n\t xorl %r14d, %r14d\n\t xorl %r15d, %r15d\n\t"
    "movq $t_trap_there, %rdi\n\t"
    "movq t_trap_here, %rsi\n\t"
    "call cpu_switch\n\t"
    "ud2\n");

KTEST(trap, switch_keeps_callee_saved_registers)
{
	static struct switch_frame stack[8] __aligned(16);
	uint64_t bad = 1;

	stack[6].rflags = 0x2;
	stack[6].rip = (uint64_t)t_trap_other_side;
	t_trap_there = (uint64_t)&stack[6];
	intr_disable();				/* nobody may find us on that stack */
	__asm__ volatile(
	    "pushq %%rbp\n\t"
	    "movq $t_trap_here, %%rdi\n\t"
	    "movq t_trap_there, %%rsi\n\t"
	    SAVED_REGISTERS(SET, "1")
	    "call cpu_switch\n\t"
	    "xorl %%eax, %%eax\n\t"
	    SAVED_REGISTERS(UNSET_RAX, "1")
	    "popq %%rbp"
	    : "=a"(bad) : : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
	    "r14", "r15", "cc", "memory");
	intr_enable();
	CHECK_EQ(bad, 0);
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
