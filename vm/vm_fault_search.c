/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page faults, the search: from the top object to a page, down the chain of shadows and out to the
 * pagers.  The outline of the whole, and what holds at every step, is in vm_fault.c.
 *
 *	fault_search
 *	  fault_look_here     this object: is the page in memory, does the pager have it?
 *	    fault_busy_wait     somebody works on it: wait with nothing held, start again
 *	    fault_pagein        ask the pager, with its vnode locked and the map unlocked
 *	  fault_descend       what this object shadows
 *	  fault_zero_fill     nobody below has it
 *
 * Locks go hand over hand down the chain; what is left behind in the top object is a busy
 * placeholder, and in every object that we hold a page of, paging_in_progress.
 *
 * How much to read around the page asked for is decided here, too: the map entry remembers how its
 * last reads went.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "kernel/stage.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_fault.h"
#include "vm/vm_fault_state.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"
#include "vm/vnode_pager.h"

#define CLUSTER_PAGES	16	/* read around the first fault without a pattern */
#define CLUSTER_MIN	4	/* and around a random one that follows others */
#define AGAIN_RETRIES	10	/* times that a pager may be out of resources although there is memory */

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
		fault_objects_release(fs);
	}
	fault_map_release(fs);
	fault_vnode_release(fs);
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
	fault_vnode_release(fs);
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
	int behind = 0, ahead = 0, got, result, kr;

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
	fault_map_release(fs);
	VMCNT_INC(v_io_faults);
	curthread->io_faults++;
	result = vm_pager_read_page(fs->object, fs->m, behind, ahead, &got);
	vm_object_lock(fs->object);
	/* What came alone is mapped alone; the first touch of a neighbour that is there maps the others. */
	if (got == 1)
		fs->flags |= VM_FAULT_ALONE;
	if (result == VM_PAGER_OK)
		return (KERN_SUCCESS);
	if (result == VM_PAGER_FAIL) {
		VM_PATH("fault_pager_fail");
		return (FAULT_NOT_SOFT);
	}
	fault_release(fs);
	if (result == VM_PAGER_AGAIN && vm_free_count() > vm_ladder.min && ++fs->again > AGAIN_RETRIES) {
		fault_vnode_release(fs);
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

	STAGE(OBJECT_LOOKUP, object, fs->pindex, m != NULL ? m->pfn : 0, object != fs->first_object);
	if (object->flags & OBJ_DEAD) {
		/* Its last mapping went away, and so did ours. */
		fault_release(fs);
		return (KERN_RESTART);
	}
	if (m != NULL && !vm_page_tryxbusy(m))
		return (fault_busy_wait(fs));
	if (m == NULL && !pager && object != fs->first_object &&
	    ((object->flags & OBJ_BOUNDED) == 0 || fs->pindex < object->size))
		return (FAULT_NOT_SOFT);
	/* A page without contents that is there all the same was wired when it was cut off. */
	if (fs->pindex >= object->size && (m == NULL || !vm_page_all_valid(m))) {
		fs->m = m;
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
		fault_page_release(fs->m);
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
	STAGE(ZERO_FILL, fs->first_object, m->pindex, m->pfn, already);
	fs->m = m;
	fs->first_m = NULL;
	fs->pindex = m->pindex;
}

int
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
