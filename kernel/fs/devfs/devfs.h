/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KERNEL_FS_DEVFS_DEVFS_H
#define KERNEL_FS_DEVFS_DEVFS_H

/* Register the filesystem and, if the root volume has a /dev, mount it there.  => sleeps; once, after mount_root() */
void devfs_init(void);

#endif
