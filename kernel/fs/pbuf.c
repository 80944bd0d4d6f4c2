/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pbufs: the pagers' buffers, a header and a window of kernel addresses each, in three bounded
 * pools.
 *
 *	PBUF_IN		page-in		\
 *	PBUF_OUT	files' page-out	 >  none can take another's: a flood of dirty pages cannot keep a
 *	PBUF_SWAP	swap		/   fault from reading, nor files keep swap from writing
 *
 * A pager fills the window with pmap_qenter(), starts the request, waits, empties the window with
 * pmap_qremove() and gives the pbuf back.  The windows are allocated once, at boot, and never
 * mapped while the pbuf is free: a stale pointer into one faults.
 *
 * A holder waits for nothing but its own request, so every wait here ends: who holds a pbuf asks
 * for no other, for no memory and for no lock that a sleeper in getpbuf() may hold.
 *
 * The number of pbufs bounds how many requests the pagers keep in flight; it grows with memory, for
 * on a small machine 128 KiB in flight is a good part of all pages there are.
 *
 * Lock: pbuf_lock (spin) guards the free lists and counts.
 */
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_kern.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_PBUF, "pbufs");

#define PBUF_MIN	2		/* each pool has at least this many */

static struct spinlock pbuf_lock = SPINLOCK_INITIALIZER("pbuf", RANK_BIO);

struct pbuf_pool_state {
	const char	*wmesg;		/* (constant) wait name */
	uint64_t	 ram_each;	/* (constant) one pbuf for so many bytes of memory */
	int		 most;		/* (constant) and not more than this */
	int		 total;		/* (constant) after pbuf_init */
	int		 inuse;		/* pbuf_lock */
	TAILQ_HEAD(, buf) free;		/* pbuf_lock */
};

static struct pbuf_pool_state pbuf_pools[PBUF_POOLS] = {
	[PBUF_IN] = { .wmesg = "pbufin", .ram_each = 4 * MiB, .most = 16 },
	[PBUF_OUT] = { .wmesg = "pbufout", .ram_each = 4 * MiB, .most = 16 },
	[PBUF_SWAP] = { .wmesg = "pbufswp", .ram_each = 8 * MiB, .most = 8 },
};

void
pbuf_init(void)
{
	uint64_t ram = (uint64_t)vm_page_count * PAGE_SIZE;

	for (int i = 0; i < PBUF_POOLS; i++) {
		struct pbuf_pool_state *pool = &pbuf_pools[i];
		uint64_t count = MIN(MAX(ram / pool->ram_each, (uint64_t)PBUF_MIN), (uint64_t)pool->most);

		TAILQ_INIT(&pool->free);
		for (pool->total = 0; pool->total < (int)count; pool->total++) {
			struct buf *bp = kmalloc(sizeof(*bp), &M_PBUF, M_WAITOK | M_ZERO);

			bp->b_kvabase = kva_alloc(MAXPHYS);
			if (bp->b_kvabase == 0)
				panic("no kernel addresses for %s number %d", pool->wmesg, pool->total);
			bp->b_pool = (uint8_t)i;
			bp->b_flags = B_PBUF;
			TAILQ_INSERT_TAIL(&pool->free, bp, b_link);
		}
	}
}

/* => pbuf_lock held.  NULL: none is free. */
static struct buf *
pbuf_take(struct pbuf_pool_state *pool)
{
	struct buf *bp = TAILQ_FIRST(&pool->free);
	vm_offset_t kvabase;

	if (bp == NULL)
		return (NULL);
	TAILQ_REMOVE(&pool->free, bp, b_link);
	pool->inuse++;
	kvabase = bp->b_kvabase;
	buf_init(bp, NULL, 0, (void *)kvabase, 0, B_PBUF | B_BUSY);
	bp->b_kvabase = kvabase;
	bp->b_bufsize = MAXPHYS;
	bp->b_pool = (uint8_t)(pool - pbuf_pools);
	return (bp);
}

struct buf *
getpbuf(enum pbuf_pool which)
{
	struct pbuf_pool_state *pool = &pbuf_pools[which];
	struct buf *bp;

	spin_lock(&pbuf_lock);
	while ((bp = pbuf_take(pool)) == NULL)
		tsleep(pool, &pbuf_lock.lk, pool->wmesg, 0);
	spin_unlock(&pbuf_lock);
	return (bp);
}

struct buf *
trypbuf(enum pbuf_pool which)
{
	struct buf *bp;

	spin_lock(&pbuf_lock);
	bp = pbuf_take(&pbuf_pools[which]);
	spin_unlock(&pbuf_lock);
	return (bp);
}

void
relpbuf(struct buf *bp)
{
	struct pbuf_pool_state *pool = &pbuf_pools[bp->b_pool];

	KASSERT((bp->b_flags & (B_PBUF | B_BUSY)) == (B_PBUF | B_BUSY), "relpbuf of buf %p, flags 0x%x",
	    bp, bp->b_flags);
	KASSERT(bp->b_npages == 0, "pbuf %p released with %d pages in its window", bp, bp->b_npages);
	crfree(bp->b_rcred);
	crfree(bp->b_wcred);
	bp->b_rcred = bp->b_wcred = NOCRED;
	if (bp->b_vp != NULL)
		pbrelvp(bp);
	spin_lock(&pbuf_lock);
	bp->b_flags = B_PBUF;
	pool->inuse--;
	TAILQ_INSERT_HEAD(&pool->free, bp, b_link);
	wakeup_one(pool);
	spin_unlock(&pbuf_lock);
}

int
pbuf_inuse(enum pbuf_pool which)
{
	int n;

	spin_lock(&pbuf_lock);
	n = pbuf_pools[which].inuse;
	spin_unlock(&pbuf_lock);
	return (n);
}

int
pbuf_total(enum pbuf_pool which)
{
	return (pbuf_pools[which].total);
}

void
pbgetvp(struct vnode *devvp, struct buf *bp)
{
	KASSERT(bp->b_vp == NULL, "pbuf %p already belongs to vnode %p", bp, bp->b_vp);
	vref(devvp);
	bp->b_vp = devvp;
}

void
pbrelvp(struct buf *bp)
{
	struct vnode *devvp = bp->b_vp;

	KASSERT(devvp != NULL, "pbuf %p belongs to no vnode", bp);
	bp->b_vp = NULL;
	vrele(devvp);
}
