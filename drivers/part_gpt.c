/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * GUID partition tables (UEFI 2.10, chapter 5.3).
 *
 *	sector  0          1       2 ...                                        last
 *	       [protective|header |entries |   usable sectors   | entries|copy of header]
 *
 * A header and its entries are each covered by a checksum, and there are two of both.  The first
 * that is whole is used; when that is the copy, a note says so.  (A table that is whole may still
 * be hostile: a checksum is no signature.  So what it says is checked like any other.)
 *
 * Where the header lies depends on the size of the disk's sectors.  An image that was partitioned
 * for 512-byte sectors and is now served in 4096-byte ones, or the other way round, has its header
 * at the other place; that is noted, for it looks like an empty disk otherwise.
 *
 * Entries are read sector by sector, twice: once for the checksum, once for what they say.
 */
#include "drivers/part.h"
#include "kernel/lib/crc32.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

#define GPT_SIGNATURE		"EFI PART"
#define GPT_REVISION		0x00010000u
#define GPT_ENTRIES_MAX		1024u	/* eight times what everybody makes */
#define GPT_ENTRY_SIZE		128u	/* the smallest; or it times 2 or 4, so that sectors are whole */

struct gpt_header {
	char		signature[8];
	uint32_t	revision;
	uint32_t	size;			/* of the header, bytes */
	uint32_t	crc;			/* of the header, with 0 here */
	uint32_t	zero;
	uint64_t	my_sector, other_sector; /* of the two headers */
	uint64_t	first_usable, last_usable;
	uint8_t		disk_guid[16];
	uint64_t	entries_sector;
	uint32_t	nentries;
	uint32_t	entry_size;		/* bytes */
	uint32_t	entries_crc;
} __packed;
_Static_assert(sizeof(struct gpt_header) == 92, "UEFI 2.10, table 5-5");

struct gpt_entry {
	uint8_t		type[16];		/* zeros: not in use */
	uint8_t		guid[16];
	uint64_t	first, last;
	uint64_t	attributes;
	uint16_t	name[36];
} __packed;
_Static_assert(sizeof(struct gpt_entry) == GPT_ENTRY_SIZE, "UEFI 2.10, table 5-6");

/* The first three groups are numbers, the rest bytes. */
static void
uuid_text(const uint8_t *g, char *text)
{
	snprintf(text, PART_UUID_LEN + 1,
	    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", g[3], g[2], g[1],
	    g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}

/* Sectors that the entries take. */
static uint64_t
entries_sectors(const struct part_parse *p, const struct gpt_header *h)
{
	return (howmany((uint64_t)h->nentries * h->entry_size, (uint64_t)p->src->sectorsize));
}

/* Is the header in p->sector, which was read from `at`, whole?  PART_FAULTS if so. */
static enum part_fault
header_fault(struct part_parse *p, uint64_t at)
{
	struct gpt_header *h = (struct gpt_header *)p->sector;
	uint64_t nsectors = p->src->nsectors, entries_end;
	uint32_t crc = h->crc;

	if (memcmp(h->signature, GPT_SIGNATURE, sizeof(h->signature)) != 0)
		return (PF_GPT_SIGNATURE);
	if (h->revision != GPT_REVISION)
		return (PF_GPT_REVISION);
	if (h->size < sizeof(*h) || h->size > p->src->sectorsize)
		return (PF_GPT_SIZE);
	h->crc = 0;
	if (crc32(0, h, h->size) != crc)
		return (PF_GPT_CRC);
	if (h->my_sector != at)
		return (PF_GPT_PLACE);
	if (h->first_usable < 2 || h->first_usable > h->last_usable)
		return (PF_GPT_RANGE);
	if (h->nentries == 0 || h->nentries > GPT_ENTRIES_MAX || (h->entry_size != GPT_ENTRY_SIZE &&
	    h->entry_size != 2 * GPT_ENTRY_SIZE && h->entry_size != 4 * GPT_ENTRY_SIZE))
		return (PF_GPT_ENTRIES);
	if (h->entries_sector < 2 || h->entries_sector >= nsectors ||
	    entries_sectors(p, h) > nsectors - h->entries_sector)
		return (PF_GPT_ENTRIES_PLACE);
	entries_end = h->entries_sector + entries_sectors(p, h);
	if (h->entries_sector <= h->last_usable && entries_end > h->first_usable)
		return (PF_GPT_ENTRIES_PLACE);
	return (PART_FAULTS);
}

/* The checksum over all entries.  false: cannot be read, and noted */
static bool
entries_crc(struct part_parse *p, const struct gpt_header *h, uint32_t *crc)
{
	uint64_t left = (uint64_t)h->nentries * h->entry_size, n;

	*crc = 0;
	for (uint64_t at = h->entries_sector; left > 0; at++, left -= n) {
		n = MIN(left, (uint64_t)p->src->sectorsize);
		if (!part_read(p, at))
			return (false);
		*crc = crc32(*crc, p->sector, n);
	}
	return (true);
}

static void
add_entry(struct part_parse *p, const struct gpt_header *h, uint32_t number, const struct gpt_entry *e)
{
	static const uint8_t unused[sizeof(e->type)];
	char uuid[PART_UUID_LEN + 1];

	if (memcmp(e->type, unused, sizeof(unused)) == 0)
		return;
	uuid_text(e->guid, uuid);
	if (e->last < e->first)
		part_note(p, PF_EMPTY, number);
	else if (e->first < h->first_usable || e->last > h->last_usable)
		part_note(p, PF_NOT_USABLE, number);
	else
		part_add(p, number, e->first, e->last - e->first + 1, uuid);
}

static void
add_entries(struct part_parse *p, const struct gpt_header *h)
{
	uint32_t per_sector = p->src->sectorsize / h->entry_size;

	for (uint32_t i = 0; i < h->nentries; i++) {
		if (i % per_sector == 0 && !part_read(p, h->entries_sector + i / per_sector))
			return;
		add_entry(p, h, i + 1,
		    (const struct gpt_entry *)(p->sector + i % per_sector * h->entry_size));
	}
}

/* Use the table whose header is at `at`.  false: it is not whole, and noted why */
static bool
use_header(struct part_parse *p, uint64_t at)
{
	enum part_fault fault;
	struct gpt_header h;
	uint32_t crc;

	if (!part_read(p, at))
		return (false);
	fault = header_fault(p, at);
	if (fault != PART_FAULTS) {
		part_note(p, fault, 0);
		return (false);
	}
	memcpy(&h, p->sector, sizeof(h));
	if (!entries_crc(p, &h, &crc))
		return (false);
	if (crc != h.entries_crc) {
		part_note(p, PF_GPT_ENTRIES_CRC, 0);
		return (false);
	}
	p->table->scheme = PART_GPT;
	add_entries(p, &h);
	return (true);
}

/* Is there a header where it would be if sectors had another size? */
static bool
other_sectors(struct part_parse *p)
{
	uint32_t size = p->src->sectorsize;

	if (size > 512)
		return (part_read(p, 0) && memcmp(p->sector + 512, GPT_SIGNATURE, 8) == 0);
	return (part_read(p, 4096 / size) && memcmp(p->sector, GPT_SIGNATURE, 8) == 0);
}

bool
part_gpt(struct part_parse *p)
{
	if (use_header(p, 1))
		return (true);
	if (use_header(p, p->src->nsectors - 1)) {
		part_note(p, PF_GPT_BACKUP, 0);
		return (true);
	}
	if (other_sectors(p))
		part_note(p, PF_GPT_SECTORS, 0);
	return (false);
}
