/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system calls, one row each: SYSCALL(number, name, arguments) for those that exist, NOSYS(number, name)
 * for those that programs are known to try and that answer ENOSYS.  Included by whoever wants the list, with
 * both macros defined.
 */

/* processes and threads */

/* memory */

/* signals */

/* time, identity, the machine */

/* files (kernel/user/sys_file*.c and relatives) */

/* Not there: the C libraries and programs fall back by themselves (one message names the first try). */
NOSYS(29, shmget)	NOSYS(30, shmat)	NOSYS(31, shmctl)	NOSYS(41, socket)
NOSYS(42, connect)	NOSYS(43, accept)	NOSYS(44, sendto)	NOSYS(45, recvfrom)
NOSYS(49, bind)		NOSYS(50, listen)	NOSYS(53, socketpair)	NOSYS(64, semget)
NOSYS(101, ptrace)	NOSYS(103, syslog)	NOSYS(173, ioperm)	NOSYS(188, setxattr)
NOSYS(189, lsetxattr)	NOSYS(190, fsetxattr)	NOSYS(191, getxattr)	NOSYS(192, lgetxattr)
NOSYS(193, fgetxattr)	NOSYS(194, listxattr)	NOSYS(195, llistxattr)	NOSYS(196, flistxattr)
NOSYS(222, timer_create) NOSYS(223, timer_settime) NOSYS(226, timer_delete) NOSYS(232, epoll_wait)
NOSYS(233, epoll_ctl)	NOSYS(275, splice)	NOSYS(276, tee)		NOSYS(283, timerfd_create)
NOSYS(284, eventfd)	NOSYS(289, signalfd4)	NOSYS(290, eventfd2)	NOSYS(291, epoll_create1)
NOSYS(294, inotify_init1) NOSYS(319, memfd_create) NOSYS(324, membarrier) NOSYS(334, rseq)
NOSYS(425, io_uring_setup) NOSYS(434, pidfd_open) NOSYS(449, futex_waitv)
