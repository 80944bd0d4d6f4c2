/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap pager: pages of anonymous memory that went to disk, and come back.
 *
 *	reclaim: dirty, idle --> LAUNDRY --> swapout thread: putpages --> clean, has a block --> freed by that thread
 *	                                                                      ^                       |
 *	                         fault: getpages, with its neighbours --------+-----------------------+
 *
 * A block is the page's copy as long as nobody writes to the page:
 *
 *	                      dirty         clean, has block          not resident, has block
 *	   content is in      memory        memory and disk           disk
 *	   mapped             as allowed    never writable            not at all
 *
 * A page that has a block is mapped read-only.  The first store faults, and that gives the block
 * back at once: swap_pager_dirtied().  So no block ever holds old bytes, "clean" needs no look at
 * the page tables, and swap space is never held by pages that will have to be written again anyway.
 * (BSD overwrites the block in place at the next page-out.  That keeps the place on disk, but the
 * neighbours that made the cluster have moved on by then, and the block is lost to others for as
 * long as the page stays dirty.)
 *
 * getpages asks for the page and those neighbours whose blocks lie beside its own.  No block:
 * VM_PAGER_FAIL, and the caller looks in the backing object, for a shadow knows only of its own
 * pages.
 *
 * The transfer goes straight between the disk and the pages, through the window of a pbuf of the
 * swap's own pool; who holds one waits for the disk only.  Sleeps in "pbufswp", "swread", "swwrt".
 *
 * An error in reading is the error of one page: the block stays, and the next fault tries again.
 * Debug builds also compare a checksum that was taken at page-out.  An error in writing frees the
 * block; the page is dirty again.
 *
 * Lock order: object, then swap_lock (swap_map.c).  Nothing here waits for memory.
 */
#include "vm/swap_pager.h"

#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/buf.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/ratelimit.h"
#include "vm/pmap.h"
#include "vm/swap_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"

static void
report(const char *what, uint32_t block, int count, int error)
{
	static struct ratelimit limit = RATELIMIT_INITIALIZER(5, 2);
	uint32_t missed;

	if (ratelimit_pass(&limit, clock_ns(), &missed))
		printf("swap: %s %d pages at block %u: %s (%u earlier messages not printed)\n", what, count, block,
		    errno_name(error), missed);
}

/*
 * One request.  => pages busy by us; no object locked; the blocks are theirs.  0 or errno.
 */
static int
transfer(struct vm_page **m, int count, uint32_t block, uint32_t direction)
{
	struct disk *dk = swap_area_get()->disk;
	struct buf *bp = getpbuf(PBUF_SWAP);
	int error;

	pmap_qenter(bp->b_kvabase, m, count);
	bp->b_npages = count;
	bp->b_flags |= direction;
	bp->b_blkno = (daddr_t)swap_area_sector(swap_area_get(), block);
	bp->b_data = (void *)bp->b_kvabase;
	bp->b_bcount = (size_t)count * PAGE_SIZE;
	disk_strategy(dk, bp);
	error = biowait(bp, direction == B_READ ? "swread" : "swwrt");
	if (error == 0 && bp->b_resid != 0)
		error = EIO;
	pmap_qremove(bp->b_kvabase, count);
	bp->b_npages = 0;
	relpbuf(bp);
	if (error != 0)
		report(direction == B_READ ? "cannot read" : "cannot write", block, count, error);
	return (error);
}

/* ---- in ---- */

static uint32_t
block_at(struct vm_object *object, vm_pindex_t pindex)
{
	struct swap_slot *slot = swap_slot_find(object, pindex);

	return (slot != NULL ? slot->block : 0);
}

/*
 * Which of the pages lie on disk in one row with the requested one: m[*first..*end-1].  Returns the
 * block of the first, or 0 when the requested one has none.
 */
static uint32_t
find_run(struct vm_object *object, struct vm_page **m, int count, int reqpage, int *first, int *end)
{
	uint32_t block = block_at(object, m[reqpage]->pindex);

	*first = reqpage;
	*end = reqpage + 1;
	if (block == 0)
		return (0);
	while (*end < count && block_at(object, m[*end]->pindex) == block + (uint32_t)(*end - reqpage))
		++*end;
	while (*first > 0 && block_at(object, m[*first - 1]->pindex) == block - (uint32_t)(reqpage - *first + 1))
		--*first;
	return (block - (uint32_t)(reqpage - *first));
}

/*
 * What came from the disk for one page: is it the page's still, and is it what was written?
 * => object locked.
 */
static int
accept(struct vm_object *object, struct vm_page *m, uint32_t block)
{
	struct swap_slot *slot = swap_slot_find(object, m->pindex);

	/* re-check: while we read, the range may have been given up. */
	if (slot == NULL || slot->block != block)
		return (VM_PAGER_FAIL);
	if (slot->sum != swap_checksum(m)) {
		report("not what was written:", block, 1, EIO);
		return (VM_PAGER_ERROR);
	}
	vm_page_flag_clear(m, PG_ZERO);
	m->valid = VM_PAGE_BITS_ALL;
	m->dirty = 0;
	return (VM_PAGER_OK);
}

/* Finish a run that was read.  Returns how the requested page fared. */
static int
input_done(struct vm_object *object, struct vm_page **m, int count, int reqpage, uint32_t block)
{
	struct vm_page *req = m[reqpage], *good[VM_PAGER_CLUSTER_MAX];
	int result = VM_PAGER_OK, ngood = 0;

	vm_object_lock(object);
	for (int i = 0; i < count; i++) {
		int status = accept(object, m[i], block + (uint32_t)i);

		if (status == VM_PAGER_OK)
			good[ngood++] = m[i];
		else if (m[i] != req)
			vm_page_free(m[i]);
		else
			result = status;
	}
	vm_page_deactivate_run(good, ngood);
	for (int i = 0; i < ngood; i++)
		if (good[i] != req)
			vm_page_xunbusy(good[i]);
	vm_object_unlock(object);
	return (result);
}

static int
swap_pager_getpages(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	uint32_t block;
	int first, end, error;

	vm_object_lock(object);
	block = find_run(object, m, count, reqpage, &first, &end);
	vm_object_unlock(object);
	vm_pager_free_extras(object, m, count, first, end);
	if (block == 0) {
		VM_PATH("swap_in_no_block");
		return (VM_PAGER_FAIL);
	}
	VM_PATH("swap_in");
	VMCNT_INC(v_swapin);
	VMCNT_ADD(v_swappgsin, end - first);
	error = transfer(&m[first], end - first, block, B_READ);
	if (error != 0 && end - first > 1) {
		/* A neighbour's error must not fail the page asked for. */
		VM_PATH("swap_in_alone");
		vm_pager_free_extras(object, &m[first], end - first, reqpage - first, reqpage - first + 1);
		block += (uint32_t)(reqpage - first);
		first = reqpage;
		end = first + 1;
		error = transfer(&m[first], 1, block, B_READ);
	}
	if (error != 0)
		return (VM_PAGER_ERROR);
	return (input_done(object, &m[first], end - first, reqpage - first, block));
}

static enum vm_pager_has
swap_pager_haspage(struct vm_object *object, vm_pindex_t pindex, int *before, int *after)
{
	uint32_t block;

	vm_object_rlock(object);
	block = block_at(object, pindex);
	if (block != 0) {
		while (*after < VM_PAGER_CLUSTER_MAX &&
		    block_at(object, pindex + *after + 1) == block + (uint32_t)*after + 1)
			++*after;
		while (*before < VM_PAGER_CLUSTER_MAX && pindex > (vm_pindex_t)*before &&
		    block > (uint32_t)*before + 1 &&
		    block_at(object, pindex - *before - 1) == block - (uint32_t)*before - 1)
			++*before;
	}
	vm_object_unlock(object);
	return (block != 0 ? PAGER_HAS : PAGER_HAS_NOT);
}

/* ---- out ---- */

/*
 * Give as many of the pages as possible consecutive blocks, and call them clean.
 * => pages exclusive-busy, write-protected; those that got a block are shared-busy on return.
 *    Returns how many; 0: no room, or no memory.
 */
static int
output_begin(struct vm_object *object, struct vm_page **m, int count, uint32_t *block)
{
	uint32_t got = (uint32_t)count;
	int n = 0;

	*block = swap_blocks_alloc(&got);
	if (*block == 0)
		return (0);
	vm_object_lock(object);
	for (; n < (int)got; n++) {
		struct swap_slot slot = { .block = *block + (uint32_t)n, .sum = swap_checksum(m[n]) };

		if (!swap_slot_set(object, m[n]->pindex, slot)) {
			VM_PATH("swap_out_no_chunk");
			swap_blocks_free(*block + (uint32_t)n, got - (uint32_t)n);
			break;
		}
		m[n]->dirty = 0;
		vm_page_downgrade(m[n]);
	}
	vm_object_unlock(object);
	return (n);
}

/* => pages shared-busy by us. */
static void
output_failed(struct vm_object *object, struct vm_page **m, int count)
{
	vm_object_lock(object);
	for (int i = 0; i < count; i++) {
		swap_blocks_free(swap_slot_take(object, m[i]->pindex).block, 1);
		vm_page_dirty(m[i]);
	}
	vm_object_unlock(object);
}

static int
swap_pager_putpages(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals)
{
	int done = 0, n, status = VM_PAGER_OK;
	uint32_t block;

	while (done < count && (n = output_begin(object, &m[done], count - done, &block)) > 0) {
		VM_PATH("swap_out");
		VMCNT_INC(v_swapout);
		VMCNT_ADD(v_swappgsout, n);
		status = VM_PAGER_OK;
		if (transfer(&m[done], n, block, B_WRITE) != 0) {
			VM_PATH("swap_out_error");
			output_failed(object, &m[done], n);
			status = VM_PAGER_ERROR;
		}
		for (int i = 0; i < n; i++)
			rtvals[done++] = status;
	}
	for (; done < count; done++) {
		VM_PATH("swap_out_later");
		vm_page_downgrade(m[done]);
		rtvals[done] = VM_PAGER_AGAIN;
	}
	return (rtvals[0]);
}

/* ---- blocks that lose their page ---- */

bool
swap_pager_has_block(struct vm_object *object, vm_pindex_t pindex)
{
	return (swap_slot_find(object, pindex) != NULL);
}

void
swap_pager_freespace(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
	while (swap_pager_next(object, &start) && start < end)
		swap_blocks_free(swap_slot_take(object, start).block, 1);
}

void
swap_pager_dirtied(struct vm_page *m)
{
	KASSERT(rw_wheld(&m->object->lock), "page %u is dirtied without its object's lock", m->pfn);
	if (swap_pager_has_block(m->object, m->pindex)) {
		swap_blocks_free(swap_slot_take(m->object, m->pindex).block, 1);
		vm_page_dirty(m);
	}
}

bool
swap_pager_move(struct vm_object *source, vm_pindex_t from, struct vm_object *object, vm_pindex_t to)
{
	struct swap_slot slot = *swap_slot_find(source, from);

	KASSERT(object->type == OBJT_DEFAULT || object->type == OBJT_SWAP, "swap blocks for object %p of type %u",
	    object, object->type);
	object->type = OBJT_SWAP;
	if (!swap_slot_set(object, to, slot)) {
		VM_PATH("swap_move_no_chunk");
		return (false);
	}
	(void)swap_slot_take(source, from);
	return (true);
}

static void
swap_pager_dealloc(struct vm_object *object)
{
	vm_object_lock(object);
	swap_pager_freespace(object, 0, UINT64_MAX);
	KASSERT(object->un_pager.swp.nblocks == 0, "object %p ends with %u swap blocks (O7)", object,
	    object->un_pager.swp.nblocks);
	vm_object_unlock(object);
}

static struct vm_object *
swap_pager_alloc(void *handle, vm_ooffset_t size, vm_prot_t prot, vm_ooffset_t offset, struct ucred *cred)
{
	return (vm_object_allocate(OBJT_SWAP, OFF_TO_IDX(round_page(size + offset))));
}

const struct pagerops swappagerops = {
	.pgo_init = swap_map_init,
	.pgo_alloc = swap_pager_alloc,
	.pgo_dealloc = swap_pager_dealloc,
	.pgo_getpages = swap_pager_getpages,
	.pgo_putpages = swap_pager_putpages,
	.pgo_haspage = swap_pager_haspage,
};
