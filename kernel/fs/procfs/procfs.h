/* SPDX-License-Identifier: BSD-2-Clause */
/* What procfs's two files share; everybody else mounts it by its name, "proc". */
#ifndef KERNEL_FS_PROCFS_PROCFS_H
#define KERNEL_FS_PROCFS_PROCFS_H

#include "kernel/lib/types.h"

struct vfsops;

/* Text under construction.  What finds no room is cut off. */
struct text {
	char	*buf;
	size_t	 len, size;		/* bytes */
};
void text_add(struct text *t, const char *fmt, ...) __printflike(2, 3);

/*
 * Write a file's text.  pid: whose it is, 0 for those of the whole machine.
 * => sleeps.  ESRCH: that process is gone; EACCES: its memory is its own affair.
 */
typedef int (*procfs_fn)(struct text *t, int pid);

struct procfs_entry {
	const char	*name;
	procfs_fn	 fill;
	bool		 link;		/* a symbolic link, and the text is where it leads */
};
extern const struct procfs_entry procfs_machine[], procfs_process[];	/* end in a NULL name */

extern const struct vfsops procfs_vfsops;

#endif
