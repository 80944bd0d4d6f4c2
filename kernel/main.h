/* SPDX-License-Identifier: BSD-2-Clause */
/* What kernel_main() ends in.  Each returns; the int is the machine's exit status (0 to 110). */
#ifndef KERNEL_MAIN_H
#define KERNEL_MAIN_H

#include "kernel/lib/types.h"

int  ktest_main(void);		/* `selftest[=GLOB]`; tests/kernel */
int  ktest_run(const char *glob, uint64_t seed);	/* the same, asked for by the monitor */
int  bench_main(void);		/* `bench`; tests/bench */
void tour_main(void);		/* one fault, narrated */
void monitor_main(void);	/* the prompt */

/*
 * `selftest=fail` and its relatives: ways to end that the test runner must see through.  false: no
 * such mode.
 */
bool harness_mode(const char *name);

struct boot_info;
/* what the loader told, mended; constant after boot */
extern const struct boot_info *boot_info;

#endif
