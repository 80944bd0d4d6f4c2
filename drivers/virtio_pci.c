/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio over PCI, modern (virtio 1.2, 4.1).
 *
 * A modern device says by vendor capabilities where its register groups lie: which BAR, at which
 * offset, how long.
 *
 *	common	negotiation, and one window through which each queue is set up
 *	notify	a word per queue; writing the queue's number there says "look"
 *	isr	a byte that says why INTx was raised; reading it lowers the line
 *	device	the configuration of the type (a disk's capacity)
 *
 * Nothing is believed about the capabilities: each group must lie within a memory BAR and be long
 * enough, and of several capabilities for one group we take the first that is usable, as the
 * specification asks (4.1.4).
 *
 * Legacy devices (before 1.0: registers in an I/O BAR, guest-endian rings at a page number) are
 * refused.  Transitional devices carry both interfaces; we use the modern one.
 *
 * Interrupts: with MSI-X, vector 0 is for the queues and vector 1, where there is one, for changes
 * of configuration.  With INTx both come on a shared line, told apart by the isr byte.
 *
 * Locks: none.  The selecting registers are only used while a device is being attached, by one
 * thread; the others are single accesses.  Registers are read and written at exactly their width
 * (4.1.3.1).
 */
#include "drivers/pci.h"
#include "drivers/virtio.h"
#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

#define VIRTIO_VENDOR		0x1af4
#define DEVICE_TRANSITIONAL	0x1000	/* 0x1000 to 0x103f; the type is the subsystem id */
#define DEVICE_MODERN		0x1040	/* plus the type, to 0x107f */
#define DEVICE_LAST		0x107f

/* A vendor capability (virtio 1.2, 4.1.4): byte offsets in it, and what it describes. */
#define CAP_LEN			2
#define CAP_TYPE		3
#define CAP_BAR			4
#define CAP_OFFSET		8
#define CAP_LENGTH		12
#define CAP_NOTIFY_MULTIPLIER	16
enum { GROUP_COMMON = 1, GROUP_NOTIFY, GROUP_ISR, GROUP_DEVICE, GROUPS };

#define NO_VECTOR		0xffff

/* virtio 1.2, 4.1.4.3 */
struct common_regs {
	uint32_t	device_feature_select;
	uint32_t	device_feature;
	uint32_t	driver_feature_select;
	uint32_t	driver_feature;
	uint16_t	config_msix_vector;
	uint16_t	num_queues;
	uint8_t		device_status;
	uint8_t		config_generation;
	uint16_t	queue_select;
	uint16_t	queue_size;
	uint16_t	queue_msix_vector;
	uint16_t	queue_enable;
	uint16_t	queue_notify_off;
	uint32_t	queue_desc_low, queue_desc_high;
	uint32_t	queue_driver_low, queue_driver_high;
	uint32_t	queue_device_low, queue_device_high;
};
_Static_assert(sizeof(struct common_regs) == 56, "virtio 1.2, 4.1.4.3: common registers");

/* A group of registers in the address space. */
struct group {
	volatile uint8_t *va;		/* NULL: not found */
	uint32_t	 len;		/* bytes */
};

struct virtio_pci {
	struct virtio_dev vd;		/* first: ops get a pointer to it */
	struct pci_dev	*pd;		/* (c) */
	volatile struct common_regs *common;	/* (c) */
	struct group	 notify;	/* (c) */
	uint32_t	 notify_multiplier; /* (c) bytes between two queues' words */
	volatile uint8_t *isr;		/* (c) */
	struct group	 device;	/* (c) */
	uint16_t	 queue_vector;	/* (c) MSI-X vector for queues, or NO_VECTOR */
	uint16_t	 config_vector;	/* (c) */
};

static MALLOC_DEFINE(M_VIRTIO, "virtio");

/* Subtypes of one base: vd is the first field. */
static struct virtio_pci *
vp_of(struct virtio_dev *vd)
{
	return (container_of(vd, struct virtio_pci, vd));
}

/* ---- the transport's operations ---- */

static uint8_t
vp_get_status(struct virtio_dev *vd)
{
	return (vp_of(vd)->common->device_status);
}

static void
vp_set_status(struct virtio_dev *vd, uint8_t status)
{
	vp_of(vd)->common->device_status = status;
}

static uint64_t
vp_get_features(struct virtio_dev *vd)
{
	volatile struct common_regs *regs = vp_of(vd)->common;
	uint64_t features;

	regs->device_feature_select = 0;
	features = regs->device_feature;
	regs->device_feature_select = 1;
	return (features | (uint64_t)regs->device_feature << 32);
}

static void
vp_set_features(struct virtio_dev *vd, uint64_t features)
{
	volatile struct common_regs *regs = vp_of(vd)->common;

	regs->driver_feature_select = 0;
	regs->driver_feature = (uint32_t)features;
	regs->driver_feature_select = 1;
	regs->driver_feature = (uint32_t)(features >> 32);
}

/* One field at its own width, 64 bits as two halves (virtio 1.2, 4.1.3.1). */
static void
config_field(volatile uint8_t *from, void *to, size_t len)
{
	volatile uint32_t *words = (volatile uint32_t *)from;
	uint32_t half[2];

	switch (len) {
	case 1:
		*(uint8_t *)to = *from;
		break;
	case 2:
		*(uint16_t *)to = *(volatile uint16_t *)from;
		break;
	case 4:
		*(uint32_t *)to = words[0];
		break;
	case 8:
		half[0] = words[0];
		half[1] = words[1];
		memcpy(to, half, sizeof(half));
		break;
	default:
		panic("virtio configuration field of %zu bytes", len);
	}
}

/* Read a field, again if the generation moved meanwhile (virtio 1.2, 2.5.1). */
static bool
vp_config_read(struct virtio_dev *vd, size_t off, void *data, size_t len)
{
	struct virtio_pci *vp = vp_of(vd);
	uint8_t generation;

	if (vp->device.va == NULL || off + len > vp->device.len)
		return (false);
	do {
		generation = vp->common->config_generation;
		config_field(vp->device.va + off, data, len);
	} while (generation != vp->common->config_generation);
	return (true);
}

static bool
vp_config_write(struct virtio_dev *vd, size_t off, uint8_t value)
{
	struct virtio_pci *vp = vp_of(vd);

	if (vp->device.va == NULL || off >= vp->device.len)
		return (false);
	vp->device.va[off] = value;
	return (true);
}

static uint16_t
vp_queue_size(struct virtio_dev *vd, unsigned index)
{
	volatile struct common_regs *regs = vp_of(vd)->common;

	if (index >= regs->num_queues)
		return (0);
	regs->queue_select = index;
	return (regs->queue_size);
}

/* virtio 1.2, 4.1.5.1.3; the place of the notification word: 4.1.4.4 */
static int
vp_queue_setup(struct virtio_dev *vd, struct virtq *vq)
{
	struct virtio_pci *vp = vp_of(vd);
	volatile struct common_regs *regs = vp->common;
	uint64_t notify_at;

	regs->queue_select = vq->index;
	regs->queue_size = vq->size;
	notify_at = (uint64_t)regs->queue_notify_off * vp->notify_multiplier;
	if (notify_at + sizeof(uint16_t) > vp->notify.len) {
		printf("%s: queue %u is notified outside of its registers\n", vd->name, vq->index);
		return (ENXIO);
	}
	vq->notify = (void *)(uintptr_t)(vp->notify.va + notify_at);
	if (vp->queue_vector != NO_VECTOR) {
		regs->queue_msix_vector = vp->queue_vector;
		if (regs->queue_msix_vector != vp->queue_vector) {
			printf("%s: the device has no room for an interrupt vector\n", vd->name);
			return (ENOMEM);
		}
	}
	regs->queue_desc_low = (uint32_t)vq->desc_pa;
	regs->queue_desc_high = (uint32_t)(vq->desc_pa >> 32);
	regs->queue_driver_low = (uint32_t)vq->avail_pa;
	regs->queue_driver_high = (uint32_t)(vq->avail_pa >> 32);
	regs->queue_device_low = (uint32_t)vq->used_pa;
	regs->queue_device_high = (uint32_t)(vq->used_pa >> 32);
	regs->queue_enable = 1;
	/* A reset forgets the vectors, and every user of the device comes here after its reset. */
	regs->config_msix_vector = vp->config_vector;
	return (0);
}

static void
vp_notify(struct virtio_dev *vd, struct virtq *vq)
{
	*(volatile uint16_t *)vq->notify = vq->index;
}

static void
vp_stop(struct virtio_dev *vd)
{
	pci_stop_dma(vp_of(vd)->pd);
}

static const struct virtio_ops vp_ops = {
	.get_status = vp_get_status,
	.set_status = vp_set_status,
	.get_features = vp_get_features,
	.set_features = vp_set_features,
	.config_read = vp_config_read,
	.config_write = vp_config_write,
	.queue_size = vp_queue_size,
	.queue_setup = vp_queue_setup,
	.notify = vp_notify,
	.stop = vp_stop,
};

/* ---- interrupts ---- */

static void
queue_interrupt(void *arg)
{
	struct virtio_dev *vd = arg;

	if (vd->driver == NULL)
		return;
	__atomic_fetch_add(&vd->interrupts, 1, __ATOMIC_RELAXED);
	vd->queue_intr(vd->driver);
}

static void
config_interrupt(void *arg)
{
	struct virtio_dev *vd = arg;

	if (vd->driver != NULL)
		vd->config_intr(vd->driver);
}

/* INTx: bit 0 of the isr byte is for queues, bit 1 for the configuration (virtio 1.2, 4.1.4.5). */
static bool
intx_interrupt(void *arg)
{
	struct virtio_pci *vp = arg;
	uint8_t isr = *vp->isr;

	if (isr & 1)
		queue_interrupt(&vp->vd);
	if (isr & 2)
		config_interrupt(&vp->vd);
	return (isr != 0);
}

/* MSI-X if the device and the machine have it (virtio 1.2, 4.1.5.1.2), else INTx. */
static int
route_interrupts(struct virtio_pci *vp)
{
	struct pci_dev *pd = vp->pd;
	int error;

	vp->queue_vector = vp->config_vector = NO_VECTOR;
	if (pci_msix_init(pd) == 0 &&
	    pci_msix_route(pd, 0, queue_interrupt, &vp->vd, pd->name) == 0) {
		vp->queue_vector = 0;
		if (pd->msix_count > 1 &&
		    pci_msix_route(pd, 1, config_interrupt, &vp->vd, pd->name) == 0)
			vp->config_vector = 1;
		pci_msix_enable(pd);
		vp->vd.intr_kind = "msi-x";
		return (0);
	}
	error = pci_intx_route(pd, intx_interrupt, vp);
	if (error != 0)
		printf("virtio %s: no MSI-X, and INTx pin %u on line %u is of no use (%s)\n",
		    pd->name, pd->intr_pin, pd->intr_line, errno_name(error));
	vp->vd.intr_kind = "intx";
	return (error);
}

/* ---- attaching ---- */

/*
 * Does this capability describe a usable place of at least `need` bytes?  Then map it (virtio 1.2,
 * 4.1.4).
 */
static bool
group_map(struct pci_dev *pd, unsigned cap, uint32_t need, struct group *group)
{
	unsigned bar = pci_read8(pd, cap + CAP_BAR);
	uint32_t offset = pci_read32(pd, cap + CAP_OFFSET);
	uint32_t length = pci_read32(pd, cap + CAP_LENGTH);
	uint8_t *base;

	if (bar >= PCI_BARS || length < need || (uint64_t)offset + length > pd->bar[bar].len)
		return (false);
	base = pci_map_bar(pd, bar);
	if (base == NULL)
		return (false);
	group->va = base + offset;
	group->len = length;
	return (true);
}

/* Find the four groups.  False: this is no modern device, or one that makes no sense. */
static bool
find_groups(struct virtio_pci *vp)
{
	static const uint32_t need[GROUPS] = {
		[GROUP_COMMON] = sizeof(struct common_regs), [GROUP_NOTIFY] = 2,
		[GROUP_ISR] = 1, [GROUP_DEVICE] = 1,
	};
	struct group group[GROUPS] = { 0 };
	struct pci_dev *pd = vp->pd;
	unsigned cap = 0, type, steps;

	for (steps = 0; steps < 48 && (cap = pci_find_cap(pd, PCI_CAP_VENDOR, cap)) != 0; steps++) {
		type = pci_read8(pd, cap + CAP_TYPE);
		if (pci_read8(pd, cap + CAP_LEN) < 16 || type < GROUP_COMMON || type >= GROUPS ||
		    group[type].va != NULL || !group_map(pd, cap, need[type], &group[type]))
			continue;
		if (type == GROUP_NOTIFY)
			vp->notify_multiplier = pci_read32(pd, cap + CAP_NOTIFY_MULTIPLIER);
	}
	vp->common = (volatile struct common_regs *)group[GROUP_COMMON].va;
	vp->notify = group[GROUP_NOTIFY];
	vp->isr = group[GROUP_ISR].va;
	vp->device = group[GROUP_DEVICE];
	return (vp->common != NULL && vp->notify.va != NULL && vp->isr != NULL);
}

/* virtio 1.2, 4.1.2.1 */
static bool
vp_match(const struct pci_dev *pd)
{
	return (pd->vendor == VIRTIO_VENDOR && pd->device >= DEVICE_TRANSITIONAL &&
	    pd->device <= DEVICE_LAST);
}

/*
 * Bring a virtio function into service (virtio 1.2, 4.1.5.1).
 *
 * => the structure stays even when the type's driver fails: an interrupt line cannot be given back,
 *    and its handler must find a device (without driver).
 */
static int
vp_attach(struct pci_dev *pd)
{
	struct virtio_pci *vp;
	unsigned type = pd->device < DEVICE_MODERN ? pd->subsystem : pd->device - DEVICE_MODERN;
	int error;

	if (type != VIRTIO_TYPE_BLK) {
		printf("virtio %s: a device of type %u, for which there is no driver\n", pd->name,
		    type);
		return (ENODEV);
	}
	vp = kmalloc(sizeof(*vp), &M_VIRTIO, M_WAITOK | M_ZERO);
	vp->pd = pd;
	vp->vd.ops = &vp_ops;
	vp->vd.name = pd->name;
	vp->vd.type = type;
	pci_enable(pd);
	if (!find_groups(vp)) {
		printf("virtio %s: this is no virtio 1 device, and legacy ones (as with QEMU's "
		    "disable-modern=on) are not supported\n", pd->name);
		pci_stop_dma(pd);
		kfree(vp, &M_VIRTIO);
		return (ENODEV);
	}
	pd->softc = vp;
	virtio_reset(&vp->vd);
	error = route_interrupts(vp);
	if (error == 0)
		error = virtio_blk_attach(&vp->vd);
	if (error != 0)
		pci_stop_dma(pd);
	return (error);
}

const struct pci_driver virtio_pci_driver = {
	.name = "virtio",
	.match = vp_match,
	.attach = vp_attach,
};
