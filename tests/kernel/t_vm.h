/* SPDX-License-Identifier: BSD-2-Clause */
/* Small tools that the suites of maps, objects, forks and faults share: one page of an object, one byte of an address space. */
#ifndef TESTS_KERNEL_T_VM_H
#define TESTS_KERNEL_T_VM_H

#include "kernel/amd64/cpu.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/pmap.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"

#define BASE	0x10000000ul
#define AT(n)	(BASE + (vm_offset_t)(n) * PAGE_SIZE)
#define RO	VM_PROT_READ
#define RW	(VM_PROT_READ | VM_PROT_WRITE)

/* ---- pages of objects.  => object unlocked ---- */

static inline struct vm_page *
page_find(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m;

	vm_object_rlock(object);
	m = vm_page_lookup(object, pindex);
	vm_object_unlock(object);
	return (m);
}

/* A new page as a write fault leaves it: valid, dirty, idle, active; all its bytes are `value`.  NULL fails the test. */
static inline struct vm_page *
page_make(struct vm_object *object, vm_pindex_t pindex, uint8_t value)
{
	struct vm_page *m;

	vm_object_lock(object);
	while ((m = vm_page_alloc(object, pindex, VM_ALLOC_NORMAL)) == NULL) {
		vm_object_unlock(object);
		vm_wait();
		vm_object_lock(object);
	}
	memset(VM_PAGE_TO_DMAP(m), value, PAGE_SIZE);
	vm_page_flag_clear(m, PG_ZERO);
	m->valid = m->dirty = VM_PAGE_BITS_ALL;
	vm_page_activate(m);
	vm_page_xunbusy(m);
	vm_object_unlock(object);
	return (m);
}

static inline bool
page_xbusy(struct vm_page *m)
{
	struct vm_object *object = m->object;
	bool got;

	vm_object_lock(object);
	got = vm_page_tryxbusy(m);
	vm_object_unlock(object);
	return (got);
}

static inline uint8_t
page_byte(const struct vm_page *m)
{
	return (*(const uint8_t *)VM_PAGE_TO_DMAP(m));
}

static inline bool
page_is_all(const struct vm_page *m, uint8_t value)
{
	const uint8_t *p = VM_PAGE_TO_DMAP(m);

	for (size_t i = 0; i < PAGE_SIZE; i++)
		if (p[i] != value)
			return (false);
	return (true);
}

/* ---- address spaces ---- */

/* The page that the page tables map at va, or NULL. */
static inline struct vm_page *
mapped_page(struct vmspace *vm, vm_offset_t va)
{
	vm_paddr_t pa = pmap_extract(&vm->pmap, va);

	return (pa == 0 ? NULL : PHYS_TO_VM_PAGE(pa));
}

/* Map `npages` of an object from `offset` on at AT(first); the map gets a reference of its own. */
static inline void
map_object(struct vmspace *vm, struct vm_object *object, vm_ooffset_t offset, int first, size_t npages, vm_prot_t prot, int cow)
{
	vm_offset_t addr = AT(first);

	vm_object_reference(object);
	CHECK_EQ(vm_map_find(&vm->map, object, offset, &addr, npages * PAGE_SIZE, false, prot, VM_PROT_ALL, cow,
	    (cow & MAP_COPY_ON_WRITE) ? VM_INHERIT_COPY : VM_INHERIT_SHARE), KERN_SUCCESS);
}

static inline void
map_anonymous(struct vmspace *vm, int first, size_t npages, int flags)
{
	vm_offset_t addr = AT(first);

	CHECK_EQ(vm_mmap(vm, &addr, npages * PAGE_SIZE, RW, flags | MAP_ANONYMOUS | MAP_FIXED, NULL, 0), 0);
}

/* One byte through a real fault, in an address space that is not (or is) this thread's own. */
static inline int
get(struct vmspace *vm, vm_offset_t va)
{
	struct vmspace *former = thread_set_vmspace(vm);
	uint8_t value;
	int error = copyin(va, &value, 1);

	(void)thread_set_vmspace(former);
	return (error != 0 ? -error : value);
}

static inline int
put(struct vmspace *vm, vm_offset_t va, uint8_t value)
{
	struct vmspace *former = thread_set_vmspace(vm);
	int error = copyout(&value, va, 1);

	(void)thread_set_vmspace(former);
	return (error);
}

/* The top object of the entry at va; the caller must not keep it. */
static inline struct vm_object *
object_at(struct vmspace *vm, vm_offset_t va)
{
	struct vm_map_entry *e;
	struct vm_object *object;

	vm_map_rlock(&vm->map);
	e = vm_map_lookup_entry(&vm->map, va);
	object = e != NULL ? e->object : NULL;
	vm_map_runlock(&vm->map);
	return (object);
}

/* How many objects a fault at va may have to look through. */
static inline int
chain_length(struct vmspace *vm, vm_offset_t va)
{
	int n = 0;

	for (struct vm_object *o = object_at(vm, va); o != NULL; o = o->backing_object)
		n++;
	return (n);
}

/* Wait, at most two seconds, until td sleeps in `wmesg`. */
static inline bool
wait_asleep(const struct thread *td, const char *wmesg)
{
	for (int i = 0; i < 200; i++) {
		if (td->state == TD_ASLEEP && td->wmesg != NULL && streq(td->wmesg, wmesg))
			return (true);
		(void)tsleep(&i, NULL, "ktest", 1);
	}
	return (false);
}

#endif
