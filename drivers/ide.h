/* SPDX-License-Identifier: BSD-2-Clause */
/* IDE: what the self-tests need of ide.c and ide_prd.c. */
#ifndef DRIVERS_IDE_H
#define DRIVERS_IDE_H

#include "kernel/fs/buf.h"

struct ide_channel;

/*
 * A channel whose registers are at these ports.  bus_master: its first bus-master port, or 0 for
 * PIO only.  => sleeps.  NULL: nothing there that we serve.
 */
struct ide_channel *ide_channel_attach(const char *name, uint16_t base, uint16_t control,
    uint16_t bus_master);

/* An entry of the table that tells a bus master where the data are (SFF-8038i, 1.2). */
struct ide_prd {
	uint32_t	addr;		/* physical, even */
	uint16_t	bytes;		/* even; 0: 64 KiB */
	uint16_t	flags;
} __packed;

#define IDE_PRD_LAST	0x8000
#define IDE_PRD_MAX	64		/* entries of a table; no buffer needs more */

/*
 * Fill a table of max entries.  Returns how many it has; 0: these pieces of memory cannot be
 * described.
 */
unsigned ide_prd_build(struct ide_prd *table, unsigned max, const struct phys_seg *segs,
    unsigned nsegs);

#endif
