/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A framebuffer: rows of pixels in memory, 2, 3 or 4 bytes each.
 *
 * Text is grey on black, for grey is the same in every order of the colours.  Writing is all that
 * is done: reading from a card's memory is slow, and the screen remembers what it shows.
 */
#include "boot/boot_info.h"
#include "drivers/screen.h"
#include "vm/vm.h"

static struct {
	volatile uint8_t *pixels;
	uint32_t	pitch;		/* bytes per row */
	uint32_t	bytes;		/* per pixel */
	uint32_t	ink;		/* the pixel of a stroke; paper is 0 */
} fb;

static inline void
put_pixel(volatile uint8_t *at, uint32_t value)
{
	switch (fb.bytes) {
	case 4:
		*(volatile uint32_t *)at = value;
		break;
	case 3:
		at[0] = at[1] = at[2] = (uint8_t)value;
		break;
	default:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	}
}

static void
fb_draw(unsigned row, unsigned col, uint8_t cell)
{
	const uint8_t *glyph = font[(cell & ~CELL_INVERSE) - FONT_FIRST];
	uint8_t flip = (cell & CELL_INVERSE) ? 0xff : 0;
	volatile uint8_t *line = fb.pixels + (uint64_t)row * FONT_HEIGHT * fb.pitch +
	    (uint64_t)col * FONT_WIDTH * fb.bytes;

	for (unsigned y = 0; y < FONT_HEIGHT; y++, line += fb.pitch) {
		uint8_t bits = glyph[y] ^ flip;

		for (unsigned x = 0; x < FONT_WIDTH; x++)
			put_pixel(line + x * fb.bytes, (bits >> (FONT_WIDTH - 1 - x) & 1) ? fb.ink : 0);
	}
}

bool
fb_attach(const struct boot_framebuffer *f, struct surface *s)
{
	switch (f->bpp) {
	case 15:
		fb.ink = 0x6318;
		break;
	case 16:
		fb.ink = 0xc618;
		break;
	case 24:
	case 32:
		fb.ink = 0xc4c4c4;
		break;
	default:
		return (false);
	}
	fb.bytes = (f->bpp + 7) / 8;
	fb.pitch = f->pitch;
	fb.pixels = PHYS_TO_DMAP(f->base);
	s->rows = f->height / FONT_HEIGHT;
	s->cols = f->width / FONT_WIDTH;
	s->draw = fb_draw;
	for (uint64_t at = 0; at < (uint64_t)f->pitch * f->height; at += 4)
		*(volatile uint32_t *)(fb.pixels + at) = 0;
	return (true);
}
