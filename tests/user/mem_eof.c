/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of the file under a mapping: what lies behind it in the last page, behind that page, and what becomes of
 * both when the file grows and shrinks.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TAIL	100		/* bytes of the file in its last page */

static void
behind_the_end(int flags, const char *kind)
{
	int fd = scratch_file(NULL, PAGE + TAIL);
	unsigned char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);

	fact("mapping", "%s", kind);
	fact("the last byte", "%d", p[PAGE + TAIL - 1] == pattern(PAGE + TAIL - 1));
	fact("the rest of its page", "%d", all_bytes(p + PAGE + TAIL, PAGE - TAIL, 0));
	fact("a store there", "%s", store(p + 2 * PAGE - 1, 0x41));
	fact("reads back", "%s", load(p + 2 * PAGE - 1));
	fact("a load from the page behind", "%s", load(p + 2 * PAGE));
	fact("a store to the page behind", "%s", store(p + 2 * PAGE + 1, 1));
	fact("the last byte of the mapping", "%s", load(p + 4 * PAGE - 1));
	fact("behind the mapping of an empty file", "%s", load(map(PAGE, PROT_READ, flags, scratch_file(NULL, 0), 0)));
	need(lseek(fd, 0, SEEK_END) == PAGE + TAIL, "the size has changed");
}

static void
growth_shows_zeros(void)
{
	int fd = scratch_file(NULL, PAGE + TAIL);
	unsigned char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), bytes[PAGE];

	memset(p + PAGE + TAIL, 0xee, PAGE - TAIL);		/* beyond the end: nobody's bytes */
	need(ftruncate(fd, 3 * PAGE) == 0, "ftruncate");
	fact("stored behind the end, then grown, by read", "%d",
	    pread(fd, bytes, PAGE, PAGE) == (long)PAGE && all_bytes(bytes + TAIL, PAGE - TAIL, 0));
	fact("through the mapping", "%d", all_bytes(p + PAGE + TAIL, PAGE - TAIL, 0));
	fact("the page that was behind the end", "%s", load(p + 2 * PAGE));
	fact("a store there", "%s", store(p + 2 * PAGE, 0x42));
	need(pread(fd, bytes, 1, 2 * PAGE) == 1, "pread");
	fact("is in the file", "0x%02x", bytes[0]);
	fact("the page that still is behind", "%s", load(p + 3 * PAGE));
}

static void
write_behind_the_end(void)
{
	int fd = scratch_file(NULL, TAIL);
	unsigned char *p = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), byte = 0x43;

	memset(p + TAIL, 0xdd, PAGE - TAIL);
	need(pwrite(fd, &byte, 1, PAGE + 17) == 1, "pwrite");
	fact("write leaves a gap: in the old last page", "%d", all_bytes(p + TAIL, PAGE - TAIL, 0));
	fact("in the new one, before", "%d", all_bytes(p + PAGE, 17, 0));
	fact("the byte", "%s", load(p + PAGE + 17));
	fact("behind it", "%s", load(p + PAGE + 18));
	fact("and the page after", "%s", load(p + 2 * PAGE));
}

static void
holes(void)
{
	int fd = scratch_file(NULL, PAGE);
	unsigned char *p, byte;

	need(ftruncate(fd, 64 * PAGE) == 0, "ftruncate");
	p = map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fact("a hole reads as zeros", "%d", all_bytes(p + PAGE, 63 * PAGE, 0));
	fact("a store into the hole", "%s", store(p + 40 * PAGE + 3, 0x44));
	need(pread(fd, &byte, 1, 40 * PAGE + 3) == 1, "pread");
	fact("is in the file", "0x%02x", byte);
	need(msync(p, 64 * PAGE, MS_SYNC) == 0, "msync");
	fact("and its neighbours are not", "%d %d", all_bytes(p + 40 * PAGE + 4, PAGE - 4, 0), all_bytes(p + 41 * PAGE, PAGE, 0));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	behind_the_end(MAP_SHARED, "shared");
	behind_the_end(MAP_PRIVATE, "private");
	growth_shows_zeros();
	write_behind_the_end();
	holes();
	return (0);
}
