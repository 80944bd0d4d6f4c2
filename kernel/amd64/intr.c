/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Device interrupts: vectors, handlers, and what happens around a handler.
 *
 *	vector -> list of handlers (several only when devices share a line)
 *
 * A handler runs on the stack of whatever thread was interrupted, with interrupts off; it may take
 * spin locks and wake threads, nothing more.  The controller is told (EOI) after the last handler,
 * and only then may a better thread, woken by one of them, take the CPU.
 *
 * Handlers are added while booting and never removed, so dispatch takes no lock: a new one is
 * linked in only when it is complete.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/thread.h"

#define HANDLER_MAX	64
#define NO_GSI		(~0u)

struct intr_handler {
	struct intr_handler *next;
	intr_handler_t	fn;
	void		*arg;
	const char	*name;
	uint8_t		vector;
	uint32_t	gsi;		/* NO_GSI: message-signalled */
	uint64_t	count;		/* (atomic) */
};

/* Spin locks of drivers may be held by whoever registers, so this one is not ranked among them. */
static struct spinlock intr_lock = SPINLOCK_INITIALIZER("intr", RANK_NONE);
static struct intr_handler handlers[HANDLER_MAX];
static unsigned nhandlers;
static struct intr_handler *vectors[256];
static unsigned next_vector = VECTOR_DEVICE_FIRST;
static uint64_t spurious, unexpected;	/* (atomic) */
static unsigned next_cpu;		/* (intr_lock) whose turn it is to be given a device */
static uint64_t served[MAX_CPUS];	/* (its CPU, interrupts off) all but the timer's */

/*
 * Add a handler for a vector (0: a fresh one).  => intr_lock.  NULL when vectors or slots have run
 * out.
 */
static struct intr_handler *
handler_add(uint8_t vector, uint32_t gsi, intr_handler_t fn, void *arg, const char *name)
{
	struct intr_handler *h;

	if (nhandlers == HANDLER_MAX || (vector == 0 && next_vector > VECTOR_DEVICE_LAST))
		return (NULL);
	h = &handlers[nhandlers++];
	h->fn = fn;
	h->arg = arg;
	h->name = name;
	h->gsi = gsi;
	h->vector = vector != 0 ? vector : (uint8_t)next_vector++;
	h->next = vectors[h->vector];
	__atomic_store_n(&vectors[h->vector], h, __ATOMIC_RELEASE);
	return (h);
}

/* The CPU that serves the next device: each in turn.  => intr_lock */
static uint32_t
next_target(void)
{
	return (cpus[next_cpu++ % ncpus].lapic_id);
}

static int
route(uint32_t gsi, bool active_low, bool level, intr_handler_t fn, void *arg, const char *name)
{
	struct intr_handler *h = NULL;
	uint8_t vector = 0;
	unsigned i;
	int error;

	spin_lock(&intr_lock);
	for (i = 0; i < nhandlers; i++)
		if (handlers[i].gsi == gsi)
			vector = handlers[i].vector;
	h = handler_add(vector, gsi, fn, arg, name);
	if (h == NULL)
		error = ENOSPC;
	else if (vector != 0)
		error = 0;		/* a shared line, routed already */
	else
		error = ioapic_route(gsi, h->vector, next_target(), active_low, level);
	spin_unlock(&intr_lock);
	return (error);
}

int
intr_isa(unsigned irq, intr_handler_t fn, void *arg, const char *name)
{
	const struct acpi_override *o;
	unsigned i;

	for (i = 0; i < acpi_info.noverride; i++) {
		o = &acpi_info.override[i];
		if (o->irq == irq)
			return (route(o->gsi, o->active_low, o->level, fn, arg, name));
	}
	return (route(irq, false, false, fn, arg, name));
}

int
intr_msi(intr_handler_t fn, void *arg, const char *name, uint64_t *addr, uint32_t *data)
{
	struct intr_handler *h;
	uint32_t target = 0;

	spin_lock(&intr_lock);
	h = handler_add(0, NO_GSI, fn, arg, name);
	if (h != NULL)
		target = next_target();
	spin_unlock(&intr_lock);
	if (h == NULL)
		return (ENOSPC);
	*addr = 0xfee00000ul | (uint64_t)target << 12;
	*data = h->vector;
	return (0);
}

/* Mask both 8259s, after moving their vectors to where a stray one is recognised. */
static void
pic_disable(void)
{
	outb(0x20, 0x11);
	outb(0xa0, 0x11);
	outb(0x21, 0x20);
	outb(0xa1, 0x28);
	outb(0x21, 0x04);
	outb(0xa1, 0x02);
	outb(0x21, 0x01);
	outb(0xa1, 0x01);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

void
intr_init(void)
{
	pic_disable();
	lapic_init();
	ioapic_init();
}

static void
run_handlers(uint8_t vector)
{
	struct intr_handler *h = __atomic_load_n(&vectors[vector], __ATOMIC_ACQUIRE);

	if (h == NULL)
		__atomic_fetch_add(&unexpected, 1, __ATOMIC_RELAXED);
	for (; h != NULL; h = h->next) {
		__atomic_fetch_add(&h->count, 1, __ATOMIC_RELAXED);
		h->fn(h->arg);
	}
}

void
intr_dispatch(struct trapframe *frame)
{
	struct cpu *cpu = curcpu;
	uint8_t vector = (uint8_t)frame->vector;

	if (vector == VECTOR_SPURIOUS) {
		__atomic_fetch_add(&spurious, 1, __ATOMIC_RELAXED);	/* not acknowledged, says the manual */
		return;
	}
	if (vector < VECTOR_DEVICE_FIRST) {
		/* a stray one of the old PIC: it has its own acknowledgement */
		__atomic_fetch_add(&unexpected, 1, __ATOMIC_RELAXED);
		return;
	}
	KASSERT(cpu->spin_depth == 0, "interrupt 0x%x while a spin lock is held", vector);
	cpu->intr_depth++;
	served[cpu->id] += vector != VECTOR_TIMER;
	if (vector == VECTOR_TIMER)
		clock_intr();
	else if (vector == VECTOR_TLB)
		pmap_tlb_serve();
	else if (vector == VECTOR_HOLD)
		smp_hold_here();
	else if (vector != VECTOR_RESCHED)	/* that one wants no more than the last line below */
		run_handlers(vector);
	lapic_eoi();
	cpu->intr_depth--;
	sched_preempt();
}

uint64_t
intr_cpu_count(unsigned cpu)
{
	return (served[cpu]);
}

bool
intr_stat_get(unsigned index, struct intr_stat *out)
{
	if (index == 0)
		*out = (struct intr_stat){ "timer", VECTOR_TIMER, cpus[0].ticks };
	else if (index <= nhandlers)
		*out = (struct intr_stat){ handlers[index - 1].name, handlers[index - 1].vector,
		    handlers[index - 1].count };
	else if (index == nhandlers + 1)
		*out = (struct intr_stat){ "spurious", VECTOR_SPURIOUS, spurious };
	else if (index == nhandlers + 2)
		*out = (struct intr_stat){ "unexpected", 0, unexpected };
	else
		return (false);
	return (true);
}
