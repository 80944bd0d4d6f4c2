/* SPDX-License-Identifier: BSD-2-Clause */
/* Reclaim: the thread that turns clean pages nobody uses into free ones. */
#ifndef VM_VM_PAGEOUT_H
#define VM_VM_PAGEOUT_H

#include "kernel/lib/types.h"

struct vm_page;

void vm_pageout_init(void);
/* Free pages are short: run a scan.  => any context above the sleep-queue lock. */
void vm_pageout_wakeup(void);
/*
 * The same for an allocator, in two steps: it asks while it holds an object's lock, and the thread
 * is woken when that lock is gone (it outranks us, and would find just the pages locked that it
 * came for).
 */
extern volatile bool vm_pageout_asked;
static inline void vm_pageout_ask(void) { vm_pageout_asked = true; }
static inline void vm_pageout_poll(void) { if (unlikely(vm_pageout_asked)) vm_pageout_wakeup(); }
/*
 * Is there no use in waiting for memory any longer?  After so many scans in a row which freed
 * nothing, while the laundry neither wrote a page nor was writing one.
 */
bool vm_pageout_hopeless(void);
/*
 * Say why a fault at addr gets no memory: one line for each time that reclaim came to a standstill.
 */
void vm_pageout_report_oom(vm_offset_t addr);
/* The laundry wrote or freed pages: that is progress. */
void vm_pageout_progress(size_t pages);
/*
 * Run one scan now, for `pages` pages, in the caller's thread (tests, monitor).  => sleeps.
 * Returns pages freed.
 */
size_t vm_pageout_scan(size_t pages);
/*
 * Free m now if it can be, whether or not it was used lately; write it if it is dirty and
 * anonymous.  For the torture mode and tests.
 * => nothing held; sleeps.  m: any page, in any state.
 */
void vm_pageout_evict(struct vm_page *m);
/*
 * Stop the thread, waiting until it stands still, and start it again (vm_check, and tests of the
 * queues).
 */
void vm_pageout_freeze(bool frozen);

#endif
