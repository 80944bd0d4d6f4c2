/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tests of faults and pagers share: an address space to fault in, touches that are real
 * page faults, threads that block and can be watched doing so, and waiting that ends.
 *
 * A test's thread enters an address space of its own with vt_begin(), maps things, touches them and
 * leaves with vt_end(). Others that shall fault there are jobs.  Nothing here hopes for a delay to
 * be long enough: a test waits until a thread really sleeps under a given wait name, and fails if
 * that does not come true.
 */
#ifndef TESTS_KERNEL_VMTEST_H
#define TESTS_KERNEL_VMTEST_H

#include "kernel/clock.h"
#include "kernel/lib/types.h"
#include "kernel/thread.h"
#include "tests/kernel/ktest.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_mmap.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"

struct vnode;

#define VT_SIGBUS	7
#define VT_SIGSEGV	11
#define VT_MAPERR	1
#define VT_ACCERR	2
#define VT_ADRERR	2	/* SIGBUS */

#define VT_PATIENCE	(30 * HZ)	/* ticks after which something counts as never happening */

/* Wait until cond is true; when it does not come true the test fails, and so says the value. */
#define VT_WAIT(cond) ({							\
	uint64_t _end = ticks + VT_PATIENCE;					\
	while (!(cond) && ticks < _end)						\
		vt_pause();							\
	bool _came = (cond);							\
	if (!_came)								\
		ktest_fail(__FILE__, __LINE__, "waited in vain for %s", #cond);	\
	_came; })
void vt_pause(void);		/* let the others run for a moment: sleeps a tick in "vtpause" */

/* ---- an address space for this thread ---- */

struct vmspace *vt_begin(void);
void vt_end(void);		/* everything is unmapped; => sleeps */

/*
 * Map part of a file, or of an object (which gets a reference of the map's own), into curthread's
 * address space. Returns the address; 0 when it could not be done, and then the test has failed.
 */
vm_offset_t vt_map(struct vnode *vp, off_t off, size_t len, vm_prot_t prot, int flags);
vm_offset_t vt_map_ro(struct vnode *vp, off_t off, size_t len);		/* shared, readable */
vm_offset_t vt_map_object(struct vm_object *object, vm_pindex_t first, size_t npages,
    vm_prot_t prot, int cow);
/* Read nothing around the pages of [va, va + len): each touch asks for its own page. */
void vt_no_readahead(vm_offset_t va, size_t len);

/* ---- touching ---- */

/*
 * A plain load and a plain store: the processor's page fault enters vm_fault().  The test fails if
 * they do.
 */
uint8_t vt_load(vm_offset_t va);
void vt_store(vm_offset_t va, uint8_t value);
/* A load that may fail: 0 and *value, or EFAULT and curthread->fault. */
int  vt_try_load(vm_offset_t va, uint8_t *value);

/*
 * Loading (or storing) one byte at va must fail with this signal, this code and exactly this
 * address.
 */
bool vt_refused(const char *file, int line, vm_offset_t va, bool write, int signo, int code);
#define CHECK_SIGBUS(va)	vt_refused(__FILE__, __LINE__, (va), false, VT_SIGBUS, VT_ADRERR)
#define CHECK_REFUSED(va, write, signo, code) \
	vt_refused(__FILE__, __LINE__, (va), (write), (signo), (code))

/* What is mapped at va must be [off, off + len) of this file of the manifest. */
bool vt_verify(const char *path, vm_offset_t va, off_t off, size_t len);
/* One byte of each page of the range, in order. */
bool vt_verify_sparsely(const char *path, vm_offset_t va, off_t off, size_t len);

/* ---- objects and pages ---- */

/*
 * The file's object, with a reference for the caller (made with curthread's credential if there is
 * none).
 */
struct vm_object *vt_object(struct vnode *vp);
/*
 * Is it there and valid?  The page is only good for looking at, and only while nobody takes it
 * away.
 */
struct vm_page *vt_page(struct vm_object *object, vm_pindex_t pindex);
bool vt_resident(struct vm_object *object, vm_pindex_t pindex);
/* Free its pages in [start, end). */
void vt_evict(struct vm_object *object, vm_pindex_t start, vm_pindex_t end);
void vt_evict_file(struct vnode *vp);

/*
 * Where a page of a file lies: the sector of its first byte, or -1 when it is not one run of data.
 */
daddr_t vt_sector_of_page(struct vnode *vp, vm_pindex_t pindex);
/* Bytes of a sector of the device that holds this file: all of it is read, or written, or none. */
uint32_t vt_device_sector(const struct vnode *vp);
/*
 * The first page at or above `from`, a multiple of `align`, whose `n` pages lie one after the
 * other; VT_NO_RUN: there is none.
 */
vm_pindex_t vt_find_run(struct vnode *vp, vm_pindex_t from, vm_pindex_t align, vm_pindex_t n);
#define VT_NO_RUN	UINT64_MAX

/* Take free pages out of circulation until only `leave` are left; one ballast at a time. */
void vt_ballast_take(uint32_t leave);
void vt_ballast_drop(void);

/* ---- threads ---- */

/* Work for another thread.  Fill in the upper half, vt_start(), vt_finish(). */
struct vt_job {
	void		(*fn)(struct vt_job *job);
	struct vmspace	*vm;		/* the address space it enters, NULL: none; referenced */
	vm_offset_t	 va;
	void		*arg;
	struct ucred	*cred;		/* what it runs as, NULL: nobody */

	int		 error;		/* of vt_touch(): 0 or EFAULT */
	uint8_t		 value;		/* what it loaded */
	struct fault_info why;
	volatile bool	 done;
	struct thread	*td;
};

void vt_touch(struct vt_job *job);		/* for fn: load the byte at va */
void vt_start(struct vt_job *job, const char *name);
/* Wait for its end.  Panics with the thread list when it never comes. */
void vt_finish(struct vt_job *job);
bool vt_sleeps(const struct vt_job *job, const char *wmesg);
int  vt_sleepers(const char *wmesg);		/* threads that sleep under this name now */
/* The job's touch must have ended in this. */
bool vt_ended(const char *file, int line, const struct vt_job *job, int signo, int code,
    vm_offset_t addr);
#define CHECK_JOB_REFUSED(job, signo, code, addr) \
	vt_ended(__FILE__, __LINE__, (job), (signo), (code), (addr))

#endif
