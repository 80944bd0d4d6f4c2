/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's commands about the kernel's own state.  They print what the modules print about
 * themselves, or walk what the modules let others walk; where a walk may not sleep, it takes
 * notes and prints them afterwards.
 */
#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lockorder.h"
#include "kernel/lockstat.h"
#include "kernel/malloc.h"
#include "kernel/monitor.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_check.h"
#include "vm/vm_kern.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

static MALLOC_DEFINE(M_VIEW, "monitor views");

#define OBJECTS_MAX	64		/* lines of `objects` */
#define PICTURE_CELLS	1024ul		/* of `pages` */
#define PICTURE_WIDTH	64ul
#define TRACE_LINES	40
#define TRACE_BATCH	8

/* ---- objects and pages ---- */

struct object_note {
	const void	*object, *backing;
	enum obj_type	 type;
	bool		 cached;
	uint32_t	 resident;
	vm_pindex_t	 size;
	int		 refs, shadows;
	ino_t		 ino;
};

struct object_notes {
	unsigned	 n;
	uint64_t	 left_out;
	struct object_note note[OBJECTS_MAX];
};

/* => the object list's lock held: takes a note, prints nothing. */
static void
note_object(struct vm_object *object, void *arg)
{
	struct object_notes *notes = arg;
	const struct vnode *vp = object->type == OBJT_VNODE ? object->handle : NULL;

	if (notes->n == OBJECTS_MAX) {
		notes->left_out++;
		return;
	}
	notes->note[notes->n++] = (struct object_note){.object = object,
	    .backing = object->backing_object,
	    .type = object->type,
	    .cached = object->cached,
	    .resident = object->resident_page_count,
	    .size = object->size,
	    .refs = object->ref_count,
	    .shadows = object->shadow_count,
	    .ino = vp != NULL ? vp->v_ino : 0};
}

void
cmd_objects(int argc, char **argv)
{
	static const char *const types[OBJT_COUNT] = {
		[OBJT_DEFAULT] = "anonymous", [OBJT_VNODE] = "vnode", [OBJT_TEST] = "test",
		[OBJT_DEAD] = "dead"
	};
	struct object_notes *notes = kmalloc(sizeof(*notes), &M_VIEW, M_WAITOK | M_ZERO);

	vm_object_foreach(note_object, notes);
	printf("%-18s %-9s %8s %8s %5s %7s  %s\n", "object", "type", "pages", "resident", "refs",
	    "shadows", "of");
	for (unsigned i = 0; i < notes->n; i++) {
		const struct object_note *o = &notes->note[i];

		printf("%-18p %-9s %8lu %8u %5d %7d ", o->object, types[o->type], o->size,
		    o->resident, o->refs, o->shadows);
		if (o->ino != 0)
			printf(" inode %lu", o->ino);
		if (o->backing != NULL)
			printf(" shadows %p", o->backing);
		printf("%s\n", o->cached ? " cached" : "");
	}
	if (notes->left_out > 0)
		printf("and %lu more\n", notes->left_out);
	kfree(notes, &M_VIEW);
}

static char
frame_glyph(const struct vm_page *m)
{
	switch (m->queue) {
	case PQ_FREE:
		return ('.');
	case PQ_ZERO:
		return ('0');
	case PQ_INACTIVE:
		return ('i');
	case PQ_ACTIVE:
		return ('A');
	case PQ_LAUNDRY:
		return ('L');
	default:
		return (m->wire_count > 0 ? 'W' : 'b');
	}
}

/* One character for several frames: what most of the used ones are; if none is used, of all. */
static char
frames_glyph(uint32_t first, uint32_t count)
{
	static const char glyphs[] = "iALWb.0";
	enum { USED = 5 };	/* the first of them mean pages in use */
	uint32_t seen[sizeof(glyphs)] = { 0 };
	size_t best = 0;

	for (uint32_t i = first; i < first + count; i++)
		seen[strchr(glyphs, frame_glyph(&vm_page_array[i])) - glyphs]++;
	for (size_t i = 1; glyphs[i] != '\0'; i++) {
		if (i == USED && seen[best] > 0)
			break;
		if (seen[i] > seen[best])
			best = i;
	}
	return (glyphs[best]);
}

void
cmd_pages(int argc, char **argv)
{
	uint32_t step = (uint32_t)MAX(1ul, howmany((uint64_t)vm_page_count, PICTURE_CELLS));
	uint32_t cell = 0;

	for (uint32_t i = 0; i < vm_page_count; i += step, cell++) {
		if (cell % PICTURE_WIDTH == 0)
			printf("%s  %010lx ", cell > 0 ? "\n" : "",
			    VM_PAGE_TO_PHYS(&vm_page_array[i]));
		printf("%c", frames_glyph(i, MIN(step, vm_page_count - i)));
	}
	printf("\n  one sign is %u page%s of RAM, or what most of its used pages are:\n", step,
	    step == 1 ? "" : "s");
	printf("  . free  0 zeroed  i inactive  A active  L laundry  W wired (the kernel's)  b busy\n");
}

void
cmd_queues(int argc, char **argv)
{
	printf("%u pages of RAM\n", vm_page_count);
	for (int q = PQ_FREE; q < PQ_COUNT; q++)
		printf("  %-9s %8u\n", vm_pageq_name((unsigned)q), vm_page_queue_len(q));
	printf("free pages: %u now\n", vm_free_count());
	printf("  %8u  reclaim's goal\n", vm_ladder.target);
	printf("  %8u  below: reclaim runs, allocators wait\n", vm_ladder.min);
	printf("  %8u  below: only for reclaim itself\n", vm_ladder.reserved);
	printf("  %8u  below: only for interrupts\n", vm_ladder.interrupt_min);
}

void
cmd_vmstat(int argc, char **argv)
{
	vm_meter_print();
}

static void
note_vmspace(struct vmspace *vm, void *arg)
{
	++*(uint64_t *)arg;
	printf("address space %p: %lu pages mapped, %lu page-table pages\n", vm,
	    vm->pmap.resident_count, vm->pmap.ptp_count);
	vm_map_print(&vm->map);
}

void
cmd_maps(int argc, char **argv)
{
	uint64_t n = 0;

	vmspace_foreach(note_vmspace, &n);
	if (n == 0)
		printf("There is no address space now; tour, fault and mapsum make one and free it.\n");
}

/* ---- threads, disks, volumes, memory ---- */

void
cmd_threads(int argc, char **argv)
{
	struct intr_stat is;

	threads_print();
	printf("interrupts:\n");
	for (unsigned i = 0; intr_stat_get(i, &is); i++)
		printf("  vector 0x%02x  %-12s %10lu\n", is.vector, is.name, is.count);
}

void
cmd_locks(int argc, char **argv)
{
	static struct lockstat stats[LOCKSTAT_MAX];	/* too large for the stack; there is one monitor */
	unsigned n;

	if (argc > 1 && !streq(argv[1], "order")) {
		printf("locks: `%s` is not `order`\n", argv[1]);
	} else if (argc > 1) {
		lockorder_print();
	} else {
		n = lockstat_take(stats);
		lockstat_sort(stats, n);
		lockstat_print(stats, n);
	}
}

void
cmd_disks(int argc, char **argv)
{
	if (disk_next(NULL) == NULL)
		printf("There is no disk.\n");
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		const struct disk_stats *st = &dk->dk_stats;

		printf("%s: %lu KiB in sectors of %u%s; up to %u KiB a request\n", dk->dk_name,
		    dk->dk_nsectors * DEV_BSIZE / KiB, dk->dk_sectorsize,
		    dk->dk_readonly ? ", read-only" : "", (unsigned)(dk->dk_maxsize / KiB));
		if (dk->dk_whole != NULL)
			printf("  a part of %s, from its sector %lu on\n", dk->dk_whole->dk_name, dk->dk_first);
		if (dk->dk_use != NULL)
			printf("  in use: %s\n", dk->dk_use);
		printf("  %8lu reads, %lu sectors\n", st->reads, st->sectors_read);
		printf("  %8lu writes, %lu sectors\n", st->writes, st->sectors_written);
		printf("  %8lu flushes\n  %8lu errors\n", st->flushes, st->errors);
		printf("  %8lu in flight, at most %lu\n", st->inflight, st->inflight_max);
	}
}

void
cmd_kmem(int argc, char **argv)
{
	kmalloc_print();
	printf("kernel addresses in use: %lu KiB of %lu KiB\n", kva_inuse() / KiB, KVA_SIZE / KiB);
}

/* ---- trace, caches, laws ---- */

/* The last `n` events that the rings still have: counted first, then printed. */
static void
show_trace(uint64_t n)
{
	struct trace_event events[TRACE_BATCH];
	struct trace_place from = { 0 }, end;
	uint64_t total = 0, at = 0;
	size_t got;

	trace_now(&end);
	while ((got = trace_read(&from, &end, events, TRACE_BATCH)) > 0)
		total += got;
	from = (struct trace_place){ 0 };
	while ((got = trace_read(&from, &end, events, TRACE_BATCH)) > 0)
		for (size_t i = 0; i < got; i++)
			if (at++ + n >= total)
				trace_print(&events[i]);
	if (total == 0)
		printf("Nothing has been recorded; trace on begins to.\n");
}

void
cmd_trace(int argc, char **argv)
{
	uint64_t n = TRACE_LINES, types = TRACE_ALL;

	if (streq(argv[1], "show")) {
		if (argc < 3 || monitor_number(argv[0], argv[2], &n))
			show_trace(n);
	} else if (streq(argv[1], "on")) {
		if (argc == 3)
			types = trace_types_named(argv[2]);
		if (types == 0)
			printf("trace: no type of event is called `%s`\n", argv[2]);
		else
			(void)trace_set(types);
	} else if (argc == 2 && streq(argv[1], "off")) {
		(void)trace_set(0);
	} else {
		printf("usage: trace on [GLOB]|off|show [N]\n");
	}
}

void
cmd_drop(int argc, char **argv)
{
	uint32_t before = vm_free_count();

	(void)vm_object_cache_shrink(SIZE_MAX, true);
	while (vnode_shrink(1000) > 0)
		;
	(void)bio_shrink(SIZE_MAX);
	kmem_reap();
	printf("%u pages were free, %u are now\n", before, vm_free_count());
}

void
cmd_check(int argc, char **argv)
{
	vm_check();
	kmalloc_check();
	printf("all laws hold: %u pages, %lu objects, %lu mappings, %lu allocations\n",
	    vm_page_count, vm_object_count(), pmap_pv_count(), kmalloc_inuse());
}
