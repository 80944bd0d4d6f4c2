/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tour: what the VM does, made to happen, watched, and told.
 *
 *	tour.c		chapter one: four faults, from a load to the disk and back
 *	tour_write.c	chapter two: from a store to the disk
 *	tour_memory.c	chapter three: memory runs short
 *	tour_truncate.c	chapter four: a file is truncated while it is mapped
 *	tour_stage.c	the stage: a thread with an address space, a file mapped in it; watching
 *	tour_find.c	which file
 *	tour_print.c	the teller: turns a tale into text
 *	tour_words.c	its words for what an event points to
 *
 * A tale is one access to memory (or one call) and everything that was recorded while it lasted:
 * the events of the trace, the counters before and after.  The teller prints what is in the tale
 * and in the live structures, and nothing else; if something did not happen, no line says that it
 * did.
 */
#ifndef KERNEL_TOUR_H
#define KERNEL_TOUR_H

#include "kernel/lib/types.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "vm/vm.h"
#include "vm/vm_meter.h"

struct vm_object;
struct vmspace;
struct vnode;

#define TALE_EVENTS	320		/* the longest cold fault takes about half */
#define TALE_SOURCES	8		/* interrupt sources told apart */

/* Counters, read before and after an access. */
struct tale_counts {
	struct vmmeter	vm;
	uint64_t	requests, sectors;	/* of all disks; 512-byte units */
	uint64_t	written, flushes;	/* of these sectors; flushes besides */
	uint64_t	interrupts[TALE_SOURCES]; /* by intr_stat_get()'s index */
	uint64_t	bystander;		/* how far the other thread has counted */
};

struct tale {
	struct thread	*td;		/* whose fault it is: the thread that tells */
	struct vmspace	*vm;		/* its address space */
	struct vnode	*vp;		/* the file that is mapped there; referenced */
	vm_offset_t	 va;		/* the byte touched; or what is shown of the map */
	bool		 access;	/* it is about touching that byte, not about a call */
	bool		 write;
	bool		 refused;	/* the access failed, and this is why: */
	struct fault_info why;
	struct tale_counts before, after;
	struct trace_event *events;	/* TALE_EVENTS of them */
	size_t		 nevents;
	uint64_t	 lost;		/* events that found no room */

	/* A wide tale: of all threads what concerns these objects.  NULL: of one thread alone. */
	struct vm_object *about[2];
	uint32_t	 pager_tid;	/* the thread that has their pager write now, or 0 */
	struct trace_place place;	/* as far as the trace has been read */
	uint64_t	 traced;	/* what was traced before */
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
/*
 * The request that the completion `done` belongs to: the last one with the same buffer among the
 * first `end` events of the tale.  NULL: it is not in the tale.
 */
const struct trace_event *tale_request_of(const struct tale *t, const struct trace_event *done,
    size_t end);

/* ---- tour_words.c: what an event's words mean, by the live structures ---- */

struct vm_map_entry;

/* The map entry that an event names; a copy, for the map may change once it is unlocked. */
bool words_entry(const struct tale *t, uint64_t pointer, struct vm_map_entry *out);
/* The object mapped at the tale's address.  It stays: only the tale's thread changes the map. */
struct vm_object *words_top_object(const struct tale *t);
/* The index in its object of the page mapped at `va`. */
vm_pindex_t words_index_at(const struct tale *t, vm_offset_t va);
/* "the file's object", if the event's pointer is an object of the address space. */
const char *words_object(const struct tale *t, uint64_t pointer);
const char *words_disk(uint64_t pointer);
/* The name of a thread that an event knows by its number. */
const char *words_thread(uint32_t tid, char buf[THREAD_NAME_MAX]);	/* Returns buf. */
const char *words_prot(vm_prot_t prot);		/* "rw-" */
#define SECTORS_TEXT	9
/* A page's sectors as eight signs, the first one first: # in the mask, . not.  Returns buf. */
const char *words_sectors(char buf[SECTORS_TEXT], uint8_t mask);
/* "3", "0-1, 3-11": page numbers, sorted and joined.  Sorts `list` in place. */
void words_ranges(char *buf, size_t size, uint64_t *list, size_t n);
#define CHAIN_MAX	16		/* objects below each other */

/* ---- tour_find.c ---- */

#define TOUR_PAGES_MIN	5	/* a file of fewer pages has no neighbours worth showing */

/*
 * Where the tour can be played: a regular file of TOUR_PAGES_MIN pages without holes.
 * => sleeps.  false: none was found.
 */
bool tour_find(char *path, size_t size);

/* ---- the chapters ---- */

/*
 * Play a chapter (its name), or chapter one on this file (a path); NULL: chapter one on
 * /tour/story.txt, or what tour_find() finds.  => sleeps
 */
void tour_play(const char *chapter_or_path);
void tour_write(void);			/* => sleep */
void tour_memory(void);
void tour_truncate(void);
/*
 * Map the file, touch one byte of it, tell what happened.
 * => sleeps.  Prints why when it cannot be done.
 */
void tour_fault(const char *path, uint64_t offset, bool write);

#endif
