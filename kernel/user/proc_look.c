/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What others may see of a process: its open files, where it stands in the tree of names, what it runs.
 *
 * These change when it executes and go when it ends, both under proc_parts_lock; so whoever holds that lock and has found
 * them in the process may take references of his own, inside the locks of the parts themselves.
 *
 * Lock order: proc_parts_lock, then a table's or the vnode list's lock; proc_lock for a moment between.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"

struct spinlock proc_parts_lock = SPINLOCK_INITIALIZER("parts of processes", RANK_PROC_PARTS);

struct parts {
	struct fdtable	*files;
	struct fs_context *fs;
	struct vnode	*text;
};

/* => proc_parts_lock, and what is found is good while it is held.  ESRCH, EACCES */
static int
parts_of(int pid, struct parts *parts)
{
	struct proc *p;
	int error = 0;

	KASSERT(spin_held(&proc_parts_lock), "looking at parts of process %d without the lock", pid);
	*parts = (struct parts){ 0 };
	spin_lock(&proc_lock);
	p = proc_find(pid);
	if (p == NULL)
		error = ESRCH;
	else if (!proc_may_signal(p))
		error = EACCES;
	else
		*parts = (struct parts){ p->files, p->fs, p->text };
	spin_unlock(&proc_lock);
	return (error);
}

int
proc_file(int pid, int fd, struct file **fpp)
{
	struct parts parts;
	int error;

	spin_lock(&proc_parts_lock);
	error = parts_of(pid, &parts);
	if (error == 0) {
		*fpp = parts.files != NULL ? fdtable_get(parts.files, fd) : NULL;
		error = *fpp == NULL ? ENOENT : 0;
	}
	spin_unlock(&proc_parts_lock);
	return (error);
}

int
proc_next_fd(int pid, int fd)
{
	struct parts parts;
	int next = -1;

	spin_lock(&proc_parts_lock);
	if (parts_of(pid, &parts) == 0 && parts.files != NULL)
		next = fdtable_next(parts.files, fd);
	spin_unlock(&proc_parts_lock);
	return (next);
}

int
proc_cwd(int pid, struct vnode **vpp)
{
	struct parts parts;
	int error;

	spin_lock(&proc_parts_lock);
	error = parts_of(pid, &parts);
	if (error == 0) {
		*vpp = parts.fs != NULL ? fs_context_cwd(parts.fs) : NULL;
		error = *vpp == NULL ? ENOENT : 0;
	}
	spin_unlock(&proc_parts_lock);
	return (error);
}

int
proc_text(int pid, struct vnode **vpp)
{
	struct parts parts;
	int error;

	spin_lock(&proc_parts_lock);
	error = parts_of(pid, &parts);
	if (error == 0 && parts.text == NULL)
		error = ENOENT;
	if (error == 0) {
		vref(parts.text);
		*vpp = parts.text;
	}
	spin_unlock(&proc_parts_lock);
	return (error);
}
