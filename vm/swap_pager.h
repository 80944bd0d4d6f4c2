/* SPDX-License-Identifier: BSD-2-Clause */
/* Anonymous memory on a swap disk, or in a file. */
#ifndef VM_SWAP_PAGER_H
#define VM_SWAP_PAGER_H

#include "kernel/lib/types.h"
#include "vm/vm.h"

struct disk;
struct pagerops;
struct vm_object;
struct vm_page;
struct vnode;

extern const struct pagerops defaultpagerops, swappagerops;

#define SWAP_DISK_MIN	(64 * KiB)

/*
 * Swap to this disk from now on.  Its first page is left alone.
 * => sleeps.  EBUSY: there is a swap disk already, or this one is in use; EROFS; EINVAL: smaller
 *    than SWAP_DISK_MIN, or sectors larger than a page; EEXIST: it holds an ext2 volume; EIO.
 */
int  swap_on(struct disk *dk);
/*
 * Swap to a file, or to the disk that a device file stands for.
 * => vp referenced, unlocked; sleeps.  As swap_on(); EINVAL also: a file with a hole, no file, or of
 *    pieces too small; EBUSY: it is mapped; ETXTBSY: a program runs from it; EOPNOTSUPP: its
 *    filesystem has no disk; what writing the file out says.
 */
int  swap_on_vnode(struct vnode *vp);
/* A disk as disk_by_word() takes it, or the path of a file. */
int  swap_on_word(const char *word);
/* The word swap=WORD of the command line. */
void swap_boot(void);
/* The machine ends: a file must be let go of before its volume can be unmounted. */
void swap_shutdown(void);
/*
 * Bring back everything that is swapped out and let go of the disk.
 * => sleeps.  ENOMEM: it does not fit; EIO: a page cannot be read; swap is on as before then.
 *    ENXIO: there is none.
 */
int  swap_off(void);
/* The same, if it is this disk or file that is swapped to; else EINVAL. */
int  swap_off_vnode(struct vnode *vp);
/* The file that is swapped to, referenced, or NULL. */
struct vnode *swap_file(void);

struct swap_info {
	const char	*disk;			/* NULL: swap is off */
	bool		 file;			/* not the disk itself, but a file on it */
	uint32_t	 nblocks, inuse;	/* pages */
	uint32_t	 reserve;		/* chunks put aside */
	bool		 full;
};
void swap_info(struct swap_info *info);

/*
 * Is it worth trying to write anonymous pages out?  Not after the disk was full, until a good part
 * of it is free again.
 */
bool swap_has_room(void);

/*
 * The blocks of an object.  => object locked; has, next: in any mode.  OBJT_SWAP or not: others
 * have none.
 */
bool swap_pager_has_block(struct vm_object *object, vm_pindex_t pindex);
/* The first index >= *pindex with a block.  false: there is none. */
bool swap_pager_next(struct vm_object *object, vm_pindex_t *pindex);
/*
 * Give up the blocks of [start, end).  => no clean page with contents stays behind there, or the
 * caller marks it dirty.
 */
void swap_pager_freespace(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
/*
 * Somebody is about to write to m: it is dirty, and its copy on disk is old.  => m exclusive-busy,
 * valid.
 */
void swap_pager_dirtied(struct vm_page *m);
/*
 * Collapse: the block at `from` of `source` becomes that of index `to` of `object`, which has none
 * there.
 * => both locked.  false: no memory for the map; nothing changed.
 */
bool swap_pager_move(struct vm_object *source, vm_pindex_t from, struct vm_object *object, vm_pindex_t to);

/*
 * For vm_check(): is what this object says about its blocks whole?  Panics; returns how many it
 * has.
 */
uint32_t swap_pager_check(struct vm_object *object);
void swap_check(uint64_t blocks_of_objects);

#endif
