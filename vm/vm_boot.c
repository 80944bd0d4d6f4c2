/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot allocator: the little memory that must be found before vm_page_array describes it.
 *
 * It serves page tables of the kernel and vm_page_array itself.  Nothing is ever given back, so all
 * it needs is a list of ranges that are in use; the rest of usable RAM is free.  It works downwards
 * from the end of the largest stretch, because each page taken next to the one before only makes
 * the last range longer, and because low memory is what devices with short addresses may want
 * later.  (The highest stretch would not do: a UEFI firmware leaves dozens of a few pages each.)
 *
 *	usable RAM   |......image..............modules........<--- taken |
 *	                     avoided            avoided
 *
 * Memory is written through the direct map: start.S's covers 4 GiB, hence the limit at first.
 */
#include "vm/vm_boot.h"

#include "boot/boot_info.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "vm/vm.h"

#define TAKEN_MAX	16
#define LOW_END		0xa0000ul
#define AVOID_MAX	(2 + BOOT_MODULE_MAX)

struct range {
	vm_paddr_t	base, end;		/* whole pages */
};

static const struct boot_info *boot_map;
static vm_paddr_t boot_limit = 4 * GiB;
static struct range taken[TAKEN_MAX];		/* by boot_page_alloc() */
static int ntaken;
static struct range avoid[AVOID_MAX];	/* image, modules, page 0: usable or not, never ours */
static int navoid;
static vm_paddr_t low_page;		/* see boot_low_page() */

static void
avoid_add(vm_paddr_t base, uint64_t len)
{
	avoid[navoid++] = (struct range){ trunc_page(base), round_page(base + len) };
}

void
boot_alloc_set_limit(vm_paddr_t limit)
{
	boot_limit = limit;
}

/* A range in use that overlaps [base, end), or NULL. */
static const struct range *
conflict(vm_paddr_t base, vm_paddr_t end)
{
	for (int i = 0; i < ntaken; i++)
		if (taken[i].base < end && base < taken[i].end)
			return (&taken[i]);
	for (int i = 0; i < navoid; i++)
		if (avoid[i].base < end && base < avoid[i].end)
			return (&avoid[i]);
	return (NULL);
}

/* The highest free place for `len` bytes in [base, end), or 0. */
static vm_paddr_t
place_in(vm_paddr_t base, vm_paddr_t end, uint64_t len)
{
	const struct range *used;

	while (end > base && end - base >= len) {
		used = conflict(end - len, end);
		if (used == NULL)
			return (end - len);
		end = used->base;
	}
	return (0);
}

/* Note that [base, end) is ours: as a rule, right below the range taken last. */
static void
note_taken(vm_paddr_t base, vm_paddr_t end)
{
	for (int i = 0; i < ntaken; i++)
		if (taken[i].base == end) {
			taken[i].base = base;
			return;
		}
	if (ntaken == TAKEN_MAX)
		panic("boot memory: more than %d separate ranges taken", TAKEN_MAX);
	taken[ntaken++] = (struct range){ base, end };
}

/* Processors begin in real mode, so where they begin must lie below 1 MiB, less the firmware's top of it. */
static void
take_low_page(const struct boot_info *bi)
{
	for (uint32_t i = 0; i < bi->nmem && low_page == 0; i++) {
		const struct boot_mem *m = &bi->mem[i];
		vm_paddr_t base = round_page(m->base), end = trunc_page(MIN(m->base + m->len, LOW_END));

		if (m->type == BOOT_MEM_USABLE)
			low_page = place_in(base, end, PAGE_SIZE);
	}
	if (low_page != 0)
		note_taken(low_page, low_page + PAGE_SIZE);
}

void
boot_alloc_init(const struct boot_info *bi)
{
	boot_map = bi;
	avoid_add(0, PAGE_SIZE);
	avoid_add(bi->kernel_phys, bi->kernel_len);
	for (uint32_t i = 0; i < bi->nmodules; i++)
		avoid_add(bi->module[i].base, bi->module[i].len);
	take_low_page(bi);
}

vm_paddr_t
boot_low_page(void)
{
	return (low_page);
}

vm_paddr_t
boot_page_alloc(size_t npages)
{
	uint64_t len = npages * PAGE_SIZE, best_size = 0;
	vm_paddr_t best = 0;

	for (uint32_t i = boot_map->nmem; i-- > 0; ) {
		const struct boot_mem *m = &boot_map->mem[i];
		vm_paddr_t base = round_page(m->base), pa;
		vm_paddr_t end = trunc_page(MIN(m->base + m->len, boot_limit));

		if (m->type != BOOT_MEM_USABLE || end <= base || end - base <= best_size)
			continue;
		pa = place_in(base, end, len);
		if (pa == 0)
			continue;
		best = pa;
		best_size = end - base;
	}
	if (best == 0)
		panic("boot memory: no %lu KiB in one piece below 0x%lx", len / KiB, boot_limit);
	note_taken(best, best + len);
	memset(PHYS_TO_DMAP(best), 0, len);
	return (best);
}

bool
boot_page_taken(vm_paddr_t pa)
{
	for (int i = 0; i < ntaken; i++)
		if (pa >= taken[i].base && pa < taken[i].end)
			return (true);
	return (false);
}

bool
boot_taken(int i, vm_paddr_t *base, uint64_t *len)
{
	if (i < 0 || i >= ntaken)
		return (false);
	*base = taken[i].base;
	*len = taken[i].end - taken[i].base;
	return (true);
}
