/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The firmware's memory: a place for the image, the map, and the way out.
 *
 * ExitBootServices() wants the key of the very latest memory map, to prove that we know what is
 * whose.  A timer of the firmware may allocate between our reading the map and our using its key;
 * then the key is stale, and we read again.  From the first refusal on, the firmware may have taken
 * itself apart so far that only these two calls work: so the buffer is allocated before, with room
 * for a map that grows, and nothing is printed until it is over.
 *
 * The memory of boot services and of this loader is free once they have ended; the kernel itself
 * keeps its image and the boot_info out of it.
 */
#include "boot/efi/loader.h"

#define ALIGNMENT	0x200000ull
#define TRIES		16
#define GROWTH		32		/* descriptors more than there are now */

static UINT32
mem_type(UINT32 efi)
{
	switch (efi) {
	case EfiLoaderCode:
	case EfiLoaderData:
	case EfiBootServicesCode:
	case EfiBootServicesData:
	case EfiConventionalMemory:
		return (BOOT_MEM_USABLE);
	case EfiACPIReclaimMemory:
		return (BOOT_MEM_ACPI);
	default:
		return (BOOT_MEM_RESERVED);
	}
}

EFI_STATUS
memory_for_image(UINT64 len, UINT64 *base)
{
	UINT64 pages = EFI_SIZE_TO_PAGES(len), slack = EFI_SIZE_TO_PAGES(ALIGNMENT), at, head;
	EFI_PHYSICAL_ADDRESS got = HANDOVER_END - 1;
	EFI_STATUS status;

	status = BS->AllocatePages(AllocateMaxAddress, EfiLoaderData, pages + slack, &got);
	if (EFI_ERROR(status))
		return (status);
	/* Aligned to the end; what is left over on either side goes back. */
	at = (got + slack * EFI_PAGE_SIZE) & ~(ALIGNMENT - 1);
	head = EFI_SIZE_TO_PAGES(at - got);
	if (head > 0)
		(void)BS->FreePages(got, head);
	if (slack > head)
		(void)BS->FreePages(at + pages * EFI_PAGE_SIZE, slack - head);
	*base = at;
	return (EFI_SUCCESS);
}

/* Append one range; neighbours of one type become one, for firmwares tell of a hundred and more. */
static void
take(struct boot_info *bi, UINT64 base, UINT64 len, UINT32 type)
{
	struct boot_mem *last;

	if (bi->nmem > 0) {
		last = &bi->mem[bi->nmem - 1];
		if (last->type == type && last->base + last->len == base) {
			last->len += len;
			return;
		}
	}
	if (!boot_info_add(bi, base, len, type))
		bi->clipped++;
}

EFI_STATUS
memory_exit_firmware(EFI_HANDLE image, struct boot_info *bi)
{
	UINTN capacity = 0, size, key, each = 0, at;
	EFI_MEMORY_DESCRIPTOR *map = NULL;
	UINT32 version;
	EFI_STATUS status;
	int tries;

	status = BS->GetMemoryMap(&capacity, map, &key, &each, &version);
	if (status != EFI_BUFFER_TOO_SMALL)
		return (COMPLAIN(status, L"the firmware does not say how large its memory map is"));
	capacity += GROWTH * each;
	status = BS->AllocatePool(EfiLoaderData, capacity, (void **)&map);
	if (EFI_ERROR(status))
		return (COMPLAIN(status, L"no memory for the memory map"));
	for (tries = 0; tries < TRIES; tries++) {
		size = capacity;
		status = BS->GetMemoryMap(&size, map, &key, &each, &version);
		if (EFI_ERROR(status))
			break;
		status = BS->ExitBootServices(image, key);
		if (status != EFI_INVALID_PARAMETER)
			break;
	}
	if (EFI_ERROR(status))
		return (COMPLAIN(status, L"the firmware does not let go of the machine"));
	for (at = 0; at + each <= size; at += each) {
		const EFI_MEMORY_DESCRIPTOR *d = (const void *)((const UINT8 *)map + at);

		take(bi, d->PhysicalStart, d->NumberOfPages * EFI_PAGE_SIZE, mem_type(d->Type));
	}
	return (EFI_SUCCESS);
}
