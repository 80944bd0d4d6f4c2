/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The filesystem of memfs.h.
 *
 * A file's node lives as long as the mount and knows its vnode, if it has one now
 * (vnode_list_lock).  Node 0 is the directory. A block is a page; block numbers on the "device" are
 * the file's own, for nothing ever reads it.
 */
#include "tests/kernel/memfs.h"

#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_page.h"
#include "vm/vm_pager.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_MEMFS, "memfs");

#define NODES_MAX	8

struct memfs_calls memfs_calls;
int memfs_result, memfs_result_times;

struct mem_node {
	char		 name[32];	/* (constant) "" for the directory */
	uint8_t		*data;		/* (constant) NULL for the directory */
	size_t		 size;		/* (constant) bytes */
	struct vnode	*vnode;		/* vnode_list_lock; NULL: none now */
};

struct mem_mount {
	struct mem_node	 nodes[NODES_MAX];
	unsigned	 nnodes;
};

#define NODE(vp)	((struct mem_node *)(vp)->v_data)
#define MOUNT(mp)	((struct mem_mount *)(mp)->mnt_data)

static const struct vnodeops mem_vnodeops;

static int
mem_vget(struct mount *mp, struct mem_node *node, struct vnode **vpp)
{
	struct vnode *fresh;
	int error = getnewvnode(mp, &mem_vnodeops, &fresh);

	if (error != 0)
		return (error);
	fresh->v_data = node;
	fresh->v_type = node->data == NULL ? VDIR : VREG;
	fresh->v_ino = (ino_t)(node - MOUNT(mp)->nodes) + 1;
	spin_lock(&vnode_list_lock);
	while (node->vnode != NULL && !vget_locked(node->vnode))
		vget_wait(node->vnode);
	*vpp = node->vnode;
	if (node->vnode == NULL)
		*vpp = node->vnode = fresh;
	spin_unlock(&vnode_list_lock);
	if (*vpp != fresh) {
		vgone(fresh);
		vrele(fresh);
	}
	return (0);
}

/* ---- operations ---- */

static int
mem_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	struct mem_mount *mm = MOUNT(dvp->v_mount);

	for (unsigned i = 1; i < mm->nnodes; i++)
		if (strlen(mm->nodes[i].name) == len && memcmp(mm->nodes[i].name, name, len) == 0)
			return (mem_vget(dvp->v_mount, &mm->nodes[i], vpp));
	return (ENOENT);
}

static int
mem_getattr(struct vnode *vp, struct vattr *va)
{
	*va = (struct vattr){ .va_type = vp->v_type, .va_mode = 0444, .va_nlink = 1,
	    .va_size = NODE(vp)->size, .va_blocksize = PAGE_SIZE, .va_fileid = vp->v_ino };
	return (0);
}

static int
mem_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	return (vp->v_type == VREG ? vnode_object_read(vp, uio, ioflag, cred) : EISDIR);
}

static int
mem_bmap(struct vnode *vp, daddr_t lbn, struct vnode **devvpp, struct bmap *bm)
{
	daddr_t eof = (daddr_t)howmany(NODE(vp)->size, PAGE_SIZE);

	if (devvpp != NULL)
		*devvpp = vp;		/* nothing is ever read from it */
	if (bm == NULL)
		return (0);
	*bm = (struct bmap){ .hole = lbn >= eof, .blkno = lbn * (daddr_t)(PAGE_SIZE / DEV_BSIZE) };
	if (lbn < eof) {
		bm->ahead = (uint32_t)(eof - 1 - lbn);
		bm->behind = (uint32_t)lbn;
	}
	return (0);
}

/* Fill one page of the file, zeros past its end.  => inside EOF */
static void
mem_fill(const struct mem_node *node, struct vm_page *m)
{
	size_t off = (size_t)IDX_TO_OFF(m->pindex), n = MIN(node->size - off, PAGE_SIZE);
	uint8_t *page = VM_PAGE_TO_DMAP(m);

	memcpy(page, node->data + off, n);
	memset(page + n, 0, PAGE_SIZE - n);
	vm_page_flag_clear(m, PG_ZERO);
	m->valid = VM_PAGE_BITS_ALL;
	m->dirty = 0;
}

static int
mem_getpages(struct vnode *vp, struct vm_page **m, int count, int reqpage, int *result)
{
	const struct mem_node *node = NODE(vp);

	memfs_calls.calls++;
	memfs_calls.pages += (unsigned)count;
	memfs_calls.first = m[0]->pindex;
	memfs_calls.count = count;
	memfs_calls.reqpage = reqpage;
	*result = (size_t)IDX_TO_OFF(m[reqpage]->pindex) >= node->size ? VM_PAGER_BAD : VM_PAGER_OK;
	if (memfs_result_times > 0) {
		memfs_result_times--;
		*result = memfs_result;
	}
	if (*result == VM_PAGER_OK)
		mem_fill(node, m[reqpage]);
	for (int i = 0; i < count; i++) {
		if (i == reqpage)
			continue;
		if (*result != VM_PAGER_OK || (size_t)IDX_TO_OFF(m[i]->pindex) >= node->size) {
			vnode_pager_freepage(m[i]);
			continue;
		}
		mem_fill(node, m[i]);
		vm_page_deactivate(m[i]);
		PAGE_WAKEUP(m[i]);
	}
	return (0);
}

static int
mem_reclaim(struct vnode *vp)
{
	spin_lock(&vnode_list_lock);
	if (NODE(vp)->vnode == vp)
		NODE(vp)->vnode = NULL;
	spin_unlock(&vnode_list_lock);
	return (0);
}

static const struct vnodeops mem_vnodeops = {
	.name = "mem",
	.lookup = mem_lookup,
	.getattr = mem_getattr,
	.read = mem_read,
	.bmap = mem_bmap,
	.getpages = mem_getpages,
	.reclaim = mem_reclaim,
};

static int
mem_mount(struct mount *mp, struct disk *disk, const char *opts)
{
	mp->mnt_data = kmalloc(sizeof(struct mem_mount), &M_MEMFS, M_WAITOK | M_ZERO);
	MOUNT(mp)->nnodes = 1;
	mp->mnt_stat.f_iosize = mp->mnt_stat.f_bsize = PAGE_SIZE;
	return (0);
}

static int
mem_unmount(struct mount *mp)
{
	for (unsigned i = 0; i < MOUNT(mp)->nnodes; i++) {
		KASSERT(MOUNT(mp)->nodes[i].vnode == NULL, "memfs goes, but has vnodes");
		kfree(MOUNT(mp)->nodes[i].data, &M_MEMFS);
	}
	kfree(mp->mnt_data, &M_MEMFS);
	return (0);
}

static int
mem_root(struct mount *mp, struct vnode **vpp)
{
	return (mem_vget(mp, &MOUNT(mp)->nodes[0], vpp));
}

static const struct vfsops mem_vfsops = {
	.name = "mem",
	.mount = mem_mount,
	.unmount = mem_unmount,
	.root = mem_root,
};

/* ---- for tests ---- */

struct mount *
memfs_mount(void)
{
	struct mount *mp = NULL;

	vfs_register(&mem_vfsops);
	memfs_calls = (struct memfs_calls){ 0 };
	memfs_result_times = 0;
	CHECK_EQ(vfs_mount("mem", NULL, "", MNT_RDONLY, &mp), 0);
	return (mp);
}

void
memfs_unmount(struct mount *mp)
{
	CHECK_EQ(vfs_unmount(mp), 0);
}

void
memfs_create(struct mount *mp, const char *path, size_t size)
{
	struct mem_mount *mm = MOUNT(mp);
	struct mem_node *node = &mm->nodes[mm->nnodes];

	KASSERT(mm->nnodes < NODES_MAX, "memfs is full");
	strlcpy(node->name, strrchr(path, '/') + 1, sizeof(node->name));
	node->data = kmalloc(MAX(size, 1ul), &M_MEMFS, M_WAITOK);
	node->size = size;
	testfile_pattern(path, 0, node->data, size);
	mm->nnodes++;
}

struct vnode *
memfs_file(struct mount *mp, const char *name)
{
	struct vnode *root, *vp = NULL;
	int error = VFS_ROOT(mp, &root);

	if (error == 0) {
		error = namei(name, root, 0, &vp);
		vrele(root);
	}
	CHECK_EQ(error, 0);
	return (vp);
}
