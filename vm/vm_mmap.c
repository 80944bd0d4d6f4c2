/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmap: arguments checked, an object found, an entry made.  No page is touched: that is left to
 * faults.
 *
 *	MAP_SHARED   the file's own object, inherited as it is
 *	MAP_PRIVATE  the file's object with needs_copy: the first write puts a shadow object in between
 */
#include "vm/vm_mmap.h"

#include "kernel/fs/vnode.h"
#include "kernel/thread.h"
#include "vm/vm_map_impl.h"
#include "vm/vm_object.h"
#include "vm/vnode_pager.h"

/* The object of a regular file, referenced.  stores: the mapping may come to store into the file. */
static int
file_object(struct vnode *vp, vm_prot_t prot, bool stores, vm_ooffset_t off, struct vm_object **object)
{
	struct vattr va;
	int error;

	if (vp->v_type != VREG)
		return (ENODEV);
	VOP_LOCK(vp, LK_SHARED);
	error = stores && (PEEK(vp->v_flag) & VSWAP) != 0 ? ETXTBSY : VOP_GETATTR(vp, &va);
	if (error == 0 && vp->v_op->object != NULL)
		error = vp->v_op->object(vp, object);
	else if (error == 0)
		*object = vnode_pager_alloc(vp, va.va_size, prot, off, curthread->cred);
	VOP_UNLOCK(vp);
	return (error);
}

static int
check_arguments(vm_offset_t addr, vm_size_t len, int flags, struct vnode *vp, vm_ooffset_t off)
{
	int sharing = flags & (MAP_SHARED | MAP_PRIVATE);

	if (len == 0 || (sharing != MAP_SHARED && sharing != MAP_PRIVATE))
		return (EINVAL);
	if (off < 0 || (off & PAGE_MASK) != 0 || ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && (addr & PAGE_MASK) != 0))
		return (EINVAL);
	if (((flags & MAP_ANONYMOUS) != 0) != (vp == NULL))
		return (EINVAL);
	if (len > VM_USER_MAX)
		return (ENOMEM);
	if ((uint64_t)off + round_page(len) > INT64_MAX)
		return (EOVERFLOW);
	return (0);
}

/*
 * Enter what was found into the map, at or from *at on.  Takes over the reference on the object, also on failure.
 * => arguments checked; len rounded up
 */
static int
map_object(struct vmspace *vm, vm_offset_t *at, vm_size_t len, vm_prot_t prot, vm_prot_t max, int flags, struct vm_object *object,
    vm_ooffset_t off, bool stores)
{
	bool shared = (flags & MAP_SHARED) != 0, exact = (flags & MAP_FIXED_NOREPLACE) != 0;
	int cow = (shared ? 0 : MAP_COPY_ON_WRITE) | (flags & MAP_GROWSDOWN ? MAP_STACK_GROWS : 0);
	int kr;

	/* An object of this length from the start: what mremap adds lies behind its end, as with a file. */
	if (object == NULL && shared)
		object = vm_object_allocate(OBJT_DEFAULT, OFF_TO_IDX(len));
	if (stores && object->type == OBJT_VNODE)
		cow |= MAP_STORES;
	if ((flags & MAP_FIXED) != 0 && !exact)
		kr = vm_map_replace(&vm->map, object, off, *at, *at + len, prot, max, cow,
		    shared ? VM_INHERIT_SHARE : VM_INHERIT_COPY);
	else
		kr = vm_map_find(&vm->map, object, off, at, len, !exact, prot, max, cow,
		    shared ? VM_INHERIT_SHARE : VM_INHERIT_COPY);
	if (kr != KERN_SUCCESS && object != NULL)
		vm_object_deallocate(object);
	return (exact && kr == KERN_NO_SPACE ? EEXIST : vm_errno(kr));
}

int
vm_mmap(struct vmspace *vm, vm_offset_t *addr, vm_size_t len, vm_prot_t prot, int flags, struct vnode *vp, vm_ooffset_t off)
{
	bool shared = (flags & MAP_SHARED) != 0, fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0, stores;
	vm_offset_t at = fixed ? *addr : MAX(trunc_page(*addr), VM_USER_MIN);
	vm_prot_t max = VM_PROT_ALL;
	struct vm_object *object = NULL;
	int error;

	error = check_arguments(*addr, len, flags, vp, off);
	if (error != 0)
		return (error);
	len = round_page(len);
	if (at > VM_USER_MAX - len || at < VM_USER_MIN)
		return (ENOMEM);
	if (vp != NULL && shared && (!vnode_is_writable(vp) || (flags & MAP_FILE_RDONLY)))
		max &= ~VM_PROT_WRITE;
	if ((prot & ~max) != 0)
		return (EACCES);
	stores = vp != NULL && shared && (max & VM_PROT_WRITE) != 0;
	/* A writer until the mapping counts as one: who opened the file may close it meanwhile. */
	if (stores && (error = vnode_writer_begin(vp)) != 0)
		return (error);
	if (vp != NULL)
		error = file_object(vp, prot, stores, off, &object);
	if (error == 0)
		error = map_object(vm, &at, len, prot, max, flags, object, off, stores);
	if (stores)
		vnode_writer_end(vp);
	if (error == 0)
		*addr = at;
	return (error);
}

int
vm_munmap(struct vmspace *vm, vm_offset_t addr, vm_size_t len)
{
	if (len == 0 || round_page(len) < len || addr + round_page(len) < addr)
		return (EINVAL);
	return (vm_errno(vm_map_remove(&vm->map, addr, addr + round_page(len))));
}

/* ---- msync ---- */

/* One entry's part of the range. */
struct sync_part {
	struct vnode	*vp;		/* referenced; NULL: nothing to sync there */
	vm_offset_t	 end;
	off_t		 from, to;	/* bytes of the file */
	uint32_t	 seen;
};

/* What lies at addr.  0, ENOMEM (then part->end is where something begins again), EBUSY. */
static int
sync_find(struct vm_map *map, vm_offset_t addr, vm_offset_t end, int flags, struct sync_part *part)
{
	struct vm_map_entry *e;
	int error = 0;

	*part = (struct sync_part){ .end = end };
	vm_map_rlock(map);
	e = vm_map_lookup_entry(map, addr);
	if (e == NULL) {
		e = vm_map_next(vm_map_entry_before(map, addr));
		if (e != NULL)
			part->end = MIN(end, e->start);
		error = ENOMEM;
	} else {
		part->end = MIN(end, e->end);
		if ((flags & MS_INVALIDATE) && e->wired_count > 0)
			error = EBUSY;
		if (e->object != NULL && e->object->type == OBJT_VNODE && !e->needs_copy) {
			part->vp = e->object->handle;
			vref(part->vp);
			part->from = e->offset + (off_t)(addr - e->start);
			part->to = part->from + (off_t)(part->end - addr);
			part->seen = e->error_seen;
		}
	}
	vm_map_runlock(map);
	return (error);
}

/* The mapping at addr has been told of the errors up to `seen`. */
static void
sync_told(struct vm_map *map, vm_offset_t addr, const struct vnode *vp, uint32_t seen)
{
	struct vm_map_entry *e;

	vm_map_lock(map);
	/* re-check: the map was unlocked; only the same file's mapping was told. */
	e = vm_map_lookup_entry(map, addr);
	if (e != NULL && e->object != NULL && e->object->type == OBJT_VNODE && e->object->handle == vp)
		e->error_seen = seen;
	vm_map_unlock(map);
}

static int
sync_one(struct vm_map *map, vm_offset_t addr, struct sync_part *part, int flags)
{
	struct vm_object *object = vnode_pager_object(part->vp);
	int error = 0, late;

	if (flags & MS_SYNC) {
		VOP_LOCK(part->vp, LK_EXCLUSIVE);
		error = VOP_FSYNC(part->vp, part->from, part->to, FSYNC_WAIT | FSYNC_DATA);
		VOP_UNLOCK(part->vp);
	}
	if (object != NULL) {
		late = vm_object_error_check(object, &part->seen);
		vm_object_deallocate(object);
		if (error == 0)
			error = late;
		sync_told(map, addr, part->vp, part->seen);
	}
	return (error);
}

int
vm_msync(struct vmspace *vm, vm_offset_t addr, vm_size_t len, int flags)
{
	vm_offset_t end = addr + round_page(len);
	int error = 0;

	if ((addr & PAGE_MASK) != 0 || (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) != 0 ||
	    (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return (EINVAL);
	if (end < addr)
		return (ENOMEM);
	while (addr < end) {
		struct sync_part part;
		int e = sync_find(&vm->map, addr, end, flags, &part);

		if (part.vp != NULL) {
			if (e == 0)
				e = sync_one(&vm->map, addr, &part, flags);
			vrele(part.vp);
		}
		if (error == 0)
			error = e;
		addr = part.end;
	}
	return (error);
}
