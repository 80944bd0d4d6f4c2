/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What /proc says of processes by links: descriptors, which can be opened once more by them, the program, the working
 * directory; /dev/fd and its relatives; /dev/tty without a terminal; what kind of volume a file is on.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *
self_fd(int fd)
{
	static char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return (path);
}

/* What a link says, without the folder that this run is in, and without the numbers in brackets. */
static const char *
link_text(const char *path)
{
	static char text[600], here[512];
	ssize_t n = readlink(path, text, sizeof(text) - 1);
	char *bracket;

	if (n < 0)
		return (result(-1));
	text[n] = '\0';
	bracket = strstr(text, ":[");
	if (bracket != NULL)
		strcpy(bracket + 1, "[number]");
	need(getcwd(here, sizeof(here)) != NULL, "getcwd");
	if (strncmp(text, here, strlen(here)) == 0)
		return (text[strlen(here)] == '\0' ? "here" : strcpy(here, text + strlen(here)));
	return (text);
}

static void
files(void)
{
	struct stat a, b;
	char bytes[8] = "";
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644), again, dir;

	need(fd >= 0 && write(fd, "abcdefg", 7) == 7, "a file");
	fact("a descriptor's link", "%s", link_text(self_fd(fd)));
	need(lstat(self_fd(fd), &a) == 0, "lstat");
	fact("is a", "%s", S_ISLNK(a.st_mode) ? "link" : "?");
	again = open(self_fd(fd), O_RDONLY);
	fact("opened again, at its own offset", "%ld", (long)read(again, bytes, 3));
	fact("to be read only", "%s", result(write(again, "x", 1)));
	need(fstat(fd, &a) == 0 && fstat(again, &b) == 0, "fstat");
	fact("the same file", "%d", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	(void)close(again);
	need(unlink("file") == 0, "unlink");
	again = open(self_fd(fd), O_RDWR);
	fact("without a name", "%s, %ld", result(again < 0 ? -1 : 0), (long)read(again, bytes, 7));
	(void)close(again);
	again = open(self_fd(fd), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	fact("made or found, and cut", "%s", result(again < 0 ? -1 : 0));
	need(fstat(fd, &a) == 0, "fstat");
	fact("which shows", "%ld", (long)a.st_size);
	(void)close(again);
	fact("exclusively", "%s", result(open(self_fd(fd), O_RDWR | O_CREAT | O_EXCL, 0600)));
	fact("as a link", "%s", result(open(self_fd(fd), O_RDONLY | O_NOFOLLOW)));
	need(stat(self_fd(fd), &b) == 0, "stat");
	fact("stat leads to it", "%d", a.st_ino == b.st_ino);
	(void)close(fd);
	fact("closed", "%s", result(open(self_fd(fd), O_RDONLY)));
	fact("nor any text", "%s", link_text(self_fd(fd)));
	dir = open(".", O_RDONLY | O_DIRECTORY);
	fact("a folder", "%s", link_text(self_fd(dir)));
	fd = openat(dir, "inside", O_CREAT | O_RDWR, 0600);
	need(fd >= 0, "a file in it");
	(void)close(fd);
	{
		char path[100];

		(void)snprintf(path, sizeof(path), "%s/inside", self_fd(dir));
		fact("through it", "%s", result(access(path, F_OK)));
		(void)snprintf(path, sizeof(path), "%s/../%d", "/proc/self/fd", dir);
		fact("up from the descriptors is the process", "%s", result(access("/proc/self/fd/../stat", F_OK)));
	}
	need(unlink("inside") == 0, "unlink");
	(void)close(dir);
	fact("no number", "%s", result(open("/proc/self/fd/x", O_RDONLY)));
	fact("no such number", "%s", result(open("/proc/self/fd/01", O_RDONLY)));
}

static void
pipes(void)
{
	int fds[2], again;
	char byte = 0;
	struct stat st;

	need(pipe(fds) == 0, "pipe");
	fact("a pipe", "%s", link_text(self_fd(fds[0])));
	need(stat(self_fd(fds[1]), &st) == 0, "stat");
	fact("is", "%o", st.st_mode);
	again = open(self_fd(fds[0]), O_WRONLY);
	need(again >= 0 && write(again, "p", 1) == 1 && read(fds[0], &byte, 1) == 1, "through its other end");
	fact("opened by the reading end to write", "%c", byte);
	(void)close(fds[1]);
	{
		struct pollfd p = { .fd = fds[0], .events = POLLIN };

		(void)poll(&p, 1, 0);
		fact("with the first writer gone", "%s", p.revents & POLLHUP ? "hangup" : "open");
		(void)close(again);
		(void)poll(&p, 1, 0);
		fact("and the other", "%s", p.revents & POLLHUP ? "hangup" : "open");
	}
	again = open(self_fd(fds[0]), O_RDONLY);
	fact("read at the end", "%ld", (long)read(again, &byte, 1));
	(void)close(fds[0]);
	(void)close(again);
	need(pipe(fds) == 0 && close(fds[0]) == 0, "a pipe without a reader");
	again = open(self_fd(fds[1]), O_WRONLY | O_NONBLOCK);
	fact("its writing end once more", "%s", result(again < 0 ? -1 : 0));
	(void)close(fds[1]);
	(void)close(again);
}

static int
wait_for_end(void *arg)
{
	char byte;
	int *fds = arg;

	(void)close(fds[1]);
	return ((int)read(fds[0], &byte, 1));
}

static void
another(void)
{
	int fds[2], status, fd = open("theirs", O_RDWR | O_CREAT, 0600), count = 0;
	char path[64], mine[512], theirs[512];
	struct dirent *e;
	ssize_t n, m;
	pid_t pid;
	DIR *d;

	need(fd >= 0 && pipe(fds) == 0, "files");
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(wait_for_end(fds));
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	fact("another's", "%s", link_text(path));
	fact("opened", "%s", result(open(path, O_RDWR) < 0 ? -1 : 0));
	(void)snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	fact("its working directory", "%s", link_text(path));
	(void)snprintf(path, sizeof(path), "/proc/%d/root", pid);
	fact("its root", "%s", link_text(path));
	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, theirs, sizeof(theirs));
	m = readlink("/proc/self/exe", mine, sizeof(mine));
	fact("its program is ours", "%d", n > 0 && n == m && memcmp(mine, theirs, (size_t)n) == 0);
	fact("and can be read", "%s", result(open(path, O_RDONLY) < 0 ? -1 : 0));
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	need(d != NULL, path);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && e->d_type == DT_LNK && (atoi(e->d_name) == fd || atoi(e->d_name) == fds[0]))
			count++;
	(void)closedir(d);
	fact("listed", "%d", count);
	(void)close(fds[1]);
	(void)waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	(void)snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	fact("of the dead", "%s", link_text(path));
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	fact("their files", "%s", link_text(path));
	need(waitpid(pid, &status, 0) == pid && unlink("theirs") == 0, "its end");
	fact("gone", "%s", link_text(path));
	(void)close(fd);
	(void)close(fds[0]);
}

static void
devices(void)
{
	int fd = open("words", O_RDWR | O_CREAT | O_TRUNC, 0600), saved = dup(0);
	char bytes[8] = "";
	struct statfs fs;

	need(fd >= 0 && write(fd, "words", 5) == 5 && dup2(fd, 0) == 0, "standard input");
	(void)close(fd);
	fd = open("/dev/stdin", O_RDONLY);
	fact("standard input, from its start", "%s", read(fd, bytes, 5) == 5 ? bytes : "?");
	(void)close(fd);
	fact("/dev/fd/0", "%s", link_text("/dev/fd/0"));
	fact("/dev/fd", "%s", link_text("/dev/fd"));
	need(dup2(saved, 0) == 0 && unlink("words") == 0, "back");
	(void)close(saved);
	need(setsid() >= 0 || errno == EPERM, "setsid");
	fact("the terminal of who has none", "%s", result(open("/dev/tty", O_RDWR)));
	need(statfs("/proc", &fs) == 0, "statfs");
	fact("/proc is", "%lx, names of up to %ld bytes", (unsigned long)fs.f_type, (long)fs.f_namelen);
	need(statfs("/dev/null", &fs) == 0, "statfs");
	fact("/dev is", "%lx", (unsigned long)fs.f_type);
	{
		int fds[2];

		need(pipe(fds) == 0 && fstatfs(fds[0], &fs) == 0, "a pipe");
		fact("a pipe is", "%lx, blocks of %ld", (unsigned long)fs.f_type, (long)fs.f_bsize);
	}
	fact("nothing is", "%s", result(statfs("nothing", &fs)));
	fact("to nowhere", "%s", result(statfs("/proc", (void *)8)));
}

/* Figures that must be there and make sense. */
static void
figures(void)
{
	double one, five, fifteen;
	int running, all, last;
	FILE *f = fopen("/proc/loadavg", "r");

	need(f != NULL, "/proc/loadavg");
	fact("load averages", "%d", fscanf(f, "%lf %lf %lf %d/%d %d", &one, &five, &fifteen, &running, &all, &last));
	fact("one runs at least, of more", "%d", running >= 1 && all >= running && last >= 1);
	(void)fclose(f);
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	files();
	pipes();
	another();
	devices();
	figures();
	return (0);
}
