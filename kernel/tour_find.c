/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding a file for the tour on a volume that was not made for it.
 *
 *	folders: [ / ][ /bin ][ /etc ] ...	breadth first; each is read once
 *
 * The walk is bounded in folders, in entries and in the length of a path, for the volume may be
 * huge or damaged. What cannot be read is skipped.  A directory's entries are collected first
 * and looked at afterwards: VOP_READDIR calls back with a buffer held.
 */
#include "kernel/fs/vnode.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "kernel/tour.h"

static MALLOC_DEFINE(M_TOURFIND, "tour search");

#define FOLDERS_MAX	24
#define ENTRIES_MAX	2000
#define PATH_BYTES	160

struct search {
	char		folders[FOLDERS_MAX][PATH_BYTES];
	unsigned	nfolders;
	unsigned	entries;	/* looked at so far */
	/* the entry that the callback has taken */
	char		name[NAME_MAX + 1];
	enum vtype	type;
	bool		taken;
};

/* Take one entry and stop at the next, so that it can be looked at with nothing held. */
static int
take_entry(void *arg, const struct dirent *de)
{
	struct search *s = arg;

	if (s->taken)
		return (1);
	strlcpy(s->name, de->d_name, sizeof(s->name));
	s->type = de->d_type;
	s->taken = true;
	return (0);
}

/* Is it what we look for? */
static bool
suits(struct vnode *vp)
{
	struct vattr va;
	int error;

	VOP_LOCK(vp, LK_SHARED);
	error = VOP_GETATTR(vp, &va);
	VOP_UNLOCK(vp);
	return (error == 0 && va.va_type == VREG && va.va_size >= TOUR_PAGES_MIN * PAGE_SIZE &&
	    va.va_blocks * DEV_BSIZE >= va.va_size);
}

/* The entry that was taken: true when it is the file.  A folder is put on the list. */
static bool
look_at(struct search *s, const char *folder, char *path, size_t size)
{
	struct vnode *vp;
	bool found = false;
	int len;

	if (s->name[0] == '.' || streq(s->name, "lost+found") ||
	    (s->type != VREG && s->type != VDIR && s->type != VNON))
		return (false);
	len = snprintf(path, size, "%s%s%s", folder, streq(folder, "/") ? "" : "/", s->name);
	if ((size_t)len >= size)
		return (false);
	if (namei(path, NULL, NAMEI_NOFOLLOW, &vp) != 0)
		return (false);
	if (vp->v_type == VDIR && s->nfolders < FOLDERS_MAX && strlen(path) < PATH_BYTES)
		strlcpy(s->folders[s->nfolders++], path, PATH_BYTES);
	else if (vp->v_type == VREG)
		found = suits(vp);
	vrele(vp);
	return (found);
}

static bool
search_folder(struct search *s, const char *folder, char *path, size_t size)
{
	struct vnode *dvp;
	bool found = false;
	off_t off = 0;

	if (namei(folder, NULL, 0, &dvp) != 0)
		return (false);
	while (!found && s->entries++ < ENTRIES_MAX) {
		int error;

		s->taken = false;
		VOP_LOCK(dvp, LK_SHARED);
		error = VOP_READDIR(dvp, &off, take_entry, s);
		VOP_UNLOCK(dvp);
		if (error != 0 || !s->taken)
			break;
		found = look_at(s, folder, path, size);
	}
	vrele(dvp);
	return (found);
}

bool
tour_find(char *path, size_t size)
{
	struct search *s = kmalloc(sizeof(*s), &M_TOURFIND, M_WAITOK | M_ZERO);
	bool found = false;

	strlcpy(s->folders[s->nfolders++], "/", PATH_BYTES);
	for (unsigned i = 0; i < s->nfolders && !found; i++)
		found = search_folder(s, s->folders[i], path, size);
	kfree(s, &M_TOURFIND);
	return (found);
}
