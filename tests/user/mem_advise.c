/* SPDX-License-Identifier: BSD-2-Clause */
/* madvise and mincore: what is thrown away, what comes back, and which pages are there. */
#define _GNU_SOURCE
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)
#define LARGE	(32l << 40)
#define RW	(PROT_READ | PROT_WRITE)

/* Which of the pages at p are resident: "x" or "." each. */
static const char *
residency(void *p, size_t pages)
{
	static char row[65];
	unsigned char vec[64];
	size_t i;

	need(pages <= 64, "too many pages");
	if (mincore(p, pages * PAGE, vec) != 0)
		return (result(-1));
	for (i = 0; i < pages; i++)
		row[i] = vec[i] & 1 ? 'x' : '.';
	row[pages] = '\0';
	return (row);
}

static void
dont_need(void)
{
	int fd = scratch_file(NULL, 4 * PAGE);
	unsigned char *a = map(4 * PAGE, RW, ANON, -1, 0), *v = map(4 * PAGE, RW, MAP_PRIVATE, fd, 0);
	unsigned char *s = map(4 * PAGE, RW, MAP_SHARED, fd, 0);

	memset(a, 0x91, 4 * PAGE);
	fact("DONTNEED, anonymous", "%s", result(madvise(a + PAGE, 2 * PAGE, MADV_DONTNEED)));
	fact("bytes", "%s %s %s", load(a), all_bytes(a + PAGE, 2 * PAGE, 0) ? "zeros" : "?", load(a + 3 * PAGE));
	v[0] = 0x92;
	v[3 * PAGE] = 0x93;
	fact("DONTNEED, private file", "%s", result(madvise(v, PAGE, MADV_DONTNEED)));
	fact("the file's bytes again", "%d", all_pattern(v, PAGE, 0));
	fact("the other copy stays", "%s", load(v + 3 * PAGE));
	s[PAGE] = 0x94;
	fact("DONTNEED, shared file", "%s", result(madvise(s, 4 * PAGE, MADV_DONTNEED)));
	fact("loses nothing", "%s", load(s + PAGE));
}

static void
other_advice(void)
{
	int fd = scratch_file(NULL, 4 * PAGE);
	unsigned char *a = map(4 * PAGE, RW, ANON, -1, 0), *s = map(4 * PAGE, RW, MAP_SHARED, fd, 0);
	static const struct { int advice; const char *name; } table[] = {
		{ MADV_NORMAL, "NORMAL" }, { MADV_RANDOM, "RANDOM" }, { MADV_SEQUENTIAL, "SEQUENTIAL" },
		{ MADV_WILLNEED, "WILLNEED" },
	};
	size_t i;

	memset(a, 0x95, 4 * PAGE);
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		fact(table[i].name, "%s %s", result(madvise(s, 4 * PAGE, table[i].advice)), load(s + 3));
	fact("FREE, then stored", "%s", result(madvise(a, 2 * PAGE, MADV_FREE)));
	a[0] = 0x96;
	fact("keeps what was stored", "%s", load(a));
	fact("FREE of a file", "%s", result(madvise(s, PAGE, MADV_FREE)));
	fact("unknown advice", "%s", result(madvise(a, PAGE, 9999)));
	fact("misaligned", "%s", result(madvise(a + 1, PAGE, MADV_NORMAL)));
	fact("nothing", "%s", result(madvise(a, 0, MADV_DONTNEED)));
	need(munmap(a + PAGE, PAGE) == 0, "munmap");
	a[2 * PAGE] = 0x97;
	fact("DONTNEED over a hole", "%s", result(madvise(a, 4 * PAGE, MADV_DONTNEED)));
	fact("the rest was done", "%s %s", load(a), load(a + 2 * PAGE));
}

static void
in_core(void)
{
	int fd = scratch_file(NULL, 4 * PAGE);
	unsigned char *a = map(8 * PAGE, RW, ANON, -1, 0), *s = map(4 * PAGE, RW, MAP_SHARED, fd, 0);
	unsigned char vec[8];

	fact("anonymous, untouched", "%s", residency(a, 8));
	a[PAGE] = 1;
	a[6 * PAGE] = 1;
	fact("two stores", "%s", residency(a, 8));
	(void)*(volatile unsigned char *)(a + 3 * PAGE);
	need(madvise(a + PAGE, PAGE, MADV_DONTNEED) == 0, "madvise");
	fact("one given back", "%s", residency(a + PAGE, 1));
	fact("one only read", "%s", residency(a + 3 * PAGE, 1));
	(void)*(volatile unsigned char *)s;
	fact("a file just written", "%s", residency(s, 4));
	fact("misaligned", "%s", result(mincore(a + 1, PAGE, vec)));
	fact("bad vector", "%s", result(mincore(a, PAGE, (unsigned char *)8)));
	need(munmap(a + 4 * PAGE, PAGE) == 0, "munmap");
	fact("over a hole", "%s", result(mincore(a, 8 * PAGE, vec)));
	fact("nothing", "%s", result(mincore(a, 0, vec)));
}

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

static void
populate(void)
{
	unsigned char *a = map(8 * PAGE, RW, ANON, -1, 0);
	unsigned char *f = map(4 * PAGE, RW, MAP_SHARED, scratch_file(NULL, 2 * PAGE), 0);

	fact("POPULATE_WRITE", "%s", result(madvise(a, 4 * PAGE, MADV_POPULATE_WRITE)));
	fact("brings them in", "%s", residency(a, 8));
	fact("POPULATE_READ of a file", "%s", result(madvise(f, 2 * PAGE, MADV_POPULATE_READ)));
	fact("and of what lies behind its end", "%s", result(madvise(f, 4 * PAGE, MADV_POPULATE_READ)));
	fact("misaligned", "%s", result(madvise(a + 1, PAGE, MADV_POPULATE_READ)));
	need(mprotect(a, PAGE, PROT_READ) == 0 && mprotect(a + PAGE, PAGE, PROT_NONE) == 0, "mprotect");
	fact("POPULATE_WRITE of what is read-only", "%s", result(madvise(a, PAGE, MADV_POPULATE_WRITE)));
	fact("POPULATE_READ without access", "%s", result(madvise(a, 2 * PAGE, MADV_POPULATE_READ)));
	need(munmap(a + PAGE, PAGE) == 0, "munmap");
	fact("over a hole", "%s", result(madvise(a, 4 * PAGE, MADV_POPULATE_READ)));
	fact("nothing", "%s", result(madvise(a, 0, MADV_POPULATE_READ)));
}

/* A number of /proc/self/FILE, behind KEY and, if that is not NULL, behind the line that begins with FROM; -1: there is none. */
static long
told(const char *file, const char *from, const char *key)
{
	char line[512];
	FILE *f = fopen(file, "r");
	long value = -1;

	need(f != NULL, file);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (from != NULL && strncmp(line, from, strlen(from)) == 0)
			from = NULL;
		else if (from == NULL && value < 0 && strncmp(line, key, strlen(key)) == 0)
			value = strtol(line + strlen(key), NULL, 10);
	}
	fclose(f);
	return (value);
}

/* What /proc says of ten pages that have no neighbours. */
static void
in_proc(void)
{
	unsigned char *a = map(12 * PAGE, PROT_NONE, ANON, -1, 0) + PAGE;
	const char *smaps = "/proc/self/smaps", *status = "/proc/self/status";
	char from[32];

	need(mprotect(a, 10 * PAGE, RW) == 0 && madvise(a, 10 * PAGE, MADV_NOHUGEPAGE) == 0, "mprotect");
	snprintf(from, sizeof(from), "%lx-", (unsigned long)a);
	fact("untouched: size, in memory", "%ld %ld", told(smaps, from, "Size:"), told(smaps, from, "Rss:"));
	for (int i = 0; i < 6; i++)
		a[i * PAGE] = 1;
	fact("six stores: in memory, in proportion", "%ld %ld", told(smaps, from, "Rss:"), told(smaps, from, "Pss:"));
	fact("private and changed, anonymous, on the swap disk", "%ld %ld %ld", told(smaps, from, "Private_Dirty:"),
	    told(smaps, from, "Anonymous:"), told(smaps, from, "Swap:"));
	need(mlock(a, 10 * PAGE) == 0, "mlock");
	fact("locked: in memory, locked", "%ld %ld", told(smaps, from, "Rss:"), told(smaps, from, "Locked:"));
	fact("and in all", "%ld", told(status, NULL, "VmLck:"));
	need(munlock(a, 10 * PAGE) == 0, "munlock");
	fact("unlocked", "%ld %ld", told(smaps, from, "Locked:"), told(status, NULL, "VmLck:"));
	need(madvise(a, 10 * PAGE, MADV_DONTNEED) == 0, "madvise");
	fact("given back", "%ld", told(smaps, from, "Rss:"));
	a = map(LARGE, RW, ANON | MAP_NORESERVE, -1, 0) + LARGE / 2;
	a[0] = 1;
	snprintf(from, sizeof(from), "%lx-", (unsigned long)a - LARGE / 2);
	need(madvise(a, PAGE, MADV_NOHUGEPAGE) == 0, "madvise");
	fact("32 TiB with one page: looked at at once", "%d", told(status, NULL, "VmSize:") > LARGE / 1024);
	need(munmap(a - LARGE / 2, LARGE) == 0, "munmap");
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	in_proc();
	populate();
	dont_need();
	other_advice();
	in_core();
	return (0);
}
