/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager: the ways a page comes in, pages that are valid in part, credentials, and one
 * object for each vnode.
 *
 *	path		taken by				counter
 *	clustered	ext2, a page in one run of blocks	v_vnodein
 *	smlfs		ext2, a page in pieces or half valid	v_vnodesmlfs
 *	old		stackfs, which has no VOP_BMAP		v_vnodeold
 *	override	memfs, by its own VOP_GETPAGES		memfs_calls
 *
 * What needs a disk that stalls is in t_gate.c, and what ext2 files look like through a mapping in
 * t_vnpager.c.
 */
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/gatedisk.h"
#include "tests/kernel/memfs.h"
#include "tests/kernel/stackfs.h"
#include "tests/kernel/testfiles.h"
#include "tests/kernel/vmtest.h"
#include "vm/vm_pager.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_TPAGER, "pager tests");

#define P	PAGE_SIZE
/* Of 512 bytes.  A device may have larger ones; what is valid of a page is whole ones of those. */
#define SECTORS	(PAGE_SIZE / DEV_BSIZE)
#define ODD	"/t/odd"		/* three pages and 1234 bytes */
#define ODD_PAGES 4

/* A page of the file can be valid in part; if not, the test is skipped. */
static bool
can_be_partly_valid(struct vnode *vp)
{
	if (vt_device_sector(vp) < P)
		return (true);
	ktest_skip("a page is no more than one sector of this disk");
	return (false);
}

/* The bits in a page's masks of the device's sectors that `sectors` has: bit 0 is the first one. */
static uint8_t
sector_bits(struct vnode *vp, uint8_t sectors)
{
	size_t len = vt_device_sector(vp);
	uint8_t bits = 0;

	for (size_t s = 0; s < P / len; s++)
		if (sectors & (1u << s))
			bits |= vm_page_bits(s * len, len);
	return (bits);
}

/*
 * Put a page there by hand, valid in these sectors only, where it holds the file's bytes or, if
 * `byte` >= 0, that byte.
 */
static void
plant(struct vm_object *object, const char *path, vm_pindex_t pindex, uint8_t valid, uint8_t dirty,
    int byte)
{
	struct vm_page *m;
	uint8_t *data;

	vm_object_lock(object);
	m = vm_page_alloc(object, pindex, VM_ALLOC_NORMAL);
	vm_object_unlock(object);
	CHECK_OR_RETURN(m != NULL);
	data = VM_PAGE_TO_DMAP(m);
	memset(data, 0xa5, P);
	vm_page_flag_clear(m, PG_ZERO);
	for (size_t s = 0; s < SECTORS; s++) {
		if ((valid & (1u << s)) == 0)
			continue;
		if (byte >= 0)
			memset(data + s * DEV_BSIZE, byte, DEV_BSIZE);
		else
			testfile_expect(path, (uint64_t)IDX_TO_OFF(pindex) + s * DEV_BSIZE,
			    data + s * DEV_BSIZE, DEV_BSIZE);
	}
	m->valid = valid;
	m->dirty = dirty;
	vm_object_lock(object);
	vm_page_activate(m);
	vm_page_xunbusy(m);
	vm_object_unlock(object);
}

/* ---- four ways in ---- */

/* Map all of a file and compare it, its last page's tail included. */
static void
map_and_compare(struct vnode *vp, const uint8_t *want)
{
	vm_offset_t va = vt_map_ro(vp, 0, ODD_PAGES * P);

	CHECK_OR_RETURN(va != 0);
	for (size_t i = 0; i < ODD_PAGES * P; i++) {
		uint8_t got = vt_load(va + i);

		if (got != want[i]) {
			ktest_fail(__FILE__, __LINE__, "%s: byte %lu is 0x%02x, must be 0x%02x",
			    vp->v_op->name, i, got, want[i]);
			break;
		}
	}
	CHECK_EQ(vm_munmap(curthread->vmspace, va, ODD_PAGES * P), 0);
}

/* The same through VOP_READ. */
static void
read_and_compare(struct vnode *vp, const uint8_t *want, size_t size)
{
	uint8_t *got = kmalloc(ODD_PAGES * P, &M_TPAGER, M_WAITOK);
	size_t done = 0;

	CHECK_EQ(vn_read(vp, got, ODD_PAGES * P, 0, &done), 0);
	CHECK_EQ(done, size);
	CHECK_EQ(memcmp(got, want, size), 0);
	kfree(got, &M_TPAGER);
}

static void
through_ext2(struct vnode *vp, const uint8_t *want, size_t size)
{
	struct vm_object *object = vt_object(vp);
	struct vmmeter before;

	vt_evict(object, 0, ODD_PAGES);
	CHECK(vt_sector_of_page(vp, 0) > 0);
	before = vm_meter_sum();
	map_and_compare(vp, want);
	CHECK_EQ(VMCNT_GET(v_vnodepgsin) - before.v_vnodepgsin, ODD_PAGES);
	CHECK_EQ(VMCNT_GET(v_vnodesmlfs) - before.v_vnodesmlfs, 0);
	CHECK_EQ(VMCNT_GET(v_vnodeold) - before.v_vnodeold, 0);

	if (vt_device_sector(vp) < P) {
		vt_evict(object, 0, ODD_PAGES);
		for (vm_pindex_t i = 0; i < ODD_PAGES; i++)
			plant(object, ODD, i, sector_bits(vp, 0x02), 0, -1);
		before = vm_meter_sum();
		map_and_compare(vp, want);
		CHECK_EQ(VMCNT_GET(v_vnodesmlfs) - before.v_vnodesmlfs, ODD_PAGES);
		CHECK_EQ(VMCNT_GET(v_vnodepgsin) - before.v_vnodepgsin, ODD_PAGES);
	}

	vt_evict(object, 0, ODD_PAGES);
	read_and_compare(vp, want, size);
	vm_object_deallocate(object);
}

static void
through_stackfs(const uint8_t *want, size_t size)
{
	struct mount *mp = stackfs_mount();
	struct vmmeter before = vm_meter_sum();
	struct vnode *vp;

	CHECK_OR_RETURN(mp != NULL);
	vp = stackfs_file(mp, ODD);
	if (vp != NULL) {
		map_and_compare(vp, want);
		CHECK_EQ(VMCNT_GET(v_vnodeold) - before.v_vnodeold, ODD_PAGES);
		CHECK_EQ(stackfs_reads, ODD_PAGES);
		read_and_compare(vp, want, size);
		vrele(vp);
	}
	stackfs_unmount(mp);
}

static void
through_memfs(const uint8_t *want, size_t size)
{
	struct mount *mp = memfs_mount();
	struct vmmeter before = vm_meter_sum();
	struct vnode *vp;

	CHECK_OR_RETURN(mp != NULL);
	memfs_create(mp, ODD, size);
	vp = memfs_file(mp, "odd");
	if (vp != NULL) {
		map_and_compare(vp, want);
		CHECK(memfs_calls.calls > 0);
		CHECK_EQ(memfs_calls.pages, ODD_PAGES);
		CHECK_EQ(VMCNT_GET(v_vnodein) - before.v_vnodein, 0);
		vt_evict_file(vp);
		read_and_compare(vp, want, size);
		CHECK_EQ(memfs_calls.pages, 2 * ODD_PAGES);
		vrele(vp);
	}
	memfs_unmount(mp);
}

KTEST_COUNTING(pager, the_same_bytes_through_all_four_paths)
{
	struct vnode *vp;
	uint64_t size;
	uint8_t *want;

	TESTFILES_OR_SKIP();
	vp = testfile_open(ODD);
	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(vn_size(vp, &size), 0);
	want = kmalloc(ODD_PAGES * P, &M_TPAGER, M_WAITOK);
	testfile_expect(ODD, 0, want, ODD_PAGES * P);
	CHECK_EQ(want[size], 0);
	CHECK(want[size - 1] != 0 || want[size - 2] != 0);
	vt_begin();
	through_ext2(vp, want, size);
	through_stackfs(want, size);
	through_memfs(want, size);
	vt_end();
	kfree(want, &M_TPAGER);
	vrele(vp);
}

/* ---- VOP_READ as a pager: stackfs ---- */

/* A file of stackfs, mapped, for tests that tell its VOP_READ how to end. */
struct stacked {
	struct mount	*mp;
	struct vnode	*vp;
	vm_offset_t	 va;
};

static bool
stacked_open(struct stacked *s)
{
	if (!testfiles_load()) {
		ktest_skip("the root volume has no /t/manifest");
		return (false);
	}
	s->mp = stackfs_mount();
	if (s->mp == NULL)
		return (false);
	s->vp = stackfs_file(s->mp, ODD);
	vt_begin();
	s->va = vt_map_ro(s->vp, 0, 8 * P);
	CHECK(s->vp->v_object != NULL);
	CHECK_EQ(s->vp->v_object->resident_page_count, 0);
	return (true);
}

static void
stacked_close(struct stacked *s)
{
	vt_end();
	vrele(s->vp);
	stackfs_unmount(s->mp);
}

KTEST_COUNTING(pager, old_path_has_its_own_pages)
{
	struct vm_object *lower;
	struct vnode *vp;
	struct stacked s;

	if (!stacked_open(&s))
		return;
	vp = testfile_open(ODD);
	CHECK_OR_RETURN(vp != NULL);
	vt_evict_file(vp);
	CHECK(vt_verify(ODD, s.va, 0, ODD_PAGES * P));
	lower = vt_object(vp);
	CHECK(lower != s.vp->v_object);
	CHECK(vt_resident(lower, 1));
	CHECK(vt_resident(s.vp->v_object, 1));
	CHECK(vt_page(lower, 1) != vt_page(s.vp->v_object, 1));
	CHECK_SIGBUS(s.va + ODD_PAGES * P);		/* past EOF */
	CHECK_EQ(stackfs_reads, ODD_PAGES);
	vm_object_deallocate(lower);
	vrele(vp);
	stacked_close(&s);
}

KTEST(pager, old_path_passes_errors_on_and_forgets_them)
{
	struct stacked s;

	if (!stacked_open(&s))
		return;
	stackfs_error = EIO;
	stackfs_error_times = 2;
	CHECK_SIGBUS(s.va + P + 5);
	CHECK_SIGBUS(s.va + P + 6);
	CHECK(vt_page(s.vp->v_object, 1) == NULL);
	CHECK(vt_verify(ODD, s.va, 0, ODD_PAGES * P));
	CHECK_EQ(stackfs_reads, 2 + ODD_PAGES);
	stacked_close(&s);
}

KTEST(pager, old_path_is_not_content_with_nothing)
{
	struct stacked s;

	if (!stacked_open(&s))
		return;
	stackfs_error = 0;			/* "done", but not a byte */
	stackfs_error_times = 1;
	CHECK_SIGBUS(s.va + 2 * P);
	CHECK(vt_verify(ODD, s.va, 0, ODD_PAGES * P));
	stacked_close(&s);
}

/* EAGAIN of VOP_READ says that memory was short, not that the bytes cannot be had. */
KTEST(pager, old_path_tries_again_when_memory_was_short)
{
	struct stacked s;

	if (!stacked_open(&s))
		return;
	stackfs_error = EAGAIN;
	stackfs_error_times = 3;
	CHECK_EQ(vt_try_load(s.va + 2 * P, &(uint8_t){ 0 }), 0);
	CHECK_EQ(stackfs_reads, 4);
	CHECK(vt_verify(ODD, s.va, 0, ODD_PAGES * P));
	stacked_close(&s);
}

/* ---- VOP_GETPAGES: memfs ---- */

KTEST_COUNTING(pager, override_is_offered_the_neighbours)
{
	struct mount *mp = memfs_mount();
	struct vm_object *object;
	struct vnode *vp;
	vm_offset_t va;

	CHECK_OR_RETURN(mp != NULL);
	memfs_create(mp, "/m/file", 12 * P + 77);
	vp = memfs_file(mp, "file");
	vt_begin();
	va = vt_map_ro(vp, 0, 16 * P);
	object = vp->v_object;
	CHECK_EQ(object->resident_page_count, 0);
	(void)vt_load(va + 5 * P);
	CHECK_EQ(memfs_calls.calls, 1);
	CHECK_EQ(memfs_calls.first, 0);
	CHECK_EQ(memfs_calls.count, 13);
	CHECK_EQ(memfs_calls.reqpage, 5);
	CHECK_EQ(object->resident_page_count, 13);
	for (size_t off = 0; off < 13 * P; off += 61) {
		uint8_t want = 0;

		if (off < 12 * P + 77)
			testfile_pattern("/m/file", off, &want, 1);
		CHECK_EQ(vt_load(va + off), want);
	}
	CHECK_EQ(memfs_calls.calls, 1);
	CHECK_SIGBUS(va + 13 * P);
	vt_end();
	vrele(vp);
	memfs_unmount(mp);
}

KTEST_COUNTING(pager, override_may_fail)
{
	struct mount *mp = memfs_mount();
	struct vnode *vp;
	vm_offset_t va;

	CHECK_OR_RETURN(mp != NULL);
	memfs_create(mp, "/m/file", 12 * P);
	vp = memfs_file(mp, "file");
	vt_begin();
	va = vt_map_ro(vp, 0, 12 * P);
	memfs_result = VM_PAGER_ERROR;
	memfs_result_times = 1;
	CHECK_SIGBUS(va + 3 * P + 9);
	CHECK_EQ(memfs_calls.count, 12);
	CHECK_EQ(vp->v_object->resident_page_count, 0);
	CHECK_EQ(vp->v_object->paging_in_progress, 0);
	(void)vt_load(va + 3 * P + 9);
	CHECK(memfs_calls.count > 1);
	CHECK_EQ(vp->v_object->resident_page_count, memfs_calls.count);
	vt_end();
	vrele(vp);
	memfs_unmount(mp);
}

/* ---- pages that are valid in part ---- */

/* Fault on a planted page of /t/seq and watch which sectors are read.  The masks: of the device's. */
static void
complete_in(struct vnode *vp, uint8_t valid, uint8_t dirty)
{
	struct vm_object *object;
	struct vm_page *m;
	vm_offset_t va;
	daddr_t base;
	vm_pindex_t p;
	unsigned n = 0;

	valid = sector_bits(vp, valid);
	dirty = sector_bits(vp, dirty);
	CHECK_OR_RETURN(valid != 0 && valid != VM_PAGE_BITS_ALL);
	p = vt_find_run(vp, 8, 1, 1);
	CHECK_OR_RETURN(p != VT_NO_RUN);
	base = vt_sector_of_page(vp, p);
	object = vt_object(vp);
	vt_begin();
	va = vt_map_ro(vp, IDX_TO_OFF(p), P);
	CHECK(vt_page(object, p) == NULL);
	plant(object, "/t/seq", p, valid, dirty, 0xee);
	m = vt_page(object, p);
	gate_log_clear();
	for (size_t s = 0; s < SECTORS; s++) {
		uint8_t want = 0xee, got = vt_load(va + s * DEV_BSIZE + 5);

		if ((valid & (1u << s)) == 0)
			testfile_expect("/t/seq", (uint64_t)IDX_TO_OFF(p) + s * DEV_BSIZE + 5,
			    &want, 1);
		CHECK_EQ(got, want);
	}
	CHECK(vt_page(object, p) == m);
	CHECK_EQ(m->valid, VM_PAGE_BITS_ALL);
	CHECK_EQ(m->dirty, dirty);
	/* One request for each run of sectors that were missing. */
	for (size_t s = 0, end; s < SECTORS; s = end) {
		for (end = s + 1; end < SECTORS && !(valid >> end & 1) == !(valid >> s & 1); end++)
			continue;
		if ((valid >> s & 1) != 0)
			continue;
		CHECK_EQ(gate_log[n].blkno, base + (daddr_t)s);
		CHECK_EQ(gate_log[n].bytes, (end - s) * DEV_BSIZE);
		n++;
	}
	CHECK_EQ(gate_requests(), n);
	vt_end();
	m->dirty = 0;			/* as if it had been written out */
	vm_object_deallocate(object);
}

static void
complete(uint8_t valid, uint8_t dirty)
{
	struct vnode *vp;

	if (!gate_open())
		return;
	vp = gate_file("/t/seq");
	if (can_be_partly_valid(vp))
		complete_in(vp, valid, dirty);
	vrele(vp);
	gate_close();
}

KTEST(pager, only_the_missing_sectors_are_read)
{
	complete(0x46, 0);		/* 1, 2 and 6 are there */
}

KTEST(pager, dirty_sectors_survive_a_page_in)
{
	complete(0x81, 0x01);
}

KTEST(pager, partly_valid_last_page_ends_in_zeros)
{
	struct vm_object *object;
	struct vmmeter before;
	struct vnode *vp;
	vm_offset_t va;

	TESTFILES_OR_SKIP();
	vp = testfile_open(ODD);
	CHECK_OR_RETURN(vp != NULL);
	if (!can_be_partly_valid(vp)) {
		vrele(vp);
		return;
	}
	object = vt_object(vp);
	vt_evict(object, 0, ODD_PAGES);
	plant(object, ODD, 3, sector_bits(vp, 0x01), 0, -1);	/* of 1234 bytes */
	vt_begin();
	va = vt_map_ro(vp, 0, ODD_PAGES * P);
	before = vm_meter_sum();
	CHECK(vt_verify(ODD, va + 3 * P, 3 * P, P));
	CHECK_EQ(VMCNT_GET(v_vnodesmlfs) - before.v_vnodesmlfs, 1);
	vt_end();
	vm_object_deallocate(object);
	vrele(vp);
}

/* A sector behind the valid one cannot be read, then it can. */
static void
complete_from_bad_disk(struct vnode *vp)
{
	struct vm_object *object = vt_object(vp);
	size_t there = vt_device_sector(vp);	/* valid bytes */
	uint8_t valid = sector_bits(vp, 0x01);
	struct vm_page *m;
	vm_offset_t va;

	plant(object, ODD, 1, valid, 0, 0xee);
	m = vt_page(object, 1);
	vt_begin();
	va = vt_map_ro(vp, 0, ODD_PAGES * P);
	gate_fail(vt_sector_of_page(vp, 1) + 4, 1);
	CHECK_SIGBUS(va + P);
	CHECK(vt_page(object, 1) == m);
	CHECK_EQ(m->valid & valid, valid);
	CHECK(m->valid != VM_PAGE_BITS_ALL);
	gate_fail_none();
	CHECK_EQ(vt_load(va + P), 0xee);
	CHECK(vt_verify(ODD, va + P + there, (off_t)(P + there), P - there));
	vt_end();
	vm_object_deallocate(object);
}

KTEST(pager, partly_valid_page_keeps_its_sectors_when_the_disk_fails)
{
	struct vnode *vp;

	if (!gate_open())
		return;
	vp = gate_file(ODD);
	if (can_be_partly_valid(vp))
		complete_from_bad_disk(vp);
	vrele(vp);
	gate_close();
}

/* ---- credentials ---- */

KTEST(pager, reads_carry_the_credential_of_the_mapping_thread)
{
	struct ucred *mapper = cred_create(1000, 1000), *faulter = cred_create(2000, 2000),
	    *mine = curthread->cred;
	struct vmspace *vm;
	struct vt_job job;
	struct vnode *vp;

	if (!gate_open()) {
		crfree(mapper);
		crfree(faulter);
		return;
	}
	vp = gate_file("/t/seq");
	vm = vt_begin();
	CHECK(vp->v_object == NULL);
	curthread->cred = mapper;
	job = (struct vt_job){ .fn = vt_touch, .vm = vm, .va = vt_map_ro(vp, 0, 64 * P),
	    .cred = faulter };
	curthread->cred = mine;
	vt_no_readahead(job.va, 64 * P);
	CHECK(vp->v_object->un_pager.vnp.vnp_cred == mapper);
	gate_log_clear();
	vt_start(&job, "faulter");
	vt_finish(&job);
	CHECK_EQ(job.error, 0);
	CHECK(gate_requests() > 0);
	CHECK(gate_log[0].rcred == mapper);
	gate_log_clear();			/* and so does a read by the kernel itself */
	CHECK(testfile_read_verify(vp, "/t/seq", 100 * P, P));
	CHECK(gate_requests() > 0);
	CHECK(gate_log[0].rcred == mapper);
	vt_end();
	vrele(vp);
	gate_close();
	CHECK_EQ(mapper->refs, 1);
	CHECK_EQ(faulter->refs, 1);
	crfree(mapper);
	crfree(faulter);
}

/* ---- one object for each vnode ---- */

#define ALLOCATORS	6

static void
allocate_job(struct vt_job *job)
{
	struct vnode *vp = job->arg;

	job->arg = vnode_pager_alloc(vp, PAGE_SIZE + 1, VM_PROT_READ, 0, NOCRED);
}

KTEST(pager, threads_that_make_the_object_at_once_get_the_same)
{
	struct vt_job jobs[ALLOCATORS] = { 0 };
	struct vm_object *object;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/page1");
	CHECK_OR_RETURN(vp != NULL);
	CHECK(vp->v_object == NULL);
	/* As if somebody were in the middle of making it. */
	spin_lock(&vnode_list_lock);
	vp->v_flag |= VOLOCK;
	spin_unlock(&vnode_list_lock);
	for (int i = 0; i < ALLOCATORS; i++) {
		jobs[i] = (struct vt_job){ .fn = allocate_job, .arg = vp };
		vt_start(&jobs[i], "allocator");
	}
	VT_WAIT(vt_sleepers("vnpobj") == ALLOCATORS);
	CHECK(vp->v_flag & VOWANT);
	spin_lock(&vnode_list_lock);
	vp->v_flag &= ~(VOLOCK | VOWANT);
	wakeup(&vp->v_object);
	spin_unlock(&vnode_list_lock);
	for (int i = 0; i < ALLOCATORS; i++)
		vt_finish(&jobs[i]);
	object = vp->v_object;
	CHECK_OR_RETURN(object != NULL);
	for (int i = 0; i < ALLOCATORS; i++)
		CHECK(jobs[i].arg == object);
	CHECK_EQ(object->ref_count, ALLOCATORS);
	CHECK_EQ(object->size, 2);
	CHECK_EQ(object->un_pager.vnp.vnp_size, PAGE_SIZE + 1);
	CHECK((vp->v_flag & (VOLOCK | VOWANT)) == 0);
	CHECK(vp->v_flag & VVMIO);
	for (int i = 0; i < ALLOCATORS; i++)
		vm_object_deallocate(object);
	vrele(vp);
}

static void
uncached_release_job(struct vt_job *job)
{
	pager_cache(job->arg, false);
}

static void
fsync_job(struct vt_job *job)
{
	struct vnode *vp = job->arg;

	VOP_LOCK(vp, LK_EXCLUSIVE);
	job->error = VOP_FSYNC(vp, 0, -1, 0);
	VOP_UNLOCK(vp);
}

static struct vm_object *
live_object(struct vnode *vp)
{
	struct vm_object *object;

	VOP_LOCK(vp, LK_SHARED);
	object = vnode_pager_live(vp);
	VOP_UNLOCK(vp);
	return (object);
}

KTEST(pager, a_new_object_waits_for_the_old_ones_end)
{
	struct vt_job last, next, fsync;
	struct vm_object *old;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/page1");
	CHECK_OR_RETURN(vp != NULL);
	old = vt_object(vp);
	CHECK_EQ(old->ref_count, 1);
	CHECK(live_object(vp) == old);
	vm_object_lock(old);
	vm_object_pip_add(old, 1);		/* something is still under way */
	vm_object_unlock(old);
	last = (struct vt_job){ .fn = uncached_release_job, .arg = old };
	vt_start(&last, "last");
	VT_WAIT(vt_sleeps(&last, "objtrm"));
	next = (struct vt_job){ .fn = allocate_job, .arg = vp };
	vt_start(&next, "next");
	VT_WAIT(vt_sleeps(&next, "vadead"));
	CHECK(vp->v_object == old);
	/* It may be freed at any time: with the file's lock alone nobody touches it, not even its lock. */
	CHECK(live_object(vp) == NULL);
	vm_object_lock(old);
	fsync = (struct vt_job){ .fn = fsync_job, .arg = vp };
	vt_start(&fsync, "fsync");
	VT_WAIT(fsync.done);
	vm_object_pip_wakeup(old);
	vm_object_unlock(old);
	vt_finish(&fsync);
	vt_finish(&last);
	vt_finish(&next);
	CHECK(vp->v_object == next.arg);	/* perhaps at the same address */
	CHECK_EQ(vp->v_object->ref_count, 1);
	CHECK((vp->v_object->flags & OBJ_DEAD) == 0);
	vm_object_deallocate(vp->v_object);
	vrele(vp);
}
