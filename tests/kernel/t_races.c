/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may meet whom on a file's pages: each test holds one party's disk request at the tap
 * (stall.h), lets the other party come, and then looks at both.
 *
 * The file under test has a pattern in every byte, so that a byte that came from nowhere, from the
 * wrong place or from the past is seen.  Every test asserts first that the two really met: a
 * request is held, and the other thread sleeps or has finished.
 */
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/stall.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"
#include "vm/vm_laundry.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_RACES, "race tests");

#define PATH	"/race"
#define OTHER	"/race2"
#define NEW	"/race.new"	/* its pattern is what tests overwrite with */
#define PAGES	32ul
#define SIGBUS	7
#define ALL	~0ul

static struct {
	struct vnode	*vp;
	struct vmspace	*vm;		/* has the whole file (and more) mapped at BASE */
	uint8_t		*buf;		/* PAGES pages */
} race;

/* ---- the file ---- */

static bool
race_file(const char *path, struct vnode **vpp, size_t size)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	size_t done = 0;

	testfile_pattern(path, 0, race.buf, size);
	return (CHECK_EQ(vn_create(path, &va, vpp), 0) && CHECK_EQ(vn_write(*vpp, race.buf, size, 0, &done), 0) &&
	    CHECK_EQ(done, size) && CHECK_EQ(vn_fsync(*vpp), 0));
}

static void
drop_pages(struct vnode *vp)
{
	struct vm_object *object = vnode_pager_object(vp);

	if (object == NULL)
		return;
	vm_object_lock(object);
	vm_object_page_remove(object, 0, ALL);
	vm_object_unlock(object);
	vm_object_deallocate(object);
}

/*
 * A clean file of `size` bytes, mapped, none of it resident, its metadata not either; the tap is in
 * hand.
 */
static bool
race_begin(size_t size)
{
	vm_offset_t addr = BASE;

	memset(&race, 0, sizeof(race));
	if (rootfs == NULL || (rootfs->mnt_flag & MNT_RDONLY)) {
		ktest_skip("the root volume cannot be written");
		return (false);
	}
	race.buf = kmalloc(PAGES * PAGE_SIZE, &M_RACES, M_WAITOK);
	race.vm = vmspace_alloc();
	if (CHECK(race.vm != NULL) && race_file(PATH, &race.vp, size) && CHECK_EQ(vfs_sync_all(true), 0) &&
	    CHECK_EQ(vm_mmap(race.vm, &addr, PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, race.vp, 0), 0)) {
		drop_pages(race.vp);
		bio_shrink(SIZE_MAX);
		stall_begin(rootfs->mnt_devvp->v_disk);
		return (true);
	}
	return (false);
}

static void
race_end(void)
{
	stall_end();
	vm_check();
	vmspace_free(race.vm);
	vrele(race.vp);
	CHECK_EQ(vn_remove(PATH), 0);
	kfree(race.buf, &M_RACES);
}

static bool
holds(const char *pattern, const uint8_t *got, uint64_t off, size_t len)
{
	uint8_t want[64];

	for (size_t at = 0; at < len; at += sizeof(want)) {
		size_t n = MIN(sizeof(want), len - at);

		testfile_pattern(pattern, off + at, want, n);
		if (memcmp(got + at, want, n) != 0)
			return (false);
	}
	return (true);
}

static bool
all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != 0)
			return (false);
	return (true);
}

/* The file's bytes, read back after everything of it has left memory. */
static const uint8_t *
from_disk(uint64_t off, size_t len)
{
	size_t done = 0;

	CHECK_EQ(vn_fsync(race.vp), 0);
	drop_pages(race.vp);
	memset(race.buf, 0xa5, len);
	CHECK_EQ(vn_read(race.vp, race.buf, len, (off_t)off, &done), 0);
	CHECK_EQ(done, len);
	return (race.buf);
}

static uint8_t
pattern_byte(const char *pattern, uint64_t off)
{
	uint8_t byte;

	testfile_pattern(pattern, off, &byte, 1);
	return (byte);
}

/* ---- the other parties ---- */

enum deed { LOAD, STORE, TRUNCATE, FSYNC, READ, WRITE, SHRINK_CACHE, UNMAP };

struct party {
	enum deed	 deed;
	uint64_t	 off, len;
	struct thread	*td;
	volatile bool	 done;
	int		 result;	/* LOAD: the byte or -errno; else errno */
	struct fault_info why;
};

static int
act(struct party *p)
{
	size_t done;

	switch (p->deed) {
	case LOAD:
		return (get(race.vm, BASE + p->off));
	case STORE:
		return (put(race.vm, BASE + p->off, pattern_byte(NEW, p->off)));
	case TRUNCATE:
		return (vn_truncate(race.vp, (off_t)p->off));
	case FSYNC:
		return (vn_fsync(race.vp));
	case WRITE:
		testfile_pattern(NEW, p->off, race.buf, p->len);
		return (vn_write(race.vp, race.buf, p->len, (off_t)p->off, &done));
	case READ:
		return (vn_read(race.vp, race.buf, p->len, (off_t)p->off, &done));
	case UNMAP:
		return (vm_munmap(race.vm, BASE, PAGES * PAGE_SIZE));
	case SHRINK_CACHE:
		vm_object_cache_shrink(SIZE_MAX, true);
		return (0);
	}
	return (EINVAL);
}

static void
party_thread(void *arg)
{
	struct party *p = arg;

	p->result = act(p);
	p->why = curthread->fault;
	p->done = true;
}

static void
party_start(struct party *p, enum deed deed, uint64_t off, uint64_t len)
{
	*p = (struct party){ .deed = deed, .off = off, .len = len };
	p->td = thread_create("t-race", PRI_KERNEL, party_thread, p);
	CHECK(p->td != NULL);
}

static void
party_join(struct party *p)
{
	thread_join(p->td);
	CHECK(p->done);
}

/* Give it time to do what it can: true if it sleeps now and has not finished. */
static bool
party_waits(struct party *p)
{
	for (int i = 0; i < 5; i++)
		(void)tsleep(&i, NULL, "ktest", 2);
	return (!p->done && p->td->state == TD_ASLEEP);
}

static void
store_fails_with_sigbus(uint64_t off)
{
	CHECK_EQ(put(race.vm, BASE + off, 1), EFAULT);
	CHECK_EQ(curthread->fault.signo, SIGBUS);
	memset(&curthread->fault, 0, sizeof(curthread->fault));
}

/* Everything that was held, and what comes of it, goes on. */
static void
open_tap(void)
{
	stall_hold(0, 0, 0);
	while (stall_release(0))
		continue;
}

/* ---- page-in ---- */

KTEST(races, pagein_against_truncation_below_the_page)
{
	struct party a, b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, LOAD, 9 * PAGE_SIZE + 5, 0);
	CHECK(stall_wait(1));
	party_start(&b, TRUNCATE, 2 * PAGE_SIZE, 0);
	CHECK(party_waits(&b));
	CHECK(!a.done);
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(b.result, 0);
	/*
	 * A came first; whether it had its byte in hand before B took the page is luck, but it is
	 * this byte or SIGBUS.
	 */
	if (a.result != -EFAULT)
		CHECK_EQ(a.result, pattern_byte(PATH, 9 * PAGE_SIZE + 5));
	else
		CHECK_EQ(a.why.signo, SIGBUS);
	store_fails_with_sigbus(9 * PAGE_SIZE);
	CHECK_EQ(race.vp->v_object->size, 2);
	CHECK(holds(PATH, from_disk(0, 2 * PAGE_SIZE), 0, 2 * PAGE_SIZE));
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
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, pattern_byte(PATH, 3 * PAGE_SIZE + 10));
	/* The tail was zeroed after the data had come, not before. */
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE + 1000), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE + 2999), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE + 999), pattern_byte(PATH, 3 * PAGE_SIZE + 999));
	CHECK_EQ(vn_truncate(race.vp, 4 * PAGE_SIZE), 0);
	CHECK(all_zero(from_disk(3 * PAGE_SIZE + 1000, PAGE_SIZE - 1000), PAGE_SIZE - 1000));
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

	if (behind >= PAGES * PAGE_SIZE)
		/* no pointer block within reach: the data's read is what is held */
		behind = 8 * PAGE_SIZE + 100;
	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, LOAD, behind, 0);
	CHECK(stall_wait(1));
	party_start(&b, TRUNCATE, 0, 0);
	CHECK(party_waits(&b));
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(b.result, 0);
	CHECK(a.result == pattern_byte(PATH, behind) || a.result == 0 || a.result == -EFAULT);
	CHECK_EQ(vn_truncate(race.vp, PAGES * PAGE_SIZE), 0);
	CHECK_EQ(get(race.vm, BASE + behind), 0);
	CHECK(all_zero(from_disk(0, PAGES * PAGE_SIZE), PAGES * PAGE_SIZE));
	race_end();
}

KTEST(races, many_faulters_on_one_page_read_it_once)
{
	struct party p[8];
	unsigned before;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	/* its metadata is known now */
	CHECK_EQ(get(race.vm, BASE + 20 * PAGE_SIZE), pattern_byte(PATH, 20 * PAGE_SIZE));
	drop_pages(race.vp);
	before = stall_seen(STALL_READ);
	stall_hold(STALL_READ, 0, ALL);
	for (size_t i = 0; i < nitems(p); i++)
		party_start(&p[i], i % 2 ? STORE : LOAD, 20 * PAGE_SIZE + i, 0);
	CHECK(stall_wait(1));
	for (size_t i = 0; i < nitems(p); i++)
		CHECK(party_waits(&p[i]));
	CHECK_EQ(stall_seen(STALL_READ) - before, 1);
	open_tap();
	for (size_t i = 0; i < nitems(p); i++) {
		party_join(&p[i]);
		CHECK_EQ(p[i].result, i % 2 ? 0 : pattern_byte(PATH, 20 * PAGE_SIZE + i));
	}
	CHECK_EQ(stall_seen(STALL_READ) - before, 1);
	race_end();
}

KTEST(races, after_an_error_the_waiter_tries_for_itself)
{
	struct party a, b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	CHECK(get(race.vm, BASE + 20 * PAGE_SIZE) >= 0);
	drop_pages(race.vp);
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
	open_tap();
	party_join(&b);
	CHECK_EQ(b.result, pattern_byte(PATH, 20 * PAGE_SIZE + 1));
	race_end();
}

/* ---- page-out ---- */

static void
dirty_pages(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		for (uint64_t off = i * PAGE_SIZE; off < (i + 1) * PAGE_SIZE; off += DEV_BSIZE)
			CHECK_EQ(put(race.vm, BASE + off, pattern_byte(NEW, off)), 0);
}

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

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	bsize = rootfs->mnt_stat.f_iosize;
	dirty_pages(0, 24);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	party_start(&b, TRUNCATE, 3 * PAGE_SIZE + 100, 0);
	/* its blocks are not given back while they are written */
	CHECK(party_waits(&b));
	CHECK_EQ(race.vp->v_object->size, PAGES);
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	store_fails_with_sigbus(4 * PAGE_SIZE);
	CHECK_EQ(vn_fsync(race.vp), 0);
	data = roundup(3 * PAGE_SIZE + 100, bsize) / DEV_BSIZE;
	CHECK(blocks_allocated() <= data + (bsize < 2048 ? bsize / DEV_BSIZE : 0));
	CHECK_EQ(get(race.vm, BASE + 2 * PAGE_SIZE), pattern_byte(NEW, 2 * PAGE_SIZE));
	CHECK_EQ(vn_truncate(race.vp, 24 * PAGE_SIZE), 0);
	CHECK(all_zero(from_disk(3 * PAGE_SIZE + 100, 20 * PAGE_SIZE), 20 * PAGE_SIZE));
	race_end();
}

KTEST(races, store_during_pageout_survives)
{
	struct party a, b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	dirty_pages(4, 2);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	/* It can be read meanwhile; a store has to wait, or at least to be written again. */
	CHECK_EQ(get(race.vm, BASE + 4 * PAGE_SIZE), pattern_byte(NEW, 4 * PAGE_SIZE));
	party_start(&b, STORE, 4 * PAGE_SIZE + 77, 0);
	(void)party_waits(&b);
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	CHECK(race.vp->v_object->dirty_count >= 1);
	CHECK_EQ(get(race.vm, BASE + 4 * PAGE_SIZE + 77), pattern_byte(NEW, 4 * PAGE_SIZE + 77));
	CHECK_EQ(from_disk(4 * PAGE_SIZE, PAGE_SIZE)[77], pattern_byte(NEW, 4 * PAGE_SIZE + 77));
	race_end();
}

/*
 * A failed write leaves its pages dirty, and the store that waited for one of them is not lost
 * either.
 */
KTEST(races, store_during_a_failing_pageout_survives)
{
	struct party a, b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	dirty_pages(4, 2);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	party_start(&b, STORE, 4 * PAGE_SIZE + 77, 0);
	(void)party_waits(&b);
	CHECK(stall_release(EIO));
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, EIO);
	CHECK_EQ(b.result, 0);
	CHECK_EQ(race.vp->v_object->dirty_count, 2);
	CHECK_EQ(from_disk(4 * PAGE_SIZE, 2 * PAGE_SIZE)[77], pattern_byte(NEW, 4 * PAGE_SIZE + 77));
	CHECK_EQ(race.buf[0], pattern_byte(NEW, 4 * PAGE_SIZE));
	CHECK_EQ(race.buf[PAGE_SIZE], pattern_byte(NEW, 5 * PAGE_SIZE));
	race_end();
}

/*
 * With blocks larger than a page both share one: neither must overwrite the other.  The reader has
 * to wait for the vnode, which the writer has locked.
 */
KTEST(races, pageout_against_pagein_of_its_neighbour)
{
	struct party a, b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	dirty_pages(6, 1);
	vm_object_lock(race.vp->v_object);
	vm_object_page_remove(race.vp->v_object, 7, 8);		/* read around page 6 */
	vm_object_unlock(race.vp->v_object);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, FSYNC, 0, 0);
	CHECK(stall_wait(1));
	party_start(&b, STORE, 7 * PAGE_SIZE + 9, 0);
	CHECK(party_waits(&b));
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	from_disk(5 * PAGE_SIZE, 4 * PAGE_SIZE);
	CHECK(holds(PATH, race.buf, 5 * PAGE_SIZE, PAGE_SIZE));
	CHECK_EQ(race.buf[PAGE_SIZE], pattern_byte(NEW, 6 * PAGE_SIZE));
	CHECK(holds(PATH, race.buf + 2 * PAGE_SIZE, 7 * PAGE_SIZE, 8));
	CHECK_EQ(race.buf[2 * PAGE_SIZE + 9], pattern_byte(NEW, 7 * PAGE_SIZE + 9));
	CHECK(holds(PATH, race.buf + 2 * PAGE_SIZE + 64, 7 * PAGE_SIZE + 64, PAGE_SIZE - 64));
	CHECK(holds(PATH, race.buf + 3 * PAGE_SIZE, 8 * PAGE_SIZE, PAGE_SIZE));
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
	drop_pages(race.vp);
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, WRITE, 2 * PAGE_SIZE + 1000, 5000);
	CHECK(stall_wait(1));
	party_start(&b, LOAD, 2 * PAGE_SIZE + 200, 0);
	CHECK(party_waits(&b));
	open_tap();
	party_join(&a);
	party_join(&b);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(b.result, 0);
	byte = get(race.vm, BASE + 2 * PAGE_SIZE + 1000);
	CHECK_EQ(byte, pattern_byte(NEW, 2 * PAGE_SIZE + 1000));
	CHECK(all_zero(from_disk(2 * PAGE_SIZE + 100, 900), 900));
	race_end();
}

/* ---- objects ---- */

/* The cached object is written out in order to go; meanwhile the file is mapped again. */
KTEST(races, last_unmap_against_a_new_map)
{
	vm_offset_t addr = BASE;
	struct party a;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	dirty_pages(3, 1);
	CHECK_EQ(vm_munmap(race.vm, BASE, PAGES * PAGE_SIZE), 0);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, SHRINK_CACHE, 0, 0);
	CHECK(stall_wait(1));
	CHECK(!a.done);
	stall_hold(0, 0, 0);
	/* The vnode is locked by whoever writes; so let the write go while we are on our way. */
	CHECK(stall_release(0));
	CHECK_EQ(vm_mmap(race.vm, &addr, PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, race.vp, 0), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE), pattern_byte(NEW, 3 * PAGE_SIZE));
	party_join(&a);
	CHECK(race.vp->v_object == object_at(race.vm, BASE));
	CHECK_EQ(put(race.vm, BASE + 3 * PAGE_SIZE, 0x99), 0);
	CHECK_EQ(from_disk(3 * PAGE_SIZE, PAGE_SIZE)[0], 0x99);
	race_end();
}

/* Nothing keeps a file without a name in memory but its users: once they are done, its object is gone. */
static void
nameless_race_begin(void)
{
	CHECK_EQ(vn_remove(PATH), 0);
	CHECK(race.vp->v_object != NULL);
}

static void
nameless_race_end(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;

	CHECK(race.vp->v_object == NULL);
	/* race_end() removes what is called so. */
	CHECK_EQ(vn_create(PATH, &va, &vp), 0);
	vrele(vp);
	race_end();
}

/*
 * A reader has the vnode locked when the file is unmapped, so that the object's last reference is
 * the reader's: letting go of it must not want the vnode's lock.
 */
KTEST(races, reader_is_the_last_to_use_a_file_without_a_name)
{
	struct party a, b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	nameless_race_begin();
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, READ, 5 * PAGE_SIZE, 100);
	CHECK(stall_wait(1));
	party_start(&b, UNMAP, 0, 0);
	party_join(&b);
	CHECK_EQ(race.vp->v_object->ref_count, 1);
	open_tap();
	party_join(&a);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(race.buf[99], pattern_byte(PATH, 5 * PAGE_SIZE + 99));
	nameless_race_end();
}

/* The same with the laundry, which writes with the vnode locked. */
KTEST(races, laundry_is_the_last_to_use_a_file_without_a_name)
{
	struct party b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	nameless_race_begin();
	dirty_pages(3, 1);
	stall_hold(STALL_WRITE, 0, ALL);
	for (uint64_t end = ticks + VT_PATIENCE; stall_held() == 0 && ticks < end; vt_pause()) {
		vm_pageout_scan(vm_page_count);
		vm_laundry_wakeup();
	}
	CHECK(stall_wait(1));
	party_start(&b, UNMAP, 0, 0);
	party_join(&b);
	CHECK_EQ(race.vp->v_object->ref_count, 1);
	open_tap();
	VT_WAIT(race.vp->v_object == NULL);
	VT_WAIT(!vm_laundry_writing());
	nameless_race_end();
}

/*
 * The file has no name and its object is on its way out, its pages being written, when it is mapped
 * again: the same bytes, and one object.
 */
KTEST(races, last_unmap_of_a_file_without_a_name_against_a_new_map)
{
	vm_offset_t addr = BASE;
	struct party a, b;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	nameless_race_begin();
	dirty_pages(3, 1);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, UNMAP, 0, 0);
	CHECK(stall_wait(1));
	CHECK(party_waits(&a));
	stall_hold(0, 0, 0);
	party_start(&b, LOAD, 0, 0);		/* nothing is mapped now */
	party_join(&b);
	CHECK_EQ(b.result, -EFAULT);
	CHECK(stall_release(0));
	CHECK_EQ(vm_mmap(race.vm, &addr, PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, race.vp, 0), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE), pattern_byte(NEW, 3 * PAGE_SIZE));
	party_join(&a);
	CHECK(race.vp->v_object == object_at(race.vm, BASE));
	CHECK_EQ(get(race.vm, BASE + 4 * PAGE_SIZE + 7), pattern_byte(PATH, 4 * PAGE_SIZE + 7));
	CHECK_EQ(vm_munmap(race.vm, BASE, PAGES * PAGE_SIZE), 0);
	nameless_race_end();
}

/*
 * The laundry cannot have the one vnode, for a thread that allocates has it locked: it goes on with
 * the other.
 */
KTEST(races, laundry_goes_round_a_locked_vnode)
{
	struct vnode *other = NULL;
	struct vm_object *object;
	uint64_t end = ticks + VT_PATIENCE;
	vm_offset_t addr = BASE + MiB;

	if (!race_begin(PAGES * PAGE_SIZE))
		return;
	CHECK(race_file(OTHER, &other, 8 * PAGE_SIZE));
	CHECK_EQ(vm_mmap(race.vm, &addr, 8 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, other, 0), 0);
	dirty_pages(0, 4);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(put(race.vm, addr + i * PAGE_SIZE, 0x42), 0);
	object = other->v_object;
	CHECK_EQ(object->dirty_count, 8);
	VOP_LOCK(race.vp, LK_EXCLUSIVE);
	while (object->dirty_count > 0 && ticks < end) {
		vm_pageout_scan(vm_page_count);
		vm_laundry_wakeup();
		(void)tsleep(&end, NULL, "ktest", 2);
	}
	CHECK_EQ(object->dirty_count, 0);
	CHECK_EQ(race.vp->v_object->dirty_count, 4);
	VOP_UNLOCK(race.vp);
	for (end = ticks + VT_PATIENCE; race.vp->v_object->dirty_count > 0 && ticks < end; ) {
		vm_pageout_scan(vm_page_count);
		vm_laundry_wakeup();
		(void)tsleep(&end, NULL, "ktest", 2);
	}
	CHECK_EQ(race.vp->v_object->dirty_count, 0);
	CHECK_EQ(vm_munmap(race.vm, addr, 8 * PAGE_SIZE), 0);
	vrele(other);
	CHECK_EQ(vn_remove(OTHER), 0);
	race_end();
}
