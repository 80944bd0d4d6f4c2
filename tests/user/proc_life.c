/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes: fork, vfork, exec, what is inherited, what exec closes and resets, orphans, groups, and wait. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static const char *self;

/* What the program does when it is started by itself: prints what it was given. */
static int
as_child(int argc, char **argv)
{
	struct sigaction usr1, usr2;
	sigset_t mask;
	int i, open_fds = 0;

	for (i = 2; i < argc; i++)
		fact("argument", "[%s]", argv[i]);
	for (i = 0; environ[i] != NULL; i++)
		fact("environment", "[%s]", environ[i]);
	for (i = 3; i < 32; i++)
		open_fds += fcntl(i, F_GETFD) >= 0;
	sigaction(SIGUSR1, NULL, &usr1);
	sigaction(SIGUSR2, NULL, &usr2);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	fact("descriptors above 2", "%d", open_fds);
	fact("a caught signal is default, an ignored one ignored", "%d %d", usr1.sa_handler == SIG_DFL, usr2.sa_handler == SIG_IGN);
	fact("the mask stays", "%d", sigismember(&mask, SIGHUP));
	fact("the name", "%s", basename(argv[0]));
	fact("a group of its own", "%d", getpid() == getpgrp());
	return (12);
}

static void
ignore(int sig)
{
	(void)sig;
}

static int
exec_self(void *arg)
{
	char *argv[] = { "chosen name", "--child", "one", "", "two words", NULL };
	char *env[] = { "A=1", "EMPTY=", NULL };
	sigset_t mask;

	(void)arg;
	need(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0 && open("/dev/null", O_RDONLY) >= 0, "/dev/null");
	signal(SIGUSR1, ignore);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	setpgid(0, 0);
	map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	execve(self, argv, env);
	return (99);
}

static void
write_script(const char *name, const char *text, mode_t mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);

	need(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0, name);
	close(fd);
}

static int
exec_name(void *arg)
{
	char *argv[] = { "name", "--child", "x", NULL }, *env[] = { NULL };

	execve(arg, argv, env);
	fact("execve", "%s", result(-1));
	return (98);
}

static void
executing(void)
{
	char line[256];

	fact("a program executes itself", "%s", status_text(in_child(exec_self, NULL)));
	fact("a file that is not there", "%s", status_text(in_child(exec_name, "/nowhere/at/all")));
	fact("a folder", "%s", status_text(in_child(exec_name, "/")));
	write_script("plain.tmp", "just text\n", 0644);
	fact("a file that may not be executed", "%s", status_text(in_child(exec_name, "plain.tmp")));
	write_script("text.tmp", "just text\n", 0755);
	fact("a file that is no program", "%s", status_text(in_child(exec_name, "text.tmp")));
	write_script("empty.tmp", "", 0755);
	fact("an empty file", "%s", status_text(in_child(exec_name, "empty.tmp")));
	write_script("short.tmp", "\177ELF\2\1\1", 0755);
	fact("a program cut short", "%s", status_text(in_child(exec_name, "short.tmp")));
	snprintf(line, sizeof(line), "#!%s --child\n", self);
	write_script("script.tmp", line, 0755);
	fact("a script", "%s", status_text(in_child(exec_name, "./script.tmp")));
	write_script("lost.tmp", "#!/nowhere/interpreter\n", 0755);
	fact("a script without its interpreter", "%s", status_text(in_child(exec_name, "./lost.tmp")));
	unlink("plain.tmp");
	unlink("text.tmp");
	unlink("empty.tmp");
	unlink("short.tmp");
	unlink("script.tmp");
	unlink("lost.tmp");
}

static int *counter;

static int
grandchild_outlives(void *arg)
{
	pid_t parent = getpid();

	(void)arg;
	if (fork() == 0) {
		while (getppid() == parent)
			usleep(1000);
		counter[1] = 1;
		_exit(0);
	}
	return (0);
}

static void
vforking(void)
{
	volatile int here = 0;
	int status;
	pid_t pid;

	counter[0] = 0;
	pid = vfork();
	if (pid == 0) {
		here = 1;
		usleep(20000);
		counter[0] = 1;
		_exit(4);
	}
	fact("after vfork the child is done", "%d, and stored in the parent's memory: %d", counter[0], here);
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	fact("its status", "%s", status_text(status));
	counter[1] = 0;
	fact("a child that leaves a child", "%s", status_text(in_child(grandchild_outlives, NULL)));
	while (((volatile int *)counter)[1] == 0)
		usleep(1000);
	fact("the orphan has another parent", "%d", counter[1]);
}

static int
exit_with(void *arg)
{
	return ((int)(long)arg);
}

static void
waiting(void)
{
	siginfo_t info;
	int status, i, seen = 0;
	pid_t pids[8], pid;

	fact("exit 0 and 255", "%s %s", status_text(in_child(exit_with, (void *)0)), status_text(in_child(exit_with, (void *)255)));
	for (i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(i);
	}
	while ((pid = waitpid(-1, &status, 0)) > 0)
		for (i = 0; i < 8; i++)
			if (pids[i] == pid && WEXITSTATUS(status) == i)
				seen |= 1 << i;
	fact("eight children, in any order", "0x%x", seen);
	pid = fork();
	if (pid == 0)
		_exit(17);
	memset(&info, 0, sizeof(info));
	fact("waitid that leaves it", "%s", result(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT)));
	fact("says", "%d %d %d", info.si_pid == pid, info.si_status, info.si_code == CLD_EXITED);
	fact("waitid that takes it", "%s", result(waitid(P_PID, (id_t)pid, &info, WEXITED)));
	fact("waitid of nobody", "%s", result(waitid(P_PID, (id_t)pid, &info, WEXITED)));
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		pause();
	}
	setpgid(pid, pid);
	fact("a group of its own", "%d", getpgid(pid) == pid);
	fact("WNOHANG", "%d", waitpid(-pid, &status, WNOHANG));
	fact("killing the group", "%s", result(kill(-pid, SIGKILL)));
	need(waitpid(-pid, &status, 0) == pid, "waitpid");
	fact("killed it", "%s", status_text(status));
	fact("setsid of a group leader", "%s", result(setpgid(0, 0) == 0 ? setsid() : 0));
}

static void
limits(void)
{
	struct rlimit limit;
	int fd;

	need(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = 10;
	need(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		;
	fact("too many descriptors", "%s", result(-1));
	fact("dup2 beyond the limit", "%s", result(dup2(0, 10)));
	fact("a limit above its maximum", "%s",
	    result((limit.rlim_cur = 100, limit.rlim_max = 50, setrlimit(RLIMIT_NOFILE, &limit))));
	for (fd = 3; fd < 10; fd++)
		close(fd);
}

/* ---- what clone lets processes share ---- */

static int
closes_and_moves(void *arg)
{
	need(chdir("/") == 0, "chdir");
	umask(0123);
	return (close(*(int *)arg) == 0 ? 5 : 1);
}

static void
share(const char *what, int flags)
{
	static char stack[65536] __attribute__((aligned(16)));
	int fd = open("/dev/null", O_RDONLY), here = open(".", O_RDONLY | O_DIRECTORY), status, mask, open_now;
	struct stat before, after;
	pid_t pid;

	need(stat(".", &before) == 0, "stat");
	umask(022);
	pid = clone(closes_and_moves, stack + sizeof(stack), flags | SIGCHLD, &fd);
	need(pid > 0 && waitpid(pid, &status, 0) == pid, "clone");
	need(stat(".", &after) == 0, "stat");
	mask = (int)umask(022);
	open_now = fcntl(fd, F_GETFD);
	fact(what, "%s; moved %d, umask %03o, descriptor %s", status_text(status), before.st_ino != after.st_ino, mask,
	    result(open_now));
	need(fchdir(here) == 0, "fchdir");
	close(fd);
	close(here);
}

static void
sharing(void)
{
	share("nothing shared", 0);
	share("CLONE_FS", CLONE_FS);
	share("CLONE_FILES", CLONE_FILES);
	share("both", CLONE_FS | CLONE_FILES);
}

/* ---- programs that are written to, files that run ---- */

static int
exec_copy(void *arg)
{
	char *argv[] = { arg, "--child", NULL }, *env[] = { NULL };
	int null = open("/dev/null", O_WRONLY);

	dup2(null, 1);
	execve(arg, argv, env);
	return (errno == ETXTBSY ? 26 : 1);
}

/* What is open is executed by its descriptor; the program that runs then is this one, as --child. */
static int
exec_open(void *arg)
{
	char *argv[] = { arg, "--child", NULL }, *env[] = { NULL };
	int fd = open(arg, O_PATH), null = open("/dev/null", O_WRONLY);

	dup2(null, 1);
	unlink(arg);
	syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
	return (1);
}

/* Mappings keep what a file was opened for, whatever becomes of its descriptor and of themselves. */
static void
mapped_for_writing(char *path)
{
	int fd = open(path, O_RDWR);
	char *p = map(8 * PAGE, PROT_READ, MAP_SHARED, fd, 0), *q;

	fact("open and mapped", "%s", status_text(in_child(exec_copy, path)));
	close(fd);
	fact("mapped only", "%s", status_text(in_child(exec_copy, path)));
	need(mprotect(p + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0 && munmap(p, PAGE) == 0 &&
	    munmap(p + 5 * PAGE, PAGE) == 0, "pieces");
	fact("in pieces", "%s", status_text(in_child(exec_copy, path)));
	q = mremap(p + 6 * PAGE, 2 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
	need(q != MAP_FAILED && munmap(p, 6 * PAGE) == 0, "moved and longer");
	fact("moved", "%s", status_text(in_child(exec_copy, path)));
	need(munmap(q + PAGE, 15 * PAGE) == 0 &&
	    mmap(q, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == q, "over it");
	fact("mapped over", "%s", status_text(in_child(exec_copy, path)));
	fd = open(path, O_RDONLY);
	p = map(PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	fact("mapped by who may only read", "%s", status_text(in_child(exec_copy, path)));
	need(munmap(p, PAGE) == 0, "munmap");
}

static void
text_busy(void)
{
	static char buf[65536];
	int from = open(self, O_RDONLY), to = open("copy.tmp", O_RDWR | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	need(from >= 0 && to >= 0, "copy.tmp");
	while ((n = read(from, buf, sizeof(buf))) > 0)
		need(write(to, buf, (size_t)n) == n, "copy");
	fact("exec of a file that is open for writing", "%s", status_text(in_child(exec_copy, "copy.tmp")));
	close(to);
	to = open("copy.tmp", O_RDONLY);
	fact("once it is closed", "%s", status_text(in_child(exec_copy, "copy.tmp")));
	fact("a program that runs, opened for writing", "%s", result(open(self, O_RDWR)));
	close(to);
	close(from);
	mapped_for_writing("copy.tmp");
	fact("exec of a file without a name", "%s", status_text(in_child(exec_open, "copy.tmp")));
	fact("of no file", "%s", result(syscall(SYS_execveat, 77, "", NULL, NULL, AT_EMPTY_PATH)));
	fact("of a device", "%s", result(syscall(SYS_execveat, open("/dev/null", O_RDONLY), "", NULL, NULL, AT_EMPTY_PATH)));
	unlink("copy.tmp");
}

static void
touch(unsigned pages)
{
	unsigned char *p = map(pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(madvise(p, pages * PAGE, MADV_NOHUGEPAGE) == 0, "madvise");
	for (unsigned i = 0; i < pages; i++)
		p[i * PAGE] = 1;
	need(munmap(p, pages * PAGE) == 0, "munmap");
}

/* Faults, and the most that was in memory, as getrusage() and wait4() tell them: Linux counts it a little loosely. */
static void
usage(void)
{
	struct rusage before, after, one;
	int status;
	pid_t pid;

	need(getrusage(RUSAGE_SELF, &before) == 0, "getrusage");
	touch(2048);
	need(getrusage(RUSAGE_SELF, &after) == 0 && getrusage(RUSAGE_THREAD, &one) == 0, "getrusage");
	fact("2048 pages, so many faults or little more", "%d", after.ru_minflt - before.ru_minflt >= 2048 &&
	    after.ru_minflt - before.ru_minflt < 2100);
	fact("for none of them was a disk asked", "%ld", after.ru_majflt - before.ru_majflt);
	fact("the thread's, and the process's", "%d", one.ru_minflt >= 2048 && one.ru_minflt <= after.ru_minflt);
	fact("the most that was in memory, when it is gone", "%d", after.ru_maxrss >= 1536 * 4 && after.ru_maxrss < 4096 * 4);
	fflush(stdout);
	pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0) {
		touch(4096);
		_exit(0);
	}
	need(wait4(pid, &status, 0, &one) == pid && getrusage(RUSAGE_CHILDREN, &after) == 0, "wait4");
	fact("a child's, when it is waited for", "%d %d", one.ru_minflt >= 4096, one.ru_maxrss >= 3072 * 4);
	fact("and all children's", "%d %d", after.ru_minflt >= one.ru_minflt, after.ru_maxrss >= one.ru_maxrss);
	fact("of whom", "%s", result(getrusage(7, &one)));
}

int
main(int argc, char **argv)
{
	static char path[4096];
	int fd;

	if (argc > 1 && strcmp(argv[1], "--child") == 0)
		return (as_child(argc, argv));
	need(realpath(argv[0], path) != NULL, argv[0]);
	self = path;
	for (fd = 3; fd < 64; fd++)
		close(fd);
	probe_init(argc, argv);
	counter = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	executing();
	vforking();
	waiting();
	limits();
	usage();
	sharing();
	text_busy();
	return (0);
}
