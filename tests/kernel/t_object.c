/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects: their pages in order, their references, their end, and what waits for what.
 * Shadow chains are in t_shadow.c, the cache of files' objects in t_objcache.c.
 */
#include "kernel/malloc.h"
#include "tests/kernel/t_vm.h"
#include "vm/vm_fault.h"

static MALLOC_DEFINE(M_TEST, "t_object");

/* ---- pages by index ---- */

#define SLOTS	200
#define STEPS	5000

struct order {
	struct vm_object *object;
	bool		  present[SLOTS];
	vm_pindex_t	  index[SLOTS];		/* rising, far apart and close together */
};

static void
order_compare(struct order *o)
{
	struct vm_page *m, *prev = NULL;
	uint32_t n = 0;

	vm_object_lock(o->object);
	m = vm_page_find_least(o->object, 0);
	for (int i = 0; i < SLOTS; i++) {
		struct vm_page *least = vm_page_find_least(o->object, o->index[i]);

		CHECK_EQ(vm_page_lookup(o->object, o->index[i]) != NULL, o->present[i]);
		CHECK(vm_page_lookup(o->object, o->index[i] + 1) == NULL);
		CHECK(least == m);
		if (!o->present[i])
			continue;
		if (!CHECK(m != NULL) || !CHECK_EQ(m->pindex, o->index[i]))
			break;
		CHECK(vm_page_prev(m) == prev);
		CHECK_EQ(page_byte(m), i);
		prev = m;
		m = vm_page_next(m);
		n++;
	}
	CHECK(m == NULL);
	CHECK_EQ(o->object->resident_page_count, n);
	CHECK_EQ(rb_check(&o->object->memq), n);
	vm_object_unlock(o->object);
}

KTEST(object, pages_are_found_by_index_as_in_a_sorted_array)
{
	struct order *o = kmalloc(sizeof(*o), &M_TEST, M_WAITOK | M_ZERO);
	vm_pindex_t at = 0;

	for (int i = 0; i < SLOTS; i++) {
		at += 2 + (ktest_random() % 3 == 0 ? ktest_random() % (1ul << 40) : 0);
		o->index[i] = at;
	}
	o->object = vm_object_allocate(OBJT_DEFAULT, at + 1);
	for (int step = 0; step < STEPS && !ktest_failed(); step++) {
		int i = ktest_random() % SLOTS;

		if (o->present[i]) {
			vm_object_lock(o->object);
			vm_object_page_remove(o->object, o->index[i], o->index[i] + 1);
			vm_object_unlock(o->object);
		} else {
			(void)page_make(o->object, o->index[i], (uint8_t)i);
		}
		o->present[i] = !o->present[i];
		if (step % 50 == 49)
			order_compare(o);
	}
	vm_object_deallocate(o->object);
	kfree(o, &M_TEST);
}

/* The cost of a search is the depth of the tree: 2 log2(n + 1). */
KTEST(object, depth_of_the_page_tree_is_logarithmic)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1023);
	int deepest = 0;

	for (vm_pindex_t i = 0; i < 500; i++)
		(void)page_make(object, 2 * i, 1);
	for (struct rb_node *n = rb_first(&object->memq); n != NULL; n = rb_next(n)) {
		int depth = 0;

		for (struct rb_node *up = n; up != NULL; up = rb_parent(up))
			depth++;
		deepest = MAX(deepest, depth);
	}
	CHECK(deepest <= 18);
	CHECK_EQ(rb_check(&object->memq), 500);
	vm_object_deallocate(object);
}

KTEST(object, renamed_page_changes_its_object)
{
	struct vm_object *from = vm_object_allocate(OBJT_DEFAULT, 8),
	    *to = vm_object_allocate(OBJT_DEFAULT, 8);
	struct vm_page *m = page_make(from, 3, 0x33);

	vm_object_lock(from);
	CHECK(vm_object_trylock(to));		/* neither shadows the other: no order to wait in */
	CHECK(vm_page_tryxbusy(m));
	vm_page_rename(m, to, 5);
	CHECK(vm_page_lookup(from, 3) == NULL);
	CHECK(vm_page_lookup(to, 5) == m && m->object == to && m->pindex == 5);
	CHECK_EQ(from->resident_page_count, 0);
	CHECK_EQ(to->resident_page_count, 1);
	CHECK(page_is_all(m, 0x33));
	vm_page_activate(m);
	vm_page_xunbusy(m);
	vm_object_unlock(to);
	vm_object_unlock(from);
	vm_object_deallocate(from);
	vm_object_deallocate(to);
}

/* ---- references and the end ---- */

KTEST(object, last_reference_frees_the_pages_and_no_earlier_one_does)
{
	uint64_t objects = vm_object_count();
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 100);
	uint32_t free;

	CHECK_EQ(vm_object_count(), objects + 1);
	for (vm_pindex_t i = 0; i < 50; i++)
		(void)page_make(object, i * 2, 1);
	free = vm_free_count();
	vm_object_reference(object);
	vm_object_reference(object);
	CHECK_EQ(object->ref_count, 3);
	vm_object_deallocate(object);
	vm_object_deallocate(object);
	CHECK_EQ(object->ref_count, 1);
	CHECK_EQ(object->resident_page_count, 50);
	CHECK_EQ(vm_free_count(), free);
	vm_object_deallocate(object);
	CHECK_EQ(vm_object_count(), objects);
	CHECK_EQ(vm_free_count(), free + 50);
	vm_object_deallocate(NULL);		/* as the chain's end */
}

static void
deallocate_thread(void *arg)
{
	vm_object_deallocate(arg);
}

KTEST(object, termination_waits_for_paging_and_for_busy_pages)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	uint64_t objects = vm_object_count();
	struct vm_page *m = page_make(object, 1, 1);
	struct thread *td;

	vm_object_lock(object);
	vm_object_pip_add(object, 2);
	CHECK(vm_page_tryxbusy(m));
	vm_object_unlock(object);
	td = thread_create("t-dealloc", PRI_KERNEL, deallocate_thread, object);
	CHECK(wait_asleep(td, "objtrm"));
	vm_object_lock(object);
	CHECK(object->flags & OBJ_DEAD);
	CHECK_EQ(object->resident_page_count, 1);
	vm_object_pip_wakeup(object);
	vm_object_unlock(object);
	(void)tsleep(&td, NULL, "ktest", 2);
	CHECK(wait_asleep(td, "objtrm"));	/* one of two is not enough */
	vm_object_lock(object);
	vm_object_pip_wakeup(object);
	vm_object_unlock(object);
	CHECK(wait_asleep(td, "vmotrm"));	/* now for the page */
	CHECK_EQ(vm_object_count(), objects);
	vm_page_xunbusy(m);
	thread_join(td);
	CHECK_EQ(vm_object_count(), objects - 1);
}

/* ---- paging in progress ---- */

static void
pip_thread(void *arg)
{
	struct vm_object *object = arg;

	vm_object_lock(object);
	vm_object_pip_wait(object, "t-pip");
	CHECK_EQ(object->paging_in_progress, 0);
	vm_object_unlock(object);
}

KTEST(object, whoever_waits_for_paging_sleeps_until_the_last_is_done)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct thread *td;

	vm_object_lock(object);
	vm_object_pip_wait(object, "t-pip");		/* nothing in progress: returns at once */
	vm_object_pip_add(object, 3);
	vm_object_unlock(object);
	td = thread_create("t-pip", PRI_KERNEL, pip_thread, object);
	for (int i = 0; i < 3; i++) {
		CHECK(wait_asleep(td, "t-pip"));
		vm_object_lock(object);
		CHECK(object->flags & OBJ_PIPWNT);
		vm_object_pip_wakeup(object);
		vm_object_unlock(object);
	}
	thread_join(td);
	CHECK_EQ(object->flags & OBJ_PIPWNT, 0);
	vm_object_deallocate(object);
}

/* ---- removing ranges ---- */

KTEST(object, page_remove_frees_exactly_the_range)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 100);
	struct vmspace *vm = vmspace_alloc();
	uint32_t free;

	for (vm_pindex_t i = 0; i < 20; i++)
		(void)page_make(object, i, (uint8_t)i);
	map_object(vm, object, 0, 0, 20, RO, 0);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(get(vm, AT(i)), i);
	free = vm_free_count();
	vm_object_lock(object);
	vm_object_page_remove(object, 5, 12);
	vm_object_page_remove(object, 15, 15);			/* an empty range */
	vm_object_page_remove(object, 50, ~0ul);		/* a range without pages */
	vm_object_unlock(object);
	CHECK_EQ(vm_free_count(), free + 7);
	for (vm_pindex_t i = 0; i < 20; i++) {
		CHECK_EQ(vt_page(object, i) != NULL, i < 5 || i >= 12);
		CHECK_EQ(mapped_page(vm, AT(i)) != NULL, i < 5 || i >= 12);
	}
	vm_object_lock(object);
	vm_object_page_remove(object, 0, ~0ul);
	vm_object_unlock(object);
	CHECK_EQ(object->resident_page_count, 0);
	vmspace_free(vm);
	vm_object_deallocate(object);
}

KTEST(object, wired_pages_stay_without_contents_and_unmapped)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *vm = vmspace_alloc();
	struct vm_page *m = page_make(object, 2, 0x77);

	map_object(vm, object, 0, 0, 4, RO, 0);
	CHECK_EQ(get(vm, AT(2)), 0x77);
	CHECK(mapped_page(vm, AT(2)) == m);
	vm_object_lock(object);
	vm_page_wire(m);
	vm_object_page_remove(object, 0, 4);
	CHECK(vm_page_lookup(object, 2) == m);
	CHECK_EQ(m->valid, 0);
	CHECK_EQ(m->dirty, 0);
	CHECK_EQ(m->wire_count, 1);
	CHECK(!pmap_page_is_mapped(m));
	CHECK(!vm_page_busied(m));
	vm_object_unlock(object);
	CHECK(mapped_page(vm, AT(2)) == NULL);
	/* The next reader finds zeros, in the same page. */
	CHECK_EQ(get(vm, AT(2)), 0);
	CHECK(mapped_page(vm, AT(2)) == m);
	CHECK(page_is_all(m, 0));
	vm_page_unwire(m, PQ_ACTIVE);
	vmspace_free(vm);
	vm_object_deallocate(object);
}

struct removal {
	struct vm_object *object;
	bool		  done;
};

static void
remove_thread(void *arg)
{
	struct removal *r = arg;

	vm_object_lock(r->object);
	vm_object_page_remove(r->object, 0, 10);
	r->done = true;
	vm_object_unlock(r->object);
}

KTEST(object, page_remove_waits_for_a_busy_page_and_looks_again)
{
	struct removal r = { .object = vm_object_allocate(OBJT_DEFAULT, 10) };
	struct vm_page *m;
	struct thread *td;

	for (vm_pindex_t i = 0; i < 10; i++)
		(void)page_make(r.object, i, 1);
	m = vt_page(r.object, 4);
	CHECK(page_xbusy(m));
	td = thread_create("t-vmopar", PRI_KERNEL, remove_thread, &r);
	CHECK(wait_asleep(td, "vmopar"));
	/*
	 * It sleeps without the lock, the pages before are gone, and the page goes while it sleeps:
	 * another takes its place, before anybody can see that it was empty.
	 */
	vm_object_lock(r.object);
	CHECK_EQ(r.object->resident_page_count, 6);
	CHECK(!r.done);
	vm_page_free(m);
	m = vm_page_alloc(r.object, 4, VM_ALLOC_SYSTEM);
	if (CHECK(m != NULL)) {
		m->valid = VM_PAGE_BITS_ALL;
		vm_page_xunbusy(m);
	}
	vm_object_unlock(r.object);
	thread_join(td);
	CHECK(r.done);
	CHECK_EQ(r.object->resident_page_count, 0);
	vm_object_deallocate(r.object);
}

/* Shared busy, as during a write to disk, keeps a page as well. */
KTEST(object, page_remove_waits_for_every_sharer)
{
	struct removal r = { .object = vm_object_allocate(OBJT_DEFAULT, 10) };
	struct vm_page *m = page_make(r.object, 4, 1);
	struct thread *td;

	CHECK(vm_page_trysbusy(m));
	CHECK(vm_page_trysbusy(m));
	td = thread_create("t-vmopar", PRI_KERNEL, remove_thread, &r);
	CHECK(wait_asleep(td, "vmopar"));
	vm_page_sunbusy(m);
	(void)tsleep(&r, NULL, "ktest", 2);
	CHECK(wait_asleep(td, "vmopar"));
	CHECK(!r.done);
	vm_page_sunbusy(m);
	thread_join(td);
	CHECK_EQ(r.object->resident_page_count, 0);
	vm_object_deallocate(r.object);
}

/* ---- mappings of an object's pages ---- */

KTEST(object, pmap_copy_takes_write_access_from_the_range_in_every_address_space)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *a = vmspace_alloc(), *b = vmspace_alloc();
	vm_prot_t prot;

	map_object(a, object, 0, 0, 4, RW, 0);
	map_object(b, object, 0, 8, 4, RW, 0);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(put(a, AT(i), 1), 0);
		CHECK_EQ(put(b, AT(8 + i), 2), 0);
	}
	vm_object_lock(object);
	vm_object_pmap_copy(object, 1, 3);
	vm_object_unlock(object);
	for (int i = 0; i < 4; i++) {
		bool writable = i == 0 || i == 3;

		CHECK(pmap_mapped(&a->pmap, AT(i), &prot));
		CHECK_EQ((prot & VM_PROT_WRITE) != 0, writable);
		CHECK(pmap_mapped(&b->pmap, AT(8 + i), &prot));
		CHECK_EQ((prot & VM_PROT_WRITE) != 0, writable);
		CHECK_EQ(get(a, AT(i)), 2);
	}
	/* The entries still allow writing: the next store asks, and gets it. */
	CHECK_EQ(put(a, AT(1), 3), 0);
	CHECK_EQ(get(b, AT(9)), 3);
	vmspace_free(a);
	vmspace_free(b);
	vm_object_deallocate(object);
}

/*
 * The oldest trap of unified memory: the pages of a range are given back when the range goes, not
 * when the whole object goes.
 */
KTEST(object, unmapping_part_of_private_memory_gives_its_pages_back)
{
	struct vmspace *vm = vmspace_alloc();
	uint32_t free;

	map_anonymous(vm, 0, 64, MAP_PRIVATE);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(put(vm, AT(i), (uint8_t)i), 0);
	CHECK_EQ(object_at(vm, AT(0))->resident_page_count, 64);
	free = vm_free_count();
	CHECK_EQ(vm_munmap(vm, AT(16), 32 * PAGE_SIZE), 0);
	CHECK(vm_free_count() >= free + 32);
	CHECK_EQ(object_at(vm, AT(0))->resident_page_count, 32);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(get(vm, AT(i)), i < 16 || i >= 48 ? i : -14);
	vmspace_free(vm);
}

/* A thread may have pinned a page for I/O when another unmaps it. */
KTEST(object, held_page_outlives_its_mapping_and_its_object)
{
	struct vmspace *vm = vmspace_alloc();
	uint64_t objects = vm_object_count();
	struct vm_page *m = NULL;
	uint32_t free;

	map_anonymous(vm, 0, 4, MAP_PRIVATE);
	CHECK_EQ(put(vm, AT(1), 0x5c), 0);
	CHECK_EQ(vm_fault(&vm->map, AT(1), VM_PROT_WRITE, VM_FAULT_HOLD, &m), KERN_SUCCESS);
	if (!CHECK(m != NULL)) {
		vmspace_free(vm);
		return;
	}
	CHECK_EQ(m->wire_count, 1);
	free = vm_free_count();
	CHECK_EQ(vm_munmap(vm, AT(0), 4 * PAGE_SIZE), 0);
	CHECK_EQ(vm_object_count(), objects);
	CHECK_EQ(vm_free_count(), free);
	CHECK(page_is_all(m, 0) || page_byte(m) == 0x5c);
	memset(VM_PAGE_TO_DMAP(m), 0xee, PAGE_SIZE);		/* what the device would still do */
	vm_page_unwire(m, PQ_INACTIVE);
	CHECK_EQ(vm_free_count(), free + 1);
	vmspace_free(vm);
}
