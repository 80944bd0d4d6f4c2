/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pagers: where an object's pages come from.
 *
 * The contract, checked around every call by vm_pager.c:
 *
 *   get  The caller passes m[0..count-1]: consecutive pages of one object, exclusive-busy by the caller, unmapped,
 *	  not fully valid (P12), and but for m[reqpage] without any contents; paging_in_progress is held; no object is
 *	  locked; the vnode, if any, is locked.
 *	  On every return code m[reqpage] is still exclusive-busy with the caller; every other page was finished (valid,
 *	  unbusied, on a queue) or freed by the pager.  VM_PAGER_OK: m[reqpage] is fully valid, and what was dirty of
 *	  it is so still (B5).
 *   put  The caller passes consecutive pages, exclusive-busy, fully valid, write-protected; the vnode, if any, is
 *	  locked exclusively.  The pager clears the dirty bits when the transfer starts and downgrades to shared busy;
 *	  the pages come back shared-busy.
 *	  rtvals[] arrives filled with VM_PAGER_ERROR and is filled completely: OK: written; BAD: past EOF, no longer
 *	  dirty; ERROR, AGAIN: what was not written is dirty again.
 *   has  answers for every block of the page, and always sets *before and *after.
 */
#ifndef VM_VM_PAGER_H
#define VM_VM_PAGER_H

#include "kernel/lib/types.h"
#include "vm/vm.h"
#include "vm/vm_object.h"

struct vm_page;

enum vm_pager_status {
	VM_PAGER_OK,		/* done */
	VM_PAGER_BAD,		/* outside of what the pager has: past EOF, or its vnode is gone */
	VM_PAGER_FAIL,		/* in range, but the pager has no such page: look in the backing object */
	VM_PAGER_ERROR,		/* could not be read or written */
	VM_PAGER_AGAIN		/* no resources now */
};
const char *vm_pager_status_name(int status);

enum vm_pager_has { PAGER_HAS_NOT, PAGER_HAS, PAGER_HAS_ERROR };

struct pagerops {
	void (*pgo_init)(void);
	/*
	 * Find or make the object for a handle; size in bytes; one reference for the caller.  NULL:
	 * could not.  => sleeps
	 */
	struct vm_object *(*pgo_alloc)(void *handle, vm_ooffset_t size, vm_prot_t prot, vm_ooffset_t offset,
	    struct ucred *cred);
	void (*pgo_dealloc)(struct vm_object *object);
	int (*pgo_getpages)(struct vm_object *object, struct vm_page **m, int count, int reqpage);
	/* => as above; the pages are shared-busy with the caller on return */
	int (*pgo_putpages)(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals);
	/* before, after (never NULL): pages that could be had in the same transfer */
	enum vm_pager_has (*pgo_haspage)(struct vm_object *object, vm_pindex_t pindex, int *before, int *after);
	void (*pgo_sync)(void);
};

/* By object type; a NULL entry: no pager. */
extern const struct pagerops *pagertab[OBJT_COUNT];
void vm_pager_init(void);

#define VM_PAGER_CLUSTER_MAX	32	/* pages in one get or put: MAXPHYS */

/* Can pages of this object be anywhere but in memory?  Those of the default pager cannot. */
static inline bool
vm_object_has_pager(const struct vm_object *object)
{
	return (object->type != OBJT_DEFAULT && pagertab[object->type] != NULL);
}

/* The calls, with the contract asserted before and after; has_page sets *before and *after to 0 first.  => sleep */
int  vm_pager_get_pages(struct vm_object *object, struct vm_page **m, int count, int reqpage);
enum vm_pager_has vm_pager_has_page(struct vm_object *object, vm_pindex_t pindex, int *before, int *after);
void vm_pager_put_pages(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals);
/*
 * For pagers: give back the pages of a cluster outside of [first, end), which could not be filled.
 * => object unlocked.
 */
void vm_pager_free_extras(struct vm_object *object, struct vm_page **m, int count, int first, int end);
void vm_pager_deallocate(struct vm_object *object);
/*
 * Read the page m, and up to `behind` and `ahead` absent neighbours that come in the same transfer.
 * => as get above for m alone; the object unlocked on entry and exit.  *got (may be NULL): pages
 *    asked of the pager.
 */
int  vm_pager_read_page(struct vm_object *object, struct vm_page *m, int behind, int ahead, int *got);

#endif
