/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario: what it costs that the kernel can be watched.  An event when the trace is off is a look
 * at a flag; when it is on, eight stores and the ring.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/trace.h"
#include "tests/bench/bench.h"
#include "vm/pmap.h"
#include "vm/vm_mmap.h"

#define TIMES	4096

/* Instructions of TIMES turns of a loop, with an event in it or without. */
static uint64_t
time_events(bool events)
{
	struct meter m;

	meter_start(&m);
	for (volatile uint32_t i = 0; i < TIMES; i++)
		if (events)
			TRACE(TR_PAGE_FREE, i, 1, 2, 3);
	return (meter_stop(&m));
}

static uint64_t
time_soft_fault(vm_offset_t va)
{
	pmap_remove(&bench_vm->pmap, va, va + PAGE_SIZE);
	return (time_reads(va, 1, 1));
}

void
bench_trace(void)
{
	struct bench_file f;
	vm_offset_t va;
	uint64_t empty, off, on, events;
	struct trace_place before, after;

	if (!file_open(&f, "/b/small"))
		return;
	va = file_map(&f, 0, 1, VM_PROT_READ, MAP_SHARED);
	touch_read(va);
	empty = time_events(false);
	bench_report("trace.off", (time_events(true) - empty) * 1000 / TIMES);
	off = time_soft_fault(va);
	(void)trace_set(TRACE_ALL);
	bench_report("trace.on", (time_events(true) - empty) * 1000 / TIMES);
	trace_now(&before);
	on = time_soft_fault(va);
	trace_now(&after);
	(void)trace_set(0);
	events = after.at[0] - before.at[0];
	KASSERT(events > 0 && on > off, "a fault that is traced records %lu events", events);
	bench_report("trace.fault-off", off);
	bench_report("trace.fault-on", on);
	bench_report("trace.fault-events", events);
	unmap(va, 1);
	file_close(&f);
}
