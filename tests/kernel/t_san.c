/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sanitizers find what is planted for them, call it by its name, and find nothing else.
 *
 * The rules are broken through pointers and numbers that the compiler cannot see through, or it
 * would refuse or drop the code; reads wherever a write could do harm.
 */
#include "kernel/kasan.h"
#include "kernel/lib/errno.h"
#include "kernel/lock.h"
#include "kernel/malloc.h"
#include "kernel/slab.h"
#include "kernel/thread.h"
#include "kernel/ubsan.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_kern.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_TEST, "t_san");

#define OPAQUE(x)	({ __typeof__(x) _x = (x); __asm__ volatile("" : "+r"(_x) : : "memory"); _x; })

/* ---- what was reported ---- */

static volatile int reports;
static char report_what[40], report_text[1300];

static void
catch(const char *what, const char *text)
{
	reports++;
	strlcpy(report_what, what, sizeof(report_what));
	strlcpy(report_text, text, sizeof(report_text));
}

/*
 * The hooks are there if their sanitizer is.  The compiler doesn't count on its own checks calling
 * anybody, hence the barriers.
 */
static void
set_hooks(void (*hook)(const char *what, const char *text))
{
	__asm__ volatile("" : : : "memory");
	if (FAULTLINE_KASAN)
		kasan_hook = hook;
	if (FAULTLINE_UBSAN)
		ubsan_hook = hook;
	__asm__ volatile("" : : : "memory");
}

static void
watch(void)
{
	reports = 0;
	report_what[0] = report_text[0] = '\0';
	set_hooks(catch);
}

/* One report since watch(): `what`, and its text says `part`. */
static void
expect(const char *what, const char *part)
{
	set_hooks(NULL);
	CHECK_EQ(reports, 1);
	CHECK_STR(report_what, what);
	if (strstr(report_text, part) == NULL)
		ktest_fail(__FILE__, __LINE__, "the report does not say \"%s\" but \"%s\"", part, report_text);
}

static void
expect_nothing(void)
{
	set_hooks(NULL);
	CHECK_EQ(reports, 0);
	if (reports > 0)
		ktest_fail(__FILE__, __LINE__, "%s: %s", report_what, report_text);
}

static bool
skip_without(bool built, const char *word)
{
	if (!built)
		ktest_skip("this kernel was made without SAN=%s", word);
	return (!built);
}

/* ---- KASAN ---- */

static __attribute__((noinline)) uint8_t
read_byte(const void *p)
{
	return (*(const volatile uint8_t *)OPAQUE(p));
}

static __attribute__((noinline)) void
write_byte(void *p, uint8_t value)
{
	*(volatile uint8_t *)OPAQUE(p) = value;
}

KTEST(san, heap_overflow_by_one_byte)
{
	static const size_t sizes[] = { 1, 8, 13, 100, 256, 1000, KMALLOC_SLAB_MAX, 3000, 5000, 8191 };

	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	for (size_t i = 0; i < nitems(sizes); i++) {
		uint8_t *p = kmalloc(sizes[i], &M_TEST, M_WAITOK);

		watch();
		write_byte(p + sizes[i] - 1, 1);
		(void)read_byte(p);
		expect_nothing();
		watch();
		(void)read_byte(p + sizes[i]);
		expect("heap out of bounds", "read of 1 bytes");
		watch();
		write_byte(p + sizes[i], KMEM_ZONE);		/* what is there in any case */
		expect("heap out of bounds", "write of 1 bytes");
		kfree(p, &M_TEST);
	}
}

KTEST(san, heap_underflow_and_the_objects_story)
{
	uint8_t *p;

	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	p = kmalloc(40, &M_TEST, M_WAITOK);
	watch();
	(void)read_byte(p - 1);
	expect("heap out of bounds", "1 bytes before the live object");
	watch();
	(void)read_byte(p + 42);
	expect("heap out of bounds", "2 bytes behind the live object");
	CHECK(strstr(report_text, "of type t_san, 40 bytes, allocated by ktest_san_heap_underflow_and_the_objects_story") != NULL);
	kfree(p, &M_TEST);
}

/*
 * Every object size in a granule or three, every place, every width: reported if and only if it
 * leaves the object.
 */
KTEST(san, heap_edges_are_exact)
{
	struct word { uint64_t v; } __packed;
	struct half { uint32_t v; } __packed;

	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	for (int size = 1; size <= 24; size++) {
		uint8_t *p = kmalloc((size_t)size, &M_TEST, M_WAITOK);

		for (int at = -8; at < size + 8; at++)
			for (int width = 1; width <= 16; width *= 2) {
				const uint8_t *q = OPAQUE(p) + at;
				uint8_t copy[16];

				watch();
				if (width == 1)
					(void)read_byte(q);
				else if (width == 4)
					(void)((const volatile struct half *)q)->v;
				else if (width == 8)
					(void)((const volatile struct word *)q)->v;
				else
					memcpy(copy, q, (size_t)width);
				set_hooks(NULL);
				if (!CHECK_EQ(reports, at < 0 || at + width > size))
					printf("# %d bytes at %d of %d\n", width, at, size);
			}
		kfree(p, &M_TEST);
	}
}

KTEST(san, object_used_after_free)
{
	uint8_t *keep, *p;

	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	keep = kmalloc(320, &M_TEST, M_WAITOK);		/* keeps the slab from being given back */
	p = kmalloc(320, &M_TEST, M_WAITOK);
	kfree(p, &M_TEST);
	watch();
	(void)read_byte(p + 17);
	expect("use after free", "17 bytes into the free object");
	CHECK(strstr(report_text, "of type t_san, 320 bytes, freed by ktest_san_object_used_after_free") != NULL);
	watch();
	memset(p, KMEM_FREED, 8);
	expect("use after free", "write of 8 bytes");
	kfree(keep, &M_TEST);
}

KTEST(san, page_used_after_free)
{
	static struct spinlock still = SPINLOCK_INITIALIZER("t_san", RANK_NONE);
	struct vm_page *m;
	uint8_t *p;

	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	m = vm_page_alloc(NULL, 0, VM_ALLOC_WIRED);
	CHECK_OR_RETURN(m != NULL);
	p = VM_PAGE_TO_DMAP(m);
	watch();
	memset(p, 0, PAGE_SIZE);
	expect_nothing();
	spin_lock(&still);			/* nobody else comes and takes the page */
	vm_page_free(m);
	watch();
	(void)read_byte(p + 1234);
	spin_unlock(&still);
	expect("use of a free page", "queue free");
	p = kmalloc(PAGE_SIZE, &M_TEST, M_WAITOK);
	spin_lock(&still);
	kfree(p, &M_TEST);
	watch();
	(void)read_byte(p + PAGE_SIZE - 1);
	spin_unlock(&still);
	expect("use of a free page", "queue free");
}

static __attribute__((noinline)) void
use_array(long at)
{
	uint8_t array[13];

	memset(array, 7, sizeof(array));
	(void)read_byte(OPAQUE(&array[0]) + at);
}

KTEST(san, stack_overflow_by_one_byte)
{
	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	watch();
	for (long i = 0; i < 13; i++)
		use_array(i);
	expect_nothing();
	watch();
	use_array(13);
	expect("stack out of bounds", "into the frame of use_array");
	CHECK(strstr(report_text, " array") != NULL);
	watch();
	use_array(-1);
	expect("stack out of bounds", "into the frame of use_array");
}

static uint8_t bytes_of_san[13] = { 1, 2, 3 };
static const char text_of_san[] = "a constant of the image";

KTEST(san, global_overflow_by_one_byte)
{
	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	watch();
	for (size_t i = 0; i < sizeof(bytes_of_san); i++)
		(void)read_byte(bytes_of_san + i);
	expect_nothing();
	watch();
	(void)read_byte(OPAQUE(&bytes_of_san[0]) + sizeof(bytes_of_san));
	expect("global out of bounds", "0 bytes behind the variable bytes_of_san of ");
	watch();
	(void)read_byte(OPAQUE(&text_of_san[0]) + sizeof(text_of_san) + 3);
	expect("global out of bounds", "3 bytes behind the variable text_of_san of ");
}

/* What compiled code never touches itself. */
KTEST(san, memory_functions_and_copies_are_checked)
{
	uint8_t *p, from[32];

	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	p = kmalloc(20, &M_TEST, M_WAITOK);
	memset(from, KMEM_ZONE, sizeof(from));
	watch();
	memcpy(p, from, 21);
	expect("heap out of bounds", "write of 21 bytes");
	CHECK(strstr(report_text, "0 bytes behind") != NULL);
	watch();
	memmove(from, p, 24);
	expect("heap out of bounds", "read of 24 bytes");
	watch();
	CHECK_EQ(copyout(p, VM_USER_MIN, 21), EFAULT);
	expect("heap out of bounds", "read of 21 bytes");
	watch();
	CHECK_EQ(copyin(VM_USER_MIN, p, 30), EFAULT);
	expect("heap out of bounds", "write of 30 bytes");
	watch();
	memcpy(p, from, 20);
	memset(p, 0, 0);
	expect_nothing();
	kfree(p, &M_TEST);
}

/* Dies in the middle of a marked frame. */
static void
die_deep(void *arg)
{
	void (*leave)(void) = thread_exit;
	uint8_t array[200];

	memset(array, 1, sizeof(array));
	if (read_byte(array) == 1)
		OPAQUE(leave)();
}

/* Whoever gets the stack next must not meet the marks. */
KTEST(san, stacks_are_clean_when_used_again)
{
	vm_offset_t stack;
	struct thread *td;

	if (skip_without(FAULTLINE_KASAN, "kasan"))
		return;
	td = thread_create("t_san", PRI_KERNEL, die_deep, NULL);
	CHECK_OR_RETURN(td != NULL);
	stack = td->kstack;
	thread_join(td);
	watch();
	CHECK_EQ(kstack_alloc(), stack);
	kasan_check((const void *)stack, KSTACK_PAGES * PAGE_SIZE, false);
	expect_nothing();
	kstack_free(stack);
}

/* ---- UBSan ---- */

static volatile int big = INT32_MAX, lowest = INT32_MIN, bits = 32, minus = -1;
static volatile unsigned far = 4;

KTEST(san, undefined_arithmetic)
{
	volatile int result;

	if (skip_without(FAULTLINE_UBSAN, "ubsan"))
		return;
	watch();
	result = 1 << (bits - 1 + minus);
	result = big + minus;
	expect_nothing();
	watch();
	result = 1 << bits;
	expect("shift", "1 shifted by 32, type 'int' of 32 bits");
	watch();
	result = 1 << minus;
	expect("shift", "1 shifted by -1");
	watch();
	result = big - minus;
	expect("overflow", "2147483647 - -1 does not fit 'int'");
	watch();
	result = big * bits;
	expect("overflow", "2147483647 * 32");
	watch();
	result = -lowest;
	expect("overflow", "-(-2147483648) does not fit 'int'");
	(void)result;
}

KTEST(san, undefined_index)
{
	static volatile int table[4];
	volatile int result;

	if (skip_without(FAULTLINE_UBSAN, "ubsan"))
		return;
	watch();
	result = table[far - 1];
	expect_nothing();
	/* The address only: the byte there is KASAN's business. */
	watch();
	result = (int)(uintptr_t)&table[far + 1];
	expect("bounds", "index 5 of an array of type ");
	(void)result;
}

KTEST(san, undefined_access)
{
	static uint8_t raw[16];
	volatile uint64_t result;
	volatile bool truth;
	uint8_t three = 3;

	if (skip_without(FAULTLINE_UBSAN, "ubsan"))
		return;
	watch();
	result = *(uint32_t *)(void *)OPAQUE(&raw[(4 - (uintptr_t)raw) & 3]);
	expect_nothing();
	watch();
	result = *(uint32_t *)(void *)OPAQUE(&raw[(5 - (uintptr_t)raw) & 3]);
	expect("misaligned", "which wants 4 bytes of alignment");
	watch();
	truth = *(const bool *)OPAQUE(&three);
	expect("invalid value", "3 is no value of type");
	(void)truth;
	(void)result;
}
