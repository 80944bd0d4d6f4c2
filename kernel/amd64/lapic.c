/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC: end of interrupt, this CPU's timer, and interrupts for other CPUs.
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
	LAPIC_ICR_LOW = 0x300, LAPIC_ICR_HIGH = 0x310, LAPIC_LVT_LINT0 = 0x350, LAPIC_LVT_LINT1 = 0x360, LAPIC_LVT_ERROR = 0x370,
	LAPIC_TIMER_INITIAL = 0x380, LAPIC_TIMER_COUNT = 0x390, LAPIC_TIMER_DIVIDE = 0x3e0
};

#define SVR_ENABLE	0x100
#define ICR_NMI		0x400
#define ICR_INIT	0x500
#define ICR_STARTUP	0x600
#define ICR_PENDING	0x1000
#define ICR_ASSERT	0x4000
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
	x2apic = (rdmsr(MSR_APIC_BASE) & APIC_BASE_X2) != 0;
	if (!x2apic)
		registers = kva_map_device(acpi_info.lapic_pa, PAGE_SIZE);
	lapic_init_cpu();
}

void
lapic_init_cpu(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE | (x2apic ? APIC_BASE_X2 : 0));
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

/*
 * The command goes out with the write of the low half, so nobody on this CPU may come between the two.
 * The former one must have been taken by its target's APIC: an emulator does that at once.
 */
static void
send(uint32_t lapic, uint32_t command)
{
	bool were_on = intr_enabled();

	intr_disable();
	if (x2apic) {
		wrmsr(MSR_X2APIC + LAPIC_ICR_LOW / 16, (uint64_t)lapic << 32 | command);
	} else {
		while (lapic_read(LAPIC_ICR_LOW) & ICR_PENDING)
			cpu_pause();
		lapic_write(LAPIC_ICR_HIGH, lapic << 24);
		lapic_write(LAPIC_ICR_LOW, command);
	}
	if (were_on)
		intr_enable();
}

void
lapic_send(uint32_t lapic, uint8_t vector)
{
	send(lapic, ICR_ASSERT | vector);
}

void
lapic_send_nmi(uint32_t lapic)
{
	send(lapic, ICR_ASSERT | ICR_NMI);
}

void
lapic_send_init(uint32_t lapic)
{
	send(lapic, ICR_ASSERT | ICR_INIT);
}

void
lapic_send_startup(uint32_t lapic, uint8_t page)
{
	send(lapic, ICR_ASSERT | ICR_STARTUP | page);
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
