/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmalloc and slab caches: their adversaries, their accounts, and what happens when memory is gone.
 */
#include "kernel/kasan.h"
#include "kernel/lock.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "vm/vm.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_TEST, "t_malloc");
static MALLOC_DEFINE(M_OTHER, "t_malloc other");

/* ---- a trap for violations ---- */

static int violations;
static char violation_what[32], violation_type[32];

static void
catch_violation(const char *what, const char *type, const void *p)
{
	violations++;
	strlcpy(violation_what, what, sizeof(violation_what));
	strlcpy(violation_type, type, sizeof(violation_type));
}

static void
trap_set(void)
{
	violations = 0;
	violation_what[0] = violation_type[0] = '\0';
	kmem_violation_hook = catch_violation;
}

/* Exactly one violation of that name since trap_set(). */
static void
trap_expect(const char *what)
{
	kmem_violation_hook = NULL;
	CHECK_EQ(violations, 1);
	CHECK_STR(violation_what, what);
	CHECK_STR(violation_type, "t_malloc");
}

/* __no_kasan: KASAN would report at once what shall be found by the next free. */
__no_kasan KTEST(malloc, overflow_is_caught_by_one_byte)
{
	static const size_t sizes[] = { 1, 13, 16, 100, 256, 1000, KMALLOC_SLAB_MAX, 3000, 5000 };

	if (!FAULTLINE_DEBUG) {
		ktest_skip("red zones are for debug builds");
		return;
	}
	for (size_t i = 0; i < nitems(sizes); i++) {
		char *p = kmalloc(sizes[i], &M_TEST, M_WAITOK);

		p[sizes[i]] ^= 1;
		trap_set();
		kfree(p, &M_TEST);
		trap_expect("overflow");
	}
}

__no_kasan KTEST(malloc, underflow_is_caught)
{
	char *p = kmalloc(40, &M_TEST, M_WAITOK);

	if (!FAULTLINE_DEBUG) {
		ktest_skip("red zones are for debug builds");
	} else {
		p[-1] ^= 1;
		trap_set();
	}
	kfree(p, &M_TEST);
	if (FAULTLINE_DEBUG)
		trap_expect("underflow");
}

/* In release builds, too. */
KTEST(malloc, double_free_is_caught)
{
	static const size_t sizes[] = { 8, 64, 1500, 3000, 9000 };

	for (size_t i = 0; i < nitems(sizes); i++) {
		char *p = kmalloc(sizes[i], &M_TEST, M_WAITOK);
		char *keep = kmalloc(sizes[i], &M_TEST, M_WAITOK);
		uint64_t before;

		kfree(p, &M_TEST);
		before = M_TEST.inuse;
		trap_set();
		kfree(p, &M_TEST);
		trap_expect("double free");
		CHECK_EQ(M_TEST.inuse, before);
		kfree(keep, &M_TEST);
	}
	kmalloc_check();
}

__no_kasan KTEST(malloc, use_after_free_is_caught_at_the_next_allocation)
{
	char *keep, *p;

	if (!FAULTLINE_DEBUG) {
		ktest_skip("poison is for debug builds");
		return;
	}
	keep = kmalloc(320, &M_TEST, M_WAITOK);		/* keeps the slab from being given back */
	p = kmalloc(320, &M_TEST, M_WAITOK);
	kfree(p, &M_TEST);
	for (int i = 0; i < 320; i++)
		if (!CHECK_EQ((uint8_t)p[i], 0xdf))
			break;
	p[300] = 'x';
	trap_set();
	kmalloc_check();	/* the walk sees it, too, and mends nothing */
	CHECK_EQ(violations, 1);
	violations = 0;
	for (int i = 0; i < 64 && violations == 0; i++)
		kfree(kmalloc(320, &M_TEST, M_WAITOK), &M_TEST);
	trap_expect("use after free");
	kfree(keep, &M_TEST);
}

KTEST(malloc, wrong_type_is_caught)
{
	char *p = kmalloc(24, &M_TEST, M_WAITOK);
	uint64_t other = M_OTHER.inuse;

	if (!FAULTLINE_DEBUG) {
		ktest_skip("the type is noted in debug builds");
		kfree(p, &M_TEST);
		return;
	}
	trap_set();
	kfree(p, &M_OTHER);
	trap_expect("wrong type");
	M_OTHER.inuse = other;	/* mend the accounts that the lie has bent */
	M_OTHER.bytes += 32;
	M_TEST.inuse--;
	M_TEST.bytes -= 32;
}

KTEST(malloc, wild_free_is_caught)
{
	static char in_image[64];
	char *p = kmalloc(128, &M_TEST, M_WAITOK);

	trap_set();
	kfree(p + 8, &M_TEST);				/* inside an object */
	trap_expect("wild free");
	trap_set();
	kfree(in_image + 8 + ((uintptr_t)in_image & 8), &M_TEST);
	trap_expect("wild free");
	kfree(p, &M_TEST);
	kfree(NULL, &M_TEST);
}

/* ---- what it promises ---- */

KTEST(malloc, sizes_alignment_and_no_overlap)
{
	enum { N = 160 };
	uint8_t *p[N];

	for (size_t size = 1; size <= 12288; size = size * 3 / 2 + 1) {
		for (int i = 0; i < N / 10; i++) {
			p[i] = kmalloc(size, &M_TEST, M_WAITOK);
			CHECK_EQ((uintptr_t)p[i] % 8, 0);
			memset(p[i], i, size);
		}
		for (int i = 0; i < N / 10; i++) {
			CHECK(p[i][0] == i && p[i][size - 1] == i && p[i][size / 2] == i);
			kfree(p[i], &M_TEST);
		}
	}
	for (size_t size = 8; size <= 64; size *= 2) {
		for (int i = 0; i < N; i++) {
			p[i] = kmalloc(size, &M_TEST, M_WAITOK);
			CHECK_EQ((uintptr_t)p[i] % size, 0);
		}
		for (int i = 0; i < N; i++)
			kfree(p[i], &M_TEST);
	}
	kmalloc_check();
}

static void
check_zeroed(size_t size)
{
	uint8_t *p = kmalloc(size, &M_TEST, M_WAITOK | M_ZERO), or = 0;

	for (size_t i = 0; i < size; i++)
		or |= p[i];
	CHECK_EQ(or, 0);
	kfree(p, &M_TEST);
}

KTEST(malloc, zeroed_when_asked)
{
	static const size_t sizes[] = { 5, 100, 1900 };

	for (size_t i = 0; i < nitems(sizes); i++) {
		uint8_t *p = kmalloc(sizes[i], &M_TEST, M_WAITOK);

		memset(p, 0xff, sizes[i]);
		kfree(p, &M_TEST);
		check_zeroed(sizes[i]);
	}
}

KTEST(malloc, accounts)
{
	uint64_t inuse = M_TEST.inuse, bytes = M_TEST.bytes, sum = kmalloc_inuse(),
	    total = M_TEST.total;
	void *a = kmalloc(100, &M_TEST, M_WAITOK), *b = kmalloc(10000, &M_TEST, M_WAITOK);

	CHECK_EQ(M_TEST.inuse, inuse + 2);
	CHECK_EQ(M_TEST.total, total + 2);
	CHECK_EQ(M_TEST.bytes, bytes + 128 + 3 * PAGE_SIZE);
	CHECK_EQ(kmalloc_inuse(), sum + 2);
	kfree(a, &M_TEST);
	kfree(b, &M_TEST);
	CHECK_EQ(M_TEST.inuse, inuse);
	CHECK_EQ(M_TEST.bytes, bytes);
	CHECK_EQ(kmalloc_inuse(), sum);
}

KTEST(malloc, caches)
{
	static struct kmem_cache *cache;
	uint64_t sum;
	void *p[100];

	if (cache == NULL)
		/* caches live for ever: one for all runs */
		cache = kmem_cache_create("t_malloc cache", 72, 128);
	sum = kmalloc_inuse();
	for (size_t i = 0; i < nitems(p); i++) {
		p[i] = kmem_cache_alloc(cache, M_WAITOK);
		CHECK_EQ((uintptr_t)p[i] % 128, 0);
	}
	CHECK_EQ(kmalloc_inuse(), sum + nitems(p));
	for (size_t i = 0; i < nitems(p); i++)
		kmem_cache_free(cache, p[i]);
	CHECK_EQ(kmalloc_inuse(), sum);
	kmalloc_check();
}

KTEST(malloc, random_mix_keeps_contents)
{
	enum { SLOTS = 128 };
	static struct {
		uint8_t *p;
		size_t	 size;
		uint8_t	 fill;
	} slot[SLOTS];
	unsigned allocated = 0;

	memset(slot, 0, sizeof(slot));
	for (int op = 0; op < 6000; op++) {
		unsigned i = ktest_random() % SLOTS;

		if (slot[i].p != NULL) {
			size_t at = ktest_random() % slot[i].size;

			if (!CHECK_EQ(slot[i].p[at], slot[i].fill))
				break;
			kfree(slot[i].p, &M_TEST);
			slot[i].p = NULL;
			continue;
		}
		slot[i].size = ktest_random() % (ktest_random() % 16 == 0 ? 9000 : 600) + 1;
		slot[i].fill = (uint8_t)op;
		slot[i].p = kmalloc(slot[i].size, &M_TEST, M_WAITOK);
		memset(slot[i].p, slot[i].fill, slot[i].size);
		allocated++;
	}
	CHECK(allocated > 1000);
	for (unsigned i = 0; i < SLOTS; i++)
		kfree(slot[i].p, &M_TEST);
	kmalloc_check();
}

KTEST(malloc, empty_slabs_give_their_pages_back)
{
	enum { N = 200 };
	static void *p[N];
	uint32_t free_before, free_full;

	kmem_reap();
	free_before = vm_free_count();
	for (int i = 0; i < N; i++)
		p[i] = kmalloc(1000, &M_TEST, M_WAITOK);
	free_full = vm_free_count();
	CHECK(free_full + N / 4 < free_before);			/* it really took pages */
	for (int i = 0; i < N; i++)
		kfree(p[i], &M_TEST);
	CHECK(vm_free_count() > free_full + N / 8);		/* most at once, without reaping */
	kmem_reap();
	CHECK(vm_free_count() + 8 >= free_before);
}

/* ---- no memory ---- */

/*
 * Take all pages that a normal allocation may have and dirty them; they are chained through their
 * first words.
 */
static void **
hoard(void)
{
	void **chain = NULL, **page;
	struct vm_page *m;

	while ((m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED)) != NULL) {
		page = VM_PAGE_TO_DMAP(m);
		memset(page, 0x77, PAGE_SIZE);
		*page = chain;
		chain = page;
	}
	return (chain);
}

static void
hoard_free(void **chain)
{
	while (chain != NULL) {
		void **next = *chain;

		vm_page_free(PHYS_TO_VM_PAGE(DMAP_TO_PHYS(chain)));
		chain = next;
	}
}

KTEST(malloc, exhaustion_without_waiting_returns_null)
{
	static void *small[64];
	uint64_t inuse = M_TEST.inuse;
	void **chain, *reserve;
	int n = 0;

	if (vm_page_count > GiB / PAGE_SIZE) {
		ktest_skip("taking all of %lu MiB would take long",
		    vm_page_count * PAGE_SIZE / MiB);
		return;
	}
	kmem_reap();
	chain = hoard();
	CHECK(chain != NULL);
	CHECK(kmalloc(4096, &M_TEST, M_NOWAIT) == NULL);
	CHECK(kmalloc(100000, &M_TEST, M_NOWAIT) == NULL);
	while (n < (int)nitems(small) && (small[n] = kmalloc(1900, &M_TEST, M_NOWAIT)) != NULL)
		n++;
	CHECK(n < (int)nitems(small));	/* at most what an open slab still held */
	reserve = kmalloc(4096, &M_TEST, M_NOWAIT | M_RESERVE);
	CHECK(reserve != NULL);	/* the reserve is for those who free memory */
	kfree(reserve, &M_TEST);
	hoard_free(chain);
	while (n > 0)
		kfree(small[--n], &M_TEST);
	/*
	 * Once more for the pages that were left at first: then no free page holds zeros by chance.
	 */
	hoard_free(hoard());
	check_zeroed(4096);
	check_zeroed(20000);
	CHECK_EQ(M_TEST.inuse, inuse);
}
