/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock checker: each thing that it looks for is planted once, seen and named; what is allowed passes in
 * silence; and the order that the kernel was seen to keep is the one that it declares.
 *
 * The tests' own locks have no rank, so that only what was learned can object, and are unlearned at the end.
 */
#include "kernel/fs/vnode.h"
#include "kernel/lib/errno.h"
#include "kernel/lockorder.h"
#include "kernel/lockstat.h"
#include "kernel/thread.h"
#include "tests/kernel/lockwatch.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_object.h"

#define NLOCKS	3

static const char *const names[NLOCKS] = { "t-first", "t-second", "t-third" };
static struct spinlock spin[NLOCKS];
static struct mutex mtx[NLOCKS];

static bool
watch(void)
{
	for (int i = 0; i < NLOCKS; i++) {
		spin_init(&spin[i], names[i], RANK_NONE);
		mutex_init(&mtx[i], names[i], RANK_NONE);
	}
	return (lockwatch_begin());
}

static void
unwatch(void)
{
	lockwatch_end();
	for (int i = 0; i < NLOCKS; i++)
		lockorder_forget(names[i]);
}

static __attribute__((noinline)) void
nest_spin(int outer, int inner)
{
	spin_lock(&spin[outer]);
	spin_lock(&spin[inner]);
	spin_unlock(&spin[inner]);
	spin_unlock(&spin[outer]);
}

static __attribute__((noinline)) void
nest_mutex(int outer, int inner)
{
	mutex_lock(&mtx[outer]);
	mutex_lock(&mtx[inner]);
	mutex_unlock(&mtx[inner]);
	mutex_unlock(&mtx[outer]);
}

static bool
stack_has(const struct lock_edge *e, const char *function)
{
	for (unsigned i = 0; i < e->depth; i++) {
		const char *name = ksym_lookup(KERNBASE + e->pc[i] - 1, NULL);

		if (name != NULL && streq(name, function))
			return (true);
	}
	return (false);
}

/* Two functions, so that the two stacks can be told apart. */
static __attribute__((noinline)) void
one_way(void)
{
	nest_spin(0, 1);
	__asm__ volatile("");		/* not a tail call: the frame stays */
}

static __attribute__((noinline)) void
other_way(void)
{
	nest_spin(1, 0);
	__asm__ volatile("");
}

/* Nobody waits for anybody: one thread does both, one after the other. */
KTEST(lockorder, two_ways_round_are_reported_with_both_stacks)
{
	const struct lock_cycle *ring;

	if (!watch())
		return;
	one_way();
	one_way();
	CHECK_EQ(violations, 0);
	CHECK(lockorder_observed(names[0], names[1]) && !lockorder_observed(names[1], names[0]));
	other_way();
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, names[0]) != NULL && strstr(last_violation, names[1]) != NULL);
	ring = lockorder_last_cycle();
	CHECK_EQ(ring->nhops, 2);
	CHECK_STR(lockstat_name(ring->hop[0].held), names[1]);
	CHECK_STR(lockstat_name(ring->hop[0].wanted), names[0]);
	CHECK_STR(lockstat_name(ring->hop[1].held), names[0]);
	CHECK_STR(lockstat_name(ring->hop[1].wanted), names[1]);
	CHECK(stack_has(&ring->hop[0], "other_way") && !stack_has(&ring->hop[0], "one_way"));
	CHECK(stack_has(&ring->hop[1], "one_way") && !stack_has(&ring->hop[1], "other_way"));
	CHECK_EQ(ring->hop[0].tid, curthread->tid);
	other_way();
	CHECK_EQ(violations, 1);	/* once is enough */
	unwatch();
}

KTEST(lockorder, ring_of_three_is_found)
{
	if (!watch())
		return;
	nest_mutex(0, 1);
	nest_mutex(1, 2);
	CHECK_EQ(violations, 0);
	nest_mutex(0, 2);		/* a short cut, no ring */
	CHECK_EQ(violations, 0);
	nest_mutex(2, 0);
	CHECK_EQ(violations, 1);
	CHECK_EQ(lockorder_last_cycle()->nhops, 2);	/* the shortest: over the short cut */
	lockorder_forget(names[2]);
	nest_mutex(1, 2);
	nest_mutex(2, 0);
	CHECK_EQ(violations, 2);
	CHECK_EQ(lockorder_last_cycle()->nhops, 3);
	unwatch();
}

static void
nest_other_way(void *arg)
{
	nest_mutex(1, 0);
}

KTEST(lockorder, ring_across_threads_is_found)
{
	struct thread *td;

	if (!watch())
		return;
	nest_mutex(0, 1);
	td = thread_create("t-ring", PRI_KERNEL, nest_other_way, NULL);
	CHECK_OR_RETURN(td != NULL);
	thread_join(td);
	CHECK_EQ(violations, 1);
	CHECK(lockorder_last_cycle()->hop[0].tid != lockorder_last_cycle()->hop[1].tid);
	unwatch();
}

/* A try does not wait; but others wait for what it took. */
KTEST(lockorder, try_is_no_wait_but_holds)
{
	if (!watch())
		return;
	nest_mutex(0, 1);
	mutex_lock(&mtx[1]);
	CHECK(mutex_trylock(&mtx[0]));
	CHECK_EQ(violations, 0);
	mutex_unlock(&mtx[1]);
	mutex_lock(&mtx[2]);		/* with the first in hand, by a try */
	mutex_unlock(&mtx[2]);
	mutex_unlock(&mtx[0]);
	nest_mutex(2, 0);
	CHECK_EQ(violations, 1);
	unwatch();
}

KTEST(lockorder, one_class_nests_only_by_a_rule)
{
	struct mutex twin;

	if (!watch())
		return;
	mutex_init(&twin, names[0], RANK_NONE);
	mutex_lock(&mtx[0]);
	mutex_lock(&twin);
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, "no rule") != NULL);
	mutex_unlock(&twin);
	mutex_unlock(&mtx[0]);
	unwatch();
}

KTEST(lockorder, shadow_comes_before_its_backing_object)
{
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 1), *top = bottom;
	vm_ooffset_t offset = 0;

	if (!watch())
		goto out;
	vm_object_reference(bottom);
	vm_object_shadow(&top, &offset, PAGE_SIZE);
	vm_object_lock(top);
	vm_object_lock(bottom);
	CHECK_EQ(violations, 0);
	vm_object_unlock(top);
	vm_object_lock(top);
	CHECK_EQ(violations, 1);
	vm_object_unlock(top);
	vm_object_unlock(bottom);
	unwatch();
	vm_object_deallocate(top);
out:
	vm_object_deallocate(bottom);
}

/* The rule that the fault handler lives by: nobody waits for a vnode or a map with a page busy. */
KTEST(lockorder, vnode_is_not_waited_for_with_a_page_busy)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 2);
	struct vm_page *m = page_make(object, 0, 0x11), *n = page_make(object, 1, 0x22);
	struct rwlock vnode;

	if (!watch())
		goto out;
	rw_init(&vnode, "t-vnode", RANK_VNODE);
	vm_object_lock(object);
	CHECK(vm_page_tryxbusy(m) && vm_page_tryxbusy(n));
	vm_object_unlock(object);
	vm_page_xunbusy(m);
	rw_wlock(&vnode);		/* one is busy still */
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, "page busy") != NULL);
	rw_wunlock(&vnode);
	CHECK(rw_trywlock(&vnode));
	CHECK_EQ(violations, 1);
	vm_page_xunbusy(n);
	rw_wunlock(&vnode);
	rw_wlock(&vnode);
	rw_wunlock(&vnode);
	CHECK_EQ(violations, 1);
	unwatch();
out:
	vm_object_deallocate(object);
}

/* With an object in hand no page is waited for: who has it busy may want the object. */
KTEST(lockorder, page_is_not_waited_for_with_an_object_locked)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1);
	struct lock page = { .name = "page busy", .kind = LOCK_BUSY, .rank = RANK_PAGE_BUSY };

	if (watch()) {
		vm_object_lock(object);
		lockorder_wanted(&page);
		CHECK_EQ(violations, 1);
		CHECK(strstr(last_violation, "page busy") != NULL && strstr(last_violation, "object") != NULL);
		vm_object_unlock(object);
		unwatch();
	}
	vm_object_deallocate(object);
}

/* ---- sleeping and interrupts ---- */

static int sleep_here;

/* Ends the sleep before it begins: the thread must not really sleep with a spin lock held. */
static void
record_and_wake(const char *message)
{
	lockwatch_record(message);
	wakeup(&sleep_here);
}

KTEST(lockorder, only_the_interlock_may_be_held_to_sleep)
{
	if (!watch())
		return;
	spin_lock(&spin[0]);
	CHECK_EQ(tsleep(&sleep_here, &spin[0].lk, "t-sleep", 1), EWOULDBLOCK);
	CHECK_EQ(violations, 0);
	spin_unlock(&spin[0]);
	lock_violation_hook = record_and_wake;
	spin_lock(&spin[1]);
	spin_lock(&spin[0]);
	CHECK_EQ(tsleep(&sleep_here, &spin[0].lk, "t-sleep", 0), 0);
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, names[1]) != NULL && strstr(last_violation, "t-sleep") != NULL);
	spin_unlock(&spin[0]);
	spin_unlock(&spin[1]);
	unwatch();
}

KTEST(lockorder, sleep_lock_is_not_for_interrupts)
{
	if (!watch())
		return;
	intr_disable();
	curcpu->intr_depth++;
	CHECK(mutex_trylock(&mtx[0]));
	mutex_unlock(&mtx[0]);
	curcpu->intr_depth--;
	intr_enable();
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, names[0]) != NULL && strstr(last_violation, "interrupt") != NULL);
	unwatch();
}

static inline void
set_task_priority(uint64_t class)
{
	__asm__ volatile("movq %0, %%cr8" : : "r"(class) : "memory");
}

KTEST(lockorder, interrupts_stay_off_with_a_spin_lock)
{
	if (!watch())
		return;
	spin_lock(&spin[0]);
	set_task_priority(15);		/* on, and yet none comes */
	intr_enable();
	spin_lock(&spin[1]);
	CHECK_EQ(violations, 1);
	CHECK(strstr(last_violation, "interrupts are on") != NULL);
	set_task_priority(0);
	spin_unlock(&spin[1]);
	spin_unlock(&spin[0]);
	unwatch();
}

/* ---- the kernel's own order ---- */

/* Outermost first, as kernel/lock.h draws it. */
static const char *const declared[] = {
	"map", "vnode", "page busy", "object", "pageq", "pmap", "pv", "freelist", "sleepq", "sched"
};

/* A private and a shared mapping of a file, read, written and gone again. */
static void
use_the_vm(struct vnode *vp)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(0);

	CHECK_EQ(vm_mmap(vm, &addr, 4 * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE, MAP_PRIVATE | MAP_FIXED, vp, 0), 0);
	CHECK(get(vm, AT(0)) >= 0);
	CHECK_EQ(put(vm, AT(1), 1), 0);
	vmspace_free(vm);
}

KTEST(lockorder, observed_order_is_the_declared_one)
{
	struct vnode *vp;

	if (!FAULTLINE_DEBUG || !testfiles_load() || (vp = testfile_open("/t/seq")) == NULL) {
		ktest_skip("needs a debug build and the test volume");
		return;
	}
	use_the_vm(vp);
	vrele(vp);
	for (size_t i = 0; i < nitems(declared); i++)
		for (size_t j = i + 1; j < nitems(declared); j++)
			if (lockorder_observed(declared[j], declared[i]))
				ktest_fail(__FILE__, __LINE__, "%s was waited for with %s held", declared[i], declared[j]);
	CHECK(lockorder_observed("map", "object"));
	CHECK(lockorder_observed("vnode", "object"));
	CHECK(lockorder_observed("page busy", "object"));
	CHECK(lockorder_observed("object", "pmap"));
	CHECK(lockorder_observed("pmap", "pv"));
	CHECK(lockorder_observed("map", "sched"));
}

KTEST(lockorder, nothing_was_too_much_for_the_tables)
{
	if (!FAULTLINE_DEBUG) {
		ktest_skip("release builds have no lock checks");
		return;
	}
	CHECK_EQ(lockorder_lost(), 0);
}
