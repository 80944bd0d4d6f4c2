/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The monitor's commands about volumes: mount, umount, remount, sync, mounts, swap.
 *
 * A volume is named by its disk.
 */
#include "drivers/disk.h"
#include "drivers/part.h"
#include "kernel/fs/buf.h"
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/monitor.h"
#include "vm/swap_pager.h"

static const char *
disk_name(const char *word)
{
	return (strncmp(word, "/dev/", 5) == 0 ? word + 5 : word);
}

/* A disk's mount. */
struct search {
	const char	*name;
	struct mount	*mp;
};

static int
match_mount(struct mount *mp, void *arg)
{
	struct search *s = arg;

	if (!streq(mp->mnt_stat.f_mntfromname, s->name))
		return (0);
	s->mp = mp;
	return (1);
}

/* The volume that a command names, or NULL, after one sentence. */
static struct mount *
find_mount(char **argv)
{
	struct search s = { .name = disk_name(argv[1]) };

	(void)vfs_foreach(match_mount, &s);
	if (s.mp == NULL)
		printf("%s: nothing is mounted from %s\n", argv[0], s.name);
	return (s.mp);
}

static void
say(char **argv, int error)
{
	if (error != 0)
		printf("%s: %s: %s\n", argv[0], disk_name(argv[1]), errno_name(error));
}

void
cmd_mount(int argc, char **argv)
{
	struct disk *disk = disk_by_word(argv[1]);
	bool readonly = argc == 4;
	struct vnode *covered;
	struct mount *mp;
	int error;

	if (disk == NULL || (readonly && !streq(argv[3], "ro"))) {
		printf("mount: %s\n", disk == NULL ? "there is no such disk; `disks` lists them" :
		    "the last word can only be ro");
		return;
	}
	error = namei(argv[2], NULL, 0, &covered);
	if (error != 0) {
		printf("mount: %s: %s\n", argv[2], errno_name(error));
		return;
	}
	error = vfs_mount("ext2", disk, "", readonly ? MNT_RDONLY : 0, &mp);
	if (error == 0 && (error = vfs_mount_on(mp, covered)) != 0)
		(void)vfs_unmount(mp);
	vrele(covered);
	say(argv, error);
}

void
cmd_umount(int argc, char **argv)
{
	struct mount *mp = find_mount(argv);
	bool force = argc == 3;

	if (force && !streq(argv[2], "force"))
		printf("umount: the last word can only be force\n");
	else if (mp != NULL)
		say(argv, force ? vfs_unmount_forced(mp) : vfs_unmount(mp));
}

void
cmd_remount(int argc, char **argv)
{
	struct mount *mp = find_mount(argv);

	if (!streq(argv[2], "ro") && !streq(argv[2], "rw"))
		printf("remount: the last word is ro or rw\n");
	else if (mp != NULL)
		say(argv, vfs_remount(mp, streq(argv[2], "ro") ? MNT_RDONLY : 0));
}

void
cmd_sync(int argc, char **argv)
{
	int error = vfs_sync_all(true);

	if (error != 0)
		printf("sync: %s\n", errno_name(error));
}

void
cmd_swap(int argc, char **argv)
{
	struct swap_info info;
	int error = 0;

	if (argc == 2)
		error = streq(argv[1], "off") ? swap_off() : swap_on_word(argv[1]);
	if (error != 0)
		printf("swap: %s: %s\n", argv[1], errno_name(error));
	swap_info(&info);
	if (info.disk == NULL)
		printf("swap is off\n");
	else
		printf("swap: %s%s, %u pages, %u of them in use\n", info.file ? "a file on " : "", info.disk,
		    info.nblocks, info.inuse);
}

static int
show_mount(struct mount *mp, void *arg)
{
	char name[NAME_MAX + 1] = "nowhere";
	struct statfs st;
	int error = mp->mnt_op->statfs != NULL ? mp->mnt_op->statfs(mp, &st) : EOPNOTSUPP;

	++*(int *)arg;
	if (mp == rootfs)
		strlcpy(name, "/", sizeof(name));
	else if (mp->mnt_covered != NULL)
		cache_name_of(mp->mnt_covered, name, sizeof(name));
	if (error != 0)
		printf("%s: statfs fails: %s\n", name, errno_name(error));
	else
		printf("%s: %s on %s%s, %lu blocks of %u bytes (%lu free), %lu inodes (%lu free)\n",
		    name, st.f_fstypename, mp->mnt_stat.f_mntfromname,
		    mp->mnt_flag & MNT_RDONLY ? " (read-only)" : "", st.f_blocks, st.f_bsize,
		    st.f_bfree, st.f_files, st.f_ffree);
	return (0);
}

void
cmd_mounts(int argc, char **argv)
{
	struct bio_stats bio;
	struct cache_stats names;
	int count = 0;

	(void)vfs_foreach(show_mount, &count);
	if (count == 0)
		printf("No volume is mounted.\n");
	bio_get_stats(&bio);
	cache_get_stats(&names);
	printf("vnodes: %d, in use %d\n", vnode_count(), vnode_inuse());
	printf("name cache: %lu of at most %lu entries; %lu hits, %lu \"no such name\", %lu misses\n",
	    names.entries, names.entries_max, names.hits, names.negative_hits, names.misses);
	printf("metadata buffers: %lu, %lu of at most %lu bytes; %lu hits, %lu misses\n", bio.count,
	    bio.bytes, bio.bytes_max, bio.hits, bio.misses);
}
