/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Named stages: the places that a page fault passes on its way, for whoever looks from outside.
 *
 *	STAGE(OBJECT_LOOKUP, object, pindex, pfn, depth);
 *	     |               |       |       +----+-- for the trace only
 *	     |               +-------+-- also for gdb: where they are at this instruction
 *	     +-- a type of trace event
 *
 * A stage is one `nop`.  Beside the code, in the section .stages, lies a record of where it is, of
 * which type, and in which register or memory its first two words can be found there.  `vm step`
 * and `vm story` (tests/gdb/stages.py) set their breakpoints by these records; the trace and the
 * tour tell of the same places, since a stage records its event, too.  So an edit of the source
 * moves the stages along, and there is nothing in a script that could go stale.
 *
 * One that is removed breaks the build: stage.c refers to a symbol of each, which STAGE defines.
 *
 * Why not breakpoints on functions: a function may be inlined, split or renamed, and the moment
 * that matters is rarely its first instruction.  Why not a call to a hook: it would cost.
 */
#ifndef KERNEL_STAGE_H
#define KERNEL_STAGE_H

#include "kernel/trace.h"

/* In the order in which a cold fault passes them; the text is what one says of it. */
#define STAGES(X)								\
	X(FAULT_ENTER,	 "fault enter")						\
	X(MAP_LOOKUP,	 "map lookup")						\
	X(OBJECT_LOOKUP, "object lookup")					\
	X(PAGE_ALLOC,	 "page allocated")					\
	X(PAGER_GET,	 "pager asked")						\
	X(BMAP,		 "BMAP")						\
	X(DISK_REQUEST,	 "disk submitted")					\
	X(SLEEP,	 "asleep")						\
	X(DISK_DONE,	 "interrupt")						\
	X(WAKE,		 "woken")						\
	X(PAGER_DONE,	 "pager answers")					\
	X(COW,		 "copied")						\
	X(ZERO_FILL,	 "zero-filled")						\
	X(PAGE_ENTER,	 "page entered")					\
	X(FAULT_RETURN,	 "return")

enum stage {
#define X(name, text) STAGE_##name,
	STAGES(X)
#undef X
	STAGE_COUNT
};

/* A record; two strings follow, the assembler's words for where the stage's words are, then padding to 8. */
struct stage_record {
	uint64_t	addr;		/* of the nop */
	uint32_t	stage;		/* enum stage */
	uint32_t	size;		/* of the record, with its strings and its padding */
};

extern const char stage_records_start[], stage_records_end[];

const char *stage_name(enum stage stage);
/* The first record, or the one that follows; NULL: there is none. */
const struct stage_record *stage_next(const struct stage_record *r);

/* The place alone.  Operands: any place will do, so nothing is moved for their sake. */
#define STAGE_MARK(name, a, b)							\
	__asm__ volatile(							\
	    "770:	nop\n"							\
	    "	.pushsection .stages, \"a\", @progbits\n"			\
	    "	.balign	8\n"							\
	    "771:	.quad	770b\n"						\
	    "	.long	%c[stage], 772f - 771b\n"				\
	    "	.asciz	\"%[first]\"\n"						\
	    "	.asciz	\"%[second]\"\n"					\
	    "	.balign	8\n"							\
	    "772:\n"								\
	    "	.popsection\n"							\
	    "	.weak	stage_is_placed_" #name "\n"				\
	    "	.set	stage_is_placed_" #name ", 1\n"				\
	    : : [stage] "i"(STAGE_##name), [first] "nor"((uint64_t)(a)), [second] "nor"((uint64_t)(b)))

/* The place and its trace event, of the type of the same name. */
#define STAGE(name, a, b, c, d) do {						\
	STAGE_MARK(name, a, b);							\
	TRACE(TR_##name, a, b, c, d);						\
} while (0)

#endif
