/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap disk's books: which blocks are taken (one bitmap), and by which page (a small tree in
 * each object).
 *
 *	object  un_pager.swp.chunks                        disk
 *	           |                                       [0: never][1][2][3][4] ...
 *	           +-- chunk, pages  0-15  [3][4][ ][ ]...       ^        ^  ^
 *	           +-- chunk, pages 48-63  [ ][1][ ][ ]... ------+--------+--+
 *
 * A chunk covers 16 pages at an aligned index and exists while one of them has a block, so sparse
 * objects cost little and dense ones about eight bytes a page.
 *
 * Swapping out must not wait for memory.  A chunk comes from the slabs, from the pages kept for
 * reclaim; if there is none, from a reserve filled when swap is turned on; and if that is empty
 * too, the page-out is put off (VM_PAGER_AGAIN).  Chunks that die fill the reserve first.
 *
 * `full`: when the last block is gone nobody should try again for each page; only when a good part
 * of the disk is free is it worth it.
 *
 * Locks: the object's for its chunks; swap_lock (spin, leaf) for the bitmap, the reserve and the
 * switches.
 *
 * Why not one hash over all pages, as BSD had for some years: the end of an object, a collapse and
 * swapoff all ask for the blocks of one object in order.
 */
#include "vm/swap_map.h"

#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "vm/swap_blist.h"
#include "vm/swap_pager.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_path.h"

#define CHUNK_PAGES	16u
#define CHUNK_RESERVE	32u

struct swap_chunk {
	struct rb_node	 node;			/* (o) in the object's tree, by base */
	/* (o) index of slot[0], a multiple of CHUNK_PAGES */
	vm_pindex_t	 base;
	uint32_t	 inuse;			/* (o) slots with a block */
	struct swap_slot slot[CHUNK_PAGES];	/* (o) */
	struct swap_chunk *next;		/* swap_lock: in the reserve */
};

static struct spinlock swap_lock = SPINLOCK_INITIALIZER("swap", RANK_BIO);
static struct swap_area *the_area;		/* swap_lock; NULL: swap is off */
static bool refused;				/* swap_lock: swap_off() is at work */
static bool full;				/* swap_lock */
static struct swap_chunk *reserve;		/* swap_lock */
static uint32_t reserve_count;			/* swap_lock */
static uint32_t reserve_wanted;			/* swap_lock: CHUNK_RESERVE while swap is on */
static struct kmem_cache *chunk_zone;

bool swap_map_starve;

void
swap_map_init(void)
{
	chunk_zone = kmem_cache_create("swap_chunk", sizeof(struct swap_chunk), 0);
}

/* ---- chunks ---- */

static struct swap_chunk *
reserve_take(void)
{
	struct swap_chunk *c;

	spin_lock(&swap_lock);
	c = reserve;
	if (c != NULL) {
		reserve = c->next;
		reserve_count--;
	}
	spin_unlock(&swap_lock);
	return (c);
}

/* false: the reserve is full. */
static bool
reserve_put(struct swap_chunk *c)
{
	bool room;

	spin_lock(&swap_lock);
	room = reserve_count < reserve_wanted;
	if (room) {
		c->next = reserve;
		reserve = c;
		reserve_count++;
	}
	spin_unlock(&swap_lock);
	return (room);
}

static void
chunk_free(struct swap_chunk *c)
{
	if (!reserve_put(c))
		kmem_cache_free(chunk_zone, c);
}

/* The chunk that covers pindex, or NULL; then *parent and *side say where it would go. */
static struct swap_chunk *
chunk_find(struct vm_object *object, vm_pindex_t pindex, struct rb_node **parent, int *side)
{
	struct rb_node *node = object->un_pager.swp.chunks.root;
	vm_pindex_t base = pindex - pindex % CHUNK_PAGES;

	*parent = NULL;
	*side = 0;
	while (node != NULL) {
		struct swap_chunk *c = container_of(node, struct swap_chunk, node);

		if (c->base == base)
			return (c);
		*parent = node;
		*side = base > c->base;
		node = node->child[*side];
	}
	return (NULL);
}

struct swap_slot *
swap_slot_find(struct vm_object *object, vm_pindex_t pindex)
{
	struct swap_chunk *c;
	struct rb_node *parent;
	int side;

	if (object->type != OBJT_SWAP)
		return (NULL);
	c = chunk_find(object, pindex, &parent, &side);
	return (c != NULL && c->slot[pindex % CHUNK_PAGES].block != 0 ? &c->slot[pindex % CHUNK_PAGES] : NULL);
}

bool
swap_slot_set(struct vm_object *object, vm_pindex_t pindex, struct swap_slot slot)
{
	struct rb_node *parent;
	struct swap_chunk *c;
	int side;

	KASSERT(rw_wheld(&object->lock) && object->type == OBJT_SWAP, "a swap block for object %p", object);
	c = chunk_find(object, pindex, &parent, &side);
	if (c == NULL) {
		c = swap_map_starve ? NULL : kmem_cache_alloc(chunk_zone, M_NOWAIT | M_RESERVE);
		if (c == NULL) {
			VM_PATH("swap_chunk_reserve");
			c = reserve_take();
		}
		if (c == NULL)
			return (false);
		*c = (struct swap_chunk){ .base = pindex - pindex % CHUNK_PAGES };
		rb_insert(&object->un_pager.swp.chunks, parent, side, &c->node, NULL);
	}
	KASSERT(c->slot[pindex % CHUNK_PAGES].block == 0, "object %p has a swap block for %lu already", object, pindex);
	c->slot[pindex % CHUNK_PAGES] = slot;
	c->inuse++;
	object->un_pager.swp.nblocks++;
	return (true);
}

struct swap_slot
swap_slot_take(struct vm_object *object, vm_pindex_t pindex)
{
	struct rb_node *parent;
	struct swap_slot slot;
	struct swap_chunk *c;
	int side;

	KASSERT(rw_wheld(&object->lock), "taking a swap block of object %p without its lock", object);
	c = chunk_find(object, pindex, &parent, &side);
	KASSERT(c != NULL && c->slot[pindex % CHUNK_PAGES].block != 0, "object %p has no swap block for %lu", object, pindex);
	slot = c->slot[pindex % CHUNK_PAGES];
	c->slot[pindex % CHUNK_PAGES] = (struct swap_slot){ 0 };
	object->un_pager.swp.nblocks--;
	if (--c->inuse == 0) {
		rb_remove(&object->un_pager.swp.chunks, &c->node, NULL);
		chunk_free(c);
	}
	return (slot);
}

bool
swap_pager_next(struct vm_object *object, vm_pindex_t *pindex)
{
	struct rb_node *node = object->type == OBJT_SWAP ? object->un_pager.swp.chunks.root : NULL, *best = NULL;

	/*
	 * The first chunk that ends behind *pindex; one that begins before it may have nothing
	 * more.
	 */
	while (node != NULL) {
		struct swap_chunk *c = container_of(node, struct swap_chunk, node);

		if (c->base + CHUNK_PAGES > *pindex)
			best = node;
		node = node->child[c->base + CHUNK_PAGES <= *pindex];
	}
	for (; best != NULL; best = rb_next(best)) {
		struct swap_chunk *c = container_of(best, struct swap_chunk, node);

		for (uint32_t i = 0; i < CHUNK_PAGES; i++) {
			if (c->slot[i].block != 0 && c->base + i >= *pindex) {
				*pindex = c->base + i;
				return (true);
			}
		}
	}
	return (false);
}

uint32_t
swap_pager_check(struct vm_object *object)
{
	uint32_t total = 0;
	struct rb_node *node;

	if (object->type != OBJT_SWAP)
		return (0);
	for (node = rb_first(&object->un_pager.swp.chunks); node != NULL; node = rb_next(node)) {
		struct swap_chunk *c = container_of(node, struct swap_chunk, node);
		uint32_t inuse = 0;

		for (uint32_t i = 0; i < CHUNK_PAGES; i++) {
			struct vm_page *m;

			if (c->slot[i].block == 0)
				continue;
			inuse++;
			if (the_area == NULL || c->slot[i].block >= the_area->nblocks ||
			    blist_is_free(the_area->map, c->slot[i].block))
				panic("object %p: index %lu has swap block %u, which is free", object, c->base + i,
				    c->slot[i].block);
			m = vm_page_lookup(object, c->base + i);
			if (m == NULL || vm_page_busied(m))
				continue;
			if (m->dirty != 0 || swap_checksum(m) != c->slot[i].sum)
				panic("object %p: page %lu (dirty %02x) differs from its swap block %u", object, m->pindex,
				    m->dirty, c->slot[i].block);
		}
		if (inuse != c->inuse || inuse == 0 || c->base % CHUNK_PAGES != 0)
			panic("object %p: swap chunk %lu has %u blocks, noted %u", object, c->base, inuse, c->inuse);
		total += inuse;
	}
	if (total != object->un_pager.swp.nblocks || rb_check(&object->un_pager.swp.chunks) < 0)
		panic("object %p: %u swap blocks, noted %u", object, total, object->un_pager.swp.nblocks);
	return (total);
}

uint32_t
swap_checksum(struct vm_page *m)
{
	const uint64_t *word = VM_PAGE_TO_DMAP(m);
	uint64_t sum = 0;

	if (!FAULTLINE_DEBUG)
		return (0);
	for (size_t i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		sum = (sum << 5 | sum >> 59) ^ word[i] * 0x9E3779B97F4A7C15ul;
	return ((uint32_t)(sum ^ sum >> 32));
}

/* ---- blocks ---- */

uint32_t
swap_blocks_alloc(uint32_t *count)
{
	uint32_t first = BLIST_NONE, n = MIN(*count, BLIST_RUN_MAX);

	spin_lock(&swap_lock);
	if (the_area != NULL && !refused) {
		for (; n > 0 && (first = blist_alloc(the_area->map, n)) == BLIST_NONE; n /= 2)
			;
		if (first == BLIST_NONE) {
			VM_PATH("swap_full");
			full = true;
		}
	}
	spin_unlock(&swap_lock);
	*count = n;
	return (first != BLIST_NONE ? first : 0);
}

void
swap_blocks_free(uint32_t first, uint32_t count)
{
	spin_lock(&swap_lock);
	blist_free(the_area->map, first, count);
	if (full && blist_nfree(the_area->map) >= MIN(64u, the_area->usable / 4))
		full = false;
	spin_unlock(&swap_lock);
}

bool
swap_has_room(void)
{
	return (the_area != NULL && !refused && !full);
}

/* ---- the area ---- */

struct swap_area *
swap_area_get(void)
{
	return (the_area);
}

uint64_t
swap_area_sector(const struct swap_area *area, uint32_t block)
{
	uint32_t low = 0, high = area->nextents;
	const struct swap_extent *e;

	/* The last extent that begins at the block or before it. */
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (area->extents[middle].block <= block)
			low = middle;
		else
			high = middle;
	}
	e = &area->extents[low];
	KASSERT(block >= e->block && block - e->block < e->count, "swap block %u is nobody's", block);
	return (e->sector + (uint64_t)(block - e->block) * (PAGE_SIZE / DEV_BSIZE));
}

struct vnode *
swap_file(void)
{
	struct vnode *vp;

	/* Who turns swap off lets go of the file under the first lock, after he took the area away under the second. */
	spin_lock(&vnode_list_lock);
	spin_lock(&swap_lock);
	vp = the_area != NULL ? the_area->vp : NULL;
	spin_unlock(&swap_lock);
	if (vp != NULL && !vget_locked(vp))
		vp = NULL;
	spin_unlock(&vnode_list_lock);
	return (vp);
}

void
swap_area_open(struct swap_area *area)
{
	struct swap_chunk *c;

	spin_lock(&swap_lock);
	KASSERT(the_area == NULL, "swap is turned on twice");
	the_area = area;
	refused = full = false;
	reserve_wanted = CHUNK_RESERVE;
	spin_unlock(&swap_lock);
	do {
		c = kmem_cache_alloc(chunk_zone, M_WAITOK);
	} while (reserve_put(c));
	kmem_cache_free(chunk_zone, c);
}

void
swap_area_refuse(bool refuse)
{
	spin_lock(&swap_lock);
	refused = refuse;
	spin_unlock(&swap_lock);
}

struct swap_area *
swap_area_close(void)
{
	struct swap_area *area;
	struct swap_chunk *c;

	spin_lock(&swap_lock);
	area = the_area;
	KASSERT(refused && blist_nfree(area->map) == area->usable, "closing the swap disk with blocks in use (O7)");
	the_area = NULL;
	reserve_wanted = 0;
	spin_unlock(&swap_lock);
	while ((c = reserve_take()) != NULL)
		kmem_cache_free(chunk_zone, c);
	return (area);
}

void
swap_info(struct swap_info *info)
{
	struct swap_area *area;

	*info = (struct swap_info){ 0 };
	spin_lock(&swap_lock);
	area = the_area;
	if (area != NULL) {
		info->disk = area->disk->dk_name;
		info->file = area->vp != NULL;
		info->nblocks = area->usable;
		info->inuse = info->nblocks - blist_nfree(area->map);
		info->full = full;
	}
	info->reserve = reserve_count;
	spin_unlock(&swap_lock);
}

void
swap_check(uint64_t blocks_of_objects)
{
	uint64_t inuse = 0;

	if (the_area != NULL) {
		blist_check(the_area->map);
		inuse = the_area->usable - blist_nfree(the_area->map);
	}
	if (inuse != blocks_of_objects)
		panic("%lu swap blocks are taken, objects hold %lu", inuse, blocks_of_objects);
}
