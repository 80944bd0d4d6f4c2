/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * boot_info_check(): whatever a firmware says, what comes out is sorted, free of overlaps, and
 * never calls usable what anybody called reserved.
 */
#include "boot/boot_info.h"
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
