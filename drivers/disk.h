/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disk layer: what a block driver offers and what everybody above sees.
 *
 * A driver registers a `struct disk`; requests come as bufs through disk_strategy(), which checks
 * them and counts them before the driver sees them.  The layer above neither knows nor cares which
 * driver serves it, nor whether the disk is a whole one or a partition (drivers/part.h).
 */
#ifndef DRIVERS_DISK_H
#define DRIVERS_DISK_H

#include "kernel/fs/buf.h"
#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"

struct disk;

struct disk_ops {
	/*
	 * Start or queue the request: B_FLUSH, or b_bcount bytes at b_pblkno (never b_blkno: that
	 * one is for whoever asked).
	 *
	 * => any context that may take the driver's lock; does not sleep.  Ends in disk_done().
	 */
	void (*strategy)(struct disk *dk, struct buf *bp);
};

struct disk_stats {			/* (atomic) each */
	uint64_t	reads, writes, flushes, errors;
	uint64_t	sectors_read, sectors_written;	/* 512-byte units */
	uint64_t	inflight, inflight_max;
};

struct disk {
	TAILQ_ENTRY(disk)	 dk_link;	/* disk list lock */
	char			 dk_name[16];	/* (constant) "vda" */
	const struct disk_ops	*dk_ops;	/* (constant) NULL for a partition */
	void			*dk_softc;	/* (constant) the driver's own */
	struct disk		*dk_whole;	/* (constant) the disk of this partition, or NULL */
	uint64_t		 dk_first;	/* (constant) where it begins there, 512-byte units */
	uint32_t		 dk_sectorsize;	/* (constant) bytes, a power of two from 512 */
	uint64_t		 dk_nsectors;	/* (constant) 512-byte units */
	uint32_t		 dk_maxsize;	/* (constant) largest transfer; at least MAXPHYS */
	bool			 dk_readonly;	/* (constant) */
	struct vnode		*dk_vnode;	/* vnode_list_lock; its VBLK vnode, or NULL */
	const char		*dk_use;	/* disk list lock; who has claimed it, or NULL */
	struct disk_stats	 dk_stats;
};

void disk_init(void);
void disk_register(struct disk *dk);
void disk_unregister(struct disk *dk);			/* no request in flight, no vnode in use */
struct disk *disk_find(const char *name);
/* In order of registration, partitions behind their disk; NULL: the first. */
struct disk *disk_next(struct disk *dk);
/*
 * Take a disk for somebody who writes to it ("mount", "swap"): until disk_release() nobody else
 * gets it, nor the disk that it is a part of, nor its parts.
 *
 * => 0, or EBUSY and says who has it.
 */
int  disk_claim(struct disk *dk, const char *use);
void disk_release(struct disk *dk);
/*
 * Hand a request to the disk.  Unaligned, empty or too long (EINVAL), beyond the end (EIO), or a
 * write to a read-only disk (EROFS) ends at once in biodone().  => does not sleep; no lock that the
 * completion could want.
 */
void disk_strategy(struct disk *dk, struct buf *bp);
/*
 * The driver of `dk` has finished: b_error (0: fine) and b_resid are set.  Calls biodone().
 *
 * => any context, driver's lock not held.
 */
void disk_done(struct disk *dk, struct buf *bp);
/* Synchronous, for probing.  => sleeps in "diskio".  sector in 512-byte units. */
int  disk_rw(struct disk *dk, uint64_t sector, void *data, size_t len, uint32_t bflags);
int  disk_flush(struct disk *dk);			/* => sleeps in "dkflush" */

#endif
