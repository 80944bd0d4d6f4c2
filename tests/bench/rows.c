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
#define RATIO	UNIT_RATIO	/* also instructions that are less than whole */

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

	{ "dirty.page", "shared page first dirtied", INSN, 5059, 188, 1500 },
	{ "dirty.unmapped", "  not mapped before", INSN, 0, 0, 0 },
	{ "dirty.again", "  dirty already: no fault", INSN, 0, 0, 0 },
	{ "msync.mbps", "msync of 16 MiB", MBPS, 1165, 0, 2500 },
	{ "msync.page", "  per page", INSN, 0, 0, 0 },
	{ "msync.0", "  of 0 dirty pages among 8,192", INSN, 0, 0, 0 },
	{ "msync.16", "  of 16", INSN, 0, 0, 0 },
	{ "msync.256", "  of 256", INSN, 0, 0, 0 },
	{ "msync.4096", "  of 4,096", INSN, 0, 0, 0 },
	{ "msync.slopes", "  a page from 256 on / from 16 on", RATIO, 0, 1000, 1050 },
	{ "msync.resident", "  of 256 among 8,192 / among 512", RATIO, 0, 1000, 1050 },
	{ "launder.page", "laundering, per page", INSN, 0, 0, 0 },
	{ "launder.requests", "  disk requests for 512 pages", COUNT, 0, 0, 16 },
	{ "launder.sectors", "  disk sectors", COUNT, 0, 0, 4096 },
	{ "swap.page", "swap-out plus swap-in, per page", INSN, 0, 0, 0 },
	{ "swap.out-page", "  out", INSN, 0, 0, 0 },
	{ "swap.in-page", "  in", INSN, 0, 0, 0 },
	{ "swap.out-requests", "  disk requests for 1,024 pages out", COUNT, 0, 0, 32 },
	{ "swap.in-requests", "  and in", COUNT, 0, 0, 0 },
	{ "write64.map-mbps", "64 MiB through a mapping, new file", MBPS, 0, 0, 0 },
	{ "write64.map-page", "  per page", INSN, 0, 0, 0 },
	{ "write64.map-requests", "  disk requests for the data", COUNT, 0, 0, 529 },
	{ "write64.map-full", "  of which full (128 KiB)", COUNT, 0, 0, 0 },
	{ "write64.map-sectors", "  disk sectors of data", COUNT, 0, 0, 131072 },
	{ "write64.map-metadata", "  and requests for metadata", COUNT, 0, 0, 0 },
	{ "write64.map-flushes", "  and flushes", COUNT, 0, 0, 0 },
	{ "write64.call-mbps", "64 MiB through write(), new file", MBPS, 0, 0, 0 },
	{ "write64.call-page", "  per page", INSN, 0, 0, 0 },
	{ "write64.call-requests", "  disk requests for the data", COUNT, 0, 0, 529 },
	{ "write64.call-full", "  of which full (128 KiB)", COUNT, 0, 0, 0 },
	{ "write64.call-sectors", "  disk sectors of data", COUNT, 0, 0, 131072 },
	{ "write64.call-metadata", "  and requests for metadata", COUNT, 0, 0, 0 },
	{ "write64.call-flushes", "  and flushes", COUNT, 0, 0, 0 },
	{ "chain.1", "read fault, page under 1 shadow object", INSN, 0, 0, 0 },
	{ "chain.10", "  under 10", INSN, 0, 0, 0 },
	{ "chain.100", "  under 100", INSN, 0, 0, 0 },
	{ "chain.object", "  for each object on the way", INSN, 0, 0, 0 },
	{ "chain.copy", "  under 100, written: a copy on top", INSN, 0, 0, 0 },

	{ "trace.off", "an event while the trace is off", RATIO, 0, 0, 4000 },
	{ "trace.on", "  and while it is on", RATIO, 0, 0, 100000 },
	{ "trace.fault-off", "soft fault, trace off", INSN, 0, 0, 0 },
	{ "trace.fault-on", "  and on", INSN, 0, 0, 0 },
	{ "trace.fault-events", "  events that it records", COUNT, 0, 0, 0 },

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
	{ "forked.64", "write after a fork, a copy; 64 pages shared", INSN, 0, 0, 0 },
	{ "forked.1024", "  1,024 pages shared", INSN, 5906, 703, 1500 },
	{ "forked.ratio", "  1,024 / 64", RATIO, 0, 1000, 1060 },
	{ "entries.1", "warm fault, 1 mapping", INSN, 0, 0, 0 },
	{ "entries.100", "warm fault, 100 mappings", INSN, 0, 0, 0 },
	{ "entries.10000", "warm fault, 10,000 mappings", INSN, 0, 0, 0 },
	{ "entries.ratio-100", "  100 / 1", RATIO, 0, 1000, 1100 },
	{ "entries.ratio-10000", "  10,000 / 1", RATIO, 1680, 1000, 1200 },
};

const size_t bench_nrows = nitems(bench_rows);
