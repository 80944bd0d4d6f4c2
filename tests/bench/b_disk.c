/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenarios: faults that read the disk.
 *
 * Instructions are those of the CPU, the driver's interrupts included and the waiting left out;
 * "MB/s of virtual time" is the rate at which the CPU could do it if the disk took no time.  What
 * the disk is asked for is counted by requests and sectors.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "tests/bench/bench.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_mmap.h"
#include "vm/vm_page.h"

#define CLUSTER		16	/* pages read by a first fault, without a pattern (vm_fault_search.c) */
#define FAULTS		256
#define COLD_FIRST	4096	/* page where the region begins */

/* 10^6 bytes a second, at one instruction a nanosecond. */
static uint64_t
mbps(vm_size_t npages, uint64_t insn)
{
	return (npages * PAGE_SIZE * 1000 / MAX(insn, 1ul));
}

/*
 * Each cluster has a mapping of its own, in the reverse order of the file, so that they stay apart:
 * every fault is the first one of its mapping and reads the whole cluster.
 */
void
bench_cold(void)
{
	const vm_pindex_t step = CLUSTER * PAGE_SIZE;
	struct bench_file f;
	struct disk_watch w;
	uint64_t insn, in;
	vm_offset_t va = 0;

	if (!file_open(&f, "/b/contig"))
		return;
	file_evict(&f);
	file_warm_metadata(&f);
	for (vm_pindex_t i = FAULTS; i-- > 0; )
		va = file_map(&f, COLD_FIRST + i * CLUSTER, CLUSTER, VM_PROT_READ, MAP_SHARED);
	va -= (FAULTS - 1) * step;		/* they lie one behind the other */
	in = VMCNT_GET(v_vnodepgsin);
	watch_start(&w, WATCH_ROOT);
	insn = time_reads(va + step / 2, FAULTS, CLUSTER);
	watch_stop(&w);
	bench_report("cold.page", insn / (VMCNT_GET(v_vnodepgsin) - in));
	bench_report("cold.fault", insn / FAULTS);
	bench_report("cold.requests", w.requests);
	bench_report("cold.sectors", w.sectors);
	unmap(va, FAULTS * CLUSTER);
	file_close(&f);
}

/* A random page of FAULTS different clusters, in random order. */
static uint64_t
time_random(struct bench_file *f, enum vm_advice advice)
{
	static uint16_t order[16384 / CLUSTER];
	vm_offset_t va = file_map(f, 0, f->npages, VM_PROT_READ, MAP_SHARED);
	uint64_t random = 1, n = f->npages / CLUSTER, insn;
	struct meter m;

	KASSERT(n <= nitems(order), "the file has %lu clusters", n);
	vm_map_advise(&bench_vm->map, va, va + f->npages * PAGE_SIZE, advice);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t j = bench_random_below(&random, i + 1);

		order[i] = order[j];
		order[j] = (uint16_t)i;
	}
	for (uint64_t i = 0; i < n; i++)	/* now the page in the cluster, too */
		order[i] = (uint16_t)(order[i] * CLUSTER + bench_random_below(&random, CLUSTER));
	meter_start(&m);
	for (int i = 0; i < FAULTS; i++)
		touch_read(va + order[i] * PAGE_SIZE);
	insn = meter_stop(&m);
	unmap(va, f->npages);
	return (insn);
}

void
bench_random(void)
{
	struct bench_file f;

	if (!file_open(&f, "/b/contig"))
		return;
	file_warm_metadata(&f);
	file_evict(&f);
	bench_report("random.fault", time_random(&f, VM_ADV_NORMAL) / FAULTS);
	file_evict(&f);
	bench_report("random.alone", time_random(&f, VM_ADV_RANDOM) / FAULTS);
	file_close(&f);
}

/* ---- sequential ---- */

/* Report a row of `scenario`, whose part is put together. */
static void
report_part(const char *scenario, const char *kind, const char *part, uint64_t value)
{
	char name[48];

	snprintf(name, sizeof(name), "%s.%s-%s", scenario, kind, part);
	bench_report(name, value);
}

static void
seq_file(const char *path, const char *kind)
{
	struct bench_file f;
	struct disk_watch w;
	struct meter m;
	uint64_t insn, metadata;
	vm_offset_t va;

	if (!file_open(&f, path))
		return;
	va = file_map(&f, 0, f.npages, VM_PROT_READ, MAP_SHARED);
	watch_start(&w, WATCH_ROOT);
	meter_start(&m);
	insn = time_reads(va, f.npages, 1);
	bench_note("%s: %lu ms of virtual time with the waiting, which depends on the host",
	    kind, meter_elapsed(&m) / 1000000);
	watch_stop(&w);
	metadata = w.requests - w.pager;
	bench_note("%s: %lu requests of 128 KiB, %lu others by the pager, %lu for metadata", kind,
	    w.full, w.pager - w.full, metadata);
	report_part("seq", kind, "mbps", mbps(f.npages, insn));
	report_part("seq", kind, "page", insn / f.npages);
	report_part("seq", kind, "requests", w.pager);
	if (kind[0] == 'c')
		report_part("seq", kind, "full", w.full);
	report_part("seq", kind, "sectors", w.sectors - metadata * (f.block_size / DEV_BSIZE));
	report_part("seq", kind, "metadata", metadata);
	unmap(va, f.npages);
	file_close(&f);
}

void
bench_seq(void)
{
	seq_file("/b/contig", "contig");
	seq_file("/b/frag", "frag");
}

void
bench_small_ram(void)
{
	struct bench_file f;
	struct disk_watch w;
	uint64_t insn, scanned;
	vm_offset_t va;

	if (!file_open(&f, "/b/contig"))
		return;
	if (vm_page_count >= f.npages) {
		bench_skip(false, "RAM holds the file; `boot/qemu --mem 32M` for this one");
		file_close(&f);
		return;
	}
	va = file_map(&f, 0, f.npages, VM_PROT_READ, MAP_SHARED);
	insn = time_reads(va, f.npages, 1);
	bench_report("small-ram.first-mbps", mbps(f.npages, insn));
	scanned = VMCNT_GET(v_pdpages);
	watch_start(&w, WATCH_ROOT);
	insn = time_reads(va, f.npages, 1);
	watch_stop(&w);
	bench_report("small-ram.second-mbps", mbps(f.npages, insn));
	bench_report("small-ram.second-page", insn / f.npages);
	bench_report("small-ram.second-requests", w.pager);
	bench_report("small-ram.second-scanned", VMCNT_GET(v_pdpages) - scanned);
	unmap(va, f.npages);
	file_close(&f);
}
