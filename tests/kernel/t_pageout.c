/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reclaim: what is taken, what is left alone, and that the machine lives on when nothing can be
 * taken.
 *
 * How much memory there is must not matter, so a test that needs little of it takes the rest away
 * first (hog_down_to()).  Where the order of events matters, the reclaim thread is frozen and the
 * test runs the scans itself.
 */
#include "kernel/clock.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"
#include "vm/vnode_pager.h"

#define SIGKILL		9
#define EVERYTHING	((size_t)vm_page_count)

/* ---- taking memory away ---- */

static struct vm_page *hogged;		/* wired pages without object, chained through pindex */

/* Take free pages until `left` are left, or none can be had. */
static void
hog_down_to(uint32_t left)
{
	while (vm_free_count() > left) {
		struct vm_page *m = vm_page_alloc(NULL, 0, VM_ALLOC_SYSTEM | VM_ALLOC_WIRED);

		if (m == NULL)
			return;
		m->pindex = hogged == NULL ? 0 : (vm_pindex_t)(hogged - vm_page_array) + 1;
		hogged = m;
	}
}

/* Give `pages` of them back, or all that there are. */
static void
hog_release(uint32_t pages)
{
	for (; hogged != NULL && pages > 0; pages--) {
		struct vm_page *m = hogged;

		hogged = m->pindex == 0 ? NULL : &vm_page_array[m->pindex - 1];
		vm_page_free(m);
	}
}

/* ---- files ---- */

static struct vnode *
open_or_skip(const char *path)
{
	struct vnode *vp;

	if (!testfiles_load()) {
		ktest_skip("the root volume has no /t/manifest");
		return (NULL);
	}
	(void)vm_object_cache_shrink(SIZE_MAX, true);
	vp = testfile_open(path);
	return (vp);
}

/*
 * One page of a file as a first read leaves it: resident, clean, unmapped, oldest of the inactive
 * ones.
 */
static struct vm_page *
read_page(struct vnode *vp, vm_pindex_t pindex)
{
	char byte;
	size_t done;

	CHECK_EQ(vn_read(vp, &byte, 1, IDX_TO_OFF(pindex), &done), 0);
	return (vt_page(vp->v_object, pindex));
}

/* ---- what is taken ---- */

KTEST(pageout, clean_file_pages_are_taken_and_come_back)
{
	struct vnode *vp = open_or_skip("/t/seq");
	uint64_t freed = VMCNT_GET(v_dfree), pagesin;
	uint32_t resident;

	if (vp == NULL)
		return;
	(void)testfile_read_verify(vp, "/t/seq", 0, 64 * PAGE_SIZE);
	resident = vp->v_object->resident_page_count;
	CHECK(resident >= 64);
	for (int i = 0; i < 3 && vp->v_object != NULL && vp->v_object->resident_page_count > 0; i++)
		(void)vm_pageout_scan(resident);
	CHECK(vp->v_object == NULL || vp->v_object->resident_page_count == 0);
	CHECK(VMCNT_GET(v_dfree) >= freed + 64);
	pagesin = VMCNT_GET(v_vnodepgsin);
	(void)testfile_read_verify(vp, "/t/seq", 0, 64 * PAGE_SIZE);
	CHECK(VMCNT_GET(v_vnodepgsin) >= pagesin + 64);
	vm_check();
	vrele(vp);
}

/* Of two inactive pages, the used one stays and the other goes, although it is the younger. */
KTEST(pageout, page_used_since_the_last_look_gets_a_second_chance)
{
	struct vnode *vp = open_or_skip("/t/seq");
	struct vm_page *used, *unused;

	if (vp == NULL)
		return;
	vm_pageout_freeze(true);
	used = read_page(vp, 0);
	unused = vt_page(vp->v_object, 1);
	CHECK(used != NULL && unused != NULL);
	CHECK(used->queue == PQ_INACTIVE && unused->queue == PQ_INACTIVE);
	/* The pages that came with them go first; keep all but these two out of it. */
	vm_object_lock(vp->v_object);
	vm_object_page_remove(vp->v_object, 2, ~0ul);
	vm_object_unlock(vp->v_object);
	vm_page_flag_clear(unused, PG_REFERENCED);
	vm_page_requeue(used);
	vm_page_requeue(unused);
	vm_page_reference(used);
	CHECK_EQ(vm_pageout_scan(1), 1);
	CHECK(vt_page(vp->v_object, 0) == used && vt_page(vp->v_object, 1) == NULL);
	CHECK_EQ(used->flags & PG_REFERENCED, 0);
	CHECK(used->queue != PQ_NONE);
	/* The next look finds it unused. */
	CHECK_EQ(vm_pageout_scan(1), 1);
	CHECK(vp->v_object == NULL || vt_page(vp->v_object, 0) == NULL);
	vm_pageout_freeze(false);
	vrele(vp);
}

/* Used between any two looks, a page becomes active and stays for as long as it is used. */
KTEST(pageout, page_in_steady_use_stays)
{
	struct vnode *vp = open_or_skip("/t/seq");
	struct vm_page *m;

	if (vp == NULL)
		return;
	vm_pageout_freeze(true);
	m = read_page(vp, 0);
	for (int look = 0; look < 10; look++) {
		vm_page_reference(m);
		/* Something else to take at each look. */
		(void)read_page(vp, 40 + look);
		(void)vm_pageout_scan(1);
		if (!CHECK(vt_page(vp->v_object, 0) == m))
			break;
	}
	CHECK_EQ(m->queue, PQ_ACTIVE);
	vm_pageout_freeze(false);
	vrele(vp);
}

/* The same by the hardware's bit, in a page table. */
KTEST(pageout, access_through_a_mapping_counts_as_use)
{
	struct vnode *vp = open_or_skip("/t/seq");
	struct vmspace *vm;
	vm_offset_t addr = AT(0);
	struct vm_page *m;

	if (vp == NULL)
		return;
	vm_pageout_freeze(true);
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	CHECK(get(vm, AT(0)) >= 0);
	m = mapped_page(vm, AT(0));
	CHECK(pmap_is_referenced(m));
	vm_object_lock(vp->v_object);
	vm_object_page_remove(vp->v_object, 1, ~0ul);
	vm_object_unlock(vp->v_object);
	(void)read_page(vp, 100);
	vm_page_deactivate(m);
	(void)vm_pageout_scan(1);	/* takes page 100 or one that came with it */
	CHECK(mapped_page(vm, AT(0)) == m);
	CHECK(!pmap_is_referenced(m));
	CHECK(vt_page(vp->v_object, 0) == m);
	for (int i = 0; i < 3; i++)
		(void)vm_pageout_scan(EVERYTHING);
	CHECK(mapped_page(vm, AT(0)) == NULL);		/* unmapped before it went */
	CHECK_EQ(vp->v_object->resident_page_count, 0);
	vm_pageout_freeze(false);
	CHECK(get(vm, AT(0)) >= 0);
	vm_check();
	vmspace_free(vm);
	vrele(vp);
}

/* ---- what is left alone ---- */

KTEST(pageout, dirty_anonymous_memory_is_never_taken)
{
	struct vmspace *vm = vmspace_alloc();

	map_anonymous(vm, 0, 64, MAP_PRIVATE);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(put(vm, AT(i) + 7, (uint8_t)(i + 1)), 0);
	for (int i = 0; i < 5; i++)
		(void)vm_pageout_scan(EVERYTHING);
	CHECK_EQ(object_at(vm, AT(0))->resident_page_count, 64);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(get(vm, AT(i) + 7), i + 1);
	vm_check();
	vmspace_free(vm);
}

/* P10: a page that only the page table knows to be modified is not called clean. */
KTEST(pageout, modified_bit_is_folded_before_a_page_is_called_clean)
{
	struct vmspace *vm = vmspace_alloc();
	struct vm_page *m;

	vm_pageout_freeze(true);
	map_anonymous(vm, 0, 1, MAP_PRIVATE);
	CHECK_EQ(get(vm, AT(0)), 0);
	CHECK_EQ(put(vm, AT(0), 0x3c), 0);
	m = mapped_page(vm, AT(0));
	CHECK_EQ(m->dirty, 0);
	(void)pmap_ts_referenced(m);
	vm_page_flag_clear(m, PG_REFERENCED);
	vm_page_deactivate(m);
	m->act_count = 0;
	(void)vm_pageout_scan(1);
	CHECK(vt_page(object_at(vm, AT(0)), 0) == m);
	CHECK_EQ(m->dirty, VM_PAGE_BITS_ALL);
	CHECK_EQ(get(vm, AT(0)), 0x3c);
	vm_pageout_freeze(false);
	vmspace_free(vm);
}

/* Memory that was only read holds zeros; it may go, and is zero again. */
KTEST(pageout, anonymous_pages_that_were_only_read_may_go)
{
	struct vmspace *vm = vmspace_alloc();

	map_anonymous(vm, 0, 16, MAP_PRIVATE);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(get(vm, AT(i)), 0);
	for (int i = 0; i < 4; i++)
		(void)vm_pageout_scan(EVERYTHING);
	CHECK_EQ(object_at(vm, AT(0))->resident_page_count, 0);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(get(vm, AT(i)), 0);
	vmspace_free(vm);
}

struct scan {
	size_t	pages, freed;
};

static void
scan_thread(void *arg)
{
	struct scan *s = arg;

	s->freed = vm_pageout_scan(s->pages);
}

/* Busy in either way, wired, or in an object that is locked: passed over, without waiting. */
KTEST(pageout, pages_in_use_are_passed_over)
{
	struct scan s = { .pages = EVERYTHING };
	struct vm_page *xbusy, *sbusy, *wired;
	struct vm_object *object;
	struct thread *td;
	struct vnode *vp = open_or_skip("/t/seq");

	if (vp == NULL)
		return;
	(void)testfile_read_verify(vp, "/t/seq", 0, 32 * PAGE_SIZE);
	/* A reference keeps the object out of the cache, which reclaim would empty. */
	object = vnode_pager_alloc(vp, vp->v_object->un_pager.vnp.vnp_size, RO, 0, curthread->cred);
	xbusy = vt_page(object, 1);
	sbusy = vt_page(object, 2);
	wired = vt_page(object, 3);
	vm_object_lock(object);
	vm_object_pip_add(object, 1);
	CHECK(vm_page_tryxbusy(xbusy) && vm_page_trysbusy(sbusy));
	vm_page_wire(wired);
	vm_object_unlock(object);
	for (int i = 0; i < 3; i++) {
		td = thread_create("t-scan", PRI_KERNEL, scan_thread, &s);
		thread_join(td);
	}
	CHECK_EQ(object->resident_page_count, 3);
	CHECK(vt_page(object, 1) == xbusy && vt_page(object, 2) == sbusy &&
	    vt_page(object, 3) == wired);
	vm_object_lock(object);
	vm_page_xunbusy(xbusy);
	vm_page_sunbusy(sbusy);
	vm_page_unwire(wired, PQ_INACTIVE);
	vm_object_pip_wakeup(object);
	vm_object_unlock(object);

	vm_object_rlock(object);
	td = thread_create("t-scan", PRI_KERNEL, scan_thread, &s);
	thread_join(td);
	CHECK_EQ(object->resident_page_count, 3);
	vm_object_unlock(object);
	for (int i = 0; i < 3; i++)
		(void)vm_pageout_scan(EVERYTHING);
	CHECK_EQ(object->resident_page_count, 0);
	vm_object_deallocate(object);
	vrele(vp);
}

/* ---- the thread ---- */

KTEST(pageout, thread_wakes_below_the_minimum_and_works_to_the_target)
{
	struct vnode *vp = open_or_skip("/t/seq4m");
	uint64_t wakeups, freed;
	struct vmspace *vm;

	if (vp == NULL)
		return;
	vm = vmspace_alloc();
	map_anonymous(vm, 0, 1, MAP_PRIVATE);
	/* Enough to take: the file's pages, or what of them there is room for. */
	(void)testfile_read_verify(vp, "/t/seq4m", 0, 4 * MiB);
	(void)testfile_read_verify(vp, "/t/seq4m", 0, 4 * MiB);
	vm_pageout_freeze(true);
	hog_down_to(vm_ladder.min + 1);
	wakeups = VMCNT_GET(v_pdwakeups);
	freed = VMCNT_GET(v_dfree);
	hog_down_to(vm_ladder.min - 1);
	CHECK_EQ(put(vm, AT(0), 1), 0);	/* whoever allocates while it is short wakes the thread */
	(void)tsleep(&wakeups, NULL, "ktest", 3);
	CHECK_EQ(VMCNT_GET(v_pdwakeups), wakeups);		/* but frozen is frozen */
	vm_pageout_freeze(false);
	VT_WAIT(vm_free_count() >= MIN(vm_ladder.target, vm_ladder.min + 900));
	CHECK(VMCNT_GET(v_pdwakeups) > wakeups);
	CHECK(VMCNT_GET(v_dfree) > freed);
	hog_release(vm_page_count);
	vm_check();
	vmspace_free(vm);
	vrele(vp);
}

struct waiter {
	int		ended_by;	/* 0: a wakeup; EWOULDBLOCK: the time-out */
};

static void
wait_thread(void *arg)
{
	struct waiter *w = arg;

	vm_wait();
	w->ended_by = curthread->wake_error;
}

/* The time-out is 10 ticks.  On a slow host many attempts may lose that race; not each of 200. */
KTEST(pageout, whoever_waits_for_memory_is_woken_by_a_free_page)
{
	struct waiter w = { .ended_by = EWOULDBLOCK };
	struct thread *td;

	vm_pageout_freeze(true);
	vm_wait();				/* plenty: returns at once */
	for (int i = 0; i < 200 && w.ended_by != 0 && !ktest_failed(); i++) {
		hog_down_to(vm_ladder.min - 2);
		td = thread_create("t-vmwait", PRI_PAGEOUT, wait_thread, &w);
		CHECK(wait_asleep(td, "vmwait"));
		hog_release(8 + KSTACK_PAGES);	/* the thread's own stack came out of what was left */
		thread_join(td);
	}
	CHECK_EQ(w.ended_by, 0);
	hog_release(vm_page_count);
	vm_pageout_freeze(false);
}

/* Nobody frees anything: the wait ends by its time-out, so that its caller can count. */
KTEST(pageout, wait_for_memory_is_bounded)
{
	struct waiter w = { 0 };
	struct thread *td;

	vm_pageout_freeze(true);
	hog_down_to(vm_ladder.min - 2);
	td = thread_create("t-vmwait", PRI_KERNEL, wait_thread, &w);
	thread_join(td);
	CHECK_EQ(w.ended_by, EWOULDBLOCK);
	hog_release(vm_page_count);
	vm_pageout_freeze(false);
}

/* ---- more than fits ---- */

/* Verify [0, len) of a file through a mapping. */
static void
verify_mapped(struct vnode *vp, const char *path, uint64_t len)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	static uint8_t buf[PAGE_SIZE];
	vm_offset_t addr = AT(0);

	CHECK_EQ(vm_mmap(vm, &addr, len, RO, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	for (uint64_t off = 0; off < len && !ktest_failed(); off += PAGE_SIZE)
		if (CHECK_EQ(copyin(addr + off, buf, PAGE_SIZE), 0))
			(void)testfile_verify(path, off, buf, PAGE_SIZE);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

KTEST(pageout, file_larger_than_memory_is_read_right_both_ways)
{
	struct vnode *vp = open_or_skip("/t/seq4m");
	uint64_t freed = VMCNT_GET(v_dfree);

	if (vp == NULL)
		return;
	hog_down_to(vm_ladder.min + 100);
	for (int round = 0; round < 2 && !ktest_failed(); round++) {
		verify_mapped(vp, "/t/seq4m", 4 * MiB);
		(void)testfile_read_verify(vp, "/t/seq4m", 0, 4 * MiB);
	}
	CHECK(VMCNT_GET(v_dfree) >= freed + 2000);
	hog_release(vm_page_count);
	vm_check();
	vrele(vp);
}

/* Torture: every page is taken as soon as it can be, and each access finds it gone. */
KTEST(pageout, file_is_read_right_when_nothing_stays)
{
	struct vnode *vp = open_or_skip("/t/seq");
	struct vmspace *vm, *former;
	static uint8_t buf[PAGE_SIZE];
	vm_offset_t addr = AT(0);
	uint64_t pageins;

	if (vp == NULL)
		return;
	vm = vmspace_alloc();
	former = thread_set_vmspace(vm);
	CHECK_EQ(vm_mmap(vm, &addr, 256 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, vp, 0), 0);
	pageins = VMCNT_GET(v_vnodein);
	for (int i = 0; i < 60 && !ktest_failed(); i++) {
		uint64_t off = ktest_random() % 255 * PAGE_SIZE + ktest_random() % PAGE_SIZE;

		if (CHECK_EQ(copyin(addr + off, buf, 512), 0))
			(void)testfile_verify("/t/seq", off, buf, 512);
		(void)vm_pageout_scan(EVERYTHING);
		(void)vm_pageout_scan(EVERYTHING);
		CHECK_EQ(vp->v_object->resident_page_count, 0);
	}
	CHECK(VMCNT_GET(v_vnodein) >= pageins + 60);
	(void)thread_set_vmspace(former);
	vm_check();
	vmspace_free(vm);
	vrele(vp);
}

/* ---- reclaim among busy threads ---- */

static volatile bool scan_done;

static void
scan_once(void *arg)
{
	(void)vm_pageout_scan((size_t)(uintptr_t)arg);
	scan_done = true;
}

/*
 * Reclaim finds nothing but pages of a locked object, whose holder computes, at a better priority
 * than a program's, and never sleeps.  It must come back by itself all the same.
 */
KTEST(pageout, scan_comes_back_beside_a_thread_that_never_sleeps)
{
	struct vnode *vp = open_or_skip("/t/seq");
	struct vm_object *object;
	struct thread *td;
	uint64_t start;

	if (vp == NULL)
		return;
	(void)testfile_read_verify(vp, "/t/seq", 0, 64 * PAGE_SIZE);
	CHECK_OR_RETURN((object = vnode_pager_object(vp)) != NULL);	/* not a cached one, to be killed */
	scan_done = false;
	vm_object_lock(object);
	td = thread_create("t-scan", PRI_PAGEOUT, scan_once, (void *)EVERYTHING);
	for (start = ticks; !scan_done && ticks - start < VT_PATIENCE;)
		cpu_pause();
	CHECK(scan_done);
	vm_object_unlock(object);
	thread_join(td);
	vm_object_deallocate(object);
	vrele(vp);
}

/* ---- reclaim without end ---- */

static volatile bool torturing;
static volatile uint64_t scans;

static void
torture_thread(void *arg)
{
	while (torturing) {
		(void)vm_pageout_scan(EVERYTHING);
		scans++;
		(void)tsleep(&scans, NULL, "t-rest", 1);
	}
}

/* One round of what programs do, with a fork in the middle; everything read must be right. */
static void
torture_round(struct vnode *vp, struct vmspace *vm, int round)
{
	static uint8_t buf[2 * PAGE_SIZE];
	struct vmspace *child;

	for (int i = 0; i < 10; i++) {
		vm_pindex_t page = ktest_random() % 255;
		struct vmspace *former = thread_set_vmspace(vm);

		if (CHECK_EQ(copyin(AT(page), buf, PAGE_SIZE), 0))
			(void)testfile_verify("/t/seq", IDX_TO_OFF(page), buf, PAGE_SIZE);
		(void)thread_set_vmspace(former);
		(void)testfile_read_verify(vp, "/t/seq", IDX_TO_OFF(page) + 100, PAGE_SIZE);
	}
	CHECK_EQ(put(vm, AT(300 + round % 16), (uint8_t)round), 0);
	child = vmspace_fork(vm);
	CHECK_EQ(put(child, AT(300 + round % 16), 0xff), 0);
	CHECK_EQ(put(child, AT(260), 0xee), 0);
	for (int i = 0; i < MIN(round, 15); i++)
		CHECK_EQ(get(child, AT(300 + (round - 1 - i) % 16)), (uint8_t)(round - 1 - i));
	CHECK_EQ(get(vm, AT(300 + round % 16)), (uint8_t)round);
	vmspace_free(child);
}

KTEST(pageout, programs_run_right_under_endless_reclaim)
{
	struct vnode *vp = open_or_skip("/t/seq");
	uint64_t freed = VMCNT_GET(v_dfree);
	vm_offset_t addr = AT(0);
	struct vmspace *vm;
	struct thread *td;

	if (vp == NULL)
		return;
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &addr, 256 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, vp, 0), 0);
	map_anonymous(vm, 256, 64, MAP_PRIVATE);
	scans = 0;
	torturing = true;
	td = thread_create("t-torture", PRI_PAGEOUT, torture_thread, NULL);
	/*
	 * On a busy host ticks are few: it is the scans that count.  Who scans long has been put into a worse class than
	 * ours, so it gets its turn only while we sleep.
	 */
	for (int round = 0; (round < 40 || scans < 10) && !ktest_failed(); round++) {
		torture_round(vp, vm, round);
		if (round >= 40)
			(void)tsleep(&torturing, NULL, "t-turn", 1);
	}
	torturing = false;
	thread_join(td);
	CHECK(scans >= 10);
	CHECK(VMCNT_GET(v_dfree) > freed + 100);
	vm_check();
	vmspace_free(vm);
	vrele(vp);
}

/* ---- other caches ---- */

KTEST(pageout, object_cache_buffers_and_idle_vnodes_shrink_under_pressure)
{
	struct vnode *vp = open_or_skip("/t/many"), *file;
	struct bio_stats before, after;
	char path[64], byte;
	size_t done;
	int vnodes;

	if (vp == NULL)
		return;
	vrele(vp);
	vm_pageout_freeze(true);
	for (int n = 0; n < 15; n++) {		/* entryNNN and NNN % 23 letters x */
		snprintf(path, sizeof(path), "/t/many/entry%03d%s", n,
		    &"xxxxxxxxxxxxxxxxxxxxxx"[22 - n]);
		if (!CHECK_EQ(namei(path, NULL, 0, &file), 0))
			break;
		if (n % 2 == 0)
			CHECK_EQ(vn_read(file, &byte, 1, 0, &done), 0);
		vrele(file);
	}
	CHECK_EQ(vm_object_cached_count(), 8);
	vnodes = vnode_count();
	bio_get_stats(&before);
	CHECK(before.bytes > 0);
	for (int i = 0; i < 20; i++)
		(void)vm_pageout_scan(EVERYTHING);
	bio_get_stats(&after);
	CHECK_EQ(vm_object_cached_count(), 0);
	CHECK(vnode_count() <= vnodes - 15);
	CHECK(after.bytes < before.bytes);
	vm_pageout_freeze(false);
}

/* ---- the end of memory ---- */

/* Store into one page after the other until it is refused.  Returns how many there were. */
static int
fill_memory(struct vmspace *vm, int max)
{
	struct vmspace *former = thread_set_vmspace(vm);
	int n;

	memset(&curthread->fault, 0, sizeof(curthread->fault));
	for (n = 0; n < max; n++) {
		uint64_t word = 0x1000000ul + n;

		if (copyout(&word, AT(n), sizeof(word)) != 0)
			break;
	}
	(void)thread_set_vmspace(former);
	return (n);
}

/*
 * Private memory until there is no more: the store that cannot be served fails with what a program
 * would be killed by, after a bounded wait; everything else is as it was, and all comes back.
 */
KTEST(pageout, end_of_memory_kills_the_fault_and_not_the_machine)
{
	uint32_t free[2];
	int filled[2];

	if (vm_page_count > 32 * MiB / PAGE_SIZE) {
		ktest_skip("takes too long with %lu MiB", vm_page_count * PAGE_SIZE / MiB);
		return;
	}
	for (int round = 0; round < 2; round++) {
		struct vmspace *vm = vmspace_alloc();
		uint64_t word = 0;

		map_anonymous(vm, 0, EVERYTHING, MAP_PRIVATE);
		filled[round] = fill_memory(vm, (int)vm_page_count);
		CHECK(filled[round] > 100 && filled[round] < (int)vm_page_count);
		CHECK_EQ(curthread->fault.signo, SIGKILL);
		CHECK_EQ(curthread->fault.addr, AT(filled[round]));
		CHECK(vm_free_count() <= vm_ladder.min);
		CHECK(vm_free_count() >= vm_ladder.interrupt_min);
		/* What it has, it keeps. */
		(void)thread_set_vmspace(vm);
		for (int n = 0; n < filled[round]; n += 37) {
			CHECK_EQ(copyin(AT(n), &word, sizeof(word)), 0);
			CHECK_EQ(word, 0x1000000ul + n);
		}
		(void)thread_set_vmspace(NULL);
		vm_check();
		vmspace_free(vm);
		kmem_reap();
		free[round] = vm_free_count();
	}
	CHECK_EQ(free[0], free[1]);
	CHECK(filled[1] >= filled[0] - 8);
}
