/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O APICs: from a device's line (a global system interrupt) to a vector on a CPU.
 *
 * Two registers, an index and a window; each line has a 64-bit redirection entry.  All lines start
 * masked.
 * => callers serialise: intr.c's lock.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/lib/errno.h"
#include "vm/vm_kern.h"

#define REG_VERSION	0x01
#define REG_REDIRECTION	0x10
#define RTE_MASKED	0x10000u
#define RTE_LEVEL	0x8000u
#define RTE_ACTIVE_LOW	0x2000u

static struct ioapic {
	volatile uint32_t *registers;
	uint32_t	gsi_base;
	uint32_t	lines;
} ioapics[ACPI_IOAPIC_MAX];

static uint32_t
ioapic_read(struct ioapic *io, uint32_t reg)
{
	io->registers[0] = reg;
	return (io->registers[4]);
}

static void
ioapic_write(struct ioapic *io, uint32_t reg, uint32_t value)
{
	io->registers[0] = reg;
	io->registers[4] = value;
}

void
ioapic_init(void)
{
	struct ioapic *io;
	uint32_t line;
	unsigned i;

	for (i = 0; i < acpi_info.nioapic; i++) {
		io = &ioapics[i];
		io->registers = kva_map_device(acpi_info.ioapic[i].pa, PAGE_SIZE);
		io->gsi_base = acpi_info.ioapic[i].gsi_base;
		io->lines = (ioapic_read(io, REG_VERSION) >> 16 & 0xff) + 1;
		for (line = 0; line < io->lines; line++)
			ioapic_write(io, REG_REDIRECTION + 2 * line, RTE_MASKED);
	}
}

int
ioapic_route(uint32_t gsi, uint8_t vector, uint32_t lapic, bool active_low, bool level)
{
	struct ioapic *io;
	uint32_t line;
	unsigned i;

	for (i = 0; i < acpi_info.nioapic; i++) {
		io = &ioapics[i];
		if (gsi < io->gsi_base || gsi - io->gsi_base >= io->lines)
			continue;
		line = gsi - io->gsi_base;
		ioapic_write(io, REG_REDIRECTION + 2 * line + 1, lapic << 24);
		ioapic_write(io, REG_REDIRECTION + 2 * line, vector |
		    (active_low ? RTE_ACTIVE_LOW : 0) | (level ? RTE_LEVEL : 0));
		return (0);
	}
	return (ENODEV);
}
