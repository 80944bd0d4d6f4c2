/* SPDX-License-Identifier: BSD-2-Clause */
/* The fake ATA port of fake_ata.h. */
#include "tests/kernel/fake_ata.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"

static MALLOC_DEFINE(M_FAKEATA, "fake ata");

#define DISK_BYTES	(FAKE_ATA_SECTORS * DEV_BSIZE)

static struct fake_ata *
fake_of(struct ata_port *port)
{
	return (port->softc);
}

static void
event(struct fake_ata *f, enum fake_event what)
{
	if (f->nevents < FAKE_ATA_EVENTS)
		f->events[f->nevents++] = what;
}

/* ---- the port ---- */

static void
fake_reset(struct ata_port *port)
{
	struct fake_ata *f = fake_of(port);

	event(f, EV_RESET);
	memcpy(port->kind, f->kind, sizeof(port->kind));
}

bool
fake_ata_settle(struct ata_port *port)
{
	event(fake_of(port), EV_SETTLE);
	return (!fake_of(port)->unsettled);
}

static void
fake_abort(struct ata_port *port)
{
	event(fake_of(port), EV_ABORT);
}

static bool
fake_prepare(struct ata_port *port, struct ata_cmd *cmd)
{
	return (true);
}

static bool
fake_issue(struct ata_port *port, struct ata_cmd *cmd)
{
	struct fake_ata *f = fake_of(port);

	if (cmd->bp == NULL)
		return (true);
	event(f, EV_ISSUE);
	f->last = *cmd;
	f->fate = f->at < f->nscript ? f->script[f->at++] : FATE_FINE;
	return (f->fate != FATE_NOT_TAKEN);
}

/* IDENTIFY and the settings. */
static enum ata_result
own_progress(struct fake_ata *f, struct ata_cmd *cmd)
{
	unsigned unit = cmd->dev->unit;

	cmd->status = ATA_STATUS_DRDY;
	if (f->deaf[unit])
		return (ATA_BROKEN);
	if (cmd->command == ATA_CMD_IDENTIFY) {
		memcpy(cmd->data, f->words[unit], cmd->len);
	} else if (cmd->command == ATA_CMD_SET_FEATURES &&
	    cmd->features == ATA_FEATURE_NO_CACHE && f->cache_sticks) {
		cmd->status |= ATA_STATUS_ERR;
		cmd->error = ATA_ERROR_ABRT;
	}
	return (ATA_ANSWERED);
}

static enum ata_result
answer(struct ata_cmd *cmd, uint8_t status, uint8_t error)
{
	cmd->status = ATA_STATUS_DRDY | status;
	cmd->error = error;
	return (ATA_ANSWERED);
}

/* Move the data.  The sector size is the one that the words say. */
static enum ata_result
transfer(struct fake_ata *f, struct ata_cmd *cmd)
{
	uint8_t *at = f->disk[cmd->dev->unit] + cmd->lba * cmd->dev->id.sectorsize;

	KASSERT(cmd->len == 0 || at + cmd->len <= f->disk[cmd->dev->unit] + DISK_BYTES,
	    "sector %lu of a fake disk", cmd->lba);
	if (cmd->protocol == ATA_PIO_IN || cmd->protocol == ATA_DMA_IN)
		memcpy(cmd->data, at, cmd->len);
	else if (cmd->protocol != ATA_NONDATA)
		memcpy(at, cmd->data, cmd->len);
	return (answer(cmd, 0, 0));
}

static enum ata_result
fake_progress(struct ata_port *port, struct ata_cmd *cmd)
{
	struct fake_ata *f = fake_of(port);

	if (cmd == NULL)
		return (ATA_BUSY);
	if (cmd->bp == NULL)
		return (own_progress(f, cmd));
	switch (f->fate) {
	case FATE_FINE:
		return (transfer(f, cmd));
	case FATE_UNC:
		return (answer(cmd, ATA_STATUS_ERR, ATA_ERROR_UNC));
	case FATE_IDNF:
		return (answer(cmd, ATA_STATUS_ERR, ATA_ERROR_IDNF));
	case FATE_CRC:
		return (answer(cmd, ATA_STATUS_ERR, ATA_ERROR_ICRC | ATA_ERROR_ABRT));
	case FATE_FAULT:
		return (answer(cmd, ATA_STATUS_DF, 0));
	case FATE_SHORT:
		return (ATA_BROKEN);
	case FATE_NO_DMA:
		return (cmd->protocol == ATA_DMA_IN || cmd->protocol == ATA_DMA_OUT ? ATA_BUSY : transfer(f, cmd));
	default:
		return (ATA_BUSY);
	}
}

static const struct ata_port_ops fake_ops = {
	.reset = fake_reset,
	.prepare = fake_prepare,
	.issue = fake_issue,
	.progress = fake_progress,
	.abort = fake_abort,
	.pio = true,
};

/* ---- for the tests ---- */

void
fake_ata_string(uint16_t *words, unsigned nwords, const char *text)
{
	unsigned i;

	for (i = 0; i < nwords; i++) {
		words[i] = (uint16_t)((*text != '\0' ? (uint8_t)*text++ : ' ') << 8);
		words[i] |= *text != '\0' ? (uint8_t)*text++ : ' ';
	}
}

void
fake_ata_identify(uint16_t *words, uint64_t nsectors)
{
	uint64_t short_size = MIN(nsectors, 0x0ffffffful);

	memset(words, 0, 512);
	words[0] = 0x0040;
	fake_ata_string(words + 10, 10, "SN 0001");
	fake_ata_string(words + 27, 20, "FAKE DISK");
	words[47] = 0x8010;
	words[49] = 0x0300;
	words[53] = 0x0006;
	words[60] = short_size & 0xffff;
	words[61] = short_size >> 16;
	words[63] = 0x0007;
	words[82] = 0x0020;
	words[83] = 0x4000 | 0x0400 | 0x1000 | 0x2000;
	words[84] = 0x4000;
	words[85] = 0x0020;
	words[86] = 0x0400 | 0x1000 | 0x2000;
	words[87] = 0x4000;
	words[88] = 0x203f;
	words[100] = nsectors & 0xffff;
	words[101] = nsectors >> 16 & 0xffff;
	words[102] = nsectors >> 32 & 0xffff;
}

struct fake_ata *
fake_ata_create(unsigned devices)
{
	struct fake_ata *f = kmalloc(sizeof(*f), &M_FAKEATA, M_WAITOK | M_ZERO);
	unsigned unit;
	size_t i;

	f->ops = fake_ops;
	f->port.ops = &f->ops;
	f->port.softc = f;
	strlcpy(f->port.name, "fake", sizeof(f->port.name));
	for (unit = 0; unit < ATA_DEVICES; unit++) {
		if ((devices >> unit & 1) == 0)
			continue;
		f->kind[unit] = ATA_DISK;
		fake_ata_identify(f->words[unit], FAKE_ATA_SECTORS);
		f->disk[unit] = kmalloc(DISK_BYTES, &M_FAKEATA, M_WAITOK);
		for (i = 0; i < DISK_BYTES; i++)
			f->disk[unit][i] = (uint8_t)(i / DEV_BSIZE * 7 + i + unit);
	}
	return (f);
}

bool
fake_ata_attach(struct fake_ata *f, uint32_t watch, uint32_t patience)
{
	f->port.watch = watch;
	f->port.patience = patience;
	if (!CHECK_EQ(ata_port_attach(&f->port), 0))
		return (false);
	f->nevents = 0;
	memset(f->events, 0, sizeof(f->events));
	return (true);
}

void
fake_ata_destroy(struct fake_ata *f)
{
	if (f->port.thread != NULL)
		ata_port_detach(&f->port);
	kfree(f->disk[0], &M_FAKEATA);
	kfree(f->disk[1], &M_FAKEATA);
	kfree(f, &M_FAKEATA);
}

void
fake_ata_script(struct fake_ata *f, const uint8_t *fates, unsigned n)
{
	spin_lock(&f->port.lock);
	KASSERT(n <= sizeof(f->script), "a script of %u fates", n);
	memcpy(f->script, fates, n);
	f->nscript = n;
	f->at = 0;
	f->nevents = 0;
	memset(f->events, 0, sizeof(f->events));
	spin_unlock(&f->port.lock);
}

void
fake_ata_release(struct fake_ata *f)
{
	spin_lock(&f->port.lock);
	f->fate = FATE_FINE;
	spin_unlock(&f->port.lock);
	ata_port_intr(&f->port);
}

struct disk *
fake_ata_disk(struct fake_ata *f, unsigned unit)
{
	return (&f->port.dev[unit].disk);
}
