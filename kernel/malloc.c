/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmalloc: memory of any size, counted by type.
 *
 *	size				from
 *	1 .. KMALLOC_SLAB_MAX		the slab cache of the next larger class
 *	.. PAGE_SIZE			one page, through the direct map
 *	larger				kmem_alloc(): consecutive addresses, an unmapped page behind
 *
 * kfree() tells them apart by the address alone: an object of a slab is never page-aligned, whole
 * pages always are, and the direct map and the KVA are different regions.  The size of whole pages
 * is kept in the first page's vm_page.pindex, which pages without object do not use, together with
 * the type (all types lie in the image, so half its address is enough):
 *
 *	pindex of the first page    |  low half of the type's address  |  size, bytes  |
 *
 * Each malloc_type counts objects and bytes (rounded up as above), so that a leak has a name.
 */
#include "kernel/malloc.h"

#include "kernel/kasan.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lock.h"
#include "kernel/slab.h"
#include "vm/pmap.h"
#include "vm/vm_kern.h"
#include "vm/vm_page.h"

/* Chosen so that few bytes of a page are left over, with red zones and without. */
static const uint16_t class_size[] = {
	16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1264, KMALLOC_SLAB_MAX
};
#define CLASSES		nitems(class_size)
#define CLASS_ALIGN_MAX	64u

static struct kmem_cache class_cache[CLASSES];
static char class_name[CLASSES][16];
static uint8_t class_of[KMALLOC_SLAB_MAX / 16 + 1];	/* by (size + 15) / 16 */

static struct malloc_type *types;		/* all seen; grows at its head, never shrinks */
static struct spinlock types_lock = SPINLOCK_INITIALIZER("malloc types", RANK_KMEM);

/* of struct kmem_cache; they live for ever, so nobody can leak them */
static struct kmem_cache cache_cache;

void
kmalloc_init(void)
{
	size_t c = 0;

	for (size_t i = 0; i < nitems(class_of); i++) {
		while (class_size[c] < i * 16)
			c++;
		class_of[i] = (uint8_t)c;
	}
	for (c = 0; c < CLASSES; c++) {
		/* the largest power of two that divides it */
		uint32_t natural = class_size[c] & -class_size[c];

		snprintf(class_name[c], sizeof(class_name[c]), "kmalloc %u", class_size[c]);
		slab_cache_init(&class_cache[c], class_name[c], class_size[c], MIN(natural,
		    CLASS_ALIGN_MAX), true);
	}
	slab_cache_init(&cache_cache, "kmem cache", sizeof(struct kmem_cache), 0, true);
}

struct kmem_cache *
kmem_cache_create(const char *name, size_t size, size_t align)
{
	struct kmem_cache *c = kmem_cache_alloc(&cache_cache, M_WAITOK);

	slab_cache_init(c, name, size, align, false);
	return (c);
}

/* ---- types ---- */

static void
type_list(struct malloc_type *type)
{
	spin_lock(&types_lock);
	if (!type->listed) {
		type->listed = true;
		type->next = types;
		__atomic_store_n(&types, type, __ATOMIC_RELEASE);
	}
	spin_unlock(&types_lock);
}

static inline void
type_count_in(struct malloc_type *type, uint64_t bytes)
{
	if (unlikely(!type->listed))
		type_list(type);
	__atomic_fetch_add(&type->inuse, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&type->total, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&type->bytes, bytes, __ATOMIC_RELAXED);
}

static inline void
type_count_out(struct malloc_type *type, uint64_t bytes)
{
	__atomic_fetch_sub(&type->inuse, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&type->bytes, bytes, __ATOMIC_RELAXED);
}

/* ---- whole pages ---- */

static inline vm_pindex_t
large_tag(size_t size, const struct malloc_type *type)
{
	return ((uintptr_t)type << 32 | size);
}

static inline struct malloc_type *
large_type(vm_pindex_t tag)
{
	return ((struct malloc_type *)(KERNBASE | tag >> 32));
}

static void *
page_alloc(int flags)
{
	struct vm_page *m = kmem_page(flags);

	return (m == NULL ? NULL : VM_PAGE_TO_DMAP(m));
}

static void *
large_alloc(size_t size, struct malloc_type *type, int flags)
{
	void *p;

	KASSERT(size < 4 * GiB, "kmalloc of %lu bytes", size);
	p = size <= PAGE_SIZE ? page_alloc(flags) : (void *)kmem_alloc(round_page(size), flags);
	if (p == NULL)
		return (NULL);
	PHYS_TO_VM_PAGE(pmap_kextract((vm_offset_t)p))->pindex = large_tag(size, type);
	if (FAULTLINE_DEBUG)
		memset((char *)p + size, KMEM_ZONE, round_page(size) - size);
	kasan_poison(p, round_page(size), KASAN_HEAP_ZONE);
	kasan_unpoison(p, size);
	return (p);
}

/* Does the page behind p begin a large allocation?  Its page, or NULL. */
static struct vm_page *
large_page(const void *p)
{
	struct vm_page *m;
	pt_entry_t e;
	int level;

	e = pmap_walk(&kernel_pmap, (vm_offset_t)p, &level);
	if (!(e & PG_V) || (uintptr_t)p < DMAP_BASE || (uintptr_t)p >= KVA_BASE + KVA_SIZE)
		return (NULL);
	m = PHYS_TO_VM_PAGE(pmap_kextract((vm_offset_t)p));
	return (m != NULL && m->object == NULL && m->wire_count > 0 &&
	    m->pindex >> 32 != 0 ? m : NULL);
}

static void
large_free(void *p, struct malloc_type *type, const void *caller)
{
	struct vm_page *m = large_page(p);
	size_t size;

	if (m == NULL) {
		kmem_violation("double free", type->name, p, 0, NULL, caller);
		return;
	}
	size = m->pindex & UINT32_MAX;
	if (large_type(m->pindex) != type)
		kmem_violation("wrong type", large_type(m->pindex)->name, p, size, NULL, caller);
	if (FAULTLINE_DEBUG && !kmem_filled((char *)p + size, KMEM_ZONE, round_page(size) - size))
		kmem_violation("overflow", type->name, p, size, NULL, caller);
	type_count_out(type, round_page(size));
	kasan_unpoison(p, round_page(size));
	if (size <= PAGE_SIZE)
		vm_page_free(m);
	else
		kmem_free((vm_offset_t)p, round_page(size));
}

/* ---- the interface ---- */

void *
kmalloc(size_t size, struct malloc_type *type, int flags)
{
	const void *caller = __builtin_return_address(0);
	struct kmem_cache *c;
	void *p;

	KASSERT(!(flags & M_WAITOK) != !(flags & M_NOWAIT), "kmalloc for %s: M_WAITOK or M_NOWAIT?",
	    type->name);
	if (flags & M_WAITOK)
		assert_can_sleep("kmalloc");
	if (size > KMALLOC_SLAB_MAX) {
		p = large_alloc(size, type, flags);
		if (p != NULL)
			type_count_in(type, round_page(size));
		return (p);
	}
	c = &class_cache[class_of[(size + 15) / 16]];
	p = slab_alloc(c, type->name, size, flags, caller);
	if (p != NULL)
		type_count_in(type, c->size);
	return (p);
}

void
kfree(void *p, struct malloc_type *type)
{
	const void *caller = __builtin_return_address(0);
	struct kmem_cache *c;

	if (p == NULL)
		return;
	if (((uintptr_t)p & PAGE_MASK) == 0)
		large_free(p, type, caller);
	else if (slab_free(p, type->name, caller, &c))
		type_count_out(type, c->size);
}

/* ---- accounts ---- */

uint64_t
kmalloc_inuse(void)
{
	uint64_t sum = 0;

	for (struct malloc_type *t = types; t != NULL; t = t->next)
		sum += t->inuse;
	for (struct kmem_cache *c = kmem_caches; c != NULL; c = c->next)
		if (!c->is_class)
			sum += c->inuse;
	return (sum);
}

void
kmalloc_snapshot(void)
{
	for (struct malloc_type *t = types; t != NULL; t = t->next)
		t->snapshot = t->inuse;
	for (struct kmem_cache *c = kmem_caches; c != NULL; c = c->next)
		c->snapshot = c->inuse;
}

void
kmalloc_diff(void)
{
	for (struct malloc_type *t = types; t != NULL; t = t->next)
		if (t->inuse != t->snapshot)
			printf("  %-16s %+ld objects, %lu in use\n", t->name,
			    (int64_t)(t->inuse - t->snapshot), t->inuse);
	for (struct kmem_cache *c = kmem_caches; c != NULL; c = c->next)
		if (!c->is_class && c->inuse != c->snapshot)
			printf("  %-16s %+ld objects, %lu in use\n", c->name,
			    (int64_t)(c->inuse - c->snapshot), c->inuse);
}

void
kmalloc_print(void)
{
	printf("%-16s %8s %10s %10s\n", "type", "in use", "bytes", "total");
	for (struct malloc_type *t = types; t != NULL; t = t->next)
		printf("%-16s %8lu %10lu %10lu\n", t->name, t->inuse, t->bytes, t->total);
	printf("%-16s %8s %10s %10s\n", "cache", "in use", "size", "slabs");
	for (struct kmem_cache *c = kmem_caches; c != NULL; c = c->next)
		printf("%-16s %8lu %10u %10u\n", c->name, c->inuse, c->size, c->nslabs);
}

void
kmalloc_check(void)
{
	for (struct kmem_cache *c = kmem_caches; c != NULL; c = c->next)
		slab_check(c);
}
