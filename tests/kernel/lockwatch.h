/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the lock checks object to, kept for a test that plants a mistake, instead of a panic.
 */
#ifndef TESTS_KERNEL_LOCKWATCH_H
#define TESTS_KERNEL_LOCKWATCH_H

#include "tests/kernel/ktest.h"

extern int violations;			/* since lockwatch_begin */
extern char last_violation[160];

/* false: a release build has no lock checks (skipped).  Until lockwatch_end nothing that they find panics. */
bool lockwatch_begin(void);
void lockwatch_end(void);
/* Count and keep one.  Safe anywhere, with any lock held. */
void lockwatch_record(const char *message);

#endif
