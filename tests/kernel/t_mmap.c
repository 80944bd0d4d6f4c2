/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmap and munmap: each argument that can be wrong, each errno, and what entries the right ones
 * make.
 */
#include "kernel/fs/vnode.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"

#define BASE	0x10000000ul
#define AT(n)	(BASE + (vm_offset_t)(n) * PAGE_SIZE)
#define RO	VM_PROT_READ
#define RW	(VM_PROT_READ | VM_PROT_WRITE)
#define SHARED	MAP_SHARED
#define PRIVATE	MAP_PRIVATE
#define ANON	MAP_ANONYMOUS
#define FIXED	MAP_FIXED
#define OFF_MAX	INT64_MAX

/* A copy of the entry that holds addr; all zero when there is none. */
static struct vm_map_entry
entry_at(struct vmspace *vm, vm_offset_t addr)
{
	struct vm_map_entry *e, copy = { 0 };

	vm_map_rlock(&vm->map);
	e = vm_map_lookup_entry(&vm->map, addr);
	if (e != NULL)
		copy = *e;
	vm_map_runlock(&vm->map);
	return (copy);
}

static void
check_map(struct vmspace *vm)
{
	vm_map_lock(&vm->map);
	vm_map_check(&vm->map);
	vm_map_unlock(&vm->map);
}

struct mmap_try {
	vm_offset_t	addr;
	vm_size_t	len;
	vm_prot_t	prot;
	int		flags;
	vm_ooffset_t	off;
	int		error;
};

/* Each row fails as it says and leaves the map alone, or succeeds and is unmapped again. */
static void
try_mmaps(struct vmspace *vm, const struct mmap_try *tries, size_t n, struct vnode *vp)
{
	for (size_t i = 0; i < n; i++) {
		const struct mmap_try *t = &tries[i];
		vm_offset_t addr = t->addr;
		uint32_t entries = vm->map.nentries;
		int error = vm_mmap(vm, &addr, t->len, t->prot, t->flags, vp, t->off);

		if (!CHECK_EQ(error, t->error))
			printf("# row %lu\n", i);
		if (error == 0) {
			if (t->flags & FIXED)
				CHECK_EQ(addr, t->addr);
			CHECK_EQ(vm_munmap(vm, addr, t->len), 0);
		} else {
			CHECK_EQ(addr, t->addr);
		}
		CHECK_EQ(vm->map.nentries, entries);
	}
}

KTEST(mmap, arguments_of_anonymous_mappings)
{
	static const struct mmap_try tries[] = {
		{ 0, PAGE_SIZE, RW, PRIVATE | ANON, 0, 0 },
		{ 0, PAGE_SIZE, RW, SHARED | ANON, 0, 0 },
		{ 0, 1, RW, PRIVATE | ANON, 0, 0 },
		{ AT(0), PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, 0 },
		{ AT(0) + 5, PAGE_SIZE, RW, PRIVATE | ANON, 0, 0 }, /* a hint need not be aligned */
		{ AT(0), PAGE_SIZE, RW, PRIVATE | ANON, PAGE_SIZE, 0 },	/* an offset is ignored */
		{ AT(0), PAGE_SIZE, VM_PROT_NONE, PRIVATE | ANON, 0, 0 },
		{ AT(0), PAGE_SIZE, VM_PROT_ALL, PRIVATE | ANON, 0, 0 },
		{ AT(0), 0, RW, PRIVATE | ANON, 0, EINVAL },
		{ AT(0), PAGE_SIZE, RW, ANON, 0, EINVAL },	/* neither shared nor private */
		{ AT(0), PAGE_SIZE, RW, SHARED | PRIVATE | ANON, 0, EINVAL },
		{ AT(0), PAGE_SIZE, RW, PRIVATE, 0, EINVAL },	/* neither anonymous nor a file */
		{ AT(0) + 5, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, EINVAL },
		{ AT(0), PAGE_SIZE, RW, PRIVATE | ANON, 5, EINVAL },
		{ AT(0), PAGE_SIZE, RW, PRIVATE | ANON, -(vm_ooffset_t)PAGE_SIZE, EINVAL },
		{ AT(0), VM_USER_MAX - AT(0) + 1, RW, PRIVATE | ANON, 0, ENOMEM },
		{ AT(0), 1ul << 47, RW, PRIVATE | ANON, 0, ENOMEM },
		{ AT(0), -PAGE_SIZE, RW, PRIVATE | ANON, 0, ENOMEM },
		{ AT(0), ~0ul, RW, PRIVATE | ANON, 0, ENOMEM },	/* rounds up to nothing */
		{ 0, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, ENOMEM },
		{ VM_USER_MIN - PAGE_SIZE, 2 * PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, ENOMEM },
		{ VM_USER_MIN, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, 0 },
		{ VM_USER_MAX - PAGE_SIZE, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, 0 },
		{ VM_USER_MAX - PAGE_SIZE, PAGE_SIZE + 1, RW, PRIVATE | ANON | FIXED, 0, ENOMEM },
		{ VM_USER_MAX, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, ENOMEM },
		{ DMAP_BASE, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, ENOMEM },
		{ KERNBASE, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, ENOMEM },
		{ ~PAGE_MASK, 2 * PAGE_SIZE, RW, PRIVATE | ANON | FIXED, 0, ENOMEM },	/* wraps */
		/* nothing from there on */
		{ VM_USER_MAX, PAGE_SIZE, RW, PRIVATE | ANON, 0, ENOMEM },
	};
	struct vmspace *vm = vmspace_alloc();

	try_mmaps(vm, tries, nitems(tries), NULL);
	check_map(vm);
	vmspace_free(vm);
}

/* Entries cannot be swapped out: who makes them without end is stopped. */
KTEST(mmap, entries_without_end_are_refused)
{
	struct vmspace *vm = vmspace_alloc();
	uint32_t old = vm_map_entries_bound(20);
	vm_offset_t addr, big = 0, last = 0;
	int error, n;

	CHECK_EQ(vm_mmap(vm, &big, 64 * PAGE_SIZE, VM_PROT_READ, PRIVATE | ANON, NULL, 0), 0);
	for (n = 0; n < 30; n++) {
		addr = 0;
		error = vm_mmap(vm, &addr, PAGE_SIZE, n % 2 ? VM_PROT_READ : VM_PROT_NONE, PRIVATE | ANON, NULL, 0);
		if (error != 0)
			break;
		last = addr;
	}
	CHECK_EQ(error, ENOMEM);
	CHECK_EQ(vm->map.nentries, 20);
	/* Whatever would cut an entry is refused, and changes nothing. */
	addr = big + 8 * PAGE_SIZE;
	CHECK_EQ(vm_map_protect(&vm->map, addr, addr + PAGE_SIZE, VM_PROT_ALL), KERN_RESOURCE_SHORTAGE);
	CHECK_EQ(vm_map_advise(&vm->map, addr, addr + PAGE_SIZE, VM_ADV_RANDOM), KERN_RESOURCE_SHORTAGE);
	CHECK_EQ(vm_map_wire(&vm->map, addr, addr + PAGE_SIZE), KERN_RESOURCE_SHORTAGE);
	CHECK_EQ(vm_munmap(vm, addr, PAGE_SIZE), ENOMEM);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, VM_PROT_ALL, PRIVATE | ANON | FIXED, NULL, 0), ENOMEM);
	CHECK_EQ(entry_at(vm, addr).start, big);
	CHECK_EQ(entry_at(vm, addr).end, big + 64 * PAGE_SIZE);
	CHECK_EQ(entry_at(vm, addr).protection, VM_PROT_READ);
	/* What needs no more of them is not, and what makes fewer makes room. */
	CHECK_EQ(vm_map_protect(&vm->map, last, last + PAGE_SIZE, VM_PROT_ALL), KERN_SUCCESS);
	CHECK_EQ(vm_munmap(vm, big, PAGE_SIZE), 0);
	CHECK_EQ(vm_munmap(vm, last, PAGE_SIZE), 0);
	addr = 0;
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, VM_PROT_ALL, PRIVATE | ANON, NULL, 0), 0);
	check_map(vm);
	vm_map_entries_bound(old);
	vmspace_free(vm);
}

KTEST(mmap, arguments_of_file_mappings)
{
	static const struct mmap_try tries[] = {
		{ 0, PAGE_SIZE, RO, SHARED, 0, 0 },
		{ 0, PAGE_SIZE, RW, PRIVATE, 0, 0 },
		{ AT(0), 3, RO, SHARED | FIXED, PAGE_SIZE, 0 },
		/* past EOF: the fault will tell */
		{ 0, PAGE_SIZE, RO, SHARED, 64 * (vm_ooffset_t)GiB, 0 },
		{ 0, PAGE_SIZE, RO, SHARED, OFF_MAX - 2 * (vm_ooffset_t)PAGE_SIZE + 1, 0 },
		{ 0, PAGE_SIZE, RO, SHARED, OFF_MAX - (vm_ooffset_t)PAGE_SIZE + 1, EOVERFLOW },
		{ 0, 2 * PAGE_SIZE, RO, SHARED, OFF_MAX - (vm_ooffset_t)PAGE_SIZE + 1, EOVERFLOW },
		{ 0, PAGE_SIZE, RO, SHARED | ANON, 0, EINVAL },	/* both anonymous and a file */
		{ 0, PAGE_SIZE, RO, 0, 0, EINVAL },
		{ 0, 0, RO, SHARED, 0, EINVAL },
		{ 0, PAGE_SIZE, RO, SHARED, 512, EINVAL },
		{ AT(0) + 512, PAGE_SIZE, RO, SHARED | FIXED, 0, EINVAL },
		{ 0, PAGE_SIZE, RO, SHARED, -1, EINVAL },
		{ 0, 1ul << 47, RO, SHARED, 0, ENOMEM },
		{ DMAP_BASE, PAGE_SIZE, RO, SHARED | FIXED, 0, ENOMEM },
	};
	struct vmspace *vm;
	struct vnode *vp;
	uint64_t objects;

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN((vp = testfile_open("/t/seq")) != NULL);
	vm = vmspace_alloc();
	objects = vm_object_count();
	try_mmaps(vm, tries, nitems(tries), vp);
	/* the file's, and however often it was mapped only one */
	CHECK_EQ(vm_object_count() - objects, 1);
	CHECK_EQ(vp->v_object->ref_count, 0);
	check_map(vm);
	vmspace_free(vm);
	vrele(vp);
}

KTEST(mmap, only_regular_files_are_mapped)
{
	vm_offset_t addr = AT(0);
	struct vmspace *vm;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN(namei("/t", NULL, 0, &vp) == 0);
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RW, PRIVATE | ANON | FIXED, NULL, 0), 0);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, SHARED, vp, 0), ENODEV);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, PRIVATE, vp, 0), ENODEV);
	/* What was there stays there. */
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, PRIVATE | FIXED, vp, 0), ENODEV);
	CHECK_EQ(entry_at(vm, AT(0)).protection, RW);
	vrele(vp);
	CHECK_OR_RETURN(namei("/t/fast", NULL, NAMEI_NOFOLLOW, &vp) == 0);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, PRIVATE, vp, 0), ENODEV);
	vrele(vp);
	vmspace_free(vm);
}

/* A file on a read-only volume: no store may ever reach it, now or after a change of protection. */
KTEST(mmap, shared_file_of_a_read_only_volume_never_becomes_writable)
{
	vm_offset_t addr = AT(0);
	struct vmspace *vm;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN((vp = testfile_open("/t/seq")) != NULL);
	if ((vp->v_mount->mnt_flag & MNT_RDONLY) == 0) {
		ktest_skip("the root volume is writable");
		vrele(vp);
		return;
	}
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RW, SHARED, vp, 0), EACCES);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, VM_PROT_WRITE, SHARED, vp, 0), EACCES);
	CHECK_EQ(vm->map.nentries, 0);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, SHARED, vp, 0), 0);
	CHECK_EQ(vm_map_protect(&vm->map, addr, addr + PAGE_SIZE, RW), KERN_PROTECTION_FAILURE);
	CHECK_EQ(entry_at(vm, addr).protection, RO);
	vmspace_free(vm);
	vrele(vp);
}

KTEST(mmap, entries_say_what_was_asked_for)
{
	vm_offset_t anon = 0, shared = AT(16) + 123, file = AT(32), cow = AT(32);
	struct vm_map_entry e;
	struct vmspace *vm;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN((vp = testfile_open("/t/seq")) != NULL);
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &anon, 3 * PAGE_SIZE - 7, RW, PRIVATE | ANON, NULL, 0), 0);
	CHECK_EQ(vm_mmap(vm, &shared, PAGE_SIZE, RO, SHARED | ANON, NULL, 0), 0);
	CHECK_EQ(vm_mmap(vm, &file, 2 * PAGE_SIZE, RO, SHARED, vp, 5 * PAGE_SIZE), 0);
	CHECK_EQ(vm_mmap(vm, &cow, 2 * PAGE_SIZE, RW, PRIVATE, vp, 7 * PAGE_SIZE), 0);

	CHECK_EQ(anon, VM_USER_MIN);
	e = entry_at(vm, anon);
	CHECK(e.object == NULL && !e.needs_copy);
	CHECK_EQ(e.end - e.start, 3 * PAGE_SIZE);
	CHECK_EQ(e.inheritance, VM_INHERIT_COPY);
	CHECK_EQ(shared, AT(16));
	CHECK_EQ(entry_at(vm, shared).inheritance, VM_INHERIT_SHARE);
	CHECK_EQ(file, AT(32));
	e = entry_at(vm, file);
	CHECK(e.object == vp->v_object && !e.needs_copy);
	CHECK_EQ(e.offset, 5 * PAGE_SIZE);
	CHECK_EQ(e.inheritance, VM_INHERIT_SHARE);
	CHECK_EQ(cow, AT(34));				/* the first free place above */
	e = entry_at(vm, cow);
	CHECK(e.object == vp->v_object && e.needs_copy);
	CHECK_EQ(e.offset, 7 * PAGE_SIZE);
	CHECK_EQ(e.inheritance, VM_INHERIT_COPY);
	CHECK_EQ(vp->v_object->ref_count, 2);
	check_map(vm);
	/* The mapping needs the vnode no more: its object holds it. */
	vrele(vp);
	CHECK_EQ(copyin(file, &e, 8), EFAULT);		/* not our address space */
	vmspace_free(vm);
}

KTEST(mmap, fixed_mapping_replaces_what_is_there)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	vm_offset_t addr = AT(0);
	uint64_t word = 0x1234;

	CHECK_EQ(vm_mmap(vm, &addr, 8 * PAGE_SIZE, RW, PRIVATE | ANON | FIXED, NULL, 0), 0);
	for (int n = 0; n < 8; n++)
		CHECK_EQ(copyout(&word, AT(n), sizeof(word)), 0);
	addr = AT(3);
	CHECK_EQ(vm_mmap(vm, &addr, 2 * PAGE_SIZE, RW, SHARED | ANON | FIXED, NULL, 0), 0);
	CHECK_EQ(vm->map.nentries, 3);
	for (int n = 0; n < 8; n++) {
		CHECK_EQ(copyin(AT(n), &word, sizeof(word)), 0);
		CHECK_EQ(word, n == 3 || n == 4 ? 0 : 0x1234);
	}
	/* Without FIXED the hint is taken: the new mapping goes elsewhere. */
	addr = AT(3);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RW, PRIVATE | ANON, NULL, 0), 0);
	CHECK_EQ(addr, AT(8));
	check_map(vm);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

KTEST(mmap, no_room_is_ENOMEM_and_leaks_nothing)
{
	vm_offset_t addr = VM_USER_MIN;
	struct vmspace *vm;
	struct vnode *vp;

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN((vp = testfile_open("/t/seq")) != NULL);
	vm = vmspace_alloc();
	CHECK_EQ(vm_mmap(vm, &addr, VM_USER_MAX - VM_USER_MIN - PAGE_SIZE, RO, PRIVATE | ANON, NULL,
	    0), 0);
	addr = 0;
	CHECK_EQ(vm_mmap(vm, &addr, 2 * PAGE_SIZE, RO, SHARED, vp, 0), ENOMEM);
	CHECK_EQ(vm_mmap(vm, &addr, 2 * PAGE_SIZE, RO, PRIVATE | ANON, NULL, 0), ENOMEM);
	CHECK_EQ(vp->v_object->ref_count, 0);
	CHECK_EQ(vm_mmap(vm, &addr, PAGE_SIZE, RO, SHARED, vp, 0), 0);
	CHECK_EQ(addr, VM_USER_MAX - PAGE_SIZE);
	vmspace_free(vm);
	vrele(vp);
}

KTEST(mmap, munmap_arguments)
{
	static const struct { vm_offset_t addr; vm_size_t len; int error; } tries[] = {
		{ AT(0), 0, EINVAL }, { AT(0) + 1, PAGE_SIZE, EINVAL },
		{ AT(0) + 512, 512, EINVAL },
		{ AT(0), ~0ul, EINVAL }, { AT(0), -AT(0), EINVAL }, { AT(0), 1ul << 47, EINVAL },
		{ 0, PAGE_SIZE, EINVAL }, { DMAP_BASE, PAGE_SIZE, EINVAL },
		{ VM_USER_MAX, PAGE_SIZE, EINVAL },
		{ ~PAGE_MASK, PAGE_SIZE, EINVAL }, { ~PAGE_MASK, 2 * PAGE_SIZE, EINVAL },
		{ AT(100), PAGE_SIZE, 0 },			/* nothing is mapped there */
		{ AT(9), 3 * PAGE_SIZE, 0 },	/* nothing but a page at its start */
		{ AT(0), 1, 0 },				/* a byte is a page */
		{ AT(1), PAGE_SIZE + 1, 0 },
	};
	static const bool left[10] = { [3] = true, true, true, true, true, true };
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(0);

	CHECK_EQ(vm_mmap(vm, &addr, 10 * PAGE_SIZE, RW, PRIVATE | ANON | FIXED, NULL, 0), 0);
	for (size_t i = 0; i < nitems(tries); i++)
		if (!CHECK_EQ(vm_munmap(vm, tries[i].addr, tries[i].len), tries[i].error))
			printf("# row %lu\n", i);
	for (int n = 0; n < 10; n++)
		CHECK_EQ(entry_at(vm, AT(n)).end != 0, left[n]);
	CHECK_EQ(vm->map.size, 6 * PAGE_SIZE);
	check_map(vm);
	vmspace_free(vm);
}

/* Mapping and unmapping for ever uses the same place and no memory: the leak law counts. */
KTEST(mmap, repeated_mapping_uses_one_place)
{
	struct vmspace *vm = vmspace_alloc();

	for (int i = 0; i < 2000; i++) {
		vm_offset_t addr = AT(0);

		CHECK_EQ(vm_mmap(vm, &addr, 16 * PAGE_SIZE, RW, PRIVATE | ANON, NULL, 0), 0);
		CHECK_EQ(addr, AT(0));
		CHECK_EQ(vm_munmap(vm, addr, 16 * PAGE_SIZE), 0);
		if (ktest_failed())
			break;
	}
	CHECK_EQ(vm->map.nentries, 0);
	vmspace_free(vm);
}
