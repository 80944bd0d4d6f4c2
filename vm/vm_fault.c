/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page faults: from an address that did not work to a page that does.
 *
 *	vm_fault
 *	  fault_lookup      map entry -> top object, index, protection          KERN_INVALID_ADDRESS, KERN_PROTECTION_FAILURE
 *	  fault_soft        the page is there, valid, idle: map it and go       (object locked shared, nothing busied)
 *	  fault_hard        otherwise, with the top object held by paging_in_progress:
 *	    fault_search      top object, then what it shadows, and so on      (vm_fault_search.c)
 *	      page busy?        let go of everything, sleep in "vmpfw", start again
 *	      page valid?       found
 *	      object has a pager?  fault_pagein: lock its vnode, unlock the map, read, found
 *	      else              one object down; at the bottom: zero-fill
 *	    fault_resolve     found below the top: a write copies it up, a read maps it read-only
 *	    fault_enter       is the map still the same?  enter the mapping, wire or activate, map the neighbours
 *
 * The cases, with T the top object and B what it shadows:
 *
 *	        1 resident     2 file          3 copy on write            4 zero-fill
 *	T       [page]         [   ] pager     [   ] <--copy--+           [page] <- zeros
 *	B                                      [page]---------+           (nothing below)
 *
 * What holds at every step (asserted where it is cheap):
 *	- we hold the lock of the object that we look at, or have a page of it exclusive-busy;
 *	- while we look below the top object, a busy placeholder at our index in the top object keeps others out;
 *	- every object in which we have a busy page has paging_in_progress raised by us, which also keeps it alive;
 *	- nothing is slept for while a page is busy, except the pager's own I/O.
 *
 * Lock order: map (shared), vnode, object from top to backing, page busy.  The vnode's lock is only
 * tried while a page is busy; if that fails we let go of everything, lock the vnode in peace, and
 * start again with it held (fs->vp).  With a vnode locked, the map is only tried, and on failure
 * the vnode goes.  The map is unlocked before I/O; afterwards it is tried, and if it changed
 * meanwhile the fault starts again, now with the page resident.
 *
 * Why not FreeBSD's original single function with macros: the steps above are the algorithm, so
 * they are the functions.
 */
#include "vm/vm_fault.h"

#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"
#include "kernel/stage.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_fault_state.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_oom.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vnode_pager.h"
#include "vm/vm_path.h"
#include "vm/vm_torture.h"

#define DIRTY_STEP	64	/* beyond the bound on a file's dirty pages, writing is tried each time so many came */
#define AROUND_PAGES	16	/* resident neighbours mapped along with a fault: an aligned block of this many pages */

/* ---- letting go ---- */

void
fault_map_release(struct faultstate *fs)
{
	if (fs->map_locked) {
		fs->map_locked = false;
		vm_map_runlock(fs->map);
	}
}

void
fault_vnode_release(struct faultstate *fs)
{
	if (fs->vp != NULL) {
		vput(fs->vp);
		fs->vp = NULL;
	}
}

void
fault_page_release(struct vm_page *m)
{
	if (m->valid == 0 && PEEK(m->wire_count) == 0)
		vm_page_free(m);
	else
		vm_page_xunbusy(m);
}

void
fault_objects_release(struct faultstate *fs)
{
	if (fs->object != NULL) {
		if (fs->m != NULL)
			fault_page_release(fs->m);
		vm_object_pip_wakeup(fs->object);
		vm_object_unlock(fs->object);
	}
	if (fs->object != fs->first_object) {
		vm_object_lock(fs->first_object);
		if (fs->first_m != NULL)
			fault_page_release(fs->first_m);
		vm_object_pip_wakeup(fs->first_object);
		vm_object_unlock(fs->first_object);
	}
	fs->m = fs->first_m = NULL;
	fs->object = NULL;
}

void
fault_release(struct faultstate *fs)
{
	fault_objects_release(fs);
	fault_map_release(fs);
}

int
fault_nomem(struct faultstate *fs)
{
	VM_PATH("fault_nomem");
	fault_vnode_release(fs);
	if (vm_oom_wait(container_of(fs->map, struct vmspace, map), &fs->nomem, fs->addr))
		return (KERN_RESTART);
	VM_PATH("fault_oom");
	return (KERN_RESOURCE_SHORTAGE);
}

/* ---- the steps ---- */

static int
fault_lookup(struct faultstate *fs)
{
	int kr;

	if (fs->vp == NULL) {
		vm_map_rlock(fs->map);
	} else if (!vm_map_tryrlock(fs->map)) {
		VM_PATH("fault_map_busy");
		fault_vnode_release(fs);
		return (KERN_RESTART);
	}
	kr = vm_map_lookup(fs->map, fs->addr, fs->type, fs->vp != NULL, &fs->place);
	if (kr == KERN_RESTART)
		fault_vnode_release(fs);
	if (kr != KERN_SUCCESS)
		return (kr);
	fs->map_locked = true;
	fs->timestamp = fs->map->timestamp;
	fs->entry_start = fs->place.entry->start;
	fs->entry_end = fs->place.entry->end;
	fs->first_object = fs->place.object;
	STAGE(MAP_LOOKUP, fs->addr, fs->place.entry, fs->first_object, fs->place.pindex);
	return (KERN_SUCCESS);
}

/* Only what a pager brought may lie around unmapped; and once a page is mapped, its neighbours had their chance. */
static inline bool
may_map_around(const struct faultstate *fs)
{
	return (vm_object_has_pager(fs->first_object) && (fs->flags & VM_FAULT_ALONE) == 0);
}

static inline bool
costs_nothing(const struct vm_page *m)
{
	return (!vm_page_busied(m) && vm_page_all_valid(m));
}

/*
 * Map the resident neighbours of a page that cost nothing: valid, idle, in the top object, same
 * entry, same block of pages.
 * => map locked; first_object locked, either mode; m is its page at addr.
 */
static void
map_around(struct faultstate *fs, struct vm_page *m)
{
	vm_offset_t start = MAX(fs->entry_start, fs->addr & ~(AROUND_PAGES * PAGE_SIZE - 1));
	vm_offset_t end = MIN(fs->entry_end, (fs->addr & ~(AROUND_PAGES * PAGE_SIZE - 1)) + AROUND_PAGES * PAGE_SIZE);
	vm_pindex_t first = fs->place.pindex - OFF_TO_IDX(fs->addr - start);
	vm_pindex_t last = first + OFF_TO_IDX(end - start) - 1;
	vm_prot_t prot = fs->place.prot & ~VM_PROT_WRITE;
	struct vm_page *pages[AROUND_PAGES] = { NULL }, *n;

	if (prot == VM_PROT_NONE || end - start == PAGE_SIZE)
		return;
	for (n = vm_page_prev(m); n != NULL && n->pindex >= first; n = vm_page_prev(n))
		if (costs_nothing(n))
			pages[n->pindex - first] = n;
	for (n = vm_page_next(m); n != NULL && n->pindex <= last; n = vm_page_next(n))
		if (costs_nothing(n))
			pages[n->pindex - first] = n;
	VMCNT_ADD(v_prefaulted, pmap_enter_run(fs->map->pmap, start, pages, OFF_TO_IDX(end - start), prot));
	for (vm_pindex_t i = 0; unlikely(trace_on) && i <= last - first; i++)
		if (pages[i] != NULL)
			TRACE(TR_PAGE_ENTER, start + IDX_TO_OFF(i), pages[i]->pfn, prot, 1);
}

/*
 * What a mapping of this page may not allow yet.  The first store to a clean page must be seen: a
 * file's page goes on the list of dirty pages (vm_dirty.c), and an anonymous one gives back its
 * copy on the swap disk (swap_pager.c).  => object locked.
 */
static vm_prot_t
clean_page_denies(struct vm_object *object, const struct vm_page *m)
{
	bool counts = object->type == OBJT_VNODE || (object->type == OBJT_SWAP && swap_pager_has_block(object, m->pindex));

	return (counts && PEEK(m->dirty) != VM_PAGE_BITS_ALL ? VM_PROT_WRITE : VM_PROT_NONE);
}

/*
 * Without making it busy?  A page that is being written to disk may be read, and only read.
 * => first_object locked, shared: so a page that is idle stays so.  Its busy word is looked at first, for
 *    who has it exclusively busy may be changing what it is looked at for next.
 */
static bool
may_map_now(const struct faultstate *fs, const struct vm_page *m)
{
	if (fs->type & VM_PROT_WRITE)
		return (!vm_page_busied(m) && vm_page_all_valid(m) &&
		    clean_page_denies(fs->first_object, m) == VM_PROT_NONE);
	return (!vm_page_xbusied(m) && vm_page_all_valid(m));
}

/*
 * The page is resident in the top object, valid and idle: map it.  The object stays locked, shared,
 * until that is done, so nobody can make the page busy to free it; and on FAULT_NOT_SOFT.
 */
static int
fault_soft(struct faultstate *fs)
{
	struct vm_page *m;
	int kr;

	vm_object_rlock(fs->first_object);
	if (fs->place.wired || (fs->flags & VM_FAULT_WIRE))
		return (FAULT_NOT_SOFT);
	m = vm_page_lookup(fs->first_object, fs->place.pindex);
	if (m == NULL || !may_map_now(fs, m))
		return (FAULT_NOT_SOFT);
	fs->place.prot &= ~clean_page_denies(fs->first_object, m);
	STAGE(OBJECT_LOOKUP, fs->first_object, fs->place.pindex, m->pfn, 0);
	kr = pmap_enter(fs->map->pmap, fs->addr, m, fs->place.prot, fs->type, 0);
	if (kr == KERN_SUCCESS) {
		STAGE(PAGE_ENTER, fs->addr, m->pfn, fs->place.prot, 0);
		if (PEEK(m->queue) == PQ_NONE)
			vm_page_activate(m);
		if (fs->flags & VM_FAULT_HOLD) {
			vm_page_wire(m);
			*fs->held = m;
		}
		if (may_map_around(fs))
			map_around(fs, m);
		VMCNT_INC(v_soft_faults);
	}
	vm_object_unlock(fs->first_object);
	fault_map_release(fs);
	return (kr == KERN_SUCCESS ? kr : fault_nomem(fs));
}

/*
 * A page that came in by this fault: a file's page begins inactive, and its use shows in the
 * mapping; private memory has nowhere else to be, and begins active.
 */
static void
page_enqueue_used(struct vm_page *m)
{
	if (vm_object_has_pager(m->object))
		vm_page_deactivate(m);
	else
		vm_page_activate(m);
}

/*
 * Is this page wired on behalf of the entry that we fault in?  Its mark in the page table says so.
 */
static bool
wired_for_entry(struct faultstate *fs, struct vm_page *m)
{
	pt_entry_t pte;
	int level;

	if (!fs->place.wired || !fs->map_locked || (fs->flags & VM_FAULT_WIRE))
		return (false);
	pte = pmap_walk(fs->map->pmap, fs->addr, &level);
	return (level == 1 && (pte & (PG_V | PG_W)) == (PG_V | PG_W) && (pte & PG_FRAME) == VM_PAGE_TO_PHYS(m));
}

/*
 * The page was found below the top object.  A write gets its own copy in the placeholder; a read
 * maps the page itself, read-only.
 * => object locked, m busy.  On return the top object is locked and fs->m is the page to map, busy.
 */
static void
fault_resolve(struct faultstate *fs)
{
	struct vm_page *from = fs->m, *to = fs->first_m;
	struct vm_object *below = fs->object;
	bool wired;

	if ((fs->type & VM_PROT_WRITE) == 0 && !(fs->place.wired && (fs->place.prot & VM_PROT_WRITE))) {
		fs->place.prot &= ~VM_PROT_WRITE;
		vm_object_unlock(below);
		vm_object_lock(fs->first_object);
		vm_page_free(to);
		fs->first_m = NULL;
		return;		/* fs->object stays below: its page is what we hold */
	}
	pmap_copy_page(from, to);
	vm_page_flag_clear(to, PG_ZERO);
	to->valid = to->dirty = VM_PAGE_BITS_ALL;
	VMCNT_INC(v_cow_faults);
	STAGE(COW, from->pfn, to->pfn, fs->first_object, to->pindex);
	/*
	 * Whoever else maps the top object may still see the old page through it: from now on it is
	 * hidden (O6).  Only our own mapping is replaced by pmap_enter.
	 */
	wired = wired_for_entry(fs, from);
	if (fs->first_object->ref_count > 1)
		pmap_remove_all(from);
	if (wired) {
		vm_page_wire(to);	/* M4: the wiring goes along */
		vm_page_unwire(from, PQ_ACTIVE);
	} else if (PEEK(from->queue) == PQ_NONE) {
		page_enqueue_used(from);
	} else {
		vm_page_reference(from);
	}
	vm_page_xunbusy(from);
	vm_object_pip_wakeup(below);
	vm_object_unlock(below);
	vm_object_lock(fs->first_object);
	fs->object = fs->first_object;
	fs->m = to;
	fs->first_m = NULL;
	fs->pindex = to->pindex;
}

/*
 * The map was unlocked for I/O: is it as it was?  re-check: by timestamp; if anything changed,
 * start again.
 */
static bool
fault_map_unchanged(struct faultstate *fs)
{
	if (fs->map_locked)
		return (true);
	if (!vm_map_tryrlock(fs->map)) {
		VM_PATH("fault_map_busy_after_io");
		return (false);
	}
	fs->map_locked = true;
	if (fs->map->timestamp == fs->timestamp)
		return (true);
	VM_PATH("fault_map_changed");
	return (false);
}

/*
 * Let go of the page and the objects; then the chain may have become simpler.
 * => first_object locked, fs->m busy.  Everything but the vnode is released.
 */
static void
fault_finish(struct faultstate *fs, bool collapse)
{
	struct vm_object *below = fs->object != fs->first_object ? fs->object : NULL;

	vm_page_xunbusy(fs->m);
	vm_object_pip_wakeup(fs->first_object);
	if (collapse && below == NULL && fs->first_object->backing_object != NULL)
		vm_object_collapse(fs->first_object);
	vm_object_unlock(fs->first_object);
	if (below != NULL) {
		vm_object_lock(below);
		vm_object_pip_wakeup(below);
		vm_object_unlock(below);
	}
	/* If the fault starts again, nothing of this try may look like its own. */
	fs->m = NULL;
	fs->object = NULL;
	fault_map_release(fs);
}

/* The page is there, but cannot be mapped now.  => as fault_finish. */
static void
fault_give_up(struct faultstate *fs)
{
	vm_page_activate(fs->m);
	fault_finish(fs, false);
}

/*
 * The page is about to be written to: say so where clean pages count.  A wired page stays in memory
 * whatever happens, so a copy on disk would only be a waste.
 * => fs->object is the top one (what lies below is never mapped writable), locked.
 */
static void
note_store(struct faultstate *fs, bool wire)
{
	if (fs->object->type == OBJT_VNODE && (fs->type & VM_PROT_WRITE)) {
		vm_object_page_dirty(fs->m, 0, PAGE_SIZE);
		/* Only now and then, so that a full disk is not tried for every page anew. */
		if (vm_object_too_dirty(fs->object) && fs->object->dirty_count % DIRTY_STEP == 0 &&
		    (fs->flags & (VM_FAULT_WIRE | VM_FAULT_HOLD)) == 0 && fs->dirty_vp == NULL && fs->object->handle != NULL) {
			fs->dirty_vp = fs->object->handle;
			vref(fs->dirty_vp);
		}
	} else if (fs->object->type == OBJT_SWAP && ((fs->type & VM_PROT_WRITE) || wire))
		swap_pager_dirtied(fs->m);
}

/* => first_object locked, fs->m busy and valid.  Everything but the vnode is released on return. */
static int
fault_enter(struct faultstate *fs)
{
	bool wire = (fs->flags & VM_FAULT_WIRE) || (fs->place.wired && PEEK(fs->m->wire_count) > 0);
	int kr;

	if (!fault_map_unchanged(fs)) {
		VMCNT_INC(v_restarts);
		fault_give_up(fs);
		return (KERN_RESTART);
	}
	if (fs->object == fs->first_object && (fs->type & VM_PROT_WRITE) && (fs->object->flags & OBJ_NOSTORES)) {
		fault_give_up(fs);
		return (KERN_IO_ERROR);		/* the volume became read-only under the mapping */
	}
	if (fs->object == fs->first_object) {
		note_store(fs, wire);
		fs->place.prot &= ~clean_page_denies(fs->object, fs->m);
	}
	kr = pmap_enter(fs->map->pmap, fs->addr, fs->m, fs->place.prot, fs->type, wire ? PMAP_WIRED : 0);
	if (kr != KERN_SUCCESS) {
		fault_give_up(fs);
		return (fault_nomem(fs));
	}
	STAGE(PAGE_ENTER, fs->addr, fs->m->pfn, fs->place.prot, 0);
	if (fs->flags & (VM_FAULT_WIRE | VM_FAULT_HOLD))
		vm_page_wire(fs->m);
	else if (PEEK(fs->m->queue) == PQ_NONE)
		page_enqueue_used(fs->m);
	if (fs->flags & VM_FAULT_HOLD)
		*fs->held = fs->m;
	if (fs->object == fs->first_object && may_map_around(fs))
		map_around(fs, fs->m);
	fault_finish(fs, (fs->type & VM_PROT_WRITE) != 0);
	return (KERN_SUCCESS);
}

static int
fault_hard(struct faultstate *fs)
{
	int kr;

	/* re-check: everything, in fault_search(). */
	vm_object_upgrade(fs->first_object);
	vm_object_pip_add(fs->first_object, 1);
	kr = fault_search(fs);
	if (kr != KERN_SUCCESS)
		return (kr);
	if (fs->object != fs->first_object)
		fault_resolve(fs);
	return (fault_enter(fs));
}

/*
 * Dirty pages are bounded for each file, however they became dirty: the one who made too many by his
 * stores writes them, before he goes on; but not the page that he is about to store to.
 * => nothing locked; the reference goes
 */
static void
clean_too_dirty(struct vnode *vp, vm_pindex_t pindex)
{
	struct vm_object *object;

	VM_PATH("fault_cleans_too_dirty");
	VOP_LOCK(vp, LK_EXCLUSIVE);
	/* re-check: others may have written them, or the object may have died, while we slept. */
	object = vnode_pager_live(vp);
	if (object != NULL && vm_object_too_dirty(object)) {
		/* An error is the file's, told by fsync. */
		if (pindex > 0)
			(void)vm_object_page_clean(object, 0, pindex, 0);
		(void)vm_object_page_clean(object, pindex + 1, 0, 0);
	}
	VOP_UNLOCK(vp);
	vrele(vp);
}

int
vm_fault(struct vm_map *map, vm_offset_t addr, vm_prot_t type, int flags, struct vm_page **held)
{
	struct faultstate fs = {
		.map = map, .addr = trunc_page(addr), .type = type, .flags = flags, .held = held
	};
	int kr;

	assert_can_sleep("vm_fault");
	VMCNT_INC(v_vm_faults);
	do {
		kr = fault_lookup(&fs);
		if (kr != KERN_SUCCESS)
			continue;
		kr = fault_soft(&fs);
		if (kr == FAULT_NOT_SOFT)
			kr = fault_hard(&fs);
	} while (kr == KERN_RESTART);
	fault_vnode_release(&fs);
	if (fs.dirty_vp != NULL)
		clean_too_dirty(fs.dirty_vp, fs.place.pindex);
	vm_pageout_poll();
	if (kr != KERN_SUCCESS)
		VMCNT_INC(v_failed_faults);
	else if (vm_torture)
		vm_torture_after_fault(map, fs.addr);
	return (kr);
}

void
vm_fault_unwire_page(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_object *next;
	struct vm_page *m;

	vm_object_rlock(object);
	while ((m = vm_page_lookup(object, pindex)) == NULL || PEEK(m->wire_count) == 0) {
		/*
		 * Hand over hand: a collapse changes the chain only under the lock of the object
		 * above.
		 */
		next = object->backing_object;
		KASSERT(next != NULL, "no wired page at index %lu of object %p or below (M4)", pindex, object);
		pindex += OFF_TO_IDX(object->backing_object_offset);
		vm_object_rlock(next);
		vm_object_unlock(object);
		object = next;
	}
	vm_page_unwire(m, PQ_ACTIVE);
	vm_object_unlock(object);
}
