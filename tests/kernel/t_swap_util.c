/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The swap tests' tools.
 *
 * The gate is a disk in front of another: it counts, fails or keeps requests as the test says, and
 * hands the others on.
 *
 *	swap pager --> gate --(held? failed?)--> scratch disk
 */
#include "tests/kernel/t_swap.h"

#include "drivers/disk.h"
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/errno.h"
#include "kernel/malloc.h"
#include "kernel/thread.h"
#include "tests/kernel/vmtest.h"
#include "vm/swap_map.h"
#include "vm/swap_pager.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_swapout.h"

static MALLOC_DEFINE(M_TSWAP, "swap tests");

#define SCRATCH_MARK	"FAULTLINE SCRATCH"

static bool was_on;		/* swap was on before the test */
static struct vnode *was_file;	/* to a file: this one, referenced */

/* ---- disks ---- */

static bool
is_scratch(struct disk *dk)
{
	char *sector = kmalloc(PAGE_SIZE, &M_TSWAP, M_WAITOK);
	bool yes = dk->dk_nsectors >= SWAP_DISK_MIN / DEV_BSIZE && !dk->dk_readonly && dk->dk_vnode == NULL &&
	    disk_rw(dk, 0, sector, PAGE_SIZE, B_READ) == 0 &&
	    strncmp(sector, SCRATCH_MARK, strlen(SCRATCH_MARK)) == 0;

	kfree(sector, &M_TSWAP);
	return (yes);
}

struct disk *
scratch_disk(void)
{
	struct disk *dk;

	if (swap_area_get() != NULL && swap_area_get()->vp == NULL)
		return (swap_area_get()->disk);
	for (dk = disk_next(NULL); dk != NULL; dk = disk_next(dk))
		if (is_scratch(dk))
			return (dk);
	return (NULL);
}

bool
scratch_begin(void)
{
	struct disk *dk = scratch_disk();

	was_on = swap_area_get() != NULL;
	if (was_on)
		return (true);
	if (dk == NULL) {
		ktest_skip("no swap disk, and none that begins with " SCRATCH_MARK);
		return (false);
	}
	return (CHECK_EQ(swap_on(dk), 0));
}

void
scratch_end(void)
{
	if (!was_on)
		CHECK_EQ(swap_off(), 0);
}

static struct spinlock gate_lock = SPINLOCK_INITIALIZER("gate", RANK_DISK);

/* (gate_lock) unless constant */
static struct {
	TAILQ_HEAD(, buf) held;
	struct disk	*behind;	/* constant while the gate is open */
	bool		 hold;
	int		 nheld, fail_reads, fail_writes;
	uint32_t	 fail_page;
} gate;

/* Does this request fail?  => gate_lock held. */
static bool
shall_fail(const struct buf *bp)
{
	uint64_t first = (uint64_t)bp->b_blkno * DEV_BSIZE / PAGE_SIZE, end = first + bp->b_bcount / PAGE_SIZE;
	int *left = (bp->b_flags & B_READ) ? &gate.fail_reads : &gate.fail_writes;

	if (*left == 0 || ((bp->b_flags & B_READ) && gate.fail_page != 0 &&
	    (gate.fail_page < first || gate.fail_page >= end)))
		return (false);
	--*left;
	return (true);
}

static void
gate_pass(struct disk *dk, struct buf *bp)
{
	/* From here on it is the other disk's request. */
	__atomic_fetch_sub(&dk->dk_stats.inflight, 1, __ATOMIC_RELAXED);
	disk_strategy(gate.behind, bp);
}

static void
gate_strategy(struct disk *dk, struct buf *bp)
{
	bool fail, hold;

	spin_lock(&gate_lock);
	fail = shall_fail(bp);
	hold = !fail && gate.hold;
	if (hold) {
		TAILQ_INSERT_TAIL(&gate.held, bp, b_link);
		gate.nheld++;
	}
	spin_unlock(&gate_lock);
	if (fail) {
		bp->b_error = EIO;
		disk_done(dk, bp);
	} else if (!hold) {
		gate_pass(dk, bp);
	}
}

static const struct disk_ops gate_ops = { .strategy = gate_strategy };
static struct disk the_gate = { .dk_name = "gate", .dk_ops = &gate_ops, .dk_maxsize = MAXPHYS };

struct disk *
gate_disk(void)
{
	return (&the_gate);
}

bool
swap_away(void)
{
	was_on = swap_area_get() != NULL;
	was_file = swap_file();
	return (!was_on || CHECK_EQ(swap_off(), 0));
}

void
swap_again(struct disk *dk)
{
	if (was_file != NULL) {
		CHECK_EQ(swap_on_vnode(was_file), 0);
		vrele(was_file);
	} else if (was_on) {
		CHECK_EQ(swap_on(dk), 0);
	}
}

bool
gate_begin(uint32_t pages)
{
	gate.behind = scratch_disk();
	if (gate.behind == NULL) {
		ktest_skip("no swap disk, and none that begins with " SCRATCH_MARK);
		return (false);
	}
	if (!swap_away())
		return (false);
	TAILQ_INIT(&gate.held);
	gate.hold = false;
	gate.nheld = gate.fail_reads = gate.fail_writes = 0;
	the_gate.dk_sectorsize = gate.behind->dk_sectorsize;
	the_gate.dk_nsectors = pages != 0 ? pages * (PAGE_SIZE / DEV_BSIZE) : gate.behind->dk_nsectors;
	the_gate.dk_readonly = false;
	return (CHECK_EQ(swap_on(&the_gate), 0));
}

void
gate_end(void)
{
	swap_gate_hold(false);
	while (swap_gate_release())
		;
	gate.fail_reads = gate.fail_writes = 0;
	CHECK_EQ(swap_off(), 0);
	swap_again(gate.behind);
}

void
gate_fail_reads(int n, uint32_t page)
{
	spin_lock(&gate_lock);
	gate.fail_reads = n;
	gate.fail_page = page;
	spin_unlock(&gate_lock);
}

void
gate_fail_writes(int n)
{
	spin_lock(&gate_lock);
	gate.fail_writes = n;
	spin_unlock(&gate_lock);
}

void
swap_gate_hold(bool on)
{
	spin_lock(&gate_lock);
	gate.hold = on;
	spin_unlock(&gate_lock);
}

bool
swap_gate_release(void)
{
	struct buf *bp;

	spin_lock(&gate_lock);
	bp = TAILQ_FIRST(&gate.held);
	if (bp != NULL) {
		TAILQ_REMOVE(&gate.held, bp, b_link);
		gate.nheld--;
	}
	spin_unlock(&gate_lock);
	if (bp != NULL)
		gate_pass(&the_gate, bp);
	return (bp != NULL);
}

bool
gate_wait_for_one(void)
{
	return (VT_WAIT(gate.nheld > 0));
}

/* ---- memory ---- */

static vm_offset_t
word_address(const struct space *s, uint32_t page)
{
	return (s->base + page * PAGE_SIZE + page * 72 % (PAGE_SIZE - 8) / 8 * 8);
}

bool
space_make(struct space *s, uint32_t npages)
{
	*s = (struct space){ .vm = vmspace_alloc(), .base = 0x10000000, .npages = npages };
	if (s->vm == NULL)
		return (false);
	return (vm_mmap(s->vm, &s->base, npages * PAGE_SIZE, VM_PROT_READ | VM_PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0) == 0);
}

bool
space_fork(struct space *parent, struct space *child)
{
	*child = *parent;
	child->vm = vmspace_fork(parent->vm);
	return (child->vm != NULL);
}

void
space_free(struct space *s)
{
	if (s->vm != NULL)
		vmspace_free(s->vm);
	s->vm = NULL;
}

int
space_write(struct space *s, uint32_t page, uint64_t value)
{
	struct vmspace *before = thread_set_vmspace(s->vm);
	int error = copyout(&value, word_address(s, page), sizeof(value));

	thread_set_vmspace(before);
	return (error);
}

int
space_read(struct space *s, uint32_t page, uint64_t *value)
{
	struct vmspace *before = thread_set_vmspace(s->vm);
	int error = copyin(word_address(s, page), value, sizeof(*value));

	thread_set_vmspace(before);
	return (error);
}

bool
space_holds(struct space *s, uint32_t page, uint64_t value)
{
	uint64_t got = ~value;
	int error = space_read(s, page, &got);

	if (error == 0 && got == value)
		return (true);
	ktest_fail(__FILE__, __LINE__, "page %u holds 0x%lx, expected 0x%lx (%s, signal %d)", page, got, value,
	    error != 0 ? errno_name(error) : "readable", error != 0 ? curthread->fault.signo : 0);
	return (false);
}

struct vm_object *
space_object(struct space *s)
{
	struct vm_object *object;
	struct vm_map_entry *e;

	vm_map_lock(&s->vm->map);
	e = vm_map_lookup_entry(&s->vm->map, s->base);
	object = e != NULL ? e->object : NULL;
	if (object != NULL)
		vm_object_reference(object);
	vm_map_unlock(&s->vm->map);
	return (object);
}

size_t
space_swapout(struct space *s)
{
	struct vm_object *object = space_object(s), *next;
	size_t written = 0;

	while (object != NULL) {
		written += vm_object_swapout(object, 0, object->size);
		vm_object_lock(object);
		next = object->backing_object;
		if (next != NULL)
			vm_object_reference(next);
		vm_object_unlock(object);
		vm_object_deallocate(object);
		object = next;
	}
	return (written);
}

uint32_t
swap_inuse(void)
{
	struct swap_info info;

	swap_info(&info);
	return (info.inuse);
}
