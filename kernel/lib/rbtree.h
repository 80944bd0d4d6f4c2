/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An intrusive red-black tree, ordered by the caller's own comparison while it descends.
 *
 * The caller finds the place (walking left/right itself, so that the comparison is inlined), then
 * calls rb_insert() with the parent and the link that it came by.  Each node may carry a summary of
 * its subtree (vm_map keeps the largest gap): pass `augment` to recompute one node from its
 * children; it is called for every node whose subtree changed, children first.
 *
 *	O(log n) insert and remove, no allocation, iteration in order in both directions.
 */
#ifndef KERNEL_LIB_RBTREE_H
#define KERNEL_LIB_RBTREE_H

#include "kernel/lib/types.h"

struct rb_node {
	struct rb_node	*child[2];	/* [0] smaller, [1] larger */
	uintptr_t	 parent_color;	/* parent's address; bit 0 set: red */
};

struct rb_tree {
	struct rb_node	*root;
};

typedef void (*rb_augment_t)(struct rb_node *node);	/* NULL: no summary is kept */

static inline struct rb_node *
rb_parent(const struct rb_node *n)
{
	return ((struct rb_node *)(n->parent_color & ~(uintptr_t)1));
}

/* Link `node` as the child `side` of `parent` (NULL: it becomes the root) and rebalance. */
void rb_insert(struct rb_tree *tree, struct rb_node *parent, int side, struct rb_node *node,
	    rb_augment_t augment);
void rb_remove(struct rb_tree *tree, struct rb_node *node, rb_augment_t augment);
/* `node`'s own key data changed (not its place): recompute it and its ancestors. */
void rb_augment_path(struct rb_node *node, rb_augment_t augment);

struct rb_node *rb_first(const struct rb_tree *tree);
struct rb_node *rb_last(const struct rb_tree *tree);
struct rb_node *rb_next(const struct rb_node *node);
struct rb_node *rb_prev(const struct rb_node *node);

/* Check order-free structure (colours, black height, parents); returns the node count or -1. */
long rb_check(const struct rb_tree *tree);

#endif
