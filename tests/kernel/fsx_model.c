/* SPDX-License-Identifier: BSD-2-Clause */
/* The file exerciser's model: see fsx_model.h. */
#include "tests/kernel/fsx_model.h"

#include "kernel/malloc.h"
#include "tests/kernel/ktest.h"
#include "vm/vm.h"

static MALLOC_DEFINE(M_FSX, "fsx model");

void
fsx_init(struct fsx_model *m, size_t max, uint64_t base, uint32_t block, uint64_t seed)
{
	*m = (struct fsx_model){ .max = max, .base = base, .block = block, .stream = seed };
	m->bytes = kmalloc(max, &M_FSX, M_WAITOK | M_ZERO);
}

void
fsx_fini(struct fsx_model *m)
{
	kfree(m->bytes, &M_FSX);
}

/* splitmix64, of our own: the series must not depend on who else asks for random numbers. */
uint64_t
fsx_random(struct fsx_model *m, uint64_t below)
{
	return (ktest_mix64(m->stream += 0x9e3779b97f4a7c15ul) % below);
}

/* A multiple of some unit that matters, or the file's end. */
static size_t
pick_border(struct fsx_model *m, size_t limit)
{
	const size_t units[] = { DEV_BSIZE, PAGE_SIZE, PAGE_SIZE, m->block, m->block, 16 * PAGE_SIZE, 12 * (size_t)m->block };
	size_t unit = units[fsx_random(m, nitems(units))];

	if (fsx_random(m, 4) == 0)
		return (MIN(m->size, limit));
	return (fsx_random(m, limit / unit + 1) * unit);
}

size_t
fsx_pick_offset(struct fsx_model *m, size_t limit)
{
	static const int near[] = { -513, -512, -2, -1, 0, 0, 0, 1, 2, 511, 512 };
	int64_t off;

	if (fsx_random(m, 4) == 0)
		return (fsx_random(m, limit + 1));
	off = (int64_t)pick_border(m, limit) + near[fsx_random(m, nitems(near))];
	return ((size_t)MAX(0l, MIN(off, (int64_t)limit)));
}

size_t
fsx_pick_length(struct fsx_model *m, size_t off, size_t limit)
{
	size_t end;

	switch (fsx_random(m, 4)) {
	case 0:
		return (1 + fsx_random(m, MIN(limit, 600ul)));
	case 1:
		end = fsx_pick_offset(m, off + limit);
		return (end > off ? end - off : MIN(limit, PAGE_SIZE));
	case 2:
		return (1 + fsx_random(m, MIN(limit, 3 * PAGE_SIZE)));
	default:
		return (1 + fsx_random(m, limit));
	}
}

void
fsx_log(struct fsx_model *m, const char *what, uint64_t off, uint64_t len)
{
	m->log[m->ops++ % FSX_LOG] = (struct fsx_op){ .what = what, .off = off, .len = len, .size = m->size };
}

void
fsx_print_log(const struct fsx_model *m)
{
	printf("# fsx: blocks of %u, window at 0x%lx; the last operations:\n", m->block, m->base);
	for (uint64_t n = m->ops > FSX_LOG ? m->ops - FSX_LOG : 0; n < m->ops; n++) {
		const struct fsx_op *op = &m->log[n % FSX_LOG];

		printf("# fsx: %6lu %-10s [0x%lx, 0x%lx) of 0x%lx\n", n, op->what, op->off, op->off + op->len, op->size);
	}
}

void
fsx_write(struct fsx_model *m, size_t off, size_t len, uint8_t *buf)
{
	unsigned value = (m->ops * 37 + off / DEV_BSIZE * 11 + off) % 255;

	/* Never zero, and different in neighbouring sectors and operations. */
	for (size_t i = 0; i < len; i++) {
		buf[i] = (uint8_t)(1 + value);
		value += (off + i + 1) % DEV_BSIZE == 0 ? 12 : 1;
		if (value >= 255)
			value -= 255;
	}
	memcpy(m->bytes + off, buf, len);
	m->size = MAX(m->size, off + len);
}

void
fsx_truncate(struct fsx_model *m, size_t size)
{
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

bool
fsx_compare(const struct fsx_model *m, const char *how, size_t off, const uint8_t *got, size_t len)
{
	size_t i = 0, last = len;

	if (memcmp(got, m->bytes + off, len) == 0)
		return (true);
	while (got[i] == m->bytes[off + i])
		i++;
	while (got[last - 1] == m->bytes[off + last - 1])
		last--;
	ktest_fail(__FILE__, __LINE__, "%s: byte 0x%lx is 0x%02x, must be 0x%02x; the last wrong one is at 0x%lx; EOF at 0x%lx",
	    how, off + i, got[i], m->bytes[off + i], off + last - 1, m->size);
	fsx_print_log(m);
	return (false);
}
