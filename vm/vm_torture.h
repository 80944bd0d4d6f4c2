/* SPDX-License-Identifier: BSD-2-Clause */
/* The torture mode: memory is always short. */
#ifndef VM_VM_TORTURE_H
#define VM_VM_TORTURE_H

#include "kernel/lib/types.h"
#include "vm/vm.h"

struct vm_map;

extern bool vm_torture;		/* constant after boot: the word `torture` */

void vm_torture_init(void);
/*
 * A fault was served at addr: evict what was faulted in some faults ago, and what nobody has asked
 * for.  => nothing held; sleeps.
 */
void vm_torture_after_fault(struct vm_map *map, vm_offset_t addr);

#endif
