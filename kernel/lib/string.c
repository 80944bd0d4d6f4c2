/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Strings and memory.
 *
 * The compiler emits calls to memcpy, memmove, memset and memcmp by itself, so they must exist even
 * though the kernel is freestanding; and it recognises the loops below as what they are, so a naive
 * memset would be compiled into a call of memset.  The big ones are therefore written with string
 * instructions, and the small loops carry an empty asm (OPAQUE) that hides the pattern.
 *
 * Why string instructions: on real CPUs `rep movsq` moves whole cache lines in microcode; under
 * emulation each iteration counts as one instruction, where a loop would count a load, a store and
 * its own arithmetic.  Both agree on 64-bit units, so bytes are only used for the last few.
 *
 * No SSE: the kernel does not save those registers.
 */
#include "kernel/lib/string.h"

#define OPAQUE(x)	__asm__ volatile("" : "+r"(x))

#define ONES		0x0101010101010101ul	/* times a byte: the byte in all eight places */

void *
memset(void *dst, int c, size_t len)
{
	void *d = dst;
	size_t words = len / 8;
	uint64_t pattern = (uint8_t)c * ONES;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	len &= 7;
	if (len != 0)
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(len) : "a"(pattern) : "memory");
	return (dst);
}

static inline void
copy_up(void *d, const void *s, size_t len)
{
	size_t words = len / 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
	len &= 7;
	if (len != 0)
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(len) : : "memory");
}

void *
memcpy(void *restrict dst, const void *restrict src, size_t len)
{
	copy_up(dst, src, len);
	return (dst);
}

/*
 * Copy between areas that may overlap.
 *
 * Copying upwards is right unless dst lies inside [src, src + len); the unsigned difference tests
 * just that.
 */
void *
memmove(void *dst, const void *src, size_t len)
{
	uint8_t *d = (uint8_t *)dst + len;
	const uint8_t *s = (const uint8_t *)src + len;

	if ((uintptr_t)dst - (uintptr_t)src >= len) {
		copy_up(dst, src, len);
		return (dst);
	}
	for (; len >= 8; len -= 8) {
		uint64_t word;

		d -= 8;
		s -= 8;
		__builtin_memcpy(&word, s, 8);
		OPAQUE(word);
		__builtin_memcpy(d, &word, 8);
	}
	while (len-- > 0) {
		*--d = *--s;
		OPAQUE(d);
	}
	return (dst);
}

int
memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;

	for (; len >= 8; len -= 8, p += 8, q += 8) {
		uint64_t x, y;

		__builtin_memcpy(&x, p, 8);
		__builtin_memcpy(&y, q, 8);
		if (x != y)
			break;		/* the byte loop finds which */
	}
	for (; len > 0; len--, p++, q++) {
		if (*p != *q)
			return (*p - *q);
		OPAQUE(p);
	}
	return (0);
}

void *
memchr(const void *s, int c, size_t len)
{
	const uint8_t *p = s;

	for (; len > 0; len--, p++)
		if (*p == (uint8_t)c)
			return ((void *)p);
	return (NULL);
}

size_t
strlen(const char *s)
{
	const char *p = s;

	while (*p != '\0') {
		p++;
		OPAQUE(p);
	}
	return ((size_t)(p - s));
}

size_t
strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n] != '\0')
		n++;
	return (n);
}

int
strcmp(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return ((uint8_t)*a - (uint8_t)*b);
}

int
strncmp(const char *a, const char *b, size_t n)
{
	for (; n > 0; n--, a++, b++) {
		if (*a != *b)
			return ((uint8_t)*a - (uint8_t)*b);
		if (*a == '\0')
			break;
	}
	return (0);
}

char *
strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return ((char *)s);
		if (*s == '\0')
			return (NULL);
	}
}

char *
strrchr(const char *s, int c)
{
	const char *last = NULL;

	for (;; s++) {
		if (*s == (char)c)
			last = s;
		if (*s == '\0')
			return ((char *)last);
	}
}

char *
strstr(const char *haystack, const char *needle)
{
	size_t len = strlen(needle);

	for (;; haystack++) {
		if (strncmp(haystack, needle, len) == 0)
			return ((char *)haystack);
		if (*haystack == '\0')
			return (NULL);
	}
}

size_t
strlcpy(char *dst, const char *src, size_t size)
{
	size_t len = strlen(src);

	if (size > 0) {
		size_t n = MIN(len, size - 1);

		memcpy(dst, src, n);
		dst[n] = '\0';
	}
	return (len);
}

size_t
strlcat(char *dst, const char *src, size_t size)
{
	size_t used = strnlen(dst, size);

	return (used + strlcpy(dst + used, src, size - used));
}

/* The value of a digit in any base up to 36; 36 when it is none. */
static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (c - '0');
	if (c >= 'a' && c <= 'z')
		return (c - 'a' + 10);
	if (c >= 'A' && c <= 'Z')
		return (c - 'A' + 10);
	return (36);
}

/*
 * Read an unsigned number.
 *
 * => base 0: 16 after 0x, 8 after 0, otherwise 10; base 16 accepts the 0x, too.
 * => *end (if end is given): the first character not used; `s` itself when there is no number.
 * => too large a number gives UINT64_MAX.
 */
uint64_t
strtou64(const char *s, const char **end, int base)
{
	const char *p = s;
	uint64_t value = 0;
	bool any = false;

	if ((base == 0 || base == 16) && p[0] == '0' && (p[1] | 0x20) == 'x' &&
	    digit_value(p[2]) < 16) {
		p += 2;
		base = 16;
	} else if (base == 0) {
		base = p[0] == '0' ? 8 : 10;
	}
	for (; digit_value(*p) < base; p++) {
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit_value(*p), &value)) {
			while (digit_value(*p) < base)
				p++;
			value = UINT64_MAX;
			any = true;
			break;
		}
		any = true;
	}
	if (end != NULL)
		*end = any ? p : s;
	return (value);
}

/*
 * Shell-style match without recursion: on a mismatch, let the last star swallow one character more.
 * Earlier stars need no second thought, since whatever a later one can match does not depend on
 * them.
 */
bool
glob_match(const char *pattern, const char *s)
{
	const char *star = NULL, *resume = NULL;

	for (;;) {
		if (*pattern == '*') {
			star = ++pattern;
			resume = s;
		} else if (*s == '\0') {
			return (*pattern == '\0');
		} else if (*pattern == '?' || *pattern == *s) {
			pattern++;
			s++;
		} else if (star != NULL) {
			pattern = star;
			s = ++resume;
		} else {
			return (false);
		}
	}
}
