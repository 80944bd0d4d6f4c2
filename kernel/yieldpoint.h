/* SPDX-License-Identifier: BSD-2-Clause */
/* Forced yield points: threads change places where they rarely do by themselves.  See yieldpoint.c. */
#ifndef KERNEL_YIELDPOINT_H
#define KERNEL_YIELDPOINT_H

#include "kernel/lib/types.h"

extern bool yield_points;	/* on; changes only by the next two */

void yield_points_init(void);		/* the word `yields=SEED` */
/* From now on, with this seed; 0: no more.  Returns the former seed (tests). */
uint64_t yield_points_set(uint64_t seed);
uint64_t yield_points_taken(void);	/* how often a thread was made to give way since boot (tests) */
void yield_point_taken(void);
uint64_t yield_point_random(void);	/* a number of the same sequence */
bool yield_point_can_linger(void);	/* could others come by here? */
void yield_point_linger(void);		/* let them: give way, or dawdle */

/*
 * Here another thread may come in between.  => any context: where no switch is possible there is none.
 * Debug builds only.
 */
static inline void
yield_point(void)
{
	if (FAULTLINE_DEBUG && unlikely(yield_points))
		yield_point_taken();
}

#endif
