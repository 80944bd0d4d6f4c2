/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files of the test volume, as the kernel's tests know them.
 *
 * tests/host/mkimage.py fills the volume and writes down in /t/manifest, for each file, its size
 * and which of its bytes hold the pattern; all others are zero.  So a test can tell what any byte
 * of any file must be without reading it: testfile_expect().  Paths are absolute ("/t/seq"), as the
 * pattern depends on them.
 */
#ifndef TESTS_KERNEL_TESTFILES_H
#define TESTS_KERNEL_TESTFILES_H

#include "kernel/lib/types.h"

struct vnode;

struct testfile_extent {
	uint64_t	off, len;	/* bytes that hold the pattern */
};

struct testfile {
	char		path[64];
	uint64_t	size;		/* bytes */
	const char	*kind;		/* data sparse err stale frag */
	const struct testfile_extent *extents;	/* in order, disjoint */
	size_t		nextents;
	uint64_t	seed;		/* of the pattern */
};

/*
 * Read the manifest, once per boot.  false: the root volume has none; a test then skips itself.
 * => sleeps; memory is static, so no test seems to leak.
 */
bool testfiles_load(void);
#define TESTFILES_OR_SKIP() do {						\
	if (!testfiles_load()) {						\
		ktest_skip("the root volume has no /t/manifest");		\
		return;								\
	}									\
} while (0)

size_t testfile_count(void);
const struct testfile *testfile_at(size_t i);
const struct testfile *testfile_find(const char *path);		/* NULL: not in the manifest */

/* What [off, off + len) of a file must hold; zeros past EOF.  The path must be in the manifest. */
void testfile_expect(const char *path, uint64_t off, void *buf, size_t len);
/* Compare, and fail the running test at the first byte that differs. */
bool testfile_verify(const char *path, uint64_t off, const void *buf, size_t len);
/*
 * Is there data at `off`?  [*start, *end): the piece of data, or the gap of zeros, that off lies in
 * (to EOF at most).
 */
bool testfile_piece(const char *path, uint64_t off, uint64_t *start, uint64_t *end);
/* The pattern of any path, in the manifest or not, without gaps. */
void testfile_pattern(const char *path, uint64_t off, void *buf, size_t len);

/* Open by path, failing the test if it cannot be.  Referenced, or NULL. */
struct vnode *testfile_open(const char *path);
/*
 * Read [off, off + len) of it through VOP_READ and verify, EOF included.  => vnode unlocked; sleeps
 */
bool testfile_read_verify(struct vnode *vp, const char *path, uint64_t off, uint64_t len);

#endif
