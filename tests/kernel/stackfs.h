/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stackfs: a filesystem that shows the root volume, through vnodes and objects of its own.
 *
 *	stackfs vnode --> its own object --> vnode_pager_input_old --> VOP_READ of stackfs
 *	                                                                   |
 *	ext2 vnode  <------------------------ VOP_READ of ext2 <-----------+
 *	    +--> ext2's object --> clustered read
 *
 * It has no VOP_BMAP: its pages can only come in through VOP_READ.
 */
#ifndef TESTS_KERNEL_STACKFS_H
#define TESTS_KERNEL_STACKFS_H

struct mount;
struct vnode;

extern unsigned stackfs_reads;		/* VOP_READs handed down */
extern int stackfs_error;		/* 0, or the errno with which ... */
extern int stackfs_error_times;		/* ... so many VOP_READs end */

/* Mount it, over the root.  NULL: it failed, and so does the test. */
struct mount *stackfs_mount(void);
void stackfs_unmount(struct mount *mp);
/* A file of it, by its path on the root volume; referenced, or NULL and the test fails. */
struct vnode *stackfs_file(struct mount *mp, const char *path);

#endif
