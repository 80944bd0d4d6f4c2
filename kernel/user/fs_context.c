/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a process stands in the tree of names: its working directory and its umask; and paths that programs give.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"

static MALLOC_DEFINE(M_FSCONTEXT, "working directories");
static MALLOC_DEFINE(M_PATH, "path arguments");

struct fs_context {
	struct spinlock	 lock;
	uint32_t	 refs;		/* (a) processes; clone can make it several */
	struct vnode	*cwd;		/* (lock) referenced; NULL: there is no root volume */
	uint32_t	 umask;		/* (lock) */
};

static struct fs_context *
context_alloc(struct vnode *cwd, uint32_t umask)
{
	struct fs_context *fs = kmalloc(sizeof(*fs), &M_FSCONTEXT, M_WAITOK | M_ZERO);

	spin_init(&fs->lock, "working directory", RANK_FILE);
	fs->refs = 1;
	fs->cwd = cwd;
	fs->umask = umask;
	return (fs);
}

struct fs_context *
fs_context_create(void)
{
	struct vnode *root = NULL;

	(void)vfs_root_of(NULL, &root);
	return (context_alloc(root, 022));
}

/* The working directory, referenced. */
static struct vnode *
context_cwd(struct fs_context *fs, uint32_t *umask)
{
	struct vnode *vp;

	spin_lock(&fs->lock);
	vp = fs->cwd;
	if (vp != NULL)
		vref(vp);
	if (umask != NULL)
		*umask = fs->umask;
	spin_unlock(&fs->lock);
	return (vp);
}

struct vnode *
fs_context_cwd(struct fs_context *fs)
{
	return (context_cwd(fs, NULL));
}

struct fs_context *
fs_context_fork(struct fs_context *from)
{
	uint32_t umask;
	struct vnode *cwd = context_cwd(from, &umask);

	return (context_alloc(cwd, umask));
}

struct fs_context *
fs_context_share(struct fs_context *fs)
{
	__atomic_fetch_add(&fs->refs, 1, __ATOMIC_RELAXED);
	return (fs);
}

void
fs_context_release(struct fs_context *fs)
{
	if (__atomic_sub_fetch(&fs->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (fs->cwd != NULL)
		vrele(fs->cwd);
	kfree(fs, &M_FSCONTEXT);
}

uint32_t
fs_umask(void)
{
	return (__atomic_load_n(&curproc->fs->umask, __ATOMIC_RELAXED));
}

uint32_t
fs_set_umask(uint32_t mask)
{
	return (__atomic_exchange_n(&curproc->fs->umask, mask & 0777, __ATOMIC_RELAXED));
}

void
fs_set_cwd(struct vnode *vp)
{
	struct fs_context *fs = curproc->fs;
	struct vnode *old;

	spin_lock(&fs->lock);
	old = fs->cwd;
	fs->cwd = vp;
	spin_unlock(&fs->lock);
	if (old != NULL)
		vrele(old);
}

/* ---- paths ---- */

int
path_get(vm_offset_t uaddr, char **path)
{
	char *buf = kmalloc(PATH_MAX + 1, &M_PATH, M_WAITOK);
	size_t done;
	int error = copyinstr(uaddr, buf, PATH_MAX + 1, &done);

	if (error != 0)
		kfree(buf, &M_PATH);
	else
		*path = buf;
	return (error);
}

void
path_put(char *path)
{
	kfree(path, &M_PATH);
}

int
fs_start(int dirfd, struct vnode **vpp)
{
	struct file *fp;
	int error = 0;

	if (dirfd == AT_FDCWD) {
		*vpp = context_cwd(curproc->fs, NULL);
		return (*vpp == NULL ? ENOENT : 0);
	}
	fp = fd_get(dirfd);
	if (fp == NULL)
		return (EBADF);
	if (fp->vp == NULL || fp->vp->v_type != VDIR) {
		error = ENOTDIR;
	} else {
		vref(fp->vp);
		*vpp = fp->vp;
	}
	file_release(fp);
	return (error);
}

/* Where the walk along a path begins; NULL: at the root. */
static int
start_of(int dirfd, const char *path, struct vnode **start)
{
	*start = NULL;
	if (path[0] == '\0')
		return (ENOENT);
	return (path[0] == '/' ? 0 : fs_start(dirfd, start));
}

int
fs_lookup(int dirfd, const char *path, int namei_flags, struct vnode **vpp)
{
	struct vnode *start;
	int error = start_of(dirfd, path, &start);

	if (error == 0)
		error = namei(path, start, namei_flags, vpp);
	if (start != NULL)
		vrele(start);
	return (error);
}

int
fs_parent(int dirfd, const char *path, struct name_place *place)
{
	struct vnode *start;
	int error = start_of(dirfd, path, &start);

	if (error == 0)
		error = namei_parent(path, start, place);
	if (start != NULL)
		vrele(start);
	return (error);
}

/* ---- from a directory to its path ---- */

/* A name of `child` in `parent`: looked for by inode number, and then by what the name leads to. */
struct name_search {
	struct vnode	*child;
	bool		 any;		/* child is the root of a mount: numbers say nothing */
	ino_t		 ino;
	unsigned	 skip;		/* candidates already tried */
	char		 name[NAME_MAX + 1];
	bool		 found;
};

static int
search_entry(void *arg, const struct dirent *de)
{
	struct name_search *s = arg;

	if (de->d_namlen == 0 || streq(de->d_name, ".") || streq(de->d_name, ".."))
		return (0);
	if (!s->any && de->d_ino != s->ino)
		return (0);
	if (s->skip > 0) {
		s->skip--;
		return (0);
	}
	memcpy(s->name, de->d_name, de->d_namlen);
	s->name[de->d_namlen] = '\0';
	s->found = true;
	return (1);
}

/* 0: s->name is the name of s->child in parent. */
static int
name_in(struct vnode *parent, struct name_search *s)
{
	struct vnode *vp;
	unsigned tried;
	off_t off;
	int error;

	for (tried = 0;; tried++) {
		off = 0;
		s->found = false;
		s->skip = tried;
		VOP_LOCK(parent, LK_SHARED);
		error = VOP_READDIR(parent, &off, search_entry, s);
		VOP_UNLOCK(parent);
		if (!s->found)
			return (error != 0 && error != 1 ? error : ENOENT);
		if (namei(s->name, parent, NAMEI_NOFOLLOW, &vp) == 0) {
			vrele(vp);
			if (vp == s->child)
				return (0);
		}
	}
}

int64_t
fs_path_of(struct vnode *vp, char *buf, size_t size)
{
	struct vnode *at = vp, *parent;
	size_t start = size;
	int error = 0;

	buf[--start] = '\0';
	vref(at);
	for (;;) {
		struct name_search s = { .child = at, .any = (at->v_flag & VROOT) != 0, .ino = at->v_ino };
		size_t len;

		error = namei("..", at, 0, &parent);
		if (error != 0)
			break;
		if (parent == at) {
			vrele(parent);
			break;			/* the root */
		}
		error = name_in(parent, &s);
		vrele(at);
		at = parent;
		len = strlen(s.name);
		if (error == 0 && start < len + 1)
			error = ERANGE;
		if (error != 0)
			break;
		start -= len;
		memcpy(buf + start, s.name, len);
		buf[--start] = '/';
	}
	vrele(at);
	if (error != 0)
		return (-error);
	if (start == size - 1) {
		if (start == 0)
			return (-ERANGE);
		buf[--start] = '/';
	}
	memmove(buf, buf + start, size - start);
	return ((int64_t)(size - start - 1));
}

/* The directory that has it and its name there: what the name cache knows, or a name in the root of its volume. */
static bool
parent_of(struct vnode *vp, struct vnode **dvpp, char *name, size_t size)
{
	struct name_search s = { .child = vp, .ino = vp->v_ino };
	struct mount *mp;
	int error;

	if (cache_parent_of(vp, dvpp, name, size))
		return (true);
	mp = vfs_busy(vp);
	if (mp == NULL)
		return (false);
	error = VFS_ROOT(mp, dvpp);
	vfs_unbusy(mp);
	if (error != 0)
		return (false);
	if (name_in(*dvpp, &s) == 0) {
		strlcpy(name, s.name, size);
		return (true);
	}
	vrele(*dvpp);
	return (false);
}

int64_t
fs_path_of_file(struct vnode *vp, char *buf, size_t size)
{
	char name[NAME_MAX + 1];
	struct vnode *dvp;
	int64_t len;

	if (!parent_of(vp, &dvp, name, sizeof(name)))
		return (-ENOENT);
	len = fs_path_of(dvp, buf, size);
	vrele(dvp);
	if (len < 0)
		return (len);
	if (len == 1)
		len = 0;			/* the root's slash is the one before the name */
	if ((size_t)len + 1 + strlen(name) >= size)
		return (-ENAMETOOLONG);
	buf[len] = '/';
	return (len + 1 + (int64_t)strlcpy(buf + len + 1, name, size - (size_t)len - 1));
}
