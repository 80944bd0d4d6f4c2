/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processor: per-CPU data behind %gs, control registers, port I/O, and the trap frame.
 */
#ifndef KERNEL_AMD64_CPU_H
#define KERNEL_AMD64_CPU_H

#include "kernel/lib/types.h"
#include "vm/vm_meter.h"

struct thread;
struct pmap;

#define MAX_CPUS	8
#define CPU_SPIN_HELD_MAX	8

/*
 * Everything that belongs to one CPU.  Fields are touched only by their CPU, interrupts off, unless
 * said.
 */
struct cpu {
	struct cpu	*self;		/* offset 0: what %gs:0 reads */
	struct thread	*thread;	/* offset 8: curthread */
	vm_offset_t	 kstack;	/* offset 16: where system calls and traps from user mode start */
	uint64_t	 user_rsp;	/* offset 24: the entry code's scratch */
	uint32_t	 id;		/* (constant) 0 is the boot CPU */
	uint32_t	 lapic_id;	/* (constant) */
	int		 spin_depth;	/* spin locks held; no preemption while > 0 */
	bool		 spin_if;	/* were interrupts on before the first of them? */
	bool		 resched;	/* a better thread waits: switch when spin_depth is 0 */
	int		 intr_depth;	/* nested interrupt handlers; > 0 means interrupt context */
	struct thread	*idle;		/* (constant) */
	struct pmap	*pmap;		/* the one loaded in cr3 */
	uint64_t	 ticks;		/* timer interrupts taken */
	uint64_t	 switches;	/* context switches */
	uint64_t	 steals;	/* threads taken from other CPUs' queues */
	/* (atomic) bit i: CPU i waits for us to forget what its request names (vm/amd64/pmap_tlb.c) */
	uint32_t	 tlb_pending;
	bool		 started;	/* (atomic) it runs, with tables and stacks of its own */
	volatile bool	 stopped;	/* by another CPU's panic, which reads the next two */
	uint64_t	 stop_rip, stop_rbp;	/* where it was then */
	/* a non-maskable interrupt is being handled: take no locks */
	bool		 in_nmi;
	struct lock	*spin_held[CPU_SPIN_HELD_MAX];	/* debug: the spin_depth spin locks held, in order */
	struct vmmeter	 cnt;		/* what the VM counted here: CPU_COUNT() */
	uint64_t	 pv_inuse;	/* pv entries taken into use less those given back: modulo 2^64 */
};

static inline struct cpu *
cpu_self(void)
{
	struct cpu *c;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(c));
	return (c);
}
#define curcpu	cpu_self()

static inline struct thread *
thread_self(void)
{
	struct thread *td;

	/*
	 * One instruction, so no preemption can come between finding the CPU and reading its
	 * thread.
	 */
	__asm__ volatile("movq %%gs:8, %0" : "=r"(td));
	return (td);
}
#define curthread thread_self()

/* How many spin locks this CPU holds.  One instruction, for the same reason. */
static inline int
cpu_spin_depth(void)
{
	int depth;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(depth) : "i"(offsetof(struct cpu, spin_depth)));
	return (depth);
}

/* Add to a counter of this CPU.  One instruction, so that neither interrupt nor switch comes in between. */
#define CPU_COUNT(offset, n)								\
	__asm__ volatile("addq %1, %%gs:%c0" : : "i"(offset), "er"((uint64_t)(n)) : "cc", "memory")

/* Does another CPU wait for this one to forget translations?  Only a hint where a switch may come between. */
static inline uint32_t
cpu_tlb_pending(void)
{
	uint32_t mask;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(mask) : "i"(offsetof(struct cpu, tlb_pending)));
	return (mask);
}
void pmap_tlb_serve(void);	/* vm/amd64/pmap_tlb.c; any context but NMI */

/* Pushed by trap.S; the order is fixed there. */
struct trapframe {
	uint64_t	r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t	rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t	vector, error;
	uint64_t	rip, cs, rflags, rsp, ss;
};

/* Page-fault error code (Intel SDM vol. 3, 4.7). */
#define PF_PRESENT	0x01
#define PF_WRITE	0x02
#define PF_USER		0x04
#define PF_RESERVED	0x08
#define PF_FETCH	0x10

#define RFLAGS_TF	0x100ul
#define RFLAGS_IF	0x200ul
#define RFLAGS_DF	0x400ul
#define RFLAGS_NT	0x4000ul
#define RFLAGS_AC	0x40000ul

#define CR0_MP		0x2ul
#define CR0_EM		0x4ul
#define CR0_TS		0x8ul
#define CR0_NE		0x20ul
#define CR0_WP		0x10000ul
#define CR4_OSFXSR	0x200ul
#define CR4_OSXMMEXCPT	0x400ul
#define CR4_PAE		0x20ul
#define CR4_PGE		0x80ul
#define CR4_SMEP	0x100000ul
#define CR4_SMAP	0x200000ul

/*
 * What a user thread has in the processor besides its trap frame.  Saved and loaded by every switch; the kernel
 * itself uses neither.  CR4.OSXSAVE stays 0, so programs see no AVX, and FXSAVE's 512 bytes are all there is.
 */
struct user_state {
	uint8_t		fx[512] __aligned(16);
	uint64_t	fs_base, gs_base;
};
void user_state_init(struct user_state *us);		/* as a new program finds it */
void user_state_save(struct user_state *us);		/* from the processor.  => no switch in between */
void user_state_load(const struct user_state *us);
/* Give curthread another state, or another base.  => no switch comes between memory and processor */
void user_state_replace(const struct user_state *new);
void user_state_set_base(struct user_state *us, bool fs, uint64_t base);
/* Clear the bits of an FXSAVE area with which FXRSTOR would fault. */
void user_state_sanitize(struct user_state *us);

/* What CPUID found and the kernel switched on. */
struct cpu_features {
	uint32_t edx1;		/* CPUID.1:EDX, which programs are told as AT_HWCAP */
	bool	smep, smap, nx, pge, pdpe1gb, invpcid, tsc_deadline, x2apic;
	char	brand[49];
	char	vendor[13];
};
extern struct cpu_features cpu_features;
extern bool cpu_smap;		/* SMAP is on: assembly tests it before stac and clac */

static inline uint8_t inb(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return (v); }
static inline uint16_t inw(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return (v); }
static inline uint32_t inl(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return (v); }
static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port)); }
static inline void outw(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" :: "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" :: "a"(v), "Nd"(port)); }
/* n times four bytes between a port and memory. */
static inline void insl(uint16_t port, void *p, size_t n) { __asm__ volatile("cld; rep insl" : "+D"(p), "+c"(n) : "d"(port) : "memory"); }
static inline void outsl(uint16_t port, const void *p, size_t n) { __asm__ volatile("cld; rep outsl" : "+S"(p), "+c"(n) : "d"(port) : "memory"); }

static inline uint64_t rdtsc(void) { uint32_t l, h; __asm__ volatile("rdtsc" : "=a"(l), "=d"(h)); return ((uint64_t)h << 32 | l); }
static inline uint64_t rdmsr(uint32_t msr) { uint32_t l, h; __asm__ volatile("rdmsr" : "=a"(l), "=d"(h) : "c"(msr)); return ((uint64_t)h << 32 | l); }
static inline void wrmsr(uint32_t msr, uint64_t v) { __asm__ volatile("wrmsr" :: "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory"); }
static inline uint64_t read_cr0(void) { uint64_t v; __asm__ volatile("movq %%cr0, %0" : "=r"(v)); return (v); }
static inline void write_cr0(uint64_t v) { __asm__ volatile("movq %0, %%cr0" :: "r"(v) : "memory"); }
static inline uint64_t read_cr2(void) { uint64_t v; __asm__ volatile("movq %%cr2, %0" : "=r"(v)); return (v); }
static inline uint64_t read_cr3(void) { uint64_t v; __asm__ volatile("movq %%cr3, %0" : "=r"(v)); return (v); }
static inline void write_cr3(uint64_t v) { __asm__ volatile("movq %0, %%cr3" :: "r"(v) : "memory"); }
static inline uint64_t read_cr4(void) { uint64_t v; __asm__ volatile("movq %%cr4, %0" : "=r"(v)); return (v); }
static inline void write_cr4(uint64_t v) { __asm__ volatile("movq %0, %%cr4" :: "r"(v) : "memory"); }
static inline void invlpg(vm_offset_t va) { __asm__ volatile("invlpg (%0)" :: "r"(va) : "memory"); }
static inline uint64_t read_rflags(void) { uint64_t v; __asm__ volatile("pushfq; popq %0" : "=r"(v)); return (v); }
static inline bool intr_enabled(void) { return ((read_rflags() & RFLAGS_IF) != 0); }
static inline void intr_disable(void) { __asm__ volatile("cli" ::: "memory"); }
static inline void intr_enable(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void cpu_pause(void) { __asm__ volatile("pause" ::: "memory"); }
/* sti's shadow covers hlt */
static inline void cpu_halt_intr(void) { __asm__ volatile("sti; hlt" ::: "memory"); }

/*
 * One turn of a loop that waits for another CPU.  With interrupts off nobody but such a loop serves the
 * shoot-downs that others wait for, perhaps while they hold what we want.
 */
static inline void
cpu_spinwait(void)
{
	cpu_pause();
	if (unlikely(cpu_tlb_pending() != 0))
		pmap_tlb_serve();
}

/*
 * Open and close SMAP's window, for code that touches user memory through a plain pointer on
 * purpose.  An interrupt or a fault inside the window closes it for itself and opens it again on
 * return.
 */
static inline void user_access_begin(void) { if (cpu_smap) __asm__ volatile("stac" ::: "memory", "cc"); }
static inline void user_access_end(void) { if (cpu_smap) __asm__ volatile("clac" ::: "memory", "cc"); }

/* amd64/cpu.c */
/* %gs, GDT, IDT, features, CR0/CR4 bits; boot CPU; before printf of anything but text */
void cpu_init_early(void);
void cpu_idle(void);		/* halt until the next interrupt */
bool in_interrupt(void);	/* is this an interrupt handler? */

/*
 * Interrupts: a handler is called with interrupts off, once per interrupt; the controller is told
 * afterwards.
 */
typedef void (*intr_handler_t)(void *arg);
void intr_init(void);		/* PIC off, LAPIC on, IOAPICs found through ACPI's MADT */
/*
 * Route an ISA interrupt line (0 to 15, overrides applied) to a fresh vector.  Returns 0 or an
 * errno.
 */
int  intr_isa(unsigned irq, intr_handler_t fn, void *arg, const char *name);
/* Allocate a vector for a message-signalled interrupt; fills address and data for the device. */
int  intr_msi(intr_handler_t fn, void *arg, const char *name, uint64_t *addr, uint32_t *data);
void lapic_eoi(void);
void lapic_timer_start(void);	/* HZ interrupts a second on this CPU */
/* Start the other processors.  => main thread, timer running; sleeps in "apstart" */
void smp_init(void);
/*
 * All other CPUs stand still, holding no spin lock, until they are let go; ours has interrupts off meanwhile.
 * => no spin lock held; one caller at a time.
 */
void smp_hold_others(void);
void smp_release_others(void);
bool smp_others_held(void);
/* How many interrupts from other CPUs and devices this CPU has served (tests). */
uint64_t intr_cpu_count(unsigned cpu);

/*
 * Access to the user half.  These fault like a program would: the page fault enters vm_fault(), and
 * only when that fails do they return EFAULT, with curthread->fault saying why.  SMAP's window is
 * open inside them only.
 * => may sleep; no spin lock, no vnode lock, no busy page held.
 */
int  copyin(vm_offset_t uaddr, void *kaddr, size_t len);
int  copyout(const void *kaddr, vm_offset_t uaddr, size_t len);
/* ENAMETOOLONG without a NUL */
int  copyinstr(vm_offset_t uaddr, char *kaddr, size_t max, size_t *done);

/* Symbols for backtraces: name and offset of the function around pc; NULL when it lies in none. */
const char *ksym_lookup(uint64_t pc, uint64_t *offset);
void backtrace_print(uint64_t rip, uint64_t rbp);
/* The caller's return addresses, innermost first, up to a trap: how many there are. */
unsigned backtrace_capture(uint64_t *pc, unsigned max);
/* The same for a thread that is not running, from its saved stack pointer. */
void backtrace_thread(const struct thread *td);
/*
 * Read a word that may not be there (a wild frame pointer, a monitor's peek): false instead of a
 * fault.
 */
bool kernel_peek(vm_offset_t va, uint64_t *value);

extern struct cpu cpus[MAX_CPUS];
extern unsigned ncpus;			/* CPUs started */

/* An interrupt source, for the monitor and the tests; returns false past the last. */
struct intr_stat {
	const char	*name;
	unsigned	 vector;
	uint64_t	 count;
};
bool intr_stat_get(unsigned index, struct intr_stat *out);

#endif
