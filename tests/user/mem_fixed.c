/* SPDX-License-Identifier: BSD-2-Clause */
/* Where mappings go: hints, MAP_FIXED over everything, MAP_FIXED_NOREPLACE, munmap of parts and holes. */
#define _GNU_SOURCE
#include "probe.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static const char *
where(const void *got, const void *wanted)
{
	return (got == MAP_FAILED ? result(-1) : got == wanted ? "there" : "elsewhere");
}

static void
over_everything(void)
{
	int fd = scratch_file(NULL, 4 * PAGE);
	unsigned char *p = map(8 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0), *q;

	memset(p, 0x71, 8 * PAGE);
	q = mmap(p + 2 * PAGE, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, PAGE);
	fact("a file in the middle of anonymous memory", "%s", where(q, p + 2 * PAGE));
	fact("its bytes", "%d", all_pattern(p + 2 * PAGE, 3 * PAGE, PAGE));
	fact("the memory around", "%d %d", all_bytes(p, 2 * PAGE, 0x71), all_bytes(p + 5 * PAGE, 3 * PAGE, 0x71));
	q = mmap(p + PAGE, 2 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0);
	fact("over the edge of both", "%s", where(q, p + PAGE));
	fact("zeros", "%d", all_bytes(p + PAGE, 2 * PAGE, 0));
	fact("that may not be written", "%s", store(p + PAGE, 1));
	fact("the rest of the file", "%d", all_pattern(p + 3 * PAGE, 2 * PAGE, 2 * PAGE));
	q = mmap(p, 8 * PAGE, PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0);
	fact("over all", "%s, zeros %d", where(q, p), all_bytes(p, 8 * PAGE, 0));
	q = mmap(p + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 1);
	fact("refused for its offset", "%s", where(q, p + 3 * PAGE));
	fact("and what was there still is", "%s", store(p + 3 * PAGE, 1));
	q = mmap(p + 1, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0);
	fact("misaligned", "%s", where(q, p + 1));
	for (int i = 0; i < 500; i++) {
		q = mmap(p + i % 8 * PAGE, PAGE, PROT_READ | PROT_WRITE, i & 1 ? ANON | MAP_FIXED : MAP_SHARED | MAP_FIXED,
		    i & 1 ? -1 : fd, 0);
		need(q == p + i % 8 * PAGE, "mmap");
	}
	fact("after 500 replacements", "%d %s", all_pattern(p, PAGE, 0), load(p + PAGE));
}

static void
noreplace_and_hints(void)
{
	unsigned char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0), *q;

	need(munmap(p + PAGE, PAGE) == 0, "munmap");
	q = mmap(p, PAGE, PROT_READ, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	fact("NOREPLACE where something is", "%s", where(q, p));
	q = mmap(p + PAGE, 2 * PAGE, PROT_READ, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	fact("NOREPLACE where half of it is free", "%s", where(q, p + PAGE));
	q = mmap(p + PAGE, PAGE, PROT_READ, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	fact("NOREPLACE into the hole", "%s", where(q, p + PAGE));
	need(munmap(p + PAGE, PAGE) == 0, "munmap");
	q = mmap(p + PAGE, PAGE, PROT_READ, ANON, -1, 0);
	fact("a hint that is free", "%s", where(q, p + PAGE));
	q = mmap(p + PAGE, PAGE, PROT_READ, ANON, -1, 0);
	fact("a hint that is taken", "%s", where(q, p + PAGE));
	q = map(PAGE, PROT_READ, ANON, -1, 0);
	fact("two in a row lie side by side, downwards", "%s", where(map(PAGE, PROT_READ, ANON, -1, 0), q - PAGE));
}

static void
unmapping(void)
{
	int fd = scratch_file(NULL, 8 * PAGE);
	unsigned char *p = map(8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	char row[9] = "";
	int i;

	need(munmap(p + 2 * PAGE, 1) == 0, "munmap");
	need(munmap(p + 5 * PAGE, 2 * PAGE) == 0, "munmap");
	for (i = 0; i < 8; i++)
		row[i] = load(p + i * PAGE)[0] == '0' && all_pattern(p + i * PAGE, PAGE, i * PAGE) ? 'm' : '-';
	fact("parts of a mapping", "%s", row);
	fact("a hole", "%s", result(munmap(p + 2 * PAGE, PAGE)));
	fact("again, with both neighbours", "%s", result(munmap(p + PAGE, 3 * PAGE)));
	fact("nothing", "%s", result(munmap(p, 0)));
	fact("misaligned", "%s", result(munmap(p + 1, PAGE)));
	fact("around the end of the address space", "%s", result(munmap((void *)0x7ffffffff000, 2 * PAGE)));
	fact("the kernel", "%s", result(munmap((void *)0xffffffff80000000, PAGE)));
	fact("what is left", "%d", all_pattern(p + 7 * PAGE, PAGE, 7 * PAGE));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	over_everything();
	noreplace_and_hints();
	unmapping();
	return (0);
}
