/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Turning swap on and off.
 *
 * On: a disk or a partition, unless something else seems to live there.  The first page is never
 * written, so whatever names the disk stays.  (A file: swap_file.c.)
 *
 *	page 0            1 ... n-1
 *	[left alone][ blocks, all free ]
 *
 * Off: nobody gets new blocks, then every object that has blocks is emptied page by page: read it,
 * free the block, call the page dirty.  What has gone meanwhile is fine; what is being written just
 * now is waited for by its busy page.  If memory does not suffice, or the disk does not give a page
 * back, swap stays on, and what came in meanwhile is simply in memory.
 *
 * There is one swap disk or file at a time.
 *
 * Lock order: onoff_lock outermost, so that it is turned on and off by one at a time; none else held between pages; an object is referenced while it is emptied.
 */
#include "vm/swap_pager.h"

#include "drivers/disk.h"
#include "drivers/part.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/swap_blist.h"
#include "vm/swap_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_path.h"

#define OFF_CLUSTER	16	/* pages read at once */
#define OFF_RETRIES	20	/* waits for memory in vain, per page */

#define EXT2_MAGIC_AT	(1024 + 56)	/* the superblock's magic number, bytes */
#define EXT2_MAGIC	0xEF53u

static MALLOC_DEFINE(M_SWAP, "swap area");

static struct mutex onoff_lock = { .lk = { .name = "swapon", .kind = LOCK_MUTEX, .rank = RANK_SWAPON } };

/* Does an ext2 volume live there?  0, EEXIST, or why it cannot be read. */
static int
look_for_volume(struct disk *dk)
{
	uint8_t *page = kmalloc(PAGE_SIZE, &M_SWAP, M_WAITOK);
	int error = disk_rw(dk, 0, page, PAGE_SIZE, B_READ);

	if (error == 0 && page[EXT2_MAGIC_AT] == (EXT2_MAGIC & 0xff) && page[EXT2_MAGIC_AT + 1] == EXT2_MAGIC >> 8)
		error = EEXIST;
	kfree(page, &M_SWAP);
	return (error);
}

static void
area_free(struct swap_area *area)
{
	if (area->map != NULL)
		blist_destroy(area->map);
	if (area->vp != NULL)
		swap_file_close(area);
	else if (area->disk != NULL)
		disk_release(area->disk);
	kfree(area, &M_SWAP);
}

/* A disk, without its first page, is one extent.  0 and it is claimed; or an errno of swap_on(). */
static int
open_disk(struct disk *dk, struct swap_area *area)
{
	uint64_t pages = MIN(dk->dk_nsectors / (PAGE_SIZE / DEV_BSIZE), (uint64_t)BLIST_BLOCKS_MAX);
	int error;

	if (dk->dk_readonly)
		return (EROFS);
	if (pages < SWAP_DISK_MIN / PAGE_SIZE || dk->dk_sectorsize > PAGE_SIZE)
		return (EINVAL);
	if (disk_claim(dk, "swap") != 0)
		return (EBUSY);
	error = look_for_volume(dk);
	if (error != 0) {
		disk_release(dk);
		return (error);
	}
	area->disk = dk;
	area->usable = (uint32_t)pages - 1;
	area->whole = (struct swap_extent){ .block = 1, .count = area->usable, .sector = PAGE_SIZE / DEV_BSIZE };
	area->extents = &area->whole;
	area->nextents = 1;
	return (0);
}

/* All blocks of the extents are free; the numbers between them never are. */
static void
make_map(struct swap_area *area)
{
	const struct swap_extent *last = &area->extents[area->nextents - 1];

	area->nblocks = last->block + last->count;
	area->map = blist_create(area->nblocks);
	for (uint32_t i = 0; i < area->nextents; i++)
		(void)blist_fill(area->map, area->extents[i].block - 1, 1);
}

/* Exactly one of the two.  => sleeps; errors as swap_on() and swap_on_vnode() */
static int
turn_on(struct disk *dk, struct vnode *vp)
{
	struct swap_area *area;
	int error;

	mutex_lock(&onoff_lock);
	error = swap_area_get() != NULL ? EBUSY : 0;
	if (error == 0) {
		area = kmalloc(sizeof(*area), &M_SWAP, M_WAITOK | M_ZERO);
		error = dk != NULL ? open_disk(dk, area) : swap_file_open(vp, area);
		if (error == 0) {
			make_map(area);
			swap_area_open(area);
		} else {
			kfree(area, &M_SWAP);
		}
	}
	mutex_unlock(&onoff_lock);
	return (error);
}

int
swap_on(struct disk *dk)
{
	return (turn_on(dk, NULL));
}

int
swap_on_vnode(struct vnode *vp)
{
	return (vp->v_type == VBLK && vp->v_disk != NULL ? turn_on(vp->v_disk, NULL) : turn_on(NULL, vp));
}

int
swap_on_word(const char *word)
{
	struct disk *dk = disk_by_word(word);
	struct vnode *vp;
	int error;

	if (dk != NULL)
		return (swap_on(dk));
	if (word[0] != '/')
		return (ENODEV);
	error = namei(word, NULL, 0, &vp);
	if (error == 0) {
		error = swap_on_vnode(vp);
		vrele(vp);
	}
	return (error);
}

void
swap_boot(void)
{
	const char *word = cmdline_get("swap");
	struct swap_info info;
	int error;

	if (word == NULL)
		return;
	error = swap_on_word(word);
	swap_info(&info);
	if (error != 0)
		printf("swap: not on %s: %s\n", word, errno_name(error));
	else
		printf("swap: %s%s%s, %lu KiB\n", info.disk, info.file ? ", the file " : "", info.file ? word : "",
		    info.nblocks * PAGE_SIZE / KiB);
}

/* ---- off ---- */

/*
 * Read a page that is swapped out.
 * => object exclusively locked, dropped meanwhile; m exclusive-busy by us.  0 or EIO.
 */
static int
read_back(struct vm_object *object, struct vm_page *m)
{
	int result;

	vm_object_pip_add(object, 1);
	vm_object_unlock(object);
	result = vm_pager_read_page(object, m, 0, OFF_CLUSTER - 1, NULL);
	vm_object_lock(object);
	vm_object_pip_wakeup(object);
	if (result == VM_PAGER_OK)
		return (0);
	vm_page_free(m);
	return (result == VM_PAGER_FAIL ? 0 : EIO);
}

/*
 * Bring one page into memory and free its block.
 * => object referenced, unlocked; sleeps.  0; EAGAIN: no free page; EIO.
 */
static int
bring_in(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m;
	int error = 0;

	vm_object_lock(object);
	m = vm_page_busy_acquire(object, pindex, "swpoff");
	/* re-check: while we slept for the page its block may have gone, and so may the page. */
	if (!swap_pager_has_block(object, pindex)) {
		if (m != NULL)
			vm_page_xunbusy(m);
		vm_object_unlock(object);
		return (0);
	}
	if (m == NULL)
		m = vm_page_alloc(object, pindex, VM_ALLOC_NORMAL);
	if (m == NULL) {
		vm_object_unlock(object);
		return (EAGAIN);
	}
	if (!vm_page_all_valid(m)) {
		error = read_back(object, m);
		m = error == 0 ? vm_page_lookup(object, pindex) : NULL;
	}
	if (m != NULL && vm_page_xbusied(m)) {
		swap_pager_dirtied(m);
		vm_page_activate(m);
		vm_page_xunbusy(m);
	}
	vm_object_unlock(object);
	return (error);
}

/* All pages of one object.  => referenced; sleeps.  0, ENOMEM or EIO. */
static int
empty_object(struct vm_object *object)
{
	vm_pindex_t at = 0;
	int retries = 0, error;

	for (;;) {
		bool more;

		vm_object_rlock(object);
		more = swap_pager_next(object, &at);
		vm_object_unlock(object);
		if (!more)
			return (0);
		error = bring_in(object, at);
		if (error == EAGAIN) {
			VM_PATH("swap_off_nomem");
			if (++retries > OFF_RETRIES && vm_pageout_hopeless())
				return (ENOMEM);
			vm_wait();
		} else if (error != 0) {
			return (error);
		} else {
			retries = 0;
			at++;
		}
	}
}

static bool
has_blocks(struct vm_object *object)
{
	return (object->type == OBJT_SWAP && object->un_pager.swp.nblocks > 0);
}

/* Pages that could be free without swap: a bound for what can be brought in. */
static uint64_t
pages_to_be_had(void)
{
	uint64_t n = vm_free_count();

	for (uint32_t i = 0; i < vm_page_count; i++) {
		const struct vm_object *object = vm_page_array[i].object;

		/*
		 * Unlocked: an estimate.  Objects are never unmapped, so even a stale pointer can
		 * be looked at.
		 */
		n += object != NULL && object->type == OBJT_VNODE && vm_page_array[i].wire_count == 0;
	}
	return (n);
}

static int
empty_all(void)
{
	struct vm_object *object;
	struct swap_info info;
	int error = 0;

	for (;;) {
		swap_info(&info);
		if (error != 0 || info.inuse == 0)
			return (error);
		object = vm_object_find(has_blocks);
		if (object == NULL) {
			/* What is left belongs to objects that are dying. */
			tsleep(&object, NULL, "swpdie", 1);
			continue;
		}
		error = empty_object(object);
		vm_object_deallocate(object);
	}
}

/* Blocks whose page is not in memory, at least. */
static void
count_absent(struct vm_object *object, void *arg)
{
	if (has_blocks(object) && object->un_pager.swp.nblocks > object->resident_page_count)
		*(uint64_t *)arg += object->un_pager.swp.nblocks - object->resident_page_count;
}

/* => onoff_lock held */
static int
turn_off(void)
{
	uint64_t absent = 0;
	int error;

	if (swap_area_get() == NULL)
		return (ENXIO);
	/* An estimate is enough, and saves everybody a slow way to the same answer. */
	vm_object_foreach(count_absent, &absent);
	if (absent + vm_ladder.target > pages_to_be_had()) {
		VM_PATH("swap_off_refused");
		return (ENOMEM);
	}
	swap_area_refuse(true);
	error = empty_all();
	if (error != 0) {
		swap_area_refuse(false);
		return (error);
	}
	area_free(swap_area_close());
	return (0);
}

int
swap_off(void)
{
	int error;

	mutex_lock(&onoff_lock);
	error = turn_off();
	mutex_unlock(&onoff_lock);
	return (error);
}

int
swap_off_vnode(struct vnode *vp)
{
	const struct swap_area *area;
	int error = EINVAL;

	mutex_lock(&onoff_lock);
	area = swap_area_get();
	if (area != NULL && (area->vp != NULL ? area->vp == vp : vp->v_type == VBLK && vp->v_disk == area->disk))
		error = turn_off();
	mutex_unlock(&onoff_lock);
	return (error);
}

void
swap_shutdown(void)
{
	struct vnode *vp = swap_file();
	int error;

	if (vp == NULL)
		return;
	error = swap_off_vnode(vp);
	vrele(vp);
	if (error != 0)
		printf("swap: the file stays in use: %s\n", errno_name(error));
}
