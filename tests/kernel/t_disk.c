/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disk layer and its driver, on the real (emulated) device: what a request promises, whoever
 * serves it.
 *
 * Most tests only read, and compare one way of reading with another.  To know that data are
 * *right*, not only equal, they prefer a scratch disk: any disk whose first sector begins with
 * "FAULTLINE SCRATCH" may be overwritten from sector 8 on, and gets a pattern there that names each
 * sector.  Without one they fall back on the first disk.
 */
#include "drivers/ata.h"
#include "drivers/disk.h"
#include "drivers/virtio.h"
#include "kernel/clock.h"
#include "kernel/lib/errno.h"
#include "kernel/lock.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/pmap.h"
#include "vm/vm_kern.h"
#include "vm/vm_page.h"

#define SCRATCH_MARK	"FAULTLINE SCRATCH"
#define SCRATCH_FIRST	8		/* first sector that may be written */
#define SPAN		2048		/* sectors that the tests use: 1 MiB */
#define PATIENCE	(20 * HZ)	/* ticks after which a request counts as lost */

/* ---- which disk ---- */

/* Memory for len bytes, whole pages; freed with mem_free(). */
static uint8_t *
mem_alloc(size_t len)
{
	return ((uint8_t *)kmem_alloc(round_page(len), M_WAITOK));
}

static void
mem_free(void *p, size_t len)
{
	kmem_free((vm_offset_t)p, round_page(len));
}

static struct disk *
scratch_disk(void)
{
	struct disk *dk;
	uint8_t *sector = mem_alloc(MAXPHYS);

	for (dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		if (!dk->dk_readonly && dk->dk_nsectors >= SCRATCH_FIRST + SPAN &&
		    disk_rw(dk, 0, sector, dk->dk_sectorsize, B_READ) == 0 &&
		    memcmp(sector, SCRATCH_MARK, strlen(SCRATCH_MARK)) == 0)
			break;
	}
	mem_free(sector, MAXPHYS);
	return (dk);
}

/* What the pattern has at byte i of a sector, in 8-byte words. */
static uint64_t
pattern_word(uint64_t sector, unsigned i)
{
	return ((sector << 8 | i) * 0x9e3779b97f4a7c15ul);
}

static void
pattern_fill(uint64_t sector, void *data, size_t len)
{
	uint64_t *word = data;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++)
		word[i] = pattern_word(sector + i / 64, i % 64);
}

static bool
pattern_check(uint64_t sector, const void *data, size_t len)
{
	const uint64_t *word = data;
	size_t i;

	for (i = 0; i < len / sizeof(*word); i++) {
		if (word[i] != pattern_word(sector + i / 64, i % 64))
			return (false);
	}
	return (true);
}

/*
 * A disk to read from, and the first of SPAN sectors there; on a scratch disk they hold the
 * pattern.  NULL, the test marked as skipped: no disk.
 */
static struct disk *
reading_disk(uint64_t *first, bool *patterned)
{
	struct disk *dk = scratch_disk();
	uint8_t *data;
	uint64_t at;

	*first = 0;
	*patterned = dk != NULL;
	if (dk == NULL) {
		for (dk = disk_next(NULL); dk != NULL && dk->dk_nsectors < SPAN; dk = disk_next(dk))
			;
		if (dk == NULL)
			ktest_skip("no disk of at least %u sectors", SPAN);
		return (dk);
	}
	*first = SCRATCH_FIRST;
	data = mem_alloc(MAXPHYS);
	for (at = 0; at < SPAN; at += MAXPHYS / DEV_BSIZE) {
		pattern_fill(SCRATCH_FIRST + at, data, MAXPHYS);
		CHECK_EQ(disk_rw(dk, SCRATCH_FIRST + at, data, MAXPHYS, 0), 0);
	}
	mem_free(data, MAXPHYS);
	return (dk);
}

/* ---- many requests at once ---- */

struct batch {
	struct spinlock	lock;
	unsigned	pending;	/* (lock) not yet completed */
	unsigned	errors;		/* (lock) */
	unsigned	in_interrupt;	/* (lock) completions that came from an interrupt handler */
};

static void
batch_iodone(struct buf *bp)
{
	struct batch *b = bp->b_private;

	spin_lock(&b->lock);
	b->pending--;
	b->in_interrupt += in_interrupt();
	b->errors += (bp->b_flags & B_ERROR) != 0 || bp->b_resid != 0;
	if (b->pending == 0)
		wakeup(b);
	spin_unlock(&b->lock);
}

/* False: some are lost, and their memory must stay. */
static bool
batch_wait(struct batch *b)
{
	uint64_t deadline = ticks + PATIENCE;
	bool done;

	spin_lock(&b->lock);
	while (b->pending > 0 && ticks < deadline)
		tsleep(b, &b->lock.lk, "tdisk", HZ);
	done = b->pending == 0;
	spin_unlock(&b->lock);
	return (done);
}

/*
 * Read n pieces of len bytes, all at once, from sector `first` on, each `stride` sectors after the
 * one before.
 *
 * The device may well answer faster than we ask.  So we ask behind a spin lock: no completion gets
 * in between on this CPU.
 */
static bool
batch_read(struct disk *dk, struct batch *b, uint64_t first, unsigned stride, uint8_t *data,
    size_t len, unsigned n)
{
	struct buf *bufs = (struct buf *)mem_alloc(n * sizeof(*bufs));
	struct spinlock gate;
	unsigned i;

	memset(b, 0, sizeof(*b));
	spin_init(&b->lock, "tdisk batch", RANK_NONE);
	spin_init(&gate, "tdisk gate", RANK_NONE);
	b->pending = n;
	spin_lock(&gate);
	for (i = 0; i < n; i++) {
		buf_init(&bufs[i], NULL, first + i * stride, data + i * len, len, B_READ | B_CALL);
		bufs[i].b_iodone = batch_iodone;
		bufs[i].b_private = b;
		disk_strategy(dk, &bufs[i]);
	}
	spin_unlock(&gate);
	if (!batch_wait(b))
		return (false);
	mem_free(bufs, n * sizeof(*bufs));
	return (true);
}

/* ---- tests ---- */

KTEST(disk, first_sector_reads_equal)
{
	struct disk *dk = disk_next(NULL);
	uint8_t *a, *b;
	uint64_t reads;

	if (dk == NULL) {
		ktest_skip("no disk");
		return;
	}
	a = mem_alloc(MAXPHYS);
	b = mem_alloc(MAXPHYS);
	for (; dk != NULL; dk = disk_next(dk)) {
		reads = dk->dk_stats.reads;
		memset(a, 0x5a, dk->dk_sectorsize);
		memset(b, 0xa5, dk->dk_sectorsize);
		CHECK_EQ(disk_rw(dk, 0, a, dk->dk_sectorsize, B_READ), 0);
		CHECK_EQ(disk_rw(dk, 0, b, dk->dk_sectorsize, B_READ), 0);
		CHECK_EQ(memcmp(a, b, dk->dk_sectorsize), 0);
		CHECK_EQ(dk->dk_stats.reads - reads, 2);
		CHECK(disk_find(dk->dk_name) == dk);
	}
	mem_free(a, MAXPHYS);
	mem_free(b, MAXPHYS);
}

KTEST(disk, many_in_flight_right_data)
{
	enum { N = 64, LEN = 4096 };
	struct disk *dk;
	struct batch batch;
	uint64_t first, i, mark;
	uint8_t *data, *again;
	bool patterned;

	dk = reading_disk(&first, &patterned);
	if (dk == NULL)
		return;
	data = mem_alloc(N * LEN);
	again = mem_alloc(LEN);
	mark = dk->dk_stats.inflight_max;
	dk->dk_stats.inflight_max = 0;
	CHECK_OR_RETURN(batch_read(dk, &batch, first, LEN / DEV_BSIZE, data, LEN, N));
	CHECK(dk->dk_stats.inflight_max > 8);
	dk->dk_stats.inflight_max = MAX(mark, dk->dk_stats.inflight_max);
	CHECK_EQ(dk->dk_stats.inflight, 0);
	CHECK_EQ(batch.errors, 0);
	CHECK_EQ(batch.in_interrupt, N);
	for (i = 0; i < N; i++) {
		CHECK_EQ(disk_rw(dk, first + i * (LEN / DEV_BSIZE), again, LEN, B_READ), 0);
		CHECK(memcmp(again, data + i * LEN, LEN) == 0);
		if (patterned)
			CHECK(pattern_check(first + i * (LEN / DEV_BSIZE), data + i * LEN, LEN));
	}
	mem_free(data, N * LEN);
	mem_free(again, LEN);
}

/*
 * Read MAXPHYS through a window onto pages in reverse and skipping order, and compare sector by
 * sector.
 */
KTEST(disk, scatter_over_shuffled_pages)
{
	vm_offset_t window = kva_alloc(MAXPHYS);
	struct vm_page *pages[PBUF_PAGES];
	struct phys_seg segs[PBUF_PAGES];
	uint8_t *memory, *sector;
	struct disk *dk;
	struct buf buf;
	uint64_t first, i;
	bool patterned;

	dk = reading_disk(&first, &patterned);
	if (dk == NULL) {
		kva_free(window, MAXPHYS);
		return;
	}
	memory = mem_alloc(MAXPHYS);
	sector = mem_alloc(MAXPHYS);
	/* Pages 31, 26, 21, ...: 27 and 32 have no common factor, so each comes once. */
	for (i = 0; i < PBUF_PAGES; i++)
		pages[i] = PHYS_TO_VM_PAGE(
		    pmap_kextract((vm_offset_t)memory + (31 + 27 * i) % 32 * PAGE_SIZE));
	pmap_qenter(window, pages, PBUF_PAGES);
	buf_init(&buf, NULL, first, (void *)window, MAXPHYS, B_READ);
	CHECK(buf_segments(&buf, segs, PBUF_PAGES) > 8);
	disk_strategy(dk, &buf);
	CHECK_EQ(biowait(&buf, "tdisk"), 0);
	CHECK_EQ(buf.b_resid, 0);
	if (patterned)
		CHECK(pattern_check(first, (void *)window, MAXPHYS));
	for (i = 0; i < MAXPHYS; i += dk->dk_sectorsize) {
		CHECK_EQ(disk_rw(dk, first + i / DEV_BSIZE, sector, dk->dk_sectorsize, B_READ), 0);
		CHECK(memcmp(sector, (uint8_t *)window + i, dk->dk_sectorsize) == 0);
	}
	pmap_qremove(window, PBUF_PAGES);
	kva_free(window, MAXPHYS);
	mem_free(memory, MAXPHYS);
	mem_free(sector, MAXPHYS);
}

/* One read of `len` bytes to `off` bytes into a page, with the bytes on either side watched. */
static void
read_at_offset(struct disk *dk, uint64_t first, const uint8_t *whole, size_t len, size_t off,
    uint8_t *memory)
{
	size_t total = MAXPHYS + 2 * PAGE_SIZE, i, damaged = 0;

	memset(memory, 0xee, total);
	CHECK_EQ(disk_rw(dk, first, memory + PAGE_SIZE + off, len, B_READ), 0);
	CHECK(memcmp(memory + PAGE_SIZE + off, whole, len) == 0);
	for (i = 0; i < total; i++) {
		if ((i < PAGE_SIZE + off || i >= PAGE_SIZE + off + len) && memory[i] != 0xee)
			damaged++;
	}
	CHECK_EQ(damaged, 0);
}

KTEST(disk, odd_lengths_and_offsets)
{
	static const size_t offsets[] = { 0, 4, 508, 512, 3584, 4092 };
	static const size_t sectors[] = { 1, 2, 3, 7, 8, 9, 15, 31, 64, 129, 255, 256 };
	uint8_t *whole, *memory;
	struct disk *dk;
	uint64_t first;
	size_t i, j, len;
	bool patterned;

	dk = reading_disk(&first, &patterned);
	if (dk == NULL)
		return;
	whole = mem_alloc(MAXPHYS);
	memory = mem_alloc(MAXPHYS + 2 * PAGE_SIZE);
	CHECK_EQ(disk_rw(dk, first, whole, MAXPHYS, B_READ), 0);
	for (i = 0; i < nitems(sectors); i++) {
		len = roundup(sectors[i] * DEV_BSIZE, (size_t)dk->dk_sectorsize);
		len = MIN(len, (size_t)MAXPHYS);
		for (j = 0; j < nitems(offsets); j++)
			read_at_offset(dk, first, whole, len, offsets[j], memory);
	}
	mem_free(whole, MAXPHYS);
	mem_free(memory, MAXPHYS + 2 * PAGE_SIZE);
}

/*
 * The error that one request ends with; it must not reach the driver, so the disk's counter of
 * reads stays.
 */
static int
refused(struct disk *dk, daddr_t sector, void *data, size_t len)
{
	uint64_t reads = dk->dk_stats.reads;
	struct buf buf;
	int error;

	buf_init(&buf, NULL, sector, data, len, B_READ);
	disk_strategy(dk, &buf);
	error = biowait(&buf, "tdisk");
	CHECK_EQ(dk->dk_stats.reads, reads);
	CHECK_EQ(buf.b_resid, len);
	return (error);
}

KTEST(disk, bad_requests_end_with_an_error)
{
	struct disk *dk = disk_next(NULL);
	uint8_t *data;
	uint64_t errors;
	uint32_t size;

	if (dk == NULL) {
		ktest_skip("no disk");
		return;
	}
	data = mem_alloc(2 * MAXPHYS);
	size = dk->dk_sectorsize;
	errors = dk->dk_stats.errors;
	CHECK_EQ(refused(dk, dk->dk_nsectors, data, size), EIO);
	CHECK_EQ(refused(dk, dk->dk_nsectors - size / DEV_BSIZE, data, 2 * size), EIO);
	CHECK_EQ(refused(dk, INT64_MAX, data, size), EIO);
	CHECK_EQ(refused(dk, -1, data, size), EIO);
	CHECK_EQ(refused(dk, 0, data, 0), EINVAL);
	CHECK_EQ(refused(dk, 0, data, size - 4), EINVAL);
	CHECK_EQ(refused(dk, 0, data, MAXPHYS + size), EINVAL);
	CHECK_EQ(refused(dk, 0, data + 2, size), EINVAL);
	CHECK_EQ(dk->dk_stats.errors - errors, 8);
	CHECK_EQ(disk_rw(dk, dk->dk_nsectors - size / DEV_BSIZE, data, size, B_READ), 0);
	mem_free(data, 2 * MAXPHYS);
}

KTEST(disk, read_only_disk_refuses_writes)
{
	struct disk *dk;
	uint8_t *data;
	uint64_t writes;

	for (dk = disk_next(NULL); dk != NULL && !dk->dk_readonly; dk = disk_next(dk))
		;
	if (dk == NULL) {
		ktest_skip("no read-only disk");
		return;
	}
	data = mem_alloc(dk->dk_sectorsize);
	writes = dk->dk_stats.writes;
	CHECK_EQ(disk_rw(dk, 0, data, dk->dk_sectorsize, B_READ), 0);
	CHECK_EQ(disk_rw(dk, 0, data, dk->dk_sectorsize, 0), EROFS);
	CHECK_EQ(dk->dk_stats.writes, writes);
	CHECK_EQ(disk_flush(dk), 0);
	mem_free(data, dk->dk_sectorsize);
}

KTEST(disk, write_flush_read_back)
{
	struct disk *dk = scratch_disk();
	uint64_t stamp = ktest_random(), flushes;
	uint8_t *out, *in;
	size_t len = 96 * KiB;

	if (dk == NULL) {
		ktest_skip("no scratch disk");
		return;
	}
	out = mem_alloc(len + PAGE_SIZE);
	in = mem_alloc(len);
	pattern_fill(stamp, out + 512, len);
	flushes = dk->dk_stats.flushes;
	CHECK_EQ(disk_rw(dk, 64, out + 512, len, 0), 0);
	CHECK_EQ(disk_flush(dk), 0);
	CHECK_EQ(dk->dk_stats.flushes - flushes, 1);
	CHECK_EQ(disk_rw(dk, 64, in, len, B_READ), 0);
	CHECK(pattern_check(stamp, in, len));
	mem_free(out, len + PAGE_SIZE);
	mem_free(in, len);
}

KTEST(disk, more_requests_than_the_ring_holds)
{
	enum { N = 300 };
	const struct virtio_blk_stats *st;
	struct disk *dk;
	struct batch batch;
	uint64_t first, waited, i;
	uint8_t *data, *whole;
	uint32_t size;
	bool patterned;
	int round;

	dk = reading_disk(&first, &patterned);
	if (dk == NULL)
		return;
	if (virtio_blk_device(dk) == NULL) {
		ktest_skip("%s is no virtio disk", dk->dk_name);
		return;
	}
	size = dk->dk_sectorsize;
	st = virtio_blk_stats(dk);
	waited = st->waited;
	CHECK(N > st->max_requests);
	data = mem_alloc(N * size);
	/* Another CPU may serve the disk as fast as we fill the ring: then once more. */
	for (round = 0; round < 50 && st->waited == waited; round++) {
		CHECK_OR_RETURN(batch_read(dk, &batch, first, size / DEV_BSIZE, data, size, N));
		CHECK_EQ(batch.errors, 0);
	}
	CHECK(st->waited > waited);
	whole = mem_alloc(N * size);
	CHECK_EQ(disk_rw(dk, first, whole, N * size, B_READ), 0);
	for (i = 0; i < N; i++)
		CHECK(memcmp(data + i * size, whole + i * size, size) == 0);
	mem_free(data, N * size);
	mem_free(whole, N * size);
}

/* How often a disk's device has interrupted; its driver counts. */
static uint64_t
interrupts_of(struct disk *dk)
{
	struct ata_port *port = ata_disk_port(dk);

	return (port != NULL ? port->stats.interrupts : virtio_blk_device(dk)->interrupts);
}

KTEST(disk, interrupts_bring_completions)
{
	struct disk *dk = disk_next(NULL);
	struct batch batch;
	uint64_t before;
	uint8_t *data;

	if (dk == NULL) {
		ktest_skip("no disk");
		return;
	}
	data = mem_alloc(dk->dk_sectorsize);
	before = interrupts_of(dk);
	CHECK_OR_RETURN(batch_read(dk, &batch, 0, 0, data, dk->dk_sectorsize, 1));
	CHECK_EQ(batch.in_interrupt, 1);
	CHECK(interrupts_of(dk) > before);
	mem_free(data, dk->dk_sectorsize);
}
