/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults as answers: an access is made with a landing place prepared, and the handler, on a stack of its own, jumps
 * there with what siginfo said.  See probe.h.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static __thread sigjmp_buf landing;
static __thread volatile int armed;
static __thread siginfo_t caught;

void
need(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(2);
}

static void
on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (!armed) {
		signal(sig, SIG_DFL);		/* not ours: happens again, and kills */
		return;
	}
	caught = *info;
	siglongjmp(landing, 1);
}

void
probe_init(int argc, char **argv)
{
	static unsigned char stack[64 << 10] __attribute__((aligned(16)));
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	need(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		need(sigaction(signals[i], &action, NULL) == 0, "sigaction");
	if (argc > 1)
		need(chdir(argv[1]) == 0, argv[1]);
}

void
fact(const char *what, const char *fmt, ...)
{
	va_list ap;

	printf("%s: ", what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static const char *
code_name(const siginfo_t *info)
{
	if (info->si_code == SI_KERNEL)
		return ("KERNEL");
	switch (info->si_signo) {
	case SIGSEGV:
		return (info->si_code == SEGV_MAPERR ? "MAPERR" : info->si_code == SEGV_ACCERR ? "ACCERR" : "?");
	case SIGBUS:
		return (info->si_code == BUS_ADRERR ? "ADRERR" : info->si_code == BUS_OBJERR ? "OBJERR" : "?");
	case SIGFPE:
		return (info->si_code == FPE_INTDIV ? "INTDIV" : "?");
	case SIGILL:
		return (info->si_code == ILL_ILLOPN ? "ILLOPN" : "?");
	default:
		return ("?");
	}
}

static const char *
signal_name(int sig)
{
	static char other[16];

	switch (sig) {
	case SIGSEGV: return ("SIGSEGV");
	case SIGBUS: return ("SIGBUS");
	case SIGILL: return ("SIGILL");
	case SIGFPE: return ("SIGFPE");
	case SIGTRAP: return ("SIGTRAP");
	case SIGKILL: return ("SIGKILL");
	case SIGABRT: return ("SIGABRT");
	}
	snprintf(other, sizeof(other), "signal %d", sig);
	return (other);
}

/* Two buffers in turn, so that one printf may show two outcomes. */
static char *
text_buffer(size_t *size)
{
	static char buffers[2][64];
	static int turn;

	turn ^= 1;
	*size = sizeof(buffers[0]);
	return (buffers[turn]);
}

const char *
attempt(void (*fn)(void *), void *arg, const volatile void *at)
{
	size_t size;
	char *text;

	if (sigsetjmp(landing, 1) == 0) {
		armed = 1;
		fn(arg);
		armed = 0;
		return (NULL);
	}
	armed = 0;
	text = text_buffer(&size);
	snprintf(text, size, "%s %s%s", signal_name(caught.si_signo), code_name(&caught),
	    caught.si_addr == (const void *)at ? "" : caught.si_addr == NULL ? " at 0" : " at other address");
	return (text);
}

struct access {
	volatile unsigned char	*at;
	unsigned char		 byte;
};

static void
do_load(void *arg)
{
	struct access *a = arg;

	a->byte = *a->at;
}

static void
do_store(void *arg)
{
	struct access *a = arg;

	*a->at = a->byte;
}

static void
do_jump(void *arg)
{
	((void (*)(void))arg)();
}

const char *
load(const volatile void *at)
{
	struct access a = { (volatile unsigned char *)at, 0 };
	const char *fault = attempt(do_load, &a, at);
	size_t size;
	char *text;

	if (fault != NULL)
		return (fault);
	text = text_buffer(&size);
	snprintf(text, size, "0x%02x", a.byte);
	return (text);
}

const char *
store(volatile void *at, unsigned char byte)
{
	struct access a = { at, byte };
	const char *fault = attempt(do_store, &a, at);

	return (fault != NULL ? fault : "stored");
}

const char *
jump(const void *at)
{
	const char *fault = attempt(do_jump, (void *)at, at);

	return (fault != NULL ? fault : "returned");
}

const char *
result(long value)
{
	const char *name;
	static char other[32];

	if (value >= 0)
		return ("ok");
	name = strerrorname_np(errno);
	if (name != NULL)
		return (name);
	snprintf(other, sizeof(other), "errno %d", errno);
	return (other);
}

const char *
map_result(void *addr, size_t len, int prot, int flags, int fd, long off)
{
	void *p = mmap(addr, len, prot, flags, fd, off);

	if (p == MAP_FAILED)
		return (result(-1));
	munmap(p, len);
	return ("ok");
}

const char *
status_text(int status)
{
	size_t size;
	char *text = text_buffer(&size);

	if (WIFEXITED(status))
		snprintf(text, size, "exit %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		snprintf(text, size, "killed by %s", signal_name(WTERMSIG(status)));
	else
		snprintf(text, size, "status 0x%x", status);
	return (text);
}

unsigned char
pattern(size_t i)
{
	return ((unsigned char)(i * 7 + i / 251 + 1) | 1);	/* never zero, so that a hole is told apart */
}

int
scratch_file(const char *name, size_t size)
{
	const char *path = name != NULL ? name : "scratch.tmp";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned char buffer[4096];
	size_t done, n, i;

	need(fd >= 0, path);
	if (name == NULL)
		need(unlink(path) == 0, path);
	for (done = 0; done < size; done += n) {
		n = size - done < sizeof(buffer) ? size - done : sizeof(buffer);
		for (i = 0; i < n; i++)
			buffer[i] = pattern(done + i);
		need(write(fd, buffer, n) == (ssize_t)n, "write to a scratch file");
	}
	return (fd);
}

void *
map(size_t len, int prot, int flags, int fd, long off)
{
	void *p = mmap(NULL, len, prot, flags, fd, off);

	need(p != MAP_FAILED, "mmap");
	return (p);
}

int
all_bytes(const volatile unsigned char *p, size_t len, unsigned char byte)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != byte)
			return (0);
	return (1);
}

int
all_pattern(const volatile unsigned char *p, size_t len, size_t from)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != pattern(from + i))
			return (0);
	return (1);
}

int
in_child(int (*fn)(void *), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0) {
		status = fn(arg);
		fflush(stdout);
		_exit(status);
	}
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	return (status);
}

uint64_t random_sum;
static uint64_t random_state;

void
random_begin(uint64_t seed)
{
	random_state = seed * 0x9e3779b97f4a7c15u + 1;
	random_sum = 0;
}

uint32_t
rnd(uint32_t below)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return ((uint32_t)(random_state >> 33) % below);
}

void
mix(uint64_t value)
{
	random_sum = (random_sum ^ value) * 0x100000001b3u;
	random_sum ^= random_sum >> 29;
}

void
mix_text(const char *s)
{
	while (*s != '\0')
		mix((unsigned char)*s++);
}
