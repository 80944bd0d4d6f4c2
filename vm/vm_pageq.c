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
 * each.  Exactly one function, vm_pageq_move(), moves a page, and the table below says which moves
 * exist.
 *
 * FREE and ZERO are several lists with locks of their own, which vm_freelist.c keeps.  The others have one
 * list each, and one spin lock, the page-queue lock, for all of them.  Nothing sleeps here and no queue lock
 * is held across a sleep.
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

static struct pageq pageq[PQ_COUNT] = {		/* from PQ_INACTIVE on */
	[PQ_INACTIVE] = PAGEQ_EMPTY, [PQ_ACTIVE] = PAGEQ_EMPTY, [PQ_LAUNDRY] = PAGEQ_EMPTY,
	[PQ_UNSWAPPABLE] = PAGEQ_EMPTY,
};
static struct spinlock pageq_lock = SPINLOCK_INITIALIZER("pageq", RANK_PAGEQ);

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

void
vm_pageq_unlink(struct pageq *q, struct vm_page *m)
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

void
vm_pageq_append(struct pageq *q, struct vm_page *m)
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

void
vm_pageq_splice(struct pageq *from, struct vm_page *last, uint32_t n, struct pageq *to)
{
	uint32_t first = from->head;

	from->head = last->q_next;
	if (from->head != VM_PAGE_NIL)
		vm_page_array[from->head].q_prev = VM_PAGE_NIL;
	else
		from->tail = VM_PAGE_NIL;
	from->count -= n;
	vm_page_array[first].q_prev = to->tail;
	last->q_next = VM_PAGE_NIL;
	if (to->tail != VM_PAGE_NIL)
		vm_page_array[to->tail].q_next = first;
	else
		to->head = first;
	to->tail = page_number(last);
	to->count += n;
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

bool
vm_pageq_move(struct vm_page *m, struct pageq *from, enum page_queue to, struct pageq *list)
{
	if (unlikely(!vm_pageq_may_move(m->queue, to))) {
		illegal_move(m, to);
		return (false);
	}
	if (is_free(m))
		kasan_unpoison(VM_PAGE_TO_DMAP(m), PAGE_SIZE);
	if (from != NULL)
		vm_pageq_unlink(from, m);
	m->queue = to;
	if (list != NULL)
		vm_pageq_append(list, m);
	if (is_free(m))
		kasan_poison(VM_PAGE_TO_DMAP(m), PAGE_SIZE, KASAN_PAGE_FREE);
	return (true);
}

/* Of those that pageq_lock guards. */
static inline struct pageq *
list_of(const struct vm_page *m)
{
	return (m->queue == PQ_NONE ? NULL : &pageq[m->queue]);
}

/* => pageq_lock held; the page is on none of the free lists, and goes to none */
static void
page_set_queue(struct vm_page *m, enum page_queue to)
{
	(void)vm_pageq_move(m, list_of(m), to, to == PQ_NONE ? NULL : &pageq[to]);
}

uint32_t
vm_page_queue_len(enum page_queue q)
{
	return (q == PQ_FREE || q == PQ_ZERO ? vm_freelist_len(q) : pageq[q].count);
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

/* Unlocked look first: what is where it belongs costs nothing.  A race only misplaces a hint. */
static void
page_enqueue(struct vm_page *m, enum page_queue to)
{
	if (PEEK(m->queue) == to && (to != PQ_ACTIVE || PEEK(m->act_count) >= ACT_INIT))
		return;
	spin_lock(&pageq_lock);
	if (PEEK(m->wire_count) == 0 && m->object != NULL)
		enqueue_locked(m, to);
	spin_unlock(&pageq_lock);
	TRACE(TR_PAGE_QUEUE, m->pfn, m->object, m->pindex, to);
}

void
vm_page_activate(struct vm_page *m)
{
	page_enqueue(m, PQ_ACTIVE);
}

void
vm_page_deactivate(struct vm_page *m)
{
	page_enqueue(m, PQ_INACTIVE);
}

void
vm_page_deactivate_run(struct vm_page **m, int count)
{
	if (count == 0)
		return;
	spin_lock(&pageq_lock);
	for (int i = 0; i < count; i++)
		if (PEEK(m[i]->wire_count) == 0 && m[i]->object != NULL)
			enqueue_locked(m[i], PQ_INACTIVE);
	spin_unlock(&pageq_lock);
	for (int i = 0; i < count; i++)
		TRACE(TR_PAGE_QUEUE, m[i]->pfn, m[i]->object, m[i]->pindex, PQ_INACTIVE);
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
	if (PEEK(m->queue) == PQ_NONE)
		return;
	spin_lock(&pageq_lock);
	if (m->queue != PQ_NONE)
		page_set_queue(m, PQ_NONE);
	spin_unlock(&pageq_lock);
}

void
vm_page_unqueue_run(struct vm_page **m, int count)
{
	spin_lock(&pageq_lock);
	for (int i = 0; i < count; i++)
		if (m[i]->queue != PQ_NONE)
			page_set_queue(m[i], PQ_NONE);
	spin_unlock(&pageq_lock);
}

void
vm_page_requeue(struct vm_page *m)
{
	uint8_t queue;

	spin_lock(&pageq_lock);
	/*
	 * Whoever asks has let go of the page.  It may have been freed meanwhile, and the free lists are not
	 * ours to touch: there `queue` may change under our eyes.  Or it was judged, and went where nobody looks.
	 */
	queue = __atomic_load_n(&m->queue, __ATOMIC_RELAXED);
	if (queue == PQ_INACTIVE || queue == PQ_ACTIVE || queue == PQ_LAUNDRY)
		page_set_queue(m, queue);
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
	uint32_t old = __atomic_load_n(&m->wire_count, __ATOMIC_RELAXED);

	while (old > 0)
		if (__atomic_compare_exchange_n(&m->wire_count, &old, old + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return;
	/* The first time, in one step for all who look at both under this lock: page_enqueue(), the audit. */
	spin_lock(&pageq_lock);
	if (__atomic_fetch_add(&m->wire_count, 1, __ATOMIC_ACQ_REL) == 0 && PEEK(m->queue) != PQ_NONE)
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
	if (old > 1 && PEEK(m->queue) != PQ_NONE)
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

void
vm_pageq_check_list(const struct pageq *list, enum page_queue q)
{
	uint32_t n = 0, prev = VM_PAGE_NIL;

	for (uint32_t i = list->head; i != VM_PAGE_NIL; i = vm_page_array[i].q_next) {
		const struct vm_page *m = &vm_page_array[i];

		if (m->queue != q || m->q_prev != prev || (is_free(m) ? vm_freelist_of(m) : list_of(m)) != list || ++n > vm_page_count) {
			vm_check_violation("queue %s is broken at page %u, after %u pages (P1)", vm_pageq_name(q), m->pfn, n);
			return;
		}
		if (PEEK(m->wire_count) != 0)
			vm_check_violation("wired page %u on queue %s (P4)", m->pfn, vm_pageq_name(q));
		prev = i;
	}
	if (n != list->count || list->tail != prev)
		vm_check_violation("queue %s holds %u pages, counter says %u (P1)", vm_pageq_name(q), n, list->count);
}

void
vm_pageq_check(void)
{
	spin_lock(&pageq_lock);
	for (int q = PQ_INACTIVE; q < PQ_COUNT; q++)
		vm_pageq_check_list(&pageq[q], q);
	spin_unlock(&pageq_lock);
	vm_freelist_check();
}
