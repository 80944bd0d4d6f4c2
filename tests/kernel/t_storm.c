/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A storm: many threads on all CPUs do everything that can be done to the same 64 pages of one file.
 *
 *	store, load	each thread has a cell of its own in every page
 *	map anew	some pages, in one of several address spaces, which all map the whole file
 *	protect		some pages are made read-only and writable again
 *	evict		clean pages are taken away, as reclaim would
 *	sync		dirty pages are written
 *	truncate	the file is cut somewhere and made whole again
 *
 * What must hold at any moment, whoever did what: a cell holds the last value that its owner stored, or
 * zero, if a truncation came after that; once zero, it stays so until the next store.  An older value would be
 * a page that came back from the past, anything else a page that belongs to somebody else.  Refusals
 * are allowed where the file has been cut or a page is read-only, and nowhere else; afterwards every law holds.
 */
#include "kernel/fs/vnode.h"
#include "kernel/malloc.h"
#include "tests/kernel/t_vm.h"
#include "vm/pmap.h"
#include "vm/vm_check.h"
#include "vm/vm_pageout.h"
#include "vm/vnode_pager.h"

static MALLOC_DEFINE(M_STORM, "storm test");

#define PATH	"/storm"
#define PAGES	64ul
#define SPACES	4
#define THREADS	32
#define OPS	100000u
#define SIGBUS	7
#define SIGSEGV	11

struct stormer {
	unsigned	id;
	uint64_t	random;
	uint64_t	last[PAGES];	/* what our cell of each page holds, if nobody cut it; 0: zero */
	unsigned	stores, loads, zeros, refused;
	struct thread	*td;
};

static struct {
	struct vnode	*vp;
	struct vmspace	*vm[SPACES];
	uint64_t	evicted, cuts;	/* (atomic) */
} storm;

static uint64_t
draw(struct stormer *s, uint64_t below)
{
	s->random = s->random * 6364136223846793005ul + 1442695040888963407ul;
	return ((s->random >> 33) % below);
}

/* Sixteen bytes apart would let no store of two threads meet in a word; cache lines may be shared. */
static vm_offset_t
cell(const struct stormer *s, uint64_t page)
{
	return (AT(page) + 64 * s->id);
}

static bool
refusal_is_allowed(void)
{
	int signo = curthread->fault.signo;

	return (signo == SIGBUS || signo == SIGSEGV);
}

static void
store(struct stormer *s, uint64_t page)
{
	uint64_t value = s->last[page] + (1ul << 32) + s->id + 1;

	if (copyout(&value, cell(s, page), sizeof(value)) == 0) {
		s->last[page] = value;
		s->stores++;
	} else {
		CHECK(refusal_is_allowed());
		s->refused++;
	}
}

static void
load(struct stormer *s, uint64_t page)
{
	uint64_t value;

	if (copyin(cell(s, page), &value, sizeof(value)) != 0) {
		CHECK(curthread->fault.signo == SIGBUS);
		s->refused++;
		return;
	}
	s->loads++;
	if (value != s->last[page] && !CHECK_EQ(value, 0))
		printf("# thread %u, page %lu\n", s->id, page);
	/* Zero from now on: the value was cut off, and may not come back. */
	if (value == 0) {
		s->zeros += s->last[page] != 0;
		s->last[page] = 0;
	}
}

static void
map_anew(struct stormer *s)
{
	uint64_t first = draw(s, PAGES), n = 1 + draw(s, PAGES - first);
	vm_offset_t addr = AT(first);

	CHECK_EQ(vm_mmap(storm.vm[draw(s, SPACES)], &addr, n * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, storm.vp,
	    (off_t)(first * PAGE_SIZE)), 0);
}

static void
protect(struct stormer *s)
{
	uint64_t first = draw(s, PAGES), n = 1 + draw(s, 8);
	struct vm_map *map = &storm.vm[draw(s, SPACES)]->map;

	n = MIN(n, PAGES - first);
	CHECK_EQ(vm_map_protect(map, AT(first), AT(first + n), RO), KERN_SUCCESS);
	CHECK_EQ(vm_map_protect(map, AT(first), AT(first + n), RW), KERN_SUCCESS);
}

/* What reclaim does to a page that is clean and idle. */
static void
evict(struct stormer *s)
{
	struct vm_object *object = vnode_pager_object(storm.vp);
	vm_pindex_t pindex = draw(s, PAGES);
	struct vm_page *m;

	if (object == NULL)
		return;
	vm_object_lock(object);
	m = vm_page_lookup(object, pindex);
	if (m != NULL && m->wire_count == 0 && vm_page_tryxbusy(m)) {
		pmap_page_protect(m, VM_PROT_READ);
		vm_page_test_dirty(m);
		if (m->dirty == 0 && m->wire_count == 0) {
			vm_page_free(m);
			__atomic_fetch_add(&storm.evicted, 1, __ATOMIC_RELAXED);
		} else {
			vm_page_xunbusy(m);
		}
	}
	vm_object_unlock(object);
	vm_object_deallocate(object);
}

/* At any byte but within a value: half a value would be neither old nor zero. */
static void
cut(struct stormer *s)
{
	CHECK_EQ(vn_truncate(storm.vp, (off_t)(draw(s, PAGES * PAGE_SIZE / 8) * 8)), 0);
	CHECK_EQ(vn_truncate(storm.vp, (off_t)(PAGES * PAGE_SIZE)), 0);
	__atomic_fetch_add(&storm.cuts, 1, __ATOMIC_RELAXED);
}

static void
stormer_thread(void *arg)
{
	struct stormer *s = arg;

	(void)thread_set_vmspace(storm.vm[s->id % SPACES]);
	for (unsigned i = 0; i < OPS / THREADS && !ktest_failed(); i++) {
		uint64_t what = draw(s, 1000), page = draw(s, PAGES);

		if (what < 400)
			store(s, page);
		else if (what < 800)
			load(s, page);
		else if (what < 880)
			evict(s);
		else if (what < 940)
			protect(s);
		else if (what < 980)
			map_anew(s);
		else if (what < 982)
			CHECK_EQ(vn_fsync(storm.vp), 0);
		else if (what < 985)
			cut(s);
		else
			thread_yield();
	}
	(void)thread_set_vmspace(NULL);
}

KTEST(storm, everything_at_once_to_the_same_64_pages)
{
	struct vattr va = { .va_type = VREG, .va_mode = 0644 };
	struct stormer *s;
	uint64_t zeros = 0, stores = 0;

	if (rootfs == NULL || (rootfs->mnt_flag & MNT_RDONLY)) {
		ktest_skip("the root volume cannot be written");
		return;
	}
	memset(&storm, 0, sizeof(storm));
	s = kmalloc(THREADS * sizeof(*s), &M_STORM, M_WAITOK | M_ZERO);
	CHECK_OR_RETURN(s != NULL && vn_create(PATH, &va, &storm.vp) == 0);
	CHECK_EQ(vn_truncate(storm.vp, (off_t)(PAGES * PAGE_SIZE)), 0);
	for (int i = 0; i < SPACES; i++) {
		vm_offset_t addr = BASE;

		storm.vm[i] = vmspace_alloc();
		CHECK_EQ(vm_mmap(storm.vm[i], &addr, PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, storm.vp, 0), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		s[i].id = i;
		s[i].random = ktest_random();
		s[i].td = thread_create("t-storm", PRI_USER, stormer_thread, &s[i]);
		CHECK(s[i].td != NULL);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		thread_join(s[i].td);
		zeros += s[i].zeros;
		stores += s[i].stores;
	}
	/* It was one. */
	CHECK(stores > OPS / 8 && zeros > 0 && storm.evicted > 0 && storm.cuts > 0);
	vm_check();
	for (int i = 0; i < SPACES; i++)
		vmspace_free(storm.vm[i]);
	vrele(storm.vp);
	CHECK_EQ(vn_remove(PATH), 0);
	kfree(s, &M_STORM);
}
