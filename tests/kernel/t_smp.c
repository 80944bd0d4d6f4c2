/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several CPUs: that each of them really works, that threads get to them, and that none of them goes on
 * using a translation that was taken away.
 *
 * With one CPU most of these tests have nothing to show and say so.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/lockstat.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/vmtest.h"
#include "vm/pmap.h"
#include "vm/vm_kern.h"

#define NEEDS_CPUS(n) do {						\
	if (ncpus < (n)) {						\
		ktest_skip("needs %d CPUs", (n));			\
		return;							\
	}								\
} while (0)

/* Spin until cond, without giving the CPU away; false after VT_PATIENCE. */
#define SPIN_WAIT(cond) ({						\
	uint64_t _end = ticks + VT_PATIENCE;				\
	while (!(cond) && ticks < _end)					\
		cpu_spinwait();						\
	bool _came = (cond);						\
	_came; })

/* ---- every CPU ---- */

struct visit {
	unsigned	cpu;		/* where it is to go, and where it was */
	struct cpu	seen;
	uint64_t	cr0, cr3, cr4;
	uint16_t	task;		/* task register: loaded on this CPU */
	bool		stack_is_own;
	struct thread	*td;
};

static void
visit_thread(void *arg)
{
	struct visit *v = arg;
	uint64_t first;

	thread_pin(v->cpu);
	v->seen = *curcpu;
	v->cr0 = read_cr0();
	v->cr3 = read_cr3();
	v->cr4 = read_cr4();
	__asm__ volatile("str %0" : "=r"(v->task));
	v->stack_is_own = (vm_offset_t)__builtin_frame_address(0) - curthread->kstack < KSTACK_PAGES * PAGE_SIZE;
	/* Its own timer runs: nobody else counts this up. */
	first = curcpu->ticks;
	(void)SPIN_WAIT(curcpu->ticks > first + 1);
	v->seen.ticks = curcpu->ticks - first;
}

KTEST(smp, every_cpu_runs_threads_with_tables_and_a_timer_of_its_own)
{
	struct visit v[MAX_CPUS];

	for (unsigned i = 0; i < ncpus; i++) {
		v[i] = (struct visit){ .cpu = i };
		v[i].td = thread_create("t-visit", PRI_KERNEL, visit_thread, &v[i]);
	}
	for (unsigned i = 0; i < ncpus; i++) {
		thread_join(v[i].td);
		CHECK(v[i].seen.self == &cpus[i]);
		CHECK_EQ(v[i].seen.id, i);
		CHECK_EQ(v[i].seen.lapic_id, cpus[i].lapic_id);
		CHECK(v[i].seen.thread == v[i].td);
		CHECK(v[i].seen.idle != NULL && v[i].seen.idle->cpu == &cpus[i]);
		CHECK_EQ(v[i].cr0, read_cr0());
		CHECK_EQ(v[i].cr4, read_cr4());
		CHECK_EQ(v[i].cr3, kernel_pmap.pml4_pa);
		CHECK_EQ(v[i].task, SEL_TSS);
		CHECK(v[i].stack_is_own);
		CHECK(v[i].seen.ticks >= 2);
		for (unsigned j = 0; j < i; j++)
			CHECK(cpus[i].lapic_id != cpus[j].lapic_id && v[i].seen.idle != v[j].seen.idle);
	}
}

/* ---- devices ---- */

#define PIT_IRQ		0
#define PIT_ONCE	0x30	/* channel 0, mode 0: one interrupt when the count, which follows, has run down */
#define PIT_COUNT	2000	/* of 1,193,182 Hz */

static volatile uint32_t pit_seen;	/* (atomic) mask of CPUs that were interrupted */

static void
pit_intr(void *arg)
{
	__atomic_fetch_or(&pit_seen, 1u << curcpu->id, __ATOMIC_RELAXED);
}

/* The line and the vector that pit_intr() was given. */
static uint32_t
pit_gsi(void)
{
	for (unsigned i = 0; i < acpi_info.noverride; i++)
		if (acpi_info.override[i].irq == PIT_IRQ)
			return (acpi_info.override[i].gsi);
	return (PIT_IRQ);
}

static unsigned
pit_vector(void)
{
	struct intr_stat st;

	for (unsigned i = 0; intr_stat_get(i, &st); i++)
		if (streq(st.name, "t-pit"))
			return (st.vector);
	return (0);
}

/* The old timer chip, which nobody else uses, interrupts whichever CPU its line is routed to, and no other. */
KTEST(smp, a_device_interrupts_the_cpu_that_it_is_routed_to)
{
	if (!CHECK_EQ(intr_isa(PIT_IRQ, pit_intr, NULL, "t-pit"), 0))
		return;
	for (unsigned round = 0; round < 2 * ncpus; round++) {
		unsigned target = round % ncpus;

		pit_seen = 0;
		CHECK_EQ(ioapic_route(pit_gsi(), (uint8_t)pit_vector(), cpus[target].lapic_id, false, false), 0);
		outb(0x43, PIT_ONCE);
		outb(0x40, PIT_COUNT & 0xff);
		outb(0x40, PIT_COUNT >> 8);
		VT_WAIT(pit_seen != 0);
		CHECK_EQ(pit_seen, 1u << target);
	}
}

/* Devices that come one after the other are given to one CPU after the other. */
KTEST(smp, devices_are_spread_over_the_cpus)
{
	uint32_t given = 0, data;
	uint64_t address;

	for (unsigned i = 0; i < ncpus; i++) {
		CHECK_EQ(intr_msi(pit_intr, NULL, "t-msi", &address, &data), 0);
		for (unsigned j = 0; j < ncpus; j++)
			if (cpus[j].lapic_id == (address >> 12 & 0xff))
				given |= 1u << j;
	}
	CHECK_EQ(given, (1u << ncpus) - 1);
}

/* ---- the scheduler ---- */

static volatile bool go, there, came;

static void
sleep_on_the_other_cpu(void *arg)
{
	static struct spinlock lock = SPINLOCK_INITIALIZER("t-other", RANK_NONE);

	thread_pin(1);
	spin_lock(&lock);
	there = true;
	while (!go)
		(void)tsleep(&go, &lock.lk, "t-other", VT_PATIENCE);
	spin_unlock(&lock);
	came = true;
}

/* We never let our own CPU go, so only the other one can run it. */
KTEST(smp, a_wakeup_interrupts_an_idle_cpu)
{
	struct thread *td;
	uint64_t before;
	int interrupts = 0;

	NEEDS_CPUS(2);
	thread_pin(0);
	for (int round = 0; round < 20; round++) {
		go = there = came = false;
		td = thread_create("t-other", PRI_KERNEL, sleep_on_the_other_cpu, NULL);
		VT_WAIT(there && sleepers(&go) == 1);
		VT_WAIT(cpus[1].thread == cpus[1].idle);
		before = intr_cpu_count(1);
		go = true;
		wakeup(&go);
		CHECK(SPIN_WAIT(came));
		interrupts += intr_cpu_count(1) > before;
		thread_join(td);
	}
	/* Not in a round in which its own timer made it look at the same moment. */
	CHECK(interrupts >= 5);
}

static volatile uint32_t been_on;	/* (atomic) mask of CPUs */

/* Until one of us has been on another CPU than the first; how soon that one comes is the host's affair. */
static void
spin_anywhere(void *arg)
{
	thread_unpin();			/* we were created where our creator is pinned */
	for (uint64_t end = ticks + VT_PATIENCE; ticks < end && been_on <= 1; )
		__atomic_fetch_or(&been_on, 1u << curcpu->id, __ATOMIC_RELAXED);
}

KTEST(smp, a_cpu_without_work_takes_others_threads)
{
	struct thread *td[2 * MAX_CPUS];
	uint64_t steals = 0, before = 0;

	NEEDS_CPUS(2);
	thread_pin(0);
	for (unsigned i = 0; i < ncpus; i++)
		before += cpus[i].steals;
	been_on = 0;
	for (unsigned i = 0; i < 2 * ncpus; i++)
		td[i] = thread_create("t-spin", PRI_USER, spin_anywhere, NULL);
	for (unsigned i = 0; i < 2 * ncpus; i++)
		thread_join(td[i]);
	for (unsigned i = 0; i < ncpus; i++)
		steals += cpus[i].steals;
	CHECK(steals > before);
	CHECK(been_on > 1);
}

static void
note_where(void *arg)
{
	for (int i = 0; i < 200; i++) {
		__atomic_fetch_or(&been_on, 1u << curcpu->id, __ATOMIC_RELAXED);
		thread_yield();
	}
}

KTEST(smp, a_pinned_thread_stays)
{
	struct thread *td[8];

	thread_pin(ncpus - 1);
	been_on = 0;
	for (int i = 0; i < 8; i++)
		td[i] = thread_create("t-pinned", PRI_KERNEL, note_where, NULL);
	for (int i = 0; i < 8; i++)
		thread_join(td[i]);
	CHECK_EQ(been_on, 1u << (ncpus - 1));
}

/* ---- lock counters ---- */

static struct spinlock fought = SPINLOCK_INITIALIZER("t-fought", RANK_NONE);

static void
take_it_once(void *arg)
{
	thread_pin(1);
	there = true;
	while (!go)
		cpu_spinwait();
	spin_lock(&fought);
	spin_unlock(&fought);
}

/*
 * We hold the lock, and let it go when the other thread is in the middle of taking it: its CPU counts one.
 * It may still be on its way from the count to the lock's word; in one of many rounds it is not.
 */
KTEST(smp, a_lock_that_is_waited_for_is_counted)
{
	struct lockstat before = lockstat_get("t-fought"), after = before;
	struct thread *td;
	unsigned rounds;

	NEEDS_CPUS(2);
	thread_pin(0);
	for (rounds = 0; rounds < 100 && after.contended == before.contended; rounds++) {
		go = there = false;
		td = thread_create("t-fight", PRI_KERNEL, take_it_once, NULL);
		VT_WAIT(there);
		spin_lock(&fought);
		go = true;
		while (cpus[1].thread != td || *(volatile int *)&cpus[1].spin_depth == 0)
			cpu_spinwait();
		for (int i = 0; i < 1000; i++)
			cpu_spinwait();
		spin_unlock(&fought);
		thread_join(td);
		after = lockstat_get("t-fought");
	}
	CHECK_EQ(after.contended - before.contended, 1);
	CHECK(after.spins > before.spins);
	CHECK_EQ(after.acquired - before.acquired, FAULTLINE_DEBUG ? 2 * rounds : 0);
}

/* ---- translations ---- */

/*
 * A thread on another CPU looks at a window before and after it changes, with interrupts off:
 *
 *	we					it
 *	wait for READY				READY, interrupts on
 *	interrupts off, LOOK
 *						interrupts off, looks, LOOKED
 *	change the window, CHANGED
 *						looks again, DONE
 *
 * Our interrupts are off because a thread that came in between might shoot at the other CPU, which does not
 * answer in half of the rounds, and would keep us from going on.
 */
static struct {
	vm_offset_t	window;
	volatile enum { STARTING, READY, LOOK, LOOKED, CHANGED, DONE } turn;
	bool		serves;		/* while it waits, as every waiting loop of the kernel does */
	volatile uint8_t first, second;
} look;

static void
look_twice(void *arg)
{
	const volatile uint8_t *p = (const volatile uint8_t *)look.window;

	thread_pin(1);
	look.turn = READY;
	while (look.turn != LOOK)
		cpu_spinwait();
	intr_disable();
	look.first = *p;
	look.turn = LOOKED;
	while (look.turn != CHANGED)
		if (look.serves)
			cpu_spinwait();
		else
			cpu_pause();
	look.second = *p;
	look.turn = DONE;
	intr_enable();
}

/*
 * Show page a through the window, let the other CPU see it, take it away and show page b.  Returns
 * what the other CPU saw then.
 */
static uint8_t
window_changes(struct vm_page *a, struct vm_page *b, bool shoot)
{
	struct thread *td;

	pmap_qenter(look.window, &a, 1);
	look.turn = STARTING;
	look.serves = shoot;
	td = thread_create("t-look", PRI_KERNEL, look_twice, NULL);
	VT_WAIT(look.turn == READY);
	intr_disable();
	look.turn = LOOK;
	while (look.turn != LOOKED)
		cpu_spinwait();
	pmap_tlb_local_only = !shoot;
	pmap_qremove(look.window, 1);
	pmap_qenter(look.window, &b, 1);
	pmap_tlb_local_only = false;
	look.turn = CHANGED;
	intr_enable();
	thread_join(td);
	pmap_qremove(look.window, 1);
	CHECK_EQ(look.first, 0xaa);
	return (look.second);
}

/*
 * The same, twice: with shoot-down the other CPU always sees the new page; without it, it sees the old one.
 * The second half is the proof that the first could fail.
 */
KTEST(smp, a_window_taken_away_is_seen_nowhere_and_would_be_without_shootdown)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 2);
	struct vm_page *a = page_make(object, 0, 0xaa), *b = page_make(object, 1, 0xbb);
	uint64_t shootdowns = pmap_tlb_shootdowns;
	int stale = 0;

	look.window = kva_alloc(PAGE_SIZE);
	CHECK_OR_RETURN(look.window != 0);
	if (ncpus >= 2) {
		thread_pin(0);
		for (int i = 0; i < 50; i++)
			CHECK_EQ(window_changes(a, b, true), 0xbb);
		CHECK(pmap_tlb_shootdowns >= shootdowns + 50);
		for (int i = 0; i < 50; i++)
			stale += window_changes(a, b, false) == 0xaa;
		CHECK(stale > 0);
		/* What the second half left behind must not outlive it. */
		pmap_qenter(look.window, &a, 1);
		pmap_qremove(look.window, 1);
	} else {
		ktest_skip("needs 2 CPUs");
	}
	kva_free(look.window, PAGE_SIZE);
	vm_object_deallocate(object);
}

/* An address space that no CPU has loaded costs nobody an interrupt. */
KTEST(smp, an_address_space_that_runs_nowhere_is_changed_without_interrupts)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1);
	struct vm_page *m = page_make(object, 0, 1);
	struct pmap pmap;
	bool quiet = false;

	CHECK_OR_RETURN(pmap_pinit(&pmap) == 0);
	/* Others may well shoot meanwhile; we would in each of these rounds. */
	for (int round = 0; round < 100 && !quiet; round++) {
		uint64_t before = pmap_tlb_shootdowns;

		CHECK_EQ(pmap_enter(&pmap, BASE, m, RW, VM_PROT_READ, 0), KERN_SUCCESS);
		pmap_remove(&pmap, BASE, BASE + PAGE_SIZE);
		quiet = pmap_tlb_shootdowns == before;
	}
	CHECK(quiet);
	pmap_release(&pmap);
	vm_object_deallocate(object);
}

/* All CPUs shoot at all others at once: everybody waits for everybody, with interrupts off. */
static void
shoot_often(void *arg)
{
	vm_offset_t window = kva_alloc(PAGE_SIZE);
	struct vm_page *m = arg;

	thread_pin(m->pindex % ncpus);
	for (int i = 0; window != 0 && i < 100; i++) {
		pmap_qenter(window, &m, 1);
		CHECK_EQ(*(volatile uint8_t *)window, (uint8_t)m->pindex);
		pmap_qremove(window, 1);
	}
	if (CHECK(window != 0))
		kva_free(window, PAGE_SIZE);
}

KTEST(smp, everybody_shoots_at_everybody)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 2 * MAX_CPUS);
	struct thread *td[2 * MAX_CPUS];

	for (unsigned i = 0; i < 2 * ncpus; i++)
		td[i] = thread_create("t-shoot", PRI_KERNEL, shoot_often, page_make(object, i, (uint8_t)i));
	for (unsigned i = 0; i < 2 * ncpus; i++)
		thread_join(td[i]);
	vm_object_deallocate(object);
}
