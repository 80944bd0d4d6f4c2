/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel memory: slab caches for fixed-size objects, and kmalloc() on top of them.
 *
 * Debug builds put red zones around each object, poison what is freed, and count per type, so that
 * a leak is named by the self-tests and an overflow by the next free.
 */
#ifndef KERNEL_MALLOC_H
#define KERNEL_MALLOC_H

#include "kernel/lib/types.h"

enum { M_WAITOK = 0x1, M_NOWAIT = 0x2, M_ZERO = 0x4, M_RESERVE = 0x8 /* may use the pageout reserve */ };

/* A kind of allocation; define with MALLOC_DEFINE, declare with extern. */
struct malloc_type {
	const char	*name;		/* (constant) */
	uint64_t	 inuse;		/* (atomic) objects */
	uint64_t	 bytes;		/* (atomic) */
	uint64_t	 total;		/* (atomic) allocations ever */
	uint64_t	 snapshot;	/* inuse at the last kmalloc_snapshot() */
	struct malloc_type *next;	/* list of types seen, under the kmem lock */
	bool		 listed;
};
#define MALLOC_DEFINE(var, nm)	struct malloc_type var = { .name = (nm) }

/*
 * => M_WAITOK: may sleep in "kmem" until memory is there; never returns NULL for sizes up to 1 MiB.
 * => M_NOWAIT: NULL when memory is short; any context but interrupts.
 * Sizes up to KMALLOC_SLAB_MAX come from slabs (8-byte aligned at least; powers of two are aligned
 * to themselves up to 64 bytes); larger ones are whole pages, contiguous in kernel addresses only,
 * followed by an unmapped one if there are several.
 */
#define KMALLOC_SLAB_MAX	1968

void *kmalloc(size_t size, struct malloc_type *type, int flags);
void  kfree(void *p, struct malloc_type *type);		/* NULL is fine */

struct kmem_cache;
/*
 * Objects of up to KMALLOC_SLAB_MAX bytes; align: a power of two up to 512, 0 for 8.  => sleeps for
 * memory; never destroyed.
 */
struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align);
void *kmem_cache_alloc(struct kmem_cache *cache, int flags);
void  kmem_cache_free(struct kmem_cache *cache, void *p);
/*
 * Several objects for one hold of the lock.  => never sleeps; returns how many there were (p[0] and
 * on).
 */
size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, void **p, size_t n);
void  kmem_cache_free_bulk(struct kmem_cache *cache, void **p, size_t n);

void  kmalloc_init(void);
/* Sum over types and caches of objects in use: the leak law compares it before and after a test. */
uint64_t kmalloc_inuse(void);
/* Print each type (or cache) whose count differs from the snapshot taken last. */
void  kmalloc_snapshot(void);
void  kmalloc_diff(void);
void  kmalloc_print(void);
/*
 * Walk every slab: red zones whole, free objects still poisoned, counts right.  Panics with the
 * object's story.
 */
void  kmalloc_check(void);
/*
 * Give the pages of empty slabs back (each cache keeps one otherwise).  => may be called by
 * reclaim; does not sleep.
 */
void  kmem_reap(void);
/*
 * Seam for the self-tests: called instead of panic() when an allocation's rules are broken.  what:
 * "double free", "overflow", "underflow", "use after free", "wrong type", "wild free".  The
 * operation then goes on as harmlessly as it can.
 * => a spin lock may be held.
 */
extern void (*kmem_violation_hook)(const char *what, const char *type, const void *p);

#endif
