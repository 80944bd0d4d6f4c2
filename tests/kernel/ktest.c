/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The self-test runner: picks the tests that match, shuffles them by the seed, runs each, audits
 * the laws after it, prints TAP.
 *
 * The laws (they hold whenever the system is at rest):
 *	every page is accounted for, no page is busy, none both free and mapped: vm_check()
 *	no buffer is in use, no disk request in flight, no thread was left behind
 *	as many address spaces and anonymous objects as before
 *	no kernel memory in use that was not in use before, by type
 *	no undefined behaviour, in builds that watch for it (what happened before the first test is charged to it)
 * A test that breaks one is failed with the law's name.  Caches may grow: the runner empties them
 * before it counts.
 */
#include "tests/kernel/ktest.h"

#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/main.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "kernel/ubsan.h"
#include "vm/pmap.h"
#include "vm/vm_check.h"
#include "vm/vm_kern.h"
#include "vm/vm_map.h"
#include "vm/vm_laundry.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_path.h"
#include "vm/vm_torture.h"

#define TESTS_MAX	2048

extern const struct ktest ktest_start[], ktest_end[];

static struct {
	struct spinlock		 lock;
	const struct ktest	*running;
	unsigned		 failures;	/* lock: of the running test */
	bool			 skipped, leaves_dirt;
	char			 reason[128];
	uint64_t		 seed, stream;
	/* findings of UBSan that have been charged to a test */
	uint64_t		 undefined;
	const struct ktest	*order[TESTS_MAX];
} kt = { .lock = SPINLOCK_INITIALIZER("ktest", RANK_NONE) };

/* What must be the same before and after a test. */
struct laws {
	uint64_t	threads, vmspaces, objects, cached, kmem, kva, pv;
};

static void
count_thread(struct thread *td, void *arg)
{
	if (td->state != TD_DEAD)
		++*(uint64_t *)arg;
}

static void
count_vmspace(struct vmspace *vm, void *arg)
{
	++*(uint64_t *)arg;
}

/* Let go of everything that is only kept in case it is needed again. */
static void
caches_empty(void)
{
	vm_object_cache_shrink(SIZE_MAX, true);
	(void)vfs_sync_all(true);
	while (vnode_shrink(1000) > 0)
		;
	bio_shrink(SIZE_MAX);
}

static void
laws_take(struct laws *l)
{
	*l = (struct laws){ 0 };
	syncer_freeze(true);		/* it refers to the vnode that its round has come to, which would not go */
	while (vm_laundry_writing())	/* so does the laundry, which a test may have woken */
		tsleep(l, NULL, "ktlaws", 1);
	caches_empty();
	thread_foreach(count_thread, &l->threads);
	vmspace_foreach(count_vmspace, &l->vmspaces);
	l->objects = vm_object_count();
	l->cached = vm_object_cached_count();
	l->kmem = kmalloc_inuse();
	l->kva = kva_inuse();
	l->pv = pmap_pv_count();
	syncer_freeze(false);
}

static void
law(const char *what, uint64_t before, uint64_t after)
{
	if (before != after)
		ktest_fail(__FILE__, __LINE__, "law broken: %s: %lu before the test, %lu after", what, before, after);
}

static void
laws_idle(void)
{
	struct bio_stats st;

	bio_get_stats(&st);
	law("busy metadata buffers", 0, st.busy);
	for (int p = 0; p < PBUF_POOLS; p++)
		law("pbufs in use", 0, pbuf_inuse(p));
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk))
		law("disk requests in flight", 0, dk->dk_stats.inflight);
	for (uint32_t i = 0; i < vm_page_count; i++)
		if (vm_page_array[i].busy != VPB_FREED && vm_page_busied(&vm_page_array[i]))
			ktest_fail(__FILE__, __LINE__, "law broken: page %u was left busy (%x)", vm_page_array[i].pfn,
			    vm_page_array[i].busy);
}

static void
laws_compare(const struct laws *before)
{
	struct laws after;

	laws_take(&after);
	laws_idle();
	law("threads", before->threads, after.threads);
	law("address spaces", before->vmspaces, after.vmspaces);
	law("objects", before->objects - before->cached, after.objects - after.cached);
	law("reverse mappings", before->pv, after.pv);
	law("kernel address space", before->kva, after.kva);
	law("undefined behaviour", kt.undefined, ubsan_count());
	kt.undefined = ubsan_count();
	if (!kt.leaves_dirt) {
		law("kernel memory objects", before->kmem, after.kmem);
		if (before->kmem != after.kmem)
			kmalloc_diff();
	}
	vm_check();
	kmalloc_check();
}

/* ---- what tests call ---- */

void
ktest_fail(const char *file, int line, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	unsigned n;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	spin_lock(&kt.lock);
	n = ++kt.failures;
	spin_unlock(&kt.lock);
	if (n <= 20)
		printf("# %s:%d: %s.%s: %s\n", file, line, kt.running->suite, kt.running->name, text);
}

void
ktest_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(kt.reason, sizeof(kt.reason), fmt, ap);
	va_end(ap);
	kt.skipped = true;
}

void
ktest_leaves_dirt(void)
{
	kt.leaves_dirt = true;
}

bool
ktest_failed(void)
{
	return (kt.failures > 0);
}

uint64_t
ktest_seed(void)
{
	return (kt.seed);
}

uint64_t
ktest_mix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ul;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBul;
	return (x ^ (x >> 31));
}

/* splitmix64 */
uint64_t
ktest_random(void)
{
	uint64_t x;

	spin_lock(&kt.lock);
	x = kt.stream += 0x9E3779B97F4A7C15ul;
	spin_unlock(&kt.lock);
	return (ktest_mix64(x));
}

/* ---- the run ---- */

static unsigned
select_tests(const char *glob)
{
	unsigned n = 0;

	for (const struct ktest *t = ktest_start; t < ktest_end; t++) {
		char full[96];

		snprintf(full, sizeof(full), "%s.%s", t->suite, t->name);
		if (!glob_match(glob, full))
			continue;
		if (n == TESTS_MAX)
			panic("more than %d self-tests: some would never run", TESTS_MAX);
		kt.order[n++] = t;
	}
	return (n);
}

static void
shuffle(unsigned n)
{
	kt.stream = kt.seed;
	for (unsigned i = n; i > 1; i--) {
		unsigned j = ktest_random() % i;
		const struct ktest *t = kt.order[i - 1];

		kt.order[i - 1] = kt.order[j];
		kt.order[j] = t;
	}
}

static uint64_t
name_hash(const char *s)
{
	uint64_t h = 14695981039346656037ul;

	while (*s != '\0')
		h = (h ^ (uint8_t)*s++) * 1099511628211ul;
	return (h);
}

static void
run_one(const struct ktest *t)
{
	struct laws before;

	kt.running = t;
	kt.failures = 0;
	kt.skipped = kt.leaves_dirt = false;
	if ((t->flags & KTEST_CALM) && vm_torture) {
		ktest_skip("the torture mode changes what it counts");
		return;
	}
	/* A test's random numbers depend on the seed and its name, not on what ran before it. */
	kt.stream = kt.seed ^ name_hash(t->name);
	laws_take(&before);
	kmalloc_snapshot();
	if (t->flags & KTEST_ONE_CPU)
		thread_pin(kt.stream % ncpus);
	t->fn();
	thread_unpin();
	laws_compare(&before);
}

/*
 * The word `paths`: how often each marked path of the VM was passed.  One run cannot reach them all, so
 * the judgement is left to whoever sees several runs.
 */
static void
paths_print(void)
{
	for (const struct vm_path *p = vm_path_start; p < vm_path_end; p++)
		printf("# path %s %s:%lu %lu\n", p->name, p->file, p->line, p->count);
}

int
ktest_run(const char *glob, uint64_t seed)
{
	unsigned n, passed = 0, failed = 0, skipped = 0;
	kt.seed = seed;
	printf("TAP version 13\n# seed %lu\n", seed);
	n = select_tests(glob);
	if (n == 0) {
		printf("# no test matches %s\n1..0\n0 passed, 0 failed\n", glob);
		return (2);
	}
	shuffle(n);
	printf("1..%u\n", n);
	for (unsigned i = 0; i < n; i++) {
		const struct ktest *t = kt.order[i];

		run_one(t);
		if (kt.failures > 0) {
			printf("# reproduce: make test TEST='%s.%s' SEED=%lu\nnot ok %u - %s.%s\n", t->suite, t->name, seed,
			    i + 1, t->suite, t->name);
			failed++;
		} else if (kt.skipped) {
			printf("ok %u - %s.%s # SKIP %s\n", i + 1, t->suite, t->name, kt.reason);
			skipped++;
		} else {
			printf("ok %u - %s.%s\n", i + 1, t->suite, t->name);
			passed++;
		}
	}
	if (cmdline_has("paths"))
		paths_print();
	printf("%u passed, %u failed", passed, failed);
	if (skipped > 0)
		printf(", %u skipped", skipped);
	printf("\n");
	return (failed > 0);
}

/* `selftest`, `selftest=GLOB`, `seed=N` */
int
ktest_main(void)
{
	const char *glob = cmdline_get("selftest");

	return (ktest_run(glob == NULL || *glob == '\0' ? "*" : glob, cmdline_u64("seed", rdtsc() & 0xffffffff)));
}
