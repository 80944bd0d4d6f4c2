/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EFI: what our own loader (boot/efi/) hands over, which is a boot_info already.
 *
 * Loader and kernel may be of different ages: the magic number and the counts are looked at, the
 * image's place is known better here.
 */
#include "boot/boot.h"

uint64_t
efi_translate(struct boot_info *bi, uint32_t info)
{
	const struct boot_info *given = boot_phys(info, sizeof(*given));
	uint32_t i;

	if (given == NULL || given->magic != BOOT_INFO_MAGIC)
		return (0);
	bi->rsdp = given->rsdp;
	bi->fb = given->fb;
	bi->clipped = given->clipped;
	for (i = 0; i < given->nmem && i < BOOT_MEM_MAX; i++)
		(void)boot_info_add(bi, given->mem[i].base, given->mem[i].len, given->mem[i].type);
	boot_set_cmdline(bi, given->cmdline, sizeof(given->cmdline));
	return (sizeof(*given));
}
