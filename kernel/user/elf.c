/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ELF64 images: headers checked, segments mapped.
 *
 *	file     | headers | text ......... | data .... |
 *	            \         \                \         \
 *	memory   [ r-- private ][ r-x private ][ rw- private | zero to the page's end ][ rw- anonymous: bss ]
 *
 * Segments are private mappings of the file: nothing is read here but the headers, and nothing copied but the one
 * page in which a segment's file bytes end and its zeros begin.
 */
#include "kernel/user/exec.h"

#include "boot/elf.h"
#include "kernel/amd64/cpu.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/random.h"
#include "kernel/user/proc.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"

/* Where position-independent programs lie, before it is randomized: as Linux, two thirds up. */
#define PIE_BASE	0x555555554000ul
#define PIE_RANDOM_PAGES (1ul << 22)
#define BRK_RANDOM_PAGES (1ul << 13)

/* A file's headers. */
struct elf_file {
	struct elf_header	 head;
	struct elf_segment	*segments;	/* head.e_phnum of them */
	vm_offset_t		 low, high;	/* the PT_LOADs span [low, high), page aligned, before the bias */
	vm_offset_t		 bias;		/* added to every address */
};

static MALLOC_DEFINE(M_ELF, "elf");
static const uint8_t zeros[PAGE_SIZE];

/* ---- headers ---- */

static bool
head_valid(const struct elf_header *h)
{
	static const uint8_t ident[7] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };	/* 64 bits, little-endian, version 1 */

	return (memcmp(h->e_ident, ident, sizeof(ident)) == 0 && h->e_machine == EM_X86_64 &&
	    (h->e_type == ET_EXEC || h->e_type == ET_DYN) && h->e_phentsize == sizeof(struct elf_segment) &&
	    h->e_phnum > 0 && h->e_phnum <= EXEC_HEAD / sizeof(struct elf_segment));
}

/* Is this PT_LOAD one that can be mapped?  Its page-aligned end must not wrap. */
static bool
load_valid(const struct elf_segment *s)
{
	return (s->p_memsz >= s->p_filesz && s->p_vaddr < VM_USER_MAX && s->p_memsz <= VM_USER_MAX - s->p_vaddr &&
	    ((s->p_offset ^ s->p_vaddr) & PAGE_MASK) == 0 && s->p_filesz <= INT64_MAX &&
	    s->p_offset <= INT64_MAX - s->p_filesz);
}

static int
spans(struct elf_file *elf)
{
	elf->low = ~0ul;
	elf->high = 0;
	for (int i = 0; i < elf->head.e_phnum; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (s->p_type != PT_LOAD || s->p_memsz == 0)
			continue;
		if (!load_valid(s))
			return (ENOEXEC);
		elf->low = MIN(elf->low, trunc_page(s->p_vaddr));
		elf->high = MAX(elf->high, round_page(s->p_vaddr + s->p_memsz));
	}
	return (elf->low < elf->high ? 0 : ENOEXEC);
}

/* Read and check a file's headers.  0: elf->segments is the caller's to free. */
static int
headers_read(struct vnode *vp, struct elf_file *elf)
{
	size_t size, done;
	int error;

	memset(elf, 0, sizeof(*elf));
	error = vn_read(vp, &elf->head, sizeof(elf->head), 0, &done);
	if (error != 0)
		return (error);
	if (done < sizeof(elf->head) || !head_valid(&elf->head) || elf->head.e_phoff > INT64_MAX)
		return (ENOEXEC);
	size = elf->head.e_phnum * sizeof(struct elf_segment);
	elf->segments = kmalloc(size, &M_ELF, M_WAITOK);
	error = vn_read(vp, elf->segments, size, (off_t)elf->head.e_phoff, &done);
	if (error == 0)
		error = done == size ? spans(elf) : ENOEXEC;
	if (error != 0)
		kfree(elf->segments, &M_ELF);
	return (error);
}

/* The path in PT_INTERP, looked up. */
static int
interp_open(struct exec_image *img, const struct elf_segment *s)
{
	char *path;
	size_t done;
	int error;

	if (s->p_filesz < 2 || s->p_filesz > PATH_MAX || s->p_offset > INT64_MAX)
		return (ENOEXEC);
	path = kmalloc(s->p_filesz, &M_ELF, M_WAITOK);
	error = vn_read(img->vp, path, s->p_filesz, (off_t)s->p_offset, &done);
	if (error == 0 && (done != s->p_filesz || path[done - 1] != '\0'))
		error = ENOEXEC;
	if (error == 0)
		error = fs_lookup(AT_FDCWD, path, 0, &img->interp);
	if (error == 0 && img->interp->v_type != VREG)
		error = EACCES;
	kfree(path, &M_ELF);
	return (error);
}

int
elf_check(struct exec_image *img)
{
	struct elf_file elf;
	int error = headers_read(img->vp, &elf);

	if (error != 0)
		return (error);
	img->stack_exec = false;
	for (int i = 0; i < elf.head.e_phnum && error == 0; i++) {
		const struct elf_segment *s = &elf.segments[i];

		if (s->p_type == PT_INTERP && img->interp == NULL)
			error = interp_open(img, s);
		else if (s->p_type == PT_GNU_STACK)
			img->stack_exec = (s->p_flags & PF_X) != 0;
	}
	kfree(elf.segments, &M_ELF);
	return (error);
}

/* ---- mapping ---- */

static vm_prot_t
segment_prot(const struct elf_segment *s)
{
	return ((s->p_flags & PF_R ? VM_PROT_READ : 0) | (s->p_flags & PF_W ? VM_PROT_WRITE : 0) |
	    (s->p_flags & PF_X ? VM_PROT_EXECUTE : 0));
}

/* The bytes behind the file's, to the end of their page: in a private copy of it. */
static int
tail_zero(vm_offset_t from, vm_offset_t to)
{
	return (from < to ? copyout(zeros, from, to - from) : 0);
}

static int
segment_map(struct vmspace *vm, struct vnode *vp, const struct elf_segment *s, vm_offset_t bias)
{
	vm_offset_t start = trunc_page(s->p_vaddr + bias), file_end = s->p_vaddr + bias + s->p_filesz;
	vm_offset_t mem_end = round_page(s->p_vaddr + bias + s->p_memsz), anon = round_page(file_end), at = start;
	vm_prot_t prot = segment_prot(s);
	int error = 0;

	if (s->p_filesz > 0)
		error = vm_mmap(vm, &at, anon - start, prot, MAP_PRIVATE | MAP_FIXED, vp,
		    (vm_ooffset_t)trunc_page(s->p_offset));
	else
		anon = start;
	if (error == 0 && anon < mem_end) {
		at = anon;
		error = vm_mmap(vm, &at, mem_end - anon, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, NULL, 0);
	}
	if (error == 0 && s->p_filesz > 0 && s->p_memsz > s->p_filesz && (prot & VM_PROT_WRITE))
		error = tail_zero(file_end, anon);
	return (error);
}

static int
file_map(struct vmspace *vm, struct vnode *vp, const struct elf_file *elf)
{
	int error = 0;

	for (int i = 0; i < elf->head.e_phnum && error == 0; i++)
		if (elf->segments[i].p_type == PT_LOAD && elf->segments[i].p_memsz > 0)
			error = segment_map(vm, vp, &elf->segments[i], elf->bias);
	return (error);
}

/* Where the program finds its own program headers: inside the segment that covers them in the file. */
static vm_offset_t
phdr_address(const struct elf_file *elf)
{
	for (int i = 0; i < elf->head.e_phnum; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (s->p_type == PT_PHDR)
			return (s->p_vaddr + elf->bias);
	}
	for (int i = 0; i < elf->head.e_phnum; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (s->p_type == PT_LOAD && s->p_offset <= elf->head.e_phoff &&
		    elf->head.e_phoff - s->p_offset < s->p_filesz)
			return (elf->head.e_phoff - s->p_offset + s->p_vaddr + elf->bias);
	}
	return (0);
}

static int
program_load(struct exec_image *img)
{
	struct elf_file elf;
	int error = headers_read(img->vp, &elf);

	if (error != 0)
		return (error);
	if (elf.head.e_type == ET_DYN)
		elf.bias = PIE_BASE + random_u64() % PIE_RANDOM_PAGES * PAGE_SIZE - elf.low;
	if (elf.low + elf.bias < VM_USER_MIN || elf.high + elf.bias > img->mmap_top)
		error = ENOEXEC;
	else
		error = file_map(img->vm, img->vp, &elf);
	img->program_entry = img->entry = elf.head.e_entry + elf.bias;
	img->phdr = phdr_address(&elf);
	img->phnum = elf.head.e_phnum;
	img->end = elf.high + elf.bias + random_u64() % BRK_RANDOM_PAGES * PAGE_SIZE;
	kfree(elf.segments, &M_ELF);
	return (error);
}

static int
interp_load(struct exec_image *img)
{
	struct elf_file elf;
	vm_offset_t at = img->mmap_top;
	int error = headers_read(img->interp, &elf);

	if (error != 0)
		return (error == ENOEXEC ? ELIBBAD : error);
	vm_map_rlock(&img->vm->map);
	if (elf.head.e_type == ET_DYN && vm_map_findspace_below(&img->vm->map, &at, elf.high - elf.low) != 0)
		error = ENOMEM;
	vm_map_runlock(&img->vm->map);
	if (elf.head.e_type == ET_DYN)
		elf.bias = at - elf.low;
	if (error == 0)
		error = file_map(img->vm, img->interp, &elf);
	img->base = elf.bias;
	img->entry = elf.head.e_entry + elf.bias;
	kfree(elf.segments, &M_ELF);
	return (error);
}

int
elf_load(struct exec_image *img)
{
	int error = program_load(img);

	if (error == 0 && img->interp != NULL)
		error = interp_load(img);
	if (error == 0 && (img->entry >= VM_USER_MAX || img->program_entry >= VM_USER_MAX))
		error = ENOEXEC;
	return (error);
}
