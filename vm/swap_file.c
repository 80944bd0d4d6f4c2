/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swapping to a file: where on the disk its bytes lie, and keeping them there.
 *
 *	file      [--- run ---][- run -][.][--------- run ---------]      as VOP_BMAP has them
 *	               |            |    |            |
 *	disk      ...[P][P][P]...[P][P]..._...[P][P][P][P][P][P]...       whole pages; what is left of a run is not used
 *	blocks    0   1  2  3  4  5  6  7  8 ...                          4 and 7 are never given out
 *
 * Swapping must neither wait for a filesystem nor want memory from it, so the file is asked once,
 * when swap is turned on, and afterwards its blocks are read and written as those of a disk would
 * be.  Where in the file they are does not matter: a run that begins in the middle of a page serves
 * as well.  Between two runs a block number is left out, so that no transfer of consecutive blocks
 * goes from one into the other.
 *
 * That is right only as long as the file keeps these blocks and nobody else writes to them:
 *
 *	holes			refused: they have no place, and swapping cannot make one
 *	write, truncate		ETXTBSY from the filesystem while VSWAP is set
 *	a store by a mapping	refused when swap is turned on if the file is mapped (EBUSY), and a mapping that could write
 *				is not made afterwards
 *	unlink			takes the name only: we hold a reference, and the blocks are freed after swap_off()
 *	unmount, ro		EBUSY, by force or not: vnode_mount_swaps()
 *
 * What the file holds afterwards is nobody's business; its cached pages are dropped so that
 * everybody reads the same of it.
 *
 * Lock order: the vnode's, exclusively, only until VSWAP is set; shared for VOP_BMAP.  Memory is
 * allocated with no lock held.
 */
#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/malloc.h"
#include "vm/swap_blist.h"
#include "vm/swap_map.h"
#include "vm/swap_pager.h"
#include "vm/vm_object.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_SWAPFILE, "swap extents");

#define EXTENTS_MAX	(MiB / sizeof(struct swap_extent))
#define PAGE_SECTORS	(PAGE_SIZE / DEV_BSIZE)

/* Runs of the file as they are found. */
struct gathering {
	struct swap_extent *extents;	/* NULL: count only */
	uint32_t	 n, room;
	uint32_t	 block;		/* the next one to give out */
	uint64_t	 sector, len;	/* the run that is going on, sectors */
	uint64_t	 lost;		/* sectors that are in no whole page */
};

/* The run has ended: it becomes an extent, as far as it holds pages. */
static void
run_end(struct gathering *g)
{
	uint64_t pages = MIN(g->len / PAGE_SECTORS, (uint64_t)(BLIST_BLOCKS_MAX - g->block));

	if (g->extents != NULL && g->n == g->room)
		pages = 0;
	g->lost += g->len - pages * PAGE_SECTORS;
	g->len = 0;
	if (pages == 0)
		return;
	if (g->extents != NULL)
		g->extents[g->n] = (struct swap_extent){ .block = g->block, .count = (uint32_t)pages, .sector = g->sector };
	g->n++;
	/* One number stays free behind it, and BLIST_BLOCKS_MAX itself is no block. */
	g->block = (uint32_t)MIN(g->block + pages + 1, (uint64_t)BLIST_BLOCKS_MAX);
}

/* Go through the file's whole blocks.  => VSWAP is set; unlocked.  0; EINVAL: a hole; EIO. */
static int
gather(struct vnode *vp, uint64_t size, struct gathering *g)
{
	uint64_t bsize = vp->v_mount->mnt_stat.f_iosize, end = size / bsize, n;
	uint32_t per = (uint32_t)(bsize / DEV_BSIZE);
	struct bmap bm;
	int error = 0;

	g->n = 0;
	g->block = 1;
	g->len = g->lost = 0;
	VOP_LOCK(vp, LK_SHARED);
	for (uint64_t lbn = 0; lbn < end && error == 0; lbn += n) {
		n = 1;
		error = VOP_BMAP(vp, (daddr_t)lbn, NULL, &bm);
		if (error != 0)
			break;
		if (bm.hole) {
			printf("swap: the file has a hole at byte %lu\n", lbn * bsize);
			error = EINVAL;
			break;
		}
		n = MIN((uint64_t)bm.ahead + 1, end - lbn);
		if (g->len > 0 && g->sector + g->len != (uint64_t)bm.blkno)
			run_end(g);
		if (g->len == 0)
			g->sector = (uint64_t)bm.blkno;
		g->len += n * per;
	}
	VOP_UNLOCK(vp);
	run_end(g);
	return (error);
}

/*
 * Nobody changes the file from now on, and nobody has changes that are yet to come.
 * => 0; EBUSY: it is mapped, or serves already; ETXTBSY: a program runs from it; what VOP_FSYNC says.
 */
static int
freeze(struct vnode *vp, uint64_t *size)
{
	struct vattr va;
	int error;

	VOP_LOCK(vp, LK_EXCLUSIVE);
	error = VOP_FSYNC(vp, 0, -1, FSYNC_WAIT);
	if (error == 0)
		error = VOP_GETATTR(vp, &va);
	spin_lock(&vnode_list_lock);
	if (error == 0 && (vp->v_flag & (VSWAP | VTEXT)) != 0)
		error = (vp->v_flag & VSWAP) ? EBUSY : ETXTBSY;
	else if (error == 0 && vp->v_object != NULL && vp->v_object->ref_count > 0)
		error = EBUSY;
	if (error == 0)
		vp->v_flag |= VSWAP;
	spin_unlock(&vnode_list_lock);
	VOP_UNLOCK(vp);
	*size = error == 0 ? va.va_size : 0;
	return (error);
}

/* The file is everybody's again.  => not locked; our reference goes */
static void
swap_file_release(struct vnode *vp)
{
	struct vm_object *object = vnode_pager_object(vp);

	if (object != NULL) {
		vm_object_lock(object);
		vm_object_page_remove(object, 0, object->size);
		vm_object_unlock(object);
		vm_object_deallocate(object);
	}
	spin_lock(&vnode_list_lock);
	vp->v_flag &= ~VSWAP;
	spin_unlock(&vnode_list_lock);
	vrele(vp);
}

/* The extents of a frozen file.  0 and they are the area's; EINVAL: a hole, or too small; EIO */
static int
find_extents(struct vnode *vp, uint64_t size, struct swap_area *area)
{
	struct gathering g = { .extents = NULL };
	int error = gather(vp, size, &g);

	if (error != 0)
		return (error);
	g.room = MIN(MAX(g.n, 1u), (uint32_t)EXTENTS_MAX);
	g.extents = kmalloc(g.room * sizeof(g.extents[0]), &M_SWAPFILE, M_WAITOK);
	error = gather(vp, size, &g);
	area->extents = g.extents;
	area->nextents = g.n;
	for (uint32_t i = 0; i < g.n; i++)
		area->usable += g.extents[i].count;
	if (error == 0 && area->usable < SWAP_DISK_MIN / PAGE_SIZE)
		error = EINVAL;
	if (error != 0) {
		kfree(area->extents, &M_SWAPFILE);
		return (error);
	}
	if (g.lost > 0)
		printf("swap: %lu KiB of the file lie in pieces smaller than a page and are not used\n", g.lost / 2);
	return (0);
}

/* => the mount is busy by us: it is not unmounted meanwhile */
static int
file_open(struct vnode *vp, struct swap_area *area)
{
	uint64_t size;
	int error;

	if (vp->v_mount->mnt_devvp == NULL || vp->v_op->bmap == NULL)
		return (EOPNOTSUPP);
	if (!vnode_is_writable(vp))
		return (EROFS);
	error = freeze(vp, &size);
	if (error != 0)
		return (error);
	vref(vp);
	error = find_extents(vp, size, area);
	if (error != 0) {
		swap_file_release(vp);
		return (error);
	}
	area->vp = vp;
	area->disk = vp->v_mount->mnt_devvp->v_disk;
	return (0);
}

int
swap_file_open(struct vnode *vp, struct swap_area *area)
{
	struct mount *mp;
	int error;

	if (vp->v_type != VREG)
		return (EINVAL);
	mp = vfs_busy(vp);
	if (mp == NULL)
		return (EIO);
	error = file_open(vp, area);
	vfs_unbusy(mp);
	return (error);
}

void
swap_file_close(struct swap_area *area)
{
	kfree(area->extents, &M_SWAPFILE);
	swap_file_release(area->vp);
}
