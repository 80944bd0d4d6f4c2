/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tour: page faults on a file, made to happen, watched, and told.
 *
 *	tour.c		the stage: a thread with an address space, a file mapped in it, four acts
 *	tour_find.c	which file
 *	tour_print.c	the teller: turns a tale into text
 *
 * A tale is one access to memory and everything that was recorded while it lasted: the events of
 * the trace, the counters before and after.  The teller prints what is in the tale and in the
 * live structures, and nothing else; if something did not happen, no line says that it did.
 */
#ifndef KERNEL_TOUR_H
#define KERNEL_TOUR_H

#include "kernel/lib/types.h"
#include "kernel/thread.h"
#include "vm/vm_meter.h"

struct trace_event;
struct vmspace;
struct vnode;

#define TALE_EVENTS	320		/* the longest cold fault takes about half */
#define TALE_SOURCES	8		/* interrupt sources told apart */

/* Counters, read before and after an access. */
struct tale_counts {
	struct vmmeter	vm;
	uint64_t	requests, sectors;	/* of all disks; 512-byte units */
	uint64_t	interrupts[TALE_SOURCES]; /* by intr_stat_get()'s index */
	uint64_t	bystander;		/* how far the other thread has counted */
};

struct tale {
	struct thread	*td;		/* whose fault it is: the thread that tells */
	struct vmspace	*vm;		/* its address space */
	struct vnode	*vp;		/* the file that is mapped there; referenced */
	vm_offset_t	 va;		/* the byte touched */
	bool		 write;
	bool		 refused;	/* the access failed, and this is why: */
	struct fault_info why;
	struct tale_counts before, after;
	struct trace_event *events;	/* TALE_EVENTS of them */
	size_t		 nevents;
	uint64_t	 lost;		/* events that found no room */
};

/* ---- tour_print.c ---- */

void tale_tell(const struct tale *t);		/* the events, line by line */
void tale_counted(const struct tale *t);	/* what the counters say about it, in one line */
uint64_t tale_fault_ns(const struct tale *t);	/* time spent in page faults */
uint64_t tale_faults(const struct tale *t);	/* how many there were */
uint64_t tale_requests(const struct tale *t);	/* disk requests */
bool tale_slept(const struct tale *t);		/* did its thread give the CPU away? */
/* The object mapped at the tale's address, and what it shadows: their pages as strips of text. */
void tale_picture(const struct tale *t);

/* ---- tour_find.c ---- */

#define TOUR_PAGES_MIN	5	/* a file of fewer pages has no neighbours worth showing */

/*
 * Where the tour can be played: a regular file of TOUR_PAGES_MIN pages without holes.
 * => sleeps.  false: none was found.
 */
bool tour_find(char *path, size_t size);

/* ---- tour.c ---- */

/* Play the tour on this file; NULL: on /tour/story.txt, or what tour_find() finds.  => sleeps */
void tour_play(const char *path);
/*
 * Map the file, touch one byte of it, tell what happened.
 * => sleeps.  Prints why when it cannot be done.
 */
void tour_fault(const char *path, uint64_t offset, bool write);

#endif
