/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory map of a boot_info, and how it is mended.
 *
 * Firmware's memory maps are not to be trusted: ranges overlap, wrap, come unsorted or empty.  The
 * check cuts the address space at every boundary that any entry mentions and gives each piece the
 * least usable type that covers it:
 *
 *	usable    |---------------------------|
 *	reserved         |------|        |---------|
 *	result    |usable|reserv|usable  |reserved |
 *
 * Nothing here prints, allocates or looks at anything but its arguments: the UEFI loader is linked
 * with this file, too.
 */
#include "boot/boot_info.h"

#define FB_SIDE_MAX	16384	/* pixels; a wider screen is damage */

/* Leave of each usable range the larger part outside of [base, base + len). */
static void
give_way(struct boot_info *bi, uint64_t base, uint64_t len)
{
	uint64_t end = base + len < base ? UINT64_MAX : base + len;
	uint32_t i;

	for (i = 0; i < bi->nmem; i++) {
		struct boot_mem *m = &bi->mem[i];
		uint64_t m_end = m->base + m->len, below, above;

		if (m->type != BOOT_MEM_USABLE || m_end < m->base || m_end <= base || m->base >= end)
			continue;
		below = base > m->base ? base - m->base : 0;
		above = m_end > end ? m_end - end : 0;
		if (below >= above) {
			m->len = below;
		} else {
			m->base = end;
			m->len = above;
		}
	}
}

bool
boot_info_add(struct boot_info *bi, uint64_t base, uint64_t len, uint32_t type)
{
	if (bi->nmem >= BOOT_MEM_MAX) {
		if (type != BOOT_MEM_USABLE)
			give_way(bi, base, len);
		return (false);
	}
	bi->mem[bi->nmem].base = base;
	bi->mem[bi->nmem].len = len;
	bi->mem[bi->nmem].type = type;
	bi->mem[bi->nmem].pad = 0;
	bi->nmem++;
	return (true);
}

/* Drop entries that are empty or wrap, and force unknown types to reserved. */
static void
drop_absurd(struct boot_info *bi)
{
	uint32_t i, kept = 0;

	if (bi->nmem > BOOT_MEM_MAX) {
		bi->clipped += bi->nmem - BOOT_MEM_MAX;
		bi->nmem = BOOT_MEM_MAX;
	}
	for (i = 0; i < bi->nmem; i++) {
		struct boot_mem *m = &bi->mem[i];

		if (m->len == 0 || m->base + m->len < m->base) {
			bi->clipped++;
			continue;
		}
		if (m->type < BOOT_MEM_USABLE || m->type > BOOT_MEM_RESERVED) {
			m->type = BOOT_MEM_RESERVED;
			bi->clipped++;
		}
		bi->mem[kept++] = *m;
	}
	bi->nmem = kept;
}

/* Every address where an entry begins or ends, ascending and without repeats; returns how many. */
static uint32_t
collect_cuts(const struct boot_info *bi, uint64_t cuts[2 * BOOT_MEM_MAX])
{
	uint32_t i, j, n = 0, unique = 0;

	for (i = 0; i < 2 * bi->nmem; i++) {
		const struct boot_mem *m = &bi->mem[i / 2];
		uint64_t cut = (i % 2 == 0) ? m->base : m->base + m->len;

		for (j = n++; j > 0 && cuts[j - 1] > cut; j--)
			cuts[j] = cuts[j - 1];
		cuts[j] = cut;
	}
	for (i = 0; i < n; i++)
		if (unique == 0 || cuts[unique - 1] != cuts[i])
			cuts[unique++] = cuts[i];
	return (unique);
}

/* The least usable type of the entries that cover [from, to), or 0. */
static uint32_t
type_of_piece(const struct boot_info *bi, uint64_t from, uint64_t to)
{
	uint32_t i, type = 0;

	for (i = 0; i < bi->nmem; i++) {
		const struct boot_mem *m = &bi->mem[i];

		if (m->base <= from && to <= m->base + m->len && m->type > type)
			type = m->type;
	}
	return (type);
}

/* How many entries overlap one of a less usable type, or repeat an earlier one of the same type. */
static uint32_t
count_overlapping(const struct boot_info *bi)
{
	uint32_t i, j, count = 0;

	for (i = 0; i < bi->nmem; i++) {
		const struct boot_mem *a = &bi->mem[i];

		for (j = 0; j < bi->nmem; j++) {
			const struct boot_mem *b = &bi->mem[j];

			if (i != j && a->base < b->base + b->len && b->base < a->base + a->len &&
			    (b->type > a->type || (b->type == a->type && j < i)))
				break;
		}
		if (j < bi->nmem)
			count++;
	}
	return (count);
}

void
boot_info_check(struct boot_info *bi)
{
	struct boot_mem out[BOOT_MEM_MAX];
	uint64_t cuts[2 * BOOT_MEM_MAX];
	uint32_t i, ncuts, type, n = 0;

	drop_absurd(bi);
	bi->clipped += count_overlapping(bi);
	ncuts = collect_cuts(bi, cuts);
	for (i = 0; i + 1 < ncuts; i++) {
		type = type_of_piece(bi, cuts[i], cuts[i + 1]);
		if (type == 0)
			continue;
		if (n > 0 && out[n - 1].type == type && out[n - 1].base + out[n - 1].len == cuts[i]) {
			out[n - 1].len += cuts[i + 1] - cuts[i];
			continue;
		}
		if (n == BOOT_MEM_MAX) {
			bi->clipped++;	/* no room: memory that nobody hears of is never touched */
			continue;
		}
		out[n].base = cuts[i];
		out[n].len = cuts[i + 1] - cuts[i];
		out[n].type = type;
		out[n].pad = 0;
		n++;
	}
	for (i = 0; i < n; i++)
		bi->mem[i] = out[i];
	bi->nmem = n;
	bi->cmdline[sizeof(bi->cmdline) - 1] = '\0';
	if (bi->nmodules > BOOT_MODULE_MAX)
		bi->nmodules = BOOT_MODULE_MAX;
}

void
boot_info_limit(struct boot_info *bi, uint64_t bytes)
{
	uint32_t i, kept = 0;

	for (i = 0; i < bi->nmem; i++) {
		struct boot_mem *m = &bi->mem[i];

		if (m->type != BOOT_MEM_USABLE)
			continue;
		if (m->len > bytes)
			m->len = bytes;
		bytes -= m->len;
	}
	/* Entries cut to nothing are not the firmware's fault: drop them without counting. */
	for (i = 0; i < bi->nmem; i++)
		if (bi->mem[i].len > 0)
			bi->mem[kept++] = bi->mem[i];
	bi->nmem = kept;
}

uint64_t
boot_info_outside(const struct boot_info *bi, uint64_t base, uint64_t len)
{
	uint64_t outside = len;

	for (uint32_t i = 0; i < bi->nmem; i++) {
		const struct boot_mem *m = &bi->mem[i];
		uint64_t from = m->base > base ? m->base : base;
		uint64_t to = m->base + m->len < base + len ? m->base + m->len : base + len;

		if ((m->type == BOOT_MEM_USABLE || m->type == BOOT_MEM_LOADER) && from < to)
			outside -= to - from;
	}
	return (outside);
}

uint64_t
boot_fb_len(const struct boot_framebuffer *fb)
{
	return ((uint64_t)fb->pitch * fb->height);
}

void
boot_fb_check(struct boot_info *bi)
{
	struct boot_framebuffer *fb = &bi->fb;
	uint64_t end = fb->base + boot_fb_len(fb);
	bool good;
	uint32_t i;

	if (fb->base == 0)
		return;
	good = fb->width > 0 && fb->height > 0 && fb->width <= FB_SIDE_MAX && fb->height <= FB_SIDE_MAX &&
	    fb->bpp >= 8 && fb->bpp <= 32 && fb->pitch >= fb->width * ((fb->bpp + 7) / 8) &&
	    fb->pitch <= 16 * FB_SIDE_MAX && fb->pitch % 4 == 0 && fb->base % 4 == 0 && end > fb->base;
	for (i = 0; i < bi->nmem; i++)
		if (bi->mem[i].type == BOOT_MEM_USABLE && bi->mem[i].base < end &&
		    fb->base < bi->mem[i].base + bi->mem[i].len)
			good = false;
	if (!good) {
		bi->clipped++;
		fb->base = 0;
	}
}

const char *
boot_path_name(uint32_t path)
{
	switch (path) {
	case BOOT_PVH:		return ("PVH");
	case BOOT_MULTIBOOT2:	return ("Multiboot2");
	case BOOT_EFI:		return ("EFI");
	default:		return ("an unknown path");
	}
}
