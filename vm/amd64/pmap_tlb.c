/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making processors forget.
 *
 * A processor remembers translations (the TLB) and the upper levels of page tables.  Whoever takes
 * a mapping or a permission away must make every processor that may remember it forget, before
 * anybody acts on the change; adding what was absent needs nothing, since absence is not
 * remembered.
 *
 * Who may remember:
 *	a user address		the CPUs in pmap->active.  Loading cr3 drops all user translations
 *				(they are not global), so a CPU that has switched away remembers
 *				nothing: no other bookkeeping is needed, and an address space that runs
 *				nowhere costs nobody an interrupt.
 *	a kernel address	every CPU that runs (kernel_cpus): the upper half is shared, global.
 *
 * This CPU uses invlpg, which also drops the remembered upper levels; for a long range, reloading
 * cr3 or toggling CR4.PGE costs less.  Other CPUs are told by an interrupt:
 *
 *	CPU a: requests[a] = range, waiting = {b, c}	CPU b: interrupt, or any loop that waits (cpu_spinwait)
 *	       b, c: tlb_pending |= a			       takes its tlb_pending, all bits at once
 *	       interrupt whom had no bit set before	       forgets each asker's range
 *	       wait until nobody is waited for		       requests[a].waiting &= ~b
 *
 * A CPU has one request at a time, since it waits with interrupts off, so requests need no allocation and
 * no lock.  Who waits may hold a pmap's lock, a page's pv lock, and more; who is to forget may spin for
 * one of them with interrupts off.  That is no deadlock, because every such loop, and the wait for the
 * answers itself, serves what is pending: nothing in the kernel waits for another CPU but through
 * cpu_spinwait().  A bit that is set already has an interrupt on its way: several askers share one.
 *
 * Callers batch: pmap.c gathers up to 32 entries before it comes here once.
 *
 * Not used: PCIDs.  They would let a CPU remember several address spaces and need the bookkeeping
 * that the first rule spares.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/amd64/machdep.h"
#include "vm/amd64/pmap_priv.h"

#define INVLPG_MAX	64		/* pages; a longer range drops everything */

static uint32_t kernel_cpus = 1;	/* (atomic) mask of CPUs that run kernel code */

static struct tlb_request {
	vm_offset_t	start, end;	/* (its CPU) constant while somebody is waited for */
	uint32_t	waiting;	/* (atomic) CPUs that have yet to forget */
} __aligned(64) requests[MAX_CPUS];

/* Seam for the self-tests: leave other CPUs' translations as they are, and see that it matters. */
bool pmap_tlb_local_only;
uint64_t pmap_tlb_shootdowns;	/* (atomic) */

static void
invalidate_local(vm_offset_t start, vm_offset_t end)
{
	if ((end - start) >> PAGE_SHIFT <= INVLPG_MAX) {
		for (; start < end; start += PAGE_SIZE)
			invlpg(start);
	} else if (start < DMAP_BASE) {
		write_cr3(read_cr3());
	} else {
		uint64_t cr4 = read_cr4();

		write_cr4(cr4 & ~CR4_PGE);
		write_cr4(cr4);
	}
}

/* Forget what others want forgotten.  => no switch in between */
static void
serve(struct cpu *cpu)
{
	uint32_t askers = __atomic_exchange_n(&cpu->tlb_pending, 0, __ATOMIC_SEQ_CST);

	for (; askers != 0; askers &= askers - 1) {
		struct tlb_request *r = &requests[__builtin_ctz(askers)];

		invalidate_local(r->start, r->end);
		__atomic_fetch_and(&r->waiting, ~(1u << cpu->id), __ATOMIC_RELEASE);
	}
}

void
pmap_tlb_serve(void)
{
	bool were_on = intr_enabled();

	intr_disable();
	serve(curcpu);
	if (were_on)
		intr_enable();
}

/* Make the CPUs in `others` forget [start, end), and wait until they have.  => interrupts off */
static void
shoot_down(struct cpu *self, uint32_t others, vm_offset_t start, vm_offset_t end)
{
	struct tlb_request *r = &requests[self->id];
	uint32_t left;

	r->start = start;
	r->end = end;
	__atomic_store_n(&r->waiting, others, __ATOMIC_RELEASE);
	for (left = others; left != 0; left &= left - 1) {
		struct cpu *cpu = &cpus[__builtin_ctz(left)];

		if (__atomic_fetch_or(&cpu->tlb_pending, 1u << self->id, __ATOMIC_SEQ_CST) == 0)
			lapic_send(cpu->lapic_id, VECTOR_TLB);
	}
	__atomic_fetch_add(&pmap_tlb_shootdowns, 1, __ATOMIC_RELAXED);
	/* A panicking CPU has stopped the others. */
	while (__atomic_load_n(&r->waiting, __ATOMIC_ACQUIRE) != 0 && !panicking)
		cpu_spinwait();
}

/*
 * The caller's change of the tables must be seen before the mask is read: a CPU that loads the tables
 * sets its bit first.
 */
void
pmap_invalidate_range(struct pmap *pmap, vm_offset_t start, vm_offset_t end)
{
	bool were_on = intr_enabled();
	uint32_t mask, others;
	struct cpu *self;

	intr_disable();
	self = curcpu;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	mask = __atomic_load_n(start < DMAP_BASE ? &pmap->active : &kernel_cpus, __ATOMIC_SEQ_CST);
	others = mask & ~(1u << self->id);
	if (mask & (1u << self->id))
		invalidate_local(start, end);
	if (others != 0 && likely(!pmap_tlb_local_only))
		shoot_down(self, others, start, end);
	if (were_on)
		intr_enable();
}

void
pmap_invalidate_page(struct pmap *pmap, vm_offset_t va)
{
	pmap_invalidate_range(pmap, va, va + PAGE_SIZE);
}

void
pmap_invalidate_all(struct pmap *pmap)
{
	pmap_invalidate_range(pmap, 0, VM_USER_MAX);
}

/* From now on we are told; what we remembered before goes, since nobody told us of its changes. */
void
pmap_cpu_init(void)
{
	uint32_t self = 1u << curcpu->id;
	uint64_t cr4 = read_cr4();

	__atomic_fetch_or(&kernel_cpus, self, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&kernel_pmap.active, self, __ATOMIC_SEQ_CST);
	curcpu->pmap = &kernel_pmap;
	write_cr4(cr4 & ~CR4_PGE);
	write_cr4(cr4);
	write_cr3(read_cr3());
}
