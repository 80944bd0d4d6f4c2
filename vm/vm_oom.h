/* SPDX-License-Identifier: BSD-2-Clause */
/* Out of memory: who has to go. */
#ifndef VM_VM_OOM_H
#define VM_VM_OOM_H

#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"

struct vmspace;

/*
 * Somebody who can end the users of address spaces: processes, or a self-test.
 * => both are called with spin locks allowed and sleeping not; vm is referenced.
 */
struct vm_killer {
	TAILQ_ENTRY(vm_killer) link;
	/*
	 * May the users of vm be ended?  Then says who they are, for the log, and adds to *held what else goes with them:
	 * pages that the kernel has for them, like their stacks in it.
	 */
	bool	(*may_end)(struct vmspace *vm, char *who, size_t size, size_t *held);
	/* End them: their memory comes back soon, and not by this thread's doing. */
	void	(*end)(struct vmspace *vm);
};
/* => sleeps; the structure stays the caller's until it is unregistered. */
void vm_oom_register(struct vm_killer *killer);
void vm_oom_unregister(struct vm_killer *killer);

/*
 * Wait for memory, on behalf of vm (NULL: of nobody), because an allocation failed; *waits counts,
 * and begins at 0.  When reclaim has come to a standstill somebody is ended, and the log says who,
 * why and for how much.
 * => nothing locked; sleeps in "vmwait".
 * => true: try again.  false: give up: it is vm that has to go, or there is nobody to end.
 */
bool vm_oom_wait(struct vmspace *vm, int *waits, vm_offset_t addr);

/*
 * The same for memory that the kernel itself must have, perhaps with locks held that a victim waits for:
 * at a standstill the reserve is opened, and when that does not help, somebody is ended.
 * => sleeps in "vmwait".  Returns the class to try with next, VM_ALLOC_NORMAL or VM_ALLOC_SYSTEM.
 */
int  vm_oom_wait_kernel(int *waits);

/*
 * Pages that nobody can have while vm lives: in memory, those of its tables and entries too, and swapped out; an estimate.
 * => vm referenced, or looked at
 */
size_t vm_oom_size(struct vmspace *vm, size_t *swapped);

#endif
