/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The word `bench[=GLOB]`: run the scenarios whose name matches and print the table.
 *
 * Three kinds of line go out.  `bench: NAME VALUE UNIT`, as soon as a value is known, is for
 * scripts.  `# ...` explains.  The table, at the end, is for people: one line a row, our number
 * beside what others need and what we aim at.
 */
#include "tests/bench/bench.h"

#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/main.h"
#include "vm/vm_page.h"

#define ROWS_MAX	120

static const struct bench_scenario scenarios[] = {
	/* `seq` comes first: neither its files nor their metadata may have been read before. */
	{ "seq", "reading a mapped file of 64 MiB once, from first to last page", bench_seq },
	{ "small-ram", "the same twice, in RAM half as large as the file", bench_small_ram },
	{ "zero-fill", "first write to 512 anonymous pages", bench_zero_fill },
	{ "warm", "reading 1,024 resident pages of a file, one in 16", bench_warm },
	{ "cow", "writing 512 pages of a private mapping of a file", bench_cow },
	{ "cold", "first touch of 256 mappings of 16 pages of a file", bench_cold },
	{ "random", "reading 256 pages of a file in random order, one in 16", bench_random },
	{ "dirty", "first store to 512 clean pages of a shared mapping", bench_dirty },
	{ "msync", "msync of 0 to 4,096 dirty pages among 8,192 resident ones", bench_msync },
	{ "launder", "512 idle dirty pages of a file, written by the laundry", bench_launder },
	{ "swap", "1,024 anonymous pages to the swap disk and back", bench_swap },
	{ "write64", "64 MiB into a new file, through a mapping and through write()", bench_write64 },
	{ "chain", "a read fault whose page lies at the bottom of a chain", bench_chain },
	{ "trace", "an event of the trace, off and on", bench_trace },
	{ "qenter", "a pager's window of 32 pages", bench_qenter },
	{ "mmap", "mmap and munmap, without the system call", bench_mmap },
	{ "mprotect", "mprotect to read-only and back, without the system call", bench_mprotect },
	{ "size", "a fault, and how large the file is", bench_size },
	{ "resident", "a fault, and how many pages of the file are resident", bench_resident },
	{ "forked", "writing 64 and 1,024 pages that a child shares", bench_forked },
	{ "entries", "a fault, and how many mappings there are", bench_entries },
	{ "smp", "faults a second on 1, 2 and 4 CPUs", bench_smp },
};

static const char *const unit_names[] = {
	[UNIT_INSN] = "insn", [UNIT_COUNT] = "count", [UNIT_MBPS] = "MB/s", [UNIT_RATIO] = "ratio"
};

static uint64_t values[ROWS_MAX];
static bool filled[ROWS_MAX];
static const char *running;		/* the scenario */
static int failures;

/* ---- what scenarios call ---- */

/* A value as text: thousands apart, or with three decimals.  Returns buf. */
static const char *
value_text(char *buf, size_t size, uint64_t value, enum bench_unit unit)
{
	if (unit == UNIT_RATIO)
		snprintf(buf, size, "%lu.%03lu", value / 1000, value % 1000);
	else if (value >= 1000000)
		snprintf(buf, size, "%lu,%03lu,%03lu", value / 1000000, value / 1000 % 1000,
		    value % 1000);
	else if (value >= 1000)
		snprintf(buf, size, "%lu,%03lu", value / 1000, value % 1000);
	else
		snprintf(buf, size, "%lu", value);
	return (buf);
}

void
bench_report(const char *name, uint64_t value)
{
	const struct bench_row *row;
	char text[32];

	for (row = bench_rows; row < bench_rows + bench_nrows && !streq(row->name, name); row++)
		continue;
	KASSERT(row < bench_rows + bench_nrows, "no row is named %s", name);
	KASSERT(!filled[row - bench_rows], "%s is reported twice", name);
	values[row - bench_rows] = value;
	filled[row - bench_rows] = true;
	if (row->unit == UNIT_RATIO)
		value_text(text, sizeof(text), value, UNIT_RATIO);
	else
		snprintf(text, sizeof(text), "%lu", value);
	printf("bench: %s %s %s\n", name, text, unit_names[row->unit]);
}

static void
note(const char *kind, const char *fmt, va_list ap)
{
	printf("# %s: %s", running, kind);
	vprintf(fmt, ap);
	printf("\n");
}

void
bench_note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note("", fmt, ap);
	va_end(ap);
}

void
bench_skip(bool failure, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(failure ? "FAILED: " : "not run: ", fmt, ap);
	va_end(ap);
	failures += failure;
}

/* ---- the table ---- */

static const char *
column(char *buf, size_t size, uint32_t value, enum bench_unit unit)
{
	return (value == 0 ? "-" : value_text(buf, size, value, unit));
}

static const char *
judgement(const struct bench_row *row, uint64_t value)
{
	bool reached = row->unit == UNIT_MBPS ? value >= row->goal : value <= row->goal;

	return (row->goal == 0 || reached ? "" : "  <- not reached");
}

static void
print_table(void)
{
	char other[16], floor[16], goal[16], ours[16];

	printf("\n%-48s %-6s %9s %9s %9s %11s\n", "", "", "Linux", "floor", "goal", "Faultline");
	for (size_t i = 0; i < bench_nrows; i++) {
		const struct bench_row *row = &bench_rows[i];

		if (!filled[i])
			continue;
		printf("%-48s %-6s %9s %9s %9s %11s%s\n", row->title, unit_names[row->unit],
		    column(other, sizeof(other), row->other, row->unit),
		    column(floor, sizeof(floor), row->floor, row->unit),
		    column(goal, sizeof(goal), row->goal, row->unit),
		    value_text(ours, sizeof(ours), values[i], row->unit),
		    judgement(row, values[i]));
	}
	printf("\n");
}

static void
say_how(void)
{
	uint64_t rate = meter_tsc_per_kilo_insn();

	printf("# %s build, %u pages of RAM, TSC at %lu kHz by the PIT, ",
	    FAULTLINE_DEBUG ? "debug" : "release", vm_page_count, clock_tsc_hz() / 1000);
	printf("%lu.%03lu TSC counts an instruction\n", rate / 1000, rate % 1000);
	if (rate < 999 || rate > 1001)
		printf("# NOT COMPARABLE: this is time, not instructions (boot/qemu --icount)\n");
	if (FAULTLINE_DEBUG)
		printf("# NOT COMPARABLE: assertions and lock checks are in (make DEBUG=0)\n");
}

int
bench_main(void)
{
	const char *glob = cmdline_get("bench");
	int ran = 0;

	KASSERT(bench_nrows <= ROWS_MAX, "%zu rows", bench_nrows);
	if (*glob == '\0')
		glob = "*";
	meter_init();
	fixture_init();
	say_how();
	for (size_t i = 0; i < nitems(scenarios); i++) {
		running = scenarios[i].name;
		if (!glob_match(glob, running))
			continue;
		bench_note("%s", scenarios[i].title);
		scenarios[i].fn();
		ran++;
	}
	if (ran == 0)
		printf("# no measurement matches %s\n", glob);
	print_table();
	fixture_fini();
	meter_fini();
	return (ran == 0 ? 2 : failures > 0);
}
