/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mremap: a range of memory gets another length, another place, or both.
 *
 *	shrink		the end is unmapped
 *	grow in place	the gap behind is mapped to what comes next: zeros, or the file's next pages
 *	(leave behind	after a move, with DONTUNMAP: the old place is mapped again, to memory without stores)
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

/*
 * Map [start, end) to what e shows from `skip` bytes behind its start on: shared memory, to the same pages; private
 * memory, to what it was made from.  => map exclusively locked.
 */
static int
insert_like(struct vm_map *map, struct vm_map_entry *e, vm_size_t skip, vm_offset_t start, vm_offset_t end)
{
	bool shared = e->inheritance == VM_INHERIT_SHARE;
	vm_ooffset_t offset = e->offset;
	struct vm_object *object = shared ? e->object : vm_map_entry_bottom(e, &offset);
	int kr;

	if (object != NULL)
		vm_object_reference(object);
	kr = vm_map_insert(map, object, offset + (vm_ooffset_t)skip, start, end, e->protection, e->max_protection,
	    (shared ? 0 : MAP_COPY_ON_WRITE) | (e->stores ? MAP_STORES : 0), e->inheritance);
	if (kr != KERN_SUCCESS && object != NULL)
		__atomic_sub_fetch(&object->ref_count, 1, __ATOMIC_RELEASE);	/* not the last: the entry has one */
	return (kr);
}

/* Map [end, end + more) as what goes on behind the entry that ends there.  => map exclusively locked. */
static int
extend(struct vm_map *map, vm_offset_t end, vm_size_t more)
{
	struct vm_map_entry *e = vm_map_lookup_entry(map, end - PAGE_SIZE);

	return (insert_like(map, e, e->end - e->start, end, end + more));
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

/* What was moved from `from` to `to` leaves its like behind.  => map exclusively locked. */
static int
leave_behind(struct vm_map *map, vm_offset_t from, vm_offset_t to, vm_size_t len)
{
	struct vm_map_entry *e;
	int kr = KERN_SUCCESS;

	for (e = vm_map_lookup_entry(map, to); kr == KERN_SUCCESS && e != NULL && e->start < to + len; e = vm_map_next(e))
		kr = insert_like(map, e, 0, e->start - to + from, e->end - to + from);
	return (kr);
}

/* How many entries lie in the range.  => map locked */
static uint32_t
entries_in(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *e;
	uint32_t n = 0;

	for (e = vm_map_lookup_entry(map, start); e != NULL && e->start < end; e = vm_map_next(e))
		n++;
	return (n);
}

static int
check_arguments(vm_offset_t addr, vm_size_t old_len, vm_size_t new_len, int flags, vm_offset_t to)
{
	bool place = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;	/* given, if only as a hint, which we do not take */

	if ((addr & PAGE_MASK) != 0 || (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 ||
	    new_len == 0 || (flags != 0 && !(flags & MREMAP_MAYMOVE)) || ((flags & MREMAP_DONTUNMAP) && old_len != new_len))
		return (EINVAL);
	if (new_len > VM_USER_MAX || old_len > VM_USER_MAX)
		return (EINVAL);
	if (place && ((to & PAGE_MASK) != 0 || ((flags & MREMAP_FIXED) && to < VM_USER_MIN) || to > VM_USER_MAX - new_len ||
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
	struct vm_map_entry *e;
	int kr;

	if (flags & MREMAP_FIXED) {
		*doomed = vm_map_unlink_range(map, to, to + new_len);
	} else {
		to = top;
		if (vm_map_findspace_below(map, &to, new_len) != KERN_SUCCESS)
			return (ENOMEM);
	}
	if (old_len == 0) {
		e = vm_map_lookup_entry(map, *addr);
		if (e == NULL)
			return (EFAULT);	/* it was at the destination, and so went just now */
		kr = insert_like(map, e, *addr - e->start, to, to + new_len);
	} else {
		move(map, *addr, to, MIN(old_len, new_len));
		kr = new_len > old_len ? extend(map, to + old_len, new_len - old_len) : KERN_SUCCESS;
		if (flags & MREMAP_DONTUNMAP)
			kr = leave_behind(map, *addr, to, old_len);
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
	if (!(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && old_len != 0) {
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
	uint32_t more = 3;		/* the new one, and what it cuts where it comes to lie */
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
	if (flags & MREMAP_DONTUNMAP)
		more += entries_in(&vm->map, *addr, *addr + old_len);
	if (!vm_map_room(&vm->map, *addr, *addr + old_len, more)) {
		error = ENOMEM;
	} else if (old_len == new_len && !(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
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
