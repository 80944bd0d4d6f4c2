/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lock contention, by name.
 *
 *	counts[CPU][hash(name)]		each CPU counts in a row of its own; readers add the rows up
 *
 * Locks of one kind share a name (all objects are "object"), and so they share counters: what one wants to
 * know is which kind is fought for.  A name is a string constant, so its address stands for it; names that
 * are equal but lie in different places are added up when they are printed.
 *
 * The rows cost no shared cache line; a thread may be moved to another CPU between finding its row and
 * counting, so the count is atomic.  Contention is counted always, since that path is slow anyway;
 * acquisitions in debug builds only.  When the table is full, further names are not counted.
 */
#include "kernel/lockstat.h"
#include "kernel/amd64/cpu.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

#define SLOTS	128		/* a power of two */

static const char *names[SLOTS];		/* (atomic) set once */
static struct row {
	uint64_t	acquired, contended, spins;	/* (atomic) */
} counts[MAX_CPUS][SLOTS];

/* The name's slot, taken if it has none yet; SLOTS: the table is full. */
static unsigned
slot_of(const char *name)
{
	uintptr_t key = (uintptr_t)name;
	unsigned slot = (unsigned)(key ^ key >> 7) % SLOTS;

	for (unsigned i = 0; i < SLOTS; i++, slot = (slot + 1) % SLOTS) {
		const char *at = __atomic_load_n(&names[slot], __ATOMIC_RELAXED);

		if (at == name)
			return (slot);
		if (at == NULL && (__atomic_compare_exchange_n(&names[slot], &at, name, false, __ATOMIC_RELAXED,
		    __ATOMIC_RELAXED) || at == name))
			return (slot);
	}
	return (SLOTS);
}

void
lockstat_acquired(const char *name)
{
	unsigned slot = slot_of(name);

	if (slot < SLOTS)
		__atomic_fetch_add(&counts[curcpu->id][slot].acquired, 1, __ATOMIC_RELAXED);
}

void
lockstat_contended(const char *name, uint64_t spins)
{
	unsigned slot = slot_of(name);

	if (slot == SLOTS)
		return;
	__atomic_fetch_add(&counts[curcpu->id][slot].contended, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&counts[curcpu->id][slot].spins, spins, __ATOMIC_RELAXED);
}

struct lockstat
lockstat_get(const char *name)
{
	struct lockstat sum = { .name = name };

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (names[slot] == NULL || !streq(names[slot], name))
			continue;
		for (unsigned i = 0; i < MAX_CPUS; i++) {
			sum.acquired += counts[i][slot].acquired;
			sum.contended += counts[i][slot].contended;
			sum.spins += counts[i][slot].spins;
		}
	}
	return (sum);
}

/* Was the name of this slot printed for an earlier one? */
static bool
seen_before(unsigned slot)
{
	for (unsigned i = 0; i < slot; i++)
		if (names[i] != NULL && streq(names[i], names[slot]))
			return (true);
	return (false);
}

void
lockstat_print(void)
{
	uint64_t last = UINT64_MAX, next;

	printf("locks:     acquired  contended        spins  name\n");
	/* By falling contention: a pass for each value that occurs. */
	for (; last != 0; last = next) {
		next = 0;
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			struct lockstat s;

			if (names[slot] == NULL || seen_before(slot))
				continue;
			s = lockstat_get(names[slot]);
			if (s.contended < last)
				next = MAX(next, s.contended);
		}
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			struct lockstat s;

			if (names[slot] == NULL || seen_before(slot))
				continue;
			s = lockstat_get(names[slot]);
			if (s.contended == next)
				printf("  %17lu %10lu %12lu  %s\n", s.acquired, s.contended, s.spins, s.name);
		}
	}
}
