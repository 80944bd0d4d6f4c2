/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faultline's own UEFI loader, \EFI\BOOT\BOOTX64.EFI on an EFI system partition.
 *
 *	\faultline\kernel.elf	-> memory, at any 2 MiB boundary below 4 GiB
 *	\faultline\cmdline.txt	-> boot_info; load options, where given, replace it
 *	firmware's tables	-> boot_info: ACPI root pointer, framebuffer, at last the memory map
 *	ExitBootServices, then the kernel's 64-bit entry, which an ELF note names (boot/start.S)
 *
 * Until the firmware is left every failure is one sentence on its console, with the name of its
 * status, and after a key the boot manager has the machine again.
 *
 * A screen is part of the hand-over.  A machine without one is refused, because its owner would
 * see nothing and wonder; the word screen=none says that the serial line is enough.
 */
#include "boot/efi/loader.h"

#define KERNEL_PATH	L"\\faultline\\kernel.elf"
#define CMDLINE_PATH	L"\\faultline\\cmdline.txt"

typedef void (*kernel_entry_t)(struct boot_info *bi) __attribute__((sysv_abi, noreturn));

/*
 * Read, check and place the kernel, with room for a boot_info on the pages behind it.
 * => after an error nothing is left allocated.
 */
static EFI_STATUS
load_kernel(EFI_HANDLE self, struct kernel_image *image, struct boot_info **bi)
{
	UINT64 behind;
	EFI_STATUS status;
	UINT8 *file;
	UINTN size;

	status = file_read(self, KERNEL_PATH, &file, &size);
	if (EFI_ERROR(status))
		return (COMPLAIN(status, L"cannot read %s from the volume that holds this loader", KERNEL_PATH));
	status = elf_check(file, size, image);
	if (!EFI_ERROR(status)) {
		behind = EFI_SIZE_TO_PAGES(image->len) * EFI_PAGE_SIZE;
		status = memory_for_image(behind + sizeof(**bi), &image->base);
		if (EFI_ERROR(status)) {
			(void)COMPLAIN(status, L"no %ld KiB in one piece below 4 GiB for the kernel",
			    image->len / 1024);
		} else {
			elf_load(file, image);
			*bi = (struct boot_info *)(image->base + behind);
		}
	}
	FreePool(file);
	return (status);
}

/* Is `word` one of the blank-separated words of the line? */
static BOOLEAN
has_word(const char *line, const char *word)
{
	UINTN len = strlena((const CHAR8 *)word);

	for (;;) {
		while (*line == ' ')
			line++;
		if (*line == '\0')
			return (FALSE);
		if (strncmpa((const CHAR8 *)line, (const CHAR8 *)word, len) == 0 &&
		    (line[len] == ' ' || line[len] == '\0'))
			return (TRUE);
		while (*line != '\0' && *line != ' ')
			line++;
	}
}

/* The graphics mode that the firmware has chosen, if its pixels can be written as memory. */
static EFI_STATUS
find_framebuffer(struct boot_info *bi)
{
	EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;
	const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode;
	EFI_STATUS status;

	status = LibLocateProtocol(&GraphicsOutputProtocol, (void **)&gop);
	if (!EFI_ERROR(status) && gop->Mode->Info->PixelFormat > PixelBlueGreenRedReserved8BitPerColor)
		status = EFI_UNSUPPORTED;
	if (EFI_ERROR(status)) {
		if (has_word(bi->cmdline, "screen=none"))
			return (EFI_SUCCESS);
		return (COMPLAIN(status, L"no graphics output with 32-bit pixels, and screen=none is not in %s",
		    CMDLINE_PATH));
	}
	mode = gop->Mode->Info;
	bi->fb.base = gop->Mode->FrameBufferBase;
	bi->fb.width = mode->HorizontalResolution;
	bi->fb.height = mode->VerticalResolution;
	bi->fb.pitch = mode->PixelsPerScanLine * 4;
	bi->fb.bpp = 32;
	return (EFI_SUCCESS);
}

static void
find_rsdp(const EFI_SYSTEM_TABLE *st, struct boot_info *bi)
{
	EFI_GUID revision1 = ACPI_TABLE_GUID, revision2 = ACPI_20_TABLE_GUID;
	UINTN i;

	for (i = 0; i < st->NumberOfTableEntries; i++) {
		EFI_CONFIGURATION_TABLE *t = &st->ConfigurationTable[i];

		if (CompareGuid(&t->VendorGuid, &revision2) == 0 ||
		    (bi->rsdp == 0 && CompareGuid(&t->VendorGuid, &revision1) == 0))
			bi->rsdp = (UINT64)t->VendorTable;
	}
}

/* Everything up to the point of no return; returns only what went wrong. */
static EFI_STATUS
boot(EFI_HANDLE self, const EFI_SYSTEM_TABLE *st)
{
	static struct boot_info draft;
	struct kernel_image image;
	struct boot_info *bi;
	kernel_entry_t entry;
	EFI_STATUS status;

	draft.magic = BOOT_INFO_MAGIC;
	draft.path = BOOT_EFI;
	cmdline_find(self, CMDLINE_PATH, draft.cmdline, sizeof(draft.cmdline));
	find_rsdp(st, &draft);
	status = find_framebuffer(&draft);
	if (!EFI_ERROR(status))
		status = load_kernel(self, &image, &bi);
	if (EFI_ERROR(status))
		return (status);
	CopyMem(bi, &draft, sizeof(*bi));
	entry = (kernel_entry_t)(image.base + (image.linked_entry - image.linked_base));
	status = memory_exit_firmware(self, bi);
	if (EFI_ERROR(status))
		return (status);
	__asm__ volatile("cli");
	entry(bi);
}

EFI_STATUS
efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *st)
{
	EFI_STATUS status;

	InitializeLib(self, st);
	/* The firmware's watchdog would reset the machine five minutes from now, or while somebody reads. */
	(void)BS->SetWatchdogTimer(0, 0, 0, NULL);
	status = boot(self, st);
	(void)ST->ConIn->Reset(ST->ConIn, FALSE);	/* what was typed before is no answer */
	Print(L"Press a key to return to the boot manager.\r\n");
	WaitForSingleEvent(ST->ConIn->WaitForKey, 0);
	return (status);
}
