/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmpfs: the tree of names, reading a directory that changes, one copy of the bytes for read, write
 * and mmap, swapping, limits, and files that outlive their names.  The runner's leak law sees to it
 * that a mount leaves nothing behind.
 */
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/t_swap.h"
#include "tests/kernel/vmtest.h"
#include "vm/vm_swapout.h"

static MALLOC_DEFINE(M_TTMP, "tmpfs tests");

static struct mount *mp;		/* the running test's */
static struct vnode *root;		/* its root, referenced */

static bool
enter(const char *opts)
{
	mp = NULL;
	root = NULL;
	if (!CHECK_EQ(vfs_mount("tmpfs", NULL, opts, 0, &mp), 0))
		return (false);
	return (CHECK_EQ(VFS_ROOT(mp, &root), 0));
}

static void
leave(void)
{
	vrele(root);
	CHECK_EQ(vfs_unmount(mp), 0);
}

/* `name` in `dvp`, made; referenced, or NULL and the test failed. */
static struct vnode *
make(struct vnode *dvp, const char *name, enum vtype type)
{
	struct vattr va = { .va_type = type, .va_mode = 0755 };
	struct vnode *vp = NULL;
	int error;

	VOP_LOCK(dvp, LK_EXCLUSIVE);
	if (type == VDIR)
		error = VOP_MKDIR(dvp, name, strlen(name), &va, &vp);
	else
		error = VOP_CREATE(dvp, name, strlen(name), &va, &vp);
	VOP_UNLOCK(dvp);
	CHECK_EQ(error, 0);
	return (vp);
}

static void
make_only(struct vnode *dvp, const char *name, enum vtype type)
{
	struct vnode *vp = make(dvp, name, type);

	if (vp != NULL)
		vrele(vp);
}

static int
unlink_in(struct vnode *dvp, const char *name, bool dir)
{
	int error;

	VOP_LOCK(dvp, LK_EXCLUSIVE);
	error = dir ? VOP_RMDIR(dvp, name, strlen(name)) : VOP_REMOVE(dvp, name, strlen(name));
	VOP_UNLOCK(dvp);
	return (error);
}

static int
move(struct vnode *from, const char *fname, struct vnode *to, const char *tname)
{
	return (VOP_RENAME(from, fname, strlen(fname), to, tname, strlen(tname), 0));
}

static bool
exists(const char *path)
{
	struct vnode *vp;

	if (namei(path, root, NAMEI_NOFOLLOW, &vp) != 0)
		return (false);
	vrele(vp);
	return (true);
}

static void
attributes(struct vnode *vp, struct vattr *va)
{
	VOP_LOCK(vp, LK_SHARED);
	CHECK_EQ(VOP_GETATTR(vp, va), 0);
	VOP_UNLOCK(vp);
}

static uint8_t
byte_at(size_t off)
{
	return ((uint8_t)(off * 7 + off / PAGE_SIZE + 1) | 1);
}

static void
write_pattern(struct vnode *vp, size_t off, size_t len)
{
	uint8_t *buf = kmalloc(len, &M_TTMP, M_WAITOK);
	size_t done;

	for (size_t i = 0; i < len; i++)
		buf[i] = byte_at(off + i);
	CHECK_EQ(vn_write(vp, buf, len, (off_t)off, &done), 0);
	CHECK_EQ(done, len);
	kfree(buf, &M_TTMP);
}

/* [off, +len) holds the pattern up to `zero_from`, and zeros from there on. */
static void
check_pattern(struct vnode *vp, size_t off, size_t len, size_t zero_from)
{
	uint8_t *buf = kmalloc(len, &M_TTMP, M_WAITOK);
	size_t done, i;

	CHECK_EQ(vn_read(vp, buf, len, (off_t)off, &done), 0);
	CHECK_EQ(done, len);
	for (i = 0; i < done; i++) {
		if (buf[i] != (off + i < zero_from ? byte_at(off + i) : 0))
			break;
	}
	CHECK_EQ(i, len);
	kfree(buf, &M_TTMP);
}

KTEST(tmpfs, names)
{
	struct vnode *a, *b, *f, *up;
	struct vattr va;

	if (!enter(""))
		return;
	a = make(root, "a", VDIR);
	b = make(a, "b", VDIR);
	f = make(b, "f", VREG);
	attributes(root, &va);
	CHECK_EQ(va.va_mode, 01777);
	CHECK_EQ(va.va_nlink, 3);
	CHECK(exists("a/b/f"));
	if (CHECK_EQ(namei("a/b/../../a", root, 0, &up), 0)) {
		CHECK(up == a);
		vrele(up);
	}
	CHECK_EQ(unlink_in(root, "a", true), ENOTEMPTY);
	CHECK_EQ(unlink_in(root, "a", false), EISDIR);
	CHECK_EQ(unlink_in(b, "f", true), ENOTDIR);
	CHECK_EQ(unlink_in(b, "none", false), ENOENT);
	VOP_LOCK(root, LK_EXCLUSIVE);
	CHECK_EQ(VOP_LINK(root, "g", 1, f), 0);
	CHECK_EQ(VOP_LINK(root, "a", 1, f), EEXIST);
	CHECK_EQ(VOP_LINK(root, "d", 1, a), EPERM);
	VOP_UNLOCK(root);
	attributes(f, &va);
	CHECK_EQ(va.va_nlink, 2);
	CHECK_EQ(unlink_in(b, "f", false), 0);
	CHECK(exists("g") && !exists("a/b/f"));
	CHECK_EQ(unlink_in(a, "b", true), 0);
	/* a directory that is gone takes no names */
	VOP_LOCK(b, LK_EXCLUSIVE);
	CHECK_EQ(VOP_CREATE(b, "x", 1, &va, &up), ENOENT);
	VOP_UNLOCK(b);
	vrele(f);
	vrele(b);
	vrele(a);
	leave();
}

KTEST(tmpfs, symbolic_links_are_followed)
{
	struct vattr va = { .va_type = VLNK, .va_mode = 0777 };
	struct vnode *f, *l = NULL, *vp;

	if (!enter(""))
		return;
	f = make(root, "f", VREG);
	VOP_LOCK(root, LK_EXCLUSIVE);
	CHECK_EQ(VOP_SYMLINK(root, "l", 1, "./f", &va, &l), 0);
	VOP_UNLOCK(root);
	if (CHECK_EQ(namei("l", root, 0, &vp), 0)) {
		CHECK(vp == f);
		vrele(vp);
	}
	attributes(l, &va);
	CHECK_EQ(va.va_size, 3);
	vrele(l);
	vrele(f);
	leave();
}

KTEST(tmpfs, renames)
{
	struct vnode *a, *b, *f, *g, *vp;
	struct vattr va;

	if (!enter(""))
		return;
	a = make(root, "a", VDIR);
	b = make(a, "b", VDIR);
	f = make(root, "f", VREG);
	g = make(b, "g", VREG);
	CHECK_EQ(move(root, "a", b, "x"), EINVAL);
	CHECK_EQ(move(root, "a", root, "f"), ENOTDIR);
	CHECK_EQ(move(root, "f", a, "b"), EISDIR);
	CHECK_EQ(move(b, "g", root, "a"), ENOTEMPTY);
	CHECK_EQ(move(root, "none", a, "x"), ENOENT);
	CHECK_EQ(move(root, "f", b, "g"), 0);
	CHECK(!exists("f"));
	if (CHECK_EQ(namei("a/b/g", root, 0, &vp), 0)) {
		CHECK(vp == f);
		vrele(vp);
	}
	attributes(g, &va);
	CHECK_EQ(va.va_nlink, 0);
	/* a directory moves, and so does its way up and the count of its parents' links */
	CHECK_EQ(move(a, "b", root, "c"), 0);
	attributes(a, &va);
	CHECK_EQ(va.va_nlink, 2);
	attributes(root, &va);
	CHECK_EQ(va.va_nlink, 4);
	if (CHECK_EQ(namei("c/..", root, 0, &vp), 0)) {
		CHECK(vp == root);
		vrele(vp);
	}
	CHECK_EQ(move(root, "a", root, "c"), ENOTEMPTY);
	CHECK_EQ(move(root, "c", root, "a"), 0);	/* onto an empty one */
	CHECK(exists("a/g") && !exists("c"));
	vrele(g);
	vrele(f);
	vrele(b);
	vrele(a);
	leave();
}

#define FILES	40

/* What a reader of a directory has seen. */
struct seen {
	unsigned	times[FILES];
	unsigned	room;		/* entries that it still takes in this call */
};

static int
note_entry(void *arg, const struct dirent *de)
{
	struct seen *seen = arg;

	if (seen->room == 0)
		return (1);
	seen->room--;
	if (de->d_name[0] == 'f')
		seen->times[(de->d_name[1] - '0') * 10 + de->d_name[2] - '0']++;
	return (0);
}

KTEST(tmpfs, reading_a_directory_while_it_changes)
{
	struct seen seen = { .room = 0 };
	off_t off = 0, before = -1;
	char name[8];

	if (!enter(""))
		return;
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%02u", i);
		make_only(root, name, VREG);
	}
	while (off != before) {
		before = off;
		seen.room = 7;
		VOP_LOCK(root, LK_SHARED);
		CHECK_EQ(VOP_READDIR(root, &off, note_entry, &seen), 0);
		VOP_UNLOCK(root);
		for (unsigned i = 0; i < FILES; i++) {
			snprintf(name, sizeof(name), "f%02u", i);
			if (seen.times[i] > 0 && exists(name))
				CHECK_EQ(unlink_in(root, name, false), 0);
		}
	}
	for (unsigned i = 0; i < FILES; i++)
		CHECK_EQ(seen.times[i], 1);
	leave();
}

KTEST(tmpfs, read_write_and_mmap_are_one)
{
	struct vnode *f;
	vm_offset_t va;
	uint8_t byte = 0x5a, got;
	size_t done;

	if (!enter(""))
		return;
	f = make(root, "f", VREG);
	write_pattern(f, 100, 3 * PAGE_SIZE);
	check_pattern(f, 100, 3 * PAGE_SIZE, SIZE_MAX);
	vt_begin();
	va = vt_map(f, 0, 5 * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE, MAP_SHARED);
	if (va != 0) {
		CHECK_EQ(vt_load(va + 5000), byte_at(5000));
		CHECK_EQ(vt_load(va + 50), 0);
		vt_store(va + 5000, 0x77);
		CHECK_EQ(vn_read(f, &got, 1, 5000, &done), 0);
		CHECK_EQ(got, 0x77);
		CHECK_EQ(vn_write(f, &byte, 1, 5001, &done), 0);
		CHECK_EQ(vt_load(va + 5001), 0x5a);
		CHECK_SIGBUS(va + 4 * PAGE_SIZE);
		/* what is stored behind the end is not there when the file grows over it */
		vt_store(va + 3 * PAGE_SIZE + 200, 0x11);
		CHECK_EQ(vn_truncate(f, 4 * PAGE_SIZE + 1), 0);
		CHECK_EQ(vt_load(va + 3 * PAGE_SIZE + 200), 0);
		CHECK_EQ(vt_load(va + 4 * PAGE_SIZE), 0);
		CHECK_EQ(vn_truncate(f, PAGE_SIZE + 10), 0);
		CHECK_EQ(vt_load(va + PAGE_SIZE + 9), byte_at(PAGE_SIZE + 9));
		CHECK_EQ(vt_load(va + PAGE_SIZE + 10), 0);
		CHECK_SIGBUS(va + 2 * PAGE_SIZE);
	}
	vt_end();
	vrele(f);
	leave();
}

KTEST(tmpfs, private_mappings_keep_what_they_wrote)
{
	struct vnode *f;
	vm_offset_t va;

	if (!enter(""))
		return;
	f = make(root, "f", VREG);
	write_pattern(f, 0, 3 * PAGE_SIZE);
	vt_begin();
	va = vt_map(f, 0, 4 * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE, MAP_PRIVATE);
	if (va != 0) {
		vt_store(va + 10, 0xee);
		CHECK_EQ(vt_load(va + 11), byte_at(11));
		check_pattern(f, 0, 3 * PAGE_SIZE, SIZE_MAX);
		CHECK_SIGBUS(va + 3 * PAGE_SIZE);	/* behind the end also through a shadow */
		CHECK_EQ(vn_truncate(f, 0), 0);
		CHECK_EQ(vt_load(va + 10), 0xee);
		CHECK_SIGBUS(va + PAGE_SIZE);
	}
	vt_end();
	vrele(f);
	leave();
}

KTEST(tmpfs, a_file_without_names_lives_while_it_is_used)
{
	uint64_t objects = vm_object_count();
	struct statfs before, after;
	struct vnode *f;
	vm_offset_t va;

	if (!enter(""))
		return;
	CHECK_EQ(mp->mnt_op->statfs(mp, &before), 0);
	f = make(root, "f", VREG);
	write_pattern(f, 0, 4 * PAGE_SIZE);
	CHECK_EQ(mp->mnt_op->statfs(mp, &after), 0);
	CHECK_EQ(before.f_bfree - after.f_bfree, 4);
	CHECK_EQ(unlink_in(root, "f", false), 0);
	check_pattern(f, 0, 4 * PAGE_SIZE, SIZE_MAX);
	vt_begin();
	va = vt_map_ro(f, 0, 4 * PAGE_SIZE);
	vrele(f);
	CHECK_EQ(mp->mnt_op->statfs(mp, &after), 0);
	CHECK_EQ(before.f_bfree, after.f_bfree);
	if (va != 0)
		CHECK_EQ(vt_load(va + 2 * PAGE_SIZE + 3), byte_at(2 * PAGE_SIZE + 3));
	vt_end();
	CHECK_EQ(vm_object_count(), objects);
	/* and one that nobody uses goes at once, though its vnode is still known */
	f = make(root, "g", VREG);
	write_pattern(f, 0, PAGE_SIZE);
	vrele(f);
	CHECK_EQ(unlink_in(root, "g", false), 0);
	CHECK_EQ(vm_object_count(), objects);
	leave();
}

/* Neither goes while a file is mapped: a mapping has no vnode, only the object. */
KTEST(tmpfs, a_mapped_file_keeps_its_mount)
{
	struct vattr va = { .va_mode = 0700 };
	struct vnode *f, *g = NULL;
	size_t done;
	char byte;

	if (!enter(""))
		return;
	f = make(root, "f", VREG);
	write_pattern(f, 0, 3 * PAGE_SIZE);
	vt_begin();
	(void)vt_map_ro(f, 0, 3 * PAGE_SIZE);
	CHECK_EQ(vfs_remount(mp, MNT_RDONLY), EBUSY);
	vrele(f);
	vrele(root);
	CHECK_EQ(vfs_unmount(mp), EBUSY);
	CHECK_EQ(VFS_ROOT(mp, &root), 0);
	CHECK_EQ(namei("f", root, 0, &f), 0);		/* and goes on */
	check_pattern(f, 0, 3 * PAGE_SIZE, SIZE_MAX);
	vt_end();
	CHECK_EQ(vfs_remount(mp, MNT_RDONLY), 0);
	CHECK_EQ(vn_write(f, "x", 1, 0, &done), EROFS);
	CHECK_EQ(vn_truncate(f, 0), EROFS);
	CHECK_EQ(vn_read(f, &byte, 1, 5, &done), 0);
	CHECK_EQ((uint8_t)byte, byte_at(5));
	VOP_LOCK(root, LK_EXCLUSIVE);
	CHECK_EQ(VOP_CREATE(root, "g", 1, &va, &g), EROFS);
	CHECK_EQ(VOP_LINK(root, "g", 1, f), EROFS);
	VOP_UNLOCK(root);
	CHECK_EQ(unlink_in(root, "f", false), EROFS);
	CHECK_EQ(move(root, "f", root, "g"), EROFS);
	CHECK_EQ(vfs_remount(mp, 0), 0);
	CHECK_EQ(vn_truncate(f, 1), 0);
	vrele(f);
	leave();
}

KTEST(tmpfs, the_mount_is_full)
{
	uint8_t *buf = kmalloc(3 * PAGE_SIZE, &M_TTMP, M_WAITOK | M_ZERO);
	struct vnode *f, *g;
	struct vattr va;
	size_t done;

	if (!enter("size=16k,mode=700")) {
		kfree(buf, &M_TTMP);
		return;
	}
	f = make(root, "f", VREG);
	g = make(root, "g", VREG);
	write_pattern(f, 0, 2 * PAGE_SIZE);
	CHECK_EQ(vn_write(g, buf, 3 * PAGE_SIZE, 0, &done), ENOSPC);
	CHECK_EQ(done, 2 * PAGE_SIZE);
	attributes(g, &va);
	CHECK_EQ(va.va_size, 2 * PAGE_SIZE);
	write_pattern(f, 10, 100);		/* what is there can be written again */
	CHECK_EQ(vn_truncate(g, 0), 0);
	write_pattern(f, 2 * PAGE_SIZE, 2 * PAGE_SIZE);
	attributes(root, &va);
	CHECK_EQ(va.va_mode, 0700);
	/* a hole costs nothing */
	CHECK_EQ(vn_truncate(g, 100 * PAGE_SIZE), 0);
	vrele(g);
	vrele(f);
	leave();
	kfree(buf, &M_TTMP);
	CHECK_EQ(vfs_mount("tmpfs", NULL, "size=lots", 0, &mp), EINVAL);
}

KTEST(tmpfs, files_are_swapped_out)
{
	struct vm_object *object = NULL;
	struct vnode *f;

	if (!scratch_begin())
		return;
	if (enter("")) {
		f = make(root, "f", VREG);
		write_pattern(f, 0, 20 * PAGE_SIZE - 5);
		VOP_LOCK(f, LK_SHARED);
		CHECK_EQ(f->v_op->object(f, &object), 0);
		VOP_UNLOCK(f);
		(void)vm_object_swapout(object, 0, object->size);
		CHECK_EQ(object->resident_page_count, 0);
		CHECK_EQ(swap_inuse(), 20);
		write_pattern(f, 5 * PAGE_SIZE + 7, 3);	/* brings one page back to change it */
		check_pattern(f, 0, 20 * PAGE_SIZE - 5, SIZE_MAX);
		CHECK_EQ(vn_truncate(f, 3 * PAGE_SIZE), 0);
		CHECK_EQ(swap_inuse(), 3);
		vm_object_deallocate(object);
		vrele(f);
		leave();
		CHECK_EQ(swap_inuse(), 0);
	}
	scratch_end();
}
