/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults on a real file while the disk takes its time (gatedisk.h): who waits for what, under which
 * name, and what else goes on.
 *
 *	fault --> "vnode"? --> "pbufin"? --> gate0: held ... released --> vda --> interrupt
 *	                                     sleeps in "vnread"                |
 *	                                                             page valid, all woken
 *	another fault on the page, or on one that comes along: "vmpfw"
 *	VOP_READ of it: "vmrdwt"
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "tests/kernel/gatedisk.h"
#include "tests/kernel/testfiles.h"
#include "tests/kernel/vmtest.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"

#define P	PAGE_SIZE
#define SEQ	"/t/seq"

/* A run of pages of a file of the second mount, mapped from its first page on, absent. */
struct stalled {
	struct vnode	*vp;
	struct vmspace	*vm;
	struct vm_object *object;
	vm_pindex_t	 first;
	size_t		 npages;
	vm_offset_t	 va;
};

static bool
stalled_open(struct stalled *s, size_t npages)
{
	if (!gate_open())
		return (false);
	s->vp = gate_file(SEQ);
	s->npages = npages;
	s->first = vt_find_run(s->vp, 0, 16, npages);	/* aligned as clusters are */
	KASSERT(s->first != VT_NO_RUN, "%s has no run of %lu pages", SEQ, npages);
	s->object = vt_object(s->vp);
	s->vm = vt_begin();
	s->va = vt_map_ro(s->vp, IDX_TO_OFF(s->first), npages * P);
	vt_no_readahead(s->va, npages * P);
	CHECK_EQ(s->object->resident_page_count, 0);
	gate_log_clear();
	return (true);
}

static void
stalled_close(struct stalled *s)
{
	vt_end();
	vm_object_deallocate(s->object);
	vrele(s->vp);
	gate_close();
}

/* Start a thread that touches a byte of the n-th page. */
static void
touch_page(struct stalled *s, struct vt_job *job, size_t n)
{
	*job = (struct vt_job){ .fn = vt_touch, .vm = s->vm, .va = s->va + n * P + n };
	vt_start(job, "faulter");
}

/* It must have loaded what the file has there. */
static void
check_touched(struct stalled *s, struct vt_job *job)
{
	uint64_t off = (uint64_t)IDX_TO_OFF(s->first) + (job->va - s->va);

	vt_finish(job);
	if (CHECK_EQ(job->error, 0))
		testfile_verify(SEQ, off, &job->value, 1);
}

/* ---- who waits ---- */

#define MANY	32

KTEST(pager, many_faulters_cause_one_disk_read)
{
	struct vt_job jobs[MANY] = { 0 };
	struct stalled s;

	if (!stalled_open(&s, 8))
		return;
	CHECK(vt_page(s.object, s.first + 3) == NULL);
	gate_hold(true);
	for (int i = 0; i < MANY; i++)
		touch_page(&s, &jobs[i], 3);
	VT_WAIT(vt_sleepers("vnread") == 1 && vt_sleepers("vmpfw") == MANY - 1);
	CHECK_EQ(gate_held(), 1);
	CHECK_EQ(pbuf_inuse(PBUF_IN), 1);
	gate_release_all();
	for (int i = 0; i < MANY; i++)
		check_touched(&s, &jobs[i]);
	CHECK_EQ(gate_requests(), 1);
	CHECK_EQ(gate_sectors(), P / DEV_BSIZE);
	stalled_close(&s);
}

static void
count_job(struct vt_job *job)
{
	volatile uint64_t *turns = job->arg;

	while (turns[1] == 0) {
		++*turns;
		thread_yield();
	}
}

KTEST(pager, others_run_meanwhile_and_the_interrupt_wakes_the_sleeper)
{
	volatile uint64_t turns[2] = { 0 };
	struct vt_job job, counter = { .fn = count_job, .arg = (void *)(uintptr_t)turns };
	struct stalled s;
	uint64_t seen;

	if (!stalled_open(&s, 8))
		return;
	gate_hold(true);
	touch_page(&s, &job, 2);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	vt_start(&counter, "counter");
	VT_WAIT(turns[0] > 100);
	seen = turns[0];
	VT_WAIT(turns[0] > seen + 100);
	CHECK(vt_sleeps(&job, "vnread"));
	CHECK(vm_page_xbusied(vt_page(s.object, s.first + 2)));
	CHECK_EQ(s.object->paging_in_progress, 1);
	CHECK_EQ(gate_log[0].tid, job.td->tid);
	gate_release_all();
	check_touched(&s, &job);
	turns[1] = 1;
	vt_finish(&counter);
	CHECK(gate_log[0].in_interrupt);
	CHECK_EQ(s.object->paging_in_progress, 0);
	stalled_close(&s);
}

KTEST(pager, other_pages_of_the_file_go_on_meanwhile)
{
	struct vt_job job;
	struct stalled s;

	if (!stalled_open(&s, 16))
		return;
	CHECK(vt_verify(SEQ, s.va + 9 * P, IDX_TO_OFF(s.first + 9), P));
	gate_hold(true);
	touch_page(&s, &job, 5);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	gate_hold(false);
	CHECK(vt_verify(SEQ, s.va + 9 * P, IDX_TO_OFF(s.first + 9), P));	/* resident */
	CHECK(vt_verify(SEQ, s.va + 4 * P, IDX_TO_OFF(s.first + 4), P));	/* absent */
	CHECK(vt_verify(SEQ, s.va + 6 * P, IDX_TO_OFF(s.first + 6), P));
	CHECK(testfile_read_verify(s.vp, SEQ, (uint64_t)IDX_TO_OFF(s.first + 11), P));
	CHECK(vt_sleeps(&job, "vnread"));
	CHECK_EQ(gate_held(), 1);
	gate_release(0);
	check_touched(&s, &job);
	stalled_close(&s);
}

KTEST(pager, requests_may_end_in_any_order)
{
	struct vt_job jobs[3];
	struct stalled s;
	unsigned n;

	if (!stalled_open(&s, 16))
		return;
	n = MIN(3, pbuf_total(PBUF_IN));
	gate_hold(true);
	for (unsigned i = 0; i < n; i++) {
		touch_page(&s, &jobs[i], 2 + 5 * i);
		VT_WAIT(vt_sleeps(&jobs[i], "vnread") && gate_held() == i + 1);
	}
	for (unsigned i = n; i-- > 0;) {
		gate_release(i);
		check_touched(&s, &jobs[i]);
		for (unsigned k = 0; k < i; k++)
			CHECK(vt_sleeps(&jobs[k], "vnread"));
	}
	CHECK_EQ(gate_requests(), n);
	stalled_close(&s);
}

KTEST(pager, a_page_that_comes_along_is_waited_for_not_read_again)
{
	struct vt_job first, second;
	struct stalled s;

	if (!stalled_open(&s, 16))
		return;
	CHECK_EQ(vm_map_advise(&s.vm->map, s.va, s.va + 16 * P, VM_ADV_NORMAL), KERN_SUCCESS);
	gate_hold(true);
	touch_page(&s, &first, 4);
	VT_WAIT(vt_sleeps(&first, "vnread"));
	CHECK_EQ(gate_log[0].bytes, 16 * P);
	touch_page(&s, &second, 11);
	VT_WAIT(vt_sleeps(&second, "vmpfw"));
	gate_release_all();
	check_touched(&s, &first);
	check_touched(&s, &second);
	CHECK_EQ(gate_requests(), 1);
	stalled_close(&s);
}

static void
read_job(struct vt_job *job)
{
	const struct stalled *s = job->arg;

	if (testfile_read_verify(s->vp, SEQ, (uint64_t)IDX_TO_OFF(s->first + 3), P))
		job->error = 0;
}

KTEST(pager, reading_waits_for_the_page_that_a_fault_brings)
{
	struct stalled s;
	struct vt_job job, reader = { .fn = read_job, .arg = &s };

	if (!stalled_open(&s, 8))
		return;
	gate_hold(true);
	touch_page(&s, &job, 3);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	vt_start(&reader, "reader");
	VT_WAIT(vt_sleeps(&reader, "vmrdwt"));
	gate_release_all();
	check_touched(&s, &job);
	vt_finish(&reader);
	CHECK_EQ(reader.error, 0);
	CHECK_EQ(gate_requests(), 1);
	stalled_close(&s);
}

/* Keep the file's vnode locked (value: it is) until told to let go (va). */
static void
lock_job(struct vt_job *job)
{
	VOP_LOCK(job->arg, LK_EXCLUSIVE);
	job->value = 1;
	while (job->va == 0)
		vt_pause();
	VOP_UNLOCK(job->arg);
}

/*
 * The vnode is locked: a fault that needs the disk waits for it, with the map unlocked; one that
 * does not need it goes on.
 */
KTEST(pager, a_locked_vnode_stops_only_who_needs_the_disk)
{
	struct vt_job locker, resident, absent;
	struct stalled s;
	vm_offset_t va;

	if (!stalled_open(&s, 8))
		return;
	CHECK(vt_verify(SEQ, s.va, IDX_TO_OFF(s.first), P));
	CHECK_EQ(gate_requests(), 1);
	pmap_remove(&s.vm->pmap, s.va, s.va + P);		/* so that touching it is a fault */
	locker = (struct vt_job){ .fn = lock_job, .arg = s.vp };
	vt_start(&locker, "locker");
	VT_WAIT(locker.value == 1);
	touch_page(&s, &resident, 0);
	check_touched(&s, &resident);
	touch_page(&s, &absent, 3);
	VT_WAIT(vt_sleeps(&absent, "vnode"));
	CHECK(vt_page(s.object, s.first + 3) == NULL);	/* it holds nothing meanwhile */
	CHECK_EQ(s.object->paging_in_progress, 0);
	va = vt_map_object(s.object, 0, 1, VM_PROT_READ, 0);
	CHECK_EQ(vm_munmap(s.vm, va, P), 0);
	CHECK(vt_sleeps(&absent, "vnode"));
	locker.va = 1;
	vt_finish(&locker);
	check_touched(&s, &absent);
	stalled_close(&s);
}

/* ---- what goes away meanwhile ---- */

KTEST(pager, unmapped_while_the_disk_reads)
{
	struct vt_job job;
	struct stalled s;

	if (!stalled_open(&s, 8))
		return;
	gate_hold(true);
	touch_page(&s, &job, 2);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	CHECK_EQ(vm_munmap(s.vm, s.va, s.npages * P), 0);
	CHECK(vt_sleeps(&job, "vnread"));
	gate_release_all();
	vt_finish(&job);
	CHECK_JOB_REFUSED(&job, VT_SIGSEGV, VT_MAPERR, job.va);
	CHECK(vt_resident(s.object, s.first + 2));
	stalled_close(&s);
}

KTEST(pager, another_file_mapped_there_while_the_disk_reads)
{
	vm_offset_t va;
	struct vnode *other;
	struct vt_job job;
	struct stalled s;
	uint8_t want;

	if (!stalled_open(&s, 8))
		return;
	other = gate_file("/t/odd");
	gate_hold(true);
	touch_page(&s, &job, 2);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	va = s.va;
	CHECK_EQ(vm_mmap(s.vm, &va, s.npages * P, VM_PROT_READ, MAP_SHARED | MAP_FIXED, other, 0),
	    0);
	gate_release_all();
	vt_finish(&job);
	CHECK_EQ(job.error, 0);
	testfile_expect("/t/odd", job.va - s.va, &want, 1);
	CHECK_EQ(job.value, want);
	CHECK(vt_resident(s.object, s.first + 2));
	vrele(other);
	stalled_close(&s);
}

KTEST(pager, address_space_goes_while_the_disk_reads)
{
	struct vt_job job;
	struct stalled s;

	if (!stalled_open(&s, 8))
		return;
	gate_hold(true);
	touch_page(&s, &job, 2);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	CHECK_EQ(vm_map_remove(&s.vm->map, s.vm->map.min, s.vm->map.max), KERN_SUCCESS);
	vt_end();
	/* The last reference, but for the fault's own hold: the object rests in the cache. */
	vm_object_deallocate(s.object);
	CHECK_EQ(s.object->ref_count, 0);
	CHECK(s.object->cached);
	gate_release_all();
	vt_finish(&job);
	CHECK_JOB_REFUSED(&job, VT_SIGSEGV, VT_MAPERR, job.va);
	vrele(s.vp);
	gate_close();
}

static void
unmap_job(struct vt_job *job)
{
	job->error = vm_munmap(job->vm, job->va, 8 * P);
}

/*
 * The object may not persist: its last unmap ends it, and waits for the fault that is in the disk.
 */
KTEST(pager, last_unmap_of_an_uncached_file_waits_for_the_disk)
{
	struct vt_job job, unmapper;
	struct stalled s;

	if (!stalled_open(&s, 8))
		return;
	pager_cache(s.object, false);
	gate_hold(true);
	touch_page(&s, &job, 2);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	unmapper = (struct vt_job){ .fn = unmap_job, .vm = s.vm, .va = s.va };
	vt_start(&unmapper, "unmapper");
	VT_WAIT(vt_sleeps(&unmapper, "vnode"));
	CHECK(s.vp->v_object == s.object);
	gate_release_all();
	vt_finish(&job);
	vt_finish(&unmapper);
	CHECK_JOB_REFUSED(&job, VT_SIGSEGV, VT_MAPERR, job.va);
	CHECK_EQ(unmapper.error, 0);
	CHECK(s.vp->v_object == NULL);
	vt_end();
	vrele(s.vp);
	gate_close();
}

KTEST(pager, unmount_is_refused_while_the_disk_reads)
{
	struct vt_job job;
	struct stalled s;

	if (!stalled_open(&s, 8))
		return;
	gate_hold(true);
	touch_page(&s, &job, 2);
	VT_WAIT(vt_sleeps(&job, "vnread"));
	CHECK_EQ(vfs_unmount(gate_mp), EBUSY);
	CHECK(vt_sleeps(&job, "vnread"));
	gate_release_all();
	check_touched(&s, &job);
	stalled_close(&s);
}

/* ---- errors ---- */

KTEST(pager, disk_error_wakes_all_and_each_gets_its_own)
{
	enum { N = 6 };
	struct vt_job jobs[N];
	struct stalled s;

	if (!stalled_open(&s, 8))
		return;
	gate_fail(vt_sector_of_page(s.vp, s.first + 3), P / DEV_BSIZE);
	gate_hold(true);
	for (size_t i = 0; i < N; i++) {
		jobs[i] = (struct vt_job){ .fn = vt_touch, .vm = s.vm, .va = s.va + 3 * P + i };
		vt_start(&jobs[i], "faulter");
	}
	VT_WAIT(vt_sleepers("vnread") == 1 && vt_sleepers("vmpfw") == N - 1);
	gate_release_all();
	for (size_t i = 0; i < N; i++) {
		vt_finish(&jobs[i]);
		CHECK_JOB_REFUSED(&jobs[i], VT_SIGBUS, VT_ADRERR, s.va + 3 * P + i);
	}
	CHECK_EQ(gate_requests(), N);
	CHECK(vt_page(s.object, s.first + 3) == NULL);
	gate_fail_none();			/* and nothing remembers it */
	CHECK(vt_verify(SEQ, s.va + 3 * P, IDX_TO_OFF(s.first + 3), P));
	CHECK_EQ(gate_requests(), N + 1);
	stalled_close(&s);
}

KTEST(pager, error_in_a_page_that_comes_along_is_not_mine)
{
	struct vmmeter before;
	struct stalled s;

	if (!stalled_open(&s, 16))
		return;
	CHECK_EQ(vm_map_advise(&s.vm->map, s.va, s.va + 16 * P, VM_ADV_NORMAL), KERN_SUCCESS);
	gate_fail(vt_sector_of_page(s.vp, s.first + 9) + 3, 1);
	before = vm_meter_sum();
	CHECK(vt_verify(SEQ, s.va + 4 * P, IDX_TO_OFF(s.first + 4), P));
	CHECK_EQ(VMCNT_GET(v_vnoderetry) - before.v_vnoderetry, 1);
	CHECK_EQ(gate_requests(), 2);
	CHECK_EQ(gate_log[0].bytes, 16 * P);
	CHECK_EQ(gate_log[1].bytes, P);
	CHECK_EQ(s.object->resident_page_count, 1);
	CHECK_SIGBUS(s.va + 9 * P + 77);
	CHECK(vt_verify(SEQ, s.va + 10 * P, IDX_TO_OFF(s.first + 10), P));
	gate_fail_none();
	CHECK(vt_verify(SEQ, s.va, IDX_TO_OFF(s.first), 16 * P));
	stalled_close(&s);
}

#define BAD_AT		29	/* the page with the bad sector */
#define WHOLE		(BAD_AT + 19)

/*
 * Whoever reads up to a bad sector, and on behind it, pays for it with a few requests, not with two for each page;
 * and once it can be read, it is a page like the others.
 */
KTEST_COUNTING(pager, bad_sector_costs_a_reader_few_requests)
{
	struct stalled s;
	unsigned before;

	if (!stalled_open(&s, WHOLE))
		return;
	CHECK_EQ(vm_map_advise(&s.vm->map, s.va, s.va + WHOLE * P, VM_ADV_NORMAL), KERN_SUCCESS);
	gate_fail(vt_sector_of_page(s.vp, s.first + BAD_AT) + 3, 1);
	for (vm_pindex_t i = 0; i < BAD_AT; i++)
		CHECK(vt_verify_sparsely(SEQ, s.va + i * P, IDX_TO_OFF(s.first + i), P));
	/* Clusters up to there, one that fails, the page alone, and each time half of the rest. */
	CHECK(gate_requests() >= 4 && gate_requests() <= 12);
	CHECK_SIGBUS(s.va + BAD_AT * P + 77);
	before = gate_requests();
	for (vm_pindex_t i = BAD_AT + 1; i < WHOLE; i++)
		CHECK(vt_verify_sparsely(SEQ, s.va + i * P, IDX_TO_OFF(s.first + i), P));
	CHECK(gate_requests() - before <= 3);
	CHECK_SIGBUS(s.va + BAD_AT * P);
	gate_fail_none();
	CHECK(vt_verify(SEQ, s.va, IDX_TO_OFF(s.first), WHOLE * P));
	vt_evict(s.object, s.first, s.first + WHOLE);
	before = gate_requests();
	CHECK(vt_verify(SEQ, s.va, IDX_TO_OFF(s.first), WHOLE * P));
	CHECK(gate_requests() - before <= 5);
	stalled_close(&s);
}

/*
 * Everything fails, so the pointer block cannot be read: that is an error, not a hole, and not
 * remembered either.
 */
KTEST(pager, unreadable_pointer_block_is_no_hole)
{
	struct vnode *vp;
	vm_pindex_t direct;
	vm_offset_t va;
	uint64_t size;

	if (!gate_open())
		return;
	vp = gate_file("/t/frag");
	direct = 12ul * gate_mp->mnt_stat.f_iosize / P;
	CHECK_EQ(vn_size(vp, &size), 0);
	CHECK(size > (direct + 1) * P);
	vt_begin();
	va = vt_map_ro(vp, 0, size);
	vt_no_readahead(va, size);
	binval(gate_mp->mnt_devvp);
	gate_log_clear();
	gate_fail(0, gate_mp->mnt_devvp->v_disk->dk_nsectors);
	CHECK_SIGBUS(va + direct * P + 13);
	CHECK_EQ(gate_requests(), 0);		/* none by a pager: metadata failed */
	CHECK(vt_page(vp->v_object, direct) == NULL);
	gate_fail_none();
	CHECK(vt_verify("/t/frag", va + direct * P, (off_t)(direct * P), P));
	vt_end();
	vrele(vp);
	gate_close();
}

/* ---- scarcity ---- */

KTEST(pager, faults_wait_for_a_pager_buffer_and_then_finish)
{
	enum { EXTRA = 4, MOST = 16 + EXTRA };
	int total = pbuf_total(PBUF_IN), n = total + EXTRA;
	struct vt_job jobs[MOST];
	struct stalled s;

	CHECK_OR_RETURN(n <= MOST);
	if (!stalled_open(&s, 2 * MOST))
		return;
	gate_hold(true);
	for (int i = 0; i < n; i++)
		touch_page(&s, &jobs[i], 2 * (size_t)i);
	VT_WAIT(vt_sleepers("vnread") == total && vt_sleepers("pbufin") == EXTRA);
	CHECK_EQ(pbuf_inuse(PBUF_IN), total);
	CHECK_EQ(gate_held(), total);
	gate_release(0);			/* each that ends lets one in */
	VT_WAIT(vt_sleepers("pbufin") == EXTRA - 1 && gate_held() == (unsigned)total);
	CHECK_EQ(pbuf_inuse(PBUF_IN), total);
	gate_release_all();
	for (int i = 0; i < n; i++)
		check_touched(&s, &jobs[i]);
	CHECK_EQ(gate_requests(), n);
	CHECK_EQ(pbuf_inuse(PBUF_IN), 0);
	stalled_close(&s);
}

#define WALKERS	4

#define WALK	(4 * MiB / WALKERS)

/* Walk through a quarter of the file; arg: where it begins. */
static void
walk_job(struct vt_job *job)
{
	if (vt_verify_sparsely("/t/seq4m", job->va, (off_t)(uintptr_t)job->arg, WALK))
		job->error = 0;
}

/* The disk ends one request a tick, until arg says stop. */
static void
drip_job(struct vt_job *job)
{
	const volatile bool *stop = job->arg;

	while (!*stop) {
		if (gate_held() > 0)
			gate_release(0);
		vt_pause();
	}
}

KTEST(pager, slow_disk_and_little_memory)
{
	struct vt_job jobs[WALKERS], drip;
	volatile bool stop = false;
	struct vmmeter before = vm_meter_sum();
	struct vmspace *vm;
	struct vnode *vp;
	vm_offset_t va;

	if (!gate_open())
		return;
	vp = gate_file("/t/seq4m");
	vm = vt_begin();
	va = vt_map_ro(vp, 0, 4 * MiB);
	vt_ballast_take(vm_ladder.min + 160);
	gate_hold(true);
	drip = (struct vt_job){ .fn = drip_job, .arg = (void *)(uintptr_t)&stop };
	vt_start(&drip, "slow disk");
	for (size_t i = 0; i < WALKERS; i++) {
		jobs[i] = (struct vt_job){ .fn = walk_job, .vm = vm, .va = va + i * WALK,
		    .arg = (void *)(i * WALK) };
		vt_start(&jobs[i], "walker");
	}
	for (int i = 0; i < WALKERS; i++) {
		vt_finish(&jobs[i]);
		CHECK_EQ(jobs[i].error, 0);
	}
	stop = true;
	vt_finish(&drip);
	CHECK(VMCNT_GET(v_dfree) > before.v_dfree);
	CHECK(gate_requests() >= 4 * MiB / MAXPHYS);
	gate_release_all();
	vt_ballast_drop();
	vt_end();
	vrele(vp);
	gate_close();
}
