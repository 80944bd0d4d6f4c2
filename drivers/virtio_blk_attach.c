/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk, from the device to a disk: its size and limits, its cache, its requests, and out of
 * service again.
 *
 * Flush.  With VIRTIO_BLK_F_FLUSH the device has a cache and a flush is a request.  Without it
 * there is no volatile cache, unless the device also has a switch for one
 * (VIRTIO_BLK_F_CONFIG_WCE), which we turn off.  If it stays on, a flush is EOPNOTSUPP: a sync that
 * promises nothing would be worse.
 *
 * The order of the steps is the standard's (virtio 1.2, 3.1.1 and 5.2.5): features, then the
 * configuration, then the queue, and only then may the device be asked anything.  Whatever a device
 * says of itself is checked here once: sectors that are no power of two, a ring too short for one
 * request, a size that does not fit into a block number.
 *
 * Nothing here is locked: the device is nobody's yet, or no longer anybody's.
 */
#include "drivers/virtio_blk.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "vm/vm_kern.h"

/* Features (virtio 1.2, 5.2.3) */
#define F_SIZE_MAX	(1ul << 1)
#define F_SEG_MAX	(1ul << 2)
#define F_RO		(1ul << 5)
#define F_BLK_SIZE	(1ul << 6)
#define F_FLUSH		(1ul << 9)
#define F_CONFIG_WCE	(1ul << 11)

/* Offsets of configuration fields (virtio 1.2, 5.2.4) */
#define CONFIG_SIZE_MAX		8	/* 4 bytes */
#define CONFIG_SEG_MAX		12	/* 4 bytes */
#define CONFIG_BLK_SIZE		20	/* 4 bytes */
#define CONFIG_WRITEBACK	32	/* 1 byte */

static MALLOC_DEFINE(M_VBLK, "virtio-blk");

/* A four-byte field that exists if `feature` was negotiated; `otherwise` if not, or if it is 0. */
static uint32_t
config_u32(struct vblk *sc, uint64_t feature, size_t off, uint32_t otherwise)
{
	uint32_t value;

	if ((sc->vd->features & feature) == 0 ||
	    !sc->vd->ops->config_read(sc->vd, off, &value, sizeof(value)) || value == 0)
		return (otherwise);
	return (value);
}

/* How is data made durable (virtio 1.2, 5.2.5 and 5.2.6.2)? */
static void
learn_cache(struct vblk *sc)
{
	struct virtio_dev *vd = sc->vd;
	uint8_t writeback = 0;

	sc->flush_works = (vd->features & F_FLUSH) != 0;
	if (!sc->flush_works && (vd->features & F_CONFIG_WCE) != 0) {
		vd->ops->config_write(vd, CONFIG_WRITEBACK, 0);
		vd->ops->config_read(vd, CONFIG_WRITEBACK, &writeback, sizeof(writeback));
	}
	sc->write_through = !sc->flush_works && writeback == 0;
}

/* Size, limits and manners of the device (virtio 1.2, 5.2.4 and 5.2.5).  0 or an errno. */
static int
learn_config(struct vblk *sc)
{
	struct virtio_dev *vd = sc->vd;
	struct disk *dk = &sc->disk;
	uint32_t seg_max;

	if (!vd->ops->config_read(vd, VBLK_CONFIG_CAPACITY, &dk->dk_nsectors, sizeof(dk->dk_nsectors))) {
		printf("virtio-blk %s: the device does not say how large it is\n", vd->name);
		return (ENXIO);
	}
	dk->dk_sectorsize = config_u32(sc, F_BLK_SIZE, CONFIG_BLK_SIZE, DEV_BSIZE);
	if (dk->dk_sectorsize < DEV_BSIZE || dk->dk_sectorsize > MAXPHYS ||
	    (dk->dk_sectorsize & (dk->dk_sectorsize - 1)) != 0) {
		printf("virtio-blk %s: sectors of %u bytes are not supported\n", vd->name,
		    dk->dk_sectorsize);
		return (ENXIO);
	}
	/* b_blkno is signed and so are byte offsets. */
	dk->dk_nsectors = MIN(dk->dk_nsectors, (uint64_t)INT64_MAX >> DEV_BSHIFT);
	dk->dk_nsectors -= dk->dk_nsectors % (dk->dk_sectorsize >> DEV_BSHIFT);
	dk->dk_maxsize = MAXPHYS;
	dk->dk_readonly = (vd->features & F_RO) != 0;
	seg_max = config_u32(sc, F_SEG_MAX, CONFIG_SEG_MAX, SEGS_MAX);
	sc->size_max = config_u32(sc, F_SIZE_MAX, CONFIG_SIZE_MAX, MAXPHYS);
	sc->stats.max_segs = MIN(seg_max, (uint32_t)SEGS_MAX);
	learn_cache(sc);
	return (0);
}

/*
 * Set up the request queue; a chain, indirect or not, is never longer than the ring (virtio 1.2,
 * 2.7.5.3.1).
 */
static int
queue_create(struct vblk *sc)
{
	int error;

	error = virtq_init(&sc->vq, sc->vd, 0);
	if (error != 0)
		return (error);
	if (sc->vq.size < 3) {
		printf("virtio-blk %s: a ring of %u entries cannot hold a request\n", sc->vd->name,
		    sc->vq.size);
		return (ENXIO);
	}
	sc->stats.max_segs = MIN(sc->stats.max_segs, sc->vq.size - 2u);
	return (0);
}

/* Allocate as many requests as the ring can use and memory allows. */
static int
requests_create(struct vblk *sc)
{
	unsigned want = sc->vq.indirect ? sc->vq.size : sc->vq.size / 3u, n, i;
	struct request_dma *dma = NULL;
	vm_paddr_t pa = 0;

	want = MIN(want, (unsigned)REQUESTS_MAX);
	for (n = 0; n < want; n++) {
		if (n % DMA_PER_PAGE == 0) {
			dma = kmem_alloc_contig(PAGE_SIZE, &pa);
			if (dma == NULL)
				break;
			sc->dma_page[n / DMA_PER_PAGE] = dma;
		}
		sc->requests[n].dma = dma + n % DMA_PER_PAGE;
		sc->requests[n].dma_pa = pa + n % DMA_PER_PAGE * sizeof(*dma);
		TAILQ_INSERT_TAIL(&sc->free_requests, &sc->requests[n], link);
	}
	if (n == 0) {
		printf("virtio-blk %s: no memory for requests\n", sc->vd->name);
		return (ENOMEM);
	}
	sc->stats.max_requests = n;
	for (i = 0; i <= n; i++)
		TAILQ_INSERT_TAIL(&sc->free_jobs, &sc->jobs[i], link);
	return (0);
}

static void
vblk_free(struct vblk *sc)
{
	unsigned i;

	if (sc->vq.desc != NULL)
		virtq_destroy(&sc->vq);
	for (i = 0; i < nitems(sc->dma_page); i++) {
		if (sc->dma_page[i] != NULL)
			kmem_free_contig(sc->dma_page[i], PAGE_SIZE);
	}
	kfree(sc, &M_VBLK);
}

static void
announce(const struct vblk *sc)
{
	const struct disk *dk = &sc->disk;
	const char *cache = sc->flush_works ? "flush" : "no flush";
	char limit[32] = "";

	if (sc->write_through)
		cache = "write-through";
	if (sc->size_max < MAXPHYS)
		snprintf(limit, sizeof(limit), " of %u bytes", sc->size_max);
	printf("%s: virtio-blk at %s, %lu KiB in sectors of %u%s; ", dk->dk_name, sc->vd->name,
	    dk->dk_nsectors / 2, dk->dk_sectorsize, dk->dk_readonly ? ", read-only" : "");
	printf("%u requests of %u pieces%s%s, %s, %s\n", sc->stats.max_requests,
	    sc->stats.max_segs, limit, sc->vq.indirect ? " (indirect)" : "", cache,
	    sc->vd->intr_kind);
}

/* Bring a block device into service (virtio 1.2, 5.2.5, inside the steps of 3.1.1). */
int
virtio_blk_attach(struct virtio_dev *vd)
{
	const uint64_t wanted = F_SIZE_MAX | F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH |
	    F_CONFIG_WCE | VIRTIO_F_INDIRECT_DESC;
	struct vblk *sc = kmalloc(sizeof(*sc), &M_VBLK, M_WAITOK | M_ZERO);
	int error;

	spin_init(&sc->lock, "virtio-blk", RANK_DISK);
	sc->vd = vd;
	sc->disk.dk_ops = &vblk_ops;
	sc->disk.dk_softc = sc;
	strlcpy(sc->disk.dk_name, "vd?", sizeof(sc->disk.dk_name));
	error = virtio_negotiate(vd, wanted);
	if (error == 0)
		error = learn_config(sc);
	if (error == 0)
		error = queue_create(sc);
	if (error == 0)
		error = requests_create(sc);
	if (error != 0) {
		virtio_give_up(vd);
		vblk_free(sc);
		return (error);
	}
	vd->queue_intr = vblk_queue_intr;
	vd->config_intr = vblk_config_intr;
	__atomic_store_n(&vd->driver, sc, __ATOMIC_RELEASE);
	virtio_driver_ok(vd);
	disk_register(&sc->disk);
	announce(sc);
	vd->name = sc->disk.dk_name;
	return (0);
}

/* Out of service again: reset, then free (virtio 1.2, 3.3). */
void
virtio_blk_detach(struct virtio_dev *vd)
{
	struct vblk *sc = vd->driver;

	disk_unregister(&sc->disk);
	vd->driver = NULL;
	virtio_reset(vd);
	vd->name = "detached";
	vblk_free(sc);
}

/* The disk that a device of this type serves (virtio 1.2, 5.2). */
struct disk *
virtio_blk_disk(struct virtio_dev *vd)
{
	struct vblk *sc = vd->driver;

	return (&sc->disk);
}

/* The other way round (virtio 1.2, 5.2). */
struct virtio_dev *
virtio_blk_device(struct disk *dk)
{
	return (dk->dk_ops == &vblk_ops ? ((struct vblk *)dk->dk_softc)->vd : NULL);
}

/* Counters and limits of a virtio disk (limits: virtio 1.2, 5.2.4).  => dk is one. */
const struct virtio_blk_stats *
virtio_blk_stats(struct disk *dk)
{
	KASSERT(dk->dk_ops == &vblk_ops, "%s is no virtio disk", dk->dk_name);
	return (&((struct vblk *)dk->dk_softc)->stats);
}
