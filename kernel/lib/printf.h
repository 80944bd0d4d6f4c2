/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * printf for the kernel: %d %i %u %x %X %o %c %s %p %% with flags - 0 + space #, width and
 * precision (also *), lengths hh h l ll z t j.  Output goes to every console; safe in any context
 * (it takes only the console's own innermost lock, and panic breaks even that).
 */
#ifndef KERNEL_LIB_PRINTF_H
#define KERNEL_LIB_PRINTF_H

#include "kernel/lib/types.h"

int	printf(const char *fmt, ...) __printflike(1, 2);
int	vprintf(const char *fmt, va_list ap);
/* as C99: returns the length wanted */
int	snprintf(char *buf, size_t size, const char *fmt, ...) __printflike(3, 4);
int	vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
/* The engine: calls put(arg, c) for each character; returns their number. */
int	vformat(void (*put)(void *arg, char c), void *arg, const char *fmt, va_list ap);

#endif
