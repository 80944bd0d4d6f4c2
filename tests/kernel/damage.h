/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of damaged volumes share: the walk (t_damage.c), and what is written there (t_damage_write.c). */
#ifndef TESTS_KERNEL_DAMAGE_H
#define TESTS_KERNEL_DAMAGE_H

#include "kernel/lib/types.h"

struct mount;

/* Walk a mounted volume to its end, or to the walk's own bounds.  Returns the number of errors met.  => sleeps */
size_t walk_volume(struct mount *mp);
/*
 * Do what programs do to the volume mounted at `top` ("": the root), at random.  sound: what is written there must be
 * kept, or the test fails.  => sleeps
 */
void scribble(const char *top, bool sound);

#endif
