/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Volumes that come and go while they are in use: refused, by force, and read-only in between.
 *
 * Each test mounts the volume of the disk that `volume=NAME` names on /m, and leaves it unmounted;
 * tests/host/test_mount.py makes that volume and looks at it afterwards.  Where somebody must be
 * met in the middle of something, the disk's requests are held (stall.h).
 */
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/malloc.h"
#include "tests/kernel/stall.h"
#include "tests/kernel/t_vm.h"
#include "vm/vm_check.h"

static MALLOC_DEFINE(M_TMOUNT, "mount tests");

#define ALL	~0ul
#define PAGES	16ul

static struct {
	struct disk	*disk;
	struct mount	*mp;
} mt;

/* ---- the volume ---- */

static bool
volume_open(uint32_t flags)
{
	const char *word = cmdline_get("volume");
	struct vnode *covered;

	mt.disk = word != NULL ? disk_find(word) : NULL;
	mt.mp = NULL;
	if (mt.disk == NULL) {
		ktest_skip("only with volume=DISK");
		return (false);
	}
	if (!CHECK_EQ(vfs_mount("ext2", mt.disk, "", flags, &mt.mp), 0))
		return (false);
	if (CHECK_EQ(namei("/m", NULL, 0, &covered), 0)) {
		CHECK_EQ(vfs_mount_on(mt.mp, covered), 0);
		vrele(covered);
	}
	return (true);
}
#define VOLUME_OR_SKIP()	do { if (!volume_open(0)) return; } while (0)

static struct vnode *
new_file(const char *path, size_t size)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;
	uint8_t *bytes = kmalloc(size, &M_TMOUNT, M_WAITOK);
	size_t done;

	memset(bytes, 'm', size);
	if (CHECK_EQ(vn_create(path, &va, &vp), 0))
		CHECK_EQ(vn_write(vp, bytes, size, 0, &done), 0);
	kfree(bytes, &M_TMOUNT);
	return (vp);
}

/* The whole of it, shared, in this thread's address space. */
static vm_offset_t
map_shared(struct vnode *vp)
{
	return (vt_map(vp, 0, PAGES * PAGE_SIZE, RW, MAP_SHARED));
}

/* What the superblock on the disk says. */
static bool
clean_on_disk(void)
{
	char *sector = kmalloc(PAGE_SIZE, &M_TMOUNT, M_WAITOK);
	struct ext2_super es;

	CHECK_EQ(disk_rw(mt.disk, 0, sector, PAGE_SIZE, B_READ), 0);
	memcpy(&es, sector + EXT2_SUPER_OFFSET, sizeof(es));
	kfree(sector, &M_TMOUNT);
	return ((es.s_state & (EXT2_STATE_CLEAN | EXT2_STATE_ERRORS)) == EXT2_STATE_CLEAN);
}

/* Nothing that is done with the file of a volume that is gone does anything but fail. */
static void
check_dead(struct vnode *vp)
{
	char byte;
	size_t done;

	CHECK_EQ(vp->v_type, VBAD);
	CHECK_EQ(vn_read(vp, &byte, 1, 0, &done), EIO);
	CHECK_EQ(vn_write(vp, "x", 1, 0, &done), EIO);
	CHECK_EQ(vn_truncate(vp, 0), EIO);
	CHECK_EQ(vn_fsync(vp), EIO);
}

/* ---- other threads ---- */

static void
job_unmount(struct vt_job *job)
{
	job->error = vfs_unmount_forced(mt.mp);
}

static void
job_fsync(struct vt_job *job)
{
	job->error = vn_fsync(job->arg);
}

/* Let the disk go on until the job has ended.  error: 0, or what its requests end with */
static void
release_until(struct vt_job *job, int error)
{
	stall_hold(0, 0, 0);
	while (!job->done)
		if (!stall_release(error))
			vt_pause();
	vt_finish(job);
}

/* ---- refused ---- */

KTEST(mount, a_busy_volume_stays)
{
	struct vnode *vp, *dvp;
	struct mount *twice;

	VOLUME_OR_SKIP();
	vp = new_file("/m/busy", 100);
	CHECK_EQ(vfs_unmount(mt.mp), EBUSY);
	CHECK_EQ(vfs_mount("ext2", mt.disk, "", 0, &twice), EBUSY);
	vrele(vp);
	CHECK_EQ(namei("/m/..", NULL, 0, &dvp), 0);
	CHECK(dvp->v_mount == rootfs);
	vrele(dvp);
	CHECK_EQ(namei("/m", NULL, 0, &dvp), 0);
	CHECK_EQ(vfs_unmount(mt.mp), EBUSY);
	vrele(dvp);
	CHECK_EQ(vn_remove("/m/busy"), 0);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
	CHECK(clean_on_disk());
}

KTEST(mount, read_only_is_read_only)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	uint64_t writes;
	struct vnode *vp;

	if (!volume_open(MNT_RDONLY))
		return;
	writes = mt.disk->dk_stats.writes;
	CHECK_EQ(vn_create("/m/new", &va, &vp), EROFS);
	CHECK_EQ(vn_mkdir("/m/dir", &va), EROFS);
	CHECK_EQ(vn_rename("/m/lost+found", "/m/found"), EROFS);
	CHECK_EQ(vn_rmdir("/m/lost+found"), EROFS);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
	CHECK_EQ(mt.disk->dk_stats.writes, writes);
}

/* ---- by force ---- */

KTEST(mount, forced_with_open_and_mapped_files)
{
	struct vnode *vp, *dvp, *again;
	vm_offset_t shared, private;
	uint8_t value;

	VOLUME_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = new_file("/m/mapped", PAGES * PAGE_SIZE);
	CHECK_EQ(namei("/m", NULL, 0, &dvp), 0);
	shared = map_shared(vp);
	private = vt_map(vp, 0, PAGES * PAGE_SIZE, RW, MAP_PRIVATE);
	vt_store(shared + 3 * PAGE_SIZE, 's');
	vt_store(private + 5 * PAGE_SIZE, 'p');
	CHECK_EQ(vt_load(private + 6 * PAGE_SIZE), 'm');
	CHECK_EQ(vfs_unmount(mt.mp), EBUSY);
	CHECK_EQ(vfs_unmount_forced(mt.mp), 0);
	CHECK(clean_on_disk());
	for (unsigned i = 0; i < PAGES; i++) {
		CHECK_REFUSED(shared + i * PAGE_SIZE, (i & 1) != 0, VT_SIGBUS, VT_ADRERR);
		if (i != 5)
			CHECK_SIGBUS(private + i * PAGE_SIZE);
	}
	CHECK_EQ(vt_load(private + 5 * PAGE_SIZE), 'p');	/* it had its own copy */
	check_dead(vp);
	CHECK_EQ(vm_msync(curthread->vmspace, shared, PAGE_SIZE, MS_SYNC), EIO);
	CHECK_EQ(namei("mapped", dvp, 0, &again), ENOTDIR);
	CHECK_EQ(namei("/m/mapped", NULL, 0, &again), ENOENT);
	vm_check();
	vt_end();
	vrele(dvp);
	vrele(vp);
	/* What was stored had reached the disk. */
	CHECK_OR_RETURN(volume_open(0));
	CHECK_EQ(namei("/m/mapped", NULL, 0, &vp), 0);
	CHECK_EQ(vn_read(vp, &value, 1, 3 * PAGE_SIZE, &(size_t){ 0 }), 0);
	CHECK_EQ(value, 's');
	vrele(vp);
	CHECK_EQ(vn_remove("/m/mapped"), 0);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
}

KTEST(mount, forced_while_a_fault_waits_for_the_disk)
{
	struct vt_job fault = { .fn = vt_touch }, force = { .fn = job_unmount };
	struct vnode *vp;

	VOLUME_OR_SKIP();
	fault.vm = vt_begin();
	vp = new_file("/m/fault", PAGES * PAGE_SIZE);
	CHECK_EQ(vfs_sync_all(true), 0);
	fault.va = map_shared(vp) + 2 * PAGE_SIZE;
	vt_evict_file(vp);
	stall_begin(mt.disk);
	stall_hold(STALL_READ, 0, ALL);
	vt_start(&fault, "t-fault");
	CHECK(stall_wait(1));
	vt_start(&force, "t-force");
	CHECK(wait_asleep(force.td, "vnode"));
	CHECK(!fault.done && !force.done);
	release_until(&fault, 0);
	vt_finish(&force);
	CHECK_EQ(force.error, 0);
	/* It had its page, or came too late for it. */
	CHECK(fault.error == 0 ? fault.value == 'm' : fault.why.signo == VT_SIGBUS);
	CHECK_SIGBUS(fault.va);
	stall_end();
	vt_end();
	check_dead(vp);
	vrele(vp);
	CHECK(clean_on_disk());
}

KTEST(mount, forced_while_pages_are_written)
{
	struct vt_job writer = { .fn = job_fsync }, force = { .fn = job_unmount };
	daddr_t sector;
	struct vnode *vp;
	uint8_t value;

	VOLUME_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = new_file("/m/written", PAGES * PAGE_SIZE);
	CHECK_EQ(vn_fsync(vp), 0);
	vt_store(map_shared(vp) + 7 * PAGE_SIZE, 'w');
	writer.arg = vp;
	sector = vt_sector_of_page(vp, 7);
	CHECK(sector > 0);
	stall_begin(mt.disk);
	stall_hold(STALL_WRITE, (uint64_t)sector, (uint64_t)sector + 1);
	vt_start(&writer, "t-fsync");
	CHECK(stall_wait(1));
	vt_start(&force, "t-force");
	CHECK(wait_asleep(force.td, "vnode"));
	release_until(&writer, 0);
	vt_finish(&force);
	CHECK_EQ(writer.error, 0);
	CHECK_EQ(force.error, 0);
	stall_end();
	vt_end();
	check_dead(vp);
	vrele(vp);
	CHECK_OR_RETURN(volume_open(0));
	CHECK_EQ(namei("/m/written", NULL, 0, &vp), 0);
	CHECK_EQ(vn_read(vp, &value, 1, 7 * PAGE_SIZE, &(size_t){ 0 }), 0);
	CHECK_EQ(value, 'w');
	vrele(vp);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
}

/* The disk takes nothing more: the volume goes all the same, and is not called clean. */
KTEST(mount, forced_from_a_broken_disk)
{
	struct vt_job force = { .fn = job_unmount };
	struct vnode *vp;
	vm_offset_t va;

	VOLUME_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = new_file("/m/lost", PAGES * PAGE_SIZE);
	CHECK_EQ(vn_fsync(vp), 0);
	va = map_shared(vp);
	vt_store(va, 'x');
	stall_begin(mt.disk);
	stall_hold(STALL_WRITE, 0, ALL);
	vt_start(&force, "t-force");
	while (!force.done)
		if (!stall_release(EIO))
			vt_pause();
	vt_finish(&force);
	stall_end();
	CHECK_EQ(force.error, 0);
	CHECK(!clean_on_disk());
	CHECK_SIGBUS(va);
	check_dead(vp);
	vt_end();
	vrele(vp);
	vm_check();
	/* The host's e2fsck comes next; until then it is mounted read-only. */
	CHECK_OR_RETURN(volume_open(0));
	CHECK((mt.mp->mnt_flag & MNT_RDONLY) != 0);
	CHECK_EQ(vfs_remount(mt.mp, 0), EROFS);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
}

KTEST(mount, forced_with_a_file_without_a_name)
{
	struct statfs before, after;
	struct vnode *vp;

	VOLUME_OR_SKIP();
	CHECK_EQ(mt.mp->mnt_op->statfs(mt.mp, &before), 0);
	vp = new_file("/m/nameless", PAGES * PAGE_SIZE);
	CHECK_EQ(vn_fsync(vp), 0);
	CHECK_EQ(vn_remove("/m/nameless"), 0);
	CHECK_EQ(vfs_unmount_forced(mt.mp), 0);
	CHECK(clean_on_disk());
	vrele(vp);
	CHECK_OR_RETURN(volume_open(0));
	CHECK_EQ(mt.mp->mnt_op->statfs(mt.mp, &after), 0);
	CHECK_EQ(after.f_bfree, before.f_bfree);
	CHECK_EQ(after.f_ffree, before.f_ffree);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
}

/* ---- while others are at work ---- */

#define WORKERS	4

struct worker {
	struct vt_job	 job;
	int		 number;
	unsigned	 made;
	int		 odd;		/* an error that nobody may get */
	volatile bool	 stop;
};

/* Make, fill, rename and remove files until told to stop; note an error that nobody may get. */
static void
work(struct vt_job *job)
{
	struct worker *w = job->arg;
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	char a[40], b[40];

	for (unsigned n = 0; !w->stop; n++) {
		struct vnode *vp;
		size_t done;
		int error;

		snprintf(a, sizeof(a), "/m/w%d-%u", w->number, n % 8);
		snprintf(b, sizeof(b), "/m/w%d-%u", w->number, (n + 3) % 8);
		error = vn_create(a, &va, &vp);
		if (error == 0) {
			error = vn_write(vp, a, sizeof(a), (off_t)(n % 5 * 1000), &done);
			vrele(vp);
		}
		if (error == 0 || error == EEXIST)
			error = vn_rename(a, b);
		if (error == 0 && n % 4 == 0)
			error = vn_remove(b);
		if (error == 0 || error == EEXIST)
			w->made++;
		else if (error == EROFS || error == EIO || error == ENOENT || error == ENOTDIR)
			vt_pause();
		else
			w->odd = error;
	}
}

static void
workers_start(struct worker *w)
{
	for (int i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){ .job = { .fn = work, .arg = &w[i] }, .number = i };
		vt_start(&w[i].job, "t-work");
	}
}

static void
workers_stop(struct worker *w)
{
	for (int i = 0; i < WORKERS; i++)
		w[i].stop = true;
	for (int i = 0; i < WORKERS; i++) {
		vt_finish(&w[i].job);
		CHECK_EQ(w[i].odd, 0);
	}
}

static unsigned
workers_made(const struct worker *w)
{
	unsigned sum = 0;

	for (int i = 0; i < WORKERS; i++)
		sum += w[i].made;
	return (sum);
}

/* At least so much is done from now on.  => false: the test has failed */
static bool
workers_go_on(const struct worker *w, unsigned more)
{
	unsigned from = workers_made(w);

	return (VT_WAIT(workers_made(w) >= from + more));
}

KTEST(mount, forced_while_names_change)
{
	struct worker *w = kmalloc(WORKERS * sizeof(*w), &M_TMOUNT, M_WAITOK);

	for (int round = 0; round < 8 && !ktest_failed(); round++) {
		if (!volume_open(0))
			break;
		workers_start(w);
		workers_go_on(w, 20);
		CHECK_EQ(vfs_unmount_forced(mt.mp), 0);
		workers_stop(w);
		CHECK(clean_on_disk());
	}
	kfree(w, &M_TMOUNT);
}

KTEST(mount, remounted_while_others_write)
{
	struct worker *w;
	uint64_t writes;

	VOLUME_OR_SKIP();
	w = kmalloc(WORKERS * sizeof(*w), &M_TMOUNT, M_WAITOK);
	workers_start(w);
	for (int round = 0; round < 20 && !ktest_failed(); round++) {
		int error;

		workers_go_on(w, 5);
		/* EBUSY: just then a file had lost its name, but not its last user. */
		while ((error = vfs_remount(mt.mp, MNT_RDONLY)) == EBUSY)
			vt_pause();
		CHECK_EQ(error, 0);
		CHECK(clean_on_disk());
		writes = mt.disk->dk_stats.writes;
		vt_pause();
		vt_pause();
		CHECK_EQ(mt.disk->dk_stats.writes, writes);
		CHECK_EQ(vfs_remount(mt.mp, 0), 0);
		CHECK(!clean_on_disk());
	}
	workers_stop(w);
	kfree(w, &M_TMOUNT);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
	CHECK(clean_on_disk());
}

KTEST(mount, remounted_under_a_mapping)
{
	struct vnode *vp;
	vm_offset_t va;
	uint8_t value;

	VOLUME_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = new_file("/m/remapped", PAGES * PAGE_SIZE);
	va = map_shared(vp);
	vt_store(va, '1');
	vt_store(va + PAGE_SIZE, '1');
	CHECK_EQ(vfs_remount(mt.mp, MNT_RDONLY), 0);
	CHECK_EQ(vt_load(va), '1');
	CHECK_REFUSED(va, true, VT_SIGBUS, VT_ADRERR);		/* nobody could write it any more */
	CHECK_REFUSED(va + 9 * PAGE_SIZE, true, VT_SIGBUS, VT_ADRERR);
	CHECK_EQ(vfs_remount(mt.mp, 0), 0);
	vt_store(va + PAGE_SIZE, '2');
	CHECK_EQ(vm_msync(curthread->vmspace, va, 2 * PAGE_SIZE, MS_SYNC), 0);
	vt_end();
	vt_evict_file(vp);
	CHECK_EQ(vn_read(vp, &value, 1, PAGE_SIZE, &(size_t){ 0 }), 0);
	CHECK_EQ(value, '2');
	vrele(vp);
	CHECK_EQ(vn_remove("/m/remapped"), 0);
	CHECK_EQ(vfs_unmount(mt.mp), 0);
}
