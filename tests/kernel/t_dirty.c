/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dirty pages of files when something is short: memory, so that laundering must make room, or the
 * disk, so that it cannot.
 */
#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "tests/kernel/scratch.h"
#include "tests/kernel/t_vm.h"
#include "vm/swap_pager.h"
#include "vm/vm_check.h"
#include "vm/vm_laundry.h"
#include "vm/vm_oom.h"

static MALLOC_DEFINE(M_TDIRTY, "dirty page tests");

#define SPARSE		256ul		/* pages of a file with 16 pages of data, each in a block of its own */
#define VOLUME_MAX	(64 * MiB)	/* what can be filled in no time */

/* A sparse file of npages in /w, mapped shared and writable at AT(0). */
static struct vnode *
map_sparse(struct vmspace *vm, const char *path, size_t npages)
{
	struct vnode *vp = scratch_create(path);
	vm_offset_t addr = AT(0);

	if (vp == NULL)
		return (NULL);
	CHECK_EQ(vn_truncate(vp, (off_t)(npages * PAGE_SIZE)), 0);
	CHECK_EQ(vn_fsync(vp), 0);
	CHECK_EQ(vm_mmap(vm, &addr, npages * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	return (vp);
}

static void
evict(struct vnode *vp)
{
	CHECK_EQ(vn_fsync(vp), 0);
	vt_evict_file(vp);
}

static uint8_t
byte_of(size_t page)
{
	return ((uint8_t)(page * 7 + 1));
}

/* Whoever stores through a mapping writes what is too much himself, and loses nothing. */
KTEST(dirty, stores_through_a_mapping_are_bounded)
{
	uint32_t most = 0;
	struct vmspace *vm;
	struct vnode *vp;

	SCRATCH_OR_SKIP();
	vm = vmspace_alloc();
	vp = map_sparse(vm, "/w/bounded", 400);
	if (vp != NULL) {
		(void)vm_object_dirty_bound(100);
		for (size_t i = 0; i < 400; i++) {
			CHECK_EQ(put(vm, AT(i), byte_of(i)), 0);
			most = MAX(most, vp->v_object->dirty_count);
		}
		(void)vm_object_dirty_bound(0);
		CHECK(most >= 100 && most < 200);
		evict(vp);
		for (size_t i = 0; i < 400; i++)
			CHECK_EQ(get(vm, AT(i)), byte_of(i));
		vmspace_free(vm);
		vrele(vp);
	}
	scratch_leave();
}

/* The first store to a page that is mapped already: its neighbours had their chance, and are not looked at again. */
KTEST_COUNTING(dirty, first_store_to_a_mapped_page_maps_no_other)
{
	struct vmspace *vm;
	struct vnode *vp;
	uint64_t before;

	SCRATCH_OR_SKIP();
	vm = vmspace_alloc();
	vp = map_sparse(vm, "/w/alone", 16);
	if (vp != NULL) {
		for (size_t i = 0; i < 16; i++)
			CHECK_EQ(get(vm, AT(i)), 0);
		CHECK_EQ(vn_fsync(vp), 0);
		pmap_remove(&vm->pmap, AT(5), AT(6));
		before = VMCNT_GET(v_prefaulted);
		CHECK_EQ(put(vm, AT(4), 1), 0);
		CHECK_EQ(VMCNT_GET(v_prefaulted), before);
		CHECK(mapped_page(vm, AT(5)) == NULL);
		/* A page that is not mapped brings them along. */
		CHECK_EQ(put(vm, AT(5), 1), 0);
		pmap_remove(&vm->pmap, AT(0), AT(16));
		CHECK_EQ(put(vm, AT(8), 1), 0);
		CHECK_EQ(VMCNT_GET(v_prefaulted), before + 15);
		vmspace_free(vm);
		vrele(vp);
	}
	scratch_leave();
}

/*
 * All that could be reclaimed is dirty: the laundry has to write it, and does, while the pages are
 * stored to one after the other.
 */
KTEST(dirty, target_is_met_with_only_dirty_pages)
{
	struct vmspace *vm;
	struct vnode *vp;
	size_t npages;

	SCRATCH_OR_SKIP();
	vm = vmspace_alloc();
	npages = MIN(2048ul, vm_page_count / 3);
	vp = map_sparse(vm, "/w/dirty", npages);
	if (vp != NULL) {
		vt_ballast_take(vm_ladder.min + (uint32_t)npages / 4);
		for (size_t i = 0; i < npages; i++)
			CHECK_EQ(put(vm, AT(i), byte_of(i)), 0);
		VT_WAIT(vm_free_count() >= vm_ladder.min);
		vt_ballast_drop();
		evict(vp);
		for (size_t i = 0; i < npages; i++)
			if (get(vm, AT(i)) != byte_of(i))
				ktest_fail(__FILE__, __LINE__, "page %lu reads %d", i, get(vm, AT(i)));
		vmspace_free(vm);
		vrele(vp);
	}
	scratch_leave();
}

/* ---- the disk is full ---- */

/* The volume can be filled, and is: => the file that did it. */
static struct vnode *
fill_volume(void)
{
	struct statfs st;
	struct vnode *vp;

	scratch_statfs(&st);
	if (st.f_bfree * st.f_bsize > VOLUME_MAX) {
		ktest_skip("the volume is too big to fill");
		return (NULL);
	}
	vp = scratch_create("/w/filler");
	if (vp != NULL)
		(void)scratch_fill(vp);
	return (vp);
}

static void
make_room(struct vnode *filler)
{
	vrele(filler);
	CHECK_EQ(vn_remove("/w/filler"), 0);
}

/*
 * Stores into a hole need blocks when they are written, and there are none: nothing is lost, each
 * mapping is told once for each attempt, and with room again it all goes to the disk.
 */
KTEST(dirty, sparse_mapping_on_a_full_disk_waits_for_room)
{
	struct vmspace *vm, *other;
	struct vnode *vp, *filler;
	vm_offset_t addr = AT(0);

	SCRATCH_OR_SKIP();
	vm = vmspace_alloc();
	other = vmspace_alloc();
	vp = map_sparse(vm, "/w/sparse", SPARSE);
	CHECK_EQ(vm_mmap(other, &addr, SPARSE * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	filler = fill_volume();
	if (vp != NULL && filler != NULL) {
		for (size_t i = 0; i < 16; i++)
			CHECK_EQ(put(vm, AT(16 * i), byte_of(i)), 0);
		CHECK_EQ(vm_msync(vm, AT(0), SPARSE * PAGE_SIZE, MS_SYNC), ENOSPC);
		/* A block or two may have been left, too few for the filler's next pointer block. */
		CHECK(vp->v_object->dirty_count > 10);
		/* Both were there when it failed, and each hears of it once. */
		CHECK_EQ(vm_msync(vm, AT(0), SPARSE * PAGE_SIZE, MS_ASYNC), 0);
		CHECK_EQ(vm_msync(other, AT(0), SPARSE * PAGE_SIZE, MS_ASYNC), ENOSPC);
		CHECK_EQ(vm_msync(other, AT(0), SPARSE * PAGE_SIZE, MS_ASYNC), 0);
		for (size_t i = 0; i < 16; i++)
			CHECK_EQ(get(other, AT(16 * i)), byte_of(i));
		make_room(filler);
		CHECK_EQ(vm_msync(vm, AT(0), SPARSE * PAGE_SIZE, MS_SYNC), 0);
		CHECK_EQ(vm_msync(other, AT(0), SPARSE * PAGE_SIZE, MS_ASYNC), 0);
		CHECK_EQ(vp->v_object->dirty_count, 0);
		evict(vp);
		for (size_t i = 0; i < 16; i++)
			CHECK_EQ(get(vm, AT(16 * i)), byte_of(i));
	}
	vmspace_free(vm);
	vmspace_free(other);
	if (vp != NULL)
		vrele(vp);
	scratch_leave();
}

/*
 * Who goes on storing where there is no room for it ends as out of memory; everybody else goes on,
 * and what was stored is written once there is room.
 */
KTEST(dirty, writer_on_a_full_disk_dies_and_the_machine_lives)
{
	struct vnode *vp, *filler;
	struct vmspace *vm;
	size_t n = 0;

	SCRATCH_OR_SKIP();
	vm = vmspace_alloc();
	vp = map_sparse(vm, "/w/sparse", 2048);
	filler = fill_volume();
	if (vp != NULL && filler != NULL) {
		evict(filler);			/* clean pages would be room for dirty ones */
		vt_ballast_take(vm_ladder.min + 400);
		while (n < 2048 && put(vm, AT(n), byte_of(n)) == 0)
			n++;
		CHECK(n > 100 && n < 2048);
		CHECK_EQ(curthread->fault.signo, 9);
		memset(&curthread->fault, 0, sizeof(curthread->fault));
		vt_ballast_drop();
		make_room(filler);
		evict(vp);
		for (size_t i = 0; i < n; i++)
			if (get(vm, AT(i)) != byte_of(i))
				ktest_fail(__FILE__, __LINE__, "page %lu reads %d", i, get(vm, AT(i)));
	}
	vmspace_free(vm);
	if (vp != NULL)
		vrele(vp);
	scratch_leave();
}

/* ---- nobody's dirty pages ---- */

#define IDLE	500		/* pages */

static int asked_to_end;

static bool
may_end_anybody(struct vmspace *vm, char *who, size_t size, size_t *held)
{
	snprintf(who, size, "an address space of the test");
	return (true);
}

static void
note_end(struct vmspace *vm)
{
	asked_to_end++;
}

static struct vm_killer reluctant = { .may_end = may_end_anybody, .end = note_end };

static size_t touched;

static void
touch_until_refused(struct vt_job *job)
{
	for (touched = 0; touched < IDLE; touched++)
		if (copyout(&(uint8_t){ byte_of(touched) }, AT(touched), 1) != 0)
			break;
}

/* How many pages another thread can store to, one after the other, until memory is at its end. */
static size_t
touch_all(struct vmspace *vm)
{
	struct vt_job job = { .fn = touch_until_refused, .vm = vm };

	asked_to_end = 0;
	vm_oom_register(&reluctant);
	vt_start(&job, "t-touch");
	vt_finish(&job);
	vm_oom_unregister(&reluctant);
	return (touched);
}

/*
 * The disk has no room for the pages of a file, and nobody has it mapped any more: when memory is at
 * its end they are given up, before anybody has to go.  But if the file is locked, nobody waits for
 * that, for who has it locked may be waiting for memory.
 */
static void
idle_file(bool locked)
{
	struct vmspace *vm, *other;
	struct vnode *vp, *filler;
	struct swap_info swap;

	swap_info(&swap);
	if (swap.disk != NULL) {
		ktest_skip("there is swap: memory does not end so soon");
		return;
	}
	SCRATCH_OR_SKIP();
	vm = vmspace_alloc();
	other = vmspace_alloc();
	vp = map_sparse(vm, "/w/idle", 2 * IDLE);
	map_anonymous(other, 0, 2 * IDLE, MAP_PRIVATE);
	filler = fill_volume();
	if (vp != NULL && filler != NULL) {
		evict(filler);
		vt_ballast_take(vm_ladder.reserved + IDLE + 300);
		for (size_t i = 0; i < IDLE; i++)
			CHECK_EQ(put(vm, AT(i), byte_of(i)), 0);
		CHECK(vp->v_object->dirty_count > IDLE - 50);
		CHECK_EQ(vm_munmap(vm, AT(0), 2 * IDLE * PAGE_SIZE), 0);
		if (locked) {
			VOP_LOCK(vp, LK_EXCLUSIVE);
			CHECK(touch_all(other) < IDLE);
			CHECK_EQ(asked_to_end, 1);
			CHECK(vp->v_object->dirty_count > IDLE - 50);
			VOP_UNLOCK(vp);
		} else {
			CHECK_EQ(touch_all(other), IDLE);
			CHECK_EQ(asked_to_end, 0);
			CHECK(vp->v_object == NULL);
			for (size_t i = 0; i < IDLE; i++)
				CHECK_EQ(get(other, AT(i)), byte_of(i));
		}
		vt_ballast_drop();
		make_room(filler);
	}
	vmspace_free(vm);
	vmspace_free(other);
	if (vp != NULL)
		vrele(vp);
	scratch_leave();
}

KTEST(dirty, unwritable_pages_of_an_idle_file_go_before_anybody)
{
	idle_file(false);
}

KTEST(dirty, unwritable_pages_of_a_locked_file_are_not_waited_for)
{
	idle_file(true);
}

/*
 * A sync keeps writers away, and may wait for memory itself: who gives up idle files then writes nothing, and gives
 * up only what the last write was refused for.
 */
KTEST(dirty, idle_files_are_not_written_beside_a_sync)
{
	struct vmspace *vm;
	struct vnode *vp;

	SCRATCH_OR_SKIP();
	vm = vmspace_alloc();
	vp = map_sparse(vm, "/w/beside", 16);
	if (vp != NULL) {
		CHECK_EQ(put(vm, AT(3), 0x55), 0);
		CHECK_EQ(vm_munmap(vm, AT(0), 16 * PAGE_SIZE), 0);
		syncer_freeze(true);
		VT_WAIT(!vm_laundry_writing());
		__atomic_store_n(&vp->v_mount->mnt_syncing, true, __ATOMIC_RELAXED);
		CHECK(!vm_object_cache_give_up());
		if (CHECK(vp->v_object != NULL)) {
			CHECK_EQ(vp->v_object->dirty_count, 1);
			vp->v_object->un_pager.vnp.vnp_refused = true;
			CHECK(vm_object_cache_give_up());
			CHECK(vp->v_object == NULL);
		}
		__atomic_store_n(&vp->v_mount->mnt_syncing, false, __ATOMIC_RELAXED);
		syncer_freeze(false);
		vrele(vp);
	}
	vmspace_free(vm);
	scratch_leave();
}

/* ---- how it is written ---- */

#define METADATA_WRITES	64	/* at most, each a request of its own */

/* 64 MiB through one open file, eight times over the same eight: in full transfers, whatever the memory. */
KTEST(dirty, long_writing_goes_to_the_disk_in_full_transfers)
{
	uint64_t writes, sectors, data = 0;
	char *bytes;
	struct disk_stats *stats;
	struct statfs st;
	struct vnode *vp;
	size_t done;

	SCRATCH_OR_SKIP();
	scratch_statfs(&st);
	vp = st.f_bfree * st.f_bsize > 10 * MiB ? scratch_create("/w/long") : NULL;
	if (vp == NULL) {
		ktest_skip("no room for 8 MiB on the volume");
		scratch_leave();
		return;
	}
	bytes = kmalloc(64 * KiB, &M_TDIRTY, M_WAITOK);
	memset(bytes, 0x5a, 64 * KiB);
	stats = &rootfs->mnt_devvp->v_disk->dk_stats;
	writes = stats->writes;
	sectors = stats->sectors_written;
	for (int pass = 0; pass < 8; pass++)
		for (uint64_t off = 0; off < 8 * MiB; off += 64 * KiB, data += 64 * KiB) {
			bytes[0] = (char)pass;
			CHECK_EQ(vn_write(vp, bytes, 64 * KiB, (off_t)off, &done), 0);
			CHECK_EQ(done, 64 * KiB);
		}
	CHECK_EQ(vn_fsync(vp), 0);
	writes = stats->writes - writes;
	sectors = stats->sectors_written - sectors;
	/* All but the pieces at the ends, and what is said about the file: metadata. */
	CHECK(sectors * DEV_BSIZE >= 8 * MiB && sectors * DEV_BSIZE <= data + data / 8);
	/*
	 * Besides the data, some metadata; and with the smallest blocks a pointer block comes between each 256 KiB
	 * of data.
	 */
	if (writes > METADATA_WRITES + sectors * DEV_BSIZE / ((scratch_bsize() < 2048 ? 64 : 112) * KiB))
		ktest_fail(__FILE__, __LINE__, "%lu KiB were written in %lu requests", sectors / 2, writes);
	kfree(bytes, &M_TDIRTY);
	vrele(vp);
	scratch_leave();
}
