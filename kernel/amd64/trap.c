/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions: who serves them, and what is said when nobody can.
 *
 * The page fault is the one exception that is part of normal life:
 *
 *	address	  while			goes to
 *	user	  normal		vm_fault_trap(); refused: extable fix-up, else panic
 *	user	  spin lock/interrupt	panic, naming the lock: a fault may sleep
 *	user	  window shut (SMAP)	extable fix-up, else panic: a stray pointer
 *	kernel	  -			extable fix-up, else panic; kernel memory is wired, vm_fault never sees it
 *	any	  reserved bit set	panic: page tables are damaged
 *
 * What a program does wrong becomes a signal, with the code and the address that Linux would give.
 *
 * Everything else that happens in the kernel is a bug of the kernel, or a fix-up (a #GP is what a
 * non-canonical address raises).
 */
#include "kernel/amd64/machdep.h"
#include "kernel/console.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lockorder.h"
#include "kernel/thread.h"
#include "kernel/user/proc.h"
#include "vm/vm_fault.h"
#include "vm/vm_kern.h"

#define REFAULT_MAX	1000		/* the same fault, served so often, with no instruction done */
#define SEGV_MAPERR	1
#define FPE_INTDIV	1
#define ILL_ILLOPN	2
#define TRAP_TRACE	2
#define BUS_ADRALN	1

struct extable_entry {
	uint64_t	fault_rip;
	uint64_t	fixup_rip;
};

extern const struct extable_entry extable_start[], extable_end[];

static const char *const trap_names[32] = {
	"divide error", "debug exception", "NMI", "breakpoint", "overflow", "bound range exceeded",
	"invalid opcode", "no FPU", "double fault", "FPU segment overrun", "invalid TSS",
	"segment not present", "stack segment fault", "general protection fault", "page fault",
	"reserved exception 15", "x87 error", "alignment check", "machine check", "SIMD error",
	"virtualization exception", "control protection", "reserved exception 22",
	"reserved exception 23", "reserved exception 24", "reserved exception 25",
	"reserved exception 26", "reserved exception 27", "hypervisor injection",
	"VMM communication", "security exception", "reserved exception 31"
};

static bool
from_user(const struct trapframe *f)
{
	return ((f->cs & 3) != 0);
}

bool
extable_fixup(struct trapframe *f)
{
	const struct extable_entry *e;

	for (e = extable_start; e < extable_end; e++)
		if (e->fault_rip == f->rip) {
			f->rip = e->fixup_rip;
			return (true);
		}
	return (false);
}

void
trap_print_frame(const struct trapframe *f)
{
	printf("  rip %016lx  rsp %016lx  rbp %016lx  rflags %08lx\n"
	    "  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n"
	    "  rsi %016lx  rdi %016lx  r8  %016lx  r9  %016lx\n"
	    "  r10 %016lx  r11 %016lx  r12 %016lx  r13 %016lx\n"
	    "  r14 %016lx  r15 %016lx  cs %02lx ss %02lx  vector %lu error %lx\n",
	    f->rip, f->rsp, f->rbp, f->rflags, f->rax, f->rbx, f->rcx, f->rdx, f->rsi, f->rdi, f->r8,
	    f->r9, f->r10, f->r11, f->r12, f->r13, f->r14, f->r15, f->cs, f->ss, f->vector, f->error);
}

/* "write to", "read from" or "execution of", for messages. */
static const char *
access_word(uint64_t error)
{
	if (error & PF_FETCH)
		return ("execution of");
	return ((error & PF_WRITE) ? "write to" : "read from");
}

/* Where an address lies, in words. */
static const char *
region_word(vm_offset_t va)
{
	if (va < PAGE_SIZE)
		return ("page 0: a null pointer");
	if (va < DMAP_BASE)
		return ("the user half");
	if (va < KVA_BASE)
		return ("the direct map");
	return (va < KERNBASE ? "the kernel's mapped memory" : "the kernel image");
}

static void page_fault_panic(const struct trapframe *, vm_offset_t, const char *) __noreturn;

static void
page_fault_panic(const struct trapframe *f, vm_offset_t va, const char *why)
{
	panic_trap(f, "page fault: %s 0x%lx (%s) by %s code: %s%s; %s", access_word(f->error), va,
	    region_word(va), from_user(f) ? "user" : "kernel",
	    (f->error & PF_PRESENT) ? "mapped, but not for that" : "not mapped",
	    (f->error & PF_RESERVED) ? ", reserved bit set in the page tables" : "", why);
}

struct guard_search {
	vm_offset_t	va;
	struct thread	*found;
};

static void
guard_of_thread(struct thread *td, void *arg)
{
	struct guard_search *s = arg;

	if (td->kstack != 0 && s->va < td->kstack && td->kstack - s->va <= PAGE_SIZE)
		s->found = td;
}

/* Panic when va lies in a stack's guard page, saying whose. */
static void
check_stack_guard(const struct trapframe *f, vm_offset_t va)
{
	struct guard_search search = { va, NULL };
	const char *name = stack_guard_name(va);

	if (name != NULL)
		panic_trap(f, "kernel stack overflow of %s (guard page touched at 0x%lx)", name, va);
	threads_foreach_unlocked(guard_of_thread, &search);
	if (search.found != NULL)
		panic_trap(f, "kernel stack overflow of thread %s (guard page touched at 0x%lx)",
		    search.found->name, va);
}

/*
 * A served fault that comes again and again without one instruction done in between: vm_fault says
 * "mapped", the processor says "not".  The registers are part of the question, because a loop may
 * well fault often on one address (whose page is taken away each time), but then something in it
 * has moved on.
 */
static void
check_refault(struct thread *td, const struct trapframe *f, vm_offset_t va)
{
	const uint64_t *word = (const uint64_t *)f;
	uint64_t digest = 0;
	size_t i;

	/* the common case: another page, and no need for the digest */
	if (td->refault_va != va) {
		td->refault_va = va;
		td->refaults = 0;
		return;
	}
	for (i = 0; i < sizeof(*f) / sizeof(*word); i++)
		digest = (digest << 7 | digest >> 57) ^ word[i];
	if (td->refault_state != digest) {
		td->refault_state = digest;
		td->refaults = 0;
		return;
	}
	if (++td->refaults > REFAULT_MAX)
		panic_trap(f, "fault livelock: thread %s took the same fault %u times, %s 0x%lx, error %lx; "
		    "vm_fault succeeds, but the processor doesn't see the mapping", td->name,
		    td->refaults, access_word(f->error), va, f->error);
}

/* What a signal frame tells about the exception. */
static void
note_exception(const struct trapframe *f, vm_offset_t cr2)
{
	curuthread->fault_trapno = f->vector;
	curuthread->fault_error = f->error;
	curuthread->fault_cr2 = cr2;
}

/* A user address that is not to be had.  => interrupts as in the interrupted code. */
static void
user_fault_refused(struct trapframe *f, vm_offset_t va, const struct fault_info *why)
{
	curthread->fault = *why;
	if (from_user(f)) {
		if (curthread->user == NULL)
			panic_trap(f, "user mode in thread %s, which has no process", curthread->name);
		note_exception(f, va);
		intr_enable();
		signal_fault(why->signo, why->code, why->addr);
		return;
	}
	if (!extable_fixup(f))
		page_fault_panic(f, va, "the kernel used a user address that has no such page");
}

static void
user_page_fault(struct trapframe *f, vm_offset_t va)
{
	struct fault_info why = { .signo = SIGSEGV, .code = SEGV_MAPERR, .addr = va };
	struct thread *td = curthread;
	uint64_t rip = f->rip;
	int refused;

	if (in_interrupt())
		page_fault_panic(f, va, "user memory touched by an interrupt handler");
	if (cpu_spin_depth() > 0) {
		locks_print_held();
		page_fault_panic(f, va, "user memory touched while holding a spin lock");
	}
	if (!from_user(f) && (f->error & PF_FETCH))
		page_fault_panic(f, va, "the kernel jumped to a user address");
	if (!from_user(f) && cpu_smap && !(f->rflags & RFLAGS_AC)) {
		if (extable_fixup(f))
			return;
		page_fault_panic(f, va,
		    "a user address used outside of copyin, copyout and user_access_begin");
	}
	if (td->nofault && !from_user(f) && extable_fixup(f)) {
		vm_fault_declined(td->vmspace, va, (uint32_t)f->error, rip);
		return;
	}
	td->faults++;
	if (td->vmspace == NULL) {
		user_fault_refused(f, va, &why);
		return;
	}
	if (f->rflags & RFLAGS_IF)
		intr_enable();
	refused = vm_fault_trap(td->vmspace, va, (uint32_t)f->error, &why);
	if (refused)
		user_fault_refused(f, va, &why);
	else
		check_refault(td, f, va);
}

void
trap_page_fault(struct trapframe *f)
{
	vm_offset_t va = read_cr2();

	if (f->error & PF_RESERVED)
		page_fault_panic(f, va, "the page tables are damaged");
	if (va < DMAP_BASE) {
		user_page_fault(f, va);
		return;
	}
	if (from_user(f)) {
		struct fault_info why = { .signo = SIGSEGV, .code = SEGV_MAPERR, .addr = va };

		user_fault_refused(f, va, &why);
		return;
	}
	if (extable_fixup(f))
		return;
	check_stack_guard(f, va);
	page_fault_panic(f, va, (f->error & PF_PRESENT) ? "the kernel may not do that to its own memory" :
	    "kernel memory is always mapped, so the pointer is wrong");
}

/* Any other exception of a program.  => interrupts off; on at return. */
static void
user_exception(struct trapframe *f)
{
	static const struct {
		int	signo, code;
		bool	at_rip;			/* si_addr is the instruction's */
	} signals[32] = {
		[TRAP_DIVIDE] = { SIGFPE, FPE_INTDIV, true },
		[TRAP_DEBUG] = { SIGTRAP, TRAP_TRACE, true },
		[TRAP_BREAKPOINT] = { SIGTRAP, SI_KERNEL, false },
		[TRAP_OPCODE] = { SIGILL, ILL_ILLOPN, true },
		[TRAP_STACK] = { SIGBUS, SI_KERNEL, false },
		[TRAP_X87] = { SIGFPE, FPE_INTDIV, true },
		[TRAP_ALIGN] = { SIGBUS, BUS_ADRALN, false },
		[TRAP_SIMD] = { SIGFPE, FPE_INTDIV, true },
	};
	int signo = signals[f->vector].signo;

	note_exception(f, curuthread->fault_cr2);
	intr_enable();
	if (signo == 0)
		signal_fault(SIGSEGV, SI_KERNEL, 0);
	else
		signal_fault(signo, signals[f->vector].code, signals[f->vector].at_rip ? f->rip : 0);
}

/* Any other exception. */
static void
trap_exception(struct trapframe *f)
{
	const char *name = trap_names[f->vector];

	if (from_user(f) && f->vector != TRAP_NMI && f->vector != TRAP_DOUBLE && f->vector != TRAP_MACHINE_CHECK &&
	    curthread->user != NULL) {
		user_exception(f);
		return;
	}

	switch (f->vector) {
	case TRAP_NMI:
		if (panicking)
			smp_stop_here(f);
		curcpu->in_nmi = true;
		printf("NMI on CPU %u in thread %s at 0x%lx\n", curcpu->id, curthread->name, f->rip);
		curcpu->in_nmi = false;
		return;
	case TRAP_DOUBLE:
		/*
		 * The fault that could not be delivered was most likely a push into a guard page.
		 */
		check_stack_guard(f, f->rsp);
		check_stack_guard(f, f->rsp - 8);
		check_stack_guard(f, read_cr2());
		panic_trap(f, "double fault (CR2 0x%lx)", read_cr2());
	case TRAP_GP:
	case TRAP_STACK:
		if (!from_user(f) && extable_fixup(f))
			return;
		panic_trap(f, "%s in %s code, error 0x%lx%s", name, from_user(f) ? "user" : "kernel",
		    f->error, f->error == 0 ? " (a non-canonical address or a forbidden instruction)" : "");
	default:
		panic_trap(f, "%s in %s code", name, from_user(f) ? "user" : "kernel");
	}
}

void
trap(struct trapframe *f)
{
	struct thread *td = curthread;
	struct trapframe *outer = td->frame;

	td->frame = f;
	if (f->vector == TRAP_PAGE)
		trap_page_fault(f);
	else if (f->vector >= 32)
		intr_dispatch(f);
	else
		trap_exception(f);
	td->frame = outer;
	if (from_user(f) && f->vector != TRAP_NMI)
		user_return(f);
}

/*
 * The last thing before user mode.  A signal that is posted after the look is seen at the next interrupt: its
 * sender makes sure that one comes, or the timer does.
 */
void
user_return(struct trapframe *f)
{
	struct thread *td = curthread;

	intr_disable();
	while (td->ast || unlikely(f->rip >= VM_USER_MAX && td->user != NULL)) {
		if (!td->ast)
			signal_fault(SIGSEGV, SI_KERNEL, 0);	/* IRETQ would fault, in the kernel */
		intr_enable();
		user_ast(f);
		intr_disable();
	}
}
