/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters of the VM, with the names of BSD's struct vmmeter.  Only ever incremented, never reset.
 *
 * Each CPU counts in a structure of its own, by one instruction that nothing can come between; who
 * wants to know adds them up, without a lock.
 */
#ifndef VM_VM_METER_H
#define VM_VM_METER_H

#include "kernel/lib/types.h"

#define VMMETER_FIELDS(X)						\
	X(v_vm_faults,	 "page faults")					\
	X(v_soft_faults, "  served by a resident page at once")		\
	X(v_io_faults,	 "  that needed a pager")			\
	X(v_zfod,	 "  zero-filled")				\
	X(v_ozfod,	 "    from a page zeroed in advance")		\
	X(v_cow_faults,	 "  copied on write")				\
	X(v_restarts,	 "  started again after a sleep")		\
	X(v_failed_faults, "  that failed")				\
	X(v_prefaulted,	 "neighbours mapped along with a fault")	\
	X(v_vnodein,	 "vnode pager: page-ins")			\
	X(v_vnodepgsin,	 "  pages brought in")				\
	X(v_vnodeout,	 "vnode pager: page-outs")			\
	X(v_vnodepgsout, "  pages written")				\
	X(v_vnodehole,	 "  pages of holes, zeroed without I/O")	\
	X(v_vnodesmlfs,	 "  pages read block by block")			\
	X(v_vnodeold,	 "  pages read through VOP_READ")		\
	X(v_vnoderetry,	 "  clusters retried for the demanded page alone") \
	X(v_swapin,	 "swap pager: page-ins")			\
	X(v_swappgsin,	 "  pages brought in")				\
	X(v_swapout,	 "swap pager: page-outs")			\
	X(v_swappgsout,	 "  pages written")				\
	X(v_tfree,	 "pages freed")					\
	X(v_pdwakeups,	 "reclaim: wakeups")				\
	X(v_pdpages,	 "  pages looked at")				\
	X(v_dfree,	 "  pages freed by it")				\
	X(v_reactivated, "  pages reactivated")				\
	X(v_object_cache_hits, "objects revived from the cache")	\
	X(v_collapses,	 "shadow objects collapsed")			\
	X(v_bypasses,	 "shadow objects bypassed")

struct vmmeter {
#define X(field, text) uint64_t field;
	VMMETER_FIELDS(X)
#undef X
};

#include "kernel/amd64/cpu.h"		/* needs the structure */

#define VMCNT_ADD(field, n) CPU_COUNT(offsetof(struct cpu, cnt) + offsetof(struct vmmeter, field), n)
#define VMCNT_INC(field)    VMCNT_ADD(field, 1)
#define VMCNT_GET(field)    vm_meter_count(offsetof(struct vmmeter, field))

uint64_t vm_meter_count(size_t offset);		/* of the field there, on all CPUs */
struct vmmeter vm_meter_sum(void);

/* nonzero counters and the page queues; no locks: for panic and the monitor */
void vm_meter_print(void);
bool vm_meter_get(unsigned i, const char **name, uint64_t *value);	/* the i-th; false: there are not so many */

#endif
