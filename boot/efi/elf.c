/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From an ELF file to an image in memory.
 *
 * The file comes from a disk that anybody may have written, so every offset and length is checked
 * against the file's size before it is used.  What must be there: ELF64 for x86-64, segments that
 * lie in the file and near each other, and in a PT_NOTE our own note, which names the physical
 * address of the 64-bit entry.  All physical addresses move together by the same distance.
 */
#include "boot/efi/loader.h"
#include "boot/elf.h"

#define NOTE_NAME	"Faultline"
#define NOTE_ENTRY64	1		/* start.S has the same two */
#define IMAGE_MAX	0x40000000ull	/* 1 GiB: a larger one is damage */
#define ALIGNMENT	0x200000ull

static const struct elf_segment *
segment(const UINT8 *file, UINTN i)
{
	const struct elf_header *h = (const void *)file;

	return ((const void *)(file + h->e_phoff + i * sizeof(struct elf_segment)));
}

/* Is this an ELF file of our kind, whose table of segments lies in the file? */
static EFI_STATUS
header_check(const UINT8 *file, UINTN size)
{
	const struct elf_header *h = (const void *)file;

	if (size < sizeof(*h) || CompareMem(h->e_ident, "\177ELF", 4) != 0)
		return (COMPLAIN(EFI_LOAD_ERROR, L"the kernel file is not in the ELF format"));
	if (h->e_ident[4] != 2 || h->e_ident[5] != 1 || h->e_machine != EM_X86_64 || h->e_type != ET_EXEC)
		return (COMPLAIN(EFI_UNSUPPORTED, L"the kernel file is not a program for x86-64 with addresses of its own"));
	if (h->e_phentsize != sizeof(struct elf_segment) || h->e_phoff % 8 != 0 || h->e_phoff > size ||
	    h->e_phnum * sizeof(struct elf_segment) > size - h->e_phoff)
		return (COMPLAIN(EFI_LOAD_ERROR, L"the kernel file is cut off in its table of segments"));
	return (EFI_SUCCESS);
}

/* Look through one PT_NOTE for our note. */
static void
note_find(const UINT8 *notes, UINT64 len, struct kernel_image *image)
{
	struct elf_note n;
	UINT64 at = 0, name, desc;

	while (len - at >= sizeof(n)) {
		CopyMem(&n, notes + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + ((n.n_namesz + 3ull) & ~3ull);
		at = desc + ((n.n_descsz + 3ull) & ~3ull);
		if (at > len)
			return;
		if (n.n_type == NOTE_ENTRY64 && n.n_descsz == 8 && n.n_namesz == sizeof(NOTE_NAME) &&
		    CompareMem(notes + name, NOTE_NAME, sizeof(NOTE_NAME)) == 0)
			CopyMem(&image->linked_entry, notes + desc, 8);
	}
}

/* Look at each segment: inside the file, and where in memory. */
static EFI_STATUS
segments_check(const UINT8 *file, UINTN size, struct kernel_image *image)
{
	UINT64 low = ~0ull, high = 0;
	UINTN i;

	for (i = 0; i < ((const struct elf_header *)file)->e_phnum; i++) {
		const struct elf_segment *s = segment(file, i);

		if (s->p_type != PT_LOAD && s->p_type != PT_NOTE)
			continue;
		if (s->p_offset > size || s->p_filesz > size - s->p_offset)
			return (COMPLAIN(EFI_LOAD_ERROR, L"the kernel file is cut off: %ld bytes are not all of it",
			    (UINT64)size));
		if (s->p_type == PT_NOTE) {
			note_find(file + s->p_offset, s->p_filesz, image);
			continue;
		}
		if (s->p_filesz > s->p_memsz || s->p_memsz > ~s->p_paddr)
			return (COMPLAIN(EFI_LOAD_ERROR, L"the kernel file has a segment of impossible size"));
		low = s->p_paddr < low ? s->p_paddr : low;
		high = s->p_paddr + s->p_memsz > high ? s->p_paddr + s->p_memsz : high;
	}
	if (low >= high || low % ALIGNMENT != 0 || high - low > IMAGE_MAX)
		return (COMPLAIN(EFI_LOAD_ERROR, L"the kernel file's segments do not make one image"));
	image->linked_base = low;
	image->len = high - low;
	return (EFI_SUCCESS);
}

EFI_STATUS
elf_check(const UINT8 *file, UINTN size, struct kernel_image *image)
{
	EFI_STATUS status;

	ZeroMem(image, sizeof(*image));
	status = header_check(file, size);
	if (!EFI_ERROR(status))
		status = segments_check(file, size, image);
	if (EFI_ERROR(status))
		return (status);
	if (image->linked_entry == 0 || image->linked_entry < image->linked_base ||
	    image->linked_entry - image->linked_base >= image->len)
		return (COMPLAIN(EFI_UNSUPPORTED,
		    L"the kernel file is no Faultline kernel, for no note names its 64-bit entry"));
	return (EFI_SUCCESS);
}

void
elf_load(const UINT8 *file, const struct kernel_image *image)
{
	UINT8 *memory = (UINT8 *)image->base;
	UINTN i;

	ZeroMem(memory, image->len);
	for (i = 0; i < ((const struct elf_header *)file)->e_phnum; i++) {
		const struct elf_segment *s = segment(file, i);

		if (s->p_type == PT_LOAD)
			CopyMem(memory + (s->p_paddr - image->linked_base), file + s->p_offset, s->p_filesz);
	}
}
