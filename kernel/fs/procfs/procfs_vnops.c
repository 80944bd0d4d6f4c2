/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /proc as a filesystem: processes and counters as files.
 *
 *	inode number	pid * 8192 + which	which 1: the directory, 2...: the entries of its table,
 *						4096...: its descriptors, which are links in its folder "fd"
 *			(pid 0: the root and the files of the whole machine)
 *
 * Nothing is stored: a file's text is written anew by each read, from what procfs_text.c finds, and the piece that
 * was asked for is copied out.  A node is remembered while it has a vnode, so that one file has one.
 *
 * Lock: vnode_list_lock guards the list of nodes, by the protocol of every table of vnodes.
 */
#include "kernel/clock.h"
#include "kernel/fs/procfs/procfs.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/proc.h"

#define PER_PROCESS	8192
#define INO_DIR		1
#define INO_FILES	2
#define INO_FDS		4096
#define TEXT_MAX	(64 * KiB)

static MALLOC_DEFINE(M_PROCFS, "procfs");

struct pnode {
	TAILQ_ENTRY(pnode) link;	/* vnode_list_lock */
	struct vnode	*vp;		/* vnode_list_lock */
	ino_t		 ino;		/* (c) */
};

static TAILQ_HEAD(, pnode) pnodes = TAILQ_HEAD_INITIALIZER(pnodes);	/* vnode_list_lock */
static const struct vnodeops procfs_vnodeops;

static int
pid_of(ino_t ino)
{
	return ((int)(ino / PER_PROCESS));
}

static unsigned
which_of(ino_t ino)
{
	return ((unsigned)(ino % PER_PROCESS));
}

/* A process's descriptor, by its inode number; -1: it is something else. */
static int
fd_of(ino_t ino)
{
	return ((int)MAX(which_of(ino), INO_FDS - 1u) - INO_FDS);
}

/* The table entry of an inode number; NULL: a process's folder, or a descriptor. */
static const struct procfs_entry *
entry_of(ino_t ino)
{
	if (which_of(ino) == INO_DIR || fd_of(ino) >= 0)
		return (NULL);
	return (&(pid_of(ino) == 0 ? procfs_machine : procfs_process)[which_of(ino) - INO_FILES]);
}

static enum vtype
type_of(ino_t ino)
{
	const struct procfs_entry *e = entry_of(ino);

	return (fd_of(ino) >= 0 ? VLNK : e == NULL ? VDIR : e->type);
}

/* Is it a folder of descriptors? */
static bool
holds_fds(ino_t ino)
{
	return (entry_of(ino) != NULL && entry_of(ino)->type == VDIR);
}

static bool
pid_exists(int pid)
{
	bool exists;

	spin_lock(&proc_lock);
	exists = proc_find(pid) != NULL;
	spin_unlock(&proc_lock);
	return (exists);
}

/* The node's vnode, referenced; NULL: it has none.  => vnode_list_lock held; may sleep */
static struct vnode *
find_vnode(ino_t ino)
{
	struct pnode *n;

	do {
		TAILQ_FOREACH(n, &pnodes, link)
			if (n->ino == ino)
				break;
		if (n == NULL)
			return (NULL);
		if (vget_locked(n->vp))
			return (n->vp);
		vget_wait(n->vp);
		/* re-check: the list; the node may have another vnode now, or be gone. */
	} while (true);
}

static int
procfs_vget(struct mount *mp, ino_t ino, struct vnode **vpp)
{
	struct pnode *node = kmalloc(sizeof(*node), &M_PROCFS, M_WAITOK | M_ZERO);
	struct vnode *fresh;
	int error = getnewvnode(mp, &procfs_vnodeops, &fresh);

	if (error != 0) {
		kfree(node, &M_PROCFS);
		return (error);
	}
	spin_lock(&vnode_list_lock);
	*vpp = find_vnode(ino);
	if (*vpp == NULL) {
		*node = (struct pnode){ .vp = fresh, .ino = ino };
		TAILQ_INSERT_HEAD(&pnodes, node, link);
		fresh->v_type = type_of(ino);
		fresh->v_ino = ino;
		fresh->v_data = node;
		if (ino == INO_DIR)
			fresh->v_flag |= VROOT;
		*vpp = fresh;
		fresh = NULL;
		node = NULL;
	}
	spin_unlock(&vnode_list_lock);
	if (fresh != NULL) {
		vgone(fresh);
		vrele(fresh);
	}
	kfree(node, &M_PROCFS);
	return (0);
}

static int
procfs_reclaim(struct vnode *vp)
{
	struct pnode *node = vp->v_data;

	if (node == NULL)
		return (0);
	spin_lock(&vnode_list_lock);
	TAILQ_REMOVE(&pnodes, node, link);
	spin_unlock(&vnode_list_lock);
	kfree(node, &M_PROCFS);
	return (0);
}

/* A name that is a number; -1: it is none. */
static int
name_number(const char *name, size_t len)
{
	int number = 0;

	if (len == 0 || len > 7 || (name[0] == '0' && len > 1))
		return (-1);
	for (size_t i = 0; i < len; i++) {
		if (name[i] < '0' || name[i] > '9')
			return (-1);
		number = number * 10 + (name[i] - '0');
	}
	return (number);
}

static int
lookup_fd(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	int pid = pid_of(dvp->v_ino), fd = name_number(name, len);

	if (fd < 0 || fd >= PER_PROCESS - INO_FDS || proc_next_fd(pid, fd) != fd)
		return (ENOENT);
	return (procfs_vget(dvp->v_mount, (ino_t)pid * PER_PROCESS + INO_FDS + (ino_t)fd, vpp));
}

/* The folder that a folder is in. */
static ino_t
parent_of(ino_t dir)
{
	return (holds_fds(dir) ? dir - which_of(dir) + INO_DIR : INO_DIR);
}

static int
procfs_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	int pid = pid_of(dvp->v_ino), other;
	const struct procfs_entry *table = pid == 0 ? procfs_machine : procfs_process;

	if (dvp->v_type != VDIR)
		return (ENOTDIR);
	if (len == 1 && name[0] == '.') {
		vref(dvp);
		*vpp = dvp;
		return (0);
	}
	if (len == 2 && name[0] == '.' && name[1] == '.')
		return (procfs_vget(dvp->v_mount, parent_of(dvp->v_ino), vpp));
	if (holds_fds(dvp->v_ino))
		return (lookup_fd(dvp, name, len, vpp));
	if (pid != 0 && !pid_exists(pid))
		return (ENOENT);
	for (unsigned i = 0; table[i].name != NULL; i++)
		if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
			return (procfs_vget(dvp->v_mount, (ino_t)pid * PER_PROCESS + INO_FILES + i, vpp));
	other = pid == 0 ? name_number(name, len) : 0;
	return (other <= 0 || !pid_exists(other) ? ENOENT : procfs_vget(dvp->v_mount, (ino_t)other * PER_PROCESS + INO_DIR, vpp));
}

static int
procfs_getattr(struct vnode *vp, struct vattr *va)
{
	enum vtype type = vp->v_type;

	*va = (struct vattr){ .va_type = type, .va_mode = type == VDIR ? 0555 : type == VLNK ? 0777 : 0444,
	    .va_nlink = type == VDIR ? 2 : 1, .va_blocksize = 1024, .va_fileid = vp->v_ino };
	va->va_atime = va->va_mtime = va->va_ctime = (int64_t)clock_wall_seconds();
	return (0);
}

/*
 * A file's whole text.  The vnode's lock guards nothing of it, and is let go meanwhile: maps and mounts come before
 * vnodes in the lock order.
 * => vp locked in any mode, and so again on return; sleeps; t->buf is to be freed in any case
 */
static int
make_text(struct vnode *vp, struct text *t)
{
	enum vlock_mode mode = rw_wheld(&vp->v_lock) ? LK_EXCLUSIVE : LK_SHARED;
	ino_t ino = vp->v_ino;
	int error;

	*t = (struct text){ .buf = kmalloc(TEXT_MAX, &M_PROCFS, M_WAITOK), .size = TEXT_MAX };
	t->buf[0] = '\0';
	VOP_UNLOCK(vp);
	if (fd_of(ino) >= 0)
		error = procfs_fd_text(t, pid_of(ino), fd_of(ino));
	else
		error = entry_of(ino)->fill(t, pid_of(ino));
	VOP_LOCK(vp, mode);
	return (error);
}

static int
procfs_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred)
{
	struct text t;
	int error;

	if (vp->v_type != VREG)
		return (EISDIR);
	error = make_text(vp, &t);
	if (error == 0 && uio->uio_offset >= 0 && (size_t)uio->uio_offset < t.len)
		error = uiomove(t.buf + uio->uio_offset, MIN(uio->uio_resid, t.len - (size_t)uio->uio_offset), uio);
	kfree(t.buf, &M_PROCFS);
	return (error);
}

static int
procfs_readlink(struct vnode *vp, char *buf, size_t size, size_t *len)
{
	struct text t;
	int error = make_text(vp, &t);

	if (error == 0) {
		*len = MIN(t.len, size);
		memcpy(buf, t.buf, *len);
	}
	kfree(t.buf, &M_PROCFS);
	return (error);
}

static int
procfs_jump(struct vnode *vp, struct vnode **target)
{
	const struct procfs_entry *e = entry_of(vp->v_ino);

	if (fd_of(vp->v_ino) >= 0)
		return (procfs_fd_jump(pid_of(vp->v_ino), fd_of(vp->v_ino), target));
	return (e != NULL && e->jump != NULL ? e->jump(pid_of(vp->v_ino), target) : EOPNOTSUPP);
}

/* The smallest process number above `pid`; 0: none. */
static int
next_pid(int pid)
{
	struct proc *p;
	int best = 0;

	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link)
		if (p->pid > pid && (best == 0 || p->pid < best))
			best = p->pid;
	spin_unlock(&proc_lock);
	return (best);
}

/* The first descriptor from `fd` on in a folder of them. */
static bool
fd_at(ino_t dir, int fd, struct dirent *de)
{
	fd = proc_next_fd(pid_of(dir), fd);
	if (fd < 0)
		return (false);
	de->d_ino = (ino_t)pid_of(dir) * PER_PROCESS + INO_FDS + (ino_t)fd;
	de->d_type = VLNK;
	de->d_next = fd + 3;
	de->d_namlen = (uint8_t)snprintf(de->d_name, sizeof(de->d_name), "%d", fd);
	return (true);
}

/*
 * The entry at offset `at` of a directory: 0 and 1 the dots, then the table or the descriptors, and in the root, from
 * PER_PROCESS on, the processes by number.  false: the end.
 */
static bool
entry_at(ino_t dir, off_t at, struct dirent *de)
{
	int pid = pid_of(dir), other;
	const struct procfs_entry *table = pid == 0 ? procfs_machine : procfs_process;
	unsigned count = 0;

	while (table[count].name != NULL)
		count++;
	de->d_next = at + 1;
	if (at < 2) {
		de->d_ino = at == 0 ? dir : parent_of(dir);
		de->d_type = VDIR;
		de->d_namlen = (uint8_t)strlcpy(de->d_name, at == 0 ? "." : "..", sizeof(de->d_name));
		return (true);
	}
	if (holds_fds(dir))
		return (fd_at(dir, (int)at - 2, de));
	if (at < 2 + (off_t)count) {
		de->d_ino = (ino_t)pid * PER_PROCESS + INO_FILES + (ino_t)at - 2;
		de->d_type = type_of(de->d_ino);
		de->d_namlen = (uint8_t)strlcpy(de->d_name, table[at - 2].name, sizeof(de->d_name));
		return (true);
	}
	other = pid == 0 ? next_pid(at <= PER_PROCESS ? 0 : (int)(at - PER_PROCESS)) : 0;
	if (other == 0)
		return (false);
	de->d_ino = (ino_t)other * PER_PROCESS + INO_DIR;
	de->d_type = VDIR;
	de->d_next = other + PER_PROCESS;
	de->d_namlen = (uint8_t)snprintf(de->d_name, sizeof(de->d_name), "%d", other);
	return (true);
}

static int
procfs_readdir(struct vnode *vp, off_t *off, dirent_fn fn, void *arg)
{
	off_t start = *off;
	struct dirent de;
	int error;

	if (vp->v_type != VDIR)
		return (ENOTDIR);
	while (entry_at(vp->v_ino, *off, &de)) {
		error = fn(arg, &de);
		if (error != 0)
			return (*off == start ? error : 0);
		*off = de.d_next;
	}
	return (0);
}

static const struct vnodeops procfs_vnodeops = {
	.name = "procfs",
	.lookup = procfs_lookup,
	.getattr = procfs_getattr,
	.read = procfs_read,
	.readlink = procfs_readlink,
	.jump = procfs_jump,
	.readdir = procfs_readdir,
	.reclaim = procfs_reclaim,
};

static int
procfs_mount(struct mount *mp, struct disk *disk, const char *opts)
{
	mp->mnt_stat.f_iosize = PAGE_SIZE;
	return (0);
}

static int
procfs_unmount(struct mount *mp)
{
	return (0);
}

static int
procfs_root(struct mount *mp, struct vnode **vpp)
{
	return (procfs_vget(mp, INO_DIR, vpp));
}

const struct vfsops procfs_vfsops = {
	.name = "proc",
	.magic = 0x9fa0,
	.mount = procfs_mount,
	.unmount = procfs_unmount,
	.root = procfs_root,
};
