/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Vnodes and mounts: files as the rest of the kernel sees them, whatever filesystem they come from.
 *
 * A vnode in use has v_usecount > 0.  With the last reference VOP_INACTIVE runs and the vnode rests
 * on the free list with its identity, so that the next lookup finds it again; when it is recycled,
 * vgone() detaches it from its filesystem (VOP_RECLAIM) and gives it `dead` operations.  A vnode's
 * object holds one reference for as long as it is alive, also in the object cache.
 *
 * Lock order: a parent directory's vnode before its child's; v_lock before the object's lock; use
 * counts and flags are guarded by the spin lock vnode_list_lock, never held across a sleep.
 *
 * (v) v_lock  (l) vnode_list_lock  (n) the name cache's lock  (c) constant while the vnode has this
 * identity
 */
#ifndef KERNEL_FS_VNODE_H
#define KERNEL_FS_VNODE_H

#include "kernel/cred.h"
#include "kernel/fs/uio.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"
#include "kernel/lock.h"

struct buf;
struct disk;
struct mount;
struct pipe;
struct vm_object;
struct vm_page;
struct vnode;

enum vtype { VNON, VREG, VDIR, VLNK, VBLK, VCHR, VFIFO, VSOCK, VBAD };

/* v_flag (l) */
#define VROOT		0x0001u		/* root of its filesystem */
#define VTEXT		0x0002u		/* a program runs from it */
#define VVMIO		0x0004u		/* has an object, through which all its data goes */
#define VOLOCK		0x0008u		/* its object is being made or looked up */
#define VOWANT		0x0010u		/* somebody sleeps for VOLOCK */
#define VAGE		0x0020u		/* recycle it before others: insert at the head of the free list */
#define VXLOCK		0x0040u		/* being recycled; vget() waits and fails */
#define VONFREE		0x0080u		/* on the free list */
#define VUSED		0x0100u		/* a reference was taken since VOP_INACTIVE ran: run it again before resting */
#define VNONAME		0x0200u		/* its file has no name any more: in the object cache its object would keep it */
#define VSWAP		0x0400u		/* swapped to: its blocks are the swap pager's, nobody else writes to it or cuts it */

struct vnode {
	const struct vnodeops	*v_op;		/* (c) */
	void			*v_data;	/* (c) the filesystem's own part */
	/* (c) NULL once the filesystem is gone, and for devices */
	struct mount		*v_mount;
	/* (c) bdevvp()'s vnodes: the disk; NULL for a device node of a filesystem */
	struct disk		*v_disk;
	enum vtype		 v_type;	/* (c) */
	uint32_t		 v_flag;	/* (l) */
	int			 v_usecount;	/* (l) */
	/*
	 * (l) processes that run it; files open for writing, and its object if that is mapped for writing:
	 * never both.  VTEXT while the first is > 0
	 */
	int			 v_textcount, v_writecount;
	int			 v_opencount;	/* (l) open files, if it is a regular one */
	/* (l) changes with identity: what the name cache compares */
	uint32_t		 v_id;
	ino_t			 v_ino;		/* (c) for messages and the tour */
	struct vm_object	*v_object;	/* (l) plus VOLOCK: the VM's part; at most one */
	struct rwlock		 v_lock;	/* VOP_LOCK */
	TAILQ_ENTRY(vnode)	 v_mntvnodes;	/* (l) all vnodes of a mount */
	TAILQ_ENTRY(vnode)	 v_freelist;	/* (l) */
	/* (l) a filesystem mounted on this directory, or NULL */
	struct mount		*v_mountedhere;
	struct pipe		*v_pipe;	/* (l) of a FIFO that is open */
	TAILQ_HEAD(, namecache)	 v_cache_src;	/* (n) cached names in this directory */
	TAILQ_HEAD(, namecache)	 v_cache_dst;	/* (n) cached names of this vnode */
};

struct vattr {
	enum vtype	va_type;
	uint16_t	va_mode;	/* permission bits */
	uint32_t	va_uid, va_gid, va_nlink;
	uint64_t	va_size;	/* bytes */
	uint64_t	va_blocks;	/* allocated, 512-byte units */
	uint32_t	va_blocksize;	/* bytes */
	uint32_t	va_rdev;	/* a device's number: minor bits 31-20 and 7-0, major 19-8 */
	ino_t		va_fileid;
	int64_t		va_atime, va_mtime, va_ctime;	/* seconds since 1970 */
};

/* What VOP_BMAP found.  A hole is never an error, an error is never a hole. */
struct bmap {
	bool		hole;		/* no block is allocated here: reads as zeros */
	daddr_t		blkno;		/* on the device, 512-byte units; meaningless for a hole */
	/* filesystem blocks contiguous after it (for a hole: further holes), cut at EOF */
	uint32_t	ahead;
	uint32_t	behind;		/* and before it */
};

/* One entry of a directory, as VOP_READDIR hands it out. */
struct dirent {
	ino_t		d_ino;
	off_t		d_next;		/* offset at which to go on */
	enum vtype	d_type;		/* VNON: not known without reading the inode */
	uint8_t		d_namlen;
	char		d_name[256];
};
/* Nonzero: stop; this entry was not taken. */
typedef int (*dirent_fn)(void *arg, const struct dirent *de);

/* setattr: which fields of the vattr count */
#define VA_SIZE		0x01
#define VA_MODE		0x02
#define VA_UID		0x04
#define VA_GID		0x08
#define VA_ATIME	0x10
#define VA_MTIME	0x20

/* fsync */
#define FSYNC_WAIT	0x1		/* return when it is on disk and flushed */
#define FSYNC_DATA	0x2		/* fdatasync: times may stay behind */

/* rename */
#define RENAME_NOREPLACE 0x1		/* EEXIST: the new name is there */
#define RENAME_DIRECTORY 0x2		/* a slash stood behind a name: ENOTDIR for what is no directory */

/* ioflag */
#define IO_SYNC		0x1		/* do not return before it is on disk */
#define IO_VMIO		0x2		/* from the pager: pages are already where they belong */

/*
 * The operations.  A NULL slot answers EOPNOTSUPP.
 * Vnode lock on entry, unchanged on exit:  S shared or exclusive, X exclusive, - none needed.
 */
struct vnodeops {
	const char *name;
	/*
	 * S(dvp): find `name` (no '/', not NUL-terminated).  0: *vpp referenced, unlocked.  ENOENT,
	 * ENOTDIR, EUCLEAN, EIO.
	 */
	int (*lookup)(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp);
	int (*getattr)(struct vnode *vp, struct vattr *va);				/* S */
	/* S: fills from and copies out of the object's pages; short at EOF. */
	int (*read)(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred);
	/*
	 * -: a link of /proc: what it leads to, referenced, whether its text is a path or not; ENXIO:
	 * nothing that can be opened.
	 */
	int (*jump)(struct vnode *vp, struct vnode **target);
	/* X */
	int (*write)(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred);
	/*
	 * S: calls fn for each entry from *off on, moving *off past those that fn took.  fn may be
	 * called with a buffer held: it must not sleep for a buffer, a vnode or user memory; it
	 * copies what it wants and returns.
	 */
	int (*readdir)(struct vnode *vp, off_t *off, dirent_fn fn, void *arg);
	int (*readlink)(struct vnode *vp, char *buf, size_t size, size_t *len);		/* S */
	/*
	 * S: where logical block `lbn` lies.  devvpp (may be NULL): the device's vnode, not
	 * referenced: it lives as long as the mount. bm may be NULL, to ask only for the device.
	 * May read metadata and sleep.  EFBIG past what the format can address.
	 */
	int (*bmap)(struct vnode *vp, daddr_t lbn, struct vnode **devvpp, struct bmap *bm);
	/* -: starts I/O on a device vnode */
	int (*strategy)(struct vnode *devvp, struct buf *bp);
	/*
	 * S: the filesystem fills the pages itself, by vm_pager.h's contract for get; *result is a
	 * VM_PAGER_ code.
	 */
	int (*getpages)(struct vnode *vp, struct vm_page **m, int count, int reqpage, int *result);
	/* X */
	int (*putpages)(struct vnode *vp, struct vm_page **m, int count, bool sync, int *rtvals, int *result);
	/*
	 * X: bytes [start, end) of the file's dirty pages to disk (end < 0: to EOF), then what is
	 * needed to find them again; with FSYNC_WAIT flushed.  0 or the first error; a page that
	 * could not be written stays dirty.
	 */
	int (*fsync)(struct vnode *vp, off_t start, off_t end, int flags);
	/*
	 * X: change what `mask` (VA_*) names.  VA_SIZE truncates or extends.  EROFS, EFBIG, ENOSPC,
	 * EIO, EISDIR.
	 */
	int (*setattr)(struct vnode *vp, const struct vattr *va, int mask, struct ucred *cred);
	/*
	 * X(dvp).  Names: no '/', not NUL-terminated, at most 255 bytes; "." and ".." are refused
	 * with EEXIST, EINVAL, EBUSY or ENOTEMPTY as Linux does.  All: EROFS, ENOTDIR,
	 * ENAMETOOLONG, ENOSPC, EIO, EUCLEAN.
	 */
	/* A regular file, or a special one by va_type; EEXIST.  0: *vpp referenced, unlocked. */
	int (*create)(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp);
	int (*mkdir)(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp);
	int (*symlink)(struct vnode *dvp, const char *name, size_t len, const char *target, const struct vattr *va,
	    struct vnode **vpp);
	/* vp: referenced, unlocked, same filesystem; EMLINK, EPERM for a directory, EEXIST. */
	int (*link)(struct vnode *dvp, const char *name, size_t len, struct vnode *vp);
	/* EISDIR for a directory; ENOENT.  The file lives on while it is open or mapped. */
	int (*remove)(struct vnode *dvp, const char *name, size_t len);
	/* ENOTEMPTY, ENOTDIR */
	int (*rmdir)(struct vnode *dvp, const char *name, size_t len);
	/*
	 * -: both directories referenced and UNLOCKED (the filesystem locks what it needs, in its
	 * own order), same filesystem.  Replaces a file by a file, an empty directory by a
	 * directory; EINVAL: a directory into itself.  rules: RENAME_*, asked with the names locked
	 * (rename_allowed()), before anything but whether the old one is there.
	 */
	int (*rename)(struct vnode *fdvp, const char *fname, size_t flen, struct vnode *tdvp, const char *tname, size_t tlen,
	    int rules);
	/*
	 * S: the object in which the filesystem itself keeps this file's data, referenced, for mmap.
	 * NULL: the vnode pager's.
	 */
	int (*object)(struct vnode *vp, struct vm_object **object);
	int (*inactive)(struct vnode *vp);		/* X: last reference went away */
	int (*reclaim)(struct vnode *vp);		/* X: free v_data; never fails */
};

#define VOP(vp, op, ...) \
	((vp)->v_op->op != NULL ? (vp)->v_op->op((vp), ##__VA_ARGS__) : EOPNOTSUPP)
#define VOP_LOOKUP(dvp, name, len, vpp)		VOP(dvp, lookup, name, len, vpp)
#define VOP_GETATTR(vp, va)			VOP(vp, getattr, va)
#define VOP_READ(vp, uio, fl, cr)		VOP(vp, read, uio, fl, cr)
#define VOP_WRITE(vp, uio, fl, cr)		VOP(vp, write, uio, fl, cr)
#define VOP_READDIR(vp, off, fn, arg)		VOP(vp, readdir, off, fn, arg)
#define VOP_READLINK(vp, buf, size, len)	VOP(vp, readlink, buf, size, len)
#define VOP_JUMP(vp, target)			VOP(vp, jump, target)
#define VOP_BMAP(vp, lbn, devvpp, bm)		VOP(vp, bmap, lbn, devvpp, bm)
#define VOP_STRATEGY(devvp, bp)			VOP(devvp, strategy, bp)
#define VOP_GETPAGES(vp, m, n, req, res)	VOP(vp, getpages, m, n, req, res)
#define VOP_PUTPAGES(vp, m, n, sync, rt, res)	VOP(vp, putpages, m, n, sync, rt, res)
#define VOP_FSYNC(vp, start, end, fl)		VOP(vp, fsync, start, end, fl)
#define VOP_SETATTR(vp, va, mask, cr)		VOP(vp, setattr, va, mask, cr)
#define VOP_CREATE(dvp, n, l, va, vpp)		VOP(dvp, create, n, l, va, vpp)
#define VOP_MKDIR(dvp, n, l, va, vpp)		VOP(dvp, mkdir, n, l, va, vpp)
#define VOP_SYMLINK(dvp, n, l, t, va, vpp)	VOP(dvp, symlink, n, l, t, va, vpp)
#define VOP_LINK(dvp, n, l, vp)			VOP(dvp, link, n, l, vp)
#define VOP_REMOVE(dvp, n, l)			VOP(dvp, remove, n, l)
#define VOP_RMDIR(dvp, n, l)			VOP(dvp, rmdir, n, l)
#define VOP_RENAME(fd, fn, fl, td, tn, tl, r)	VOP(fd, rename, fn, fl, td, tn, tl, r)
#define VOP_INACTIVE(vp)			VOP(vp, inactive)
#define VOP_RECLAIM(vp)				VOP(vp, reclaim)

/* What the rules of a rename say.  replaces: the new name is there.  => both names locked */
static inline int
rename_allowed(int rules, enum vtype type, bool replaces)
{
	if ((rules & RENAME_NOREPLACE) && replaces)
		return (EEXIST);
	return ((rules & RENAME_DIRECTORY) && type != VDIR ? ENOTDIR : 0);
}

enum vlock_mode { LK_SHARED, LK_EXCLUSIVE };
void VOP_LOCK(struct vnode *vp, enum vlock_mode mode);		/* => sleeps in "vnode" */
bool VOP_TRYLOCK(struct vnode *vp, enum vlock_mode mode);	/* false: not now */
void VOP_UNLOCK(struct vnode *vp);				/* either mode */
/* in any mode, by anybody for shared */
bool VOP_ISLOCKED(struct vnode *vp);

extern struct spinlock vnode_list_lock;

/* another reference; the caller already has one or holds vnode_list_lock's proof */
void vref(struct vnode *vp);
/*
 * Take a reference on a vnode that may be idle or on its way out.  ENOENT when it was recycled
 * meanwhile.  => may sleep in "vget".
 * => something keeps vp's memory alive until the call has looked (a recycled vnode is freed): a
 *    reference, or a list that VOP_RECLAIM or cache_purge() would have taken it from.  Such lists
 *    use vget_locked().
 */
int  vget(struct vnode *vp, uint32_t id);
/*
 * The same under vnode_list_lock, without sleeping; false: it is being recycled, vget_wait() and
 * look again.
 */
bool vget_locked(struct vnode *vp);
/*
 * => vnode_list_lock held on entry and exit; sleeps in "vget" for vp to go; afterwards vp may be no
 * more.
 */
void vget_wait(struct vnode *vp);
/* => may sleep; no vnode lock held if it may be the last reference */
void vrele(struct vnode *vp);
void vput(struct vnode *vp);			/* VOP_UNLOCK + vrele */
/*
 * A new vnode of mp (NULL: a device), one reference, unlocked.  May recycle an idle one.
 * => sleeps.  ENFILE when none can be had.
 */
int  getnewvnode(struct mount *mp, const struct vnodeops *ops, struct vnode **vpp);
/* detach from its filesystem now.  => sleeps; referenced, unlocked */
void vgone(struct vnode *vp);
/* Recycle up to n idle vnodes (and free their memory).  Returns how many. */
int  vnode_shrink(int n);
/*
 * Recycle all vnodes of a mount, and let it have no new ones.  => sleeps.  EBUSY: one is in use
 * (*busyp, referenced; NULL when a thread is on its way to the root), the others may be gone, and
 * the mount goes on.
 */
int  vnode_flush_mount(struct mount *mp, struct vnode **busyp);
void vnode_resume_mount(struct mount *mp);	/* after that: it goes on, and may have vnodes again */
/*
 * Take all vnodes away from a mount, in use or not, and let it have no new ones.  => sleeps.
 * EBUSY: a file of it serves as swap, and nothing happened.
 */
int  vnode_kill_mount(struct mount *mp);
bool vnode_mount_swaps(struct mount *mp);	/* does a file of it serve as swap? */
int  vnode_count(void);
int  vnode_inuse(void);				/* v_usecount > 0 */

/* A regular file is opened; closed by the last call, a file without a name gives up its pages.  => referenced; sleep */
void vnode_open_begin(struct vnode *vp);
void vnode_open_end(struct vnode *vp);
bool vnode_is_open(struct vnode *vp);
/* One more who may write to the file.  ETXTBSY: a program runs from it */
int  vnode_writer_begin(struct vnode *vp);
void vnode_writer_end(struct vnode *vp);

extern const struct vnodeops dead_vnodeops;	/* of a vnode after vgone(): EIO */
const char *vtype_name(enum vtype type);
void vnode_init(void);				/* vfs_init() calls it */

/* The vnode of a disk, referenced.  Always the same one for the same disk while it lives. */
struct vnode *bdevvp(struct disk *disk);

/*
 * Path lookup.  => sleeps.  0: *vpp referenced, unlocked.  ENOENT, ENOTDIR, ELOOP (over 40 links),
 * ENAMETOOLONG, EUCLEAN, EIO. `start` for relative paths and symbolic links inside: NULL means the
 * root.
 */
#define NAME_MAX	255		/* bytes in a component */
#define PATH_MAX	4095		/* bytes in a path, without its NUL */
#define SYMLINKS_MAX	40		/* links followed in one lookup */
#define NAMEI_NOFOLLOW	0x1		/* a final symbolic link is the answer itself */
int  namei(const char *path, struct vnode *start, int flags, struct vnode **vpp);
/*
 * The same, but up to the directory of the last name only; whether that name exists is not asked.
 * => place->dvp referenced and a directory; NULL on failure.  ENOENT: no name; EEXIST: it names the root; else as namei().
 */
struct name_place {
	struct vnode	*dvp;		/* referenced */
	size_t		 len;
	bool		 slash;		/* slashes follow: it has to be a directory */
	char		 name[NAME_MAX + 1];
};
int  namei_parent(const char *path, struct vnode *start, struct name_place *place);

/*
 * name cache: remembers (directory, name) -> vnode or "no such entry".
 * => lookup and enter: dvp locked in any mode, so that no entry of it changes in between.
 */
void cache_init(void);				/* vfs_init() calls it */
/* true: hit; *vpp referenced or NULL (known absent) */
bool cache_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp);
void cache_enter(struct vnode *dvp, struct vnode *vp, const char *name, size_t len);
void cache_purge(struct vnode *vp);		/* forget all names of and in it */
void cache_purge_name(struct vnode *dvp, const char *name, size_t len);
/* a name that leads to vp, for messages; "" if none is known */
void cache_name_of(struct vnode *vp, char *name, size_t size);
/* and the directory that has it, referenced; false: none is known */
bool cache_parent_of(struct vnode *vp, struct vnode **dvpp, char *name, size_t size);
struct cache_stats { uint64_t hits, negative_hits, misses, entries, entries_max; };
void cache_get_stats(struct cache_stats *st);

/* ---- mounts ---- */
#define MNT_RDONLY	0x1
struct statfs {
	const char	*f_fstypename;
	uint32_t	 f_iosize;	/* block size, bytes */
	uint32_t	 f_bsize;
	uint64_t	 f_blocks, f_bfree, f_bavail, f_files, f_ffree;
	uint32_t	 f_namemax;
	char		 f_mntfromname[32];
};

struct vfsops {
	const char *name;
	uint32_t magic;		/* what statfs() calls this kind: Linux's number */
	/*
	 * Fill mp (mnt_data, mnt_stat).  disk may be NULL for filesystems without one; opts are the
	 * mount's words.  errno.
	 */
	int (*mount)(struct mount *mp, struct disk *disk, const char *opts);
	/* may be NULL: does this disk look like one of ours?  Prints nothing. */
	bool (*probe)(struct disk *disk);
	/* all its vnodes are gone; an error, and it goes on */
	int (*unmount)(struct mount *mp);
	int (*root)(struct mount *mp, struct vnode **vpp);	/* referenced, unlocked */
	int (*statfs)(struct mount *mp, struct statfs *st);
	/*
	 * wait: write out all that is dirty, files and metadata, in the filesystem's order, and
	 * flush.  Else only metadata that waits.
	 * => sleeps.  First error.
	 */
	int (*sync)(struct mount *mp, bool wait);
	/*
	 * Read-only <-> read-write.  EBUSY: it is being written, or files without a name are in
	 * use; EROFS: it must stay read-only.
	 */
	int (*remount)(struct mount *mp, uint32_t flags);
	/*
	 * Its vnodes may be taken away while they are in use: every operation expects that a vnode
	 * is dead once it is locked, locks each new vnode until it is known, and holds a vnode's
	 * lock or vfs_busy() for as long as it uses the mount.
	 */
	bool forcible;
};

struct mount {
	TAILQ_ENTRY(mount)	 mnt_list;	/* mount lock */
	const struct vfsops	*mnt_op;	/* (c) */
	void			*mnt_data;	/* (c) */
	uint32_t		 mnt_flag;	/* mount lock */
	struct statfs		 mnt_stat;	/* (c) f_iosize; the rest as of mounting */
	struct vnode		*mnt_devvp;	/* (c) referenced; NULL: none */
	/* (l) where it is mounted; NULL: the root, or nowhere (a test's private mount) */
	struct vnode		*mnt_covered;
	/* (l) threads on their way to its root, or in an operation with no vnode locked */
	int			 mnt_busy;
	bool			 mnt_unmounting; /* (l) no new vnodes */
	bool			 mnt_dying;	/* (l) by force: mnt_busy does not rise any more */
	/* atomic: a sync keeps writers away, and may itself wait for memory */
	bool			 mnt_syncing;
	TAILQ_HEAD(, vnode)	 mnt_vnodelist;	/* vnode_list_lock */
};

extern struct mount *rootfs;

/* Its root, referenced and unlocked.  => the mount cannot go away meanwhile: the caller owns it. */
#define VFS_ROOT(mp, vpp)	((mp)->mnt_op->root((mp), (vpp)))
/*
 * Root of the filesystem mounted on dvp (NULL: the root filesystem); ENOENT when there is none.
 * => sleeps.
 */
int  vfs_root_of(struct vnode *dvp, struct vnode **vpp);

void vfs_init(void);
void vfs_register(const struct vfsops *ops);
/*
 * Mount a volume nowhere in particular: its root is reached by VFS root().  => sleeps.  errno;
 * prints what is wrong with the volume.
 */
int  vfs_mount(const char *fsname, struct disk *disk, const char *opts, uint32_t flags, struct mount **mpp);
int  vfs_mount_on(struct mount *mp, struct vnode *covered);	/* make it visible at a directory */
/*
 * Both in one for a filesystem without a disk.  A volume without the directory goes without it; says what
 * else went wrong.  => sleeps
 */
void vfs_mount_at(const char *fsname, const char *path);
/* EBUSY when a vnode is in use, naming it.  => sleeps. */
int  vfs_unmount(struct mount *mp);
/*
 * Unmount although it is in use: what can be written is written, then every vnode dies.  Operations
 * on them give EIO, mappings SIGBUS; who waits for the disk is waited for.
 * => sleeps.  EBUSY: another volume is mounted in it; EOPNOTSUPP: this filesystem cannot.
 */
int  vfs_unmount_forced(struct mount *mp);
/*
 * The mount of a vnode stays until vfs_unbusy(); NULL: it is gone or going.  => vp referenced,
 * locked or not
 */
struct mount *vfs_busy(struct vnode *vp);
void vfs_unbusy(struct mount *mp);
/* Is it on a volume that is mounted read-write?  => vp referenced, locked or not */
bool vnode_is_writable(struct vnode *vp);
/* Change MNT_RDONLY.  => sleeps. */
int  vfs_remount(struct mount *mp, uint32_t flags);
/* The machine stops: unmount what can be unmounted, make read-only what cannot.  => sleeps. */
void vfs_shutdown(void);
/*
 * Call fn for each mount, in order of mounting; nonzero stops.  => sleeps; mount lock held
 * meanwhile
 */
int  vfs_foreach(int (*fn)(struct mount *mp, void *arg), void *arg);
/*
 * Mount root from `root=` or the first disk that holds ext2.  Says what it did.  0 or errno;
 * without any disk ENODEV.
 */
int  mount_root(void);

/* vn_ops.c: for kernel users.  => sleep; nothing locked.  *done bytes. */
int  vn_read(struct vnode *vp, void *buf, size_t len, off_t off, size_t *done);
int  vn_size(struct vnode *vp, uint64_t *size);
int  vn_write(struct vnode *vp, const void *buf, size_t len, off_t off, size_t *done);
int  vn_read_uio(struct vnode *vp, struct uio *uio);
int  vn_write_uio(struct vnode *vp, struct uio *uio);	/* UIO_SYSSPACE */
/*
 * vn_user.c: the same with curthread's user memory, which may be a mapping of the file.  EFAULT:
 * not a byte of it can be touched; where it ends later, *done says how far.
 */
int  vn_read_user(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, size_t *done);
int  vn_write_user(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, size_t *done);
int  vn_truncate(struct vnode *vp, off_t size);
int  vn_fsync(struct vnode *vp);
/* By path. */
int  vn_create(const char *path, const struct vattr *va, struct vnode **vpp);
int  vn_mkdir(const char *path, const struct vattr *va);
int  vn_remove(const char *path);
int  vn_rmdir(const char *path);
int  vn_rename(const char *from, const char *to);
int  vn_link(const char *old, const char *new);
int  vn_symlink(const char *target, const char *path);

/* syncer.c */
void syncer_init(void);
/* For tests that stall a disk: from the return on (until called with false) the syncer writes nothing.  => sleeps */
void syncer_freeze(bool on);
int  vfs_sync_all(bool wait);			/* every mount: vfsops' sync; first error */
/*
 * Write the dirty pages of a mount's files: of those that have been dirty for `min_age` ticks.
 * => sleeps, nothing locked.  First error.
 */
int  vfs_clean_files(struct mount *mp, uint64_t min_age);
/*
 * The same for all that are in use, dirty or not: each operation with a vnode locked that was under
 * way is over then.
 */
int  vfs_settle_files(struct mount *mp);
/*
 * May the files' mappings be stored through?  Forbidding fails with EBUSY if one has dirty pages.
 * => sleeps, nothing locked
 */
int  vfs_allow_stores(struct mount *mp, bool allow);

/*
 * vm/vnode_io.c: for every filesystem whose data lives in its object, where read, write, mmap and exec meet.
 */
int  vnode_object_read(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred);
/*
 * Copy into the object's pages and mark the sectors dirty.  The filesystem has made sure that there
 * is room on disk, has extended the object over the whole range (vnode_pager_setsize) and zeroed
 * the old tail (vnode_object_zero); it updates its inode afterwards.
 * => vnode locked exclusively; UIO_SYSSPACE.  0; EIO; EAGAIN: memory is short (what was copied
 *    stays copied; uio says how much).
 */
int  vnode_object_write(struct vnode *vp, struct uio *uio, int ioflag, struct ucred *cred);
/*
 * Make [from, to) zero and dirty, through the pages; to <= the object's size.  => vnode locked
 * exclusively.  0, EIO, EAGAIN.
 */
int  vnode_object_zero(struct vnode *vp, off_t from, off_t to, struct ucred *cred);

#endif
