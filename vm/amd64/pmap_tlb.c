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
 *				nothing: no other bookkeeping is needed.
 *	a kernel address	every CPU that runs (kernel_cpus): the upper half is shared, global.
 *
 * This CPU uses invlpg, which also drops the remembered upper levels; for a long range, reloading
 * cr3 or toggling CR4.PGE costs less.  Other CPUs are to be told by an interrupt and waited for:
 * shoot_down() is the one place.  Until a second CPU is started, it only asserts that there is
 * nobody to tell.
 *
 * Not used: PCIDs.  They would let a CPU remember several address spaces and need the bookkeeping
 * that the first rule spares.
 */
#include "kernel/amd64/cpu.h"
#include "vm/amd64/pmap_priv.h"

#define INVLPG_MAX	64		/* pages; a longer range drops everything */

static uint32_t kernel_cpus = 1;	/* mask of CPUs that run kernel code */

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

/* Make the CPUs in `others` forget [start, end), and wait until they have. */
static void
shoot_down(uint32_t others, vm_offset_t start, vm_offset_t end)
{
	KASSERT(others == 0, "CPUs %x must forget [0x%lx, 0x%lx), but only one was started", others,
	    start, end);
}

void
pmap_invalidate_range(struct pmap *pmap, vm_offset_t start, vm_offset_t end)
{
	uint32_t self = 1u << curcpu->id;
	uint32_t mask = start < DMAP_BASE ? pmap->active : kernel_cpus;

	if (mask & self)
		invalidate_local(start, end);
	shoot_down(mask & ~self, start, end);
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
