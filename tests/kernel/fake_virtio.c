/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fake virtio block device of fake_virtio.h: a transport, and the device's side of the ring.
 *
 * It reads descriptors through the direct map, like the real one through physical addresses, and
 * checks what a device may expect of a driver: alignment of the rings, header first, status last,
 * data writable for reads only.
 */
#include "tests/kernel/fake_virtio.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "vm/vm.h"

static struct fake *
fake_of(struct virtio_dev *vd)
{
	return (container_of(vd, struct fake, vd));
}

/* ---- the transport ---- */

static uint8_t
fake_get_status(struct virtio_dev *vd)
{
	return (fake_of(vd)->status);
}

static void
fake_set_status(struct virtio_dev *vd, uint8_t status)
{
	struct fake *f = fake_of(vd);

	if (status == 0 && f->ignores_reset)
		return;
	if (status == 0)
		f->vq = NULL;
	if (f->refuses_features)
		status &= ~VIRTIO_FEATURES_OK;
	f->status = status;
}

static uint64_t
fake_get_features(struct virtio_dev *vd)
{
	return (fake_of(vd)->offered);
}

static void
fake_set_features(struct virtio_dev *vd, uint64_t features)
{
	CHECK_EQ(features & ~fake_of(vd)->offered, 0);
}

static bool
fake_config_read(struct virtio_dev *vd, size_t off, void *data, size_t len)
{
	memcpy(data, (uint8_t *)&fake_of(vd)->config + off, len);
	return (true);
}

static bool
fake_config_write(struct virtio_dev *vd, size_t off, uint8_t value)
{
	CHECK_EQ(off, offsetof(struct fake_config, writeback));
	if (!fake_of(vd)->writeback_sticks)
		fake_of(vd)->config.writeback = value;
	return (true);
}

static uint16_t
fake_queue_size(struct virtio_dev *vd, unsigned index)
{
	return (index == 0 ? fake_of(vd)->ring : 0);
}

static int
fake_queue_setup(struct virtio_dev *vd, struct virtq *vq)
{
	fake_of(vd)->vq = vq;
	CHECK_EQ(vq->desc_pa & 15, 0);
	CHECK_EQ(vq->avail_pa & 1, 0);
	CHECK_EQ(vq->used_pa & 3, 0);
	return (0);
}

static void
fake_notify(struct virtio_dev *vd, struct virtq *vq)
{
	fake_of(vd)->notified++;
}

static void
fake_stop(struct virtio_dev *vd)
{
	fake_of(vd)->stopped = true;
}

static const struct virtio_ops fake_ops = {
	.get_status = fake_get_status, .set_status = fake_set_status,
	.get_features = fake_get_features, .set_features = fake_set_features,
	.config_read = fake_config_read, .config_write = fake_config_write,
	.queue_size = fake_queue_size, .queue_setup = fake_queue_setup,
	.notify = fake_notify, .stop = fake_stop,
};

/* ---- the device's side of the ring ---- */

/* Next offered request, taken apart; false: the driver has offered nothing more. */
bool
fake_take(struct fake *f, struct fake_request *r)
{
	const struct vring_desc *table = f->vq->desc, *d;
	const uint64_t *header;
	unsigned next, i, n = 0;

	if (f->taken == f->vq->avail->idx)
		return (false);
	memset(r, 0, sizeof(*r));
	r->head = f->vq->avail->ring[f->taken++ % f->vq->size];
	next = r->head;
	if (table[next].flags & VRING_DESC_INDIRECT) {
		CHECK_EQ(table[next].len % sizeof(*d), 0);
		table = PHYS_TO_DMAP(table[next].addr);
		next = 0;
	}
	for (;;) {
		d = &table[next];
		if (n == 0) {
			header = PHYS_TO_DMAP(d->addr);
			CHECK_EQ(d->len, 16);
			CHECK_EQ(d->flags & VRING_DESC_WRITE, 0);
			r->type = (uint32_t)header[0];
			r->sector = header[1];
		} else if ((d->flags & VRING_DESC_NEXT) == 0) {
			CHECK_EQ(d->len, 1);
			CHECK_EQ(d->flags, VRING_DESC_WRITE);
			r->status = PHYS_TO_DMAP(d->addr);
			break;
		} else if (CHECK(r->npieces < PIECES_MAX)) {
			i = r->npieces++;
			r->piece[i].at = PHYS_TO_DMAP(d->addr);
			r->piece[i].len = d->len;
			CHECK_EQ((d->flags & VRING_DESC_WRITE) != 0, r->type == 0);
			r->len += d->len;
		}
		if (!CHECK(n++ < PIECES_MAX))
			break;
		next = d->next;
	}
	return (true);
}

/* The byte at `pos` of the fake disk, a position in bytes. */
uint8_t
fake_byte(uint64_t pos)
{
	return ((uint8_t)((pos >> 9) * 31 + pos * 7 + 1));
}

/* Do what a good device does with the data of a read. */
void
fake_fill(const struct fake_request *r)
{
	uint64_t pos = r->sector * DEV_BSIZE;
	unsigned i;
	uint32_t j;

	for (i = 0; i < r->npieces; i++)
		for (j = 0; j < r->piece[i].len; j++)
			r->piece[i].at[j] = fake_byte(pos++);
}

/* Put anything into the used ring. */
void
fake_give_raw(struct fake *f, uint32_t id, uint32_t len)
{
	struct vring_used *used = (struct vring_used *)(uintptr_t)f->vq->used;

	used->ring[f->given % f->vq->size].id = id;
	used->ring[f->given % f->vq->size].len = len;
	f->given++;
	__atomic_store_n(&used->idx, f->given, __ATOMIC_RELEASE);
}

void
fake_give(struct fake *f, const struct fake_request *r, uint8_t status)
{
	if (r->type == 0 && status == 0)
		fake_fill(r);
	*r->status = status;
	fake_give_raw(f, r->head, r->type == 0 ? r->len + 1 : 1);
}

void
fake_interrupt(struct fake *f)
{
	f->vd.queue_intr(f->vd.driver);
}

/* ---- rig ---- */

static MALLOC_DEFINE(M_FAKE, "fake virtio");

struct fake *
fake_create(uint64_t features, uint16_t ring)
{
	struct fake *f = kmalloc(sizeof(*f), &M_FAKE, M_WAITOK | M_ZERO);

	f->vd.name = "fake";
	f->vd.ops = &fake_ops;
	f->vd.type = VIRTIO_TYPE_BLK;
	f->vd.intr_kind = "by hand";
	f->offered = features | VIRTIO_F_VERSION_1;
	f->ring = ring;
	f->config.capacity = CAPACITY;
	f->config.blk_size = DEV_BSIZE;
	return (f);
}

void
fake_destroy(struct fake *f)
{
	if (f->vd.driver != NULL)
		virtio_blk_detach(&f->vd);
	kfree(f, &M_FAKE);
}

/* A device in service; NULL, the test failed, when the driver did not want it. */
struct fake *
fake_attach(uint64_t features, uint16_t ring)
{
	struct fake *f = fake_create(features, ring);

	if (CHECK_EQ(virtio_blk_attach(&f->vd), 0))
		return (f);
	fake_destroy(f);
	return (NULL);
}

struct disk *
fake_disk(struct fake *f)
{
	return (virtio_blk_disk(&f->vd));
}
