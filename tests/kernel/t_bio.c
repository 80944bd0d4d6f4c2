/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Buffers, the metadata cache and the pbuf pools, over a disk made of nothing: its blocks hold
 * their own numbers, and its completions come when the test says so.
 */
#include "drivers/disk.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/pmap.h"

static MALLOC_DEFINE(M_TBIO, "bio tests");

#define BLOCK		(4 * KiB)	/* small, for the largest block ever seen sets the cache's least size */
#define BLOCKS_MANY	8192ul		/* no test takes so many */
#define SECTORS		(BLOCK / DEV_BSIZE)
#define FAKE_BLOCKS	65536ul

/* ---- a disk made of nothing ---- */

static struct spinlock fake_lock = SPINLOCK_INITIALIZER("fake disk", RANK_DISK);

/* (all under fake_lock) */
static struct {
	TAILQ_HEAD(, buf) held;		/* requests whose completion the test keeps back */
	bool	hold;
	int	fail;			/* fail so many requests */
	int	reads;
} fake;

/* => no lock held */
static void
fake_finish(struct buf *bp, bool fail)
{
	uint64_t *words = bp->b_data;

	for (size_t i = 0; i < bp->b_bcount / 8 && !fail; i++)
		words[i] = (uint64_t)bp->b_blkno + i / 64;
	bp->b_error = fail ? EIO : 0;
	bp->b_resid = fail ? bp->b_bcount : 0;
	disk_done(bp->b_vp->v_disk, bp);
}

static void
fake_strategy(struct disk *dk, struct buf *bp)
{
	bool hold, fail = false;

	spin_lock(&fake_lock);
	fake.reads++;
	hold = fake.hold;
	if (hold)
		TAILQ_INSERT_TAIL(&fake.held, bp, b_link);
	else if ((fail = fake.fail > 0))
		fake.fail--;
	spin_unlock(&fake_lock);
	if (!hold)
		fake_finish(bp, fail);
}

/* Let a held request go.  false: there is none. */
static bool
fake_release(bool fail)
{
	struct buf *bp;

	spin_lock(&fake_lock);
	bp = TAILQ_FIRST(&fake.held);
	if (bp != NULL)
		TAILQ_REMOVE(&fake.held, bp, b_link);
	spin_unlock(&fake_lock);
	if (bp == NULL)
		return (false);
	fake_finish(bp, fail);
	return (true);
}

static const struct disk_ops fake_ops = { .strategy = fake_strategy };
static struct disk fake_disk = {
	.dk_name = "fake", .dk_ops = &fake_ops, .dk_sectorsize = 512,
	.dk_nsectors = FAKE_BLOCKS * SECTORS, .dk_maxsize = MAXPHYS,
};

static struct vnode *
fake_open(void)
{
	TAILQ_INIT(&fake.held);
	fake.hold = false;
	fake.fail = fake.reads = 0;
	return (bdevvp(&fake_disk));
}

static void
fake_close(struct vnode *vp)
{
	binval(vp);
	CHECK_EQ(vp->v_usecount, 1);
	vgone(vp);
	vrele(vp);
	CHECK(fake_disk.dk_vnode == NULL);
}

/* ---- the cache ---- */

/* Read block n, check it, and release it. */
static bool
read_block(struct vnode *vp, uint64_t n)
{
	struct buf *bp;
	uint64_t *words;
	bool good;

	if (!CHECK_EQ(bread(vp, (daddr_t)(n * SECTORS), BLOCK, &bp), 0))
		return (false);
	words = bp->b_data;
	good = words[0] == n * SECTORS && words[BLOCK / 8 - 1] == n * SECTORS + SECTORS - 1;
	CHECK(good);
	brelse(bp);
	return (good);
}

KTEST(bio, second_read_comes_from_the_cache)
{
	struct vnode *vp = fake_open();
	struct bio_stats before, after;

	read_block(vp, 3);
	CHECK_EQ(fake.reads, 1);
	bio_get_stats(&before);
	read_block(vp, 3);
	bio_get_stats(&after);
	CHECK_EQ(fake.reads, 1);
	CHECK_EQ(after.hits, before.hits + 1);
	CHECK_EQ(after.misses, before.misses);
	fake_close(vp);
}

KTEST(bio, failed_read_is_not_cached)
{
	struct vnode *vp = fake_open();
	struct bio_stats before, after;
	struct buf *bp;

	bio_get_stats(&before);
	fake.fail = 1;
	CHECK_EQ(bread(vp, 0, BLOCK, &bp), EIO);
	CHECK(bp == NULL);
	bio_get_stats(&after);
	CHECK_EQ(after.count, before.count);
	CHECK_EQ(after.bytes, before.bytes);
	read_block(vp, 0);
	CHECK_EQ(fake.reads, 2);
	CHECK_EQ(bread(vp, (daddr_t)(FAKE_BLOCKS * SECTORS), BLOCK, &bp), EIO);	/* past the end */
	CHECK_EQ(bread(vp, -1, BLOCK, &bp), EIO);
	fake_close(vp);
}

struct reader {
	struct vnode	*vp;
	struct thread	*td;
	int		 error;
	volatile bool	 done;
};

static void
reader_thread(void *arg)
{
	struct reader *r = arg;
	struct buf *bp;

	r->error = bread(r->vp, 7 * SECTORS, BLOCK, &bp);
	if (r->error == 0)
		brelse(bp);
	r->done = true;
}

/* Start n readers of one block and wait until the first one's request is with the disk. */
static void
readers_start(struct reader *r, int n, struct vnode *vp)
{
	for (int i = 0; i < n; i++) {
		r[i] = (struct reader){ .vp = vp };
		r[i].td = thread_create("reader", PRI_KERNEL, reader_thread, &r[i]);
	}
	for (int i = 0; i < 20 || fake.reads == 0; i++)
		tsleep(r, NULL, "tbio", 1);
}

static void
readers_join(struct reader *r, int n)
{
	for (int i = 0; i < n; i++) {
		if (CHECK(r[i].td != NULL))
			thread_join(r[i].td);
	}
}

KTEST(bio, two_readers_of_one_block_cause_one_read)
{
	struct vnode *vp = fake_open();
	struct reader r[2];

	fake.hold = true;
	readers_start(r, 2, vp);
	CHECK_EQ(fake.reads, 1);
	CHECK(!r[0].done && !r[1].done);
	CHECK(fake_release(false));
	readers_join(r, 2);
	CHECK_EQ(r[0].error, 0);
	CHECK_EQ(r[1].error, 0);
	CHECK_EQ(fake.reads, 1);
	fake_close(vp);
}

KTEST(bio, waiter_for_a_failed_read_reads_for_itself)
{
	struct vnode *vp = fake_open();
	struct reader r[2];

	fake.hold = true;
	readers_start(r, 2, vp);
	CHECK_EQ(fake.reads, 1);
	fake.hold = false;
	CHECK(fake_release(true));
	readers_join(r, 2);
	CHECK_EQ(r[0].error + r[1].error, EIO);		/* one failed, one did not */
	CHECK_EQ(fake.reads, 2);
	fake_close(vp);
}

KTEST(bio, cache_stays_within_its_bound_and_keeps_what_is_used)
{
	struct vnode *vp = fake_open();
	struct bio_stats st;
	uint64_t blocks;
	int reads;

	read_block(vp, 0);
	bio_get_stats(&st);
	blocks = st.bytes_max / BLOCK;
	CHECK(blocks >= 16);
	if (blocks > BLOCKS_MANY) {
		fake_close(vp);
		ktest_skip("the cache may hold %lu MiB here", st.bytes_max / MiB);
		return;
	}
	for (uint64_t n = 1; n < 2 * blocks && !ktest_failed(); n++) {
		read_block(vp, n);
		read_block(vp, 0);		/* in use all the time */
	}
	bio_get_stats(&st);
	CHECK(st.bytes <= st.bytes_max);
	CHECK_EQ(st.busy, 0);
	CHECK_EQ(fake.reads, 2 * blocks);
	reads = fake.reads;
	read_block(vp, 1);
	CHECK_EQ(fake.reads, reads + 1);	/* long gone */
	read_block(vp, 2 * blocks - 1);
	CHECK_EQ(fake.reads, reads + 1);	/* still there */
	CHECK(bio_shrink(BLOCK / PAGE_SIZE) >= BLOCK / PAGE_SIZE);
	bio_get_stats(&st);
	CHECK_EQ(bio_shrink(SIZE_MAX / PAGE_SIZE), st.bytes / PAGE_SIZE);
	bio_get_stats(&st);
	CHECK_EQ(st.count, 0);
	CHECK_EQ(st.bytes, 0);
	fake_close(vp);
}

KTEST(bio, one_reader_gets_through_when_all_buffers_are_busy)
{
	struct vnode *vp = fake_open();
	struct bio_stats st;
	struct buf **bps;
	struct reader r;
	uint64_t blocks;

	read_block(vp, 0);
	bio_get_stats(&st);
	blocks = st.bytes_max / BLOCK;
	if (blocks > BLOCKS_MANY) {
		fake_close(vp);
		ktest_skip("the cache may hold %lu MiB here", st.bytes_max / MiB);
		return;
	}
	bio_shrink(SIZE_MAX / PAGE_SIZE);
	bps = kmalloc((blocks + 1) * sizeof(bps[0]), &M_TBIO, M_WAITOK);
	for (uint64_t n = 0; n <= blocks; n++)		/* one more than the limit allows */
		CHECK_EQ(bread(vp, (daddr_t)((100 + n) * SECTORS), BLOCK, &bps[n]), 0);
	bio_get_stats(&st);
	CHECK(st.bytes > st.bytes_max);
	CHECK((bps[blocks]->b_flags & B_RESERVE) != 0);

	r = (struct reader){ .vp = vp };
	r.td = thread_create("reader", PRI_KERNEL, reader_thread, &r);
	for (int i = 0; i < 5; i++)
		tsleep(&r, NULL, "tbio", 1);
	CHECK(!r.done);					/* the reserve is taken: it waits */
	brelse(bps[blocks]);
	readers_join(&r, 1);
	CHECK_EQ(r.error, 0);
	for (uint64_t n = 0; n < blocks; n++)
		brelse(bps[n]);
	bio_get_stats(&st);
	CHECK(st.bytes <= st.bytes_max);
	kfree(bps, &M_TBIO);
	fake_close(vp);
}

KTEST(bio, binval_forgets_a_device)
{
	struct vnode *vp = fake_open();

	for (uint64_t n = 0; n < 5; n++)
		read_block(vp, n);
	CHECK_EQ(fake.reads, 5);
	CHECK_EQ(vp->v_usecount, 6);
	binval(vp);
	CHECK_EQ(vp->v_usecount, 1);
	read_block(vp, 4);
	CHECK_EQ(fake.reads, 6);
	fake_close(vp);
}

KTEST(bio, one_vnode_per_disk)
{
	struct vnode *vp = fake_open(), *again = bdevvp(&fake_disk);

	CHECK_EQ((uintptr_t)vp, (uintptr_t)again);
	CHECK_EQ(vp->v_type, VBLK);
	vrele(again);
	fake_close(vp);
}

/* ---- requests ---- */

KTEST(bio, segments_cover_the_data_once)
{
	struct phys_seg segs[17];
	size_t size = 16 * PAGE_SIZE, off = 12, sum = 0;
	char *data = kmalloc(size, &M_TBIO, M_WAITOK);
	struct buf b;
	int n;

	buf_init(&b, NULL, 0, data + off, size - 2 * off, B_READ);
	n = buf_segments(&b, segs, nitems(segs));
	CHECK(n > 0);
	for (int i = 0; i < n; i++) {
		CHECK_EQ(segs[i].addr, pmap_kextract((vm_offset_t)data + off + sum));
		CHECK_EQ(segs[i].addr + segs[i].len - 1,
		    pmap_kextract((vm_offset_t)data + off + sum + segs[i].len - 1));
		sum += segs[i].len;
	}
	CHECK_EQ(sum, b.b_bcount);
	if (n > 1)
		CHECK_EQ(buf_segments(&b, segs, n - 1), 0);
	kfree(data, &M_TBIO);
}

static int iodone_calls;

static void
count_iodone(struct buf *bp)
{
	iodone_calls++;
	bdone(bp);
}

KTEST(bio, completion_calls_back_or_wakes)
{
	struct buf b;

	iodone_calls = 0;
	buf_init(&b, NULL, 0, NULL, 0, B_READ);
	biodone(&b);
	CHECK_EQ(biowait(&b, "tbio"), 0);
	buf_init(&b, NULL, 0, NULL, 0, B_READ | B_CALL);
	b.b_iodone = count_iodone;
	b.b_error = ENXIO;
	b.b_flags |= B_ERROR;
	biodone(&b);
	CHECK_EQ(iodone_calls, 1);
	CHECK_EQ(biowait(&b, "tbio"), ENXIO);
}

/* ---- pbufs ---- */

static void
pbuf_taker(void *arg)
{
	struct reader *r = arg;
	struct buf *bp = getpbuf(PBUF_SWAP);

	r->done = true;
	relpbuf(bp);
}

KTEST(bio, pbuf_pools_are_bounded_and_apart)
{
	int total = pbuf_total(PBUF_SWAP), busy = pbuf_inuse(PBUF_SWAP);
	struct reader r = { 0 };
	struct buf *bps[8], *bp;

	CHECK(total >= 2 && total <= 8);
	CHECK(pbuf_total(PBUF_IN) >= 2 && pbuf_total(PBUF_IN) <= 16);
	CHECK(pbuf_total(PBUF_OUT) >= 2 && pbuf_total(PBUF_OUT) <= 16);
	CHECK_OR_RETURN(CHECK_EQ(busy, 0));
	for (int i = 0; i < total; i++) {
		bps[i] = getpbuf(PBUF_SWAP);
		CHECK_EQ(bps[i]->b_flags, B_PBUF | B_BUSY);
		CHECK_EQ((vm_offset_t)bps[i]->b_data, bps[i]->b_kvabase);
		CHECK_EQ(bps[i]->b_kvabase & PAGE_MASK, 0);
		CHECK(bps[i]->b_rcred == NOCRED && bps[i]->b_wcred == NOCRED && bps[i]->b_vp == NULL);
	}
	CHECK_EQ(pbuf_inuse(PBUF_SWAP), total);
	CHECK(trypbuf(PBUF_SWAP) == NULL);
	bp = trypbuf(PBUF_IN);			/* another pool has some left */
	if (CHECK(bp != NULL))
		relpbuf(bp);

	r.td = thread_create("taker", PRI_KERNEL, pbuf_taker, &r);
	for (int i = 0; i < 5; i++)
		tsleep(&r, NULL, "tbio", 1);
	CHECK(!r.done);
	bps[0]->b_rcred = crhold(&cred_kernel);
	relpbuf(bps[0]);
	readers_join(&r, 1);
	CHECK(r.done);
	for (int i = 1; i < total; i++)
		relpbuf(bps[i]);
	CHECK_EQ(pbuf_inuse(PBUF_SWAP), 0);
	CHECK_EQ(cred_kernel.refs >= 1, true);
}
