/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing files.  A file's bytes are written twice in their life, and both ways come through
 * ext2_write():
 *
 *	UIO_SYSSPACE	somebody writes: room is promised, the size grows, the bytes go into the object's pages; no block is placed
 *	UIO_NOCOPY	the pager brings dirty pages: blocks are found or placed, and the pages go to the disk where they are
 *
 * Growing.  Behind EOF in the last block lie old bytes on the disk, and behind EOF in the last page
 * lies whatever a mapping stored there.  Both would become part of the file.  So the old tail is
 * zeroed, in pages, and reaches the disk with them: always where the last block has a place; and
 * where it has none, if the page is there and holds something.
 *
 * A block bigger than a page, or a page with only some sectors dirty: a block that is placed for
 * them is written whole, from the page as far as the pager's pages cover it, zeros elsewhere.  Only
 * then does a pointer lead to it.
 *
 * Locks: the vnode's, exclusively.  Pages are waited for only outside of ext2_begin() and
 * ext2_end(): the pager holds pages when it comes here.
 */
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vnode_pager.h"

#define WRITE_CHUNK	(256 * KiB)	/* promise, grow and copy so much at a time */
#define SMALL_FILE_MAX	(2 * GiB - 1)	/* bytes, without large_file */

uint64_t
ext2_size_max(const struct ext2_mount *em)
{
	return (em->em_rev == 0 ? SMALL_FILE_MAX : em->em_size_max);
}

/* ---- growing ---- */

/* Does the resident page hold anything but zeros in [from, to)?  => the range lies in one page */
static bool
page_holds_something(struct vnode *vp, uint64_t from, uint64_t to)
{
	struct vm_object *object = vnode_pager_live(vp);
	const char *bytes;
	struct vm_page *m;
	bool found = false;

	if (object == NULL)
		return (false);
	vm_object_rlock(object);
	m = vm_page_lookup(object, OFF_TO_IDX(from));
	if (m != NULL && m->valid != 0) {
		bytes = (const char *)VM_PAGE_TO_DMAP(m);
		for (uint64_t at = from; at < to && !found; at++)
			found = bytes[at & PAGE_MASK] != 0;
	}
	vm_object_unlock(object);
	return (found);
}

/*
 * What follows EOF in the last block becomes zero on the disk: before a size that makes it part of
 * the file can get there by anybody's sync.  Once for a file, until it is cut down again.
 *
 * => the size is still the old one; for a moment the object reaches to the end of the block.  0 or
 *    an errno.
 */
static int
slack_to_disk(struct ext2_inode *ip, struct ucred *cred)
{
	uint64_t old = ip->i_size, end = roundup(old, (uint64_t)ip->i_em->em_bsize);
	struct vnode *vp = ip->i_vnode;
	struct bmap bm;
	int error;

	if (ip->i_slack_zero || old == end)
		return (0);
	error = ext2_bmap_inode(ip, (daddr_t)(old >> ip->i_em->em_bshift), &bm);
	if (error != 0 || bm.hole)
		return (error);
	vnode_pager_setsize(vp, (vm_ooffset_t)end);
	error = vnode_object_zero(vp, (off_t)old, (off_t)end, cred);
	if (error == 0)
		error = vm_object_page_clean(vp->v_object, OFF_TO_IDX(old), OFF_TO_IDX(round_page(end)), OBJPC_SYNC);
	vnode_pager_setsize(vp, (vm_ooffset_t)old);
	ip->i_slack_zero = error == 0;
	return (error);
}

/*
 * Zero what lies between the old EOF and `to`.
 *
 * => the size is the new one already.  0, EIO, EUCLEAN, ENOSPC, EAGAIN.
 */
static int
zero_old_tail(struct ext2_inode *ip, uint64_t old, uint64_t to, struct ucred *cred)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t block_end = MIN(roundup(old, (uint64_t)em->em_bsize), to), page_end = MIN(round_page(old), to);
	struct bmap bm;
	int error;

	if (old < block_end) {
		error = ext2_bmap_inode(ip, (daddr_t)(old >> em->em_bshift), &bm);
		if (error != 0)
			return (error);
		if (!bm.hole || ext2_delay_has(ip, old >> em->em_bshift))
			error = vnode_object_zero(ip->i_vnode, (off_t)old, (off_t)block_end, cred);
		if (error != 0)
			return (error);
	}
	if (old >= page_end || !page_holds_something(ip->i_vnode, old, page_end))
		return (0);
	error = ext2_delay_add(ip, cred, old >> em->em_bshift, ((page_end - 1) >> em->em_bshift) - (old >> em->em_bshift) + 1);
	return (error != 0 ? error : vnode_object_zero(ip->i_vnode, (off_t)old, (off_t)page_end, cred));
}

/* Take the size back, or cut it down in memory: pages first, then what was promised for them. */
static void
size_cut(struct ext2_inode *ip, uint64_t size)
{
	vnode_pager_setsize(ip->i_vnode, (vm_ooffset_t)size);
	ip->i_size = size;
	ip->i_slack_zero = false;	/* the disk still has there what was cut off */
	ext2_delay_remove(ip, howmany(size, (uint64_t)ip->i_em->em_bsize), UINT64_MAX);
}

/*
 * Make the file longer, zeroing the old tail as far as `zero_to`.  => on error it is as long as
 * before.
 */
static int
size_grow(struct ext2_inode *ip, uint64_t size, uint64_t zero_to, struct ucred *cred)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t old = ip->i_size;
	int error;

	if (size > SMALL_FILE_MAX && ip->i_type == VREG && (em->em_rocompat & EXT2_ROCOMPAT_LARGE_FILE) == 0) {
		error = ext2_super_set_large_file(em);
		if (error != 0)
			return (error);
	}
	if (ip->i_uncut) {
		error = ext2_truncate_blocks(ip, howmany(old, (uint64_t)em->em_bsize));
		if (error != 0)
			return (error);
	}
	error = slack_to_disk(ip, cred);
	if (error != 0)
		return (error);
	vnode_pager_setsize(ip->i_vnode, (vm_ooffset_t)size);
	ip->i_size = size;
	error = zero_old_tail(ip, old, MIN(zero_to, size), cred);
	if (error != 0)
		size_cut(ip, old);
	return (error);
}

int
ext2_setsize(struct vnode *vp, uint64_t size, struct ucred *cred)
{
	struct ext2_inode *ip = VTOI(vp);
	struct ext2_mount *em = ip->i_em;
	bool shrink = size < ip->i_size;
	int error = 0;

	if (size > ext2_size_max(em))
		return (EFBIG);
	if (shrink)
		size_cut(ip, size);
	else
		error = size_grow(ip, size, size, cred);
	if (error != 0)
		return (error);
	ip->i_mtime = ip->i_ctime = (int64_t)clock_wall_seconds();
	ip->i_mtime_set = true;
	error = ext2_begin(em);
	if (error != 0)
		return (error);
	ext2_iupdate(ip, false);
	ext2_end(em);
	return (shrink ? ext2_truncate_blocks(ip, howmany(size, (uint64_t)em->em_bsize)) : 0);
}

/* ---- somebody writes ---- */

/*
 * Bytes were copied into pages: the inode says so.  They change more of it than its times only if
 * they made it longer.
 */
static int
write_noted(struct ext2_inode *ip, bool grew)
{
	int error = ext2_begin(ip->i_em);

	if (error != 0)
		return (error);
	ip->i_mtime = ip->i_ctime = (int64_t)clock_wall_seconds();
	ip->i_mtime_set = true;
	ext2_iupdate(ip, !grew);
	ext2_end(ip->i_em);
	return (0);
}

/* Write n bytes.  => n > 0, n <= uio_resid, all inside what the format can address */
static int
write_chunk(struct ext2_inode *ip, struct uio *uio, size_t n, int ioflag, struct ucred *cred)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t off = (uint64_t)uio->uio_offset, end = off + n, old = ip->i_size, first = off >> em->em_bshift;
	size_t rest = uio->uio_resid - n;
	int error, error2;

	error = ext2_delay_add(ip, cred, first, ((end - 1) >> em->em_bshift) - first + 1);
	if (error != 0)
		return (error);
	if (end > old)
		error = size_grow(ip, end, off, cred);
	if (error == 0) {
		uio->uio_resid = n;
		error = vnode_object_write(ip->i_vnode, uio, ioflag, cred);
		uio->uio_resid += rest;
	}
	if ((uint64_t)uio->uio_offset < end && end > old)
		size_cut(ip, MAX(old, (uint64_t)uio->uio_offset));
	if ((uint64_t)uio->uio_offset == off)
		return (error);
	error2 = write_noted(ip, ip->i_size != old);
	return (error != 0 ? error : error2);
}

static int
write_copy(struct ext2_inode *ip, struct uio *uio, int ioflag, struct ucred *cred)
{
	uint64_t max = ext2_size_max(ip->i_em), bsize = ip->i_em->em_bsize, chunk = WRITE_CHUNK;
	int error = 0;

	if (ip->i_type != VREG)
		return (ip->i_type == VDIR ? EISDIR : EINVAL);
	if (uio->uio_offset < 0)
		return (EINVAL);
	while (error == 0 && uio->uio_resid > 0) {
		uint64_t off = (uint64_t)uio->uio_offset;

		if (off >= max)
			return (EFBIG);
		error = write_chunk(ip, uio, MIN(MIN(uio->uio_resid, chunk - off % chunk), max - off), ioflag, cred);
		if (error == ENOSPC && chunk > bsize) {
			/* Not all of it has room: perhaps less has. */
			chunk = bsize;
			error = 0;
		}
	}
	return (error);
}

/* ---- the pager writes ---- */

/* Zero a range of the device. */
static int
zero_blocks(struct ext2_mount *em, uint64_t byte, uint64_t len)
{
	int error = 0;

	for (; len > 0 && error == 0; len -= MIN(len, (uint64_t)em->em_bsize), byte += em->em_bsize)
		error = disk_rw(em->em_devvp->v_disk, byte / DEV_BSIZE, em->em_zeros, MIN(len, (uint64_t)em->em_bsize), B_WRITE);
	return (error);
}

/*
 * Write the blocks that were just placed for [lbn, lbn + count): pages where the pager brought
 * them, zeros around.
 *
 * => the blocks belong to nobody yet.
 */
static int
fresh_blocks_write(struct ext2_inode *ip, struct uio *uio, uint64_t lbn, uint32_t block, uint32_t count)
{
	struct ext2_mount *em = ip->i_em;
	uint64_t start = lbn << em->em_bshift, end = start + ((uint64_t)count << em->em_bshift);
	uint64_t pages = trunc_page(uio->uio_offset), pages_end = round_page(uio->uio_offset + (off_t)uio->uio_resid);
	uint64_t from = MAX(start, pages), to = MIN(end, pages_end), dev = (uint64_t)block << em->em_bshift;
	int error;

	KASSERT(from < to, "inode %lu: no page for block %lu", ip->i_number, lbn);
	error = zero_blocks(em, dev, from - start);
	if (error == 0)
		error = zero_blocks(em, dev + (to - start), end - to);
	if (error == 0)
		error = vnode_pager_output(ip->i_vnode, em->em_devvp, uio->uio_pages + OFF_TO_IDX(from - pages), from & PAGE_MASK,
		    to - from, (daddr_t)((dev + (from - start)) / DEV_BSIZE));
	return (error);
}

/*
 * The pager's bytes begin in a hole that goes on for `count` blocks: place blocks for some of them.
 * Advances the uio.
 */
static int
write_hole(struct ext2_inode *ip, struct uio *uio, uint64_t lbn, uint32_t count, struct ucred *cred)
{
	struct ext2_mount *em = ip->i_em;
	uint32_t block, got, done = 0;
	int error;

	error = ext2_delay_add(ip, cred, lbn, count);
	if (error == ENOSPC && count > 1) {
		count = 1;
		error = ext2_delay_add(ip, cred, lbn, count);
	}
	if (error == 0)
		error = ext2_place(ip, lbn, count, &block, &got);
	if (error != 0)
		return (error);
	error = fresh_blocks_write(ip, uio, lbn, block, got);
	if (error == 0)
		error = ext2_begin(em);
	if (error == 0) {
		error = ext2_enter(ip, lbn, block, got, &done);
		ext2_end(em);
	}
	if (done < got)
		ext2_bfree_now(em, block + done, got - done);
	ext2_delay_remove(ip, lbn, done);
	if (done > 0)
		uio_skip(uio, MIN(uio->uio_resid, (size_t)(((lbn + done) << em->em_bshift) - (uint64_t)uio->uio_offset)));
	return (error);
}

/* A mapping was stored through: nobody has set the time yet. */
static void
mapped_store_noted(struct ext2_inode *ip)
{
	if (ip->i_mtime_set || ext2_begin(ip->i_em) != 0)
		return;
	ip->i_mtime = ip->i_ctime = (int64_t)clock_wall_seconds();
	ext2_iupdate(ip, true);
	ext2_end(ip->i_em);
}

/* => whole sectors, not past the file's last block; uio_pages: wholly valid, shared-busy */
static int
write_pages(struct ext2_inode *ip, struct uio *uio, struct ucred *cred)
{
	struct ext2_mount *em = ip->i_em;
	int error = 0;

	KASSERT(uio->uio_offset % DEV_BSIZE == 0 && uio->uio_resid % DEV_BSIZE == 0, "inode %lu: %zu bytes at %ld from the pager",
	    ip->i_number, uio->uio_resid, uio->uio_offset);
	mapped_store_noted(ip);
	while (uio->uio_resid > 0 && error == 0) {
		uint64_t off = (uint64_t)uio->uio_offset, lbn = off >> em->em_bshift, in = off & (em->em_bsize - 1);
		uint64_t blocks = ((off + uio->uio_resid - 1) >> em->em_bshift) - lbn + 1, n;
		struct bmap bm;

		if (off >= roundup(ip->i_size, (uint64_t)em->em_bsize))
			return (EIO);
		error = ext2_bmap_inode(ip, (daddr_t)lbn, &bm);
		if (error != 0)
			break;
		if (bm.hole) {
			error = write_hole(ip, uio, lbn, (uint32_t)MIN((uint64_t)bm.ahead + 1, blocks), cred);
			continue;
		}
		n = MIN((((uint64_t)bm.ahead + 1) << em->em_bshift) - in, (uint64_t)uio->uio_resid);
		n = MIN(n, MAXPHYS - (off & PAGE_MASK));
		error = vnode_pager_output(ip->i_vnode, em->em_devvp, uio->uio_pages, off & PAGE_MASK, n,
		    bm.blkno + (daddr_t)(in / DEV_BSIZE));
		if (error == 0)
			uio_skip(uio, n);
	}
	return (error);
}

int
ext2_write(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct ext2_inode *ip = VTOI(vp);

	if ((PEEK(vp->v_flag) & VSWAP) != 0)
		return (ETXTBSY);
	if (uio->uio_segflg == UIO_NOCOPY)
		return (PEEK(ip->i_em->em_writable) ? write_pages(ip, uio, cred) : EROFS);
	return (ext2_may_change(ip->i_em) ? write_copy(ip, uio, ioflag, cred) : EROFS);
}
