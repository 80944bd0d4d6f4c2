/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets: there are none, of no family, and that is what programs are told, in Linux's words.  They fall back to files (the
 * name service), to pipes (a log, a server) or do without.
 */
#include "kernel/user/file.h"
#include "kernel/user/syscall.h"

int64_t sys_socket(const uint64_t *a) { return (-EAFNOSUPPORT); }
int64_t sys_socketpair(const uint64_t *a) { return (-EAFNOSUPPORT); }

/* A descriptor that is open is something else. */
static int64_t
not_a_socket(int fd)
{
	struct file *fp = fd_get(fd);

	if (fp == NULL)
		return (-EBADF);
	file_release(fp);
	return (-ENOTSOCK);
}

int64_t sys_connect(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_accept(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_sendto(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_recvfrom(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_sendmsg(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_recvmsg(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_shutdown(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_bind(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_listen(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_getsockname(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_getpeername(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_setsockopt(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_getsockopt(const uint64_t *a) { return (not_a_socket((int)a[0])); }
int64_t sys_accept4(const uint64_t *a) { return (not_a_socket((int)a[0])); }
