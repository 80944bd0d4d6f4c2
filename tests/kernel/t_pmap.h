/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the pmap share. */
#ifndef TESTS_KERNEL_T_PMAP_H
#define TESTS_KERNEL_T_PMAP_H

#include "kernel/amd64/machdep.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "vm/pmap.h"
#include "vm/vm_page.h"

/*
 * Wired pages without object, wholly valid, that begin with the given word (the next one, the next
 * + 1, ...).
 */
struct vm_page *test_page(uint64_t first_word);
void test_pages(struct vm_page **m, int n, uint64_t first_word);
void test_pages_free(struct vm_page **m, int n);	/* checks that nothing maps them */

#endif
