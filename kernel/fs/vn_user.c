/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading and writing files from and into user memory.
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
 * What is stored into a held page of a file must not be forgotten when the page is cleaned between
 * the fault and the copy: such a page is faulted for writing once more, which makes it dirty.
 *
 * Why not a bounce buffer, which would need no held pages: every byte would be copied twice.
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

/* Hold what of [addr, +len) can be held now.  0 and h->len > 0, or EFAULT. */
static int
hold_pages(struct hold *h, vm_offset_t addr, size_t len, vm_prot_t prot)
{
	h->addr = addr;
	h->len = 0;
	h->count = 0;
	while (h->len < len && h->count < HOLD_PAGES) {
		size_t off = (addr + h->len) & PAGE_MASK, n = MIN(PAGE_SIZE - off, len - h->len);
		struct vm_page *m = NULL;

		if (vm_fault(h->map, addr + h->len, prot, VM_FAULT_HOLD, &m) != KERN_SUCCESS)
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

/* One transfer after the other.  => rw: seen from the file */
static int
user_transfer(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, enum uio_rw rw,
    size_t *done)
{
	vm_prot_t prot = rw == UIO_READ ? VM_PROT_WRITE : VM_PROT_READ;
	struct hold h = { .map = &curthread->vmspace->map };
	int error = 0;

	*done = 0;
	if (addr > VM_USER_MAX || len > VM_USER_MAX - addr)
		return (EFAULT);
	while (*done < len && error == 0) {
		size_t moved;
		struct uio uio;

		error = hold_pages(&h, addr + *done, len - *done, prot);
		if (error != 0)
			break;
		uio = (struct uio){
			.uio_iov = h.iov, .uio_iovcnt = h.count, .uio_segflg = UIO_SYSSPACE,
			.uio_offset = off + (off_t)*done, .uio_resid = h.len, .uio_rw = rw,
		};
		error = rw == UIO_READ ? vn_read_uio(vp, &uio) : vn_write_uio(vp, &uio);
		moved = h.len - uio.uio_resid;
		hold_end(&h, rw == UIO_READ ? moved : 0);
		*done += moved;
		if (moved < h.len)
			break;			/* the end of the file */
	}
	return (*done > 0 ? 0 : error);
}

int
vn_read_user(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, size_t *done)
{
	return (user_transfer(vp, addr, len, off, UIO_READ, done));
}

int
vn_write_user(struct vnode *vp, vm_offset_t addr, size_t len, off_t off, size_t *done)
{
	return (user_transfer(vp, addr, len, off, UIO_WRITE, done));
}
