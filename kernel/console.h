/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console: where printf goes and where the monitor reads.
 *
 *	out	console_write() -> COM1, then every struct console_output (a screen)
 *	in	COM1's interrupt, a keyboard's interrupt -> console_input() -> one queue -> console_getc()
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include "kernel/lib/types.h"

/* Another place that shows what is printed. */
struct console_output {
	/* => console's lock held, or a panic: must not sleep, print, or wait for long */
	void (*write)(const char *s, size_t len);
	void (*panic)(void);		/* a panic begins: no lock will be let go of any more */
	void (*last_line)(void);	/* of a panic: the line that comes now must be seen, whatever came before it */
	void (*flush)(void);		/* the machine stops: show everything now */
	struct console_output *next;
};
/* From here on it gets what is printed.  => while booting; it stays for ever */
void console_add_output(struct console_output *out);

void console_init_early(void);		/* polled output on COM1; works before anything else */
void console_putc(char c);
void console_write(const char *s, size_t len);
void console_init_irq(void);		/* interrupt-driven input, once interrupts are routed */
/* Next input byte.  => sleeps in "ttyin"; with nowait returns -1 when there is none. */
int  console_getc(bool nowait);
/*
 * Read an edited line (echo, backspace, Ctrl-U).  => sleeps.  Returns its length, -1 on Ctrl-D on
 * an empty line.
 */
int  console_gets(char *buf, size_t size);
/* Who gets the input instead of console_getc(): from an interrupt or not, by console_set_input()'s caller. */
struct console_taker {
	void	(*take)(char c);
	bool	(*has_room)(void);		/* false: the UART keeps what comes until console_input_goes_on() */
};
/* From here on each input byte goes there, first those that have come already.  => once */
void console_set_input(const struct console_taker *t);
void console_input_goes_on(void);		/* there may be room again; => no lock of the taker's held */
/* From an interrupt (UART, keyboard): one input byte. */
void console_input(char c);
/* From panic, interrupts off: with the word screen=hold, wait for a key on any keyboard. */
void console_hold(void);
/* From panic: break the console's lock, tell the outputs. */
void console_break_lock(void);

/* Leave QEMU: status 0 to 110 goes out as 16 + status on isa-debug-exit, and boot/qemu takes the 16 off again. */
void machine_exit(int status) __noreturn;
void machine_exit_panic(void) __noreturn;	/* writes 0x7f */

#endif
