/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls on what files are: stat and its relatives, access, modes, owners, times, sizes, volumes. */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"

#define AT_SYMLINK_NOFOLLOW	0x100
#define AT_EACCESS		0x200
#define AT_EMPTY_PATH		0x1000

static MALLOC_DEFINE(M_READLINK, "link targets");

/* Linux's struct stat for x86-64, 144 bytes. */
struct user_stat {
	uint64_t	dev, ino, nlink;
	uint32_t	mode, uid, gid, pad0;
	uint64_t	rdev;
	int64_t		size, blksize, blocks;
	int64_t		atime, atime_nsec, mtime, mtime_nsec, ctime, ctime_nsec;
	int64_t		unused[3];
};
_Static_assert(sizeof(struct user_stat) == 144, "struct stat");

static uint32_t
type_bits(enum vtype type)
{
	static const uint32_t bits[] = {
		[VREG] = 0100000, [VDIR] = 0040000, [VLNK] = 0120000, [VBLK] = 0060000, [VCHR] = 0020000,
		[VFIFO] = 0010000, [VSOCK] = 0140000
	};

	return (type < nitems(bits) ? bits[type] : 0);
}

/* A number that tells volumes apart; 0: no volume. */
static uint64_t
device_number(const struct vnode *vp)
{
	return (vp != NULL && vp->v_mount != NULL ? ((uintptr_t)vp->v_mount >> 6 & 0xffff) + 0x100 : 0);
}

/* What stat() and its relatives tell. */
struct seen {
	struct vattr	va;
	uint64_t	dev;
};

static int
stat_out(const struct seen *seen, vm_offset_t to)
{
	const struct vattr *va = &seen->va;
	struct user_stat st = {
		.dev = seen->dev, .ino = va->va_fileid, .nlink = va->va_nlink,
		.mode = type_bits(va->va_type) | va->va_mode, .uid = va->va_uid, .gid = va->va_gid,
		.rdev = va->va_rdev, .size = (int64_t)va->va_size, .blksize = va->va_blocksize,
		.blocks = (int64_t)va->va_blocks,
		.atime = va->va_atime, .mtime = va->va_mtime, .ctime = va->va_ctime,
	};

	return (copyout(&st, to, sizeof(st)));
}

static int
see_vnode(struct vnode *vp, struct seen *seen)
{
	int error;

	*seen = (struct seen){ .dev = device_number(vp) };
	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &seen->va);
	VOP_UNLOCK(vp);
	return (error);
}

static int
see_fd(int fd, struct seen *seen)
{
	struct file *fp = fd_get(fd);
	int error;

	if (fp == NULL)
		return (EBADF);
	if (fp->vp != NULL) {
		error = see_vnode(fp->vp, seen);
	} else {
		*seen = (struct seen){ .dev = 0 };
		error = fp->ops->stat(fp, &seen->va);
	}
	file_release(fp);
	return (error);
}

/* The vnode that a path argument names, referenced. */
static int
lookup_arg(int dirfd, vm_offset_t upath, int namei_flags, struct vnode **vpp)
{
	char *path;
	int error = path_get(upath, &path);

	if (error != 0)
		return (error);
	error = fs_lookup(dirfd, path, namei_flags, vpp);
	path_put(path);
	return (error);
}

/* A path, or an empty one that stands for the descriptor itself. */
static int
lookup_or_fd(int dirfd, vm_offset_t upath, uint64_t at_flags, struct vnode **vpp)
{
	char first;

	if ((at_flags & AT_EMPTY_PATH) == 0 || (upath != 0 && (copyin(upath, &first, 1) != 0 || first != '\0')))
		return (lookup_arg(dirfd, upath, at_flags & AT_SYMLINK_NOFOLLOW ? NAMEI_NOFOLLOW : 0, vpp));
	if (dirfd == AT_FDCWD)
		return (fs_start(dirfd, vpp));
	return (vnode_of_fd(dirfd, vpp));
}

/* A path's file, or with AT_EMPTY_PATH and an empty path the descriptor's. */
static int
see_at(int dirfd, vm_offset_t upath, uint64_t at_flags, struct seen *seen)
{
	struct vnode *vp;
	char first;
	int error;

	if ((at_flags & AT_EMPTY_PATH) && dirfd != AT_FDCWD && (upath == 0 || (copyin(upath, &first, 1) == 0 && first == '\0')))
		return (see_fd(dirfd, seen));
	error = lookup_or_fd(dirfd, upath, at_flags, &vp);
	if (error == 0) {
		error = see_vnode(vp, seen);
		vrele(vp);
	}
	return (error);
}

int64_t
sys_newfstatat(const uint64_t *a)
{
	struct seen seen;
	int error = see_at((int)a[0], a[1], a[3], &seen);

	return (-(error != 0 ? error : stat_out(&seen, a[2])));
}

/* Linux's struct statx, 256 bytes. */
struct user_statx {
	uint32_t	mask, blksize;
	uint64_t	attributes;
	uint32_t	nlink, uid, gid;
	uint16_t	mode, pad0;
	uint64_t	ino, size, blocks, attributes_mask;
	struct {
		int64_t	 sec;
		uint32_t nsec, pad;
	} atime, btime, ctime, mtime;
	uint32_t	rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t	rest[14];
};
_Static_assert(sizeof(struct user_statx) == 256, "struct statx");

#define AT_NO_AUTOMOUNT	0x800
#define AT_STATX_SYNC	0x6000			/* two bits: both at once mean nothing */
#define STATX_BASIC	0x7ffu			/* all but the time of birth, which no volume of ours tells */
#define STATX_RESERVED	0x80000000u

int64_t
sys_statx(const uint64_t *a)
{
	struct seen seen;
	const struct vattr *va = &seen.va;
	struct user_statx st;
	int error;

	if ((a[3] & STATX_RESERVED) || (a[2] & AT_STATX_SYNC) == AT_STATX_SYNC ||
	    (a[2] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC)) != 0)
		return (-EINVAL);
	error = see_at((int)a[0], a[1], a[2], &seen);
	if (error != 0)
		return (-error);
	st = (struct user_statx){
		.mask = STATX_BASIC, .blksize = va->va_blocksize, .nlink = va->va_nlink, .uid = va->va_uid, .gid = va->va_gid,
		.mode = (uint16_t)(type_bits(va->va_type) | va->va_mode), .ino = va->va_fileid, .size = va->va_size,
		.blocks = va->va_blocks, .atime.sec = va->va_atime, .ctime.sec = va->va_ctime, .mtime.sec = va->va_mtime,
		.rdev_major = va->va_rdev >> 8 & 0xfff, .rdev_minor = (va->va_rdev & 0xff) | (va->va_rdev >> 12 & 0xfff00),
		.dev_major = (uint32_t)(seen.dev >> 8), .dev_minor = (uint32_t)seen.dev & 0xff,
	};
	return (-copyout(&st, a[4], sizeof(st)));
}

int64_t
sys_stat(const uint64_t *a)
{
	return (sys_newfstatat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1], 0 }));
}

int64_t
sys_lstat(const uint64_t *a)
{
	return (sys_newfstatat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW }));
}

int64_t
sys_fstat(const uint64_t *a)
{
	struct seen seen;
	int error = see_fd((int)a[0], &seen);

	return (-(error != 0 ? error : stat_out(&seen, a[1])));
}

int64_t
sys_faccessat(const uint64_t *a)
{
	struct vnode *vp;
	int error;

	if ((a[2] & ~7ul) != 0)
		return (-EINVAL);
	error = lookup_arg((int)a[0], a[1], 0, &vp);
	if (error != 0)
		return (-error);
	if ((a[2] & 2) && vp->v_type == VREG && !vnode_is_writable(vp))
		error = EROFS;
	else if (a[2] != 0)
		error = vnode_access(vp, (int)a[2]);
	vrele(vp);
	return (-error);
}

int64_t
sys_faccessat2(const uint64_t *a)
{
	if ((a[3] & ~(uint64_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
		return (-EINVAL);
	return (sys_faccessat(a));
}

int64_t
sys_access(const uint64_t *a)
{
	return (sys_faccessat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1] }));
}

int64_t
sys_readlinkat(const uint64_t *a)
{
	struct vnode *vp;
	size_t len = 0;
	char *buf;
	int error;

	if ((int64_t)a[3] <= 0)
		return (-EINVAL);
	error = lookup_arg((int)a[0], a[1], NAMEI_NOFOLLOW, &vp);
	if (error != 0)
		return (-error);
	buf = kmalloc(PATH_MAX + 1, &M_READLINK, M_WAITOK);
	VOP_LOCK(vp, LK_SHARED);
	error = vp->v_type != VLNK ? EINVAL : VOP_READLINK(vp, buf, PATH_MAX, &len);
	VOP_UNLOCK(vp);
	vrele(vp);
	len = MIN(len, a[3]);
	if (error == 0)
		error = copyout(buf, a[2], len);
	kfree(buf, &M_READLINK);
	return (error != 0 ? -error : (int64_t)len);
}

int64_t
sys_readlink(const uint64_t *a)
{
	return (sys_readlinkat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1], a[2] }));
}

/* ---- changing ---- */

/* Apply the fields of va that `mask` names, by whoever owns the file.  Takes over the reference. */
static int
change(struct vnode *vp, const struct vattr *va, int mask)
{
	struct ucred *cred = curproc->cred;
	struct vattr old;
	int error;

	if (mask == 0) {
		vrele(vp);
		return (0);
	}
	VOP_LOCK(vp, LK_EXCLUSIVE);
	error = VOP_GETATTR(vp, &old);
	if (error == 0 && cred->uid != 0 && (cred->uid != old.va_uid || (mask & VA_UID)))
		error = EPERM;
	if (error == 0)
		error = VOP_SETATTR(vp, va, mask, cred);
	VOP_UNLOCK(vp);
	vrele(vp);
	return (error == EOPNOTSUPP ? EPERM : error);
}

int64_t
sys_fchmodat(const uint64_t *a)
{
	struct vattr va = { .va_mode = (uint16_t)(a[2] & 07777) };
	struct vnode *vp;
	int error = lookup_arg((int)a[0], a[1], 0, &vp);

	return (-(error != 0 ? error : change(vp, &va, VA_MODE)));
}

int64_t
sys_chmod(const uint64_t *a)
{
	return (sys_fchmodat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1] }));
}

int64_t
sys_fchmod(const uint64_t *a)
{
	struct vattr va = { .va_mode = (uint16_t)(a[1] & 07777) };
	struct vnode *vp;
	int error = vnode_of_fd((int)a[0], &vp);

	return (-(error != 0 ? error : change(vp, &va, VA_MODE)));
}

static int
chown_vnode(struct vnode *vp, uint64_t uid, uint64_t gid)
{
	struct vattr va = { .va_uid = (uint32_t)uid, .va_gid = (uint32_t)gid };
	int mask = ((uint32_t)uid != UINT32_MAX ? VA_UID : 0) | ((uint32_t)gid != UINT32_MAX ? VA_GID : 0);

	return (change(vp, &va, mask));
}

int64_t
sys_fchownat(const uint64_t *a)
{
	struct vnode *vp;
	int error = lookup_or_fd((int)a[0], a[1], a[4], &vp);

	return (-(error != 0 ? error : chown_vnode(vp, a[2], a[3])));
}

int64_t
sys_chown(const uint64_t *a)
{
	return (sys_fchownat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1], a[2], 0 }));
}

int64_t
sys_lchown(const uint64_t *a)
{
	return (sys_fchownat((uint64_t[]){ (uint64_t)AT_FDCWD, a[0], a[1], a[2], AT_SYMLINK_NOFOLLOW }));
}

int64_t
sys_fchown(const uint64_t *a)
{
	struct vnode *vp;
	int error = vnode_of_fd((int)a[0], &vp);

	return (-(error != 0 ? error : chown_vnode(vp, a[1], a[2])));
}

#define UTIME_NOW	0x3fffffff
#define UTIME_OMIT	0x3ffffffe

int64_t
sys_utimensat(const uint64_t *a)
{
	struct timespec ts[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	int64_t now = (int64_t)clock_wall_seconds();
	struct vattr va = { 0 };
	struct vnode *vp;
	int error, mask = 0;

	if (a[2] != 0 && copyin(a[2], ts, sizeof(ts)) != 0)
		return (-EFAULT);
	for (int i = 0; i < 2; i++) {
		if (ts[i].tv_nsec == UTIME_OMIT)
			continue;
		if (ts[i].tv_nsec != UTIME_NOW && (ts[i].tv_nsec < 0 || ts[i].tv_nsec >= 1000000000))
			return (-EINVAL);
		mask |= i == 0 ? VA_ATIME : VA_MTIME;
		*(i == 0 ? &va.va_atime : &va.va_mtime) = ts[i].tv_nsec == UTIME_NOW ? now : ts[i].tv_sec;
	}
	error = a[1] == 0 ? vnode_of_fd((int)a[0], &vp) : lookup_or_fd((int)a[0], a[1], a[3], &vp);
	return (-(error != 0 ? error : change(vp, &va, mask)));
}

int64_t
sys_truncate(const uint64_t *a)
{
	struct vnode *vp;
	int error;

	if ((off_t)a[1] < 0)
		return (-EINVAL);
	error = lookup_arg(AT_FDCWD, a[0], 0, &vp);
	if (error != 0)
		return (-error);
	if (vp->v_type == VDIR)
		error = EISDIR;
	else if (vp->v_type != VREG)
		error = EINVAL;
	else if (vp->v_flag & VTEXT)
		error = ETXTBSY;
	else if ((error = vnode_access(vp, 2)) == 0)
		error = vn_truncate(vp, (off_t)a[1]);
	vrele(vp);
	return (-error);
}

/* ---- volumes ---- */

struct user_statfs {
	int64_t	type, bsize;
	uint64_t blocks, bfree, bavail, files, ffree;
	int32_t	fsid[2];
	int64_t	namelen, frsize, flags, spare[4];
};
_Static_assert(sizeof(struct user_statfs) == 120, "struct statfs");

#define ST_RDONLY	0x0001
#define ST_VALID	0x0020
#define ST_RELATIME	0x1000
#define PIPEFS_MAGIC	0x50495045

/* What has no volume. */
static int
pipe_statfs(vm_offset_t to)
{
	struct user_statfs out = { .type = PIPEFS_MAGIC, .bsize = PAGE_SIZE, .frsize = PAGE_SIZE, .namelen = NAME_MAX,
	    .flags = ST_VALID };

	return (copyout(&out, to, sizeof(out)));
}

/* => vp referenced */
static int
statfs_vnode(struct vnode *vp, vm_offset_t to)
{
	struct mount *mp = vfs_busy(vp);
	struct user_statfs out = { 0 };
	struct statfs st;
	int error;

	if (mp == NULL)
		return (vp->v_type == VFIFO && vp->v_mount == NULL ? pipe_statfs(to) : EIO);
	memset(&st, 0, sizeof(st));
	error = mp->mnt_op->statfs != NULL ? mp->mnt_op->statfs(mp, &st) : 0;
	out.type = mp->mnt_op->magic;
	out.fsid[0] = (int32_t)device_number(vp);
	out.bsize = out.frsize = st.f_bsize != 0 ? st.f_bsize : PAGE_SIZE;
	out.blocks = st.f_blocks;
	out.bfree = st.f_bfree;
	out.bavail = st.f_bavail;
	out.files = st.f_files;
	out.ffree = st.f_ffree;
	out.namelen = NAME_MAX;
	out.flags = ST_VALID | ST_RELATIME | (mp->mnt_flag & MNT_RDONLY ? ST_RDONLY : 0);
	vfs_unbusy(mp);
	return (error != 0 ? error : copyout(&out, to, sizeof(out)));
}

int64_t
sys_statfs(const uint64_t *a)
{
	struct vnode *vp;
	int error = lookup_arg(AT_FDCWD, a[0], 0, &vp);

	if (error == 0) {
		error = statfs_vnode(vp, a[1]);
		vrele(vp);
	}
	return (-error);
}

int64_t
sys_fstatfs(const uint64_t *a)
{
	struct file *fp = fd_get((int)a[0]);
	int error;

	if (fp == NULL)
		return (-EBADF);
	error = fp->vp != NULL ? statfs_vnode(fp->vp, a[1]) : pipe_statfs(a[1]);
	file_release(fp);
	return (-error);
}
