/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process without open files: what stands in for the descriptor tables while they are not part of the kernel.
 * Programs start, fork, fault and exit; every call on a file is missing.  All of it is weak: linking the real
 * thing replaces it, and this file goes.
 */
#include "kernel/fs/vnode.h"
#include "kernel/user/proc.h"

#define __weak	__attribute__((weak))

__weak struct fdtable *fdtable_create(void) { return (NULL); }
__weak struct fdtable *fdtable_fork(struct fdtable *from) { return (NULL); }
__weak void fdtable_close_on_exec(struct fdtable *files) { }
__weak void fdtable_release(struct fdtable *files) { }
__weak int fdtable_open_console(struct fdtable *files) { return (0); }
__weak struct fs_context *fs_context_create(void) { return (NULL); }
__weak struct fs_context *fs_context_fork(struct fs_context *from) { return (NULL); }
__weak void fs_context_release(struct fs_context *fs) { }
__weak void tty_session_ends(struct proc *p) { }

__weak int
fs_lookup(int dirfd, const char *path, int namei_flags, struct vnode **vpp)
{
	return (namei(path, NULL, namei_flags, vpp));
}

__weak int
fd_vnode(int fd, struct vnode **vpp, int *mode)
{
	return (EBADF);
}
