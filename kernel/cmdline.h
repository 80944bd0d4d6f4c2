/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel command line: words `name` or `name=value`, separated by blanks; everything after `--`
 * is init's.
 *
 * Words are declared in one table (cmdline.c) with what they mean and which values they take; an
 * unknown word is reported and ignored, a bad value names itself and what is allowed.  Of a word
 * given twice the last one counts.
 */
#ifndef KERNEL_CMDLINE_H
#define KERNEL_CMDLINE_H

#include "kernel/lib/types.h"

#define CMDLINE_MAX	2048
#define CMDLINE_WORDS	32

/* A parsed line.  The kernel has one; tests parse others. */
struct cmdline {
	char		text[CMDLINE_MAX];	/* cut into words */
	const char	*name[CMDLINE_WORDS];	/* accepted words, in order */
	const char	*value[CMDLINE_WORDS];	/* "" for a word without value */
	unsigned	nwords;
	const char	*init_args;		/* what follows `--`; "" without it */
	unsigned	problems;		/* words refused */
	char		problem[160];		/* what was wrong with the first of them */
};

void cmdline_parse(struct cmdline *cl, const char *line);
const char *cmdline_find(const struct cmdline *cl, const char *name);

/* parses the kernel's own line, reports the wrong words */
void cmdline_init(const char *line);
bool cmdline_has(const char *name);
/*
 * Value of `name`, or NULL when the word is absent; "" for a word without value.  Lives as long as
 * the kernel.
 */
const char *cmdline_get(const char *name);
/* accepts 0x and the suffixes K M G */
uint64_t cmdline_u64(const char *name, uint64_t otherwise);
const char *cmdline_init_args(void);
void cmdline_help(void);			/* print the table */
/* "12", "0x1f", "64K", "8M", "1G".  false when it is none of these or doesn't fit. */
bool cmdline_number(const char *s, uint64_t *out);

#endif
