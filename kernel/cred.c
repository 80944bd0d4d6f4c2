/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Credentials, shared by reference.
 *
 * A credential never changes once it is made, so readers need no lock: whoever wants another
 * identity makes another one. The only thing that moves is the count of references, atomically.  An
 * object of the VM holds the credential of the one who made it, a pbuf holds its object's for as
 * long as the request lasts, and so on; the last to let go frees it.
 *
 * The kernel's own credential is static.  It is counted like any other, so that nobody needs a
 * special case, and starts with one reference that nobody gives back.
 */
#include "kernel/cred.h"
#include "kernel/kassert.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_CRED, "cred");

struct ucred cred_kernel = { .refs = 1 };

struct ucred *
cred_create(uint32_t uid, uint32_t gid)
{
	struct ucred *cr = kmalloc(sizeof(*cr), &M_CRED, M_WAITOK);

	cr->refs = 1;
	cr->uid = uid;
	cr->gid = gid;
	return (cr);
}

struct ucred *
crhold(struct ucred *cr)
{
	uint32_t before;

	if (cr == NOCRED)
		return (cr);
	before = __atomic_fetch_add(&cr->refs, 1, __ATOMIC_RELAXED);
	KASSERT(before != 0 && before != UINT32_MAX, "holding credential %p with %u references", cr, before);
	return (cr);
}

void
crfree(struct ucred *cr)
{
	uint32_t before;

	if (cr == NOCRED)
		return;
	before = __atomic_fetch_sub(&cr->refs, 1, __ATOMIC_ACQ_REL);
	KASSERT(before != 0, "freeing credential %p without references", cr);
	KASSERT(before != 1 || cr != &cred_kernel, "the kernel's credential lost its last reference");
	if (before == 1)
		kfree(cr, &M_CRED);
}
