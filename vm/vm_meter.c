/* SPDX-License-Identifier: BSD-2-Clause */
/* The counters, and printing them. */
#include "vm/vm_meter.h"

#include "kernel/lib/printf.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include "vm/vm_pageq.h"

static const struct {
	const char	*name, *text;
	size_t		 offset;
} fields[] = {
#define X(field, text) { #field, text, offsetof(struct vmmeter, field) },
	VMMETER_FIELDS(X)
#undef X
};

uint64_t
vm_meter_count(size_t offset)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MAX_CPUS; i++)
		sum += *(const volatile uint64_t *)((const char *)&cpus[i].cnt + offset);
	return (sum);
}

struct vmmeter
vm_meter_sum(void)
{
	struct vmmeter sum;

#define X(field, text) sum.field = VMCNT_GET(field);
	VMMETER_FIELDS(X)
#undef X
	return (sum);
}

void
vm_meter_print(void)
{
	printf("pages: %u in all", vm_page_count);
	for (int q = PQ_FREE; q < PQ_COUNT; q++)
		printf(", %u %s", vm_page_queue_len(q), vm_pageq_name(q));
	printf("; %lu objects, %u cached\n", vm_object_count(), vm_object_cached_count());
	for (size_t i = 0; i < nitems(fields); i++)
		if (vm_meter_count(fields[i].offset) != 0)
			printf("%12lu  %-20s %s\n", vm_meter_count(fields[i].offset), fields[i].name, fields[i].text);
}

bool
vm_meter_get(unsigned i, const char **name, uint64_t *value)
{
	if (i >= nitems(fields))
		return (false);
	*name = fields[i].name;
	*value = vm_meter_count(fields[i].offset);
	return (true);
}
