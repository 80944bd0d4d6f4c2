/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free pages: a depot for all, and a few in each CPU's own cache.
 *
 *	vm_page_alloc ---> cache of this CPU ---(empty: BATCH pages)---> depot ---(empty)---> other CPUs' caches
 *	vm_page_free  ---> cache of this CPU ---(full: BATCH pages)----> depot
 *	idle threads  ---> depot's FREE, zeroed, to the depot's ZERO
 *
 * Each place has a lock and two lists, FREE (contents unknown) and ZERO.  A CPU's lock is taken by that CPU
 * and hardly by anybody else, and the depot's once for BATCH pages, so faults on several CPUs do not meet
 * here.  `cache` in the page says on whose list it is.
 *
 * A page in a cache is as free as any other.  free_total counts them all, exactly, and it alone decides
 * whether an allocation may have a page: who is entitled to one and finds neither his cache nor the depot
 * filled takes it from another CPU's.  So thresholds mean the same for one CPU and eight, and caches need
 * not be emptied when memory is short.  free_total is changed under the lock of the list that changes;
 * a shared word, but no lock that anybody waits for.
 *
 * Zeroing is done with this CPU's own lock held, and so with interrupts off, for the time that a page takes.
 * Nobody ever sees a page that is on its way, except who would have the very last one; he waits for it.
 *
 * Lock order: a cache, then the depot; never two caches.  These are the innermost locks of the VM: pmap
 * allocates table pages under its own.
 *
 * Why not FreeBSD's way, where a cached page does not count as free: its caches are large and its machines
 * larger.  Here 8 MiB must do, and tests compare counts.
 */
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_check.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pageq.h"
#include "vm/vm_path.h"

#define BATCH		16		/* pages moved between a cache and the depot at once */
#define CACHE_MAX	(2 * BATCH)	/* of each kind in a cache */

enum { UNKNOWN, ZEROED, KINDS };

struct free_place {
	struct spinlock	lock;
	struct pageq	list[KINDS];
} __aligned(64);

#define PLACE(name, rank) { .lock = SPINLOCK_INITIALIZER(name, rank), .list = { PAGEQ_EMPTY, PAGEQ_EMPTY } }
static struct free_place depot = PLACE("freelist", RANK_FREELIST);
static struct free_place caches[MAX_CPUS] = { [0 ... MAX_CPUS - 1] = PLACE("free cache", RANK_FREECACHE) };

static volatile uint32_t free_total;	/* (atomic) pages on all lists, and those being zeroed */
static bool free_waiters;		/* (depot) somebody sleeps in vm_wait() */
static int zero_held;			/* (depot) > 0: idle CPUs zero nothing */

static inline struct free_place *
place_of(const struct vm_page *m)
{
	return (m->cache == 0 ? &depot : &caches[m->cache - 1]);
}

struct pageq *
vm_freelist_of(const struct vm_page *m)
{
	return (&place_of(m)->list[m->queue == PQ_ZERO ? ZEROED : UNKNOWN]);
}

uint32_t
vm_free_count(void)
{
	return (__atomic_load_n(&free_total, __ATOMIC_SEQ_CST));
}

uint32_t
vm_freelist_len(enum page_queue q)
{
	int kind = q == PQ_ZERO ? ZEROED : UNKNOWN;
	uint32_t n = depot.list[kind].count;

	for (unsigned i = 0; i < MAX_CPUS; i++)
		n += caches[i].list[kind].count;
	return (n);
}

/* Claim n pages, if `floor` remain.  => the lock of a list that holds them */
static bool
claim(uint32_t n, uint32_t floor)
{
	uint32_t total = free_total;

	do {
		if (total < n || total - n < floor)
			return (false);
	} while (!__atomic_compare_exchange_n(&free_total, &total, total - n, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	return (true);
}

/* Move up to n pages of a kind, oldest first, from one place to another.  => both locked */
static void
carry(struct free_place *from, struct free_place *to, int kind, uint32_t n)
{
	uint8_t cache = to == &depot ? 0 : (uint8_t)(to - caches + 1);
	struct vm_page *last = NULL;
	uint32_t next = from->list[kind].head, count = 0;

	for (; count < n && next != VM_PAGE_NIL; count++, next = last->q_next) {
		last = &vm_page_array[next];
		last->cache = cache;
	}
	if (count > 0)
		vm_pageq_splice(&from->list[kind], last, count, &to->list[kind]);
}

/* Is there a page of this kind in the cache, perhaps from the depot?  => cache locked */
static bool
filled(struct free_place *own, int kind)
{
	if (own->list[kind].count == 0 && depot.list[kind].count > 0) {
		spin_lock(&depot.lock);
		carry(&depot, own, kind, BATCH);
		spin_unlock(&depot.lock);
	}
	return (own->list[kind].count > 0);
}

/* => place locked, and it has such a page.  NULL: nobody may take one. */
static struct vm_page *
take(struct free_place *place, int kind, uint32_t floor)
{
	struct vm_page *m;

	if (!claim(1, floor))
		return (NULL);
	m = &vm_page_array[place->list[kind].head];
	(void)vm_pageq_move(m, &place->list[kind], PQ_NONE, NULL);
	m->flags = kind == ZEROED ? PG_ZERO : 0;
	m->wire_count = 1;
	return (m);
}

/* Memory is so short that what is left lies in other CPUs' caches, or is just being zeroed. */
static __attribute__((noinline)) struct vm_page *
take_from_others(uint32_t floor)
{
	struct vm_page *m = NULL;

	VM_PATH("free_page_of_another_cpu");
	for (unsigned i = 0; m == NULL && vm_free_count() > floor; i = (i + 1) % MAX_CPUS) {
		struct free_place *other = &caches[i];

		spin_lock(&other->lock);
		if (filled(other, UNKNOWN))
			m = take(other, UNKNOWN, floor);
		else if (filled(other, ZEROED))
			m = take(other, ZEROED, floor);
		spin_unlock(&other->lock);
		cpu_spinwait();
	}
	return (m);
}

struct vm_page *
vm_pageq_take_free(uint32_t floor, bool zero)
{
	struct free_place *own = &caches[curcpu->id];	/* or where we just were: any will do */
	int kind = zero ? ZEROED : UNKNOWN;
	struct vm_page *m = NULL;
	bool found;

	spin_lock(&own->lock);
	found = filled(own, kind) || filled(own, kind = !kind);
	if (found)
		m = take(own, kind, floor);
	spin_unlock(&own->lock);
	return (found ? m : take_from_others(floor));
}

void
vm_pageq_free(struct vm_page *m)
{
	unsigned id = curcpu->id;		/* or where we just were */
	struct free_place *own = &caches[id];
	bool wake = false;

	spin_lock(&own->lock);
	m->wire_count = 0;
	/* The cache first: who searches the depot by vm_page must never take this for one of the depot's. */
	__atomic_store_n(&m->cache, (uint8_t)(id + 1), __ATOMIC_RELEASE);
	if (vm_pageq_move(m, NULL, PQ_FREE, &own->list[UNKNOWN]))
		__atomic_fetch_add(&free_total, 1, __ATOMIC_SEQ_CST);
	if (own->list[UNKNOWN].count > CACHE_MAX) {
		spin_lock(&depot.lock);
		carry(own, &depot, UNKNOWN, BATCH);
		spin_unlock(&depot.lock);
	}
	spin_unlock(&own->lock);
	/* Either we see him who waits, or he sees our page. */
	if (likely(!__atomic_load_n(&free_waiters, __ATOMIC_SEQ_CST)) || vm_free_count() <= vm_ladder.min)
		return;
	spin_lock(&depot.lock);
	wake = free_waiters;
	free_waiters = false;
	spin_unlock(&depot.lock);
	if (wake)
		wakeup(&free_waiters);
}

void
vm_wait(void)
{
	assert_can_sleep("vm_wait");
	VM_PATH("vm_wait");
	vm_pageout_wakeup();
	spin_lock(&depot.lock);
	__atomic_store_n(&free_waiters, true, __ATOMIC_SEQ_CST);
	/*
	 * The time-out lets callers notice that reclaim makes no progress; they count their
	 * retries.
	 */
	if (vm_free_count() <= vm_ladder.min)
		tsleep(&free_waiters, &depot.lock.lk, "vmwait", 10);
	spin_unlock(&depot.lock);
}

/* ---- runs of pages ---- */

void
vm_freelist_drain(void)
{
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		spin_lock(&caches[i].lock);
		spin_lock(&depot.lock);
		for (int kind = 0; kind < KINDS; kind++)
			carry(&caches[i], &depot, kind, UINT32_MAX);
		spin_unlock(&depot.lock);
		spin_unlock(&caches[i].lock);
	}
}

/* The first run of pages that are all in the depot, or NULL.  => depot locked */
static struct vm_page *
find_run(size_t npages)
{
	size_t run = 0;

	for (uint32_t i = 0; i < vm_page_count; i++) {
		struct vm_page *m = &vm_page_array[i];
		uint8_t queue = __atomic_load_n(&m->queue, __ATOMIC_ACQUIRE);

		if ((queue != PQ_FREE && queue != PQ_ZERO) || m->cache != 0)
			run = 0;
		else if (run > 0 && m->pfn != m[-1].pfn + 1)
			run = 1;
		else
			run++;
		if (run == npages)
			return (m - (npages - 1));
	}
	return (NULL);
}

struct vm_page *
vm_pageq_take_contig(size_t npages, uint32_t floor)
{
	struct vm_page *found;

	if (npages > vm_page_count)
		return (NULL);
	vm_freelist_drain();
	spin_lock(&depot.lock);
	found = find_run(npages);
	if (found != NULL && !claim((uint32_t)npages, floor))
		found = NULL;
	for (size_t i = 0; found != NULL && i < npages; i++) {
		(void)vm_pageq_move(&found[i], vm_freelist_of(&found[i]), PQ_NONE, NULL);
		found[i].wire_count = 1;
	}
	spin_unlock(&depot.lock);
	return (found);
}

/* ---- zeroing ---- */

void
vm_page_zero_hold(bool hold)
{
	spin_lock(&depot.lock);
	KASSERT(hold || zero_held > 0, "zeroing let go, but nobody holds it");
	zero_held += hold ? 1 : -1;
	spin_unlock(&depot.lock);
	/* Who has begun has his own lock until he is done. */
	for (unsigned i = 0; hold && i < MAX_CPUS; i++) {
		spin_lock(&caches[i].lock);
		spin_unlock(&caches[i].lock);
	}
}

/* Zero the depot's oldest page, if there are twice as many of them as are zeroed. */
static bool
zero_one(bool idle)
{
	struct free_place *own = &caches[curcpu->id];
	struct pageq *unknown = &depot.list[UNKNOWN], *zeroed = &depot.list[ZEROED];
	struct vm_page *m = NULL;

	if (zeroed->count >= unknown->count / 2)
		return (false);
	spin_lock(&own->lock);
	spin_lock(&depot.lock);
	if (!(idle && zero_held > 0) && unknown->count > 0 && zeroed->count < unknown->count / 2) {
		m = &vm_page_array[unknown->head];
		(void)vm_pageq_move(m, unknown, PQ_NONE, NULL);
	}
	spin_unlock(&depot.lock);
	if (m != NULL) {
		pmap_zero_page(m);
		spin_lock(&depot.lock);
		(void)vm_pageq_move(m, NULL, PQ_ZERO, zeroed);
		spin_unlock(&depot.lock);
	}
	spin_unlock(&own->lock);
	return (m != NULL);
}

bool
vm_page_zero_idle(void)
{
	return (zero_one(true));
}

bool
vm_page_zero_now(void)
{
	return (zero_one(false));
}

/* ---- the audit ---- */

static uint32_t
check_place(struct free_place *place)
{
	uint32_t n;

	spin_lock(&place->lock);
	vm_pageq_check_list(&place->list[UNKNOWN], PQ_FREE);
	vm_pageq_check_list(&place->list[ZEROED], PQ_ZERO);
	n = place->list[UNKNOWN].count + place->list[ZEROED].count;
	spin_unlock(&place->lock);
	return (n);
}

/* => nobody else runs */
void
vm_freelist_check(void)
{
	uint32_t n = check_place(&depot);

	for (unsigned i = 0; i < MAX_CPUS; i++)
		n += check_place(&caches[i]);
	if (n != vm_free_count())
		vm_check_violation("%u pages are on the free lists, %u are counted as free (P1)", n, vm_free_count());
}
