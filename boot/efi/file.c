/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading from the volume that the firmware loaded us from, and the command line.
 *
 * Load options are UTF-16 text when a person wrote them, and anything at all when some tool did, so
 * they count only if they are printable ASCII up to a NUL.  The UEFI shell puts the name of the
 * program in front; a first word that ends in ".efi" is therefore left out.
 */
#include "boot/efi/loader.h"

#define FILE_MAX	(256ull << 20)

static EFI_STATUS
read_all(EFI_FILE_PROTOCOL *file, UINT8 **data, UINTN *size)
{
	EFI_FILE_INFO *info = LibFileInfo(file);
	UINTN done = 0, now;
	EFI_STATUS status;

	if (info == NULL)
		return (EFI_DEVICE_ERROR);
	*size = info->FileSize;
	FreePool(info);
	if (*size > FILE_MAX)
		return (EFI_BAD_BUFFER_SIZE);
	status = BS->AllocatePool(EfiLoaderData, *size + 1, (void **)data);
	if (EFI_ERROR(status))
		return (status);
	while (done < *size) {
		now = *size - done;
		status = file->Read(file, &now, *data + done);
		if (EFI_ERROR(status) || now == 0) {
			FreePool(*data);
			return (EFI_ERROR(status) ? status : EFI_END_OF_FILE);
		}
		done += now;
	}
	(*data)[done] = '\0';
	return (EFI_SUCCESS);
}

EFI_STATUS
file_read(EFI_HANDLE image, CHAR16 *path, UINT8 **data, UINTN *size)
{
	EFI_LOADED_IMAGE *self;
	EFI_FILE_HANDLE root, file;
	EFI_STATUS status;

	status = BS->HandleProtocol(image, &LoadedImageProtocol, (void **)&self);
	if (EFI_ERROR(status))
		return (status);
	root = LibOpenRoot(self->DeviceHandle);
	if (root == NULL)
		return (EFI_NO_MEDIA);
	status = root->Open(root, &file, path, EFI_FILE_MODE_READ, 0);
	if (!EFI_ERROR(status)) {
		status = read_all(file, data, size);
		file->Close(file);
	}
	root->Close(root);
	return (status);
}

/* Load options as ASCII; false when there are none, or they are no text. */
static BOOLEAN
options_text(const CHAR16 *options, UINTN count, char *line, UINTN max)
{
	UINTN i, n = 0;

	for (i = 0; i < count && options[i] != 0; i++) {
		if (options[i] < ' ' || options[i] > '~')
			return (FALSE);
		if (n + 1 < max)
			line[n++] = (char)options[i];
	}
	line[n] = '\0';
	return (n > 0);
}

/* Take a first word "....efi" off the line. */
static void
drop_program_name(char *line)
{
	UINTN end = 0, i;

	while (line[end] != '\0' && line[end] != ' ')
		end++;
	if (end < 4 || line[end - 4] != '.' || (line[end - 3] | 0x20) != 'e' || (line[end - 2] | 0x20) != 'f' ||
	    (line[end - 1] | 0x20) != 'i')
		return;
	while (line[end] == ' ')
		end++;
	for (i = 0; line[end] != '\0'; i++)
		line[i] = line[end++];
	line[i] = '\0';
}

void
cmdline_find(EFI_HANDLE image, CHAR16 *path, char *line, UINTN max)
{
	EFI_LOADED_IMAGE *self;
	UINT8 *text;
	UINTN size, i;

	line[0] = '\0';
	if (!EFI_ERROR(BS->HandleProtocol(image, &LoadedImageProtocol, (void **)&self)) &&
	    self->LoadOptions != NULL &&
	    options_text(self->LoadOptions, self->LoadOptionsSize / sizeof(CHAR16), line, max))
		drop_program_name(line);
	if (line[0] != '\0' || EFI_ERROR(file_read(image, path, &text, &size)))
		return;
	for (i = 0; i < size && i + 1 < max && text[i] != '\0'; i++)
		line[i] = text[i] < ' ' ? ' ' : (char)text[i];
	line[i] = '\0';
	if (i < size && text[i] != '\0')
		Print(L"Faultline: %s is longer than %d characters; the rest is ignored.\r\n", path, (INT32)max - 1);
	FreePool(text);
}
