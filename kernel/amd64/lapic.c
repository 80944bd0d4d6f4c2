/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC: end of interrupt, and this CPU's timer.
 *
 * Registers lie in one page of uncached device memory, 16 bytes apart (Intel SDM vol. 3, 11.4).  A
 * firmware that left us in x2APIC mode is served through MSRs instead.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "vm/vm_kern.h"

#define MSR_APIC_BASE	0x1b
#define APIC_BASE_X2	0x400
#define APIC_BASE_ENABLE 0x800
#define MSR_X2APIC	0x800

enum lapic_register {
	LAPIC_ID = 0x20, LAPIC_TPR = 0x80, LAPIC_EOI = 0xb0, LAPIC_SVR = 0xf0, LAPIC_LVT_TIMER = 0x320,
	LAPIC_LVT_LINT0 = 0x350, LAPIC_LVT_LINT1 = 0x360, LAPIC_LVT_ERROR = 0x370,
	LAPIC_TIMER_INITIAL = 0x380, LAPIC_TIMER_COUNT = 0x390, LAPIC_TIMER_DIVIDE = 0x3e0
};

#define SVR_ENABLE	0x100
#define LVT_MASKED	0x10000
#define LVT_NMI		0x400
#define TIMER_PERIODIC	0x20000
#define TIMER_DIVIDE_16	0x3

static volatile uint32_t *registers;
static bool x2apic;
static uint32_t timer_rate;		/* counts per tick */

static uint32_t
lapic_read(enum lapic_register reg)
{
	if (x2apic)
		return ((uint32_t)rdmsr(MSR_X2APIC + reg / 16));
	return (registers[reg / 4]);
}

static void
lapic_write(enum lapic_register reg, uint32_t value)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + reg / 16, value);
	else
		registers[reg / 4] = value;
}

void
lapic_init(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	x2apic = (base & APIC_BASE_X2) != 0;
	wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
	if (!x2apic)
		registers = kva_map_device(acpi_info.lapic_pa, PAGE_SIZE);
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);	/* the old PIC is off */
	lapic_write(LAPIC_LVT_LINT1, LVT_NMI);
	lapic_write(LAPIC_LVT_ERROR, LVT_MASKED);
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
	curcpu->lapic_id = lapic_id();
}

uint32_t
lapic_id(void)
{
	return (x2apic ? lapic_read(LAPIC_ID) : lapic_read(LAPIC_ID) >> 24);
}

void
lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}

/* Let the timer run down from the top, masked, for clock.c to measure. */
void
lapic_timer_calibrate_begin(void)
{
	lapic_write(LAPIC_TIMER_DIVIDE, TIMER_DIVIDE_16);
	lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
	lapic_write(LAPIC_TIMER_INITIAL, 0xffffffff);
}

uint32_t
lapic_timer_count(void)
{
	return (lapic_read(LAPIC_TIMER_COUNT));
}

void
lapic_timer_set_rate(uint32_t counts_per_tick)
{
	timer_rate = counts_per_tick;
}

void
lapic_timer_start(void)
{
	lapic_write(LAPIC_TIMER_DIVIDE, TIMER_DIVIDE_16);
	lapic_write(LAPIC_LVT_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
	lapic_write(LAPIC_TIMER_INITIAL, timer_rate);
}
