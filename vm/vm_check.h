/* SPDX-License-Identifier: BSD-2-Clause */
/* Walk the invariants. */
#ifndef VM_VM_CHECK_H
#define VM_VM_CHECK_H

/*
 * Check P1 to P6, P9, O1 to O4, O8, M1, M2 and that page tables and reverse mappings agree; panics with what is wrong and where.
 *
 * => the system is at rest: no thread is inside the VM.  Stops reclaim meanwhile.  Sleeps.
 */
void vm_check(void);

#endif
