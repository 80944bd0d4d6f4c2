/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC-32: the remainder of the data, taken as a polynomial over two elements, divided by
 * 0x04c11db7.
 *
 * Bits come least significant first, so the polynomial is written backwards: 0xedb88320.  Two
 * steps a byte, with the remainders of all sixteen half bytes in a table: as small as it is fast
 * enough.
 */
#include "kernel/lib/crc32.h"

static const uint32_t half_byte[16] = {
	0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
	0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
	0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
	0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c
};

uint32_t
crc32(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (len-- > 0) {
		crc ^= *p++;
		crc = half_byte[crc & 15] ^ crc >> 4;
		crc = half_byte[crc & 15] ^ crc >> 4;
	}
	return (~crc);
}
