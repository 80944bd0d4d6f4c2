/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects: their references, their end, shadow chains, and the object cache.
 *
 * The end of an object.  vm_object_deallocate() gives up one reference; with the last one
 *
 *	file that may persist ------------> object cache: ref_count 0, LRU, revived by vnode_pager_alloc()
 *	anything else --> dirty pages written --> OBJ_DEAD -> pager operations drain -> pages freed -> pager deallocated -> freed
 *
 * A file's object is killed with the vnode locked, so that nobody is in the middle of using it, and
 * under vnode_list_lock, so that vnode_pager_alloc() either revives it before or sees it dead.  The
 * vnode's reference is dropped last, with no lock held.
 *
 * Shadow chains are in vm_collapse.c.
 *
 * Lock order: vnode, shadow, backing, page busy.  object_list_lock is a leaf among the spin locks
 * here.
 */
#include "vm/vm_object.h"

#include "kernel/console.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lockorder.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_meter.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"

#define FREE_BATCH	16	/* pages freed under one hold of the page-queue lock */

TAILQ_HEAD(object_list, vm_object);

static struct spinlock object_list_lock = SPINLOCK_INITIALIZER("objlist", RANK_OBJECT_LIST);
static struct object_list object_list;		/* object_list_lock */
static struct object_list cached_list;		/* object_list_lock; least recently used first */
static uint64_t object_count;			/* object_list_lock */
static uint32_t cached_count;			/* object_list_lock */
static uint32_t cached_max;			/* constant after init, but for tests */
static uint32_t trim_above;			/* atomic, a hint: more objects than this wake reclaim */
static struct kmem_cache *object_zone;

/* A shadow before what backs it; one that is dead last, for nobody comes to it any more. */
static bool
object_nests(const struct lock *held, const struct lock *wanted)
{
	const struct vm_object *above = container_of(held, struct vm_object, lock.lk);
	const struct vm_object *below = container_of(wanted, struct vm_object, lock.lk);

	return (above->backing_object == below || (below->flags & OBJ_DEAD) != 0);
}

void
vm_object_init(void)
{
	lockorder_nesting("object", object_nests);
	object_zone = kmem_cache_create("vm_object", sizeof(struct vm_object), 64);
	cached_max = trim_above = MAX(16u, vm_page_count / 32);
}

void
vm_object_lock(struct vm_object *object)
{
	rw_wlock(&object->lock);
}

void
vm_object_rlock(struct vm_object *object)
{
	rw_rlock(&object->lock);
}

bool
vm_object_trylock(struct vm_object *object)
{
	return (rw_trywlock(&object->lock));
}

void
vm_object_unlock(struct vm_object *object)
{
	rw_unlock(&object->lock);
}

void
vm_object_upgrade(struct vm_object *object)
{
	if (rw_tryupgrade(&object->lock))
		return;
	rw_runlock(&object->lock);
	rw_wlock(&object->lock);
}

struct vm_object *
vm_object_allocate(enum obj_type type, vm_pindex_t size)
{
	struct vm_object *object = kmem_cache_alloc(object_zone, M_WAITOK | M_ZERO);

	rw_init(&object->lock, "object", RANK_OBJECT);
	object->type = type;
	object->size = size;
	object->ref_count = 1;
	object->dirty_head = VM_PAGE_NIL;
	spin_lock(&object_list_lock);
	TAILQ_INSERT_TAIL(&object_list, object, object_list);
	object_count++;
	spin_unlock(&object_list_lock);
	return (object);
}

void
vm_object_reference(struct vm_object *object)
{
	int old = __atomic_fetch_add(&object->ref_count, 1, __ATOMIC_RELAXED);

	KASSERT(old > 0, "referencing object %p, which nobody owns (O1)", object);
}

/* Reference an object found through a list: only if it is not on its way out. */
static bool
object_reference_if_alive(struct vm_object *object)
{
	int old = __atomic_load_n(&object->ref_count, __ATOMIC_RELAXED);

	do {
		if (old == 0)
			return (false);
	} while (!__atomic_compare_exchange_n(&object->ref_count, &old, old + 1, false,
	    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return (true);
}

struct vm_object *
vm_object_rdescend(struct vm_object *object, vm_pindex_t *pindex)
{
	struct vm_object *next = object->backing_object;

	*pindex += OFF_TO_IDX(object->backing_object_offset);
	if (next != NULL)
		vm_object_rlock(next);
	vm_object_unlock(object);
	return (next);
}

/* ---- paging in progress ---- */

void
vm_object_pip_add(struct vm_object *object, int n)
{
	KASSERT(rw_wheld(&object->lock), "paging_in_progress of object %p without its lock", object);
	object->paging_in_progress += n;
}

void
vm_object_pip_wakeup(struct vm_object *object)
{
	KASSERT(rw_wheld(&object->lock), "paging_in_progress of object %p without its lock", object);
	KASSERT(object->paging_in_progress > 0, "object %p: paging_in_progress below zero (O2)", object);
	if (--object->paging_in_progress == 0 && (object->flags & OBJ_PIPWNT)) {
		object->flags &= ~OBJ_PIPWNT;
		wakeup(&object->paging_in_progress);
	}
}

void
vm_object_pip_wait(struct vm_object *object, const char *wmesg)
{
	while (object->paging_in_progress > 0) {
		object->flags |= OBJ_PIPWNT;
		tsleep(&object->paging_in_progress, &object->lock.lk, wmesg, 0);
	}
}

/* ---- the end of an object ---- */

/*
 * Free the first pages, as many as can be had at once, with the queues' lock taken once.  Returns how many.
 * => object exclusively locked
 */
static int
free_batch(struct vm_object *object)
{
	struct vm_page *m, *batch[FREE_BATCH];
	int n = 0;

	for (m = vm_page_find_least(object, 0); m != NULL && n < FREE_BATCH; m = vm_page_next(m)) {
		if (PEEK(m->wire_count) > 0 || !vm_page_tryxbusy(m))
			break;
		batch[n++] = m;
	}
	if (n > 0)
		vm_page_unqueue_run(batch, n);
	for (int i = 0; i < n; i++)
		vm_page_free(batch[i]);
	return (n);
}

static void
object_free_pages(struct vm_object *object)
{
	struct vm_page *m;

	while ((m = vm_page_find_least(object, 0)) != NULL) {
		if (free_batch(object) > 0)
			continue;
		m = vm_page_busy_acquire(object, m->pindex, "vmotrm");
		if (m != NULL && PEEK(m->wire_count) > 0)
			vm_page_disown(m);	/* held for somebody's I/O */
		else if (m != NULL)
			vm_page_free(m);
	}
	KASSERT(object->resident_page_count == 0, "object %p: %u pages left (O7)", object,
	    object->resident_page_count);
}

struct vm_object *
vm_object_terminate(struct vm_object *object)
{
	struct vm_object *backing = object->backing_object;

	KASSERT((object->flags & OBJ_DEAD) && object->ref_count == 0, "terminating live object %p (O5)", object);
	KASSERT(object->shadow_count == 0, "terminating object %p under %d shadows (O1)", object,
	    object->shadow_count);
	vm_object_pip_wait(object, "objtrm");
	object_free_pages(object);
	if (backing != NULL) {
		vm_object_lock(backing);
		TAILQ_REMOVE(&backing->shadow_head, object, shadow_list);
		backing->shadow_count--;
		vm_object_unlock(backing);
		object->backing_object = NULL;
	}
	vm_object_unlock(object);
	vm_pager_deallocate(object);
	object->type = OBJT_DEAD;
	spin_lock(&object_list_lock);
	TAILQ_REMOVE(&object_list, object, object_list);
	object_count--;
	spin_unlock(&object_list_lock);
	wakeup(object);			/* "vadead": the vnode may have a new object now */
	kmem_cache_free(object_zone, object);
	return (backing);
}

/*
 * One of several references of an anonymous object went away.  If what is left is a single shadow,
 * the two may become one.
 * => object exclusively locked; unlocked on return.
 */
static void
collapse_into_only_shadow(struct vm_object *object)
{
	struct vm_object *shadow = TAILQ_FIRST(&object->shadow_head);

	if (object->ref_count != 1 || object->shadow_count != 1 || !object_reference_if_alive(shadow)) {
		vm_object_unlock(object);
		return;
	}
	vm_object_unlock(object);
	/* re-check: from the top, by vm_object_collapse(); `object` itself may be gone. */
	vm_object_lock(shadow);
	if ((shadow->flags & OBJ_DEAD) == 0)
		vm_object_collapse(shadow);
	vm_object_unlock(shadow);
	vm_object_deallocate(shadow);
}

static struct vm_object *
anonymous_release(struct vm_object *object)
{
	vm_object_lock(object);
	if (__atomic_sub_fetch(&object->ref_count, 1, __ATOMIC_ACQ_REL) > 0) {
		collapse_into_only_shadow(object);
		return (NULL);
	}
	object->flags |= OBJ_DEAD;
	return (vm_object_terminate(object));
}

/* Give up a reference that is not the last one, without a lock. */
static bool
drop_unless_last(struct vm_object *object)
{
	int old = __atomic_load_n(&object->ref_count, __ATOMIC_RELAXED);

	do {
		if (old <= 1)
			return (false);
	} while (!__atomic_compare_exchange_n(&object->ref_count, &old, old - 1, false,
	    __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	return (true);
}

/* Give a reference up; after the last one the object rests in the cache.  => object exclusively locked */
static void
cache_enter_object(struct vm_object *object)
{
	spin_lock(&vnode_list_lock);
	if (__atomic_sub_fetch(&object->ref_count, 1, __ATOMIC_ACQ_REL) == 0) {
		spin_lock(&object_list_lock);
		object->cached = true;
		TAILQ_INSERT_TAIL(&cached_list, object, cached_list);
		cached_count++;
		spin_unlock(&object_list_lock);
	}
	spin_unlock(&vnode_list_lock);
}

static void
cache_unlink(struct vm_object *object)
{
	object->cached = false;
	TAILQ_REMOVE(&cached_list, object, cached_list);
	cached_count--;
}

/*
 * Try to write what a dying object has changed.
 * => vnode locked.  wait false: memory is at its end, and a sync under way may need some before it lets
 *    anybody write.  Then what the disk has refused before is not tried again.  false: it has not been refused
 */
static bool
clean_last(struct vm_object *object, struct vnode *vp, bool wait)
{
	int error;

	if (!wait && vp->v_mount != NULL && PEEK(vp->v_mount->mnt_syncing)) {
		if (!PEEK(object->un_pager.vnp.vnp_refused))
			return (false);
		error = PEEK(object->error);
	} else {
		error = vm_object_page_clean(object, 0, 0, OBJPC_SYNC);
	}
	if (error != 0)
		printf("vm_object: inode %lu: %u changed pages are lost: %s\n", vp->v_ino, object->dirty_count,
		    errno_name(error));
	return (true);
}

/*
 * The last reference of a file's object, and it shall not persist.
 * => wait false: only if the vnode's lock is free now, and nobody else need be waited for.  false: so it
 *    was not, and the object is as before, reference included.
 */
static bool
vnode_object_kill(struct vm_object *object, bool wait)
{
	struct vnode *vp = object->handle;
	bool last;

	if (wait)
		VOP_LOCK(vp, LK_EXCLUSIVE);
	else if (!VOP_TRYLOCK(vp, LK_EXCLUSIVE))
		return (false);
	if (PEEK(object->dirty_count) > 0 && !clean_last(object, vp, wait)) {
		VOP_UNLOCK(vp);
		return (false);
	}
	vm_object_lock(object);
	/* re-check: while we slept for the vnode somebody may have mapped the file again. */
	spin_lock(&vnode_list_lock);
	last = __atomic_sub_fetch(&object->ref_count, 1, __ATOMIC_ACQ_REL) == 0;
	if (last)
		object->flags |= OBJ_DEAD;
	spin_unlock(&vnode_list_lock);
	VOP_UNLOCK(vp);
	if (last)
		vm_object_terminate(object);
	else
		vm_object_unlock(object);
	return (true);
}

/*
 * Into the cache, or the end.  An end takes the vnode's lock, so who has that lock, or may not wait
 * for it, puts the object into the cache whether it may persist or not.  Trimming the cache needs
 * vnode locks, too: the reclaim thread does it.
 */
static void
vnode_object_release(struct vm_object *object, bool to_cache)
{
	bool persist;

	if (drop_unless_last(object))
		return;
	vm_object_lock(object);
	persist = to_cache || ((object->flags & OBJ_CANPERSIST) && (object->flags & OBJ_VNODE_GONE) == 0);
	if (persist)
		cache_enter_object(object);
	vm_object_unlock(object);
	if (!persist)
		vnode_object_kill(object, true);
}

/* After a release by anybody but reclaim itself, which would otherwise wake itself for ever. */
static void
ask_for_trim(void)
{
	if (PEEK(cached_count) > PEEK(trim_above))
		vm_pageout_wakeup();
}

void
vm_object_deallocate(struct vm_object *object)
{
	assert_can_sleep("vm_object_deallocate");
	while (object != NULL) {
		if (object->type == OBJT_VNODE) {
			vnode_object_release(object, false);
			ask_for_trim();
			return;
		}
		object = anonymous_release(object);
	}
}

void
vm_object_deallocate_locked(struct vm_object *object)
{
	KASSERT(object->type == OBJT_VNODE && rw_held(&((struct vnode *)object->handle)->v_lock),
	    "object %p is let go as a file's that is locked", object);
	vnode_object_release(object, true);
	ask_for_trim();
}

void
pager_cache(struct vm_object *object, bool should_cache)
{
	vm_object_lock(object);
	if (should_cache)
		object->flags |= OBJ_CANPERSIST;
	else
		object->flags &= ~OBJ_CANPERSIST;
	vm_object_unlock(object);
	vm_object_deallocate(object);
}

/* ---- the object cache ---- */

void
vm_object_cache_leave(struct vm_object *object)
{
	spin_lock(&object_list_lock);
	if (object->cached) {
		cache_unlink(object);
		VMCNT_INC(v_object_cache_hits);
	}
	spin_unlock(&object_list_lock);
}

/* Take the least recently used object out, with a reference for the caller. */
static struct vm_object *
cache_take(bool dirty_too)
{
	struct vm_object *object;

	spin_lock(&vnode_list_lock);
	spin_lock(&object_list_lock);
	TAILQ_FOREACH(object, &cached_list, cached_list) {
		/* One with references is being revived, and leaves by itself. */
		if (object->ref_count == 0 && (dirty_too || PEEK(object->dirty_count) == 0))
			break;
	}
	if (object != NULL) {
		cache_unlink(object);
		object->ref_count = 1;
	}
	spin_unlock(&object_list_lock);
	spin_unlock(&vnode_list_lock);
	return (object);
}

/* End the least recently used object.  => *freed: its pages are added.  false: there is none, or it is locked */
static bool
cache_end_oldest(bool wait, size_t *freed)
{
	struct vm_object *object = cache_take(wait);
	uint32_t pages;

	if (object == NULL)
		return (false);
	pages = object->resident_page_count;
	if (!vnode_object_kill(object, wait)) {
		/* its vnode is in use: back to the young end */
		vnode_object_release(object, true);
		return (false);
	}
	*freed += pages;
	return (true);
}

size_t
vm_object_cache_shrink(size_t pages_wanted, bool wait)
{
	size_t freed = 0;

	for (uint32_t tries = PEEK(cached_count); tries > 0 && freed < pages_wanted; tries--)
		(void)cache_end_oldest(wait, &freed);
	return (freed);
}

bool
vm_object_cache_give_up(void)
{
	struct vm_object *object;
	bool all = true;

	for (uint32_t tries = PEEK(cached_count); tries > 0 && (object = cache_take(true)) != NULL; tries--)
		if (!vnode_object_kill(object, false)) {
			vnode_object_release(object, true);
			all = false;
		}
	return (all);
}

size_t
vm_object_cache_trim(void)
{
	size_t freed = 0;
	uint32_t left;

	while ((left = PEEK(cached_count)) > cached_max && cache_end_oldest(false, &freed))
		continue;
	/* What is left over the bound is dirty or locked: no use in looking again before there are more. */
	__atomic_store_n(&trim_above, MAX(cached_max, left > cached_max ? left + cached_max / 8 : 0), __ATOMIC_RELAXED);
	return (freed);
}

uint32_t
vm_object_cache_bound(uint32_t max)
{
	uint32_t old = cached_max;

	cached_max = trim_above = max;
	return (old);
}

uint32_t
vm_object_cached_count(void)
{
	return (PEEK(cached_count));
}

/* ---- ranges ---- */

void
vm_object_page_remove(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
	vm_pindex_t first = start;
	struct vm_page *m;

	while ((m = vm_page_find_least(object, start)) != NULL && m->pindex < end) {
		start = m->pindex;
		m = vm_page_busy_acquire(object, start, "vmopar");
		start++;
		if (m == NULL)
			continue;
		if (PEEK(m->wire_count) > 0) {
			/* Whoever wired it will look for it here: it stays, without contents. */
			pmap_remove_all(m);
			vm_page_set_invalid(m, 0, PAGE_SIZE);
			vm_object_page_cleaned(m);
			vm_page_xunbusy(m);
		} else {
			vm_page_free(m);
		}
	}
	swap_pager_freespace(object, first, end);
}

void
vm_object_pmap_copy(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
	for (struct vm_page *m = vm_page_find_least(object, start); m != NULL && m->pindex < end;
	    m = vm_page_next(m))
		pmap_page_protect(m, VM_PROT_READ);
}

/* ---- looking at them ---- */

uint64_t
vm_object_count(void)
{
	return (object_count);
}

void
vm_object_foreach(void (*fn)(struct vm_object *object, void *arg), void *arg)
{
	struct vm_object *object;

	spin_lock(&object_list_lock);
	TAILQ_FOREACH(object, &object_list, object_list)
		fn(object, arg);
	spin_unlock(&object_list_lock);
}

struct vm_object *
vm_object_find(bool (*match)(struct vm_object *object))
{
	struct vm_object *object;

	spin_lock(&object_list_lock);
	TAILQ_FOREACH(object, &object_list, object_list)
		if (match(object) && object_reference_if_alive(object))
			break;
	spin_unlock(&object_list_lock);
	return (object);
}

static const char *const type_names[OBJT_COUNT] = {
	[OBJT_DEFAULT] = "anonymous", [OBJT_SWAP] = "anonymous, swapped",
	[OBJT_VNODE] = "vnode", [OBJT_TEST] = "test", [OBJT_DEAD] = "dead"
};

static char
page_glyph(const struct vm_page *m)
{
	if (m == NULL)
		return ('.');
	if (vm_page_busied(m))
		return ('B');
	if (PEEK(m->wire_count) > 0)
		return ('W');
	if (m->dirty)
		return ('d');
	return (m->queue == PQ_ACTIVE ? 'A' : m->queue == PQ_INACTIVE ? 'i' : 'o');
}

#define STRIP_WIDTH	64ul
#define STRIP_ROWS	8

/* Rows without a resident page are left out. */
static void
print_strip(struct vm_object *object)
{
	struct vm_page *m = vm_page_find_least(object, 0);

	if (m == NULL)
		printf("    no page is resident\n");
	for (int rows = 0; m != NULL; rows++) {
		vm_pindex_t row = m->pindex - m->pindex % STRIP_WIDTH;

		if (rows == STRIP_ROWS) {
			printf("           ...\n");
			return;
		}
		printf("    %6lu ", row);
		for (vm_pindex_t i = row; i < MIN(row + STRIP_WIDTH, object->size); i++)
			console_putc(page_glyph(vm_page_lookup(object, i)));
		printf("\n");
		m = vm_page_find_least(object, row + STRIP_WIDTH);
	}
}

void
vm_object_print(struct vm_object *object, bool pages)
{
	for (int depth = 0; object != NULL && depth < 16; depth++) {
		printf("%*sobject %p: %s, %lu pages, %u resident, %d refs, %d shadows%s%s\n", depth * 2, "",
		    object, type_names[object->type], object->size, object->resident_page_count,
		    object->ref_count, object->shadow_count, object->cached ? ", cached" : "",
		    object->paging_in_progress ? ", paging" : "");
		if (object->type == OBJT_VNODE && object->handle != NULL)
			printf("%*s  vnode %p inode %lu, %ld bytes\n", depth * 2, "", object->handle,
			    ((struct vnode *)object->handle)->v_ino, object->un_pager.vnp.vnp_size);
		if (pages)
			print_strip(object);
		object = object->backing_object;
	}
	if (pages)
		printf("    (. absent  i inactive  A active  d dirty  B busy  W wired)\n");
}
