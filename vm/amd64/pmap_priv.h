/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the pmap share: the shape of page tables, pv entries, TLB invalidation. */
#ifndef VM_AMD64_PMAP_PRIV_H
#define VM_AMD64_PMAP_PRIV_H

#include "kernel/kassert.h"
#include "vm/pmap.h"
#include "vm/vm_page.h"

/*
 * Four levels, each indexed by nine bits of the address:
 *
 *	 47      39 38      30 29      21 20      12 11        0
 *	|  level 4 |  level 3 |  level 2 |  level 1 |  offset   |
 *	  PML4        PDPT       PD         PT
 */
#define PT_ENTRIES	512u
#define LEVEL_SHIFT(l)	(PAGE_SHIFT + 9 * ((l) - 1))
#define LEVEL_SIZE(l)	(1ul << LEVEL_SHIFT(l))	/* bytes that one entry of that level spans */
#define PT_INDEX(va, l)	(((va) >> LEVEL_SHIFT(l)) & (PT_ENTRIES - 1))
/* The first address that the next entry of that level spans. */
#define NEXT_ENTRY(va, l) (((va) | (LEVEL_SIZE(l) - 1)) + 1)

#define PT_TABLE(e)	((pt_entry_t *)PHYS_TO_DMAP((e) & PG_FRAME))

/*
 * Page-table entries are shared with the processor, which sets PG_A and PG_M of a present one by itself,
 * and with whoever looks without the pmap's lock: load them by this, change them atomically.
 */
static inline pt_entry_t
pte_load(const pt_entry_t *pte)
{
	return (PEEK(*pte));
}

static inline pt_entry_t
pte_swap(pt_entry_t *pte, pt_entry_t new)
{
	return (__atomic_exchange_n(pte, new, __ATOMIC_ACQ_REL));
}

static inline pt_entry_t
pte_clear_bits(pt_entry_t *pte, pt_entry_t bits)
{
	return (__atomic_fetch_and(pte, ~bits, __ATOMIC_ACQ_REL));
}

/*
 * The entry that points to the page table of va; NULL when there is not even a directory.  The
 * entry itself may be not present.  => the pmap locked, or the kernel's half, or a pv entry for va
 * held through its page's pv lock.
 */
static inline pt_entry_t *
pmap_pde(struct pmap *pmap, vm_offset_t va)
{
	pt_entry_t e = pte_load(&pmap->pml4[PT_INDEX(va, 4)]);

	if (!(e & PG_V))
		return (NULL);
	e = pte_load(&PT_TABLE(e)[PT_INDEX(va, 3)]);
	if (!(e & PG_V))
		return (NULL);
	return (&PT_TABLE(e)[PT_INDEX(va, 2)]);
}

/* The entry of va in its page table; NULL when there is none.  => as pmap_pde(). */
static inline pt_entry_t *
pmap_pte(struct pmap *pmap, vm_offset_t va)
{
	pt_entry_t e, *pde = pmap_pde(pmap, va);

	if (pde == NULL || !((e = pte_load(pde)) & PG_V))
		return (NULL);
	return (&PT_TABLE(e)[PT_INDEX(va, 1)]);
}

/*
 * Count n > 0 new mappings into the table that *pde points to, or one entry out of it, whose mapping is
 * counted until it is forgotten.
 */
static inline void
pde_count_in(struct pmap *pmap, pt_entry_t *pde, uint64_t n)
{
	if (PTP_COUNT(*pde) == 0)
		pmap->empty_ptps--;
	*pde += n * PTP_ONE;
	pmap->resident_count += n;
}

static inline void
pde_count_out(struct pmap *pmap, pt_entry_t *pde)
{
	*pde -= PTP_ONE;
	if (PTP_COUNT(*pde) == 0)
		pmap->empty_ptps++;
}

/* pmap_tlb.c */
void pmap_invalidate_page(struct pmap *pmap, vm_offset_t va);
void pmap_invalidate_range(struct pmap *pmap, vm_offset_t start, vm_offset_t end);
/* user addresses; also what the CPU remembers of the tables */
void pmap_invalidate_all(struct pmap *pmap);

/* pmap_pv.c.  => pmap locked */
void pv_free_spares(struct pmap *pmap);
/* A new mapping: the entry, with these bits, which was 0, and a pv entry.  false: no memory */
bool pv_enter(struct pmap *pmap, vm_offset_t va, struct vm_page *m, pt_entry_t *pte, pt_entry_t bits);
/*
 * The same for several in one page table, read-only: pages[i] at va + i pages, with pte[i].  Skips what is NULL; what has an entry already or, when memory is short, gets none, becomes NULL.
 * Returns how many were made.
 */
unsigned pv_enter_run(struct pmap *pmap, vm_offset_t va, struct vm_page **pages, unsigned count, pt_entry_t *pte,
    pt_entry_t bits);
/*
 * Forget that the pmap maps the page of each former entry old[i] at va[i], and carry the entry's bits into the page.  The
 * pv entries become spare ones.
 */
void pv_remove_run(struct pmap *pmap, const vm_offset_t *va, const pt_entry_t *old, unsigned count);
/* A mapping that is there becomes writable. */
void pv_note_writable(struct vm_page *m);
/* Carry modified and referenced of an entry that is no more, or is about to lose them. */
void pmap_fold_bits(struct vm_page *m, pt_entry_t pte);

/* pmap.c */
/*
 * More empty tables than a pmap may keep?  A trim looks at all tables, so a large pmap may keep more:
 * each table that goes pays for the look at a fixed number of others.  => pmap locked
 */
static inline bool
pmap_wants_trim(const struct pmap *pmap)
{
	return (pmap->empty_ptps > 8 + pmap->ptp_count / 64);
}

/* Table pages on their way out: chained through d_next, freed when no lock is held. */
struct doomed {
	uint32_t	first;		/* page number; 0: none */
};
/* Unlink all empty tables.  => pmap locked; afterwards, without locks, pmap_free_doomed(). */
void pmap_trim(struct pmap *pmap, struct doomed *doomed);
void pmap_free_doomed(struct doomed *doomed);
struct vm_page *pmap_alloc_table(void);		/* a zeroed page, or NULL */

/* pmap_kern.c */
struct boot_mem;
bool pmap_boot_is_ram(const struct boot_mem *m);

/* pmap_shadow.c, in KASAN builds. */
struct boot_info;
#if FAULTLINE_KASAN
/* for RAM and the image; on start.S's tables, before the new ones are used */
void pmap_shadow_build(const struct boot_info *bi);
/* See to it that [start, end) of the KVA has shadow.  false: memory is short. */
bool pmap_shadow_grow(vm_offset_t start, vm_offset_t end);
#else
static inline void pmap_shadow_build(const struct boot_info *bi) { }
static inline bool pmap_shadow_grow(vm_offset_t start, vm_offset_t end) { return (true); }
#endif

#endif
