/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tour, chapter two: what happens between a program's store and the disk.
 *
 * Six acts on a file of the tour's own (/tour.draft; it stays, so that the host can look at it),
 * which is mapped shared:
 *
 *	1 write()		the bytes go into pages; no data goes to the disk
 *	2 fsync			blocks are found for them, and they are written
 *	3 a store		the page is mapped read-only: the first store faults, and it is dirty
 *	4 write() of a few	one sector of another page is dirty
 *	5 msync			the dirty sectors of the range are written, and nothing else
 *	6 the laundry		what nobody uses is written by a thread of its own
 *
 * In the end it says where each page lies on the disk and what it should hold there.
 */
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/tour_stage.h"
#include "vm/pmap.h"
#include "vm/vm_laundry.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_TOURWRITE, "tour text");

#define PAGES		16ul		/* of the draft */
#define WATCHED		2ul		/* of them, in the first act */
#define LINE_BYTES	64		/* of its text */
#define STORED		2ul		/* the page that is stored to */
#define WRITTEN		5ul		/* the page that write() changes in part */
#define WRITTEN_AT	1536		/* there: the fourth sector */
#define WRITTEN_LEN	100
#define LAUNDERED	8ul		/* the first of the pages that the laundry writes */
#define NLAUNDERED	4ul
#define PATIENCE	(20 * HZ)	/* ticks to wait for the laundry */

/* One page of text: 64 lines that say where they stand. */
static void
fill_page(char *text, vm_pindex_t page)
{
	char line[LINE_BYTES + 1];

	for (unsigned i = 0; i < PAGE_SIZE / LINE_BYTES; i++) {
		int n = snprintf(line, sizeof(line), "page %lu, line %u of the draft ", page, i);

		memset(line + n, '.', LINE_BYTES - 1 - n);
		line[LINE_BYTES - 1] = '\n';
		memcpy(text + i * LINE_BYTES, line, LINE_BYTES);
	}
}

/* ---- the acts ---- */

/* Write pages [first, end) of the text through write().  0 or an errno. */
static int
write_pages(struct tour *t, vm_pindex_t first, vm_pindex_t end)
{
	size_t len = IDX_TO_OFF(end - first), done;
	char *text = kmalloc(len, &M_TOURWRITE, M_WAITOK);
	int error;

	for (vm_pindex_t page = first; page < end; page++)
		fill_page(text + IDX_TO_OFF(page - first), page);
	error = vn_write(t->vp, text, len, IDX_TO_OFF(first), &done);
	kfree(text, &M_TOURWRITE);
	return (error == 0 && done < len ? EIO : error);
}

static bool
act_write(struct tour *t)
{
	int error;

	tour_heading(t, "write(): the bytes go into pages, and stay there");
	tour_watch_begin(t, NULL, NULL);
	error = write_pages(t, 0, WATCHED);
	tour_watch_end(t);
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	tour_note_act(t, "write");
	if (error == 0)
		error = write_pages(t, WATCHED, PAGES);
	if (error != 0) {
		printf("  write() fails: %s\n", errno_name(error));
		return (false);
	}
	printf("  The other %lu pages are written in the same way.\n", PAGES - WATCHED);
	tale_picture(&t->tale);
	return (true);
}

static bool
act_fsync(struct tour *t)
{
	int error;

	tour_heading(t, "fsync: the pages are written, then what leads to them");
	tour_watch_begin(t, NULL, NULL);
	error = vn_fsync(t->vp);
	tour_watch_end(t);
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	printf("  fsync says: %s\n", error == 0 ? "no error" : errno_name(error));
	tour_note_act(t, "fsync");
	return (error == 0);
}

static void
act_store(struct tour *t)
{
	vm_offset_t va = t->base + IDX_TO_OFF(STORED);
	char byte;

	tour_heading(t, "A store through the mapping: the first one to a clean page is seen");
	(void)copyin(va, &byte, 1);
	printf("  After a load, before the store:\n");
	tour_show_state(t, STORED);
	tour_watch(t, va, "STORED", 6);
	tour_tell(t);
	tour_show_state(t, STORED);
	tour_note_act(t, "store");
	printf("  The next store to the page:\n");
	tour_watch(t, va + LINE_BYTES, "STORED", 6);
	tale_tell(&t->tale);
	tour_show_page(t, STORED, true);
}

static void
act_partial(struct tour *t)
{
	char bytes[WRITTEN_LEN];
	size_t done;
	int error;

	tour_heading(t, "write() of 100 bytes: one sector of the page is dirty, not the page");
	memset(bytes, '=', sizeof(bytes));
	tour_watch_begin(t, NULL, NULL);
	error = vn_write(t->vp, bytes, sizeof(bytes), IDX_TO_OFF(WRITTEN) + WRITTEN_AT, &done);
	tour_watch_end(t);
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	if (error != 0)
		printf("  write() fails: %s\n", errno_name(error));
	tour_show_state(t, WRITTEN);
	tour_note_act(t, "write 100");
}

static void
act_msync(struct tour *t)
{
	int error;

	tour_heading(t, "msync of the mapping: the dirty sectors are written, and nothing else");
	tour_watch_begin(t, NULL, NULL);
	error = vm_msync(t->vm, t->base, t->len, MS_SYNC);
	tour_watch_end(t);
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	printf("  msync says: %s\n", error == 0 ? "no error" : errno_name(error));
	tour_show_state(t, STORED);
	tour_show_state(t, WRITTEN);
	tour_note_act(t, "msync");
}

/*
 * Four pages are stored to and put on the laundry queue, which is what reclaim does with idle dirty
 * pages; the laundry thread does the rest.
 */
static void
act_laundry(struct tour *t)
{
	struct vm_object *object = t->vp->v_object;
	uint64_t give_up;

	tour_heading(t, "The laundry: idle dirty pages are written, so that they can be had");
	for (vm_pindex_t page = LAUNDERED; page < LAUNDERED + NLAUNDERED; page++)
		(void)copyout("WASHED", t->base + IDX_TO_OFF(page), 6);
	for (vm_pindex_t page = LAUNDERED; page < LAUNDERED + NLAUNDERED; page++)
		tour_show_state(t, page);
	tour_watch_begin(t, object, NULL);
	vm_object_rlock(object);
	for (vm_pindex_t page = LAUNDERED; page < LAUNDERED + NLAUNDERED; page++) {
		struct vm_page *m = vm_page_lookup(object, page);

		if (m != NULL)
			vm_page_launder(m);
	}
	vm_object_unlock(object);
	vm_laundry_wakeup();
	give_up = ticks + PATIENCE;
	/* An unlocked look: a number that is old costs a tick. */
	while (*(volatile uint32_t *)&object->dirty_count > 0 && ticks < give_up)
		(void)tsleep(t, NULL, "tourwt", 1);
	/* Its own last words, too. */
	vm_object_lock(object);
	while (object->paging_in_progress > 0) {
		vm_object_unlock(object);
		(void)tsleep(t, NULL, "tourwt", 1);
		vm_object_lock(object);
	}
	vm_object_unlock(object);
	tour_watch_end(t);
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	for (vm_pindex_t page = LAUNDERED; page < LAUNDERED + NLAUNDERED; page++)
		tour_show_state(t, page);
	tour_note_act(t, "laundry");
}

/* Where each page lies, and the checksum that whoever reads the disk there must get. */
static void
show_disk(const struct tour *t)
{
	uint32_t bsize = t->vp->v_mount->mnt_stat.f_iosize;

	printf("\n---- On the disk, where the host can look now\n");
	for (vm_pindex_t page = 0; page < PAGES; page++) {
		struct page_look look = tour_look_at(t->vp->v_object, page);
		uint64_t byte = IDX_TO_OFF(page);
		struct bmap bm;
		int error;

		VOP_LOCK(t->vp, LK_SHARED);
		error = VOP_BMAP(t->vp, (daddr_t)(byte / bsize), NULL, &bm);
		VOP_UNLOCK(t->vp);
		if (error != 0 || bm.hole || !look.there)
			printf("  page %lu: %s\n", page, error != 0 ? errno_name(error) :
			    bm.hole ? "a hole" : "not in memory");
		else
			printf("  page %lu: sector %lu of %s, crc32 %08x\n", page,
			    bm.blkno + byte % bsize / DEV_BSIZE, t->vp->v_mount->mnt_stat.f_mntfromname,
			    look.crc);
	}
}

static void
play_write(struct tour *t)
{
	printf("\nThe tour, chapter two: what happens between a store and the disk.\n");
	printf("%s is inode %lu of %s: %lu pages, all of them a hole, in blocks of %u bytes.\n"
	    "It is mapped at 0x%lx-0x%lx, shared, in the address space of thread %s.\n",
	    t->path, t->vp->v_ino, t->vp->v_mount->mnt_stat.f_mntfromname, OFF_TO_IDX(t->size),
	    t->vp->v_mount->mnt_stat.f_iosize, t->base, t->base + t->len, curthread->name);
	if (!act_write(t) || !act_fsync(t)) {
		printf("The file cannot be written, so the tour ends here.\n");
		return;
	}
	act_store(t);
	act_partial(t);
	act_msync(t);
	act_laundry(t);
	show_disk(t);
	tour_sum_up(t);
}

void
tour_write(void)
{
	struct tour t = { .path = TOUR_DRAFT, .play = play_write, .flags = MAP_SHARED };

	if (tour_draft(PAGES))
		tour_stage("tour", &t);
}
