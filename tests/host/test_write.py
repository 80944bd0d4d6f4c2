#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Run each of the kernel's tests that write files in a boot of its own, on a new volume; afterwards e2fsck finds nothing.

`make test` gives each test one of the block sizes, another one with each seed; `make soak` gives it all.
"""

import glob
import os
import re
import sys

sys.dont_write_bytecode = True
import tap  # noqa: E402
from rig import SEED, SOAK, TOP, Rig, block_sizes, boot, check, make_volume, must_pass  # noqa: E402

MIB = 1 << 20
BLOCK_SIZES = block_sizes((1024, 2048, 4096, 8192, 65536))
SUITES = ("ext2w", "vnuser")

rig = Rig("write")
MASTERS = {}


def master(bs):
    """A volume that runs are given copies of."""
    if bs not in MASTERS:
        MASTERS[bs] = rig.path(f"master-{bs}.img")
        make_volume(MASTERS[bs], bs, 56 * MIB if bs == 65536 else 24 * MIB)
    return MASTERS[bs]


def names():
    """The tests of these suites, as the sources have them."""
    for path in sorted(glob.glob(os.path.join(TOP, "tests", "kernel", "t_*.c"))):
        with open(path, encoding="utf-8") as f:
            yield from (f"{suite}.{name}" for suite, name in re.findall(r"^KTEST\((\w+), (\w+)\)", f.read(), re.M)
                        if suite in SUITES)


def run(name, sizes):
    for bs in sizes:
        image = rig.path("volume.img")
        with open(master(bs), "rb") as source, open(image, "wb") as f:
            f.write(source.read())
        status, serial = boot(rig, image, f"selftest={name}", f"seed={SEED}")
        if tap.judge(serial, status).skipped != [name]:
            must_pass(status, serial)
        problems = check(image)
        assert not problems, f"blocks of {bs}:\n" + "\n".join(problems)


for number, test in enumerate(names()):
    if os.environ.get("ONLY", "") in test:
        rig.add(f"host.write.{test}", run, test, BLOCK_SIZES if SOAK else [BLOCK_SIZES[(SEED + number) % len(BLOCK_SIZES)]])

if __name__ == "__main__":
    sys.exit(rig.main())
