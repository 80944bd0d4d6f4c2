/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page queues as a state machine: which moves exist, what each does to the counts, and in which
 * order pages come up.
 *
 * The page that is moved about is busy, so that neither reclaim nor the laundry takes an interest.
 */
#include "tests/kernel/t_vm.h"
#include "vm/vm_check.h"
#include "vm/vm_pageq.h"

/* One letter for each queue, in the order of enum page_queue: None Free Zero Inactive Active Laundry Unswappable. */
#define QUEUES	"NFZIALU"

/* The diagram of vm_pageq.c, from each queue: where a page may go. */
static const char *const moves[PQ_COUNT] = { "FZIALU", "N", "N", "NIALU", "NIALU", "NIALU", "NIAL" };

static void
move_to(struct vm_page *m, enum page_queue to)
{
	switch (to) {
	case PQ_INACTIVE:
		vm_page_deactivate(m);
		break;
	case PQ_ACTIVE:
		vm_page_activate(m);
		break;
	case PQ_LAUNDRY:
		vm_page_launder(m);
		break;
	case PQ_UNSWAPPABLE:
		vm_page_unswappable(m);
		break;
	default:
		vm_page_unqueue(m);
	}
}

static bool
drawn(unsigned from, unsigned to)
{
	return (strchr(moves[from], QUEUES[to]) != NULL);
}

KTEST(queue, moves_are_those_of_the_diagram)
{
	for (unsigned from = 0; from < PQ_COUNT; from++)
		for (unsigned to = 0; to < PQ_COUNT; to++)
			if (vm_pageq_may_move(from, to) != drawn(from, to))
				ktest_fail(__FILE__, __LINE__, "a move from %s to %s is %s", vm_pageq_name(from), vm_pageq_name(to),
				    drawn(from, to) ? "refused" : "allowed");
}

KTEST(queue, every_move_of_a_page_in_use_is_counted)
{
	static const enum page_queue used[] = { PQ_NONE, PQ_INACTIVE, PQ_ACTIVE, PQ_LAUNDRY, PQ_UNSWAPPABLE };
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1);
	struct vm_page *m = page_make(object, 0, 1);

	CHECK_OR_RETURN(page_xbusy(m));
	vm_pageout_freeze(true);
	for (size_t f = 0; f < nitems(used); f++)
		for (size_t t = 0; t < nitems(used); t++) {
			uint32_t before[PQ_COUNT];

			move_to(m, PQ_NONE);
			move_to(m, used[f]);
			CHECK_EQ(m->queue, used[f]);
			for (unsigned q = PQ_INACTIVE; q < PQ_COUNT; q++)
				before[q] = vm_page_queue_len(q);
			move_to(m, used[t]);
			CHECK_EQ(m->queue, used[t]);
			for (unsigned q = PQ_INACTIVE; q < PQ_COUNT; q++)
				CHECK_EQ(vm_page_queue_len(q), before[q] + (q == used[t]) - (q == used[f]));
			vm_page_requeue(m);	/* whoever saw it elsewhere: it stays where it is now */
			CHECK_EQ(m->queue, used[t]);
			vm_pageq_check();
		}
	vm_pageout_freeze(false);
	vm_object_lock(object);
	vm_page_xunbusy(m);
	vm_object_unlock(object);
	vm_object_deallocate(object);
}

extern void (*vm_page_violation_hook)(const char *what, struct vm_page *m);

static char complaint[64];

static void
note_complaint(const char *what, struct vm_page *m)
{
	snprintf(complaint, sizeof(complaint), "%s", what);
}

/* A free page is nobody's to queue: the attempt is named, and the page stays free. */
KTEST(queue, illegal_move_is_named_and_not_made)
{
	struct vm_page *m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);
	enum page_queue after;

	CHECK_OR_RETURN(m != NULL);
	complaint[0] = '\0';
	vm_page_violation_hook = note_complaint;
	vm_pageq_lock();		/* nobody may take it in between */
	vm_page_free(m);
	vm_pageq_rotate(m);
	after = m->queue;
	vm_pageq_unlock();
	vm_page_violation_hook = NULL;
	CHECK_EQ(after, PQ_FREE);
	CHECK_STR(complaint, "illegal move from queue free to free");
	vm_check();
}

/* The order of some pages on their queue, oldest first, as digits of their indices. */
static unsigned
order_of(struct vm_object *object, enum page_queue q)
{
	unsigned order = 0;

	vm_pageq_lock();
	for (struct vm_page *m = vm_pageq_first(q); m != NULL; m = vm_pageq_next(m))
		if (m->object == object)
			order = 10 * order + (unsigned)m->pindex;
	vm_pageq_unlock();
	return (order);
}

KTEST(queue, pages_come_up_in_the_order_they_went_in)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 6);
	struct vm_page *m[6];

	vm_pageout_freeze(true);
	for (vm_pindex_t i = 1; i < 6; i++)
		m[i] = page_make(object, i, 1);
	for (int i = 5; i > 0; i--)
		vm_page_deactivate(m[i]);
	CHECK_EQ(order_of(object, PQ_INACTIVE), 54321);
	vm_page_deactivate(m[5]);		/* it is there already: it keeps its place */
	CHECK_EQ(order_of(object, PQ_INACTIVE), 54321);
	vm_page_requeue(m[4]);			/* but this one was looked at and spared */
	CHECK_EQ(order_of(object, PQ_INACTIVE), 53214);
	vm_page_activate(m[2]);
	vm_page_activate(m[5]);
	CHECK_EQ(order_of(object, PQ_INACTIVE), 314);
	CHECK_EQ(order_of(object, PQ_ACTIVE), 25);
	vm_page_activate(m[2]);
	CHECK_EQ(order_of(object, PQ_ACTIVE), 25);
	vm_pageout_freeze(false);
	vm_object_deallocate(object);
}

/* A page that was let go may be anywhere when it is to be requeued: where there is no order, it stays. */
KTEST(queue, requeueing_knows_queues_without_an_order)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1);
	struct vm_page *m = page_make(object, 0, 1);

	CHECK_OR_RETURN(m != NULL);
	for (unsigned q = PQ_INACTIVE; q < PQ_COUNT; q++) {
		move_to(m, PQ_NONE);
		vm_page_requeue(m);
		CHECK_EQ(m->queue, PQ_NONE);
		move_to(m, q);
		vm_page_requeue(m);
		CHECK_EQ(m->queue, q);
	}
	vm_check();
	vm_object_deallocate(object);
}

KTEST(queue, wired_page_is_on_none)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1);
	struct vm_page *m = page_make(object, 0, 1);

	vm_page_wire(m);
	CHECK_EQ(m->queue, PQ_NONE);
	for (unsigned q = PQ_INACTIVE; q < PQ_COUNT; q++) {
		move_to(m, q);
		CHECK_EQ(m->queue, PQ_NONE);
	}
	vm_page_wire(m);
	vm_page_unwire(m, PQ_ACTIVE);
	CHECK_EQ(m->queue, PQ_NONE);		/* one wiring is left */
	vm_page_unwire(m, PQ_INACTIVE);
	CHECK_EQ(m->queue, PQ_INACTIVE);
	vm_object_deallocate(object);
}
