/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Directories of a tmpfs.
 *
 * Each entry is in two trees: by name, for lookups, and by cookie, for reading the directory.  A
 * cookie is given out once, so a reader who goes on from one finds the next entry that still exists,
 * whatever was removed in between, and sees none twice.  There is nothing for the name cache to do: a
 * lookup here costs as little as one there.
 *
 * Memory is allocated before tm_lock is taken and freed after it is let go.  Under it the checks are
 * made and the whole change follows, which cannot fail any more.
 */
#include "kernel/clock.h"
#include "kernel/fs/tmpfs/tmpfs.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"

#define VTOM(vp)	MTOT((vp)->v_mount)
#define BY_NAME(n)	container_of(n, struct tmpfs_dirent, by_name)
#define BY_COOKIE(n)	container_of(n, struct tmpfs_dirent, by_cookie)

/* ---- entries; all with tm_lock held ---- */

static int
name_compare(const char *name, size_t len, const struct tmpfs_dirent *de)
{
	return (len != de->len ? (len < de->len ? -1 : 1) : memcmp(name, de->name, len));
}

static struct tmpfs_dirent *
entry_find(struct tmpfs_node *dir, const char *name, size_t len)
{
	struct rb_node *n = dir->names.root;
	int c;

	while (n != NULL && (c = name_compare(name, len, BY_NAME(n))) != 0)
		n = n->child[c > 0];
	return (n != NULL ? BY_NAME(n) : NULL);
}

/* The first entry with this cookie or a later one. */
static struct tmpfs_dirent *
entry_from(struct tmpfs_node *dir, off_t cookie)
{
	struct rb_node *n = dir->cookies.root, *best = NULL;

	while (n != NULL) {
		bool later = BY_COOKIE(n)->cookie < cookie;

		if (!later)
			best = n;
		n = n->child[later];
	}
	return (best != NULL ? BY_COOKIE(best) : NULL);
}

static void
dir_touch(struct tmpfs_node *dir)
{
	dir->mtime = dir->ctime = (int64_t)clock_wall_seconds();
}

/* Put an entry into a directory that has none of this name.  The reference on its node is the entry's. */
static void
entry_insert(struct tmpfs_node *dir, struct tmpfs_dirent *de)
{
	struct rb_node *parent = NULL, *n = dir->names.root;
	int side = 0;

	while (n != NULL) {
		parent = n;
		side = name_compare(de->name, de->len, BY_NAME(n)) > 0;
		n = n->child[side];
	}
	rb_insert(&dir->names, parent, side, &de->by_name, NULL);
	de->cookie = dir->next_cookie++;
	rb_insert(&dir->cookies, rb_last(&dir->cookies), 1, &de->by_cookie, NULL);
	dir->nentries++;
	if (de->node->type == VDIR) {
		de->node->parent = dir;
		dir->nlink++;
	}
	dir_touch(dir);
}

static void
entry_remove(struct tmpfs_node *dir, struct tmpfs_dirent *de)
{
	rb_remove(&dir->names, &de->by_name, NULL);
	rb_remove(&dir->cookies, &de->by_cookie, NULL);
	dir->nentries--;
	if (de->node->type == VDIR)
		dir->nlink--;
	dir_touch(dir);
}

/* ---- entries, without the lock ---- */

static struct tmpfs_dirent *
entry_alloc(const char *name, size_t len, struct tmpfs_node *node)
{
	struct tmpfs_dirent *de = kmalloc(sizeof(*de) + len, &M_TMPFS, M_WAITOK | M_ZERO);

	de->node = node;
	de->len = (uint8_t)len;
	memcpy(de->name, name, len);
	return (de);
}

void
tmpfs_dir_destroy(struct tmpfs_node *dir)
{
	struct rb_node *n;

	while ((n = rb_first(&dir->cookies)) != NULL) {
		rb_remove(&dir->cookies, n, NULL);
		kfree(BY_COOKIE(n), &M_TMPFS);
	}
}

/*
 * A node lost a name: give up the entry's reference.  If nobody uses the file any more its pages go
 * now, not when its idle vnode is recycled.
 */
static void
name_gone(struct tmpfs_mount *tm, struct tmpfs_node *node)
{
	struct vnode *vp;

	spin_lock(&vnode_list_lock);
	vp = node->vnode;
	if (vp != NULL && !vget_locked(vp))
		vp = NULL;		/* being recycled: that frees the node */
	spin_unlock(&vnode_list_lock);
	tmpfs_node_rele(tm, node);
	if (vp != NULL)
		vrele(vp);		/* VOP_INACTIVE looks at the link count */
}

static bool
is_dots(const char *name, size_t len)
{
	return (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

static int
name_check(const struct vnode *dvp, size_t len)
{
	if (dvp->v_type != VDIR)
		return (ENOTDIR);
	return (len > NAME_MAX ? ENAMETOOLONG : len == 0 ? ENOENT : 0);
}

/* The same for a name that is to be made or to go. */
static int
change_check(const struct vnode *dvp, size_t len)
{
	int error = name_check(dvp, len);

	return (error == 0 && VTOM(dvp)->tm_rdonly ? EROFS : error);
}

/* Is something mounted on this directory?  => tm_lock held */
static bool
is_mounted_on(struct tmpfs_node *node)
{
	bool covered;

	spin_lock(&vnode_list_lock);
	covered = node->vnode != NULL && node->vnode->v_mountedhere != NULL;
	spin_unlock(&vnode_list_lock);
	return (covered);
}

/* ---- looking ---- */

int
tmpfs_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	struct tmpfs_mount *tm = VTOM(dvp);
	struct tmpfs_node *dir = VTOT(dvp), *node = NULL;
	struct tmpfs_dirent *de;
	int error = name_check(dvp, len);

	*vpp = NULL;
	if (error != 0)
		return (error);
	mutex_lock(&tm->tm_lock);
	if (is_dots(name, len)) {
		node = len == 1 ? dir : dir->nlink > 0 ? dir->parent : NULL;
	} else {
		de = entry_find(dir, name, len);
		node = de != NULL ? de->node : NULL;
	}
	if (node != NULL)
		node->refs++;
	mutex_unlock(&tm->tm_lock);
	if (node == NULL)
		return (ENOENT);
	error = tmpfs_vget(tm, node, vpp);
	tmpfs_node_rele(tm, node);
	return (error);
}

/* "." or "..".  Returns what fn says. */
static int
emit_dots(struct tmpfs_node *dir, off_t at, dirent_fn fn, void *arg)
{
	struct tmpfs_node *node = at == 0 || dir->nlink == 0 ? dir : dir->parent;
	struct dirent out = { .d_ino = node->ino, .d_next = at + 1, .d_type = VDIR, .d_namlen = (uint8_t)(at + 1),
	    .d_name = ".." };

	out.d_name[at + 1] = '\0';
	return (fn(arg, &out));
}

int
tmpfs_readdir(struct vnode *vp, off_t *off, dirent_fn fn, void *arg)
{
	struct tmpfs_mount *tm = VTOM(vp);
	struct tmpfs_node *dir = VTOT(vp);
	struct tmpfs_dirent *de = NULL;
	struct dirent *out;

	if (vp->v_type != VDIR)
		return (ENOTDIR);
	if (*off < 0)
		return (EINVAL);
	out = kmalloc(sizeof(*out), &M_TMPFS, M_WAITOK);
	mutex_lock(&tm->tm_lock);
	while (*off < 2 && emit_dots(dir, *off, fn, arg) == 0)
		++*off;
	while (*off >= 2 && (de = entry_from(dir, *off)) != NULL) {
		out->d_ino = de->node->ino;
		out->d_next = de->cookie + 1;
		out->d_type = de->node->type;
		out->d_namlen = de->len;
		memcpy(out->d_name, de->name, de->len);
		out->d_name[de->len] = '\0';
		if (fn(arg, out) != 0)
			break;
		*off = out->d_next;
	}
	mutex_unlock(&tm->tm_lock);
	kfree(out, &M_TMPFS);
	return (0);
}

/* ---- making names ---- */

/*
 * Enter a name for a node, counting the link.  => nothing locked but dvp.
 * ENOENT: the directory is removed; EEXIST; EMLINK.
 */
static int
enter(struct vnode *dvp, const char *name, size_t len, struct tmpfs_node *node)
{
	struct tmpfs_mount *tm = VTOM(dvp);
	struct tmpfs_node *dir = VTOT(dvp);
	struct tmpfs_dirent *de = entry_alloc(name, len, node);
	int error = 0;

	mutex_lock(&tm->tm_lock);
	if (dir->nlink == 0)
		error = ENOENT;
	else if (is_dots(name, len) || entry_find(dir, name, len) != NULL)
		error = EEXIST;
	else if (node->nlink >= TMPFS_LINK_MAX || dir->nlink >= TMPFS_LINK_MAX)
		error = EMLINK;
	if (error == 0) {
		node->refs++;
		node->nlink += node->type == VDIR ? 2 : 1;
		node->ctime = (int64_t)clock_wall_seconds();
		entry_insert(dir, de);
	}
	mutex_unlock(&tm->tm_lock);
	if (error != 0)
		kfree(de, &M_TMPFS);
	return (error);
}

/* A directory that passes its group on does so to what is made in it. */
static void
inherit_group(struct vnode *dvp, struct tmpfs_node *node)
{
	struct tmpfs_mount *tm = VTOM(dvp);

	mutex_lock(&tm->tm_lock);
	if ((VTOT(dvp)->perm & 02000) != 0) {
		node->gid = VTOT(dvp)->gid;
		if (node->type == VDIR)
			node->perm |= 02000;
	}
	mutex_unlock(&tm->tm_lock);
}

/* Make a node with one name.  target: of a symbolic link, else NULL. */
static int
make(struct vnode *dvp, const char *name, size_t len, enum vtype type, const char *target, const struct vattr *va,
    struct vnode **vpp)
{
	struct tmpfs_mount *tm = VTOM(dvp);
	struct tmpfs_node *node;
	int error = change_check(dvp, len);

	*vpp = NULL;
	if (error == 0)
		error = tmpfs_node_alloc(tm, type, va, &node);
	if (error != 0)
		return (error);
	if (target != NULL) {
		node->target_len = strlen(target);
		node->target = kmalloc(node->target_len + 1, &M_TMPFS, M_WAITOK);
		memcpy(node->target, target, node->target_len + 1);
	}
	inherit_group(dvp, node);
	/* The vnode first: a name that leads to it can be entered, or not, without more ado. */
	error = tmpfs_vget(tm, node, vpp);
	if (error == 0)
		error = enter(dvp, name, len, node);
	tmpfs_node_rele(tm, node);
	if (error != 0 && *vpp != NULL) {
		vrele(*vpp);
		*vpp = NULL;
	}
	return (error);
}

int
tmpfs_create(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp)
{
	enum vtype type = va->va_type == VNON ? VREG : va->va_type;

	if (type == VDIR || type == VLNK || type == VBAD) {
		*vpp = NULL;
		return (EINVAL);
	}
	return (make(dvp, name, len, type, NULL, va, vpp));
}

int
tmpfs_mkdir(struct vnode *dvp, const char *name, size_t len, const struct vattr *va, struct vnode **vpp)
{
	return (make(dvp, name, len, VDIR, NULL, va, vpp));
}

int
tmpfs_symlink(struct vnode *dvp, const char *name, size_t len, const char *target, const struct vattr *va,
    struct vnode **vpp)
{
	if (strnlen(target, PATH_MAX + 1) > PATH_MAX) {
		*vpp = NULL;
		return (ENAMETOOLONG);
	}
	return (make(dvp, name, len, VLNK, target, va, vpp));
}

int
tmpfs_link(struct vnode *dvp, const char *name, size_t len, struct vnode *vp)
{
	int error = change_check(dvp, len);

	if (error == 0 && vp->v_type == VDIR)
		error = EPERM;
	return (error == 0 ? enter(dvp, name, len, VTOT(vp)) : error);
}

/* ---- removing them ---- */

/* May this entry be removed by unlink, or (dir) by rmdir?  => tm_lock held */
static int
remove_check(struct tmpfs_dirent *de, bool dir)
{
	if (de == NULL)
		return (ENOENT);
	if (!dir)
		return (de->node->type == VDIR ? EISDIR : 0);
	if (de->node->type != VDIR)
		return (ENOTDIR);
	if (is_mounted_on(de->node))
		return (EBUSY);
	return (de->node->nentries > 0 ? ENOTEMPTY : 0);
}

/* One name less; a directory has only one.  => tm_lock held */
static void
count_down(struct tmpfs_node *node)
{
	node->nlink = node->type == VDIR ? 0 : node->nlink - 1;
	node->ctime = (int64_t)clock_wall_seconds();
}

static int
remove_entry(struct vnode *dvp, const char *name, size_t len, bool dir)
{
	struct tmpfs_mount *tm = VTOM(dvp);
	struct tmpfs_dirent *de;
	int error;

	mutex_lock(&tm->tm_lock);
	de = entry_find(VTOT(dvp), name, len);
	error = remove_check(de, dir);
	if (error == 0) {
		entry_remove(VTOT(dvp), de);
		count_down(de->node);
	}
	mutex_unlock(&tm->tm_lock);
	if (error == 0) {
		name_gone(tm, de->node);
		kfree(de, &M_TMPFS);
	}
	return (error);
}

int
tmpfs_remove(struct vnode *dvp, const char *name, size_t len)
{
	int error = change_check(dvp, len);

	if (error == 0 && is_dots(name, len))
		error = EISDIR;
	return (error == 0 ? remove_entry(dvp, name, len, false) : error);
}

int
tmpfs_rmdir(struct vnode *dvp, const char *name, size_t len)
{
	int error = change_check(dvp, len);

	if (error == 0 && is_dots(name, len))
		error = len == 1 ? EINVAL : ENOTEMPTY;
	return (error == 0 ? remove_entry(dvp, name, len, true) : error);
}

/* ---- renaming ---- */

/* Is `node` dir itself or a directory above it?  => tm_lock held */
static bool
is_above(const struct tmpfs_node *node, const struct tmpfs_node *dir)
{
	while (dir != node && dir->parent != dir)
		dir = dir->parent;
	return (dir == node);
}

/* May s, in fdir, take the place of t (NULL: nothing there) in tdir?  => tm_lock held */
static int
rename_check(struct tmpfs_node *fdir, struct tmpfs_dirent *s, struct tmpfs_node *tdir, struct tmpfs_dirent *t)
{
	bool s_dir = s->node->type == VDIR;

	if (s_dir && is_mounted_on(s->node))
		return (EBUSY);
	if (s_dir && is_above(s->node, tdir))
		return (EINVAL);
	if (s_dir && t == NULL && tdir->nlink >= TMPFS_LINK_MAX)
		return (EMLINK);
	if (t == NULL)
		return (0);
	if (t->node->type == VDIR && is_above(t->node, fdir))
		return (ENOTEMPTY);
	return (remove_check(t, s_dir));
}

/*
 * The change.  => tm_lock held; checks passed.  `fresh` becomes the new entry, s and t are on no list
 * any more.
 */
static void
rename_change(struct tmpfs_node *fdir, struct tmpfs_dirent *s, struct tmpfs_node *tdir, struct tmpfs_dirent *t,
    struct tmpfs_dirent *fresh)
{
	if (t != NULL) {
		entry_remove(tdir, t);
		count_down(t->node);
	}
	entry_remove(fdir, s);
	fresh->node = s->node;
	entry_insert(tdir, fresh);
	s->node->ctime = (int64_t)clock_wall_seconds();
}

int
tmpfs_rename(struct vnode *fdvp, const char *fname, size_t flen, struct vnode *tdvp, const char *tname, size_t tlen,
    int rules)
{
	struct tmpfs_mount *tm = VTOM(fdvp);
	struct tmpfs_node *fdir = VTOT(fdvp), *tdir = VTOT(tdvp);
	struct tmpfs_dirent *s, *t, *fresh;
	bool same = false;
	int error = change_check(fdvp, flen);

	if (error == 0)
		error = change_check(tdvp, tlen);
	if (error == 0 && (is_dots(fname, flen) || is_dots(tname, tlen)))
		error = EBUSY;
	if (error != 0)
		return (error);
	fresh = entry_alloc(tname, tlen, NULL);
	mutex_lock(&tm->tm_lock);
	s = entry_find(fdir, fname, flen);
	t = entry_find(tdir, tname, tlen);
	if (s == NULL || tdir->nlink == 0)
		error = ENOENT;
	else
		error = rename_allowed(rules, s->node->type, t != NULL);
	if (error == 0 && t != NULL && t->node == s->node)
		same = true;			/* two names of one file: both stay */
	else if (error == 0)
		error = rename_check(fdir, s, tdir, t);
	if (error == 0 && !same)
		rename_change(fdir, s, tdir, t, fresh);
	mutex_unlock(&tm->tm_lock);
	if (error != 0 || same) {
		kfree(fresh, &M_TMPFS);
		return (error);
	}
	kfree(s, &M_TMPFS);
	if (t != NULL) {
		name_gone(tm, t->node);
		kfree(t, &M_TMPFS);
	}
	return (0);
}
