/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free blocks of the swap disk: a bitmap, and above it a radix tree of hints.
 *
 * The leaves are words of 64 bits, 1 for a free block.  A node stands for BLIST_RADIX children and
 * says how long a run could be found in any one word below it.  The hint may be too large, never
 * too small:
 *
 *	level 2                     [ 32 ]
 *	                           /      \
 *	level 1          [ 3 ]               [ 32 ]            hints: no run of 4 below the left one
 *	                /  |  \             /  |   \
 *	leaves      0011  1110  0100    0000  1111  1111       64 blocks each
 *
 * alloc  goes down where the hint promises enough; a subtree that was searched in vain gets its
 * hint lowered to what the search has shown,
 *	   so nobody searches there for as much again.
 * free    sets the bits and raises the hints on the way up, until one is large enough already.
 *
 * A run lies inside one word, so up to 31 free blocks at each edge of a word cannot be joined: the
 * caller asks for less when a long run is not to be had.  That is what makes both operations so
 * short.
 *
 * Memory: one bit per block and about 1/1000 for the hints; all of it allocated at creation, so
 * swapping out never waits for it.
 *
 * No locks: the swap pager has one around every call.
 *
 * Why not a list of free ranges: after some hours of swapping there are as many ranges as blocks,
 * and each costs memory just when there is none.
 */
#include "vm/swap_blist.h"

#include "kernel/kassert.h"
#include "kernel/malloc.h"

#define BLIST_RADIX	16u
#define BLIST_LEVELS	6		/* 16^5 words of 64 blocks: more than BLIST_BLOCKS_MAX */
#define WORD_BITS	64u

static MALLOC_DEFINE(M_BLIST, "swap map");

struct blist {
	uint32_t	 nblocks;
	uint32_t	 nfree;
	uint32_t	 cursor;		/* word where the next search starts */
	uint32_t	 nwords;
	uint64_t	*word;			/* level 0 */
	int		 nlevels;		/* of hints; the last has one node */
	uint32_t	 nnodes[BLIST_LEVELS];
	uint8_t		*hint[BLIST_LEVELS];	/* hint[0] is right above the words */
};

/* The first place where `count` ones follow each other, or -1. */
static int
word_find(uint64_t word, uint32_t count)
{
	/* After each step bit i says: `have` ones start here. */
	for (uint32_t have = 1; have < count && word != 0; ) {
		uint32_t step = MIN(have, count - have);

		word &= word >> step;
		have += step;
	}
	return (word != 0 ? __builtin_ctzl(word) : -1);
}

/* The longest run of ones, as far as anybody may ask. */
static uint8_t
word_longest(uint64_t word)
{
	uint8_t n = 0;

	for (; word != 0 && n < BLIST_RUN_MAX; n++)
		word &= word >> 1;
	return (n);
}

static uint32_t
count_ones(uint64_t word)
{
	uint32_t n = 0;

	for (; word != 0; word &= word - 1)
		n++;
	return (n);
}

static uint64_t
word_mask(uint32_t bit, uint32_t count)
{
	return ((count == WORD_BITS ? ~0ul : (1ul << count) - 1) << bit);
}

struct blist *
blist_create(uint32_t nblocks)
{
	struct blist *bl = kmalloc(sizeof(*bl), &M_BLIST, M_WAITOK | M_ZERO);
	uint32_t n;

	KASSERT(nblocks > 0 && nblocks <= BLIST_BLOCKS_MAX, "a swap map of %u blocks", nblocks);
	bl->nblocks = nblocks;
	n = bl->nwords = howmany(nblocks, WORD_BITS);
	bl->word = kmalloc(n * sizeof(uint64_t), &M_BLIST, M_WAITOK | M_ZERO);
	do {
		n = howmany(n, BLIST_RADIX);
		bl->nnodes[bl->nlevels] = n;
		bl->hint[bl->nlevels++] = kmalloc(n, &M_BLIST, M_WAITOK | M_ZERO);
	} while (n > 1);
	blist_free(bl, 0, nblocks);
	return (bl);
}

void
blist_destroy(struct blist *bl)
{
	for (int i = 0; i < bl->nlevels; i++)
		kfree(bl->hint[i], &M_BLIST);
	kfree(bl->word, &M_BLIST);
	kfree(bl, &M_BLIST);
}

/* A word has this long a run now: tell its ancestors. */
static void
hints_raise(struct blist *bl, uint32_t index, uint8_t run)
{
	for (int level = 0; level < bl->nlevels; level++) {
		index /= BLIST_RADIX;
		if (bl->hint[level][index] >= run)
			return;
		bl->hint[level][index] = run;
	}
}

/*
 * Search node `index` of `level` (-1: a word) for a run, in the words from `from` on.
 * Recursion is BLIST_LEVELS deep at most.  Returns the first block, or BLIST_NONE.
 */
static uint32_t
search(struct blist *bl, int level, uint32_t index, uint32_t words_each, uint32_t count, uint32_t from)
{
	uint32_t first = index * BLIST_RADIX, end, below = words_each / BLIST_RADIX;
	uint32_t nbelow = level > 0 ? bl->nnodes[level - 1] : bl->nwords;

	if (level < 0) {
		int bit = word_find(bl->word[index], count);

		return (bit < 0 ? BLIST_NONE : index * WORD_BITS + (uint32_t)bit);
	}
	if (bl->hint[level][index] < count)
		return (BLIST_NONE);
	end = MIN(first + BLIST_RADIX, nbelow);
	for (uint32_t child = first; child < end; child++) {
		uint32_t block;

		if ((uint64_t)(child + 1) * below <= from)
			continue;
		block = search(bl, level - 1, child, below, count, from);
		if (block != BLIST_NONE)
			return (block);
	}
	/* All of it was looked at, so now we know better. */
	if ((uint64_t)index * words_each >= from)
		bl->hint[level][index] = (uint8_t)(count - 1);
	return (BLIST_NONE);
}

uint32_t
blist_alloc(struct blist *bl, uint32_t count)
{
	uint32_t words_each = 1, block;
	int top = bl->nlevels - 1;

	KASSERT(count > 0 && count <= BLIST_RUN_MAX, "a run of %u swap blocks", count);
	if (bl->nfree < count)
		return (BLIST_NONE);
	for (int i = 0; i < bl->nlevels; i++)
		words_each *= BLIST_RADIX;
	block = search(bl, top, 0, words_each, count, bl->cursor);
	if (block == BLIST_NONE && bl->cursor > 0)
		block = search(bl, top, 0, words_each, count, 0);
	if (block == BLIST_NONE)
		return (BLIST_NONE);
	bl->word[block / WORD_BITS] &= ~word_mask(block % WORD_BITS, count);
	bl->nfree -= count;
	bl->cursor = block / WORD_BITS;
	return (block);
}

void
blist_free(struct blist *bl, uint32_t first, uint32_t count)
{
	KASSERT(first < bl->nblocks && count <= bl->nblocks - first, "freeing swap blocks [%u, +%u) of %u", first, count,
	    bl->nblocks);
	bl->nfree += count;
	while (count > 0) {
		uint32_t index = first / WORD_BITS, bit = first % WORD_BITS, n = MIN(count, WORD_BITS - bit);
		uint64_t mask = word_mask(bit, n);

		if ((bl->word[index] & mask) != 0)
			panic("swap block %u is freed, and is free", index * WORD_BITS +
			    (uint32_t)__builtin_ctzl(bl->word[index] & mask));
		bl->word[index] |= mask;
		hints_raise(bl, index, word_longest(bl->word[index]));
		first += n;
		count -= n;
	}
}

uint32_t
blist_fill(struct blist *bl, uint32_t first, uint32_t count)
{
	uint32_t were_free = 0;

	KASSERT(first < bl->nblocks && count <= bl->nblocks - first, "filling swap blocks [%u, +%u) of %u", first, count,
	    bl->nblocks);
	while (count > 0) {
		uint32_t index = first / WORD_BITS, bit = first % WORD_BITS, n = MIN(count, WORD_BITS - bit);
		uint64_t mask = word_mask(bit, n);

		were_free += count_ones(bl->word[index] & mask);
		bl->word[index] &= ~mask;
		first += n;
		count -= n;
	}
	bl->nfree -= were_free;
	return (were_free);
}

uint32_t
blist_nfree(const struct blist *bl)
{
	return (bl->nfree);
}

bool
blist_is_free(const struct blist *bl, uint32_t block)
{
	return ((bl->word[block / WORD_BITS] >> (block % WORD_BITS) & 1) != 0);
}

void
blist_check(const struct blist *bl)
{
	uint32_t nfree = 0;

	for (uint32_t i = 0; i < bl->nwords; i++) {
		uint8_t longest = word_longest(bl->word[i]);
		uint32_t index = i;

		nfree += count_ones(bl->word[i]);
		for (int level = 0; level < bl->nlevels; level++) {
			index /= BLIST_RADIX;
			if (bl->hint[level][index] < longest)
				panic("swap map: word %u has a run of %u, level %d promises %u", i, longest, level,
				    bl->hint[level][index]);
		}
	}
	if (nfree != bl->nfree)
		panic("swap map: %u blocks are free, noted %u", nfree, bl->nfree);
}
