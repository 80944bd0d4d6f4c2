/* SPDX-License-Identifier: BSD-2-Clause */
/* fw_cfg: small files that QEMU's command line hands to the guest. */
#ifndef DRIVERS_FW_CFG_H
#define DRIVERS_FW_CFG_H

#include "kernel/lib/types.h"

/*
 * Read the item `name` into buf and end it with a NUL; what doesn't fit is cut.
 * => works before anything else does.  Returns its length in buf; -1 when there is no such item or
 *    no fw_cfg.
 */
ssize_t fw_cfg_read(const char *name, char *buf, size_t size);

#endif
