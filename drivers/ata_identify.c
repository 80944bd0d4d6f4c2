/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ATA without hardware: what an identification says, and which command a request becomes.
 *
 * An identification is 256 words of 16 bits.  Many of its fields were added over the years, and
 * each has another that says whether to believe it: a word with 01 in its two upper bits vouches
 * for itself and for its neighbours.
 *
 * A request becomes one command, never more: 256 sectors, the most that a 28-bit command moves, are
 * MAXPHYS.  The 28-bit form is used where the address allows it, for it costs half the register
 * writes; the 48-bit one for all that reaches sector 0xfffffff, which some disks take for the end.
 */
#include "drivers/ata.h"
#include "kernel/lib/string.h"

#define LBA28_MAX	0x0fffffffu	/* sectors below it have short addresses */

/* Words of IDENTIFY DEVICE (ATA8-ACS, 7.16). */
enum {
	W_GENERAL = 0, W_SERIAL = 10, W_MODEL = 27, W_MULTIPLE = 47, W_CAPABILITIES = 49,
	W_VALID = 53, W_SECTORS28 = 60, W_MULTIWORD = 63, W_SUPPORTED = 82, W_SUPPORTED2 = 83, W_ENABLED = 85,
	W_ENABLED2 = 86, W_ENABLED3 = 87, W_ULTRA = 88, W_SECTORS48 = 100, W_SECTOR_FORMAT = 106,
	W_SECTOR_WORDS = 117, W_INTEGRITY = 255
};

#define GENERAL_NOT_ATA		0x8000
#define CAPABILITY_DMA		0x0100
#define CAPABILITY_LBA		0x0200
#define VALID_ULTRA		0x0004
#define FEATURE_CACHE		0x0020	/* words 82 and 85 */
#define FEATURE2_LBA48		0x0400	/* words 83 and 86 */
#define FEATURE2_FLUSH		0x1000
#define FEATURE2_FLUSH_EXT	0x2000
#define FORMAT_LONG		0x1000	/* sectors are not of 256 words */
#define INTEGRITY_MARK		0x00a5

#define MODE_MULTIWORD		0x20
#define MODE_ULTRA		0x40

/* Does this word vouch for itself? */
static bool
vouched(uint16_t word)
{
	return ((word & 0xc000) == 0x4000);
}

/* A string of IDENTIFY (ATA8-ACS, 7.16): two characters a word, the first in the upper byte. */
void
ata_string(const uint16_t *words, unsigned nwords, char *out)
{
	unsigned i, len = 2 * nwords;

	for (i = 0; i < len; i++) {
		out[i] = i % 2 == 0 ? words[i / 2] >> 8 : words[i / 2] & 0xff;
		if (out[i] < ' ' || out[i] > '~')
			out[i] = ' ';
	}
	while (len > 0 && out[len - 1] == ' ')
		len--;
	out[len] = '\0';
}

/* With the mark in word 255, all bytes add up to 0 (ATA8-ACS, 7.16). */
static bool
sum_is_right(const uint16_t *words)
{
	uint8_t sum = 0;
	unsigned i;

	if ((words[W_INTEGRITY] & 0xff) != INTEGRITY_MARK)
		return (true);
	for (i = 0; i < 256; i++)
		sum += (words[i] & 0xff) + (words[i] >> 8);
	return (sum == 0);
}

static int
highest_bit(unsigned bits)
{
	return (bits == 0 ? -1 : 31 - __builtin_clz(bits));
}

/*
 * The DMA mode to select (ATA8-ACS, 7.16, words 63 and 88): the one that the firmware has, since it
 * has set the controller's clocks for that one; else the slowest.
 */
static uint8_t
dma_mode(const uint16_t *words)
{
	int ultra = (words[W_VALID] & VALID_ULTRA) ? highest_bit(words[W_ULTRA] >> 8 & 0x7f) : -1;
	int multiword = highest_bit(words[W_MULTIWORD] >> 8 & 0x07);

	if ((words[W_CAPABILITIES] & CAPABILITY_DMA) == 0)
		return (0);
	if (ultra >= 0)
		return (MODE_ULTRA + ultra);
	if (multiword >= 0)
		return (MODE_MULTIWORD + multiword);
	return ((words[W_MULTIWORD] & 0x07) ? MODE_MULTIWORD : 0);
}

/* The write cache and how it is emptied (ATA8-ACS, 7.16, words 82 to 87). */
static void
cache_parse(const uint16_t *words, struct ata_identity *id)
{
	bool supported = vouched(words[W_SUPPORTED2]), enabled = vouched(words[W_ENABLED3]);

	id->flush = supported && (words[W_SUPPORTED2] & FEATURE2_FLUSH) != 0;
	id->flush_ext = supported && (words[W_SUPPORTED2] & FEATURE2_FLUSH_EXT) != 0;
	id->cache_switch = supported && (words[W_SUPPORTED] & FEATURE_CACHE) != 0;
	/* A disk that does not say may have one. */
	id->cache = enabled ? (words[W_ENABLED] & FEATURE_CACHE) != 0 : true;
}

/* Size and shape: ATA8-ACS, 7.16, words 60, 100, 106 and 117. */
const char *
ata_identity_parse(const uint16_t *words, struct ata_identity *id)
{
	uint32_t sector_words = 256;

	memset(id, 0, sizeof(*id));
	ata_string(&words[W_MODEL], 20, id->model);
	ata_string(&words[W_SERIAL], 10, id->serial);
	if (words[W_GENERAL] & GENERAL_NOT_ATA)
		return ("it is no disk");
	if (!sum_is_right(words))
		return ("the checksum of its identification is wrong");
	if ((words[W_CAPABILITIES] & CAPABILITY_LBA) == 0)
		return ("it knows no sector numbers, only cylinders and heads");
	if (vouched(words[W_SECTOR_FORMAT]) && (words[W_SECTOR_FORMAT] & FORMAT_LONG))
		sector_words = words[W_SECTOR_WORDS] | (uint32_t)words[W_SECTOR_WORDS + 1] << 16;
	if (sector_words < 256 || sector_words > MAXPHYS / 2 ||
	    (sector_words & (sector_words - 1)) != 0)
		return ("its sectors have an unsupported size");
	id->sectorsize = 2 * sector_words;
	id->lba48 = vouched(words[W_SUPPORTED2]) && (words[W_SUPPORTED2] & FEATURE2_LBA48) != 0;
	id->nsectors = words[W_SECTORS28] | (uint32_t)words[W_SECTORS28 + 1] << 16;
	if (id->lba48)
		id->nsectors = words[W_SECTORS48] | (uint64_t)words[W_SECTORS48 + 1] << 16 |
		    (uint64_t)words[W_SECTORS48 + 2] << 32;
	if (id->nsectors == 0)
		return ("it has no sectors");
	if (!id->lba48)
		id->nsectors = MIN(id->nsectors, (uint64_t)LBA28_MAX);
	id->multiple = words[W_MULTIPLE] & 0xff;
	id->mode = dma_mode(words);
	cache_parse(words, id);
	return (NULL);
}

/* READ and WRITE SECTORS, MULTIPLE and DMA (ATA8-ACS, 7): [how][ext][write]. */
static const uint8_t transfer_command[3][2][2] = {
	{ { 0x20, 0x30 }, { 0x24, 0x34 } },
	{ { 0xc4, 0xc5 }, { 0x29, 0x39 } },
	{ { 0xc8, 0xca }, { 0x25, 0x35 } },
};
static const uint8_t flush_command[2] = { 0xe7, 0xea };		/* FLUSH CACHE */

/* The task file of a request (ATA8-ACS, 28-bit and 48-bit addressing). */
void
ata_cmd_build(struct ata_cmd *cmd, const struct ata_identity *id, struct buf *bp, bool dma,
    unsigned multiple)
{
	bool write = (bp->b_flags & B_READ) == 0;
	uint32_t count = bp->b_bcount / id->sectorsize;

	cmd->bp = bp;
	cmd->features = 0;
	cmd->done = 0;
	cmd->status = cmd->error = 0;
	if (bp->b_flags & B_FLUSH) {
		cmd->ext = id->flush_ext;
		cmd->command = flush_command[cmd->ext];
		cmd->protocol = ATA_NONDATA;
		cmd->lba = 0;
		cmd->count = 0;
		cmd->len = 0;
		return;
	}
	cmd->lba = (uint64_t)bp->b_pblkno / (id->sectorsize / DEV_BSIZE);
	cmd->ext = cmd->lba + count > LBA28_MAX || count > 256;
	cmd->count = cmd->ext ? (uint16_t)count : (uint8_t)count;
	cmd->data = bp->b_data;
	cmd->len = bp->b_bcount;
	cmd->block = MAX(multiple, 1u) * id->sectorsize;
	cmd->command = transfer_command[dma ? 2 : multiple > 0][cmd->ext][write];
	if (dma)
		cmd->protocol = write ? ATA_DMA_OUT : ATA_DMA_IN;
	else
		cmd->protocol = write ? ATA_PIO_OUT : ATA_PIO_IN;
}
