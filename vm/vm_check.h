/* SPDX-License-Identifier: BSD-2-Clause */
/* Walk the invariants. */
#ifndef VM_VM_CHECK_H
#define VM_VM_CHECK_H

#include "kernel/lib/types.h"

/*
 * Check P1 to P6 (vm_page.h), O1 to O4, O6 and O8 (vm_object.h), M1 to M3 (vm_map.h), and that page tables
 * and reverse mappings agree; panics with what is wrong and where.
 *
 * => the caller has no object locked; others may be at work: they are stopped meanwhile, and reclaim, too.
 *    Sleeps in "vmchk".
 */
void vm_check(void);
/* For the walkers of other files: a law is broken.  => panics; with the hook, goes on. */
void vm_check_violation(const char *fmt, ...) __printflike(1, 2);
/* Seam for the self-tests: called with the message instead of panic().  => spin locks are held. */
extern void (*vm_check_violation_hook)(const char *message);

#endif
