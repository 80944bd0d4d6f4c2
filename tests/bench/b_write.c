/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenarios: pages that change, and their way to a disk.
 *
 * Everything is written to files that are new, or to an overlay: the benchmarks' volume stays as it
 * is (boot/qemu --disk FILE,snapshot).  A request costs a sleep and a wakeup, as everywhere here.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"
#include "tests/bench/bench.h"
#include "vm/swap_pager.h"
#include "vm/vm_laundry.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_swapout.h"

#define RW		(VM_PROT_READ | VM_PROT_WRITE)
#define DIRTY_PAGES	512
#define SYNC_PAGES	8192		/* resident while some are synced */
#define FEW_PAGES	512
#define LAUNDER_PAGES	512
#define SWAP_PAGES	1024
#define FILE_BYTES	(64 * MiB)
#define CALL_BYTES	(64 * KiB)	/* of one write() */
#define CHAIN_PAGES	64		/* that lie at the bottom of a chain */
#define CHAIN_MOST	100		/* objects above them */

/* Is the volume one that may be written? */
static bool
may_write(void)
{
	if (rootfs != NULL && (rootfs->mnt_flag & MNT_RDONLY) == 0)
		return (true);
	bench_skip(true, "the volume is read-only (boot/qemu --disk FILE,snapshot)");
	return (false);
}

static void
sync_range(vm_offset_t va, vm_size_t npages)
{
	int error = vm_msync(bench_vm, va, npages * PAGE_SIZE, MS_SYNC);

	KASSERT(error == 0, "msync: %s", errno_name(error));
}

/* ---- stores ---- */

void
bench_dirty(void)
{
	struct bench_file f;
	vm_offset_t va;

	if (!may_write() || !file_open(&f, "/b/contig"))
		return;
	va = file_map(&f, 0, DIRTY_PAGES, RW, MAP_SHARED);
	(void)time_reads(va, DIRTY_PAGES, 1);
	bench_report("dirty.page", time_writes(va, DIRTY_PAGES, 1) / DIRTY_PAGES);
	bench_report("dirty.again", time_writes(va, DIRTY_PAGES, 1) / DIRTY_PAGES);
	sync_range(va, DIRTY_PAGES);
	unmap(va, DIRTY_PAGES);
	va = file_map(&f, 0, DIRTY_PAGES, RW, MAP_SHARED);
	bench_report("dirty.unmapped", time_writes(va, DIRTY_PAGES, 1) / DIRTY_PAGES);
	sync_range(va, DIRTY_PAGES);
	unmap(va, DIRTY_PAGES);
	file_close(&f);
}

/* ---- msync ---- */

/* Instructions of syncing the whole mapping when its first `dirty` pages are dirty. */
static uint64_t
time_sync(vm_offset_t va, vm_size_t npages, vm_size_t dirty)
{
	struct meter m;

	(void)time_writes(va, dirty, 1);
	meter_start(&m);
	sync_range(va, npages);
	return (meter_stop(&m));
}

/*
 * T(N) = a + bN: what does not depend on N is the inode and the flush, so slopes are compared.  The
 * number of resident pages must not matter at all.
 */
void
bench_msync(void)
{
	static const vm_size_t counts[] = { 0, 16, 256, 4096 };
	uint64_t insn[nitems(counts)], few, low, high;
	struct bench_file f;
	vm_offset_t va;
	char name[32];

	if (!may_write() || !file_open(&f, "/b/contig"))
		return;
	va = file_map(&f, 0, FEW_PAGES, RW, MAP_SHARED);
	(void)time_reads(va, FEW_PAGES, 1);
	(void)time_sync(va, FEW_PAGES, 256);	/* pbufs, slabs, metadata */
	few = time_sync(va, FEW_PAGES, 256);
	unmap(va, FEW_PAGES);
	va = file_map(&f, 0, SYNC_PAGES, RW, MAP_SHARED);
	(void)time_reads(va, SYNC_PAGES, 1);
	for (size_t i = 0; i < nitems(counts); i++) {
		insn[i] = time_sync(va, SYNC_PAGES, counts[i]);
		snprintf(name, sizeof(name), "msync.%lu", counts[i]);
		bench_report(name, insn[i]);
	}
	low = (insn[2] - insn[1]) / (counts[2] - counts[1]);
	high = (insn[3] - insn[2]) / (counts[3] - counts[2]);
	bench_report("msync.page", high);
	bench_report("msync.slopes", high * 1000 / MAX(low, 1ul));
	bench_report("msync.resident", insn[2] * 1000 / MAX(few, 1ul));
	bench_report("msync.mbps", counts[3] * PAGE_SIZE * 1000 / MAX(insn[3], 1ul));
	unmap(va, SYNC_PAGES);
	file_close(&f);
}

/* ---- laundry ---- */

void
bench_launder(void)
{
	struct vm_object *object;
	struct disk_watch w;
	struct bench_file f;
	struct meter m;
	vm_offset_t va;

	if (!may_write() || !file_open(&f, "/b/contig"))
		return;
	va = file_map(&f, 0, LAUNDER_PAGES, RW, MAP_SHARED);
	(void)time_reads(va, LAUNDER_PAGES, 1);
	(void)time_writes(va, LAUNDER_PAGES, 1);
	object = f.vp->v_object;
	vm_object_rlock(object);
	for (struct vm_page *p = vm_page_find_least(object, 0); p != NULL; p = vm_page_next(p))
		vm_page_launder(p);
	vm_object_unlock(object);
	watch_start(&w, WATCH_ROOT);
	meter_start(&m);
	vm_laundry_wakeup();
	while (*(volatile uint32_t *)&object->dirty_count > 0)
		(void)tsleep(&w, NULL, "bench", 1);
	bench_report("launder.page", meter_stop(&m) / LAUNDER_PAGES);
	watch_stop(&w);
	bench_report("launder.requests", w.data_writes);
	bench_report("launder.sectors", w.data_sectors);
	sync_range(va, LAUNDER_PAGES);
	unmap(va, LAUNDER_PAGES);
	file_close(&f);
}

/* ---- swap ---- */

static struct vm_object *
object_at(vm_offset_t va)
{
	struct vm_map_entry *e;
	struct vm_object *object;

	vm_map_rlock(&bench_vm->map);
	e = vm_map_lookup_entry(&bench_vm->map, va);
	object = e->object;
	vm_map_runlock(&bench_vm->map);
	return (object);
}

void
bench_swap(void)
{
	vm_offset_t va = anon_map(SWAP_PAGES);
	struct vm_object *object;
	struct disk_watch out, in;
	struct swap_info swap;
	uint64_t insn;
	struct meter m;

	swap_info(&swap);
	if (swap.disk == NULL) {
		bench_skip(false, "there is no swap disk (--disk SWAP, and the word swap=vdb)");
		unmap(va, SWAP_PAGES);
		return;
	}
	(void)time_writes(va, SWAP_PAGES, 1);
	object = object_at(va);
	watch_start(&out, WATCH_SWAP);
	meter_start(&m);
	(void)vm_object_swapout(object, 0, SWAP_PAGES);
	insn = meter_stop(&m);
	watch_stop(&out);
	bench_report("swap.out-page", insn / SWAP_PAGES);
	bench_report("swap.out-requests", out.data_writes);
	watch_start(&in, WATCH_SWAP);
	m.start = insn;
	insn = time_reads(va, SWAP_PAGES, 1);
	watch_stop(&in);
	bench_report("swap.in-page", insn / SWAP_PAGES);
	bench_report("swap.in-requests", in.requests);
	bench_report("swap.page", (insn + m.start) / SWAP_PAGES);
	unmap(va, SWAP_PAGES);
}

/* ---- 64 MiB ---- */

/* A new file of no bytes. */
static struct vnode *
new_file(const char *path)
{
	const struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp;
	int error = vn_create(path, &va, &vp);

	KASSERT(error == 0, "%s: %s", path, errno_name(error));
	return (vp);
}

static void
remove_file(const char *path)
{
	int error = vn_remove(path);

	if (error == 0)
		error = vfs_sync_all(true);
	KASSERT(error == 0, "removing %s: %s", path, errno_name(error));
}

static void
write_mapped(struct vnode *vp)
{
	struct bench_file f = { .vp = vp, .npages = OFF_TO_IDX(FILE_BYTES) };
	int error = vn_truncate(vp, FILE_BYTES);
	vm_offset_t va;

	KASSERT(error == 0, "truncate: %s", errno_name(error));
	va = file_map(&f, 0, f.npages, RW, MAP_SHARED);
	for (vm_size_t i = 0; i < f.npages; i++)
		touch_write(va + IDX_TO_OFF(i));
	sync_range(va, f.npages);
	unmap(va, f.npages);
}

static void
write_called(struct vnode *vp)
{
	static uint8_t bytes[CALL_BYTES];
	size_t done;
	int error = 0;

	for (off_t at = 0; at < (off_t)FILE_BYTES && error == 0; at += CALL_BYTES)
		error = vn_write(vp, bytes, CALL_BYTES, at, &done);
	if (error == 0)
		error = vn_fsync(vp);
	KASSERT(error == 0, "writing: %s", errno_name(error));
}

static void
report_64(const char *kind, const char *part, uint64_t value)
{
	char name[48];

	snprintf(name, sizeof(name), "write64.%s-%s", kind, part);
	bench_report(name, value);
}

/* A new file of 64 MiB, from the first byte until it is on disk. */
static void
time_64(const char *kind, void (*write)(struct vnode *vp))
{
	struct vnode *vp = new_file("/b/new");
	struct disk_watch w;
	struct meter m;
	uint64_t insn;

	watch_start(&w, WATCH_ROOT);
	meter_start(&m);
	write(vp);
	insn = meter_stop(&m);
	watch_stop(&w);
	report_64(kind, "page", insn / OFF_TO_IDX(FILE_BYTES));
	report_64(kind, "mbps", FILE_BYTES * 1000 / MAX(insn, 1ul));
	report_64(kind, "requests", w.data_writes);
	report_64(kind, "full", w.data_full);
	report_64(kind, "sectors", w.data_sectors);
	report_64(kind, "metadata", w.writes - w.data_writes);
	report_64(kind, "flushes", w.flushes);
	vrele(vp);
	remove_file("/b/new");
}

/*
 * The fragmented file goes first: its gaps are all over the volume, and what is measured is not how
 * the allocator fills them.
 */
void
bench_write64(void)
{
	if (!may_write())
		return;
	remove_file("/b/frag");
	time_64("map", write_mapped);
	time_64("call", write_called);
}

/* ---- shadow chains ---- */

/*
 * Copies of the address space, all kept, and a page written after each: that is one more object on
 * top each time, which nothing can collapse.
 */
static struct vmspace *copies[CHAIN_MOST];
static unsigned ncopies;

static void
chain_deepen(vm_offset_t va, unsigned depth)
{
	for (; ncopies < depth; ncopies++) {
		copies[ncopies] = vmspace_fork(bench_vm);
		KASSERT(copies[ncopies] != NULL, "no memory for copy %u", ncopies);
		touch_write(va + IDX_TO_OFF(CHAIN_PAGES + ncopies));
	}
}

static void
chain_length_is(vm_offset_t va, unsigned depth)
{
	unsigned n = 0;

	for (struct vm_object *o = object_at(va); o->backing_object != NULL; o = o->backing_object)
		n++;
	KASSERT(n == depth, "the chain has %u shadows, not %u", n, depth);
}

/* Instructions of a fault that finds its page at the bottom, `depth` objects down. */
static uint64_t
chain_cost(vm_offset_t va, unsigned depth)
{
	chain_deepen(va, depth);
	chain_length_is(va, depth);
	pmap_remove(&bench_vm->pmap, va, va + CHAIN_PAGES * PAGE_SIZE);
	return (time_reads(va, CHAIN_PAGES, 1) / CHAIN_PAGES);
}

void
bench_chain(void)
{
	vm_offset_t va = anon_map(CHAIN_PAGES + CHAIN_MOST);
	uint64_t one, all;

	(void)time_writes(va, CHAIN_PAGES, 1);
	one = chain_cost(va, 1);
	bench_report("chain.1", one);
	bench_report("chain.10", chain_cost(va, 10));
	all = chain_cost(va, CHAIN_MOST);
	bench_report("chain.100", all);
	bench_report("chain.object", (all - one) / (CHAIN_MOST - 1));
	bench_report("chain.copy", time_writes(va, CHAIN_PAGES, 1) / CHAIN_PAGES);
	while (ncopies > 0)
		vmspace_free(copies[--ncopies]);
	unmap(va, CHAIN_PAGES + CHAIN_MOST);
}
