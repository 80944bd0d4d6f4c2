/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * read(2) and write(2) between a file and a mapping of itself, and between two files and mappings of each other: what a
 * kernel that held the file during the copy would wait for without end.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES	48ul
#define ROUNDS	100

/* On the disk and, as far as advice can do that, out of memory. */
static void
to_disk(int fd, void *p, size_t len)
{
	need(fsync(fd) == 0 && madvise(p, len, MADV_DONTNEED) == 0, "fsync, madvise");
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void
into_itself(void)
{
	int fd = scratch_file(NULL, PAGES * PAGE);
	unsigned char *p = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	to_disk(fd, p, PAGES * PAGE);
	fact("front to back", "%ld", (long)pread(fd, p + 24 * PAGE, 20 * PAGE, 0));
	fact("the bytes", "%d %d", all_pattern(p + 24 * PAGE, 20 * PAGE, 0), all_pattern(p, 24 * PAGE, 0));
	to_disk(fd, p, PAGES * PAGE);
	fact("back to front, across pages", "%ld", (long)pread(fd, p + 100, 3 * PAGE, 45 * PAGE - 700));
	fact("the bytes", "%d", all_pattern(p + 100, 3 * PAGE - PAGE, 45 * PAGE - 700));
	to_disk(fd, p, PAGES * PAGE);
	fact("a page into itself", "%ld", (long)pread(fd, p + 10 * PAGE, PAGE, 10 * PAGE));
	fact("the bytes", "%d", all_pattern(p + 10 * PAGE, PAGE, 10 * PAGE));
}

static void
from_itself(void)
{
	int fd = scratch_file(NULL, PAGES * PAGE);
	unsigned char *p = map((PAGES + 9) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	to_disk(fd, p, PAGES * PAGE);
	fact("written from its own mapping", "%ld", (long)pwrite(fd, p + 77, 10 * PAGE, 20 * PAGE + 3));
	fact("the bytes", "%d", all_pattern(p + 20 * PAGE + 3, 10 * PAGE, 77));
	to_disk(fd, p, PAGES * PAGE);
	fact("and it grows by it", "%ld, to %ld", (long)pwrite(fd, p, 8 * PAGE, PAGES * PAGE + 5), (long)lseek(fd, 0, SEEK_END));
	fact("the bytes", "%d", all_pattern(p + PAGES * PAGE + 5, 8 * PAGE, 0));
}

static void
privately(void)
{
	int fd = scratch_file(NULL, PAGES * PAGE);
	unsigned char *p = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), byte = 0;

	to_disk(fd, p, PAGES * PAGE);
	fact("into a private mapping", "%ld", (long)pread(fd, p + 30 * PAGE, 16 * PAGE, PAGE));
	fact("the bytes", "%d", all_pattern(p + 30 * PAGE, 16 * PAGE, PAGE));
	need(pread(fd, &byte, 1, 30 * PAGE + 9) == 1, "pread");
	fact("the file kept its own", "%d", byte == pattern(30 * PAGE + 9));
}

/* ---- crosswise ---- */

struct crossing {
	int		 from, into;
	unsigned char	*mapped_from, *mapped_into;
	long		 right;
};

/* Again and again: the last third of one file into the first third of the other's mapping. */
static void *
cross(void *arg)
{
	struct crossing *c = arg;
	unsigned char *to = c->mapped_into;
	size_t len = 16 * PAGE, off = 32 * PAGE;

	c->right = 0;
	for (int i = 0; i < ROUNDS; i++) {
		(void)madvise(c->mapped_from + off, len, MADV_DONTNEED);
		memset(to, 0, PAGE);
		c->right += pread(c->from, to, len, (off_t)off) == (ssize_t)len && all_pattern(to, len, off);
		if (i % 16 == 0)
			(void)fsync(c->into);
	}
	return (NULL);
}

static int
cross_in_child(void *arg)
{
	cross(arg);
	return (((struct crossing *)arg)->right == ROUNDS ? 7 : 1);
}

static void
crosswise(void)
{
	int a = scratch_file(NULL, PAGES * PAGE), b = scratch_file(NULL, PAGES * PAGE);
	unsigned char *pa = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0);
	unsigned char *pb = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
	struct crossing one = { a, b, pa, pb, 0 }, other = { b, a, pb, pa, 0 };
	pthread_t thread;
	int status;
	pid_t pid;

	need(pthread_create(&thread, NULL, cross, &other) == 0, "pthread_create");
	cross(&one);
	pthread_join(thread, NULL);
	fact("two threads crosswise", "%ld %ld", one.right, other.right);
	pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0)
		_exit(cross_in_child(&other));
	cross(&one);
	need(waitpid(pid, &status, 0) == pid, "wait");
	fact("two processes crosswise", "%ld, %s", one.right, status_text(status));
}

static void
memory_that_ends(void)
{
	int fd = scratch_file(NULL, PAGES * PAGE);
	unsigned char *p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *beyond;

	need(munmap(p + 4 * PAGE, PAGE) == 0, "munmap");
	fact("read up to a hole", "%ld", (long)pread(fd, p + 2 * PAGE + 10, 4 * PAGE, 0));
	fact("read into the hole", "%s", result(pread(fd, p + 4 * PAGE, 1, 0)));
	fact("written from the hole", "%s", result(pwrite(fd, p + 4 * PAGE, 1, 0)));
	fact("read at the end into the hole", "%s", result(pread(fd, p + 4 * PAGE, 1, PAGES * PAGE)));
	beyond = map((PAGES + 2) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fact("read into a page past the end", "%s", result(pread(fd, beyond + (PAGES + 1) * PAGE, 1, 0)));
	fact("written from a page past the end", "%s", result(pwrite(fd, beyond + (PAGES + 1) * PAGE, 1, 0)));
	need(mprotect(p, PAGE, PROT_READ) == 0, "mprotect");
	fact("read into memory for reading only", "%s", result(pread(fd, p, 1, 0)));
	fact("much into memory never touched", "%ld", (long)pread(fd, map(PAGES * PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGES * PAGE, 0));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	into_itself();
	from_itself();
	privately();
	crosswise();
	memory_that_ends();
	return (0);
}
