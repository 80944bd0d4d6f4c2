/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swap-out: idle, dirty, anonymous pages are written to the swap disk and freed.
 *
 *	LAUNDRY queue --> take one --> gather its neighbours --> pager --> unused still? --> FREE
 *	                    |          same object, idle, dirty     |            else   --> INACTIVE, clean
 *	                    |          up to 32                     +-- no room --> UNSWAPPABLE
 *	                    +-- used meanwhile --> ACTIVE           +-- error   --> ACTIVE, dirty
 *
 * Why a thread beside the laundry's: that one writes files, and so may sleep for a filesystem,
 * whose locks may be held by somebody who waits for memory.  Anonymous pages need no vnode, no
 * allocation and no lock but their object's, so this thread can always go on, and often what it
 * frees is what lets the files go on.  The two share the queue, and each passes over the other's
 * pages.
 *
 * A page is freed as soon as it is on disk: it had its second chance on the inactive queue, and
 * lost its mappings there; if it is mapped again when the write ends, it was used.
 *
 * It works while free pages are below vm_ladder.launder; above that, what is on the queue stays
 * there, and may be used again for free.
 *
 * Lock order: page queues to find a page and try its object; then object, page busy.  While the
 * disk works nothing is locked: the pages are shared-busy, and paging_in_progress keeps the object
 * alive.  Sleeps in "swapout", "swpagn" and in the pager; never for memory.
 */
#include "vm/vm_swapout.h"

#include "kernel/clock.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_laundry.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"

static struct spinlock swapout_lock = SPINLOCK_INITIALIZER("swapout", RANK_NONE);
static bool needed;			/* swapout_lock */

/* ---- one cluster ---- */

/*
 * Is this page to go?  Busies it, takes its mappings away and finds it dirty.
 * => object exclusively locked.  force: even if it was used lately.  false: not busy, and on the
 *    queue where it belongs.
 */
static bool
candidate(struct vm_page *m, bool force)
{
	if (PEEK(m->wire_count) > 0 || !vm_page_all_valid(m) || !vm_page_tryxbusy(m))
		return (false);
	if (!force && (pmap_ts_referenced(m) > 0 || (m->flags & PG_REFERENCED))) {
		VM_PATH("swapout_second_chance");
		vm_page_flag_clear(m, PG_REFERENCED);
		vm_page_activate(m);
		vm_page_xunbusy(m);
		return (false);
	}
	/* P10: no store can come between this and the clearing of the dirty bits. */
	pmap_remove_all(m);
	vm_page_test_dirty(m);
	if (m->dirty != 0)
		return (true);
	if (PEEK(m->queue) == PQ_LAUNDRY)
		vm_page_deactivate(m);
	vm_page_xunbusy(m);
	return (false);
}

static struct vm_page *
neighbour(struct vm_page *m, vm_pindex_t pindex, bool force)
{
	if (m == NULL || m->pindex != pindex || (!force && PEEK(m->queue) == PQ_ACTIVE) || !candidate(m, force))
		return (NULL);
	return (m);
}

/*
 * Collect the cluster around m, a candidate that is busy by us.  => object exclusively locked.
 * Returns how many.
 */
static int
gather(struct vm_page *m, bool force, struct vm_page *pages[VM_PAGER_CLUSTER_MAX])
{
	struct vm_page *first = m, *last = m, *at;
	int count = 1;

	while (count < VM_PAGER_CLUSTER_MAX && first->pindex > 0 &&
	    (at = neighbour(vm_page_prev(first), first->pindex - 1, force)) != NULL) {
		first = at;
		count++;
	}
	while (count < VM_PAGER_CLUSTER_MAX && (at = neighbour(vm_page_next(last), last->pindex + 1, force)) != NULL) {
		last = at;
		count++;
	}
	for (int i = 0; i < count; i++, first = vm_page_next(first))
		pages[i] = first;
	return (count);
}

/*
 * One page after its write.  => object exclusively locked; m shared-busy by us, and no more on
 * return.
 */
static void
settle(struct vm_page *m, int status, bool force)
{
	vm_page_sunbusy(m);
	if (status == VM_PAGER_AGAIN && !swap_has_room()) {
		VM_PATH("swapout_no_room");
		vm_page_unswappable(m);
	} else if (status == VM_PAGER_ERROR) {
		vm_page_activate(m);	/* so that it does not clog the queue */
	} else if (status == VM_PAGER_OK && PEEK(m->wire_count) == 0 && !pmap_page_is_mapped(m) &&
	    (force || (PEEK(m->queue) != PQ_ACTIVE && vm_free_count() < vm_ladder.launder)) && vm_page_tryxbusy(m)) {
		vm_page_free(m);
	} else if (status == VM_PAGER_OK && PEEK(m->queue) == PQ_LAUNDRY) {
		VM_PATH("swapout_clean_but_kept");
		vm_page_deactivate(m);
	}
}

/*
 * Write a cluster.  => object exclusively locked, dropped meanwhile; pages exclusive-busy by us,
 * not busy on return.  Returns pages written.
 */
static size_t
write_cluster(struct vm_object *object, struct vm_page **pages, int count, bool force)
{
	int rtvals[VM_PAGER_CLUSTER_MAX];
	size_t written = 0;

	vm_object_pip_add(object, 1);
	vm_object_unlock(object);
	vm_pager_put_pages(object, pages, count, true, rtvals);
	vm_object_lock(object);
	for (int i = 0; i < count; i++) {
		written += rtvals[i] == VM_PAGER_OK;
		settle(pages[i], rtvals[i], force);
	}
	vm_object_pip_wakeup(object);
	if (written > 0)
		vm_pageout_progress(written);
	return (written);
}

size_t
vm_object_swapout(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
	struct vm_page *pages[VM_PAGER_CLUSTER_MAX], *m;
	size_t written = 0;

	KASSERT(vm_object_is_anonymous(object), "swapping out object %p of type %u", object, object->type);
	vm_object_lock(object);
	while ((m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
		int count;

		start = m->pindex + 1;
		if (!candidate(m, true)) {
			if (PEEK(m->wire_count) == 0 && vm_page_all_valid(m) && vm_page_tryxbusy(m))
				vm_page_free(m);	/* clean: nothing to write */
			continue;
		}
		count = gather(m, true, pages);
		start = MAX(start, pages[count - 1]->pindex + 1);
		/* re-check: from `start` on; what comes before it was dealt with. */
		written += write_cluster(object, pages, count, true);
	}
	vm_object_unlock(object);
	return (written);
}

/*
 * => the page-queue lock held, and dropped.  m: an anonymous page on a queue.  Returns pages
 * written.
 */
static size_t
write_around(struct vm_page *m, bool force)
{
	struct vm_page *pages[VM_PAGER_CLUSTER_MAX];
	struct vm_object *object = m->object;
	size_t written = 0;
	bool locked = vm_object_trylock(object);

	vm_pageq_unlock();
	if (!locked) {
		VM_PATH("swapout_object_locked");
		vm_page_requeue(m);
		return (0);
	}
	/*
	 * re-check: the object was locked before the queue's lock went, so the page is still its
	 * own; but the object may be dying.
	 */
	if ((object->flags & OBJ_DEAD) == 0 && vm_object_is_anonymous(object) && candidate(m, force))
		written = write_cluster(object, pages, gather(m, force, pages), force);
	else
		vm_page_requeue(m);
	vm_object_unlock(object);
	return (written);
}

void
vm_swapout_page(struct vm_page *m)
{
	vm_pageq_lock();
	if (m->queue == PQ_LAUNDRY && m->object != NULL && vm_object_is_anonymous(m->object))
		write_around(m, true);
	else
		vm_pageq_unlock();
}

/* ---- the thread ---- */

/*
 * Go once through the queue, as long as memory is short.  Returns pages written; *left_over: some
 * of ours are still there.
 */
static size_t
swapout_queue(bool *left_over)
{
	uint32_t left = vm_page_queue_len(PQ_LAUNDRY);
	size_t written = 0;

	*left_over = false;
	while (left > 0 && vm_free_count() < vm_ladder.launder) {
		struct vm_page *m;

		vm_pageq_lock();
		m = vm_laundry_next(true, &left);
		if (m == NULL) {
			vm_pageq_unlock();
			continue;
		}
		*left_over = true;
		written += write_around(m, false);
	}
	return (written);
}

static void
swapout_thread(void *arg)
{
	for (;;) {
		bool left_over;

		spin_lock(&swapout_lock);
		while (!needed)
			tsleep(&needed, &swapout_lock.lk, "swapout", 0);
		needed = false;
		spin_unlock(&swapout_lock);
		vm_laundry_note_writing(1);
		if (swapout_queue(&left_over) == 0 && left_over) {
			/* No memory for the books, or all of it in use: not now. */
			VM_PATH("swapout_in_vain");
			vm_laundry_note_writing(-1);
			tsleep(&swapout_lock, NULL, "swpagn", HZ / 20);
		} else {
			vm_laundry_note_writing(-1);
		}
	}
}

void
vm_swapout_wakeup(void)
{
	if (__atomic_load_n(&needed, __ATOMIC_RELAXED))
		return;
	spin_lock(&swapout_lock);
	needed = true;
	wakeup(&needed);
	spin_unlock(&swapout_lock);
}

void
vm_swapout_init(void)
{
	struct thread *td = thread_create("swapout", PRI_PAGEOUT, swapout_thread, NULL);

	KASSERT(td != NULL, "no memory for the swapout thread");
	thread_detach(td);
}
