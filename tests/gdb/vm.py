# SPDX-License-Identifier: BSD-2-Clause
"""Load all `vm` commands into gdb.  .gdbinit at the top sources this file."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import common  # noqa: E402

common.Prefix()
import control, cpus, disk, explain, laws, maps, memory, object, page, printers, queues, ring, selftest, session, stages, thread, user, waits, walk  # noqa: E401, E402, E501, F401
