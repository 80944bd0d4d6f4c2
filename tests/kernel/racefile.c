/* SPDX-License-Identifier: BSD-2-Clause */
/* The file that the tests of races are about, and the parties that meet there: see racefile.h. */
#include "tests/kernel/racefile.h"

#include "drivers/disk.h"
#include "kernel/malloc.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"
#include "vm/vm_laundry.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_RACES, "race tests");

#define SIGBUS	7

/* ---- the file ---- */

struct race race;

bool
race_file(const char *path, struct vnode **vpp, size_t size)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	size_t done = 0;

	testfile_pattern(path, 0, race.buf, size);
	return (CHECK_EQ(vn_create(path, &va, vpp), 0) && CHECK_EQ(vn_write(*vpp, race.buf, size, 0, &done), 0) &&
	    CHECK_EQ(done, size) && CHECK_EQ(vn_fsync(*vpp), 0));
}

void
race_drop_pages(struct vnode *vp)
{
	struct vm_object *object = vnode_pager_object(vp);

	if (object == NULL)
		return;
	vm_object_lock(object);
	vm_object_page_remove(object, 0, UINT64_MAX);
	vm_object_unlock(object);
	vm_object_deallocate(object);
}

bool
race_begin(size_t size)
{
	vm_offset_t addr = BASE;

	memset(&race, 0, sizeof(race));
	if (rootfs == NULL || (rootfs->mnt_flag & MNT_RDONLY)) {
		ktest_skip("the root volume cannot be written");
		return (false);
	}
	race.buf = kmalloc(RACE_PAGES * PAGE_SIZE, &M_RACES, M_WAITOK);
	race.vm = vmspace_alloc();
	if (CHECK(race.vm != NULL) && race_file(RACE_PATH, &race.vp, size) && CHECK_EQ(vfs_sync_all(true), 0) &&
	    CHECK_EQ(vm_mmap(race.vm, &addr, RACE_PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, race.vp, 0), 0)) {
		race_drop_pages(race.vp);
		bio_shrink(SIZE_MAX);
		stall_begin(rootfs->mnt_devvp->v_disk);
		return (true);
	}
	return (false);
}

void
race_end(void)
{
	stall_end();
	vm_check();
	vmspace_free(race.vm);
	vrele(race.vp);
	CHECK_EQ(vn_remove(RACE_PATH), 0);
	kfree(race.buf, &M_RACES);
}

bool
race_holds(const char *pattern, const uint8_t *got, uint64_t off, size_t len)
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

bool
race_all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != 0)
			return (false);
	return (true);
}

const uint8_t *
race_from_disk(uint64_t off, size_t len)
{
	size_t done = 0;

	CHECK_EQ(vn_fsync(race.vp), 0);
	race_drop_pages(race.vp);
	memset(race.buf, 0xa5, len);
	CHECK_EQ(vn_read(race.vp, race.buf, len, (off_t)off, &done), 0);
	CHECK_EQ(done, len);
	return (race.buf);
}

bool
race_raw(uint64_t pindex, uint8_t *page)
{
	daddr_t sector = vt_sector_of_page(race.vp, pindex);

	return (CHECK(sector >= 0) &&
	    CHECK_EQ(disk_rw(rootfs->mnt_devvp->v_disk, (uint64_t)sector, page, PAGE_SIZE, B_READ), 0));
}

uint8_t
race_pattern(const char *pattern, uint64_t off)
{
	uint8_t byte;

	testfile_pattern(pattern, off, &byte, 1);
	return (byte);
}

/* ---- the other parties ---- */

static int
act(struct party *p)
{
	size_t done;

	switch (p->deed) {
	case LOAD:
		return (get(race.vm, BASE + p->off));
	case STORE:
		return (put(race.vm, BASE + p->off, race_pattern(RACE_NEW, p->off)));
	case TRUNCATE:
		return (vn_truncate(race.vp, (off_t)p->off));
	case FSYNC:
		return (vn_fsync(race.vp));
	case FSYNC_OTHER:
		return (vn_fsync(race.other));
	case MSYNC:
		return (vm_msync(race.vm, BASE + p->off, p->len, MS_SYNC));
	case WRITE:
		testfile_pattern(RACE_NEW, p->off, race.buf, p->len);
		return (vn_write(race.vp, race.buf, p->len, (off_t)p->off, &done));
	case READ:
		return (vn_read(race.vp, race.buf, p->len, (off_t)p->off, &done));
	case UNMAP:
		return (vm_munmap(race.vm, BASE, RACE_PAGES * PAGE_SIZE));
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

void
party_start(struct party *p, enum deed deed, uint64_t off, uint64_t len)
{
	*p = (struct party){ .deed = deed, .off = off, .len = len };
	p->td = thread_create("t-race", PRI_KERNEL, party_thread, p);
	CHECK(p->td != NULL);
}

void
party_join(struct party *p)
{
	thread_join(p->td);
	CHECK(p->done);
}

bool
party_waits(struct party *p)
{
	for (int i = 0; i < 5; i++)
		(void)tsleep(&i, NULL, "ktest", 2);
	return (!p->done && p->td->state == TD_ASLEEP);
}

void
race_store_fails(uint64_t off)
{
	CHECK_EQ(put(race.vm, BASE + off, 1), EFAULT);
	CHECK_EQ(curthread->fault.signo, SIGBUS);
	memset(&curthread->fault, 0, sizeof(curthread->fault));
}

void
race_stall_laundry(void)
{
	stall_hold(STALL_WRITE, 0, ALL);
	for (uint64_t end = ticks + VT_PATIENCE; stall_held() == 0 && ticks < end; vt_pause()) {
		vm_pageout_scan(vm_page_count);
		vm_laundry_wakeup();
	}
	CHECK(stall_wait(1));
}

void
race_open_tap(void)
{
	stall_hold(0, 0, 0);
	while (stall_release(0))
		continue;
}

void
race_dirty_pages(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		for (uint64_t off = i * PAGE_SIZE; off < (i + 1) * PAGE_SIZE; off += DEV_BSIZE)
			CHECK_EQ(put(race.vm, BASE + off, race_pattern(RACE_NEW, off)), 0);
}

