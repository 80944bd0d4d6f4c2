/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System calls: Linux's x86-64 numbers, arguments and results.
 *
 * A call is int64_t sys_NAME(const uint64_t *a): a[0] to a[5] are the arguments as the program left them in
 * rdi, rsi, rdx, r10, r8, r9; it returns a value or -errno (-ERESTARTSYS when tsleep_sig() said so).  To add
 * one, write it and add a row to syscall_list.h.  Pointers are user addresses: copyin() and copyout() are the only ways to them.
 */
#ifndef KERNEL_USER_SYSCALL_H
#define KERNEL_USER_SYSCALL_H

#include "kernel/lib/errno.h"
#include "kernel/lib/types.h"

struct trapframe;

#define SYSCALL(number, name, nargs)	int64_t sys_##name(const uint64_t *a);
#define NOSYS(number, name)
#include "kernel/user/syscall_list.h"
#undef SYSCALL
#undef NOSYS

#define NSYSCALL	452

/* From the entry code, interrupts on. */
void syscall(struct trapframe *frame);
const char *syscall_name(uint64_t number);	/* "?" for an unknown one */

#endif
