/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI: finding devices, their registers, their memory and their interrupts.
 *
 * pci_init() walks the machine once at boot and offers every function to the table of drivers in
 * pci.c.  The list never changes afterwards, so nothing here needs a lock but the pair of
 * configuration ports.
 */
#ifndef DRIVERS_PCI_H
#define DRIVERS_PCI_H

#include "kernel/amd64/cpu.h"
#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"

#define PCI_BARS		6

/* Configuration header, type 0 (PCI Local Bus 3.0, 6.1). */
#define PCI_VENDOR		0x00
#define PCI_DEVICE		0x02
#define PCI_COMMAND		0x04
#define PCI_STATUS		0x06
#define PCI_REVISION		0x08
#define PCI_CLASS		0x08	/* the upper three bytes */
#define PCI_HEADER_TYPE		0x0e
#define PCI_BAR0		0x10
#define PCI_SUBSYSTEM		0x2e
#define PCI_CAPABILITIES	0x34
#define PCI_INTR_LINE		0x3c
#define PCI_INTR_PIN		0x3d

#define PCI_COMMAND_IO		0x0001
#define PCI_COMMAND_MEMORY	0x0002
#define PCI_COMMAND_MASTER	0x0004	/* may read and write memory by itself */
#define PCI_COMMAND_NO_INTX	0x0400
#define PCI_STATUS_CAPS		0x0010	/* there is a list of capabilities */

#define PCI_CAP_VENDOR		0x09
#define PCI_CAP_MSIX		0x11

struct pci_bar {
	vm_paddr_t	addr;		/* physical, or the first port */
	uint64_t	len;		/* bytes; 0: no such BAR */
	bool		io;		/* ports instead of memory */
	bool		wide;		/* 64 bits: takes the next BAR's register, too */
	void		*va;		/* where pci_map_bar() put it, or NULL */
};

/* Everything is constant once the device's driver has attached. */
struct pci_dev {
	TAILQ_ENTRY(pci_dev) link;
	char		 name[12];	/* "00:03.0": bus, slot, function */
	uint8_t		 bus, slot, func;
	uint16_t	 vendor, device;
	uint16_t	 subsystem;
	uint32_t	 class;		/* class, subclass, interface: 0x010601 is AHCI */
	uint8_t		 revision;
	uint8_t		 intr_pin;	/* 1 to 4: INTA# to INTD#; 0: none */
	uint8_t		 intr_line;	/* ISA line that the firmware routed it to */
	struct pci_bar	 bar[PCI_BARS];

	const struct pci_driver *driver; /* NULL: nobody wanted it */
	void		*softc;		/* the driver's own */

	uint8_t		 msix_cap;	/* offset of the capability, 0: none */
	uint16_t	 msix_count;	/* vectors in its table */
	volatile uint32_t *msix_table;	/* mapped by pci_msix_init(), four words a vector */

	struct pci_dev	*intx_next;	/* next device on the same line */
	bool		(*intx_fn)(void *arg);
	void		*intx_arg;
};

struct pci_driver {
	const char	*name;
	/* Is it ours?  Looks at the identification only; => does not touch the device. */
	bool		(*match)(const struct pci_dev *pd);
	/*
	 * => may sleep.  Returns 0 or an errno, and in that case has said why and left the device
	 *    quiet.
	 */
	int		(*attach)(struct pci_dev *pd);
};

/*
 * Scan all buses, attach drivers.
 *
 * => interrupts routed, kernel memory and kva_map_device() working; may sleep.
 */
void	 pci_init(void);

/* Configuration space.  => any context. */
uint8_t	 pci_read8(const struct pci_dev *pd, unsigned reg);
uint16_t pci_read16(const struct pci_dev *pd, unsigned reg);
uint32_t pci_read32(const struct pci_dev *pd, unsigned reg);
void	 pci_write16(const struct pci_dev *pd, unsigned reg, uint16_t value);
void	 pci_write32(const struct pci_dev *pd, unsigned reg, uint32_t value);
/* Offset of the next capability with this number behind `after` (0: the first), or 0. */
unsigned pci_find_cap(const struct pci_dev *pd, unsigned id, unsigned after);

/*
 * Let the device answer on its BARs and reach memory; or forbid it to reach memory, which stops a
 * runaway.
 */
void	 pci_enable(struct pci_dev *pd);
void	 pci_stop_dma(struct pci_dev *pd);
/*
 * Map a memory BAR, uncached.
 *
 * => may sleep.  NULL: no such BAR, no place given by the firmware, or no room.
 */
void	*pci_map_bar(struct pci_dev *pd, unsigned bar);

/*
 * Message-signalled interrupts (PCI 3.0, 6.8.2).  init() maps the table and masks every vector,
 * route() ties one to a handler, enable() switches the device over from INTx, disable() back.  Each
 * returns 0 or an errno.
 */
int	 pci_msix_init(struct pci_dev *pd);
int	 pci_msix_route(struct pci_dev *pd, unsigned vector, intr_handler_t fn, void *arg,
	     const char *name);
void	 pci_msix_enable(struct pci_dev *pd);
/*
 * The old way: a line that several devices may share.  fn returns whether its device had asked.
 * => returns 0, or an errno when the firmware routed the pin nowhere.
 */
int	 pci_intx_route(struct pci_dev *pd, bool (*fn)(void *arg), void *arg);

#endif
