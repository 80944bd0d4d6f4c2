/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults over the fake pager while the ground moves: the range is unmapped, mapped anew or the
 * whole address space goes while a thread waits for its page; the object ends; and, last,
 * everything at once, by chance.
 *
 *	a thread waits in "fakepg"   meanwhile                         its touch ends as
 *	                             munmap                            SIGSEGV, MAPERR
 *	                             munmap, last reference            the same, once "objtrm" ends
 *	                             something else mapped there       the new bytes
 *	                             all unmapped, the space given up  SIGSEGV, MAPERR
 *	                             made inaccessible                 SIGSEGV, ACCERR
 */
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "tests/kernel/fakepager.h"
#include "tests/kernel/vmtest.h"

static MALLOC_DEFINE(M_TFAKE, "fake pager tests");

#define P	PAGE_SIZE
#define RW	(VM_PROT_READ | VM_PROT_WRITE)

/* A thread that faults on page 3 of eight and waits for the pager. */
struct blocked {
	struct fakepager *fp;
	struct vmspace	*vm;
	vm_offset_t	 va;
	struct vt_job	 job;
};

static void
block(struct blocked *b)
{
	*b = (struct blocked){ .fp = fakepager_create(8), .vm = vt_begin() };
	b->va = vt_map_object(b->fp->object, 0, 8, VM_PROT_READ, 0);
	b->job = (struct vt_job){ .fn = vt_touch, .vm = b->vm, .va = b->va + 3 * P + 33 };
	fakepager_hold(b->fp, true);
	vt_start(&b->job, "faulter");
	VT_WAIT(vt_sleeps(&b->job, "fakepg"));
	CHECK_EQ(fakepager_calls(b->fp), 1);
}

KTEST(fakepager, unmapped_while_blocked)
{
	struct blocked b;

	block(&b);
	CHECK_EQ(vm_munmap(b.vm, b.va, 8 * P), 0);
	CHECK(vt_sleeps(&b.job, "fakepg"));
	fakepager_release(b.fp, 0);
	vt_finish(&b.job);
	CHECK_JOB_REFUSED(&b.job, VT_SIGSEGV, VT_MAPERR, b.va + 3 * P + 33);
	CHECK(vt_resident(b.fp->object, 3));		/* it was read, and stays the object's */
	CHECK_EQ(fakepager_calls(b.fp), 1);
	vt_end();
	fakepager_drop(b.fp);
}

KTEST(fakepager, unmapped_while_blocked_and_the_page_fails)
{
	struct blocked b;

	block(&b);
	fakepager_say(b.fp, 3, VM_PAGER_ERROR, FAKE_FOREVER);
	CHECK_EQ(vm_munmap(b.vm, b.va, 8 * P), 0);
	fakepager_release(b.fp, 0);
	vt_finish(&b.job);
	/* The disk's answer came first; either story is true. */
	CHECK_EQ(b.job.error, EFAULT);
	CHECK_EQ(b.job.why.addr, b.va + 3 * P + 33);
	CHECK(vt_page(b.fp->object, 3) == NULL);
	vt_end();
	fakepager_drop(b.fp);
}

KTEST(fakepager, made_inaccessible_while_blocked)
{
	struct blocked b;

	block(&b);
	CHECK_EQ(vm_map_protect(&b.vm->map, b.va, b.va + 8 * P, VM_PROT_NONE), KERN_SUCCESS);
	fakepager_release(b.fp, 0);
	vt_finish(&b.job);
	CHECK_JOB_REFUSED(&b.job, VT_SIGSEGV, VT_ACCERR, b.va + 3 * P + 33);
	vt_end();
	fakepager_drop(b.fp);
}

KTEST(fakepager, mapped_anew_while_blocked)
{
	struct fakepager *other = fakepager_create(8);
	struct blocked b;

	block(&b);
	CHECK_EQ(vm_map_remove(&b.vm->map, b.va, b.va + 8 * P), KERN_SUCCESS);
	CHECK_EQ(vt_map_object(other->object, 0, 8, VM_PROT_READ, 0), b.va);
	fakepager_release(b.fp, 0);
	vt_finish(&b.job);
	CHECK_EQ(b.job.error, 0);
	CHECK_EQ(b.job.value, fakepager_byte(other, 3, 33));
	CHECK_EQ(fakepager_calls(other), 1);
	CHECK(vt_resident(b.fp->object, 3));
	vt_end();
	fakepager_drop(other);
	fakepager_drop(b.fp);
}

KTEST(fakepager, address_space_goes_while_blocked)
{
	struct blocked b;

	block(&b);
	/* As an exit does: all mappings go, then a reference; the blocked thread has the last. */
	CHECK_EQ(vm_map_remove(&b.vm->map, b.vm->map.min, b.vm->map.max), KERN_SUCCESS);
	vt_end();
	CHECK(vt_sleeps(&b.job, "fakepg"));
	fakepager_release(b.fp, 0);
	vt_finish(&b.job);
	CHECK_JOB_REFUSED(&b.job, VT_SIGSEGV, VT_MAPERR, b.va + 3 * P + 33);
	fakepager_drop(b.fp);
}

static void
unmap_job(struct vt_job *job)
{
	job->error = vm_munmap(job->vm, job->va, 8 * P);
}

KTEST(fakepager, last_unmap_waits_for_the_pager)
{
	unsigned deallocs = fakepager_deallocs;
	struct vt_job unmapper;
	struct blocked b;

	block(&b);
	unmapper = (struct vt_job){ .fn = unmap_job, .vm = b.vm, .va = b.va };
	vm_object_deallocate(b.fp->object);		/* the map's reference is the last */
	vt_start(&unmapper, "unmapper");
	VT_WAIT(vt_sleeps(&unmapper, "objtrm"));
	CHECK(b.fp->object->flags & OBJ_DEAD);
	CHECK_EQ(fakepager_deallocs, deallocs);
	fakepager_release(b.fp, 0);
	vt_finish(&unmapper);
	vt_finish(&b.job);
	CHECK_EQ(unmapper.error, 0);
	CHECK_JOB_REFUSED(&b.job, VT_SIGSEGV, VT_MAPERR, b.va + 3 * P + 33);
	CHECK_EQ(fakepager_deallocs, deallocs + 1);	/* which found it empty */
	vt_end();
}

/* A private mapping: what waits is the placeholder in the shadow object. */
KTEST(fakepager, second_faulter_waits_on_the_placeholder)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin();
	vm_offset_t va = vt_map_object(fp->object, 0, 8, RW, MAP_COPY_ON_WRITE);
	struct vt_job first = { .fn = vt_touch, .vm = vm, .va = va + 3 * P }, second = first;

	vt_store(va + 7 * P, 1);		/* now there is a shadow object */
	CHECK_EQ(fakepager_calls(fp), 1);
	fakepager_hold(fp, true);
	vt_start(&first, "first");
	VT_WAIT(vt_sleeps(&first, "fakepg"));
	vt_start(&second, "second");
	VT_WAIT(vt_sleeps(&second, "vmpfw"));
	fakepager_release_all(fp);
	vt_finish(&first);
	vt_finish(&second);
	CHECK_EQ(first.error, 0);
	CHECK_EQ(second.error, 0);
	CHECK_EQ(first.value, fakepager_byte(fp, 3, 0));
	CHECK_EQ(second.value, fakepager_byte(fp, 3, 0));
	CHECK_EQ(fakepager_calls_for(fp, 3), 1);
	vt_end();
	fakepager_drop(fp);
}

/*
 * Two address spaces, one object: the copy of one is made while the other waits for the page below.
 */
KTEST(fakepager, copy_in_one_space_while_the_other_waits)
{
	struct fakepager *fp = fakepager_create(8);
	struct vmspace *vm = vt_begin(), *child;
	vm_offset_t va = vt_map_object(fp->object, 0, 8, RW, MAP_COPY_ON_WRITE);
	struct vt_job reader, writer;

	vt_store(va + 7 * P, 0x70);
	child = vmspace_fork(vm);
	CHECK_OR_RETURN(child != NULL);
	reader = (struct vt_job){ .fn = vt_touch, .vm = child, .va = va + 2 * P };
	writer = (struct vt_job){ .fn = vt_touch, .vm = child, .va = va + 7 * P };
	fakepager_hold(fp, true);
	vt_start(&reader, "reader");
	VT_WAIT(vt_sleeps(&reader, "fakepg"));
	vt_store(va + 7 * P, 0x71);	/* copied from the shadow that both spaces share */
	vt_start(&writer, "child");
	vt_finish(&writer);
	CHECK_EQ(writer.value, 0x70);
	CHECK_EQ(vt_load(va + 7 * P), 0x71);
	CHECK_EQ(vt_load(va + 7 * P + 5), fakepager_byte(fp, 7, 5));
	CHECK(vt_sleeps(&reader, "fakepg"));
	fakepager_release_all(fp);
	vt_finish(&reader);
	CHECK_EQ(reader.error, 0);
	CHECK_EQ(reader.value, fakepager_byte(fp, 2, 0));
	vmspace_free(child);
	vt_end();
	fakepager_drop(fp);
}

/* ---- everything at once ---- */

#define CHAOS_PAGES	64
#define CHAOS_THREADS	6
#define CHAOS_TOUCHES	250
#define CHAOS_AGAINS	10	/* for each page: as many as one fault puts up with, however they fall */
#define CHAOS_BAD(i)	((i) % 17 == 5)		/* pages that cannot be read */

struct chaos {
	struct fakepager *fp;
	vm_offset_t	 va;
	volatile bool	 stop;
	uint8_t		 agains[CHAOS_PAGES];	/* ordered so far */
	uint64_t	 good, refused;		/* atomic */
};

static void
chaos_touch(struct vt_job *job)
{
	struct chaos *c = job->arg;
	uint8_t value;

	for (int n = 0; n < CHAOS_TOUCHES && !ktest_failed(); n++) {
		uint64_t r = ktest_random();
		vm_pindex_t i = r % CHAOS_PAGES;
		size_t off = (r >> 8) % P;
		int error = vt_try_load(c->va + i * P + off, &value);

		CHECK_EQ(error, CHAOS_BAD(i) ? EFAULT : 0);
		if (error == 0) {
			CHECK_EQ(value, fakepager_byte(c->fp, i, off));
			__atomic_fetch_add(&c->good, 1, __ATOMIC_RELAXED);
		} else {
			CHECK_EQ(curthread->fault.signo, VT_SIGBUS);
			CHECK_EQ(curthread->fault.addr, c->va + i * P + off);
			__atomic_fetch_add(&c->refused, 1, __ATOMIC_RELAXED);
		}
	}
}

/* Takes pages away, changes the map, and orders short answers and passing failures. */
static void
chaos_disturb(struct vt_job *job)
{
	struct chaos *c = job->arg;

	while (!c->stop) {
		vm_pindex_t i = ktest_random() % CHAOS_PAGES;
		unsigned again;

		vt_evict(c->fp->object, i, MIN(i + 1 + ktest_random() % 12, (uint64_t)CHAOS_PAGES));
		c->fp->keep = (int)(ktest_random() % 20);
		again = ktest_random() % 3;
		if (!CHAOS_BAD(i) && c->agains[i] + again <= CHAOS_AGAINS) {
			fakepager_say(c->fp, i, VM_PAGER_AGAIN, (int)again);
			c->agains[i] += again;
		}
		vm_map_lock(&job->vm->map);		/* the timestamp moves */
		vm_map_unlock(&job->vm->map);
		thread_yield();
	}
}

KTEST(fakepager, everything_at_once)
{
	struct chaos *c = kmalloc(sizeof(*c), &M_TFAKE, M_WAITOK | M_ZERO);
	struct vmspace *vm = vt_begin();
	struct vt_job touchers[CHAOS_THREADS], disturber;

	c->fp = fakepager_create(CHAOS_PAGES);
	c->fp->before = c->fp->after = VM_PAGER_CLUSTER_MAX;
	c->fp->linger = true;
	for (vm_pindex_t i = 0; i < CHAOS_PAGES; i++)
		if (CHAOS_BAD(i))
			fakepager_say(c->fp, i, VM_PAGER_ERROR, FAKE_FOREVER);
	c->va = vt_map_object(c->fp->object, 0, CHAOS_PAGES, VM_PROT_READ, 0);
	disturber = (struct vt_job){ .fn = chaos_disturb, .vm = vm, .arg = c };
	vt_start(&disturber, "disturber");
	for (int i = 0; i < CHAOS_THREADS; i++) {
		touchers[i] = (struct vt_job){ .fn = chaos_touch, .vm = vm, .arg = c };
		vt_start(&touchers[i], "toucher");
	}
	for (int i = 0; i < CHAOS_THREADS; i++)
		vt_finish(&touchers[i]);
	c->stop = true;
	vt_finish(&disturber);
	CHECK(c->good > CHAOS_TOUCHES);
	CHECK(c->refused > 0);
	CHECK(fakepager_calls(c->fp) > CHAOS_PAGES);
	CHECK_EQ(c->fp->object->paging_in_progress, 0);
	vt_end();
	fakepager_drop(c->fp);
	kfree(c, &M_TFAKE);
}
