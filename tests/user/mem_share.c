/* SPDX-License-Identifier: BSD-2-Clause */
/* Private and shared mappings of one file, read(2) and write(2): who sees whose bytes, and when. */
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void
all_views_are_one(void)
{
	int fd = scratch_file(NULL, 4 * PAGE);
	unsigned char *a = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *b = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
	unsigned char *c = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), byte;

	fact("the file's bytes through a shared mapping", "%d", all_pattern(a, 4 * PAGE, 0));
	fact("and through one at an offset", "%d", all_pattern(b, 2 * PAGE, PAGE));
	fact("and through a private one", "%d", all_pattern(c, 4 * PAGE, 0));
	a[PAGE + 5] = 0x11;
	fact("a store, seen by the other shared mapping", "0x%02x", b[5]);
	fact("seen by the private mapping that has no copy", "0x%02x", c[PAGE + 5]);
	need(pread(fd, &byte, 1, PAGE + 5) == 1, "pread");
	fact("seen by read", "0x%02x", byte);
	byte = 0x22;
	need(pwrite(fd, &byte, 1, PAGE + 6) == 1, "pwrite");
	fact("a write, seen by both shared mappings", "0x%02x 0x%02x", a[PAGE + 6], b[6]);
	fact("and by the private one", "0x%02x", c[PAGE + 6]);
	c[PAGE + 7] = 0x33;
	fact("a store to the private one is not in the file", "%d", a[PAGE + 7] == pattern(PAGE + 7));
	a[PAGE + 8] = 0x44;
	fact("and its copy sees no later store", "%d", c[PAGE + 8] == pattern(PAGE + 8));
	fact("but keeps the earlier ones", "0x%02x 0x%02x", c[PAGE + 5], c[PAGE + 6]);
	a[3 * PAGE] = 0x55;
	fact("while a page without a copy still follows", "0x%02x", c[3 * PAGE]);
}

static void
outlives_descriptor_and_name(void)
{
	int fd = scratch_file("named.tmp", PAGE);
	unsigned char *p = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), byte = 0;

	close(fd);
	fact("a mapping outlives close", "%d", all_pattern(p, PAGE, 0));
	p[0] = 0x66;
	fd = open("named.tmp", O_RDONLY);
	need(fd >= 0 && read(fd, &byte, 1) == 1, "named.tmp");
	fact("a store after close, seen by a new open", "0x%02x", byte);
	need(unlink("named.tmp") == 0, "unlink");
	close(fd);
	p[1] = 0x77;
	fact("a mapping outlives the name", "0x%02x 0x%02x", p[0], p[1]);
	need(munmap(p, PAGE) == 0, "munmap");
	fact("and is gone after munmap", "%s", load(p));
}

static void
store_survives_munmap(void)
{
	int fd = scratch_file(NULL, 3 * PAGE);
	unsigned char *p = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), byte;

	p[2 * PAGE + 9] = 0x12;
	munmap(p, 3 * PAGE);
	need(pread(fd, &byte, 1, 2 * PAGE + 9) == 1, "pread");
	fact("a store is in the file after munmap", "0x%02x", byte);
	p = map(3 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	fact("and in a new mapping", "0x%02x", p[2 * PAGE + 9]);
	fact("which may not be written", "%s", store(p, 1));
}

static void
modes_of_the_descriptor(void)
{
	int rw = scratch_file("modes.tmp", PAGE), ro = open("modes.tmp", O_RDONLY), wo = open("modes.tmp", O_WRONLY);
	unsigned char *p;

	need(ro >= 0 && wo >= 0, "modes.tmp");
	fact("shared, writable, from a read-only descriptor", "%s",
	    map_result(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0));
	fact("private, writable, from a read-only descriptor", "%s",
	    map_result(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0));
	fact("readable from a write-only descriptor", "%s",
	    map_result(NULL, PAGE, PROT_READ, MAP_SHARED, wo, 0));
	p = map(PAGE, PROT_READ, MAP_SHARED, ro, 0);
	fact("making the read-only mapping writable", "%s", result(mprotect(p, PAGE, PROT_READ | PROT_WRITE)));
	p = map(PAGE, PROT_READ, MAP_SHARED, rw, 0);
	fact("the same from a read-write descriptor", "%s", result(mprotect(p, PAGE, PROT_READ | PROT_WRITE)));
	fact("and its store", "%s", store(p, 0x21));
	unlink("modes.tmp");
}

static void
read_into_own_mapping(void)
{
	int fd = scratch_file(NULL, 8 * PAGE);
	unsigned char *p = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	fact("reading a file into its own mapping", "%ld", (long)pread(fd, p, 4 * PAGE, 4 * PAGE));
	fact("moves the bytes", "%d", all_pattern(p, 4 * PAGE, 4 * PAGE));
	fact("writing a file from its own mapping", "%ld", (long)pwrite(fd, p + 4 * PAGE, 2 * PAGE, PAGE));
	fact("moves them, too", "%d", all_pattern(p + PAGE, 2 * PAGE, 4 * PAGE));
	fact("on itself", "%ld", (long)pwrite(fd, p, 8 * PAGE, 0));
	fact("changes nothing", "%d", all_pattern(p + PAGE, 2 * PAGE, 4 * PAGE));
}

static int
store_there(void *at)
{
	*(unsigned char *)at = 0x23;
	return (0);
}

/* Files that are memory: without a name (memfd), and with one (POSIX shared memory). */
static void
memory_files(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC), shm;
	unsigned char *p, *q, byte = 0;
	char name[32];
	struct stat st;

	need(fd >= 0 && ftruncate(fd, 3 * PAGE) == 0, "memfd_create");
	p = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	q = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	fact("a new memfd reads", "%s", load(p + 3 * PAGE - 1));
	need(in_child(store_there, p + PAGE) == 0 && pread(fd, &byte, 1, PAGE) == 1, "pread");
	fact("a child's store, read and mapped", "0x%02x %s %s", byte, load(p + PAGE), load(q + PAGE));
	need(fstat(fd, &st) == 0, "fstat");
	fact("its size, names, close-on-exec", "%ld %ld %d", (long)st.st_size, (long)st.st_nlink, fcntl(fd, F_GETFD));
	need(ftruncate(fd, PAGE) == 0, "ftruncate");
	fact("cut off", "%s", load(p + 2 * PAGE));
	need(ftruncate(fd, 3 * PAGE) == 0, "ftruncate");
	fact("and grown again", "%s", load(p + PAGE));
	fact("unknown flag", "%s", result(memfd_create("probe", 0x100)));
	fact("no name", "%s", result(memfd_create((const char *)8, 0)));
	snprintf(name, sizeof(name), "/probe-%d", getpid());
	shm = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	need(shm >= 0 && ftruncate(shm, PAGE) == 0, "shm_open");
	p = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, shm, 0);
	need(in_child(store_there, p) == 0, "fork");
	fact("shared memory by name", "%s", load(p));
	fact("twice", "%s", result(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600)));
	fact("unlinked, it is still mapped", "%s %s", result(shm_unlink(name)), load(p));
	fact("and cannot be opened", "%s", result(shm_open(name, O_RDWR, 0600)));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	memory_files();
	all_views_are_one();
	outlives_descriptor_and_name();
	store_survives_munmap();
	modes_of_the_descriptor();
	read_into_own_mapping();
	return (0);
}
