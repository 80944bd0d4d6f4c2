/* SPDX-License-Identifier: BSD-2-Clause */
/* A transfer described: where in the file, and to or from which pieces of memory. */
#ifndef KERNEL_FS_UIO_H
#define KERNEL_FS_UIO_H

#include "kernel/lib/types.h"

enum uio_seg {
	UIO_USERSPACE,		/* a program's memory, as far as it is there: faults are off */
	UIO_SYSSPACE,
	UIO_NOCOPY,		/* the data already lies in the object's pages */
};
enum uio_rw { UIO_READ, UIO_WRITE };

struct vm_page;

struct iovec {
	void	*iov_base;
	size_t	 iov_len;		/* bytes */
};

struct uio {
	struct iovec	*uio_iov;
	int		 uio_iovcnt;
	off_t		 uio_offset;	/* in the file, bytes; moves */
	size_t		 uio_resid;	/* bytes left; shrinks */
	enum uio_seg	 uio_segflg;
	enum uio_rw	 uio_rw;
	/* UIO_NOCOPY: the pages that hold the data, from the one that holds uio_offset on */
	struct vm_page	**uio_pages;
};

/* One piece of kernel memory. */
void uio_init_kernel(struct uio *uio, struct iovec *iov, void *base, size_t len, off_t off, enum uio_rw rw);
/*
 * Move n bytes between kernel memory at `cp` and the uio, advancing it.  Returns 0; or, UIO_USERSPACE
 * only, EFAULT where a page is not there (then part may have been moved, and the uio says how much).
 */
int  uiomove(void *cp, size_t n, struct uio *uio);
/* UIO_NOCOPY: n bytes were taken care of. */
void uio_skip(struct uio *uio, size_t n);

#endif
