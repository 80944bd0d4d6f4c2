/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF64 as it lies in files: what the UEFI loader reads of the kernel, and exec of programs. */
#ifndef BOOT_ELF_H
#define BOOT_ELF_H

#include <stdint.h>

#define EM_X86_64	62
#define ET_EXEC		2
#define ET_DYN		3
#define PT_LOAD		1
#define PT_INTERP	3
#define PT_NOTE		4
#define PT_PHDR		6
#define PT_GNU_STACK	0x6474e551
#define PF_X		1u
#define PF_W		2u
#define PF_R		4u

struct elf_header {
	uint8_t		e_ident[16];
	uint16_t	e_type, e_machine;
	uint32_t	e_version;
	uint64_t	e_entry, e_phoff, e_shoff;
	uint32_t	e_flags;
	uint16_t	e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
};

struct elf_segment {
	uint32_t	p_type, p_flags;
	uint64_t	p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};

struct elf_note {
	uint32_t	n_namesz, n_descsz, n_type;
};

#endif
