/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A new program's first stack, as the ABI and the C libraries expect it.
 *
 *	stack_top	8 zero bytes
 *			path that was executed
 *			strings of envp, strings of argv
 *			"x86_64"
 *			16 random bytes
 *			padding
 *			auxiliary vector, ending in AT_NULL
 *			envp pointers, NULL
 *			argv pointers, NULL
 *	rsp ->		argc				rsp is a multiple of 16
 *
 * Where things lie, highest first: the stack, a gap as large as it may grow, mappings downwards from mmap_top.
 */
#include "kernel/user/exec.h"

#include "kernel/amd64/cpu.h"
#include "kernel/cred.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/random.h"
#include "kernel/user/proc.h"
#include "vm/vm_map.h"
#include "vm/vm_mmap.h"

#define STACK_RANDOM_PAGES (1ul << 22)		/* the stack's end moves by up to 16 GiB */
#define MMAP_RANDOM_PAGES (1ul << 28)
#define STACK_GAP_MIN	(128 * MiB)		/* kept free below the stack's end, whatever its limit */
#define STACK_GAP_MAX	(VM_USER_MAX / 6 * 5)
#define STACK_GUARD	(1 * MiB)

enum {
	AT_NULL = 0, AT_PHDR = 3, AT_PHENT = 4, AT_PHNUM = 5, AT_PAGESZ = 6, AT_BASE = 7, AT_FLAGS = 8, AT_ENTRY = 9,
	AT_UID = 11, AT_EUID = 12, AT_GID = 13, AT_EGID = 14, AT_PLATFORM = 15, AT_HWCAP = 16, AT_CLKTCK = 17,
	AT_SECURE = 23, AT_RANDOM = 25, AT_HWCAP2 = 26, AT_EXECFN = 31, AT_MINSIGSTKSZ = 51
};
#define PHENT_SIZE	56
#define MINSIGSTKSZ	2048
#define AUX_MAX		24

static MALLOC_DEFINE(M_STACK, "user stack");
static const char platform[] = "x86_64";

int
stack_map(struct exec_image *img, uint64_t stack_limit)
{
	vm_prot_t prot = VM_PROT_READ | VM_PROT_WRITE | (img->stack_exec ? VM_PROT_EXECUTE : 0);
	uint64_t gap = MIN(MAX(stack_limit, STACK_GAP_MIN), STACK_GAP_MAX);
	vm_size_t len;

	img->stack_top = VM_USER_MAX - random_u64() % STACK_RANDOM_PAGES * PAGE_SIZE;
	img->mmap_top = trunc_page(VM_USER_MAX - gap - STACK_RANDOM_PAGES * PAGE_SIZE - STACK_GUARD) -
	    random_u64() % MMAP_RANDOM_PAGES * PAGE_SIZE;
	if (gap == STACK_GAP_MAX)
		img->mmap_top = trunc_page(VM_USER_MAX - gap);
	len = MIN(round_page(MAX(stack_limit, EXEC_BYTES_MAX + STACK_GUARD)), gap);
	return (vm_map_stack(&img->vm->map, img->stack_top, len, prot));
}

/* The pointers to n strings that lie packed at `at`; returns where the next one lies. */
static uint64_t *
pointers(uint64_t *to, const char **string, vm_offset_t *at, int n)
{
	for (int i = 0; i < n; i++) {
		size_t len = strlen(*string) + 1;

		*to++ = *at;
		*at += len;
		*string += len;
	}
	*to++ = 0;
	return (to);
}

static uint64_t *
auxiliary(uint64_t *to, const struct exec_image *img, vm_offset_t execfn, vm_offset_t platform_at, vm_offset_t random_at)
{
	const struct ucred *cr = curproc->cred;
	const uint64_t pairs[][2] = {
		{ AT_PHDR, img->phdr }, { AT_PHENT, PHENT_SIZE }, { AT_PHNUM, img->phnum }, { AT_PAGESZ, PAGE_SIZE },
		{ AT_BASE, img->base }, { AT_FLAGS, 0 }, { AT_ENTRY, img->program_entry },
		{ AT_UID, cr->uid }, { AT_EUID, cr->uid }, { AT_GID, cr->gid }, { AT_EGID, cr->gid },
		{ AT_PLATFORM, platform_at }, { AT_HWCAP, cpu_features.edx1 }, { AT_CLKTCK, 100 }, { AT_SECURE, 0 },
		{ AT_RANDOM, random_at }, { AT_HWCAP2, 0 }, { AT_EXECFN, execfn }, { AT_MINSIGSTKSZ, MINSIGSTKSZ },
		{ AT_NULL, 0 },
	};

	_Static_assert(nitems(pairs) <= AUX_MAX, "AUX_MAX is too small");
	memcpy(to, pairs, sizeof(pairs));
	return (to + 2 * nitems(pairs));
}

int
stack_fill(struct exec_image *img, const struct exec_args *args)
{
	size_t words_max = 1 + (size_t)args->argc + 1 + (size_t)args->envc + 1 + 2 * AUX_MAX, n;
	uint64_t *words = kmalloc(words_max * sizeof(*words), &M_STACK, M_WAITOK), *to = words, seed[2];
	vm_offset_t strings = img->stack_top - 8 - args->used, at = strings;
	vm_offset_t platform_at = strings - sizeof(platform), random_at = (platform_at & ~15ul) - sizeof(seed);
	const char *string = args->buf;
	int error;

	random_bytes(seed, sizeof(seed));
	*to++ = (uint64_t)args->argc;
	img->arg_start = at;
	to = pointers(to, &string, &at, args->argc);
	img->arg_end = at;
	to = pointers(to, &string, &at, args->envc);
	img->env_end = at;
	to = auxiliary(to, img, at, platform_at, random_at);	/* behind them lies the path */
	n = (size_t)(to - words);
	img->sp = (random_at - n * sizeof(*words)) & ~15ul;
	error = copyout(args->buf, strings, args->used);
	if (error == 0)
		error = copyout(platform, platform_at, sizeof(platform));
	if (error == 0)
		error = copyout(seed, random_at, sizeof(seed));
	if (error == 0)
		error = copyout(words, img->sp, n * sizeof(*words));
	kfree(words, &M_STACK);
	return (error == EFAULT ? E2BIG : error);
}
