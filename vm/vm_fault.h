/* SPDX-License-Identifier: BSD-2-Clause */
/* Page faults. */
#ifndef VM_VM_FAULT_H
#define VM_VM_FAULT_H

#include "kernel/lib/types.h"
#include "vm/vm.h"

struct fault_info;
struct vm_map;
struct vm_object;
struct vm_page;
struct vmspace;

#define VM_FAULT_WIRE	0x1	/* wire the page: for vm_map_wire(), whose entry is marked already */
#define VM_FAULT_HOLD	0x2	/* give the page back wired in *held: the caller unwires it */
#define VM_FAULT_ALONE	0x4	/* leave the neighbours: they had their chance when addr was first mapped, or will have it */

/*
 * Make addr accessible for `type` (VM_PROT_READ, WRITE, EXECUTE; NONE: whatever the entry allows).
 *
 * => map unlocked; nothing else held; sleeps.
 * => held (may be NULL): with VM_FAULT_HOLD, the page.
 * => KERN_SUCCESS; KERN_INVALID_ADDRESS; KERN_PROTECTION_FAILURE; KERN_OUT_OF_BOUNDS: past EOF, or
 *    the vnode is gone; KERN_IO_ERROR; KERN_RESOURCE_SHORTAGE: no memory after bounded retries.
 */
int  vm_fault(struct vm_map *map, vm_offset_t addr, vm_prot_t type, int flags, struct vm_page **held);

/*
 * From the trap handler: a page fault on a user address, error code as the CPU pushed it (PF_*).
 * => 0: retry the instruction.  Else *why is filled with what a signal would carry, and the errno
 *    for copyin is returned (EFAULT).
 */
int  vm_fault_trap(struct vmspace *vm, vm_offset_t addr, uint32_t pf_error, struct fault_info *why);
/*
 * A fault that its thread does not want to be served now (td->nofault): it is told and counted all the same.
 * => vm may be NULL; does not sleep.
 */
void vm_fault_declined(struct vmspace *vm, vm_offset_t addr, uint32_t pf_error, uint64_t rip);

/* Undo the wiring of one page of a chain of objects, wherever it lies in it.  => sleeps. */
void vm_fault_unwire_page(struct vm_object *object, vm_pindex_t pindex);

#endif
