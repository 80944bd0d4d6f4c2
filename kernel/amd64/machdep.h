/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of kernel/amd64 know of each other, and what the scheduler needs of them. */
#ifndef KERNEL_AMD64_MACHDEP_H
#define KERNEL_AMD64_MACHDEP_H

#include "kernel/amd64/cpu.h"
#include "kernel/amd64/layout.h"

struct boot_info;
struct thread;

/* Vectors: 0-31 exceptions, then devices, then the CPU's own. */
#define VECTOR_DEVICE_FIRST	0x30
#define VECTOR_DEVICE_LAST	0xdf
#define VECTOR_TIMER		0xe0
#define VECTOR_RESCHED		0xf0	/* look at cpu->resched */
#define VECTOR_TLB		0xf1	/* look at cpu->tlb_pending */
#define VECTOR_HOLD		0xf2	/* stand still until smp_release_others() */
#define VECTOR_SPURIOUS		0xff

enum {
	TRAP_DIVIDE = 0, TRAP_DEBUG = 1, TRAP_NMI = 2, TRAP_BREAKPOINT = 3, TRAP_OVERFLOW = 4, TRAP_OPCODE = 6,
	TRAP_DOUBLE = 8, TRAP_STACK = 12, TRAP_GP = 13, TRAP_PAGE = 14, TRAP_X87 = 16, TRAP_ALIGN = 17,
	TRAP_MACHINE_CHECK = 18, TRAP_SIMD = 19
};

/* gdt.c */
/* GDT, TSS with its stacks; resets %gs, so set it afterwards */
void gdt_init(struct cpu *cpu);
/* The stacks for double faults and NMIs of a CPU that is to be started, from kstack_alloc(). */
void gdt_set_ist_stacks(struct cpu *cpu, vm_offset_t double_fault, vm_offset_t nmi);
void gdt_set_kstack(vm_offset_t top);		/* where traps from user mode start on this CPU */
/* unmap the guard pages below them; after pmap_bootstrap() */
void stack_guards_init(void);
/*
 * Is `sp` in the guard below one of the interrupt-stack-table stacks or the boot stack?  Its name,
 * or NULL.
 */
const char *stack_guard_name(vm_offset_t sp);

/* trap.S */
extern char trap_stubs[];			/* 256 of them, 16 bytes apart */
void syscall_entry(void);			/* where the syscall instruction goes */
void user_enter(struct trapframe *frame) __noreturn;	/* to user mode; frame: at the top of the stack */
extern char trap_return_address[];		/* what a backtrace sees above a trap frame */

/* trap.c */
void trap(struct trapframe *frame);
void trap_page_fault(struct trapframe *frame);
void user_return(struct trapframe *frame);	/* => returns with interrupts off: straight to user mode */
void trap_print_frame(const struct trapframe *frame);
bool extable_fixup(struct trapframe *frame);

/* switch.S */
struct switch_frame {
	uint64_t	rflags, r15, r14, r13, r12, rbx, rbp, rip;
};
void cpu_switch(uint64_t *save_rsp, uint64_t load_rsp);
void thread_trampoline(void);			/* first return address of a new thread */
void thread_start(void);			/* thread.c; called by the trampoline */

/* copy.S: the instructions that may fault on a user address.  0 or EFAULT. */
int  user_copy(void *dst, const void *src, size_t len);
/*
 * Copies up to and with the NUL; *done = bytes copied.  0, EFAULT, or ENAMETOOLONG after max bytes
 * without NUL.
 */
int  user_copy_string(char *dst, const char *src, size_t max, size_t *done);
bool peek_word(const uint64_t *va, uint64_t *value);

/* acpi.c */
#define ACPI_IOAPIC_MAX		4
#define ACPI_OVERRIDE_MAX	16
struct acpi_ioapic {
	uint64_t	pa;
	uint32_t	gsi_base;
};
struct acpi_override {			/* an ISA line that is not wired to the GSI of its number */
	uint8_t		irq;
	bool		active_low, level;
	uint32_t	gsi;
};
struct acpi_info {
	bool		found;		/* a MADT was there; otherwise the standard addresses */
	uint64_t	lapic_pa;
	unsigned	ncpu;		/* processors that the MADT calls enabled */
	uint32_t	lapic_id[MAX_CPUS];
	unsigned	nioapic;
	struct acpi_ioapic ioapic[ACPI_IOAPIC_MAX];
	unsigned	noverride;
	struct acpi_override override[ACPI_OVERRIDE_MAX];
	uint8_t		century;	/* CMOS register of the century, 0: none told */
};
extern struct acpi_info acpi_info;
/* before pmap_bootstrap(): uses start.S's map of low memory */
void acpi_init(const struct boot_info *bi);

/* lapic.c */
void lapic_init(void);				/* after vm_kern_init() */
void lapic_init_cpu(void);			/* the same on a CPU started later */
/*
 * Interrupts for another CPU: a vector, a non-maskable one, and the two that start a processor (`page`: where it
 * begins, in real mode).  Any context.
 */
void lapic_send(uint32_t lapic, uint8_t vector);
void lapic_send_nmi(uint32_t lapic);
void lapic_send_init(uint32_t lapic);
void lapic_send_startup(uint32_t lapic, uint8_t page);
uint32_t lapic_id(void);
/* of the free-running calibration count, downwards */
uint32_t lapic_timer_count(void);
void lapic_timer_calibrate_begin(void);
void lapic_timer_set_rate(uint32_t counts_per_tick);

/* ioapic.c */
void ioapic_init(void);
/* Route a global system interrupt.  ENODEV when no IOAPIC serves it. */
int  ioapic_route(uint32_t gsi, uint8_t vector, uint32_t lapic, bool active_low, bool level);

/* intr.c */
void intr_dispatch(struct trapframe *frame);

/* ap_start.S */
extern char ap_trampoline[], ap_trampoline_end[], ap_trampoline_cr3[], early_pml4[];
/* smp.c; what ap_start.S hands over to the processor that is being started */
struct ap_start {
	uint64_t	cr3, rsp;
	struct cpu	*cpu;
};
extern struct ap_start ap_start;
void ap_main(struct cpu *cpu) __noreturn;
/* cpu.c: what cpu_init_early() does, for a CPU started later */
void cpu_init_ap(struct cpu *cpu);
/* For a panic: stop all other CPUs, wait a while until they say so, and print what they did. */
void smp_stop_others(void);
void smp_print_stopped(void);
void smp_stop_here(const struct trapframe *frame) __noreturn;	/* the NMI's side of it */
void smp_hold_here(void);			/* the interrupt's side of smp_hold_others() */

/* clock.c */
void clock_intr(void);				/* the timer's interrupt on this CPU */

#endif
