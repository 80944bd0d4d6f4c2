/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Marks beside code that only pressure, errors or races reach.
 *
 *	if (m == NULL) {
 *		VM_PATH("fault_nomem");
 *
 * Each mark counts how often it was passed.  All of them lie in one section of the image, so the
 * list of what ought to be exercised is made of the marks themselves: the self-tests, given the
 * word `paths`, print the counts, and `make test` fails for each mark that none of its runs reached.
 */
#ifndef VM_VM_PATH_H
#define VM_VM_PATH_H

#include "kernel/lib/types.h"

struct vm_path {
	const char	*name;
	const char	*file;
	uint64_t	 line;
	uint64_t	 count;		/* atomic */
};

extern struct vm_path vm_path_start[], vm_path_end[];

#define VM_PATH(name_) do {									\
	static struct vm_path vm_path_here							\
	    __attribute__((section(".vmpath"), used, aligned(32))) = { (name_), __FILE__, __LINE__, 0 };	\
	__atomic_fetch_add(&vm_path_here.count, 1, __ATOMIC_RELAXED);				\
} while (0)

#endif
