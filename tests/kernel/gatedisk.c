/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disk of gatedisk.h.
 *
 * A request is carried on by a buffer of the gate's own, whose completion then completes the
 * original: so both disks count it and neither knows of the other.  There are as many such buffers
 * as pagers and metadata can have requests under way at once.
 */
#include "tests/kernel/gatedisk.h"

#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/testfiles.h"

#define CARRIERS	64

struct mount *gate_mp;
struct gate_request gate_log[GATE_LOG];

/* One request on its way through. */
struct carrier {
	struct buf	 buf;		/* what the real disk gets */
	struct buf	*original;	/* gate_lock; NULL: free */
	unsigned	 number;	/* in the log, or GATE_LOG */
};

static struct spinlock gate_lock = SPINLOCK_INITIALIZER("gate", RANK_DISK);

/* (all under gate_lock) */
static struct {
	struct disk	*under;			/* (constant while open) */
	bool		 hold;
	TAILQ_HEAD(, buf) held;			/* originals, oldest first */
	unsigned	 nheld;
	daddr_t		 fail_first, fail_end;	/* sectors */
	unsigned	 requests;
	uint64_t	 sectors;
	struct carrier	 carriers[CARRIERS];
} gate;

static void gate_strategy(struct disk *dk, struct buf *bp);

static const struct disk_ops gate_ops = { .strategy = gate_strategy };
static struct disk gate_disk = { .dk_name = "gate0", .dk_ops = &gate_ops };

/* ---- a request's way ---- */

/* Note a pager's request.  Returns its number. */
static unsigned
note(const struct buf *bp)
{
	unsigned n = gate.requests++;

	gate.sectors += bp->b_bcount / DEV_BSIZE;
	if (n >= GATE_LOG)
		return (GATE_LOG);
	gate_log[n] = (struct gate_request){ .blkno = bp->b_blkno, .bytes = bp->b_bcount,
	    .rcred = bp->b_rcred, .tid = curthread->tid };
	return (n);
}

static void
gate_iodone(struct buf *carried)
{
	struct carrier *c = carried->b_private;
	struct buf *bp;

	spin_lock(&gate_lock);
	bp = c->original;
	c->original = NULL;
	if (c->number < GATE_LOG)
		gate_log[c->number].in_interrupt = in_interrupt();
	spin_unlock(&gate_lock);
	bp->b_error = (carried->b_flags & B_ERROR) ? carried->b_error : 0;
	bp->b_resid = carried->b_resid;
	disk_done(&gate_disk, bp);
}

static void
finish_with(struct buf *bp, int error)
{
	bp->b_error = error;
	bp->b_resid = bp->b_bcount;
	disk_done(&gate_disk, bp);
}

/* To the real disk, unless it is to fail.  => no lock held */
static void
carry(struct buf *bp, unsigned number)
{
	daddr_t end = bp->b_blkno + (daddr_t)(bp->b_bcount / DEV_BSIZE);
	struct carrier *c = gate.carriers;
	bool fail;

	spin_lock(&gate_lock);
	fail = bp->b_blkno < gate.fail_end && end > gate.fail_first;
	while (!fail && c->original != NULL) {
		c++;
		KASSERT(c < gate.carriers + CARRIERS, "more than %d requests pass the gate",
		    CARRIERS);
	}
	if (!fail) {
		c->original = bp;
		c->number = number;
	}
	spin_unlock(&gate_lock);
	if (fail) {
		finish_with(bp, EIO);
		return;
	}
	buf_init(&c->buf, NULL, bp->b_blkno, bp->b_data, bp->b_bcount,
	    (bp->b_flags & B_READ) | B_CALL);
	c->buf.b_iodone = gate_iodone;
	c->buf.b_private = c;
	disk_strategy(gate.under, &c->buf);
}

static void
gate_strategy(struct disk *dk, struct buf *bp)
{
	bool pager = (bp->b_flags & B_PBUF) != 0, hold;
	unsigned number = GATE_LOG;

	spin_lock(&gate_lock);
	if (pager)
		number = note(bp);
	hold = pager && gate.hold;
	if (hold) {
		/* A pager does not use this field: it keeps the request's number. */
		bp->b_private = (void *)(uintptr_t)number;
		TAILQ_INSERT_TAIL(&gate.held, bp, b_link);
		gate.nheld++;
	}
	spin_unlock(&gate_lock);
	if (!hold)
		carry(bp, number);
}

static struct buf *
take_held(unsigned n)
{
	struct buf *bp;

	spin_lock(&gate_lock);
	KASSERT(n < gate.nheld, "releasing request %u of %u", n, gate.nheld);
	bp = TAILQ_FIRST(&gate.held);
	while (n-- > 0)
		bp = TAILQ_NEXT(bp, b_link);
	TAILQ_REMOVE(&gate.held, bp, b_link);
	gate.nheld--;
	spin_unlock(&gate_lock);
	return (bp);
}

/* ---- what tests say ---- */

void
gate_hold(bool hold)
{
	spin_lock(&gate_lock);
	gate.hold = hold;
	spin_unlock(&gate_lock);
}

unsigned
gate_held(void)
{
	unsigned n;

	spin_lock(&gate_lock);
	n = gate.nheld;
	spin_unlock(&gate_lock);
	return (n);
}

void
gate_release(unsigned n)
{
	struct buf *bp = take_held(n);

	carry(bp, (unsigned)(uintptr_t)bp->b_private);
}

void
gate_release_all(void)
{
	gate_hold(false);
	while (gate_held() > 0)
		gate_release(0);
}

void
gate_fail(daddr_t first, uint64_t sectors)
{
	spin_lock(&gate_lock);
	gate.fail_first = first;
	gate.fail_end = first + (daddr_t)sectors;
	spin_unlock(&gate_lock);
}

void
gate_fail_none(void)
{
	gate_fail(0, 0);
}

void
gate_log_clear(void)
{
	spin_lock(&gate_lock);
	gate.requests = 0;
	gate.sectors = 0;
	spin_unlock(&gate_lock);
}

unsigned
gate_requests(void)
{
	unsigned n;

	spin_lock(&gate_lock);
	n = gate.requests;
	spin_unlock(&gate_lock);
	return (n);
}

uint64_t
gate_sectors(void)
{
	uint64_t n;

	spin_lock(&gate_lock);
	n = gate.sectors;
	spin_unlock(&gate_lock);
	return (n);
}

/* ---- opening and closing ---- */

static void
disk_forget(void)
{
	struct vnode *vp = bdevvp(&gate_disk);

	vgone(vp);
	vrele(vp);
	disk_unregister(&gate_disk);
}

bool
gate_open(void)
{
	int error;

	if (!testfiles_load()) {
		ktest_skip("the root volume has no /t/manifest");
		return (false);
	}
	KASSERT(gate_mp == NULL, "the gate is open already");
	gate.under = rootfs->mnt_devvp->v_disk;
	gate_disk.dk_sectorsize = gate.under->dk_sectorsize;
	gate_disk.dk_nsectors = gate.under->dk_nsectors;
	gate_disk.dk_maxsize = gate.under->dk_maxsize;
	gate_disk.dk_readonly = true;
	TAILQ_INIT(&gate.held);
	gate_hold(false);
	gate_fail_none();
	disk_register(&gate_disk);
	error = vfs_mount("ext2", &gate_disk, "", MNT_RDONLY, &gate_mp);
	gate_log_clear();
	if (error == 0)
		return (true);
	ktest_fail(__FILE__, __LINE__, "the volume cannot be mounted through gate0: %s",
	    errno_name(error));
	disk_forget();
	return (false);
}

void
gate_close(void)
{
	int error;

	gate_fail_none();
	gate_release_all();
	error = vfs_unmount(gate_mp);
	if (error != 0)
		panic("gate0 cannot be unmounted: %s", errno_name(error));
	gate_mp = NULL;
	CHECK_EQ(gate_disk.dk_stats.inflight, 0);
	disk_forget();
}

struct vnode *
gate_file(const char *path)
{
	struct vnode *root, *vp = NULL;
	int error = VFS_ROOT(gate_mp, &root);

	if (error == 0) {
		error = namei(path + 1, root, 0, &vp);
		vrele(root);
	}
	if (error != 0)
		ktest_fail(__FILE__, __LINE__, "%s cannot be opened through gate0: %s", path,
		    errno_name(error));
	return (vp);
}
