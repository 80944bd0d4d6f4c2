/* SPDX-License-Identifier: BSD-2-Clause */
/* Swap-out: the thread that writes idle anonymous pages to the swap disk. */
#ifndef VM_VM_SWAPOUT_H
#define VM_VM_SWAPOUT_H

#include "kernel/lib/types.h"
#include "vm/vm.h"

struct vm_object;
struct vm_page;

void vm_swapout_init(void);
/* There are anonymous pages on the laundry queue.  => any context above the sleep-queue lock. */
void vm_swapout_wakeup(void);
/*
 * Write the dirty pages [start, end) of an anonymous object now, used lately or not, and free what
 * is clean then.  Wired and busy pages stay.
 * => object referenced, unlocked; sleeps.  Returns how many were written.
 */
size_t vm_object_swapout(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/*
 * The same for the cluster around one page of the laundry queue, if it is an anonymous one.
 * => nothing held.
 */
void vm_swapout_page(struct vm_page *m);

#endif
