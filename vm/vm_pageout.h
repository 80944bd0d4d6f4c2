/* SPDX-License-Identifier: BSD-2-Clause */
/* Reclaim: the thread that turns clean pages nobody uses into free ones. */
#ifndef VM_VM_PAGEOUT_H
#define VM_VM_PAGEOUT_H

#include "kernel/lib/types.h"

void vm_pageout_init(void);
/* Free pages are short: run a scan.  => any context above the sleep-queue lock. */
void vm_pageout_wakeup(void);
/*
 * The same for an allocator, in two steps: it asks while it holds an object's lock, and the thread is woken when that lock is gone
 * (it outranks us, and would find just the pages locked that it came for).
 */
extern volatile bool vm_pageout_asked;
static inline void vm_pageout_ask(void) { vm_pageout_asked = true; }
static inline void vm_pageout_poll(void) { if (unlikely(vm_pageout_asked)) vm_pageout_wakeup(); }
/* Scans in a row that freed nothing although memory was short: what an allocator looks at before it gives up. */
uint64_t vm_pageout_fruitless(void);
/* Run one scan now, for `pages` pages, in the caller's thread (tests, monitor).  => sleeps.  Returns pages freed. */
size_t vm_pageout_scan(size_t pages);
/* Stop the thread, waiting until it stands still, and start it again (vm_check, and tests of the queues). */
void vm_pageout_freeze(bool frozen);

#endif
