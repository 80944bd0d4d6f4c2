/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random trees of files: seeded sequences of everything that names, links, moves, cuts and writes files, over a few
 * names, so that loops of symbolic links, folders moved below themselves, files without names and names of the wrong
 * kind all come up.  Each outcome goes into a random_sum, and so does the whole tree every few operations.
 *
 * Left out is what filesystems may decide differently: how long a folder is and how many links it has, the order of
 * its entries, times, and where the holes of a file are.
 *
 * Usage: file_random [DIR [FIRST-SEED [COUNT [trace]]]]
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe.h"

#define OPS		400		/* for each seed */
#define CHECK_EVERY	40
#define SLOTS		5
#define DEPTH_MAX	12
#define NAMES_MAX	16

static int slots[SLOTS];
static int trace;

/* The outcome of an operation: into the random_sum, and for who wants to find the first difference, on a line. */
static void
outcome(const char *what, const char *a, const char *b, long value)
{
	const char *how = result(value);

	mix_text(how);
	if (value > 0)
		mix((uint64_t)value);
	if (trace)
		printf("  %s %s %s: %s %ld\n", what, a, b, how, value);
}

/* One to three names, now and then a dot or a slash at the end.  Never "..": links could lead out of the tree by it. */
static const char *
some_path(void)
{
	static char paths[2][64];
	static int which;
	char *p = paths[which ^= 1];
	static const char *const names[] = { "a", "b", "c", "d" };
	uint32_t parts = 1 + rnd(3);

	p[0] = '\0';
	for (uint32_t i = 0; i < parts; i++) {
		if (i > 0)
			strcat(p, rnd(12) == 0 ? "//" : "/");
		strcat(p, rnd(24) == 0 ? "." : names[rnd(4)]);
	}
	if (rnd(16) == 0)
		strcat(p, "/");
	return (p);
}

static void
op_open(void)
{
	static const int how[] = { O_RDONLY, O_RDWR, O_RDWR | O_CREAT, O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
		O_RDWR | O_CREAT | O_TRUNC, O_WRONLY | O_APPEND, O_RDONLY | O_DIRECTORY, O_RDWR | O_NOFOLLOW, O_RDONLY | O_NOFOLLOW | O_CREAT,
		O_WRONLY | O_TRUNC, O_RDWR | O_APPEND | O_CREAT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW };
	uint32_t i = rnd(SLOTS), which = rnd(sizeof(how) / sizeof(how[0]));
	const char *path = some_path();
	int fd;

	if (slots[i] >= 0)
		(void)close(slots[i]);
	slots[i] = fd = open(path, how[which], 0600 + (rnd(8) << 3));
	if (trace)
		printf("    slot %u flags %o\n", i, (unsigned)how[which]);
	outcome("open", path, "", fd < 0 ? -1 : 0);
}

static void
op_read(void)
{
	static unsigned char bytes[20000];
	uint32_t i = rnd(SLOTS), len = rnd(sizeof(bytes)), off = rnd(rnd(4) == 0 ? 3000000 : 40000);
	long n = rnd(2) ? pread(slots[i], bytes, len, (off_t)off) : read(slots[i], bytes, len);

	outcome("read", "", "", n);
	for (long at = 0; at < n; at++)
		mix(bytes[at]);
}

static void
op_write(void)
{
	static unsigned char bytes[20000];
	uint32_t i = rnd(SLOTS), len = rnd(sizeof(bytes)), off = rnd(rnd(4) == 0 ? 3000000 : 40000);

	memset(bytes, (int)rnd(256), len);
	outcome("write", "", "", rnd(2) ? pwrite(slots[i], bytes, len, (off_t)off) : write(slots[i], bytes, len));
}

static void
op_seek(void)
{
	static const int whence[] = { SEEK_SET, SEEK_CUR, SEEK_END, 17 };
	uint32_t i = rnd(SLOTS), w = rnd(16) == 0 ? 3 : rnd(3);
	struct stat st;
	long at;

	/* Where a folder ends is its filesystem's business. */
	if (slots[i] < 0 || fstat(slots[i], &st) != 0 || !S_ISREG(st.st_mode))
		return;
	at = lseek(slots[i], (off_t)rnd(60000) - 20000, whence[w]);
	outcome("lseek", "", "", at);
}

static void
op_size(void)
{
	long size = (long)rnd(rnd(4) == 0 ? 3000000 : 50000) - (rnd(20) == 0 ? 60000 : 0);
	const char *path;

	if (rnd(2)) {
		outcome("ftruncate", "", "", ftruncate(slots[rnd(SLOTS)], size));
	} else {
		path = some_path();
		outcome("truncate", path, "", truncate(path, size));
	}
}

static void
op_make(void)
{
	const char *path = some_path();

	outcome("mkdir", path, "", mkdir(path, 0700 + rnd(64)));
}

static void
op_remove(void)
{
	const char *path = some_path();

	switch (rnd(4)) {
	case 0:
		outcome("rmdir", path, "", rmdir(path));
		break;
	case 1:
		outcome("unlinkat", path, "", unlinkat(AT_FDCWD, path, rnd(2) ? AT_REMOVEDIR : 0));
		break;
	default:
		outcome("unlink", path, "", unlink(path));
	}
}

static void
op_rename(void)
{
	const char *from = some_path(), *to = some_path();

	if (rnd(4) == 0)
		outcome("rename-noreplace", from, to, renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
	else
		outcome("rename", from, to, rename(from, to));
}

static void
op_link(void)
{
	const char *from = some_path(), *to = some_path();

	if (rnd(2))
		outcome("link", from, to, linkat(AT_FDCWD, from, AT_FDCWD, to, rnd(3) == 0 ? AT_SYMLINK_FOLLOW : 0));
	else
		outcome("symlink", from, to, symlink(from, to));
}

/* What stat() says of a file, without what is its filesystem's business. */
static void
mix_stat(const char *what, const char *path, int failed, const struct stat *st)
{
	outcome(what, path, "", failed);
	if (failed != 0)
		return;
	mix(st->st_mode);
	if (!S_ISDIR(st->st_mode)) {
		mix((uint64_t)st->st_size);
		mix(st->st_nlink);
		if (trace)
			printf("    mode %o size %ld links %lu\n", st->st_mode, (long)st->st_size, (unsigned long)st->st_nlink);
	}
}

static void
op_ask(void)
{
	const char *path = some_path();
	char text[80];
	struct stat st;
	long n;

	switch (rnd(5)) {
	case 0:
		mix_stat("stat", path, stat(path, &st), &st);
		break;
	case 1:
		mix_stat("lstat", path, lstat(path, &st), &st);
		break;
	case 2:
		mix_stat("fstat", "", fstat(slots[rnd(SLOTS)], &st), &st);
		break;
	case 3:
		n = readlink(path, text, 1 + rnd(sizeof(text) - 1));
		outcome("readlink", path, "", n);
		break;
	default:
		outcome("access", path, "", access(path, (int)rnd(8)));
	}
}

static void
op_change(void)
{
	const char *path = some_path();

	switch (rnd(4)) {
	case 0:
		outcome("chmod", path, "", chmod(path, rnd(07777 + 1) | 0700));
		break;
	case 1:
		outcome("fchmod", "", "", fchmod(slots[rnd(SLOTS)], rnd(0777 + 1) | 0600));
		break;
	case 2:
		outcome("fsync", "", "", rnd(2) ? fsync(slots[rnd(SLOTS)]) : fdatasync(slots[rnd(SLOTS)]));
		break;
	default:
		outcome("chdir", path, "", rnd(3) == 0 && chdir(path) == 0 ? chdir("/") : 0);
	}
}

static int
by_name(const void *a, const void *b)
{
	return (strcmp(*(char *const *)a, *(char *const *)b));
}

/* The tree below a folder, in order: names, kinds, modes, sizes, links, what links say, and all bytes. */
static void
look_at_tree(const char *dir, int depth)
{
	static unsigned char bytes[65536];
	char *names[NAMES_MAX], path[512];
	struct dirent *e;
	struct stat st;
	int n = 0;
	DIR *d = opendir(dir);

	need(d != NULL, dir);
	while ((e = readdir(d)) != NULL)
		if (n < NAMES_MAX)
			names[n++] = strdup(e->d_name);
	(void)closedir(d);
	qsort(names, (size_t)n, sizeof(names[0]), by_name);
	for (int i = 0; i < n; i++) {
		ssize_t got;
		int fd;

		need(snprintf(path, sizeof(path), "%s/%s", dir, names[i]) < (int)sizeof(path), "a path");
		mix_text(names[i]);
		mix_stat("    tree", path, lstat(path, &st), &st);
		if (S_ISLNK(st.st_mode) && (got = readlink(path, (char *)bytes, 200)) > 0) {
			bytes[got] = '\0';
			mix_text((char *)bytes);
		} else if (S_ISREG(st.st_mode) && (fd = open(path, O_RDONLY)) >= 0) {
			while ((got = read(fd, bytes, sizeof(bytes))) > 0)
				for (ssize_t at = 0; at < got; at += 7)
					mix(bytes[at]);
			(void)close(fd);
		} else if (S_ISDIR(st.st_mode) && names[i][0] != '.' && depth < DEPTH_MAX) {
			look_at_tree(path, depth + 1);
		}
		if (trace)
			printf("      sum %016lx\n", (unsigned long)random_sum);
		free(names[i]);
	}
}

static void
empty_tree(const char *dir)
{
	char path[512];
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		need(snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) < (int)sizeof(path), "a path");
		if (unlink(path) == 0)
			continue;
		empty_tree(path);
		need(rmdir(path) == 0, path);
	}
	if (d != NULL)
		(void)closedir(d);
}

static void
run(uint64_t seed, int base)
{
	static void (*const ops[])(void) = {
		op_open, op_open, op_open, op_open, op_read, op_read, op_write, op_write, op_write, op_seek, op_size, op_make, op_make,
		op_remove, op_rename, op_rename, op_link, op_ask, op_ask, op_change
	};
	char name[32];

	random_begin(seed);
	need(mkdir("tree", 0755) == 0 && chdir("tree") == 0, "the tree");
	for (int i = 0; i < SLOTS; i++)
		slots[i] = -1;
	for (int i = 1; i <= OPS; i++) {
		int here = open(".", O_RDONLY | O_DIRECTORY);

		ops[rnd(sizeof(ops) / sizeof(ops[0]))]();
		need(fchdir(here) == 0, "the way back");
		(void)close(here);
		if (i % CHECK_EVERY == 0)
			look_at_tree(".", 0);
	}
	for (int i = 0; i < SLOTS; i++)
		if (slots[i] >= 0)
			(void)close(slots[i]);
	(void)snprintf(name, sizeof(name), "seed %lu", (unsigned long)seed);
	fact(name, "%016lx", (unsigned long)random_sum);
	need(fchdir(base) == 0, "the base");
	empty_tree("tree");
	need(rmdir("tree") == 0, "the end of the tree");
}

/* What random paths never are: the root, and files opened only as places. */
static void
root_and_places(void)
{
	struct stat st;
	int fd = scratch_file("place", 100);

	fact("making the root", "%s", result(open("/", O_RDWR | O_CREAT, 0600)));
	fact("exclusively", "%s", result(open("/", O_RDWR | O_CREAT | O_EXCL, 0600)));
	need(symlink("/", "to-root") == 0, "a link");
	fact("through a link", "%s", result(open("to-root", O_RDWR | O_CREAT, 0600)));
	fact("a place is not cut", "%s", result(open("place", O_PATH | O_TRUNC | O_WRONLY) < 0 ? -1 : 0));
	need(fstat(fd, &st) == 0, "its size");
	fact("its size", "%ld", (long)st.st_size);
	fact("nor made", "%s", result(open("nowhere", O_PATH | O_CREAT, 0600) < 0 ? -1 : 0));
	(void)unlink("to-root");
	(void)unlink("place");
}

int
main(int argc, char **argv)
{
	uint64_t first = argc > 2 ? strtoul(argv[2], NULL, 0) : 1, count = argc > 3 ? strtoul(argv[3], NULL, 0) : 12;
	int base;

	probe_init(argc, argv);
	(void)umask(022);
	trace = argc > 4;
	/* A folder of its own: what the one above may be, such as /tmp with its mode, is seen, too. */
	need(mkdir("above", 0755) == 0 && chdir("above") == 0, "a folder");
	base = open(".", O_RDONLY | O_DIRECTORY);
	root_and_places();
	for (uint64_t seed = first; seed < first + count; seed++)
		run(seed, base);
	need(chdir("..") == 0 && rmdir("above") == 0, "the end of the folder");
	return (0);
}
