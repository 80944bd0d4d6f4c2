/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32 as zlib and Ethernet have it, so that the host can compute the same. */
#ifndef TESTS_KERNEL_CRC32_H
#define TESTS_KERNEL_CRC32_H

#include "kernel/lib/types.h"

/* The checksum of what was summed up in `crc` (0: nothing yet) followed by these bytes. */
uint32_t crc32(uint32_t crc, const void *data, size_t len);

#endif
