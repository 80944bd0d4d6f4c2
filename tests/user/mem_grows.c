/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks that a program makes itself, with MAP_GROWSDOWN: how far they grow, what stops them, and what else a mapping may be.
 * What lies between the lowest byte touched and the stack's old end is left alone: a kernel may map it earlier or later.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define MIB	(1ul << 20)
#define ROOM	(32 * MIB)
#define GAP	(256 * PAGE)
#define RW	(PROT_READ | PROT_WRITE)
#define STACK	(MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN)

#ifndef PROT_GROWSDOWN
#define PROT_GROWSDOWN	0x01000000
#define PROT_GROWSUP	0x02000000
#endif

static unsigned char *base, *top;	/* a range where nothing else is */

static void
limit_to(unsigned long bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	need(setrlimit(RLIMIT_STACK, &limit) == 0, "setrlimit");
}

/* An empty range with a stack of one page at its upper end. */
static void
begin(int prot)
{
	if (base == NULL) {
		base = map(ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		top = base + ROOM;
	}
	need(munmap(base, ROOM) == 0, "munmap");
	need(mmap(top - PAGE, PAGE, prot, STACK | MAP_FIXED, -1, 0) == top - PAGE, "a stack");
}

static void
neighbour(unsigned char *at, int prot)
{
	need(mmap(at, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at, "a neighbour");
}

static void
limits(void)
{
	begin(RW);
	limit_to(4 * MIB);
	fact("the page itself", "%s", store(top - 1, 1));
	fact("a page below", "%s", store(top - PAGE - 1, 2));
	fact("far below", "%s", store(top - 2 * MIB, 3));
	fact("between", "%s", load(top - MIB));
	fact("the last byte within the limit", "%s", store(top - 4 * MIB, 4));
	fact("the next", "%s", store(top - 4 * MIB - 1, 5));
	limit_to(6 * MIB);
	fact("with a higher limit", "%s", store(top - 4 * MIB - 1, 5));
	limit_to(MIB);
	fact("with a lower one, what is there", "%s", load(top - 4 * MIB));
	fact("and what is not", "%s", load(top - 6 * MIB));
	limit_to(8 * MIB);
	need(munmap(top - 6 * MIB, 4 * MIB) == 0, "munmap");
	fact("unmapped, and grown again", "%s", load(top - 4 * MIB));
}

static void
neighbours(void)
{
	limit_to(ROOM);
	begin(RW);
	neighbour(top - 4 * MIB, RW);
	fact("a gap above memory", "%s", store(top - 4 * MIB + PAGE + GAP, 1));
	fact("a byte less", "%s", store(top - 4 * MIB + PAGE + GAP - 1, 1));
	begin(RW);
	neighbour(top - 4 * MIB, PROT_READ);
	fact("above memory to be read", "%s", store(top - 4 * MIB + 2 * PAGE, 1));
	begin(RW);
	neighbour(top - 4 * MIB, PROT_NONE);
	fact("right above what nobody may touch", "%s", store(top - 4 * MIB + PAGE, 1));
	fact("which stays so", "%s", store(top - 4 * MIB, 1));
	begin(RW);
	neighbour(top - 2 * PAGE, RW);
	fact("memory mapped right below", "%s", store(top - 2 * PAGE, 1));
	fact("below that", "%s", store(top - 3 * PAGE, 1));
	fact("the stack", "%s", store(top - PAGE, 1));
	begin(RW);
	need(mmap(top - 4 * MIB, PAGE, RW, STACK | MAP_FIXED, -1, 0) == top - 4 * MIB, "a second stack");
	fact("above another stack", "%s", store(top - 4 * MIB + 2 * PAGE, 1));
	fact("the other grows, too", "%s", store(top - 5 * MIB, 1));
}

static int
child(void *arg)
{
	(void)arg;
	return (store(top - 3 * MIB, 9)[0] == 's' && load(top - MIB)[3] == '7' ? 0 : 1);
}

static void
others(void)
{
	unsigned char *a, *b;

	begin(RW);
	fact("before fork", "%s", store(top - MIB, 7));
	fact("a child's grows", "%s", status_text(in_child(child, NULL)));
	fact("ours does by itself", "%s", load(top - 3 * MIB));
	fact("the kernel's store", "%s", result(pread(scratch_file(NULL, PAGE), top - 5 * MIB, PAGE, 0)));
	fact("is there", "%d", all_pattern(top - 5 * MIB, PAGE, 0));
	begin(PROT_READ);
	fact("to be read only: read", "%s", load(top - MIB));
	fact("stored", "%s", store(top - MIB, 1));
	begin(RW);
	need(store(top - MIB, 7)[0] == 's', "a store");
	fact("protect the stack from its top page on", "%s", result(mprotect(top - PAGE, PAGE, PROT_READ | PROT_GROWSDOWN)));
	fact("all of it is", "%s", store(top - MIB, 8));
	fact("and grows so", "%s", store(top - 2 * MIB, 8));
	fact("what is no stack", "%s", (neighbour(base, RW), result(mprotect(base, PAGE, PROT_READ | PROT_GROWSDOWN))));
	fact("where nothing is", "%s", result(mprotect(base + MIB, PAGE, PROT_READ | PROT_GROWSDOWN)));
	fact("upwards", "%s", result(mprotect(top - PAGE, PAGE, PROT_READ | PROT_GROWSUP)));
	fact("shared", "%s", map_result(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
	fact("of a file", "%s", map_result(NULL, PAGE, RW, MAP_PRIVATE | MAP_GROWSDOWN, scratch_file(NULL, PAGE), 0));
	a = map(PAGE, RW, STACK, -1, 0);
	b = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fact("the next mapping keeps its distance", "%s", b >= a || a - b >= (long)GAP ? "yes" : "no");
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	limits();
	neighbours();
	others();
	return (0);
}
