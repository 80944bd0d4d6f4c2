/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file that parties meet at, for the suite `races`: every byte has a pattern, so that one that came
 * from nowhere, from the wrong place or from the past is seen; the disk's tap is in the test's hand
 * (stall.h); and each party is a thread that does one thing.
 */
#ifndef TESTS_KERNEL_RACEFILE_H
#define TESTS_KERNEL_RACEFILE_H

#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "tests/kernel/stall.h"
#include "tests/kernel/t_vm.h"

#define RACE_PATH	"/race"
#define RACE_OTHER	"/race2"
#define RACE_NEW	"/race.new"	/* its pattern is what tests overwrite with */
#define RACE_PAGES	32ul
#define ALL		~0ul

struct race {
	struct vnode	*vp;
	struct vnode	*other;		/* the test's own, NULL: none */
	struct vmspace	*vm;		/* has the whole file (and more) mapped at BASE */
	uint8_t		*buf;		/* RACE_PAGES pages */
};
extern struct race race;

/*
 * A clean file of `size` bytes, mapped, none of it resident, its metadata not either; the tap is in
 * hand.  false: there is no volume to write to (skipped), or it failed.
 */
bool race_begin(size_t size);
void race_end(void);
/* Another file with its own pattern, referenced, on disk. */
bool race_file(const char *path, struct vnode **vpp, size_t size);
void race_drop_pages(struct vnode *vp);

uint8_t race_pattern(const char *pattern, uint64_t off);
bool race_holds(const char *pattern, const uint8_t *got, uint64_t off, size_t len);
bool race_all_zero(const uint8_t *p, size_t len);
/* The file's bytes, read back after everything of it has left memory.  In race.buf. */
const uint8_t *race_from_disk(uint64_t off, size_t len);
/* One page as it lies on the disk now, whatever is in memory. */
bool race_raw(uint64_t pindex, uint8_t *page);

/* Store the new pattern into each sector of these pages. */
void race_dirty_pages(unsigned first, unsigned count);
void race_store_fails(uint64_t off);		/* with SIGBUS */
/* Reclaim until the laundry writes dirty pages of the file, and hold its first write. */
void race_stall_laundry(void);
/* Everything that was held, and what comes of it, goes on. */
void race_open_tap(void);

/* ---- the parties ---- */

/* LOAD and STORE touch a byte, FSYNC_OTHER is of race.other, SHRINK_CACHE empties the object cache. */
enum deed { LOAD, STORE, TRUNCATE, FSYNC, FSYNC_OTHER, MSYNC, READ, WRITE, SHRINK_CACHE, UNMAP };

struct party {
	enum deed	 deed;
	uint64_t	 off, len;
	struct thread	*td;
	volatile bool	 done;
	int		 result;	/* LOAD: the byte or -errno; else errno */
	struct fault_info why;
};

void party_start(struct party *p, enum deed deed, uint64_t off, uint64_t len);
void party_join(struct party *p);
/* Give it time to do what it can: true if it sleeps now and has not finished. */
bool party_waits(struct party *p);

#endif
