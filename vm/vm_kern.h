/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel memory in pages: address ranges between KVA_BASE and KVA_BASE + KVA_SIZE, and the pages
 * behind them.  Kernel memory is always wired; the direct map already shows every page, so only
 * what must be contiguous or guarded comes here.
 */
#ifndef VM_VM_KERN_H
#define VM_VM_KERN_H

#include "kernel/lib/types.h"

struct vm_page;

void vm_kern_init(void);
/*
 * Address space without pages.  len in bytes, a multiple of PAGE_SIZE.  => does not sleep; 0 when
 * exhausted.
 */
vm_offset_t kva_alloc(vm_size_t len);
void kva_free(vm_offset_t va, vm_size_t len);
uint64_t kva_inuse(void);			/* bytes */
/*
 * One wired page without address space of its own: the direct map shows it.  flags as kmalloc.
 * => M_WAITOK: sleeps, and never fails: when memory is full for good, see vm_oom_wait_kernel();
 *    M_NOWAIT: NULL when memory is short.  Contents zero if M_ZERO, else anything.
 */
struct vm_page *kmem_page(int flags);
/* Address space with wired pages, zeroed if M_ZERO.  flags as kmalloc.  0 when short (M_NOWAIT). */
vm_offset_t kmem_alloc(vm_size_t len, int flags);
void kmem_free(vm_offset_t va, vm_size_t len);
/*
 * Physically contiguous, zeroed, wired; returns its direct-map address, or NULL.  For device rings.
 */
void *kmem_alloc_contig(vm_size_t len, vm_paddr_t *pa);
void kmem_free_contig(void *va, vm_size_t len);
/* Device registers, uncached.  Never freed. */
void *kva_map_device(vm_paddr_t pa, vm_size_t len);
/*
 * KSTACK_PAGES mapped pages with an unmapped guard page below; returns the lowest mapped address, 0
 * when memory is short.
 */
vm_offset_t kstack_alloc(void);
void kstack_free(vm_offset_t base);
/* Does this address lie in a stack's guard page? */
bool kstack_is_guard(vm_offset_t va);

#endif
