/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processor itself: what it can do, and what of that is switched on.
 *
 * cpu_init_early() is the first C that runs in the kernel.  It gives the boot CPU its struct cpu
 * behind %gs and its first thread, so that curcpu, curthread and with them all locks work from then
 * on.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/kassert.h"
#include "kernel/sched.h"
#include "kernel/thread.h"

_Static_assert(offsetof(struct cpu, self) == 0 && offsetof(struct cpu, thread) == CPU_THREAD,
    "cpu_self() and thread_self() know these offsets");
_Static_assert(offsetof(struct cpu, kstack) == CPU_KSTACK && offsetof(struct cpu, user_rsp) == CPU_USER_RSP &&
    offsetof(struct thread, ast) == THREAD_AST, "trap.S knows these offsets");
_Static_assert(KERNBASE == 0xffffffff80000000, "layout.h tells assembly the same");
_Static_assert((KERNBASE >> 3) + KASAN_SHADOW_OFFSET == KASAN_SHADOW_IMAGE, "layout.h tells assembly the result");
_Static_assert(BOOT_STACK_SIZE == KSTACK_PAGES * PAGE_SIZE, "the idle thread's stack is the boot stack");
_Static_assert(sizeof(struct trapframe) == 22 * 8, "trap.S pushes this much");

#define MSR_EFER	0xc0000080
#define EFER_SCE	0x1
#define EFER_NXE	0x800
#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_SFMASK	0xc0000084
#define MSR_FS_BASE	0xc0000100
#define MSR_GS_BASE	0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102

struct cpu cpus[MAX_CPUS];
unsigned ncpus = 1;
struct cpu_features cpu_features;
bool cpu_smap;

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

static struct cpuid_regs
cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	__asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
	    : "a"(leaf), "c"(subleaf));
	return (r);
}

static void
find_names(uint32_t max_extended)
{
	struct cpuid_regs r = cpuid(0, 0);
	uint32_t vendor[] = { r.ebx, r.edx, r.ecx }, leaf;

	__builtin_memcpy(cpu_features.vendor, vendor, sizeof(vendor));
	if (max_extended < 0x80000004)
		return;
	for (leaf = 0; leaf < 3; leaf++) {
		r = cpuid(0x80000002 + leaf, 0);
		__builtin_memcpy(cpu_features.brand + 16 * leaf, &r, sizeof(r));
	}
}

static void
find_features(void)
{
	struct cpu_features *f = &cpu_features;
	uint32_t max = cpuid(0, 0).eax, max_extended = cpuid(0x80000000, 0).eax;
	struct cpuid_regs r = cpuid(1, 0);

	find_names(max_extended);
	f->edx1 = r.edx;
	f->pge = (r.edx >> 13 & 1) != 0;
	f->x2apic = (r.ecx >> 21 & 1) != 0;
	f->tsc_deadline = (r.ecx >> 24 & 1) != 0;
	if (max >= 7) {
		r = cpuid(7, 0);
		f->smep = (r.ebx >> 7 & 1) != 0;
		f->invpcid = (r.ebx >> 10 & 1) != 0;
		f->smap = (r.ebx >> 20 & 1) != 0;
	}
	r = cpuid(0x80000001, 0);
	f->nx = (r.edx >> 20 & 1) != 0;
	f->pdpe1gb = (r.edx >> 26 & 1) != 0;
}

/* Switch on what was found, on this CPU. */
static void
enable_features(void)
{
	/* Nothing of what a firmware may have left on the boot CPU, and on no other. */
	uint64_t cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (cpu_features.nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_WP | CR0_MP | CR0_NE);
	if (cpu_features.pge)
		cr4 |= CR4_PGE;
	if (cpu_features.smep)
		cr4 |= CR4_SMEP;
	if (cpu_features.smap)
		cr4 |= CR4_SMAP;
	write_cr4(cr4);
	cpu_smap = cpu_features.smap;
	user_access_end();
	wrmsr(MSR_STAR, (uint64_t)SEL_KCODE << 32 | (SEL_UDATA - 8ul) << 48);
	wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
	wrmsr(MSR_SFMASK, RFLAGS_IF | RFLAGS_DF | RFLAGS_TF | RFLAGS_AC | RFLAGS_NT);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
}

void
user_state_init(struct user_state *us)
{
	__builtin_memset(us, 0, sizeof(*us));
	us->fx[0] = 0x7f;			/* FCW 0x37f: all x87 exceptions masked, extended precision */
	us->fx[1] = 0x03;
	us->fx[24] = 0x80;			/* MXCSR 0x1f80: all SSE exceptions masked */
	us->fx[25] = 0x1f;
}

void
user_state_save(struct user_state *us)
{
	__asm__ volatile("fxsave64 %0" : "=m"(us->fx));
}

void
user_state_load(const struct user_state *us)
{
	__asm__ volatile("fxrstor64 %0" : : "m"(us->fx));
	wrmsr(MSR_FS_BASE, us->fs_base);
	wrmsr(MSR_KERNEL_GS_BASE, us->gs_base);
}

void
user_state_replace(const struct user_state *new)
{
	bool on = intr_enabled();

	intr_disable();
	*curthread->ustate = *new;
	user_state_load(new);
	if (on)
		intr_enable();
}

void
user_state_set_base(struct user_state *us, bool fs, uint64_t base)
{
	/* A switch between the two loads the same value. */
	if (fs) {
		us->fs_base = base;
		wrmsr(MSR_FS_BASE, base);
	} else {
		us->gs_base = base;
		wrmsr(MSR_KERNEL_GS_BASE, base);
	}
}

void
user_state_sanitize(struct user_state *us)
{
	uint32_t mxcsr;

	__builtin_memcpy(&mxcsr, us->fx + 24, sizeof(mxcsr));
	mxcsr &= 0xffff;			/* FXRSTOR faults on any other bit */
	__builtin_memcpy(us->fx + 24, &mxcsr, sizeof(mxcsr));
}

void
cpu_init_early(void)
{
	struct cpu *cpu = &cpus[0];

	cpu->self = cpu;
	cpu->thread = &thread0;
	gdt_init(cpu);
	wrmsr(MSR_GS_BASE, (uint64_t)cpu);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
	find_features();
	enable_features();
}

void
cpu_init_ap(struct cpu *cpu)
{
	cpu->self = cpu;
	gdt_init(cpu);
	wrmsr(MSR_GS_BASE, (uint64_t)cpu);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
	enable_features();
}

bool
in_interrupt(void)
{
	int depth;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(depth) : "i"(offsetof(struct cpu, intr_depth)));
	return (depth > 0);
}

/*
 * Halt until the next interrupt, unless a thread became ready since we last looked.
 *
 * => interrupts on, and on again on return.
 * The race: a wakeup between the test and hlt would be slept through.  With interrupts off during
 * the test it can only come after `sti`, whose shadow reaches over hlt.
 */
void
cpu_idle(void)
{
	intr_disable();
	if (curcpu->resched)
		intr_enable();
	else
		cpu_halt_intr();
}
