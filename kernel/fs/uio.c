/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving bytes between the kernel and whatever a uio describes.
 *
 *	uio_iov -> [base, len] [base, len] ...	consumed from the front: the first piece shrinks, then goes
 *	uio_offset				moves forward with it
 *	uio_resid				what is still wanted
 *
 * One loop serves both directions and both kinds of memory; what differs is one copy function.
 * UIO_NOCOPY moves nothing: the pager's pages are the data, and only the accounts advance.
 *
 * A fault may need any vnode and any page, and callers hold some: so copies to and from user memory do
 * not wait for one but fail (vn_user.c says what then).
 */
#include "kernel/fs/uio.h"
#include "kernel/amd64/cpu.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"

void
uio_init_kernel(struct uio *uio, struct iovec *iov, void *base, size_t len, off_t off, enum uio_rw rw)
{
	iov->iov_base = base;
	iov->iov_len = len;
	uio->uio_iov = iov;
	uio->uio_iovcnt = 1;
	uio->uio_offset = off;
	uio->uio_resid = len;
	uio->uio_segflg = UIO_SYSSPACE;
	uio->uio_rw = rw;
}

/* The same with a program's memory.  EFAULT: not all of it is there. */
static int
uio_copy_user(enum uio_rw rw, void *cp, vm_offset_t base, size_t n)
{
	int error;

	curthread->nofault = true;
	error = rw == UIO_READ ? copyout(cp, base, n) : copyin(base, cp, n);
	curthread->nofault = false;
	return (error);
}

/* Copy n bytes between `cp` (NULL: zeros) and `base`, which is what the uio says it is. */
static int
uio_copy(const struct uio *uio, void *cp, void *base, size_t n)
{
	switch (uio->uio_segflg) {
	case UIO_NOCOPY:
		return (0);
	case UIO_SYSSPACE:
		if (cp == NULL)
			memset(base, 0, n);
		else if (uio->uio_rw == UIO_READ)
			memmove(base, cp, n);
		else
			memmove(cp, base, n);
		return (0);
	case UIO_USERSPACE:
		return (uio_copy_user(uio->uio_rw, cp, (vm_offset_t)base, n));
	}
	panic("uio %p has segment kind %d", uio, uio->uio_segflg);
}

/* The uio's first piece lost n bytes at its front. */
static void
uio_advance(struct uio *uio, size_t n)
{
	struct iovec *iov = uio->uio_iov;

	iov->iov_base = (char *)iov->iov_base + n;
	iov->iov_len -= n;
	uio->uio_resid -= n;
	uio->uio_offset += (off_t)n;
}

int
uiomove(void *cp, size_t n, struct uio *uio)
{
	int error;

	while (n > 0 && uio->uio_resid > 0 && uio->uio_iovcnt > 0) {
		struct iovec *iov = uio->uio_iov;
		size_t piece = MIN(MIN(n, iov->iov_len), uio->uio_resid);

		if (piece == 0) {
			uio->uio_iov++;
			uio->uio_iovcnt--;
			continue;
		}
		error = uio_copy(uio, cp, iov->iov_base, piece);
		if (error != 0)
			return (error);
		uio_advance(uio, piece);
		cp = (char *)cp + piece;
		n -= piece;
	}
	return (0);
}

void
uio_skip(struct uio *uio, size_t n)
{
	KASSERT(uio->uio_segflg == UIO_NOCOPY && n <= uio->uio_resid, "skipping %lu of %lu bytes", n, uio->uio_resid);
	uio->uio_pages += OFF_TO_IDX(uio->uio_offset + n) - OFF_TO_IDX(uio->uio_offset);
	uio->uio_offset += n;
	uio->uio_resid -= n;
}
