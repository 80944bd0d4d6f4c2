/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes: an address space, a set of threads, and what they share.
 *
 *	struct thread  --user-->  struct uthread  --proc-->  struct proc  --vmspace--> memory
 *	(the scheduler's)	  registers, FPU,	      |--files---> open files
 *				  signal mask, tid	      |--fs------> cwd, root, umask
 *							      +--parent, children, group, session
 *
 * A process with pgid G belongs to group G, one with sid S to session S; groups and sessions are no objects,
 * just numbers that processes carry: they end when nobody carries them any more.
 *
 *	alive ----exit of the last thread----> zombie ----wait by the parent----> freed
 *
 * One spin lock, proc_lock, guards the tree, every process's state and all pending signals.  It is short,
 * never held over a sleep, and may be taken in an interrupt (a Ctrl-C arrives in one).
 *
 * (P) proc_lock   (c) constant once the process runs   (1) only its one thread: exec and exit wait until
 * there is but one   (a) atomic   (t) only the thread itself
 */
#ifndef KERNEL_USER_PROC_H
#define KERNEL_USER_PROC_H

#include "kernel/lib/queue.h"
#include "kernel/lib/types.h"
#include "kernel/thread.h"
#include "kernel/user/signal.h"

struct fdtable;
struct file;
struct fs_context;
struct vmspace;
struct vnode;

enum proc_state { PROC_ALIVE, PROC_ZOMBIE };

/* Linux's resource numbers that mean something here. */
enum { RLIMIT_CPU = 0, RLIMIT_FSIZE = 1, RLIMIT_DATA = 2, RLIMIT_STACK = 3, RLIMIT_CORE = 4, RLIMIT_NPROC = 6,
    RLIMIT_NOFILE = 7, RLIMIT_MEMLOCK = 8, RLIMIT_AS = 9, RLIMIT_COUNT = 16 };
#define RLIM_INFINITY	(~0ul)

struct rlimit {
	uint64_t	cur, max;
};

/* What they count: time, a process's ticks in user mode, all its ticks. */
enum { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF, ITIMER_COUNT };

/* What a process used, or all those together that its parent has waited for. */
struct usage {
	uint64_t	user_ticks, sys_ticks;
	uint64_t	faults, io_faults;	/* page faults; those that asked a pager */
	uint64_t	max_resident;		/* pages; of several processes, the largest's */
};

struct itimer {
	uint64_t	due;			/* ticks of what it counts; 0: not set */
	uint64_t	interval;		/* ticks; 0: once */
};

struct proc {
	TAILQ_ENTRY(proc) all_link;		/* (P) all processes, zombies too */
	TAILQ_ENTRY(proc) sibling;		/* (P) parent's children */
	TAILQ_HEAD(, proc) children;		/* (P) */
	struct proc	*parent;		/* (P) NULL: init */
	TAILQ_HEAD(, uthread) threads;		/* (P) */
	int		 nthreads;		/* (P) */
	int		 pid;			/* (c) */
	int		 pgid, sid;		/* (P) */
	uint8_t		 state;			/* (P) enum proc_state */
	bool		 execed;		/* (P) setpgid by the parent is refused from then on */
	bool		 exiting;		/* (P) all threads are on their way out */
	bool		 killed_others;		/* (P) exec: all threads but exec_thread are on their way out */
	struct uthread	*exec_thread;		/* (P) */
	int		 exit_status;		/* (P) as wait4() encodes it; set once with `exiting` */
	int		 exit_signal;		/* (c) what the parent gets: SIGCHLD or another, 0: none */

	struct vmspace	*vmspace;		/* (1) and (P) to change it; referenced; NULL: a zombie */
	/* (1) and proc_parts_lock to change them; referenced; NULL: a zombie */
	struct fdtable	*files;			/* its contents have their own lock */
	struct fs_context *fs;
	struct vnode	*text;			/* the program's file, busy (VTEXT) */
	char		 name[16];		/* (1) last component of the program's path, cut as Linux does */
	struct ucred	*cred;			/* (P) referenced */
	struct rlimit	 limits[RLIMIT_COUNT];	/* (P) */
	bool		*vfork_done;		/* (P) our parent sleeps until it is set, by exec or exit; NULL: not */

	vm_offset_t	 brk_start, brk;	/* (m) the map's lock: the heap is [start, brk), exact bytes */
	bool		 lock_future;		/* (m) mlockall(MCL_FUTURE): new memory is locked */
	vm_offset_t	 mmap_top;		/* (1) mmap without address searches downwards from here */
	vm_offset_t	 stack_top;		/* (1) the first thread's stack ends here */
	vm_offset_t	 arg_start, arg_end, env_end; /* (1) where the strings lie, for /proc */

	struct sigaction actions[NSIG + 1];	/* (P) by signal number */
	struct sigpending pending;		/* (P) for whichever thread takes them */
	int		 stop_signal;		/* (P) != 0: stopped by it; threads wait in "stopped" */
	bool		 stop_told, cont_told;	/* (P) waiters have been told; cont_told false: SIGCONT to tell */

	uint64_t	 start_ns;		/* (c) clock_ns() at birth */
	volatile uint64_t user_ticks, sys_ticks; /* (a) of all threads, also dead ones */
	struct usage	 child_usage;		/* (P) of those waited for, and of theirs */
	uint64_t	 faults, io_faults;	/* (P) of threads that are gone */
	uint64_t	 max_resident;		/* (a) pages, seen at ticks and before memory was given back */
	struct itimer	 timers[ITIMER_COUNT];	/* (P) setitimer() */
};

/* A thread's user half. */
struct uthread {
	TAILQ_ENTRY(uthread) link;		/* (P) the process's threads */
	struct thread	*td;			/* (c) */
	struct proc	*proc;			/* (c) */
	int		 tid;			/* (P) user-visible; the first thread's is the pid */
	vm_offset_t	 clear_tid;		/* (t) CLONE_CHILD_CLEARTID: zeroed and woken at the end; 0: none */
	vm_offset_t	 robust_list;		/* (t) where the list of the locks that it holds begins; 0: none */
	sigset_t	 mask;			/* (P) blocked signals */
	sigset_t	 saved_mask;		/* (t) rt_sigsuspend and others: restored after the handler */
	bool		 restore_mask;		/* (t) saved_mask counts */
	struct sigpending pending;		/* (P) for this thread only */
	vm_offset_t	 altstack;		/* (t) sigaltstack: base; meaningless while size is 0 */
	uint64_t	 altstack_size;		/* (t) */
	uint32_t	 altstack_flags;	/* (t) */
	vm_offset_t	 set_tid;		/* (t) CLONE_CHILD_SETTID: to be written in the new memory; 0: none */
	int		 exit_status;		/* (t) counts if it is the last one to go */
	struct trapframe *frame;		/* (t) the user registers while in the kernel */
	volatile uint64_t ticks[2];		/* (t) in user mode, in the kernel; the clock's interrupt counts them */
	uint64_t	 fault_cr2, fault_error, fault_trapno; /* (t) of the last exception, for the signal frame */
};

extern struct spinlock proc_lock;
TAILQ_HEAD(proc_list, proc);
extern struct proc_list all_procs;		/* (P) */
extern struct proc *init_proc;			/* pid 1; NULL: no user programs in this boot */

#define curuthread	(curthread->user)
#define curproc		(curthread->user->proc)

/* A process by number, zombies too; NULL: none.  => proc_lock. */
struct proc *proc_find(int pid);
struct uthread *uthread_find(int tid);		/* => proc_lock */
/* May curproc send signals to p?  => proc_lock. */
bool proc_may_signal(const struct proc *p);
/* Is there a member of this group in this session?  => proc_lock. */
bool pgrp_exists(int pgid, int sid);
/* No member's parent is in another group of the same session: nobody could ever continue it.  => proc_lock. */
bool pgrp_orphaned(int pgid);

/*
 * The files side (kernel/user/fd*.c): what a process needs of it.
 *
 * => all may sleep; the process is not running yet, or calls for itself.
 */
struct fdtable *fdtable_create(void);			/* empty, one owner */
struct fdtable *fdtable_share(struct fdtable *files);	/* one owner more */
void fdtable_unshare(struct fdtable **files);		/* curproc's is its own from here on */
struct fdtable *fdtable_fork(struct fdtable *from);	/* the same open files under the same numbers */
void fdtable_close_on_exec(struct fdtable *files);
void fdtable_release(struct fdtable *files);		/* the last owner's closes all */
struct file *fdtable_get(struct fdtable *files, int fd); /* referenced; NULL: not open */
int  fdtable_next(struct fdtable *files, int fd);	/* the lowest open descriptor from fd on; -1: none */
size_t fdtable_pipe_bytes(struct fdtable *files);	/* that pipes have for it, an estimate; => does not sleep */
struct fs_context *fs_context_create(void);		/* root and cwd: the root volume's root; umask 022 */
struct fs_context *fs_context_fork(struct fs_context *from);
struct fs_context *fs_context_share(struct fs_context *fs);
void fs_context_release(struct fs_context *fs);
struct vnode *fs_context_cwd(struct fs_context *fs);	/* referenced; NULL: there is no root volume */
/* Descriptors 0, 1 and 2 on the console; for init.  errno. */
int  fdtable_open_console(struct fdtable *files);
/* p, a session leader, is going: the terminal is nobody's, its foreground group gets SIGHUP and SIGCONT. */
void tty_session_ends(struct proc *p);
/*
 * Path lookup from curproc's cwd and root: 0 and *vpp referenced, unlocked, or as namei().
 * dirfd: AT_FDCWD or an open directory.
 */
#define AT_FDCWD	(-100)
int  fs_lookup(int dirfd, const char *path, int namei_flags, struct vnode **vpp);
/*
 * The vnode of an open file, referenced, and how it is open (O_ACCMODE bits); EBADF.  ENODEV: it has none (a pipe).
 */
int  fd_vnode(int fd, struct vnode **vpp, int *mode);

/*
 * proc_look.c: what others may see of a process: what it has open, where it stands, what it runs.  => may sleep.
 * ESRCH: there is no such process; EACCES: it is none of our business; ENOENT: it has no such thing, or not any more.
 */
int  proc_file(int pid, int fd, struct file **fpp);	/* referenced */
int  proc_next_fd(int pid, int fd);			/* the lowest from fd on; -1: none */
int  proc_cwd(int pid, struct vnode **vpp);		/* referenced */
int  proc_text(int pid, struct vnode **vpp);		/* referenced */
/* Files, cwd and text of every process change and go under it; who looks at another's holds it. */
extern struct spinlock proc_parts_lock;

/* proc.c */
void proc_init(void);
void proc_oom_init(void);			/* processes can be ended when memory is out: oom.c */
/*
 * Start the first program and wait for it.  path: `init=`; args: blanks separate them.
 * Returns its wait status, or -errno when it could not be started.
 */
int  init_run(const char *path, const char *args);
/*
 * End the whole process: the calling thread and, on their way back to user mode, all others.
 * status: as wait4() shows it.
 */
void proc_exit_group(int status) __noreturn;
void uthread_exit(void) __noreturn;		/* only this thread; the last one ends the process */

/* From the clock: a tick for the thread that it interrupted, with what is due by it; and, on the boot CPU, alarms. */
void proc_tick(struct thread *td);
void itimer_tick(void);
void proc_ticks(uint64_t *user, uint64_t *sys);	/* those of all processes that ever were */

/* Just before user mode, interrupts on: signals, exit, preemption.  Called while td->ast is set. */
void user_ast(struct trapframe *frame);

#endif
