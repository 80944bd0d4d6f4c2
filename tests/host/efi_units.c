/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The UEFI loader's elf.c and memory.c against a firmware made of paper.
 *
 *	efi_units KERNEL.ELF SEED
 *
 * The fakes count calls and hand out the answers that a real firmware gives once in a blue moon:
 * keys that go stale, no memory, maps that grow.  test_efi.py compiles this with the address and
 * undefined-behaviour sanitizers, so each access outside of a damaged file ends the run.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/efi/loader.h"

static int failures;
#define CHECK(cond) do { if (!(cond)) { failures++; printf("# line %d: %s is false\n", __LINE__, #cond); } } while (0)

/* ---- what gnu-efi's library would give ---- */

EFI_BOOT_SERVICES *BS;
static unsigned complaints;

UINTN
Print(CONST CHAR16 *fmt, ...)
{
	complaints++;
	return (fmt == NULL);
}

VOID CopyMem(VOID *to, CONST VOID *from, UINTN len) { memcpy(to, from, len); }
VOID ZeroMem(VOID *p, UINTN len) { memset(p, 0, len); }
INTN CompareMem(CONST VOID *a, CONST VOID *b, UINTN len) { return (memcmp(a, b, len)); }

/* ---- the firmware ---- */

#define MAP_MAX	100

static EFI_MEMORY_DESCRIPTOR firmware_map[MAP_MAX];
static unsigned map_count, stale_left, exits, calls_after_refusal;
static UINTN map_key;
static char arena[16 << 20] __attribute__((aligned(0x200000)));
static UINT64 got_base, got_pages, freed_pages;
static int out_of_memory;

static EFI_STATUS EFIAPI
get_memory_map(UINTN *size, EFI_MEMORY_DESCRIPTOR *map, UINTN *key, UINTN *each, UINT32 *version)
{
	UINTN need = map_count * sizeof(map[0]);

	*each = sizeof(map[0]);
	*version = 1;
	if (*size < need) {
		*size = need;
		return (EFI_BUFFER_TOO_SMALL);
	}
	memcpy(map, firmware_map, need);
	*size = need;
	*key = map_key;
	return (EFI_SUCCESS);
}

/* Before it looks at the key a stubborn firmware makes it stale, as its timer might. */
static EFI_STATUS EFIAPI
exit_boot_services(EFI_HANDLE image, UINTN key)
{
	(void)image;
	exits++;
	if (stale_left > 0) {
		stale_left--;
		map_key++;
		firmware_map[map_count].Type = EfiRuntimeServicesData;
		firmware_map[map_count].PhysicalStart = 0x40000000 + map_count * 0x2000ull;
		firmware_map[map_count++].NumberOfPages = 1;
	}
	return (key == map_key ? EFI_SUCCESS : EFI_INVALID_PARAMETER);
}

static EFI_STATUS EFIAPI
allocate_pool(EFI_MEMORY_TYPE type, UINTN size, VOID **out)
{
	(void)type;
	calls_after_refusal += exits > 0;
	*out = malloc(size);
	return (EFI_SUCCESS);
}

static EFI_STATUS EFIAPI
allocate_pages(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory, UINTN pages, EFI_PHYSICAL_ADDRESS *at)
{
	(void)memory;
	CHECK(type == AllocateMaxAddress && *at == HANDOVER_END - 1);
	if (out_of_memory)
		return (EFI_OUT_OF_RESOURCES);
	got_pages = pages;
	*at = got_base;
	return (EFI_SUCCESS);
}

static EFI_STATUS EFIAPI
free_pages(EFI_PHYSICAL_ADDRESS at, UINTN pages)
{
	CHECK(pages > 0 && at >= got_base && at + pages * 4096 <= got_base + got_pages * 4096);
	freed_pages += pages;
	return (EFI_SUCCESS);
}

/* ---- leaving the firmware ---- */

static void
leave(unsigned stale, EFI_STATUS wanted, unsigned wanted_exits)
{
	struct boot_info bi = { .nmem = 0 };
	unsigned i;

	map_count = 6;
	memset(firmware_map, 0, sizeof(firmware_map));
	for (i = 0; i < map_count; i++) {
		firmware_map[i].PhysicalStart = i * 0x100000ull;
		firmware_map[i].NumberOfPages = 0x100;
	}
	firmware_map[0].Type = EfiConventionalMemory;
	firmware_map[1].Type = EfiLoaderCode;
	firmware_map[2].Type = EfiBootServicesData;
	firmware_map[3].Type = EfiACPIReclaimMemory;
	firmware_map[4].Type = EfiRuntimeServicesCode;
	firmware_map[5].Type = 0x80000001;	/* a maker's own */
	stale_left = stale;
	exits = calls_after_refusal = complaints = 0;
	CHECK(memory_exit_firmware(NULL, &bi) == wanted);
	CHECK(exits == wanted_exits);
	CHECK(calls_after_refusal == 0);
	CHECK(complaints == (wanted != EFI_SUCCESS));
	if (wanted != EFI_SUCCESS)
		return;
	CHECK(bi.nmem == 3 + stale);	/* the entries that came up on the way are in it */
	CHECK(bi.mem[0].base == 0 && bi.mem[0].len == 0x300000 && bi.mem[0].type == BOOT_MEM_USABLE);
	CHECK(bi.mem[1].type == BOOT_MEM_ACPI);
	CHECK(bi.mem[2].len == 0x200000 && bi.mem[2].type == BOOT_MEM_RESERVED);
}

/* ---- a place for the image ---- */

static void
place(UINT64 base, UINT64 len)
{
	UINT64 at = 0;

	got_base = base;
	freed_pages = 0;
	CHECK(memory_for_image(len, &at) == EFI_SUCCESS);
	CHECK(at % 0x200000 == 0 && at >= base && at + len <= base + got_pages * 4096);
	CHECK(freed_pages == got_pages - (len + 4095) / 4096);
}

/* ---- the kernel file ---- */

static EFI_STATUS
try_elf(const UINT8 *file, UINTN size)
{
	struct kernel_image image;
	EFI_STATUS status;
	UINT8 *copy = malloc(size + (size == 0));

	memcpy(copy, file, size);	/* of exactly this size, for the sanitizer */
	complaints = 0;
	status = elf_check(copy, size, &image);
	CHECK((status == EFI_SUCCESS) == (complaints == 0));
	if (status == EFI_SUCCESS && image.len <= sizeof(arena)) {
		image.base = (UINT64)arena;
		elf_load(copy, &image);
	}
	free(copy);
	return (status);
}

static void
elf_damage(UINT8 *file, UINTN size)
{
	UINTN i, at, table = 64 + 4 * 56;
	UINT8 old[8];
	unsigned refused = 0;

	CHECK(try_elf(file, size) == EFI_SUCCESS);
	for (i = 0; i < table + 64; i++)
		CHECK(try_elf(file, i) != EFI_SUCCESS);
	for (i = 0; i < 40; i++)
		CHECK(try_elf(file, (UINTN)random() % (size / 2)) != EFI_SUCCESS);
	for (i = 0; i < 4000; i++) {
		at = (UINTN)random() % (table - 8);
		memcpy(old, file + at, 8);
		file[at] = (UINT8)random();
		if (random() % 2)
			memset(file + at, random() % 2 ? 0xff : 0x7f, 1 + (UINTN)random() % 8);
		refused += try_elf(file, size) != EFI_SUCCESS;
		memcpy(file + at, old, 8);
	}
	CHECK(refused > 1000);
	CHECK(try_elf(file, size) == EFI_SUCCESS);
}

int
main(int argc, char **argv)
{
	static EFI_BOOT_SERVICES services;
	UINT8 *file = malloc(64 << 20);
	UINTN size;
	UINT64 at;
	FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL;

	if (f == NULL || file == NULL)
		return (2);
	size = fread(file, 1, 64 << 20, f);
	srandom((unsigned)atoi(argv[2]));
	services.GetMemoryMap = get_memory_map;
	services.ExitBootServices = exit_boot_services;
	services.AllocatePool = allocate_pool;
	services.AllocatePages = allocate_pages;
	services.FreePages = free_pages;
	BS = &services;

	leave(0, EFI_SUCCESS, 1);
	leave(1, EFI_SUCCESS, 2);
	leave(7, EFI_SUCCESS, 8);
	leave(50, EFI_INVALID_PARAMETER, 16);
	place(0x10000000, 0x150000);		/* aligned as it comes */
	place(0x10001000, 0x150001);
	place(0x101ff000, 0x400000);
	out_of_memory = 1;
	CHECK(memory_for_image(4096, &at) == EFI_OUT_OF_RESOURCES);
	elf_damage(file, size);
	printf("%s\n", failures == 0 ? "efi_units: good" : "efi_units: FAILED");
	return (failures != 0);
}
