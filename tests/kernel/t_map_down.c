/* SPDX-License-Identifier: BSD-2-Clause */
/* Maps from above: the highest free place, compared with a search page by page; stacks that grow. */
#include "kernel/lib/string.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_map.h"

#define PAGES		192		/* the model's part of the address space */
#define BASE		VM_USER_MIN
#define ROUNDS		40
#define GUARD		(256 * PAGE_SIZE)

static uint32_t
pseudo_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8);
}

/* The highest run of `len` free pages that ends at or below page `top`; -1: there is none. */
static int
model_below(const bool *taken, int top, int len)
{
	int at, free = 0;

	for (at = top - 1; at >= 0; at--) {
		free = taken[at] ? 0 : free + 1;
		if (free == len)
			return (at);
	}
	return (-1);
}

KTEST(map, space_below_agrees_with_a_search_page_by_page)
{
	struct vmspace *vm = vmspace_alloc();
	uint32_t state = 7;
	bool taken[PAGES];

	CHECK(vm != NULL);
	for (int round = 0; round < ROUNDS; round++) {
		memset(taken, 0, sizeof(taken));
		vm_map_lock(&vm->map);
		for (int n = pseudo_random(&state) % 40; n > 0; n--) {
			int at = (int)(pseudo_random(&state) % PAGES), len = 1 + (int)(pseudo_random(&state) % 6);

			if (at + len <= PAGES && vm_map_insert(&vm->map, NULL, 0, BASE + at * PAGE_SIZE,
			    BASE + (at + len) * PAGE_SIZE, n & 1 ? VM_PROT_READ : VM_PROT_ALL, VM_PROT_ALL, 0,
			    VM_INHERIT_COPY) == KERN_SUCCESS)
				memset(taken + at, 1, (size_t)len);
		}
		for (int top = 1; top <= PAGES; top++)
			for (int len = 1; len < 20; len++) {
				vm_offset_t addr = BASE + top * PAGE_SIZE;
				int want = model_below(taken, top, len);
				int kr = vm_map_findspace_below(&vm->map, &addr, (vm_size_t)len * PAGE_SIZE);

				CHECK_EQ(kr, want < 0 ? KERN_NO_SPACE : KERN_SUCCESS);
				if (want >= 0)
					CHECK_EQ(addr, BASE + want * PAGE_SIZE);
			}
		vm_map_check(&vm->map);
		vm_map_unlock(&vm->map);
		vm_map_remove(&vm->map, BASE, BASE + PAGES * PAGE_SIZE);
	}
	vmspace_free(vm);
}

KTEST(map, a_stack_grows_to_its_limit_and_keeps_its_distance)
{
	vm_offset_t top = 64 * MiB, limit = 8 * MiB, other = top - 6 * MiB;
	struct vmspace *vm = vmspace_alloc();

	CHECK(vm != NULL);
	CHECK_EQ(vm_map_stack(&vm->map, top, limit, VM_PROT_READ | VM_PROT_WRITE), 0);
	CHECK(vm_map_grow(&vm->map, top - 1 * MiB));
	CHECK(vm_map_grow(&vm->map, top - 1 * MiB));		/* somebody else was faster */
	CHECK(!vm_map_grow(&vm->map, top));			/* above it there is nothing that grows */
	CHECK(!vm_map_grow(&vm->map, top - limit - 1));
	vm_map_lock(&vm->map);
	CHECK_EQ(vm_map_insert(&vm->map, NULL, 0, other - PAGE_SIZE, other, VM_PROT_READ, VM_PROT_ALL, 0,
	    VM_INHERIT_COPY), KERN_SUCCESS);
	vm_map_unlock(&vm->map);
	CHECK(!vm_map_grow(&vm->map, other + GUARD - 1));
	CHECK(vm_map_grow(&vm->map, other + GUARD));
	vm_map_remove(&vm->map, other - PAGE_SIZE, other);
	CHECK(vm_map_grow(&vm->map, top - limit));		/* the very last byte that it may have */
	CHECK(!vm_map_grow(&vm->map, top - limit - 1));
	vm_map_rlock(&vm->map);
	CHECK_EQ(vm->map.size, limit);
	vm_map_check(&vm->map);
	vm_map_runlock(&vm->map);
	vmspace_free(vm);
}
