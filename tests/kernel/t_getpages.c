/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * getpages, called by hand: whatever it answers, the page asked for stays busy with the caller, and
 * every other page of the array has been finished or freed.
 *
 * A fault asks haspage first and offers only what lies in one run.  Here the array is what the test
 * likes: over the end of a run, into a hole, past EOF; as if the file had changed between the
 * question and the request.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "tests/kernel/gatedisk.h"
#include "tests/kernel/memfs.h"
#include "tests/kernel/testfiles.h"
#include "tests/kernel/vmtest.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"

static MALLOC_DEFINE(M_TGETPAGES, "getpages tests");

#define P	PAGE_SIZE

/* What became of one call. */
struct outcome {
	int		 result;
	uint8_t		 valid;		/* of the page asked for */
	uint32_t	 finished;	/* mask of the neighbours that stayed, valid */
	uint8_t		 bytes[PAGE_SIZE]; /* of the page asked for */
};

/*
 * What must hold of a neighbour: it is gone, or finished: valid, clean, idle, inactive.  => object
 * locked
 */
static bool
neighbour_finished(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m = vm_page_lookup(object, pindex);

	if (m == NULL)
		return (false);
	CHECK_EQ(m->valid, VM_PAGE_BITS_ALL);
	CHECK_EQ(m->dirty, 0);
	CHECK(!vm_page_busied(m));
	CHECK_EQ(m->queue, PQ_INACTIVE);
	return (true);
}

/*
 * Ask for page `first + reqpage` of a file, offering the `count` pages from `first` on, none of
 * which is resident.
 */
static struct outcome *
ask(struct vnode *vp, vm_pindex_t first, int count, int reqpage)
{
	struct outcome *out = kmalloc(sizeof(*out), &M_TGETPAGES, M_WAITOK | M_ZERO);
	struct vm_object *object = vt_object(vp);
	struct vm_page *m[VM_PAGER_CLUSTER_MAX], *req;
	unsigned stayed = 0;

	VOP_LOCK(vp, LK_SHARED);
	vm_object_lock(object);
	vm_object_pip_add(object, 1);
	for (int i = 0; i < count; i++) {
		m[i] = vm_page_alloc(object, first + (vm_pindex_t)i, VM_ALLOC_NORMAL);
		KASSERT(m[i] != NULL, "no memory for a page");
		memset(VM_PAGE_TO_DMAP(m[i]), 0xa5, P);
		vm_page_flag_clear(m[i], PG_ZERO);
	}
	vm_object_unlock(object);
	req = m[reqpage];
	out->result = vm_pager_get_pages(object, m, count, reqpage);
	VOP_UNLOCK(vp);
	vm_object_lock(object);
	CHECK(vm_page_lookup(object, first + (vm_pindex_t)reqpage) == req);
	vm_page_assert_xbusied(req);
	out->valid = req->valid;
	memcpy(out->bytes, VM_PAGE_TO_DMAP(req), P);
	for (int i = 0; i < count; i++)
		if (i != reqpage && neighbour_finished(object, first + (vm_pindex_t)i)) {
			out->finished |= 1u << i;
			stayed++;
		}
	vm_page_free(req);
	vm_object_pip_wakeup(object);
	CHECK_EQ(object->paging_in_progress, 0);
	CHECK_EQ(object->resident_page_count, stayed);
	vm_object_page_remove(object, 0, object->size);
	vm_object_unlock(object);
	vm_object_deallocate(object);
	return (out);
}

/* Bits [from, to) of a mask of neighbours, without the page asked for. */
static uint32_t
mask(int from, int to, int reqpage)
{
	return ((uint32_t)((1ul << to) - (1ul << from)) & ~(1u << reqpage));
}

/* Does this page lie right behind the one before it? */
static bool
follows(struct vnode *vp, vm_pindex_t pindex)
{
	return (vt_sector_of_page(vp, pindex) ==
	    vt_sector_of_page(vp, pindex - 1) + (daddr_t)(P / DEV_BSIZE));
}

KTEST(pager, getpages_frees_what_lies_outside_of_the_run)
{
	vm_pindex_t first = 0, end;
	struct outcome *out;
	struct vnode *vp;
	int count;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/seq");
	CHECK_OR_RETURN(vp != NULL);
	vt_evict_file(vp);
	/* The first run ends behind the last direct block at the latest. */
	for (end = 1; follows(vp, end); end++)
		continue;
	first = end > 16 ? end - 16 : 0;
	count = (int)(end - first) + 10;
	out = ask(vp, first, count, 1);
	CHECK_EQ(out->result, VM_PAGER_OK);
	CHECK_EQ(out->valid, VM_PAGE_BITS_ALL);
	CHECK(testfile_verify("/t/seq", (uint64_t)IDX_TO_OFF(first + 1), out->bytes, P));
	CHECK_EQ(out->finished, mask(0, (int)(end - first), 1));
	kfree(out, &M_TGETPAGES);
	out = ask(vp, first, count, (int)(end - first) + 2);	/* from the other side */
	CHECK_EQ(out->result, VM_PAGER_OK);
	CHECK(testfile_verify("/t/seq", (uint64_t)IDX_TO_OFF(end + 2), out->bytes, P));
	CHECK_EQ(out->finished, mask((int)(end - first), count, (int)(end - first) + 2));
	kfree(out, &M_TGETPAGES);
	vrele(vp);
}

KTEST(pager, getpages_of_a_hole_is_zeros_and_nothing_else)
{
	struct outcome *out;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/allhole");
	CHECK_OR_RETURN(vp != NULL);
	vt_evict_file(vp);
	out = ask(vp, 3, 6, 2);
	CHECK_EQ(out->result, VM_PAGER_OK);
	CHECK_EQ(out->valid, VM_PAGE_BITS_ALL);
	CHECK(testfile_verify("/t/allhole", 5 * P, out->bytes, P));
	CHECK_EQ(out->finished, 0);
	kfree(out, &M_TGETPAGES);
	vrele(vp);
}

KTEST(pager, getpages_past_eof_is_bad)
{
	struct outcome *out;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/odd");
	CHECK_OR_RETURN(vp != NULL);
	vt_evict_file(vp);
	out = ask(vp, 2, 6, 3);			/* pages 2 to 7 of four; wanted is the sixth */
	CHECK_EQ(out->result, VM_PAGER_BAD);
	CHECK_EQ(out->valid, 0);
	CHECK_EQ(out->finished, 0);
	kfree(out, &M_TGETPAGES);
	out = ask(vp, 2, 6, 1);			/* wanted is the last of the file */
	CHECK_EQ(out->result, VM_PAGER_OK);
	CHECK(testfile_verify("/t/odd", 3 * P, out->bytes, P));
	CHECK_EQ(out->finished & ~1u, 0);
	kfree(out, &M_TGETPAGES);
	vrele(vp);
}

KTEST(pager, getpages_of_a_page_in_pieces_brings_it_alone)
{
	struct vmmeter before;
	struct outcome *out;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/holefirst");
	CHECK_OR_RETURN(vp != NULL);
	if (vp->v_mount->mnt_stat.f_iosize >= P) {
		ktest_skip("blocks of a page or more: no page is in pieces");
		vrele(vp);
		return;
	}
	vt_evict_file(vp);
	before = vm_meter_sum();
	out = ask(vp, 0, 4, 1);
	CHECK_EQ(out->result, VM_PAGER_OK);
	CHECK(testfile_verify("/t/holefirst", P, out->bytes, P));
	CHECK_EQ(out->finished, 0);
	CHECK_EQ(VMCNT_GET(v_vnodesmlfs) - before.v_vnodesmlfs, 1);
	kfree(out, &M_TGETPAGES);
	vrele(vp);
}

/* => gate open, and its disk fails.  Ask for a page, and hear of the error. */
static void
ask_in_vain(struct vnode *vp, vm_pindex_t first, int want)
{
	struct outcome *out = ask(vp, first, 8, 3);

	CHECK_EQ(out->result, want);
	CHECK_EQ(out->valid, 0);
	CHECK_EQ(out->finished, 0);
	kfree(out, &M_TGETPAGES);
}

KTEST(pager, getpages_with_a_failing_disk_keeps_nothing)
{
	vm_pindex_t run, indirect;
	struct outcome *out;
	struct vnode *vp;

	if (!gate_open())
		return;
	vp = gate_file("/t/seq");
	run = vt_find_run(vp, 8, 1, 8);
	indirect = 12ul * gate_mp->mnt_stat.f_iosize / P;
	CHECK_OR_RETURN(run != VT_NO_RUN);
	gate_log_clear();
	gate_fail(0, gate_mp->mnt_devvp->v_disk->dk_nsectors);
	ask_in_vain(vp, run, VM_PAGER_ERROR);		/* the data */
	CHECK_EQ(gate_requests(), 2);			/* all, then the wanted page alone */
	binval(gate_mp->mnt_devvp);
	ask_in_vain(vp, indirect, VM_PAGER_ERROR);	/* the pointer block */
	CHECK_EQ(gate_requests(), 2);
	gate_fail_none();
	out = ask(vp, run, 8, 3);			/* suspected, so alone; and then no more */
	CHECK_EQ(out->result, VM_PAGER_OK);
	CHECK_EQ(out->finished, 0);
	kfree(out, &M_TGETPAGES);
	vt_evict_file(vp);
	out = ask(vp, run, 8, 3);
	CHECK_EQ(out->result, VM_PAGER_OK);
	CHECK_EQ(out->finished, mask(0, 8, 3));
	kfree(out, &M_TGETPAGES);
	vrele(vp);
	gate_close();
}

KTEST(pager, getpages_without_a_filesystem_frees_all_others)
{
	struct vm_object *object;
	struct vnode *vp;

	if (!gate_open())
		return;
	vp = gate_file("/t/seq");
	object = vt_object(vp);
	vm_object_lock(object);
	object->flags |= OBJ_VNODE_GONE;
	vm_object_unlock(object);
	ask_in_vain(vp, 8, VM_PAGER_BAD);
	CHECK_EQ(gate_requests(), 0);
	vm_object_lock(object);
	object->flags &= ~OBJ_VNODE_GONE;
	vm_object_unlock(object);
	vm_object_deallocate(object);
	vrele(vp);
	gate_close();
}

/* ---- haspage ---- */

static enum vm_pager_has
has(struct vnode *vp, vm_pindex_t pindex)
{
	struct vm_object *object = vt_object(vp);
	int before = -1, after = -1;
	enum vm_pager_has answer;

	VOP_LOCK(vp, LK_SHARED);
	answer = vm_pager_has_page(object, pindex, &before, &after);
	VOP_UNLOCK(vp);
	CHECK(before >= 0);
	CHECK(after >= 0);
	CHECK((vm_pindex_t)before <= pindex);
	if (answer != PAGER_HAS)
		CHECK_EQ(before + after, 0);
	else
		CHECK(pindex + (vm_pindex_t)after < object->size);
	vm_object_deallocate(object);
	return (answer);
}

/* Every page of these files, against what the manifest says of it. */
KTEST(pager, haspage_knows_data_holes_and_the_end)
{
	static const char *const paths[] = {
		"/t/holefirst", "/t/holemix", "/t/checker", "/t/allhole", "/t/odd", "/t/tail",
		"/t/frag", "/t/empty"
	};
	unsigned seen[3] = { 0 };

	TESTFILES_OR_SKIP();
	for (size_t i = 0; i < nitems(paths); i++) {
		const struct testfile *tf = testfile_find(paths[i]);
		struct vnode *vp = testfile_open(paths[i]);
		vm_pindex_t pages = howmany(tf->size, P);
		uint64_t bsize;

		CHECK_OR_RETURN(vp != NULL);
		bsize = MAX((uint64_t)vp->v_mount->mnt_stat.f_iosize, P);
		for (vm_pindex_t p = 0; p < pages; p++) {
			uint64_t block = p * P / bsize * bsize, start, end;
			/* A block is allocated whole: data in it makes all its pages data. */
			bool data = testfile_piece(paths[i], block, &start, &end) ||
			    end < MIN(block + bsize, tf->size);
			enum vm_pager_has answer = has(vp, p);

			seen[answer]++;
			if (answer != (data ? PAGER_HAS : PAGER_HAS_NOT))
				ktest_fail(__FILE__, __LINE__, "%s, page %lu: haspage answers %d",
				    paths[i], p, answer);
		}
		CHECK_EQ(has(vp, pages), PAGER_HAS_NOT);
		CHECK_EQ(has(vp, pages + 1000000), PAGER_HAS_NOT);
		vrele(vp);
	}
	CHECK(seen[PAGER_HAS] > 0 && seen[PAGER_HAS_NOT] > 0);
	CHECK_EQ(seen[PAGER_HAS_ERROR], 0);
}

/* ---- the filesystem is gone, or the pager has no resources ---- */

KTEST(pager, a_vnode_that_lost_its_filesystem_gives_no_pages)
{
	struct vm_object *object;
	struct vnode *vp;
	vm_offset_t va;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/seq");
	CHECK_OR_RETURN(vp != NULL);
	object = vt_object(vp);
	vt_evict(object, 0, object->size);
	vt_begin();
	va = vt_map_ro(vp, 0, 64 * P);
	vt_no_readahead(va, 64 * P);
	CHECK(vt_verify("/t/seq", va, 0, P));
	vm_object_lock(object);
	object->flags |= OBJ_VNODE_GONE;
	vm_object_unlock(object);
	CHECK_SIGBUS(va + 20 * P + 3);
	CHECK_EQ(has(vp, 20), PAGER_HAS_NOT);
	CHECK(vt_verify("/t/seq", va, 0, P));	/* what is there stays usable */
	vm_object_lock(object);
	object->flags &= ~OBJ_VNODE_GONE;
	vm_object_unlock(object);
	CHECK(vt_verify("/t/seq", va + 20 * P, 20 * P, P));
	vt_end();
	vm_object_deallocate(object);
	vrele(vp);
}

KTEST(pager, reading_and_faulting_try_again_when_the_pager_says_so)
{
	struct mount *mp = memfs_mount();
	struct vnode *vp;
	uint8_t byte = 0, want;
	vm_offset_t va;
	size_t done = 0;

	CHECK_OR_RETURN(mp != NULL);
	memfs_create(mp, "/m/file", 4 * P);
	vp = memfs_file(mp, "file");
	testfile_pattern("/m/file", 2 * P + 5, &want, 1);
	memfs_result = VM_PAGER_AGAIN;
	memfs_result_times = 3;
	CHECK_EQ(vn_read(vp, &byte, 1, 2 * P + 5, &done), 0);
	CHECK_EQ(done, 1);
	CHECK_EQ(byte, want);
	CHECK_EQ(memfs_calls.calls, 4);
	vt_evict_file(vp);
	vt_begin();
	va = vt_map_ro(vp, 0, 4 * P);
	memfs_result_times = 3;
	CHECK_EQ(vt_load(va + 2 * P + 5), want);
	CHECK_EQ(memfs_calls.calls, 8);
	vt_end();
	vrele(vp);
	memfs_unmount(mp);
}
