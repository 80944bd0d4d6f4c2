/* SPDX-License-Identifier: BSD-2-Clause */
/* panic() and KASSERT: the kernel stops only when its own invariant is broken. */
#ifndef KERNEL_KASSERT_H
#define KERNEL_KASSERT_H

#include "kernel/lib/types.h"

/*
 * Stop the machine: print the reason, registers, backtrace with names, the thread list with wait
 * names and the counters; leave QEMU with 0x7f.  Never returns, never sleeps, takes no locks.
 */
void panic(const char *fmt, ...) __noreturn __printflike(1, 2);

/* The same from a trap: the registers are the frame's, and the backtrace starts there. */
struct trapframe;
void panic_trap(const struct trapframe *frame, const char *fmt, ...) __noreturn __printflike(2, 3);

extern volatile bool panicking;
bool panicking_here(void);	/* and it is this CPU that does */

#if FAULTLINE_DEBUG
#define KASSERT(cond, ...)	do { if (unlikely(!(cond))) panic(__VA_ARGS__); } while (0)
#else
#define KASSERT(cond, ...)	do { if (0 && !(cond)) panic(__VA_ARGS__); } while (0)
#endif

#endif
