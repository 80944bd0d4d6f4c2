/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's table of contents.
 *
 *	kernel_main	on the boot stack, interrupts off: up to the first thread; then it becomes the idle thread
 *	main_thread	everything that may sleep, and what this boot is for
 */
#include "kernel/main.h"
#include "boot/boot_info.h"
#include "drivers/disk.h"
#include "drivers/fw_cfg.h"
#include "drivers/part.h"
#include "drivers/pci.h"
#include "drivers/ps2kbd.h"
#include "drivers/screen.h"
#include "kernel/amd64/machdep.h"
#include "kernel/clock.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/devfs/devfs.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/fs/vnode.h"
#include "kernel/kasan.h"
#include "kernel/kassert.h"
#include "kernel/lib/errno.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/random.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "kernel/user/file.h"
#include "kernel/user/proc.h"
#include "kernel/yieldpoint.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_kern.h"
#include "vm/vm_laundry.h"
#include "vm/vm_map.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_swapout.h"
#include "vm/vm_torture.h"

const struct boot_info *boot_info;

/* The loader's command line, then fw_cfg's. */
static void
read_cmdline(const struct boot_info *bi)
{
	static char line[CMDLINE_MAX];
	size_t len;

	len = strlcpy(line, bi->cmdline, sizeof(line));
	if (len > 0)
		line[len++] = ' ';
	if (fw_cfg_read("opt/faultline/cmdline", line + len, sizeof(line) - len) < 0)
		line[len] = '\0';
	cmdline_init(line);
}

static void
print_machine(const struct boot_info *bi)
{
	uint64_t usable = 0;
	uint32_t i;

	for (i = 0; i < bi->nmem; i++)
		if (bi->mem[i].type == BOOT_MEM_USABLE)
			usable += bi->mem[i].len;
	printf("Faultline: %lu KiB of RAM, image at 0x%lx (%lu KiB), started through %s\n", usable / KiB,
	    bi->kernel_phys, bi->kernel_len / KiB, boot_path_name(bi->path));
	printf("cpu: %s%s%s%s%s%s\n", cpu_features.brand, cpu_features.nx ? ", NX" : "",
	    cpu_features.smep ? ", SMEP" : "", cpu_features.smap ? ", SMAP" : "",
	    cpu_features.pge ? ", PGE" : "", cpu_features.pdpe1gb ? ", 1 GiB pages" : "");
	if (bi->cmdline[0] != '\0')
		printf("boot: the loader's command line is \"%s\"\n", bi->cmdline);
	if (bi->clipped > 0)
		printf("boot: %u entries of the firmware's memory map had to be mended\n", bi->clipped);
}

/* The first program; its status, as the machine's exit status has room for it. */
static int
run_init(const char *path, const char *args)
{
	int status, code;

	devfs_init();
	vfs_mount_at("tmpfs", "/tmp");
	vfs_mount_at("proc", "/proc");
	tty_init();
	status = init_run(path, args);
	if (status < 0) {
		printf("init: %s: %s\n", path, errno_name(-status));
		return (110);
	}
	code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8;
	printf("init: %s ended with status %d\n", path, code);
	return (MIN(code, 110));
}

#define SHELL	"/bin/sh"
#define RAM_LEAST	(4 * MiB)	/* without the kernel's image */

/* Somebody sits at the console: give him a shell; a volume without one leads to the monitor. */
static int
run_shell(void)
{
	struct vnode *vp;

	if (namei(SHELL, NULL, 0, &vp) != 0) {
		monitor_main();
		return (0);
	}
	vrele(vp);
	return (run_init(SHELL, "-l"));
}

/* What this boot is for, said by the command line. */
static int
run(void)
{
	const char *selftest = cmdline_get("selftest");

	if (selftest != NULL && !harness_mode(selftest))
		return (ktest_main());
	if (cmdline_has("bench"))
		return (bench_main());
	if (cmdline_has("init"))
		return (run_init(cmdline_get("init"), cmdline_init_args()));
	if (cmdline_has("tour") || !cmdline_has("monitor"))
		tour_main();
	if (cmdline_has("monitor"))
		monitor_main();
	else if (cmdline_has("interactive"))
		return (run_shell());
	return (0);
}

static void
main_thread(void *arg)
{
	int error, status;

	smp_init();
	console_init_irq();
	ps2kbd_init();
	screen_start();
	trace_serial_init();
	vm_object_init();
	vm_map_init();
	vm_pager_init();
	vm_pageout_init();
	vm_laundry_init();
	vm_swapout_init();
	vm_torture_init();
	yield_points_init();
	bio_init();
	vfs_init();
	disk_init();
	pci_init();
	part_scan(ext2_vfsops.probe);
	error = mount_root();
	if (error != 0)
		printf("root: not mounted: %s\n", errno_name(error));
	swap_boot();
	proc_init();
	if (cmdline_has("aslr"))
		random_fix(cmdline_u64("aslr", 0));
	status = run();
	swap_shutdown();
	vfs_shutdown();
	trace_serial_flush();
	machine_exit(status);
}

/* The word mem=: bytes of RAM to use, unless the kernel cannot start with so few. */
static uint64_t
ram_limit(void)
{
	uint64_t limit = cmdline_u64("mem", UINT64_MAX);

	if (limit >= RAM_LEAST)
		return (limit);
	printf("mem: %lu KiB of RAM are too few, %lu are the least; all of it is used\n", limit / KiB, RAM_LEAST / KiB);
	return (UINT64_MAX);
}

void
kernel_main(struct boot_info *bi)
{
	struct thread *td;

	cpu_init_early();
	console_init_early();
	KASSERT(bi->magic == BOOT_INFO_MAGIC, "boot_info without its magic number");
	boot_info = bi;
	read_cmdline(bi);
	screen_init(bi, EARLY_MAP_END);
	boot_info_limit(bi, ram_limit());
	print_machine(bi);
	/* Firmware that keeps its tables at the end of very little RAM does not care that we are there. */
	if (bi->kernel_outside > 0)
		panic("too little memory: %lu bytes of the kernel lie where the firmware's map has no RAM to use",
		    bi->kernel_outside);
	acpi_init(bi);

	pmap_bootstrap(bi);
	screen_init(bi, DMAP_SIZE);
	kasan_init();
	stack_guards_init();
	vm_page_init(bi);
	kmalloc_init();
	vm_kern_init();
	pmap_init();

	trace_init();
	intr_init();
	clock_init();
	sched_init();
	thread_init();
	td = thread_create("main", PRI_KERNEL, main_thread, NULL);
	KASSERT(td != NULL, "no memory for the main thread");
	thread_detach(td);
	sched_start_cpu();
}
