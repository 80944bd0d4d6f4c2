/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the scenarios share: an address space of their own, files of the benchmarks' volume
 * (tests/host/mkimage.py makes it), and ways to bring a file, the page queues or a mapping into a
 * known state before the clock starts.
 *
 * Mappings are made for the thread that runs the benchmarks, and it touches them itself, as a
 * program would: the processor's page fault is part of what is measured.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/thread.h"
#include "tests/bench/bench.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"
#include "vm/vm_pager.h"
#include "vm/vnode_pager.h"

struct vmspace *bench_vm;

/* ---- files ---- */

bool
file_open(struct bench_file *f, const char *path)
{
	uint64_t size;
	int error = ENODEV;

	if (rootfs != NULL)
		error = namei(path, NULL, 0, &f->vp);
	if (error != 0) {
		bench_skip(true, "%s: %s (`make bench` uses a volume that has it)", path,
		    errno_name(error));
		return (false);
	}
	error = vn_size(f->vp, &size);
	KASSERT(error == 0 && size % PAGE_SIZE == 0, "%s: size %lu, %s", path, size,
	    errno_name(error));
	f->npages = OFF_TO_IDX(size);
	f->block_size = f->vp->v_mount->mnt_stat.f_iosize;
	return (true);
}

void
file_close(struct bench_file *f)
{
	file_evict(f);
	vrele(f->vp);
}

void
file_evict(struct bench_file *f)
{
	VOP_LOCK(f->vp, LK_EXCLUSIVE);
	vnode_pager_uncache(f->vp);
	VOP_UNLOCK(f->vp);
	KASSERT(file_resident(f) == 0, "%u pages of inode %lu stay: somebody maps it",
	    file_resident(f), f->vp->v_ino);
}

void
file_warm_metadata(struct bench_file *f)
{
	struct bmap bm;
	daddr_t nblocks = IDX_TO_OFF(f->npages) / f->block_size;
	daddr_t pointers = f->block_size / sizeof(uint32_t);

	VOP_LOCK(f->vp, LK_SHARED);
	for (daddr_t lbn = 0; lbn < nblocks; lbn += pointers) {
		int error = VOP_BMAP(f->vp, lbn, NULL, &bm);

		KASSERT(error == 0, "inode %lu, block %ld: %s", f->vp->v_ino, lbn,
		    errno_name(error));
		if (bm.hole)		/* as far as it reaches there is nothing to read */
			lbn += roundup((daddr_t)bm.ahead, pointers);
	}
	(void)VOP_BMAP(f->vp, nblocks - 1, NULL, &bm);
	VOP_UNLOCK(f->vp);
}

uint32_t
file_resident(struct bench_file *f)
{
	struct vm_object *object = f->vp->v_object;

	return (object != NULL ? object->resident_page_count : 0);
}

/* ---- mappings ---- */

vm_offset_t
file_map(struct bench_file *f, vm_pindex_t first, vm_size_t npages, vm_prot_t prot, int flags)
{
	vm_offset_t va = VM_USER_MIN;
	int error = vm_mmap(bench_vm, &va, npages * PAGE_SIZE, prot, flags, f->vp,
	    IDX_TO_OFF(first));

	KASSERT(error == 0, "mapping inode %lu: %s", f->vp->v_ino, errno_name(error));
	return (va);
}

vm_offset_t
anon_map(vm_size_t npages)
{
	vm_offset_t va = VM_USER_MIN;
	int error = vm_mmap(bench_vm, &va, npages * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0);

	KASSERT(error == 0, "mapping %lu anonymous pages: %s", npages, errno_name(error));
	return (va);
}

void
unmap(vm_offset_t va, vm_size_t npages)
{
	int error = vm_munmap(bench_vm, va, npages * PAGE_SIZE);

	KASSERT(error == 0, "unmapping: %s", errno_name(error));
}

/* ---- touching ---- */

__attribute__((noinline)) void
touch_read(vm_offset_t va)
{
	user_access_begin();
	(void)*(volatile const uint8_t *)va;
	user_access_end();
}

__attribute__((noinline)) void
touch_write(vm_offset_t va)
{
	user_access_begin();
	*(volatile uint8_t *)va = 1;
	user_access_end();
}

static uint64_t
time_touches(void (*touch)(vm_offset_t), vm_offset_t va, vm_size_t npages, long stride)
{
	struct meter m;
	uint64_t insn;

	meter_start(&m);
	for (vm_size_t i = 0; i < npages; i++, va += stride * (long)PAGE_SIZE)
		touch(va);
	insn = meter_stop(&m);
	return (insn);
}

uint64_t
time_reads(vm_offset_t va, vm_size_t npages, long stride)
{
	return (time_touches(touch_read, va, npages, stride));
}

uint64_t
time_writes(vm_offset_t va, vm_size_t npages, long stride)
{
	return (time_touches(touch_write, va, npages, stride));
}

/* ---- page queues ---- */

/*
 * Sort the free pages by address.  How many pages the idle thread zeroed during the waits of the
 * boot, and so which page comes next, is a matter of chance; and some pages cost a few instructions
 * more than others, for their vm_page takes longer to find.
 */
static void
sort_free_pages(void)
{
	while (vm_pageq_take_free(0, false) != NULL)
		continue;
	for (struct vm_page *m = vm_page_array; m < vm_page_array + vm_page_count; m++)
		if (m->busy == VPB_FREED && m->queue == PQ_NONE)
			vm_pageq_free(m);
}

void
zero_queue_fill(void)
{
	while (vm_page_zero_now())
		continue;
}

/* Take all zeroed pages, then give them back: they come back as pages of unknown contents. */
void
zero_queue_drain(void)
{
	struct vm_page *taken = NULL, *m;

	while (vm_page_queue_len(PQ_ZERO) > 0) {
		m = vm_page_alloc(NULL, 0, VM_ALLOC_ZERO | VM_ALLOC_INTERRUPT);
		KASSERT(m != NULL, "the zero queue is not empty, but nothing can be had from it");
		m->pindex = (vm_pindex_t)taken;
		taken = m;
	}
	while ((m = taken) != NULL) {
		taken = (struct vm_page *)m->pindex;
		vm_page_free(m);
	}
}

uint64_t
bench_random_below(uint64_t *state, uint64_t n)
{
	*state = *state * 6364136223846793005ul + 1442695040888963407ul;
	return ((*state >> 33) % n);
}

/* ---- the address space ---- */

void
fixture_init(void)
{
	sort_free_pages();
	zero_queue_fill();
	bench_vm = vmspace_alloc();
	KASSERT(bench_vm != NULL, "no memory for an address space");
	(void)thread_set_vmspace(bench_vm);
}

void
fixture_fini(void)
{
	(void)thread_set_vmspace(NULL);
	vmspace_free(bench_vm);
	bench_vm = NULL;
}
