/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A volume of any shape is filled until it is full, emptied in part, filled again, and read back.
 *
 * `volume=NAME` names the disk; tests/host/test_volumes.py makes volumes with unusual options,
 * runs this on each, and then compares the files that are named here with its own computation of
 * the same pattern:
 *
 *	# volume file PATH SIZE PATTERN		the bytes are testfile_pattern(PATTERN)
 */
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_object.h"

static MALLOC_DEFINE(M_TVOLUME, "volume tests");

#define FOLDERS		5u
#define FILES_MAX	1200u
#define PIECE		(16 * KiB)
#define PATH_BYTES	40

struct file {
	bool		there;
	bool		moved;		/* renamed; the pattern remains its first name's */
	size_t		size;
};

static struct {
	struct mount	*mp;
	struct file	*files;
	uint8_t		*buf, *want;
	unsigned	 made;
} tv;

static void
old_name(char *path, unsigned n)
{
	snprintf(path, PATH_BYTES, "/m/d%u/file-number-%u", n % FOLDERS, n);
}

static void
name_of(char *path, unsigned n)
{
	if (tv.files[n].moved)
		snprintf(path, PATH_BYTES, "/m/d%u/moved-%u", (n + 1) % FOLDERS, n);
	else
		old_name(path, n);
}

/* Mostly small; some reach behind pointer blocks. */
static size_t
size_wanted(unsigned n, uint32_t bsize)
{
	return (n % 11 == 10 ? (size_t)bsize * 14 + n : (size_t)n * 977 % (3 * bsize));
}

/* Fill a file as far as it goes.  0 or ENOSPC. */
static int
file_fill(struct vnode *vp, struct file *f, const char *pattern, size_t size)
{
	int error = 0;

	while (f->size < size && error == 0) {
		size_t n = MIN(size - f->size, PIECE), done = 0;

		testfile_pattern(pattern, f->size, tv.buf, n);
		error = vn_write(vp, tv.buf, n, (off_t)f->size, &done);
		f->size += done;
	}
	return (error);
}

/* Make file n.  0, or ENOSPC: it is not there, or shorter than wanted. */
static int
file_make(unsigned n, uint32_t bsize)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct file *f = &tv.files[n];
	char path[PATH_BYTES];
	struct vnode *vp;
	int error;

	old_name(path, n);
	*f = (struct file){ .there = false };
	error = vn_create(path, &va, &vp);
	if (error != 0)
		return (error);
	f->there = true;
	tv.made++;
	error = file_fill(vp, f, path, size_wanted(n, bsize));
	vrele(vp);
	return (error);
}

static void
file_verify(unsigned n)
{
	const struct file *f = &tv.files[n];
	char path[PATH_BYTES], pattern[PATH_BYTES];
	struct vnode *vp;
	uint64_t size;
	size_t done;

	name_of(path, n);
	old_name(pattern, n);
	if (!CHECK_EQ(namei(path, NULL, 0, &vp), f->there ? 0 : ENOENT) || !f->there)
		return;
	CHECK_EQ(vn_size(vp, &size), 0);
	CHECK_EQ(size, f->size);
	for (size_t off = 0; off < f->size && !ktest_failed(); off += done) {
		size_t len = MIN(f->size - off, PIECE);

		testfile_pattern(pattern, off, tv.want, len);
		CHECK_EQ(vn_read(vp, tv.buf, len, (off_t)off, &done), 0);
		if (!CHECK_EQ(done, len))
			break;
		CHECK_EQ(memcmp(tv.buf, tv.want, len), 0);
	}
	vrele(vp);
	if (ktest_failed())
		printf("# %s, %zu bytes\n", path, f->size);
}

static void
verify_all(bool tell)
{
	char path[PATH_BYTES], pattern[PATH_BYTES];

	CHECK_EQ(vfs_sync_all(true), 0);
	vm_object_cache_shrink(SIZE_MAX, true);
	vnode_shrink(INT32_MAX);
	bio_shrink(SIZE_MAX);
	for (unsigned n = 0; n < FILES_MAX && !ktest_failed(); n++) {
		if (tv.files[n].there || n % 7 == 0)
			file_verify(n);
		if (!tell || !tv.files[n].there)
			continue;
		name_of(path, n);
		old_name(pattern, n);
		printf("# volume file %s %zu %s\n", path, tv.files[n].size, pattern);
	}
}

/* Make the files that are not there until one has no room. */
static void
fill_up(uint32_t bsize)
{
	int error = 0;

	for (unsigned n = 0; n < FILES_MAX && error == 0; n++) {
		if (!tv.files[n].there)
			error = file_make(n, bsize);
	}
	if (error != 0)
		CHECK_EQ(error, ENOSPC);
}

static void
remove_some(unsigned every)
{
	char path[PATH_BYTES];

	for (unsigned n = 0; n < FILES_MAX && !ktest_failed(); n += every) {
		if (!tv.files[n].there)
			continue;
		name_of(path, n);
		CHECK_EQ(vn_remove(path), 0);
		tv.files[n].there = false;
	}
}

/* Rename every other file into the next folder, where there is room for its name. */
static void
move_some(void)
{
	char from[PATH_BYTES], to[PATH_BYTES];

	for (unsigned n = 1; n < FILES_MAX && !ktest_failed(); n += 2) {
		int error;

		if (!tv.files[n].there || tv.files[n].moved)
			continue;
		name_of(from, n);
		tv.files[n].moved = true;
		name_of(to, n);
		error = vn_rename(from, to);
		if (error != 0) {
			tv.files[n].moved = false;
			CHECK_EQ(error, ENOSPC);
		}
	}
}

static bool
volume_enter(void)
{
	const char *word = cmdline_get("volume");
	struct disk *disk = word != NULL ? disk_find(word) : NULL;
	struct vattr va = { .va_type = VDIR, .va_mode = 0755 };
	struct vnode *covered;
	char path[PATH_BYTES];

	if (disk == NULL) {
		ktest_skip("only with volume=DISK");
		return (false);
	}
	if (!CHECK_EQ(vfs_mount("ext2", disk, "", 0, &tv.mp), 0) ||
	    !CHECK_EQ(namei("/m", NULL, 0, &covered), 0))
		return (false);
	CHECK_EQ(tv.mp->mnt_flag & MNT_RDONLY, 0);
	CHECK_EQ(vfs_mount_on(tv.mp, covered), 0);
	vrele(covered);
	for (unsigned n = 0; n < FOLDERS; n++) {
		snprintf(path, sizeof(path), "/m/d%u", n);
		CHECK_EQ(vn_mkdir(path, &va), 0);
	}
	tv.files = kmalloc(FILES_MAX * sizeof(struct file), &M_TVOLUME, M_WAITOK | M_ZERO);
	tv.buf = kmalloc(PIECE, &M_TVOLUME, M_WAITOK);
	tv.want = kmalloc(PIECE, &M_TVOLUME, M_WAITOK);
	return (true);
}

#define IN_ORDER	(20 * MiB)

/* The host counts the pieces. */
KTEST(volume, a_file_in_order)
{
	const char *word = cmdline_get("volume");
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct disk *disk = word != NULL ? disk_find(word) : NULL;
	struct vnode *covered, *vp;
	size_t done;

	if (disk == NULL) {
		ktest_skip("only with volume=DISK");
		return;
	}
	CHECK_OR_RETURN(vfs_mount("ext2", disk, "", 0, &tv.mp) == 0);
	CHECK_OR_RETURN(namei("/m", NULL, 0, &covered) == 0);
	CHECK_EQ(vfs_mount_on(tv.mp, covered), 0);
	vrele(covered);
	tv.buf = kmalloc(PIECE, &M_TVOLUME, M_WAITOK);
	CHECK_EQ(vn_create("/m/order", &va, &vp), 0);
	for (size_t off = 0; off < IN_ORDER && !ktest_failed(); off += done) {
		size_t n = MIN(10000ul, IN_ORDER - off);

		testfile_pattern("/m/order", off, tv.buf, n);
		CHECK_EQ(vn_write(vp, tv.buf, n, (off_t)off, &done), 0);
	}
	CHECK_EQ(vn_fsync(vp), 0);
	vrele(vp);
	kfree(tv.buf, &M_TVOLUME);
	CHECK_EQ(vfs_unmount(tv.mp), 0);
}

KTEST(volume, is_filled_emptied_and_filled_again)
{
	struct statfs st;
	uint32_t bsize;
	unsigned first;

	tv.made = 0;
	if (!volume_enter())
		return;
	bsize = tv.mp->mnt_stat.f_iosize;
	fill_up(bsize);
	first = tv.made;
	CHECK(first > 0);
	CHECK_EQ(tv.mp->mnt_op->statfs(tv.mp, &st), 0);
	printf("# volume full: %u files, %lu of %lu blocks and %lu of %lu inodes free\n", first,
	    st.f_bfree, st.f_blocks, st.f_ffree, st.f_files);
	verify_all(false);
	remove_some(3);
	move_some();
	fill_up(bsize);
	CHECK(tv.made > first);		/* what was freed served */
	verify_all(true);
	kfree(tv.files, &M_TVOLUME);
	kfree(tv.buf, &M_TVOLUME);
	kfree(tv.want, &M_TVOLUME);
	CHECK_EQ(vfs_unmount(tv.mp), 0);
}
