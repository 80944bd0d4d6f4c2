/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * execve: a process exchanges its program.
 *
 *	collect the strings    into kernel memory, for the old address space will be gone
 *	find the program	a script's "#!" line leads to another file, up to four times
 *	build			a new address space, mapped and with its stack filled, loaded on this CPU
 *	the point of no return	other threads end; signals, descriptors and names change; the old space goes
 *
 * Everything that can fail comes before the point of no return: then the old address space is loaded again and
 * the caller gets an error, as if nothing had happened.  No page of the program is read but its first one and
 * the one that has both data and bss: the rest comes by faults.
 */
#include "kernel/user/exec.h"

#include "kernel/amd64/machdep.h"
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/user/file.h"
#include "kernel/user/proc_impl.h"
#include "kernel/user/syscall.h"
#include "vm/vm_kern.h"
#include "vm/vm_map.h"

#define AT_SYMLINK_NOFOLLOW	0x100
#define AT_EMPTY_PATH		0x1000
#define SCRIPT_DEPTH	4
#define SCRIPT_LINE	256		/* of a "#!" line, so much counts */
#define ARGS_START	(16 * KiB)

static MALLOC_DEFINE(M_EXEC, "exec");

/* ---- strings ---- */

static void
args_free(struct exec_args *args)
{
	kfree(args->buf, &M_EXEC);
}

/* Make room for `more` bytes.  E2BIG: over the limit. */
static int
args_room(struct exec_args *args, size_t more)
{
	size_t pointers = (size_t)(args->argc + args->envc + 2) * sizeof(uint64_t);
	size_t size = args->size;
	char *buf;

	if (args->used + more + pointers > EXEC_BYTES_MAX)
		return (E2BIG);
	while (size < args->used + more)
		size = size == 0 ? ARGS_START : 2 * size;
	if (size == args->size)
		return (0);
	buf = kmalloc(size, &M_EXEC, M_WAITOK);
	if (args->used > 0)
		memcpy(buf, args->buf, args->used);
	kfree(args->buf, &M_EXEC);
	args->buf = buf;
	args->size = size;
	return (0);
}

static int
args_add(struct exec_args *args, const char *s)
{
	size_t len = strlen(s) + 1;
	int error = args_room(args, len);

	if (error == 0) {
		memcpy(args->buf + args->used, s, len);
		args->used += len;
	}
	return (error);
}

/* One string of the program's. */
static int
args_add_user(struct exec_args *args, vm_offset_t from)
{
	size_t start = args->used, room, done;
	int error;

	for (;;) {
		error = args_room(args, 256);
		if (error != 0)
			return (error);
		room = args->size - args->used;
		error = copyinstr(from + (args->used - start), args->buf + args->used, room, &done);
		args->used += done;
		if (args->used - start > EXEC_STRING_MAX)
			return (E2BIG);
		if (error != ENAMETOOLONG)
			return (error);
	}
}

/* A NULL-terminated vector of the program's; 0 is an empty one, as on Linux. */
static int
args_add_user_vector(struct exec_args *args, vm_offset_t vector, int *count)
{
	uint64_t pointer;
	int error = 0;

	for (; vector != 0; vector += sizeof(pointer)) {
		error = copyin(vector, &pointer, sizeof(pointer));
		if (error != 0 || pointer == 0)
			break;
		error = args_add_user(args, pointer);
		if (error != 0)
			break;
		(*count)++;
	}
	return (error);
}

/* Replace the first `drop` strings of argv by these. */
static int
args_prepend(struct exec_args *args, const char *const *first, int n, int drop)
{
	struct exec_args new = { .envc = args->envc, .argc = args->argc - drop + n };
	size_t skip = 0, rest;
	int i, error = 0;

	for (i = 0; i < drop; i++)
		skip += strlen(args->buf + skip) + 1;
	rest = args->used - skip;
	for (i = 0; i < n && error == 0; i++)
		error = args_add(&new, first[i]);
	if (error == 0)
		error = args_room(&new, rest);
	if (error != 0) {
		args_free(&new);
		return (error);
	}
	if (rest > 0)
		memcpy(new.buf + new.used, args->buf + skip, rest);
	new.used += rest;
	args_free(args);
	*args = new;
	return (0);
}

/* ---- finding the program ---- */

/* A file that may be executed; AT_EMPTY_PATH: what dirfd itself is.  0: *vpp referenced. */
static int
program_open(int dirfd, const char *path, int at_flags, struct vnode **vpp)
{
	struct vattr va;
	struct vnode *vp;
	int error;

	if (at_flags & AT_EMPTY_PATH) {
		error = vnode_of_fd(dirfd, &vp);
		if (error == EINVAL)
			error = EACCES;		/* a pipe is no program */
	} else {
		error = fs_lookup(dirfd, path, at_flags & AT_SYMLINK_NOFOLLOW ? NAMEI_NOFOLLOW : 0, &vp);
	}
	if (error != 0)
		return (error);
	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	VOP_UNLOCK(vp);
	if (error == 0 && (vp->v_type != VREG || (va.va_mode & 0111) == 0))
		error = EACCES;
	if (error != 0)
		vrele(vp);
	else
		*vpp = vp;
	return (error);
}

/*
 * Take a "#!" line apart, in place: the interpreter's path and, if there is more, all of it as one argument.
 * false: there is no interpreter.
 */
static bool
script_parse(char *line, char **interp, char **arg)
{
	char *end = strchr(line, '\n');

	if (end != NULL)
		*end = '\0';
	for (end = line + strlen(line); end > line && (end[-1] == ' ' || end[-1] == '\t'); )
		*--end = '\0';
	line += 2;
	while (*line == ' ' || *line == '\t')
		line++;
	*interp = line;
	while (*line != '\0' && *line != ' ' && *line != '\t')
		line++;
	*arg = NULL;
	if (*line != '\0') {
		*line++ = '\0';
		while (*line == ' ' || *line == '\t')
			line++;
		*arg = line;
	}
	return (**interp != '\0');
}

/*
 * Follow "#!" lines from img->vp until something else is found; the arguments grow with each.
 * => *path: kernel memory of PATH_MAX + 1 bytes, becomes each interpreter's.
 */
static int
script_follow(struct exec_image *img, struct exec_args *args, char *path)
{
	char line[SCRIPT_LINE], *interp, *arg;
	const char *first[3];
	struct vnode *vp;
	size_t done;
	int depth, error, n;

	for (depth = 0; ; depth++) {
		error = vn_read(img->vp, line, sizeof(line) - 1, 0, &done);
		if (error != 0 || done < 2 || line[0] != '#' || line[1] != '!')
			return (error);
		if (depth == SCRIPT_DEPTH)
			return (ELOOP);
		line[done] = '\0';
		if (!script_parse(line, &interp, &arg))
			return (ENOEXEC);
		n = 0;
		first[n++] = interp;
		if (arg != NULL)
			first[n++] = arg;
		first[n++] = path;
		error = args_prepend(args, first, n, args->argc > 0 ? 1 : 0);
		if (error == 0)
			error = program_open(AT_FDCWD, interp, 0, &vp);
		if (error != 0)
			return (error);
		vrele(img->vp);
		img->vp = vp;
		strlcpy(path, interp, PATH_MAX + 1);
	}
}

/* ---- the exchange ---- */

/* What a thread has at its program's first instruction. */
static void
registers_init(struct uthread *ut, const struct exec_image *img)
{
	struct user_state fresh;

	memset(ut->frame, 0, sizeof(*ut->frame));
	ut->frame->rip = img->entry;
	ut->frame->rsp = img->sp;
	ut->frame->cs = SEL_UCODE;
	ut->frame->ss = SEL_UDATA;
	ut->frame->rflags = RFLAGS_IF | 0x2;
	ut->frame->vector = TRAP_SYSCALL;
	ut->frame->error = ~0ul;
	user_state_init(&fresh);
	user_state_replace(&fresh);
	ut->td->ast = true;			/* not the frame that SYSRET would return to */
}

/* The last component of the path, cut to what Linux shows. */
static void
name_cut(const char *path, char name[16])
{
	const char *slash = strrchr(path, '/');

	strlcpy(name, slash != NULL ? slash + 1 : path, 16);
}

/* The point of no return is behind us.  => only this thread is left; the new address space is loaded. */
static void
become(struct proc *p, struct exec_image *img, struct vmspace *old, const char *name)
{
	struct uthread *ut = curuthread;
	struct vnode *old_text = p->text;

	usage_note_memory(p);
	spin_lock(&proc_lock);
	p->vmspace = img->vm;
	p->execed = true;
	p->exit_signal = SIGCHLD;
	spin_unlock(&proc_lock);
	spin_lock(&proc_parts_lock);
	p->text = img->vp;			/* with the reference of text_ref() */
	spin_unlock(&proc_parts_lock);
	p->brk_start = p->brk = img->end;
	p->lock_future = false;
	p->mmap_top = img->mmap_top;
	p->stack_top = img->stack_top;
	p->arg_start = img->arg_start;
	p->arg_end = img->arg_end;
	p->env_end = img->env_end;
	strlcpy(p->name, name, sizeof(p->name));
	vfork_release(p);
	if (old != NULL)
		vmspace_free(old);
	if (old_text != NULL)
		text_release(old_text);
	signal_exec(p);
	fdtable_unshare(&p->files);
	fdtable_close_on_exec(p->files);
	ut->clear_tid = 0;
	ut->robust_list = 0;
	ut->altstack = ut->altstack_size = 0;
	registers_init(ut, img);
}

static uint64_t
stack_limit(struct proc *p)
{
	uint64_t limit;

	spin_lock(&proc_lock);
	limit = p->limits[RLIMIT_STACK].cur;
	spin_unlock(&proc_lock);
	return (limit);
}

/* Build img's address space with it loaded; on failure the old one is loaded again. */
static int
build(struct exec_image *img, const struct exec_args *args, struct vmspace **old)
{
	int error;

	img->vm = vmspace_alloc();
	if (img->vm == NULL)
		return (ENOMEM);
	*old = thread_set_vmspace(img->vm);
	error = stack_map(img, stack_limit(curproc));
	if (error == 0)
		error = elf_load(img);
	if (error == 0)
		error = stack_fill(img, args);
	if (error == 0)
		error = proc_single_thread();
	if (error != 0) {
		(void)thread_set_vmspace(*old);
		vmspace_free(img->vm);
	}
	return (error);
}

/* => args without the path, path in kernel memory (PATH_MAX + 1 bytes, overwritten). */
static int
exec(int dirfd, char *path, int at_flags, struct exec_args *args)
{
	struct exec_image img = { .vp = NULL };
	struct vmspace *old = NULL;
	struct proc *p = curproc;
	char name[sizeof(p->name)];
	int error;

	error = program_open(dirfd, path, at_flags, &img.vp);
	if (error != 0)
		return (error);
	name_cut(path, name);			/* a script's own, not its interpreter's */
	if (args->argc == 0) {			/* Linux: nobody starts without a name */
		static const char *const empty[] = { "" };

		error = args_prepend(args, empty, 1, 0);
	}
	if (error == 0)
		error = args_add(args, path);
	if (error == 0)
		error = script_follow(&img, args, path);
	if (error == 0)
		error = elf_check(&img);
	if (error == 0)
		error = text_ref(img.vp);
	if (error == 0) {
		error = build(&img, args, &old);
		if (error != 0)
			text_release(img.vp);
	}
	if (img.interp != NULL)
		vrele(img.interp);
	if (error == 0)
		become(p, &img, old, name);
	vrele(img.vp);
	return (error);
}

int
exec_kernel(const char *path, char *const *argv, char *const *envp)
{
	struct exec_args args = { .buf = NULL };
	char *copy = kmalloc(PATH_MAX + 1, &M_EXEC, M_WAITOK);
	int error = 0;

	strlcpy(copy, path, PATH_MAX + 1);
	for (; argv[args.argc] != NULL && error == 0; args.argc++)
		error = args_add(&args, argv[args.argc]);
	for (; envp[args.envc] != NULL && error == 0; args.envc++)
		error = args_add(&args, envp[args.envc]);
	if (error == 0)
		error = exec(AT_FDCWD, copy, 0, &args);
	args_free(&args);
	kfree(copy, &M_EXEC);
	return (error);
}

static int64_t
do_execve(int dirfd, vm_offset_t upath, vm_offset_t argv, vm_offset_t envp, int at_flags)
{
	struct exec_args args = { .buf = NULL };
	char *path = kmalloc(PATH_MAX + 1, &M_EXEC, M_WAITOK);
	int error;

	error = copyinstr(upath, path, PATH_MAX + 1, NULL);
	/* An open file has a name all the same, by which an interpreter finds its script. */
	if (error == 0 && *path != '\0')
		at_flags &= ~AT_EMPTY_PATH;
	else if (error == 0 && (at_flags & AT_EMPTY_PATH))
		snprintf(path, PATH_MAX + 1, "/dev/fd/%d", dirfd);
	else if (error == 0)
		error = ENOENT;
	if (error == 0)
		error = args_add_user_vector(&args, argv, &args.argc);
	if (error == 0)
		error = args_add_user_vector(&args, envp, &args.envc);
	if (error == 0)
		error = exec(dirfd, path, at_flags, &args);
	args_free(&args);
	kfree(path, &M_EXEC);
	return (-error);
}

int64_t
sys_execve(const uint64_t *a)
{
	return (do_execve(AT_FDCWD, a[0], a[1], a[2], 0));
}

int64_t
sys_execveat(const uint64_t *a)
{
	if ((a[4] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
		return (-EINVAL);
	return (do_execve((int)a[0], a[1], a[2], a[3], (int)a[4]));
}
