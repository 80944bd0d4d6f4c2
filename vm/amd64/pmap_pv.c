/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a page to its mappings: pv entries, and everything that is done to all mappings of one page.
 *
 *	vm_page.pv --> pv {pmap A, va} --> pv {pmap B, va} --> NULL
 *
 * The list is guarded by the page's pv lock, one of an array chosen by page number.  The lock order
 * is pmap, then pv: that is how mappings are made and removed by address.  The functions here start
 * at the page, so they hold the pv lock first and may only *try* the pmap's; when that fails they
 * drop the pv lock and begin anew, for the pmap may vanish as soon as nothing holds its pv entry in
 * place.
 *
 *	          takes             then             on failure
 *	by va     pmap lock         pv lock          waits
 *	by page   pv lock           try pmap lock    drops both, begins anew
 *
 * While somebody holds the pv lock of a page, the tables that lead to the entry of each pv entry
 * stay, because a table is freed only when it is empty, and an entry is taken out of the list under
 * that lock.  So looking, without changing, needs the pv lock only.
 *
 * PG_MAPPED and PG_WRITEABLE let the common cases return without any lock: a page that was never
 * mapped writable cannot be modified through a mapping.  PG_WRITEABLE may be set too long (until
 * write access goes from the whole page), never too short.
 *
 * Memory: pv entries come from a slab cache through a few spare ones in each pmap, so that a fault
 * seldom takes another lock.  They are never allocated with M_WAITOK: the pmap's spin lock is held.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/malloc.h"
#include "vm/amd64/pmap_priv.h"

#define PV_LOCKS	512		/* a power of two */
#define PV_LOCK_PAGES	16		/* neighbours with one lock: a file's pages mostly lie together */
#define PV_BATCH	16		/* entries fetched or given back at once */
#define TS_REFERENCED_MAX 5		/* mappings that one pmap_ts_referenced() looks at */

static struct kmem_cache *pv_cache;
static struct spinlock pv_locks[PV_LOCKS];

void
pmap_init(void)
{
	for (int i = 0; i < PV_LOCKS; i++)
		spin_init(&pv_locks[i], "pv", RANK_PV);
	pv_cache = kmem_cache_create("pv entry", sizeof(struct pv_entry), sizeof(void *));
}

static inline struct spinlock *
pv_lock(const struct vm_page *m)
{
	return (&pv_locks[m->pfn / PV_LOCK_PAGES % PV_LOCKS]);
}

/* ---- pv entries ---- */

/* Are there spare ones, perhaps from the cache? */
static inline bool
pv_filled(struct pmap *pmap)
{
	if (unlikely(pmap->pv_spares == 0))
		pmap->pv_spares = (uint32_t)kmem_cache_alloc_bulk(pv_cache, pmap->pv_spare, PV_BATCH);
	return (pmap->pv_spares > 0);
}

static void
pv_give_back(struct pmap *pmap, uint32_t n)
{
	pmap->pv_spares -= n;
	kmem_cache_free_bulk(pv_cache, &pmap->pv_spare[pmap->pv_spares], n);
}

static inline void
pv_put(struct pmap *pmap, struct pv_entry *pv)
{
	CPU_COUNT(offsetof(struct cpu, pv_inuse), -1);
	if (unlikely(pmap->pv_spares == PV_SPARE_MAX))
		pv_give_back(pmap, PV_BATCH);
	pmap->pv_spare[pmap->pv_spares++] = pv;
}

void
pv_free_spares(struct pmap *pmap)
{
	pv_give_back(pmap, pmap->pv_spares);
}

uint64_t
pmap_pv_count(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MAX_CPUS; i++)
		sum += *(volatile uint64_t *)&cpus[i].pv_inuse;
	return (sum);
}

/* ---- a page's list ---- */

static inline void
flag_set_once(struct vm_page *m, uint8_t flags)
{
	if ((m->flags & flags) != flags)
		vm_page_flag_set(m, flags);
}

/* A new mapping.  => pv lock held, and there are spare entries */
static inline void
pv_link(struct pmap *pmap, vm_offset_t va, struct vm_page *m, pt_entry_t *pte, pt_entry_t bits)
{
	struct pv_entry *pv = pmap->pv_spare[--pmap->pv_spares];

	KASSERT(m->valid == VM_PAGE_BITS_ALL, "mapping page %u, not wholly valid (P6)", m->pfn);
	*pv = (struct pv_entry){ .next = m->pv, .pmap = pmap, .va = va };
	m->pv = pv;
	flag_set_once(m, bits & PG_RW ? PG_MAPPED | PG_WRITEABLE : PG_MAPPED);
	*pte = VM_PAGE_TO_PHYS(m) | bits;
}

bool
pv_enter(struct pmap *pmap, vm_offset_t va, struct vm_page *m, pt_entry_t *pte, pt_entry_t bits)
{
	struct spinlock *lock = pv_lock(m);

	if (!pv_filled(pmap))
		return (false);
	spin_lock(lock);
	pv_link(pmap, va, m, pte, bits);
	spin_unlock(lock);
	CPU_COUNT(offsetof(struct cpu, pv_inuse), 1);
	return (true);
}

/*
 * Have m's list locked, where the one of the page before may still be: neighbours mostly share a lock.
 * Returns the lock.
 */
static inline struct spinlock *
pv_lock_next(struct spinlock *held, const struct vm_page *m)
{
	struct spinlock *lock = pv_lock(m);

	if (lock != held) {
		if (held != NULL)
			spin_unlock(held);
		spin_lock(lock);
	}
	return (lock);
}

unsigned
pv_enter_run(struct pmap *pmap, vm_offset_t va, struct vm_page **pages, unsigned count, pt_entry_t *pte, pt_entry_t bits)
{
	struct spinlock *held = NULL;
	unsigned made = 0;

	for (unsigned i = 0; i < count; i++) {
		struct vm_page *m = pages[i];

		if (m == NULL)
			continue;
		if (pte_load(&pte[i]) != 0 || !pv_filled(pmap)) {
			pages[i] = NULL;
			continue;
		}
		held = pv_lock_next(held, m);
		pv_link(pmap, va + ((vm_offset_t)i << PAGE_SHIFT), m, &pte[i], bits);
		made++;
	}
	if (held != NULL)
		spin_unlock(held);
	CPU_COUNT(offsetof(struct cpu, pv_inuse), made);
	return (made);
}

void
pv_note_writable(struct vm_page *m)
{
	struct spinlock *lock = pv_lock(m);

	spin_lock(lock);
	flag_set_once(m, PG_WRITEABLE);
	spin_unlock(lock);
}

void
pmap_fold_bits(struct vm_page *m, pt_entry_t pte)
{
	if ((pte & PG_M) && PEEK(m->dirty) != VM_PAGE_BITS_ALL)
		vm_page_dirty(m);
	if (pte & PG_A)
		flag_set_once(m, PG_REFERENCED);
}

/* Unlink *link from m's list.  => pv lock held. */
static struct pv_entry *
pv_unlink(struct vm_page *m, struct pv_entry **link, pt_entry_t old)
{
	struct pv_entry *pv = *link;

	pmap_fold_bits(m, old);
	*link = pv->next;
	if (m->pv == NULL)
		vm_page_flag_clear(m, PG_MAPPED | PG_WRITEABLE);
	return (pv);
}

/* Where m's list says that the pmap maps it at va.  => pv lock held */
static inline struct pv_entry **
pv_find(struct pmap *pmap, vm_offset_t va, struct vm_page *m)
{
	struct pv_entry **link, *pv;

	for (link = &m->pv; (pv = *link) != NULL; link = &pv->next)
		if (pv->va == va && pv->pmap == pmap)
			break;
	KASSERT(pv != NULL, "page %u is mapped at 0x%lx, but no pv entry says so", m->pfn, va);
	return (link);
}

void
pv_remove_run(struct pmap *pmap, const vm_offset_t *va, const pt_entry_t *old, unsigned count)
{
	struct spinlock *held = NULL;

	for (unsigned i = 0; i < count; i++) {
		struct vm_page *m = PHYS_TO_VM_PAGE(old[i] & PG_FRAME);

		held = pv_lock_next(held, m);
		pv_put(pmap, pv_unlink(m, pv_find(pmap, va[i], m), old[i]));
	}
	if (held != NULL)
		spin_unlock(held);
}

/* ---- all mappings of a page ---- */

/*
 * The entry that a pv entry stands for.  => pv lock held.
 *    Without the pmap's lock the entry may already be zero: its remover has yet to take the pv
 *    entry out.
 */
static pt_entry_t *
pv_pte(const struct pv_entry *pv)
{
	pt_entry_t *pte = pmap_pte(pv->pmap, pv->va);

	KASSERT(pte != NULL, "a pv entry for 0x%lx, but no page table", pv->va);
	return (pte);
}

/* A mapping of m, with both locks held. */
static pt_entry_t *
pv_pte_locked(const struct vm_page *m, const struct pv_entry *pv)
{
	pt_entry_t *pte = pv_pte(pv);

	KASSERT((pte_load(pte) & (PG_FRAME | PG_V)) == (VM_PAGE_TO_PHYS(m) | PG_V),
	    "pv entry says page %u at 0x%lx, the page table says 0x%lx", m->pfn, pv->va, pte_load(pte));
	return (pte);
}

typedef bool (*mapping_fn)(struct vm_page *m, struct pv_entry *pv, pt_entry_t *pte, void *arg);

/*
 * One pass over the list: do fn to each mapping, under both locks, until fn returns false.
 *
 * => false: a pmap could not be locked; the pv lock was dropped, some mappings were visited.
 */
static bool
visit_mappings(struct vm_page *m, mapping_fn fn, void *arg)
{
	struct spinlock *lock = pv_lock(m);
	struct pv_entry *pv;
	bool more = true;

	spin_lock(lock);
	for (pv = m->pv; pv != NULL && more; pv = pv->next) {
		struct pmap *pmap = pv->pmap;

		if (!spin_trylock(&pmap->lock)) {
			spin_unlock(lock);
			return (false);
		}
		more = fn(m, pv, pv_pte_locked(m, pv), arg);
		spin_unlock(&pmap->lock);
	}
	spin_unlock(lock);
	return (true);
}

/* => fn must be harmless when done twice to one mapping. */
static void
for_each_mapping(struct vm_page *m, mapping_fn fn, void *arg)
{
	while (!visit_mappings(m, fn, arg))
		cpu_spinwait();
}

/* Take out the first mapping of m.  => pv lock held; false: its pmap could not be locked. */
static bool
remove_first(struct vm_page *m, struct doomed *doomed)
{
	struct pmap *pmap = m->pv->pmap;
	vm_offset_t va = m->pv->va;
	pt_entry_t *pde, old;

	if (!spin_trylock(&pmap->lock))
		return (false);
	old = pte_swap(pv_pte_locked(m, m->pv), 0);
	pde = pmap_pde(pmap, va);
	pde_count_out(pmap, pde);
	pmap_invalidate_page(pmap, va);
	pmap->resident_count--;
	pmap->wired_count -= (old & PG_W) != 0;
	pv_put(pmap, pv_unlink(m, &m->pv, old));
	if (pmap_wants_trim(pmap))
		pmap_trim(pmap, doomed);
	spin_unlock(&pmap->lock);
	return (true);
}

void
pmap_remove_all(struct vm_page *m)
{
	struct spinlock *lock = pv_lock(m);
	struct doomed doomed = { 0 };

	if (!(m->flags & PG_MAPPED))
		return;
	spin_lock(lock);
	while (m->pv != NULL) {
		if (remove_first(m, &doomed))
			continue;
		spin_unlock(lock);
		cpu_spinwait();
		spin_lock(lock);
		/* re-check: the list, from its head; the pmap we wanted may be gone. */
	}
	spin_unlock(lock);
	pmap_free_doomed(&doomed);
}

static bool
make_readonly(struct vm_page *m, struct pv_entry *pv, pt_entry_t *pte, void *arg)
{
	pt_entry_t old;

	if (pte_load(pte) & (PG_RW | PG_M)) {
		old = pte_clear_bits(pte, PG_RW | PG_M);
		pmap_invalidate_page(pv->pmap, pv->va);
		pmap_fold_bits(m, old & PG_M);
	}
	return (true);
}

void
pmap_page_protect(struct vm_page *m, vm_prot_t prot)
{
	if (!(prot & VM_PROT_READ)) {
		pmap_remove_all(m);
	} else if (!(prot & VM_PROT_WRITE) && (m->flags & PG_WRITEABLE)) {
		/* First the flag: who makes a mapping writable meanwhile sets it again. */
		vm_page_flag_clear(m, PG_WRITEABLE);
		for_each_mapping(m, make_readonly, NULL);
	}
}

static bool
forget_modified(struct vm_page *m, struct pv_entry *pv, pt_entry_t *pte, void *arg)
{
	if (pte_load(pte) & PG_M) {
		pte_clear_bits(pte, PG_M);
		pmap_invalidate_page(pv->pmap, pv->va);
	}
	return (true);
}

void
pmap_clear_modify(struct vm_page *m)
{
	if (m->flags & PG_WRITEABLE)
		for_each_mapping(m, forget_modified, NULL);
}

/* Does any mapping have that bit?  Only looks: see the top of the file. */
static bool
any_mapping_has(struct vm_page *m, pt_entry_t bit)
{
	struct spinlock *lock = pv_lock(m);
	struct pv_entry *pv;

	spin_lock(lock);
	for (pv = m->pv; pv != NULL; pv = pv->next)
		if (pte_load(pv_pte(pv)) & bit)
			break;
	spin_unlock(lock);
	return (pv != NULL);
}

bool
pmap_is_modified(struct vm_page *m)
{
	return ((m->flags & PG_WRITEABLE) != 0 && any_mapping_has(m, PG_M));
}

bool
pmap_is_referenced(struct vm_page *m)
{
	if (m->flags & PG_REFERENCED)
		return (true);
	return ((m->flags & PG_MAPPED) != 0 && any_mapping_has(m, PG_A));
}

struct ts_count {
	int	looked, referenced;
};

static bool
count_and_clear_referenced(struct vm_page *m, struct pv_entry *pv, pt_entry_t *pte, void *arg)
{
	struct ts_count *count = arg;

	if (pte_load(pte) & PG_A) {
		pte_clear_bits(pte, PG_A);
		pmap_invalidate_page(pv->pmap, pv->va);
		count->referenced++;
	}
	return (++count->looked < TS_REFERENCED_MAX);
}

/* Move the first `n` entries to the end of the list, so that the next scan looks at others. */
static void
rotate(struct vm_page *m, int n)
{
	struct spinlock *lock = pv_lock(m);
	struct pv_entry *first, *last, *end;

	spin_lock(lock);
	first = last = m->pv;
	while (last != NULL && --n > 0)
		last = last->next;
	if (last != NULL && last->next != NULL) {
		for (end = last; end->next != NULL; end = end->next)
			continue;
		m->pv = last->next;
		last->next = NULL;
		end->next = first;
	}
	spin_unlock(lock);
}

int
pmap_ts_referenced(struct vm_page *m)
{
	struct ts_count count = { 0, 0 };

	if (!(m->flags & PG_MAPPED))
		return (0);
	for_each_mapping(m, count_and_clear_referenced, &count);
	if (count.looked >= TS_REFERENCED_MAX)
		rotate(m, TS_REFERENCED_MAX);
	return (count.referenced);
}

bool
pmap_page_is_mapped(struct vm_page *m)
{
	return (m->pv != NULL);
}

int
pmap_page_mapping_count(struct vm_page *m)
{
	struct spinlock *lock = pv_lock(m);
	int count = 0;

	spin_lock(lock);
	for (const struct pv_entry *pv = m->pv; pv != NULL; pv = pv->next)
		count++;
	spin_unlock(lock);
	return (count);
}
