/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system-call table, and the call itself.
 *
 *	syscall instruction -> syscall_entry (kernel/amd64/syscall.S) -> syscall() -> sys_NAME()
 *
 * A number without a function answers ENOSYS, which is what programs are written to expect of an older
 * kernel; the first time, the console says so, by name.
 */
#include "kernel/user/syscall.h"

#include "kernel/amd64/cpu.h"
#include "kernel/lib/printf.h"
#include "kernel/user/proc.h"

typedef int64_t (*syscall_fn)(const uint64_t *a);

#define SYSCALL(number, name, nargs)	[number] = sys_##name,
#define NOSYS(number, name)
static const syscall_fn functions[NSYSCALL] = {
#include "kernel/user/syscall_list.h"
};
#undef SYSCALL
#undef NOSYS

#define SYSCALL(number, name, nargs)	[number] = #name,
#define NOSYS(number, name)		[number] = #name,
static const char *const names[NSYSCALL] = {
#include "kernel/user/syscall_list.h"
};
#undef SYSCALL
#undef NOSYS

const char *
syscall_name(uint64_t number)
{
	return (number < NSYSCALL && names[number] != NULL ? names[number] : "?");
}

/* Tell of a missing call, the first time it is tried. */
static void
tell_missing(uint64_t number)
{
	static uint8_t told[NSYSCALL];

	if (number >= NSYSCALL || __atomic_exchange_n(&told[number], 1, __ATOMIC_RELAXED) != 0)
		return;
	printf("%s[%d]: system call %lu (%s) is not there: ENOSYS\n", curproc->name, curproc->pid, number,
	    syscall_name(number));
}

void
syscall(struct trapframe *f)
{
	uint64_t number = f->error;
	int64_t result;
	uint64_t a[6] = { f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9 };

	if (likely(number < NSYSCALL && functions[number] != NULL)) {
		result = functions[number](a);
		if (unlikely(result == -ERESTARTSYS || result == -ERESTARTNOHAND))
			curthread->ast = true;	/* user_ast() decides how it ends */
		f->rax = (uint64_t)result;
	} else {
		tell_missing(number);
		f->rax = (uint64_t)-ENOSYS;
	}
}
