/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console: a 16550 at COM1, and whatever screen and keyboard have joined it.
 *
 *	out	polled, byte by byte; "\n" goes out as "\r\n"; then the other outputs
 *	in	interrupt -> ring -> console_getc(), which sleeps in "ttyin"
 *
 * Nothing that is typed gets lost, not even before the kernel is up or while nobody reads: a byte
 * that finds no room in the ring stays in the UART with the interrupt off, and a sender that
 * honours that (QEMU does) waits.  The UART's own FIFOs stay as they are (off, after a reset), for
 * switching them on would empty them.
 *
 * Output never sleeps and takes only the innermost lock, so anybody may print at any time.  Two
 * contexts take no lock at all: a panic, and a non-maskable interrupt, which may have come while
 * its own CPU holds it.
 */
#include "kernel/console.h"
#include "drivers/ps2kbd.h"
#include "kernel/amd64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"

#define COM1		0x3f8
#define COM1_IRQ	4
#define RING_SIZE	256		/* a power of two */
#define SPIN_MAX	1000000		/* a transmitter that never empties is no reason to hang */

enum {
	UART_DATA = 0, UART_IER = 1, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5,
	LSR_DATA = 0x01, LSR_EMPTY = 0x20,
	IER_RECEIVE = 0x01
};

#define EXIT_PORT	0xf4
#define EXIT_BASE	16
#define EXIT_STATUS_MAX	110
#define EXIT_PANIC	0x7f

enum { KEY_CTRL_C = 3, KEY_CTRL_D = 4, KEY_BACKSPACE = 8, KEY_CTRL_U = 21, KEY_DELETE = 127 };

static struct spinlock console_lock = SPINLOCK_INITIALIZER("console", RANK_CONSOLE);

static struct console_output *outputs;	/* grows while booting, at its head */

/* Its own lock, ranked below the sleep queues' because the interrupt wakes readers under it. */
static struct spinlock input_lock = SPINLOCK_INITIALIZER("ttyin", RANK_DISK);
static char ring[RING_SIZE];		/* (input_lock) */
static unsigned ring_head, ring_tail;	/* (input_lock) bytes ever put in and taken out */
static bool input_held;			/* (input_lock) the UART holds back its next byte */

void
console_init_early(void)
{
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_LCR, 0x80);	/* divisor latch */
	outb(COM1 + UART_DATA, 1);	/* 115200 */
	outb(COM1 + UART_IER, 0);
	outb(COM1 + UART_LCR, 0x03);	/* 8 bits, no parity, one stop bit */
	outb(COM1 + UART_MCR, 0x0b);	/* DTR, RTS, and OUT2, which lets the interrupt out */
}

static void
uart_put(char c)
{
	unsigned spins = 0;

	while (!(inb(COM1 + UART_LSR) & LSR_EMPTY) && ++spins < SPIN_MAX)
		cpu_pause();
	outb(COM1 + UART_DATA, (uint8_t)c);
}

void
console_write(const char *s, size_t len)
{
	bool locked = !panicking && !curcpu->in_nmi;
	size_t i;

	if (locked)
		spin_lock(&console_lock);
	for (i = 0; i < len; i++) {
		if (s[i] == '\n')
			uart_put('\r');
		uart_put(s[i]);
	}
	/* A non-maskable interrupt may have come in the middle of a screen's change. */
	for (struct console_output *o = outputs; o != NULL && (locked || panicking); o = o->next)
		o->write(s, len);
	if (locked)
		spin_unlock(&console_lock);
}

void
console_putc(char c)
{
	console_write(&c, 1);
}

void
console_break_lock(void)
{
	console_lock.owner = NULL;
	for (struct console_output *o = outputs; o != NULL; o = o->next)
		o->panic();
}

void
console_add_output(struct console_output *out)
{
	spin_lock(&console_lock);
	out->next = outputs;
	outputs = out;
	spin_unlock(&console_lock);
}

static const struct console_taker *taker;	/* input_lock; set once */

void
console_set_input(const struct console_taker *t)
{
	char c;

	spin_lock(&input_lock);
	/* What was typed before comes first. */
	while (ring_head != ring_tail) {
		c = ring[ring_tail++ % RING_SIZE];
		spin_unlock(&input_lock);
		t->take(c);
		spin_lock(&input_lock);
		/* re-check: more may have come. */
	}
	taker = t;
	spin_unlock(&input_lock);
	console_input_goes_on();
}

void
console_input(char c)
{
	const struct console_taker *t;

	spin_lock(&input_lock);
	t = taker;
	if (t == NULL && ring_head - ring_tail < RING_SIZE)	/* a full ring drops what comes */
		ring[ring_head++ % RING_SIZE] = c;
	wakeup(&ring_head);
	spin_unlock(&input_lock);
	if (t != NULL)
		t->take(c);
}

static bool
has_room(void)
{
	const struct console_taker *t;
	bool room;

	spin_lock(&input_lock);
	t = taker;
	room = ring_head - ring_tail < RING_SIZE;
	spin_unlock(&input_lock);
	return (t != NULL ? t->has_room() : room);
}

/* Is there room for a byte?  If not, the UART is to keep it until console_input_goes_on(). */
static bool
input_has_room(void)
{
	if (has_room())
		return (true);
	spin_lock(&input_lock);
	input_held = true;
	outb(COM1 + UART_IER, 0);
	spin_unlock(&input_lock);
	/* re-check: who made room before input_held was set could not know that we wait for it. */
	if (has_room())
		console_input_goes_on();
	return (false);
}

void
console_input_goes_on(void)
{
	spin_lock(&input_lock);
	if (input_held) {
		input_held = false;
		/* the byte held back raises the interrupt again */
		outb(COM1 + UART_IER, IER_RECEIVE);
	}
	spin_unlock(&input_lock);
}

static void
uart_intr(void *arg)
{
	while ((inb(COM1 + UART_LSR) & LSR_DATA) && input_has_room())
		console_input((char)inb(COM1 + UART_DATA));
}

void
console_init_irq(void)
{
	int error = intr_isa(COM1_IRQ, uart_intr, NULL, "uart");

	if (error != 0)
		printf("console: no interrupt for COM1 (error %d): no input\n", error);
	else
		outb(COM1 + UART_IER, IER_RECEIVE);
}

int
console_getc(bool nowait)
{
	int c = -1;

	spin_lock(&input_lock);
	while (ring_head == ring_tail && !nowait)
		(void)tsleep(&ring_head, &input_lock.lk, "ttyin", 0);
	if (ring_head != ring_tail)
		c = (unsigned char)ring[ring_tail++ % RING_SIZE];
	spin_unlock(&input_lock);
	console_input_goes_on();
	return (c);
}

/* Take the last `n` characters off the screen. */
static void
erase(size_t n)
{
	while (n-- > 0)
		console_write("\b \b", 3);
}

int
console_gets(char *buf, size_t size)
{
	size_t len = 0;
	int c;

	for (;;) {
		c = console_getc(false);
		switch (c) {
		case '\r':
		case '\n':
			console_putc('\n');
			buf[len] = '\0';
			return ((int)len);
		case KEY_BACKSPACE:
		case KEY_DELETE:
			if (len > 0) {
				erase(1);
				len--;
			}
			break;
		case KEY_CTRL_D:
			if (len == 0) {
				console_putc('\n');
				return (-1);
			}
			break;
		case KEY_CTRL_C:
		case KEY_CTRL_U:
			erase(len);
			len = 0;
			break;
		default:
			if (c >= ' ' && c < KEY_DELETE && len + 1 < size) {
				buf[len++] = (char)c;
				console_putc((char)c);
			}
			break;
		}
	}
}

void
console_hold(void)
{
	const char *word = cmdline_get("screen");

	if (word == NULL || !streq(word, "hold"))
		return;
	for (struct console_output *o = outputs; o != NULL; o = o->next)
		o->last_line();
	printf("Press a key to leave.\n");
	while (!ps2kbd_poll() && !(inb(COM1 + UART_LSR) & LSR_DATA))
		cpu_pause();
}

static void stop(uint8_t value) __noreturn;

static void
flush_outputs(void)
{
	for (struct console_output *o = outputs; o != NULL; o = o->next)
		o->flush();
}

/* Without the exit device (real hardware) the machine halts. */
static void
stop(uint8_t value)
{
	intr_disable();
	flush_outputs();
	outb(EXIT_PORT, value);
	if (value != EXIT_PANIC) {
		printf("The machine has stopped; it can be switched off.\n");
		flush_outputs();
	}
	for (;;)
		__asm__ volatile("hlt");
}

void
machine_exit(int status)
{
	if (status < 0 || status > EXIT_STATUS_MAX) {
		printf("exit status %d is reported as %d\n", status, EXIT_STATUS_MAX);
		status = EXIT_STATUS_MAX;
	}
	stop((uint8_t)(EXIT_BASE + status));
}

void
machine_exit_panic(void)
{
	stop(EXIT_PANIC);
}
