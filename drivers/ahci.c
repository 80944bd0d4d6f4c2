/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AHCI (1.3.1): SATA disks behind up to 32 ports.
 *
 * The processor touches no task file here.  It writes a command into memory, in the shape in which
 * it will go over the cable (a *FIS*), with a table of where the data are, and sets one bit; the
 * controller does the rest, PIO commands included, and writes the device's answer to memory, too.
 *
 *	one page for each port:
 *	0x000  command list	32 headers of 32 bytes; we use the first alone
 *	0x400  received FISes	256 bytes, the controller's
 *	0x800  command table	the FIS at its beginning; from + 0x80 on the pieces of memory
 *
 * A command is over when its bit in PxCI falls.  It is over with an error when the controller stops
 * instead and says TFES in PxIS: then the port must be stopped and started again before it takes
 * the next one (6.2.2.1), also if the error is merely that a sector cannot be read.  That is what
 * the core's `settle` is for.  Bits for what happens on the cable or in memory (interface, host
 * bus) mean that nobody answered; a reset of the link follows (10.4.2: COMRESET).
 *
 * Finding devices.  All ports are powered first, then waited for once; one without a link is left
 * out at once, the others get a reset and their 31 seconds, asleep.
 *
 * Locks: that of each port (ata.h).  The controller's own registers are written at attach time and
 * by its interrupt only.
 *
 * Not done: queued commands, port multipliers, hot plug, enclosures, power states.
 */
#include "drivers/ata.h"
#include "drivers/pci.h"
#include "kernel/clock.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "vm/vm_kern.h"

static MALLOC_DEFINE(M_AHCI, "ahci");

#define CLASS_AHCI	0x010601
#define AHCI_BAR	5
#define PORTS_MAX	32

/* The controller's registers (3.1), in words. */
#define H_CAP		(0x00 / 4)
#define H_GHC		(0x04 / 4)
#define H_IS		(0x08 / 4)
#define H_PI		(0x0c / 4)
#define H_CAP2		(0x24 / 4)
#define H_BOHC		(0x28 / 4)
#define CAP_64BIT	0x80000000u
#define GHC_ENABLE	0x80000000u
#define GHC_INTERRUPTS	0x00000002u
#define CAP2_HANDOFF	0x00000001u
#define BOHC_BIOS	0x00000001u	/* the firmware owns it */
#define BOHC_OS		0x00000002u
#define BOHC_BUSY	0x00000010u

/* A port's registers (3.3), in words. */
#define PORT_FIRST	(0x100 / 4)
#define PORT_WORDS	(0x80 / 4)
#define P_CLB		(0x00 / 4)
#define P_CLBU		(0x04 / 4)
#define P_FB		(0x08 / 4)
#define P_FBU		(0x0c / 4)
#define P_IS		(0x10 / 4)
#define P_IE		(0x14 / 4)
#define P_CMD		(0x18 / 4)
#define P_TFD		(0x20 / 4)
#define P_SIG		(0x24 / 4)
#define P_SSTS		(0x28 / 4)
#define P_SCTL		(0x2c / 4)
#define P_SERR		(0x30 / 4)
#define P_CI		(0x38 / 4)

#define IS_ANSWERS	0x0000000fu	/* a FIS of one kind or another has come */
#define IS_TASK_FILE	0x40000000u	/* the device says: error */
#define IS_BROKEN	0x3d000000u	/* overflow, interface, host bus */
#define CMD_START	0x00000001u
#define CMD_SPIN_UP	0x00000002u
#define CMD_POWER	0x00000004u
#define CMD_FIS		0x00000010u	/* receive FISes */
#define CMD_FIS_RUNS	0x00004000u
#define CMD_RUNS	0x00008000u
#define DET_MASK	0x0fu
#define DET_LINK	0x03u		/* a device, and the cable works */
#define DET_COMRESET	0x01u		/* in P_SCTL: reset the link as long as this is set */

#define SIG_DISK	0x00000101u
#define SIG_PACKET	0xeb140101u

#define FIS_TO_DEVICE	0x27		/* SATA 2.6, 10.3.4 */
#define FIS_COMMAND	0x80		/* it is a command, not a control */
#define FIS_BYTES	20u

/* A header of the command list (4.2.2). */
struct ahci_header {
	uint16_t	flags;		/* bits 0-4: words of the FIS; 6: to the device */
	uint16_t	npieces;
	uint32_t	moved;		/* the controller: bytes */
	uint64_t	table;		/* physical */
	uint32_t	reserved[4];
};
#define HEADER_WRITE	0x0040

/* A piece of memory (4.2.3.3). */
struct ahci_piece {
	uint64_t	addr;		/* physical, even */
	uint32_t	reserved;
	uint32_t	last;		/* bytes - 1 */
};

/* What the controller reads and writes, as drawn above. */
struct ahci_memory {
	struct ahci_header list[32];
	uint8_t		received[0x400];
	uint8_t		fis[0x80];
	struct ahci_piece piece[ATA_SEGS];
};

struct ahci;

struct ahci_port {
	struct ata_port	 port;
	struct ahci	*hba;		/* (c) */
	volatile uint32_t *reg;		/* (c) */
	struct ahci_memory *mem;	/* (p) but what the controller writes */
	vm_paddr_t	 pa;		/* (c) */
	struct phys_seg	 segs[ATA_SEGS];	/* (p) scratch */
};

struct ahci {
	volatile uint32_t *reg;		/* (c) */
	unsigned	 number;	/* (c) 0: the first controller */
	bool		 wide;		/* (c) it has 64 address lines */
	struct ahci_port *port[PORTS_MAX];	/* (atomic) NULL: none in service */
};

/* ---- a port's engines ---- */

/* Wait until these bits have this value.  => sleeps in "ahciwt", at most `limit` ticks. */
static bool
wait_bits(volatile uint32_t *reg, uint32_t bits, uint32_t value, uint64_t limit)
{
	uint64_t from = ticks;

	while ((*reg & bits) != value) {
		if (ticks - from > limit)
			return (false);
		tsleep((const volatile void *)reg, NULL, "ahciwt", 1);
	}
	return (true);
}

/* Clear PxCMD.ST and wait for the engine (10.1.2): half a second is its limit.  => sleeps. */
static bool
engine_stop(struct ahci_port *ap)
{
	ap->reg[P_CMD] &= ~CMD_START;
	return (wait_bits(&ap->reg[P_CMD], CMD_RUNS, 0, HZ / 2));
}

/* Forget old errors and set PxCMD.ST (10.3.1).  => the device is neither busy nor wants data. */
static void
engine_start(struct ahci_port *ap)
{
	ap->reg[P_SERR] = ap->reg[P_SERR];
	ap->reg[P_IS] = ap->reg[P_IS];
	ap->reg[P_IE] = IS_ANSWERS | IS_TASK_FILE | IS_BROKEN;
	ap->reg[P_CMD] |= CMD_START;
}

/* Where the port's memory is (10.1.2).  => both engines stand. */
static void
memory_set(struct ahci_port *ap)
{
	vm_paddr_t list = ap->pa + offsetof(struct ahci_memory, list);
	vm_paddr_t received = ap->pa + offsetof(struct ahci_memory, received);

	ap->reg[P_CLB] = (uint32_t)list;
	ap->reg[P_CLBU] = (uint32_t)(list >> 32);
	ap->reg[P_FB] = (uint32_t)received;
	ap->reg[P_FBU] = (uint32_t)(received >> 32);
}

/* ---- what the core asks for ---- */

static enum ata_kind
kind_of(uint32_t signature)
{
	switch (signature) {
	case SIG_DISK:
		return (ATA_DISK);
	case SIG_PACKET:
		return (ATA_PACKET);
	default:
		return (ATA_OTHER);
	}
}

/*
 * Stop, reset the link by COMRESET (10.4.2), wait for the device's signature, start.  The engine
 * that receives FISes must run before: the signature comes as one.
 */
static void
ahci_reset(struct ata_port *port)
{
	struct ahci_port *ap = port->softc;

	port->kind[0] = ATA_NOTHING;
	if (!engine_stop(ap))
		printf("%s: its engine does not stop\n", port->name);
	ap->reg[P_CMD] &= ~CMD_FIS;
	if (wait_bits(&ap->reg[P_CMD], CMD_FIS_RUNS, 0, HZ / 2))
		memory_set(ap);
	ap->reg[P_CMD] |= CMD_FIS | CMD_SPIN_UP | CMD_POWER;
	ap->reg[P_SCTL] = (ap->reg[P_SCTL] & ~DET_MASK) | DET_COMRESET;
	tsleep(ap, NULL, "ahcirst", 2);
	ap->reg[P_SCTL] &= ~DET_MASK;
	if (!wait_bits(&ap->reg[P_SSTS], DET_MASK, DET_LINK, HZ))
		return;
	ap->reg[P_SERR] = ap->reg[P_SERR];
	if (!wait_bits(&ap->reg[P_TFD], ATA_STATUS_BSY | ATA_STATUS_DRQ, 0, ATA_READY_MAX)) {
		printf("%s: the device does not become ready\n", port->name);
		return;
	}
	port->kind[0] = kind_of(ap->reg[P_SIG]);
	engine_start(ap);
}

/* Stop and start after an error that the device reported (6.2.2.1). */
static bool
ahci_settle(struct ata_port *port)
{
	struct ahci_port *ap = port->softc;

	if (!engine_stop(ap) || (ap->reg[P_TFD] & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) != 0)
		return (false);
	engine_start(ap);
	return (true);
}

/* The table of pieces of memory (4.2.3.3). */
static bool
ahci_prepare(struct ata_port *port, struct ata_cmd *cmd)
{
	struct ahci_port *ap = port->softc;
	int n = ata_segments(cmd, ap->segs, ATA_SEGS), i;

	for (i = 0; i < n; i++) {
		if (!ap->hba->wide && ap->segs[i].addr + ap->segs[i].len > 4 * GiB)
			return (false);
		ap->mem->piece[i] = (struct ahci_piece){ ap->segs[i].addr, 0, ap->segs[i].len - 1 };
	}
	ap->mem->list[0].npieces = n;
	return (n > 0);
}

/* The command as the device gets it: a register FIS (SATA 2.6, 10.3.4). */
static void
fis_write(uint8_t *fis, const struct ata_cmd *cmd)
{
	uint8_t device = cmd->ext || cmd->bp != NULL ? ATA_DEVICE_LBA : 0;

	memset(fis, 0, FIS_BYTES);
	fis[0] = FIS_TO_DEVICE;
	fis[1] = FIS_COMMAND;
	fis[2] = cmd->command;
	fis[3] = cmd->features;
	fis[4] = cmd->lba;
	fis[5] = cmd->lba >> 8;
	fis[6] = cmd->lba >> 16;
	fis[7] = device | (cmd->ext ? 0 : cmd->lba >> 24 & 0x0f);
	if (cmd->ext) {
		fis[8] = cmd->lba >> 24;
		fis[9] = cmd->lba >> 32;
		fis[10] = cmd->lba >> 40;
	}
	fis[12] = cmd->count;
	fis[13] = cmd->count >> 8;
}

/* Slot 0: header and FIS, then the bit (5.5.1). */
static bool
ahci_issue(struct ata_port *port, struct ata_cmd *cmd)
{
	struct ahci_port *ap = port->softc;
	struct ahci_header *header = &ap->mem->list[0];
	bool out = cmd->protocol == ATA_PIO_OUT || cmd->protocol == ATA_DMA_OUT;

	if ((ap->reg[P_CMD] & CMD_RUNS) == 0 ||
	    (ap->reg[P_TFD] & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) != 0)
		return (false);
	if (cmd->len == 0)
		header->npieces = 0;
	header->flags = FIS_BYTES / 4 | (out ? HEADER_WRITE : 0);
	header->moved = 0;
	header->table = ap->pa + offsetof(struct ahci_memory, fis);
	fis_write(ap->mem->fis, cmd);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ap->reg[P_CI] = 1;
	return (true);
}

/* Is the bit still set, and has the port said that something is wrong (5.5.3, 6.1)? */
static enum ata_result
ahci_progress(struct ata_port *port, struct ata_cmd *cmd)
{
	struct ahci_port *ap = port->softc;
	uint32_t is = ap->reg[P_IS], tfd;

	ap->reg[P_IS] = is;
	if (cmd == NULL)
		return (ATA_BUSY);
	if (is & IS_BROKEN)
		return (ATA_BROKEN);
	if ((is & IS_TASK_FILE) == 0 && (ap->reg[P_CI] & 1) != 0)
		return (ATA_BUSY);
	tfd = ap->reg[P_TFD];
	cmd->status = tfd;
	cmd->error = (tfd & ATA_STATUS_ERR) ? tfd >> 8 : 0;
	if (cmd->status & (ATA_STATUS_ERR | ATA_STATUS_DF))
		return (ATA_ANSWERED);
	if ((cmd->protocol == ATA_DMA_IN || cmd->protocol == ATA_DMA_OUT) &&
	    ap->mem->list[0].moved != cmd->len)
		return (ATA_BROKEN);
	return (ATA_ANSWERED);
}

/* No new work; the reset that follows waits until the engine stands. */
static void
ahci_abort(struct ata_port *port)
{
	struct ahci_port *ap = port->softc;

	ap->reg[P_CMD] &= ~CMD_START;
}

static const struct ata_port_ops ahci_ops = {
	.reset = ahci_reset,
	.prepare = ahci_prepare,
	.issue = ahci_issue,
	.progress = ahci_progress,
	.abort = ahci_abort,
	.settle = ahci_settle,
};

/* ---- attaching ---- */

static void
port_attach(struct ahci *hba, unsigned n)
{
	struct ahci_port *ap = kmalloc(sizeof(*ap), &M_AHCI, M_WAITOK | M_ZERO);

	if (hba->number == 0)
		snprintf(ap->port.name, sizeof(ap->port.name), "ahci port %u", n);
	else
		snprintf(ap->port.name, sizeof(ap->port.name), "ahci%u port %u", hba->number, n);
	ap->port.ops = &ahci_ops;
	ap->port.softc = ap;
	ap->hba = hba;
	ap->reg = hba->reg + PORT_FIRST + n * PORT_WORDS;
	ap->mem = kmem_alloc_contig(round_page(sizeof(*ap->mem)), &ap->pa);
	if (ap->mem == NULL || (!hba->wide && ap->pa + sizeof(*ap->mem) > 4 * GiB)) {
		printf("%s: no memory within its reach\n", ap->port.name);
	} else if (ata_port_attach(&ap->port) == 0) {
		__atomic_store_n(&hba->port[n], ap, __ATOMIC_RELEASE);
		return;
	}
	ap->reg[P_IE] = 0;
	if (ap->mem != NULL && engine_stop(ap)) {
		ap->reg[P_CMD] &= ~CMD_FIS;
		if (wait_bits(&ap->reg[P_CMD], CMD_FIS_RUNS, 0, HZ / 2))
			kmem_free_contig(ap->mem, round_page(sizeof(*ap->mem)));
	}
	kfree(ap, &M_AHCI);
}

/* Some port wants something (10.7.2): its own bits first, then the controller's. */
static bool
ahci_interrupt(void *arg)
{
	struct ahci *hba = arg;
	struct ahci_port *ap;
	uint32_t is = hba->reg[H_IS];
	unsigned n;

	for (n = 0; n < PORTS_MAX; n++) {
		if ((is >> n & 1) == 0)
			continue;
		ap = __atomic_load_n(&hba->port[n], __ATOMIC_ACQUIRE);
		if (ap != NULL)
			ata_port_intr(&ap->port);
		else
			hba->reg[PORT_FIRST + n * PORT_WORDS + P_IE] = 0;
	}
	hba->reg[H_IS] = is;
	return (is != 0);
}

/* The controller becomes ours (10.6.3), and speaks AHCI (10.1.2).  => sleeps. */
static void
hba_take(struct ahci *hba)
{
	if (hba->reg[H_CAP2] & CAP2_HANDOFF) {
		hba->reg[H_BOHC] |= BOHC_OS;
		(void)wait_bits(&hba->reg[H_BOHC], BOHC_BIOS | BOHC_BUSY, 0, 2 * HZ);
	}
	hba->reg[H_GHC] = (hba->reg[H_GHC] & ~GHC_INTERRUPTS) | GHC_ENABLE;
}

/* Power to all ports, then time for their links: which have one (10.1.2)?  => sleeps. */
static uint32_t
hba_links(struct ahci *hba)
{
	uint32_t implemented = hba->reg[H_PI], links = 0;
	volatile uint32_t *reg;
	unsigned n;

	for (n = 0; n < PORTS_MAX; n++) {
		reg = hba->reg + PORT_FIRST + n * PORT_WORDS;
		if (implemented >> n & 1)
			reg[P_CMD] |= CMD_SPIN_UP | CMD_POWER;
	}
	tsleep(hba, NULL, "ahciup", 3);
	for (n = 0; n < PORTS_MAX; n++) {
		reg = hba->reg + PORT_FIRST + n * PORT_WORDS;
		if ((implemented >> n & 1) && (reg[P_SSTS] & DET_MASK) != 0)
			links |= 1u << n;
	}
	return (links);
}

static bool
ahci_match(const struct pci_dev *pd)
{
	return (pd->class == CLASS_AHCI);
}

static int
ahci_attach(struct pci_dev *pd)
{
	static unsigned controllers;
	struct ahci *hba = kmalloc(sizeof(*hba), &M_AHCI, M_WAITOK | M_ZERO);
	unsigned n, found = 0;
	uint32_t links;

	pci_enable(pd);
	hba->reg = pci_map_bar(pd, AHCI_BAR);
	if (hba->reg == NULL) {
		printf("ahci %s: its registers are nowhere\n", pd->name);
		kfree(hba, &M_AHCI);
		return (ENXIO);
	}
	hba->number = controllers++;
	hba_take(hba);
	hba->wide = (hba->reg[H_CAP] & CAP_64BIT) != 0;
	links = hba_links(hba);
	if (pci_intx_route(pd, ahci_interrupt, hba) != 0)
		printf("ahci %s: no interrupt; each request will take a second\n", pd->name);
	for (n = 0; n < PORTS_MAX; n++) {
		if ((links >> n & 1) == 0)
			continue;
		port_attach(hba, n);
		found += hba->port[n] != NULL;
	}
	/*
	 * Not before: an interrupt, perhaps on another CPU, would find a port that is not in service
	 * yet and silence it.  Until here answers are looked for.
	 */
	hba->reg[H_IS] = ~0u;
	hba->reg[H_GHC] |= GHC_INTERRUPTS;
	pd->softc = hba;
	return (found > 0 ? 0 : ENXIO);
}

const struct pci_driver ahci_driver = {
	.name = "ahci",
	.match = ahci_match,
	.attach = ahci_attach,
};
