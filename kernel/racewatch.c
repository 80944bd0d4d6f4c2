/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Races on shared fields, found by sampling.
 *
 * The fields of the VM carry the letter of the lock that keeps their users apart.  Where such a field is used
 * there is a mark, RACE_WRITE or RACE_READ, and while the yield points are on (yieldpoint.c) one mark in
 * SAMPLE_ONE_IN looks whether the lock was really held by all who came along:
 *
 *	at the mark			anybody else meanwhile
 *	post address, kind, stack
 *	remember the value
 *	linger: give way or dawdle	a mark of the same field, one of the two a write:  report, both stacks
 *	is the value the same?		a store without a mark has changed it:  report, one stack
 *	take the post down
 *
 * Every mark looks at the posts of all others, sampled or not.  So nothing must go wrong for a race to be
 * found, and no lock has to be known here: two threads at one field at one time are enough.  What is not
 * found may still be there; what is found is there.
 *
 * Fields that are read without their lock on purpose (a stale look costs a turn) have no mark at those
 * places, nor do atomic ones: the marks say what the letters say.
 *
 * Posts are a table of one slot for each that lingers, taken by compare-and-swap; the slot's other words are
 * written before the address is, and read after it.  A reader that comes just when a slot changes hands may
 * print the wrong stack, but never reports what nobody posted: it looks at the address again.
 */
#include "kernel/racewatch.h"

#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"

#define SAMPLE_ONE_IN	16
#define POSTS		16
#define FRAMES		8

struct post {
	bool		taken;		/* (atomic) */
	uintptr_t	at;		/* (atomic) the field; 0: not posted */
	size_t		size;
	bool		write;
	const struct thread *td;
	unsigned	depth;
	uint64_t	pc[FRAMES];
};

void (*racewatch_hook)(const char *message);

static struct post posts[POSTS];
static uint64_t samples;		/* (atomic) */

uint64_t
racewatch_samples(void)
{
	return (__atomic_load_n(&samples, __ATOMIC_RELAXED));
}

static void
print_stack(const char *who, const struct thread *td, const uint64_t *pc, unsigned depth)
{
	printf("  %s thread %s:\n", who, td->name);
	for (unsigned i = 0; i < depth; i++) {
		const char *name = ksym_lookup(pc[i] - 1, NULL);

		printf("    %s\n", name != NULL ? name : "?");
	}
}

/* => theirs: the post that we ran into; NULL: an unmarked store changed what we have posted */
static void
report(const volatile void *at, bool write, const struct post *theirs)
{
	char text[160];
	uint64_t pc[FRAMES], offset = 0;
	unsigned depth = backtrace_capture(pc, FRAMES);
	const char *place = depth > 2 ? ksym_lookup(pc[2] - 1, &offset) : NULL;

	if (panicking)
		return;
	snprintf(text, sizeof(text), "race: %s of %p in %s %s", write ? "write" : "read", at, place != NULL ? place : "?",
	    theirs == NULL ? "while something stored there" : theirs->write ? "during a write" : "during a read");
	if (racewatch_hook != NULL) {
		racewatch_hook(text);
		return;
	}
	if (theirs != NULL)
		print_stack(theirs->write ? "written by" : "read by", theirs->td, theirs->pc, theirs->depth);
	print_stack(write ? "written by" : "read by", curthread, pc, depth);
	panic("%s", text);
}

/* Does somebody linger at these bytes, and one of us writes? */
static void
check_posts(const volatile void *at, size_t size, bool write)
{
	uintptr_t start = (uintptr_t)at;

	for (struct post *p = posts; p < posts + POSTS; p++) {
		uintptr_t there = __atomic_load_n(&p->at, __ATOMIC_ACQUIRE);
		struct post copy;

		if (there == 0 || there >= start + size || there + p->size <= start || !(write || p->write) ||
		    p->td == curthread)
			continue;
		copy = *p;
		if (__atomic_load_n(&p->at, __ATOMIC_ACQUIRE) == there)
			report(at, write, &copy);
	}
}

static struct post *
post_take(void)
{
	for (struct post *p = posts; p < posts + POSTS; p++)
		if (!__atomic_exchange_n(&p->taken, true, __ATOMIC_ACQUIRE))
			return (p);
	return (NULL);
}

/* => size <= 8 */
static uint64_t
value_of(const volatile void *at, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, (const void *)at, size);
	return (value);
}

static void
linger(const volatile void *at, size_t size, bool write)
{
	struct post *p = post_take();
	uint64_t before;
	bool changed;

	if (p == NULL)
		return;
	p->size = size;
	p->write = write;
	p->td = curthread;
	p->depth = backtrace_capture(p->pc, FRAMES);
	before = value_of(at, size);
	__atomic_store_n(&p->at, (uintptr_t)at, __ATOMIC_SEQ_CST);
	yield_point_linger();
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	changed = value_of(at, size) != before;
	__atomic_store_n(&p->at, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&p->taken, false, __ATOMIC_RELEASE);
	__atomic_fetch_add(&samples, 1, __ATOMIC_RELAXED);
	if (changed)
		report(at, write, NULL);
}

__attribute__((noinline)) void
racewatch_access(const volatile void *at, size_t size, bool write)
{
	if (panicking || curcpu->in_nmi)
		return;
	KASSERT(size <= 8, "a watched field of %zu bytes", size);
	check_posts(at, size, write);
	if (yield_point_coin(SAMPLE_ONE_IN))
		linger(at, size, write);
}
