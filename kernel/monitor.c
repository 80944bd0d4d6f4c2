/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor: a prompt on the console, to look at the kernel while it lives.
 *
 *	line -> words -> the table below -> cmd_...(argc, argv)
 *
 * It runs in the main thread, reads through console_gets() from a person or from a pipe alike,
 * and ends with Ctrl-D on an empty line.  Commands only look, except those that say so.  A wrong
 * word costs one sentence.
 *
 * To add a command: write a function, declare it in monitor.h, add a line to the table.
 *
 * Why not a language: whoever wants loops has gdb and Python (`make gdb`), or a pipe into this one.
 */
#include "kernel/monitor.h"
#include "kernel/amd64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/main.h"
#include "kernel/tour.h"
#include "kernel/trace.h"
#include "vm/vm.h"

#define LINE_MAX	512
#define WORDS_MAX	4
#define STATUS_MAX	110

bool
monitor_number(const char *command, const char *text, uint64_t *out)
{
	if (cmdline_number(text, out))
		return (true);
	printf("%s: `%s` is not a number (such as 4096, 0x1000 or 4K)\n", command, text);
	return (false);
}

/* ---- commands of this file ---- */

static void cmd_help(int argc, char **argv);

static void
cmd_tour(int argc, char **argv)
{
	tour_play(argc > 1 ? argv[1] : NULL);
}

static void
cmd_fault(int argc, char **argv)
{
	uint64_t offset;

	if (argc > 3 && !streq(argv[3], "write"))
		printf("fault: after the offset there may only be `write`, not `%s`\n", argv[3]);
	else if (monitor_number(argv[0], argv[2], &offset))
		tour_fault(argv[1], offset, argc > 3);
}

static void
cmd_selftest(int argc, char **argv)
{
	(void)ktest_run(argv[1], rdtsc() & UINT32_MAX);
}

static void
cmd_poweroff(int argc, char **argv)
{
	uint64_t status = 0;

	if (argc > 1 && !monitor_number(argv[0], argv[1], &status))
		return;
	if (status > STATUS_MAX) {
		printf("%s: a status is a number from 0 to %d, not %lu\n", argv[0], STATUS_MAX,
		    status);
		return;
	}
	vfs_shutdown();
	trace_serial_flush();
	machine_exit((int)status);
}

/* ---- the table ---- */

static const struct command {
	const char	*name;
	const char	*usage;		/* the words that follow */
	int		 least, most;	/* how many */
	void		(*run)(int argc, char **argv);
	const char	*help;		/* NULL: a second name of the one before */
} commands[] = {
	{ "help", "", 0, 0, cmd_help,
	    "print this" },
	{ "tour", "[PATH|CHAPTER]", 0, 1, cmd_tour,
	    "play the tour (on this file), or its chapter write, memory or truncate" },
	{ "fault", "PATH OFFSET [write]", 2, 3, cmd_fault,
	    "map the file privately, touch one byte, tell what happens" },
	{ "ls", "[PATH]", 0, 1, cmd_ls,
	    "list a directory: type and mode, links, bytes, inode, name" },
	{ "stat", "PATH", 1, 1, cmd_stat,
	    "what the inode says" },
	{ "cat", "PATH", 1, 1, cmd_cat,
	    "print a file's first 64 KiB" },
	{ "sum", "PATH", 1, 1, cmd_sum,
	    "read a file through VOP_READ: CRC-32 (zlib's), bytes, disk requests" },
	{ "mapsum", "PATH", 1, 1, cmd_mapsum,
	    "the same through a mapping, page fault by page fault" },
	{ "map", "PATH", 1, 1, cmd_map,
	    "where a file's blocks lie: runs of sectors, holes" },
	{ "object", "PATH", 1, 1, cmd_object,
	    "a file's object and a picture of its pages" },
	{ "objects", "", 0, 0, cmd_objects,
	    "all VM objects" },
	{ "pages", "", 0, 0, cmd_pages,
	    "a picture of physical memory" },
	{ "queues", "", 0, 0, cmd_queues,
	    "page queues and the ladder of free-page thresholds" },
	{ "vmstat", "", 0, 0, cmd_vmstat,
	    "the VM's counters since boot" },
	{ "threads", "", 0, 0, cmd_threads,
	    "threads and what they wait for; interrupts" },
	{ "locks", "[order]", 0, 1, cmd_locks,
	    "how often locks were taken and waited for; order: which was waited for with which in hand" },
	{ "maps", "", 0, 0, cmd_maps,
	    "address spaces" },
	{ "disks", "", 0, 0, cmd_disks,
	    "disks and their counters" },
	{ "mounts", "", 0, 0, cmd_mounts,
	    "the mounted volumes, vnodes, name cache, metadata buffers" },
	{ "mount", "DISK DIRECTORY [ro]", 2, 3, cmd_mount,
	    "mount a disk's ext2 volume" },
	{ "umount", "DISK [force]", 1, 2, cmd_umount,
	    "unmount it; force: although it is in use" },
	{ "remount", "DISK ro|rw", 2, 2, cmd_remount,
	    "make a volume read-only, or read-write again" },
	{ "swap", "[WHERE|off]", 0, 1, cmd_swap,
	    "swap to a disk, a partition or a file (/PATH), or no more" },
	{ "sync", "", 0, 0, cmd_sync,
	    "write everything that waits in memory" },
	{ "kmem", "", 0, 0, cmd_kmem,
	    "kernel memory by type" },
	{ "trace", "on [GLOB]|off|show [N]", 1, 2, cmd_trace,
	    "record events (disk-*,fault*); print the last N (default 40)" },
	{ "drop", "", 0, 0, cmd_drop,
	    "empty the caches: objects, vnodes, metadata" },
	{ "check", "", 0, 0, cmd_check,
	    "walk the VM's invariants and the allocator's; panics when one is broken" },
	{ "selftest", "GLOB", 1, 1, cmd_selftest,
	    "run the self-tests that match, e.g. selftest fault.*" },
	{ "panic", "", 0, 0, cmd_panic,
	    "see what a panic prints" },
	{ "overflow", "", 0, 0, cmd_overflow,
	    "for the curious: run off the kernel stack into its guard page" },
	{ "crash", "WAY", 1, 1, cmd_crash,
	    "for the curious: break a rule (`crash ?` lists the ways)" },
	{ "poweroff", "[STATUS]", 0, 1, cmd_poweroff,
	    "end; the launcher exits with STATUS (0 to 110)" },
	{ "exit", "[STATUS]", 0, 1, cmd_poweroff, NULL },
};

static void
cmd_help(int argc, char **argv)
{
	char usage[40];

	for (const struct command *c = commands; c < commands + nitems(commands); c++) {
		snprintf(usage, sizeof(usage), "%s %s", c->name, c->usage);
		printf("  %-26s %s\n", usage, c->help != NULL ? c->help : "the same");
	}
	printf("Numbers may be 4096, 0x1000 or 4K.  Ctrl-D on an empty line ends the monitor.\n");
}

/* ---- the prompt ---- */

/* Cut a line into words, in place.  Returns how many there are; only WORDS_MAX are kept. */
static int
split(char *line, char *argv[WORDS_MAX])
{
	int argc = 0;

	for (char *p = line; ; ) {
		while (*p == ' ' || *p == '\t')
			p++;
		if (*p == '\0')
			return (argc);
		if (argc < WORDS_MAX)
			argv[argc] = p;
		argc++;
		while (*p != '\0' && *p != ' ' && *p != '\t')
			p++;
		if (*p != '\0')
			*p++ = '\0';
	}
}

static void
run_line(char *line)
{
	char *argv[WORDS_MAX];
	int argc = split(line, argv);

	if (argc == 0)
		return;
	for (const struct command *c = commands; c < commands + nitems(commands); c++) {
		if (!streq(argv[0], c->name))
			continue;
		if (argc - 1 < c->least || argc - 1 > c->most)
			printf("usage: %s %s\n", c->name, c->usage);
		else
			c->run(argc, argv);
		return;
	}
	printf("There is no command `%s`; help lists those that there are.\n", argv[0]);
}

void
monitor_main(void)
{
	static char line[LINE_MAX];	/* one monitor at a time; the stack is for the commands */

	printf("\nThe monitor: help lists its commands, Ctrl-D on an empty line powers off.\n");
	for (;;) {
		printf("faultline> ");
		if (console_gets(line, sizeof(line)) < 0)
			return;
		run_line(line);
	}
}
