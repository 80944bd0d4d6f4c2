/* SPDX-License-Identifier: BSD-2-Clause */
/* The words that every room uses: sizes, addresses, page arithmetic, small macros. */
#ifndef KERNEL_LIB_TYPES_H
#define KERNEL_LIB_TYPES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t	vm_offset_t;	/* a virtual address, bytes */
typedef uint64_t	vm_paddr_t;	/* a physical address, bytes */
typedef uint64_t	vm_size_t;	/* a length, bytes */
typedef uint64_t	vm_pindex_t;	/* an index in an object, pages */
typedef int64_t		vm_ooffset_t;	/* an offset in an object or a file, bytes */
typedef int64_t		off_t;		/* an offset in a file, bytes */
/* a disk address; the comment beside it says in which blocks */
typedef int64_t		daddr_t;
typedef uint64_t	ino_t;
typedef int64_t		ssize_t;

#define PAGE_SHIFT	12
#define PAGE_SIZE	4096ul
#define PAGE_MASK	(PAGE_SIZE - 1)
#define DEV_BSHIFT	9
#define DEV_BSIZE	512ul		/* the unit of b_blkno and of a page's valid and dirty bits, bytes */

#define trunc_page(x)	((uint64_t)(x) & ~PAGE_MASK)
#define round_page(x)	(((uint64_t)(x) + PAGE_MASK) & ~PAGE_MASK)
#define IDX_TO_OFF(i)	((vm_ooffset_t)((vm_pindex_t)(i) << PAGE_SHIFT))
#define OFF_TO_IDX(o)	((vm_pindex_t)((uint64_t)(o) >> PAGE_SHIFT))

#define nitems(a)	(sizeof(a) / sizeof((a)[0]))
#define roundup(x, y)	((((x) + ((y) - 1)) / (y)) * (y))
#define howmany(x, y)	(((x) + ((y) - 1)) / (y))
#define MIN(a, b)	({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a < _b ? _a : _b; })
#define MAX(a, b)	({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a > _b ? _a : _b; })
/* A look at a field without the lock that its letter names, on purpose: what is seen may be old already. */
#define PEEK(field)	__atomic_load_n(&(field), __ATOMIC_RELAXED)
#define container_of(p, type, field) \
	((type *)((char *)(p) - offsetof(type, field)))

#define KiB		(1024ul)
#define MiB		(1024ul * KiB)
#define GiB		(1024ul * MiB)

#define __packed	__attribute__((packed))
#define __aligned(n)	__attribute__((aligned(n)))
#define __noreturn	__attribute__((noreturn))
#define __printflike(f, a) __attribute__((format(printf, f, a)))
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

#endif
