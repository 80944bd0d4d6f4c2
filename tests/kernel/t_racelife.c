/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may meet whom at the end of a file's object, or of its name: as t_races.c.
 */
#include "tests/kernel/racefile.h"
#include "vm/vm_laundry.h"

/* The cached object is written out in order to go; meanwhile the file is mapped again. */
KTEST(races, last_unmap_against_a_new_map)
{
	vm_offset_t addr = BASE;
	struct party a;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	race_dirty_pages(3, 1);
	CHECK_EQ(vm_munmap(race.vm, BASE, RACE_PAGES * PAGE_SIZE), 0);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, SHRINK_CACHE, 0, 0);
	CHECK(stall_wait(1));
	CHECK(!a.done);
	stall_hold(0, 0, 0);
	/* The vnode is locked by whoever writes; so let the write go while we are on our way. */
	CHECK(stall_release(0));
	CHECK_EQ(vm_mmap(race.vm, &addr, RACE_PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, race.vp, 0), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE), race_pattern(RACE_NEW, 3 * PAGE_SIZE));
	party_join(&a);
	CHECK(race.vp->v_object == object_at(race.vm, BASE));
	CHECK_EQ(put(race.vm, BASE + 3 * PAGE_SIZE, 0x99), 0);
	CHECK_EQ(race_from_disk(3 * PAGE_SIZE, PAGE_SIZE)[0], 0x99);
	race_end();
}

/* Nothing keeps a file without a name in memory but its users: once they are done, its object is gone. */
static void
nameless_race_begin(void)
{
	CHECK_EQ(vn_remove(RACE_PATH), 0);
	CHECK(race.vp->v_object != NULL);
}

static void
nameless_race_end(void)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct vnode *vp = NULL;

	CHECK(race.vp->v_object == NULL);
	/* race_end() removes what is called so. */
	CHECK_EQ(vn_create(RACE_PATH, &va, &vp), 0);
	vrele(vp);
	race_end();
}

/*
 * A reader has the vnode locked when the file is unmapped, so that the object's last reference is
 * the reader's: letting go of it must not want the vnode's lock.
 */
KTEST(races, reader_is_the_last_to_use_a_file_without_a_name)
{
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	nameless_race_begin();
	stall_hold(STALL_READ, 0, ALL);
	party_start(&a, READ, 5 * PAGE_SIZE, 100);
	CHECK(stall_wait(1));
	party_start(&b, UNMAP, 0, 0);
	party_join(&b);
	CHECK_EQ(race.vp->v_object->ref_count, 1);
	race_open_tap();
	party_join(&a);
	CHECK_EQ(a.result, 0);
	CHECK_EQ(race.buf[99], race_pattern(RACE_PATH, 5 * PAGE_SIZE + 99));
	nameless_race_end();
}

/* The same with the laundry, which writes with the vnode locked. */
KTEST(races, laundry_is_the_last_to_use_a_file_without_a_name)
{
	struct party b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	nameless_race_begin();
	race_dirty_pages(3, 1);
	race_stall_laundry();
	party_start(&b, UNMAP, 0, 0);
	party_join(&b);
	CHECK_EQ(race.vp->v_object->ref_count, 1);
	race_open_tap();
	VT_WAIT(race.vp->v_object == NULL);
	VT_WAIT(!vm_laundry_writing());
	nameless_race_end();
}

/*
 * The file has no name and its object is on its way out, its pages being written, when it is mapped
 * again: the same bytes, and one object.
 */
KTEST(races, last_unmap_of_a_file_without_a_name_against_a_new_map)
{
	vm_offset_t addr = BASE;
	struct party a, b;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	nameless_race_begin();
	race_dirty_pages(3, 1);
	stall_hold(STALL_WRITE, 0, ALL);
	party_start(&a, UNMAP, 0, 0);
	CHECK(stall_wait(1));
	CHECK(party_waits(&a));
	stall_hold(0, 0, 0);
	party_start(&b, LOAD, 0, 0);		/* nothing is mapped now */
	party_join(&b);
	CHECK_EQ(b.result, -EFAULT);
	CHECK(stall_release(0));
	CHECK_EQ(vm_mmap(race.vm, &addr, RACE_PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, race.vp, 0), 0);
	CHECK_EQ(get(race.vm, BASE + 3 * PAGE_SIZE), race_pattern(RACE_NEW, 3 * PAGE_SIZE));
	party_join(&a);
	CHECK(race.vp->v_object == object_at(race.vm, BASE));
	CHECK_EQ(get(race.vm, BASE + 4 * PAGE_SIZE + 7), race_pattern(RACE_PATH, 4 * PAGE_SIZE + 7));
	CHECK_EQ(vm_munmap(race.vm, BASE, RACE_PAGES * PAGE_SIZE), 0);
	nameless_race_end();
}

static void
launder_until_clean(struct vm_object *object)
{
	for (uint64_t end = ticks + VT_PATIENCE; object->dirty_count > 0 && ticks < end; vt_pause()) {
		vm_pageout_scan(vm_page_count);
		vm_laundry_wakeup();
	}
	CHECK_EQ(object->dirty_count, 0);
}

/*
 * The laundry cannot have the one vnode, for a thread that allocates has it locked: it goes on with
 * the other.
 */
KTEST(races, laundry_goes_round_a_locked_vnode)
{
	struct vnode *other = NULL;
	struct vm_object *object;
	vm_offset_t addr = BASE + MiB;

	if (!race_begin(RACE_PAGES * PAGE_SIZE))
		return;
	CHECK(race_file(RACE_OTHER, &other, 8 * PAGE_SIZE));
	CHECK_EQ(vm_mmap(race.vm, &addr, 8 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, other, 0), 0);
	race_dirty_pages(0, 4);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(put(race.vm, addr + i * PAGE_SIZE, 0x42), 0);
	object = other->v_object;
	CHECK_EQ(object->dirty_count, 8);
	VOP_LOCK(race.vp, LK_EXCLUSIVE);
	launder_until_clean(object);
	CHECK_EQ(race.vp->v_object->dirty_count, 4);
	VOP_UNLOCK(race.vp);
	launder_until_clean(race.vp->v_object);
	CHECK_EQ(vm_munmap(race.vm, addr, 8 * PAGE_SIZE), 0);
	vrele(other);
	CHECK_EQ(vn_remove(RACE_OTHER), 0);
	race_end();
}
