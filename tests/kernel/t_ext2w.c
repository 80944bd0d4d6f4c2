/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ext2 written: what a file holds after writes, appends, holes and truncations, at every alignment
 * that could matter, and what the volume's accounts say.  The names are in t_ext2w_names.c; what
 * e2fsck thinks of the volume after each of them, in tests/host/test_write.py.
 */
#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/scratch.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_object.h"

static MALLOC_DEFINE(M_TEXT2W, "ext2 write tests");

/* The places where something changes: sectors, blocks, pages, clusters. */
static size_t
edges(size_t *at, size_t max)
{
	const size_t units[] = { DEV_BSIZE, PAGE_SIZE, scratch_bsize(), 12 * (size_t)scratch_bsize() };
	size_t n = 0;

	at[n++] = 0;
	for (size_t u = 0; u < nitems(units); u++) {
		for (int d = -1; d <= 1 && n < max; d++) {
			if (units[u] + (size_t)d <= 256 * KiB)
				at[n++] = units[u] + (size_t)d;
		}
	}
	return (n);
}

KTEST(ext2w, what_is_written_is_read_back)
{
	struct model m;

	SCRATCH_OR_SKIP();
	if (model_open(&m, "/w/file", 300 * KiB)) {
		model_write(&m, 0, 5);
		model_verify(&m);
		model_write(&m, 5, 200 * KiB);		/* appended */
		model_verify(&m);
		model_write(&m, 100 * KiB + 77, 3000);	/* in the middle */
		model_verify(&m);
		model_evict(&m);
		model_verify(&m);
		model_write(&m, 200 * KiB, 100 * KiB);
		model_evict(&m);
		model_verify(&m);
	}
	model_close(&m);
	scratch_leave();
}

KTEST(ext2w, every_alignment_of_a_write)
{
	size_t at[32], n = edges(at, nitems(at));
	struct model m;

	SCRATCH_OR_SKIP();
	for (size_t i = 0; i < n && !ktest_failed(); i++) {
		for (size_t j = 0; j < n && !ktest_failed(); j++) {
			if (at[j] == 0)
				continue;
			if (model_open(&m, "/w/align", 600 * KiB)) {
				model_write(&m, at[i], at[j]);		/* behind a hole */
				if ((i + j) % 3 == 0)
					model_evict(&m);
				model_write(&m, at[i] / 2, 100);
				model_verify(&m);
				if ((i + j) % 2 == 0) {
					model_evict(&m);
					model_verify(&m);
				}
			}
			model_close(&m);
			CHECK_EQ(vn_remove("/w/align"), 0);
			if (ktest_failed())
				printf("# at %zu, %zu\n", at[i], at[j]);
		}
	}
	scratch_leave();
}

KTEST(ext2w, cutting_and_growing_shows_zeros)
{
	size_t at[32], n = edges(at, nitems(at));
	struct model m;

	SCRATCH_OR_SKIP();
	if (!model_open(&m, "/w/cut", 700 * KiB))
		n = 0;
	for (size_t i = 0; i < n && !ktest_failed(); i++) {
		for (size_t j = 0; j < n && !ktest_failed(); j++) {
			model_write(&m, 0, at[n - 1] + 5000);
			if (j % 2 == 0)
				model_evict(&m);
			model_truncate(&m, at[i]);
			if (j % 3 == 0)
				model_evict(&m);
			model_truncate(&m, at[j] + 3000);
			if (j % 5 == 0)
				model_evict(&m);
			model_verify(&m);
			model_evict(&m);
			model_verify(&m);
			if (ktest_failed())
				printf("# cut to %zu, grown to %zu\n", at[i], at[j] + 3000);
		}
	}
	model_close(&m);
	scratch_leave();
}

/* The last block of /t/tail holds bytes on the disk that are not the file's. */
KTEST(ext2w, old_bytes_past_the_end_never_appear)
{
	uint8_t byte, zero = 0;
	struct vnode *vp;
	uint64_t size;
	size_t done;

	TESTFILES_OR_SKIP();
	SCRATCH_OR_SKIP();
	vp = testfile_open("/t/tail");
	if (vp != NULL) {
		CHECK_EQ(vn_size(vp, &size), 0);
		CHECK_EQ(vn_truncate(vp, (off_t)size + 5000), 0);
		for (uint64_t at = size; at < size + 5000 && !ktest_failed(); at++) {
			CHECK_EQ(vn_read(vp, &byte, 1, (off_t)at, &done), 0);
			CHECK_EQ(byte, 0);
		}
		CHECK_EQ(vn_truncate(vp, (off_t)size), 0);
		CHECK_EQ(vn_write(vp, &zero, 1, (off_t)size + 20000, &done), 0);
		CHECK_EQ(vn_fsync(vp), 0);
		for (uint64_t at = size; at < size + 20001 && !ktest_failed(); at += 7) {
			CHECK_EQ(vn_read(vp, &byte, 1, (off_t)at, &done), 0);
			CHECK_EQ(byte, 0);
		}
		CHECK_EQ(vn_truncate(vp, (off_t)size), 0);
		testfile_read_verify(vp, "/t/tail", 0, size + 100);
		vrele(vp);
	}
	scratch_leave();
}

KTEST(ext2w, random_operations_agree_with_a_model)
{
	size_t room = MAX((size_t)300 * KiB, 5 * (size_t)scratch_bsize());
	struct model m;

	SCRATCH_OR_SKIP();
	if (model_open(&m, "/w/random", room)) {
		for (int n = 0; n < 400 && !ktest_failed(); n++) {
			size_t off = ktest_random() % room;

			switch (ktest_random() % 8) {
			case 0:
				model_truncate(&m, off);
				break;
			case 1:
				model_evict(&m);
				break;
			case 2:
				CHECK_EQ(vn_fsync(m.vp), 0);
				break;
			default:
				model_write(&m, off, 1 + ktest_random() % MIN(room - off, (size_t)20000));
			}
			if (n % 10 == 9)
				model_verify(&m);
		}
		model_evict(&m);
		model_verify(&m);
	}
	model_close(&m);
	scratch_leave();
}

KTEST(ext2w, holes_cost_nothing)
{
	uint32_t bsize = scratch_bsize();
	struct statfs before, after;
	struct vattr va;
	struct model m;

	SCRATCH_OR_SKIP();
	scratch_statfs(&before);
	if (model_open(&m, "/w/holes", 40 * (size_t)bsize)) {
		model_truncate(&m, 20 * bsize + 100);
		model_truncate(&m, 30 * bsize);
		CHECK_EQ(vn_fsync(m.vp), 0);
		scratch_getattr(m.vp, &va);
		CHECK_EQ(va.va_blocks, 0);
		model_write(&m, 5 * bsize, bsize);
		scratch_getattr(m.vp, &va);			/* no place yet, but not a hole any more */
		CHECK_EQ(va.va_blocks, bsize / DEV_BSIZE);
		model_evict(&m);
		scratch_getattr(m.vp, &va);
		CHECK_EQ(va.va_blocks, bsize / DEV_BSIZE);
		/* through the first pointer block */
		model_write(&m, 39 * bsize, bsize);
		model_evict(&m);
		scratch_getattr(m.vp, &va);
		CHECK_EQ(va.va_blocks, 3 * (bsize / DEV_BSIZE));
		scratch_statfs(&after);
		CHECK_EQ(after.f_bfree + 3, before.f_bfree);
		model_verify(&m);
		model_truncate(&m, 6 * bsize);			/* the pointer block goes, too */
		scratch_getattr(m.vp, &va);
		CHECK_EQ(va.va_blocks, bsize / DEV_BSIZE);
		model_truncate(&m, 0);
		scratch_getattr(m.vp, &va);
		CHECK_EQ(va.va_blocks, 0);
	}
	model_close(&m);
	scratch_leave();
}

/* Offsets on both sides of each boundary of the block map, and past 2 and 4 GiB. */
KTEST(ext2w, far_offsets)
{
	struct ext2_mount *em = MTOE(rootfs);
	uint64_t per, spots[8], bsize;
	uint8_t bytes[64], got[64];
	struct vnode *vp;
	size_t n = 0, done;

	SCRATCH_OR_SKIP();
	bsize = em->em_bsize;
	per = bsize / 4;
	spots[n++] = 12 * bsize;
	spots[n++] = (12 + per) * bsize;
	spots[n++] = (12 + per + per * per) * bsize;
	spots[n++] = 2 * GiB;
	spots[n++] = 4 * GiB;
	vp = scratch_create("/w/far");
	for (size_t i = 0; i < n && vp != NULL; i++) {
		if (spots[i] + 64 > ext2_size_max(em) || spots[i] > 1ul << 40)
			continue;
		memset(bytes, (int)(i + 1), sizeof(bytes));
		CHECK_EQ(vn_write(vp, bytes, 64, (off_t)spots[i] - 32, &done), 0);
	}
	if (vp != NULL) {
		CHECK_EQ(vn_fsync(vp), 0);
		vm_object_cache_shrink(SIZE_MAX, true);
	}
	for (size_t i = 0; i < n && vp != NULL; i++) {
		if (spots[i] + 64 > ext2_size_max(em) || spots[i] > 1ul << 40)
			continue;
		memset(bytes, (int)(i + 1), sizeof(bytes));
		CHECK_EQ(vn_read(vp, got, 64, (off_t)spots[i] - 32, &done), 0);
		CHECK_EQ(memcmp(bytes, got, 64), 0);
	}
	if (vp != NULL) {
		CHECK_EQ(vn_write(vp, bytes, 1, (off_t)ext2_size_max(em), &done), EFBIG);
		CHECK_EQ(vn_truncate(vp, (off_t)(11 * bsize)), 0);
		CHECK_EQ(vn_fsync(vp), 0);
		vrele(vp);
	}
	scratch_leave();
}

/* ---- the disk is full ---- */

KTEST(ext2w, a_full_disk_is_reported_and_recovers)
{
	struct statfs before, full, after;
	struct vnode *vp, *other;
	uint64_t total, again, size;
	struct vattr va;

	SCRATCH_OR_SKIP();
	scratch_statfs(&before);
	if (before.f_bfree * before.f_bsize > 64 * MiB) {
		ktest_skip("the volume is too big to fill");
		scratch_leave();
		return;
	}
	vp = scratch_create("/w/full");
	if (vp != NULL) {
		total = scratch_fill(vp);
		CHECK_EQ(vn_size(vp, &size), 0);
		CHECK_EQ(size, total);
		CHECK_EQ(vn_fsync(vp), 0);		/* what was accepted has its place */
		scratch_statfs(&full);
		CHECK(full.f_bfree <= 8);
		scratch_getattr(vp, &va);
		CHECK(va.va_blocks * DEV_BSIZE >= total);
		CHECK_EQ(vn_truncate(vp, 0), 0);
		again = scratch_fill(vp);			/* what was freed can be used at once */
		CHECK(again + 8 * before.f_bsize >= total);
		other = NULL;
		CHECK_EQ(vn_remove("/w/full"), 0);
		vrele(vp);
		other = scratch_create("/w/other");
		if (other != NULL) {
			CHECK(scratch_fill(other) + 8 * before.f_bsize >= total);
			vrele(other);
			CHECK_EQ(vn_remove("/w/other"), 0);
		}
		CHECK_EQ(vfs_sync_all(true), 0);
		scratch_statfs(&after);
		CHECK_EQ(after.f_bfree, before.f_bfree);
		CHECK_EQ(after.f_ffree, before.f_ffree);
	}
	scratch_leave();
}

KTEST(ext2w, accounts_add_up)
{
	struct statfs before, during, after;
	struct vattr va;
	struct model m;

	SCRATCH_OR_SKIP();
	scratch_statfs(&before);
	if (model_open(&m, "/w/counted", MiB)) {
		model_write(&m, 0, 700 * KiB);
		scratch_statfs(&during);		/* not placed yet, but promised */
		CHECK(during.f_bfree + 700 * KiB / before.f_bsize <= before.f_bfree);
		CHECK_EQ(vn_fsync(m.vp), 0);
		scratch_statfs(&during);
		scratch_getattr(m.vp, &va);
		CHECK_EQ(before.f_bfree - during.f_bfree, va.va_blocks * DEV_BSIZE / before.f_bsize);
		CHECK_EQ(before.f_ffree - during.f_ffree, 1);
	}
	CHECK_EQ(vn_remove("/w/counted"), 0);
	model_close(&m);
	scratch_statfs(&after);
	CHECK_EQ(after.f_bfree, before.f_bfree);
	CHECK_EQ(after.f_ffree, before.f_ffree);
	scratch_leave();
}

/* ---- where files lie ---- */

/* Runs of blocks; a pointer block in between does not count. */
static uint32_t
extents(struct vnode *vp, uint64_t blocks)
{
	uint32_t runs = 0, per = scratch_bsize() / DEV_BSIZE;
	daddr_t next = -1;
	struct bmap bm;

	VOP_LOCK(vp, LK_SHARED);
	for (uint64_t lbn = 0; lbn < blocks; lbn++) {
		CHECK_EQ(VOP_BMAP(vp, (daddr_t)lbn, NULL, &bm), 0);
		CHECK(!bm.hole);
		if (bm.blkno != next && bm.blkno != next + per && bm.blkno != next + 2 * per)
			runs++;
		next = bm.blkno + per;
	}
	VOP_UNLOCK(vp);
	return (runs);
}

KTEST(ext2w, a_file_written_in_order_lies_in_one_piece)
{
	struct ext2_mount *em = MTOE(rootfs);
	uint64_t bytes = 3 * MiB, groups;
	char *piece;
	struct vnode *vp;
	struct statfs st;
	size_t done;

	SCRATCH_OR_SKIP();
	scratch_statfs(&st);
	if (st.f_bfree * st.f_bsize < 8 * bytes / 4) {
		ktest_skip("too little room");
		scratch_leave();
		return;
	}
	groups = howmany(bytes / em->em_bsize, (uint64_t)em->em_blocks_per_group) + 1;
	piece = kmalloc(10000, &M_TEXT2W, M_WAITOK | M_ZERO);
	vp = scratch_create("/w/order");
	if (vp != NULL) {
		for (uint64_t off = 0; off < bytes; off += 10000)
			CHECK_EQ(vn_write(vp, piece, 10000, (off_t)off, &done), 0);
		CHECK_EQ(vn_fsync(vp), 0);
		/* The volume is not empty: a few more pieces where the host's files lie. */
		CHECK(extents(vp, bytes / em->em_bsize) <= groups + 4);
		vrele(vp);
	}
	kfree(piece, &M_TEXT2W);
	scratch_leave();
}

/* ---- times, sync ---- */

KTEST(ext2w, times_change_when_they_should)
{
	struct vattr va, before, set = { .va_mtime = 1000000000, .va_atime = 1000000001 };
	struct vnode *vp;
	int64_t now = (int64_t)clock_wall_seconds();
	size_t done;

	SCRATCH_OR_SKIP();
	vp = scratch_create("/w/times");
	if (vp != NULL) {
		scratch_getattr(vp, &before);
		CHECK(before.va_mtime >= now && before.va_ctime >= now);
		VOP_LOCK(vp, LK_EXCLUSIVE);
		CHECK_EQ(VOP_SETATTR(vp, &set, VA_MTIME | VA_ATIME, &cred_kernel), 0);
		VOP_UNLOCK(vp);
		scratch_getattr(vp, &va);
		CHECK_EQ(va.va_mtime, 1000000000);
		CHECK_EQ(va.va_atime, 1000000001);
		CHECK(va.va_ctime >= now);
		CHECK_EQ(vn_write(vp, "x", 1, 0, &done), 0);
		scratch_getattr(vp, &va);
		CHECK(va.va_mtime >= now);
		VOP_LOCK(vp, LK_EXCLUSIVE);
		CHECK_EQ(VOP_SETATTR(vp, &set, VA_MTIME, &cred_kernel), 0);
		VOP_UNLOCK(vp);
		CHECK_EQ(vn_fsync(vp), 0);		/* bringing it to disk is no news */
		scratch_getattr(vp, &va);
		CHECK_EQ(va.va_mtime, 1000000000);
		set.va_atime = 1l << 40;		/* more than the disk has room for */
		set.va_mode = 0600;
		set.va_uid = 70000;
		set.va_gid = 80000;
		VOP_LOCK(vp, LK_EXCLUSIVE);
		CHECK_EQ(VOP_SETATTR(vp, &set, VA_MODE | VA_UID | VA_GID | VA_ATIME, &cred_kernel), 0);
		VOP_UNLOCK(vp);
		vrele(vp);
		CHECK_EQ(vfs_sync_all(true), 0);
		vm_object_cache_shrink(SIZE_MAX, true);
		vnode_shrink(INT32_MAX);
		vp = testfile_open("/w/times");
		if (vp != NULL) {
			scratch_getattr(vp, &va);
			CHECK_EQ(va.va_mode, 0600);
			CHECK_EQ(va.va_atime, INT32_MAX);
			CHECK_EQ(va.va_uid, 70000);
			CHECK_EQ(va.va_gid, 80000);
			CHECK_EQ(va.va_mtime, 1000000000);
			vrele(vp);
		}
	}
	scratch_leave();
}

KTEST(ext2w, many_small_files_do_not_sync_one_by_one)
{
	struct disk *dk = MTOE(rootfs)->em_devvp->v_disk;
	uint64_t flushes;
	struct vnode *vp;
	char path[32];
	size_t done;

	SCRATCH_OR_SKIP();
	CHECK_EQ(vfs_sync_all(true), 0);
	flushes = dk->dk_stats.flushes;
	for (int n = 0; n < 300 && !ktest_failed(); n++) {
		snprintf(path, sizeof(path), "/w/small%d", n);
		vp = scratch_create(path);
		if (vp == NULL)
			break;
		CHECK_EQ(vn_write(vp, path, sizeof(path), 0, &done), 0);
		vrele(vp);
		if (n % 2 == 0)
			CHECK_EQ(vn_remove(path), 0);
	}
	CHECK(dk->dk_stats.flushes - flushes < 100);
	scratch_leave();
}

KTEST(ext2w, remounted_read_only_it_is_clean_and_refuses)
{
	struct ext2_super es;
	struct vnode *vp;
	char *sector;
	size_t done;

	SCRATCH_OR_SKIP();
	vp = scratch_create("/w/remount");
	if (vp != NULL) {
		CHECK_EQ(vn_write(vp, "abc", 3, 0, &done), 0);
		CHECK_EQ(vfs_remount(rootfs, MNT_RDONLY), 0);
		CHECK_EQ(vn_write(vp, "d", 1, 3, &done), EROFS);
		CHECK_EQ(vn_remove("/w/remount"), EROFS);
		CHECK_EQ(vn_truncate(vp, 0), EROFS);
		sector = kmalloc(PAGE_SIZE, &M_TEXT2W, M_WAITOK);
		CHECK_EQ(disk_rw(MTOE(rootfs)->em_devvp->v_disk, 0, sector, PAGE_SIZE, B_READ), 0);
		memcpy(&es, sector + EXT2_SUPER_OFFSET, sizeof(es));
		CHECK_EQ(es.s_state & EXT2_STATE_CLEAN, EXT2_STATE_CLEAN);
		CHECK_EQ(vfs_remount(rootfs, 0), 0);
		CHECK_EQ(disk_rw(MTOE(rootfs)->em_devvp->v_disk, 0, sector, PAGE_SIZE, B_READ), 0);
		memcpy(&es, sector + EXT2_SUPER_OFFSET, sizeof(es));
		CHECK_EQ(es.s_state & EXT2_STATE_CLEAN, 0);
		kfree(sector, &M_TEXT2W);
		CHECK_EQ(vn_write(vp, "d", 1, 3, &done), 0);
		CHECK_EQ(vn_remove("/w/remount"), 0);
		/* in use, but without a name */
		CHECK_EQ(vfs_remount(rootfs, MNT_RDONLY), EBUSY);
		vrele(vp);
	}
	scratch_leave();
}
