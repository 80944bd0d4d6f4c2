/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KASAN: which bytes of kernel memory may be touched right now.
 *
 * Builds made with SAN=kasan or SAN=1 check every access that the compiler emits, and every memcpy,
 * memmove and memset.  Whoever owns memory says here when it changes hands.  In other builds all of
 * this is nothing.
 */
#ifndef KERNEL_KASAN_H
#define KERNEL_KASAN_H

#include "kernel/lib/types.h"

/*
 * Why bytes are forbidden.  0 is "allowed", 1 to 7 "the first 1 to 7 of eight bytes are allowed";
 * 0xf_ are the compiler's.
 */
#define KASAN_STACK_LEFT	0xf1	/* before the first variable of a frame */
#define KASAN_STACK_MID		0xf2
#define KASAN_STACK_RIGHT	0xf3
#define KASAN_STACK_SCOPE	0xf8
#define KASAN_GLOBAL		0xf9	/* behind a variable of the image */
#define KASAN_HEAP_ZONE		0xfa	/* around objects */
#define KASAN_HEAP_FREE		0xfb	/* objects that nobody has */
#define KASAN_PAGE_FREE		0xfc	/* pages on the free lists */

/*
 * Seam for the self-tests: called instead of panic(), and the access then happens.  what: "heap out
 * of bounds", "use after free", "stack out of bounds", "global out of bounds" or "use of a free
 * page"; text: the whole report.
 * => any context.
 */
extern void (*kasan_hook)(const char *what, const char *text);

#if FAULTLINE_KASAN

/* A function that breaks a rule on purpose. */
#define __no_kasan	__attribute__((no_sanitize_address, noinline))

/* Run the compiler's constructors, then check.  => the final tables are in use. */
void kasan_init(void);
/* Forbid [p, p + len), which begins and ends at a multiple of 8. */
void kasan_poison(const void *p, size_t len, uint8_t why);
/*
 * Allow [p, p + len); p is a multiple of 8.  If len isn't, the last few bytes of the last eight
 * become forbidden.
 */
void kasan_unpoison(const void *p, size_t len);
/* The caller goes to user mode and leaves its frames, and those above, for good: others will lie there. */
void kasan_leave_stack(void);
/* Report if a byte of [p, p + len) is forbidden: for accesses by assembly. */
void kasan_check(const void *p, size_t len, bool write);

/* lib/string.c: without checks. */
void *raw_memcpy(void *restrict dst, const void *restrict src, size_t len);
void *raw_memmove(void *dst, const void *src, size_t len);
void *raw_memset(void *dst, int c, size_t len);

#else

#define __no_kasan

static inline void kasan_init(void) { }
static inline void kasan_poison(const void *p, size_t len, uint8_t why) { }
static inline void kasan_unpoison(const void *p, size_t len) { }
static inline void kasan_leave_stack(void) { }
static inline void kasan_check(const void *p, size_t len, bool write) { }

#endif

#endif
