/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The switch between objects and their pagers, and the guard of the contract in vm_pager.h: what is
 * asserted before and after every call here is what fault handling and the pagers rely on.
 */
#include "vm/vm_pager.h"

#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "kernel/stage.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_path.h"
#include "vm/vnode_pager.h"

const struct pagerops *pagertab[OBJT_COUNT] = {
	[OBJT_DEFAULT] = &defaultpagerops,
	[OBJT_SWAP] = &swappagerops,
	[OBJT_VNODE] = &vnodepagerops,
};

static const char *const status_names[] = {
	"VM_PAGER_OK", "VM_PAGER_BAD", "VM_PAGER_FAIL", "VM_PAGER_ERROR", "VM_PAGER_AGAIN"
};

const char *
vm_pager_status_name(int status)
{
	return (status >= 0 && status < (int)nitems(status_names) ? status_names[status] : "VM_PAGER_?");
}

void
vm_pager_init(void)
{
	for (int i = 0; i < OBJT_COUNT; i++)
		if (pagertab[i] != NULL && pagertab[i]->pgo_init != NULL)
			pagertab[i]->pgo_init();
}

/* P12, and O2. */
static void
assert_get_in(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	KASSERT(count > 0 && count <= VM_PAGER_CLUSTER_MAX && reqpage >= 0 && reqpage < count,
	    "getpages of %d pages, requested %d", count, reqpage);
	KASSERT(PEEK(object->paging_in_progress) > 0, "getpages of object %p without paging_in_progress (O2)", object);
	for (int i = 0; i < count; i++) {
		vm_page_assert_xbusied(m[i]);
		KASSERT(m[i]->object == object && m[i]->pindex == m[0]->pindex + i,
		    "getpages: page %d is not index %lu of object %p (P12)", i, m[0]->pindex + i, object);
		KASSERT(!vm_page_all_valid(m[i]) && (i == reqpage || m[i]->valid == 0),
		    "getpages: page %d is valid (P12)", i);
		KASSERT(!pmap_page_is_mapped(m[i]), "getpages: page %d is mapped (P12)", i);
	}
}

static void
assert_get_out(struct vm_object *object, struct vm_page *req, int result, uint8_t dirty_before)
{
	vm_page_assert_xbusied(req);
	KASSERT(req->object == object, "getpages gave the requested page away (%s)", vm_pager_status_name(result));
	KASSERT(result == VM_PAGER_OK || result == VM_PAGER_BAD || result == VM_PAGER_FAIL ||
	    result == VM_PAGER_ERROR || result == VM_PAGER_AGAIN, "getpages returned %s", vm_pager_status_name(result));
	if (result == VM_PAGER_OK)
		KASSERT(vm_page_all_valid(req) && req->dirty == dirty_before,
		    "getpages: OK, but valid %02x dirty %02x, was %02x (B5)", req->valid, req->dirty, dirty_before);
}

int
vm_pager_get_pages(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	struct vm_page *req = m[reqpage];
	uint8_t dirty = req->dirty;	/* sectors newer than the disk's: they stay as they are */
	int result;

	assert_can_sleep("vm_pager_get_pages");
	vm_pageout_poll();
	assert_get_in(object, m, count, reqpage);
	STAGE(PAGER_GET, object, m[0]->pindex, count, reqpage);
	result = pagertab[object->type]->pgo_getpages(object, m, count, reqpage);
	STAGE(PAGER_DONE, object, req->pindex, count, result);
	assert_get_out(object, req, result, dirty);
	return (result);
}

void
vm_pager_put_pages(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals)
{
	assert_can_sleep("vm_pager_put_pages");
	KASSERT(PEEK(object->paging_in_progress) > 0, "putpages of object %p without paging_in_progress (O2)", object);
	for (int i = 0; i < count; i++) {
		vm_page_assert_xbusied(m[i]);
		KASSERT(m[i]->object == object && m[i]->pindex == m[0]->pindex + i && vm_page_all_valid(m[i]),
		    "putpages: page %d is not index %lu of object %p, or not valid", i, m[0]->pindex + i, object);
		rtvals[i] = VM_PAGER_ERROR;
	}
	TRACE(TR_PAGER_PUT, object, m[0]->pindex, count, sync);
	pagertab[object->type]->pgo_putpages(object, m, count, sync, rtvals);
	TRACE(TR_PUT_DONE, object, m[0]->pindex, count, rtvals[0]);
	for (int i = 0; i < count; i++)
		KASSERT(vm_page_sbusied(m[i]), "putpages: page %d came back %x, not shared-busy", i, m[i]->busy);
}

enum vm_pager_has
vm_pager_has_page(struct vm_object *object, vm_pindex_t pindex, int *before, int *after)
{
	*before = *after = 0;
	return (pagertab[object->type]->pgo_haspage(object, pindex, before, after));
}

void
vm_pager_deallocate(struct vm_object *object)
{
	if (vm_object_has_pager(object))
		pagertab[object->type]->pgo_dealloc(object);
}

void
vm_pager_free_extras(struct vm_object *object, struct vm_page **m, int count, int first, int end)
{
	vm_object_lock(object);
	for (int i = 0; i < count; i++)
		if (i < first || i >= end)
			vm_page_free(m[i]);
	vm_object_unlock(object);
}

/* Allocate an absent neighbour.  NULL ends the cluster: memory is short. */
static struct vm_page *
neighbour_alloc(struct vm_object *object, vm_pindex_t pindex)
{
	if (vm_free_count() <= vm_ladder.min) {
		VM_PATH("readahead_cut_short");
		return (NULL);
	}
	return (vm_page_alloc(object, pindex, VM_ALLOC_NORMAL));
}

/*
 * Collect the absent neighbours of m, up to the nearest resident page on each side; returns the
 * number of pages in `pages`, m's place in *reqpage.  => object exclusively locked.
 */
static int
cluster_build(struct vm_object *object, struct vm_page *m, int behind, int ahead,
    struct vm_page *pages[VM_PAGER_CLUSTER_MAX], int *reqpage)
{
	struct vm_page *before[VM_PAGER_CLUSTER_MAX], *prev = vm_page_prev(m), *next = vm_page_next(m), *n;
	vm_pindex_t absent_behind = m->pindex - (prev != NULL ? prev->pindex + 1 : 0);
	vm_pindex_t absent_ahead = (next != NULL ? MIN(next->pindex, object->size) : object->size) - m->pindex - 1;
	int nbefore = 0, count = 0;

	behind = (int)MIN((vm_pindex_t)behind, absent_behind);
	ahead = m->pindex < object->size ? (int)MIN((vm_pindex_t)ahead, absent_ahead) : 0;
	while (nbefore < behind && (n = neighbour_alloc(object, m->pindex - nbefore - 1)) != NULL)
		before[nbefore++] = n;
	for (int i = nbefore - 1; i >= 0; i--)
		pages[count++] = before[i];
	*reqpage = count;
	pages[count++] = m;
	for (int i = 1; i <= ahead && (n = neighbour_alloc(object, m->pindex + i)) != NULL; i++)
		pages[count++] = n;
	return (count);
}

int
vm_pager_read_page(struct vm_object *object, struct vm_page *m, int behind, int ahead, int *got)
{
	struct vm_page *pages[VM_PAGER_CLUSTER_MAX];
	int before = 0, after = 0, count, reqpage;

	/* Only what comes in one transfer is worth a page: ask first. */
	if ((behind > 0 || ahead > 0) && m->valid == 0)
		(void)vm_pager_has_page(object, m->pindex, &before, &after);
	behind = MIN(behind, before);
	ahead = MIN(ahead, after);
	ahead = MIN(ahead, VM_PAGER_CLUSTER_MAX - 1);
	behind = MIN(behind, VM_PAGER_CLUSTER_MAX - 1 - ahead);
	pages[0] = m;
	count = 1;
	reqpage = 0;
	if (behind > 0 || ahead > 0) {
		vm_object_lock(object);
		count = cluster_build(object, m, behind, ahead, pages, &reqpage);
		vm_object_unlock(object);
	}
	if (got != NULL)
		*got = count;
	return (vm_pager_get_pages(object, pages, count, reqpage));
}
