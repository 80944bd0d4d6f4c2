/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page faults as programs cause them: this thread loads an address space of its own and touches it.
 *
 * What is expected to succeed is a plain load or store, so the instruction itself faults and is run
 * again.  What is expected to fail goes through copyin() and copyout(), which survive it and leave
 * in curthread->fault what a signal would carry.  Instruction fetches go through vm_fault(),
 * because a kernel thread may not jump to user addresses.
 */
#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "tests/kernel/t_vm.h"
#include "tests/kernel/testfiles.h"
#include "vm/vm_check.h"
#include "vm/vm_pageq.h"

#define OFFSET	0x123	/* odd, so that an address rounded somewhere on the way is seen */

/* ---- the matrix ---- */

enum backing { ANON_PRIVATE, ANON_SHARED, FILE_PRIVATE, FILE_SHARED, BACKINGS };
enum presence { ABSENT, RESIDENT, MAPPED, COPIED, PRESENCES };	/* COPIED: a write must copy */

static const char *const backing_names[] = {
	"anonymous private", "anonymous shared", "file private", "file shared"
};
static const char *const presence_names[] = { "absent", "resident", "mapped", "copy-on-write" };

struct matrix_case {
	enum backing	 backing;
	enum presence	 presence;
	vm_prot_t	 prot, access;
	struct vnode	*vp;
	struct vmspace	*vm, *child;
	uint8_t		 content;
};

/* Page 1 of a two-page mapping, in the state that the case wants.  false: there is no such case. */
static bool
matrix_build(struct matrix_case *c)
{
	bool file = c->backing == FILE_PRIVATE || c->backing == FILE_SHARED;
	bool shared = c->backing == ANON_SHARED || c->backing == FILE_SHARED;
	vm_offset_t addr = AT(0);

	/* A shared file of a read-only volume is never writable; t_mmap.c has that. */
	if (c->backing == FILE_SHARED && (c->prot & VM_PROT_WRITE))
		return (false);
	CHECK_EQ(vm_mmap(c->vm, &addr, 2 * PAGE_SIZE, c->backing == FILE_SHARED ? RO : RW,
	    (shared ? MAP_SHARED : MAP_PRIVATE) | (file ? 0 : MAP_ANONYMOUS) | MAP_FIXED,
	    file ? c->vp : NULL, 0), 0);
	c->content = 0;
	if (file)
		testfile_expect("/t/seq", PAGE_SIZE + OFFSET, &c->content, 1);
	if (c->presence != ABSENT && c->backing != FILE_SHARED) {
		c->content = 0x5a;
		vt_store(AT(1) + OFFSET, c->content);
	} else if (c->presence != ABSENT) {
		CHECK_EQ(vt_load(AT(1) + OFFSET), c->content);
	}
	if (c->presence == COPIED)
		c->child = vmspace_fork(c->vm);
	if (c->presence == RESIDENT)
		pmap_remove(&c->vm->pmap, AT(0), AT(2));
	CHECK_EQ(vm_map_protect(&c->vm->map, AT(0), AT(2), c->prot), KERN_SUCCESS);
	return (true);
}

/*
 * x86 has no page that can be written or executed and not read: any permission implies reading.  It
 * has pages that cannot be executed, if the processor has NX.
 */
static bool
matrix_allows(const struct matrix_case *c)
{
	return (c->access == VM_PROT_READ ? c->prot != VM_PROT_NONE : (c->prot & c->access) != 0);
}

static void
matrix_access(struct matrix_case *c)
{
	vm_offset_t va = AT(1) + OFFSET;
	vm_prot_t mapped;

	if (c->access == VM_PROT_EXECUTE) {
		CHECK_EQ(vm_fault(&c->vm->map, va, VM_PROT_EXECUTE, 0, NULL),
		    matrix_allows(c) ? KERN_SUCCESS : KERN_PROTECTION_FAILURE);
	} else if (!matrix_allows(c)) {
		CHECK_REFUSED(va, c->access == VM_PROT_WRITE, VT_SIGSEGV, VT_ACCERR);
	} else if (c->access == VM_PROT_WRITE) {
		uint8_t beside = vt_load(va + 1);

		vt_store(va, 0x66);
		CHECK_EQ(vt_load(va), 0x66);
		CHECK_EQ(vt_load(va + 1), beside);
	} else {
		CHECK_EQ(vt_load(va), c->content);
	}
	if (!matrix_allows(c))
		return;
	CHECK(pmap_mapped(&c->vm->pmap, AT(1), &mapped));
	CHECK_EQ(mapped & ~(c->prot | VM_PROT_READ), 0);	/* never more than was asked for */
	if (c->access != VM_PROT_READ)
		CHECK(mapped & c->access);
}

static void
matrix_run(struct matrix_case *c)
{
	struct vmspace *former;
	uint8_t in_child = 0;

	c->vm = vmspace_alloc();
	c->child = NULL;
	former = thread_set_vmspace(c->vm);
	if (matrix_build(c)) {
		matrix_access(c);
		if (c->child != NULL) {
			/* What the child sees depends on sharing alone. */
			in_child = c->backing == ANON_SHARED && c->access == VM_PROT_WRITE &&
			    matrix_allows(c) ? 0x66 : c->content;
			CHECK_EQ(vm_map_protect(&c->child->map, AT(0), AT(2), RO), KERN_SUCCESS);
			CHECK_EQ(get(c->child, AT(1) + OFFSET), in_child);
		}
	}
	(void)thread_set_vmspace(former);
	if (c->child != NULL)
		vmspace_free(c->child);
	vmspace_free(c->vm);
}

KTEST(fault, matrix_of_backings_states_protections_and_accesses)
{
	static const vm_prot_t accesses[] = { VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE };
	struct matrix_case c = { 0 };

	TESTFILES_OR_SKIP();
	CHECK_OR_RETURN((c.vp = testfile_open("/t/seq")) != NULL);
	for (c.backing = 0; c.backing < BACKINGS; c.backing++)
		for (c.presence = 0; c.presence < PRESENCES; c.presence++)
			for (c.prot = 0; c.prot <= VM_PROT_ALL; c.prot++)
				for (size_t i = 0; i < nitems(accesses) && !ktest_failed(); i++) {
					c.access = accesses[i];
					matrix_run(&c);
					if (ktest_failed())
						printf("# %s, %s, protection %x, access %x\n",
						    backing_names[c.backing],
						    presence_names[c.presence], c.prot, c.access);
				}
	vrele(c.vp);
}

/* ---- addresses ---- */

KTEST(fault, nothing_is_mapped_next_to_a_mapping)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);

	map_anonymous(vm, 0, 2, MAP_PRIVATE);
	vt_store(AT(0), 1);
	vt_store(AT(2) - 1, 2);
	CHECK_REFUSED(AT(0) - 1, false, VT_SIGSEGV, VT_MAPERR);
	CHECK_REFUSED(AT(2), true, VT_SIGSEGV, VT_MAPERR);
	CHECK_REFUSED(0, false, VT_SIGSEGV, VT_MAPERR);
	CHECK_REFUSED(0x7ff, true, VT_SIGSEGV, VT_MAPERR);
	CHECK_REFUSED(VM_USER_MIN - 1, false, VT_SIGSEGV, VT_MAPERR);
	CHECK_REFUSED(VM_USER_MAX - 1, false, VT_SIGSEGV, VT_MAPERR);
	CHECK_EQ(vm_fault(&vm->map, AT(5), VM_PROT_EXECUTE, 0, NULL), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_fault(&vm->map, VM_USER_MAX, VM_PROT_READ, 0, NULL), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_fault(&vm->map, DMAP_BASE, VM_PROT_READ, 0, NULL), KERN_INVALID_ADDRESS);
	CHECK_EQ(vm_fault(&vm->map, ~0ul, VM_PROT_READ, 0, NULL), KERN_INVALID_ADDRESS);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

KTEST(fault, first_and_last_page_of_the_user_half_work)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	vm_offset_t low = VM_USER_MIN, high = VM_USER_MAX - PAGE_SIZE;

	CHECK_EQ(vm_mmap(vm, &low, PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0),
	    0);
	CHECK_EQ(vm_mmap(vm, &high, PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL,
	    0), 0);
	vt_store(VM_USER_MIN, 1);
	vt_store(VM_USER_MAX - 1, 2);
	CHECK_EQ(vt_load(VM_USER_MIN), 1);
	CHECK_EQ(vt_load(VM_USER_MAX - 1), 2);
	vm_check();
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

/*
 * A copy that crosses from a good page into a bad one: all that lies before arrives, and the
 * address is the first that does not.
 */
KTEST(fault, copy_that_runs_out_of_its_mapping_names_the_byte)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	static uint8_t buf[64];
	size_t done;

	map_anonymous(vm, 0, 1, MAP_PRIVATE);
	for (int off = 1; off <= 24; off++) {
		memset(buf, 0xee, sizeof(buf));
		CHECK_EQ(copyin(AT(1) - off, buf, 32), 14);
		CHECK_EQ(curthread->fault.addr, AT(1));
		CHECK_EQ(buf[off & ~7], 0xee);
		for (int i = 0; i < (off & ~7); i++)
			CHECK_EQ(buf[i], 0);
	}
	memset(buf, 'a', sizeof(buf));
	CHECK_EQ(copyout(buf, AT(1) - 16, 16), 0);
	CHECK_EQ(copyout(buf, AT(1) - 16, 17), 14);
	CHECK_EQ(copyinstr(AT(1) - 10, (char *)buf, sizeof(buf), &done), 14);
	CHECK_EQ(done, 10);
	CHECK_EQ(curthread->fault.addr, AT(1));
	vt_store(AT(1) - 1, 0);
	/* the NUL is the last byte there is */
	CHECK_EQ(copyinstr(AT(1) - 10, (char *)buf, sizeof(buf), &done), 0);
	CHECK_EQ(done, 10);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

/*
 * The first touch of a page may be the kernel's own, on behalf of a program: every copy routine
 * faults it in.
 */
KTEST(fault, copies_fault_their_pages_in)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	static uint8_t buf[3 * PAGE_SIZE];
	uint64_t faults = curthread->faults;
	size_t done;

	map_anonymous(vm, 0, 16, MAP_PRIVATE);
	memset(buf, 'b', sizeof(buf));
	CHECK_EQ(copyout(buf, AT(0) + 100, 2 * PAGE_SIZE), 0);
	CHECK_EQ(curthread->faults, faults + 3);
	CHECK_EQ(copyin(AT(4) - 1, buf, PAGE_SIZE + 2), 0);
	CHECK_EQ(curthread->faults, faults + 6);
	CHECK_EQ(copyinstr(AT(8), (char *)buf, 10, &done), 0);
	CHECK_EQ(done, 1);
	CHECK_EQ(curthread->faults, faults + 7);
	CHECK_EQ(object_at(vm, AT(0))->resident_page_count, 7);
	CHECK_EQ(vt_load(AT(0) + 100), 'b');
	CHECK_EQ(vt_load(AT(2) + 99), 'b');
	CHECK_EQ(vt_load(AT(2) + 100), 0);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

KTEST(fault, kernel_addresses_and_non_canonical_ones_are_refused)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	uint64_t faults = curthread->faults, word = 0;

	CHECK_EQ(copyin(KERNBASE, &word, 8), 14);
	CHECK_EQ(copyin((vm_offset_t)&word, &word, 8), 14);
	CHECK_EQ(copyout(&word, DMAP_BASE, 8), 14);
	CHECK_EQ(copyin(1ul << 47, &word, 8), 14);
	CHECK_EQ(copyin(0xdeadbeefdeadbeeful, &word, 8), 14);
	CHECK_EQ(curthread->faults, faults);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

/* ---- the end of a file ---- */

KTEST(fault, end_of_file_is_exact)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	vm_offset_t shared = AT(0), private = AT(16), empty = AT(32);
	struct vnode *vp = NULL, *nothing = NULL;
	uint8_t last;

	if (!testfiles_load()) {
		ktest_skip("the root volume has no /t/manifest");
	} else if ((vp = testfile_open("/t/odd")) != NULL &&
	    (nothing = testfile_open("/t/empty")) != NULL) {
		CHECK_EQ(vm_mmap(vm, &shared, 8 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp, 0), 0);
		CHECK_EQ(vm_mmap(vm, &private, 8 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, vp, 0),
		    0);
		CHECK_EQ(vm_mmap(vm, &empty, PAGE_SIZE, RO, MAP_PRIVATE | MAP_FIXED, nothing, 0),
		    0);
		/* 3 pages and 1234 bytes */
		testfile_expect("/t/odd", 3 * PAGE_SIZE + 1233, &last, 1);
		CHECK_EQ(vt_load(AT(3) + 1233), last);
		for (int i = 1234; i < (int)PAGE_SIZE; i += 7)
			CHECK_EQ(vt_load(AT(3) + i), 0);
		CHECK_EQ(vt_load(AT(4) - 1), 0);
		CHECK_REFUSED(AT(4), false, VT_SIGBUS, VT_ADRERR);
		CHECK_REFUSED(AT(7) + 77, false, VT_SIGBUS, VT_ADRERR);
		CHECK_REFUSED(AT(20), false, VT_SIGBUS, VT_ADRERR);
		CHECK_REFUSED(AT(20) + 5, true, VT_SIGBUS, VT_ADRERR);
		CHECK_REFUSED(AT(32), false, VT_SIGBUS, VT_ADRERR);
		/* A private copy of the last page is whole, and past its file's end one's own. */
		vt_store(AT(20) - 1, 9);
		CHECK_EQ(vt_load(AT(20) - 1), 9);
		CHECK_EQ(vt_load(AT(4) - 1), 0);
		CHECK_REFUSED(AT(20), true, VT_SIGBUS, VT_ADRERR);
	}
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
	if (vp != NULL)
		vrele(vp);
	if (nothing != NULL)
		vrele(nothing);
}

/*
 * A window may be longer than its object; what lies behind the object's end is nobody's, not zeros.
 */
KTEST(fault, end_of_an_anonymous_object_is_exact)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 2);
	struct vmspace *vm = vmspace_alloc(), *former;

	map_object(vm, object, PAGE_SIZE, 0, 4, RW, 0);
	former = thread_set_vmspace(vm);
	vt_store(AT(1) - 1, 1);
	CHECK_REFUSED(AT(1), false, VT_SIGBUS, VT_ADRERR);
	CHECK_REFUSED(AT(1) + 3, true, VT_SIGBUS, VT_ADRERR);
	CHECK_REFUSED(AT(3), false, VT_SIGBUS, VT_ADRERR);
	(void)thread_set_vmspace(former);
	CHECK_EQ(object->resident_page_count, 1);
	vmspace_free(vm);
	vm_object_deallocate(object);
}

/* ---- zero-fill ---- */

/*
 * All pages of the zero queue, and some of the free one, get old contents and go to the free queue.
 */
static void
poison_free_pages(void)
{
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, vm_page_count);
	vm_pindex_t n = 0;

	vm_object_lock(object);
	while (vm_page_queue_len(PQ_ZERO) > 0 || n < 64) {
		struct vm_page *m = vm_page_alloc(object, n, VM_ALLOC_ZERO);

		if (m == NULL)
			break;
		memset(VM_PAGE_TO_DMAP(m), 0xa5, PAGE_SIZE);
		n++;
		vm_page_xunbusy(m);
	}
	vm_object_page_remove(object, 0, n);
	vm_object_unlock(object);
	vm_object_deallocate(object);
}

KTEST(fault, zero_fill_is_zero_whatever_the_page_held)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	uint64_t zfod, ozfod;

	map_anonymous(vm, 0, 32, MAP_PRIVATE);
	vt_store(AT(31), 1);			/* page tables are made now */
	vm_page_zero_hold(true);
	vm_freelist_drain();
	poison_free_pages();
	zfod = VMCNT_GET(v_zfod);
	ozfod = VMCNT_GET(v_ozfod);
	for (int i = 0; i < 16; i++) {
		vt_store(AT(i) + OFFSET, 1);
		CHECK_EQ(*(uint8_t *)((char *)VM_PAGE_TO_DMAP(mapped_page(vm, AT(i))) + OFFSET), 1);
		vt_store(AT(i) + OFFSET, 0);
		CHECK(page_is_all(mapped_page(vm, AT(i)), 0));
	}
	CHECK_EQ(VMCNT_GET(v_zfod), zfod + 16);
	CHECK_EQ(VMCNT_GET(v_ozfod), ozfod);
	vm_page_zero_hold(false);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

KTEST(fault, pages_zeroed_in_advance_are_counted_and_zero)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	uint64_t ozfod;

	map_anonymous(vm, 0, 32, MAP_PRIVATE);
	vt_store(AT(31), 1);
	poison_free_pages();
	vm_freelist_drain();			/* no other CPU's cache has any */
	VT_WAIT(vm_page_queue_len(PQ_ZERO) >= 8);	/* the idle thread's chance */
	ozfod = VMCNT_GET(v_ozfod);
	for (int i = 0; i < 8; i++) {
		CHECK_EQ(vt_load(AT(i)), 0);
		CHECK(page_is_all(mapped_page(vm, AT(i)), 0));
		CHECK_EQ(mapped_page(vm, AT(i))->flags & PG_ZERO, 0);
	}
	CHECK_EQ(VMCNT_GET(v_ozfod), ozfod + 8);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}

/* ---- resident pages ---- */

/* Requests to all disks so far. */
static uint64_t
disk_requests(void)
{
	uint64_t n = 0;

	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk))
		n += dk->dk_stats.reads + dk->dk_stats.writes;
	return (n);
}

KTEST(fault, resident_page_is_mapped_without_the_disk)
{
	struct vmspace *a = vmspace_alloc(), *b = vmspace_alloc(), *former;
	vm_offset_t addr = AT(0);
	struct vnode *vp = NULL;
	uint64_t requests, soft, hard;
	uint8_t first;

	if (!testfiles_load()) {
		ktest_skip("the root volume has no /t/manifest");
	} else if ((vp = testfile_open("/t/seq4m")) != NULL) {
		CHECK_EQ(vm_mmap(a, &addr, 64 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp,
		    64 * PAGE_SIZE), 0);
		CHECK_EQ(vm_mmap(b, &addr, 64 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp,
		    64 * PAGE_SIZE), 0);
		requests = disk_requests();
		first = (uint8_t)get(a, AT(8));
		CHECK(disk_requests() > requests);	/* it was absent */
		requests = disk_requests();
		soft = VMCNT_GET(v_soft_faults);
		hard = VMCNT_GET(v_io_faults);
		former = thread_set_vmspace(b);
		CHECK_EQ(vt_load(AT(8)), first);
		(void)thread_set_vmspace(former);
		CHECK_EQ(disk_requests(), requests);
		CHECK_EQ(VMCNT_GET(v_soft_faults), soft + 1);
		CHECK_EQ(VMCNT_GET(v_io_faults), hard);
		CHECK(mapped_page(b, AT(8)) == mapped_page(a, AT(8)));
		vrele(vp);
	}
	vmspace_free(a);
	vmspace_free(b);
}

struct toucher {
	struct vmspace	*vm;
	vm_offset_t	 va;
	int		 result;
};

static void
touch_thread(void *arg)
{
	struct toucher *t = arg;

	t->result = get(t->vm, t->va);
}

/*
 * One fault maps its resident neighbours, too: those of its aligned block of 16 pages that lie in
 * the entry, hold the file's bytes and are not busy.  The entry covers pages 4 to 25 of the file;
 * the fault is at 20.
 *
 *	pages   0 ... 3 | 4 ... 15 | 16 17 18 19 20 21 22 23 24 25 | 26 ... 31
 *	        outside   block 0       18 busy, 22 absent              outside
 */
KTEST_COUNTING(fault, resident_neighbours_are_mapped_along)
{
	struct vmspace *vm = vmspace_alloc();
	struct toucher t = { .vm = vm, .va = AT(20) };
	struct vm_object *object;
	vm_offset_t addr = AT(4);
	struct vnode *vp = NULL;
	uint64_t before, faults;
	struct vm_page *busy;
	struct thread *td;
	vm_prot_t prot;

	if (!testfiles_load() || (vp = testfile_open("/t/seq")) == NULL) {
		ktest_skip("the root volume has no /t/manifest");
		vmspace_free(vm);
		return;
	}
	(void)testfile_read_verify(vp, "/t/seq", 0, 32 * PAGE_SIZE);
	CHECK_EQ(vm_mmap(vm, &addr, 22 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, vp, 4 * PAGE_SIZE),
	    0);
	object = vp->v_object;
	busy = vt_page(object, 18);
	vm_object_lock(object);
	vm_object_page_remove(object, 22, 23);
	vm_object_pip_add(object, 1);
	CHECK(vm_page_tryxbusy(busy));
	vm_object_unlock(object);
	before = VMCNT_GET(v_prefaulted);
	td = thread_create("t-touch", PRI_KERNEL, touch_thread, &t);
	thread_join(td);
	CHECK(t.result >= 0);
	vm_object_lock(object);
	vm_page_xunbusy(busy);
	vm_object_pip_wakeup(object);
	vm_object_unlock(object);
	for (int i = 0; i < 32; i++) {
		bool want = i >= 16 && i <= 25 && i != 18 && i != 22;

		CHECK_EQ(pmap_mapped(&vm->pmap, AT(i), &prot), want);
		if (want)
			CHECK_EQ(prot & VM_PROT_WRITE, 0);
	}
	CHECK_EQ(VMCNT_GET(v_prefaulted), before + 7);
	/* The other block: only what lies in the entry. */
	CHECK(get(vm, AT(8)) >= 0);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(mapped_page(vm, AT(i)) != NULL, i >= 4);
	/* And so they cost no fault. */
	faults = curthread->faults;
	for (int i = 16; i <= 25; i++)
		if (i != 18 && i != 22)
			CHECK(get(vm, AT(i)) >= 0);
	CHECK_EQ(curthread->faults, faults);
	/* 22 comes alone and is mapped alone, although 18 is idle by now. */
	before = VMCNT_GET(v_prefaulted);
	CHECK(get(vm, AT(22)) >= 0);
	CHECK_EQ(VMCNT_GET(v_prefaulted), before);
	CHECK(mapped_page(vm, AT(18)) == NULL);
	vm_check();
	vmspace_free(vm);
	vrele(vp);
}

KTEST(fault, advice_says_how_much_is_read_around_a_page)
{
	struct vmspace *vm = vmspace_alloc();
	vm_offset_t addr = AT(0);
	struct vnode *vp = NULL;
	uint32_t resident;

	if (!testfiles_load() || (vp = testfile_open("/t/seq4m")) == NULL) {
		ktest_skip("the root volume has no /t/manifest");
		vmspace_free(vm);
		return;
	}
	CHECK_EQ(vm_mmap(vm, &addr, 512 * PAGE_SIZE, RO, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	CHECK_EQ(vm_map_advise(&vm->map, AT(0), AT(512), VM_ADV_RANDOM), KERN_SUCCESS);
	CHECK(get(vm, AT(8)) >= 0);
	CHECK_EQ(vp->v_object->resident_page_count, 1);
	CHECK(get(vm, AT(300)) >= 0);
	CHECK_EQ(vp->v_object->resident_page_count, 2);
	CHECK_EQ(vm_map_advise(&vm->map, AT(0), AT(512), VM_ADV_NORMAL), KERN_SUCCESS);
	resident = vp->v_object->resident_page_count;
	CHECK(get(vm, AT(100)) >= 0);
	/* some of its cluster came with it */
	CHECK(vp->v_object->resident_page_count > resident + 1);
	CHECK(vp->v_object->resident_page_count <= resident + 16);
	vmspace_free(vm);
	vrele(vp);
}

/* ---- busy pages ---- */

KTEST(fault, busy_page_is_waited_for)
{
	struct toucher t = { .vm = vmspace_alloc(), .va = AT(1) };
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 4);
	uint64_t restarts = VMCNT_GET(v_restarts);
	struct thread *td;
	struct vm_page *m;

	m = page_make(object, 1, 0x31);
	map_object(t.vm, object, 0, 0, 4, RO, 0);
	CHECK(page_xbusy(m));
	td = thread_create("t-vmpfw", PRI_KERNEL, touch_thread, &t);
	CHECK(wait_asleep(td, "vmpfw"));
	memset(VM_PAGE_TO_DMAP(m), 0x32, PAGE_SIZE);	/* still being filled */
	vm_page_xunbusy(m);
	thread_join(td);
	CHECK_EQ(t.result, 0x32);
	CHECK(VMCNT_GET(v_restarts) > restarts);
	vmspace_free(t.vm);
	vm_object_deallocate(object);
}

/* The page that was waited for is freed: the fault looks again, and finds none. */
KTEST(fault, page_that_goes_while_waited_for_is_looked_up_again)
{
	struct toucher t = { .vm = vmspace_alloc(), .va = AT(1) };
	struct vm_object *bottom = vm_object_allocate(OBJT_DEFAULT, 4), *top = bottom;
	vm_ooffset_t offset = 0;
	struct thread *td;
	struct vm_page *m;

	vm_object_reference(bottom);
	vm_object_shadow(&top, &offset, 4 * PAGE_SIZE);
	m = page_make(bottom, 1, 0x31);
	map_object(t.vm, top, 0, 0, 4, RO, 0);
	CHECK(page_xbusy(m));
	td = thread_create("t-vmpfw", PRI_KERNEL, touch_thread, &t);
	CHECK(wait_asleep(td, "vmpfw"));
	/* Nothing else is held meanwhile: the map and both objects are free for others. */
	CHECK(vm_map_tryrlock(&t.vm->map));
	CHECK(vm_object_trylock(top));
	CHECK_EQ(top->paging_in_progress, 0);
	CHECK_EQ(top->resident_page_count, 0);
	vm_object_unlock(top);
	vm_map_runlock(&t.vm->map);
	vm_object_lock(bottom);
	vm_page_free(m);
	vm_object_unlock(bottom);
	thread_join(td);
	CHECK_EQ(t.result, 0);
	CHECK_EQ(top->resident_page_count, 1);		/* zero-filled in the top */
	vmspace_free(t.vm);
	vm_object_deallocate(top);
	vm_object_deallocate(bottom);
}

/* ---- many faults ---- */

#define CROWD	16

KTEST(fault, crowd_at_one_absent_page_gets_one_page)
{
	struct toucher t = { .vm = vmspace_alloc(), .va = AT(0) };
	struct vm_object *object = vm_object_allocate(OBJT_DEFAULT, 1);
	uint64_t filled = VMCNT_GET(v_zfod);
	struct thread *td[CROWD];
	struct vm_page *m;

	map_object(t.vm, object, 0, 0, 1, RW, 0);
	m = page_make(object, 0, 0);
	CHECK(page_xbusy(m));
	for (int i = 0; i < CROWD; i++)
		td[i] = thread_create("t-crowd", PRI_KERNEL, touch_thread, &t);
	for (int i = 0; i < CROWD; i++)
		CHECK(wait_asleep(td[i], "vmpfw"));
	vm_object_lock(object);
	vm_page_free(m);	/* all of them start again, at an absent page */
	vm_object_unlock(object);
	for (int i = 0; i < CROWD; i++)
		thread_join(td[i]);
	CHECK_EQ(VMCNT_GET(v_zfod), filled + 1);
	CHECK_EQ(object->resident_page_count, 1);
	vmspace_free(t.vm);
	vm_object_deallocate(object);
}

/*
 * A loop may fault on one address as often as it likes, when each time there is a reason.  The
 * livelock detector must not mind.
 */
KTEST(fault, honest_repetition_is_no_livelock)
{
	struct vmspace *vm = vmspace_alloc(), *former = thread_set_vmspace(vm);
	uint64_t faults = curthread->faults;

	map_anonymous(vm, 0, 1, MAP_PRIVATE);
	for (int i = 0; i < 3000; i++) {
		pmap_remove(&vm->pmap, AT(0), AT(1));
		vt_store(AT(0), (uint8_t)i);
	}
	CHECK_EQ(curthread->faults, faults + 3000);
	CHECK(curthread->refaults < 1000);
	CHECK_EQ(vt_load(AT(0)), (uint8_t)2999);
	(void)thread_set_vmspace(former);
	vmspace_free(vm);
}
