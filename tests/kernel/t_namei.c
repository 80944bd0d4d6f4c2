/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths: dots, slashes, symbolic links, limits, mount points, and the name cache. */
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/testfiles.h"

static MALLOC_DEFINE(M_TNAMEI, "namei tests");

static void
check_same(const char *path, struct vnode *want, int line)
{
	struct vnode *vp;
	int error = namei(path, NULL, 0, &vp);

	if (error != 0) {
		ktest_fail(__FILE__, line, "%s: %s", path, errno_name(error));
		return;
	}
	if (vp != want)
		ktest_fail(__FILE__, line, "%s is inode %lu, must be %lu", path, vp->v_ino, want->v_ino);
	vrele(vp);
}

static void
check_error(const char *path, int want, int line)
{
	struct vnode *vp;
	int error = namei(path, NULL, 0, &vp);

	if (error != want)
		ktest_fail(__FILE__, line, "%s: %s, must be %s", path, error == 0 ? "found" : errno_name(error),
		    errno_name(want));
	if (error == 0)
		vrele(vp);
}
#define CHECK_SAME(path, vp)	check_same(path, vp, __LINE__)
#define CHECK_ERROR(path, err)	check_error(path, err, __LINE__)

KTEST(namei, dots_and_slashes)
{
	struct vnode *seq, *root;

	TESTFILES_OR_SKIP();
	seq = testfile_open("/t/seq");
	root = testfile_open("/");
	if (CHECK(seq != NULL && root != NULL)) {
		CHECK(root->v_type == VDIR);
		CHECK_SAME("/t/../t/./seq", seq);
		CHECK_SAME("//t///.//seq", seq);
		CHECK_SAME("/../../t/d1/d2/../../seq", seq);
		CHECK_SAME("t/seq", seq);
		CHECK_SAME("/..", root);
		CHECK_SAME("/./", root);
		CHECK_SAME("/t/..", root);
		CHECK_SAME(".", root);
	}
	if (seq != NULL)
		vrele(seq);
	if (root != NULL)
		vrele(root);
}

KTEST(namei, what_is_not_there)
{
	TESTFILES_OR_SKIP();
	CHECK_ERROR("", ENOENT);
	CHECK_ERROR("/t/none", ENOENT);
	CHECK_ERROR("/t/none/", ENOENT);
	CHECK_ERROR("/none/seq", ENOENT);
	CHECK_ERROR("/t/seq/", ENOTDIR);
	CHECK_ERROR("/t/seq/x", ENOTDIR);
	CHECK_ERROR("/t/seq/.", ENOTDIR);
	CHECK_ERROR("/t/seq/..", ENOTDIR);
}

KTEST(namei, symbolic_links)
{
	struct vnode *seq, *deep, *vp;
	struct vattr va;

	TESTFILES_OR_SKIP();
	seq = testfile_open("/t/seq");
	deep = testfile_open("/t/d1/d2/d3/deep");
	if (CHECK(seq != NULL && deep != NULL)) {
		CHECK_SAME("/t/fast", seq);
		CHECK_SAME("/t/slow", seq);
		CHECK_SAME("/t/absolute", seq);
		CHECK_SAME("/t/dirlink/d3/deep", deep);
		CHECK_SAME("/t/dirlink/d3/../../d2/d3/deep", deep);
		CHECK_ERROR("/t/fast/", ENOTDIR);
		CHECK_ERROR("/t/dangling", ENOENT);
		CHECK_ERROR("/t/loop", ELOOP);
		CHECK_ERROR("/t/loop/x", ELOOP);
	}
	if (seq != NULL)
		vrele(seq);
	if (deep != NULL)
		vrele(deep);
	if (CHECK_EQ(namei("/t/slow", NULL, NAMEI_NOFOLLOW, &vp), 0)) {
		CHECK_EQ(vp->v_type, VLNK);
		VOP_LOCK(vp, LK_SHARED);
		CHECK_EQ(VOP_GETATTR(vp, &va), 0);
		VOP_UNLOCK(vp);
		CHECK_EQ(va.va_size, 83);
		vrele(vp);
	}
	if (CHECK_EQ(namei("/t/loop", NULL, NAMEI_NOFOLLOW, &vp), 0))
		vrele(vp);
	if (CHECK_EQ(namei("/t/dirlink/", NULL, NAMEI_NOFOLLOW, &vp), 0)) {
		CHECK_EQ(vp->v_type, VDIR);
		vrele(vp);
	}
}

/* "/t" and n times "/dirlink/../..", which comes back to /t each time, then "/seq". */
static void
many_links(char *path, int n)
{
	size_t len = strlcpy(path, "/t", PATH_MAX + 1);

	while (n-- > 0)
		len += strlcpy(path + len, "/dirlink/../..", PATH_MAX + 1 - len);
	strlcpy(path + len, "/seq", PATH_MAX + 1 - len);
}

KTEST(namei, forty_links_are_followed_and_no_more)
{
	char *path;

	TESTFILES_OR_SKIP();
	path = kmalloc(PATH_MAX + 1, &M_TNAMEI, M_WAITOK);
	many_links(path, 2);
	CHECK_ERROR(path, 0);
	many_links(path, 40);
	CHECK_ERROR(path, 0);
	many_links(path, 41);
	CHECK_ERROR(path, ELOOP);
	kfree(path, &M_TNAMEI);
}

KTEST(namei, limits)
{
	char *path;

	TESTFILES_OR_SKIP();
	path = kmalloc(PATH_MAX + 2, &M_TNAMEI, M_WAITOK);
	for (int i = 0; i < PATH_MAX + 1; i++)
		path[i] = "/."[i % 2];
	path[PATH_MAX + 1] = '\0';
	CHECK_ERROR(path, ENAMETOOLONG);
	path[PATH_MAX] = '\0';
	CHECK_EQ(strlen(path), 4095);
	memcpy(path + PATH_MAX - 6, "/t/seq", 6);
	path[PATH_MAX - 7] = '/';
	CHECK_ERROR(path, 0);
	memset(path, 'a', 256);
	path[256] = '\0';
	CHECK_ERROR(path, ENAMETOOLONG);
	path[255] = '\0';
	CHECK_ERROR(path, ENOENT);
	kfree(path, &M_TNAMEI);
}

KTEST(namei, relative_paths_start_where_told)
{
	struct vnode *start, *vp, *deep;

	TESTFILES_OR_SKIP();
	start = testfile_open("/t/d1");
	deep = testfile_open("/t/d1/d2/d3/deep");
	if (CHECK(start != NULL && deep != NULL)) {
		if (CHECK_EQ(namei("d2/d3/deep", start, 0, &vp), 0)) {
			CHECK_EQ((uintptr_t)vp, (uintptr_t)deep);
			vrele(vp);
		}
		if (CHECK_EQ(namei("../dirlink/d3/deep", start, 0, &vp), 0)) {
			CHECK_EQ((uintptr_t)vp, (uintptr_t)deep);
			vrele(vp);
		}
		CHECK_EQ(namei("x", deep, 0, &vp), ENOTDIR);
	}
	if (start != NULL)
		vrele(start);
	if (deep != NULL)
		vrele(deep);
}

KTEST(namei, cache_remembers_presence_and_absence)
{
	struct cache_stats before, after;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	vnode_shrink(INT32_MAX);
	vp = testfile_open("/t/page");
	CHECK_OR_RETURN(vp != NULL);
	cache_get_stats(&before);
	CHECK_SAME("/t/page", vp);
	cache_get_stats(&after);
	CHECK_EQ(after.hits, before.hits + 2);
	CHECK_EQ(after.misses, before.misses);

	CHECK_ERROR("/t/no such file", ENOENT);
	cache_get_stats(&before);
	CHECK_ERROR("/t/no such file", ENOENT);
	cache_get_stats(&after);
	CHECK_EQ(after.negative_hits, before.negative_hits + 1);
	CHECK_EQ(after.misses, before.misses);

	cache_purge(vp);
	cache_get_stats(&before);
	CHECK_SAME("/t/page", vp);
	cache_get_stats(&after);
	CHECK_EQ(after.misses, before.misses + 1);
	CHECK(after.entries <= after.entries_max);
	vrele(vp);
}

/* ---- a filesystem of two directories, to be mounted somewhere ---- */

static struct vnode *twodir_root, *twodir_leaf;	/* referenced while mounted */

static int
twodir_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	if (dvp == twodir_root && len == 4 && memcmp(name, "leaf", 4) == 0)
		*vpp = twodir_leaf;
	else if (dvp == twodir_leaf && len == 2 && memcmp(name, "..", 2) == 0)
		*vpp = twodir_root;
	else
		return (ENOENT);
	vref(*vpp);
	return (0);
}

static const struct vnodeops twodir_vnodeops = { .name = "twodir", .lookup = twodir_lookup };

static int
twodir_mount(struct mount *mp, struct disk *disk, const char *opts)
{
	int error = getnewvnode(mp, &twodir_vnodeops, &twodir_root);

	if (error != 0)
		return (error);
	error = getnewvnode(mp, &twodir_vnodeops, &twodir_leaf);
	if (error != 0) {
		vrele(twodir_root);
		return (error);
	}
	twodir_root->v_type = twodir_leaf->v_type = VDIR;
	twodir_root->v_flag |= VROOT;
	return (0);
}

static int
twodir_getroot(struct mount *mp, struct vnode **vpp)
{
	vref(twodir_root);
	*vpp = twodir_root;
	return (0);
}

static const struct vfsops twodir_vfsops = {
	.name = "twodir", .mount = twodir_mount, .root = twodir_getroot,
};

KTEST(namei, mount_points_are_crossed_both_ways)
{
	struct vnode *covered, *parent, *seq;
	struct mount *mp;

	TESTFILES_OR_SKIP();
	vfs_register(&twodir_vfsops);
	CHECK_OR_RETURN(CHECK_EQ(vfs_mount("twodir", NULL, NULL, 0, &mp), 0));
	covered = testfile_open("/t/d1");
	parent = testfile_open("/t");
	seq = testfile_open("/t/seq");
	if (CHECK(covered != NULL && parent != NULL && seq != NULL)) {
		CHECK_EQ(vfs_mount_on(mp, seq), ENOTDIR);
		CHECK_EQ(vfs_mount_on(mp, covered), 0);
		CHECK_EQ(vfs_mount_on(mp, covered), EBUSY);
		CHECK_SAME("/t/d1", twodir_root);
		CHECK_SAME("/t/d1/", twodir_root);
		CHECK_SAME("/t/d1/leaf", twodir_leaf);
		CHECK_SAME("/t/d1/leaf/../leaf", twodir_leaf);
		CHECK_SAME("/t/d1/..", parent);
		CHECK_SAME("/t/d1/leaf/../../seq", seq);
		CHECK_ERROR("/t/d1/d2", ENOENT);
		CHECK_EQ(vfs_unmount(mp), EBUSY);	/* both are in use */
		CHECK_SAME("/t/d1/leaf", twodir_leaf);
		vrele(twodir_root);
		vrele(twodir_leaf);
		CHECK_EQ(vfs_unmount(mp), 0);
		CHECK_SAME("/t/d1", covered);
		CHECK_ERROR("/t/d1/d2", 0);
	}
	if (covered != NULL)
		vrele(covered);
	if (parent != NULL)
		vrele(parent);
	if (seq != NULL)
		vrele(seq);
}

KTEST(namei, unmounting_a_volume_in_use_is_refused)
{
	struct vnode *vp, *again;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/seq");
	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(vfs_unmount(rootfs), EBUSY);
	again = testfile_open("/t/seq");		/* it goes on */
	CHECK(again == vp);
	if (again != NULL)
		vrele(again);
	vrele(vp);
}
