/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tour, chapter one: what happens between a program's load and the disk, shown on this machine,
 * now.
 *
 * Four acts on one page of a file that is mapped private:
 *
 *	1 a cold fault		nothing is in memory: the pager reads the page and neighbours
 *	2 the same again	the mapping was taken away, the page is there: no I/O
 *	3 a neighbour		came along with act 1, and was mapped with it
 *	4 a private write	the page is copied to a shadow object; the file's stays as it is
 *
 * Only the file's pages stay behind, in the object cache, as after any use.
 */
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/main.h"
#include "kernel/tour_stage.h"
#include "vm/pmap.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

#define TOUR_PAGE	2ul		/* the page of the acts; others lie before and behind it */
#define COLD_FAULTS	20		/* at most; the last of them is told */

/* ---- the acts ---- */

/*
 * Free the file's resident pages, so that the next access finds none.  What is wired or changed
 * stays.
 * => sleeps
 */
static void
forget_pages(struct vm_object *object)
{
	struct vm_page *m;
	vm_pindex_t at = 0;

	vm_object_lock(object);
	while ((m = vm_page_find_least(object, at)) != NULL) {
		at = m->pindex + 1;
		m = vm_page_busy_acquire(object, m->pindex, "tourcd");
		if (m == NULL)
			continue;
		pmap_page_protect(m, VM_PROT_READ);
		vm_page_test_dirty(m);
		if (m->wire_count > 0 || m->dirty != 0)
			vm_page_xunbusy(m);
		else
			vm_page_free(m);
	}
	vm_object_unlock(object);
}

/*
 * The first cold fault is a rehearsal: an emulator translates code when it first runs, and the
 * times told would be those of the translation.  A disk whose answer is there before the thread
 * gets to sleep for it is given a few more chances to be a disk.  Each time the mapping is made
 * anew, for the fault handler learns from a mapping's history.  What is told happened as it is
 * told.
 *
 * => false: the page cannot be had, and the tour ends.
 */
static bool
act_cold(struct tour *t)
{
	unsigned n = 0;

	tour_heading(t, "A cold fault: one byte is read, and nothing of the file is in memory");
	do {
		n++;
		forget_pages(t->vp->v_object);
		(void)vm_mmap(t->vm, &t->base, t->len, VM_PROT_READ | VM_PROT_WRITE,
		    MAP_PRIVATE | MAP_FIXED, t->vp, 0);
		tour_watch(t, t->base + IDX_TO_OFF(TOUR_PAGE), NULL, 1);
	} while (!t->tale.refused && tale_requests(&t->tale) > 0 && n < COLD_FAULTS &&
	    (n == 1 || !tale_slept(&t->tale)));
	if (n > 1)
		printf("  (cold fault number %u: one to warm the emulator up, then until the thread had to "
		    "sleep)\n", n);
	tour_tell(t);
	if (t->tale.refused)
		return (false);
	printf("The first line that begins in the page:\n");
	tour_show_page(t, TOUR_PAGE, false);
	tour_note_act(t, "cold fault");
	return (true);
}

static void
act_again(struct tour *t)
{
	vm_offset_t va = t->base + IDX_TO_OFF(TOUR_PAGE);
	bool mapped = pmap_extract(&t->vm->pmap, va) != 0;

	tour_heading(t, "The same byte again, after pmap_remove: the page is there, its mapping is not");
	pmap_remove(&t->vm->pmap, va, va + PAGE_SIZE);
	printf("  0x%lx was %s, and now is %s\n", va, mapped ? "mapped" : "not mapped",
	    pmap_extract(&t->vm->pmap, va) != 0 ? "mapped" : "not mapped");
	tour_watch(t, va, NULL, 1);
	tour_tell(t);
	tour_note_act(t, "soft fault");
}

/* The page behind, or the one before if only that one came along. */
static void
act_neighbour(struct tour *t)
{
	vm_pindex_t page = TOUR_PAGE + 1;
	vm_paddr_t pa;

	if (pmap_extract(&t->vm->pmap, t->base + IDX_TO_OFF(page)) == 0 &&
	    pmap_extract(&t->vm->pmap, t->base + IDX_TO_OFF(TOUR_PAGE - 1)) != 0)
		page = TOUR_PAGE - 1;
	tour_heading(t, "A neighbour that nobody has touched yet");
	pa = pmap_extract(&t->vm->pmap, t->base + IDX_TO_OFF(page));
	if (pa != 0)
		printf("  page %lu, at 0x%lx, is mapped already: to frame 0x%lx\n", page,
		    t->base + IDX_TO_OFF(page), pa >> PAGE_SHIFT);
	else
		printf("  page %lu, at 0x%lx, is not mapped: it did not come along\n", page,
		    t->base + IDX_TO_OFF(page));
	tour_watch(t, t->base + IDX_TO_OFF(page), NULL, 1);
	tour_tell(t);
	printf("  disk requests since boot: %lu before, %lu after\n", t->tale.before.requests,
	    t->tale.after.requests);
	tour_note_act(t, "neighbour");
}

/* Both pages of a copied one, side by side. */
static void
compare_pages(const struct tour *t, vm_offset_t va, const struct page_look *before)
{
	vm_pindex_t pindex;
	struct vm_object *top = tour_top_object(t, va, &pindex);
	struct page_look file = tour_look_at(t->vp->v_object, TOUR_PAGE),
			 mine = tour_look_at(top, pindex);

	if (top == t->vp->v_object || !mine.there) {
		printf("  no copy was made\n");
		return;
	}
	printf("  the private copy:    frame 0x%x, crc32 %08x; 0x%lx now shows frame 0x%lx\n",
	    mine.pfn, mine.crc, trunc_page(va), pmap_extract(&t->vm->pmap, va) >> PAGE_SHIFT);
	if (before->there && file.there)
		printf("  the file's own page: frame 0x%x, crc32 %08x before and %08x after: %s\n",
		    file.pfn, before->crc, file.crc,
		    before->crc == file.crc ? "unchanged" : "CHANGED");
	else
		printf("  the file's own page is not in memory any more\n");
}

static void
act_private_write(struct tour *t)
{
	vm_offset_t page_va = t->base + IDX_TO_OFF(TOUR_PAGE);
	struct page_look before = tour_look_at(t->vp->v_object, TOUR_PAGE);
	char buf[TEXT_BYTES];
	size_t at = 0;

	tour_heading(t, "A private write: the page is copied, and the file keeps its own");
	if (copyin(page_va, buf, sizeof(buf)) == 0)
		at = tour_line_start(TOUR_PAGE, buf, sizeof(buf));
	tour_watch(t, page_va + at, "MINE", 4);
	tour_tell(t);
	if (t->tale.refused)
		return;
	compare_pages(t, page_va, &before);
	tour_show_page(t, TOUR_PAGE, true);
	tour_note_act(t, "private write");
}

static void
play_acts(struct tour *t)
{
	if (t->size < TOUR_PAGES_MIN * PAGE_SIZE) {
		printf("tour: %s has %lu bytes; the tour wants a file of at least %u pages.\n",
		    t->path, t->size, TOUR_PAGES_MIN);
		return;
	}
	printf("\nThe tour: what happens between a load and the disk.  Times begin at the trap.\n");
	printf("%s is inode %lu of %s: %lu bytes, %lu pages, in blocks of %u bytes.\n"
	    "It is mapped at 0x%lx-0x%lx, private, in the address space of thread %s.\n",
	    t->path, t->vp->v_ino, t->vp->v_mount->mnt_stat.f_mntfromname, t->size,
	    OFF_TO_IDX(round_page(t->size)), t->vp->v_mount->mnt_stat.f_iosize, t->base,
	    t->base + t->len, curthread->name);
	if (!act_cold(t)) {
		printf("The page cannot be had, so the tour ends here.\n");
		return;
	}
	act_again(t);
	act_neighbour(t);
	act_private_write(t);
	tour_sum_up(t);
	printf("\nThat was reading.  `tour write` follows a store to the disk, `tour memory` shows what happens\n"
	    "when memory runs short, `tour truncate` cuts a file under its mapping.\n");
}

/* tour_fault(): one access, as it comes. */
static void
play_fault(struct tour *t)
{
	vm_offset_t va = t->base + t->offset;

	printf("%s is inode %lu, %lu bytes; byte %lu is mapped at 0x%lx\n", t->path, t->vp->v_ino,
	    t->size, t->offset, va);
	tour_watch(t, va, t->write ? "!" : NULL, 1);
	tour_tell(t);
}

/* ---- from outside ---- */

static const struct {
	const char	*name;
	void		(*play)(void);
} chapters[] = {
	{ "write", tour_write },
	{ "memory", tour_memory },
	{ "truncate", tour_truncate },
};

void
tour_play(const char *chapter_or_path)
{
	struct tour t = { .path = chapter_or_path, .play = play_acts, .flags = MAP_PRIVATE };
	char chosen[256];

	for (size_t i = 0; i < nitems(chapters) && chapter_or_path != NULL; i++) {
		if (streq(chapters[i].name, chapter_or_path)) {
			chapters[i].play();
			return;
		}
	}
	if (rootfs == NULL || chapter_or_path == NULL) {
		if (!tour_choose(chosen, sizeof(chosen)))
			return;
		t.path = chosen;
	}
	tour_stage("tour", &t);
}

void
tour_fault(const char *path, uint64_t offset, bool write)
{
	struct tour t = {
		.path = path, .play = play_fault, .flags = MAP_PRIVATE, .offset = offset, .write = write
	};

	tour_stage("fault", &t);
}

void
tour_main(void)
{
	const char *what = cmdline_get("tour");

	tour_play(what != NULL && what[0] != '\0' ? what : NULL);
}
