/* SPDX-License-Identifier: BSD-2-Clause */
/* Credentials: who asks.  Immutable once made; shared by reference. */
#ifndef KERNEL_CRED_H
#define KERNEL_CRED_H

#include "kernel/lib/types.h"

struct ucred {
	uint32_t	refs;		/* (atomic) */
	uint32_t	uid, gid;	/* (constant) */
};

#define NOCRED	((struct ucred *)NULL)

extern struct ucred cred_kernel;	/* uid 0; never freed */

struct ucred *cred_create(uint32_t uid, uint32_t gid);	/* one reference; => may sleep for memory */
struct ucred *crhold(struct ucred *cr);			/* NOCRED is fine; returns cr */
/* NOCRED is fine; any context but interrupts */
void crfree(struct ucred *cr);

#endif
