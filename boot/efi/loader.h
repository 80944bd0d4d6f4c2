/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the UEFI loader know of each other. */
#ifndef BOOT_EFI_LOADER_H
#define BOOT_EFI_LOADER_H

#include <efi.h>
#include <efilib.h>

#include "boot/boot_info.h"

/* Below this the kernel's early tables map physical memory, so everything handed over lies there. */
#define HANDOVER_END	0x100000000ull

/* One sentence on the firmware's console, with the status's name; yields the status. */
#define COMPLAIN(status, fmt, ...) \
	(Print(L"Faultline: " fmt L": %r.\r\n", ##__VA_ARGS__, (status)), (status))

/* elf.c */
struct kernel_image {
	UINT64	linked_base;		/* physical address that the ELF asks for */
	UINT64	len;			/* bytes from there to the end of .bss */
	UINT64	linked_entry;		/* the 64-bit entry, by the note */
	UINT64	base;			/* where it lies now; 2 MiB aligned */
};
/*
 * Is the file a whole Faultline kernel?  Fills *image but for base.
 * => EFI_LOAD_ERROR or EFI_UNSUPPORTED, after a complaint.
 */
EFI_STATUS elf_check(const UINT8 *file, UINTN size, struct kernel_image *image);
/* Copy the segments of a checked file to image->base and clear what they leave out. */
void elf_load(const UINT8 *file, const struct kernel_image *image);

/* memory.c */
/*
 * `len` bytes on a 2 MiB boundary below HANDOVER_END, as high as possible: low memory is for those
 * who need it.  => EFI_OUT_OF_RESOURCES when there are none.
 */
EFI_STATUS memory_for_image(UINT64 len, UINT64 *base);
/*
 * Fill bi's memory map and leave the firmware; afterwards nothing of it may be called.
 * => on an error the firmware may be half gone: EFI_INVALID_PARAMETER when it never took its own key.
 */
EFI_STATUS memory_exit_firmware(EFI_HANDLE image, struct boot_info *bi);

/* file.c */
/* A whole file of the volume that holds us, in pool memory, with a NUL behind it. */
EFI_STATUS file_read(EFI_HANDLE image, CHAR16 *path, UINT8 **data, UINTN *size);
/* The command line: the load options, or else the text file `path`.  => never fails: no file, no words. */
void cmdline_find(EFI_HANDLE image, CHAR16 *path, char *line, UINTN max);

#endif
