/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names in ext2: made, linked, renamed, removed; directories that grow, shrink inside and had an
 * index; files that live on without a name.
 */
#include "kernel/fs/ext2/ext2.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/scratch.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_TEXT2WN, "ext2 name tests");

static const struct vattr dir_attr = { .va_type = VDIR, .va_mode = 0755 };

static void
touch(const char *path)
{
	struct vnode *vp = scratch_create(path);

	if (vp != NULL)
		vrele(vp);
}

static uint32_t
links(const char *path)
{
	struct vattr va = { 0 };
	struct vnode *vp;

	if (namei(path, NULL, NAMEI_NOFOLLOW, &vp) != 0)
		return (0);
	scratch_getattr(vp, &va);
	vrele(vp);
	return (va.va_nlink);
}

/* Everything to disk, and nothing remembered. */
static void
forget(void)
{
	CHECK_EQ(vfs_sync_all(true), 0);
	vm_object_cache_shrink(SIZE_MAX, true);
	vnode_shrink(INT32_MAX);
	bio_shrink(SIZE_MAX);
}

/* The bitmap forgets that an inode is in use.  => returns the group */
static struct ext2_group *
inode_bit_clear(struct ext2_mount *em, uint64_t ino)
{
	struct ext2_group *group = &em->em_groups[(ino - 1) / em->em_inodes_per_group];
	uint32_t bit = (uint32_t)((ino - 1) % em->em_inodes_per_group);
	struct buf *bp;

	if (CHECK_EQ(bread(em->em_devvp, ext2_devblk(em, group->inode_bitmap), em->em_bsize, &bp), 0)) {
		((uint8_t *)bp->b_data)[bit / 8] &= (uint8_t)~(1u << bit % 8);
		bdwrite(bp, BUF_REST);
	}
	return (group);
}

KTEST(ext2w, a_number_in_use_is_not_given_away)
{
	struct ext2_mount *em;
	struct ext2_group *group;
	uint64_t ino;

	SCRATCH_OR_SKIP();
	em = MTOE(rootfs);
	for (int cached = 1; cached >= 0; cached--) {
		touch("/w/a");
		ino = scratch_ino("/w/a");
		if (!cached)
			forget();		/* only the disk knows the inode */
		group = inode_bit_clear(em, ino);
		touch("/w/b");
		CHECK(scratch_ino("/w/b") != ino && scratch_ino("/w/a") == ino);
		CHECK(em->em_damaged);
		/* The bit is set again, and a number was counted that never was free.  The volume is sound. */
		spin_lock(&em->em_lock);
		em->em_damaged = false;
		group->free_inodes++;
		em->em_free_inodes++;
		spin_unlock(&em->em_lock);
		CHECK_EQ(vn_remove("/w/a"), 0);
		CHECK_EQ(vn_remove("/w/b"), 0);
	}
	scratch_leave();
}

KTEST(ext2w, names_are_checked)
{
	struct vattr file = { .va_type = VREG, .va_mode = 0644 };
	char longname[270] = "/w/";
	struct vnode *vp;

	SCRATCH_OR_SKIP();
	touch("/w/a");
	CHECK_EQ(vn_create("/w/a", &file, &vp), EEXIST);
	CHECK_EQ(vn_create("/w/.", &file, &vp), EEXIST);
	CHECK_EQ(vn_create("/w/..", &file, &vp), EEXIST);
	CHECK_EQ(vn_create("/w/a/b", &file, &vp), ENOTDIR);
	CHECK_EQ(vn_create("/w/none/b", &file, &vp), ENOENT);
	memset(longname + 3, 'l', 256);
	CHECK_EQ(vn_create(longname, &file, &vp), ENAMETOOLONG);
	longname[3 + 255] = '\0';
	touch(longname);
	forget();
	CHECK(scratch_exists(longname));
	CHECK_EQ(vn_mkdir("/w/a", &dir_attr), EEXIST);
	CHECK_EQ(vn_remove("/w/none"), ENOENT);
	CHECK_EQ(vn_remove("/w"), EISDIR);
	CHECK_EQ(vn_rmdir("/w/a"), ENOTDIR);
	CHECK_EQ(vn_rmdir("/w/."), EINVAL);
	CHECK_EQ(vn_rmdir("/w/.."), ENOTEMPTY);
	CHECK_EQ(vn_rmdir("/w"), ENOTEMPTY);
	CHECK_EQ(vn_link("/w", "/w/dirlink"), EPERM);
	CHECK_EQ(vn_link("/w/a", "/w/a"), EEXIST);
	scratch_leave();
}

KTEST(ext2w, directories_count_their_links)
{
	SCRATCH_OR_SKIP();
	CHECK_EQ(links("/w"), 2);
	CHECK_EQ(vn_mkdir("/w/d", &dir_attr), 0);
	CHECK_EQ(vn_mkdir("/w/d/e", &dir_attr), 0);
	CHECK_EQ(links("/w"), 3);
	CHECK_EQ(links("/w/d"), 3);
	CHECK_EQ(links("/w/d/e"), 2);
	CHECK_EQ(scratch_ino("/w/d/e/.."), scratch_ino("/w/d"));
	forget();
	CHECK_EQ(links("/w/d"), 3);
	CHECK_EQ(vn_rmdir("/w/d"), ENOTEMPTY);
	CHECK_EQ(vn_rename("/w/d/e", "/w/moved"), 0);
	CHECK_EQ(links("/w"), 4);
	CHECK_EQ(links("/w/d"), 2);
	CHECK_EQ(scratch_ino("/w/moved/.."), scratch_ino("/w"));
	CHECK_EQ(vn_rmdir("/w/d"), 0);
	CHECK_EQ(vn_rmdir("/w/moved"), 0);
	CHECK_EQ(links("/w"), 2);
	scratch_leave();
}

KTEST(ext2w, hard_links_and_symbolic_links)
{
	char target[PATH_MAX + 1], got[PATH_MAX + 1];
	struct vnode *vp;
	size_t len, done;

	SCRATCH_OR_SKIP();
	vp = scratch_create("/w/one");
	if (vp != NULL) {
		CHECK_EQ(vn_write(vp, "hello", 5, 0, &done), 0);
		CHECK_EQ(vn_link("/w/one", "/w/two"), 0);
		CHECK_EQ(links("/w/one"), 2);
		CHECK_EQ(scratch_ino("/w/two"), vp->v_ino);
		CHECK_EQ(vn_remove("/w/one"), 0);
		CHECK_EQ(links("/w/two"), 1);
		vrele(vp);
	}
	for (len = 1; len <= 1000; len = len < 58 ? 58 : len < 62 ? len + 1 : len + 469) {
		memset(target, 't', len);
		target[len] = '\0';
		CHECK_EQ(vn_symlink(target, "/w/link"), 0);
		forget();
		CHECK_EQ(namei("/w/link", NULL, NAMEI_NOFOLLOW, &vp), 0);
		VOP_LOCK(vp, LK_SHARED);
		CHECK_EQ(VOP_READLINK(vp, got, PATH_MAX, &done), 0);
		VOP_UNLOCK(vp);
		CHECK_EQ(done, len);
		CHECK_EQ(memcmp(got, target, len), 0);
		vrele(vp);
		CHECK_EQ(vn_remove("/w/link"), 0);
	}
	scratch_leave();
}

KTEST(ext2w, a_file_without_a_name_lives_while_it_is_used)
{
	struct statfs before, during, after;
	struct model m;

	SCRATCH_OR_SKIP();
	scratch_statfs(&before);
	if (model_open(&m, "/w/unnamed", 200 * KiB)) {
		model_write(&m, 0, 100 * KiB);
		CHECK_EQ(vn_fsync(m.vp), 0);
		CHECK_EQ(vn_remove("/w/unnamed"), 0);
		CHECK(!scratch_exists("/w/unnamed"));
		model_verify(&m);
		model_write(&m, 50 * KiB, 150 * KiB);
		CHECK_EQ(vn_fsync(m.vp), 0);
		touch("/w/unnamed");			/* the name is free */
		CHECK(scratch_ino("/w/unnamed") != m.vp->v_ino);
		CHECK_EQ(vfs_sync_all(true), 0);
		scratch_statfs(&during);
		CHECK(during.f_bfree + 200 * KiB / before.f_bsize <= before.f_bfree);
		model_verify(&m);
	}
	model_close(&m);
	CHECK_EQ(vn_remove("/w/unnamed"), 0);
	CHECK_EQ(vfs_sync_all(true), 0);
	scratch_statfs(&after);
	CHECK_EQ(after.f_bfree, before.f_bfree);
	CHECK_EQ(after.f_ffree, before.f_ffree);
	scratch_leave();
}

/* Pretend that it has as many links as can be. */
static void
links_set(const char *path, uint32_t n)
{
	struct vnode *vp = testfile_open(path);

	if (vp == NULL)
		return;
	VTOI(vp)->i_nlink = n;
	vrele(vp);
}

KTEST(ext2w, links_are_limited)
{
	SCRATCH_OR_SKIP();
	touch("/w/file");
	CHECK_EQ(vn_mkdir("/w/parent", &dir_attr), 0);
	CHECK_EQ(vn_mkdir("/w/child", &dir_attr), 0);
	links_set("/w/file", EXT2_LINK_MAX);
	links_set("/w/parent", EXT2_LINK_MAX);
	CHECK_EQ(vn_link("/w/file", "/w/link"), EMLINK);
	CHECK_EQ(vn_mkdir("/w/parent/sub", &dir_attr), EMLINK);
	CHECK_EQ(vn_rename("/w/child", "/w/parent/child"), EMLINK);
	CHECK(!scratch_exists("/w/link") && !scratch_exists("/w/parent/sub") && scratch_exists("/w/child"));
	touch("/w/parent/other");		/* a file is no link to its folder */
	links_set("/w/file", 1);
	links_set("/w/parent", 2);
	CHECK_EQ(vn_link("/w/file", "/w/link"), 0);
	scratch_leave();
}

/* ---- rename ---- */

enum kind { NOTHING, A_FILE, EMPTY_DIR, FULL_DIR, KINDS };

static void
make_kind(const char *path, enum kind kind)
{
	char child[64];

	if (kind == A_FILE)
		touch(path);
	if (kind == EMPTY_DIR || kind == FULL_DIR)
		CHECK_EQ(vn_mkdir(path, &dir_attr), 0);
	if (kind == FULL_DIR) {
		snprintf(child, sizeof(child), "%s/inside", path);
		touch(child);
	}
}

static int
rename_result(enum kind from, enum kind to)
{
	bool from_dir = from == EMPTY_DIR || from == FULL_DIR, to_dir = to == EMPTY_DIR || to == FULL_DIR;

	if (from == NOTHING)
		return (ENOENT);
	if (to == NOTHING)
		return (0);
	if (from_dir != to_dir)
		return (from_dir ? ENOTDIR : EISDIR);
	return (to == FULL_DIR ? ENOTEMPTY : 0);
}

static void
rename_case(const char *from, const char *to, enum kind from_kind, enum kind to_kind, bool known_to_disk)
{
	uint64_t ino, other;
	int want = rename_result(from_kind, to_kind);

	make_kind(from, from_kind);
	make_kind(to, to_kind);
	if (known_to_disk)
		forget();
	ino = scratch_ino(from);
	other = scratch_ino(to);
	CHECK_EQ(vn_rename(from, to), want);
	if (known_to_disk)
		forget();
	CHECK_EQ(scratch_ino(from), want == 0 ? 0 : ino);
	CHECK_EQ(scratch_ino(to), want == 0 ? ino : other);
	if (ktest_failed())
		printf("# %s (%d) to %s (%d), %d\n", from, from_kind, to, to_kind, known_to_disk);
}

KTEST(ext2w, rename_matrix)
{
	for (int n = 0; n < KINDS * KINDS * 4 && !ktest_failed(); n++) {
		SCRATCH_OR_SKIP();
		CHECK_EQ(vn_mkdir("/w/x", &dir_attr), 0);
		CHECK_EQ(vn_mkdir("/w/y", &dir_attr), 0);
		rename_case("/w/x/from", (n & 1) != 0 ? "/w/y/to" : "/w/x/to", (enum kind)(n / 4 / KINDS), (enum kind)(n / 4 % KINDS),
		    (n & 2) != 0);
		scratch_leave();
	}
}

KTEST(ext2w, rename_refuses_what_would_tie_a_knot)
{
	SCRATCH_OR_SKIP();
	CHECK_EQ(vn_mkdir("/w/a", &dir_attr), 0);
	CHECK_EQ(vn_mkdir("/w/a/b", &dir_attr), 0);
	CHECK_EQ(vn_mkdir("/w/a/b/c", &dir_attr), 0);
	CHECK_EQ(vn_rename("/w/a", "/w/a/b/c/d"), EINVAL);
	CHECK_EQ(vn_rename("/w/a", "/w/a/d"), EINVAL);
	CHECK_EQ(vn_rename("/w/a/b/c", "/w/a/b"), ENOTEMPTY);
	CHECK_EQ(vn_rename("/w/a/b/c", "/w/a"), ENOTEMPTY);
	CHECK_EQ(vn_rename("/w/a/b/c", "/w/a/b/c"), 0);
	CHECK_EQ(vn_rename("/w/a/.", "/w/x"), EBUSY);
	CHECK_EQ(vn_rename("/w/a", "/w/a/b/.."), EBUSY);
	touch("/w/f");
	CHECK_EQ(vn_link("/w/f", "/w/g"), 0);
	CHECK_EQ(vn_rename("/w/f", "/w/g"), 0);		/* two names of one file: nothing happens */
	CHECK(scratch_exists("/w/f") && scratch_exists("/w/g"));
	CHECK_EQ(vn_rename("/w/a/b", "/w/a/a-name-that-is-much-longer-than-the-old-one"), 0);
	CHECK(scratch_exists("/w/a/a-name-that-is-much-longer-than-the-old-one/c"));
	scratch_leave();
}

KTEST(ext2w, a_replaced_file_lives_while_it_is_used)
{
	struct model old, new;

	SCRATCH_OR_SKIP();
	if (model_open(&old, "/w/old", 100 * KiB) && model_open(&new, "/w/new", 100 * KiB)) {
		model_write(&old, 0, 60 * KiB);
		model_write(&new, 0, 70 * KiB);
		CHECK_EQ(vn_rename("/w/new", "/w/old"), 0);
		CHECK_EQ(scratch_ino("/w/old"), new.vp->v_ino);
		model_write(&old, 60 * KiB, 10 * KiB);
		model_verify(&old);
		model_verify(&new);
	}
	model_close(&old);
	model_close(&new);
	scratch_leave();
}

/* ---- big directories ---- */

#define MANY	700

static void
many_name(char *path, size_t size, int n)
{
	snprintf(path, size, "/w/many/%d%.*s", n, n * 7 % 100,
	    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
}

static int
count_entry(void *arg, const struct dirent *de)
{
	++*(int *)arg;
	return (0);
}

static int
count_entries(const char *path)
{
	struct vnode *vp = testfile_open(path);
	int count = 0;
	off_t off = 0;

	if (vp == NULL)
		return (0);
	VOP_LOCK(vp, LK_SHARED);
	CHECK_EQ(VOP_READDIR(vp, &off, count_entry, &count), 0);
	VOP_UNLOCK(vp);
	vrele(vp);
	return (count - 2);
}

KTEST(ext2w, a_directory_grows_and_its_room_is_used_again)
{
	char path[160];
	struct vattr va;
	struct vnode *vp;
	uint64_t size;

	SCRATCH_OR_SKIP();
	CHECK_EQ(vn_mkdir("/w/many", &dir_attr), 0);
	for (int n = 0; n < MANY && !ktest_failed(); n++) {
		many_name(path, sizeof(path), n);
		touch(path);
	}
	CHECK_EQ(count_entries("/w/many"), MANY);
	forget();
	CHECK_EQ(count_entries("/w/many"), MANY);
	vp = testfile_open("/w/many");
	if (vp == NULL)
		return;
	scratch_getattr(vp, &va);
	size = va.va_size;
	CHECK(size > 30000);
	for (int n = 0; n < MANY && !ktest_failed(); n += 2) {
		many_name(path, sizeof(path), n);
		CHECK_EQ(vn_remove(path), 0);
	}
	CHECK_EQ(count_entries("/w/many"), MANY / 2);
	for (int n = 0; n < MANY && !ktest_failed(); n++) {
		many_name(path, sizeof(path), n);
		CHECK_EQ(scratch_exists(path), n % 2 != 0);
	}
	for (int n = 0; n < MANY && !ktest_failed(); n += 2) {
		many_name(path, sizeof(path), n);
		touch(path);
	}
	scratch_getattr(vp, &va);
	CHECK(va.va_size <= size + size / 8 + scratch_bsize());
	vrele(vp);
	scratch_leave();
}

#define CROWD	2000
#define BLOCKS_PER_NAME	40		/* metadata blocks looked at, on the average */

/* In a big directory a name costs what it costs in a small one. */
KTEST(ext2w, names_in_a_big_directory_are_found_without_a_walk)
{
	struct bio_stats before, after;
	struct vattr full, again;
	struct vnode *dvp;
	char path[160];

	if (vm_page_count < 64 * MiB / PAGE_SIZE || scratch_bsize() > 8192) {
		ktest_skip("for 64 MiB of memory, and directories of many blocks");
		return;
	}
	SCRATCH_OR_SKIP();
	CHECK_EQ(vn_mkdir("/w/crowd", &dir_attr), 0);
	bio_get_stats(&before);
	for (int n = 0; n < CROWD && !ktest_failed(); n++) {
		snprintf(path, sizeof(path), "/w/crowd/%0120d", n);
		touch(path);
	}
	dvp = testfile_open("/w/crowd");
	scratch_getattr(dvp, &full);
	for (int n = 0; n < CROWD && !ktest_failed(); n++) {
		snprintf(path, sizeof(path), "/w/crowd/%0120d", n * 7 % CROWD);
		CHECK_EQ(vn_remove(path), 0);
		snprintf(path, sizeof(path), "/w/crowd/+%0119d", n);
		touch(path);
	}
	scratch_getattr(dvp, &again);
	CHECK(again.va_size <= full.va_size + 2 * scratch_bsize());	/* each takes another's room */
	vrele(dvp);
	CHECK_EQ(count_entries("/w/crowd"), CROWD);
	bio_get_stats(&after);
	CHECK(after.hits + after.misses - before.hits - before.misses < 3 * CROWD * BLOCKS_PER_NAME);
	scratch_leave();
}

#define CAST	400

KTEST(ext2w, names_agree_with_a_model)
{
	char a[160], b[160];
	uint8_t *there;
	int count = 0;

	SCRATCH_OR_SKIP();
	there = kmalloc(CAST, &M_TEXT2WN, M_WAITOK | M_ZERO);
	CHECK_EQ(vn_mkdir("/w/many", &dir_attr), 0);
	for (int n = 0; n < 6000 && !ktest_failed(); n++) {
		int i = (int)(ktest_random() % CAST), j = (int)(ktest_random() % CAST), is_dir = i % 5 == 0;

		many_name(a, sizeof(a), i);
		many_name(b, sizeof(b), j);
		switch (ktest_random() % 6) {
		case 0:
		case 1:
			if (!there[i] && is_dir)
				CHECK_EQ(vn_mkdir(a, &dir_attr), 0);
			else if (!there[i])
				touch(a);
			count += !there[i];
			there[i] = true;
			break;
		case 2:
			CHECK_EQ(is_dir ? vn_rmdir(a) : vn_remove(a), there[i] ? 0 : ENOENT);
			count -= there[i];
			there[i] = false;
			break;
		case 3:
			/* folders among themselves, files among themselves */
			if (is_dir != (j % 5 == 0) || i == j)
				break;
			CHECK_EQ(vn_rename(a, b), there[i] ? 0 : ENOENT);
			count -= there[i] && there[j];
			there[j] = there[j] || there[i];
			there[i] = false;
			break;
		case 4:
			if (n % 50 == 0)
				forget();
			break;
		default:
			CHECK_EQ(scratch_exists(a), there[i]);
		}
	}
	CHECK_EQ(count_entries("/w/many"), count);
	for (int i = 0; i < CAST && !ktest_failed(); i++) {
		many_name(a, sizeof(a), i);
		CHECK_EQ(scratch_exists(a), there[i]);
	}
	kfree(there, &M_TEXT2WN);
	scratch_leave();
}

/* A directory that mke2fs filled: its blocks follow other rules than ours. */
KTEST(ext2w, a_directory_made_elsewhere_can_be_changed)
{
	char path[64];
	int before;

	TESTFILES_OR_SKIP();
	SCRATCH_OR_SKIP();
	before = count_entries("/t/many");
	for (int n = 0; n < 40; n++) {
		snprintf(path, sizeof(path), "/t/many/guest%d", n);
		touch(path);
	}
	CHECK_EQ(count_entries("/t/many"), before + 40);
	forget();
	for (int n = 0; n < 40; n++) {
		snprintf(path, sizeof(path), "/t/many/guest%d", n);
		CHECK_EQ(vn_remove(path), 0);
	}
	CHECK_EQ(count_entries("/t/many"), before);
	/* One of its own names goes and comes back. */
	CHECK_EQ(vn_rename("/t/many/entry000", "/w/visitor"), 0);
	CHECK_EQ(vn_rename("/w/visitor", "/t/many/entry000"), 0);
	forget();
	CHECK(scratch_exists("/t/many/entry000"));
	CHECK_EQ(count_entries("/t/many"), before);
	scratch_leave();
}

KTEST(ext2w, a_changed_directory_loses_its_index)
{
	struct vnode *vp;
	struct ext2_inode *ip;

	SCRATCH_OR_SKIP();
	CHECK_EQ(vn_mkdir("/w/indexed", &dir_attr), 0);
	forget();
	vp = testfile_open("/w/indexed");
	if (vp != NULL) {
		ip = VTOI(vp);
		ip->i_flags |= EXT2_FL_INDEX;		/* as if e2fsck -D had been here */
		touch("/w/indexed/name");
		CHECK_EQ(ip->i_flags & EXT2_FL_INDEX, 0);
		vrele(vp);
	}
	scratch_leave();
}

/* ---- inodes ---- */

KTEST(ext2w, folders_in_new_folders_reach_the_disk)
{
	char path[128] = "/w";
	struct vnode *vp;

	SCRATCH_OR_SKIP();
	for (int n = 0; n < 20; n++) {
		strlcat(path, "/d", sizeof(path));
		CHECK_EQ(vn_mkdir(path, &dir_attr), 0);
	}
	strlcat(path, "/file", sizeof(path));
	vp = scratch_create(path);
	if (vp != NULL) {
		CHECK_EQ(vn_fsync(vp), 0);
		vrele(vp);
	}
	forget();
	CHECK(scratch_exists(path));
	scratch_leave();
}

#define THREADS	4

struct worker {
	struct thread	*td;
	int		 number;
	int		 failures;
};

static void
work(void *arg)
{
	struct vattr file = { .va_type = VREG, .va_mode = 0644 };
	struct worker *w = arg;
	char path[48], other[48];
	struct vnode *vp;
	size_t done;

	for (int n = 0; n < 60; n++) {
		snprintf(path, sizeof(path), "/w/%s/f%d-%d", n % 2 != 0 ? "a" : "b", w->number, n % 7);
		snprintf(other, sizeof(other), "/w/%s/f%d-%d", n % 3 != 0 ? "a" : "b", (w->number + 1) % THREADS, n % 5);
		if (vn_create(path, &file, &vp) == 0) {
			w->failures += vn_write(vp, path, sizeof(path), n * 1000, &done) != 0;
			vrele(vp);
		}
		(void)vn_rename(path, other);		/* may be gone already */
		(void)vn_link(other, path);
		if (n % 4 == 0)
			(void)vn_remove(other);
		if (n % 10 == 0)
			w->failures += vfs_sync_all(true) != 0;
	}
}

KTEST(ext2w, threads_change_the_same_directories)
{
	struct worker workers[THREADS];

	SCRATCH_OR_SKIP();
	CHECK_EQ(vn_mkdir("/w/a", &dir_attr), 0);
	CHECK_EQ(vn_mkdir("/w/b", &dir_attr), 0);
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .number = i };
		workers[i].td = thread_create("namer", PRI_KERNEL, work, &workers[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		if (CHECK(workers[i].td != NULL))
			thread_join(workers[i].td);
		CHECK_EQ(workers[i].failures, 0);
	}
	scratch_leave();
}
