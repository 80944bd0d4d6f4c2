/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting programs: what exec.c (arguments, the exchange), elf.c (the image) and stack.c (the first stack) share. */
#ifndef KERNEL_USER_EXEC_H
#define KERNEL_USER_EXEC_H

#include "kernel/lib/types.h"

struct vmspace;
struct vnode;

#define EXEC_STRING_MAX	(128 * KiB)	/* one argument, with its NUL */
#define EXEC_BYTES_MAX	(1 * MiB)	/* all strings and the pointers to them */
#define EXEC_HEAD	4096		/* so much of a file is looked at to see what it is */

/*
 * The strings of a new program, packed as they will lie on its stack: argv, then envp, then the path that was
 * executed.
 */
struct exec_args {
	char		*buf;
	size_t		 used, size;	/* bytes */
	int		 argc, envc;
};

/* What the loader found and made. */
struct exec_image {
	struct vnode	*vp;		/* the program's file, referenced */
	struct vnode	*interp;	/* its interpreter, referenced; NULL: none */
	struct vmspace	*vm;		/* the new address space */
	vm_offset_t	 entry;		/* where to start: the interpreter's entry if there is one */
	vm_offset_t	 program_entry;	/* AT_ENTRY */
	vm_offset_t	 base;		/* AT_BASE: where the interpreter lies, 0 without */
	vm_offset_t	 phdr;		/* AT_PHDR */
	uint16_t	 phnum;		/* AT_PHNUM */
	bool		 stack_exec;	/* PT_GNU_STACK asks for an executable stack */
	vm_offset_t	 end;		/* behind the last segment: the heap starts near here */
	vm_offset_t	 mmap_top, stack_top;
	vm_offset_t	 arg_start, arg_end, env_end, sp;
};

/*
 * Look at a file's first bytes: finds the interpreter and checks everything that can be checked without an address
 * space.
 * => img->vp set; 0; ENOEXEC, ELIBBAD, ENOENT and others for the interpreter, EIO.
 */
int  elf_check(struct exec_image *img);
/* Map program and interpreter into img->vm.  => the address space is loaded on this CPU (bss is zeroed in it). */
int  elf_load(struct exec_image *img);
/* Choose where the stack ends and where mmap() starts, then map the stack.  stack_limit: RLIMIT_STACK, bytes. */
int  stack_map(struct exec_image *img, uint64_t stack_limit);
/* Put strings, auxiliary vector and pointers on it. => the address space is loaded on this CPU. */
int  stack_fill(struct exec_image *img, const struct exec_args *args);

/* Execute `path` in curproc, arguments in kernel memory.  errno; 0: curthread's frame is the new program's. */
int  exec_kernel(const char *path, char *const *argv, char *const *envp);

#endif
