/* SPDX-License-Identifier: BSD-2-Clause */
/* The keyboard's decoder: bytes of scan-code set 1 in, characters out. */
#include "drivers/ps2kbd.h"
#include "tests/kernel/ktest.h"

static struct ps2kbd kbd;
static char said[64];
static size_t length;

static void
feed(const char *codes, size_t n)
{
	char out[PS2KBD_OUT];

	for (size_t i = 0; i < n; i++) {
		unsigned count = ps2kbd_decode(&kbd, (uint8_t)codes[i], out);

		CHECK_OR_RETURN(count <= PS2KBD_OUT && length + count < sizeof(said));
		memcpy(said + length, out, count);
		length += count;
	}
	said[length] = '\0';
}

/* What a keyboard that was just switched on says to these codes. */
#define EXPECT(codes, text) do {				\
	memset(&kbd, 0, sizeof(kbd));				\
	length = 0;						\
	feed(codes, sizeof(codes) - 1);				\
	CHECK_STR(said, text);					\
} while (0)

KTEST(ps2kbd, letters_digits_and_enter)
{
	EXPECT("\x26\xa6\x1f\x9f\x39\xb9\x35\xb5\x1c\x9c", "ls /\r");
	EXPECT("\x02\x0b\x0e\x0f\x01\x29\x2b", "10\177\t\033`\\");
	EXPECT("\x47\x4a\x4e\x53", "7-+.");		/* the keypad */
	EXPECT("\x3b\x44\x45\x46\x57\x58\x7f", "");	/* function keys and locks say nothing */
}

KTEST(ps2kbd, shift_holds_and_caps_lock_toggles)
{
	EXPECT("\x2a\x1e\x03\x9e\xaa\x1e", "A@a");
	EXPECT("\x36\x2a\xb6\x1e\xaa\x1e", "Aa");	/* one of both is still down */
	EXPECT("\x3a\xba\x1e\x02\x2a\x1e\xaa\x3a\xba\x1e", "A1aa");
}

KTEST(ps2kbd, control_and_alt)
{
	EXPECT("\x1d\x2e\x20\x9d\x2e", "\003\004c");
	EXPECT("\xe0\x1d\x16\xe0\x9d\x16", "\025u");	/* the right one */
	EXPECT("\x38\x21\xb8\x21", "\033ff");
}

KTEST(ps2kbd, cursor_keys_send_sequences)
{
	EXPECT("\xe0\x48\xe0\xc8\xe0\x50\xe0\x53", "\033[A\033[B\033[3~");
	EXPECT("\xe0\x1c\xe0\x35", "\r/");		/* the keypad's */
	EXPECT("\xe0\x2a\xe0\x4b\xe0\xcb\xe0\xaa\x1e", "\033[Da");	/* the shift that nobody pressed */
	EXPECT("\xe1\x1d\x45\xe1\x9d\xc5\x1e", "a");	/* Pause */
}

/* Whatever comes over the wire, nothing but ASCII comes out, and no more than there is room for. */
KTEST(ps2kbd, noise_is_harmless)
{
	char out[PS2KBD_OUT];

	memset(&kbd, 0, sizeof(kbd));
	for (unsigned i = 0; i < 20000; i++) {
		unsigned n = ps2kbd_decode(&kbd, (uint8_t)ktest_random(), out);

		CHECK_OR_RETURN(n <= PS2KBD_OUT);
		for (unsigned j = 0; j < n; j++)
			CHECK_OR_RETURN(out[j] > 0);
	}
}
