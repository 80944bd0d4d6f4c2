/* SPDX-License-Identifier: BSD-2-Clause */
/* Laundry: the thread that writes dirty pages which reclaim would like to have. */
#ifndef VM_VM_LAUNDRY_H
#define VM_VM_LAUNDRY_H

#include "kernel/lib/types.h"

struct vm_object;

void vm_laundry_init(void);
/* There is work, or memory is short.  => any context above the sleep-queue lock. */
void vm_laundry_wakeup(void);
/* Dirty pages that one file may have before its writers clean up after themselves; pages. */
uint32_t vm_dirty_limit(void);

#endif
