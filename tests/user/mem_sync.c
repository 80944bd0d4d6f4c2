/* SPDX-License-Identifier: BSD-2-Clause */
/* msync, mlock and what they refuse. */
#define _GNU_SOURCE
#include "probe.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define RW	(PROT_READ | PROT_WRITE)
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static void
syncing(void)
{
	int fd = scratch_file(NULL, 8 * PAGE);
	unsigned char *p = map(8 * PAGE, RW, MAP_SHARED, fd, 0), byte;

	p[5 * PAGE] = 0xa1;
	fact("SYNC", "%s", result(msync(p, 8 * PAGE, MS_SYNC)));
	need(pread(fd, &byte, 1, 5 * PAGE) == 1, "pread");
	fact("the byte", "0x%02x", byte);
	fact("SYNC of a part", "%s", result(msync(p + 5 * PAGE, 1, MS_SYNC)));
	fact("ASYNC", "%s", result(msync(p, 8 * PAGE, MS_ASYNC)));
	fact("INVALIDATE", "%s", result(msync(p, 8 * PAGE, MS_INVALIDATE)));
	fact("keeps the byte", "%s", load(p + 5 * PAGE));
	fact("SYNC and ASYNC", "%s", result(msync(p, PAGE, MS_SYNC | MS_ASYNC)));
	fact("unknown flag", "%s", result(msync(p, PAGE, 64)));
	fact("misaligned", "%s", result(msync(p + 1, PAGE, MS_SYNC)));
	fact("nothing", "%s", result(msync(p, 0, MS_SYNC)));
	fact("anonymous memory", "%s", result(msync(map(PAGE, RW, ANON, -1, 0), PAGE, MS_SYNC)));
	p[6 * PAGE] = 0xa2;
	need(munmap(p + 2 * PAGE, PAGE) == 0, "munmap");
	fact("over a hole", "%s", result(msync(p, 8 * PAGE, MS_SYNC)));
	need(pread(fd, &byte, 1, 6 * PAGE) == 1, "pread");
	fact("the byte behind it", "0x%02x", byte);
	fact("a hole alone", "%s", result(msync(p + 2 * PAGE, PAGE, MS_SYNC)));
	fact("fsync, fdatasync", "%s %s", result(fsync(fd)), result(fdatasync(fd)));
	fact("fsync of nothing", "%s", result(fsync(-1)));
}

static void
locking(void)
{
	int fd = scratch_file(NULL, 4 * PAGE);
	unsigned char *p = map(4 * PAGE, RW, MAP_SHARED, fd, 0), *a = map(4 * PAGE, RW, ANON, -1, 0), vec[4];

	fact("mlock of a file's pages", "%s", result(mlock(p, 4 * PAGE)));
	fact("all there", "%d", mincore(p, 4 * PAGE, vec) == 0 && (vec[0] & vec[1] & vec[2] & vec[3] & 1));
	fact("INVALIDATE of locked pages", "%s", result(msync(p, 4 * PAGE, MS_INVALIDATE)));
	fact("DONTNEED of locked pages", "%s", result(madvise(p, PAGE, MADV_DONTNEED)));
	need(ftruncate(fd, PAGE) == 0, "ftruncate");
	fact("locked, then cut off", "%s %s", load(p), load(p + 2 * PAGE));
	fact("munlock of what was cut off", "%s", result(munlock(p, 4 * PAGE)));
	need(ftruncate(fd, 4 * PAGE) == 0, "ftruncate");
	fact("grown again", "%s", load(p + 2 * PAGE));
	fact("mlock of anonymous memory", "%s", result(mlock(a, 3 * PAGE)));
	fact("is there, as zeros", "%d %d", mincore(a, 3 * PAGE, vec) == 0 && (vec[0] & vec[1] & vec[2] & 1),
	    all_bytes(a, 3 * PAGE, 0));
	fact("munlock", "%s", result(munlock(a, 3 * PAGE)));
	fact("munlock again", "%s", result(munlock(a, 3 * PAGE)));
	need(munmap(a + PAGE, PAGE) == 0, "munmap");
	fact("mlock over a hole", "%s", result(mlock(a, 4 * PAGE)));
	fact("mlock of nothing", "%s", result(mlock(a, 0)));
	fact("munmap of locked pages", "%s", result(munmap(a, 4 * PAGE)));
	fact("mlockall, munlockall", "%s %s", result(mlockall(MCL_CURRENT)), result(munlockall()));
	fact("mlockall of nothing", "%s", result(mlockall(0)));
}

static int
child_of_locked(void *arg)
{
	unsigned char *p = arg;

	p[0] = 0xb2;
	return (p[0] == 0xb2 && p[PAGE] == 0xb1 ? 0 : 1);
}

static void
fork_with_locked_pages(void)
{
	unsigned char *p = map(2 * PAGE, RW, ANON, -1, 0);

	memset(p, 0xb1, 2 * PAGE);
	need(mlock(p, 2 * PAGE) == 0, "mlock");
	fact("fork with locked pages", "%s", status_text(in_child(child_of_locked, p)));
	fact("the parent's", "%s", load(p));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	syncing();
	locking();
	fork_with_locked_pages();
	return (0);
}
