/* SPDX-License-Identifier: BSD-2-Clause */
/* Helpers of the tests that write: see scratch.h. */
#include "tests/kernel/scratch.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "vm/vm_object.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_SCRATCH, "scratch");

#define CHUNK	(64 * KiB)

static const struct vattr dir_attr = { .va_type = VDIR, .va_mode = 0755 };
static const struct vattr file_attr = { .va_type = VREG, .va_mode = 0644 };

struct first_name {
	char		name[NAME_MAX + 1];
	enum vtype	type;
};

static int
take_name(void *arg, const struct dirent *de)
{
	struct first_name *f = arg;

	if (streq(de->d_name, ".") || streq(de->d_name, ".."))
		return (0);
	strlcpy(f->name, de->d_name, sizeof(f->name));
	f->type = de->d_type;
	return (1);
}

/*
 * Remove everything below a directory: one name at a time, for removing changes what a listing
 * shows.
 */
static int
remove_below(const char *path)
{
	char *child = kmalloc(PATH_MAX + 1, &M_SCRATCH, M_WAITOK);
	struct first_name f;
	struct vnode *vp;
	int error = 0;

	while (error == 0) {
		off_t off = 0;

		error = namei(path, NULL, 0, &vp);
		if (error != 0)
			break;
		f.name[0] = '\0';
		VOP_LOCK(vp, LK_SHARED);
		error = VOP_READDIR(vp, &off, take_name, &f);
		VOP_UNLOCK(vp);
		vrele(vp);
		if (error != 0 || f.name[0] == '\0')
			break;
		snprintf(child, PATH_MAX, "%s/%s", path, f.name);
		error = vn_remove(child);
		if (error == EISDIR) {
			error = remove_below(child);
			if (error == 0)
				error = vn_rmdir(child);
		}
	}
	kfree(child, &M_SCRATCH);
	return (error);
}

bool
scratch_enter(void)
{
	int error;

	if (rootfs == NULL || (rootfs->mnt_flag & MNT_RDONLY) != 0) {
		ktest_skip("the root volume cannot be written");
		return (false);
	}
	if (scratch_exists("/w"))
		CHECK_EQ(remove_below("/w"), 0);
	error = vn_mkdir("/w", &dir_attr);
	CHECK(error == 0 || error == EEXIST);
	return (error == 0 || error == EEXIST);
}

void
scratch_leave(void)
{
	CHECK_EQ(remove_below("/w"), 0);
	CHECK_EQ(vn_rmdir("/w"), 0);
	CHECK_EQ(vfs_sync_all(true), 0);
}

struct vnode *
scratch_create(const char *path)
{
	struct vnode *vp;
	int error = vn_create(path, &file_attr, &vp);

	if (error == 0)
		return (vp);
	ktest_fail(__FILE__, __LINE__, "%s cannot be created: %s", path, errno_name(error));
	return (NULL);
}

uint64_t
scratch_ino(const char *path)
{
	struct vnode *vp;
	uint64_t ino = 0;

	if (namei(path, NULL, NAMEI_NOFOLLOW, &vp) == 0) {
		ino = vp->v_ino;
		vrele(vp);
	}
	return (ino);
}

bool
scratch_exists(const char *path)
{
	return (scratch_ino(path) != 0);
}

void
scratch_getattr(struct vnode *vp, struct vattr *va)
{
	memset(va, 0, sizeof(*va));
	VOP_LOCK(vp, LK_SHARED);
	CHECK_EQ(VOP_GETATTR(vp, va), 0);
	VOP_UNLOCK(vp);
}

void
scratch_statfs(struct statfs *st)
{
	CHECK_EQ(rootfs->mnt_op->statfs(rootfs, st), 0);
}

uint32_t
scratch_bsize(void)
{
	return (rootfs->mnt_stat.f_iosize);
}

/* ---- models ---- */

bool
model_open(struct model *m, const char *path, size_t room)
{
	m->vp = scratch_create(path);
	m->bytes = kmalloc(room, &M_SCRATCH, M_WAITOK | M_ZERO);
	m->size = 0;
	m->room = room;
	return (m->vp != NULL);
}

void
model_close(struct model *m)
{
	if (m->vp != NULL)
		vrele(m->vp);
	kfree(m->bytes, &M_SCRATCH);
}

bool
model_write(struct model *m, size_t off, size_t len)
{
	uint64_t r = ktest_random();
	size_t done;

	if (!CHECK(off + len <= m->room))
		return (false);
	for (size_t i = 0; i < len; i++)
		m->bytes[off + i] = (uint8_t)((r >> i % 56) + i * 7) | 1;
	m->size = MAX(m->size, off + len);
	if (CHECK_EQ(vn_write(m->vp, m->bytes + off, len, (off_t)off, &done), 0) && CHECK_EQ(done, len))
		return (true);
	ktest_fail(__FILE__, __LINE__, "writing %zu at %zu", len, off);
	return (false);
}

bool
model_truncate(struct model *m, size_t size)
{
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
	return (CHECK_EQ(vn_truncate(m->vp, (off_t)size), 0));
}

bool
model_verify(struct model *m)
{
	uint8_t *got = kmalloc(CHUNK, &M_SCRATCH, M_WAITOK);
	bool good = true;
	uint64_t size;
	size_t done;

	CHECK_EQ(vn_size(m->vp, &size), 0);
	good = CHECK_EQ(size, m->size);
	for (size_t off = 0; off < m->size && good; off += CHUNK) {
		size_t n = MIN(m->size - off, (size_t)CHUNK);

		good = CHECK_EQ(vn_read(m->vp, got, CHUNK, (off_t)off, &done), 0) && CHECK_EQ(done, n);
		for (size_t i = 0; i < n && good; i++) {
			if (got[i] == m->bytes[off + i])
				continue;
			ktest_fail(__FILE__, __LINE__, "byte %zu of %zu is 0x%02x, must be 0x%02x", off + i, m->size, got[i],
			    m->bytes[off + i]);
			good = false;
		}
	}
	kfree(got, &M_SCRATCH);
	return (good);
}

void
model_evict(struct model *m)
{
	VOP_LOCK(m->vp, LK_EXCLUSIVE);
	CHECK_EQ(VOP_FSYNC(m->vp, 0, -1, 0), 0);
	VOP_UNLOCK(m->vp);
	/* Nobody references the object now: it goes, and its pages with it. */
	vm_object_cache_shrink(SIZE_MAX, true);
	CHECK(m->vp->v_object == NULL);
}

uint64_t
scratch_fill(struct vnode *vp)
{
	char *bytes = kmalloc(64 * KiB, &M_SCRATCH, M_WAITOK);
	uint64_t total = 0;
	size_t done;
	int error = 0;

	memset(bytes, 0x5a, 64 * KiB);
	while (error == 0 && total < 1 * GiB) {
		error = vn_write(vp, bytes, 64 * KiB, (off_t)total, &done);
		total += done;
	}
	CHECK_EQ(error, ENOSPC);
	kfree(bytes, &M_SCRATCH);
	return (total);
}
