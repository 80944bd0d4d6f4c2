/* SPDX-License-Identifier: BSD-2-Clause */
/* CRC-32 as zlib, gzip and `cksum -a crc32b` compute it. */
#ifndef KERNEL_LIB_CRC32_H
#define KERNEL_LIB_CRC32_H

#include "kernel/lib/types.h"

/* Continue `crc`, which is 0 at the start, over `len` more bytes. */
uint32_t crc32(uint32_t crc, const void *data, size_t len);

#endif
