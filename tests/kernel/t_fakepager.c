/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults over a pager that the test controls (fakepager.h): what is asked of a pager, what becomes
 * of each of its answers, and who waits for whom while it takes its time.
 *
 * Everything here is memory; the disk has no part in it.  The same questions over the real disk:
 * t_pager.c and t_vnpager.c.
 */
#include "tests/kernel/fakepager.h"
#include "tests/kernel/vmtest.h"
#include "vm/pmap.h"
#include "vm/vm_fault.h"
#include "vm/vm_pageout.h"

#define P	PAGE_SIZE
#define RW	(VM_PROT_READ | VM_PROT_WRITE)

/* A page as the pager made it, seen through its mapping. */
static bool
check_page(struct fakepager *fp, vm_offset_t va, vm_pindex_t pindex)
{
	static const size_t offs[] = { 0, 1, 511, 512, 2049, P - 1 };
	bool good = true;

	for (size_t i = 0; i < nitems(offs); i++)
		good = CHECK_EQ(vt_load(va + offs[i]), fakepager_byte(fp, pindex, offs[i])) && good;
	return (good);
}

static bool
check_call(struct fakepager *fp, unsigned n, vm_pindex_t first, int count, int reqpage)
{
	const struct fake_call *call = &fp->calls[n];

	if (n < fp->ncalls && call->first == first && call->count == count &&
	    call->reqpage == reqpage)
		return (true);
	ktest_fail(__FILE__, __LINE__,
	    "call %u of %u: %d pages from %lu on for number %d; expected %d from %lu for %d", n,
	    fp->ncalls, call->count, call->first, call->reqpage, count, first, reqpage);
	return (false);
}

/* ---- what is asked ---- */

KTEST(fakepager, fault_asks_for_the_page_and_maps_it)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	struct vmmeter before = vm_meter_sum();
	struct vm_page *m;

	CHECK(vt_page(fp->object, 3) == NULL);
	CHECK(check_page(fp, va + 3 * P, 3));
	CHECK_EQ(fakepager_calls(fp), 1);
	check_call(fp, 0, 3, 1, 0);
	CHECK_EQ(fp->calls[0].tid, curthread->tid);
	CHECK_EQ(VMCNT_GET(v_io_faults) - before.v_io_faults, 1);
	m = vt_page(fp->object, 3);
	if (CHECK(m != NULL)) {
		CHECK_EQ(m->valid, VM_PAGE_BITS_ALL);
		CHECK_EQ(m->dirty, 0);
		CHECK_EQ(m->queue, PQ_INACTIVE);	/* active by being used once more */
		CHECK(!vm_page_busied(m));
		CHECK_EQ(pmap_extract(&vm->pmap, va + 3 * P), VM_PAGE_TO_PHYS(m));
	}
	CHECK_EQ(fp->object->paging_in_progress, 0);
	CHECK_EQ(fp->object->resident_page_count, 1);
	vt_end();
	fakepager_drop(fp);
}

KTEST_COUNTING(fakepager, neighbours_arrive_inactive_and_clean)
{
	struct fakepager *fp = fakepager_create(64);
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	vt_begin();
	va = vt_map_object(fp->object, 0, 64, VM_PROT_READ, 0);
	for (vm_pindex_t i = 0; i < 64; i++)
		CHECK(vt_page(fp->object, i) == NULL);
	vm_pageout_freeze(true);
	CHECK(check_page(fp, va + 20 * P, 20));
	CHECK_EQ(fp->nhas, 1);
	check_call(fp, 0, 16, 16, 4);
	for (vm_pindex_t i = 16; i < 32; i++) {
		struct vm_page *m = vt_page(fp->object, i);

		CHECK_OR_RETURN(m != NULL);
		CHECK_EQ(m->queue, PQ_INACTIVE);
		CHECK_EQ(m->valid, VM_PAGE_BITS_ALL);
		CHECK_EQ(m->dirty, 0);
		CHECK(!vm_page_busied(m));
	}
	CHECK_EQ(fp->object->resident_page_count, 16);
	vm_pageout_freeze(false);
	for (vm_pindex_t i = 16; i < 32; i++)
		CHECK(check_page(fp, va + i * P, i));
	CHECK_EQ(fakepager_calls(fp), 1);
	vt_end();
	fakepager_drop(fp);
}

KTEST_COUNTING(fakepager, clusters_end_where_the_object_ends)
{
	struct fakepager *fp = fakepager_create(10);
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	vt_begin();
	va = vt_map_object(fp->object, 0, 16, VM_PROT_READ, 0);
	CHECK(check_page(fp, va + 8 * P, 8));
	check_call(fp, 0, 0, 10, 8);
	CHECK_EQ(fakepager_calls(fp), 1);
	CHECK_SIGBUS(va + 10 * P);
	CHECK_SIGBUS(va + 15 * P + 1234);
	CHECK_EQ(fakepager_calls(fp), 1);
	CHECK_EQ(fp->object->resident_page_count, 10);
	vt_end();
	fakepager_drop(fp);
}

KTEST_COUNTING(fakepager, clusters_end_where_the_mapping_ends)
{
	struct fakepager *fp = fakepager_create(32);
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	vt_begin();
	va = vt_map_object(fp->object, 4, 3, VM_PROT_READ, 0);
	CHECK(check_page(fp, va + P, 5));
	check_call(fp, 0, 4, 3, 1);
	CHECK_EQ(fp->object->resident_page_count, 3);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, clusters_end_at_resident_pages)
{
	struct fakepager *fp = fakepager_create(64);
	struct vm_page *low, *high;
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	fakepager_supply(fp, 18);
	fakepager_supply(fp, 25);
	low = vt_page(fp->object, 18);
	high = vt_page(fp->object, 25);
	vt_begin();
	va = vt_map_object(fp->object, 0, 64, VM_PROT_READ, 0);
	CHECK(check_page(fp, va + 20 * P, 20));
	check_call(fp, 0, 19, 6, 1);
	CHECK(vt_page(fp->object, 18) == low);
	CHECK(vt_page(fp->object, 25) == high);
	CHECK(vt_page(fp->object, 17) == NULL);
	CHECK(vt_page(fp->object, 26) == NULL);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, clusters_are_no_larger_than_the_pager_offers)
{
	struct fakepager *fp = fakepager_create(64);
	vm_offset_t va;

	fp->before = 1;
	fp->after = 2;
	vt_begin();
	va = vt_map_object(fp->object, 0, 64, VM_PROT_READ, 0);
	CHECK(check_page(fp, va + 20 * P, 20));
	check_call(fp, 0, 19, 4, 1);
	vt_end();
	fakepager_drop(fp);
}

KTEST_COUNTING(fakepager, sequential_reading_fills_the_window)
{
	struct fakepager *fp = fakepager_create(128);
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	vt_begin();
	va = vt_map_object(fp->object, 0, 128, VM_PROT_READ, 0);
	for (vm_pindex_t i = 0; i < 128; i++)
		CHECK_EQ(vt_load(va + i * P + i), fakepager_byte(fp, i, i));
	CHECK_EQ(fakepager_calls(fp), 128 / VM_PAGER_CLUSTER_MAX);
	for (unsigned n = 0; n < fakepager_calls(fp); n++)
		check_call(fp, n, n * VM_PAGER_CLUSTER_MAX, VM_PAGER_CLUSTER_MAX, 0);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, random_advice_reads_nothing_around)
{
	struct fakepager *fp = fakepager_create(64);
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	vt_begin();
	va = vt_map_object(fp->object, 0, 64, VM_PROT_READ, 0);
	vt_no_readahead(va, 64 * P);
	for (vm_pindex_t i = 0; i < 64; i += 9) {
		CHECK(check_page(fp, va + i * P, i));
		check_call(fp, fakepager_calls(fp) - 1, i, 1, 0);
	}
	CHECK_EQ(fakepager_calls(fp), 8);
	CHECK_EQ(fp->object->resident_page_count, 8);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, data_before_the_request_is_not_asked_for)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmmeter before;
	vm_offset_t va;

	fakepager_supply(fp, 2);
	vt_begin();
	va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	before = vm_meter_sum();
	CHECK(check_page(fp, va + 2 * P, 2));
	CHECK_EQ(fakepager_calls(fp), 0);
	CHECK_EQ(VMCNT_GET(v_soft_faults) - before.v_soft_faults, 1);
	vt_end();
	fakepager_drop(fp);
}

/* ---- what is answered ---- */

KTEST_COUNTING(fakepager, short_answer_leaves_the_rest_absent)
{
	struct fakepager *fp = fakepager_create(64);
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	fp->keep = 1;
	vt_begin();
	va = vt_map_object(fp->object, 0, 64, VM_PROT_READ, 0);
	CHECK(check_page(fp, va + 20 * P, 20));
	check_call(fp, 0, 16, 16, 4);
	CHECK_EQ(fp->calls[0].finished, 2);
	CHECK_EQ(fp->object->resident_page_count, 3);
	CHECK(check_page(fp, va + 21 * P, 21));
	CHECK_EQ(fakepager_calls(fp), 1);
	CHECK(check_page(fp, va + 22 * P, 22));
	CHECK_EQ(fakepager_calls(fp), 2);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, error_of_a_neighbour_is_its_own)
{
	struct fakepager *fp = fakepager_create(16);
	vm_offset_t va;

	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	fakepager_say(fp, 9, VM_PAGER_ERROR, FAKE_FOREVER);
	vt_begin();
	va = vt_map_object(fp->object, 0, 16, VM_PROT_READ, 0);
	CHECK(check_page(fp, va + 8 * P, 8));
	CHECK_EQ(fp->calls[0].finished, 14);
	CHECK(vt_page(fp->object, 9) == NULL);
	CHECK_SIGBUS(va + 9 * P + 7);
	CHECK(vt_page(fp->object, 9) == NULL);
	vt_end();
	fakepager_drop(fp);
}

/* One answer, as vm_fault() returns it and as a program would see it. */
static void
answer(int verdict, int kr, int signo, int code)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	struct vmmeter before = vm_meter_sum();

	fakepager_say(fp, 2, verdict, FAKE_FOREVER);
	CHECK_EQ(vm_fault(&vm->map, va + 2 * P, VM_PROT_READ, 0, NULL), kr);
	CHECK_EQ(VMCNT_GET(v_failed_faults) - before.v_failed_faults, 1);
	CHECK(vt_page(fp->object, 2) == NULL);
	CHECK_REFUSED(va + 2 * P + 4095, false, signo, code);
	CHECK_REFUSED(va + 2 * P, false, signo, code);
	CHECK_EQ(fakepager_calls(fp), 3);
	for (unsigned n = 0; n < 3; n++)
		CHECK_EQ(fp->calls[n].result, verdict);
	CHECK_EQ(fp->object->resident_page_count, 0);
	CHECK_EQ(fp->object->paging_in_progress, 0);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, bad_means_out_of_bounds)
{
	answer(VM_PAGER_BAD, KERN_OUT_OF_BOUNDS, VT_SIGBUS, VT_ADRERR);
}

KTEST(fakepager, error_means_io_error)
{
	answer(VM_PAGER_ERROR, KERN_IO_ERROR, VT_SIGBUS, VT_ADRERR);
}

KTEST(fakepager, error_is_not_sticky)
{
	struct fakepager *fp = fakepager_create(8);
	vm_offset_t va;

	fakepager_say(fp, 5, VM_PAGER_ERROR, 2);
	vt_begin();
	va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	CHECK_SIGBUS(va + 5 * P + 1);
	CHECK_SIGBUS(va + 5 * P + 2);
	CHECK(check_page(fp, va + 5 * P, 5));
	CHECK_EQ(fakepager_calls(fp), 3);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, data_supplied_after_an_error_serves)
{
	struct fakepager *fp = fakepager_create(8);
	vm_offset_t va;

	fakepager_say(fp, 5, VM_PAGER_ERROR, FAKE_FOREVER);
	vt_begin();
	va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	CHECK_SIGBUS(va + 5 * P);
	fakepager_supply(fp, 5);
	CHECK(check_page(fp, va + 5 * P, 5));
	CHECK_EQ(fakepager_calls(fp), 1);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, again_is_asked_again)
{
	struct fakepager *fp = fakepager_create(8);
	vm_offset_t va;

	fakepager_say(fp, 1, VM_PAGER_AGAIN, 3);
	vt_begin();
	va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	CHECK(check_page(fp, va + P, 1));
	CHECK_EQ(fakepager_calls(fp), 4);
	for (unsigned n = 0; n < 3; n++)
		CHECK_EQ(fp->calls[n].result, VM_PAGER_AGAIN);
	CHECK_EQ(fp->calls[3].result, VM_PAGER_OK);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, again_for_ever_ends_as_out_of_memory)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);

	/* If nothing bounds the retries, the error does, and is not what is expected. */
	fakepager_say(fp, 1, VM_PAGER_AGAIN, 100000);
	CHECK_EQ(vm_fault(&vm->map, va + P, VM_PROT_READ, 0, NULL), KERN_RESOURCE_SHORTAGE);
	CHECK(fakepager_calls(fp) > 1);
	CHECK(fakepager_calls(fp) < 100000);
	CHECK(vt_page(fp->object, 1) == NULL);
	vt_end();
	fakepager_drop(fp);
}

/* ---- below another object ---- */

KTEST_COUNTING(fakepager, fail_is_looked_for_in_the_backing_object)
{
	struct fakepager *top = fakepager_create(8), *below = fakepager_create(16);
	struct vm_page *m;
	vm_offset_t va;

	fakepager_shadow(top->object, below->object);
	top->object->backing_object_offset = 4 * P;
	fakepager_say(top, 2, VM_PAGER_FAIL, FAKE_FOREVER);
	fakepager_say(top, 3, VM_PAGER_FAIL, FAKE_FOREVER);
	vt_begin();
	va = vt_map_object(top->object, 0, 8, RW, 0);
	CHECK(check_page(below, va + 2 * P, 6));	/* a read maps the lower page */
	CHECK_EQ(fakepager_calls(top), 1);
	CHECK_EQ(fakepager_calls(below), 1);
	CHECK(vt_page(top->object, 2) == NULL);
	CHECK(vt_resident(below->object, 6));
	CHECK(check_page(top, va + P, 1));		/* what the top has is the top's */
	CHECK_EQ(fakepager_calls(below), 1);
	vt_store(va + 3 * P + 9, 0x77);			/* a write copies up */
	CHECK_EQ(fakepager_calls(below), 2);
	m = vt_page(top->object, 3);
	if (CHECK(m != NULL))
		CHECK_EQ(m->valid & m->dirty, VM_PAGE_BITS_ALL);
	CHECK_EQ(vt_load(va + 3 * P + 9), 0x77);
	CHECK_EQ(vt_load(va + 3 * P + 10), fakepager_byte(below, 7, 10));
	m = vt_page(below->object, 7);
	if (CHECK(m != NULL)) {
		CHECK_EQ(m->dirty, 0);
		CHECK_EQ(((uint8_t *)VM_PAGE_TO_DMAP(m))[9], fakepager_byte(below, 7, 9));
	}
	vt_end();
	fakepager_drop(top);
	fakepager_drop(below);
}

KTEST(fakepager, fail_at_the_bottom_is_a_page_of_zeros)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmmeter before;
	vm_offset_t va;

	fakepager_say(fp, 4, VM_PAGER_FAIL, FAKE_FOREVER);
	vt_begin();
	va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	before = vm_meter_sum();
	for (size_t off = 0; off < P; off += 101)
		CHECK_EQ(vt_load(va + 4 * P + off), 0);
	CHECK_EQ(fakepager_calls(fp), 1);
	CHECK_EQ(VMCNT_GET(v_zfod) - before.v_zfod, 1);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, errors_below_are_not_zero_filled)
{
	struct fakepager *top = fakepager_create(8), *below = fakepager_create(8);
	vm_offset_t va;

	fakepager_shadow(top->object, below->object);
	fakepager_say(top, 2, VM_PAGER_FAIL, FAKE_FOREVER);
	fakepager_say(below, 2, VM_PAGER_ERROR, FAKE_FOREVER);
	vt_begin();
	va = vt_map_object(top->object, 0, 8, RW, 0);
	CHECK_SIGBUS(va + 2 * P + 3);
	CHECK_REFUSED(va + 2 * P + 4, true, VT_SIGBUS, VT_ADRERR);
	CHECK_EQ(fakepager_calls(top), 2);
	CHECK_EQ(fakepager_calls(below), 2);
	CHECK(vt_page(top->object, 2) == NULL);
	CHECK(vt_page(below->object, 2) == NULL);
	vt_end();
	fakepager_drop(top);
	fakepager_drop(below);
}

KTEST_COUNTING(fakepager, private_write_copies_what_was_paged_in)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, RW, MAP_COPY_ON_WRITE);
	vm_offset_t other = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	struct vmmeter before = vm_meter_sum();

	CHECK(vt_page(fp->object, 3) == NULL);
	vt_store(va + 3 * P + 100, 0x11);
	CHECK_EQ(fakepager_calls(fp), 1);
	CHECK_EQ(VMCNT_GET(v_cow_faults) - before.v_cow_faults, 1);
	CHECK_EQ(vt_load(va + 3 * P + 100), 0x11);
	CHECK_EQ(vt_load(va + 3 * P + 101), fakepager_byte(fp, 3, 101));
	CHECK(check_page(fp, other + 3 * P, 3));
	CHECK(pmap_extract(&vm->pmap, va + 3 * P) != pmap_extract(&vm->pmap, other + 3 * P));
	CHECK(check_page(fp, va + 4 * P, 4));
	CHECK(check_page(fp, other + 4 * P, 4));
	CHECK_EQ(pmap_extract(&vm->pmap, va + 4 * P), pmap_extract(&vm->pmap, other + 4 * P));
	CHECK_EQ(fakepager_calls(fp), 2);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, wiring_over_an_error_wires_nothing)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);

	fakepager_say(fp, 5, VM_PAGER_ERROR, 1);
	CHECK_EQ(vm_map_wire(&vm->map, va, va + 8 * P), KERN_IO_ERROR);
	for (vm_pindex_t i = 0; i < 8; i++) {
		struct vm_page *m = vt_page(fp->object, i);

		if (m != NULL)
			CHECK_EQ(m->wire_count, 0);
	}
	CHECK_EQ(vm->pmap.wired_count, 0);
	CHECK_EQ(vm_map_wire(&vm->map, va, va + 8 * P), KERN_SUCCESS);
	for (vm_pindex_t i = 0; i < 8; i++)
		CHECK_EQ(vt_page(fp->object, i)->wire_count, 1);
	CHECK_EQ(vm_map_unwire(&vm->map, va, va + 8 * P), KERN_SUCCESS);
	vt_end();
	fakepager_drop(fp);
}

/* ---- who waits ---- */

#define MANY	32

KTEST(fakepager, many_faulters_of_one_page_cause_one_call)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	struct vt_job jobs[MANY] = { 0 };

	CHECK(vt_page(fp->object, 6) == NULL);
	fakepager_hold(fp, true);
	for (int i = 0; i < MANY; i++) {
		jobs[i] = (struct vt_job){ .fn = vt_touch, .vm = vm,
		    .va = va + 6 * P + (vm_offset_t)i * 64 };
		vt_start(&jobs[i], "faulter");
	}
	VT_WAIT(vt_sleepers("fakepg") == 1);
	VT_WAIT(vt_sleepers("vmpfw") == MANY - 1);
	CHECK_EQ(fakepager_calls(fp), 1);
	fakepager_release(fp, 0);
	for (int i = 0; i < MANY; i++) {
		vt_finish(&jobs[i]);
		CHECK_EQ(jobs[i].error, 0);
		CHECK_EQ(jobs[i].value, fakepager_byte(fp, 6, (size_t)i * 64));
	}
	CHECK_EQ(fakepager_calls(fp), 1);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, error_wakes_all_and_each_asks_for_itself)
{
	enum { N = 8 };
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	struct vt_job jobs[N] = { 0 };

	fakepager_say(fp, 6, VM_PAGER_ERROR, FAKE_FOREVER);
	fakepager_hold(fp, true);
	for (int i = 0; i < N; i++) {
		jobs[i] = (struct vt_job){ .fn = vt_touch, .vm = vm,
		    .va = va + 6 * P + 10 + (vm_offset_t)i };
		vt_start(&jobs[i], "faulter");
	}
	VT_WAIT(vt_sleepers("fakepg") == 1 && vt_sleepers("vmpfw") == N - 1);
	fakepager_release_all(fp);
	for (int i = 0; i < N; i++) {
		vt_finish(&jobs[i]);
		CHECK_JOB_REFUSED(&jobs[i], VT_SIGBUS, VT_ADRERR, va + 6 * P + 10 + (vm_offset_t)i);
	}
	CHECK_EQ(fakepager_calls(fp), N);
	for (unsigned n = 0; n < N; n++)
		for (unsigned k = 0; k < n; k++)
			CHECK(fp->calls[n].tid != fp->calls[k].tid);
	CHECK(vt_page(fp->object, 6) == NULL);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, waiters_get_the_page_that_another_retry_brought)
{
	enum { N = 6 };
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, VM_PROT_READ, 0);
	struct vt_job jobs[N] = { 0 };
	int refused = 0;

	fakepager_say(fp, 6, VM_PAGER_ERROR, 1);
	fakepager_hold(fp, true);
	for (int i = 0; i < N; i++) {
		jobs[i] = (struct vt_job){ .fn = vt_touch, .vm = vm, .va = va + 6 * P };
		vt_start(&jobs[i], "faulter");
	}
	VT_WAIT(vt_sleepers("fakepg") == 1 && vt_sleepers("vmpfw") == N - 1);
	fakepager_release_all(fp);
	for (int i = 0; i < N; i++) {
		vt_finish(&jobs[i]);
		refused += jobs[i].error != 0;
		if (jobs[i].error == 0)
			CHECK_EQ(jobs[i].value, fakepager_byte(fp, 6, 0));
	}
	CHECK_EQ(refused, 1);
	CHECK_EQ(fakepager_calls(fp), 2);
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, other_pages_go_on_while_one_waits)
{
	struct fakepager *fp = fakepager_create(16);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 16, VM_PROT_READ, 0);
	struct vt_job job = { .fn = vt_touch, .vm = vm, .va = va + 3 * P };

	fakepager_supply(fp, 9);
	fakepager_hold(fp, true);
	vt_start(&job, "faulter");
	VT_WAIT(vt_sleeps(&job, "fakepg"));
	fakepager_hold(fp, false);
	CHECK(check_page(fp, va + 9 * P, 9));		/* resident */
	CHECK(check_page(fp, va + 2 * P, 2));		/* absent, beside the busy one */
	CHECK(check_page(fp, va + 4 * P, 4));
	CHECK_EQ(fakepager_calls(fp), 3);
	CHECK(vt_sleeps(&job, "fakepg"));
	CHECK_EQ(fp->object->paging_in_progress, 1);
	fakepager_release(fp, 0);
	vt_finish(&job);
	CHECK_EQ(job.error, 0);
	CHECK_EQ(job.value, fakepager_byte(fp, 3, 0));
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, a_cluster_stops_at_a_page_that_is_being_read)
{
	struct fakepager *fp = fakepager_create(16);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 16, VM_PROT_READ, 0);
	struct vt_job job = { .fn = vt_touch, .vm = vm, .va = va + 5 * P };

	fakepager_hold(fp, true);
	vt_start(&job, "faulter");
	VT_WAIT(vt_sleeps(&job, "fakepg"));
	fakepager_hold(fp, false);
	fp->before = fp->after = VM_PAGER_CLUSTER_MAX;
	va = vt_map_object(fp->object, 0, 16, VM_PROT_READ, 0);	/* has no history of reading */
	CHECK(check_page(fp, va + 8 * P, 8));
	check_call(fp, 1, 6, 10, 2);
	fakepager_release(fp, 0);
	vt_finish(&job);
	CHECK_EQ(job.value, fakepager_byte(fp, 5, 0));
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, answers_may_come_in_any_order)
{
	enum { N = 4 };
	struct fakepager *fp = fakepager_create(16);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 16, VM_PROT_READ, 0);
	struct vt_job jobs[N] = { 0 };

	fakepager_hold(fp, true);
	for (unsigned i = 0; i < N; i++) {
		jobs[i] = (struct vt_job){ .fn = vt_touch, .vm = vm, .va = va + i * 3 * P + i };
		vt_start(&jobs[i], "faulter");
		VT_WAIT(vt_sleeps(&jobs[i], "fakepg"));
		check_call(fp, i, i * 3, 1, 0);
	}
	for (unsigned i = N; i-- > 0;) {
		fakepager_release(fp, i);
		vt_finish(&jobs[i]);
		CHECK_EQ(jobs[i].error, 0);
		CHECK_EQ(jobs[i].value, fakepager_byte(fp, i * 3, i));
		for (unsigned k = 0; k < i; k++)
			CHECK(vt_sleeps(&jobs[k], "fakepg"));
	}
	vt_end();
	fakepager_drop(fp);
}

KTEST(fakepager, a_change_of_the_map_meanwhile_costs_no_second_call)
{
	struct fakepager *fp = fakepager_create(16);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 16, VM_PROT_READ, 0), elsewhere;
	struct vt_job job = { .fn = vt_touch, .vm = vm, .va = va + 3 * P };
	struct vmmeter before;

	fakepager_hold(fp, true);
	vt_start(&job, "faulter");
	VT_WAIT(vt_sleeps(&job, "fakepg"));
	before = vm_meter_sum();
	elsewhere = vt_map_object(fp->object, 0, 1, VM_PROT_READ, 0);
	CHECK(elsewhere != 0);
	fakepager_release_all(fp);
	vt_finish(&job);
	CHECK_EQ(job.error, 0);
	CHECK_EQ(job.value, fakepager_byte(fp, 3, 0));
	CHECK(VMCNT_GET(v_restarts) > before.v_restarts);
	CHECK_EQ(fakepager_calls(fp), 1);
	vt_end();
	fakepager_drop(fp);
}
