/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ATA disks: what the core (ata.c: the queue, ata_port.c: what may sleep), its pure functions
 * (ata_identify.c) and the drivers of the controllers (ide.c, ahci.c) have between them.
 *
 *	disk layer --> ata.c: what is asked next, answers --> ops: ide.c, or ahci.c --> device
 *	                      | no answer       ^ go on            ^
 *	                      v                 |                  |
 *	               ata_port.c: find the devices, reset, try again
 *
 * A *port* is what carries out one command at a time: an IDE channel with its two devices, or a
 * port of an AHCI controller with its one.  The core decides what is asked and what an answer
 * means; a driver moves a task file and its data, and says when the answer is there.
 *
 * (p) the port's lock   (c) constant once attached   (t) the port's thread, or whoever attaches
 */
#ifndef DRIVERS_ATA_H
#define DRIVERS_ATA_H

#include "drivers/disk.h"
#include "kernel/lib/ratelimit.h"
#include "kernel/lock.h"

struct ata_port;
struct thread;

#define ATA_DEVICES	2		/* of an IDE channel: master and slave */
#define ATA_RETRIES	3		/* of a command whose failure is not the medium's */
#define ATA_SEGS	(MAXPHYS / PAGE_SIZE + 1)	/* pieces of a buffer's memory */
#define ATA_READY_MAX	(31 * HZ)	/* a device may take so long after a reset (ATA8-APT) */

/* Status and error register (ATA8-ACS, Status and Error fields). */
#define ATA_STATUS_ERR	0x01
#define ATA_STATUS_DRQ	0x08
#define ATA_STATUS_DF	0x20
#define ATA_STATUS_DRDY	0x40
#define ATA_STATUS_BSY	0x80
#define ATA_ERROR_ABRT	0x04
#define ATA_ERROR_IDNF	0x10
#define ATA_ERROR_UNC	0x40
#define ATA_ERROR_ICRC	0x80

#define ATA_DEVICE_LBA	0x40		/* device register: the address is a sector's number */

/* What IDENTIFY DEVICE tells that matters here (ATA8-ACS, 7.16). */
struct ata_identity {
	char		model[41], serial[21];
	uint64_t	nsectors;	/* logical sectors */
	uint32_t	sectorsize;	/* bytes of a logical one */
	uint8_t		multiple;	/* sectors that READ MULTIPLE may move at once; 0: none */
	uint8_t		mode;		/* the DMA mode to select, for SET FEATURES; 0: no DMA */
	bool		lba48;
	bool		flush, flush_ext;	/* FLUSH CACHE, and its 48-bit form */
	bool		cache;		/* there is a volatile write cache, and it is on */
	bool		cache_switch;	/* it can be switched off */
};

enum ata_protocol { ATA_NONDATA, ATA_PIO_IN, ATA_PIO_OUT, ATA_DMA_IN, ATA_DMA_OUT };

/* One command: the task file, its data, the answer. */
struct ata_cmd {
	struct ata_dev	*dev;
	struct buf	*bp;		/* whose request it is; NULL: the core's own */
	uint8_t		 command;
	uint8_t		 protocol;	/* enum ata_protocol */
	bool		 ext;		/* 48-bit address, 16-bit count */
	uint8_t		 features;
	uint16_t	 count;		/* as the register has it: 0 for 256 or, if ext, 65536 */
	uint64_t	 lba;
	uint8_t		*data;		/* kernel address */
	uint32_t	 len, done;	/* bytes; of PIO's: moved so far */
	uint32_t	 block;		/* PIO: bytes that the device moves at once */
	uint8_t		 status, error;	/* the device's answer */
	unsigned	 tries;		/* how often it has failed */
	unsigned	 dma_tries;	/* how often it was issued as DMA */
};

enum ata_result {
	ATA_BUSY,		/* not finished yet */
	ATA_ANSWERED,		/* the device has answered: status and error are set */
	ATA_BROKEN		/* it has not, and will not */
};

/* What a reset finds in a device's place. */
enum ata_kind { ATA_NOTHING, ATA_DISK, ATA_PACKET, ATA_OTHER };

struct ata_port_ops {
	/*
	 * Bring the port into a state in which its devices take commands, whatever it was doing,
	 * and set port->kind[].  => port lock not held, no command under way; may sleep, a bounded
	 * time.
	 */
	void		(*reset)(struct ata_port *port);
	/*
	 * Lay out the data of a DMA command for the hardware.  => port lock.  False: they lie
	 * where it cannot reach.
	 */
	bool		(*prepare)(struct ata_port *port, struct ata_cmd *cmd);
	/* Start a command.  => port lock; does not sleep.  False: the device does not take it. */
	bool		(*issue)(struct ata_port *port, struct ata_cmd *cmd);
	/*
	 * How far is it?  Moves data if the device waits for that; acknowledges an interrupt.
	 * => port lock; does not sleep.  cmd: NULL if none is under way.
	 */
	enum ata_result	(*progress)(struct ata_port *port, struct ata_cmd *cmd);
	/* Forget it.  A reset follows before its memory is used otherwise.  => port lock. */
	void		(*abort)(struct ata_port *port);
	/*
	 * After an answer that was an error: make the port take commands again.  NULL: it does.
	 * => like reset.  False: only a reset will do.
	 */
	bool		(*settle)(struct ata_port *port);
	bool		pio;		/* it can do without `prepare` */
};

/* What a flush is for a device. */
enum ata_flush {
	ATA_FLUSH_COMMAND,		/* the command of that name */
	ATA_FLUSH_NEEDLESS,		/* nothing: there is no volatile cache, or it is off */
	ATA_FLUSH_FAILS			/* impossible */
};

struct ata_dev {
	struct ata_port	*port;		/* (c) */
	struct disk	 disk;		/* (c) but for what the disk layer has in it */
	uint8_t		 unit;		/* (c) 0: master */
	bool		 present;	/* (c) registered as a disk */
	bool		 gone;		/* (p) does not answer any more: everything fails */
	bool		 dma;		/* (p) reads and writes go by DMA where they can */
	bool		 dma_fails;	/* (p) found out: only PIO gets through */
	uint8_t		 flush;		/* (p) enum ata_flush */
	uint8_t		 multiple;	/* (p) sectors per block of READ MULTIPLE; 0: not in use */
	struct ata_identity id;		/* (c) */
	TAILQ_HEAD(, buf) queue;	/* (p) requests that wait, oldest first */
};

struct ata_stats {			/* (p) */
	uint64_t	commands;	/* started, retries among them */
	uint64_t	dma, pio;	/* of these */
	uint64_t	interrupts;
	uint64_t	found;		/* commands that were over without an interrupt */
	uint64_t	errors;		/* that devices reported */
	uint64_t	timeouts, resets, retries;
};

enum ata_state {
	ATA_IDLE,			/* the next request may be started */
	ATA_ACTIVE,			/* a request is at the device */
	ATA_MENDING			/* the thread has the port */
};

struct ata_port {
	struct spinlock	 lock;
	char		 name[16];	/* (c) "ide0", "ahci port 2" */
	const struct ata_port_ops *ops;	/* (c) */
	void		*softc;		/* (c) the driver's own */
	bool		 no_dma;	/* (c) */
	uint32_t	 watch;		/* (c) ticks between two looks at a command */
	uint32_t	 patience;	/* (c) ticks after which a command is given up */
	uint8_t		 kind[ATA_DEVICES];	/* (t) enum ata_kind, since the last reset */

	uint8_t		 state;		/* (p) enum ata_state */
	uint8_t		 turn;		/* (p) the device whose queue comes first next time */
	bool		 broken;	/* (p) MENDING: a reset is needed */
	bool		 again;		/* (p) MENDING: cmd is to be repeated */
	bool		 stopping;	/* (p) the thread shall end */
	struct ata_cmd	*current;	/* (p) at the device: &cmd, &own or NULL */
	enum ata_result	 result;	/* (p) how the last one ended */
	uint64_t	 started;	/* (p) when current was, in ticks */
	struct ata_cmd	 cmd;		/* (p) a request's command */
	struct ata_cmd	 own;		/* (t) a command of the core; (p) while it is current */
	uint16_t	*identify;	/* (t) 512 bytes for what IDENTIFY reads */
	struct ata_dev	 dev[ATA_DEVICES];
	struct ata_stats stats;
	struct ratelimit complaints;	/* (p) */
	struct thread	*thread;	/* (c) */
};

extern const struct pci_driver ide_driver, ahci_driver;

/* ---- ata_port.c, for the controllers ---- */
/*
 * Find the port's devices and register their disks.
 *
 * => name, ops, softc and no_dma are set, watch and patience may be; the rest is 0.  Sleeps.
 * => 0, or an errno and the port is as it was.
 */
int  ata_port_attach(struct ata_port *port);
void ata_port_detach(struct ata_port *port);	/* => no request, no vnode; sleeps */

/* ---- ata.c, for the controllers ---- */
void ata_port_intr(struct ata_port *port);	/* from the controller's interrupt */
/* The data's pieces of memory.  => any context.  0: more than max. */
int  ata_segments(const struct ata_cmd *cmd, struct phys_seg *segs, int max);
struct ata_port *ata_disk_port(struct disk *dk);	/* NULL: no ATA disk */

/* ---- ata.c, for ata_port.c; none of it sleeps ---- */
TAILQ_HEAD(ata_buf_list, buf);		/* finished, to be completed when the lock is dropped */

/* Give a command to the hardware.  => port lock, none under way.  False: it was not taken. */
bool ata_cmd_issue(struct ata_port *port, struct ata_cmd *cmd);
/* Did it end well? */
bool ata_cmd_fine(const struct ata_cmd *cmd, enum ata_result result);
/* See how far the command is, and go on from there.  => port lock. */
void ata_look(struct ata_port *port, struct ata_buf_list *done);
/* Look after a request that takes long.  => port lock, a command under way. */
void ata_watch(struct ata_port *port, struct ata_buf_list *done);
/* It works again: repeat what failed, if that is wanted, and go on.  => port lock, MENDING. */
void ata_resume(struct ata_port *port, bool again, struct ata_buf_list *done);
/* Complete the collected buffers.  => port lock not held. */
void ata_complete(struct ata_buf_list *done);
extern const struct disk_ops ata_disk_ops;

/* ---- ata_identify.c: no state, no hardware ---- */
/* NULL, or why a device with this identification cannot be used.  words: 256 of them. */
const char *ata_identity_parse(const uint16_t *words, struct ata_identity *id);
/* A string of IDENTIFY, turned the right way round; out: 2 * nwords + 1 bytes. */
void ata_string(const uint16_t *words, unsigned nwords, char *out);
/*
 * Make the command for a request.  multiple: sectors in a block of READ MULTIPLE, 0: without it.
 * => bp: checked by the disk layer.
 */
void ata_cmd_build(struct ata_cmd *cmd, const struct ata_identity *id, struct buf *bp, bool dma,
    unsigned multiple);

#define ATA_CMD_IDENTIFY	0xec
#define ATA_CMD_IDENTIFY_PACKET	0xa1
#define ATA_CMD_SET_FEATURES	0xef
#define ATA_CMD_SET_MULTIPLE	0xc6
#define ATA_FEATURE_MODE	0x03	/* SET FEATURES: transfer mode */
#define ATA_FEATURE_NO_CACHE	0x82	/* and: no write cache */

#endif
