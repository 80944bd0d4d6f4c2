/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tour: what happens between a program's load and the disk, shown on this machine, now.
 *
 *	main thread ----> thread "tour"                          thread "bystander"
 *	 sleeps in join     an address space of its own            lower class: runs only while
 *	                    the file mapped in it, private         the tour's thread sleeps
 *	                    touches a byte: the CPU faults
 *
 * Four acts on one page:
 *
 *	1 a cold fault		nothing is in memory: the pager reads the page and neighbours
 *	2 the same again	the mapping was taken away, the page is there: no I/O
 *	3 a neighbour		came along with act 1, and was mapped with it
 *	4 a private write	the page is copied to a shadow object; the file's stays as it is
 *
 * Each access is a copyin or copyout, which fault like a program would and survive a refusal (a
 * bad disk).  The trace is on just for the access.  Nothing stays behind: the address space is
 * freed and the threads are joined; only the file's pages rest in the object cache, as after any
 * use.
 */
#include "kernel/tour.h"
#include "drivers/disk.h"
#include "kernel/cmdline.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/crc32.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/main.h"
#include "kernel/malloc.h"
#include "kernel/trace.h"
#include "vm/pmap.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_TOUR, "tour");

#define STORY		"/tour/story.txt"
#define TOUR_PAGE	2ul		/* the page of the acts; others lie before and behind it */
#define MAP_AT		0x10000ul	/* where to look for room in the address space */
#define TEXT_BYTES	224		/* looked at for a line of text */
#define SHOWN_BYTES	84		/* of a line of text */
#define ACTS		4
#define COLD_FAULTS	20		/* at most; the last of them is told */

struct act {
	const char	*name;
	uint64_t	 faults, requests, sectors, ns;
};

struct tour {
	const char	*path;
	void		(*play)(struct tour *);
	uint64_t	 offset;	/* tour_fault(): the byte */
	bool		 write;

	struct vnode	*vp;		/* referenced */
	uint64_t	 size;		/* of the file, bytes */
	struct vmspace	*vm;
	vm_offset_t	 base;		/* byte 0 of the file is mapped here */
	vm_size_t	 len;		/* bytes mapped */
	struct tale	 tale;		/* of the last access */
	struct act	 acts[ACTS];
	unsigned	 nacts;

	volatile bool	 stop;		/* the bystander's order to end */
	volatile uint64_t counted;	/* how far it has counted */
};

/* ---- one access, watched ---- */

static void
counts_take(const struct tour *t, struct tale_counts *c)
{
	struct intr_stat is;

	memset(c, 0, sizeof(*c));
	c->vm = cnt;
	c->bystander = t->counted;
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk)) {
		c->requests += dk->dk_stats.reads + dk->dk_stats.writes;
		c->sectors += dk->dk_stats.sectors_read + dk->dk_stats.sectors_written;
	}
	for (unsigned i = 0; i < TALE_SOURCES && intr_stat_get(i, &is); i++)
		c->interrupts[i] = is.count;
}

/*
 * Touch memory at `va`: write `len` bytes of `data`, or read one byte (data NULL).  The tale is
 * in t->tale.
 */
static void
watch(struct tour *t, vm_offset_t va, const void *data, size_t len)
{
	struct tale *tale = &t->tale;
	bool were_on = trace_on;
	uint64_t cursor, start, end;
	char byte;

	tale->va = va;
	tale->write = data != NULL;
	counts_take(t, &tale->before);
	start = cursor = trace_cursor();
	trace_on = true;
	tale->refused = (data != NULL ? copyout(data, va, len) : copyin(va, &byte, 1)) != 0;
	trace_on = were_on;
	end = trace_cursor();
	counts_take(t, &tale->after);
	tale->why = curthread->fault;
	memset(&curthread->fault, 0, sizeof(curthread->fault));
	tale->nevents = MIN(trace_read(&cursor, tale->events, TALE_EVENTS), end - start);
	tale->lost = end - start - tale->nevents;
}

/* What was seen, in words, and the picture. */
static void
tell(const struct tour *t)
{
	tale_tell(&t->tale);
	tale_counted(&t->tale);
	tale_picture(&t->tale);
}

static void
note_act(struct tour *t, const char *name)
{
	const struct tale *tale = &t->tale;

	t->acts[t->nacts++] = (struct act){
		.name = name, .faults = tale_faults(tale), .ns = tale_fault_ns(tale),
		.requests = tale_requests(tale),
		.sectors = tale->after.sectors - tale->before.sectors
	};
}

/* ---- the file's text ---- */

static bool
is_text(const char *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((buf[i] < ' ' || buf[i] > '~') && buf[i] != '\n' && buf[i] != '\t' &&
		    buf[i] != '\r')
			return (false);
	return (true);
}

/* Where the first line begins that begins in this page; 0 if it is not text. */
static size_t
line_start(vm_pindex_t page, const char *buf, size_t len)
{
	const char *newline = page == 0 || !is_text(buf, len) ? NULL : memchr(buf, '\n', len);

	return (newline != NULL && newline + 1 < buf + len ? (size_t)(newline + 1 - buf) : 0);
}

/* One line of text, or the first bytes in hexadecimal. */
static void
show_bytes(const char *how, const char *buf, size_t from, size_t len)
{
	size_t n = 0;

	printf("  %-20s ", how);
	if (!is_text(buf, len)) {
		for (; n < 16 && from + n < len; n++)
			printf("%02x ", (uint8_t)buf[from + n]);
		printf("...\n");
		return;
	}
	while (n < SHOWN_BYTES && from + n < len && buf[from + n] != '\n' && buf[from + n] != '\r')
		n++;
	printf("\"%.*s\"\n", (int)n, buf + from);
}

/* The beginning of a page as the mapping shows it, and as VOP_READ does. */
static void
show_page_text(const struct tour *t, vm_pindex_t page, bool file_too)
{
	char buf[TEXT_BYTES];
	size_t done;
	int error;

	if (copyin(t->base + IDX_TO_OFF(page), buf, sizeof(buf)) != 0) {
		printf("  the page cannot be read through the mapping any more\n");
		return;
	}
	show_bytes("through the mapping", buf, line_start(page, buf, sizeof(buf)), sizeof(buf));
	if (!file_too)
		return;
	error = vn_read(t->vp, buf, sizeof(buf), IDX_TO_OFF(page), &done);
	if (error != 0)
		printf("  VOP_READ fails: %s\n", errno_name(error));
	else
		show_bytes("through VOP_READ", buf, line_start(page, buf, done), done);
}

/* ---- the acts ---- */

/*
 * Free the file's resident pages, so that the next access finds none.  What is wired or changed
 * stays.
 * => sleeps
 */
static void
forget_pages(struct vm_object *object)
{
	struct vm_page *m;
	vm_pindex_t at = 0;

	vm_object_lock(object);
	while ((m = vm_page_find_least(object, at)) != NULL) {
		at = m->pindex + 1;
		m = vm_page_busy_acquire(object, m->pindex, "tourcd");
		if (m == NULL)
			continue;
		pmap_page_protect(m, VM_PROT_READ);
		vm_page_test_dirty(m);
		if (m->wire_count > 0 || m->dirty != 0)
			vm_page_xunbusy(m);
		else
			vm_page_free(m);
	}
	vm_object_unlock(object);
}

static void
heading(const struct tour *t, const char *title)
{
	printf("\n---- %u. %s\n", t->nacts + 1, title);
}

/*
 * The first cold fault is a rehearsal: an emulator translates code when it first runs, and the
 * times told would be those of the translation.  A disk whose answer is there before the thread
 * gets to sleep for it is given a few more chances to be a disk.  Each time the mapping is made
 * anew, for the fault handler learns from a mapping's history.  What is told happened as it is
 * told.
 *
 * => false: the page cannot be had, and the tour ends.
 */
static bool
act_cold(struct tour *t)
{
	unsigned n = 0;

	heading(t, "A cold fault: one byte is read, and nothing of the file is in memory");
	do {
		n++;
		forget_pages(t->vp->v_object);
		(void)vm_mmap(t->vm, &t->base, t->len, VM_PROT_READ | VM_PROT_WRITE,
		    MAP_PRIVATE | MAP_FIXED, t->vp, 0);
		watch(t, t->base + IDX_TO_OFF(TOUR_PAGE), NULL, 1);
	} while (!t->tale.refused && tale_requests(&t->tale) > 0 && n < COLD_FAULTS &&
	    (n == 1 || !tale_slept(&t->tale)));
	if (n > 1)
		printf("  (cold fault number %u: one to warm the emulator up, then until the thread had to "
		    "sleep)\n", n);
	tell(t);
	if (t->tale.refused)
		return (false);
	printf("The first line that begins in the page:\n");
	show_page_text(t, TOUR_PAGE, false);
	note_act(t, "cold fault");
	return (true);
}

static void
act_again(struct tour *t)
{
	vm_offset_t va = t->base + IDX_TO_OFF(TOUR_PAGE);
	bool mapped = pmap_extract(&t->vm->pmap, va) != 0;

	heading(t, "The same byte again, after pmap_remove: the page is there, its mapping is not");
	pmap_remove(&t->vm->pmap, va, va + PAGE_SIZE);
	printf("  0x%lx was %s, and now is %s\n", va, mapped ? "mapped" : "not mapped",
	    pmap_extract(&t->vm->pmap, va) != 0 ? "mapped" : "not mapped");
	watch(t, va, NULL, 1);
	tell(t);
	note_act(t, "soft fault");
}

/* The page behind, or the one before if only that one came along. */
static void
act_neighbour(struct tour *t)
{
	vm_pindex_t page = TOUR_PAGE + 1;
	vm_paddr_t pa;

	if (pmap_extract(&t->vm->pmap, t->base + IDX_TO_OFF(page)) == 0 &&
	    pmap_extract(&t->vm->pmap, t->base + IDX_TO_OFF(TOUR_PAGE - 1)) != 0)
		page = TOUR_PAGE - 1;
	heading(t, "A neighbour that nobody has touched yet");
	pa = pmap_extract(&t->vm->pmap, t->base + IDX_TO_OFF(page));
	if (pa != 0)
		printf("  page %lu, at 0x%lx, is mapped already: to frame 0x%lx\n", page,
		    t->base + IDX_TO_OFF(page), pa >> PAGE_SHIFT);
	else
		printf("  page %lu, at 0x%lx, is not mapped: it did not come along\n", page,
		    t->base + IDX_TO_OFF(page));
	watch(t, t->base + IDX_TO_OFF(page), NULL, 1);
	tell(t);
	printf("  disk requests since boot: %lu before, %lu after\n", t->tale.before.requests,
	    t->tale.after.requests);
	note_act(t, "neighbour");
}

/* A page of an object, looked at: its frame and a checksum of what is in it. */
struct page_look {
	bool		there;
	uint32_t	pfn, crc;
};

static struct page_look
look_at_page(struct vm_object *object, vm_pindex_t pindex)
{
	struct page_look look = { .there = false };
	struct vm_page *m;

	vm_object_rlock(object);
	m = vm_page_lookup(object, pindex);
	if (m != NULL && vm_page_all_valid(m))
		look = (struct page_look){ true, m->pfn, crc32(0, VM_PAGE_TO_DMAP(m), PAGE_SIZE) };
	vm_object_unlock(object);
	return (look);
}

/*
 * The object on top at `va`, and the page's index in it.  Ours alone: nobody else changes this
 * map.
 */
static struct vm_object *
top_object(const struct tour *t, vm_offset_t va, vm_pindex_t *pindex)
{
	struct vm_map_entry *e;
	struct vm_object *object;

	vm_map_rlock(&t->vm->map);
	e = vm_map_lookup_entry(&t->vm->map, va);
	object = e->object;
	*pindex = OFF_TO_IDX(e->offset + (va - e->start));
	vm_map_runlock(&t->vm->map);
	return (object);
}

/* Both pages of a copied one, side by side. */
static void
compare_pages(const struct tour *t, vm_offset_t va, const struct page_look *before)
{
	vm_pindex_t pindex;
	struct vm_object *top = top_object(t, va, &pindex);
	struct page_look file = look_at_page(t->vp->v_object, TOUR_PAGE),
			 mine = look_at_page(top, pindex);

	if (top == t->vp->v_object || !mine.there) {
		printf("  no copy was made\n");
		return;
	}
	printf("  the private copy:    frame 0x%x, crc32 %08x; 0x%lx now shows frame 0x%lx\n",
	    mine.pfn, mine.crc, trunc_page(va), pmap_extract(&t->vm->pmap, va) >> PAGE_SHIFT);
	if (before->there && file.there)
		printf("  the file's own page: frame 0x%x, crc32 %08x before and %08x after: %s\n",
		    file.pfn, before->crc, file.crc,
		    before->crc == file.crc ? "unchanged" : "CHANGED");
	else
		printf("  the file's own page is not in memory any more\n");
}

static void
act_private_write(struct tour *t)
{
	vm_offset_t page_va = t->base + IDX_TO_OFF(TOUR_PAGE);
	struct page_look before = look_at_page(t->vp->v_object, TOUR_PAGE);
	char buf[TEXT_BYTES];
	size_t at = 0;

	heading(t, "A private write: the page is copied, and the file keeps its own");
	if (copyin(page_va, buf, sizeof(buf)) == 0)
		at = line_start(TOUR_PAGE, buf, sizeof(buf));
	watch(t, page_va + at, "MINE", 4);
	tell(t);
	if (t->tale.refused)
		return;
	compare_pages(t, page_va, &before);
	show_page_text(t, TOUR_PAGE, true);
	note_act(t, "private write");
}

static void
sum_up(const struct tour *t)
{
	printf("\n---- In sum\n  %-16s %8s %14s %9s %12s\n", "", "faults", "disk requests",
	    "sectors", "time");
	for (unsigned i = 0; i < t->nacts; i++) {
		const struct act *a = &t->acts[i];

		printf("  %u %-14s %8lu %14lu %9lu %9lu us\n", i + 1, a->name, a->faults,
		    a->requests, a->sectors, a->ns / 1000);
	}
}

static void
play_acts(struct tour *t)
{
	if (t->size < TOUR_PAGES_MIN * PAGE_SIZE) {
		printf("tour: %s has %lu bytes; the tour wants a file of at least %u pages.\n",
		    t->path, t->size, TOUR_PAGES_MIN);
		return;
	}
	printf("\nThe tour: what happens between a load and the disk.  Times begin at the trap.\n");
	printf("%s is inode %lu of %s: %lu bytes, %lu pages, in blocks of %u bytes.\n"
	    "It is mapped at 0x%lx-0x%lx, private, in the address space of thread %s.\n",
	    t->path, t->vp->v_ino, t->vp->v_mount->mnt_stat.f_mntfromname, t->size,
	    OFF_TO_IDX(round_page(t->size)), t->vp->v_mount->mnt_stat.f_iosize, t->base,
	    t->base + t->len, curthread->name);
	if (!act_cold(t)) {
		printf("The page cannot be had, so the tour ends here.\n");
		return;
	}
	act_again(t);
	act_neighbour(t);
	act_private_write(t);
	sum_up(t);
}

/* tour_fault(): one access, as it comes. */
static void
play_fault(struct tour *t)
{
	vm_offset_t va = t->base + t->offset;

	printf("%s is inode %lu, %lu bytes; byte %lu is mapped at 0x%lx\n", t->path, t->vp->v_ino,
	    t->size, t->offset, va);
	watch(t, va, t->write ? "!" : NULL, 1);
	tell(t);
}

/* ---- the stage ---- */

/* Runs while the tour's thread sleeps, and counts. */
static void
bystander(void *arg)
{
	struct tour *t = arg;

	while (!t->stop)
		t->counted++;
}

/* Open the file.  0 or an errno. */
static int
stage_file(struct tour *t)
{
	int error = namei(t->path, NULL, 0, &t->vp);

	if (error != 0)
		return (error);
	if (t->vp->v_type == VREG)
		error = vn_size(t->vp, &t->size);
	else
		error = t->vp->v_type == VDIR ? EISDIR : ENODEV;
	if (error != 0)
		vrele(t->vp);
	return (error);
}

/* Map the file into an address space of our own.  0 or an errno. */
static int
stage_map(struct tour *t)
{
	int error;

	if (t->size >= VM_USER_MAX || t->offset >= VM_USER_MAX)
		return (EFBIG);
	t->len = round_page(MAX(t->size, t->offset + 1));
	t->base = MAP_AT;
	t->vm = vmspace_alloc();
	if (t->vm == NULL)
		return (ENOMEM);
	error =
	    vm_mmap(t->vm, &t->base, t->len, VM_PROT_READ | VM_PROT_WRITE, MAP_PRIVATE, t->vp, 0);
	if (error != 0)
		vmspace_free(t->vm);
	else
		(void)thread_set_vmspace(t->vm);
	return (error);
}

static void
stage_run(struct tour *t)
{
	struct thread *other;

	t->tale.events = kmalloc(TALE_EVENTS * sizeof(struct trace_event), &M_TOUR, M_WAITOK);
	t->tale.td = curthread;
	t->tale.vm = t->vm;
	t->tale.vp = t->vp;
	other = thread_create("bystander", PRI_USER, bystander, t);
	t->play(t);
	t->stop = true;
	if (other != NULL)
		thread_join(other);
	kfree(t->tale.events, &M_TOUR);
}

static void
stage_thread(void *arg)
{
	struct tour *t = arg;
	int error = stage_file(t);

	if (error == 0) {
		error = stage_map(t);
		if (error == 0) {
			stage_run(t);
			(void)thread_set_vmspace(NULL);
			vmspace_free(t->vm);
		}
		vrele(t->vp);
	}
	if (error != 0)
		printf("%s: %s: %s\n", curthread->name, t->path, errno_name(error));
}

static void
stage(const char *name, struct tour *t)
{
	struct thread *td = thread_create(name, PRI_KERNEL, stage_thread, t);

	if (td == NULL)
		printf("%s: no memory for a thread\n", name);
	else
		thread_join(td);
}

/* ---- from outside ---- */

/* Is it there, and large enough? */
static bool
story_is_there(void)
{
	struct vnode *vp;
	uint64_t size;
	bool fits;

	if (namei(STORY, NULL, 0, &vp) != 0)
		return (false);
	fits = vp->v_type == VREG && vn_size(vp, &size) == 0 && size >= TOUR_PAGES_MIN * PAGE_SIZE;
	vrele(vp);
	return (fits);
}

void
tour_play(const char *path)
{
	struct tour t = { .path = path, .play = play_acts };
	char found[256];

	if (rootfs == NULL) {
		printf("tour: no volume is mounted, so there is no file to fault in.\n");
		return;
	}
	if (path == NULL && story_is_there()) {
		t.path = STORY;
	} else if (path == NULL) {
		if (!tour_find(found, sizeof(found))) {
			printf("tour: this volume has neither %s nor another file of %u pages without holes.\n",
			    STORY, TOUR_PAGES_MIN);
			return;
		}
		t.path = found;
	}
	stage("tour", &t);
}

void
tour_fault(const char *path, uint64_t offset, bool write)
{
	struct tour t = { .path = path, .play = play_fault, .offset = offset, .write = write };

	stage("fault", &t);
}

void
tour_main(void)
{
	const char *path = cmdline_get("tour");

	tour_play(path != NULL && path[0] != '\0' ? path : NULL);
}
