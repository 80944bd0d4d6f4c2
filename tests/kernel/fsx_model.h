/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a file must hold after a series of operations: an array of bytes, a size, and the last
 * operations.
 *
 * The model knows nothing of the kernel under test.  It also chooses where the operations strike:
 * around the borders of sectors, blocks, pages and of the file, where the mistakes are.
 */
#ifndef TESTS_KERNEL_FSX_MODEL_H
#define TESTS_KERNEL_FSX_MODEL_H

#include "kernel/lib/types.h"

#define FSX_LOG		20	/* operations remembered */

struct fsx_op {
	const char	*what;
	uint64_t	 off, len;	/* bytes of the window */
	uint64_t	 size;		/* of the file before it */
};

struct fsx_model {
	uint8_t		*bytes;		/* [size, max) is zero */
	size_t		 max, size;
	uint64_t	 base;		/* the window's offset in the file: for messages */
	uint32_t	 block;		/* the filesystem's, bytes */
	uint64_t	 ops;		/* logged so far */
	struct fsx_op	 log[FSX_LOG];	/* a ring */
	uint64_t	 stream;	/* of random numbers */
};

/* => sleeps for memory */
void fsx_init(struct fsx_model *m, size_t max, uint64_t base, uint32_t block, uint64_t seed);
void fsx_fini(struct fsx_model *m);

uint64_t fsx_random(struct fsx_model *m, uint64_t below);	/* [0, below); below > 0 */
/* An offset in [0, limit], preferably close to a border. */
size_t fsx_pick_offset(struct fsx_model *m, size_t limit);
/* A length in [1, limit], preferably short; some end close to a border. */
size_t fsx_pick_length(struct fsx_model *m, size_t off, size_t limit);

/* Note an operation before it begins. */
void fsx_log(struct fsx_model *m, const char *what, uint64_t off, uint64_t len);
void fsx_print_log(const struct fsx_model *m);

/*
 * Fill buf with bytes that no other operation writes, and put them into the model, which grows as
 * needed.
 */
void fsx_write(struct fsx_model *m, size_t off, size_t len, uint8_t *buf);
void fsx_truncate(struct fsx_model *m, size_t size);
/* Is this what [off, off + len) must be?  If not: fails the running test and prints the log. */
bool fsx_compare(const struct fsx_model *m, const char *how, size_t off, const uint8_t *got, size_t len);

#endif
