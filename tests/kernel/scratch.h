/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A scratch directory on the root volume, for tests that write: /w, made on entry, removed with all
 * that is in it on leaving.
 */
#ifndef TESTS_KERNEL_SCRATCH_H
#define TESTS_KERNEL_SCRATCH_H

#include "kernel/fs/vnode.h"
#include "tests/kernel/ktest.h"

/* false: the root cannot be written, and the test was skipped.  => sleeps */
bool scratch_enter(void);
void scratch_leave(void);		/* and fails the test if something cannot be removed */
#define SCRATCH_OR_SKIP()	do { if (!scratch_enter()) return; } while (0)

/* A new empty file, referenced, or NULL and the test failed. */
struct vnode *scratch_create(const char *path);
bool scratch_exists(const char *path);
/* of the name itself, not of what a link leads to; 0: there is none */
uint64_t scratch_ino(const char *path);
void scratch_getattr(struct vnode *vp, struct vattr *va);
void scratch_statfs(struct statfs *st);
uint32_t scratch_bsize(void);
/* Write to the file until the disk is full; anything but ENOSPC fails the test.  Returns the bytes written. */
uint64_t scratch_fill(struct vnode *vp);

/* A file and what it must hold. */
struct model {
	struct vnode	*vp;
	uint8_t		*bytes;
	size_t		 size, room;
};
bool model_open(struct model *m, const char *path, size_t room);	/* a new file */
void model_close(struct model *m);
/*
 * Each changes file and model alike; the bytes written are random, and never zero.  false: it
 * failed, and the test with it.
 */
bool model_write(struct model *m, size_t off, size_t len);
bool model_truncate(struct model *m, size_t size);
bool model_verify(struct model *m);		/* all bytes and the size */
void model_evict(struct model *m);		/* write it out and forget its pages */

#endif
