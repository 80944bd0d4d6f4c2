/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rate limit: a message that a damaged disk can cause a million times is printed a few times.
 *
 *	static struct ratelimit rl = RATELIMIT_INITIALIZER(10, 5);
 *
 *	if (ratelimit_pass(&rl, clock_ns(), &missed))
 *		printf("...");
 *
 * Up to `burst` messages pass in each period of `seconds`; the first one of a later period is told
 * how many were held back. Two CPUs at once may let one message more or less through: good enough
 * for messages, and no lock is needed.
 */
#ifndef KERNEL_LIB_RATELIMIT_H
#define KERNEL_LIB_RATELIMIT_H

#include "kernel/lib/types.h"

struct ratelimit {
	uint32_t	burst;		/* (constant) messages per period */
	uint32_t	period;		/* (constant) seconds */
	uint64_t	start_ns;	/* (atomic) when this period began; 0: none has */
	uint32_t	passed;		/* (atomic) in this period */
	uint32_t	held;		/* (atomic) in this period */
};

#define RATELIMIT_INITIALIZER(burst_, seconds_)	{ .burst = (burst_), .period = (seconds_) }

/*
 * May a message be printed now?  *missed: how many were held back since the last one that passed.
 */
static inline bool
ratelimit_pass(struct ratelimit *rl, uint64_t now_ns, uint32_t *missed)
{
	uint64_t start = __atomic_load_n(&rl->start_ns, __ATOMIC_RELAXED);

	*missed = 0;
	if (start == 0 || now_ns - start >= (uint64_t)rl->period * 1000000000ul) {
		__atomic_store_n(&rl->start_ns, now_ns != 0 ? now_ns : 1, __ATOMIC_RELAXED);
		__atomic_store_n(&rl->passed, 0, __ATOMIC_RELAXED);
		*missed = __atomic_exchange_n(&rl->held, 0, __ATOMIC_RELAXED);
	}
	if (__atomic_fetch_add(&rl->passed, 1, __ATOMIC_RELAXED) < rl->burst)
		return (true);
	__atomic_fetch_sub(&rl->passed, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&rl->held, 1, __ATOMIC_RELAXED);
	return (false);
}

#endif
