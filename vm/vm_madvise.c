/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * madvise, mincore, mlock: what a program knows, asks and wants of pages.
 *
 * MADV_DONTNEED is no advice but an order: private memory reads as zeros, or as the file, from then on.  Two ways:
 *
 *	the object is this entry's alone	its pages are freed, the entry stays whole
 *	it is shared with a fork, or has a past	the entry lets go of it and starts again without
 */
#include "kernel/lib/errno.h"
#include "vm/pmap.h"
#include "vm/vm_map_impl.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

/* Linux's values */
enum { MADV_NORMAL = 0, MADV_RANDOM = 1, MADV_SEQUENTIAL = 2, MADV_WILLNEED = 3, MADV_DONTNEED = 4, MADV_FREE = 8,
    MADV_DONTFORK = 10, MADV_DOFORK = 11, MADV_HUGEPAGE = 14, MADV_NOHUGEPAGE = 15, MADV_DONTDUMP = 16,
    MADV_DODUMP = 17, MADV_WIPEONFORK = 18, MADV_KEEPONFORK = 19, MADV_COLD = 20, MADV_PAGEOUT = 21 };

/* Free the pages of [start, end) of an entry, if nobody else can see them.  => map exclusively locked. */
static bool
free_own_pages(struct vm_map_entry *e, vm_offset_t start, vm_offset_t end)
{
	struct vm_object *object = e->object;
	bool own;

	if (!vm_object_is_anonymous(object) || e->needs_copy)
		return (false);
	vm_object_lock(object);
	own = (object->ref_count == 1 || (object->flags & OBJ_ONEMAPPING)) && object->shadow_count == 0 &&
	    object->backing_object == NULL;
	if (own)
		vm_object_page_remove(object, OFF_TO_IDX(e->offset + (vm_ooffset_t)(start - e->start)),
		    OFF_TO_IDX(e->offset + (vm_ooffset_t)(end - e->start)));
	vm_object_unlock(object);
	return (own);
}

/*
 * Drop the private pages of [start, end), which lies in e.
 * => map exclusively locked; *doomed: what is to be freed when it is unlocked.
 */
static void
discard(struct vm_map *map, struct vm_map_entry *e, vm_offset_t start, vm_offset_t end, struct vm_map_entry **doomed)
{
	struct vm_map_entry *old;
	vm_ooffset_t offset;

	pmap_remove(map->pmap, start, end);
	if (e->inheritance == VM_INHERIT_SHARE || e->object == NULL || free_own_pages(e, start, end))
		return;
	e = vm_map_clip_start(map, start);
	vm_map_clip_end(map, e, end);
	old = vm_map_entry_create();
	*old = *e;
	e->object = vm_map_entry_bottom(old, &offset);
	e->offset = e->object != NULL ? offset : 0;
	e->needs_copy = e->object != NULL;
	if (e->object != NULL)
		vm_object_reference(e->object);
	old->node.child[0] = *doomed != NULL ? &(*doomed)->node : NULL;
	*doomed = old;
}

static int
dont_need(struct vm_map *map, vm_offset_t start, vm_offset_t end, bool anonymous_only)
{
	struct vm_map_entry *e, *doomed = NULL;
	vm_offset_t at = start, stop;
	vm_ooffset_t offset;
	int error = 0;

	if (vm_map_lock_to_clip(map, start, end) != KERN_SUCCESS)
		return (ENOMEM);
	while (at < end) {
		e = vm_map_entry_before(map, at);
		if (e == &map->sentinel || e->end <= at) {
			error = ENOMEM;
			e = vm_map_next(e);
			if (e == NULL || e->start >= end)
				break;
			at = e->start;
		}
		if (e->wired_count > 0 || (anonymous_only && (e->inheritance == VM_INHERIT_SHARE ||
		    vm_map_entry_bottom(e, &offset) != NULL))) {
			error = EINVAL;
			break;
		}
		stop = MIN(end, e->end);
		discard(map, e, at, stop, &doomed);
		at = stop;
	}
	vm_map_join_range(map, start, end);
	vm_map_unlock(map);
	vm_map_free_entries(doomed);
	return (error);
}

/* EINVAL: only private memory without a file can be wiped. */
static int
set_on_fork(struct vm_map *map, vm_offset_t start, vm_offset_t end, enum vm_on_fork what)
{
	struct vm_map_entry *e;
	vm_ooffset_t offset;
	int error = 0;

	if (vm_map_lock_to_clip(map, start, end) != KERN_SUCCESS)
		return (ENOMEM);
	for (e = vm_map_clip_start(map, start); e != NULL && e->start < end && error == 0; e = vm_map_next(e)) {
		vm_map_clip_end(map, e, end);
		if (what == VM_FORK_WIPE && (e->inheritance == VM_INHERIT_SHARE || vm_map_entry_bottom(e, &offset) != NULL))
			error = EINVAL;
		else
			e->on_fork = what;
	}
	vm_map_join_range(map, start, end);
	vm_map_unlock(map);
	return (error);
}

/* ENOMEM when something in between is not mapped. */
static int
hole_in(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *e;

	vm_map_rlock(map);
	for (e = vm_map_lookup_entry(map, start); e != NULL && e->end < end; ) {
		vm_offset_t at = e->end;

		e = vm_map_next(e);
		if (e != NULL && e->start != at)
			e = NULL;
	}
	vm_map_runlock(map);
	return (e == NULL ? ENOMEM : 0);
}

int
vm_madvise(struct vmspace *vm, vm_offset_t addr, vm_size_t len, int advice)
{
	vm_offset_t end = addr + round_page(len);
	struct vm_map *map = &vm->map;
	int error = 0;

	if ((addr & PAGE_MASK) != 0 || end < addr || round_page(len) < len)
		return (EINVAL);
	if (end > VM_USER_MAX || (addr < VM_USER_MIN && addr != end))
		return (ENOMEM);
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
		if (addr != end)
			vm_map_advise(map, addr, end, advice == MADV_RANDOM ? VM_ADV_RANDOM :
			    advice == MADV_SEQUENTIAL ? VM_ADV_SEQUENTIAL : VM_ADV_NORMAL);
		break;
	case MADV_DONTNEED:
	case MADV_FREE:
		return (addr == end ? 0 : dont_need(map, addr, end, advice == MADV_FREE));
	case MADV_DONTFORK:
	case MADV_WIPEONFORK:
		error = addr == end ? 0 : set_on_fork(map, addr, end,
		    advice == MADV_DONTFORK ? VM_FORK_OMIT : VM_FORK_WIPE);
		break;
	case MADV_DOFORK:
	case MADV_KEEPONFORK:
		error = addr == end ? 0 : set_on_fork(map, addr, end, VM_FORK_INHERIT);
		break;
	case MADV_WILLNEED:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DONTDUMP:
	case MADV_DODUMP:
	case MADV_COLD:
	case MADV_PAGEOUT:
		break;				/* true, and nothing is done about it */
	default:
		return (EINVAL);
	}
	return (error != 0 || addr == end ? error : hole_in(map, addr, end));
}

/* Has one of the objects from here down the page, valid, in memory?  => map locked */
static bool
chain_resident(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m;
	bool found = false;

	if (object != NULL)
		vm_object_rlock(object);
	while (object != NULL && !found) {
		m = vm_page_lookup(object, pindex);
		found = m != NULL && PEEK(m->valid) != 0;
		if (found)
			vm_object_unlock(object);
		else
			object = vm_object_rdescend(object, &pindex);
	}
	return (found);
}

int
vm_mincore(struct vmspace *vm, vm_offset_t addr, bool *resident)
{
	struct vm_map_entry *e;

	vm_map_rlock(&vm->map);
	e = vm_map_lookup_entry(&vm->map, addr);
	if (e != NULL)
		*resident = chain_resident(e->object, OFF_TO_IDX(e->offset + (vm_ooffset_t)(addr - e->start)));
	vm_map_runlock(&vm->map);
	return (e != NULL ? 0 : ENOMEM);
}

/* ---- locking ---- */

int
vm_mlock(struct vmspace *vm, vm_offset_t addr, vm_size_t len)
{
	vm_offset_t start = trunc_page(addr), end = round_page(addr + len);
	int error, kr;

	if (end < start || end > VM_USER_MAX)
		return (ENOMEM);
	if (start == end)
		return (0);
	error = start < VM_USER_MIN ? ENOMEM : hole_in(&vm->map, start, end);
	if (error != 0)
		return (error);
	kr = vm_map_wire(&vm->map, start, end);
	if (kr == KERN_PROTECTION_FAILURE || kr == KERN_INVALID_ADDRESS)
		error = ENOMEM;		/* no access: Linux says the same, and locks it none the less */
	else if (kr != KERN_SUCCESS)
		error = EAGAIN;
	return (error);
}

int
vm_munlock(struct vmspace *vm, vm_offset_t addr, vm_size_t len)
{
	vm_offset_t end = round_page(addr + len), start = trunc_page(addr);
	int error;

	if (end < start || end > VM_USER_MAX)
		return (ENOMEM);
	if (start == end)
		return (0);
	if (start < VM_USER_MIN)
		return (ENOMEM);
	error = hole_in(&vm->map, start, end);
	vm_map_unwire(&vm->map, start, end);
	return (error);
}
