/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel addresses, and the pages behind them.
 *
 *	KVA_BASE                KVA_BASE + KSTACK_AREA                       KVA_BASE + KVA_SIZE
 *	|  stacks: fixed slots  |  arena: extents, first fit from below                 |
 *	   [guard|stack][guard|stack]...
 *
 * The arena's free extents are a red-black tree by address; each node also knows the longest extent
 * below it, so the lowest one that fits is found in O(log n), and freed neighbours are found and
 * joined in the same time.
 *
 * A node for an extent comes from a pool that must never run dry in kva_free().  There can be at
 * most one free extent more than there are allocations (they lie between them), so kva_alloc() sees
 * to it that the pool holds that many nodes, and fails while it still may.  The pool grows by whole
 * pages through the direct map, not by kmalloc, which is built on this file.
 *
 * Page tables for a range are made when it is first handed out and stay: they are at most 1/512 of
 * what was ever in use at once.
 *
 * Stacks have slots of their own, with one unmapped page below each, so that "is this a guard
 * page?" is arithmetic and can be asked in the middle of a double fault.
 *
 * Lock order: kva, then free list.  Pages are allocated for kmem_alloc() with no lock held.
 */
#include "vm/vm_kern.h"

#include "kernel/kasan.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/rbtree.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_oom.h"
#include "vm/vm_page.h"

#define KSTACK_STRIDE	((KSTACK_PAGES + 1) * PAGE_SIZE)
#define KSTACK_SLOTS	8192u
#define KSTACK_AREA	roundup(KSTACK_SLOTS * KSTACK_STRIDE, 2 * MiB)
#define ARENA_BASE	(KVA_BASE + KSTACK_AREA)
#define ARENA_SIZE	(KVA_SIZE - KSTACK_AREA)

#define EXTENTS_AT_BOOT	32
#define BATCH		16			/* pages mapped at once */

/* A free range. */
struct extent {
	struct rb_node	 node;
	vm_offset_t	 start;
	vm_size_t	 len;
	vm_size_t	 longest;		/* of this one and all below it in the tree */
	struct extent	*next_spare;
};

/* All under kva_lock. */
static struct spinlock kva_lock = SPINLOCK_INITIALIZER("kva", RANK_KVA);
static struct rb_tree extents;
static struct extent boot_extents[EXTENTS_AT_BOOT];
static struct extent *spare_extents;
static uint64_t extents_total;			/* nodes, spare or in the tree */
static uint64_t allocations;			/* ranges handed out */
static uint64_t kva_bytes;
static uint64_t kstack_used[KSTACK_SLOTS / 64];
static unsigned kstack_hint;			/* no free slot in the words before it */

/* ---- extents ---- */

static inline struct extent *
to_extent(struct rb_node *node)
{
	return (node == NULL ? NULL : container_of(node, struct extent, node));
}

static inline vm_size_t
longest_below(struct rb_node *node)
{
	return (node == NULL ? 0 : to_extent(node)->longest);
}

static void
extent_augment(struct rb_node *node)
{
	struct extent *e = to_extent(node);

	e->longest = MAX(e->len, MAX(longest_below(node->child[0]), longest_below(node->child[1])));
}

static void
pool_add(struct extent *e, size_t count)
{
	extents_total += count;
	for (; count > 0; count--, e++) {
		e->next_spare = spare_extents;
		spare_extents = e;
	}
}

/* Let the pool hold enough nodes for one allocation more.  => lock held; false: no memory. */
static bool
pool_ready(void)
{
	struct vm_page *m;

	if (extents_total >= allocations + 2)
		return (true);
	m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);
	if (m == NULL)
		return (false);
	pool_add(VM_PAGE_TO_DMAP(m), PAGE_SIZE / sizeof(struct extent));
	return (true);
}

static void
extent_insert(vm_offset_t start, vm_size_t len)
{
	struct rb_node *parent = NULL, *node = extents.root;
	struct extent *e = spare_extents;
	int side = 0;

	KASSERT(e != NULL, "no node for a free range: was a range freed in pieces?");
	spare_extents = e->next_spare;
	e->start = start;
	e->len = len;
	while (node != NULL) {
		parent = node;
		side = start > to_extent(node)->start;
		node = node->child[side];
	}
	rb_insert(&extents, parent, side, &e->node, extent_augment);
}

static void
extent_remove(struct extent *e)
{
	rb_remove(&extents, &e->node, extent_augment);
	e->next_spare = spare_extents;
	spare_extents = e;
}

/* The lowest extent of at least `len` bytes, or NULL. */
static struct extent *
extent_first_fit(vm_size_t len)
{
	struct rb_node *node = extents.root;

	if (longest_below(node) < len)
		return (NULL);
	for (;;) {
		if (longest_below(node->child[0]) >= len)
			node = node->child[0];
		else if (to_extent(node)->len >= len)
			return (to_extent(node));
		else
			node = node->child[1];
	}
}

/* The last extent that begins below va, or NULL. */
static struct extent *
extent_below(vm_offset_t va)
{
	struct rb_node *node = extents.root;
	struct extent *best = NULL;

	while (node != NULL) {
		struct extent *e = to_extent(node);

		if (e->start < va)
			best = e;
		node = node->child[e->start < va];
	}
	return (best);
}

/* Give [start, start + len) back to the tree, joined with its neighbours. */
static void
extent_give_back(vm_offset_t start, vm_size_t len)
{
	struct extent *below = extent_below(start);
	struct rb_node *next = below == NULL ? rb_first(&extents) : rb_next(&below->node);
	struct extent *above = to_extent(next);

	KASSERT((below == NULL || below->start + below->len <= start) &&
	    (above == NULL || start + len <= above->start),
	    "kernel addresses [0x%lx, +0x%lx) freed twice", start, len);
	if (above != NULL && start + len == above->start) {
		len += above->len;
		extent_remove(above);
	}
	if (below != NULL && below->start + below->len == start) {
		below->len += len;
		rb_augment_path(&below->node, extent_augment);
	} else {
		extent_insert(start, len);
	}
}

/* ---- address space ---- */

void
vm_kern_init(void)
{
	pool_add(boot_extents, EXTENTS_AT_BOOT);
	extent_insert(ARENA_BASE, ARENA_SIZE);
}

/* 0, ENOMEM (page tables or nodes: memory is short) or ENOSPC (no such gap). */
static int
kva_take(vm_size_t len, vm_offset_t *va)
{
	struct extent *e;
	int error = ENOMEM;

	KASSERT(len > 0 && (len & PAGE_MASK) == 0, "kva_alloc of 0x%lx bytes", len);
	spin_lock(&kva_lock);
	if (!pool_ready())
		goto out;
	e = extent_first_fit(len);
	if (e == NULL) {
		error = ENOSPC;
		goto out;
	}
	if (!pmap_growkernel(e->start, e->start + len))
		goto out;
	*va = e->start;
	e->start += len;
	e->len -= len;
	if (e->len == 0)
		extent_remove(e);
	else
		rb_augment_path(&e->node, extent_augment);
	allocations++;
	kva_bytes += len;
	error = 0;
out:
	spin_unlock(&kva_lock);
	return (error);
}

vm_offset_t
kva_alloc(vm_size_t len)
{
	vm_offset_t va;

	return (kva_take(len, &va) == 0 ? va : 0);
}

/* => a whole range, as kva_alloc() returned it. */
void
kva_free(vm_offset_t va, vm_size_t len)
{
	KASSERT(va >= ARENA_BASE && va + len <= ARENA_BASE + ARENA_SIZE &&
	    ((va | len) & PAGE_MASK) == 0,
	    "kva_free of [0x%lx, +0x%lx)", va, len);
	spin_lock(&kva_lock);
	extent_give_back(va, len);
	allocations--;
	kva_bytes -= len;
	spin_unlock(&kva_lock);
}

uint64_t
kva_inuse(void)
{
	return (kva_bytes);
}

/* ---- memory ---- */

struct vm_page *
kmem_page(int flags)
{
	int how = VM_ALLOC_WIRED | ((flags & M_ZERO) ? VM_ALLOC_ZERO : 0);
	int class = (flags & M_RESERVE) ? VM_ALLOC_SYSTEM : VM_ALLOC_NORMAL, waits = 0;
	struct vm_page *m;

	while ((m = vm_page_alloc(NULL, 0, how | class)) == NULL) {
		if (!(flags & M_WAITOK))
			return (NULL);
		class = MAX(class, vm_oom_wait_kernel(&waits));
	}
	if ((flags & M_ZERO) && !(m->flags & PG_ZERO))
		pmap_zero_page(m);
	return (m);
}

/* Unmap and free the pages of [va, va + len). */
static void
pages_free(vm_offset_t va, vm_size_t len)
{
	struct vm_page *m[BATCH];

	for (vm_offset_t end = va + len; va < end; ) {
		int n = (int)MIN((uint64_t)BATCH, (end - va) / PAGE_SIZE);

		for (int i = 0; i < n; i++)
			m[i] = PHYS_TO_VM_PAGE(pmap_kextract(va + i * PAGE_SIZE));
		pmap_qremove(va, n);
		for (int i = 0; i < n; i++)
			vm_page_free(m[i]);
		va += n * PAGE_SIZE;
	}
}

/* Put pages behind [va, va + len).  false: memory is short, nothing is mapped. */
static bool
pages_fill(vm_offset_t va, vm_size_t len, int flags)
{
	struct vm_page *m[BATCH];

	for (vm_offset_t at = va, end = va + len; at < end; ) {
		int n = (int)MIN((uint64_t)BATCH, (end - at) / PAGE_SIZE), got = 0;

		while (got < n && (m[got] = kmem_page(flags)) != NULL)
			got++;
		pmap_qenter(at, m, got);
		at += got * PAGE_SIZE;
		if (got < n) {
			pages_free(va, at - va);
			return (false);
		}
	}
	return (true);
}

/* The range has one page more than the memory, never mapped, so that running over the end traps. */
vm_offset_t
kmem_alloc(vm_size_t len, int flags)
{
	vm_offset_t va;
	int error, waits = 0;

	if (flags & M_WAITOK)
		assert_can_sleep("kmem_alloc");
	while ((error = kva_take(len + PAGE_SIZE, &va)) == ENOMEM && (flags & M_WAITOK))
		(void)vm_oom_wait_kernel(&waits);
	if (error == ENOSPC && (flags & M_WAITOK))
		panic("kernel addresses exhausted: 0x%lx bytes wanted, 0x%lx in use", len,
		    kva_inuse());
	if (error != 0)
		return (0);
	if (pages_fill(va, len, flags))
		return (va);
	kva_free(va, len + PAGE_SIZE);
	return (0);
}

void
kmem_free(vm_offset_t va, vm_size_t len)
{
	pages_free(va, len);
	kva_free(va, len + PAGE_SIZE);
}

void *
kmem_alloc_contig(vm_size_t len, vm_paddr_t *pa)
{
	size_t npages = round_page(len) / PAGE_SIZE;
	struct vm_page *m = vm_page_alloc_contig(npages);

	if (m == NULL)
		return (NULL);
	for (size_t i = 0; i < npages; i++)
		pmap_zero_page(&m[i]);
	*pa = VM_PAGE_TO_PHYS(m);
	return (VM_PAGE_TO_DMAP(m));
}

void
kmem_free_contig(void *va, vm_size_t len)
{
	struct vm_page *m = PHYS_TO_VM_PAGE(DMAP_TO_PHYS(va));

	for (size_t npages = round_page(len) / PAGE_SIZE; npages > 0; npages--)
		vm_page_free(m++);
}

void *
kva_map_device(vm_paddr_t pa, vm_size_t len)
{
	vm_size_t off = pa & PAGE_MASK, size = round_page(off + len);
	vm_offset_t va = kva_alloc(size);

	if (va == 0)
		return (NULL);
	for (vm_size_t i = 0; i < size; i += PAGE_SIZE)
		pmap_kenter(va + i, trunc_page(pa) + i, PG_RW | PG_NX | PG_PCD | PG_PWT);
	return ((void *)(va + off));
}

/* ---- kernel stacks ---- */

/* Claim a slot whose page tables exist: its guard page's address, or 0. */
static vm_offset_t
kstack_slot_take(void)
{
	vm_offset_t va = 0;
	unsigned word, bit;

	spin_lock(&kva_lock);
	for (word = kstack_hint; word < nitems(kstack_used); word++)
		if (~kstack_used[word] != 0)
			break;
	kstack_hint = word;
	if (word < nitems(kstack_used)) {
		bit = (unsigned)__builtin_ctzl(~kstack_used[word]);
		va = KVA_BASE + (word * 64 + bit) * KSTACK_STRIDE;
		if (pmap_growkernel(va, va + KSTACK_STRIDE))
			kstack_used[word] |= 1ul << bit;
		else
			va = 0;
	}
	spin_unlock(&kva_lock);
	return (va);
}

static void
kstack_slot_give(vm_offset_t guard)
{
	uint64_t slot = (guard - KVA_BASE) / KSTACK_STRIDE;

	spin_lock(&kva_lock);
	KASSERT(kstack_used[slot / 64] & (1ul << slot % 64), "kernel stack at 0x%lx freed twice",
	    guard);
	kstack_used[slot / 64] &= ~(1ul << slot % 64);
	kstack_hint = MIN(kstack_hint, (unsigned)(slot / 64));
	spin_unlock(&kva_lock);
}

vm_offset_t
kstack_alloc(void)
{
	vm_offset_t guard = kstack_slot_take();

	if (guard == 0)
		return (0);
	if (pages_fill(guard + PAGE_SIZE, KSTACK_PAGES * PAGE_SIZE, M_NOWAIT)) {
		/* marks of the last thread's frames */
		kasan_unpoison((void *)(guard + PAGE_SIZE), KSTACK_PAGES * PAGE_SIZE);
		return (guard + PAGE_SIZE);
	}
	kstack_slot_give(guard);
	return (0);
}

void
kstack_free(vm_offset_t base)
{
	pages_free(base, KSTACK_PAGES * PAGE_SIZE);
	kstack_slot_give(base - PAGE_SIZE);
}

bool
kstack_is_guard(vm_offset_t va)
{
	return (va >= KVA_BASE && va < KVA_BASE + KSTACK_SLOTS * KSTACK_STRIDE &&
	    (va - KVA_BASE) % KSTACK_STRIDE < PAGE_SIZE);
}
