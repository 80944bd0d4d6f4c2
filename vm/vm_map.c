/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address maps: insertion, clipping, removal, protection.  The structure is described in vm_map.h.
 * Wiring is in vm_map_wire.c; the objects behind entries, made by faults and copied by forks, in
 * vm_map_object.c.
 *
 * Every change is: lock the map, clip the entries at the ends of the range, change whole entries,
 * join equal neighbours, unlock.  Objects of removed entries are let go after the unlock, because
 * that may sleep for vnodes.
 *
 *	before      [        A        )           protect the middle
 *	clipped     [  A1 )[ A2 )[ A3 )           A2 gets the new protection
 *	joined      again one entry if all three are equal once more
 *
 * Lock order: the map comes first of all.  Faults take it shared (vm_fault.c).
 */
#include "vm/vm_map.h"

#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_check.h"
#include "vm/vm_map_impl.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vnode_pager.h"

static struct kmem_cache *entry_zone;

/* Linux's number of entries, but where memory is little they may take a quarter of it: entries cannot be swapped out. */
#define ENTRIES_MAX	65530u
#define ENTRIES_RAM	(PAGE_SIZE / sizeof(struct vm_map_entry) / 4)	/* for each page of RAM */

static uint32_t entries_max;		/* of one map; set once, and by tests */

void
vm_map_init(void)
{
	entries_max = (uint32_t)MIN((uint64_t)ENTRIES_MAX, vm_page_count * ENTRIES_RAM);
	entry_zone = kmem_cache_create("vm_map_entry", sizeof(struct vm_map_entry), 64);
}

/* ---- locks ---- */

void
vm_map_lock(struct vm_map *map)
{
	rw_wlock(&map->lock);
	map->timestamp++;
}

void
vm_map_unlock(struct vm_map *map)
{
	rw_wunlock(&map->lock);
}

void
vm_map_rlock(struct vm_map *map)
{
	rw_rlock(&map->lock);
}

bool
vm_map_tryrlock(struct vm_map *map)
{
	return (rw_tryrlock(&map->lock));
}

void
vm_map_runlock(struct vm_map *map)
{
	rw_runlock(&map->lock);
}

/* ---- the tree ---- */

static inline struct vm_map_entry *
node_entry(struct rb_node *node)
{
	return (node == NULL ? NULL : container_of(node, struct vm_map_entry, node));
}

static void
entry_augment(struct rb_node *node)
{
	struct vm_map_entry *e = node_entry(node);

	e->max_gap = e->gap;
	for (int i = 0; i < 2; i++)
		if (node->child[i] != NULL)
			e->max_gap = MAX(e->max_gap, node_entry(node->child[i])->max_gap);
}

struct vm_map_entry *
vm_map_next(struct vm_map_entry *entry)
{
	return (node_entry(rb_next(&entry->node)));
}

struct vm_map_entry *
vm_map_first(struct vm_map *map)
{
	return (vm_map_next(&map->sentinel));
}

static struct vm_map_entry *
entry_prev(struct vm_map_entry *entry)
{
	return (node_entry(rb_prev(&entry->node)));
}

struct vm_map_entry *
vm_map_entry_before(struct vm_map *map, vm_offset_t addr)
{
	struct rb_node *node = map->entries.root;
	struct vm_map_entry *best = &map->sentinel;

	while (node != NULL) {
		struct vm_map_entry *e = node_entry(node);

		if (e->start <= addr) {
			best = e;
			node = node->child[1];
		} else {
			node = node->child[0];
		}
	}
	return (best);
}

struct vm_map_entry *
vm_map_lookup_entry(struct vm_map *map, vm_offset_t addr)
{
	struct vm_map_entry *e = vm_map_entry_before(map, addr);

	return (addr < e->end && e != &map->sentinel ? e : NULL);
}

/* The gap behind an entry changed. */
static void
gap_update(struct vm_map *map, struct vm_map_entry *entry)
{
	struct vm_map_entry *next = vm_map_next(entry);

	entry->gap = (next != NULL ? next->start : map->max) - entry->end;
	rb_augment_path(&entry->node, entry_augment);
}

void
vm_map_entry_link(struct vm_map *map, struct vm_map_entry *after, struct vm_map_entry *entry)
{
	struct rb_node *parent = &after->node;
	int side = 1;

	/* The place right behind `after`: its right child, or the leftmost place below that. */
	if (parent->child[1] != NULL) {
		parent = parent->child[1];
		while (parent->child[0] != NULL)
			parent = parent->child[0];
		side = 0;
	}
	/* It splits the gap behind `after`, which is above it in the tree: its way up serves both. */
	entry->gap = after->end + after->gap - entry->end;
	after->gap = entry->start - after->end;
	rb_insert(&map->entries, parent, side, &entry->node, entry_augment);
	map->nentries++;
	map->size += entry->end - entry->start;
}

/* => the caller sees to the gap behind the entry before it */
static void
entry_remove(struct vm_map *map, struct vm_map_entry *entry)
{
	rb_remove(&map->entries, &entry->node, entry_augment);
	map->nentries--;
	map->size -= entry->end - entry->start;
}

void
vm_map_entry_unlink(struct vm_map *map, struct vm_map_entry *entry)
{
	struct vm_map_entry *prev = entry_prev(entry);

	entry_remove(map, entry);
	gap_update(map, prev);
}

struct vm_map_entry *
vm_map_entry_create(void)
{
	return (kmem_cache_alloc(entry_zone, M_WAITOK));
}

/* ---- how many ---- */

uint32_t
vm_map_entries_bound(uint32_t most)
{
	uint32_t old = entries_max;

	entries_max = most;
	return (old);
}

/* Would a border at addr cut an entry in two? */
static bool
cuts(const struct vm_map *map, vm_offset_t addr)
{
	const struct vm_map_entry *e = vm_map_entry_before((struct vm_map *)map, addr);

	return (e != &map->sentinel && e->start < addr && addr < e->end);
}

bool
vm_map_room(const struct vm_map *map, vm_offset_t start, vm_offset_t end, uint32_t more)
{
	return (map->nentries + more + cuts(map, start) + cuts(map, end) <= entries_max);
}

int
vm_map_lock_to_clip(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	vm_map_lock_range(map, start, end);
	if (vm_map_room(map, start, end, 0))
		return (KERN_SUCCESS);
	vm_map_unlock(map);
	return (KERN_RESOURCE_SHORTAGE);
}

/* ---- clipping and joining ---- */

/* Cut an entry in two at addr; returns the upper part. */
static struct vm_map_entry *
entry_split(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr)
{
	struct vm_map_entry *upper = vm_map_entry_create();

	/*
	 * Both halves may be written later: what is anonymous and untouched gets its object when
	 * touched, each its own.
	 */
	*upper = *entry;
	upper->start = addr;
	if (entry->object != NULL) {
		vm_object_reference(entry->object);
		upper->offset += addr - entry->start;
	}
	map->size -= entry->end - addr;
	entry->gap += entry->end - addr;
	entry->end = addr;
	vm_map_entry_link(map, entry, upper);
	return (upper);
}

struct vm_map_entry *
vm_map_clip_start(struct vm_map *map, vm_offset_t addr)
{
	struct vm_map_entry *e = vm_map_entry_before(map, addr);

	if (e == &map->sentinel || e->end <= addr)
		return (vm_map_next(e));
	return (e->start == addr ? e : entry_split(map, e, addr));
}

void
vm_map_clip_end(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t end)
{
	if (entry->end > end)
		entry_split(map, entry, end);
}

static bool
may_join(const struct vm_map_entry *a, const struct vm_map_entry *b)
{
	return (a->end == b->start && a->grow_top == b->grow_top && a->stores == b->stores && a->object == b->object &&
	    (a->object == NULL || a->offset + (vm_ooffset_t)(a->end - a->start) == b->offset) &&
	    a->protection == b->protection && a->max_protection == b->max_protection &&
	    a->inheritance == b->inheritance && a->advice == b->advice && a->on_fork == b->on_fork && a->needs_copy == b->needs_copy &&
	    a->wired_count == 0 && b->wired_count == 0);
}

/*
 * Join `entry` with the one before it if they say the same.  Returns the entry that holds entry's
 * range.
 */
static struct vm_map_entry *
join_with_previous(struct vm_map *map, struct vm_map_entry *entry)
{
	struct vm_map_entry *prev = entry_prev(entry);
	vm_offset_t end = entry->end;

	if (prev == &map->sentinel || !may_join(prev, entry))
		return (entry);
	vm_map_entry_unlink(map, entry);
	/* Not the last reference: prev has one on the same object. */
	if (entry->object != NULL)
		__atomic_sub_fetch(&entry->object->ref_count, 1, __ATOMIC_RELEASE);
	kmem_cache_free(entry_zone, entry);
	map->size += end - prev->end;
	prev->end = end;
	gap_update(map, prev);
	return (prev);
}

void
vm_map_join_range(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *e = vm_map_entry_before(map, start);

	while (e != NULL && e->start <= end) {
		if (e != &map->sentinel)
			e = join_with_previous(map, e);
		e = vm_map_next(e);
	}
}

/* ---- space ---- */

struct vm_map_entry *
vm_map_entry_with_gap(struct vm_map_entry *entry, vm_size_t len, int way)
{
	struct rb_node *node = &entry->node, *from, *beyond;

	for (;;) {
		beyond = node->child[way];
		if (beyond != NULL && node_entry(beyond)->max_gap >= len) {
			/* There is one below: the nearest of them to where we come from. */
			for (node = beyond; ; ) {
				struct rb_node *nearer = node->child[!way];

				if (nearer != NULL && node_entry(nearer)->max_gap >= len)
					node = nearer;
				else if (node_entry(node)->gap >= len)
					return (node_entry(node));
				else
					node = node->child[way];
			}
		}
		do {
			from = node;
			node = rb_parent(node);
		} while (node != NULL && node->child[way] == from);
		if (node == NULL)
			return (NULL);
		if (node_entry(node)->gap >= len)
			return (node_entry(node));
	}
}

int
vm_map_findspace(struct vm_map *map, vm_offset_t *addr, vm_size_t len)
{
	vm_offset_t want = MAX(*addr, map->min);
	struct vm_map_entry *e;

	if (len == 0 || len > map->max - map->min || want > map->max)
		return (KERN_NO_SPACE);
	e = vm_map_entry_before(map, want);
	want = MAX(want, e->end);
	if (want <= e->end + e->gap && e->end + e->gap - want >= len) {
		*addr = want;
		return (KERN_SUCCESS);
	}
	e = vm_map_entry_with_gap(e, len, 1);
	if (e == NULL)
		return (KERN_NO_SPACE);
	*addr = e->end;
	return (KERN_SUCCESS);
}

bool
vm_map_range_valid(const struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	return (start < end && ((start | end) & PAGE_MASK) == 0 && start >= map->min && end <= map->max);
}

int
vm_map_insert(struct vm_map *map, struct vm_object *object, vm_ooffset_t offset, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, vm_prot_t max, int cow, enum vm_inherit inherit)
{
	struct vm_map_entry *before, *e;

	KASSERT(rw_wheld(&map->lock), "inserting into a map that is not locked");
	if (((start | end | (vm_offset_t)offset) & PAGE_MASK) != 0 || offset < 0 || (prot & ~max) != 0)
		return (KERN_INVALID_ARGUMENT);
	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ADDRESS);
	before = vm_map_entry_before(map, start);
	if (before->end > start || start - before->end > before->gap || before->end + before->gap < end)
		return (KERN_NO_SPACE);
	e = vm_map_entry_create();
	*e = (struct vm_map_entry){
		.start = start, .end = end, .object = object, .offset = object != NULL ? offset : 0,
		.protection = prot, .max_protection = max, .inheritance = inherit,
		.needs_copy = object != NULL && (cow & MAP_COPY_ON_WRITE), .stores = (cow & MAP_STORES) != 0,
		.grow_top = cow & MAP_STACK_GROWS ? end : 0, .next_read = OFF_TO_IDX(offset),
		.error_seen = object != NULL ? object->error_gen : 0
	};
	if (e->stores)
		vnode_pager_stores(object, (vm_ooffset_t)(end - start));
	vm_map_entry_link(map, before, e);
	vm_map_join_range(map, start, end);
	return (KERN_SUCCESS);
}

int
vm_map_find(struct vm_map *map, struct vm_object *object, vm_ooffset_t offset, vm_offset_t *addr, vm_size_t len,
    bool anywhere, vm_prot_t prot, vm_prot_t max, int cow, enum vm_inherit inherit)
{
	int kr = KERN_SUCCESS;

	if (*addr + len < *addr)
		return (KERN_INVALID_ADDRESS);
	vm_map_lock(map);
	if (!vm_map_room(map, *addr, *addr, 1))
		kr = KERN_RESOURCE_SHORTAGE;
	else if (anywhere)
		kr = vm_map_findspace(map, addr, len);
	if (kr == KERN_SUCCESS)
		kr = vm_map_insert(map, object, offset, *addr, *addr + len, prot, max, cow, inherit);
	vm_map_unlock(map);
	return (kr);
}

/* ---- removal ---- */

/*
 * Nobody else can reach these pages of a private object: give them back, in memory and on the swap
 * disk, now and not when the object dies.  Other entries may be parts of what was one, but theirs
 * are other pages (OBJ_ONEMAPPING).
 */
static void
free_private_pages(const struct vm_map_entry *e)
{
	struct vm_object *object = e->object;

	if (object == NULL || !vm_object_is_anonymous(object))
		return;
	vm_object_lock(object);
	if ((object->ref_count == 1 || (object->flags & OBJ_ONEMAPPING)) && object->shadow_count == 0)
		vm_object_page_remove(object, OFF_TO_IDX(e->offset), OFF_TO_IDX(e->offset + (e->end - e->start)));
	vm_object_unlock(object);
}

struct vm_map_entry *
vm_map_unlink_range(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *e = vm_map_clip_start(map, start), *prev, *next, *doomed = NULL;

	if (e == NULL || e->start >= end)
		return (NULL);
	prev = entry_prev(e);
	for (; e != NULL && e->start < end; e = next) {
		vm_map_clip_end(map, e, end);
		next = vm_map_next(e);
		if (e->wired_count > 0)
			vm_map_entry_unwire(map, e);
		pmap_remove(map->pmap, e->start, e->end);
		entry_remove(map, e);
		e->node.child[0] = doomed != NULL ? &doomed->node : NULL;
		doomed = e;
	}
	gap_update(map, prev);
	return (doomed);
}

void
vm_map_free_entries(struct vm_map_entry *doomed)
{
	struct vm_map_entry *next;

	for (; doomed != NULL; doomed = next) {
		next = node_entry(doomed->node.child[0]);
		free_private_pages(doomed);
		if (doomed->stores)
			vnode_pager_stores(doomed->object, -(vm_ooffset_t)(doomed->end - doomed->start));
		vm_object_deallocate(doomed->object);
		kmem_cache_free(entry_zone, doomed);
	}
}

int
vm_map_remove(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
	struct vm_map_entry *doomed;

	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ARGUMENT);
	vm_map_lock_range(map, start, end);
	/* Only a hole in the middle of an entry makes one more. */
	if (cuts(map, start) && cuts(map, end) && !vm_map_room(map, start, end, 0)) {
		vm_map_unlock(map);
		return (KERN_RESOURCE_SHORTAGE);
	}
	doomed = vm_map_unlink_range(map, start, end);
	vm_map_unlock(map);
	vm_map_free_entries(doomed);
	return (KERN_SUCCESS);
}

int
vm_map_replace(struct vm_map *map, struct vm_object *object, vm_ooffset_t offset, vm_offset_t start, vm_offset_t end,
    vm_prot_t prot, vm_prot_t max, int cow, enum vm_inherit inherit)
{
	struct vm_map_entry *doomed;
	int kr;

	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ADDRESS);
	vm_map_lock_range(map, start, end);
	if (!vm_map_room(map, start, end, 1)) {
		vm_map_unlock(map);
		return (KERN_RESOURCE_SHORTAGE);
	}
	doomed = vm_map_unlink_range(map, start, end);
	kr = vm_map_insert(map, object, offset, start, end, prot, max, cow, inherit);
	vm_map_unlock(map);
	vm_map_free_entries(doomed);
	return (kr);
}

bool
vm_map_next_range(struct vm_map *map, vm_offset_t *start, vm_offset_t *end)
{
	struct vm_map_entry *e;

	vm_map_rlock(map);
	e = vm_map_entry_before(map, *start);
	if (e == &map->sentinel || e->end <= *start)
		e = vm_map_next(e);
	if (e != NULL) {
		*start = MAX(*start, e->start);
		*end = e->end;
	}
	vm_map_runlock(map);
	return (e != NULL);
}

/* ---- changes ---- */

static int
protect_locked(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
	vm_offset_t at = start;

	for (struct vm_map_entry *e = vm_map_clip_start(map, start); at < end; e = vm_map_next(e)) {
		vm_prot_t old;

		if (e == NULL || e->start != at)
			return (KERN_INVALID_ADDRESS);
		if ((prot & ~e->max_protection) != 0)
			return (KERN_PROTECTION_FAILURE);
		vm_map_clip_end(map, e, end);
		old = e->protection;
		e->protection = prot;
		/*
		 * More permission comes with the next fault; less must be seen at once.  M3 keeps
		 * needs_copy read-only.
		 */
		if ((old & ~prot) != 0)
			pmap_protect(map->pmap, e->start, e->end, e->needs_copy ? prot & ~VM_PROT_WRITE : prot);
		at = e->end;
	}
	return (KERN_SUCCESS);
}

int
vm_map_protect(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
	int kr;

	if (start == end)
		return (KERN_SUCCESS);
	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ARGUMENT);
	vm_map_lock_range(map, start, end);
	kr = vm_map_room(map, start, end, 0) ? protect_locked(map, start, end, prot) : KERN_RESOURCE_SHORTAGE;
	vm_map_join_range(map, start, end);
	vm_map_unlock(map);
	return (kr);
}

int
vm_map_advise(struct vm_map *map, vm_offset_t start, vm_offset_t end, enum vm_advice advice)
{
	if (!vm_map_range_valid(map, start, end))
		return (KERN_INVALID_ARGUMENT);
	if (vm_map_lock_to_clip(map, start, end) != KERN_SUCCESS)
		return (KERN_RESOURCE_SHORTAGE);
	for (struct vm_map_entry *e = vm_map_clip_start(map, start); e != NULL && e->start < end; e = vm_map_next(e)) {
		vm_map_clip_end(map, e, end);
		e->advice = advice;
	}
	vm_map_join_range(map, start, end);
	vm_map_unlock(map);
	return (KERN_SUCCESS);
}

/* ---- making one ---- */

void
vm_map_setup(struct vm_map *map, struct pmap *pmap)
{
	rw_init(&map->lock, "map", RANK_MAP);
	map->pmap = pmap;
	map->min = VM_USER_MIN;
	map->max = VM_USER_MAX;
	map->sentinel.start = map->sentinel.end = map->min;
	map->sentinel.gap = map->sentinel.max_gap = map->max - map->min;
	rb_insert(&map->entries, NULL, 0, &map->sentinel.node, entry_augment);
}

/* ---- checks ---- */

void
vm_map_check(struct vm_map *map)
{
	struct vm_map_entry *prev = &map->sentinel, *e;
	vm_size_t size = 0;
	uint32_t n = 0;

	for (e = vm_map_first(map); e != NULL; prev = e, e = vm_map_next(e)) {
		if (!vm_map_range_valid(map, e->start, e->end) || e->start < prev->end)
			vm_check_violation("map %p: entry [%lx, %lx) out of place (M1)", map, e->start, e->end);
		if (prev->gap != e->start - prev->end)
			vm_check_violation("map %p: gap behind %lx is %lu, noted %lu", map, prev->end, e->start - prev->end, prev->gap);
		size += e->end - e->start;
		n++;
	}
	if (prev->gap != map->max - prev->end)
		vm_check_violation("map %p: last gap is wrong", map);
	if (n != map->nentries || size != map->size || rb_check(&map->entries) != (long)n + 1)
		vm_check_violation("map %p: %u entries of %lu bytes, noted %u of %lu (M2)", map, n, size, map->nentries, map->size);
}

void
vm_map_print(struct vm_map *map)
{
	printf("map %p: %u entries, %lu KiB\n", map, map->nentries, map->size / KiB);
	for (struct vm_map_entry *e = vm_map_first(map); e != NULL; e = vm_map_next(e))
		printf("  %012lx-%012lx %c%c%c %s object %p offset 0x%lx%s%s\n", e->start, e->end,
		    e->protection & VM_PROT_READ ? 'r' : '-', e->protection & VM_PROT_WRITE ? 'w' : '-',
		    e->protection & VM_PROT_EXECUTE ? 'x' : '-',
		    e->inheritance == VM_INHERIT_SHARE ? "shared " : "private", e->object, e->offset,
		    e->needs_copy ? ", needs copy" : "", e->wired_count ? ", wired" : "");
}
