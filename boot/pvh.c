/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PVH: what `qemu -kernel` hands over.
 *
 * %ebx pointed at an hvm_start_info; from version 1 on it carries a memory map in the numbering of
 * the BIOS call E820.  Everything in it is an address below 4 GiB or it is ignored.
 */
#include "boot/boot.h"

#define HVM_START_MAGIC	0x336ec578

/* The layout is Xen's ABI. */
struct hvm_start_info {
	uint32_t	magic;
	uint32_t	version;
	uint32_t	flags;
	uint32_t	nr_modules;
	uint64_t	modlist_paddr;
	uint64_t	cmdline_paddr;
	uint64_t	rsdp_paddr;
	uint64_t	memmap_paddr;	/* version 1 */
	uint32_t	memmap_entries;
	uint32_t	reserved;
};

struct hvm_modlist_entry {
	uint64_t	paddr;
	uint64_t	size;
	uint64_t	cmdline_paddr;
	uint64_t	reserved;
};

struct hvm_memmap_entry {
	uint64_t	addr;
	uint64_t	size;
	uint32_t	type;
	uint32_t	reserved;
};

static uint32_t
mem_type(uint32_t e820)
{
	switch (e820) {
	case 1:		return (BOOT_MEM_USABLE);
	case 3:		return (BOOT_MEM_ACPI);
	default:	return (BOOT_MEM_RESERVED);
	}
}

static void
take_memmap(struct boot_info *bi, const struct hvm_start_info *si)
{
	const struct hvm_memmap_entry *map;
	uint32_t i;

	map = boot_phys(si->memmap_paddr, (uint64_t)si->memmap_entries * sizeof(*map));
	if (map == NULL)
		return;
	for (i = 0; i < si->memmap_entries; i++)
		if (!boot_info_add(bi, map[i].addr, map[i].size, mem_type(map[i].type)))
			bi->clipped++;
}

uint64_t
pvh_translate(struct boot_info *bi, uint32_t info)
{
	const struct hvm_start_info *si = boot_phys(info, sizeof(*si));
	const struct hvm_modlist_entry *mods;
	const char *cmdline;
	uint32_t i;

	if (si == NULL || si->magic != HVM_START_MAGIC)
		return (0);
	bi->rsdp = si->rsdp_paddr;
	if (si->version >= 1)
		take_memmap(bi, si);
	mods = boot_phys(si->modlist_paddr, (uint64_t)si->nr_modules * sizeof(*mods));
	for (i = 0; mods != NULL && i < si->nr_modules; i++)
		boot_add_module(bi, mods[i].paddr, mods[i].size);
	cmdline = boot_phys(si->cmdline_paddr, 1);
	if (cmdline != NULL)
		boot_set_cmdline(bi, cmdline, BOOT_MAPPED_END - si->cmdline_paddr);
	return (sizeof(*si));
}
