/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In-kernel self-tests.
 *
 *	KTEST(pager, one_read_for_32_faulters)
 *	{
 *		CHECK_EQ(reads, 1);
 *	}
 *
 * Each KTEST becomes an entry of a linker section; `selftest[=GLOB]` runs those whose "suite.name"
 * matches, in an order shuffled by `seed=`, prints TAP, and audits the laws (vm_check, nothing
 * busy, nothing leaked) after each.  A failed CHECK names file, line and both values, and leaves
 * the test by marking it failed and going on; use CHECK_OR_RETURN where going on makes no sense.  A
 * test first asserts that what it is about really happens.
 */
#ifndef TESTS_KERNEL_KTEST_H
#define TESTS_KERNEL_KTEST_H

#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lib/types.h"

struct ktest {
	const char	*suite;
	const char	*name;
	void		(*fn)(void);
	uint64_t	flags;		/* KTEST_CALM and so on; with it the section is an array of 32-byte entries */
};

#define KTEST_CALM	1	/* not in the torture mode */
#define KTEST_ONE_CPU	2	/* the test's threads all run on one CPU */

#define KTEST_FLAGS(suite_, name_, flags_)						\
	static void ktest_##suite_##_##name_(void);					\
	static const struct ktest ktest_entry_##suite_##_##name_			\
	    __attribute__((section(".ktest." #suite_ "." #name_), used, aligned(32))) = {	\
		.suite = #suite_, .name = #name_, .fn = ktest_##suite_##_##name_, .flags = (flags_) };	\
	static void ktest_##suite_##_##name_(void)

#define KTEST(suite_, name_)		KTEST_FLAGS(suite_, name_, 0)
/* A test that is about the order in which the threads of one CPU run. */
#define KTEST_ONE(suite_, name_)	KTEST_FLAGS(suite_, name_, KTEST_ONE_CPU)
/* A test that counts resident pages or requests, which the torture mode changes on purpose. */
#define KTEST_COUNTING(suite_, name_)	KTEST_FLAGS(suite_, name_, KTEST_CALM)

/* Record a failure of the running test.  Callable from any thread that works for it. */
void ktest_fail(const char *file, int line, const char *fmt, ...) __printflike(3, 4);
/* The running test cannot be run here, and why.  The caller then returns. */
void ktest_skip(const char *fmt, ...) __printflike(1, 2);
bool ktest_failed(void);
/*
 * The disk will not take what the running test changed, so that the change stays in memory: no law
 * about kernel memory for it.
 */
void ktest_leaves_dirt(void);
/* The run's seed, and a stream of random numbers derived from it (restarted for each test). */
uint64_t ktest_seed(void);
uint64_t ktest_random(void);
uint64_t ktest_mix64(uint64_t x);		/* the finaliser of splitmix64; volume.mix64() on the host */

#define CHECK(cond) ((cond) ? true : (ktest_fail(__FILE__, __LINE__, "%s is false", #cond), false))
#define CHECK_EQ(got, want) ({								\
	uint64_t _g = (uint64_t)(got), _w = (uint64_t)(want);				\
	if (_g != _w)									\
		ktest_fail(__FILE__, __LINE__, "%s is %lu (0x%lx), expected %s = %lu (0x%lx)",	\
		    #got, _g, _g, #want, _w, _w);					\
	_g == _w; })
#define CHECK_STR(got, want) ({								\
	const char *_g = (got), *_w = (want);						\
	bool _same = streq(_g, _w);							\
	if (!_same)									\
		ktest_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #got, _g, _w);	\
	_same; })
#define CHECK_OR_RETURN(cond) do { if (!CHECK(cond)) return; } while (0)

/*
 * Run the tests that match `glob` ("*" for all); returns the machine's status: 0, 1 (failures) or 2
 * (no match).
 */
int  ktest_run(const char *glob, uint64_t seed);

#endif
