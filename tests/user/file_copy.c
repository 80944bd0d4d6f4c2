/* SPDX-License-Identifier: BSD-2-Clause */
/* From file to file by one call, copy_file_range() and sendfile(): what arrives, where both stand then, what is refused; and statx(). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "probe.h"

/* Bytes moved, or the error's name. */
static const char *
moved(ssize_t n)
{
	static char text[4][32];
	static int turn;
	char *at = text[turn++ % 4];

	snprintf(at, sizeof(text[0]), "%s", n < 0 ? result(n) : "");
	if (n >= 0)
		snprintf(at, sizeof(text[0]), "%ld", (long)n);
	return (at);
}

static int
same(int fd, off_t at, size_t len, size_t from)
{
	static unsigned char buf[16 * 4096];

	need(len <= sizeof(buf) && pread(fd, buf, len, at) == (ssize_t)len, "pread");
	return (all_pattern(buf, len, from));
}

static void
ranges(void)
{
	int in = scratch_file(NULL, 10 * PAGE + 7), out = scratch_file(NULL, 0);
	unsigned char *mapped = map(10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
	off_t from = 3, to = PAGE + 5;

	need(lseek(in, 0, SEEK_SET) == 0, "lseek");
	fact("everything, and what there is more", "%s", moved(copy_file_range(in, NULL, out, NULL, 1 << 30, 0)));
	fact("the bytes, read and mapped", "%d %d", same(out, 0, 10 * PAGE + 7, 0), all_pattern(mapped, 10 * PAGE, 0));
	fact("both stand behind them", "%ld %ld", (long)lseek(in, 0, SEEK_CUR), (long)lseek(out, 0, SEEK_CUR));
	fact("at the end", "%s", moved(copy_file_range(in, NULL, out, NULL, 100, 0)));
	fact("from place to place", "%s", moved(copy_file_range(in, &from, out, &to, 5 * PAGE, 0)));
	fact("which moved, and the files' own did not", "%ld %ld, %ld", (long)from, (long)to, (long)lseek(out, 0, SEEK_CUR));
	fact("the bytes, and those before", "%d %d", same(out, PAGE + 5, 5 * PAGE, 3), same(out, 0, PAGE + 5, 0));
	from = 0;
	to = 6 * PAGE;
	fact("within a file", "%s", moved(copy_file_range(in, &from, in, &to, 2 * PAGE, 0)));
	fact("the bytes", "%d", same(in, 6 * PAGE, 2 * PAGE, 0));
	from = 0;
	to = 100;
	fact("onto itself", "%s", moved(copy_file_range(in, &from, in, &to, 101, 0)));
	from = -1;
	fact("before the beginning", "%s", moved(copy_file_range(in, &from, out, NULL, 1, 0)));
	from = -5;
	fact("long before", "%s", moved(copy_file_range(in, &from, out, NULL, 1, 0)));
	fact("sendfile from there", "%s", moved(sendfile(out, in, &from, 1)));
	fact("nothing", "%s", moved(copy_file_range(in, NULL, out, NULL, 0, 0)));
}

static void
refused(void)
{
	int in = scratch_file("copy.tmp", 100), out = scratch_file(NULL, 0), pipes[2];
	int dir = open(".", O_RDONLY), ro = open("copy.tmp", O_RDONLY), wo = open("copy.tmp", O_WRONLY);
	int append = open("copy.tmp", O_WRONLY | O_APPEND);

	need(lseek(in, 0, SEEK_SET) == 0 && pipe(pipes) == 0 && dir >= 0 && ro >= 0 && wo >= 0 && append >= 0, "open");
	fact("unknown flag", "%s", moved(copy_file_range(in, NULL, out, NULL, 1, 2)));
	fact("no such descriptor", "%s", moved(copy_file_range(in, NULL, 999, NULL, 1, 0)));
	fact("from one that only writes", "%s", moved(copy_file_range(wo, NULL, out, NULL, 1, 0)));
	fact("to one that only reads", "%s", moved(copy_file_range(in, NULL, ro, NULL, 1, 0)));
	fact("to one that appends", "%s", moved(copy_file_range(in, NULL, append, NULL, 1, 0)));
	fact("from a folder", "%s", moved(copy_file_range(dir, NULL, out, NULL, 1, 0)));
	fact("from a pipe", "%s", moved(copy_file_range(pipes[0], NULL, out, NULL, 1, 0)));
	fact("a place that is nowhere", "%s", moved(copy_file_range(in, (off_t *)8, out, NULL, 1, 0)));
	fact("sendfile from a pipe", "%s", moved(sendfile(out, pipes[0], NULL, 1)));
	fact("sendfile to one that appends", "%s", moved(sendfile(append, in, NULL, 1)));
	fact("sendfile to a pipe", "%s", moved(sendfile(pipes[1], ro, NULL, 1000)));
	fact("and back", "%s", moved(sendfile(wo, ro, NULL, 1000)));
	unlink("copy.tmp");
}

static void
attributes(void)
{
	int fd = scratch_file("copy.tmp", 5000);
	struct statx by_path, by_fd;
	struct stat st;

	need(symlink("copy.tmp", "copy.link") == 0 && fchmod(fd, 0751) == 0, "symlink");
	need(statx(AT_FDCWD, "copy.tmp", 0, STATX_BASIC_STATS, &by_path) == 0, "statx");
	need(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &by_fd) == 0 && fstat(fd, &st) == 0, "statx");
	fact("statx: size, mode, links", "%ld 0%o %d", (long)by_path.stx_size, by_path.stx_mode, (int)by_path.stx_nlink);
	fact("all that was asked for", "%d", (by_path.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
	fact("the same file by its descriptor, and to fstat", "%d %d", by_path.stx_ino == by_fd.stx_ino, by_fd.stx_ino == st.st_ino);
	fact("and its time", "%d", by_path.stx_mtime.tv_sec == st.st_mtime);
	need(statx(AT_FDCWD, "copy.link", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &by_path) == 0, "statx");
	fact("a link", "0%o %ld", by_path.stx_mode & S_IFMT, (long)by_path.stx_size);
	need(statx(AT_FDCWD, "/dev/null", 0, STATX_BASIC_STATS, &by_path) == 0, "statx");
	fact("a device", "0%o %d:%d", by_path.stx_mode & S_IFMT, by_path.stx_rdev_major, by_path.stx_rdev_minor);
	fact("no file", "%s", result(statx(AT_FDCWD, "copy.none", 0, 0, &by_path)));
	fact("unknown flag", "%s", result(statx(AT_FDCWD, "copy.tmp", 0x10, 0, &by_path)));
	fact("flags that exclude each other", "%s", result(statx(AT_FDCWD, "copy.tmp", 0x6000, 0, &by_path)));
	fact("a mask from the future", "%s", result(statx(AT_FDCWD, "copy.tmp", 0, 0x80000000u, &by_path)));
	unlink("copy.link");
	unlink("copy.tmp");
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	ranges();
	refused();
	attributes();
	return (0);
}
