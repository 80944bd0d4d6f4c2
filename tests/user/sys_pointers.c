/* SPDX-License-Identifier: BSD-2-Clause */
/* Bad pointers given to system calls: an error, never a signal, and nothing half done that was not said. */
#define _GNU_SOURCE
#include "probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)
#define RW	(PROT_READ | PROT_WRITE)

static unsigned char *good;		/* a page, with nothing mapped behind it */
static void *read_only, *no_access;
static int fd, zero, pipes[2];

static void
each_bad_pointer(const char *what, long (*call)(void *at))
{
	fact(what, "null %s", result(call(NULL)));
	fact(what, "unmapped %s", result(call(good + PAGE)));
	fact(what, "read-only %s", result(call(read_only)));
	fact(what, "no access %s", result(call(no_access)));
	fact(what, "the kernel %s", result(call((void *)0xffffffff80000000)));
	fact(what, "not canonical %s", result(call((void *)0xdead000000000000)));
	fact(what, "the top %s", result(call((void *)-1)));
}

static long call_read(void *at) { return (pread(fd, at, 16, 0)); }
static long call_write(void *at) { return (pwrite(fd, at, 16, 0)); }
static long call_pipe_write(void *at) { return (write(pipes[1], at, 16)); }
static long call_stat(void *at) { return (syscall(SYS_newfstatat, fd, "", at, AT_EMPTY_PATH)); }
static long call_open(void *at) { return (syscall(SYS_openat, AT_FDCWD, at, O_RDONLY, 0)); }
static long call_pipe(void *at) { return (syscall(SYS_pipe2, at, 0)); }
static long call_clock(void *at) { return (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at)); }
static long call_sleep(void *at) { return (syscall(SYS_nanosleep, at, NULL)); }
static long call_sigaction(void *at) { return (syscall(SYS_rt_sigaction, SIGUSR1, at, NULL, 8)); }
static long call_sigmask(void *at) { return (syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, at, 8)); }
static long call_readv(void *at) { return (syscall(SYS_readv, fd, at, 1)); }
static long call_uname(void *at) { return (syscall(SYS_uname, at)); }
static long call_getcwd(void *at) { return (syscall(SYS_getcwd, at, 4096)); }
static long call_readlink(void *at) { return (syscall(SYS_readlink, "link.tmp", at, 64)); }
static long call_execve(void *at) { return (syscall(SYS_execve, at, NULL, NULL)); }
static long call_poll(void *at) { return (syscall(SYS_poll, at, 1, 0)); }

static void
across_the_edge(void)
{
	unsigned char *edge = good + PAGE - 10;
	struct iovec two[2] = { { good, 4 }, { good + PAGE, 4 } };

	memset(good, 0x42, PAGE);
	fact("read of zeros across the edge", "%ld", (long)read(zero, edge, 20));
	fact("its bytes", "%d", all_bytes(edge, 10, 0));
	fact("read of a file across the edge", "%ld", (long)pread(fd, edge, 20, 1000));
	fact("its bytes", "%d", all_pattern(edge, 10, 1000));
	fact("write of a file across the edge", "%ld", (long)pwrite(fd, edge, 20, 0));
	fact("write of a pipe across the edge", "%s", result(write(pipes[1], edge, 20)));
	fact("writev of good and bad", "%ld", (long)pwritev(fd, two, 2, 0));
	fact("a path that ends at the edge", "%s", (memcpy(good + PAGE - 2, ".", 2), result(call_open(good + PAGE - 2))));
	fact("a path that has no end", "%s", (memset(good, '/', PAGE), result(call_open(good))));
}

static void
sizes(void)
{
	fact("read of 0 bytes into nothing", "%ld", (long)read(fd, NULL, 0));
	fact("write of 0 bytes from nothing", "%ld", (long)write(fd, NULL, 0));
	fact("read of a wild length", "%s", result(syscall(SYS_read, fd, good, -1l)));
	fact("pread at a negative offset", "%s", result(pread(fd, good, 1, -1)));
	fact("readv of no buffers", "%s", result(readv(fd, NULL, 0)));
	fact("readv of too many", "%s", result(syscall(SYS_readv, fd, good, 100000)));
	fact("a closed descriptor", "%s", result(read(1000, good, 1)));
	fact("a wild descriptor", "%s", result(read(-5, good, 1)));
	fact("an unknown system call", "%s %s", result(syscall(999)), result(syscall(-1)));
	fact("a signal mask of the wrong size", "%s", result(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, good, 7)));
	fact("a signal that is none", "%s %s", result(kill(getpid(), 65)), result(kill(getpid(), -1)));
	fact("a process that is none", "%s", result(kill(999999, 0)));
	fact("waiting for a stranger", "%s", result(waitpid(1 << 20, NULL, 0)));
	fact("waiting for nobody", "%s", result(waitpid(-1, NULL, 0)));
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	read_only = map(PAGE, PROT_READ, ANON, -1, 0);
	no_access = map(PAGE, PROT_NONE, ANON, -1, 0);
	good = map(2 * PAGE, RW, ANON, -1, 0);
	need(munmap(good + PAGE, PAGE) == 0, "munmap");
	fd = scratch_file(NULL, PAGE);
	zero = open("/dev/zero", O_RDONLY);
	need(zero >= 0 && pipe(pipes) == 0, "descriptors");
	unlink("link.tmp");
	need(symlink("target", "link.tmp") == 0, "symlink");
	each_bad_pointer("read", call_read);
	each_bad_pointer("write", call_write);
	each_bad_pointer("write to a pipe", call_pipe_write);
	each_bad_pointer("fstat", call_stat);
	each_bad_pointer("open", call_open);
	each_bad_pointer("pipe", call_pipe);
	each_bad_pointer("clock_gettime", call_clock);
	each_bad_pointer("nanosleep", call_sleep);
	each_bad_pointer("sigaction", call_sigaction);
	each_bad_pointer("sigprocmask", call_sigmask);
	each_bad_pointer("readv", call_readv);
	each_bad_pointer("uname", call_uname);
	each_bad_pointer("getcwd", call_getcwd);
	each_bad_pointer("readlink", call_readlink);
	each_bad_pointer("execve", call_execve);
	each_bad_pointer("poll", call_poll);
	across_the_edge();
	sizes();
	unlink("link.tmp");
	return (0);
}
