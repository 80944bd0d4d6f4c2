/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gate0: a disk that hands its requests on to the root's disk, as and when the test says, and
 * through which the root volume is mounted a second time, read-only.
 *
 *	pager of the second mount --> gate0 --+-- held?  until gate_release()
 *	                                      +-- a chosen sector in it?  EIO
 *	                                      +-- else --> vda --> interrupt --> gate0's disk_done()
 *
 * Only requests of pagers (pbufs) are held and noted; metadata passes, unless it meets a chosen
 * sector.  The files have the same bytes as the root's, but vnodes, objects and pages of their own.
 */
#ifndef TESTS_KERNEL_GATEDISK_H
#define TESTS_KERNEL_GATEDISK_H

#include "drivers/disk.h"
#include "kernel/lib/types.h"

#define GATE_LOG	1024		/* requests noted; later ones are only counted */

struct gate_request {
	daddr_t		blkno;
	size_t		bytes;
	struct ucred	*rcred;		/* as it came; only for comparing */
	uint32_t	tid;		/* the thread that asked */
	bool		in_interrupt;	/* its completion came from an interrupt handler */
};

extern struct mount *gate_mp;		/* the second mount */
extern struct gate_request gate_log[GATE_LOG];

/*
 * Register the disk and mount the volume.  false: there is none (the test is skipped), or it
 * failed.
 */
bool gate_open(void);
void gate_close(void);			/* unmount and unregister; panics if it is in use */
/*
 * A file of the second mount, by its path on the root volume ("/t/seq"); referenced, or NULL and
 * the test fails.
 */
struct vnode *gate_file(const char *path);

void gate_hold(bool hold);		/* requests that come; those already held stay */
unsigned gate_held(void);
/* Let the n-th of the held requests go, oldest first.  => n < gate_held() */
void gate_release(unsigned n);
void gate_release_all(void);		/* and hold no more */

/* Requests that touch these sectors end with EIO; one range at a time. */
void gate_fail(daddr_t first, uint64_t sectors);
void gate_fail_none(void);

void gate_log_clear(void);
unsigned gate_requests(void);		/* by pagers, since gate_log_clear() */
uint64_t gate_sectors(void);

#endif
