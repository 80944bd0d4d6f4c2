/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What fsync, fdatasync and the syncer write, and what they leave.  The syncer may come at any time
 * and write what a test expects to be left: then the test tries again.
 */
#include "drivers/disk.h"
#include "kernel/fs/ext2/ext2.h"
#include "tests/kernel/scratch.h"
#include "tests/kernel/vmtest.h"

#define PAGES	16ul
#define TRIES	10
#define OLD	(40 * HZ)	/* ticks; older than what the syncer lets wait */

static const struct vattr dir_attr = { .va_type = VDIR, .va_mode = 0755 };

/* A file of PAGES pages that is on the disk. */
static bool
settled(struct model *m, const char *path)
{
	return (model_open(m, path, PAGES * PAGE_SIZE) && model_write(m, 0, PAGES * PAGE_SIZE) &&
	    CHECK_EQ(vn_fsync(m->vp), 0) && CHECK_EQ(m->vp->v_object->dirty_count, 0));
}

static int
sync_range(struct vnode *vp, size_t from, size_t to, int flags)
{
	int error;

	VOP_LOCK(vp, LK_EXCLUSIVE);
	error = VOP_FSYNC(vp, (off_t)from, (off_t)to, flags);
	VOP_UNLOCK(vp);
	return (error);
}

KTEST(ext2w, a_range_is_all_that_is_synced)
{
	struct disk *dk = rootfs != NULL ? rootfs->mnt_devvp->v_disk : NULL;
	uint64_t sectors;
	struct model m;

	SCRATCH_OR_SKIP();
	if (settled(&m, "/w/range")) {
		model_write(&m, 0, PAGES * PAGE_SIZE);
		CHECK_EQ(m.vp->v_object->dirty_count, PAGES);
		sectors = dk->dk_stats.sectors_written;
		CHECK_EQ(sync_range(m.vp, 5 * PAGE_SIZE + 1, 7 * PAGE_SIZE,
		    FSYNC_WAIT | FSYNC_DATA), 0);
		CHECK_EQ(m.vp->v_object->dirty_count, PAGES - 2);
		CHECK(dk->dk_stats.sectors_written - sectors >= 2 * PAGE_SIZE / DEV_BSIZE);
		CHECK_EQ(sync_range(m.vp, 0, 1, FSYNC_WAIT | FSYNC_DATA), 0);
		CHECK_EQ(m.vp->v_object->dirty_count, PAGES - 3);
		CHECK_EQ(sync_range(m.vp, 0, (size_t)-1, FSYNC_WAIT), 0);
		CHECK_EQ(m.vp->v_object->dirty_count, 0);
		model_evict(&m);
		model_verify(&m);
	}
	model_close(&m);
	scratch_leave();
}

KTEST(ext2w, fdatasync_leaves_times_behind_and_nothing_else)
{
	struct ext2_mount *em = rootfs != NULL ? MTOE(rootfs) : NULL;
	bool left = false;
	struct model m;

	SCRATCH_OR_SKIP();
	if (settled(&m, "/w/data")) {
		for (int n = 0; n < TRIES && !left; n++) {
			model_write(&m, 100, 100);
			CHECK_EQ(sync_range(m.vp, 0, (size_t)-1, FSYNC_WAIT | FSYNC_DATA), 0);
			CHECK_EQ(m.vp->v_object->dirty_count, 0);
			left = ext2_change_find(em, m.vp->v_ino) != NULL;
		}
		CHECK(left);			/* its time of change */
		CHECK_EQ(vn_fsync(m.vp), 0);
		CHECK(ext2_change_find(em, m.vp->v_ino) == NULL);
		/* A new size is needed to find the bytes. */
		model_truncate(&m, PAGES * PAGE_SIZE - 1000);
		CHECK_EQ(sync_range(m.vp, 0, (size_t)-1, FSYNC_WAIT | FSYNC_DATA), 0);
		CHECK(ext2_change_find(em, m.vp->v_ino) == NULL);
	}
	model_close(&m);
	scratch_leave();
}

/* Nothing of the file itself changes, only the way to it. */
KTEST(ext2w, fsync_makes_the_whole_path_durable)
{
	struct ext2_mount *em = rootfs != NULL ? MTOE(rootfs) : NULL;
	bool waits = false;
	struct vnode *vp;

	SCRATCH_OR_SKIP();
	CHECK_EQ(vn_mkdir("/w/old", &dir_attr), 0);
	vp = scratch_create("/w/old/file");
	CHECK_EQ(vfs_sync_all(true), 0);
	for (int n = 0; n < TRIES && !waits; n++) {
		CHECK_EQ(n % 2 == 0 ? vn_rename("/w/old", "/w/new") :
		    vn_rename("/w/new", "/w/old"), 0);
		CHECK(ext2_change_find(em, vp->v_ino) == NULL);
		waits = !ext2_is_clean(em);
		CHECK_EQ(vn_fsync(vp), 0);
		CHECK(ext2_is_clean(em));
	}
	CHECK(waits);
	CHECK_EQ(vn_link(scratch_exists("/w/new") ? "/w/new/file" : "/w/old/file", "/w/again"), 0);
	CHECK_EQ(vn_fsync(vp), 0);
	CHECK(ext2_is_clean(em));
	vrele(vp);
	scratch_leave();
}

/*
 * A file loses one of its names to another file, and its other name is not on the disk yet: that
 * one has to get there before.
 */
KTEST(ext2w, a_name_that_stays_is_on_disk_before_one_goes)
{
	struct ext2_mount *em = rootfs != NULL ? MTOE(rootfs) : NULL;
	struct vnode *vp, *target;
	uint64_t syncs;

	SCRATCH_OR_SKIP();
	CHECK_EQ(vn_mkdir("/w/x", &dir_attr), 0);
	vp = scratch_create("/w/source");
	target = scratch_create("/w/target");
	CHECK_EQ(vfs_sync_all(true), 0);
	syncs = em->em_syncs;
	CHECK_EQ(vn_link("/w/target", "/w/x/stays"), 0);
	CHECK_EQ(vn_rename("/w/source", "/w/target"), 0);
	CHECK(em->em_syncs - syncs >= 2);	/* the second name, and the change of hands */
	CHECK_EQ(scratch_ino("/w/target"), vp->v_ino);
	CHECK_EQ(scratch_ino("/w/x/stays"), target->v_ino);
	vrele(vp);
	vrele(target);
	scratch_leave();
}

KTEST(ext2w, old_dirt_reaches_the_disk_by_itself)
{
	struct model m;

	SCRATCH_OR_SKIP();
	if (settled(&m, "/w/aged")) {
		model_write(&m, 3000, 5000);
		vm_object_lock(m.vp->v_object);
		CHECK(m.vp->v_object->dirty_count > 0);
		m.vp->v_object->dirty_since = ticks - OLD;
		vm_object_unlock(m.vp->v_object);
		VT_WAIT(m.vp->v_object->dirty_count == 0);
		VT_WAIT(ext2_change_find(MTOE(rootfs), m.vp->v_ino) == NULL);
		model_evict(&m);
		model_verify(&m);
	}
	model_close(&m);
	scratch_leave();
}
