/* SPDX-License-Identifier: BSD-2-Clause */
/* Watched fields: are the accesses to a shared field really kept apart by its lock?  See racewatch.c. */
#ifndef KERNEL_RACEWATCH_H
#define KERNEL_RACEWATCH_H

#include "kernel/yieldpoint.h"

/*
 * The caller is about to write, or read, a field whose lock it holds: nobody else may write it now, and
 * with a write nobody else may come to a mark of it at all.  => any context.  Watched while the yield
 * points are on; debug builds only.
 */
#define RACE_WRITE(field)	race_mark(&(field), sizeof(field), true)
#define RACE_READ(field)	race_mark(&(field), sizeof(field), false)

void racewatch_access(const volatile void *at, size_t size, bool write);

static inline void
race_mark(const volatile void *at, size_t size, bool write)
{
	if (FAULTLINE_DEBUG && unlikely(yield_points))
		racewatch_access(at, size, write);
}

/* Called instead of a panic when set (tests). */
extern void (*racewatch_hook)(const char *message);
uint64_t racewatch_samples(void);	/* how often a field was watched for a while (tests) */

#endif
