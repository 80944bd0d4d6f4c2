/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * struct buf: one request to a disk, and what it carries.
 *
 * A buf names bytes [b_blkno * 512, + b_bcount) of a disk and as many bytes of kernel memory at
 * b_data.  The driver scatters or gathers straight from the pages under b_data (buf_segments());
 * nothing is bounced.  The disk may be a partition: b_blkno counts from its start, and b_pblkno is
 * what the driver of the whole disk goes by.  Three kinds:
 *
 *   metadata buffer	from bread(); cached by (device vnode, b_blkno); bounded; owned while B_BUSY
 *   pbuf from getpbuf(); header plus an empty 128 KiB window of kernel addresses, which a pager
 *   fills with
 *			pmap_qenter(); the pool is bounded and split so that one user cannot starve another
 *   a test's own	buf_init() on any memory
 *
 * Completion: the driver calls biodone() once, from its interrupt.  With B_CALL that calls
 * b_iodone(bp), which must not sleep; else B_DONE is set and sleepers on bp are woken.
 *
 * (o) the owner: whoever set B_BUSY; the driver between strategy and biodone  (b) bio lock  (a)
 * atomic
 */
#ifndef KERNEL_FS_BUF_H
#define KERNEL_FS_BUF_H

#include "kernel/cred.h"
#include "kernel/lib/queue.h"
#include "kernel/lib/rbtree.h"
#include "kernel/lib/types.h"

struct vnode;
struct vm_page;
struct disk;

#define MAXPHYS		(128 * KiB)	/* largest transfer, bytes */
#define PBUF_PAGES	(MAXPHYS / PAGE_SIZE)

/* b_flags */
#define B_READ		0x0001u		/* from disk to memory; without it, a write */
#define B_WRITE		0x0000u		/* for readers: the absence of B_READ */
#define B_DONE		0x0002u		/* (a) finished; set once by biodone */
#define B_ERROR		0x0004u		/* b_error says why */
#define B_BUSY		0x0008u		/* owned: set by whoever takes it, cleared on release */
#define B_CALL		0x0020u		/* call b_iodone at completion */
#define B_CACHE		0x0040u		/* the contents are those of the disk */
#define B_INVAL		0x0080u		/* contents worthless: forget the block on release */
#define B_FLUSH		0x0100u		/* no data: make earlier completed writes durable */
#define B_PBUF		0x0200u		/* from a pbuf pool */
#define B_RESERVE	0x0400u		/* the cache's one buffer beyond its limit: not kept on release */
#define B_DELWRI	0x0800u		/* (b) newer than the disk: stays in memory until bsync() has written it */

/*
 * Why a delayed block waits: what a filesystem may want to write at different times.  The cache
 * attaches no meaning to them but that a FRESH block stays FRESH until it is written, whatever is
 * done to it meanwhile.
 */
enum buf_order {
	BUF_FRESH,		/* nothing on the disk leads to it yet */
	BUF_NAMES,		/* directory entries */
	BUF_INODES,
	BUF_REST,		/* all else */
	BUF_ORDERS
};
#define BUF_ALL_ORDERS	((1u << BUF_ORDERS) - 1)

struct buf {
	/* (b) LRU or free list; (o) driver's queue while in flight */
	TAILQ_ENTRY(buf) b_link;
	struct rb_node	 b_node;	/* (b) place in the cache, by (b_vp, b_blkno) */
	uint32_t	 b_flags;	/* (o) unless marked above */
	/* (b) cached and nobody's; apart from B_BUSY, for b_flags is the owner's to change */
	bool		 b_idle;
	bool		 b_wanted;	/* (b) somebody sleeps on bp until it is idle */
	int		 b_error;	/* (o) errno when B_ERROR */
	/* (o) the device's vnode (VBLK), referenced for cached buffers */
	struct vnode	*b_vp;
	daddr_t		 b_blkno;	/* (o) on the disk that was asked, in 512-byte units */
	/* (o) set by disk_strategy(): the disk that was asked, and the block for the driver */
	struct disk	*b_disk;
	daddr_t		 b_pblkno;
	size_t		 b_bcount;	/* (o) bytes to transfer */
	size_t		 b_resid;	/* (o) bytes not transferred, set by the driver */
	/* (o) kernel address of the data; any alignment that is a multiple of 4 */
	void		*b_data;
	size_t		 b_bufsize;	/* (o) bytes allocated at b_data */
	void		(*b_iodone)(struct buf *);	/* (o) */
	void		*b_private;	/* (o) for b_iodone */
	struct ucred	*b_rcred;	/* (o) on whose behalf it reads, held */
	struct ucred	*b_wcred;	/* (o) on whose behalf it writes, held */
	/* (constant) pbuf: its window of MAXPHYS bytes, page aligned */
	vm_offset_t	 b_kvabase;
	int		 b_npages;	/* (o) pbuf: pages mapped in the window */
	uint8_t		 b_pool;	/* (constant) pbuf: enum pbuf_pool */
	uint8_t		 b_order;	/* (o) B_DELWRI: enum buf_order */
	uint64_t	 b_start_tick;	/* (o) when the disk got it: its age, for `vm io` */
};

/* One piece of physically contiguous memory. */
struct phys_seg {
	vm_paddr_t	addr;
	uint32_t	len;		/* bytes */
};

/*
 * Cut [b_data, b_data + b_bcount) into physical segments, merging neighbours.  Returns their
 * number, or 0 if over max.
 */
int  buf_segments(const struct buf *bp, struct phys_seg *segs, int max);

/* A buffer of the caller's own for one request: `len` bytes at `data`, to or from blkno (512-byte units).  Nothing is started. */
void buf_init(struct buf *bp, struct vnode *devvp, daddr_t blkno, void *data, size_t len, uint32_t flags);
/* => any context.  Call once per request, with b_error/B_ERROR and b_resid set. */
void biodone(struct buf *bp);
/*
 * What a B_CALL function does when its request is simply over: set B_DONE and wake biowait().
 * => any context.
 */
void bdone(struct buf *bp);
/* => sleeps until B_DONE with wait name `wmesg`.  Returns 0 or the buffer's error. */
int  biowait(struct buf *bp, const char *wmesg);

/*
 * The metadata cache.  blkno in 512-byte units, size in bytes (one block size per device while it
 * is mounted).
 */
void bio_init(void);
/*
 * Read a block.  => sleeps in "biord", "getblk"; holds no other buffer.  0: *bpp busy and valid;
 * else an errno and *bpp is NULL.
 */
int  bread(struct vnode *devvp, daddr_t blkno, size_t size, struct buf **bpp);
/*
 * A busy buffer for a block that will be overwritten whole: not read, zeroed if new.  => sleeps in
 * "getblk".
 */
int  getblk_zero(struct vnode *devvp, daddr_t blkno, size_t size, struct buf **bpp);
/*
 * Delayed write: mark dirty and give it back.  It reaches the disk by bsync() and in no other way:
 * a dirty block is never evicted, so that the filesystem alone decides what is written before what.
 * Whoever dirties must therefore ask bio_dirty_full() now and then.
 */
void bdwrite(struct buf *bp, enum buf_order order);
/*
 * Write the dirty blocks of a device whose order is in the mask (bits 1 << BUF_*), many at a time,
 * in block order, and wait.
 * => sleeps in "biosyn", "biowr".  0 or the first error; a block that could not be written stays
 *    dirty.
 */
int  bsync(struct vnode *devvp, unsigned orders);
/* which orders have dirty blocks, as a mask */
unsigned bio_dirty_orders(struct vnode *devvp);
/* So many blocks are dirty that somebody should write them before dirtying more. */
bool bio_dirty_full(void);
/*
 * A metadata block is free again: drop its buffer, dirty or not, after any I/O on it has ended.
 * => sleeps.
 */
void bforget(struct vnode *devvp, daddr_t blkno, size_t size);
/* give it back; B_INVAL or B_ERROR: forget the contents */
void brelse(struct buf *bp);
/* Forget all cached blocks of a device.  => sleeps for busy ones. */
void binval(struct vnode *devvp);
/* Give back memory of unused buffers; => does not sleep.  Returns pages freed. */
size_t bio_shrink(size_t pages_wanted);
struct bio_stats { uint64_t hits, misses, bytes, bytes_max, busy, count, bytes_peak, dirty, dirty_bytes, writes; };
void bio_get_stats(struct bio_stats *st);

/* Pager buffers. */
void pbuf_init(void);				/* bio_init() calls it */
enum pbuf_pool { PBUF_IN, PBUF_OUT, PBUF_SWAP, PBUF_POOLS };
/*
 * => sleeps in "pbufin", "pbufout" or "pbufswp" until one is free.  Holder of a pbuf must not ask
 *    for another, nor for memory.
 * Returns a clean header: no flags but B_PBUF|B_BUSY, b_data = b_kvabase, no credentials.
 */
struct buf *getpbuf(enum pbuf_pool pool);
struct buf *trypbuf(enum pbuf_pool pool);		/* NULL instead of sleeping */
/* drops credentials and vnode; the window must be empty */
void relpbuf(struct buf *bp);
int  pbuf_inuse(enum pbuf_pool pool);
int  pbuf_total(enum pbuf_pool pool);
/* Attach to / detach from a device vnode. */
void pbgetvp(struct vnode *devvp, struct buf *bp);
void pbrelvp(struct buf *bp);

#endif
