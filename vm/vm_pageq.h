/* SPDX-License-Identifier: BSD-2-Clause */
/* The page queues' inside, for vm_page.c and reclaim.  Everybody else uses vm_page.h. */
#ifndef VM_VM_PAGEQ_H
#define VM_VM_PAGEQ_H

#include "vm/vm_page.h"

const char *vm_pageq_name(unsigned queue);
/* A page was about to be freed twice, or to go where it may not: panics. */
void vm_page_violation(const char *what, struct vm_page *m);
bool vm_pageq_may_move(unsigned from, unsigned to);	/* does the diagram have this move? */
/*
 * Put a page whose busy word is VPB_FREED on the free list.  => any context above the free-list
 * lock.
 */
void vm_pageq_free(struct vm_page *m);
/*
 * Take a free page, leaving at least `floor` pages; zero: a zeroed one if there is any.  PG_ZERO
 * says which.  NULL: none.
 */
struct vm_page *vm_pageq_take_free(uint32_t floor, bool zero);
struct vm_page *vm_pageq_take_contig(size_t npages, uint32_t floor);
/* Walk a queue under the right lock and count; panics when links and count disagree (P1). */
void vm_pageq_check(void);

#endif
