/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue of the ATA drivers: which command comes next, what its answer means, and who goes on
 * when there is none.
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
 * nothing about the sector: the port is reset and the command repeated, the last time by PIO where
 * the controller can do that, and only then does the buffer fail.  Where PIO gets through and DMA
 * did not, it stays with PIO.
 *
 * Nothing here sleeps: it all happens in strategy and in the interrupt, under the port's lock.  What
 * may take long is the thread's (ata_port.c): each port has one.  It also looks at the port once a
 * second (ata_watch), so an interrupt that was lost costs a second, not a hang.
 *
 * Memory is safe from a command that was given up: the driver stops the transfer (abort) and resets
 * the device before the buffer goes back to its owner.
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
#include "kernel/thread.h"

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
bool
ata_cmd_issue(struct ata_port *port, struct ata_cmd *cmd)
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

bool
ata_cmd_fine(const struct ata_cmd *cmd, enum ata_result result)
{
	return (cmd_verdict(cmd, result) == FINE);
}

/* ---- requests ---- */

static void
request_finish(struct buf *bp, int error, struct ata_buf_list *done)
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

/* The request got through.  By PIO, after all tries by DMA have failed: never again DMA.  => port lock. */
static void
dma_judge(const struct ata_cmd *cmd)
{
	if (cmd->tries != ATA_RETRIES || cmd->dma_tries != cmd->tries)
		return;
	printf("%s: DMA fails and PIO does not: no more DMA\n", cmd->dev->disk.dk_name);
	cmd->dev->dma_fails = true;
	cmd->dev->dma = false;
}

/* The request at the device has ended, well or not.  => port lock. */
static void
request_end(struct ata_port *port, enum ata_result result, struct ata_buf_list *done)
{
	struct ata_cmd *cmd = &port->cmd;

	switch (cmd_verdict(cmd, result)) {
	case FINE:
		dma_judge(cmd);
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
	bool last_resort = port->ops->pio && cmd->tries == ATA_RETRIES;

	cmd->dev = dev;
	if (dev->dma && !last_resort && (bp->b_flags & B_FLUSH) == 0) {
		ata_cmd_build(cmd, &dev->id, bp, true, 0);
		if (port->ops->prepare(port, cmd)) {
			cmd->dma_tries++;
			return (true);
		}
		if (!port->ops->pio)
			return (false);
	}
	ata_cmd_build(cmd, &dev->id, bp, false, dev->multiple);
	return (true);
}

/* => port lock, IDLE; port->cmd.tries says how often it was tried. */
static void
request_issue(struct ata_port *port, struct ata_dev *dev, struct buf *bp, struct ata_buf_list *done)
{
	if (!request_build(port, dev, bp)) {
		complain(port, &port->cmd, "its memory is out of the controller's reach");
		request_finish(bp, EIO, done);
		return;
	}
	state_set(port, ATA_ACTIVE);
	if (!ata_cmd_issue(port, &port->cmd))
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
start(struct ata_port *port, struct ata_buf_list *done)
{
	struct ata_dev *dev;
	struct buf *bp;

	while (port->state == ATA_IDLE && (dev = dev_next(port)) != NULL) {
		bp = TAILQ_FIRST(&dev->queue);
		TAILQ_REMOVE(&dev->queue, bp, b_link);
		port->cmd.tries = port->cmd.dma_tries = 0;
		if (dev->gone)
			request_finish(bp, EIO, done);
		else
			request_issue(port, dev, bp, done);
	}
}

/* See how far the command is, and go on from there.  => port lock. */
void
ata_look(struct ata_port *port, struct ata_buf_list *done)
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

/* The command that failed, once more, or its end.  => port lock, IDLE. */
static void
request_again(struct ata_port *port, struct ata_buf_list *done)
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

/* The port's thread has mended it: go on.  => port lock, MENDING. */
void
ata_resume(struct ata_port *port, bool again, struct ata_buf_list *done)
{
	state_set(port, ATA_IDLE);
	if (again)
		request_again(port, done);
	start(port, done);
}

/* Look after a request that takes long.  => port lock, a command under way. */
void
ata_watch(struct ata_port *port, struct ata_buf_list *done)
{
	uint64_t age = ticks - port->started, commands = port->stats.commands;
	uint32_t patience = port->patience * (port->current->protocol == ATA_NONDATA ? 3 : 1);

	if (age < port->watch)
		return;
	ata_look(port, done);
	if (port->current == NULL || port->stats.commands != commands) {
		port->stats.found++;
	} else if (age >= patience) {
		port->stats.timeouts++;
		port->current = NULL;
		request_end(port, ATA_BROKEN, done);
	}
}

/* Complete the collected buffers.  => port lock not held. */
void
ata_complete(struct ata_buf_list *done)
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
	struct ata_buf_list done = TAILQ_HEAD_INITIALIZER(done);

	spin_lock(&port->lock);
	if (flush_answered(dev, bp)) {
		TAILQ_INSERT_TAIL(&done, bp, b_link);
	} else {
		TAILQ_INSERT_TAIL(&dev->queue, bp, b_link);
		start(port, &done);
	}
	spin_unlock(&port->lock);
	ata_complete(&done);
}

/* From the controller's interrupt: perhaps the command is over, perhaps it wants more data. */
void
ata_port_intr(struct ata_port *port)
{
	struct ata_buf_list done = TAILQ_HEAD_INITIALIZER(done);

	spin_lock(&port->lock);
	port->stats.interrupts++;
	ata_look(port, &done);
	spin_unlock(&port->lock);
	ata_complete(&done);
}

const struct disk_ops ata_disk_ops = {
	.strategy = ata_strategy,
};

struct ata_port *
ata_disk_port(struct disk *dk)
{
	return (dk->dk_ops == &ata_disk_ops ? ((struct ata_dev *)dk->dk_softc)->port : NULL);
}
