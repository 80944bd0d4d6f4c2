/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trace: what happened, in order, in a ring per CPU.
 *
 *	events[]  ... n-2 n-1 [n] ...		next: events recorded since boot; the next goes to next % RING
 *
 * Recording is a few stores with interrupts off, so an event is never torn by an interrupt on its
 * own CPU, and no lock is needed.  Readers remember a cursor (a count of events); one that has
 * fallen behind by more than the ring holds is moved up to the oldest event that is still there.
 */
#include "kernel/trace.h"
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"

#define RING_EVENTS	1024		/* a power of two */

bool trace_on;

/* The boot CPU's ring; there is none for others yet, and their events are dropped. */
static struct trace_event ring[RING_EVENTS];
static uint64_t next;			/* (its CPU, interrupts off) */

/* How each word of an event is shown. */
enum { END, HEX, DEC, SIGNED, TEXT, CHARS /* this word and all that follow, as text */ };

static const struct {
	const char	*name;
	struct {
		uint8_t		 kind;
		const char	*label;
	} arg[4];
} types[TR_COUNT] = {
	[TR_NONE] = { "none", { { END, NULL } } },
	[TR_FAULT_ENTER] = { "fault", { { HEX, "va" }, { HEX, "type" }, { HEX, "map" }, { HEX, "error" } } },
	[TR_MAP_LOOKUP] = { "map-lookup", { { HEX, "va" }, { HEX, "entry" }, { HEX, "object" }, { DEC, "pindex" } } },
	[TR_OBJECT_LOOKUP] = { "object-lookup", { { HEX, "object" }, { DEC, "pindex" }, { HEX, "page" }, { DEC, "depth" } } },
	[TR_PAGE_ALLOC] = { "page-alloc", { { HEX, "object" }, { DEC, "pindex" }, { HEX, "page" } } },
	[TR_PAGER_GET] = { "pager-get", { { HEX, "object" }, { DEC, "first" }, { DEC, "count" }, { DEC, "reqpage" } } },
	[TR_BMAP] = { "bmap", { { HEX, "vnode" }, { DEC, "lblkno" }, { SIGNED, "sector" }, { DEC, "run" } } },
	[TR_DISK_READ] = { "disk-read", { { HEX, "disk" }, { DEC, "sector" }, { DEC, "bytes" }, { HEX, "buf" } } },
	[TR_DISK_WRITE] = { "disk-write", { { HEX, "disk" }, { DEC, "sector" }, { DEC, "bytes" }, { HEX, "buf" } } },
	[TR_DISK_FLUSH] = { "disk-flush", { { HEX, "disk" }, { DEC, "sector" }, { DEC, "bytes" }, { HEX, "buf" } } },
	[TR_SLEEP] = { "sleep", { { HEX, "chan" }, { TEXT, "wmesg" } } },
	[TR_SWITCH] = { "switch", { { DEC, "tid" }, { CHARS, "name" } } },
	[TR_DISK_DONE] = { "disk-done", { { HEX, "disk" }, { DEC, "sector" }, { DEC, "error" }, { HEX, "buf" } } },
	[TR_WAKE] = { "wake", { { HEX, "chan" }, { HEX, "thread" } } },
	[TR_PAGER_DONE] = { "pager-done", { { HEX, "object" }, { DEC, "first" }, { DEC, "count" }, { SIGNED, "result" } } },
	[TR_PAGE_QUEUE] = { "page-queue", { { HEX, "page" }, { HEX, "object" }, { DEC, "pindex" }, { DEC, "queue" } } },
	[TR_PAGE_ENTER] = { "page-enter", { { HEX, "va" }, { HEX, "page" }, { HEX, "prot" }, { DEC, "prefault" } } },
	[TR_COW] = { "copy", { { HEX, "from" }, { HEX, "to" }, { HEX, "object" }, { DEC, "pindex" } } },
	[TR_ZERO_FILL] = { "zero-fill", { { HEX, "object" }, { DEC, "pindex" }, { HEX, "page" }, { DEC, "was-zero" } } },
	[TR_FAULT_RETURN] = { "fault-return", { { HEX, "va" }, { DEC, "result" }, { DEC, "ns" } } },
	[TR_PAGE_DIRTY] = { "page-dirty", { { HEX, "object" }, { DEC, "pindex" }, { HEX, "sectors" }, { HEX, "page" } } },
	[TR_PAGER_PUT] = { "pager-put", { { HEX, "object" }, { DEC, "first" }, { DEC, "count" }, { DEC, "wait" } } },
	[TR_PUT_DONE] = { "put-done", { { HEX, "object" }, { DEC, "first" }, { DEC, "count" }, { SIGNED, "result" } } },
	[TR_PAGE_FREE] = { "page-free", { { HEX, "page" }, { HEX, "object" }, { DEC, "pindex" } } },
	[TR_PAGEOUT] = { "pageout", { { DEC, "freed" }, { DEC, "scanned" }, { DEC, "free" }, { DEC, "target" } } },
};

void
trace_record(enum trace_type type, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	bool were_on = intr_enabled();
	struct trace_event *ev;

	intr_disable();
	if (curcpu->id == 0) {
		ev = &ring[next % RING_EVENTS];
		ev->tsc = rdtsc();
		ev->tid = curthread->tid;
		ev->type = (uint16_t)type;
		ev->cpu = (uint16_t)curcpu->id;
		ev->arg[0] = a;
		ev->arg[1] = b;
		ev->arg[2] = c;
		ev->arg[3] = d;
		next++;
	}
	if (were_on)
		intr_enable();
}

uint64_t
trace_cursor(void)
{
	return (next);
}

size_t
trace_read(uint64_t *cursor, struct trace_event *out, size_t max)
{
	bool were_on = intr_enabled();
	size_t n;

	intr_disable();
	if (next > RING_EVENTS && *cursor < next - RING_EVENTS)
		*cursor = next - RING_EVENTS;
	for (n = 0; n < max && *cursor < next; n++)
		out[n] = ring[(*cursor)++ % RING_EVENTS];
	if (were_on)
		intr_enable();
	return (n);
}

const char *
trace_type_name(unsigned type)
{
	return (type < TR_COUNT ? types[type].name : "unknown");
}

int
trace_format(const struct trace_event *ev, char *buf, size_t size)
{
	uint64_t ns = clock_tsc_ns(ev->tsc);
	int len, i;

	len = snprintf(buf, size, "%5lu.%09lu cpu%u tid%-3u %-13s", ns / 1000000000, ns % 1000000000,
	    ev->cpu, ev->tid, trace_type_name(ev->type));
	for (i = 0; i < 4 && ev->type < TR_COUNT && types[ev->type].arg[i].kind != END; i++) {
		const char *label = types[ev->type].arg[i].label;
		uint64_t v = ev->arg[i];
		size_t at = MIN((size_t)len, size);

		switch (types[ev->type].arg[i].kind) {
		case HEX:
			len += snprintf(buf + at, size - at, " %s=0x%lx", label, v);
			break;
		case DEC:
			len += snprintf(buf + at, size - at, " %s=%lu", label, v);
			break;
		case SIGNED:
			len += snprintf(buf + at, size - at, " %s=%ld", label, (int64_t)v);
			break;
		case CHARS:
			len += snprintf(buf + at, size - at, " %s=%.*s", label, 8 * (4 - i), (const char *)&ev->arg[i]);
			break;
		default:
			len += snprintf(buf + at, size - at, " %s=%s", label, (const char *)v);
			break;
		}
	}
	return (len);
}

void
trace_print(const struct trace_event *ev)
{
	char line[256];

	(void)trace_format(ev, line, sizeof(line));
	printf("%s\n", line);
}

void
trace_init(void)
{
	trace_on = cmdline_has("trace");
}
