/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmap: arguments checked, an object found, an entry made.  No page is touched: that is left to faults.
 *
 *	MAP_SHARED   the file's own object, inherited as it is
 *	MAP_PRIVATE  the file's object with needs_copy: the first write puts a shadow object in between
 */
#include "vm/vm_mmap.h"

#include "kernel/fs/vnode.h"
#include "kernel/thread.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vnode_pager.h"

/* The object of a regular file, referenced. */
static int
file_object(struct vnode *vp, vm_prot_t prot, vm_ooffset_t off, struct vm_object **object)
{
	struct vattr va;
	int error;

	if (vp->v_type != VREG)
		return (ENODEV);
	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	if (error == 0)
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
	if (off < 0 || (off & PAGE_MASK) != 0 || ((flags & MAP_FIXED) && (addr & PAGE_MASK) != 0))
		return (EINVAL);
	if (((flags & MAP_ANONYMOUS) != 0) != (vp == NULL))
		return (EINVAL);
	if (len > VM_USER_MAX)
		return (ENOMEM);
	if ((uint64_t)off + round_page(len) > INT64_MAX)
		return (EOVERFLOW);
	return (0);
}

int
vm_mmap(struct vmspace *vm, vm_offset_t *addr, vm_size_t len, vm_prot_t prot, int flags, struct vnode *vp, vm_ooffset_t off)
{
	bool shared = (flags & MAP_SHARED) != 0, fixed = (flags & MAP_FIXED) != 0;
	vm_offset_t at = fixed ? *addr : MAX(trunc_page(*addr), VM_USER_MIN);
	vm_prot_t max = VM_PROT_ALL;
	struct vm_object *object = NULL;
	int kr, error;

	error = check_arguments(*addr, len, flags, vp, off);
	if (error != 0)
		return (error);
	len = round_page(len);
	if (at > VM_USER_MAX - len || at < VM_USER_MIN)
		return (ENOMEM);
	if (vp != NULL && shared && (vp->v_mount == NULL || (vp->v_mount->mnt_flag & MNT_RDONLY)))
		max &= ~VM_PROT_WRITE;
	if ((prot & ~max) != 0)
		return (EACCES);
	if (vp != NULL && (error = file_object(vp, prot, off, &object)) != 0)
		return (error);
	if (fixed)
		vm_map_remove(&vm->map, at, at + len);
	kr = vm_map_find(&vm->map, object, off, &at, len, !fixed, prot, max, shared ? 0 : MAP_COPY_ON_WRITE,
	    shared ? VM_INHERIT_SHARE : VM_INHERIT_COPY);
	if (kr != KERN_SUCCESS) {
		if (object != NULL)
			vm_object_deallocate(object);
		return (vm_errno(kr));
	}
	*addr = at;
	return (0);
}

int
vm_munmap(struct vmspace *vm, vm_offset_t addr, vm_size_t len)
{
	if (len == 0 || round_page(len) < len || addr + round_page(len) < addr)
		return (EINVAL);
	return (vm_errno(vm_map_remove(&vm->map, addr, addr + round_page(len))));
}
