/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations on a disk on which one kind of block cannot be read, or cannot be written.
 *
 * tests/host/test_diskerr.py makes the volume, tells QEMU which sectors fail, and says with
 * `diskerr=KIND` which of the tests below applies.  Each operation must return the right error,
 * what does not need the broken block must work, nothing may hang, and the machine must be able to
 * end in order.  The host then looks at what is on the disk.
 *
 *	/e/data       pattern, 32 pages; its page 5 fails             /e/dir/      a directory of its own; its block fails
 *	/e/ind        pattern, past the indirect block; that fails    /e/n/00..63  inodes; the block with that of 40 fails
 *	/e/holes      data at its beginning and one block behind the indirect block, which fails
 *	/e/other      pattern; never fails
 */
#include "drivers/disk.h"
#include "kernel/amd64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/t_swap.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"

static MALLOC_DEFINE(M_DISKERR, "disk error tests");

#define BAD_PAGE	5
#define BUF		(64 * KiB)
#define SIGBUS		7

static uint8_t *buf;		/* BUF bytes, while a test runs */

/* What these files hold when a test has overwritten them: the pattern of another name. */
#define NEW	"/e/new"

static struct vnode *
open_file(const char *path)
{
	struct vnode *vp = NULL;

	CHECK_EQ(namei(path, NULL, 0, &vp), 0);
	return (vp);
}

static bool
holds(const char *pattern, const uint8_t *data, uint64_t off, size_t len)
{
	uint8_t want[DEV_BSIZE];

	for (size_t at = 0; at < len; at += sizeof(want)) {
		size_t n = MIN(sizeof(want), len - at);

		testfile_pattern(pattern, off + at, want, n);
		if (memcmp(data + at, want, n) != 0)
			return (false);
	}
	return (true);
}

/* Read [off, +len); it must work and give this pattern. */
static void
reads_as(struct vnode *vp, const char *pattern, uint64_t off, size_t len)
{
	size_t done = 0;

	memset(buf, 0xa5, len);
	CHECK_EQ(vn_read(vp, buf, len, (off_t)off, &done), 0);
	CHECK_EQ(done, len);
	CHECK(holds(pattern, buf, off, len));
}

static int
write_new(struct vnode *vp, uint64_t off, size_t len)
{
	size_t done;

	testfile_pattern(NEW, off, buf, len);
	return (vn_write(vp, buf, len, (off_t)off, &done));
}

static void
drop_caches(void)
{
	vm_object_cache_shrink(SIZE_MAX, true);
	while (vnode_shrink(1000) > 0)
		;
	bio_shrink(SIZE_MAX);
}

/* A file elsewhere can be changed and made durable. */
static void
other_file_works(void)
{
	struct vnode *vp = open_file("/e/other");

	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(write_new(vp, 0, 16 * KiB), 0);
	CHECK_EQ(vn_fsync(vp), 0);
	reads_as(vp, NEW, 0, 16 * KiB);
	vrele(vp);
	printf("# diskerr other is new\n");
}

static void
other_file_reads(void)
{
	struct vnode *vp = open_file("/e/other");

	CHECK_OR_RETURN(vp != NULL);
	reads_as(vp, "/e/other", 0, 16 * KiB);
	vrele(vp);
}

/* One byte through a shared mapping.  The errno of the access. */
static int
touch(struct vnode *vp, uint64_t off, bool write)
{
	struct vmspace *vm = vmspace_alloc(), *former;
	vm_offset_t addr = VM_USER_MIN;
	uint8_t byte = 0x77;
	int error;

	if (!CHECK(vm != NULL))
		return (ENOMEM);
	error = vm_mmap(vm, &addr, PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE, MAP_SHARED, vp, (vm_ooffset_t)trunc_page(off));
	if (error == 0) {
		former = thread_set_vmspace(vm);
		addr += off & PAGE_MASK;
		error = write ? copyout(&byte, addr, 1) : copyin(addr, &byte, 1);
		(void)thread_set_vmspace(former);
	}
	vmspace_free(vm);
	return (error);
}

static void
touch_fails(struct vnode *vp, uint64_t off, bool write)
{
	CHECK_EQ(touch(vp, off, write), EFAULT);
	CHECK_EQ(curthread->fault.signo, SIGBUS);
	memset(&curthread->fault, 0, sizeof(curthread->fault));
}

/* ---- blocks that cannot be read ---- */

static void
read_data(void)
{
	struct vnode *vp = open_file("/e/data");
	uint64_t bad = BAD_PAGE * PAGE_SIZE;
	size_t done = 0;

	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(vn_read(vp, buf, PAGE_SIZE, (off_t)bad, &done), EIO);
	CHECK_EQ(done, 0);
	touch_fails(vp, bad, false);
	touch_fails(vp, bad + 100, true);
	reads_as(vp, "/e/data", 31 * PAGE_SIZE, PAGE_SIZE);
	/*
	 * A part of it cannot be changed, for the rest is not known; all of it can, for nothing
	 * need be read.
	 */
	CHECK_EQ(write_new(vp, bad + 10, 100), EIO);
	if (rootfs->mnt_stat.f_iosize <= PAGE_SIZE) {
		CHECK_EQ(write_new(vp, bad, PAGE_SIZE), 0);
		CHECK_EQ(vn_fsync(vp), 0);
		reads_as(vp, NEW, bad, PAGE_SIZE);
	}
	vrele(vp);
	other_file_works();
}

static void
read_indirect(void)
{
	uint64_t behind = 12ul * rootfs->mnt_stat.f_iosize;
	struct vnode *vp = open_file("/e/ind");
	size_t done = 0;

	CHECK_OR_RETURN(vp != NULL);
	reads_as(vp, "/e/ind", 0, 4 * KiB);
	CHECK_EQ(vn_read(vp, buf, 100, (off_t)behind, &done), EIO);
	touch_fails(vp, behind, false);
	touch_fails(vp, behind, true);
	CHECK_EQ(write_new(vp, behind + 4, 10), EIO);
	CHECK_EQ(write_new(vp, 0, 1 * KiB), 0);
	reads_as(vp, NEW, 0, 1 * KiB);
	vrele(vp);
	/*
	 * What it points to cannot be given back: said by an error now or by e2fsck later, not by a
	 * panic.
	 */
	(void)vn_remove("/e/ind");
	(void)vfs_sync_all(true);
}

static void
read_inode(void)
{
	struct vnode *vp = NULL;

	CHECK_EQ(namei("/e/n/40", NULL, 0, &vp), EIO);
	CHECK_EQ(vn_remove("/e/n/40"), EIO);
	CHECK_EQ(vn_rename("/e/other", "/e/n/40"), EIO);
	CHECK_EQ(namei("/e/n/00", NULL, 0, &vp), 0);
	if (vp != NULL)
		vrele(vp);
	other_file_works();
}

static void
read_directory(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;

	CHECK_EQ(namei("/e/dir/x", NULL, 0, &vp), EIO);
	CHECK_EQ(vn_create("/e/dir/new", &va, &vp), EIO);
	CHECK_EQ(vn_remove("/e/dir/x"), EIO);
	CHECK_EQ(vn_rmdir("/e/dir"), EIO);
	CHECK_EQ(vn_rename("/e/other", "/e/dir/x"), EIO);
	other_file_works();
}

/* Without its bitmaps a volume may be refused, or only be read. */
static void
read_bitmap(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;
	int error;

	if (rootfs == NULL)
		return;
	other_file_reads();
	error = vn_create("/e/dir/new", &va, &vp);
	if (error == 0) {
		error = write_new(vp, 0, BUF);
		if (error == 0)
			error = vn_fsync(vp);
		vrele(vp);
	}
	CHECK(error == EROFS || error == EIO);
}

/* ---- blocks that cannot be written ---- */

static void
write_data(void)
{
	struct vnode *vp = open_file("/e/data");
	uint64_t bad = BAD_PAGE * PAGE_SIZE;

	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(write_new(vp, 0, 12 * PAGE_SIZE), 0);
	CHECK_EQ(vn_fsync(vp), EIO);
	reads_as(vp, NEW, bad, PAGE_SIZE);	/* newer than the disk, and not forgotten */
	CHECK_EQ(vn_fsync(vp), EIO);
	other_file_works();
	/* Cut off what cannot be written, and the file is in order again. */
	CHECK_EQ(vn_truncate(vp, 0), 0);
	CHECK_EQ(vn_fsync(vp), 0);
	vrele(vp);
	printf("# diskerr data is empty\n");
}

/* A store through a mapping fails to reach the disk: msync says so, once. */
static void
write_mapped(void)
{
	struct vnode *vp = open_file("/e/data");
	struct vmspace *vm = vmspace_alloc(), *former;
	vm_offset_t addr = VM_USER_MIN;
	uint8_t byte = 0x77;

	CHECK_OR_RETURN(vp != NULL && vm != NULL);
	CHECK_EQ(vm_mmap(vm, &addr, 32 * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE, MAP_SHARED, vp, 0), 0);
	former = thread_set_vmspace(vm);
	CHECK_EQ(copyout(&byte, addr + BAD_PAGE * PAGE_SIZE, 1), 0);
	CHECK_EQ(copyout(&byte, addr + 20 * PAGE_SIZE, 1), 0);
	CHECK_EQ(vm_msync(vm, addr + 20 * PAGE_SIZE, PAGE_SIZE, MS_SYNC), 0);
	CHECK_EQ(vm_msync(vm, addr, 32 * PAGE_SIZE, MS_SYNC), EIO);
	CHECK_EQ(copyin(addr + BAD_PAGE * PAGE_SIZE, &byte, 1), 0);
	CHECK_EQ(byte, 0x77);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
	CHECK_EQ(vn_truncate(vp, 0), 0);
	CHECK_EQ(vn_fsync(vp), 0);
	vrele(vp);
	other_file_works();
	printf("# diskerr data is empty\n");
}

/* The first write of the page fails, all later ones work: nothing is lost. */
static void
write_once(void)
{
	struct vnode *vp = open_file("/e/data");

	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(write_new(vp, 0, 12 * PAGE_SIZE), 0);
	CHECK_EQ(vn_fsync(vp), EIO);
	for (int tries = 0; tries < 20 && vn_fsync(vp) != 0; tries++)
		continue;
	CHECK_EQ(vn_fsync(vp), 0);
	vrele(vp);
	drop_caches();
	vp = open_file("/e/data");
	CHECK_OR_RETURN(vp != NULL);
	reads_as(vp, NEW, 0, 12 * PAGE_SIZE);
	vrele(vp);
	other_file_works();
	printf("# diskerr data is new\n");
}

/* A block goes into a hole, and its pointer cannot be written. */
static void
write_indirect(void)
{
	uint64_t behind = 13ul * rootfs->mnt_stat.f_iosize;
	struct vnode *vp = open_file("/e/holes");

	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(write_new(vp, behind, 1 * KiB), 0);
	CHECK_EQ(vn_fsync(vp), EIO);
	reads_as(vp, NEW, behind, 1 * KiB);
	other_file_reads();
	vrele(vp);
	CHECK_EQ(vfs_sync_all(true), EIO);
	ktest_leaves_dirt();
}

static void
write_inode(void)
{
	struct vnode *vp = open_file("/e/n/40");

	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(write_new(vp, 0, 4 * KiB), 0);
	CHECK_EQ(vn_fsync(vp), EIO);
	reads_as(vp, NEW, 0, 4 * KiB);
	vrele(vp);
	other_file_reads();
	CHECK_EQ(vfs_sync_all(true), EIO);
	ktest_leaves_dirt();
}

/* New blocks are wanted, and the bitmap cannot be written. */
static void
write_bitmap(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;

	CHECK_EQ(vn_create("/e/new", &va, &vp), 0);
	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(write_new(vp, 0, BUF), 0);
	CHECK_EQ(vn_fsync(vp), EIO);
	reads_as(vp, NEW, 0, BUF);
	vrele(vp);
	other_file_reads();
	CHECK_EQ(vfs_sync_all(true), EIO);
	ktest_leaves_dirt();
}

static void
write_directory(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;

	CHECK_EQ(vn_create("/e/dir/new", &va, &vp), 0);
	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(vn_fsync(vp), EIO);
	vrele(vp);
	CHECK_EQ(namei("/e/dir/new", NULL, 0, &vp), 0);
	vrele(vp);
	other_file_reads();
	CHECK_EQ(vfs_sync_all(true), EIO);
	ktest_leaves_dirt();
}

/*
 * A metadata block whose first write fails and whose later ones work.  Everything is written in the
 * end, and the volume is whole.
 */
static void
write_again(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;
	int errors = 0;

	CHECK_EQ(vn_create("/e/dir/new", &va, &vp), 0);
	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(write_new(vp, 0, BUF), 0);
	while (errors < 20 && vn_fsync(vp) != 0)
		errors++;
	CHECK(errors > 0 && errors < 20);
	vrele(vp);
	drop_caches();
	vp = open_file("/e/dir/new");
	CHECK_OR_RETURN(vp != NULL);
	reads_as(vp, NEW, 0, BUF);
	vrele(vp);
	other_file_works();
}

/* ---- swap: the second disk's page BAD_PAGE fails ---- */

#define SWAPPED	24u

/* Swapped out, all but what the disk would not take; read back, all but what it would not give. */
static void
swap_fails(bool on_reading)
{
	unsigned failed = 0;
	uint64_t value;
	struct space s;

	if (!scratch_begin())
		return;
	CHECK_OR_RETURN(space_make(&s, SWAPPED));
	for (unsigned i = 0; i < SWAPPED; i++)
		CHECK_EQ(space_write(&s, i, 700 + i), 0);
	for (unsigned n = 0; n < 3; n++)
		(void)space_swapout(&s);
	CHECK(on_reading ? swap_inuse() == SWAPPED : swap_inuse() < SWAPPED);
	for (unsigned i = 0; i < SWAPPED; i++) {
		if (space_read(&s, i, &value) == 0) {
			CHECK_EQ(value, 700 + i);
			continue;
		}
		CHECK_EQ(curthread->fault.signo, SIGBUS);
		memset(&curthread->fault, 0, sizeof(curthread->fault));
		failed++;
	}
	CHECK_EQ(failed, on_reading ? 1 : 0);
	space_free(&s);
	CHECK_EQ(swap_inuse(), 0);
	scratch_end();
	other_file_works();
}

static void
read_swap(void)
{
	swap_fails(true);
}

static void
write_swap(void)
{
	swap_fails(false);
}

static const struct {
	const char	*kind;
	void		(*fn)(void);
} kinds[] = {
	{ "read-data", read_data }, { "read-indirect", read_indirect }, { "read-inode", read_inode },
	{ "read-directory", read_directory }, { "read-bitmap", read_bitmap }, { "read-inode-bitmap", read_bitmap },
	{ "write-data", write_data }, { "write-mapped", write_mapped }, { "write-once", write_once },
	{ "write-indirect", write_indirect }, { "write-inode", write_inode },
	{ "write-bitmap", write_bitmap }, { "write-inode-bitmap", write_bitmap }, { "write-directory", write_directory },
	{ "write-bitmap-once", write_again }, { "write-inode-bitmap-once", write_again },
	{ "write-directory-once", write_again }, { "read-swap", read_swap }, { "write-swap", write_swap },
};

KTEST(diskerr, operations_return_the_right_error)
{
	const char *word = cmdline_get("diskerr");

	if (word == NULL) {
		ktest_skip("only with diskerr=KIND");
		return;
	}
	for (size_t i = 0; i < nitems(kinds); i++) {
		if (!streq(kinds[i].kind, word))
			continue;
		if (rootfs == NULL && strncmp(word, "read-", 5) != 0) {
			CHECK(rootfs != NULL);
			return;
		}
		buf = kmalloc(BUF, &M_DISKERR, M_WAITOK);
		kinds[i].fn();
		kfree(buf, &M_DISKERR);
		return;
	}
	ktest_fail(__FILE__, __LINE__, "diskerr=%s: no such kind", word);
}
