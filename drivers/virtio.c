/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio, common to all devices: agreeing on features, and virtqueues.
 *
 * A split virtqueue is three arrays in our memory, whose physical addresses the device was told:
 *
 *	desc[]	pieces of memory, chained by index	written by us
 *	avail	heads of chains that we offer		written by us, idx last
 *	used	heads of chains that are finished	written by the device, idx last
 *
 *	          avail->idx                                   used->idx
 *	              v                                            v
 *	avail | 4 | 7 | . | . |   desc 4 -> 5 -> 6    used | 4,513 | . | . | . |
 *	             our next     head  data  status      id 4 is done, 513 bytes were written
 *
 * With indirect descriptors a chain takes one entry of desc[]; its pieces are in a table beside the
 * request.  So the ring holds as many requests as it has entries, however scattered their data are.
 *
 * Order.  The device runs on another processor of the host.  x86 keeps stores in order and loads in
 * order, so publishing (ring before idx) and taking (idx before ring) need only the compiler held
 * back: release and acquire.  One place needs more: after the store to avail->idx we load
 * used->flags, and the processor may do that load first.  Then we could see "do not notify" from
 * just before the device went to sleep, and it would sleep for ever on our request; hence the full
 * fence in virtq_kick().
 *
 * VIRTIO_F_EVENT_IDX is not used.  It lets each side name the index at which it wants to hear from
 * the other.  Drivers that take many small completions gain by it; ours take an interrupt for each
 * because a thread is asleep for nearly each, and used->flags already saves the notifications while
 * the device is busy.  The price would be two comparisons modulo 2^16 with a window to close after
 * each.  Nor are packed rings: they save cache misses of hardware that we never meet.
 *
 * A used ring can hold nonsense.  An id that is out of range or not in flight, or more completions
 * than requests, means that nothing the device says can be matched to a request any more:
 * VIRTQ_BROKEN, and the driver gives the device up.
 *
 * Locks: none here; a virtqueue belongs to its driver and is used under that driver's lock.
 */
#include "drivers/virtio.h"
#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "vm/vm_kern.h"

#define RESET_POLLS	1000000		/* reads of a register: about a second */

/* Write 0 to the status and wait until the device says so (virtio 1.2, 2.1.2 and 4.1.4.3.2). */
void
virtio_reset(struct virtio_dev *vd)
{
	unsigned i;

	vd->ops->set_status(vd, 0);
	for (i = 0; i < RESET_POLLS; i++) {
		if (vd->ops->get_status(vd) == 0)
			return;
		cpu_pause();
	}
	printf("%s: the device does not reset; it may touch memory no more\n", vd->name);
	vd->ops->stop(vd);
}

/* Reset, then leave FAILED in the status: the driver has given up (virtio 1.2, 2.1). */
void
virtio_give_up(struct virtio_dev *vd)
{
	virtio_reset(vd);
	vd->ops->set_status(vd, VIRTIO_FAILED);
}

/*
 * Steps 1 to 6 of device initialization (virtio 1.2, 3.1.1).
 *
 * VIRTIO_F_VERSION_1 is a must.  VIRTIO_F_ACCESS_PLATFORM, where offered, is accepted (virtio 1.2,
 * 6.1): we leave a machine's IOMMU as the firmware does, off, and then device addresses are
 * physical addresses.
 */
int
virtio_negotiate(struct virtio_dev *vd, uint64_t wanted)
{
	uint64_t offered;

	virtio_reset(vd);
	vd->ops->set_status(vd, VIRTIO_ACKNOWLEDGE);
	vd->ops->set_status(vd, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	offered = vd->ops->get_features(vd);
	if ((offered & VIRTIO_F_VERSION_1) == 0) {
		printf("%s: the device does not offer virtio 1 (features %#lx); not used\n",
		    vd->name, offered);
		virtio_give_up(vd);
		return (ENODEV);
	}
	vd->features = offered & (wanted | VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM);
	vd->ops->set_features(vd, vd->features);
	vd->ops->set_status(vd, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	if ((vd->ops->get_status(vd) & VIRTIO_FEATURES_OK) == 0) {
		printf("%s: the device refuses features %#lx out of its own %#lx; not used\n",
		    vd->name, vd->features, offered);
		virtio_give_up(vd);
		return (ENODEV);
	}
	return (0);
}

/* Step 8 of initialization: from here on the device works (virtio 1.2, 3.1.1). */
void
virtio_driver_ok(struct virtio_dev *vd)
{
	vd->ops->set_status(vd,
	    VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
}

/* Largest power of two that neither the device nor our arrays exceed; 0: no such queue. */
static unsigned
ring_size(unsigned offered)
{
	unsigned size = VIRTQ_SIZE_MAX;

	while (size > offered)
		size /= 2;
	return (size);
}

/*
 * Allocate a queue's rings, all descriptors free, and hand them to the device (virtio 1.2, 2.7 and
 * 4.1.5.1.3).
 */
int
virtq_init(struct virtq *vq, struct virtio_dev *vd, unsigned index)
{
	size_t avail_off, used_off, end;
	uint8_t *ring;
	unsigned i;
	int error;

	memset(vq, 0, sizeof(*vq));
	vq->vd = vd;
	vq->index = index;
	vq->size = ring_size(vd->ops->queue_size(vd, index));
	if (vq->size == 0) {
		printf("%s: the device has no queue %u\n", vd->name, index);
		return (ENXIO);
	}
	vq->indirect = (vd->features & VIRTIO_F_INDIRECT_DESC) != 0;
	avail_off = vq->size * sizeof(struct vring_desc);
	end = avail_off + sizeof(struct vring_avail) + vq->size * sizeof(uint16_t);
	used_off = roundup(end, 4ul);
	end = used_off + sizeof(struct vring_used) + vq->size * sizeof(struct vring_used_elem);
	vq->bytes = round_page(end);
	ring = kmem_alloc_contig(vq->bytes, &vq->desc_pa);
	if (ring == NULL) {
		printf("%s: no %zu bytes of contiguous memory for queue %u\n", vd->name, vq->bytes,
		    index);
		return (ENOMEM);
	}
	vq->desc = (struct vring_desc *)ring;
	vq->avail = (struct vring_avail *)(ring + avail_off);
	vq->used = (volatile struct vring_used *)(ring + used_off);
	vq->avail_pa = vq->desc_pa + avail_off;
	vq->used_pa = vq->desc_pa + used_off;
	for (i = 0; i < vq->size; i++)
		vq->next[i] = i + 1;
	vq->nfree = vq->size;
	error = vd->ops->queue_setup(vd, vq);
	if (error != 0)
		virtq_destroy(vq);
	return (error);
}

/* Free the rings; allowed only after a reset made the device forget them (virtio 1.2, 3.3.1). */
void
virtq_destroy(struct virtq *vq)
{
	kmem_free_contig(vq->desc, vq->bytes);
	vq->desc = NULL;
}

/*
 * How many chains of nsegs pieces could virtq_add() take now (virtio 1.2, 2.7.5.3: indirect chains
 * take one entry)?
 */
unsigned
virtq_room(const struct virtq *vq, unsigned nsegs)
{
	return (vq->indirect ? vq->nfree : vq->nfree / nsegs);
}

static void
desc_set(struct vring_desc *d, const struct phys_seg *seg, bool write, bool last, unsigned next)
{
	d->addr = seg->addr;
	d->len = seg->len;
	d->flags = (write ? VRING_DESC_WRITE : 0) | (last ? 0 : VRING_DESC_NEXT);
	d->next = last ? 0 : next;
}

/* Fill an indirect table and the one descriptor that points to it (virtio 1.2, 2.7.5.3). */
static void
fill_indirect(struct virtq *vq, unsigned head, const struct phys_seg *seg, unsigned nread,
    unsigned nsegs, struct vring_desc *table, vm_paddr_t table_pa)
{
	unsigned i;

	for (i = 0; i < nsegs; i++)
		desc_set(&table[i], &seg[i], i >= nread, i == nsegs - 1, i + 1);
	vq->desc[head].addr = table_pa;
	vq->desc[head].len = nsegs * sizeof(struct vring_desc);
	vq->desc[head].flags = VRING_DESC_INDIRECT;
	vq->desc[head].next = 0;
}

/* Put a chain into the available ring (virtio 1.2, 2.7.13.1 to 2.7.13.3). */
bool
virtq_add(struct virtq *vq, const struct phys_seg *seg, unsigned nread, unsigned nwrite,
    struct vring_desc *table, vm_paddr_t table_pa, void *cookie)
{
	unsigned nsegs = nread + nwrite, head = vq->free_head, last = head, i;

	KASSERT(nsegs > 0 && nsegs <= vq->size, "chain of %u descriptors in a ring of %u", nsegs,
	    vq->size);
	if (virtq_room(vq, nsegs) == 0)
		return (false);
	if (vq->indirect) {
		fill_indirect(vq, head, seg, nread, nsegs, table, table_pa);
		vq->count[head] = 1;
	} else {
		for (i = 0; i < nsegs; i++) {
			if (i > 0)
				last = vq->next[last];
			desc_set(&vq->desc[last], &seg[i], i >= nread, i == nsegs - 1,
			    vq->next[last]);
		}
		vq->count[head] = nsegs;
	}
	vq->free_head = vq->next[last];
	vq->nfree -= vq->count[head];
	vq->cookie[head] = cookie;
	vq->inflight++;
	vq->avail->ring[vq->avail_idx & (vq->size - 1)] = head;
	vq->avail_idx++;
	__atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_RELEASE);
	vq->unkicked++;
	return (true);
}

/* Tell the device about new chains, unless it asked not to be told (virtio 1.2, 2.7.13.4). */
void
virtq_kick(struct virtq *vq)
{
	if (vq->unkicked == 0)
		return;
	vq->unkicked = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((vq->used->flags & VRING_USED_NO_NOTIFY) == 0)
		vq->vd->ops->notify(vq->vd, vq);
}

/* Give a chain's descriptors back to the free list. */
static void
chain_free(struct virtq *vq, unsigned head)
{
	unsigned last = head, i;

	for (i = 1; i < vq->count[head]; i++)
		last = vq->next[last];
	vq->next[last] = vq->free_head;
	vq->free_head = head;
	vq->nfree += vq->count[head];
	vq->count[head] = 0;
	vq->cookie[head] = NULL;
	vq->inflight--;
}

/* Take one finished chain from the used ring (virtio 1.2, 2.7.14), believing nothing in it. */
enum virtq_result
virtq_next(struct virtq *vq, void **cookie, uint32_t *len)
{
	uint16_t idx = __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
	uint16_t claimed = idx - vq->used_idx;
	uint32_t id;

	if (claimed == 0)
		return (VIRTQ_EMPTY);
	if (claimed > vq->inflight) {
		printf("%s: queue %u: the device claims to have finished %u requests of %u\n",
		    vq->vd->name, vq->index, claimed, vq->inflight);
		return (VIRTQ_BROKEN);
	}
	id = vq->used->ring[vq->used_idx & (vq->size - 1)].id;
	*len = vq->used->ring[vq->used_idx & (vq->size - 1)].len;
	if (id >= vq->size || vq->count[id] == 0) {
		printf("%s: queue %u: the device says that it finished request %u, which %s\n",
		    vq->vd->name, vq->index, id,
		    id >= vq->size ? "cannot exist" : "it was not given");
		return (VIRTQ_BROKEN);
	}
	vq->used_idx++;
	*cookie = vq->cookie[id];
	chain_free(vq, id);
	return (VIRTQ_DONE);
}
