/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mremap: a range of memory gets another length, another place, or both.
 *
 *	shrink		the end is unmapped
 *	grow in place	the gap behind is mapped to what comes next: zeros, or the file's next pages
 *	move		the entries are taken out and put in elsewhere; the objects, and so the pages, stay what they are
 *
 * No page is copied, ever.  The page tables of the old place are emptied; faults fill those of the new one.
 */
#include "kernel/lib/errno.h"
#include "vm/pmap.h"
#include "vm/vm_map_impl.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"

struct vm_object *
vm_map_entry_bottom(struct vm_map_entry *e, vm_ooffset_t *offset)
{
	struct vm_object *object = e->object, *backing;

	*offset = e->offset;
	while (object != NULL && vm_object_is_anonymous(object)) {
		vm_object_rlock(object);
		backing = object->flags & OBJ_BOUNDED ? object : object->backing_object;
		if (backing != object)
			*offset += object->backing_object_offset;
		vm_object_unlock(object);
		if (backing == object)
			break;			/* a file that lives in memory */
		object = backing;
	}
	return (object);
}

/* Is this one kind of memory from start to end?  => map locked */
static bool
one_kind(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *first = vm_map_lookup_entry(map, start), *e = first, *next;

	if (e == NULL)
		return (false);
	for (; e->end < end; e = next) {
		next = vm_map_next(e);
		if (next == NULL || next->start != e->end || next->protection != first->protection ||
		    next->inheritance != first->inheritance ||
		    (next->object != NULL && !vm_object_is_anonymous(next->object)) ||
		    (e->object != NULL && !vm_object_is_anonymous(e->object)))
			return (false);
	}
	return (true);
}

/* Map [end, end + more) as what goes on behind the entry that ends there.  => map exclusively locked. */
static int
extend(struct vm_map *map, vm_offset_t end, vm_size_t more)
{
	struct vm_map_entry *e = vm_map_lookup_entry(map, end - PAGE_SIZE);
	bool shared = e->inheritance == VM_INHERIT_SHARE;
	vm_ooffset_t offset = e->offset;
	struct vm_object *object = shared ? e->object : vm_map_entry_bottom(e, &offset);
	int kr;

	if (object != NULL)
		vm_object_reference(object);
	kr = vm_map_insert(map, object, offset + (vm_ooffset_t)(e->end - e->start), end, end + more, e->protection,
	    e->max_protection, (shared ? 0 : MAP_COPY_ON_WRITE) | (e->stores ? MAP_STORES : 0), e->inheritance);
	if (kr != KERN_SUCCESS && object != NULL)
		__atomic_sub_fetch(&object->ref_count, 1, __ATOMIC_RELEASE);	/* not the last: the entry has one */
	return (kr);
}

/* Take [from, from + len) to `to`, where nothing is.  => map exclusively locked. */
static void
move(struct vm_map *map, vm_offset_t from, vm_offset_t to, vm_size_t len)
{
	struct vm_map_entry *e, *next;

	pmap_remove(map->pmap, from, from + len);
	for (e = vm_map_clip_start(map, from); e != NULL && e->start < from + len; e = next) {
		vm_map_clip_end(map, e, from + len);
		next = vm_map_next(e);
		if (e->wired_count > 0)
			vm_map_entry_unwire(map, e);
		vm_map_entry_unlink(map, e);
		e->start = e->start - from + to;
		e->end = e->end - from + to;
		e->grow_top = 0;
		vm_map_entry_link(map, vm_map_entry_before(map, e->start), e);
	}
}

/* A second mapping of shared memory, from length 0.  => map exclusively locked. */
static int
duplicate(struct vm_map *map, vm_offset_t from, vm_offset_t to, vm_size_t len)
{
	struct vm_map_entry *e = vm_map_lookup_entry(map, from);
	int kr;

	vm_object_reference(e->object);
	kr = vm_map_insert(map, e->object, e->offset + (vm_ooffset_t)(from - e->start), to, to + len, e->protection,
	    e->max_protection, e->stores ? MAP_STORES : 0, VM_INHERIT_SHARE);
	if (kr != KERN_SUCCESS)
		__atomic_sub_fetch(&e->object->ref_count, 1, __ATOMIC_RELEASE);
	return (kr);
}

static int
check_arguments(vm_offset_t addr, vm_size_t old_len, vm_size_t new_len, int flags, vm_offset_t to)
{
	bool fixed = (flags & MREMAP_FIXED) != 0;

	if ((addr & PAGE_MASK) != 0 || (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) != 0 || new_len == 0 ||
	    (fixed && !(flags & MREMAP_MAYMOVE)))
		return (EINVAL);
	if (new_len > VM_USER_MAX || old_len > VM_USER_MAX)
		return (EINVAL);
	if (fixed && ((to & PAGE_MASK) != 0 || to < VM_USER_MIN || to > VM_USER_MAX - new_len ||
	    (addr < to + new_len && to < addr + old_len)))
		return (EINVAL);
	return (addr < VM_USER_MIN || old_len > VM_USER_MAX - addr ? EFAULT : 0);
}

/*
 * The part of mremap() that moves.  => map exclusively locked; *doomed: what was at the destination.
 */
static int
relocate(struct vm_map *map, vm_offset_t *addr, vm_size_t old_len, vm_size_t new_len, int flags, vm_offset_t to,
    vm_offset_t top, struct vm_map_entry **doomed)
{
	int kr;

	if (flags & MREMAP_FIXED) {
		*doomed = vm_map_unlink_range(map, to, to + new_len);
	} else {
		to = top;
		if (vm_map_findspace_below(map, &to, new_len) != KERN_SUCCESS)
			return (ENOMEM);
	}
	if (old_len == 0) {
		kr = duplicate(map, *addr, to, new_len);
	} else {
		move(map, *addr, to, MIN(old_len, new_len));
		kr = new_len > old_len ? extend(map, to + old_len, new_len - old_len) : KERN_SUCCESS;
	}
	if (kr == KERN_SUCCESS)
		*addr = to;
	return (vm_errno(kr));
}

/* => map exclusively locked. */
static int
remap_locked(struct vm_map *map, vm_offset_t *addr, vm_size_t old_len, vm_size_t new_len, int flags, vm_offset_t to,
    vm_offset_t top, struct vm_map_entry **doomed)
{
	struct vm_map_entry *e = vm_map_lookup_entry(map, *addr), *last;

	if (e == NULL || !one_kind(map, *addr, *addr + MAX(old_len, PAGE_SIZE)))
		return (EFAULT);
	if (old_len == 0 && (e->inheritance != VM_INHERIT_SHARE || e->object == NULL || !(flags & MREMAP_MAYMOVE)))
		return (EINVAL);
	if (!(flags & MREMAP_FIXED) && old_len != 0) {
		last = vm_map_lookup_entry(map, *addr + old_len - PAGE_SIZE);
		if (last->end == *addr + old_len && last->gap >= new_len - old_len)
			return (vm_errno(extend(map, last->end, new_len - old_len)));
		if (!(flags & MREMAP_MAYMOVE))
			return (ENOMEM);
	}
	return (relocate(map, addr, old_len, new_len, flags, to, top, doomed));
}

int
vm_mremap(struct vmspace *vm, vm_offset_t *addr, vm_size_t old_len, vm_size_t new_len, int flags, vm_offset_t to,
    vm_offset_t top)
{
	struct vm_map_entry *doomed = NULL;
	bool wired = false;
	int error;

	old_len = round_page(old_len);
	new_len = round_page(new_len);
	error = check_arguments(*addr, old_len, new_len, flags, to);
	if (error != 0)
		return (error);
	if (old_len >= new_len) {
		if (old_len > new_len)
			vm_map_remove(&vm->map, *addr + new_len, *addr + old_len);
		old_len = new_len;
	}
	vm_map_lock_range(&vm->map, vm->map.min, vm->map.max);
	if (!vm_map_room(&vm->map, *addr, *addr + old_len, 3)) {
		error = ENOMEM;		/* 3: the new one, and what it cuts where it comes to lie */
	} else if (old_len == new_len && !(flags & MREMAP_FIXED)) {
		error = vm_map_lookup_entry(&vm->map, *addr) != NULL ? 0 : EFAULT;
	} else {
		struct vm_map_entry *e = vm_map_lookup_entry(&vm->map, *addr);

		wired = e != NULL && e->wired_count > 0;
		error = remap_locked(&vm->map, addr, old_len, new_len, flags, to, top, &doomed);
	}
	vm_map_unlock(&vm->map);
	vm_map_free_entries(doomed);
	if (error == 0 && wired)
		(void)vm_mlock(vm, *addr, new_len);	/* as Linux: what cannot be locked is not an error here */
	return (error);
}
