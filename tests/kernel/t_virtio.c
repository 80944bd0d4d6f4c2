/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio and virtio-blk against the fake device of fake_virtio.h: negotiation, rings, splitting,
 * wrong answers, flush.  What the real device does is t_disk.c's business.
 */
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "tests/kernel/fake_virtio.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_kern.h"

#define CANARY		0xc9	/* what fresh memory holds, so that a stray byte shows */

static uint8_t *
mem_alloc(size_t len)
{
	uint8_t *p = (uint8_t *)kmem_alloc(round_page(len), M_WAITOK);

	memset(p, CANARY, round_page(len));
	return (p);
}

static void
mem_free(void *p, size_t len)
{
	kmem_free((vm_offset_t)p, round_page(len));
}

static bool
all_bytes(const uint8_t *p, uint8_t byte, size_t len)
{
	while (len > 0 && p[len - 1] == byte)
		len--;
	return (len == 0);
}

static bool
disk_bytes(const uint8_t *p, uint64_t sector, size_t len)
{
	size_t i = 0;

	while (i < len && p[i] == fake_byte(sector * DEV_BSIZE + i))
		i++;
	return (i == len);
}

static void
submit(struct fake *f, struct buf *bp, daddr_t sector, void *data, size_t len, uint32_t flags)
{
	buf_init(bp, NULL, sector, data, len, flags);
	disk_strategy(fake_disk(f), bp);
}

static bool
is_done(const struct buf *bp)
{
	return ((*(const volatile uint32_t *)&bp->b_flags & B_DONE) != 0);
}

/*
 * Submit a read of one sector, answer it with `status` and a length of `written`, return the
 * buffer's error.
 */
static int
read_answered(struct fake *f, uint8_t status, uint32_t written, size_t *resid)
{
	uint8_t *data = mem_alloc(PAGE_SIZE);
	struct fake_request r;
	struct buf buf;

	submit(f, &buf, 7, data, DEV_BSIZE, B_READ);
	CHECK(!is_done(&buf));
	if (CHECK(fake_take(f, &r))) {
		fake_fill(&r);
		*r.status = status;
		fake_give_raw(f, r.head, written);
		fake_interrupt(f);
	}
	CHECK(is_done(&buf));
	*resid = buf.b_resid;
	CHECK(all_bytes(data + DEV_BSIZE, CANARY, PAGE_SIZE - DEV_BSIZE));
	mem_free(data, PAGE_SIZE);
	return (biowait(&buf, "tvirtio"));
}

/* ---- negotiation ---- */

KTEST(virtio, legacy_only_device_is_refused)
{
	struct fake *f = fake_create(0, 16);

	f->offered = F_FLUSH;
	CHECK_EQ(virtio_blk_attach(&f->vd), ENODEV);
	CHECK_EQ(f->status, VIRTIO_FAILED);
	CHECK(f->vd.driver == NULL);
	fake_destroy(f);
}

KTEST(virtio, refused_features_end_in_failed)
{
	struct fake *f = fake_create(F_FLUSH, 16);

	f->refuses_features = true;
	CHECK_EQ(virtio_blk_attach(&f->vd), ENODEV);
	CHECK_EQ(f->status, VIRTIO_FAILED);
	fake_destroy(f);
}

KTEST(virtio, absurd_devices_are_refused)
{
	struct fake *f = fake_create(F_BLK_SIZE, 16);

	f->config.blk_size = 1000;
	CHECK_EQ(virtio_blk_attach(&f->vd), ENXIO);
	f->config.blk_size = 512;
	f->ring = 2;
	CHECK_EQ(virtio_blk_attach(&f->vd), ENXIO);
	f->ring = 0;
	CHECK_EQ(virtio_blk_attach(&f->vd), ENXIO);
	CHECK_EQ(f->status, VIRTIO_FAILED);
	CHECK(!f->stopped);
	f->ignores_reset = true;
	CHECK(virtio_blk_attach(&f->vd) != 0);
	CHECK(f->stopped);
	fake_destroy(f);
}

KTEST(virtio, takes_only_what_it_knows)
{
	struct fake *f = fake_attach(~0ul & ~F_RO & ~F_SIZE_MAX & ~F_SEG_MAX, 64);

	CHECK_OR_RETURN(f != NULL);
	CHECK_EQ(f->vd.features, VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM |
	    VIRTIO_F_INDIRECT_DESC | F_BLK_SIZE | F_FLUSH | F_CONFIG_WCE);
	CHECK_EQ(f->status, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK |
	    VIRTIO_DRIVER_OK);
	fake_destroy(f);
}

KTEST(virtio, capacity_sector_size_and_read_only)
{
	struct fake *f = fake_create(F_BLK_SIZE | F_RO, 16);
	struct fake_request r;
	struct disk *dk;
	struct buf buf;
	uint8_t *data = mem_alloc(8 * KiB);

	f->config.blk_size = 4096;
	f->config.capacity = CAPACITY + 5;
	CHECK_OR_RETURN(virtio_blk_attach(&f->vd) == 0);
	dk = fake_disk(f);
	CHECK_EQ(dk->dk_sectorsize, 4096);
	CHECK_EQ(dk->dk_nsectors, CAPACITY);
	CHECK(dk->dk_readonly);
	submit(f, &buf, 0, data, 512, B_READ);
	CHECK_EQ(biowait(&buf, "tvirtio"), EINVAL);
	submit(f, &buf, 4, data, 4096, B_READ);
	CHECK_EQ(biowait(&buf, "tvirtio"), EINVAL);
	submit(f, &buf, 8, data, 4096, 0);
	CHECK_EQ(biowait(&buf, "tvirtio"), EROFS);
	CHECK_EQ(f->notified, 0);
	submit(f, &buf, 16, data, 8192, B_READ);
	CHECK_EQ(f->notified, 1);
	if (CHECK(fake_take(f, &r))) {
		CHECK_EQ(r.sector, 16);
		fake_give(f, &r, 0);
		fake_interrupt(f);
	}
	CHECK_EQ(biowait(&buf, "tvirtio"), 0);
	CHECK(disk_bytes(data, 16, 8192));
	mem_free(data, 8 * KiB);
	fake_destroy(f);
}

/* ---- rings ---- */

/* A write's chain: the data of the buffer, in order, every byte once, read by the device. */
static void
check_write_chain(uint64_t features)
{
	struct fake *f = fake_attach(features, 64);
	uint8_t *data = mem_alloc(MAXPHYS + PAGE_SIZE);
	struct fake_request r;
	struct buf buf;
	unsigned i;
	size_t at = 0;

	CHECK_OR_RETURN(f != NULL);
	for (i = 0; i < MAXPHYS; i++)
		data[516 + i] = fake_byte(i);
	submit(f, &buf, 100, data + 516, MAXPHYS, 0);
	if (CHECK(fake_take(f, &r))) {
		CHECK_EQ(r.type, 1);
		CHECK_EQ(r.sector, 100);
		CHECK_EQ(r.len, MAXPHYS);
		for (i = 0; i < r.npieces; at += r.piece[i++].len)
			CHECK(memcmp(r.piece[i].at, data + 516 + at, r.piece[i].len) == 0);
		CHECK(*r.status > 2);
		fake_give(f, &r, 0);
		fake_interrupt(f);
	}
	CHECK_EQ(biowait(&buf, "tvirtio"), 0);
	CHECK_EQ(buf.b_resid, 0);
	mem_free(data, MAXPHYS + PAGE_SIZE);
	fake_destroy(f);
}

KTEST(virtio, chains_direct_and_indirect)
{
	check_write_chain(0);
	check_write_chain(VIRTIO_F_INDIRECT_DESC);
}

/* Without room in the ring, requests wait and start in the order in which they came. */
KTEST(virtio, full_ring_keeps_order)
{
	enum { N = 10 };
	struct fake *f = fake_attach(0, 4);
	uint8_t *data = mem_alloc(N * PAGE_SIZE);
	struct fake_request r;
	struct buf buf[N];
	unsigned i, next = 0;

	CHECK_OR_RETURN(f != NULL);
	for (i = 0; i < N; i++)
		submit(f, &buf[i], 8 * i, data + i * PAGE_SIZE, PAGE_SIZE, B_READ);
	/* Four descriptors: one request at a time. */
	CHECK_EQ(virtio_blk_stats(fake_disk(f))->waited, N - 1);
	while (fake_take(f, &r)) {
		CHECK_EQ(r.sector, 8 * next);
		CHECK(!is_done(&buf[next]));
		fake_give(f, &r, 0);
		fake_interrupt(f);
		CHECK(is_done(&buf[next]));
		next++;
	}
	CHECK_EQ(next, N);
	for (i = 0; i < N; i++)
		CHECK(disk_bytes(data + i * PAGE_SIZE, 8 * i, PAGE_SIZE));
	CHECK_EQ(fake_disk(f)->dk_stats.inflight_max, N);
	mem_free(data, N * PAGE_SIZE);
	fake_destroy(f);
}

/* A device may finish requests in any order; each completion belongs to its own buffer. */
KTEST(virtio, completions_out_of_order)
{
	enum { N = 8 };
	struct fake *f = fake_attach(VIRTIO_F_INDIRECT_DESC, 8);
	uint8_t *data = mem_alloc(N * PAGE_SIZE);
	struct fake_request r[N];
	struct buf buf[N];
	unsigned i, which;

	CHECK_OR_RETURN(f != NULL);
	for (i = 0; i < N; i++)
		submit(f, &buf[i], 8 * i, data + i * PAGE_SIZE, PAGE_SIZE, B_READ);
	for (i = 0; i < N; i++)
		CHECK_OR_RETURN(fake_take(f, &r[i]));
	for (i = 0; i < N; i++) {
		which = (i * 3 + 5) % N;
		fake_give(f, &r[which], which == 2 ? 1 : 0);
		fake_interrupt(f);
		CHECK(is_done(&buf[which]));
	}
	for (i = 0; i < N; i++) {
		CHECK_EQ(biowait(&buf[i], "tvirtio"), i == 2 ? EIO : 0);
		CHECK_EQ(buf[i].b_resid, i == 2 ? PAGE_SIZE : 0);
		CHECK(i == 2 || disk_bytes(data + i * PAGE_SIZE, 8 * i, PAGE_SIZE));
	}
	mem_free(data, N * PAGE_SIZE);
	fake_destroy(f);
}

/* Ring indices are 16 bits and wrap; nothing may be lost or repeated there. */
KTEST(virtio, ring_indices_wrap)
{
	struct fake *f = fake_attach(0, 8);
	uint8_t *data = mem_alloc(PAGE_SIZE);
	struct fake_request r;
	struct buf buf;
	unsigned i, done = 0;

	CHECK_OR_RETURN(f != NULL);
	for (i = 0; i < 66000; i++) {
		submit(f, &buf, i % CAPACITY, data, DEV_BSIZE, B_READ);
		if (!fake_take(f, &r) || r.sector != i % CAPACITY)
			break;
		*r.status = 0;
		fake_give_raw(f, r.head, DEV_BSIZE + 1);
		fake_interrupt(f);
		done += is_done(&buf) && buf.b_error == 0;
	}
	CHECK_EQ(done, 66000);
	CHECK(f->given < 1000);			/* it did wrap */
	mem_free(data, PAGE_SIZE);
	fake_destroy(f);
}

KTEST(virtio, no_notification_while_the_device_looks)
{
	struct fake *f = fake_attach(0, 64);
	uint8_t *data = mem_alloc(PAGE_SIZE);
	struct fake_request r;
	struct buf buf[2];
	unsigned i;

	CHECK_OR_RETURN(f != NULL);
	f->vq->used->flags = VRING_USED_NO_NOTIFY;
	submit(f, &buf[0], 0, data, DEV_BSIZE, B_READ);
	CHECK_EQ(f->notified, 0);
	f->vq->used->flags = 0;
	submit(f, &buf[1], 1, data + DEV_BSIZE, DEV_BSIZE, B_READ);
	CHECK_EQ(f->notified, 1);
	for (i = 0; i < 2; i++) {
		CHECK_OR_RETURN(fake_take(f, &r));
		fake_give(f, &r, 0);
	}
	fake_interrupt(f);
	CHECK(is_done(&buf[0]) && is_done(&buf[1]));
	mem_free(data, PAGE_SIZE);
	fake_destroy(f);
}

/* ---- buffers that one request cannot hold ---- */

/*
 * Serve requests until there are no more; fail the one at `bad_sector`.  Returns how many there
 * were.
 */
static unsigned
serve_all(struct fake *f, uint64_t bad_sector, uint32_t *bad_len)
{
	struct fake_request r;
	unsigned n = 0;

	while (fake_take(f, &r)) {
		CHECK_EQ(r.len % fake_disk(f)->dk_sectorsize, 0);
		if (bad_sector >= r.sector && bad_sector < r.sector + r.len / DEV_BSIZE) {
			*bad_len = r.len;
			fake_give(f, &r, 1);
		} else {
			fake_give(f, &r, 0);
		}
		fake_interrupt(f);
		n++;
	}
	return (n);
}

/*
 * Limits so tight that MAXPHYS takes many requests; the buffer still completes once, with all its
 * bytes.
 */
static void
check_split(uint64_t features, uint16_t ring, uint32_t seg_max, uint32_t size_max, size_t offset)
{
	struct fake *f = fake_create(features | F_SEG_MAX | F_SIZE_MAX, ring);
	uint8_t *data = mem_alloc(MAXPHYS + PAGE_SIZE);
	struct buf buf;
	uint32_t bad_len = 0;
	unsigned n;

	f->config.seg_max = seg_max;
	f->config.size_max = size_max;
	CHECK_OR_RETURN(virtio_blk_attach(&f->vd) == 0);
	submit(f, &buf, 24, data + offset, MAXPHYS, B_READ);
	n = serve_all(f, UINT64_MAX, &bad_len);
	CHECK(n >= MAXPHYS / (seg_max * MIN(size_max, (uint32_t)PAGE_SIZE)) && n > 1);
	CHECK_EQ(virtio_blk_stats(fake_disk(f))->splits, n - 1);
	CHECK_EQ(fake_disk(f)->dk_stats.reads, 1);
	CHECK(is_done(&buf));
	CHECK_EQ(buf.b_error, 0);
	CHECK_EQ(buf.b_resid, 0);
	CHECK(disk_bytes(data + offset, 24, MAXPHYS));
	CHECK(all_bytes(data, CANARY, offset) &&
	    all_bytes(data + offset + MAXPHYS, CANARY, PAGE_SIZE - offset));

	/* With an error in it, the whole buffer fails, and what did not arrive is counted. */
	submit(f, &buf, 24, data + offset, MAXPHYS, B_READ);
	serve_all(f, 24 + 130, &bad_len);
	CHECK(is_done(&buf));
	CHECK_EQ(biowait(&buf, "tvirtio"), EIO);
	CHECK(bad_len > 0 && buf.b_resid >= bad_len && buf.b_resid < MAXPHYS);
	mem_free(data, MAXPHYS + PAGE_SIZE);
	fake_destroy(f);
}

KTEST(virtio, large_buffers_are_split)
{
	check_split(0, 4, 2, 4096, 0);			/* the ring allows two pieces */
	check_split(VIRTIO_F_INDIRECT_DESC, 4, 2, 4096, 512);
	check_split(VIRTIO_F_INDIRECT_DESC, 64, 5, 1024, 2052);
	check_split(0, 256, 3, 512, 4);
	check_split(VIRTIO_F_INDIRECT_DESC, 64, 1, 4096, 1024);
}

/*
 * One piece per request, and a sector that lies in two pages that are not neighbours: there is no
 * way.
 */
KTEST(virtio, impossible_limits_give_an_error)
{
	struct fake *f = fake_create(F_SEG_MAX | F_SIZE_MAX, 16);
	uint8_t *data = mem_alloc(2 * PAGE_SIZE);
	struct buf buf;

	f->config.seg_max = 1;
	f->config.size_max = 256;
	CHECK_OR_RETURN(virtio_blk_attach(&f->vd) == 0);
	submit(f, &buf, 0, data, PAGE_SIZE, B_READ);
	CHECK(is_done(&buf));
	CHECK_EQ(biowait(&buf, "tvirtio"), EINVAL);
	CHECK_EQ(buf.b_resid, PAGE_SIZE);
	mem_free(data, 2 * PAGE_SIZE);
	fake_destroy(f);
}

/* ---- answers that are errors, or nonsense ---- */

KTEST(virtio, status_becomes_errno)
{
	static const struct { uint8_t status; uint32_t written; int error; } answer[] = {
		{ 0, 513, 0 }, { 1, 513, EIO }, { 2, 513, EOPNOTSUPP }, { 3, 513, EIO },
		{ 0xff, 513, EIO }, { 0, 512, EIO }, { 0, 0, EIO }, { 0, 514, EIO },
		{ 0, UINT32_MAX, EIO }, { 1, 1, EIO }, { 0, 513, 0 },
	};
	struct fake *f = fake_attach(0, 16);
	size_t resid;
	unsigned i;

	CHECK_OR_RETURN(f != NULL);
	for (i = 0; i < nitems(answer); i++) {
		CHECK_EQ(read_answered(f, answer[i].status, answer[i].written, &resid),
		    answer[i].error);
		CHECK_EQ(resid, answer[i].error == 0 ? 0 : DEV_BSIZE);
	}
	CHECK_EQ(fake_disk(f)->dk_stats.errors, nitems(answer) - 2);
	/* One bad answer is not the end of the device. */
	CHECK_EQ(f->status & VIRTIO_FAILED, 0);
	fake_destroy(f);
}

/*
 * A write gives the device one byte to write, the status; whoever claims more has written
 * elsewhere.
 */
KTEST(virtio, write_that_wrote_too_much)
{
	static const struct { uint32_t written; int error; } answer[] = {
		{ 1, 0 }, { 2, EIO }, { 513, EIO },
	};
	struct fake *f = fake_attach(0, 16);
	uint8_t *data = mem_alloc(PAGE_SIZE);
	struct fake_request r;
	struct buf buf;
	unsigned i;

	CHECK_OR_RETURN(f != NULL);
	for (i = 0; i < nitems(answer); i++) {
		submit(f, &buf, 7, data, DEV_BSIZE, 0);
		CHECK_OR_RETURN(fake_take(f, &r));
		*r.status = 0;
		fake_give_raw(f, r.head, answer[i].written);
		fake_interrupt(f);
		CHECK(is_done(&buf));
		CHECK_EQ(biowait(&buf, "tvirtio"), answer[i].error);
	}
	mem_free(data, PAGE_SIZE);
	fake_destroy(f);
}

/*
 * Three requests in flight and one waiting; then `what` happens, and all of them fail, now and
 * later.
 */
static void
check_given_up(void (*what)(struct fake *f, const struct fake_request *r))
{
	struct fake *f = fake_attach(0, 16);
	uint8_t *data = mem_alloc(4 * MAXPHYS);
	struct fake_request r;
	struct buf buf[4], later;
	unsigned i;

	CHECK_OR_RETURN(f != NULL);
	for (i = 0; i < 4; i++)
		submit(f, &buf[i], 256 * i, data + i * MAXPHYS, i == 3 ? MAXPHYS : PAGE_SIZE,
		    B_READ);
	CHECK_OR_RETURN(fake_take(f, &r));
	what(f, &r);
	for (i = 0; i < 4; i++) {
		CHECK(is_done(&buf[i]));
		CHECK_EQ(biowait(&buf[i], "tvirtio"), EIO);
	}
	/* It was reset before the buffers went back to their owners. */
	CHECK(f->vq == NULL);
	CHECK_EQ(f->status, VIRTIO_FAILED);
	submit(f, &later, 0, data, DEV_BSIZE, B_READ);
	CHECK_EQ(biowait(&later, "tvirtio"), EIO);
	CHECK_EQ(disk_flush(fake_disk(f)), EIO);
	CHECK_EQ(fake_disk(f)->dk_stats.inflight, 0);
	CHECK(all_bytes(data, CANARY, 4 * MAXPHYS));
	mem_free(data, 4 * MAXPHYS);
	fake_destroy(f);
}

static void
id_out_of_range(struct fake *f, const struct fake_request *r)
{
	fake_give_raw(f, 0x10000 + r->head, 1);
	fake_interrupt(f);
}

static void
id_not_in_flight(struct fake *f, const struct fake_request *r)
{
	fake_give_raw(f, (r->head + 1u) % f->vq->size, 1);	/* the middle of a chain */
	fake_interrupt(f);
}

static void
same_id_twice(struct fake *f, const struct fake_request *r)
{
	*r->status = 1;
	fake_give_raw(f, r->head, 1);
	fake_give_raw(f, r->head, 1);
	fake_interrupt(f);
}

static void
too_many_completions(struct fake *f, const struct fake_request *r)
{
	struct vring_used *used = (struct vring_used *)(uintptr_t)f->vq->used;

	used->idx += 1000;
	fake_interrupt(f);
	/* Not one of them was believed. */
	CHECK_EQ(virtio_blk_stats(fake_disk(f))->complaints, 0);
}

static void
needs_reset(struct fake *f, const struct fake_request *r)
{
	f->status |= VIRTIO_NEEDS_RESET;
	f->vd.config_intr(f->vd.driver);
}

KTEST(virtio, nonsense_in_the_ring_ends_the_device)
{
	check_given_up(id_out_of_range);
	check_given_up(id_not_in_flight);
	check_given_up(same_id_twice);
	check_given_up(too_many_completions);
}

KTEST(virtio, device_that_asks_for_reset_is_given_up)
{
	check_given_up(needs_reset);
}

/* ---- flush ---- */

KTEST(virtio, flush_is_a_request_when_there_is_a_cache)
{
	struct fake *f = fake_attach(F_FLUSH, 16);
	struct fake_request r;
	struct buf buf;

	CHECK_OR_RETURN(f != NULL);
	submit(f, &buf, 0, NULL, 0, B_FLUSH);
	CHECK(!is_done(&buf));
	if (CHECK(fake_take(f, &r))) {
		CHECK_EQ(r.type, 4);
		CHECK_EQ(r.npieces, 0);
		fake_give(f, &r, 1);
		fake_interrupt(f);
	}
	CHECK_EQ(biowait(&buf, "tvirtio"), EIO);
	fake_destroy(f);
}

KTEST(virtio, flush_without_cache)
{
	struct fake *f = fake_attach(0, 16);

	CHECK_OR_RETURN(f != NULL);
	CHECK_EQ(disk_flush(fake_disk(f)), 0);		/* write-through: nothing to do */
	CHECK_EQ(f->notified, 0);
	fake_destroy(f);

	f = fake_create(F_CONFIG_WCE, 16);
	f->config.writeback = 1;
	CHECK_OR_RETURN(virtio_blk_attach(&f->vd) == 0);
	CHECK_EQ(f->config.writeback, 0);		/* switched off by the driver */
	CHECK_EQ(disk_flush(fake_disk(f)), 0);
	fake_destroy(f);

	f = fake_create(F_CONFIG_WCE, 16);
	f->config.writeback = 1;
	f->writeback_sticks = true;
	CHECK_OR_RETURN(virtio_blk_attach(&f->vd) == 0);
	CHECK_EQ(disk_flush(fake_disk(f)), EOPNOTSUPP);	/* a cache that cannot be emptied */
	fake_destroy(f);
}
