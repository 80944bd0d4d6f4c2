#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bench_user.py KERNEL: what system calls, fork and exec cost, in instructions (tests/user/bench_calls.c).

The emulated machine counts its TSC up by one for each instruction, so the program measures itself.
"""

import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from volume import mke2fs  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(TOP, "build", "user", "bench_calls")
MIB = 1 << 20

# name -> (what it is, at most so many; None: no goal yet)
ROWS = {
    "call.null": ("a system call that does nothing (getpid)", 110),
    "fork.1mib": ("fork, exit, wait; 1 MiB touched", None),
    "fork.16mib": ("  16 MiB touched", None),
    "fork.64mib": ("  64 MiB touched", None),
    "read.1": ("read of 1 byte of a file in memory", None),
    "read.4k": ("  4 KiB", None),
    "read.64k": ("  64 KiB", None),
    "write.4k": ("write of 4 KiB to a file in memory", None),
    "write.64k": ("  64 KiB", None),
    "exec.cold": ("vfork, exec of a static program to its main, from disk", None),
    "exec.warm": ("  its file in memory", None),
}


def main(kernel):
    with tempfile.TemporaryDirectory(prefix="faultline-bench-") as scratch:
        root = os.path.join(scratch, "root")
        for folder in ("bin", "dev"):
            os.makedirs(os.path.join(root, folder))
        for name in ("bench", "copy"):
            shutil.copy(PROGRAM, os.path.join(root, "bin", name))
        image = os.path.join(scratch, "bench.img")
        mke2fs(image, 4096, 16 * MIB, root)
        done = subprocess.run([os.path.join(TOP, "boot", "qemu"), "--icount", "--timeout", "120", "--kernel", kernel,
                               "--disk", image, "--", "init=/bin/bench", "--", "/bin/copy"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] in ROWS and words[1].isdigit():
            found[words[0]] = int(words[1])
    if done.returncode or set(found) != set(ROWS):
        sys.stderr.write(f"bench_user: status {done.returncode}, rows {sorted(found)}\n{text[-2000:]}\n")
        return 1
    print(f"\n{'processes':58} {'instructions':>13} {'goal':>7}")
    for name, (title, goal) in ROWS.items():
        late = " LATE" if goal is not None and found[name] > goal else ""
        print(f"{title:58} {found[name]:13,} {'' if goal is None else goal:>7}{late}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
