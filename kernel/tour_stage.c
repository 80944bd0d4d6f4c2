/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stage of the tour: where its chapters play, and how an access is watched.
 *
 *	main thread ----> thread "tour"                          thread "bystander"
 *	 sleeps in join     an address space of its own            lower class: runs only while
 *	                    the file mapped in it                  the tour's thread sleeps
 *	                    touches a byte: the CPU faults
 *
 * Each access is a copyin or copyout, which fault like a program would and survive a refusal (a
 * bad disk).  The trace is on just for what is watched.  Nothing stays behind: the address space is
 * freed and the threads are joined.
 *
 * When other threads do the work (the laundry, reclaim), the tale is wide: it keeps of all threads
 * what concerns two objects, and is taken out of the ring in pieces, for such work lasts longer
 * than the ring reaches back.
 */
#include "kernel/tour_stage.h"
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/crc32.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "vm/pmap.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

static MALLOC_DEFINE(M_TOUR, "tour");

#define STORY		"/tour/story.txt"
#define MAP_AT		0x10000ul	/* where to look for room in the address space */
#define SHOWN_BYTES	84		/* of a line of text */
#define BATCH		16		/* events taken out of the ring at once */

/* ---- watching ---- */

static void
counts_take(const struct tour *t, struct tale_counts *c)
{
	struct intr_stat is;

	memset(c, 0, sizeof(*c));
	c->vm = vm_meter_sum();
	c->bystander = t->counted;
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		if (dk->dk_whole != NULL)
			continue;	/* a partition's are counted for its disk too */
		c->requests += dk->dk_stats.reads + dk->dk_stats.writes;
		c->sectors += dk->dk_stats.sectors_read + dk->dk_stats.sectors_written;
		c->written += dk->dk_stats.sectors_written;
		c->flushes += dk->dk_stats.flushes;
	}
	for (unsigned i = 0; i < TALE_SOURCES && intr_stat_get(i, &is); i++)
		c->interrupts[i] = is.count;
}

/* Does this event belong to one of the objects that a wide tale is about? */
static bool
of_interest(const struct tale *tale, const struct trace_event *ev)
{
	uint64_t object = ev->type == TR_PAGE_QUEUE || ev->type == TR_PAGE_FREE ? ev->arg[1] : ev->arg[0];

	return (object == (uint64_t)tale->about[0] || object == (uint64_t)tale->about[1]);
}

/*
 * Shall a wide tale keep it?  Requests are kept while their thread is in the pager for one of the
 * objects.
 */
static bool
wide_keeps(struct tale *tale, const struct trace_event *ev)
{
	switch (ev->type) {
	case TR_PAGER_PUT:
		if (of_interest(tale, ev))
			tale->pager_tid = ev->tid;
		return (of_interest(tale, ev));
	case TR_PUT_DONE:
		if (of_interest(tale, ev))
			tale->pager_tid = 0;
		return (of_interest(tale, ev));
	case TR_PAGE_QUEUE:
	case TR_PAGE_FREE:
	case TR_PAGE_DIRTY:
		return (of_interest(tale, ev));
	case TR_DISK_WRITE:
	case TR_DISK_FLUSH:
		return (ev->tid == tale->pager_tid);
	case TR_DISK_DONE:
		return (tale_request_of(tale, ev, tale->nevents) != NULL);
	case TR_PAGEOUT:
		return (ev->arg[0] > 0);
	default:
		return (false);
	}
}

void
tour_watch_more(struct tour *t)
{
	struct tale *tale = &t->tale;
	struct trace_event batch[BATCH];
	struct trace_place end;
	size_t n;

	trace_now(&end);
	while ((n = trace_read(&tale->place, &end, batch, nitems(batch))) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (tale->about[0] != NULL && !wide_keeps(tale, &batch[i]))
				continue;
			if (tale->nevents < TALE_EVENTS)
				tale->events[tale->nevents++] = batch[i];
			else
				tale->place.lost++;
		}
	}
	tale->lost = tale->place.lost;
}

void
tour_watch_begin(struct tour *t, struct vm_object *about, struct vm_object *and_about)
{
	struct tale *tale = &t->tale;

	tale->about[0] = about;
	tale->about[1] = and_about;
	tale->pager_tid = 0;
	tale->nevents = tale->lost = 0;
	tale->access = tale->refused = false;
	counts_take(t, &tale->before);
	trace_now(&tale->place);
	tale->traced = trace_set(TRACE_ALL);
}

void
tour_watch_end(struct tour *t)
{
	(void)trace_set(t->tale.traced);
	tour_watch_more(t);
	counts_take(t, &t->tale.after);
}

void
tour_watch(struct tour *t, vm_offset_t va, const void *data, size_t len)
{
	struct tale *tale = &t->tale;
	char byte;

	tale->va = va;
	tale->write = data != NULL;
	tour_watch_begin(t, NULL, NULL);
	tale->access = true;
	tale->refused = (data != NULL ? copyout(data, va, len) : copyin(va, &byte, 1)) != 0;
	tour_watch_end(t);
	tale->why = curthread->fault;
	memset(&curthread->fault, 0, sizeof(curthread->fault));
}

void
tour_tell(const struct tour *t)
{
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	tale_picture(&t->tale);
}

void
tour_note_act(struct tour *t, const char *name)
{
	const struct tale *tale = &t->tale;

	t->acts[t->nacts++] = (struct act){
		.name = name, .faults = tale_faults(tale), .ns = tale_fault_ns(tale),
		.requests = tale_requests(tale),
		.sectors = tale->after.sectors - tale->before.sectors
	};
}

void
tour_heading(const struct tour *t, const char *title)
{
	printf("\n---- %u. %s\n", t->nacts + 1, title);
}

/* ---- the file's text ---- */

static bool
is_text(const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((buf[i] < ' ' || buf[i] > '~') && buf[i] != '\n' && buf[i] != '\t' &&
		    buf[i] != '\r')
			return (false);
	return (true);
}

/* Where the first line begins that begins in this page; 0 if it is not text. */
size_t
tour_line_start(vm_pindex_t page, const char *buf, size_t len)
{
	const char *newline = page == 0 || !is_text(buf, len) ? NULL : memchr(buf, '\n', len);

	return (newline != NULL && newline + 1 < buf + len ? (size_t)(newline + 1 - buf) : 0);
}

/* One line of text, or the first bytes in hexadecimal. */
static void
tour_show_bytes(const char *how, const char *buf, size_t from, size_t len)
{
	size_t n = 0;

	printf("  %-20s ", how);
	if (!is_text(buf, len)) {
		for (; n < 16 && from + n < len; n++)
			printf("%02x ", (uint8_t)buf[from + n]);
		printf("...\n");
		return;
	}
	while (n < SHOWN_BYTES && from + n < len && buf[from + n] != '\n' && buf[from + n] != '\r')
		n++;
	printf("\"%.*s\"\n", (int)n, buf + from);
}

/* The beginning of a page as the mapping shows it, and as VOP_READ does. */
void
tour_show_page(const struct tour *t, vm_pindex_t page, bool file_too)
{
	char buf[TEXT_BYTES];
	size_t done;
	int error;

	if (copyin(t->base + IDX_TO_OFF(page), buf, sizeof(buf)) != 0) {
		printf("  the page cannot be read through the mapping any more\n");
		return;
	}
	tour_show_bytes("through the mapping", buf, tour_line_start(page, buf, sizeof(buf)), sizeof(buf));
	if (!file_too)
		return;
	error = vn_read(t->vp, buf, sizeof(buf), IDX_TO_OFF(page), &done);
	if (error != 0)
		printf("  VOP_READ fails: %s\n", errno_name(error));
	else
		tour_show_bytes("through VOP_READ", buf, tour_line_start(page, buf, done), done);
}

/* ---- pages ---- */

struct page_look
tour_look_at(struct vm_object *object, vm_pindex_t pindex)
{
	struct page_look look = { .there = false };
	struct vm_page *m;

	vm_object_rlock(object);
	m = vm_page_lookup(object, pindex);
	if (m != NULL && vm_page_all_valid(m))
		look = (struct page_look){
			.there = true, .pfn = m->pfn, .crc = crc32(0, VM_PAGE_TO_DMAP(m), PAGE_SIZE),
			.dirty = m->dirty, .queue = m->queue
		};
	vm_object_unlock(object);
	return (look);
}

void
tour_show_state(const struct tour *t, vm_pindex_t page)
{
	struct page_look look = tour_look_at(t->vp->v_object, page);
	vm_prot_t prot = VM_PROT_NONE;
	char sectors[SECTORS_TEXT];

	if (!look.there) {
		printf("  page %lu is not in memory\n", page);
		return;
	}
	(void)pmap_mapped(&t->vm->pmap, t->base + IDX_TO_OFF(page), &prot);
	printf("  page %lu is frame 0x%x, on the %s queue; dirty sectors %s; mapped %s\n", page, look.pfn,
	    vm_pageq_name(look.queue), words_sectors(sectors, look.dirty), words_prot(prot));
}

struct vm_object *
tour_top_object(const struct tour *t, vm_offset_t va, vm_pindex_t *pindex)
{
	struct vm_map_entry *e;
	struct vm_object *object;

	vm_map_rlock(&t->vm->map);
	e = vm_map_lookup_entry(&t->vm->map, va);
	object = e->object;
	*pindex = OFF_TO_IDX(e->offset + (va - e->start));
	vm_map_runlock(&t->vm->map);
	return (object);
}

/* ---- in sum ---- */

void
tour_sum_up(const struct tour *t)
{
	printf("\n---- In sum\n  %-16s %8s %14s %9s %12s\n", "", "faults", "disk requests",
	    "sectors", "in faults");
	for (unsigned i = 0; i < t->nacts; i++) {
		const struct act *a = &t->acts[i];

		printf("  %u %-14s %8lu %14lu %9lu %9lu us\n", i + 1, a->name, a->faults,
		    a->requests, a->sectors, a->ns / 1000);
	}
}

/* ---- the stage ---- */

/* Runs while the tour's thread sleeps, and counts. */
static void
bystander(void *arg)
{
	struct tour *t = arg;

	while (!t->stop)
		t->counted++;
}

/* Open the file.  0 or an errno. */
static int
stage_file(struct tour *t)
{
	int error = namei(t->path, NULL, 0, &t->vp);

	if (error != 0)
		return (error);
	if (t->vp->v_type == VREG)
		error = vn_size(t->vp, &t->size);
	else
		error = t->vp->v_type == VDIR ? EISDIR : ENODEV;
	if (error != 0)
		vrele(t->vp);
	return (error);
}

/* Map the file into an address space of our own.  0 or an errno. */
static int
stage_map(struct tour *t)
{
	int error;

	if (t->size >= VM_USER_MAX || t->offset >= VM_USER_MAX)
		return (EFBIG);
	t->len = round_page(MAX(t->size, t->offset + 1));
	t->base = MAP_AT;
	t->vm = vmspace_alloc();
	if (t->vm == NULL)
		return (ENOMEM);
	error = vm_mmap(t->vm, &t->base, t->len, VM_PROT_READ | VM_PROT_WRITE, t->flags, t->vp, 0);
	if (error != 0)
		vmspace_free(t->vm);
	else
		(void)thread_set_vmspace(t->vm);
	return (error);
}

static void
stage_run(struct tour *t)
{
	struct thread *other;

	t->tale.events = kmalloc(TALE_EVENTS * sizeof(struct trace_event), &M_TOUR, M_WAITOK);
	t->tale.td = curthread;
	t->tale.vm = t->vm;
	t->tale.vp = t->vp;
	t->tale.va = t->base;
	other = thread_create("bystander", PRI_USER, bystander, t);
	t->play(t);
	t->stop = true;
	if (other != NULL)
		thread_join(other);
	kfree(t->tale.events, &M_TOUR);
}

static void
stage_thread(void *arg)
{
	struct tour *t = arg;
	int error = stage_file(t);

	if (error == 0) {
		error = stage_map(t);
		if (error == 0) {
			stage_run(t);
			(void)thread_set_vmspace(NULL);
			vmspace_free(t->vm);
		}
		vrele(t->vp);
	}
	if (error != 0)
		printf("%s: %s: %s\n", curthread->name, t->path, errno_name(error));
}

void
tour_stage(const char *name, struct tour *t)
{
	struct thread *td = thread_create(name, PRI_KERNEL, stage_thread, t);

	if (td == NULL)
		printf("%s: no memory for a thread\n", name);
	else
		thread_join(td);
}

/* Is it there, and large enough? */
static bool
story_is_there(void)
{
	struct vnode *vp;
	uint64_t size;
	bool fits;

	if (namei(STORY, NULL, 0, &vp) != 0)
		return (false);
	fits = vp->v_type == VREG && vn_size(vp, &size) == 0 && size >= TOUR_PAGES_MIN * PAGE_SIZE;
	vrele(vp);
	return (fits);
}

bool
tour_choose(char *path, size_t size)
{
	if (rootfs == NULL) {
		printf("tour: no volume is mounted, so there is no file to fault in.\n");
		return (false);
	}
	if (story_is_there()) {
		strlcpy(path, STORY, size);
		return (true);
	}
	if (tour_find(path, size))
		return (true);
	printf("tour: this volume has neither %s nor another file of %u pages without holes.\n", STORY,
	    TOUR_PAGES_MIN);
	return (false);
}

bool
tour_draft(vm_size_t npages)
{
	const struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;
	int error;

	if (rootfs == NULL) {
		printf("tour: no volume is mounted, so there is nothing to write to.\n");
		return (false);
	}
	error = namei(TOUR_DRAFT, NULL, 0, &vp);
	if (error == ENOENT)
		error = vn_create(TOUR_DRAFT, &va, &vp);
	if (error == 0) {
		error = vn_truncate(vp, 0);
		if (error == 0)
			error = vn_truncate(vp, (off_t)(npages * PAGE_SIZE));
		vrele(vp);
	}
	if (error != 0)
		printf("tour: %s cannot be made: %s\n", TOUR_DRAFT, errno_name(error));
	return (error == 0);
}
