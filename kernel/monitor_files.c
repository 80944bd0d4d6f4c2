/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's commands about files.
 *
 *	ls, stat, cat, sum	through the vnode: VOP_READDIR, VOP_GETATTR, VOP_READ
 *	mapsum			through an address space, by page faults
 *	map			through VOP_BMAP: where the bytes lie
 *	object			the VM's view of the file
 *
 * sum and mapsum print the same CRC-32 for the same file, whatever lies between, and so does the
 * host (`cksum -a crc32b`, Python's zlib.crc32).
 */
#include "drivers/disk.h"
#include "kernel/console.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/crc32.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/monitor.h"
#include "kernel/thread.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"

static MALLOC_DEFINE(M_MONITOR, "monitor");

#define CHUNK		(16 * KiB)	/* read at once */
#define CAT_MAX		(64 * KiB)
#define WINDOW		(16 * MiB)	/* mapped at once: bounds the page tables of a large file */
#define BATCH		8		/* entries of a directory looked at together */
#define RUNS_MAX	200		/* lines of `map` */

/* Open the file that a command names.  false, after one sentence: it cannot be. */
static bool
open_file(char **argv, const char *path, int flags, struct vnode **vpp)
{
	int error = namei(path, NULL, flags, vpp);

	if (error != 0)
		printf("%s: %s: %s\n", argv[0], path, errno_name(error));
	return (error == 0);
}

/* The same for a regular file, with its size. */
static bool
open_regular(char **argv, struct vnode **vpp, uint64_t *size)
{
	int error;

	if (!open_file(argv, argv[1], 0, vpp))
		return (false);
	if ((*vpp)->v_type == VREG)
		error = vn_size(*vpp, size);
	else
		error = (*vpp)->v_type == VDIR ? EISDIR : EINVAL;
	if (error == 0)
		return (true);
	printf("%s: %s: %s%s\n", argv[0], argv[1], errno_name(error),
	    error == EINVAL ? " (not a regular file)" : "");
	vrele(*vpp);
	return (false);
}

/* Print text from a disk: what is not printable becomes a dot. */
static void
print_safely(const char *s, size_t len, bool lines)
{
	for (size_t i = 0; i < len; i++) {
		bool plain = s[i] >= ' ' && s[i] <= '~';

		if (lines && (s[i] == '\n' || s[i] == '\t'))
			plain = true;
		console_putc(plain ? s[i] : '.');
	}
}

/* ---- ls and stat ---- */

static void
print_link_target(struct vnode *vp)
{
	char target[256];
	size_t len;
	int error;

	VOP_LOCK(vp, LK_SHARED);
	error = VOP_READLINK(vp, target, sizeof(target), &len);
	VOP_UNLOCK(vp);
	if (error != 0)
		printf("%s", errno_name(error));
	else
		print_safely(target, len, false);
}

/* One line of ls. */
static void
list_one(struct vnode *vp, const char *name)
{
	static const char types[] = {
		[VNON] = '?', [VREG] = '-', [VDIR] = 'd', [VLNK] = 'l', [VBLK] = 'b', [VCHR] = 'c',
		[VFIFO] = 'p', [VSOCK] = 's', [VBAD] = '!'
	};
	static const char bits[] = "rwxrwxrwx";
	struct vattr va;
	int error;

	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	VOP_UNLOCK(vp);
	if (error != 0) {
		printf("%s: ", errno_name(error));
	} else {
		console_putc(types[va.va_type]);
		for (int i = 0; i < 9; i++)
			console_putc(va.va_mode & (0400 >> i) ? bits[i] : '-');
		printf(" %3u %11lu %6lu ", va.va_nlink, va.va_size, va.va_fileid);
	}
	print_safely(name, strlen(name), false);
	if (error == 0 && va.va_type == VLNK) {
		printf(" -> ");
		print_link_target(vp);
	}
	printf("\n");
}

/* Names collected from a directory, to be looked at when no buffer is held. */
struct batch {
	unsigned	n;
	char		names[BATCH][NAME_MAX + 1];
};

static int
batch_take(void *arg, const struct dirent *de)
{
	struct batch *b = arg;

	if (b->n == BATCH)
		return (1);
	strlcpy(b->names[b->n++], de->d_name, sizeof(b->names[0]));
	return (0);
}

static int
list_directory(struct vnode *dvp)
{
	struct batch *b = kmalloc(sizeof(*b), &M_MONITOR, M_WAITOK);
	off_t off = 0;
	int error;

	do {
		b->n = 0;
		VOP_LOCK(dvp, LK_SHARED);
		error = VOP_READDIR(dvp, &off, batch_take, b);
		VOP_UNLOCK(dvp);
		for (unsigned i = 0; i < b->n; i++) {
			struct vnode *vp;
			int found = namei(b->names[i], dvp, NAMEI_NOFOLLOW, &vp);

			if (found == 0) {
				list_one(vp, b->names[i]);
				vrele(vp);
			} else {
				print_safely(b->names[i], strlen(b->names[i]), false);
				printf(": %s\n", errno_name(found));
			}
		}
	} while (error == 0 && b->n == BATCH);
	kfree(b, &M_MONITOR);
	return (error);
}

void
cmd_ls(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/";
	struct vnode *vp;
	int error = 0;

	if (!open_file(argv, path, 0, &vp))
		return;
	if (vp->v_type == VDIR)
		error = list_directory(vp);
	else
		list_one(vp, path);
	vrele(vp);
	if (error != 0)
		printf("%s: %s: %s\n", argv[0], path, errno_name(error));
}

void
cmd_stat(int argc, char **argv)
{
	struct vnode *vp;
	struct vattr va;
	int error;

	if (!open_file(argv, argv[1], NAMEI_NOFOLLOW, &vp))
		return;
	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	VOP_UNLOCK(vp);
	if (error != 0) {
		printf("%s: %s: %s\n", argv[0], argv[1], errno_name(error));
	} else {
		printf("%s: %s, inode %lu, %u link%s, mode %04o, uid %u, gid %u\n", argv[1],
		    vtype_name(va.va_type), va.va_fileid, va.va_nlink, va.va_nlink == 1 ? "" : "s",
		    va.va_mode, va.va_uid, va.va_gid);
		printf("  %lu bytes in blocks of %u; %lu sectors allocated; changed at %ld (Unix time)\n",
		    va.va_size, va.va_blocksize, va.va_blocks, va.va_mtime);
		if (va.va_type == VLNK) {
			printf("  leads to ");
			print_link_target(vp);
			printf("\n");
		}
	}
	vrele(vp);
}

/* ---- reading ---- */

void
cmd_cat(int argc, char **argv)
{
	struct vnode *vp;
	uint64_t size, off = 0;
	size_t done = 1;
	int error = 0;
	char *buf;

	if (!open_regular(argv, &vp, &size))
		return;
	buf = kmalloc(CHUNK, &M_MONITOR, M_WAITOK);
	while (error == 0 && done > 0 && off < MIN(size, CAT_MAX)) {
		error = vn_read(vp, buf, CHUNK, (off_t)off, &done);
		print_safely(buf, done, true);
		off += done;
	}
	if (off > 0 && buf[done > 0 ? done - 1 : 0] != '\n')
		printf("\n");
	if (error != 0)
		printf("%s: %s: byte %lu: %s\n", argv[0], argv[1], off, errno_name(error));
	else if (off < size)
		printf("(%lu of %lu bytes)\n", off, size);
	kfree(buf, &M_MONITOR);
	vrele(vp);
}

/* What reading a file cost. */
struct cost {
	uint64_t	faults, requests, sectors;
};

static void
cost_now(struct cost *c)
{
	*c = (struct cost){ .faults = VMCNT_GET(v_vm_faults) };
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		if (dk->dk_whole != NULL)
			continue;	/* a partition's are counted for its disk too */
		c->requests += dk->dk_stats.reads;
		c->sectors += dk->dk_stats.sectors_read;
	}
}

static void
print_sum(const char *path, uint32_t crc, uint64_t bytes, const struct cost *before)
{
	struct cost after;

	cost_now(&after);
	printf("%s: crc32 %08x, %lu bytes; %lu page faults, %lu disk requests, %lu sectors\n", path,
	    crc, bytes, after.faults - before->faults, after.requests - before->requests,
	    after.sectors - before->sectors);
}

void
cmd_sum(int argc, char **argv)
{
	struct vnode *vp;
	struct cost before;
	uint64_t size, off = 0;
	uint32_t crc = 0;
	size_t done = 1;
	int error = 0;
	char *buf;

	if (!open_regular(argv, &vp, &size))
		return;
	buf = kmalloc(CHUNK, &M_MONITOR, M_WAITOK);
	cost_now(&before);
	while (error == 0 && done > 0) {
		error = vn_read(vp, buf, CHUNK, (off_t)off, &done);
		crc = crc32(crc, buf, done);
		off += done;
	}
	if (error != 0)
		printf("%s: %s: byte %lu: %s\n", argv[0], argv[1], off, errno_name(error));
	else
		print_sum(argv[1], crc, off, &before);
	kfree(buf, &M_MONITOR);
	vrele(vp);
}

/*
 * Map [off, off + len) of the file and add what the mapping shows to *crc.
 * => the address space is loaded.  0; the errno of vm_mmap; EFAULT: curthread->fault says where
 *    and why.
 */
static int
mapsum_window(
    struct vmspace *vm, struct vnode *vp, uint64_t off, size_t len, char *buf, uint32_t *crc)
{
	vm_offset_t base = VM_USER_MIN;
	int error = vm_mmap(vm, &base, len, VM_PROT_READ, MAP_SHARED, vp, (vm_ooffset_t)off);

	if (error != 0)
		return (error);
	for (size_t at = 0; at < len && error == 0; at += PAGE_SIZE) {
		size_t n = MIN(PAGE_SIZE, len - at);

		error = copyin(base + at, buf, n);
		if (error == 0)
			*crc = crc32(*crc, buf, n);
		else
			curthread->fault.addr -= base;
	}
	(void)vm_munmap(vm, base, len);
	return (error);
}

void
cmd_mapsum(int argc, char **argv)
{
	struct vnode *vp;
	struct vmspace *vm;
	struct cost before;
	uint64_t size, off;
	uint32_t crc = 0;
	int error = 0;
	char *buf;

	if (!open_regular(argv, &vp, &size))
		return;
	vm = vmspace_alloc();
	if (vm == NULL) {
		printf("%s: no memory for an address space\n", argv[0]);
		vrele(vp);
		return;
	}
	buf = kmalloc(PAGE_SIZE, &M_MONITOR, M_WAITOK);
	(void)thread_set_vmspace(vm);
	cost_now(&before);
	for (off = 0; off < size && error == 0; off += WINDOW)
		error = mapsum_window(vm, vp, off, MIN(size - off, WINDOW), buf, &crc);
	if (error == EFAULT)
		printf("%s: %s: byte %lu: signal %d, code %d\n", argv[0], argv[1],
		    off - WINDOW + curthread->fault.addr, curthread->fault.signo,
		    curthread->fault.code);
	else if (error != 0)
		printf("%s: %s: %s\n", argv[0], argv[1], errno_name(error));
	else
		print_sum(argv[1], crc, size, &before);
	(void)thread_set_vmspace(NULL);
	vmspace_free(vm);
	kfree(buf, &M_MONITOR);
	vrele(vp);
}

/* ---- where a file lies ---- */

/* A run of blocks: a hole, or neighbours on the disk. */
struct run {
	bool		hole;
	uint64_t	first, count;	/* file blocks */
	daddr_t		sector;
};

static void
print_run(const struct run *r, uint32_t bsize)
{
	uint64_t sectors = r->count * (bsize >> DEV_BSHIFT);

	if (r->hole)
		printf("  blocks %lu-%lu: hole of %lu bytes\n", r->first, r->first + r->count - 1,
		    r->count * bsize);
	else
		printf("  blocks %lu-%lu: sectors %ld-%ld (%lu bytes)\n", r->first,
		    r->first + r->count - 1, r->sector, r->sector + (daddr_t)sectors - 1,
		    r->count * bsize);
}

/* Walk the file from block to block, joining what lies together.  => vnode locked.  errno. */
static int
print_runs(struct vnode *vp, uint64_t nblocks, uint32_t bsize, unsigned *lines)
{
	struct run run = { .count = 0 };
	uint64_t lbn = 0;
	int error = 0;

	while (lbn < nblocks && *lines < RUNS_MAX) {
		struct bmap bm;

		error = VOP_BMAP(vp, (daddr_t)lbn, NULL, &bm);
		if (error != 0)
			break;
		if (run.count > 0 &&
		    (run.hole != bm.hole ||
			(!bm.hole &&
			    run.sector + (daddr_t)(run.count * (bsize >> DEV_BSHIFT)) !=
				bm.blkno))) {
			print_run(&run, bsize);
			++*lines;
			run.count = 0;
		}
		if (run.count == 0)
			run = (struct run){ bm.hole, lbn, 0, bm.blkno };
		run.count += bm.ahead + 1ul;
		lbn += bm.ahead + 1ul;
	}
	if (run.count > 0) {
		print_run(&run, bsize);
		++*lines;
	}
	if (error == 0 && lbn < nblocks)
		printf("  ... and so on, to block %lu\n", nblocks - 1);
	else if (error != 0)
		printf("  block %lu: %s\n", lbn, errno_name(error));
	return (error);
}

void
cmd_map(int argc, char **argv)
{
	struct vnode *vp;
	uint64_t size;
	uint32_t bsize;
	unsigned lines = 0;

	if (!open_regular(argv, &vp, &size))
		return;
	bsize = vp->v_mount->mnt_stat.f_iosize;
	printf("%s: %lu bytes, %lu blocks of %u\n", argv[1], size, howmany(size, (uint64_t)bsize),
	    bsize);
	VOP_LOCK(vp, LK_SHARED);
	if (print_runs(vp, howmany(size, (uint64_t)bsize), bsize, &lines) == 0)
		printf("  %u run%s\n", lines, lines == 1 ? "" : "s");
	VOP_UNLOCK(vp);
	vrele(vp);
}

void
cmd_object(int argc, char **argv)
{
	struct vnode *vp;

	if (!open_file(argv, argv[1], 0, &vp))
		return;
	/* Nobody ends an object while its vnode is locked. */
	VOP_LOCK(vp, LK_SHARED);
	if (vp->v_object == NULL) {
		printf("%s has no object: nothing of it has been read or mapped lately\n", argv[1]);
	} else {
		vm_object_rlock(vp->v_object);
		vm_object_print(vp->v_object, true);
		vm_object_unlock(vp->v_object);
	}
	VOP_UNLOCK(vp);
	vrele(vp);
}
