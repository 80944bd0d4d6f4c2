/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the two halves of a page fault share: vm_fault.c (from the map to the mapping) and
 * vm_fault_search.c (from the object to the page).  Nobody else includes this.
 */
#ifndef VM_VM_FAULT_STATE_H
#define VM_VM_FAULT_STATE_H

#include "vm/vm_map.h"

struct vm_page;
struct vnode;

/* Besides KERN_*: not this way; the fast path does not apply, or the page is not in this object. */
#define FAULT_NOT_SOFT	(-1)

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
	/* referenced: a file that has too many dirty pages now, to be written at the end; NULL: none */
	struct vnode		*dirty_vp;
	/* times that a pager had no resources although memory was there */
	int			 again;
};

/* Letting go (vm_fault.c). */
void fault_map_release(struct faultstate *fs);
void fault_vnode_release(struct faultstate *fs);
/*
 * Give up a page that is exclusive-busy by us: a fresh one is freed, one with contents is only
 * unbusied.  => its object locked.
 */
void fault_page_release(struct vm_page *m);
/*
 * Let go of all pages and objects.
 * => fs->object locked, if not NULL; nothing locked on return.
 */
void fault_objects_release(struct faultstate *fs);
void fault_release(struct faultstate *fs);	/* of everything but the vnode */
/*
 * No page could be allocated.  Wait for memory, as long as there is hope (vm_oom.c).
 * => nothing held but perhaps the vnode, which goes: nobody waits for memory with a vnode locked.
 * => KERN_RESTART, or KERN_RESOURCE_SHORTAGE when this address space has to go, or nobody can.
 */
int  fault_nomem(struct faultstate *fs);

/*
 * Find or make the page (vm_fault_search.c).
 * => first_object locked, paging_in_progress raised.
 * => KERN_SUCCESS: fs->object locked, fs->m in it, busy and valid; below the top, a busy placeholder
 *    in fs->first_m.  Otherwise everything but the vnode is released.
 */
int  fault_search(struct faultstate *fs);

#endif
