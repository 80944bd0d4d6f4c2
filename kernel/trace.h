/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trace: a ring of typed events per CPU, cheap enough to leave compiled in.
 *
 * An event is a time, a type and four words; what the words mean is said by the table in trace.c,
 * which also prints them.  A ring overwrites its oldest events.  The tour reads the rings back to
 * narrate what really happened; `boot/qemu --trace FILE` has them written to a file, which
 * tests/host/traceview.py turns into a time line.
 */
#ifndef KERNEL_TRACE_H
#define KERNEL_TRACE_H

#include "kernel/amd64/cpu.h"
#include "kernel/lib/types.h"

enum trace_type {
	TR_NONE,
	TR_FAULT_ENTER,		/* va, program counter, map, error code */
	TR_MAP_LOOKUP,		/* va, entry, object, pindex */
	TR_OBJECT_LOOKUP,	/* object, pindex, page or 0, depth */
	TR_PAGE_ALLOC,		/* object, pindex, page, 0 */
	TR_PAGER_GET,		/* object, first pindex, count, reqpage */
	/* vnode, logical block, device block (512-byte) or -1 for a hole, run ahead in fs blocks */
	TR_BMAP,
	TR_DISK_READ,		/* a request begins: disk, first sector, bytes, buf */
	TR_DISK_WRITE,		/* the same */
	TR_DISK_FLUSH,		/* the same, of no sectors */
	TR_SLEEP,		/* chan, wmesg, 0, 0 */
	/*
	 * tid of the thread that gets the CPU, its name (24 bytes); recorded by the one that leaves
	 */
	TR_SWITCH,
	TR_DISK_DONE,		/* disk, first sector, error, buf */
	TR_WAKE,		/* chan, thread, its tid, 0 */
	TR_PAGER_DONE,		/* object, first pindex, count, VM_PAGER_* */
	TR_PAGE_QUEUE,		/* page, object, pindex, queue */
	TR_PAGE_ENTER,		/* va, page, protection, 0 = demanded, 1 = prefaulted */
	TR_COW,			/* from page, to page, object, pindex */
	TR_ZERO_FILL,		/* object, pindex, page, 1 = was already zero */
	TR_FAULT_RETURN,	/* va, KERN_*, nanoseconds, 0 */
	TR_PAGE_DIRTY,		/* object, pindex, sectors that are dirty now, page */
	TR_PAGER_PUT,		/* object, first pindex, count, 1 = wait for the disk */
	TR_PUT_DONE,		/* object, first pindex, count, VM_PAGER_* of the first page */
	TR_PAGE_FREE,		/* page, object, pindex, 0 */
	TR_PAGEOUT,		/* pages freed, scanned, free after, target */
	TR_COUNT
};

struct trace_event {
	uint64_t	tsc;
	uint32_t	tid;
	uint16_t	type;
	uint16_t	cpu;
	uint64_t	arg[4];
};

extern bool trace_on;		/* is anything recorded? */

#define TRACE_ALL	((1ul << TR_COUNT) - 1)

void trace_init(void);		/* the word trace[=GLOB] on the command line switches it on */
/*
 * Record events of these types (a mask of 1 << type; 0: none) from now on.  Gives every CPU that
 * runs a ring, if it has none.
 * => any context that may allocate.  Returns the former mask.
 */
uint64_t trace_set(uint64_t types);
/* The types whose names match one of the globs, which commas separate: "fault*,disk-*". */
uint64_t trace_types_named(const char *globs);
void trace_record(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

/* trace_serial.c: a thread that writes the events to the second serial port, if there is one. */
void trace_serial_init(void);
void trace_serial_flush(void);	/* the machine stops: write out what is left.  => sleeps */

#define TRACE(type, a, b, c, d) do {						\
	if (unlikely(trace_on))							\
		trace_record((type), (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d)); \
} while (0)

/* How far a reader has come in each ring, and how many events were overwritten before it came. */
struct trace_place {
	uint64_t	at[MAX_CPUS];	/* events since boot */
	uint64_t	lost;
};
void trace_now(struct trace_place *p);		/* where the next events will go */
/*
 * Copy the events from a place on, of all CPUs and in the order of their times, but none from `end`
 * on (NULL: to the newest).
 * => returns how many, at most `max`; moves the place behind them.
 */
size_t trace_read(struct trace_place *p, const struct trace_place *end, struct trace_event *out, size_t max);
void trace_print(const struct trace_event *ev);
/* The same as text, without a newline; as snprintf. */
int  trace_format(const struct trace_event *ev, char *buf, size_t size);

#endif
