/* SPDX-License-Identifier: BSD-2-Clause */
/* What the swap tests share: a swap disk that the test controls, and an address space to fill. */
#ifndef TESTS_KERNEL_T_SWAP_H
#define TESTS_KERNEL_T_SWAP_H

#include "kernel/lib/types.h"
#include "vm/vm.h"

struct disk;
struct vm_object;
struct vmspace;

/*
 * The disk that may be written to: the one that is swapped to, or the first that begins with
 * "FAULTLINE SCRATCH".  NULL: none.
 */
struct disk *scratch_disk(void);
/*
 * Swap to the scratch disk, as before the test or for it alone.  false: there is none, and the test
 * was skipped.
 */
bool scratch_begin(void);
void scratch_end(void);

/* Turn swap off for a test that turns it on itself, and on again as it was (dk: the disk, if it was one). */
bool swap_away(void);
void swap_again(struct disk *dk);

/*
 * Swap to a disk of `pages` pages (0: all) in front of the scratch disk, whose requests can be
 * failed and held back.
 * => false: skipped.
 */
bool gate_begin(uint32_t pages);
void gate_end(void);
struct disk *gate_disk(void);
/* The next `n` reads (writes) fail; only those that touch this page of the disk, if not 0. */
void gate_fail_reads(int n, uint32_t page);
void gate_fail_writes(int n);
/* Hold requests back from now on; let one go (false: none is waiting); how many wait. */
void swap_gate_hold(bool on);
bool swap_gate_release(void);
bool gate_wait_for_one(void);		/* until a request is held; false, and the test fails: none came */

/* A process's memory, in which the running thread is. */
struct space {
	struct vmspace	*vm;
	vm_offset_t	 base;
	uint32_t	 npages;
};
bool space_make(struct space *s, uint32_t npages);	/* anonymous, private; false: no memory */
bool space_fork(struct space *parent, struct space *child);
void space_free(struct space *s);
/*
 * One word per page, at an offset that depends on the page; 0 or EFAULT, and then curthread->fault
 * says why.
 */
int  space_write(struct space *s, uint32_t page, uint64_t value);
int  space_read(struct space *s, uint32_t page, uint64_t *value);
bool space_holds(struct space *s, uint32_t page, uint64_t value);	/* fails the test if not */
/* The top object of the mapping, referenced. */
struct vm_object *space_object(struct space *s);
/* Swap out all of the chain's objects. */
size_t space_swapout(struct space *s);
uint32_t swap_inuse(void);

#endif
