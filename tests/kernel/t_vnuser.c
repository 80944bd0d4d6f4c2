/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * read, write and mappings of one file: they see the same bytes, at every alignment that could
 * matter, and a file may be read into, or written from, a mapping of itself.
 *
 * What would be wrong here would be a wait without end, so the pages involved are evicted first:
 * then both the copy's source and its target have to be brought in.
 */
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/scratch.h"
#include "tests/kernel/testfiles.h"
#include "tests/kernel/vmtest.h"
#include "vm/vm_check.h"

static MALLOC_DEFINE(M_TVNUSER, "vnuser tests");

#define RW	(VM_PROT_READ | VM_PROT_WRITE)
#define PAGES	48ul
#define ROUNDS	40

/* A file of PAGES pages with the pattern of its path, on the disk and not in memory. */
static struct vnode *
pattern_file(const char *path)
{
	uint8_t *bytes = kmalloc(PAGES * PAGE_SIZE, &M_TVNUSER, M_WAITOK);
	struct vnode *vp = scratch_create(path);
	size_t done;

	testfile_pattern(path, 0, bytes, PAGES * PAGE_SIZE);
	if (vp != NULL) {
		CHECK_EQ(vn_write(vp, bytes, PAGES * PAGE_SIZE, 0, &done), 0);
		CHECK_EQ(vn_fsync(vp), 0);
		vt_evict_file(vp);
	}
	kfree(bytes, &M_TVNUSER);
	return (vp);
}

static vm_offset_t
map_all(struct vnode *vp)
{
	return (vt_map(vp, 0, PAGES * PAGE_SIZE, RW, MAP_SHARED));
}

/* Does [va, + len) hold the bytes of [off, + len) of that pattern? */
static bool
holds(vm_offset_t va, const char *pattern, uint64_t off, size_t len)
{
	uint8_t *got = kmalloc(2 * PAGE_SIZE, &M_TVNUSER, M_WAITOK), *want = got + PAGE_SIZE;
	bool same = true;

	for (size_t at = 0; at < len && same; at += PAGE_SIZE) {
		size_t n = MIN(len - at, PAGE_SIZE);

		testfile_pattern(pattern, off + at, want, n);
		same = CHECK_EQ(copyin(va + at, got, n), 0) && memcmp(got, want, n) == 0;
	}
	kfree(got, &M_TVNUSER);
	return (same);
}

KTEST(vnuser, a_file_is_read_into_a_mapping_of_itself)
{
	struct vnode *vp;
	vm_offset_t va;
	size_t done;

	SCRATCH_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = pattern_file("/w/self");
	va = map_all(vp);
	/* From its front to its back, from its back to its front, and a page into itself. */
	CHECK_EQ(vn_read_user(vp, va + 24 * PAGE_SIZE, 20 * PAGE_SIZE, 0, &done), 0);
	CHECK_EQ(done, 20 * PAGE_SIZE);
	CHECK(holds(va + 24 * PAGE_SIZE, "/w/self", 0, 20 * PAGE_SIZE));
	CHECK_EQ(vn_read_user(vp, va + 100, 3 * PAGE_SIZE, 45 * PAGE_SIZE - 700, &done), 0);
	CHECK_EQ(done, 3 * PAGE_SIZE);
	CHECK(holds(va + 100, "/w/self", 45 * PAGE_SIZE - 700, 3 * PAGE_SIZE));
	CHECK_EQ(vn_read_user(vp, va + 10 * PAGE_SIZE, PAGE_SIZE, 10 * PAGE_SIZE, &done), 0);
	CHECK(holds(va + 10 * PAGE_SIZE, "/w/self", 10 * PAGE_SIZE, PAGE_SIZE));
	/* It is the file's contents now, not only memory's. */
	CHECK_EQ(vn_fsync(vp), 0);
	vt_evict_file(vp);
	CHECK(holds(va + 24 * PAGE_SIZE, "/w/self", 0, 20 * PAGE_SIZE));
	vt_end();
	vrele(vp);
	scratch_leave();
}

KTEST(vnuser, a_file_is_written_from_a_mapping_of_itself)
{
	struct vnode *vp;
	vm_offset_t va;
	uint64_t size;
	size_t done;

	SCRATCH_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = pattern_file("/w/self");
	va = map_all(vp);
	CHECK_EQ(vn_write_user(vp, va + 77, 10 * PAGE_SIZE, 20 * PAGE_SIZE + 3, &done), 0);
	CHECK_EQ(done, 10 * PAGE_SIZE);
	CHECK(holds(va + 20 * PAGE_SIZE + 3, "/w/self", 77, 10 * PAGE_SIZE));
	/* and it grows by it */
	vt_evict_file(vp);
	CHECK_EQ(vn_write_user(vp, va, 8 * PAGE_SIZE, PAGES * PAGE_SIZE + 5, &done), 0);
	CHECK_EQ(vn_size(vp, &size), 0);
	CHECK_EQ(size, (PAGES + 8) * PAGE_SIZE + 5);
	vt_end();
	vrele(vp);
	scratch_leave();
}

/* ---- crosswise ---- */

struct crossing {
	struct vt_job	 job;
	struct vnode	*from, *into;
	const char	*pattern;
};

/* Read one file into the mapping of the other, again and again; what is read is evicted before. */
static void
cross(struct vt_job *job)
{
	struct crossing *c = job->arg;
	struct vm_object *object = vt_object(c->from);
	size_t len = 16 * PAGE_SIZE, done;
	vm_offset_t to = job->va + 8 * PAGE_SIZE;
	off_t off = 32 * PAGE_SIZE;

	job->error = 0;
	for (int n = 0; n < ROUNDS && job->error == 0; n++) {
		vt_evict(object, 32, PAGES);
		job->error = vn_read_user(c->from, to, len, off, &done);
		if (job->error == 0 && (done != len || !holds(to, c->pattern, (uint64_t)off, len)))
			job->error = EIO;
		if (job->error == 0 && n % 8 == 0)
			job->error = vn_fsync(c->into);
	}
	vm_object_deallocate(object);
}

KTEST(vnuser, two_threads_read_two_files_crosswise)
{
	struct crossing a, b;
	struct vmspace *vm;
	vm_offset_t va, vb;

	SCRATCH_OR_SKIP();
	vm = vt_begin();
	CHECK(vm != NULL);
	a = (struct crossing){ .job = { .fn = cross, .vm = vm, .arg = &a }, .pattern = "/w/a" };
	b = (struct crossing){ .job = { .fn = cross, .vm = vm, .arg = &b }, .pattern = "/w/b" };
	a.from = pattern_file(a.pattern);
	b.from = pattern_file(b.pattern);
	a.into = b.from;
	b.into = a.from;
	va = map_all(a.from);
	vb = map_all(b.from);
	a.job.va = vb;
	b.job.va = va;
	vt_start(&a.job, "t-cross");
	vt_start(&b.job, "t-cross");
	vt_finish(&a.job);
	vt_finish(&b.job);
	CHECK_EQ(a.job.error, 0);
	CHECK_EQ(b.job.error, 0);
	vm_check();
	vt_end();
	vrele(a.from);
	vrele(b.from);
	scratch_leave();
}

/* ---- memory that ends ---- */

KTEST(vnuser, memory_that_ends_stops_the_copy_there)
{
	struct vnode *vp;
	vm_offset_t va;
	size_t done;

	SCRATCH_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = pattern_file("/w/self");
	va = vt_map(vp, 0, 20 * PAGE_SIZE, RW, MAP_PRIVATE);
	CHECK_EQ(vm_munmap(curthread->vmspace, va + 18 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
	CHECK_EQ(vn_read_user(vp, va + 17 * PAGE_SIZE + 96, 5 * PAGE_SIZE, 0, &done), 0);
	CHECK_EQ(done, PAGE_SIZE - 96);
	CHECK(holds(va + 17 * PAGE_SIZE + 96, "/w/self", 0, done));
	CHECK_EQ(vn_read_user(vp, va + 18 * PAGE_SIZE, 1, 0, &done), EFAULT);
	CHECK_EQ(vn_write_user(vp, va + 18 * PAGE_SIZE, 1, 0, &done), EFAULT);
	CHECK_EQ(vn_write_user(vp, VM_USER_MAX - 1, 2, 0, &done), EFAULT);
	CHECK_EQ(done, 0);
	CHECK_EQ(vn_read_user(vp, va, PAGE_SIZE, (PAGES - 1) * PAGE_SIZE + 4000, &done), 0);
	CHECK_EQ(done, 96);		/* the file ends there */
	CHECK_EQ(vn_read_user(vp, va, PAGE_SIZE, PAGES * PAGE_SIZE, &done), 0);
	CHECK_EQ(done, 0);
	vt_end();
	vrele(vp);
	scratch_leave();
}

/* ---- the same bytes ---- */

/* Places around sectors, blocks, pages and the end of the file. */
static size_t
edges(size_t at[], size_t end)
{
	const size_t units[] = { DEV_BSIZE, scratch_bsize(), PAGE_SIZE, end };
	size_t n = 0;

	for (size_t u = 0; u < nitems(units); u++)
		for (int d = -1; d <= 1; d++)
			if (units[u] + (size_t)d < end)
				at[n++] = units[u] + (size_t)d;
	return (n);
}

KTEST(vnuser, read_write_and_mapping_see_each_other_at_every_edge)
{
	size_t end = 2 * MAX((size_t)scratch_bsize(), PAGE_SIZE) + 777;
	size_t at[16], n = edges(at, end), done;
	uint8_t bytes[1100], got[1100], value = 0;
	struct vnode *vp;
	vm_offset_t va;

	SCRATCH_OR_SKIP();
	CHECK(vt_begin() != NULL);
	vp = scratch_create("/w/edges");
	CHECK_EQ(vn_truncate(vp, (off_t)end), 0);
	va = vt_map(vp, 0, round_page(end), RW, MAP_SHARED);
	for (size_t i = 0; i < n && !ktest_failed(); i++) {
		const size_t lens[] = { 1, 2, DEV_BSIZE, DEV_BSIZE + 1, sizeof(bytes) };

		for (size_t l = 0; l < nitems(lens) && !ktest_failed(); l++) {
			size_t len = MIN(lens[l], end - at[i]);

			memset(bytes, ++value, len);
			CHECK_EQ(vn_write(vp, bytes, len, (off_t)at[i], &done), 0);
			/* written, seen in the mapping */
			CHECK_EQ(copyin(va + at[i], got, len), 0);
			CHECK_EQ(memcmp(got, bytes, len), 0);
			if ((i + l) % 3 == 0) {
				CHECK_EQ(vn_fsync(vp), 0);
				vt_evict_file(vp);
			}
			memset(bytes, ++value, len);
			/* stored, seen by read */
			CHECK_EQ(copyout(bytes, va + at[i], len), 0);
			CHECK_EQ(vn_read(vp, got, len, (off_t)at[i], &done), 0);
			CHECK_EQ(done, len);
			CHECK_EQ(memcmp(got, bytes, len), 0);
			if ((i + l) % 2 == 0) {
				CHECK_EQ(vn_fsync(vp), 0);
				vt_evict_file(vp);
				/* and it reached the disk */
				CHECK_EQ(copyin(va + at[i], got, len), 0);
				CHECK_EQ(memcmp(got, bytes, len), 0);
			}
		}
	}
	vt_end();
	vrele(vp);
	scratch_leave();
}
