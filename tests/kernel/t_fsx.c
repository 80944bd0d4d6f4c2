/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file exerciser: thousands of random operations on one file, each checked against a model that
 * is only an array.
 *
 * A file can be reached in three ways, through read and write, through a mapping, and through the
 * size; and it can be in three places, in pages that are mapped, in pages that are not, and on disk
 * only.  The operations change the bytes through one way and look at them through another, and in
 * between push them from place to place.  Before every growth, bytes past EOF in the last page may
 * be dirtied through a mapping: they must never become part of the file.
 *
 * `fsx=N` sets the number of operations of the first test; the second does a fifth of them.  The
 * seed is the run's.  The first test leaves its file behind and prints its checksum, for the host to
 * compare.
 */
#include "kernel/lib/crc32.h"
#include "kernel/amd64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/fsx_model.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_pageout.h"

static MALLOC_DEFINE(M_FSXBUF, "fsx buffers");

#define WINDOW		(256 * KiB)
#define TRANSFER_MAX	(48 * KiB)
#define VERIFY_EVERY	256
#define OPS_DEFAULT	400
#define FAR_SHARE	5
#define OPS_ALL		1500		/* so many exercise each operation */
#define SIGBUS		7
#define NOWHERE		SIZE_MAX

struct fsx {
	struct fsx_model m;
	const char	*path;
	struct vnode	*vp;
	struct vmspace	*vm;
	vm_offset_t	 map;		/* of the whole window; 0: not mapped */
	uint8_t		*buf;
	/* page in which bytes past EOF may be other than zero, or NOWHERE */
	size_t		 polluted;
};

/* ---- reaching the file ---- */

static bool
succeeded(struct fsx *f, const char *what, int error)
{
	if (error == 0)
		return (true);
	ktest_fail(__FILE__, __LINE__, "%s: %s", what, errno_name(error));
	fsx_print_log(&f->m);
	return (false);
}

static bool
open_file(struct fsx *f)
{
	return (succeeded(f, "open", namei(f->path, NULL, 0, &f->vp)));
}

static bool
need_map(struct fsx *f)
{
	vm_offset_t addr = VM_USER_MIN;

	if (f->map != 0)
		return (true);
	if (!succeeded(f, "mmap", vm_mmap(f->vm, &addr, WINDOW, VM_PROT_READ | VM_PROT_WRITE, MAP_SHARED, f->vp,
	    (vm_ooffset_t)f->m.base)))
		return (false);
	f->map = addr;
	return (true);
}

static bool
unmap(struct fsx *f)
{
	vm_offset_t addr = f->map;

	f->map = 0;
	return (addr == 0 || succeeded(f, "munmap", vm_munmap(f->vm, addr, WINDOW)));
}

/* The size changed: are there still bytes past EOF that we may have stored? */
static void
size_changed(struct fsx *f, size_t before)
{
	if (f->m.size < before || f->m.size / PAGE_SIZE != f->polluted)
		f->polluted = NOWHERE;
}

/* Dirty bytes past EOF in the last page, as a program may. */
static bool
pollute(struct fsx *f)
{
	size_t from = f->m.size, len = PAGE_SIZE - from % PAGE_SIZE;

	if (from % PAGE_SIZE == 0 || from >= WINDOW || !need_map(f))
		return (!ktest_failed());
	len = 1 + fsx_random(&f->m, len);
	fsx_log(&f->m, "pollute", from, len);
	memset(f->buf, 0xee, len);
	f->polluted = from / PAGE_SIZE;
	return (succeeded(f, "store past EOF in the last page", copyout(f->buf, f->map + from, len)));
}

static bool
before_growth(struct fsx *f)
{
	return (fsx_random(&f->m, 2) == 0 || pollute(f));
}

/* ---- the operations ---- */

static bool
op_read(struct fsx *f)
{
	size_t off = fsx_pick_offset(&f->m, f->m.size), len = fsx_pick_length(&f->m, off, TRANSFER_MAX);
	size_t want = MIN(len, f->m.size - off), done = 0;

	fsx_log(&f->m, "read", off, len);
	if (!succeeded(f, "read", vn_read(f->vp, f->buf, len, (off_t)(f->m.base + off), &done)))
		return (false);
	if (!CHECK_EQ(done, want)) {
		fsx_print_log(&f->m);
		return (false);
	}
	return (fsx_compare(&f->m, "read", off, f->buf, done));
}

static bool
write_at(struct fsx *f, const char *what, size_t off, size_t len)
{
	size_t before = f->m.size, done = 0;

	fsx_log(&f->m, what, off, len);
	fsx_write(&f->m, off, len, f->buf);
	size_changed(f, before);
	return (succeeded(f, what, vn_write(f->vp, f->buf, len, (off_t)(f->m.base + off), &done)) && CHECK_EQ(done, len));
}

static bool
op_write(struct fsx *f)
{
	size_t off = fsx_pick_offset(&f->m, MIN(f->m.size, WINDOW - 1));
	size_t len = fsx_pick_length(&f->m, off, MIN(TRANSFER_MAX, WINDOW - off));

	if (off + len > f->m.size && !before_growth(f))
		return (false);
	return (write_at(f, "write", off, len));
}

/* Past EOF, so that a hole stays between. */
static bool
op_sparse(struct fsx *f)
{
	size_t off, len;

	if (f->m.size >= WINDOW - 1)
		return (true);
	off = MAX(fsx_pick_offset(&f->m, WINDOW - 1), f->m.size);
	len = fsx_pick_length(&f->m, off, MIN(3 * PAGE_SIZE, WINDOW - off));
	return (before_growth(f) && write_at(f, "sparse", off, len));
}

static bool
op_mapread(struct fsx *f)
{
	size_t off = fsx_pick_offset(&f->m, f->m.size), len;

	if (off == f->m.size)
		return (true);
	len = fsx_pick_length(&f->m, off, MIN(TRANSFER_MAX, f->m.size - off));
	/* The rest of the last page reads as zeros, unless we stored something there. */
	if (off + len == f->m.size && f->polluted == NOWHERE)
		len = round_page(off + len) - off;
	if (!need_map(f))
		return (false);
	fsx_log(&f->m, "map read", off, len);
	return (succeeded(f, "load", copyin(f->map + off, f->buf, len)) && fsx_compare(&f->m, "load", off, f->buf, len));
}

static bool
op_mapwrite(struct fsx *f)
{
	size_t off = fsx_pick_offset(&f->m, f->m.size), len;

	if (off == f->m.size || !need_map(f))
		return (!ktest_failed());
	len = fsx_pick_length(&f->m, off, MIN(TRANSFER_MAX, f->m.size - off));
	fsx_log(&f->m, "map write", off, len);
	fsx_write(&f->m, off, len, f->buf);
	return (succeeded(f, "store", copyout(f->buf, f->map + off, len)));
}

/* A page wholly past EOF is SIGBUS, whatever was there before. */
static bool
op_mappast(struct fsx *f)
{
	size_t from = round_page(f->m.size), off;
	int error;

	if (from >= WINDOW || !need_map(f))
		return (!ktest_failed());
	off = from + fsx_random(&f->m, MIN(WINDOW - from, 2 * PAGE_SIZE));
	fsx_log(&f->m, "map past", off, 1);
	error = fsx_random(&f->m, 2) ? copyin(f->map + off, f->buf, 1) : copyout(f->buf, f->map + off, 1);
	if (CHECK_EQ(error, EFAULT) && CHECK_EQ(curthread->fault.signo, SIGBUS)) {
		memset(&curthread->fault, 0, sizeof(curthread->fault));
		return (true);
	}
	fsx_print_log(&f->m);
	return (false);
}

static bool
truncate_to(struct fsx *f, const char *what, size_t size)
{
	size_t before = f->m.size;

	fsx_log(&f->m, what, size, 0);
	fsx_truncate(&f->m, size);
	size_changed(f, before);
	return (succeeded(f, what, vn_truncate(f->vp, (off_t)(f->m.base + size))));
}

static bool
op_shrink(struct fsx *f)
{
	return (truncate_to(f, "shrink", fsx_pick_offset(&f->m, f->m.size)));
}

static bool
op_grow(struct fsx *f)
{
	size_t size = MAX(fsx_pick_offset(&f->m, WINDOW), f->m.size);

	return (before_growth(f) && truncate_to(f, "grow", size));
}

static bool
op_msync(struct fsx *f)
{
	size_t from = fsx_random(&f->m, WINDOW / PAGE_SIZE) * PAGE_SIZE;
	size_t len = fsx_pick_length(&f->m, from, WINDOW - from);
	int flags = fsx_random(&f->m, 3) ? MS_SYNC : MS_ASYNC;

	if (!need_map(f))
		return (false);
	fsx_log(&f->m, flags == MS_SYNC ? "msync" : "msync async", from, len);
	return (succeeded(f, "msync", vm_msync(f->vm, f->map + from, len, flags)));
}

static bool
op_fsync(struct fsx *f)
{
	fsx_log(&f->m, "fsync", 0, f->m.size);
	return (succeeded(f, "fsync", vn_fsync(f->vp)));
}

static bool
op_sync_range(struct fsx *f)
{
	size_t off = fsx_pick_offset(&f->m, f->m.size), len = fsx_pick_length(&f->m, off, WINDOW);
	int error;

	fsx_log(&f->m, "fdatasync", off, len);
	VOP_LOCK(f->vp, LK_EXCLUSIVE);
	error = VOP_FSYNC(f->vp, (off_t)(f->m.base + off), (off_t)(f->m.base + off + len), FSYNC_WAIT | FSYNC_DATA);
	VOP_UNLOCK(f->vp);
	return (succeeded(f, "fdatasync", error));
}

static bool
op_sync(struct fsx *f)
{
	fsx_log(&f->m, "sync", 0, 0);
	return (succeeded(f, "sync", vfs_sync_all(true)));
}

static bool
op_remap(struct fsx *f)
{
	fsx_log(&f->m, "remap", 0, WINDOW);
	return (unmap(f) && need_map(f));
}

/* Everything to disk and out of memory: what is read next comes from there. */
static bool
op_drop(struct fsx *f)
{
	fsx_log(&f->m, "drop", 0, WINDOW);
	if (!unmap(f))
		return (false);
	vrele(f->vp);
	vm_object_cache_shrink(SIZE_MAX, true);
	f->polluted = NOWHERE;
	return (open_file(f));
}

static bool
op_scan(struct fsx *f)
{
	fsx_log(&f->m, "scan", 0, 0);
	vm_pageout_scan(1 + fsx_random(&f->m, 64));
	return (true);
}

static bool
op_reopen(struct fsx *f)
{
	struct vnode *former = f->vp;

	fsx_log(&f->m, "reopen", 0, 0);
	if (fsx_random(&f->m, 2) && !unmap(f))
		return (false);
	vrele(former);
	return (open_file(f) && CHECK(f->map == 0 || f->vp == former));
}

static const struct operation {
	const char	*name;
	unsigned	 weight;
	bool		(*fn)(struct fsx *f);
} operations[] = {
	{ "read", 12, op_read }, { "write", 12, op_write }, { "sparse", 5, op_sparse },
	{ "mapread", 12, op_mapread }, { "mapwrite", 12, op_mapwrite }, { "mappast", 3, op_mappast },
	{ "shrink", 6, op_shrink }, { "grow", 5, op_grow },
	{ "msync", 4, op_msync }, { "fsync", 2, op_fsync }, { "syncrange", 3, op_sync_range }, { "sync", 1, op_sync },
	{ "remap", 3, op_remap }, { "drop", 2, op_drop }, { "scan", 3, op_scan }, { "reopen", 3, op_reopen },
};

static unsigned
pick_operation(struct fsx *f)
{
	unsigned total = 0, at, i;

	for (i = 0; i < nitems(operations); i++)
		total += operations[i].weight;
	at = (unsigned)fsx_random(&f->m, total);
	for (i = 0; at >= operations[i].weight; i++)
		at -= operations[i].weight;
	return (i);
}

/* The whole file, and its size, as read sees them.  *crc: of its bytes; NULL: nobody asks. */
static bool
verify(struct fsx *f, uint32_t *crc)
{
	uint64_t size;

	if (!succeeded(f, "size", vn_size(f->vp, &size)) || !CHECK_EQ(size, f->m.base + f->m.size)) {
		fsx_print_log(&f->m);
		return (false);
	}
	if (crc != NULL)
		*crc = 0;
	for (size_t off = 0; off < f->m.size; off += TRANSFER_MAX) {
		size_t len = MIN(TRANSFER_MAX, f->m.size - off), done = 0;

		if (!succeeded(f, "read", vn_read(f->vp, f->buf, len, (off_t)(f->m.base + off), &done)) ||
		    !CHECK_EQ(done, len) || !fsx_compare(&f->m, "verify", off, f->buf, len))
			return (false);
		if (crc != NULL)
			*crc = crc32(*crc, f->buf, len);
	}
	return (true);
}

/* ---- one run ---- */

static bool
make_file(struct fsx *f)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 }, dir = { .va_type = VDIR, .va_mode = 0755 };
	int error = vn_mkdir("/fsx", &dir);

	if (error != 0 && error != EEXIST)
		return (succeeded(f, "mkdir /fsx", error));
	error = vn_remove(f->path);
	if (error != 0 && error != ENOENT)
		return (succeeded(f, "remove", error));
	return (succeeded(f, "create", vn_create(f->path, &va, &f->vp)));
}

static void
run_operations(struct fsx *f, uint64_t ops, uint32_t *crc)
{
	uint64_t counts[nitems(operations)] = { 0 };

	for (uint64_t n = 0; n < ops; n++) {
		unsigned which = pick_operation(f);

		counts[which]++;
		if (!operations[which].fn(f) || ktest_failed() || (n % VERIFY_EVERY == 0 && !verify(f, NULL))) {
			printf("# fsx: failed in operation %lu (%s)\n", n, operations[which].name);
			return;
		}
	}
	verify(f, crc);
	for (unsigned i = 0; i < nitems(operations) && ops >= OPS_ALL; i++)
		if (counts[i] == 0)
			ktest_fail(__FILE__, __LINE__, "the operation %s was never exercised", operations[i].name);
}

static void
exercise(const char *path, uint64_t base, uint64_t ops, bool keep)
{
	struct fsx f = { .path = path, .polluted = NOWHERE };
	struct vmspace *former;
	uint32_t crc = 0;

	if (rootfs == NULL || (rootfs->mnt_flag & MNT_RDONLY)) {
		ktest_skip("the root volume cannot be written");
		return;
	}
	fsx_init(&f.m, WINDOW, base, rootfs->mnt_stat.f_iosize, ktest_random());
	f.buf = kmalloc(TRANSFER_MAX + PAGE_SIZE, &M_FSXBUF, M_WAITOK);
	f.vm = vmspace_alloc();
	if (CHECK(f.vm != NULL) && make_file(&f)) {
		former = thread_set_vmspace(f.vm);
		if (base == 0 || truncate_to(&f, "grow", 0))
			run_operations(&f, ops, &crc);
		(void)thread_set_vmspace(former);
	}
	if (f.vm != NULL)
		vmspace_free(f.vm);
	if (f.vp != NULL)
		vrele(f.vp);
	if (keep && !ktest_failed())
		printf("# fsx file %s %lu %08x\n", path, base + f.m.size, crc);
	else if (f.vp != NULL)
		CHECK_EQ(vn_remove(path), 0);
	kfree(f.buf, &M_FSXBUF);
	fsx_fini(&f.m);
}

KTEST(fsx, random_operations_agree_with_the_model)
{
	exercise("/fsx/out", 0, cmdline_u64("fsx", OPS_DEFAULT), true);
}

/* The same with all of it far out, where offsets need more than 32 bits. */
KTEST(fsx, random_operations_around_4_gib)
{
	exercise("/fsx/far", 4 * GiB - WINDOW / 2, cmdline_u64("fsx", FAR_SHARE * OPS_DEFAULT) / FAR_SHARE, false);
}
