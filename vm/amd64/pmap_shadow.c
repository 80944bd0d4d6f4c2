/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables of KASAN's shadow.
 *
 *	slot 472	shadow of the direct map	made at boot: a page for each 32 KiB that hold any RAM
 *	slot 488	shadow of the KVA		made with the page tables of what it stands for, and like them never freed
 *	slot 503	shadow of the image		part of the image itself (linker.ld), mapped by start.S already
 *
 * New pages are zero: everything is allowed until its owner says otherwise.  What is not in this
 * list has no shadow, and kasan.c lets it pass.
 *
 * The root's three entries are made at boot and never change, as for the rest of the kernel's half.
 *
 * Linux maps one shared page of zeros wherever there is no shadow.  That saves it the fix-up in the
 * load of a shadow byte; here it would make millions of entries that every walk of the tables would
 * have to visit.
 */
#include "boot/boot_info.h"
#include "kernel/amd64/layout.h"
#include "vm/amd64/pmap_priv.h"
#include "vm/vm_boot.h"

#define SHADOW_TABLE	(PG_V | PG_RW | PG_A)
#define SHADOW_PAGE	(PG_V | PG_RW | PG_A | PG_M | PG_G | PG_NX)

extern char kernel_start[], kasan_image_shadow[];

static inline vm_offset_t
shadow(vm_offset_t va)
{
	return ((va >> 3) + KASAN_SHADOW_OFFSET);
}

/* A zeroed page: at boot surely, later if there is one.  0: there is none. */
static vm_paddr_t
zeroed_page(void)
{
	struct vm_page *m;

	if (vm_page_array == NULL)
		return (boot_page_alloc(1));
	m = pmap_alloc_table();
	return (m == NULL ? 0 : VM_PAGE_TO_PHYS(m));
}

/*
 * The entry for the page of shadow at va, its tables made if they are not there.  NULL: memory is
 * short.
 */
static pt_entry_t *
shadow_pte(vm_offset_t va)
{
	pt_entry_t *table = kernel_pmap.pml4;

	for (int level = 4; level > 1; level--) {
		pt_entry_t *entry = &table[PT_INDEX(va, level)];

		if (!(*entry & PG_V)) {
			vm_paddr_t pa = zeroed_page();

			if (pa == 0)
				return (NULL);
			*entry = pa | SHADOW_TABLE;
		}
		table = PT_TABLE(*entry);
	}
	return (&table[PT_INDEX(va, 1)]);
}

bool
pmap_shadow_grow(vm_offset_t start, vm_offset_t end)
{
	for (vm_offset_t va = trunc_page(shadow(start)); va < shadow(end); va += PAGE_SIZE) {
		pt_entry_t *pte = shadow_pte(va);
		vm_paddr_t pa;

		if (pte == NULL)
			return (false);
		if (*pte & PG_V)
			continue;
		pa = zeroed_page();
		if (pa == 0)
			return (false);
		*pte = pa | SHADOW_PAGE;
	}
	return (true);
}

void
pmap_shadow_build(const struct boot_info *bi)
{
	vm_paddr_t image_shadow = bi->kernel_phys + (uint64_t)(kasan_image_shadow - kernel_start);

	for (vm_offset_t off = 0; off < round_page((kasan_image_shadow - kernel_start) / 8); off += PAGE_SIZE)
		*shadow_pte(KASAN_SHADOW_IMAGE + off) = (image_shadow + off) | SHADOW_PAGE;
	for (uint32_t i = 0; i < bi->nmem; i++)
		if (pmap_boot_is_ram(&bi->mem[i]))
			(void)pmap_shadow_grow(DMAP_BASE + bi->mem[i].base, DMAP_BASE + bi->mem[i].base + bi->mem[i].len);
	(void)shadow_pte(shadow(KVA_BASE));
}
