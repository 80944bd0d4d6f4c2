/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address maps against a model: an array that says for each page whether it is mapped and how.
 *
 * Ten thousand random operations are done to both.  Each must answer what the array says, and every
 * hundred the whole map is compared: each page, the number of entries (no more than the pages make
 * necessary), the references on the object, and the tree.
 */
#include "kernel/malloc.h"
#include "tests/kernel/t_vm.h"

static MALLOC_DEFINE(M_TEST, "t_map_model");

#define MODEL_PAGES	256
#define MODEL_OPS	10000

struct model {
	struct vmspace	*vm;
	struct vm_object *object;
	struct cell {
		bool		mapped;
		vm_prot_t	prot, max;
		uint8_t		inherit, advice;
		int		object_page;	/* -1: anonymous */
	} cell[MODEL_PAGES];
};

static bool
cells_join(const struct cell *a, const struct cell *b)
{
	return (a->mapped && b->mapped && a->prot == b->prot && a->max == b->max &&
	    a->inherit == b->inherit && a->advice == b->advice &&
	    (a->object_page < 0 ? b->object_page < 0 : b->object_page == a->object_page + 1));
}

static struct vm_map_entry *
entry_of(struct rb_node *node)
{
	return (container_of(node, struct vm_map_entry, node));
}

/* Is every node's largest gap the largest of its own and its children's? */
static void
check_augmentation(struct vm_map *map)
{
	for (struct rb_node *n = rb_first(&map->entries); n != NULL; n = rb_next(n)) {
		struct vm_map_entry *e = entry_of(n);
		vm_size_t largest = e->gap;

		for (int i = 0; i < 2; i++)
			if (n->child[i] != NULL)
				largest = MAX(largest, entry_of(n->child[i])->max_gap);
		if (!CHECK_EQ(e->max_gap, largest))
			break;
	}
}

/* Each cell is as the map says, and the map has no more entries than it needs. */
static void
model_compare(struct model *md)
{
	uint32_t entries = 0, with_object = 0;

	vm_map_lock(&md->vm->map);
	vm_map_check(&md->vm->map);
	for (int n = 0; n < MODEL_PAGES; n++) {
		const struct cell *c = &md->cell[n];
		const struct vm_map_entry *e = vm_map_lookup_entry(&md->vm->map, AT(n));

		if (!CHECK_EQ(e != NULL, c->mapped) || e == NULL)
			continue;
		CHECK_EQ(e->protection, c->prot);
		CHECK_EQ(e->max_protection, c->max);
		CHECK_EQ(e->inheritance, c->inherit);
		CHECK_EQ(e->advice, c->advice);
		CHECK_EQ(e->object == NULL ? -1 : (int)OFF_TO_IDX(e->offset + (AT(n) - e->start)),
		    c->object_page);
		if (n == 0 || !cells_join(c - 1, c)) {
			entries++;
			with_object += c->object_page >= 0;
		}
	}
	vm_map_unlock(&md->vm->map);
	/* the two that fill the rest of the address space */
	CHECK_EQ(md->vm->map.nentries, entries + 2);
	CHECK_EQ(md->object->ref_count, with_object + 1);
	check_augmentation(&md->vm->map);
}

static int
model_insert(struct model *md, int first, int end)
{
	uint64_t r = ktest_random();
	struct cell c = {
		.mapped = true,
		.prot = r % 4 == 0 ? VM_PROT_READ : RW,
		.max = r / 4 % 4 == 0 ? RW : VM_PROT_ALL,
		.inherit = r / 16 % 8 == 0 ? VM_INHERIT_SHARE : VM_INHERIT_COPY,
		.advice = VM_ADV_NORMAL,
		.object_page = -1
	};
	bool backed = r / 128 % 4 == 0;
	int kr;

	if (backed)
		vm_object_reference(md->object);
	vm_map_lock(&md->vm->map);
	kr = vm_map_insert(&md->vm->map, backed ? md->object : NULL, IDX_TO_OFF(first), AT(first),
	    AT(end), c.prot, c.max, 0, c.inherit);
	vm_map_unlock(&md->vm->map);
	if (backed && kr != KERN_SUCCESS)
		vm_object_deallocate(md->object);
	for (int n = first; n < end; n++)
		if (md->cell[n].mapped)
			return (CHECK_EQ(kr, KERN_NO_SPACE));
	for (int n = first; n < end; n++) {
		c.object_page = backed ? n : -1;
		md->cell[n] = c;
	}
	return (CHECK_EQ(kr, KERN_SUCCESS));
}

static void
model_protect(struct model *md, int first, int end)
{
	static const vm_prot_t prots[] = {
		VM_PROT_NONE, VM_PROT_READ, RW, VM_PROT_READ | VM_PROT_EXECUTE
	};
	vm_prot_t prot = prots[ktest_random() % nitems(prots)];
	int want = KERN_SUCCESS, kr = vm_map_protect(&md->vm->map, AT(first), AT(end), prot);

	for (int n = first; n < end && want == KERN_SUCCESS; n++) {
		if (!md->cell[n].mapped)
			want = KERN_INVALID_ADDRESS;
		else if (prot & ~md->cell[n].max)
			want = KERN_PROTECTION_FAILURE;
		else
			md->cell[n].prot = prot;
	}
	CHECK_EQ(kr, want);
}

static int
model_ask(struct model *md, vm_offset_t *addr, int len)
{
	int kr;

	vm_map_lock(&md->vm->map);
	kr = vm_map_findspace(&md->vm->map, addr, len * PAGE_SIZE);
	vm_map_unlock(&md->vm->map);
	return (kr);
}

static void
model_findspace(struct model *md, int hint, int len)
{
	vm_offset_t addr = AT(hint);
	int kr = model_ask(md, &addr, len), run = 0, n;

	for (n = hint; n < MODEL_PAGES && run < len; n++)
		run = md->cell[n].mapped ? 0 : run + 1;
	if (CHECK_EQ(kr, run == len ? KERN_SUCCESS : KERN_NO_SPACE) && run == len)
		CHECK_EQ(addr, AT(n - len));
}

static void
model_step(struct model *md)
{
	uint64_t r = ktest_random();
	int first = r % MODEL_PAGES;
	int end = first + 1 + r / MODEL_PAGES % MIN(24, MODEL_PAGES - first);
	enum vm_advice advice = r / 100000 % 3;

	switch (r / 1000000 % 8) {
	case 0: case 1: case 2:
		model_insert(md, first, end);
		break;
	case 3: case 4:
		CHECK_EQ(vm_map_remove(&md->vm->map, AT(first), AT(end)), KERN_SUCCESS);
		for (int n = first; n < end; n++)
			md->cell[n].mapped = false;
		break;
	case 5:
		model_protect(md, first, end);
		break;
	case 6:
		CHECK_EQ(vm_map_advise(&md->vm->map, AT(first), AT(end), advice), KERN_SUCCESS);
		for (int n = first; n < end; n++)
			md->cell[n].advice = advice;
		break;
	default:
		model_findspace(md, first, end - first);
		break;
	}
}

KTEST(map, ten_thousand_random_operations_agree_with_a_page_array)
{
	struct model *md = kmalloc(sizeof(*md), &M_TEST, M_WAITOK | M_ZERO);
	unsigned joined = 0;

	md->vm = vmspace_alloc();
	md->object = vm_object_allocate(OBJT_DEFAULT, MODEL_PAGES);
	vm_map_lock(&md->vm->map);
	CHECK_EQ(vm_map_insert(&md->vm->map, NULL, 0, VM_USER_MIN, AT(0), RW, RW, 0,
	    VM_INHERIT_NONE), KERN_SUCCESS);
	CHECK_EQ(vm_map_insert(&md->vm->map, NULL, 0, AT(MODEL_PAGES), VM_USER_MAX, RW, RW, 0,
	    VM_INHERIT_NONE), KERN_SUCCESS);
	vm_map_unlock(&md->vm->map);
	for (int i = 0; i < MODEL_OPS && !ktest_failed(); i++) {
		uint32_t before = md->vm->map.nentries;

		model_step(md);
		joined += md->vm->map.nentries < before;
		if (i % 100 == 99)
			model_compare(md);
	}
	CHECK(joined > MODEL_OPS / 20);
	vmspace_free(md->vm);
	CHECK_EQ(md->object->ref_count, 1);
	vm_object_deallocate(md->object);
	kfree(md, &M_TEST);
}
