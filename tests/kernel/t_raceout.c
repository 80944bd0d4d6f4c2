/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How dirty pages go out while others have to do with them: as t_races.c, with the bytes looked at
 * where they lie on the disk.
 */
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "tests/kernel/racefile.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_laundry.h"

static MALLOC_DEFINE(M_RACEOUT, "page-out race tests");

/*
 * What was stored before msync began is on the disk when it is done; what was stored while it wrote
 * is still dirty, and there with the next one.
 */
KTEST(races, store_during_msync_is_for_the_next_one)
{
	uint64_t at = 4 * PAGE_SIZE + 77;
	struct party a, b;
	uint8_t *raw;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	raw = kmalloc(PAGE_SIZE, &M_RACEOUT, M_WAITOK);
	race_dirty_pages(4, 2);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, MSYNC, 4 * PAGE_SIZE, 2 * PAGE_SIZE);
	CHECK(stall_wait(1));
	CHECK(party_waits(&a));
	party_start(&b, STORE, at, 0);
	(void)party_waits(&b);
	race_open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	CHECK(race.vp->v_object->dirty_count >= 1);
	if (race_raw(4, raw)) {
		CHECK_EQ(raw[0], race_pattern(RACE_NEW, 4 * PAGE_SIZE));
		CHECK(raw[77] == race_pattern(RACE_PATH, at) || raw[77] == race_pattern(RACE_NEW, at));
	}
	CHECK_EQ(vm_msync(race.vm, BASE + 4 * PAGE_SIZE, PAGE_SIZE, MS_SYNC), 0);
	CHECK_EQ(race.vp->v_object->dirty_count, 0);
	if (race_raw(4, raw))
		CHECK_EQ(raw[77], race_pattern(RACE_NEW, at));
	kfree(raw, &M_RACEOUT);
	race_end();
}

/* Two files are written; the second one's write ends first, and badly: that is nothing to the first. */
KTEST(races, writes_end_in_the_other_order_and_one_fails)
{
	vm_offset_t addr = BASE + MiB;
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	CHECK(race_file(RACE_OTHER, &race.other, 8 * PAGE_SIZE));
	CHECK_EQ(vm_mmap(race.vm, &addr, 8 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, race.other, 0), 0);
	race_dirty_pages(4, 2);
	CHECK_EQ(put(race.vm, addr, 0x42), 0);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	party_start(&b, FSYNC_OTHER, 0, 0);
	CHECK(stall_wait(2));
	stall_hold(0, 0, 0);
	CHECK(stall_release_newest(EIO));
	party_join(&b);
	CHECK_EQ(b.result, EIO);
	CHECK(party_waits(&a));
	CHECK_EQ(race.other->v_object->dirty_count, 1);
	race_open_tap();
	party_join(&a);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(race.vp->v_object->dirty_count, 0);
	CHECK_EQ(vn_fsync(race.other), 0);
	CHECK_EQ(race.other->v_object->dirty_count, 0);
	CHECK_EQ(race_from_disk(4 * PAGE_SIZE, PAGE_SIZE)[0], race_pattern(RACE_NEW, 4 * PAGE_SIZE));
	race_drop_pages(race.other);
	CHECK_EQ(get(race.vm, addr), 0x42);
	CHECK_EQ(vm_munmap(race.vm, addr, 8 * PAGE_SIZE), 0);
	vrele(race.other);
	CHECK_EQ(vn_remove(RACE_OTHER), 0);
	race_end();
}

/*
 * The laundry writes a page, and its last mapping goes: nobody waits for the disk, and when the write
 * fails the bytes are still there for the next one.
 */
KTEST(races, pageout_against_unmap)
{
	struct party b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	race_dirty_pages(3, 1);
	race_stall_laundry();
	party_start(&b, UNMAP, 0, 0);
	party_join(&b);
	CHECK_EQ(b.result, 0);
	stall_hold(0, 0, 0);
	CHECK(stall_release(EIO));
	VT_WAIT(!vm_laundry_writing());
	CHECK(race.vp->v_object != NULL);
	CHECK_EQ(race_from_disk(3 * PAGE_SIZE, PAGE_SIZE)[0], race_pattern(RACE_NEW, 3 * PAGE_SIZE));
	CHECK_EQ(race.buf[PAGE_SIZE - DEV_BSIZE], race_pattern(RACE_NEW, 4 * PAGE_SIZE - DEV_BSIZE));
	race_end();
}

/* The first sector of one page and the middle one of the next: two requests, of which the second fails. */
static void
two_requests_of_a_cluster(void)
{
	uint64_t second = 5 * PAGE_SIZE + PAGE_SIZE / 2;
	struct party a;
	size_t done;

	testfile_pattern(RACE_NEW, 4 * PAGE_SIZE, race.buf, DEV_BSIZE);
	CHECK_EQ(vn_write(race.vp, race.buf, DEV_BSIZE, 4 * PAGE_SIZE, &done), 0);
	testfile_pattern(RACE_NEW, second, race.buf, DEV_BSIZE);
	CHECK_EQ(vn_write(race.vp, race.buf, DEV_BSIZE, (off_t)second, &done), 0);
	CHECK_EQ(race.vp->v_object->dirty_count, 2);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	CHECK(stall_release(0));
	CHECK(stall_wait(1));
	stall_hold(0, 0, 0);
	CHECK(stall_release(EIO));
	party_join(&a);
	CHECK_EQ(a.result, EIO);
	CHECK_EQ(race.vp->v_object->dirty_count, 1);
	CHECK(vt_page(race.vp->v_object, 4)->dirty == 0);
	CHECK_EQ(vt_page(race.vp->v_object, 5)->dirty, vm_page_bits(PAGE_SIZE / 2, vt_device_sector(race.vp)));
	CHECK_EQ(vn_fsync(race.vp), 0);
	CHECK(race_holds(RACE_NEW, race_from_disk(second, DEV_BSIZE), second, DEV_BSIZE));
	CHECK(race_holds(RACE_NEW, race_from_disk(4 * PAGE_SIZE, DEV_BSIZE), 4 * PAGE_SIZE, DEV_BSIZE));
}

/* The page that was written is clean, the one that was not is dirty. */
KTEST(races, each_page_of_a_cluster_fares_by_itself)
{
	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	if (vt_device_sector(race.vp) < PAGE_SIZE)
		two_requests_of_a_cluster();
	else
		ktest_skip("a page is no more than one sector of this disk, so a cluster is one request");
	race_end();
}

/*
 * Bytes behind the end of the file, stored through a mapping, are nobody's: in the sector of the end,
 * and in those behind it, the disk never gets them.
 */
KTEST(races, pageout_ends_at_the_end_of_the_file)
{
	const size_t keep = 700;
	uint8_t *before, *after;
	size_t sector_end;

	if (!race_begin(4 * PAGE_SIZE))
		return;
	sector_end = roundup(keep, (size_t)vt_device_sector(race.vp));
	before = kmalloc(2 * PAGE_SIZE, &M_RACEOUT, M_WAITOK);
	after = before + PAGE_SIZE;
	CHECK_EQ(vn_truncate(race.vp, (off_t)(3 * PAGE_SIZE + keep)), 0);
	CHECK_EQ(vn_fsync(race.vp), 0);
	/* The page after the end is there no more, so its block may be another's; with large blocks it stays. */
	if (race_raw(3, before)) {
		for (size_t off = 0; off < PAGE_SIZE; off += 100)
			CHECK_EQ(put(race.vm, BASE + 3 * PAGE_SIZE + off, 0xee), 0);
		CHECK_EQ(vm_msync(race.vm, BASE + 3 * PAGE_SIZE, PAGE_SIZE, MS_SYNC), 0);
		CHECK(race_raw(3, after));
		for (size_t off = 0; off < keep; off += 100)
			CHECK_EQ(after[off], 0xee);
		for (size_t off = keep; off < sector_end; off += 100)
			CHECK(after[off] != 0xee);
		CHECK(memcmp(before + sector_end, after + sector_end, PAGE_SIZE - sector_end) == 0);
	}
	kfree(before, &M_RACEOUT);
	race_end();
}
