/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptor tables: per CPU a GDT and a TSS, and the one IDT for all.
 *
 *	0x08 kernel code   0x10 kernel data   0x18 -   0x20 SYSRET's base (no 32-bit programs)
 *	0x28 user data     0x30 user code     0x38 TSS (two slots)
 *
 * A double fault usually means that a kernel stack ran into its guard page, and an NMI may come
 * while the stack is anything at all: both get stacks of their own through the TSS's interrupt
 * stack table.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/pmap.h"

#define IST_STACK_SIZE	8192

struct tss {
	uint32_t	reserved0;
	uint64_t	rsp[3];
	uint64_t	reserved1;
	uint64_t	ist[7];
	uint64_t	reserved2;
	uint16_t	reserved3;
	uint16_t	iomap_base;
} __packed;

struct idt_gate {
	uint16_t	offset_low;
	uint16_t	selector;
	uint8_t		ist;
	uint8_t		attributes;
	uint16_t	offset_mid;
	uint32_t	offset_high;
	uint32_t	reserved;
};

struct table_register {
	uint16_t	limit;
	uint64_t	base;
} __packed;

#define GDT_SLOTS	9
#define DESC_KCODE	0x00af9a000000fffful
#define DESC_KDATA	0x00cf92000000fffful
#define DESC_UDATA	0x00cff2000000fffful
#define DESC_UCODE	0x00affa000000fffful
#define GATE_INTERRUPT	0x8e
#define GATE_USER	0xee	/* that int3 and into may go through */

extern char boot_stack_guard[], boot_stack[];

static uint64_t gdt[MAX_CPUS][GDT_SLOTS];
static struct tss tss[MAX_CPUS];
static struct idt_gate idt[256];

/* (constant once its CPU runs) the lowest byte of each CPU's stacks, in the order of their IST slots */
static vm_offset_t ist_base[MAX_CPUS][2];

/* The boot CPU's stacks; CPUs started later bring theirs from kstack_alloc(). */
static struct {
	uint8_t	guard_double_fault[PAGE_SIZE];
	uint8_t	double_fault[IST_STACK_SIZE];
	uint8_t	guard_nmi[PAGE_SIZE];
	uint8_t	nmi[IST_STACK_SIZE];
} ist_stacks __aligned(4096);

static void
idt_fill(void)
{
	struct idt_gate *gate;
	uint64_t entry;
	int vector;

	for (vector = 0; vector < 256; vector++) {
		gate = &idt[vector];
		entry = (uint64_t)trap_stubs + 16ul * vector;
		gate->offset_low = (uint16_t)entry;
		gate->offset_mid = (uint16_t)(entry >> 16);
		gate->offset_high = (uint32_t)(entry >> 32);
		gate->selector = SEL_KCODE;
		gate->attributes = GATE_INTERRUPT;
	}
	idt[TRAP_BREAKPOINT].attributes = GATE_USER;
	idt[TRAP_OVERFLOW].attributes = GATE_USER;
	idt[TRAP_DOUBLE].ist = IST_DOUBLE_FAULT;
	idt[TRAP_NMI].ist = IST_NMI;
}

void
gdt_set_ist_stacks(struct cpu *cpu, vm_offset_t double_fault, vm_offset_t nmi)
{
	ist_base[cpu->id][IST_DOUBLE_FAULT - 1] = double_fault;
	ist_base[cpu->id][IST_NMI - 1] = nmi;
}

void
gdt_init(struct cpu *cpu)
{
	struct table_register gdtr, idtr;
	struct tss *t = &tss[cpu->id];
	uint64_t *g = gdt[cpu->id], base = (uint64_t)t;

	if (cpu->id == 0)
		gdt_set_ist_stacks(cpu, (vm_offset_t)ist_stacks.double_fault, (vm_offset_t)ist_stacks.nmi);
	t->ist[IST_DOUBLE_FAULT - 1] = ist_base[cpu->id][IST_DOUBLE_FAULT - 1] + IST_STACK_SIZE;
	t->ist[IST_NMI - 1] = ist_base[cpu->id][IST_NMI - 1] + IST_STACK_SIZE;
	t->iomap_base = sizeof(*t);

	g[SEL_KCODE / 8] = DESC_KCODE;
	g[SEL_KDATA / 8] = DESC_KDATA;
	g[SEL_UDATA / 8] = DESC_UDATA;
	g[SEL_UCODE / 8] = DESC_UCODE;
	g[SEL_TSS / 8] = (sizeof(*t) - 1) | (base & 0xffffff) << 16 | 0x89ul << 40 |
	    (base >> 24 & 0xff) << 56;
	g[SEL_TSS / 8 + 1] = base >> 32;
	if (cpu->id == 0)
		idt_fill();

	gdtr = (struct table_register){ sizeof(gdt[0]) - 1, (uint64_t)g };
	idtr = (struct table_register){ sizeof(idt) - 1, (uint64_t)idt };
	__asm__ volatile(
	    "lgdt %0\n\t"
	    "lidt %1\n\t"
	    "ltr %w2\n\t"
	    "pushq %3\n\t"			/* reload %cs by a far return */
	    "leaq 1f(%%rip), %%rax\n\t"
	    "pushq %%rax\n\t"
	    "lretq\n"
	    "1:\tmovl %4, %%eax\n\t"
	    "movl %%eax, %%ss\n\t"
	    "movl %%eax, %%ds\n\t"
	    "movl %%eax, %%es\n\t"
	    "xorl %%eax, %%eax\n\t"
	    "movl %%eax, %%fs\n\t"
	    "movl %%eax, %%gs"
	    : : "m"(gdtr), "m"(idtr), "r"(SEL_TSS), "i"(SEL_KCODE), "i"(SEL_KDATA)
	    : "rax", "memory");
}

void
gdt_set_kstack(vm_offset_t top)
{
	tss[curcpu->id].rsp[0] = top;
	curcpu->kstack = top;
}

void
stack_guards_init(void)
{
	pmap_kremove((vm_offset_t)boot_stack_guard);
	pmap_kremove((vm_offset_t)ist_stacks.guard_double_fault);
	pmap_kremove((vm_offset_t)ist_stacks.guard_nmi);
}

const char *
stack_guard_name(vm_offset_t sp)
{
	vm_offset_t page = trunc_page(sp);

	if (page == (vm_offset_t)boot_stack_guard)
		return ("the boot stack");
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		if (page + PAGE_SIZE == ist_base[i][IST_DOUBLE_FAULT - 1])
			return ("the double-fault stack");
		if (page + PAGE_SIZE == ist_base[i][IST_NMI - 1])
			return ("the NMI stack");
	}
	return (NULL);
}
