/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of boot/ know of each other.  The kernel sees boot_info.h only. */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <stdbool.h>

#include "boot/boot_info.h"

/* start.S identity-maps physical memory below this; nothing above it can be read by boot/. */
#define BOOT_MAPPED_END	0x100000000ul

/* From start.S, in the high half, on the boot stack.  Calls kernel_main(), never returns. */
void boot_main(uint32_t path, uint32_t loader_info, uint32_t kernel_phys);

/*
 * Translate what the loader left at physical address `info`; returns how many bytes there are in
 * use.
 * => bi is zeroed but for magic, path and the image's place.
 */
uint64_t pvh_translate(struct boot_info *bi, uint32_t info);
uint64_t multiboot2_translate(struct boot_info *bi, uint32_t info);
uint64_t efi_translate(struct boot_info *bi, uint32_t info);

/* Physical memory that may be read now, or NULL: [pa, pa + len) must lie below BOOT_MAPPED_END. */
const void *boot_phys(uint64_t pa, uint64_t len);
/*
 * Copy a NUL-terminated string of at most `max` bytes into bi->cmdline, cutting what doesn't fit.
 */
void boot_set_cmdline(struct boot_info *bi, const char *s, uint64_t max);
void boot_add_module(struct boot_info *bi, uint64_t base, uint64_t len);

#endif
