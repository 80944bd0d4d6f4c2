#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Build an EFI system partition, a FAT volume with mtools, from files given by name.

    mkesp.py IMAGE LOADER.EFI KERNEL.ELF [COMMAND-LINE-FILE]

LOADER.EFI becomes \\EFI\\BOOT\\BOOTX64.EFI, which any UEFI firmware starts by itself; the loader looks
for its two files in \\faultline.
"""

import os
import subprocess
import sys

SLACK_BYTES = 2 << 20       # FAT's own structures and room to grow


class Failure(Exception):
    """A sentence for the user."""


def mtool(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace")
    if done.returncode:
        raise Failure(f"{' '.join(command)}: {done.stdout.strip()}")


def build(image, files):
    """files: {path on the volume, with slashes: path here}."""
    size = sum(os.path.getsize(path) for path in files.values()) + SLACK_BYTES
    with open(image, "wb") as f:
        f.truncate((size + (1 << 20) - 1) >> 20 << 20)
    mtool("mformat", "-i", image, "-v", "FAULTLINE", "::")
    made = set()
    for path, source in files.items():
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts)):
            folder = "::/" + "/".join(parts[:depth])
            if folder not in made:
                mtool("mmd", "-i", image, folder)
                made.add(folder)
        mtool("mcopy", "-i", image, source, "::/" + "/".join(parts))


def main(argv):
    if len(argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    names = ("EFI/BOOT/BOOTX64.EFI", "faultline/kernel.elf", "faultline/cmdline.txt")
    build(argv[0], dict(zip(names, argv[1:])))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Failure, OSError) as e:
        print(f"mkesp: {e}", file=sys.stderr)
        sys.exit(1)
