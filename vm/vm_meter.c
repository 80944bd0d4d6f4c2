/* SPDX-License-Identifier: BSD-2-Clause */
/* The counters, and printing them. */
#include "vm/vm_meter.h"

#include "kernel/lib/printf.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

struct vmmeter cnt;

static const struct {
	const char	*name, *text;
	uint64_t	*value;
} fields[] = {
#define X(field, text) { #field, text, &cnt.field },
	VMMETER_FIELDS(X)
#undef X
};

void
vm_meter_print(void)
{
	printf("pages: %u in all", vm_page_count);
	for (int q = PQ_FREE; q < PQ_COUNT; q++)
		printf(", %u %s", vm_page_queue_len(q), vm_pageq_name(q));
	printf("; %lu objects, %u cached\n", vm_object_count(), vm_object_cached_count());
	for (size_t i = 0; i < nitems(fields); i++)
		if (*fields[i].value != 0)
			printf("%12lu  %-20s %s\n", *fields[i].value, fields[i].name, fields[i].text);
}

bool
vm_meter_get(unsigned i, const char **name, uint64_t *value)
{
	if (i >= nitems(fields))
		return (false);
	*name = fields[i].name;
	*value = *fields[i].value;
	return (true);
}
