/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IDE: two channels with two devices each, as in every PC from 1986 on, with the bus master that
 * came in 1995 (SFF-8038i).
 *
 *	0x1f0  data (16 or 32 bits)            0x3f6  read: status once more, without acknowledging
 *	0x1f1  error / features                       write: device control (reset)
 *	0x1f2  count                            BAR 4  command: start, direction
 *	0x1f3  sector number, 3 bytes               + 2  status: active, error, interrupt
 *	0x1f6  device                               + 4  physical address of the table (ide_prd.c)
 *	0x1f7  status / command                (second channel: 0x170, 0x376, + 8)
 *
 * The registers are a file that is filled in and then executed by writing the last one.  For 48-bit
 * addresses each register is two bytes deep: the upper byte is written first.
 *
 * PIO.  The device raises its interrupt when it has a block of sectors, or wants one; the processor
 * moves it, in the interrupt, straight between the data port and the buffer.  Only the first block
 * of a write is not announced: we wait for the device to want it, a millisecond at most; should it
 * take longer, the port's thread moves it.
 * DMA.  The bus master moves everything, by the table, and there is one interrupt at the end.  The
 * status register of the bus master then tells ours from a stray one.
 *
 * A device that is missing must cost no time.  Nothing at all behind the ports: the lines float and
 * read as ones, and 0xff is no status that a device can have.  A slave that is missing beside a
 * master: the master answers 0 for it (ATA8-APT, single-device configurations).  One that is there
 * but still busy after a reset gets its 31 seconds, asleep.
 *
 * Locks: that of the port (ata.h).  Interrupts of a channel are its own: ISA lines 14 and 15.
 *
 * Not done: native mode (other ports, a shared line); setting the controller's clocks, which we
 * leave as the firmware has them, with the transfer modes that go with them.
 */
#include "drivers/ata.h"
#include "drivers/ide.h"
#include "drivers/pci.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_kern.h"

static MALLOC_DEFINE(M_IDE, "ide");

#define CLASS_IDE		0x0101	/* the upper two bytes of the class */
#define INTERFACE_NATIVE(i)	(1u << 2 * (i))	/* this channel is in native mode */
#define INTERFACE_MASTER	0x80	/* there is a bus master */

/* Registers, from the channel's base. */
#define R_DATA		0
#define R_ERROR		1
#define R_FEATURES	1
#define R_COUNT		2
#define R_LBA_LOW	3
#define R_LBA_MID	4
#define R_LBA_HIGH	5
#define R_DEVICE	6
#define R_STATUS	7
#define R_COMMAND	7

#define DEVICE_OLD	0xa0		/* two bits that once had to be set */
#define DEVICE_SLAVE	0x10
#define CONTROL_RESET	0x04		/* SRST */
#define FLOATING	0xff

/* The bus master's registers (SFF-8038i, 2.0). */
#define BM_COMMAND	0
#define BM_STATUS	2
#define BM_TABLE	4
#define BM_START	0x01
#define BM_TO_MEMORY	0x08
#define BM_ACTIVE	0x01
#define BM_ERROR	0x02
#define BM_INTERRUPT	0x04

#define SPINS		1000		/* reads of a port, each about a microsecond */

struct ide_channel {
	struct ata_port	 port;
	uint16_t	 base, control;	/* (c) */
	uint16_t	 bm;		/* (c) 0: none */
	struct ide_prd	*prd;		/* (p) one page */
	vm_paddr_t	 prd_pa;	/* (c) */
	struct phys_seg	 segs[ATA_SEGS];	/* (p) scratch */
};

/* ---- registers ---- */

static uint8_t
alt_status(const struct ide_channel *ch)
{
	return (inb(ch->control));
}

/* The 400 ns after which the status holds (ATA8-APT, register timing): four reads of a port. */
static void
settle_delay(const struct ide_channel *ch)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		(void)alt_status(ch);
}

/* Wait shortly for these bits to have this value.  Does not sleep. */
static bool
wait_status(const struct ide_channel *ch, uint8_t bits, uint8_t value)
{
	unsigned i;

	for (i = 0; i < SPINS; i++) {
		if ((alt_status(ch) & bits) == value)
			return (true);
	}
	return (false);
}

static void
select(const struct ide_channel *ch, unsigned unit, uint8_t bits)
{
	outb(ch->base + R_DEVICE, DEVICE_OLD | (unit != 0 ? DEVICE_SLAVE : 0) | bits);
	settle_delay(ch);
}

/* Reading the status acknowledges the interrupt (ATA8-APT, INTRQ). */
static void
take_answer(const struct ide_channel *ch, struct ata_cmd *cmd)
{
	cmd->status = inb(ch->base + R_STATUS);
	cmd->error = (cmd->status & ATA_STATUS_ERR) ? inb(ch->base + R_ERROR) : 0;
}

/* Fill in the task file and execute it (ATA8-APT, command delivery).  => the device is selected. */
static void
write_taskfile(const struct ide_channel *ch, const struct ata_cmd *cmd)
{
	if (cmd->ext) {
		outb(ch->base + R_FEATURES, 0);
		outb(ch->base + R_COUNT, cmd->count >> 8);
		outb(ch->base + R_LBA_LOW, cmd->lba >> 24);
		outb(ch->base + R_LBA_MID, cmd->lba >> 32);
		outb(ch->base + R_LBA_HIGH, cmd->lba >> 40);
	}
	outb(ch->base + R_FEATURES, cmd->features);
	outb(ch->base + R_COUNT, cmd->count);
	outb(ch->base + R_LBA_LOW, cmd->lba);
	outb(ch->base + R_LBA_MID, cmd->lba >> 8);
	outb(ch->base + R_LBA_HIGH, cmd->lba >> 16);
	outb(ch->base + R_COMMAND, cmd->command);
	settle_delay(ch);
}

/* ---- PIO ---- */

/* Move the block that the device waits for (ATA8-APT, PIO data-in and PIO data-out). */
static void
move_block(const struct ide_channel *ch, struct ata_cmd *cmd)
{
	uint32_t bytes = MIN(cmd->len - cmd->done, cmd->block);
	uint8_t *at = cmd->data + cmd->done;

	if (cmd->protocol == ATA_PIO_IN)
		insl(ch->base + R_DATA, at, bytes / 4);
	else
		outsl(ch->base + R_DATA, at, bytes / 4);
	cmd->done += bytes;
	settle_delay(ch);
}

/* PIO, and commands without data: how far is it (ATA8-APT, the same)? */
static enum ata_result
pio_progress(struct ide_channel *ch, struct ata_cmd *cmd)
{
	if (alt_status(ch) & ATA_STATUS_BSY)
		return (ATA_BUSY);
	take_answer(ch, cmd);
	if (cmd->status & (ATA_STATUS_ERR | ATA_STATUS_DF))
		return (ATA_ANSWERED);
	if ((cmd->status & ATA_STATUS_DRQ) == 0)
		return (cmd->done == cmd->len ? ATA_ANSWERED : ATA_BROKEN);
	if (cmd->done == cmd->len)
		return (ATA_BROKEN);
	move_block(ch, cmd);
	if (cmd->done < cmd->len || cmd->protocol == ATA_PIO_OUT)
		return (ATA_BUSY);
	/* A read ends with its last block, and no interrupt tells of that. */
	if (!wait_status(ch, ATA_STATUS_BSY, 0))
		return (ATA_BUSY);
	take_answer(ch, cmd);
	return ((cmd->status & ATA_STATUS_DRQ) ? ATA_BROKEN : ATA_ANSWERED);
}

/* ---- DMA (SFF-8038i, 3.1) ---- */

static bool
is_dma(const struct ata_cmd *cmd)
{
	return (cmd->protocol == ATA_DMA_IN || cmd->protocol == ATA_DMA_OUT);
}

static void
dma_stop(const struct ide_channel *ch)
{
	if (ch->bm == 0)
		return;
	outb(ch->bm + BM_COMMAND, 0);
	outb(ch->bm + BM_STATUS, inb(ch->bm + BM_STATUS) | BM_ERROR | BM_INTERRUPT);
}

static uint8_t
dma_direction(const struct ata_cmd *cmd)
{
	return (cmd->protocol == ATA_DMA_IN ? BM_TO_MEMORY : 0);
}

static enum ata_result
dma_progress(struct ide_channel *ch, struct ata_cmd *cmd)
{
	uint8_t bm = inb(ch->bm + BM_STATUS);

	if ((bm & (BM_INTERRUPT | BM_ERROR)) == 0)
		return (ATA_BUSY);
	dma_stop(ch);
	if (alt_status(ch) & ATA_STATUS_BSY)
		return (ATA_BROKEN);
	take_answer(ch, cmd);
	if (cmd->status & (ATA_STATUS_ERR | ATA_STATUS_DF))
		return (ATA_ANSWERED);
	/* Still active: the device moved less than the table describes (SFF-8038i, 3.3). */
	if ((bm & (BM_ERROR | BM_ACTIVE)) || (cmd->status & ATA_STATUS_DRQ))
		return (ATA_BROKEN);
	return (ATA_ANSWERED);
}

/* ---- what the core asks for ---- */

static bool
ide_prepare(struct ata_port *port, struct ata_cmd *cmd)
{
	struct ide_channel *ch = port->softc;
	int nsegs = ata_segments(cmd, ch->segs, ATA_SEGS);

	return (nsegs > 0 && ide_prd_build(ch->prd, IDE_PRD_MAX, ch->segs, nsegs) > 0);
}

static bool
ide_issue(struct ata_port *port, struct ata_cmd *cmd)
{
	struct ide_channel *ch = port->softc;
	uint8_t device = cmd->ext || cmd->bp != NULL ? ATA_DEVICE_LBA : 0;

	if (!cmd->ext)
		device |= cmd->lba >> 24 & 0x0f;
	if (!wait_status(ch, ATA_STATUS_BSY | ATA_STATUS_DRQ, 0))
		return (false);
	select(ch, cmd->dev->unit, device);
	if (!wait_status(ch, ATA_STATUS_BSY | ATA_STATUS_DRQ, 0))
		return (false);
	if (is_dma(cmd)) {
		dma_stop(ch);
		outl(ch->bm + BM_TABLE, ch->prd_pa);
		outb(ch->bm + BM_COMMAND, dma_direction(cmd));
	}
	write_taskfile(ch, cmd);
	if (is_dma(cmd))
		outb(ch->bm + BM_COMMAND, dma_direction(cmd) | BM_START);
	else if (cmd->protocol == ATA_PIO_OUT &&
	    wait_status(ch, ATA_STATUS_BSY | ATA_STATUS_DRQ | ATA_STATUS_ERR, ATA_STATUS_DRQ))
		move_block(ch, cmd);
	return (true);
}

static enum ata_result
ide_progress(struct ata_port *port, struct ata_cmd *cmd)
{
	struct ide_channel *ch = port->softc;

	if (cmd == NULL) {
		(void)inb(ch->base + R_STATUS);
		return (ATA_BUSY);
	}
	return (is_dma(cmd) ? dma_progress(ch, cmd) : pio_progress(ch, cmd));
}

static void
ide_abort(struct ata_port *port)
{
	dma_stop(port->softc);
}

/* ---- reset ---- */

/*
 * What is in this place after a reset (ATA8-ACS, signatures)?  => sleeps in "atarst" until
 * it is no longer busy, or `deadline` (ticks).
 */
static enum ata_kind
detect(struct ide_channel *ch, unsigned unit, uint64_t deadline)
{
	uint8_t status, mid, high;

	select(ch, unit, 0);
	while (((status = alt_status(ch)) & ATA_STATUS_BSY) != 0 && status != FLOATING) {
		if (ticks >= deadline) {
			printf("%s: the %s does not become ready\n", ch->port.name,
			    unit ? "slave" : "master");
			return (ATA_NOTHING);
		}
		tsleep(&ch->prd, NULL, "atarst", 1);
		/* re-check: a device that drops out of a reset takes its selection along. */
		select(ch, unit, 0);
	}
	mid = inb(ch->base + R_LBA_MID);
	high = inb(ch->base + R_LBA_HIGH);
	if (status == FLOATING)
		return (ATA_NOTHING);
	if (mid == 0x14 && high == 0xeb)
		return (ATA_PACKET);
	if (status == 0 || (mid == 0xff && high == 0xff))
		return (ATA_NOTHING);
	return ((mid | high) == 0 ? ATA_DISK : ATA_OTHER);
}

/* A software reset resets both devices (ATA8-APT, software reset). */
static void
ide_reset(struct ata_port *port)
{
	struct ide_channel *ch = port->softc;
	uint64_t deadline = ticks + ATA_READY_MAX;
	unsigned unit;

	dma_stop(ch);
	outb(ch->control, CONTROL_RESET);
	tsleep(&ch->prd, NULL, "atarst", 2);
	outb(ch->control, 0);
	tsleep(&ch->prd, NULL, "atarst", 2);
	for (unit = 0; unit < ATA_DEVICES; unit++)
		port->kind[unit] = detect(ch, unit, deadline);
	(void)inb(ch->base + R_STATUS);
}

static const struct ata_port_ops ide_ops = {
	.reset = ide_reset,
	.prepare = ide_prepare,
	.issue = ide_issue,
	.progress = ide_progress,
	.abort = ide_abort,
	.pio = true,
};

/* ---- attaching ---- */

/* The table's memory must have an address of 32 bits; without it the channel does PIO. */
static void
table_create(struct ide_channel *ch)
{
	if (ch->bm == 0 || cmdline_has("ata"))
		return;
	ch->prd = kmem_alloc_contig(PAGE_SIZE, &ch->prd_pa);
	if (ch->prd == NULL || ch->prd_pa + PAGE_SIZE <= 4 * GiB)
		return;
	kmem_free_contig(ch->prd, PAGE_SIZE);
	ch->prd = NULL;
}

struct ide_channel *
ide_channel_attach(const char *name, uint16_t base, uint16_t control,
    uint16_t bus_master)
{
	struct ide_channel *ch = kmalloc(sizeof(*ch), &M_IDE, M_WAITOK | M_ZERO);

	strlcpy(ch->port.name, name, sizeof(ch->port.name));
	ch->port.ops = &ide_ops;
	ch->port.softc = ch;
	ch->base = base;
	ch->control = control;
	ch->bm = bus_master;
	table_create(ch);
	ch->port.no_dma = ch->prd == NULL;
	if (ata_port_attach(&ch->port) == 0)
		return (ch);
	if (ch->prd != NULL)
		kmem_free_contig(ch->prd, PAGE_SIZE);
	kfree(ch, &M_IDE);
	return (NULL);
}

static void
ide_interrupt(void *arg)
{
	struct ide_channel *ch = arg;

	ata_port_intr(&ch->port);
}

static bool
ide_match(const struct pci_dev *pd)
{
	return (pd->class >> 8 == CLASS_IDE);
}

/* Both channels of a controller (SFF-8038i, PCI specifics: class and interface). */
static int
ide_attach(struct pci_dev *pd)
{
	static const struct { uint16_t base, control; uint8_t irq; } place[] = {
		{ 0x1f0, 0x3f6, 14 }, { 0x170, 0x376, 15 },
	};
	static bool taken[nitems(place)];
	const struct pci_bar *bar = &pd->bar[4];
	uint16_t bm = (pd->class & INTERFACE_MASTER) && bar->io && bar->addr != 0 ? bar->addr : 0;
	struct ide_channel *ch;
	unsigned i, found = 0;
	char name[16];

	if (cmdline_has("ata") && !streq(cmdline_get("ata"), "pio"))
		printf("ata=%s: only ata=pio is known; taken for that\n", cmdline_get("ata"));
	pci_enable(pd);
	for (i = 0; i < nitems(place); i++) {
		snprintf(name, sizeof(name), "ide%u", i);
		if (pd->class & INTERFACE_NATIVE(i)) {
			printf("%s: at %s, in native mode, which is not supported\n", name,
			    pd->name);
			continue;
		}
		if (taken[i]) {
			printf("%s: at %s, too, at the ports of another controller; left alone\n",
			    name, pd->name);
			continue;
		}
		ch = ide_channel_attach(name, place[i].base, place[i].control,
		    bm != 0 ? bm + 8 * i : 0);
		if (ch == NULL)
			continue;
		taken[i] = true;
		found++;
		if (intr_isa(place[i].irq, ide_interrupt, ch, "ide") != 0)
			printf("%s: no interrupt; each request will take a second\n", name);
	}
	return (found > 0 ? 0 : ENXIO);
}

const struct pci_driver ide_driver = {
	.name = "ide",
	.match = ide_match,
	.attach = ide_attach,
};
