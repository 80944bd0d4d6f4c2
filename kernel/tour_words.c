/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The teller's words: what the numbers and pointers of an event mean, by the live structures.
 *
 * An event's pointer is not trusted.  An object, an entry, a disk or a thread is looked up where it
 * would have to be, and only if it is found there is it called by its name.
 */
#include "kernel/tour.h"
#include "drivers/disk.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/trace.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"

void
words_ranges(char *buf, size_t size, uint64_t *list, size_t n)
{
	size_t len = 0;

	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && list[j - 1] > list[j]; j--) {
			uint64_t swap = list[j];

			list[j] = list[j - 1];
			list[j - 1] = swap;
		}
	buf[0] = '\0';
	for (size_t i = 0, last; i < n && len < size; i = last + 1) {
		for (last = i; last + 1 < n && list[last + 1] <= list[last] + 1; last++)
			;
		len += snprintf(buf + len, size - len, "%s%lu", i > 0 ? ", " : "", list[i]);
		if (list[last] != list[i] && len < size)
			len += snprintf(buf + len, size - len, "-%lu", list[last]);
	}
}

const char *
words_prot(vm_prot_t prot)
{
	static const char *const texts[] = {"---", "r--", "-w-", "rw-", "--x", "r-x", "-wx", "rwx"};

	return (texts[prot & VM_PROT_ALL]);
}

const char *
words_sectors(char buf[SECTORS_TEXT], uint8_t mask)
{
	for (int i = 0; i < 8; i++)
		buf[i] = mask & (1u << i) ? '#' : '.';
	buf[8] = '\0';
	return (buf);
}

/* ---- what the live structures say ---- */

bool
words_entry(const struct tale *t, uint64_t pointer, struct vm_map_entry *out)
{
	struct vm_map *map = &t->vm->map;
	struct vm_map_entry *e;

	vm_map_rlock(map);
	for (e = vm_map_first(map); e != NULL && (uint64_t)e != pointer; e = vm_map_next(e))
		;
	if (e != NULL)
		*out = *e;
	vm_map_runlock(map);
	return (e != NULL);
}

struct vm_object *
words_top_object(const struct tale *t)
{
	struct vm_map_entry *e;
	struct vm_object *object;

	vm_map_rlock(&t->vm->map);
	e = vm_map_lookup_entry(&t->vm->map, t->va);
	object = e != NULL ? e->object : NULL;
	vm_map_runlock(&t->vm->map);
	return (object);
}

vm_pindex_t
words_index_at(const struct tale *t, vm_offset_t va)
{
	struct vm_map_entry *e;
	vm_pindex_t pindex;

	vm_map_rlock(&t->vm->map);
	e = vm_map_lookup_entry(&t->vm->map, va);
	pindex = e != NULL ? OFF_TO_IDX(e->offset + (va - e->start)) : 0;
	vm_map_runlock(&t->vm->map);
	return (pindex);
}

/* The object of that address, if it lies in the chain of one of the map's entries. */
static struct vm_object *
object_find(const struct tale *t, uint64_t pointer)
{
	struct vm_object *object = NULL;

	vm_map_rlock(&t->vm->map);
	for (struct vm_map_entry *e = vm_map_first(&t->vm->map); e != NULL; e = vm_map_next(e)) {
		int depth = 0;

		object = e->object;
		while (object != NULL && (uint64_t)object != pointer && depth++ < CHAIN_MAX)
			object = object->backing_object;
		if ((uint64_t)object == pointer)
			break;
		object = NULL;
	}
	vm_map_runlock(&t->vm->map);
	return (object);
}

const char *
words_object(const struct tale *t, uint64_t pointer)
{
	struct vm_object *object = object_find(t, pointer);

	if (object == NULL)
		return ("an object");
	if (object->type == OBJT_VNODE)
		return (object->handle == t->vp ? "the file's object" : "another file's object");
	return (object->backing_object != NULL ? "the shadow object" : "the anonymous object");
}

const char *
words_disk(uint64_t pointer)
{
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk))
		if ((uint64_t)dk == pointer)
			return (dk->dk_name);
	return ("a disk");
}

struct thread_search {
	uint32_t	 tid;
	char		*name;
};

static void
thread_match(struct thread *td, void *arg)
{
	struct thread_search *s = arg;

	if (td->tid == s->tid)
		strlcpy(s->name, td->name, THREAD_NAME_MAX);
}

const char *
words_thread(uint32_t tid, char buf[THREAD_NAME_MAX])
{
	struct thread_search s = { .tid = tid, .name = buf };

	strlcpy(buf, "another", THREAD_NAME_MAX);
	thread_foreach(thread_match, &s);
	return (buf);
}
