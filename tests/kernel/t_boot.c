/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * boot_info_check(): whatever a firmware says, what comes out is sorted, free of overlaps, and
 * never calls usable what anybody called reserved.
 */
#include "boot/boot_info.h"
#include "drivers/fw_cfg.h"
#include "kernel/cmdline.h"
#include "kernel/main.h"
#include "tests/kernel/ktest.h"

static struct boot_info bi;

static void
start(void)
{
	memset(&bi, 0, sizeof(bi));
}

static void
add(uint64_t base, uint64_t len, uint32_t type)
{
	CHECK(boot_info_add(&bi, base, len, type));
}

static void
expect(uint32_t i, uint64_t base, uint64_t len, uint32_t type)
{
	CHECK(i < bi.nmem);
	CHECK_EQ(bi.mem[i].base, base);
	CHECK_EQ(bi.mem[i].len, len);
	CHECK_EQ(bi.mem[i].type, type);
}

/* What must hold of every result. */
static void
check_laws(const struct boot_info *b)
{
	uint32_t i;

	CHECK(b->nmem <= BOOT_MEM_MAX);
	for (i = 0; i < b->nmem; i++) {
		CHECK(b->mem[i].len > 0);
		CHECK(b->mem[i].base + b->mem[i].len > b->mem[i].base);
		CHECK(b->mem[i].type >= BOOT_MEM_USABLE && b->mem[i].type <= BOOT_MEM_RESERVED);
		if (i > 0)
			CHECK(b->mem[i - 1].base + b->mem[i - 1].len <= b->mem[i].base);
	}
}

KTEST(boot, sound_map_is_left_alone)
{
	start();
	add(0x1000, 0x9e000, BOOT_MEM_USABLE);
	add(0xf0000, 0x10000, BOOT_MEM_RESERVED);
	add(0x100000, 0x700000, BOOT_MEM_USABLE);
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, 3);
	CHECK_EQ(bi.clipped, 0);
	expect(2, 0x100000, 0x700000, BOOT_MEM_USABLE);
}

KTEST(boot, unsorted_map_is_sorted)
{
	start();
	add(0x300000, 0x1000, BOOT_MEM_USABLE);
	add(0x100000, 0x1000, BOOT_MEM_RESERVED);
	add(0x200000, 0x1000, BOOT_MEM_ACPI);
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.clipped, 0);
	expect(0, 0x100000, 0x1000, BOOT_MEM_RESERVED);
	expect(1, 0x200000, 0x1000, BOOT_MEM_ACPI);
	expect(2, 0x300000, 0x1000, BOOT_MEM_USABLE);
}

KTEST(boot, less_usable_type_wins_an_overlap)
{
	start();
	add(0x100000, 0x500000, BOOT_MEM_USABLE);
	add(0x200000, 0x100000, BOOT_MEM_RESERVED);	/* a hole inside */
	add(0x580000, 0x200000, BOOT_MEM_ACPI);		/* across the end */
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, 4);
	CHECK_EQ(bi.clipped, 1);
	expect(0, 0x100000, 0x100000, BOOT_MEM_USABLE);
	expect(1, 0x200000, 0x100000, BOOT_MEM_RESERVED);
	expect(2, 0x300000, 0x280000, BOOT_MEM_USABLE);
	expect(3, 0x580000, 0x200000, BOOT_MEM_ACPI);
}

KTEST(boot, same_range_twice_is_one)
{
	start();
	add(0x100000, 0x1000, BOOT_MEM_USABLE);
	add(0x100000, 0x1000, BOOT_MEM_USABLE);
	add(0x101000, 0x1000, BOOT_MEM_USABLE);		/* a neighbour is joined */
	boot_info_check(&bi);
	CHECK_EQ(bi.nmem, 1);
	CHECK_EQ(bi.clipped, 1);
	expect(0, 0x100000, 0x2000, BOOT_MEM_USABLE);
}

KTEST(boot, empty_and_wrapping_entries_are_dropped)
{
	start();
	add(0x100000, 0, BOOT_MEM_USABLE);
	add(0xfffffffffffff000ul, 0x2000, BOOT_MEM_USABLE);
	add(0x200000, ~0ul, BOOT_MEM_USABLE);
	add(0x300000, 0x1000, BOOT_MEM_USABLE);
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, 1);
	CHECK_EQ(bi.clipped, 3);
	expect(0, 0x300000, 0x1000, BOOT_MEM_USABLE);
}

KTEST(boot, unknown_type_is_reserved)
{
	start();
	add(0x100000, 0x1000, 77);
	add(0x200000, 0x1000, 0);
	boot_info_check(&bi);
	CHECK_EQ(bi.clipped, 2);
	expect(0, 0x100000, 0x1000, BOOT_MEM_RESERVED);
	expect(1, 0x200000, 0x1000, BOOT_MEM_RESERVED);
}

KTEST(boot, absurd_counts_are_cut)
{
	start();
	bi.nmem = 1000;
	bi.nmodules = 1000;
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, 0);
	CHECK(bi.nmodules <= BOOT_MODULE_MAX);
	CHECK(bi.clipped > 0);
}

KTEST(boot, full_map_refuses_more)
{
	uint32_t i;

	start();
	for (i = 0; i < BOOT_MEM_MAX; i++)
		add(0x100000ul * i, 0x1000, BOOT_MEM_USABLE);
	CHECK(!boot_info_add(&bi, 0x10000000, 0x1000, BOOT_MEM_USABLE));
	CHECK_EQ(bi.nmem, BOOT_MEM_MAX);
}

/* What finds no room is lost memory, but if it was reserved then nothing usable may remain of it. */
KTEST(boot, full_map_still_honours_reservations)
{
	uint32_t i;

	start();
	add(0x10000000, 0x1000000, BOOT_MEM_USABLE);
	add(0x20000000, 0x1000000, BOOT_MEM_USABLE);
	add(0x30000000, 0x1000000, BOOT_MEM_ACPI);
	for (i = 3; i < BOOT_MEM_MAX; i++)
		add(0x100000ul * i, 0x1000, BOOT_MEM_USABLE);
	CHECK(!boot_info_add(&bi, 0x10800000, 0x100000, BOOT_MEM_RESERVED));	/* in the middle */
	CHECK(!boot_info_add(&bi, 0x1ff00000, 0x180000, BOOT_MEM_LOADER));	/* the beginning */
	CHECK(!boot_info_add(&bi, 0x30000000, 0x1000000, BOOT_MEM_RESERVED));
	CHECK(!boot_info_add(&bi, 0x300000, 0x1000, BOOT_MEM_RESERVED));	/* all of one */
	CHECK(!boot_info_add(&bi, 0x400000, 0x1000, BOOT_MEM_USABLE));
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, BOOT_MEM_MAX - 1);
	expect(0, 0x400000, 0x1000, BOOT_MEM_USABLE);
	expect(bi.nmem - 3, 0x10000000, 0x800000, BOOT_MEM_USABLE);
	expect(bi.nmem - 2, 0x20080000, 0xf80000, BOOT_MEM_USABLE);
	expect(bi.nmem - 1, 0x30000000, 0x1000000, BOOT_MEM_ACPI);
}

/* A large machine as a careless firmware tells it: out of order, across 4 GiB, devices called RAM. */
KTEST(boot, memory_above_4g_around_the_hole)
{
	start();
	add(4 * GiB, 2 * GiB, BOOT_MEM_USABLE);
	add(0xfee00000, 0x1000, BOOT_MEM_RESERVED);
	add(0x100000, 4 * GiB - 0x100000, BOOT_MEM_USABLE);
	add(0xc0000000, 1 * GiB, BOOT_MEM_RESERVED);
	add(0x7ff00000, 0x80000, BOOT_MEM_ACPI);
	add(5 * GiB, 0x200000, BOOT_MEM_RESERVED);
	add(0, 0x9fc00, BOOT_MEM_USABLE);
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, 8);
	CHECK_EQ(bi.clipped, 3);	/* both large ranges, and the APIC inside of the hole */
	expect(0, 0, 0x9fc00, BOOT_MEM_USABLE);
	expect(1, 0x100000, 0x7fe00000, BOOT_MEM_USABLE);
	expect(2, 0x7ff00000, 0x80000, BOOT_MEM_ACPI);
	expect(3, 0x7ff80000, 0x40080000, BOOT_MEM_USABLE);
	expect(4, 0xc0000000, 1 * GiB, BOOT_MEM_RESERVED);
	expect(5, 4 * GiB, 1 * GiB, BOOT_MEM_USABLE);
	expect(6, 5 * GiB, 0x200000, BOOT_MEM_RESERVED);
	expect(7, 5 * GiB + 0x200000, 1 * GiB - 0x200000, BOOT_MEM_USABLE);
}

/* Limits that are no multiples of anything: nothing is rounded into somebody else's bytes. */
KTEST(boot, ranges_need_not_be_pages)
{
	start();
	add(0x100010, 0x7ff7, BOOT_MEM_USABLE);
	add(0x103fff, 2, BOOT_MEM_RESERVED);
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, 3);
	expect(0, 0x100010, 0x3fef, BOOT_MEM_USABLE);
	expect(1, 0x103fff, 2, BOOT_MEM_RESERVED);
	expect(2, 0x104001, 0x4006, BOOT_MEM_USABLE);
}

/*
 * One range under many small reserved ones splits into more pieces than fit: what is lost is never
 * usable twice.
 */
KTEST(boot, too_many_pieces_stay_within_the_table)
{
	uint32_t i;

	start();
	add(0, 0x10000000, BOOT_MEM_USABLE);
	for (i = 1; i < BOOT_MEM_MAX; i++)
		add(0x100000ul * i, 0x1000, BOOT_MEM_RESERVED);
	boot_info_check(&bi);
	check_laws(&bi);
	CHECK_EQ(bi.nmem, BOOT_MEM_MAX);
	CHECK(bi.clipped > 1);
}

/* Random maps against a model: the type of each of 64 slots is the largest that covers it. */
KTEST(boot, random_maps_agree_with_a_model)
{
	uint32_t round, i, slot;

	for (round = 0; round < 200; round++) {
		uint32_t model[64] = { 0 };

		start();
		for (i = 0; i < 12; i++) {
			uint32_t first = ktest_random() % 64, count = ktest_random() % (65 - first);
			uint32_t type = 1 + ktest_random() % 4;

			add(first * 0x1000ul, count * 0x1000ul, type);
			for (slot = first; slot < first + count; slot++)
				model[slot] = MAX(model[slot], type);
		}
		boot_info_check(&bi);
		check_laws(&bi);
		for (slot = 0; slot < 64; slot++) {
			uint32_t found = 0;

			for (i = 0; i < bi.nmem; i++)
				if (bi.mem[i].base <= slot * 0x1000ul &&
				    slot * 0x1000ul < bi.mem[i].base + bi.mem[i].len)
					found = bi.mem[i].type;
			if (!CHECK_EQ(found, model[slot]))
				return;
		}
	}
}

KTEST(boot, limit_keeps_the_lowest_memory)
{
	start();
	add(0x100000, 0x100000, BOOT_MEM_USABLE);
	add(0x200000, 0x100000, BOOT_MEM_RESERVED);
	add(0x300000, 0x100000, BOOT_MEM_USABLE);
	add(0x500000, 0x100000, BOOT_MEM_USABLE);
	boot_info_check(&bi);
	boot_info_limit(&bi, 0x180000);
	CHECK_EQ(bi.nmem, 3);
	expect(0, 0x100000, 0x100000, BOOT_MEM_USABLE);
	expect(1, 0x200000, 0x100000, BOOT_MEM_RESERVED);
	expect(2, 0x300000, 0x080000, BOOT_MEM_USABLE);
}

KTEST(boot, an_image_outside_of_ram_is_noticed)
{
	start();
	add(0x100000, 0x200000, BOOT_MEM_USABLE);
	add(0x300000, 0x100000, BOOT_MEM_LOADER);
	add(0x400000, 0x001000, BOOT_MEM_ACPI);
	boot_info_check(&bi);
	CHECK_EQ(boot_info_outside(&bi, 0x200000, 0x200000), 0);
	CHECK_EQ(boot_info_outside(&bi, 0x200000, 0x200001), 1);
	CHECK_EQ(boot_info_outside(&bi, 0x0ff000, 0x002000), 0x1000);
	CHECK_EQ(boot_info_outside(&bi, 0x3ff000, 0x004000), 0x3000);
	CHECK_EQ(boot_info_outside(&bi, 0x800000, 0x1000), 0x1000);
	CHECK_EQ(boot_info->kernel_outside, 0);
}

KTEST(boot, absurd_screens_are_forgotten)
{
	static const struct boot_framebuffer good = {
		.base = 0xfd000000, .width = 1280, .height = 800, .pitch = 5120, .bpp = 32
	};
	struct boot_framebuffer bad[8];
	size_t i;

	start();
	add(0x100000, 0x8000000, BOOT_MEM_USABLE);
	bi.fb = good;
	boot_fb_check(&bi);
	CHECK_EQ(bi.fb.base, good.base);
	CHECK_EQ(bi.clipped, 0);
	for (i = 0; i < nitems(bad); i++)
		bad[i] = good;
	bad[0].width = 0;
	bad[1].height = 0xffffffff;
	bad[2].pitch = 5116;			/* rows overlap */
	bad[3].bpp = 4;
	bad[4].base = 0xfffffffffff00000ul;	/* wraps */
	bad[5].base = 0x8000000;		/* in RAM */
	bad[6].base = 0x100000 - 4096;		/* begins before RAM, ends in it */
	bad[7].base++;
	for (i = 0; i < nitems(bad); i++) {
		bi.fb = bad[i];
		boot_fb_check(&bi);
		CHECK_EQ(bi.fb.base, 0);
		CHECK_EQ(bi.clipped, i + 1);
	}
}

/* The map that this kernel was really booted with. */
KTEST(boot, real_map_is_sound_and_spares_the_image)
{
	uint64_t usable = 0, end;
	uint32_t i;

	check_laws(boot_info);
	CHECK_EQ(boot_info->magic, BOOT_INFO_MAGIC);
	CHECK_EQ(boot_info->kernel_phys % (2 * MiB), 0);
	CHECK(boot_info->kernel_len > 64 * KiB);
	end = boot_info->kernel_phys + boot_info->kernel_len;
	for (i = 0; i < boot_info->nmem; i++) {
		const struct boot_mem *m = &boot_info->mem[i];

		if (m->type != BOOT_MEM_USABLE)
			continue;
		usable += m->len;
		CHECK(m->base > 0);
		CHECK(m->base + m->len <= boot_info->kernel_phys || m->base >= end);
	}
	CHECK(usable > 2 * MiB);
}

/* QEMU's own word on its memory, which no firmware has touched. */
struct e820_entry {
	uint64_t	base, len;
	uint32_t	type;		/* 1: RAM */
} __packed;

#define BIOS_HOLE	0xa0000ul	/* RAM is there, behind the VGA window and the ROMs */
#define BIOS_HOLE_END	0x100000ul

/* Where boot_info's description of memory, going up from `at`, first has a gap; at most `end`. */
static uint64_t
described_up_to(uint64_t at, uint64_t end)
{
	uint32_t i;

	for (i = 0; i < boot_info->nmem && at < end; i++) {
		const struct boot_mem *m = &boot_info->mem[i];

		if (m->base <= at && at < m->base + m->len)
			at = m->base + m->len;
		else if (m->base > at)
			break;
	}
	return (MIN(at, end));
}

/*
 * Whatever the way in, boot_info describes the same RAM: all of QEMU's, and none besides.  (The
 * firmwares differ in how much of it they keep.)
 */
KTEST(boot, real_map_describes_qemus_ram)
{
	static union {
		char bytes[1024];
		struct e820_entry entry[1024 / sizeof(struct e820_entry)];
	} ram;
	ssize_t len = fw_cfg_read("etc/e820", ram.bytes, sizeof(ram));
	uint64_t total = 0, usable = 0;
	size_t i, j, n = len < 0 ? 0 : (size_t)len / sizeof(ram.entry[0]);

	if (n == 0 || cmdline_has("mem")) {
		ktest_skip(n == 0 ? "no QEMU" : "mem= has taken memory away");
		return;
	}
	for (i = 0; i < n; i++) {
		uint64_t base = ram.entry[i].base, end = base + ram.entry[i].len;

		if (ram.entry[i].type != 1)
			continue;
		total += ram.entry[i].len;
		if (base < BIOS_HOLE && end > BIOS_HOLE_END) {
			CHECK_EQ(described_up_to(base, BIOS_HOLE), BIOS_HOLE);
			base = BIOS_HOLE_END;
		}
		CHECK_EQ(described_up_to(base, end), end);
	}
	for (i = 0; i < boot_info->nmem; i++) {
		const struct boot_mem *m = &boot_info->mem[i];

		if (m->type != BOOT_MEM_USABLE)
			continue;
		usable += m->len;
		for (j = 0; j < n; j++)
			if (ram.entry[j].type == 1 && ram.entry[j].base <= m->base &&
			    m->base + m->len <= ram.entry[j].base + ram.entry[j].len)
				break;
		CHECK(j < n);
	}
	printf("# %s: %lu of %lu KiB of RAM usable\n", boot_path_name(boot_info->path), usable / KiB, total / KiB);
	CHECK(total - usable < total / 8 + 4 * MiB);
}
