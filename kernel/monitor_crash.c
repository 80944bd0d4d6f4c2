/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor: commands that end the machine, to see what a panic says.
 *
 *	panic		just so
 *	overflow	run off the kernel stack into its guard page
 *	crash WAY	break one rule of trap.c's table:
 *
 *	null wild text	write where nobody may
 *	code		execute what is data
 *	jump		execute what is a program's
 *	stray		touch a program's memory outside of copyin and copyout
 *	lock interrupt	touch it where a fault may not sleep
 *	tables		use a page-table entry that the processor calls damaged
 *	livelock	take a fault that is served again and again, and never helps
 *
 * Each is a bug that the kernel must not have, so each is committed here for real.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/amd64/layout.h"
#include "kernel/amd64/machdep.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/monitor.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_kern.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"

#define RESERVED_BIT	(1ul << 51)	/* of a page-table entry, while physical addresses are shorter */
#define USER_PAGES	4096ul

void
cmd_panic(int argc, char **argv)
{
	panic("the monitor was asked to panic");
}

/* Use up the stack.  The volatile words keep each call's frame, and each call a call. */
static uint64_t overflow_step(volatile uint64_t *depth) __attribute__((noinline));

static uint64_t
overflow_step(volatile uint64_t *depth)
{
	volatile uint64_t frame[32];

	frame[0] = ++*depth;
	if (*depth == UINT64_MAX)
		return (0);
	return (overflow_step(depth) + frame[0]);
}

void
cmd_overflow(int argc, char **argv)
{
	volatile uint64_t depth = 0;

	printf("%lu\n", overflow_step(&depth));
}

/* ---- crash ---- */

/* With a frame of its own, which must be asked for, or the backtrace would miss who called. */
static __attribute__((noinline)) void
write_to(vm_offset_t va)
{
	__asm__ volatile("" : : "r" (__builtin_frame_address(0)));
	*(volatile uint8_t *)va = 0;
}

static void
crash_null(void)
{
	write_to(0);
}

static void
crash_wild(void)
{
	write_to(KVA_BASE + KVA_SIZE);
}

static void
crash_text(void)
{
	write_to((vm_offset_t)cmd_crash);
}

static void
execute(vm_offset_t va)
{
	void (*fn)(void) = (void (*)(void))va;

	fn();
}

static uint8_t return_instruction[] = { 0xc3 };

static void
crash_code(void)
{
	execute((vm_offset_t)return_instruction);
}

/* An address space with one mapping in it, and its address. */
static struct vmspace *
user_memory(vm_offset_t *addr)
{
	struct vmspace *vm = vmspace_alloc();

	*addr = VM_USER_MIN;
	if (vm == NULL || vm_mmap(vm, addr, USER_PAGES * PAGE_SIZE, VM_PROT_ALL, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0) != 0)
		panic("crash: no memory for an address space");
	return (vm);
}

static void
crash_jump(void)
{
	vm_offset_t addr;

	(void)thread_set_vmspace(user_memory(&addr));
	execute(addr);
}

static void
crash_stray(void)
{
	vm_offset_t addr;

	(void)thread_set_vmspace(user_memory(&addr));
	write_to(addr);
}

static struct spinlock crash_lock = SPINLOCK_INITIALIZER("crash", RANK_NONE);

static void
crash_holding(void)
{
	vm_offset_t addr;

	(void)thread_set_vmspace(user_memory(&addr));
	spin_lock(&crash_lock);
	user_access_begin();
	write_to(addr);
}

static vm_offset_t touched_by_interrupt;

static void
interrupt(void *arg)
{
	user_access_begin();
	write_to(touched_by_interrupt);
}

static void
crash_interrupt(void)
{
	uint64_t address;
	uint32_t vector;

	(void)thread_set_vmspace(user_memory(&touched_by_interrupt));
	if (intr_msi(interrupt, NULL, "crash", &address, &vector) != 0)
		panic("crash: no vector is left");
	for (;;)
		lapic_send(lapic_id(), (uint8_t)vector);
}

static void
crash_tables(void)
{
	vm_offset_t va = kmem_alloc(PAGE_SIZE, M_WAITOK);

	pmap_kenter(va, pmap_kextract(va), PG_RW | PG_NX | RESERVED_BIT);
	write_to(va);
}

/*
 * This thread says that it is in an address space, but the processor is in another: the fault maps the
 * page where nobody looks.  A switch to this thread puts it right, so try again until there is none.
 */
static void
crash_livelock(void)
{
	vm_offset_t addr;
	struct vmspace *vm = user_memory(&addr);

	for (vm_offset_t va = addr; va < addr + USER_PAGES * PAGE_SIZE; va += PAGE_SIZE) {
		(void)thread_set_vmspace(NULL);
		curthread->vmspace = vm;
		user_access_begin();
		write_to(va);
		user_access_end();
	}
}

static __attribute__((noinline)) void
nest(struct mutex *outer, struct mutex *inner)
{
	mutex_lock(outer);
	mutex_lock(inner);
	mutex_unlock(inner);
	mutex_unlock(outer);
}

/* Two locks one way round, then the other: nobody waits, and the lock checker of debug builds objects. */
static void
crash_order(void)
{
	static struct mutex a, b;

	mutex_init(&a, "crash a", RANK_NONE);
	mutex_init(&b, "crash b", RANK_NONE);
	nest(&a, &b);
	nest(&b, &a);
}

static const struct {
	const char	*name;
	void		(*crash)(void);
} ways[] = {
	{ "null", crash_null }, { "wild", crash_wild }, { "text", crash_text }, { "code", crash_code }, { "jump", crash_jump },
	{ "stray", crash_stray }, { "lock", crash_holding }, { "interrupt", crash_interrupt }, { "tables", crash_tables },
	{ "livelock", crash_livelock }, { "order", crash_order },
};

void
cmd_crash(int argc, char **argv)
{
	for (size_t i = 0; i < nitems(ways); i++)
		if (streq(argv[1], ways[i].name))
			ways[i].crash();
	printf("crash: `%s` is not one of", argv[1]);
	for (size_t i = 0; i < nitems(ways); i++)
		printf("%s %s", i > 0 ? "," : "", ways[i].name);
	printf("\n");
}
