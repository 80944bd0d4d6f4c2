/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The few instructions that may fault on an address they were given.
 *
 * Each has a pair {its address, where to go on} in .extable.  The page fault handler first serves the
 * fault as usual, so the instruction is simply run again; only when that fails does it resume at the
 * fix-up.  SMAP's window is open inside these functions only, and the fix-ups close it, too.
 */
#include "kernel/amd64/layout.h"

#define EFAULT		14
#define ENAMETOOLONG	36

	.cfi_sections .debug_frame
	.text

	.macro	MAY_FAULT insn:vararg
9991:	\insn
	.pushsection .extable, "a"
	.balign	8
	.quad	9991b, 9992f
	.popsection
	.endm

	.macro	FUNCTION name
	.global	\name
	.type	\name, @function
	.balign	16
\name:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register rbp
	.endm

	.macro	RETURN
	.cfi_remember_state
	popq	%rbp
	.cfi_def_cfa rsp, 8
	.cfi_restore rbp
	ret
	.cfi_restore_state
	.endm

	.macro	END_FUNCTION name
	.cfi_endproc
	.size	\name, . - \name
	.endm

	.macro	WINDOW_OPEN
	cmpb	$0, cpu_smap(%rip)
	je	8881f
	stac
8881:
	.endm

	.macro	WINDOW_CLOSE
	cmpb	$0, cpu_smap(%rip)
	je	8882f
	clac
8882:
	.endm

/* int user_copy(void *dst, const void *src, size_t len): whole words first, then the rest. */
	FUNCTION user_copy
	WINDOW_OPEN
	movq	%rdx, %rcx
	shrq	$3, %rcx
	MAY_FAULT rep movsq
	movl	%edx, %ecx
	andl	$7, %ecx
	MAY_FAULT rep movsb
	WINDOW_CLOSE
	xorl	%eax, %eax
	RETURN
9992:	WINDOW_CLOSE
	movl	$EFAULT, %eax
	RETURN
	END_FUNCTION user_copy

/* int user_copy_string(char *dst, const char *src, size_t max, size_t *done) */
	FUNCTION user_copy_string
	WINDOW_OPEN
	movq	%rcx, %r8			/* done */
	xorl	%ecx, %ecx			/* bytes copied */
1:	cmpq	%rdx, %rcx
	je	2f
	MAY_FAULT movb	(%rsi, %rcx), %al
	movb	%al, (%rdi, %rcx)
	incq	%rcx
	testb	%al, %al
	jnz	1b
	xorl	%eax, %eax
	jmp	3f
2:	movl	$ENAMETOOLONG, %eax
	jmp	3f
9992:	movl	$EFAULT, %eax
3:	movq	%rcx, (%r8)
	WINDOW_CLOSE
	RETURN
	END_FUNCTION user_copy_string

/* bool peek_word(const uint64_t *va, uint64_t *value) */
	FUNCTION peek_word
	MAY_FAULT movq	(%rdi), %rax
	movq	%rax, (%rsi)
	movl	$1, %eax
	RETURN
9992:	xorl	%eax, %eax
	RETURN
	END_FUNCTION peek_word

	.section .note.GNU-stack, "", @progbits
