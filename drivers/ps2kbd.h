/* SPDX-License-Identifier: BSD-2-Clause */
/* A PS/2 keyboard, whose keys are the console's input. */
#ifndef DRIVERS_PS2KBD_H
#define DRIVERS_PS2KBD_H

#include "kernel/lib/types.h"

/* Find the controller and its keyboard, and begin to listen.  => after console_init_irq(); no keyboard, no harm */
void ps2kbd_init(void);
/* After a panic, with interrupts off: has a key been pressed?  Takes it. */
bool ps2kbd_poll(void);

/* The decoder's state, apart from any hardware, for tests. */
struct ps2kbd {
	bool	shift[2], ctrl[2], alt[2];	/* left and right are down */
	bool	caps;
	bool	extended;			/* 0xe0 was the last byte */
	uint8_t	skip;				/* bytes of the Pause key to come */
};
#define PS2KBD_OUT	6	/* bytes that one scan code yields at most */
/* Feed one byte of scan-code set 1; returns how many characters it put into out. */
unsigned ps2kbd_decode(struct ps2kbd *k, uint8_t code, char out[PS2KBD_OUT]);

#endif
