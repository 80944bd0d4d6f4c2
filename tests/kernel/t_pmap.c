/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pmap of user address spaces: entering, removing, restricting, the modified and referenced
 * bits as the processor sets them, and nothing left behind.
 *
 * The tests load a pmap of their own (loaded_begin) with interrupts off, so that no switch can hide
 * a stale TLB entry, and touch user addresses through user_copy(), which turns a fault into EFAULT.
 * Nobody serves these faults: the thread has no vmspace.
 */
#include "tests/kernel/t_pmap.h"

#include "kernel/lib/errno.h"
#include "kernel/thread.h"

#define VA(i)		(0x40000000ul + (i) * PAGE_SIZE)
#define RW		(VM_PROT_READ | VM_PROT_WRITE)
#define READ		VM_PROT_READ

/* ---- help ---- */

struct vm_page *
test_page(uint64_t first_word)
{
	struct vm_page *m;

	while ((m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED)) == NULL)
		vm_wait();
	m->valid = VM_PAGE_BITS_ALL;
	*(uint64_t *)VM_PAGE_TO_DMAP(m) = first_word;
	return (m);
}

void
test_pages(struct vm_page **m, int n, uint64_t first_word)
{
	for (int i = 0; i < n; i++)
		m[i] = test_page(first_word + i);
}

void
test_pages_free(struct vm_page **m, int n)
{
	for (int i = 0; i < n; i++) {
		CHECK(m[i]->pv == NULL);
		CHECK((m[i]->flags & (PG_MAPPED | PG_WRITEABLE)) == 0);
		vm_page_free(m[i]);
	}
}

static struct pmap *loaded_before;
static bool intr_before;

static void
loaded_begin(struct pmap *pmap)
{
	intr_before = intr_enabled();
	intr_disable();
	loaded_before = curcpu->pmap;
	pmap_activate(pmap);
}

static void
loaded_end(void)
{
	pmap_activate(loaded_before);
	if (intr_before)
		intr_enable();
}

/* Read or write a word at a user address of the loaded pmap: 0 or EFAULT. */
static int
peek(vm_offset_t va, uint64_t *value)
{
	return (user_copy(value, (const void *)va, sizeof(*value)));
}

static int
poke(vm_offset_t va, uint64_t value)
{
	return (user_copy((void *)va, &value, sizeof(value)));
}

static uint64_t
word_of(struct vm_page *m)
{
	return (*(uint64_t *)VM_PAGE_TO_DMAP(m));
}

static void
enter(struct pmap *pmap, vm_offset_t va, struct vm_page *m, vm_prot_t prot, vm_prot_t access,
    int flags)
{
	CHECK_EQ(pmap_enter(pmap, va, m, prot, access, flags), KERN_SUCCESS);
}

static pt_entry_t
pte_of(struct pmap *pmap, vm_offset_t va)
{
	int level;
	pt_entry_t e = pmap_walk(pmap, va, &level);

	return (level == 1 ? e : 0);
}

/* ---- entering and removing ---- */

KTEST(pmap, enter_extract_remove)
{
	uint64_t pv = pmap_pv_count(), value = 0;
	struct vm_page *m = test_page(0x1234);
	struct pmap pmap;
	vm_prot_t prot;

	CHECK_OR_RETURN(curthread->vmspace == NULL);
	CHECK_EQ(pmap_pinit(&pmap), 0);
	CHECK_EQ(pmap_extract(&pmap, VA(3)), 0);
	CHECK(!pmap_mapped(&pmap, VA(3), NULL));
	enter(&pmap, VA(3), m, READ, READ, 0);
	CHECK_EQ(pmap_extract(&pmap, VA(3) + 0x123), VM_PAGE_TO_PHYS(m) + 0x123);
	CHECK(pmap_mapped(&pmap, VA(3), &prot) && prot == READ);
	CHECK_EQ(pmap.resident_count, 1);
	CHECK_EQ(pmap_pv_count(), pv + 1);
	CHECK(pmap_page_is_mapped(m) && pmap_page_mapping_count(m) == 1);

	loaded_begin(&pmap);
	CHECK_EQ(peek(VA(3), &value), 0);
	CHECK_EQ(value, 0x1234);
	CHECK_EQ(poke(VA(3), 1), EFAULT);		/* read-only for the kernel, too */
	CHECK_EQ(peek(VA(4), &value), EFAULT);		/* the neighbour is not there */
	pmap_remove(&pmap, VA(3), VA(4));
	CHECK_EQ(peek(VA(3), &value), EFAULT);		/* the TLB has forgotten */
	loaded_end();

	CHECK_EQ(pmap.resident_count, 0);
	CHECK_EQ(pmap_pv_count(), pv);
	CHECK(!pmap_page_is_mapped(m));
	pmap_release(&pmap);
	test_pages_free(&m, 1);
}

KTEST(pmap, same_page_changes_rights)
{
	struct vm_page *m = test_page(1);
	struct pmap pmap;
	vm_prot_t prot;

	CHECK_EQ(pmap_pinit(&pmap), 0);
	enter(&pmap, VA(0), m, READ, READ, 0);
	loaded_begin(&pmap);
	CHECK_EQ(poke(VA(0), 2), EFAULT);
	enter(&pmap, VA(0), m, RW, RW, 0);
	CHECK_EQ(poke(VA(0), 2), 0);			/* seen at once */
	enter(&pmap, VA(0), m, READ, READ, 0);
	CHECK_EQ(poke(VA(0), 3), EFAULT);
	loaded_end();
	CHECK_EQ(word_of(m), 2);
	CHECK(pmap_is_modified(m));	/* the write is not forgotten with the right */
	CHECK_EQ(pmap.resident_count, 1);
	CHECK_EQ(pmap_page_mapping_count(m), 1);
	enter(&pmap, VA(0), m, VM_PROT_ALL, READ, 0);
	CHECK(pmap_mapped(&pmap, VA(0), &prot) && prot == VM_PROT_ALL);
	pmap_remove(&pmap, 0, VM_USER_MAX);
	CHECK_EQ(m->dirty, VM_PAGE_BITS_ALL);
	pmap_release(&pmap);
	test_pages_free(&m, 1);
}

KTEST(pmap, another_page_replaces)
{
	struct vm_page *m[2];
	uint64_t value = 0, pv;
	struct pmap pmap;

	test_pages(m, 2, 100);
	CHECK_EQ(pmap_pinit(&pmap), 0);
	enter(&pmap, VA(0), m[0], RW, RW, 0);
	pv = pmap_pv_count();
	loaded_begin(&pmap);
	CHECK_EQ(poke(VA(0), 55), 0);
	enter(&pmap, VA(0), m[1], READ, READ, 0);
	CHECK_EQ(peek(VA(0), &value), 0);
	CHECK_EQ(value, 101);				/* not the old page through the TLB */
	CHECK_EQ(poke(VA(0), 56), EFAULT);
	loaded_end();
	CHECK_EQ(pmap_pv_count(), pv);
	CHECK(!pmap_page_is_mapped(m[0]) && pmap_page_is_mapped(m[1]));
	CHECK_EQ(m[0]->dirty, VM_PAGE_BITS_ALL);
	CHECK_EQ(m[1]->dirty, 0);
	CHECK_EQ(word_of(m[0]), 55);
	CHECK_EQ(pmap.resident_count, 1);
	pmap_remove(&pmap, VA(0), VA(1));
	pmap_release(&pmap);
	test_pages_free(m, 2);
}

KTEST(pmap, remove_ranges_over_holes_and_tables)
{
	/*
	 * First and last page of tables, of directories, a hole of a whole gigabyte, the lowest and
	 * the highest page.
	 */
	static const vm_offset_t va[] = {
		VM_USER_MIN, 0x1ff000, 0x200000, 0x3ffff000, 0x40000000, 0xc0000000, 0x7fffffe000,
		0x7ffffff000,
		0x8000000000, VM_USER_MAX - PAGE_SIZE
	};
	enum { N = nitems(va) };
	struct vm_page *m[N];
	struct pmap pmap;

	test_pages(m, N, 0);
	CHECK_EQ(pmap_pinit(&pmap), 0);
	for (int i = 0; i < N; i++)
		enter(&pmap, va[i], m[i], READ, READ, 0);
	CHECK_EQ(pmap.resident_count, N);
	pmap_remove(&pmap, 0x200000, 0x40000000);	/* takes 2 and 3 */
	for (int i = 0; i < N; i++)
		CHECK_EQ(pmap_extract(&pmap, va[i]), i == 2 || i == 3 ? 0 : VM_PAGE_TO_PHYS(m[i]));
	pmap_remove(&pmap, 0x40001000, 0x7ffffff000);	/* 5 and 6, not 4, not 7 */
	CHECK_EQ(pmap.resident_count, N - 4);
	CHECK(pmap_extract(&pmap, va[4]) != 0 && pmap_extract(&pmap, va[7]) != 0);
	pmap_remove(&pmap, 0, VM_USER_MAX);
	CHECK_EQ(pmap.resident_count, 0);
	pmap_release(&pmap);
	test_pages_free(m, N);
}

KTEST(pmap, protect_a_range)
{
	enum { N = 6 };
	struct vm_page *m[N];
	struct pmap pmap;
	uint64_t value;
	vm_prot_t prot;

	test_pages(m, N, 0);
	CHECK_EQ(pmap_pinit(&pmap), 0);
	for (int i = 0; i < N; i++)
		enter(&pmap, VA(510 + i), m[i], VM_PROT_ALL, RW, 0);	/* across two tables */
	loaded_begin(&pmap);
	for (int i = 0; i < N; i++)
		CHECK_EQ(poke(VA(510 + i), i), 0);
	pmap_protect(&pmap, VA(511), VA(514), READ);
	for (int i = 0; i < N; i++)
		CHECK_EQ(poke(VA(510 + i), 7), i >= 1 && i < 4 ? EFAULT : 0);
	pmap_protect(&pmap, VA(511), VA(512), VM_PROT_ALL);	/* never gives rights back */
	CHECK_EQ(poke(VA(511), 7), EFAULT);
	pmap_protect(&pmap, VA(514), VA(515), VM_PROT_NONE);
	CHECK_EQ(peek(VA(514), &value), EFAULT);
	loaded_end();
	CHECK(pmap_mapped(&pmap, VA(510), &prot) && prot == VM_PROT_ALL);
	CHECK(pmap_mapped(&pmap, VA(511), &prot) && prot == READ);
	CHECK(pmap_is_modified(m[1]));	/* protection does not lose the bit */
	CHECK_EQ(pmap.resident_count, N - 1);
	pmap_remove(&pmap, VA(510), VA(516));
	for (int i = 0; i < N; i++)
		CHECK_EQ(m[i]->dirty, VM_PAGE_BITS_ALL);
	pmap_release(&pmap);
	test_pages_free(m, N);
}

/* Bit i: run[i] is still m[i]; the others must be NULL. */
static unsigned
those_of(struct vm_page **run, struct vm_page **m, unsigned n)
{
	unsigned which = 0;

	for (unsigned i = 0; i < n; i++) {
		CHECK(run[i] == NULL || run[i] == m[i]);
		which |= (run[i] != NULL) << i;
	}
	return (which);
}

KTEST(pmap, runs)
{
	enum { N = 8 };
	struct vm_page *m[N], *run[N];
	struct pmap pmap;
	vm_prot_t prot;

	test_pages(m, N, 0);
	memcpy(run, m, sizeof(run));
	CHECK_EQ(pmap_pinit(&pmap), 0);
	/* no page table: costs nothing, does nothing */
	CHECK_EQ(pmap_enter_run(&pmap, VA(508), run, N, READ), 0);
	CHECK_EQ(those_of(run, m, N), 0);
	CHECK(!pmap_enter_quick(&pmap, VA(508), m[0], READ));
	enter(&pmap, VA(510), m[2], READ, READ, 0);
	memcpy(run, m, sizeof(run));
	run[1] = NULL;
	/* 0 and 3: 1 is NULL, 2 is there, 4.. has no table */
	CHECK_EQ(pmap_enter_run(&pmap, VA(508), run, N, RW), 2);
	CHECK_EQ(those_of(run, m, N), 1u << 0 | 1u << 3);
	CHECK(pmap_mapped(&pmap, VA(508), &prot) && prot == READ);	/* never writable */
	CHECK(!(pte_of(&pmap, VA(508)) & PG_A));	/* nobody asked for it yet */
	enter(&pmap, VA(515), m[7], READ, READ, 0);
	memcpy(run, m, sizeof(run));
	run[1] = NULL;
	CHECK_EQ(pmap_enter_run(&pmap, VA(508), run, N, READ), 3);
	CHECK_EQ(those_of(run, m, N), 1u << 4 | 1u << 5 | 1u << 6);
	CHECK(pmap_enter_quick(&pmap, VA(509), m[1], READ));
	CHECK(!pmap_enter_quick(&pmap, VA(509), m[1], READ));
	for (int i = 0; i < N; i++)
		CHECK_EQ(pmap_extract(&pmap, VA(508 + i)), VM_PAGE_TO_PHYS(m[i]));
	CHECK_EQ(pmap.resident_count, N);
	pmap_remove(&pmap, VA(508), VA(516));
	pmap_release(&pmap);
	test_pages_free(m, N);
}

KTEST(pmap, wired_mappings_are_counted)
{
	struct vm_page *m[3];
	struct pmap pmap;

	test_pages(m, 3, 0);
	CHECK_EQ(pmap_pinit(&pmap), 0);
	enter(&pmap, VA(0), m[0], RW, READ, PMAP_WIRED);
	enter(&pmap, VA(1), m[1], RW, READ, 0);
	enter(&pmap, VA(2), m[2], RW, READ, PMAP_WIRED);
	CHECK_EQ(pmap.wired_count, 2);
	enter(&pmap, VA(1), m[1], RW, READ, PMAP_WIRED);
	CHECK_EQ(pmap.wired_count, 3);
	enter(&pmap, VA(1), m[1], RW, READ, 0);
	CHECK_EQ(pmap.wired_count, 2);
	pmap_unwire(&pmap, VA(0), VA(2));
	CHECK_EQ(pmap.wired_count, 1);
	CHECK_EQ(pmap.resident_count, 3);
	pmap_remove_all(m[2]);
	CHECK_EQ(pmap.wired_count, 0);
	enter(&pmap, VA(0), m[0], RW, READ, PMAP_WIRED);
	enter(&pmap, VA(0), m[1], RW, READ, PMAP_WIRED);	/* replaced by another wired one */
	CHECK_EQ(pmap.wired_count, 1);
	pmap_remove(&pmap, VA(0), VA(3));
	CHECK_EQ(pmap.wired_count, 0);
	pmap_release(&pmap);
	test_pages_free(m, 3);
}

/* ---- from the page to its mappings ---- */

#define SPACES	4
#define PLACES	3

struct crowd {
	struct pmap	pmap[SPACES];
	struct vm_page	*m;
	struct vm_page	*bystander;	/* mapped next to m everywhere */
};

static vm_offset_t
place(int i)
{
	return (VA(0) + (vm_offset_t)i * 3 * 512 * PAGE_SIZE); /* each in a page table of its own */
}

static void
crowd_make(struct crowd *c)
{
	c->m = test_page(42);
	c->bystander = test_page(43);
	for (int s = 0; s < SPACES; s++) {
		CHECK_EQ(pmap_pinit(&c->pmap[s]), 0);
		for (int p = 0; p < PLACES; p++) {
			enter(&c->pmap[s], place(p), c->m, p == 0 ? READ : RW, READ, 0);
			enter(&c->pmap[s], place(p) + PAGE_SIZE, c->bystander, RW, READ, 0);
		}
	}
	CHECK_EQ(pmap_page_mapping_count(c->m), SPACES * PLACES);
}

static void
crowd_free(struct crowd *c)
{
	for (int s = 0; s < SPACES; s++) {
		pmap_remove(&c->pmap[s], 0, VM_USER_MAX);
		pmap_release(&c->pmap[s]);
	}
	test_pages_free(&c->m, 1);
	test_pages_free(&c->bystander, 1);
}

KTEST(pmap, page_protect_read_hits_every_mapping)
{
	struct crowd c;

	crowd_make(&c);
	loaded_begin(&c.pmap[2]);
	CHECK_EQ(poke(place(1), 1), 0);
	CHECK_EQ(poke(place(2), 2), 0);
	CHECK(pmap_is_modified(c.m) && c.m->dirty == 0);
	pmap_page_protect(c.m, READ);
	CHECK_EQ(poke(place(1), 3), EFAULT);
	CHECK_EQ(poke(place(2), 3), EFAULT);
	CHECK_EQ(poke(place(1) + PAGE_SIZE, 3), 0);	/* the neighbour keeps its right */
	loaded_end();
	CHECK_EQ(c.m->dirty, VM_PAGE_BITS_ALL);		/* folded before anybody can ask */
	CHECK(!pmap_is_modified(c.m));
	CHECK((c.m->flags & (PG_MAPPED | PG_WRITEABLE)) == PG_MAPPED);
	for (int s = 0; s < SPACES; s++)
		for (int p = 0; p < PLACES; p++)
			CHECK_EQ(pte_of(&c.pmap[s], place(p)) & (PG_V | PG_RW), PG_V);
	CHECK_EQ(pmap_page_mapping_count(c.m), SPACES * PLACES);
	crowd_free(&c);
}

KTEST(pmap, page_protect_none_hits_every_mapping)
{
	struct crowd c;
	uint64_t value, pv;

	crowd_make(&c);
	pv = pmap_pv_count();
	loaded_begin(&c.pmap[1]);
	for (int p = 0; p < PLACES; p++)
		CHECK_EQ(peek(place(p), &value), 0);
	pmap_page_protect(c.m, VM_PROT_NONE);
	for (int p = 0; p < PLACES; p++)
		CHECK_EQ(peek(place(p), &value), EFAULT);
	loaded_end();
	CHECK_EQ(pmap_pv_count(), pv - SPACES * PLACES);
	CHECK(!pmap_page_is_mapped(c.m) && pmap_page_mapping_count(c.bystander) == SPACES * PLACES);
	CHECK(c.m->flags & PG_REFERENCED);
	for (int s = 0; s < SPACES; s++)
		CHECK_EQ(c.pmap[s].resident_count, PLACES);
	crowd_free(&c);
}

/* ---- the processor's bits ---- */

KTEST(pmap, hardware_sets_modified_and_referenced)
{
	struct vm_page *m = test_page(9);
	struct pmap pmap;
	uint64_t value;

	CHECK_EQ(pmap_pinit(&pmap), 0);
	enter(&pmap, VA(0), m, RW, VM_PROT_NONE, 0);
	CHECK(!pmap_is_modified(m) && !pmap_is_referenced(m));
	loaded_begin(&pmap);
	CHECK_EQ(peek(VA(0), &value), 0);
	CHECK(!pmap_is_modified(m) && pmap_is_referenced(m));
	CHECK_EQ(poke(VA(0), 1), 0);
	CHECK(pmap_is_modified(m));

	/* Cleared, and set again by the next access: so the TLB was told. */
	pmap_clear_modify(m);
	CHECK(!pmap_is_modified(m));
	CHECK_EQ(peek(VA(0), &value), 0);
	CHECK(!pmap_is_modified(m));
	CHECK_EQ(poke(VA(0), 2), 0);
	CHECK(pmap_is_modified(m));
	CHECK_EQ(pmap_ts_referenced(m), 1);
	CHECK_EQ(pmap_ts_referenced(m), 0);
	CHECK(!pmap_is_referenced(m) && pmap_is_modified(m));
	CHECK_EQ(peek(VA(0), &value), 0);
	CHECK_EQ(pmap_ts_referenced(m), 1);
	loaded_end();

	CHECK_EQ(m->dirty, 0);
	vm_page_test_dirty(m);
	CHECK_EQ(m->dirty, VM_PAGE_BITS_ALL);
	pmap_remove(&pmap, VA(0), VA(1));
	pmap_release(&pmap);
	test_pages_free(&m, 1);
}

KTEST(pmap, access_sets_the_bits_in_advance)
{
	struct vm_page *m[3];
	struct pmap pmap;

	test_pages(m, 3, 0);
	CHECK_EQ(pmap_pinit(&pmap), 0);
	enter(&pmap, VA(0), m[0], RW, VM_PROT_NONE, 0);
	enter(&pmap, VA(1), m[1], RW, READ, 0);
	enter(&pmap, VA(2), m[2], RW, VM_PROT_WRITE, 0);
	CHECK_EQ(pte_of(&pmap, VA(0)) & (PG_A | PG_M), 0);
	CHECK_EQ(pte_of(&pmap, VA(1)) & (PG_A | PG_M), PG_A);
	CHECK_EQ(pte_of(&pmap, VA(2)) & (PG_A | PG_M), PG_A | PG_M);
	pmap_remove(&pmap, VA(0), VA(3));
	CHECK(m[0]->dirty == 0 && m[1]->dirty == 0 && m[2]->dirty == VM_PAGE_BITS_ALL);
	CHECK(!(m[0]->flags & PG_REFERENCED) && (m[1]->flags & PG_REFERENCED));
	pmap_release(&pmap);
	test_pages_free(m, 3);
}

KTEST(pmap, ts_referenced_looks_at_five_and_then_at_others)
{
	enum { N = 7 };
	struct vm_page *m = test_page(0);
	struct pmap pmap;

	CHECK_EQ(pmap_pinit(&pmap), 0);
	for (int i = 0; i < N; i++)
		enter(&pmap, VA(i), m, READ, READ, 0);
	CHECK_EQ(pmap_ts_referenced(m), 5);
	CHECK_EQ(pmap_ts_referenced(m), 2);
	CHECK_EQ(pmap_ts_referenced(m), 0);
	CHECK_EQ(pmap_page_mapping_count(m), N);
	pmap_remove_all(m);
	pmap_release(&pmap);
	test_pages_free(&m, 1);
}

/* ---- nothing is left, nothing is damaged ---- */

KTEST(pmap, empty_tables_are_bounded_and_released)
{
	struct vm_page *m = test_page(0);
	uint32_t free_before, free_wide;
	struct pmap pmap;

	kmem_reap();
	free_before = vm_free_count();
	CHECK_EQ(pmap_pinit(&pmap), 0);
	for (int i = 0; i < 60; i++)
		enter(&pmap, VA(0) + i * 5 * 512 * PAGE_SIZE, m, READ, READ, 0);
	free_wide = vm_free_count();
	CHECK(pmap.ptp_count >= 60);
	CHECK(free_before - free_wide >= 60);
	pmap_remove_all(m);	/* page by page: no caller who could tidy up afterwards */
	CHECK(pmap.ptp_count <= 16);
	CHECK(vm_free_count() >= free_wide + 44);
	for (int i = 0; i < 60; i++) {			/* one at a time */
		vm_offset_t va = VA(0) + (vm_offset_t)i * 700 * 512 * PAGE_SIZE;

		enter(&pmap, va, m, READ, READ, 0);
		pmap_remove(&pmap, va, va + PAGE_SIZE);
	}
	CHECK(pmap.ptp_count <= 32);
	pmap_release(&pmap);
	kmem_reap();
	CHECK_EQ(vm_free_count(), free_before);
	test_pages_free(&m, 1);
}

/* The counts in the entries that point to tables agree with a scan of those tables. */
static void
check_counts(const pt_entry_t *entry, int level)
{
	const pt_entry_t *table = PHYS_TO_DMAP(*entry & PG_FRAME);
	unsigned used = 0;

	for (unsigned i = 0; i < 512; i++) {
		if (!(table[i] & PG_V)) {
			CHECK_EQ(table[i], 0);
			continue;
		}
		used++;
		if (level > 2)
			check_counts(&table[i], level - 1);
	}
	CHECK_EQ(PTP_COUNT(*entry), used);
}

#define MODEL_PMAPS	2
#define MODEL_VAS	96
#define MODEL_PAGES	16

static struct {
	int	page;			/* -1: nothing */
	bool	writable;
} model[MODEL_PMAPS][MODEL_VAS];

static vm_offset_t
model_va(int i)
{
	/* two directories, three tables */
	return (VA(480) + (i % 64) * PAGE_SIZE + (vm_offset_t)(i / 64) * GiB);
}

static bool
model_agrees(struct pmap *pmap, struct vm_page **m)
{
	for (int s = 0; s < MODEL_PMAPS; s++)
		for (int i = 0; i < MODEL_VAS; i++) {
			int page = model[s][i].page;
			vm_prot_t prot = 0;
			bool mapped = pmap_mapped(&pmap[s], model_va(i), &prot);

			if (!CHECK_EQ(mapped, page >= 0))
				return (false);
			if (mapped && (!CHECK_EQ(pmap_extract(&pmap[s], model_va(i)),
			    VM_PAGE_TO_PHYS(m[page])) ||
			    !CHECK_EQ((prot & VM_PROT_WRITE) != 0, model[s][i].writable)))
				return (false);
		}
	return (true);
}

static void
model_step(struct pmap *pmap, struct vm_page **m)
{
	uint64_t r = ktest_random();
	int s = r % MODEL_PMAPS, i = (r >> 8) % MODEL_VAS, page = (r >> 16) % MODEL_PAGES,
	    kind = (r >> 24) % 16;
	int n = MIN((int)(r >> 32) % 24 + 1, MODEL_VAS - i);
	bool writable = (r >> 40) & 1;

	if (kind < 10) {
		enter(&pmap[s], model_va(i), m[page], writable ? RW : READ, READ, 0);
		model[s][i].page = page;
		model[s][i].writable = writable;
		return;
	}
	if (i < 64)
		n = MIN(n, 64 - i);	/* addresses are consecutive only so far */
	for (int j = i; kind < 14 && j < i + n; j++) {
		if (kind < 12)
			model[s][j].page = -1;
		model[s][j].writable = false;
	}
	if (kind < 12)
		pmap_remove(&pmap[s], model_va(i), model_va(i) + n * PAGE_SIZE);
	else if (kind < 14)
		pmap_protect(&pmap[s], model_va(i), model_va(i) + n * PAGE_SIZE, READ);
	else
		pmap_page_protect(m[page], kind == 14 ? READ : VM_PROT_NONE);
	for (int t = 0; kind >= 14 && t < MODEL_PMAPS; t++)
		for (int j = 0; j < MODEL_VAS; j++)
			if (model[t][j].page == page) {
				model[t][j].writable = false;
				if (kind == 15)
					model[t][j].page = -1;
			}
}

KTEST(pmap, random_operations_agree_with_a_model)
{
	struct pmap pmap[MODEL_PMAPS];
	struct vm_page *m[MODEL_PAGES];
	uint64_t resident, pv = pmap_pv_count();

	test_pages(m, MODEL_PAGES, 0);
	for (int s = 0; s < MODEL_PMAPS; s++) {
		CHECK_EQ(pmap_pinit(&pmap[s]), 0);
		for (int i = 0; i < MODEL_VAS; i++)
			model[s][i].page = -1;
	}
	for (int step = 0; step < 4000; step++) {
		model_step(pmap, m);
		if (step % 50 == 0 && !model_agrees(pmap, m))
			break;
	}
	(void)model_agrees(pmap, m);
	resident = pmap[0].resident_count + pmap[1].resident_count;
	CHECK(resident > 0);
	CHECK_EQ(pmap_pv_count(), pv + resident);
	for (int s = 0; s < MODEL_PMAPS; s++) {
		for (unsigned i = 0; i < 256; i++)
			if (pmap[s].pml4[i] & PG_V)
				check_counts(&pmap[s].pml4[i], 3);
		pmap_remove(&pmap[s], 0, VM_USER_MAX);
		pmap_release(&pmap[s]);
	}
	CHECK_EQ(pmap_pv_count(), pv);
	test_pages_free(m, MODEL_PAGES);
}

KTEST(pmap, no_memory_for_a_table_is_reported_and_harmless)
{
	struct vm_page *m = test_page(0), *p;
	void **chain = NULL, **next;
	struct pmap pmap;
	int kr;

	if (vm_page_count > GiB / PAGE_SIZE) {
		ktest_skip("taking all of %lu MiB would take long",
		    vm_page_count * PAGE_SIZE / MiB);
		test_pages_free(&m, 1);
		return;
	}
	CHECK_EQ(pmap_pinit(&pmap), 0);
	while ((p = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED)) != NULL) {
		next = VM_PAGE_TO_DMAP(p);
		*next = chain;
		chain = next;
	}
	kr = pmap_enter(&pmap, VA(0), m, READ, READ, 0);
	while (chain != NULL) {
		next = *chain;
		vm_page_free(PHYS_TO_VM_PAGE(DMAP_TO_PHYS(chain)));
		chain = next;
	}
	CHECK_EQ(kr, KERN_RESOURCE_SHORTAGE);
	CHECK_EQ(pmap.resident_count, 0);
	CHECK(!pmap_page_is_mapped(m));
	enter(&pmap, VA(0), m, READ, READ, 0);		/* and now it goes on */
	pmap_remove(&pmap, VA(0), VA(1));
	pmap_release(&pmap);
	test_pages_free(&m, 1);
}
