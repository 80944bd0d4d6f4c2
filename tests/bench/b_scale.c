/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenarios: does the cost of a fault grow with what it should not grow with?
 *
 * Always the same fault, a resident page of a file in a mapping of that page alone (so that no
 * neighbours are mapped along), in surroundings of different size: the file, the pages of it that
 * are resident, the mappings of the address space.  Searches in trees may cost the logarithm: the
 * bound on a ratio is 1 + 0.015 log2(N), which is 1.10 for 100 and 1.20 for 10,000; for the file's
 * size it is one pointer block more for each factor of 1024, in cold faults only.
 *
 * And the copy of a page that is shared since a fork: each one looks whether anything below still shows
 * through, which must not be a look at all that was copied before.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/lib/printf.h"
#include "kernel/kassert.h"
#include "tests/bench/bench.h"
#include "vm/pmap.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"

#define SAMPLES		64
#define SIZES		3

static const uint32_t counts[SIZES] = { 1, 100, 10000 };

/* Instructions of one soft fault at va, whose mapping is taken away first.  Page tables stay. */
static uint64_t
time_soft_fault(vm_offset_t va)
{
	touch_read(va);
	pmap_remove(&bench_vm->pmap, va, va + PAGE_SIZE);
	return (time_reads(va, 1, 1));
}

static void
report_ratio(const char *name, uint64_t large, uint64_t small)
{
	bench_report(name, large * 1000 / MAX(small, 1ul));
}

/* ---- size of the file ---- */

/* The mean of SAMPLES soft faults on the last 16 pages. */
static uint64_t
size_warm(struct bench_file *f)
{
	uint64_t sum = 0;

	for (int i = 0; i < SAMPLES; i++) {
		vm_offset_t va = file_map(f, f->npages - 1 - i % 16, 1, VM_PROT_READ, MAP_SHARED);

		touch_read(va);
		sum += time_soft_fault(va);
		unmap(va, 1);
	}
	return (sum / SAMPLES);
}

/* The mean of SAMPLES cold faults that read one page each, near the end. */
static uint64_t
size_cold(struct bench_file *f)
{
	vm_offset_t va;
	uint64_t insn;

	file_evict(f);
	va = file_map(f, f->npages - 2 * SAMPLES, 2 * SAMPLES, VM_PROT_READ, MAP_SHARED);
	vm_map_advise(&bench_vm->map, va, va + 2 * SAMPLES * PAGE_SIZE, VM_ADV_RANDOM);
	(void)time_reads(va, 1, 1);		/* pointer blocks, page table */
	insn = time_reads(va + (2 * SAMPLES - 1) * PAGE_SIZE, SAMPLES, -1);
	unmap(va, 2 * SAMPLES);
	return (insn / SAMPLES);
}

void
bench_size(void)
{
	static const char *const paths[SIZES] = { "/b/mib", "/b/contig", "/b/sparse" };
	static const char *const names[SIZES] = { "1m", "64m", "6g" };
	uint64_t warm[SIZES], cold[SIZES];
	char name[32];

	for (int i = 0; i < SIZES; i++) {
		struct bench_file f;

		if (!file_open(&f, paths[i]))
			return;
		cold[i] = size_cold(&f);
		warm[i] = size_warm(&f);
		snprintf(name, sizeof(name), "size.%s", names[i]);
		bench_report(name, warm[i]);
		snprintf(name, sizeof(name), "size.cold-%s", names[i]);
		bench_report(name, cold[i]);
		file_close(&f);
	}
	report_ratio("size.ratio", warm[2], warm[0]);
	report_ratio("size.cold-ratio", cold[2], cold[0]);
}

/* ---- counts ---- */

/* Report NAME.COUNT and the ratios to the first. */
static void
report_counts(const char *scenario, const uint64_t cost[SIZES])
{
	char name[32];

	for (int i = 0; i < SIZES; i++) {
		snprintf(name, sizeof(name), "%s.%u", scenario, counts[i]);
		bench_report(name, cost[i]);
	}
	for (int i = 1; i < SIZES; i++) {
		snprintf(name, sizeof(name), "%s.ratio-%u", scenario, counts[i]);
		report_ratio(name, cost[i], cost[0]);
	}
}

/* Exactly `count` resident pages, from the first on; the mapping keeps the object. */
static vm_offset_t
make_resident(struct bench_file *f, uint32_t count)
{
	vm_offset_t va;

	file_evict(f);
	va = file_map(f, 0, count, VM_PROT_READ, MAP_SHARED);
	(void)time_reads(va, count, 1);
	KASSERT(file_resident(f) == count, "%u pages are resident, not %u", file_resident(f),
	    count);
	return (va);
}

void
bench_resident(void)
{
	uint64_t cost[SIZES] = { 0 };
	struct bench_file f;

	if (!file_open(&f, "/b/contig"))
		return;
	for (int i = 0; i < SIZES; i++) {
		vm_offset_t all = make_resident(&f, counts[i]);

		for (uint32_t n = 0; n < SAMPLES; n++) {
			vm_pindex_t pindex = (uint64_t)n * counts[i] / SAMPLES;
			vm_offset_t va = file_map(&f, pindex, 1, VM_PROT_READ, MAP_SHARED);

			cost[i] += time_soft_fault(va);
			unmap(va, 1);
		}
		cost[i] /= SAMPLES;
		unmap(all, counts[i]);
	}
	report_counts("resident", cost);
	file_close(&f);
}

/*
 * Mappings of single pages with gaps between them, so that they stay apart.  The faults are taken
 * in the middle ones, which share a page table, whatever the number.
 */
static uint64_t
entries_cost(struct bench_file *f, uint32_t count)
{
	const vm_offset_t base = 1 * GiB, step = 2 * PAGE_SIZE;
	uint32_t sampled = MIN(count, (uint32_t)SAMPLES), first = (count - sampled) / 2;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		vm_offset_t va = base + i * step;
		int error = vm_mmap(bench_vm, &va, PAGE_SIZE, VM_PROT_READ,
		    MAP_SHARED | MAP_FIXED, f->vp, IDX_TO_OFF(i % f->npages));

		KASSERT(error == 0, "mapping %u failed", i);
	}
	KASSERT(bench_vm->map.nentries == count, "%u mappings, not %u", bench_vm->map.nentries,
	    count);
	for (uint32_t n = 0; n < SAMPLES; n++)
		sum += time_soft_fault(base + (first + n % sampled) * step);
	vm_map_remove(&bench_vm->map, base, base + count * step);
	return (sum / SAMPLES);
}

/* A page's copy, the mean of `count` pages written in order, all of them shared with a child that sleeps. */
static uint64_t
forked_cost(uint32_t count)
{
	vm_offset_t va = anon_map(count);
	struct vmspace *child;
	uint64_t insn;

	(void)time_writes(va, count, 1);
	child = vmspace_fork(bench_vm);
	KASSERT(child != NULL, "no memory for a fork of %u pages", count);
	insn = time_writes(va, count, 1);
	vmspace_free(child);
	unmap(va, count);
	return (insn / count);
}

void
bench_forked(void)
{
	uint64_t few = forked_cost(64), many = forked_cost(1024);

	bench_report("forked.64", few);
	bench_report("forked.1024", many);
	report_ratio("forked.ratio", many, few);
}

void
bench_entries(void)
{
	uint64_t cost[SIZES];
	struct bench_file f;

	if (!file_open(&f, "/b/small"))
		return;
	for (int i = 0; i < SIZES; i++)
		cost[i] = entries_cost(&f, counts[i]);
	report_counts("entries", cost);
	file_close(&f);
}
