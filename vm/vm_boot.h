/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory before there is memory: whole pages for page tables and vm_page_array, taken for ever. */
#ifndef VM_VM_BOOT_H
#define VM_VM_BOOT_H

#include "kernel/lib/types.h"

struct boot_info;

/* => bi checked by boot_info_check(), and alive until the last boot_page_alloc(). */
void boot_alloc_init(const struct boot_info *bi);
/*
 * Only memory below `limit` is handed out.  Begins as 4 GiB, what start.S maps; pmap_bootstrap()
 * raises it.
 */
void boot_alloc_set_limit(vm_paddr_t limit);
/*
 * Contiguous zeroed pages, never given back: the highest that fit in the largest stretch of RAM.
 * => panics when there are none: nothing can go on without them.
 */
vm_paddr_t boot_page_alloc(size_t npages);
/* The page below 1 MiB from which processors are started; 0: there is none. */
vm_paddr_t boot_low_page(void);
/* Was this page of usable RAM taken by boot_page_alloc()? */
bool boot_page_taken(vm_paddr_t pa);
/* The i-th range taken, in bytes; false: there are not so many. */
bool boot_taken(int i, vm_paddr_t *base, uint64_t *len);

#endif
