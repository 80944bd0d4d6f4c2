/* SPDX-License-Identifier: BSD-2-Clause */
/* What procfs's two files share; everybody else mounts it by its name, "proc". */
#ifndef KERNEL_FS_PROCFS_PROCFS_H
#define KERNEL_FS_PROCFS_PROCFS_H

#include "kernel/fs/vnode.h"

struct vmspace;

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
	enum vtype	 type;		/* VREG; VLNK: the text is where it leads; VDIR: the process's descriptors */
	procfs_fn	 fill;
	/* What a link leads to, referenced, whatever its text says; NULL: by the text. */
	int		(*jump)(int pid, struct vnode **vpp);
};
extern const struct procfs_entry procfs_machine[], procfs_process[];	/* end in a NULL name */

/* The same for a descriptor of a process, which is a link to what it has open. */
int procfs_fd_text(struct text *t, int pid, int fd);
int procfs_fd_jump(int pid, int fd, struct vnode **vpp);

/* A process's fields, as they were at one moment. */
struct snapshot {
	int		pid, ppid, pgid, sid, nthreads;
	uint32_t	uid, gid;
	char		name[16];
	char		state;
	uint64_t	user_ticks, sys_ticks, start_ns;
	uint64_t	size, resident, max_resident;	/* pages */
	vm_offset_t	brk_start, brk, stack_top, arg_start, arg_end, env_end;
};
/* vmp (may be NULL): its memory is wanted, referenced.  => ESRCH; EACCES, and ENOENT for a zombie, with vmp only */
int procfs_look(int pid, struct snapshot *s, struct vmspace **vmp);

/* procfs_memory.c: files about a process's memory, and the lines about it in "status" */
int procfs_maps(struct text *t, int pid);
int procfs_smaps(struct text *t, int pid);
int procfs_statm(struct text *t, int pid);
int procfs_cmdline(struct text *t, int pid);
int procfs_environ(struct text *t, int pid);
void procfs_status_memory(struct text *t, int pid);

extern const struct vfsops procfs_vfsops;

#endif
