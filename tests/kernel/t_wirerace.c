/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wiring while others change the map, and wired memory that is forked or cut off.
 *
 * A thread wires a range over the fake pager and is held in the middle of it, in "fakepg"; whoever
 * wants to change the range then must be found asleep in "mapwire", and both must end as if one had
 * come after the other.
 */
#include "kernel/fs/vnode.h"
#include "kernel/lib/errno.h"
#include "tests/kernel/fakepager.h"
#include "tests/kernel/t_vm.h"
#include "vm/vm_check.h"

#define NPAGES	8

/* One thread wires pages 2 to 5 of eight, and waits for page 3. */
struct wiring {
	struct fakepager *fp;
	struct vmspace	*vm;
	struct vt_job	 wirer, other;
};

static void
wire_job(struct vt_job *job)
{
	job->error = vm_map_wire(&job->vm->map, AT(2), AT(6));
}

static void
wiring_begin(struct wiring *w)
{
	*w = (struct wiring){ .fp = fakepager_create(NPAGES), .vm = vmspace_alloc() };
	map_object(w->vm, w->fp->object, 0, 0, NPAGES, RO, 0);
	CHECK_EQ(vm_map_advise(&w->vm->map, AT(0), AT(NPAGES), VM_ADV_RANDOM), KERN_SUCCESS);
	fakepager_supply(w->fp, 2);
	fakepager_hold(w->fp, true);
	w->wirer = (struct vt_job){ .fn = wire_job, .vm = w->vm };
	vt_start(&w->wirer, "wirer");
	VT_WAIT(vt_sleeps(&w->wirer, "fakepg"));
}

static void
meanwhile(struct wiring *w, void (*fn)(struct vt_job *))
{
	w->other = (struct vt_job){ .fn = fn, .vm = w->vm };
	vt_start(&w->other, "other");
	VT_WAIT(vt_sleeps(&w->other, "mapwire"));
}

static void
let_go(struct wiring *w)
{
	fakepager_hold(w->fp, false);
	fakepager_release_all(w->fp);
	vt_finish(&w->wirer);
	vt_finish(&w->other);
}

static void
wiring_end(struct wiring *w)
{
	vm_check();
	vmspace_free(w->vm);
	for (vm_pindex_t i = 0; i < NPAGES; i++)
		CHECK(vt_page(w->fp->object, i) == NULL || vt_page(w->fp->object, i)->wire_count == 0);
	fakepager_drop(w->fp);
}

static void
unmap_job(struct vt_job *job)
{
	job->error = vm_munmap(job->vm, AT(3), 2 * PAGE_SIZE);
}

KTEST(wirerace, unmapping_waits_for_the_wiring)
{
	struct wiring w;

	wiring_begin(&w);
	meanwhile(&w, unmap_job);
	let_go(&w);
	CHECK_EQ(w.wirer.error, KERN_SUCCESS);
	CHECK_EQ(w.other.error, 0);
	CHECK_EQ(w.vm->pmap.wired_count, 2);
	CHECK_EQ(vt_page(w.fp->object, 2)->wire_count, 1);
	CHECK_EQ(vt_page(w.fp->object, 3)->wire_count, 0);
	CHECK_EQ(vt_page(w.fp->object, 5)->wire_count, 1);
	wiring_end(&w);
}

/* The wiring fails after the other began to wait: what is undone is undone once. */
KTEST(wirerace, unmapping_waits_for_a_wiring_that_fails)
{
	struct wiring w;

	wiring_begin(&w);
	fakepager_say(w.fp, 4, VM_PAGER_ERROR, FAKE_FOREVER);
	meanwhile(&w, unmap_job);
	let_go(&w);
	CHECK_EQ(w.wirer.error, KERN_IO_ERROR);
	CHECK_EQ(w.other.error, 0);
	CHECK_EQ(w.vm->pmap.wired_count, 0);
	CHECK(mapped_page(w.vm, AT(3)) == NULL);
	CHECK(mapped_page(w.vm, AT(2)) != NULL);
	wiring_end(&w);
}

static void
protect_job(struct vt_job *job)
{
	job->error = vm_map_protect(&job->vm->map, AT(0), AT(4), VM_PROT_NONE);
}

/* If the protection went first, the wiring of page 3 would have to fail. */
KTEST(wirerace, protecting_waits_for_the_wiring)
{
	struct wiring w;

	wiring_begin(&w);
	meanwhile(&w, protect_job);
	let_go(&w);
	CHECK_EQ(w.wirer.error, KERN_SUCCESS);
	CHECK_EQ(w.other.error, KERN_SUCCESS);
	CHECK_EQ(get(w.vm, AT(3)), -EFAULT);
	CHECK_EQ(get(w.vm, AT(4)), fakepager_byte(w.fp, 4, 0));
	CHECK_EQ(vt_page(w.fp->object, 3)->wire_count, 1);
	wiring_end(&w);
}

static void
unwire_job(struct vt_job *job)
{
	job->error = vm_map_unwire(&job->vm->map, AT(0), AT(8));
}

KTEST(wirerace, unwiring_waits_for_the_wiring)
{
	struct wiring w;

	wiring_begin(&w);
	meanwhile(&w, unwire_job);
	let_go(&w);
	CHECK_EQ(w.wirer.error, KERN_SUCCESS);
	CHECK_EQ(w.other.error, KERN_SUCCESS);
	CHECK_EQ(w.vm->pmap.wired_count, 0);
	wiring_end(&w);
}

static void
wire_all_job(struct vt_job *job)
{
	job->error = vm_map_wire(&job->vm->map, AT(0), AT(NPAGES));
}

/* Both want pages 2 to 5: each page is wired once, and one unwiring takes it off. */
KTEST(wirerace, wiring_waits_for_the_wiring_of_another)
{
	struct wiring w;

	wiring_begin(&w);
	meanwhile(&w, wire_all_job);
	let_go(&w);
	CHECK_EQ(w.wirer.error, KERN_SUCCESS);
	CHECK_EQ(w.other.error, KERN_SUCCESS);
	for (vm_pindex_t i = 0; i < NPAGES; i++)
		CHECK_EQ(vt_page(w.fp->object, i)->wire_count, 1);
	CHECK_EQ(vm_map_unwire(&w.vm->map, AT(0), AT(NPAGES)), KERN_SUCCESS);
	CHECK_EQ(w.vm->pmap.wired_count, 0);
	wiring_end(&w);
}

static void
fork_job(struct vt_job *job)
{
	job->arg = vmspace_fork(job->vm);
}

KTEST(wirerace, forking_waits_for_the_wiring)
{
	struct wiring w;

	wiring_begin(&w);
	meanwhile(&w, fork_job);
	let_go(&w);
	CHECK_EQ(w.wirer.error, KERN_SUCCESS);
	if (CHECK(w.other.arg != NULL)) {
		struct vmspace *child = w.other.arg;

		CHECK_EQ(child->pmap.wired_count, 0);
		CHECK_EQ(get(child, AT(3)), fakepager_byte(w.fp, 3, 0));
		vmspace_free(child);
	}
	CHECK_EQ(vt_page(w.fp->object, 3)->wire_count, 1);
	wiring_end(&w);
}

/* What lies outside of the range can be changed meanwhile. */
KTEST(wirerace, the_rest_of_the_map_is_free)
{
	struct wiring w;

	wiring_begin(&w);
	CHECK_EQ(vm_munmap(w.vm, AT(6), 2 * PAGE_SIZE), 0);
	CHECK_EQ(vm_map_protect(&w.vm->map, AT(0), AT(1), VM_PROT_NONE), KERN_SUCCESS);
	map_anonymous(w.vm, 7, 4, MAP_PRIVATE);
	CHECK(vt_sleeps(&w.wirer, "fakepg"));
	fakepager_hold(w.fp, false);
	fakepager_release_all(w.fp);
	vt_finish(&w.wirer);
	CHECK_EQ(w.wirer.error, KERN_SUCCESS);
	CHECK_EQ(w.vm->pmap.wired_count, 4);
	wiring_end(&w);
}

/* ---- fork ---- */

/*
 * Wired private memory: the parent keeps its pages, writable, without a fault; the child has copies
 * from the start, and what neither has touched above comes from below for both.
 */
KTEST(wirerace, forked_wired_memory_is_copied_at_once)
{
	struct vm_object *below = vm_object_allocate(OBJT_DEFAULT, NPAGES);
	struct vmspace *vm = vmspace_alloc(), *child;
	struct vm_page *mine[NPAGES];
	uint64_t faults;

	for (int i = 0; i < NPAGES; i++)
		(void)page_make(below, (vm_pindex_t)i, (uint8_t)(0x40 + i));
	map_object(vm, below, 0, 0, NPAGES, RW, MAP_COPY_ON_WRITE);
	CHECK_EQ(vm_map_wire(&vm->map, AT(2), AT(6)), KERN_SUCCESS);
	for (int i = 2; i < 6; i++) {
		CHECK_EQ(put(vm, AT(i), (uint8_t)i), 0);
		mine[i] = mapped_page(vm, AT(i));
	}
	child = vmspace_fork(vm);
	CHECK_OR_RETURN(child != NULL);
	CHECK_EQ(child->pmap.wired_count, 0);
	CHECK_EQ(chain_length(child, AT(2)), 2);
	CHECK_EQ(object_at(child, AT(2))->resident_page_count, 4);
	faults = curthread->faults;
	for (int i = 2; i < 6; i++) {
		CHECK_EQ(put(vm, AT(i), (uint8_t)(0x80 + i)), 0);
		CHECK(mapped_page(vm, AT(i)) == mine[i] && mine[i]->wire_count == 1);
	}
	CHECK_EQ(curthread->faults, faults);		/* still writable where it is */
	for (int i = 0; i < NPAGES; i++)
		CHECK_EQ(get(child, AT(i)), i >= 2 && i < 6 ? i : 0x40 + i);
	CHECK_EQ(put(child, AT(3), 0x11), 0);
	CHECK_EQ(get(vm, AT(3)), 0x83);
	vm_check();
	/* The child's child shares as always: nothing of it is wired. */
	vmspace_free(vm);
	vm = vmspace_fork(child);
	CHECK_EQ(get(vm, AT(3)), 0x11);
	CHECK_EQ(put(child, AT(3), 0x12), 0);
	CHECK_EQ(get(vm, AT(3)), 0x11);
	vmspace_free(child);
	vmspace_free(vm);
	CHECK_EQ(page_byte(vt_page(below, 3)), 0x43);
	vm_object_deallocate(below);
}

/* No memory for the copies: no child, and the parent as it was. */
KTEST(wirerace, forking_wired_memory_may_fail)
{
	struct vmspace *vm = vmspace_alloc(), *child;

	map_anonymous(vm, 0, 64, MAP_PRIVATE);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(64)), KERN_SUCCESS);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(put(vm, AT(i), (uint8_t)i), 0);
	vt_ballast_take(16);
	child = vmspace_fork(vm);
	vt_ballast_drop();
	CHECK(child == NULL);
	if (child != NULL)
		vmspace_free(child);
	for (int i = 0; i < 64; i++)
		CHECK_EQ(get(vm, AT(i)), i);
	CHECK_EQ(vm->pmap.wired_count, 64);
	vm_check();
	vmspace_free(vm);
}

/* ---- a file that is cut while it is wired ---- */

#define PATH	"/wired"

static struct vnode *
make_file(size_t npages)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;
	size_t done;

	if (rootfs == NULL || (rootfs->mnt_flag & MNT_RDONLY)) {
		ktest_skip("the root volume cannot be written");
		return (NULL);
	}
	if (!CHECK_EQ(vn_create(PATH, &va, &vp), 0))
		return (NULL);
	for (size_t i = 0; i < npages; i++) {
		char text[16];

		snprintf(text, sizeof(text), "page %zu", i);
		CHECK_EQ(vn_write(vp, text, sizeof(text), (off_t)(i * PAGE_SIZE), &done), 0);
	}
	CHECK_EQ(vn_truncate(vp, (off_t)(npages * PAGE_SIZE)), 0);
	return (vp);
}

/*
 * The pages that the cut takes from the file are still wired, so they must be found when they are
 * unwired; until then nobody sees what they held.
 */
KTEST(wirerace, wired_file_is_cut_and_unlocked)
{
	struct vmspace *vm = vmspace_alloc();
	struct vnode *vp = make_file(6);
	vm_offset_t addr = AT(0);
	struct vm_page *m;

	if (vp == NULL) {
		vmspace_free(vm);
		return;
	}
	CHECK_EQ(vm_mmap(vm, &addr, 6 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(6)), KERN_SUCCESS);
	CHECK_EQ(put(vm, AT(4), 0x77), 0);
	m = mapped_page(vm, AT(4));
	CHECK_EQ(vn_truncate(vp, 2 * PAGE_SIZE + 100), 0);
	CHECK(mapped_page(vm, AT(4)) == NULL);
	CHECK_EQ(m->wire_count, 1);
	CHECK_EQ(m->valid, 0);
	CHECK_EQ(m->dirty, 0);
	CHECK_EQ(get(vm, AT(4)), -EFAULT);
	CHECK_EQ(curthread->fault.signo, VT_SIGBUS);
	memset(&curthread->fault, 0, sizeof(curthread->fault));
	CHECK_EQ(get(vm, AT(1)), 'p');
	/* Grown again it is a hole: zeros, in the very page that is wired. */
	CHECK_EQ(vn_truncate(vp, 6 * PAGE_SIZE), 0);
	CHECK_EQ(get(vm, AT(4)), 0);
	CHECK(mapped_page(vm, AT(4)) == m && m->wire_count == 1);
	CHECK_EQ(vn_truncate(vp, 100), 0);
	vm_check();
	CHECK_EQ(vm_map_unwire(&vm->map, AT(0), AT(6)), KERN_SUCCESS);
	CHECK_EQ(vm->pmap.wired_count, 0);
	/* Nobody needs them any more: the next scan has them. */
	CHECK_EQ(m->wire_count, 0);
	(void)vm_pageout_scan(vm_page_count);
	for (vm_pindex_t i = 1; i < 6; i++)
		CHECK(vm_page_lookup(vp->v_object, i) == NULL);
	vmspace_free(vm);
	vm_check();
	vrele(vp);
	CHECK_EQ(vn_remove(PATH), 0);
}

/* The same, but the mapping goes with its wiring instead of being unlocked first. */
KTEST(wirerace, wired_file_is_cut_and_unmapped)
{
	struct vmspace *vm = vmspace_alloc();
	struct vnode *vp = make_file(6);
	vm_offset_t addr = AT(0);

	if (vp == NULL) {
		vmspace_free(vm);
		return;
	}
	CHECK_EQ(vm_mmap(vm, &addr, 6 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	CHECK_EQ(vm_map_wire(&vm->map, AT(0), AT(6)), KERN_SUCCESS);
	CHECK_EQ(vn_truncate(vp, 0), 0);
	CHECK_EQ(vn_remove(PATH), 0);
	vmspace_free(vm);
	vrele(vp);
}

/* A file without a name, still open, is mapped, let go and mapped again: the same bytes, also changed ones. */
KTEST(wirerace, unlinked_open_file_is_mapped_again)
{
	struct vmspace *vm = vmspace_alloc();
	struct vnode *vp = make_file(4);
	vm_offset_t addr = AT(0);

	if (vp == NULL) {
		vmspace_free(vm);
		return;
	}
	CHECK_EQ(vm_mmap(vm, &addr, 4 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, vp, 0), 0);
	CHECK_EQ(put(vm, AT(1) + 9, 0x55), 0);
	CHECK_EQ(vn_remove(PATH), 0);
	CHECK_EQ(get(vm, AT(1) + 9), 0x55);
	for (int round = 0; round < 3; round++) {
		CHECK_EQ(vm_munmap(vm, AT(0), 4 * PAGE_SIZE), 0);
		/* It may not rest in the cache, for nobody will ever find it there by name. */
		CHECK(vp->v_object == NULL);
		CHECK_EQ(vm_mmap(vm, &addr, 4 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, vp, 0), 0);
		CHECK_EQ(get(vm, AT(0)), 'p');
		CHECK_EQ(get(vm, AT(1) + 9), 0x55);
		CHECK_EQ(get(vm, AT(3) + 5), '3' + (round > 0));
		CHECK_EQ(put(vm, AT(3) + 5, '4'), 0);
	}
	vmspace_free(vm);
	vrele(vp);
}
