/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The default pager: anonymous memory of which nothing was ever written out.
 *
 *	OBJT_DEFAULT --first page goes out--> OBJT_SWAP
 *
 * An object of this type has no place on any disk, so the pager never has a page: whoever asks
 * looks in the backing object and at last takes zeros.  The first page-out turns the object into
 * one of the swap pager's.  It never turns back: an object that was swapped once may be again, and
 * an empty map of blocks costs nothing.
 *
 * Why a type of its own, when the swap pager with an empty map would do: most objects live and die
 * without a page-out, and for those the fault need not look for blocks.
 */
#include "vm/swap_pager.h"
#include "vm/vm_object.h"
#include "vm/vm_pager.h"

static struct vm_object *
default_pager_alloc(void *handle, vm_ooffset_t size, vm_prot_t prot, vm_ooffset_t offset, struct ucred *cred)
{
	return (vm_object_allocate(OBJT_DEFAULT, OFF_TO_IDX(round_page(size + offset))));
}

static void
default_pager_dealloc(struct vm_object *object)
{
}

static int
default_pager_getpages(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	vm_pager_free_extras(object, m, count, reqpage, reqpage + 1);
	return (VM_PAGER_FAIL);
}

static int
default_pager_putpages(struct vm_object *object, struct vm_page **m, int count, bool sync, int *rtvals)
{
	vm_object_lock(object);
	object->type = OBJT_SWAP;
	vm_object_unlock(object);
	return (swappagerops.pgo_putpages(object, m, count, sync, rtvals));
}

static enum vm_pager_has
default_pager_haspage(struct vm_object *object, vm_pindex_t pindex, int *before, int *after)
{
	return (PAGER_HAS_NOT);
}

const struct pagerops defaultpagerops = {
	.pgo_alloc = default_pager_alloc,
	.pgo_dealloc = default_pager_dealloc,
	.pgo_getpages = default_pager_getpages,
	.pgo_putpages = default_pager_putpages,
	.pgo_haspage = default_pager_haspage,
};
