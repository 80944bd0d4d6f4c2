/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random system calls with random arguments: children make them until they die of it; whoever survives is the kernel.
 *
 *	fuzz_calls [SEED [CHILDREN [CALLS [THREADS]]]]
 *
 * Each child makes its calls in several threads, which pull memory and descriptors away from under each other.
 * Arguments come from a small bag of values that are likely to hurt: good and bad pointers, sizes around limits,
 * descriptors, small numbers, and noise.  Calls that end or stop others (kill, reboot and the like) are left out; a
 * child that sleeps is killed after a while.  The one fact at the end is the same on every kernel.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE	100		/* times 20 ms */
#define THREADS_MAX	8

static __thread uint64_t state;
static unsigned char *good;		/* four pages: read-write, read-only, no access, not mapped */

static uint64_t
next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state);
}

static int
forbidden(long nr)
{
	static const long list[] = { SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
	    SYS_reboot, SYS_vfork, SYS_fork, SYS_clone, SYS_clone3, SYS_exit, SYS_exit_group, SYS_setsid,
	    SYS_setpgid, SYS_pause, SYS_rt_sigsuspend, SYS_ptrace, SYS_alarm, SYS_setitimer, SYS_rt_sigprocmask,
	    SYS_unlink, SYS_unlinkat, SYS_rmdir, SYS_rename, SYS_renameat, SYS_renameat2, SYS_mount, SYS_umount2,
	    SYS_swapon, SYS_swapoff, SYS_sync, SYS_truncate, SYS_chroot, SYS_pivot_root, SYS_rt_sigtimedwait,
	    SYS_sethostname, SYS_settimeofday, SYS_clock_settime, SYS_setrlimit, SYS_prlimit64 };

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i] == nr)
			return (1);
	return (0);
}

static uint64_t
argument(void)
{
	uint64_t r = next();

	switch (r >> 8 & 15) {
	case 0:
		return (0);
	case 1:
		return (r >> 16 & 7);			/* a descriptor, a flag */
	case 2:
		return ((uint64_t)good);
	case 3:
		return ((uint64_t)good + (r >> 16) % (4 * PAGE));
	case 4:
		return ((uint64_t)good + PAGE - (r >> 16 & 15));
	case 5:
		return (1ul << (r >> 16 & 63));
	case 6:
		return ((1ul << (r >> 16 & 63)) - 1);
	case 7:
		return (-(r >> 16 & 0xfff));
	case 8:
		return (0xffff800000000000ul + (r >> 16 & 0xffffffff));
	case 9:
		return (0x800000000000ul - (r >> 16 & 0x1fff));
	case 10:
		return ((r >> 16 & 0xff) * PAGE);
	case 11:
		return (r >> 16 & 0xffff);
	default:
		return (next());
	}
}

struct share {
	uint64_t	 seed;
	long		 calls;
};

static void *
make_calls(void *arg)
{
	const struct share *share = arg;

	state = share->seed;
	for (long i = 0; i < share->calls; i++) {
		long nr = next() % 16 == 0 ? (long)next() : (long)(next() % 340);

		if (!forbidden(nr))
			(void)syscall(nr, argument(), argument(), argument(), argument(), argument(), argument());
	}
	return (NULL);
}

/* The threads are not waited for: a random call may have taken away what the library knows of them. */
static void
child(uint64_t seed, long calls, int threads)
{
	static struct share shares[THREADS_MAX];
	pthread_t other;

	for (int i = 0; i < threads; i++) {
		shares[i] = (struct share){ seed + (uint64_t)i * 0xa0761d6478bd642ful, calls / threads };
		if (i > 0)
			(void)pthread_create(&other, NULL, make_calls, &shares[i]);
	}
	(void)make_calls(&shares[0]);
	_exit(0);
}

/* Run a child, not for ever; returns its wait status. */
static int
watched(uint64_t seed, long calls, int threads)
{
	pid_t pid = fork();
	int status, i;

	need(pid >= 0, "fork");
	if (pid == 0)
		child(seed, calls, threads);
	for (i = 0; i < PATIENCE; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return (status);
		usleep(20000);
	}
	kill(pid, SIGKILL);
	need(waitpid(pid, &status, 0) == pid, "wait");
	return (status);
}

int
main(int argc, char **argv)
{
	unsigned long seed = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;
	int children = argc > 2 ? atoi(argv[2]) : 40, i, alive;
	long calls = argc > 3 ? atol(argv[3]) : 2000;
	int threads = argc > 4 ? atoi(argv[4]) : 1;

	probe_init(1, argv);
	good = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(mprotect(good + PAGE, PAGE, PROT_READ) == 0 && mprotect(good + 2 * PAGE, PAGE, PROT_NONE) == 0 &&
	    munmap(good + 3 * PAGE, PAGE) == 0, "memory");
	need(threads >= 1 && threads <= THREADS_MAX, "threads");
	for (i = 0; i < children; i++)
		(void)watched(seed * 0x9e3779b97f4a7c15ul + (uint64_t)i * 0xd1b54a32d192ed03ul + 1, calls, threads);
	alive = watched(1, 0, 1);
	fact("children that a kernel has survived", "%d, and one more: %s", children, status_text(alive));
	return (0);
}
