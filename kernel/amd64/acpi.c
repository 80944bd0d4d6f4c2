/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI, as much of it as routing interrupts needs:
 *
 *	RSDP -> RSDT or XSDT -> MADT: local APICs, I/O APICs, overrides of ISA lines
 *			     -> FADT: which CMOS register holds the century
 *
 * It runs before pmap_bootstrap(), while start.S's map of the first 4 GiB still stands, and copies
 * what it needs: the tables' memory is never looked at again.  Every table is bounds-checked and
 * summed; a machine without ACPI, or with broken tables, gets the addresses that every PC has used
 * since 1997.
 */
#include "boot/boot_info.h"
#include "kernel/amd64/machdep.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

#define TABLE_MAX	(1 * MiB)	/* a longer table is taken for damage */
#define LAPIC_STANDARD	0xfee00000
#define IOAPIC_STANDARD	0xfec00000

struct acpi_info acpi_info;

struct rsdp {
	char		signature[8];
	uint8_t		checksum;
	char		oem[6];
	uint8_t		revision;
	uint32_t	rsdt_pa;
	uint32_t	length;		/* from here on: revision 2 */
	uint64_t	xsdt_pa;
	uint8_t		checksum2;
	uint8_t		reserved[3];
} __packed;

struct sdt {
	char		signature[4];
	uint32_t	length;
	uint8_t		revision;
	uint8_t		checksum;
	char		oem[6], oem_table[8];
	uint32_t	oem_revision, creator, creator_revision;
} __packed;

struct madt {
	struct sdt	header;
	uint32_t	lapic_pa;
	uint32_t	flags;
} __packed;

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_ADDRESS = 5 };

struct madt_lapic {
	uint8_t		type, length;
	uint8_t		processor, id;
	uint32_t	flags;		/* bit 0: enabled */
} __packed;

struct madt_ioapic {
	uint8_t		type, length;
	uint8_t		id, reserved;
	uint32_t	pa;
	uint32_t	gsi_base;
} __packed;

struct madt_override {
	uint8_t		type, length;
	uint8_t		bus, irq;
	uint32_t	gsi;
	/* bits 0-1 polarity, 2-3 trigger: 1 high or edge, 3 low or level */
	uint16_t	flags;
} __packed;

struct madt_lapic_address {
	uint8_t		type, length;
	uint16_t	reserved;
	uint64_t	pa;
} __packed;

#define FADT_CENTURY	108		/* offset of the century register's index */

/* Physical memory through the early map; NULL when it lies above it. */
static const void *
early_phys(uint64_t pa, uint64_t len)
{
	if (pa == 0 || len > EARLY_MAP_END || pa > EARLY_MAP_END - len)
		return (NULL);
	return (PHYS_TO_DMAP(pa));
}

static bool
sums_to_zero(const void *p, size_t len)
{
	const uint8_t *byte = p;
	uint8_t sum = 0;

	while (len-- > 0)
		sum = (uint8_t)(sum + *byte++);
	return (sum == 0);
}

/* The root pointer at pa, if it is one. */
static const struct rsdp *
rsdp_at(uint64_t pa)
{
	const struct rsdp *r = early_phys(pa, sizeof(*r));

	if (r == NULL || memcmp(r->signature, "RSD PTR ", 8) != 0 || !sums_to_zero(r, 20))
		return (NULL);
	if (r->revision >= 2 && (r->length < sizeof(*r) || r->length > PAGE_SIZE ||
	    early_phys(pa, r->length) == NULL || !sums_to_zero(r, r->length)))
		return (NULL);
	return (r);
}

/* Where the loader said, else in the BIOS's two places, on 16-byte boundaries. */
static const struct rsdp *
rsdp_find(const struct boot_info *bi)
{
	const struct rsdp *r = rsdp_at(bi->rsdp);
	uint64_t pa, ebda;

	if (r != NULL)
		return (r);
	ebda = (uint64_t)*(const volatile uint16_t *)PHYS_TO_DMAP(0x40e) << 4;
	if (ebda >= 0x80000 && ebda < 0xa0000)
		for (pa = ebda; pa < ebda + 1024; pa += 16)
			if ((r = rsdp_at(pa)) != NULL)
				return (r);
	for (pa = 0xe0000; pa < 0x100000; pa += 16)
		if ((r = rsdp_at(pa)) != NULL)
			return (r);
	return (NULL);
}

/* A whole, sound table, or NULL. */
static const struct sdt *
table_at(uint64_t pa)
{
	const struct sdt *t = early_phys(pa, sizeof(*t));

	if (t == NULL || t->length < sizeof(*t) || t->length > TABLE_MAX ||
	    early_phys(pa, t->length) == NULL)
		return (NULL);
	if (!sums_to_zero(t, t->length)) {
		printf("acpi: table %.4s has a wrong checksum: ignored\n", t->signature);
		return (NULL);
	}
	return (t);
}

/* Look a table up by its signature, through the XSDT where there is one. */
static const struct sdt *
table_find(const struct rsdp *rsdp, const char *signature)
{
	const struct sdt *root = NULL, *t;
	size_t width = 8, i, n;
	uint64_t pa;

	if (rsdp->revision >= 2)
		root = table_at(rsdp->xsdt_pa);
	if (root == NULL) {
		root = table_at(rsdp->rsdt_pa);
		width = 4;
	}
	if (root == NULL)
		return (NULL);
	n = (root->length - sizeof(*root)) / width;
	for (i = 0; i < n; i++) {
		pa = 0;
		memcpy(&pa, (const char *)(root + 1) + i * width, width);
		t = early_phys(pa, sizeof(*t));
		if (t != NULL && memcmp(t->signature, signature, 4) == 0)
			return (table_at(pa));
	}
	return (NULL);
}

static void
take_override(const struct madt_override *o)
{
	struct acpi_override *out;

	if (acpi_info.noverride == ACPI_OVERRIDE_MAX || o->bus != 0)
		return;
	out = &acpi_info.override[acpi_info.noverride++];
	out->irq = o->irq;
	out->gsi = o->gsi;
	out->active_low = (o->flags & 3) == 3;
	out->level = (o->flags >> 2 & 3) == 3;
}

static void
take_madt_entry(const uint8_t *entry)
{
	const struct madt_lapic *l = (const void *)entry;
	const struct madt_ioapic *io = (const void *)entry;
	uint8_t type = entry[0], len = entry[1];

	if (type == MADT_LAPIC && len >= sizeof(*l)) {
		if ((l->flags & 1) && acpi_info.ncpu < MAX_CPUS)
			acpi_info.lapic_id[acpi_info.ncpu++] = l->id;
	} else if (type == MADT_IOAPIC && len >= sizeof(*io)) {
		if (acpi_info.nioapic < ACPI_IOAPIC_MAX) {
			acpi_info.ioapic[acpi_info.nioapic].pa = io->pa;
			acpi_info.ioapic[acpi_info.nioapic++].gsi_base = io->gsi_base;
		}
	} else if (type == MADT_OVERRIDE && len >= sizeof(struct madt_override)) {
		take_override((const void *)entry);
	} else if (type == MADT_LAPIC_ADDRESS && len >= sizeof(struct madt_lapic_address)) {
		memcpy(&acpi_info.lapic_pa, entry + offsetof(struct madt_lapic_address, pa), 8);
	}
}

static void
take_madt(const struct sdt *t)
{
	const struct madt *madt = (const void *)t;
	size_t at;

	if (t->length < sizeof(*madt))
		return;
	acpi_info.found = true;
	acpi_info.lapic_pa = madt->lapic_pa;
	for (at = sizeof(*madt); at + 2 <= t->length; ) {
		const uint8_t *entry = (const uint8_t *)t + at;

		if (entry[1] < 2 || at + entry[1] > t->length)
			break;
		take_madt_entry(entry);
		at += entry[1];
	}
}

void
acpi_init(const struct boot_info *bi)
{
	const struct rsdp *rsdp = rsdp_find(bi);
	const struct sdt *t;

	if (rsdp != NULL) {
		if ((t = table_find(rsdp, "APIC")) != NULL)
			take_madt(t);
		if ((t = table_find(rsdp, "FACP")) != NULL && t->length > FADT_CENTURY)
			acpi_info.century = ((const uint8_t *)t)[FADT_CENTURY];
	}
	if (!acpi_info.found)
		printf("acpi: no usable MADT, taking the standard APIC addresses\n");
	if (acpi_info.lapic_pa == 0)
		acpi_info.lapic_pa = LAPIC_STANDARD;
	if (acpi_info.nioapic == 0) {
		acpi_info.ioapic[0].pa = IOAPIC_STANDARD;
		acpi_info.nioapic = 1;
	}
	if (!acpi_info.found) {		/* the timer's line is wired to input 2 on every PC */
		acpi_info.override[0] = (struct acpi_override){ .irq = 0, .gsi = 2 };
		acpi_info.noverride = 1;
	}
	if (acpi_info.ncpu == 0)
		acpi_info.ncpu = 1;
}
