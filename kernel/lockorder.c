/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock checker of debug builds.
 *
 * It knows which locks each thread (sleep) and each CPU (spin) holds, and looks at every acquisition that
 * may wait.  Two things are checked, and neither needs a deadlock to happen:
 *
 *	declared	the ranks of lock.h: what is waited for has a greater rank than all that is held
 *	learned		who was seen to wait for what, with what in hand
 *
 * What is learned is a graph.  Locks of one name are one class ("object" is all objects), and a class is a
 * node; that somebody waits for B and holds A is an edge A -> B.  Threads can only wait for each other in a
 * ring if the graph has one:
 *
 *	thread 1:  holds A, waits for B		A -> B
 *	thread 2:  holds B, waits for A		B -> A		a ring: report both stacks
 *
 * The two need not have met: having been seen once each, at any time, is enough.  The ranks alone leave
 * holes that this closes: locks that have none, and those that share one.  For an edge that is known, one
 * bit is looked at for each lock that is held; for a new one the stack is kept, and a search looks for a way
 * back.  A try is no wait, so it adds no edge to what it takes; what was taken by a try is held like the rest.
 *
 * Locks of one class may nest only by a rule that says of two of them which comes first (an object's shadow
 * before it; a directory before what is in it).
 *
 * A page's busy word is a lock without a struct lock; vm_page.c tells of all of them by the name "page busy".
 * An interrupt is not ordered against the thread that it came upon: spin locks keep interrupts out, and sleep
 * locks are not for interrupts, not even to try.
 *
 * All tables are fixed.  The graph's bits are read without a lock; writers and the search run under `guard`,
 * a bare word, since a spin lock would come back to here.
 */
#include "kernel/lockorder.h"

#include "kernel/amd64/layout.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/lockstat.h"
#include "kernel/thread.h"

#define CLASSES		LOCKSTAT_MAX
#define EDGES		768
#define NESTINGS	4

static uint64_t waits_for[CLASSES][CLASSES / 64];	/* (atomic) bit w of row h: the edge h -> w is known */
static bool guard;					/* (atomic) for the rest */
static struct lock_edge edges[EDGES];			/* in the order in which they were learned */
static unsigned nedges;
static unsigned edges_lost;				/* known, but without a stack: the table was full */
static struct lock_cycle last_cycle;

static struct nesting {
	const char	*name;
	bool		(*ok)(const struct lock *held, const struct lock *wanted);
} nestings[NESTINGS];					/* set while the kernel starts */

static const char *
rank_name(enum lock_rank rank)
{
	static const char *const names[RANK_COUNT] = {
		[RANK_NONE] = "none", [RANK_SWAPON] = "swapon", [RANK_FUTEX] = "futex", [RANK_FILEPOS] = "file offset", [RANK_APPEND] = "append",
		[RANK_MOUNT] = "mount", [RANK_MAP] = "map", [RANK_RENAME] = "rename", [RANK_VNODE] = "vnode",
		[RANK_PAGE_BUSY] = "page busy", [RANK_OBJECT] = "object", [RANK_FSOP] = "filesystem change",
		[RANK_FILE] = "open file", [RANK_NAMECACHE] = "name cache", [RANK_VNODE_LIST] = "vnode list",
		[RANK_OBJECT_LIST] = "object list", [RANK_FSCOUNT] = "filesystem accounts", [RANK_POLL] = "poll",
		[RANK_PROC] = "process", [RANK_BIO] = "bio", [RANK_DISK] = "disk", [RANK_PAGEQ] = "page queues",
		[RANK_PMAP] = "pmap", [RANK_PV] = "pv", [RANK_KVA] = "kva", [RANK_KMEM] = "kmem",
		[RANK_FREECACHE] = "free cache", [RANK_FREELIST] = "free list", [RANK_THREAD] = "thread", [RANK_SLEEPQ] = "sleep queue",
		[RANK_SCHED] = "scheduler", [RANK_CONSOLE] = "console", [RANK_SCREEN] = "screen",
	};

	return (rank < RANK_COUNT && names[rank] != NULL ? names[rank] : "unknown");
}

/* ---- reports ---- */

void
lock_violation(const char *fmt, ...)
{
	char text[160];
	va_list ap;

	if (panicking)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (lock_violation_hook != NULL)
		lock_violation_hook(text);
	else
		panic("%s", text);
}

static const char *
frame_name(uint32_t pc, uint64_t *offset)
{
	const char *name = ksym_lookup(KERNBASE + pc - 1, offset);

	return (name != NULL ? name : "?");
}

static void
print_edge(const struct lock_edge *e)
{
	printf("  %s, then %s (thread %u):\n", lockstat_name(e->held), lockstat_name(e->wanted), e->tid);
	for (unsigned i = 0; i < e->depth; i++) {
		uint64_t offset = 0;
		const char *name = frame_name(e->pc[i], &offset);

		printf("    %s+0x%lx\n", name, offset + 1);
	}
}

/* A line for each edge; the first two frames are ours. */
void
lockorder_print(void)
{
	printf("lock order, as observed (%u steps, %u without a stack):\n", nedges, edges_lost);
	for (unsigned i = 0; i < nedges; i++) {
		const struct lock_edge *e = &edges[i];

		printf("  %s, then %s:", lockstat_name(e->held), lockstat_name(e->wanted));
		for (unsigned f = 2; f < MIN(e->depth, 7u); f++)
			printf(" %s%s", f > 2 ? "< " : "", frame_name(e->pc[f], NULL));
		printf("\n");
	}
}

/* ---- the graph ---- */

static inline bool
known(unsigned held, unsigned wanted)
{
	return ((__atomic_load_n(&waits_for[held][wanted / 64], __ATOMIC_RELAXED) >> wanted % 64 & 1) != 0);
}

static uint64_t
guard_enter(void)
{
	uint64_t flags = read_rflags();

	intr_disable();
	while (__atomic_exchange_n(&guard, true, __ATOMIC_ACQUIRE))
		cpu_spinwait();
	return (flags);
}

static void
guard_leave(uint64_t flags)
{
	__atomic_store_n(&guard, false, __ATOMIC_RELEASE);
	if (flags & RFLAGS_IF)
		intr_enable();
}

/*
 * The shortest way from one class to another: breadth first.  from[c] becomes the class from which c was
 * reached.  => guard.  false: there is none.
 */
static bool
find_way(unsigned start, unsigned end, uint8_t from[CLASSES])
{
	static uint8_t queue[CLASSES];			/* guard */
	bool seen[CLASSES] = { false };
	unsigned first = 0, last = 0;

	seen[start] = true;
	for (queue[last++] = (uint8_t)start; first < last; first++) {
		unsigned at = queue[first];

		if (at == end)
			return (true);
		for (unsigned next = 0; next < CLASSES; next++)
			if (known(at, next) && !seen[next]) {
				seen[next] = true;
				from[next] = (uint8_t)at;
				queue[last++] = (uint8_t)next;
			}
	}
	return (false);
}

/* The stack of an edge.  => guard.  NULL: it was learned when the table was full. */
static const struct lock_edge *
edge_find(unsigned held, unsigned wanted)
{
	for (unsigned i = 0; i < nedges; i++)
		if (edges[i].held == held && edges[i].wanted == wanted)
			return (&edges[i]);
	return (NULL);
}

/* Is there a way back from what `e` waits for to what it holds?  If so, describe the ring.  => guard */
static bool
closes_ring(const struct lock_edge *e, struct lock_cycle *cycle)
{
	uint8_t from[CLASSES], way[CLASSES];
	unsigned n = 0;

	if (!find_way(e->wanted, e->held, from))
		return (false);
	for (unsigned at = e->held; at != e->wanted; at = from[at])
		way[n++] = (uint8_t)at;
	cycle->hop[0] = *e;
	cycle->nhops = 1;
	for (unsigned at = e->wanted; n > 0 && cycle->nhops < LOCKORDER_HOPS; at = way[n]) {
		const struct lock_edge *hop = edge_find(at, way[--n]);

		cycle->hop[cycle->nhops++] = hop != NULL ? *hop :
		    (struct lock_edge){ .held = (uint8_t)at, .wanted = way[n] };
	}
	return (true);
}

static void
report(const struct lock_cycle *cycle)
{
	if (lock_violation_hook == NULL && !panicking) {
		printf("lock order: these would wait for each other:\n");
		for (unsigned i = 0; i < cycle->nhops; i++)
			print_edge(&cycle->hop[i]);
	}
	lock_violation("lock order: %s wanted while %s is held, but the other way round was seen, too",
	    lockstat_name(cycle->hop[0].wanted), lockstat_name(cycle->hop[0].held));
}

/* A new edge: keep it with the stack, and see whether it closes a ring. */
static __attribute__((noinline)) void
learn(unsigned held, unsigned wanted)
{
	struct lock_edge e = { .held = (uint8_t)held, .wanted = (uint8_t)wanted, .tid = curthread->tid };
	struct lock_cycle cycle;
	uint64_t pc[LOCKORDER_FRAMES], flags;
	bool ring = false;

	e.depth = (uint8_t)backtrace_capture(pc, LOCKORDER_FRAMES);
	for (unsigned i = 0; i < e.depth; i++)
		e.pc[i] = (uint32_t)(pc[i] - KERNBASE);
	flags = guard_enter();
	if (!known(held, wanted)) {
		ring = closes_ring(&e, &cycle);
		__atomic_fetch_or(&waits_for[held][wanted / 64], 1ul << wanted % 64, __ATOMIC_RELAXED);
		if (nedges < EDGES)
			edges[nedges++] = e;
		else
			edges_lost++;
		if (ring)
			last_cycle = cycle;
	}
	guard_leave(flags);
	if (ring)
		report(&cycle);
}

bool
lockorder_observed(const char *held, const char *wanted)
{
	uint8_t from[CLASSES];
	unsigned h = lockstat_slot(held), w = lockstat_slot(wanted);
	uint64_t flags;
	bool found;

	if (h == CLASSES || w == CLASSES || h == w)
		return (false);
	flags = guard_enter();
	found = find_way(h, w, from);
	guard_leave(flags);
	return (found);
}

const struct lock_cycle *
lockorder_last_cycle(void)
{
	return (&last_cycle);
}

unsigned
lockorder_lost(void)
{
	for (unsigned i = 0; i < CLASSES; i++)
		if (lockstat_name(i) == NULL)
			return (edges_lost);
	return (edges_lost + 1);	/* no more room for names */
}

void
lockorder_forget(const char *name)
{
	unsigned class = lockstat_slot(name), kept = 0;
	uint64_t flags;

	if (class == CLASSES)
		return;
	flags = guard_enter();
	memset(waits_for[class], 0, sizeof(waits_for[class]));
	for (unsigned i = 0; i < CLASSES; i++)
		__atomic_fetch_and(&waits_for[i][class / 64], ~(1ul << class % 64), __ATOMIC_RELAXED);
	for (unsigned i = 0; i < nedges; i++)
		if (edges[i].held != class && edges[i].wanted != class)
			edges[kept++] = edges[i];
	nedges = kept;
	guard_leave(flags);
}

/* ---- an acquisition that may wait ---- */

void
lockorder_nesting(const char *name, bool (*ok)(const struct lock *held, const struct lock *wanted))
{
	for (int i = 0; i < NESTINGS; i++)
		if (nestings[i].name == NULL) {
			nestings[i] = (struct nesting){ name, ok };
			return;
		}
	panic("no room for another nesting rule (%s)", name);
}

static void
check_nesting(const struct lock *held, const struct lock *l)
{
	for (int i = 0; i < NESTINGS; i++)
		if (nestings[i].name != NULL && streq(nestings[i].name, l->name)) {
			if (!nestings[i].ok(held, l))
				lock_violation("lock order: %s %p wanted while %s %p is held, which does not come before it",
				    l->name, l, held->name, held);
			return;
		}
	lock_violation("lock order: a second %s wanted, and no rule says which comes first", l->name);
}

/* The class of a lock: looked up once, for the name is constant. */
static inline unsigned
class_of(struct lock *l)
{
	if (unlikely(l->slot == 0))
		l->slot = (uint8_t)(lockstat_slot(l->name) + 1);
	return (l->slot - 1u);
}

/*
 * May `l` be waited for while `held` is held?  `nested` says whether a lock of the class of l that was taken
 * after `held` has been looked at already.
 */
static inline void
check_pair(struct lock *held, struct lock *l, bool *nested)
{
	unsigned h = class_of(held), w = class_of(l);
	bool dup = l->rank == RANK_VNODE || l->rank == RANK_OBJECT || l->rank == RANK_PAGE_BUSY;

	if (unlikely(held == l && l->kind != LOCK_BUSY))
		lock_violation("lock %s taken twice", l->name);
	else if (unlikely(l->rank != RANK_NONE && (held->rank > l->rank || (held->rank == l->rank && !dup))))
		lock_violation("lock order: %s (rank %s) wanted while %s (rank %s) is held", l->name,
		    rank_name(l->rank), held->name, rank_name(held->rank));
	else if (h == w && !*nested)
		check_nesting(held, l);
	else if (h != w && h < CLASSES && w < CLASSES && unlikely(!known(h, w)))
		learn(h, w);
	*nested |= h == w;
}

void
lockorder_wanted(struct lock *l)
{
	struct thread *td = curthread;
	bool nested = false;

	if (unlikely(panicking))
		return;
	if (l->kind == LOCK_SPIN) {
		struct cpu *cpu = curcpu;	/* stays ours: interrupts are off */

		for (int i = MIN(cpu->spin_depth - 1, CPU_SPIN_HELD_MAX) - 1; i >= 0; i--)
			check_pair(cpu->spin_held[i], l, &nested);
	}
	if (!in_interrupt())
		for (int i = td->nheld - 1; i >= 0; i--)
			check_pair(td->held[i], l, &nested);
}

void
assert_can_sleep(const char *what)
{
	struct cpu *cpu;

	if (in_interrupt())
		lock_violation("sleep in an interrupt handler (%s)", what);
	if (cpu_spin_depth() == 0)
		return;
	cpu = curcpu;
	lock_violation("sleep (%s) with spin lock %s held", what, cpu->spin_held[0]->name);
}

/* ---- who holds what ---- */

void
lockorder_acquired(struct lock *l)
{
	struct thread *td = curthread;

	lockstat_acquired(class_of(l));
	if (in_interrupt())
		lock_violation("sleep lock %s taken by an interrupt", l->name);
	if (td->nheld == THREAD_HELD_MAX)
		lock_violation("thread %s holds more than %d locks", td->name, THREAD_HELD_MAX);
	else
		td->held[td->nheld++] = l;
}

void
lockorder_released(struct lock *l)
{
	struct thread *td = curthread;
	int i;

	for (i = td->nheld - 1; i >= 0; i--)
		if (td->held[i] == l) {
			for (td->nheld--; i < td->nheld; i++)
				td->held[i] = td->held[i + 1];
			return;
		}
	lock_violation("lock %s released by thread %s, which doesn't hold it", l->name, td->name);
}

/* The locks of a CPU are as many as its spin_depth says, which spin_enter() has counted already. */
void
lockorder_spin_acquired(struct cpu *cpu, struct lock *l)
{
	lockstat_acquired(class_of(l));
	if (cpu->spin_depth > CPU_SPIN_HELD_MAX)
		lock_violation("CPU %u holds more than %d spin locks", cpu->id, CPU_SPIN_HELD_MAX);
	else
		cpu->spin_held[cpu->spin_depth - 1] = l;
}

void
lockorder_spin_released(struct cpu *cpu, struct lock *l)
{
	int n = MIN(cpu->spin_depth, CPU_SPIN_HELD_MAX), i = n - 1;

	while (i > 0 && cpu->spin_held[i] != l)
		i--;
	for (; i < n - 1; i++)
		cpu->spin_held[i] = cpu->spin_held[i + 1];
	cpu->spin_held[n - 1] = NULL;
}

void
locks_print_held(void)
{
	struct thread *td = curthread;
	struct cpu *cpu = curcpu;

	for (int i = 0; i < MIN(cpu->spin_depth, CPU_SPIN_HELD_MAX); i++)
		if (cpu->spin_held[i] != NULL)	/* NULL: it waits for that one */
			printf("  CPU %u holds spin lock %s\n", cpu->id, cpu->spin_held[i]->name);
	for (int i = 0; i < td->nheld; i++)
		printf("  thread %s holds %s\n", td->name, td->held[i]->name);
}
