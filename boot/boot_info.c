/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The common end of all entry paths: fill one boot_info, check it, go to the kernel.
 *
 * Nothing here prints or allocates; boot/ runs before the kernel has a console.
 */
#include "boot/boot.h"

extern char kernel_start[], kernel_end[];

static struct boot_info the_boot_info;

const void *
boot_phys(uint64_t pa, uint64_t len)
{
	if (pa == 0 || len > BOOT_MAPPED_END || pa > BOOT_MAPPED_END - len)
		return (NULL);
	return ((const void *)(uintptr_t)pa);
}

void
boot_set_cmdline(struct boot_info *bi, const char *s, uint64_t max)
{
	size_t i;

	for (i = 0; i < max && i < sizeof(bi->cmdline) - 1 && s[i] != '\0'; i++)
		bi->cmdline[i] = s[i];
	bi->cmdline[i] = '\0';
}

void
boot_add_module(struct boot_info *bi, uint64_t base, uint64_t len)
{
	if (bi->nmodules == BOOT_MODULE_MAX || len == 0 || base + len < base)
		return;
	bi->module[bi->nmodules].base = base;
	bi->module[bi->nmodules].len = len;
	bi->nmodules++;
}

/*
 * Take out of usable memory what is in use: page 0, the image, the modules, the loader's structure.
 * The firmware's map is mended first and what was wrong with it counted; cutting these out is no
 * fault.
 */
static void
boot_info_finish(struct boot_info *bi, uint64_t loader_info, uint64_t loader_len)
{
	uint32_t clipped, i;

	boot_info_check(bi);
	boot_fb_check(bi);
	bi->kernel_outside = boot_info_outside(bi, bi->kernel_phys, bi->kernel_len);
	clipped = bi->clipped;
	if (bi->nmem > BOOT_MEM_MAX - 3 - BOOT_MODULE_MAX)
		bi->nmem = BOOT_MEM_MAX - 3 - BOOT_MODULE_MAX;
	(void)boot_info_add(bi, 0, 0x1000, BOOT_MEM_RESERVED);	/* physical 0 means "none" */
	(void)boot_info_add(bi, bi->kernel_phys, (bi->kernel_len + 0xfff) & ~0xffful,
	    BOOT_MEM_RESERVED);
	(void)boot_info_add(bi, loader_info, loader_len, BOOT_MEM_LOADER);
	for (i = 0; i < bi->nmodules; i++)
		(void)boot_info_add(bi, bi->module[i].base, bi->module[i].len, BOOT_MEM_LOADER);
	boot_info_check(bi);
	bi->clipped = clipped;
}

void
boot_main(uint32_t path, uint32_t loader_info, uint32_t kernel_phys)
{
	struct boot_info *bi = &the_boot_info;
	uint64_t len;

	bi->magic = BOOT_INFO_MAGIC;
	bi->path = path;
	bi->kernel_phys = kernel_phys;
	bi->kernel_len = (uint64_t)(kernel_end - kernel_start);
	switch (path) {
	case BOOT_PVH:
		len = pvh_translate(bi, loader_info);
		break;
	case BOOT_EFI:
		len = efi_translate(bi, loader_info);
		break;
	default:
		len = multiboot2_translate(bi, loader_info);
		break;
	}
	boot_info_finish(bi, loader_info, len);
	kernel_main(bi);
}
