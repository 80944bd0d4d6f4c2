/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page queues: which page to take next.
 *
 *	          vm_page_free                 idle thread
 *	    +----------------------> FREE ------------------> ZERO
 *	    |                          |                        |
 *	    |                          +------ vm_page_alloc ---+
 *	    |                                        |
 *	  INACTIVE <--- deactivate ---- NONE <-------+
 *	    |  ^                         |
 *	    |  +--- second chance ---> ACTIVE          (LAUNDRY: dirty, to be written)
 *	    +--- reclaim: back to FREE                UNSWAPPABLE: dirty, and nowhere to write it
 *
 * A page is on at most one queue and `queue` says which (P1); the links are page numbers, 32 bits
 * each.  Exactly one function, page_set_queue(), moves a page, and the table below says which moves
 * exist.
 *
 * Two locks, both spin locks: the free-list lock for FREE and ZERO (innermost: pmap allocates table
 * pages under its own lock), the page-queue lock for the others.  Nothing sleeps here and no queue
 * lock is held across a sleep.
 */
#include "vm/vm_pageq.h"

#include "kernel/kasan.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_check.h"
#include "vm/vm_object.h"
#include "vm/vm_pageout.h"
#include "vm/vm_path.h"

struct pageq {
	uint32_t	head, tail;	/* oldest, youngest; page numbers */
	volatile uint32_t count;
};

#define PAGEQ_EMPTY { VM_PAGE_NIL, VM_PAGE_NIL, 0 }
static struct pageq pageq[PQ_COUNT] = {
	[PQ_FREE] = PAGEQ_EMPTY, [PQ_ZERO] = PAGEQ_EMPTY, [PQ_INACTIVE] = PAGEQ_EMPTY,
	[PQ_ACTIVE] = PAGEQ_EMPTY, [PQ_LAUNDRY] = PAGEQ_EMPTY, [PQ_UNSWAPPABLE] = PAGEQ_EMPTY,
};
static struct spinlock free_lock = SPINLOCK_INITIALIZER("freelist", RANK_FREELIST);
static struct spinlock pageq_lock = SPINLOCK_INITIALIZER("pageq", RANK_PAGEQ);
static bool free_waiters;		/* free_lock: somebody sleeps in vm_wait() */

static const char *const queue_names[PQ_COUNT] = {
	"none", "free", "zero", "inactive", "active", "laundry", "unswappable"
};

/* legal[from]: bit mask of queues that a page may go to. */
#define TO(q) (1u << (q))
static const uint8_t legal[PQ_COUNT] = {
	[PQ_NONE] = TO(PQ_FREE) | TO(PQ_ZERO) | TO(PQ_INACTIVE) | TO(PQ_ACTIVE) | TO(PQ_LAUNDRY) | TO(PQ_UNSWAPPABLE),
	[PQ_FREE] = TO(PQ_NONE),
	[PQ_ZERO] = TO(PQ_NONE),
	[PQ_INACTIVE] = TO(PQ_NONE) | TO(PQ_ACTIVE) | TO(PQ_LAUNDRY) | TO(PQ_INACTIVE) | TO(PQ_UNSWAPPABLE),
	[PQ_ACTIVE] = TO(PQ_NONE) | TO(PQ_INACTIVE) | TO(PQ_LAUNDRY) | TO(PQ_ACTIVE) | TO(PQ_UNSWAPPABLE),
	[PQ_LAUNDRY] = TO(PQ_NONE) | TO(PQ_INACTIVE) | TO(PQ_ACTIVE) | TO(PQ_LAUNDRY) | TO(PQ_UNSWAPPABLE),
	[PQ_UNSWAPPABLE] = TO(PQ_NONE) | TO(PQ_INACTIVE) | TO(PQ_ACTIVE) | TO(PQ_LAUNDRY),
};

const char *
vm_pageq_name(unsigned queue)
{
	return (queue < PQ_COUNT ? queue_names[queue] : "?");
}

bool
vm_pageq_may_move(unsigned from, unsigned to)
{
	return (from < PQ_COUNT && to < PQ_COUNT && (legal[from] & TO(to)) != 0);
}

static inline uint32_t
page_number(const struct vm_page *m)
{
	return ((uint32_t)(m - vm_page_array));
}

static void
pageq_unlink(struct pageq *q, struct vm_page *m)
{
	if (m->q_prev != VM_PAGE_NIL)
		vm_page_array[m->q_prev].q_next = m->q_next;
	else
		q->head = m->q_next;
	if (m->q_next != VM_PAGE_NIL)
		vm_page_array[m->q_next].q_prev = m->q_prev;
	else
		q->tail = m->q_prev;
	m->q_next = m->q_prev = VM_PAGE_NIL;
	q->count--;
}

static void
pageq_append(struct pageq *q, struct vm_page *m)
{
	uint32_t n = page_number(m);

	m->q_prev = q->tail;
	m->q_next = VM_PAGE_NIL;
	if (q->tail != VM_PAGE_NIL)
		vm_page_array[q->tail].q_next = n;
	else
		q->head = n;
	q->tail = n;
	q->count++;
}

static bool
is_free(const struct vm_page *m)
{
	return (m->queue == PQ_FREE || m->queue == PQ_ZERO);
}

static __attribute__((noinline)) void
illegal_move(struct vm_page *m, enum page_queue to)
{
	char text[64];

	snprintf(text, sizeof(text), "illegal move from queue %s to %s", vm_pageq_name(m->queue), vm_pageq_name(to));
	vm_page_violation(text, m);
}

/* The one function that moves a page between queues.  => the lock of both queues held. */
static void
page_set_queue(struct vm_page *m, enum page_queue to)
{
	if (unlikely(!vm_pageq_may_move(m->queue, to))) {
		illegal_move(m, to);
		return;
	}
	if (is_free(m))
		kasan_unpoison(VM_PAGE_TO_DMAP(m), PAGE_SIZE);
	if (m->queue != PQ_NONE)
		pageq_unlink(&pageq[m->queue], m);
	m->queue = to;
	if (to != PQ_NONE)
		pageq_append(&pageq[to], m);
	if (is_free(m))
		kasan_poison(VM_PAGE_TO_DMAP(m), PAGE_SIZE, KASAN_PAGE_FREE);
}

/* ---- free pages ---- */

uint32_t
vm_free_count(void)
{
	return (pageq[PQ_FREE].count + pageq[PQ_ZERO].count);
}

uint32_t
vm_page_queue_len(enum page_queue q)
{
	return (pageq[q].count);
}

void
vm_pageq_free(struct vm_page *m)
{
	bool wake = false;

	spin_lock(&free_lock);
	page_set_queue(m, PQ_FREE);
	if (free_waiters && vm_free_count() > vm_ladder.min) {
		free_waiters = false;
		wake = true;
	}
	spin_unlock(&free_lock);
	if (wake)
		wakeup(&free_waiters);
}

struct vm_page *
vm_pageq_take_free(uint32_t floor, bool zero)
{
	enum page_queue first = zero ? PQ_ZERO : PQ_FREE, second = zero ? PQ_FREE : PQ_ZERO;
	struct vm_page *m = NULL;
	bool zeroed;

	spin_lock(&free_lock);
	if (vm_free_count() > floor) {
		enum page_queue from = pageq[first].count != 0 ? first : second;

		m = &vm_page_array[pageq[from].head];
		zeroed = from == PQ_ZERO;
		page_set_queue(m, PQ_NONE);
		m->flags = zeroed ? PG_ZERO : 0;
	}
	spin_unlock(&free_lock);
	return (m);
}

struct vm_page *
vm_pageq_take_contig(size_t npages, uint32_t floor)
{
	struct vm_page *found = NULL;
	size_t run = 0;

	spin_lock(&free_lock);
	if (vm_free_count() >= floor + npages) {
		for (uint32_t i = 0; i < vm_page_count && found == NULL; i++) {
			struct vm_page *m = &vm_page_array[i];

			if (!is_free(m))
				run = 0;
			else if (run > 0 && m->pfn != m[-1].pfn + 1)
				run = 1;
			else
				run++;
			if (run == npages)
				found = m - (npages - 1);
		}
		for (size_t i = 0; found != NULL && i < npages; i++)
			page_set_queue(&found[i], PQ_NONE);
	}
	spin_unlock(&free_lock);
	return (found);
}

void
vm_wait(void)
{
	assert_can_sleep("vm_wait");
	VM_PATH("vm_wait");
	vm_pageout_wakeup();
	spin_lock(&free_lock);
	if (vm_free_count() <= vm_ladder.min) {
		free_waiters = true;
		/*
		 * The time-out lets callers notice that reclaim makes no progress; they count their
		 * retries.
		 */
		tsleep(&free_waiters, &free_lock.lk, "vmwait", 10);
	}
	spin_unlock(&free_lock);
}

static int zero_held;			/* (free_lock) > 0: idle CPUs zero nothing */
static unsigned zeroing;		/* (free_lock) pages that some CPU is zeroing */

void
vm_page_zero_hold(bool hold)
{
	spin_lock(&free_lock);
	KASSERT(hold || zero_held > 0, "zeroing let go, but nobody holds it");
	zero_held += hold ? 1 : -1;
	/* It may be this CPU's own idle thread, which runs only when we sleep. */
	while (hold && zeroing > 0)
		(void)tsleep(&zeroing, &free_lock.lk, "zerohold", 0);
	spin_unlock(&free_lock);
}

static bool
zero_one(bool idle)
{
	struct vm_page *m = NULL;

	spin_lock(&free_lock);
	if (!(idle && zero_held > 0) && pageq[PQ_FREE].count > 0 && pageq[PQ_ZERO].count < pageq[PQ_FREE].count / 2) {
		m = &vm_page_array[pageq[PQ_FREE].head];
		page_set_queue(m, PQ_NONE);
		m->wire_count = 1;	/* accounted for while it is on neither list */
		zeroing++;
	}
	spin_unlock(&free_lock);
	if (m == NULL)
		return (false);
	pmap_zero_page(m);
	spin_lock(&free_lock);
	m->wire_count = 0;
	page_set_queue(m, PQ_ZERO);
	if (--zeroing == 0 && zero_held > 0)
		wakeup(&zeroing);
	spin_unlock(&free_lock);
	return (true);
}

bool
vm_page_zero_idle(void)
{
	return (zero_one(true));
}

bool
vm_page_zero_now(void)
{
	return (zero_one(false));
}

/* ---- pages in use ---- */

/* => pageq_lock held */
static void
enqueue_locked(struct vm_page *m, enum page_queue to)
{
	if (to == PQ_ACTIVE && m->act_count < ACT_INIT)
		m->act_count = ACT_INIT;
	if (m->queue != to)
		page_set_queue(m, to);
}

static void
page_enqueue(struct vm_page *m, enum page_queue to)
{
	spin_lock(&pageq_lock);
	if (m->wire_count == 0 && m->object != NULL)
		enqueue_locked(m, to);
	spin_unlock(&pageq_lock);
	TRACE(TR_PAGE_QUEUE, m->pfn, m->object, m->pindex, to);
}

void
vm_page_activate(struct vm_page *m)
{
	/*
	 * Unlocked look first: a soft fault on an active page must cost nothing.  A race only
	 * misplaces a hint.
	 */
	if (m->queue == PQ_ACTIVE) {
		if (m->act_count < ACT_INIT)
			m->act_count = ACT_INIT;
		return;
	}
	page_enqueue(m, PQ_ACTIVE);
}

void
vm_page_deactivate(struct vm_page *m)
{
	page_enqueue(m, PQ_INACTIVE);
}

void
vm_page_launder(struct vm_page *m)
{
	page_enqueue(m, PQ_LAUNDRY);
}

void
vm_page_unswappable(struct vm_page *m)
{
	page_enqueue(m, PQ_UNSWAPPABLE);
}

void
vm_page_swappable_again(void)
{
	bool more;

	do {
		spin_lock(&pageq_lock);
		/* A few at a time: interrupts are off. */
		for (int i = 0; i < 64 && pageq[PQ_UNSWAPPABLE].count > 0; i++)
			page_set_queue(&vm_page_array[pageq[PQ_UNSWAPPABLE].head], PQ_INACTIVE);
		more = pageq[PQ_UNSWAPPABLE].count > 0;
		spin_unlock(&pageq_lock);
	} while (more);
}

void
vm_page_unqueue(struct vm_page *m)
{
	if (m->queue == PQ_NONE)
		return;
	spin_lock(&pageq_lock);
	if (m->queue != PQ_NONE)
		page_set_queue(m, PQ_NONE);
	spin_unlock(&pageq_lock);
}

void
vm_page_requeue(struct vm_page *m)
{
	spin_lock(&pageq_lock);
	/*
	 * Whoever asks has let go of the page: it may have been freed meanwhile, and the free lists
	 * are not ours to touch.
	 */
	if (m->queue != PQ_NONE && !is_free(m))
		page_set_queue(m, m->queue);
	spin_unlock(&pageq_lock);
}

void
vm_page_reference(struct vm_page *m)
{
	if ((m->flags & PG_REFERENCED) == 0)
		vm_page_flag_set(m, PG_REFERENCED);
}

void
vm_page_wire(struct vm_page *m)
{
	if (__atomic_fetch_add(&m->wire_count, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	spin_lock(&pageq_lock);		/* page_enqueue() looks at wire_count under it */
	if (m->queue != PQ_NONE)
		page_set_queue(m, PQ_NONE);
	spin_unlock(&pageq_lock);
}

void
vm_page_unwire(struct vm_page *m, enum page_queue queue)
{
	uint32_t old = __atomic_load_n(&m->wire_count, __ATOMIC_RELAXED);
	bool orphan;

	KASSERT(old > 0, "unwiring page %u that is not wired (P4)", m->pfn);
	while (old > 1)
		if (__atomic_compare_exchange_n(&m->wire_count, &old, old - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return;
	spin_lock(&pageq_lock);
	orphan = m->object == NULL;	/* vm_page_disown() took it out of its object */
	/*
	 * The queue first: once the count is 0 the page is its object's, which may free it.  One that
	 * was cut off while it was wired has no contents: reclaim will find it first.
	 */
	if (!orphan && queue != PQ_NONE)
		enqueue_locked(m, m->valid != 0 ? queue : PQ_INACTIVE);
	old = __atomic_fetch_sub(&m->wire_count, 1, __ATOMIC_ACQ_REL);
	if (old > 1 && m->queue != PQ_NONE)
		page_set_queue(m, PQ_NONE);	/* wired again meanwhile */
	spin_unlock(&pageq_lock);
	if (orphan && old == 1)
		vm_page_free(m);
}

void
vm_pageq_lock(void)
{
	spin_lock(&pageq_lock);
}

void
vm_pageq_unlock(void)
{
	spin_unlock(&pageq_lock);
}

struct vm_page *
vm_pageq_first(enum page_queue q)
{
	return (pageq[q].head == VM_PAGE_NIL ? NULL : &vm_page_array[pageq[q].head]);
}

struct vm_page *
vm_pageq_next(struct vm_page *m)
{
	return (m->q_next == VM_PAGE_NIL ? NULL : &vm_page_array[m->q_next]);
}

void
vm_pageq_rotate(struct vm_page *m)
{
	page_set_queue(m, m->queue);
}

static void
check_one(enum page_queue q)
{
	uint32_t n = 0, prev = VM_PAGE_NIL;

	for (uint32_t i = pageq[q].head; i != VM_PAGE_NIL; i = vm_page_array[i].q_next) {
		const struct vm_page *m = &vm_page_array[i];

		if (m->queue != q || m->q_prev != prev || ++n > vm_page_count) {
			vm_check_violation("queue %s is broken at page %u, after %u pages (P1)", vm_pageq_name(q), m->pfn, n);
			return;
		}
		if (m->wire_count != 0)
			vm_check_violation("wired page %u on queue %s (P4)", m->pfn, vm_pageq_name(q));
		prev = i;
	}
	if (n != pageq[q].count || pageq[q].tail != prev)
		vm_check_violation("queue %s holds %u pages, counter says %u (P1)", vm_pageq_name(q), n, pageq[q].count);
}

void
vm_pageq_check(void)
{
	spin_lock(&pageq_lock);
	for (int q = PQ_INACTIVE; q < PQ_COUNT; q++)
		check_one(q);
	spin_lock(&free_lock);
	check_one(PQ_FREE);
	check_one(PQ_ZERO);
	spin_unlock(&free_lock);
	spin_unlock(&pageq_lock);
}
