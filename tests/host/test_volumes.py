#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Volumes of unusual shapes: each is filled, emptied and filled again by the kernel's `volume` suite, or refused by name.

mke2fs makes them, e2fsck finds nothing wrong with what the kernel left, and debugfs reads the bytes that the kernel wrote.
"""

import os
import re
import sys

sys.dont_write_bytecode = True
from rig import SEED, Rig, block_sizes, boot, check, command, disk_name, make_volume, must_pass, read_files  # noqa: E402
from volume import file_map, pattern, runs  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
FILE = re.compile(r"^# volume file (\S+) (\d+) (\S+)$", re.M)
FOLDERS = 5

# name -> (options of mke2fs, bytes of the disk)
SHAPES = {
    "defaults": ([], 8 * MIB),
    "revision_0": (["-b", "1024", "-r", "0", "-O", "none"], 4 * MIB),
    "revision_0_blocks_of_4096": (["-b", "4096", "-r", "0", "-O", "none"], 6 * MIB),
    "no_features": (["-b", "1024", "-O", "none"], 4 * MIB),
    "no_filetype": (["-b", "2048", "-O", "^filetype"], 4 * MIB),
    "super_in_every_group": (["-b", "1024", "-O", "^sparse_super,^resize_inode", "-g", "1024"], 6 * MIB),
    "sparse_super2": (["-b", "1024", "-O", "sparse_super2,^sparse_super,^resize_inode", "-g", "1024"], 6 * MIB),
    "groups_of_256_blocks": (["-b", "1024", "-g", "256", "-O", "^resize_inode"], 4 * MIB),
    "inodes_of_256_bytes": (["-b", "1024", "-I", "256"], 4 * MIB),
    "inodes_of_1024_bytes": (["-b", "1024", "-I", "1024"], 6 * MIB),
    "inodes_of_a_block": (["-b", "4096", "-I", "4096", "-N", "200"], 16 * MIB),
    "few_inodes": (["-b", "1024", "-N", "24"], 4 * MIB),
    "one_mib": (["-b", "1024"], 1 * MIB),
    "disk_with_half_a_block_more": (["-b", "4096"], 5 * MIB + 2 * KIB),
    "last_group_with_few_blocks": (["-b", "1024", "-g", "1024", "-O", "^resize_inode"], 4 * MIB + 100 * KIB),
    "reserved_blocks": (["-b", "1024", "-m", "40"], 4 * MIB),
    "journal": (["-b", "1024", "-O", "has_journal", "-J", "size=1"], 6 * MIB),
    "blocks_of_8192": (["-b", "8192"], 16 * MIB),
    "blocks_of_65536": (["-b", "65536"], 48 * MIB),
    "directory_index": (["-b", "1024", "-O", "dir_index"], 6 * MIB),
}
# name -> (options, what the kernel says)
REFUSED = {
    "extents": (["-O", "extents"], "needs features that ext2 does not have: extents"),
    "flex_bg": (["-O", "flex_bg"], "needs features that ext2 does not have: flex_bg"),
    "64bit": (["-O", "extents,64bit"], "needs features that ext2 does not have: extents 64bit"),
    "meta_bg": (["-O", "meta_bg,^resize_inode"], "needs features that ext2 does not have: meta_bg"),
}

rig = Rig("volumes")
ROOT = rig.path("root.img")
PASSED = []


def can_hang(shape):
    """Has it blocks that are at least as large as the drive's sectors?"""
    options = SHAPES[shape][0]
    return bool(block_sizes([int(options[options.index("-b") + 1]) if "-b" in options else 1024]))


def make(image, options, size):
    with open(image, "wb") as f:
        f.truncate(size)
    command(["mke2fs", "-q", "-F", "-t", "ext2", *options, image])


def boot_with(image, selftest):
    return boot(rig, image, f"selftest={selftest}", f"seed={SEED}", f"volume={disk_name(1)}", options=("--disk", ROOT))


def compare(image, serial):
    files = [(path[2:], int(size), source) for path, size, source in FILE.findall(serial)]
    assert files, "the kernel named no file to compare"
    found = read_files(image, [path for path, _, _ in files], rig.scratch.name)
    for path, size, source in files:
        assert path in found, f"{path} is not on the volume"
        assert found[path] == pattern(source, 0, size), f"{path} on disk is not what the kernel wrote ({size} bytes)"


def served(shape):
    image = rig.path("volume.img")
    make(image, *SHAPES[shape])
    status, serial = boot_with(image, "volume.is*")
    must_pass(status, serial)
    problems = check(image)
    assert not problems, "\n".join(problems)
    compare(image, serial)
    PASSED.append(shape)


def exercised():
    """The kernel's own test, under its own name: it ran, in the tests above, and passed."""
    assert PASSED, "no run passed"


def in_order():
    """A file written from front to back on an empty volume: about one piece in each group, pointer blocks included."""
    for bs, size in ((bs, {1024: 32, 4096: 48}[bs] * MIB) for bs in block_sizes((1024, 4096))):
        image = rig.path("volume.img")
        make(image, ["-b", str(bs), *(["-g", "2048"] if bs == 4096 else [])], size)
        status, serial = boot_with(image, "volume.a_file_in_order")
        must_pass(status, serial)
        problems = check(image)
        assert not problems, "\n".join(problems)
        data, pointers = file_map(image, "/order")
        assert len(data) == 20 * MIB // bs, f"{len(data)} blocks of {bs}"
        blocks = sorted([b for _, b in data] + [b for level in pointers.values() for b in level])
        pieces = runs(list(enumerate(blocks)))
        groups = -(-len(blocks) // (8192 if bs == 1024 else 2048))
        assert pieces <= groups + 2, f"blocks of {bs}: {pieces} pieces in {groups} groups"
        found = read_files(image, ["/order"], rig.scratch.name)
        assert found["/order"] == pattern("/m/order", 0, 20 * MIB), "/order is not what was written"


def refused(shape):
    image = rig.path("volume.img")
    options, sentence = REFUSED[shape]
    make(image, options, 16 * MIB)
    with open(image, "rb") as f:
        before = f.read()
    _, serial = boot_with(image, "volume.is*")
    assert sentence in serial, f"the console does not say {sentence!r}:\n" + serial[-600:]
    assert "panic" not in serial, serial[-600:]
    with open(image, "rb") as f:
        assert f.read() == before, "the volume was changed"


make_volume(ROOT, 4096, 4 * MIB, ("m",), stain=False)
for name in filter(can_hang, SHAPES):
    if os.environ.get("ONLY", "") in name:
        rig.add(f"host.volumes.{name}", served, name)
for name in REFUSED if block_sizes([1024]) else ():
    if os.environ.get("ONLY", "") in name:
        rig.add(f"host.volumes.{name}_is_refused", refused, name)
if os.environ.get("ONLY", "") in "volume.a_file_in_order":
    rig.add("volume.a_file_in_order", in_order)
if os.environ.get("ONLY") is None:
    rig.add("volume.is_filled_emptied_and_filled_again", exercised)

if __name__ == "__main__":
    sys.exit(rig.main())
