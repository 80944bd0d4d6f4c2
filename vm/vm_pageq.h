/* SPDX-License-Identifier: BSD-2-Clause */
/* The page queues' inside, for vm_page.c and reclaim.  Everybody else uses vm_page.h. */
#ifndef VM_VM_PAGEQ_H
#define VM_VM_PAGEQ_H

#include "vm/vm_page.h"

const char *vm_pageq_name(unsigned queue);
/* A page was about to be freed twice, or to go where it may not: panics. */
void vm_page_violation(const char *what, struct vm_page *m);
bool vm_pageq_may_move(unsigned from, unsigned to);	/* does the diagram have this move? */

/* A list of pages, linked by page numbers.  Guarded by whoever keeps it. */
struct pageq {
	uint32_t	head, tail;	/* oldest, youngest; page numbers */
	volatile uint32_t count;
};
#define PAGEQ_EMPTY { VM_PAGE_NIL, VM_PAGE_NIL, 0 }
void vm_pageq_append(struct pageq *list, struct vm_page *m);
void vm_pageq_unlink(struct pageq *list, struct vm_page *m);
/* Carry the oldest n > 0 pages of a list, up to `last`, to the young end of another. */
void vm_pageq_splice(struct pageq *from, struct vm_page *last, uint32_t n, struct pageq *to);
/*
 * The one function that moves a page between queues: from the list that it is on, to the list of queue `to`
 * that it goes to.  NULL: none, PQ_NONE.
 * => the locks of both lists held.  false: there is no such move, and it was not made.
 */
bool vm_pageq_move(struct vm_page *m, struct pageq *from, enum page_queue to, struct pageq *list);

/* Free pages (vm_freelist.c).  => any context above the locks of the free lists. */
/* Put a page whose busy word is VPB_FREED on the free list; it is not wired then. */
void vm_pageq_free(struct vm_page *m);
/*
 * Take a free page, leaving at least `floor` pages; zero: preferably a zeroed one.  PG_ZERO says
 * which.  NULL: none.  It comes wired once: so it is accounted for while it belongs to nobody.
 */
struct vm_page *vm_pageq_take_free(uint32_t floor, bool zero);
struct vm_page *vm_pageq_take_contig(size_t npages, uint32_t floor);	/* wired, too */
/* All CPUs' caches are empty for a moment: what is free is in the depot. */
void vm_freelist_drain(void);
struct pageq *vm_freelist_of(const struct vm_page *m);	/* the list that a free page is on */
uint32_t vm_freelist_len(enum page_queue q);		/* PQ_FREE or PQ_ZERO, on all lists */

/* Walk a list and count; reports when links and count disagree (P1).  => its lock, or nobody else runs */
void vm_pageq_check_list(const struct pageq *list, enum page_queue q);
void vm_freelist_check(void);
void vm_pageq_check(void);		/* all of them */

#endif
