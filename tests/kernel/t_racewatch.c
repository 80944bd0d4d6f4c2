/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The watch on shared memory: races that are planted are found, also at a field of the VM, by VM code; what a
 * lock or a mark keeps apart is not accused.  This file is watched itself, so that it can plant.
 *
 * Races are planted on one CPU: who lingers there gives way, so that it is no matter of luck who comes by.
 */
#include "kernel/kassert.h"
#include "kernel/racewatch.h"
#include "kernel/thread.h"
#include "kernel/yieldpoint.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/t_vm.h"

#define ROUNDS	2000

static struct mutex lock;
static uint64_t field;
static struct vm_page *page;
static struct vmspace *space;		/* which has `page` mapped at AT(0) */
static int reports, here;		/* (atomic) */
static char first_report[200];

static void
record(const char *message)
{
	if (__atomic_fetch_add(&reports, 1, __ATOMIC_RELAXED) == 0)
		strlcpy(first_report, message, sizeof(first_report));
}

/* ---- what the parties do to the field ---- */

static __attribute__((noinline)) void
locked_store(void)
{
	mutex_lock(&lock);
	field++;
	mutex_unlock(&lock);
}

static __attribute__((noinline)) void
bare_store(void)
{
	field++;
}

static __attribute__((noinline)) void
bare_load(void)
{
	uint64_t value = field;

	__asm__ volatile("" : : "r"(value));
}

static __attribute__((noinline)) void
marked_load(void)
{
	(void)__atomic_load_n(&field, __ATOMIC_RELAXED);
	(void)*(volatile uint64_t *)&field;
}

static __attribute__((noinline)) void
marked_store(void)
{
	__atomic_fetch_add(&field, 1, __ATOMIC_RELAXED);
}

static __attribute__((noinline, no_sanitize("thread"))) void
unseen_store(void)
{
	(*(volatile uint64_t *)&field)++;
}

static void
dirty_locked(void)
{
	vm_object_lock(page->object);
	vm_page_dirty(page);
	vm_object_unlock(page->object);
}

static void
dirty_bare(void)
{
	vm_page_dirty(page);
}

static void
store_through_the_mapping(void)
{
	CHECK_EQ(put(space, AT(0), 1), 0);
}

static void
ask_the_mapping(void)
{
	vm_prot_t prot;

	(void)pmap_is_modified(page);
	(void)pmap_ts_referenced(page);
	pmap_clear_modify(page);
	CHECK(pmap_mapped(&space->pmap, AT(0), &prot));
	pmap_protect(&space->pmap, AT(0), AT(1), VM_PROT_READ | VM_PROT_WRITE);
}

/* ---- two of them meet ---- */

static void
repeat(void *arg)
{
	for (__atomic_fetch_add(&here, 1, __ATOMIC_RELAXED); __atomic_load_n(&here, __ATOMIC_RELAXED) < 2;)
		thread_yield();
	for (int i = 0; i < ROUNDS; i++) {
		((void (*)(void))arg)();
		yield_point();
	}
}

/* Two threads do the one and the other thing. */
static void
meet(void (*one)(void), void (*other)(void))
{
	uint64_t samples = racewatch_samples(), former;
	struct thread *td[2];

	mutex_init(&lock, "t-watched", RANK_NONE);
	reports = here = 0;
	first_report[0] = '\0';
	racewatch_hook = record;
	former = yield_points_set(ktest_random() | 1);
	td[0] = thread_create("t-one", PRI_USER, repeat, (void *)one);
	td[1] = thread_create("t-other", PRI_USER, repeat, (void *)other);
	for (int i = 0; i < 2; i++)
		thread_join(td[i]);
	(void)yield_points_set(former);
	racewatch_hook = NULL;
	CHECK(racewatch_samples() > samples);
}

static void
expect_none(void (*one)(void), void (*other)(void))
{
	meet(one, other);
	if (reports > 0)
		ktest_fail(__FILE__, __LINE__, "%d reports, the first: %s", reports, first_report);
}

static void
expect_race(void (*one)(void), void (*other)(void), const char *says, const char *and)
{
	meet(one, other);
	CHECK(reports > 0);
	if (strstr(first_report, says) == NULL || strstr(first_report, and) == NULL)
		ktest_fail(__FILE__, __LINE__, "the report is \"%s\"", first_report);
}

KTEST(racewatch, who_holds_the_lock_is_not_accused)
{
	expect_none(locked_store, locked_store);
}

KTEST(racewatch, two_may_read_and_marked_accesses_may_meet)
{
	expect_none(bare_load, bare_load);
	expect_none(marked_store, marked_store);
	expect_none(marked_load, marked_store);
	expect_none(marked_load, locked_store);
}

KTEST_ONE(racewatch, store_without_the_lock_is_found)
{
	expect_race(locked_store, bare_store, "locked_store", "bare_store");
}

KTEST_ONE(racewatch, load_without_the_lock_is_found)
{
	expect_race(locked_store, bare_load, "bare_load", "locked_store");
}

KTEST_ONE(racewatch, marked_store_beside_a_bare_load_is_found)
{
	expect_race(marked_store, bare_load, "marked_store", "bare_load");
}

KTEST_ONE(racewatch, store_that_nobody_announced_is_found)
{
	expect_race(locked_store, unseen_store, "locked_store", "something stored there");
}

/* The VM's own code, its own lock, its own field: with the lock left out on one side. */
KTEST_ONE(racewatch, dirty_bits_without_the_objects_lock_are_found)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1);

	vm_object_lock(object);
	page = vm_page_alloc(object, 0, VM_ALLOC_NORMAL);
	if (CHECK(page != NULL)) {
		vm_page_zero_invalid(page);
		vm_page_xunbusy(page);
	}
	vm_object_unlock(object);
	if (page != NULL) {
		expect_none(dirty_locked, dirty_locked);
		expect_race(dirty_locked, dirty_bare, "write of", "in vm_page_dirty during a write in vm_page_dirty");
	}
	vm_object_deallocate(object);
}

/* On one CPU nobody stores while the other looks, for that is done with spin locks held. */
KTEST(racewatch, processor_that_marks_an_entry_is_not_accused)
{
	space = vmspace_alloc();
	map_anonymous(space, 0, 1, MAP_PRIVATE);
	store_through_the_mapping();
	page = mapped_page(space, AT(0));
	if (CHECK(page != NULL))
		expect_none(store_through_the_mapping, ask_the_mapping);
	vmspace_free(space);
}
