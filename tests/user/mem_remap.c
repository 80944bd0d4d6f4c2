/* SPDX-License-Identifier: BSD-2-Clause */
/* mremap: growing, shrinking and moving, and what stays in place. */
#define _GNU_SOURCE
#include "probe.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)
#define RW	(PROT_READ | PROT_WRITE)

static const char *
outcome(const void *got, const void *wanted)
{
	return (got == MAP_FAILED ? result(-1) : got == wanted ? "in place" : "moved");
}

static void
sizes(void)
{
	unsigned char *p = map(8 * PAGE, RW, ANON, -1, 0), *q;

	memset(p, 0x81, 8 * PAGE);
	q = mremap(p, 8 * PAGE, 3 * PAGE, 0);
	fact("shrinking", "%s", outcome(q, p));
	fact("what is left, and what is not", "%s %s", load(p + 3 * PAGE - 1), load(p + 3 * PAGE));
	q = mremap(p, 3 * PAGE, 8 * PAGE, 0);
	fact("growing into the gap", "%s", outcome(q, p));
	fact("old bytes, new zeros", "%d %d", all_bytes(p, 3 * PAGE, 0x81), all_bytes(p + 3 * PAGE, 5 * PAGE, 0));
	need(mmap(p + 4 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) == p + 4 * PAGE, "mmap");
	q = mremap(p, 4 * PAGE, 6 * PAGE, 0);
	fact("growing without room", "%s", outcome(q, p));
	q = mremap(p, 4 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
	fact("growing that may move", "%s", outcome(q, p));
	fact("took the bytes along", "%d %d", all_bytes(q, 3 * PAGE, 0x81), all_bytes(q + 3 * PAGE, 3 * PAGE, 0));
	fact("and left nothing", "%s %s", load(p), load(p + 3 * PAGE));
	fact("same size", "%s", outcome(mremap(q, 6 * PAGE, 6 * PAGE, 0), q));
}

static void
to_an_address(void)
{
	unsigned char *p = map(4 * PAGE, RW, ANON, -1, 0), *t = map(8 * PAGE, RW, ANON, -1, 0), *q;

	memset(p, 0x82, 4 * PAGE);
	memset(t, 0x83, 8 * PAGE);
	q = mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t + 2 * PAGE);
	fact("to an address that is taken", "%s", q == t + 2 * PAGE ? "there" : result(-1));
	fact("the bytes", "%d", all_bytes(q, 4 * PAGE, 0x82));
	fact("around them", "%s %s", load(t + 2 * PAGE - 1), load(t + 6 * PAGE));
	fact("where they were", "%s", load(p));
	fact("fixed without may-move", "%s", outcome(mremap(t, PAGE, PAGE, MREMAP_FIXED, p), t));
	fact("fixed, overlapping itself", "%s", outcome(mremap(t, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t + PAGE), t));
	fact("fixed, misaligned", "%s", outcome(mremap(t, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t + PAGE + 1), t));
}

static void
refused(void)
{
	unsigned char *p = map(4 * PAGE, RW, ANON, -1, 0);

	fact("to length 0", "%s", outcome(mremap(p, PAGE, 0, 0), p));
	fact("misaligned", "%s", outcome(mremap(p + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE), p));
	fact("unknown flag", "%s", outcome(mremap(p, PAGE, 2 * PAGE, 64), p));
	fact("private, from length 0", "%s", outcome(mremap(p, 0, PAGE, MREMAP_MAYMOVE), p));
	need(mprotect(p + PAGE, PAGE, PROT_READ) == 0, "mprotect");
	fact("growing across two kinds", "%s", outcome(mremap(p, 2 * PAGE, 6 * PAGE, MREMAP_MAYMOVE), p));
	need(munmap(p, 4 * PAGE) == 0, "munmap");
	fact("what is not mapped", "%s", outcome(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE), p));
}

static void
files(void)
{
	int fd = scratch_file(NULL, 8 * PAGE);
	unsigned char *p = map(2 * PAGE, RW, MAP_SHARED, fd, PAGE), *q, *v, byte;

	need(mmap(p + 2 * PAGE, PAGE, PROT_NONE, ANON | MAP_FIXED_NOREPLACE, -1, 0) != NULL, "mmap");
	p[0] = 0x84;
	q = mremap(p, 2 * PAGE, 7 * PAGE, MREMAP_MAYMOVE);
	need(q != MAP_FAILED, "mremap");
	fact("a file's mapping goes on in the file", "%s %d", load(q), all_pattern(q + PAGE, 6 * PAGE, 2 * PAGE));
	q[6 * PAGE] = 0x85;
	need(pread(fd, &byte, 1, 7 * PAGE) == 1, "pread");
	fact("and is still shared", "0x%02x", byte);
	v = mremap(q, 0, 2 * PAGE, MREMAP_MAYMOVE);
	fact("shared, from length 0: a second mapping", "%s", v == MAP_FAILED ? result(-1) : v == q ? "the same" : "another");
	v[1] = 0x86;
	fact("of the same bytes", "%s", load(q + 1));
	fact("fixed onto itself, from length 0", "%s", outcome(mremap(v, 0, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, v), v));
	fact("which leaves nothing there", "%s %s", load(v), load(q));
	p = map(2 * PAGE, RW, MAP_PRIVATE, fd, 0);
	p[PAGE] = 0x87;
	q = mremap(p, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE);
	need(q != MAP_FAILED, "mremap");
	fact("a private copy moves along", "%s %d", load(q + PAGE), q[2] == pattern(2));
	fact("and the page that is new is the file's", "%d", q[2 * PAGE] == pattern(2 * PAGE));
}

/* MREMAP_DONTUNMAP: the bytes move, and the old place stays, without what was stored there. */
static void
left_behind(void)
{
	const int moving = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
	unsigned char *p = map(4 * PAGE, RW, ANON, -1, 0), *to = map(4 * PAGE, RW, ANON, -1, 0), *q;

	p[PAGE] = 0x88;
	q = mremap(p, 4 * PAGE, 4 * PAGE, moving, NULL);
	need(q != MAP_FAILED, "MREMAP_DONTUNMAP");
	fact("moved, and the old place stays", "%s, %s, %s", load(q + PAGE), load(p + PAGE), store(p + PAGE, 0x89));
	fact("apart from each other", "%s", load(q + PAGE));
	fact("to an address", "%d %s %s", mremap(q, 4 * PAGE, 4 * PAGE, moving | MREMAP_FIXED, to) == to, load(to + PAGE), load(q + PAGE));
	fact("with another length", "%s", outcome(mremap(to, 4 * PAGE, 5 * PAGE, moving, NULL), to));
	fact("where it may not move", "%s", outcome(mremap(to, 4 * PAGE, 4 * PAGE, MREMAP_DONTUNMAP, NULL), to));
	fact("to a misaligned hint", "%s", outcome(mremap(to, 4 * PAGE, 4 * PAGE, moving, (void *)1), to));
	p = map(2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	p[PAGE] = 0x8a;
	q = mremap(p, 2 * PAGE, 2 * PAGE, moving, NULL);
	need(q != MAP_FAILED, "MREMAP_DONTUNMAP");
	fact("shared memory is in both", "%s %s", load(p + PAGE), load(q + PAGE));
	p[0] = 0x8b;
	fact("and still shared", "%s", load(q));
	p = map(2 * PAGE, RW, MAP_PRIVATE, scratch_file(NULL, 2 * PAGE), 0);
	p[PAGE] = 0x8c;
	q = mremap(p, 2 * PAGE, 2 * PAGE, moving, NULL);
	need(q != MAP_FAILED, "MREMAP_DONTUNMAP");
	fact("a file's private page, and what was copied before", "%s %d", load(q + PAGE), p[PAGE] == pattern(PAGE));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	sizes();
	left_behind();
	to_an_address();
	refused();
	files();
	return (0);
}
