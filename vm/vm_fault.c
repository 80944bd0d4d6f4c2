/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page faults: from an address that did not work to a page that does.
 *
 *	vm_fault
 *	  fault_lookup      map entry -> top object, index, protection          KERN_INVALID_ADDRESS, KERN_PROTECTION_FAILURE
 *	  fault_soft        the page is there, valid, idle: map it and go       (object locked shared, nothing busied)
 *	  fault_hard        otherwise, with the top object held by paging_in_progress:
 *	    fault_search      top object, then what it shadows, and so on
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
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"
#include "vm/vm_torture.h"
#include "vm/vnode_pager.h"

#define AROUND_PAGES	16	/* resident neighbours mapped along with a fault: an aligned block of this many pages */
#define CLUSTER_PAGES	16	/* read around the first fault without a pattern */
#define CLUSTER_MIN	4	/* and around a random one that follows others */
#define NOMEM_RETRIES	10	/* times to wait for memory (100 ms each at most) before asking whether there is any hope */

#define FAULT_NOT_SOFT	(-1)	/* internal: the fast path does not apply */

struct faultstate {
	/* the question */
	struct vm_map		*map;
	vm_offset_t		 addr;		/* page aligned */
	vm_prot_t		 type;
	int			 flags;
	struct vm_page		**held;

	/* the map's answer; entry is valid only while map_locked */
	struct vm_map_place	 place;
	vm_offset_t		 entry_start, entry_end;
	uint32_t		 timestamp;
	bool			 map_locked;

	/* where we are in the chain */
	/* the top; paging_in_progress raised by us in fault_hard */
	struct vm_object	*first_object;
	/* busy placeholder there while we look below, or NULL */
	struct vm_page		*first_m;
	struct vm_object	*object;	/* locked exclusively, unless said */
	vm_pindex_t		 pindex;
	struct vm_page		*m;		/* exclusive-busy by us, or NULL */

	struct vnode		*vp;		/* locked shared and referenced, or NULL */
	int			 nomem;		/* waits for memory so far */
	/* times that a pager had no resources although memory was there */
	int			 again;
};

/* ---- letting go ---- */

static void
map_release(struct faultstate *fs)
{
	if (fs->map_locked) {
		fs->map_locked = false;
		vm_map_runlock(fs->map);
	}
}

static void
vnode_release(struct faultstate *fs)
{
	if (fs->vp != NULL) {
		vput(fs->vp);
		fs->vp = NULL;
	}
}

/*
 * Give up a page that is exclusive-busy by us: a fresh one is freed, one with contents is only
 * unbusied.  => its object locked.
 */
static void
page_release(struct vm_page *m)
{
	if (m->valid == 0 && m->wire_count == 0)
		vm_page_free(m);
	else
		vm_page_xunbusy(m);
}

/*
 * Let go of all pages and objects.
 * => fs->object locked, if not NULL; nothing locked on return.
 */
static void
objects_release(struct faultstate *fs)
{
	if (fs->object != NULL) {
		if (fs->m != NULL)
			page_release(fs->m);
		vm_object_pip_wakeup(fs->object);
		vm_object_unlock(fs->object);
	}
	if (fs->object != fs->first_object) {
		vm_object_lock(fs->first_object);
		if (fs->first_m != NULL)
			page_release(fs->first_m);
		vm_object_pip_wakeup(fs->first_object);
		vm_object_unlock(fs->first_object);
	}
	fs->m = fs->first_m = NULL;
	fs->object = NULL;
}

/* Everything but the vnode. */
static void
fault_release(struct faultstate *fs)
{
	objects_release(fs);
	map_release(fs);
}

/*
 * No page could be allocated.  Wait for memory, as long as reclaim or the laundry gets somewhere.
 * When they do not, somebody must give up memory, and as nothing is known here of who holds how
 * much, it is whoever asks for more.
 * => nothing held but perhaps the vnode, which goes: nobody waits for memory with a vnode locked.
 */
static int
fault_nomem(struct faultstate *fs)
{
	VM_PATH("fault_nomem");
	vnode_release(fs);
	if (++fs->nomem > NOMEM_RETRIES && vm_pageout_hopeless()) {
		VM_PATH("fault_oom");
		vm_pageout_report_oom(fs->addr);
		return (KERN_RESOURCE_SHORTAGE);
	}
	vm_wait();
	return (KERN_RESTART);
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
		vnode_release(fs);
		return (KERN_RESTART);
	}
	kr = vm_map_lookup(fs->map, fs->addr, fs->type, fs->vp != NULL, &fs->place);
	if (kr == KERN_RESTART)
		vnode_release(fs);
	if (kr != KERN_SUCCESS)
		return (kr);
	fs->map_locked = true;
	fs->timestamp = fs->map->timestamp;
	fs->entry_start = fs->place.entry->start;
	fs->entry_end = fs->place.entry->end;
	fs->first_object = fs->place.object;
	TRACE(TR_MAP_LOOKUP, fs->addr, fs->place.entry, fs->first_object, fs->place.pindex);
	return (KERN_SUCCESS);
}

/*
 * Map the resident neighbours of addr that cost nothing: valid, idle, in the top object, same
 * entry, same block of pages.
 * => map locked; first_object locked, either mode.
 */
static void
map_around(struct faultstate *fs)
{
	vm_offset_t start = MAX(fs->entry_start, fs->addr & ~(AROUND_PAGES * PAGE_SIZE - 1));
	vm_offset_t end = MIN(fs->entry_end, (fs->addr & ~(AROUND_PAGES * PAGE_SIZE - 1)) + AROUND_PAGES * PAGE_SIZE);
	vm_pindex_t first = fs->place.pindex - OFF_TO_IDX(fs->addr - start);
	vm_pindex_t last = first + OFF_TO_IDX(end - start) - 1;
	vm_prot_t prot = fs->place.prot & ~VM_PROT_WRITE;
	struct vm_page *pages[AROUND_PAGES] = { NULL }, *m;
	uint64_t mapped;

	if (prot == VM_PROT_NONE || end - start == PAGE_SIZE)
		return;
	for (m = vm_page_find_least(fs->first_object, first); m != NULL && m->pindex <= last; m = vm_page_next(m))
		if (vm_page_all_valid(m) && !vm_page_busied(m))
			pages[m->pindex - first] = m;
	mapped = pmap_enter_run(fs->map->pmap, start, pages, (int)OFF_TO_IDX(end - start), prot);
	for (; mapped != 0; mapped &= mapped - 1) {
		int i = __builtin_ctzl(mapped);

		VMCNT_INC(v_prefaulted);
		TRACE(TR_PAGE_ENTER, start + IDX_TO_OFF(i), pages[i]->pfn, prot, 1);
	}
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

	return (counts && m->dirty != VM_PAGE_BITS_ALL ? VM_PROT_WRITE : VM_PROT_NONE);
}

/*
 * Without making it busy?  A page that is being written to disk may be read, and only read.  =>
 * first_object locked, shared.
 */
static bool
may_map_now(const struct faultstate *fs, const struct vm_page *m)
{
	if (fs->type & VM_PROT_WRITE)
		return (!vm_page_busied(m) && clean_page_denies(fs->first_object, m) == VM_PROT_NONE);
	return (!vm_page_xbusied(m));
}

/*
 * The page is resident in the top object, valid and idle: map it.  The object stays locked, shared,
 * until that is done, so nobody can make the page busy to free it.
 */
static int
fault_soft(struct faultstate *fs)
{
	struct vm_page *m;
	int kr;

	if (fs->place.wired || (fs->flags & VM_FAULT_WIRE))
		return (FAULT_NOT_SOFT);
	vm_object_rlock(fs->first_object);
	m = vm_page_lookup(fs->first_object, fs->place.pindex);
	if (m == NULL || !vm_page_all_valid(m) || !may_map_now(fs, m)) {
		vm_object_unlock(fs->first_object);
		return (FAULT_NOT_SOFT);
	}
	fs->place.prot &= ~clean_page_denies(fs->first_object, m);
	TRACE(TR_OBJECT_LOOKUP, fs->first_object, fs->place.pindex, m->pfn, 0);
	kr = pmap_enter(fs->map->pmap, fs->addr, m, fs->place.prot, fs->type, 0);
	if (kr == KERN_SUCCESS) {
		TRACE(TR_PAGE_ENTER, fs->addr, m->pfn, fs->place.prot, 0);
		if (m->queue == PQ_NONE)
			vm_page_activate(m);
		if (fs->flags & VM_FAULT_HOLD) {
			vm_page_wire(m);
			*fs->held = m;
		}
		if (vm_object_has_pager(fs->first_object))
			map_around(fs);
		VMCNT_INC(v_soft_faults);
	}
	vm_object_unlock(fs->first_object);
	map_release(fs);
	return (kr == KERN_SUCCESS ? kr : fault_nomem(fs));
}

/*
 * Somebody is busy with the page at fs->pindex of fs->object: wait until that is over, holding
 * nothing.
 * => object locked, fs->m NULL.  Everything is released.
 */
static int
fault_busy_wait(struct faultstate *fs)
{
	struct vm_object *object = fs->object;
	struct vm_page *m;

	VM_PATH("fault_busy_wait");
	VMCNT_INC(v_restarts);
	/* Our paging_in_progress keeps this object alive while we let go of what lies above it. */
	vm_object_unlock(object);
	if (object != fs->first_object) {
		fs->object = NULL;
		objects_release(fs);
	}
	map_release(fs);
	vnode_release(fs);
	vm_object_lock(object);
	vm_object_pip_wakeup(object);
	/* re-check: the page may be idle by now, or another one, or gone. */
	m = vm_page_lookup(object, fs->pindex);
	if (m == NULL || !vm_page_busied(m)) {
		vm_object_unlock(object);
	} else {
		vm_page_reference(m);
		vm_page_busy_sleep(m, "vmpfw");
	}
	fs->object = NULL;
	return (KERN_RESTART);
}

/*
 * Does this fault go on where the last read of the entry ended?  Or before that, right behind what
 * did come: the read was cut short, by a pointer block between the data or for want of memory.
 */
static bool
reads_on(const struct faultstate *fs)
{
	vm_pindex_t next = __atomic_load_n(&fs->place.entry->next_read, __ATOMIC_RELAXED);
	struct vm_page *prev;

	if (fs->pindex == next)
		return (true);
	if (fs->pindex > next || fs->pindex + VM_PAGER_CLUSTER_MAX <= next)
		return (false);
	prev = vm_page_prev(fs->m);
	return (prev != NULL && prev->pindex == fs->pindex - 1);
}

/*
 * How far to read around the page asked for: what the entry's history says.  A fault that goes on
 * where the last one ended is sequential and reads a full transfer ahead; one that is elsewhere
 * reads the aligned cluster around it, and each such miss halves the cluster.
 */
static void
read_window(struct faultstate *fs, int *behind, int *ahead)
{
	struct vm_map_entry *e = fs->place.entry;
	vm_pindex_t cluster = MAX(CLUSTER_PAGES >> MIN(e->read_misses, 8), CLUSTER_MIN);
	vm_pindex_t in_cluster = fs->pindex % cluster;
	vm_pindex_t to_end = OFF_TO_IDX(fs->entry_end - fs->addr) - 1, from_start = OFF_TO_IDX(fs->addr - fs->entry_start);

	if (e->advice == VM_ADV_RANDOM) {
		*behind = *ahead = 0;
	} else if (e->advice == VM_ADV_SEQUENTIAL || reads_on(fs)) {
		*behind = 0;
		*ahead = VM_PAGER_CLUSTER_MAX - 1;
		e->read_misses = 0;
	} else {
		*behind = (int)in_cluster;
		*ahead = (int)(cluster - 1 - in_cluster);
		e->read_misses = (uint8_t)MIN(e->read_misses + 1, 8);
	}
	*ahead = (int)MIN((vm_pindex_t)*ahead, to_end);
	*behind = (int)MIN((vm_pindex_t)*behind, from_start);
	__atomic_store_n(&e->next_read, fs->pindex + *ahead + 1, __ATOMIC_RELAXED);
}

/*
 * Have the vnode of fs->object locked before its pager is asked.
 * => object locked, fs->m busy.  KERN_SUCCESS: fs->vp is it (or the object has no vnode).
 *    KERN_RESTART: nothing held but fs->vp.
 */
static int
fault_lock_vnode(struct faultstate *fs)
{
	struct vnode *vp = fs->object->handle;
	struct vm_object *top = fs->first_object;
	bool reachable;

	if (fs->object->type != OBJT_VNODE || fs->vp == vp)
		return (KERN_SUCCESS);
	if (fs->vp == NULL && VOP_TRYLOCK(vp, LK_SHARED)) {
		vref(vp);
		fs->vp = vp;
		return (KERN_SUCCESS);
	}
	VM_PATH("fault_vnode_busy");
	/*
	 * The map, still locked, owns a reference on the top object: take our own before we let go
	 * of the map.
	 */
	reachable = fs->map_locked;
	if (reachable)
		vm_object_reference(top);
	fault_release(fs);
	vnode_release(fs);
	VMCNT_INC(v_restarts);
	if (reachable)
		fs->vp = vnode_pager_lock(top);
	return (KERN_RESTART);
}

/*
 * Ask the pager for fs->m.
 * => object locked, m busy; on KERN_SUCCESS again so, m valid, map unlocked; on FAULT_NOT_SOFT the
 *    pager has no such page: object locked, m still busy and invalid.  Otherwise everything but the
 *    vnode is released.
 */
static int
fault_pagein(struct faultstate *fs)
{
	int behind = 0, ahead = 0, result, kr;

	kr = fault_lock_vnode(fs);
	if (kr != KERN_SUCCESS)
		return (kr);
	if (fs->map_locked)
		read_window(fs, &behind, &ahead);
	/*
	 * The index may lie far behind the pager's end of file: the object's size is checked again
	 * under the vnode's lock.
	 */
	if (fs->pindex >= fs->object->size) {
		fault_release(fs);
		return (KERN_OUT_OF_BOUNDS);
	}
	vm_object_unlock(fs->object);
	map_release(fs);
	VMCNT_INC(v_io_faults);
	result = vm_pager_read_page(fs->object, fs->m, behind, ahead, NULL);
	vm_object_lock(fs->object);
	if (result == VM_PAGER_OK)
		return (KERN_SUCCESS);
	if (result == VM_PAGER_FAIL) {
		VM_PATH("fault_pager_fail");
		return (FAULT_NOT_SOFT);
	}
	fault_release(fs);
	if (result == VM_PAGER_AGAIN && vm_free_count() > vm_ladder.min && ++fs->again > NOMEM_RETRIES) {
		vnode_release(fs);
		return (KERN_RESOURCE_SHORTAGE);
	}
	if (result == VM_PAGER_AGAIN)
		return (fault_nomem(fs));
	return (result == VM_PAGER_BAD ? KERN_OUT_OF_BOUNDS : KERN_IO_ERROR);
}

/* Is there any use in asking the pager?  The swap pager knows at once.  => object locked. */
static bool
pager_may_have(struct vm_object *object, vm_pindex_t pindex)
{
	if (object->type == OBJT_SWAP)
		return (swap_pager_has_block(object, pindex));
	return (vm_object_has_pager(object));
}

/*
 * Look in one object.
 * => object locked.  KERN_SUCCESS: fs->m is there, busy and valid.  FAULT_NOT_SOFT: not here, look
 *    below; in the top object a placeholder is left in fs->m.  Otherwise everything but the vnode
 *    is released.
 */
static int
fault_look_here(struct faultstate *fs)
{
	struct vm_object *object = fs->object;
	bool pager = pager_may_have(object, fs->pindex);
	struct vm_page *m = vm_page_lookup(object, fs->pindex);

	TRACE(TR_OBJECT_LOOKUP, object, fs->pindex, m != NULL ? m->pfn : 0, object != fs->first_object);
	if (object->flags & OBJ_DEAD) {
		/* Its last mapping went away, and so did ours. */
		fault_release(fs);
		return (KERN_RESTART);
	}
	if (m != NULL && !vm_page_tryxbusy(m))
		return (fault_busy_wait(fs));
	if (m == NULL && !pager && object != fs->first_object)
		return (FAULT_NOT_SOFT);
	if (m == NULL && fs->pindex >= object->size) {
		fault_release(fs);
		return (KERN_OUT_OF_BOUNDS);
	}
	if (m == NULL) {
		m = vm_page_alloc(object, fs->pindex, pager ? VM_ALLOC_NORMAL : VM_ALLOC_ZERO);
		if (m == NULL) {
			fault_release(fs);
			return (fault_nomem(fs));
		}
	}
	fs->m = m;
	if (vm_page_all_valid(m))
		return (KERN_SUCCESS);
	return (pager ? fault_pagein(fs) : FAULT_NOT_SOFT);
}

/*
 * One object down.  => object locked; on return the next one.  false: there is none, and the top
 * object is locked again.
 */
static bool
fault_descend(struct faultstate *fs)
{
	struct vm_object *object = fs->object, *next = object->backing_object;

	if (object == fs->first_object) {
		fs->first_m = fs->m;
	} else if (fs->m != NULL) {
		page_release(fs->m);
	}
	fs->m = NULL;
	if (next != NULL) {
		fs->pindex += OFF_TO_IDX(object->backing_object_offset);
		vm_object_lock(next);
		vm_object_pip_add(next, 1);
	}
	if (object != fs->first_object)
		vm_object_pip_wakeup(object);
	if (next == NULL && object == fs->first_object)
		return (false);
	vm_object_unlock(object);
	if (next == NULL)
		vm_object_lock(fs->first_object);
	fs->object = next != NULL ? next : fs->first_object;
	return (next != NULL);
}

static void
fault_zero_fill(struct faultstate *fs)
{
	struct vm_page *m = fs->first_m;
	bool already = (m->flags & PG_ZERO) != 0;

	if (already)
		VMCNT_INC(v_ozfod);
	else
		pmap_zero_page(m);
	vm_page_flag_clear(m, PG_ZERO);
	m->valid = VM_PAGE_BITS_ALL;
	VMCNT_INC(v_zfod);
	TRACE(TR_ZERO_FILL, fs->first_object, m->pindex, m->pfn, already);
	fs->m = m;
	fs->first_m = NULL;
	fs->pindex = m->pindex;
}

/*
 * Walk the chain until the page is found or made.  => first_object locked, pip raised.  As
 * fault_look_here on return.
 */
static int
fault_search(struct faultstate *fs)
{
	int kr;

	fs->object = fs->first_object;
	fs->pindex = fs->place.pindex;
	while ((kr = fault_look_here(fs)) == FAULT_NOT_SOFT) {
		if (!fault_descend(fs)) {
			fault_zero_fill(fs);
			return (KERN_SUCCESS);
		}
	}
	return (kr);
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
	TRACE(TR_COW, from->pfn, to->pfn, fs->first_object, to->pindex);
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
	} else if (from->queue == PQ_NONE) {
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
	map_release(fs);
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
	if (fs->object->type == OBJT_VNODE && (fs->type & VM_PROT_WRITE))
		vm_object_page_dirty(fs->m, 0, PAGE_SIZE);
	else if (fs->object->type == OBJT_SWAP && ((fs->type & VM_PROT_WRITE) || wire))
		swap_pager_dirtied(fs->m);
}

/* => first_object locked, fs->m busy and valid.  Everything but the vnode is released on return. */
static int
fault_enter(struct faultstate *fs)
{
	bool wire = (fs->flags & VM_FAULT_WIRE) || (fs->place.wired && fs->m->wire_count > 0);
	int kr;

	if (!fault_map_unchanged(fs)) {
		VMCNT_INC(v_restarts);
		fault_give_up(fs);
		return (KERN_RESTART);
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
	TRACE(TR_PAGE_ENTER, fs->addr, fs->m->pfn, fs->place.prot, 0);
	if (fs->flags & (VM_FAULT_WIRE | VM_FAULT_HOLD))
		vm_page_wire(fs->m);
	else if (fs->m->queue == PQ_NONE)
		page_enqueue_used(fs->m);
	if (fs->flags & VM_FAULT_HOLD)
		*fs->held = fs->m;
	if (fs->object == fs->first_object && vm_object_has_pager(fs->object))
		map_around(fs);
	fault_finish(fs, (fs->type & VM_PROT_WRITE) != 0);
	return (KERN_SUCCESS);
}

static int
fault_hard(struct faultstate *fs)
{
	int kr;

	vm_object_lock(fs->first_object);
	vm_object_pip_add(fs->first_object, 1);
	kr = fault_search(fs);
	if (kr != KERN_SUCCESS)
		return (kr);
	if (fs->object != fs->first_object)
		fault_resolve(fs);
	return (fault_enter(fs));
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
	vnode_release(&fs);
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

	if (object != NULL)
		vm_object_rlock(object);
	for (; object != NULL; object = next) {
		struct vm_page *m = vm_page_lookup(object, pindex);

		if (m != NULL && m->wire_count > 0) {
			vm_page_unwire(m, PQ_ACTIVE);
			break;
		}
		/*
		 * Hand over hand: a collapse changes the chain only under the lock of the object
		 * above.
		 */
		pindex += OFF_TO_IDX(object->backing_object_offset);
		next = object->backing_object;
		if (next != NULL)
			vm_object_rlock(next);
		vm_object_unlock(object);
	}
	vm_object_unlock(object);
}
