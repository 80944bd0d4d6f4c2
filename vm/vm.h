/* SPDX-License-Identifier: BSD-2-Clause */
/* Words shared by all of vm/: protections, result codes, the layout of the address space. */
#ifndef VM_VM_H
#define VM_VM_H

#include "kernel/lib/types.h"

typedef uint8_t vm_prot_t;
#define VM_PROT_NONE	0x0
#define VM_PROT_READ	0x1
#define VM_PROT_WRITE	0x2
#define VM_PROT_EXECUTE	0x4
#define VM_PROT_ALL	0x7

/*
 * Results of map and fault operations; vm_fault_trap() translates them for users, vm_errno() for
 * system calls.
 */
enum kern_return {
	KERN_SUCCESS,
	KERN_INVALID_ADDRESS,		/* nothing is mapped there */
	KERN_PROTECTION_FAILURE,	/* mapped, but not for this */
	KERN_NO_SPACE,			/* no gap is large enough, or the range is taken */
	KERN_INVALID_ARGUMENT,
	KERN_RESOURCE_SHORTAGE,		/* no memory after waiting */
	KERN_OUT_OF_BOUNDS,		/* past EOF, or the vnode is gone */
	KERN_IO_ERROR,			/* the pager could not read it */
	KERN_RESTART			/* internal to vm_fault: look up everything again */
};
const char *kern_return_name(int kr);
int vm_errno(int kr);

/*
 * The address space.
 *
 *	0                                  never mapped up to VM_USER_MIN
 *	0x0000000000010000 VM_USER_MIN     a process
 *	0x00007ffffffff000 VM_USER_MAX     (the last page stays unmapped: SYSRET's hazard)
 *	0xffff800000000000 DMAP_BASE       all physical memory
 *	0xffffc00000000000 KVA_BASE        stacks, pager windows, large allocations, device registers
 *	0xffffffff80000000 KERNBASE        the image
 */
#define VM_USER_MIN	0x0000000000010000ul
#define VM_USER_MAX	0x00007ffffffff000ul
#define DMAP_BASE	0xffff800000000000ul
#define DMAP_SIZE	(512ul * GiB)
#define KVA_BASE	0xffffc00000000000ul
#define KVA_SIZE	(64ul * GiB)
#define KERNBASE	0xffffffff80000000ul

#define PHYS_TO_DMAP(pa)	((void *)((vm_paddr_t)(pa) + DMAP_BASE))
#define DMAP_TO_PHYS(va)	((vm_paddr_t)(va) - DMAP_BASE)

#endif
