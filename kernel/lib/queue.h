/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TAILQ: a doubly linked list with a head that knows both ends, under the names that BSD readers
 * know.
 *
 *	head.first -> elm.next -> ... -> NULL
 *	head.last  -> elm.prev -> ... -> NULL
 *
 * The links are plain pointers to elements.  Insertion and removal are O(1).  An element that is on
 * no list is not marked; its owner knows.
 */
#ifndef KERNEL_LIB_QUEUE_H
#define KERNEL_LIB_QUEUE_H

#define TAILQ_HEAD(name, type)		struct name { struct type *first, *last; }
#define TAILQ_ENTRY(type)		struct { struct type *next, *prev; }
#define TAILQ_HEAD_INITIALIZER(h)	{ NULL, NULL }

#define TAILQ_INIT(h)			((h)->first = (h)->last = NULL)
#define TAILQ_EMPTY(h)			((h)->first == NULL)
#define TAILQ_FIRST(h)			((h)->first)
#define TAILQ_LAST(h)			((h)->last)
#define TAILQ_NEXT(e, f)		((e)->f.next)
#define TAILQ_PREV(e, f)		((e)->f.prev)

#define TAILQ_INSERT_TAIL(h, e, f) do {					\
	(e)->f.next = NULL;						\
	(e)->f.prev = (h)->last;					\
	if ((h)->last != NULL)						\
		(h)->last->f.next = (e);				\
	else								\
		(h)->first = (e);					\
	(h)->last = (e);						\
} while (0)

#define TAILQ_INSERT_HEAD(h, e, f) do {					\
	(e)->f.prev = NULL;						\
	(e)->f.next = (h)->first;					\
	if ((h)->first != NULL)						\
		(h)->first->f.prev = (e);				\
	else								\
		(h)->last = (e);					\
	(h)->first = (e);						\
} while (0)

#define TAILQ_INSERT_BEFORE(h, at, e, f) do {				\
	(e)->f.next = (at);						\
	(e)->f.prev = (at)->f.prev;					\
	if ((at)->f.prev != NULL)					\
		(at)->f.prev->f.next = (e);				\
	else								\
		(h)->first = (e);					\
	(at)->f.prev = (e);						\
} while (0)

#define TAILQ_REMOVE(h, e, f) do {					\
	if ((e)->f.next != NULL)					\
		(e)->f.next->f.prev = (e)->f.prev;			\
	else								\
		(h)->last = (e)->f.prev;				\
	if ((e)->f.prev != NULL)					\
		(e)->f.prev->f.next = (e)->f.next;			\
	else								\
		(h)->first = (e)->f.next;				\
} while (0)

#define TAILQ_FOREACH(e, h, f)						\
	for ((e) = (h)->first; (e) != NULL; (e) = (e)->f.next)
#define TAILQ_FOREACH_SAFE(e, h, f, tmp)				\
	for ((e) = (h)->first; (e) != NULL && ((tmp) = (e)->f.next, 1); (e) = (tmp))

#endif
