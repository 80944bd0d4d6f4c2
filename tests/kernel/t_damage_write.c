/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Damaged volumes, written to.
 *
 * The last part of suite `damage` does to a damaged volume what programs do: creates, writes, cuts,
 * renames, links and removes, whatever it finds there and beside it, at random by the seed.  Any errno
 * is an answer.  What is not: a panic, a hang, a volume that cannot be unmounted, memory that is not
 * given back (the laws), or a new file whose bytes are others than were written and synced, where the
 * damage leaves the bitmaps and other files alone (damage=errors).
 *
 * The volume is the one that the word `volume=` names: the root itself, after the walk (t_damage.c); or a
 * disk beside a healthy root, and then each of its partitions in turn, so that one boot sees many
 * (tests/host/damage.py).
 */
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/damage.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_object.h"

static MALLOC_DEFINE(M_TDAMAGEW, "damage write tests");

#define MOUNTED_AT	"/dir"		/* of the healthy root */
#define PATHS_MAX	96
#define NAMES_MAX	24		/* of one directory */
#define PATH_BYTES	240
#define HELD_MAX	4		/* files in use while their names change */
#define ROUNDS		150
#define BYTES_MAX	(40 * KiB)	/* of one write */
#define KEPT		"kept"		/* names that begin so are left alone */
#define KEPT_FILES	3
#define KEPT_BYTES	(20 * KiB)	/* more than the direct blocks */
#define ERRNO_END	134		/* Linux has no errno from here on */

struct scribble {
	const char	*top;			/* where the volume is mounted; "": it is the root */
	char		 (*paths)[PATH_BYTES];	/* some of what is there; the first is the top */
	size_t		 npaths, next;
	struct vnode	*held[HELD_MAX];	/* referenced, or NULL */
	char		*buf;			/* BYTES_MAX */
	size_t		 done, refused;		/* operations */
	bool		 kept[KEPT_FILES];	/* written and synced without an error */
};

static const struct vattr file_attr = { .va_type = VREG, .va_mode = 0644 };
static const struct vattr dir_attr = { .va_type = VDIR, .va_mode = 0755 };

static uint64_t
below(uint64_t end)
{
	return (ktest_random() % end);
}

/* ---- what is there ---- */

struct listing {
	struct scribble	*s;
	const char	*dir;
	size_t		 names;
};

static int
take_path(void *arg, const struct dirent *de)
{
	struct listing *l = arg;
	struct scribble *s = l->s;

	if (streq(de->d_name, ".") || streq(de->d_name, "..") || strlen(l->dir) + de->d_namlen + 2 > PATH_BYTES ||
	    strncmp(de->d_name, KEPT, strlen(KEPT)) == 0)
		return (0);
	if (s->npaths == PATHS_MAX || l->names++ == NAMES_MAX)
		return (1);
	snprintf(s->paths[s->npaths++], PATH_BYTES, "%s/%s", l->dir, de->d_name);
	return (0);
}

static void
list(struct scribble *s, const char *dir)
{
	struct listing l = { .s = s, .dir = dir };
	struct vnode *vp;
	off_t off = 0;

	if (namei(*dir == '\0' ? "/" : dir, NULL, NAMEI_NOFOLLOW, &vp) != 0)
		return;
	VOP_LOCK(vp, LK_SHARED);
	if (vp->v_type == VDIR)
		(void)VOP_READDIR(vp, &off, take_path, &l);
	VOP_UNLOCK(vp);
	vrele(vp);
}

/* Some paths of the volume, breadth first. */
static void
look_around(struct scribble *s)
{
	strlcpy(s->paths[0], s->top, PATH_BYTES);
	s->npaths = 1;
	for (s->next = 0; s->next < s->npaths; s->next++)
		list(s, s->paths[s->next]);
}

/* A path that is there, or was, or never. */
static void
pick(const struct scribble *s, char *path)
{
	const char *there = s->paths[below(s->npaths)];

	if (below(3) == 0)
		snprintf(path, PATH_BYTES, "%s/n%lu", strlen(there) + 8 < PATH_BYTES ? there : s->top, below(20));
	else
		strlcpy(path, *there != '\0' ? there : "/", PATH_BYTES);
}

/* Sizes and offsets of every magnitude. */
static off_t
pick_size(void)
{
	return ((off_t)below(1ul << below(below(8) == 0 ? 44 : 20)));
}

/* ---- operations: any errno is an answer ---- */

static int
write_some(struct scribble *s, struct vnode *vp)
{
	size_t done;

	return (vn_write(vp, s->buf, 1 + below(BYTES_MAX), pick_size(), &done));
}

static int
op_create(struct scribble *s, const char *path, const char *other)
{
	struct vnode *vp;
	int error = vn_create(path, &file_attr, &vp);

	if (error == 0) {
		error = write_some(s, vp);
		vrele(vp);
	}
	return (error);
}

static int
with_file(struct scribble *s, const char *path, int (*fn)(struct scribble *, struct vnode *))
{
	struct vnode *vp;
	int error = namei(path, NULL, NAMEI_NOFOLLOW, &vp);

	if (error != 0)
		return (error);
	error = vp->v_type == VREG ? fn(s, vp) : EINVAL;
	vrele(vp);
	return (error);
}

static int
op_write(struct scribble *s, const char *path, const char *other)
{
	return (with_file(s, path, write_some));
}

static int
read_some(struct scribble *s, struct vnode *vp)
{
	size_t done;

	return (vn_read(vp, s->buf, BYTES_MAX, pick_size(), &done));
}

static int
op_read(struct scribble *s, const char *path, const char *other)
{
	return (with_file(s, path, read_some));
}

static int
cut(struct scribble *s, struct vnode *vp)
{
	return (vn_truncate(vp, below(4) == 0 ? 0 : pick_size()));
}

static int
op_cut(struct scribble *s, const char *path, const char *other)
{
	return (with_file(s, path, cut));
}

static int
fsync_one(struct scribble *s, struct vnode *vp)
{
	return (vn_fsync(vp));
}

static int
op_fsync(struct scribble *s, const char *path, const char *other)
{
	return (with_file(s, path, fsync_one));
}

/* Use a file from now on, instead of another. */
static int
hold(struct scribble *s, struct vnode *vp)
{
	struct vnode **slot = &s->held[below(HELD_MAX)];
	int error = *slot != NULL ? write_some(s, *slot) : 0;

	if (*slot != NULL)
		vrele(*slot);
	vref(vp);
	*slot = vp;
	return (error);
}

static int
op_hold(struct scribble *s, const char *path, const char *other)
{
	return (with_file(s, path, hold));
}

static int
op_mkdir(struct scribble *s, const char *path, const char *other)
{
	return (vn_mkdir(path, &dir_attr));
}

static int
op_remove(struct scribble *s, const char *path, const char *other)
{
	return (vn_remove(path));
}

static int
op_rmdir(struct scribble *s, const char *path, const char *other)
{
	return (vn_rmdir(path));
}

static int
op_rename(struct scribble *s, const char *path, const char *other)
{
	return (vn_rename(path, other));
}

static int
op_link(struct scribble *s, const char *path, const char *other)
{
	return (vn_link(path, other));
}

static int
op_symlink(struct scribble *s, const char *path, const char *other)
{
	return (vn_symlink(below(2) == 0 ? "short" : other, path));
}

static int
op_mode(struct scribble *s, const char *path, const char *other)
{
	struct vattr va = { .va_mode = (uint16_t)below(010000) };
	struct vnode *vp;
	int error = namei(path, NULL, NAMEI_NOFOLLOW, &vp);

	if (error != 0)
		return (error);
	VOP_LOCK(vp, LK_EXCLUSIVE);
	error = VOP_SETATTR(vp, &va, VA_MODE, &cred_kernel);
	VOP_UNLOCK(vp);
	vrele(vp);
	return (error);
}

static int
op_sync(struct scribble *s, const char *path, const char *other)
{
	return (vfs_sync_all(true));
}

/* Forget the pages of files that nobody uses, and look around again. */
static int
op_look(struct scribble *s, const char *path, const char *other)
{
	vm_object_cache_shrink(SIZE_MAX, true);
	look_around(s);
	return (0);
}

/* Remove what was seen last, each thing with what is in it first. */
static void
remove_all(struct scribble *s)
{
	look_around(s);
	for (size_t i = s->npaths; i-- > 1; ) {
		int error = vn_remove(s->paths[i]);

		if (error == EISDIR)
			error = vn_rmdir(s->paths[i]);
		s->done += error == 0;
		s->refused += error != 0;
	}
}

static int (*const operations[])(struct scribble *, const char *path, const char *other) = {
	op_create, op_create, op_write, op_write, op_read, op_cut, op_cut, op_fsync, op_hold, op_mkdir, op_remove, op_remove,
	op_rmdir, op_rename, op_rename, op_rename, op_link, op_symlink, op_mode, op_sync, op_look,
};

static void
scribble_once(struct scribble *s)
{
	char path[PATH_BYTES], other[PATH_BYTES];
	size_t which = below(nitems(operations));
	int error;

	pick(s, path);
	pick(s, other);
	error = operations[which](s, path, other);
	if (error < 0 || error >= ERRNO_END)
		ktest_fail(__FILE__, __LINE__, "operation %lu on %s answered %d", which, path, error);
	s->done += error == 0;
	s->refused += error != 0;
}

/* ---- what must be kept ---- */

static void
kept_path(const struct scribble *s, size_t i, char *path)
{
	snprintf(path, PATH_BYTES, "%s/" KEPT "%lu", s->top, i);
}

static void
keep(struct scribble *s)
{
	char path[PATH_BYTES];
	struct vnode *vp;
	size_t done;

	for (size_t i = 0; i < KEPT_FILES; i++) {
		kept_path(s, i, path);
		if (vn_create(path, &file_attr, &vp) != 0)
			continue;
		testfile_pattern(path, 0, s->buf, KEPT_BYTES);
		s->kept[i] = vn_write(vp, s->buf, KEPT_BYTES, 0, &done) == 0 && vn_fsync(vp) == 0;
		vrele(vp);
	}
}

/* Read what was kept, from the disk. */
static void
kept_verify(struct scribble *s)
{
	char path[PATH_BYTES], *want = s->buf + KEPT_BYTES;
	struct vnode *vp;
	size_t done;

	vm_object_cache_shrink(SIZE_MAX, true);
	for (size_t i = 0; i < KEPT_FILES; i++) {
		kept_path(s, i, path);
		if (!s->kept[i] || !CHECK_EQ(namei(path, NULL, 0, &vp), 0))
			continue;
		testfile_pattern(path, 0, want, KEPT_BYTES);
		CHECK_EQ(vn_read(vp, s->buf, KEPT_BYTES, 0, &done), 0);
		if (done != KEPT_BYTES || memcmp(s->buf, want, KEPT_BYTES) != 0)
			ktest_fail(__FILE__, __LINE__, "%s holds other bytes than were written and synced", path);
		vrele(vp);
	}
}

/* ---- the tests ---- */

void
scribble(const char *top, bool sound)
{
	struct scribble *s = kmalloc(sizeof(*s), &M_TDAMAGEW, M_WAITOK | M_ZERO);

	s->top = top;
	s->paths = kmalloc(PATHS_MAX * PATH_BYTES, &M_TDAMAGEW, M_WAITOK);
	s->buf = kmalloc(BYTES_MAX, &M_TDAMAGEW, M_WAITOK | M_ZERO);
	look_around(s);
	if (sound)
		keep(s);
	for (int i = 0; i < ROUNDS; i++)
		scribble_once(s);
	for (size_t i = 0; i < HELD_MAX; i++) {
		if (s->held[i] != NULL)
			vrele(s->held[i]);
	}
	(void)vfs_sync_all(true);
	remove_all(s);
	(void)vfs_sync_all(true);
	kept_verify(s);
	printf("# %lu operations were done, %lu refused\n", s->done, s->refused);
	kfree(s->buf, &M_TDAMAGEW);
	kfree(s->paths, &M_TDAMAGEW);
	kfree(s, &M_TDAMAGEW);
}

/* Mount a volume beside the root, write to it, and look at what became of it.  => covered: the directory MOUNTED_AT */
static void
scribble_beside(struct disk *disk, struct vnode *covered)
{
	struct mount *mp;

	printf("# %s\n", disk->dk_name);
	if (vfs_mount("ext2", disk, NULL, 0, &mp) != 0)
		return;
	if (CHECK_EQ(vfs_mount_on(mp, covered), 0))
		scribble(MOUNTED_AT, false);
	if (!CHECK_EQ(vfs_unmount(mp), 0))
		return;
	if (vfs_mount("ext2", disk, NULL, MNT_RDONLY, &mp) == 0) {
		(void)walk_volume(mp);
		CHECK_EQ(vfs_unmount(mp), 0);
	}
}

KTEST(damage, volumes_beside_the_root_are_written_to)
{
	const char *name = cmdline_get("volume");
	struct disk *disk = name != NULL ? disk_find(name) : NULL;
	struct vnode *covered;
	size_t parts = 0;

	if (cmdline_get("damage") == NULL || disk == NULL || rootfs == NULL ||
	    (rootfs->mnt_devvp != NULL && rootfs->mnt_devvp->v_disk == disk)) {
		ktest_skip("the words damage= and volume= name no disk beside a root");
		return;
	}
	CHECK_OR_RETURN(namei(MOUNTED_AT, NULL, 0, &covered) == 0);
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		if (dk->dk_whole == disk) {
			scribble_beside(dk, covered);
			parts++;
		}
	}
	if (parts == 0)
		scribble_beside(disk, covered);
	vrele(covered);
}
