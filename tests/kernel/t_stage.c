/* SPDX-License-Identifier: BSD-2-Clause */
/* Named stages: their records lead to nops in the kernel's text, and each stage has one. */
#include "kernel/amd64/layout.h"
#include "kernel/stage.h"
#include "tests/kernel/ktest.h"

extern const char kernel_start[], text_end[];

KTEST(stage, each_has_a_record_that_leads_to_a_nop)
{
	unsigned found[STAGE_COUNT] = { 0 };

	for (const struct stage_record *r = stage_next(NULL); r != NULL; r = stage_next(r)) {
		CHECK_OR_RETURN(r->size >= sizeof(*r) + 2 && r->size % 8 == 0 && r->stage < STAGE_COUNT);
		CHECK(r->addr >= (uint64_t)kernel_start && r->addr < (uint64_t)text_end);
		CHECK_EQ(*(const uint8_t *)r->addr, 0x90);
		found[r->stage]++;
	}
	for (unsigned i = 0; i < STAGE_COUNT; i++)
		if (found[i] == 0)
			ktest_fail(__FILE__, __LINE__, "stage %s is nowhere", stage_name((enum stage)i));
}
