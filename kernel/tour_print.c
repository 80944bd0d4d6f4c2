/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The teller: a tale's events as text.
 *
 *	   12.3 us  bmap     block 2 of inode 18 lies at sector 8480; 9 more blocks follow it there
 *	   |        |        |
 *	   |        |        what the event's words say, with names looked up in the live structures
 *	   |        who
 *	   since the trap
 *
 * One line an event, in the order in which they happened; events of one kind that follow each
 * other for several pages share a line.  Pointers that an event carries are not trusted: an
 * object or a map entry is looked up in the address space, and only if it is found there is more
 * said about it than its address.
 *
 * Told are the events of the tale's own thread, and of others only what concerns it: who got the
 * CPU, the interrupt that ended its request, its being woken, and reclaim.
 */
#include "kernel/tour.h"
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"
#include "vm/vm_pager.h"

#define RANGES_MAX	64		/* pages named in one line */

/* ---- lines ---- */

/* The event from which times are counted. */
static const struct trace_event *
first_event(const struct tale *t)
{
	for (size_t i = 0; i < t->nevents; i++)
		if (t->events[i].type == TR_FAULT_ENTER)
			return (&t->events[i]);
	return (&t->events[0]);
}

static void line(const struct tale *, const struct trace_event *, const char *, const char *, ...)
    __printflike(4, 5);

static void
line(const struct tale *t, const struct trace_event *ev, const char *who, const char *fmt, ...)
{
	uint64_t ns = clock_tsc_ns(ev->tsc) - clock_tsc_ns(first_event(t)->tsc);
	char name[THREAD_NAME_MAX];
	va_list ap;

	printf("%7lu.%lu us  %-7s ", ns / 1000, ns % 1000 / 100, who);
	if (t->about[0] != NULL && ev->type != TR_DISK_DONE && ev->tid != t->td->tid)
		printf("[%s] ", words_thread(ev->tid, name));
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static bool
is_request(unsigned type)
{
	return (type == TR_DISK_READ || type == TR_DISK_WRITE || type == TR_DISK_FLUSH);
}

static const char *
plural(uint64_t n)
{
	return (n == 1 ? "" : "s");
}

const struct trace_event *
tale_request_of(const struct tale *t, const struct trace_event *done, size_t end)
{
	for (size_t i = end; i-- > 0;)
		if (is_request(t->events[i].type) && t->events[i].arg[3] == done->arg[3])
			return (&t->events[i]);
	return (NULL);
}

/* ---- one event, one line ---- */

static void
tell_fault(const struct tale *t, const struct trace_event *ev)
{
	uint64_t error = ev->arg[3];
	const char *access = error & PF_FETCH ? "fetch" : error & PF_WRITE ? "write" : "read";

	line(t, ev, "trap", "page fault at 0x%lx: %s, in %s mode, %s (error 0x%lx)", ev->arg[0],
	    access, error & PF_USER ? "user" : "kernel",
	    error & PF_PRESENT ? "page mapped, but not for this" : "no page mapped", error);
}

static void
tell_map(const struct tale *t, const struct trace_event *ev)
{
	struct vm_map_entry e;

	if (!words_entry(t, ev->arg[1], &e))
		line(t, ev, "map", "an entry of the map: page %lu of %s", ev->arg[3],
		    words_object(t, ev->arg[2]));
	else
		line(t, ev, "map", "entry 0x%lx-0x%lx %s, %s%s: page %lu of %s", e.start, e.end,
		    words_prot(e.protection),
		    e.inheritance == VM_INHERIT_SHARE ? "shared" : "private",
		    e.needs_copy ? ", copy on write" : "", ev->arg[3], words_object(t, ev->arg[2]));
}

static void
tell_object(const struct tale *t, const struct trace_event *ev)
{
	if (ev->arg[2] == 0)
		line(t, ev, "object", "%s (0x%lx) has no page %lu", words_object(t, ev->arg[0]),
		    ev->arg[0], ev->arg[1]);
	else
		line(t, ev, "object", "%s (0x%lx) has page %lu, in frame 0x%lx",
		    words_object(t, ev->arg[0]), ev->arg[0], ev->arg[1], ev->arg[2]);
}

static void
tell_pager_get(const struct tale *t, const struct trace_event *ev)
{
	uint64_t first = ev->arg[1], count = ev->arg[2];

	if (count == 1)
		line(t, ev, "pager", "getpages: page %lu of %s", first,
		    words_object(t, ev->arg[0]));
	else
		line(t, ev, "pager", "getpages: pages %lu-%lu of %s (%lu pages), for page %lu",
		    first, first + count - 1, words_object(t, ev->arg[0]), count,
		    first + ev->arg[3]);
}

static void
tell_bmap(const struct tale *t, const struct trace_event *ev)
{
	char ino[32];

	if (ev->arg[0] == (uint64_t)t->vp)
		snprintf(ino, sizeof(ino), "inode %lu", t->vp->v_ino);
	else
		strlcpy(ino, "another file", sizeof(ino));
	if ((int64_t)ev->arg[2] < 0)
		line(t, ev, "bmap", "block %lu of %s is a hole, and so are %lu after it",
		    ev->arg[1], ino, ev->arg[3]);
	else
		line(t, ev, "bmap",
		    "block %lu of %s lies at sector %lu; %lu more block%s follow%s it there",
		    ev->arg[1], ino, ev->arg[2], ev->arg[3], plural(ev->arg[3]),
		    ev->arg[3] == 1 ? "s" : "");
}

static void
tell_disk(const struct tale *t, const struct trace_event *ev)
{
	uint64_t sectors = ev->arg[2] >> DEV_BSHIFT;

	if (ev->type == TR_DISK_FLUSH)
		line(t, ev, "disk", "%s gets a request to flush: what it has been given, it shall keep",
		    words_disk(ev->arg[0]));
	else
		line(t, ev, "disk", "%s gets a request%s: sectors %lu-%lu (%lu sectors, %lu bytes)",
		    words_disk(ev->arg[0]), ev->type == TR_DISK_WRITE ? " to write" : "", ev->arg[1],
		    ev->arg[1] + sectors - 1, sectors, ev->arg[2]);
}

/* A thread that was woken on its way to sleep goes on without giving the CPU away. */
static void
tell_sleep(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i], *next = ev + 1;

	while (next < t->events + t->nevents && next->tid != ev->tid)
		next++;
	if (next < t->events + t->nevents && next->type == TR_SWITCH)
		line(t, ev, "sleep", "thread %s sleeps in \"%s\"", t->td->name, (const char *)ev->arg[1]);
	else
		line(t, ev, "sleep", "thread %s need not sleep in \"%s\": it has been woken already",
		    t->td->name, (const char *)ev->arg[1]);
}

static void
tell_switch(const struct tale *t, const struct trace_event *ev)
{
	if (ev->arg[0] == t->td->tid)
		line(t, ev, "run", "thread %s is on the CPU again", t->td->name);
	else
		line(t, ev, "run", "thread %.*s gets the CPU", THREAD_NAME_MAX,
		    (const char *)&ev->arg[1]);
}

static void
tell_disk_done(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i], *start = tale_request_of(t, ev, i);
	uint64_t us = start != NULL ? (clock_tsc_ns(ev->tsc) - clock_tsc_ns(start->tsc)) / 1000 : 0;
	char name[THREAD_NAME_MAX], what[40];

	if (start != NULL && start->type == TR_DISK_FLUSH)
		strlcpy(what, "the flush", sizeof(what));
	else
		snprintf(what, sizeof(what), "the request at sector %lu", ev->arg[1]);
	line(t, ev, "irq", "%s interrupts thread %s: %s took %lu us, %s", words_disk(ev->arg[0]),
	    words_thread(ev->tid, name), what, us,
	    ev->arg[2] == 0 ? "no error" : errno_name((int)ev->arg[2]));
}

static void
tell_wake(const struct tale *t, const struct trace_event *ev)
{
	line(t, ev, "wake", "thread %s can run", t->td->name);
}

static void
tell_pager_done(const struct tale *t, const struct trace_event *ev)
{
	line(t, ev, "pager", "answers %s", vm_pager_status_name((int)ev->arg[3]));
}

static void
tell_put(const struct tale *t, const struct trace_event *ev)
{
	if (ev->arg[2] == 1)
		line(t, ev, "pager", "putpages: page %lu of %s", ev->arg[1], words_object(t, ev->arg[0]));
	else
		line(t, ev, "pager", "putpages: pages %lu-%lu of %s (%lu pages)", ev->arg[1],
		    ev->arg[1] + ev->arg[2] - 1, words_object(t, ev->arg[0]), ev->arg[2]);
}

static void
tell_enter(const struct tale *t, const struct trace_event *ev)
{
	line(t, ev, "pmap", "0x%lx now leads to frame 0x%lx, %s", ev->arg[0], ev->arg[1],
	    words_prot((vm_prot_t)ev->arg[2]));
}

static void
tell_cow(const struct tale *t, const struct trace_event *ev)
{
	line(t, ev, "copy", "frame 0x%lx is copied to frame 0x%lx, now page %lu of %s", ev->arg[0],
	    ev->arg[1], ev->arg[3], words_object(t, ev->arg[2]));
}

static void
tell_zero(const struct tale *t, const struct trace_event *ev)
{
	line(t, ev, "zero", "page %lu of %s is frame 0x%lx, %s", ev->arg[1],
	    words_object(t, ev->arg[0]), ev->arg[2],
	    ev->arg[3] ? "zeroed in advance" : "zeroed now");
}

static void
tell_return(const struct tale *t, const struct trace_event *ev)
{
	line(t, ev, "return", "%s after %lu us%s", kern_return_name((int)ev->arg[1]),
	    ev->arg[2] / 1000,
	    ev->arg[1] == KERN_SUCCESS ? ": the instruction is tried again" : "");
}

static void
tell_pageout(const struct tale *t, const struct trace_event *ev)
{
	line(t, ev, "reclaim", "has freed %lu pages; %lu are free now, %lu is its goal", ev->arg[0],
	    ev->arg[2], ev->arg[3]);
}

/* ---- several events, one line ---- */

/* Does `b` belong on the line of `a`, which is of the same kind? */
static bool
same_line(const struct trace_event *a, const struct trace_event *b)
{
	switch (a->type) {
	case TR_PAGE_ALLOC:
		return (a->arg[0] == b->arg[0]);
	case TR_PAGE_FREE:
		return (a->arg[1] == b->arg[1]);
	case TR_PAGE_QUEUE:
		return (a->arg[1] == b->arg[1] && a->arg[3] == b->arg[3]);
	case TR_PAGE_DIRTY:
		return (a->arg[0] == b->arg[0] && a->arg[2] == b->arg[2]);
	case TR_PAGE_ENTER:
		return (a->arg[3] == 1 && b->arg[3] == 1);
	default:
		return (false);
	}
}

/* Gather the page indices of the events from i on that share a line.  Returns how many events. */
static size_t
gather(const struct tale *t, size_t i, char *text, size_t size)
{
	const struct trace_event *ev = &t->events[i];
	uint64_t list[RANGES_MAX];
	size_t n = 0;

	do {
		const uint64_t *arg = t->events[i + n].arg;

		if (ev->type == TR_PAGE_ENTER)
			list[n++] = words_index_at(t, arg[0]);
		else
			list[n++] = ev->type == TR_PAGE_QUEUE || ev->type == TR_PAGE_FREE ?
			    arg[2] : arg[1];
	} while (n < RANGES_MAX && i + n < t->nevents && t->events[i + n].type == ev->type &&
	    t->events[i + n].tid == ev->tid && same_line(ev, &t->events[i + n]));
	words_ranges(text, size, list, n);
	return (n);
}

static size_t
tell_alloc(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i];
	char pages[96];
	size_t n = gather(t, i, pages, sizeof(pages));

	if (n == 1)
		line(t, ev, "page", "frame 0x%lx is allocated for page %s of %s", ev->arg[2], pages,
		    words_object(t, ev->arg[0]));
	else
		line(t, ev, "page", "%zu frames are allocated for pages %s of %s", n, pages,
		    words_object(t, ev->arg[0]));
	return (n);
}

static size_t
tell_queue(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i];
	char pages[96];
	size_t n = gather(t, i, pages, sizeof(pages));

	line(t, ev, "queue", "page%s %s of %s: to the %s queue", plural(n), pages,
	    words_object(t, ev->arg[1]), vm_pageq_name((unsigned)ev->arg[3]));
	return (n);
}

static size_t
tell_dirty(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i];
	char pages[96], sectors[SECTORS_TEXT];
	size_t n = gather(t, i, pages, sizeof(pages));

	line(t, ev, "dirty", "page%s %s of %s: sectors %s %s not on disk yet", plural(n), pages,
	    words_object(t, ev->arg[0]), words_sectors(sectors, (uint8_t)ev->arg[2]),
	    n == 1 ? "are" : "of each are");
	return (n);
}

static size_t
tell_free(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i];
	char pages[96];
	size_t n = gather(t, i, pages, sizeof(pages));

	line(t, ev, "free", "page%s %s of %s: %s free again", plural(n), pages,
	    words_object(t, ev->arg[1]), n == 1 ? "the frame is" : "the frames are");
	return (n);
}

static size_t
tell_prefault(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i];
	char pages[96];
	size_t n = gather(t, i, pages, sizeof(pages));

	line(t, ev, "pmap", "page%s %s %s mapped along, %s", plural(n), pages,
	    n == 1 ? "is" : "are", words_prot((vm_prot_t)ev->arg[2]));
	return (n);
}

/* ---- the whole tale ---- */

static void (*const tellers[TR_COUNT])(const struct tale *t, const struct trace_event *ev) = {
	[TR_FAULT_ENTER] = tell_fault,
	[TR_MAP_LOOKUP] = tell_map,
	[TR_OBJECT_LOOKUP] = tell_object,
	[TR_PAGER_GET] = tell_pager_get,
	[TR_BMAP] = tell_bmap,
	[TR_PAGER_PUT] = tell_put,
	[TR_PUT_DONE] = tell_pager_done,
	[TR_DISK_READ] = tell_disk,
	[TR_DISK_WRITE] = tell_disk,
	[TR_DISK_FLUSH] = tell_disk,
	[TR_SWITCH] = tell_switch,
	[TR_WAKE] = tell_wake,
	[TR_PAGER_DONE] = tell_pager_done,
	[TR_PAGE_ENTER] = tell_enter,
	[TR_COW] = tell_cow,
	[TR_ZERO_FILL] = tell_zero,
	[TR_FAULT_RETURN] = tell_return,
	[TR_PAGEOUT] = tell_pageout,
};

/* Does this event concern the tale's thread? */
static bool
concerns(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i], *start;

	if (t->about[0] != NULL)
		return (true);		/* only what concerns it was kept */
	switch (ev->type) {
	case TR_SWITCH:
	case TR_PAGEOUT:
		return (true);
	case TR_WAKE:
		return (ev->arg[1] == (uint64_t)t->td);
	case TR_DISK_DONE:
		start = tale_request_of(t, ev, i);
		return (start != NULL && start->tid == t->td->tid);
	default:
		return (ev->tid == t->td->tid);
	}
}

/* Tell the event, and those that share its line.  Returns how many. */
static size_t
tell_event(const struct tale *t, size_t i)
{
	const struct trace_event *ev = &t->events[i];

	if (!concerns(t, i))
		return (1);
	switch (ev->type) {
	case TR_PAGE_ALLOC:
		return (tell_alloc(t, i));
	case TR_PAGE_QUEUE:
		return (tell_queue(t, i));
	case TR_PAGE_DIRTY:
		return (tell_dirty(t, i));
	case TR_PAGE_FREE:
		return (tell_free(t, i));
	case TR_PAGE_ENTER:
		if (ev->arg[3] == 1)
			return (tell_prefault(t, i));
		break;
	case TR_DISK_DONE:
		tell_disk_done(t, i);
		return (1);
	case TR_SLEEP:
		tell_sleep(t, i);
		return (1);
	default:
		break;
	}
	if (ev->type < TR_COUNT && tellers[ev->type] != NULL)
		tellers[ev->type](t, ev);
	return (1);
}

/* Why the access was refused: what a program would have got. */
static void
tell_refusal(const struct fault_info *why)
{
	static const struct {
		int		 signo, code;
		const char	*text;
	} signals[] = {
		{ 11, 1, "SIGSEGV (SEGV_MAPERR): nothing is mapped there" },
		{ 11, 2, "SIGSEGV (SEGV_ACCERR): not mapped for this" },
		{ 7, 2, "SIGBUS (BUS_ADRERR): past the end of the file, or unreadable" },
		{ 9, 0, "SIGKILL: no memory is left" },
	};

	for (size_t i = 0; i < nitems(signals); i++)
		if (signals[i].signo == why->signo && signals[i].code == why->code)
			printf("  Refused at 0x%lx.  A program would get %s.\n", why->addr,
			    signals[i].text);
}

/* How many events of a type the tale's own thread has recorded. */
static uint64_t
own_events(const struct tale *t, enum trace_type type)
{
	uint64_t n = 0;

	for (size_t i = 0; i < t->nevents; i++)
		n += t->events[i].type == type && t->events[i].tid == t->td->tid;
	return (n);
}

static uint64_t
own_requests(const struct tale *t)
{
	return (own_events(t, TR_DISK_READ) + own_events(t, TR_DISK_WRITE) +
	    own_events(t, TR_DISK_FLUSH));
}

void
tale_tell(const struct tale *t)
{
	uint64_t requests = own_requests(t), sleeps = own_events(t, TR_SLEEP);

	if (t->access && tale_faults(t) == 0)
		printf("  There was no page fault: the processor found the page by itself.\n");
	for (size_t i = 0; i < t->nevents; )
		i += tell_event(t, i);
	if (t->about[0] == NULL && requests > sleeps)
		printf("  For %lu of %lu requests it did not sleep: the disk was faster.\n",
		    requests - sleeps, requests);
	if (t->lost > 0)
		printf("  (%lu more events found no room)\n", t->lost);
	if (t->refused)
		tell_refusal(&t->why);
}

uint64_t
tale_faults(const struct tale *t)
{
	return (own_events(t, TR_FAULT_ENTER));
}

uint64_t
tale_requests(const struct tale *t)
{
	return (t->after.requests - t->before.requests);
}

bool
tale_slept(const struct tale *t)
{
	return (own_events(t, TR_SWITCH) > 0);
}

uint64_t
tale_fault_ns(const struct tale *t)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < t->nevents; i++)
		if (t->events[i].type == TR_FAULT_RETURN && t->events[i].tid == t->td->tid)
			ns += t->events[i].arg[2];
	return (ns);
}

void
tale_counted(const struct tale *t)
{
	const struct tale_counts *a = &t->after, *b = &t->before;
	struct intr_stat is;
	bool any = false;

	printf("  counters: faults +%lu (soft +%lu, pager +%lu, copied +%lu), pages in +%lu, ",
	    a->vm.v_vm_faults - b->vm.v_vm_faults, a->vm.v_soft_faults - b->vm.v_soft_faults,
	    a->vm.v_io_faults - b->vm.v_io_faults, a->vm.v_cow_faults - b->vm.v_cow_faults,
	    a->vm.v_vnodepgsin - b->vm.v_vnodepgsin);
	printf("disk requests +%lu, sectors +%lu\n", tale_requests(t),
	    a->sectors - b->sectors);
	if (a->written != b->written || a->flushes != b->flushes)
		printf("  written: sectors +%lu, flushes +%lu; pages of files +%lu, pages to swap +%lu\n",
		    a->written - b->written, a->flushes - b->flushes,
		    a->vm.v_vnodepgsout - b->vm.v_vnodepgsout, a->vm.v_swappgsout - b->vm.v_swappgsout);
	for (unsigned i = 0; i < TALE_SOURCES && intr_stat_get(i, &is); i++)
		if (a->interrupts[i] != b->interrupts[i]) {
			printf("%s %s +%lu", any ? "," : "  interrupts:", is.name,
			    a->interrupts[i] - b->interrupts[i]);
			any = true;
		}
	if (any)
		printf("\n");
	if (a->bystander != b->bystander)
		printf("  thread bystander, which only ever counts, counted to %lu meanwhile\n",
		    a->bystander - b->bystander);
}

/* Lock or unlock a chain, shared, from the top down. */
static void
chain_lock(struct vm_object *object, bool lock)
{
	for (int depth = 0; object != NULL && depth < CHAIN_MAX; depth++) {
		struct vm_object *next = object->backing_object;

		if (lock)
			vm_object_rlock(object);
		else
			vm_object_unlock(object);
		object = next;
	}
}

void
tale_picture(const struct tale *t)
{
	struct vm_object *object = words_top_object(t);

	if (object == NULL) {
		printf("  Nothing is mapped at 0x%lx.\n", t->va);
		return;
	}
	chain_lock(object, true);
	vm_object_print(object, true);
	chain_lock(object, false);
}
