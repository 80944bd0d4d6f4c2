/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hand-over: one structure, whatever firmware and loader started us.
 *
 * Each entry path (PVH, Multiboot2, later our EFI loader) fills a `struct boot_info` and the rest
 * of the kernel looks at nothing else.  What firmware says is checked, never trusted:
 * boot_info_check() sorts the memory map, cuts overlaps in favour of the less usable type and
 * reports what it clipped.
 *
 * All addresses are physical, all lengths are bytes.
 */
#ifndef BOOT_BOOT_INFO_H
#define BOOT_BOOT_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_INFO_MAGIC		0x544c5541464f4f42ul	/* "BOOFAULT", little-endian */
#define BOOT_MEM_MAX		128
#define BOOT_MODULE_MAX		4
#define BOOT_CMDLINE_MAX	1024

enum boot_path { BOOT_PVH, BOOT_MULTIBOOT2, BOOT_EFI };

enum boot_mem_type {
	BOOT_MEM_USABLE = 1,	/* RAM that nobody uses */
	BOOT_MEM_LOADER,	/* RAM in use until the kernel has copied what it needs */
	BOOT_MEM_ACPI,		/* RAM that holds ACPI tables */
	BOOT_MEM_RESERVED	/* everything else: never touched */
};

struct boot_mem {
	uint64_t	base;
	uint64_t	len;
	uint32_t	type;		/* enum boot_mem_type */
	uint32_t	pad;
};

struct boot_module {
	uint64_t	base;
	uint64_t	len;
};

struct boot_framebuffer {
	uint64_t	base;		/* 0: none */
	uint32_t	width, height;	/* pixels */
	uint32_t	pitch;		/* bytes per row */
	uint32_t	bpp;		/* bits per pixel or cell */
	uint32_t	text;		/* 1: width and height count characters, as in VGA's text mode */
};

struct boot_info {
	uint64_t		magic;
	uint32_t		path;		/* enum boot_path */
	uint32_t		nmem;
	uint32_t		nmodules;
	/* entries of the memory map that had to be mended */
	uint32_t		clipped;
	uint64_t		kernel_phys;	/* where the image lies, 2 MiB aligned */
	uint64_t		kernel_len;	/* image with .bss */
	uint64_t		kernel_outside;	/* bytes of it where the firmware's map has no RAM for us */
	uint64_t		rsdp;		/* ACPI root pointer; 0: search the BIOS areas */
	struct boot_mem		mem[BOOT_MEM_MAX];
	struct boot_module	module[BOOT_MODULE_MAX];
	struct boot_framebuffer	fb;
	char			cmdline[BOOT_CMDLINE_MAX];
};

/* The kernel's side of the hand-over; called on the boot stack with interrupts off. */
void kernel_main(struct boot_info *bi) __attribute__((noreturn));

/*
 * Mend the memory map: sorted, free of overlaps (the less usable type wins), neighbours of one type
 * joined, empty and wrapping entries dropped.  bi->clipped counts the entries of the given map that
 * were not taken as they stood.  Touches nothing but *bi, so self-tests feed it whatever they like.
 */
void boot_info_check(struct boot_info *bi);
/*
 * Append one range; false when the map is full.  Call boot_info_check() afterwards.
 *
 * A full map loses memory, never a reservation: a range that finds no room and is not usable takes
 * its addresses away from every usable range that the map has.
 */
bool boot_info_add(struct boot_info *bi, uint64_t base, uint64_t len, uint32_t type);
/*
 * The word `mem=`: keep at most `bytes` of usable memory, lowest addresses first.  => the map is
 * checked.
 */
void boot_info_limit(struct boot_info *bi, uint64_t bytes);
/*
 * How many bytes of [base, base + len) lie in no memory that a kernel may use or was loaded into.
 * => the map is checked.
 */
uint64_t boot_info_outside(const struct boot_info *bi, uint64_t base, uint64_t len);
/* The bytes that the screen takes up from fb->base on. */
uint64_t boot_fb_len(const struct boot_framebuffer *fb);
/*
 * Forget a framebuffer of impossible shape, or one that would lie in memory that bi calls usable.
 * => the map is checked.
 */
void boot_fb_check(struct boot_info *bi);
/* The name of an enum boot_path, for messages. */
const char *boot_path_name(uint32_t path);

#endif
