/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KASAN: every byte of kernel memory has an owner's permission, or its use is reported.
 *
 * Eight bytes of memory have one byte of shadow:
 *
 *	memory	| 8 bytes | 8 bytes | 8 bytes | 8 bytes |	a 13-byte object with red zones
 *	shadow	|  0xfa   |    0    |    5    |  0xfa   |
 *		 forbidden   allowed  5 of 8   forbidden
 *
 *	shadow(va) = va / 8 + KASAN_SHADOW_OFFSET
 *
 * The compiler puts a call before each access (__asan_load4_noabort(va), ...) and keeps the shadow
 * of its own variables: in the prologue of a function, those between the local arrays; for the
 * image's variables through constructors, which kasan_init() runs.  Everything else says itself
 * when memory changes hands: the slabs their objects and red zones, the page queues their free
 * pages. memcpy and its like are defined here: check, then the real work in lib/string.c.
 *
 * What has shadow: RAM through the direct map, the image, and what kva_alloc() or kstack_alloc()
 * ever handed out (vm/amd64/pmap_shadow.c).  The rest is not checked: there the load of the shadow
 * byte faults, its fix-up says "allowed", and the processor judges the access itself.  User
 * addresses are below all of this and are let pass at once, like everything before kasan_init().
 *
 * What it does not see: accesses by devices, by assembly (copyin and copyout ask kasan_check()),
 * and an object that was freed and handed out again.
 *
 * This file is compiled without checks.
 */
#include "kernel/kasan.h"

#include "kernel/amd64/machdep.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/slab.h"
#include "kernel/thread.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

#define GRANULE		8ul
#define FRAME_MAGIC	0x41b58ab3ul	/* the compiler's, at the start of each marked frame */
#define TEXT_MAX	1200

/* What the compiler tells about a variable of the image; the layout is its own. */
struct global {
	const char	*va;
	size_t		 size, size_with_zone;
	const char	*name, *file;
	size_t		 dynamic;
	const struct {
		const char *file;
		uint32_t    line, column;
	}		*source;	/* gcc: NULL for its own constants; clang: may be NULL */
	size_t		 odr;
};

/* The compiler's interface.  "noabort": the access may go on afterwards. */
#define FOR_EACH_SIZE(f) f(1) f(2) f(4) f(8) f(16)
#define DECLARE(n) void __asan_load##n##_noabort(vm_offset_t); void __asan_store##n##_noabort(vm_offset_t);
FOR_EACH_SIZE(DECLARE)
void __asan_loadN_noabort(vm_offset_t va, size_t len);
void __asan_storeN_noabort(vm_offset_t va, size_t len);
void __asan_register_globals(const struct global *g, size_t n);
void __asan_unregister_globals(const struct global *g, size_t n);
void __asan_handle_no_return(void);

void (*kasan_hook)(const char *what, const char *text);

/* Addresses from here on are checked: none at first, and none while a report is made. */
static vm_offset_t checked_from = UINT64_MAX;

static inline uint8_t *
shadow_of(vm_offset_t va)
{
	return ((uint8_t *)((va >> 3) + KASAN_SHADOW_OFFSET));
}

/* Load a byte or eight of shadow; 0 where there is none. */
#define SHADOW_LOAD(insn, type, p) ({						\
	type _value = 0;							\
	__asm__ volatile("1:\t" insn " %1, %0\n2:\n"				\
	    "\t.pushsection .extable, \"a\"\n\t.balign 8\n\t.quad 1b, 2b\n\t.popsection"	\
	    : "+r"(_value) : "m"(*(const type *)(p)));				\
	_value; })

static inline uint8_t
shadow_byte(vm_offset_t va)
{
	return (SHADOW_LOAD("movb", uint8_t, shadow_of(va)));
}

/* ---- changing permissions ---- */

void
kasan_poison(const void *p, size_t len, uint8_t why)
{
	KASSERT((((uintptr_t)p | len) & (GRANULE - 1)) == 0, "forbidding [%p, +%lu)", p, len);
	raw_memset(shadow_of((vm_offset_t)p), why, len / GRANULE);
}

void
kasan_unpoison(const void *p, size_t len)
{
	uint8_t *shadow = shadow_of((vm_offset_t)p);

	KASSERT(((uintptr_t)p & (GRANULE - 1)) == 0, "allowing [%p, +%lu)", p, len);
	raw_memset(shadow, 0, len / GRANULE);
	if (len % GRANULE != 0)
		shadow[len / GRANULE] = (uint8_t)(len % GRANULE);
}

/* ---- the report ---- */

/* The first forbidden byte of [va, va + len), or 0. */
static vm_offset_t
first_forbidden(vm_offset_t va, size_t len)
{
	vm_offset_t end = va + len;

	while (va < end) {
		uint8_t s;

		if ((va & 63) == 0 && end - va >= 64 && SHADOW_LOAD("movq", uint64_t, shadow_of(va)) == 0) {
			va += 64;
			continue;
		}
		s = shadow_byte(va);
		if (s >= GRANULE || (s != 0 && (va & (GRANULE - 1)) >= s))
			return (va);
		if (s != 0 && (va & ~(GRANULE - 1)) + s < end)
			return ((va & ~(GRANULE - 1)) + s);
		va = (va | (GRANULE - 1)) + 1;
	}
	return (0);
}

static const char *
what_of(vm_offset_t bad)
{
	uint8_t s = shadow_byte(bad);

	if (s < GRANULE)
		/* the eight bytes behind tell what the rest of these is */
		s = shadow_byte(bad + GRANULE);
	switch (s) {
	case KASAN_HEAP_FREE:
		return ("use after free");
	case KASAN_PAGE_FREE:
		return ("use of a free page");
	case KASAN_GLOBAL:
		return ("global out of bounds");
	case KASAN_STACK_SCOPE:
		return ("use of a variable out of scope");
	case KASAN_STACK_LEFT:
	case KASAN_STACK_MID:
	case KASAN_STACK_RIGHT:
		return ("stack out of bounds");
	default:
		return ("heap out of bounds");
	}
}

static char text[TEXT_MAX];		/* whoever set checked_from to UINT64_MAX */
static size_t text_len;

static void say(const char *fmt, ...) __printflike(1, 2);

static void
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_len += (size_t)vsnprintf(text + text_len, sizeof(text) - text_len, fmt, ap);
	va_end(ap);
	text_len = MIN(text_len, sizeof(text) - 1);
}

static void
say_pc(const void *pc)
{
	uint64_t off = 0;
	const char *name = ksym_lookup((uint64_t)pc, &off);

	say("%s+0x%lx", name == NULL ? "?" : name, off);
}

/* "3 bytes behind" */
static void
say_place(vm_offset_t va, vm_offset_t start, size_t size)
{
	if (va < start)
		say("%lu bytes before", start - va);
	else if (va >= start + size)
		say("%lu bytes behind", va - (start + size));
	else
		say("%lu bytes into", va - start);
}

/* The direct map: an object of a slab, or a page. */
static void
say_memory(vm_offset_t va)
{
	struct vm_page *m = PHYS_TO_VM_PAGE(DMAP_TO_PHYS(va));
	struct slab_object o;

	if (m == NULL)
		return;
	if (!slab_describe(va, &o)) {
		say("  in page %u (queue %s, wired %u)\n", m->pfn, vm_pageq_name(m->queue), m->wire_count);
		return;
	}
	say("  ");
	say_place(va, (vm_offset_t)o.p, o.size);
	say(" the %s object %p of type %s, %lu bytes, %s by ", o.live ? "live" : "free", o.p, o.type, o.size,
	    o.live ? "allocated" : "freed");
	say_pc(o.caller);
	say("\n");
}

/* How many variables the compiler told us of, by file. */
#define FILES_MAX	512
static struct {
	const struct global	*g;
	size_t			 n;
} files[FILES_MAX];
static unsigned nfiles;

/* The image: the variable next to va. */
static void
say_global(vm_offset_t va)
{
	for (unsigned f = 0; f < nfiles; f++)
		for (const struct global *g = files[f].g; g < files[f].g + files[f].n; g++) {
			if (va < (vm_offset_t)g->va || va >= (vm_offset_t)g->va + g->size_with_zone)
				continue;
			say("  ");
			say_place(va, (vm_offset_t)g->va, g->size);
			say(" the variable %s of %s, %lu bytes\n", g->name, g->source != NULL ? g->source->file : g->file,
			    g->size);
		}
}

/*
 * A stack: the frame and its variables.  Below the variables the compiler leaves its magic word, a
 * string ("2 32 8 4 name 64 16 3 buf": how many; of each the offset, the size, the length of the
 * name, the name) and the function's address.
 */
static void
say_frame(vm_offset_t va)
{
	vm_offset_t at = va & ~(GRANULE - 1), stop = at - PAGE_SIZE;
	const uint64_t *frame;
	const char *s;
	uint64_t n;

	while (at > stop && !(shadow_byte(at) == KASAN_STACK_LEFT && *(const uint64_t *)at == FRAME_MAGIC))
		at -= GRANULE;
	if (at == stop)
		return;
	frame = (const uint64_t *)at;
	s = (const char *)frame[1];
	say("  %lu bytes into the frame of ", va - at);
	say_pc((const void *)frame[2]);
	say(":");
	for (n = strtou64(s, &s, 10); n > 0; n--) {
		uint64_t off = strtou64(s + 1, &s, 10), size = strtou64(s + 1, &s, 10), len = strtou64(s + 1, &s, 10);

		say(" %.*s [%lu, %lu)", (int)MIN(len, 40ul), s + 1, off, off + size);
		s += 1 + len;
	}
	say("\n");
}

/* Three rows of shadow; the middle one is va's. */
static void
say_shadow(vm_offset_t va)
{
	vm_offset_t row = (va & ~127ul) - 128;

	for (int i = 0; i < 3; i++, row += 128) {
		say("  %016lx:", row);
		for (vm_offset_t at = row; at < row + 128; at += GRANULE)
			say(at == (va & ~(GRANULE - 1)) ? "[%02x]" : " %02x ", shadow_byte(at));
		say("\n");
	}
}

static bool
is_stack_code(uint8_t s)
{
	return (s == KASAN_STACK_LEFT || s == KASAN_STACK_MID || s == KASAN_STACK_RIGHT || s == KASAN_STACK_SCOPE);
}

static void
report(vm_offset_t va, size_t len, bool write, const void *pc)
{
	vm_offset_t bad = first_forbidden(va, len);
	const char *what = what_of(bad);

	/* Nothing is checked meanwhile; a second report that comes across this one is lost. */
	if (panicking || __atomic_exchange_n(&checked_from, UINT64_MAX, __ATOMIC_ACQUIRE) == UINT64_MAX)
		return;
	text_len = 0;
	say("kasan: %s: %s %lu bytes at 0x%lx by ", what, write ? "write of" : "read of", len, va);
	say_pc(pc);
	if (bad != va)
		say(", first bad byte 0x%lx", bad);
	say("\n");
	if (is_stack_code(shadow_byte(bad)) || is_stack_code(shadow_byte(bad + GRANULE)))
		say_frame(bad);
	else if (bad >= KERNBASE)
		say_global(bad);
	else if (bad < DMAP_BASE + DMAP_SIZE)
		say_memory(bad);
	say_shadow(bad);
	if (kasan_hook == NULL)
		panic("%s", text);
	kasan_hook(what, text);
	__atomic_store_n(&checked_from, DMAP_BASE, __ATOMIC_RELEASE);
}

/* ---- checks ---- */

/*
 * Accesses of up to 16 bytes: one byte of shadow decides, or two or three if it reaches over their
 * edges.
 */
static inline bool
allowed(vm_offset_t va, size_t len)
{
	vm_offset_t last = va + len - 1;
	uint8_t s = shadow_byte(last);

	if (s != 0 && (s >= GRANULE || (last & (GRANULE - 1)) >= s))
		return (false);
	for (va &= ~(GRANULE - 1); va + GRANULE <= last; va += GRANULE)
		if (shadow_byte(va) != 0)
			return (false);
	return (true);
}

#define DEFINE(n)										\
void __asan_load##n##_noabort(vm_offset_t va)							\
{												\
	if (va >= checked_from && unlikely(!allowed(va, n)))					\
		report(va, n, false, __builtin_return_address(0));				\
}												\
void __asan_store##n##_noabort(vm_offset_t va)							\
{												\
	if (va >= checked_from && unlikely(!allowed(va, n)))					\
		report(va, n, true, __builtin_return_address(0));				\
}
FOR_EACH_SIZE(DEFINE)

static inline void
check(const void *p, size_t len, bool write, const void *pc)
{
	vm_offset_t va = (vm_offset_t)p;

	if (va >= checked_from && len > 0 && unlikely(first_forbidden(va, len) != 0))
		report(va, len, write, pc);
}

void
kasan_check(const void *p, size_t len, bool write)
{
	check(p, len, write, __builtin_return_address(0));
}

void
__asan_loadN_noabort(vm_offset_t va, size_t len)
{
	check((const void *)va, len, false, __builtin_return_address(0));
}

void
__asan_storeN_noabort(vm_offset_t va, size_t len)
{
	check((const void *)va, len, true, __builtin_return_address(0));
}

void *
memcpy(void *restrict dst, const void *restrict src, size_t len)
{
	check(src, len, false, __builtin_return_address(0));
	check(dst, len, true, __builtin_return_address(0));
	return (raw_memcpy(dst, src, len));
}

void *
memmove(void *dst, const void *src, size_t len)
{
	check(src, len, false, __builtin_return_address(0));
	check(dst, len, true, __builtin_return_address(0));
	return (raw_memmove(dst, src, len));
}

void *
memset(void *dst, int c, size_t len)
{
	check(dst, len, true, __builtin_return_address(0));
	return (raw_memset(dst, c, len));
}

/* ---- the compiler's variables ---- */

void
__asan_register_globals(const struct global *g, size_t n)
{
	if (nfiles < FILES_MAX) {
		files[nfiles].g = g;
		files[nfiles++].n = n;
	}
	for (; n > 0; n--, g++) {
		size_t size = roundup(g->size, GRANULE);

		kasan_unpoison(g->va, g->size);
		kasan_poison(g->va + size, g->size_with_zone - size, KASAN_GLOBAL);
	}
}

/* The image is never unloaded, but the destructors are there. */
void
__asan_unregister_globals(const struct global *g, size_t n)
{
}

void
kasan_leave_stack(void)
{
	vm_offset_t from = (vm_offset_t)__builtin_frame_address(0), top = curthread->kstack + KSTACK_PAGES * PAGE_SIZE;

	kasan_unpoison((void *)from, top - from);
}

/*
 * Called before functions that do not return.  Whatever stack they leave marked is never used
 * again, or wiped by kstack_alloc() or kasan_leave_stack().
 */
void
__asan_handle_no_return(void)
{
}

extern void (*const init_array_start[])(void), (*const init_array_end[])(void);

void
kasan_init(void)
{
	for (void (*const *f)(void) = init_array_start; f < init_array_end; f++)
		(*f)();
	checked_from = DMAP_BASE;
}
