/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Partition tables of the first sector, and what is common to all tables.
 *
 *	sector 0	boot code, signature of the disk, four entries, 55 AA
 *	  entry		one partition; or the extended one, a chain of tables with a partition each;
 *			or "protective": the real table is a GPT (part_gpt.c)
 *
 *	extended  [table 5|----logical 5----][table 6|--logical 6--]
 *	                 \-- next: relative to the extended's start -^
 *
 * Numbers 1 to 4 are places in the table and stay when others go; logical ones count from 5 along
 * the chain.  The extended partition itself is not made a disk: it is a box of tables.
 *
 * Any boot sector ends in 55 AA, so a table is one only when each of its entries has one of the two
 * values that the first byte may have, and one of them is in use.
 *
 * The chain is what can hurt: each link is read from where the one before says.  It must stay in
 * the extended partition, must not come back to a link that was read already, and ends after
 * PARTS_MAX.  All arithmetic is in 64 bits on 32-bit fields, so it cannot overflow.
 *
 * Numbers are little-endian, as this machine is.
 */
#include "drivers/part.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_PART, "partition tables");

#define MBR_MAGIC	0xaa55u
#define TYPE_PROTECTIVE	0xeeu

struct mbr_entry {
	uint8_t		active;		/* 0x80 or 0 */
	uint8_t		chs_first[3];
	uint8_t		type;		/* 0: not in use */
	uint8_t		chs_last[3];
	uint32_t	first, count;	/* sectors */
} __packed;

struct mbr {
	uint8_t		code[440];
	uint32_t	signature;
	uint16_t	zero;
	struct mbr_entry entries[4];
	uint16_t	magic;
} __packed;
_Static_assert(sizeof(struct mbr) == 512, "a table fills the smallest sector");

/* ---- for all tables ---- */

bool
part_read(struct part_parse *p, uint64_t sector)
{
	if (sector < p->src->nsectors && p->src->read(p->src->arg, sector, p->sector) == 0)
		return (true);
	part_note(p, PF_UNREADABLE, 0);
	return (false);
}

void
part_note(struct part_parse *p, enum part_fault fault, uint32_t number)
{
	struct part_table *t = p->table;

	if (t->nnotes < PART_NOTES_MAX) {
		t->notes[t->nnotes].fault = fault;
		t->notes[t->nnotes].number = number;
	}
	t->nnotes++;
}

static bool
overlaps(const struct part_table *t, uint64_t first, uint64_t count)
{
	for (unsigned i = 0; i < t->nentries; i++) {
		const struct part_entry *e = &t->entries[i];

		if (first < e->first + e->count && e->first < first + count)
			return (true);
	}
	return (false);
}

void
part_add(struct part_parse *p, uint32_t number, uint64_t first, uint64_t count, const char *uuid)
{
	struct part_table *t = p->table;
	struct part_entry *e = &t->entries[t->nentries];
	uint64_t end = p->src->nsectors;

	if (count == 0 || first == 0 || first >= end) {
		part_note(p, count == 0 ? PF_EMPTY : first == 0 ? PF_AT_TABLE : PF_BEYOND, number);
		return;
	}
	if (count > end - first) {
		part_note(p, PF_CLIPPED, number);
		count = end - first;
	}
	if (overlaps(t, first, count) || t->nentries == PARTS_MAX) {
		part_note(p, t->nentries == PARTS_MAX ? PF_TOO_MANY : PF_OVERLAP, number);
		return;
	}
	*e = (struct part_entry){ .number = number, .first = first, .count = count };
	strlcpy(e->uuid, uuid, sizeof(e->uuid));
	t->nentries++;
}

/* ---- the first sector ---- */

static bool
is_extended(const struct mbr_entry *e)
{
	return (e->type == 0x05 || e->type == 0x0f || e->type == 0x85);
}

/* Is this a partition table, and not just a boot sector? */
static bool
looks_like_table(const struct mbr *mbr)
{
	bool used = false;

	if (mbr->magic != MBR_MAGIC)
		return (false);
	for (int i = 0; i < 4; i++) {
		if ((mbr->entries[i].active & 0x7f) != 0)
			return (false);
		used |= mbr->entries[i].type != 0;
	}
	return (used);
}

static void
add_mbr(struct part_parse *p, uint32_t number, uint32_t signature, uint64_t first, uint64_t count)
{
	char uuid[PART_UUID_LEN + 1] = "";

	if (signature != 0)
		snprintf(uuid, sizeof(uuid), "%08x-%02x", signature, number);
	part_add(p, number, first, count, uuid);
}

/* What a chain of logical partitions has in common. */
struct chain {
	uint64_t	first, end;		/* the extended partition, sectors */
	uint32_t	signature;		/* the disk's */
	unsigned	nlinks;
	uint64_t	links[PARTS_MAX];	/* read so far */
};

/* May the link at `at` be followed? */
static bool
link_good(struct part_parse *p, const struct chain *c, uint64_t at)
{
	if (at < c->first || at >= c->end || c->nlinks == PARTS_MAX) {
		part_note(p, c->nlinks == PARTS_MAX ? PF_TOO_MANY : PF_CHAIN, 0);
		return (false);
	}
	for (unsigned i = 0; i < c->nlinks; i++) {
		if (c->links[i] == at) {
			part_note(p, PF_LOOP, 0);
			return (false);
		}
	}
	return (true);
}

/* The partition of one link.  Returns where the next link is, or 0. */
static uint64_t
parse_link(struct part_parse *p, const struct chain *c, uint64_t at, uint32_t *number)
{
	const struct mbr *table = (const struct mbr *)p->sector;
	const struct mbr_entry *e = &table->entries[0], *next = &table->entries[1];
	uint64_t first = at + e->first;

	if (table->magic != MBR_MAGIC) {
		part_note(p, PF_CHAIN, 0);
		return (0);
	}
	if (e->type != 0 && !is_extended(e)) {
		if (e->count != 0 && (first == at || first + e->count > c->end))
			part_note(p, PF_NOT_IN_EXTENDED, *number);
		else
			add_mbr(p, *number, c->signature, first, e->count);
		++*number;
	}
	return (is_extended(next) ? c->first + next->first : 0);
}

static void
parse_chain(struct part_parse *p, uint64_t first, uint64_t count, uint32_t signature)
{
	struct chain *c = kmalloc(sizeof(*c), &M_PART, M_WAITOK | M_ZERO);
	uint64_t at = first;
	uint32_t number = 5;

	c->first = first;
	c->end = first + count;
	c->signature = signature;
	while (at != 0 && link_good(p, c, at) && part_read(p, at)) {
		c->links[c->nlinks++] = at;
		at = parse_link(p, c, at, &number);
	}
	kfree(c, &M_PART);
}

static void
parse_mbr(struct part_parse *p, const struct mbr *mbr)
{
	const struct mbr_entry *extended = NULL;

	p->table->scheme = PART_MBR;
	for (uint32_t i = 0; i < 4; i++) {
		const struct mbr_entry *e = &mbr->entries[i];

		if (e->type == 0)
			continue;
		if (!is_extended(e))
			add_mbr(p, i + 1, mbr->signature, e->first, e->count);
		else if (extended == NULL)
			extended = e;
		else
			part_note(p, PF_EXTENDED_TWICE, i + 1);
	}
	if (extended == NULL)
		return;
	/* One at sector 0 would have the table itself as its first link. */
	if (extended->first == 0 || extended->first >= p->src->nsectors)
		part_note(p, extended->first == 0 ? PF_AT_TABLE : PF_BEYOND,
		    (uint32_t)(extended - mbr->entries) + 1);
	else
		parse_chain(p, extended->first, extended->count, mbr->signature);
}

void
part_parse(const struct part_source *src, struct part_table *table)
{
	struct part_parse p = { .src = src, .table = table,
	    .sector = kmalloc(src->sectorsize, &M_PART, M_WAITOK) };
	bool protective = false;
	struct mbr mbr;

	memset(table, 0, sizeof(*table));
	if (part_read(&p, 0)) {
		memcpy(&mbr, p.sector, sizeof(mbr));
		for (int i = 0; i < 4; i++)
			protective |= mbr.entries[i].type == TYPE_PROTECTIVE;
		if (looks_like_table(&mbr) && !protective)
			parse_mbr(&p, &mbr);
		else if (looks_like_table(&mbr) && !part_gpt(&p))
			part_note(&p, PF_NO_GPT, 0);
	}
	kfree(p.sector, &M_PART);
}
