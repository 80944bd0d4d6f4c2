#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Print the versions of the tools that Faultline needs and say what is missing or too old."""

import re
import shutil
import subprocess
import sys

# name, command that prints the version, oldest version that works, Debian package, needed for
TOOLS = [
    ("make", ["make", "--version"], (4, 0), "make", "building"),
    ("gcc", ["gcc", "--version"], (12, 0), "gcc", "building"),
    ("clang", ["clang", "--version"], (14, 0), "clang", None),
    ("ld", ["ld", "--version"], (2, 40), "binutils", "building"),
    ("nm", ["nm", "--version"], (2, 40), "binutils", "building"),
    ("python3", [sys.executable, "--version"], (3, 9), "python3", "building and testing"),
    ("qemu", ["qemu-system-x86_64", "--version"], (7, 2), "qemu-system-x86", "running"),
    ("qemu-io", ["qemu-io", "--version"], (7, 2), "qemu-utils", "testing"),
    ("grub-mkrescue", ["grub-mkrescue", "--version"], (2, 4), "grub-common", "the ISO"),
    ("xorriso", ["xorriso", "-version"], (1, 4), "xorriso", "the ISO"),
    ("mformat", ["mformat", "--version"], (4, 0), "mtools", "the ISO"),
    ("gdb", ["gdb", "--version"], (12, 0), "gdb", "make gdb"),
    ("mke2fs", ["mke2fs", "-V"], (1, 46), "e2fsprogs", "disk images"),
    ("debugfs", ["debugfs", "-V"], (1, 46), "e2fsprogs", "disk images"),
    ("e2fsck", ["e2fsck", "-V"], (1, 46), "e2fsprogs", "disk images"),
]
GRUB_BIOS = "/usr/lib/grub/i386-pc/multiboot2.mod"


def version_line(command):
    """The first line of the tool's output that holds a version, or None when it cannot be run."""
    path = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/sbin")
    if path is None:
        return None
    try:
        done = subprocess.run([path] + command[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    for line in done.stdout.splitlines():
        if re.search(r"\d+\.\d+", line):
            return line.strip()
    return None


def version_of(line):
    """The version in such a line: the first number with a dot outside parentheses, else any."""
    for text in (re.sub(r"\([^)]*\)", " ", line), line):
        found = re.search(r"(\d+)\.(\d+)", text)
        if found:
            return int(found.group(1)), int(found.group(2))
    return 0, 0


def main():
    complaints = []
    for name, command, oldest, package, purpose in TOOLS:
        line = version_line(command)
        if line is None:
            print(f"{name:14} not found")
            if purpose:
                complaints.append(f"{name} is missing, which {purpose} needs: run make setup, or install {package}.")
            else:
                print(f"{'':14} ({name} is only needed for make CC={name}: install {package})")
            continue
        print(f"{name:14} {line}")
        if version_of(line) < oldest:
            complaints.append(f"{name} {'.'.join(map(str, version_of(line)))} is too old: "
                              f"Faultline needs {'.'.join(map(str, oldest))} or later from {package}.")
    try:
        open(GRUB_BIOS, "rb").close()
        print(f"{'grub-pc':14} {GRUB_BIOS} found")
    except OSError:
        print(f"{'grub-pc':14} not found")
        complaints.append("GRUB's modules for BIOS are missing, which the ISO needs: run make setup, or install grub-pc-bin.")
    print()
    for sentence in complaints:
        print("doctor: " + sentence)
    if not complaints:
        print("doctor: everything that is needed is here.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
