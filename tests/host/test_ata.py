#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""An ATA disk that stops answering in the middle of a request: it is reset, and the request repeated.

QEMU holds the disk's requests back, as if it had died, until the kernel gives one up and says so; then they flow again.  The kernel's
patience is ten seconds, so `make test` does this with one of the three ways to an ATA disk, chosen by SEED, and `make soak` with all.
"""

import re
import sys

sys.dont_write_bytecode = True
import guest  # noqa: E402
from guest import check, contains, equal, test  # noqa: E402
from rig import SEED, SOAK, drive_options  # noqa: E402

WAYS = ("ata", "pio", "ahci")
FILE = "/tour/story.txt"


def throttle(live, bytes_per_second):
    """Limit the first disk; 0: no limit."""
    live.query("block_set_io_throttle", device="disk0", bps=bytes_per_second, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)


def checksum(text):
    found = re.search(r"crc32 ([0-9a-f]{8}), 262144 bytes", text)
    check(found, f"no checksum in {text!r}")
    return found[1]


@test
def a_disk_that_stalls_is_reset_and_its_request_repeated():
    for way in WAYS if SOAK else WAYS[SEED % len(WAYS):][:1]:
        live = guest.Live("--disk", guest.default_disk(), *drive_options(way), timeout=120)
        wanted = checksum(live.ask(f"sum {FILE}"))
        live.ask("drop")
        throttle(live, 1)
        live.say(f"sum {FILE}")
        live.until(": no answer (")
        throttle(live, 0)
        said = live.answer()
        equal(f"{way}: the checksum of the file", checksum(said), wanted)
        check("given up" not in said and "any more" not in said, f"{way}: the kernel gave up: {said}")
        contains(f"{way}: the disk", live.ask("disks"), " 0 errors\n")
        equal(f"{way}: the exit status", live.end()[0], 0)


if __name__ == "__main__":
    sys.exit(guest.main("ata"))
