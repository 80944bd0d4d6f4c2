/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenarios: faults that need no disk. */
#include "kernel/amd64/cpu.h"
#include "tests/bench/bench.h"
#include "vm/vm_mmap.h"
#include "vm/vm_page.h"

#define ANON_PAGES	512
#define WARM_PAGES	1024
#define AROUND		16	/* resident neighbours that one fault maps (vm_fault.c) */
#define COW_PAGES	512

static uint64_t
time_anon_writes(void)
{
	vm_offset_t va = anon_map(ANON_PAGES);
	uint64_t insn = time_writes(va, ANON_PAGES, 1);

	unmap(va, ANON_PAGES);
	return (insn);
}

/*
 * A page that nobody zeroed before is zeroed by the fault itself; that is the number to compare.
 * With idle time the pages are there already.
 */
void
bench_zero_fill(void)
{
	(void)time_anon_writes();		/* page tables, slabs */
	zero_queue_drain();
	bench_report("zero-fill.page", time_anon_writes() / ANON_PAGES);
	zero_queue_fill();
	bench_report("zero-fill.prezeroed", time_anon_writes() / ANON_PAGES);
}

/* Bring the first pages of a file in, and map them nowhere. */
static void
make_resident(struct bench_file *f, vm_size_t npages)
{
	vm_offset_t va = file_map(f, 0, npages, VM_PROT_READ, MAP_SHARED);

	(void)time_reads(va, npages, 1);
	unmap(va, npages);
}

/* One fault maps the resident pages of an aligned block; touching one in 16 thus maps them all. */
void
bench_warm(void)
{
	struct bench_file f;
	vm_offset_t va;
	uint64_t insn;

	if (!file_open(&f, "/b/contig"))
		return;
	make_resident(&f, WARM_PAGES);
	va = file_map(&f, 0, WARM_PAGES, VM_PROT_READ, MAP_SHARED);
	insn = time_reads(va, WARM_PAGES / AROUND, AROUND);
	bench_report("warm.fault", insn / (WARM_PAGES / AROUND));
	bench_report("warm.page", insn / WARM_PAGES);
	insn = time_reads(va, WARM_PAGES, 1);
	bench_note("reading all %d pages once more takes %lu instructions, with no fault",
	    WARM_PAGES, insn);
	unmap(va, WARM_PAGES);
	file_close(&f);
}

void
bench_cow(void)
{
	struct bench_file f;
	vm_offset_t va;

	if (!file_open(&f, "/b/contig"))
		return;
	make_resident(&f, COW_PAGES);
	va = file_map(&f, 0, COW_PAGES, VM_PROT_READ | VM_PROT_WRITE, MAP_PRIVATE);
	bench_report("cow.page", time_writes(va, COW_PAGES, 1) / COW_PAGES);
	unmap(va, COW_PAGES);

	va = file_map(&f, 0, COW_PAGES, VM_PROT_READ | VM_PROT_WRITE, MAP_PRIVATE);
	(void)time_reads(va, COW_PAGES, 1);
	bench_report("cow.mapped", time_writes(va, COW_PAGES, 1) / COW_PAGES);
	unmap(va, COW_PAGES);
	file_close(&f);
}
