/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A workload that tells what it does, for a host that cuts the power afterwards.
 *
 *	# pc op N create PATH            printed before operation N begins
 *	# pc op N write PATH OFF LEN     (mwrite: through a mapping); the bytes are those of fill(seed, N, OFF)
 *	# pc op N truncate PATH SIZE     rename OLD NEW, link OLD NEW, unlink PATH, mkdir PATH, rmdir PATH,
 *				  rendir OLD NEW, symlink PATH
 *	# pc op N late PATH OFF LEN      a write to the file that had this name until it was unlinked, and is still open
 *	# pc ack N fsync PATH SIZE CRC   printed after the call has returned: from now on this must be on disk
 *	# pc ack N msync PATH OFF LEN CRC
 *	# pc ack N sync
 *
 * After each ack its number goes into the last sector of the disk, which lies outside the volume.
 * So the record of the disk's writes says which promises were given before each of them.
 * tests/host/powercut.py is the reader of all this.
 *
 * `powercut=SEED` runs the workload; `powercut=read` mounts each disk, reads what is left of its
 * files and prints their checksums.
 */
#include "drivers/disk.h"
#include "kernel/lib/crc32.h"
#include "kernel/amd64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"

static MALLOC_DEFINE(M_POWERCUT, "power-cut workload");

#define SLOTS		10		/* files at a time */
#define NAMES_MAX	16		/* numbers in names; more than slots, so that names come again */
#define OPERATIONS	320
#define NEAR_MAX	(40 * KiB)
#define FAR_MAX		(300 * KiB)	/* reaches double indirection with blocks of 1 KiB */
#define BUF		(24 * KiB)
#define PATH_BYTES	32

/* A name.  A file may have several. */
struct slot {
	char	path[PATH_BYTES];	/* "": free */
	size_t	size;
	ino_t	ino;
};

static struct {
	uint64_t	 seed, number;
	struct slot	 slots[SLOTS];
	struct vmspace	*vm;
	uint8_t		*buf;
	uint8_t		 marker[DEV_BSIZE] __aligned(DEV_BSIZE);
	unsigned	 acks;
} pc;

/* What operation `number` writes to [off, off + len); powercut.contents() on the host. */
static void
fill(uint64_t number, uint64_t off, uint8_t *buf, size_t len)
{
	uint64_t base = ktest_mix64(pc.seed << 32 ^ number);

	for (size_t i = 0; i < len; i++) {
		uint64_t at = off + i;

		buf[i] = (uint8_t)(ktest_mix64(base + at / 8 * 0x9e3779b97f4a7c15ul) >> at % 8 * 8);
	}
}

static uint64_t
chance(uint64_t below)
{
	return (ktest_random() % below);
}

static bool
ok(const char *what, const char *path, int error)
{
	if (error == 0)
		return (true);
	ktest_fail(__FILE__, __LINE__, "operation %lu, %s %s: %s", pc.number, what, path, errno_name(error));
	return (false);
}

/* ---- promises ---- */

/* The checksum of [off, off + len) as read() gives it. */
static uint32_t
checksum(struct vnode *vp, size_t off, size_t len)
{
	uint32_t crc = 0;

	while (len > 0) {
		size_t n = MIN(len, BUF), done = 0;

		if (!ok("read", "", vn_read(vp, pc.buf, n, (off_t)off, &done)) || !CHECK_EQ(done, n))
			break;
		crc = crc32(crc, pc.buf, n);
		off += n;
		len -= n;
	}
	return (crc);
}

static void
leave_marker(void)
{
	struct disk *dk = rootfs->mnt_devvp->v_disk;

	memcpy(pc.marker, "faultline-marker", 16);
	memcpy(pc.marker + 16, &pc.number, sizeof(pc.number));
	CHECK_EQ(disk_rw(dk, dk->dk_nsectors - 1, pc.marker, sizeof(pc.marker), B_WRITE), 0);
	pc.acks++;
}

static void
promise_fsync(struct slot *s, struct vnode *vp)
{
	if (!ok("fsync", s->path, vn_fsync(vp)))
		return;
	printf("# pc ack %lu fsync %s %lu %08x\n", pc.number, s->path, s->size, checksum(vp, 0, s->size));
	leave_marker();
}

static void
promise_sync(void)
{
	if (!ok("sync", "", vfs_sync_all(true)))
		return;
	printf("# pc ack %lu sync\n", pc.number);
	leave_marker();
}

/* ---- operations ---- */

/* A slot in use, or NULL. */
static struct slot *
some_file(void)
{
	for (unsigned i = 0, at = (unsigned)chance(SLOTS); i < SLOTS; i++, at = (at + 1) % SLOTS)
		if (pc.slots[at].path[0] != '\0')
			return (&pc.slots[at]);
	return (NULL);
}

static struct slot *
slot_of(const char *path)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (streq(pc.slots[i].path, path))
			return (&pc.slots[i]);
	return (NULL);
}

static void
size_set(const struct slot *s, size_t size)
{
	ino_t ino = s->ino;

	for (unsigned i = 0; i < SLOTS; i++)
		if (pc.slots[i].path[0] != '\0' && pc.slots[i].ino == ino)
			pc.slots[i].size = size;
}

/* How many names has this file? */
static unsigned
names_of(ino_t ino)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		n += pc.slots[i].path[0] != '\0' && pc.slots[i].ino == ino;
	return (n);
}

static void
some_name(char *path)
{
	snprintf(path, PATH_BYTES, "/pc/%c/f%lu", chance(2) ? 'a' : 'b', chance(NAMES_MAX));
}

static void
op_create(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct slot *s = slot_of("");
	struct vnode *vp;
	char path[PATH_BYTES];

	some_name(path);
	if (s == NULL || slot_of(path) != NULL)
		return;
	printf("# pc op %lu create %s\n", pc.number, path);
	if (!ok("create", path, vn_create(path, &va, &vp)))
		return;
	strlcpy(s->path, path, sizeof(s->path));
	s->size = 0;
	s->ino = vp->v_ino;
	vrele(vp);
}

/* Where and how much: mostly near the start, sometimes far out, often at the end. */
static size_t
choose_range(const struct slot *s, size_t *len)
{
	size_t max = (s - pc.slots) % 4 == 0 ? FAR_MAX : NEAR_MAX, off;

	*len = 1 + chance(chance(4) == 0 ? BUF : 3000);
	off = chance(3) == 0 ? s->size : chance(max);
	if (chance(2))
		off &= ~(DEV_BSIZE - 1);
	return (MIN(off, max - *len));
}

static void
op_write(struct slot *s, struct vnode *vp)
{
	size_t len, off = choose_range(s, &len), done = 0;

	printf("# pc op %lu write %s %lu %lu\n", pc.number, s->path, off, len);
	fill(pc.number, off, pc.buf, len);
	if (ok("write", s->path, vn_write(vp, pc.buf, len, (off_t)off, &done)) && CHECK_EQ(done, len))
		size_set(s, MAX(s->size, off + len));
}

/* Through a mapping, which cannot grow the file; then perhaps msync. */
static void
op_mwrite(struct slot *s, struct vnode *vp)
{
	vm_offset_t addr = VM_USER_MIN;
	size_t len, off = choose_range(s, &len), base;
	uint64_t number = pc.number;

	if (s->size == 0)
		return;
	off = MIN(off, s->size - 1);
	len = MIN(len, s->size - off);
	base = trunc_page(off);
	if (!ok("mmap", s->path, vm_mmap(pc.vm, &addr, off + len - base, VM_PROT_READ | VM_PROT_WRITE, MAP_SHARED, vp,
	    (vm_ooffset_t)base)))
		return;
	printf("# pc op %lu mwrite %s %lu %lu\n", number, s->path, off, len);
	fill(number, off, pc.buf, len);
	ok("store", s->path, copyout(pc.buf, addr + off - base, len));
	if (chance(2) && ok("msync", s->path, vm_msync(pc.vm, addr, off + len - base, MS_SYNC))) {
		pc.number++;
		printf("# pc ack %lu msync %s %lu %lu %08x\n", pc.number, s->path, off, len, checksum(vp, off, len));
		leave_marker();
	}
	ok("munmap", s->path, vm_munmap(pc.vm, addr, off + len - base));
}

static void
op_truncate(struct slot *s, struct vnode *vp)
{
	size_t size = chance(4) == 0 ? 0 : chance(MAX(s->size, 2000ul) * 5 / 4);

	size = MIN(size, FAR_MAX);
	printf("# pc op %lu truncate %s %lu\n", pc.number, s->path, size);
	if (ok("truncate", s->path, vn_truncate(vp, (off_t)size)))
		size_set(s, size);
}

/* A second name, after which the first one goes or not. */
static void
op_link(struct slot *s)
{
	struct slot *second = slot_of("");
	char path[PATH_BYTES];

	some_name(path);
	if (slot_of(path) != NULL)
		return;
	printf("# pc op %lu link %s %s\n", pc.number, s->path, path);
	if (!ok("link", s->path, vn_link(s->path, path)))
		return;
	if (second != NULL && chance(2)) {
		*second = *s;
		strlcpy(second->path, path, sizeof(second->path));
		return;
	}
	pc.number++;
	printf("# pc op %lu unlink %s\n", pc.number, s->path);
	if (ok("unlink", s->path, vn_remove(s->path)))
		strlcpy(s->path, path, sizeof(s->path));
}

/* Half of the time over a file. */
static void
op_rename(struct slot *s)
{
	char path[PATH_BYTES];
	struct slot *over;

	if (chance(2))
		strlcpy(path, some_file()->path, sizeof(path));
	else
		some_name(path);
	over = slot_of(path);
	if (streq(path, s->path) || (over != NULL && over->ino == s->ino))
		return;
	printf("# pc op %lu rename %s %s\n", pc.number, s->path, path);
	if (!ok("rename", s->path, vn_rename(s->path, path)))
		return;
	if (over != NULL)
		over->path[0] = '\0';
	strlcpy(s->path, path, sizeof(s->path));
}

/* Sometimes while it is open, and written to afterwards. */
static void
op_unlink(struct slot *s, struct vnode *vp)
{
	char path[PATH_BYTES];
	size_t done;

	strlcpy(path, s->path, sizeof(path));
	printf("# pc op %lu unlink %s\n", pc.number, path);
	if (!ok("unlink", s->path, vn_remove(s->path)))
		return;
	s->path[0] = '\0';
	if (names_of(s->ino) == 0 && chance(2)) {
		pc.number++;
		printf("# pc op %lu late %s 0 %lu\n", pc.number, path, BUF);
		fill(pc.number, 0, pc.buf, BUF);
		ok("write after unlink", path, vn_write(vp, pc.buf, BUF, 0, &done));
	}
}

/* Folders come, go and change their names, with something in them or not; links, too. */
static void
op_rename_folder(void)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	int error;

	snprintf(from, sizeof(from), "/pc/a/d%lu", chance(4));
	snprintf(to, sizeof(to), "/pc/a/d%lu%s", chance(4), chance(3) == 0 ? "-longer-than-the-old-name" : "");
	printf("# pc op %lu rendir %s %s\n", pc.number, from, to);
	error = vn_rename(from, to);
	if (error != ENOENT && error != ENOTEMPTY)
		ok("rename folder", from, error);
}

static void
op_folder_entry(void)
{
	char path[PATH_BYTES];
	int error;

	snprintf(path, sizeof(path), "/pc/a/d%lu/link%lu", chance(4), chance(3));
	printf("# pc op %lu symlink %s\n", pc.number, path);
	error = vn_symlink(chance(2) ? "short" : "a target that is too long for its inode, by some bytes at least, says who counts",
	    path);
	if (error == EEXIST)
		error = vn_remove(path);
	if (error != ENOENT)
		ok("symlink", path, error);
}

static void
op_folder(void)
{
	struct vattr va = { .va_type = VDIR, .va_mode = 0755 };
	bool make = chance(2);
	char path[PATH_BYTES];
	int error;

	if (chance(3) == 0) {
		op_rename_folder();
		return;
	}
	if (chance(2)) {
		op_folder_entry();
		return;
	}
	snprintf(path, sizeof(path), "/pc/a/d%lu", chance(4));
	printf("# pc op %lu %s %s\n", pc.number, make ? "mkdir" : "rmdir", path);
	error = make ? vn_mkdir(path, &va) : vn_rmdir(path);
	if (error != (make ? EEXIST : ENOENT) && error != ENOTEMPTY)
		ok(make ? "mkdir" : "rmdir", path, error);
}

static void
file_operation(struct slot *s)
{
	unsigned what = (unsigned)chance(100);
	struct vnode *vp;

	if (!ok("open", s->path, namei(s->path, NULL, 0, &vp)))
		return;
	if (what < 35)
		op_write(s, vp);
	else if (what < 55)
		op_mwrite(s, vp);
	else if (what < 65)
		op_truncate(s, vp);
	else if (what < 73)
		op_unlink(s, vp);
	else
		promise_fsync(s, vp);
	vrele(vp);
}

static void
operation(void)
{
	unsigned what = (unsigned)chance(100);
	struct slot *s = some_file();

	pc.number++;
	if (what < 15 || s == NULL)
		op_create();
	else if (what < 18)
		promise_sync();
	else if (what < 30)
		op_folder();
	else if (what < 41)
		op_rename(s);
	else if (what < 44)
		op_link(s);
	else
		file_operation(s);
}

KTEST(powercut, workload)
{
	const char *word = cmdline_get("powercut");
	struct vmspace *former;
	struct statfs st;

	if (word == NULL || !cmdline_number(word, &pc.seed)) {
		ktest_skip("only with powercut=SEED");
		return;
	}
	CHECK_OR_RETURN(rootfs != NULL && rootfs->mnt_op->statfs(rootfs, &st) == 0);
	/* The last sector must be ours. */
	CHECK_OR_RETURN(st.f_blocks * st.f_iosize / DEV_BSIZE < rootfs->mnt_devvp->v_disk->dk_nsectors);
	pc.buf = kmalloc(BUF, &M_POWERCUT, M_WAITOK);
	pc.vm = vmspace_alloc();
	if (CHECK(pc.vm != NULL)) {
		former = thread_set_vmspace(pc.vm);
		for (int n = 0; n < OPERATIONS && !ktest_failed(); n++)
			operation();
		pc.number++;
		promise_sync();
		(void)thread_set_vmspace(former);
		vmspace_free(pc.vm);
	}
	kfree(pc.buf, &M_POWERCUT);
	CHECK(pc.acks > OPERATIONS / 10);
}

/* ---- after a cut ---- */

struct listing {
	const char	*folder;
	unsigned	 count;
	char		 path[64][PATH_BYTES];
};

static int
list_entry(void *arg, const struct dirent *de)
{
	struct listing *l = arg;

	if (de->d_name[0] != 'f' || l->count == nitems(l->path))
		return (0);
	snprintf(l->path[l->count++], PATH_BYTES, "%s/%s", l->folder, de->d_name);
	return (0);
}

/* A path of the volume whose root this is. */
static bool
open_at(struct vnode *root, const char *path, struct vnode **vpp)
{
	return (ok("open", path, namei(path + 1, root, 0, vpp)));
}

static void
list_folder(struct vnode *root, struct listing *l, const char *folder)
{
	struct vnode *dvp;
	off_t off = 0;

	l->folder = folder;
	if (!open_at(root, folder, &dvp))
		return;
	VOP_LOCK(dvp, LK_SHARED);
	ok("readdir", folder, VOP_READDIR(dvp, &off, list_entry, l));
	VOP_UNLOCK(dvp);
	vrele(dvp);
}

/* Print what the files of a mounted volume hold. */
static void
tell_files(struct mount *mp)
{
	struct listing *l = kmalloc(sizeof(*l), &M_POWERCUT, M_WAITOK | M_ZERO);
	struct vnode *root;

	printf("# pc disk %s\n", mp->mnt_stat.f_mntfromname);
	CHECK_EQ(mp->mnt_flag & MNT_RDONLY, 0);
	if (ok("root of", mp->mnt_stat.f_mntfromname, VFS_ROOT(mp, &root))) {
		list_folder(root, l, "/pc/a");
		list_folder(root, l, "/pc/b");
		for (unsigned i = 0; i < l->count && !ktest_failed(); i++) {
			struct vnode *vp;
			uint64_t size;

			if (!open_at(root, l->path[i], &vp))
				break;
			ok("size", l->path[i], vn_size(vp, &size));
			printf("# pc file %s %lu %08x\n", l->path[i], size, checksum(vp, 0, size));
			vrele(vp);
		}
		vrele(root);
	}
	kfree(l, &M_POWERCUT);
}

KTEST(powercut, what_is_left_can_be_read)
{
	const char *word = cmdline_get("powercut");
	struct mount *mp;

	if (word == NULL || !streq(word, "read")) {
		ktest_skip("only with powercut=read");
		return;
	}
	pc.buf = kmalloc(BUF, &M_POWERCUT, M_WAITOK);
	for (struct disk *dk = disk_next(NULL); dk != NULL && !ktest_failed(); dk = disk_next(dk)) {
		if (rootfs != NULL && rootfs->mnt_devvp->v_disk == dk) {
			tell_files(rootfs);
		} else if (ok("mount", dk->dk_name, vfs_mount("ext2", dk, "", 0, &mp))) {
			tell_files(mp);
			ok("unmount", dk->dk_name, vfs_unmount(mp));
		}
	}
	kfree(pc.buf, &M_POWERCUT);
}
