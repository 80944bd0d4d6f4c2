/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shadow chains: how private copies begin, and how the chains that this makes are kept short.
 *
 * vm_object_shadow() puts an empty object above another one; what is written goes there, what is
 * not is found below.
 *
 * Collapse and bypass keep private chains short:
 *
 *	collapse: nobody but us uses the backing object          bypass: others use it, but we hide all of it that we could see
 *
 *	   [object] --> [backing] --> [below]                       [object] --> [backing] --> [below]
 *	       |  its pages move up      ^                              |           ^             ^
 *	       +-------------------------+  backing is freed            |    others-+             |
 *	                                                                +-------------------------+
 *
 * Swapped-out pages are pages: a collapse moves their blocks (or frees them, where they are
 * hidden), and what a bypass compares is contents, in memory or on disk.  A collapse that finds no
 * memory for the books of a block stops half-way, which is a valid state, and is tried again.
 *
 * Lock order: object, backing, what lies below that; page busy.  Nothing here sleeps but for those.
 *
 * Why not UVM's amaps: the seed lives in a world of shadow chains, and they are what this kernel
 * shows.
 */
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_path.h"

void
vm_object_shadow(struct vm_object **object, vm_ooffset_t *offset, vm_size_t len)
{
	struct vm_object *source = *object, *result;

	result = vm_object_allocate(OBJT_DEFAULT, OFF_TO_IDX(round_page(len)));
	result->backing_object = source;	/* takes over the caller's reference */
	result->backing_object_offset = *offset;
	if (source != NULL) {
		vm_object_lock(source);
		TAILQ_INSERT_TAIL(&source->shadow_head, result, shadow_list);
		source->shadow_count++;
		vm_object_unlock(source);
	}
	*object = result;
	*offset = 0;
}

/*
 * Take `object` out from above `backing` and put it above what backing shadows.  => both
 * exclusively locked.
 */
static void
chain_skip(struct vm_object *object, struct vm_object *backing)
{
	struct vm_object *below = backing->backing_object;

	TAILQ_REMOVE(&backing->shadow_head, object, shadow_list);
	backing->shadow_count--;
	object->backing_object = below;
	object->backing_object_offset += backing->backing_object_offset;
	if (below != NULL) {
		vm_object_lock(below);
		TAILQ_INSERT_TAIL(&below->shadow_head, object, shadow_list);
		below->shadow_count++;
		vm_object_unlock(below);
	}
}

/*
 * Move one page of the backing object up, or free it where the object hides it or cannot see it.
 * => both locked.  false: it cannot be moved now.
 */
static bool
collapse_page(struct vm_object *object, struct vm_object *backing, struct vm_page *p)
{
	vm_pindex_t skip = OFF_TO_IDX(object->backing_object_offset);
	vm_pindex_t up = p->pindex - skip;

	if (PEEK(p->wire_count) > 0 || !vm_page_tryxbusy(p)) {
		VM_PATH("collapse_page_in_use");
		return (false);
	}
	if (p->pindex < skip || up >= object->size || vm_page_lookup(object, up) != NULL ||
	    swap_pager_has_block(object, up)) {
		swap_pager_freespace(backing, p->pindex, p->pindex + 1);
		vm_page_free(p);
		return (true);
	}
	pmap_remove_all(p);
	vm_page_test_dirty(p);
	/*
	 * A copy on disk moves along; without memory for that it is given up, and the page must be
	 * written again.
	 */
	if (swap_pager_has_block(backing, p->pindex) && !swap_pager_move(backing, p->pindex, object, up))
		swap_pager_dirtied(p);
	vm_page_rename(p, object, up);
	vm_page_activate(p);
	vm_page_xunbusy(p);
	return (true);
}

/*
 * Move the blocks of pages that are not in memory.
 * => both locked; no page of backing is left, so what has a block is absent.  false: no memory for
 *    the books.
 */
static bool
collapse_blocks(struct vm_object *object, struct vm_object *backing)
{
	vm_pindex_t skip = OFF_TO_IDX(object->backing_object_offset), at = 0;

	for (; swap_pager_next(backing, &at); at++) {
		vm_pindex_t up = at - skip;

		if (at < skip || up >= object->size || vm_page_lookup(object, up) != NULL ||
		    swap_pager_has_block(object, up)) {
			VM_PATH("collapse_frees_block");
			swap_pager_freespace(backing, at, at + 1);
		} else if (!swap_pager_move(backing, at, object, up)) {
			return (false);
		} else {
			VM_PATH("collapse_moves_block");
		}
	}
	return (true);
}

/* => both locked; backing is ours alone.  true: merged, and backing unlocked and gone. */
static bool
collapse_merge(struct vm_object *object, struct vm_object *backing)
{
	struct vm_object *below = backing->backing_object;
	struct vm_page *p, *next;

	for (p = vm_page_find_least(backing, 0); p != NULL; p = next) {
		next = vm_page_next(p);
		if (!collapse_page(object, backing, p))
			return (false);
	}
	if (!collapse_blocks(object, backing))
		return (false);
	chain_skip(object, backing);
	/*
	 * Our reference on backing was its last; the one that backing had on `below` is ours now.
	 */
	if (below != NULL) {
		vm_object_lock(below);
		TAILQ_REMOVE(&below->shadow_head, backing, shadow_list);
		below->shadow_count--;
		vm_object_unlock(below);
		backing->backing_object = NULL;
	}
	backing->flags |= OBJ_DEAD;
	backing->ref_count = 0;
	vm_object_terminate(backing);
	VMCNT_INC(v_collapses);
	return (true);
}

bool
vm_object_has_content(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m = vm_page_lookup(object, pindex);

	return ((m != NULL && vm_page_all_valid(m)) || swap_pager_has_block(object, pindex));
}

/*
 * Does the object hide every page of backing between two of the object's own indices?  If not, one that shows
 * through is noted.  => both locked.
 */
static bool
hides_range(struct vm_object *object, struct vm_object *backing, vm_pindex_t first, vm_pindex_t end)
{
	vm_pindex_t skip = OFF_TO_IDX(object->backing_object_offset);

	for (struct vm_page *p = vm_page_find_least(backing, skip + first); p != NULL; p = vm_page_next(p)) {
		if (p->pindex - skip >= end)
			break;
		if (!vm_object_has_content(object, p->pindex - skip)) {
			object->shows_through = p->pindex - skip;
			return (false);
		}
	}
	for (vm_pindex_t at = skip + first; swap_pager_next(backing, &at) && at - skip < end; at++) {
		if (!vm_object_has_content(object, at - skip)) {
			VM_PATH("bypass_sees_block");
			object->shows_through = at - skip;
			return (false);
		}
	}
	return (true);
}

/*
 * Does the object hide every page of backing that it could see?  => both locked.
 *    Asked by each fault that copies a page.  So it looks first where it found a page that shows through when
 *    it was asked last: one page after the other is copied, and from the first one on it would look at all
 *    the copies each time.
 */
static bool
hides_all(struct vm_object *object, struct vm_object *backing)
{
	vm_pindex_t from = MIN(object->shows_through, object->size);

	return (hides_range(object, backing, from, object->size) && hides_range(object, backing, 0, from));
}

static bool
may_collapse(const struct vm_object *object)
{
	return (vm_object_is_anonymous(object) && (object->flags & OBJ_DEAD) == 0 && object->paging_in_progress == 0);
}

void
vm_object_collapse(struct vm_object *object)
{
	struct vm_object *backing;

	KASSERT(rw_wheld(&object->lock), "collapsing object %p without its lock", object);
	while ((backing = object->backing_object) != NULL && may_collapse(object)) {
		struct vm_object *below;

		vm_object_lock(backing);
		/* A file that lives in memory goes on being a file: it may get other contents and another end. */
		if (!may_collapse(backing) || (backing->flags & OBJ_BOUNDED) != 0) {
			if (backing->paging_in_progress > 0)
				VM_PATH("collapse_refused_paging");
			vm_object_unlock(backing);
			return;		/* tried again by the next fault or release on this chain */
		}
		if (backing->ref_count == 1) {
			if (!collapse_merge(object, backing)) {
				vm_object_unlock(backing);
				return;
			}
			continue;
		}
		if (!hides_all(object, backing)) {
			vm_object_unlock(backing);
			return;
		}
		below = backing->backing_object;
		if (below != NULL)
			vm_object_reference(below);
		chain_skip(object, backing);
		/* Others hold references, so this is not the last one. */
		__atomic_sub_fetch(&backing->ref_count, 1, __ATOMIC_ACQ_REL);
		vm_object_unlock(backing);
		VMCNT_INC(v_bypasses);
	}
}
