/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes as victims of a shortage of memory (vm/vm_oom.c): the users of an address space are all
 * processes that run in it, and SIGKILL ends them.  The first process is never chosen: without it
 * there is no system left to save.
 *
 * Lock order: proc_parts_lock, so that open files stay; in it proc_lock, or a table of descriptors'.
 */
#include "kernel/lib/printf.h"
#include "kernel/thread.h"
#include "kernel/user/proc.h"
#include "vm/vm_oom.h"

/*
 * Stacks of threads in the kernel, and pipes, each of whose ends counts as half of it, or less if others have it, too.
 */
static bool
may_end(struct vmspace *vm, char *who, size_t size, size_t *held)
{
	struct fdtable *files = NULL;
	bool found = false;
	struct proc *p;

	spin_lock(&proc_parts_lock);
	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link) {
		if (p->state != PROC_ALIVE || p->vmspace != vm)
			continue;
		if (p == init_proc) {
			found = false;
			break;
		}
		snprintf(who, size, "process %d (%s)", p->pid, p->name);
		*held += (size_t)p->nthreads * KSTACK_PAGES;
		files = p->files;
		found = true;
	}
	spin_unlock(&proc_lock);
	if (found && files != NULL)
		*held += fdtable_pipe_bytes(files) / PAGE_SIZE;
	spin_unlock(&proc_parts_lock);
	return (found);
}

static void
end(struct vmspace *vm)
{
	struct proc *p;

	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p->state == PROC_ALIVE && p->vmspace == vm)
			signal_proc_locked(p, SIGKILL, NULL);
	spin_unlock(&proc_lock);
}

static struct vm_killer proc_killer = { .may_end = may_end, .end = end };

void
proc_oom_init(void)
{
	vm_oom_register(&proc_killer);
}
