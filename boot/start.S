/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the loader to C.
 *
 * PVH and Multiboot2 loaders enter in 32-bit protected mode without paging, %ebx pointing at what they
 * know of the machine.  Our EFI loader enters in long mode on the firmware's identity map, %rdi pointing at
 * a boot_info; that entry steps down to where the others are, so that there is one way up.  The image may
 * lie at any 2 MiB aligned physical address below 4 GiB, so until the high half is reached every address is
 * computed relative to %edi, the physical base, which a call and a pop find.
 *
 *	virtual				physical
 *	0          .. 4 GiB		the same		(left when vm builds its own tables)
 *	DMAP_BASE  .. + 4 GiB		0 .. 4 GiB		(the same tables)
 *	KERNBASE   .. kernel_end	%edi ..
 *
 *	KASAN_SHADOW_IMAGE ..		kasan_image_shadow ..	(KASAN builds: functions mark their frames from the first on)
 *
 * All of it is writable and executable, in 2 MiB pages; pmap_bootstrap() replaces it by tables with
 * proper rights.  Interrupts stay off.
 *
 * Registers on the way: %ebp the boot path, %ebx the loader's structure, %edi the physical base.
 */
#include "kernel/amd64/layout.h"

#define BOOT_PATH_PVH		0	/* enum boot_path */
#define BOOT_PATH_MULTIBOOT2	1
#define BOOT_PATH_EFI		2

#define MB2_HEADER_MAGIC	0xe85250d6
#define MB2_LOADER_MAGIC	0x36d76289
#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define FAULTLINE_ELFNOTE_ENTRY64 1

#define PTE_TABLE		0x003	/* present, writable */
#define PTE_LARGE		0x083	/* present, writable, 2 MiB */

#define SEL_BOOT_CODE32		0x18	/* in boot_gdt */

#define COM1			0x3f8

/* The run-time physical address of a symbol, as an operand. */
#define PA(sym)			(sym - KERNBASE)(%edi)

	.section .multiboot2, "a"
	.balign	8
mb2_header:
	.long	MB2_HEADER_MAGIC
	.long	0				/* i386, 32-bit protected mode */
	.long	mb2_header_end - mb2_header
	.long	-(MB2_HEADER_MAGIC + (mb2_header_end - mb2_header))
	/* Relocatable: anywhere below 4 GiB, on 2 MiB. */
	.balign	8
	.short	10, 0
	.long	24
	.long	0x200000, 0xffffffff, 0x200000, 1
	/* Modules on page boundaries. */
	.balign	8
	.short	6, 0
	.long	8
	/* A framebuffer of any size, if there can be one. */
	.balign	8
	.short	5, 1
	.long	20
	.long	0, 0, 32
	.balign	8
	.short	0, 0
	.long	8
mb2_header_end:

	.section .note.Xen, "a"
	.balign	4
	.long	4				/* length of the name */
	.long	8				/* length of the value */
	.long	XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.quad	start_pvh - KERNBASE + KERNLOAD

	/* The second, 64-bit entry: boot/efi/elf.c looks for this note. */
	.section .note.Faultline, "a"
	.balign	4
	.long	10, 8, FAULTLINE_ELFNOTE_ENTRY64
	.asciz	"Faultline"
	.balign	4
	.quad	start_efi - KERNBASE + KERNLOAD

	.section .boot, "ax"
	.code32
	.global	start_pvh
	.type	start_pvh, @function
start_pvh:
	movl	$BOOT_PATH_PVH, %ebp
	jmp	start32
	.size	start_pvh, . - start_pvh

	.global	start_multiboot2
	.type	start_multiboot2, @function
start_multiboot2:
	movl	$BOOT_PATH_MULTIBOOT2, %ebp
	cmpl	$MB2_LOADER_MAGIC, %eax
	je	start32
0:	hlt					/* nobody known loaded us: nothing is safe to touch */
	jmp	0b
	.size	start_multiboot2, . - start_multiboot2

	.code64
	.global	start_efi
	.type	start_efi, @function
start_efi:
	cli
	cld
	movl	%edi, %ebx			/* the loader keeps the boot_info below 4 GiB */
	movl	$BOOT_PATH_EFI, %ebp
	leaq	boot_stack_top(%rip), %rsp
	leaq	boot_gdt(%rip), %rax
	subq	$16, %rsp
	movw	$(boot_gdt_end - boot_gdt - 1), (%rsp)
	movq	%rax, 2(%rsp)
	lgdt	(%rsp)
	leaq	leave_long_mode(%rip), %rax
	pushq	$SEL_BOOT_CODE32
	pushq	%rax
	lretq
	.size	start_efi, . - start_efi

	/* Compatibility mode, on the identity map: paging off ends long mode, and nothing moves. */
	.code32
	.type	leave_long_mode, @function
leave_long_mode:
	movl	$SEL_KDATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	xorl	%eax, %eax			/* start32 wants PAE and nothing else of what firmware switched on */
	movl	%eax, %cr4
	jmp	start32
	.size	leave_long_mode, . - leave_long_mode

	.type	start32, @function
start32:
	cli
	cld
	/* There is no stack yet: borrow the loader's second word for the one return address. */
	movl	4(%ebx), %edx
	leal	8(%ebx), %esp
	call	1f
1:	popl	%edi
	movl	%edx, 4(%ebx)
	subl	$(1b - KERNBASE), %edi
	leal	PA(boot_stack_top), %esp

	call	need_long_mode
	call	build_early_tables

	/* PAE, long mode, paging; write protection holds for the kernel, too. */
	movl	%cr4, %eax
	orl	$0x20, %eax
	movl	%eax, %cr4
	leal	PA(early_pml4), %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80010001, %eax
	movl	%eax, %cr0

	/* A 64-bit code segment, by a far return. */
	leal	PA(boot_gdt), %eax
	subl	$8, %esp
	movw	$(boot_gdt_end - boot_gdt - 1), (%esp)
	movl	%eax, 2(%esp)
	lgdt	(%esp)
	leal	PA(start64), %eax
	pushl	$SEL_KCODE
	pushl	%eax
	lret
	.size	start32, . - start32

/* Go on if the processor has long mode; otherwise say so on the serial line and stop. */
	.type	need_long_mode, @function
need_long_mode:
	pushl	%ebx
	pushfl
	popl	%eax
	movl	%eax, %ecx
	xorl	$0x200000, %eax			/* can EFLAGS.ID be flipped?  Then CPUID exists. */
	pushl	%eax
	popfl
	pushfl
	popl	%eax
	cmpl	%ecx, %eax
	je	no_long_mode
	movl	$0x80000000, %eax
	cpuid
	cmpl	$0x80000001, %eax
	jb	no_long_mode
	movl	$0x80000001, %eax
	cpuid
	testl	$(1 << 29), %edx
	jz	no_long_mode
	popl	%ebx
	ret
no_long_mode:
	leal	PA(no_long_mode_text), %esi
2:	movw	$(COM1 + 5), %dx		/* wait until the transmitter is empty */
	inb	%dx, %al
	testb	$0x20, %al
	jz	2b
	lodsb
	testb	%al, %al
	jz	3f
	movw	$COM1, %dx
	outb	%al, %dx
	jmp	2b
3:	movb	$0x7f, %al			/* a panic, for the launcher */
	outb	%al, $0xf4
4:	hlt
	jmp	4b
	.size	need_long_mode, . - need_long_mode

no_long_mode_text:
	.asciz	"Faultline needs a 64-bit processor (long mode), and this one has none.\r\n"

/* Fill the tables of the picture above.  Clobbers %eax, %ecx, %edx, %esi. */
	.type	build_early_tables, @function
build_early_tables:
	/* 2048 large pages: the first 4 GiB. */
	leal	PA(early_pd), %esi
	xorl	%ecx, %ecx
1:	movl	%ecx, %eax
	shll	$21, %eax
	orl	$PTE_LARGE, %eax
	movl	%eax, (%esi, %ecx, 8)
	movl	$0, 4(%esi, %ecx, 8)
	incl	%ecx
	cmpl	$2048, %ecx
	jb	1b

	/* Four directories under one PDPT, which serves the identity map and the direct map. */
	leal	PA(early_pdpt), %edx
	leal	(PTE_TABLE)(%esi), %eax
	xorl	%ecx, %ecx
2:	movl	%eax, (%edx, %ecx, 8)
	addl	$0x1000, %eax
	incl	%ecx
	cmpl	$4, %ecx
	jb	2b
	leal	PA(early_pml4), %esi
	leal	(PTE_TABLE)(%edx), %eax
	movl	%eax, (%esi)
	movl	%eax, (256 * 8)(%esi)

	/* KERNBASE: PML4 slot 511, PDPT slot 510, one entry per 2 MiB of image. */
	leal	PA(early_pdpt_high), %edx
	leal	(PTE_TABLE)(%edx), %eax
	movl	%eax, (511 * 8)(%esi)
	leal	PA(early_pd_high), %esi
	leal	(PTE_TABLE)(%esi), %eax
	movl	%eax, (510 * 8)(%edx)
	movl	$(kernel_end - KERNBASE), %ecx
	addl	$0x1fffff, %ecx
	shrl	$21, %ecx
	leal	(PTE_LARGE)(%edi), %eax
3:	movl	%eax, (%esi)
	addl	$0x200000, %eax
	addl	$8, %esi
	decl	%ecx
	jnz	3b
#if FAULTLINE_KASAN
	/* The image's shadow: PML4 slot 503, PDPT slot 511, PD slots from 384 on, here only the first: 16 MiB of image. */
	leal	PA(early_pml4), %esi
	leal	PA(early_pdpt_shadow), %edx
	leal	(PTE_TABLE)(%edx), %eax
	movl	%eax, (503 * 8)(%esi)
	leal	PA(early_pd_shadow), %esi
	leal	(PTE_TABLE)(%esi), %eax
	movl	%eax, (511 * 8)(%edx)
	leal	PA(early_pt_shadow), %edx
	leal	(PTE_TABLE)(%edx), %eax
	movl	%eax, (384 * 8)(%esi)
	leal	PA(kasan_image_shadow), %eax
	orl	$PTE_TABLE, %eax
	movl	$(kasan_image_shadow - KERNBASE), %ecx
	addl	$0x7fff, %ecx
	shrl	$15, %ecx			/* one page for each eight of the image */
4:	movl	%eax, (%edx)
	addl	$0x1000, %eax
	addl	$8, %edx
	decl	%ecx
	jnz	4b
#endif
	ret
	.size	build_early_tables, . - build_early_tables

	.balign	8
boot_gdt:
	.quad	0
	.quad	0x00af9a000000ffff		/* SEL_KCODE: 64-bit code */
	.quad	0x00cf92000000ffff		/* SEL_KDATA */
	.quad	0x00cf9a000000ffff		/* SEL_BOOT_CODE32 */
boot_gdt_end:

	.code64
	.type	start64, @function
start64:
	movabsq	$start_high, %rax
	jmp	*%rax
	.size	start64, . - start64

	.text
	.cfi_sections .debug_frame
	.type	start_high, @function
start_high:
	.cfi_startproc
	.cfi_undefined rip
	movl	$SEL_KDATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movq	$boot_stack_top, %rsp
	movl	%ebx, %esi			/* boot_main(path, loader's structure, physical base); */
	movl	%edi, %edx			/* a 32-bit move clears the upper halves */
	movl	%ebp, %edi
	xorl	%ebp, %ebp			/* backtraces end here */
	call	boot_main
	ud2
	.cfi_endproc
	.size	start_high, . - start_high

	.bss
	.balign	4096
early_pd:		.skip	4 * 4096
	.global	early_pml4
early_pml4:		.skip	4096
early_pdpt:		.skip	4096
early_pdpt_high:	.skip	4096
early_pd_high:		.skip	4096
#if FAULTLINE_KASAN
early_pdpt_shadow:	.skip	4096
early_pd_shadow:	.skip	4096
early_pt_shadow:	.skip	4096
#endif
	/* The page below the boot stack is unmapped by pmap_bootstrap(). */
	.global	boot_stack_guard, boot_stack, boot_stack_top
boot_stack_guard:	.skip	4096
boot_stack:		.skip	BOOT_STACK_SIZE
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
