/* SPDX-License-Identifier: BSD-2-Clause */
/* The swap disk's bitmap, beside a model that has one byte for each block. */
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "vm/swap_blist.h"

static MALLOC_DEFINE(M_TBLIST, "blist tests");

#define WORD	64u		/* no run crosses a multiple of it */

/* Is there a run of `count` free blocks inside one word? */
static bool
model_has_run(const uint8_t *taken, uint32_t nblocks, uint32_t count)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < nblocks; i++) {
		if (i % WORD == 0)
			run = 0;
		run = taken[i] ? 0 : run + 1;
		if (run == count)
			return (true);
	}
	return (false);
}

/* Set [first, +count) to `value`; returns how many were something else. */
static uint32_t
model_set(uint8_t *taken, uint32_t first, uint32_t count, uint8_t value)
{
	uint32_t changed = 0;

	for (uint32_t i = first; i < first + count; i++) {
		changed += taken[i] != value;
		taken[i] = value;
	}
	return (changed);
}

static void
model_alloc(struct blist *bl, uint8_t *taken, uint32_t nblocks)
{
	uint32_t count = 1 + ktest_random() % BLIST_RUN_MAX;
	uint32_t first = blist_alloc(bl, count);

	if (first == BLIST_NONE) {
		CHECK(!model_has_run(taken, nblocks, count));
		return;
	}
	if (CHECK(first < nblocks && count <= nblocks - first))
		CHECK_EQ(model_set(taken, first, count, 1), count);
}

/* Free a piece of what is taken, starting anywhere. */
static void
model_free(struct blist *bl, uint8_t *taken, uint32_t nblocks)
{
	uint32_t first = ktest_random() % nblocks, count = 0, most = 1 + ktest_random() % 100;

	while (first + count < nblocks && count < most && taken[first + count])
		count++;
	if (count > 0) {
		blist_free(bl, first, count);
		model_set(taken, first, count, 0);
	}
}

static void
model_fill(struct blist *bl, uint8_t *taken, uint32_t nblocks)
{
	uint32_t first = ktest_random() % nblocks, count = 1 + ktest_random() % 200;

	count = MIN(count, nblocks - first);
	CHECK_EQ(blist_fill(bl, first, count), model_set(taken, first, count, 1));
}

static void
compare(struct blist *bl, const uint8_t *taken, uint32_t nblocks)
{
	uint32_t nfree = 0, wrong = 0;

	for (uint32_t i = 0; i < nblocks; i++) {
		nfree += !taken[i];
		wrong += blist_is_free(bl, i) == (taken[i] != 0);
	}
	CHECK_EQ(wrong, 0);
	CHECK_EQ(blist_nfree(bl), nfree);
	blist_check(bl);
}

static void
random_run(uint32_t nblocks, int operations)
{
	struct blist *bl = blist_create(nblocks);
	uint8_t *taken = kmalloc(nblocks, &M_TBLIST, M_WAITOK | M_ZERO);

	compare(bl, taken, nblocks);
	for (int i = 0; i < operations && !ktest_failed(); i++) {
		/* It fills up in some stretches and empties in others. */
		unsigned bias = i / 500 % 2 ? 3 : 7, dice = ktest_random() % 10;

		if (dice < bias)
			model_alloc(bl, taken, nblocks);
		else if (dice < 9 || ktest_random() % 8 != 0)
			model_free(bl, taken, nblocks);
		else
			model_fill(bl, taken, nblocks);
		if (i % 50 == 0)
			compare(bl, taken, nblocks);
	}
	compare(bl, taken, nblocks);
	kfree(taken, &M_TBLIST);
	blist_destroy(bl);
}

KTEST(blist, random_operations_match_a_plain_bitmap)
{
	static const uint32_t sizes[] = { 1, 2, 63, 64, 65, 1000, 1024, 16384 + 1, 40000 };

	for (size_t i = 0; i < nitems(sizes); i++)
		random_run(sizes[i], sizes[i] < 2000 ? 4000 : 1500);
}

KTEST(blist, every_block_is_handed_out_once)
{
	const uint32_t n = 5000;
	struct blist *bl = blist_create(n);
	uint8_t *taken = kmalloc(n, &M_TBLIST, M_WAITOK | M_ZERO);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t block = blist_alloc(bl, 1);

		CHECK_OR_RETURN(block < n);
		CHECK_EQ(taken[block]++, 0);
	}
	CHECK_EQ(blist_alloc(bl, 1), BLIST_NONE);
	/* The hints were all searched down to nothing: one block must bring them up again. */
	blist_free(bl, 4321, 1);
	CHECK_EQ(blist_alloc(bl, 2), BLIST_NONE);
	CHECK_EQ(blist_alloc(bl, 1), 4321);
	blist_free(bl, 0, n);
	CHECK_EQ(blist_nfree(bl), n);
	kfree(taken, &M_TBLIST);
	blist_destroy(bl);
}

KTEST(blist, consecutive_requests_lie_side_by_side)
{
	struct blist *bl = blist_create(1024);
	uint32_t first = blist_alloc(bl, 32);

	for (uint32_t i = 1; i < 32; i++)
		CHECK_EQ(blist_alloc(bl, 32), first + 32 * i);
	CHECK_EQ(blist_alloc(bl, 1), BLIST_NONE);
	blist_destroy(bl);
}
