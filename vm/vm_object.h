/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm_object: a run of pages with one meaning, such as a file's contents or a process's private
 * memory.
 *
 * Private memory is a chain.  A page is looked for in the top object first, then in the object that
 * it shadows, and so on down; what a write changes is copied to the top:
 *
 *	map entry --> [shadow] --backing_object--> [shadow] --backing_object--> [vnode object: the file]
 *	               top: mine only                                            bottom: has the pager
 *
 * Invariants (vm_check() walks them):
 *	O1 ref_count >= shadow_count, and > 0 unless cached or dead
 *	O2 a busy page of an object that is being paged: paging_in_progress > 0
 *	O3 vnode object: handle->v_object == object, size == pages of vnp_size, no page at or past size unless busy and doomed
 *	O4 chains have no cycles; backing offsets are page aligned
 *	O5 OBJ_DEAD: no new paging_in_progress but by the destroyer
 *	O6 a page of a backing object that is wholly hidden by its shadow is unmapped
 *	O7 a terminated object holds nothing
 *	O8 the resident counts of all objects add up to the pages that have an object
 *
 * Lock order: a shadow's lock before its backing object's.  The other way (a backing object to its
 * only shadow): reference, drop, lock from the top, check again.
 *
 * (o) this object's lock  (r) ref_count rises from 0, and OBJ_DEAD is set, only under
 * vnode_list_lock for vnode objects, so that vnode_pager_alloc() can revive  (l) object_list_lock
 * (c) constant
 */
#ifndef VM_VM_OBJECT_H
#define VM_VM_OBJECT_H

#include "kernel/lib/queue.h"
#include "kernel/lib/rbtree.h"
#include "kernel/lib/types.h"
#include "kernel/lock.h"
#include "vm/vm.h"

struct pagerops;
struct ucred;
struct uio;
struct vm_page;

enum obj_type {
	/* anonymous memory of which nothing was ever swapped out; pages come zeroed */
	OBJT_DEFAULT,
	OBJT_SWAP,		/* anonymous memory; some of it may be on the swap disk */
	OBJT_VNODE,		/* a file */
	OBJT_TEST,		/* a pager registered by a self-test */
	OBJT_DEAD,		/* terminated; only its last holders still see it */
	OBJT_COUNT
};

/* flags (o) */
#define OBJ_CANPERSIST	0x01	/* may rest in the object cache when nobody references it; cleared for good by uncache */
#define OBJ_DEAD	0x02	/* (o)(r) being terminated */
#define OBJ_PIPWNT	0x04	/* somebody sleeps until paging_in_progress is 0 */
#define OBJ_VNODE_GONE	0x08	/* its vnode lost its filesystem: no more paging */
#define OBJ_ONEMAPPING	0x20	/* each page is in one map entry at most: made by a fault, lost for good when a fork shares it */
#define OBJ_NOSTORES	0x40	/* a file of a volume that became read-only: nothing may become dirty */
#define OBJ_BOUNDED	0x80	/* (c) anonymous, but its end is a file's: behind it there is nothing, not zeros */

struct vm_object {
	struct rwlock	 lock;
	TAILQ_ENTRY(vm_object) object_list;	/* (l) all objects */
	/* (l) the object cache, least recently used first */
	TAILQ_ENTRY(vm_object) cached_list;
	bool		 cached;		/* (l) it is on that list; no flag, for those have another lock */
	TAILQ_HEAD(, vm_object) shadow_head;	/* (o) the objects that shadow this one */
	TAILQ_ENTRY(vm_object) shadow_list;	/* (backing object's o) */
	struct rb_tree	 memq;			/* (o) resident pages, by index */
	/* (o) the last of them: what grows at its end, as most things do, needs no search */
	struct vm_page	*memq_tail;
	vm_pindex_t	 size;			/* (o) pages */
	volatile int	 ref_count;		/* atomic, see (r) */
	int		 shadow_count;		/* (o) length of shadow_head */
	uint32_t	 flags;			/* (o) */
	uint8_t		 type;			/* (o) enum obj_type */
	int		 paging_in_progress;	/* (o) operations that have busy pages here */
	uint32_t	 resident_page_count;	/* (o) */
	/* (o) pages with dirty sectors, as page numbers, in no order; files only */
	uint32_t	 dirty_head;
	uint32_t	 dirty_count;		/* (o) */
	/* (o) tick at which the first of them became dirty */
	uint64_t	 dirty_since;
	/* (o) goes up with each failed write; see vm_object_error_check() */
	uint32_t	 error_gen;
	int		 error;			/* (o) errno of the last failed write */
	struct vm_object *backing_object;	/* (o) what we shadow; referenced */
	vm_ooffset_t	 backing_object_offset;	/* (o) our byte 0 is its byte ...; page aligned */
	/* (o) where a page of the backing object showed through when last looked at, our index; a hint */
	vm_pindex_t	 shows_through;
	void		*handle;		/* (o) the pager's key: the vnode; NULL once dead */
	union {
		struct {
			vm_ooffset_t	 vnp_size;	/* (o) exact size of the file, bytes */
			/* (c) on whose behalf pages are read and written; held */
			struct ucred	*vnp_cred;
			/* (o) [bad, bad_end): a page of these could not be read; both 0: none known */
			vm_pindex_t	 vnp_bad, vnp_bad_end;
			/* (o) its last write failed: what is dirty may be so because nobody could write it */
			bool		 vnp_refused;
			/* (o) bytes mapped so that they may be written to; while > 0 the file has one writer more */
			vm_ooffset_t	 vnp_stores;
		} vnp;
		struct {
			/* (o) swap blocks by page index: swap_map.c */
			struct rb_tree	 chunks;
			uint32_t	 nblocks;	/* (o) how many */
		} swp;
		void		*test;		/* OBJT_TEST */
	} un_pager;
};

void vm_object_init(void);

static inline bool vm_object_is_anonymous(const struct vm_object *o) { return (o->type == OBJT_DEFAULT || o->type == OBJT_SWAP); }

void vm_object_lock(struct vm_object *object);		/* exclusive; => sleeps */
void vm_object_rlock(struct vm_object *object);		/* shared; => sleeps */
void vm_object_unlock(struct vm_object *object);	/* either mode */
void vm_object_upgrade(struct vm_object *object);	/* shared -> exclusive; others may have had it in between */
bool vm_object_trylock(struct vm_object *object);

/* A new object with one reference.  size in pages.  => sleeps for memory. */
struct vm_object *vm_object_allocate(enum obj_type type, vm_pindex_t size);
/* One more reference; the caller owns one already. */
void vm_object_reference(struct vm_object *object);
/*
 * Give up a reference.  With the last one the object goes to the cache (OBJ_CANPERSIST) or is
 * terminated, and so is what it shadows: in a loop, not by recursion.
 * => sleeps; no object and no vnode locked, no page busy.
 */
void vm_object_deallocate(struct vm_object *object);
/*
 * The end of an object, for vm_object_deallocate() and a collapse.
 * => exclusively locked, OBJ_DEAD, ref_count 0; gone on return.  Returns what it shadowed: the
 *    caller owns that reference.
 */
struct vm_object *vm_object_terminate(struct vm_object *object);
/*
 * The same for a file's object by who has its vnode locked: with the last reference it goes to the
 * cache, also when it may not persist.  Who unlocks the vnode then calls vnode_pager_settle().
 */
void vm_object_deallocate_locked(struct vm_object *object);
/* Set or clear OBJ_CANPERSIST and give up a reference.  => as vm_object_deallocate. */
void pager_cache(struct vm_object *object, bool should_cache);

/* paging_in_progress.  => object exclusively locked. */
void vm_object_pip_add(struct vm_object *object, int n);
void vm_object_pip_wakeup(struct vm_object *object);
/* => sleeps with the lock dropped, retaken */
void vm_object_pip_wait(struct vm_object *object, const char *wmesg);

/*
 * Put a new anonymous object above *object, to hold private copies: [*offset, + len) of it is
 * shadowed.
 * => consumes the caller's reference on *object, gives one on the new object.  => sleeps for
 *    memory.
 */
void vm_object_shadow(struct vm_object **object, vm_ooffset_t *offset, vm_size_t len);
/*
 * Does the object itself have this page, in memory or swapped out?  It then hides what lies below.
 * => locked; anonymous.
 */
bool vm_object_has_content(struct vm_object *object, vm_pindex_t pindex);
/*
 * One object down the chain, to *pindex there.  It is locked before this one is let go: in between, a collapse could
 * take it out of the chain and free it.
 * => locked shared.  Returns the next one, locked shared; or NULL: there is none, and nothing is locked.  Sleeps.
 */
struct vm_object *vm_object_rdescend(struct vm_object *object, vm_pindex_t *pindex);
/*
 * Merge with or go past backing objects that nobody else needs.  => object exclusively locked
 * (kept), anonymous, referenced.
 */
void vm_object_collapse(struct vm_object *object);
/*
 * Free the pages [start, end) of the object, and their swap blocks; wired ones stay, unmapped and
 * invalid.
 * => exclusively locked; sleeps in "vmopar" for busy pages with the lock dropped.
 */
void vm_object_page_remove(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/*
 * Write the dirty pages in [start, end) (end 0: to the end), in clusters, and leave them clean.
 * => the vnode locked exclusively; object unlocked; sleeps.  Time goes with the dirty pages, not
 *    with the file.
 * => 0, or the errno of the first failure: those pages are dirty still, and the object's error
 *    generation went up.
 */
#define OBJPC_SYNC	0x1	/* the data is on disk (not necessarily flushed) when this returns */
int  vm_object_page_clean(struct vm_object *object, vm_pindex_t start, vm_pindex_t end, int flags);
/*
 * Mark sectors [off, +len) of a valid page dirty.  => object exclusively locked, page busy or
 * nobody can write it.
 */
void vm_object_page_dirty(struct vm_page *m, size_t off, size_t len);
/*
 * Has the file as many dirty pages as it may have, an eighth of memory?
 * => a hint, unless the object is locked
 */
bool vm_object_too_dirty(const struct vm_object *object);
uint32_t vm_object_dirty_bound(uint32_t pages);	/* a seam for tests: set it, 0: as usual */
/* The page's dirty bits may have become 0: take it off the list.  => object exclusively locked. */
void vm_object_page_cleaned(struct vm_page *m);
/*
 * A write error that this holder (an open file, a map entry) has not been told of yet: returns it
 * once and updates *seen.
 */
int  vm_object_error_check(struct vm_object *object, uint32_t *seen);
/* Write-protect every mapping of the pages [start, end). => exclusively locked. */
void vm_object_pmap_copy(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);

/*
 * Copy between a uio and the object's pages (vnode_io.c).  Reading stops at byte `end`; writing and
 * zeroing stay inside the object.
 * => who holds what keeps the size as it is (the vnode's lock); UIO_SYSSPACE; no object locked.
 * => 0; EINVAL: before the start; EIO; EAGAIN: memory is short: unlock, wait, go on where uio stands.
 */
int  vm_object_read(struct vm_object *object, vm_ooffset_t end, struct uio *uio);
int  vm_object_write(struct vm_object *object, struct uio *uio);
int  vm_object_zero(struct vm_object *object, vm_ooffset_t from, vm_ooffset_t to);

/* The object cache. */
uint32_t vm_object_cached_count(void);
/*
 * Terminate least recently used objects.  => sleeps; wait false: never for a vnode's lock, and none
 * with dirty pages.  Returns pages freed: an object without pages is no progress, for a read that waits for
 * memory makes one each time it tries.
 */
size_t vm_object_cache_shrink(size_t pages_wanted, bool wait);
/*
 * The last resort: end all cached objects, also those whose dirty pages cannot be written, which are
 * then lost.  Vnodes are only tried.  => sleeps for the disk; false: some were locked
 */
bool vm_object_cache_give_up(void);
size_t vm_object_cache_trim(void);	/* down to the bound; never waits for a vnode's lock */
uint32_t vm_object_cache_bound(uint32_t max);	/* a seam for tests; returns the old bound */
/*
 * Called by vnode_pager_alloc for an object whose ref_count it raised under vnode_list_lock: leave
 * the cache if there.
 */
void vm_object_cache_leave(struct vm_object *object);

uint64_t vm_object_count(void);
/*
 * Some object that is alive and matches, referenced for the caller; NULL: none.  match() must not
 * sleep and sees the object unlocked.
 */
struct vm_object *vm_object_find(bool (*match)(struct vm_object *object));
/* fn(object, arg) for every object; => object_list_lock held: must not sleep. */
void vm_object_foreach(void (*fn)(struct vm_object *object, void *arg), void *arg);
/* with its chain and a strip of its pages; for the monitor and the tour */
void vm_object_print(struct vm_object *object, bool pages);

#endif
