/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laundry: dirty pages of files that nobody has used lately are written, so that reclaim can
 * take them.  (Anonymous pages lie on the same queue, and are another thread's: vm_swapout.c.)
 *
 *	reclaim finds an idle dirty page --> LAUNDRY queue --> laundry thread --> written --> INACTIVE, clean --> reclaim
 *
 * Why a second thread: writing needs vnodes, and a vnode may be locked by somebody who waits for
 * memory.  The reclaim thread must go on meanwhile.  The laundry thread only tries a vnode's lock;
 * what it cannot have goes to the end of the queue, and after a round in vain it sleeps for a
 * moment.
 *
 * Lock order: as vm_dirty.c.  Sleeps in "laundry" and in the pager.
 */
#include "vm/vm_laundry.h"

#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"
#include "vm/vm_swapout.h"
#include "vm/vnode_pager.h"

static struct spinlock laundry_lock = SPINLOCK_INITIALIZER("laundry", RANK_NONE);
static bool needed;			/* laundry_lock */
static volatile int writing;		/* atomic: threads that are at it */

#define BREATH		64		/* pages to look at with interrupts off */

void
vm_laundry_wakeup(void)
{
	if (__atomic_load_n(&needed, __ATOMIC_RELAXED)) {
		vm_swapout_wakeup();
		return;
	}
	spin_lock(&laundry_lock);
	needed = true;
	wakeup(&needed);
	spin_unlock(&laundry_lock);
	vm_swapout_wakeup();
}

void
vm_laundry_note_writing(int change)
{
	__atomic_fetch_add(&writing, change, __ATOMIC_RELAXED);
}

bool
vm_laundry_writing(void)
{
	return (writing > 0);
}

struct vm_page *
vm_laundry_next(bool anonymous, uint32_t *left)
{
	for (int i = 0; i < BREATH && *left > 0; i++) {
		struct vm_page *m = vm_pageq_first(PQ_LAUNDRY);

		if (m == NULL) {
			*left = 0;
			return (NULL);
		}
		--*left;
		/*
		 * A page leaves its object only after it left the queue, or without object: so the
		 * type can be read.
		 */
		if (m->object != NULL && vm_object_is_anonymous(m->object) == anonymous)
			return (m);
		vm_pageq_rotate(m);
	}
	return (NULL);
}

/*
 * The vnode whose page this is, referenced, and the page's index.
 * => the page-queue lock held, and dropped.  NULL: not a file's page, or its object is in use: the
 *    page is requeued or moved.
 */
static struct vnode *
page_vnode(struct vm_page *m, vm_pindex_t *pindex)
{
	struct vm_object *object = m->object;
	struct vnode *vp = NULL;
	bool locked = object != NULL && vm_object_trylock(object);

	vm_pageq_unlock();
	if (!locked) {
		vm_page_requeue(m);
		return (NULL);
	}
	/*
	 * re-check: the object was locked before the queue's lock went, so the page is still its
	 * own.
	 */
	*pindex = m->pindex;
	if (object->type != OBJT_VNODE || (object->flags & (OBJ_DEAD | OBJ_VNODE_GONE))) {
		vm_page_activate(m);
	} else {
		vp = object->handle;
		vref(vp);
		vm_page_requeue(m);
	}
	vm_object_unlock(object);
	return (vp);
}

/* Write the cluster around one page, unless the vnode is locked.  => vnode referenced; given up. */
static void
launder_cluster(struct vnode *vp, vm_pindex_t pindex)
{
	vm_pindex_t start = pindex / VM_PAGER_CLUSTER_MAX * VM_PAGER_CLUSTER_MAX;
	struct vm_object *object;

	if (!VOP_TRYLOCK(vp, LK_EXCLUSIVE)) {
		VM_PATH("laundry_skips_locked_vnode");
		vrele(vp);
		return;
	}
	/* re-check: with the vnode locked its object cannot die; it may have died before. */
	object = vnode_pager_object(vp);
	if (object != NULL) {
		(void)vm_object_page_clean(object, start, start + VM_PAGER_CLUSTER_MAX, 0);
		vm_object_deallocate_locked(object);
	}
	VOP_UNLOCK(vp);
	vnode_pager_settle(vp);
	vrele(vp);
}

/* One look at each page of the queue.  Returns whether anything moved. */
static bool
launder_queue(void)
{
	uint32_t left = vm_page_queue_len(PQ_LAUNDRY);
	bool moved = false;

	while (left > 0) {
		uint32_t before = vm_page_queue_len(PQ_LAUNDRY);
		struct vnode *vp;
		struct vm_page *m;
		vm_pindex_t pindex;

		vm_pageq_lock();
		m = vm_laundry_next(false, &left);
		if (m == NULL) {
			vm_pageq_unlock();
			continue;
		}
		vp = page_vnode(m, &pindex);
		if (vp != NULL)
			launder_cluster(vp, pindex);
		if (vm_page_queue_len(PQ_LAUNDRY) < before) {
			moved = true;
			vm_pageout_progress(1);
		}
	}
	return (moved);
}

static void
laundry_thread(void *arg)
{
	for (;;) {
		bool moved;

		spin_lock(&laundry_lock);
		while (!needed)
			tsleep(&needed, &laundry_lock.lk, "laundry", 0);
		needed = false;
		spin_unlock(&laundry_lock);
		vm_laundry_note_writing(1);
		moved = launder_queue();
		vm_laundry_note_writing(-1);
		if (!moved && vm_page_queue_len(PQ_LAUNDRY) > 0) {
			/* All of it is locked, or its disk is full: not now. */
			tsleep(&laundry_lock, NULL, "launwt", HZ / 10);
		}
	}
}

void
vm_laundry_init(void)
{
	struct thread *td = thread_create("laundry", PRI_PAGEOUT, laundry_thread, NULL);

	KASSERT(td != NULL, "no memory for the laundry thread");
	thread_detach(td);
}
