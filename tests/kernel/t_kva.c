/* SPDX-License-Identifier: BSD-2-Clause */
/* Kernel addresses and the memory behind them: vm_kern.c. */
#include "kernel/amd64/cpu.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/pmap.h"
#include "vm/vm.h"
#include "vm/vm_kern.h"
#include "vm/vm_page.h"

static bool
readable(vm_offset_t va)
{
	uint64_t value;

	return (kernel_peek(va, &value));
}

static pt_entry_t
kernel_entry(vm_offset_t va)
{
	int level;

	return (pmap_walk(&kernel_pmap, va, &level));
}

/* ---- address space ---- */

struct range {
	vm_offset_t	va;		/* 0: none */
	vm_size_t	len;
};

#define RANGES	120

static bool
overlaps_any(const struct range *r, int self)
{
	for (int i = 0; i < RANGES; i++)
		if (i != self && r[i].va != 0 && r[i].va < r[self].va + r[self].len &&
		    r[self].va < r[i].va + r[i].len)
			return (true);
	return (false);
}

KTEST(kva, random_ranges_never_overlap_and_join_again)
{
	static struct range r[RANGES];
	uint64_t inuse = kva_inuse(), sum = 0;
	vm_offset_t first, again;

	/* Larger than any piece below: it finds no room in holes that others left. */
	first = kva_alloc(RANGES * 20 * PAGE_SIZE);
	kva_free(first, RANGES * 20 * PAGE_SIZE);
	memset(r, 0, sizeof(r));
	for (int op = 0; op < 4000; op++) {
		int i = ktest_random() % RANGES;

		if (r[i].va != 0) {
			kva_free(r[i].va, r[i].len);
			sum -= r[i].len;
			r[i].va = 0;
			continue;
		}
		r[i].len = (ktest_random() % 40 + 1) * PAGE_SIZE;
		r[i].va = kva_alloc(r[i].len);
		sum += r[i].len;
		CHECK_OR_RETURN(r[i].va >= KVA_BASE && r[i].va + r[i].len <= KVA_BASE + KVA_SIZE);
		CHECK_OR_RETURN(!overlaps_any(r, i));
		CHECK_EQ(kva_inuse(), inuse + sum);
	}
	for (int i = 0; i < RANGES; i++)
		if (r[i].va != 0)
			kva_free(r[i].va, r[i].len);
	CHECK_EQ(kva_inuse(), inuse);
	/* would not fit into any piece of the former use */
	again = kva_alloc(RANGES * 20 * PAGE_SIZE);
	CHECK_EQ(again, first);
	kva_free(again, RANGES * 20 * PAGE_SIZE);
}

KTEST(kva, first_fit_reuses_the_lowest_hole)
{
	vm_offset_t a = kva_alloc(2 * PAGE_SIZE), b = kva_alloc(4 * PAGE_SIZE),
	    c = kva_alloc(PAGE_SIZE);

	kva_free(b, 4 * PAGE_SIZE);
	CHECK_EQ(kva_alloc(3 * PAGE_SIZE), b);
	CHECK_EQ(kva_alloc(PAGE_SIZE), b + 3 * PAGE_SIZE);
	kva_free(b + 3 * PAGE_SIZE, PAGE_SIZE);
	kva_free(a, 2 * PAGE_SIZE);
	kva_free(c, PAGE_SIZE);
	kva_free(b, 3 * PAGE_SIZE);
}

KTEST(kva, too_much_is_refused_and_nothing_changes)
{
	uint64_t inuse = kva_inuse();
	vm_offset_t va;

	CHECK_EQ(kva_alloc(KVA_SIZE), 0);
	CHECK_EQ(kva_alloc(KVA_SIZE * 4), 0);
	CHECK_EQ(kva_inuse(), inuse);
	va = kva_alloc(PAGE_SIZE);
	CHECK(va != 0);
	kva_free(va, PAGE_SIZE);
}

/* ---- memory ---- */

KTEST(kva, kmem_alloc_is_mapped_zero_and_fenced)
{
	enum { LEN = 40 * PAGE_SIZE };
	uint32_t free_before = vm_free_count();
	vm_offset_t va = kmem_alloc(LEN, M_WAITOK | M_ZERO);
	uint64_t or = 0;

	CHECK_OR_RETURN(va != 0);
	CHECK(vm_free_count() + LEN / PAGE_SIZE <= free_before);
	for (vm_offset_t at = va; at < va + LEN; at += 8)
		or |= *(volatile uint64_t *)at;
	CHECK_EQ(or, 0);
	for (vm_offset_t at = va; at < va + LEN; at += PAGE_SIZE) {
		*(volatile uint64_t *)at = at;
		CHECK_EQ(kernel_entry(at) & (PG_V | PG_RW | PG_U | PG_NX), PG_V | PG_RW | PG_NX);
		CHECK_EQ(PHYS_TO_VM_PAGE(pmap_kextract(at))->wire_count, 1);
	}
	for (vm_offset_t at = va; at < va + LEN; at += PAGE_SIZE)
		CHECK_EQ(*(volatile uint64_t *)at, at);
	CHECK(!readable(va + LEN));				/* running over the end traps */
	kmem_free(va, LEN);
	for (vm_offset_t at = va; at < va + LEN; at += PAGE_SIZE)
		CHECK(!readable(at));
	CHECK(vm_free_count() + 2 >= free_before);	/* but for a page table or two that stay */
}

KTEST(kva, kmem_alloc_without_memory_fails_whole)
{
	uint64_t inuse = kva_inuse();
	uint32_t free_before;

	/* make its tables */
	kva_free(kva_alloc((vm_page_count + 64) * PAGE_SIZE), (vm_page_count + 64) * PAGE_SIZE);
	free_before = vm_free_count();
	if (vm_page_count > GiB / PAGE_SIZE) {
		ktest_skip("taking all of %lu MiB would take long",
		    vm_page_count * PAGE_SIZE / MiB);
		return;
	}
	CHECK_EQ(kmem_alloc(vm_page_count * PAGE_SIZE, M_NOWAIT), 0);
	CHECK_EQ(kva_inuse(), inuse);
	CHECK_EQ(vm_free_count(), free_before);
}

KTEST(kva, contiguous_memory)
{
	vm_paddr_t pa = 0;
	uint32_t free_before = vm_free_count();
	uint8_t *p = kmem_alloc_contig(5 * PAGE_SIZE + 1, &pa);
	uint8_t or = 0;

	CHECK_OR_RETURN(p != NULL);
	CHECK_EQ(pa % PAGE_SIZE, 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(pmap_kextract((vm_offset_t)p + i * PAGE_SIZE), pa + i * PAGE_SIZE);
	for (size_t i = 0; i < 6 * PAGE_SIZE; i++)
		or |= p[i];
	CHECK_EQ(or, 0);
	CHECK_EQ(vm_free_count(), free_before - 6);
	memset(p, 0xee, 6 * PAGE_SIZE);
	kmem_free_contig(p, 5 * PAGE_SIZE + 1);
	CHECK_EQ(vm_free_count(), free_before);
	CHECK(kmem_alloc_contig((vm_page_count + 1) * PAGE_SIZE, &pa) == NULL);
	CHECK_EQ(vm_free_count(), free_before);
}

/* ---- stacks ---- */

KTEST(kva, stacks_have_guards)
{
	enum { N = 20 };
	vm_offset_t s[N];

	for (int i = 0; i < N; i++) {
		s[i] = kstack_alloc();
		CHECK_OR_RETURN(s[i] != 0);
		for (int j = 0; j < i; j++)
			CHECK(s[i] != s[j]);
		memset((void *)s[i], i, KSTACK_PAGES * PAGE_SIZE);
		CHECK(!readable(s[i] - 8) && kstack_is_guard(s[i] - 8) &&
		    kstack_is_guard(s[i] - PAGE_SIZE));
		CHECK(!kstack_is_guard(s[i]) &&
		    !kstack_is_guard(s[i] + KSTACK_PAGES * PAGE_SIZE - 1));
		CHECK(!readable(s[i] + KSTACK_PAGES * PAGE_SIZE) ||
		    !kstack_is_guard(s[i] + KSTACK_PAGES * PAGE_SIZE));
	}
	for (int i = 0; i < N; i++) {
		CHECK_EQ(*(uint8_t *)(s[i] + PAGE_SIZE), i);
		kstack_free(s[i]);
		CHECK(!readable(s[i]));
	}
	CHECK(!kstack_is_guard(KERNBASE) && !kstack_is_guard(DMAP_BASE) && !kstack_is_guard(0));
}

KTEST(kva, our_own_stack_has_a_guard)
{
	vm_offset_t base = curthread->kstack;
	char here;

	CHECK_OR_RETURN(base != 0);
	CHECK((vm_offset_t)&here > base && (vm_offset_t)&here < base + KSTACK_PAGES * PAGE_SIZE);
	CHECK(kstack_is_guard(base - 1));
	CHECK(!readable(base - 8));
}
