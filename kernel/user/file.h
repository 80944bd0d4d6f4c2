/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Open files and descriptors.
 *
 *	proc --files--> fdtable: [0] [1] [2] ...  each a file and a close-on-exec bit
 *				  |   +-----+
 *				  v         v
 *				struct file  (dup and fork share it: one offset, one set of flags)
 *				  |ops, data
 *				  +--> a vnode, an end of a pipe, the terminal
 *
 * A descriptor looked up comes with a reference of its own, so that another thread may close it meanwhile.
 *
 * (F) the table's spin lock   (p) pos_lock   (a) atomic   (c) constant
 */
#ifndef KERNEL_USER_FILE_H
#define KERNEL_USER_FILE_H

#include "kernel/fs/uio.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/types.h"
#include "kernel/lock.h"

struct fdtable;
struct file;
struct proc;
struct vattr;
struct name_place;
struct vnode;

/* Linux's numbers.  */
#define O_ACCMODE	03
#define O_RDONLY	00
#define O_WRONLY	01
#define O_RDWR		02
#define O_CREAT		0100
#define O_EXCL		0200
#define O_NOCTTY	0400
#define O_TRUNC		01000
#define O_APPEND	02000
#define O_NONBLOCK	04000
#define O_DSYNC		010000
#define O_DIRECTORY	0200000
#define O_NOFOLLOW	0400000
#define O_CLOEXEC	02000000
#define O_SYNC		04010000
#define O_PATH		010000000
#define O_TMPFILE	020000000

#define POLLIN		0x001
#define POLLPRI		0x002
#define POLLOUT		0x004
#define POLLERR		0x008
#define POLLHUP		0x010
#define POLLNVAL	0x020

/*
 * A transfer between a program's memory and a file: `len` bytes at user address `at`.  The operations move
 * it by user_in() and user_out(), which advance it.
 */
struct user_io {
	vm_offset_t	at;
	size_t		len;		/* bytes left */
	bool		kernel;		/* the memory is the kernel's own: from one file into another */
};

/*
 * What kinds of files do.  => may sleep, nothing locked.  A NULL slot: EINVAL, but read and write EBADF is the
 * caller's business (it has checked the mode), ioctl ENOTTY, poll always ready.
 */
struct fileops {
	const char *name;
	/*
	 * Read or write at *pos (moving it), which is the file's offset or pread's.  Returns 0 or an errno; what is
	 * left in io was not moved.  An error counts only if nothing was.
	 */
	int	(*read)(struct file *fp, struct user_io *io, off_t *pos);
	int	(*write)(struct file *fp, struct user_io *io, off_t *pos);
	int	(*ioctl)(struct file *fp, uint64_t request, vm_offset_t arg);
	int	(*poll)(struct file *fp);			/* POLL* bits that hold now */
	int	(*stat)(struct file *fp, struct vattr *va);
	void	(*close)(struct file *fp);			/* the last reference is gone */
	bool	seekable;					/* has an offset: lseek, pread */
};

struct file {
	const struct fileops *ops;	/* (c) */
	void		*data;		/* (c) the operations' own */
	struct vnode	*vp;		/* (c) referenced; NULL: a pipe */
	uint32_t	 refs;		/* (a) */
	uint32_t	 flags;		/* (a) O_* as F_GETFL shows them */
	struct mutex	 pos_lock;	/* held during a transfer at `pos` */
	off_t		 pos;		/* (p) bytes; for a directory what VOP_READDIR wants; a pipe: fifo_open() */
};

struct fs_context;

/* fd.c */
struct file *file_alloc(const struct fileops *ops, void *data, struct vnode *vp, uint32_t flags); /* => sleeps */
void file_ref(struct file *fp);
void file_release(struct file *fp);		/* => sleeps */
bool file_is_open_to(const struct file *fp, bool write);	/* write, or else read */
/* An open descriptor's file, referenced; NULL: EBADF. */
struct file *fd_get(int fd);
/* The vnode of an open descriptor, also of one that was opened as a place only, referenced.  EBADF; EINVAL: it has none.  => sleeps */
int vnode_of_fd(int fd, struct vnode **vpp);
/* Give fp the lowest free number from `min` on; takes over the reference if it works.  -EMFILE, -EINVAL. */
int64_t fd_install(struct file *fp, int min, bool cloexec);

/*
 * Move n bytes; 0, or EFAULT when the program's memory ends before (what could be moved was, and io says how
 * much is left).  => nothing locked that a fault needs.
 */
int  user_out(struct user_io *io, const void *from, size_t n);
int  user_in(struct user_io *io, void *to, size_t n);
int  user_zero(struct user_io *io, size_t n);

/* file_vnode.c: files that have a vnode */
extern const struct fileops vnode_fileops;
/*
 * Open a referenced vnode as `flags` says: a device by its driver, else as a file.  Takes over the reference, also
 * on failure.  ENXIO: a device that is not there.
 */
int  file_open_vnode(struct vnode *vp, uint32_t flags, struct file **fpp);
/* May curproc do it?  want: bits 4 read, 2 write, 1 execute.  EACCES. */
int  vnode_access(struct vnode *vp, int want);

/* fs_context.c */
/* namei_parent(), from where a relative path begins.  Also EBADF. */
int  fs_parent(int dirfd, const char *path, struct name_place *place);
/* The directory that relative paths begin in, referenced.  ENOTDIR, EBADF. */
int  fs_start(int dirfd, struct vnode **vpp);
uint32_t fs_umask(void);
uint32_t fs_set_umask(uint32_t mask);
void fs_set_cwd(struct vnode *vp);		/* takes over the reference */
/* The path of a directory from the root, into buf; returns its length without NUL, or -errno. */
int64_t fs_path_of(struct vnode *vp, char *buf, size_t size);
/* The same for any file, by a name that the name cache knows, or one in its volume's root; -ENOENT: there is none. */
int64_t fs_path_of_file(struct vnode *vp, char *buf, size_t size);

/* fd.c */
void fdtable_put(struct fdtable *files, int fd, struct file *fp);	/* a table nobody uses yet; takes the reference */
int64_t fd_cloexec(int fd, int set);		/* set < 0: only ask; the bit, 0, or -EBADF */

/* flock.c: POSIX byte-range locks and flock() */
struct flock_range {
	int	type;			/* F_RDLCK 0, F_WRLCK 1, F_UNLCK 2 */
	int	pid;
	off_t	start, end;		/* [start, end) */
};
int  flock_set(struct vnode *vp, struct proc *owner, const struct flock_range *want, bool wait);
void flock_test(struct vnode *vp, struct proc *owner, struct flock_range *want);
void flock_posix_release(struct vnode *vp, struct proc *owner);
void flock_file_release(struct file *fp);

/* pipe.c */
int  pipe_create(struct file **rd, struct file **wr, uint32_t flags);
/* Open a FIFO; takes over the reference on success.  => sleeps.  ENXIO: O_NONBLOCK, to write, and nobody reads; ERESTARTSYS */
int  fifo_open(struct vnode *vp, uint32_t flags, struct file **fpp);
/* A vnode for a pipe that has no name, by which its ends can be opened once more: a FIFO.  Referenced.  ENXIO: not a pipe */
int  pipe_vnode(struct file *fp, struct vnode **vpp);

size_t pipe_bytes(const struct file *fp);	/* of memory that its pipe takes; 0: it is none */
/* How many bytes it holds at most, after making that `want` at least, if not 0.  -EBADF: no pipe; -EBUSY; -EPERM: too many */
int64_t pipe_capacity(struct file *fp, unsigned want);

/* poll.c */
void poll_wakeup(void);				/* something became ready; any context but NMI */

/* tty.c */
extern const struct fileops tty_fileops;
void tty_init(void);
bool tty_is_ours(void);				/* does curproc's session have the terminal? */

/* dev.c: the memory devices */
const struct fileops *dev_fileops(unsigned rdev);	/* NULL: no such device */
#define DEV_TTY		DEV(5, 0)		/* the terminal of whoever opens it */
#define DEV(major, minor)	((unsigned)(major) << 8 | (unsigned)(minor))

/* A path argument, copied in: EFAULT, ENAMETOOLONG.  Free with path_put. */
int  path_get(vm_offset_t uaddr, char **path);
void path_put(char *path);

#endif
