/* SPDX-License-Identifier: BSD-2-Clause */
/* Names for error numbers, so that messages say "EIO" and not 5. */
#include "kernel/lib/errno.h"
#include "kernel/lib/types.h"

#define NAME(e)	[e] = #e

static const char *const names[] = {
	[0] = "0",
	NAME(EPERM), NAME(ENOENT), NAME(ESRCH), NAME(EINTR), NAME(EIO), NAME(ENXIO), NAME(E2BIG), NAME(ENOEXEC),
	    NAME(EBADF),
	NAME(ECHILD), NAME(EAGAIN), NAME(ENOMEM), NAME(EACCES), NAME(EFAULT), NAME(EBUSY), NAME(EEXIST),
	    NAME(EXDEV),
	NAME(ENODEV), NAME(ENOTDIR), NAME(EISDIR), NAME(EINVAL), NAME(ENFILE), NAME(EMFILE),
	    NAME(ENOTTY), NAME(ETXTBSY),
	NAME(EFBIG), NAME(ENOSPC), NAME(ESPIPE), NAME(EROFS), NAME(EMLINK), NAME(EPIPE), NAME(ERANGE),
	    NAME(EDEADLK),
	NAME(ENAMETOOLONG), NAME(ENOSYS), NAME(ENOTEMPTY), NAME(ELOOP), NAME(EOVERFLOW),
	    NAME(ENOTSOCK), NAME(EOPNOTSUPP), NAME(EAFNOSUPPORT),
	NAME(ETIMEDOUT), NAME(ELIBBAD), NAME(EUCLEAN),
};

const char *
errno_name(int error)
{
	if (error < 0 || (size_t)error >= nitems(names) || names[error] == NULL)
		return ("E?");
	return (names[error]);
}
