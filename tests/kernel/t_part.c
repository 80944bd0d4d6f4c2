/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Partition tables: what a good one says, what a bad one does not get, and partitions as disks.
 *
 * The disk is a piece of memory.  The parser reads it through a function, the disk layer as a
 * registered disk `ram0` whose driver copies; both can have sectors of 512 or 4096 bytes.  (What
 * real tools write is for tests/host/test_parts.py.)
 */
#include "drivers/disk.h"
#include "drivers/part.h"
#include "kernel/kassert.h"
#include "kernel/lib/crc32.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_kern.h"

static MALLOC_DEFINE(M_TPART, "partition tests");

#define RAM_BYTES	(512 * KiB)
#define MBR_ENTRY(n)	(446 + 16 * (n))
#define LINUX		0x83
#define EXTENDED	0x05
#define GPT_NENTRIES	128u
#define GPT_CRC_AT	16
#define FIRST_PART	64

static struct {
	uint8_t		*bytes;
	uint32_t	 sectorsize;
	uint64_t	 nsectors;		/* of the device */
	uint64_t	 bad;			/* a sector that cannot be read; 0: none */
	unsigned	 reads;
	struct part_table *table;
	/* what the driver of ram0 was asked last */
	daddr_t		 asked;
	unsigned	 flushes;
} ram;

/* ---- making tables ---- */

static void
ram_open(uint32_t sectorsize)
{
	memset(&ram, 0, sizeof(ram));
	ram.bytes = kmalloc(RAM_BYTES, &M_TPART, M_WAITOK | M_ZERO);
	ram.table = kmalloc(sizeof(*ram.table), &M_TPART, M_WAITOK);
	ram.sectorsize = sectorsize;
	ram.nsectors = RAM_BYTES / sectorsize;
}

static void
ram_close(void)
{
	kfree(ram.bytes, &M_TPART);
	kfree(ram.table, &M_TPART);
}

static void
put(uint8_t *at, uint64_t value, unsigned bytes)
{
	memcpy(at, &value, bytes);
}

static uint8_t *
sector(uint64_t n)
{
	return (ram.bytes + n * ram.sectorsize);
}

/* An entry of the table in a sector, which thereby is one. */
static void
mbr_put(uint64_t at, unsigned n, uint8_t type, uint32_t first, uint32_t count)
{
	uint8_t *e = sector(at) + MBR_ENTRY(n);

	e[4] = type;
	put(e + 8, first, 4);
	put(e + 12, count, 4);
	put(sector(at) + 510, 0xaa55, 2);
}

static void
gpt_entry(unsigned n, uint64_t first, uint64_t last)
{
	uint8_t *e = sector(2) + 128 * n;

	for (int i = 0; i < 32; i++)
		e[i] = (uint8_t)(0x10 * (n + 1) + i % 16);
	put(e + 32, first, 8);
	put(e + 40, last, 8);
}

/* The header whose checksums are right, whatever else it says. */
static void
gpt_seal(uint64_t at, uint64_t entries)
{
	uint8_t *h = sector(at);
	uint32_t bytes = MIN(*(uint32_t *)(h + 80) * *(uint32_t *)(h + 84), GPT_NENTRIES * 128u);

	put(h + 88, crc32(0, sector(entries), bytes), 4);
	put(h + GPT_CRC_AT, 0, 4);
	put(h + GPT_CRC_AT, crc32(0, h, 92), 4);
}

static void
gpt_header(uint64_t at, uint64_t other, uint64_t entries)
{
	uint64_t taken = howmany(GPT_NENTRIES * 128, ram.sectorsize);
	uint8_t *h = sector(at);

	memcpy(h, "EFI PART", 8);
	put(h + 8, 0x10000, 4);
	put(h + 12, 92, 4);
	put(h + 24, at, 8);
	put(h + 32, other, 8);
	put(h + 40, 2 + taken, 8);
	put(h + 48, ram.nsectors - 2 - taken, 8);
	put(h + 72, entries, 8);
	put(h + 80, GPT_NENTRIES, 4);
	put(h + 84, 128, 4);
	gpt_seal(at, entries);
}

/* A GPT with both headers over the entries that were put.  */
static void
gpt_make(void)
{
	uint64_t taken = howmany(GPT_NENTRIES * 128, ram.sectorsize), last = ram.nsectors - 1;

	mbr_put(0, 0, 0xee, 1, 0xffffffff);
	memcpy(sector(last - taken), sector(2), GPT_NENTRIES * 128);
	gpt_header(1, last, 2);
	gpt_header(last, 1, last - taken);
}

static int
ram_read(void *arg, uint64_t n, void *data)
{
	ram.reads++;
	if (!CHECK(n < ram.nsectors) || (ram.bad != 0 && n == ram.bad))
		return (EIO);
	memcpy(data, sector(n), ram.sectorsize);
	return (0);
}

/* The laws of a result: inside the disk, no sector twice, nothing of the table itself. */
static void
check_result(const struct part_table *t)
{
	CHECK_OR_RETURN(t->nentries <= PARTS_MAX);
	for (unsigned i = 0; i < t->nentries; i++) {
		const struct part_entry *e = &t->entries[i];

		CHECK(e->count > 0 && e->first > 0 && e->number > 0);
		CHECK(e->first < ram.nsectors && e->count <= ram.nsectors - e->first);
		for (unsigned j = 0; j < i; j++)
			CHECK(e->first + e->count <= t->entries[j].first ||
			    t->entries[j].first + t->entries[j].count <= e->first);
	}
}

static const struct part_table *
parse(void)
{
	struct part_source src = { .read = ram_read, .sectorsize = ram.sectorsize, .nsectors = ram.nsectors };

	ram.reads = 0;
	part_parse(&src, ram.table);
	check_result(ram.table);
	return (ram.table);
}

static bool
entry_is(unsigned n, uint32_t number, uint64_t first, uint64_t count)
{
	const struct part_entry *e = &ram.table->entries[n];

	return (CHECK(n < ram.table->nentries) && CHECK_EQ(e->number, number) &&
	    CHECK_EQ(e->first, first) && CHECK_EQ(e->count, count));
}

/* Is this all that is noted? */
static bool
noted(enum part_fault fault, uint32_t number)
{
	return (CHECK_EQ(ram.table->nnotes, 1) && CHECK_EQ(ram.table->notes[0].fault, fault) &&
	    CHECK_EQ(ram.table->notes[0].number, number));
}

static bool
found(enum part_scheme scheme, unsigned nentries)
{
	(void)parse();
	return (CHECK_EQ(ram.table->scheme, scheme) && CHECK_EQ(ram.table->nentries, nentries));
}

/* ---- MBR ---- */

KTEST(part, mbr_primaries_keep_their_numbers)
{
	ram_open(512);
	mbr_put(0, 0, LINUX, 64, 100);
	mbr_put(0, 2, 0x82, 200, 50);
	put(sector(0) + 440, 0x1234abcd, 4);
	if (found(PART_MBR, 2) && entry_is(0, 1, 64, 100) && entry_is(1, 3, 200, 50)) {
		CHECK_STR(ram.table->entries[1].uuid, "1234abcd-03");
		CHECK_EQ(ram.table->nnotes, 0);
	}
	ram_close();
}

/* Logical partitions: relative to their link, the next link relative to the extended partition. */
static void
make_chain(void)
{
	mbr_put(0, 0, LINUX, 10, 20);
	mbr_put(0, 1, EXTENDED, 100, 300);
	mbr_put(100, 0, LINUX, 1, 49);
	mbr_put(100, 1, EXTENDED, 200, 60);
	mbr_put(300, 0, LINUX, 2, 40);
	mbr_put(300, 1, EXTENDED, 50, 100);		/* back, which is allowed */
	mbr_put(150, 0, 0x82, 1, 99);
}

KTEST(part, mbr_logical_ones_count_from_five)
{
	ram_open(512);
	make_chain();
	if (found(PART_MBR, 4) && entry_is(0, 1, 10, 20) && entry_is(1, 5, 101, 49) && entry_is(2, 6, 302, 40))
		entry_is(3, 7, 151, 99);
	CHECK_EQ(ram.table->nnotes, 0);
	ram_close();
}

KTEST(part, mbr_chains_end)
{
	ram_open(512);
	make_chain();
	mbr_put(150, 1, EXTENDED, 200, 60);		/* to 300, where we come from */
	if (found(PART_MBR, 4))
		noted(PF_LOOP, 0);
	mbr_put(150, 1, EXTENDED, 50, 60);		/* to itself */
	if (found(PART_MBR, 4))
		noted(PF_LOOP, 0);
	mbr_put(150, 1, EXTENDED, 300, 60);		/* behind the extended partition */
	if (found(PART_MBR, 4))
		noted(PF_CHAIN, 0);
	mbr_put(150, 1, EXTENDED, 0xffffffff, 60);
	if (found(PART_MBR, 4))
		noted(PF_CHAIN, 0);
	mbr_put(150, 1, EXTENDED, 250, 60);		/* to a sector that is no table */
	if (found(PART_MBR, 4))
		noted(PF_CHAIN, 0);
	ram.bad = 350;
	if (found(PART_MBR, 4))
		noted(PF_UNREADABLE, 0);
	CHECK_EQ(ram.reads, 5);
	ram_close();
}

KTEST(part, mbr_chain_of_hundreds_is_cut)
{
	uint32_t n;

	ram_open(512);
	mbr_put(0, 3, EXTENDED, 2, 900);
	for (n = 0; n < 200; n++) {
		mbr_put(2 + 4 * n, 0, LINUX, 1, 3);
		mbr_put(2 + 4 * n, 1, EXTENDED, 4 * (n + 1), 4);
	}
	if (found(PART_MBR, PARTS_MAX))
		noted(PF_TOO_MANY, 0);
	CHECK_EQ(ram.reads, PARTS_MAX + 1);
	ram_close();
}

KTEST(part, mbr_impossible_partitions_are_left_out_or_cut)
{
	static const struct {
		uint32_t	 first, count, keeps;
		enum part_fault	 fault;
	} bad[] = {
		{ 0, 100, 0, PF_AT_TABLE }, { 64, 0, 0, PF_EMPTY }, { 1024, 1, 0, PF_BEYOND },
		{ 0xffffffff, 0xffffffff, 0, PF_BEYOND }, { 1000, 25, 24, PF_CLIPPED },
		{ 1000, 0xffffffff, 24, PF_CLIPPED }, { 150, 51, 0, PF_OVERLAP }, { 299, 1, 0, PF_OVERLAP },
		{ 190, 200, 0, PF_OVERLAP }, { 201, 5, 0, PF_OVERLAP },
	};

	ram_open(512);
	for (size_t i = 0; i < nitems(bad); i++) {
		mbr_put(0, 0, LINUX, 200, 100);
		mbr_put(0, 1, LINUX, bad[i].first, bad[i].count);
		if (!found(PART_MBR, bad[i].keeps > 0 ? 2 : 1) || !noted(bad[i].fault, 2))
			ktest_fail(__FILE__, __LINE__, "that was number %lu", i);
		else if (bad[i].keeps > 0)
			entry_is(1, 2, bad[i].first, bad[i].keeps);
	}
	ram_close();
}

KTEST(part, mbr_extended_that_cannot_be)
{
	ram_open(512);
	make_chain();
	mbr_put(0, 2, 0x0f, 500, 100);
	if (found(PART_MBR, 4))
		noted(PF_EXTENDED_TWICE, 3);
	mbr_put(0, 2, 0, 0, 0);
	mbr_put(0, 1, EXTENDED, 0, 1000);
	if (found(PART_MBR, 1))
		noted(PF_AT_TABLE, 2);
	mbr_put(0, 1, EXTENDED, 1024, 1000);
	if (found(PART_MBR, 1))
		noted(PF_BEYOND, 2);
	mbr_put(0, 1, EXTENDED, 100, 300);
	mbr_put(300, 0, LINUX, 2, 99);			/* one more than there is */
	if (found(PART_MBR, 3))
		noted(PF_NOT_IN_EXTENDED, 6);
	mbr_put(300, 0, LINUX, 0, 40);			/* where its own table is */
	if (found(PART_MBR, 3))
		noted(PF_NOT_IN_EXTENDED, 6);
	ram_close();
}

KTEST(part, boot_sector_is_no_table)
{
	ram_open(512);
	found(PART_NONE, 0);				/* an empty disk */
	put(sector(0) + 510, 0xaa55, 2);
	found(PART_NONE, 0);				/* a boot sector without entries */
	mbr_put(0, 0, LINUX, 64, 100);
	*(sector(0) + MBR_ENTRY(3)) = 'o';		/* text of a loader reaches into the table */
	found(PART_NONE, 0);
	CHECK_EQ(ram.table->nnotes, 0);
	*(sector(0) + MBR_ENTRY(3)) = 0x80;
	found(PART_MBR, 1);
	put(sector(0) + 510, 0, 2);
	found(PART_NONE, 0);
	CHECK_EQ(ram.table->nnotes, 0);
	ram.nsectors = 0;
	(void)parse();					/* no sector at all */
	noted(PF_UNREADABLE, 0);
	ram_close();
}

/* ---- GPT ---- */

static void
gpt_open(uint32_t sectorsize)
{
	ram_open(sectorsize);
	gpt_entry(0, FIRST_PART, FIRST_PART + 9);
	gpt_entry(5, FIRST_PART + 10, FIRST_PART + 10);
	gpt_make();
}

static void
gpt_is_read(uint32_t sectorsize)
{
	gpt_open(sectorsize);
	if (found(PART_GPT, 2) && entry_is(0, 1, FIRST_PART, 10) && entry_is(1, 6, FIRST_PART + 10, 1)) {
		CHECK_STR(ram.table->entries[0].uuid, "13121110-1514-1716-1819-1a1b1c1d1e1f");
		CHECK_EQ(ram.table->nnotes, 0);
	}
	ram_close();
}

KTEST(part, gpt_in_sectors_of_512)
{
	gpt_is_read(512);
}

KTEST(part, gpt_in_sectors_of_4096)
{
	gpt_is_read(4096);
}

/* What makes the first header useless; the checksum is right but where it is the point. */
static const struct {
	enum part_fault	 fault;
	unsigned	 at, bytes;
	uint64_t	 value;
	bool		 seal;
} gpt_harm[] = {
	{ PF_GPT_SIGNATURE, 0, 1, 'X', true },
	{ PF_GPT_REVISION, 8, 4, 0x20000, true },
	{ PF_GPT_SIZE, 12, 4, 91, false },
	{ PF_GPT_SIZE, 12, 4, 513, false },
	{ PF_GPT_SIZE, 12, 4, 0xffffffff, false },
	{ PF_GPT_CRC, 56, 1, 1, false },
	{ PF_GPT_PLACE, 24, 8, 2, true },
	{ PF_GPT_RANGE, 40, 8, 1, true },
	{ PF_GPT_RANGE, 48, 8, 33, true },
	{ PF_GPT_ENTRIES, 80, 4, 0, true },
	{ PF_GPT_ENTRIES, 80, 4, 0xffffffff, true },
	{ PF_GPT_ENTRIES, 80, 4, 1025, true },
	{ PF_GPT_ENTRIES, 84, 4, 0, true },
	{ PF_GPT_ENTRIES, 84, 4, 64, true },
	{ PF_GPT_ENTRIES, 84, 4, 129, true },
	{ PF_GPT_ENTRIES, 84, 4, 0x80000080, true },
	{ PF_GPT_ENTRIES_PLACE, 72, 8, 0, true },
	{ PF_GPT_ENTRIES_PLACE, 72, 8, 1000, true },
	{ PF_GPT_ENTRIES_PLACE, 72, 8, UINT64_MAX, true },
	{ PF_GPT_ENTRIES_PLACE, 72, 8, 3, true },	/* reaches into what is usable */
	{ PF_GPT_ENTRIES_CRC, 88, 4, 0, false },
};

/* Harm the header at `at`. */
static void
gpt_hurt(size_t i, uint64_t at)
{
	put(sector(at) + gpt_harm[i].at, gpt_harm[i].value, gpt_harm[i].bytes);
	if (gpt_harm[i].seal) {
		put(sector(at) + GPT_CRC_AT, 0, 4);
		put(sector(at) + GPT_CRC_AT, crc32(0, sector(at), 92), 4);
	} else if (gpt_harm[i].fault == PF_GPT_ENTRIES_CRC) {
		*(sector(2) + 128 * 9) ^= 1;		/* an entry changes, not the header */
		put(sector(at) + GPT_CRC_AT, 0, 4);
		put(sector(at) + GPT_CRC_AT, crc32(0, sector(at), 92), 4);
	}
}

KTEST(part, gpt_copy_is_used_when_the_first_is_not_whole)
{
	for (size_t i = 0; i < nitems(gpt_harm); i++) {
		gpt_open(512);
		gpt_hurt(i, 1);
		if (!found(PART_GPT, 2) || !CHECK_EQ(ram.table->nnotes, 2) ||
		    !CHECK_EQ(ram.table->notes[0].fault, gpt_harm[i].fault) ||
		    !CHECK_EQ(ram.table->notes[1].fault, PF_GPT_BACKUP) ||
		    !entry_is(1, 6, FIRST_PART + 10, 1))
			ktest_fail(__FILE__, __LINE__, "that was number %lu", i);
		ram_close();
	}
	gpt_open(512);
	ram.bad = 1;
	if (found(PART_GPT, 2))
		CHECK_EQ(ram.table->notes[0].fault, PF_UNREADABLE);
	ram_close();
}

KTEST(part, protective_table_without_gpt_gives_nothing)
{
	gpt_open(512);
	memset(sector(1), 0, 512);
	*(sector(ram.nsectors - 1) + 60) ^= 1;
	mbr_put(0, 1, LINUX, 64, 10);			/* not even this, from a table of two minds */
	if (found(PART_NONE, 0) && CHECK_EQ(ram.table->nnotes, 3)) {
		CHECK_EQ(ram.table->notes[0].fault, PF_GPT_SIGNATURE);
		CHECK_EQ(ram.table->notes[1].fault, PF_GPT_CRC);
		CHECK_EQ(ram.table->notes[2].fault, PF_NO_GPT);
	}
	ram_close();
	gpt_open(512);
	mbr_put(0, 0, LINUX, 64, 10);			/* an MBR over an old GPT is an MBR */
	if (found(PART_MBR, 1))
		entry_is(0, 1, 64, 10);
	ram_close();
}

/* The same bytes, served in sectors of the other size. */
static void
other_sectors(uint32_t made_for, uint32_t served)
{
	gpt_open(made_for);
	ram.sectorsize = served;
	ram.nsectors = RAM_BYTES / served;
	if (found(PART_NONE, 0) && CHECK(ram.table->nnotes > 1))
		CHECK_EQ(ram.table->notes[ram.table->nnotes - 2].fault, PF_GPT_SECTORS);
	ram_close();
}

KTEST(part, gpt_for_other_sectors_is_said)
{
	other_sectors(512, 4096);
	other_sectors(4096, 512);
}

KTEST(part, gpt_impossible_partitions_are_left_out)
{
	static const struct { uint64_t first, last; enum part_fault fault; } bad[] = {
		{ 100, 99, PF_EMPTY }, { UINT64_MAX, 0, PF_EMPTY }, { 0, UINT64_MAX, PF_NOT_USABLE },
		{ 0, 50, PF_NOT_USABLE }, { 33, 50, PF_NOT_USABLE }, { 900, 991, PF_NOT_USABLE },
		{ 73, 100, PF_OVERLAP }, { 34, 900, PF_OVERLAP }, { FIRST_PART, FIRST_PART, PF_OVERLAP },
	};

	for (size_t i = 0; i < nitems(bad); i++) {
		gpt_open(512);
		gpt_entry(127, bad[i].first, bad[i].last);
		gpt_make();
		if (!found(PART_GPT, 2) || !noted(bad[i].fault, 128))
			ktest_fail(__FILE__, __LINE__, "that was number %lu", i);
		ram_close();
	}
	gpt_open(512);				/* a disk that has shrunk: the copy is gone, the rest is cut */
	gpt_entry(1, 500, 700);
	gpt_entry(2, 800, 900);
	gpt_make();
	ram.nsectors = 600;
	if (found(PART_GPT, 3) && CHECK_EQ(ram.table->nnotes, 2)) {
		CHECK_EQ(ram.table->notes[0].fault, PF_CLIPPED);
		CHECK_EQ(ram.table->notes[1].fault, PF_BEYOND);
		entry_is(1, 2, 500, 100);
	}
	ram_close();
}

KTEST(part, gpt_with_more_partitions_than_there_is_room)
{
	ram_open(512);
	for (unsigned n = 0; n < GPT_NENTRIES; n++)
		gpt_entry(n, 100 + n, 100 + n);
	gpt_make();
	if (found(PART_GPT, PARTS_MAX))
		CHECK_EQ(ram.table->nnotes, GPT_NENTRIES - PARTS_MAX);
	ram_close();
}

KTEST(part, random_harm_to_tables_breaks_no_law)
{
	for (int round = 0; round < 600; round++) {
		ram_open(round % 3 == 0 ? 4096 : 512);
		if (round % 2 == 0) {
			gpt_entry(0, FIRST_PART, FIRST_PART + 9);
			gpt_entry(1, FIRST_PART + 10, FIRST_PART + 10);
			for (int i = 0; i < 8; i++)
				sector(2)[ktest_random() % 256] = (uint8_t)ktest_random();
			gpt_make();
			for (int i = 0; i < 3; i++)
				sector(1)[ktest_random() % 92] = (uint8_t)ktest_random();
			gpt_seal(1, 2);
		} else if (ram.sectorsize == 512) {
			make_chain();
		}
		for (int i = 0; i < 6; i++)
			sector((uint64_t[]){ 0, 100, 300, 150 }[ktest_random() % 4] % ram.nsectors)
			    [446 + ktest_random() % 64] = (uint8_t)ktest_random();
		(void)parse();
		CHECK(ram.reads < 4 * PARTS_MAX + 2000);
		ram_close();
	}
}

/* ---- partitions as disks ---- */

static void
ram_strategy(struct disk *dk, struct buf *bp)
{
	uint8_t *at = ram.bytes + bp->b_pblkno * DEV_BSIZE;

	ram.asked = bp->b_pblkno;
	if (bp->b_flags & B_FLUSH)
		ram.flushes++;
	else if (bp->b_flags & B_READ)
		memcpy(bp->b_data, at, bp->b_bcount);
	else
		memcpy(at, bp->b_data, bp->b_bcount);
	CHECK_EQ(dk->dk_stats.inflight, 1);
	CHECK_EQ(bp->b_disk->dk_stats.inflight, 1);
	bp->b_resid = 0;
	disk_done(dk, bp);
}

static const struct disk_ops ram_ops = { .strategy = ram_strategy };
static struct disk ram_disk;

/* vda1 and so on of a disk in memory: 1 at FIRST_PART, 2 behind it. */
static bool
parts_open(uint32_t sectorsize)
{
	ram_open(sectorsize);
	gpt_entry(0, FIRST_PART, FIRST_PART + 19);
	gpt_entry(1, FIRST_PART + 20, FIRST_PART + 39);
	gpt_make();
	ram_disk = (struct disk){ .dk_name = "ram0", .dk_ops = &ram_ops, .dk_sectorsize = sectorsize,
	    .dk_nsectors = RAM_BYTES / DEV_BSIZE, .dk_maxsize = MAXPHYS };
	disk_register(&ram_disk);
	part_scan_disk(&ram_disk);
	return (CHECK(disk_find("ram0p1") != NULL && disk_find("ram0p2") != NULL));
}

static void
parts_close(void)
{
	part_forget(&ram_disk);
	CHECK(disk_find("ram0p1") == NULL && disk_find("ram0p2") == NULL);
	disk_unregister(&ram_disk);
	ram_close();
}

static void
requests_move(uint32_t sectorsize)
{
	uint64_t units = sectorsize / DEV_BSIZE, writes;
	uint8_t *data = kmalloc(sectorsize, &M_TPART, M_WAITOK);
	struct disk *dk;

	if (parts_open(sectorsize)) {
		dk = disk_find("ram0p1");
		CHECK_EQ(dk->dk_nsectors, 20 * units);
		CHECK_EQ(dk->dk_sectorsize, sectorsize);
		writes = ram_disk.dk_stats.writes;
		memset(data, 0xa7, sectorsize);
		CHECK_EQ(disk_rw(dk, 19 * units, data, sectorsize, B_WRITE), 0);
		CHECK_EQ(ram.asked, (FIRST_PART + 19) * units);
		CHECK(memcmp(sector(FIRST_PART + 19), data, sectorsize) == 0);
		CHECK_EQ(*sector(FIRST_PART + 18), 0);
		CHECK_EQ(*sector(FIRST_PART + 20), 0);
		CHECK_EQ(dk->dk_stats.writes, 1);
		CHECK_EQ(ram_disk.dk_stats.writes - writes, 1);
		CHECK_EQ(disk_rw(dk, 20 * units, data, sectorsize, B_WRITE), EIO);
		CHECK_EQ(disk_rw(dk, 19 * units, data, 2 * sectorsize, B_READ), EIO);
		CHECK_EQ(*sector(FIRST_PART + 20), 0);
		CHECK_EQ(dk->dk_stats.errors, 2);
		CHECK_EQ(disk_flush(dk), 0);
		CHECK_EQ(ram.flushes, 1);
		CHECK_EQ(dk->dk_stats.inflight, 0);
		CHECK_EQ(ram_disk.dk_stats.inflight, 0);
	}
	parts_close();
	kfree(data, &M_TPART);
}

KTEST(part, requests_move_to_the_whole_disk)
{
	requests_move(512);
	requests_move(4096);
}

KTEST(part, partitions_stand_behind_their_disk)
{
	if (parts_open(512)) {
		CHECK_STR(disk_next(&ram_disk)->dk_name, "ram0p1");
		CHECK_STR(disk_next(disk_next(&ram_disk))->dk_name, "ram0p2");
		CHECK(disk_by_word("/dev/ram0p2") == disk_find("ram0p2"));
		CHECK(disk_by_word("PARTUUID=23222120-2524-2726-2829-2A2B2C2D2E2F") == disk_find("ram0p2"));
		CHECK(disk_by_word("PARTUUID=23222120-2524-2726-2829-2a2b2c2d2e2") == NULL);
		CHECK(disk_by_word("PARTUUID=") == NULL);
	}
	parts_close();
}

KTEST(part, disk_and_its_parts_exclude_each_other)
{
	struct disk *one, *two;

	if (parts_open(512)) {
		one = disk_find("ram0p1");
		two = disk_find("ram0p2");
		CHECK_EQ(disk_claim(one, "test"), 0);
		CHECK_EQ(disk_claim(one, "test"), EBUSY);
		CHECK_EQ(disk_claim(&ram_disk, "test"), EBUSY);
		CHECK_EQ(disk_claim(two, "test"), 0);
		disk_release(one);
		CHECK_EQ(disk_claim(&ram_disk, "test"), EBUSY);
		disk_release(two);
		CHECK_EQ(disk_claim(&ram_disk, "test"), 0);
		CHECK_EQ(disk_claim(one, "test"), EBUSY);
		disk_release(&ram_disk);
	}
	parts_close();
}
