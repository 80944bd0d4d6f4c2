/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time: nanoseconds from the TSC, ticks from the local APIC's timer, the date from the CMOS clock.
 *
 * Neither the TSC nor the APIC timer says how fast it runs; the PIT does (1193182 Hz since 1981).
 * For a few milliseconds all three count, and at both ends of that span their values are read
 * together:
 *
 *	tsc before | PIT and APIC counts | tsc after
 *
 * An emulator may be put aside by its host at any moment, also between two of those reads, so each
 * end is read several times and the reading with the shortest TSC span is kept.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/lib/printf.h"
#include "kernel/sched.h"
#include "kernel/user/proc.h"

#define PIT_HZ		1193182ul
#define PIT_SPAN	6000u		/* about 5 ms */
#define PIT_COUNTER2	0x42
#define PIT_MODE	0x43
#define PIT_GATE	0x61		/* bit 0: gate of counter 2, bit 1: the speaker */
#define NS_SHIFT	32

volatile uint64_t ticks = 1;

static uint64_t tsc_boot;		/* TSC when the clock was started */
static uint64_t ns_per_tsc;		/* nanoseconds per TSC count, shifted left by NS_SHIFT */
static uint64_t tsc_hz;
static uint64_t wall_boot;		/* seconds since 1970 at tsc_boot */

struct reading {
	uint64_t	tsc;
	uint64_t	width;		/* TSC counts that the reading took */
	uint32_t	lapic;
	uint16_t	pit;
};

static void
pit_start(void)
{
	outb(PIT_GATE, (uint8_t)((inb(PIT_GATE) & ~2) | 1));
	/* counter 2, both bytes, rate generator: counts down and round */
	outb(PIT_MODE, 0xb4);
	outb(PIT_COUNTER2, 0xff);
	outb(PIT_COUNTER2, 0xff);
}

static uint16_t
pit_count(void)
{
	uint8_t low;

	outb(PIT_MODE, 0x80);		/* latch counter 2 */
	low = inb(PIT_COUNTER2);
	return ((uint16_t)(low | inb(PIT_COUNTER2) << 8));
}

static struct reading
read_all(void)
{
	struct reading best = { .width = ~0ul }, r;
	int i;

	for (i = 0; i < 8; i++) {
		r.tsc = rdtsc();
		r.pit = pit_count();
		r.lapic = lapic_timer_count();
		r.width = rdtsc() - r.tsc;
		if (r.width < best.width)
			best = r;
	}
	return (best);
}

static void
calibrate(void)
{
	struct reading a, b;
	uint64_t pit, tsc, lapic_hz;

	pit_start();
	lapic_timer_calibrate_begin();
	a = read_all();
	while ((uint16_t)(a.pit - pit_count()) < PIT_SPAN)
		cpu_pause();
	b = read_all();
	pit = (uint16_t)(a.pit - b.pit);
	tsc = b.tsc - a.tsc;
	tsc_hz = tsc * PIT_HZ / pit;
	lapic_hz = (a.lapic - b.lapic) * PIT_HZ / pit;
	lapic_timer_set_rate((uint32_t)(lapic_hz / HZ));
	ns_per_tsc = (1000000000ul << NS_SHIFT) / tsc_hz;	/* 10^9 << 32 just fits */
	tsc_boot = a.tsc;
}

static uint8_t
cmos_read(uint8_t reg)
{
	outb(0x70, reg);
	return (inb(0x71));
}

struct cmos_date {
	uint8_t	second, minute, hour, day, month, year, century;
};

static bool
cmos_same(const struct cmos_date *a, const struct cmos_date *b)
{
	return (__builtin_memcmp(a, b, sizeof(*a)) == 0);
}

static struct cmos_date
cmos_date(void)
{
	struct cmos_date d = { cmos_read(0), cmos_read(2), cmos_read(4), cmos_read(7), cmos_read(8),
	    cmos_read(9), acpi_info.century != 0 ? cmos_read(acpi_info.century) : 0 };

	return (d);
}

static unsigned
from_bcd(unsigned v)
{
	return ((v >> 4) * 10 + (v & 15));
}

/* Days from 1970-01-01 to the first of a month of the Gregorian calendar. */
static uint64_t
days_before(unsigned year, unsigned month)
{
	static const uint16_t before[12] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	uint64_t y = year - 1, days;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	days = y * 365 + y / 4 - y / 100 + y / 400 - 719162;
	return (days + before[month - 1] + (leap && month > 2 ? 1 : 0));
}

/* The CMOS clock ticks while we read it: read until two readings agree. */
static uint64_t
cmos_seconds(void)
{
	struct cmos_date d, again;
	uint8_t mode = cmos_read(0x0b);
	unsigned hour, year, tries;
	bool pm;

	for (tries = 0; tries < 1000; tries++) {
		if (cmos_read(0x0a) & 0x80)	/* update in progress */
			continue;
		d = cmos_date();
		again = cmos_date();
		if (cmos_same(&d, &again) && !(cmos_read(0x0a) & 0x80))
			break;
	}
	if (tries == 1000)
		return (0);
	pm = (d.hour & 0x80) != 0;
	hour = d.hour & 0x7f;
	if (!(mode & 4)) {			/* binary-coded decimals */
		hour = from_bcd(hour);
		d.second = (uint8_t)from_bcd(d.second);
		d.minute = (uint8_t)from_bcd(d.minute);
		d.day = (uint8_t)from_bcd(d.day);
		d.month = (uint8_t)from_bcd(d.month);
		d.year = (uint8_t)from_bcd(d.year);
		d.century = (uint8_t)from_bcd(d.century);
	}
	if (!(mode & 2))			/* 12-hour clock */
		hour = hour % 12 + (pm ? 12 : 0);
	if (d.month < 1 || d.month > 12 || d.day < 1)
		return (0);
	year = d.year + 100u * (d.century >= 19 && d.century <= 99 ? d.century : 20);
	return (((days_before(year, d.month) + d.day - 1) * 24 + hour) * 3600 + d.minute * 60ul + d.second);
}

uint64_t
clock_tsc_ns(uint64_t tsc)
{
	if (ns_per_tsc == 0 || tsc < tsc_boot)
		return (0);
	return ((uint64_t)((unsigned __int128)(tsc - tsc_boot) * ns_per_tsc >> NS_SHIFT));
}

uint64_t
clock_ns(void)
{
	return (clock_tsc_ns(rdtsc()));
}

uint64_t
clock_wall_ns(void)
{
	return (wall_boot * 1000000000ul + clock_ns());
}

uint64_t
clock_wall_seconds(void)
{
	return (wall_boot + clock_ns() / 1000000000ul);
}

uint64_t
clock_tsc_hz(void)
{
	return (tsc_hz);
}

void
clock_init(void)
{
	calibrate();
	wall_boot = cmos_seconds();
	lapic_timer_start();
}

void
clock_intr(void)
{
	curcpu->ticks++;
	if (curthread->user != NULL)
		proc_tick(curthread);
	if (curcpu->id == 0) {
		ticks++;
		sleepq_tick();
		itimer_tick();
		sched_load_tick();
	}
	sched_tick();
}
