/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A random generator: the ChaCha20 block function in counter mode, with a new key after each request, so that
 * what was handed out cannot be computed from what is in memory later.
 *
 *	key (32 bytes) --ChaCha20, counter 0--> 32 bytes: the next key | 32 bytes: output
 *			 counter 1, 2...   --> output
 *
 * The first key is made of the time-stamp counter, read around things whose duration nobody knows, and of the
 * date.  That is good enough for address layout and stack canaries; it is no
 * promise to a cryptographer.
 */
#include "kernel/random.h"

#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/lib/string.h"
#include "kernel/lock.h"

#define BLOCK	64

static struct spinlock random_lock = SPINLOCK_INITIALIZER("random", RANK_KMEM);
static uint32_t key[8];			/* (random_lock) */
static bool seeded;			/* (random_lock) */

static inline uint32_t
rotate(uint32_t v, int n)
{
	return (v << n | v >> (32 - n));
}

static void
quarter_round(uint32_t *x, int a, int b, int c, int d)
{
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 16);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 12);
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 8);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 7);
}

static void
block(const uint32_t k[8], uint64_t counter, uint8_t out[BLOCK])
{
	/* "expand 32-byte k", the key, the counter, no nonce */
	uint32_t in[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, k[0], k[1], k[2], k[3], k[4], k[5],
	    k[6], k[7], (uint32_t)counter, (uint32_t)(counter >> 32), 0, 0 };
	uint32_t x[16];
	int i;

	memcpy(x, in, sizeof(x));
	for (i = 0; i < 10; i++) {
		quarter_round(x, 0, 4, 8, 12);
		quarter_round(x, 1, 5, 9, 13);
		quarter_round(x, 2, 6, 10, 14);
		quarter_round(x, 3, 7, 11, 15);
		quarter_round(x, 0, 5, 10, 15);
		quarter_round(x, 1, 6, 11, 12);
		quarter_round(x, 2, 7, 8, 13);
		quarter_round(x, 3, 4, 9, 14);
	}
	for (i = 0; i < 16; i++)
		x[i] += in[i];
	memcpy(out, x, BLOCK);
}

/* => random_lock */
static void
stir(uint64_t word)
{
	uint8_t out[BLOCK];

	key[0] ^= (uint32_t)word;
	key[1] ^= (uint32_t)(word >> 32);
	block(key, 0, out);
	memcpy(key, out, sizeof(key));
}

/* => random_lock */
static void
seed_once(void)
{
	if (seeded)
		return;
	seeded = true;
	stir(clock_wall_seconds());
	for (int i = 0; i < 64; i++) {
		stir(rdtsc());
		(void)inb(0x61);		/* leaves an emulator and comes back: takes as long as it takes */
	}
}

void
random_bytes(void *buf, size_t len)
{
	uint8_t *to = buf, out[BLOCK];
	uint32_t k[8];
	uint64_t counter = 1;
	size_t n;

	spin_lock(&random_lock);
	seed_once();
	block(key, 0, out);
	memcpy(key, out, sizeof(key));
	memcpy(k, out + sizeof(key), sizeof(k));	/* the key of this request alone */
	spin_unlock(&random_lock);
	for (; len > 0; len -= n, to += n) {
		n = MIN(len, (size_t)BLOCK);
		block(k, counter++, out);
		memcpy(to, out, n);
	}
}

void
random_stir(const void *buf, size_t len)
{
	const uint8_t *from = buf;
	uint64_t word;

	for (; len > 0; len -= MIN(len, sizeof(word)), from += sizeof(word)) {
		word = 0;
		memcpy(&word, from, MIN(len, sizeof(word)));
		spin_lock(&random_lock);
		seed_once();
		stir(word);
		spin_unlock(&random_lock);
	}
}

uint64_t
random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return (v);
}

void
random_fix(uint64_t seed)
{
	spin_lock(&random_lock);
	memset(key, 0, sizeof(key));
	seeded = true;
	stir(seed);
	spin_unlock(&random_lock);
}
