/* SPDX-License-Identifier: BSD-2-Clause */
/* Which locks are fought for: counters for each lock name.  See lockstat.c. */
#ifndef KERNEL_LOCKSTAT_H
#define KERNEL_LOCKSTAT_H

#include "kernel/lib/types.h"

#define LOCKSTAT_MAX	128		/* names that are counted; a power of two */

struct lockstat {
	const char	*name;
	uint64_t	 acquired;	/* debug builds only; a try that failed does not count */
	uint64_t	 contended;	/* times that somebody had to wait */
	uint64_t	 spins;		/* turns of waiting loops; sleep locks sleep instead */
};

/* Where a name is counted; LOCKSTAT_MAX: nowhere, for the table is full. */
unsigned lockstat_slot(const char *name);
const char *lockstat_name(unsigned slot);	/* NULL: not taken */
void lockstat_acquired(unsigned slot);
void lockstat_contended(const char *name, uint64_t spins);
/* The sum over all CPUs for the locks of that name (tests). */
struct lockstat lockstat_get(const char *name);
/* All names, each once, in no order.  => out has room for LOCKSTAT_MAX; returns how many */
unsigned lockstat_take(struct lockstat *out);
void lockstat_sort(struct lockstat *stats, unsigned n);		/* the most contended first */
void lockstat_print(const struct lockstat *stats, unsigned n);

#endif
