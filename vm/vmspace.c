/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address spaces: a map and its page tables, with a reference count, on a list of all of them for
 * the walkers.
 *
 *	thread --vmspace--> [ map | pmap ]
 *	                      |      page tables, loaded by pmap_switch()
 *	                      entries -> objects
 *
 * Who chooses among all of them (vm_oom.c) may hold locks that come behind a map's, and so must never be the one
 * who takes the last reference away and unmaps everything.  It takes none: it looks, and the owner of the last
 * reference waits until nobody does.
 */
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_map.h"

static MALLOC_DEFINE(M_VMSPACE, "vmspace");
static struct spinlock vmspace_lock = SPINLOCK_INITIALIZER("vmspaces", RANK_OBJECT_LIST);
static TAILQ_HEAD(, vmspace) vmspaces;		/* vmspace_lock */

struct vmspace *
vmspace_alloc(void)
{
	struct vmspace *vm = kmalloc(sizeof(*vm), &M_VMSPACE, M_WAITOK | M_ZERO);

	if (pmap_pinit(&vm->pmap) != 0) {
		kfree(vm, &M_VMSPACE);
		return (NULL);
	}
	vm_map_setup(&vm->map, &vm->pmap);
	vm->refs = 1;
	spin_lock(&vmspace_lock);
	TAILQ_INSERT_TAIL(&vmspaces, vm, link);
	spin_unlock(&vmspace_lock);
	return (vm);
}

void
vmspace_ref(struct vmspace *vm)
{
	__atomic_fetch_add(&vm->refs, 1, __ATOMIC_RELAXED);
}

void
vmspace_free(struct vmspace *vm)
{
	if (__atomic_sub_fetch(&vm->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	spin_lock(&vmspace_lock);
	while (vm->looks > 0)
		(void)tsleep(&vm->looks, &vmspace_lock.lk, "vmlook", 0);
	spin_unlock(&vmspace_lock);
	vm_map_remove(&vm->map, vm->map.min, vm->map.max);
	KASSERT(vm->map.nentries == 0 && vm->map.size == 0, "vmspace %p: %u entries left", vm, vm->map.nentries);
	spin_lock(&vmspace_lock);
	TAILQ_REMOVE(&vmspaces, vm, link);
	spin_unlock(&vmspace_lock);
	pmap_release(&vm->pmap);
	kfree(vm, &M_VMSPACE);
}

void
vmspace_look(struct vmspace *vm)
{
	spin_lock(&vmspace_lock);
	vm->looks++;
	spin_unlock(&vmspace_lock);
}

void
vmspace_look_end(struct vmspace *vm)
{
	spin_lock(&vmspace_lock);
	if (--vm->looks == 0)
		wakeup(&vm->looks);
	spin_unlock(&vmspace_lock);
}

struct vmspace *
vmspace_next(struct vmspace *vm)
{
	struct vmspace *next;

	spin_lock(&vmspace_lock);
	next = vm == NULL ? TAILQ_FIRST(&vmspaces) : TAILQ_NEXT(vm, link);
	while (next != NULL && PEEK(next->refs) == 0)
		next = TAILQ_NEXT(next, link);
	if (next != NULL)
		next->looks++;
	spin_unlock(&vmspace_lock);
	if (vm != NULL)
		vmspace_look_end(vm);
	return (next);
}

void
vmspace_foreach(void (*fn)(struct vmspace *vm, void *arg), void *arg)
{
	struct vmspace *vm;

	spin_lock(&vmspace_lock);
	TAILQ_FOREACH(vm, &vmspaces, link)
		fn(vm, arg);
	spin_unlock(&vmspace_lock);
}

struct vmspace *
vmspace_fork(struct vmspace *vm)
{
	struct vmspace *new = vmspace_alloc();

	if (new != NULL && vm_map_copy_entries(&vm->map, &new->map) != KERN_SUCCESS) {
		vmspace_free(new);
		new = NULL;
	}
	if (new != NULL)
		new->map.stack_limit = vm->map.stack_limit;
	return (new);
}
