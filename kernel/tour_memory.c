/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tour, chapter three: memory runs short.
 *
 * Pages of every kind are made, then memory is taken away until reclaim has had them all:
 *
 *	of the file, clean	freed at once: the disk has them
 *	of the file, dirty	laundered, then freed
 *	anonymous, dirty	written to the swap disk, if there is one; else they stay
 *
 *	1 page-out		what reclaim, the laundry and swap-out do about it
 *	2 a file's page		comes back from the volume, with the store that was made to it
 *	3 an anonymous page	comes back from the swap disk
 *
 * The memory is taken by a ballast of wired pages, never below the step of the ladder at which
 * reclaim begins, so everybody else has what they need.
 */
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/tour_stage.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"

#define PAGES		16ul		/* of the draft, and of anonymous memory */
#define DIRTY		8ul		/* the first page of the file that is stored to */
#define BACK		9ul		/* the page of either that is asked for in the end */
#define PATIENCE	(60 * HZ)	/* ticks to wait for reclaim */

struct ballast {
	struct vm_page	*first;		/* linked by pindex, which means nothing without an object */
	uint64_t	 npages;
};

/* Take free pages until reclaim has to begin. */
static void
ballast_take(struct ballast *b)
{
	struct vm_page *m;

	while (vm_free_count() >= vm_ladder.min &&
	    (m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED)) != NULL) {
		m->pindex = (vm_pindex_t)b->first;
		b->first = m;
		b->npages++;
	}
	vm_pageout_poll();
}

static void
ballast_drop(struct ballast *b)
{
	struct vm_page *m;

	while ((m = b->first) != NULL) {
		b->first = (struct vm_page *)m->pindex;
		m->pindex = 0;
		vm_page_free(m);
	}
}

/* How many pages of an object are resident: an unlocked look. */
static uint32_t
resident(const struct vm_object *object)
{
	return (*(const volatile uint32_t *)&object->resident_page_count);
}

/* A picture of both objects. */
static void
picture(struct tour *t, vm_offset_t anon)
{
	t->tale.va = t->base;
	tale_picture(&t->tale);
	t->tale.va = anon;
	tale_picture(&t->tale);
}

/* Fill the file and put it on disk; then load half of it and store to the other half. */
static int
make_pages(struct tour *t, vm_offset_t *anon)
{
	uint64_t value = 0;
	int error;

	for (vm_pindex_t page = 0; page < PAGES && value == 0; page++)
		value += copyout("A page of the draft.\n", t->base + IDX_TO_OFF(page), 21) != 0;
	error = value != 0 ? EFAULT : vn_fsync(t->vp);
	*anon = t->base;
	if (error == 0)
		error = vm_mmap(t->vm, anon, PAGES * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);
	for (vm_pindex_t page = 0; page < PAGES && error == 0; page++) {
		value = 0xfa000 + page;
		if (page >= DIRTY)
			error = copyout(&value, t->base + IDX_TO_OFF(page), sizeof(value));
		if (error == 0)
			error = copyout(&value, *anon + IDX_TO_OFF(page), sizeof(value));
	}
	return (error);
}

static void
act_pageout(struct tour *t, vm_offset_t anon)
{
	struct vm_object *file = t->vp->v_object, *memory;
	struct ballast ballast = { 0 };
	uint64_t give_up = ticks + PATIENCE;
	struct swap_info swap;
	vm_pindex_t pindex;

	memory = tour_top_object(t, anon, &pindex);
	swap_info(&swap);
	tour_heading(t, "Page-out: memory is taken away until these pages have gone");
	picture(t, anon);
	printf("  free pages: %u; reclaim begins below %u and ends at %u\n", vm_free_count(),
	    vm_ladder.min, vm_ladder.target);
	tour_watch_begin(t, file, memory);
	while ((resident(file) > 0 || (swap.disk != NULL && resident(memory) > 0)) && ticks < give_up) {
		ballast_take(&ballast);
		(void)tsleep(t, NULL, "tourwt", 1);
		tour_watch_more(t);
	}
	tour_watch_end(t);
	ballast_drop(&ballast);
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	picture(t, anon);
	if (resident(memory) > 0)
		printf("  %u anonymous pages stay: %s\n", resident(memory), swap.disk == NULL ?
		    "there is no swap disk (--disk, and the word swap=vdb)" : "reclaim took too long");
	tour_note_act(t, "page-out");
}

/* One page is asked for again: does it hold what was stored? */
static void
act_back(struct tour *t, vm_offset_t base, const char *title, const char *name)
{
	vm_offset_t va = base + IDX_TO_OFF(BACK);
	uint64_t value = 0;
	int error;

	tour_heading(t, title);
	tour_watch(t, va, NULL, 1);
	tour_tell(t);
	error = copyin(va, &value, sizeof(value));
	if (error != 0)
		printf("  the page cannot be had\n");
	else
		printf("  it holds 0x%lx; 0x%lx was stored: %s\n", value, 0xfa000 + BACK,
		    value == 0xfa000 + BACK ? "the same" : "NOT THE SAME");
	tour_note_act(t, name);
}

static void
play_memory(struct tour *t)
{
	struct swap_info swap;
	vm_offset_t anon;
	int error = make_pages(t, &anon);

	swap_info(&swap);
	printf("\nThe tour, chapter three: memory runs short.\n");
	if (error != 0) {
		printf("The pages cannot be made: %s\n", errno_name(error));
		return;
	}
	printf("%s is mapped at 0x%lx, shared; pages 0-%lu have been stored to and written, pages\n"
	    "%lu-%lu have been stored to since.  %lu pages of anonymous memory lie at 0x%lx.\n"
	    "Swap: %s\n", t->path, t->base, DIRTY - 1, DIRTY, PAGES - 1, PAGES, anon,
	    swap.disk != NULL ? swap.disk : "none");
	act_pageout(t, anon);
	act_back(t, t->base, "A page of the file is asked for again", "file's page");
	act_back(t, anon, "A page of anonymous memory is asked for again", "anonymous");
	tour_sum_up(t);
}

void
tour_memory(void)
{
	struct tour t = { .path = TOUR_DRAFT, .play = play_memory, .flags = MAP_SHARED };

	if (tour_draft(PAGES))
		tour_stage("tour", &t);
}
