#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run the file exerciser with every block size; then e2fsck and the bytes on disk must agree with it.

The kernel compares each operation with its model and prints the checksum of what the file must hold in the end.  Here the volume is
looked at as it was left: nothing to repair, and the file read by debugfs has that checksum.  BS=N runs one block size only, as
run.py does, which has them run side by side; DRIVE= says where the disk hangs (rig.DRIVES).
"""

import os
import re
import sys
import zlib

sys.dont_write_bytecode = True
from rig import SEED, SOAK, Rig, block_sizes, boot, check, make_volume, must_pass, read_files  # noqa: E402

MIB = 1 << 20
BLOCK_SIZES = (1024, 2048, 4096, 8192, 65536)
OPERATIONS = os.environ.get("FSX") or ("1000000" if SOAK else "100000")
FILE = re.compile(r"^# fsx file (\S+) (\d+) ([0-9a-f]{8})$", re.M)

rig = Rig("fsx")


def run(bs):
    image = rig.path(f"fsx-{bs}.img")
    make_volume(image, bs, 48 * MIB if bs == 65536 else 16 * MIB)
    status, serial = boot(rig, image, "selftest=fsx.*", f"seed={SEED}", f"fsx={OPERATIONS}",
                          timeout=60 + int(OPERATIONS) // 20)
    must_pass(status, serial)
    problems = check(image)
    if problems:
        raise AssertionError("\n".join(problems))
    files = FILE.findall(serial)
    assert files, "the kernel named no file to compare"
    for path, size, crc in files:
        found = read_files(image, [path], rig.scratch.name)
        assert path in found, f"{path} is not on the volume"
        data = found[path]
        assert len(data) == int(size) and zlib.crc32(data) == int(crc, 16), (
            f"{path} on disk: {len(data)} bytes, CRC {zlib.crc32(data):08x}; in the kernel: {size} bytes, CRC {crc}")
    os.unlink(image)


for size in block_sizes(BLOCK_SIZES):
    if not os.environ.get("BS") or os.environ["BS"] == str(size):
        rig.add(f"host.fsx.blocks_of_{size}", run, size)

if __name__ == "__main__":
    sys.exit(rig.main())
