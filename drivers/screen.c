/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen's grid of characters.
 *
 *	console_write -> control characters -> cells[] --(what differs)--> shown[], surface
 *	                  under screen_lock               the painter's
 *
 * Printing must be cheap, and a screen full of pixels is not: so output changes only the cells in
 * memory and marks their rows dirty.  A thread looks 25 times a second, copies each dirty row under
 * the lock, and paints without it those cells that differ from what it painted last.  A text that
 * runs through faster than that is never painted in full, which nobody could have read anyway.
 *
 * Until that thread runs, and again from a panic on, output paints at once.  A panic also begins a
 * clean page and stops at its end: it says the important things first, and they must not be
 * scrolled away.  The rest is on the serial line; but what asks for a key takes the last row for itself.
 *
 * Control characters: newline, return, backspace, tab, and of the escape sequences "ESC [" those for
 * moving the cursor (A B C D H), clearing (J K) and inverse writing (m); others are swallowed.
 */
#include "drivers/screen.h"
#include "boot/boot_info.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "vm/vm.h"

#define ROWS_MAX	128u
#define COLS_MAX	256u
#define CELLS_MAX	20480u
#define PAINT_TICKS	(HZ / 25)
#define TAB		8
#define PARAMS_MAX	4

enum mode { MODE_DIRECT, MODE_THREAD, MODE_PANIC };

static struct spinlock screen_lock = SPINLOCK_INITIALIZER("screen", RANK_SCREEN);
static struct surface surface;		/* constant once attached; rows == 0: no screen */
static enum mode mode;
static uint8_t cells[CELLS_MAX];	/* (screen_lock) what is to be seen */
static bool dirty[ROWS_MAX];		/* (screen_lock) rows with cells that may differ from shown[] */
static unsigned row, col;		/* (screen_lock) the cursor; col may be one past the end of its row */
static uint8_t inverse;			/* (screen_lock) CELL_INVERSE or 0 */
static bool page_full;			/* a panic has reached the end of its page */
static uint8_t shown[CELLS_MAX];	/* the painter's: what the surface shows; 0: unknown */

/* An escape sequence as far as it has been read.  (screen_lock) */
static struct {
	enum { ESC_NONE, ESC_BEGUN, ESC_BRACKET } state;
	unsigned	n;			/* parameters begun, less one */
	unsigned	param[PARAMS_MAX];
} esc;

/* ---- painting ---- */

/* Paint what differs in row r, whose cells are given. */
static void
paint_row(unsigned r, const uint8_t *want)
{
	uint8_t *have = &shown[r * surface.cols];

	for (unsigned c = 0; c < surface.cols; c++)
		if (want[c] != have[c]) {
			surface.draw(r, c, want[c]);
			have[c] = want[c];
		}
}

/* The cells of row r as they are to be seen: with the cursor. */
static void
copy_row(unsigned r, uint8_t *want)
{
	memcpy(want, &cells[r * surface.cols], surface.cols);
	if (r == row && col < surface.cols)
		want[col] ^= CELL_INVERSE;
}

/* => locked: take screen_lock for each copy; otherwise the caller has it, or nobody can. */
static void
paint(bool locked)
{
	static uint8_t want[COLS_MAX];	/* the painter's */

	for (unsigned r = 0; r < surface.rows; r++) {
		if (!dirty[r])
			continue;
		if (locked)
			spin_lock(&screen_lock);
		dirty[r] = false;
		copy_row(r, want);
		if (locked)
			spin_unlock(&screen_lock);
		paint_row(r, want);
	}
}

static void
paint_thread(void *arg)
{
	for (;;) {
		if (mode == MODE_THREAD)
			paint(true);
		(void)tsleep(&surface, NULL, "repaint", PAINT_TICKS);
	}
}

/* ---- the grid ---- */

/* Cells [from, to) become blanks.  => screen_lock */
static void
blank(unsigned from, unsigned to)
{
	memset(&cells[from], ' ', to - from);
	for (unsigned r = from / surface.cols; r < surface.rows && r * surface.cols < to; r++)
		dirty[r] = true;
}

static void
scroll(void)
{
	unsigned last = (surface.rows - 1) * surface.cols;

	memmove(cells, &cells[surface.cols], last);
	memset(dirty, true, sizeof(dirty));
	blank(last, last + surface.cols);
}

static void
newline(void)
{
	dirty[row] = true;
	col = 0;
	if (row + 1 < surface.rows)
		row++;
	else if (mode == MODE_PANIC)
		page_full = true;
	else
		scroll();
	dirty[row] = true;
}

static void
put_glyph(uint8_t c)
{
	if (col >= surface.cols)
		newline();
	if (page_full)
		return;
	if (c < FONT_FIRST || c >= FONT_FIRST + FONT_COUNT)
		c = FONT_FIRST + FONT_COUNT - 1;
	cells[row * surface.cols + col++] = c | inverse;
	dirty[row] = true;
}

/* A move by n in one direction, not beyond the edge. */
static unsigned
moved(unsigned at, int n, unsigned end)
{
	int to = (int)at + n;

	return (to < 0 ? 0 : (unsigned)to >= end ? end - 1 : (unsigned)to);
}

/* "ESC [ params c" is complete.  => screen_lock */
static void
escape_end(char c)
{
	unsigned first = MIN(esc.param[0], 1000u), here = row * surface.cols + MIN(col, surface.cols - 1);
	unsigned end = surface.rows * surface.cols, row_end = (row + 1) * surface.cols;
	int n = first == 0 ? 1 : (int)first;

	dirty[row] = true;
	switch (c) {
	case 'A':
		row = moved(row, -n, surface.rows);
		break;
	case 'B':
		row = moved(row, n, surface.rows);
		break;
	case 'C':
		col = moved(col, n, surface.cols);
		break;
	case 'D':
		col = moved(col, -n, surface.cols);
		break;
	case 'H':
		row = moved(0, n - 1, surface.rows);
		col = moved(0, esc.param[1] == 0 ? 0 : (int)MIN(esc.param[1], 1000u) - 1, surface.cols);
		break;
	case 'J':
		blank(first == 0 ? here : 0, first == 1 ? here + 1 : end);
		break;
	case 'K':
		blank(first == 0 ? here : row * surface.cols, first == 1 ? here + 1 : row_end);
		break;
	case 'm':
		for (unsigned i = 0; i <= esc.n; i++)
			if (esc.param[i] == 7)
				inverse = CELL_INVERSE;
			else if (esc.param[i] == 0 || esc.param[i] == 27)
				inverse = 0;
		break;
	default:
		break;
	}
	dirty[row] = true;
}

/* One more character of an escape sequence.  => screen_lock */
static void
escape_next(char c)
{
	if (esc.state == ESC_BEGUN) {
		esc.state = c == '[' ? ESC_BRACKET : ESC_NONE;
	} else if (c >= '0' && c <= '9') {
		esc.param[esc.n] = MIN(esc.param[esc.n], 1000u) * 10 + (unsigned)(c - '0');
	} else if (c == ';') {
		if (esc.n + 1 < PARAMS_MAX)
			esc.n++;
	} else if (c >= '@') {
		esc.state = ESC_NONE;
		escape_end(c);
	}
}

static void
put(char c)
{
	if (page_full)
		return;
	if (esc.state != ESC_NONE) {
		escape_next(c);
		return;
	}
	dirty[row] = true;
	switch (c) {
	case '\n':
		newline();
		break;
	case '\r':
		col = 0;
		break;
	case '\b':
		if (col > 0)
			col--;
		break;
	case '\t':
		do
			put_glyph(' ');
		while (col % TAB != 0 && !page_full);
		break;
	case '\a':
	case '\0':
		break;
	case 033:
		memset(&esc, 0, sizeof(esc));
		esc.state = ESC_BEGUN;
		break;
	default:
		put_glyph((uint8_t)c);
		break;
	}
}

/* ---- as an output of the console ---- */

static void
screen_write(const char *s, size_t len)
{
	bool locked = mode != MODE_PANIC;

	if (locked)
		spin_lock(&screen_lock);
	for (size_t i = 0; i < len; i++)
		put(s[i]);
	if (mode != MODE_THREAD)
		paint(false);
	if (locked)
		spin_unlock(&screen_lock);
}

/* A panic begins: whoever holds the lock will not run again.  The second of two finds the page as it is. */
static void
screen_panic(void)
{
	if (mode == MODE_PANIC)
		return;
	mode = MODE_PANIC;
	esc.state = ESC_NONE;
	inverse = 0;
	row = col = 0;
	blank(0, surface.rows * surface.cols);
}

static void
screen_last_line(void)
{
	if (!page_full)
		return;
	page_full = false;
	row = surface.rows - 1;
	col = 0;
	blank(row * surface.cols, surface.rows * surface.cols);
}

static void
screen_flush(void)
{
	paint(false);
}

static struct console_output screen_output = {
	.write = screen_write, .panic = screen_panic, .last_line = screen_last_line, .flush = screen_flush
};

static void
attach(const struct boot_framebuffer *fb)
{
	struct surface s;

	if (fb->text)
		vga_attach(fb, &s);
	else if (!fb_attach(fb, &s))
		return;
	s.cols = MIN(s.cols, COLS_MAX);
	s.rows = MIN(s.rows, ROWS_MAX);
	if (s.cols == 0 || s.rows == 0)
		return;
	s.rows = MIN(s.rows, CELLS_MAX / s.cols);
	surface = s;
	blank(0, s.rows * s.cols);
	console_add_output(&screen_output);
}

void
screen_init(struct boot_info *bi, vm_paddr_t mapped_end)
{
	const char *word = cmdline_get("screen");

	if (surface.rows != 0 || (word != NULL && streq(word, "none")))
		return;
	if (bi->fb.base == 0 && !vga_probe(&bi->fb))
		return;
	if (bi->fb.base + boot_fb_len(&bi->fb) > mapped_end)
		return;
	attach(&bi->fb);
}

void
screen_start(void)
{
	struct thread *td;

	if (surface.rows == 0)
		return;
	td = thread_create("screen", PRI_KERNEL, paint_thread, NULL);
	if (td == NULL) {
		printf("screen: no memory for its thread: painting will be slow\n");
		return;
	}
	thread_detach(td);
	spin_lock(&screen_lock);
	mode = MODE_THREAD;
	spin_unlock(&screen_lock);
}
