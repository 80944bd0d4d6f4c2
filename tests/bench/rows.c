/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rows of the table.
 *
 * The columns `other` and `floor` were measured once, by the same method, on the same emulated
 * machine: Debian's Linux 6.1 with its defaults, ext2 with 4 KiB blocks on virtio-blk; and a
 * handler in C without any kernel around it.
 */
#include "tests/bench/bench.h"

#define INSN	UNIT_INSN
#define COUNT	UNIT_COUNT
#define MBPS	UNIT_MBPS
#define RATIO	UNIT_RATIO

const struct bench_row bench_rows[] = {
	{ "zero-fill.page", "anonymous write fault, per page", INSN, 3176, 703, 1400 },
	{ "zero-fill.prezeroed", "  of a page zeroed in advance", INSN, 0, 0, 0 },
	{ "warm.page", "warm file fault, per page (16 at once)", INSN, 592, 35, 200 },
	{ "warm.fault", "one warm file fault (16 pages at once)", INSN, 9290, 565, 3000 },
	{ "cow.page", "private COW write of a file page", INSN, 4203, 703, 1500 },
	{ "cow.mapped", "  of a page read before", INSN, 0, 0, 0 },

	{ "cold.page", "cold clustered file fault, per page", INSN, 0, 0, 0 },
	{ "cold.fault", "  per fault (16 pages)", INSN, 0, 0, 0 },
	{ "cold.requests", "  disk requests of 256 faults", COUNT, 0, 0, 256 },
	{ "cold.sectors", "  disk sectors of 256 faults", COUNT, 0, 0, 0 },
	{ "random.fault", "cold random file fault", INSN, 33800, 0, 12000 },
	{ "random.alone", "  with advice RANDOM: one page read", INSN, 0, 0, 0 },

	{ "seq.contig-mbps", "cold sequential mapped read, contiguous", MBPS, 963, 0, 2000 },
	{ "seq.contig-page", "  per page", INSN, 0, 0, 0 },
	{ "seq.contig-requests", "  disk requests for 64 MiB of data", COUNT, 0, 0, 514 },
	{ "seq.contig-full", "  of which full (128 KiB)", COUNT, 0, 0, 0 },
	{ "seq.contig-sectors", "  disk sectors of data", COUNT, 0, 0, 131072 },
	{ "seq.contig-metadata", "  and requests for metadata", COUNT, 0, 0, 0 },
	{ "seq.frag-mbps", "the same, fragmented (32 KiB runs)", MBPS, 0, 0, 0 },
	{ "seq.frag-page", "  per page", INSN, 0, 0, 0 },
	{ "seq.frag-requests", "  disk requests for 64 MiB of data", COUNT, 0, 0, 0 },
	{ "seq.frag-sectors", "  disk sectors of data", COUNT, 0, 0, 131072 },
	{ "seq.frag-metadata", "  and requests for metadata", COUNT, 0, 0, 0 },
	{ "small-ram.first-mbps", "RAM half the file, first pass", MBPS, 0, 0, 0 },
	{ "small-ram.second-mbps", "RAM half the file, second pass", MBPS, 404, 0, 1000 },
	{ "small-ram.second-page", "  per page", INSN, 0, 0, 0 },
	{ "small-ram.second-requests", "  disk requests for 64 MiB of data", COUNT, 0, 0, 0 },
	{ "small-ram.second-scanned", "  pages that reclaim looked at", COUNT, 0, 0, 0 },

	{ "qenter.32", "pmap_qenter + pmap_qremove of 32 pages", INSN, 0, 0, 0 },
	{ "mmap.pair", "mmap+munmap of one page", INSN, 11150, 0, 2500 },
	{ "mmap.written", "  written in between", INSN, 0, 0, 0 },
	{ "mmap.file", "  of a file, read in between", INSN, 0, 0, 0 },
	{ "mprotect.toggle", "mprotect toggle of one page", INSN, 5530, 0, 1500 },
	{ "mprotect.inside", "  in the middle of a mapping", INSN, 0, 0, 0 },
	{ "mprotect.written", "  and a write, which faults", INSN, 0, 0, 0 },

	{ "size.1m", "warm fault, file of 1 MiB", INSN, 0, 0, 0 },
	{ "size.64m", "warm fault, file of 64 MiB", INSN, 0, 0, 0 },
	{ "size.6g", "warm fault, sparse file of 6 GiB", INSN, 0, 0, 0 },
	{ "size.ratio", "  6 GiB / 1 MiB", RATIO, 0, 1000, 1050 },
	{ "size.cold-1m", "cold fault of one page, 1 MiB (1 pointer block)", INSN, 0, 0, 0 },
	{ "size.cold-64m", "cold fault of one page, 64 MiB (2)", INSN, 0, 0, 0 },
	{ "size.cold-6g", "cold fault of one page, 6 GiB (3)", INSN, 0, 0, 0 },
	{ "size.cold-ratio", "  6 GiB / 1 MiB", RATIO, 0, 1000, 1200 },
	{ "resident.1", "warm fault, 1 resident page", INSN, 0, 0, 0 },
	{ "resident.100", "warm fault, 100 resident pages", INSN, 0, 0, 0 },
	{ "resident.10000", "warm fault, 10,000 resident pages", INSN, 0, 0, 0 },
	{ "resident.ratio-100", "  100 / 1", RATIO, 0, 1000, 1100 },
	{ "resident.ratio-10000", "  10,000 / 1", RATIO, 0, 1000, 1200 },
	{ "entries.1", "warm fault, 1 mapping", INSN, 0, 0, 0 },
	{ "entries.100", "warm fault, 100 mappings", INSN, 0, 0, 0 },
	{ "entries.10000", "warm fault, 10,000 mappings", INSN, 0, 0, 0 },
	{ "entries.ratio-100", "  100 / 1", RATIO, 0, 1000, 1100 },
	{ "entries.ratio-10000", "  10,000 / 1", RATIO, 1680, 1000, 1200 },
};

const size_t bench_nrows = nitems(bench_rows);
