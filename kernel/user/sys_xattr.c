/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Extended attributes, as on a volume that was mounted without them: a file has none to list, and none can be asked for or set.
 * (Those that an ext2 volume brought along stay with their files.)
 *
 * Why not ENOSYS, as for other calls that are not there: who copies files expects that the call exists and the volume declines.
 */
#include "kernel/fs/vnode.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"

/* Is there such a file?  -errno, or `answer`. */
static int64_t
of_path(const uint64_t *a, int namei_flags, int64_t answer)
{
	struct vnode *vp;
	char *path;
	int error = path_get(a[0], &path);

	if (error != 0)
		return (-error);
	error = fs_lookup(AT_FDCWD, path, namei_flags, &vp);
	path_put(path);
	if (error != 0)
		return (-error);
	vrele(vp);
	return (answer);
}

static int64_t
of_fd(const uint64_t *a, int64_t answer)
{
	struct file *fp = fd_get((int)a[0]);

	if (fp == NULL || (fp->flags & O_PATH))
		answer = -EBADF;
	if (fp != NULL)
		file_release(fp);
	return (answer);
}

int64_t sys_setxattr(const uint64_t *a) { return (of_path(a, 0, -EOPNOTSUPP)); }
int64_t sys_getxattr(const uint64_t *a) { return (of_path(a, 0, -EOPNOTSUPP)); }
int64_t sys_removexattr(const uint64_t *a) { return (of_path(a, 0, -EOPNOTSUPP)); }
int64_t sys_listxattr(const uint64_t *a) { return (of_path(a, 0, 0)); }
int64_t sys_lsetxattr(const uint64_t *a) { return (of_path(a, NAMEI_NOFOLLOW, -EOPNOTSUPP)); }
int64_t sys_lgetxattr(const uint64_t *a) { return (of_path(a, NAMEI_NOFOLLOW, -EOPNOTSUPP)); }
int64_t sys_lremovexattr(const uint64_t *a) { return (of_path(a, NAMEI_NOFOLLOW, -EOPNOTSUPP)); }
int64_t sys_llistxattr(const uint64_t *a) { return (of_path(a, NAMEI_NOFOLLOW, 0)); }
int64_t sys_fsetxattr(const uint64_t *a) { return (of_fd(a, -EOPNOTSUPP)); }
int64_t sys_fgetxattr(const uint64_t *a) { return (of_fd(a, -EOPNOTSUPP)); }
int64_t sys_fremovexattr(const uint64_t *a) { return (of_fd(a, -EOPNOTSUPP)); }
int64_t sys_flistxattr(const uint64_t *a) { return (of_fd(a, 0)); }
