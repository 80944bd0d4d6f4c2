/* SPDX-License-Identifier: BSD-2-Clause */
/* What slab.c offers to malloc.c beyond kernel/malloc.h. */
#ifndef KERNEL_SLAB_H
#define KERNEL_SLAB_H

#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"
#include "kernel/lock.h"

struct slab;
TAILQ_HEAD(slab_list, slab);

struct kmem_cache {
	struct spinlock	 lock;
	const char	*name;		/* (constant) */
	uint32_t	 size;		/* (constant) of an object, bytes */
	uint32_t	 stride;	/* (constant) from one object to the next, bytes */
	uint32_t	 first;		/* (constant) offset of the first object, bytes */
	uint32_t	 per_slab;	/* (constant) objects */
	bool		 is_class;	/* (constant) the allocator's own: not in kmalloc_inuse() */
	struct slab_list partial;	/* (lock) with room, empty ones at the end */
	struct slab_list full;		/* (lock) */
	uint32_t	 nempty;	/* (lock) slabs without objects */
	uint32_t	 nslabs;	/* (lock) */
	uint64_t	 inuse;		/* (lock) objects */
	uint64_t	 snapshot;	/* inuse at the last kmalloc_snapshot() */
	struct kmem_cache *next;	/* (constant) next in the list of all */
};

/* All of them.  The list grows at its head and never shrinks, so it is walked without a lock. */
extern struct kmem_cache *kmem_caches;

void slab_cache_init(struct kmem_cache *cache, const char *name, size_t size, size_t align,
    bool is_class);
/* type: the name that a violation is to be told with; size: bytes asked for; caller: who asked. */
void *slab_alloc(struct kmem_cache *cache, const char *type, size_t size, int flags,
    const void *caller);
/* The cache that p came from.  false: p was not freed, because something was wrong with it. */
bool slab_free(void *p, const char *type, const void *caller, struct kmem_cache **cache);
void slab_check(struct kmem_cache *cache);

/* What is known of the object that a byte of a slab belongs to. */
struct slab_object {
	const char	*type;		/* of the last allocation */
	void		*p;
	size_t		 size;		/* asked for, bytes */
	bool		 live;
	const void	*caller;	/* who allocated or freed it last */
};
/*
 * The object that va lies in, or whose red zone.  false: va is not in a slab.  Takes no lock.
 * => debug builds
 */
bool slab_describe(vm_offset_t va, struct slab_object *o);

#define KMEM_ZONE	0xbd		/* fills red zones */
#define KMEM_FREED	0xdf		/* fills free objects */
#define KMEM_FRESH	0xa5		/* fills allocated objects that need not be zero */
/* Is every byte of [p, p + len) `byte`? */
bool kmem_filled(const void *p, uint8_t byte, size_t len);
void kmem_violation(const char *what, const char *type, const void *p, size_t size,
    const void *allocated_by,
    const void *caller);

#endif
