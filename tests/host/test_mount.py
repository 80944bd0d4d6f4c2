#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Mount, unmount by force and remount a second disk while it is in use, by the kernel's `mount` suite; then look at that disk.

Each of the suite's tests gets a new volume and a boot of its own, so that e2fsck's findings are those of one test.  After all of them but
one the volume must be clean; that one breaks the disk on purpose, and e2fsck -p must be able to mend what it left.
"""

import os
import sys

sys.dont_write_bytecode = True
from rig import SEED, SOAK, Rig, block_sizes, boot, check, disk_name, make_volume, must_pass, repair  # noqa: E402

MIB = 1 << 20
BLOCK_SIZES = block_sizes((1024, 4096, 65536)) if SOAK else block_sizes((1024, 4096))[:1]
DISK = disk_name(1)     # the root is the first
TESTS = ("a_busy_volume_stays", "read_only_is_read_only", "forced_with_open_and_mapped_files",
         "forced_while_a_fault_waits_for_the_disk", "forced_while_pages_are_written", "forced_from_a_broken_disk",
         "forced_with_a_file_without_a_name", "forced_while_names_change", "remounted_while_others_write",
         "remounted_under_a_mapping")
HARMED = ("forced_from_a_broken_disk",)
SAYS = {"a_busy_volume_stays": f"unmount: {DISK}: inode 12 (file busy) is in use by 1"}

rig = Rig("mount")
ROOT = rig.path("root.img")


def run(test):
    for bs in BLOCK_SIZES:
        image = rig.path("volume.img")
        make_volume(image, bs, {65536: 48}.get(bs, 12) * MIB)
        status, serial = boot(rig, image, f"selftest=mount.{test}", f"seed={SEED}", f"volume={DISK}", options=("--disk", ROOT))
        must_pass(status, serial)
        assert SAYS.get(test, "") in serial, f"the console does not say {SAYS[test]!r}"
        problems = repair(image) if test in HARMED else check(image)
        assert not problems, f"blocks of {bs}:\n" + "\n".join(problems)


make_volume(ROOT, 4096, 4 * MIB, ("m",), stain=False)
for name in TESTS:
    if os.environ.get("ONLY", "") in name:
        rig.add(f"mount.{name}", run, name)

if __name__ == "__main__":
    sys.exit(rig.main())
