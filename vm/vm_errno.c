/* SPDX-License-Identifier: BSD-2-Clause */
/* KERN_ codes in words, and as errno: the one place of that translation. */
#include "kernel/lib/errno.h"
#include "vm/vm.h"

static const struct {
	const char	*name;
	int		 error;
} codes[] = {
	[KERN_SUCCESS] = { "KERN_SUCCESS", 0 },
	[KERN_INVALID_ADDRESS] = { "KERN_INVALID_ADDRESS", ENOMEM },
	[KERN_PROTECTION_FAILURE] = { "KERN_PROTECTION_FAILURE", EACCES },
	[KERN_NO_SPACE] = { "KERN_NO_SPACE", ENOMEM },
	[KERN_INVALID_ARGUMENT] = { "KERN_INVALID_ARGUMENT", EINVAL },
	[KERN_RESOURCE_SHORTAGE] = { "KERN_RESOURCE_SHORTAGE", ENOMEM },
	[KERN_OUT_OF_BOUNDS] = { "KERN_OUT_OF_BOUNDS", EFAULT },
	[KERN_IO_ERROR] = { "KERN_IO_ERROR", EIO },
	[KERN_RESTART] = { "KERN_RESTART", EAGAIN },
};

const char *
kern_return_name(int kr)
{
	return (kr >= 0 && kr < (int)nitems(codes) ? codes[kr].name : "KERN_?");
}

int
vm_errno(int kr)
{
	return (kr >= 0 && kr < (int)nitems(codes) ? codes[kr].error : EINVAL);
}
