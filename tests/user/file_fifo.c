/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FIFOs and other special files: making them, who waits for whom when they are opened, what poll says of each end, what
 * a writer without readers gets, and that a pipe lives as long as somebody has it open, whatever becomes of its name.
 * And numbers that are waited for like pipes: eventfds.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static volatile sig_atomic_t signals;

static void
on_signal(int sig)
{
	(void)sig;
	signals++;
}

/* A descriptor, or what was wrong. */
static const char *
opened(int fd)
{
	const char *how = result(fd);

	if (fd >= 0)
		(void)close(fd);
	return (how);
}

static void
making(void)
{
	struct dirent *e;
	struct stat st;
	DIR *d;

	(void)umask(022);
	fact("mkfifo", "%s", result(mkfifo("fifo", 0666)));
	need(stat("fifo", &st) == 0, "stat");
	fact("is", "%o, %ld bytes, %lu links", st.st_mode, (long)st.st_size, (unsigned long)st.st_nlink);
	fact("once more", "%s", result(mkfifo("fifo", 0666)));
	fact("with a slash", "%s", result(mkfifo("other/", 0666)));
	fact("in no folder", "%s", result(mkfifo("nowhere/fifo", 0666)));
	fact("in a file", "%s", result(mkfifo("fifo/fifo", 0666)));
	fact("a regular file", "%s", result(mknod("file", S_IFREG | 0640, 0)));
	fact("a file without a type", "%s", result(mknod("file2", 0600, 0)));
	need(stat("file2", &st) == 0, "stat");
	fact("is", "%o", st.st_mode);
	fact("a folder", "%s", result(mknod("folder", S_IFDIR | 0755, 0)));
	fact("a link", "%s", result(mknod("link", S_IFLNK | 0755, 0)));
	fact("no type at all", "%s", result(mknod("link", 0170000 | 0755, 0)));
	fact("a socket", "%s", result(mknod("socket", S_IFSOCK | 0755, 0)));
	fact("opened", "%s", opened(open("socket", O_RDWR)));
	fact("as a place", "%s", opened(open("socket", O_PATH)));
	d = opendir(".");
	need(d != NULL, "opendir");
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, "fifo") == 0)
			fact("in the folder it is", "%s", e->d_type == DT_FIFO ? "a FIFO" : "something else");
	(void)closedir(d);
}

static void
not_a_file(void)
{
	int fd = open("fifo", O_RDWR), n = 0;
	struct stat st;

	need(fd >= 0, "open");
	fact("seek", "%s", result(lseek(fd, 0, SEEK_SET)));
	fact("pread", "%s", result(pread(fd, &n, 1, 0)));
	fact("ftruncate", "%s", result(ftruncate(fd, 0)));
	fact("truncate", "%s", result(truncate("fifo", 0)));
	fact("fsync", "%s", result(fsync(fd)));
	fact("mmap", "%s", map_result(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	fact("as a folder", "%s", opened(open("fifo", O_RDONLY | O_DIRECTORY)));
	fact("exclusively", "%s", opened(open("fifo", O_RDWR | O_CREAT | O_EXCL, 0600)));
	fact("made or found, and cut", "%s", opened(open("fifo", O_RDWR | O_CREAT | O_TRUNC, 0600)));
	fact("as a program", "%s", result(execl("./fifo", "fifo", NULL)));
	need(write(fd, "abc", 3) == 3 && ioctl(fd, FIONREAD, &n) == 0, "FIONREAD");
	fact("in it are", "%d", n);
	need(fstat(fd, &st) == 0, "fstat");
	fact("fstat says", "%o, %ld bytes", st.st_mode, (long)st.st_size);
	n = 1;
	fact("not to wait", "%s %o", result(ioctl(fd, FIONBIO, &n)), (unsigned)fcntl(fd, F_GETFL) & O_NONBLOCK);
	n = 0;
	fact("to wait", "%s %o", result(ioctl(fd, FIONBIO, &n)), (unsigned)fcntl(fd, F_GETFL) & O_NONBLOCK);
	fact("room", "%d", fcntl(fd, F_GETPIPE_SZ));
	fact("less of it", "%d", fcntl(fd, F_SETPIPE_SZ, 5000));
	fact("flags", "%o", (unsigned)fcntl(fd, F_GETFL) & ~0100000u);
	(void)close(fd);
	fd = open("fifo", O_RDONLY | O_NONBLOCK);
	fact("what nobody read is gone", "%s", read(fd, &n, 1) == 0 ? "yes" : "no");
	(void)close(fd);
}

static const char *
polled(int fd)
{
	static char text[80];
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	need(poll(&p, 1, 0) >= 0, "poll");
	snprintf(text, sizeof(text), "%s%s%s%s.", p.revents & POLLIN ? "in " : "", p.revents & POLLOUT ? "out " : "",
	    p.revents & POLLERR ? "error " : "", p.revents & POLLHUP ? "hangup " : "");
	return (text);
}

static void
without_waiting(void)
{
	static char bytes[70000];
	long n, total = 0;
	int rd, wr;

	fact("to write, nobody reads", "%s", opened(open("fifo", O_WRONLY | O_NONBLOCK)));
	rd = open("fifo", O_RDONLY | O_NONBLOCK);
	fact("to read, nobody writes", "%s", result(rd < 0 ? -1 : 0));
	fact("read", "%ld", (long)read(rd, bytes, 10));
	fact("poll before any writer", "%s", polled(rd));
	wr = open("fifo", O_WRONLY | O_NONBLOCK);
	fact("to write", "%s", result(wr < 0 ? -1 : 0));
	fact("read nothing", "%s", result(read(rd, bytes, 10)));
	fact("poll nothing", "%s", polled(rd));
	fact("poll the writer", "%s", polled(wr));
	for (total = 0; (n = write(wr, bytes, 4096)) > 0; total += n)
		continue;
	fact("full", "%s after %ld bytes", result(n), total);
	fact("poll full", "%s", polled(wr));
	fact("poll the reader", "%s", polled(rd));
	need(read(rd, bytes, 65536) > 0, "read");
	fact("read some, poll", "%s", polled(wr));
	(void)close(wr);
	while (read(rd, bytes, sizeof(bytes)) > 0)
		continue;
	fact("poll without a writer", "%s", polled(rd));
	fact("read", "%ld", (long)read(rd, bytes, 10));
	wr = open("fifo", O_WRONLY | O_NONBLOCK);
	fact("poll with another", "%s", polled(rd));
	(void)close(rd);
	fact("poll without a reader", "%s", polled(wr));
	signals = 0;
	fact("write without a reader", "%s", result(write(wr, "x", 1)));
	fact("signals", "%d", (int)signals);
	rd = open("fifo", O_RDONLY | O_NONBLOCK);
	fact("write with a new one", "%s", result(write(wr, "x", 1)));
	fact("it reads", "%ld", (long)read(rd, bytes, 10));
	(void)close(rd);
	(void)close(wr);
}

static void
both_ways(void)
{
	int fd = open("fifo", O_RDWR), rd, wr;
	char byte = 0;

	fact("both ways", "%s", polled(fd));
	need(write(fd, "q", 1) == 1 && read(fd, &byte, 1) == 1, "write and read");
	fact("read what was written", "%c", byte);
	rd = open("fifo", O_RDONLY);
	wr = open("fifo", O_WRONLY);
	fact("others need not wait", "%s", rd >= 0 && wr >= 0 ? "no" : "yes");
	(void)close(fd);
	fact("one reader, one writer", "%s", polled(rd));
	(void)close(wr);
	fact("the last writer went", "%s", polled(rd));
	(void)close(rd);
}

/* Open to read, and tell what comes until the end. */
static int
reader(void *arg)
{
	int fd = open("fifo", O_RDONLY), total = 0;
	char bytes[1000];
	long n;

	(void)arg;
	if (fd < 0)
		return (99);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		total += (int)n;
	(void)close(fd);
	return (n < 0 ? 98 : total);
}

static pid_t
start(int (*fn)(void *))
{
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (pid == 0)
		_exit(fn(NULL));
	return (pid);
}

static const char *
ended(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid, "waitpid");
	return (status_text(status));
}

static int
writer(void *arg)
{
	int fd = open("fifo", O_WRONLY), n;

	(void)arg;
	if (fd < 0)
		return (99);
	n = (int)write(fd, "hello", 5);
	(void)close(fd);
	return (n);
}

static void
waiting(void)
{
	pid_t a = start(reader), b;
	int fd = open("fifo", O_WRONLY);

	need(write(fd, "seven..", 7) == 7, "write");
	(void)close(fd);
	fact("a reader that waited", "%s", ended(a));
	a = start(writer);
	fact("a reader that was waited for", "%d bytes", reader(NULL));
	fact("its writer", "%s", ended(a));
	/* The writer is gone again before the reader runs, perhaps; the reader has been let in all the same. */
	a = start(reader);
	do
		fd = open("fifo", O_WRONLY | O_NONBLOCK);
	while (fd < 0 && errno == ENXIO);
	(void)close(fd);
	fact("a reader whose writer came and went", "%s", ended(a));
	a = start(reader);
	b = start(reader);
	fd = open("fifo", O_WRONLY);
	(void)close(fd);
	/* Whoever of the two came too late waits for another. */
	for (int left = 2; left > 0;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			need(pid == a || pid == b, "a child");
			need(WIFEXITED(status) && WEXITSTATUS(status) == 0, "an end without bytes");
			left--;
			continue;
		}
		fd = open("fifo", O_WRONLY | O_NONBLOCK);
		if (fd >= 0)
			(void)close(fd);
	}
	fact("two readers", "both came to the end");
}

static void
interrupted(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct itimerval soon = { { 0, 20000 }, { 0, 20000 } }, never = { { 0, 0 }, { 0, 0 } };
	pid_t a;

	need(sigaction(SIGALRM, &sa, NULL) == 0 && setitimer(ITIMER_REAL, &soon, NULL) == 0, "an alarm");
	fact("waiting to read, a signal", "%s", opened(open("fifo", O_RDONLY)));
	fact("waiting to write, a signal", "%s", opened(open("fifo", O_WRONLY)));
	sa.sa_flags = SA_RESTART;
	need(sigaction(SIGALRM, &sa, NULL) == 0, "sigaction");
	signals = 0;
	a = fork();
	if (a == 0) {
		usleep(100000);
		_exit(writer(NULL));
	}
	fact("restarted", "%d bytes", reader(NULL));
	fact("after signals", "%s", signals > 0 ? "yes" : "none");
	need(setitimer(ITIMER_REAL, &never, NULL) == 0, "no alarm");
	fact("the writer", "%s", ended(a));
	fact("nobody is left over", "%s", opened(open("fifo", O_WRONLY | O_NONBLOCK)));
}

static void
names(void)
{
	int fd, other;
	fd_set set;
	char byte = 0;
	pid_t a;

	need(link("fifo", "second") == 0, "link");
	fd = open("fifo", O_RDONLY | O_NONBLOCK);
	other = open("second", O_WRONLY);
	need(write(other, "z", 1) == 1 && read(fd, &byte, 1) == 1, "write and read");
	fact("through another name", "%c", byte);
	need(rename("second", "third") == 0 && unlink("third") == 0 && unlink("fifo") == 0, "names");
	need(write(other, "y", 1) == 1 && read(fd, &byte, 1) == 1, "write and read");
	fact("without a name", "%c", byte);
	need(mkfifo("fifo", 0600) == 0, "mkfifo");
	fact("another of that name has no reader", "%s", opened(open("fifo", O_WRONLY | O_NONBLOCK)));
	(void)close(fd);
	(void)close(other);
	fd = open("fifo", O_RDONLY | O_NONBLOCK);
	a = start(writer);
	FD_ZERO(&set);
	FD_SET(fd, &set);
	fact("select", "%d", select(fd + 1, &set, NULL, NULL, NULL));
	fact("the writer", "%s", ended(a));
	(void)close(fd);
	(void)unlink("fifo");
}

/* A number read from an eventfd, or what was wrong. */
static const char *
event(int fd)
{
	static char text[32];
	uint64_t n = 0;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return (result(-1));
	snprintf(text, sizeof(text), "%lu", (unsigned long)n);
	return (text);
}

static const char *
add(int fd, uint64_t n, size_t size)
{
	return (result(write(fd, &n, size)));
}

/* Numbers that descriptors stand for. */
static void
events(void)
{
	int fd = eventfd(3, EFD_NONBLOCK), one = eventfd(2, EFD_SEMAPHORE);
	struct pollfd pf = { fd, POLLIN | POLLOUT, 0 };
	uint64_t n;

	need(fd >= 0 && one >= 0, "eventfd");
	fact("eventfd: what it began with", "%s", event(fd));
	fact("nothing", "%s", event(fd));
	need(poll(&pf, 1, 0) == 1, "poll");
	fact("poll says", "%#x", pf.revents);
	need(write(fd, &(uint64_t){ 5 }, 8) == 8 && write(fd, &(uint64_t){ 7 }, 8) == 8, "write");
	need(poll(&pf, 1, 0) == 1, "poll");
	fact("two additions: poll says", "%#x", pf.revents);
	fact("and their sum", "%s", event(fd));
	fact("as much as there may be", "%s", add(fd, UINT64_MAX - 1, 8));
	fact("and one more", "%s", add(fd, 1, 8));
	need(poll(&pf, 1, 0) == 1, "poll");
	fact("full: poll says", "%#x", pf.revents);
	fact("what is no number", "%s", add(fd, UINT64_MAX, 8));
	fact("too short", "%s", add(fd, 1, 4));
	fact("as a semaphore", "%s", event(one));
	fact("once more", "%s", event(one));
	fflush(stdout);
	if (fork() == 0) {
		usleep(20000);
		_exit(write(one, &(uint64_t){ 9 }, 8) != 8);
	}
	fact("waited for", "%s", event(one));
	wait(NULL);
	fact("read into too little", "%s", result(read(one, &n, 7)));
	fact("unknown flag", "%s", result(eventfd(0, 2)));
	close(fd);
	close(one);
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	(void)signal(SIGPIPE, on_signal);
	making();
	not_a_file();
	without_waiting();
	both_ways();
	waiting();
	interrupted();
	names();
	events();
	(void)unlink("file");
	(void)unlink("file2");
	(void)unlink("socket");
	return (0);
}
