/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files of the test volume, seen through mappings: every byte where it belongs, zeros in holes and
 * past EOF, SIGBUS beyond, and the same from VOP_READ.
 *
 * What each byte must be, the manifest tells (testfiles.h).  How the bytes came from the disk, in
 * how many requests and with which neighbours, is in t_vncluster.c.
 */
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/testfiles.h"
#include "tests/kernel/vmtest.h"
#include "vm/pmap.h"

static MALLOC_DEFINE(M_TVNPAGER, "vnpager tests");

#define P		PAGE_SIZE
#define WHOLE_MAX	(8 * MiB)	/* files up to this size are looked at in full */

/* A file, mapped from its beginning, none of its pages resident. */
struct mapped {
	const char	*path;
	struct vnode	*vp;
	struct vm_object *object;
	uint64_t	 size, bsize;
	size_t		 len;		/* mapped, bytes */
	vm_offset_t	 va;
};

/* Map `more` bytes beyond the file's last page.  false: skipped or failed. */
static bool
mapped_open(struct mapped *f, const char *path, size_t more)
{
	if (!testfiles_load()) {
		ktest_skip("the root volume has no /t/manifest");
		return (false);
	}
	*f = (struct mapped){ .path = path, .vp = testfile_open(path) };
	if (f->vp == NULL)
		return (false);
	CHECK_EQ(vn_size(f->vp, &f->size), 0);
	f->bsize = f->vp->v_mount->mnt_stat.f_iosize;
	f->object = vt_object(f->vp);
	vt_evict(f->object, 0, f->object->size);
	vt_begin();
	f->len = round_page(f->size) + more;
	f->va = vt_map_ro(f->vp, 0, f->len);
	CHECK_EQ(f->object->resident_page_count, 0);
	return (f->va != 0);
}

static void
mapped_close(struct mapped *f)
{
	vt_end();
	vm_object_deallocate(f->object);
	vrele(f->vp);
}

static bool
is_hole(struct mapped *f, uint64_t off)
{
	struct bmap bm = { 0 };

	VOP_LOCK(f->vp, LK_SHARED);
	CHECK_EQ(VOP_BMAP(f->vp, (daddr_t)(off / f->bsize), NULL, &bm), 0);
	VOP_UNLOCK(f->vp);
	return (bm.hole);
}

/* ---- every file ---- */

/* A window of a file, mapped by itself. */
static bool
verify_window(struct vnode *vp, const char *path, uint64_t from, uint64_t to)
{
	off_t start = (off_t)trunc_page(from);
	size_t len = round_page(to) - trunc_page(from);
	vm_offset_t va = vt_map_ro(vp, start, len);
	bool good = va != 0 && vt_verify(path, va, start, len);

	CHECK_EQ(vm_munmap(curthread->vmspace, va, len), 0);
	return (good);
}

static bool
verify_file(struct vnode *vp, const struct testfile *tf)
{
	uint64_t end = round_page(tf->size);
	bool good = true;

	if (tf->size == 0)
		return (true);
	if (tf->size <= WHOLE_MAX)
		return (verify_window(vp, tf->path, 0, end));
	good = verify_window(vp, tf->path, 0, 2 * P) &&
	    verify_window(vp, tf->path, end - 2 * P, end);
	for (size_t i = 0; i < tf->nextents && good; i++) {
		const struct testfile_extent *e = &tf->extents[i];

		good = verify_window(vp, tf->path, e->off - MIN(e->off, 2 * P),
		    MIN(e->off + e->len + 2 * P, end));
	}
	return (good);
}

KTEST(vnpager, every_file_maps_as_the_host_wrote_it)
{
	TESTFILES_OR_SKIP();
	vt_begin();
	for (size_t i = 0; i < testfile_count(); i++) {
		const struct testfile *tf = testfile_at(i);
		struct vnode *vp;

		if (streq(tf->kind, "err") && cmdline_has("ioerr"))
			continue;
		vp = testfile_open(tf->path);
		if (vp == NULL)
			continue;
		vt_evict_file(vp);
		CHECK(verify_file(vp, tf));
		vrele(vp);
	}
	vt_end();
}

KTEST(vnpager, beyond_the_last_page_is_sigbus)
{
	TESTFILES_OR_SKIP();
	for (size_t i = 0; i < testfile_count(); i++) {
		const struct testfile *tf = testfile_at(i);
		struct mapped f;
		uint64_t end;

		if (streq(tf->kind, "err"))
			continue;
		if (!mapped_open(&f, tf->path, 3 * P))
			continue;
		end = round_page(tf->size);
		CHECK_SIGBUS(f.va + end);
		CHECK_SIGBUS(f.va + end + 1);
		CHECK_SIGBUS(f.va + end + 2 * P + 4093);
		CHECK_REFUSED(f.va + end + 3 * P, false, VT_SIGSEGV, VT_MAPERR);
		if (tf->size > 0)
			CHECK(vt_verify(tf->path, f.va + end - P, (off_t)(end - P), P));
		mapped_close(&f);
	}
}

KTEST(vnpager, empty_file_has_no_pages)
{
	struct mapped f;

	if (!mapped_open(&f, "/t/empty", P))
		return;
	CHECK_EQ(f.object->size, 0);
	CHECK_SIGBUS(f.va);
	CHECK_SIGBUS(f.va + P - 1);
	CHECK_EQ(f.object->resident_page_count, 0);
	mapped_close(&f);
}

/* ---- holes ---- */

KTEST(vnpager, page_whose_first_block_only_is_a_hole)
{
	struct vmmeter before;
	struct mapped f;
	uint64_t at;

	if (!mapped_open(&f, "/t/holefirst", 0))
		return;
	at = f.bsize < P ? P : 0;
	CHECK(is_hole(&f, at));
	CHECK(!is_hole(&f, at + f.bsize));
	CHECK(!is_hole(&f, round_page(at + f.bsize + 1) - 1));
	CHECK(vt_page(f.object, at / P) == NULL);
	before = vm_meter_sum();
	CHECK(vt_verify(f.path, f.va + at, (off_t)at, MAX(P, 2 * f.bsize)));
	if (f.bsize < P)
		CHECK_EQ(VMCNT_GET(v_vnodesmlfs) - before.v_vnodesmlfs, 1);
	else
		CHECK(VMCNT_GET(v_vnodehole) > before.v_vnodehole);
	CHECK_EQ(vt_load(f.va + at), 0);
	CHECK(vt_verify(f.path, f.va, 0, round_page(f.size)));
	mapped_close(&f);
}

KTEST(vnpager, hole_data_and_eof_in_one_page)
{
	struct vmmeter before;
	struct mapped f;
	uint64_t last;

	if (!mapped_open(&f, "/t/holemix", P))
		return;
	last = f.bsize < P ? trunc_page(f.size - 1) : trunc_page(f.size - 1) - f.bsize;
	CHECK(is_hole(&f, last));
	CHECK(!is_hole(&f, f.size - 1));
	CHECK((f.size & PAGE_MASK) != 0);
	CHECK(vt_page(f.object, last / P) == NULL);
	before = vm_meter_sum();
	CHECK(vt_verify(f.path, f.va + last, (off_t)last, round_page(f.size) - last));
	if (f.bsize < P)
		CHECK_EQ(VMCNT_GET(v_vnodesmlfs) - before.v_vnodesmlfs, 1);
	CHECK(vt_verify(f.path, f.va, 0, round_page(f.size)));
	CHECK_SIGBUS(f.va + round_page(f.size));
	mapped_close(&f);
}

KTEST(vnpager, holes_cause_no_disk_request)
{
	struct vmmeter before;
	struct disk_stats *st;
	struct mapped f;
	uint64_t reads;

	if (!mapped_open(&f, "/t/allhole", 0))
		return;
	st = &f.vp->v_mount->mnt_devvp->v_disk->dk_stats;
	for (uint64_t off = 0; off < f.size; off += P)
		CHECK(is_hole(&f, off));
	before = vm_meter_sum();
	reads = st->reads;
	CHECK(vt_verify(f.path, f.va, 0, f.len));
	CHECK_EQ(st->reads, reads);
	CHECK_EQ(VMCNT_GET(v_vnodehole) - before.v_vnodehole, f.len / P);
	CHECK_EQ(VMCNT_GET(v_vnodein), before.v_vnodein);
	for (vm_pindex_t i = 0; i < f.len / P; i++)
		CHECK(vt_resident(f.object, i));
	mapped_close(&f);
}

KTEST(vnpager, page_of_a_hole_is_zero_even_when_its_memory_was_not)
{
	struct mapped f;

	if (!mapped_open(&f, "/t/allhole", 0))
		return;
	/* Dirty all memory that the next pages could get, by filling and freeing pages. */
	for (int round = 0; round < 2; round++) {
		for (vm_pindex_t i = 0; i < f.object->size; i++) {
			struct vm_page *m;

			(void)vt_load(f.va + i * P);
			m = vt_page(f.object, i);
			memset(VM_PAGE_TO_DMAP(m), 0xdb, P);
		}
		vt_evict(f.object, 0, f.object->size);
	}
	CHECK(vt_verify(f.path, f.va, 0, f.len));
	mapped_close(&f);
}

/* ---- the end of the file ---- */

KTEST(vnpager, stale_bytes_past_eof_are_never_seen)
{
	struct mapped f;
	uint8_t *page;
	uint64_t last, stale = 0;
	daddr_t sector;

	if (!mapped_open(&f, "/t/tail", 0))
		return;
	last = trunc_page(f.size - 1);
	CHECK_EQ(f.size & PAGE_MASK, P - 100);
	sector = vt_sector_of_page(f.vp, last / P);
	CHECK_OR_RETURN(sector > 0);
	page = kmalloc(P, &M_TVNPAGER, M_WAITOK);
	CHECK_EQ(disk_rw(f.vp->v_mount->mnt_devvp->v_disk, (uint64_t)sector, page, P, B_READ), 0);
	for (size_t i = P - 100; i < P; i++)
		stale += page[i] != 0;
	if (stale == 0 && (f.vp->v_mount->mnt_flag & MNT_RDONLY) == 0) {
		/* A test that made the file longer came first; a run with a read-only root has them. */
		ktest_skip("the old bytes past the end of /t/tail are gone");
		kfree(page, &M_TVNPAGER);
		mapped_close(&f);
		return;
	}
	CHECK(stale > 50);			/* the disk does hold something there */
	for (size_t i = 0; i < 100; i++)
		CHECK_EQ(vt_load(f.va + f.size + i), 0);
	CHECK(vt_verify(f.path, f.va, 0, f.len));

	/* Once more, brought in by a read; and by a fault ahead of it. */
	vt_evict(f.object, 0, f.object->size);
	CHECK(testfile_read_verify(f.vp, f.path, last, P));
	CHECK(vt_verify(f.path, f.va + last, (off_t)last, P));
	vt_evict(f.object, 0, f.object->size);
	CHECK(vt_verify(f.path, f.va, 0, P));
	CHECK(vt_verify(f.path, f.va + last, (off_t)last, P));
	kfree(page, &M_TVNPAGER);
	mapped_close(&f);
}

/* ---- far offsets ---- */

KTEST(vnpager, offsets_past_2_and_4_gib_and_at_each_level_of_the_map)
{
	const struct testfile *tf;
	bool past2 = false, past4 = false;
	struct vmmeter before;
	struct mapped f;

	if (!mapped_open(&f, "/t/huge", P))
		return;
	tf = testfile_find(f.path);
	before = vm_meter_sum();
	/* One mapping of all of it: what is touched lies up to terabytes apart. */
	for (size_t i = 0; i < tf->nextents; i++) {
		const struct testfile_extent *e = &tf->extents[i];
		uint64_t mid = e->off + e->len / 2, from = trunc_page(e->off),
		    to = round_page(e->off + e->len);

		past2 = past2 || (mid > 2 * GiB && mid < 4 * GiB) || e->off + e->len == 2 * GiB ||
		    mid == 2 * GiB;
		past4 = past4 || mid >= 4 * GiB;
		CHECK(vt_page(f.object, OFF_TO_IDX(mid)) == NULL);
		CHECK(vt_verify(f.path, f.va + from, (off_t)from,
		    MIN(to, round_page(f.size)) - from));
		if (from >= 2 * P)
			CHECK(vt_verify(f.path, f.va + from - 2 * P, (off_t)(from - 2 * P), 2 * P));
		if (to + P <= f.size)
			CHECK(vt_verify(f.path, f.va + to, (off_t)to, P));
	}
	CHECK(past2 && past4);
	CHECK(VMCNT_GET(v_vnodehole) > before.v_vnodehole);
	CHECK(VMCNT_GET(v_vnodepgsin) > before.v_vnodepgsin);
	CHECK_SIGBUS(f.va + round_page(f.size) + 5);
	mapped_close(&f);
}

KTEST(vnpager, far_windows_are_mapped_by_their_offset)
{
	const struct testfile *tf;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	tf = testfile_find("/t/huge");
	vp = testfile_open("/t/huge");
	CHECK_OR_RETURN(vp != NULL);
	vt_evict_file(vp);
	vt_begin();
	for (size_t i = 0; i < tf->nextents; i++) {
		const struct testfile_extent *e = &tf->extents[i];
		off_t off = (off_t)trunc_page(e->off + e->len / 2);
		vm_offset_t va = vt_map_ro(vp, off, P);

		CHECK(vt_verify(tf->path, va, off, P));
		CHECK_REFUSED(va + P, false, VT_SIGSEGV, VT_MAPERR);
		CHECK_EQ(vm_munmap(curthread->vmspace, va, P), 0);
	}
	vt_end();
	vrele(vp);
}

KTEST(vnpager, a_window_begins_at_its_offset)
{
	struct mapped f;
	vm_offset_t va;

	if (!mapped_open(&f, "/t/seq", 0))
		return;
	va = vt_map_ro(f.vp, 37 * P, 5 * P);
	CHECK(vt_verify(f.path, va, 37 * P, 5 * P));
	CHECK_EQ(vt_load(va + 2 * P + 9), vt_load(f.va + 39 * P + 9));
	CHECK_EQ(pmap_extract(&curthread->vmspace->pmap, va + 2 * P),
	    pmap_extract(&curthread->vmspace->pmap, f.va + 39 * P));
	va = vt_map_ro(f.vp, (off_t)round_page(f.size), P);	/* past EOF: mapped, not touched */
	CHECK_SIGBUS(va + 17);
	mapped_close(&f);
}

/* ---- together with VOP_READ and the kernel's copies ---- */

KTEST(vnpager, reading_and_mapping_agree)
{
	enum { ROUNDS = 40, LEN = 10000 };
	static const char *const paths[] = {
		"/t/seq", "/t/frag", "/t/checker", "/t/odd", "/t/tail", "/t/holefirst"
	};
	uint8_t *a, *b;

	TESTFILES_OR_SKIP();
	a = kmalloc(LEN, &M_TVNPAGER, M_WAITOK);
	b = kmalloc(LEN, &M_TVNPAGER, M_WAITOK);
	for (size_t i = 0; i < nitems(paths); i++) {
		struct mapped f;

		if (!mapped_open(&f, paths[i], 0))
			continue;
		for (int n = 0; n < ROUNDS; n++) {
			uint64_t off = ktest_random() % f.size;
			uint64_t len = MIN(1 + ktest_random() % LEN, f.size - off);
			size_t done = 0;

			if (n % 8 == 0)
				vt_evict(f.object, 0, f.object->size);
			if (n % 2 == 0)
				CHECK_EQ(vn_read(f.vp, a, len, (off_t)off, &done), 0);
			CHECK_EQ(copyin(f.va + off, b, len), 0);
			if (n % 2 != 0)
				CHECK_EQ(vn_read(f.vp, a, len, (off_t)off, &done), 0);
			CHECK_EQ(done, len);
			CHECK_EQ(memcmp(a, b, len), 0);
		}
		mapped_close(&f);
	}
	kfree(a, &M_TVNPAGER);
	kfree(b, &M_TVNPAGER);
}

KTEST_COUNTING(vnpager, what_was_read_is_mapped_without_io)
{
	struct vmmeter before;
	struct mapped f;

	if (!mapped_open(&f, "/t/odd", 0))
		return;
	CHECK(testfile_read_verify(f.vp, f.path, 0, f.size));
	before = vm_meter_sum();
	CHECK(vt_verify(f.path, f.va, 0, f.len));
	CHECK_EQ(VMCNT_GET(v_vnodein), before.v_vnodein);
	CHECK_EQ(VMCNT_GET(v_io_faults), before.v_io_faults);
	CHECK(VMCNT_GET(v_soft_faults) > before.v_soft_faults);
	mapped_close(&f);
}

KTEST(vnpager, copyin_crosses_pages_and_stops_exactly_at_the_end)
{
	struct mapped f;
	uint8_t *buf;
	size_t len;

	if (!mapped_open(&f, "/t/odd", 2 * P))
		return;
	buf = kmalloc(4 * P, &M_TVNPAGER, M_WAITOK);
	CHECK_EQ(copyin(f.va + 1001, buf, 2 * P + 777), 0);
	CHECK(testfile_verify(f.path, 1001, buf, 2 * P + 777));
	for (len = 1; len < 40; len += 3) {
		vm_offset_t end = f.va + 4 * P;

		curthread->fault = (struct fault_info){ 0 };
		CHECK_EQ(copyin(end - len, buf, len), 0);
		CHECK_EQ(copyin(end - len, buf, len + 16), EFAULT);
		CHECK_EQ(curthread->fault.signo, VT_SIGBUS);
		CHECK_EQ(curthread->fault.code, VT_ADRERR);
		CHECK_EQ(curthread->fault.addr, end);
	}
	kfree(buf, &M_TVNPAGER);
	mapped_close(&f);
}

KTEST(vnpager, copyout_reaches_private_pages_only)
{
	struct vmmeter before;
	vm_offset_t mine, shared = 0;
	struct mapped f;
	uint8_t *buf;
	size_t done = 0;

	if (!mapped_open(&f, "/t/odd", 0))
		return;
	buf = kmalloc(3 * P, &M_TVNPAGER, M_WAITOK);
	memset(buf, 'x', 3 * P);
	CHECK_REFUSED(f.va + P + 3, true, VT_SIGSEGV, VT_ACCERR);
	if (f.vp->v_mount->mnt_flag & MNT_RDONLY)
		CHECK_EQ(vm_mmap(curthread->vmspace, &shared, P, VM_PROT_READ | VM_PROT_WRITE,
		    MAP_SHARED, f.vp, 0), EACCES);
	mine = vt_map(f.vp, 0, f.len, VM_PROT_READ | VM_PROT_WRITE, MAP_PRIVATE);
	before = vm_meter_sum();
	CHECK_EQ(copyout(buf, mine + P - 5, P + 10), 0);
	CHECK_EQ(VMCNT_GET(v_cow_faults) - before.v_cow_faults, 3);
	CHECK(vt_verify(f.path, mine, 0, P - 5));
	CHECK_EQ(vt_load(mine + P - 5), 'x');
	CHECK_EQ(vt_load(mine + 2 * P + 4), 'x');
	CHECK(vt_verify(f.path, mine + 2 * P + 5, 2 * P + 5, 2 * P - 5));
	CHECK(vt_verify(f.path, f.va, 0, f.len));		/* the file is as it was */
	CHECK(testfile_read_verify(f.vp, f.path, 0, f.size));
	for (vm_pindex_t i = 0; i < f.object->size; i++)
		CHECK_EQ(vt_page(f.object, i)->dirty, 0);
	vt_store(mine + 2 * P + 10, '\0');			/* a string over two pages' edge */
	CHECK_EQ(copyout(buf, mine + 2 * P + 5, 5), 0);
	CHECK_EQ(copyinstr(mine + 2 * P - 3, (char *)buf, P, &done), 0);
	CHECK_EQ(done, 14);
	kfree(buf, &M_TVNPAGER);
	mapped_close(&f);
}
