/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Watched memory, in builds made with SAN=race: are the accesses to a shared field really kept apart by its
 * lock?  Nobody calls this but the compiler and the tests.  See racewatch.c.
 */
#ifndef KERNEL_RACEWATCH_H
#define KERNEL_RACEWATCH_H

#include "kernel/lib/types.h"

/* Called instead of a panic when set (tests). */
extern void (*racewatch_hook)(const char *message);
uint64_t racewatch_samples(void);	/* how often an access was watched for a while (tests) */

#endif
