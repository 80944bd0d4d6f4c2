/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trace: a ring of typed events per CPU, cheap enough to leave compiled in.
 *
 * An event is a time, a type and four words; what the words mean is said by the table in trace.c,
 * which also prints them.  The ring overwrites its oldest events.  The tour reads the ring back to
 * narrate what really happened.
 */
#ifndef KERNEL_TRACE_H
#define KERNEL_TRACE_H

#include "kernel/lib/types.h"

enum trace_type {
	TR_NONE,
	TR_FAULT_ENTER,		/* va, fault type, map, error code */
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
	TR_WAKE,		/* chan, thread, 0, 0 */
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

extern bool trace_on;

void trace_init(void);		/* the word `trace` on the command line switches it on */
/* with `trace` and a second serial port: a thread that writes the events there */
void trace_serial_init(void);
void trace_record(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

#define TRACE(type, a, b, c, d) do {						\
	if (unlikely(trace_on))							\
		trace_record((type), (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d)); \
} while (0)

/*
 * Copy events recorded by this CPU since `*cursor` (in events since boot); returns how many, moves
 * the cursor.
 */
size_t trace_read(uint64_t *cursor, struct trace_event *out, size_t max);
uint64_t trace_cursor(void);	/* where the next event will go */
void trace_print(const struct trace_event *ev);
/* The same as text, without a newline; as snprintf. */
int  trace_format(const struct trace_event *ev, char *buf, size_t size);
const char *trace_type_name(unsigned type);

#endif
