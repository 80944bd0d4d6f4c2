/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages: where they come from, whose they are, and who is busy with them.
 *
 * All RAM is described by vm_page_array, one entry for each page and none for the gaps:
 * vm_phys_seg[] says which stretch of physical memory a stretch of the array stands for.
 *
 *	physical   |--RAM--|   gap   |------RAM------|
 *	array      [ seg 0 ][      seg 1       ]
 *
 * Free pages lie on two lists, PQ_FREE and PQ_ZERO (zeroed by the idle thread).  Allocation is
 * refused below a rung of this ladder, so that whoever makes memory always finds some:
 *
 *	free pages
 *	   |   launder         above: nothing is swapped out; dirty anonymous pages wait on the laundry queue
 *	   |   target          reclaim stops
 *	   |   min             reclaim starts; vm_wait() ends above it
 *	   |   reserved        VM_ALLOC_NORMAL ends: threads wait in vm_wait()
 *	   |   interrupt_min   VM_ALLOC_SYSTEM ends: the reclaim thread itself
 *	   v   0               VM_ALLOC_INTERRUPT ends
 *
 * The pages of an object are an ordered tree (no global hash: a search costs the logarithm of what
 * the object holds, and the next page of a file is one step away).  Queues are in vm_pageq.c.
 *
 * Why no cache queue, which FreeBSD of 1996 had: a clean, unmapped page on the inactive queue
 * serves the same purpose with one state less.
 */
#include "vm/vm_page.h"

#include "boot/boot_info.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lockorder.h"
#include "kernel/thread.h"
#include "kernel/stage.h"
#include "kernel/yieldpoint.h"
#include "vm/pmap.h"
#include "vm/vm_boot.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pageq.h"

#define VM_PHYS_SEGS	BOOT_MEM_MAX
#define LARGEST_BLOCK	(64 * KiB / PAGE_SIZE)	/* pages, of a filesystem */

struct vm_page *vm_page_array;
uint32_t vm_page_count;
struct vm_ladder vm_ladder;

struct vm_phys_seg vm_phys_seg[VM_PHYS_SEGS];
int vm_phys_nsegs;

/* Find the stretches of RAM.  Page 0 is left out: a zero physical address means "none". */
static void
phys_segs_find(const struct boot_info *bi)
{
	for (uint32_t i = 0; i < bi->nmem && vm_phys_nsegs < VM_PHYS_SEGS; i++) {
		const struct boot_mem *r = &bi->mem[i];
		uint64_t first = MAX(round_page(r->base) >> PAGE_SHIFT, 1ul);
		uint64_t end = (r->base + r->len) >> PAGE_SHIFT;

		if (r->type != BOOT_MEM_USABLE || end <= first)
			continue;
		vm_phys_seg[vm_phys_nsegs++] = (struct vm_phys_seg){ first, end, vm_page_count };
		vm_page_count += end - first;
	}
}

/* Largest first, see vm_page.h. */
static void
phys_segs_sort(void)
{
	for (int i = 1; i < vm_phys_nsegs; i++) {
		struct vm_phys_seg seg = vm_phys_seg[i];
		int at = i;

		for (; at > 0 && vm_phys_seg[at - 1].end_pfn - vm_phys_seg[at - 1].first_pfn < seg.end_pfn - seg.first_pfn; at--)
			vm_phys_seg[at] = vm_phys_seg[at - 1];
		vm_phys_seg[at] = seg;
	}
}

static bool
page_is_taken(const struct boot_info *bi, vm_paddr_t pa)
{
	return ((pa >= bi->kernel_phys && pa < bi->kernel_phys + bi->kernel_len) || boot_page_taken(pa));
}

static void
ladder_set(void)
{
	uint32_t n = vm_page_count;

	vm_ladder.interrupt_min = 4 + n / 1024;
	/* A buffer for the largest block must fit: who writes pages of a file may need one to find room on the disk. */
	vm_ladder.reserved = vm_ladder.interrupt_min + 8 + n / 256 + LARGEST_BLOCK;
	vm_ladder.min = vm_ladder.reserved + 16 + n / 128;
	vm_ladder.target = vm_ladder.min + 16 + n / 64;
	vm_ladder.launder = vm_ladder.target + 16 + n / 64;
	KASSERT(vm_ladder.interrupt_min < vm_ladder.reserved && vm_ladder.reserved < vm_ladder.min &&
	    vm_ladder.min < vm_ladder.target && vm_ladder.target < vm_ladder.launder, "free-page ladder out of order");
}

void
vm_page_init(struct boot_info *bi)
{
	vm_paddr_t pa;
	uint32_t wired = 0;

	phys_segs_find(bi);
	phys_segs_sort();
	pa = boot_page_alloc(howmany(vm_page_count * sizeof(struct vm_page), PAGE_SIZE));
	vm_page_array = PHYS_TO_DMAP(pa);
	for (int s = 0; s < vm_phys_nsegs; s++) {
		const struct vm_phys_seg *seg = &vm_phys_seg[s];

		for (uint64_t pfn = seg->first_pfn; pfn < seg->end_pfn; pfn++) {
			struct vm_page *m = &vm_page_array[seg->index + (pfn - seg->first_pfn)];

			m->pfn = (uint32_t)pfn;
			m->q_next = m->q_prev = VM_PAGE_NIL;
			m->queue = PQ_NONE;
			if (page_is_taken(bi, VM_PAGE_TO_PHYS(m))) {
				m->wire_count = 1;
				wired++;
			} else {
				m->busy = VPB_FREED;
				vm_pageq_free(m);
			}
		}
	}
	ladder_set();
	printf("memory: %lu KiB in %d ranges, %lu KiB free\n", vm_page_count * PAGE_SIZE / KiB,
	    vm_phys_nsegs, (vm_page_count - wired) * PAGE_SIZE / KiB);
}

/*
 * A sleeper sets the waiters bit and goes to sleep under this lock; whoever takes the bit away
 * wakes under it.  So the wakeup cannot fall between the two.
 */
static struct spinlock busy_sleep_lock = SPINLOCK_INITIALIZER("vmbusy", RANK_PAGEQ);

static void
busy_wake(struct vm_page *m, uint32_t old)
{
	if ((old & VPB_WAITERS) == 0)
		return;
	spin_lock(&busy_sleep_lock);
	wakeup(m);
	spin_unlock(&busy_sleep_lock);
}

/*
 * The checker sees the busy word as one more sleep lock, whose place in the order is where it is waited for:
 * with a map or a vnode locked, but no object.  (That it is tried under the object's lock is no wait.)  It
 * is held from the first page that a thread has exclusive-busy to the last.
 */
static struct lock busy_class = { .name = "page busy", .kind = LOCK_BUSY, .rank = RANK_PAGE_BUSY };

static void
owned_by_us(struct vm_page *m)
{
	m->busy_tid = curthread->tid;
	if (FAULTLINE_DEBUG && curthread->xbusied++ == 0)
		lockorder_acquired(&busy_class);
}

static void
no_longer_ours(struct vm_page *m)
{
	m->busy_tid = 0;
	if (FAULTLINE_DEBUG && --curthread->xbusied == 0)
		lockorder_released(&busy_class);
}

/* ---- allocation ---- */

static uint32_t
class_floor(int flags)
{
	switch (flags & VM_ALLOC_CLASS) {
	case VM_ALLOC_INTERRUPT:
		return (0);
	case VM_ALLOC_SYSTEM:
		return (vm_ladder.interrupt_min);
	default:
		return (vm_ladder.reserved);
	}
}

struct vm_page *
vm_page_alloc(struct vm_object *object, vm_pindex_t pindex, int flags)
{
	struct vm_page *m;

	m = vm_pageq_take_free(class_floor(flags), (flags & VM_ALLOC_ZERO) != 0);
	if (vm_free_count() < vm_ladder.min)
		vm_pageout_ask();
	if (m == NULL)
		return (NULL);
	KASSERT(m->busy == VPB_FREED && m->object == NULL && m->pv == NULL &&
	    m->dirty == 0, "allocating page %u that is not free (P2)", m->pfn);
	m->valid = 0;
	m->act_count = 0;
	m->pindex = pindex;
	if (object == NULL) {
		m->wire_count = (flags & VM_ALLOC_WIRED) ? 1 : 0;
		__atomic_store_n(&m->busy, VPB_UNBUSIED, __ATOMIC_RELEASE);
		return (m);
	}
	owned_by_us(m);
	__atomic_store_n(&m->busy, VPB_EXCLUSIVE, __ATOMIC_RELEASE);
	vm_page_insert(m, object, pindex);
	m->wire_count = (flags & VM_ALLOC_WIRED) ? 1 : 0;
	STAGE(PAGE_ALLOC, object, pindex, m->pfn, 0);
	return (m);
}

struct vm_page *
vm_page_alloc_contig(size_t npages)
{
	struct vm_page *m = vm_pageq_take_contig(npages, vm_ladder.reserved);

	for (size_t i = 0; m != NULL && i < npages; i++) {
		m[i].valid = 0;
		vm_page_flag_clear(&m[i], PG_ZERO);
		__atomic_store_n(&m[i].busy, VPB_UNBUSIED, __ATOMIC_RELEASE);
	}
	return (m);
}

/* Out of its object.  => object exclusively locked, page exclusive-busy by us. */
static void
page_remove(struct vm_page *m)
{
	struct vm_object *object = m->object;

	KASSERT(rw_wheld(&object->lock), "removing a page from an object that is not locked");
	vm_page_assert_xbusied(m);
	if (object->memq_tail == m)
		object->memq_tail = vm_page_prev(m);
	rb_remove(&object->memq, &m->obj_node, NULL);
	object->resident_page_count--;
	m->object = NULL;
}

/* Seam for the self-tests: called instead of panic(). */
void (*vm_page_violation_hook)(const char *what, struct vm_page *m);

void
vm_page_violation(const char *what, struct vm_page *m)
{
	if (vm_page_violation_hook != NULL)
		vm_page_violation_hook(what, m);
	else
		panic("%s: page %u", what, m->pfn);
}

void
vm_page_free(struct vm_page *m)
{
	uint32_t old;

	if (m->busy == VPB_FREED) {
		vm_page_violation("freeing a page that is free", m);
		return;
	}
	if (m->object != NULL) {
		vm_page_assert_xbusied(m);
		KASSERT(m->wire_count == 0, "freeing wired page %u (P2)", m->pfn);
		TRACE(TR_PAGE_FREE, m->pfn, m->object, m->pindex, 0);
		pmap_remove_all(m);
		vm_page_remove(m);
		no_longer_ours(m);
	}
	KASSERT(m->pv == NULL, "freeing mapped page %u (P2)", m->pfn);
	vm_page_unqueue(m);
	m->valid = m->dirty = 0;
	m->pindex = 0;
	m->flags = 0;
	old = __atomic_exchange_n(&m->busy, VPB_FREED, __ATOMIC_ACQ_REL);
	busy_wake(m, old);
	vm_pageq_free(m);
	VMCNT_INC(v_tfree);
}

void
vm_page_disown(struct vm_page *m)
{
	vm_page_assert_xbusied(m);
	pmap_remove_all(m);
	/*
	 * A wiring of our own, so that of several who let go now exactly one is the last and sees
	 * that there is no object.
	 */
	vm_page_wire(m);
	page_remove(m);
	m->dirty = 0;
	vm_page_xunbusy(m);
	vm_page_unwire(m, PQ_NONE);
}

/* ---- an object's pages ---- */

static inline struct vm_page *
node_page(struct rb_node *node)
{
	return (node == NULL ? NULL : container_of(node, struct vm_page, obj_node));
}

struct vm_page *
vm_page_lookup(struct vm_object *object, vm_pindex_t pindex)
{
	struct rb_node *node = object->memq.root;

	if (node == NULL || pindex > object->memq_tail->pindex)
		return (NULL);
	while (node != NULL) {
		struct vm_page *m = node_page(node);

		if (m->pindex == pindex)
			return (m);
		node = node->child[pindex > m->pindex];
	}
	return (NULL);
}

struct vm_page *
vm_page_find_least(struct vm_object *object, vm_pindex_t pindex)
{
	struct rb_node *node = object->memq.root;
	struct vm_page *best = NULL;

	while (node != NULL) {
		struct vm_page *m = node_page(node);

		if (m->pindex >= pindex)
			best = m;
		node = node->child[m->pindex < pindex];
	}
	return (best);
}

struct vm_page *
vm_page_next(struct vm_page *m)
{
	return (node_page(rb_next(&m->obj_node)));
}

struct vm_page *
vm_page_prev(struct vm_page *m)
{
	return (node_page(rb_prev(&m->obj_node)));
}

void
vm_page_insert(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *tail = object->memq_tail, *parent = NULL;
	struct rb_node *node = object->memq.root;
	int side = 0;

	KASSERT(rw_wheld(&object->lock), "inserting a page into an object that is not locked");
	KASSERT(m->object == NULL, "page %u is already in an object (P3)", m->pfn);
	if (tail == NULL || pindex > tail->pindex) {
		parent = tail;		/* which has nobody on its right */
		side = 1;
		node = NULL;
		object->memq_tail = m;
	}
	while (node != NULL) {
		parent = node_page(node);
		KASSERT(parent->pindex != pindex, "object %p holds index %lu already (P3)", object, pindex);
		side = pindex > parent->pindex;
		node = node->child[side];
	}
	m->object = object;
	m->pindex = pindex;
	rb_insert(&object->memq, parent == NULL ? NULL : &parent->obj_node, side, &m->obj_node, NULL);
	object->resident_page_count++;
}

void
vm_page_remove(struct vm_page *m)
{
	KASSERT(m->wire_count == 0, "removing wired page %u from its object", m->pfn);
	m->dirty = m->flags & PG_DIRTYLIST ? 0 : m->dirty;
	vm_object_page_cleaned(m);
	page_remove(m);
}

void
vm_page_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
{
	KASSERT(!pmap_page_is_mapped(m), "renaming mapped page %u (P11)", m->pfn);
	vm_page_unqueue(m);
	vm_page_remove(m);
	vm_page_insert(m, object, pindex);
}

/* ---- busy ---- */

bool
vm_page_tryxbusy(struct vm_page *m)
{
	uint32_t expected = VPB_UNBUSIED;

	yield_point();
	KASSERT(m->object == NULL || rw_wheld(&m->object->lock),
	    "exclusive-busying page %u without its object's lock", m->pfn);
	if (!__atomic_compare_exchange_n(&m->busy, &expected, VPB_EXCLUSIVE, false,
	    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return (false);
	owned_by_us(m);
	return (true);
}

bool
vm_page_trysbusy(struct vm_page *m)
{
	uint32_t old = __atomic_load_n(&m->busy, __ATOMIC_RELAXED);

	yield_point();
	do {
		if (old >= VPB_FREED || (old & VPB_EXCLUSIVE))
			return (false);
	} while (!__atomic_compare_exchange_n(&m->busy, &old, old + VPB_ONE_SHARER, false,
	    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return (true);
}

void
vm_page_xunbusy(struct vm_page *m)
{
	uint32_t old;

	vm_page_assert_xbusied(m);
	no_longer_ours(m);
	old = __atomic_exchange_n(&m->busy, VPB_UNBUSIED, __ATOMIC_RELEASE);
	busy_wake(m, old);
	yield_point();
}

void
vm_page_sunbusy(struct vm_page *m)
{
	uint32_t old = __atomic_load_n(&m->busy, __ATOMIC_RELAXED), new;

	do {
		KASSERT(old >= VPB_ONE_SHARER && old < VPB_FREED, "page %u is not shared busy", m->pfn);
		new = old - VPB_ONE_SHARER;
		if (new == VPB_WAITERS)
			new = VPB_UNBUSIED;
	} while (!__atomic_compare_exchange_n(&m->busy, &old, new, false, __ATOMIC_RELEASE,
	    __ATOMIC_RELAXED));
	if (new == VPB_UNBUSIED)
		busy_wake(m, old);
	yield_point();
}

void
vm_page_downgrade(struct vm_page *m)
{
	uint32_t old;

	vm_page_assert_xbusied(m);
	no_longer_ours(m);
	old = __atomic_exchange_n(&m->busy, VPB_ONE_SHARER, __ATOMIC_RELEASE);
	busy_wake(m, old);
}

void
vm_page_assert_xbusied(const struct vm_page *m)
{
	KASSERT(vm_page_xbusied(m), "page %u is not exclusive-busy (P9)", m->pfn);
	KASSERT(m->busy_tid == curthread->tid, "page %u is busy by thread %u, not by thread %u (P9)",
	    m->pfn, m->busy_tid, curthread->tid);
}

void
vm_page_busy_sleep(struct vm_page *m, const char *wmesg)
{
	struct vm_object *object = m->object;
	uint32_t old;

	spin_lock(&busy_sleep_lock);
	old = __atomic_load_n(&m->busy, __ATOMIC_RELAXED);
	do {
		if (old == VPB_UNBUSIED || old >= VPB_FREED) {
			spin_unlock(&busy_sleep_lock);
			vm_object_unlock(object);
			return;
		}
	} while (!__atomic_compare_exchange_n(&m->busy, &old, old | VPB_WAITERS, false,
	    __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	/*
	 * Dropping the object's lock may wake its waiters, but cannot sleep; the page may go at
	 * once: only its address is used.
	 */
	vm_object_unlock(object);
	lockorder_wanted(&busy_class);
	tsleep(m, &busy_sleep_lock.lk, wmesg, 0);
	spin_unlock(&busy_sleep_lock);
}

struct vm_page *
vm_page_busy_acquire(struct vm_object *object, vm_pindex_t pindex, const char *wmesg)
{
	struct vm_page *m;

	while ((m = vm_page_lookup(object, pindex)) != NULL) {
		if (vm_page_tryxbusy(m))
			return (m);
		vm_page_busy_sleep(m, wmesg);
		/* re-check: the page may have been freed or replaced: look it up again. */
		vm_object_lock(object);
	}
	return (NULL);
}

/* ---- valid and dirty ---- */

uint8_t
vm_page_bits(size_t off, size_t len)
{
	unsigned first, end;

	KASSERT(off + len <= PAGE_SIZE, "sector bits of [%lu, +%lu): outside a page", off, len);
	if (len == 0)
		return (0);
	first = off / DEV_BSIZE;
	end = howmany(off + len, DEV_BSIZE);
	return ((uint8_t)((1u << end) - (1u << first)));
}

/* Sectors that [off, off+len) covers whole. */
static uint8_t
whole_bits(size_t off, size_t len)
{
	size_t first = howmany(off, DEV_BSIZE), end = (off + len) / DEV_BSIZE;

	return (end <= first ? 0 : (uint8_t)((1u << end) - (1u << first)));
}

void
vm_page_set_validclean(struct vm_page *m, size_t off, size_t len)
{
	uint8_t bits = whole_bits(off, len);

	vm_page_assert_xbusied(m);
	m->valid |= bits;
	m->dirty &= ~bits;
}

void
vm_page_set_invalid(struct vm_page *m, size_t off, size_t len)
{
	uint8_t bits = vm_page_bits(off, len);

	vm_page_assert_xbusied(m);
	KASSERT(!pmap_page_is_mapped(m), "invalidating mapped page %u (P6)", m->pfn);
	m->valid &= ~bits;
	m->dirty &= ~bits;
}

void
vm_page_zero_invalid(struct vm_page *m)
{
	vm_page_assert_xbusied(m);
	for (int i = 0; i < 8; i++)
		if ((m->valid & (1u << i)) == 0)
			pmap_zero_page_area(m, i * DEV_BSIZE, DEV_BSIZE);
	m->valid = VM_PAGE_BITS_ALL;
}

void
vm_page_test_dirty(struct vm_page *m)
{
	if (m->dirty != VM_PAGE_BITS_ALL && pmap_is_modified(m))
		vm_page_dirty(m);
}

void
vm_page_dirty(struct vm_page *m)
{
	KASSERT(m->valid == VM_PAGE_BITS_ALL, "dirtying page %u that is not valid (P5)", m->pfn);
	m->dirty = VM_PAGE_BITS_ALL;
}
