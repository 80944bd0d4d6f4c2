/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio: how a guest talks to a device that knows it is talked to by a guest.
 *
 * Three layers, so that each can be read, and tested, alone:
 *
 *	virtio_blk.c	a device type: what requests mean
 *	virtio.c	what all types share: feature negotiation, device status, virtqueues
 *	virtio_pci.c	a transport: where the registers are and how interrupts come
 *
 * A transport is a `struct virtio_ops`.  The self-tests have a second one, whose device is a few
 * lines of C that misbehave on demand (tests/kernel/fake_virtio.c).
 *
 * "virtio 1.2, N" in comments is section N of "Virtual I/O Device (VIRTIO) Version 1.2" (OASIS).
 */
#ifndef DRIVERS_VIRTIO_H
#define DRIVERS_VIRTIO_H

#include "kernel/fs/buf.h"
#include "kernel/lib/types.h"

/* Device status (virtio 1.2, 2.1) */
#define VIRTIO_ACKNOWLEDGE	0x01	/* somebody noticed the device */
#define VIRTIO_DRIVER		0x02	/* and knows how to drive it */
#define VIRTIO_DRIVER_OK	0x04	/* the driver is ready */
#define VIRTIO_FEATURES_OK	0x08	/* they agree on features */
#define VIRTIO_NEEDS_RESET	0x40	/* the device gave up */
#define VIRTIO_FAILED		0x80	/* the driver gave up */

/* Feature bits that belong to no device type (virtio 1.2, 6) */
#define VIRTIO_F_INDIRECT_DESC	(1ul << 28)	/* a descriptor may point to a table of them */
#define VIRTIO_F_VERSION_1	(1ul << 32)	/* not a legacy device */
#define VIRTIO_F_ACCESS_PLATFORM (1ul << 33)	/* behind an IOMMU, if there is one */

#define VIRTIO_TYPE_BLK		2		/* virtio 1.2, 5 */

/* The split virtqueue in memory (virtio 1.2, 2.7).  All little-endian, as we are. */
struct vring_desc {
	uint64_t	addr;		/* physical */
	uint32_t	len;
	uint16_t	flags;
	uint16_t	next;		/* index of the next descriptor, with VRING_DESC_NEXT */
};
#define VRING_DESC_NEXT		1	/* the chain goes on */
#define VRING_DESC_WRITE	2	/* the device writes here; without it, it reads */
#define VRING_DESC_INDIRECT	4	/* addr is a table of descriptors */

struct vring_avail {
	uint16_t	flags;
	uint16_t	idx;		/* chains offered so far, modulo 2^16 */
	uint16_t	ring[];		/* head of each */
};

struct vring_used_elem {
	uint32_t	id;		/* head of a finished chain */
	uint32_t	len;		/* bytes that the device wrote to it */
};

struct vring_used {
	uint16_t	flags;
	uint16_t	idx;		/* chains finished so far, modulo 2^16 */
	struct vring_used_elem ring[];
};
#define VRING_USED_NO_NOTIFY	1	/* the device is looking by itself just now */

#define VIRTQ_SIZE_MAX		256	/* longer rings are cut to this */

/*
 * One virtqueue.  (c) constant once set up  (d) the driver's lock
 *
 * What the device could have scribbled over is never believed: the links of free descriptors and
 * chain lengths are kept here, not read back from the ring.
 */
struct virtq {
	struct virtio_dev *vd;		/* (c) */
	uint16_t	 index;		/* (c) its number in the device */
	uint16_t	 size;		/* (c) descriptors, a power of two */
	bool		 indirect;	/* (c) negotiated */
	struct vring_desc *desc;	/* (c) where the ring lies; contents (d) */
	struct vring_avail *avail;	/* (c) */
	volatile struct vring_used *used; /* (c) written by the device */
	vm_paddr_t	 desc_pa, avail_pa, used_pa;	/* (c) */
	size_t		 bytes;		/* (c) allocated at desc */
	uint16_t	 free_head;	/* (d) first free descriptor */
	uint16_t	 nfree;		/* (d) */
	uint16_t	 inflight;	/* (d) chains that the device has */
	uint16_t	 avail_idx;	/* (d) as in avail->idx */
	uint16_t	 used_idx;	/* (d) chains taken back so far */
	uint16_t	 unkicked;	/* (d) chains offered since the last virtq_kick() */
	uint16_t	 next[VIRTQ_SIZE_MAX];	/* (d) link of descriptor i: free list or chain */
	uint16_t	 count[VIRTQ_SIZE_MAX];	/* (d) length of the chain with head i; 0: none */
	void		*cookie[VIRTQ_SIZE_MAX]; /* (d) whose it is */
	void		*notify;	/* (c) the transport's own */
};

/* What a transport does for the layers above it.  None sleeps but queue_setup. */
struct virtio_ops {
	uint8_t	 (*get_status)(struct virtio_dev *vd);
	void	 (*set_status)(struct virtio_dev *vd, uint8_t status);	/* 0: reset */
	uint64_t (*get_features)(struct virtio_dev *vd);
	void	 (*set_features)(struct virtio_dev *vd, uint64_t features);
	/*
	 * One field (1, 2, 4 or 8 bytes) of the type's configuration.  False: the device has no
	 * such field.
	 */
	bool	 (*config_read)(struct virtio_dev *vd, size_t off, void *data, size_t len);
	bool	 (*config_write)(struct virtio_dev *vd, size_t off, uint8_t value);
	uint16_t (*queue_size)(struct virtio_dev *vd, unsigned index);	/* 0: no such queue */
	/* Tell the device where the queue lies.  0 or an errno, having said why. */
	int	 (*queue_setup)(struct virtio_dev *vd, struct virtq *vq);
	void	 (*notify)(struct virtio_dev *vd, struct virtq *vq);
	/* The device ignores a reset: keep it from memory. */
	void	 (*stop)(struct virtio_dev *vd);
};

struct virtio_dev {
	const char	*name;		/* for messages: PCI address, later the disk's name */
	const struct virtio_ops *ops;	/* (c) */
	unsigned	 type;		/* (c) VIRTIO_TYPE_* */
	uint64_t	 features;	/* (c) negotiated */
	/* Called by the transport from its interrupt, as soon as `driver` is set. */
	void		(*queue_intr)(void *driver);	/* some queue may have finished chains */
	void		(*config_intr)(void *driver);	/* configuration or status changed */
	void		*driver;
	const char	*intr_kind;	/* (c) "msi-x" or "intx", for the boot message */
	uint64_t	 interrupts;	/* (atomic) taken for queues */
};

/* virtio.c */
/*
 * Reset and agree.
 *
 * => wanted: the type's and ring features that the driver knows.  0 or an errno, having said why.
 */
int	 virtio_negotiate(struct virtio_dev *vd, uint64_t wanted);
void	 virtio_driver_ok(struct virtio_dev *vd);
/*
 * Back to the state after power-on: the device has forgotten all queues and touches no memory.
 *
 * => any context.
 */
void	 virtio_reset(struct virtio_dev *vd);
/* The driver gives the device up: reset, and FAILED for whoever looks. */
void	 virtio_give_up(struct virtio_dev *vd);

/* => may sleep.  0 or an errno, having said why. */
int	 virtq_init(struct virtq *vq, struct virtio_dev *vd, unsigned index);
void	 virtq_destroy(struct virtq *vq);	/* => the device has been reset */
/*
 * Offer a chain: seg[0 .. nread) for the device to read, the nwrite that follow to write.
 * => driver's lock held.  table: physically contiguous room for nread + nwrite descriptors when
 *    vq->indirect, else unused.
 * => false: no room in the ring now.  True: `cookie` comes back from virtq_next(); the device may
 *    start at once, but need not look before virtq_kick().
 */
bool	 virtq_add(struct virtq *vq, const struct phys_seg *seg, unsigned nread, unsigned nwrite,
	     struct vring_desc *table, vm_paddr_t table_pa, void *cookie);
unsigned virtq_room(const struct virtq *vq, unsigned nsegs);	/* how many such chains fit now */
void	 virtq_kick(struct virtq *vq);
enum virtq_result {
	VIRTQ_EMPTY,		/* nothing finished */
	VIRTQ_DONE,		/* *cookie and *len (bytes that the device says it wrote) are set */
	VIRTQ_BROKEN		/* nonsense in the ring, and said which: the device is past use */
};
enum virtq_result virtq_next(struct virtq *vq, void **cookie, uint32_t *len);

/* virtio_pci.c */
struct pci_driver;
extern const struct pci_driver virtio_pci_driver;

/* virtio_blk.c */
struct disk;
struct virtio_blk_stats {		/* (d) each */
	uint64_t	requests;	/* device requests issued */
	uint64_t	splits;		/* of them, second and further ones for one buffer */
	uint64_t	waited;		/* buffers that found no room in the ring and waited */
	uint64_t	complaints;	/* answers that were errors or made no sense */
	unsigned	max_segs;	/* (c) data segments a request can have */
	unsigned	max_requests;	/* (c) requests in flight */
};
/*
 * Bring a device of type VIRTIO_TYPE_BLK into service as a disk.
 *
 * => may sleep.  0 or an errno, having said why.
 */
int	 virtio_blk_attach(struct virtio_dev *vd);
/* Take it away again, as the self-tests do with their own device.  => no request in flight. */
void	 virtio_blk_detach(struct virtio_dev *vd);
struct disk *virtio_blk_disk(struct virtio_dev *vd);
/* The device behind a disk; NULL when it is another driver's. */
struct virtio_dev *virtio_blk_device(struct disk *dk);
const struct virtio_blk_stats *virtio_blk_stats(struct disk *dk);

#endif
