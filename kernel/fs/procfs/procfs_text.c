/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of /proc say.  Formats are Linux's where a program reads them (free, ps, mount, top).
 *
 * What they say of a process's memory is in procfs_memory.c.
 *
 * A process's fields are copied under proc_lock and written down without it.  Its memory, which exec may replace and exit
 * give up at any moment, is referenced meanwhile; it is shown to those who may send it signals.
 */
#include "kernel/fs/procfs/procfs.h"

#include "drivers/disk.h"
#include "kernel/clock.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/thread.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_fault.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

#define PAGE_KIB	(PAGE_SIZE / KiB)

void
text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	t->len = MIN(t->len + (size_t)n, t->size - 1);
}

/* ---- the machine ---- */

static int
fill_meminfo(struct text *t, int pid)
{
	uint64_t inactive = vm_page_queue_len(PQ_INACTIVE), active = vm_page_queue_len(PQ_ACTIVE);
	uint64_t free = vm_free_count();
	struct swap_info swap;

	swap_info(&swap);
	text_add(t, "MemTotal:     %9lu kB\n", vm_page_count * PAGE_KIB);
	text_add(t, "MemFree:      %9lu kB\n", free * PAGE_KIB);
	text_add(t, "MemAvailable: %9lu kB\n", (free + inactive) * PAGE_KIB);
	text_add(t, "Buffers:      %9lu kB\n", 0ul);
	text_add(t, "Cached:       %9lu kB\n", (active + inactive) * PAGE_KIB);
	text_add(t, "Active:       %9lu kB\n", active * PAGE_KIB);
	text_add(t, "Inactive:     %9lu kB\n", inactive * PAGE_KIB);
	text_add(t, "Dirty:        %9lu kB\n", vm_page_queue_len(PQ_LAUNDRY) * PAGE_KIB);
	text_add(t, "SwapTotal:    %9lu kB\n", swap.disk != NULL ? swap.nblocks * PAGE_KIB : 0ul);
	text_add(t, "SwapFree:     %9lu kB\n", swap.disk != NULL ? (swap.nblocks - swap.inuse) * PAGE_KIB : 0ul);
	return (0);
}

static int
fill_vmstat(struct text *t, int pid)
{
	const char *name;
	uint64_t value;

	for (unsigned i = 0; vm_meter_get(i, &name, &value); i++)
		text_add(t, "%s %lu\n", name, value);
	return (0);
}

/* Faultline's own: how long each page queue is. */
static int
fill_queues(struct text *t, int pid)
{
	for (int q = PQ_FREE; q < PQ_COUNT; q++)
		text_add(t, "%-12s %8u pages\n", vm_pageq_name((unsigned)q), vm_page_queue_len(q));
	text_add(t, "%-12s %8lu, %u of them cached\n", "objects", vm_object_count(), vm_object_cached_count());
	return (0);
}

static int
fill_uptime(struct text *t, int pid)
{
	uint64_t hundredths = clock_ns() / 10000000;

	text_add(t, "%lu.%02lu 0.00\n", hundredths / 100, hundredths % 100);
	return (0);
}

static int
fill_loadavg(struct text *t, int pid)
{
	unsigned loads[3], running, all, last = 0;
	struct proc *p;

	sched_loads(loads, &running, &all);
	spin_lock(&proc_lock);
	TAILQ_FOREACH(p, &all_procs, all_link)
		last = MAX(last, (unsigned)p->pid);
	spin_unlock(&proc_lock);
	for (int i = 0; i < 3; i++)
		text_add(t, "%u.%02u ", loads[i] / 100, loads[i] % 100);
	text_add(t, "%u/%u %u\n", running, all, last);
	return (0);
}

/* Ticks of all CPUs together, a hundredth of a second each: what top wants. */
static int
fill_machine_stat(struct text *t, int pid)
{
	uint64_t user, sys, all = ticks * ncpus;

	proc_ticks(&user, &sys);
	text_add(t, "cpu  %lu 0 %lu %lu 0 0 0 0 0 0\n", user, sys, all - MIN(all, user + sys));
	text_add(t, "btime %lu\n", clock_wall_seconds() - clock_ns() / 1000000000);
	return (0);
}

static int
fill_version(struct text *t, int pid)
{
	text_add(t, "Faultline: Linux system calls over a BSD virtual memory\n");
	return (0);
}

static int
fill_swaps(struct text *t, int pid)
{
	struct vnode *vp = swap_file();
	struct swap_info swap;
	char path[128] = "";

	swap_info(&swap);
	if (vp != NULL && fs_path_of_file(vp, path, sizeof(path)) < 0)
		cache_name_of(vp, path, sizeof(path));
	if (vp != NULL)
		vrele(vp);
	else if (swap.disk != NULL)
		snprintf(path, sizeof(path), "/dev/%s", swap.disk);
	text_add(t, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
	if (swap.disk != NULL)
		text_add(t, "%-39s %s\t%lu\t\t%lu\t\t-2\n", path, swap.file ? "file\t" : "partition",
		    swap.nblocks * PAGE_KIB, swap.inuse * PAGE_KIB);
	return (0);
}

/* Sizes in KiB.  Nothing opens a device by its number here; these are as Linux gives them to virtio disks. */
static int
fill_partitions(struct text *t, int pid)
{
	unsigned minor = 0;

	text_add(t, "major minor  #blocks  name\n\n");
	for (struct disk *dk = disk_next(NULL); dk != NULL; dk = disk_next(dk))
		text_add(t, "%4u  %7u %10lu %s\n", 254, minor++, dk->dk_nsectors * DEV_BSIZE / KiB, dk->dk_name);
	return (0);
}

struct mount_list {
	struct text	*t;
};

static int
add_mount(struct mount *mp, void *arg)
{
	struct mount_list *list = arg;
	const char *from = mp->mnt_stat.f_mntfromname[0] != '\0' ? mp->mnt_stat.f_mntfromname : mp->mnt_op->name;
	char name[NAME_MAX + 1] = "";

	if (mp->mnt_covered == NULL && mp != rootfs)
		return (0);
	if (mp->mnt_covered != NULL)
		cache_name_of(mp->mnt_covered, name, sizeof(name));
	text_add(list->t, "%s%s /%s %s %s 0 0\n", mp->mnt_devvp != NULL ? "/dev/" : "", from, name, mp->mnt_op->name,
	    mp->mnt_flag & MNT_RDONLY ? "ro" : "rw");
	return (0);
}

/* Where a mount stands in the tree: all of ours are directories of the root. */
static int
fill_mounts(struct text *t, int pid)
{
	struct mount_list list = { t };

	return (vfs_foreach(add_mount, &list));
}

static int
fill_self(struct text *t, int pid)
{
	text_add(t, "%d", curproc->pid);
	return (0);
}

static int
fill_mounts_link(struct text *t, int pid)
{
	text_add(t, "self/mounts");
	return (0);
}

const struct procfs_entry procfs_machine[] = {
	{ "self", VLNK, fill_self, NULL }, { "mounts", VLNK, fill_mounts_link, NULL },
	{ "meminfo", VREG, fill_meminfo, NULL }, { "vmstat", VREG, fill_vmstat, NULL },
	{ "queues", VREG, fill_queues, NULL }, { "uptime", VREG, fill_uptime, NULL },
	{ "loadavg", VREG, fill_loadavg, NULL }, { "version", VREG, fill_version, NULL },
	{ "swaps", VREG, fill_swaps, NULL }, { "stat", VREG, fill_machine_stat, NULL },
	{ "partitions", VREG, fill_partitions, NULL }, { NULL, VNON, NULL, NULL },
};

/* ---- a process ---- */

/* vmp: its memory is wanted, referenced.  => ESRCH; EACCES, and ENOENT for a zombie, with vmp only */
int
procfs_look(int pid, struct snapshot *s, struct vmspace **vmp)
{
	struct proc *p;
	int error = 0;

	memset(s, 0, sizeof(*s));
	spin_lock(&proc_lock);
	p = proc_find(pid);
	if (p == NULL) {
		spin_unlock(&proc_lock);
		return (ESRCH);
	}
	*s = (struct snapshot){ .pid = p->pid, .ppid = p->parent != NULL ? p->parent->pid : 0, .pgid = p->pgid,
	    .sid = p->sid, .nthreads = p->nthreads, .uid = p->cred->uid, .gid = p->cred->gid,
	    .user_ticks = p->user_ticks, .sys_ticks = p->sys_ticks, .start_ns = p->start_ns, .max_resident = p->max_resident,
	    .brk_start = p->brk_start, .brk = p->brk, .stack_top = p->stack_top, .arg_start = p->arg_start, .arg_end = p->arg_end,
	    .env_end = p->env_end };
	memcpy(s->name, p->name, sizeof(s->name));
	s->state = p->state == PROC_ZOMBIE ? 'Z' : p->stop_signal != 0 ? 'T' : p == curproc ? 'R' : 'S';
	if (p->vmspace != NULL) {
		s->size = p->vmspace->map.size / PAGE_SIZE;
		s->resident = p->vmspace->pmap.resident_count;
	}
	if (vmp != NULL) {
		error = p->vmspace == NULL ? ENOENT : proc_may_signal(p) ? 0 : EACCES;
		if (error == 0)
			vmspace_ref(p->vmspace);
		*vmp = p->vmspace;
	}
	spin_unlock(&proc_lock);
	return (error);
}

static int
look_at(int pid, struct snapshot *s)
{
	return (procfs_look(pid, s, NULL));
}

static int
fill_stat(struct text *t, int pid)
{
	struct snapshot s;
	int error = look_at(pid, &s);

	if (error != 0)
		return (error);
	text_add(t, "%d (%s) %c %d %d %d %d -1 0 0 0 0 0 %lu %lu 0 0 20 0 %d 0 %lu %lu %lu", s.pid, s.name, s.state, s.ppid,
	    s.pgid, s.sid, s.sid != 0 ? 0x501 : 0, s.user_ticks, s.sys_ticks, s.nthreads, s.start_ns / 10000000,
	    s.size * PAGE_SIZE, s.resident);
	for (int i = 0; i < 28; i++)
		text_add(t, " 0");
	text_add(t, "\n");
	return (0);
}

static int
fill_status(struct text *t, int pid)
{
	struct snapshot s;
	int error = look_at(pid, &s);

	if (error != 0)
		return (error);
	text_add(t, "Name:\t%s\nState:\t%c\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", s.name,
	    s.state, s.pid, s.pid, s.ppid, s.uid, s.uid, s.uid, s.uid, s.gid, s.gid, s.gid, s.gid);
	procfs_status_memory(t, pid);
	text_add(t, "Threads:\t%d\n", s.nthreads);
	return (0);
}

static int
fill_comm(struct text *t, int pid)
{
	struct snapshot s;
	int error = look_at(pid, &s);

	if (error == 0)
		text_add(t, "%s\n", s.name);
	return (error);
}

/* A path that leads to a vnode, as far as one is known; takes over the reference. */
static void
add_path(struct text *t, struct vnode *vp)
{
	size_t room = t->size - t->len;
	int64_t len = vp->v_type == VDIR ? fs_path_of(vp, t->buf + t->len, room) : fs_path_of_file(vp, t->buf + t->len, room);

	if (len >= 0)
		t->len += (size_t)len;
	else if (vp->v_disk != NULL)
		text_add(t, "/dev/%s", vp->v_disk->dk_name);
	else if (vp->v_type == VFIFO && vp->v_mount == NULL)
		text_add(t, "pipe:[%lu]", (uint64_t)(uintptr_t)vp->v_pipe >> 6 & 0xffffffff);
	else
		/* The C library wants a path in any case. */
		text_add(t, "/inode %lu (%s)", (uint64_t)vp->v_ino, vp->v_flag & VNONAME ? "deleted" : "name not known");
	vrele(vp);
}

static int
fill_exe(struct text *t, int pid)
{
	struct vnode *vp;
	int error = proc_text(pid, &vp);

	if (error == 0)
		add_path(t, vp);
	return (error);
}

static int
fill_cwd(struct text *t, int pid)
{
	struct vnode *vp;
	int error = proc_cwd(pid, &vp);

	if (error == 0)
		add_path(t, vp);
	return (error);
}

int
procfs_fd_jump(int pid, int fd, struct vnode **vpp)
{
	struct file *fp;
	int error = proc_file(pid, fd, &fp);

	if (error != 0)
		return (error);
	*vpp = fp->vp;
	if (fp->vp != NULL)
		vref(fp->vp);
	else
		error = pipe_vnode(fp, vpp);
	file_release(fp);
	return (error);
}

int
procfs_fd_text(struct text *t, int pid, int fd)
{
	struct vnode *vp;
	int error = procfs_fd_jump(pid, fd, &vp);

	if (error == 0)
		add_path(t, vp);
	else if (error == ENXIO)
		text_add(t, "anon_inode:[none]");	/* it is open, and has no vnode */
	return (error == ENXIO ? 0 : error);
}

static int
fill_root(struct text *t, int pid)
{
	text_add(t, "/");
	return (0);
}

const struct procfs_entry procfs_process[] = {
	{ "exe", VLNK, fill_exe, proc_text }, { "cwd", VLNK, fill_cwd, proc_cwd }, { "root", VLNK, fill_root, NULL },
	{ "fd", VDIR, NULL, NULL },
	{ "maps", VREG, procfs_maps, NULL }, { "smaps", VREG, procfs_smaps, NULL }, { "stat", VREG, fill_stat, NULL },
	{ "statm", VREG, procfs_statm, NULL }, { "status", VREG, fill_status, NULL }, { "comm", VREG, fill_comm, NULL },
	{ "cmdline", VREG, procfs_cmdline, NULL }, { "environ", VREG, procfs_environ, NULL }, { "mounts", VREG, fill_mounts, NULL },
	{ NULL, VNON, NULL, NULL },
};
