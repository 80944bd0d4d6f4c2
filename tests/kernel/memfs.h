/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memfs: files in memory, whose pages the filesystem fills itself.
 *
 *	fault --> vnode_pager_haspage: VOP_BMAP says that all of the file lies together
 *	      --> vnode_pager_getpages --> VOP_GETPAGES fills the page asked for and its neighbours
 *
 * A mount has one directory; memfs_create() puts a file there.
 */
#ifndef TESTS_KERNEL_MEMFS_H
#define TESTS_KERNEL_MEMFS_H

#include "kernel/lib/types.h"

struct mount;
struct vnode;

/* What VOP_GETPAGES was asked last, and how often. */
extern struct memfs_calls {
	unsigned	calls;
	unsigned	pages;			/* in all calls */
	vm_pindex_t	first;
	int		count, reqpage;
} memfs_calls;
extern int memfs_result;		/* VM_PAGER_ code with which ... */
extern int memfs_result_times;		/* ... the next so many calls end; then VM_PAGER_OK */

struct mount *memfs_mount(void);	/* NULL: it failed, and so does the test */
void memfs_unmount(struct mount *mp);
/*
 * A file of `size` bytes with the pattern of `path` (testfile_pattern), under the name after its
 * last '/'.
 */
void memfs_create(struct mount *mp, const char *path, size_t size);
/* Referenced, or NULL and the test fails. */
struct vnode *memfs_file(struct mount *mp, const char *name);

#endif
