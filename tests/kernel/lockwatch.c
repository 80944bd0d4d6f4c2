/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock checks' hook in a test's hand.
 */
#include "kernel/lib/string.h"
#include "kernel/lock.h"
#include "tests/kernel/lockwatch.h"

int violations;
char last_violation[160];

void
lockwatch_record(const char *message)
{
	violations++;
	strlcpy(last_violation, message, sizeof(last_violation));
}

bool
lockwatch_begin(void)
{
	if (!FAULTLINE_DEBUG) {
		ktest_skip("release builds have no lock checks");
		return (false);
	}
	violations = 0;
	last_violation[0] = '\0';
	lock_violation_hook = lockwatch_record;
	return (true);
}

void
lockwatch_end(void)
{
	lock_violation_hook = NULL;
}
