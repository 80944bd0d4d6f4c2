/* SPDX-License-Identifier: BSD-2-Clause */
/* UBSan: what the kernel did that C does not define, in builds made with SAN=ubsan or SAN=1. */
#ifndef KERNEL_UBSAN_H
#define KERNEL_UBSAN_H

#include "kernel/lib/types.h"

/*
 * Seam for the self-tests: called instead of printing and counting.  what: "shift", "overflow",
 * "bounds", ...; text: the report.
 */
extern void (*ubsan_hook)(const char *what, const char *text);

#if FAULTLINE_UBSAN
/* How often it happened since the machine started.  The self-tests' law wants it to stay 0. */
uint64_t ubsan_count(void);
#else
static inline uint64_t ubsan_count(void) { return (0); }
#endif

#endif
