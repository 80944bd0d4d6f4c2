/* SPDX-License-Identifier: BSD-2-Clause */
/* Time: a tick counter for time-outs and slices, and nanoseconds since boot from the TSC. */
#ifndef KERNEL_CLOCK_H
#define KERNEL_CLOCK_H

#include "kernel/lib/types.h"

#define HZ	100			/* ticks per second */

extern volatile uint64_t ticks;		/* ticks since boot; starts at 1 */

uint64_t clock_ns(void);		/* nanoseconds since boot, monotonic */
uint64_t clock_wall_ns(void);		/* nanoseconds since 1970 */
uint64_t clock_wall_seconds(void);	/* seconds since 1970 (CMOS clock at boot + clock_ns) */
void	 clock_init(void);		/* calibrates TSC and LAPIC timer against the PIT */
uint64_t clock_tsc_hz(void);		/* for turning traced TSC values into time */
uint64_t clock_tsc_ns(uint64_t tsc);	/* a TSC value as nanoseconds since boot */

#endif
