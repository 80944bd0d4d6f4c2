/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing a file through its object: the one place where a file's data lives.
 *
 *	VOP_READ --> vnode_object_read --> page resident?  yes: share-busy it, copy
 *	                                        no: allocate, fill through the pager like a fault, then copy
 *
 *	VOP_WRITE --> vnode_object_write --> page busy exclusively; filled first unless it is overwritten whole; copy; sectors dirty
 *
 * Writing stops here: vm_dirty.c and vnode_putpages.c carry dirty pages to the disk later.
 * The loops below work for anonymous objects as well, which is what a filesystem in memory keeps its
 * files in: there a page that the pager does not have is zeros.
 * So read, write and mmap agree by construction.  The page is shared-busy during the copy: it can
 * be read and mapped by others, but not freed or refilled.  Lock order: vnode (the caller's),
 * object, page busy.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"
#include "vm/vnode_pager.h"

/*
 * The file's object, referenced; a reader or writer may be the first to need it.  => vnode locked.
 */
static struct vm_object *
object_of(struct vnode *vp, struct ucred *cred)
{
	struct vattr va = { 0 };

	/* Always: an object that is there may leave the cache before the next line. */
	(void)VOP_GETATTR(vp, &va);
	return (vnode_pager_alloc(vp, va.va_size, VM_PROT_ALL, 0, cred));
}

#define READ_AHEAD_MIN	7	/* pages read beyond a small request that had to go to disk */

/* A page that is there, shared-busy; NULL: it is not, or somebody is busy filling it. */
static struct vm_page *
resident_page(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m;

	vm_object_rlock(object);
	m = vm_page_lookup(object, pindex);
	if (m != NULL && (!vm_page_all_valid(m) || !vm_page_trysbusy(m)))
		m = NULL;
	vm_object_unlock(object);
	if (m != NULL)
		vm_page_reference(m);
	return (m);
}

/*
 * Fill an exclusive-busy page from the pager, or with zeros where an anonymous object has none.
 * => 0; EAGAIN; EIO.  The page stays busy in any case.
 */
static int
read_or_zero(struct vm_object *object, struct vm_page *m, int ahead)
{
	int result = vm_pager_read_page(object, m, 0, ahead, NULL);

	if (result == VM_PAGER_FAIL && vm_object_is_anonymous(object)) {
		pmap_zero_page(m);
		vm_page_flag_clear(m, PG_ZERO);
		m->valid = VM_PAGE_BITS_ALL;
		return (0);
	}
	return (result == VM_PAGER_OK ? 0 : result == VM_PAGER_AGAIN ? EAGAIN : EIO);
}

/*
 * Fill an exclusive-busy page; on success it is shared-busy and on the inactive queue, else gone.
 */
static int
fill_page(struct vm_object *object, struct vm_page *m, int ahead)
{
	int error = read_or_zero(object, m, ahead);

	vm_object_lock(object);
	vm_object_pip_wakeup(object);
	if (error == 0) {
		vm_page_deactivate(m);
		vm_page_downgrade(m);
	} else if (m->valid == 0 && PEEK(m->wire_count) == 0) {
		vm_page_free(m);
	} else {
		vm_page_xunbusy(m);
	}
	vm_object_unlock(object);
	return (error);
}

/*
 * Is the page before this one here already?  Then somebody reads the file from front to back.
 * => object locked.
 */
static bool
follows_resident(struct vm_page *m)
{
	struct vm_page *prev = vm_page_prev(m);

	return (prev != NULL && prev->pindex + 1 == m->pindex);
}

/*
 * The page at pindex for a change of [off, +len): exclusive-busy, valid unless the change covers
 * all of it.
 * => vnode locked exclusively; index inside the object.  0; EIO; EAGAIN as below.
 */
static int
grab_page_to_write(struct vm_object *object, vm_pindex_t pindex, size_t len, struct vm_page **mp)
{
	struct vm_page *m;
	int error;

	vm_object_lock(object);
	m = vm_page_busy_acquire(object, pindex, "vmwrwt");
	if (m == NULL)
		m = vm_page_alloc(object, pindex, VM_ALLOC_NORMAL);
	if (m == NULL) {
		vm_object_unlock(object);
		return (EAGAIN);
	}
	vm_object_pip_add(object, 1);
	vm_object_unlock(object);
	*mp = m;
	if (len == PAGE_SIZE || vm_page_all_valid(m))
		return (0);
	error = read_or_zero(object, m, 0);
	if (error == 0)
		return (0);
	vm_object_lock(object);
	vm_object_pip_wakeup(object);
	if (m->valid == 0 && PEEK(m->wire_count) == 0)
		vm_page_free(m);
	else
		vm_page_xunbusy(m);
	vm_object_unlock(object);
	return (error);
}

/*
 * The change is made: the page is valid, its sectors dirty.  A copy that stopped early leaves
 * zeros, never old memory.
 */
static void
page_written(struct vm_object *object, struct vm_page *m, size_t off, size_t done)
{
	if (!vm_page_all_valid(m)) {
		pmap_zero_page_area(m, off + done, PAGE_SIZE - off - done);
		m->valid = VM_PAGE_BITS_ALL;
		done = PAGE_SIZE - off;
	}
	vm_page_flag_clear(m, PG_ZERO);
	vm_object_lock(object);
	if (done > 0 && vm_object_is_anonymous(object)) {
		swap_pager_dirtied(m);
		vm_page_dirty(m);
	} else if (done > 0) {
		vm_object_page_dirty(m, off, done);
	}
	vm_object_pip_wakeup(object);
	vm_page_deactivate(m);
	vm_page_reference(m);
	vm_page_xunbusy(m);
	vm_object_unlock(object);
}

int
vm_object_write(struct vm_object *object, struct uio *uio)
{
	int error = 0;

	KASSERT(uio->uio_segflg == UIO_SYSSPACE, "vm_object_write from memory that can fault");
	while (error == 0 && uio->uio_resid > 0) {
		size_t off = uio->uio_offset & PAGE_MASK;
		size_t n = MIN(PAGE_SIZE - off, uio->uio_resid), before = uio->uio_resid;
		struct vm_page *m;

		error = grab_page_to_write(object, OFF_TO_IDX(uio->uio_offset), n, &m);
		if (error != 0)
			break;
		error = uiomove((char *)VM_PAGE_TO_DMAP(m) + off, n, uio);
		page_written(object, m, off, before - uio->uio_resid);
	}
	return (error);
}

int
vnode_object_write(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct vm_object *object = object_of(vp, cred);
	int error;

	KASSERT(uio->uio_offset + (off_t)uio->uio_resid <= object->un_pager.vnp.vnp_size,
	    "writing past the end of inode %lu's object (O3)", vp->v_ino);
	error = vm_object_write(object, uio);
	vm_object_deallocate_locked(object);
	return (error);
}

int
vm_object_zero(struct vm_object *object, off_t from, off_t to)
{
	int error = 0;

	while (error == 0 && from < to) {
		size_t off = from & PAGE_MASK, n = MIN(PAGE_SIZE - off, (size_t)(to - from));
		struct vm_page *m;

		error = grab_page_to_write(object, OFF_TO_IDX(from), n, &m);
		if (error != 0)
			break;
		pmap_zero_page_area(m, off, n);
		page_written(object, m, off, n);
		from += n;
	}
	return (error);
}

int
vnode_object_zero(struct vnode *vp, off_t from, off_t to, struct ucred *cred)
{
	struct vm_object *object = object_of(vp, cred);
	int error;

	error = vm_object_zero(object, from, MIN(to, (off_t)object->un_pager.vnp.vnp_size));
	vm_object_deallocate_locked(object);
	return (error);
}

/*
 * The page at pindex, valid and shared-busy.
 * => vnode locked.  0; EIO; EAGAIN: no memory now, and we must not wait for it with the vnode
 *    locked.
 */
static int
grab_page(struct vm_object *object, vm_pindex_t pindex, int ahead, struct vm_page **mp)
{
	struct vm_page *m;
	int error;

	while ((*mp = resident_page(object, pindex)) == NULL) {
		vm_object_lock(object);
		m = vm_page_busy_acquire(object, pindex, "vmrdwt");
		if (m == NULL)
			m = vm_page_alloc(object, pindex, VM_ALLOC_NORMAL);
		if (m == NULL) {
			vm_object_unlock(object);
			return (EAGAIN);
		}
		if (vm_page_all_valid(m)) {
			vm_page_xunbusy(m);
			vm_object_unlock(object);
			continue;
		}
		if (follows_resident(m))
			ahead = VM_PAGER_CLUSTER_MAX - 1;
		vm_object_pip_add(object, 1);
		vm_object_unlock(object);
		error = fill_page(object, m, ahead);
		*mp = m;
		return (error);
	}
	return (0);
}

int
vm_object_read(struct vm_object *object, off_t end, struct uio *uio)
{
	int error = 0;

	KASSERT(uio->uio_segflg != UIO_NOCOPY, "vm_object_read to nowhere");
	if (uio->uio_offset < 0)
		return (EINVAL);
	while (error == 0 && uio->uio_resid > 0 && uio->uio_offset < end) {
		size_t off = uio->uio_offset & PAGE_MASK;
		size_t n = MIN(MIN(PAGE_SIZE - off, uio->uio_resid), (size_t)(end - uio->uio_offset));
		size_t more = MIN(howmany(off + uio->uio_resid, PAGE_SIZE) - 1, (size_t)VM_PAGER_CLUSTER_MAX - 1);
		struct vm_page *m;

		error = grab_page(object, OFF_TO_IDX(uio->uio_offset), MAX((int)more, READ_AHEAD_MIN), &m);
		if (error != 0)
			break;
		error = uiomove((char *)VM_PAGE_TO_DMAP(m) + off, n, uio);
		vm_page_sunbusy(m);
	}
	return (error);
}

/*
 * VOP_READ for filesystems whose data lives in the object.
 *
 * => vnode locked, shared at least, so no fault may be taken here, which could want this very vnode: the
 *    memory is the kernel's, is held by the caller, or the copy fails where it is not there.
 * => 0, also when EOF cuts it short; EIO; EFAULT; EAGAIN when memory is short: the caller unlocks the
 *    vnode, waits and goes on from where the uio stands.
 */
int
vnode_object_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct vm_object *object = object_of(vp, cred);
	int error = vm_object_read(object, object->un_pager.vnp.vnp_size, uio);

	vm_object_deallocate_locked(object);
	return (error);
}
