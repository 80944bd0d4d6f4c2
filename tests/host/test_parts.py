#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Disks with partition tables, as sfdisk makes them: root and swap on partitions, what is refused, and which disk the root is found on.

The volumes are the suite's own, copied to where the table says; after the run they are cut out again and e2fsck looks at them.
(Tables that no tool would make are for the kernel's `part` suite.)
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
import mkimage  # noqa: E402
from rig import BIG_SECTORS, SEED, Rig, boot, check, command, make_volume, must_pass  # noqa: E402
from run import volume  # noqa: E402
from volume import debugfs, tool  # noqa: E402

MIB = 1 << 20
SECTOR = 512
SIGNATURE = "fa017001"
UUID = "FA017000-0000-4000-8000-0000000000"

rig = Rig("parts")
IMAGE = rig.path("disk.img")


def partition(image, label, size, lines):
    """Make a disk with this table -> [(first byte, bytes)] in the order of the table."""
    with open(image, "wb") as f:
        f.truncate(size)
    identity = "0x" + SIGNATURE if label == "dos" else UUID + "00"
    done = subprocess.run([tool("sfdisk"), "--quiet", image], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          input=f"label: {label}\nlabel-id: {identity}\n" + "\n".join(lines) + "\n")
    assert done.returncode == 0, done.stdout
    table = json.loads(command(["sfdisk", "--json", image]))["partitiontable"]
    return [(p["start"] * SECTOR, p["size"] * SECTOR) for p in table["partitions"]]


def copy(source, source_at, target, target_at, length):
    with open(source, "rb") as f, open(target, "r+b" if os.path.exists(target) else "w+b") as t:
        f.seek(source_at)
        t.seek(target_at)
        while length > 0:
            data = f.read(min(length, MIB))
            assert data, f"{source} is too short"
            t.write(data) if data.count(0) != len(data) else t.seek(len(data), os.SEEK_CUR)
            length -= len(data)
        if t.tell() > os.path.getsize(target):
            t.truncate()


def put(part, source):
    assert os.path.getsize(source) <= part[1], f"{source} is larger than its partition"
    copy(source, 0, IMAGE, part[0], os.path.getsize(source))


def must_be_clean(part):
    """The partition's volume, cut out and looked at."""
    cut = rig.path("cut.img")
    if os.path.exists(cut):
        os.unlink(cut)
    copy(IMAGE, part[0], cut, 0, part[1])
    problems = check(cut)
    assert not problems, "\n".join(problems)


def says(serial, *sentences):
    for sentence in sentences:
        assert sentence in serial, f"the console does not say {sentence!r}:\n" + "\n".join(serial.splitlines()[:40])


def suite(selftest, words, *sentences, options=()):
    """A part of the kernel's tests, from a root and a swap on partitions."""
    status, serial = boot(rig, IMAGE, f"selftest={selftest}", f"seed={SEED}", *words, options=options, timeout=250)
    must_pass(status, serial)
    says(serial, *sentences)


def look(image, *words, options=()):
    """A boot that runs one quick test -> what the console says."""
    return boot(rig, image, "selftest=lib.*", f"seed={SEED}", *words, options=options)[1]


# ---- root and swap --------------------------------------------------------------------------------

def mbr():
    parts = partition(IMAGE, "dos", 64 * MIB, ["start=63, size=24MiB, type=83", "size=30MiB, type=82"])
    put(parts[0], volume(4096))
    suite("swap.*", ["root=vda1", "swap=/dev/vda2"], "vda: MBR: vda1 24544 KiB vda2 30720 KiB", "root: vda1 (root=), ext2", "swap: vda2, 30716 KiB")
    must_be_clean(parts[0])


def gpt():
    parts = partition(IMAGE, "gpt", 64 * MIB, [f"size=20MiB, type=S, uuid={UUID}01", f"size=30MiB, uuid={UUID}02"])
    put(parts[1], volume(1024))
    suite("pa*.*", [f"root=PARTUUID={UUID.lower()}02", f"swap=PARTUUID={UUID}01"], "vda: GPT: vda1 20480 KiB vda2 30720 KiB",
          "root: vda2 (root=), ext2", "swap: vda1, 20476 KiB")
    must_be_clean(parts[1])


def logical():
    parts = partition(IMAGE, "dos", 64 * MIB, ["1: size=4MiB, type=83", "2: size=56MiB, type=5",
                                              "5: size=8MiB, type=82", "6: size=24MiB, type=83"])
    put(parts[3], volume(4096))
    suite("vnpager.*", ["root=vda6", "swap=vda5"], "vda: MBR: vda1 4096 KiB vda5 8192 KiB vda6 24576 KiB", "root: vda6 (root=), ext2", "swap: vda5, 8188 KiB")
    must_be_clean(parts[3])


def ata(machine):
    """The same table on another bus: the disk layer does not care."""
    parts = partition(IMAGE, "gpt", 64 * MIB, ["size=30MiB", "size=20MiB"])
    put(parts[0], volume(4096))
    suite("swap.*", ["root=sda1", "swap=sda2"], "sda: GPT: sda1 30720 KiB sda2 20480 KiB", "root: sda1 (root=), ext2", "swap: sda2, 20476 KiB",
          options=("--drive", "ata", "--machine", machine))
    must_be_clean(parts[0])


def sectors_of_4096():
    """The same bytes in larger sectors: an MBR then means other places, so this table is made for them by hand."""
    with open(IMAGE, "wb") as f:
        f.truncate(64 * MIB)
        for at, kind, first, count in ((446, 0x83, 256, 8192), (462, 0x82, 8448, 4096)):
            f.seek(at)
            f.write(bytes([0, 0, 0, 0, kind, 0, 0, 0]) + first.to_bytes(4, "little") + count.to_bytes(4, "little"))
        f.seek(510)
        f.write(b"\x55\xaa")
    put((MIB, 32 * MIB), volume(4096))
    suite("ext2w*.*", ["root=vda1", "swap=vda2"], "vda: MBR: vda1 32768 KiB vda2 16384 KiB", options=BIG_SECTORS)
    must_be_clean((MIB, 32 * MIB))


# ---- what is refused, and what is said -------------------------------------------------------------

def blocks_smaller_than_sectors():
    serial = look(volume(1024) + ",snapshot", options=BIG_SECTORS)
    says(serial, "ext2: vda: not mounted: blocks of 1024 bytes on a device with sectors of 4096", "root: vda (the first disk with ext2) cannot be mounted")


def damaged_gpt():
    parts = partition(IMAGE, "gpt", 64 * MIB, ["size=30MiB"])
    put(parts[0], volume(4096))
    with open(IMAGE, "r+b") as f:
        f.seek(SECTOR + 56)
        f.write(b"harm")
    serial = look(IMAGE)
    says(serial, "vda: GPT: the header's checksum is wrong", "vda: GPT: using the copy at the disk's end", "root: vda1 (the first disk with ext2)")
    with open(IMAGE, "r+b") as f:
        f.seek(64 * MIB - SECTOR)
        f.write(bytes(SECTOR))
    says(look(IMAGE), "vda: GPT: no header", "there is a GPT, and there is none that is whole; no partitions", "root: no disk holds ext2")


def no_such_partition():
    partition(IMAGE, "dos", 8 * MIB, ["size=2MiB, type=83", "size=2MiB, type=83"])
    serial = look(IMAGE, "root=vda3", "swap=vda9")
    says(serial, "root: no disk vda3; there are: vda vda1 vda2\n", "swap: not on vda9: ENODEV")


def disk_and_parts_exclude_each_other():
    parts = partition(IMAGE, "dos", 64 * MIB, ["size=30MiB, type=83", "size=10MiB, type=82"])
    put(parts[0], volume(4096))
    says(look(IMAGE, "swap=vda"), "root: vda1 (the first disk with ext2)", "vda: not for swap: vda1 is in use (mount)", "swap: not on vda: EBUSY")
    says(look(IMAGE, "swap=vda1"), "swap: not on vda1: EBUSY")
    must_be_clean(parts[0])


# ---- where the root is found ----------------------------------------------------------------------

def root_search():
    """vda has partitions, none with ext2; vdb a volume in its second partition; vdc is one."""
    parts = partition(IMAGE, "dos", 64 * MIB, ["size=4MiB, type=82", "size=30MiB, type=83"])
    put(parts[1], volume(4096))
    empty, whole = rig.path("empty.img"), rig.path("whole.img")
    partition(empty, "gpt", 8 * MIB, ["size=2MiB"])
    make_volume(whole, 4096, 4 * MIB, stain=False)
    serial = look(IMAGE, options=("--disk", empty))
    says(serial, "root: vdb2 (the first disk with ext2), ext2")
    serial = look(whole, options=("--disk", empty, "--disk", IMAGE))
    says(serial, "root: vdb2 (the first disk with ext2), ext2")


def boot_sector_that_looks_like_a_table():
    """A volume of the whole disk: what stands in its boot sector is not for us."""
    shutil.copyfile(volume(4096), IMAGE)
    with open(IMAGE, "r+b") as f:
        f.seek(446)
        f.write(bytes([0x80, 0, 0, 0, 0x83, 0, 0, 0]) + (64).to_bytes(4, "little") + (4096).to_bytes(4, "little"))
        f.seek(510)
        f.write(b"\x55\xaa")
    serial = look(IMAGE)
    says(serial, "root: vda (the first disk with ext2), ext2")
    assert "vda1" not in serial, "a volume's boot sector was taken for a partition table"
    problems = check(IMAGE)
    assert not problems, "\n".join(problems)


def programs_see_them():
    """Debian's busybox, from a partition: /dev, /proc/partitions, and a read of the disk itself."""
    parts = partition(IMAGE, "gpt", 180 * MIB, ["size=140MiB", "size=8MiB"])
    root, script = rig.path("root.img"), rig.path("see")
    with open(script, "w", encoding="utf-8") as f:
        f.write("echo `ls /dev`\ncat /proc/partitions /proc/mounts /proc/swaps\nbusybox md5sum /dev/vda2\n")
    subprocess.run(["cp", "--sparse=always", mkimage.ensure_default(), root], check=True)
    debugfs(root, f"write {script} /root/see", write=True)
    put(parts[0], root)
    status, serial = boot(rig, IMAGE, "root=vda1", "swap=vda2", "init=/bin/sh", "--", "/root/see")
    assert status == 0, serial
    says(serial, " vda1 ", f"{parts[0][1] // 1024} vda1\n", f"{parts[1][1] // 1024} vda2\n", "/dev/vda1 / ext2 rw", "/dev/vda2 ",
         hashlib.md5(bytes(parts[1][1])).hexdigest() + "  /dev/vda2")


for function in (mbr, gpt, logical, sectors_of_4096, blocks_smaller_than_sectors, damaged_gpt, no_such_partition,
                 disk_and_parts_exclude_each_other, root_search, boot_sector_that_looks_like_a_table, programs_see_them):
    if os.environ.get("ONLY", "") in function.__name__:
        rig.add(f"parts.{function.__name__}", function)

for kind in ("pc", "q35"):
    if os.environ.get("ONLY", "") in f"ata_{kind}":
        rig.add(f"parts.ata_{kind}", ata, kind)

if __name__ == "__main__":
    sys.exit(rig.main())
