/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks: spinlock (short, interrupts off, never sleeps), mutex and rwlock (sleep).
 *
 * Every lock has a rank.  A thread that blocks for a lock may hold only locks of a smaller rank; a
 * try may break the rule, because a try cannot deadlock.  Ranks marked DUP may nest within
 * themselves, in an order that their owners document (objects: shadow before backing; vnodes:
 * parent before child).  Debug builds check rank, ownership, recursion, and that nobody sleeps
 * while a spin lock is held.
 *
 *	map -> vnode -> object (top, then backing) -> page busy -> page queues -> pmap -> pv -> kmem -> free list
 *
 * The page-busy word is a lock, too, but lives in vm_page.  Its place in the picture is where it is tried, under
 * the object's lock; it is waited for with no object held, hence its rank before the objects'.
 */
#ifndef KERNEL_LOCK_H
#define KERNEL_LOCK_H

#include "kernel/lib/types.h"

struct thread;
struct cpu;

enum lock_rank {
	RANK_NONE = 0,		/* a test's own lock: unchecked */
	RANK_FUTEX,		/* sleep: futex words */
	RANK_FILEPOS,		/* sleep: an open file's offset */
	RANK_APPEND,		/* sleep: the end of a file that is appended to */
	RANK_SWAPON,		/* sleep: swap is turned on and off by one at a time */
	RANK_MOUNT,		/* sleep: the mount list, mounting and unmounting */
	RANK_MAP,		/* sleep: vm_map */
	RANK_RENAME,		/* sleep: one rename at a time in each filesystem */
	RANK_VNODE,		/* sleep: a vnode's lock; DUP, parent before child */
	RANK_PAGE_BUSY,		/* sleep: a page's busy word, where it is waited for; DUP */
	RANK_OBJECT,		/* sleep: vm_object; DUP, shadow before backing */
	RANK_FSOP,		/* sleep: a filesystem's changes against its sync */
	RANK_PROC_PARTS,	/* spin: what a process has open */
	RANK_FILE,		/* spin: descriptors, working directories, pipes, the terminal */
	RANK_NAMECACHE,		/* spin: the name cache */
	/* spin: free list of vnodes, a mount's vnodes, a vnode's use count */
	RANK_VNODE_LIST,
	RANK_OBJECT_LIST,	/* spin: all objects, and the object cache */
	RANK_FSCOUNT,		/* spin: a filesystem's accounts */
	RANK_POLL,		/* spin: the generation that poll waits for */
	RANK_PROC,		/* spin: processes and their signals */
	RANK_BIO,		/* spin: buffer cache and pbuf pool */
	RANK_DISK,		/* spin: a driver's queue */
	RANK_PAGEQ,		/* spin: page queues */
	RANK_PMAP,		/* spin: one pmap's tables */
	RANK_PV,		/* spin: reverse mappings of a page */
	RANK_KVA,		/* spin: kernel address space allocator */
	RANK_KMEM,		/* spin: slab caches */
	RANK_FREECACHE,		/* spin: a CPU's free pages */
	RANK_FREELIST,		/* spin: all other free pages */
	RANK_THREAD,		/* spin: exit and join */
	RANK_SLEEPQ,		/* spin: sleep queues */
	RANK_SCHED,		/* spin: run queues */
	RANK_CONSOLE,		/* spin: whoever prints */
	RANK_SCREEN,		/* spin: innermost */
	RANK_COUNT
};

enum lock_kind { LOCK_SPIN, LOCK_MUTEX, LOCK_RW, LOCK_BUSY };

/* What all three have in common; tsleep() takes a pointer to it as its interlock. */
struct lock {
	const char	*name;		/* (constant) */
	uint8_t		 kind;		/* (constant) enum lock_kind */
	uint8_t		 rank;		/* (constant) enum lock_rank */
	uint8_t		 slot;		/* debug: lockstat's slot of the name, plus 1; 0: not looked up yet */
};

struct spinlock {
	struct lock	 lk;
	struct cpu *volatile owner;	/* (atomic) the CPU that holds it; NULL: free */
};

/*
 * A sleep lock is one word.  Whoever must wait says so by a bit in that word, so the thread that lets
 * go learns of waiters in the very step in which it lets go, and never looks at the lock again: by
 * then its memory may be gone.  (g): under the guard that lock.c picks by the lock's address.
 */
#define MUTEX_WAITED	0x1ul		/* somebody waits; the other bits are the owner */

struct mutex {
	struct lock	 lk;
	uint32_t	 waiters;	/* (g) threads asleep for it */
	uintptr_t	 word;		/* (atomic) the owner, or 0 when free, and MUTEX_WAITED */
};

#define RW_WRITER	0x80000000u	/* held exclusively */
#define RW_WRITE_WAITED	0x40000000u	/* a writer waits: new readers queue behind it */
#define RW_READ_WAITED	0x20000000u	/* readers wait */
#define RW_READERS	0x1fffffffu	/* how many hold it shared */

struct rwlock {
	struct lock	 lk;
	uint32_t	 word;		/* (atomic) the bits above */
	uint32_t	 write_waiters;	/* (g) threads asleep to write */
	uint32_t	 read_waiters;	/* (g) threads asleep to read */
	struct thread	*writer;	/* (writer) NULL: not held exclusively */
};

#define SPINLOCK_INITIALIZER(nm, rk) \
	{ .lk = { .name = (nm), .kind = LOCK_SPIN, .rank = (rk) } }

/*
 * Spin locks.  While one is held, interrupts are off on this CPU and the thread cannot be
 * preempted.  They nest; interrupts come back to their former state with the last unlock.
 */
void spin_init(struct spinlock *l, const char *name, enum lock_rank rank);
void spin_lock(struct spinlock *l);
bool spin_trylock(struct spinlock *l);
void spin_unlock(struct spinlock *l);
bool spin_held(const struct spinlock *l);	/* by this CPU */

/* Mutexes.  => may sleep (wmesg = the lock's name); never from an interrupt. */
void mutex_init(struct mutex *m, const char *name, enum lock_rank rank);
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_held(const struct mutex *m);		/* by curthread */

/* Reader/writer locks.  Writers are preferred; neither mode recurses. */
void rw_init(struct rwlock *rw, const char *name, enum lock_rank rank);
void rw_rlock(struct rwlock *rw);
bool rw_tryrlock(struct rwlock *rw);
void rw_runlock(struct rwlock *rw);
void rw_wlock(struct rwlock *rw);
bool rw_trywlock(struct rwlock *rw);
void rw_wunlock(struct rwlock *rw);
/* read -> write; false: another reader is in, read lock kept */
bool rw_tryupgrade(struct rwlock *rw);
void rw_downgrade(struct rwlock *rw);		/* write -> read */
void rw_unlock(struct rwlock *rw);		/* in whichever mode the caller holds it */
bool rw_wheld(const struct rwlock *rw);		/* exclusively, by curthread */
bool rw_held(const struct rwlock *rw);		/* exclusively by curthread, or by any reader */

/* Is it held exclusively by somebody else?  Lasts only while that one cannot run (audits). */
static inline bool
rw_wheld_elsewhere(const struct rwlock *rw)
{
	return ((__atomic_load_n(&rw->word, __ATOMIC_RELAXED) & RW_WRITER) != 0 && !rw_wheld(rw));
}

/* Debug checks: panics if curthread may not sleep now.  Called at the top of whatever may sleep. */
#if FAULTLINE_DEBUG
void assert_can_sleep(const char *what);
#else
static inline void assert_can_sleep(const char *what) { }
#endif

/*
 * A broken rule of this file panics; a test that breaks one on purpose sets the hook, which is
 * called instead, and the lock operation then goes on as if nothing had happened.
 */
extern void (*lock_violation_hook)(const char *message);

/* For tsleep(): drop an interlock of any kind and take it again the same way. */
int  lock_drop(struct lock *l);			/* returns the mode for lock_retake */
void lock_retake(struct lock *l, int mode);

#endif
