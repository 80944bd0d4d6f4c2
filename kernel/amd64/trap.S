/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traps: from the processor to trap(struct trapframe *) and back.
 *
 *	stub (one of 256)	makes the frame uniform: pushes 0 where the CPU pushes no error code, and the vector
 *	trap_common		swapgs if we come from user mode; saves the registers; calls trap()
 *	trap_paranoid		the same for NMI and double fault, which may come between a swapgs and its iretq,
 *				so it looks at the GS base itself
 *
 * The CFI describes the frame exactly, so that gdb walks from trap() into the interrupted function.
 */
#include "kernel/amd64/layout.h"

#define FRAME_CS	(18 * 8)	/* offset in struct trapframe, with all registers pushed */

	.cfi_sections .debug_frame
	.text

	.macro	PUSH_REG reg
	pushq	%\reg
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset \reg, 0
	.endm

	.macro	POP_REG reg
	popq	%\reg
	.cfi_adjust_cfa_offset -8
	.cfi_restore \reg
	.endm

	.macro	PUSH_ALL
	PUSH_REG rax
	PUSH_REG rbx
	PUSH_REG rcx
	PUSH_REG rdx
	PUSH_REG rsi
	PUSH_REG rdi
	PUSH_REG rbp
	PUSH_REG r8
	PUSH_REG r9
	PUSH_REG r10
	PUSH_REG r11
	PUSH_REG r12
	PUSH_REG r13
	PUSH_REG r14
	PUSH_REG r15
	.endm

	.macro	POP_ALL
	POP_REG	r15
	POP_REG	r14
	POP_REG	r13
	POP_REG	r12
	POP_REG	r11
	POP_REG	r10
	POP_REG	r9
	POP_REG	r8
	POP_REG	rbp
	POP_REG	rdi
	POP_REG	rsi
	POP_REG	rdx
	POP_REG	rcx
	POP_REG	rbx
	POP_REG	rax
	.endm

	/* CFA: just above the frame that the CPU pushed.  `size`: bytes pushed so far. */
	.macro	TRAP_CFI size
	.cfi_startproc simple
	.cfi_signal_frame
	.cfi_def_cfa rsp, \size
	.cfi_offset rip, -40
	.cfi_offset rsp, -16
	.endm

	/* CFA: just above a whole trap frame; where in it the interrupted registers are. */
	.macro	WHOLE_FRAME_CFI
	.cfi_offset rip, -40
	.cfi_offset rsp, -16
	.set	below, 56
	.irp	reg, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
	.set	below, below + 8
	.cfi_offset \reg, -below
	.endr
	.endm

	/* The exceptions for which the CPU pushes an error code, as a mask of vectors. */
	.set	ERROR_CODE_MASK, (1<<8)|(1<<10)|(1<<11)|(1<<12)|(1<<13)|(1<<14)|(1<<17)|(1<<21)|(1<<29)|(1<<30)

	.global	trap_stubs
	.type	trap_stubs, @function
	.balign	16
trap_stubs:
	.set	vec, 0
	.rept	256
	.balign	16
	.set	has_error, 0
	.if	vec < 32
	.set	has_error, (ERROR_CODE_MASK >> vec) & 1
	.endif
	.if	has_error
	TRAP_CFI 48
	.else
	TRAP_CFI 40
	pushq	$0
	.cfi_adjust_cfa_offset 8
	.endif
	pushq	$vec
	.cfi_adjust_cfa_offset 8
	.if	(vec == 2) || (vec == 8)
	jmp	trap_paranoid
	.else
	jmp	trap_common
	.endif
	.cfi_endproc
	.set	vec, vec + 1
	.endr
	.size	trap_stubs, . - trap_stubs

	.type	trap_common, @function
	.balign	16
trap_common:
	TRAP_CFI 56
	PUSH_ALL
	testb	$3, FRAME_CS(%rsp)
	jz	1f
	swapgs
	xorl	%ebp, %ebp		/* backtraces end here */
1:	cmpb	$0, cpu_smap(%rip)
	je	2f
	clac				/* an open window stays with the code that opened it */
2:	cld
	movq	%rsp, %rdi
	call	trap
	.global	trap_return_address
trap_return_address:
	cli
	testb	$3, FRAME_CS(%rsp)
	jz	3f
	swapgs
3:	POP_ALL
	addq	$16, %rsp
	.cfi_adjust_cfa_offset -16
	iretq
	.cfi_endproc
	.size	trap_common, . - trap_common

/*
 * A system call.  The stack pointer is still the program's, so nothing is pushed before it is replaced; a
 * whole trap frame is made, as fork, signals and exec want one.  The way back is SYSRET unless something has
 * happened to the frame (td->ast is set then): RCX and RIP are the same by construction, and canonical.
 */
	.global	syscall_entry
	.type	syscall_entry, @function
	.balign	16
syscall_entry:
	.cfi_startproc simple
	.cfi_signal_frame
	.cfi_def_cfa rsp, 0
	.cfi_register rip, rcx
	.cfi_remember_state
	swapgs
	movq	%rsp, %gs:CPU_USER_RSP
	movq	%gs:CPU_KSTACK, %rsp
	.cfi_undefined rsp
	pushq	$SEL_UDATA
	pushq	%gs:CPU_USER_RSP
	pushq	%r11
	pushq	$SEL_UCODE
	pushq	%rcx
	pushq	%rax
	pushq	$TRAP_SYSCALL
	.cfi_def_cfa_offset 56
	.cfi_offset rip, -40
	.cfi_offset rsp, -16
	PUSH_ALL
	sti
	xorl	%ebp, %ebp
	movq	%rsp, %rdi
	call	syscall
	.global	syscall_return_address
syscall_return_address:
	cli
	movq	%gs:CPU_THREAD, %rdx
	cmpb	$0, THREAD_AST(%rdx)
	jne	user_enter_again
	movq	(5 * 8)(%rsp), %r10	/* what C need not preserve; the rest is still there */
	movq	(6 * 8)(%rsp), %r9
	movq	(7 * 8)(%rsp), %r8
	movq	(8 * 8)(%rsp), %rbp
	movq	(9 * 8)(%rsp), %rdi
	movq	(10 * 8)(%rsp), %rsi
	movq	(11 * 8)(%rsp), %rdx
	movq	(14 * 8)(%rsp), %rax
	movq	(17 * 8)(%rsp), %rcx
	movq	(19 * 8)(%rsp), %r11
	movq	(20 * 8)(%rsp), %rsp
	.cfi_restore_state
	swapgs
	sysretq
	.cfi_endproc
	.size	syscall_entry, . - syscall_entry

/* void user_enter(struct trapframe *frame): to user mode, after what user_return() finds to do. */
	.global	user_enter
	.type	user_enter, @function
	.balign	16
user_enter:
	.cfi_startproc simple
	.cfi_signal_frame
	.cfi_def_cfa rdi, 176
	WHOLE_FRAME_CFI
	movq	%rdi, %rsp
	.cfi_def_cfa_register rsp
	xorl	%ebp, %ebp
user_enter_again:
	movq	%rsp, %rdi
	call	user_return
	swapgs
	POP_ALL
	addq	$16, %rsp
	iretq
	.cfi_endproc
	.size	user_enter, . - user_enter

	.type	trap_paranoid, @function
	.balign	16
trap_paranoid:
	TRAP_CFI 56
	PUSH_ALL
	xorl	%ebx, %ebx		/* %ebx: must swap back */
	movl	$0xc0000101, %ecx	/* the kernel's GS base lies in the upper half */
	rdmsr
	testl	%edx, %edx
	js	1f
	swapgs
	incl	%ebx
1:	cmpb	$0, cpu_smap(%rip)
	je	2f
	clac
2:	cld
	movq	%rsp, %rdi
	call	trap
	.global	trap_paranoid_return_address
trap_paranoid_return_address:
	testl	%ebx, %ebx
	jz	3f
	swapgs
3:	POP_ALL
	addq	$16, %rsp
	.cfi_adjust_cfa_offset -16
	iretq
	.cfi_endproc
	.size	trap_paranoid, . - trap_paranoid

	.section .note.GNU-stack, "", @progbits
