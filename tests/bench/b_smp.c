/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario: do faults scale?  1, 2 and 4 threads, each pinned to a CPU of its own and in an address space of
 * its own, take faults for a while, and the rates are compared.
 *
 *	separate	each reads resident pages of its own file
 *	same		all read the resident pages of one file
 *	anonymous	each writes fresh anonymous pages, and gives them back
 *	cow		each forks its space and writes the pages, so that each is copied; and lets the child go
 *
 * This is the one scenario that wants time, and so no -icount, several CPUs, and a host that has them.  A
 * host's clock is nothing to compare between runs; the ratios within one run are.  Each rate is the best of
 * ROUNDS, for the host may have had something else to do.
 *
 * Below each kind stand the locks that somebody had to wait for in its rounds with 4 threads.
 */
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lockstat.h"
#include "kernel/thread.h"
#include "tests/bench/bench.h"
#include "vm/pmap.h"
#include "vm/vm_mmap.h"

#define WORKERS		4u
#define PAGES		256ul	/* mapped by each */
#define STRIDE		16	/* a read maps the resident neighbours of an aligned block of so many pages */
#define ROUNDS		3
#define ROUND_TICKS	(HZ / 2)
#define LOCKS_SHOWN	6u

struct worker {
	unsigned	cpu;
	const struct kind *kind;
	struct vmspace	*vm;
	vm_offset_t	 va;
	uint64_t	 faults;
	struct thread	*td;
};

struct kind {
	const char	*name, *title;
	bool		 file, own;	/* maps a file; one of its own */
	uint64_t	(*work)(struct worker *w);	/* one turn; returns the faults it took */
};

static struct vnode *files[WORKERS];
static volatile bool begin, end;
static struct lockstat before[LOCKSTAT_MAX], after[LOCKSTAT_MAX];	/* the last round */
static unsigned nbefore, nafter;

/* ---- the work ---- */

static uint64_t
read_mapped(struct worker *w)
{
	for (vm_offset_t i = 0; i < PAGES; i += STRIDE)
		touch_read(w->va + i * PAGE_SIZE);
	pmap_remove(&w->vm->pmap, w->va, w->va + PAGES * PAGE_SIZE);
	return (PAGES / STRIDE);
}

static uint64_t
write_all(struct worker *w)
{
	for (vm_offset_t i = 0; i < PAGES; i++)
		touch_write(w->va + i * PAGE_SIZE);
	return (PAGES);
}

static void
map_anonymous(struct worker *w)
{
	int error = vm_mmap(w->vm, &w->va, PAGES * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);

	KASSERT(error == 0, "mapping anonymous pages: %s", errno_name(error));
}

static uint64_t
write_anonymous(struct worker *w)
{
	map_anonymous(w);		/* in place of the former, whose pages go */
	return (write_all(w));
}

static uint64_t
write_after_fork(struct worker *w)
{
	struct vmspace *child = vmspace_fork(w->vm);
	uint64_t faults;

	KASSERT(child != NULL, "no memory for an address space");
	faults = write_all(w);
	vmspace_free(child);
	return (faults);
}

static const struct kind kinds[] = {
	{ "separate", "separate files, read", true, true, read_mapped },
	{ "same", "the same file, read", true, false, read_mapped },
	{ "anonymous", "anonymous memory, written", false, true, write_anonymous },
	{ "cow", "written after a fork: copied", false, true, write_after_fork },
};

/* ---- measuring ---- */

static void
worker_thread(void *arg)
{
	struct worker *w = arg;

	thread_pin(w->cpu);
	(void)thread_set_vmspace(w->vm);
	(void)w->kind->work(w);		/* page tables, resident pages */
	while (!begin)
		(void)tsleep((const void *)&begin, NULL, "bbegin", 1);
	while (!end)
		w->faults += w->kind->work(w);
	(void)thread_set_vmspace(NULL);
}

static void
worker_start(struct worker *w, const struct kind *kind, unsigned cpu)
{
	int error = 0;

	*w = (struct worker){ .cpu = cpu, .kind = kind, .vm = vmspace_alloc(), .va = VM_USER_MIN + PAGES * PAGE_SIZE };
	KASSERT(w->vm != NULL, "no memory for an address space");
	if (kind->file)
		error = vm_mmap(w->vm, &w->va, PAGES * PAGE_SIZE, VM_PROT_READ, MAP_SHARED | MAP_FIXED,
		    files[kind->own ? cpu : 0], 0);
	else
		map_anonymous(w);
	KASSERT(error == 0, "mapping a file: %s", errno_name(error));
	w->td = thread_create("b-smp", PRI_USER, worker_thread, w);
	KASSERT(w->td != NULL, "no memory for a thread");
}

/* Faults a second of n threads together. */
static uint64_t
rate(const struct kind *kind, unsigned n)
{
	struct worker w[WORKERS];
	uint64_t faults = 0, start, elapsed;

	begin = end = false;
	for (unsigned i = 0; i < n; i++)
		worker_start(&w[i], kind, i);
	(void)tsleep(&w, NULL, "bready", HZ / 10);
	nbefore = lockstat_take(before);
	start = rdtsc();
	begin = true;
	wakeup((const void *)&begin);
	(void)tsleep(&w, NULL, "bround", ROUND_TICKS);
	end = true;
	elapsed = rdtsc() - start;
	nafter = lockstat_take(after);
	for (unsigned i = 0; i < n; i++) {
		thread_join(w[i].td);
		faults += w[i].faults;
		vmspace_free(w[i].vm);
	}
	return (faults * clock_tsc_hz() / MAX(elapsed, 1ul));
}

/* ---- telling ---- */

/* What was counted in the last round, for the locks that somebody waited for. */
static void
print_locks(void)
{
	unsigned shown = 0;

	for (unsigned i = 0; i < nafter; i++) {
		unsigned j = 0;

		while (j < nbefore && before[j].name != after[i].name)
			j++;
		if (j == nbefore)
			continue;
		after[i].acquired -= before[j].acquired;
		after[i].contended -= before[j].contended;
		after[i].spins -= before[j].spins;
	}
	lockstat_sort(after, nafter);
	while (shown < MIN(nafter, LOCKS_SHOWN) && after[shown].contended > 0)
		shown++;
	lockstat_print(after, shown);
}

static void
measure(const struct kind *kind)
{
	uint64_t best[WORKERS + 1] = { 0 }, r;

	for (int round = 0; round < ROUNDS; round++)
		for (unsigned n = 1; n <= MIN(ncpus, WORKERS); n *= 2) {
			r = rate(kind, n);
			best[n] = MAX(best[n], r);
		}
	printf("\n%-32s 1 CPU %7lu faults/s", kind->title, best[1]);
	for (unsigned n = 2; n <= MIN(ncpus, WORKERS); n *= 2) {
		r = best[n] * 1000 / MAX(best[1], 1ul);
		printf("   %u CPUs %lu.%03lu times as many", n, r / 1000, r % 1000);
	}
	printf("\n");
	for (unsigned n = 1; n <= MIN(ncpus, WORKERS); n *= 2)
		printf("bench: smp.%s-%u %lu faults/s\n", kind->name, n, best[n]);
	if (ncpus >= WORKERS)
		print_locks();
}

static bool
make_files(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	char path[] = "/smp0";

	for (unsigned i = 0; i < WORKERS; i++) {
		path[4] = (char)('0' + i);
		if (rootfs == NULL || vn_create(path, &va, &files[i]) != 0 ||
		    vn_truncate(files[i], (off_t)(PAGES * PAGE_SIZE)) != 0) {
			bench_skip(true, "no file %s could be made", path);
			return (false);
		}
	}
	return (true);
}

static void
remove_files(void)
{
	char path[] = "/smp0";

	for (unsigned i = 0; i < WORKERS; i++) {
		path[4] = (char)('0' + i);
		vrele(files[i]);
		(void)vn_remove(path);
	}
}

void
bench_smp(void)
{
	if (ncpus < 2) {
		bench_note("needs several CPUs: boot/qemu --smp 4, without --icount");
		return;
	}
	/* Its soaker would have a CPU for itself. */
	meter_fini();
	if (make_files()) {
		for (size_t i = 0; i < nitems(kinds); i++)
			measure(&kinds[i]);
		remove_files();
	}
	meter_init();
}
