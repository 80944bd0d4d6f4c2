/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * futex: sleep while a word of memory has a value, wake who sleeps on it.
 *
 * A word is known by where it really lies, so that processes that share memory meet:
 *
 *	shared mapping	(object, byte in it); a waiter keeps a reference on the object
 *	private memory	(address space, address)
 *
 * A thread that ends with locks held tells those who wait for them (robust lists).  Its memory shows which: it links them.
 *
 * One mutex for all words.  It is held while the word is compared, which may fault and sleep: that is why it is
 * a mutex, outermost in the lock order, and what makes "compare and sleep" one step for those who wake.
 */
#include "kernel/amd64/cpu.h"
#include "kernel/clock.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"
#include "vm/pmap.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_REQUEUE = 3, FUTEX_CMP_REQUEUE = 4, FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10 };
#define FUTEX_PRIVATE	128u
#define FUTEX_REALTIME	256u
#define BITSET_ANY	(~0u)
#define CHAINS		64

struct futex_key {
	const void	*space;			/* the object or the address space */
	uint64_t	 at;			/* byte in it */
	struct vm_object *object;		/* referenced; NULL: private */
};

struct futex_waiter {
	TAILQ_ENTRY(futex_waiter) link;		/* (futex_lock) its chain */
	struct futex_key key;			/* (futex_lock) changes when it is requeued */
	uint32_t	 bitset;		/* (constant) */
	bool		 woken;			/* (futex_lock) off its chain */
};

static struct mutex futex_lock;
static TAILQ_HEAD(futex_chain, futex_waiter) chains[CHAINS];	/* (futex_lock) */

void
futex_init(void)
{
	mutex_init(&futex_lock, "futex", RANK_FUTEX);
}

static struct futex_chain *
chain_of(const struct futex_key *key)
{
	uint64_t h = (uint64_t)key->space >> 6 ^ key->at >> 2;

	return (&chains[(h ^ h >> 7 ^ h >> 17) % CHAINS]);
}

static bool
same(const struct futex_key *a, const struct futex_key *b)
{
	return (a->space == b->space && a->at == b->at);
}

/* => 0, EINVAL, EFAULT; key_drop() afterwards. */
static int
key_find(vm_offset_t addr, bool private, struct futex_key *key)
{
	struct vmspace *vm = curproc->vmspace;
	struct vm_map_entry *e;
	uint32_t word;

	if ((addr & 3) != 0)
		return (EINVAL);
	*key = (struct futex_key){ vm, addr, NULL };
	if (private)
		return (addr < VM_USER_MAX ? 0 : EFAULT);
	if (copyin(addr, &word, sizeof(word)) != 0)	/* also makes the object */
		return (EFAULT);
	vm_map_rlock(&vm->map);
	e = vm_map_lookup_entry(&vm->map, addr);
	if (e != NULL && e->inheritance == VM_INHERIT_SHARE && e->object != NULL) {
		vm_object_reference(e->object);
		*key = (struct futex_key){ e->object, (uint64_t)e->offset + (addr - e->start), e->object };
	}
	vm_map_runlock(&vm->map);
	return (0);
}

static void
key_drop(struct futex_key *key)
{
	if (key->object != NULL)
		vm_object_deallocate(key->object);
}

/*
 * Sleep while *addr is `value`.  deadline: clock_ns(), 0: none.
 * => ERESTARTSYS, ETIMEDOUT, EAGAIN: another value is there.
 */
static int
futex_wait(vm_offset_t addr, bool private, uint32_t value, uint64_t deadline, uint32_t bitset)
{
	struct futex_waiter w = { .bitset = bitset };
	uint64_t now;
	uint32_t word;
	int error;

	error = bitset == 0 ? EINVAL : key_find(addr, private, &w.key);
	if (error != 0)
		return (error);
	mutex_lock(&futex_lock);
	error = copyin(addr, &word, sizeof(word));
	if (error == 0 && word != value)
		error = EAGAIN;
	if (error == 0)
		TAILQ_INSERT_TAIL(chain_of(&w.key), &w, link);
	else
		w.woken = true;
	while (!w.woken && error == 0) {
		now = clock_ns();
		if (deadline != 0 && now >= deadline) {
			error = ETIMEDOUT;
			break;
		}
		error = tsleep_sig(&w, &futex_lock.lk, "futex", deadline != 0 ? ns_to_ticks(deadline - now) : 0);
		if (error == EWOULDBLOCK)
			error = 0;		/* look at the clock */
	}
	if (w.woken)
		error = error == ERESTARTSYS || error == ETIMEDOUT ? 0 : error;
	else
		TAILQ_REMOVE(chain_of(&w.key), &w, link);
	mutex_unlock(&futex_lock);
	key_drop(&w.key);
	return (error);
}

/* => futex_lock.  Returns how many were woken. */
static int
wake_key(const struct futex_key *key, int count, uint32_t bitset)
{
	struct futex_chain *chain = chain_of(key);
	struct futex_waiter *w, *next;
	int n = 0;

	TAILQ_FOREACH_SAFE(w, chain, link, next) {
		if (n >= count)
			break;
		if (!same(&w->key, key) || !(w->bitset & bitset))
			continue;
		TAILQ_REMOVE(chain, w, link);
		w->woken = true;
		wakeup(w);
		n++;
	}
	return (n);
}

/* Returns how many, or -errno. */
static int
futex_wake(vm_offset_t addr, bool private, int count, uint32_t bitset)
{
	struct futex_key key;
	int error, n;

	error = bitset == 0 ? EINVAL : key_find(addr, private, &key);
	if (error != 0)
		return (-error);
	mutex_lock(&futex_lock);
	n = wake_key(&key, count, bitset);
	mutex_unlock(&futex_lock);
	key_drop(&key);
	return (n);
}

int
futex_wake_address(vm_offset_t addr, int count)
{
	return (futex_wake(addr, false, count, BITSET_ANY));
}

/* Let `moves` of those that are not woken wait on another word.  => futex_lock */
static int
requeue(const struct futex_key *from, const struct futex_key *to, int moves)
{
	struct futex_chain *chain = chain_of(from);
	struct futex_waiter *w, *next;
	int n = 0;

	if (same(from, to))
		return (0);
	TAILQ_FOREACH_SAFE(w, chain, link, next) {
		if (n >= moves)
			break;
		if (!same(&w->key, from))
			continue;
		TAILQ_REMOVE(chain, w, link);
		if (to->object != NULL)
			vm_object_reference(to->object);
		if (w->key.object != NULL)		/* not the last one: the caller holds `from` */
			vm_object_deallocate(w->key.object);
		w->key = *to;
		TAILQ_INSERT_TAIL(chain_of(to), w, link);
		n++;
	}
	return (n);
}

static int
futex_requeue(vm_offset_t addr, vm_offset_t addr2, bool private, int wakes, int moves, const uint32_t *expect)
{
	struct futex_key from, to;
	uint32_t word;
	int error, n = 0;

	if (wakes < 0 || moves < 0)
		return (-EINVAL);
	error = key_find(addr, private, &from);
	if (error != 0)
		return (-error);
	error = key_find(addr2, private, &to);
	if (error != 0) {
		key_drop(&from);
		return (-error);
	}
	mutex_lock(&futex_lock);
	if (expect != NULL) {
		error = copyin(addr, &word, sizeof(word));
		if (error == 0 && word != *expect)
			error = EAGAIN;
	}
	if (error == 0) {
		n = wake_key(&from, wakes, BITSET_ANY);
		n += requeue(&from, &to, moves);
	}
	mutex_unlock(&futex_lock);
	key_drop(&from);
	key_drop(&to);
	return (error != 0 ? -error : n);
}

/* The time-out argument as a point of clock_ns(); 0: none. */
static int
deadline_in(vm_offset_t from, bool absolute, bool realtime, uint64_t *deadline)
{
	struct timespec ts;
	uint64_t ns, now = clock_ns();
	int error;

	*deadline = 0;
	if (from == 0)
		return (0);
	error = timespec_in(from, &ts);
	if (error != 0)
		return (error);
	ns = timespec_ns(&ts);
	if (!absolute)
		ns = ns < UINT64_MAX - now ? now + ns : UINT64_MAX;
	else if (realtime)
		ns -= MIN(ns, clock_wall_ns() - now);
	*deadline = MAX(ns, 1ul);
	return (0);
}

int64_t
sys_futex(const uint64_t *a)
{
	uint32_t op = (uint32_t)a[1], value = (uint32_t)a[2];
	bool private = (op & FUTEX_PRIVATE) != 0, realtime = (op & FUTEX_REALTIME) != 0;
	uint64_t deadline;
	int error;

	op &= ~(FUTEX_PRIVATE | FUTEX_REALTIME);
	switch (op) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		error = deadline_in(a[3], op == FUTEX_WAIT_BITSET, realtime, &deadline);
		if (error == 0)
			error = futex_wait(a[0], private, value, deadline,
			    op == FUTEX_WAIT_BITSET ? (uint32_t)a[5] : BITSET_ANY);
		/* A relative time-out must not start anew. */
		return (error == ERESTARTSYS && op == FUTEX_WAIT && deadline != 0 ? -EINTR : -error);
	case FUTEX_WAKE:
		return (futex_wake(a[0], private, (int)MIN(value, (uint32_t)INT32_MAX), BITSET_ANY));
	case FUTEX_WAKE_BITSET:
		return (futex_wake(a[0], private, (int)MIN(value, (uint32_t)INT32_MAX), (uint32_t)a[5]));
	case FUTEX_REQUEUE:
		return (futex_requeue(a[0], a[4], private, (int)value, (int)a[3], NULL));
	case FUTEX_CMP_REQUEUE:
		return (futex_requeue(a[0], a[4], private, (int)value, (int)a[3], &(uint32_t){ (uint32_t)a[5] }));
	default:
		return (-ENOSYS);
	}
}

/* ---- robust lists: locks whose holder goes without letting go of them ---- */

/* The word of a lock: who holds it, and what happened to it. */
#define FUTEX_WAITERS	 0x80000000u
#define FUTEX_OWNER_DIED 0x40000000u
#define FUTEX_TID_MASK	 0x3fffffffu
#define ROBUST_MAX	 2048			/* locks; a list may be a ring, made so by a program that means harm */
#define ROBUST_FLAG	 1ul			/* in a link: the lock is of a kind that we have not */

struct robust_head {
	uint64_t	next;			/* the first link; the last leads back to the head */
	int64_t		offset;			/* from a link to its word */
	uint64_t	pending;		/* the link of a lock that was just being taken or let go; 0: none */
};
_Static_assert(sizeof(struct robust_head) == 24, "struct robust_list_head");

/*
 * If the calling thread holds the lock at addr, say in it that its owner died, and wake who is to have it.
 * pending: the thread may have let go of it, and not yet have woken anybody.
 */
static void
owner_died(vm_offset_t addr, bool pending)
{
	uint32_t old, *word;
	struct vm_page *m;
	bool mine;

	if ((addr & 3) != 0 || addr >= VM_USER_MAX ||
	    vm_fault(&curproc->vmspace->map, addr, VM_PROT_WRITE, VM_FAULT_HOLD, &m) != KERN_SUCCESS)
		return;
	word = (uint32_t *)((char *)VM_PAGE_TO_DMAP(m) + (addr & PAGE_MASK));
	old = __atomic_load_n(word, __ATOMIC_RELAXED);
	do {
		mine = (old & FUTEX_TID_MASK) == (uint32_t)curuthread->tid;
	} while (mine && !__atomic_compare_exchange_n(word, &old, (old & FUTEX_WAITERS) | FUTEX_OWNER_DIED, false,
	    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	vm_page_unwire(m, PQ_ACTIVE);
	if ((mine && (old & FUTEX_WAITERS)) || (pending && old == 0))
		(void)futex_wake_address(addr, 1);
}

void
futex_owner_exits(void)
{
	uint64_t link, next, head_at = curuthread->robust_list;
	struct robust_head head;

	curuthread->robust_list = 0;
	if (head_at == 0 || copyin(head_at, &head, sizeof(head)) != 0)
		return;
	link = head.next & ~ROBUST_FLAG;
	for (int i = 0; i < ROBUST_MAX && link != head_at; i++, link = next & ~ROBUST_FLAG) {
		/* Before the word: the next owner may free the lock as soon as he has it. */
		if (copyin(link, &next, sizeof(next)) != 0)
			return;
		if (link != (head.pending & ~ROBUST_FLAG))
			owner_died(link + (uint64_t)head.offset, false);
	}
	if (head.pending != 0)
		owner_died((head.pending & ~ROBUST_FLAG) + (uint64_t)head.offset, true);
}

int64_t
sys_set_robust_list(const uint64_t *a)
{
	if (a[1] != sizeof(struct robust_head))
		return (-EINVAL);
	curuthread->robust_list = a[0];
	return (0);
}

int64_t
sys_get_robust_list(const uint64_t *a)
{
	uint64_t head = curuthread->robust_list, size = sizeof(struct robust_head);

	if (a[0] != 0 && (int)a[0] != curuthread->tid)
		return (-EPERM);
	if (copyout(&size, a[2], sizeof(size)) != 0)
		return (-EFAULT);
	return (-copyout(&head, a[1], sizeof(head)));
}
