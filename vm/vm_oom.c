/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Out of memory: who has to go.
 *
 *	allocation fails --> vm_oom_wait: vm_wait(), try again ...
 *	                        |  ten times, and reclaim is at a standstill (vm_pageout_hopeless)
 *	                        v
 *	             pages of idle files that cannot be written are given up; if there are none:
 *	             the largest address space that may be ended
 *	                |                          |                       |
 *	             another's                 our own                  there is none
 *	             doomed, ended;            doomed, ended;           the allocation fails
 *	             we wait on                the allocation fails
 *
 * Largest: private pages, swap blocks, and dirty pages of files, for these are what reclaim could not
 * have; and what the kernel has on its account: page tables, map entries, objects, reverse mappings, and
 * what its killer knows (stacks of threads, pipes).  A program that touches little and maps much is no
 * small one.  Who may be ended is not known here: killers say so (processes: all but the first one).  A
 * doomed address space gets no more pages: its own faults fail at once, wherever they wait.  It is chosen
 * once; if what it had does not come back, or is not enough, the next standstill chooses the next.
 *
 * What the kernel needs for itself (vm_oom_wait_kernel) is never denied: it may have locks, and who is to
 * be ended may wait for them.  So the kernel takes from the reserve, and only when that is used up, too, it
 * ends somebody.
 *
 * Standstill is a lack of progress, not of pages: a slow disk never ends anybody (vm_pageout.c).
 *
 * Lock order: oom_mutex (nothing else is held), a map by try, vmspace list and killers.
 *
 * Why not Linux's scores: they weigh wishes and history; here one number decides, and the log
 * shows it.
 */
#include "vm/vm_oom.h"

#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"

#define PATIENCE	10	/* waits (100 ms each at most) before asking whether there is any hope, and other tries */
#define WHO_MAX		48

static struct mutex oom_mutex = { .lk = { .name = "oom", .kind = LOCK_MUTEX, .rank = RANK_NONE } };
static bool giving;		/* oom_mutex; somebody gives up idle files, without the mutex */
static TAILQ_HEAD(, vm_killer) killers = TAILQ_HEAD_INITIALIZER(killers);	/* oom_mutex */

struct victim {
	struct vmspace	 *vm;		/* looked at; NULL: none */
	struct vm_killer *killer;
	size_t		  pages, swapped, kernel;	/* pages: of all kinds */
	unsigned	  candidates;
	char		  who[WHO_MAX];
};

void
vm_oom_register(struct vm_killer *killer)
{
	mutex_lock(&oom_mutex);
	TAILQ_INSERT_TAIL(&killers, killer, link);
	mutex_unlock(&oom_mutex);
}

void
vm_oom_unregister(struct vm_killer *killer)
{
	mutex_lock(&oom_mutex);
	TAILQ_REMOVE(&killers, killer, link);
	mutex_unlock(&oom_mutex);
}

/*
 * What one entry holds: private pages, or the dirty ones of a file, which nobody can take while
 * they cannot be written.  Of the top object only: what lies below may be another's, too.  Objects
 * are looked at without their locks, for an estimate.
 */
static size_t
entry_size(const struct vm_map_entry *e, size_t *swapped)
{
	const struct vm_object *object = e->object;
	size_t npages = OFF_TO_IDX(e->end - e->start);

	if (object == NULL || e->needs_copy)
		return (0);
	if (object->type == OBJT_SWAP)
		*swapped += MIN(object->un_pager.swp.nblocks, npages);
	return (MIN(vm_object_is_anonymous(object) ? object->resident_page_count : object->dirty_count, npages));
}

/* Pages of the kernel's that go with an address space.  Looked at without locks, for an estimate. */
static size_t
kernel_size(const struct vmspace *vm)
{
	size_t bytes = PEEK(vm->map.nentries) * sizeof(struct vm_map_entry) +
	    PEEK(vm->pmap.resident_count) * sizeof(struct pv_entry);

	return (PEEK(vm->pmap.ptp_count) + howmany(bytes, PAGE_SIZE));
}

size_t
vm_oom_size(struct vmspace *vm, size_t *swapped)
{
	size_t pages = kernel_size(vm), objects = 0;

	*swapped = 0;
	/* A map that somebody has locked is not waited for: its pages that are mapped will do. */
	if (!vm_map_tryrlock(&vm->map))
		return (pages + PEEK(vm->pmap.resident_count));
	for (struct vm_map_entry *e = vm_map_first(&vm->map); e != NULL; e = vm_map_next(e)) {
		pages += entry_size(e, swapped);
		objects += e->object != NULL && PEEK(e->object->ref_count) == 1;
	}
	vm_map_runlock(&vm->map);
	return (pages + howmany(objects * sizeof(struct vm_object), PAGE_SIZE) + *swapped);
}

/* Compare one address space with the best so far.  => oom_mutex; vm looked at */
static void
consider(struct vmspace *vm, struct victim *best)
{
	struct vm_killer *killer;
	char who[WHO_MAX];
	size_t swapped, pages, held = 0;

	if (vm->doomed)
		return;
	TAILQ_FOREACH(killer, &killers, link)
		if (killer->may_end(vm, who, sizeof(who), &held))
			break;
	if (killer == NULL)
		return;
	best->candidates++;
	pages = vm_oom_size(vm, &swapped) + held;
	if (best->vm != NULL && pages <= best->pages)
		return;
	if (best->vm != NULL)
		vmspace_look_end(best->vm);
	vmspace_look(vm);
	*best = (struct victim){ .vm = vm, .killer = killer, .pages = pages, .swapped = swapped,
	    .kernel = held + kernel_size(vm), .candidates = best->candidates };
	snprintf(best->who, sizeof(best->who), "%s", who);
}

/* End the users of the largest address space.  => oom_mutex.  Returns whether there is one, and it is not `self`. */
static bool
end_largest(struct vmspace *self)
{
	struct victim best = { 0 };
	struct vmspace *vm;

	for (vm = vmspace_next(NULL); vm != NULL; vm = vmspace_next(vm))
		consider(vm, &best);
	if (best.vm == NULL)
		return (false);
	VM_PATH("oom_ends_somebody");
	printf("out of memory: %s is ended: it holds %lu pages in memory, about %lu of them in the kernel, and %lu swapped out, the "
	    "most of %u that may be ended\n", best.who, best.pages - best.swapped, best.kernel, best.swapped, best.candidates);
	best.vm->doomed = true;
	best.killer->end(best.vm);
	vm_pageout_progress(0);		/* it gets the time to go */
	vmspace_look_end(best.vm);
	return (best.vm != self);
}

/*
 * Files that nobody uses any more, but with pages that the disk had no room for: before somebody is
 * ended, they are tried once more, and then given up.
 * => `giving` is ours.  Vnodes are only tried, for who has one locked may wait for us.  The laundry, which
 *    tries to write them again and again, soon lets go.  false: that brought nothing
 */
static bool
give_up_idle_files(void)
{
	uint32_t free = vm_free_count();

	for (int tries = 0; tries < PATIENCE; tries++) {
		bool all = vm_object_cache_give_up();

		if (vm_free_count() > free + VM_PAGER_CLUSTER_MAX) {
			VM_PATH("oom_gives_up_dirty_files");
			return (true);
		}
		if (all)
			break;
		(void)tsleep(&tries, NULL, "oomidl", 1);
	}
	return (false);
}

/* Is it still so that somebody has to go, and not `self`, who is to go already?  => oom_mutex */
static bool
must_choose(const struct vmspace *self)
{
	return ((self == NULL || !self->doomed) && vm_pageout_hopeless());
}

/*
 * Give up idle files if nobody else does, with the mutex let go: a write may need memory, or wait for a sync that
 * does, and who asks for the kernel's (vm_oom_wait_kernel) must be able to end somebody meanwhile.
 * => oom_mutex, also on return.  true: wait and see
 */
static bool
idle_files_first(void)
{
	bool brought;

	if (giving)
		return (true);
	giving = true;
	mutex_unlock(&oom_mutex);
	brought = give_up_idle_files();
	mutex_lock(&oom_mutex);
	giving = false;
	if (brought)
		vm_pageout_progress(1);
	return (brought);
}

/*
 * Reclaim is at a standstill: end somebody.  Returns whether `self` may go on.
 */
static bool
choose_and_end(struct vmspace *self, vm_offset_t addr)
{
	bool go_on;

	mutex_lock(&oom_mutex);
	/* re-check, both times: whoever had the mutex before may have ended us, or another. */
	if (must_choose(self) && !idle_files_first() && must_choose(self)) {
		vm_pageout_report_oom(addr);
		go_on = end_largest(self);
	} else {
		go_on = self == NULL || !self->doomed;
	}
	mutex_unlock(&oom_mutex);
	return (go_on);
}

bool
vm_oom_wait(struct vmspace *vm, int *waits, vm_offset_t addr)
{
	if (vm != NULL && vm->doomed) {
		VM_PATH("oom_doomed_gets_nothing");
		return (false);
	}
	if (++*waits > PATIENCE && vm_pageout_hopeless() && !choose_and_end(vm, addr))
		return (false);
	vm_wait();
	return (true);
}

int
vm_oom_wait_kernel(int *waits)
{
	/* At a standstill the reserve is tried at once: whoever has it now needs no writing to give it back. */
	if ((*waits)++ == 0 && vm_pageout_hopeless()) {
		VM_PATH("oom_kernel_opens_reserve");
		return (VM_ALLOC_SYSTEM);
	}
	vm_wait();
	if (!vm_pageout_hopeless())
		return (VM_ALLOC_NORMAL);
	/* Who has the mutex may wait for a lock that our caller has. */
	if (*waits > PATIENCE && mutex_trylock(&oom_mutex)) {
		VM_PATH("oom_kernel_ends_somebody");
		vm_pageout_report_oom(0);
		(void)end_largest(NULL);
		mutex_unlock(&oom_mutex);
	}
	return (VM_ALLOC_SYSTEM);
}
