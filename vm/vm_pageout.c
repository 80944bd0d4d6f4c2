/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: turning pages that nobody has used lately into free ones.
 *
 *	ACTIVE --(not referenced for a while)--> INACTIVE --(still not referenced, clean)--> FREE
 *	   ^                                        |
 *	   +---------(referenced: second chance)----+--(dirty, of a file)--> LAUNDRY --(written)--> INACTIVE
 *
 * The thread sleeps until free pages fall below vm_ladder.min and works until vm_ladder.target.  It never sleeps for an object or a
 * vnode: it tries, and goes on with the next page.  A page cannot leave its object while it is on a queue and the queue's lock is
 * held, so with that lock the object can be found and tried; then the queue's lock goes and the object's rules.
 *
 * Only clean pages are taken.  A file's dirty page goes to the laundry (vm_laundry.c); a dirty anonymous page has no other place: it stays.  Besides pages there are caches to ask: objects of
 * files that nobody has open, metadata buffers, idle vnodes.
 */
#include "vm/vm_pageout.h"

#include "kernel/clock.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_laundry.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

static struct spinlock pageout_lock = SPINLOCK_INITIALIZER("pageout", RANK_NONE);
static bool needed;			/* pageout_lock */
static bool frozen;			/* pageout_lock */
static bool scanning;			/* pageout_lock: the thread is between two sleeps */
static volatile uint64_t fruitless;	/* scans in vain, ever */

/* Is one page of this object, found on a queue, worth taking now? */
enum verdict { TAKE, KEEP_ACTIVE, LAUNDER };

/* => object exclusively locked, page exclusive-busy by us. */
static enum verdict
judge(struct vm_page *m)
{
	int refs = pmap_ts_referenced(m);

	if (m->flags & PG_REFERENCED) {
		vm_page_flag_clear(m, PG_REFERENCED);
		refs++;
	}
	if (refs > 0)
		return (KEEP_ACTIVE);
	/* P10: write access goes first, then the hardware's bit is read, and only then is the page called clean. */
	pmap_remove_all(m);
	vm_page_test_dirty(m);
	if (m->dirty == 0)
		return (TAKE);
	return (m->object->type == OBJT_VNODE ? LAUNDER : KEEP_ACTIVE);
}

/* => the page-queue lock held, and dropped.  Returns 1 if the page became free. */
static size_t
try_to_free(struct vm_page *m)
{
	struct vm_object *object = m->object;
	size_t freed = 0;

	if (object == NULL || !vm_object_trylock(object)) {
		vm_pageq_unlock();
		vm_page_requeue(m);
		return (0);
	}
	vm_pageq_unlock();
	/* re-check: between the two locks nothing could change: the page's object was locked before the queue's lock went. */
	if (m->wire_count > 0 || (object->flags & OBJ_DEAD) || !vm_page_tryxbusy(m)) {
		vm_page_requeue(m);
		vm_object_unlock(object);
		return (0);
	}
	switch (judge(m)) {
	case TAKE:
		vm_page_free(m);
		VMCNT_INC(v_dfree);
		freed = 1;
		break;
	case LAUNDER:
		vm_page_launder(m);
		vm_page_xunbusy(m);
		vm_laundry_wakeup();
		break;
	case KEEP_ACTIVE:
		vm_page_activate(m);
		VMCNT_INC(v_reactivated);
		vm_page_xunbusy(m);
		break;
	}
	vm_object_unlock(object);
	return (freed);
}

/* Look at the oldest inactive pages, each at most once. */
static size_t
scan_inactive(size_t wanted)
{
	uint32_t left = vm_page_queue_len(PQ_INACTIVE);
	size_t freed = 0;

	while (left-- > 0 && freed < wanted) {
		struct vm_page *m;

		vm_pageq_lock();
		m = vm_pageq_first(PQ_INACTIVE);
		if (m == NULL) {
			vm_pageq_unlock();
			break;
		}
		VMCNT_INC(v_pdpages);
		freed += try_to_free(m);
	}
	return (freed);
}

/* Age the active queue until enough pages are inactive: referenced pages gain, idle ones lose, at zero they go. */
static void
scan_active(size_t wanted_inactive)
{
	uint32_t left = vm_page_queue_len(PQ_ACTIVE);

	while (left-- > 0 && vm_page_queue_len(PQ_INACTIVE) < wanted_inactive) {
		struct vm_page *m;
		bool idle;
		int refs;

		vm_pageq_lock();
		m = vm_pageq_first(PQ_ACTIVE);
		if (m == NULL) {
			vm_pageq_unlock();
			return;
		}
		refs = pmap_ts_referenced(m) + ((m->flags & PG_REFERENCED) != 0);
		vm_page_flag_clear(m, PG_REFERENCED);
		if (refs > 0)
			m->act_count = MIN(m->act_count + ACT_ADVANCE + refs, ACT_MAX);
		else if (m->act_count > 0)
			m->act_count--;
		idle = refs == 0 && m->act_count == 0;
		vm_pageq_unlock();
		VMCNT_INC(v_pdpages);
		if (idle)
			vm_page_deactivate(m);
		else
			vm_page_requeue(m);
	}
}

size_t
vm_pageout_scan(size_t pages)
{
	size_t freed = scan_inactive(pages);

	/* Each pass ages the active pages by one; the more is missing, the more passes. */
	for (int pass = 0; pass < ACT_INIT + ACT_ADVANCE && freed < pages; pass++) {
		scan_active(MAX(2 * pages, (size_t)vm_page_count / 4));
		freed += scan_inactive(pages - freed);
	}
	if (freed < pages)
		freed += bio_shrink(pages - freed);
	if (freed < pages)
		freed += vm_object_cache_shrink(pages - freed, false);
	if (freed < pages)
		freed += (size_t)vnode_shrink(8);
	TRACE(TR_PAGEOUT, freed, cnt.v_pdpages, vm_free_count(), vm_ladder.target);
	return (freed);
}

uint64_t
vm_pageout_fruitless(void)
{
	return (fruitless);
}

void
vm_pageout_wakeup(void)
{
	bool wake;

	if (__atomic_load_n(&needed, __ATOMIC_RELAXED))
		return;
	spin_lock(&pageout_lock);
	wake = !needed;
	needed = true;
	if (wake)
		wakeup(&needed);
	spin_unlock(&pageout_lock);
}

void
vm_pageout_freeze(bool on)
{
	spin_lock(&pageout_lock);
	frozen = on;
	while (on && scanning)
		tsleep(&frozen, &pageout_lock.lk, "pdfrz", 0);
	if (!on)
		wakeup(&needed);
	spin_unlock(&pageout_lock);
}

static void
pageout_thread(void *arg)
{
	for (;;) {
		uint32_t free;

		spin_lock(&pageout_lock);
		scanning = false;
		wakeup(&frozen);
		while (!needed || frozen)
			tsleep(&needed, &pageout_lock.lk, "psleep", 0);
		needed = false;
		scanning = true;
		spin_unlock(&pageout_lock);
		VMCNT_INC(v_pdwakeups);
		vm_object_cache_trim();
		free = vm_free_count();
		if (free < vm_ladder.target && vm_pageout_scan(vm_ladder.target - free) == 0) {
			__atomic_fetch_add(&fruitless, 1, __ATOMIC_RELAXED);
			/* Nothing to be had: give those who hold memory time to let go of it, instead of scanning in a circle. */
			tsleep(&fruitless, NULL, "pdidle", HZ / 20);
		}
	}
}

void
vm_pageout_init(void)
{
	struct thread *td = thread_create("pageout", PRI_PAGEOUT, pageout_thread, NULL);

	KASSERT(td != NULL, "no memory for the pageout thread");
	thread_detach(td);
}
