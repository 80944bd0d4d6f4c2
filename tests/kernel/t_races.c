/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may meet whom on a file's pages: each test holds one party's disk request at the tap
 * (stall.h), lets the other party come, and then looks at both.
 *
 * Every test asserts first that the two really met: a request is held, and the other thread sleeps
 * or has finished.  What becomes of the file's object is in t_racelife.c, how pages go out in
 * t_raceout.c.
 */
#include "tests/kernel/racefile.h"

#define SIGBUS	7

/* ---- page-in ---- */

KTEST(races, pagein_against_truncation_below_the_page)
{
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, LOAD, 9 * PAGE_SIZE + 5, 0);
	CHECK(stall_wait(1));
	party_start(&b, TRUNCATE, 2 * PAGE_SIZE, 0);
	CHECK(party_waits(&b));
	CHECK(!a.done);
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(b.result, 0);
	/*
	 * A came first; whether it had its byte in hand before B took the page is luck, but it is
	 * this byte or SIGBUS.
	 */
	if (a.result != -EFAULT)
		CHECK_EQ(a.result, race_pattern(RACE_PATH, 9 * PAGE_SIZE + 5));
	else
		CHECK_EQ(a.why.signo, SIGBUS);
	race_store_fails(9 * PAGE_SIZE);
	CHECK_EQ(race.vp->v_object->size, 2);
	CHECK(race_holds(RACE_PATH, race_from_disk(0, 2 * PAGE_SIZE), 0, 2 * PAGE_SIZE));
	race_end();
}

KTEST(races, pagein_of_the_eof_page_against_truncation_inside_it)
{
	struct party a, b;

	if (!race_begin(3 * PAGE_SIZE + 3000))
		return;
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, LOAD, 3 * PAGE_SIZE + 10, 0);
	CHECK(stall_wait(1));
	party_start(&b, TRUNCATE, 3 * PAGE_SIZE + 1000, 0);
	CHECK(party_waits(&b));
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, race_pattern(RACE_PATH, 3 * PAGE_SIZE + 10));
	/* The tail was zeroed after the data had come, not before. */
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE + 1000), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE + 2999), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE + 999), race_pattern(RACE_PATH, 3 * PAGE_SIZE + 999));
	CHECK_EQ(vn_truncate(race.vp, 4 * PAGE_SIZE), 0);
	CHECK(race_all_zero(race_from_disk(3 * PAGE_SIZE + 1000, PAGE_SIZE - 1000), PAGE_SIZE - 1000));
	race_end();
}

/*
 * The pager asks where the page lies; before the answer is there, the file is emptied and grows
 * again without blocks.
 */
KTEST(races, file_becomes_a_hole_between_haspage_and_getpages)
{
	uint64_t behind = 12ul * rootfs->mnt_stat.f_iosize + 100;
	struct party a, b;

	if (behind >= RACE_PAGES * PAGE_SIZE)
		/* no pointer block within reach: the data's read is what is held */
		behind = 8 * PAGE_SIZE + 100;
	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, LOAD, behind, 0);
	CHECK(stall_wait(1));
	party_start(&b, TRUNCATE, 0, 0);
	CHECK(party_waits(&b));
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(b.result, 0);
	CHECK(a.result == race_pattern(RACE_PATH, behind) || a.result == 0 || a.result == -EFAULT);
	CHECK_EQ(vn_truncate(race.vp, RACE_PAGES * PAGE_SIZE), 0);
	CHECK_EQ(get(race.vm, BASE + behind), 0);
	CHECK(race_all_zero(race_from_disk(0, RACE_PAGES * PAGE_SIZE), RACE_PAGES * PAGE_SIZE));
	race_end();
}

KTEST(races, many_faulters_on_one_page_read_it_once)
{
	struct party p[8];
	unsigned before;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	/* its metadata is known now */
	CHECK_EQ(get(race.vm, BASE + 20 * PAGE_SIZE), race_pattern(RACE_PATH, 20 * PAGE_SIZE));
	race_drop_pages(race.vp);
	before = stall_seen(STALL_READ);
	stall_hold(STALL_READ, 0, ALL);
	for (size_t i = 0; i < nitems(p); i++)
		party_start(&p[i], i % 2 ? STORE : LOAD, 20 * PAGE_SIZE + i, 0);
	CHECK(stall_wait(1));
	for (size_t i = 0; i < nitems(p); i++)
		CHECK(party_waits(&p[i]));
	CHECK_EQ(stall_seen(STALL_READ) - before, 1);
	race_open_tap();
	for (size_t i = 0; i < nitems(p); i++) {
		party_join(&p[i]);
		CHECK_EQ(p[i].result, i % 2 ? 0 : race_pattern(RACE_PATH, 20 * PAGE_SIZE + i));
	}
	CHECK_EQ(stall_seen(STALL_READ) - before, 1);
	race_end();
}

KTEST(races, after_an_error_the_waiter_tries_for_itself)
{
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	CHECK(get(race.vm, BASE + 20 * PAGE_SIZE) >= 0);
	race_drop_pages(race.vp);
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, LOAD, 20 * PAGE_SIZE, 0);
	CHECK(stall_wait(1));
	party_start(&b, LOAD, 20 * PAGE_SIZE + 1, 0);
	CHECK(party_waits(&b));
	/*
	 * A may ask once more, for its page without its neighbours; B has no request of its own
	 * before A has given up.
	 */
	for (int i = 0; i < 3 && party_waits(&a); i++)
		CHECK(stall_release(EIO));
	CHECK_OR_RETURN(a.done);
	party_join(&a);
	CHECK_EQ(a.result, -EFAULT);
	CHECK_EQ(a.why.signo, SIGBUS);
	CHECK(stall_wait(1));			/* B's own request */
	CHECK(!b.done);
	race_open_tap();
	party_join(&b);
	CHECK_EQ(b.result, race_pattern(RACE_PATH, 20 * PAGE_SIZE + 1));
	race_end();
}

/* ---- page-out ---- */

static uint64_t
blocks_allocated(void)
{
	struct vattr va = { 0 };

	VOP_LOCK(race.vp, LK_SHARED);
	CHECK_EQ(VOP_GETATTR(race.vp, &va), 0);
	VOP_UNLOCK(race.vp);
	return (va.va_blocks);
}

KTEST(races, pageout_against_truncation)
{
	uint64_t bsize, data;
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	bsize = rootfs->mnt_stat.f_iosize;
	race_dirty_pages(0, 24);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	party_start(&b, TRUNCATE, 3 * PAGE_SIZE + 100, 0);
	/* its blocks are not given back while they are written */
	CHECK(party_waits(&b));
	CHECK_EQ(race.vp->v_object->size, RACE_PAGES);
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	race_store_fails(4 * PAGE_SIZE);
	CHECK_EQ(vn_fsync(race.vp), 0);
	data = roundup(3 * PAGE_SIZE + 100, bsize) / DEV_BSIZE;
	CHECK(blocks_allocated() <= data + (bsize < 2048 ? bsize / DEV_BSIZE : 0));
	CHECK_EQ(get(race.vm, BASE + 2 * PAGE_SIZE), race_pattern(RACE_NEW, 2 * PAGE_SIZE));
	CHECK_EQ(vn_truncate(race.vp, 24 * PAGE_SIZE), 0);
	CHECK(race_all_zero(race_from_disk(3 * PAGE_SIZE + 100, 20 * PAGE_SIZE), 20 * PAGE_SIZE));
	race_end();
}

KTEST(races, store_during_pageout_survives)
{
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	race_dirty_pages(4, 2);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	/* It can be read meanwhile; a store has to wait, or at least to be written again. */
	CHECK_EQ(get(race.vm, BASE + 4 * PAGE_SIZE), race_pattern(RACE_NEW, 4 * PAGE_SIZE));
	party_start(&b, STORE, 4 * PAGE_SIZE + 77, 0);
	(void)party_waits(&b);
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	CHECK(race.vp->v_object->dirty_count >= 1);
	CHECK_EQ(get(race.vm, BASE + 4 * PAGE_SIZE + 77), race_pattern(RACE_NEW, 4 * PAGE_SIZE + 77));
	CHECK_EQ(race_from_disk(4 * PAGE_SIZE, PAGE_SIZE)[77], race_pattern(RACE_NEW, 4 * PAGE_SIZE + 77));
	race_end();
}

/*
 * A failed write leaves its pages dirty, and the store that waited for one of them is not lost
 * either.
 */
KTEST(races, store_during_a_failing_pageout_survives)
{
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	race_dirty_pages(4, 2);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	party_start(&b, STORE, 4 * PAGE_SIZE + 77, 0);
	(void)party_waits(&b);
	CHECK(stall_release(EIO));
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, EIO);
	CHECK_EQ(b.result, 0);
	CHECK_EQ(race.vp->v_object->dirty_count, 2);
	CHECK_EQ(race_from_disk(4 * PAGE_SIZE, 2 * PAGE_SIZE)[77], race_pattern(RACE_NEW, 4 * PAGE_SIZE + 77));
	CHECK_EQ(race.buf[0], race_pattern(RACE_NEW, 4 * PAGE_SIZE));
	CHECK_EQ(race.buf[PAGE_SIZE], race_pattern(RACE_NEW, 5 * PAGE_SIZE));
	race_end();
}

/*
 * With blocks larger than a page both share one: neither must overwrite the other.  The reader has
 * to wait for the vnode, which the writer has locked.
 */
KTEST(races, pageout_against_pagein_of_its_neighbour)
{
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	race_dirty_pages(6, 1);
	vm_object_lock(race.vp->v_object);
	vm_object_page_remove(race.vp->v_object, 7, 8);		/* read around page 6 */
	vm_object_unlock(race.vp->v_object);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	party_start(&b, STORE, 7 * PAGE_SIZE + 9, 0);
	CHECK(party_waits(&b));
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	race_from_disk(5 * PAGE_SIZE, 4 * PAGE_SIZE);
	CHECK(race_holds(RACE_PATH, race.buf, 5 * PAGE_SIZE, PAGE_SIZE));
	CHECK_EQ(race.buf[PAGE_SIZE], race_pattern(RACE_NEW, 6 * PAGE_SIZE));
	CHECK(race_holds(RACE_PATH, race.buf + 2 * PAGE_SIZE, 7 * PAGE_SIZE, 8));
	CHECK_EQ(race.buf[2 * PAGE_SIZE + 9], race_pattern(RACE_NEW, 7 * PAGE_SIZE + 9));
	CHECK(race_holds(RACE_PATH, race.buf + 2 * PAGE_SIZE + 64, 7 * PAGE_SIZE + 64, PAGE_SIZE - 64));
	CHECK(race_holds(RACE_PATH, race.buf + 3 * PAGE_SIZE, 8 * PAGE_SIZE, PAGE_SIZE));
	race_end();
}

/* ---- size ---- */

KTEST(races, extension_against_a_mapped_reader_at_the_old_end)
{
	struct party a, b;
	int byte;

	if (!race_begin(2 * PAGE_SIZE + 100))
		return;
	/* What lies behind EOF in the page must never be seen as part of the file. */
	CHECK_EQ(put(race.vm, BASE + 2 * PAGE_SIZE + 200, 0xee), 0);
	CHECK_EQ(vn_fsync(race.vp), 0);
	race_drop_pages(race.vp);
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, WRITE, 2 * PAGE_SIZE + 1000, 5000);
	CHECK(stall_wait(1));
	party_start(&b, LOAD, 2 * PAGE_SIZE + 200, 0);
	CHECK(party_waits(&b));
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	byte = get(race.vm, BASE + 2 * PAGE_SIZE + 1000);
	CHECK_EQ(byte, race_pattern(RACE_NEW, 2 * PAGE_SIZE + 1000));
	CHECK(race_all_zero(race_from_disk(2 * PAGE_SIZE + 100, 900), 900));
	race_end();
}
