/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ATA without a device: identifications, commands, the bus master's table; and the core's recovery,
 * on a port whose failures are written down beforehand (fake_ata.h).
 */
#include "drivers/ide.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/fake_ata.h"
#include "tests/kernel/ktest.h"

#define DISK_SIZE	(FAKE_ATA_SECTORS * DEV_BSIZE)

static MALLOC_DEFINE(M_TATA, "ata tests");

/* ---- identification ---- */

KTEST(ata, identification_of_a_disk)
{
	struct ata_identity id;
	uint16_t w[256];

	fake_ata_identify(w, 0x123456789aul);
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_STR(id.model, "FAKE DISK");
	CHECK_STR(id.serial, "SN 0001");
	CHECK_EQ(id.nsectors, 0x123456789aul);
	CHECK_EQ(id.sectorsize, 512);
	CHECK_EQ(id.multiple, 16);
	CHECK_EQ(id.mode, 0x40 + 5);
	CHECK(id.lba48 && id.flush && id.flush_ext && id.cache && id.cache_switch);
	fake_ata_string(w + 27, 20, "forty characters, none of them a blank!!");
	w[27] = 0x0b07;
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_STR(id.model, "  rty characters, none of them a blank!!");
}

KTEST(ata, identification_of_an_old_disk)
{
	struct ata_identity id;
	uint16_t w[256];

	fake_ata_identify(w, 1000);
	/* Words 82 to 87 do not vouch for themselves: nothing of them counts, whatever they say. */
	w[83] = 0xffff;
	w[87] = 0;
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_EQ(id.nsectors, 1000);
	CHECK(!id.lba48 && !id.flush && !id.flush_ext && !id.cache_switch);
	CHECK(id.cache);
	w[61] = 0xffff;
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_EQ(id.nsectors, 0x0fffffff);
	w[53] = 0;
	w[63] = 0x0207;
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_EQ(id.mode, 0x21);
	w[63] = 0x0007;
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_EQ(id.mode, 0x20);
	w[49] = 0x0200;
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_EQ(id.mode, 0);
}

KTEST(ata, identification_of_large_sectors)
{
	struct ata_identity id;
	uint16_t w[256];

	fake_ata_identify(w, 1000);
	w[106] = 0x5000;
	w[117] = 2048;
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_EQ(id.sectorsize, 4096);
	CHECK_EQ(id.nsectors, 1000);
	w[117] = 260;		/* 520 bytes, as disk arrays have them */
	CHECK(ata_identity_parse(w, &id) != NULL);
	w[117] = 128;
	CHECK(ata_identity_parse(w, &id) != NULL);
	w[118] = 4;
	CHECK(ata_identity_parse(w, &id) != NULL);
	w[106] = 0x1000;	/* not vouched for */
	CHECK(ata_identity_parse(w, &id) == NULL);
	CHECK_EQ(id.sectorsize, 512);
}

KTEST(ata, identification_that_is_refused)
{
	struct ata_identity id;
	uint16_t w[256];
	uint8_t sum = 0;
	unsigned i;

	fake_ata_identify(w, 1000);
	w[255] = 0x00a5;
	for (i = 0; i < 256; i++)
		sum += (w[i] & 0xff) + (w[i] >> 8);
	w[255] |= (uint16_t)((uint8_t)-sum << 8);
	CHECK(ata_identity_parse(w, &id) == NULL);
	w[10]++;
	CHECK(ata_identity_parse(w, &id) != NULL);
	fake_ata_identify(w, 0);
	CHECK(ata_identity_parse(w, &id) != NULL);
	fake_ata_identify(w, 1000);
	w[0] = 0x85c0;
	CHECK(ata_identity_parse(w, &id) != NULL);
	fake_ata_identify(w, 1000);
	w[49] = 0x0100;
	CHECK(ata_identity_parse(w, &id) != NULL);
}

/* ---- commands ---- */

struct expected {
	uint64_t	sector;		/* 512-byte units */
	uint32_t	bytes;
	bool		dma;
	unsigned	multiple;
	uint8_t		read, write;	/* commands */
	bool		ext;
	uint64_t	lba;
	uint16_t	count;
};

static void
commands_are(uint32_t sectorsize, const struct expected *e, size_t n)
{
	struct ata_identity id = { .sectorsize = sectorsize, .lba48 = true };
	struct ata_cmd cmd;
	struct buf buf;

	for (; n > 0; n--, e++) {
		buf_init(&buf, NULL, 99, &buf, e->bytes, B_READ);
		buf.b_pblkno = e->sector;
		ata_cmd_build(&cmd, &id, &buf, e->dma, e->multiple);
		CHECK_EQ(cmd.command, e->read);
		CHECK_EQ(cmd.ext, e->ext);
		CHECK_EQ(cmd.lba, e->lba);
		CHECK_EQ(cmd.count, e->count);
		CHECK_EQ(cmd.len, e->bytes);
		CHECK_EQ(cmd.protocol, e->dma ? ATA_DMA_IN : ATA_PIO_IN);
		buf.b_flags &= ~B_READ;
		ata_cmd_build(&cmd, &id, &buf, e->dma, e->multiple);
		CHECK_EQ(cmd.command, e->write);
		CHECK_EQ(cmd.protocol, e->dma ? ATA_DMA_OUT : ATA_PIO_OUT);
		CHECK_EQ(cmd.block, MAX(e->multiple, 1u) * sectorsize);
	}
}

KTEST(ata, commands_for_short_and_long_addresses)
{
	static const struct expected small[] = {
		{ 0, 512, false, 0, 0x20, 0x30, false, 0, 1 },
		{ 5, MAXPHYS, false, 0, 0x20, 0x30, false, 5, 0 },
		{ 5, MAXPHYS, false, 16, 0xc4, 0xc5, false, 5, 0 },
		{ 5, 1024, true, 16, 0xc8, 0xca, false, 5, 2 },
		{ 0x0ffffffe, 512, true, 0, 0xc8, 0xca, false, 0x0ffffffe, 1 },
		{ 0x0ffffffe, 1024, true, 0, 0x25, 0x35, true, 0x0ffffffe, 2 },
		{ 0x0ffffffe, 1024, false, 0, 0x24, 0x34, true, 0x0ffffffe, 2 },
		{ 0x0fffffff, 512, false, 8, 0x29, 0x39, true, 0x0fffffff, 1 },
		{ 0xabcdef012345ul, MAXPHYS, true, 0, 0x25, 0x35, true, 0xabcdef012345ul, 256 },
	};
	static const struct expected large[] = {
		{ 0, 4096, false, 0, 0x20, 0x30, false, 0, 1 },
		{ 8 * 0x0ffffffeul, 4096, true, 0, 0xc8, 0xca, false, 0x0ffffffe, 1 },
		{ 8 * 0x0fffffe0ul, MAXPHYS, true, 0, 0x25, 0x35, true, 0x0fffffe0, 32 },
	};

	commands_are(512, small, nitems(small));
	commands_are(4096, large, nitems(large));
}

/* ---- the bus master's table ---- */

/* The table for one piece of memory must be these entries. */
static void
table_is(uint64_t addr, uint32_t len, unsigned n, const struct ide_prd *want)
{
	struct phys_seg seg = { addr, len };
	struct ide_prd prd[8];
	unsigned i;

	CHECK_OR_RETURN(CHECK_EQ(ide_prd_build(prd, nitems(prd), &seg, 1), n));
	for (i = 0; i < n; i++) {
		CHECK_EQ(prd[i].addr, want[i].addr);
		CHECK_EQ(prd[i].bytes, want[i].bytes);
		CHECK_EQ(prd[i].flags, i == n - 1 ? IDE_PRD_LAST : 0);
	}
}

KTEST(ata, table_entries_stay_inside_64_kib)
{
	table_is(0x12345000, 4096, 1, (struct ide_prd[]){ { 0x12345000, 4096, 0 } });
	table_is(0x20000000, 64 * KiB, 1, (struct ide_prd[]){ { 0x20000000, 0, 0 } });
	table_is(0x1ffff000, 8192, 2, (struct ide_prd[]){ { 0x1ffff000, 4096, 0 }, { 0x20000000, 4096, 0 } });
	table_is(0x1fffe000, 128 * KiB, 3, (struct ide_prd[]){
	    { 0x1fffe000, 8192, 0 }, { 0x20000000, 0, 0 }, { 0x20010000, 56 * KiB, 0 } });
	table_is(0x1000fffe, 4, 2, (struct ide_prd[]){ { 0x1000fffe, 2, 0 }, { 0x10010000, 2, 0 } });
	table_is(0xffff0000, 64 * KiB, 1, (struct ide_prd[]){ { 0xffff0000, 0, 0 } });
}

KTEST(ata, table_refuses_what_it_cannot_describe)
{
	struct phys_seg two[2] = { { 0x1000, 512 }, { 4 * GiB, 512 } };
	struct phys_seg odd = { 0x1001, 512 }, odd_length = { 0x1000, 511 }, across = { 4 * GiB - 512, 1024 };
	struct phys_seg last = { 4 * GiB - 512, 512 }, wide = { 0x1f000, 8192 };
	struct ide_prd prd[4];

	CHECK_EQ(ide_prd_build(prd, 4, two, 2), 0);
	CHECK_EQ(ide_prd_build(prd, 4, &odd, 1), 0);
	CHECK_EQ(ide_prd_build(prd, 4, &odd_length, 1), 0);
	CHECK_EQ(ide_prd_build(prd, 4, &across, 1), 0);
	CHECK_EQ(ide_prd_build(prd, 4, &last, 1), 1);
	CHECK_EQ(ide_prd_build(prd, 1, &wide, 1), 0);
	two[1].addr = 0x7000;
	CHECK_EQ(ide_prd_build(prd, 2, two, 2), 2);
	CHECK_EQ(prd[0].flags, 0);
	CHECK_EQ(prd[1].flags, IDE_PRD_LAST);
}

/* Random pieces: the entries are the same bytes in the same order, and none crosses 64 KiB. */
KTEST(ata, table_covers_every_byte_once)
{
	struct ide_prd *prd = kmalloc(IDE_PRD_MAX * sizeof(*prd), &M_TATA, M_WAITOK);
	struct phys_seg segs[8];
	unsigned round, n, i, s;
	uint64_t at, len;

	for (round = 0; round < 500; round++) {
		for (i = 0; i < nitems(segs); i++) {
			segs[i].addr = (ktest_random() % (4 * GiB - MiB)) & ~1ul;
			segs[i].len = 2 + ktest_random() % (128 * KiB) / 2 * 2;
		}
		n = ide_prd_build(prd, IDE_PRD_MAX, segs, nitems(segs));
		CHECK_OR_RETURN(n >= nitems(segs));
		at = segs[0].addr;
		for (i = s = 0; i < n; i++) {
			len = prd[i].bytes == 0 ? 64 * KiB : prd[i].bytes;
			CHECK_EQ(prd[i].addr, at);
			CHECK(prd[i].addr / (64 * KiB) == (prd[i].addr + len - 1) / (64 * KiB));
			at += len;
			if (at == segs[s].addr + segs[s].len && ++s < nitems(segs))
				at = segs[s].addr;
		}
		CHECK_EQ(s, nitems(segs));
		if (ktest_failed())
			break;
	}
	kfree(prd, &M_TATA);
}

/* ---- recovery ---- */

/* Read all of a disk, or part of it, and compare.  The error. */
static int
read_back(struct fake_ata *f, unsigned unit, unsigned sectors)
{
	uint8_t *data = kmalloc(DISK_SIZE, &M_TATA, M_WAITOK);
	int error;

	memset(data, 0xa5, DISK_SIZE);
	error = disk_rw(fake_ata_disk(f, unit), 0, data, sectors * DEV_BSIZE, B_READ);
	if (error == 0)
		CHECK(memcmp(data, f->disk[unit], sectors * DEV_BSIZE) == 0);
	kfree(data, &M_TATA);
	return (error);
}

static void
script(struct fake_ata *f, uint8_t fate, unsigned times)
{
	uint8_t fates[8];

	memset(fates, fate, sizeof(fates));
	fake_ata_script(f, fates, times);
}

KTEST(ata, bad_sectors_fail_at_once)
{
	struct fake_ata *f = fake_ata_create(1);
	uint8_t fate;

	if (fake_ata_attach(f, 1, 5)) {
		for (fate = FATE_UNC; fate <= FATE_IDNF; fate++) {
			script(f, fate, 1);
			CHECK_EQ(read_back(f, 0, 4), EIO);
			CHECK_STR(f->events, "I");
			CHECK_EQ(read_back(f, 0, 4), 0);
			CHECK_STR(f->events, "II");
		}
		CHECK_EQ(f->port.stats.errors, 2);
		CHECK_EQ(f->port.stats.retries, 0);
		CHECK_EQ(f->port.stats.resets, 0);
	}
	fake_ata_destroy(f);
}

static const uint8_t failures[] = { FATE_CRC, FATE_FAULT, FATE_SILENT, FATE_SHORT, FATE_NOT_TAKEN };

KTEST(ata, other_failures_are_tried_again)
{
	struct fake_ata *f = fake_ata_create(1);
	uint64_t retries;
	unsigned i;

	if (fake_ata_attach(f, 1, 3)) {
		for (i = 0; i < nitems(failures); i++) {
			retries = f->port.stats.retries;
			script(f, failures[i], 1);
			CHECK_EQ(read_back(f, 0, 8), 0);
			CHECK_STR(f->events, "IARI");
			CHECK_EQ(f->port.stats.retries - retries, 1);
			script(f, failures[i], ATA_RETRIES);
			CHECK_EQ(read_back(f, 0, 8), 0);
			CHECK_STR(f->events, "IARIARIARI");
		}
		CHECK_EQ(f->port.stats.timeouts, 1 + ATA_RETRIES);
		CHECK_EQ(f->port.stats.errors, 0);
	}
	fake_ata_destroy(f);
}

KTEST(ata, a_request_is_given_up_after_three_retries)
{
	struct fake_ata *f = fake_ata_create(1);
	unsigned i;

	if (fake_ata_attach(f, 1, 2)) {
		for (i = 0; i < nitems(failures); i++) {
			script(f, failures[i], 1 + ATA_RETRIES);
			CHECK_EQ(read_back(f, 0, 8), EIO);
			CHECK_STR(f->events, "IARIARIARIAR");
			CHECK_EQ(read_back(f, 0, 8), 0);
		}
	}
	fake_ata_destroy(f);
}

KTEST(ata, where_dma_fails_pio_is_the_last_try_and_stays)
{
	struct fake_ata *f = fake_ata_create(1);

	if (fake_ata_attach(f, 1, 2)) {
		script(f, FATE_NO_DMA, ATA_RETRIES - 1);
		CHECK_EQ(read_back(f, 0, 8), 0);
		CHECK_EQ(f->last.protocol, ATA_DMA_IN);
		script(f, FATE_NO_DMA, 1 + ATA_RETRIES);
		CHECK_EQ(read_back(f, 0, 8), 0);
		CHECK_STR(f->events, "IARIARIARI");
		CHECK_EQ(f->last.protocol, ATA_PIO_IN);
		/* A reset brings it back no more. */
		script(f, FATE_CRC, 1);
		CHECK_EQ(read_back(f, 0, 8), 0);
		CHECK_STR(f->events, "IARI");
		CHECK_EQ(f->last.protocol, ATA_PIO_IN);
	}
	fake_ata_destroy(f);
}

KTEST(ata, where_nothing_gets_through_dma_is_not_to_blame)
{
	struct fake_ata *f = fake_ata_create(1);

	if (fake_ata_attach(f, 1, 2)) {
		script(f, FATE_SILENT, 1 + ATA_RETRIES);
		CHECK_EQ(read_back(f, 0, 8), EIO);
		CHECK_EQ(f->last.protocol, ATA_PIO_IN);
		CHECK_EQ(read_back(f, 0, 8), 0);
		CHECK_EQ(f->last.protocol, ATA_DMA_IN);
		CHECK_EQ(disk_flush(fake_ata_disk(f, 0)), 0);
		CHECK_EQ(read_back(f, 0, 8), 0);
		CHECK_EQ(f->last.protocol, ATA_DMA_IN);
	}
	fake_ata_destroy(f);
}

KTEST(ata, a_controller_without_pio_stays_with_dma)
{
	struct fake_ata *f = fake_ata_create(1);

	f->ops.pio = false;
	if (fake_ata_attach(f, 1, 2)) {
		script(f, FATE_CRC, ATA_RETRIES);
		CHECK_EQ(read_back(f, 0, 8), 0);
		CHECK_EQ(f->last.protocol, ATA_DMA_IN);
		CHECK(f->port.dev[0].dma && !f->port.dev[0].dma_fails);
		script(f, FATE_NO_DMA, 1 + ATA_RETRIES);
		CHECK_EQ(read_back(f, 0, 8), EIO);
	}
	fake_ata_destroy(f);
}

KTEST(ata, a_failure_that_turns_into_a_bad_sector)
{
	struct fake_ata *f = fake_ata_create(1);

	if (fake_ata_attach(f, 1, 2)) {
		fake_ata_script(f, (uint8_t[]){ FATE_CRC, FATE_UNC }, 2);
		CHECK_EQ(read_back(f, 0, 8), EIO);
		CHECK_STR(f->events, "IARI");
	}
	fake_ata_destroy(f);
}

KTEST(ata, writes_arrive_in_spite_of_failures)
{
	struct fake_ata *f = fake_ata_create(1);
	uint8_t *data = kmalloc(DISK_SIZE, &M_TATA, M_WAITOK);
	unsigned i;

	if (fake_ata_attach(f, 1, 2)) {
		for (i = 0; i < nitems(failures); i++) {
			script(f, failures[i], 2);
			memset(data, 0x30 + i, DISK_SIZE);
			CHECK_EQ(disk_rw(fake_ata_disk(f, 0), 4, data, 8 * DEV_BSIZE, 0), 0);
			CHECK(memcmp(f->disk[0] + 4 * DEV_BSIZE, data, 8 * DEV_BSIZE) == 0);
			CHECK(f->disk[0][4 * DEV_BSIZE - 1] != data[0]);
			CHECK(f->disk[0][12 * DEV_BSIZE] != data[0]);
			CHECK_EQ(disk_flush(fake_ata_disk(f, 0)), 0);
			CHECK_EQ(f->last.command, 0xea);
			CHECK_EQ(f->last.protocol, ATA_NONDATA);
		}
	}
	fake_ata_destroy(f);
	kfree(data, &M_TATA);
}

KTEST(ata, a_lost_interrupt_costs_only_time)
{
	struct fake_ata *f = fake_ata_create(1);

	if (fake_ata_attach(f, 2, 1000)) {
		CHECK_EQ(read_back(f, 0, 8), 0);
		CHECK_EQ(f->port.stats.found, 1);
		CHECK_EQ(f->port.stats.interrupts, 0);
		CHECK_STR(f->events, "I");
	}
	fake_ata_destroy(f);
}

KTEST(ata, a_controller_that_must_settle_does)
{
	struct fake_ata *f = fake_ata_create(1);

	f->ops.settle = fake_ata_settle;
	if (fake_ata_attach(f, 1, 5)) {
		script(f, FATE_UNC, 1);
		CHECK_EQ(read_back(f, 0, 4), EIO);
		CHECK_EQ(read_back(f, 0, 4), 0);
		CHECK_STR(f->events, "ISI");
		/* It does not: then a reset, and still nothing is repeated. */
		script(f, FATE_UNC, 1);
		f->unsettled = true;
		CHECK_EQ(read_back(f, 0, 4), EIO);
		CHECK_EQ(read_back(f, 0, 4), 0);
		CHECK_STR(f->events, "ISRI");
		/* No answer: a reset is all that helps. */
		script(f, FATE_SILENT, 1);
		CHECK_EQ(read_back(f, 0, 4), 0);
		CHECK_STR(f->events, "IARI");
	}
	fake_ata_destroy(f);
}

/* ---- several requests ---- */

struct wait {
	struct fake_ata	*f;
	struct buf	 buf[4];
	uint8_t		*data;
};

/* Four reads of two sectors each, started in order, on these units. */
static void
reads_start(struct wait *w, struct fake_ata *f, const uint8_t *units)
{
	unsigned i;

	w->f = f;
	w->data = kmalloc(8 * DEV_BSIZE, &M_TATA, M_WAITOK | M_ZERO);
	for (i = 0; i < 4; i++) {
		buf_init(&w->buf[i], NULL, 2 * i, w->data + 2 * i * DEV_BSIZE, 2 * DEV_BSIZE, B_READ);
		disk_strategy(fake_ata_disk(f, units[i]), &w->buf[i]);
	}
}

static void
reads_end(struct wait *w, const uint8_t *units, const int *errors)
{
	unsigned i;

	for (i = 0; i < 4; i++) {
		CHECK_EQ(biowait(&w->buf[i], "tata"), errors[i]);
		CHECK_EQ(w->buf[i].b_resid, errors[i] == 0 ? 0 : 2 * DEV_BSIZE);
		if (errors[i] == 0)
			CHECK(memcmp(w->data + 2 * i * DEV_BSIZE, w->f->disk[units[i]] + 2 * i * DEV_BSIZE,
			    2 * DEV_BSIZE) == 0);
	}
	kfree(w->data, &M_TATA);
}

KTEST(ata, requests_that_wait_are_carried_out_after_mending)
{
	struct fake_ata *f = fake_ata_create(1);
	static const uint8_t units[4] = { 0, 0, 0, 0 };
	struct wait w;

	if (fake_ata_attach(f, 1, 5)) {
		fake_ata_script(f, (uint8_t[]){ FATE_SILENT, FATE_FINE, FATE_UNC, FATE_CRC }, 4);
		reads_start(&w, f, units);
		reads_end(&w, units, (int[]){ 0, EIO, 0, 0 });
		CHECK_STR(f->events, "IARIIIARII");
		CHECK_EQ(f->last.lba, 6);
	}
	fake_ata_destroy(f);
}

KTEST(ata, two_devices_take_turns)
{
	struct fake_ata *f = fake_ata_create(3);
	static const uint8_t units[4] = { 0, 0, 0, 1 };
	struct wait w;

	if (fake_ata_attach(f, 1000, 100000)) {
		fake_ata_script(f, (uint8_t[]){ FATE_HELD, FATE_HELD, FATE_HELD, FATE_HELD }, 4);
		reads_start(&w, f, units);
		CHECK_EQ(f->last.lba, 0);
		fake_ata_release(f);
		CHECK_EQ(f->last.lba, 6);	/* the slave's, though it came last */
		CHECK_EQ(f->last.dev->unit, 1);
		fake_ata_release(f);
		CHECK_EQ(f->last.lba, 2);
		fake_ata_release(f);
		CHECK_EQ(f->last.lba, 4);
		fake_ata_release(f);
		reads_end(&w, units, (int[]){ 0, 0, 0, 0 });
		CHECK_EQ(f->port.stats.interrupts, 4);
	}
	fake_ata_destroy(f);
}

/* The slave dies while both have requests: the master loses none of its own. */
KTEST(ata, a_dead_slave_does_not_take_the_master_along)
{
	struct fake_ata *f = fake_ata_create(3);
	static const uint8_t units[4] = { 1, 0, 1, 0 };
	struct wait w;

	if (fake_ata_attach(f, 1, 3)) {
		fake_ata_script(f, (uint8_t[]){ FATE_SILENT }, 1);
		f->deaf[1] = true;
		reads_start(&w, f, units);
		reads_end(&w, units, (int[]){ EIO, 0, EIO, 0 });
		CHECK_STR(f->events, "IARRRRII");
		/* Later ones fail without a command; the master goes on. */
		CHECK_EQ(read_back(f, 1, 2), EIO);
		CHECK_STR(f->events, "IARRRRII");
		CHECK_EQ(read_back(f, 0, 2), 0);
	}
	fake_ata_destroy(f);
}

KTEST(ata, another_disk_in_its_place_is_not_written_to)
{
	struct fake_ata *f = fake_ata_create(1);
	uint8_t *data = kmalloc(DEV_BSIZE, &M_TATA, M_WAITOK | M_ZERO);

	if (fake_ata_attach(f, 1, 3)) {
		f->disk[0][0] = 0x77;
		script(f, FATE_SILENT, 1);
		fake_ata_string(f->words[0] + 10, 10, "SN 0002");
		CHECK_EQ(disk_rw(fake_ata_disk(f, 0), 0, data, DEV_BSIZE, 0), EIO);
		CHECK_EQ(f->disk[0][0], 0x77);
		CHECK_EQ(read_back(f, 0, 1), EIO);
	}
	fake_ata_destroy(f);
	kfree(data, &M_TATA);
}

/* ---- flush ---- */

/* What a flush is with these words: its error, and whether the device was asked. */
static void
flush_is(uint16_t supported, uint16_t supported2, uint16_t enabled, bool sticks, int error, const char *events)
{
	struct fake_ata *f = fake_ata_create(1);

	f->words[0][82] = supported;
	f->words[0][83] = 0x4000 | supported2;
	f->words[0][85] = enabled;
	f->cache_sticks = sticks;
	if (fake_ata_attach(f, 1, 5)) {
		CHECK_EQ(disk_flush(fake_ata_disk(f, 0)), error);
		CHECK_STR(f->events, events);
	}
	fake_ata_destroy(f);
}

KTEST(ata, flush_promises_what_it_keeps)
{
	flush_is(0x20, 0x1000, 0x20, false, 0, "I");		/* a cache and FLUSH CACHE */
	flush_is(0x20, 0x1000, 0, false, 0, "");		/* the cache is off */
	flush_is(0x20, 0, 0x20, false, 0, "");			/* no command: the cache is switched off */
	flush_is(0x20, 0, 0x20, true, EOPNOTSUPP, "");		/* and that fails */
	flush_is(0, 0, 0x20, false, EOPNOTSUPP, "");		/* it has no switch */
}

/* ---- devices that are no disks of ours ---- */

KTEST(ata, large_sectors_are_addressed_as_such)
{
	struct fake_ata *f = fake_ata_create(1);
	uint8_t *data = kmalloc(8 * DEV_BSIZE, &M_TATA, M_WAITOK);

	fake_ata_identify(f->words[0], FAKE_ATA_SECTORS / 8);
	f->words[0][106] = 0x5000;
	f->words[0][117] = 2048;
	if (fake_ata_attach(f, 1, 5)) {
		struct disk *dk = fake_ata_disk(f, 0);

		CHECK_EQ(dk->dk_sectorsize, 4096);
		CHECK_EQ(dk->dk_nsectors, FAKE_ATA_SECTORS);
		CHECK_EQ(disk_rw(dk, 16, data, 8 * DEV_BSIZE, B_READ), 0);
		CHECK_EQ(f->last.lba, 2);
		CHECK_EQ(f->last.count, 1);
		CHECK(memcmp(data, f->disk[0] + 16 * DEV_BSIZE, 8 * DEV_BSIZE) == 0);
		CHECK_EQ(disk_rw(dk, 4, data, 8 * DEV_BSIZE, B_READ), EINVAL);
	}
	fake_ata_destroy(f);
	kfree(data, &M_TATA);
}

KTEST(ata, what_is_no_disk_is_left_alone)
{
	static const uint8_t kinds[] = { ATA_NOTHING, ATA_PACKET, ATA_OTHER };
	struct fake_ata *f;
	unsigned i;

	for (i = 0; i < nitems(kinds); i++) {
		f = fake_ata_create(1);
		f->kind[0] = kinds[i];
		CHECK_EQ(ata_port_attach(&f->port), ENXIO);
		fake_ata_destroy(f);
	}
	f = fake_ata_create(1);
	f->deaf[0] = true;
	CHECK_EQ(ata_port_attach(&f->port), ENXIO);
	fake_ata_destroy(f);
	f = fake_ata_create(1);
	f->words[0][49] = 0;
	CHECK_EQ(ata_port_attach(&f->port), ENXIO);
	fake_ata_destroy(f);
}

/* Ports of a third channel, where no PC that we boot on has anything: the lines float. */
KTEST(ata, a_channel_with_nothing_behind_it)
{
	if (inb(0x1ef) != 0xff || inb(0x3ee) != 0xff) {
		ktest_skip("something answers at port 0x1ef");
		return;
	}
	CHECK(ide_channel_attach("ide9", 0x1e8, 0x3ee, 0) == NULL);
}

/* The real disk's: a lost interrupt costs a second, and the thread finds the answer. */
KTEST(ata, answers_come_by_interrupt)
{
	struct ata_port *port = rootfs != NULL ? ata_disk_port(rootfs->mnt_devvp->v_disk) : NULL;
	uint8_t *data;
	uint64_t found;

	if (port == NULL) {
		ktest_skip("the root is not on an ATA disk");
		return;
	}
	data = kmalloc(PAGE_SIZE, &M_TATA, M_WAITOK);
	found = port->stats.found;
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(disk_rw(rootfs->mnt_devvp->v_disk, i * 8, data, PAGE_SIZE, B_READ), 0);
	CHECK(port->stats.found - found < 8);
	kfree(data, &M_TATA);
}
