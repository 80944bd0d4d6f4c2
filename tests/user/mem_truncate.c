/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Truncation under a mapping.
 *
 * One fact differs on purpose (kept-differences in the runner): a private page that its owner has already copied stays
 * with the owner here, as in the BSDs; Linux takes it away.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <sys/mman.h>
#include <unistd.h>

static void
shrink_and_grow(void)
{
	int fd = scratch_file(NULL, 4 * PAGE);
	unsigned char *s = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *v = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	need(all_pattern(s, 4 * PAGE, 0) && all_pattern(v, 4 * PAGE, 0), "the file's bytes");
	v[3 * PAGE] = 0x51;
	v[PAGE] = 0x52;
	s[2 * PAGE + 1] = 0x53;
	need(ftruncate(fd, PAGE + 10) == 0, "ftruncate");
	fact("shared, cut off", "%s", load(s + 2 * PAGE));
	fact("shared, cut off, dirty", "%s", load(s + 2 * PAGE + 1));
	fact("private, cut off, no copy", "%s", load(v + 2 * PAGE));
	fact("private, cut off, copied", "%s", load(v + 3 * PAGE));
	fact("before the new end", "%d", all_pattern(s, PAGE + 10, 0));
	fact("behind it in the page", "%d", all_bytes(s + PAGE + 10, PAGE - 10, 0));
	fact("the private copy of the last page", "%s", load(v + PAGE));
	need(ftruncate(fd, 4 * PAGE) == 0, "ftruncate");
	fact("grown again: zeros in the page", "%d", all_bytes(s + PAGE + 10, PAGE - 10, 0));
	fact("and behind", "%d", all_bytes(s + 2 * PAGE, 2 * PAGE, 0));
	fact("a store", "%s", store(s + 3 * PAGE + 7, 0x54));
	fact("reads back", "%s", load(s + 3 * PAGE + 7));
	fact("through the private mapping, no copy", "%s", load(v + 2 * PAGE));
}

static void
to_nothing_and_back(void)
{
	int fd = scratch_file(NULL, 2 * PAGE), round;
	unsigned char *s = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int good = 0;

	for (round = 0; round < 50; round++) {
		s[PAGE + round] = (unsigned char)(round + 1);
		need(ftruncate(fd, 0) == 0, "ftruncate");
		need(ftruncate(fd, 2 * PAGE) == 0, "ftruncate");
		good += all_bytes(s, 2 * PAGE, 0);
	}
	fact("rounds of emptying and growing that show zeros", "%d", good);
	need(ftruncate(fd, 0) == 0, "ftruncate");
	fact("emptied", "%s %s", load(s), store(s + PAGE, 1));
}

static void
system_calls_on_cut_off_pages(void)
{
	int fd = scratch_file(NULL, 2 * PAGE), other = scratch_file(NULL, 2 * PAGE);
	unsigned char *s = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	need(ftruncate(fd, PAGE) == 0, "ftruncate");
	fact("read into a cut-off page", "%s", result(pread(other, s + PAGE, 10, 0)));
	fact("write from a cut-off page", "%s", result(pwrite(other, s + PAGE, 10, 0)));
	fact("read across the edge", "%ld", (long)pread(other, s + PAGE - 10, 20, 0));
	fact("unmapping it", "%s", result(munmap(s + PAGE, PAGE)));
	fact("msync of the page that is left", "%s", result(msync(s, PAGE, MS_SYNC)));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	shrink_and_grow();
	to_nothing_and_back();
	system_calls_on_cut_off_pages();
	return (0);
}
