/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk, between its two files: what a device is (virtio_blk_attach.c) and what it is asked
 * (virtio_blk.c).
 */
#ifndef DRIVERS_VIRTIO_BLK_H
#define DRIVERS_VIRTIO_BLK_H

#include "drivers/disk.h"
#include "drivers/virtio.h"
#include "kernel/lock.h"

#define SEGS_MAX	(PBUF_PAGES + 1)	/* MAXPHYS at any offset in its first page */
#define REQUESTS_MAX	64

#define VBLK_CONFIG_CAPACITY	0	/* 8 bytes: 512-byte sectors (virtio 1.2, 5.2.4) */

/* What the device reads and writes of a request besides data. */
struct request_dma {
	struct vring_desc table[SEGS_MAX + 2];	/* for an indirect chain */
	struct {
		uint32_t type;
		uint32_t reserved;
		uint64_t sector;		/* always in 512-byte units */
	} header;
	volatile uint8_t status;
} __aligned(16);
#define DMA_PER_PAGE	(PAGE_SIZE / sizeof(struct request_dma))

/* One buffer being carried out.  All (sc->lock). */
struct job {
	TAILQ_ENTRY(job) link;		/* free list */
	struct buf	*bp;
	size_t		 issued;	/* bytes given to the device so far */
	unsigned	 outstanding;	/* requests that the device has */
	int		 error;		/* the first one */
	bool		 complete;	/* nothing more to issue */
};

/* One device request.  All (sc->lock), the DMA part as the ring says. */
struct request {
	TAILQ_ENTRY(request) link;	/* free list */
	struct job	*job;		/* NULL: free */
	uint32_t	 len;		/* bytes of data */
	struct request_dma *dma;	/* (c) */
	vm_paddr_t	 dma_pa;	/* (c) */
};

TAILQ_HEAD(buf_list, buf);

/* (c) constant after attaching, the rest under `lock` */
struct vblk {
	struct spinlock	 lock;
	struct virtio_dev *vd;		/* (c) */
	struct disk	 disk;		/* (c) but for what disk.c keeps there */
	struct virtq	 vq;
	struct buf_list	 queue;		/* not begun, oldest first */
	struct job	*current;	/* begun and not wholly issued, or NULL */
	TAILQ_HEAD(, request) free_requests;
	TAILQ_HEAD(, job) free_jobs;
	bool		 dead;		/* given up */
	uint32_t	 size_max;	/* (c) bytes in one segment */
	bool		 flush_works;	/* (c) VIRTIO_BLK_F_FLUSH */
	bool		 write_through;	/* (c) no flush needed */
	struct virtio_blk_stats stats;
	struct phys_seg	 pages[SEGS_MAX];	/* scratch: the whole buffer */
	struct phys_seg	 chain[SEGS_MAX + 2];	/* scratch: one request */
	struct request	 requests[REQUESTS_MAX];
	struct job	 jobs[REQUESTS_MAX + 1]; /* one per request, and one between two requests */
	void		*dma_page[REQUESTS_MAX / DMA_PER_PAGE + 1];	/* (c) */
};

extern const struct disk_ops vblk_ops;

/* From the device's interrupts, with the struct vblk: requests may be finished; its configuration changed. */
void vblk_queue_intr(void *arg);
void vblk_config_intr(void *arg);

#endif
