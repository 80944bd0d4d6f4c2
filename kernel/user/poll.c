/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poll, select and their relatives.
 *
 * All who wait for any file sleep on one generation count, which goes up whenever a pipe or the terminal changes; then
 * each looks at its own files again.  With a handful of processes that is cheaper than lists of waiters on every file,
 * and nothing can be left on such a list.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"

#define NPOLL_MAX	1024
#define ALWAYS_READY	(POLLIN | POLLOUT)

static MALLOC_DEFINE(M_POLL, "poll");

struct pollfd {
	int32_t	fd;
	int16_t	events, revents;
};

static struct spinlock poll_lock = SPINLOCK_INITIALIZER("poll", RANK_POLL);
static uint64_t generation;		/* poll_lock */

void
poll_wakeup(void)
{
	spin_lock(&poll_lock);
	generation++;
	wakeup(&generation);
	spin_unlock(&poll_lock);
}

/* What holds of one descriptor now, of what was asked for. */
static int16_t
poll_one(const struct pollfd *pf)
{
	struct file *fp;
	int bits;

	if (pf->fd < 0)
		return (0);
	fp = fd_get(pf->fd);
	if (fp == NULL)
		return (POLLNVAL);
	bits = fp->ops->poll != NULL ? fp->ops->poll(fp) : ALWAYS_READY;
	file_release(fp);
	return ((int16_t)(bits & (pf->events | POLLERR | POLLHUP)));
}

static int
poll_scan(struct pollfd *fds, unsigned n)
{
	int ready = 0;

	for (unsigned i = 0; i < n; i++) {
		fds[i].revents = poll_one(&fds[i]);
		ready += fds[i].revents != 0;
	}
	return (ready);
}

/* Until when to wait: twice, for sleeps end at ticks, and programs want to know what is left. */
struct deadline {
	bool		forever;
	uint64_t	tick;
	uint64_t	ns;		/* as clock_ns() */
};

static void
deadline_set(struct deadline *d, uint64_t ns)
{
	uint64_t now = clock_ns();

	d->forever = false;
	d->tick = ticks + (ns > 0 ? ns_to_ticks(ns) : 0);
	d->ns = ns < UINT64_MAX - now ? now + ns : UINT64_MAX;
}

/* ns; 0 if there is none. */
static uint64_t
deadline_left(const struct deadline *d)
{
	uint64_t now = clock_ns();

	return (!d->forever && d->ns > now ? d->ns - now : 0);
}

/*
 * Until one is ready, the time is up or a signal comes.
 * => How many are ready, or -ERESTARTNOHAND.
 */
static int64_t
poll_wait(struct pollfd *fds, unsigned n, const struct deadline *d)
{
	uint64_t seen, now;
	int ready, error = 0;

	for (;;) {
		spin_lock(&poll_lock);
		seen = generation;
		spin_unlock(&poll_lock);
		ready = poll_scan(fds, n);
		now = ticks;
		if (ready > 0 || (!d->forever && now >= d->tick))
			return (ready);
		if (error == ERESTARTSYS)
			return (-ERESTARTNOHAND);
		spin_lock(&poll_lock);
		if (generation == seen)
			error = tsleep_sig(&generation, &poll_lock.lk, "poll", d->forever ? 0 : d->tick - now);
		spin_unlock(&poll_lock);
		/* re-check: the files; that is what the next turn does. */
	}
}

/* ---- poll, ppoll ---- */

static int64_t
poll_fds(vm_offset_t ufds, uint64_t n, const struct deadline *d)
{
	size_t size = n * sizeof(struct pollfd);
	struct pollfd *fds;
	int64_t result;

	if (n > NPOLL_MAX)
		return (-EINVAL);
	fds = kmalloc(MAX(size, (size_t)1), &M_POLL, M_WAITOK);
	result = n > 0 ? -copyin(ufds, fds, size) : 0;
	if (result == 0)
		result = poll_wait(fds, (unsigned)n, d);
	if (result >= 0 && n > 0 && copyout(fds, ufds, size) != 0)
		result = -EFAULT;
	kfree(fds, &M_POLL);
	return (result);
}

int64_t
sys_poll(const uint64_t *a)
{
	struct deadline d = { .forever = true };
	int ms = (int)a[2];

	if (ms >= 0)
		deadline_set(&d, (uint64_t)ms * 1000000);
	return (poll_fds(a[0], (uint32_t)a[1], &d));
}

/* A relative time-out and a signal mask, as ppoll and pselect6 take them. */
static int
timeout_in(vm_offset_t at, struct deadline *d)
{
	struct timespec ts;
	int error;

	*d = (struct deadline){ .forever = true };
	if (at == 0)
		return (0);
	error = timespec_in(at, &ts);
	if (error == 0)
		deadline_set(d, timespec_ns(&ts));
	return (error);
}

/* What is left of the time is the program's to know: many loops wait for that much next. */
static void
timeout_out(vm_offset_t at, const struct deadline *d)
{
	uint64_t left = deadline_left(d);
	struct timespec ts = { (int64_t)(left / 1000000000ul), (int64_t)(left % 1000000000ul) };

	if (at != 0)
		(void)copyout(&ts, at, sizeof(ts));	/* as Linux: a place that cannot be written is no error */
}

static int
mask_in(vm_offset_t at, uint64_t size)
{
	sigset_t mask;

	if (at == 0)
		return (0);
	if (size != sizeof(mask))
		return (EINVAL);
	if (copyin(at, &mask, sizeof(mask)) != 0)
		return (EFAULT);
	signal_swap_mask(mask);
	return (0);
}

int64_t
sys_ppoll(const uint64_t *a)
{
	struct deadline d;
	int64_t result;
	int error = timeout_in(a[2], &d);

	if (error == 0)
		error = mask_in(a[3], a[4]);
	if (error != 0)
		return (-error);
	result = poll_fds(a[0], (uint32_t)a[1], &d);
	timeout_out(a[2], &d);
	return (result);
}

/* ---- select ---- */

/* The bits of a set that matter: `n` of them, in 64-bit words. */
static int
set_in(vm_offset_t at, uint64_t *set, unsigned n)
{
	memset(set, 0, NPOLL_MAX / 8);
	return (at == 0 || n == 0 ? 0 : copyin(at, set, (size_t)howmany(n, 64) * 8));
}

static int
set_out(vm_offset_t at, const uint64_t *set, unsigned n)
{
	return (at == 0 || n == 0 ? 0 : copyout(set, at, (size_t)howmany(n, 64) * 8));
}

static bool
set_has(const uint64_t *set, unsigned fd)
{
	return (set[fd / 64] >> (fd % 64) & 1);
}

struct select_sets {
	uint64_t in[NPOLL_MAX / 64], out[NPOLL_MAX / 64], except[NPOLL_MAX / 64];
	struct pollfd fds[NPOLL_MAX];
};

/* From three sets to a list; how long it is, or -EBADF. */
static int
select_list(struct select_sets *s, unsigned n)
{
	unsigned count = 0;

	for (unsigned fd = 0; fd < n; fd++) {
		int events = (set_has(s->in, fd) ? POLLIN : 0) | (set_has(s->out, fd) ? POLLOUT : 0) |
		    (set_has(s->except, fd) ? POLLPRI : 0);

		if (events != 0)
			s->fds[count++] = (struct pollfd){ (int)fd, (int16_t)events, 0 };
	}
	return ((int)count);
}

/* And back: the sets say what is ready; how many bits are set. */
static int64_t
select_result(struct select_sets *s, unsigned count)
{
	int64_t bits = 0;

	memset(s->in, 0, sizeof(s->in));
	memset(s->out, 0, sizeof(s->out));
	memset(s->except, 0, sizeof(s->except));
	for (unsigned i = 0; i < count; i++) {
		unsigned fd = (unsigned)s->fds[i].fd;
		int16_t r = s->fds[i].revents;
		uint64_t bit = 1ul << (fd % 64);

		if (r & POLLNVAL)
			return (-EBADF);
		if ((s->fds[i].events & POLLIN) && (r & (POLLIN | POLLHUP | POLLERR))) {
			s->in[fd / 64] |= bit;
			bits++;
		}
		if ((s->fds[i].events & POLLOUT) && (r & (POLLOUT | POLLERR))) {
			s->out[fd / 64] |= bit;
			bits++;
		}
	}
	return (bits);
}

static int64_t
select_fds(const uint64_t *a, const struct deadline *d)
{
	unsigned n = (unsigned)a[0];
	struct select_sets *s;
	int64_t result;
	int count;

	if ((int)n < 0 || n > NPOLL_MAX)
		return (-EINVAL);
	s = kmalloc(sizeof(*s), &M_POLL, M_WAITOK);
	if (set_in(a[1], s->in, n) != 0 || set_in(a[2], s->out, n) != 0 || set_in(a[3], s->except, n) != 0) {
		result = -EFAULT;
	} else {
		count = select_list(s, n);
		result = poll_wait(s->fds, (unsigned)count, d);
		if (result >= 0)
			result = select_result(s, (unsigned)count);
		if (result >= 0 && (set_out(a[1], s->in, n) != 0 || set_out(a[2], s->out, n) != 0 ||
		    set_out(a[3], s->except, n) != 0))
			result = -EFAULT;
	}
	kfree(s, &M_POLL);
	return (result);
}

int64_t
sys_select(const uint64_t *a)
{
	struct deadline d = { .forever = a[4] == 0 };
	struct { int64_t sec, usec; } tv;
	int64_t result;
	uint64_t left;

	if (a[4] != 0) {
		if (copyin(a[4], &tv, sizeof(tv)) != 0)
			return (-EFAULT);
		if (tv.sec < 0 || tv.usec < 0 || tv.usec >= 1000000)
			return (-EINVAL);
		deadline_set(&d, (uint64_t)MIN(tv.sec, 1 << 30) * 1000000000ul + (uint64_t)tv.usec * 1000);
	}
	result = select_fds(a, &d);
	left = deadline_left(&d);
	tv.sec = (int64_t)(left / 1000000000ul);
	tv.usec = (int64_t)(left % 1000000000ul / 1000);
	if (a[4] != 0)
		(void)copyout(&tv, a[4], sizeof(tv));	/* as timeout_out() */
	return (result);
}

int64_t
sys_pselect6(const uint64_t *a)
{
	struct deadline d;
	uint64_t mask[2];
	int64_t result;
	int error = timeout_in(a[4], &d);

	if (error == 0 && a[5] != 0)
		error = copyin(a[5], mask, sizeof(mask)) != 0 ? EFAULT : mask_in(mask[0], mask[1]);
	if (error != 0)
		return (-error);
	result = select_fds(a, &d);
	timeout_out(a[4], &d);
	return (result);
}
