/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers: for address layout, stack canaries, getrandom() and /dev/urandom. */
#ifndef KERNEL_RANDOM_H
#define KERNEL_RANDOM_H

#include "kernel/lib/types.h"

/* => any context but interrupts; never sleeps. */
void random_bytes(void *buf, size_t len);
/* Fold what was written to /dev/random into the state. */
void random_stir(const void *buf, size_t len);
uint64_t random_u64(void);
/* Make the sequence a fixed one, for tests that want the same addresses again. */
void random_fix(uint64_t seed);

#endif
