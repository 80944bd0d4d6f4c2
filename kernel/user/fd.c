/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors: small numbers that stand for open files; and the copying between files and programs.
 *
 * The table is an array under a spin lock, so a look-up is short and never sleeps.  It grows by being replaced.
 * A file leaves the table before its reference is dropped, since closing may sleep.
 *
 * Copies go page by page of the program's memory: a copy that meets a page that is not there has then moved all
 * bytes before it and none behind, which is what a short count must say.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/syscall.h"

#define FD_MIN		32		/* slots of a new table */
#define FD_MAX		4096		/* whatever RLIMIT_NOFILE says */

static MALLOC_DEFINE(M_FILE, "open files");
static MALLOC_DEFINE(M_FDTABLE, "descriptor tables");

struct fdslot {
	struct file	*file;		/* (F) referenced, or NULL */
	bool		 cloexec;	/* (F) */
};

struct fdtable {
	struct spinlock	 lock;		/* (F) */
	uint32_t	 refs;		/* (a) processes; clone can make it several */
	int		 nslots;	/* (F) */
	struct fdslot	*slots;		/* (F) */
};

/* ---- files ---- */

struct file *
file_alloc(const struct fileops *ops, void *data, struct vnode *vp, uint32_t flags)
{
	struct file *fp = kmalloc(sizeof(*fp), &M_FILE, M_WAITOK | M_ZERO);

	fp->ops = ops;
	fp->data = data;
	fp->vp = vp;
	fp->refs = 1;
	fp->flags = flags;
	mutex_init(&fp->pos_lock, "filepos", RANK_FILEPOS);
	return (fp);
}

void
file_ref(struct file *fp)
{
	__atomic_fetch_add(&fp->refs, 1, __ATOMIC_RELAXED);
}

void
file_release(struct file *fp)
{
	if (__atomic_sub_fetch(&fp->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	flock_file_release(fp);
	if (fp->ops->close != NULL)
		fp->ops->close(fp);
	if (fp->vp != NULL)
		vrele(fp->vp);
	kfree(fp, &M_FILE);
}

/* ---- tables ---- */

static struct fdtable *
fdtable_alloc(int nslots)
{
	struct fdtable *t = kmalloc(sizeof(*t), &M_FDTABLE, M_WAITOK | M_ZERO);

	spin_init(&t->lock, "descriptors", RANK_FILE);
	t->refs = 1;
	t->nslots = nslots;
	t->slots = kmalloc((size_t)nslots * sizeof(t->slots[0]), &M_FDTABLE, M_WAITOK | M_ZERO);
	return (t);
}

struct fdtable *
fdtable_create(void)
{
	return (fdtable_alloc(FD_MIN));
}

struct fdtable *
fdtable_fork(struct fdtable *from)
{
	struct fdtable *t;
	int want = from->nslots;

	for (;;) {
		t = fdtable_alloc(want);
		spin_lock(&from->lock);
		if (from->nslots <= want)
			break;
		/* re-check: another thread made it larger while we slept for memory. */
		want = from->nslots;
		spin_unlock(&from->lock);
		fdtable_release(t);
	}
	for (int i = 0; i < from->nslots; i++) {
		t->slots[i] = from->slots[i];
		if (t->slots[i].file != NULL)
			file_ref(t->slots[i].file);
	}
	spin_unlock(&from->lock);
	return (t);
}

/* Take a file out of its slot; NULL: there is none. */
static struct file *
slot_clear(struct fdtable *t, int fd, bool only_cloexec)
{
	struct file *fp = NULL;

	spin_lock(&t->lock);
	if (fd >= 0 && fd < t->nslots && (t->slots[fd].cloexec || !only_cloexec)) {
		fp = t->slots[fd].file;
		t->slots[fd] = (struct fdslot){ 0 };
	}
	spin_unlock(&t->lock);
	return (fp);
}

/* A descriptor of curproc's is no more.  POSIX locks of the file go with any of its descriptors. */
static void
closed(struct file *fp)
{
	if (fp->vp != NULL)
		flock_posix_release(fp->vp, curproc);
	file_release(fp);
}

static void
close_all(struct fdtable *t, bool only_cloexec)
{
	struct file *fp;

	for (int fd = 0; (fd = fdtable_next(t, fd)) >= 0; fd++) {
		fp = slot_clear(t, fd, only_cloexec);
		if (fp != NULL)
			closed(fp);
	}
}

void
fdtable_close_on_exec(struct fdtable *t)
{
	close_all(t, true);
}

struct fdtable *
fdtable_share(struct fdtable *t)
{
	__atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
	return (t);
}

/* The files stay open for those who share the table, but a process's POSIX locks end with it.  => t: curproc's */
static void
release_locks(struct fdtable *t)
{
	struct file *fp;

	for (int i = 0; i < t->nslots; i++) {
		fp = fdtable_get(t, i);
		if (fp == NULL)
			continue;
		if (fp->vp != NULL)
			flock_posix_release(fp->vp, curproc);
		file_release(fp);
	}
}

/* The last owner's reference closes all. */
static void
table_drop(struct fdtable *t)
{
	if (__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	close_all(t, false);
	kfree(t->slots, &M_FDTABLE);
	kfree(t, &M_FDTABLE);
}

void
fdtable_unshare(struct fdtable **tp)
{
	struct fdtable *shared = *tp, *own;

	if (__atomic_load_n(&shared->refs, __ATOMIC_ACQUIRE) == 1)
		return;
	own = fdtable_fork(shared);
	spin_lock(&proc_parts_lock);
	*tp = own;
	spin_unlock(&proc_parts_lock);
	table_drop(shared);
}

void
fdtable_release(struct fdtable *t)
{
	if (__atomic_load_n(&t->refs, __ATOMIC_ACQUIRE) > 1)
		release_locks(t);
	table_drop(t);
}

struct file *
fdtable_get(struct fdtable *t, int fd)
{
	struct file *fp = NULL;

	spin_lock(&t->lock);
	if (fd >= 0 && fd < t->nslots && (fp = t->slots[fd].file) != NULL)
		file_ref(fp);
	spin_unlock(&t->lock);
	return (fp);
}

bool
file_is_open_to(const struct file *fp, bool write)
{
	return ((fp->flags & O_PATH) == 0 && (fp->flags & O_ACCMODE) != (write ? O_RDONLY : O_WRONLY));
}

struct file *
fd_get(int fd)
{
	return (fdtable_get(curproc->files, fd));
}

int
vnode_of_fd(int fd, struct vnode **vpp)
{
	struct file *fp = fd_get(fd);

	if (fp == NULL)
		return (EBADF);
	*vpp = fp->vp;
	if (fp->vp != NULL)
		vref(fp->vp);
	file_release(fp);
	return (*vpp == NULL ? EINVAL : 0);
}

int
fdtable_next(struct fdtable *t, int fd)
{
	spin_lock(&t->lock);
	while (fd < t->nslots && t->slots[fd].file == NULL)
		fd++;
	if (fd >= t->nslots)
		fd = -1;
	spin_unlock(&t->lock);
	return (fd);
}

size_t
fdtable_pipe_bytes(struct fdtable *t)
{
	size_t bytes = 0;

	spin_lock(&t->lock);
	for (int fd = 0; fd < t->nslots; fd++) {
		const struct file *fp = t->slots[fd].file;

		if (fp != NULL)
			bytes += pipe_bytes(fp) / 2 / PEEK(fp->refs);
	}
	spin_unlock(&t->lock);
	return (bytes);
}

/* How many descriptors curproc may have. */
static int
fd_limit(void)
{
	return ((int)MIN(curproc->limits[RLIMIT_NOFILE].cur, (uint64_t)FD_MAX));
}

/* Make room for slot fd.  => the table locked; unlocked for a moment, so what was seen must be seen again. */
static void
table_grow(struct fdtable *t, int fd)
{
	int want = MAX(t->nslots * 2, fd + 1);
	struct fdslot *slots;

	spin_unlock(&t->lock);
	slots = kmalloc((size_t)want * sizeof(*slots), &M_FDTABLE, M_WAITOK | M_ZERO);
	spin_lock(&t->lock);
	if (t->nslots < want) {
		struct fdslot *old = t->slots;

		memcpy(slots, old, (size_t)t->nslots * sizeof(*slots));
		t->slots = slots;
		t->nslots = want;
		slots = old;
	}
	spin_unlock(&t->lock);
	kfree(slots, &M_FDTABLE);
	spin_lock(&t->lock);
}

int64_t
fd_install(struct file *fp, int min, bool cloexec)
{
	struct fdtable *t = curproc->files;
	int fd, limit = fd_limit();

	if (min < 0 || min >= limit)
		return (-EINVAL);
	spin_lock(&t->lock);
	for (;;) {
		for (fd = min; fd < t->nslots && t->slots[fd].file != NULL; fd++)
			continue;
		if (fd >= limit) {
			spin_unlock(&t->lock);
			return (-EMFILE);
		}
		if (fd < t->nslots)
			break;
		table_grow(t, fd);
	}
	t->slots[fd] = (struct fdslot){ fp, cloexec };
	spin_unlock(&t->lock);
	return (fd);
}

/* Put fp at exactly this number, closing what was there.  Takes over the reference. */
static void
fd_replace(struct file *fp, int fd, bool cloexec)
{
	struct fdtable *t = curproc->files;
	struct file *old;

	spin_lock(&t->lock);
	while (fd >= t->nslots)
		table_grow(t, fd);
	old = t->slots[fd].file;
	t->slots[fd] = (struct fdslot){ fp, cloexec };
	spin_unlock(&t->lock);
	if (old != NULL)
		closed(old);
}

void
fdtable_put(struct fdtable *t, int fd, struct file *fp)
{
	KASSERT(fd < t->nslots && t->slots[fd].file == NULL, "descriptor %d of a fresh table", fd);
	t->slots[fd] = (struct fdslot){ fp, false };
}

/* ---- system calls on descriptors alone ---- */

int64_t
sys_close(const uint64_t *a)
{
	struct file *fp = slot_clear(curproc->files, (int)a[0], false);

	if (fp == NULL)
		return (-EBADF);
	closed(fp);
	return (0);
}

int64_t
sys_dup(const uint64_t *a)
{
	struct file *fp = fd_get((int)a[0]);
	int64_t fd;

	if (fp == NULL)
		return (-EBADF);
	fd = fd_install(fp, 0, false);
	if (fd < 0)
		file_release(fp);
	return (fd);
}

static int64_t
dup_to(int from, int to, bool cloexec)
{
	struct file *fp;

	if (to < 0 || to >= fd_limit())
		return (-EBADF);
	fp = fd_get(from);
	if (fp == NULL)
		return (-EBADF);
	fd_replace(fp, to, cloexec);
	return (to);
}

int64_t
sys_dup2(const uint64_t *a)
{
	struct file *fp;

	if ((int)a[0] != (int)a[1])
		return (dup_to((int)a[0], (int)a[1], false));
	fp = fd_get((int)a[0]);
	if (fp == NULL)
		return (-EBADF);
	file_release(fp);
	return ((int)a[1]);
}

int64_t
sys_dup3(const uint64_t *a)
{
	if ((int)a[0] == (int)a[1] || (a[2] & ~(uint64_t)O_CLOEXEC) != 0)
		return (-EINVAL);
	return (dup_to((int)a[0], (int)a[1], (a[2] & O_CLOEXEC) != 0));
}

int64_t
fd_cloexec(int fd, int set)
{
	struct fdtable *t = curproc->files;
	int64_t result = -EBADF;

	spin_lock(&t->lock);
	if (fd >= 0 && fd < t->nslots && t->slots[fd].file != NULL) {
		result = t->slots[fd].cloexec;
		if (set >= 0) {
			t->slots[fd].cloexec = set;
			result = 0;
		}
	}
	spin_unlock(&t->lock);
	return (result);
}

int64_t
sys_close_range(const uint64_t *a)
{
	struct fdtable *t = curproc->files;
	uint32_t first = (uint32_t)a[0], last = (uint32_t)a[1];
	struct file *fp;

	if (first > last || (a[2] & ~4ul) != 0)
		return (-EINVAL);
	for (uint32_t i = first; i <= last && i < (uint32_t)t->nslots; i++) {
		if (a[2] & 4) {			/* CLOSE_RANGE_CLOEXEC */
			(void)fd_cloexec((int)i, 1);
			continue;
		}
		fp = slot_clear(t, (int)i, false);
		if (fp != NULL)
			closed(fp);
	}
	return (0);
}

/* ---- copying ---- */

/* As much as lies in one page of the program's memory. */
static size_t
piece(const struct user_io *io, size_t n)
{
	return (MIN(n, PAGE_SIZE - (io->at & PAGE_MASK)));
}

static void
advance(struct user_io *io, size_t n)
{
	io->at += n;
	io->len -= n;
}

int
user_out(struct user_io *io, const void *from, size_t n)
{
	const char *p = from;

	KASSERT(n <= io->len, "copying %lu bytes to where there are %lu", n, io->len);
	while (n > 0) {
		size_t now = piece(io, n);

		if (io->kernel)
			memcpy((void *)io->at, p, now);
		else if (copyout(p, io->at, now) != 0)
			return (EFAULT);
		advance(io, now);
		p += now;
		n -= now;
	}
	return (0);
}

int
user_in(struct user_io *io, void *to, size_t n)
{
	char *p = to;

	KASSERT(n <= io->len, "copying %lu bytes from where there are %lu", n, io->len);
	while (n > 0) {
		size_t now = piece(io, n);

		if (io->kernel)
			memcpy(p, (const void *)io->at, now);
		else if (copyin(io->at, p, now) != 0)
			return (EFAULT);
		advance(io, now);
		p += now;
		n -= now;
	}
	return (0);
}

int
user_zero(struct user_io *io, size_t n)
{
	static const char zeros[512];
	int error = 0;

	while (n > 0 && error == 0) {
		size_t now = MIN(n, sizeof(zeros));

		error = user_out(io, zeros, now);
		n -= now;
	}
	return (error);
}
