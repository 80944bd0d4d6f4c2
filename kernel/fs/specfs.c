/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks as vnodes.
 *
 * A mounted filesystem, the metadata cache and the pagers reach a disk through its vnode:
 * VOP_STRATEGY of it hands a buf to the disk layer, and (vnode, block) names a block in the cache.
 * There is one vnode per disk, found through dk_vnode and made when first asked for.
 *
 * Reading a disk as a file goes straight to the disk through a buffer of its own, not through the
 * metadata cache: that cache belongs to the filesystem mounted there, which alone knows in which
 * block size it reads, and it promises no coherence to anybody else.  Nobody maps a
 * disk.
 *
 * Lock: vnode_list_lock guards dk_vnode, with the same protocol as any filesystem's table of
 * vnodes.
 */
#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_SPEC, "disk reads");

#define SPEC_CHUNK	(16 * KiB)	/* read so much at a time */

static int
spec_strategy(struct vnode *devvp, struct buf *bp)
{
	disk_strategy(devvp->v_disk, bp);
	return (0);
}

static int
spec_getattr(struct vnode *vp, struct vattr *va)
{
	memset(va, 0, sizeof(*va));
	va->va_type = VBLK;
	va->va_mode = vp->v_disk->dk_readonly ? 0400 : 0600;
	va->va_nlink = 1;
	va->va_size = vp->v_disk->dk_nsectors * DEV_BSIZE;
	va->va_blocksize = vp->v_disk->dk_sectorsize;
	return (0);
}

static int
spec_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct disk *dk = vp->v_disk;
	uint64_t end = dk->dk_nsectors * DEV_BSIZE;
	size_t chunk = MAX(SPEC_CHUNK, (size_t)dk->dk_sectorsize);
	char *data = kmalloc(chunk, &M_SPEC, M_WAITOK);
	int error = uio->uio_offset < 0 ? EINVAL : 0;

	while (error == 0 && uio->uio_resid > 0 && (uint64_t)uio->uio_offset < end) {
		uint64_t off = (uint64_t)uio->uio_offset;
		uint64_t start = off & ~((uint64_t)dk->dk_sectorsize - 1);
		size_t len = MIN(chunk, end - start);

		error = disk_rw(dk, start / DEV_BSIZE, data, len, B_READ);
		if (error == 0)
			error = uiomove(data + (off - start), len - (off - start), uio);
	}
	kfree(data, &M_SPEC);
	return (error);
}

static int
spec_reclaim(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	KASSERT(vp->v_disk->dk_vnode == vp, "disk %s has vnode %p, not %p", vp->v_disk->dk_name,
	    vp->v_disk->dk_vnode, vp);
	vp->v_disk->dk_vnode = NULL;
	spin_unlock(&vnode_list_lock);
	return (0);
}

static const struct vnodeops spec_vnodeops = {
	.name = "disk",
	.getattr = spec_getattr,
	.read = spec_read,
	.strategy = spec_strategy,
	.reclaim = spec_reclaim,
};

/* A vnode that lost the race to become its disk's never had an identity. */
static const struct vnodeops spec_unborn_vnodeops = { .name = "unborn disk" };

/* The disk's vnode if it has one, referenced.  => vnode_list_lock held; may sleep. */
static struct vnode *
spec_find(struct disk *disk)
{
	while (disk->dk_vnode != NULL) {
		if (vget_locked(disk->dk_vnode))
			return (disk->dk_vnode);
		vget_wait(disk->dk_vnode);
		/* re-check: dk_vnode; it is NULL, or another's who was faster. */
	}
	return (NULL);
}

struct vnode *
bdevvp(struct disk *disk)
{
	struct vnode *vp, *fresh = NULL;

	for (;;) {
		spin_lock(&vnode_list_lock);
		vp = spec_find(disk);
		if (vp == NULL && fresh != NULL) {
			fresh->v_op = &spec_vnodeops;
			fresh->v_type = VBLK;
			fresh->v_disk = disk;
			disk->dk_vnode = vp = fresh;
			fresh = NULL;
		}
		spin_unlock(&vnode_list_lock);
		if (vp != NULL)
			break;
		if (getnewvnode(NULL, &spec_unborn_vnodeops, &fresh) != 0)
			panic("no vnode for disk %s", disk->dk_name);
	}
	if (fresh != NULL) {
		vgone(fresh);
		vrele(fresh);
	}
	return (vp);
}
