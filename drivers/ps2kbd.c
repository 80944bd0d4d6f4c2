/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PS/2 keyboard behind the 8042 controller: scan codes in, characters out.
 *
 *	key -> controller (translates to set 1) -> IRQ 1 -> ps2kbd_decode() -> console_input()
 *
 * A key sends a byte when it goes down and the same with bit 7 when it comes up; the newer keys put
 * 0xe0 in front.  The layout is the American one.  Keys without a character send what terminals
 * send: ESC [ and a letter.  With Alt, a character has an ESC before it.
 *
 * The controller may be missing (its ports read as ones) and its answers are waited for only so
 * long.  A full input queue drops keys, as every keyboard does.
 *
 * Locks: none.  The decoder's state belongs to the interrupt.
 */
#include "drivers/ps2kbd.h"
#include "kernel/amd64/cpu.h"
#include "kernel/console.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

#define PORT_DATA	0x60
#define PORT_STATUS	0x64		/* read */
#define PORT_COMMAND	0x64		/* write */
#define IRQ		1
#define SPIN_MAX	100000

enum {
	STATUS_OUT_FULL = 0x01,		/* a byte for us */
	STATUS_IN_FULL = 0x02,		/* it has not yet taken ours */
	STATUS_AUX = 0x20,		/* the byte is the mouse's */
	CMD_READ_CONFIG = 0x20, CMD_WRITE_CONFIG = 0x60, CMD_DISABLE_MOUSE = 0xa7, CMD_DISABLE = 0xad,
	CMD_ENABLE = 0xae,
	CONFIG_IRQ1 = 0x01, CONFIG_IRQ12 = 0x02, CONFIG_CLOCK_OFF = 0x10, CONFIG_TRANSLATE = 0x40,
	KBD_ENABLE_SCANNING = 0xf4
};

enum {
	KEY_UP = 0x80, KEY_EXTENDED = 0xe0, KEY_PAUSE = 0xe1,
	KEY_CTRL = 0x1d, KEY_LSHIFT = 0x2a, KEY_RSHIFT = 0x36, KEY_ALT = 0x38, KEY_CAPS = 0x3a
};

/* What the keys from scan code 0 on say, without and with shift; a blank for those that say nothing here. */
static const char plain[] =
    " \0331234567890-=\177\tqwertyuiop[]\r asdfghjkl;'` \\zxcvbnm,./ *               789-456+1230.";
static const char shifted[] =
    " \033!@#$%^&*()_+\177\tQWERTYUIOP{}\r ASDFGHJKL:\"~ |ZXCVBNM<>? *               789-456+1230.";
#define KEY_SPACE	0x39

/* The letter after ESC [ of the keys between, by their extended scan code. */
static const struct {
	uint8_t	code;
	char	say[4];
} cursor_keys[] = {
	{ 0x48, "A" }, { 0x50, "B" }, { 0x4d, "C" }, { 0x4b, "D" }, { 0x47, "H" }, { 0x4f, "F" },
	{ 0x52, "2~" }, { 0x53, "3~" }, { 0x49, "5~" }, { 0x51, "6~" }
};

/* Keys that change what others mean; true if the code was one. */
static bool
modifier(struct ps2kbd *k, uint8_t key, bool down, bool extended)
{
	switch (key) {
	case KEY_LSHIFT:
	case KEY_RSHIFT:
		if (!extended)		/* with 0xe0: made up by the keyboard around its cursor keys */
			k->shift[key == KEY_RSHIFT] = down;
		return (true);
	case KEY_CTRL:
		k->ctrl[extended] = down;
		return (true);
	case KEY_ALT:
		k->alt[extended] = down;
		return (true);
	case KEY_CAPS:
		if (down)
			k->caps = !k->caps;
		return (true);
	default:
		return (false);
	}
}

static unsigned
cursor_key(uint8_t key, char out[PS2KBD_OUT])
{
	for (unsigned i = 0; i < nitems(cursor_keys); i++)
		if (cursor_keys[i].code == key)
			return ((unsigned)snprintf(out, PS2KBD_OUT, "\033[%s", cursor_keys[i].say));
	return (0);
}

/* The character of a key that has one, by the modifiers that are down; 0: none. */
static char
character(const struct ps2kbd *k, uint8_t key)
{
	bool shift = k->shift[0] || k->shift[1], ctrl = k->ctrl[0] || k->ctrl[1];
	char c;

	if (key == KEY_SPACE)
		return (ctrl ? 0 : ' ');
	if (key >= sizeof(plain) - 1 || plain[key] == ' ')
		return (0);
	c = plain[key];
	if (k->caps && c >= 'a' && c <= 'z')
		shift = !shift;
	if (shift)
		c = shifted[key];
	if (ctrl && c >= '@' && c < 0x7f)
		c &= 0x1f;
	return (c);
}

unsigned
ps2kbd_decode(struct ps2kbd *k, uint8_t code, char out[PS2KBD_OUT])
{
	uint8_t key = code & (uint8_t)~KEY_UP;
	bool extended = k->extended;
	unsigned n = 0;
	char c;

	if (k->skip > 0) {
		k->skip--;
		return (0);
	}
	k->extended = code == KEY_EXTENDED;
	if (code == KEY_PAUSE)
		k->skip = 5;		/* e1 1d 45 e1 9d c5, and nothing when it comes up */
	if (k->extended || code == KEY_PAUSE)
		return (0);
	if (modifier(k, key, code == key, extended) || code != key)
		return (0);
	if (extended && key != 0x1c && key != 0x35)	/* all but the keypad's Enter and slash */
		return (cursor_key(key, out));
	c = character(k, key);
	if (c == 0)
		return (0);
	if (k->alt[0] || k->alt[1])
		out[n++] = '\033';
	out[n++] = c;
	return (n);
}

/* ---- the controller ---- */

static struct ps2kbd keyboard;

/* Wait until the status's bits under `mask` are `want`; false: they never were. */
static bool
status_wait(uint8_t mask, uint8_t want)
{
	for (unsigned i = 0; i < SPIN_MAX; i++) {
		if ((inb(PORT_STATUS) & mask) == want)
			return (true);
		cpu_pause();
	}
	return (false);
}

static bool
send(uint16_t port, uint8_t byte)
{
	if (!status_wait(STATUS_IN_FULL, 0))
		return (false);
	outb(port, byte);
	return (true);
}

static void
drain(void)
{
	for (unsigned i = 0; i < 64 && (inb(PORT_STATUS) & STATUS_OUT_FULL); i++)
		(void)inb(PORT_DATA);
}

static void
ps2kbd_intr(void *arg)
{
	char out[PS2KBD_OUT];
	uint8_t status, code;
	unsigned n;

	while ((status = inb(PORT_STATUS)) != 0xff && (status & STATUS_OUT_FULL)) {
		code = inb(PORT_DATA);
		if (status & STATUS_AUX)
			continue;
		n = ps2kbd_decode(&keyboard, code, out);
		for (unsigned i = 0; i < n; i++)
			console_input(out[i]);
	}
}

/* Quiet the controller, then let the keyboard alone through, translated.  false: it does not answer. */
static bool
controller_init(void)
{
	uint8_t config;

	if (inb(PORT_STATUS) == 0xff || !send(PORT_COMMAND, CMD_DISABLE) || !send(PORT_COMMAND, CMD_DISABLE_MOUSE))
		return (false);
	drain();
	if (!send(PORT_COMMAND, CMD_READ_CONFIG) || !status_wait(STATUS_OUT_FULL, STATUS_OUT_FULL))
		return (false);
	config = inb(PORT_DATA);
	config = (config | CONFIG_IRQ1 | CONFIG_TRANSLATE) & (uint8_t)~(CONFIG_IRQ12 | CONFIG_CLOCK_OFF);
	if (!send(PORT_COMMAND, CMD_WRITE_CONFIG) || !send(PORT_DATA, config) || !send(PORT_COMMAND, CMD_ENABLE))
		return (false);
	/* Its acknowledgement, 0xfa, must not look like a key. */
	if (send(PORT_DATA, KBD_ENABLE_SCANNING) && status_wait(STATUS_OUT_FULL, STATUS_OUT_FULL))
		(void)inb(PORT_DATA);
	return (true);
}

void
ps2kbd_init(void)
{
	int error;

	if (!controller_init())
		return;
	error = intr_isa(IRQ, ps2kbd_intr, NULL, "keyboard");
	if (error != 0)
		printf("keyboard: no interrupt (error %d): no input from it\n", error);
	drain();	/* a byte that waits already holds the line up, and it is edges that interrupt */
}

bool
ps2kbd_poll(void)
{
	uint8_t status = inb(PORT_STATUS);

	return (status != 0xff && (status & STATUS_OUT_FULL) && (inb(PORT_DATA) & KEY_UP) == 0 &&
	    (status & STATUS_AUX) == 0);
}
