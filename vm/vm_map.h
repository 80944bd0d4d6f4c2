/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm_map: which addresses mean what.
 *
 * An address space is a set of entries [start, end), each a window on one object.  They are kept in
 * a red-black tree, in which every node knows the largest gap in its subtree, so that a lookup and
 * the search for free space both cost the logarithm of the number of entries.  A sentinel entry
 * [min, min) comes first, so every gap lies behind some entry.
 *
 *	min                                                              max
 *	 |s|   gap   [entry)[entry)    gap    [ entry  )      gap         |
 *
 * Invariants: M1 sorted, disjoint, page aligned, inside [min, max).  M2 nentries and size are
 * right.  M3 needs_copy: no writable mapping in the range.  M4 wired: all pages resident and mapped
 * wired.  M6 every object reference belongs to one entry.  M7 the timestamp never goes back.
 *
 * (m) the map's lock   (a) atomic, a hint
 */
#ifndef VM_VM_MAP_H
#define VM_VM_MAP_H

#include "kernel/lib/queue.h"
#include "kernel/lib/rbtree.h"
#include "kernel/lib/types.h"
#include "kernel/lock.h"
#include "vm/pmap.h"
#include "vm/vm.h"

struct vm_object;

enum vm_inherit { VM_INHERIT_NONE, VM_INHERIT_SHARE, VM_INHERIT_COPY };
/* What a forked child finds: what `inheritance` says, nothing, or fresh zeros. */
enum vm_on_fork { VM_FORK_INHERIT, VM_FORK_OMIT, VM_FORK_WIPE };
enum vm_advice { VM_ADV_NORMAL, VM_ADV_RANDOM, VM_ADV_SEQUENTIAL };

struct vm_map_entry {
	struct rb_node	 node;		/* (m) */
	vm_offset_t	 start, end;	/* (m) */
	/* (m) free bytes from end to the next entry or the map's end */
	vm_size_t	 gap;
	vm_size_t	 max_gap;	/* (m) largest gap in this subtree */
	struct vm_object *object;	/* (m) referenced; NULL: anonymous, not yet touched */
	vm_ooffset_t	 offset;	/* (m) of start in the object, bytes, page aligned */
	vm_prot_t	 protection;	/* (m) */
	vm_prot_t	 max_protection; /* (m) */
	uint8_t		 inheritance;	/* (m) enum vm_inherit */
	uint8_t		 advice;	/* (m) enum vm_advice */
	uint8_t		 on_fork;	/* (m) enum vm_on_fork */
	bool		 stores;	/* (m) MAP_STORES: counted as a writer of the object's file */
	bool		 needs_copy;	/* (m) the object is not ours to write: shadow it first */
	uint8_t		 wired_count;	/* (m) 1: all pages stay resident, or will once `wiring` is NULL */
	struct thread	*wiring;	/* (m) who is making it resident; nobody else may change the entry */
	/* (m) part of a stack that ends there and grows downwards; 0: of none */
	vm_offset_t	 grow_top;
	volatile uint8_t read_misses;	/* (a) reads in a row that were not sequential */
	/* (m) the object's write-error generation that msync has told of */
	uint32_t	 error_seen;
	/* (a) index at which a sequential reader would fault next */
	vm_pindex_t	 next_read;
};

struct vm_map {
	struct rwlock	 lock;
	struct rb_tree	 entries;	/* (m) */
	struct vm_map_entry sentinel;	/* (m) [min, min) */
	vm_offset_t	 min, max;	/* constant */
	uint32_t	 nentries;	/* (m) without the sentinel */
	vm_size_t	 size;		/* (m) bytes mapped */
	vm_size_t	 stack_limit;	/* (a) bytes that a stack may grow to */
	uint32_t	 timestamp;	/* (m) goes up with every exclusive lock */
	bool		 transition_wanted; /* (m) somebody sleeps until an entry is no longer being wired */
	struct pmap	*pmap;		/* constant */
};

/* An address space: the map and its machine half. */
struct vmspace {
	struct vm_map	map;
	struct pmap	pmap;
	uint32_t	refs;		/* atomic */
	uint32_t	looks;		/* vmspace_lock; those who look at it without a reference: it stays meanwhile */
	volatile bool	doomed;		/* oom_mutex; its users are being ended for want of memory: no page for it */
	TAILQ_ENTRY(vmspace) link;	/* vmspace_lock: all address spaces */
};

void vm_map_init(void);
void vm_map_setup(struct vm_map *map, struct pmap *pmap);	/* an empty map of the user half */
/*
 * Fill an empty map as fork does.  => parent unlocked; nobody else knows the child.
 * KERN_RESOURCE_SHORTAGE: no memory for copies of wired pages; the child has part of the entries.
 */
int  vm_map_copy_entries(struct vm_map *parent, struct vm_map *child);

struct vmspace *vmspace_alloc(void);		/* one reference; NULL: no memory; => sleeps */
void vmspace_ref(struct vmspace *vm);
/* last: unmaps everything; => sleeps, in "vmlook" until nobody looks; not loaded on any CPU */
void vmspace_free(struct vmspace *vm);
/*
 * Another address space with the same contents: shared entries are shared, copied ones become
 * copy-on-write on both sides, but for wired ones, which are copied at once.
 * => NULL: no memory.
 */
struct vmspace *vmspace_fork(struct vmspace *vm);

/*
 * The next of all address spaces (NULL: the first), looked at; ends the caller's look at vm.  NULL: that was the last
 * one.  A look keeps it as a reference does, but may be ended with any lock held; who gives up the last reference
 * waits for it.
 * => vm looked at; does not sleep, nor should who looks
 */
struct vmspace *vmspace_next(struct vmspace *vm);
void vmspace_look(struct vmspace *vm);		/* once more.  => referenced or looked at */
void vmspace_look_end(struct vmspace *vm);
/* fn(vm, arg) for every address space; => vmspace_lock held: must not sleep. */
void vmspace_foreach(void (*fn)(struct vmspace *vm, void *arg), void *arg);

/* cow of vm_map_insert */
#define MAP_COPY_ON_WRITE	0x1	/* a write makes a private copy */
#define MAP_STACK_GROWS		0x2	/* a stack that ends where the range does */
#define MAP_STORES		0x4	/* of a file, which it may write to: vnode_pager_stores() */

void vm_map_lock(struct vm_map *map);		/* exclusive, timestamp goes up */
/*
 * The same in order to change or copy entries of [start, end): first waits until nobody wires one of
 * them.  => sleeps in "mapwire", too
 */
void vm_map_lock_range(struct vm_map *map, vm_offset_t start, vm_offset_t end);
void vm_map_unlock(struct vm_map *map);
void vm_map_rlock(struct vm_map *map);
bool vm_map_tryrlock(struct vm_map *map);
void vm_map_runlock(struct vm_map *map);

/*
 * Map [start, end) to object from byte `offset` on.  Takes over the caller's reference on the
 * object if it succeeds.
 * => map exclusively locked.  KERN_NO_SPACE when something is there; KERN_INVALID_ADDRESS outside
 *    the map; KERN_INVALID_ARGUMENT.
 */
int  vm_map_insert(struct vm_map *map, struct vm_object *object, vm_ooffset_t offset, vm_offset_t start, vm_offset_t end,
	    vm_prot_t prot, vm_prot_t max, int cow, enum vm_inherit inherit);
/*
 * Lowest free range of `len` bytes at or above *addr.  => map locked.  KERN_NO_SPACE when there is
 * none.
 */
int  vm_map_findspace(struct vm_map *map, vm_offset_t *addr, vm_size_t len);
/* Highest free range of `len` bytes that ends at or below *addr.  => map locked.  KERN_NO_SPACE. */
int  vm_map_findspace_below(struct vm_map *map, vm_offset_t *addr, vm_size_t len);
/* Map a stack that ends at `top`; this and others may grow to `len` bytes from now on.  => map unlocked.  errno. */
int  vm_map_stack(struct vm_map *map, vm_offset_t top, vm_size_t len, vm_prot_t prot);
/* Nothing is mapped at addr: let the stack above it grow.  true: something is now.  => map unlocked. */
bool vm_map_grow(struct vm_map *map, vm_offset_t addr);
/* Where the stack begins in which *addr lies, at present.  => map unlocked.  EINVAL: in none; ENOMEM: nothing is there */
int  vm_map_stack_start(struct vm_map *map, vm_offset_t *addr);
/*
 * A map may have only so many entries (vm_map_init).  Is there room for `more`, and for those that borders at start
 * and end make by cutting?  => map locked.  What would make too many is refused with KERN_RESOURCE_SHORTAGE by all
 * that follows, and has changed nothing.
 */
bool vm_map_room(const struct vm_map *map, vm_offset_t start, vm_offset_t end, uint32_t more);
uint32_t vm_map_entries_bound(uint32_t most);	/* tests only; returns the old one */
/* Both in one: anywhere at or above *addr, or exactly there.  => map unlocked. */
int  vm_map_find(struct vm_map *map, struct vm_object *object, vm_ooffset_t offset, vm_offset_t *addr, vm_size_t len,
	    bool anywhere, vm_prot_t prot, vm_prot_t max, int cow, enum vm_inherit inherit);
/*
 * => map unlocked.  Unmap all that lies in [start, end); a hole is no error.
 * KERN_INVALID_ARGUMENT: unaligned or reversed.
 */
int  vm_map_remove(struct vm_map *map, vm_offset_t start, vm_offset_t end);
/*
 * Replace all that lies in [start, end) by one new entry, in one step.  => map unlocked.  As vm_map_insert().
 */
int  vm_map_replace(struct vm_map *map, struct vm_object *object, vm_ooffset_t offset, vm_offset_t start, vm_offset_t end,
	    vm_prot_t prot, vm_prot_t max, int cow, enum vm_inherit inherit);
/*
 * KERN_INVALID_ADDRESS when part of the range is not mapped (the part before is changed);
 * KERN_PROTECTION_FAILURE over max.
 */
int  vm_map_protect(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot);
int  vm_map_advise(struct vm_map *map, vm_offset_t start, vm_offset_t end, enum vm_advice advice);
/*
 * Make the range resident and keep it; all or nothing.  What is wired already is left alone.
 * => map unlocked; sleeps, also until others have finished wiring parts of the range.
 * => KERN_INVALID_ADDRESS over a hole; else what a fault there would return.
 */
int  vm_map_wire(struct vm_map *map, vm_offset_t start, vm_offset_t end);
int  vm_map_unwire(struct vm_map *map, vm_offset_t start, vm_offset_t end);

/* The entry that holds addr, or NULL.  => map locked. */
struct vm_map_entry *vm_map_lookup_entry(struct vm_map *map, vm_offset_t addr);
/* First entry in order, and the next one; NULL ends.  => map locked. */
struct vm_map_entry *vm_map_first(struct vm_map *map);
struct vm_map_entry *vm_map_next(struct vm_map_entry *entry);

/* The first mapped range at or above *start, one entry's; false: there is none.  => map unlocked. */
bool vm_map_next_range(struct vm_map *map, vm_offset_t *start, vm_offset_t *end);

/* What a fault needs to know about an address. */
struct vm_map_place {
	struct vm_map_entry	*entry;
	struct vm_object	*object;
	vm_pindex_t		 pindex;
	vm_prot_t		 prot;		/* what may be mapped now */
	bool			 wired;
};
/*
 * Resolve addr for an access of `type`; makes the shadow or anonymous object that the access needs.
 * => map locked shared on entry and, on KERN_SUCCESS, on exit; it may have been unlocked in between
 *    unless `try`.
 * => try: KERN_RESTART instead of sleeping for the lock.
 * => KERN_INVALID_ADDRESS, KERN_PROTECTION_FAILURE, KERN_RESTART: the map is unlocked.
 */
int  vm_map_lookup(struct vm_map *map, vm_offset_t addr, vm_prot_t type, bool try, struct vm_map_place *place);

/* M1, M2 and the gaps, for vm_check(), which compares M3 with the page tables.  => nobody changes the map */
void vm_map_check(struct vm_map *map);
void vm_map_print(struct vm_map *map);

#endif
