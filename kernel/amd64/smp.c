/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several processors: how they are started, and how a panic stops them.
 *
 * The MADT says which processors there are.  One after the other, each is given an idle thread, stacks
 * for double faults and NMIs, and two interrupts, INIT and SIPI, which make it run ap_start.S in a page
 * below 1 MiB.  It sets itself up, says so, and becomes its idle thread; from then on the scheduler uses it.
 *
 *	boot CPU			new CPU
 *	cpu, idle thread, stacks
 *	INIT, SIPI -------------------> ap_start.S -> ap_main
 *	sleeps until `started`		tables, %gs, features, TLB bookkeeping, local APIC
 *	ncpus++ <---------------------- started = true
 *	the next one			timer, sched_start_cpu()
 *
 * A processor that does not answer within START_TICKS is reset by another INIT, so that it cannot wake up
 * late and run on data that the next one was given, and the machine goes on with those before it.  A host
 * that is busy may well take seconds to run a virtual processor for the first time.
 *
 * With one CPU all this runs, too, and finds nobody to start.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/sched.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_boot.h"
#include "vm/vm_kern.h"

#define START_TICKS	(20 * HZ)
#define SIPI_AGAIN	(HZ / 2)		/* a lost SIPI is sent again; one too many is ignored */
#define STOP_NS		2000000000ul		/* how long a panic waits for the others */

struct ap_start ap_start;

/* Everything that the new CPU finds when it comes up.  false: no memory. */
static bool
prepare(struct cpu *cpu)
{
	vm_offset_t double_fault = kstack_alloc(), nmi = kstack_alloc();
	char name[THREAD_NAME_MAX];
	struct thread *idle;

	snprintf(name, sizeof(name), "idle/%u", cpu->id);
	idle = double_fault == 0 || nmi == 0 ? NULL : thread_create_idle(name, cpu);
	if (idle == NULL) {
		if (double_fault != 0)
			kstack_free(double_fault);
		if (nmi != 0)
			kstack_free(nmi);
		return (false);
	}
	cpu->thread = idle;
	gdt_set_ist_stacks(cpu, double_fault, nmi);
	ap_start = (struct ap_start){ kernel_pmap.pml4_pa, idle->kstack + KSTACK_PAGES * PAGE_SIZE, cpu };
	return (true);
}

/* => the trampoline lies in `page`.  Returns whether the CPU runs. */
static bool
start(struct cpu *cpu, uint8_t page)
{
	uint64_t begin = ticks;

	lapic_send_init(cpu->lapic_id);
	(void)tsleep(&cpu->started, NULL, "apstart", 2);	/* 10 ms, says the manual */
	while (!__atomic_load_n(&cpu->started, __ATOMIC_ACQUIRE) && ticks - begin < START_TICKS) {
		lapic_send_startup(cpu->lapic_id, page);
		for (int i = 0; i < SIPI_AGAIN && !__atomic_load_n(&cpu->started, __ATOMIC_ACQUIRE); i++)
			(void)tsleep(&cpu->started, NULL, "apstart", 1);
	}
	if (__atomic_load_n(&cpu->started, __ATOMIC_ACQUIRE))
		return (true);
	lapic_send_init(cpu->lapic_id);
	return (false);
}

void
smp_init(void)
{
	vm_paddr_t page = boot_low_page();
	char *copy = PHYS_TO_DMAP(page);

	if (acpi_info.ncpu < 2)
		return;
	if (cmdline_has("nosmp")) {
		printf("smp: nosmp: one of %u processors is used\n", acpi_info.ncpu);
		return;
	}
	if (page == 0) {
		printf("smp: no free page below 1 MiB to start processors from: one is used\n");
		return;
	}
	memcpy(copy, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	*(uint32_t *)(copy + (ap_trampoline_cr3 - ap_trampoline)) = (uint32_t)pmap_kextract((vm_offset_t)early_pml4);
	for (unsigned i = 0; i < acpi_info.ncpu && ncpus < MAX_CPUS; i++) {
		struct cpu *cpu = &cpus[ncpus];

		if (acpi_info.lapic_id[i] == cpus[0].lapic_id)
			continue;
		cpu->id = ncpus;
		cpu->lapic_id = acpi_info.lapic_id[i];
		if (!prepare(cpu)) {
			printf("smp: no memory for CPU %u\n", cpu->id);
			break;
		}
		if (!start(cpu, (uint8_t)(page >> PAGE_SHIFT))) {
			printf("smp: processor %u does not answer\n", cpu->lapic_id);
			break;
		}
		__atomic_store_n(&ncpus, ncpus + 1, __ATOMIC_RELEASE);
	}
	(void)trace_set(trace_set(0));		/* rings for the new CPUs, if anything is recorded */
	printf("smp: %u processors\n", ncpus);
}

/* On the new CPU: its idle thread's stack, the kernel's tables, interrupts off. */
void
ap_main(struct cpu *cpu)
{
	cpu_init_ap(cpu);
	pmap_cpu_init();
	lapic_init_cpu();
	lapic_timer_start();
	__atomic_store_n(&cpu->started, true, __ATOMIC_RELEASE);
	sched_start_cpu();
}

/* ---- standing still, for an audit ---- */

static volatile bool holding;
static unsigned held;			/* (atomic) CPUs that stand still */

/*
 * Each CPU stops where it takes interrupts, so none of them is in the middle of anything that a spin lock
 * guards.  Ours are off from here on, which is why we must not hold a spin lock that others may want: they
 * would wait for it with theirs off.
 */
void
smp_hold_others(void)
{
	KASSERT(cpu_spin_depth() == 0 && !holding, "holding other CPUs with a spin lock, or twice");
	intr_disable();
	holding = true;
	for (unsigned i = 0; i < ncpus; i++)
		if (&cpus[i] != curcpu)
			lapic_send(cpus[i].lapic_id, VECTOR_HOLD);
	while (__atomic_load_n(&held, __ATOMIC_ACQUIRE) < ncpus - 1)
		cpu_spinwait();
}

void
smp_release_others(void)
{
	__atomic_store_n(&holding, false, __ATOMIC_RELEASE);
	/* The next one to hold must not take those who are still on their way out for held. */
	while (__atomic_load_n(&held, __ATOMIC_ACQUIRE) > 0)
		cpu_spinwait();
	intr_enable();
}

bool
smp_others_held(void)
{
	return (holding);
}

void
smp_hold_here(void)
{
	__atomic_fetch_add(&held, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&holding, __ATOMIC_ACQUIRE))
		cpu_spinwait();
	__atomic_fetch_sub(&held, 1, __ATOMIC_RELEASE);
}

/* ---- stopping, for a panic ---- */

void
smp_stop_others(void)
{
	uint64_t end = clock_ns() + STOP_NS;
	unsigned i;

	for (i = 0; i < ncpus; i++)
		if (&cpus[i] != curcpu)
			lapic_send_nmi(cpus[i].lapic_id);
	for (i = 0; i < ncpus; i++)
		while (&cpus[i] != curcpu && !cpus[i].stopped && clock_ns() < end)
			cpu_pause();
}

/* On a CPU that is to stop: note where it was, and never come back. */
void
smp_stop_here(const struct trapframe *frame)
{
	struct cpu *cpu = curcpu;

	intr_disable();
	if (frame != NULL) {
		cpu->stop_rip = frame->rip;
		cpu->stop_rbp = frame->rbp;
	}
	__atomic_store_n(&cpu->stopped, true, __ATOMIC_RELEASE);
	for (;;)
		__asm__ volatile("hlt");
}

void
smp_print_stopped(void)
{
	for (unsigned i = 0; i < ncpus; i++) {
		struct cpu *cpu = &cpus[i];

		if (cpu == curcpu)
			continue;
		if (!__atomic_load_n(&cpu->stopped, __ATOMIC_ACQUIRE)) {
			printf("CPU %u did not stop; it was last seen in thread %s\n", i, cpu->thread->name);
			continue;
		}
		printf("CPU %u was in thread %s (tid %u), %d spin locks held:\n", i, cpu->thread->name,
		    cpu->thread->tid, cpu->spin_depth);
		backtrace_print(cpu->stop_rip, cpu->stop_rbp);
	}
}
