/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measurements of the VM, for the kernel word `bench[=GLOB]`.  README.md tells what is
 * measured and how.
 *
 *	bench.c		runs the scenarios that the word asks for, prints the table
 *	rows.c		the rows of the table: units, what others need, what we aim at
 *	meter.c		counts instructions, without waiting, and the disk's requests
 *	fixture.c	files, mappings and touches that the scenarios share
 *	b_*.c		the scenarios
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "kernel/lib/types.h"
#include "vm/vm.h"
#include "vm/vm_map.h"

struct vnode;
struct vm_object;

/* ---- scenarios and rows ---- */

struct bench_scenario {
	const char	*name;		/* GLOB is compared with it; rows: NAME.PART */
	const char	*title;
	void		(*fn)(void);
};

enum bench_unit {
	UNIT_INSN,			/* guest instructions */
	UNIT_COUNT,			/* requests, sectors, pages */
	UNIT_MBPS,			/* 10^6 bytes in 10^9 instructions */
	UNIT_RATIO			/* thousandths, printed as 1.234 */
};

struct bench_row {
	const char	*name;		/* SCENARIO.PART, for machines */
	const char	*title;		/* for people */
	enum bench_unit	 unit;
	/* What to compare with; 0: not known, or none.  rows.c says where they come from. */
	uint32_t	 other, floor;
	uint32_t	 goal;		/* at most this; UNIT_MBPS: at least this */
};

extern const struct bench_row bench_rows[];
extern const size_t bench_nrows;

/* Fill a row.  => name is in the table, and was not filled before. */
void bench_report(const char *name, uint64_t value);
/* A line of explanation in the log.  Not part of the table. */
void bench_note(const char *fmt, ...) __printflike(1, 2);
/* The scenario cannot go on, and why: its rows stay empty.  failure: so says the exit status. */
void bench_skip(bool failure, const char *fmt, ...) __printflike(2, 3);

void bench_zero_fill(void), bench_warm(void), bench_cow(void);
void bench_cold(void), bench_random(void), bench_seq(void), bench_small_ram(void);
void bench_qenter(void), bench_mmap(void), bench_mprotect(void);
void bench_dirty(void), bench_msync(void), bench_launder(void), bench_swap(void);
void bench_write64(void), bench_chain(void), bench_trace(void);
void bench_size(void), bench_resident(void), bench_forked(void), bench_entries(void), bench_smp(void);

/* ---- meter ---- */

struct meter {
	uint64_t	start;		/* TSC */
	uint64_t	waited;		/* what the soaker had counted by then */
};

void meter_init(void);			/* starts the soaker; measures what measuring costs */
void meter_fini(void);
void meter_start(struct meter *m);
/* Instructions since meter_start(), less those spent waiting and those of the meter itself. */
uint64_t meter_stop(const struct meter *m);
/* Time since meter_start() with the waiting in it. */
uint64_t meter_elapsed(const struct meter *m);
/* TSC counts that a thousand instructions take: 1000 under -icount shift=0. */
uint64_t meter_tsc_per_kilo_insn(void);

/* Requests that a disk got between watch_start() and watch_stop(). */
enum watch_disk { WATCH_ROOT, WATCH_SWAP, WATCHED_DISKS };
struct disk_watch {
	enum watch_disk	which;
	uint64_t	requests, sectors;
	uint64_t	full;		/* of MAXPHYS bytes */
	uint64_t	pager;		/* page-ins by the vnode pager; the rest is metadata */
	uint64_t	writes;		/* of the requests */
	uint64_t	data_writes, data_sectors, data_full;	/* by the pagers; the rest is metadata */
	uint64_t	flushes;	/* not among the requests */
};
void watch_start(struct disk_watch *w, enum watch_disk which);
void watch_stop(struct disk_watch *w);

/* ---- fixture ---- */

extern struct vmspace *bench_vm;	/* the address space that the benchmarks work in, loaded */
void fixture_init(void);
void fixture_fini(void);

struct bench_file {
	struct vnode	*vp;		/* referenced */
	vm_pindex_t	 npages;
	uint32_t	 block_size;	/* of its filesystem, bytes */
};
/* false: not there; the scenario has been skipped. */
bool file_open(struct bench_file *f, const char *path);
void file_close(struct bench_file *f);
/* Forget the file's pages.  => not mapped by anybody. */
void file_evict(struct bench_file *f);
/* Have the blocks that say where its blocks are in the buffer cache. */
void file_warm_metadata(struct bench_file *f);
uint32_t file_resident(struct bench_file *f);
/* Map [first, first + npages) of it; flags as mmap.  => panics when that fails. */
vm_offset_t file_map(struct bench_file *f, vm_pindex_t first, vm_size_t npages, vm_prot_t prot,
	    int flags);
vm_offset_t anon_map(vm_size_t npages);
void unmap(vm_offset_t va, vm_size_t npages);

/* One access to a user address, as copyin would make it. */
void touch_read(vm_offset_t va);
void touch_write(vm_offset_t va);
/* Instructions of touching npages addresses, `stride` pages apart, from va on. */
uint64_t time_reads(vm_offset_t va, vm_size_t npages, long stride);
uint64_t time_writes(vm_offset_t va, vm_size_t npages, long stride);

void zero_queue_fill(void);		/* as many zeroed pages as the idle thread would make */
void zero_queue_drain(void);		/* none */

/* A fixed sequence of numbers below n; *state is any number to begin with. */
uint64_t bench_random_below(uint64_t *state, uint64_t n);

#endif
