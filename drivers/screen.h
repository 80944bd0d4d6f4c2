/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen: a grid of characters on whatever the machine can show them with.
 *
 *	screen.c	the grid, what the control characters do to it, when it is painted
 *	fb.c		a surface of pixels, with our own font
 *	vga.c		a surface of character cells, with the adapter's
 */
#ifndef DRIVERS_SCREEN_H
#define DRIVERS_SCREEN_H

#include "kernel/lib/types.h"

struct boot_info;
struct boot_framebuffer;

#define FONT_WIDTH	8
#define FONT_HEIGHT	16
#define FONT_FIRST	' '
#define FONT_COUNT	96		/* the last is the box for what has no picture */
extern const uint8_t font[FONT_COUNT][FONT_HEIGHT];	/* one byte a row, bit 7 leftmost */

/* A cell: seven bits of ASCII from FONT_FIRST on, and: */
#define CELL_INVERSE	0x80

/* Something that can show cells.  => the painter's alone: no locks. */
struct surface {
	unsigned	rows, cols;
	void		(*draw)(unsigned row, unsigned col, uint8_t cell);
};

/* Take over the mode that the firmware has set; false when its pixels are of no kind that we know. */
bool fb_attach(const struct boot_framebuffer *fb, struct surface *s);
void vga_attach(const struct boot_framebuffer *fb, struct surface *s);
/* Is there a VGA adapter in text mode?  Then describe it. */
bool vga_probe(struct boot_framebuffer *fb);

/*
 * Put the console on the screen that bi->fb describes, or on VGA's text mode, which bi->fb then
 * does.  Once; without a screen nothing happens.
 * => only a screen that lies below mapped_end, what the direct map covers now.
 */
void screen_init(struct boot_info *bi, vm_paddr_t mapped_end);
/* From now on a thread does the painting. */
void screen_start(void);

#endif
