/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel command line: words, values, what is refused and how that is said. */
#include "kernel/cmdline.h"
#include "tests/kernel/ktest.h"

static struct cmdline cl;

KTEST(cmdline, words_and_values)
{
	cmdline_parse(&cl, "  root=vda\tro selftest   seed=0x10 trace=fault ");
	CHECK_EQ(cl.problems, 0);
	CHECK_EQ(cl.nwords, 5);
	CHECK_STR(cmdline_find(&cl, "root"), "vda");
	CHECK_STR(cmdline_find(&cl, "ro"), "");
	CHECK_STR(cmdline_find(&cl, "selftest"), "");
	CHECK_STR(cmdline_find(&cl, "trace"), "fault");
	CHECK(cmdline_find(&cl, "init") == NULL);
	CHECK_STR(cl.init_args, "");
}

KTEST(cmdline, value_may_hold_an_equals_sign)
{
	cmdline_parse(&cl, "rootflags=a=b,c");
	CHECK_STR(cmdline_find(&cl, "rootflags"), "a=b,c");
}

KTEST(cmdline, last_of_two_counts)
{
	cmdline_parse(&cl, "root=vda root=vdb");
	CHECK_STR(cmdline_find(&cl, "root"), "vdb");
}

KTEST(cmdline, dashes_end_the_kernels_words)
{
	cmdline_parse(&cl, "init=/bin/sh --  -c  unknown=1 ro");
	CHECK_EQ(cl.problems, 0);
	CHECK_STR(cmdline_find(&cl, "init"), "/bin/sh");
	CHECK(cmdline_find(&cl, "ro") == NULL);
	CHECK_STR(cl.init_args, "-c  unknown=1 ro");
}

KTEST(cmdline, unknown_word_is_named_and_ignored)
{
	cmdline_parse(&cl, "wibble=3 ro");
	CHECK_EQ(cl.problems, 1);
	CHECK(strstr(cl.problem, "\"wibble\"") != NULL);
	CHECK(cmdline_find(&cl, "wibble") == NULL);
	CHECK_STR(cmdline_find(&cl, "ro"), "");
}

KTEST(cmdline, bad_values_name_themselves)
{
	cmdline_parse(&cl, "mem=lots");
	CHECK_EQ(cl.problems, 1);
	CHECK(strstr(cl.problem, "mem=lots") != NULL && strstr(cl.problem, "8M") != NULL);
	CHECK(cmdline_find(&cl, "mem") == NULL);

	cmdline_parse(&cl, "ro=yes");
	CHECK_EQ(cl.problems, 1);
	CHECK(strstr(cl.problem, "ro=yes") != NULL);
	CHECK(cmdline_find(&cl, "ro") == NULL);

	cmdline_parse(&cl, "root= root init=");
	CHECK_EQ(cl.problems, 3);
	CHECK(cmdline_find(&cl, "root") == NULL);
}

KTEST(cmdline, numbers_and_suffixes)
{
	static const struct {
		const char	*text;
		uint64_t	 value;
	} good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "0x1f", 31 }, { "64K", 65536 }, { "8M", 8 * MiB },
		{ "1G", GiB }, { "16g", 16 * GiB }, { "18446744073709551615", UINT64_MAX }
	};
	static const char *const bad[] = { "", "K", "-1", "1KB", "0x", "12 ", "1T", "17179869184G", "x1" };
	uint64_t v;
	size_t i;

	for (i = 0; i < nitems(good); i++)
		if (CHECK(cmdline_number(good[i].text, &v)))
			CHECK_EQ(v, good[i].value);
	for (i = 0; i < nitems(bad); i++)
		if (cmdline_number(bad[i], &v))
			ktest_fail(__FILE__, __LINE__, "\"%s\" was taken for %lu", bad[i], v);
}

KTEST(cmdline, too_many_words_are_refused)
{
	static char line[CMDLINE_MAX];
	int i;

	line[0] = '\0';
	for (i = 0; i < CMDLINE_WORDS + 3; i++)
		strlcat(line, "ro ", sizeof(line));
	cmdline_parse(&cl, line);
	CHECK_EQ(cl.nwords, CMDLINE_WORDS);
	CHECK_EQ(cl.problems, 3);
}

KTEST(cmdline, too_long_a_line_is_cut)
{
	static char line[CMDLINE_MAX + 100];

	memset(line, 'x', sizeof(line) - 1);
	memcpy(line, "ro ", 3);
	cmdline_parse(&cl, line);
	CHECK(cl.problems > 0);
	CHECK(strstr(cl.problem, "cut") != NULL);
	CHECK_STR(cmdline_find(&cl, "ro"), "");
}

KTEST(cmdline, empty_line)
{
	cmdline_parse(&cl, "");
	CHECK_EQ(cl.nwords, 0);
	CHECK_EQ(cl.problems, 0);
	cmdline_parse(&cl, " \t\n");
	CHECK_EQ(cl.nwords, 0);
}
