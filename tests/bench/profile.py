#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Where do the instructions of a measurement go?  Counts them all, by function: no sampling.

    make bench GLOB=warm                            builds the kernel and the volume
    tests/bench/profile.py warm --skip 1024         64 faults of the scenario `warm`, after 1024 touches
    tests/bench/profile.py cow --touch touch_write

QEMU logs each instruction between two touches (fixture.c's touch_read or touch_write), gdb switches the log on and off,
and the symbol table says which function an address belongs to; inlined functions count as their callers.  The soaker's
instructions, which are waiting, are left out.  Timer interrupts are more frequent than in a measurement, because each
stop of gdb is an opportunity for one.
"""

import argparse
import bisect
import collections
import os
import re
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSTRUCTION = re.compile(r"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")


def record(opts, scratch):
    """Run the scenario; the log of the touches asked for."""
    socket, log = os.path.join(scratch, "gdb.sock"), os.path.join(scratch, "qemu.log")
    machine = subprocess.Popen(
        [os.path.join(TOP, "boot", "qemu"), "--icount", "--kernel", opts.kernel, "--disk", opts.image + ",snapshot", "--mem",
         opts.mem, "--gdb=" + socket, "--log", log, "--qemu", "-singlestep", "--", f"bench={opts.scenario}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(socket) and machine.poll() is None:
        time.sleep(0.05)
    commands = [f"target remote {socket}", "tbreak bench_" + opts.scenario.replace("-", "_"), "continue",
                f"break {opts.touch}", f"ignore 2 {opts.skip}", "continue", "monitor log exec,nochain",
                f"ignore 2 {opts.count - 1}", "continue", "monitor log none", "monitor quit"]
    gdb = ["gdb", "-nx", "-q", "-batch"]
    for command in commands:
        gdb += ["-ex", command]
    subprocess.run(gdb + [opts.kernel], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    machine.wait()
    return log


def symbols(kernel):
    """Addresses and names of the kernel's functions, in order."""
    text = subprocess.run(["nm", "-n", kernel], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = [line.split() for line in text.splitlines()]
    found = [(int(f[0], 16), f[2]) for f in found if len(f) == 3 and f[1] in "tTwW"]
    return [address for address, _ in found], [name for _, name in found]


def count(log, kernel):
    """-> ({function: instructions}, {function: calls})"""
    addresses, names = symbols(kernel)
    instructions, calls = collections.Counter(), collections.Counter()
    with open(log, encoding="utf-8", errors="replace") as f:
        for found in filter(None, map(INSTRUCTION.match, f)):
            pc = int(found.group(1), 16)
            at = bisect.bisect(addresses, pc) - 1
            if at >= 0 and names[at] != "soaker":
                instructions[names[at]] += 1
                calls[names[at]] += pc == addresses[at]
    return instructions, calls


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("scenario")
    p.add_argument("--touch", default="touch_read", choices=("touch_read", "touch_write"))
    p.add_argument("--skip", type=int, default=16, metavar="N", help="touches before the log begins (default 16)")
    p.add_argument("--count", type=int, default=64, metavar="N", help="touches to log (default 64)")
    p.add_argument("--top", type=int, default=40, metavar="N", help="functions to print (default 40)")
    p.add_argument("--mem", default="256M")
    p.add_argument("--kernel", default=os.path.join(TOP, "build", "release-gcc", "kernel.elf"))
    p.add_argument("--image", default=os.path.join(TOP, "build", "images", "bench.img"))
    opts = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="faultline-profile-") as scratch:
        instructions, calls = count(record(opts, scratch), opts.kernel)
    total = sum(instructions.values())
    if total == 0:
        print(f"nothing was logged: is bench_{opts.scenario} there, and does it touch often enough?", file=sys.stderr)
        return 1
    print(f"{opts.scenario}: {total / opts.count:.0f} instructions a touch, {opts.count} touches")
    print("  insn/touch      %   calls/touch   insn/call  function")
    for name, n in instructions.most_common(opts.top):
        print(f"  {n / opts.count:10.1f}  {100 * n / total:5.1f}  {calls[name] / opts.count:12.2f}  "
              f"{n / max(1, calls[name]):10.1f}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
