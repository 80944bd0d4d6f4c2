/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random maps: seeded sequences of everything that changes an address space, over one small arena, so that ranges
 * overlap, split and join in ways that nobody would write down.  After every few operations each page of the arena is
 * read, by the process itself and now and then by a child, and what was found goes into a sum.
 *
 * Left out is what two kernels may decide differently: pages of a private mapping behind a new end of file, bytes
 * behind EOF in the last page, residency, and where a mapping goes that is not told where.
 *
 * Usage: mem_random [DIR [FIRST-SEED [COUNT [trace]]]]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

#define ARENA_PAGES	48
#define FILE_PAGES	24
#define OPS		300		/* for each seed */
#define CHECK_EVERY	20

static unsigned char *arena;
/* One keeps its size, the next is truncated and only mapped shared, the last is never mapped. */
static int fixed_fd, cut_fd, plain_fd;
static size_t cut_size;
static int trace;

/* The outcome of an operation: into the random_sum, and for who wants to find the first difference, on a line. */
static void
outcome(const char *what, size_t a, size_t b, const char *how)
{
	mix_text(how);
	if (trace)
		printf("  %s %zu %zu: %s\n", what, a, b, how);
}

static size_t
some_range(size_t *len)
{
	size_t first = rnd(ARENA_PAGES);

	*len = 1 + rnd(rnd(3) == 0 ? ARENA_PAGES : 6);
	if (*len > ARENA_PAGES - first)
		*len = ARENA_PAGES - first;
	return (first);
}

static int
some_prot(void)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };

	return (prots[rnd(4)]);
}

static void
store_in(size_t page)
{
	size_t off = rnd(PAGE / 2);	/* the ends of files lie behind the middle of a page */
	unsigned char byte = (unsigned char)rnd(256);

	outcome("store", page, off, store(arena + page * PAGE + off, byte));
}

static void
op_store(void)
{
	store_in(rnd(ARENA_PAGES));
}

/* Map something over [first, first + len). */
static void
map_over(size_t first, size_t len, int prot)
{
	static const char *kinds[] = { "map-anon", "map-shared-anon", "map-private", "map-shared", "map-cut" };
	static const int flags[] = { MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, MAP_SHARED };
	size_t off = rnd(FILE_PAGES);
	int kind = (int)rnd(5), fd = kind < 2 ? -1 : kind == 4 ? cut_fd : fixed_fd;
	void *p;

	p = mmap(arena + first * PAGE, len * PAGE, prot, MAP_FIXED | flags[kind], fd, (off_t)(fd < 0 ? 0 : off * PAGE));
	outcome(kinds[kind], first, len, result(p == MAP_FAILED ? -1 : 0));
	if (trace)
		printf("    prot %d off %zu\n", prot, off);
}

static void
op_map(void)
{
	size_t len, first = some_range(&len);

	map_over(first, len, some_prot());
}

static void
op_unmap(void)
{
	size_t len, first = some_range(&len);

	outcome("munmap", first, len, result(munmap(arena + first * PAGE, len * PAGE)));
}

static void
op_protect(void)
{
	size_t len, first = some_range(&len);
	int prot = some_prot();

	outcome("mprotect", first, len, result(mprotect(arena + first * PAGE, len * PAGE, prot)));
	if (trace)
		printf("    prot %d\n", prot);
}

/*
 * To a fixed place in the arena, or shorter or longer where it is.  What is moved is mapped first, for whether ranges
 * over several mappings can be moved, and what a failure leaves, depends on the version of Linux.
 */
static void
op_remap(void)
{
	size_t len, first = some_range(&len), new_len = 1 + rnd(8), to = rnd(ARENA_PAGES);
	void *p;

	if (new_len > ARENA_PAGES - to)
		new_len = ARENA_PAGES - to;
	map_over(first, len, some_prot());
	if (rnd(2) == 0) {
		store_in(first);
		p = mremap(arena + first * PAGE, len * PAGE, new_len * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		    arena + to * PAGE);
		outcome("mremap-to", first, len, result(p == MAP_FAILED ? -1 : 0));
	} else {
		if (first + new_len > ARENA_PAGES)
			new_len = ARENA_PAGES - first;
		p = mremap(arena + first * PAGE, len * PAGE, new_len * PAGE, 0);
		outcome("mremap-size", first, len, result(p == MAP_FAILED ? -1 : 0));
	}
	if (trace)
		printf("    to %zu, %zu pages\n", to, new_len);
}

static void
op_advise(void)
{
	static const int advice[] = { MADV_DONTNEED, MADV_DONTNEED, MADV_WILLNEED, MADV_SEQUENTIAL, MADV_RANDOM, MADV_NORMAL };
	size_t len, first = some_range(&len), which = rnd(6);

	outcome("madvise", first, len, result(madvise(arena + first * PAGE, len * PAGE, advice[which])));
	if (trace)
		printf("    advice %d\n", advice[which]);
}

static void
op_sync(void)
{
	static const int how[] = { MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE };
	size_t len, first = some_range(&len);

	outcome("msync", first, len, result(msync(arena + first * PAGE, len * PAGE, how[rnd(3)])));
}

static void
op_load(void)
{
	size_t page = rnd(ARENA_PAGES), off = rnd(PAGE);

	outcome("load", page, off, load(arena + page * PAGE + off));
}

/*
 * read and write: between the arena and a file that is not mapped, or between a mapped file and memory outside.  (Of a
 * file that is read into a mapping of itself, the order of the copying would show.)
 */
static void
op_transfer(void)
{
	static unsigned char outside[3 * PAGE];
	size_t at = rnd(ARENA_PAGES * PAGE - 3 * PAGE), len = 1 + rnd(3 * PAGE), off = rnd(FILE_PAGES * PAGE - 3 * PAGE);
	int write = (int)rnd(2), fd = rnd(2) ? plain_fd : fixed_fd;
	unsigned char *p = fd == plain_fd ? arena + at : outside;
	char text[64];
	ssize_t n;

	if (p == outside)
		memset(outside, (int)rnd(256), sizeof(outside));
	n = write ? pwrite(fd, p, len, (off_t)off) : pread(fd, p, len, (off_t)off);
	(void)snprintf(text, sizeof(text), "%s %zd", result(n), n);
	outcome(write ? "pwrite" : "pread", at, len, text);
	for (size_t i = 0; i < len && p == outside; i += 97)
		mix(outside[i]);
	if (trace)
		printf("    off %zu %s\n", off, p == outside ? "outside" : "");
}

static void
op_truncate(void)
{
	cut_size = rnd(FILE_PAGES) * PAGE + PAGE / 2 + rnd(PAGE / 2);
	outcome("ftruncate", cut_size / PAGE, cut_size % PAGE, result(ftruncate(cut_fd, (off_t)cut_size)));
}

/* One byte of many pages, and all bytes of some. */
static void
look_at_all(const char *who)
{
	for (size_t i = 0; i < ARENA_PAGES; i++) {
		const char *first = load(arena + i * PAGE);

		mix_text(first);
		if (first[0] == '0')
			for (size_t off = 0; off < PAGE / 2; off += 8)
				mix(*(volatile uint64_t *)(arena + i * PAGE + off));
		if (trace)
			printf("    %s page %zu: %s sum %016lx\n", who, i, first, (unsigned long)random_sum);
	}
}

static int
child(void *arg)
{
	uint64_t *told = arg;

	look_at_all("child");
	for (int i = 0; i < 10; i++)
		op_store();
	look_at_all("child");
	*told = random_sum;
	(void)fflush(stdout);
	return (0);
}

static void
run(uint64_t seed)
{
	static void (*const ops[])(void) = {
		op_map, op_map, op_map, op_unmap, op_protect, op_protect, op_remap, op_advise, op_sync, op_store, op_store, op_store,
		op_store, op_load, op_load, op_transfer, op_transfer, op_truncate
	};
	uint64_t *told = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char name[32];

	random_begin(seed);
	arena = map(ARENA_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fixed_fd = scratch_file(NULL, FILE_PAGES * PAGE);
	plain_fd = scratch_file(NULL, FILE_PAGES * PAGE);
	cut_fd = scratch_file(NULL, cut_size = 7 * PAGE + PAGE / 2);
	for (int i = 1; i <= OPS; i++) {
		ops[rnd(sizeof(ops) / sizeof(ops[0]))]();
		if (i % CHECK_EVERY == 0)
			look_at_all("parent");
		if (rnd(CHECK_EVERY) == 0) {
			(void)fflush(stdout);
			mix_text(status_text(in_child(child, told)));
			mix(*told);
			look_at_all("parent");
		}
	}
	(void)snprintf(name, sizeof(name), "seed %lu", (unsigned long)seed);
	fact(name, "%016lx", (unsigned long)random_sum);
	(void)munmap(arena, ARENA_PAGES * PAGE);
	(void)munmap(told, PAGE);
	(void)close(fixed_fd);
	(void)close(cut_fd);
	(void)close(plain_fd);
}

int
main(int argc, char **argv)
{
	uint64_t first = argc > 2 ? strtoul(argv[2], NULL, 0) : 1, count = argc > 3 ? strtoul(argv[3], NULL, 0) : 24;

	probe_init(argc, argv);
	trace = argc > 4;
	for (uint64_t seed = first; seed < first + count; seed++)
		run(seed);
	return (0);
}
