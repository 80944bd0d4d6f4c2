/* SPDX-License-Identifier: BSD-2-Clause */
/* Laundry: the thread that writes dirty pages which reclaim would like to have. */
#ifndef VM_VM_LAUNDRY_H
#define VM_VM_LAUNDRY_H

#include "kernel/lib/types.h"

struct vm_object;
struct vm_page;

void vm_laundry_init(void);
/* There is work, or memory is short.  => any context above the sleep-queue lock. */
void vm_laundry_wakeup(void);
/* The laundry or the swap-out thread starts (1) or ends (-1) to write; is one of them at it? */
void vm_laundry_note_writing(int change);
bool vm_laundry_writing(void);
/*
 * The first anonymous page of the laundry queue, or the first of a file.  Pages of the other kind
 * before it go to the end of the queue.
 * => the page-queue lock held.  *left: how many pages the caller still wants to look at, less those
 *    that were looked at.  NULL: look again after a breath, if *left says so.
 */
struct vm_page *vm_laundry_next(bool anonymous, uint32_t *left);

#endif
