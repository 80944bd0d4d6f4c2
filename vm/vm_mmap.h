/* SPDX-License-Identifier: BSD-2-Clause */
/* Mapping files and anonymous memory into an address space, with mmap's words. */
#ifndef VM_VM_MMAP_H
#define VM_VM_MMAP_H

#include "kernel/lib/types.h"
#include "vm/vm.h"

struct vmspace;
struct vnode;

/* Linux's values */
#define MAP_SHARED	0x01
#define MAP_PRIVATE	0x02
#define MAP_FIXED	0x10
#define MAP_ANONYMOUS	0x20
#define MAP_FIXED_NOREPLACE 0x100000	/* exactly there, but only if it is free */
/* our own: the file is not open for writing, so a shared mapping never becomes writable */
#define MAP_FILE_RDONLY	0x40000000

/*
 * Map `len` bytes of vp from byte `off` on (or of zeros, with MAP_ANONYMOUS and vp NULL) at *addr
 * or, without MAP_FIXED, at the lowest free place from there on.  MAP_FIXED replaces what is there.
 *
 * => vnode referenced, unlocked; sleeps.
 * => 0 and *addr; EINVAL: length 0, unaligned offset or fixed address, neither or both of SHARED
 *    and PRIVATE, or of a vnode and ANONYMOUS; ENOMEM: no room, or outside the address space;
 *    EOVERFLOW: offset plus length has no off_t; ENODEV: not a regular file; EACCES: writable
 *    shared mapping of a file on a read-only volume, or with MAP_FILE_RDONLY; EEXIST: taken, with
 *    MAP_FIXED_NOREPLACE; EIO, EUCLEAN.
 */
int  vm_mmap(struct vmspace *vm, vm_offset_t *addr, vm_size_t len, vm_prot_t prot, int flags, struct vnode *vp,
	    vm_ooffset_t off);
int  vm_munmap(struct vmspace *vm, vm_offset_t addr, vm_size_t len);	/* 0 or EINVAL */


#define MS_ASYNC	1
#define MS_INVALIDATE	2
#define MS_SYNC		4

/*
 * Bring the shared file mappings in the range to disk.  MS_SYNC waits until the data is there and
 * flushed; MS_ASYNC leaves it to the syncer: stores and write() see each other anyway, so
 * MS_INVALIDATE has nothing to do.
 * => sleeps.  EINVAL: unaligned, unknown flags, or both SYNC and ASYNC; ENOMEM: part of the range
 *    is not mapped (the rest is synced); EBUSY: MS_INVALIDATE on a locked range; EIO, ENOSPC:
 *    writing failed since this mapping was told last.
 */
int  vm_msync(struct vmspace *vm, vm_offset_t addr, vm_size_t len, int flags);

#endif
