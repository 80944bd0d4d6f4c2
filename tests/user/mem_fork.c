/* SPDX-License-Identifier: BSD-2-Clause */
/* fork: private memory is copied, shared memory is shared, over many generations. */
#define _GNU_SOURCE
#include "probe.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES		32
#define GENERATIONS	40

static unsigned char *private, *shared;

static int
child_writes(void *arg)
{
	(void)arg;
	fact("the child sees the parent's bytes", "%d", all_bytes(private, PAGES * PAGE, 0xa1));
	memset(private, 0xb2, PAGES / 2 * PAGE);
	shared[0] = 0xc3;
	fact("and its own after storing", "%d %d", all_bytes(private, PAGES / 2 * PAGE, 0xb2),
	    all_bytes(private + PAGES / 2 * PAGE, PAGES / 2 * PAGE, 0xa1));
	return (7);
}

static void
isolation(void)
{
	memset(private, 0xa1, PAGES * PAGE);
	fact("child", "%s", status_text(in_child(child_writes, NULL)));
	fact("the parent's bytes are its own", "%d", all_bytes(private, PAGES * PAGE, 0xa1));
	fact("shared memory is shared", "0x%02x", shared[0]);
}

/* Each generation stores into one page of its own, forks the next and checks what it sees afterwards. */
static int
generation(void *arg)
{
	long n = (long)arg, i;
	int status;

	for (i = 0; i < n; i++)
		if (private[i % PAGES * PAGE + i / PAGES] != (unsigned char)(i + 1))
			return (100);
	private[n % PAGES * PAGE + n / PAGES] = (unsigned char)(n + 1);
	if (n + 1 < GENERATIONS) {
		status = in_child(generation, (void *)(n + 1));
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			return (WIFEXITED(status) ? WEXITSTATUS(status) : 101);
	}
	/* What the descendants stored must not be here. */
	for (i = n + 1; i < GENERATIONS; i++)
		if (private[i % PAGES * PAGE + i / PAGES] != 0)
			return (102);
	shared[1]++;
	return (0);
}

static void
generations(void)
{
	memset(private, 0, PAGES * PAGE);
	shared[1] = 0;
	fact("a line of descendants", "%s", status_text(in_child(generation, (void *)0)));
	fact("of so many", "%d", shared[1]);
	fact("the first ancestor is untouched", "%d", all_bytes(private, PAGES * PAGE, 0));
}

static int
store_and_leave(void *arg)
{
	private[(long)arg % PAGES * PAGE] = 0xee;
	return (private[((long)arg + 1) % PAGES * PAGE] == 0x77 ? 0 : 1);
}

/* The same parent forks again and again: its chain of shadows must not grow without end. */
static void
many_children(void)
{
	int good = 0;
	long i;

	memset(private, 0x77, PAGES * PAGE);
	for (i = 0; i < 200; i++) {
		good += in_child(store_and_leave, (void *)i) == 0;
		private[i % PAGES * PAGE + 1]++;
		private[i % PAGES * PAGE] = 0x77;
	}
	fact("children of one parent that saw its bytes", "%d", good);
	fact("and what the parent stored between them", "0x%02x", private[PAGE + 1]);
}

static int
file_child(void *arg)
{
	unsigned char *p = arg;

	p[0] = 0x91;
	p[PAGE] = 0x92;
	return (0);
}

static void
private_file_mapping(void)
{
	int fd = scratch_file(NULL, 2 * PAGE);
	unsigned char *p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), byte;

	p[0] = 0x90;
	fact("file child", "%s", status_text(in_child(file_child, p)));
	fact("the parent's copy and the file's page", "0x%02x %d", p[0], p[PAGE] == pattern(PAGE));
	need(pread(fd, &byte, 1, 0) == 1, "pread");
	fact("the file", "%d", byte == pattern(0));
}

static int
look_at_inherited(void *arg)
{
	fact("memory that is not to be inherited", "%s", load(arg));
	fact("memory to be zeroed", "%s", load((unsigned char *)arg + PAGE));
	return (0);
}

static void
inheritance(void)
{
	unsigned char *p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p[0] = p[PAGE] = 0x31;
	fact("DONTFORK", "%s", result(madvise(p, PAGE, MADV_DONTFORK)));
	fact("WIPEONFORK", "%s", result(madvise(p + PAGE, PAGE, MADV_WIPEONFORK)));
	in_child(look_at_inherited, p);
	fact("the parent keeps both", "%s %s", load(p), load(p + PAGE));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	private = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	isolation();
	generations();
	many_children();
	private_file_mapping();
	inheritance();
	return (0);
}
