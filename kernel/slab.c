/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs: pages cut into objects of one size.
 *
 * A slab is exactly one page, reached through the direct map, with its header at the start.  So the
 * slab of an object is the object's address without its low bits; no object is ever page-aligned;
 * and no allocation needs physically contiguous pages, which a busy machine may not have.
 *
 *	| header, bitmap of free objects | object | object | ... | object | rest |
 *
 *	one object, debug:  | head: who, where, size, state | guard | object ........ zone |
 *	                                                            ^ p      ^ p + size asked for
 *
 * The bitmap lies apart from the objects, so a free object is poison from end to end, and freeing
 * twice is seen even in release builds.  Debug builds look at the guard and the zone at each free,
 * at the poison at each allocation, and at everything in kmalloc_check().
 *
 * In KASAN builds whoever touches what lies between the objects, or a free one, is told at once; so
 * this file, which must, is compiled without those checks.
 *
 * The page's vm_page.pindex holds the address of its slab, which is how a wild pointer is told from
 * an object.
 *
 * A cache keeps one empty slab; others go back at once.  Getting a new slab may sleep (M_WAITOK),
 * so it is done without the cache's lock.  Nothing here enters the pmap: pv entries come from here
 * under the pmap's lock.
 *
 * Lock order: the cache's lock (RANK_KMEM) is a leaf.
 */
#include "kernel/slab.h"

#include "kernel/amd64/cpu.h"
#include "kernel/kasan.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "vm/vm_kern.h"
#include "vm/vm_page.h"

#define SLAB_MAGIC	0x51ab51abu
#define SLAB_WORDS	4	/* 256 objects of 16 bytes would not leave room for a header */

struct slab {
	struct kmem_cache *cache;	/* (constant) */
	TAILQ_ENTRY(slab)  link;	/* (cache's lock) partial or full */
	uint32_t	   magic;
	uint32_t	   inuse;	/* (cache's lock) objects */
	uint64_t	   free[SLAB_WORDS];	/* (cache's lock) bit i: object i is free */
};

/* Debug builds: before each object. */
struct obj_head {
	const char	*type;		/* of the last allocation */
	const void	*caller;	/* who allocated it, or freed it */
	uint32_t	 size;		/* bytes asked for */
	uint32_t	 state;		/* OBJ_* */
	uint64_t	 guard;		/* all KMEM_ZONE */
};

#define OBJ_LIVE	0x4556494cu
#define OBJ_FREE	0x45455246u

#define FRONT		(FAULTLINE_DEBUG ? sizeof(struct obj_head) : 0)
#define BACK		(FAULTLINE_DEBUG ? 8 : 0)

struct kmem_cache *kmem_caches;
static struct spinlock kmem_caches_lock = SPINLOCK_INITIALIZER("kmem caches", RANK_KMEM);

void (*kmem_violation_hook)(const char *what, const char *type, const void *p);

/* Tell that a rule was broken: to the self-tests' hook, or by a panic. */
void
kmem_violation(const char *what, const char *type, const void *p, size_t size,
    const void *allocated_by,
    const void *caller)
{
	uint64_t off1 = 0, off2 = 0;
	const char *name1, *name2;

	if (kmem_violation_hook != NULL) {
		kmem_violation_hook(what, type, p);
		return;
	}
	name1 = ksym_lookup((uint64_t)allocated_by, &off1);
	name2 = ksym_lookup((uint64_t)caller, &off2);
	panic("kmem: %s: object %p of type %s, %lu bytes, last allocated or freed by %s+0x%lx, "
	    "seen by %s+0x%lx", what,
	    p, type, size, name1 == NULL ? "?" : name1, off1, name2 == NULL ? "?" : name2, off2);
}

bool
kmem_filled(const void *p, uint8_t byte, size_t len)
{
	const uint8_t *b = p;
	uint64_t want, word;

	memset(&want, byte, sizeof(want));
	for (; len >= 8; len -= 8, b += 8) {
		memcpy(&word, b, sizeof(word));
		if (word != want)
			return (false);
	}
	for (; len > 0; len--, b++)
		if (*b != byte)
			return (false);
	return (true);
}

/* ---- objects, debug builds ---- */

static inline struct obj_head *
head_of(const void *p)
{
	return ((struct obj_head *)((uintptr_t)p - sizeof(struct obj_head)));
}

/* Bytes of zone behind the `size` that were asked for. */
static inline size_t
zone_len(const struct kmem_cache *c, size_t size)
{
	return (c->size - size + BACK);
}

/* Look at the red zones of an object and mend them. */
static void
check_zones(const struct kmem_cache *c, void *p, const void *caller)
{
	struct obj_head *h = head_of(p);

	if (!kmem_filled(&h->guard, KMEM_ZONE, sizeof(h->guard)) || h->size > c->size) {
		kmem_violation("underflow", h->type, p, h->size, h->caller, caller);
		memset(&h->guard, KMEM_ZONE, sizeof(h->guard));
		h->size = MIN(h->size, c->size);
	}
	if (!kmem_filled((char *)p + h->size, KMEM_ZONE, zone_len(c, h->size))) {
		kmem_violation("overflow", h->type, p, h->size, h->caller, caller);
		memset((char *)p + h->size, KMEM_ZONE, zone_len(c, h->size));
	}
}

static void
check_poison(const struct kmem_cache *c, void *p, const void *caller)
{
	struct obj_head *h = head_of(p);

	if (h->state != OBJ_FREE || !kmem_filled(p, KMEM_FREED, c->size))
		kmem_violation("use after free", h->type, p, h->size, h->caller, caller);
}

static void
note_allocated(const struct kmem_cache *c, void *p, const char *type, size_t size,
    const void *caller)
{
	check_poison(c, p, caller);
	*head_of(p) = (struct obj_head){
		.type = type, .caller = caller, .size = (uint32_t)size, .state = OBJ_LIVE
	};
	memset(&head_of(p)->guard, KMEM_ZONE, sizeof(uint64_t));
	memset(p, KMEM_FRESH, size);
	memset((char *)p + size, KMEM_ZONE, zone_len(c, size));
	kasan_poison(p, c->size, KASAN_HEAP_ZONE);
	kasan_unpoison(p, size);
}

static void
note_freed(const struct kmem_cache *c, void *p, const void *caller)
{
	struct obj_head *h = head_of(p);

	check_zones(c, p, caller);
	h->state = OBJ_FREE;
	h->caller = caller;
	memset(p, KMEM_FREED, c->size);
	kasan_poison(p, c->size, KASAN_HEAP_FREE);
}

/* ---- slabs ---- */

static inline void *
object(const struct kmem_cache *c, struct slab *s, uint32_t i)
{
	return ((char *)s + c->first + i * c->stride);
}

static inline bool
object_is_free(const struct slab *s, uint32_t i)
{
	return ((s->free[i / 64] >> (i % 64) & 1) != 0);
}

/* A new slab, all free, on no list.  => sleeps if M_WAITOK; otherwise NULL when memory is short. */
static struct slab *
slab_new(struct kmem_cache *c, int flags)
{
	struct vm_page *m = kmem_page(flags & ~M_ZERO);
	struct slab *s;

	if (m == NULL)
		return (NULL);
	s = VM_PAGE_TO_DMAP(m);
	m->pindex = (uintptr_t)s;
	memset(s, 0, sizeof(*s));
	s->cache = c;
	s->magic = SLAB_MAGIC;
	kasan_poison(s, PAGE_SIZE, KASAN_HEAP_ZONE);
	for (uint32_t i = 0; i < c->per_slab; i += 64)
		s->free[i / 64] = ~0ul >> (64 - MIN(c->per_slab - i, 64u));
	for (uint32_t i = 0; FAULTLINE_DEBUG && i < c->per_slab; i++) {
		*head_of(object(c, s, i)) = (struct obj_head){ .type = c->name, .state = OBJ_FREE };
		memset(object(c, s, i), KMEM_FREED, c->size);
		kasan_poison(object(c, s, i), c->size, KASAN_HEAP_FREE);
	}
	return (s);
}

static void
slab_destroy(struct slab *s)
{
	s->magic = 0;
	vm_page_free(PHYS_TO_VM_PAGE(DMAP_TO_PHYS(s)));
}

/* n objects of a slab with room were taken.  => cache locked. */
static inline void
slab_taken(struct kmem_cache *c, struct slab *s, size_t n)
{
	if (s->inuse == 0)
		c->nempty--;
	s->inuse += (uint32_t)n;
	if (s->inuse == c->per_slab) {
		TAILQ_REMOVE(&c->partial, s, link);
		TAILQ_INSERT_HEAD(&c->full, s, link);
	}
	c->inuse += n;
}

/* Take the first free object out of a slab with room.  => cache locked. */
static inline void *
slab_take_one(struct kmem_cache *c, struct slab *s)
{
	uint64_t *free = s->free;
	void *p;

	while (*free == 0)
		free++;
	p = object(c, s, (uint32_t)(free - s->free) * 64 + (uint32_t)__builtin_ctzl(*free));
	*free &= *free - 1;
	slab_taken(c, s, 1);
	return (p);
}

/* Take up to n > 0 free objects out of a slab with room; returns how many.  => cache locked. */
static size_t
slab_take(struct kmem_cache *c, struct slab *s, void **p, size_t n)
{
	size_t got = 0;

	n = MIN(n, (size_t)(c->per_slab - s->inuse));
	for (uint32_t word = 0; got < n; word++) {
		uint64_t free = s->free[word];
		char *first = object(c, s, word * 64);

		for (; free != 0 && got < n; free &= free - 1)
			p[got++] = first + (uint32_t)__builtin_ctzl(free) * c->stride;
		s->free[word] = free;
	}
	slab_taken(c, s, n);
	return (n);
}

/* Put object i back.  => cache locked.  Returns the slab if it is to be destroyed, else NULL. */
static inline struct slab *
slab_put(struct kmem_cache *c, struct slab *s, uint32_t i)
{
	s->free[i / 64] |= 1ul << i % 64;
	c->inuse--;
	if (s->inuse-- == c->per_slab) {
		TAILQ_REMOVE(&c->full, s, link);
		TAILQ_INSERT_HEAD(&c->partial, s, link);
	}
	if (s->inuse > 0)
		return (NULL);
	TAILQ_REMOVE(&c->partial, s, link);
	if (c->nempty > 0) {
		c->nslabs--;
		return (s);
	}
	TAILQ_INSERT_TAIL(&c->partial, s, link);
	c->nempty++;
	return (NULL);
}

/* A slab with room, made if there is none.  => cache locked, on return, too; NULL: no memory. */
static struct slab *
slab_with_room(struct kmem_cache *c, int flags)
{
	struct slab *s;

	while ((s = TAILQ_FIRST(&c->partial)) == NULL) {
		spin_unlock(&c->lock);
		s = slab_new(c, flags);
		spin_lock(&c->lock);
		if (s == NULL)
			return (NULL);
		/* re-check: others may have brought slabs meanwhile; one more does no harm. */
		TAILQ_INSERT_TAIL(&c->partial, s, link);
		c->nempty++;
		c->nslabs++;
	}
	return (s);
}

void *
slab_alloc(struct kmem_cache *c, const char *type, size_t size, int flags, const void *caller)
{
	struct slab *s;
	void *p = NULL;

	spin_lock(&c->lock);
	s = slab_with_room(c, flags);
	if (s != NULL) {
		p = slab_take_one(c, s);
		if (FAULTLINE_DEBUG)
			note_allocated(c, p, type, size, caller);
	}
	spin_unlock(&c->lock);
	if (p != NULL && (flags & M_ZERO))
		memset(p, 0, size);
	return (p);
}

/* Does the page's vm_page say so?  Then its first bytes may be looked at. */
static bool
page_is_slab(const struct slab *s)
{
	const struct vm_page *m = PHYS_TO_VM_PAGE(DMAP_TO_PHYS(s));

	return (m != NULL && m->pindex == (uintptr_t)s);
}

/* The slab that p is an object of, and which; NULL when it is none. */
static inline struct slab *
slab_of(const void *p, uint32_t *index)
{
	struct slab *s = (struct slab *)trunc_page(p);
	uint64_t off = (uintptr_t)p & PAGE_MASK;

	if ((uintptr_t)p < DMAP_BASE || (uintptr_t)p >= DMAP_BASE + DMAP_SIZE)
		return (NULL);
	if (FAULTLINE_DEBUG && !page_is_slab(s))
		return (NULL);
	if (s->magic != SLAB_MAGIC)
		return (NULL);
	*index = ((uint32_t)off - s->cache->first) / s->cache->stride;
	if (off < s->cache->first || *index >= s->cache->per_slab || object(s->cache, s,
	    *index) != p)
		return (NULL);
	return (s);
}

/*
 * Check object i of s as well as this build can, and put it back.  => cache locked.
 *    false: it was free already.  *gone: a slab to be destroyed without the lock, or NULL.
 */
static inline bool
free_locked(struct kmem_cache *c, struct slab *s, uint32_t i, const char *type, const void *caller,
    struct slab **gone)
{
	void *p = object(c, s, i);

	*gone = NULL;
	if (object_is_free(s, i)) {
		kmem_violation("double free", type, p, c->size,
		    FAULTLINE_DEBUG ? head_of(p)->caller : NULL, caller);
		return (false);
	}
	if (FAULTLINE_DEBUG) {
		struct obj_head *h = head_of(p);

		if (!streq(h->type, type))
			kmem_violation("wrong type", h->type, p, h->size, h->caller, caller);
		note_freed(c, p, caller);
	}
	*gone = slab_put(c, s, i);
	return (true);
}

bool
slab_describe(vm_offset_t va, struct slab_object *o)
{
	struct slab *s = (struct slab *)trunc_page(va);
	struct vm_page *m = PHYS_TO_VM_PAGE(DMAP_TO_PHYS(s));
	struct obj_head *h;
	uint32_t i = 0;

	if (!FAULTLINE_DEBUG || m == NULL || m->pindex != (uintptr_t)s || s->magic != SLAB_MAGIC)
		return (false);
	while (i + 1 < s->cache->per_slab && va >= (vm_offset_t)head_of(object(s->cache, s, i + 1)))
		i++;
	o->p = object(s->cache, s, i);
	h = head_of(o->p);
	o->type = h->type;
	o->size = h->size;
	o->live = h->state == OBJ_LIVE;
	o->caller = h->caller;
	return (true);
}

bool
slab_free(void *p, const char *type, const void *caller, struct kmem_cache **cache)
{
	struct slab *s, *gone;
	struct kmem_cache *c;
	uint32_t i = 0;
	bool freed;

	s = slab_of(p, &i);
	if (s == NULL) {
		kmem_violation("wild free", type, p, 0, NULL, caller);
		return (false);
	}
	c = *cache = s->cache;
	spin_lock(&c->lock);
	freed = free_locked(c, s, i, type, caller, &gone);
	spin_unlock(&c->lock);
	if (gone != NULL)
		slab_destroy(gone);
	return (freed);
}

/* ---- caches ---- */

void
slab_cache_init(struct kmem_cache *c, const char *name, size_t size, size_t align, bool is_class)
{
	align = MAX(align, (size_t)8);
	KASSERT((align & (align - 1)) == 0 && align <= 512 && size > 0 && size <= KMALLOC_SLAB_MAX,
	    "cache %s: objects of %lu bytes aligned to %lu", name, size, align);
	memset(c, 0, sizeof(*c));
	spin_init(&c->lock, name, RANK_KMEM);
	c->name = name;
	c->size = (uint32_t)roundup(size, (size_t)8);
	c->stride = (uint32_t)roundup(c->size + BACK + FRONT, align);
	c->first = (uint32_t)roundup(sizeof(struct slab) + FRONT, align);
	c->per_slab = (uint32_t)((PAGE_SIZE - c->first - c->size - BACK) / c->stride + 1);
	c->per_slab = MIN(c->per_slab, SLAB_WORDS * 64u);
	c->is_class = is_class;
	spin_lock(&kmem_caches_lock);
	c->next = kmem_caches;
	__atomic_store_n(&kmem_caches, c, __ATOMIC_RELEASE);
	spin_unlock(&kmem_caches_lock);
}

void *
kmem_cache_alloc(struct kmem_cache *c, int flags)
{
	if (flags & M_WAITOK)
		assert_can_sleep("kmem_cache_alloc");
	return (slab_alloc(c, c->name, c->size, flags, __builtin_return_address(0)));
}

void
kmem_cache_free(struct kmem_cache *c, void *p)
{
	struct kmem_cache *found;

	if (slab_free(p, c->name, __builtin_return_address(0), &found))
		KASSERT(found == c, "object %p of cache %s freed to cache %s", p, found->name,
		    c->name);
}

size_t
kmem_cache_alloc_bulk(struct kmem_cache *c, void **p, size_t n)
{
	const void *caller = __builtin_return_address(0);
	struct slab *s;
	size_t got = 0;

	spin_lock(&c->lock);
	while (got < n && (s = slab_with_room(c, M_NOWAIT)) != NULL)
		got += slab_take(c, s, p + got, n - got);
	for (size_t i = 0; FAULTLINE_DEBUG && i < got; i++)
		note_allocated(c, p[i], c->name, c->size, caller);
	spin_unlock(&c->lock);
	return (got);
}

void
kmem_cache_free_bulk(struct kmem_cache *c, void **p, size_t n)
{
	const void *caller = __builtin_return_address(0);
	struct slab *s, *gone, *all_gone = NULL;
	uint32_t index = 0;

	spin_lock(&c->lock);
	for (size_t i = 0; i < n; i++) {
		s = slab_of(p[i], &index);
		if (s == NULL || s->cache != c)
			panic("%p freed to cache %s is no object of it", p[i], c->name);
		(void)free_locked(c, s, index, c->name, caller, &gone);
		if (gone != NULL) {
			gone->link.next = all_gone;
			all_gone = gone;
		}
	}
	spin_unlock(&c->lock);
	while ((s = all_gone) != NULL) {
		all_gone = s->link.next;
		slab_destroy(s);
	}
}

/* Check one list of slabs of c.  => cache locked. */
static uint64_t
check_list(struct kmem_cache *c, struct slab_list *list)
{
	uint64_t inuse = 0;
	struct slab *s;

	TAILQ_FOREACH(s, list, link) {
		uint32_t live = 0;

		KASSERT(s->magic == SLAB_MAGIC && s->cache == c, "cache %s: slab %p is damaged",
		    c->name, s);
		for (uint32_t i = 0; i < c->per_slab; i++) {
			void *p = object(c, s, i);

			if (object_is_free(s, i)) {
				if (FAULTLINE_DEBUG)
					check_poison(c, p, (void *)(uintptr_t)kmalloc_check);
				continue;
			}
			live++;
			if (FAULTLINE_DEBUG)
				check_zones(c, p, (void *)(uintptr_t)kmalloc_check);
		}
		KASSERT(live == s->inuse, "cache %s: slab %p counts %u objects, bitmap says %u",
		    c->name, s, s->inuse, live);
		inuse += live;
	}
	return (inuse);
}

void
slab_check(struct kmem_cache *c)
{
	uint64_t inuse;

	spin_lock(&c->lock);
	inuse = check_list(c, &c->partial);
	inuse += check_list(c, &c->full);
	KASSERT(inuse == c->inuse, "cache %s counts %lu objects, its slabs hold %lu", c->name,
	    c->inuse, inuse);
	spin_unlock(&c->lock);
}

/* An empty slab of c, taken off its list, or NULL. */
static struct slab *
take_empty(struct kmem_cache *c)
{
	struct slab *s;

	spin_lock(&c->lock);
	s = TAILQ_LAST(&c->partial);
	if (s != NULL && s->inuse == 0) {
		TAILQ_REMOVE(&c->partial, s, link);
		c->nempty--;
		c->nslabs--;
	} else {
		s = NULL;
	}
	spin_unlock(&c->lock);
	return (s);
}

void
kmem_reap(void)
{
	struct slab *s;

	for (struct kmem_cache *c = kmem_caches; c != NULL; c = c->next)
		while ((s = take_empty(c)) != NULL)
			slab_destroy(s);
}
