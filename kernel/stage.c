/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Named stages: the table of their names, and the records as the linker has gathered them.
 *
 * The table of symbols makes the linker refuse a kernel in which a stage is nowhere placed; it
 * names the one that is missing ("undefined reference to `stage_is_placed_BMAP'").
 */
#include "kernel/stage.h"

#define X(name, text) extern const char stage_is_placed_##name[];
STAGES(X)
#undef X

static const char *const placed[STAGE_COUNT] __attribute__((used)) = {
#define X(name, text) [STAGE_##name] = stage_is_placed_##name,
	STAGES(X)
#undef X
};

static const char *const names[STAGE_COUNT] = {
#define X(name, text) [STAGE_##name] = text,
	STAGES(X)
#undef X
};

const char *
stage_name(enum stage stage)
{
	return (stage < STAGE_COUNT ? names[stage] : "unknown");
}

const struct stage_record *
stage_next(const struct stage_record *r)
{
	const char *at = r == NULL ? stage_records_start : (const char *)r + r->size;

	return (at < stage_records_end ? (const void *)at : NULL);
}
