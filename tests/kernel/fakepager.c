/* SPDX-License-Identifier: BSD-2-Clause */
/* The pager of fakepager.h. */
#include "tests/kernel/fakepager.h"

#include "kernel/kassert.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_page.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_FAKEPAGER, "fake pager");

unsigned fakepager_deallocs;

uint8_t
fakepager_byte(const struct fakepager *fp, vm_pindex_t pindex, size_t off)
{
	uint64_t x = ((uint64_t)fp->seed << 32) + pindex * 0x9e3779b97f4a7c15ul +
	    off / 8 * 0xbf58476d1ce4e5b9ul;

	return ((uint8_t)((x ^ x >> 29) >> off % 8 * 8 ^ off));
}

static void
fill(struct fakepager *fp, struct vm_page *m)
{
	uint8_t *data = VM_PAGE_TO_DMAP(m);

	for (size_t i = 0; i < PAGE_SIZE; i++)
		data[i] = fakepager_byte(fp, m->pindex, i);
	vm_page_flag_clear(m, PG_ZERO);
	m->valid = VM_PAGE_BITS_ALL;
	m->dirty = 0;
}

/* Take one of the verdicts ordered for a page. */
static int
take_verdict(struct fakepager *fp, vm_pindex_t pindex)
{
	int verdict = VM_PAGER_OK;

	spin_lock(&fp->lock);
	if (fp->times[pindex] != 0)
		verdict = fp->verdict[pindex];
	if (fp->times[pindex] > 0)
		fp->times[pindex]--;
	spin_unlock(&fp->lock);
	return (verdict);
}

/* Note a call and wait if it is held.  Returns its number. */
static unsigned
call_begin(struct fakepager *fp, struct vm_page **m, int count, int reqpage)
{
	struct fake_call *call;
	unsigned n;

	spin_lock(&fp->lock);
	n = fp->ncalls++;
	if (n < FAKE_CALLS) {
		call = &fp->calls[n];
		*call = (struct fake_call){ .first = m[0]->pindex, .count = count,
		    .reqpage = reqpage, .result = -1, .tid = curthread->tid, .held = fp->hold };
		while (call->held)
			tsleep(call, &fp->lock.lk, "fakepg", 0);
	}
	spin_unlock(&fp->lock);
	return (n);
}

static void
call_end(struct fakepager *fp, unsigned n, int result, int finished)
{
	if (n >= FAKE_CALLS)
		return;
	spin_lock(&fp->lock);
	fp->calls[n].result = result;
	fp->calls[n].finished = finished;
	spin_unlock(&fp->lock);
}

/* Finish or free the neighbours.  Returns how many were finished. */
static int
neighbours(struct fakepager *fp, struct vm_page **m, int count, int reqpage, bool good)
{
	int finished = 0;

	for (int i = 0; i < count; i++) {
		int distance = i < reqpage ? reqpage - i : i - reqpage;

		if (i == reqpage)
			continue;
		if (!good || distance > fp->keep || take_verdict(fp, m[i]->pindex) != VM_PAGER_OK) {
			vnode_pager_freepage(m[i]);
			continue;
		}
		fill(fp, m[i]);
		vm_page_deactivate(m[i]);
		PAGE_WAKEUP(m[i]);
		finished++;
	}
	return (finished);
}

static int
fakepager_getpages(struct vm_object *object, struct vm_page **m, int count, int reqpage)
{
	struct fakepager *fp = object->un_pager.test;
	unsigned n = call_begin(fp, m, count, reqpage);
	int result, finished;

	for (uint64_t i = fp->linger ? ktest_random() % 4 : 0; i > 0; i--)
		thread_yield();
	result = take_verdict(fp, m[reqpage]->pindex);
	if (result == VM_PAGER_OK)
		fill(fp, m[reqpage]);
	finished = neighbours(fp, m, count, reqpage, result == VM_PAGER_OK);
	call_end(fp, n, result, finished);
	return (result);
}

static enum vm_pager_has
fakepager_haspage(struct vm_object *object, vm_pindex_t pindex, int *before, int *after)
{
	struct fakepager *fp = object->un_pager.test;

	spin_lock(&fp->lock);
	fp->nhas++;
	*before = fp->before;
	*after = fp->after;
	spin_unlock(&fp->lock);
	return (PAGER_HAS);
}

static void
fakepager_dealloc(struct vm_object *object)
{
	struct fakepager *fp = object->un_pager.test;

	CHECK_EQ(object->resident_page_count, 0);
	CHECK_EQ(object->paging_in_progress, 0);
	for (unsigned i = 0; i < MIN(fp->ncalls, (unsigned)FAKE_CALLS); i++)
		CHECK(fp->calls[i].result >= 0);
	fakepager_deallocs++;
	kfree(fp, &M_FAKEPAGER);
}

static const struct pagerops fakepagerops = {
	.pgo_dealloc = fakepager_dealloc,
	.pgo_getpages = fakepager_getpages,
	.pgo_haspage = fakepager_haspage,
};

struct fakepager *
fakepager_create(vm_pindex_t npages)
{
	struct fakepager *fp = kmalloc(sizeof(*fp), &M_FAKEPAGER, M_WAITOK | M_ZERO);

	KASSERT(npages <= FAKE_PAGES, "a fake pager of %lu pages", npages);
	pagertab[OBJT_TEST] = &fakepagerops;
	spin_init(&fp->lock, "fake pager", RANK_NONE);
	fp->seed = (uint32_t)ktest_random();
	fp->keep = VM_PAGER_CLUSTER_MAX;
	fp->object = vm_object_allocate(OBJT_TEST, npages);
	fp->object->un_pager.test = fp;
	return (fp);
}

void
fakepager_drop(struct fakepager *fp)
{
	vm_object_deallocate(fp->object);
}

void
fakepager_say(struct fakepager *fp, vm_pindex_t pindex, int verdict, int times)
{
	spin_lock(&fp->lock);
	fp->verdict[pindex] = (uint8_t)verdict;
	fp->times[pindex] = times;
	spin_unlock(&fp->lock);
}

void
fakepager_hold(struct fakepager *fp, bool hold)
{
	spin_lock(&fp->lock);
	fp->hold = hold;
	spin_unlock(&fp->lock);
}

void
fakepager_release(struct fakepager *fp, unsigned n)
{
	spin_lock(&fp->lock);
	KASSERT(n < fp->ncalls && n < FAKE_CALLS, "call %u of %u released", n, fp->ncalls);
	fp->calls[n].held = false;
	wakeup(&fp->calls[n]);
	spin_unlock(&fp->lock);
}

void
fakepager_release_all(struct fakepager *fp)
{
	fakepager_hold(fp, false);
	for (unsigned i = 0; i < MIN(fakepager_calls(fp), (unsigned)FAKE_CALLS); i++)
		fakepager_release(fp, i);
}

unsigned
fakepager_calls(struct fakepager *fp)
{
	unsigned n;

	spin_lock(&fp->lock);
	n = fp->ncalls;
	spin_unlock(&fp->lock);
	return (n);
}

unsigned
fakepager_calls_for(struct fakepager *fp, vm_pindex_t pindex)
{
	unsigned n = 0;

	spin_lock(&fp->lock);
	for (unsigned i = 0; i < MIN(fp->ncalls, (unsigned)FAKE_CALLS); i++)
		n += fp->calls[i].first + (vm_pindex_t)fp->calls[i].reqpage == pindex;
	spin_unlock(&fp->lock);
	return (n);
}

void
fakepager_supply(struct fakepager *fp, vm_pindex_t pindex)
{
	struct vm_page *m;

	vm_object_lock(fp->object);
	m = vm_page_alloc(fp->object, pindex, VM_ALLOC_NORMAL);
	KASSERT(m != NULL, "no memory for a page");
	fill(fp, m);
	vm_page_activate(m);
	vm_page_xunbusy(m);
	vm_object_unlock(fp->object);
}

void
fakepager_shadow(struct vm_object *top, struct vm_object *backing)
{
	vm_object_reference(backing);
	vm_object_lock(top);
	top->backing_object = backing;
	vm_object_lock(backing);
	TAILQ_INSERT_TAIL(&backing->shadow_head, top, shadow_list);
	backing->shadow_count++;
	vm_object_unlock(backing);
	vm_object_unlock(top);
}
