/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a path to a vnode.
 *
 *	text  "/usr/bin/../lib/x"	what is still to be walked, in a buffer of our own
 *	        ^ at
 *	dvp				where we are: a referenced directory
 *
 * One step takes one component: "." stays, ".." goes up (also out of a mounted filesystem, to the
 * directory that it covers), a name goes through VOP_LOOKUP and then down into whatever is mounted
 * there.  A symbolic link that must be followed is put in front of the rest of the text, and the
 * walk goes on, from the link's directory or from the root: no recursion, and at most SYMLINKS_MAX
 * links.
 *
 * A link of /proc is no text: it leads to the very file (VOP_JUMP), also if that has no name any more.
 *
 * A slash at the end says that the name must be a directory, and follows a final link.
 *
 * Only one vnode is locked at any time, the directory being searched, and none when we return.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"

static MALLOC_DEFINE(M_NAMEI, "paths");

struct nameidata {
	char		*text;		/* PATH_MAX + 1 bytes */
	char		*spare;		/* as many, for joining a link and the rest */
	char		*at;		/* in text: the component to look at next */
	struct vnode	*dvp;		/* referenced; in the end the answer */
	int		 flags;
	int		 links;		/* symbolic links followed */
};

static size_t
count_slashes(const char *s)
{
	size_t n = 0;

	while (s[n] == '/')
		n++;
	return (n);
}

/* Go to `vp`, whose reference becomes ours. */
static void
namei_move(struct nameidata *nd, struct vnode *vp)
{
	vrele(nd->dvp);
	nd->dvp = vp;
}

/*
 * Go up until we are not at the root of a filesystem that covers a directory.
 *
 * => true: we are at a root all the same, one that covers nothing: there is no way up.
 */
static bool
namei_leave_mounts(struct nameidata *nd)
{
	struct vnode *covered;
	bool root;

	for (;;) {
		spin_lock(&vnode_list_lock);
		root = (nd->dvp->v_flag & VROOT) != 0;
		covered = NULL;
		if (root && nd->dvp->v_mount != NULL)
			covered = nd->dvp->v_mount->mnt_covered;
		if (covered != NULL && !vget_locked(covered))
			covered = NULL;
		spin_unlock(&vnode_list_lock);
		if (covered == NULL)
			return (root);
		namei_move(nd, covered);
	}
}

/* If something is mounted on *vpp, go to its root, and so on.  => *vpp referenced, replaced. */
static int
namei_enter_mounts(struct vnode **vpp)
{
	struct vnode *root;
	int error;

	while ((*vpp)->v_type == VDIR) {
		error = vfs_root_of(*vpp, &root);
		if (error == ENOENT)
			return (0);
		if (error != 0)
			return (error);
		vrele(*vpp);
		*vpp = root;
	}
	return (0);
}

/* Look one name up in the directory where we are.  0: *vpp referenced, mounts crossed. */
static int
namei_lookup(struct nameidata *nd, const char *name, size_t len, struct vnode **vpp)
{
	bool stay = len == 1 && name[0] == '.';
	int error;

	if (len == 2 && name[0] == '.' && name[1] == '.')
		stay = namei_leave_mounts(nd);
	if (stay) {
		vref(nd->dvp);
		*vpp = nd->dvp;
		return (0);
	}
	VOP_LOCK(nd->dvp, LK_SHARED);
	error = VOP_LOOKUP(nd->dvp, name, len, vpp);
	VOP_UNLOCK(nd->dvp);
	if (error != 0)
		return (error);
	error = namei_enter_mounts(vpp);
	if (error != 0)
		vrele(*vpp);
	return (error);
}

/*
 * Put the target of a symbolic link in front of what is left of the path.
 *
 * => vp: the link, referenced; the reference is given up.
 */
static int
namei_follow(struct nameidata *nd, struct vnode *vp)
{
	size_t len = 0, rest = strlen(nd->at);
	struct vnode *root;
	char *swap;
	int error;

	if (++nd->links > SYMLINKS_MAX) {
		vrele(vp);
		return (ELOOP);
	}
	error = VOP_JUMP(vp, &root);
	if (error != EOPNOTSUPP) {
		vrele(vp);
		if (error != 0)
			return (error);
		namei_move(nd, root);
		return (rest > 0 && root->v_type != VDIR ? ENOTDIR : 0);
	}
	VOP_LOCK(vp, LK_SHARED);
	error = VOP_READLINK(vp, nd->spare, PATH_MAX, &len);
	VOP_UNLOCK(vp);
	vrele(vp);
	if (error != 0)
		return (error);
	if (len == 0)
		return (ENOENT);
	if (len + rest > PATH_MAX)
		return (ENAMETOOLONG);
	memcpy(nd->spare + len, nd->at, rest + 1);
	swap = nd->text;
	nd->text = nd->at = nd->spare;
	nd->spare = swap;
	if (nd->text[0] != '/')
		return (0);
	error = vfs_root_of(NULL, &root);
	if (error == 0)
		namei_move(nd, root);
	return (error);
}

/* Walk one component.  => nd->at is at its first byte. */
static int
namei_step(struct nameidata *nd)
{
	const char *name = nd->at;
	struct vnode *vp;
	size_t len = 0;
	bool slash, last;
	int error;

	while (name[len] != '/' && name[len] != '\0')
		len++;
	if (len > NAME_MAX)
		return (ENAMETOOLONG);
	if (nd->dvp->v_type != VDIR)
		return (ENOTDIR);
	slash = name[len] == '/';
	last = name[len + count_slashes(name + len)] == '\0';
	error = namei_lookup(nd, name, len, &vp);
	if (error != 0)
		return (error);
	nd->at += len;
	if (vp->v_type == VLNK && (!last || slash || (nd->flags & NAMEI_NOFOLLOW) == 0))
		return (namei_follow(nd, vp));
	namei_move(nd, vp);
	return (slash && vp->v_type != VDIR ? ENOTDIR : 0);
}

static int
namei_walk(struct nameidata *nd)
{
	int error = 0;

	while (error == 0) {
		nd->at += count_slashes(nd->at);
		if (*nd->at == '\0')
			break;
		error = namei_step(nd);
	}
	return (error);
}

int
namei(const char *path, struct vnode *start, int flags, struct vnode **vpp)
{
	struct nameidata nd = { .flags = flags };
	size_t len = strnlen(path, PATH_MAX + 1);
	int error = 0;

	*vpp = NULL;
	if (len > PATH_MAX)
		return (ENAMETOOLONG);
	if (len == 0)
		return (ENOENT);
	if (start != NULL && path[0] != '/') {
		vref(start);
		nd.dvp = start;
	} else {
		error = vfs_root_of(NULL, &nd.dvp);
		if (error != 0)
			return (error);
	}
	nd.text = kmalloc(PATH_MAX + 1, &M_NAMEI, M_WAITOK);
	nd.spare = kmalloc(PATH_MAX + 1, &M_NAMEI, M_WAITOK);
	memcpy(nd.text, path, len);
	nd.text[len] = '\0';
	nd.at = nd.text;
	error = namei_walk(&nd);
	kfree(nd.text, &M_NAMEI);
	kfree(nd.spare, &M_NAMEI);
	if (error != 0)
		vrele(nd.dvp);
	else
		*vpp = nd.dvp;
	return (error);
}

int
namei_parent(const char *path, struct vnode *start, struct name_place *place)
{
	size_t end = strnlen(path, PATH_MAX + 1), first;
	char *dir;
	int error;

	place->dvp = NULL;
	if (end > PATH_MAX)
		return (ENAMETOOLONG);
	if (end == 0)
		return (ENOENT);
	place->slash = path[end - 1] == '/';
	while (end > 0 && path[end - 1] == '/')
		end--;
	if (end == 0)
		return (EEXIST);
	for (first = end; first > 0 && path[first - 1] != '/'; first--)
		continue;
	if (end - first > NAME_MAX)
		return (ENAMETOOLONG);
	place->len = end - first;
	memcpy(place->name, path + first, place->len);
	place->name[place->len] = '\0';
	dir = kmalloc(first + 2, &M_NAMEI, M_WAITOK);
	strlcpy(dir, first > 0 ? path : ".", first > 0 ? first + 1 : 2);
	error = namei(dir, start, 0, &place->dvp);
	kfree(dir, &M_NAMEI);
	if (error == 0 && place->dvp->v_type != VDIR) {
		vrele(place->dvp);
		place->dvp = NULL;
		error = ENOTDIR;
	}
	return (error);
}
