/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bus master's table of pieces of memory (SFF-8038i, 1.2): a pure function.
 *
 *	one piece of memory	0x1fffe000                 0x20010800
 *	                        |          0x20000000      |
 *	becomes                 [  8 KiB  ][  64 KiB + 2 KiB ...
 *
 * An entry has an address of 32 bits and a length of 16, of which 0 means 64 KiB, and must not
 * cross a multiple of 64 KiB, for the engine counts only the lower 16 bits of the address.  Both
 * are even.
 *
 * Memory above 4 GiB cannot be described.  The driver then moves these data by PIO: that is slow,
 * but right, and needs no memory set aside for the case.
 */
#include "drivers/ide.h"

#define BOUNDARY	(64 * KiB)

unsigned
ide_prd_build(struct ide_prd *table, unsigned max, const struct phys_seg *segs, unsigned nsegs)
{
	unsigned n = 0, i;
	uint64_t at, end, piece;

	for (i = 0; i < nsegs; i++) {
		at = segs[i].addr;
		end = at + segs[i].len;
		if (end > 4 * GiB || ((at | end) & 1) != 0)
			return (0);
		for (; at < end; at += piece) {
			piece = MIN(end - at, BOUNDARY - at % BOUNDARY);
			if (n == max)
				return (0);
			table[n++] = (struct ide_prd){ (uint32_t)at, (uint16_t)piece, 0 };
		}
	}
	if (n > 0)
		table[n - 1].flags = IDE_PRD_LAST;
	return (n);
}
