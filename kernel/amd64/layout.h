/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What assembly and C must agree on: selectors, sizes of boot structures, and for assembly the
 * numbers that vm/vm.h tells C (layout_check in cpu.c compares them).
 */
#ifndef KERNEL_AMD64_LAYOUT_H
#define KERNEL_AMD64_LAYOUT_H

#ifdef __ASSEMBLER__
#define KERNBASE	0xffffffff80000000
#else
#include "vm/vm.h"
#endif

#define KERNLOAD	0x200000	/* the physical base that linker.ld asks for */
#define EARLY_MAP_END	0x100000000	/* start.S maps physical memory up to here */
#define BOOT_STACK_SIZE	(16384 << FAULTLINE_KASAN)	/* as large as any kernel stack */

/*
 * KASAN builds: the shadow of kernel address va is the byte at va / 8 + KASAN_SHADOW_OFFSET.  The
 * offset puts the three regions' shadows into three free slots of the root table: the direct map's
 * in 472, the KVA's in 488, the image's in 503.
 */
#define KASAN_SHADOW_OFFSET	0xdffffc0000000000
#define KASAN_SHADOW_IMAGE	0xfffffbfff0000000	/* of KERNBASE */

/* Segment selectors; the order from 0x20 on is what SYSRET wants (STAR base 0x20). */
#define SEL_KCODE	0x08
#define SEL_KDATA	0x10
#define SEL_UDATA	0x2b
#define SEL_UCODE	0x33
#define SEL_TSS		0x38

/* Offsets that assembly knows; cpu.c and thread.c compare them with the structures. */
#define CPU_THREAD	8
#define CPU_KSTACK	16
#define CPU_USER_RSP	24
#define THREAD_AST	0

#define TRAP_SYSCALL	0x100	/* a trap frame's vector when syscall made it; its error is the call's number */

/* Interrupt stack table slots of the TSS. */
#define IST_DOUBLE_FAULT 1
#define IST_NMI		2

#endif
