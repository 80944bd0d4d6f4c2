/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Swapping to a file: what goes out comes back, whatever pieces the file lies in; nothing but the
 * file's own blocks is written to; and nobody takes them away meanwhile.
 *
 * Each test makes its file in the scratch directory.  A neighbour, whose blocks lie between those
 * of the file, is compared with what it held; e2fsck looks at the volume after the run.
 */
#include "drivers/disk.h"
#include "kernel/malloc.h"
#include "tests/kernel/memfs.h"
#include "tests/kernel/scratch.h"
#include "tests/kernel/t_swap.h"
#include "tests/kernel/t_vm.h"
#include "vm/swap_map.h"
#include "vm/swap_pager.h"
#include "vm/vm_torture.h"

static MALLOC_DEFINE(M_TSWAPFILE, "swap file tests");

#define PAGES		48u
#define MIN_PAGES	(SWAP_DISK_MIN / PAGE_SIZE)
#define VALUE(page)	(0x5afe000000000000ul + (page))

/* ---- files ---- */

/* The same bytes, never zero, for the same place. */
static void
bytes_of(uint8_t *bytes, size_t len, uint64_t off)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(((off + i) * 31 + (off + i) / 509) | 1);
}

/* Write `len` bytes at an offset, all the way to the disk. */
static bool
put_piece(struct vnode *vp, uint64_t off, size_t len)
{
	uint8_t *bytes = kmalloc(len, &M_TSWAPFILE, M_WAITOK);
	size_t done;
	bool good;

	bytes_of(bytes, len, off);
	good = CHECK_EQ(vn_write(vp, bytes, len, (off_t)off, &done), 0) && CHECK_EQ(done, len) && CHECK_EQ(vn_fsync(vp), 0);
	kfree(bytes, &M_TSWAPFILE);
	return (good);
}

static bool
append(struct vnode *vp, size_t len)
{
	uint64_t size;

	return (CHECK_EQ(vn_size(vp, &size), 0) && put_piece(vp, size, len));
}

/* Does the file hold what append() gave it, on the disk? */
static void
check_bytes(struct vnode *vp)
{
	uint8_t *got = kmalloc(PAGE_SIZE, &M_TSWAPFILE, M_WAITOK), *want = kmalloc(PAGE_SIZE, &M_TSWAPFILE, M_WAITOK);
	struct model m = { .vp = vp };
	uint64_t size;
	size_t done;

	model_evict(&m);
	CHECK_EQ(vn_size(vp, &size), 0);
	for (uint64_t off = 0; off < size && !ktest_failed(); off += done) {
		CHECK_EQ(vn_read(vp, got, PAGE_SIZE, (off_t)off, &done), 0);
		CHECK_OR_RETURN(done > 0);
		bytes_of(want, done, off);
		CHECK(memcmp(got, want, done) == 0);
	}
	kfree(got, &M_TSWAPFILE);
	kfree(want, &M_TSWAPFILE);
}

/*
 * A file of `pages` pages in pieces of `piece` bytes (0: as it comes), and its neighbour, written in
 * turns and each time to the disk.  The pieces are written from the last to the first: wherever the
 * allocator begins, no two of them lie on the disk as they lie in the file.
 */
static bool
make_files(size_t pages, size_t piece, struct vnode **file, struct vnode **neighbour)
{
	size_t left = pages * PAGE_SIZE, n;

	*file = scratch_create("/w/swap");
	*neighbour = scratch_create("/w/neighbour");
	if (*file == NULL || *neighbour == NULL)
		return (false);
	for (; piece == 0 && left > 0; left -= n) {
		n = MIN(left, 64 * KiB);
		if (!append(*file, n))
			return (false);
	}
	for (; left > 0; left -= n) {
		n = (left - 1) % piece + 1;
		if (!put_piece(*file, left - n, n) || !append(*neighbour, scratch_bsize()))
			return (false);
	}
	return (true);
}

static void
release(struct vnode *file, struct vnode *neighbour)
{
	if (file != NULL)
		vrele(file);
	if (neighbour != NULL)
		vrele(neighbour);
}

/* ---- swapping ---- */

/* Fill memory, send it out, and see it come back, twice: in order and backwards. */
static void
out_and_in(uint32_t pages)
{
	struct space s;
	struct swap_info info;

	CHECK_OR_RETURN(space_make(&s, pages));
	for (uint32_t i = 0; i < pages; i++)
		CHECK_EQ(space_write(&s, i, VALUE(i)), 0);
	for (int round = 0; round < 2 && !ktest_failed(); round++) {
		(void)space_swapout(&s);
		swap_info(&info);
		CHECK(info.inuse == pages || vm_torture);
		for (uint32_t i = 0; i < pages; i++)
			space_holds(&s, round == 0 ? i : pages - 1 - i, VALUE(round == 0 ? i : pages - 1 - i));
		for (uint32_t i = 0; i < pages; i++)
			CHECK_EQ(space_write(&s, i, VALUE(i)), 0);
	}
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
}

/* The file is an ordinary one again. */
static void
check_given_back(struct vnode *vp)
{
	size_t done;

	CHECK_EQ(vp->v_flag & VSWAP, 0);
	CHECK_EQ(vn_write(vp, "x", 1, 0, &done), 0);
	CHECK_EQ(vn_truncate(vp, 1), 0);
}

/* Swap to a file in such pieces.  smallest: how many extents it must have at least. */
static void
swap_to_pieces(size_t piece, uint32_t smallest)
{
	struct vnode *file = NULL, *neighbour = NULL;
	struct swap_info info;

	SCRATCH_OR_SKIP();
	if (!swap_away())
		return;
	if (make_files(PAGES, piece, &file, &neighbour) && CHECK_EQ(swap_on_vnode(file), 0)) {
		swap_info(&info);
		CHECK(info.file && info.nblocks >= MIN_PAGES && info.nblocks <= PAGES);
		CHECK(swap_area_get()->nextents >= smallest);
		out_and_in(info.nblocks);
		CHECK_EQ(swap_off(), 0);
		check_given_back(file);
		check_bytes(neighbour);
	}
	release(file, neighbour);
	scratch_leave();
	swap_again(scratch_disk());
}

KTEST(swapfile, contents_survive_in_one_piece)
{
	swap_to_pieces(0, 1);
}

KTEST(swapfile, contents_survive_in_pieces_of_a_page_or_a_block)
{
	swap_to_pieces(PAGE_SIZE, 3);
}

/* Pieces that are no whole number of pages: what is left of each is not used. */
KTEST(swapfile, contents_survive_in_pieces_of_odd_length)
{
	struct vnode *file = NULL, *neighbour = NULL;
	uint32_t bsize = scratch_bsize();
	struct swap_info info;

	SCRATCH_OR_SKIP();
	if (bsize >= PAGE_SIZE) {
		ktest_skip("blocks are whole pages");
	} else if (swap_away()) {
		if (make_files(PAGES, 2 * PAGE_SIZE - bsize, &file, &neighbour) && CHECK_EQ(swap_on_vnode(file), 0)) {
			swap_info(&info);
			CHECK(info.nblocks < PAGES);
			out_and_in(info.nblocks);
			CHECK_EQ(swap_off(), 0);
			check_bytes(neighbour);
		}
		release(file, neighbour);
		swap_again(scratch_disk());
	}
	scratch_leave();
}

/* What the swap pager writes lies in the file's blocks, and in no others. */
KTEST(swapfile, only_blocks_of_the_file_are_written)
{
	struct vnode *file = NULL, *neighbour = NULL;
	const struct swap_area *area;
	uint32_t per, found = 0;
	struct bmap bm;

	SCRATCH_OR_SKIP();
	if (!swap_away())
		return;
	if (make_files(PAGES, 2 * PAGE_SIZE, &file, &neighbour) && CHECK_EQ(swap_on_vnode(file), 0)) {
		area = swap_area_get();
		per = scratch_bsize() / DEV_BSIZE;
		VOP_LOCK(file, LK_SHARED);
		for (uint32_t i = 0; i < area->nextents; i++) {
			const struct swap_extent *e = &area->extents[i];
			uint64_t end = e->sector + e->count * (PAGE_SIZE / DEV_BSIZE);

			CHECK(i == 0 || e->block > e[-1].block + e[-1].count);
			for (daddr_t lbn = 0; (uint64_t)lbn * scratch_bsize() < PAGES * PAGE_SIZE; lbn++) {
				CHECK_EQ(VOP_BMAP(file, lbn, NULL, &bm), 0);
				if ((uint64_t)bm.blkno + per > e->sector && (uint64_t)bm.blkno < end)
					found += MIN((uint64_t)bm.blkno + per, end) - MAX((uint64_t)bm.blkno, e->sector);
			}
		}
		VOP_UNLOCK(file);
		CHECK_EQ(found, area->usable * (PAGE_SIZE / DEV_BSIZE));
		CHECK_EQ(swap_off(), 0);
	}
	release(file, neighbour);
	scratch_leave();
	swap_again(scratch_disk());
}

/* ---- refused ---- */

KTEST(swapfile, files_that_cannot_serve)
{
	struct vnode *file = NULL, *neighbour = NULL, *vp;
	struct mount *mp;

	SCRATCH_OR_SKIP();
	if (!swap_away())
		return;
	if (make_files(PAGES, 0, &file, &neighbour)) {
		CHECK_EQ(swap_on_vnode(neighbour), EINVAL);		/* empty */
		CHECK_EQ(vn_truncate(neighbour, 64 * PAGE_SIZE), 0);
		CHECK_EQ(swap_on_vnode(neighbour), EINVAL);		/* a hole, and nothing else */
		CHECK_EQ(vn_truncate(file, PAGES * PAGE_SIZE + 1 + scratch_bsize()), 0);
		CHECK_EQ(swap_on_vnode(file), EINVAL);			/* a hole at its end */
		CHECK_EQ(file->v_flag & VSWAP, 0);
		CHECK_EQ(vn_truncate(file, SWAP_DISK_MIN - 1), 0);
		CHECK_EQ(swap_on_vnode(file), EINVAL);			/* too small */
		CHECK_EQ(vn_truncate(file, 0), 0);
		CHECK_EQ(swap_on_word("/w"), EINVAL);
		CHECK_EQ(swap_on_word("/w/nothing"), ENOENT);
		CHECK_EQ(swap_on_word("nothing"), ENODEV);
		CHECK(swap_area_get() == NULL);
	}
	release(file, neighbour);
	mp = memfs_mount();
	if (mp != NULL) {
		memfs_create(mp, "/t/file", PAGES * PAGE_SIZE);
		vp = memfs_file(mp, "file");
		CHECK_EQ(swap_on_vnode(vp), EOPNOTSUPP);
		vrele(vp);
		memfs_unmount(mp);
	}
	scratch_leave();
	swap_again(scratch_disk());
}

KTEST(swapfile, pieces_smaller_than_a_page_are_refused)
{
	struct vnode *file = NULL, *neighbour = NULL;
	uint32_t bsize = scratch_bsize();

	SCRATCH_OR_SKIP();
	if (bsize >= PAGE_SIZE) {
		ktest_skip("blocks are whole pages");
	} else if (swap_away()) {
		if (make_files(PAGES, bsize, &file, &neighbour))
			CHECK_EQ(swap_on_vnode(file), EINVAL);
		release(file, neighbour);
		swap_again(scratch_disk());
	}
	scratch_leave();
}

KTEST(swapfile, mapped_file_is_refused)
{
	struct vnode *file = NULL, *neighbour = NULL;

	SCRATCH_OR_SKIP();
	if (!swap_away())
		return;
	if (make_files(PAGES, 0, &file, &neighbour)) {
		vt_begin();
		(void)vt_map(file, 0, PAGE_SIZE, RW, MAP_SHARED);
		CHECK_EQ(swap_on_vnode(file), EBUSY);
		CHECK_EQ(file->v_flag & VSWAP, 0);
		vt_end();
		CHECK_EQ(swap_on_vnode(file), 0);
		CHECK_EQ(swap_off(), 0);
	}
	release(file, neighbour);
	scratch_leave();
	swap_again(scratch_disk());
}

/* ---- while it serves ---- */

static void
check_protected(struct vnode *file)
{
	vm_offset_t at = 0x20000000;
	struct vmspace *vm = vmspace_alloc();
	size_t done;

	CHECK_EQ(swap_on_vnode(file), EBUSY);
	CHECK_EQ(vn_write(file, "x", 1, 0, &done), ETXTBSY);
	CHECK_EQ(vn_write(file, "x", 1, PAGES * PAGE_SIZE, &done), ETXTBSY);
	CHECK_EQ(vn_truncate(file, 0), ETXTBSY);
	CHECK_EQ(vn_truncate(file, 2 * PAGES * PAGE_SIZE), ETXTBSY);
	CHECK_EQ(vm_mmap(vm, &at, PAGE_SIZE, VM_PROT_READ, MAP_SHARED, file, 0), ETXTBSY);
	CHECK_EQ(vm_mmap(vm, &at, PAGE_SIZE, RW, MAP_PRIVATE, file, 0), 0);
	CHECK_EQ(vm_munmap(vm, at, PAGE_SIZE), 0);
	CHECK_EQ(vfs_remount(file->v_mount, MNT_RDONLY), EBUSY);
	CHECK_EQ(vfs_unmount(file->v_mount), EBUSY);
	CHECK_EQ(vfs_unmount_forced(file->v_mount), EBUSY);
	CHECK_EQ(vnode_kill_mount(file->v_mount), EBUSY);
	vmspace_free(vm);
}

KTEST(swapfile, nobody_writes_to_it_or_cuts_it)
{
	struct vnode *file = NULL, *neighbour = NULL;

	SCRATCH_OR_SKIP();
	if (!swap_away())
		return;
	if (make_files(PAGES, PAGE_SIZE, &file, &neighbour) && CHECK_EQ(swap_on_vnode(file), 0)) {
		check_protected(file);
		out_and_in(PAGES / 2);
		CHECK_EQ(swap_off_vnode(neighbour), EINVAL);
		CHECK_EQ(swap_off_vnode(file), 0);
		CHECK_EQ(swap_off_vnode(file), EINVAL);
		check_given_back(file);
		check_bytes(neighbour);
	}
	release(file, neighbour);
	scratch_leave();
	swap_again(scratch_disk());
}

KTEST(swapfile, unlinked_file_serves_on_and_is_freed_afterwards)
{
	struct vnode *file = NULL, *neighbour = NULL;
	struct statfs before, during, after;
	struct space s;

	SCRATCH_OR_SKIP();
	if (!swap_away())
		return;
	if (make_files(PAGES, PAGE_SIZE, &file, &neighbour) && CHECK_EQ(swap_on_vnode(file), 0)) {
		scratch_statfs(&before);
		CHECK_OR_RETURN(space_make(&s, PAGES / 2));
		for (uint32_t i = 0; i < PAGES / 2; i++)
			CHECK_EQ(space_write(&s, i, VALUE(i)), 0);
		(void)space_swapout(&s);
		CHECK_EQ(vn_remove("/w/swap"), 0);
		vrele(file);
		file = NULL;
		CHECK_EQ(vfs_sync_all(true), 0);
		scratch_statfs(&during);
		CHECK_EQ(during.f_bfree, before.f_bfree);
		/* Whoever gets blocks now does not get these. */
		CHECK(append(neighbour, PAGES * PAGE_SIZE));
		for (uint32_t i = 0; i < PAGES / 2; i++)
			space_holds(&s, i, VALUE(i));
		(void)space_swapout(&s);
		check_bytes(neighbour);
		CHECK_EQ(swap_off(), 0);
		for (uint32_t i = 0; i < PAGES / 2; i++)
			space_holds(&s, i, VALUE(i));
		space_free(&s);
		scratch_statfs(&during);
		CHECK_EQ(vn_truncate(neighbour, 0), 0);
		CHECK_EQ(vfs_sync_all(true), 0);
		scratch_statfs(&after);
		CHECK(after.f_bfree > during.f_bfree);
		CHECK(during.f_bfree * scratch_bsize() + PAGES * PAGE_SIZE >= before.f_bfree * scratch_bsize());
		CHECK_EQ(scratch_ino("/w/swap"), 0);
	}
	release(file, neighbour);
	scratch_leave();
	swap_again(scratch_disk());
}
