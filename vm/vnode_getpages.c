/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vnode pager, second part: bringing the pages of a file in.
 *
 *	vm_fault / VOP_READ
 *	     |  page absent: allocate it, busy it, lock the vnode shared
 *	     v
 *	vnode_pager_getpages --- the filesystem's own VOP_GETPAGES, if it has one ---> pages filled
 *	     | EOPNOTSUPP
 *	     v
 *	vnode_pager_leaf_getpages
 *	     |-- past EOF ------------------------------> VM_PAGER_BAD
 *	     |-- no VOP_BMAP ---------------------------> vnode_pager_input_old     VOP_READ into the page
 *	     |-- vnode_pager_addr: a hole --------------> a page of zeros, no I/O
 *	     |                     several pieces,
 *	     |                     or page half valid --> vnode_pager_input_smlfs   one request a piece
 *	     |                     one run of blocks
 *	     v
 *	input_run: pbuf, pmap_qenter, VOP_STRATEGY, sleep "vnread"  ... interrupt: vnode_pager_iodone ...
 *	     zero what lies past EOF, pmap_qremove, pages valid; neighbours to the inactive queue
 *
 * Who owns what: vm_pager.h.  Everything here sleeps and takes the object's lock only for a moment;
 * pages stay busy throughout.  The caller holds the vnode's lock, shared at least, so the file's
 * size cannot change under a transfer.  BMAP comes before getpbuf(): whoever holds a pbuf asks for
 * nothing more.
 *
 * What differs from 1996, and why:
 *   - offsets are 64 bits wide; a BMAP error and a hole are two things, so an unreadable indirect
 *     block is never served as zeros;
 *   - haspage looks at every block of a page, not at the first only;
 *   - surplus pages are freed on every way out; a page past EOF gives VM_PAGER_BAD; a hole under
 *     the requested page gives zeros;
 *   - bytes between EOF and the end of its page are zero even where the disk holds old bytes up to
 *     the end of the sector;
 *   - an error in a read-ahead page never fails the page asked for: that one is read again alone;
 *   - small blocks that happen to lie together are read like large ones.
 */
#include "vm/vnode_pager.h"

#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/ratelimit.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"
#include "kernel/stage.h"
#include "vm/pmap.h"
#include "vm/vm_meter.h"
#include "vm/vm_page.h"

/* Not inlined: `make gdb` stops here. */
static __attribute__((noinline)) int vnode_pager_leaf_getpages(struct vm_object *object, struct vm_page **m, int count,
    int reqpage);

/* Where one page of a file lies on disk, and how much lies beside it. */
struct vnode_run {
	enum { RUN_DATA, RUN_HOLE, RUN_PIECES } kind;
	/* RUN_DATA: of the page's first byte, on the device, 512-byte units */
	daddr_t	blkno;
	int	behind, ahead;	/* RUN_DATA: whole pages contiguous before and after, cut at EOF */
};

/* Free all pages but those in [keep, keep + nkeep). */
static void
free_surplus(struct vm_page **m, int count, int keep, int nkeep)
{
	for (int i = 0; i < count; i++)
		if (i < keep || i >= keep + nkeep)
			vnode_pager_freepage(m[i]);
}

/* ---- where the blocks are ---- */

/* A page inside one block, or one block after the other: pages per block is a whole number. */
static void
run_of_large_blocks(const struct bmap *bm, uint32_t pages_per_block, uint32_t page_in_block, vm_pindex_t pages_to_eof,
    struct vnode_run *run)
{
	uint64_t ahead = (uint64_t)bm->ahead * pages_per_block + (pages_per_block - 1 - page_in_block);

	run->kind = bm->hole ? RUN_HOLE : RUN_DATA;
	run->blkno = bm->blkno + (daddr_t)page_in_block * (PAGE_SIZE / DEV_BSIZE);
	/* The last block may reach past EOF. */
	run->ahead = (int)MIN(ahead, MIN(pages_to_eof - 1, (uint64_t)VM_PAGER_CLUSTER_MAX));
	run->behind = (int)MIN((uint64_t)bm->behind * pages_per_block + page_in_block, (uint64_t)VM_PAGER_CLUSTER_MAX);
}

/*
 * Several blocks to a page: is the page one run, or one hole?  `bm` describes its first block.
 * blocks_to_eof counts from that block on, itself included.
 */
static void
run_of_small_blocks(const struct bmap *bm, uint32_t blocks_per_page, uint64_t blocks_to_eof, struct vnode_run *run)
{
	uint64_t in_page = MIN((uint64_t)blocks_per_page, blocks_to_eof);
	uint64_t beyond;

	run->behind = run->ahead = 0;
	if ((uint64_t)bm->ahead + 1 < in_page) {
		run->kind = RUN_PIECES;
		return;
	}
	run->kind = bm->hole ? RUN_HOLE : RUN_DATA;
	run->blkno = bm->blkno;
	beyond = bm->ahead + 1 - in_page;	/* contiguous blocks after this page */
	/* The page with EOF in it needs fewer blocks to be whole. */
	run->ahead = (int)MIN(bm->ahead + 1 == blocks_to_eof ? howmany(beyond, blocks_per_page) :
	    beyond / blocks_per_page, (uint64_t)VM_PAGER_CLUSTER_MAX);
	run->behind = (int)MIN(bm->behind / blocks_per_page, (uint32_t)VM_PAGER_CLUSTER_MAX);
}

/*
 * Where does the page at byte `address` of the file lie?
 *
 * => vnode locked; the vnode has an object; address page aligned and before EOF.  May read metadata
 *    and sleep.
 * => 0 and *run filled; or the errno of VOP_BMAP (EIO, EUCLEAN, EFBIG, EOPNOTSUPP).  A hole is not
 *    an error.
 */
static int
vnode_pager_addr(struct vnode *vp, vm_ooffset_t address, struct vnode_run *run)
{
	vm_ooffset_t size = vp->v_object->un_pager.vnp.vnp_size;
	uint32_t bsize = vp->v_mount->mnt_stat.f_iosize;
	struct bmap bm;
	int error;

	KASSERT(address < size, "vnode_pager_addr: offset %ld is past EOF", address);
	error = VOP_BMAP(vp, address / bsize, NULL, &bm);
	if (error != 0)
		return (error);
	STAGE(BMAP, vp, address / bsize, bm.hole ? -1 : bm.blkno, bm.ahead);
	KASSERT((uint64_t)address / bsize + bm.ahead < howmany((uint64_t)size, bsize),
	    "VOP_BMAP of %s reports a run past EOF", vp->v_op->name);
	if (bsize >= PAGE_SIZE)
		run_of_large_blocks(&bm, bsize / PAGE_SIZE, (uint32_t)(address % bsize) / PAGE_SIZE,
		    howmany((uint64_t)(size - address), PAGE_SIZE), run);
	else
		run_of_small_blocks(&bm, PAGE_SIZE / bsize, howmany((uint64_t)(size - address), bsize), run);
	return (0);
}

/*
 * Does any block of this page hold data?  For a page whose first block alone does not tell.
 * Returns an errno.
 */
static int
any_block_has_data(struct vnode *vp, vm_ooffset_t address, bool *data)
{
	vm_ooffset_t end = MIN(address + (vm_ooffset_t)PAGE_SIZE, vp->v_object->un_pager.vnp.vnp_size);
	uint32_t bsize = vp->v_mount->mnt_stat.f_iosize;

	*data = false;
	for (; address < end && !*data; address += bsize) {
		struct bmap bm;
		int error = VOP_BMAP(vp, address / bsize, NULL, &bm);

		if (error != 0)
			return (error);
		STAGE(BMAP, vp, address / bsize, bm.hole ? -1 : bm.blkno, bm.ahead);
		*data = !bm.hole;
	}
	return (0);
}

/*
 * Could the page be had from the file, and which neighbours with it?
 * => vnode locked.  A page that is a hole in all its blocks, or past EOF, or whose filesystem is
 *    gone: PAGER_HAS_NOT.
 */
enum vm_pager_has
vnode_pager_haspage(struct vm_object *object, vm_pindex_t pindex, int *before, int *after)
{
	struct vnode *vp = object->handle;
	struct vnode_run run;
	bool data;
	int error;

	*before = *after = 0;
	if (vp == NULL || vp->v_mount == NULL || (object->flags & OBJ_VNODE_GONE) ||
	    IDX_TO_OFF(pindex) >= object->un_pager.vnp.vnp_size)
		return (PAGER_HAS_NOT);
	error = vnode_pager_addr(vp, IDX_TO_OFF(pindex), &run);
	if (error == EOPNOTSUPP)
		return (PAGER_HAS);		/* VOP_READ will tell */
	if (error != 0)
		return (PAGER_HAS_ERROR);
	if (run.kind == RUN_PIECES) {
		error = any_block_has_data(vp, IDX_TO_OFF(pindex), &data);
		return (error != 0 ? PAGER_HAS_ERROR : data ? PAGER_HAS : PAGER_HAS_NOT);
	}
	if (run.kind == RUN_HOLE)
		return (PAGER_HAS_NOT);
	*before = run.behind;
	*after = run.ahead;
	return (PAGER_HAS);
}

/* ---- transfers ---- */

/* Between a completion and the thread that waits for it. */
static struct spinlock iodone_lock = SPINLOCK_INITIALIZER("vniodone", RANK_BIO);

/* The disk is done with a pager's buffer.  => interrupt context. */
static void
vnode_pager_iodone(struct buf *bp)
{
	spin_lock(&iodone_lock);
	bp->b_flags |= B_DONE;
	wakeup(bp);
	spin_unlock(&iodone_lock);
}

/*
 * One transfer, start to end: `len` bytes between `blkno` of the device and `data` inside bp's
 * window.
 * => direction: B_READ or B_WRITE; sleeps in `wmesg`.  Returns 0 or the device's errno.
 */
int
vnode_pager_transfer(struct vm_object *object, struct vnode *dp, struct buf *bp, uint32_t direction, daddr_t blkno,
    vm_offset_t data, size_t len, const char *wmesg)
{
	int error;

	bp->b_flags = (bp->b_flags & (B_PBUF | B_BUSY)) | direction | B_CALL;
	bp->b_iodone = vnode_pager_iodone;
	bp->b_error = 0;
	bp->b_blkno = blkno;
	bp->b_data = (void *)data;
	bp->b_bcount = len;
	if (direction == B_READ && bp->b_rcred == NOCRED)
		bp->b_rcred = crhold(object->un_pager.vnp.vnp_cred);
	if (direction == B_WRITE && bp->b_wcred == NOCRED)
		bp->b_wcred = crhold(object->un_pager.vnp.vnp_cred);
	error = VOP_STRATEGY(dp, bp);
	if (error != 0)
		return (error);
	spin_lock(&iodone_lock);
	while ((bp->b_flags & B_DONE) == 0)
		tsleep(bp, &iodone_lock.lk, wmesg, 0);
	spin_unlock(&iodone_lock);
	if (bp->b_flags & B_ERROR)
		return (bp->b_error != 0 ? bp->b_error : EIO);
	return (0);
}

static void
report_error(struct vm_object *object, struct vm_page *m, int error)
{
	static struct ratelimit limit = RATELIMIT_INITIALIZER(5, 1);
	struct vnode *vp = object->handle;
	uint32_t missed;

	if (ratelimit_pass(&limit, clock_ns(), &missed))
		printf("vnode_pager: inode %lu: page %lu (byte %ld): %s\n", vp->v_ino, m->pindex,
		    IDX_TO_OFF(m->pindex), errno_name(error));
}

/* The page has its contents.  => exclusive-busy by us, unmapped. */
static void
page_filled(struct vm_page *m)
{
	pmap_clear_modify(m);
	m->valid = VM_PAGE_BITS_ALL;
	m->dirty = 0;
	vm_page_flag_clear(m, PG_ZERO);
}

static size_t
sector_size(const struct vnode *dp)
{
	return (dp->v_disk != NULL ? dp->v_disk->dk_sectorsize : DEV_BSIZE);
}

/*
 * Read consecutive pages that lie one after the other on disk, in one request.
 *
 * => pages m[0..count-1]: exclusive-busy by us, not valid, inside EOF; no object locked.
 * => sleeps in "pbufin" and "vnread".
 * => 0: all have their contents, zeros past EOF; still busy.  Else an errno, and nothing is known
 *    of them.
 */
static int
input_run(struct vm_object *object, struct vnode *dp, struct vm_page **m, int count, daddr_t blkno)
{
	vm_ooffset_t to_eof = object->un_pager.vnp.vnp_size - IDX_TO_OFF(m[0]->pindex);
	size_t len = MIN((size_t)count * PAGE_SIZE, (size_t)to_eof);
	struct buf *bp = getpbuf(PBUF_IN);
	vm_offset_t kva = bp->b_kvabase;
	int error;

	pmap_qenter(kva, m, count);
	bp->b_npages = count;
	pbgetvp(dp, bp);
	VMCNT_INC(v_vnodein);
	VMCNT_ADD(v_vnodepgsin, count);
	error = vnode_pager_transfer(object, dp, bp, B_READ, blkno, kva, roundup(len, sector_size(dp)), "vnread");
	if (error == 0 && len < count * PAGE_SIZE)
		memset((char *)kva + len, 0, count * PAGE_SIZE - len);
	pmap_qremove(kva, count);
	bp->b_npages = 0;
	relpbuf(bp);
	return (error);
}

/* One piece of a page that is to be filled. */
struct piece {
	uint16_t	off, len;	/* in the page, bytes */
	bool		hole;
	daddr_t		blkno;		/* 512-byte units */
};
#define PIECES_MAX	(PAGE_SIZE / DEV_BSIZE)

/*
 * Cut the invalid part of a page, up to EOF, into pieces that are one hole or one run of the disk
 * each.
 * => returns their number, or minus an errno.
 */
static int
page_pieces(struct vm_object *object, struct vm_page *m, size_t unit, struct piece pieces[PIECES_MAX])
{
	struct vnode *vp = object->handle;
	uint32_t bsize = vp->v_mount->mnt_stat.f_iosize;
	vm_ooffset_t start = IDX_TO_OFF(m->pindex);
	struct bmap bm = { .hole = true };
	daddr_t mapped = -1;			/* logical block that bm describes */
	int n = 0;

	for (size_t off = 0; off < PAGE_SIZE && start + (vm_ooffset_t)off < object->un_pager.vnp.vnp_size; off += unit) {
		daddr_t lbn = (start + off) / bsize;
		struct piece now = { .off = off, .len = unit }, *last = n > 0 ? &pieces[n - 1] : NULL;

		if ((vm_page_bits(off, unit) & ~m->valid) == 0)
			continue;
		if (lbn != mapped) {
			int error = VOP_BMAP(vp, lbn, NULL, &bm);

			if (error != 0)
				return (-error);
			STAGE(BMAP, vp, lbn, bm.hole ? -1 : bm.blkno, bm.ahead);
			mapped = lbn;
		}
		now.hole = bm.hole;
		now.blkno = bm.blkno + ((start + off) % bsize) / DEV_BSIZE;
		if (last != NULL && last->hole == now.hole && last->off + last->len == now.off &&
		    (now.hole || last->blkno + (daddr_t)(last->len / DEV_BSIZE) == now.blkno))
			last->len += unit;
		else
			pieces[n++] = now;
	}
	return (n);
}

/*
 * Fill one page piece by piece: its blocks are smaller than a page and lie apart, or part of it is
 * valid already.
 *
 * => m: exclusive-busy by us.  Sectors that are valid are left alone, dirty or not (B5).
 * => sleeps in "pbufin" and "vnsrd".
 * => VM_PAGER_OK: fully valid.  VM_PAGER_ERROR: the pieces that were read are valid, the others are
 *    not.
 */
static int
vnode_pager_input_smlfs(struct vm_object *object, struct vnode *dp, struct vm_page *m)
{
	struct piece pieces[PIECES_MAX];
	size_t unit = MIN(MAX(sector_size(dp), DEV_BSIZE), PAGE_SIZE);
	int n = page_pieces(object, m, unit, pieces), error = 0;
	struct buf *bp;

	if (n < 0) {
		report_error(object, m, -n);
		return (VM_PAGER_ERROR);
	}
	bp = getpbuf(PBUF_IN);
	pmap_qenter(bp->b_kvabase, &m, 1);
	bp->b_npages = 1;
	pbgetvp(dp, bp);
	for (int i = 0; i < n && error == 0; i++) {
		const struct piece *p = &pieces[i];

		if (p->hole)
			memset((char *)bp->b_kvabase + p->off, 0, p->len);
		else
			error = vnode_pager_transfer(object, dp, bp, B_READ, p->blkno, bp->b_kvabase + p->off, p->len,
			    "vnsrd");
		if (error == 0)
			vm_page_set_validclean(m, p->off, p->len);
	}
	if (error == 0) {
		vm_ooffset_t to_eof = object->un_pager.vnp.vnp_size - IDX_TO_OFF(m->pindex);

		if (to_eof < (vm_ooffset_t)PAGE_SIZE)
			memset((char *)bp->b_kvabase + to_eof, 0, PAGE_SIZE - to_eof);
	}
	pmap_qremove(bp->b_kvabase, 1);
	bp->b_npages = 0;
	relpbuf(bp);
	vm_page_flag_clear(m, PG_ZERO);
	VMCNT_INC(v_vnodein);
	VMCNT_INC(v_vnodepgsin);
	VMCNT_INC(v_vnodesmlfs);
	if (error != 0) {
		report_error(object, m, error);
		return (VM_PAGER_ERROR);
	}
	pmap_clear_modify(m);
	m->valid = VM_PAGE_BITS_ALL;	/* past EOF zeros are what the file holds */
	return (VM_PAGER_OK);
}

/*
 * Fill one page through VOP_READ: the filesystem has no BMAP.
 *
 * => m: exclusive-busy by us.  The filesystem's VOP_READ must not look for this page in this
 *    object: it has no pages of its own (or another object's).
 * => VM_PAGER_BAD past EOF; VM_PAGER_AGAIN when the filesystem was short of memory; VM_PAGER_ERROR
 *    when the read fails or stops before EOF without a byte.
 */
static int
vnode_pager_input_old(struct vm_object *object, struct vm_page *m)
{
	vm_ooffset_t start = IDX_TO_OFF(m->pindex), to_eof = object->un_pager.vnp.vnp_size - start;
	struct iovec iov;
	struct uio uio;
	size_t want, got;
	int error;

	if (to_eof <= 0)
		return (VM_PAGER_BAD);
	want = MIN((size_t)to_eof, PAGE_SIZE);
	uio_init_kernel(&uio, &iov, VM_PAGE_TO_DMAP(m), want, start, UIO_READ);
	error = VOP_READ((struct vnode *)object->handle, &uio, 0, object->un_pager.vnp.vnp_cred);
	got = want - uio.uio_resid;
	if (error == 0 && got == 0)
		error = EIO;		/* the file is longer than this, says its size */
	VMCNT_INC(v_vnodein);
	VMCNT_INC(v_vnodepgsin);
	VMCNT_INC(v_vnodeold);
	if (error != 0) {
		vm_page_flag_clear(m, PG_ZERO);
		if (error == EAGAIN)
			return (VM_PAGER_AGAIN);
		report_error(object, m, error);
		return (VM_PAGER_ERROR);
	}
	pmap_zero_page_area(m, got, PAGE_SIZE - got);
	page_filled(m);
	return (VM_PAGER_OK);
}

/* ---- getpages ---- */

/*
 * Bring pages in; vm_pager.h has the contract.  The filesystem may do it itself.
 * => vnode locked shared at least; object unlocked.
 */
int
vnode_pager_getpages(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	struct vnode *vp = object->handle;
	int result = VM_PAGER_ERROR;

	if (vp == NULL || (object->flags & OBJ_VNODE_GONE)) {
		free_surplus(m, count, reqpage, 1);
		return (VM_PAGER_BAD);
	}
	if (VOP_GETPAGES(vp, m, count, reqpage, &result) == EOPNOTSUPP)
		return (vnode_pager_leaf_getpages(object, m, count, reqpage));
	return (result);
}

/* A page that lies in a hole. */
static int
input_hole(struct vm_page *m)
{
	if ((m->flags & PG_ZERO) == 0)
		pmap_zero_page(m);
	pmap_clear_modify(m);
	m->valid = VM_PAGE_BITS_ALL;
	VMCNT_INC(v_vnodehole);
	return (VM_PAGER_OK);
}

/* All go to the inactive queue at once; whoever waits for one of the neighbours finds it there. */
static void
finish_run(struct vm_page **m, int count, int reqpage)
{
	for (int i = 0; i < count; i++)
		page_filled(m[i]);
	vm_page_deactivate_run(m, count);
	for (int i = 0; i < count; i++)
		if (i != reqpage)
			PAGE_WAKEUP(m[i]);
}

/*
 * A cluster with a bad sector in it costs two requests, and a reader that comes up to it would pay them for
 * every page.  So the object remembers the pages of which one is bad, its suspects, and each later read
 * takes at most half of them: some are found good, or the rest is the new half.
 *
 *	suspects        [...........x....)		x: the bad one
 *	read, good      |------|
 *	suspects               [....x....)
 *	read, failed           |----|			and its first page alone
 *	suspects                [...x)
 */

/* Narrow the cluster [*first, *end) around `req` to what may come.  => object unlocked; indices of the object */
static void
avoid_suspects(struct vm_object *object, vm_pindex_t req, vm_pindex_t *first, vm_pindex_t *end)
{
	vm_pindex_t bad, bad_end;

	if (__atomic_load_n(&object->un_pager.vnp.vnp_bad_end, __ATOMIC_RELAXED) == 0)
		return;
	vm_object_rlock(object);
	bad = object->un_pager.vnp.vnp_bad;
	bad_end = object->un_pager.vnp.vnp_bad_end;
	vm_object_unlock(object);
	if (req < bad) {
		*end = MIN(*end, bad);
	} else if (req >= bad_end) {
		*first = MAX(*first, bad_end);
	} else {
		*first = req;
		*end = MIN(*end, req + MAX((bad_end - req) / 2, 1ul));
	}
}

/* What the reading of [first, end) says about the suspects.  => object unlocked */
static void
note_suspects(struct vm_object *object, vm_pindex_t first, vm_pindex_t end, bool good)
{
	vm_pindex_t *bad = &object->un_pager.vnp.vnp_bad, *bad_end = &object->un_pager.vnp.vnp_bad_end;

	if (good && __atomic_load_n(bad_end, __ATOMIC_RELAXED) == 0)
		return;
	vm_object_lock(object);
	if (!good) {
		*bad = first;
		*bad_end = end;
	} else if (first <= *bad && end > *bad) {
		*bad = end;
	} else if (first < *bad_end && end >= *bad_end) {
		*bad_end = first;
	}
	if (*bad >= *bad_end)
		*bad = *bad_end = 0;
	vm_object_unlock(object);
}

/*
 * Read one run; when the disk fails it, read the requested page alone, because the bad sector may
 * be a neighbour's.
 * => as input_run; all pages but the requested one are finished or freed on return.
 */
static int
input_cluster(struct vm_object *object, struct vnode *dp, struct vm_page **m, int count, int reqpage, daddr_t blkno)
{
	vm_pindex_t first = m[0]->pindex, end = first + count, req = m[reqpage]->pindex;
	int error = input_run(object, dp, m, count, blkno);

	note_suspects(object, first, end, error == 0);
	if (error != 0 && count > 1) {
		VMCNT_INC(v_vnoderetry);
		free_surplus(m, count, reqpage, 1);
		blkno += (daddr_t)reqpage * (PAGE_SIZE / DEV_BSIZE);
		m += reqpage;
		count = 1;
		reqpage = 0;
		error = input_run(object, dp, m, 1, blkno);
		note_suspects(object, req, req + 1, error == 0);
	}
	if (error != 0) {
		report_error(object, m[reqpage], error);
		return (VM_PAGER_ERROR);
	}
	finish_run(m, count, reqpage);
	return (VM_PAGER_OK);
}

/*
 * Bring pages in from the blocks of a local filesystem.
 *
 * => as vm_pager.h's get; vnode locked.
 * => VM_PAGER_BAD: at or past EOF, or the filesystem is gone.  VM_PAGER_ERROR: BMAP or the disk
 *    failed.
 */
static int
vnode_pager_leaf_getpages(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	struct vnode *vp = object->handle, *dp = NULL;
	struct vm_page *req = m[reqpage];
	vm_ooffset_t foff = IDX_TO_OFF(req->pindex);
	struct vnode_run run = { .kind = RUN_PIECES };
	vm_pindex_t from, to;
	int first, end, error;

	if (vp->v_mount == NULL || foff >= object->un_pager.vnp.vnp_size) {
		free_surplus(m, count, reqpage, 1);
		return (VM_PAGER_BAD);
	}
	error = VOP_BMAP(vp, 0, &dp, NULL);
	if (error == 0 && req->valid == 0)
		error = vnode_pager_addr(vp, foff, &run);
	if (error != 0 || run.kind != RUN_DATA) {
		free_surplus(m, count, reqpage, 1);
		if (error == EOPNOTSUPP)
			return (vnode_pager_input_old(object, req));
		if (error != 0) {
			report_error(object, req, error);
			return (VM_PAGER_ERROR);
		}
		return (run.kind == RUN_HOLE ? input_hole(req) : vnode_pager_input_smlfs(object, dp, req));
	}
	from = req->pindex - MIN(reqpage, run.behind);
	to = req->pindex + MIN(run.ahead + 1, count - reqpage);
	avoid_suspects(object, req->pindex, &from, &to);
	first = reqpage - (int)(req->pindex - from);
	end = reqpage + (int)(to - req->pindex);
	free_surplus(m, count, first, end - first);
	return (input_cluster(object, dp, m + first, end - first, reqpage - first,
	    run.blkno - (daddr_t)(reqpage - first) * (daddr_t)(PAGE_SIZE / DEV_BSIZE)));
}
