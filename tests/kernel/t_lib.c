/* SPDX-License-Identifier: BSD-2-Clause */
/* kernel/lib: formatting, strings, patterns, and the red-black tree against a sorted array. */
#include "kernel/lib/errno.h"
#include "kernel/lib/rbtree.h"
#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"

static MALLOC_DEFINE(M_TEST, "t_lib");

/* ---- printf ---- */

/* Deliberately not __printflike: some of the formats below are such as compilers warn of. */
static const char *
fmt(const char *format, ...)
{
	static char buf[128];
	va_list ap;

	va_start(ap, format);
	vsnprintf(buf, sizeof(buf), format, ap);
	va_end(ap);
	return (buf);
}

KTEST(lib, printf_integers)
{
	CHECK_STR(fmt("%d %i %u", -5, 0, 4000000000u), "-5 0 4000000000");
	CHECK_STR(fmt("%ld %lu", INT64_MIN, UINT64_MAX),
	    "-9223372036854775808 18446744073709551615");
	CHECK_STR(fmt("%x %X %o", 0xbeef, 0xbeef, 8), "beef BEEF 10");
	CHECK_STR(fmt("%hhd %hd %hhu", -1, -1, 255), "-1 -1 255");
	CHECK_STR(fmt("%lld %zu %td %jx", -1ll, (size_t)7, (ptrdiff_t)-2, (uintmax_t)255),
	    "-1 7 -2 ff");
	CHECK_STR(fmt("%#x %#o %#x", 255, 8, 0), "0xff 010 0");
	CHECK_STR(fmt("%p", (void *)0x1000), "0x1000");
}

KTEST(lib, printf_width_precision_flags)
{
	CHECK_STR(fmt("[%5d|%-5d|%05d]", 42, 42, -42), "[   42|42   |-0042]");
	CHECK_STR(fmt("[%+d|% d|%+d]", 7, 7, -7), "[+7| 7|-7]");
	CHECK_STR(fmt("[%8.3d|%-8.3d|%08.3d]", 5, 5, 5), "[     005|005     |     005]");
	CHECK_STR(fmt("[%.0d|%.0x]", 0, 0), "[|]");
	CHECK_STR(fmt("[%#010x]", 0x1f), "[0x0000001f]");
	CHECK_STR(fmt("[%*d|%-*d|%.*s]", 4, 1, 4, 2, 3, "abcdef"), "[   1|2   |abc]");
	CHECK_STR(fmt("[%*d]", -4, 1), "[1   ]");
}

KTEST(lib, printf_strings)
{
	/* no NUL: precision must stop the scan */
	static const char open_end[3] = { 'a', 'b', 'c' };

	CHECK_STR(fmt("%s|%5s|%-5s|%c|%%", "ab", "ab", "ab", 'z'), "ab|   ab|ab   |z|%");
	CHECK_STR(fmt("%.3s", open_end), "abc");
	CHECK_STR(fmt("%s", (char *)NULL), "(null)");
}

KTEST(lib, snprintf_cuts_and_counts)
{
	char buf[4] = "xyz";

	CHECK_EQ(snprintf(buf, sizeof(buf), "%d", 123456), 6);
	CHECK_STR(buf, "123");
	CHECK_EQ(snprintf(buf, 1, "abc"), 3);
	CHECK_STR(buf, "");
	buf[0] = 'q';
	CHECK_EQ(snprintf(buf, 0, "abc"), 3);
	CHECK_EQ(buf[0], 'q');
}

/* ---- strings and memory ---- */

#define AREA	96

static void
pattern(uint8_t *buf, unsigned salt)
{
	for (unsigned i = 0; i < AREA; i++)
		buf[i] = (uint8_t)(i * 7 + salt);
}

/* What memmove() must do, byte by byte and through a copy. */
static void
slow_move(uint8_t *buf, unsigned to, unsigned from, unsigned len)
{
	uint8_t copy[AREA];

	for (unsigned i = 0; i < len; i++)
		copy[i] = buf[from + i];
	for (unsigned i = 0; i < len; i++)
		buf[to + i] = copy[i];
}

KTEST(lib, memset_at_every_alignment)
{
	uint8_t buf[AREA], want[AREA];

	for (unsigned off = 0; off < 16; off++)
		for (unsigned len = 0; len < 40; len++) {
			pattern(buf, len);
			pattern(want, len);
			memset(buf + off, 0x15a, len);
			for (unsigned i = 0; i < len; i++)
				want[off + i] = 0x5a;
			if (!CHECK_EQ(memcmp(buf, want, AREA), 0))
				return;
		}
}

KTEST(lib, memmove_and_memcpy_at_every_alignment_and_overlap)
{
	uint8_t buf[AREA], want[AREA];

	for (unsigned from = 0; from < 48; from++)
		for (unsigned to = 0; to < 48; to += 1 + from % 3)
			for (unsigned len = 0; len <= 48; len += 1 + to % 5) {
				pattern(buf, len);
				pattern(want, len);
				slow_move(want, to, from, len);
				if (from + len <= to || to + len <= from)
					memcpy(buf + to, buf + from, len);
				else
					memmove(buf + to, buf + from, len);
				if (!CHECK_EQ(memcmp(buf, want, AREA), 0))
					return;
			}
}

KTEST(lib, memcmp_orders_by_first_difference)
{
	uint8_t a[24] = { 0 }, b[24] = { 0 };

	for (unsigned i = 0; i < sizeof(a); i++) {
		a[i] = 0x80;
		b[sizeof(b) - 1] = 0xff;
		CHECK(memcmp(a, b, sizeof(a)) > 0 || i == sizeof(a) - 1);
		CHECK(memcmp(b, a, sizeof(a)) < 0 || i == sizeof(a) - 1);
		CHECK_EQ(memcmp(a, b, i), 0);
		a[i] = 0;
	}
}

KTEST(lib, strings)
{
	char buf[8] = "abc";

	CHECK_EQ(strlen(""), 0);
	CHECK_EQ(strnlen("abcdef", 3), 3);
	CHECK(strcmp("a", "b") < 0 && strcmp("ab", "a") > 0 && strcmp("", "") == 0);
	CHECK(strcmp("\xff", "a") > 0);
	CHECK(strncmp("abcX", "abcY", 3) == 0 && strncmp("a", "ab", 5) < 0);
	CHECK_STR(strchr("key=value", '='), "=value");
	CHECK(strchr("abc", 'x') == NULL && *strchr("abc", '\0') == '\0');
	CHECK_STR(strrchr("/a/b", '/'), "/b");
	CHECK_STR(strstr("one two", "tw"), "two");
	CHECK(strstr("abc", "abcd") == NULL);
	CHECK_EQ(strlcpy(buf, "0123456789", sizeof(buf)), 10);
	CHECK_STR(buf, "0123456");
	strlcpy(buf, "abc", sizeof(buf));
	CHECK_EQ(strlcat(buf, "defghi", sizeof(buf)), 9);
	CHECK_STR(buf, "abcdefg");
	CHECK(memchr("abc", 'b', 3) != NULL && memchr("abc", 'c', 2) == NULL);
}

KTEST(lib, strtou64)
{
	static const char none[] = "zz";
	const char *end;

	CHECK_EQ(strtou64("0x1fz", &end, 0), 0x1f);
	CHECK_STR(end, "z");
	CHECK_EQ(strtou64("017", NULL, 0), 15);
	CHECK_EQ(strtou64("0xg", &end, 0), 0);
	CHECK_STR(end, "xg");
	CHECK_EQ(strtou64("18446744073709551615", NULL, 10), UINT64_MAX);
	CHECK_EQ(strtou64("18446744073709551616k", &end, 10), UINT64_MAX);
	CHECK_STR(end, "k");
	strtou64(none, &end, 10);
	CHECK(end == none);
}

KTEST(lib, glob)
{
	static const struct {
		const char *pattern, *s;
		bool match;
	} cases[] = {
		{ "*", "", true }, { "", "", true }, { "", "a", false }, { "a", "", false },
		{ "pager.*", "pager.one", true }, { "pager.*", "pmap.one", false },
		{ "a*b*c", "aXbbYc", true }, { "a*b*c", "aXbbY", false }, { "*ab", "aab", true },
		{ "?", "x", true }, { "?", "", false }, { "a?c", "abc", true },
		{ "**x", "x", true },
		{ "*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false },
	};

	for (size_t i = 0; i < nitems(cases); i++)
		if (glob_match(cases[i].pattern, cases[i].s) != cases[i].match)
			ktest_fail(__FILE__, __LINE__, "glob_match(\"%s\", \"%s\") is not %d",
			    cases[i].pattern, cases[i].s, cases[i].match);
}

KTEST(lib, errno_names)
{
	CHECK_STR(errno_name(EIO), "EIO");
	CHECK_STR(errno_name(EUCLEAN), "EUCLEAN");
	CHECK_STR(errno_name(15), "E?");
	CHECK_STR(errno_name(-1), "E?");
	CHECK_STR(errno_name(100000), "E?");
}

/* ---- red-black tree ---- */

#define KEYS	512

struct item {
	struct rb_node	node;
	unsigned	key;
	unsigned	count;		/* summary: nodes in the subtree */
	unsigned	max;		/* summary: largest key in the subtree */
	bool		in;
};

static struct item *
to_item(struct rb_node *node)
{
	return (container_of(node, struct item, node));
}

static void
item_augment(struct rb_node *node)
{
	struct item *it = to_item(node);

	it->count = 1;
	it->max = it->key;
	for (int side = 0; side < 2; side++)
		if (node->child[side] != NULL) {
			it->count += to_item(node->child[side])->count;
			it->max = MAX(it->max, to_item(node->child[side])->max);
		}
}

static void
item_insert(struct rb_tree *tree, struct item *it)
{
	struct rb_node *parent = NULL, *node = tree->root;
	int side = 0;

	while (node != NULL) {
		parent = node;
		side = it->key > to_item(node)->key;
		node = node->child[side];
	}
	rb_insert(tree, parent, side, &it->node, item_augment);
	it->in = true;
}

static bool
summaries_right(struct rb_node *node)
{
	struct item was, *it;

	if (node == NULL)
		return (true);
	it = to_item(node);
	was = *it;
	item_augment(node);
	return (was.count == it->count && was.max == it->max && summaries_right(node->child[0]) &&
	    summaries_right(node->child[1]));
}

/* The tree holds exactly the items marked `in`, in order, both ways. */
static bool
tree_equals(const struct rb_tree *tree, struct item *items)
{
	struct rb_node *node = rb_first(tree), *last = NULL;
	long n = 0;

	for (unsigned k = 0; k < KEYS; k++) {
		if (!items[k].in)
			continue;
		n++;
		if (node != &items[k].node || rb_prev(node) != last)
			return (false);
		last = node;
		node = rb_next(node);
	}
	return (node == NULL && rb_last(tree) == last && rb_check(tree) == n &&
	    summaries_right(tree->root));
}

KTEST(lib, rbtree_10000_random_operations)
{
	struct item *items = kmalloc(KEYS * sizeof(*items), &M_TEST, M_WAITOK | M_ZERO);
	struct rb_tree tree = { NULL };
	unsigned inserts = 0, removes = 0;

	for (unsigned k = 0; k < KEYS; k++)
		items[k].key = k;
	for (int op = 0; op < 10000; op++) {
		struct item *it = &items[ktest_random() % KEYS];

		if (it->in) {
			rb_remove(&tree, &it->node, item_augment);
			it->in = false;
			removes++;
		} else {
			item_insert(&tree, it);
			inserts++;
		}
		if ((op % 64 == 0 || op > 9900) && !CHECK(tree_equals(&tree, items)))
			break;
	}
	CHECK(inserts > 1000 && removes > 1000);
	kfree(items, &M_TEST);
}

KTEST(lib, rbtree_ascending_descending_and_empty_again)
{
	struct item *items = kmalloc(KEYS * sizeof(*items), &M_TEST, M_WAITOK | M_ZERO);
	struct rb_tree tree = { NULL };

	for (unsigned k = 0; k < KEYS; k++)
		items[k].key = k;
	for (unsigned k = 0; k < KEYS; k++)
		item_insert(&tree, &items[k]);
	CHECK(tree_equals(&tree, items));
	for (unsigned k = KEYS; k-- > 0; ) {
		rb_remove(&tree, &items[k].node, item_augment);
		items[k].in = false;
	}
	CHECK(tree.root == NULL && rb_first(&tree) == NULL && rb_last(&tree) == NULL);
	for (unsigned k = KEYS; k-- > 0; )
		item_insert(&tree, &items[k]);
	CHECK(tree_equals(&tree, items));
	kfree(items, &M_TEST);
}

KTEST(lib, rbtree_check_sees_damage)
{
	struct item items[3] = { { .key = 0 }, { .key = 1 }, { .key = 2 } };
	struct rb_tree tree = { NULL };

	for (unsigned i = 0; i < 3; i++)
		item_insert(&tree, &items[i]);
	CHECK_EQ(rb_check(&tree), 3);
	items[0].node.parent_color &= ~1ul;	/* one leaf black: unequal black heights */
	CHECK_EQ(rb_check(&tree), -1);
	items[0].node.parent_color |= 1;
	items[2].node.parent_color = 1;				/* wrong parent */
	CHECK_EQ(rb_check(&tree), -1);
}
