/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pmap: page tables of address spaces.
 *
 * A pmap is a four-level tree of table pages.  Its upper half (slots 256 to 511 of the root) is the
 * same in all pmaps: three entries, copied at birth, which never change (pmap_kern.c).  The lower
 * half is what this file builds:
 *
 *	PML4 ---> PDPT ---> PD ---> PT ---> page m,  and back: m->pv ---> {pmap, va}
 *	        entry: count of     pte: hardware bits, PG_W (wired)
 *	        the table's entries
 *
 * Every entry that points to a table counts, in bits that the processor ignores, how many entries
 * of that table are in use.  So "is this table empty?" needs neither a scan nor the table's
 * vm_page.  An empty table is kept for a while, since what unmaps a page often maps another one
 * there; when too many have gathered (pmap_wants_trim), all are freed.  The table pages of a pmap are
 * in a chain, the youngest first, so each one before the one that points to it: one pass along the
 * chain frees what is empty, and what becomes empty by that.
 *
 * A mapping goes in this order, which no processor can see through:
 *	1. the entry is swapped for zero	2. all CPUs forget the translation
 *	3. its modified and referenced bits go into the page, its pv entry leaves the page's list
 * Only after step 3 can somebody who looks at the page think it unmapped.  pmap_remove() gathers
 * entries between 1 and 3 in a batch, so that other CPUs are interrupted once for many pages.
 *
 * An entry may keep PG_M after it lost PG_RW (pmap_protect); the page's PG_WRITEABLE stays set
 * then, and whoever wants to know finds the bit.
 *
 * Lock order: pmap, then pv, then slab and free list.  Nothing here sleeps.  Long ranges are worked
 * on one table at a time, the lock dropped in between, because spin locks keep interrupts off.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "vm/amd64/pmap_priv.h"
#include "vm/vm_map.h"

#define USER_TABLE	(PG_V | PG_RW | PG_U | PG_A) /* bits of an entry that points to a table */
#define RETIRE_MAX	32				/* entries between steps 1 and 3 */

/* ---- tables ---- */

struct vm_page *
pmap_alloc_table(void)
{
	struct vm_page *m = vm_page_alloc(NULL, 0, VM_ALLOC_ZERO | VM_ALLOC_WIRED);

	if (m != NULL && !(m->flags & PG_ZERO))
		pmap_zero_page(m);
	return (m);
}

void
pmap_free_doomed(struct doomed *doomed)
{
	while (doomed->first != 0) {
		struct vm_page *m = PHYS_TO_VM_PAGE((vm_paddr_t)doomed->first << PAGE_SHIFT);

		doomed->first = m->d_next;
		vm_page_free(m);
	}
}

/* The entry that points to a table page; *up: the one that points to the table of that entry, or NULL. */
static pt_entry_t *
entry_of_table(struct pmap *pmap, const struct vm_page *m, pt_entry_t **up)
{
	vm_offset_t va = trunc_page(m->pindex);
	pt_entry_t *entry = &pmap->pml4[PT_INDEX(va, 4)];

	*up = NULL;
	for (int level = 4; level > (int)(m->pindex & PAGE_MASK); level--) {
		*up = entry;
		entry = &PT_TABLE(*entry)[PT_INDEX(va, level - 1)];
	}
	return (entry);
}

void
pmap_trim(struct pmap *pmap, struct doomed *doomed)
{
	uint32_t *link = &pmap->tables;

	while (*link != 0) {
		struct vm_page *m = PHYS_TO_VM_PAGE((vm_paddr_t)*link << PAGE_SHIFT);
		pt_entry_t *up, *entry = entry_of_table(pmap, m, &up);

		if (PTP_COUNT(*entry) > 0) {
			link = &m->d_next;
			continue;
		}
		*entry = 0;
		if (up != NULL)
			*up -= PTP_ONE;
		*link = m->d_next;
		m->d_next = doomed->first;
		doomed->first = m->pfn;
		pmap->ptp_count--;
	}
	pmap->empty_ptps = 0;
	pmap_invalidate_all(pmap);
}

/*
 * Make the tables that lead to va.  => pmap locked.
 *    Returns the entry that points to its page table, or NULL when memory is short; what was
 *    made so far stays.
 */
static __attribute__((noinline)) pt_entry_t *
make_tables(struct pmap *pmap, vm_offset_t va)
{
	pt_entry_t *up = NULL, *entry = &pmap->pml4[PT_INDEX(va, 4)];

	for (int level = 4; ; level--) {
		if (!(*entry & PG_V)) {
			struct vm_page *m = pmap_alloc_table();

			if (m == NULL)
				return (NULL);
			*entry = VM_PAGE_TO_PHYS(m) | USER_TABLE;
			if (up != NULL)
				*up += PTP_ONE;
			m->pindex = trunc_page(va) | (vm_offset_t)level;
			m->d_next = pmap->tables;
			pmap->tables = m->pfn;
			pmap->ptp_count++;
			pmap->empty_ptps += level == 2;
		}
		if (level == 2)
			return (entry);
		up = entry;
		entry = &PT_TABLE(*entry)[PT_INDEX(va, level - 1)];
	}
}

/*
 * The first page table at or above *va that has entries: its directory entry; *va moves up to what
 * it spans. NULL: none below `end`.
 */
static pt_entry_t *
next_table(struct pmap *pmap, vm_offset_t *va, vm_offset_t end)
{
	while (*va < end) {
		pt_entry_t *pde, e = pmap->pml4[PT_INDEX(*va, 4)];

		if (PTP_COUNT(e) == 0) {
			*va = NEXT_ENTRY(*va, 4);
			continue;
		}
		e = PT_TABLE(e)[PT_INDEX(*va, 3)];
		if (PTP_COUNT(e) == 0) {
			*va = NEXT_ENTRY(*va, 3);
			continue;
		}
		pde = &PT_TABLE(e)[PT_INDEX(*va, 2)];
		if (PTP_COUNT(*pde) > 0)
			return (pde);
		*va = NEXT_ENTRY(*va, 2);
	}
	return (NULL);
}

/* ---- life of a pmap ---- */

int
pmap_pinit(struct pmap *pmap)
{
	struct vm_page *m = pmap_alloc_table();

	if (m == NULL)
		return (ENOMEM);
	memset(pmap, 0, sizeof(*pmap));
	spin_init(&pmap->lock, "pmap", RANK_PMAP);
	pmap->pml4_pa = VM_PAGE_TO_PHYS(m);
	pmap->pml4 = VM_PAGE_TO_DMAP(m);
	pmap->ptp_count = 1;
	memcpy(&pmap->pml4[PT_ENTRIES / 2], &kernel_pmap.pml4[PT_ENTRIES / 2], PAGE_SIZE / 2);
	return (0);
}

void
pmap_release(struct pmap *pmap)
{
	struct doomed doomed = { 0 };

	KASSERT(pmap->resident_count == 0, "releasing a pmap that maps %lu pages",
	    pmap->resident_count);
	KASSERT(pmap->active == 0, "releasing a pmap that CPUs %x have loaded", pmap->active);
	spin_lock(&pmap->lock);
	pmap_trim(pmap, &doomed);
	pv_free_spares(pmap);
	spin_unlock(&pmap->lock);
	pmap_free_doomed(&doomed);
	KASSERT(pmap->ptp_count == 1, "released pmap still has %lu table pages",
	    pmap->ptp_count - 1);
	vm_page_free(PHYS_TO_VM_PAGE(pmap->pml4_pa));
	pmap->pml4 = NULL;
}

/*
 * The mask says who must be told of changes: our bit is set before the tables can be read, and
 * cleared after loading others has made this CPU forget.
 */
void
pmap_activate(struct pmap *pmap)
{
	struct pmap *old = curcpu->pmap;
	uint32_t self = 1u << curcpu->id;

	if (old == pmap)
		return;
	__atomic_fetch_or(&pmap->active, self, __ATOMIC_ACQ_REL);
	curcpu->pmap = pmap;
	write_cr3(pmap->pml4_pa);
	if (old != NULL)
		__atomic_fetch_and(&old->active, ~self, __ATOMIC_ACQ_REL);
}

void
pmap_switch(struct vmspace *vm)
{
	pmap_activate(vm == NULL ? &kernel_pmap : &vm->pmap);
}

/* ---- entering ---- */

/* An entry, but for the page's address. */
static inline pt_entry_t
prot_bits(vm_prot_t prot)
{
	pt_entry_t bits = PG_V | PG_U;

	if (prot & VM_PROT_WRITE)
		bits |= PG_RW;
	if (!(prot & VM_PROT_EXECUTE))
		bits |= PG_NX;
	return (bits);
}

/* The same page again, perhaps with other rights.  Modified and referenced stay. */
static void
enter_same(struct pmap *pmap, vm_offset_t va, struct vm_page *m, pt_entry_t *pte, pt_entry_t bits)
{
	pt_entry_t new = VM_PAGE_TO_PHYS(m) | bits, old = pte_load(pte);

	if ((new | (old & (PG_A | PG_M))) == old)
		return;		/* nothing to forget: who holds a page for I/O often finds it so */
	while (!__atomic_compare_exchange_n(pte, &old, new | (old & (PG_A | PG_M)), false,
	    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		continue;
	if ((new & PG_RW) && !(m->flags & PG_WRITEABLE))
		pv_note_writable(m);
	pmap_invalidate_page(pmap, va);
}

/*
 * Another page was there: its mapping goes by the three steps, and its pv entry serves the new one.
 */
static void
enter_replace(struct pmap *pmap, vm_offset_t va, struct vm_page *m, pt_entry_t *pte, pt_entry_t bits)
{
	pt_entry_t old = pte_swap(pte, 0);

	pmap_invalidate_page(pmap, va);
	pv_remove_run(pmap, &va, &old, 1);
	(void)pv_enter(pmap, va, m, pte, bits);
}

int
pmap_enter(struct pmap *pmap, vm_offset_t va, struct vm_page *m, vm_prot_t prot, vm_prot_t access,
    int flags)
{
	pt_entry_t *pde, *pte, old, bits = prot_bits(prot);
	int kr = KERN_SUCCESS;

	KASSERT(va < VM_USER_MAX && (va & PAGE_MASK) == 0, "pmap_enter at 0x%lx: no user page", va);
	/* This processor cannot map for writing or execution without reading. */
	KASSERT(prot != VM_PROT_NONE && !(access & ~(prot | VM_PROT_READ)),
	    "pmap_enter: access %x of a page entered for %x", access, prot);
	KASSERT(m->valid == VM_PAGE_BITS_ALL,
	    "mapping page %u, of which only sectors %02x are valid (P6)", m->pfn, m->valid);
	if (access != VM_PROT_NONE)
		bits |= PG_A;
	if (access & VM_PROT_WRITE)
		bits |= PG_M;
	if (flags & PMAP_WIRED)
		bits |= PG_W;

	spin_lock(&pmap->lock);
	pde = pmap_pde(pmap, va);
	if (unlikely(pde == NULL || !(*pde & PG_V))) {
		pde = make_tables(pmap, va);
		if (pde == NULL) {
			spin_unlock(&pmap->lock);
			return (KERN_RESOURCE_SHORTAGE);
		}
	}
	pte = &PT_TABLE(*pde)[PT_INDEX(va, 1)];
	old = pte_load(pte);
	if (likely(old == 0)) {
		if (likely(pv_enter(pmap, va, m, pte, bits)))
			pde_count_in(pmap, pde, 1);
		else
			kr = KERN_RESOURCE_SHORTAGE;
	} else if ((old & PG_FRAME) == VM_PAGE_TO_PHYS(m)) {
		enter_same(pmap, va, m, pte, bits);
	} else {
		enter_replace(pmap, va, m, pte, bits);
	}
	if (unlikely((old ^ bits) & PG_W) && kr == KERN_SUCCESS)
		pmap->wired_count += bits & PG_W ? 1 : -1;
	spin_unlock(&pmap->lock);
	return (kr);
}

unsigned
pmap_enter_run(struct pmap *pmap, vm_offset_t va, struct vm_page **m, unsigned count, vm_prot_t prot)
{
	pt_entry_t bits = prot_bits(prot & ~VM_PROT_WRITE);
	unsigned entered = 0, made, n;

	spin_lock(&pmap->lock);
	for (; count > 0; count -= n, m += n, va += IDX_TO_OFF(n)) {
		pt_entry_t *pde = pmap_pde(pmap, va);

		n = MIN(count, PT_ENTRIES - (unsigned)PT_INDEX(va, 1));
		if (pde == NULL || !(*pde & PG_V)) {
			memset(m, 0, n * sizeof(*m));
			continue;
		}
		made = pv_enter_run(pmap, va, m, n, &PT_TABLE(*pde)[PT_INDEX(va, 1)], bits);
		if (made > 0)
			pde_count_in(pmap, pde, made);
		entered += made;
	}
	spin_unlock(&pmap->lock);
	return (entered);
}

bool
pmap_enter_quick(struct pmap *pmap, vm_offset_t va, struct vm_page *m, vm_prot_t prot)
{
	return (pmap_enter_run(pmap, va, &m, 1, prot) == 1);
}

/* ---- removing and restricting ---- */

/* Entries that were swapped for zero (step 1), in address order, waiting for steps 2 and 3. */
struct retired {
	unsigned	n;
	vm_offset_t	va[RETIRE_MAX];
	pt_entry_t	pte[RETIRE_MAX];
};

static void
retire(struct pmap *pmap, struct retired *r)
{
	if (r->n == 0)
		return;
	pmap_invalidate_range(pmap, r->va[0], r->va[r->n - 1] + PAGE_SIZE);
	pv_remove_run(pmap, r->va, r->pte, r->n);
	for (unsigned i = 0; i < r->n; i++)
		pmap->wired_count -= (r->pte[i] & PG_W) != 0;
	pmap->resident_count -= r->n;
	r->n = 0;
}

/* Remove [va, stop), which lies in one table, of which some entry is in use. */
static void
remove_in_table(struct pmap *pmap, pt_entry_t *pde, vm_offset_t va, vm_offset_t stop)
{
	pt_entry_t *pte = &PT_TABLE(*pde)[PT_INDEX(va, 1)];
	struct retired r;

	r.n = 0;
	for (; va < stop; va += PAGE_SIZE, pte++) {
		if (pte_load(pte) == 0)
			continue;
		r.va[r.n] = va;
		r.pte[r.n++] = pte_swap(pte, 0);
		pde_count_out(pmap, pde);
		if (PTP_COUNT(*pde) == 0)
			break;
		if (r.n == RETIRE_MAX)
			retire(pmap, &r);
	}
	retire(pmap, &r);
}

void
pmap_remove(struct pmap *pmap, vm_offset_t start, vm_offset_t end)
{
	struct doomed doomed = { 0 };
	vm_offset_t va = start, stop;
	pt_entry_t *pde;

	KASSERT(end <= VM_USER_MAX, "pmap_remove up to 0x%lx: not the user half", end);
	while (va < end) {
		spin_lock(&pmap->lock);
		pde = next_table(pmap, &va, end);
		stop = MIN(NEXT_ENTRY(va, 2), end);
		if (pde != NULL)
			remove_in_table(pmap, pde, va, stop);
		if (pmap_wants_trim(pmap))
			pmap_trim(pmap, &doomed);
		spin_unlock(&pmap->lock);
		va = stop;
	}
	pmap_free_doomed(&doomed);
}

/* Take `clear` from the entries of [va, stop), which lies in one table, and add `set`. */
static void
change_in_table(struct pmap *pmap, pt_entry_t *pde, vm_offset_t va, vm_offset_t stop,
    pt_entry_t clear, pt_entry_t set)
{
	pt_entry_t *pte = &PT_TABLE(*pde)[PT_INDEX(va, 1)], old;
	vm_offset_t start = va;
	bool changed = false;

	for (; va < stop; va += PAGE_SIZE, pte++) {
		old = pte_load(pte);
		if (old == 0 || ((old & clear) == 0 && (old & set) == set))
			continue;
		while (!__atomic_compare_exchange_n(pte, &old, (old & ~clear) | set, false,
		    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		pmap->wired_count -= (old & clear & PG_W) != 0;
		changed = true;
	}
	/* Only a change that the processor cares about must be forgotten. */
	if (changed && ((clear | set) & (PG_RW | PG_NX)) != 0)
		pmap_invalidate_range(pmap, start, stop);
}

static void
change_range(struct pmap *pmap, vm_offset_t start, vm_offset_t end, pt_entry_t clear,
    pt_entry_t set)
{
	vm_offset_t va = start, stop;
	pt_entry_t *pde;

	while (va < end) {
		spin_lock(&pmap->lock);
		pde = next_table(pmap, &va, end);
		stop = MIN(NEXT_ENTRY(va, 2), end);
		if (pde != NULL)
			change_in_table(pmap, pde, va, stop, clear, set);
		spin_unlock(&pmap->lock);
		va = stop;
	}
}

void
pmap_protect(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_prot_t prot)
{
	pt_entry_t clear = (prot & VM_PROT_WRITE) ? 0 : PG_RW;
	pt_entry_t set = (prot & VM_PROT_EXECUTE) ? 0 : PG_NX;

	if (prot == VM_PROT_NONE)
		pmap_remove(pmap, start, end);
	else if (clear != 0 || set != 0)
		change_range(pmap, start, end, clear, set);
}

void
pmap_unwire(struct pmap *pmap, vm_offset_t start, vm_offset_t end)
{
	change_range(pmap, start, end, PG_W, 0);
}

/* ---- looking ---- */

vm_paddr_t
pmap_extract(struct pmap *pmap, vm_offset_t va)
{
	vm_paddr_t pa = 0;
	pt_entry_t e, *pte;

	spin_lock(&pmap->lock);
	pte = pmap_pte(pmap, va);
	if (pte != NULL && ((e = pte_load(pte)) & PG_V))
		pa = (e & PG_FRAME) | (va & PAGE_MASK);
	spin_unlock(&pmap->lock);
	return (pa);
}

bool
pmap_mapped(struct pmap *pmap, vm_offset_t va, vm_prot_t *prot)
{
	pt_entry_t *pte, e;

	spin_lock(&pmap->lock);
	pte = pmap_pte(pmap, va);
	e = pte == NULL ? 0 : pte_load(pte);
	spin_unlock(&pmap->lock);
	if (!(e & PG_V))
		return (false);
	if (prot != NULL)
		*prot = VM_PROT_READ | ((e & PG_RW) ? VM_PROT_WRITE : 0) |
		    ((e & PG_NX) ? 0 : VM_PROT_EXECUTE);
	return (true);
}

void
pmap_foreach(struct pmap *pmap, void (*fn)(void *arg, vm_offset_t va, pt_entry_t pte), void *arg)
{
	vm_offset_t va = 0;
	pt_entry_t e, *pde, *table;

	spin_lock(&pmap->lock);
	while ((pde = next_table(pmap, &va, VM_USER_MAX)) != NULL) {
		table = PT_TABLE(*pde);
		va &= ~(LEVEL_SIZE(2) - 1);
		for (unsigned i = 0; i < PT_ENTRIES; i++, va += PAGE_SIZE)
			if ((e = pte_load(&table[i])) != 0)
				fn(arg, va, e);
	}
	spin_unlock(&pmap->lock);
}

pt_entry_t
pmap_walk(struct pmap *pmap, vm_offset_t va, int *level)
{
	const pt_entry_t *table = pmap->pml4;

	for (int l = 4; ; l--) {
		pt_entry_t e = table[PT_INDEX(va, l)];

		if (l == 1 || !(e & PG_V) || (l < 4 && (e & PG_PS))) {
			*level = l;
			return (e);
		}
		table = PT_TABLE(e);
	}
}
