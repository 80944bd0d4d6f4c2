/* SPDX-License-Identifier: BSD-2-Clause */
/* The tour's stage: what its chapters share.  See tour_stage.c. */
#ifndef KERNEL_TOUR_STAGE_H
#define KERNEL_TOUR_STAGE_H

#include "kernel/tour.h"
#include "kernel/trace.h"
#include "vm/vm.h"

#define ACTS_MAX	8
#define TEXT_BYTES	224		/* looked at for a line of text */
#define TOUR_DRAFT	"/tour.draft"	/* the file that the chapters about writing make */

struct act {
	const char	*name;
	uint64_t	 faults, requests, sectors, ns;
};

/* All of it is the tour's own thread's, but where said otherwise. */
struct tour {
	const char	*path;
	void		(*play)(struct tour *);
	int		 flags;		/* MAP_PRIVATE or MAP_SHARED */
	uint64_t	 offset;	/* tour_fault(): the byte */
	bool		 write;

	struct vnode	*vp;		/* referenced */
	uint64_t	 size;		/* of the file, bytes */
	struct vmspace	*vm;
	vm_offset_t	 base;		/* byte 0 of the file is mapped here */
	vm_size_t	 len;		/* bytes mapped */
	struct tale	 tale;		/* of what was watched last */
	struct act	 acts[ACTS_MAX];
	unsigned	 nacts;

	volatile bool	 stop;		/* (any) the bystander's order to end */
	volatile uint64_t counted;	/* (bystander) how far it has counted */
};

/* Play t->play on t->path in a thread of this name, and wait for its end.  => sleeps */
void tour_stage(const char *name, struct tour *t);
/* The file to play on when none is given.  false: there is none, and so it was said.  => sleeps */
bool tour_choose(char *path, size_t size);
/*
 * Make TOUR_DRAFT anew: `npages` long and all of it a hole.
 * => sleeps.  false: it cannot be made, and so it was said.
 */
bool tour_draft(vm_size_t npages);

/* ---- watching ---- */

/*
 * Touch memory at `va`: write `len` bytes of `data`, or read one byte (data NULL).  The tale is
 * in t->tale.
 */
void tour_watch(struct tour *t, vm_offset_t va, const void *data, size_t len);
/*
 * Watch what happens from here to tour_watch_end(): of this thread, or, with an object (or two), of
 * all threads what concerns it.  tour_watch_more() empties the ring into the tale meanwhile.
 */
void tour_watch_begin(struct tour *t, struct vm_object *about, struct vm_object *and_about);
void tour_watch_more(struct tour *t);
void tour_watch_end(struct tour *t);

/* ---- telling ---- */

void tour_heading(const struct tour *t, const char *title);
void tour_tell(const struct tour *t);		/* what was seen, in words, and the picture */
void tour_note_act(struct tour *t, const char *name);	/* for the sum */
void tour_sum_up(const struct tour *t);

/* Where the first line begins that begins in this page; 0 if it is not text. */
size_t tour_line_start(vm_pindex_t page, const char *buf, size_t len);
/* The beginning of a page as the mapping shows it, and as VOP_READ does. */
void tour_show_page(const struct tour *t, vm_pindex_t page, bool file_too);

/* A page of an object, looked at: its frame, a checksum of what is in it, its sectors. */
struct page_look {
	bool		there;
	uint32_t	pfn, crc;
	uint8_t		dirty, queue;
};
struct page_look tour_look_at(struct vm_object *object, vm_pindex_t pindex);
/* The state of one page of the file in a line, and of the page of memory that is mapped to it. */
void tour_show_state(const struct tour *t, vm_pindex_t page);
/*
 * The object on top at `va`, and the page's index in it.  Ours alone: nobody else changes this map.
 */
struct vm_object *tour_top_object(const struct tour *t, vm_offset_t va, vm_pindex_t *pindex);

#endif
