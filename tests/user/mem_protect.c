/* SPDX-License-Identifier: BSD-2-Clause */
/* mprotect: every combination, in the middle of mappings, and what the pages keep while they may not be touched. */
#define _GNU_SOURCE
#include "probe.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES	16

static unsigned char code[] = { 0xc3 };		/* ret */

static void
combinations(void)
{
	static const struct { int prot; const char *name; } table[] = {
		{ PROT_NONE, "none" }, { PROT_READ, "read" }, { PROT_READ | PROT_WRITE, "read, write" },
		{ PROT_READ | PROT_EXEC, "read, execute" }, { PROT_READ | PROT_WRITE | PROT_EXEC, "all" },
	};
	unsigned char *p = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	memcpy(p, code, sizeof(code));
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		need(mprotect(p, PAGE, table[i].prot) == 0, "mprotect");
		fact(table[i].name, "load %s, store %s", load(p), store(p + 1, 1));
		fact(table[i].name, "jump %s", jump(p));
	}
	need(mprotect(p, PAGE, PROT_READ) == 0, "mprotect");
	fact("the byte is as it was", "%s", load(p));
}

static void
splits_and_merges(void)
{
	unsigned char *p = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char row[PAGES + 1] = "";
	size_t i;
	int round;

	for (i = 0; i < PAGES; i++)
		p[i * PAGE] = (unsigned char)(i + 1);
	for (i = 1; i < PAGES; i += 2)
		need(mprotect(p + i * PAGE, PAGE, PROT_READ) == 0, "mprotect");
	for (i = 0; i < PAGES; i++)
		row[i] = store(p + i * PAGE + 1, 1)[0] == 's' ? 'w' : 'r';
	fact("every other page read-only", "%s", row);
	need(mprotect(p + 3 * PAGE, 9 * PAGE, PROT_NONE) == 0, "mprotect");
	for (i = 0; i < PAGES; i++)
		row[i] = load(p + i * PAGE)[0] == '0' ? 'r' : '-';
	fact("nine of them without access", "%s", row);
	need(mprotect(p, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	for (i = 0; i < PAGES; i++)
		row[i] = p[i * PAGE] == i + 1 && store(p + i * PAGE + 2, 2)[0] == 's' ? 'w' : '?';
	fact("all writable again, bytes kept", "%s", row);
	for (round = 0; round < 2000; round++) {
		i = (size_t)round * 7 % PAGES;
		need(mprotect(p + i * PAGE, PAGE, round & 1 ? PROT_READ : PROT_NONE) == 0, "mprotect");
		need(mprotect(p, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	}
	fact("after 2000 splits and merges", "%d", p[5 * PAGE] == 6 && p[PAGES * PAGE - PAGE] == PAGES);
}

static void
across_holes(void)
{
	unsigned char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(munmap(p + 2 * PAGE, PAGE) == 0, "munmap");
	fact("over a hole", "%s", result(mprotect(p, 4 * PAGE, PROT_READ)));
	fact("before the hole it was done", "%s %s", store(p, 1), store(p + PAGE, 1));
	fact("behind it not", "%s", store(p + 3 * PAGE, 1));
	fact("of nothing", "%s", result(mprotect(p, 0, PROT_NONE)));
	fact("misaligned", "%s", result(mprotect(p + 1, PAGE, PROT_READ)));
	fact("of a hole alone", "%s", result(mprotect(p + 2 * PAGE, PAGE, PROT_READ)));
}

static void
copies_keep_their_meaning(void)
{
	int fd = scratch_file(NULL, 2 * PAGE);
	unsigned char *p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), byte;

	p[0] = 0x61;
	need(mprotect(p, 2 * PAGE, PROT_NONE) == 0 && mprotect(p, 2 * PAGE, PROT_READ) == 0, "mprotect");
	fact("a private copy survives", "%s, store %s", load(p), store(p, 1));
	need(mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	fact("writable again: still a copy", "%s", store(p + PAGE, 0x62));
	need(pread(fd, &byte, 1, PAGE) == 1, "pread");
	fact("and the file is as it was", "%d", byte == pattern(PAGE));
}

static void
system_calls_obey(void)
{
	int fd = scratch_file(NULL, PAGE);
	unsigned char *p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(mprotect(p + PAGE, PAGE, PROT_READ) == 0, "mprotect");
	fact("read into a read-only page", "%s", result(pread(fd, p + PAGE, 8, 0)));
	fact("write from it", "%s", result(pwrite(fd, p + PAGE, 8, 0)));
	need(mprotect(p + PAGE, PAGE, PROT_NONE) == 0, "mprotect");
	fact("write from a page without access", "%s", result(pwrite(fd, p + PAGE, 8, 0)));
	fact("across the edge", "%ld", (long)pread(fd, p + PAGE - 8, 16, 0));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	combinations();
	splits_and_merges();
	across_holes();
	copies_keep_their_meaning();
	system_calls_obey();
	return (0);
}
