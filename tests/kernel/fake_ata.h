/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fake ATA port: two small disks in memory, and a script of what becomes of each request's
 * command.  The core's own commands (IDENTIFY and so on) are answered as the test arranges it
 * beforehand and use nothing of the script.
 *
 *	fake_ata_script(f, (uint8_t[]){ FATE_CRC, FATE_FINE }, 2);	the second try works
 *
 * When the script is at its end, all is fine.  There is no interrupt but the one of
 * fake_ata_release(): a test lives on the port's thread, which looks every tick.
 */
#ifndef TESTS_KERNEL_FAKE_ATA_H
#define TESTS_KERNEL_FAKE_ATA_H

#include "drivers/ata.h"

#define FAKE_ATA_SECTORS	64	/* of 512 bytes, each disk */
#define FAKE_ATA_EVENTS		64

enum fake_fate {
	FATE_FINE,
	FATE_UNC,		/* the device: uncorrectable */
	FATE_IDNF,		/* the device: no such sector */
	FATE_CRC,		/* the device: the cable garbled it */
	FATE_FAULT,		/* the device: fault */
	FATE_SILENT,		/* no answer */
	FATE_SHORT,		/* the controller: not all data were moved */
	FATE_NO_DMA,		/* no answer if it is DMA; PIO works */
	FATE_NOT_TAKEN,		/* the device was busy when the command came */
	FATE_HELD		/* no answer until fake_ata_release() */
};

/* What the port saw, in order. */
enum fake_event { EV_RESET = 'R', EV_ISSUE = 'I', EV_ABORT = 'A', EV_SETTLE = 'S' };

struct fake_ata {
	struct ata_port	port;
	struct ata_port_ops ops;
	uint16_t	words[ATA_DEVICES][256];	/* identification */
	uint8_t		*disk[ATA_DEVICES];
	uint8_t		kind[ATA_DEVICES];		/* what resets find */
	bool		deaf[ATA_DEVICES];		/* IDENTIFY fails */
	bool		unsettled;			/* settle() fails */
	bool		cache_sticks;			/* cannot be switched off */
	uint8_t		script[16];			/* enum fake_fate */
	unsigned	nscript, at;
	uint8_t		fate;				/* of the command under way */
	char		events[FAKE_ATA_EVENTS + 1];	/* enum fake_event; no own commands */
	unsigned	nevents;
	struct ata_cmd	last;				/* the last request's command */
};

/* A port with these devices (a mask), not attached; each has LBA48, DMA, a cache, FLUSH CACHE EXT. */
struct fake_ata *fake_ata_create(unsigned devices);
/*
 * Attach it, look every `watch` ticks, give up after `patience`; false, the test failed, if it
 * cannot be.
 */
bool	 fake_ata_attach(struct fake_ata *f, uint32_t watch, uint32_t patience);
/* Detach if attached, free. */
void	 fake_ata_destroy(struct fake_ata *f);
void	 fake_ata_script(struct fake_ata *f, const uint8_t *fates, unsigned n);
/* For ops.settle, which a fresh port has not. */
bool	 fake_ata_settle(struct ata_port *port);
void	 fake_ata_release(struct fake_ata *f);
struct disk *fake_ata_disk(struct fake_ata *f, unsigned unit);
/* An identification like that of QEMU's disks. */
void	 fake_ata_identify(uint16_t *words, uint64_t nsectors);
void	 fake_ata_string(uint16_t *words, unsigned nwords, const char *text);

#endif
