/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tour, chapter four: a file is truncated while it is mapped.
 *
 *	1 before	two pages are mapped: one that will be cut in the middle, one that will go
 *	2 truncated	the new size first, then the pages: gone, unmapped; the cut page ends in zeros
 *	3 a load	of what is cut off: SIGBUS
 *	4 grown again	the same load: zeros, for what was there is gone for good
 */
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/tour_stage.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

#define PAGES		8ul
#define CUT		3ul		/* the page that is cut ... */
#define CUT_AT		100ul		/* ... here */
#define GONE		5ul		/* a page that goes */

static const char words[] = "These words fill the page.  ";

static int
fill(struct tour *t)
{
	char page[PAGE_SIZE / 4];
	int error = 0;

	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = words[i % (sizeof(words) - 1)];
	for (vm_offset_t at = 0; at < PAGES * PAGE_SIZE && error == 0; at += sizeof(page))
		error = copyout(page, t->base + at, sizeof(page));
	return (error != 0 ? error : vn_fsync(t->vp));
}

/* How many bytes of the cut page are not zero, as the mapping shows it. */
static unsigned
bytes_left(struct tour *t)
{
	unsigned left = 0;
	char byte;

	for (vm_offset_t at = 0; at < PAGE_SIZE; at++)
		left += copyin(t->base + IDX_TO_OFF(CUT) + at, &byte, 1) == 0 && byte != 0;
	return (left);
}

static void
show_both(struct tour *t)
{
	tour_show_state(t, CUT);
	tour_show_state(t, GONE);
	printf("  the object has %lu pages and %ld bytes; page %lu has %u bytes that are not zero\n",
	    t->vp->v_object->size, t->vp->v_object->un_pager.vnp.vnp_size, CUT, bytes_left(t));
}

/* Watch the size change.  0 or an errno, which has been told. */
static int
resize(struct tour *t, off_t size)
{
	int error;

	tour_watch_begin(t, NULL, NULL);
	error = vn_truncate(t->vp, size);
	tour_watch_end(t);
	tale_tell(&t->tale);
	if (error != 0)
		printf("  it fails: %s\n", errno_name(error));
	return (error);
}

static void
play_truncate(struct tour *t)
{
	char byte = 'x';
	int error = fill(t);

	printf("\nThe tour, chapter four: %s is truncated while it is mapped at 0x%lx.\n", t->path, t->base);
	if (error != 0) {
		printf("The file cannot be filled: %s\n", errno_name(error));
		return;
	}
	tour_heading(t, "Before: both pages have been loaded from");
	(void)copyin(t->base + IDX_TO_OFF(CUT), &byte, 1);
	(void)copyin(t->base + IDX_TO_OFF(GONE), &byte, 1);
	show_both(t);
	tour_note_act(t, "before");

	tour_heading(t, "Truncated to 3 pages and 100 bytes");
	if (resize(t, (off_t)(IDX_TO_OFF(CUT) + CUT_AT)) != 0)
		return;
	show_both(t);
	tour_note_act(t, "truncated");

	tour_heading(t, "A load of what was cut off");
	tour_watch(t, t->base + IDX_TO_OFF(GONE), NULL, 1);
	tale_tell(&t->tale);
	tour_note_act(t, "refused");

	tour_heading(t, "Grown to 8 pages again, and the same load");
	if (resize(t, (off_t)(PAGES * PAGE_SIZE)) != 0)
		return;
	tour_watch(t, t->base + IDX_TO_OFF(GONE), NULL, 1);
	tale_tell(&t->tale);
	(void)copyin(t->base + IDX_TO_OFF(GONE), &byte, 1);
	printf("  the byte is %d\n", byte);
	show_both(t);
	tour_note_act(t, "grown");
	tour_sum_up(t);
}

void
tour_truncate(void)
{
	struct tour t = { .path = TOUR_DRAFT, .play = play_truncate, .flags = MAP_SHARED };

	if (tour_draft(PAGES))
		tour_stage("tour", &t);
}
