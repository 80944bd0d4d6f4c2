/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VGA's text mode: 80 x 25 cells of two bytes, a character and its colours.
 *
 * The mode is the BIOS's; whether it is on, the adapter itself says (a machine without one answers
 * with ones).  The adapter's blinking cursor is switched off: the grid has one of its own.
 */
#include "boot/boot_info.h"
#include "drivers/screen.h"
#include "kernel/amd64/cpu.h"
#include "vm/vm.h"

#define TEXT_BASE	0xb8000
#define TEXT_COLS	80
#define TEXT_ROWS	25
#define ATTR_NORMAL	0x0700		/* grey on black */
#define ATTR_INVERSE	0x7000

enum {
	MISC_READ = 0x3cc, GRAPHICS_INDEX = 0x3ce, GRAPHICS_DATA = 0x3cf, CRTC_INDEX = 0x3d4, CRTC_DATA = 0x3d5,
	MISC_COLOUR = 0x01,		/* CRTC at 0x3d4, as for every colour mode */
	GRAPHICS_MISC = 6,		/* bits 3 to 2: where the memory appears; 0: graphics */
	MISC_GRAPHICS = 0x01, MISC_WINDOW = 0x0c, MISC_WINDOW_B8000 = 0x0c,
	CRTC_CURSOR_START = 0x0a, CURSOR_OFF = 0x20
};

static volatile uint16_t *text;

static void
vga_draw(unsigned row, unsigned col, uint8_t cell)
{
	uint16_t character = cell & ~CELL_INVERSE & 0xff;

	text[row * TEXT_COLS + col] = character | ((cell & CELL_INVERSE) ? ATTR_INVERSE : ATTR_NORMAL);
}

bool
vga_probe(struct boot_framebuffer *fb)
{
	uint8_t misc = inb(MISC_READ), mode;

	if (misc == 0xff || !(misc & MISC_COLOUR))
		return (false);
	outb(GRAPHICS_INDEX, GRAPHICS_MISC);
	mode = inb(GRAPHICS_DATA);
	if ((mode & MISC_GRAPHICS) != 0 || (mode & MISC_WINDOW) != MISC_WINDOW_B8000)
		return (false);
	*fb = (struct boot_framebuffer){ .base = TEXT_BASE, .width = TEXT_COLS, .height = TEXT_ROWS,
	    .pitch = 2 * TEXT_COLS, .bpp = 16, .text = 1 };
	return (true);
}

void
vga_attach(const struct boot_framebuffer *fb, struct surface *s)
{
	text = PHYS_TO_DMAP(fb->base);
	s->rows = TEXT_ROWS;
	s->cols = TEXT_COLS;
	s->draw = vga_draw;
	outb(CRTC_INDEX, CRTC_CURSOR_START);
	outb(CRTC_DATA, CURSOR_OFF);
	for (unsigned i = 0; i < TEXT_ROWS * TEXT_COLS; i++)
		text[i] = ATTR_NORMAL | ' ';
}
