/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a partition table to disks.
 *
 * A partition is a struct disk without a driver, with the whole disk and its first sector there;
 * disk_strategy() does the rest.  It stands in the list behind its disk, so whoever goes through
 * the disks, as the search for the root does, meets vda, vda1, vda2, vdb.
 *
 * When the disk itself is a volume, its first sector is that volume's boot sector, and nothing that
 * looks like a table there is one: to give out vda1 would let somebody write into the middle of
 * vda.  (Linux offers both.)
 *
 * Partitions come once, at boot, and are never read again: a table that changes under mounted
 * volumes would have to be refused anyway, and nothing in this system writes one.
 */
#include "drivers/part.h"
#include "drivers/disk.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_PARTITION, "partitions");

struct part {
	struct disk	disk;				/* dk_softc is this struct */
	char		uuid[PART_UUID_LEN + 1];	/* (constant) */
};

static const char *const fault_word[PART_FAULTS] = {
	[PF_UNREADABLE] = "the table cannot be read",
	[PF_EMPTY] = "has no sectors; left out",
	[PF_AT_TABLE] = "begins at sector 0, where the table is; left out",
	[PF_BEYOND] = "begins beyond the disk's end; left out",
	[PF_CLIPPED] = "reaches beyond the disk's end; cut there",
	[PF_OVERLAP] = "overlaps another; left out",
	[PF_TOO_MANY] = "too many partitions; the rest is left out",
	[PF_EXTENDED_TWICE] = "is a second extended partition; left out",
	[PF_LOOP] = "the chain of logical partitions comes back to itself; it ends there",
	[PF_CHAIN] = "a link of the chain of logical partitions is none; it ends there",
	[PF_NOT_IN_EXTENDED] = "does not lie in the extended partition; left out",
	[PF_NO_GPT] = "the table says that there is a GPT, and there is none that is whole; no partitions",
	[PF_GPT_SIGNATURE] = "GPT: no header",
	[PF_GPT_REVISION] = "GPT: the header has an unknown revision",
	[PF_GPT_SIZE] = "GPT: the header has an impossible size",
	[PF_GPT_CRC] = "GPT: the header's checksum is wrong",
	[PF_GPT_PLACE] = "GPT: the header belongs to another sector",
	[PF_GPT_RANGE] = "GPT: no sector is usable",
	[PF_GPT_ENTRIES] = "GPT: so many entries, or so large ones, are not supported",
	[PF_GPT_ENTRIES_PLACE] = "GPT: the entries cannot lie where the header says",
	[PF_GPT_ENTRIES_CRC] = "GPT: the entries' checksum is wrong",
	[PF_GPT_BACKUP] = "GPT: using the copy at the disk's end",
	[PF_GPT_SECTORS] = "GPT: it was made for sectors of another size than the disk has",
	[PF_NOT_USABLE] = "does not lie in what the GPT calls usable; left out",
};

static int
read_sector(void *arg, uint64_t sector, void *data)
{
	struct disk *dk = arg;

	return (disk_rw(dk, sector * (dk->dk_sectorsize / DEV_BSIZE), data, dk->dk_sectorsize, B_READ));
}

static void
say_notes(const struct disk *dk, const struct part_table *t)
{
	unsigned kept = MIN(t->nnotes, (unsigned)PART_NOTES_MAX);

	for (unsigned i = 0; i < kept; i++) {
		if (t->notes[i].number == 0)
			printf("%s: %s\n", dk->dk_name, fault_word[t->notes[i].fault]);
		else
			printf("%s: partition %u %s\n", dk->dk_name, t->notes[i].number,
			    fault_word[t->notes[i].fault]);
	}
	if (t->nnotes > kept)
		printf("%s: %u more things are wrong with the table\n", dk->dk_name, t->nnotes - kept);
}

/* vda1; but gate0p1, where the disk's own name ends in a digit. */
static void
part_register(struct disk *dk, const struct part_entry *e)
{
	struct part *part = kmalloc(sizeof(*part), &M_PARTITION, M_WAITOK | M_ZERO);
	char last = dk->dk_name[strlen(dk->dk_name) - 1];
	uint32_t units = dk->dk_sectorsize / DEV_BSIZE;

	part->disk = (struct disk){ .dk_softc = part, .dk_whole = dk, .dk_first = e->first * units,
	    .dk_sectorsize = dk->dk_sectorsize, .dk_nsectors = e->count * units,
	    .dk_maxsize = dk->dk_maxsize, .dk_readonly = dk->dk_readonly };
	strlcpy(part->uuid, e->uuid, sizeof(part->uuid));
	snprintf(part->disk.dk_name, sizeof(part->disk.dk_name), "%s%s%u", dk->dk_name,
	    last >= '0' && last <= '9' ? "p" : "", e->number);
	disk_register(&part->disk);
	printf(" %s %lu KiB", part->disk.dk_name, part->disk.dk_nsectors / 2);
}

void
part_scan_disk(struct disk *dk)
{
	uint32_t units = dk->dk_sectorsize / DEV_BSIZE;
	struct part_source src = { .read = read_sector, .arg = dk, .sectorsize = dk->dk_sectorsize,
	    .nsectors = dk->dk_nsectors / units };
	struct part_table *t;

	if (src.nsectors == 0)
		return;
	t = kmalloc(sizeof(*t), &M_PARTITION, M_WAITOK);
	part_parse(&src, t);
	say_notes(dk, t);
	if (t->scheme != PART_NONE) {
		printf("%s: %s:", dk->dk_name, t->scheme == PART_GPT ? "GPT" : "MBR");
		for (unsigned i = 0; i < t->nentries; i++)
			part_register(dk, &t->entries[i]);
		printf("%s\n", t->nentries == 0 ? " no partitions" : "");
	}
	kfree(t, &M_PARTITION);
}

void
part_scan(bool (*holds_volume)(struct disk *))
{
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		if (dk->dk_whole == NULL && !holds_volume(dk))
			part_scan_disk(dk);
	}
}

void
part_forget(struct disk *dk)
{
	struct disk *part;

	while ((part = disk_next(dk)) != NULL && part->dk_whole == dk) {
		disk_unregister(part);
		kfree(part->dk_softc, &M_PARTITION);
	}
}

/* The letters of PARTUUID= may be of either case. */
static bool
same_uuid(const char *a, const char *b)
{
	for (; *a != '\0' && *b != '\0'; a++, b++) {
		char ca = *a >= 'A' && *a <= 'F' ? *a + ('a' - 'A') : *a;
		char cb = *b >= 'A' && *b <= 'F' ? *b + ('a' - 'A') : *b;

		if (ca != cb)
			return (false);
	}
	return (*a == *b);
}

struct disk *
disk_by_word(const char *word)
{
	static const char dev[] = "/dev/", uuid[] = "PARTUUID=";

	if (strncmp(word, uuid, strlen(uuid)) != 0)
		return (disk_find(strncmp(word, dev, strlen(dev)) == 0 ? word + strlen(dev) : word));
	word += strlen(uuid);
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		const struct part *part = dk->dk_whole != NULL ? dk->dk_softc : NULL;

		if (part != NULL && part->uuid[0] != '\0' && same_uuid(part->uuid, word))
			return (dk);
	}
	return (NULL);
}
