/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pmap: the machine's half of virtual memory.  Page tables for one address space each, and for each
 * page the list of places where it is mapped (pv entries).
 *
 * What a pmap may forget: any user mapping that is not wired; the next fault puts it back.  What it
 * must honour: removal and loss of permission, seen by every CPU before the call returns; the
 * modified and referenced bits, carried into the page before a mapping goes.
 *
 * Lock order: one pmap's lock, then a page's pv lock.  Going from a page to its pmaps is against
 * the order: try, and on failure let go and start again.  Kernel mappings (qenter, kenter) have no
 * pv entries and take no pmap lock.  None of this is ever called from an interrupt.
 */
#ifndef VM_PMAP_H
#define VM_PMAP_H

#include "kernel/lib/types.h"
#include "kernel/lock.h"
#include "vm/vm.h"

struct boot_info;
struct vm_page;
struct vmspace;

typedef uint64_t pt_entry_t;
/* Page-table entry bits (Intel SDM vol. 3, 4.5) */
#define PG_V		0x001ul		/* present */
#define PG_RW		0x002ul
#define PG_U		0x004ul
#define PG_PWT		0x008ul
#define PG_PCD		0x010ul
#define PG_A		0x020ul		/* accessed */
#define PG_M		0x040ul		/* dirty */
#define PG_PS		0x080ul		/* 2 MiB or 1 GiB page */
#define PG_G		0x100ul		/* global */
#define PG_W		0x200ul		/* software: wired */
#define PG_NX		(1ul << 63)
#define PG_FRAME	0x000ffffffffff000ul
/*
 * Software: an entry of a user pmap that points to a table counts the table's entries in use in
 * bits 52 to 61.
 */
#define PTP_ONE		(1ul << 52)
#define PTP_COUNT(e)	((unsigned)((e) >> 52) & 0x3ff)

#define PV_SPARE_MAX	32		/* pv entries that a pmap may keep */

struct pmap {
	struct spinlock	 lock;
	pt_entry_t	*pml4;			/* (constant) in the direct map */
	vm_paddr_t	 pml4_pa;		/* (constant) */
	uint64_t	 resident_count;	/* (lock) 4 KiB user mappings */
	uint64_t	 wired_count;		/* (lock) */
	uint64_t	 ptp_count;		/* (lock) page-table pages, root included */
	uint32_t	 tables;		/* (lock) the root left out, in a chain of page numbers; 0: none */
	/* (lock) lowest-level tables without entries, kept for reuse */
	uint32_t	 empty_ptps;
	volatile uint32_t active;		/* (atomic) mask of CPUs that have it loaded */
	uint32_t	 pv_spares;		/* (lock) how many of the next are there */
	void		*pv_spare[PV_SPARE_MAX];	/* (lock) pv entries ready for the next mappings */
};

/* A place where a page is mapped. */
struct pv_entry {
	struct pv_entry	*next;			/* page's pv lock */
	struct pmap	*pmap;			/* (constant) */
	vm_offset_t	 va;			/* (constant) */
};

extern struct pmap kernel_pmap;

/*
 * Build the final kernel tables: direct map, text read-only, data NX, and one shared upper half.
 * Before vm_page_init.
 */
void pmap_bootstrap(struct boot_info *bi);
/* After kmalloc_init: the pv cache. */
void pmap_init(void);

int  pmap_pinit(struct pmap *pmap);		/* 0 or ENOMEM; => does not sleep */
void pmap_release(struct pmap *pmap);		/* no user mappings left */
/* load an address space on this CPU; NULL: the kernel's alone */
void pmap_switch(struct vmspace *vm);
/* A CPU that was started comes under shoot-down's rules.  => interrupts off, the kernel's tables loaded */
void pmap_cpu_init(void);
extern bool pmap_tlb_local_only;	/* for tests: other CPUs are not told */
extern uint64_t pmap_tlb_shootdowns;	/* (atomic) how often other CPUs had to be told */
void pmap_activate(struct pmap *pmap);		/* what pmap_switch() does.  => interrupts off */
/*
 * Let page tables for [start, end) in the KVA exist.  => one caller at a time; does not sleep;
 * false: no memory.
 */
bool pmap_growkernel(vm_offset_t start, vm_offset_t end);

#define PMAP_WIRED	0x1
/*
 * Map page m at va.  Replaces whatever was there (and accounts for it).
 * => m: busy, or its object locked, so that nobody can free it meanwhile; P6: fully valid.
 * => `access` is what caused the fault: its referenced and modified bits are set in advance.
 * => does not sleep.  KERN_SUCCESS, or KERN_RESOURCE_SHORTAGE when a table page or pv entry could
 *    not be had: let go, vm_wait(), try again.
 */
int  pmap_enter(struct pmap *pmap, vm_offset_t va, struct vm_page *m, vm_prot_t prot, vm_prot_t access, int flags);
/*
 * Map if it costs nothing: no entry there yet and the page-table page exists.  Never writable.
 * true: mapped.
 */
bool pmap_enter_quick(struct pmap *pmap, vm_offset_t va, struct vm_page *m, vm_prot_t prot);
/*
 * The same for a run: m[i] at va + i pages.  Skips what is NULL, already mapped, or without a page
 * table; one hold of the lock and one walk for all.  => as pmap_enter() for each page.
 * Returns how many were mapped; the others' m[i] are NULL then.
 */
unsigned pmap_enter_run(struct pmap *pmap, vm_offset_t va, struct vm_page **m, unsigned count, vm_prot_t prot);
/*
 * Remove or restrict [start, end).  Bits are carried into the pages; other CPUs have forgotten
 * before it returns.
 */
void pmap_remove(struct pmap *pmap, vm_offset_t start, vm_offset_t end);
void pmap_protect(struct pmap *pmap, vm_offset_t start, vm_offset_t end, vm_prot_t prot);
void pmap_unwire(struct pmap *pmap, vm_offset_t start, vm_offset_t end);
/* 0 when nothing is mapped there. */
vm_paddr_t pmap_extract(struct pmap *pmap, vm_offset_t va);
vm_paddr_t pmap_kextract(vm_offset_t va);	/* panics when unmapped */
bool pmap_mapped(struct pmap *pmap, vm_offset_t va, vm_prot_t *prot);

/* All mappings of one page. */
/* READ: write access goes; NONE: all go */
void pmap_page_protect(struct vm_page *m, vm_prot_t prot);
void pmap_remove_all(struct vm_page *m);			/* = protect NONE */
bool pmap_page_is_mapped(struct vm_page *m);
int  pmap_page_mapping_count(struct vm_page *m);
bool pmap_is_modified(struct vm_page *m);
void pmap_clear_modify(struct vm_page *m);
bool pmap_is_referenced(struct vm_page *m);
int  pmap_ts_referenced(struct vm_page *m);	/* count and clear, at most 5 mappings a call */

/*
 * Kernel windows: n pages at consecutive kernel addresses, writable, not executable, no pv entries.
 */
void pmap_qenter(vm_offset_t va, struct vm_page **m, int count);
void pmap_qremove(vm_offset_t va, int count);	/* gone from every CPU on return */
void pmap_kenter(vm_offset_t va, vm_paddr_t pa, uint64_t attributes);
void pmap_kremove(vm_offset_t va);

/* Contents, through the direct map.  => the page busy by us, or nobody else's; copying: the source too, in any mode */
void pmap_zero_page(struct vm_page *m);
void pmap_zero_page_area(struct vm_page *m, size_t off, size_t len);
void pmap_copy_page(struct vm_page *src, struct vm_page *dst);

/*
 * For the walkers (vm_check, monitor): calls fn for each user mapping.  => pmap locked by this
 * call: fn must not sleep.
 */
void pmap_foreach(struct pmap *pmap, void (*fn)(void *arg, vm_offset_t va, pt_entry_t pte), void *arg);
/*
 * The entry that maps va at the lowest level reached, and that level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB,
 * 4: none below the root).
 */
pt_entry_t pmap_walk(struct pmap *pmap, vm_offset_t va, int *level);
uint64_t pmap_pv_count(void);			/* pv entries in use */

#endif
