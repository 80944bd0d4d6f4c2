/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager: a file's pages, read from the blocks where the filesystem keeps them, and written
 * there.  vm_pager.h has the contracts of what stands in vnodepagerops.
 */
#ifndef VM_VNODE_PAGER_H
#define VM_VNODE_PAGER_H

#include "kernel/lib/types.h"
#include "vm/vm_pager.h"

struct mount;
struct vnode;

extern const struct pagerops vnodepagerops;

struct vm_object *vnode_pager_alloc(void *handle, vm_ooffset_t size, vm_prot_t prot, vm_ooffset_t offset, struct ucred *cred);
/*
 * The vnode's object if it has a live one, with a reference for the caller; leaves the cache.
 * => sleeps in "vnpobj".
 */
struct vm_object *vnode_pager_object(struct vnode *vp);
/*
 * The vnode's object, without a reference; NULL if it has none, or one that dies.  => vnode locked, either way: then
 * a live object stays alive, for it is called dead only under that lock held exclusively.
 */
struct vm_object *vnode_pager_live(struct vnode *vp);
/*
 * Lock, shared, the vnode that this chain of objects ends in.
 * => object: referenced by the caller; the reference is GIVEN UP, so that nothing of the chain is
 *    held while we wait.
 * => sleeps in "vnode": no busy page, no map lock, no object lock, no other vnode's lock held.
 * Returns the vnode, referenced (vput() ends it), or NULL when there is none at the bottom.
 */
struct vnode *vnode_pager_lock(struct vm_object *object);
/*
 * Clear CANPERSIST for good and let go of the cached object.  => vnode locked exclusively; unlocked
 * and locked again inside.
 */
void vnode_pager_uncache(struct vnode *vp);
/*
 * The file's filesystem goes: its object is empty from now on, whoever maps it gets SIGBUS.
 * => vnode locked exclusively; sleeps for busy pages
 */
void vnode_pager_gone(struct vnode *vp);
/*
 * May mappings of the file be stored through?  Forbidding fails with EBUSY if something is dirty.
 * => vp referenced; sleeps
 */
int vnode_pager_allow_stores(struct vnode *vp, bool allow);
/*
 * A file without a name shall go with its last user, so its object must not stay behind in the cache.
 * Called by whoever has used the object with the vnode locked, once it is not.
 * => vp referenced, unlocked
 */
void vnode_pager_settle(struct vnode *vp);
/* Empty the object cache of everything on this mount.  => sleeps; no vnode locked. */
void vnode_pager_umount(struct mount *mp);
/*
 * The file's size changed to nsize bytes.  Growing: publish.  The filesystem zeroes the old tail
 * (vnode_object_zero).  Shrinking: publish the new size first, so that faults beyond it fail; then
 * free the pages past it, waiting for busy ones; zero the rest of the last page and forget that
 * sectors past EOF were dirty.  Wired pages stay, unmapped and invalid.
 * => vnode locked exclusively; object unlocked; sleeps in "vnpsiz", "vmopar".  No object: nothing
 *    to do.
 */
void vnode_pager_setsize(struct vnode *vp, vm_ooffset_t nsize);
/*
 * So many bytes more (or less) of the file are mapped by who may write to it: from the first to the last of them nobody can run
 * it.  => object referenced, unlocked; sleeps.  From none to some: the caller is a writer (vnode_writer_begin()).
 */
void vnode_pager_stores(struct vm_object *object, vm_ooffset_t bytes);
/* vnode_putpages.c */
int vnode_pager_putpages(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals);
/*
 * Write `len` bytes, which begin at byte `off` of page m[0] and go on in the pages behind it, to
 * device block `blkno` (512-byte units) of dp, in one request.  For a filesystem's VOP_WRITE with
 * UIO_NOCOPY.
 * => off + len <= MAXPHYS; both multiples of the device's sector; pages shared-busy; sleeps in
 *    "pbufout" and "vnwrite"; no metadata buffer held.
 * => 0 or the device's errno.
 */
int vnode_pager_output(struct vnode *vp, struct vnode *dp, struct vm_page **m, size_t off, size_t len, daddr_t blkno);
/* The one way from a pager to a disk, for both directions; in vnode_getpages.c. */
struct buf;
int vnode_pager_transfer(struct vm_object *object, struct vnode *dp, struct buf *bp, uint32_t direction, daddr_t blkno,
	    vm_offset_t data, size_t len, const char *wmesg);
/* pagerops slots in vnode_getpages.c */
int vnode_pager_getpages(struct vm_object *object, struct vm_page **m, int count, int reqpage);
enum vm_pager_has vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, int *before, int *after);
/* A surplus page is not wanted after all.  => exclusive-busy by us; the object unlocked. */
void vnode_pager_freepage(struct vm_page *m);

#endif
