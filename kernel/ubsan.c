/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The runtime of -fsanitize=undefined.
 *
 * Before each operation that C might leave undefined the compiler puts a check, and in its failing
 * branch a call of a handler in here, with a static structure that says where and about which
 * types, and with the operands:
 *
 *	x << n	->	if (n >= 32) __ubsan_handle_shift_out_of_bounds(&{ file, line, column, types }, x, n);
 *
 * A handler prints one line and a backtrace, the first time for each place, and returns: the
 * operation then does whatever the processor does.  (A trap instead would be smaller, but it would
 * end the run at the first finding.)  What happened is counted; the self-tests' laws fail the test
 * in which it did.  The word `ubsan=panic` stops the machine instead.
 *
 * The structures are the compilers' interface, the same for gcc and clang.  This file itself is
 * compiled without checks.
 */
#include "kernel/ubsan.h"

#include "kernel/amd64/machdep.h"
#include "kernel/cmdline.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

/* ---- what the compiler tells ---- */

struct source {
	const char	*file;
	uint32_t	 line;
	uint32_t	 column;	/* SEEN once this place was reported */
};
#define SEEN	UINT32_MAX

struct type {
	uint16_t	 kind;		/* TYPE_* */
	/* integers: bit 0: signed; the rest: log2 of the width in bits */
	uint16_t	 info;
	char		 name[];	/* quoted */
};
#define TYPE_INTEGER	0

/* What comes with each kind of finding; all begin with the place. */
struct with_type	{ struct source at; struct type *type; };
struct with_two_types	{ struct source at; struct type *left, *right; };
struct with_access	{ struct source at; struct type *type; uint8_t log2_align, access; };
struct with_argument	{ struct source at; struct source attribute; int argument; };
struct with_assumption	{ struct source at; struct source assumption; struct type *type; };

typedef uintptr_t value_t;	/* a value of up to 64 bits, or a pointer to a wider one */

/* The interface, in the order of the definitions. */
void __ubsan_handle_add_overflow(struct with_type *d, value_t left, value_t right);
void __ubsan_handle_sub_overflow(struct with_type *d, value_t left, value_t right);
void __ubsan_handle_mul_overflow(struct with_type *d, value_t left, value_t right);
void __ubsan_handle_negate_overflow(struct with_type *d, value_t value);
void __ubsan_handle_divrem_overflow(struct with_type *d, value_t left, value_t right);
void __ubsan_handle_shift_out_of_bounds(struct with_two_types *d, value_t left, value_t right);
void __ubsan_handle_out_of_bounds(struct with_two_types *d, value_t index);
void __ubsan_handle_type_mismatch_v1(struct with_access *d, value_t pointer);
void __ubsan_handle_pointer_overflow(struct source *d, value_t base, value_t result);
void __ubsan_handle_vla_bound_not_positive(struct with_type *d, value_t bound);
void __ubsan_handle_load_invalid_value(struct with_type *d, value_t value);
void __ubsan_handle_nonnull_arg(struct with_argument *d);
void __ubsan_handle_nonnull_return_v1(struct source *attribute, struct source *d);
void __ubsan_handle_invalid_builtin(struct source *d);
void __ubsan_handle_alignment_assumption(struct with_assumption *d, value_t pointer, value_t align, value_t offset);
void __ubsan_handle_builtin_unreachable(struct source *d);
void __ubsan_handle_missing_return(struct source *d);

void (*ubsan_hook)(const char *what, const char *text);

static uint64_t count;

uint64_t
ubsan_count(void)
{
	return (__atomic_load_n(&count, __ATOMIC_RELAXED));
}

/* ---- the report ---- */

static void report(struct source *at, const char *what, const char *fmt, ...) __printflike(3, 4);

static void
report(struct source *at, const char *what, const char *fmt, ...)
{
	uint32_t column = __atomic_load_n(&at->column, __ATOMIC_RELAXED);
	const char *word;
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (ubsan_hook != NULL) {
		ubsan_hook(what, text);
		return;
	}
	__atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
	word = cmdline_get("ubsan");
	if (word != NULL && streq(word, "panic"))
		panic("ubsan: %s:%u:%u: %s: %s", at->file, at->line, column, what, text);
	if (column == SEEN || __atomic_exchange_n(&at->column, SEEN, __ATOMIC_RELAXED) == SEEN || panicking)
		return;
	printf("# ubsan: %s:%u:%u: %s: %s\n", at->file, at->line, column, what, text);
	backtrace_print((uint64_t)__builtin_return_address(0), *(uint64_t *)__builtin_frame_address(0));
}

static inline bool
is_signed(const struct type *t)
{
	return (t->kind == TYPE_INTEGER && (t->info & 1) != 0);
}

static inline unsigned
width(const struct type *t)
{
	return (1u << (t->info >> 1));
}

#define TEXT_MAX	24

/* A value in decimal; wider ones than 64 bits do not occur here. */
static const char *
show(const struct type *t, value_t value, char text[TEXT_MAX])
{
	unsigned unused = t->kind == TYPE_INTEGER && width(t) < 64 ? 64 - width(t) : 0;

	if (t->kind != TYPE_INTEGER || width(t) > 64)
		return ("?");
	if (is_signed(t))
		snprintf(text, TEXT_MAX, "%ld", (int64_t)(value << unused) >> unused);
	else
		snprintf(text, TEXT_MAX, "%lu", value << unused >> unused);
	return (text);
}

/* ---- arithmetic ---- */

static void
overflow(struct with_type *d, value_t left, const char *sign, value_t right)
{
	char a[TEXT_MAX], b[TEXT_MAX];

	report(&d->at, "overflow", "%s %s %s does not fit %s", show(d->type, left, a), sign, show(d->type, right, b), d->type->name);
}

void
__ubsan_handle_add_overflow(struct with_type *d, value_t left, value_t right)
{
	overflow(d, left, "+", right);
}

void
__ubsan_handle_sub_overflow(struct with_type *d, value_t left, value_t right)
{
	overflow(d, left, "-", right);
}

void
__ubsan_handle_mul_overflow(struct with_type *d, value_t left, value_t right)
{
	overflow(d, left, "*", right);
}

void
__ubsan_handle_negate_overflow(struct with_type *d, value_t value)
{
	char a[TEXT_MAX];

	report(&d->at, "overflow", "-(%s) does not fit %s", show(d->type, value, a), d->type->name);
}

void
__ubsan_handle_divrem_overflow(struct with_type *d, value_t left, value_t right)
{
	char a[TEXT_MAX], b[TEXT_MAX];

	report(&d->at, "division", "%s divided by %s, type %s", show(d->type, left, a), show(d->type, right, b), d->type->name);
}

void
__ubsan_handle_shift_out_of_bounds(struct with_two_types *d, value_t left, value_t right)
{
	char a[TEXT_MAX], b[TEXT_MAX];

	report(&d->at, "shift", "%s shifted by %s, type %s of %u bits", show(d->left, left, a), show(d->right, right, b),
	    d->left->name, width(d->left));
}

/* ---- memory ---- */

void
__ubsan_handle_out_of_bounds(struct with_two_types *d, value_t index)
{
	char a[TEXT_MAX];

	report(&d->at, "bounds", "index %s of an array of type %s", show(d->right, index, a), d->left->name);
}

void
__ubsan_handle_type_mismatch_v1(struct with_access *d, value_t pointer)
{
	static const char *const accesses[] = {
		"load from", "store to", "reference to", "member of", "member function of", "constructor of",
		"cast of", "cast of", "cast of", "cast of", "nonnull", "bounds of"
	};
	const char *access = d->access < nitems(accesses) ? accesses[d->access] : "access to";
	uint64_t align = 1ul << d->log2_align;

	if (pointer == 0)
		report(&d->at, "null pointer", "%s a null pointer of type %s", access, d->type->name);
	else if ((pointer & (align - 1)) != 0)
		report(&d->at, "misaligned", "%s 0x%lx of type %s, which wants %lu bytes of alignment", access, pointer,
		    d->type->name, align);
	else
		report(&d->at, "object size", "%s 0x%lx: no room there for type %s", access, pointer, d->type->name);
}

void
__ubsan_handle_pointer_overflow(struct source *d, value_t base, value_t result)
{
	report(d, "pointer overflow", "0x%lx became 0x%lx", base, result);
}

void
__ubsan_handle_alignment_assumption(struct with_assumption *d, value_t pointer, value_t align, value_t offset)
{
	report(&d->at, "misaligned", "0x%lx, said to be aligned to %lu (offset %lu), type %s", pointer, align, offset,
	    d->type->name);
}

/* ---- the rest ---- */

void
__ubsan_handle_vla_bound_not_positive(struct with_type *d, value_t bound)
{
	char a[TEXT_MAX];

	report(&d->at, "bounds", "an array of %s elements", show(d->type, bound, a));
}

void
__ubsan_handle_load_invalid_value(struct with_type *d, value_t value)
{
	char a[TEXT_MAX];

	report(&d->at, "invalid value", "%s is no value of type %s", show(d->type, value, a), d->type->name);
}

void
__ubsan_handle_nonnull_arg(struct with_argument *d)
{
	report(&d->at, "null argument", "argument %d must not be null", d->argument);
}

void
__ubsan_handle_nonnull_return_v1(struct source *attribute, struct source *d)
{
	report(d, "null result", "of a function declared not to return null");
}

void
__ubsan_handle_invalid_builtin(struct source *d)
{
	report(d, "builtin", "__builtin_ctz or __builtin_clz of 0");
}

/* There is nothing to go on with after these two. */
void
__ubsan_handle_builtin_unreachable(struct source *d)
{
	panic("ubsan: %s:%u: a place was reached that cannot be reached", d->file, d->line);
}

void
__ubsan_handle_missing_return(struct source *d)
{
	panic("ubsan: %s:%u: a function ended without returning a value", d->file, d->line);
}
