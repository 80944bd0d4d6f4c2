/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies of address spaces: what is shared, what is private from then on, and that nobody sees what
 * is another's.
 *
 * The last test runs a family of address spaces that fork, exit, map, unmap and store at random
 * against a model, in which private memory is an array that fork copies, and shared memory an array
 * that fork does not copy.
 */
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"
#include "vm/vm_map_usage.h"
#include "vm/vm_mmap.h"

static MALLOC_DEFINE(M_TEST, "t_fork");

/* Map an object (or nothing) at AT(first) with an inheritance of one's choice. */
static void
map_inherited(struct vmspace *vm, struct vm_object *object, int first, size_t npages, int cow,
    enum vm_inherit inherit)
{
	vm_offset_t addr = AT(first);

	if (object != NULL)
		vm_object_reference(object);
	CHECK_EQ(vm_map_find(&vm->map, object, 0, &addr, npages * PAGE_SIZE, false, RW, VM_PROT_ALL,
	    cow, inherit), KERN_SUCCESS);
}

/* M3: what must be copied before it is written is nowhere mapped writable. */
static void
check_m3(struct vmspace *vm, int first, int npages)
{
	struct vm_map_entry *e;
	vm_prot_t prot;

	vm_map_rlock(&vm->map);
	for (int n = first; n < first + npages; n++) {
		e = vm_map_lookup_entry(&vm->map, AT(n));
		if (e != NULL && e->needs_copy && pmap_mapped(&vm->pmap, AT(n), &prot))
			CHECK_EQ(prot & VM_PROT_WRITE, 0);
	}
	vm_map_runlock(&vm->map);
}

KTEST(fork, both_sides_keep_the_page_until_one_writes)
{
	struct vmspace *parent = vmspace_alloc(), *child;
	uint64_t copies = VMCNT_GET(v_cow_faults);
	struct vm_page *m;

	map_anonymous(parent, 0, 4, MAP_PRIVATE);
	CHECK_EQ(put(parent, AT(1), 11), 0);
	m = mapped_page(parent, AT(1));
	child = vmspace_fork(parent);
	CHECK_OR_RETURN(child != NULL);
	check_m3(parent, 0, 4);
	CHECK_EQ(get(child, AT(1)), 11);
	CHECK(mapped_page(child, AT(1)) == m && mapped_page(parent, AT(1)) == m);
	CHECK_EQ(VMCNT_GET(v_cow_faults), copies);

	CHECK_EQ(put(child, AT(1), 22), 0);
	CHECK_EQ(VMCNT_GET(v_cow_faults), copies + 1);
	CHECK(mapped_page(child, AT(1)) != m);
	CHECK_EQ(get(parent, AT(1)), 11);
	CHECK(mapped_page(parent, AT(1)) == m);
	CHECK_EQ(put(parent, AT(1), 33), 0);
	CHECK_EQ(get(child, AT(1)), 22);
	CHECK_EQ(get(parent, AT(1)), 33);
	/* What neither had touched is zero on both sides, and private, too. */
	CHECK_EQ(put(parent, AT(2), 44), 0);
	CHECK_EQ(get(child, AT(2)), 0);
	CHECK_EQ(put(child, AT(3), 55), 0);
	CHECK_EQ(get(parent, AT(3)), 0);
	check_m3(parent, 0, 4);
	check_m3(child, 0, 4);
	vm_check();
	vmspace_free(child);
	vmspace_free(parent);
}

/*
 * The parent stays loaded throughout, so what its CPU remembers of the former right to write must
 * have been thrown away.
 */
KTEST(fork, parent_that_runs_on_loses_its_right_to_write_at_once)
{
	struct vmspace *parent = vmspace_alloc(), *former = thread_set_vmspace(parent), *child;
	uint64_t value = 1, faults;

	map_anonymous(parent, 0, 16, MAP_PRIVATE);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(copyout(&value, AT(i), sizeof(value)), 0);
	faults = curthread->faults;
	value = 2;
	CHECK_EQ(copyout(&value, AT(5), sizeof(value)), 0);
	CHECK_EQ(curthread->faults, faults);	/* its translation is cached, writable */
	child = vmspace_fork(parent);
	value = 3;
	CHECK_EQ(copyout(&value, AT(5), sizeof(value)), 0);
	CHECK_EQ(curthread->faults, faults + 1);
	CHECK_EQ(get(child, AT(5)), 2);
	CHECK_EQ(get(child, AT(6)), 1);
	(void)thread_set_vmspace(former);
	vmspace_free(child);
	vmspace_free(parent);
}

KTEST(fork, child_outlives_its_parent)
{
	struct vmspace *parent = vmspace_alloc(), *child;

	map_anonymous(parent, 0, 8, MAP_PRIVATE);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(put(parent, AT(i), 0x20 + i), 0);
	child = vmspace_fork(parent);
	CHECK_EQ(put(parent, AT(3), 0x99), 0);
	CHECK_EQ(put(child, AT(4), 0x44), 0);
	vmspace_free(parent);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(get(child, AT(i)), i == 4 ? 0x44 : 0x20 + i);
	vm_check();
	/* Nobody else has its memory: one more write, and the chain is one object again. */
	CHECK_EQ(put(child, AT(0), 1), 0);
	CHECK_EQ(chain_length(child, AT(0)), 1);
	CHECK_EQ(object_at(child, AT(0))->resident_page_count, 8);
	vmspace_free(child);
}

/*
 * A shell's life: each generation stores, forks and exits; the chain must not grow with the
 * generations.
 */
KTEST(fork, chain_stays_short_over_two_hundred_generations)
{
	struct vmspace *vm = vmspace_alloc();
	uint64_t objects = vm_object_count();
	int longest = 0;

	map_anonymous(vm, 0, 8, MAP_PRIVATE);
	for (int g = 0; g < 200 && !ktest_failed(); g++) {
		struct vmspace *child;

		CHECK_EQ(put(vm, AT(g % 8), (uint8_t)g), 0);
		child = vmspace_fork(vm);
		CHECK_EQ(put(child, AT((g + 1) % 8), (uint8_t)(g + 1)), 0);
		longest = MAX(longest, chain_length(child, AT(0)));
		vmspace_free(vm);
		vm = child;
		for (int back = 0; back < MIN(g, 7); back++)
			CHECK_EQ(get(vm, AT((g + 1 - back) % 8)), (uint8_t)(g + 1 - back));
	}
	CHECK(longest <= 3);
	CHECK(vm_object_count() <= objects + 2);
	vm_check();
	vmspace_free(vm);
}

/*
 * All generations alive at once: each sees its ancestors' stores from before its birth, and none
 * from after.
 */
KTEST(fork, thirty_living_generations_are_isolated)
{
	struct vmspace *vm[30];

	vm[0] = vmspace_alloc();
	map_anonymous(vm[0], 0, 30, MAP_PRIVATE);
	for (int g = 0; g < 30; g++) {
		if (g > 0)
			CHECK_OR_RETURN((vm[g] = vmspace_fork(vm[g - 1])) != NULL);
		CHECK_EQ(put(vm[g], AT(g), (uint8_t)(100 + g)), 0);
	}
	for (int g = 0; g < 30; g++)		/* the past is changed afterwards */
		CHECK_EQ(put(vm[g], AT(0), (uint8_t)(1 + g)), 0);
	for (int g = 0; g < 30; g++)
		for (int i = 0; i < 30; i++)
			CHECK_EQ(get(vm[g], AT(i)), i == 0 ? 1 + g : i <= g ? 100 + i : 0);
	vm_check();
	/* They go in an order in which each is somebody's backing. */
	for (int g = 0; g < 30; g += 2)
		vmspace_free(vm[g]);
	for (int g = 1; g < 30; g += 2)
		for (int i = 0; i < 30; i += 3)
			CHECK_EQ(get(vm[g], AT(i)), i == 0 ? 1 + g : i <= g ? 100 + i : 0);
	vm_check();
	for (int g = 29; g > 0; g -= 2)
		vmspace_free(vm[g]);
}

KTEST(fork, shared_memory_stays_shared)
{
	struct vmspace *a = vmspace_alloc(), *b, *c;

	map_anonymous(a, 0, 4, MAP_SHARED);
	CHECK_EQ(put(a, AT(0), 1), 0);
	b = vmspace_fork(a);
	c = vmspace_fork(b);
	CHECK_EQ(get(c, AT(0)), 1);
	CHECK_EQ(put(c, AT(0), 2), 0);
	CHECK_EQ(get(a, AT(0)), 2);
	CHECK(mapped_page(a, AT(0)) == mapped_page(c, AT(0)));
	/* Also what nobody had touched before the fork. */
	CHECK_EQ(put(b, AT(3), 3), 0);
	CHECK_EQ(get(a, AT(3)), 3);
	CHECK_EQ(get(c, AT(3)), 3);
	vmspace_free(b);
	CHECK_EQ(put(a, AT(3), 4), 0);
	CHECK_EQ(get(c, AT(3)), 4);
	vm_check();
	vmspace_free(a);
	CHECK_EQ(get(c, AT(0)), 2);
	vmspace_free(c);
}

/* Shared memory without an object at the time of the fork. */
KTEST(fork, untouched_shared_memory_is_one_memory)
{
	struct vmspace *a = vmspace_alloc(), *b;

	map_inherited(a, NULL, 0, 2, 0, VM_INHERIT_SHARE);
	CHECK(object_at(a, AT(0)) == NULL);
	b = vmspace_fork(a);
	CHECK(object_at(a, AT(0)) != NULL && object_at(a, AT(0)) == object_at(b, AT(0)));
	CHECK_EQ(put(a, AT(1), 7), 0);
	CHECK_EQ(get(b, AT(1)), 7);
	vmspace_free(a);
	vmspace_free(b);
}

KTEST(fork, inheritance_none_leaves_a_hole)
{
	struct vmspace *a = vmspace_alloc(), *b;

	map_anonymous(a, 0, 2, MAP_PRIVATE);
	map_inherited(a, NULL, 2, 2, 0, VM_INHERIT_NONE);
	map_anonymous(a, 4, 2, MAP_PRIVATE);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(put(a, AT(i), (uint8_t)(i + 1)), 0);
	b = vmspace_fork(a);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(get(b, AT(i)), i == 2 || i == 3 ? -14 : i + 1);
	CHECK_EQ(b->map.nentries, 2);
	CHECK_EQ(b->map.size, 4 * PAGE_SIZE);
	vm_map_lock(&b->map);
	vm_map_check(&b->map);
	vm_map_unlock(&b->map);
	CHECK_EQ(put(a, AT(2), 9), 0);
	vmspace_free(b);
	vmspace_free(a);
}

KTEST(fork, protections_and_advice_are_inherited)
{
	struct vmspace *a = vmspace_alloc(), *b;
	struct vm_map_entry *e;

	map_anonymous(a, 0, 6, MAP_PRIVATE);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(put(a, AT(i), (uint8_t)(i + 1)), 0);
	CHECK_EQ(vm_map_protect(&a->map, AT(0), AT(2), RO), KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(&a->map, AT(2), AT(4), VM_PROT_NONE), KERN_SUCCESS);
	CHECK_EQ(vm_map_advise(&a->map, AT(5), AT(6), VM_ADV_RANDOM), KERN_SUCCESS);
	b = vmspace_fork(a);
	CHECK_EQ(get(b, AT(1)), 2);
	CHECK_EQ(put(b, AT(1), 9), 14);
	CHECK_EQ(get(b, AT(3)), -14);
	CHECK_EQ(put(b, AT(4), 9), 0);
	vm_map_rlock(&b->map);
	e = vm_map_lookup_entry(&b->map, AT(5));
	CHECK(e != NULL && e->advice == VM_ADV_RANDOM && e->max_protection == VM_PROT_ALL);
	vm_map_runlock(&b->map);
	/* More rights in the child give it a copy of its own, not the parent's page. */
	CHECK_EQ(vm_map_protect(&b->map, AT(0), AT(4), RW), KERN_SUCCESS);
	check_m3(b, 0, 6);
	CHECK_EQ(put(b, AT(1), 9), 0);
	CHECK_EQ(put(b, AT(3), 9), 0);
	CHECK_EQ(get(a, AT(1)), 2);
	CHECK_EQ(vm_map_protect(&a->map, AT(2), AT(4), RO), KERN_SUCCESS);
	CHECK_EQ(get(a, AT(3)), 4);
	vmspace_free(b);
	vmspace_free(a);
}

KTEST(fork, private_file_mapping_is_private_to_each_side)
{
	struct vmspace *a = vmspace_alloc(), *b;
	vm_offset_t addr = AT(0);
	uint8_t want[3];
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN((vp = testfile_open("/t/seq")) != NULL);
	for (int i = 0; i < 3; i++)
		testfile_expect("/t/seq", i * PAGE_SIZE, &want[i], 1);
	CHECK_EQ(vm_mmap(a, &addr, 3 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, vp, 0), 0);
	CHECK_EQ(put(a, AT(0), want[0] ^ 1), 0);		/* before the fork */
	b = vmspace_fork(a);
	CHECK_EQ(put(a, AT(1), want[1] ^ 2), 0);		/* after it */
	CHECK_EQ(put(b, AT(0), want[0] ^ 3), 0);
	CHECK_EQ(get(a, AT(0)), want[0] ^ 1);
	CHECK_EQ(get(b, AT(0)), want[0] ^ 3);
	CHECK_EQ(get(a, AT(1)), want[1] ^ 2);
	CHECK_EQ(get(b, AT(1)), want[1]);
	CHECK_EQ(get(a, AT(2)), want[2]);
	CHECK(mapped_page(b, AT(1)) == vt_page(vp->v_object, 1));
	vm_check();
	vmspace_free(a);
	CHECK_EQ(get(b, AT(2)), want[2]);
	vmspace_free(b);
	(void)testfile_read_verify(vp, "/t/seq", 0, 3 * PAGE_SIZE);
	vrele(vp);
}

/*
 * CVE-2021-29626.  Two address spaces share an object that shadows another, and both have read a
 * page through it, so both map the lower page.  When one stores, the copy is the page that both
 * must see: the other's mapping of the lower page has to go, or it reads old bytes for ever, and
 * after the lower page was freed, a stranger's.
 */
KTEST(fork, page_hidden_by_a_copy_is_unmapped_from_all_sharers)
{
	struct vm_object *below = vm_object_allocate(OBJT_DEFAULT, 4);
	struct vmspace *a = vmspace_alloc(), *b, *other = vmspace_alloc();
	struct vm_page *source;

	for (int i = 0; i < 4; i++)
		(void)page_make(below, i, 0x70 + (uint8_t)i);
	source = vt_page(below, 2);
	map_inherited(a, below, 0, 4, MAP_COPY_ON_WRITE, VM_INHERIT_SHARE);
	map_object(other, below, 0, 0, 4, RO, 0);
	b = vmspace_fork(a);
	CHECK(object_at(a, AT(0)) == object_at(b, AT(0)) &&
	    object_at(a, AT(0))->backing_object == below);
	CHECK_EQ(get(a, AT(2)), 0x72);
	CHECK_EQ(get(b, AT(2)), 0x72);
	CHECK_EQ(get(other, AT(2)), 0x72);
	CHECK(mapped_page(a, AT(2)) == source && mapped_page(b, AT(2)) == source);

	CHECK_EQ(put(a, AT(2), 0xaa), 0);
	CHECK(mapped_page(b, AT(2)) != source);
	CHECK_EQ(get(b, AT(2)), 0xaa);
	CHECK(mapped_page(b, AT(2)) == mapped_page(a, AT(2)));
	CHECK_EQ(get(other, AT(2)), 0x72);
	vm_check();
	/* The lower page goes; nothing of it may show. */
	vmspace_free(other);
	vm_object_deallocate(below);
	CHECK_EQ(put(b, AT(3), 0xbb), 0);
	CHECK_EQ(get(a, AT(3)), 0xbb);
	vm_check();
	CHECK_EQ(get(b, AT(2)), 0xaa);
	CHECK_EQ(get(b, AT(1)), 0x71);
	vmspace_free(a);
	vmspace_free(b);
}

/*
 * The same with the sharer's processor remembering the old translation: it runs on, without a
 * switch of page tables.
 */
KTEST(fork, sharer_that_runs_sees_the_copy_at_once)
{
	struct vm_object *below = vm_object_allocate(OBJT_DEFAULT, 1);
	struct vmspace *a = vmspace_alloc(), *b, *former;
	uint8_t value = 0, *window = (uint8_t *)AT(0);
	struct vm_page *m = NULL;

	(void)page_make(below, 0, 0x10);
	map_inherited(a, below, 0, 1, MAP_COPY_ON_WRITE, VM_INHERIT_SHARE);
	b = vmspace_fork(a);
	former = thread_set_vmspace(b);
	CHECK_EQ(copyin(AT(0), &value, 1), 0);
	CHECK_EQ(value, 0x10);
	/* a's store, without loading a: resolve the fault, then write the page that it left. */
	CHECK_EQ(vm_fault(&a->map, AT(0), VM_PROT_WRITE, VM_FAULT_HOLD, &m), KERN_SUCCESS);
	if (CHECK(m != NULL)) {
		*(uint8_t *)VM_PAGE_TO_DMAP(m) = 0x20;
		vm_page_unwire(m, PQ_ACTIVE);
	}
	user_access_begin();
	value = *(volatile uint8_t *)window;
	user_access_end();
	CHECK_EQ(value, 0x20);
	(void)thread_set_vmspace(former);
	vmspace_free(a);
	vmspace_free(b);
	vm_object_deallocate(below);
}

/* ---- a chain is looked through while it may shrink ---- */

static void
ask_mincore(struct vt_job *job)
{
	bool resident = true;

	CHECK_EQ(vm_mincore(job->arg, job->va, &resident), 0);
	CHECK(!resident);
}

static void
ask_usage(struct vt_job *job)
{
	struct vmspace *vm = job->arg;
	struct vm_usage usage;

	vm_map_rlock(&vm->map);
	vm_map_usage(&vm->map, vm_map_lookup_entry(&vm->map, job->va), &usage);
	vm_map_runlock(&vm->map);
	CHECK_EQ(usage.resident, 1);
}

/*
 * Who waits for an object of the chain keeps the one in front of it locked: else a collapse could free what is
 * waited for.
 */
static void
look_through(void (*fn)(struct vt_job *job))
{
	struct vmspace *parent = vmspace_alloc(), *child;
	struct vt_job job = { .fn = fn, .va = AT(3) };
	struct vm_object *top, *below;

	map_anonymous(parent, 0, 4, MAP_PRIVATE);
	CHECK_EQ(put(parent, AT(1), 11), 0);
	child = vmspace_fork(parent);
	CHECK_OR_RETURN(child != NULL);
	CHECK_EQ(put(child, AT(0), 22), 0);
	top = object_at(child, AT(0));
	below = top->backing_object;
	if (CHECK(below != NULL)) {
		vm_object_lock(below);
		job.arg = child;
		vt_start(&job, "t-look");
		CHECK(VT_WAIT(vt_sleeps(&job, "object")));
		if (!CHECK(!vm_object_trylock(top)))
			vm_object_unlock(top);
		vm_object_unlock(below);
		vt_finish(&job);
	}
	vmspace_free(child);
	vmspace_free(parent);
}

KTEST(fork, mincore_holds_on_to_the_chain)
{
	look_through(ask_mincore);
}

KTEST(fork, usage_holds_on_to_the_chain)
{
	look_through(ask_usage);
}

/* ---- a family at random ---- */

#define FAMILY		6
#define SLOTS		10
#define SLOT_PAGES	4
#define GROUPS		400
#define STEPS		2000

enum kind { UNMAPPED, PRIVATE, SHARED, FILE };

struct slot {
	enum kind	kind;
	int		group;			/* SHARED: whose memory */
	bool		present[SLOT_PAGES], readonly[SLOT_PAGES];
	uint8_t		value[SLOT_PAGES];	/* first byte of each page; PRIVATE and FILE */
};

struct member {
	struct vmspace	*vm;			/* NULL: nobody */
	struct slot	 slot[SLOTS];
};

struct family {
	struct member	 member[FAMILY];
	uint8_t		 shared[GROUPS][SLOT_PAGES];
	int		 groups;
	struct vnode	*vp;
	uint8_t		 file[SLOTS * SLOT_PAGES];
	unsigned	 forks, exits, stores, maps;
};

static vm_offset_t
slot_page(int s, int page)
{
	return (AT(s * SLOT_PAGES + page));
}

static uint8_t *
model_value(struct family *f, struct slot *s, int page)
{
	return (s->kind == SHARED ? &f->shared[s->group][page] : &s->value[page]);
}

static void
family_read(struct family *f, struct member *m, int s, int page)
{
	struct slot *slot = &m->slot[s];
	int want = slot->present[page] ? *model_value(f, slot, page) : -14;

	if (!CHECK_EQ(get(m->vm, slot_page(s, page)), want))
		printf("# member %ld, slot %d of kind %d, page %d\n", m - f->member, s, slot->kind,
		    page);
}

static void
family_write(struct family *f, struct member *m, int s, int page)
{
	struct slot *slot = &m->slot[s];
	bool may = slot->present[page] && !slot->readonly[page];
	uint8_t value = (uint8_t)ktest_random();

	if (CHECK_EQ(put(m->vm, slot_page(s, page), value), may ? 0 : 14) && may) {
		*model_value(f, slot, page) = value;
		f->stores++;
	}
}

static void
family_map(struct family *f, struct member *m, int s)
{
	struct slot *slot = &m->slot[s];
	vm_offset_t addr = slot_page(s, 0);
	int flags = MAP_FIXED;

	memset(slot, 0, sizeof(*slot));
	slot->kind = (enum kind)(PRIVATE + ktest_random() % (f->vp != NULL ? 3 : 2));
	if (slot->kind == SHARED && f->groups == GROUPS)
		slot->kind = PRIVATE;
	flags |= slot->kind == SHARED ? MAP_SHARED : MAP_PRIVATE;
	flags |= slot->kind == FILE ? 0 : MAP_ANONYMOUS;
	slot->group = slot->kind == SHARED ? f->groups++ : 0;
	CHECK_EQ(vm_mmap(m->vm, &addr, SLOT_PAGES * PAGE_SIZE, RW, flags,
	    slot->kind == FILE ? f->vp : NULL, slot->kind == FILE ? s * SLOT_PAGES * PAGE_SIZE : 0),
	    0);
	for (int i = 0; i < SLOT_PAGES; i++) {
		slot->present[i] = true;
		if (slot->kind == FILE)
			slot->value[i] = f->file[s * SLOT_PAGES + i];
	}
	f->maps++;
}

static void
family_protect(struct member *m, int s, int page, bool readonly)
{
	struct slot *slot = &m->slot[s];
	int kr = vm_map_protect(&m->vm->map, slot_page(s, page), slot_page(s, page + 1),
	    readonly ? RO : RW);

	CHECK_EQ(kr, slot->present[page] ? KERN_SUCCESS : KERN_INVALID_ADDRESS);
	slot->readonly[page] = readonly;
}

static void
family_fork(struct family *f, struct member *parent)
{
	for (int i = 0; i < FAMILY; i++) {
		if (f->member[i].vm != NULL)
			continue;
		f->member[i] = *parent;
		f->member[i].vm = vmspace_fork(parent->vm);
		f->forks++;
		return;
	}
}

static void
family_exit(struct family *f, struct member *m)
{
	int alive = 0;

	for (int i = 0; i < FAMILY; i++)
		alive += f->member[i].vm != NULL;
	if (alive == 1)
		return;
	vmspace_free(m->vm);
	m->vm = NULL;
	f->exits++;
}

static void
family_step(struct family *f)
{
	uint64_t r = ktest_random();
	struct member *m = &f->member[r % FAMILY];
	int s = r / 16 % SLOTS, page = r / 256 % SLOT_PAGES, what = r / 65536 % 40;

	while (m->vm == NULL)
		m = &f->member[ktest_random() % FAMILY];
	if (what < 3) {
		family_fork(f, m);
	} else if (what < 5) {
		family_exit(f, m);
	} else if (what < 8) {
		family_map(f, m, s);
	} else if (what < 10) {
		CHECK_EQ(vm_munmap(m->vm, slot_page(s, page), PAGE_SIZE), 0);
		m->slot[s].present[page] = false;
	} else if (what < 13) {
		family_protect(m, s, page, what == 10);
	} else if (what < 28) {
		family_write(f, m, s, page);
	} else {
		family_read(f, m, s, page);
	}
}

static void
family_compare(struct family *f)
{
	for (int i = 0; i < FAMILY; i++) {
		struct member *m = &f->member[i];

		if (m->vm == NULL)
			continue;
		for (int s = 0; s < SLOTS; s++)
			for (int page = 0; page < SLOT_PAGES; page++)
				family_read(f, m, s, page);
		check_m3(m->vm, 0, SLOTS * SLOT_PAGES);
	}
	vm_check();
}

KTEST(fork, two_thousand_steps_of_a_family_agree_with_a_model)
{
	struct family *f = kmalloc(sizeof(*f), &M_TEST, M_WAITOK | M_ZERO);

	if (testfiles_load() && (f->vp = testfile_open("/t/seq")) != NULL)
		for (int i = 0; i < SLOTS * SLOT_PAGES; i++)
			testfile_expect("/t/seq", i * PAGE_SIZE, &f->file[i], 1);
	f->member[0].vm = vmspace_alloc();
	for (int step = 0; step < STEPS && !ktest_failed(); step++) {
		family_step(f);
		if (step % 50 == 49)
			family_compare(f);
	}
	CHECK(f->forks > 50 && f->exits > 40 && f->stores > 200 && f->maps > 50);
	for (int i = 0; i < FAMILY; i++)
		if (f->member[i].vm != NULL)
			vmspace_free(f->member[i].vm);
	if (f->vp != NULL)
		vrele(f->vp);
	kfree(f, &M_TEST);
}
