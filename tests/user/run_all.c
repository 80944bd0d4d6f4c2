/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run programs one after the other: the first process of a test machine.
 *
 *	run_all DIR PROGRAM[,ARGUMENT...] ...
 *
 * Each gets a session of its own and a fresh folder in DIR.  Before its output stands "== NAME", behind it how it
 * ended; one that takes too long is killed.  On Linux it does the same.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_SECONDS 240
#define ARGUMENTS	16

static void
become(const char *dir, char *words)
{
	char *argv[ARGUMENTS + 1], folder[512], *name;
	int argc = 0;

	for (char *at = strtok(words, ","); at != NULL && argc < ARGUMENTS; at = strtok(NULL, ","))
		argv[argc++] = at;
	argv[argc] = NULL;
	name = strrchr(argv[0], '/');
	snprintf(folder, sizeof(folder), "%s/%s", dir, name != NULL ? name + 1 : argv[0]);
	need(mkdir(folder, 0755) == 0 || errno == EEXIST, folder);
	need(chdir(folder) == 0, folder);
	need(setsid() > 0, "setsid");
	dup2(1, 2);
	execv(argv[0], argv);
	need(0, argv[0]);
}

/* What is left of a program and its children is collected, too: this may be process 1. */
static void
run(const char *dir, char *words)
{
	int status = 0, tick;
	pid_t pid, gone;

	printf("== %s\n", words);
	fflush(stdout);
	pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0)
		become(dir, words);
	for (tick = 0; (gone = waitpid(-1, &status, WNOHANG)) != pid; tick++) {
		if (gone > 0)
			continue;
		if (tick > PATIENCE_SECONDS * 50)
			kill(-pid, SIGKILL);
		usleep(20000);
	}
	printf("-- %s\n", status_text(status));
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	need(argc > 2, "usage: run_all DIR PROGRAM[,ARGUMENT...] ...");
	for (int i = 2; i < argc; i++)
		run(argv[1], argv[i]);
	return (0);
}
