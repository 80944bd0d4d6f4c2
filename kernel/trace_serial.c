/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace, as text, on the second serial port, where the launcher's `--trace FILE` picks it up.
 *
 * A thread of the lowest class copies new events out of the rings at each tick of the clock.  When
 * events come faster than that, a ring overwrites its oldest, and the text says how many are
 * missing.  Its own sleeps and wakeups are left out: they say nothing about the kernel but that it
 * is being watched.  What interrupts record while it runs is everybody's, and stays.
 *
 *	# thread 2 main			the threads that there were in the beginning
 *	    0.123456789 cpu0 tid2   fault         va=0x10000 ...
 *	# 12 events lost
 *
 * Lock order: drain_lock, then nothing.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "kernel/trace.h"

#define COM2		0x2f8
#define UART_LCR	3
#define UART_FCR	2
#define UART_LSR	5
#define UART_SCRATCH	7
#define LSR_EMPTY	0x20
#define BATCH		32
#define ROLL_MAX	16

static bool
com2_present(void)
{
	outb(COM2 + UART_SCRATCH, 0x5a);
	return (inb(COM2 + UART_SCRATCH) == 0x5a);
}

static void
com2_init(void)
{
	outb(COM2 + 1, 0);
	outb(COM2 + UART_LCR, 0x80);	/* divisor latch */
	outb(COM2, 1);			/* 115200 */
	outb(COM2 + 1, 0);
	outb(COM2 + UART_LCR, 0x03);	/* 8 bits, no parity, one stop bit */
	outb(COM2 + UART_FCR, 0x07);
}

static void
com2_puts(const char *s)
{
	for (; *s != '\0'; s++) {
		while (!(inb(COM2 + UART_LSR) & LSR_EMPTY))
			cpu_pause();
		outb(COM2, (uint8_t)*s);
	}
}

static struct mutex drain_lock;
static struct trace_place place;	/* drain_lock: written so far */
static struct thread *tracer_thread;	/* constant; NULL: there is no port */

/* Is this event about the thread that writes the trace, and about nothing else? */
static bool
is_own(const struct trace_event *ev)
{
	return ((ev->type == TR_SLEEP && ev->tid == tracer_thread->tid) ||
	    (ev->type == TR_WAKE && ev->arg[1] == (uint64_t)tracer_thread));
}

/* Write what has come since the last time.  => sleeps */
static void
drain(void)
{
	static struct trace_event batch[BATCH];	/* drain_lock */
	char line[256];
	size_t n;

	mutex_lock(&drain_lock);
	while ((n = trace_read(&place, NULL, batch, BATCH)) > 0) {
		if (place.lost > 0) {
			snprintf(line, sizeof(line), "# %lu events lost\n", place.lost);
			com2_puts(line);
			place.lost = 0;
		}
		for (size_t i = 0; i < n; i++) {
			if (is_own(&batch[i]))
				continue;
			(void)trace_format(&batch[i], line, sizeof(line) - 1);
			com2_puts(line);
			com2_puts("\n");
		}
	}
	mutex_unlock(&drain_lock);
}

struct roll {				/* the threads, copied so that they can be written at leisure */
	size_t	n;
	struct {
		uint32_t tid;
		char	 name[THREAD_NAME_MAX];
	} td[ROLL_MAX];
};

static void
roll_add(struct thread *td, void *arg)
{
	struct roll *roll = arg;

	if (roll->n < ROLL_MAX) {
		roll->td[roll->n].tid = td->tid;
		strlcpy(roll->td[roll->n++].name, td->name, THREAD_NAME_MAX);
	}
}

static void
tracer(void *arg)
{
	static struct roll roll;
	char line[64];

	thread_foreach(roll_add, &roll);
	for (size_t i = 0; i < roll.n; i++) {
		snprintf(line, sizeof(line), "# thread %u %s\n", roll.td[i].tid, roll.td[i].name);
		com2_puts(line);
	}
	for (;;) {
		drain();
		(void)tsleep(&place, NULL, "trace", trace_on ? 1 : HZ / 10);
	}
}

void
trace_serial_init(void)
{
	if (!com2_present())
		return;
	com2_init();
	mutex_init(&drain_lock, "trace", RANK_NONE);
	tracer_thread = thread_create("tracer", PRI_USER, tracer, NULL);
	if (tracer_thread != NULL)
		thread_detach(tracer_thread);
}

void
trace_serial_flush(void)
{
	if (tracer_thread == NULL)
		return;
	(void)trace_set(0);
	drain();
}
