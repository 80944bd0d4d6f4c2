# SPDX-License-Identifier: BSD-2-Clause
"""Disk interrupts that come late: whoever asks a disk is asleep before the answer comes.  For the tests alone.

How long a request takes is the host's affair, and on a busy one it may be done before its thread has got as far as
waiting for it.  So the processor's task priority (CR8; Intel's manual, volume 3, 11.8.3.1) is raised to where no
interrupt passes from the moment of the request until a thread goes to sleep.  One processor only.
"""

import gdb
import stages


class Gate(gdb.Breakpoint):
    """Sets the task priority of the processor that comes by, and lets it go on."""

    def __init__(self, place, priority):
        super().__init__(f"*{place.address:#x}", internal=True)
        self.silent, self.priority = True, priority

    def stop(self):
        gdb.execute(f"set $cr8 = {self.priority}", to_string=True)
        return False


for found in stages.places():
    if found.stage in ("DISK_REQUEST", "SLEEP"):
        Gate(found, 15 if found.stage == "DISK_REQUEST" else 0)
