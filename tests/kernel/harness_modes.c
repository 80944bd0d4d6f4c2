/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The test runner's own tests: five kernels that must all be reported as failures.
 *
 *	fail	a test fails, and everything says so
 *	panic	the kernel panics
 *	hang	nothing is ever said again
 *	triple	the machine resets
 *	lie	the log says success, the exit status does not
 */
#include "kernel/amd64/cpu.h"
#include "kernel/console.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/main.h"

#define STATUS_FAILED	1
#define STATUS_LIE	3

static void
mode_fail(void)
{
	printf("1..1\n");
	printf("# tests/kernel/harness_modes.c: this test always fails\n");
	printf("not ok 1 - harness.fail\n");
	printf("0 passed, 1 failed\n");
	machine_exit(STATUS_FAILED);
}

static void
mode_panic(void)
{
	printf("1..1\n");
	panic("selftest=panic: asked for");
}

static void
mode_hang(void)
{
	printf("1..1\n");
	for (;;)
		cpu_pause();
}

/* With an empty IDT the fault's double fault cannot be delivered either. */
static void
mode_triple(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __packed empty = { 0, 0 };

	printf("1..1\n");
	__asm__ volatile("lidt %0; ud2" : : "m"(empty));
}

static void
mode_lie(void)
{
	printf("1..1\n");
	printf("ok 1 - lie\n");
	printf("1 passed, 0 failed\n");
	machine_exit(STATUS_LIE);
}

bool
harness_mode(const char *name)
{
	static const struct {
		const char	*name;
		void		(*run)(void);
	} modes[] = {
		{ "fail", mode_fail }, { "panic", mode_panic }, { "hang", mode_hang },
		{ "triple", mode_triple }, { "lie", mode_lie }
	};
	size_t i;

	for (i = 0; i < nitems(modes); i++)
		if (streq(modes[i].name, name))
			modes[i].run();
	return (false);
}
