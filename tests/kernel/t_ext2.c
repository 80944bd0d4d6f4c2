/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ext2 as the test volume shows it: every file's bytes, every block's place, every name, and one
 * vnode for each inode.
 *
 * Where the bytes come from is proved twice, by ways that share as little as possible: VOP_READ
 * goes through the object and the pager; the block test asks VOP_BMAP and reads that block straight
 * from the disk.  Both are held against what the host wrote.
 */
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/testfiles.h"

static MALLOC_DEFINE(M_TEXT2, "ext2 tests");

#define WHOLE_MAX	(8 * MiB)	/* read files up to this size in full */
#define BLOCKS_MAX	1500		/* look at so many blocks of one file */

/* Files that QEMU was told to break are other tests' business. */
static bool
is_broken(const struct testfile *tf)
{
	return (streq(tf->kind, "err") && cmdline_has("ioerr"));
}

/* Read around a place: a bit of what lies on both sides. */
static bool
read_around(struct vnode *vp, const struct testfile *tf, uint64_t off)
{
	uint64_t from = off > 3000 ? off - 3000 : 0;

	return (testfile_read_verify(vp, tf->path, from, 6000));
}

KTEST(ext2, every_file_reads_as_the_host_wrote_it)
{
	TESTFILES_OR_SKIP();
	for (size_t i = 0; i < testfile_count(); i++) {
		const struct testfile *tf = testfile_at(i);
		struct vnode *vp = testfile_open(tf->path);
		uint64_t size;
		bool good;

		if (vp == NULL)
			continue;
		CHECK_EQ(vn_size(vp, &size), 0);
		CHECK_EQ(size, tf->size);
		if (is_broken(tf)) {
			vrele(vp);
			continue;
		}
		if (tf->size <= WHOLE_MAX) {
			good = testfile_read_verify(vp, tf->path, 0, tf->size + 1000);
		} else {
			good = read_around(vp, tf, 0) && read_around(vp, tf, tf->size);
			for (size_t e = 0; e < tf->nextents && good; e++)
				good = read_around(vp, tf, tf->extents[e].off) &&
				    read_around(vp, tf, tf->extents[e].off + tf->extents[e].len);
			for (int n = 0; n < 20 && good; n++)
				good = read_around(vp, tf, ktest_random() % tf->size);
		}
		vrele(vp);
		CHECK(good);
	}
}

/* ---- blocks ---- */

/*
 * The run around a hole must be one in the manifest, too, except for blocks of zeros that have
 * their place on disk.
 */
static void
check_hole_run(const struct testfile *tf, uint64_t lbn, uint32_t bsize, const struct bmap *bm)
{
	uint64_t start, end, first = (lbn - bm->behind) * bsize;
	uint64_t last = MIN((lbn + bm->ahead + 1) * bsize, tf->size) - 1;

	if (testfile_piece(tf->path, lbn * bsize, &start, &end) || first < start || last >= end)
		ktest_fail(__FILE__, __LINE__, "%s: hole of blocks %lu to %lu; the gap is bytes %lu to %lu", tf->path,
		    lbn - bm->behind, lbn + bm->ahead, start, end);
}

/*
 * Block lbn of a file: it lies where the bytes are, or is a hole where they are zero, and its run
 * tells the truth.
 *
 * => buf: room for a block.  Returns how many blocks may be skipped (holes of a huge file).
 */
static uint64_t
check_block(struct vnode *vp, const struct testfile *tf, uint64_t lbn, char *buf)
{
	uint32_t bsize = vp->v_mount->mnt_stat.f_iosize;
	uint64_t off = lbn * bsize, eof = howmany(tf->size, (uint64_t)bsize);
	size_t len = MIN(bsize, tf->size - off);
	struct bmap bm = { .blkno = -1 }, far = { .blkno = -1 };
	struct vnode *devvp = NULL;

	VOP_LOCK(vp, LK_SHARED);
	CHECK_EQ(VOP_BMAP(vp, (daddr_t)lbn, &devvp, &bm), 0);
	CHECK_EQ(VOP_BMAP(vp, (daddr_t)(lbn + bm.ahead), NULL, &far), 0);
	VOP_UNLOCK(vp);
	CHECK(lbn + bm.ahead < eof);
	CHECK(bm.behind <= lbn);
	CHECK_EQ(far.hole, bm.hole);
	/* it sees us, if it looks so far */
	CHECK(far.behind >= MIN(bm.ahead, (uint32_t)(2 * MAXPHYS / bsize)));
	if (bm.hole) {
		check_hole_run(tf, lbn, bsize, &bm);
		memset(buf, 0, len);
	} else {
		CHECK_EQ(far.blkno, bm.blkno + (daddr_t)(bm.ahead * (bsize / DEV_BSIZE)));
		if (!CHECK(devvp != NULL) ||
		    !CHECK_EQ(disk_rw(devvp->v_disk, (uint64_t)bm.blkno, buf, bsize, B_READ), 0))
			return (bm.ahead);
	}
	testfile_verify(tf->path, off, buf, len);
	return (bm.hole && tf->size > WHOLE_MAX ? bm.ahead : 0);
}

KTEST(ext2, every_block_lies_where_bmap_says)
{
	char *buf;

	TESTFILES_OR_SKIP();
	buf = kmalloc(EXT2_BLOCK_SIZE_MAX, &M_TEXT2, M_WAITOK);
	for (size_t i = 0; i < testfile_count() && !ktest_failed(); i++) {
		const struct testfile *tf = testfile_at(i);
		struct vnode *vp = testfile_open(tf->path);
		uint64_t blocks;

		if (vp == NULL || is_broken(tf)) {
			if (vp != NULL)
				vrele(vp);
			continue;
		}
		blocks = howmany(tf->size, (uint64_t)vp->v_mount->mnt_stat.f_iosize);
		for (uint64_t lbn = 0, n = 0; lbn < blocks && n < BLOCKS_MAX && !ktest_failed(); lbn++, n++)
			lbn += check_block(vp, tf, lbn, buf);
		for (int n = 0; n < 50 && blocks > BLOCKS_MAX && !ktest_failed(); n++)
			check_block(vp, tf, ktest_random() % blocks, buf);
		if (ktest_failed())
			printf("# at %s\n", tf->path);
		vrele(vp);
	}
	kfree(buf, &M_TEXT2);
}

KTEST(ext2, bmap_knows_its_ends)
{
	struct ext2_mount *em;
	struct bmap bm;
	struct vnode *vp;
	uint64_t pointers, eof;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/seq");
	CHECK_OR_RETURN(vp != NULL);
	em = MTOE(vp->v_mount);
	pointers = 1ul << em->em_ptr_shift;
	eof = howmany(testfile_find("/t/seq")->size, (uint64_t)em->em_bsize);
	VOP_LOCK(vp, LK_SHARED);
	CHECK_EQ(VOP_BMAP(vp, (daddr_t)(eof - 1), NULL, &bm), 0);
	CHECK(!bm.hole);
	CHECK_EQ(bm.ahead, 0);
	CHECK_EQ(VOP_BMAP(vp, (daddr_t)eof, NULL, &bm), 0);
	CHECK(bm.hole);
	CHECK_EQ(bm.ahead, 0);
	CHECK_EQ(VOP_BMAP(vp, -1, NULL, &bm), EINVAL);
	CHECK_EQ(VOP_BMAP(vp, (daddr_t)(11 + pointers + pointers * pointers + pointers * pointers * pointers),
	    NULL, &bm), 0);
	CHECK_EQ(VOP_BMAP(vp, (daddr_t)(12 + pointers + pointers * pointers + pointers * pointers * pointers),
	    NULL, &bm), EFBIG);
	CHECK_EQ(VOP_BMAP(vp, INT64_MAX, NULL, &bm), EFBIG);
	VOP_UNLOCK(vp);
	vrele(vp);
}

/* ---- directories ---- */

#define MANY	500

struct listing {
	uint32_t	seen[MANY];
	uint32_t	dots, others;
	uint32_t	limit;		/* stop after so many entries; 0: never */
	uint32_t	taken;
};

/* "entryNNN" followed by NNN % 23 letters x, or -1. */
static int
entry_number(const struct dirent *de)
{
	char name[64];
	int n;

	if (de->d_namlen < 8 || memcmp(de->d_name, "entry", 5) != 0)
		return (-1);
	n = (int)strtou64(de->d_name + 5, NULL, 10);
	snprintf(name, sizeof(name), "entry%03d%.*s", n, n % 23, "xxxxxxxxxxxxxxxxxxxxxxx");
	return (n < MANY && streq(de->d_name, name) ? n : -1);
}

static int
list_entry(void *arg, const struct dirent *de)
{
	struct listing *l = arg;
	int n = entry_number(de);

	if (l->limit != 0 && l->taken == l->limit)
		return (1);
	l->taken++;
	CHECK_EQ(strlen(de->d_name), de->d_namlen);
	if (n >= 0)
		l->seen[n]++;
	else if (streq(de->d_name, ".") || streq(de->d_name, ".."))
		l->dots++;
	else
		l->others++;
	return (0);
}

static void
check_listing(const struct listing *l)
{
	for (int n = 0; n < MANY; n++) {
		if (l->seen[n] != 1)
			ktest_fail(__FILE__, __LINE__, "entry %d listed %u times", n, l->seen[n]);
	}
	CHECK_EQ(l->dots, 2);
	CHECK_EQ(l->others, 0);
}

KTEST(ext2, directory_lists_each_entry_once)
{
	struct listing *l;
	struct vnode *vp;
	off_t off = 0;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/many");
	CHECK_OR_RETURN(vp != NULL);
	l = kmalloc(sizeof(*l), &M_TEXT2, M_WAITOK | M_ZERO);
	VOP_LOCK(vp, LK_SHARED);
	CHECK_EQ(VOP_READDIR(vp, &off, list_entry, l), 0);
	VOP_UNLOCK(vp);
	check_listing(l);
	CHECK(vp->v_object == NULL);		/* directories are metadata: no pages */
	kfree(l, &M_TEXT2);
	vrele(vp);
}

KTEST(ext2, directory_listing_can_stop_and_go_on)
{
	struct listing *l;
	struct vnode *vp;
	off_t off = 0, before;
	int rounds = 0;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/many");
	CHECK_OR_RETURN(vp != NULL);
	l = kmalloc(sizeof(*l), &M_TEXT2, M_WAITOK | M_ZERO);
	do {
		before = off;
		l->limit = 7;
		l->taken = 0;
		VOP_LOCK(vp, LK_SHARED);
		CHECK_EQ(VOP_READDIR(vp, &off, list_entry, l), 0);
		VOP_UNLOCK(vp);
		rounds++;
	} while (off != before && rounds < MANY);
	CHECK(rounds > MANY / 7);
	check_listing(l);
	kfree(l, &M_TEXT2);
	vrele(vp);
}

KTEST(ext2, long_names_work_up_to_255_bytes)
{
	char path[3 + 256 + 1] = "/t/", bytes[100], want[100];
	struct vnode *vp;
	size_t done = 0;

	TESTFILES_OR_SKIP();
	memset(path + 3, 'n', 256);
	CHECK_EQ(namei(path, NULL, 0, &vp), ENAMETOOLONG);
	path[3 + 255] = '\0';
	vp = testfile_open(path);
	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(vn_read(vp, bytes, sizeof(bytes), 0, &done), 0);
	CHECK_EQ(done, sizeof(bytes));
	testfile_pattern(path, 0, want, sizeof(want));
	CHECK_EQ(memcmp(bytes, want, sizeof(want)), 0);
	vrele(vp);
}

/* ---- vnodes ---- */

KTEST(ext2, hard_links_share_one_vnode)
{
	struct vnode *seq, *hard;
	struct vattr va;

	TESTFILES_OR_SKIP();
	seq = testfile_open("/t/seq");
	hard = testfile_open("/t/hard");
	if (CHECK(seq != NULL && hard != NULL)) {
		CHECK_EQ((uintptr_t)seq, (uintptr_t)hard);
		VOP_LOCK(seq, LK_SHARED);
		CHECK_EQ(VOP_GETATTR(seq, &va), 0);
		VOP_UNLOCK(seq);
		CHECK_EQ(va.va_nlink, 2);
		CHECK_EQ(va.va_type, VREG);
		CHECK_EQ(va.va_fileid, seq->v_ino);
	}
	if (seq != NULL)
		vrele(seq);
	if (hard != NULL)
		vrele(hard);
}

KTEST(ext2, idle_vnode_keeps_its_identity)
{
	struct vnode *first, *again;
	uint32_t id;

	TESTFILES_OR_SKIP();
	first = testfile_open("/t/many/entry000");
	CHECK_OR_RETURN(first != NULL);
	id = first->v_id;
	vrele(first);
	again = testfile_open("/t/many/entry000");
	CHECK_OR_RETURN(again != NULL);
	CHECK_EQ((uintptr_t)again, (uintptr_t)first);
	CHECK_EQ(again->v_id, id);
	vrele(again);
}

/* Look up all files of /t/many by the names that they have. */
static void
look_up_many(void)
{
	char path[64];
	struct vnode *vp;

	for (int n = 0; n < MANY && !ktest_failed(); n++) {
		snprintf(path, sizeof(path), "/t/many/entry%03d%.*s", n, n % 23, "xxxxxxxxxxxxxxxxxxxxxxx");
		vp = testfile_open(path);
		if (vp == NULL)
			return;
		CHECK_EQ(vp->v_type, VREG);
		vrele(vp);
	}
}

KTEST(ext2, vnodes_are_recycled_and_come_back)
{
	struct cache_stats before, after;
	struct vnode *vp;
	int inuse, count;
	uint32_t id;
	ino_t ino;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/many/entry000");
	CHECK_OR_RETURN(vp != NULL);
	ino = vp->v_ino;
	id = vp->v_id;
	vrele(vp);
	look_up_many();
	inuse = vnode_inuse();
	count = vnode_count();
	CHECK(count - inuse >= 100);
	cache_get_stats(&before);
	CHECK_EQ(vnode_shrink(INT32_MAX), count - inuse);
	cache_get_stats(&after);
	CHECK(after.entries + 100 <= before.entries);	/* their names went with them */
	CHECK_EQ(vnode_count(), inuse);
	CHECK_EQ(vnode_inuse(), inuse);
	look_up_many();
	vp = testfile_open("/t/many/entry000");
	CHECK_OR_RETURN(vp != NULL);
	CHECK_EQ(vp->v_ino, ino);
	CHECK(vp->v_id != id);
	vrele(vp);
	CHECK_EQ(vnode_inuse(), inuse);
}

KTEST(ext2, a_small_file_does_not_touch_the_metadata_cache)
{
	struct bio_stats before, after;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	vp = testfile_open("/t/tiny");		/* its inode is read here */
	CHECK_OR_RETURN(vp != NULL);
	bio_get_stats(&before);
	testfile_read_verify(vp, "/t/tiny", 0, 100);
	bio_get_stats(&after);
	CHECK_EQ(after.hits + after.misses, before.hits + before.misses);
	vrele(vp);
}

#define FINDERS	8

struct finder {
	struct thread	*td;
	struct vnode	*vp;
	int		 error;
};

static volatile bool finders_go;

static void
find_one(void *arg)
{
	struct finder *f = arg;

	while (!finders_go)
		thread_yield();
	f->error = namei("/t/d1/d2/d3/deep", NULL, 0, &f->vp);
}

/* All look for a file that nobody knows yet, at once. */
static void
find_together(void)
{
	struct finder finders[FINDERS] = { 0 };

	finders_go = false;
	for (int i = 0; i < FINDERS; i++)
		finders[i].td = thread_create("finder", PRI_KERNEL, find_one, &finders[i]);
	vnode_shrink(INT32_MAX);
	bio_shrink(SIZE_MAX / PAGE_SIZE);
	finders_go = true;
	for (int i = 0; i < FINDERS; i++) {
		if (CHECK(finders[i].td != NULL))
			thread_join(finders[i].td);
		CHECK_EQ(finders[i].error, 0);
		CHECK_EQ((uintptr_t)finders[i].vp, (uintptr_t)finders[0].vp);
	}
	for (int i = 0; i < FINDERS; i++) {
		if (finders[i].td != NULL && finders[i].error == 0)
			vrele(finders[i].vp);
	}
}

KTEST(ext2, many_threads_find_the_same_vnode)
{
	TESTFILES_OR_SKIP();
	for (int n = 0; n < 5 && !ktest_failed(); n++)
		find_together();
}
