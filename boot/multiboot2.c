/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Multiboot2: what GRUB hands over, a list of tags.
 *
 *	u32 total_size, u32 reserved, then per tag: u32 type, u32 size, payload; each tag on 8 bytes.
 *
 * A tag that is shorter than its type demands, or that would run past total_size, ends the walk.
 */
#include "boot/boot.h"
#include "kernel/lib/string.h"

enum {
	TAG_END = 0, TAG_CMDLINE = 1, TAG_MODULE = 3, TAG_MMAP = 6, TAG_FRAMEBUFFER = 8,
	TAG_RSDP_OLD = 14, TAG_RSDP_NEW = 15
};

struct mb2_tag {
	uint32_t	type;
	uint32_t	size;		/* with this header, without padding */
};

struct mb2_module {
	struct mb2_tag	tag;
	uint32_t	start, end;
};

struct mb2_mmap {
	struct mb2_tag	tag;
	uint32_t	entry_size;
	uint32_t	entry_version;
};

struct mb2_mmap_entry {
	uint64_t	addr, len;
	uint32_t	type;
	uint32_t	reserved;
};

struct mb2_framebuffer {
	struct mb2_tag	tag;
	uint64_t	addr;
	uint32_t	pitch, width, height;
	uint8_t		bpp;
	uint8_t		type;		/* 1: pixels of direct colour, 2: VGA's text mode */
	uint16_t	reserved;
};

static uint32_t
mem_type(uint32_t mb2)
{
	switch (mb2) {
	case 1:		return (BOOT_MEM_USABLE);
	case 3:		return (BOOT_MEM_ACPI);
	default:	return (BOOT_MEM_RESERVED);
	}
}

static void
take_mmap(struct boot_info *bi, const struct mb2_tag *tag)
{
	const struct mb2_mmap *mm = (const void *)tag;
	uint64_t at;

	if (tag->size < sizeof(*mm) || mm->entry_size < sizeof(struct mb2_mmap_entry))
		return;
	for (at = sizeof(*mm); at + mm->entry_size <= tag->size; at += mm->entry_size) {
		const struct mb2_mmap_entry *e = (const void *)((const char *)tag + at);

		if (!boot_info_add(bi, e->addr, e->len, mem_type(e->type)))
			bi->clipped++;
	}
}

static void
take_framebuffer(struct boot_info *bi, const struct mb2_tag *tag)
{
	const struct mb2_framebuffer *fb = (const void *)tag;

	if (tag->size < sizeof(*fb) || (fb->type != 1 && fb->type != 2))
		return;
	bi->fb.text = fb->type == 2;
	bi->fb.base = fb->addr;
	bi->fb.width = fb->width;
	bi->fb.height = fb->height;
	bi->fb.pitch = fb->pitch;
	bi->fb.bpp = fb->bpp;
}

static void
take_tag(struct boot_info *bi, const struct mb2_tag *tag, uint64_t pa)
{
	const struct mb2_module *mod = (const void *)tag;

	switch (tag->type) {
	case TAG_CMDLINE:
		boot_set_cmdline(bi, (const char *)(tag + 1), tag->size - sizeof(*tag));
		break;
	case TAG_MODULE:
		if (tag->size >= sizeof(*mod) && mod->end > mod->start)
			boot_add_module(bi, mod->start, mod->end - mod->start);
		break;
	case TAG_MMAP:
		take_mmap(bi, tag);
		break;
	case TAG_FRAMEBUFFER:
		take_framebuffer(bi, tag);
		break;
	case TAG_RSDP_OLD:
	case TAG_RSDP_NEW:
		/*
		 * The tag holds a copy of the root pointer; the newer kind, which comes later,
		 * wins.
		 */
		if (tag->size >= sizeof(*tag) + 20)
			bi->rsdp = pa + sizeof(*tag);
		break;
	default:
		break;
	}
}

uint64_t
multiboot2_translate(struct boot_info *bi, uint32_t info)
{
	const uint32_t *total = boot_phys(info, 8);
	const struct mb2_tag *tag;
	uint64_t at, end;

	if (total == NULL || boot_phys(info, *total) == NULL)
		return (0);
	end = *total;
	for (at = 8; at + sizeof(*tag) <= end; at += (tag->size + 7ul) & ~7ul) {
		tag = (const void *)((const char *)total + at);
		if (tag->type == TAG_END || tag->size < sizeof(*tag) || at + tag->size > end)
			break;
		take_tag(bi, tag, info + at);
	}
	return (end);
}
