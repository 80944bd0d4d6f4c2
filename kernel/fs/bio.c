/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Buffers: waiting for a request to a disk, and the cache of metadata blocks.
 *
 * Only metadata lives here: inodes, pointer blocks, directories, descriptors.  A file's data lives
 * in its object's pages (vm/vnode_io.c), so no block is ever in both places and nothing needs to be kept
 * coherent.
 *
 *	            bread, absent                 read succeeded
 *	(no buffer) -------------> BUSY, no CACHE ---------------> BUSY, CACHE   one owner
 *	     ^                          | read failed                 |   ^
 *	     |<-------------------------+                             v   | bread, present
 *	     |<------------- memory wanted, binval --------------- on the LRU    nobody's
 *
 * The cache is a tree ordered by (device vnode, block) and a list of idle buffers, oldest first.  A
 * busy buffer stays in the tree, so whoever asks for the same block meanwhile finds it, sleeps, and
 * then has the block without another read.  A failed read is forgotten: sleepers find the tree
 * empty and read for themselves.  There is no sleeping on a freed buffer: sleepers use its address
 * only as a channel and look the block up again.
 *
 * Delayed writes: a block that was changed is B_DELWRI and on no list until bsync() writes it.  The
 * order in which blocks of different kinds reach the disk decides what a power cut leaves behind,
 * and only the filesystem knows that order; so nothing here writes a block of its own accord.
 * Instead bio_dirty_full() tells the filesystem when it is time.
 *
 * Bounded: the bytes of all clean and busy buffers stay under a limit; dirty ones come on top, and
 * are kept to a part of it by those who ask bio_dirty_full() before they begin to change something.
 * When every buffer is busy and the limit is reached, a reader sleeps, except that one may go
 * beyond: the reserve.  Our readers hold at most one buffer at a time, so the owners that a sleeper
 * waits for always finish; the reserve covers a reader that must hold one and read another, one at
 * a time.
 *
 * Locks: bio_lock (spin) guards the tree, the list, the accounts and b_idle, and is the interlock
 * of completion, so it is taken in interrupts.  A driver calls biodone() with none of its own locks
 * held. Memory is allocated and freed with no lock held.
 *
 * Why not one hash chain per block, as 4.4BSD does: a tree needs no sizing for 8 MiB or for 16 GiB,
 * and finds all blocks of one device, for binval(), in order.
 */
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_BIOHDR, "bio headers");
static MALLOC_DEFINE(M_BIODATA, "bio data");

#define BIO_BLOCKS_MIN	16		/* the cache may always hold this many blocks */
#define BIO_RAM_SHARE	32		/* and this part of memory */
#define BIO_DIRTY_SHARE	2		/* so much of the limit may be dirty before bio_dirty_full() */
#define BIO_BATCH	32		/* blocks that bsync() hands to the disk at a time */

static struct spinlock bio_lock = SPINLOCK_INITIALIZER("bio", RANK_BIO);

/* (all under bio_lock; hits and misses: atomic) */
static struct {
	struct rb_tree	 tree;		/* every cached buffer, busy or not */
	TAILQ_HEAD(, buf) lru;		/* the idle ones, oldest first */
	uint64_t	 bytes_ram;	/* (constant) the limit by memory */
	bool		 reserve_used;	/* somebody went beyond the limit */
	bool		 room_wanted;	/* somebody sleeps in bio_reserve() */
	struct bio_stats stats;
} bio;

/* Bytes were given back, or a buffer became idle.  => bio_lock held */
static void
bio_room(void)
{
	if (bio.room_wanted)
		wakeup(&bio.stats.bytes);
	bio.room_wanted = false;
}

/* ---- one request ---- */

void
buf_init(struct buf *bp, struct vnode *devvp, daddr_t blkno, void *data, size_t len, uint32_t flags)
{
	memset(bp, 0, sizeof(*bp));
	bp->b_flags = flags;
	bp->b_vp = devvp;
	bp->b_blkno = blkno;
	bp->b_bcount = bp->b_bufsize = bp->b_resid = len;
	bp->b_data = data;
}

int
buf_segments(const struct buf *bp, struct phys_seg *segs, int max)
{
	vm_offset_t va = (vm_offset_t)bp->b_data, end = va + bp->b_bcount;
	int n = 0;

	while (va < end) {
		uint32_t len = (uint32_t)MIN(end - va, PAGE_SIZE - (va & PAGE_MASK));
		vm_paddr_t pa = pmap_kextract(va);

		if (n > 0 && segs[n - 1].addr + segs[n - 1].len == pa) {
			segs[n - 1].len += len;
		} else {
			if (n == max)
				return (0);
			segs[n].addr = pa;
			segs[n].len = len;
			n++;
		}
		va += len;
	}
	return (n);
}

void
bdone(struct buf *bp)
{
	spin_lock(&bio_lock);
	KASSERT((bp->b_flags & B_DONE) == 0, "buf %p of block %ld completed twice", bp, bp->b_blkno);
	bp->b_flags |= B_DONE;
	wakeup(bp);
	spin_unlock(&bio_lock);
}

void
biodone(struct buf *bp)
{
	KASSERT((bp->b_flags & B_DONE) == 0, "buf %p of block %ld completed twice", bp, bp->b_blkno);
	KASSERT(bp->b_error == 0 || (bp->b_flags & B_ERROR) != 0, "buf %p has error %d without B_ERROR",
	    bp, bp->b_error);
	if ((bp->b_flags & B_CALL) != 0)
		bp->b_iodone(bp);
	else
		bdone(bp);
}

int
biowait(struct buf *bp, const char *wmesg)
{
	spin_lock(&bio_lock);
	while ((bp->b_flags & B_DONE) == 0)
		tsleep(bp, &bio_lock.lk, wmesg, 0);
	spin_unlock(&bio_lock);
	if ((bp->b_flags & B_ERROR) == 0)
		return (0);
	return (bp->b_error != 0 ? bp->b_error : EIO);
}

/* ---- the tree: => bio_lock held ---- */

#define NODE_BUF(node)	container_of(node, struct buf, b_node)

/* Negative, zero, positive: (devvp, blkno) lies before, at, after bp. */
static int
bio_compare(const struct vnode *devvp, daddr_t blkno, const struct buf *bp)
{
	if (devvp != bp->b_vp)
		return ((uintptr_t)devvp < (uintptr_t)bp->b_vp ? -1 : 1);
	return (blkno < bp->b_blkno ? -1 : blkno > bp->b_blkno);
}

static struct buf *
bio_find(const struct vnode *devvp, daddr_t blkno)
{
	struct rb_node *node = bio.tree.root;

	while (node != NULL) {
		int c = bio_compare(devvp, blkno, NODE_BUF(node));

		if (c == 0)
			return (NODE_BUF(node));
		node = node->child[c > 0];
	}
	return (NULL);
}

/* The first buffer of a device at or behind a block, or NULL. */
static struct buf *
bio_from(const struct vnode *devvp, daddr_t blkno)
{
	struct rb_node *node = bio.tree.root;
	struct buf *best = NULL;

	while (node != NULL) {
		int c = bio_compare(devvp, blkno, NODE_BUF(node));

		if (c <= 0)
			best = NODE_BUF(node);
		node = node->child[c > 0];
	}
	return (best != NULL && best->b_vp == devvp ? best : NULL);
}

/* The buffer behind it in the tree, of whatever device, or NULL. */
static struct buf *
bio_next(const struct buf *bp)
{
	struct rb_node *node = rb_next(&bp->b_node);

	return (node != NULL ? NODE_BUF(node) : NULL);
}

static void
bio_insert(struct buf *bp)
{
	struct rb_node *parent = NULL, *node = bio.tree.root;
	int side = 0;

	while (node != NULL) {
		parent = node;
		side = bio_compare(bp->b_vp, bp->b_blkno, NODE_BUF(node)) > 0;
		node = node->child[side];
	}
	rb_insert(&bio.tree, parent, side, &bp->b_node, NULL);
	bio.stats.count++;
	bio.stats.busy++;
}

/* A dirty buffer was written, or its contents do not matter any more. */
static void
bio_set_clean(struct buf *bp)
{
	if ((bp->b_flags & B_DELWRI) == 0)
		return;
	bp->b_flags &= ~B_DELWRI;
	bio.stats.dirty--;
	bio.stats.dirty_bytes -= bp->b_bufsize;
}

/*
 * Take a busy buffer out of the tree and out of the accounts; the caller frees it without the lock.
 */
static void
bio_forget(struct buf *bp)
{
	KASSERT(!bp->b_idle, "forgetting buf %p, which is not ours", bp);
	bio_set_clean(bp);
	rb_remove(&bio.tree, &bp->b_node, NULL);
	bio.stats.bytes -= bp->b_bufsize;
	bio.stats.count--;
	bio.stats.busy--;
	if ((bp->b_flags & B_RESERVE) != 0)
		bio.reserve_used = false;
	if (bp->b_wanted)
		wakeup(bp);
	bio_room();
}

/* Make an idle buffer ours.  Dirty ones are on no list. */
static void
bio_take(struct buf *bp)
{
	if ((bp->b_flags & B_DELWRI) == 0)
		TAILQ_REMOVE(&bio.lru, bp, b_link);
	bp->b_idle = false;
	bp->b_flags |= B_BUSY;
	bio.stats.busy++;
}

/* The oldest idle buffer, taken and forgotten, or NULL. */
static struct buf *
bio_evict(void)
{
	struct buf *bp = TAILQ_FIRST(&bio.lru);

	if (bp != NULL) {
		bio_take(bp);
		bio_forget(bp);
	}
	return (bp);
}

/* => no lock held */
static void
buf_free(struct buf *bp)
{
	struct vnode *devvp = bp->b_vp;

	kfree(bp->b_data, &M_BIODATA);
	kfree(bp, &M_BIOHDR);
	vrele(devvp);
}

/* Idle buffers go before anybody waits: a sync waits here that keeps everybody from writing, and so from freeing. */
static void *
data_alloc(size_t size)
{
	void *data;

	do
		data = kmalloc(size, &M_BIODATA, M_NOWAIT | M_RESERVE);
	while (data == NULL && bio_shrink(howmany(size, PAGE_SIZE)) > 0);
	return (data != NULL ? data : kmalloc(size, &M_BIODATA, M_WAITOK | M_RESERVE));
}

static struct buf *
buf_alloc(struct vnode *devvp, daddr_t blkno, size_t size, uint32_t flags)
{
	struct buf *bp = kmalloc(sizeof(*bp), &M_BIOHDR, M_WAITOK | M_RESERVE);

	buf_init(bp, devvp, blkno, data_alloc(size), size, B_BUSY | flags);
	vref(devvp);
	return (bp);
}

/* ---- the cache ---- */

void
bio_init(void)
{
	TAILQ_INIT(&bio.lru);
	bio.bytes_ram = (uint64_t)vm_page_count * PAGE_SIZE / BIO_RAM_SHARE;
	bio.stats.bytes_max = bio.bytes_ram;
	pbuf_init();
}

/*
 * Account for one more block of `size` bytes, throwing out idle ones.
 *
 * => bio_lock held; dropped and retaken unless this returns true: then look again.
 * => sleeps in "getblk" when every buffer is busy.
 * => true: the bytes are ours; *flags is B_RESERVE if they are beyond the limit.
 */
static bool
bio_reserve(size_t size, uint32_t *flags)
{
	struct buf *victim;

	*flags = 0;
	bio.stats.bytes_max = MAX(bio.stats.bytes_max, (uint64_t)BIO_BLOCKS_MIN * size);
	if (bio.stats.bytes - bio.stats.dirty_bytes + size > bio.stats.bytes_max) {
		victim = bio_evict();
		if (victim != NULL) {
			spin_unlock(&bio_lock);
			buf_free(victim);
			spin_lock(&bio_lock);
			return (false);
		}
		if (bio.reserve_used) {
			bio.room_wanted = true;
			tsleep(&bio.stats.bytes, &bio_lock.lk, "getblk", 0);
			return (false);
		}
		bio.reserve_used = true;
		*flags = B_RESERVE;
	}
	bio.stats.bytes += size;
	bio.stats.bytes_peak = MAX(bio.stats.bytes_peak, bio.stats.bytes);
	return (true);
}

/* Bytes of bio_reserve() that were not needed after all.  => bio_lock held */
static void
bio_unreserve(struct buf *bp)
{
	bio.stats.bytes -= bp->b_bufsize;
	if ((bp->b_flags & B_RESERVE) != 0)
		bio.reserve_used = false;
	bio_room();
}

/*
 * The buffer of a block, with or without its contents.
 *
 * => sleeps in "getblk" while another thread owns it, or for room.
 * => returns it busy by us; B_CACHE says whether the contents are there.
 */
static struct buf *
getblk(struct vnode *devvp, daddr_t blkno, size_t size)
{
	struct buf *bp, *fresh = NULL;
	uint32_t flags;

	spin_lock(&bio_lock);
	for (;;) {
		bp = bio_find(devvp, blkno);
		if (bp != NULL && !bp->b_idle) {
			bp->b_wanted = true;
			tsleep(bp, &bio_lock.lk, "getblk", 0);
			/* re-check: the buffer may have been freed; look the block up again. */
			continue;
		}
		if (bp != NULL) {
			bio_take(bp);
			break;
		}
		if (fresh != NULL) {
			bio_insert(fresh);
			bp = fresh;
			fresh = NULL;
			break;
		}
		if (!bio_reserve(size, &flags))
			continue;
		spin_unlock(&bio_lock);
		fresh = buf_alloc(devvp, blkno, size, flags);
		spin_lock(&bio_lock);
		/* re-check: another thread may have brought the same block in. */
	}
	if (fresh != NULL)
		bio_unreserve(fresh);
	spin_unlock(&bio_lock);
	if (fresh != NULL)
		buf_free(fresh);
	KASSERT(bp->b_bcount == size, "block %ld is cached with %zu bytes, wanted with %zu", blkno,
	    bp->b_bcount, size);
	return (bp);
}

int
bread(struct vnode *devvp, daddr_t blkno, size_t size, struct buf **bpp)
{
	struct buf *bp = getblk(devvp, blkno, size);
	bool hit = (bp->b_flags & B_CACHE) != 0;
	int error;

	*bpp = NULL;
	__atomic_fetch_add(hit ? &bio.stats.hits : &bio.stats.misses, 1, __ATOMIC_RELAXED);
	if (hit) {
		*bpp = bp;
		return (0);
	}
	bp->b_flags |= B_READ;
	error = VOP_STRATEGY(devvp, bp);
	if (error == 0)
		error = biowait(bp, "biord");
	if (error == 0 && bp->b_resid != 0)
		error = EIO;
	if (error != 0) {
		bp->b_flags |= B_INVAL;
		brelse(bp);
		return (error);
	}
	bp->b_flags |= B_CACHE;
	*bpp = bp;
	return (0);
}

void
brelse(struct buf *bp)
{
	bool keep = (bp->b_flags & (B_INVAL | B_ERROR | B_RESERVE)) == 0;

	KASSERT((bp->b_flags & (B_BUSY | B_PBUF)) == B_BUSY, "brelse of buf %p with flags 0x%x", bp,
	    bp->b_flags);
	spin_lock(&bio_lock);
	if (keep) {
		bp->b_flags &= ~B_BUSY;
		bp->b_idle = true;
		bio.stats.busy--;
		if ((bp->b_flags & B_DELWRI) == 0)
			TAILQ_INSERT_TAIL(&bio.lru, bp, b_link);
		if (bp->b_wanted)
			wakeup(bp);
		bp->b_wanted = false;
		bio_room();
	} else {
		bio_forget(bp);
	}
	spin_unlock(&bio_lock);
	if (!keep)
		buf_free(bp);
}

int
getblk_zero(struct vnode *devvp, daddr_t blkno, size_t size, struct buf **bpp)
{
	struct buf *bp = getblk(devvp, blkno, size);

	memset(bp->b_data, 0, size);
	bp->b_flags |= B_CACHE;
	*bpp = bp;
	return (0);
}

void
bforget(struct vnode *devvp, daddr_t blkno, size_t size)
{
	struct buf *bp;

	spin_lock(&bio_lock);
	while ((bp = bio_find(devvp, blkno)) != NULL && !bp->b_idle) {
		bp->b_wanted = true;
		tsleep(bp, &bio_lock.lk, "bforget", 0);
		/* re-check: the buffer may have been freed; look the block up again. */
	}
	if (bp != NULL) {
		KASSERT(bp->b_bufsize == size, "block %ld is cached with %zu bytes, freed with %zu", blkno, bp->b_bufsize, size);
		bio_take(bp);
		bio_forget(bp);
	}
	spin_unlock(&bio_lock);
	if (bp != NULL)
		buf_free(bp);
}

/* ---- delayed writes ---- */

void
bdwrite(struct buf *bp, enum buf_order order)
{
	KASSERT((bp->b_flags & (B_BUSY | B_CACHE | B_PBUF)) == (B_BUSY | B_CACHE), "bdwrite of buf %p with flags 0x%x", bp,
	    bp->b_flags);
	spin_lock(&bio_lock);
	if ((bp->b_flags & B_DELWRI) == 0) {
		bp->b_flags |= B_DELWRI;
		bp->b_order = order;
		bio.stats.dirty++;
		bio.stats.dirty_bytes += bp->b_bufsize;
	} else if (bp->b_order != BUF_FRESH) {
		bp->b_order = order;
	}
	if ((bp->b_flags & B_RESERVE) != 0) {
		/* It stays, so it cannot be the reserve any more. */
		bp->b_flags &= ~B_RESERVE;
		bio.reserve_used = false;
		bio_room();
	}
	spin_unlock(&bio_lock);
	brelse(bp);
}

/*
 * Take the next dirty blocks of a device, from *blkno on, which moves behind them.
 *
 * => bio_lock held; a busy block is waited for in "biosyn", but not while others of the batch are
 *    held.
 * => returns how many; 0: there are no more.
 */
static int
batch_take(struct vnode *devvp, unsigned orders, daddr_t *blkno, struct buf *batch[BIO_BATCH])
{
	struct buf *bp;
	int n = 0;

	while (n < BIO_BATCH && (bp = bio_from(devvp, *blkno)) != NULL) {
		bool wanted = (bp->b_flags & B_DELWRI) != 0 && (orders & (1u << bp->b_order)) != 0;

		if (wanted && !bp->b_idle) {
			if (n > 0)
				break;
			bp->b_wanted = true;
			tsleep(bp, &bio_lock.lk, "biosyn", 0);
			/* re-check: everything; begin with this block again. */
			continue;
		}
		*blkno = bp->b_blkno + 1;
		if (wanted) {
			bio_take(bp);
			batch[n++] = bp;
		}
	}
	return (n);
}

/* Write one batch and give its blocks back.  => sleeps.  First error. */
static int
batch_write(struct vnode *devvp, struct buf *batch[BIO_BATCH], int n)
{
	int first_error = 0, error;

	for (int i = 0; i < n; i++) {
		batch[i]->b_flags &= ~(B_READ | B_DONE | B_ERROR | B_CALL);
		batch[i]->b_error = 0;
		error = VOP_STRATEGY(devvp, batch[i]);
		if (error != 0) {
			batch[i]->b_error = error;
			batch[i]->b_flags |= B_DONE | B_ERROR;
		}
	}
	for (int i = 0; i < n; i++) {
		struct buf *bp = batch[i];

		error = biowait(bp, "biowr");
		if (error == 0 && bp->b_resid != 0)
			error = EIO;
		spin_lock(&bio_lock);
		/* the contents are good; it was the disk that failed */
		bp->b_flags &= ~B_ERROR;
		bio.stats.writes++;
		if (error == 0)
			bio_set_clean(bp);
		spin_unlock(&bio_lock);
		brelse(bp);
		if (error != 0 && first_error == 0)
			first_error = error;
	}
	return (first_error);
}

int
bsync(struct vnode *devvp, unsigned orders)
{
	struct buf *batch[BIO_BATCH];
	daddr_t blkno = INT64_MIN;
	int n, error, first_error = 0;

	do {
		spin_lock(&bio_lock);
		n = batch_take(devvp, orders, &blkno, batch);
		spin_unlock(&bio_lock);
		error = batch_write(devvp, batch, n);
		if (first_error == 0)
			first_error = error;
	} while (n > 0);
	return (first_error);
}

unsigned
bio_dirty_orders(struct vnode *devvp)
{
	unsigned orders = 0;
	struct buf *bp;

	spin_lock(&bio_lock);
	if (bio.stats.dirty > 0) {
		for (bp = bio_from(devvp, INT64_MIN); bp != NULL && bp->b_vp == devvp; bp = bio_next(bp)) {
			if ((bp->b_flags & B_DELWRI) != 0)
				orders |= 1u << bp->b_order;
		}
	}
	spin_unlock(&bio_lock);
	return (orders);
}

bool
bio_dirty_full(void)
{
	return (__atomic_load_n(&bio.stats.dirty_bytes, __ATOMIC_RELAXED) >
	    __atomic_load_n(&bio.stats.bytes_max, __ATOMIC_RELAXED) / BIO_DIRTY_SHARE);
}

void
binval(struct vnode *devvp)
{
	struct buf *bp;

	spin_lock(&bio_lock);
	while ((bp = bio_from(devvp, INT64_MIN)) != NULL) {
		if (!bp->b_idle) {
			bp->b_wanted = true;
			tsleep(bp, &bio_lock.lk, "binval", 0);
			/* re-check: everything; start with the device's first block again. */
			continue;
		}
		bio_take(bp);
		bio_forget(bp);
		spin_unlock(&bio_lock);
		buf_free(bp);
		spin_lock(&bio_lock);
	}
	spin_unlock(&bio_lock);
}

size_t
bio_shrink(size_t pages_wanted)
{
	size_t bytes = 0;
	struct buf *bp;

	while (bytes < pages_wanted * PAGE_SIZE) {
		spin_lock(&bio_lock);
		bp = bio_evict();
		spin_unlock(&bio_lock);
		if (bp == NULL)
			break;
		bytes += bp->b_bufsize;
		buf_free(bp);
	}
	return (bytes / PAGE_SIZE);
}

void
bio_get_stats(struct bio_stats *st)
{
	spin_lock(&bio_lock);
	*st = bio.stats;
	spin_unlock(&bio_lock);
}
