/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory calls: Linux's arguments checked and turned into operations of the VM, which knows no processes.
 *
 * Where mmap() puts what has no address: at the highest free place below mmap_top, as Linux does.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/cred.h"
#include "kernel/fs/vnode.h"
#include "kernel/user/file.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"
#include "vm/swap_pager.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"
#include "vm/vm_page.h"

#define PROT_KNOWN	0x7ul
#define PROT_GROWSDOWN	0x01000000ul
#define MAP_SHARED_VALIDATE 0x03
#define MAP_TYPE	0x0f
#define MAP_32BIT	0x40
#define MAP_LOCKED	0x2000
#define MAP_NORESERVE	0x4000
#define MAP_POPULATE	0x8000
#define MAP_HUGETLB	0x40000			/* from a pool that is empty here */
#define LOW_TOP		(2 * GiB)		/* MAP_32BIT: below this */
/* Known and without effect: DENYWRITE, EXECUTABLE, NORESERVE, NONBLOCK, STACK, SYNC, UNINITIALIZED. */
#define MAP_HARMLESS	(0x0800 | 0x1000 | MAP_NORESERVE | 0x10000 | 0x20000 | 0x80000 | 0x4000000)
#define MAP_VALIDATED	(MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_LOCKED | \
	MAP_POPULATE | MAP_32BIT | MAP_HARMLESS)

/*
 * A process may lock RLIMIT_MEMLOCK, root more, but nobody more than half of the machine: a page that is locked is
 * a page that nobody else can have.
 */
static int
may_lock(struct proc *p, vm_size_t len)
{
	uint64_t limit = p->limits[RLIMIT_MEMLOCK].cur, have = p->vmspace->pmap.wired_count * PAGE_SIZE;
	uint64_t half = (uint64_t)vm_page_count * PAGE_SIZE / 2;

	if (len > half || have > half - len)
		return (ENOMEM);
	if (curthread->cred->uid == 0 || limit == RLIM_INFINITY)
		return (0);
	if (limit == 0)
		return (EPERM);
	return (len > limit || have > limit - len ? ENOMEM : 0);
}

/* ---- the heap ---- */

int64_t
sys_brk(const uint64_t *a)
{
	struct proc *p = curproc;
	vm_offset_t want = a[0], old = p->brk, at = round_page(old);
	uint64_t limit = p->limits[RLIMIT_DATA].cur;

	if (want < p->brk_start || want >= VM_USER_MAX || want - p->brk_start > limit)
		return ((int64_t)old);
	if (round_page(want) > at) {
		if (vm_mmap(p->vmspace, &at, round_page(want) - at, VM_PROT_READ | VM_PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, NULL, 0) != 0)
			return ((int64_t)old);
		if (p->lock_future && may_lock(p, round_page(want) - at) == 0)
			(void)vm_mlock(p->vmspace, at, round_page(want) - at);
	} else if (round_page(want) < at) {
		vm_munmap(p->vmspace, round_page(want), at - round_page(want));
	}
	p->brk = want;
	return ((int64_t)want);
}

/* ---- mmap ---- */

/* The file to be mapped, and whether it may ever be written through the mapping. */
static int
map_file(int fd, int *flags, vm_prot_t prot, struct vnode **vpp)
{
	struct vnode *vp;
	int mode, error;

	error = fd_vnode(fd, &vp, &mode);
	if (error != 0)
		return (error);
	if ((mode & O_ACCMODE) == O_WRONLY)
		error = EACCES;
	else if ((*flags & MAP_SHARED) && (mode & O_ACCMODE) != O_RDWR) {
		*flags |= MAP_FILE_RDONLY;
		error = prot & VM_PROT_WRITE ? EACCES : 0;
	}
	if (error != 0)
		vrele(vp);
	else
		*vpp = vp;
	return (error);
}

/* Map where there is room: at the hint if it is free, else as high as possible below `top`. */
static int
map_anywhere(struct proc *p, vm_offset_t *addr, vm_offset_t top, vm_size_t len, vm_prot_t prot, int flags, struct vnode *vp,
    off_t off)
{
	vm_offset_t hint = trunc_page(*addr);
	int error = ENOMEM, kr;

	if (hint >= VM_USER_MIN && hint < VM_USER_MAX && len <= VM_USER_MAX - hint) {
		*addr = hint;
		error = vm_mmap(p->vmspace, addr, len, prot, flags | MAP_FIXED_NOREPLACE, vp, off);
		if (error != EEXIST)
			return (error);
	}
	do {
		*addr = top;
		vm_map_rlock(&p->vmspace->map);
		kr = vm_map_findspace_below(&p->vmspace->map, addr, round_page(len));
		vm_map_runlock(&p->vmspace->map);
		if (kr != KERN_SUCCESS && top < p->mmap_top)
			return (ENOMEM);
		if (kr != KERN_SUCCESS) {	/* below is full: above, then */
			*addr = top;
			return (vm_mmap(p->vmspace, addr, len, prot, flags, vp, off));
		}
		/* re-check: another thread may have taken the place since. */
		error = vm_mmap(p->vmspace, addr, len, prot, flags | MAP_FIXED_NOREPLACE, vp, off);
	} while (error == EEXIST);
	return (error);
}

/* Make the range resident, up to what cannot be.  ENOMEM: a hole, or no memory; EINVAL: no such access; EFAULT; ERESTARTSYS */
static int
populate(struct proc *p, vm_offset_t addr, vm_size_t len, vm_prot_t type)
{
	int kr = KERN_SUCCESS;

	for (vm_offset_t at = addr; kr == KERN_SUCCESS && at < addr + len; at += PAGE_SIZE) {
		kr = vm_fault(&p->vmspace->map, at, type, 0, NULL);
		if (signal_deliverable())
			return (ERESTARTSYS);
	}
	if (kr == KERN_INVALID_ADDRESS || kr == KERN_RESOURCE_SHORTAGE)
		return (ENOMEM);
	return (kr == KERN_SUCCESS ? 0 : kr == KERN_PROTECTION_FAILURE ? EINVAL : EFAULT);
}

static bool
over_limit(struct proc *p, vm_size_t more)
{
	uint64_t limit = p->limits[RLIMIT_AS].cur;

	return (limit != RLIM_INFINITY && (more > limit || p->vmspace->map.size > limit - more));
}

/* Linux's flags to vm_mmap()'s.  errno. */
static int
map_flags(uint64_t wanted, int *flags)
{
	int type = wanted & MAP_TYPE;

	if (type == MAP_SHARED_VALIDATE) {
		if ((wanted & ~(uint64_t)MAP_VALIDATED) != 0)
			return (EOPNOTSUPP);
		type = MAP_SHARED;
	}
	if (type != MAP_SHARED && type != MAP_PRIVATE)
		return (EINVAL);
	*flags = type | (int)(wanted & (MAP_FIXED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN));
	return (0);
}

int64_t
sys_mmap(const uint64_t *a)
{
	struct proc *p = curproc;
	vm_offset_t addr = a[0];
	vm_size_t len = a[1];
	vm_prot_t prot = a[2] & PROT_KNOWN;
	struct vnode *vp = NULL;
	int flags, error;

	if ((a[5] & PAGE_MASK) != 0)
		return (-EINVAL);
	error = map_flags(a[3], &flags);
	if (error == 0 && !(flags & MAP_ANONYMOUS))
		error = map_file((int)a[4], &flags, prot, &vp);
	if (error != 0)
		return (-error);
	if (len == 0 || ((flags & MAP_GROWSDOWN) && (vp != NULL || (flags & MAP_SHARED))))
		error = EINVAL;
	else if (len > VM_USER_MAX || over_limit(p, round_page(len)) || (vp == NULL && (a[3] & MAP_HUGETLB)))
		error = ENOMEM;
	else if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		error = addr < VM_USER_MIN && (addr & PAGE_MASK) == 0 ? EPERM :
		    vm_mmap(p->vmspace, &addr, len, prot, flags, vp, vp != NULL ? (off_t)a[5] : 0);
	else
		error = map_anywhere(p, &addr, a[3] & MAP_32BIT ? MIN(p->mmap_top, LOW_TOP) : p->mmap_top, len, prot, flags, vp,
		    vp != NULL ? (off_t)a[5] : 0);
	if (vp != NULL)
		vrele(vp);
	if (error != 0)
		return (-error);
	if ((p->lock_future || (a[3] & MAP_LOCKED)) && may_lock(p, round_page(len)) == 0)
		(void)vm_mlock(p->vmspace, addr, len);	/* as Linux: failing is no error of mmap */
	else if ((a[3] & MAP_POPULATE) && prot != VM_PROT_NONE)
		(void)populate(p, addr, round_page(len), prot & VM_PROT_WRITE ? VM_PROT_WRITE : VM_PROT_READ);
	return ((int64_t)addr);
}

int64_t
sys_munmap(const uint64_t *a)
{
	if ((a[0] & PAGE_MASK) != 0 || a[1] == 0 || a[0] >= VM_USER_MAX || a[1] > VM_USER_MAX - a[0])
		return (-EINVAL);
	usage_note_memory(curproc);
	return (-vm_munmap(curproc->vmspace, MAX(a[0], VM_USER_MIN), a[1]));
}

int64_t
sys_mprotect(const uint64_t *a)
{
	struct vm_map *map = &curproc->vmspace->map;
	vm_offset_t start = a[0], end = a[0] + round_page(a[1]);
	int error = 0;

	if ((a[0] & PAGE_MASK) != 0 || (a[2] & ~(PROT_KNOWN | PROT_GROWSDOWN)) != 0)
		return (-EINVAL);
	if (a[1] == 0)
		return (0);
	if (end < a[0] || end > VM_USER_MAX || a[0] < VM_USER_MIN)
		return (-ENOMEM);
	if (a[2] & PROT_GROWSDOWN)
		error = vm_map_stack_start(map, &start);
	if (error == 0)
		error = vm_errno(vm_map_protect(map, start, end, (vm_prot_t)(a[2] & PROT_KNOWN)));
	return (-error);
}

int64_t
sys_msync(const uint64_t *a)
{
	return (-vm_msync(curproc->vmspace, a[0], a[1], (int)a[2]));
}

int64_t
sys_mremap(const uint64_t *a)
{
	struct proc *p = curproc;
	vm_offset_t addr = a[0];
	int error;

	if (a[2] > a[1] && over_limit(p, round_page(a[2] - a[1])))
		return (-ENOMEM);
	error = vm_mremap(p->vmspace, &addr, a[1], a[2], a[3] > INT32_MAX ? INT32_MAX : (int)a[3], a[4], p->mmap_top);
	return (error != 0 ? -error : (int64_t)addr);
}

int64_t
sys_madvise(const uint64_t *a)
{
	enum { POPULATE_READ = 22, POPULATE_WRITE = 23 };
	int advice = (int)a[2];

	usage_note_memory(curproc);
	if (advice != POPULATE_READ && advice != POPULATE_WRITE)
		return (-vm_madvise(curproc->vmspace, a[0], a[1], advice));
	if ((a[0] & PAGE_MASK) != 0 || a[0] > VM_USER_MAX || round_page(a[1]) > VM_USER_MAX - a[0] || round_page(a[1]) < a[1])
		return (-EINVAL);
	return (-populate(curproc, a[0], round_page(a[1]), advice == POPULATE_WRITE ? VM_PROT_WRITE : VM_PROT_READ));
}

int64_t
sys_mincore(const uint64_t *a)
{
	vm_offset_t end = a[0] + round_page(a[1]), to = a[2];
	uint8_t vec[256];
	unsigned n = 0;
	bool resident;
	int error;

	if ((a[0] & PAGE_MASK) != 0)
		return (-EINVAL);
	if (end < a[0] || end > VM_USER_MAX)
		return (-ENOMEM);
	for (vm_offset_t at = a[0]; at < end; at += PAGE_SIZE) {
		error = vm_mincore(curproc->vmspace, at, &resident);
		if (error != 0)
			return (-error);
		vec[n++] = resident;
		if (n == sizeof(vec) || at + PAGE_SIZE == end) {
			if (copyout(vec, to, n) != 0)
				return (-EFAULT);
			to += n;
			n = 0;
		}
	}
	return (0);
}

/* ---- locking ---- */

int64_t
sys_mlock(const uint64_t *a)
{
	int error = may_lock(curproc, round_page(a[1] + (a[0] & PAGE_MASK)));

	return (error != 0 ? -error : -vm_mlock(curproc->vmspace, a[0], a[1]));
}

int64_t
sys_munlock(const uint64_t *a)
{
	return (-vm_munlock(curproc->vmspace, a[0], a[1]));
}

int64_t
sys_mlock2(const uint64_t *a)
{
	if ((a[2] & ~1ul) != 0)			/* MLOCK_ONFAULT: locked at once here */
		return (-EINVAL);
	return (sys_mlock(a));
}

int64_t
sys_mlockall(const uint64_t *a)
{
	enum { MCL_CURRENT = 1, MCL_FUTURE = 2, MCL_ONFAULT = 4 };
	struct proc *p = curproc;
	vm_offset_t at = VM_USER_MIN, end;
	int error;

	if ((a[0] & ~7ul) != 0 || (a[0] & (MCL_CURRENT | MCL_FUTURE)) == 0)
		return (-EINVAL);
	error = may_lock(p, a[0] & MCL_CURRENT ? p->vmspace->map.size : 0);
	if (error != 0)
		return (-error);
	p->lock_future = (a[0] & MCL_FUTURE) != 0;
	/* What cannot be locked, such as a page without access, is left out. */
	for (; (a[0] & MCL_CURRENT) && vm_map_next_range(&p->vmspace->map, &at, &end); at = end)
		(void)vm_mlock(p->vmspace, at, end - at);
	return (0);
}

int64_t
sys_munlockall(const uint64_t *a)
{
	curproc->lock_future = false;
	return (-vm_errno(vm_map_unwire(&curproc->vmspace->map, VM_USER_MIN, VM_USER_MAX)));
}

/* ---- swap ---- */

/* The disk or file that a path names, referenced, for root. */
static int
swap_arg(vm_offset_t upath, struct vnode **vpp)
{
	char *path;
	int error;

	if (curthread->cred->uid != 0)
		return (EPERM);
	error = path_get(upath, &path);
	if (error != 0)
		return (error);
	error = fs_lookup(AT_FDCWD, path, 0, vpp);
	path_put(path);
	return (error);
}

/* There is one swap area at a time, so the flags, which rank several, mean nothing. */
int64_t
sys_swapon(const uint64_t *a)
{
	struct vnode *vp;
	int error = swap_arg(a[0], &vp);

	if (error == 0) {
		error = swap_on_vnode(vp);
		vrele(vp);
	}
	return (-error);
}

int64_t
sys_swapoff(const uint64_t *a)
{
	struct vnode *vp;
	int error = swap_arg(a[0], &vp);

	if (error == 0) {
		error = swap_off_vnode(vp);
		vrele(vp);
	}
	return (-error);
}
