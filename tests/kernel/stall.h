/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hand on a disk's tap: requests that a test names are held back, let go one by one, or made to
 * fail, while all others go through to the real disk.  So an interleaving is forced and not hoped
 * for.
 *
 *	stall_begin(disk);
 *	stall_hold(STALL_READ, 0, ~0ul);
 *	... start a thread that must read ...
 *	CHECK(stall_wait(1));		its request is held
 *	... do what shall come in between ...
 *	stall_release(0);		or stall_release(EIO)
 *	stall_end();			lets go of everything
 *
 * One disk at a time.
 */
#ifndef TESTS_KERNEL_STALL_H
#define TESTS_KERNEL_STALL_H

#include "kernel/lib/types.h"

struct disk;

#define STALL_READ	0x1
#define STALL_WRITE	0x2

void stall_begin(struct disk *dk);
/* => what was held goes to the disk; nothing is held any more */
void stall_end(void);
/*
 * From now on hold these kinds of requests, if they touch sectors [from, to).  kinds 0: none; what
 * is held stays held.
 */
void stall_hold(unsigned kinds, uint64_t from, uint64_t to);
unsigned stall_held(void);
/* Wait, at most two seconds, until at least n requests are held.  => sleeps */
bool stall_wait(unsigned n);
/* Let the oldest held request go, or fail it with `error`.  false: none is held. */
bool stall_release(int error);
bool stall_release_newest(int error);
/* requests of one kind that came since stall_begin() */
unsigned stall_seen(unsigned kind);

#endif
