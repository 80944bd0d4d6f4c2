/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The object cache: files that nobody has open or mapped keep their pages, until memory is wanted
 * or the cache is full.  The runner empties the cache before each test, so whatever is in it here
 * was put there by the test.
 */
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_meter.h"
#include "vm/vm_pageout.h"
#include "vm/vnode_pager.h"

/*
 * The files of the test volume, and nothing in the cache: reading the manifest may have put it
 * there.
 */
#define FILES_OR_SKIP() do {							\
	TESTFILES_OR_SKIP();							\
	(void)vm_object_cache_shrink(SIZE_MAX, true);				\
} while (0)

/*
 * Read the first `len` bytes of a file, so that its object rests in the cache afterwards.  The
 * vnode, referenced.
 */
static struct vnode *
cached_file(const char *path, uint64_t len)
{
	struct vnode *vp = testfile_open(path);

	if (vp != NULL)
		(void)testfile_read_verify(vp, path, 0, len);
	return (vp);
}

static bool
is_cached(struct vnode *vp)
{
	struct vm_object *object = vp->v_object;

	return (object != NULL && object->cached && object->ref_count == 0);
}

KTEST(object, unreferenced_file_object_rests_with_its_pages)
{
	uint64_t objects = vm_object_count();
	struct vm_object *object;
	struct vnode *vp;

	FILES_OR_SKIP();
	CHECK_EQ(vm_object_cached_count(), 0);
	CHECK_OR_RETURN((vp = cached_file("/t/odd", PAGE_SIZE)) != NULL);
	CHECK_EQ(vm_object_cached_count(), 1);
	CHECK_EQ(vm_object_count(), objects + 1);
	object = vp->v_object;
	CHECK_OR_RETURN(object != NULL);
	CHECK(is_cached(vp));
	CHECK(object->flags & OBJ_CANPERSIST);
	CHECK(object->resident_page_count >= 1);
	CHECK_EQ(object->size, 4);
	vrele(vp);			/* the object keeps the vnode */
	CHECK_EQ(vm_object_cached_count(), 1);
	CHECK(vp->v_usecount == 1 && vp->v_object == object);
}

KTEST(object, revived_object_has_its_pages_still)
{
	uint64_t hits, pagesin;
	struct vm_object *object;
	struct vnode *vp;
	struct vm_page *m;

	FILES_OR_SKIP();
	CHECK_OR_RETURN((vp = cached_file("/t/seq", 8 * PAGE_SIZE)) != NULL);
	object = vp->v_object;
	m = vt_page(object, 3);
	CHECK_OR_RETURN(m != NULL);
	hits = VMCNT_GET(v_object_cache_hits);
	pagesin = VMCNT_GET(v_vnodepgsin);
	CHECK(vnode_pager_alloc(vp, object->un_pager.vnp.vnp_size, RO, 0,
	    curthread->cred) == object);
	CHECK_EQ(VMCNT_GET(v_object_cache_hits), hits + 1);
	CHECK_EQ(object->ref_count, 1);
	CHECK(!object->cached);
	CHECK_EQ(vm_object_cached_count(), 0);
	CHECK(vt_page(object, 3) == m && vm_page_all_valid(m));
	vm_object_deallocate(object);
	CHECK(is_cached(vp));
	(void)testfile_read_verify(vp, "/t/seq", 0, 8 * PAGE_SIZE);
	CHECK_EQ(VMCNT_GET(v_vnodepgsin), pagesin);
	CHECK(vp->v_object == object && vt_page(object, 3) == m);
	vrele(vp);
}

KTEST(object, mapped_file_is_not_in_the_cache)
{
	struct vmspace *vm;
	vm_offset_t addr = AT(0);
	struct vnode *vp;

	FILES_OR_SKIP();
	CHECK_OR_RETURN((vp = cached_file("/t/page", PAGE_SIZE)) != NULL);
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, MAP_SHARED, vp, 0), 0);
	CHECK_EQ(vm_object_cached_count(), 0);
	CHECK_EQ(vm_object_cache_shrink(1000, true), 0);
	CHECK(vp->v_object != NULL && vp->v_object->ref_count == 1);
	vmspace_free(vm);
	CHECK(is_cached(vp));
	vrele(vp);
}

KTEST(object, least_recently_used_object_goes_first)
{
	static const char *const paths[] = { "/t/page", "/t/page1", "/t/tiny", "/t/sectors" };
	struct vnode *vp[nitems(paths)];

	FILES_OR_SKIP();
	for (size_t i = 0; i < nitems(paths); i++)
		CHECK_OR_RETURN((vp[i] = cached_file(paths[i], 1)) != NULL);
	CHECK_EQ(vm_object_cached_count(), nitems(paths));
	(void)testfile_read_verify(vp[0], paths[0], 0, 1);	/* used again: now the youngest */
	for (size_t i = 1; i <= nitems(paths); i++) {
		CHECK(vm_object_cache_shrink(1, false) >= 1);
		for (size_t j = 1; j <= nitems(paths); j++)
			CHECK_EQ(vp[j % nitems(paths)]->v_object != NULL, j > i);
	}
	CHECK_EQ(vm_object_cached_count(), 0);
	CHECK_EQ(vm_object_cache_shrink(1, false), 0);
	for (size_t i = 0; i < nitems(paths); i++)
		vrele(vp[i]);
}

KTEST(object, shrinking_frees_pages_and_stops_when_it_has_enough)
{
	struct vnode *a, *b;
	uint32_t free, in_a;

	FILES_OR_SKIP();
	CHECK_OR_RETURN((a = cached_file("/t/seq", 20 * PAGE_SIZE)) != NULL);
	CHECK_OR_RETURN((b = cached_file("/t/odd", 3 * PAGE_SIZE)) != NULL);
	in_a = a->v_object->resident_page_count;
	CHECK(in_a >= 20);
	free = vm_free_count();
	CHECK_EQ(vm_object_cache_shrink(5, false), in_a);
	CHECK(a->v_object == NULL && b->v_object != NULL);
	CHECK(vm_free_count() >= free + in_a);
	vrele(a);
	vrele(b);
}

/*
 * Reclaim may not wait for a vnode: it leaves that file alone, takes the next, and the busy one
 * counts as used just now.
 */
KTEST(object, shrinking_without_waiting_passes_over_a_locked_vnode)
{
	struct vnode *a, *b, *c;

	FILES_OR_SKIP();
	CHECK_OR_RETURN((a = cached_file("/t/page", 1)) != NULL);
	CHECK_OR_RETURN((b = cached_file("/t/tiny", 1)) != NULL);
	CHECK_OR_RETURN((c = cached_file("/t/page1", 1)) != NULL);
	VOP_LOCK(a, LK_SHARED);
	CHECK(vm_object_cache_shrink(1, false) >= 1);
	VOP_UNLOCK(a);
	CHECK(is_cached(a));
	CHECK(b->v_object == NULL);
	CHECK(vm_object_cache_shrink(1, false) >= 1);
	CHECK(is_cached(a) && c->v_object == NULL);
	CHECK_EQ(vm_object_cached_count(), 1);
	vrele(a);
	vrele(b);
	vrele(c);
}

static void
shrink_thread(void *arg)
{
	(void)vm_object_cache_shrink(1, true);
}

/*
 * The last look: whoever comes back while the killer waits for the vnode finds the object alive,
 * and it stays so.
 */
KTEST(object, object_revived_under_its_killer_lives)
{
	struct vm_object *object, *again;
	struct thread *td;
	struct vnode *vp;
	uint32_t pages;

	FILES_OR_SKIP();
	CHECK_OR_RETURN((vp = cached_file("/t/seq", 4 * PAGE_SIZE)) != NULL);
	object = vp->v_object;
	pages = object->resident_page_count;
	VOP_LOCK(vp, LK_SHARED);
	td = thread_create("t-shrink", PRI_KERNEL, shrink_thread, NULL);
	CHECK(wait_asleep(td, "vnode"));
	again = vnode_pager_alloc(vp, object->un_pager.vnp.vnp_size, RO, 0, curthread->cred);
	CHECK(again == object);
	VOP_UNLOCK(vp);
	thread_join(td);
	CHECK_EQ(object->ref_count, 1);
	CHECK_EQ(object->flags & OBJ_DEAD, 0);
	CHECK_EQ(object->resident_page_count, pages);
	vm_object_deallocate(again);
	CHECK(is_cached(vp));
	vrele(vp);
}

/* ---- leaving for good ---- */

KTEST(object, uncached_object_dies_with_its_last_reference)
{
	struct vm_object *object;
	struct vmspace *vm;
	vm_offset_t addr = AT(0);
	struct vnode *vp;

	FILES_OR_SKIP();
	CHECK_OR_RETURN((vp = cached_file("/t/page", PAGE_SIZE)) != NULL);
	/* Only cached: it goes at once. */
	VOP_LOCK(vp, LK_EXCLUSIVE);
	vnode_pager_uncache(vp);
	CHECK(vp->v_object == NULL);
	VOP_UNLOCK(vp);
	CHECK_EQ(vm_object_cached_count(), 0);
	/* Mapped: it stays as long as it is mapped, and goes then. */
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, MAP_SHARED, vp, 0), 0);
	CHECK(get(vm, addr) >= 0);
	object = vp->v_object;
	VOP_LOCK(vp, LK_EXCLUSIVE);
	vnode_pager_uncache(vp);
	VOP_UNLOCK(vp);
	CHECK(vp->v_object == object && object->ref_count == 1);
	CHECK_EQ(object->flags & OBJ_CANPERSIST, 0);
	CHECK_EQ(vm_munmap(vm, addr, PAGE_SIZE), 0);
	CHECK(vp->v_object == NULL);
	CHECK_EQ(vm_object_cached_count(), 0);
	vmspace_free(vm);
	vrele(vp);
}

/* ---- the bound ---- */

/* Put files of /t/many into the cache until it holds `wanted` objects. */
static void
cache_many(uint32_t wanted)
{
	static const char letters[] = "xxxxxxxxxxxxxxxxxxxxxx";
	size_t done;

	for (int n = 0; n < 500 && vm_object_cached_count() < wanted; n++) {
		char path[64], byte;
		struct vnode *vp;

		snprintf(path, sizeof(path), "/t/many/entry%03d%s", n, letters + 22 - n % 23);
		if (!CHECK_EQ(namei(path, NULL, 0, &vp), 0))
			return;
		CHECK_EQ(vn_read(vp, &byte, 1, 0, &done), 0);
		vrele(vp);
	}
}

KTEST(object, cache_is_trimmed_to_its_bound)
{
	uint32_t bound = MAX(16u, vm_page_count / 32);
	struct vnode *vp;

	FILES_OR_SKIP();
	if (bound > 450) {
		ktest_skip("the cache holds %u objects here, more than the volume has files",
		    bound);
		return;
	}
	vm_pageout_freeze(true);
	/* The oldest has many pages: trimming counts objects, not pages. */
	if ((vp = cached_file("/t/seq", 40 * PAGE_SIZE)) != NULL)
		vrele(vp);
	cache_many(bound + 20);
	CHECK_EQ(vm_object_cached_count(), bound + 20);
	(void)vm_object_cache_trim();
	CHECK_EQ(vm_object_cached_count(), bound);
	/* And the reclaim thread does it by itself. */
	cache_many(bound + 5);
	vm_pageout_freeze(false);
	VT_WAIT(vm_object_cached_count() == bound);
}

/*
 * The cache is over its bound, and all that is in it belongs to files that are locked.  Reclaim cannot
 * do anything about that, and must not try for ever: it would keep everybody else from the CPU.
 */
KTEST(object, reclaim_rests_while_all_cached_files_are_locked)
{
	uint64_t wakeups, end;
	struct vnode *vp[2];
	uint32_t bound;

	FILES_OR_SKIP();
	CHECK_OR_RETURN((vp[0] = cached_file("/t/page", 1)) != NULL);
	CHECK_OR_RETURN((vp[1] = cached_file("/t/tiny", 1)) != NULL);
	bound = vm_object_cache_bound(0);
	for (int i = 0; i < 2; i++)
		CHECK(VOP_TRYLOCK(vp[i], LK_EXCLUSIVE));
	wakeups = VMCNT_GET(v_pdwakeups);
	vm_pageout_wakeup();
	VT_WAIT(VMCNT_GET(v_pdwakeups) > wakeups);
	vm_pageout_freeze(true);		/* until it has looked at them all */
	vm_pageout_freeze(false);
	CHECK_EQ(vm_object_cached_count(), 2);
	wakeups = VMCNT_GET(v_pdwakeups);
	for (end = ticks + 20; ticks < end; vt_pause())
		continue;
	CHECK_EQ(VMCNT_GET(v_pdwakeups), wakeups);
	for (int i = 0; i < 2; i++)
		VOP_UNLOCK(vp[i]);
	(void)vm_object_cache_bound(bound);
	for (int i = 0; i < 2; i++)
		vrele(vp[i]);
}
