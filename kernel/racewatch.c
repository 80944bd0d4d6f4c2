/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Races on shared memory, found by sampling.
 *
 * The fields of the VM carry the letter of the lock that keeps their users apart.  In a kernel made with
 * SAN=race, the compiler puts a call before each load and store of vm/ and kernel/fs/
 * (__tsan_write8(va), ...).  While the yield points are on (yieldpoint.c), one call in about SAMPLE_ONE_IN
 * looks whether the lock was really held by all who came along:
 *
 *	at the access			anybody else meanwhile
 *	post address, kind, stack
 *	remember the value
 *	linger: give way or dawdle	another access to it, one of the two a write:  report, both stacks
 *	is the value the same?		a store that made no call has changed it:  report, one stack
 *	take the post down
 *
 * Every call looks for a post at its address, sampled or not.  So nothing must go wrong for a race to be
 * found, and no lock has to be known here: two threads at one field at one time are enough.  What is not
 * found may still be there; what is found is there.
 *
 * Who means to go without a lock says so, by an atomic access or a volatile one:
 *
 *	meets		plain load	plain store	marked load	marked store
 *	plain load	-		race		-		race
 *	plain store	race		race		-		race
 *
 * A marked load beside a plain store is no race here: it is a look that may be stale, at a word that an x86
 * stores in one piece.  (C says that it is one.  Linux's KCSAN takes the same view by default.)  Two marked
 * ones never are.
 *
 * A post is for one granule of eight bytes, and its granule says which slot it is in; if somebody lingers
 * there already, that sample is left out.  A slot's other words are written before the address is, and read
 * after it.  A reader that comes just when a slot changes hands may print the wrong stack, but never reports
 * what nobody posted: it looks at the address again.
 *
 * Not watched: a thread's own stack, and what assembly, devices and memcpy() do.  Nor is the order of
 * accesses: atomic ones are made with all the order that there is.  This file is compiled without calls.
 */
#include "kernel/racewatch.h"

#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"
#include "kernel/yieldpoint.h"

#define SAMPLE_ONE_IN	128
#define SLOTS		64		/* a power of two */
#define FRAMES		12u
#define GRANULE		8ul

struct post {
	bool		taken;		/* (atomic) */
	bool		met;		/* (atomic) somebody has run into it, and reported */
	uintptr_t	at;		/* (atomic) the field; 0: not posted */
	size_t		size;
	bool		write;
	const struct thread *td;
	unsigned	depth;
	uint64_t	pc[FRAMES];
};

void (*racewatch_hook)(const char *message);

static struct post posts[SLOTS];
static unsigned posted;			/* (atomic) how many posts there are */
static uint64_t samples;		/* (atomic) */
static unsigned until_sample[MAX_CPUS];	/* (its CPU; a thread that is moved between may spoil one) */

uint64_t
racewatch_samples(void)
{
	return (__atomic_load_n(&samples, __ATOMIC_RELAXED));
}

/* ---- the report ---- */

static void
print_stack(const char *who, const struct thread *td, const uint64_t *pc, unsigned depth)
{
	printf("  %s thread %s:\n", who, td->name);
	for (unsigned i = 0; i < depth; i++) {
		uint64_t offset = 0;
		const char *name = ksym_lookup(pc[i] - 1, &offset);

		printf("    0x%lx %s+0x%lx\n", pc[i], name != NULL ? name : "?", offset + 1);
	}
}

/* The caller's stack from the access on, without what lies in this file.  => its depth */
static __attribute__((noinline)) unsigned
stack_from(uint64_t caller, uint64_t pc[FRAMES])
{
	uint64_t all[FRAMES + 6];
	unsigned depth = backtrace_capture(all, nitems(all)), skip = 0;

	while (skip < depth && all[skip] != caller)
		skip++;
	if (skip == depth)
		skip = 0;
	depth = MIN(depth - skip, FRAMES);
	memcpy(pc, all + skip, depth * sizeof(pc[0]));
	return (depth);
}

/* => theirs: the post that we ran into; NULL: a store without a call changed what we have posted */
static void
report(uintptr_t at, bool write, uint64_t caller, const struct post *theirs)
{
	char text[200];
	uint64_t pc[FRAMES], offset = 0;
	unsigned depth = stack_from(caller, pc);
	const char *here = ksym_lookup(caller - 1, &offset), *there = NULL;

	if (panicking)
		return;
	if (theirs != NULL && theirs->depth > 0)
		there = ksym_lookup(theirs->pc[0] - 1, &offset);
	snprintf(text, sizeof(text), "race: %s of 0x%lx in %s %s%s", write ? "write" : "read", at, here != NULL ? here : "?",
	    theirs == NULL ? "while something stored there" : theirs->write ? "during a write in " : "during a read in ",
	    theirs == NULL ? "" : there != NULL ? there : "?");
	if (racewatch_hook != NULL) {
		racewatch_hook(text);
		return;
	}
	if (theirs != NULL)
		print_stack(theirs->write ? "written by" : "read by", theirs->td, theirs->pc, theirs->depth);
	print_stack(write ? "written by" : "read by", curthread, pc, depth);
	panic("%s", text);
}

/* ---- posts ---- */

static inline struct post *
slot_of(uintptr_t at)
{
	return (&posts[at / GRANULE % SLOTS]);
}

/* Does somebody linger at these bytes, and one of us writes? */
static __attribute__((noinline)) void
check_posts(uintptr_t start, uintptr_t end, bool write, uint64_t caller)
{
	for (uintptr_t at = start & ~(GRANULE - 1); at < end; at += GRANULE) {
		struct post *p = slot_of(at), copy;
		uintptr_t there = __atomic_load_n(&p->at, __ATOMIC_ACQUIRE);

		if (there == 0 || there >= end || there + p->size <= start || !(write || p->write) || p->td == curthread)
			continue;
		copy = *p;
		if (__atomic_load_n(&p->at, __ATOMIC_ACQUIRE) == there && !__atomic_exchange_n(&p->met, true, __ATOMIC_RELAXED))
			report(MAX(there, start), write, caller, &copy);
	}
}

/* => within one granule */
static uint64_t
value_of(uintptr_t at, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, (const void *)at, size);
	return (value);
}

static __attribute__((noinline)) void
linger(uintptr_t at, size_t size, bool write, uint64_t caller)
{
	struct post *p = slot_of(at);
	uint64_t before;
	bool changed;

	if (__atomic_exchange_n(&p->taken, true, __ATOMIC_ACQUIRE))
		return;
	p->size = size = MIN(size, GRANULE - at % GRANULE);
	p->write = write;
	p->met = false;
	p->td = curthread;
	p->depth = stack_from(caller, p->pc);
	before = value_of(at, size);
	__atomic_fetch_add(&posted, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&p->at, at, __ATOMIC_SEQ_CST);
	yield_point_linger();
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	changed = value_of(at, size) != before && !__atomic_load_n(&p->met, __ATOMIC_RELAXED);
	__atomic_store_n(&p->at, 0, __ATOMIC_RELEASE);
	__atomic_fetch_sub(&posted, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&p->taken, false, __ATOMIC_RELEASE);
	__atomic_fetch_add(&samples, 1, __ATOMIC_RELAXED);
	if (changed)
		report(at, write, caller, NULL);
}

/* ---- what the compiler calls ---- */

static inline bool
watching(void)
{
	return (unlikely(yield_points) && !panicking && !curcpu->in_nmi);
}

static inline bool
on_own_stack(uintptr_t at)
{
	return (at - (uintptr_t)__builtin_frame_address(0) < KSTACK_PAGES * PAGE_SIZE);
}

static void
plain(const volatile void *va, size_t size, bool write, uint64_t caller)
{
	uintptr_t at = (uintptr_t)va;
	unsigned *until = &until_sample[curcpu->id];

	if (!watching() || size == 0 || on_own_stack(at))
		return;
	if (__atomic_load_n(&posted, __ATOMIC_RELAXED) != 0)
		check_posts(at, at + size, write, caller);
	if (*until > 0) {
		--*until;
		return;
	}
	*until = yield_point_random() % (2 * SAMPLE_ONE_IN);
	if (yield_point_can_linger())
		linger(at, size, write, caller);
}

static void
marked_store(const volatile void *va, size_t size, uint64_t caller)
{
	if (watching() && __atomic_load_n(&posted, __ATOMIC_RELAXED) != 0)
		check_posts((uintptr_t)va, (uintptr_t)va + size, true, caller);
}

#define CALLER	((uint64_t)__builtin_return_address(0))

#define CALLBACK(name, ...)					\
	void __tsan_##name(void *at __VA_ARGS__);		\
	void __tsan_##name(void *at __VA_ARGS__)

#define FOR_EACH_SIZE(f) f(1) f(2) f(4) f(8) f(16)

/* A field of a packed structure may lie at any address; to us it is the same. */
#define CALLBACKS(n)							\
	CALLBACK(read##n) { plain(at, n, false, CALLER); }		\
	CALLBACK(write##n) { plain(at, n, true, CALLER); }		\
	CALLBACK(unaligned_read##n) { plain(at, n, false, CALLER); }	\
	CALLBACK(unaligned_write##n) { plain(at, n, true, CALLER); }	\
	CALLBACK(volatile_read##n) { }					\
	CALLBACK(volatile_write##n) { marked_store(at, n, CALLER); }
FOR_EACH_SIZE(CALLBACKS)
CALLBACK(read_range, , size_t size) { plain(at, size, false, CALLER); }
CALLBACK(write_range, , size_t size) { plain(at, size, true, CALLER); }

void __tsan_init(void);
void __tsan_init(void) { }

/* An atomic operation is not preceded by a call but replaced by one, whatever order it asked for. */
#define FETCH(bits, type, op)									\
	type __tsan_atomic##bits##_fetch_##op(volatile type *at, type operand, int order);	\
	type __tsan_atomic##bits##_fetch_##op(volatile type *at, type operand, int order)	\
	{											\
		marked_store(at, sizeof(type), CALLER);						\
		return (__atomic_fetch_##op(at, operand, __ATOMIC_SEQ_CST));			\
	}
#define COMPARE(bits, type, kind)								\
	bool __tsan_atomic##bits##_compare_exchange_##kind(volatile type *at, type *expected,	\
	    type value, int order, int other);							\
	bool __tsan_atomic##bits##_compare_exchange_##kind(volatile type *at, type *expected,	\
	    type value, int order, int other)							\
	{											\
		marked_store(at, sizeof(type), CALLER);						\
		return (__atomic_compare_exchange_n(at, expected, value, false,			\
		    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));					\
	}
/* clang asks for the value that was found instead. */
#define COMPARE_VALUE(bits, type)								\
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected,	\
	    type value, int order, int other);							\
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *at, type expected,	\
	    type value, int order, int other)							\
	{											\
		marked_store(at, sizeof(type), CALLER);						\
		(void)__atomic_compare_exchange_n(at, &expected, value, false,			\
		    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);					\
		return (expected);								\
	}
#define ATOMICS(bits)	ATOMICS_OF(bits, uint##bits##_t)
#define ATOMICS_OF(bits, type)									\
	type __tsan_atomic##bits##_load(const volatile type *at, int order);			\
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order);		\
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order);		\
	type __tsan_atomic##bits##_load(const volatile type *at, int order)			\
	{											\
		return (__atomic_load_n(at, __ATOMIC_SEQ_CST));					\
	}											\
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order)		\
	{											\
		marked_store(at, sizeof(type), CALLER);						\
		__atomic_store_n(at, value, __ATOMIC_SEQ_CST);					\
	}											\
	type __tsan_atomic##bits##_exchange(volatile type *at, type value, int order)		\
	{											\
		marked_store(at, sizeof(type), CALLER);						\
		return (__atomic_exchange_n(at, value, __ATOMIC_SEQ_CST));			\
	}											\
	FETCH(bits, type, add) FETCH(bits, type, sub) FETCH(bits, type, and)			\
	FETCH(bits, type, or) FETCH(bits, type, xor)						\
	COMPARE(bits, type, strong) COMPARE(bits, type, weak) COMPARE_VALUE(bits, type)
ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

void __tsan_atomic_thread_fence(int order);
void
__tsan_atomic_thread_fence(int order)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
