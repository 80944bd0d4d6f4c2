/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the monitor's files share: the commands, each a function of its words (argv[0] is the
 * command's own name).
 */
#ifndef KERNEL_MONITOR_H
#define KERNEL_MONITOR_H

#include "kernel/lib/types.h"

/* monitor_files.c: files as the filesystem, the pager and a mapping show them */
void cmd_ls(int argc, char **argv);
void cmd_stat(int argc, char **argv);
void cmd_cat(int argc, char **argv);
void cmd_sum(int argc, char **argv);
void cmd_mapsum(int argc, char **argv);
void cmd_map(int argc, char **argv);
void cmd_object(int argc, char **argv);

/* monitor_mount.c: volumes */
void cmd_mount(int argc, char **argv);
void cmd_umount(int argc, char **argv);
void cmd_remount(int argc, char **argv);
void cmd_sync(int argc, char **argv);
void cmd_swap(int argc, char **argv);
void cmd_mounts(int argc, char **argv);

/* monitor_views.c: the kernel's own state */
void cmd_objects(int argc, char **argv);
void cmd_pages(int argc, char **argv);
void cmd_queues(int argc, char **argv);
void cmd_vmstat(int argc, char **argv);
void cmd_threads(int argc, char **argv);
void cmd_locks(int argc, char **argv);
void cmd_maps(int argc, char **argv);
void cmd_disks(int argc, char **argv);
void cmd_kmem(int argc, char **argv);
void cmd_trace(int argc, char **argv);
void cmd_drop(int argc, char **argv);
void cmd_check(int argc, char **argv);

/* monitor_crash.c: panics */
void cmd_panic(int argc, char **argv);
void cmd_overflow(int argc, char **argv);
void cmd_crash(int argc, char **argv);

/*
 * monitor.c: parse a number as cmdline_number() does; false, after one sentence, when it is
 * none.
 */
bool monitor_number(const char *command, const char *text, uint64_t *out);

#endif
