/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dirty pages of files: knowing which they are, and writing them.
 *
 * A page of a file is mapped writable only while all its sectors count as dirty, so the first store
 * after each cleaning faults and nothing has to be asked of the page tables.  Dirty pages are on a
 * list of their object: syncing costs what is dirty, not what is resident and not what the file
 * holds.
 *
 *	clean, mapped read-only --store: write fault--> dirty, on the list, mapped writable
 *	        ^                                            |  vm_object_page_clean
 *	        |                                            v
 *	        +--------- written ---------- write-protected, dirty bits cleared, shared-busy: may be read meanwhile
 *	                                      not written: dirty again
 *
 * A write error is a generation of the object (error_gen).  Every open file and every mapping
 * remembers the generation that it has seen, so each of them is told once.
 *
 * Lock order: vnode (exclusive), object, page busy.
 */
#include "kernel/clock.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"

/* ---- how many ---- */

#define RAM_SHARE	8		/* a file may have this part of memory dirty */

static uint32_t dirty_bound;		/* tests only; 0: RAM_SHARE decides */

bool
vm_object_too_dirty(const struct vm_object *object)
{
	return (PEEK(object->dirty_count) >= (dirty_bound != 0 ? dirty_bound : vm_page_count / RAM_SHARE));
}

uint32_t
vm_object_dirty_bound(uint32_t pages)
{
	uint32_t old = dirty_bound;

	dirty_bound = pages;
	return (old);
}

/* ---- the list ---- */

static inline struct vm_page *
page_of(uint32_t number)
{
	return (number == VM_PAGE_NIL ? NULL : &vm_page_array[number]);
}

static void
list_insert_tail(struct vm_object *object, struct vm_page *m)
{
	uint32_t n = (uint32_t)(m - vm_page_array);
	struct vm_page *head = page_of(object->dirty_head);

	/* A ring, so that the head alone finds both ends. */
	if (head == NULL) {
		object->dirty_head = m->d_next = m->d_prev = n;
		object->dirty_since = ticks;
	} else {
		m->d_next = object->dirty_head;
		m->d_prev = head->d_prev;
		page_of(head->d_prev)->d_next = n;
		head->d_prev = n;
	}
	object->dirty_count++;
	vm_page_flag_set(m, PG_DIRTYLIST);
}

static void
list_remove(struct vm_object *object, struct vm_page *m)
{
	uint32_t n = (uint32_t)(m - vm_page_array);

	if (m->d_next == n) {
		object->dirty_head = VM_PAGE_NIL;
	} else {
		page_of(m->d_prev)->d_next = m->d_next;
		page_of(m->d_next)->d_prev = m->d_prev;
		if (object->dirty_head == n)
			object->dirty_head = m->d_next;
	}
	object->dirty_count--;
	vm_page_flag_clear(m, PG_DIRTYLIST);
}

void
vm_object_page_dirty(struct vm_page *m, size_t off, size_t len)
{
	KASSERT(rw_wheld(&m->object->lock), "dirtying page %u without its object's lock", m->pfn);
	KASSERT((vm_page_bits(off, len) & ~m->valid) == 0, "dirtying page %u where it is not valid (P5)", m->pfn);
	if (vm_page_bits(off, len) & ~m->dirty)
		TRACE(TR_PAGE_DIRTY, m->object, m->pindex, m->dirty | vm_page_bits(off, len), m->pfn);
	m->dirty |= vm_page_bits(off, len);
	if ((m->flags & PG_DIRTYLIST) == 0 && m->dirty != 0)
		list_insert_tail(m->object, m);
}

void
vm_object_page_cleaned(struct vm_page *m)
{
	if (m->dirty == 0 && (m->flags & PG_DIRTYLIST))
		list_remove(m->object, m);
}

/* ---- errors ---- */

int
vm_object_error_check(struct vm_object *object, uint32_t *seen)
{
	int error = 0;

	vm_object_lock(object);
	if (*seen != object->error_gen) {
		*seen = object->error_gen;
		error = object->error;
	}
	vm_object_unlock(object);
	return (error);
}

/* ---- cleaning ---- */

/* A dirty page that continues a cluster, busied; NULL ends it.  => object exclusively locked. */
static struct vm_page *
cluster_next(struct vm_page *m, vm_pindex_t pindex, vm_pindex_t start, vm_pindex_t end)
{
	if (m == NULL || m->pindex != pindex || pindex < start || pindex >= end || m->dirty == 0 ||
	    !vm_page_all_valid(m) || !vm_page_tryxbusy(m))
		return (NULL);
	return (m);
}

/* Collect the dirty pages around m, which is busy by us.  Returns how many; all write-protected. */
static int
cluster_gather(struct vm_page *m, vm_pindex_t start, vm_pindex_t end, struct vm_page *pages[VM_PAGER_CLUSTER_MAX])
{
	struct vm_page *first = m, *at;
	int count = 1;

	while (count < VM_PAGER_CLUSTER_MAX && first->pindex > 0 &&
	    (at = cluster_next(vm_page_prev(first), first->pindex - 1, start, end)) != NULL) {
		first = at;
		count++;
	}
	at = m;
	while (count < VM_PAGER_CLUSTER_MAX && (at = cluster_next(vm_page_next(at), at->pindex + 1, start, end)) != NULL)
		count++;
	for (int i = 0; i < count; i++, first = vm_page_next(first)) {
		pages[i] = first;
		/* P10: no store can come between this and the clearing of the dirty bits. */
		pmap_page_protect(first, VM_PROT_READ);
		pmap_clear_modify(first);
	}
	return (count);
}

/*
 * Write one cluster.
 * => object exclusively locked, and again on return; pages busy by us.  0 or errno of the first
 *    page that failed.
 */
static int
cluster_put(struct vm_object *object, struct vm_page **pages, int count, bool sync)
{
	int rtvals[VM_PAGER_CLUSTER_MAX], error = 0;

	vm_object_pip_add(object, 1);
	vm_object_unlock(object);
	vm_pager_put_pages(object, pages, count, sync, rtvals);
	vm_object_lock(object);
	for (int i = 0; i < count; i++) {
		if (rtvals[i] != VM_PAGER_OK && rtvals[i] != VM_PAGER_BAD && error == 0)
			error = object->error != 0 ? object->error : EIO;
		if (pages[i]->dirty == 0 && PEEK(pages[i]->queue) == PQ_LAUNDRY)
			vm_page_deactivate(pages[i]);
		vm_page_sunbusy(pages[i]);
	}
	vm_object_pip_wakeup(object);
	return (error);
}

/* Move a page to the end of the list: this pass is done with it. */
static void
list_rotate(struct vm_object *object, struct vm_page *m)
{
	if (object->dirty_head == (uint32_t)(m - vm_page_array))
		object->dirty_head = m->d_next;
}

int
vm_object_page_clean(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, int flags)
{
	struct vm_page *pages[VM_PAGER_CLUSTER_MAX], *m;
	int first_error = 0;
	uint32_t left;

	if (end == 0)
		end = UINT64_MAX;
	vm_object_lock(object);
	/*
	 * Each page that is dirty now is looked at once; what becomes dirty meanwhile is left to
	 * the next call.
	 */
	for (left = object->dirty_count; left > 0 && (m = page_of(object->dirty_head)) != NULL; left--) {
		int error, count;

		if (m->pindex < start || m->pindex >= end) {
			list_rotate(object, m);
			continue;
		}
		if (!vm_page_tryxbusy(m)) {
			vm_page_busy_sleep(m, "vmpcln");
			vm_object_lock(object);
			left++;		/* re-check: the list may begin with another page now */
			continue;
		}
		count = cluster_gather(m, start, end, pages);
		error = cluster_put(object, pages, count, (flags & OBJPC_SYNC) != 0);
		left -= MIN((uint32_t)count - 1, left - 1);
		/* What failed is dirty again, and at the end of the list: this pass goes on with the next. */
		if (first_error == 0)
			first_error = error;
	}
	vm_object_unlock(object);
	return (first_error);
}
