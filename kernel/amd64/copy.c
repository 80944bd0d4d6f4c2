/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * copyin, copyout, copyinstr: user memory, checked.
 *
 * The range is checked here, once, so that the raw copies in copy.S can meet only two things: a
 * user address, which the page fault handler serves or refuses, and a kernel buffer that is always
 * there.
 */
#include "kernel/amd64/machdep.h"
#include "kernel/kasan.h"
#include "kernel/lib/errno.h"
#include "kernel/thread.h"

/* Does [uaddr, uaddr + len) lie in the user half?  If not, note the first byte that does not. */
static bool
user_range_ok(vm_offset_t uaddr, size_t len)
{
	if (uaddr <= VM_USER_MAX && len <= VM_USER_MAX - uaddr)
		return (true);
	curthread->fault.signo = 11;
	curthread->fault.code = 1;
	curthread->fault.addr = MAX(uaddr, VM_USER_MAX);
	return (false);
}

int
copyin(vm_offset_t uaddr, void *kaddr, size_t len)
{
	assert_can_sleep("copyin");
	if (!user_range_ok(uaddr, len))
		return (EFAULT);
	kasan_check(kaddr, len, true);
	return (user_copy(kaddr, (const void *)uaddr, len));
}

int
copyout(const void *kaddr, vm_offset_t uaddr, size_t len)
{
	assert_can_sleep("copyout");
	if (!user_range_ok(uaddr, len))
		return (EFAULT);
	kasan_check(kaddr, len, false);
	return (user_copy((void *)uaddr, kaddr, len));
}

int
copyinstr(vm_offset_t uaddr, char *kaddr, size_t max, size_t *done)
{
	size_t copied = 0, room;
	int error;

	assert_can_sleep("copyinstr");
	if (!user_range_ok(uaddr, 1)) {
		error = EFAULT;
	} else {
		/* A string may begin near the end of the user half and end before it. */
		room = MIN(max, VM_USER_MAX - uaddr);
		error = user_copy_string(kaddr, (const char *)uaddr, room, &copied);
		if (error == ENAMETOOLONG && room < max) {
			(void)user_range_ok(VM_USER_MAX, 1);
			error = EFAULT;
		}
	}
	if (done != NULL)
		*done = copied;
	return (error);
}

bool
kernel_peek(vm_offset_t va, uint64_t *value)
{
	if (va < DMAP_BASE || (va & 7) != 0)
		return (false);
	return (peek_word((const uint64_t *)va, value));
}
