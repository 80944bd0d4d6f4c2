/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's half of every address space.
 *
 *	slot 256  DMAP_BASE	all RAM: 1 GiB and 2 MiB pages, RW, NX, global
 *	slot 384  KVA_BASE	4 KiB pages, changed all the time; tables made on demand, which stay
 *	slot 511  KERNBASE	the image: text R-X, rodata R--, data RW-
 *
 * (KASAN builds have three more slots, for the shadow of these: pmap_shadow.c.)
 *
 * The three second-level tables are made at boot and the root's three entries never change, so a
 * new pmap copies them and sees every later change below them.  Kernel mappings have no pv entries:
 * nothing ever takes them away but their owner, so they need no lock, either; two owners never
 * share an address.
 *
 * The direct map is coarse where it can be.  A 2 MiB chunk that holds any RAM is mapped whole: the
 * rest of it is firmware's RAM or nothing (device registers begin far above the end of RAM, and the
 * range registers of real machines keep them uncached in any case).  Two kinds of chunk are mapped
 * page by page: the first, which contains the VGA window and page 0; and those of the image, whose
 * text and read-only data must not be writable through a second address.  The screen's memory is in
 * the direct map, too, uncached, so that a message can be seen at any moment of the boot.
 *
 * pmap_bootstrap() runs on start.S's tables and replaces them.  After it the identity map is gone
 * and page 0 is mapped nowhere.
 */
#include "boot/boot_info.h"
#include "kernel/amd64/cpu.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "vm/amd64/pmap_priv.h"
#include "vm/vm_boot.h"

extern char kernel_start[], text_end[], rodata_start[], rodata_end[], data_start[], kernel_end[];

#define KERNEL_TABLE	(PG_V | PG_RW | PG_A)	/* bits of an entry that points to a table */
#define KERNEL_RO	(PG_V | PG_A | PG_G | PG_NX)
#define KERNEL_RW	(PG_V | PG_RW | PG_A | PG_M | PG_G | PG_NX)
#define KERNEL_TEXT	(PG_V | PG_A | PG_G)
#define KERNEL_DEVICE	(KERNEL_RW | PG_PCD | PG_PWT)

struct pmap kernel_pmap = { .lock = SPINLOCK_INITIALIZER("kernel pmap", RANK_PMAP) };

/* ---- building the tables, at boot ---- */

/* The table that *entry points to, made if it is not there. */
static pt_entry_t *
boot_table(pt_entry_t *entry)
{
	if (!(*entry & PG_V)) {
		*entry = boot_page_alloc(1) | KERNEL_TABLE;
		kernel_pmap.ptp_count++;
	}
	return (PT_TABLE(*entry));
}

bool
pmap_boot_is_ram(const struct boot_mem *m)
{
	return (m->type == BOOT_MEM_USABLE || m->type == BOOT_MEM_LOADER ||
	    m->type == BOOT_MEM_ACPI);
}

/* How many bytes of [base, end) are RAM? */
static uint64_t
ram_in(const struct boot_info *bi, vm_paddr_t base, vm_paddr_t end)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < bi->nmem; i++) {
		const struct boot_mem *m = &bi->mem[i];
		vm_paddr_t from = MAX(m->base, base), to = MIN(m->base + m->len, end);

		if (pmap_boot_is_ram(m) && from < to)
			sum += to - from;
	}
	return (sum);
}

static inline bool
overlaps_image(const struct boot_info *bi, vm_paddr_t base, vm_paddr_t end)
{
	return (base < bi->kernel_phys + bi->kernel_len && bi->kernel_phys < end);
}

static inline bool
overlaps_screen(const struct boot_info *bi, vm_paddr_t base, vm_paddr_t end)
{
	return (bi->fb.base != 0 && base < bi->fb.base + boot_fb_len(&bi->fb) && bi->fb.base < end);
}

/* One chunk of the direct map, page by page. */
static void
dmap_pages(const struct boot_info *bi, pt_entry_t *pde, vm_paddr_t base)
{
	vm_paddr_t readonly_end = bi->kernel_phys + (uint64_t)(rodata_end - kernel_start);
	pt_entry_t *table = boot_table(pde);

	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		vm_paddr_t pa = base + i * PAGE_SIZE;

		if (pa == 0)
			continue;
		if (pa >= bi->kernel_phys && pa < readonly_end)
			table[i] = pa | KERNEL_RO;
		else if (overlaps_image(bi, pa, pa + PAGE_SIZE) ||
		    ram_in(bi, pa, pa + PAGE_SIZE) > 0)
			table[i] = pa | KERNEL_RW;
		else if (overlaps_screen(bi, pa, pa + PAGE_SIZE))
			table[i] = pa | KERNEL_DEVICE;
	}
}

/* One gigabyte of the direct map, whose entry is *pdpte. */
static void
dmap_gigabyte(const struct boot_info *bi, pt_entry_t *pdpte, vm_paddr_t base)
{
	pt_entry_t *pd;

	if (cpu_features.pdpe1gb && base != 0 && ram_in(bi, base, base + GiB) == GiB) {
		*pdpte = base | KERNEL_RW | PG_PS;
		return;
	}
	pd = boot_table(pdpte);
	for (unsigned i = 0; i < PT_ENTRIES; i++) {
		vm_paddr_t pa = base + i * LEVEL_SIZE(2), end = pa + LEVEL_SIZE(2);

		if (pa == 0 || overlaps_image(bi, pa, end))
			dmap_pages(bi, &pd[i], pa);
		else if (ram_in(bi, pa, end) > 0)
			pd[i] = pa | KERNEL_RW | PG_PS;
		else if (overlaps_screen(bi, pa, end))
			pd[i] = pa | KERNEL_DEVICE | PG_PS;
	}
}

static void
dmap_build(const struct boot_info *bi)
{
	pt_entry_t *pdpt = boot_table(&kernel_pmap.pml4[PT_INDEX(DMAP_BASE, 4)]);

	for (vm_paddr_t base = 0; base < DMAP_SIZE; base += GiB)
		if (ram_in(bi, base, base + GiB) > 0 || overlaps_image(bi, base, base + GiB) ||
		    overlaps_screen(bi, base, base + GiB))
			dmap_gigabyte(bi, &pdpt[base / GiB], base);
}

/* Map one section of the image. */
static void
image_section(const struct boot_info *bi, const char *start, const char *end, pt_entry_t bits)
{
	for (vm_offset_t va = trunc_page(start); va < (vm_offset_t)end; va += PAGE_SIZE) {
		pt_entry_t *table = kernel_pmap.pml4;

		for (int level = 4; level > 1; level--)
			table = boot_table(&table[PT_INDEX(va, level)]);
		table[PT_INDEX(va, 1)] = (va - KERNBASE + bi->kernel_phys) | bits;
	}
}

/* Cut off RAM that the direct map has no room for; returns the end of RAM. */
static vm_paddr_t
clip_ram(struct boot_info *bi)
{
	vm_paddr_t end = 0;

	for (uint32_t i = 0; i < bi->nmem; i++) {
		struct boot_mem *m = &bi->mem[i];

		if (!pmap_boot_is_ram(m))
			continue;
		if (m->base + m->len > DMAP_SIZE) {
			printf("memory: what lies above %lu GiB is not used\n", DMAP_SIZE / GiB);
			m->len = m->base < DMAP_SIZE ? DMAP_SIZE - m->base : 0;
		}
		end = MAX(end, m->base + m->len);
	}
	return (end);
}

/* Leave start.S's tables.  Their entries may be remembered as global, so those have to go, too. */
static void
load_final_tables(void)
{
	uint64_t cr4 = read_cr4();

	write_cr4(cr4 & ~CR4_PGE);
	write_cr3(kernel_pmap.pml4_pa);
	write_cr4(cr4);
	kernel_pmap.active = 1;
	curcpu->pmap = &kernel_pmap;
}

void
pmap_bootstrap(struct boot_info *bi)
{
	vm_paddr_t ram_end;

	if (!cpu_features.nx)
		panic("this processor cannot forbid execution of data (NX)");
	ram_end = clip_ram(bi);
	boot_alloc_init(bi);
	kernel_pmap.pml4_pa = boot_page_alloc(1);
	kernel_pmap.pml4 = PHYS_TO_DMAP(kernel_pmap.pml4_pa);
	kernel_pmap.ptp_count = 1;
	dmap_build(bi);
	(void)boot_table(&kernel_pmap.pml4[PT_INDEX(KVA_BASE, 4)]);
	image_section(bi, kernel_start, text_end, KERNEL_TEXT);
	image_section(bi, rodata_start, rodata_end, KERNEL_RO);
	image_section(bi, data_start, kernel_end, KERNEL_RW);
	pmap_shadow_build(bi);
	load_final_tables();
	boot_alloc_set_limit(ram_end);
}

/* ---- kernel mappings ---- */

bool
pmap_growkernel(vm_offset_t start, vm_offset_t end)
{
	KASSERT(start >= KVA_BASE && end <= KVA_BASE + KVA_SIZE,
	    "growing [0x%lx, 0x%lx): not in the KVA", start, end);
	for (vm_offset_t va = start; va < end; va = NEXT_ENTRY(va, 2)) {
		pt_entry_t *table = PT_TABLE(kernel_pmap.pml4[PT_INDEX(va, 4)]);

		for (int level = 3; level > 1; level--) {
			pt_entry_t *entry = &table[PT_INDEX(va, level)];

			if (!(*entry & PG_V)) {
				struct vm_page *m = pmap_alloc_table();

				if (m == NULL)
					return (false);
				*entry = VM_PAGE_TO_PHYS(m) | KERNEL_TABLE;
				kernel_pmap.ptp_count++;
			}
			table = PT_TABLE(*entry);
		}
	}
	return (pmap_shadow_grow(start, end));
}

static inline pt_entry_t *
kernel_pte(vm_offset_t va)
{
	pt_entry_t *pte = pmap_pte(&kernel_pmap, va);

	KASSERT(va >= KVA_BASE && pte != NULL,
	    "kernel address 0x%lx has no page table: not from kva_alloc()?", va);
	return (pte);
}

void
pmap_qenter(vm_offset_t va, struct vm_page **m, int count)
{
	vm_offset_t start = va;
	pt_entry_t *pte = NULL, before = 0;

	for (int i = 0; i < count; i++, va += PAGE_SIZE) {
		if (pte == NULL || PT_INDEX(va, 1) == 0)
			pte = kernel_pte(va);
		before |= *pte;
		*pte++ = VM_PAGE_TO_PHYS(m[i]) | KERNEL_RW;
	}
	if (before & PG_V)
		pmap_invalidate_range(&kernel_pmap, start, va);
}

void
pmap_qremove(vm_offset_t va, int count)
{
	vm_offset_t start = va;
	pt_entry_t *pte = NULL;

	for (int i = 0; i < count; i++, va += PAGE_SIZE) {
		if (pte == NULL || PT_INDEX(va, 1) == 0)
			pte = kernel_pte(va);
		*pte++ = 0;
	}
	pmap_invalidate_range(&kernel_pmap, start, va);
}

void
pmap_kenter(vm_offset_t va, vm_paddr_t pa, uint64_t attributes)
{
	pt_entry_t old = pte_swap(kernel_pte(va),
	    (pa & PG_FRAME) | attributes | PG_V | PG_A | PG_G);

	if (old & PG_V)
		pmap_invalidate_page(&kernel_pmap, va);
}

void
pmap_kremove(vm_offset_t va)
{
	*kernel_pte(va) = 0;
	pmap_invalidate_page(&kernel_pmap, va);
}

vm_paddr_t
pmap_kextract(vm_offset_t va)
{
	pt_entry_t e, *pte;
	int level;

	if (va >= DMAP_BASE && va < DMAP_BASE + DMAP_SIZE)
		return (DMAP_TO_PHYS(va));
	/* The KVA has small pages only, and is what a buffer's window is asked for. */
	if (va >= KVA_BASE && va < KVA_BASE + KVA_SIZE && (pte = pmap_pte(&kernel_pmap, va)) != NULL && (*pte & PG_V))
		return ((*pte & PG_FRAME) | (va & PAGE_MASK));
	e = pmap_walk(&kernel_pmap, va, &level);
	if (!(e & PG_V))
		panic("kernel address 0x%lx is not mapped", va);
	return ((e & PG_FRAME & ~(LEVEL_SIZE(level) - 1)) | (va & (LEVEL_SIZE(level) - 1)));
}

/* ---- contents, through the direct map ---- */

void
pmap_zero_page(struct vm_page *m)
{
	memset(VM_PAGE_TO_DMAP(m), 0, PAGE_SIZE);
}

void
pmap_zero_page_area(struct vm_page *m, size_t off, size_t len)
{
	KASSERT(off + len <= PAGE_SIZE, "zeroing [%lu, +%lu) of a page", off, len);
	memset((char *)VM_PAGE_TO_DMAP(m) + off, 0, len);
}

void
pmap_copy_page(struct vm_page *src, struct vm_page *dst)
{
	memcpy(VM_PAGE_TO_DMAP(dst), VM_PAGE_TO_DMAP(src), PAGE_SIZE);
}
