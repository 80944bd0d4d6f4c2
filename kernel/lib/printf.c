/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * printf.
 *
 * vformat() reads one conversion at a time into a `struct spec` and hands it to the function for
 * its kind; each ends in emit_field(), the only place that knows about padding:
 *
 *	|<-------- width -------->|
 *	[spaces] prefix zeros digits	right-adjusted; '0': zeros after the prefix instead
 *	prefix zeros digits [spaces]		with '-'
 *
 * Output to the console is gathered in a small buffer on the stack and written in pieces, so that
 * the console's lock is taken once per line and not once per character.  Nothing here allocates or
 * sleeps, so printf works in interrupts and in a panic.  An unknown conversion is printed as it
 * stands.
 */
#include "kernel/lib/printf.h"

#include "kernel/console.h"
#include "kernel/lib/string.h"

struct sink {
	void	(*put)(void *arg, char c);
	void	*arg;
	int	 count;			/* characters so far */
};

/* One conversion, as parsed. */
struct spec {
	bool	left, zero, plus, space, alt;
	int	width;
	int	precision;		/* -1: not given */
	int	size;			/* bytes of the integer argument */
	char	conv;
};

static inline void
emit(struct sink *out, char c)
{
	out->put(out->arg, c);
	out->count++;
}

static void
emit_repeated(struct sink *out, char c, int n)
{
	while (n-- > 0)
		emit(out, c);
}

static void
emit_field(struct sink *out, const struct spec *sp, const char *prefix, int zeros, const char *text,
    int len)
{
	int prefix_len = (int)strlen(prefix);
	int pad = sp->width - prefix_len - zeros - len;

	if (!sp->left)
		emit_repeated(out, ' ', pad);
	for (int i = 0; i < prefix_len; i++)
		emit(out, prefix[i]);
	emit_repeated(out, '0', zeros);
	for (int i = 0; i < len; i++)
		emit(out, text[i]);
	if (sp->left)
		emit_repeated(out, ' ', pad);
}

/* Digits of `value` before `end`, backwards; returns the first. */
static char *
digits(char *end, uint64_t value, unsigned base, bool upper)
{
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	for (; value != 0; value /= base)
		*--end = set[value % base];
	return (end);
}

static void
format_number(struct sink *out, const struct spec *sp, uint64_t value, bool negative)
{
	char buf[24], *end = buf + sizeof(buf), *p;		/* 22 octal digits at most */
	const char *prefix = "";
	int len, zeros = 0;
	unsigned base = 10;

	switch (sp->conv) {
	case 'x':
	case 'X':
		base = 16;
		if (sp->alt && value != 0)
			prefix = sp->conv == 'x' ? "0x" : "0X";
		break;
	case 'p':
		base = 16;
		prefix = "0x";
		break;
	case 'o':
		base = 8;
		break;
	case 'd':
	case 'i':
		prefix = negative ? "-" : sp->plus ? "+" : sp->space ? " " : "";
		break;
	}
	p = digits(end, value, base, sp->conv == 'X');
	len = (int)(end - p);
	if (sp->precision >= 0)
		zeros = sp->precision - len;
	else if (len == 0)
		zeros = 1;			/* zero has a digit, unless the precision is 0 */
	if (sp->precision < 0 && sp->zero && !sp->left)
		zeros = MAX(zeros, sp->width - len - (int)strlen(prefix));
	if (sp->conv == 'o' && sp->alt && zeros <= 0)
		zeros = 1;
	emit_field(out, sp, prefix, MAX(zeros, 0), p, len);
}

static void
format_string(struct sink *out, const struct spec *sp, const char *s)
{
	size_t max = sp->precision >= 0 ? (size_t)sp->precision : (size_t)INT32_MAX;

	if (s == NULL)
		s = "(null)";
	emit_field(out, sp, "", 0, s, (int)strnlen(s, max));
}

/* va_arg through a pointer, so that helpers can advance the caller's list. */
struct args {
	va_list	ap;
};

static uint64_t
unsigned_arg(struct args *args, int size)
{
	uint64_t value = size == 8 ? va_arg(args->ap, uint64_t) : va_arg(args->ap, unsigned);

	return (size == 1 ? (uint8_t)value : size == 2 ? (uint16_t)value : value);
}

static int64_t
signed_arg(struct args *args, int size)
{
	int64_t value = size == 8 ? va_arg(args->ap, int64_t) : va_arg(args->ap, int);

	return (size == 1 ? (int8_t)value : size == 2 ? (int16_t)value : value);
}

/* A number in the format itself, or `*`: the next argument. */
static int
parse_count(const char **fmt, struct args *args)
{
	int n = 0;

	if (**fmt == '*') {
		(*fmt)++;
		return (va_arg(args->ap, int));
	}
	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		n = n * 10 + (**fmt - '0');
	return (n);
}

static const char *
parse_flags(const char *fmt, struct spec *sp)
{
	for (;; fmt++) {
		switch (*fmt) {
		case '-':
			sp->left = true;
			break;
		case '0':
			sp->zero = true;
			break;
		case '+':
			sp->plus = true;
			break;
		case ' ':
			sp->space = true;
			break;
		case '#':
			sp->alt = true;
			break;
		default:
			return (fmt);
		}
	}
}

static const char *
parse_length(const char *fmt, struct spec *sp)
{
	sp->size = 4;
	for (;; fmt++) {
		switch (*fmt) {
		case 'h':
			sp->size /= 2;
			break;
		case 'l':
		case 'z':
		case 't':
		case 'j':
			sp->size = 8;
			break;
		default:
			return (fmt);
		}
	}
}

/*
 * Parse what follows a '%' up to and with the conversion letter; returns the first character behind
 * it.
 */
static const char *
parse_spec(const char *fmt, struct spec *sp, struct args *args)
{
	*sp = (struct spec){ .precision = -1 };
	fmt = parse_flags(fmt, sp);
	sp->width = parse_count(&fmt, args);
	if (sp->width < 0) {
		sp->left = true;
		sp->width = -sp->width;
	}
	if (*fmt == '.') {
		fmt++;
		sp->precision = parse_count(&fmt, args);	/* negative: as if not given */
	}
	fmt = parse_length(fmt, sp);
	sp->conv = *fmt;
	return (*fmt == '\0' ? fmt : fmt + 1);
}

/* Print one conversion; false: there is none with this letter. */
static bool
format_one(struct sink *out, const struct spec *sp, struct args *args)
{
	int64_t value;
	char c;

	switch (sp->conv) {
	case 'd':
	case 'i':
		value = signed_arg(args, sp->size);
		format_number(out, sp, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0);
		return (true);
	case 'u':
	case 'x':
	case 'X':
	case 'o':
		format_number(out, sp, unsigned_arg(args, sp->size), false);
		return (true);
	case 'p':
		format_number(out, sp, (uint64_t)va_arg(args->ap, void *), false);
		return (true);
	case 's':
		format_string(out, sp, va_arg(args->ap, const char *));
		return (true);
	case 'c':
		c = (char)va_arg(args->ap, int);
		emit_field(out, sp, "", 0, &c, 1);
		return (true);
	case '%':
		emit(out, '%');
		return (true);
	default:
		return (false);
	}
}

int
vformat(void (*put)(void *arg, char c), void *arg, const char *fmt, va_list ap)
{
	struct sink out = { .put = put, .arg = arg };
	struct args args;
	struct spec sp;

	va_copy(args.ap, ap);
	while (*fmt != '\0') {
		const char *start = fmt;

		if (*fmt != '%') {
			emit(&out, *fmt++);
			continue;
		}
		fmt = parse_spec(fmt + 1, &sp, &args);
		if (!format_one(&out, &sp, &args))
			while (start < fmt)
				emit(&out, *start++);
	}
	va_end(args.ap);
	return (out.count);
}

/* ---- into a string ---- */

struct string_sink {
	char	*next, *last; /* last: where the NUL must go at the latest; NULL: no room at all */
};

static void
string_put(void *arg, char c)
{
	struct string_sink *s = arg;

	if (s->next < s->last)
		*s->next++ = c;
}

int
vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct string_sink s = { buf, size > 0 ? buf + size - 1 : buf };
	int len = vformat(string_put, &s, fmt, ap);

	if (size > 0)
		*s.next = '\0';
	return (len);
}

int
snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return (len);
}

/* ---- to the console ---- */

struct console_sink {
	char	buf[128];
	size_t	used;
};

static void
console_flush(struct console_sink *s)
{
	if (s->used > 0)
		console_write(s->buf, s->used);
	s->used = 0;
}

static void
console_put(void *arg, char c)
{
	struct console_sink *s = arg;

	if (s->used == sizeof(s->buf))
		console_flush(s);
	s->buf[s->used++] = c;
}

int
vprintf(const char *fmt, va_list ap)
{
	struct console_sink s = { .used = 0 };
	int len = vformat(console_put, &s, fmt, ap);

	console_flush(&s);
	return (len);
}

int
printf(const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vprintf(fmt, ap);
	va_end(ap);
	return (len);
}
