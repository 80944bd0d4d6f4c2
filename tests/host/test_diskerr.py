#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Break the blocks of one kind at a time, for reading or for writing, and run the kernel's `diskerr` suite on that disk.

The kernel's test (tests/kernel/t_diskerr.c) checks every operation's error; that the run ends with its status at all shows that
nothing hung and that the machine shut down in order.  Here the disk is looked at afterwards: what did not need the broken block is as it
should be, and e2fsck mends the rest without help.
"""

import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True
from rig import DRIVE, DRIVES, SEED, SOAK, Rig, block_sizes, boot, check, must_pass, read_files, repair  # noqa: E402
from volume import Failure, debugfs, file_map, mke2fs, pattern, write_sparse  # noqa: E402

MIB, KIB, PAGE = 1 << 20, 1 << 10, 4096
BLOCK_SIZES = (1024, 2048, 4096, 65536) if SOAK else (1024, 4096)
ATA = ("ata", "pio", "ahci")
BAD_PAGE = 5
DATA = 32 * PAGE
SWAP_BYTES = 4 * MIB
KINDS = ("read-data", "read-indirect", "read-inode", "read-directory", "read-bitmap", "read-inode-bitmap",
         "write-data", "write-mapped", "write-once", "write-indirect", "write-inode", "write-bitmap",
         "write-inode-bitmap", "write-directory", "write-bitmap-once", "write-inode-bitmap-once", "write-directory-once",
         "read-swap", "write-swap")
# After these the volume holds nothing but what was meant to be on it.
UNHARMED = ("read-swap", "write-swap", "read-data", "read-inode", "read-directory", "write-data", "write-mapped", "write-once",
            "write-bitmap-once", "write-inode-bitmap-once", "write-directory-once")

rig = Rig("diskerr")
RUNS = []


def build(bs, image):
    with tempfile.TemporaryDirectory(prefix="faultline-diskerr-") as host:
        for folder in ("e/dir", "e/n"):
            os.makedirs(os.path.join(host, folder))
        ind = 12 * bs + 8 * max(bs, PAGE)
        for name, size, extents in (("data", DATA, [(0, DATA)]), ("ind", ind, [(0, ind)]), ("other", 64 * KIB, [(0, 64 * KIB)]),
                                    ("holes", ind, [(0, bs), (15 * bs, bs)]), ("dir/x", 100, [(0, 100)])):
            write_sparse(os.path.join(host, "e", name), "/e/" + name, size, extents)
        for n in range(64):
            with open(os.path.join(host, "e", "n", f"{n:02}"), "wb"):
                pass
        mke2fs(image, bs, {65536: 32}.get(bs, 12) * MIB, host)


def broken_blocks(image, bs, kind):
    """The sectors that fail."""
    what = kind.partition("-")[2].removesuffix("-once")
    if what == "swap":
        return list(range(BAD_PAGE * PAGE // 512, (BAD_PAGE + 1) * PAGE // 512))
    if what in ("data", "mapped", "once"):
        blocks = dict(file_map(image, "/e/data")[0])
        return [blocks[at // bs] * (bs // 512) + at % bs // 512 for at in range(BAD_PAGE * PAGE, (BAD_PAGE + 1) * PAGE, 512)]
    if what == "indirect":
        block = file_map(image, "/e/ind" if kind.startswith("read") else "/e/holes")[1]["IND"][0]
    elif what == "inode":
        block = int(re.search(r"located at block (\d+)", debugfs(image, "imap /e/n/40")).group(1))
    elif what == "directory":
        block = file_map(image, "/e/dir")[0][0][1]
    else:
        name = "inode bitmap" if what == "inode-bitmap" else "block bitmap"
        block = int(re.search(rf"Group\s+0: .*?{name} at (\d+)", debugfs(image, "stats")).group(1))
    return list(range(block * (bs // 512), (block + 1) * (bs // 512)))


def write_rules(path, kind, sectors):
    """An event only arms a rule: from then on it hits every request that its iotype admits."""
    iotype = kind.partition("-")[0]
    with open(path, "w", encoding="ascii") as f:
        for sector in sectors:
            f.write(f'[inject-error]\nevent = "{iotype}_aio"\niotype = "{iotype}"\nerrno = "5"\nsector = "{sector}"\n'
                    f'once = "{"on" if kind.endswith("-once") else "off"}"\nimmediately = "off"\n\n')


def same(found, path, length, source):
    data = found.get(path)
    assert data is not None, f"{path} is gone from the disk"
    assert data[:length] == pattern(source, 0, length), f"{path} on disk is not {source}'s pattern"


def run(bs, kind, drive):
    image, rules = rig.path(f"{kind}-{bs}.img"), rig.path("rules")
    build(bs, image)
    write_rules(rules, kind, broken_blocks(image, bs, kind))
    if kind.endswith("-swap"):
        broken, options = rig.path("swap.img"), ("--disk", image)
        with open(broken, "wb") as f:
            f.write(b"FAULTLINE SCRATCH")
            f.truncate(SWAP_BYTES)
    else:
        broken, options = image, ()
    status, serial = boot(rig, f"{broken},blkdebug={rules}", "selftest=diskerr.*", f"seed={SEED}", f"diskerr={kind}",
                          options=options, drive=drive)
    try:
        must_pass(status, serial)
    except AssertionError as e:
        raise AssertionError(f"blocks of {bs}, {drive}:\n{e}") from None
    RUNS.append((bs, kind, drive))
    problems = check(image) if kind in UNHARMED else repair(image)
    if problems:
        raise AssertionError(f"blocks of {bs}, {drive}:\n" + "\n".join(problems))
    found = read_files(image, ["/e/data", "/e/ind", "/e/other", "/e/dir/x"], rig.scratch.name)
    same(found, "/e/other", 16 * KIB, "/e/new" if "# diskerr other is new" in serial else "/e/other")
    assert found["/e/other"][16 * KIB:] == pattern("/e/other", 16 * KIB, 48 * KIB), "/e/other's end changed"
    same(found, "/e/dir/x", 100, "/e/dir/x")
    if "# diskerr data is new" in serial:
        same(found, "/e/data", 12 * PAGE, "/e/new")
    elif "# diskerr data is empty" in serial:
        assert found["/e/data"] == b"", "/e/data is not empty"
    else:
        same(found, "/e/data", BAD_PAGE * PAGE, "/e/data")
    os.unlink(image)


def machines(kind):
    """The block sizes and drives to run with: each kind fails behind virtio, and behind one of the three ways of ATA."""
    if os.environ.get("DRIVE"):
        return [(bs, DRIVE) for bs in block_sizes(BLOCK_SIZES)]
    if SOAK:
        return [(bs, drive) for drive in DRIVES for bs in block_sizes(BLOCK_SIZES, drive)]
    return [(bs, "virtio") for bs in BLOCK_SIZES] + [(4096, ATA[KINDS.index(kind) % len(ATA)])]


def kind_of_block(kind):
    for bs, drive in machines(kind):
        if os.environ.get("BS") in (None, "", str(bs)):
            run(bs, kind, drive)


def exercised():
    """The kernel's own test, under its own name: it ran, in the tests above, and passed."""
    assert RUNS, "no run passed"


for each in KINDS:
    if os.environ.get("ONLY", "") in each:
        rig.add(f"host.diskerr.{each}", kind_of_block, each)

rig.add("diskerr.operations_return_the_right_error", exercised)

if __name__ == "__main__":
    try:
        sys.exit(rig.main())
    except Failure as failure:
        print(f"not ok 1 - host.diskerr\n# {failure}\n1..1")
        sys.exit(1)
