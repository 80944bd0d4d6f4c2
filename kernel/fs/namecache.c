/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The name cache: what a name in a directory led to the last time, "nothing" included.
 *
 *	hash(dvp, name) -> chain of entries -> vnode, or NULL: known to be absent
 *
 * An entry holds no reference: a cached name keeps no file busy.  Instead each entry hangs on two
 * lists, of its directory (v_cache_src) and of its vnode (v_cache_dst), and cache_purge() takes
 * both apart when a vnode is recycled.  So an entry never points to freed memory; v_id is compared
 * on each hit all the same, for a vnode that changed its identity in place.
 *
 * The filesystem decides what may be cached, by calling cache_enter() from its lookup with the
 * directory locked; whoever changes a directory calls cache_enter(), cache_purge_name() or
 * cache_purge() with it locked exclusively.
 *
 * The number of entries is bounded by memory; the one used longest ago makes room.  A name that
 * cannot be remembered for want of memory is simply not remembered; an older entry for it is
 * forgotten all the same.
 *
 * Lock: cache_lock (spin) guards everything here; vnode_list_lock is taken inside it.
 */
#include "kernel/fs/vnode.h"
#include "kernel/kassert.h"
#include "kernel/lib/printf.h"
#include "kernel/lib/string.h"
#include "kernel/malloc.h"
#include "vm/vm_page.h"

static MALLOC_DEFINE(M_NAMECACHE, "name cache");

#define ENTRIES_MIN	128
#define ENTRIES_MAX	32768
#define ENTRY_RAM_EACH	(32 * KiB)	/* one entry for so much memory */

struct namecache {
	TAILQ_ENTRY(namecache)	 nc_hash;	/* its chain */
	TAILQ_ENTRY(namecache)	 nc_lru;
	TAILQ_ENTRY(namecache)	 nc_src;	/* directory's list */
	TAILQ_ENTRY(namecache)	 nc_dst;	/* vnode's list, if there is a vnode */
	struct vnode		*nc_dvp;
	struct vnode		*nc_vp;		/* NULL: no such name */
	uint32_t		 nc_dvp_id;	/* v_id when entered */
	uint32_t		 nc_vp_id;
	uint32_t		 nc_hashval;
	uint8_t			 nc_len;
	char			 nc_name[];	/* nc_len bytes, no NUL */
};

TAILQ_HEAD(nc_list, namecache);

static struct spinlock cache_lock = SPINLOCK_INITIALIZER("name cache", RANK_NAMECACHE);

/* (all under cache_lock) */
static struct {
	struct nc_list	*chains;	/* (constant) */
	uint32_t	 nchains;	/* (constant) a power of two */
	struct nc_list	 lru;		/* used longest ago first */
	struct cache_stats stats;
} nc;

void
cache_init(void)
{
	uint64_t entries = (uint64_t)vm_page_count * PAGE_SIZE / ENTRY_RAM_EACH;

	if (nc.chains != NULL)
		return;
	entries = MIN(MAX(entries, (uint64_t)ENTRIES_MIN), (uint64_t)ENTRIES_MAX);
	for (nc.nchains = ENTRIES_MIN; nc.nchains < entries; nc.nchains *= 2)
		continue;
	nc.chains = kmalloc(nc.nchains * sizeof(nc.chains[0]), &M_NAMECACHE, M_WAITOK | M_ZERO);
	TAILQ_INIT(&nc.lru);
	nc.stats.entries_max = entries;
}

/* FNV-1a, 32 bits, started with the directory's identity. */
static uint32_t
cache_hash(const struct vnode *dvp, const char *name, size_t len)
{
	uint32_t hash = 2166136261u ^ dvp->v_id;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return (hash);
}

/* => cache_lock held */
static struct namecache *
cache_find(const struct vnode *dvp, const char *name, size_t len, uint32_t hash)
{
	struct namecache *ncp;

	TAILQ_FOREACH(ncp, &nc.chains[hash & (nc.nchains - 1)], nc_hash) {
		if (ncp->nc_hashval == hash && ncp->nc_dvp == dvp && ncp->nc_dvp_id == dvp->v_id &&
		    ncp->nc_len == len && memcmp(ncp->nc_name, name, len) == 0)
			return (ncp);
	}
	return (NULL);
}

/*
 * Take an entry off all lists and put it on `doomed`, to be freed without the lock.  => cache_lock
 * held
 */
static void
cache_unlink(struct namecache *ncp, struct nc_list *doomed)
{
	TAILQ_REMOVE(&nc.chains[ncp->nc_hashval & (nc.nchains - 1)], ncp, nc_hash);
	TAILQ_REMOVE(&nc.lru, ncp, nc_lru);
	TAILQ_REMOVE(&ncp->nc_dvp->v_cache_src, ncp, nc_src);
	if (ncp->nc_vp != NULL)
		TAILQ_REMOVE(&ncp->nc_vp->v_cache_dst, ncp, nc_dst);
	nc.stats.entries--;
	TAILQ_INSERT_TAIL(doomed, ncp, nc_lru);
}

static void
cache_free(struct nc_list *doomed)
{
	struct namecache *ncp, *next;

	TAILQ_FOREACH_SAFE(ncp, doomed, nc_lru, next)
		kfree(ncp, &M_NAMECACHE);
}

/* A reference on the entry's vnode, if it still is what it was.  => cache_lock held */
static bool
cache_vget(const struct namecache *ncp)
{
	bool got;

	spin_lock(&vnode_list_lock);
	got = ncp->nc_vp->v_id == ncp->nc_vp_id && vget_locked(ncp->nc_vp);
	spin_unlock(&vnode_list_lock);
	return (got);
}

bool
cache_lookup(struct vnode *dvp, const char *name, size_t len, struct vnode **vpp)
{
	uint32_t hash = cache_hash(dvp, name, len);
	struct namecache *ncp;
	bool hit;

	*vpp = NULL;
	spin_lock(&cache_lock);
	ncp = cache_find(dvp, name, len, hash);
	hit = ncp != NULL && (ncp->nc_vp == NULL || cache_vget(ncp));
	if (hit) {
		*vpp = ncp->nc_vp;
		TAILQ_REMOVE(&nc.lru, ncp, nc_lru);
		TAILQ_INSERT_TAIL(&nc.lru, ncp, nc_lru);
		if (ncp->nc_vp != NULL)
			nc.stats.hits++;
		else
			nc.stats.negative_hits++;
	} else {
		nc.stats.misses++;
	}
	spin_unlock(&cache_lock);
	return (hit);
}

static struct namecache *
cache_new(struct vnode *dvp, struct vnode *vp, const char *name, size_t len)
{
	struct namecache *ncp = kmalloc(sizeof(*ncp) + len, &M_NAMECACHE, M_NOWAIT);

	if (ncp == NULL)
		return (NULL);
	ncp->nc_dvp = dvp;
	ncp->nc_vp = vp;
	ncp->nc_dvp_id = dvp->v_id;
	ncp->nc_vp_id = vp != NULL ? vp->v_id : 0;
	ncp->nc_hashval = cache_hash(dvp, name, len);
	ncp->nc_len = (uint8_t)len;
	memcpy(ncp->nc_name, name, len);
	return (ncp);
}

/*
 * Put an entry on all lists, in place of an older one or of the one used longest ago.
 *
 * => cache_lock held.  The directory is locked, so it stays what it is.  The vnode is only
 *    referenced: if vgone() has begun with it, cache_purge() may be over already, and the entry
 *    must not appear.
 */
static void
cache_link(struct namecache *ncp, struct nc_list *doomed)
{
	struct vnode *dvp = ncp->nc_dvp, *vp = ncp->nc_vp;
	struct namecache *old;
	bool going = false;

	if (vp != NULL) {
		spin_lock(&vnode_list_lock);
		going = (vp->v_flag & VXLOCK) != 0 || vp->v_op == &dead_vnodeops;
		spin_unlock(&vnode_list_lock);
	}
	if (going) {
		TAILQ_INSERT_TAIL(doomed, ncp, nc_lru);
		return;
	}
	old = cache_find(dvp, ncp->nc_name, ncp->nc_len, ncp->nc_hashval);
	if (old != NULL)
		cache_unlink(old, doomed);
	else if (nc.stats.entries >= nc.stats.entries_max)
		cache_unlink(TAILQ_FIRST(&nc.lru), doomed);
	TAILQ_INSERT_HEAD(&nc.chains[ncp->nc_hashval & (nc.nchains - 1)], ncp, nc_hash);
	TAILQ_INSERT_TAIL(&nc.lru, ncp, nc_lru);
	TAILQ_INSERT_TAIL(&dvp->v_cache_src, ncp, nc_src);
	if (vp != NULL)
		TAILQ_INSERT_TAIL(&vp->v_cache_dst, ncp, nc_dst);
	nc.stats.entries++;
}

void
cache_enter(struct vnode *dvp, struct vnode *vp, const char *name, size_t len)
{
	struct nc_list doomed = TAILQ_HEAD_INITIALIZER(doomed);
	struct namecache *ncp;

	KASSERT(len > 0 && len <= NAME_MAX, "caching a name of %zu bytes", len);
	ncp = cache_new(dvp, vp, name, len);
	if (ncp == NULL) {
		cache_purge_name(dvp, name, len);
		return;
	}
	spin_lock(&cache_lock);
	cache_link(ncp, &doomed);
	spin_unlock(&cache_lock);
	cache_free(&doomed);
}

void
cache_purge(struct vnode *vp)
{
	struct nc_list doomed = TAILQ_HEAD_INITIALIZER(doomed);

	spin_lock(&cache_lock);
	while (!TAILQ_EMPTY(&vp->v_cache_src))
		cache_unlink(TAILQ_FIRST(&vp->v_cache_src), &doomed);
	while (!TAILQ_EMPTY(&vp->v_cache_dst))
		cache_unlink(TAILQ_FIRST(&vp->v_cache_dst), &doomed);
	spin_unlock(&cache_lock);
	cache_free(&doomed);
}

void
cache_purge_name(struct vnode *dvp, const char *name, size_t len)
{
	struct nc_list doomed = TAILQ_HEAD_INITIALIZER(doomed);
	struct namecache *ncp;

	spin_lock(&cache_lock);
	ncp = cache_find(dvp, name, len, cache_hash(dvp, name, len));
	if (ncp != NULL)
		cache_unlink(ncp, &doomed);
	spin_unlock(&cache_lock);
	cache_free(&doomed);
}

void
cache_name_of(struct vnode *vp, char *name, size_t size)
{
	struct namecache *ncp;

	spin_lock(&cache_lock);
	ncp = TAILQ_FIRST(&vp->v_cache_dst);
	name[0] = '\0';
	if (ncp != NULL)
		snprintf(name, size, "%.*s", (int)ncp->nc_len, ncp->nc_name);
	spin_unlock(&cache_lock);
}

bool
cache_parent_of(struct vnode *vp, struct vnode **dvpp, char *name, size_t size)
{
	struct namecache *ncp;
	struct vnode *dvp = NULL;
	uint32_t id = 0;

	spin_lock(&cache_lock);
	ncp = TAILQ_FIRST(&vp->v_cache_dst);
	if (ncp != NULL) {
		snprintf(name, size, "%.*s", (int)ncp->nc_len, ncp->nc_name);
		dvp = ncp->nc_dvp;
		id = ncp->nc_dvp_id;
		/* A directory leaves the cache before it goes, so it is alive as long as the lock is held. */
		spin_lock(&vnode_list_lock);
		if (!vget_locked(dvp))
			dvp = NULL;
		spin_unlock(&vnode_list_lock);
	}
	spin_unlock(&cache_lock);
	if (dvp != NULL && dvp->v_id != id) {
		vrele(dvp);
		dvp = NULL;
	}
	*dvpp = dvp;
	return (dvp != NULL);
}

void
cache_get_stats(struct cache_stats *st)
{
	spin_lock(&cache_lock);
	*st = nc.stats;
	spin_unlock(&cache_lock);
}
