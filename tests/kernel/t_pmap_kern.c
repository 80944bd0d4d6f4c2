/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's half: windows (pmap_qenter), the rights of the image and the direct map, and that
 * what the processor would find in the tables is what pmap_walk() says.
 */
#include "boot/boot_info.h"
#include "kernel/lib/errno.h"
#include "kernel/main.h"
#include "tests/kernel/t_pmap.h"
#include "vm/vm_kern.h"

extern char kernel_start[], text_end[], rodata_start[], rodata_end[], data_start[], kernel_end[];

static uint64_t
read_word(vm_offset_t va)
{
	return (*(volatile uint64_t *)va);
}

static bool
readable(vm_offset_t va)
{
	uint64_t value;

	return (kernel_peek(va, &value));
}

/* ---- windows ---- */

KTEST(pmap, qenter_round_trip)
{
	enum { N = 32 };
	vm_offset_t va = kva_alloc(N * PAGE_SIZE);
	struct vm_page *m[N];

	CHECK_OR_RETURN(va != 0);
	test_pages(m, N, 0x1000);
	for (int i = 0; i < N; i++)
		CHECK(!readable(va + i * PAGE_SIZE));
	pmap_qenter(va, m, N);
	for (int i = 0; i < N; i++) {
		vm_offset_t at = va + i * PAGE_SIZE;

		CHECK_EQ(read_word(at), 0x1000 + i);
		CHECK_EQ(pmap_kextract(at + 8), VM_PAGE_TO_PHYS(m[i]) + 8);
		*(volatile uint64_t *)(at + 4088) = i;
		CHECK_EQ(*((uint64_t *)VM_PAGE_TO_DMAP(m[i]) + 511), i);
		CHECK(m[i]->pv == NULL);
	}
	pmap_qremove(va, N);
	for (int i = 0; i < N; i++)
		CHECK(!readable(va + i * PAGE_SIZE));	/* each was in the TLB a moment ago */
	kva_free(va, N * PAGE_SIZE);
	test_pages_free(m, N);
}

/* Map 8 pages around `edge`; only the right ones may appear. */
static void
across(vm_offset_t edge)
{
	enum { N = 8 };
	vm_offset_t va = edge - 4 * PAGE_SIZE;
	struct vm_page *m[N];

	test_pages(m, N, edge);
	CHECK(!readable(va - PAGE_SIZE) && !readable(va) && !readable(va + N * PAGE_SIZE));
	pmap_qenter(va, m, N);
	for (int i = 0; i < N; i++)
		CHECK_EQ(read_word(va + i * PAGE_SIZE), edge + i);
	CHECK(!readable(va - PAGE_SIZE) && !readable(va + N * PAGE_SIZE));
	pmap_qremove(va, N);
	for (int i = 0; i < N; i++)
		CHECK(!readable(va + i * PAGE_SIZE));
	test_pages_free(m, N);
}

KTEST(pmap, qenter_across_a_page_table)
{
	vm_offset_t va = kva_alloc(4 * MiB), edge = roundup(va + MiB, 2 * MiB);

	CHECK_OR_RETURN(va != 0);
	across(edge);
	kva_free(va, 4 * MiB);
}

KTEST(pmap, qenter_across_a_gigabyte)
{
	/*
	 * Far above whatever kva_alloc() hands out, which begins at the bottom; the tables stay for
	 * the next run.
	 */
	vm_offset_t edge = KVA_BASE + KVA_SIZE / 2;

	CHECK_OR_RETURN(kva_inuse() < KVA_SIZE / 4);
	CHECK_OR_RETURN(pmap_growkernel(edge - 4 * PAGE_SIZE, edge + 4 * PAGE_SIZE));
	across(edge);
}

KTEST(pmap, window_reused_without_stale_tlb)
{
	vm_offset_t va = kva_alloc(2 * PAGE_SIZE);
	struct vm_page *m[4];

	test_pages(m, 4, 70);
	pmap_qenter(va, m, 2);
	CHECK_EQ(read_word(va), 70);
	CHECK_EQ(read_word(va + PAGE_SIZE), 71);
	pmap_qenter(va, m + 2, 2);				/* over a living window */
	CHECK_EQ(read_word(va), 72);
	CHECK_EQ(read_word(va + PAGE_SIZE), 73);
	pmap_qremove(va, 2);
	pmap_qenter(va, m, 1);
	CHECK_EQ(read_word(va), 70);
	CHECK(!readable(va + PAGE_SIZE));
	pmap_kenter(va, VM_PAGE_TO_PHYS(m[3]), PG_NX);		/* read-only */
	CHECK_EQ(read_word(va), 73);
	/* CR0.WP holds in the kernel */
	CHECK_EQ(user_copy((void *)va, &(uint64_t){ 1 }, 8), EFAULT);
	CHECK_EQ(read_word(va), 73);
	pmap_kremove(va);
	CHECK(!readable(va));
	kva_free(va, 2 * PAGE_SIZE);
	test_pages_free(m, 4);
}

KTEST(pmap, long_window_is_forgotten_whole)
{
	enum { N = 200 };					/* more than invlpg is used for */
	vm_offset_t va = kva_alloc(N * PAGE_SIZE);
	struct vm_page *m = test_page(5), *same[N];

	CHECK_OR_RETURN(va != 0);
	for (int i = 0; i < N; i++)
		same[i] = m;
	pmap_qenter(va, same, N);
	for (int i = 0; i < N; i++)
		CHECK_EQ(read_word(va + i * PAGE_SIZE), 5);
	pmap_qremove(va, N);
	for (int i = 0; i < N; i++)
		CHECK(!readable(va + i * PAGE_SIZE));
	kva_free(va, N * PAGE_SIZE);
	test_pages_free(&m, 1);
}

KTEST(pmap, zero_and_copy)
{
	struct vm_page *m[2];
	uint8_t *a, *b;

	test_pages(m, 2, 0);
	a = VM_PAGE_TO_DMAP(m[0]);
	b = VM_PAGE_TO_DMAP(m[1]);
	memset(a, 0x11, PAGE_SIZE);
	pmap_zero_page_area(m[0], 512, 1000);
	CHECK(a[511] == 0x11 && a[512] == 0 && a[1511] == 0 && a[1512] == 0x11);
	pmap_copy_page(m[0], m[1]);
	CHECK_EQ(memcmp(a, b, PAGE_SIZE), 0);
	pmap_zero_page(m[0]);
	CHECK(a[0] == 0 && a[4095] == 0 && memchr(a, 0x11, PAGE_SIZE) == NULL);
	test_pages_free(m, 2);
}

/* ---- what the processor would find ---- */

/*
 * A page-table walk written from the processor's manual, knowing nothing of the pmap: entry and its
 * level.
 */
static uint64_t
hardware_walk(uint64_t cr3, uint64_t va, int *level)
{
	uint64_t table = cr3 & 0xffffffffff000, entry = 0;

	for (*level = 4; *level >= 1; --*level) {
		unsigned index = va >> (3 + 9 * *level) & 511;

		entry = ((const uint64_t *)(DMAP_BASE + table))[index];
		if ((entry & 1) == 0 || *level == 1 || (*level <= 3 && (entry & 0x80) != 0))
			break;
		table = entry & 0xffffffffff000;
	}
	return (entry);
}

static void
check_walk(struct pmap *pmap, vm_offset_t va)
{
	int want_level, got_level;
	uint64_t want = hardware_walk(pmap->pml4_pa, va, &want_level);

	CHECK_EQ(pmap_walk(pmap, va, &got_level), want);
	CHECK_EQ(got_level, want_level);
}

static struct pmap *walked;
static unsigned walked_count;

static void
check_walked(void *arg, vm_offset_t va, pt_entry_t pte)
{
	int level;

	walked_count++;
	if (hardware_walk(walked->pml4_pa, va, &level) != pte || level != 1)
		ktest_fail(__FILE__, __LINE__,
		    "pmap_foreach says 0x%lx at 0x%lx, the tables say otherwise", pte, va);
}

KTEST(pmap, walks_agree_with_the_hardware)
{
	static const vm_offset_t fixed[] = {
		0, PAGE_SIZE, VM_USER_MIN, VM_USER_MAX, DMAP_BASE, DMAP_BASE + PAGE_SIZE,
		DMAP_BASE + 5 * MiB, DMAP_BASE + DMAP_SIZE - PAGE_SIZE, KVA_BASE,
		KVA_BASE + PAGE_SIZE, KVA_BASE + KVA_SIZE - 1, KERNBASE, UINT64_MAX
	};
	struct vm_page *m = test_page(0);
	struct pmap pmap;

	CHECK_EQ(pmap_pinit(&pmap), 0);
	for (unsigned i = 0; i < 40; i++)
		CHECK_EQ(pmap_enter(&pmap, VM_USER_MIN + i * 777 * PAGE_SIZE, m, VM_PROT_READ,
		    VM_PROT_NONE, 0), 0);
	for (size_t i = 0; i < nitems(fixed); i++) {
		check_walk(&kernel_pmap, fixed[i]);
		check_walk(&pmap, fixed[i]);
	}
	for (unsigned i = 0; i < 40 * 777; i += 37)
		check_walk(&pmap, VM_USER_MIN + i * PAGE_SIZE);
	for (int i = 0; i < 200; i++)
		check_walk(&pmap,
		    KERNBASE + ktest_random() % (uint64_t)(kernel_end - kernel_start));
	for (int i = 0; i < 200; i++)
		check_walk(&pmap, DMAP_BASE + ktest_random() % (2 * vm_page_count * PAGE_SIZE));
	walked = &pmap;
	walked_count = 0;
	pmap_foreach(&pmap, check_walked, NULL);
	CHECK_EQ(walked_count, 40);
	CHECK_EQ(read_cr3(), curcpu->pmap->pml4_pa);
	pmap_remove_all(m);
	pmap_release(&pmap);
	test_pages_free(&m, 1);
}

/* ---- rights ---- */

static pt_entry_t
rights(const char *p)
{
	int level;

	return (pmap_walk(&kernel_pmap, (vm_offset_t)p, &level) & (PG_V | PG_RW | PG_U | PG_NX));
}

KTEST(pmap, image_rights)
{
	int level;

	for (const char *p = kernel_start; p < text_end; p += PAGE_SIZE)
		CHECK_EQ(rights(p), PG_V);
	for (const char *p = rodata_start; p < rodata_end; p += PAGE_SIZE)
		CHECK_EQ(rights(p), PG_V | PG_NX);
	CHECK_EQ(rights(data_start), PG_V | PG_RW | PG_NX);
	CHECK_EQ(rights((char *)&walked), PG_V | PG_RW | PG_NX);
	/* The direct map must not be a way around. */
	for (const char *p = kernel_start; p < rodata_end; p += PAGE_SIZE)
		CHECK_EQ(rights(PHYS_TO_DMAP(pmap_kextract((vm_offset_t)p))), PG_V | PG_NX);
	/* Page 0 is mapped nowhere, and the identity map of the boot code is gone. */
	CHECK(!readable(DMAP_BASE));
	for (unsigned i = 0; i < 256; i++)
		CHECK_EQ(kernel_pmap.pml4[i], 0);
	CHECK(!(pmap_walk(&kernel_pmap, kernel_end - kernel_start, &level) & PG_V));
}

static unsigned leaves;

/* Every mapping of the kernel's half: global, not for users, never both writable and executable. */
static void
check_leaves(vm_paddr_t table_pa, int level, unsigned first)
{
	const pt_entry_t *table = PHYS_TO_DMAP(table_pa);

	for (unsigned i = first; i < 512; i++) {
		pt_entry_t e = table[i];

		if (!(e & PG_V))
			continue;
		CHECK(!(e & PG_U));
		if (level > 1 && !(e & PG_PS)) {
			check_leaves(e & PG_FRAME, level - 1, 0);
			continue;
		}
		leaves++;
		if ((e & PG_G) == 0 || ((e & PG_RW) != 0 && (e & PG_NX) == 0))
			ktest_fail(__FILE__, __LINE__, "kernel mapping 0x%lx at level %d", e,
			    level);
	}
}

KTEST(pmap, kernel_half_is_never_writable_and_executable)
{
	leaves = 0;
	check_leaves(kernel_pmap.pml4_pa, 4, 256);
	CHECK(leaves > 100);
}

KTEST(pmap, direct_map_shows_all_ram)
{
	const struct boot_info *bi = boot_info;
	unsigned ranges = 0;

	for (uint32_t i = 0; i < bi->nmem; i++) {
		const struct boot_mem *r = &bi->mem[i];

		if (r->type != BOOT_MEM_USABLE || r->len < PAGE_SIZE)
			continue;
		ranges++;
		CHECK(readable((vm_offset_t)PHYS_TO_DMAP(round_page(r->base))));
		CHECK(readable((vm_offset_t)PHYS_TO_DMAP(trunc_page(r->base + r->len - 8))));
	}
	CHECK(ranges > 0);
	CHECK(!readable((vm_offset_t)PHYS_TO_DMAP(0xa0000)));	/* the VGA window is a device */
	CHECK(!readable((vm_offset_t)PHYS_TO_DMAP(0xfee00000)));	/* so is the local APIC */
}

/* ---- one upper half for all ---- */

static uint64_t
upper_half_sum(const struct pmap *pmap)
{
	uint64_t sum = 0;

	for (unsigned i = 256; i < 512; i++)
		sum = sum * 31 + pmap->pml4[i];
	return (sum);
}

KTEST(pmap, user_pmaps_share_the_kernel_half)
{
	uint64_t before = upper_half_sum(&kernel_pmap);
	vm_offset_t va = kva_alloc(PAGE_SIZE);
	struct vm_page *m = test_page(77), *window = test_page(78);
	struct pmap pmap;

	CHECK_EQ(pmap_pinit(&pmap), 0);
	CHECK_EQ(upper_half_sum(&pmap), before);
	/* What is mapped after the pmap was made is seen through it, too. */
	pmap_qenter(va, &window, 1);
	check_walk(&pmap, va);
	for (unsigned i = 0; i < 30; i++)
		CHECK_EQ(pmap_enter(&pmap, VM_USER_MIN + i * GiB, m, VM_PROT_ALL, VM_PROT_NONE, 0),
		    0);
	pmap_remove(&pmap, 0, VM_USER_MAX);
	CHECK_EQ(upper_half_sum(&pmap), before);
	pmap_release(&pmap);
	CHECK_EQ(upper_half_sum(&kernel_pmap), before);	/* and its end does the kernel no harm */
	CHECK_EQ(read_word(va), 78);
	CHECK_EQ(kernel_pmap.resident_count, 0);
	pmap_qremove(va, 1);
	kva_free(va, PAGE_SIZE);
	test_pages_free(&m, 1);
	test_pages_free(&window, 1);
}

KTEST(pmap, switching_keeps_the_active_mask)
{
	struct pmap a, b, *before = curcpu->pmap;
	uint32_t self = 1u << curcpu->id;
	bool intr = intr_enabled();

	CHECK_EQ(pmap_pinit(&a), 0);
	CHECK_EQ(pmap_pinit(&b), 0);
	intr_disable();
	pmap_activate(&a);
	CHECK(a.active == self && b.active == 0 && curcpu->pmap == &a && read_cr3() == a.pml4_pa);
	pmap_activate(&b);
	CHECK(a.active == 0 && b.active == self && read_cr3() == b.pml4_pa);
	pmap_activate(before);
	CHECK(b.active == 0 && read_cr3() == before->pml4_pa);
	if (intr)
		intr_enable();
	pmap_release(&a);
	pmap_release(&b);
}
