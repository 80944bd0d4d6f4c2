/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The laws of the VM, checked by walking everything: each page, each object, each address space.
 *
 *	pages	   P1 queues whole  P2 free means free  P3 found where it says it is  P4 wired: on no queue  P5 dirty is valid
 *		   P6 mapped is valid
 *	objects	   O1 references  O2 busy pages have paging_in_progress  O3 a file has one size  O4 chains end  O8 pages add up
 *	swap	   every block taken is some object's; a clean page is what its block holds (checksum)
 *	maps	   M1, M2 and the gaps
 *	pmaps	   every entry leads to a page that knows of it, and the other way round (P2, P6); to the page that a fault there would
 *		   find now (O6); and allows no more than the map does (M3)
 *
 * It runs after every self-test, and from the monitor and gdb.  It changes nothing, and nothing changes
 * while it walks: reclaim is frozen, the other CPUs stand still, and interrupts are off.  Who was stopped
 * holds no spin lock; if he holds an object exclusively he may be in the middle of a change, so the walk
 * waits until nobody does.  A map that is locked is not compared with its page tables.
 */
#include "vm/vm_check.h"

#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pageq.h"

#define HOLD_TRIES	100		/* ticks */

void (*vm_check_violation_hook)(const char *message);
static unsigned violations;	/* in this walk; stays 0 without the hook */

void
vm_check_violation(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (vm_check_violation_hook == NULL)
		panic("%s", text);
	violations++;
	vm_check_violation_hook(text);
}

static void
check_free_page(const struct vm_page *m)
{
	if (m->object != NULL || m->pv != NULL || m->wire_count != 0 || m->dirty != 0 || m->busy != VPB_FREED)
		vm_check_violation("page %u is on queue %s but has object %p, mappings %p, wired %u, dirty %02x, busy %x (P2)",
		    m->pfn, vm_pageq_name(m->queue), m->object, m->pv, m->wire_count, m->dirty, m->busy);
}

static void
check_page(const struct vm_page *m)
{
	if ((m->dirty & ~m->valid) != 0)
		vm_check_violation("page %u: dirty %02x but valid %02x (P5)", m->pfn, m->dirty, m->valid);
	if (m->wire_count > 0 && m->queue != PQ_NONE)
		vm_check_violation("page %u: wired %u times, on queue %s (P4)", m->pfn, m->wire_count, vm_pageq_name(m->queue));
	if (m->object != NULL && vm_page_lookup(m->object, m->pindex) != m)
		vm_check_violation("page %u says it is index %lu of object %p, which does not know it (P3)", m->pfn,
		    m->pindex, m->object);
	if (m->pv != NULL && !vm_page_all_valid(m))
		vm_check_violation("page %u is mapped but valid only in %02x (P6)", m->pfn, m->valid);
}

/* Returns how many pages belong to objects. */
static uint64_t
check_pages(void)
{
	uint64_t in_objects = 0, accounted = 0;

	for (uint32_t i = 0; i < vm_page_count; i++) {
		const struct vm_page *m = &vm_page_array[i];

		if (m->queue == PQ_FREE || m->queue == PQ_ZERO)
			check_free_page(m);
		else
			check_page(m);
		in_objects += m->object != NULL;
		accounted += m->queue != PQ_NONE || m->object != NULL || m->wire_count > 0;
	}
	if (accounted != vm_page_count)
		vm_check_violation("%lu pages of %u are neither free, queued, wired nor in an object", vm_page_count - accounted,
		    vm_page_count);
	return (in_objects);
}

static void
check_object_pages(struct vm_object *object)
{
	uint32_t n = 0, listed = 0;
	vm_pindex_t last = 0;

	for (struct vm_page *m = vm_page_find_least(object, 0); m != NULL; m = vm_page_next(m)) {
		if (m->object != object || (n > 0 && m->pindex <= last))
			vm_check_violation("object %p: page %u at index %lu is out of order (P3)", object, m->pfn, m->pindex);
		/* One that was wired when the end moved stays, without contents, until reclaim takes it. */
		if (m->pindex >= object->size && !vm_page_busied(m) && m->wire_count == 0 && m->valid != 0)
			vm_check_violation("object %p of %lu pages holds index %lu (O3)", object, object->size, m->pindex);
		if (vm_page_xbusied(m) && object->paging_in_progress == 0)
			vm_check_violation("object %p: page %lu is busy, nothing in progress (O2)", object, m->pindex);
		if (m->flags & PG_DIRTYLIST)
			listed++;
		if (object->type == OBJT_VNODE && !vm_page_busied(m) && (m->dirty != 0) != ((m->flags & PG_DIRTYLIST) != 0))
			vm_check_violation("object %p: page %lu with dirty sectors %x is %s the list of dirty ones (P5)", object,
			    m->pindex, m->dirty, m->flags & PG_DIRTYLIST ? "on" : "not on");
		last = m->pindex;
		n++;
	}
	if (listed != object->dirty_count)
		vm_check_violation("object %p: %u pages say that they are on its list of %u dirty ones (P5)", object, listed,
		    object->dirty_count);
	if (object->memq_tail != NULL ? vm_page_next(object->memq_tail) != NULL : n > 0)
		vm_check_violation("object %p: its last page is not at index %lu (P3)", object, last);
	if (n != object->resident_page_count || rb_check(&object->memq) != (long)n)
		vm_check_violation("object %p: %u pages, noted %u (P3)", object, n, object->resident_page_count);
}

struct object_totals {
	uint64_t	resident, swapped;	/* pages, swap blocks */
};

/*
 * Its pages are not on a list of dirty ones: who could write them finds them on the laundry queue.
 */
static void
check_anonymous(const struct vm_object *object)
{
	if (object->dirty_count != 0 || object->dirty_head != VM_PAGE_NIL)
		vm_check_violation("object %p: anonymous, with a list of %u dirty pages", object, object->dirty_count);
	if (object->type == OBJT_DEFAULT && object->un_pager.swp.nblocks != 0)
		vm_check_violation("object %p: %u swap blocks, and the default pager", object,
		    object->un_pager.swp.nblocks);
}

static void
check_object(struct vm_object *object, void *totals)
{
	struct vm_object *shadow, *o;
	int shadows = 0, depth = 0;

	check_object_pages(object);
	TAILQ_FOREACH(shadow, &object->shadow_head, shadow_list) {
		if (shadow->backing_object != object)
			vm_check_violation("object %p lists shadow %p, which shadows %p (O4)", object, shadow, shadow->backing_object);
		shadows++;
	}
	if (shadows != object->shadow_count || object->ref_count < shadows)
		vm_check_violation("object %p: %d shadows, noted %d, %d references (O1)", object, shadows, object->shadow_count,
		    object->ref_count);
	if (object->ref_count == 0 && !object->cached && (object->flags & OBJ_DEAD) == 0)
		vm_check_violation("object %p: nobody references it, and it is neither cached nor dead (O1)", object);
	for (o = object; o != NULL; o = o->backing_object) {
		if ((o->backing_object_offset & PAGE_MASK) != 0 || ++depth > 1000000) {
			vm_check_violation("object %p: its chain does not end, or offset %ld is unaligned (O4)", object,
			    o->backing_object_offset);
			break;
		}
	}
	if (object->type == OBJT_VNODE && (object->flags & OBJ_DEAD) == 0 && object->handle != NULL) {
		struct vnode *vp = object->handle;

		if (vp->v_object != object || object->size != OFF_TO_IDX(round_page(object->un_pager.vnp.vnp_size)))
			vm_check_violation("object %p of inode %lu: %lu pages for %ld bytes (O3)", object, vp->v_ino, object->size,
			    object->un_pager.vnp.vnp_size);
	}
	if (object->type != OBJT_VNODE)
		check_anonymous(object);
	((struct object_totals *)totals)->resident += object->resident_page_count;
	((struct object_totals *)totals)->swapped += swap_pager_check(object);
}

/* ---- page tables against reverse mappings ---- */

struct pmap_walk {
	struct vmspace	*vm;
	struct pmap	*pmap;
	bool		 map_too;	/* nobody is changing the map: compare with it */
	uint64_t	 entries;
};

/*
 * Does the map say what the page table says?  A page hidden by a shadow, or one that is no more in
 * the chain, must not be mapped.
 */
static void
check_against_map(struct vmspace *vm, vm_offset_t va, pt_entry_t pte, const struct vm_page *m)
{
	const struct vm_map_entry *e = vm_map_lookup_entry(&vm->map, va);
	const struct vm_page *found = NULL;
	vm_pindex_t pindex;

	if (e == NULL) {
		vm_check_violation("pmap %p maps %lx, which is in no entry (M1)", &vm->pmap, va);
		return;
	}
	if ((pte & PG_RW) && (e->needs_copy || !(e->protection & VM_PROT_WRITE) || m->object != e->object))
		vm_check_violation("pmap %p maps page %u writable at %lx, where it must be copied or is read-only (M3)", &vm->pmap,
		    m->pfn, va);
	pindex = OFF_TO_IDX(e->offset + (va - e->start));
	for (struct vm_object *o = e->object; o != NULL && found == NULL; o = o->backing_object) {
		found = vm_page_lookup(o, pindex);
		if (found != NULL && !vm_page_all_valid(found))
			found = NULL;
		pindex += OFF_TO_IDX(o->backing_object_offset);
	}
	if (found != m)
		vm_check_violation("pmap %p maps page %u at %lx, where page %d belongs (O6)", &vm->pmap, m->pfn, va,
		    found != NULL ? (int)found->pfn : -1);
}

static void
check_mapping(void *arg, vm_offset_t va, pt_entry_t pte)
{
	struct pmap_walk *walk = arg;
	struct vm_page *m = PHYS_TO_VM_PAGE(pte & PG_FRAME);

	if (m == NULL || m->queue == PQ_FREE || m->queue == PQ_ZERO) {
		vm_check_violation("pmap %p maps %lx to %lx, which is %s (P2)", walk->pmap, va, pte & PG_FRAME,
		    m == NULL ? "no RAM" : "a free page");
		return;
	}
	if (walk->map_too)
		check_against_map(walk->vm, va, pte, m);
	for (const struct pv_entry *pv = m->pv; pv != NULL; pv = pv->next) {
		if (pv->pmap == walk->pmap && pv->va == va) {
			walk->entries++;
			return;
		}
	}
	vm_check_violation("pmap %p maps %lx to page %u, which does not know it", walk->pmap, va, m->pfn);
}

static void
check_vmspace(struct vmspace *vm, void *total)
{
	struct pmap_walk walk = { .vm = vm, .pmap = &vm->pmap };

	if (!rw_held(&vm->map.lock)) {
		vm_map_check(&vm->map);
		walk.map_too = violations == 0;		/* damaged chains are not followed */
	}
	pmap_foreach(&vm->pmap, check_mapping, &walk);
	if (walk.entries != vm->pmap.resident_count)
		vm_check_violation("pmap %p: %lu mappings, noted %lu", &vm->pmap, walk.entries, vm->pmap.resident_count);
	*(uint64_t *)total += walk.entries;
}

static struct mutex audit = { .lk = { .name = "vmcheck", .kind = LOCK_MUTEX, .rank = RANK_NONE } };

static void
count_locked(struct vm_object *object, void *count)
{
	*(unsigned *)count += rw_wheld_elsewhere(&object->lock);
}

/*
 * From the return on nobody else runs, and nobody was stopped while he changed an object.
 * => sleeps in "vmchk".  Who holds an object does not sleep for long; a test that does not let go is not waited for.
 */
static void
hold_still(void)
{
	for (int tries = 0;; tries++) {
		unsigned locked = 0;

		smp_hold_others();
		vm_object_foreach(count_locked, &locked);
		if (locked == 0 || tries == HOLD_TRIES)
			return;
		smp_release_others();
		(void)tsleep(&audit, NULL, "vmchk", 1);
	}
}

void
vm_check(void)
{
	struct object_totals objects = { 0 };
	uint64_t in_objects, mappings = 0;

	vm_pageout_freeze(true);
	mutex_lock(&audit);
	violations = 0;
	hold_still();
	vm_pageq_check();
	in_objects = check_pages();
	vm_object_foreach(check_object, &objects);
	if (objects.resident != in_objects)
		vm_check_violation("%lu pages belong to objects, the objects hold %lu (O8)", in_objects, objects.resident);
	swap_check(objects.swapped);
	vmspace_foreach(check_vmspace, &mappings);
	if (mappings != pmap_pv_count())
		vm_check_violation("%lu mappings in page tables, %lu reverse mappings", mappings, pmap_pv_count());
	smp_release_others();
	mutex_unlock(&audit);
	vm_pageout_freeze(false);
}
