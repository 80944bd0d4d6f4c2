/* SPDX-License-Identifier: BSD-2-Clause */
/* Signals that are sent: handlers, masks, order, interrupted system calls, children, stopping. */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t calls, last_signal, last_code, last_pid, last_status, depth, deepest;

static void
note(int sig, siginfo_t *info, void *context)
{
	(void)context;
	calls++;
	last_signal = sig;
	last_code = info->si_code;
	last_pid = info->si_pid;
	last_status = info->si_status;
}

static void
handle(int sig, int flags, void (*fn)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags };

	need(sigaction(sig, &action, NULL) == 0, "sigaction");
}

static void
sending(void)
{
	union sigval value = { .sival_int = 5 };

	handle(SIGUSR1, 0, note);
	kill(getpid(), SIGUSR1);
	fact("kill to oneself", "%d calls, user %d, own pid %d", calls, last_code == SI_USER, last_pid == getpid());
	raise(SIGUSR1);
	fact("raise", "%d calls, tkill %d", calls, last_code == SI_TKILL);
	fact("sigqueue", "%s", result(sigqueue(getpid(), SIGUSR1, value)));
	fact("arrived", "%d calls, queue %d", calls, last_code == SI_QUEUE);
	fact("signal 0 to oneself", "%s", result(kill(getpid(), 0)));
	fact("catching KILL", "%s", result((long)(signal(SIGKILL, SIG_IGN) == SIG_ERR ? -1 : 0)));
	fact("catching STOP", "%s", result((long)(signal(SIGSTOP, SIG_IGN) == SIG_ERR ? -1 : 0)));
}

static void
masks(void)
{
	sigset_t set, old, pending;

	calls = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	handle(SIGUSR2, 0, note);
	sigprocmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR1);
	sigpending(&pending);
	fact("blocked", "%d calls, pending %d %d %d", calls, sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2),
	    sigismember(&pending, SIGHUP));
	sigprocmask(SIG_SETMASK, &old, NULL);
	fact("let through, each once", "%d calls", calls);
	sigprocmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR1);
	calls = 0;
	fact("sigsuspend", "%s", result(sigsuspend(&old)));
	fact("ran the handler", "%d", calls);
	kill(getpid(), SIGUSR2);
	fact("sigwait takes it without the handler", "%d", sigwaitinfo(&set, NULL) == SIGUSR2);
	fact("calls", "%d", calls);
	{
		struct timespec soon = { 0, 1000000 };

		fact("sigtimedwait for nothing", "%s", result(sigtimedwait(&set, NULL, &soon)));
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void
nested(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (++depth > deepest)
		deepest = depth;
	if (++calls < 3)
		raise(sig);
	depth--;
}

static void
reset(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	calls++;
	last_status = signal(sig, SIG_IGN) == SIG_DFL;
}

static void
flags(void)
{
	calls = deepest = 0;
	handle(SIGUSR1, 0, nested);
	raise(SIGUSR1);
	fact("a handler's own signal waits", "deepest %d, calls %d", deepest, calls);
	calls = deepest = 0;
	handle(SIGUSR1, SA_NODEFER, nested);
	raise(SIGUSR1);
	fact("NODEFER: does not", "deepest %d, calls %d", deepest, calls);
	calls = 0;
	handle(SIGUSR1, SA_RESETHAND, reset);
	raise(SIGUSR1);
	fact("RESETHAND: default again", "%d %d", calls, last_status);
}

static void
nothing(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
}

static void
alarm_soon(void)
{
	struct itimerval soon = { { 0, 0 }, { 0, 30000 } };

	need(setitimer(ITIMER_REAL, &soon, NULL) == 0, "setitimer");
}

static void
interruptions(void)
{
	struct timespec hour = { 3600, 0 }, left = { 0, 0 };
	struct pollfd one;
	int pipes[2];
	char byte;

	need(pipe(pipes) == 0, "pipe");
	handle(SIGALRM, 0, nothing);
	alarm_soon();
	fact("read, interrupted", "%s", result(read(pipes[0], &byte, 1)));
	alarm_soon();
	fact("nanosleep, interrupted", "%s", result(nanosleep(&hour, &left)));
	fact("says what is left", "%d", left.tv_sec == 3599);
	one = (struct pollfd){ pipes[0], POLLIN, 0 };
	alarm_soon();
	fact("poll, interrupted", "%s", result(poll(&one, 1, -1)));
	alarm_soon();
	fact("pause", "%s", result(pause()));
	handle(SIGALRM, SA_RESTART, nothing);
	alarm_soon();
	if (fork() == 0) {
		usleep(200000);
		_exit(write(pipes[1], "x", 1) == 1 ? 0 : 1);
	}
	fact("read with RESTART goes on", "%ld", (long)read(pipes[0], &byte, 1));
	wait(NULL);
	alarm_soon();
	fact("poll with RESTART does not", "%s", result(poll(&one, 1, -1)));
	if (fork() == 0)
		_exit(9);
	alarm_soon();
	fact("wait goes on", "%d", (usleep(60000), wait(NULL) > 0));
}

static void
children(void)
{
	int status = 0;
	pid_t pid;

	calls = 0;
	handle(SIGCHLD, SA_RESTART, note);
	pid = fork();
	if (pid == 0)
		_exit(42);
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	fact("a child's exit", "%s, SIGCHLD %d, exited %d, status %d, pid %d", status_text(status), calls,
	    last_code == CLD_EXITED, last_status, last_pid == pid);
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	kill(pid, SIGTERM);
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	fact("a child killed", "TERM %d, killed %d, status %d", WTERMSIG(status) == SIGTERM, last_code == CLD_KILLED, last_status);
	pid = fork();
	if (pid == 0) {
		raise(SIGSTOP);
		_exit(3);
	}
	need(waitpid(pid, &status, WUNTRACED) == pid, "waitpid");
	fact("a child stopped", "%d by STOP %d, SIGCHLD says stopped %d", WIFSTOPPED(status), WSTOPSIG(status) == SIGSTOP,
	    last_code == CLD_STOPPED);
	fact("nothing more to tell", "%d", waitpid(pid, &status, WUNTRACED | WNOHANG));
	kill(pid, SIGCONT);
	need(waitpid(pid, &status, WCONTINUED) == pid, "waitpid");
	fact("continued", "%d", WIFCONTINUED(status));
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	fact("and over", "%s", status_text(status));
	signal(SIGCHLD, SIG_IGN);
	pid = fork();
	if (pid == 0)
		_exit(1);
	fact("children of one who ignores them", "%s", result(waitpid(pid, &status, 0)));
	handle(SIGCHLD, 0, note);
	pid = fork();
	if (pid == 0) {
		usleep(20000);
		_exit(6);
	}
	calls = 0;
	fact("waiting, without RESTART, for the child that SIGCHLD is about", "%s", result(waitpid(pid, &status, 0)));
	fact("its status, and SIGCHLD", "%s, %d", status_text(status), calls);
	signal(SIGCHLD, SIG_DFL);
}

static int
without_end(void *limit)
{
	struct rlimit cpu = { 1, 1 };

	need(limit == NULL || setrlimit(RLIMIT_CPU, &cpu) == 0, "setrlimit");
	while (calls >= 0)
		;
	return (0);
}

/* Timers that count what the process works, which only work ends. */
static void
timers(void)
{
	struct itimerval soon = { { 0, 0 }, { 0, 20000 } }, often = { { 0, 10000 }, { 0, 10000 } }, never = { { 0, 0 }, { 0, 0 } }, rest;
	struct timeval patience = { 1000, 0 };
	int pipes[2];
	fd_set set;

	handle(SIGVTALRM, 0, note);
	calls = 0;
	need(setitimer(ITIMER_VIRTUAL, &soon, NULL) == 0, "ITIMER_VIRTUAL");
	while (calls == 0)
		;
	need(getitimer(ITIMER_VIRTUAL, &rest) == 0, "getitimer");
	fact("time in user mode is up", "VTALRM, %d left", rest.it_value.tv_sec != 0 || rest.it_value.tv_usec != 0);
	handle(SIGPROF, 0, note);
	calls = 0;
	need(setitimer(ITIMER_PROF, &often, NULL) == 0, "ITIMER_PROF");
	while (calls < 3)
		(void)getppid();
	need(setitimer(ITIMER_PROF, &never, &rest) == 0, "ITIMER_PROF");
	fact("time at work, again and again", "PROF, every %ld microseconds", (long)rest.it_interval.tv_usec);
	fact("a timer that there is not", "%s", result(setitimer(3, &soon, NULL)));
	fact("who has no processor time left", "%s", status_text(in_child(without_end, &soon)));
	need(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1, "pipe");
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	fact("select", "%d, time left %d", select(pipes[0] + 1, &set, NULL, NULL, &patience), patience.tv_sec > 0);
	fact("and less than there was", "%d", patience.tv_sec < 1000);
}

static int
broken_pipe(void *arg)
{
	int pipes[2];

	need(pipe(pipes) == 0, "pipe");
	close(pipes[0]);
	if (arg != NULL)
		signal(SIGPIPE, SIG_IGN);
	return (write(pipes[1], "x", 1) == -1 && errno == EPIPE ? 5 : 6);
}

static volatile sig_atomic_t busy_saw_other;

/* Runs with SIGUSR1 blocked, until the other thread has taken that. */
static void
busy_until_other(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	for (int i = 0; i < 2000 && calls == 0; i++)
		poll(NULL, 0, 1);
	busy_saw_other = calls > 0;
}

static void *
takes_usr1_only(void *arg)
{
	sigset_t hup;

	sigemptyset(&hup);
	sigaddset(&hup, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &hup, NULL);
	need(write(*(int *)arg, "", 1) == 1, "write");
	for (;;)
		pause();
	return (NULL);
}

/* Two signals find the first thread; the handler of one blocks the other, which the second thread is there for. */
static void
two_threads(void *arg)
{
	struct sigaction action = { .sa_sigaction = busy_until_other, .sa_flags = SA_SIGINFO };
	pthread_t thread;

	calls = 0;
	handle(SIGUSR1, 0, note);
	sigaddset(&action.sa_mask, SIGUSR1);
	need(sigaction(SIGHUP, &action, NULL) == 0, "sigaction");
	need(pthread_create(&thread, NULL, takes_usr1_only, arg) == 0, "pthread_create");
	while (!busy_saw_other)
		poll(NULL, 0, 1);
	_exit(3);
}

static void
passed_on(void)
{
	int good = 0, status, fds[2];

	for (int i = 0; i < 5; i++) {
		char byte;
		pid_t pid;

		need(pipe(fds) == 0, "pipe");
		pid = fork();
		if (pid == 0) {
			alarm(4);
			two_threads(&fds[1]);
		}
		need(read(fds[0], &byte, 1) == 1, "read");
		kill(pid, SIGHUP);
		kill(pid, SIGUSR1);
		waitpid(pid, &status, 0);
		good += WIFEXITED(status) && WEXITSTATUS(status) == 3;
		close(fds[0]);
		close(fds[1]);
	}
	fact("a signal that the first thread cannot take", "%d of 5 times the second does", good);
}

int
main(int argc, char **argv)
{
	probe_init(argc, argv);
	sending();
	masks();
	flags();
	interruptions();
	children();
	timers();
	passed_on();
	fact("a pipe without readers", "SIGPIPE %d", WTERMSIG(in_child(broken_pipe, NULL)) == SIGPIPE);
	fact("SIGPIPE ignored", "%s", status_text(in_child(broken_pipe, (void *)1)));
	return (0);
}
