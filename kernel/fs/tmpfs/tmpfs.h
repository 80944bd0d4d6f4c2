/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tmpfs: files that live in memory, and on the swap disk when memory is short.
 *
 *	vnode --v_data--> tmpfs_node --object--> anonymous vm_object: the bytes
 *	  (while in use)    | entries (a directory)
 *	                    +--> tmpfs_dirent --node--> tmpfs_node ...
 *
 * A regular file is an anonymous object.  read and write copy to and from its pages, mmap maps the
 * object itself, and the swap pager writes it out like any other anonymous memory, so there is no
 * second copy and nothing to keep coherent.
 *
 * A node is counted: one reference for each name, one while it has a vnode, and those of operations
 * under way.
 *
 * Locks: tm_lock (sleep, after vnode and object locks) guards names, attributes and reference counts
 * of the whole mount, so that a rename is one step for everybody.  A file's size and object belong to
 * its vnode's lock.
 *
 * (t) tm_lock  (v) the vnode's lock  (l) vnode_list_lock  (c) constant
 */
#ifndef KERNEL_FS_TMPFS_TMPFS_H
#define KERNEL_FS_TMPFS_TMPFS_H

#include "kernel/fs/vnode.h"
#include "kernel/lib/rbtree.h"
#include "kernel/malloc.h"

#define TMPFS_FILE_MAX	((off_t)1 << 46)	/* bytes */
#define TMPFS_LINK_MAX	65000

struct tmpfs_node;

struct tmpfs_mount {
	struct mutex	 tm_lock;
	struct mount	*tm_mount;	/* (c) */
	struct tmpfs_node *tm_root;	/* (c) */
	TAILQ_HEAD(, tmpfs_node) tm_nodes;	/* (t) all of them */
	uint64_t	 tm_nnodes;	/* (t) */
	uint64_t	 tm_nodes_max;	/* (c) */
	uint64_t	 tm_pages;	/* (t) that files hold, or have asked for */
	uint64_t	 tm_pages_max;	/* (c) */
	ino_t		 tm_next_ino;	/* (t) */
	volatile bool	 tm_rdonly;	/* mount lock to change it */
};

struct tmpfs_dirent {
	struct rb_node	 by_name;	/* (t) */
	struct rb_node	 by_cookie;	/* (t) */
	struct tmpfs_node *node;	/* (t) referenced */
	off_t		 cookie;	/* (c) where readdir finds it; never used again in this directory */
	uint8_t		 len;		/* (c) */
	char		 name[];	/* (c) len bytes, no NUL */
};

struct tmpfs_node {
	TAILQ_ENTRY(tmpfs_node) link;	/* (t) tm_nodes */
	struct vnode	*vnode;		/* (l) NULL: none now */
	uint32_t	 refs;		/* (t) */
	enum vtype	 type;		/* (c) */
	ino_t		 ino;		/* (c) */
	uint16_t	 perm;		/* (t) */
	uint32_t	 uid, gid, nlink; /* (t) */
	uint32_t	 rdev;		/* (c) a device's number */
	int64_t		 atime, mtime, ctime; /* (t) seconds */
	union {
		struct {
			struct vm_object *object;	/* (v) referenced; NULL: the file is gone */
			off_t	 size;			/* (v) bytes */
			uint64_t counted;		/* (t) its part of tm_pages */
		};
		struct {
			struct rb_tree names, cookies;	/* (t) of tmpfs_dirent */
			struct tmpfs_node *parent;	/* (t) means something while nlink > 0 */
			off_t	 next_cookie;		/* (t) */
			uint32_t nentries;		/* (t) */
		};
		struct {
			char	*target;		/* (c) */
			size_t	 target_len;		/* (c) bytes, no NUL */
		};
	};
};

#define VTOT(vp)	((struct tmpfs_node *)(vp)->v_data)
#define MTOT(mp)	((struct tmpfs_mount *)(mp)->mnt_data)

extern struct malloc_type M_TMPFS;
extern const struct vfsops tmpfs_vfsops;
extern const struct vnodeops tmpfs_vnodeops;

/* A new node with one reference and no name; ENOSPC.  => sleeps */
int  tmpfs_node_alloc(struct tmpfs_mount *tm, enum vtype type, const struct vattr *va, struct tmpfs_node **np);
/* Give up a reference.  => sleeps; tm_lock not held */
void tmpfs_node_rele(struct tmpfs_mount *tm, struct tmpfs_node *node);
/* Its vnode, referenced.  => the caller holds a reference on the node; sleeps */
int  tmpfs_vget(struct tmpfs_mount *tm, struct tmpfs_node *node, struct vnode **vpp);

/*
 * A regular file without a name on the tmpfs that vp lies on: it goes with its last user.  ENOSPC; EOPNOTSUPP: no tmpfs.
 * => vp referenced; *vpp referenced, unlocked; sleeps
 */
int  tmpfs_unnamed(struct vnode *vp, const struct vattr *va, struct vnode **vpp);

/* tmpfs_names.c */
void tmpfs_dir_destroy(struct tmpfs_node *dir);	/* its entries' memory; => nobody uses the mount */
int  tmpfs_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp);
int  tmpfs_readdir(struct vnode *vp, off_t *off, dirent_fn fn, void *arg);
int  tmpfs_create(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp);
int  tmpfs_mkdir(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp);
int  tmpfs_symlink(struct vnode *dvp, const char *name, size_t len, const char *target, const struct vattr *va,
	    struct vnode **vpp);
int  tmpfs_link(struct vnode *dvp, const char *name, size_t len, struct vnode *vp);
int  tmpfs_remove(struct vnode *dvp, const char *name, size_t len);
int  tmpfs_rmdir(struct vnode *dvp, const char *name, size_t len);
int  tmpfs_rename(struct vnode *fdvp, const char *fname, size_t flen, struct vnode *tdvp, const char *tname, size_t tlen,
	    int rules);

#endif
