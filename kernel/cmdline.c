/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel command line.
 *
 * To add a word, add a line to the table; the rest of the kernel then asks for it with
 * cmdline_get() and its relatives.  A word that is refused leaves no trace in the parsed line, so
 * nobody ever sees a bad value.
 */
#include "kernel/cmdline.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"

enum value_kind {
	VALUE_NONE,		/* the bare word only */
	VALUE_OPTIONAL,		/* bare, or with any text */
	VALUE_TEXT,		/* some text, not empty */
	VALUE_NUMBER		/* a number, perhaps with a suffix */
};

static const struct word {
	const char	*name;
	enum value_kind	 kind;
	const char	*value;		/* how the help shows it */
	const char	*help;
} words[] = {
	{ "root",	 VALUE_TEXT,	 "DISK",  "the root volume: vda, vda1, PARTUUID=ID (default: the first with ext2)" },
	{ "rootflags",	 VALUE_TEXT,	 "FLAGS", "mount options for the root volume, separated by commas" },
	{ "ro",		 VALUE_NONE,	 "",	  "mount the root volume read-only" },
	{ "init",	 VALUE_TEXT,	 "PATH",  "the first program; its arguments follow after --" },
	{ "aslr",	 VALUE_TEXT,	 "SEED",  "a number: programs find the same random addresses and bytes in each run" },
	{ "mem",	 VALUE_NUMBER,	 "SIZE",  "use no more RAM than this, such as 8M" },
	{ "nosmp",	 VALUE_NONE,	 "",	  "use one processor; the others are left as the firmware left them" },
	{ "ata",	 VALUE_TEXT,	 "pio",	  "move the data of IDE disks by the processor, not by DMA" },
	{ "swap",	 VALUE_TEXT,	 "DISK",  "swap anonymous memory to this disk, partition or file (/PATH)" },
	{ "torture",	 VALUE_NONE,	 "",	  "evict every page as soon as it can be" },
	{ "yields",	 VALUE_NUMBER,	 "SEED",  "debug kernels: make threads give way at locks, at random, and watch fields for races" },
	{ "paths",	 VALUE_NONE,	 "",	  "selftest: print how often each marked path of the VM was passed" },
	{ "selftest",	 VALUE_OPTIONAL, "GLOB",  "run the self-tests (whose suite.name matches)" },
	{ "seed",	 VALUE_NUMBER,	 "N",	  "order and random numbers of the self-tests" },
	{ "bench",	 VALUE_OPTIONAL, "GLOB",  "run the measurements (whose name matches)" },
	{ "tour",	 VALUE_OPTIONAL, "PATH",  "play the tour (on this file)" },
	{ "monitor",	 VALUE_NONE,	 "",	  "the monitor's prompt, without the tour before it" },
	{ "interactive", VALUE_NONE,	 "",	  "somebody sits at the console" },
	{ "screen",	 VALUE_TEXT,	 "WHAT",  "none: the serial line is enough; hold: after a panic wait for a key" },
	{ "trace",	 VALUE_OPTIONAL, "WHAT",  "record events from the start" },
	{ "ioerr",	 VALUE_NONE,	 "",	  "vda fails as tests/host/mkimage.py arranged it: the ioerr tests apply" },
	{ "damage",	 VALUE_TEXT,	 "WHAT",  "the disk of `volume` (vda) is damaged; what the damage tests shall find: refuse, errors, readonly, any, none" },
	{ "ubsan",	 VALUE_TEXT,	 "panic", "in a build with UBSan: stop at the first undefined behaviour" },
	{ "fsx",	 VALUE_NUMBER,	 "N",	  "operations of each run of the file exerciser" },
	{ "powercut",	 VALUE_TEXT,	 "WHAT",  "a number: run the power-cut workload with this seed; read: read what a cut has left" },
	{ "diskerr",	 VALUE_TEXT,	 "WHAT",  "vda fails where tests/host/test_diskerr.py arranged it: the diskerr tests apply" },
	{ "break",	 VALUE_TEXT,	 "WHAT",  "leave out what keeps files safe, to see a test fail: noflush, order, shelter (debug kernels)" },
	{ "volume",	 VALUE_TEXT,	 "DISK",  "a disk with an ext2 volume that the tests of mounting may change" },
	{ "help",	 VALUE_NONE,	 "",	  "print this table" },
};

static struct cmdline the_cmdline;

static const struct word *
word_find(const char *name)
{
	size_t i;

	for (i = 0; i < nitems(words); i++)
		if (streq(words[i].name, name))
			return (&words[i]);
	return (NULL);
}

bool
cmdline_number(const char *s, uint64_t *out)
{
	const char *end;
	uint64_t v, unit = 1;

	if (*s < '0' || *s > '9')
		return (false);
	v = strtou64(s, &end, 0);
	switch (*end) {
	case 'K': case 'k':
		unit = KiB;
		end++;
		break;
	case 'M': case 'm':
		unit = MiB;
		end++;
		break;
	case 'G': case 'g':
		unit = GiB;
		end++;
		break;
	default:
		break;
	}
	if (*end != '\0' || v > UINT64_MAX / unit)
		return (false);
	*out = v * unit;
	return (true);
}

static void problem(struct cmdline *cl, const char *fmt, ...) __printflike(2, 3);

static void
problem(struct cmdline *cl, const char *fmt, ...)
{
	va_list ap;

	if (cl->problems++ > 0)
		return;
	va_start(ap, fmt);
	vsnprintf(cl->problem, sizeof(cl->problem), fmt, ap);
	va_end(ap);
}

/* One word, in place: name, and value if there is a '='. */
static void
take_word(struct cmdline *cl, char *text)
{
	char *equals = strchr(text, '=');
	const char *value = "";
	const struct word *w;
	uint64_t number;

	if (equals != NULL) {
		*equals = '\0';
		value = equals + 1;
	}
	w = word_find(text);
	if (w == NULL) {
		problem(cl, "unknown word \"%s\" is ignored (\"help\" lists the known ones)", text);
	} else if (w->kind == VALUE_NONE && equals != NULL) {
		problem(cl, "%s=%s: the word %s takes no value", text, value, text);
	} else if (w->kind == VALUE_TEXT && *value == '\0') {
		problem(cl, "%s: needs a value, %s=%s", text, text, w->value);
	} else if (w->kind == VALUE_NUMBER && !cmdline_number(value, &number)) {
		problem(cl, "%s=%s: not a number, such as 4096, 0x1000, 64K, 8M or 1G", text, value);
	} else if (cl->nwords == CMDLINE_WORDS) {
		problem(cl, "%s: more than %d words", text, CMDLINE_WORDS);
	} else {
		cl->name[cl->nwords] = text;
		cl->value[cl->nwords++] = value;
	}
}

static bool
is_blank(char c)
{
	return (c == ' ' || c == '\t' || c == '\n' || c == '\r');
}

void
cmdline_parse(struct cmdline *cl, const char *line)
{
	char *p, *text;

	memset(cl, 0, sizeof(*cl));
	cl->init_args = "";
	if (strlcpy(cl->text, line, sizeof(cl->text)) >= sizeof(cl->text))
		problem(cl, "the command line is cut after %zu characters", sizeof(cl->text) - 1);
	for (p = cl->text; ; ) {
		while (is_blank(*p))
			p++;
		if (*p == '\0')
			return;
		text = p;
		while (*p != '\0' && !is_blank(*p))
			p++;
		if (*p != '\0')
			*p++ = '\0';
		if (streq(text, "--")) {
			while (is_blank(*p))
				p++;
			cl->init_args = p;
			return;
		}
		take_word(cl, text);
	}
}

const char *
cmdline_find(const struct cmdline *cl, const char *name)
{
	unsigned i;

	for (i = cl->nwords; i-- > 0; )
		if (streq(cl->name[i], name))
			return (cl->value[i]);
	return (NULL);
}

void
cmdline_init(const char *line)
{
	cmdline_parse(&the_cmdline, line);
	if (the_cmdline.problems > 0)
		printf("command line: %s\n", the_cmdline.problem);
	if (the_cmdline.problems > 1)
		printf("command line: and %u more words refused\n", the_cmdline.problems - 1);
	if (cmdline_has("help"))
		cmdline_help();
}

const char *
cmdline_get(const char *name)
{
	KASSERT(word_find(name) != NULL, "the word \"%s\" is not in the command line's table", name);
	return (cmdline_find(&the_cmdline, name));
}

bool
cmdline_has(const char *name)
{
	return (cmdline_get(name) != NULL);
}

uint64_t
cmdline_u64(const char *name, uint64_t otherwise)
{
	const char *value = cmdline_get(name);
	uint64_t number;

	return (value != NULL && cmdline_number(value, &number) ? number : otherwise);
}

const char *
cmdline_init_args(void)
{
	return (the_cmdline.init_args);
}

void
cmdline_help(void)
{
	const struct word *w;
	char usage[32];

	printf("Words of the kernel command line:\n");
	for (w = words; w < words + nitems(words); w++) {
		snprintf(usage, sizeof(usage), w->kind == VALUE_NONE ? "%s%s" :
		    w->kind == VALUE_OPTIONAL ? "%s[=%s]" : "%s=%s", w->name, w->value);
		printf("  %-18s %s\n", usage, w->help);
	}
}
