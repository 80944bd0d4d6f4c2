/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a file's pages come and go: which requests reach the disk and which neighbours come along;
 * the object that outlives its last mapping; the volume that is mounted twice.
 *
 * The requests are held against a model that shares nothing with the pager: where each page lies is
 * asked of VOP_BMAP block by block, pages that follow each other on the disk make a run, and a
 * sequential reader should need one request for each run, cut into windows of MAXPHYS.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "tests/kernel/gatedisk.h"
#include "tests/kernel/testfiles.h"
#include "tests/kernel/vmtest.h"
#include "vm/pmap.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_TCLUSTER, "cluster tests");

#define P	PAGE_SIZE
#define SECTORS	(PAGE_SIZE / DEV_BSIZE)

/* A file of the second mount, mapped whole, absent. */
struct gated {
	const char	*path;
	struct vnode	*vp;
	struct vm_object *object;
	uint64_t	 size;
	vm_pindex_t	 npages;
	vm_offset_t	 va;
};

static bool
gated_open(struct gated *g, const char *path)
{
	if (!gate_open())
		return (false);
	*g = (struct gated){ .path = path, .vp = gate_file(path) };
	CHECK_EQ(vn_size(g->vp, &g->size), 0);
	g->npages = howmany(g->size, P);
	g->object = vt_object(g->vp);
	vt_begin();
	g->va = vt_map_ro(g->vp, 0, g->npages * P);
	CHECK_EQ(g->object->resident_page_count, 0);
	gate_log_clear();
	return (true);
}

static void
gated_close(struct gated *g)
{
	vt_end();
	vm_object_deallocate(g->object);
	vrele(g->vp);
	gate_close();
}

static bool
verify_page(struct gated *g, vm_pindex_t p)
{
	return (vt_verify(g->path, g->va + p * P, IDX_TO_OFF(p), P));
}

/* ---- the model ---- */

struct model {
	unsigned	n, full;		/* requests; of MAXPHYS */
	unsigned	whole_pages;		/* pages that lie in one run */
	struct { daddr_t blkno; size_t bytes; } requests[GATE_LOG];
};

static void
model_add(struct model *mo, daddr_t blkno, size_t bytes)
{
	KASSERT(mo->n < GATE_LOG, "a file of more than %d requests", GATE_LOG);
	mo->requests[mo->n].blkno = blkno;
	mo->requests[mo->n++].bytes = bytes;
	mo->full += bytes == MAXPHYS;
}

/* A page in pieces: one request for each run of the device's sectors inside EOF. */
static void
model_pieces(struct model *mo, struct gated *g, vm_pindex_t p)
{
	uint64_t end = MIN((p + 1) * P, g->size), bsize = g->vp->v_mount->mnt_stat.f_iosize;
	uint32_t sector = vt_device_sector(g->vp);
	daddr_t last = -2;

	VOP_LOCK(g->vp, LK_SHARED);
	for (uint64_t off = p * P; off < end; off += sector) {
		struct bmap bm = { .hole = true };
		daddr_t at;

		CHECK_EQ(VOP_BMAP(g->vp, (daddr_t)(off / bsize), NULL, &bm), 0);
		at = bm.hole ? -2 : bm.blkno + (daddr_t)(off % bsize / DEV_BSIZE);
		if (at >= 0 && at == last + (daddr_t)(sector / DEV_BSIZE))
			mo->requests[mo->n - 1].bytes += sector;
		else if (at >= 0)
			model_add(mo, at, sector);
		last = at;
	}
	VOP_UNLOCK(g->vp);
}

/* What reading a file from its first page to its last should ask of the disk. */
static struct model *
model_sequential(struct gated *g)
{
	struct model *mo = kmalloc(sizeof(*mo), &M_TCLUSTER, M_WAITOK | M_ZERO);

	for (vm_pindex_t p = 0, n; p < g->npages; p += n) {
		daddr_t first = vt_sector_of_page(g->vp, p);

		n = 1;
		if (first < 0) {
			model_pieces(mo, g, p);
			continue;
		}
		while (n < VM_PAGER_CLUSTER_MAX && p + n < g->npages &&
		    vt_sector_of_page(g->vp, p + n) == first + (daddr_t)(n * SECTORS))
			n++;
		mo->whole_pages += n;
		model_add(mo, first, MIN(n * P, roundup(g->size - p * P, vt_device_sector(g->vp))));
	}
	return (mo);
}

/* Read it so, and compare request by request. */
static struct model *
check_sequential(struct gated *g)
{
	struct model *mo = model_sequential(g);
	unsigned n;

	gate_log_clear();
	CHECK(vt_verify_sparsely(g->path, g->va, 0, g->size));
	n = gate_requests();
	CHECK_EQ(n, mo->n);
	for (unsigned i = 0; i < MIN(n, mo->n) && !ktest_failed(); i++) {
		CHECK_EQ(gate_log[i].blkno, mo->requests[i].blkno);
		CHECK_EQ(gate_log[i].bytes, mo->requests[i].bytes);
		if (ktest_failed())
			printf("# in request %u of %u\n", i, n);
	}
	return (mo);
}

/* ---- requests ---- */

KTEST_COUNTING(vnpager, contiguous_file_is_read_in_full_windows)
{
	struct model *mo;
	struct gated g;

	if (!gated_open(&g, "/t/seq4m"))
		return;
	mo = check_sequential(&g);
	CHECK(mo->full >= 4 * MiB / MAXPHYS / 2);
	kfree(mo, &M_TCLUSTER);
	gated_close(&g);
}

KTEST_COUNTING(vnpager, fragmented_file_costs_one_request_a_run)
{
	struct model *mo;
	struct gated g;

	if (!gated_open(&g, "/t/frag"))
		return;
	mo = check_sequential(&g);
	CHECK(mo->n > 10);
	if (g.vp->v_mount->mnt_stat.f_iosize < P)
		CHECK(mo->whole_pages < g.npages);
	kfree(mo, &M_TCLUSTER);
	gated_close(&g);
}

KTEST_COUNTING(vnpager, odd_end_is_read_to_its_last_sector)
{
	struct model *mo;
	struct gated g;

	if (!gated_open(&g, "/t/seq"))
		return;
	CHECK(g.size % P != 0);
	mo = check_sequential(&g);
	CHECK(mo->requests[mo->n - 1].bytes % P != 0 || vt_device_sector(g.vp) >= P);
	CHECK_EQ(g.object->resident_page_count, g.npages);
	kfree(mo, &M_TCLUSTER);
	gated_close(&g);
}

/* Data and holes in turn: what is read is data, all of it, once. */
KTEST_COUNTING(vnpager, sparse_file_reads_its_data_only)
{
	struct model *mo;
	struct gated g;

	if (!gated_open(&g, "/t/checker"))
		return;
	mo = check_sequential(&g);
	CHECK_EQ(gate_sectors(), 20ul * g.vp->v_mount->mnt_stat.f_iosize / DEV_BSIZE);
	kfree(mo, &M_TCLUSTER);
	gated_close(&g);
}

/* ---- neighbours ---- */

/* An aligned window of 16 pages in one run, to fault into without a pattern. */
static vm_pindex_t
open_window(struct gated *g)
{
	vm_pindex_t w;

	if (!gated_open(g, "/t/seq"))
		return (VT_NO_RUN);
	w = vt_find_run(g->vp, 16, 16, 32);	/* and 16 more that must not come along */
	CHECK(w != VT_NO_RUN);
	if (w == VT_NO_RUN)
		gated_close(g);
	return (w);
}

static void
check_residents(struct gated *g, vm_pindex_t start, vm_pindex_t end)
{
	for (vm_pindex_t i = 0; i < g->npages; i++)
		if (vt_resident(g->object, i) != (i >= start && i < end))
			ktest_fail(__FILE__, __LINE__, "page %lu is%s resident; not [%lu, %lu)", i,
			    vt_resident(g->object, i) ? "" : " not", start, end);
}

KTEST_COUNTING(vnpager, neighbours_arrive_inactive_and_clean)
{
	struct gated g;
	vm_pindex_t w = open_window(&g);

	if (w == VT_NO_RUN)
		return;
	vm_pageout_freeze(true);
	CHECK(verify_page(&g, w + 6));
	for (vm_pindex_t i = w; i < w + 16; i++) {
		struct vm_page *m = vt_page(g.object, i);

		if (!CHECK(m != NULL))
			continue;
		CHECK_EQ(m->queue, PQ_INACTIVE);
		CHECK_EQ(m->valid, VM_PAGE_BITS_ALL);
		CHECK_EQ(m->dirty, 0);
		CHECK(!vm_page_busied(m));
	}
	vm_pageout_freeze(false);
	check_residents(&g, w, w + 16);
	CHECK_EQ(gate_requests(), 1);
	/* And they serve, without another request. */
	CHECK(vt_verify(g.path, g.va + w * P, IDX_TO_OFF(w), 16 * P));
	CHECK_EQ(gate_requests(), 1);
	gated_close(&g);
}

KTEST(vnpager, clusters_end_at_resident_pages)
{
	struct gated g;
	vm_pindex_t w = open_window(&g);
	struct vm_page *low, *high;

	if (w == VT_NO_RUN)
		return;
	vt_no_readahead(g.va, g.npages * P);
	CHECK(verify_page(&g, w + 2));
	CHECK(verify_page(&g, w + 12));
	low = vt_page(g.object, w + 2);
	high = vt_page(g.object, w + 12);
	CHECK_EQ(vm_map_advise(&curthread->vmspace->map, g.va, g.va + g.npages * P, VM_ADV_NORMAL),
	    KERN_SUCCESS);
	gate_log_clear();
	CHECK(verify_page(&g, w + 6));
	CHECK_EQ(gate_requests(), 1);
	CHECK_EQ(gate_log[0].blkno, vt_sector_of_page(g.vp, w + 3));
	CHECK_EQ(gate_log[0].bytes, 9 * P);
	CHECK(vt_page(g.object, w + 2) == low && vt_page(g.object, w + 12) == high);
	CHECK(!vt_resident(g.object, w + 1) && !vt_resident(g.object, w + 13));
	gated_close(&g);
}

KTEST_COUNTING(vnpager, clusters_end_where_the_mapping_ends)
{
	struct gated g;
	vm_pindex_t w = open_window(&g);
	vm_offset_t va;

	if (w == VT_NO_RUN)
		return;
	va = vt_map_ro(g.vp, IDX_TO_OFF(w + 4), 3 * P);
	CHECK(vt_verify(g.path, va + P, IDX_TO_OFF(w + 5), P));
	check_residents(&g, w + 4, w + 7);
	gated_close(&g);
}

KTEST_COUNTING(vnpager, clusters_end_at_eof)
{
	struct gated g;
	vm_pindex_t first;
	vm_offset_t va;

	if (!gated_open(&g, "/t/seq"))
		return;
	first = g.npages - 5;
	for (vm_pindex_t i = 1; i < 5; i++)
		CHECK_EQ(vt_sector_of_page(g.vp, first + i),
		    vt_sector_of_page(g.vp, first) + (daddr_t)(i * SECTORS));
	/* The mapping goes on behind EOF, and so may the last block. */
	va = vt_map_ro(g.vp, IDX_TO_OFF(first), 64 * P);
	CHECK_EQ(vm_map_advise(&curthread->vmspace->map, va, va + 64 * P, VM_ADV_SEQUENTIAL),
	    KERN_SUCCESS);
	CHECK(vt_verify(g.path, va, IDX_TO_OFF(first), 5 * P));
	CHECK_EQ(gate_requests(), 1);
	CHECK_EQ(gate_log[0].bytes, roundup(g.size - first * P, vt_device_sector(g.vp)));
	check_residents(&g, first, g.npages);
	CHECK_SIGBUS(va + 5 * P);
	CHECK_EQ(gate_requests(), 1);
	gated_close(&g);
}

KTEST(vnpager, clusters_end_at_holes)
{
	struct gated g;
	uint64_t bsize;
	vm_pindex_t first, npages;

	if (!gated_open(&g, "/t/checker"))	/* every other block is a hole */
		return;
	bsize = MAX((uint64_t)g.vp->v_mount->mnt_stat.f_iosize, P);
	npages = bsize / P;
	first = g.vp->v_mount->mnt_stat.f_iosize < P ? 4 : 5 * npages;
	CHECK(verify_page(&g, first + npages / 2));
	/* A page in pieces comes alone; of a block comes what the window reaches. */
	CHECK_EQ(g.object->resident_page_count, MIN(npages, 16ul));
	for (vm_pindex_t i = 0; i < g.npages; i++)
		if (vt_resident(g.object, i))
			CHECK(i >= first && i < first + npages);
	gated_close(&g);
}

/* ---- the object cache ---- */

KTEST(vnpager, last_unmap_keeps_the_pages_for_the_next_map)
{
	struct vm_object *object;
	struct vmmeter before;
	uint32_t cached;
	struct gated g;

	if (!gated_open(&g, "/t/odd"))
		return;
	cached = vm_object_cached_count();
	object = g.object;
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	vt_end();
	CHECK(!object->cached);
	vm_object_deallocate(object);
	CHECK(object->cached);
	CHECK_EQ(object->ref_count, 0);
	CHECK_EQ(object->resident_page_count, g.npages);
	CHECK_EQ(vm_object_cached_count(), cached + 1);
	CHECK(g.vp->v_object == object);
	before = vm_meter_sum();
	gate_log_clear();
	vt_begin();
	g.va = vt_map_ro(g.vp, 0, g.npages * P);
	CHECK(g.vp->v_object == object);
	CHECK_EQ(object->ref_count, 1);
	CHECK(!object->cached);
	CHECK_EQ(VMCNT_GET(v_object_cache_hits) - before.v_object_cache_hits, 1);
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	CHECK_EQ(gate_requests(), 0);
	vm_object_reference(object);
	gated_close(&g);
	CHECK_EQ(vm_object_cached_count(), cached);
}

KTEST(vnpager, uncached_object_ends_with_its_last_mapping)
{
	struct gated g;

	if (!gated_open(&g, "/t/odd"))
		return;
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	VOP_LOCK(g.vp, LK_EXCLUSIVE);
	vnode_pager_uncache(g.vp);
	VOP_UNLOCK(g.vp);
	CHECK(g.vp->v_object == g.object);		/* still mapped */
	CHECK(!(g.object->flags & OBJ_CANPERSIST));
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	vm_object_deallocate(g.object);
	CHECK(g.vp->v_object == g.object);
	vt_end();
	CHECK(g.vp->v_object == NULL);
	CHECK(g.vp->v_flag & VAGE);
	CHECK(!(g.vp->v_flag & VVMIO));
	g.object = vt_object(g.vp);			/* a new one, which has to read again */
	CHECK_EQ(g.object->resident_page_count, 0);
	CHECK(g.object->flags & OBJ_CANPERSIST);
	vt_begin();
	g.va = vt_map_ro(g.vp, 0, g.npages * P);
	gate_log_clear();
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	CHECK(gate_requests() > 0);
	gated_close(&g);
}

KTEST(vnpager, uncache_empties_the_cache_of_this_file)
{
	uint32_t cached, tfree, resident;
	struct gated g;

	if (!gated_open(&g, "/t/odd"))
		return;
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	vt_end();
	resident = g.object->resident_page_count;
	CHECK(resident > 0);
	vm_object_deallocate(g.object);
	cached = vm_object_cached_count();
	tfree = (uint32_t)VMCNT_GET(v_tfree);
	CHECK(g.object->cached);
	VOP_LOCK(g.vp, LK_EXCLUSIVE);
	vnode_pager_uncache(g.vp);
	CHECK(VOP_ISLOCKED(g.vp));
	VOP_UNLOCK(g.vp);
	CHECK(g.vp->v_object == NULL);
	CHECK_EQ(vm_object_cached_count(), cached - 1);
	CHECK((uint32_t)VMCNT_GET(v_tfree) - tfree >= resident);
	CHECK_EQ(g.vp->v_usecount, 1);			/* ours; the object's is gone */
	vrele(g.vp);
	gate_close();
}

KTEST(vnpager, cache_gives_up_the_least_recently_used_first)
{
	static const char *const paths[] = { "/t/page", "/t/page1", "/t/odd" };
	struct vnode *vp[nitems(paths)];

	if (!gate_open())
		return;
	vm_object_cache_shrink(SIZE_MAX, true);
	for (size_t i = 0; i < nitems(paths); i++) {
		vp[i] = gate_file(paths[i]);
		CHECK(testfile_read_verify(vp[i], paths[i], 0, P));
		CHECK(vp[i]->v_object != NULL && vp[i]->v_object->cached);
	}
	CHECK(testfile_read_verify(vp[0], paths[0], 0, P));	/* the first is the youngest now */
	CHECK(vm_object_cache_shrink(1, true) > 0);
	CHECK(vp[1]->v_object == NULL);
	CHECK(vp[0]->v_object != NULL && vp[2]->v_object != NULL);
	CHECK(vm_object_cache_shrink(1, true) > 0);
	CHECK(vp[2]->v_object == NULL);
	CHECK(vp[0]->v_object != NULL);
	for (size_t i = 0; i < nitems(paths); i++)
		vrele(vp[i]);
	gate_close();
}

KTEST(vnpager, cached_object_keeps_its_vnode_from_being_recycled)
{
	struct vnode *vp;
	uint32_t id;

	if (!gate_open())
		return;
	vp = gate_file("/t/odd");
	CHECK(testfile_read_verify(vp, "/t/odd", 0, P));
	id = vp->v_id;
	vrele(vp);
	CHECK_EQ(vp->v_usecount, 1);			/* the object's */
	vnode_shrink(1000);
	CHECK(gate_file("/t/odd") == vp);
	CHECK_EQ(vp->v_id, id);
	vrele(vp);
	gate_close();
}

/* ---- mounts ---- */

KTEST(vnpager, unmount_empties_the_cache_of_its_volume)
{
	static const char *const paths[] = { "/t/page", "/t/page1", "/t/odd", "/t/tiny" };
	uint32_t cached;

	if (!gate_open())
		return;
	cached = vm_object_cached_count();
	for (size_t i = 0; i < nitems(paths); i++) {
		struct vnode *vp = gate_file(paths[i]);

		CHECK(testfile_read_verify(vp, paths[i], 0, P));
		vrele(vp);
	}
	CHECK_EQ(vm_object_cached_count(), cached + nitems(paths));
	gate_close();					/* panics if it cannot */
	CHECK_EQ(vm_object_cached_count(), cached);
}

KTEST(vnpager, unmount_of_a_mapped_file_is_refused_by_name)
{
	struct vnode *busy = NULL;
	struct gated g;

	if (!gated_open(&g, "/t/odd"))
		return;
	CHECK(verify_page(&g, 0));
	CHECK_EQ(vfs_unmount(gate_mp), EBUSY);
	CHECK_EQ(vnode_flush_mount(gate_mp, &busy), EBUSY);
	CHECK(busy == g.vp);
	if (busy != NULL)
		vrele(busy);
	gate_log_clear();			/* it goes on as before */
	vt_evict(g.object, 0, g.npages);
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	CHECK(gate_requests() > 0);
	gated_close(&g);
}

KTEST(vnpager, two_mounts_of_a_volume_are_independent)
{
	struct vm_object *object;
	struct pmap *pmap;
	struct vnode *vp;
	struct gated g;
	vm_offset_t va;

	if (!gated_open(&g, "/t/odd"))
		return;
	vp = testfile_open("/t/odd");
	CHECK_OR_RETURN(vp != NULL);
	object = vt_object(vp);
	va = vt_map_ro(vp, 0, g.npages * P);
	CHECK(vp != g.vp && object != g.object);
	CHECK_EQ(vp->v_ino, g.vp->v_ino);
	vt_evict(object, 0, g.npages);
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	CHECK_EQ(object->resident_page_count, 0);
	gate_fail(0, gate_mp->mnt_devvp->v_disk->dk_nsectors);
	CHECK(vt_verify("/t/odd", va, 0, g.npages * P));	/* its disk is whole */
	vt_evict(g.object, 0, g.npages);
	CHECK_SIGBUS(g.va + 2 * P);
	CHECK(vt_verify("/t/odd", va, 0, g.npages * P));
	gate_fail_none();
	CHECK(vt_verify(g.path, g.va, 0, g.npages * P));
	pmap = &curthread->vmspace->pmap;
	CHECK(pmap_extract(pmap, va) != pmap_extract(pmap, g.va));
	CHECK_EQ(vm_munmap(curthread->vmspace, g.va, g.npages * P), 0);
	vm_object_deallocate(g.object);
	vrele(g.vp);
	gate_close();
	CHECK(vt_verify("/t/odd", va, 0, g.npages * P));
	vt_evict(object, 0, g.npages);
	CHECK(vt_verify("/t/odd", va, 0, g.npages * P));
	vt_end();
	vm_object_deallocate(object);
	vrele(vp);
}

KTEST(vnpager, two_address_spaces_share_the_page)
{
	struct vmspace *first, *second;
	struct gated g;
	vm_offset_t va;

	if (!gated_open(&g, "/t/odd"))
		return;
	CHECK(verify_page(&g, 1));
	first = thread_set_vmspace(NULL);
	second = vt_begin();
	va = vt_map_ro(g.vp, 0, g.npages * P);
	gate_log_clear();
	CHECK(vt_verify(g.path, va + P, P, P));
	CHECK_EQ(gate_requests(), 0);
	CHECK_EQ(pmap_extract(&first->pmap, g.va + P), pmap_extract(&second->pmap, va + P));
	CHECK_EQ(pmap_page_mapping_count(vt_page(g.object, 1)), 2);
	vt_end();
	CHECK_EQ(pmap_page_mapping_count(vt_page(g.object, 1)), 1);
	thread_set_vmspace(first);
	CHECK(verify_page(&g, 1));
	gated_close(&g);
}
