/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pager that does what the test says: objects of type OBJT_TEST whose pages hold a pattern.
 *
 *	fault --> vm_pager --> fakepager_getpages: noted in calls[]
 *	                            |
 *	                          held?  sleep in "fakepg" until released
 *	                            |
 *	   verdict OK:   the page asked for is filled, and neighbours as far as `keep` and their own
 *	                 verdicts allow; the others are freed
 *	   another one:  fakepager_say() ordered it, for so many times; all neighbours are freed
 *
 * A held call is one that came while `hold` was set; each is released alone and in any order.
 */
#ifndef TESTS_KERNEL_FAKEPAGER_H
#define TESTS_KERNEL_FAKEPAGER_H

#include "kernel/lib/types.h"
#include "kernel/lock.h"
#include "vm/vm_pager.h"

#define FAKE_PAGES	256	/* pages of an object at most */
#define FAKE_CALLS	256	/* calls noted, and only these can be held */
#define FAKE_FOREVER	(-1)

/* One call of getpages. */
struct fake_call {
	vm_pindex_t	first;		/* index of m[0] */
	int		count, reqpage;
	int		result;		/* VM_PAGER_ code answered; -1: not yet */
	int		finished;	/* neighbours that were filled */
	uint32_t	tid;		/* the thread that asked */
	bool		held;
};

struct fakepager {
	struct spinlock	lock;		/* all below; not needed while nobody else faults */
	struct vm_object *object;	/* (constant) one reference is the test's */
	uint32_t	seed;		/* (constant) of its contents */
	int		before, after;	/* what haspage offers */
	int		keep;		/* finish neighbours up to this distance */
	bool		hold;		/* calls wait */
	bool		linger;		/* calls give way to other threads before they answer */
	uint8_t		verdict[FAKE_PAGES];	/* VM_PAGER_ code for a page ... */
	int		times[FAKE_PAGES];	/* ... this often; FAKE_FOREVER */
	unsigned	ncalls;
	unsigned	nhas;		/* questions to haspage */
	struct fake_call calls[FAKE_CALLS];
};

extern unsigned fakepager_deallocs;	/* objects whose pager went, ever */

/*
 * An object of npages with such a pager.  The caller has one reference; with the object's last one,
 * fp goes.
 */
struct fakepager *fakepager_create(vm_pindex_t npages);
void fakepager_drop(struct fakepager *fp);		/* give up that reference */
void fakepager_say(struct fakepager *fp, vm_pindex_t pindex, int verdict, int times);
/* Hold the calls that come.  Those that wait already go on waiting. */
void fakepager_hold(struct fakepager *fp, bool hold);
void fakepager_release(struct fakepager *fp, unsigned call);
void fakepager_release_all(struct fakepager *fp);
unsigned fakepager_calls(struct fakepager *fp);
/* Calls that asked for this page. */
unsigned fakepager_calls_for(struct fakepager *fp, vm_pindex_t pindex);
/* Put a page's contents there without being asked.  => the page is absent */
void fakepager_supply(struct fakepager *fp, vm_pindex_t pindex);
uint8_t fakepager_byte(const struct fakepager *fp, vm_pindex_t pindex, size_t off);
/* Put `top`, which belongs to nobody else yet, over `backing`, which gets a reference of top's. */
void fakepager_shadow(struct vm_object *top, struct vm_object *backing);

#endif
