/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: turning pages that nobody has used lately into free ones.
 *
 *	ACTIVE --(not referenced for a while)--> INACTIVE --(not referenced, clean)--> FREE
 *	   ^                                        |
 *	   +---------(referenced: second chance)----+--(dirty, of a file)--> LAUNDRY --(written)--> INACTIVE
 *
 * The thread sleeps until free pages fall below vm_ladder.min and works until vm_ladder.target.  It
 * never sleeps for an object or a vnode: it tries, and goes on with the next page.  A page cannot
 * leave its object while it is on a queue and the queue's lock is held, so with that lock the
 * object can be found and tried; then the queue's lock goes and the object's rules.
 *
 * Only clean pages are taken.  A dirty page goes to the laundry, a file's (vm_laundry.c) or
 * anonymous (vm_swapout.c).  When there is no swap disk, or it is full, a dirty anonymous page has
 * no other place than memory: it waits on a queue that nobody scans until there is room again.
 * Besides pages there are caches to ask: objects of files that nobody has open, metadata buffers,
 * idle vnodes.
 *
 * Out of memory is a lack of progress: OOM_SCANS scans in a row found next to nothing, and the laundry did
 * nothing meanwhile.  A slow disk is no lack of progress; a full one is.
 */
#include "vm/vm_pageout.h"

#include "kernel/clock.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_laundry.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_path.h"
#include "vm/vm_swapout.h"

static struct spinlock pageout_lock = SPINLOCK_INITIALIZER("pageout", RANK_NONE);
static bool needed;			/* pageout_lock */
static bool frozen;			/* pageout_lock */
static bool scanning;			/* pageout_lock: the thread is between two sleeps */
static volatile uint32_t fruitless;	/* scans in a row that were in vain */
/* pages freed by reclaim, or written by the laundry, ever */
static volatile uint64_t progress;
volatile bool vm_pageout_asked;		/* a hint; set without a lock */
static volatile bool reported;		/* of this standstill somebody was told */

#define LOCKED_MAX	8		/* pages of locked objects to pass over before their holders are let run */
#define PITTANCE	16		/* a scan that frees less, when it does not help, is in vain: somebody takes them in a circle */
#define OOM_SCANS	12		/* in vain, one after the other, before an allocator gives up */

/* What to do with an inactive page. */
enum verdict { TAKE, KEEP_ACTIVE, KEEP_INACTIVE, LAUNDER, UNSWAPPABLE };

/*
 * A page that was used since the last look stays; the first time on this queue, because whoever
 * reads a file from end to end uses each page once; a second time, it becomes active.
 * => object exclusively locked, page exclusive-busy by us.
 */
static enum verdict
judge(struct vm_page *m, bool second_chance)
{
	int refs = pmap_ts_referenced(m);

	if (m->flags & PG_REFERENCED) {
		vm_page_flag_clear(m, PG_REFERENCED);
		refs++;
	}
	if (refs > 0 && second_chance) {
		m->act_count += ACT_ADVANCE;
		return (m->act_count > ACT_INIT ? KEEP_ACTIVE : KEEP_INACTIVE);
	}
	/*
	 * P10: write access goes first, then the hardware's bit is read, and only then is the page
	 * called clean.
	 */
	pmap_remove_all(m);
	vm_page_test_dirty(m);
	if (m->dirty == 0)
		return (TAKE);
	if (m->object->type == OBJT_VNODE || (vm_object_is_anonymous(m->object) && swap_has_room()))
		return (LAUNDER);
	return (vm_object_is_anonymous(m->object) ? UNSWAPPABLE : KEEP_ACTIVE);
}

/*
 * => object exclusively locked, page exclusive-busy by us; neither on return.  Returns 1 if the
 * page became free.
 */
static size_t
dispose(struct vm_page *m, bool second_chance)
{
	struct vm_object *object = m->object;
	size_t freed = 0;

	switch (judge(m, second_chance)) {
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
	case UNSWAPPABLE:
		VM_PATH("reclaim_unswappable");
		vm_page_unswappable(m);
		vm_page_xunbusy(m);
		break;
	case KEEP_INACTIVE:
		VM_PATH("reclaim_used_once");
		vm_page_requeue(m);
		vm_page_xunbusy(m);
		break;
	case KEEP_ACTIVE:
		VM_PATH("reclaim_second_chance");
		vm_page_activate(m);
		VMCNT_INC(v_reactivated);
		vm_page_xunbusy(m);
		break;
	}
	vm_object_unlock(object);
	return (freed);
}

/*
 * => the page-queue lock held, and dropped.  Returns 1 if the page became free.
 * => *locked: goes up when the object was locked; NULL: nobody wants to know.
 */
static size_t
try_to_free(struct vm_page *m, bool second_chance, int *locked)
{
	struct vm_object *object = m->object;

	if (object == NULL || !vm_object_trylock(object)) {
		VM_PATH("reclaim_object_locked");
		vm_pageq_unlock();
		vm_page_requeue(m);
		if (locked != NULL)
			++*locked;
		return (0);
	}
	vm_pageq_unlock();
	/*
	 * re-check: between the two locks nothing could change: the page's object was locked before
	 * the queue's lock went.
	 */
	if (PEEK(m->wire_count) > 0 || (object->flags & OBJ_DEAD) || !vm_page_tryxbusy(m)) {
		VM_PATH("reclaim_page_busy");
		vm_page_requeue(m);
		vm_object_unlock(object);
		return (0);
	}
	return (dispose(m, second_chance));
}

void
vm_pageout_evict(struct vm_page *m)
{
	struct vm_object *object;
	vm_pindex_t pindex;
	uint8_t queue;

	vm_pageq_lock();
	queue = __atomic_load_n(&m->queue, __ATOMIC_RELAXED);	/* once: between the free ones and none it may change */
	object = m->object;
	if (object == NULL || queue == PQ_NONE || queue == PQ_FREE || queue == PQ_ZERO) {
		vm_pageq_unlock();
		return;
	}
	pindex = m->pindex;
	/* Only an address from here on, unless the page is still the one that we saw. */
	(void)try_to_free(m, false, NULL);
	if (PEEK(m->queue) == PQ_LAUNDRY && PEEK(m->object) == object && PEEK(m->pindex) == pindex)
		vm_swapout_page(m);
}

/*
 * The objects whose pages come up are locked by somebody whom we have preempted, perhaps by the
 * very allocation that woke us.  Nobody holds an object's lock for long, but with a better priority
 * than everybody else we would go round the queue without ever letting him finish.
 *
 * A tick of sleep, and not a turn at a lower priority: who computes without end at the holder's
 * priority would keep us from coming back.
 */
static void
let_holders_run(void)
{
	VM_PATH("reclaim_lets_holders_run");
	(void)tsleep(&vm_ladder, NULL, "pgheld", 1);
}

/* Look at the oldest inactive pages, each at most once. */
static size_t
scan_inactive(size_t wanted)
{
	uint32_t left = vm_page_queue_len(PQ_INACTIVE);
	size_t freed = 0;
	int locked = 0;

	while (left-- > 0 && freed < wanted) {
		struct vm_page *m;

		vm_pageq_lock();
		m = vm_pageq_first(PQ_INACTIVE);
		if (m == NULL) {
			vm_pageq_unlock();
			break;
		}
		VMCNT_INC(v_pdpages);
		freed += try_to_free(m, true, &locked);
		if (locked == LOCKED_MAX) {
			let_holders_run();
			locked = 0;
		}
	}
	return (freed);
}

/*
 * Age the active queue until enough pages are inactive: referenced pages gain, idle ones lose, at
 * zero they go.
 */
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
	size_t freed;

	if (vm_page_queue_len(PQ_UNSWAPPABLE) > 0 && swap_has_room()) {
		VM_PATH("reclaim_swappable_again");
		vm_page_swappable_again();
	}
	freed = scan_inactive(pages);
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
	TRACE(TR_PAGEOUT, freed, VMCNT_GET(v_pdpages), vm_free_count(), vm_ladder.target);
	return (freed);
}

bool
vm_pageout_hopeless(void)
{
	return (fruitless >= OOM_SCANS);
}

void
vm_pageout_progress(size_t pages)
{
	__atomic_fetch_add(&progress, pages, __ATOMIC_RELAXED);
	__atomic_store_n(&fruitless, 0, __ATOMIC_RELAXED);
	reported = false;
	wakeup(&progress);
	/* What was written can be taken now, and nobody may be there to ask for it. */
	if (vm_free_count() < vm_ladder.min)
		vm_pageout_wakeup();
}

void
vm_pageout_report_oom(vm_offset_t addr)
{
	struct swap_info swap;

	if (__atomic_exchange_n(&reported, true, __ATOMIC_RELAXED))
		return;
	swap_info(&swap);
	printf("out of memory: thread %s at 0x%lx gets no page, for %u scans freed none: %u pages free, %u active, %u inactive, "
	    "%u dirty, %u unswappable; swap %s, %u of %u pages used\n", curthread->name, addr, fruitless, vm_free_count(),
	    vm_page_queue_len(PQ_ACTIVE), vm_page_queue_len(PQ_INACTIVE), vm_page_queue_len(PQ_LAUNDRY),
	    vm_page_queue_len(PQ_UNSWAPPABLE), swap.disk == NULL ? "off" : swap.full ? "full" : "on", swap.inuse, swap.nblocks);
}

void
vm_pageout_wakeup(void)
{
	bool wake;

	vm_pageout_asked = false;
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

/* One scan, and what it says about our prospects. */
static void
reclaim_round(void)
{
	uint32_t free = vm_free_count();
	uint64_t before = progress;
	size_t freed;

	if (free >= vm_ladder.target)
		return;
	freed = vm_pageout_scan(vm_ladder.target - free);
	if (freed >= PITTANCE || (freed > 0 && vm_free_count() >= vm_ladder.min)) {
		vm_pageout_progress(freed);
		return;
	}
	/*
	 * Next to nothing to be had: give the laundry, and those who hold memory, time to let go of it,
	 * instead of scanning in a circle.
	 */
	VM_PATH("reclaim_in_vain");
	tsleep(&progress, NULL, "pdidle", HZ / 20);
	if (progress == before && !vm_laundry_writing() && vm_free_count() <= vm_ladder.min)
		__atomic_fetch_add(&fruitless, 1, __ATOMIC_RELAXED);
}

static void
pageout_thread(void *arg)
{
	for (;;) {
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
		reclaim_round();
	}
}

void
vm_pageout_init(void)
{
	struct thread *td = thread_create("pageout", PRI_PAGEOUT, pageout_thread, NULL);

	KASSERT(td != NULL, "no memory for the pageout thread");
	thread_detach(td);
}
