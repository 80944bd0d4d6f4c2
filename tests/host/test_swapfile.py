#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Swapping to a file of the root volume: by the word swap=/PATH, and by programs; e2fsck finds the volume whole after each.

What the kernel promises about the file while it serves is for its own `swapfile` suite; here is what a machine does from start to end, the end
included: a file that still serves then must be let go of, or its volume would not be left clean.
"""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
import mkimage  # noqa: E402
from rig import SEED, Rig, boot, check, must_pass  # noqa: E402
from run import volume  # noqa: E402
from volume import debugfs  # noqa: E402

MIB = 1 << 20

rig = Rig("swapfile")
IMAGE = rig.path("root.img")
SCRATCH = rig.path("scratch.img")


def image_with(source, name, content):
    """A copy of the volume with one more file."""
    given = rig.path("given")
    with open(given, "wb") as f:
        f.write(content)
    subprocess.run(["cp", "--sparse=always", source, IMAGE], check=True)
    debugfs(IMAGE, f"write {given} {name}", write=True)


def must_be_whole():
    problems = check(IMAGE)
    assert not problems, "\n".join(problems)


def says(serial, *sentences):
    for sentence in sentences:
        assert sentence in serial, f"the console does not say {sentence!r}:\n" + "\n".join(serial.splitlines()[-40:])


def swap_suite(bs):
    """The suite of a swap disk, most of it on the file; what needs a disk in front of which it can stand gets one."""
    image_with(volume(bs), "/swap.file", b"old bytes" * (2 * MIB // 9))
    with open(SCRATCH, "wb") as f:
        f.write(b"FAULTLINE SCRATCH")
        f.truncate(16 * MIB)
    status, serial = boot(rig, IMAGE, "selftest=swap*.*", f"seed={SEED}", "swap=/swap.file", options=("--disk", SCRATCH), timeout=200)
    must_pass(status, serial)
    says(serial, "swap: vdb, the file /swap.file, ")
    must_be_whole()


def script(text, *options, words=()):
    image_with(mkimage.ensure_default(), "/root/do", text.encode())
    status, serial = boot(rig, IMAGE, *words, "init=/bin/sh", "--", "/root/do", options=options)
    assert status == 0, serial
    must_be_whole()
    return serial


def programs():
    """dd holds 24 MiB at once in a machine of 16: that needs the file.  The shell says what it may not do with it, unlinks it, and ends."""
    serial = script("dd if=/dev/urandom of=/sw bs=64k count=512 2>/dev/null && busybox swapon /sw && cat /proc/swaps\n"
                    "echo more >>/sw; true >/sw; dd if=/dev/zero of=/dev/null bs=24M count=1 2>/dev/null && echo it fits\n"
                    "rm /sw; ls /sw; dd if=/dev/zero of=/dev/null bs=24M count=1 2>/dev/null && echo it still fits\n"
                    "grep swappgsout /proc/vmstat; true\n", "--mem", "16M")
    says(serial, "/sw ", "file\t", "/sw: Text file busy", "it fits\n", "it still fits\n", "ls: /sw: No such file or directory")
    paged = next(int(line.split()[1]) for line in serial.splitlines() if line.startswith("v_swappgsout"))
    assert paged > 2000, f"only {paged} pages were swapped out"
    assert "can't create /sw" in serial and serial.count("Text file busy") == 2, serial


def off_again():
    """swapoff gives the file back; a second one has nothing to do; others than root may not."""
    serial = script("dd if=/dev/urandom of=/sw bs=64k count=64 2>/dev/null; busybox swapon /sw; busybox swapon /dev/vda; busybox swapoff /sw\n"
                    "echo ours >/sw && cat /sw; busybox swapoff /sw; cat /proc/swaps\n"
                    "dd if=/dev/zero of=/hole bs=1 count=1 seek=4M 2>/dev/null; busybox swapon /hole; true\n")
    says(serial, "swapon: /dev/vda: Device or resource busy", "\nours\n", "swapoff: /sw: Invalid argument")
    assert "file\t" not in serial, serial


for size in (1024, 4096):
    rig.add(f"swapfile.suite_{size}", swap_suite, size)
rig.add("swapfile.programs", programs)
rig.add("swapfile.off_again", off_again)

if __name__ == "__main__":
    sys.exit(rig.main())
