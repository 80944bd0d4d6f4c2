/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What /proc says of a process's memory: its map (maps), what of it is in memory (smaps, statm, status), and the strings that
 * it was started with, which lie in it.  Formats are Linux's.
 *
 * The map is locked for one entry at a time, since a name, and room for it, may have to be waited for.
 */
#include "kernel/fs/procfs/procfs.h"

#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/user/file.h"
#include "vm/pmap.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_map_usage.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

#define PAGE_KIB	(PAGE_SIZE / KiB)

/* Bytes of a process's memory, as far as they can be had.  => sleeps */
static void
add_memory(struct text *t, struct vmspace *vm, vm_offset_t at, vm_offset_t end)
{
	struct vm_page *m;

	end = MIN(end, at + (t->size - 1 - t->len));
	while (at < end && vm_fault(&vm->map, at, VM_PROT_READ, VM_FAULT_HOLD, &m) == KERN_SUCCESS) {
		size_t n = MIN(end - at, PAGE_SIZE - (at & PAGE_MASK));

		memcpy(t->buf + t->len, (const char *)VM_PAGE_TO_DMAP(m) + (at & PAGE_MASK), n);
		vm_page_unwire(m, PQ_ACTIVE);
		t->len += n;
		at += n;
	}
}

/* What stands between two addresses that lie in the process; a zombie has nothing. */
static int
add_strings(struct text *t, int pid, bool environment)
{
	struct vmspace *vm;
	struct snapshot s;
	int error = procfs_look(pid, &s, &vm);

	if (error != 0)
		return (error == ENOENT ? 0 : error);
	add_memory(t, vm, environment ? s.arg_end : s.arg_start, environment ? s.env_end : s.arg_end);
	vmspace_free(vm);
	return (0);
}

/* The arguments, each with its NUL. */
int
procfs_cmdline(struct text *t, int pid)
{
	return (add_strings(t, pid, false));
}

int
procfs_environ(struct text *t, int pid)
{
	return (add_strings(t, pid, true));
}

/*
 * The file at the bottom of an entry's chain, referenced, and where in it the entry begins; NULL: anonymous memory.
 * => map locked
 */
static struct vnode *
file_of(const struct vm_map_entry *e, vm_ooffset_t *offset)
{
	struct vm_object *object = e->object, *next;
	struct vnode *vp = NULL;

	*offset = e->offset;
	if (object == NULL)
		return (NULL);
	vm_object_rlock(object);
	while ((next = object->backing_object) != NULL) {
		*offset += object->backing_object_offset;
		vm_object_rlock(next);
		vm_object_unlock(object);
		object = next;
	}
	if (object->type == OBJT_VNODE && object->handle != NULL) {
		vp = object->handle;
		vref(vp);
	}
	vm_object_unlock(object);
	return (vp);
}

struct map_line {
	vm_offset_t	 start, end;
	vm_ooffset_t	 offset;
	vm_prot_t	 prot;
	bool		 shared;
	struct vm_usage	 usage;		/* if it was asked for */
	struct vnode	*vp;		/* referenced, or NULL */
};

/* The first entry that ends behind `at`; false: none. */
static bool
map_line_from(struct vm_map *map, vm_offset_t at, bool usage, struct map_line *line)
{
	struct vm_map_entry *e;

	vm_map_rlock(map);
	for (e = vm_map_first(map); e != NULL && e->end <= at; e = vm_map_next(e))
		continue;
	if (e != NULL) {
		*line = (struct map_line){ .start = e->start, .end = e->end, .prot = e->protection,
		    .shared = e->inheritance == VM_INHERIT_SHARE };
		line->vp = file_of(e, &line->offset);
		if (usage)
			vm_map_usage(map, e, &line->usage);
	}
	vm_map_runlock(map);
	return (e != NULL);
}

static void
add_map_line(struct text *t, const struct map_line *l, const struct snapshot *s)
{
	char name[NAME_MAX + 1] = "";

	text_add(t, "%08lx-%08lx %c%c%c%c %08lx 00:00 %lu", l->start, l->end, l->prot & VM_PROT_READ ? 'r' : '-',
	    l->prot & VM_PROT_WRITE ? 'w' : '-', l->prot & VM_PROT_EXECUTE ? 'x' : '-', l->shared ? 's' : 'p',
	    l->vp != NULL ? (uint64_t)l->offset : 0ul, l->vp != NULL ? (uint64_t)l->vp->v_ino : 0ul);
	if (l->vp != NULL) {
		if (fs_path_of_file(l->vp, name, sizeof(name)) < 0)
			cache_name_of(l->vp, name, sizeof(name));
	} else if (l->end == s->stack_top) {
		strlcpy(name, "[stack]", sizeof(name));
	} else if (l->start < s->brk && l->end > s->brk_start) {
		strlcpy(name, "[heap]", sizeof(name));
	}
	text_add(t, "%s%s\n", name[0] != '\0' ? " " : "", name);
}

/* Do fn for each entry of a process's map; nothing for a zombie. */
static int
each_line(struct text *t, int pid, bool usage, void (*fn)(struct text *t, const struct map_line *l, const struct snapshot *s))
{
	struct vmspace *vm;
	struct snapshot s;
	struct map_line l;
	int error = procfs_look(pid, &s, &vm);

	if (error != 0)
		return (error == ENOENT ? 0 : error);
	for (vm_offset_t at = 0; map_line_from(&vm->map, at, usage, &l); at = l.end) {
		fn(t, &l, &s);
		if (l.vp != NULL)
			vrele(l.vp);
	}
	vmspace_free(vm);
	return (0);
}

int
procfs_maps(struct text *t, int pid)
{
	return (each_line(t, pid, false, add_map_line));
}

static void
add_usage(struct text *t, const struct map_line *l, const struct snapshot *s)
{
	const struct vm_usage *u = &l->usage;

	add_map_line(t, l, s);
	text_add(t, "Size:           %8lu kB\nKernelPageSize: %8lu kB\nMMUPageSize:    %8lu kB\n", u->size * PAGE_KIB,
	    PAGE_KIB, PAGE_KIB);
	text_add(t, "Rss:            %8lu kB\nPss:            %8lu kB\n", u->resident * PAGE_KIB, u->in_proportion / KiB);
	text_add(t, "Shared_Clean:   %8lu kB\nShared_Dirty:   %8lu kB\n", u->pages[1][0] * PAGE_KIB, u->pages[1][1] * PAGE_KIB);
	text_add(t, "Private_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\n", u->pages[0][0] * PAGE_KIB, u->pages[0][1] * PAGE_KIB);
	text_add(t, "Anonymous:      %8lu kB\nSwap:           %8lu kB\nLocked:         %8lu kB\n", u->anonymous * PAGE_KIB,
	    u->swapped * PAGE_KIB, u->wired ? u->in_proportion / KiB : 0ul);
}

int
procfs_smaps(struct text *t, int pid)
{
	return (each_line(t, pid, true, add_usage));
}

/* A whole process's memory, in pages. */
struct total {
	struct vm_usage	all;
	uint64_t	locked, data, stack;	/* of address space: locked; private and writable, and the stack's part of that */
};

/* => nothing locked; false: it has none, or it is not ours to see */
static bool
total_of(int pid, struct total *sum)
{
	struct vmspace *vm;
	struct snapshot s;
	struct map_line l;

	*sum = (struct total){ .locked = 0 };
	if (procfs_look(pid, &s, &vm) != 0)
		return (false);
	for (vm_offset_t at = 0; map_line_from(&vm->map, at, true, &l); at = l.end) {
		sum->all.size += l.usage.size;
		sum->all.resident += l.usage.resident;
		sum->all.anonymous += l.usage.anonymous;
		sum->all.memory_shared += l.usage.memory_shared;
		sum->all.swapped += l.usage.swapped;
		sum->locked += l.usage.wired ? l.usage.size : 0;
		if (!l.shared && (l.prot & VM_PROT_WRITE))
			sum->data += l.usage.size;
		if (l.end == s.stack_top)
			sum->stack = l.usage.size;
		if (l.vp != NULL)
			vrele(l.vp);
	}
	vmspace_free(vm);
	return (true);
}

int
procfs_statm(struct text *t, int pid)
{
	struct total sum;
	struct snapshot s;
	int error = procfs_look(pid, &s, NULL);

	(void)total_of(pid, &sum);
	if (error == 0)
		text_add(t, "%lu %lu %lu 0 0 %lu 0\n", sum.all.size, sum.all.resident, sum.all.resident - sum.all.anonymous, sum.data);
	return (error);
}

void
procfs_status_memory(struct text *t, int pid)
{
	struct snapshot s;
	struct total sum;

	if (!total_of(pid, &sum) || procfs_look(pid, &s, NULL) != 0)
		return;
	text_add(t, "VmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\n", sum.all.size * PAGE_KIB,
	    sum.locked * PAGE_KIB, MAX(s.max_resident, sum.all.resident) * PAGE_KIB, sum.all.resident * PAGE_KIB);
	text_add(t, "RssAnon:\t%8lu kB\nRssFile:\t%8lu kB\nRssShmem:\t%8lu kB\n", sum.all.anonymous * PAGE_KIB,
	    (sum.all.resident - sum.all.anonymous - sum.all.memory_shared) * PAGE_KIB, sum.all.memory_shared * PAGE_KIB);
	text_add(t, "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmSwap:\t%8lu kB\n", (sum.data - MIN(sum.stack, sum.data)) * PAGE_KIB,
	    sum.stack * PAGE_KIB, sum.all.swapped * PAGE_KIB);
}
