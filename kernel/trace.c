/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trace: what happened, in order, in a ring per CPU.
 *
 *	events[]  ... n-2 n-1 [n] ...		next: events recorded since boot; the next goes to next % ring_events
 *
 * Recording is a few stores by the CPU that owns the ring, with interrupts off, so an event is never
 * torn by an interrupt and no lock is needed.  `next` is published last.  A reader, on any CPU,
 * remembers a place (a count of events for each ring); one that has fallen behind by more than the
 * ring holds is moved up to the oldest event that is still there.  It copies an event first and
 * then looks whether the owner has come round and begun to overwrite it.
 *
 * Rings are allocated when the trace is first switched on: who never traces spends no memory.  The
 * TSC gives the order between CPUs, as far as theirs agree.
 */
#include "kernel/trace.h"
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_TRACE, "trace rings");

/* Events in a ring, a power of two; fewer in a machine of less than 32 MiB. */
#define RING_EVENTS	8192
#define RING_SMALL	1024
#define SMALL_RAM	(32 * MiB / PAGE_SIZE)

bool trace_on;
static uint64_t recorded;		/* bits 1 << type; trace_on says whether there is any */

static struct trace_ring {
	struct trace_event *events;	/* constant once not NULL */
	uint64_t	 next;		/* (owner, interrupts off; read by anybody) */
} rings[MAX_CPUS];
static uint64_t ring_events;		/* constant once a ring is there */

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
	[TR_FAULT_ENTER] = { "fault", { { HEX, "va" }, { HEX, "pc" }, { HEX, "map" }, { HEX, "error" } } },
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
	[TR_WAKE] = { "wake", { { HEX, "chan" }, { HEX, "thread" }, { DEC, "woken" } } },
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
	struct trace_ring *r;

	if ((recorded & 1ul << type) == 0)
		return;
	intr_disable();
	r = &rings[curcpu->id];
	if (r->events != NULL) {
		ev = &r->events[r->next & (ring_events - 1)];
		ev->tsc = rdtsc();
		ev->tid = curthread->tid;
		ev->type = (uint16_t)type;
		ev->cpu = (uint16_t)curcpu->id;
		ev->arg[0] = a;
		ev->arg[1] = b;
		ev->arg[2] = c;
		ev->arg[3] = d;
		__atomic_store_n(&r->next, r->next + 1, __ATOMIC_RELEASE);
	}
	if (were_on)
		intr_enable();
}

/* ---- switching ---- */

/* A ring for each CPU that runs.  false: no memory for any. */
static bool
rings_make(void)
{
	uint64_t n = vm_page_count < SMALL_RAM ? RING_SMALL : RING_EVENTS;
	bool any = false;

	ring_events = n;
	for (unsigned i = 0; i < MAX(ncpus, 1u); i++) {
		struct trace_event *events, *none = NULL;

		if (rings[i].events == NULL) {
			events = kmalloc(n * sizeof(*events), &M_TRACE, M_NOWAIT);
			if (events != NULL && !__atomic_compare_exchange_n(&rings[i].events, &none, events,
			    false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
				kfree(events, &M_TRACE);
		}
		any = any || rings[i].events != NULL;
	}
	return (any);
}

uint64_t
trace_set(uint64_t wanted)
{
	uint64_t former = trace_on ? recorded : 0;

	if (wanted != 0 && !rings_make())
		wanted = 0;
	recorded = wanted;
	trace_on = wanted != 0;
	return (former);
}

uint64_t
trace_types_named(const char *globs)
{
	char glob[32];
	uint64_t found = 0;

	while (*globs != '\0') {
		size_t len = 0;

		for (; *globs != '\0' && *globs != ','; globs++)
			if (len < sizeof(glob) - 1)
				glob[len++] = *globs;
		glob[len] = '\0';
		for (unsigned t = TR_NONE + 1; t < TR_COUNT; t++)
			if (glob_match(glob, types[t].name))
				found |= 1ul << t;
		globs += *globs == ',';
	}
	return (found);
}

void
trace_init(void)
{
	const char *what = cmdline_get("trace");

	if (what == NULL)
		return;
	(void)trace_set(what[0] != '\0' ? trace_types_named(what) : TRACE_ALL);
	if (!trace_on)
		printf("trace: nothing is recorded: no type of event is called `%s`, or memory is short\n", what);
}

/* ---- reading ---- */

void
trace_now(struct trace_place *p)
{
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i < MAX_CPUS; i++)
		p->at[i] = __atomic_load_n(&rings[i].next, __ATOMIC_ACQUIRE);
}

/* The event of one ring at the reader's place.  false: there is none yet, or it lies beyond end. */
static bool
ring_peek(unsigned cpu, struct trace_place *p, uint64_t end, struct trace_event *ev)
{
	struct trace_ring *r = &rings[cpu];

	for (;;) {
		uint64_t next = __atomic_load_n(&r->next, __ATOMIC_ACQUIRE);

		if (next >= p->at[cpu] + ring_events) {
			uint64_t oldest = next - ring_events + 1;	/* its owner may be at the one before */

			p->lost += oldest - p->at[cpu];
			p->at[cpu] = oldest;
		}
		if (p->at[cpu] >= MIN(next, end))
			return (false);
		*ev = r->events[p->at[cpu] & (ring_events - 1)];
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&r->next, __ATOMIC_RELAXED) - p->at[cpu] < ring_events)
			return (true);
		/* re-check: the owner has come round meanwhile. */
	}
}

/* The ring whose next event is the oldest.  -1: none has one. */
static int
oldest_ring(struct trace_place *p, const struct trace_place *end, struct trace_event *out)
{
	struct trace_event ev;
	int best = -1;

	for (unsigned i = 0; i < MAX_CPUS; i++) {
		if (rings[i].events == NULL || !ring_peek(i, p, end != NULL ? end->at[i] : UINT64_MAX, &ev))
			continue;
		if (best < 0 || ev.tsc < out->tsc) {
			best = (int)i;
			*out = ev;
		}
	}
	return (best);
}

size_t
trace_read(struct trace_place *p, const struct trace_place *end, struct trace_event *out, size_t max)
{
	size_t n;
	int cpu;

	for (n = 0; n < max && (cpu = oldest_ring(p, end, &out[n])) >= 0; n++)
		p->at[cpu]++;
	return (n);
}

/* ---- as text ---- */

static const char *
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
