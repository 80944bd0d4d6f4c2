/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager, third part: writing the pages of a file.
 *
 *	vm_object_page_clean		pages exclusive-busy, write-protected; vnode locked exclusively
 *	    v
 *	vnode_pager_putpages ----- the filesystem's own VOP_PUTPAGES, if it has one
 *	    | EOPNOTSUPP
 *	    v
 *	vnode_pager_leaf_putpages
 *	    cut at EOF: pages past it are VM_PAGER_BAD, sectors past it are no longer dirty
 *	    dirty bits cleared, pages shared-busy: from here on they can be read, and a store has to wait
 *	    for each run of dirty sectors: VOP_WRITE with UIO_NOCOPY | IO_VMIO
 *	        the filesystem finds or allocates blocks ----> vnode_pager_output: pbuf, pmap_qenter, the disk, "vnwrite"
 *	    what was not written is dirty again, and the object's error generation goes up
 *
 * What differs from 1996, and why: every entry of rtvals is set on every way out; only dirty
 * sectors are written, so a clean part of a hole stays a hole; a failed or short write is not
 * called OK; the pages are handed down, never looked up again; the file never grows here.
 */
#include "vm/vnode_pager.h"

#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/ratelimit.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_meter.h"
#include "vm/vm_page.h"

/*
 * A cluster on its way out: which sectors of each page were dirty, and which are not on disk yet.
 */
struct putstate {
	struct vm_object *object;
	struct vm_page	**m;
	int		 count;
	uint8_t		 bits[VM_PAGER_CLUSTER_MAX];
};

/* Widen a mask of 512-byte sectors to whole device sectors. */
static uint8_t
widen(uint8_t bits, size_t sector)
{
	unsigned per = (unsigned)MIN(sector, PAGE_SIZE) / DEV_BSIZE;
	uint8_t unit = (uint8_t)((1u << per) - 1), out = 0;

	for (unsigned i = 0; i < 8; i += per)
		if (bits & (unit << i))
			out |= (uint8_t)(unit << i);
	return (out);
}

/*
 * Take over the dirty bits and let readers in.
 * => pages exclusive-busy on entry, shared-busy on return; object unlocked.
 */
static void
put_start(struct putstate *ps, int *rtvals)
{
	struct vm_object *object = ps->object;
	vm_ooffset_t size;

	vm_object_lock(object);
	size = object->un_pager.vnp.vnp_size;
	for (int i = 0; i < ps->count; i++) {
		struct vm_page *m = ps->m[i];
		vm_ooffset_t to_eof = size - IDX_TO_OFF(m->pindex);

		ps->bits[i] = m->dirty;
		if (to_eof <= 0) {
			ps->bits[i] = 0;
			rtvals[i] = VM_PAGER_BAD;
		} else if (to_eof < (vm_ooffset_t)PAGE_SIZE) {
			/* What a mapping stored behind the end is nobody's: the disk gets zeros to the sector's end. */
			ps->bits[i] &= vm_page_bits(0, to_eof);
			pmap_zero_page_area(m, to_eof, PAGE_SIZE - to_eof);
		}
		m->dirty = 0;
		vm_object_page_cleaned(m);
		vm_page_downgrade(m);
	}
	vm_object_unlock(object);
}

/*
 * One run of dirty sectors, [off, end) in bytes of the file.  Returns how far it was written;
 * *error if not to the end.
 */
static vm_ooffset_t
put_run(struct putstate *ps, vm_ooffset_t off, vm_ooffset_t end, int ioflag, int *error)
{
	struct vnode *vp = ps->object->handle;
	struct uio uio = {
		.uio_offset = off, .uio_resid = end - off, .uio_segflg = UIO_NOCOPY, .uio_rw = UIO_WRITE,
		.uio_pages = &ps->m[OFF_TO_IDX(off) - ps->m[0]->pindex],
	};

	*error = VOP_WRITE(vp, &uio, ioflag, ps->object->un_pager.vnp.vnp_cred);
	if (*error == 0 && uio.uio_resid > 0)
		*error = EIO;
	return (uio.uio_offset);
}

/* Take the bits of [off, end) out of ps->bits: they are on disk. */
static void
put_done(struct putstate *ps, vm_ooffset_t off, vm_ooffset_t end)
{
	vm_ooffset_t base = IDX_TO_OFF(ps->m[0]->pindex);

	for (; off + (vm_ooffset_t)DEV_BSIZE <= end; off += DEV_BSIZE)
		ps->bits[OFF_TO_IDX(off - base)] &= (uint8_t)~(1u << (((off - base) & PAGE_MASK) / DEV_BSIZE));
}

static bool
sector_dirty(const struct putstate *ps, vm_ooffset_t rel)
{
	return ((ps->bits[OFF_TO_IDX(rel)] >> ((rel & PAGE_MASK) / DEV_BSIZE)) & 1);
}

/*
 * Write all runs of dirty sectors.  Returns the first error; what is still set in ps->bits is not
 * on disk.
 */
static int
put_runs(struct putstate *ps, int ioflag)
{
	vm_ooffset_t base = IDX_TO_OFF(ps->m[0]->pindex), len = (vm_ooffset_t)ps->count * PAGE_SIZE, end;
	int first_error = 0;

	for (vm_ooffset_t at = 0; at < len; at = end) {
		vm_ooffset_t done;
		int error;

		end = at + DEV_BSIZE;
		if (!sector_dirty(ps, at))
			continue;
		while (end < len && sector_dirty(ps, end))
			end += DEV_BSIZE;
		done = put_run(ps, base + at, base + end, ioflag, &error);
		put_done(ps, base + at, done);
		if (error != 0 && first_error == 0)
			first_error = error;
	}
	return (first_error);
}

/* Twice in five seconds at most: a full disk under a busy mapping would otherwise fill the console. */
static void
put_report(struct vm_object *object, int error)
{
	static struct ratelimit limit = RATELIMIT_INITIALIZER(2, 5);
	uint32_t missed;

	if (ratelimit_pass(&limit, clock_ns(), &missed))
		printf("vnode_pager: inode %lu: dirty pages not written: %s; they stay in memory\n",
		    ((struct vnode *)object->handle)->v_ino, errno_name(error));
}

/* What did not reach the disk is dirty again; say how each page fared. */
static void
put_finish(struct putstate *ps, int error, int *rtvals)
{
	vm_object_lock(ps->object);
	for (int i = 0; i < ps->count; i++) {
		if (rtvals[i] == VM_PAGER_BAD)
			continue;
		rtvals[i] = ps->bits[i] == 0 ? VM_PAGER_OK : error == ENOSPC ? VM_PAGER_AGAIN : VM_PAGER_ERROR;
		for (unsigned s = 0; s < 8; s++)
			if (ps->bits[i] & (1u << s))
				vm_object_page_dirty(ps->m[i], s * DEV_BSIZE, DEV_BSIZE);
	}
	ps->object->un_pager.vnp.vnp_refused = error != 0;
	if (error != 0) {
		ps->object->error = error;
		ps->object->error_gen++;
	}
	vm_object_unlock(ps->object);
	if (error != 0)
		put_report(ps->object, error);
}

/*
 * Write pages through the filesystem.
 * => as vm_pager.h's put: consecutive, exclusive-busy, write-protected; vnode locked exclusively.
 * => every rtvals[i] is set: OK, BAD (past EOF), ERROR, or AGAIN (no room on disk).  Returns the
 *    first.
 */
static int
vnode_pager_leaf_putpages(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals)
{
	struct putstate ps = { .object = object, .m = m, .count = count };
	struct vnode *dp = NULL;
	int error;

	put_start(&ps, rtvals);
	if (VOP_BMAP((struct vnode *)object->handle, 0, &dp, NULL) == 0 && dp != NULL && dp->v_disk != NULL)
		for (int i = 0; i < count; i++)
			ps.bits[i] = widen(ps.bits[i], dp->v_disk->dk_sectorsize);
	error = put_runs(&ps, IO_VMIO | (sync ? IO_SYNC : 0));
	put_finish(&ps, error, rtvals);
	VMCNT_INC(v_vnodeout);
	VMCNT_ADD(v_vnodepgsout, count);
	return (rtvals[0]);
}

int
vnode_pager_putpages(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals)
{
	struct vnode *vp = object->handle;
	int result = VM_PAGER_ERROR;

	if (vp == NULL || (object->flags & OBJ_VNODE_GONE)) {
		/* Nowhere to write it to: what was changed is lost, and says so. */
		for (int i = 0; i < count; i++) {
			vm_page_downgrade(m[i]);
			rtvals[i] = VM_PAGER_ERROR;
		}
		return (VM_PAGER_ERROR);
	}
	if (VOP_PUTPAGES(vp, m, count, sync, rtvals, &result) == EOPNOTSUPP)
		return (vnode_pager_leaf_putpages(object, m, count, sync, rtvals));
	return (result);
}

int
vnode_pager_output(struct vnode *vp, struct vnode *dp, struct vm_page **m, size_t off, size_t len, daddr_t blkno)
{
	int pages = (int)howmany(off + len, PAGE_SIZE), error;
	struct buf *bp;

	KASSERT(off < PAGE_SIZE && len > 0 && off + len <= MAXPHYS, "vnode_pager_output of %lu bytes at %lu", len, off);
	bp = getpbuf(PBUF_OUT);
	pmap_qenter(bp->b_kvabase, m, pages);
	bp->b_npages = pages;
	pbgetvp(dp, bp);
	error = vnode_pager_transfer(vp->v_object, dp, bp, B_WRITE, blkno, bp->b_kvabase + off, len, "vnwrite");
	pmap_qremove(bp->b_kvabase, pages);
	bp->b_npages = 0;
	relpbuf(bp);
	return (error);
}
