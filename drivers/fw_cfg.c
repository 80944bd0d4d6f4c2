/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fw_cfg through its two I/O ports: write a selector, then read the item's bytes one by one.
 *
 * Selector 0 holds the signature "QEMU", selector 0x19 the directory: a big-endian count, then for
 * each item its size, its selector (both big-endian) and its name in 56 bytes.  On a machine
 * without the device the signature doesn't match, and every look-up fails.
 */
#include "drivers/fw_cfg.h"
#include "kernel/amd64/cpu.h"
#include "kernel/lib/string.h"

#define PORT_SELECT	0x510
#define PORT_DATA	0x511
#define ITEM_SIGNATURE	0x00
#define ITEM_DIRECTORY	0x19
#define ENTRIES_MAX	1024		/* more is taken for a device that isn't one */
#define NAME_SIZE	56

static void
read_bytes(void *buf, size_t len)
{
	uint8_t *byte = buf;

	while (len-- > 0)
		*byte++ = inb(PORT_DATA);
}

static uint32_t
read_be32(void)
{
	uint8_t b[4];

	read_bytes(b, sizeof(b));
	return ((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);
}

static bool
present(void)
{
	char signature[4];

	outw(PORT_SELECT, ITEM_SIGNATURE);
	read_bytes(signature, sizeof(signature));
	return (memcmp(signature, "QEMU", 4) == 0);
}

/* The item's selector and size; false when it isn't there. */
static bool
find(const char *name, uint16_t *selector, uint32_t *size)
{
	char entry_name[NAME_SIZE];
	uint32_t count, word;

	outw(PORT_SELECT, ITEM_DIRECTORY);
	count = read_be32();
	if (count > ENTRIES_MAX)
		return (false);
	while (count-- > 0) {
		*size = read_be32();
		word = read_be32();		/* selector, reserved */
		*selector = (uint16_t)(word >> 16);
		read_bytes(entry_name, sizeof(entry_name));
		entry_name[NAME_SIZE - 1] = '\0';
		if (streq(entry_name, name))
			return (true);
	}
	return (false);
}

ssize_t
fw_cfg_read(const char *name, char *buf, size_t size)
{
	uint16_t selector;
	uint32_t len;
	size_t n;

	if (size == 0 || !present() || !find(name, &selector, &len))
		return (-1);
	n = MIN((size_t)len, size - 1);
	outw(PORT_SELECT, selector);
	read_bytes(buf, n);
	buf[n] = '\0';
	return ((ssize_t)n);
}
