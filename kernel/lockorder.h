/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock checker of debug builds: who holds what, and in which order it may be waited for.  See lockorder.c. */
#ifndef KERNEL_LOCKORDER_H
#define KERNEL_LOCKORDER_H

#include "kernel/lock.h"

struct cpu;

#define LOCKORDER_FRAMES	10	/* of each stack that is kept */
#define LOCKORDER_HOPS		6	/* of a cycle that is reported */

/* Somebody waited for a lock of class `wanted` while holding one of class `held`. */
struct lock_edge {
	uint8_t		held, wanted;	/* lockstat's slots of their names */
	uint8_t		depth;		/* frames below */
	uint32_t	tid;		/* the thread that did so first */
	uint32_t	pc[LOCKORDER_FRAMES];	/* its return addresses, innermost first, less KERNBASE */
};

/* The edge that was refused, then those that lead from its `wanted` back to its `held`. */
struct lock_cycle {
	unsigned	nhops;
	struct lock_edge hop[LOCKORDER_HOPS];
};

#if FAULTLINE_DEBUG

/*
 * From lock.c, and from vm_page.c for a page's busy word: curthread is about to wait for l; has it; lets
 * it go.  The spin versions: so does this CPU, interrupts off.
 */
void lockorder_wanted(struct lock *l);
void lockorder_acquired(struct lock *l);
void lockorder_released(struct lock *l);
void lockorder_spin_acquired(struct cpu *cpu, struct lock *l);
void lockorder_spin_released(struct cpu *cpu, struct lock *l);
/* Locks of this name may nest where ok(held, wanted) says so; `held` is the last one taken of them. */
void lockorder_nesting(const char *name, bool (*ok)(const struct lock *held, const struct lock *wanted));
/* A rule is broken: the hook, or a panic. */
void lock_violation(const char *fmt, ...) __printflike(1, 2);

/* Was somebody seen to wait, directly or by way of others, for a `wanted` with a `held` in hand? */
bool lockorder_observed(const char *held, const char *wanted);
/* The last cycle that was found (tests). */
const struct lock_cycle *lockorder_last_cycle(void);
/* Edges and names for which there was no room (tests). */
unsigned lockorder_lost(void);
/* Unlearn all about the locks of this name: a test's own. */
void lockorder_forget(const char *name);
void lockorder_print(void);		/* the order that was observed, with the first stack of each step */
void locks_print_held(void);		/* by curthread and its CPU, for panics */

#else

static inline void lockorder_wanted(struct lock *l) { }
static inline void lockorder_acquired(struct lock *l) { }
static inline void lockorder_released(struct lock *l) { }
static inline void lockorder_spin_acquired(struct cpu *cpu, struct lock *l) { }
static inline void lockorder_spin_released(struct cpu *cpu, struct lock *l) { }
static inline void lockorder_nesting(const char *name, bool (*ok)(const struct lock *, const struct lock *)) { }
static inline __printflike(1, 2) void lock_violation(const char *fmt, ...) { }
static inline bool lockorder_observed(const char *held, const char *wanted) { return (false); }
static inline const struct lock_cycle *lockorder_last_cycle(void) { static const struct lock_cycle none; return (&none); }
static inline unsigned lockorder_lost(void) { return (0); }
static inline void lockorder_forget(const char *name) { }
static inline void lockorder_print(void) { }
static inline void locks_print_held(void) { }

#endif

#endif
