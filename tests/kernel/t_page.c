/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Physical pages: the free lists, allocation by class, contiguous runs, zeroed pages, and freeing
 * twice.
 */
#include "boot/boot_info.h"
#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/main.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/vmtest.h"
#include "vm/pmap.h"
#include "vm/vm.h"
#include "vm/vm_boot.h"
#include "vm/vm_pageq.h"

#define TOO_MUCH	(GiB / PAGE_SIZE) /* pages; tests that take all memory are skipped above */

/* Pages chained through their first words. */
struct chain {
	struct vm_page	*first;
	uint32_t	 count;
};

static void
chain_add(struct chain *c, struct vm_page *m)
{
	*(struct vm_page **)VM_PAGE_TO_DMAP(m) = c->first;
	c->first = m;
	c->count++;
}

static void
chain_free(struct chain *c)
{
	while (c->first != NULL) {
		struct vm_page *m = c->first;

		c->first = *(struct vm_page **)VM_PAGE_TO_DMAP(m);
		vm_page_free(m);
	}
	c->count = 0;
}

static void
chain_fill(struct chain *c, int flags)
{
	struct vm_page *m;

	while ((m = vm_page_alloc(NULL, 0, flags | VM_ALLOC_WIRED)) != NULL)
		chain_add(c, m);
}

static bool
is_free(const struct vm_page *m)
{
	return (m->queue == PQ_FREE || m->queue == PQ_ZERO);
}

/* ---- the array and the lists ---- */

KTEST(page, index_and_address)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i < vm_page_count; i++) {
		struct vm_page *m = &vm_page_array[i];

		if (PHYS_TO_VM_PAGE(VM_PAGE_TO_PHYS(m)) != m ||
		    PHYS_TO_VM_PAGE(VM_PAGE_TO_PHYS(m) + 4095) != m ||
		    m->pfn <= last) {
			ktest_fail(__FILE__, __LINE__,
			    "page %u (index %u) is not found by its address, or out of order",
			    m->pfn, i);
			return;
		}
		last = m->pfn;
	}
	CHECK(PHYS_TO_VM_PAGE(0) == NULL);
	CHECK(PHYS_TO_VM_PAGE(0xa0000) == NULL);		/* the VGA window */
	CHECK(PHYS_TO_VM_PAGE(0xfee00000) == NULL);
	/* the image is not ours to give out */
	CHECK(PHYS_TO_VM_PAGE(boot_info->kernel_phys) == NULL);
	CHECK(PHYS_TO_VM_PAGE(((vm_paddr_t)last + 1) << PAGE_SHIFT) == NULL);
}

/* What a page that is free, or is not, must look like. */
static bool
looks_right(const struct vm_page *m)
{
	vm_paddr_t pa = VM_PAGE_TO_PHYS(m), image = boot_info->kernel_phys;

	if (!is_free(m))
		return (m->busy != VPB_FREED && (!boot_page_taken(pa) || m->wire_count > 0));
	return (m->busy == VPB_FREED && m->object == NULL && m->wire_count == 0 && m->pv == NULL &&
	    m->dirty == 0 && !boot_page_taken(pa) && pa >= PAGE_SIZE &&
	    (pa < image || pa >= image + boot_info->kernel_len));
}

KTEST(page, free_lists_are_complete_and_disjoint)
{
	uint32_t nfree = 0, nzero = 0, wired = 0, bad = 0;

	smp_hold_others();		/* nobody else runs */
	for (uint32_t i = 0; i < vm_page_count; i++) {
		const struct vm_page *m = &vm_page_array[i];

		nfree += m->queue == PQ_FREE;
		nzero += m->queue == PQ_ZERO;
		wired += m->wire_count > 0;
		bad += !looks_right(m);
	}
	CHECK_EQ(nfree, vm_page_queue_len(PQ_FREE));
	CHECK_EQ(nzero, vm_page_queue_len(PQ_ZERO));
	smp_release_others();
	CHECK_EQ(bad, 0);
	CHECK(wired > 0 && nfree > 0);
}

KTEST(page, boot_memory_is_outside_the_free_lists)
{
	vm_paddr_t base;
	uint64_t len, sum = 0;

	for (int i = 0; boot_taken(i, &base, &len); i++) {
		for (vm_paddr_t pa = base; pa < base + len; pa += PAGE_SIZE)
			if (!CHECK(PHYS_TO_VM_PAGE(pa) != NULL && !is_free(PHYS_TO_VM_PAGE(pa))))
				return;
		sum += len;
	}
	CHECK(sum >= vm_page_count * sizeof(struct vm_page));
}

/* ---- allocation ---- */

KTEST(page, alloc_and_free)
{
	uint32_t before = vm_free_count();
	struct vm_page *m = vm_page_alloc(NULL, 7, VM_ALLOC_WIRED), *n = vm_page_alloc(NULL, 0, 0);

	CHECK_OR_RETURN(m != NULL && n != NULL && m != n);
	CHECK_EQ(vm_free_count(), before - 2);
	CHECK(m->queue == PQ_NONE && m->wire_count == 1 && n->wire_count == 0);
	CHECK(m->object == NULL && m->valid == 0 && m->dirty == 0 && !vm_page_busied(m));
	m->valid = m->dirty = VM_PAGE_BITS_ALL;
	vm_page_free(m);
	CHECK(is_free(m) && m->busy == VPB_FREED && m->dirty == 0 && m->wire_count == 0);
	CHECK(!vm_page_tryxbusy(m) && !vm_page_trysbusy(m));	/* "freed" blocks everyone */
	vm_page_free(n);
	CHECK_EQ(vm_free_count(), before);
}

KTEST(page, exhaustion_by_class)
{
	struct chain normal = { 0 }, system = { 0 }, interrupt = { 0 };
	uint32_t before;

	if (vm_page_count > TOO_MUCH) {
		ktest_skip("taking all of %lu MiB would take long",
		    vm_page_count * PAGE_SIZE / MiB);
		return;
	}
	/* nobody else may run: the counts are exact, and nobody meets an empty list */
	smp_hold_others();
	before = vm_free_count();
	chain_fill(&normal, VM_ALLOC_NORMAL);
	CHECK_EQ(vm_free_count(), vm_ladder.reserved);
	CHECK(vm_page_alloc(NULL, 0, VM_ALLOC_NORMAL | VM_ALLOC_ZERO) == NULL);
	chain_fill(&system, VM_ALLOC_SYSTEM);
	CHECK_EQ(vm_free_count(), vm_ladder.interrupt_min);
	chain_fill(&interrupt, VM_ALLOC_INTERRUPT);
	CHECK_EQ(vm_free_count(), 0);
	CHECK(vm_page_alloc_contig(1) == NULL);
	CHECK_EQ(normal.count + system.count + interrupt.count, before);
	CHECK_EQ(interrupt.count, vm_ladder.interrupt_min);
	chain_free(&interrupt);
	/* the rung counts on the way up, too */
	CHECK(vm_page_alloc(NULL, 0, VM_ALLOC_SYSTEM) == NULL);
	chain_free(&system);
	CHECK(vm_page_alloc(NULL, 0, VM_ALLOC_NORMAL) == NULL);
	chain_free(&normal);
	CHECK_EQ(vm_free_count(), before);
	smp_release_others();
}

KTEST(page, ladder_is_ordered)
{
	CHECK(vm_ladder.interrupt_min > 0);
	CHECK(vm_ladder.interrupt_min < vm_ladder.reserved);
	CHECK(vm_ladder.reserved < vm_ladder.min);
	CHECK(vm_ladder.min < vm_ladder.target);
	CHECK(vm_ladder.target < vm_page_count / 2);
}

KTEST(page, contiguous_runs)
{
	struct vm_page *run[4];
	uint32_t before = vm_free_count();

	for (size_t n = 1; n <= 64; n *= 4) {
		for (int i = 0; i < 4; i++) {
			run[i] = vm_page_alloc_contig(n);
			CHECK_OR_RETURN(run[i] != NULL);
			for (size_t j = 0; j < n; j++) {
				CHECK_EQ(run[i][j].pfn, run[i]->pfn + j);
				CHECK_EQ(run[i][j].wire_count, 1);
			}
		}
		CHECK_EQ(vm_free_count(), before - 4 * n);
		for (int i = 0; i < 4; i++)
			for (size_t j = 0; j < n; j++)
				vm_page_free(&run[i][j]);
	}
	CHECK(vm_page_alloc_contig(vm_page_count) == NULL);		/* fails whole */
	CHECK(vm_page_alloc_contig((size_t)vm_page_count + 1) == NULL);
	CHECK_EQ(vm_free_count(), before);
}

/* ---- zeroed pages ---- */

KTEST(page, zero_queue_holds_zero_pages)
{
	struct chain dirty = { 0 };
	struct vm_page *m[32];
	uint64_t or = 0;

	/* Dirty some memory first, so that zero is not what RAM happens to hold. */
	for (int i = 0; i < 64; i++) {
		struct vm_page *d = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);

		CHECK_OR_RETURN(d != NULL);
		memset(VM_PAGE_TO_DMAP(d), 0xcd, PAGE_SIZE);
		chain_add(&dirty, d);
	}
	chain_free(&dirty);
	thread_pin(0);			/* zeroed pages in other CPUs' caches are not looked for */
	do
		vm_freelist_drain();
	while (vm_page_queue_len(PQ_ZERO) < nitems(m) && vm_page_zero_now());
	CHECK_OR_RETURN(vm_page_queue_len(PQ_ZERO) >= nitems(m));
	for (size_t i = 0; i < nitems(m); i++) {
		m[i] = vm_page_alloc(NULL, 0, VM_ALLOC_ZERO | VM_ALLOC_WIRED);
		CHECK_OR_RETURN(m[i] != NULL);
		CHECK(m[i]->flags & PG_ZERO);
		for (size_t j = 0; j < PAGE_SIZE / 8; j++)
			or |= ((uint64_t *)VM_PAGE_TO_DMAP(m[i]))[j];
	}
	CHECK_EQ(or, 0);
	for (size_t i = 0; i < nitems(m); i++) {
		memset(VM_PAGE_TO_DMAP(m[i]), 0x55, PAGE_SIZE);
		vm_page_free(m[i]);
		CHECK(m[i]->queue != PQ_ZERO);	/* what it holds now is unknown */
	}
}

KTEST(page, idle_zeroing_moves_one_page)
{
	uint32_t before, zero, nfree;
	bool moved;

	smp_hold_others();
	before = vm_free_count();
	zero = vm_page_queue_len(PQ_ZERO);
	nfree = vm_page_queue_len(PQ_FREE);
	moved = vm_page_zero_now();
	CHECK_EQ(vm_page_queue_len(PQ_ZERO), zero + moved);
	CHECK_EQ(vm_page_queue_len(PQ_FREE), nfree - moved);
	CHECK_EQ(vm_free_count(), before);
	smp_release_others();
}

/* ---- a CPU's cache ---- */

static struct vm_page *cached;
static volatile bool cached_there, cached_go;

/* Free a page on the last CPU, and stay there with interrupts on until told. */
static void
free_one_there(void *arg)
{
	thread_pin(ncpus - 1);
	cached = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);
	if (cached != NULL)
		vm_page_free(cached);
	cached_there = true;
	while (!cached_go)
		(void)tsleep(&cached_go, NULL, "t-cached", 1);
}

/*
 * A page that was freed on another CPU lies in that one's cache, and is as good as any: it counts, the last
 * allocation of all gets it, and a run of pages may lie across it.
 */
KTEST(page, another_cpus_cache_is_no_hiding_place)
{
	struct chain all = { 0 };
	struct thread *td;
	struct vm_page *m;
	uint32_t before, in_caches = 0;

	if (ncpus < 2 || vm_page_count > TOO_MUCH) {
		ktest_skip("needs 2 CPUs and little memory");
		return;
	}
	thread_pin(0);
	cached_there = cached_go = false;
	td = thread_create("t-cached", PRI_KERNEL, free_one_there, NULL);
	VT_WAIT(cached_there);
	smp_hold_others();
	before = vm_free_count();
	for (uint32_t i = 0; i < vm_page_count; i++)
		in_caches += is_free(&vm_page_array[i]) && vm_page_array[i].cache > 1;
	CHECK(in_caches > 0);
	chain_fill(&all, VM_ALLOC_INTERRUPT);
	CHECK_EQ(all.count, before);
	CHECK_EQ(vm_free_count(), 0);
	chain_free(&all);
	CHECK_EQ(vm_free_count(), before);
	m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);
	CHECK(m != NULL);
	vm_freelist_drain();
	for (uint32_t i = 0; i < vm_page_count; i++)
		CHECK(!is_free(&vm_page_array[i]) || vm_page_array[i].cache == 0);
	vm_freelist_check();
	if (m != NULL)
		vm_page_free(m);
	CHECK_EQ(vm_free_count(), before);
	vm_freelist_check();
	smp_release_others();
	cached_go = true;
	thread_join(td);
}

/* ---- freeing twice ---- */

extern void (*vm_page_violation_hook)(const char *what, struct vm_page *m);

static char violation[64];
static struct vm_page *violation_page;

static void
note_violation(const char *what, struct vm_page *m)
{
	strlcpy(violation, what, sizeof(violation));
	violation_page = m;
}

KTEST(page, double_free_is_named)
{
	struct vm_page *m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);
	uint32_t before;

	CHECK_OR_RETURN(m != NULL);
	violation[0] = '\0';
	vm_page_violation_hook = note_violation;
	vm_pageq_lock();	/* nobody may take it in between */
	vm_page_free(m);
	before = vm_free_count();
	vm_page_free(m);
	CHECK_EQ(vm_free_count(), before);
	vm_pageq_unlock();
	vm_page_violation_hook = NULL;
	CHECK_STR(violation, "freeing a page that is free");
	CHECK(violation_page == m);
}
