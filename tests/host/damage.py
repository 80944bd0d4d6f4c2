#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Make small damaged ext2 volumes, each with one thing wrong.

The kernel must answer each with an error, never with a panic or an endless loop.  What else is
expected of it goes on the kernel's command line as damage=WORD:

    refuse     mounting fails
    errors     mounting fails, or walking the whole tree meets at least one error
    readonly   mounting read-only works and the whole tree can be read; read-write is refused
    any        the kernel survives; what it can still read is its own business
    none       nothing is wrong: mounting and reading the whole tree work (the base image)

    damage.py FOLDER     make all images; used by run.py through build_all()
"""

import os
import random
import struct
import sys
import tempfile

sys.dont_write_bytecode = True
from volume import Failure, command, fsck_clean, mke2fs, pattern  # noqa: E402

BS = 1024
SIZE = 1 << 20
FUZZ_IMAGES = 64        # on one disk
ROOT_INO = 2


class Volume:
    """An ext2 image in memory, 1 KiB blocks and one block group, with the fields that get damaged."""

    SUPER = {"inodes_count": (0, "I"), "blocks_count": (4, "I"), "first_data_block": (20, "I"),
             "log_block_size": (24, "I"), "log_frag_size": (28, "I"), "blocks_per_group": (32, "I"),
             "frags_per_group": (36, "I"), "inodes_per_group": (40, "I"), "magic": (56, "H"), "rev_level": (76, "I"),
             "first_ino": (84, "I"), "inode_size": (88, "H"), "incompat": (96, "I"), "ro_compat": (100, "I")}
    GROUP = {"block_bitmap": 0, "inode_bitmap": 4, "inode_table": 8}
    INODE = {"mode": (0, "H"), "size": (4, "I"), "links": (26, "H"), "blocks": (28, "I"), "size_high": (108, "I")}

    def __init__(self, raw):
        self.raw = bytearray(raw)

    def get(self, at, form):
        return struct.unpack_from("<" + form, self.raw, at)[0]

    def put(self, at, form, value):
        struct.pack_into("<" + form, self.raw, at, value)

    def super_get(self, field):
        at, form = self.SUPER[field]
        return self.get(1024 + at, form)

    def super_set(self, **fields):
        for field, value in fields.items():
            at, form = self.SUPER[field]
            self.put(1024 + at, form, value)

    def group_set(self, **fields):
        for field, value in fields.items():
            self.put(2 * BS + self.GROUP[field], "I", value)

    def inode_at(self, ino):
        return self.get(2 * BS + 8, "I") * BS + (ino - 1) * self.super_get("inode_size")

    def inode_set(self, ino, **fields):
        for field, value in fields.items():
            at, form = self.INODE[field]
            self.put(self.inode_at(ino) + at, form, value)

    def block_get(self, ino, n):
        return self.get(self.inode_at(ino) + 40 + 4 * n, "I")

    def block_set(self, ino, n, value):
        self.put(self.inode_at(ino) + 40 + 4 * n, "I", value)

    def entries(self, ino):
        """Offsets in the image and names of the entries of a directory's first block."""
        at = self.block_get(ino, 0) * BS
        end = at + BS
        while at < end:
            yield at, bytes(self.raw[at + 8:at + 8 + self.raw[at + 6]]).decode("latin-1")
            at += self.get(at + 4, "H")

    def entry(self, ino, name):
        for at, found in self.entries(ino):
            if found == name:
                return at
        raise Failure(f"damage: the base image has no entry {name}")

    def ino(self, path):
        ino = ROOT_INO
        for name in path.strip("/").split("/"):
            ino = self.get(self.entry(ino, name), "I")
        return ino


def base_image(out):
    """A healthy little volume: files with one and two levels of indirection, folders, one of them large, symlinks."""
    with tempfile.TemporaryDirectory(prefix="faultline-damage-") as root:
        def put(name, size):
            with open(os.path.join(root, name), "wb") as f:
                f.write(pattern("/" + name, 0, size))
        os.mkdir(os.path.join(root, "dir"))
        put("small", 700)
        put("file", 30 * BS)
        put("big", 300 * BS + 100)
        put("dir/one", 100)
        put("dir/two", 5000)
        os.mkdir(os.path.join(root, "names"))       # with a pointer block, and large enough for an index in memory
        for n in range(150):
            os.link(os.path.join(root, "small"), os.path.join(root, "names", f"{n:0100}"))
        os.symlink("small", os.path.join(root, "fast"))
        os.symlink("./" * 50 + "small", os.path.join(root, "slow"))
        mke2fs(out, BS, SIZE, root, "none,sparse_super,large_file,filetype", 64)
    fsck_clean(out)


# ---- one function for each kind of damage: (name, expected, what it does to a Volume) --------------

def super_field(expected, label, **fields):
    return "super-" + label, expected, lambda v: v.super_set(**fields)


def group_field(label, **fields):
    return "group-" + label, "errors", lambda v: v.group_set(**fields)


def inode_field(label, path, expected="errors", **fields):
    return "inode-" + label, expected, lambda v: v.inode_set(ROOT_INO if path == "/" else v.ino(path), **fields)


def pointer(label, path, n, value):
    """Set i_block[n] of a file; `value` may be computed from the volume."""
    def damage(v):
        v.block_set(v.ino(path), n, value(v) if callable(value) else value)
    return "pointer-" + label, "errors", damage


def in_indirect(label, path, slot, value, expected="errors"):
    """Set one entry of the block that i_block[slot] of a file points to."""
    def damage(v):
        block = v.block_get(v.ino(path), slot)
        v.put(block * BS + 4, "I", value(v, block) if callable(value) else value)
    return "indirect-" + label, expected, damage


def entry(label, folder, name, offset, form, value):
    """Set a field of a directory entry: inode 0, rec_len 4, name_len 6, file_type 7."""
    def damage(v):
        v.put(v.entry(v.ino(folder) if folder else ROOT_INO, name) + offset, form, value)
    return "entry-" + label, "errors", damage


def pointers_of_link(v):
    """A symbolic link that has a pointer block, which is one of its own blocks as well."""
    block = v.block_get(v.ino("file"), 12)
    v.block_set(v.ino("slow"), 12, block)
    v.put(block * BS + 4, "I", block)


def truncated(v):
    del v.raw[SIZE // 4:]


def nothing_left(v):
    v.raw[:] = bytes(512)


def all_zero(v):
    v.raw[:] = bytes(SIZE)


DAMAGES = [
    super_field("refuse", "magic-zero", magic=0),
    super_field("refuse", "log-block-size-absurd", log_block_size=0xFFFFFFFF),
    super_field("refuse", "log-block-size-7", log_block_size=7),
    super_field("refuse", "inodes-per-group-0", inodes_per_group=0),
    super_field("refuse", "inodes-per-group-huge", inodes_per_group=0x7FFFFFFF),
    super_field("refuse", "blocks-per-group-0", blocks_per_group=0),
    super_field("refuse", "blocks-per-group-huge", blocks_per_group=0xFFFFFFF8),
    super_field("refuse", "blocks-count-0", blocks_count=0),
    super_field("refuse", "blocks-count-past-disk", blocks_count=0x7FFFFFFF),
    super_field("refuse", "inodes-count-0", inodes_count=0),
    super_field("refuse", "inodes-count-huge", inodes_count=0xFFFFFFFF),
    super_field("refuse", "first-data-block-huge", first_data_block=0xFFFFFFFF),
    super_field("refuse", "inode-size-0", inode_size=0),
    super_field("refuse", "inode-size-odd", inode_size=100),
    super_field("refuse", "inode-size-past-block", inode_size=4096),
    super_field("refuse", "rev-level-unknown", rev_level=99),
    super_field("refuse", "incompat-unknown", incompat=0x80000002),
    super_field("refuse", "incompat-extents", incompat=0x42),
    super_field("readonly", "ro-compat-unknown", ro_compat=0x80000003),
    group_field("inode-table-past-disk", inode_table=0x00FFFFFF),
    group_field("inode-table-0", inode_table=0),
    group_field("inode-table-at-end", inode_table=SIZE // BS - 1),
    group_field("inode-table-overflow", inode_table=0xFFFFFFFF),
    ("group-bitmaps-past-disk", "any", lambda v: v.group_set(block_bitmap=0xFFFFFF, inode_bitmap=0xFFFFFE)),
    inode_field("root-not-a-directory", "/", mode=0o100644),
    inode_field("root-mode-0", "/", mode=0),
    inode_field("root-no-links", "/", expected="any", links=0),
    inode_field("root-size-0", "/", size=0),
    inode_field("root-size-huge", "/", size=0xFFFFFC00),
    inode_field("dir-size-odd", "dir", size=1000),
    inode_field("file-mode-unknown", "file", mode=0o170644),
    inode_field("file-size-negative", "file", size_high=0x80000000),
    inode_field("file-size-huge", "file", size_high=0x7FFFFFFF, size=0xFFFFFFFF),
    inode_field("file-size-past-limit", "file", size_high=0x00100000),
    inode_field("symlink-size-past-block", "slow", size=5000),
    inode_field("symlink-size-huge", "slow", size=0xFFFFFFFF),
    inode_field("symlink-size-0", "fast", expected="any", size=0),
    inode_field("fast-symlink-size-61", "fast", size=61),
    pointer("direct-past-disk", "file", 0, 0x00FFFFFF),
    pointer("direct-all-ones", "file", 3, 0xFFFFFFFF),
    pointer("direct-at-superblock", "dir/one", 0, 1),
    pointer("direct-at-inode-table", "dir/two", 1, lambda v: v.get(2 * BS + 8, "I")),
    pointer("indirect-past-disk", "file", 12, 0x00FFFFFF),
    pointer("double-past-disk", "big", 13, 0x7FFFFFFF),
    pointer("double-is-group-table", "big", 13, 2),
    ("pointer-directory-past-disk", "errors", lambda v: v.block_set(v.ino("dir"), 0, 0x00FFFFFF)),
    ("pointer-directory-hole", "errors", lambda v: v.block_set(v.ino("dir"), 0, 0)),
    in_indirect("data-past-disk", "file", 12, 0x00FFFFFF),
    in_indirect("points-at-itself", "big", 13, lambda v, block: block, expected="any"),
    ("indirect-of-link-points-at-itself", "any", pointers_of_link),
    in_indirect("second-level-past-disk", "big", 13, lambda v, block: 0xFFFFFFFE, expected="any"),
    entry("rec-len-0", "dir", "one", 4, "H", 0),
    entry("rec-len-misaligned", "dir", "one", 4, "H", 13),
    entry("rec-len-overruns", "dir", "one", 4, "H", 2000),
    entry("rec-len-too-short", "dir", "one", 4, "H", 8),
    entry("name-len-past-rec-len", "dir", "one", 6, "B", 255),
    entry("name-len-0", "dir", "one", 6, "B", 0),
    entry("inode-past-count", "dir", "one", 0, "I", 1000000),
    entry("inode-all-ones", "dir", "one", 0, "I", 0xFFFFFFFF),
    entry("inode-reserved", "dir", "one", 0, "I", 1),
    entry("slash-in-name", "dir", "one", 9, "B", ord("/")),
    ("entry-inode-free", "errors", lambda v: v.put(v.entry(v.ino("dir"), "one"), "I", v.super_get("inodes_count"))),
    ("entry-directory-loop", "any", lambda v: v.put(v.entry(v.ino("dir"), "one"), "I", ROOT_INO)),
    ("truncated-image", "errors", truncated),
    ("one-sector", "refuse", nothing_left),
    ("all-zero", "refuse", all_zero),
]


# ---- many at random, side by side on one disk ----------------------------------------------------

def random_bytes(rng, v):
    """Bytes changed where the metadata are: superblock, descriptors, bitmaps, tables, directories, pointer blocks."""
    table = v.get(2 * BS + 8, "I") * BS
    regions = [(1024, 1024 + 264), (2 * BS, 2 * BS + 32), (table, table + 24 * v.super_get("inode_size")),
               (v.block_get(ROOT_INO, 0) * BS, v.block_get(ROOT_INO, 0) * BS + 200),
               (v.block_get(v.ino("dir"), 0) * BS, v.block_get(v.ino("dir"), 0) * BS + 100),
               (v.block_get(v.ino("big"), 13) * BS, v.block_get(v.ino("big"), 13) * BS + 16),
               *((v.get(2 * BS + 4 * n, "I") * BS, v.get(2 * BS + 4 * n, "I") * BS + 128) for n in (0, 1))]
    for _ in range(rng.randint(1, 12)):
        # The superblock is hit seldom: a volume that cannot be mounted tests nothing else.
        first, last = rng.choice(regions[1:] * 3 + regions[:1])
        v.raw[rng.randrange(first, last)] = rng.randrange(256)


def crossed_pointers(rng, v):
    """Numbers of blocks and inodes changed for other such numbers: metadata that leads to metadata."""
    inos = [ROOT_INO, 11] + [v.ino(path) for path in ("small", "file", "big", "dir", "dir/one", "dir/two", "names", "fast", "slow")]
    pointer_blocks = [v.block_get(v.ino(path), n) for path, n in (("file", 12), ("names", 12), ("big", 12), ("big", 13))]
    pointer_blocks.append(v.get(pointer_blocks[-1] * BS, "I"))
    places = [v.inode_at(ino) + 40 + 4 * n for ino in inos for n in range(15)]
    places += [v.inode_at(ino) + 104 for ino in inos]           # the block of attributes
    places += [block * BS + 4 * n for block in pointer_blocks for n in range(8)]
    blocks = pointer_blocks + [v.block_get(ino, 0) for ino in inos if ino != v.ino("fast")] + \
        [v.get(2 * BS + at, "I") for at in (0, 4, 8)] + [0, 1, 2, SIZE // BS - 1]
    entries = [at for ino in (ROOT_INO, v.ino("dir")) for at, _ in v.entries(ino)]
    for _ in range(rng.randint(1, 6)):
        kind = rng.randrange(8)
        ino = rng.choice(inos)
        if kind == 0:
            v.put(rng.choice(entries), "I", rng.choice(inos))
        elif kind == 1:
            v.inode_set(ino, links=rng.choice((0, 1, 2, 65535)))
        elif kind == 2:
            v.inode_set(ino, mode=rng.choice((0o040755, 0o100644, 0o120777, 0o010644, 0o060644)))
        elif kind == 3:
            v.inode_set(ino, size=rng.choice((0, 1, BS, 13 * BS, 300 * BS, 0x7FFFFFFF)))
        else:
            v.put(rng.choice(places), "I", rng.choice(blocks))


def build_many(path, seed, count=FUZZ_IMAGES):
    """A disk with a volume in each of `count` partitions (at most 64), each damaged in another way by the seed."""
    base = path + ".base"
    base_image(base)
    with open(base, "rb") as f:
        raw = f.read()
    os.unlink(base)
    with open(path, "wb") as f:
        f.truncate((count + 2) * SIZE)
    lines = "".join(f"start={(n + 1) * SIZE // 512}, size={SIZE // 512}\n" for n in range(count))
    command(["sfdisk", "--quiet", path], stdin="label: gpt\n" + lines)
    with open(path, "r+b") as f:
        for n in range(count):
            volume = Volume(raw)
            (crossed_pointers if n % 2 else random_bytes)(random.Random(f"{seed}/{n}"), volume)
            for at in range(0, SIZE, BS):
                if any(volume.raw[at:at + BS]):
                    f.seek((n + 1) * SIZE + at)
                    f.write(volume.raw[at:at + BS])


def build_all(folder):
    """Make the images that are damaged in one known way -> [(name, expected, path)]."""
    os.makedirs(folder, exist_ok=True)
    base = os.path.join(folder, "base.img")
    base_image(base)
    with open(base, "rb") as f:
        raw = f.read()
    made = [("healthy", "none", base)]
    for name, expected, damage in DAMAGES:
        volume = Volume(raw)
        damage(volume)
        if bytes(volume.raw) == raw:
            raise Failure(f"damage: the image {name} came out undamaged")
        path = os.path.join(folder, name + ".img")
        with open(path, "wb") as f:
            f.write(volume.raw)
        made.append((name, expected, path))
    return made


if __name__ == "__main__":
    try:
        for name, expected, path in build_all(sys.argv[1] if len(sys.argv) > 1 else "build/images/damage"):
            print(f"{expected:9} {path}")
    except (Failure, OSError) as e:
        print(f"damage: {e}", file=sys.stderr)
        sys.exit(1)
