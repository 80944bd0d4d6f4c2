/* SPDX-License-Identifier: BSD-2-Clause */
/* Strings and memory, as in C; gcc emits calls to the first four by itself. */
#ifndef KERNEL_LIB_STRING_H
#define KERNEL_LIB_STRING_H

#include "kernel/lib/types.h"

void	*memcpy(void *restrict dst, const void *restrict src, size_t len);
void	*memmove(void *dst, const void *src, size_t len);
void	*memset(void *dst, int c, size_t len);
int	 memcmp(const void *a, const void *b, size_t len);
void	*memchr(const void *s, int c, size_t len);
size_t	 strlen(const char *s);
size_t	 strnlen(const char *s, size_t max);
int	 strcmp(const char *a, const char *b);
int	 strncmp(const char *a, const char *b, size_t n);
char	*strchr(const char *s, int c);
char	*strrchr(const char *s, int c);
char	*strstr(const char *haystack, const char *needle);
size_t	 strlcpy(char *dst, const char *src, size_t size);	/* returns strlen(src) */
size_t	 strlcat(char *dst, const char *src, size_t size);
/* base 0: 0x, 0 prefixes; saturates */
uint64_t strtou64(const char *s, const char **end, int base);

/* Does `s` match the shell-style pattern (`*`, `?`)? */
bool	 glob_match(const char *pattern, const char *s);

static inline bool streq(const char *a, const char *b) { return (strcmp(a, b) == 0); }

#endif
