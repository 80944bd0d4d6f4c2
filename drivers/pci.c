/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI configuration, by the two ports that every PC has.
 *
 *	port 0xcf8  | 1 | 0 ... | bus 8 | slot 5 | func 3 | register 6 | 00 |	which register
 *	port 0xcfc  a window of four bytes onto it
 *
 * A function that exists answers with a vendor other than 0xffff.  We ask for all of 256 buses
 * instead of following the bridges: a second host bridge is reachable only through ACPI's byte
 * code, which nobody here interprets, and the 8,192 questions take a few milliseconds once.
 *
 * BARs.  The firmware has given each a place (all our boot paths pass through firmware); we only
 * measure them.  Writing ones and reading back shows which address bits the device decodes.  While
 * a BAR holds ones it would answer at a wrong place, so decoding is off meanwhile.
 *
 * Interrupts.  MSI-X wherever the device has it: a message is private and needs no routing.
 * Otherwise INTx, a level on a wire shared by several devices.  Which input of the IOAPIC a pin
 * reaches is again known to ACPI's byte code only, but the firmware also routes each pin to one of
 * the ISA lines and leaves the line's number in the device's header; that routing stays in force
 * when the IOAPIC is used, so we take that.  All handlers of a line are called until none finds
 * work, which is right for a level and for an edge.
 *
 * Locks: pci_config_lock makes address and data one step; a leaf.  The device list and the handler
 * chains are built at boot; a chain only ever grows at its head, a single store, so that the
 * interrupt reads it without a lock.
 *
 * Not done: ECAM (the ports reach the 256 bytes that we need), assigning BARs, hot plug, power
 * states.
 */
#include "drivers/pci.h"
#include "drivers/ata.h"
#include "drivers/virtio.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lock.h"
#include "kernel/malloc.h"
#include "vm/vm_kern.h"

#define CONFIG_ADDRESS		0xcf8
#define CONFIG_DATA		0xcfc
#define CONFIG_ENABLE		0x80000000u

#define ISA_LINES		16
#define CAPS_MAX		48	/* four-byte capabilities that fit behind the header */

/* MSI-X capability: control word at +2, table's place at +4; a table entry is four words. */
#define MSIX_CONTROL		2
#define MSIX_CONTROL_ENABLE	0x8000
#define MSIX_CONTROL_MASK_ALL	0x4000
#define MSIX_CONTROL_SIZE	0x07ff
#define MSIX_TABLE		4
#define MSIX_ENTRY_WORDS	4
#define MSIX_ENTRY_MASKED	1u	/* in the fourth word */

/* Who takes which device: the first match wins. */
static const struct pci_driver *const drivers[] = {
	&virtio_pci_driver,
	&ide_driver,
	&ahci_driver,
};

static MALLOC_DEFINE(M_PCI, "pci");
static TAILQ_HEAD(, pci_dev) devices = TAILQ_HEAD_INITIALIZER(devices);
static struct spinlock pci_config_lock = SPINLOCK_INITIALIZER("pci config", RANK_CONSOLE);
static struct pci_dev *intx_line[ISA_LINES];

/* ---- configuration space ---- */

static void
config_select(const struct pci_dev *pd, unsigned reg)
{
	outl(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)pd->bus << 16 | (uint32_t)pd->slot << 11 |
	    (uint32_t)pd->func << 8 | (reg & 0xfc));
}

/* Read one byte of a function's configuration space (PCI 3.0, 3.2.2.3.2). */
uint8_t
pci_read8(const struct pci_dev *pd, unsigned reg)
{
	uint8_t value;

	spin_lock(&pci_config_lock);
	config_select(pd, reg);
	value = inb(CONFIG_DATA + (reg & 3));
	spin_unlock(&pci_config_lock);
	return (value);
}

/* Likewise two bytes.  => reg: even. */
uint16_t
pci_read16(const struct pci_dev *pd, unsigned reg)
{
	uint16_t value;

	spin_lock(&pci_config_lock);
	config_select(pd, reg);
	value = inw(CONFIG_DATA + (reg & 2));
	spin_unlock(&pci_config_lock);
	return (value);
}

/* Likewise four bytes.  => reg: a multiple of 4. */
uint32_t
pci_read32(const struct pci_dev *pd, unsigned reg)
{
	uint32_t value;

	spin_lock(&pci_config_lock);
	config_select(pd, reg);
	value = inl(CONFIG_DATA);
	spin_unlock(&pci_config_lock);
	return (value);
}

/* Write two bytes (PCI 3.0, 3.2.2.3.2).  => reg: even. */
void
pci_write16(const struct pci_dev *pd, unsigned reg, uint16_t value)
{
	spin_lock(&pci_config_lock);
	config_select(pd, reg);
	outw(CONFIG_DATA + (reg & 2), value);
	spin_unlock(&pci_config_lock);
}

/* Likewise four bytes.  => reg: a multiple of 4. */
void
pci_write32(const struct pci_dev *pd, unsigned reg, uint32_t value)
{
	spin_lock(&pci_config_lock);
	config_select(pd, reg);
	outl(CONFIG_DATA, value);
	spin_unlock(&pci_config_lock);
}

/*
 * Walk the linked list of capabilities (PCI 3.0, 6.7); a list that bites its tail ends after
 * CAPS_MAX steps.
 */
unsigned
pci_find_cap(const struct pci_dev *pd, unsigned id, unsigned after)
{
	unsigned at, steps;

	if ((pci_read16(pd, PCI_STATUS) & PCI_STATUS_CAPS) == 0)
		return (0);
	at = pci_read8(pd, after == 0 ? PCI_CAPABILITIES : after + 1) & 0xfc;
	for (steps = 0; at >= 0x40 && steps < CAPS_MAX; steps++) {
		if (pci_read8(pd, at) == id)
			return (at);
		at = pci_read8(pd, at + 1) & 0xfc;
	}
	return (0);
}

/* Switch on memory and port decoding, bus mastering and the interrupt pin (PCI 3.0, 6.2.2). */
void
pci_enable(struct pci_dev *pd)
{
	uint16_t command = pci_read16(pd, PCI_COMMAND);

	command |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	pci_write16(pd, PCI_COMMAND, command & ~PCI_COMMAND_NO_INTX);
}

/*
 * Take bus mastering away (PCI 3.0, 6.2.2): whatever the device thinks, it reaches memory no more.
 *
 * => any context.
 */
void
pci_stop_dma(struct pci_dev *pd)
{
	pci_write16(pd, PCI_COMMAND, pci_read16(pd, PCI_COMMAND) & ~PCI_COMMAND_MASTER);
}

/* ---- base address registers ---- */

/* Which bits of the register does the device decode?  => decoding off. */
static uint32_t
bar_probe(const struct pci_dev *pd, unsigned reg)
{
	uint32_t old = pci_read32(pd, reg), bits;

	pci_write32(pd, reg, 0xffffffff);
	bits = pci_read32(pd, reg);
	pci_write32(pd, reg, old);
	return (bits);
}

/* Measure BAR i (PCI 3.0, 6.2.5.1); => decoding off. */
static void
bar_measure(struct pci_dev *pd, unsigned i)
{
	struct pci_bar *bar = &pd->bar[i];
	unsigned reg = PCI_BAR0 + 4 * i;
	uint32_t low = pci_read32(pd, reg), bits = bar_probe(pd, reg);
	uint64_t mask;

	if (bits == 0)
		return;
	if (low & 1) {
		/* Devices with 16 address lines for ports leave the upper half zero. */
		mask = (bits & ~3u) | 0xffff0000u;
		bar->io = true;
		bar->addr = low & ~3u;
		bar->len = (uint32_t)(~mask + 1);
		return;
	}
	bar->wide = (low & 6) == 4 && i + 1 < PCI_BARS;
	bar->addr = low & ~15u;
	mask = (bits & ~15u) | 0xffffffff00000000ul;
	if (bar->wide) {
		bar->addr |= (uint64_t)pci_read32(pd, reg + 4) << 32;
		mask = (bits & ~15u) | (uint64_t)bar_probe(pd, reg + 4) << 32;
	}
	bar->len = ~mask + 1;
}

static void
bars_measure(struct pci_dev *pd)
{
	uint16_t command = pci_read16(pd, PCI_COMMAND);
	unsigned i;

	pci_write16(pd, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	for (i = 0; i < PCI_BARS; i++) {
		bar_measure(pd, i);
		if (pd->bar[i].wide)
			i++;
	}
	pci_write16(pd, PCI_COMMAND, command);
}

/* Give a memory BAR (PCI 3.0, 6.2.5.1) kernel addresses; once, however often it is asked for. */
void *
pci_map_bar(struct pci_dev *pd, unsigned i)
{
	struct pci_bar *bar;
	vm_paddr_t first;
	uint8_t *va;

	if (i >= PCI_BARS)
		return (NULL);
	bar = &pd->bar[i];
	if (bar->len == 0 || bar->io || bar->addr == 0)
		return (NULL);
	if (bar->va == NULL) {
		/* A BAR smaller than a page may lie anywhere in it. */
		first = trunc_page(bar->addr);
		va = kva_map_device(first, round_page(bar->addr + bar->len) - first);
		if (va != NULL)
			bar->va = va + (bar->addr - first);
	}
	return (bar->va);
}

/* ---- interrupts ---- */

/*
 * Find and map the vector table, all vectors masked (PCI 3.0, 6.8.2); ENXIO when the device has no
 * MSI-X.
 */
int
pci_msix_init(struct pci_dev *pd)
{
	uint32_t place, offset;
	uint16_t control;
	uint8_t *base;
	unsigned i;

	pd->msix_cap = pci_find_cap(pd, PCI_CAP_MSIX, 0);
	if (pd->msix_cap == 0)
		return (ENXIO);
	control = pci_read16(pd, pd->msix_cap + MSIX_CONTROL);
	pd->msix_count = (control & MSIX_CONTROL_SIZE) + 1;
	place = pci_read32(pd, pd->msix_cap + MSIX_TABLE);
	offset = place & ~7u;
	base = pci_map_bar(pd, place & 7);
	if (base == NULL || offset + 16ul * pd->msix_count > pd->bar[place & 7].len) {
		printf("pci %s: MSI-X table lies outside of BAR %u\n", pd->name, place & 7);
		return (ENXIO);
	}
	pd->msix_table = (volatile uint32_t *)(base + offset);
	for (i = 0; i < pd->msix_count; i++)
		pd->msix_table[i * MSIX_ENTRY_WORDS + 3] = MSIX_ENTRY_MASKED;
	return (0);
}

/* Write one entry of the vector table (PCI 3.0, 6.8.2.6 to 9) and unmask it. */
int
pci_msix_route(struct pci_dev *pd, unsigned vector, intr_handler_t fn, void *arg, const char *name)
{
	volatile uint32_t *entry;
	uint64_t addr;
	uint32_t data;
	int error;

	if (pd->msix_table == NULL || vector >= pd->msix_count)
		return (EINVAL);
	error = intr_msi(fn, arg, name, &addr, &data);
	if (error != 0)
		return (error);
	entry = pd->msix_table + vector * MSIX_ENTRY_WORDS;
	entry[0] = (uint32_t)addr;
	entry[1] = (uint32_t)(addr >> 32);
	entry[2] = data;
	entry[3] = 0;
	return (0);
}

/* Set MSI-X Enable, clear Function Mask (PCI 3.0, 6.8.2.3); INTx is dead from here on. */
void
pci_msix_enable(struct pci_dev *pd)
{
	uint16_t control = pci_read16(pd, pd->msix_cap + MSIX_CONTROL);

	control = (control | MSIX_CONTROL_ENABLE) & ~MSIX_CONTROL_MASK_ALL;
	pci_write16(pd, pd->msix_cap + MSIX_CONTROL, control);
}

/* Some device on a shared line wants something: go round until a whole round finds nothing. */
static void
intx_interrupt(void *arg)
{
	struct pci_dev *const *line = arg, *pd;
	bool found;

	do {
		found = false;
		for (pd = *line; pd != NULL; pd = pd->intx_next)
			found |= pd->intx_fn(pd->intx_arg);
	} while (found);
}

/* Put a handler on the chain of the device's line (PCI 3.0, 2.2.6; the line's number: 6.2.4). */
int
pci_intx_route(struct pci_dev *pd, bool (*fn)(void *arg), void *arg)
{
	struct pci_dev **line;
	int error;

	if (pd->intr_pin == 0 || pd->intr_line == 0 || pd->intr_line >= ISA_LINES)
		return (ENXIO);
	line = &intx_line[pd->intr_line];
	if (*line == NULL) {
		error = intr_isa(pd->intr_line, intx_interrupt, line, "pci intx");
		if (error != 0)
			return (error);
	}
	pd->intx_fn = fn;
	pd->intx_arg = arg;
	pd->intx_next = *line;
	__atomic_store_n(line, pd, __ATOMIC_RELEASE);
	return (0);
}

/* ---- finding devices ---- */

/* Read the header of a function that exists; => pd: bus, slot and func set. */
static void
dev_read(struct pci_dev *pd)
{
	snprintf(pd->name, sizeof(pd->name), "%02x:%02x.%x", pd->bus, pd->slot, pd->func);
	pd->vendor = pci_read16(pd, PCI_VENDOR);
	pd->device = pci_read16(pd, PCI_DEVICE);
	pd->class = pci_read32(pd, PCI_CLASS) >> 8;
	pd->revision = pci_read8(pd, PCI_REVISION);
	/* A bridge's header (type 1) has other things where ours has BARs and identification. */
	if ((pci_read8(pd, PCI_HEADER_TYPE) & 0x7f) != 0)
		return;
	pd->subsystem = pci_read16(pd, PCI_SUBSYSTEM);
	pd->intr_pin = pci_read8(pd, PCI_INTR_PIN);
	pd->intr_line = pci_read8(pd, PCI_INTR_LINE);
	bars_measure(pd);
}

static void
slot_scan(unsigned bus, unsigned slot)
{
	struct pci_dev probe = { .bus = bus, .slot = slot }, *pd;
	unsigned func, functions = 1;

	for (func = 0; func < functions; func++) {
		probe.func = func;
		if (pci_read16(&probe, PCI_VENDOR) == 0xffff)
			continue;
		if (func == 0 && (pci_read8(&probe, PCI_HEADER_TYPE) & 0x80) != 0)
			functions = 8;
		pd = kmalloc(sizeof(*pd), &M_PCI, M_WAITOK | M_ZERO);
		*pd = probe;
		dev_read(pd);
		TAILQ_INSERT_TAIL(&devices, pd, link);
	}
}

static void
dev_attach(struct pci_dev *pd)
{
	unsigned i;

	for (i = 0; i < nitems(drivers); i++) {
		if (!drivers[i]->match(pd))
			continue;
		if (drivers[i]->attach(pd) == 0)
			pd->driver = drivers[i];
		return;
	}
}

/*
 * Find every function of every bus by configuration mechanism #1 (PCI 3.0, 3.2.2.3.2), then attach
 * drivers.
 */
void
pci_init(void)
{
	struct pci_dev *pd;
	unsigned bus, slot, found = 0;

	KASSERT(TAILQ_EMPTY(&devices), "pci_init called twice");
	for (bus = 0; bus < 256; bus++) {
		for (slot = 0; slot < 32; slot++)
			slot_scan(bus, slot);
	}
	TAILQ_FOREACH(pd, &devices, link)
		found++;
	if (found == 0)
		printf("pci: no devices answer behind ports 0xcf8 and 0xcfc\n");
	TAILQ_FOREACH(pd, &devices, link)
		dev_attach(pd);
}
