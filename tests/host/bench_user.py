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
import mkimage  # noqa: E402
from volume import debugfs, mke2fs  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(TOP, "build", "user", "bench_calls")
MIB = 1 << 20

# name -> (what it is, Linux 6.1's figure, at most so many; None: not known)
ROWS = {
    "call.null": ("a system call that does nothing (getpid)", 316, 110),
    "fork.nothing": ("fork, exit, wait; nothing touched since the last", 124_000, 40_000),
    "fork.1mib": ("  1 MiB touched", None, None),
    "fork.16mib": ("  16 MiB touched", None, None),
    "fork.64mib": ("  64 MiB touched", 6_509_000, 2_000_000),
    "read.1": ("read of 1 byte of a file in memory", None, None),
    "read.4k": ("  4 KiB", None, None),
    "read.64k": ("  64 KiB", None, None),
    "write.4k": ("write of 4 KiB to a file in memory", None, None),
    "write.64k": ("  64 KiB", None, None),
    "exec.cold": ("vfork, exec of a static program to its main, from disk", None, None),
    "exec.warm": ("  its file in memory", None, None),
}


# The same for the default disk's shell.  The clock counts a nanosecond for each instruction, and shows hundredths of a second.
PROMPT = {
    "v_vnodein": ("first prompt of the default disk's shell: page-ins", 1),
    "v_vnodepgsin": ("  pages brought in", 1),
    "uptime": ("  instructions since the start, to 10 million", 10 ** 9),
}

# What busybox's shell says as the first thing that it does after its profile, by built-in commands alone.
ASK = """while read name value; do case $name in v_vnodein|v_vnodepgsin) echo "$name $value";; esac; done </proc/vmstat
read up rest </proc/uptime; echo "uptime $up"
"""


def first_prompt(kernel, scratch):
    """The default disk's shell, started as `make run` does -> {name of PROMPT: number}"""
    disk, script = os.path.join(scratch, "root.img"), os.path.join(scratch, "ask")
    subprocess.run(["cp", "--sparse=always", mkimage.ensure_default(), disk], check=True)
    with open(script, "w", encoding="ascii") as f:
        f.write(ASK)
    debugfs(disk, f"write {script} /root/ask", write=True)
    done = subprocess.run([os.path.join(TOP, "boot", "qemu"), "--icount", "--timeout", "300", "--kernel", kernel,
                           "--disk", disk, "--", "init=/bin/sh", "--", "-l", "/root/ask"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    return {words[0]: int(float(words[1]) * PROMPT[words[0]][1]) for words in map(str.split, text.splitlines())
            if len(words) == 2 and words[0] in PROMPT}


def main(kernel):
    with tempfile.TemporaryDirectory(prefix="faultline-bench-") as scratch:
        root = os.path.join(scratch, "root")
        for folder in ("bin", "dev"):
            os.makedirs(os.path.join(root, folder))
        for name in ("bench", "copy"):
            shutil.copy(PROGRAM, os.path.join(root, "bin", name))
        image = os.path.join(scratch, "bench.img")
        mke2fs(image, 4096, 16 * MIB, root)
        done = subprocess.run([os.path.join(TOP, "boot", "qemu"), "--icount", "--timeout", "300", "--kernel", kernel,
                               "--disk", image, "--", "init=/bin/bench", "--", "/bin/copy"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        prompt = first_prompt(kernel, scratch)
    text = done.stdout.decode(errors="replace").replace("\r", "")
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] in ROWS and words[1].isdigit():
            found[words[0]] = int(words[1])
    if done.returncode or set(found) != set(ROWS) or set(prompt) != set(PROMPT):
        sys.stderr.write(f"bench_user: status {done.returncode}, rows {sorted(found)} {sorted(prompt)}\n{text[-2000:]}\n")
        return 1
    print(f"\n{'processes':58} {'Linux':>10} {'goal':>10} {'Faultline':>13}")
    for name, (title, linux, goal) in ROWS.items():
        late = "  <- not reached" if goal is not None and found[name] > goal else ""
        columns = " ".join(f"{'-' if n is None else format(n, ','):>10}" for n in (linux, goal))
        print(f"{title:58} {columns} {found[name]:13,}{late}")
    for name, (title, _) in PROMPT.items():
        print(f"{title:58} {'-':>10} {'-':>10} {prompt[name]:13,}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
