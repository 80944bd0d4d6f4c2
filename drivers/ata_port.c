/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ATA ports: what takes long, and may sleep.
 *
 *	attach: reset -> IDENTIFY each device -> set it up -> register the disks, IDLE
 *	mend:   reset -> IDENTIFY each disk: is it the same? -> set it up -> IDLE, the request again
 *	          ^            |
 *	          +--- no -----+	at most ATA_RETRIES times more; then the disk is gone
 *
 * Each port with a disk has a thread.  While a request is under way it looks at the port once a
 * second (ata.c decides what it sees there); when the queue leaves the port to it, MENDING, it
 * brings the port back.  A device that after several resets does not identify itself as the disk
 * that it was is gone: all its requests fail, now and later.
 *
 * The core's own commands, IDENTIFY and the settings, are for whoever has the port to himself: the
 * thread while it mends, or whoever attaches it.  They are waited for, not longer than the port's
 * patience.
 *
 * Flush: FLUSH CACHE if there is a write cache that is on.  A cache that cannot be emptied is
 * switched off; if it cannot be switched off either, a flush is EOPNOTSUPP: a sync that promises
 * nothing would be worse.
 *
 * Locks: port->lock (RANK_DISK), never held across a sleep other than tsleep() on it.
 */
#include "drivers/ata.h"
#include "kernel/clock.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"

static MALLOC_DEFINE(M_ATA, "ata");

#define IDENTIFY_BYTES	512u

/* ---- the core's own commands ---- */

/*
 * Carry out port->own and wait for it.
 *
 * => the port is the caller's: MENDING, no command under way.  Sleeps in "atacmd", at most
 *    port->patience.  Returns 0 or EIO.
 */
static int
own_command(struct ata_port *port)
{
	struct ata_buf_list done = TAILQ_HEAD_INITIALIZER(done);
	struct ata_cmd *cmd = &port->own;
	int error = EIO;

	spin_lock(&port->lock);
	if (cmd->len > 0 && !port->ops->pio && !port->ops->prepare(port, cmd)) {
		spin_unlock(&port->lock);
		return (EIO);
	}
	port->result = ATA_BROKEN;
	if (ata_cmd_issue(port, cmd)) {
		ata_look(port, &done);
		while (port->current == cmd && ticks - port->started < port->patience) {
			tsleep(cmd, &port->lock.lk, "atacmd", 1);
			/* re-check: an interrupt may have ended it. */
			if (port->current == cmd)
				ata_look(port, &done);
		}
	}
	if (port->current == cmd) {
		port->current = NULL;
		port->ops->abort(port);
	} else if (ata_cmd_fine(cmd, port->result)) {
		error = 0;
	}
	spin_unlock(&port->lock);
	KASSERT(TAILQ_EMPTY(&done), "%s: its own command ended somebody's request", port->name);
	return (error);
}

/* A command without data.  => like own_command(). */
static int
own_simple(struct ata_dev *dev, uint8_t command, uint8_t features, uint8_t count)
{
	dev->port->own = (struct ata_cmd){ .dev = dev, .command = command, .protocol = ATA_NONDATA,
	    .features = features, .count = count };
	return (own_command(dev->port));
}

/*
 * IDENTIFY DEVICE or IDENTIFY PACKET DEVICE (ATA8-ACS, 7.16, 7.17) into port->identify.  => like
 * own_command().
 */
static int
own_identify(struct ata_dev *dev, uint8_t command)
{
	struct ata_port *port = dev->port;

	memset(port->identify, 0, IDENTIFY_BYTES);
	port->own = (struct ata_cmd){ .dev = dev, .command = command, .protocol = ATA_PIO_IN,
	    .data = (uint8_t *)port->identify, .len = IDENTIFY_BYTES, .block = IDENTIFY_BYTES };
	return (own_command(port));
}

/*
 * What a device forgets in a reset: the transfer mode, that there shall be no cache (ATA8-ACS, SET
 * FEATURES), how many sectors READ MULTIPLE moves at once (ATA8-ACS, SET MULTIPLE MODE).  What it
 * refuses it does without.  => like own_command().
 */
static void
dev_setup(struct ata_dev *dev)
{
	struct ata_port *port = dev->port;
	bool dma = !port->ops->pio, cache = dev->id.cache;
	bool may_dma = !port->no_dma && !dev->dma_fails && dev->id.mode != 0;
	unsigned multiple = dev->id.multiple;

	if (!dma && may_dma)
		dma = own_simple(dev, ATA_CMD_SET_FEATURES, ATA_FEATURE_MODE, dev->id.mode) == 0;
	if (dma || multiple * dev->id.sectorsize > MAXPHYS ||
	    (multiple > 0 && own_simple(dev, ATA_CMD_SET_MULTIPLE, 0, multiple) != 0))
		multiple = 0;
	if (cache && !dev->id.flush && !dev->id.flush_ext && dev->id.cache_switch)
		cache = own_simple(dev, ATA_CMD_SET_FEATURES, ATA_FEATURE_NO_CACHE, 0) != 0;
	spin_lock(&port->lock);
	dev->dma = dma;
	dev->multiple = multiple;
	if (!cache)
		dev->flush = ATA_FLUSH_NEEDLESS;
	else
		dev->flush = dev->id.flush || dev->id.flush_ext ? ATA_FLUSH_COMMAND : ATA_FLUSH_FAILS;
	spin_unlock(&port->lock);
}

/* ---- mending: the port's thread ---- */

/* Is it there again, and is it the same disk?  => like own_command(). */
static bool
dev_is_back(struct ata_dev *dev)
{
	struct ata_identity id;

	if (dev->port->kind[dev->unit] != ATA_DISK || own_identify(dev, ATA_CMD_IDENTIFY) != 0 ||
	    ata_identity_parse(dev->port->identify, &id) != NULL)
		return (false);
	if (!streq(id.model, dev->id.model) || !streq(id.serial, dev->id.serial) ||
	    id.nsectors != dev->id.nsectors || id.sectorsize != dev->id.sectorsize)
		return (false);
	dev_setup(dev);
	return (true);
}

/* Reset until all disks are back, or have had their chances.  => like own_command(). */
static void
revive(struct ata_port *port)
{
	bool missing = true, last;
	struct ata_dev *dev;
	unsigned try;

	for (try = 0; missing && try <= ATA_RETRIES; try++) {
		last = try == ATA_RETRIES;
		missing = false;
		port->stats.resets++;
		port->ops->reset(port);
		for (dev = port->dev; dev < port->dev + ATA_DEVICES; dev++) {
			if (!dev->present || dev->gone || dev_is_back(dev))
				continue;
			missing = true;
			if (!last)
				continue;
			printf("%s: does not answer any more; all its requests fail from now on\n",
			    dev->disk.dk_name);
			spin_lock(&port->lock);
			dev->gone = true;
			spin_unlock(&port->lock);
		}
	}
}

/*
 * Bring the port back to work.  => port lock, MENDING; drops it meanwhile, and sleeps.
 */
static void
mend(struct ata_port *port, struct ata_buf_list *done)
{
	bool broken = port->broken, again = port->again;

	spin_unlock(&port->lock);
	if (broken || !port->ops->settle(port))
		revive(port);
	spin_lock(&port->lock);
	/* re-check: nobody else takes a port out of MENDING, and nothing is started in it. */
	ata_resume(port, again, done);
}

static void
port_thread(void *arg)
{
	struct ata_buf_list done = TAILQ_HEAD_INITIALIZER(done);
	struct ata_port *port = arg;

	spin_lock(&port->lock);
	while (!port->stopping) {
		if (port->state == ATA_MENDING)
			mend(port, &done);
		else if (port->current != NULL)
			ata_watch(port, &done);
		if (!TAILQ_EMPTY(&done)) {
			spin_unlock(&port->lock);
			ata_complete(&done);
			spin_lock(&port->lock);
		}
		/* re-check: the port may have broken again meanwhile. */
		if (port->state != ATA_MENDING && !port->stopping)
			tsleep(port, &port->lock.lk, "atawait", port->watch);
	}
	spin_unlock(&port->lock);
}

/* ---- attaching ---- */

static const char *
unit_word(const struct ata_dev *dev)
{
	static const char *const words[] = { " master", " slave" };

	return (dev->port->ops->pio ? words[dev->unit] : "");
}

/*
 * Learn what the device is.  False: it is not for us, and that has been said.  => like
 * own_command().
 */
static bool
dev_learn(struct ata_dev *dev)
{
	struct ata_port *port = dev->port;
	const char *problem = "it does not identify itself";
	char model[41] = "no name";

	switch (port->kind[dev->unit]) {
	case ATA_DISK:
		if (own_identify(dev, ATA_CMD_IDENTIFY) == 0)
			problem = ata_identity_parse(port->identify, &dev->id);
		if (problem == NULL)
			return (true);
		printf("%s%s: a disk that is left alone: %s\n", port->name, unit_word(dev),
		    problem);
		return (false);
	case ATA_PACKET:
		if (own_identify(dev, ATA_CMD_IDENTIFY_PACKET) == 0)
			ata_string(port->identify + 27, 20, model);
		printf("%s%s: %s, an ATAPI device, is left alone\n", port->name, unit_word(dev),
		    model);
		return (false);
	case ATA_OTHER:
		printf("%s%s: a device that is neither a disk nor ATAPI is left alone\n",
		    port->name, unit_word(dev));
		return (false);
	default:
		return (false);
	}
}

static void
announce(const struct ata_dev *dev)
{
	static const char *const flush_words[] = {
		[ATA_FLUSH_COMMAND] = "flush", [ATA_FLUSH_NEEDLESS] = "write-through",
		[ATA_FLUSH_FAILS] = "no flush",
	};
	const struct disk *dk = &dev->disk;

	printf("%s: ATA disk at %s%s, %s, %lu KiB in sectors of %u; ", dk->dk_name, dev->port->name,
	    unit_word(dev), dev->id.model, dk->dk_nsectors / 2, dk->dk_sectorsize);
	printf("%s addresses, %s, %s\n", dev->id.lba48 ? "48-bit" : "28-bit",
	    dev->dma ? "DMA" : "PIO", flush_words[dev->flush]);
}

/* Make a disk of a device that dev_learn() liked.  => like own_command(). */
static void
dev_begin(struct ata_dev *dev)
{
	struct disk *dk = &dev->disk;
	uint64_t unit = dev->id.sectorsize / DEV_BSIZE;

	dev_setup(dev);
	strlcpy(dk->dk_name, "sd?", sizeof(dk->dk_name));
	dk->dk_ops = &ata_disk_ops;
	dk->dk_softc = dev;
	dk->dk_sectorsize = dev->id.sectorsize;
	/* b_blkno is signed and so are byte offsets; 48 bits of sectors leave room enough. */
	dk->dk_nsectors = dev->id.nsectors * unit;
	dk->dk_maxsize = MAXPHYS;
	dev->present = true;
}

/* Register the disks that were found; the port takes requests from here on. */
static void
disks_register(struct ata_port *port)
{
	struct ata_dev *dev;

	for (dev = port->dev; dev < port->dev + ATA_DEVICES; dev++) {
		if (!dev->present)
			continue;
		disk_register(&dev->disk);
		announce(dev);
	}
}

/* Reset, identify, set up; the contract is in ata.h. */
int
ata_port_attach(struct ata_port *port)
{
	struct ata_dev *dev;
	unsigned unit, found = 0;

	spin_init(&port->lock, "ata port", RANK_DISK);
	port->complaints = (struct ratelimit)RATELIMIT_INITIALIZER(10, 5);
	port->watch = port->watch != 0 ? port->watch : HZ;
	port->patience = port->patience != 0 ? port->patience : 10 * HZ;
	port->identify = kmalloc(IDENTIFY_BYTES, &M_ATA, M_WAITOK);
	port->state = ATA_MENDING;
	for (unit = 0; unit < ATA_DEVICES; unit++) {
		port->dev[unit].port = port;
		port->dev[unit].unit = unit;
		TAILQ_INIT(&port->dev[unit].queue);
	}
	port->ops->reset(port);
	for (dev = port->dev; dev < port->dev + ATA_DEVICES; dev++) {
		if (!dev_learn(dev))
			continue;
		dev_begin(dev);
		found++;
	}
	port->state = ATA_IDLE;
	port->thread = found == 0 ? NULL : thread_create(port->name, PRI_KERNEL, port_thread, port);
	if (port->thread == NULL) {
		if (found > 0)
			printf("%s: no memory for its thread\n", port->name);
		kfree(port->identify, &M_ATA);
		return (found > 0 ? ENOMEM : ENXIO);
	}
	disks_register(port);
	return (0);
}

/* Take the port's disks away again. */
void
ata_port_detach(struct ata_port *port)
{
	struct ata_dev *dev;

	for (dev = port->dev; dev < port->dev + ATA_DEVICES; dev++) {
		if (dev->present)
			disk_unregister(&dev->disk);
	}
	spin_lock(&port->lock);
	port->stopping = true;
	wakeup(port);
	spin_unlock(&port->lock);
	thread_join(port->thread);
	kfree(port->identify, &M_ATA);
}
