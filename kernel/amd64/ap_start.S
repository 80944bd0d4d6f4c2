/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first steps of a processor that smp.c starts.
 *
 * It begins in real mode at a page below 1 MiB, into which smp.c has copied everything between
 * ap_trampoline and ap_trampoline_end; %cs says which page that is.  start.S's tables are still in the
 * image and map the low 4 GiB to themselves and the image to the high half, so they serve as the bridge:
 *
 *	real mode -> (PE and PG at once) -> ap_start64, low, start.S's tables
 *		  -> ap_start_high, high, the kernel's tables and the new CPU's stack -> ap_main
 */
#include "kernel/amd64/layout.h"

/* Where a label of the copy lies, relative to its beginning. */
#define AT(label)	(label - ap_trampoline)

	.section .rodata
	.balign	16
	.global	ap_trampoline, ap_trampoline_end, ap_trampoline_cr3
ap_trampoline:
	.code16
	cli
	cld
	xorl	%ebx, %ebx
	movw	%cs, %bx
	movw	%bx, %ds
	shll	$4, %ebx			/* the page's address */
	leal	AT(ap_gdt)(%ebx), %eax
	movl	%eax, AT(ap_gdt_base)
	leal	AT(ap_start64)(%ebx), %eax
	movl	%eax, AT(ap_target)
	lgdtl	AT(ap_gdt_limit)

	movl	%cr4, %eax
	orl	$0x20, %eax			/* PAE */
	movl	%eax, %cr4
	movl	AT(ap_trampoline_cr3), %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x900, %eax			/* long mode, and NX, which the kernel's tables use */
	wrmsr
	movl	%cr0, %eax
	andl	$0x9fffffff, %eax		/* caches on */
	orl	$0x80010001, %eax		/* paging, write protection, protected mode */
	movl	%eax, %cr0
	ljmpl	*AT(ap_target)

	.code64
ap_start64:
	movabsq	$ap_start_high, %rax
	jmp	*%rax

	.balign	8
ap_gdt:
	.quad	0
	.quad	0x00af9a000000ffff		/* SEL_KCODE: 64-bit code */
	.quad	0x00cf92000000ffff		/* SEL_KDATA */
ap_gdt_limit:
	.short	ap_gdt_limit - ap_gdt - 1
ap_gdt_base:
	.long	0
ap_target:
	.long	0
	.short	SEL_KCODE
	.balign	4
ap_trampoline_cr3:
	.long	0				/* smp.c: start.S's tables */
ap_trampoline_end:

	.text
	.cfi_sections .debug_frame
	.type	ap_start_high, @function
ap_start_high:
	.cfi_startproc
	.cfi_undefined rip
	movl	$SEL_KDATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movq	ap_start(%rip), %rax		/* struct ap_start: cr3, rsp, cpu */
	movq	%rax, %cr3
	movq	ap_start + 8(%rip), %rsp
	movq	ap_start + 16(%rip), %rdi
	xorl	%ebp, %ebp			/* backtraces end here */
	call	ap_main
	ud2
	.cfi_endproc
	.size	ap_start_high, . - ap_start_high

	.section .note.GNU-stack, "", @progbits
