/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The torture mode: every page is evicted as soon as it can be.
 *
 * The word `torture` on the command line makes each served fault evict
 *
 *	- the page that was faulted in KEEP faults earlier, wherever it is and whoever uses it;
 *	- the oldest few of the inactive pages, such as neighbours that were read along.
 *
 *	faults   ... [k-33][k-32] [k-31] ... [k-1][k]
 *	               evicted          kept
 *
 * What is dirty and anonymous is swapped out on the spot if there is a swap disk; a file's dirty
 * page goes to the laundry.  Wired and busy pages stay.  So whatever assumes that a page that was
 * there a moment ago is still there breaks in the first test, not under load in a year.
 *
 * Why not evict everything: one instruction may need half a dozen pages (code, two operands, each
 * across a boundary), and all of them must be there at once; and several threads share the ring.
 *
 * The ring holds page numbers.  A page may have become another's meanwhile: then that one loses it,
 * which is just as good.
 */
#include "vm/vm_torture.h"

#include "kernel/cmdline.h"
#include "vm/pmap.h"
#include "vm/vm_map.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"

#define KEEP		32
#define NEIGHBOURS	4

bool vm_torture;

static struct spinlock torture_lock = SPINLOCK_INITIALIZER("torture", RANK_NONE);
static uint32_t ring[KEEP];		/* torture_lock: page numbers + 1 */
static uint32_t ring_at;		/* torture_lock */

void
vm_torture_init(void)
{
	vm_torture = cmdline_has("torture");
}

/* Was it faulted in by one of the last KEEP faults?  => torture_lock. */
static bool
kept(const struct vm_page *m)
{
	uint32_t number = (uint32_t)(m - vm_page_array) + 1;

	for (int i = 0; i < KEEP; i++)
		if (ring[i] == number)
			return (true);
	return (false);
}

/*
 * The oldest inactive page that no recent fault is about; NULL: none among the first few.  Without
 * that condition the instruction that has just faulted would find its page gone, for ever, when
 * hardly anything else is inactive.
 */
static struct vm_page *
oldest_neighbour(void)
{
	struct vm_page *m;
	int seen = 0;

	spin_lock(&torture_lock);
	vm_pageq_lock();
	m = vm_pageq_first(PQ_INACTIVE);
	while (m != NULL && kept(m))
		m = ++seen <= KEEP ? vm_pageq_next(m) : NULL;
	vm_pageq_unlock();
	spin_unlock(&torture_lock);
	return (m);
}

static void
evict_neighbours(void)
{
	for (int i = 0; i < NEIGHBOURS; i++) {
		struct vm_page *m = oldest_neighbour();

		if (m == NULL)
			return;
		vm_pageout_evict(m);
	}
}

void
vm_torture_after_fault(struct vm_map *map, vm_offset_t addr)
{
	vm_paddr_t pa = pmap_extract(map->pmap, trunc_page(addr));
	struct vm_page *m = pa != 0 ? PHYS_TO_VM_PAGE(pa) : NULL;
	uint32_t old;

	if (m == NULL)
		return;
	spin_lock(&torture_lock);
	old = ring[ring_at];
	ring[ring_at] = (uint32_t)(m - vm_page_array) + 1;
	ring_at = (ring_at + 1) % KEEP;
	if (old != 0 && kept(&vm_page_array[old - 1]))
		old = 0;		/* faulted in again since */
	spin_unlock(&torture_lock);
	if (old != 0)
		vm_pageout_evict(&vm_page_array[old - 1]);
	evict_neighbours();
}
