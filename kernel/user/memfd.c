/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memfd_create(): memory that a descriptor stands for, to be mapped, cut and handed on.  It is a file without a name on the
 * tmpfs in /tmp, and so is charged to it, and goes to the swap disk when memory is short.
 *
 * Seals, which would forbid later changes, there are none; huge pages neither.
 */
#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/fs/vnode.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"

#define MFD_CLOEXEC	0x1ul
#define NAME_SIZE	250			/* with its NUL */

int64_t
sys_memfd_create(const uint64_t *a)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0777, .va_uid = curthread->cred->uid, .va_gid = curthread->cred->gid };
	struct vnode *dir, *vp;
	char name[NAME_SIZE];			/* checked, and forgotten: it is for people */
	struct file *fp;
	int64_t fd;
	int error;

	if ((a[1] & ~MFD_CLOEXEC) != 0)
		return (-EINVAL);
	error = copyinstr(a[0], name, sizeof(name), NULL);
	if (error != 0)
		return (error == ENAMETOOLONG ? -EINVAL : -error);
	error = fs_lookup(AT_FDCWD, "/tmp", 0, &dir);
	if (error != 0)
		return (-error);
	error = tmpfs_unnamed(dir, &va, &vp);
	vrele(dir);
	if (error == 0)
		error = file_open_vnode(vp, O_RDWR, &fp);
	if (error != 0)
		return (-error);
	fd = fd_install(fp, 0, (a[1] & MFD_CLOEXEC) != 0);
	if (fd < 0)
		file_release(fp);
	return (fd);
}
