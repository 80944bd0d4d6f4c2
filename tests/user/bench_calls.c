/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What processes cost, in instructions: `make bench` runs this as init on the emulated machine that counts the TSC up
 * by one for each instruction.  On any other machine the numbers are something else.
 *
 *	bench_calls [COPY]	COPY: the same program in another file, which nobody has read yet
 *
 * One line for each row: NAME VALUE.  Each is the least of several rounds: what is measured is the work, not who else
 * had the processor.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS	1000
#define ROUNDS	5

static uint64_t
now(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) :: "memory");
	return ((uint64_t)high << 32 | low);
}

static void
row(const char *name, uint64_t value)
{
	printf("%s %lu\n", name, value);
}

static uint64_t
least(uint64_t (*fn)(void *), void *arg)
{
	uint64_t best = ~0ul, t;

	for (int i = 0; i < ROUNDS; i++) {
		t = fn(arg);
		if (t < best)
			best = t;
	}
	return (best);
}

/* getppid() does next to nothing; the loop around it is four instructions and is taken off. */
static uint64_t
null_call(void *arg)
{
	uint64_t start, with, without;
	long nr, i;

	start = now();
	for (i = 0; i < CALLS; i++) {
		nr = SYS_getpid;
		__asm__ volatile("syscall" : "+a"(nr) : : "rcx", "r11", "memory");
	}
	with = now() - start;
	start = now();
	for (i = 0; i < CALLS; i++) {
		nr = SYS_getpid;
		__asm__ volatile("" : "+a"(nr) : : "rcx", "r11", "memory");
	}
	without = now() - start;
	(void)arg;
	return ((with - without) / CALLS);
}

struct memory {
	char	*at;
	size_t	 len;
};

/* fork, exit, wait; all of some private memory has been written since the last fork. */
static uint64_t
fork_exit_wait(void *arg)
{
	const struct memory *m = arg;
	uint64_t start;
	int status;
	pid_t pid;

	for (size_t at = 0; at < m->len; at += PAGE)
		m->at[at]++;
	start = now();
	pid = fork();

	need(pid >= 0, "fork");
	if (pid == 0)
		_exit(0);
	need(waitpid(pid, &status, 0) == pid && status == 0, "wait");
	return (now() - start);
}

static void
forks(void)
{
	static const int sizes[] = { 1, 16, 64 };
	struct memory nothing = { NULL, 0 };
	char name[32];

	row("fork.nothing", least(fork_exit_wait, &nothing));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t len = (size_t)sizes[i] << 20;
		struct memory m = { map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), len };

		snprintf(name, sizeof(name), "fork.%dmib", sizes[i]);
		row(name, least(fork_exit_wait, &m));
		munmap(m.at, len);
	}
}

struct transfer {
	int	 fd;
	size_t	 len;
	bool	 write;
};

/* Bytes between a file in memory and memory that is there. */
static uint64_t
transfer(void *arg)
{
	static char buf[64 << 10];
	const struct transfer *t = arg;
	uint64_t start = now();
	ssize_t n = t->write ? pwrite(t->fd, buf, t->len, 0) : pread(t->fd, buf, t->len, 0);

	start = now() - start;
	need(n == (ssize_t)t->len, "transfer");
	return (start);
}

static void
transfers(void)
{
	int fd = scratch_file("bench.tmp", 64 << 10);

	row("read.1", least(transfer, &(struct transfer){ fd, 1, false }));
	row("read.4k", least(transfer, &(struct transfer){ fd, 4 << 10, false }));
	row("read.64k", least(transfer, &(struct transfer){ fd, 64 << 10, false }));
	row("write.4k", least(transfer, &(struct transfer){ fd, 4 << 10, true }));
	row("write.64k", least(transfer, &(struct transfer){ fd, 64 << 10, true }));
	close(fd);
}

/* vfork and exec of this program; the child tells on entry to main how long that took. */
static uint64_t
exec_self(void *arg)
{
	char started[32];
	char *argv[] = { arg, "--started", started, NULL };
	int fds[2];
	uint64_t took;
	pid_t pid;

	need(pipe(fds) == 0, "pipe");
	snprintf(started, sizeof(started), "%lu", now());
	pid = vfork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execv(arg, argv);
		_exit(127);
	}
	close(fds[1]);
	need(pid > 0 && read(fds[0], &took, sizeof(took)) == sizeof(took), "exec");
	close(fds[0]);
	need(waitpid(pid, NULL, 0) == pid, "wait");
	return (took);
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--started") == 0) {
		uint64_t took = now() - strtoul(argv[2], NULL, 10);

		return (write(1, &took, sizeof(took)) == sizeof(took) ? 0 : 1);
	}
	probe_init(1, argv);
	row("call.null", least(null_call, NULL));
	forks();
	transfers();
	if (argc == 2)
		row("exec.cold", exec_self(argv[1]));
	row("exec.warm", least(exec_self, argv[0]));
	return (0);
}
