#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Cut the power at many places of a write workload, and look at what is left.

The workload (tests/kernel/t_powercut.c) runs once per block size on a disk whose writes and flushes QEMU records.  powercut.py
makes from the record the disks that cuts may leave.  For each of them: `e2fsck -p` mends it without help, `e2fsck -fn` then
finds nothing, every byte that was promised is there, and, for some of them, the kernel mounts it and reads the same.

The rig's own tests come first; the last ones run a kernel that breaks a rule on purpose and must be caught.
"""

import os
import re
import struct
import sys
import zlib

sys.dont_write_bytecode = True
import powercut  # noqa: E402
from powercut import FLUSH, Model, Replay, WriteLog  # noqa: E402
from rig import SEED, SOAK, Rig, boot, check, disk_name, make_volume, must_pass, read_files, repair  # noqa: E402

MIB = 1 << 20
BLOCK_SIZES = (1024, 2048, 4096, 65536) if SOAK else (1024, 4096)
CUTS = int(os.environ.get("CUTS") or (200 if SOAK else 100))
DISKS_MAX = 12              # mended volumes that one boot mounts and reads
TAIL = 64 * 1024            # behind the volume: the marker's place
# The volume of these block sizes is a partition, which begins here and ends with the disk.
ON_PARTITION = (4096,)
PARTITION_AT = 1 * MIB
PATHS = [f"/pc/{folder}/f{n}" for folder in "ab" for n in range(16)]
LEFT = re.compile(r"^# pc file (\S+) (\d+) ([0-9a-f]{8})$", re.M)
DISK = re.compile(r"^# pc disk vd\w+$", re.M)

rig = Rig("powercut")
COUNTS = {"workload": 0, "boots": 0}


# ---- the rig's own tests --------------------------------------------------------------------------

def make_log(path, *entries):
    """entries: (sector, data) for a write, None for a flush."""
    with open(path, "wb") as f:
        f.write(struct.pack("<QQQI", powercut.MAGIC, 1, len(entries), 512).ljust(512, b"\0"))
        for e in entries:
            sector, data = e or (0, b"")
            f.write(struct.pack("<QQQQ", sector, len(data) // 512, 0 if e else FLUSH, 0).ljust(512, b"\0") + data)
    return WriteLog(path)


def replay_keeps_what_was_flushed():
    sectors = [bytes([n]) * 512 for n in range(10)]
    log = make_log(rig.path("log"), (1, sectors[1]), (2, sectors[2]), None, (1, sectors[3]), (4, sectors[4] + sectors[5]))
    image = rig.path("blank")
    with open(image, "wb") as f:
        f.write(bytes(8 * 512))
    seen = set()
    for seed in range(200):
        disk = bytes(Replay(log, image).cut(5, seed))
        assert disk[1024:1536] == sectors[2], "a flushed write is missing"
        seen.add((disk[512], disk[2048], disk[2560]))
    old_new = {(a, b, c) for a in (1, 3) for b in (0, 4) for c in (0, 5)}
    assert seen == old_new, f"of the later writes these combinations arrive: {sorted(seen)}"
    before = {bytes(Replay(log, image).cut(2, seed)) for seed in range(50)}
    assert len(before) == 4, "before the first flush anything may be missing"


def events(text):
    return powercut.events_of("\n".join("# pc " + line.strip() for line in text.strip().splitlines()))


def model_wants_replaced_names():
    """A name whose file is replaced leads to the one or the other at any time, once both were promised."""
    old, new = powercut.contents(7, 2, 0, 1000), powercut.contents(7, 5, 0, 700)
    script = events(f"""
        op 1 create /pc/a/f1
        op 2 write /pc/a/f1 0 1000
        ack 3 fsync /pc/a/f1 1000 {zlib.crc32(old):08x}
        op 4 create /pc/a/f2
        op 5 write /pc/a/f2 0 700
        ack 6 fsync /pc/a/f2 700 {zlib.crc32(new):08x}
        op 7 rename /pc/a/f2 /pc/a/f1
        op 8 link /pc/a/f1 /pc/a/f3
        ack 9 fsync /pc/a/f3 700 {zlib.crc32(new):08x}""")

    def verdict(position, found):
        model = Model(7, 1024)
        powercut.advance(model, script, [(10, 3), (20, 6), (30, 9)], position)
        return model.faults(found)

    for good in ({"/pc/a/f1": old, "/pc/a/f2": new}, {"/pc/a/f1": new, "/pc/a/f2": new}, {"/pc/a/f1": new}):
        assert verdict(25, good) == [], f"{verdict(25, good)} around the rename"
    for bad in ({"/pc/a/f2": new}, {"/pc/a/f1": old}, {"/pc/a/f1": b"", "/pc/a/f2": new}):
        assert verdict(25, bad), f"around the rename a disk with {[(k, len(v)) for k, v in bad.items()]} was accepted"
    assert verdict(35, {"/pc/a/f1": new, "/pc/a/f3": new}) == []
    assert verdict(35, {"/pc/a/f1": new}), "a name that fsync had promised may be lost"


def model_tells_promised_from_possible():

    w2, w4 = powercut.contents(7, 2, 0, 1000), powercut.contents(7, 4, 500, 1000)
    script = events(f"""
        op 1 create /pc/a/f1
        op 2 write /pc/a/f1 0 1000
        ack 3 fsync /pc/a/f1 1000 {zlib.crc32(w2):08x}
        op 4 write /pc/a/f1 500 1000
        op 5 rename /pc/a/f1 /pc/b/f2
        ack 6 sync""")
    assert len(script) == 6

    def verdict(position, found):
        model = Model(7, 1024)
        powercut.advance(model, script, [(10, 3), (20, 6)], position)
        return model.faults(found)

    both = w2[:500] + w4
    for good in ({"/pc/a/f1": w2}, {"/pc/a/f1": both}, {"/pc/b/f2": both}, {"/pc/a/f1": both, "/pc/b/f2": both},
                 {"/pc/b/f2": w2[:700] + w4[200:600] + bytes(400)}):
        assert verdict(15, good) == [], f"{verdict(15, good)} after the first promise"
    for bad in ({}, {"/pc/a/f1": w2[:999]}, {"/pc/a/f1": b"x" + w2[1:]}, {"/pc/b/f2": w2[:999] + b"\xdb"},
                {"/pc/b/f2": w2 + b"\xdb" * 500}, {"/pc/a/f1": w2, "/pc/a/f9": b""}):
        assert verdict(15, bad), f"a disk without {[(k, len(v)) for k, v in bad.items()]} was accepted"
    assert verdict(5, {}) == [] and verdict(5, {"/pc/a/f1": bytes(1000)}) == []
    assert verdict(25, {"/pc/b/f2": both}) == []
    assert verdict(25, {"/pc/a/f1": both}) and verdict(25, {"/pc/b/f2": w2})


# ---- the workload and the cuts --------------------------------------------------------------------

def partitioned(image):
    """The same volume in the one partition of a larger disk."""
    with open(image, "rb") as f:
        volume = f.read()
    entry = struct.pack("<B3xB3xII", 0, 0x83, PARTITION_AT // 512, len(volume) // 512)
    with open(image, "wb") as f:
        f.write(bytes(446) + entry + bytes(3 * 16) + b"\x55\xaa")
        f.seek(PARTITION_AT)
        f.write(volume)


class Run:
    """One workload: the disk before it, the record of its writes, and what it said.  at: the volume's first byte."""

    def __init__(self, bs, seed, *words):
        self.bs, self.seed = bs, seed
        self.base, log = rig.path(f"base-{bs}.img"), rig.path(f"log-{bs}")
        after = rig.path(f"after-{bs}.img")
        make_volume(self.base, bs, {65536: 32, 1024: 8}.get(bs, 12) * MIB, ("pc/a", "pc/b"))
        with open(self.base, "r+b") as f:
            f.truncate(os.path.getsize(self.base) + TAIL)
        self.at = PARTITION_AT if bs in ON_PARTITION else 0
        if self.at:
            partitioned(self.base)
        with open(self.base, "rb") as source, open(after, "wb") as f:
            f.write(source.read())
        status, self.serial = boot(rig, f"{after},log={log}", "selftest=powercut.workload", f"powercut={seed}",
                                   f"seed={seed}", *words)
        self.status, self.after = status, after
        self.log = WriteLog(log)
        self.marks = powercut.markers(self.log, os.path.getsize(self.base) // 512 - 1)
        self.events = powercut.events_of(self.serial)
        os.unlink(log)

    def cut_all(self, count, enough=5):
        """Make the cuts -> sentences, at most those of the first `enough` that went wrong."""
        assert self.marks, "no promise's number is in the record"
        first = next(i for i, e in enumerate(self.log.entries) if e.count)
        replay, model = Replay(self.log, self.base), Model(self.seed, self.bs)
        sentences, bad, mended = [], 0, []
        for n, position in enumerate(powercut.choose_cuts(self.log, first, count, self.seed)):
            powercut.advance(model, self.events, self.marks, position)
            disk = replay.cut(position, self.seed * 1000 + n)
            image = rig.path(f"cut-{len(mended)}.img")
            found, wrong = self.look(disk, model, image)
            if not wrong:
                mended.append((n, image, found))
            if len(mended) == DISKS_MAX:
                wrong = self.kernel_reads(mended)
                mended = []
            if wrong:
                bad += 1
                where = rig.evidence(f"cut-{self.bs}-{self.seed}-{n}.img", disk) if bad == 1 else ""
                sentences += [f"blocks of {self.bs}, seed {self.seed}, cut {n} after {position} of {len(self.log.entries)} "
                              f"requests {where}"] + ["  " + s for s in wrong[:12]]
                if bad == enough:
                    return sentences
        return sentences + (self.kernel_reads(mended) if mended else [])

    def put_volume(self, disk, image):
        """Make an image of the volume that is on this disk."""
        with open(image, "wb") as f:
            f.write(disk[self.at:])

    def look(self, disk, model, image):
        """Mend it and compare it with the model -> its files, sentences."""
        self.put_volume(disk, image)
        wrong = repair(image)
        if wrong:
            return {}, wrong
        found = read_files(image, PATHS, rig.scratch.name)
        wrong = model.faults(found)
        if wrong:
            wrong += self.story(wrong[0].split(":")[0].split()[0], model)
        return found, wrong

    def story(self, path, model):
        """What happened to a file before the cut, the last of it perhaps after it."""
        mine = [str(e) for e in self.events[:model.taken] if path in e.args or e.verb == "sync"]
        return ["what happened to it:"] + ["  " + line for line in mine[-8:]]

    def kernel_reads(self, mended):
        """The kernel mounts these volumes, all at one boot, and finds in them what debugfs found."""
        *others, last = [image for _, image, _ in mended]
        status, serial = boot(rig, last, "selftest=powercut.what_is_left_can_be_read", "powercut=read",
                              options=[word for image in others for word in ("--disk", image)],
                              drive="virtio")   # it alone has room for so many
        cuts = f"cuts {', '.join(str(n) for n, _, _ in mended)}"
        try:
            must_pass(status, serial)
        except AssertionError as e:
            return [f"the kernel on the mended volumes of {cuts}:"] + str(e).splitlines()
        COUNTS["boots"] += 1
        told = [{path: (int(size), int(crc, 16)) for path, size, crc in LEFT.findall(part)} for part in DISK.split(serial)[1:]]
        there = [{path: (len(data), zlib.crc32(data)) for path, data in found.items()} for _, _, found in mended]
        return [] if told == there else [f"on the mended volumes of {cuts} the kernel reads {told}, debugfs {there}"]


def workload(bs):
    run = Run(bs, SEED)
    must_pass(run.status, run.serial)
    root = disk_name(0) + ("1" if run.at else "")
    assert f"\nroot: {root} " in run.serial, f"the root is not {root}"
    COUNTS["workload"] += 1
    with open(run.after, "rb") as f:
        run.put_volume(f.read(), run.after)
    problems = check(run.after)
    assert not problems, "after the workload, without a cut:\n" + "\n".join(problems)
    sentences = run.cut_all(CUTS)
    if sentences:
        raise AssertionError("\n".join(sentences))


def exercised(what):
    """The kernel's own tests, under their own names: they ran, in the tests above, and passed."""
    assert COUNTS[what] > 0, f"no {what} that passed"


def broken(word):
    """A kernel that breaks a rule: some cut must show it."""
    for attempt in range(3):
        run = Run(1024, SEED + attempt, f"break={word}")
        must_pass(run.status, run.serial)
        if run.cut_all(100, enough=1):
            return
    raise AssertionError(f"a kernel with break={word} stood all the cuts: this rig sees nothing")


rig.add("host.powercut.replay_keeps_what_was_flushed", replay_keeps_what_was_flushed)
rig.add("host.powercut.model_tells_promised_from_possible", model_tells_promised_from_possible)
rig.add("host.powercut.model_wants_replaced_names", model_wants_replaced_names)
for block_size in BLOCK_SIZES:
    rig.add(f"host.powercut.cuts_with_blocks_of_{block_size}", workload, block_size)
rig.add("powercut.workload", exercised, "workload")
rig.add("powercut.what_is_left_can_be_read", exercised, "boots")
rig.add("host.powercut.missing_flush_is_seen", broken, "noflush")
rig.add("host.powercut.broken_order_is_seen", broken, "order")
rig.add("host.powercut.replaced_file_without_shelter_is_seen", broken, "shelter")
rig.tests = [t for t in rig.tests if os.environ.get("ONLY", "") in t[0]]

if __name__ == "__main__":
    sys.exit(rig.main())
