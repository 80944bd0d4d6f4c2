/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The trace, as text, on the second serial port, where the launcher's `--trace FILE` picks it up.
 *
 * A thread of the lowest class copies new events out of the ring ten times a second.  When events
 * come faster than that, the ring overwrites its oldest, and the text says how many are missing.
 * Its own sleeps and wakeups are left out: they say nothing about the kernel but that it is being
 * watched.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"
#include "kernel/trace.h"

#define COM2		0x2f8
#define UART_LCR	3
#define UART_FCR	2
#define UART_LSR	5
#define UART_SCRATCH	7
#define LSR_EMPTY	0x20
#define BATCH		32

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

/* Is this event about the thread that writes the trace? */
static bool
is_own(const struct trace_event *ev)
{
	return (ev->tid == curthread->tid ||
	    (ev->type == TR_WAKE && ev->arg[1] == (uint64_t)curthread));
}

/* Write what has come since the last time.  Returns false when that was nothing. */
static bool
drain(uint64_t *cursor)
{
	static struct trace_event batch[BATCH];
	uint64_t before = *cursor;
	char line[256];
	size_t n, i;

	n = trace_read(cursor, batch, BATCH);
	if (*cursor - before > n) {
		snprintf(line, sizeof(line), "# %lu events lost\n", *cursor - before - n);
		com2_puts(line);
	}
	for (i = 0; i < n; i++) {
		if (is_own(&batch[i]))
			continue;
		(void)trace_format(&batch[i], line, sizeof(line) - 1);
		com2_puts(line);
		com2_puts("\n");
	}
	return (n > 0);
}

static void
tracer(void *arg)
{
	uint64_t cursor = 0;

	for (;;) {
		while (drain(&cursor))
			continue;
		(void)tsleep(&cursor, NULL, "trace", HZ / 10);
	}
}

void
trace_serial_init(void)
{
	struct thread *td;

	if (!trace_on || !com2_present())
		return;
	com2_init();
	td = thread_create("tracer", PRI_USER, tracer, NULL);
	if (td != NULL)
		thread_detach(td);
}
