/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backtraces by frame pointers, with names.
 *
 *	rbp -> [ caller's rbp ][ return address ] ...
 *
 * Where the return address is the one inside trap_common, the interrupted context lies just above
 * in a struct trapframe, and the walk goes on there.  The walk reads through kernel_peek(), wants
 * the frames to climb within one stack's size, and stops at the first thing that looks wrong: it
 * runs in panics.
 *
 * The names come from a table that the second link pass puts into the image (sorted offsets from
 * KERNBASE).
 */
#include "kernel/amd64/machdep.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"

#define FRAMES_MAX	48

extern const uint64_t ksyms_count;
extern const uint32_t ksyms_addr[];	/* offsets from KERNBASE, ascending */
extern const uint32_t ksyms_name[];	/* offsets into ksyms_strings */
extern const char ksyms_strings[];
extern char trap_paranoid_return_address[], kernel_start[], text_end[];

static bool
is_text(uint64_t pc)
{
	return (pc >= (uint64_t)kernel_start && pc < (uint64_t)text_end);
}

const char *
ksym_lookup(uint64_t pc, uint64_t *offset)
{
	uint64_t low = 0, high = ksyms_count, middle;
	uint32_t want = (uint32_t)(pc - KERNBASE);

	if (!is_text(pc) || high == 0 || ksyms_addr[0] > want)
		return (NULL);
	while (high - low > 1) {
		middle = (low + high) / 2;
		if (ksyms_addr[middle] <= want)
			low = middle;
		else
			high = middle;
	}
	if (offset != NULL)
		*offset = want - ksyms_addr[low];
	return (ksyms_strings + ksyms_name[low]);
}

/* One line; a return address is looked up one byte before it, inside the call. */
static void
print_pc(int depth, uint64_t pc, bool is_return)
{
	uint64_t offset;
	const char *name = ksym_lookup(pc - (is_return ? 1 : 0), &offset);

	if (name != NULL)
		printf("  #%-2d 0x%016lx %s+0x%lx\n", depth, pc, name, offset + (is_return ? 1 : 0));
	else
		printf("  #%-2d 0x%016lx (outside the kernel's text)\n", depth, pc);
}

/* Read a whole trap frame, or fail. */
static bool
peek_frame(vm_offset_t va, struct trapframe *out)
{
	uint64_t *word = (uint64_t *)out;
	size_t i;

	for (i = 0; i < sizeof(*out) / 8; i++)
		if (!kernel_peek(va + 8 * i, &word[i]))
			return (false);
	return (true);
}

void
backtrace_print(uint64_t rip, uint64_t rbp)
{
	struct trapframe frame;
	uint64_t next, ret;
	int depth;

	print_pc(0, rip, false);
	for (depth = 1; depth < FRAMES_MAX; depth++) {
		if (!kernel_peek(rbp, &next) || !kernel_peek(rbp + 8, &ret))
			return;
		if (ret == (uint64_t)trap_return_address || ret == (uint64_t)trap_paranoid_return_address) {
			if (!peek_frame(rbp + 16, &frame))
				return;
			printf("  --- trap %lu, error 0x%lx\n", frame.vector, frame.error);
			print_pc(depth, frame.rip, false);
			if ((frame.cs & 3) != 0)
				return;
			rbp = frame.rbp;	/* may be on another stack: a double fault's is */
			continue;
		}
		if (!is_text(ret))
			return;
		print_pc(depth, ret, true);
		if (next <= rbp || next - rbp > KSTACK_PAGES * PAGE_SIZE)
			return;
		rbp = next;
	}
	printf("  ...\n");
}

/* The stack is the running thread's own and whole: plain reads will do. */
__attribute__((noinline)) unsigned
backtrace_capture(uint64_t *pc, unsigned max)
{
	const uint64_t *frame = *(const uint64_t *const *)__builtin_frame_address(0);
	unsigned n = 0;

	while (n < max && is_text(frame[1]) && frame[1] != (uint64_t)trap_return_address) {
		const uint64_t *next = (const uint64_t *)frame[0];

		pc[n++] = frame[1];
		if (next <= frame || (uint64_t)next - (uint64_t)frame > KSTACK_PAGES * PAGE_SIZE)
			break;
		frame = next;
	}
	return (n);
}
