/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm_page: one structure for each page of RAM.
 *
 * Who may touch what.  A field carries the letter of the lock that guards it; two letters: either
 * to read, both to write.
 *
 *	(o) the owning object's lock: shared to read, exclusive to write
 *	(b) whoever has the page exclusively busy (for `dirty` also: shared busy plus the object's lock)
 *	(q) the page-queue lock		(f) the lock of the free list that it is on, while the page is free
 *	(v) the page's pv lock		(a) atomic	(c) constant after boot
 *
 * Life of a page:
 *
 *	   vm_page_alloc            pager reads            PAGE_WAKEUP
 *	free ---------> busy, invalid ------> busy, valid --------------> on a queue, findable, mappable
 *	  ^                  |                                               |  ^
 *	  |                  | vm_page_free (exclusive busy, unmapped)        v  | fault, pageout, truncate: busy again
 *	  +------------------+-----------------------------------------------busy
 *
 * The busy word is a lock and has a place in the lock order: it is tried under the object's lock, but waited
 * for with no object held (vm_page_busy_sleep() lets go of it), so who has a page busy may lock objects.
 * The page queues come after it.  It is one of
 *
 *	VPB_UNBUSIED		anybody may busy it
 *	VPB_SHARED(n)		n holders read it or write it to disk; its contents may not be replaced
 *	VPB_EXCLUSIVE		one holder, who may change valid, free or rename it
 *	VPB_FREED		on the free list: every attempt to busy it fails
 *
 * plus a bit that says that somebody sleeps on the page.  A page becomes exclusive-busy only under
 * its object's exclusive lock, and is looked up and busied under one hold of that lock, so nobody
 * can free it in between.
 *
 * The laws of pages.  vm_check() walks P1 to P6, the others are asserted where they matter:
 *
 *	P1   it is on one queue at most, `queue` says which, and the queues' counters are right
 *	P2   free: no object, no mapping, clean, neither busy nor wired
 *	P3   of an object: it is what a look-up of (object, pindex) finds, and is counted there
 *	P4   wired: on no queue
 *	P5   a dirty sector is valid; a file's dirty pages, and no others, are on their object's list
 *	P6   mapped: valid throughout
 *	P9   exclusive-busy: by one thread, and that one lets go of it
 *	P10  to call it clean, first take write access away, then fold in the modified bit, then look at `dirty`
 *	P11  who frees it, renames it or takes its contents has it exclusive-busy, and nobody has it mapped
 *	P12  what a pager is given to fill is exclusive-busy, unmapped, not fully valid, and lies in one row
 *	B5   what is valid is newer than the disk or the same: nothing is read over it
 */
#ifndef VM_VM_PAGE_H
#define VM_VM_PAGE_H

#include "kernel/lib/rbtree.h"
#include "kernel/lib/types.h"
#include "kernel/lock.h"
#include "vm/vm.h"

struct boot_info;
struct pv_entry;
struct vm_object;

enum page_queue {
	PQ_NONE,		/* busy being filled, wired, or without object */
	PQ_FREE,		/* free, contents unknown */
	PQ_ZERO,		/* free, contents zero */
	PQ_INACTIVE,		/* candidates for reuse, oldest first */
	PQ_ACTIVE,		/* used lately */
	PQ_LAUNDRY,		/* dirty, waiting to be written */
	/* idle, dirty, anonymous, and no room on a swap disk: not looked at until there is */
	PQ_UNSWAPPABLE,
	PQ_COUNT
};

#define VPB_UNBUSIED	0u
#define VPB_WAITERS	1u
#define VPB_EXCLUSIVE	2u
#define VPB_ONE_SHARER	4u			/* added once per shared holder */
#define VPB_FREED	0xfffffff0u

/* flags */
#define PG_ZERO		0x01	/* (b) came from the zero queue and was not written since */
#define PG_REFERENCED	0x02	/* (a) used, though no mapping says so */
#define PG_MAPPED	0x04	/* (v) may have mappings: set on the first, cleared when the last goes */
#define PG_WRITEABLE	0x08	/* (v) may have writable mappings */

#define PG_DIRTYLIST	0x10	/* (o) on its object's list of dirty pages */

#define VM_PAGE_BITS_ALL 0xffu	/* eight sectors of 512 bytes */

#define ACT_INIT	5	/* act_count of a page that becomes active */
#define ACT_ADVANCE	3	/* added for each scan that finds it referenced */
#define ACT_MAX		64

struct vm_page {
	struct rb_node	 obj_node;	/* (o) place among the object's pages */
	struct vm_object *object;	/* (o)(b) owner; NULL: free, or a page without object */
	/* (o)(b) index in the object, pages; of a user's page table: an address below it, plus its entry's level */
	vm_pindex_t	 pindex;
	struct pv_entry	*pv;		/* (v) reverse mappings */
	/* (q)(f) neighbours on the queue, as page numbers; VM_PAGE_NIL ends */
	uint32_t	 q_next, q_prev;
	/* (o) neighbours among the object's dirty pages, if PG_DIRTYLIST; d_next of a user's page table: pmap.c's */
	uint32_t	 d_next, d_prev;
	uint32_t	 pfn;		/* (c) physical address / PAGE_SIZE */
	volatile uint32_t busy;		/* (a) the busy word */
	uint32_t	 busy_tid;	/* (b) debug: thread that has it exclusively busy */
	uint32_t	 wire_count;	/* (a) > 0: on no queue, never reclaimed.  P4 */
	/* (b) sectors that hold the object's bytes; bit i = bytes [512i, 512i + 512) */
	uint8_t		 valid;
	/*
	 * (b)(o) sectors changed since they were last clean.  P5: dirty is a subset of valid.  Whoever takes
	 * a writable mapping away adds all of them, under the page's pv lock only: so they are cleared, or
	 * changed in part, only when there is none.
	 */
	uint8_t		 dirty;
	/* (q)(f) enum page_queue: which queue the links belong to.  P1 */
	uint8_t		 queue;
	uint8_t		 act_count;	/* (q) how active, 0 to ACT_MAX */
	uint8_t		 cache;		/* (f) free: 1 + the CPU whose cache it is in; 0: in the depot */
	volatile uint8_t flags;		/* see above; changed atomically */
};
_Static_assert(sizeof(struct vm_page) <= 96, "a vm_page is at most 96 bytes");

#define VM_PAGE_NIL	UINT32_MAX

extern struct vm_page *vm_page_array;	/* (c) one entry for each page of RAM */
extern uint32_t vm_page_count;		/* (c) */

static inline vm_paddr_t VM_PAGE_TO_PHYS(const struct vm_page *m) { return ((vm_paddr_t)m->pfn << PAGE_SHIFT); }
static inline void *VM_PAGE_TO_DMAP(const struct vm_page *m) { return (PHYS_TO_DMAP(VM_PAGE_TO_PHYS(m))); }

/* A stretch of RAM and its place in vm_page_array.  Largest first: that is where most pages are found. */
struct vm_phys_seg {
	uint64_t	first_pfn, end_pfn;	/* (c) pages [first, end) */
	uint32_t	index;			/* (c) of first_pfn in vm_page_array */
};
extern struct vm_phys_seg vm_phys_seg[];
extern int vm_phys_nsegs;			/* (c) */

/* NULL when no RAM is there. */
static inline struct vm_page *
PHYS_TO_VM_PAGE(vm_paddr_t pa)
{
	uint64_t pfn = pa >> PAGE_SHIFT;

	for (const struct vm_phys_seg *seg = vm_phys_seg; seg < vm_phys_seg + vm_phys_nsegs; seg++)
		if (pfn >= seg->first_pfn && pfn < seg->end_pfn)
			return (&vm_page_array[seg->index + (pfn - seg->first_pfn)]);
	return (NULL);
}

/* Free-page thresholds: one ladder, computed at boot and asserted ordered; drawn in vm_page.c. */
struct vm_ladder {
	uint32_t	interrupt_min;	/* below: only VM_ALLOC_INTERRUPT */
	uint32_t	reserved;	/* below: only VM_ALLOC_SYSTEM, what reclaiming itself needs */
	uint32_t	min;		/* below: the reclaim thread runs, and who is in vm_wait() stays there */
	uint32_t	target;		/* reclaim stops here */
	uint32_t	launder;	/* above: anonymous pages on the laundry queue stay unwritten */
};
extern struct vm_ladder vm_ladder;

/* Allocation class and wishes */
#define VM_ALLOC_NORMAL		0x0	/* down to vm_ladder.reserved */
#define VM_ALLOC_SYSTEM		0x1	/* down to vm_ladder.interrupt_min */
#define VM_ALLOC_INTERRUPT	0x2	/* down to nothing */
#define VM_ALLOC_CLASS		0x3
#define VM_ALLOC_ZERO		0x4	/* prefer a zeroed page; look at PG_ZERO */
#define VM_ALLOC_WIRED		0x8	/* wire_count = 1 */

void vm_page_init(struct boot_info *bi);

/*
 * Allocate a page for (object, pindex), which must not be resident.
 *
 * => object: exclusively locked, or NULL for a page without object (page tables, slabs).
 * => never sleeps.  NULL when the class allows no more: the caller drops its locks and calls
 *    vm_wait().
 * => the page is exclusive-busy by us (not if without object), invalid, clean, on no queue.
 */
struct vm_page *vm_page_alloc(struct vm_object *object, vm_pindex_t pindex, int flags);
/*
 * Pages without object, physically contiguous, wired.  => never sleeps; NULL when there is no such
 * run.
 */
struct vm_page *vm_page_alloc_contig(size_t npages);
/*
 * Give a page back.
 * => with object: object exclusively locked, page exclusive-busy by us, not wired (P11); mappings
 *    are removed here.
 */
void vm_page_free(struct vm_page *m);
/*
 * Take a wired page out of an object that dies: whoever wired it keeps it, and the last
 * vm_page_unwire() frees it.
 * => object exclusively locked, page exclusive-busy by us; idle on return.
 */
void vm_page_disown(struct vm_page *m);
/* Sleep in "vmwait" until there are free pages again.  => nothing held. */
void vm_wait(void);
/* for the idle thread: zero one free page; false: nothing to do */
bool vm_page_zero_idle(void);
bool vm_page_zero_now(void);	/* the same for tests and the bench, held or not */
/*
 * For tests and vm_check(): from the return on, until called with false as often, no idle CPU zeroes pages.
 */
void vm_page_zero_hold(bool hold);

/* An object's pages.  => object locked in any mode; insert, remove, rename: exclusively. */
struct vm_page *vm_page_lookup(struct vm_object *object, vm_pindex_t pindex);
/* first with index >= pindex */
struct vm_page *vm_page_find_least(struct vm_object *object, vm_pindex_t pindex);
/* next resident page of the object, in index order */
struct vm_page *vm_page_next(struct vm_page *m);
struct vm_page *vm_page_prev(struct vm_page *m);
void vm_page_insert(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex);
/* out of its object; exclusive-busy, not wired */
void vm_page_remove(struct vm_page *m);
/* Move to another object.  => both exclusively locked, page exclusive-busy, unmapped. */
void vm_page_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex);

/* Busy. */
bool vm_page_tryxbusy(struct vm_page *m);	/* => object exclusively locked */
bool vm_page_trysbusy(struct vm_page *m);	/* => object locked */
void vm_page_xunbusy(struct vm_page *m);	/* wakes waiters; any context but interrupts */
void vm_page_sunbusy(struct vm_page *m);
void vm_page_downgrade(struct vm_page *m);	/* exclusive -> one shared */
/* What is looked at next is seen as whoever let go of the page left it. */
static inline uint32_t vm_page_busy_word(const struct vm_page *m) { return (__atomic_load_n(&m->busy, __ATOMIC_ACQUIRE)); }
static inline bool vm_page_busied(const struct vm_page *m) { return (vm_page_busy_word(m) != VPB_UNBUSIED); }

static inline bool
vm_page_xbusied(const struct vm_page *m)
{
	uint32_t busy = vm_page_busy_word(m);

	return (busy < VPB_FREED && (busy & VPB_EXCLUSIVE) != 0);
}

static inline bool
vm_page_sbusied(const struct vm_page *m)
{
	uint32_t busy = vm_page_busy_word(m);

	return (busy < VPB_FREED && busy >= VPB_ONE_SHARER);
}

void vm_page_assert_xbusied(const struct vm_page *m);	/* by curthread, in debug builds */
/*
 * Sleep in `wmesg` until the page is (perhaps) no longer busy.
 * => object locked in any mode on entry, UNLOCKED on return.  re-check: everything; the page may be
 *    free or another's.
 */
void vm_page_busy_sleep(struct vm_page *m, const char *wmesg);
#define PAGE_WAKEUP(m)	vm_page_xunbusy(m)	/* the seed's name for it */

/*
 * Look up and exclusive-busy in one step.
 * => object exclusively locked.  NULL: not resident.  When it is busy: sleeps with the lock
 *    dropped, takes it again and retries.
 */
struct vm_page *vm_page_busy_acquire(struct vm_object *object, vm_pindex_t pindex, const char *wmesg);

/* Queues.  => any lock state above the page-queue lock.  A wired page stays on none. */
void vm_page_activate(struct vm_page *m);
void vm_page_deactivate(struct vm_page *m);
void vm_page_launder(struct vm_page *m);
/* The same for several pages, with the lock taken once. */
void vm_page_deactivate_run(struct vm_page **m, int count);
void vm_page_unqueue_run(struct vm_page **m, int count);
void vm_page_unswappable(struct vm_page *m);
/* There is room on a swap disk again: all of those become inactive. */
void vm_page_swappable_again(void);
void vm_page_unqueue(struct vm_page *m);
void vm_page_requeue(struct vm_page *m);	/* to the young end of its queue */
void vm_page_reference(struct vm_page *m);
void vm_page_wire(struct vm_page *m);		/* => page busy by us, or object locked */
/* last: goes to that queue, or free if disowned */
void vm_page_unwire(struct vm_page *m, enum page_queue queue);
uint32_t vm_page_queue_len(enum page_queue q);
uint32_t vm_free_count(void);			/* free and zero queues, those in CPUs' caches too; exact */
/* First page of a queue, oldest first; only under vm_pageq_lock(). */
void vm_pageq_lock(void);
void vm_pageq_unlock(void);
struct vm_page *vm_pageq_first(enum page_queue q);
struct vm_page *vm_pageq_next(struct vm_page *m);
/* to the end of its queue; => it is on one that this lock guards */
void vm_pageq_rotate(struct vm_page *m);

/* Valid and dirty bits. */
/* sectors that [off, off+len) of a page touches; bytes */
uint8_t vm_page_bits(size_t off, size_t len);
/* => exclusive-busy; whole sectors only become valid */
void vm_page_set_validclean(struct vm_page *m, size_t off, size_t len);
/* => exclusive-busy, unmapped */
void vm_page_set_invalid(struct vm_page *m, size_t off, size_t len);
/* zero sectors that are not valid, then call all valid */
void vm_page_zero_invalid(struct vm_page *m);
/* Of a page that somebody else may have busy it is only a hint, until it is busy by us or seen not to be. */
static inline bool vm_page_all_valid(const struct vm_page *m) { return (PEEK(m->valid) == VM_PAGE_BITS_ALL); }
/*
 * Fold the hardware's modified bit into `dirty`.  => exclusive-busy or object exclusively locked.
 */
void vm_page_test_dirty(struct vm_page *m);
void vm_page_dirty(struct vm_page *m);			/* => valid; marks all sectors */
static inline void vm_page_flag_set(struct vm_page *m, uint8_t flag) { __atomic_fetch_or(&m->flags, flag, __ATOMIC_RELAXED); }
static inline void vm_page_flag_clear(struct vm_page *m, uint8_t flag) { __atomic_fetch_and(&m->flags, (uint8_t)~flag, __ATOMIC_RELAXED); }

#endif
