/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio block device that is a few lines of C, for the driver's tests.
 *
 * It is a second transport (struct virtio_ops).  It does nothing by itself: a test looks at the
 * requests that the driver put into the ring, in the order of the ring, and answers them when, and
 * how badly, it likes:
 *
 *	driver --> ring --> fake_take(): header, data pieces, status byte
 *	driver <-- ring <-- fake_give(): status, length, id            then fake_interrupt()
 *
 * So completions can come late, reordered, wrong or never, without any luck.
 */
#ifndef TESTS_KERNEL_FAKE_VIRTIO_H
#define TESTS_KERNEL_FAKE_VIRTIO_H

#include "drivers/disk.h"
#include "drivers/virtio.h"

#define F_SIZE_MAX	(1ul << 1)
#define F_SEG_MAX	(1ul << 2)
#define F_RO		(1ul << 5)
#define F_BLK_SIZE	(1ul << 6)
#define F_FLUSH		(1ul << 9)
#define F_CONFIG_WCE	(1ul << 11)

#define CAPACITY	4096		/* sectors */
#define PIECES_MAX	64

/* The type's configuration, as in virtio 1.2, 5.2.4. */
struct fake_config {
	uint64_t	capacity;
	uint32_t	size_max, seg_max;
	uint32_t	geometry;
	uint32_t	blk_size;
	uint64_t	topology;
	uint8_t		writeback;
};

struct fake {
	struct virtio_dev vd;
	uint64_t	offered;	/* features */
	struct fake_config config;
	uint16_t	ring;		/* entries */
	bool		refuses_features, ignores_reset, writeback_sticks;
	uint8_t		status;
	bool		stopped;	/* the driver took memory away from us */
	unsigned	notified;
	struct virtq	*vq;		/* NULL until set up, and after a reset */
	uint16_t	taken;		/* from the available ring */
	uint16_t	given;		/* to the used ring */
};

/* One request as the device sees it. */
struct fake_request {
	uint16_t	head;
	uint32_t	type;
	uint64_t	sector;
	unsigned	npieces;
	struct { uint8_t *at; uint32_t len; } piece[PIECES_MAX];	/* data only */
	uint32_t	len;		/* bytes of data */
	uint8_t		*status;
};

/* A device with these features (VERSION_1 is added) and ring entries, not yet driven. */
struct fake *fake_create(uint64_t features, uint16_t ring);
void	 fake_destroy(struct fake *f);		/* detached first if it is in service */
/* The same, in service; NULL, the test failed, when the driver did not want it. */
struct fake *fake_attach(uint64_t features, uint16_t ring);
struct disk *fake_disk(struct fake *f);

/* Next offered request, taken apart; false: the driver has offered nothing more. */
bool	 fake_take(struct fake *f, struct fake_request *r);
/* The byte at `pos` of the fake disk, a position in bytes. */
uint8_t	 fake_byte(uint64_t pos);
/* Put the disk's bytes into a read's pieces. */
void	 fake_fill(const struct fake_request *r);
/* Answer as a good device does, with this status; or put anything at all into the used ring. */
void	 fake_give(struct fake *f, const struct fake_request *r, uint8_t status);
void	 fake_give_raw(struct fake *f, uint32_t id, uint32_t len);
void	 fake_interrupt(struct fake *f);

#endif
