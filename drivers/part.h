/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Partitions: pieces of a disk that are disks of their own.
 *
 *	disk --> part_parse() --> struct part_table --> part_scan() --> vda1, vda2, ...
 *	         part_mbr.c, part_gpt.c                 part.c
 *
 * A table is read once, at boot, and never believed: what it says that cannot be is left out or
 * cut, and each such thing is a note.  The parser reads through a function and writes nothing but
 * the result, so that the self-tests can feed it any table.
 */
#ifndef DRIVERS_PART_H
#define DRIVERS_PART_H

#include "kernel/lib/types.h"

struct disk;

#define PARTS_MAX	64		/* of one disk */
#define PART_NOTES_MAX	32		/* kept; more are only counted */
#define PART_UUID_LEN	36

/* What is wrong with a table or a partition; part.c has the words. */
enum part_fault {
	PF_UNREADABLE,
	/* a partition */
	PF_EMPTY, PF_AT_TABLE, PF_BEYOND, PF_CLIPPED, PF_OVERLAP, PF_TOO_MANY,
	/* MBR */
	PF_EXTENDED_TWICE, PF_LOOP, PF_CHAIN, PF_NOT_IN_EXTENDED, PF_NO_GPT,
	/* GPT */
	PF_GPT_SIGNATURE, PF_GPT_REVISION, PF_GPT_SIZE, PF_GPT_CRC, PF_GPT_PLACE, PF_GPT_RANGE, PF_GPT_ENTRIES,
	PF_GPT_ENTRIES_PLACE, PF_GPT_ENTRIES_CRC, PF_GPT_BACKUP, PF_GPT_SECTORS, PF_NOT_USABLE,
	PART_FAULTS
};

enum part_scheme { PART_NONE, PART_MBR, PART_GPT };

struct part_entry {
	uint32_t	number;			/* vda<number> */
	uint64_t	first, count;		/* the device's sectors; count > 0 */
	char		uuid[PART_UUID_LEN + 1];	/* as PARTUUID= has it; "": none */
};

/* The entries lie inside the disk and have no sector in common, whatever the table says. */
struct part_table {
	enum part_scheme  scheme;
	unsigned	  nentries, nnotes;	/* nnotes may be more than there are notes */
	struct part_entry entries[PARTS_MAX];
	struct {
		enum part_fault	fault;
		uint32_t	number;		/* the partition; 0: the table */
	} notes[PART_NOTES_MAX];
};

struct part_source {
	/* One sector of the device.  0 or an errno. */
	int		(*read)(void *arg, uint64_t sector, void *data);
	void		*arg;
	uint32_t	 sectorsize;		/* bytes, from 512 */
	uint64_t	 nsectors;		/* of the device, > 0 */
};

/* => sleeps.  PART_NONE with notes: there is a table, but none that could be used. */
void part_parse(const struct part_source *src, struct part_table *table);

/*
 * Make disks of the partitions of all disks.  A disk for which holds_volume() is true has none: its
 * boot sector belongs to the volume.
 * => sleeps; at boot.  Says what it found and what it left out.
 */
void part_scan(bool (*holds_volume)(struct disk *));
void part_scan_disk(struct disk *dk);
/* The other way: its partitions are gone.  => nobody uses them */
void part_forget(struct disk *dk);
/* "vda", "/dev/vda2" or "PARTUUID=..."; NULL: there is none. */
struct disk *disk_by_word(const char *word);

/* ---- between the parser's files ---- */

struct part_parse {
	const struct part_source *src;
	struct part_table *table;
	uint8_t		*sector;		/* one sector of room */
};

/* false: noted that it cannot be read */
bool part_read(struct part_parse *p, uint64_t sector);
void part_note(struct part_parse *p, enum part_fault fault, uint32_t number);
/*
 * Enter a partition, cut to the disk; or note why not.
 * => count may be anything, first + count need not be a number.
 */
void part_add(struct part_parse *p, uint32_t number, uint64_t first, uint64_t count, const char *uuid);
/* => true: the table is filled from a GPT, or its copy.  Else notes say what is wrong with both. */
bool part_gpt(struct part_parse *p);

#endif
