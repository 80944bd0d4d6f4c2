/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls on names: opening, making, linking, renaming and removing files, and walking the tree. */
#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"

#define AT_SYMLINK_NOFOLLOW	0x100
#define AT_REMOVEDIR		0x200
#define AT_SYMLINK_FOLLOW	0x400

static MALLOC_DEFINE(M_NAMES, "names for programs");

/* ---- open ---- */

/*
 * Make the file, or find what is there.  EEXIST with *vpp: something is there, and *vpp is it, a link as itself.
 * => place->dvp not locked
 */
static int
create_or_find(struct name_place *place, uint32_t mode, struct vnode **vpp)
{
	struct vattr va = { .va_type = VREG, .va_mode = (uint16_t)(mode & 07777 & ~fs_umask()),
	    .va_uid = curproc->cred->uid, .va_gid = curproc->cred->gid };
	int error = namei(place->name, place->dvp, NAMEI_NOFOLLOW, vpp);

	if (error != ENOENT)
		return (error == 0 ? EEXIST : error);
	error = vnode_access(place->dvp, 3);
	if (error != 0)
		return (error);
	VOP_LOCK(place->dvp, LK_EXCLUSIVE);
	error = VOP_CREATE(place->dvp, place->name, place->len, &va, vpp);
	VOP_UNLOCK(place->dvp);
	/* re-check: somebody was faster. */
	if (error == EEXIST && namei(place->name, place->dvp, NAMEI_NOFOLLOW, vpp) != 0)
		*vpp = NULL;
	return (error == EOPNOTSUPP ? EACCES : error);
}

/*
 * On from a link: *place becomes what the link says, seen from where it lies.  EEXIST and *vpp: the link led to a file at once.
 */
static int
follow_link(struct name_place *place, struct vnode *link, struct vnode **vpp)
{
	struct vnode *dvp = place->dvp;
	size_t len = 0;
	char *text;
	int error = VOP_JUMP(link, vpp);

	if (error != EOPNOTSUPP)
		return (error == 0 ? EEXIST : error);
	text = kmalloc(PATH_MAX + 1, &M_NAMES, M_WAITOK);
	VOP_LOCK(link, LK_SHARED);
	error = VOP_READLINK(link, text, PATH_MAX, &len);
	VOP_UNLOCK(link);
	if (error == 0) {
		text[len] = '\0';
		place->dvp = NULL;
		error = namei_parent(text, dvp, place);
		vrele(dvp);
	}
	kfree(text, &M_NAMES);
	return (error);
}

/* "." and "..": names of directories that are there, and cannot be made or moved. */
static bool
is_dots(const struct name_place *place)
{
	return (streq(place->name, ".") || streq(place->name, ".."));
}

/*
 * The vnode that O_CREAT opens, made where a chain of links ends if nothing is there.  A name with a slash behind it
 * is that of a directory, and those are not made so.
 */
static int
open_create(int dirfd, const char *path, uint32_t flags, uint32_t mode, struct vnode **vpp, bool *created)
{
	struct name_place *place = kmalloc(sizeof(*place), &M_NAMES, M_WAITOK | M_ZERO);
	struct vnode *vp = NULL, *link;
	int error = fs_parent(dirfd, path, place);

	for (int links = 0; error == 0; links++) {
		error = place->slash && !is_dots(place) ? EISDIR : create_or_find(place, mode, &vp);
		*created = error == 0;
		if (error != EEXIST || (flags & O_EXCL))
			break;
		error = 0;
		if (vp == NULL)
			continue;		/* made by somebody else and removed again: once more */
		if (vp->v_type != VLNK || (flags & O_NOFOLLOW))
			break;
		link = vp;
		vp = NULL;
		error = links < SYMLINKS_MAX ? follow_link(place, link, &vp) : ELOOP;
		vrele(link);
		if (error == EEXIST && vp != NULL) {
			error = 0;
			break;
		}
	}
	if (error == EEXIST && place->dvp == NULL && (flags & O_EXCL) == 0)
		error = EISDIR;			/* the root */
	if (error == 0) {
		*vpp = vp;
	} else if (vp != NULL) {
		vrele(vp);
	}
	if (place->dvp != NULL)
		vrele(place->dvp);
	kfree(place, &M_NAMES);
	return (error);
}

/* May it be opened so? */
static int
open_check(struct vnode *vp, uint32_t flags)
{
	uint32_t mode = flags & O_ACCMODE;
	int want = mode == O_RDONLY ? 4 : mode == O_WRONLY ? 2 : 6;

	if ((flags & O_DIRECTORY) && vp->v_type != VDIR)
		return (ENOTDIR);
	if (vp->v_type == VLNK && (flags & O_PATH) == 0)
		return (ELOOP);
	if (vp->v_type == VDIR && (mode != O_RDONLY || (flags & O_CREAT)))
		return (EISDIR);
	if (flags & O_PATH)
		return (0);
	if (vp->v_type == VREG && (mode != O_RDONLY || (flags & O_TRUNC))) {
		if (vp->v_flag & (VTEXT | VSWAP))
			return (ETXTBSY);
		if (!vnode_is_writable(vp))
			return (EROFS);
	}
	return (vnode_access(vp, want | (flags & O_TRUNC ? 2 : 0)));
}

static int64_t
open_path(int dirfd, const char *path, uint32_t flags, uint32_t mode)
{
	struct vnode *vp = NULL;
	struct file *fp;
	bool created = false;
	int64_t fd;
	int error;

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;		/* a place only: the rest has no meaning */
	if (flags & O_TMPFILE)
		return (-EOPNOTSUPP);
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return (-EINVAL);
	if (flags & O_CREAT)
		error = open_create(dirfd, path, flags, mode, &vp, &created);
	else
		error = fs_lookup(dirfd, path, flags & O_NOFOLLOW ? NAMEI_NOFOLLOW : 0, &vp);
	if (error != 0)
		return (-error);
	error = created ? 0 : open_check(vp, flags);
	if (error == 0 && (flags & O_TRUNC) && !created && vp->v_type == VREG)
		error = vn_truncate(vp, 0);
	if (error != 0) {
		vrele(vp);
		return (-error);
	}
	error = file_open_vnode(vp, flags, &fp);
	if (error != 0)
		return (-error);
	fd = fd_install(fp, 0, (flags & O_CLOEXEC) != 0);
	if (fd < 0)
		file_release(fp);
	return (fd);
}

int64_t
sys_openat(const uint64_t *a)
{
	int64_t result;
	char *path;
	int error = path_get(a[1], &path);

	if (error != 0)
		return (-error);
	result = open_path((int)a[0], path, (uint32_t)a[2], (uint32_t)a[3]);
	path_put(path);
	return (result);
}

int64_t
sys_open(const uint64_t *a)
{
	return (sys_openat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1], a[2] }));
}

int64_t
sys_creat(const uint64_t *a)
{
	return (sys_openat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1] }));
}

/* ---- making and removing names ---- */

/* What to do with a directory and a name in it; the directory is not locked. */
typedef int (*place_fn)(struct name_place *place, void *arg);

static int64_t
at_place(int dirfd, vm_offset_t upath, place_fn fn, void *arg)
{
	struct name_place *place;
	char *path;
	int error = path_get(upath, &path);

	if (error != 0)
		return (-error);
	place = kmalloc(sizeof(*place), &M_NAMES, M_WAITOK);
	error = fs_parent(dirfd, path, place);
	path_put(path);
	if (error == 0) {
		error = vnode_access(place->dvp, 3);
		if (error == 0)
			error = fn(place, arg);
		vrele(place->dvp);
	}
	kfree(place, &M_NAMES);
	return (error == EOPNOTSUPP ? -EPERM : -error);
}

static int
place_mkdir(struct name_place *place, void *arg)
{
	struct vnode *vp = NULL;
	int error;

	VOP_LOCK(place->dvp, LK_EXCLUSIVE);
	error = VOP_MKDIR(place->dvp, place->name, place->len, arg, &vp);
	VOP_UNLOCK(place->dvp);
	if (vp != NULL)
		vrele(vp);
	return (error);
}

int64_t
sys_mkdirat(const uint64_t *a)
{
	struct vattr va = { .va_type = VDIR, .va_mode = (uint16_t)(a[2] & 01777 & ~fs_umask()),
	    .va_uid = curproc->cred->uid, .va_gid = curproc->cred->gid };

	return (at_place((int)a[0], a[1], place_mkdir, &va));
}

int64_t
sys_mkdir(const uint64_t *a)
{
	return (sys_mkdirat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1] }));
}

/* May this name become something new?  One that exists is refused first, then a slash, unless it is for a directory. */
static int
place_check_new(struct name_place *place)
{
	struct vnode *vp;

	if (namei(place->name, place->dvp, NAMEI_NOFOLLOW, &vp) == 0) {
		vrele(vp);
		return (EEXIST);
	}
	return (place->slash ? ENOENT : 0);
}

static int
place_mknod(struct name_place *place, void *arg)
{
	const struct vattr *va = arg;
	struct vnode *vp = NULL;
	int error = place_check_new(place);

	if (error != 0)
		return (error);
	if ((va->va_type == VCHR || va->va_type == VBLK) && curproc->cred->uid != 0)
		return (EPERM);
	VOP_LOCK(place->dvp, LK_EXCLUSIVE);
	error = VOP_CREATE(place->dvp, place->name, place->len, va, &vp);
	VOP_UNLOCK(place->dvp);
	if (vp != NULL)
		vrele(vp);
	return (error);
}

int64_t
sys_mknodat(const uint64_t *a)
{
	static const enum vtype types[16] = { [0] = VREG, [1] = VFIFO, [2] = VCHR, [4] = VDIR, [6] = VBLK, [8] = VREG, [12] = VSOCK };
	struct vattr va = { .va_type = types[a[2] >> 12 & 15], .va_mode = (uint16_t)(a[2] & 07777 & ~fs_umask()),
	    .va_uid = curproc->cred->uid, .va_gid = curproc->cred->gid, .va_rdev = (uint32_t)a[3] };

	if (va.va_type == VNON || va.va_type == VDIR)
		return (va.va_type == VDIR ? -EPERM : -EINVAL);
	return (at_place((int)a[0], a[1], place_mknod, &va));
}

int64_t
sys_mknod(const uint64_t *a)
{
	return (sys_mknodat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1], a[2] }));
}

static int
place_symlink(struct name_place *place, void *arg)
{
	struct vattr va = { .va_type = VLNK, .va_mode = 0777, .va_uid = curproc->cred->uid,
	    .va_gid = curproc->cred->gid };
	struct vnode *vp = NULL;
	int error = place_check_new(place);

	if (error != 0)
		return (error);
	VOP_LOCK(place->dvp, LK_EXCLUSIVE);
	error = VOP_SYMLINK(place->dvp, place->name, place->len, arg, &va, &vp);
	VOP_UNLOCK(place->dvp);
	if (vp != NULL)
		vrele(vp);
	return (error);
}

int64_t
sys_symlinkat(const uint64_t *a)
{
	int64_t result;
	char *target;
	int error = path_get(a[0], &target);

	if (error != 0)
		return (-error);
	result = target[0] == '\0' ? -ENOENT : at_place((int)a[1], a[2], place_symlink, target);
	path_put(target);
	return (result);
}

int64_t
sys_symlink(const uint64_t *a)
{
	return (sys_symlinkat((uint64_t[]){ a[0], (uint64_t)AT_FDCWD, a[1] }));
}

static int
place_link(struct name_place *place, void *arg)
{
	struct vnode *vp = arg;
	int error = place_check_new(place);

	if (error != 0)
		return (error);
	if (vp->v_type == VDIR)
		return (EPERM);
	if (vp->v_mount != place->dvp->v_mount)
		return (EXDEV);
	VOP_LOCK(place->dvp, LK_EXCLUSIVE);
	error = VOP_LINK(place->dvp, place->name, place->len, vp);
	VOP_UNLOCK(place->dvp);
	return (error);
}

int64_t
sys_linkat(const uint64_t *a)
{
	struct vnode *vp;
	int64_t result;
	char *path;
	int error = path_get(a[1], &path);

	if (error != 0)
		return (-error);
	error = fs_lookup((int)a[0], path, a[4] & AT_SYMLINK_FOLLOW ? 0 : NAMEI_NOFOLLOW, &vp);
	path_put(path);
	if (error != 0)
		return (-error);
	result = at_place((int)a[2], a[3], place_link, vp);
	vrele(vp);
	return (result);
}

int64_t
sys_link(const uint64_t *a)
{
	return (sys_linkat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], (uint64_t)AT_FDCWD, a[1], 0 }));
}

/* May this name go?  Not a mount point's, and not that of a file with a slash behind it. */
static int
place_check_old(struct name_place *place, bool dir)
{
	struct vnode *vp;
	int error = namei(place->name, place->dvp, NAMEI_NOFOLLOW, &vp);

	if (error != 0)
		return (error);
	if (vp->v_mount != place->dvp->v_mount && vp->v_mount != NULL)
		error = EBUSY;
	else if (place->slash && !dir)
		error = vp->v_type == VDIR ? EISDIR : ENOTDIR;
	vrele(vp);
	return (error);
}

static int
place_unlink(struct name_place *place, void *arg)
{
	bool dir = *(bool *)arg;
	int error = place_check_old(place, dir);

	if (error != 0)
		return (error);
	VOP_LOCK(place->dvp, LK_EXCLUSIVE);
	if (dir)
		error = VOP_RMDIR(place->dvp, place->name, place->len);
	else
		error = VOP_REMOVE(place->dvp, place->name, place->len);
	VOP_UNLOCK(place->dvp);
	return (error);
}

int64_t
sys_unlinkat(const uint64_t *a)
{
	bool dir = (a[2] & AT_REMOVEDIR) != 0;
	int64_t result;

	if ((a[2] & ~(uint64_t)AT_REMOVEDIR) != 0)
		return (-EINVAL);
	result = at_place((int)a[0], a[1], place_unlink, &dir);
	return (result == -EEXIST ? (dir ? -EBUSY : -EISDIR) : result);
}

int64_t
sys_unlink(const uint64_t *a)
{
	return (sys_unlinkat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], 0 }));
}

int64_t
sys_rmdir(const uint64_t *a)
{
	return (sys_unlinkat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], AT_REMOVEDIR }));
}

struct rename_to {
	int		dirfd;
	const char	*path;
	bool		noreplace;
};

static int
place_rename(struct name_place *from, void *arg)
{
	struct rename_to *to = arg;
	struct name_place *place = kmalloc(sizeof(*place), &M_NAMES, M_WAITOK);
	int error = fs_parent(to->dirfd, to->path, place);

	if (error == 0) {
		error = vnode_access(place->dvp, 3);
		if (error == 0 && from->dvp->v_mount != place->dvp->v_mount)
			error = EXDEV;
		if (error == 0 && (is_dots(from) || is_dots(place)))
			error = to->noreplace && !is_dots(from) ? EEXIST : EBUSY;
		if (error == 0)
			error = VOP_RENAME(from->dvp, from->name, from->len, place->dvp, place->name, place->len,
			    (to->noreplace ? RENAME_NOREPLACE : 0) | (from->slash || place->slash ? RENAME_DIRECTORY : 0));
		vrele(place->dvp);
	} else if (error == EEXIST) {
		error = EBUSY;			/* the root */
	}
	kfree(place, &M_NAMES);
	return (error);
}

int64_t
sys_renameat2(const uint64_t *a)
{
	struct rename_to to = { .dirfd = (int)a[2], .noreplace = a[4] == 1 };
	int64_t result;
	char *path;
	int error;

	if (a[4] > 1)
		return (-EINVAL);
	error = path_get(a[3], &path);
	if (error != 0)
		return (-error);
	to.path = path;
	result = at_place((int)a[0], a[1], place_rename, &to);
	path_put(path);
	return (result);
}

int64_t
sys_renameat(const uint64_t *a)
{
	return (sys_renameat2((uint64_t[]){ a[0], a[1], a[2], a[3], 0 }));
}

int64_t
sys_rename(const uint64_t *a)
{
	return (sys_renameat2((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], (uint64_t)AT_FDCWD, a[1], 0 }));
}

/* ---- directories ---- */

int64_t
sys_chdir(const uint64_t *a)
{
	struct vnode *vp;
	char *path;
	int error = path_get(a[0], &path);

	if (error != 0)
		return (-error);
	error = fs_lookup(AT_FDCWD, path, 0, &vp);
	path_put(path);
	if (error != 0)
		return (-error);
	error = vp->v_type != VDIR ? ENOTDIR : vnode_access(vp, 1);
	if (error != 0)
		vrele(vp);
	else
		fs_set_cwd(vp);
	return (-error);
}

int64_t
sys_fchdir(const uint64_t *a)
{
	struct vnode *vp;
	int error = (int)a[0] == AT_FDCWD ? EBADF : fs_start((int)a[0], &vp);

	if (error == 0)
		fs_set_cwd(vp);
	return (-error);
}

int64_t
sys_getcwd(const uint64_t *a)
{
	size_t size = MIN(a[1], (uint64_t)PATH_MAX + 1);
	struct vnode *cwd;
	int64_t len;
	char *buf;
	int error = fs_start(AT_FDCWD, &cwd);

	if (error != 0)
		return (-error);
	if (size < 2) {
		vrele(cwd);
		return (size == 0 ? -EINVAL : -ERANGE);
	}
	buf = kmalloc(size, &M_NAMES, M_WAITOK);
	len = fs_path_of(cwd, buf, size);
	vrele(cwd);
	if (len >= 0) {
		len++;
		if (copyout(buf, a[0], (size_t)len) != 0)
			len = -EFAULT;
	}
	kfree(buf, &M_NAMES);
	return (len);
}

int64_t
sys_umask(const uint64_t *a)
{
	return (fs_set_umask((uint32_t)a[0]));
}

/* Linux's struct linux_dirent64: ino, offset of the next, record length, type, name. */
#define DIRENT_HEADER	19
#define DIRENT_ROOM	(32 * KiB)

struct dirent_fill {
	char	*buf;
	size_t	 used, size;
};

static uint8_t
dirent_type(enum vtype type)
{
	static const uint8_t types[] = {
		[VREG] = 8, [VDIR] = 4, [VLNK] = 10, [VBLK] = 6, [VCHR] = 2, [VFIFO] = 1, [VSOCK] = 12
	};

	return (type < nitems(types) ? types[type] : 0);
}

static int
dirent_add(void *arg, const struct dirent *de)
{
	struct dirent_fill *f = arg;
	size_t len = roundup(DIRENT_HEADER + de->d_namlen + 1ul, 8);
	char *p = f->buf + f->used;
	uint64_t ino = de->d_ino, next = (uint64_t)de->d_next;
	uint16_t reclen = (uint16_t)len;

	if (f->used + len > f->size)
		return (EINVAL);
	memset(p, 0, len);
	memcpy(p, &ino, 8);
	memcpy(p + 8, &next, 8);
	memcpy(p + 16, &reclen, 2);
	p[18] = (char)dirent_type(de->d_type);
	memcpy(p + DIRENT_HEADER, de->d_name, de->d_namlen);
	f->used += len;
	return (0);
}

static int64_t
read_directory(struct file *fp, vm_offset_t to, size_t size)
{
	struct dirent_fill fill = { .size = MIN(size, (size_t)DIRENT_ROOM) };
	off_t off = fp->pos;
	int error;

	if (fp->vp == NULL || fp->vp->v_type != VDIR)
		return (-ENOTDIR);
	fill.buf = kmalloc(MAX(fill.size, (size_t)1), &M_NAMES, M_WAITOK);
	VOP_LOCK(fp->vp, LK_SHARED);
	error = VOP_READDIR(fp->vp, &off, dirent_add, &fill);
	VOP_UNLOCK(fp->vp);
	if (fill.used > 0) {
		error = copyout(fill.buf, to, fill.used);
		if (error == 0)
			fp->pos = off;
	}
	kfree(fill.buf, &M_NAMES);
	return (error != 0 ? -error : (int64_t)fill.used);
}

int64_t
sys_getdents64(const uint64_t *a)
{
	struct file *fp = fd_get((int)a[0]);
	int64_t result;

	if (fp == NULL)
		return (-EBADF);
	mutex_lock(&fp->pos_lock);
	result = read_directory(fp, a[1], (uint32_t)a[2]);
	mutex_unlock(&fp->pos_lock);
	file_release(fp);
	return (result);
}
