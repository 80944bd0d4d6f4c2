/* SPDX-License-Identifier: BSD-2-Clause */
/* The stack grows by itself, up to its limit, and says so by a signal when it may not; and the break. */
#define _GNU_SOURCE
#include "probe.h"

#include <alloca.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static void *
stack_pointer(void)
{
	return (__builtin_frame_address(0));
}

static int __attribute__((noinline))
deep(int depth)
{
	volatile unsigned char frame[2000];

	frame[0] = (unsigned char)depth;
	frame[sizeof(frame) - 1] = 1;
	return (depth == 0 ? 0 : deep(depth - 1) + frame[sizeof(frame) - 1]);
}

static int
overflow(void *arg)
{
	(void)arg;
	signal(SIGSEGV, SIG_DFL);
	return (deep(1 << 24) & 1);
}

static void
growth(void)
{
	unsigned char *sp = stack_pointer();

	fact("1000 frames of 2000 bytes", "%d", deep(1000));
	fact("a store far below the stack pointer, within the limit", "%s", store(sp - (6 << 20), 1));
	fact("and one between", "%s", store(sp - (3 << 20), 1));
	fact("below the limit", "%s", store(sp - (64 << 20), 1));
	fact("endless recursion in a child", "%s", status_text(in_child(overflow, NULL)));
}

static int
read_onto_fresh_stack(void *arg)
{
	unsigned char *sp = stack_pointer(), *at = sp - (4 << 20);

	(void)arg;
	at = (unsigned char *)((uintptr_t)at & ~(PAGE - 1));
	return (pread(scratch_file(NULL, PAGE), at, PAGE, 0) == (long)PAGE && all_pattern(at, PAGE, 0) ? 0 : 1);
}

static void
the_break(void)
{
	unsigned char *start = sbrk(0), *p;

	fact("the break moves by a byte", "%d", sbrk(1) == start && (unsigned char *)sbrk(0) == start + 1);
	fact("and by a lot", "%d", sbrk(1 << 20) == start + 1);
	fact("zeros", "%d", all_bytes(start + 1, 1 << 20, 0));
	memset(start + 1, 0xc1, 1 << 20);
	need(brk(start) == 0, "brk");
	p = (unsigned char *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));
	fact("back again, behind it", "%s", load(p + PAGE));
	need(brk(start + (1 << 20)) == 0, "brk");
	fact("and forth: zeros in the new pages", "%d", all_bytes(p, (1 << 20) - PAGE, 0));
	fact("the break into the kernel", "%s", result(brk((void *)0xffffffff80000000)));
	fact("the break below the program", "%s", result(brk((void *)0x1000)));
	fact("is where it was", "%d", (unsigned char *)sbrk(0) == start + (1 << 20));
}

int
main(int argc, char **argv)
{
	struct rlimit limit = { 8 << 20, 8 << 20 };

	probe_init(argc, argv);
	need(setrlimit(RLIMIT_STACK, &limit) == 0, "setrlimit");
	growth();
	fact("the kernel's store to a fresh stack page", "%s", status_text(in_child(read_onto_fresh_stack, NULL)));
	the_break();
	return (0);
}
