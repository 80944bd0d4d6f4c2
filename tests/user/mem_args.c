/* SPDX-License-Identifier: BSD-2-Clause */
/* mmap's arguments: what is refused, and by which error. */
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define RW	(PROT_READ | PROT_WRITE)
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

int
main(int argc, char **argv)
{
	int fd, dir, pipes[2];

	probe_init(argc, argv);
	fd = scratch_file(NULL, PAGE);
	dir = open(".", O_RDONLY | O_DIRECTORY);
	need(dir >= 0 && pipe(pipes) == 0, "descriptors");

	fact("length 0", "%s", map_result(NULL, 0, PROT_READ, ANON, -1, 0));
	fact("length that wraps", "%s", map_result(NULL, (size_t)-1, PROT_READ, ANON, -1, 0));
	fact("length over the address space", "%s", map_result(NULL, 1ul << 47, PROT_READ, ANON, -1, 0));
	fact("length that is negative", "%s", map_result(NULL, (size_t)-4096, PROT_READ, ANON, -1, 0));
	fact("neither shared nor private", "%s", map_result(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
	fact("offset within a page", "%s", map_result(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 1));
	fact("offset far behind the end", "%s", map_result(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 1l << 40));
	fact("offset above 4 GiB, as zeros?", "%s",
	    load(map(PAGE, PROT_READ, MAP_PRIVATE, fd, 1l << 32)));
	fact("no descriptor", "%s", map_result(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0));
	fact("a descriptor never opened", "%s", map_result(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0));
	fact("a folder", "%s", map_result(NULL, PAGE, PROT_READ, MAP_PRIVATE, dir, 0));
	fact("a pipe", "%s", map_result(NULL, PAGE, PROT_READ, MAP_PRIVATE, pipes[0], 0));
	fact("fixed, misaligned", "%s", map_result((void *)0x10001, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
	fact("fixed, in the kernel", "%s", map_result((void *)0xffff800000000000, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
	fact("fixed, over the edge", "%s", map_result((void *)0x7ffffffff000, 2 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
	fact("hint in the kernel", "%s", map_result((void *)0xffff800000000000, PAGE, PROT_READ, ANON, -1, 0));
	fact("hint within a page", "%s", map_result((void *)0x123456789, PAGE, PROT_READ, ANON, -1, 0));
	fact("SHARED_VALIDATE", "%s", map_result(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE, fd, 0));
	fact("SHARED_VALIDATE with an unknown flag", "%s", map_result(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | 1 << 23, fd, 0));
	fact("populated", "%s", map_result(NULL, 4 * PAGE, RW, ANON | MAP_POPULATE, -1, 0));
	fact("a stack", "%s", map_result(NULL, 4 * PAGE, RW, ANON | MAP_STACK | MAP_NORESERVE, -1, 0));
	fact("odd length", "%s", map_result(NULL, PAGE + 1, RW, MAP_SHARED, fd, 0));
	close(fd);
	fact("a closed descriptor", "%s", map_result(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
	return (0);
}
