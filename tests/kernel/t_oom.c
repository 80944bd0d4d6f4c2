/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Out of memory: who is ended, who goes on, and who is not asked twice.
 *
 * Memory is made short with a ballast; the address spaces of the test stand for processes, and the
 * test's killer for what would send them a signal.
 */
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "tests/kernel/scratch.h"
#include "tests/kernel/t_vm.h"
#include "vm/swap_pager.h"
#include "vm/vm_laundry.h"
#include "vm/vm_oom.h"
#include "vm/vm_pager.h"

static MALLOC_DEFINE(M_TOOM, "oom tests");

#define ROOM		600	/* pages that the test may have */
#define BIG		(ROOM * 3 / 4)
#define SIGKILL		9

static struct {
	struct vmspace	*big, *small;
	struct vmspace	*volatile ended;	/* the last one */
	struct vmspace	*first;
	int		 times;
} oom;

static bool
may_end(struct vmspace *vm, char *who, size_t size, size_t *held)
{
	if (vm != oom.big && vm != oom.small)
		return (false);
	snprintf(who, size, "the test's %s space", vm == oom.big ? "big" : "small");
	return (true);
}

static void
end(struct vmspace *vm)
{
	oom.ended = vm;
	if (oom.times++ == 0)
		oom.first = vm;
}

static struct vm_killer test_killer = { .may_end = may_end, .end = end };

static void
touch(struct vmspace *vm, int first, int npages)
{
	for (int i = first; i < first + npages; i++)
		CHECK_EQ(put(vm, AT(i), (uint8_t)i), 0);
}

static bool
oom_begin(void)
{
	struct swap_info swap;

	swap_info(&swap);
	if (swap.disk != NULL) {
		ktest_skip("there is swap: memory does not end so soon");
		return (false);
	}
	memset(&oom, 0, sizeof(oom));
	oom.big = vmspace_alloc();
	oom.small = vmspace_alloc();
	map_anonymous(oom.big, 0, 4 * ROOM, MAP_PRIVATE);
	map_anonymous(oom.small, 0, 4 * ROOM, MAP_PRIVATE);
	vt_ballast_take(vm_ladder.reserved + ROOM);
	touch(oom.big, 0, BIG);
	touch(oom.small, 0, ROOM / 8);
	vm_oom_register(&test_killer);
	return (true);
}

static void
oom_end(void)
{
	vm_oom_unregister(&test_killer);
	vt_ballast_drop();
	memset(&curthread->fault, 0, sizeof(curthread->fault));
	if (oom.big != NULL)
		vmspace_free(oom.big);
	vmspace_free(oom.small);
}

/* What a process would do: go as soon as it is told. */
static void
go_when_ended(struct vt_job *job)
{
	while (oom.ended == NULL && !job->arg)
		vt_pause();
	if (oom.ended == oom.big) {
		vmspace_free(oom.big);
		oom.big = NULL;
	}
}

/* The small one asks for more and more: the big one goes, and the small one gets it. */
KTEST(oom, the_largest_goes_and_who_asked_goes_on)
{
	struct vt_job job = { .fn = go_when_ended };
	struct vmspace *big;

	if (!oom_begin())
		return;
	big = oom.big;
	vt_start(&job, "big");
	for (int i = ROOM / 8; i < BIG; i++)
		if (!CHECK_EQ(put(oom.small, AT(i), (uint8_t)i), 0))
			break;
	job.arg = &job;
	vt_finish(&job);
	CHECK(oom.ended == big);
	CHECK_EQ(oom.times, 1);
	CHECK(!oom.small->doomed);
	for (int i = 0; i < BIG; i++)
		CHECK_EQ(get(oom.small, AT(i)), (uint8_t)i);
	oom_end();
}

/* The big one asks: it is told to go, and its fault fails; the small one keeps what it has. */
KTEST(oom, who_asks_goes_if_it_is_the_largest)
{
	int n = BIG;

	if (!oom_begin())
		return;
	while (n < 2 * ROOM && put(oom.big, AT(n), 1) == 0)
		n++;
	CHECK(n < 2 * ROOM);
	CHECK_EQ(curthread->fault.signo, SIGKILL);
	CHECK(oom.ended == oom.big);
	CHECK(oom.big->doomed);
	/* It gets nothing more, not even after a wait. */
	CHECK_EQ(put(oom.big, AT(n + 1), 1), EFAULT);
	CHECK_EQ(oom.times, 1);
	for (int i = 0; i < ROOM / 8; i++)
		CHECK_EQ(get(oom.small, AT(i)), (uint8_t)i);
	oom_end();
}

/* The first to be ended does not go: the next standstill takes the next, and then there is none. */
KTEST(oom, who_does_not_go_is_not_asked_twice)
{
	struct vmspace *other;
	int n = 0;

	if (!oom_begin())
		return;
	other = vmspace_alloc();		/* nobody may end this one */
	map_anonymous(other, 0, 4 * ROOM, MAP_PRIVATE);
	while (n < 2 * ROOM && put(other, AT(n), 1) == 0)
		n++;
	CHECK(n < 2 * ROOM);
	CHECK_EQ(curthread->fault.signo, SIGKILL);
	CHECK_EQ(oom.times, 2);
	CHECK(oom.big->doomed && oom.small->doomed && !other->doomed);
	vmspace_free(other);
	oom_end();
}

#define APART		40			/* pages, each with a table of its own */
#define PIECES		3000			/* entries of a map */

/* Private memory of which one page in each table's reach is touched. */
static void
touch_in_tables(struct vmspace *vm)
{
	vm_offset_t at = AT(0) + GiB;

	CHECK_EQ(vm_mmap(vm, &at, APART * 2 * MiB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0), 0);
	for (vm_offset_t off = 0; off < APART * 2 * MiB; off += 2 * MiB)
		CHECK_EQ(put(vm, at + off, 1), 0);
}

/* Memory that nobody touched, in as many entries as pages. */
static void
map_in_pieces(struct vmspace *vm)
{
	vm_offset_t at = AT(0) + 2 * GiB;

	CHECK_EQ(vm_mmap(vm, &at, PIECES * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0), 0);
	for (vm_offset_t off = PAGE_SIZE; off < PIECES * PAGE_SIZE; off += 2 * PAGE_SIZE)
		CHECK_EQ(vm_map_protect(&vm->map, at + off, at + off + PAGE_SIZE, VM_PROT_READ), KERN_SUCCESS);
}

KTEST_COUNTING(oom, tables_and_entries_count_as_pages_do)
{
	struct vmspace *vm = vmspace_alloc();
	size_t swapped, before = vm_oom_size(vm, &swapped), tables, pieces;

	touch_in_tables(vm);
	tables = vm_oom_size(vm, &swapped);
	CHECK(tables >= before + 2 * APART);
	map_in_pieces(vm);
	CHECK(vm->map.nentries >= PIECES);
	pieces = vm_oom_size(vm, &swapped);
	CHECK(pieces >= tables + PIECES * sizeof(struct vm_map_entry) / PAGE_SIZE);
	vm_map_lock(&vm->map);			/* by somebody who sleeps: an estimate will do */
	CHECK(vm_oom_size(vm, &swapped) >= tables);
	vm_map_unlock(&vm->map);
	vmspace_free(vm);
}

/* The one has more pages in memory, the other more in all. */
KTEST_COUNTING(oom, who_makes_the_kernel_hold_most_goes)
{
	struct vmspace *other;
	int n = 0;

	if (!oom_begin())
		return;
	vmspace_free(oom.big);
	oom.big = vmspace_alloc();
	map_anonymous(oom.big, 0, 4 * ROOM, MAP_PRIVATE);
	touch(oom.big, 0, ROOM / 8 + PIECES * sizeof(struct vm_map_entry) / PAGE_SIZE / 2);
	map_in_pieces(oom.small);
	other = vmspace_alloc();		/* nobody may end this one */
	map_anonymous(other, 0, 4 * ROOM, MAP_PRIVATE);
	while (oom.times < 1 && n < 2 * ROOM && put(other, AT(n), 1) == 0)
		n++;
	CHECK(oom.times >= 1);
	CHECK(oom.first == oom.small);
	vmspace_free(other);
	oom_end();
}

static void
let_go(struct vt_job *job)
{
	vmspace_free(job->arg);
}

/* Who chooses may hold a vnode: what it looks at is unmapped by its owner, and not before the look ends. */
KTEST(oom, who_looks_at_an_address_space_never_unmaps_it)
{
	struct vmspace *vm = vmspace_alloc(), *at;
	struct vt_job job = { .fn = let_go, .arg = vm };

	map_anonymous(vm, 0, 1, MAP_PRIVATE);
	CHECK_EQ(put(vm, AT(0), 1), 0);
	for (at = vmspace_next(NULL); at != NULL && at != vm; at = vmspace_next(at))
		continue;
	if (CHECK(at == vm)) {
		vt_start(&job, "owner");
		CHECK(VT_WAIT(vt_sleeps(&job, "vmlook")));
		CHECK_EQ(vm->map.nentries, 1);
		while (at != NULL)
			at = vmspace_next(at);
		vt_finish(&job);
	} else {
		vmspace_free(vm);
	}
}

#define FAULT_NEEDS	3	/* pages at most: its own, a table's, and one for reverse mappings */

/* => free pages down to about what only the kernel's own needs may take, without a fault that failed. */
static void
fill_up(void)
{
	for (int i = BIG; vm_free_count() >= vm_ladder.reserved + FAULT_NEEDS; i++)
		if (!CHECK_EQ(put(oom.big, AT(i), 1), 0))
			return;
}

/* The kernel cannot be denied: the reserve serves, and when that is used up, who holds most goes. */
KTEST(oom, kernel_takes_the_reserve_and_then_ends_the_largest)
{
	struct vt_job job = { .fn = go_when_ended };
	void **taken = NULL, **p;
	uint32_t lowest = UINT32_MAX;
	struct vmspace *big;

	if (!oom_begin())
		return;
	big = oom.big;
	vt_start(&job, "big");
	fill_up();
	for (uint32_t i = 0; oom.ended == NULL && CHECK(i < 2 * vm_ladder.reserved); i++) {
		p = kmalloc(PAGE_SIZE, &M_TOOM, M_WAITOK);
		*p = taken;
		taken = p;
		lowest = MIN(lowest, vm_free_count());
	}
	job.arg = &job;
	vt_finish(&job);
	CHECK(oom.ended == big);
	CHECK_EQ(oom.times, 1);
	CHECK(!oom.small->doomed);
	CHECK(lowest < vm_ladder.reserved);
	while ((p = taken) != NULL) {
		taken = *p;
		kfree(p, &M_TOOM);
	}
	oom_end();
}

/* With nobody to be ended, too: a system call in full memory fails or not, but it returns. */
KTEST(oom, kernel_gets_its_memory_when_nobody_can_go)
{
	struct vmspace *vm;
	vm_offset_t at = AT(0);

	if (!oom_begin())
		return;
	vm = vmspace_alloc();
	fill_up();
	oom.big->doomed = oom.small->doomed = true;
	for (int i = 0; i < 100; i++)
		CHECK_EQ(vm_mmap(vm, &at, PAGE_SIZE, RW, MAP_SHARED | MAP_ANONYMOUS, NULL, 0), 0);
	CHECK_EQ(oom.times, 0);
	vmspace_free(vm);
	oom_end();
}

/* Touch a page in one table's reach after the other, until it fails.  Each takes two pages: its own and the table. */
static vm_offset_t
touch_apart(struct vmspace *vm, vm_offset_t at)
{
	while (put(vm, at, 1) == 0)
		at += 2 * MiB;
	CHECK_EQ(curthread->fault.signo, SIGKILL);
	return (at);
}

/*
 * One page can be had, and two are needed.  The first is taken, is of no use without the other, is reclaimed and taken
 * again.  That is no progress, though a page is freed in each scan.  One of the two tries leaves exactly one page.
 */
KTEST(oom, a_page_that_goes_round_in_a_circle_is_no_progress)
{
	struct vmspace *other;
	vm_offset_t at = AT(0);
	void *p;

	if (!oom_begin())
		return;
	other = vmspace_alloc();		/* nobody may end this one */
	CHECK_EQ(vm_mmap(other, &at, GiB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0), 0);
	p = kmalloc(PAGE_SIZE, &M_TOOM, M_WAITOK);
	at = touch_apart(other, at);
	kfree(p, &M_TOOM);
	(void)touch_apart(other, at);
	CHECK(vm_free_count() <= vm_ladder.reserved + 1);
	vmspace_free(other);
	oom_end();
}

/* ---- idle files, given up by who needs memory for that ---- */

static struct {
	struct thread	*giver;
	void		**taken;	/* pages that the giver has got from the kernel, a chain */
	unsigned	 asked;		/* times that it was to write */
} writer;

/*
 * Writing takes more memory than there is: the giver asks the kernel for it until somebody was ended, and has written
 * nothing then.  Nobody else writes anything.
 */
static int
write_takes_memory(struct vnode *vp, struct vm_page **m, int count, bool sync, int *rtvals, int *result)
{
	bool giver = curthread == writer.giver;
	void **p;

	for (int i = 0; i < count; i++) {
		vm_page_downgrade(m[i]);
		rtvals[i] = VM_PAGER_AGAIN;
	}
	writer.asked += giver;
	while (giver && oom.ended == NULL) {
		p = kmalloc(PAGE_SIZE, &M_TOOM, M_WAITOK);
		*p = writer.taken;
		writer.taken = p;
	}
	*result = VM_PAGER_AGAIN;
	return (0);
}

/*
 * Whoever gives up idle files may have to wait for memory, or for a sync that waits for it: somebody can be ended
 * meanwhile.
 */
KTEST(oom, somebody_can_be_ended_while_idle_files_are_written)
{
	struct vt_job job = { .fn = go_when_ended };
	const struct vnodeops *ops;
	struct vnodeops hooked;
	struct vnode *vp;
	struct vmspace *big;
	size_t done;
	void **p;

	SCRATCH_OR_SKIP();
	memset(&writer, 0, sizeof(writer));
	vp = scratch_create("/w/idle");
	if (vp != NULL && oom_begin()) {
		syncer_freeze(true);
		VT_WAIT(!vm_laundry_writing());
		ops = vp->v_op;
		hooked = *ops;
		hooked.putpages = write_takes_memory;
		vp->v_op = &hooked;
		CHECK_EQ(vn_write(vp, "changed", 7, 0, &done), 0);
		big = oom.big;
		vt_start(&job, "big");
		fill_up();
		writer.giver = curthread;
		for (int i = ROOM / 8; i < BIG && oom.ended == NULL; i++)
			CHECK_EQ(put(oom.small, AT(i), (uint8_t)i), 0);
		job.arg = &job;
		vt_finish(&job);
		CHECK(writer.asked > 0);
		CHECK(oom.ended == big);
		vp->v_op = ops;
		syncer_freeze(false);
		oom_end();
		while ((p = writer.taken) != NULL) {
			writer.taken = *p;
			kfree(p, &M_TOOM);
		}
	}
	if (vp != NULL)
		vrele(vp);
	scratch_leave();
}

#define FILE_LEN	(64 * PAGE_SIZE)

/*
 * Memory is full of what nobody can take: files are read and written in what pages of theirs go round, or are not,
 * but nobody waits for ever, and nothing stays locked.
 */
KTEST(oom, files_give_up_and_are_whole_afterwards)
{
	size_t done_read = 0, done_written = 0, done = 0;
	int error_read, error_write;
	struct vnode *vp;
	uint8_t *buf;

	SCRATCH_OR_SKIP();
	vp = scratch_create("/w/full");
	buf = kmalloc(FILE_LEN, &M_TOOM, M_WAITOK);
	memset(buf, 0x3c, FILE_LEN);
	if (vp != NULL && CHECK_EQ(vn_write(vp, buf, FILE_LEN, 0, &done), 0) && CHECK_EQ(vn_fsync(vp), 0) && oom_begin()) {
		vt_evict_file(vp);
		fill_up();
		oom.big->doomed = oom.small->doomed = true;
		error_read = vn_read(vp, buf, FILE_LEN, 0, &done_read);
		error_write = vn_write(vp, buf, FILE_LEN, FILE_LEN, &done_written);
		CHECK_EQ(error_read, done_read == FILE_LEN ? 0 : ENOMEM);
		CHECK_EQ(error_write, done_written == FILE_LEN ? 0 : ENOMEM);
		if (CHECK(VOP_TRYLOCK(vp, LK_EXCLUSIVE)))
			VOP_UNLOCK(vp);
		oom_end();
		CHECK_EQ(vn_read(vp, buf, FILE_LEN, 0, &done), 0);
		CHECK_EQ(done, FILE_LEN);
		for (size_t i = 0; i < FILE_LEN; i++)
			if (!CHECK_EQ(buf[i], 0x3c))
				break;
		CHECK_EQ(vn_write(vp, buf, FILE_LEN, FILE_LEN, &done), 0);
	}
	if (vp != NULL)
		vrele(vp);
	kfree(buf, &M_TOOM);
	scratch_leave();
}
