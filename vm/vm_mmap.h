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
#define MAP_GROWSDOWN	0x100		/* a stack: private and anonymous */
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

#define MREMAP_MAYMOVE	1
#define MREMAP_FIXED	2
#define MREMAP_DONTUNMAP 4		/* the old range stays, as if nobody had stored into it yet */
/*
 * Linux's mremap.  A new place is searched for below `top`.
 * => sleeps.  0 and *addr; EINVAL; EFAULT: the old range is not mapped by one kind of memory; ENOMEM: no room.
 */
int  vm_mremap(struct vmspace *vm, vm_offset_t *addr, vm_size_t old_len, vm_size_t new_len, int flags, vm_offset_t to,
	    vm_offset_t top);

/* Linux's advice.  => sleeps.  EINVAL: unknown, unaligned, or DONTNEED of locked memory; ENOMEM: a hole (the rest is done). */
int  vm_madvise(struct vmspace *vm, vm_offset_t addr, vm_size_t len, int advice);
/* Is the page at addr in memory?  0: *resident says; ENOMEM: nothing is mapped there. */
int  vm_mincore(struct vmspace *vm, vm_offset_t addr, bool *resident);
/* Lock or unlock a range; each page counts once.  ENOMEM: a hole; EAGAIN: a page cannot be had. */
int  vm_mlock(struct vmspace *vm, vm_offset_t addr, vm_size_t len);
int  vm_munlock(struct vmspace *vm, vm_offset_t addr, vm_size_t len);

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
