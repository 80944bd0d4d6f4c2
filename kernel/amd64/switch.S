/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The context switch: save what a C function must preserve, change stacks, restore.
 *
 * A thread that does not run has a struct switch_frame at its saved stack pointer:
 *
 *	rsp -> rflags r15 r14 r13 r12 rbx rbp rip (caller of cpu_switch)
 *
 * RFLAGS is part of it for AC: a thread may be switched away from with SMAP's window open.  Interrupts
 * are off on both sides, so popfq changes nothing about them.
 */
	.cfi_sections .debug_frame
	.text

/* void cpu_switch(uint64_t *save_rsp, uint64_t load_rsp) */
	.global	cpu_switch
	.type	cpu_switch, @function
	.balign	16
cpu_switch:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	pushfq
	.cfi_adjust_cfa_offset 8
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	popfq
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	ret
	.cfi_endproc
	.size	cpu_switch, . - cpu_switch

/* A new thread's first instruction; the stack is 16-byte aligned here. */
	.global	thread_trampoline
	.type	thread_trampoline, @function
	.balign	16
thread_trampoline:
	.cfi_startproc
	.cfi_undefined rip
	xorl	%ebp, %ebp		/* backtraces end here */
	call	thread_start
	ud2
	.cfi_endproc
	.size	thread_trampoline, . - thread_trampoline

	.section .note.GNU-stack, "", @progbits
