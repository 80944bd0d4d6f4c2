/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-blk: a disk (virtio 1.2, 5.2).  Here is what it is asked and answers; how it is found out
 * what the device can do, and brought into service, is in virtio_blk_attach.c.
 *
 * A request is a chain of three parts, of which only the middle one belongs to the buffer:
 *
 *	header  16 bytes, read by the device: type, sector
 *	data    the buffer's pages as they lie in memory: buf_segments(), nothing is copied
 *	status  one byte, written by the device: OK, IOERR, UNSUPP
 *
 * Buffers, jobs, requests.  A device may limit the number of pieces of a request (seg_max, and the
 * length of its ring) and the size of a piece (size_max), and these limits can be smaller than a
 * buffer of MAXPHYS.  So a buffer becomes a *job*, which is carried out by one or more *requests*
 * and is finished when all of them are; the first error stops it.  Nearly always it is one.
 *
 *	disk_strategy --> queue (bufs, first in first out)
 *	                    | no room in the ring: stays; each completion tries again
 *	                    v
 *	                 current job --> requests in the ring --> interrupt --> job finished --> disk_done
 *
 * Only the oldest job can be partly issued, so one pointer (`current`) is all the memory that this
 * takes, and nobody overtakes.
 *
 * What the device answers is checked, not believed.  An answer that is wrong about one request
 * (status byte never written, more bytes than there was room for, a read that stopped short) fails
 * that request with EIO.  One that cannot be matched to a request (virtq_next() says VIRTQ_BROKEN),
 * or the device asking to be reset, is the end: the device is reset first, so that it no longer
 * writes into pages that are about to be given back, then everything fails with EIO, now and later.
 *
 * Locks: sc->lock (RANK_DISK) for everything below.  Finished buffers are collected on a list and
 * completed after it is dropped: a completion may start the next request at once.  Nothing sleeps;
 * strategy and completion run in any context.
 *
 * Not done: several queues (one CPU's worth of requests is far from filling one), discard, a
 * time-out for requests (a device that never answers shows as threads asleep for their disk),
 * resizing.
 */
#include "drivers/virtio_blk.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"

/* virtio 1.2, 5.2.6 */
enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4 };
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2, STATUS_UNWRITTEN = 0xff };

#define COMPLAINTS_MAX	10			/* printed per disk; all are counted */

/* ---- messages ---- */

static const char *
request_word(const struct buf *bp)
{
	if (bp->b_flags & B_FLUSH)
		return ("flush");
	return ((bp->b_flags & B_READ) ? "read" : "write");
}

/* Say what is wrong with the device's answer to a request, if not said too often already. */
static void
complain(struct vblk *sc, const struct request *req, const char *what, unsigned a, unsigned b)
{
	char text[80];

	if (sc->stats.complaints++ >= COMPLAINTS_MAX)
		return;
	snprintf(text, sizeof(text), what, a, b);
	printf("%s: %s of %u bytes at sector %lu: %s%s\n", sc->disk.dk_name,
	    request_word(req->job->bp), req->len, req->dma->header.sector, text,
	    sc->stats.complaints == COMPLAINTS_MAX ? " (the last one shown)" : "");
}

/* ---- jobs ---- */

/* Finish the job if nothing of it is left to issue or to wait for: its buffer goes to `done`. */
static void
job_settle(struct vblk *sc, struct job *job, struct buf_list *done)
{
	if (!job->complete || job->outstanding > 0)
		return;
	job->bp->b_error = job->error;
	TAILQ_INSERT_TAIL(done, job->bp, b_link);
	job->bp = NULL;
	TAILQ_INSERT_HEAD(&sc->free_jobs, job, link);
}

/* Nothing more of this job is issued. */
static void
job_issued(struct vblk *sc, struct job *job)
{
	job->complete = true;
	if (sc->current == job)
		sc->current = NULL;
}

static void
job_fail(struct vblk *sc, struct job *job, int error)
{
	if (job->error == 0)
		job->error = error;
	job_issued(sc, job);
}

/* Begin with the oldest buffer that waits.  False: none does. */
static bool
job_begin(struct vblk *sc)
{
	struct buf *bp = TAILQ_FIRST(&sc->queue);
	struct job *job = TAILQ_FIRST(&sc->free_jobs);

	if (bp == NULL)
		return (false);
	KASSERT(job != NULL, "%s: more jobs than requests", sc->disk.dk_name);
	TAILQ_REMOVE(&sc->queue, bp, b_link);
	TAILQ_REMOVE(&sc->free_jobs, job, link);
	*job = (struct job){ .bp = bp };
	sc->current = job;
	return (true);
}

/* ---- requests to the device ---- */

/*
 * Cut the buffer's bytes from `from` on into segments for one request.
 *
 * => returns bytes and sets *nsegs; as much as the device's limits allow, in whole sectors unless
 *    it is the rest.
 * => 0: the limits are so small that not even one sector of this (scattered) buffer fits.
 */
static uint32_t
gather(struct vblk *sc, const struct buf *bp, size_t from, struct phys_seg *out, unsigned *nsegs)
{
	int npages = buf_segments(bp, sc->pages, SEGS_MAX), i;
	uint32_t total = 0, excess, piece, off;
	unsigned n = 0;

	for (i = 0; i < npages && n < sc->stats.max_segs; i++) {
		if (from >= sc->pages[i].len) {
			from -= sc->pages[i].len;
			continue;
		}
		for (off = from; off < sc->pages[i].len && n < sc->stats.max_segs; off += piece) {
			piece = MIN(sc->pages[i].len - off, sc->size_max);
			out[n++] = (struct phys_seg){ sc->pages[i].addr + off, piece };
			total += piece;
		}
		from = 0;
	}
	for (excess = total % sc->disk.dk_sectorsize; excess > 0; excess -= piece) {
		piece = MIN(out[n - 1].len, excess);
		out[n - 1].len -= piece;
		total -= piece;
		if (out[n - 1].len == 0)
			n--;
	}
	*nsegs = n;
	return (total);
}

/*
 * Write the header, and the chain around the data in sc->chain[1..ndata]; offer it (virtio 1.2,
 * 5.2.6).  False: no room.
 */
static bool
request_offer(struct vblk *sc, struct request *req, struct job *job, unsigned ndata)
{
	const struct buf *bp = job->bp;
	bool flush = (bp->b_flags & B_FLUSH) != 0, in = (bp->b_flags & B_READ) != 0;
	struct phys_seg *chain = sc->chain;

	req->dma->header.type = flush ? TYPE_FLUSH : in ? TYPE_IN : TYPE_OUT;
	req->dma->header.reserved = 0;
	req->dma->header.sector = flush ? 0 : bp->b_pblkno + (job->issued >> DEV_BSHIFT);
	req->dma->status = STATUS_UNWRITTEN;
	chain[0].addr = req->dma_pa + offsetof(struct request_dma, header);
	chain[0].len = sizeof(req->dma->header);
	chain[ndata + 1].addr = req->dma_pa + offsetof(struct request_dma, status);
	chain[ndata + 1].len = sizeof(req->dma->status);
	return (virtq_add(&sc->vq, chain, in ? 1 : ndata + 1, in ? ndata + 1 : 1, req->dma->table,
	    req->dma_pa + offsetof(struct request_dma, table), req));
}

/*
 * Give the device the next request of the current job.  False: no room now, a completion will try
 * again.
 */
static bool
request_issue(struct vblk *sc, struct buf_list *done)
{
	struct job *job = sc->current;
	struct request *req = TAILQ_FIRST(&sc->free_requests);
	bool flush = (job->bp->b_flags & B_FLUSH) != 0;
	unsigned ndata = 0;
	uint32_t len = 0;

	if (req == NULL || virtq_room(&sc->vq, 2) == 0)
		return (false);
	if (!flush) {
		len = gather(sc, job->bp, job->issued, &sc->chain[1], &ndata);
		if (len == 0) {
			printf("%s: a sector at %p is more than %u pieces of %u bytes\n",
			    sc->disk.dk_name, job->bp->b_data, sc->stats.max_segs, sc->size_max);
			job_fail(sc, job, EINVAL);
			job_settle(sc, job, done);
			return (true);
		}
	}
	if (!request_offer(sc, req, job, ndata))
		return (false);
	TAILQ_REMOVE(&sc->free_requests, req, link);
	req->job = job;
	req->len = len;
	sc->stats.requests++;
	if (job->issued > 0)
		sc->stats.splits++;
	job->issued += len;
	job->outstanding++;
	if (flush || job->issued == job->bp->b_bcount)
		job_issued(sc, job);
	return (true);
}

/* Issue what fits, oldest first, and wake the device once. */
static void
start(struct vblk *sc, struct buf_list *done)
{
	while (!sc->dead && (sc->current != NULL || job_begin(sc))) {
		if (!request_issue(sc, done))
			break;
	}
	if (!sc->dead)
		virtq_kick(&sc->vq);
}

/* A request has ended, well or not. */
static void
request_end(struct vblk *sc, struct request *req, int error, struct buf_list *done)
{
	struct job *job = req->job;

	req->job = NULL;
	TAILQ_INSERT_HEAD(&sc->free_requests, req, link);
	job->outstanding--;
	if (error == 0)
		job->bp->b_resid -= req->len;
	else
		job_fail(sc, job, error);
	job_settle(sc, job, done);
}

/*
 * What does the device's answer mean (virtio 1.2, 5.2.6)?  0 or an errno.
 *
 * `written` says how many bytes of our memory the device wrote: data of a read, and the status.
 * Fewer means that the rest of the data are not the disk's.  A write's only byte is the status
 * itself, which we can see, so there 0 does no harm.
 */
static int
answer_error(struct vblk *sc, const struct request *req, uint32_t written)
{
	bool in = (req->job->bp->b_flags & B_READ) != 0;
	uint32_t room = (in ? req->len : 0) + 1;

	if (written > room) {
		complain(sc, req, "the device says it wrote %u bytes where there was room for %u",
		    written, room);
		return (EIO);
	}
	switch (req->dma->status) {
	case STATUS_OK:
		if (!in || written == room)
			return (0);
		complain(sc, req, "the device wrote %u bytes of %u and calls it done", written,
		    room);
		return (EIO);
	case STATUS_IOERR:
		complain(sc, req, "I/O error", 0, 0);
		return (EIO);
	case STATUS_UNSUPP:
		complain(sc, req, "not supported by the device", 0, 0);
		return (EOPNOTSUPP);
	case STATUS_UNWRITTEN:
		complain(sc, req, "the device gave no status", 0, 0);
		return (EIO);
	default:
		complain(sc, req, "the device gave the unknown status %u", req->dma->status, 0);
		return (EIO);
	}
}

/* The end of a device: silence it, then fail all that it had and all that waited. */
static void
give_up(struct vblk *sc, struct buf_list *done)
{
	struct buf *bp;
	unsigned i;

	printf("%s: the device is given up; all its requests fail from now on\n", sc->disk.dk_name);
	sc->dead = true;
	virtio_give_up(sc->vd);
	for (i = 0; i < sc->stats.max_requests; i++) {
		if (sc->requests[i].job != NULL)
			request_end(sc, &sc->requests[i], EIO, done);
	}
	if (sc->current != NULL) {
		struct job *job = sc->current;

		job_fail(sc, job, EIO);
		job_settle(sc, job, done);
	}
	while ((bp = TAILQ_FIRST(&sc->queue)) != NULL) {
		TAILQ_REMOVE(&sc->queue, bp, b_link);
		bp->b_error = EIO;
		TAILQ_INSERT_TAIL(done, bp, b_link);
	}
}

/* Take back everything that the device has finished. */
static void
take_back(struct vblk *sc, struct buf_list *done)
{
	enum virtq_result result;
	uint32_t written;
	void *cookie;

	while ((result = virtq_next(&sc->vq, &cookie, &written)) == VIRTQ_DONE)
		request_end(sc, cookie, answer_error(sc, cookie, written), done);
	if (result == VIRTQ_BROKEN)
		give_up(sc, done);
}

/*
 * Complete the collected buffers.
 *
 * => lock not held: a completion may come straight back with another request.
 */
static void
complete(struct vblk *sc, struct buf_list *done)
{
	struct buf *bp;

	while ((bp = TAILQ_FIRST(done)) != NULL) {
		TAILQ_REMOVE(done, bp, b_link);
		disk_done(&sc->disk, bp);
	}
}

/* ---- entry points: the disk layer and the interrupts ---- */

/* A flush that the device need not, or cannot, be asked for.  => true: answered in bp->b_error. */
static bool
flush_answered(const struct vblk *sc, struct buf *bp)
{
	if ((bp->b_flags & B_FLUSH) == 0 || sc->flush_works)
		return (false);
	bp->b_error = sc->write_through ? 0 : EOPNOTSUPP;
	return (true);
}

static void
vblk_strategy(struct disk *dk, struct buf *bp)
{
	struct vblk *sc = dk->dk_softc;
	struct buf_list done = TAILQ_HEAD_INITIALIZER(done);

	spin_lock(&sc->lock);
	if (sc->dead) {
		bp->b_error = EIO;
		TAILQ_INSERT_TAIL(&done, bp, b_link);
	} else if (flush_answered(sc, bp)) {
		TAILQ_INSERT_TAIL(&done, bp, b_link);
	} else {
		TAILQ_INSERT_TAIL(&sc->queue, bp, b_link);
		start(sc, &done);
		/* Who is not through by now waits for a completion; the newest is the last. */
		if (!TAILQ_EMPTY(&sc->queue) || (sc->current != NULL && sc->current->bp == bp))
			sc->stats.waited++;
	}
	spin_unlock(&sc->lock);
	complete(sc, &done);
}

/* From the device's interrupt: requests may be finished. */
void
vblk_queue_intr(void *arg)
{
	struct vblk *sc = arg;
	struct buf_list done = TAILQ_HEAD_INITIALIZER(done);

	spin_lock(&sc->lock);
	if (!sc->dead) {
		take_back(sc, &done);
		start(sc, &done);
	}
	spin_unlock(&sc->lock);
	complete(sc, &done);
}

/* From the device's interrupt: its configuration changed, or it gave up (virtio 1.2, 2.1.2). */
void
vblk_config_intr(void *arg)
{
	struct vblk *sc = arg;
	struct buf_list done = TAILQ_HEAD_INITIALIZER(done);
	uint64_t capacity;

	spin_lock(&sc->lock);
	if (!sc->dead && (sc->vd->ops->get_status(sc->vd) & VIRTIO_NEEDS_RESET) != 0) {
		printf("%s: the device says that it must be reset\n", sc->disk.dk_name);
		give_up(sc, &done);
	} else if (!sc->dead &&
	    sc->vd->ops->config_read(sc->vd, VBLK_CONFIG_CAPACITY, &capacity, sizeof(capacity)) &&
	    capacity != sc->disk.dk_nsectors) {
		printf("%s: the device now has %lu sectors; using %lu as before\n",
		    sc->disk.dk_name, capacity, sc->disk.dk_nsectors);
	}
	spin_unlock(&sc->lock);
	complete(sc, &done);
}

const struct disk_ops vblk_ops = {
	.strategy = vblk_strategy,
};
