/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk that cannot read some of its sectors: QEMU's blkdebug breaks them below the driver
 * (tests/host/mkimage.py writes the rules), and the word `ioerr` on the command line says so.
 *
 *	/t/errdata   page 5             asked for, it fails: SIGBUS exactly there; all others come
 *	/t/errahead  page 9             only read-ahead meets it: the page asked for still comes
 *	/t/errind    its pointer block  what lies behind it is an error, never a page of zeros
 *
 * The same from a disk that fails and recovers: t_gate.c.
 */
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/stackfs.h"
#include "tests/kernel/testfiles.h"
#include "tests/kernel/vmtest.h"
#include "vm/vm_pager.h"

static MALLOC_DEFINE(M_TIOERR, "ioerr tests");

#define P		PAGE_SIZE
#define ERRDATA		"/t/errdata"
#define ERRDATA_PAGE	5
#define ERRAHEAD	"/t/errahead"
#define ERRAHEAD_PAGE	9
#define ERRIND		"/t/errind"

/* A broken file, mapped whole, absent. */
struct broken {
	const char	*path;
	struct vnode	*vp;
	struct vm_object *object;
	uint64_t	 size;
	vm_offset_t	 va;
	struct disk_stats *st;
	uint64_t	 errors;	/* the disk's, at the beginning */
};

static bool
broken_open(struct broken *b, const char *path)
{
	if (!cmdline_has("ioerr")) {
		ktest_skip("the disk is whole: no word ioerr");
		return (false);
	}
	if (!testfiles_load()) {
		ktest_skip("the root volume has no /t/manifest");
		return (false);
	}
	*b = (struct broken){ .path = path, .vp = testfile_open(path) };
	if (b->vp == NULL)
		return (false);
	CHECK_EQ(vn_size(b->vp, &b->size), 0);
	b->object = vt_object(b->vp);
	b->st = &b->vp->v_mount->mnt_devvp->v_disk->dk_stats;
	b->errors = b->st->errors;
	vt_begin();
	b->va = vt_map_ro(b->vp, 0, b->size);
	CHECK_EQ(b->object->resident_page_count, 0);
	return (true);
}

static void
broken_close(struct broken *b)
{
	CHECK(b->st->errors > b->errors);	/* something did fail */
	vt_end();
	vm_object_deallocate(b->object);
	vrele(b->vp);
}

static bool
verify_pages(struct broken *b, vm_pindex_t start, vm_pindex_t end)
{
	return (vt_verify(b->path, b->va + start * P, IDX_TO_OFF(start), (end - start) * P));
}

/* ---- the page asked for ---- */

KTEST(ioerr, page_asked_for)
{
	struct broken b;

	if (!broken_open(&b, ERRDATA))
		return;
	CHECK_SIGBUS(b.va + ERRDATA_PAGE * P + 1234);
	CHECK(b.st->errors > b.errors);
	CHECK(vt_page(b.object, ERRDATA_PAGE) == NULL);
	CHECK_EQ(b.object->paging_in_progress, 0);
	CHECK(verify_pages(&b, 0, ERRDATA_PAGE));
	CHECK(verify_pages(&b, ERRDATA_PAGE + 1, b.size / P));
	CHECK_SIGBUS(b.va + ERRDATA_PAGE * P);
	CHECK_SIGBUS(b.va + (ERRDATA_PAGE + 1) * P - 1);
	CHECK(vt_page(b.object, ERRDATA_PAGE) == NULL);
	broken_close(&b);
}

KTEST(ioerr, every_faulter_gets_its_own_error)
{
	enum { N = 8 };
	struct vt_job jobs[N];
	struct broken b;

	if (!broken_open(&b, ERRDATA))
		return;
	vt_no_readahead(b.va, b.size);
	for (size_t i = 0; i < N; i++) {
		jobs[i] = (struct vt_job){ .fn = vt_touch, .vm = curthread->vmspace,
		    .va = b.va + ERRDATA_PAGE * P + i };
		vt_start(&jobs[i], "faulter");
	}
	for (size_t i = 0; i < N; i++) {
		vt_finish(&jobs[i]);
		CHECK_JOB_REFUSED(&jobs[i], VT_SIGBUS, VT_ADRERR, b.va + ERRDATA_PAGE * P + i);
	}
	CHECK(b.st->errors - b.errors >= N);
	broken_close(&b);
}

KTEST(ioerr, copyin_stops_exactly_at_the_broken_page)
{
	struct broken b;
	uint8_t *buf;

	if (!broken_open(&b, ERRDATA))
		return;
	buf = kmalloc(3 * P, &M_TIOERR, M_WAITOK | M_ZERO);
	CHECK_EQ(copyin(b.va + (ERRDATA_PAGE - 1) * P, buf, 3 * P), EFAULT);
	CHECK_EQ(curthread->fault.signo, VT_SIGBUS);
	CHECK_EQ(curthread->fault.addr, b.va + ERRDATA_PAGE * P);
	CHECK(testfile_verify(ERRDATA, (ERRDATA_PAGE - 1) * P, buf, P));
	CHECK_EQ(buf[P], 0);
	kfree(buf, &M_TIOERR);
	broken_close(&b);
}

KTEST(ioerr, private_write_needs_what_it_copies)
{
	struct broken b;
	vm_offset_t mine;

	if (!broken_open(&b, ERRDATA))
		return;
	mine = vt_map(b.vp, 0, b.size, VM_PROT_READ | VM_PROT_WRITE, MAP_PRIVATE);
	CHECK_REFUSED(mine + ERRDATA_PAGE * P + 8, true, VT_SIGBUS, VT_ADRERR);
	vt_store(mine + (ERRDATA_PAGE - 1) * P + 8, 0x42);
	CHECK_EQ(vt_load(mine + (ERRDATA_PAGE - 1) * P + 8), 0x42);
	CHECK_REFUSED(mine + ERRDATA_PAGE * P + 9, false, VT_SIGBUS, VT_ADRERR);
	CHECK(verify_pages(&b, ERRDATA_PAGE - 1, ERRDATA_PAGE));
	broken_close(&b);
}

KTEST(ioerr, wiring_is_all_or_nothing)
{
	struct vm_map *map;
	struct broken b;

	if (!broken_open(&b, ERRDATA))
		return;
	map = &curthread->vmspace->map;
	CHECK_EQ(vm_map_wire(map, b.va, b.va + 8 * P), KERN_IO_ERROR);
	for (vm_pindex_t i = 0; i < 8; i++) {
		struct vm_page *m = vt_page(b.object, i);

		if (m != NULL)
			CHECK_EQ(m->wire_count, 0);
	}
	CHECK_EQ(vm_map_wire(map, b.va, b.va + ERRDATA_PAGE * P), KERN_SUCCESS);
	CHECK_EQ(vm_map_unwire(map, b.va, b.va + ERRDATA_PAGE * P), KERN_SUCCESS);
	broken_close(&b);
}

KTEST(ioerr, reading_says_eio_there_and_only_there)
{
	size_t done = 0, len = (ERRDATA_PAGE + 3) * P;
	struct broken b;
	uint8_t *buf;

	if (!broken_open(&b, ERRDATA))
		return;
	buf = kmalloc(len, &M_TIOERR, M_WAITOK);
	CHECK_EQ(vn_read(b.vp, buf, len, 0, &done), EIO);
	CHECK_EQ(done, ERRDATA_PAGE * P);
	CHECK(testfile_verify(ERRDATA, 0, buf, done));
	CHECK_EQ(vn_read(b.vp, buf, 1, (off_t)(ERRDATA_PAGE * P + 99), &done), EIO);
	CHECK_EQ(done, 0);
	CHECK(testfile_read_verify(b.vp, ERRDATA, (ERRDATA_PAGE + 1) * P,
	    b.size - (ERRDATA_PAGE + 1) * P));
	kfree(buf, &M_TIOERR);
	broken_close(&b);
}

KTEST(ioerr, stacked_filesystem_passes_it_on)
{
	struct mount *mp;
	struct broken b;
	struct vnode *vp;
	vm_offset_t va;

	if (!broken_open(&b, ERRDATA))
		return;
	mp = stackfs_mount();
	CHECK_OR_RETURN(mp != NULL);
	vp = stackfs_file(mp, ERRDATA);
	va = vt_map_ro(vp, 0, b.size);
	CHECK(vt_verify(ERRDATA, va, 0, ERRDATA_PAGE * P));
	CHECK_SIGBUS(va + ERRDATA_PAGE * P + 3);
	CHECK(vt_page(vp->v_object, ERRDATA_PAGE) == NULL);
	CHECK(vt_verify(ERRDATA, va + (ERRDATA_PAGE + 1) * P, (ERRDATA_PAGE + 1) * P, P));
	CHECK_EQ(vm_munmap(curthread->vmspace, va, b.size), 0);
	vrele(vp);
	stackfs_unmount(mp);
	broken_close(&b);
}

/* ---- a page that only comes along ---- */

KTEST(ioerr, page_that_only_read_ahead_touches)
{
	struct vmmeter before = vm_meter_sum();
	struct broken b;

	if (!broken_open(&b, ERRAHEAD))
		return;
	CHECK(verify_pages(&b, ERRAHEAD_PAGE - 2, ERRAHEAD_PAGE - 1));
	CHECK_EQ(VMCNT_GET(v_vnoderetry) - before.v_vnoderetry, 1);
	CHECK_EQ(VMCNT_GET(v_failed_faults), before.v_failed_faults);
	CHECK(b.st->errors > b.errors);			/* it was in the cluster */
	CHECK(vt_page(b.object, ERRAHEAD_PAGE) == NULL);
	CHECK_SIGBUS(b.va + ERRAHEAD_PAGE * P + 2222);
	CHECK_EQ(VMCNT_GET(v_failed_faults) - before.v_failed_faults, 1);
	CHECK(verify_pages(&b, 0, ERRAHEAD_PAGE));
	CHECK(verify_pages(&b, ERRAHEAD_PAGE + 1, b.size / P));
	CHECK(vt_page(b.object, ERRAHEAD_PAGE) == NULL);
	broken_close(&b);
}

KTEST(ioerr, sequential_reader_gets_up_to_the_broken_page)
{
	struct broken b;

	if (!broken_open(&b, ERRAHEAD))
		return;
	CHECK(verify_pages(&b, 0, ERRAHEAD_PAGE));
	CHECK_SIGBUS(b.va + ERRAHEAD_PAGE * P);
	CHECK(verify_pages(&b, ERRAHEAD_PAGE + 1, b.size / P));
	broken_close(&b);
}

/* ---- metadata ---- */

KTEST(ioerr, pointer_block_is_an_error_not_a_hole)
{
	struct vmmeter before;
	vm_pindex_t direct, end;	/* pages that the broken block points to */
	uint64_t bsize;
	size_t done = 0;
	int ahead, behind;
	struct broken b;
	uint8_t byte;

	if (!broken_open(&b, ERRIND))
		return;
	bsize = b.vp->v_mount->mnt_stat.f_iosize;
	direct = 12 * bsize / P;
	end = MIN(b.size / P, direct + bsize / 4 * bsize / P);
	CHECK(end > direct);
	CHECK(verify_pages(&b, 0, direct));		/* these need no pointer block */
	before = vm_meter_sum();
	for (vm_pindex_t i = direct; i < end; i += 1 + (end - direct) / 8)
		CHECK_SIGBUS(b.va + i * P + 7 * i % P);
	CHECK_SIGBUS(b.va + (end - 1) * P);
	CHECK_EQ(VMCNT_GET(v_vnodein), before.v_vnodein);	/* data was not even asked for */
	CHECK_EQ(VMCNT_GET(v_vnodehole), before.v_vnodehole);
	CHECK_EQ(b.object->resident_page_count, direct);
	VOP_LOCK(b.vp, LK_SHARED);
	CHECK_EQ(vm_pager_has_page(b.object, direct, &behind, &ahead), PAGER_HAS_ERROR);
	CHECK_EQ(behind + ahead, 0);
	VOP_UNLOCK(b.vp);
	CHECK_EQ(vn_read(b.vp, &byte, 1, (off_t)(direct * P), &done), EIO);
	CHECK_EQ(done, 0);
	CHECK(verify_pages(&b, 0, direct));
	if (end < b.size / P)
		CHECK(verify_pages(&b, end, b.size / P));	/* under the next pointer block */
	broken_close(&b);
}
