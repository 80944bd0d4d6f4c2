/* SPDX-License-Identifier: BSD-2-Clause */
/* The helpers of vmtest.h. */
#include "tests/kernel/vmtest.h"

#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "tests/kernel/testfiles.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_VMTEST, "vm tests");

void
vt_pause(void)
{
	static int nothing;

	tsleep(&nothing, NULL, "vtpause", 1);
	thread_yield();		/* whom the same tick has woken gets to its next sleep */
}

/* ---- an address space for this thread ---- */

struct vmspace *
vt_begin(void)
{
	struct vmspace *vm = vmspace_alloc();

	KASSERT(vm != NULL, "no memory for a test's address space");
	KASSERT(curthread->vmspace == NULL, "this thread has an address space already");
	thread_set_vmspace(vm);
	return (vm);
}

void
vt_end(void)
{
	struct vmspace *vm = thread_set_vmspace(NULL);

	vmspace_free(vm);
}

vm_offset_t
vt_map(struct vnode *vp, off_t off, size_t len, vm_prot_t prot, int flags)
{
	vm_offset_t va = 0;

	if (!CHECK_EQ(vm_mmap(curthread->vmspace, &va, len, prot, flags, vp, off), 0))
		return (0);
	return (va);
}

vm_offset_t
vt_map_ro(struct vnode *vp, off_t off, size_t len)
{
	return (vt_map(vp, off, len, VM_PROT_READ, MAP_SHARED));
}

vm_offset_t
vt_map_object(struct vm_object *object, vm_pindex_t first, size_t npages, vm_prot_t prot, int cow)
{
	vm_offset_t va = VM_USER_MIN;
	int kr;

	vm_object_reference(object);
	kr = vm_map_find(&curthread->vmspace->map, object, IDX_TO_OFF(first), &va,
	    npages * PAGE_SIZE, true, prot, VM_PROT_ALL, cow,
	    cow != 0 ? VM_INHERIT_COPY : VM_INHERIT_SHARE);
	if (CHECK_EQ(kr, KERN_SUCCESS))
		return (va);
	vm_object_deallocate(object);
	return (0);
}

void
vt_no_readahead(vm_offset_t va, size_t len)
{
	CHECK_EQ(vm_map_advise(&curthread->vmspace->map, va, va + round_page(len), VM_ADV_RANDOM),
	    KERN_SUCCESS);
}

/* ---- touching ---- */

/*
 * One plain instruction each, with a fix-up, so that a fault that should have been served fails a
 * test and not the machine.
 */
#define MAY_FAULT(insn)						\
	"1:	" insn "\n"						\
	"	movl	$1, %0\n"					\
	"2:\n"								\
	"	.pushsection .extable, \"a\"\n"			\
	"	.balign	8\n"						\
	"	.quad	1b, 2b\n"					\
	"	.popsection\n"

static void
refused_plain(const char *what, vm_offset_t va)
{
	const struct fault_info *why = &curthread->fault;

	ktest_fail(__FILE__, __LINE__, "plain %s at 0x%lx: signal %d code %d at 0x%lx", what, va,
	    why->signo, why->code, why->addr);
}

uint8_t
vt_load(vm_offset_t va)
{
	uint32_t served = 0;
	uint8_t value = 0;

	user_access_begin();
	__asm__ volatile(MAY_FAULT("movb	(%2), %1")
	    : "+r"(served), "+q"(value) : "r"(va) : "memory");
	user_access_end();
	if (!served)
		refused_plain("load", va);
	return (value);
}

void
vt_store(vm_offset_t va, uint8_t value)
{
	uint32_t served = 0;

	user_access_begin();
	__asm__ volatile(MAY_FAULT("movb	%1, (%2)")
	    : "+r"(served) : "q"(value), "r"(va) : "memory");
	user_access_end();
	if (!served)
		refused_plain("store", va);
}

int
vt_try_load(vm_offset_t va, uint8_t *value)
{
	curthread->fault = (struct fault_info){ 0 };
	return (copyin(va, value, 1));
}

bool
vt_refused(const char *file, int line, vm_offset_t va, bool write, int signo, int code)
{
	struct fault_info *why = &curthread->fault;
	uint8_t value = 0x5a;
	int error;

	*why = (struct fault_info){ 0 };
	error = write ? copyout(&value, va, 1) : copyin(va, &value, 1);
	if (error == EFAULT && why->signo == signo && why->code == code && why->addr == va)
		return (true);
	ktest_fail(file, line,
	    "%s at 0x%lx: error %d, signal %d code %d at 0x%lx; expected signal %d code %d there",
	    write ? "store" : "load", va, error, why->signo, why->code, why->addr, signo, code);
	return (false);
}

bool
vt_verify(const char *path, vm_offset_t va, off_t off, size_t len)
{
	uint8_t *page = kmalloc(PAGE_SIZE, &M_VMTEST, M_WAITOK);
	bool good = true;

	for (size_t at = 0, n; at < len && good; at += n) {
		n = MIN(len - at, PAGE_SIZE - ((va + at) & PAGE_MASK));
		(void)vt_load(va + at);
		good = CHECK_EQ(copyin(va + at, page, n), 0) &&
		    testfile_verify(path, (uint64_t)off + at, page, n);
	}
	kfree(page, &M_VMTEST);
	return (good);
}

bool
vt_verify_sparsely(const char *path, vm_offset_t va, off_t off, size_t len)
{
	bool good = true;

	for (size_t at = 0; at < len && good; at += PAGE_SIZE) {
		uint8_t value = vt_load(va + at);

		good = testfile_verify(path, (uint64_t)off + at, &value, 1);
	}
	return (good);
}

/* ---- objects and pages ---- */

struct vm_object *
vt_object(struct vnode *vp)
{
	uint64_t size = 0;

	CHECK_EQ(vn_size(vp, &size), 0);
	return (vnode_pager_alloc(vp, (vm_ooffset_t)size, VM_PROT_READ, 0, curthread->cred));
}

struct vm_page *
vt_page(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m;

	vm_object_rlock(object);
	m = vm_page_lookup(object, pindex);
	vm_object_unlock(object);
	return (m);
}

bool
vt_resident(struct vm_object *object, vm_pindex_t pindex)
{
	struct vm_page *m;
	bool there;

	vm_object_rlock(object);
	m = vm_page_lookup(object, pindex);
	there = m != NULL && vm_page_all_valid(m);
	vm_object_unlock(object);
	return (there);
}

void
vt_evict(struct vm_object *object, vm_pindex_t start, vm_pindex_t end)
{
	vm_object_lock(object);
	vm_object_page_remove(object, start, end);
	vm_object_unlock(object);
}

void
vt_evict_file(struct vnode *vp)
{
	struct vm_object *object = vt_object(vp);

	vt_evict(object, 0, object->size);
	vm_object_deallocate(object);
}

/* The sector of byte `off` of a file: -1 for a hole or an error, which fails the test. */
static daddr_t
sector_of(struct vnode *vp, uint64_t off)
{
	uint32_t bsize = vp->v_mount->mnt_stat.f_iosize;
	struct bmap bm;

	if (!CHECK_EQ(VOP_BMAP(vp, (daddr_t)(off / bsize), NULL, &bm), 0) || bm.hole)
		return (-1);
	return (bm.blkno + (daddr_t)(off % bsize / DEV_BSIZE));
}

uint32_t
vt_device_sector(const struct vnode *vp)
{
	return (vp->v_mount->mnt_devvp->v_disk->dk_sectorsize);
}

daddr_t
vt_sector_of_page(struct vnode *vp, vm_pindex_t pindex)
{
	uint64_t start = (uint64_t)IDX_TO_OFF(pindex), size;
	daddr_t first = -1;

	CHECK_EQ(vn_size(vp, &size), 0);
	VOP_LOCK(vp, LK_SHARED);
	for (uint64_t off = start; off < MIN(start + PAGE_SIZE, size); off += DEV_BSIZE) {
		daddr_t at = sector_of(vp, off);

		if (off == start)
			first = at;
		if (at < 0 || at != first + (daddr_t)((off - start) / DEV_BSIZE)) {
			first = -1;
			break;
		}
	}
	VOP_UNLOCK(vp);
	return (first);
}

vm_pindex_t
vt_find_run(struct vnode *vp, vm_pindex_t from, vm_pindex_t align, vm_pindex_t n)
{
	uint64_t size = 0;

	CHECK_EQ(vn_size(vp, &size), 0);
	for (vm_pindex_t p = roundup(from, align); p + n <= OFF_TO_IDX(size); p += align) {
		daddr_t first = vt_sector_of_page(vp, p);
		vm_pindex_t i = 1;

		while (first >= 0 && i < n &&
		    vt_sector_of_page(vp, p + i) == first + (daddr_t)(i * (PAGE_SIZE / DEV_BSIZE)))
			i++;
		if (first >= 0 && i == n)
			return (p);
	}
	return (VT_NO_RUN);
}

/* ---- ballast: wired pages of an object of their own, which nothing maps ---- */

static struct vm_object *ballast;

void
vt_ballast_take(uint32_t leave)
{
	vm_pindex_t i = 0;

	KASSERT(ballast == NULL, "two ballasts");
	ballast = vm_object_allocate(OBJT_DEFAULT, vm_page_count);
	vm_object_lock(ballast);
	while (vm_free_count() > leave) {
		struct vm_page *m = vm_page_alloc(ballast, i++, VM_ALLOC_NORMAL | VM_ALLOC_WIRED);

		if (m == NULL)
			break;
		m->valid = VM_PAGE_BITS_ALL;
		vm_page_xunbusy(m);
	}
	vm_object_unlock(ballast);
}

void
vt_ballast_drop(void)
{
	struct vm_page *m;

	vm_object_lock(ballast);
	for (m = vm_page_find_least(ballast, 0); m != NULL; m = vm_page_next(m))
		vm_page_unwire(m, PQ_INACTIVE);
	vm_object_unlock(ballast);
	vm_object_deallocate(ballast);
	ballast = NULL;
}

/* ---- threads ---- */

void
vt_touch(struct vt_job *job)
{
	job->error = vt_try_load(job->va, &job->value);
	job->why = curthread->fault;
}

static void
job_thread(void *arg)
{
	struct vt_job *job = arg;

	curthread->cred = crhold(job->cred);
	if (job->vm != NULL)
		thread_set_vmspace(job->vm);
	job->fn(job);
	if (job->vm != NULL) {
		thread_set_vmspace(NULL);
		vmspace_free(job->vm);
	}
	crfree(curthread->cred);
	curthread->cred = NOCRED;
	__atomic_store_n(&job->done, true, __ATOMIC_RELEASE);
}

void
vt_start(struct vt_job *job, const char *name)
{
	job->error = -1;
	job->done = false;
	job->why = (struct fault_info){ 0 };
	if (job->vm != NULL)
		vmspace_ref(job->vm);
	job->td = thread_create(name, PRI_KERNEL, job_thread, job);
	KASSERT(job->td != NULL, "no memory for thread %s", name);
}

void
vt_finish(struct vt_job *job)
{
	uint64_t end = ticks + 2 * VT_PATIENCE;

	while (!job->done && ticks < end)
		vt_pause();
	/* Its stack and the job are in use: no going on without it.  The list says where it is. */
	if (!job->done)
		panic("thread %s of a test hangs in \"%s\"", job->td->name,
		    job->td->wmesg != NULL ? job->td->wmesg : "no sleep");
	thread_join(job->td);
}

struct sleep_search {
	const char	*wmesg;
	const struct thread *td;	/* NULL: any */
	int		 found;
};

static void
sleeps_so(struct thread *td, void *arg)
{
	struct sleep_search *s = arg;

	if ((s->td == NULL || s->td == td) && td->state == TD_ASLEEP && td->wmesg != NULL &&
	    streq(td->wmesg, s->wmesg))
		s->found++;
}

bool
vt_sleeps(const struct vt_job *job, const char *wmesg)
{
	struct sleep_search search = { wmesg, job->td, 0 };

	thread_foreach(sleeps_so, &search);
	return (search.found > 0);
}

int
vt_sleepers(const char *wmesg)
{
	struct sleep_search search = { wmesg, NULL, 0 };

	thread_foreach(sleeps_so, &search);
	return (search.found);
}

bool
vt_ended(const char *file, int line, const struct vt_job *job, int signo, int code,
    vm_offset_t addr)
{
	if (job->done && job->error == EFAULT && job->why.signo == signo && job->why.code == code &&
	    job->why.addr == addr)
		return (true);
	ktest_fail(file, line,
	    "%s: error %d, signal %d code %d at 0x%lx; expected signal %d code %d at 0x%lx",
	    job->done ? "thread ended" : "thread runs", job->error, job->why.signo, job->why.code,
	    job->why.addr, signo, code, addr);
	return (false);
}
