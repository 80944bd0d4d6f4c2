/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The core of the ATA drivers: which command comes next, what its answer means, and what to do when
 * there is none.
 *
 *	strategy ---> queue of the device
 *	       |                each port carries out one command at a time
 *	IDLE --+--> ACTIVE ---- answered ---> buffer done, IDLE, next command
 *	 ^            |  |
 *	 |            |  +----- the device says: error ---> buffer fails (EIO), next command
 *	 |            +-------- no answer, bad cable, device fault
 *	 |            v
 *	 +- thread - MENDING    reset, identify, the same command: at most ATA_RETRIES times
 *
 * Two kinds of failure.  "This sector cannot be read" is an answer: the disk has tried for as long
 * as it thinks right, and asking again would only double that time, so it goes straight to the
 * buffer, whoever asked decides.  No answer at all, a CRC error on the cable or a device fault says
 * nothing about the sector: the port is reset and the command repeated, and only if that happens
 * again and again does the buffer fail.  A device that after several resets does not identify
 * itself as the disk that it was is gone: all its requests fail, now and later.
 *
 * Everything in order happens in strategy and in the interrupt, under the port's lock, and never
 * sleeps.  What may take long is the thread's: each port has one.  It also looks at the port once a
 * second, so an interrupt that was lost costs a second, not a hang.
 *
 * Memory is safe from a command that was given up: the driver stops the transfer (abort) and resets
 * the device before the buffer goes back to its owner.
 *
 * Flush: FLUSH CACHE if there is a write cache that is on.  A cache that cannot be emptied is
 * switched off; if it cannot be switched off either, a flush is EOPNOTSUPP: a sync that promises
 * nothing would be worse.
 *
 * Locks: port->lock (RANK_DISK).  Finished buffers are collected on a list and completed after it
 * is dropped: a completion may start the next request at once.
 *
 * Not done: queued commands (NCQ), hot plug, power management, security, sorting.
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

TAILQ_HEAD(buf_list, buf);

static const char *const state_name[] = { "idle", "active", "mending" };

/* The port's only change of state. => port lock. */
static void
state_set(struct ata_port *port, enum ata_state to)
{
	static const uint8_t from[] = {
		[ATA_IDLE] = 1 << ATA_ACTIVE | 1 << ATA_MENDING,
		[ATA_ACTIVE] = 1 << ATA_IDLE,
		[ATA_MENDING] = 1 << ATA_ACTIVE,
	};

	KASSERT((from[to] & 1u << port->state) != 0, "%s becomes %s while it is %s", port->name,
	    state_name[to], state_name[port->state]);
	KASSERT(port->current == NULL, "%s becomes %s with a command under way", port->name,
	    state_name[to]);
	port->state = to;
}

/* ---- saying what went wrong ---- */

static const char *
cmd_word(const struct ata_cmd *cmd)
{
	if (cmd->bp == NULL || (cmd->bp->b_flags & B_FLUSH))
		return (cmd->bp == NULL ? "command" : "flush");
	return ((cmd->bp->b_flags & B_READ) ? "read" : "write");
}

/* What the error register says (ATA8-ACS, Error field); the most telling bit. */
static const char *
error_word(uint8_t error)
{
	if (error & ATA_ERROR_ICRC)
		return ("CRC error on the cable");
	if (error & ATA_ERROR_UNC)
		return ("uncorrectable data");
	if (error & ATA_ERROR_IDNF)
		return ("sector not found");
	return ((error & ATA_ERROR_ABRT) ? "I/O error, command aborted" : "I/O error");
}

/* One line about a request, if there were not too many lately.  => port lock. */
static void
complain(struct ata_port *port, const struct ata_cmd *cmd, const char *what)
{
	uint32_t missed;

	if (!ratelimit_pass(&port->complaints, clock_ns(), &missed))
		return;
	printf("%s: %s of %u bytes at sector %lu: %s (status 0x%02x, error 0x%02x)\n",
	    cmd->dev->disk.dk_name, cmd_word(cmd), cmd->len, (uint64_t)cmd->bp->b_pblkno, what,
	    cmd->status, cmd->error);
	if (missed > 0)
		printf("%s: %u more messages were held back\n", port->name, missed);
}

/* ---- commands ---- */

/* The data's pieces of memory; a buffer's or the core's own. */
int
ata_segments(const struct ata_cmd *cmd, struct phys_seg *segs, int max)
{
	struct buf buf;

	if (cmd->bp != NULL)
		return (buf_segments(cmd->bp, segs, max));
	buf_init(&buf, NULL, 0, cmd->data, cmd->len, B_READ);
	return (buf_segments(&buf, segs, max));
}

/* Give a command to the hardware.  => port lock, none under way.  False: it was not taken. */
static bool
cmd_issue(struct ata_port *port, struct ata_cmd *cmd)
{
	KASSERT(port->current == NULL, "%s: two commands at once", port->name);
	port->stats.commands++;
	port->stats.dma += cmd->protocol == ATA_DMA_IN || cmd->protocol == ATA_DMA_OUT;
	port->stats.pio += cmd->protocol == ATA_PIO_IN || cmd->protocol == ATA_PIO_OUT;
	port->started = ticks;
	if (!port->ops->issue(port, cmd))
		return (false);
	port->current = cmd;
	return (true);
}

enum verdict { FINE, REFUSED, BROKEN };

/* What has become of a command (ATA8-ACS, Status and Error fields)? */
static enum verdict
cmd_verdict(const struct ata_cmd *cmd, enum ata_result result)
{
	if (result == ATA_BROKEN || (cmd->status & ATA_STATUS_DF) != 0)
		return (BROKEN);
	if ((cmd->status & ATA_STATUS_ERR) == 0)
		return (FINE);
	return ((cmd->error & ATA_ERROR_ICRC) ? BROKEN : REFUSED);
}

/* ---- requests ---- */

static void
request_finish(struct buf *bp, int error, struct buf_list *done)
{
	bp->b_error = error;
	if (error == 0)
		bp->b_resid = 0;
	TAILQ_INSERT_TAIL(done, bp, b_link);
}

/* Leave the port to its thread.  => port lock. */
static void
mending_begin(struct ata_port *port, bool broken, bool again)
{
	port->broken = broken;
	port->again = again;
	state_set(port, ATA_MENDING);
	wakeup(port);
}

/* The request at the device has ended, well or not.  => port lock. */
static void
request_end(struct ata_port *port, enum ata_result result, struct buf_list *done)
{
	struct ata_cmd *cmd = &port->cmd;

	switch (cmd_verdict(cmd, result)) {
	case FINE:
		request_finish(cmd->bp, 0, done);
		state_set(port, ATA_IDLE);
		break;
	case REFUSED:
		port->stats.errors++;
		complain(port, cmd, error_word(cmd->error));
		request_finish(cmd->bp, EIO, done);
		if (port->ops->settle != NULL)
			mending_begin(port, false, false);
		else
			state_set(port, ATA_IDLE);
		break;
	case BROKEN:
		complain(port, cmd, result == ATA_BROKEN ? "no answer" :
		    (cmd->status & ATA_STATUS_DF) ? "device fault" : error_word(cmd->error));
		port->ops->abort(port);
		mending_begin(port, true, true);
		break;
	}
}

/* Make port->cmd the command for its request.  False: the hardware cannot reach the memory. */
static bool
request_build(struct ata_port *port, struct ata_dev *dev, struct buf *bp)
{
	struct ata_cmd *cmd = &port->cmd;

	cmd->dev = dev;
	if (dev->dma && (bp->b_flags & B_FLUSH) == 0) {
		ata_cmd_build(cmd, &dev->id, bp, true, 0);
		if (port->ops->prepare(port, cmd))
			return (true);
		if (!port->ops->pio)
			return (false);
	}
	ata_cmd_build(cmd, &dev->id, bp, false, dev->multiple);
	return (true);
}

/* => port lock, IDLE; port->cmd.tries says how often it was tried. */
static void
request_issue(struct ata_port *port, struct ata_dev *dev, struct buf *bp, struct buf_list *done)
{
	if (!request_build(port, dev, bp)) {
		complain(port, &port->cmd, "its memory is out of the controller's reach");
		request_finish(bp, EIO, done);
		return;
	}
	state_set(port, ATA_ACTIVE);
	if (!cmd_issue(port, &port->cmd))
		request_end(port, ATA_BROKEN, done);
}

/* The device whose oldest request comes next: in turns.  NULL: none waits. */
static struct ata_dev *
dev_next(struct ata_port *port)
{
	struct ata_dev *dev;
	unsigned i;

	for (i = 0; i < ATA_DEVICES; i++) {
		dev = &port->dev[(port->turn + i) % ATA_DEVICES];
		if (TAILQ_EMPTY(&dev->queue))
			continue;
		port->turn = (dev->unit + 1) % ATA_DEVICES;
		return (dev);
	}
	return (NULL);
}

/* Start the next request if the port is free.  => port lock. */
static void
start(struct ata_port *port, struct buf_list *done)
{
	struct ata_dev *dev;
	struct buf *bp;

	while (port->state == ATA_IDLE && (dev = dev_next(port)) != NULL) {
		bp = TAILQ_FIRST(&dev->queue);
		TAILQ_REMOVE(&dev->queue, bp, b_link);
		port->cmd.tries = 0;
		if (dev->gone)
			request_finish(bp, EIO, done);
		else
			request_issue(port, dev, bp, done);
	}
}

/* See how far the command is, and go on from there.  => port lock. */
static void
look(struct ata_port *port, struct buf_list *done)
{
	struct ata_cmd *cmd = port->current;
	enum ata_result result;

	result = port->ops->progress(port, cmd);
	if (cmd == NULL || result == ATA_BUSY)
		return;
	port->current = NULL;
	port->result = result;
	if (cmd == &port->own) {
		wakeup(&port->own);
		return;
	}
	request_end(port, result, done);
	start(port, done);
}

/* Complete the collected buffers.  => port lock not held. */
static void
complete(struct buf_list *done)
{
	struct buf *bp;

	while ((bp = TAILQ_FIRST(done)) != NULL) {
		TAILQ_REMOVE(done, bp, b_link);
		disk_done(bp->b_disk->dk_whole != NULL ? bp->b_disk->dk_whole : bp->b_disk, bp);
	}
}

/* ---- entry points: the disk layer and the interrupts ---- */

/* A flush that the device need not, or cannot, be asked for.  => true: answered in bp->b_error. */
static bool
flush_answered(const struct ata_dev *dev, struct buf *bp)
{
	if ((bp->b_flags & B_FLUSH) == 0 || dev->flush == ATA_FLUSH_COMMAND)
		return (false);
	bp->b_error = dev->flush == ATA_FLUSH_FAILS ? EOPNOTSUPP : 0;
	return (true);
}

static void
ata_strategy(struct disk *dk, struct buf *bp)
{
	struct ata_dev *dev = dk->dk_softc;
	struct ata_port *port = dev->port;
	struct buf_list done = TAILQ_HEAD_INITIALIZER(done);

	spin_lock(&port->lock);
	if (flush_answered(dev, bp)) {
		TAILQ_INSERT_TAIL(&done, bp, b_link);
	} else {
		TAILQ_INSERT_TAIL(&dev->queue, bp, b_link);
		start(port, &done);
	}
	spin_unlock(&port->lock);
	complete(&done);
}

/* From the controller's interrupt: perhaps the command is over, perhaps it wants more data. */
void
ata_port_intr(struct ata_port *port)
{
	struct buf_list done = TAILQ_HEAD_INITIALIZER(done);

	spin_lock(&port->lock);
	port->stats.interrupts++;
	look(port, &done);
	spin_unlock(&port->lock);
	complete(&done);
}

static const struct disk_ops ata_disk_ops = {
	.strategy = ata_strategy,
};

struct ata_port *
ata_disk_port(struct disk *dk)
{
	return (dk->dk_ops == &ata_disk_ops ? ((struct ata_dev *)dk->dk_softc)->port : NULL);
}

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
	struct buf_list done = TAILQ_HEAD_INITIALIZER(done);
	struct ata_cmd *cmd = &port->own;
	int error = EIO;

	spin_lock(&port->lock);
	if (cmd->len > 0 && !port->ops->pio && !port->ops->prepare(port, cmd)) {
		spin_unlock(&port->lock);
		return (EIO);
	}
	port->result = ATA_BROKEN;
	if (cmd_issue(port, cmd)) {
		look(port, &done);
		while (port->current == cmd && ticks - port->started < port->patience) {
			tsleep(cmd, &port->lock.lk, "atacmd", 1);
			/* re-check: an interrupt may have ended it. */
			if (port->current == cmd)
				look(port, &done);
		}
	}
	if (port->current == cmd) {
		port->current = NULL;
		port->ops->abort(port);
	} else if (cmd_verdict(cmd, port->result) == FINE) {
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
	unsigned multiple = dev->id.multiple;

	if (!dma && !port->no_dma && dev->id.mode != 0)
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

/* The command that failed, once more, or its end.  => port lock, IDLE. */
static void
request_again(struct ata_port *port, struct buf_list *done)
{
	struct ata_cmd *cmd = &port->cmd;

	if (cmd->dev->gone) {
		request_finish(cmd->bp, EIO, done);
	} else if (++cmd->tries > ATA_RETRIES) {
		complain(port, cmd, "given up");
		request_finish(cmd->bp, EIO, done);
	} else {
		port->stats.retries++;
		request_issue(port, cmd->dev, cmd->bp, done);
	}
}

/*
 * Bring the port back to work.  => port lock, MENDING; drops it meanwhile, and sleeps.
 */
static void
mend(struct ata_port *port, struct buf_list *done)
{
	bool broken = port->broken, again = port->again;

	spin_unlock(&port->lock);
	if (broken || !port->ops->settle(port))
		revive(port);
	spin_lock(&port->lock);
	/* re-check: nobody else takes a port out of MENDING, and nothing is started in it. */
	state_set(port, ATA_IDLE);
	if (again)
		request_again(port, done);
	start(port, done);
}

/* Look after a request that takes long.  => port lock, a command under way. */
static void
watch(struct ata_port *port, struct buf_list *done)
{
	uint64_t age = ticks - port->started, commands = port->stats.commands;
	uint32_t patience = port->patience * (port->current->protocol == ATA_NONDATA ? 3 : 1);

	if (age < port->watch)
		return;
	look(port, done);
	if (port->current == NULL || port->stats.commands != commands) {
		port->stats.found++;
	} else if (age >= patience) {
		port->stats.timeouts++;
		port->current = NULL;
		request_end(port, ATA_BROKEN, done);
	}
}

static void
port_thread(void *arg)
{
	struct buf_list done = TAILQ_HEAD_INITIALIZER(done);
	struct ata_port *port = arg;

	spin_lock(&port->lock);
	while (!port->stopping) {
		if (port->state == ATA_MENDING)
			mend(port, &done);
		else if (port->current != NULL)
			watch(port, &done);
		if (!TAILQ_EMPTY(&done)) {
			spin_unlock(&port->lock);
			complete(&done);
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
