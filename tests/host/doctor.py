#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Print the versions of the tools that Faultline needs and say what is missing or too old."""

import os
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
# name, a file that proves it is there, Debian package, needed for
FILES = [
    ("grub-pc", "/usr/lib/grub/i386-pc/multiboot2.mod", "grub-pc-bin", "the ISO under BIOS"),
    ("grub-efi", "/usr/lib/grub/x86_64-efi/multiboot2.mod", "grub-efi-amd64-bin", "the ISO under UEFI"),
    ("gnu-efi", "/usr/lib/crt0-efi-x86_64.o", "gnu-efi", "the UEFI loader"),
    ("ovmf", "/usr/share/OVMF", "ovmf", "booting through UEFI"),
]


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
    for name, path, package, purpose in FILES:
        if os.path.exists(path):
            print(f"{name:14} {path} found")
        else:
            print(f"{name:14} not found")
            complaints.append(f"{path} is missing, which {purpose} needs: run make setup, or install {package}.")
    print()
    for sentence in complaints:
        print("doctor: " + sentence)
    if not complaints:
        print("doctor: everything that is needed is here.")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
