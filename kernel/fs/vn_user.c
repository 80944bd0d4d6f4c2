/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing files from and into user memory: the way of every read and write of a program.
 *
 *	user memory --vm_fault, VM_FAULT_HOLD--> up to HOLD_PAGES pages, wired
 *	            --vnode locked, VOP_READ or VOP_WRITE on these pages--> copied
 *	            --unwired
 *
 * A copy that faulted with the vnode locked could fault on a mapping of this very file, and would
 * then wait for itself; two that read two files into mappings of each other would wait for each
 * other.  So the user's pages are found before anything is locked, and cannot go until the copy is
 * over.  A bounded number at a time, since wired pages are lost for everybody else.
 *
 * Most memory that a program reads into is there, and holding it costs more than the copy.  So a read
 * first tries with faults off (UIO_USERSPACE): where the copy meets a page that is not there, or may not
 * be stored into at once, it ends with EFAULT instead of waiting, and from there on pages are held.  A
 * write does not try that: a page of the file that is to be overwritten whole is not read before, so
 * a copy that ended early would have lost what it held.
 *
 * What is stored into a held page of a file must not be forgotten when the page is cleaned between
 * the fault and the copy: such a page is faulted for writing once more, which makes it dirty.
 *
 * Why not a bounce buffer, which would need no held pages: every byte would be copied twice, and memory
 * be asked for where it is short.
 */
#include "kernel/fs/uio.h"
#include "kernel/fs/vnode.h"
#include "kernel/thread.h"
#include "vm/pmap.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_page.h"

#define HOLD_PAGES	16

struct hold {
	struct vm_map	*map;
	vm_offset_t	 addr;		/* of the first byte */
	size_t		 len;		/* bytes from there on that the pages hold */
	int		 count;
	struct vm_page	*pages[HOLD_PAGES];
	struct iovec	 iov[HOLD_PAGES];
};

/* Hold what of [addr, +len) can be held now, at most `max` pages.  0 and h->len > 0, or EFAULT. */
static int
hold_pages(struct hold *h, vm_offset_t addr, size_t len, vm_prot_t prot, int max)
{
	h->addr = addr;
	h->len = 0;
	h->count = 0;
	while (h->len < len && h->count < max) {
		size_t off = (addr + h->len) & PAGE_MASK, n = MIN(PAGE_SIZE - off, len - h->len);
		struct vm_page *m = NULL;
		int kr = vm_fault(h->map, addr + h->len, prot, VM_FAULT_HOLD, &m);

		if (kr == KERN_INVALID_ADDRESS && vm_map_grow(h->map, addr + h->len))
			kr = vm_fault(h->map, addr + h->len, prot, VM_FAULT_HOLD, &m);
		if (kr != KERN_SUCCESS)
			break;
		h->pages[h->count] = m;
		h->iov[h->count].iov_base = (char *)VM_PAGE_TO_DMAP(m) + off;
		h->iov[h->count].iov_len = n;
		h->count++;
		h->len += n;
	}
	return (h->len > 0 ? 0 : EFAULT);
}

/* stored: bytes that were written into the pages. */
static void
hold_end(struct hold *h, size_t stored)
{
	vm_offset_t page = trunc_page(h->addr);

	for (int i = 0; i < h->count; i++, page += PAGE_SIZE) {
		bool changed = stored > 0 && page < h->addr + stored;

		if (changed && h->pages[i]->dirty != VM_PAGE_BITS_ALL)
			(void)vm_fault(h->map, page, VM_PROT_WRITE, 0, NULL);
		vm_page_unwire(h->pages[i], PQ_ACTIVE);
	}
}

/* Read into what is there.  EFAULT: that ends after *done bytes. */
static int
read_present(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, size_t *done)
{
	struct iovec iov = { .iov_base = (void *)addr, .iov_len = len };
	struct uio uio = {
		.uio_iov = &iov, .uio_iovcnt = 1, .uio_segflg = UIO_USERSPACE,
		.uio_offset = off, .uio_resid = len, .uio_rw = UIO_READ,
	};
	int error = vn_read_uio(vp, &uio);

	*done = len - uio.uio_resid;
	return (error);
}

/* Move what the held pages hold.  => rw: seen from the file; the pages are let go */
static int
held_transfer(struct vnode *vp, struct hold *h, off_t off, enum uio_rw rw, size_t *done)
{
	struct uio uio = {
		.uio_iov = h->iov, .uio_iovcnt = h->count, .uio_segflg = UIO_SYSSPACE,
		.uio_offset = off, .uio_resid = h->len, .uio_rw = rw,
	};
	int error = rw == UIO_READ ? vn_read_uio(vp, &uio) : vn_write_uio(vp, &uio);

	*done = h->len - uio.uio_resid;
	hold_end(h, rw == UIO_READ ? *done : 0);
	return (error);
}

static bool
in_user_half(vm_offset_t addr, size_t len)
{
	return (addr <= VM_USER_MAX && len <= VM_USER_MAX - addr);
}

int
vn_read_user(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, size_t *done)
{
	struct hold h = { .map = &curthread->vmspace->map };
	int error = 0;

	*done = 0;
	if (!in_user_half(addr, len))
		return (EFAULT);
	while (*done < len) {
		size_t moved;

		error = read_present(vp, addr + *done, len - *done, off + (off_t)*done, &moved);
		*done += moved;
		if (error != EFAULT)
			break;			/* all, the end of the file, or a real error */
		/* The first time one page only: the file may be short, and the memory of no use. */
		error = hold_pages(&h, addr + *done, len - *done, VM_PROT_WRITE, *done == 0 ? 1 : HOLD_PAGES);
		if (error != 0)
			break;
		error = held_transfer(vp, &h, off + (off_t)*done, UIO_READ, &moved);
		*done += moved;
		if (error != 0 || moved < h.len)
			break;
	}
	return (*done > 0 ? 0 : error);
}

int
vn_write_user(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, size_t *done)
{
	struct hold h = { .map = &curthread->vmspace->map };
	int error = 0;

	*done = 0;
	if (!in_user_half(addr, len))
		return (EFAULT);
	while (*done < len && error == 0) {
		size_t moved;

		error = hold_pages(&h, addr + *done, len - *done, VM_PROT_READ, HOLD_PAGES);
		if (error != 0)
			break;
		error = held_transfer(vp, &h, off + (off_t)*done, UIO_WRITE, &moved);
		*done += moved;
		if (moved < h.len)
			break;
	}
	return (*done > 0 ? 0 : error);
}
