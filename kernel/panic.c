/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end.
 *
 * A panic prints what it knows, most important first, because any line may be the last: the reason,
 * the registers, the backtrace, what the other CPUs did when they were stopped, the threads with what
 * they wait for, the counters.  It takes no lock (`panicking` lets every spin lock be walked through)
 * and trusts no structure further than it must.  A second panic while the first one prints stops the
 * machine at once.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/console.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lockorder.h"
#include "kernel/thread.h"
#include "vm/vm_meter.h"

volatile bool panicking;

/* (atomic) the CPU that panics, plus 1; 0: none */
static unsigned panic_cpu;

bool
panicking_here(void)
{
	return (panicking && panic_cpu == curcpu->id + 1);
}

/*
 * Say the reason, who ran, and what he holds.  Of several CPUs that panic only one comes back, and nobody from a
 * panic inside the panic.
 */
static void
panic_begin(const char *fmt, va_list ap)
{
	struct thread *td = curthread;
	unsigned nobody = 0, self;
	bool first;

	intr_disable();
	user_access_end();
	self = curcpu->id + 1;
	first = __atomic_compare_exchange_n(&panic_cpu, &nobody, self, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (!first && nobody != self)
		smp_stop_here(NULL);
	panicking = true;
	if (first)
		smp_stop_others();
	console_break_lock();
	printf(first ? "\npanic: " : "\npanic inside the panic: ");
	vprintf(fmt, ap);
	printf("\n");
	if (!first)
		machine_exit_panic();
	printf("  thread %s (tid %u) on CPU %u, CR2 %016lx CR3 %016lx CR4 %lx\n", td->name, td->tid,
	    curcpu->id, read_cr2(), read_cr3(), read_cr4());
	locks_print_held();
}

static void panic_story(void) __noreturn;

static void
panic_story(void)
{
	smp_print_stopped();
	threads_print();
	vm_meter_print();
	printf("panic: the machine stops here\n");
	console_hold();
	machine_exit_panic();
}

void
panic(const char *fmt, ...)
{
	uint64_t rflags = read_rflags();
	struct thread *td = curthread;
	va_list ap;

	va_start(ap, fmt);
	panic_begin(fmt, ap);
	va_end(ap);
	printf("registers:\n  rip %016lx  rsp %016lx  rbp %016lx  rflags %08lx\n",
	    (uint64_t)__builtin_return_address(0), (uint64_t)__builtin_frame_address(0) + 16,
	    *(const uint64_t *)__builtin_frame_address(0), rflags);
	if (td->frame != NULL) {
		printf("registers at the last trap:\n");
		trap_print_frame(td->frame);
	}
	printf("backtrace:\n");
	backtrace_print((uint64_t)panic, (uint64_t)__builtin_frame_address(0));
	panic_story();
}

void
panic_trap(const struct trapframe *frame, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	panic_begin(fmt, ap);
	va_end(ap);
	printf("registers:\n");
	trap_print_frame(frame);
	printf("backtrace:\n");
	backtrace_print(frame->rip, frame->rbp);
	panic_story();
}
