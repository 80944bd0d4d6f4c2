/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager, first part: the object of a file, from its making to its end.  How its pages
 * come in is in vnode_getpages.c, how they go out in vnode_putpages.c.
 *
 *	vnode  --v_object-->  vm_object           at most one each way
 *	       <---handle---                      the object holds one reference on the vnode as long as it lives
 *
 *	vnode_pager_alloc    find it, revive it from the object cache, or make it       VOLOCK: one thread at a time
 *	vnode_pager_uncache  it shall not rest in the cache any more
 *	vnode_pager_umount   the same for a whole filesystem
 *	vnode_pager_dealloc  the object has died: let go of the vnode
 *
 * v_object and a reference count that rises from 0 are guarded by vnode_list_lock, and so is the
 * setting of OBJ_DEAD: whoever looks finds a live object and may reference it, or a dead one and
 * waits in "vadead", or none.
 *
 * What differs from 1996, and why: the size is exact, in bytes, so nobody sees the rest of the last
 * block; the credential is recorded when the object is made; the object's memory is not looked at
 * after its end; references are counted where the vnode layer counts them.
 */
#include "vm/vnode_pager.h"

#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_page.h"

static void vnode_pager_dealloc(struct vm_object *object);

const struct pagerops vnodepagerops = {
	.pgo_alloc = vnode_pager_alloc,
	.pgo_dealloc = vnode_pager_dealloc,
	.pgo_getpages = vnode_pager_getpages,
	.pgo_putpages = vnode_pager_putpages,
	.pgo_haspage = vnode_pager_haspage,
};

/* ---- the object and its vnode ---- */

/*
 * Take VOLOCK and find out what object the vnode has.
 * => vnode_list_lock held; sleeps in "vnpobj" and "vadead" without it.  A live object comes with a
 *    reference for the caller.
 */
static struct vm_object *
volock_enter(struct vnode *vp)
{
	struct vm_object *object;

	while (vp->v_flag & VOLOCK) {
		vp->v_flag |= VOWANT;
		tsleep(&vp->v_object, &vnode_list_lock.lk, "vnpobj", 0);
	}
	vp->v_flag |= VOLOCK;
	while ((object = vp->v_object) != NULL && (object->flags & OBJ_DEAD))
		/* its address may serve anew: look again soon */
		tsleep(object, &vnode_list_lock.lk, "vadead", 1);
	if (object != NULL)
		__atomic_fetch_add(&object->ref_count, 1, __ATOMIC_RELAXED);
	return (object);
}

/* => vnode_list_lock held. */
static void
volock_leave(struct vnode *vp)
{
	bool wanted = (vp->v_flag & VOWANT) != 0;

	vp->v_flag &= ~(VOLOCK | VOWANT);
	if (wanted)
		wakeup(&vp->v_object);
}

/*
 * Find the vnode's object, or make it.
 *
 * => handle: a vnode, referenced by the caller, locked or not.
 * => size: exact, in bytes; used only for a new object.  prot, offset: what will be mapped; an
 *    object always is the whole file.
 * => cred: on whose behalf pages will be read and written as long as the object lives; held.
 * => sleeps in "vnpobj", "vadead", and for memory.
 * Returns the object with one reference for the caller; a vnode has at most one object, which holds
 * one reference on it.
 */
struct vm_object *
vnode_pager_alloc(void *handle, vm_ooffset_t size, vm_prot_t prot, vm_ooffset_t offset, struct ucred *cred)
{
	struct vnode *vp = handle;
	struct vm_object *object;

	KASSERT(vp != NULL && size >= 0 && offset >= 0, "vnode_pager_alloc: no vnode, or size %ld", size);
	spin_lock(&vnode_list_lock);
	object = volock_enter(vp);
	spin_unlock(&vnode_list_lock);
	if (object != NULL) {
		vm_object_cache_leave(object);
	} else {
		object = vm_object_allocate(OBJT_VNODE, OFF_TO_IDX(round_page(size)));
		/* A file that loses its name from now on is uncached once VOLOCK is free. */
		object->flags = vp->v_type == VREG && (PEEK(vp->v_flag) & VNONAME) == 0 ? OBJ_CANPERSIST : 0;
		object->handle = vp;
		object->un_pager.vnp.vnp_size = size;
		object->un_pager.vnp.vnp_cred = crhold(cred);
		vref(vp);
	}
	spin_lock(&vnode_list_lock);
	/* Who has the vnode locked may be looking at it: nothing is stored where nothing changes. */
	if (vp->v_object == NULL)
		vp->v_object = object;
	if (vp->v_type == VREG)
		vp->v_flag |= VVMIO;
	volock_leave(vp);
	spin_unlock(&vnode_list_lock);
	return (object);
}

void
vnode_pager_stores(struct vm_object *object, vm_ooffset_t bytes)
{
	vm_ooffset_t *stores = &object->un_pager.vnp.vnp_stores;
	struct vnode *vp;

	vm_object_lock(object);
	vp = object->handle;			/* NULL: taken away by force, and its counts went with it */
	spin_lock(&vnode_list_lock);
	if (vp != NULL && *stores == 0)
		vp->v_writecount++;
	*stores += bytes;
	if (vp != NULL && *stores == 0)
		vp->v_writecount--;
	KASSERT(*stores >= 0, "object %p: more bytes unmapped than were mapped for writing", object);
	spin_unlock(&vnode_list_lock);
	vm_object_unlock(object);
}

/*
 * The object is dead and empty: let go of the vnode.
 * => object: OBJ_DEAD, unlocked, no pages.  Sleeps in "vnpdea" and in vrele(): no lock held.
 */
static void
vnode_pager_dealloc(struct vm_object *object)
{
	struct vnode *vp;
	struct ucred *cred;

	vm_object_lock(object);
	vp = object->handle;
	KASSERT(vp != NULL, "vnode_pager_dealloc: object %p has no vnode any more", object);
	vm_object_pip_wait(object, "vnpdea");
	object->handle = NULL;
	cred = object->un_pager.vnp.vnp_cred;
	object->un_pager.vnp.vnp_cred = NOCRED;
	vm_object_unlock(object);

	spin_lock(&vnode_list_lock);
	KASSERT(vp->v_object == object, "vnode %p has another object (O3)", vp);
	/* idle from now on: the first to be recycled */
	vp->v_flag = (vp->v_flag & ~(VTEXT | VVMIO)) | VAGE;
	vp->v_object = NULL;
	spin_unlock(&vnode_list_lock);
	crfree(cred);
	vrele(vp);
}

struct vnode *
vnode_pager_lock(struct vm_object *object)
{
	struct vm_object *at = object, *next;
	struct vnode *vp = NULL;

	/* Hand over hand: a collapse changes the chain only under the lock of the object above. */
	vm_object_rlock(at);
	while (at->type != OBJT_VNODE && (next = at->backing_object) != NULL) {
		vm_object_rlock(next);
		vm_object_unlock(at);
		at = next;
	}
	if (at->type == OBJT_VNODE) {
		vp = at->handle;
		vref(vp);
	}
	vm_object_unlock(at);
	vm_object_deallocate(object);
	if (vp != NULL)
		VOP_LOCK(vp, LK_SHARED);
	return (vp);
}

struct vm_object *
vnode_pager_object(struct vnode *vp)
{
	struct vm_object *object;

	spin_lock(&vnode_list_lock);
	object = volock_enter(vp);
	volock_leave(vp);
	spin_unlock(&vnode_list_lock);
	if (object != NULL)
		vm_object_cache_leave(object);
	return (object);
}

struct vm_object *
vnode_pager_live(struct vnode *vp)
{
	struct vm_object *object;

	KASSERT(rw_held(&vp->v_lock), "the object of inode %lu is looked at without its vnode's lock", vp->v_ino);
	spin_lock(&vnode_list_lock);		/* a dead one is freed by others at any time */
	object = vp->v_object;
	if (object != NULL && (object->flags & OBJ_DEAD))
		object = NULL;
	spin_unlock(&vnode_list_lock);
	return (object);
}

void
vnode_pager_uncache(struct vnode *vp)
{
	struct vm_object *object = vnode_pager_object(vp);

	if (object == NULL)
		return;
	/* Letting go may end the object, and that takes the vnode's lock. */
	VOP_UNLOCK(vp);
	pager_cache(object, false);
	VOP_LOCK(vp, LK_EXCLUSIVE);
}

void
vnode_pager_settle(struct vnode *vp)
{
	/* What is open may be read again: who closes it looks once more. */
	if ((PEEK(vp->v_flag) & VNONAME) == 0 || vnode_is_open(vp))
		return;
	VOP_LOCK(vp, LK_EXCLUSIVE);
	vnode_pager_uncache(vp);
	VOP_UNLOCK(vp);
}

/* A vnode of this mount whose object is cached, referenced; NULL: none left. */
static struct vnode *
cached_vnode_of(struct mount *mp)
{
	struct vnode *vp;

	spin_lock(&vnode_list_lock);
	TAILQ_FOREACH(vp, &mp->mnt_vnodelist, v_mntvnodes) {
		struct vm_object *object = vp->v_object;

		if (object != NULL && object->ref_count == 0 && (object->flags & OBJ_DEAD) == 0) {
			vp->v_usecount++;	/* not idle: its object holds a reference */
			break;
		}
	}
	spin_unlock(&vnode_list_lock);
	return (vp);
}

void
vnode_pager_umount(struct mount *mp)
{
	struct vnode *vp;

	while ((vp = cached_vnode_of(mp)) != NULL) {
		VOP_LOCK(vp, LK_EXCLUSIVE);
		vnode_pager_uncache(vp);
		vput(vp);
	}
}

void
vnode_pager_gone(struct vnode *vp)
{
	struct vm_object *object = vnode_pager_live(vp);

	KASSERT(rw_wheld(&vp->v_lock), "inode %lu goes without its vnode's lock", vp->v_ino);
	if (object == NULL)
		return;
	vm_object_lock(object);
	object->flags |= OBJ_VNODE_GONE;
	vm_object_unlock(object);
	vnode_pager_setsize(vp, 0);
}

int
vnode_pager_allow_stores(struct vnode *vp, bool allow)
{
	struct vm_object *object = vnode_pager_object(vp);
	int error = 0;

	if (object == NULL)
		return (0);
	vm_object_lock(object);
	if (allow)
		object->flags &= ~OBJ_NOSTORES;
	else if (object->dirty_count > 0)
		error = EBUSY;
	else
		object->flags |= OBJ_NOSTORES;
	vm_object_unlock(object);
	vm_object_deallocate(object);
	return (error);
}

void
vnode_pager_freepage(struct vm_page *m)
{
	struct vm_object *object = m->object;

	vm_object_lock(object);
	vm_page_free(m);
	vm_object_unlock(object);
}

/* ---- the size ---- */

/*
 * The file ends inside this page now: zero the rest, and forget that sectors past the end were ever
 * dirty.
 * => object exclusively locked; sleeps in "vnpsiz" for a busy page.
 */
static void
trim_last_page(struct vm_object *object, vm_ooffset_t size)
{
	size_t keep = size & PAGE_MASK;
	struct vm_page *m = vm_page_busy_acquire(object, OFF_TO_IDX(size), "vnpsiz");

	if (m == NULL)
		return;
	if (m->valid != 0) {
		pmap_zero_page_area(m, keep, PAGE_SIZE - keep);
		m->dirty &= vm_page_bits(0, keep);
		vm_object_page_cleaned(m);
		/*
		 * A mapping may be writable only while every sector counts as dirty: the next store
		 * faults.
		 */
		pmap_page_protect(m, VM_PROT_READ);
		pmap_clear_modify(m);
	}
	vm_page_xunbusy(m);
}

void
vnode_pager_setsize(struct vnode *vp, vm_ooffset_t nsize)
{
	struct vm_object *object = vnode_pager_live(vp);
	vm_ooffset_t old;

	KASSERT(rw_wheld(&vp->v_lock), "setsize of inode %lu without its vnode's lock", vp->v_ino);
	if (object == NULL)
		return;
	vm_object_lock(object);
	old = object->un_pager.vnp.vnp_size;
	/* Published before anything is evicted: a fault that comes now finds the new end (O3). */
	object->un_pager.vnp.vnp_size = nsize;
	object->size = OFF_TO_IDX(round_page(nsize));
	if (nsize < old) {
		vm_object_page_remove(object, object->size, OFF_TO_IDX(round_page(old)));
		if ((nsize & PAGE_MASK) != 0)
			trim_last_page(object, nsize);
	}
	vm_object_unlock(object);
}
