/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenarios: operations on maps and on the pager's windows, called as system calls would. */
#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "tests/bench/bench.h"
#include "vm/pmap.h"
#include "vm/vm_kern.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"

#define TIMES	256

void
bench_qenter(void)
{
	struct vm_page *pages[VM_PAGER_CLUSTER_MAX];
	vm_offset_t kva = kva_alloc(VM_PAGER_CLUSTER_MAX * PAGE_SIZE);
	struct meter m;

	for (int i = 0; i < VM_PAGER_CLUSTER_MAX; i++) {
		pages[i] = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);
		KASSERT(pages[i] != NULL, "no page");
	}
	KASSERT(kva != 0 && pmap_growkernel(kva, kva + VM_PAGER_CLUSTER_MAX * PAGE_SIZE),
	    "no kernel address space");
	meter_start(&m);
	for (int i = 0; i < TIMES; i++) {
		pmap_qenter(kva, pages, VM_PAGER_CLUSTER_MAX);
		pmap_qremove(kva, VM_PAGER_CLUSTER_MAX);
	}
	bench_report("qenter.32", meter_stop(&m) / TIMES);
	for (int i = 0; i < VM_PAGER_CLUSTER_MAX; i++)
		vm_page_free(pages[i]);
	kva_free(kva, VM_PAGER_CLUSTER_MAX * PAGE_SIZE);
}

void
bench_mmap(void)
{
	struct bench_file f;
	struct meter m;
	vm_offset_t va;

	zero_queue_drain();
	unmap(anon_map(1), 1);			/* slabs */
	meter_start(&m);
	for (int i = 0; i < TIMES; i++)
		unmap(anon_map(1), 1);
	bench_report("mmap.pair", meter_stop(&m) / TIMES);

	meter_start(&m);
	for (int i = 0; i < TIMES; i++) {
		va = anon_map(1);
		touch_write(va);
		unmap(va, 1);
	}
	bench_report("mmap.written", meter_stop(&m) / TIMES);

	if (!file_open(&f, "/b/small"))
		return;
	va = file_map(&f, 0, 1, VM_PROT_READ, MAP_SHARED);
	(void)time_reads(va, 1, 1);	/* resident, and the object stays while it is mapped */
	meter_start(&m);
	for (int i = 0; i < TIMES; i++) {
		vm_offset_t other = file_map(&f, 0, 1, VM_PROT_READ, MAP_SHARED);

		touch_read(other);
		unmap(other, 1);
	}
	bench_report("mmap.file", meter_stop(&m) / TIMES);
	unmap(va, 1);
	file_close(&f);
	zero_queue_fill();
}

/* Instructions of TIMES times: read-only and back, and perhaps a write. */
static uint64_t
time_toggles(vm_offset_t va, bool written)
{
	struct meter m;
	uint64_t insn;

	(void)time_writes(va, 1, 1);
	meter_start(&m);
	for (int i = 0; i < TIMES; i++) {
		vm_map_protect(&bench_vm->map, va, va + PAGE_SIZE, VM_PROT_READ);
		vm_map_protect(&bench_vm->map, va, va + PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE);
		if (written)
			touch_write(va);
	}
	insn = meter_stop(&m);
	return (insn);
}

/*
 * A toggle is two calls.  The page that becomes writable again is so at the next write: the row
 * with a write has that fault in it.
 */
void
bench_mprotect(void)
{
	vm_offset_t va = anon_map(16);

	bench_report("mprotect.inside", time_toggles(va + 8 * PAGE_SIZE, false) / TIMES);
	unmap(va, 16);
	va = anon_map(1);
	bench_report("mprotect.toggle", time_toggles(va, false) / TIMES);
	bench_report("mprotect.written", time_toggles(va, true) / TIMES);
	unmap(va, 1);
}
