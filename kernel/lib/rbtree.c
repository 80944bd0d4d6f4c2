/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Red-black trees.
 *
 * The rules: a red node has black children; every way from a node down to a missing child passes
 * the same number of black nodes; the root is black.  So no way down is more than twice as long as
 * another.
 *
 * Left and right are child[0] and child[1], and each mirrored pair of cases is one case with a
 * `side`.  Missing children are NULL and count as black.
 *
 *	       p                    c
 *	     /   \   rotate(p, 0)  / \
 *	    A     c  ---------->  p   C
 *	         / \             / \
 *	        B   C           A   B
 *
 * rotate(p, side) moves p down to `side` and lifts its child on the other side, here c.  The order
 * A p B c C stays, so a summary of the whole subtree stays, too: only p and c have to be augmented
 * anew.
 *
 * Locking is the caller's.
 */
#include "kernel/lib/rbtree.h"

static inline bool
is_red(const struct rb_node *n)
{
	return (n != NULL && (n->parent_color & 1) != 0);
}

static inline void
set_red(struct rb_node *n)
{
	n->parent_color |= 1;
}

static inline void
set_black(struct rb_node *n)
{
	n->parent_color &= ~(uintptr_t)1;
}

static inline void
set_parent(struct rb_node *n, struct rb_node *parent)
{
	n->parent_color = (uintptr_t)parent | (n->parent_color & 1);
}

/* On which side of its parent does n hang? */
static inline int
side_of(const struct rb_node *n, const struct rb_node *parent)
{
	return (parent->child[1] == n);
}

/* Let whatever pointed to `old` (its parent or the root) point to `new`. */
static void
replace_child(struct rb_tree *tree, struct rb_node *parent, struct rb_node *old,
    struct rb_node *new)
{
	if (parent == NULL)
		tree->root = new;
	else
		parent->child[side_of(old, parent)] = new;
}

/* See the picture at the top. */
static void
rotate(struct rb_tree *tree, struct rb_node *p, int side, rb_augment_t augment)
{
	struct rb_node *c = p->child[!side], *parent = rb_parent(p);

	p->child[!side] = c->child[side];
	if (c->child[side] != NULL)
		set_parent(c->child[side], p);
	replace_child(tree, parent, p, c);
	set_parent(c, parent);
	c->child[side] = p;
	set_parent(p, c);
	if (augment != NULL) {
		augment(p);
		augment(c);
	}
}

void
rb_augment_path(struct rb_node *node, rb_augment_t augment)
{
	for (; augment != NULL && node != NULL; node = rb_parent(node))
		augment(node);
}

/*
 * The new node is red: only "a red node has black children" may be broken, between it and its
 * parent.  A red uncle is recoloured, which moves the trouble two levels up; a black uncle ends it
 * with one or two rotations.
 */
void
rb_insert(struct rb_tree *tree, struct rb_node *parent, int side, struct rb_node *node,
    rb_augment_t augment)
{
	node->child[0] = node->child[1] = NULL;
	node->parent_color = (uintptr_t)parent | 1;
	if (parent == NULL)
		tree->root = node;
	else
		parent->child[side] = node;
	rb_augment_path(node, augment);

	while (is_red(parent = rb_parent(node))) {
		struct rb_node *grand = rb_parent(parent); /* exists: the root is never red here */
		int pside = side_of(parent, grand);
		struct rb_node *uncle = grand->child[!pside];

		if (is_red(uncle)) {
			set_black(parent);
			set_black(uncle);
			set_red(grand);
			node = grand;
			continue;
		}
		if (side_of(node, parent) != pside) {
			rotate(tree, parent, pside, augment);
			parent = node;
		}
		set_black(parent);
		set_red(grand);
		rotate(tree, grand, !pside, augment);
		break;
	}
	set_black(tree->root);
}

/*
 * A black node has gone from the ways below parent->child[side] (which may be NULL): find a red
 * node to blacken in its place, or move the shortage one level up.
 */
static void
refill_black(struct rb_tree *tree, struct rb_node *node, struct rb_node *parent,
    rb_augment_t augment)
{
	while (parent != NULL && !is_red(node)) {
		int side = side_of(node, parent);
		/* exists: its side has a black node more */
		struct rb_node *sib = parent->child[!side];

		if (is_red(sib)) {
			set_black(sib);
			set_red(parent);
			rotate(tree, parent, side, augment);
			sib = parent->child[!side];
		}
		if (!is_red(sib->child[0]) && !is_red(sib->child[1])) {
			set_red(sib);
			node = parent;
			parent = rb_parent(node);
			continue;
		}
		if (!is_red(sib->child[!side])) {
			set_black(sib->child[side]);
			set_red(sib);
			rotate(tree, sib, !side, augment);
			sib = parent->child[!side];
		}
		if (is_red(parent))
			set_red(sib);
		else
			set_black(sib);
		set_black(parent);
		set_black(sib->child[!side]);
		rotate(tree, parent, side, augment);
		node = tree->root;
		break;
	}
	if (node != NULL)
		set_black(node);
}

/*
 * A node with two children first gives its place (and colour) to its successor, which has no
 * smaller child; so what really goes is a place with at most one child.
 */
void
rb_remove(struct rb_tree *tree, struct rb_node *node, rb_augment_t augment)
{
	struct rb_node *child, *parent;
	bool lost_black;

	if (node->child[0] != NULL && node->child[1] != NULL) {
		struct rb_node *next = node->child[1];

		while (next->child[0] != NULL)
			next = next->child[0];
		child = next->child[1];
		parent = rb_parent(next);
		lost_black = !is_red(next);
		if (parent == node) {
			parent = next;
		} else {
			parent->child[0] = child;
			if (child != NULL)
				set_parent(child, parent);
			next->child[1] = node->child[1];
			set_parent(next->child[1], next);
		}
		next->child[0] = node->child[0];
		set_parent(next->child[0], next);
		replace_child(tree, rb_parent(node), node, next);
		next->parent_color = node->parent_color;
	} else {
		child = node->child[node->child[0] == NULL];
		parent = rb_parent(node);
		lost_black = !is_red(node);
		replace_child(tree, parent, node, child);
		if (child != NULL)
			set_parent(child, parent);
	}
	rb_augment_path(parent, augment);
	if (lost_black)
		refill_black(tree, child, parent, augment);
}

/* The outermost node of the tree on one side. */
static struct rb_node *
outermost(const struct rb_tree *tree, int side)
{
	struct rb_node *n = tree->root;

	while (n != NULL && n->child[side] != NULL)
		n = n->child[side];
	return (n);
}

struct rb_node *
rb_first(const struct rb_tree *tree)
{
	return (outermost(tree, 0));
}

struct rb_node *
rb_last(const struct rb_tree *tree)
{
	return (outermost(tree, 1));
}

/*
 * The neighbour in order: the near end of the subtree on that side, or the first ancestor that we
 * are before.
 */
static struct rb_node *
neighbour(const struct rb_node *node, int side)
{
	struct rb_node *n = node->child[side];

	if (n != NULL) {
		while (n->child[!side] != NULL)
			n = n->child[!side];
		return (n);
	}
	for (n = rb_parent(node); n != NULL && n->child[side] == node; n = rb_parent(n))
		node = n;
	return (n);
}

struct rb_node *
rb_next(const struct rb_node *node)
{
	return (neighbour(node, 1));
}

struct rb_node *
rb_prev(const struct rb_node *node)
{
	return (neighbour(node, 0));
}

#define CHECK_DEPTH_MAX	128		/* twice the logarithm of more nodes than fit in memory */

/* Black height of the subtree, -1 if it is broken; adds its nodes to *count. */
static int
check_subtree(const struct rb_node *n, const struct rb_node *parent, int depth, long *count)
{
	int left, right;

	if (n == NULL)
		return (0);
	if (depth > CHECK_DEPTH_MAX || rb_parent(n) != parent || (is_red(n) && is_red(parent)))
		return (-1);
	left = check_subtree(n->child[0], n, depth + 1, count);
	right = check_subtree(n->child[1], n, depth + 1, count);
	if (left < 0 || left != right)
		return (-1);
	(*count)++;
	return (left + !is_red(n));
}

long
rb_check(const struct rb_tree *tree)
{
	long count = 0;

	if (is_red(tree->root) || check_subtree(tree->root, NULL, 0, &count) < 0)
		return (-1);
	return (count);
}
