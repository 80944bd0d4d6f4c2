/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Error numbers, with Linux's values: the system-call layer hands them out as they are.
 */
#ifndef KERNEL_LIB_ERRNO_H
#define KERNEL_LIB_ERRNO_H

#define EPERM		1
#define ENOENT		2
#define ESRCH		3
#define EINTR		4
#define EIO		5
#define ENXIO		6
#define E2BIG		7
#define ENOEXEC		8
#define EBADF		9
#define ECHILD		10
#define EAGAIN		11
#define EWOULDBLOCK	EAGAIN
#define ENOMEM		12
#define EACCES		13
#define EFAULT		14
#define EBUSY		16
#define EEXIST		17
#define EXDEV		18
#define ENODEV		19
#define ENOTDIR		20
#define EISDIR		21
#define EINVAL		22
#define ENFILE		23
#define EMFILE		24
#define ENOTTY		25
#define ETXTBSY		26
#define EFBIG		27
#define ENOSPC		28
#define ESPIPE		29
#define EROFS		30
#define EMLINK		31
#define EPIPE		32
#define ERANGE		34
#define EDEADLK		35
#define ENAMETOOLONG	36
#define ENOSYS		38
#define ENOTEMPTY	39
#define ELOOP		40
#define EOVERFLOW	75
#define ELIBBAD		80
#define ENOTSOCK	88
#define EOPNOTSUPP	95
#define EAFNOSUPPORT	97
#define ETIMEDOUT	110
#define EUCLEAN		117	/* the filesystem is damaged ("structure needs cleaning") */

/*
 * Never seen by programs: an interruptible sleep was cut short by a signal.  On the way out the system call
 * either starts again or fails with EINTR.
 */
#define ERESTARTSYS	512	/* again if no handler runs, or the handler has SA_RESTART */
#define ERESTARTNOHAND	514	/* again only if no handler runs */

/* The name of an error, such as "EIO"; "E?" for a number not listed here. */
const char *errno_name(int error);

#endif
