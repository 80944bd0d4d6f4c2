/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Renaming.
 *
 *	fdvp: fname --> S        becomes        tdvp: tname --> S   (T, if there was one, loses that name)
 *
 * The new name must be on the disk before the old one goes, and an old target must stay reachable
 * until then, so:
 *
 *	file	1  a second name for S; if T has that name, its entry gets S's inode instead, which is one sector's change
 *		2  sync; not needed if the disk does not know S yet: then S is born after its names, whichever they are
 *		3  the old name goes
 *
 * With a T the disk must know S before step 1, and T dies after it, sheltered by lost+found
 * (ext2_shelter.c): whatever a power cut leaves, tname is there and leads to T or to S.  T may have
 * other names; they must be on the disk before it loses this one.
 *
 *	directory, same folder	one sector is changed, which cannot be half done, if it has room for the new name
 *	directory, other folder	or no room: as for files; a power cut between 2 and 3 leaves two names, and e2fsck -p leaves that decision
 *				to a human
 *
 * A directory replaces only an empty one, which is removed first.
 *
 * Locks: em_rename makes renames wait for each other, so directories do not move while we look for
 * who is above whom.  Then the directories, the one above first (else in order of inode), then S
 * and T.  S or T may be above one of the directories: such a rename fails, and it is refused before
 * anything below is locked.
 */
#include "kernel/clock.h"
#include "kernel/fs/ext2/ext2.h"
#include "kernel/kassert.h"
#include "kernel/lib/string.h"

struct rename {
	struct ext2_mount *em;
	struct vnode	*fdvp, *tdvp;
	const char	*fname, *tname;
	size_t		 flen, tlen;
	int		 rules;		/* RENAME_* */
	struct vnode	*svp, *tvp;	/* what is renamed; what is replaced, or NULL */
	struct vnode	*lostfound;	/* or NULL */
	struct ext2_slot from, to;	/* their entries */
};

/* ---- who is above whom ---- */

/*
 * The directory that contains dvp; for the root itself.  => no vnode locked but perhaps unrelated
 * ones
 */
static int
parent_of(struct vnode *dvp, uint64_t *ino)
{
	struct ext2_slot slot;
	int error;

	VOP_LOCK(dvp, LK_SHARED);
	error = VTOI(dvp)->i_nlink == 0 ? ENOENT : ext2_dir_lookup(VTOI(dvp), "..", 2, &slot);
	VOP_UNLOCK(dvp);
	*ino = slot.ino;
	return (error);
}

/*
 * Is inode `ino` dvp itself or a directory above it?
 *
 * => em_rename held, no vnode locked.  0: *above says so; an errno, also for a damaged tree.
 */
static int
is_above(struct ext2_mount *em, uint64_t ino, struct vnode *dvp, bool *above)
{
	uint64_t at = VTOI(dvp)->i_number, up = 0;
	struct vnode *vp = dvp;
	int error = 0;

	*above = false;
	vref(vp);
	for (uint64_t depth = 0; !(*above = at == ino) && at != EXT2_ROOT_INO; depth++) {
		error = depth > em->em_inodes ? ext2_damaged(em, "directory %lu is above itself", at) : parent_of(vp, &up);
		if (error != 0)
			break;
		vrele(vp);
		vp = NULL;
		at = up;
		error = ext2_vget(em, at, &vp);
		if (error == 0 && vp->v_type != VDIR)
			error = ext2_damaged(em, "inode %lu is the parent of a directory, but is none", at);
		if (error != 0)
			break;
	}
	if (vp != NULL)
		vrele(vp);
	return (error);
}

/* ---- locks ---- */

static int
dirs_lock(struct rename *r)
{
	bool from_above;
	int error;

	if (r->fdvp == r->tdvp) {
		VOP_LOCK(r->fdvp, LK_EXCLUSIVE);
		return (0);
	}
	error = is_above(r->em, VTOI(r->fdvp)->i_number, r->tdvp, &from_above);
	if (error != 0)
		return (error);
	if (!from_above) {
		bool to_above;

		error = is_above(r->em, VTOI(r->tdvp)->i_number, r->fdvp, &to_above);
		if (error != 0)
			return (error);
		from_above = !to_above && VTOI(r->fdvp)->i_number < VTOI(r->tdvp)->i_number;
	}
	VOP_LOCK(from_above ? r->fdvp : r->tdvp, LK_EXCLUSIVE);
	VOP_LOCK(from_above ? r->tdvp : r->fdvp, LK_EXCLUSIVE);
	return (0);
}

static void
dirs_unlock(struct rename *r)
{
	VOP_UNLOCK(r->fdvp);
	if (r->tdvp != r->fdvp)
		VOP_UNLOCK(r->tdvp);
}

static void
children_lock(struct rename *r)
{
	bool s_first = r->tvp == NULL || VTOI(r->svp)->i_number < VTOI(r->tvp)->i_number;

	if (!s_first)
		VOP_LOCK(r->tvp, LK_EXCLUSIVE);
	VOP_LOCK(r->svp, LK_EXCLUSIVE);
	if (s_first && r->tvp != NULL)
		VOP_LOCK(r->tvp, LK_EXCLUSIVE);
}

/* ---- checks ---- */

/* Look one name up.  0: *vpp referenced, or NULL if there is no such name. */
static int
rename_lookup(struct ext2_inode *dip, const char *name, size_t len, struct ext2_slot *slot, struct vnode **vpp)
{
	int error = ext2_dir_lookup(dip, name, len, slot);

	*vpp = NULL;
	if (error != 0)
		return (error == ENOENT ? 0 : error);
	if (slot->ino == dip->i_number)
		return (ext2_damaged(dip->i_em, "directory %lu contains itself", slot->ino));
	return (ext2_vget(dip->i_em, slot->ino, vpp));
}

/*
 * => directories locked.  0: svp referenced, tvp referenced or NULL; an errno: some may be
 * referenced, too
 */
static int
rename_find(struct rename *r)
{
	int error = ext2_name_check(VTOI(r->fdvp), r->fname, r->flen);

	if (error == 0)
		error = ext2_name_check(VTOI(r->tdvp), r->tname, r->tlen);
	if (error == 0)
		error = rename_lookup(VTOI(r->fdvp), r->fname, r->flen, &r->from, &r->svp);
	if (error == 0 && r->svp == NULL)
		error = ENOENT;
	if (error == 0)
		error = rename_lookup(VTOI(r->tdvp), r->tname, r->tlen, &r->to, &r->tvp);
	return (error);
}

/* May S take T's place?  => vnodes referenced; types do not change */
static int
rename_check(const struct rename *r)
{
	bool s_dir = r->svp->v_type == VDIR;

	if (s_dir && r->svp->v_mountedhere != NULL)
		return (EBUSY);
	if (r->svp == r->tdvp)
		return (EINVAL);
	if (s_dir && r->fdvp != r->tdvp && VTOI(r->tdvp)->i_nlink >= EXT2_LINK_MAX)
		return (EMLINK);
	if (r->tvp == NULL)
		return (0);
	if (r->tvp == r->fdvp)
		return (ENOTEMPTY);
	if (s_dir && r->tvp->v_type != VDIR)
		return (ENOTDIR);
	if (!s_dir && r->tvp->v_type == VDIR)
		return (EISDIR);
	return (r->tvp->v_type == VDIR && r->tvp->v_mountedhere != NULL ? EBUSY : 0);
}

/* ---- the steps ---- */

/* A second name for S.  => all locked */
static int
second_name(struct rename *r)
{
	struct ext2_inode *tdip = VTOI(r->tdvp), *ip = VTOI(r->svp);
	struct ext2_slot slot;
	uint64_t reserved;
	int error = ext2_dir_prepare(tdip, r->tname, r->tlen, &slot, &reserved);

	if (error == 0)
		error = ext2_begin(r->em);
	if (error == 0) {
		error = ext2_name_add(tdip, &slot, r->tname, r->tlen, ip);
		ext2_end(r->em);
	}
	ext2_unreserve(r->em, reserved);
	return (error);
}

/* T's name becomes S's.  => all locked */
static int
name_of_target(struct rename *r)
{
	int error = ext2_dir_unindex(VTOI(r->tdvp));

	if (error == 0)
		error = ext2_names_settle(VTOI(r->tvp));
	if (error == 0)
		error = ext2_begin(r->em);
	if (error != 0)
		return (error);
	/* A sync that others begin needs it, too, so it is told now. */
	r->em->em_lostfound = r->lostfound != NULL && r->lostfound != r->tdvp ? VTOI(r->lostfound) : NULL;
	error = ext2_name_replace(VTOI(r->tdvp), &r->to, VTOI(r->svp), VTOI(r->tvp));
	ext2_end(r->em);
	return (error);
}

/* S's old name goes.  => all locked */
static int
old_name_goes(struct rename *r)
{
	struct ext2_inode *fdip = VTOI(r->fdvp), *tdip = VTOI(r->tdvp), *ip = VTOI(r->svp);
	int error = ext2_begin(r->em);

	if (error != 0)
		return (error);
	error = ext2_name_drop(fdip, &r->from, ip);
	if (error == 0 && ip->i_type == VDIR && fdip != tdip) {
		error = ext2_dir_set_parent(ip, tdip->i_number);
		tdip->i_nlink++;
		ext2_iupdate(tdip, false);
		if (fdip->i_nlink > 2)
			fdip->i_nlink--;
		ext2_iupdate(fdip, false);
	}
	ext2_end(r->em);
	return (error);
}

/* Does the disk know S by its old name? */
static bool
on_disk(const struct rename *r)
{
	const struct ext2_change *c = ext2_change_find(r->em, VTOI(r->svp)->i_number);

	return (c == NULL || !c->c_born);
}

/* Nobody needs lost+found any more; but a sync may be at work in it. */
static void
shelter_close(struct rename *r)
{
	rw_rlock(&r->em->em_oplock);
	r->em->em_lostfound = NULL;
	rw_runlock(&r->em->em_oplock);
}

static int
rename_by_second_name(struct rename *r)
{
	bool must_sync;
	int error = ext2_dir_unindex(VTOI(r->fdvp));

	/*
	 * A directory that is only being born may have files that wait for it: let it be born where
	 * it is.  And what replaces a file is on the disk before that file goes.
	 */
	if (error == 0 && (r->svp->v_type == VDIR || r->tvp != NULL) && !on_disk(r))
		error = ext2_sync_metadata(r->em);
	must_sync = on_disk(r);
	if (error == 0)
		error = r->tvp != NULL ? name_of_target(r) : second_name(r);
	if (error == 0 && must_sync)
		error = ext2_sync_metadata(r->em);
	if (r->tvp != NULL)
		shelter_close(r);
	return (error == 0 ? old_name_goes(r) : error);
}

/* => all locked; no T (any more).  *done: false if the sector has no room. */
static int
rename_in_place(struct rename *r, bool *done)
{
	int error = ext2_dir_unindex(VTOI(r->fdvp));

	if (error == 0)
		error = ext2_begin(r->em);
	if (error != 0)
		return (error);
	*done = ext2_dir_rename_in_place(VTOI(r->fdvp), &r->from, r->tname, r->tlen, &error);
	if (*done && error == 0) {
		VTOI(r->svp)->i_ctime = (int64_t)clock_wall_seconds();
		ext2_iupdate(VTOI(r->svp), false);
	}
	ext2_end(r->em);
	return (error);
}

/* An empty directory makes room for S.  => all locked */
static int
target_dir_goes(struct rename *r)
{
	struct ext2_inode *tdip = VTOI(r->tdvp), *ip = VTOI(r->tvp);
	int error = ext2_dir_empty(ip);

	if (error == 0)
		error = ext2_dir_unindex(tdip);
	if (error == 0)
		error = ext2_begin(r->em);
	if (error != 0)
		return (error);
	error = ext2_name_drop(tdip, &r->to, ip);
	if (error == 0) {
		if (ip->i_nlink > 0)
			ext2_orphaned(ip);
		ip->i_nlink = 0;
		ext2_iupdate(ip, false);
		if (tdip->i_nlink > 2)
			tdip->i_nlink--;
		ext2_iupdate(tdip, false);
	}
	ext2_end(r->em);
	if (error == 0)
		cache_purge(r->tvp);
	return (error);
}

/* => all locked; checks passed; S is not T */
static int
rename_change(struct rename *r)
{
	struct vnode *tvp = r->tvp;
	bool done = false;
	int error = 0;

	if (tvp != NULL && tvp->v_type == VDIR) {
		error = target_dir_goes(r);
		r->tvp = NULL;
	}
	if (error == 0 && r->svp->v_type == VDIR && r->fdvp == r->tdvp)
		error = rename_in_place(r, &done);
	if (error == 0 && !done)
		error = rename_by_second_name(r);
	r->tvp = tvp;
	return (error);
}

/*
 * The name cache, and the pages of a file that has no name any more.  Those may take its lock once more,
 * so the other child's goes first: it may be the later one in the order.
 * => both children locked; unlocked on return
 */
static void
rename_aftermath(struct rename *r)
{
	cache_purge_name(r->fdvp, r->fname, r->flen);
	cache_purge_name(r->tdvp, r->tname, r->tlen);
	VOP_UNLOCK(r->svp);
	if (r->tvp == NULL)
		return;
	if (r->tvp->v_type != VDIR && VTOI(r->tvp)->i_nlink == 0)
		ext2_nameless(r->tvp);
	VOP_UNLOCK(r->tvp);
}

/* => directories locked */
static int
rename_locked(struct rename *r, bool s_above_to, bool t_above_from)
{
	int error = rename_find(r);

	if (error == 0)
		error = rename_allowed(r->rules, r->svp->v_type, r->tvp != NULL);
	/* Who is above whom comes before what they are, as programs know it. */
	if (error == 0 && s_above_to)
		error = EINVAL;
	if (error == 0 && t_above_from)
		error = ENOTEMPTY;
	if (error == 0)
		error = rename_check(r);
	if (error != 0 || r->svp == r->tvp)
		return (error);
	children_lock(r);
	error = rename_change(r);
	/* Also after an error: some of it may have been done. */
	rename_aftermath(r);
	return (error);
}

/*
 * Is what a name leads to above the other directory?  Names cannot come to lead to other
 * directories meanwhile but by a rename.
 *
 * => em_rename held, no vnode locked
 */
static int
name_is_above(struct rename *r, struct vnode *dvp, const char *name, size_t len, struct vnode *other, bool *above)
{
	struct ext2_slot slot;
	int error;

	*above = false;
	if (r->fdvp == r->tdvp)
		return (0);
	VOP_LOCK(dvp, LK_SHARED);
	error = ext2_dir_lookup(VTOI(dvp), name, len, &slot);
	VOP_UNLOCK(dvp);
	if (error != 0)
		return (error == ENOENT ? 0 : error);
	return (is_above(r->em, slot.ino, other, above));
}

/* => the mount is busy by us, so it stays */
static int
rename_serialised(struct rename *r)
{
	bool s_above = false, t_above = false;
	struct vnode *found[3];
	int error;

	mutex_lock(&r->em->em_rename);
	r->lostfound = ext2_shelter_open(r->em);
	error = name_is_above(r, r->fdvp, r->fname, r->flen, r->tdvp, &s_above);
	if (error == 0)
		error = name_is_above(r, r->tdvp, r->tname, r->tlen, r->fdvp, &t_above);
	if (error == 0)
		error = dirs_lock(r);
	if (error == 0) {
		error = rename_locked(r, s_above, t_above);
		dirs_unlock(r);
	}
	found[0] = r->svp;
	found[1] = r->tvp;
	found[2] = r->lostfound;
	for (size_t i = 0; i < nitems(found); i++) {
		if (found[i] != NULL)
			vrele(found[i]);
	}
	mutex_unlock(&r->em->em_rename);
	return (error);
}

int
ext2_rename(struct vnode *fdvp, const char *fname, size_t flen, struct vnode *tdvp, const char *tname, size_t tlen,
    int rules)
{
	struct rename r = {
		.fdvp = fdvp, .tdvp = tdvp, .fname = fname, .flen = flen, .tname = tname, .tlen = tlen,
		.rules = rules,
	};
	struct mount *mp;
	int error;

	if (fdvp->v_type != VDIR || tdvp->v_type != VDIR)
		return (ENOTDIR);
	if (ext2_name_is_dots(fname, flen) || ext2_name_is_dots(tname, tlen))
		return (EBUSY);
	if (flen > NAME_MAX || tlen > NAME_MAX)
		return (ENAMETOOLONG);
	mp = vfs_busy(fdvp);
	if (mp == NULL)
		return (EIO);
	r.em = MTOE(mp);
	error = tdvp->v_mount == mp ? rename_serialised(&r) : EXDEV;
	vfs_unbusy(mp);
	return (error);
}
