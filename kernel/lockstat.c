/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lock contention, by name.
 *
 *	counts[CPU][hash(name)]		each CPU counts in a row of its own; readers add the rows up
 *
 * Locks of one kind share a name (all objects are "object"), and so they share counters: what one wants to
 * know is which kind is fought for.  A name is a string constant, so its address finds it; only a name whose
 * address is new is compared with the others.  A slot never changes: the lock checker takes it for the class.
 *
 * The rows cost no shared cache line; a thread may be moved to another CPU between finding its row and
 * counting, so the count is atomic.  Contention is counted always, since that path is slow anyway;
 * acquisitions in debug builds only.  When the table is full, further names are not counted.
 */
#include "kernel/lockstat.h"
#include "kernel/amd64/cpu.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

static const char *names[LOCKSTAT_MAX];		/* (atomic) set once */
static struct row {
	uint64_t	acquired, contended, spins;	/* (atomic) */
} counts[MAX_CPUS][LOCKSTAT_MAX];

const char *
lockstat_name(unsigned slot)
{
	return (slot < LOCKSTAT_MAX ? __atomic_load_n(&names[slot], __ATOMIC_RELAXED) : NULL);
}

static unsigned
slot_of_equal(const char *name)
{
	unsigned slot = 0;

	while (slot < LOCKSTAT_MAX && (lockstat_name(slot) == NULL || !streq(lockstat_name(slot), name)))
		slot++;
	return (slot);
}

unsigned
lockstat_slot(const char *name)
{
	uintptr_t key = (uintptr_t)name;
	unsigned slot = (unsigned)(key ^ key >> 7) % LOCKSTAT_MAX, equal;

	for (unsigned i = 0; i < LOCKSTAT_MAX; i++, slot = (slot + 1) % LOCKSTAT_MAX) {
		const char *at = lockstat_name(slot);

		if (at == name)
			return (slot);
		if (at != NULL)
			continue;
		if ((equal = slot_of_equal(name)) != LOCKSTAT_MAX)
			return (equal);
		if (__atomic_compare_exchange_n(&names[slot], &at, name, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED) ||
		    at == name)
			return (slot);
	}
	return (slot_of_equal(name));
}

void
lockstat_acquired(unsigned slot)
{
	if (slot < LOCKSTAT_MAX)
		__atomic_fetch_add(&counts[curcpu->id][slot].acquired, 1, __ATOMIC_RELAXED);
}

void
lockstat_contended(const char *name, uint64_t spins)
{
	unsigned slot = lockstat_slot(name);

	if (slot == LOCKSTAT_MAX)
		return;
	__atomic_fetch_add(&counts[curcpu->id][slot].contended, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&counts[curcpu->id][slot].spins, spins, __ATOMIC_RELAXED);
}

/* Add one slot's rows, of all CPUs. */
static void
add_up(struct lockstat *sum, unsigned slot)
{
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		sum->acquired += counts[i][slot].acquired;
		sum->contended += counts[i][slot].contended;
		sum->spins += counts[i][slot].spins;
	}
}

struct lockstat
lockstat_get(const char *name)
{
	struct lockstat sum = { .name = name };
	unsigned slot = slot_of_equal(name);

	if (slot < LOCKSTAT_MAX)
		add_up(&sum, slot);
	return (sum);
}

unsigned
lockstat_take(struct lockstat *out)
{
	unsigned n = 0;

	for (unsigned slot = 0; slot < LOCKSTAT_MAX; slot++)
		if (names[slot] != NULL) {
			out[n] = (struct lockstat){ .name = names[slot] };
			add_up(&out[n++], slot);
		}
	return (n);
}

void
lockstat_sort(struct lockstat *stats, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct lockstat s = stats[i];
		unsigned at = i;

		for (; at > 0 && stats[at - 1].contended < s.contended; at--)
			stats[at] = stats[at - 1];
		stats[at] = s;
	}
}

void
lockstat_print(const struct lockstat *stats, unsigned n)
{
	printf("locks:     acquired  contended        spins  name\n");
	for (const struct lockstat *s = stats; s < stats + n; s++)
		printf("  %17lu %10lu %12lu  %s\n", s->acquired, s->contended, s->spins, s->name);
}
