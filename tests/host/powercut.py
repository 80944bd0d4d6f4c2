# SPDX-License-Identifier: BSD-2-Clause
"""What a power cut may leave of a disk, and what must be on it then.

Three parts.

WriteLog    reads the record of QEMU's blklogwrites driver, which has the format of Linux's dm-log-writes: a
            superblock in the first sector, then for each request one sector that describes it and its data.
            A request is logged when it has completed, so the order of the log is that of completions.

Replay      makes the images.  At a cut everything is on the disk that completed before the last flush completed;
            of the writes after it a seeded random part, the last of them torn between sectors.

              W W F W W W F W w W . w | cut
              all of these      ^   ^   any subset of these, in order
                          flush-+

Model       follows the workload of tests/kernel/t_powercut.c, which prints each operation before it begins and each
            promise after it was given (`op` and `ack` lines), and says what a cut may and may not change:
            every byte of a file is one that it held at some time since the last promise about that byte.
            After each promise the workload writes its number into the disk's last sector, outside the volume:
            so the log itself tells which promises precede a cut.
"""

import array
import random
import re
import struct
import zlib

from volume import Failure, mix64

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512
MARKER = b"faultline-marker"
CHUNK = 512


# ---- the log --------------------------------------------------------------------------------------

class Entry:
    """sector, count: in 512-byte units; at: where in the log file the data begins."""

    __slots__ = ("sector", "count", "flags", "at")

    def __init__(self, sector, count, flags, at):
        self.sector, self.count, self.flags, self.at = sector, count, flags, at


class WriteLog:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.bytes = f.read()
        if len(self.bytes) < SECTOR:
            raise Failure(f"{path}: no write was logged")
        magic, version, _, size = struct.unpack_from("<QQQI", self.bytes)
        # The superblock is written at the first flush; before that it is empty.
        if magic != MAGIC or version != 1 or size != SECTOR:
            raise Failure(f"{path}: not a write log that a flush has closed (magic {magic:#x}, version {version}, "
                          f"sectors of {size})")
        self.entries = list(self.parse(path))

    def parse(self, path):
        """The superblock's count may be behind, so the file's end decides."""
        at = SECTOR
        while at + SECTOR <= len(self.bytes):
            sector, count, flags, _ = struct.unpack_from("<QQQQ", self.bytes, at)
            at += SECTOR
            if flags & ~(FLUSH | FUA | DISCARD | MARK):
                raise Failure(f"{path}: flags {flags:#x} in the entry at byte {at - SECTOR}")
            length = 0 if flags & DISCARD else count * SECTOR
            if at + length > len(self.bytes):
                return          # QEMU ended in the middle of this one: it was never acknowledged
            yield Entry(sector, count, flags, at)
            at += length

    def data(self, e, first=0, count=None):
        count = e.count - first if count is None else count
        return self.bytes[e.at + first * SECTOR:e.at + (first + count) * SECTOR]


def markers(log, sector):
    """Where in the log each promise's number was written -> [(index of the entry, number)]."""
    found = []
    for i, e in enumerate(log.entries):
        if e.count and not e.flags & DISCARD and e.sector <= sector < e.sector + e.count:
            data = log.data(e, sector - e.sector, 1)
            if data.startswith(MARKER):
                found.append((i, struct.unpack_from("<Q", data, len(MARKER))[0]))
    return found


# ---- images ---------------------------------------------------------------------------------------

class Replay:
    """Cuts must be asked for in ascending order."""

    def __init__(self, log, image):
        self.log = log
        with open(image, "rb") as f:
            self.stable = bytearray(f.read())
        self.done = 0           # entries that are in self.stable

    def put(self, image, e, first, count):
        if e.flags & DISCARD:
            return
        image[(e.sector + first) * SECTOR:(e.sector + first + count) * SECTOR] = self.log.data(e, first, count)

    def cut(self, position, seed):
        """The disk after a cut when `position` entries had completed."""
        entries = self.log.entries
        flushed = self.done
        for i in range(position - 1, self.done - 1, -1):
            if entries[i].flags & FLUSH:
                flushed = i + 1
                break
        for e in entries[self.done:flushed]:
            self.put(self.stable, e, 0, e.count)
        self.done = flushed
        image = bytearray(self.stable)
        self.lose(image, entries[flushed:position], random.Random(seed))
        return image

    def lose(self, image, later, chance):
        """Of the writes after the last flush some arrive: all, few or about half of them, the last one in part."""
        share = chance.choice((0.0, 0.1, 0.5, 0.5, 0.9, 1.0))
        arrive = [e for e in later if e.count and (e.flags & FUA or chance.random() < share)]
        for n, e in enumerate(arrive):
            if n < len(arrive) - 1 or e.flags & FUA or e.count < 2:
                self.put(image, e, 0, e.count)
            elif chance.random() < 0.5:
                self.put(image, e, 0, chance.randrange(e.count))
            else:
                for s in range(e.count):
                    if chance.random() < 0.5:
                        self.put(image, e, s, 1)


def choose_cuts(log, first, count, seed):
    """Positions in the log, ascending: half of them anywhere, half close before a flush, where most is at stake."""
    chance = random.Random(seed)
    total = len(log.entries)
    flushes = [i for i, e in enumerate(log.entries) if e.flags & FLUSH and i > first]
    cuts = []
    for n in range(count):
        if n % 2 == 0 or not flushes:
            cuts.append(chance.randrange(first, total + 1))
        else:
            cuts.append(max(first, chance.choice(flushes) - chance.randrange(3)))
    return sorted(cuts)


# ---- the workload's words -------------------------------------------------------------------------

LINE = re.compile(r"^# pc (op|ack) (\d+) (.*)$")


class Event:
    """One line: kind "op" or "ack", its number, the verb and its words."""

    def __init__(self, kind, number, words):
        self.kind, self.number, self.verb, self.args = kind, number, words[0], words[1:]

    def __str__(self):
        return f"{self.kind} {self.number} {self.verb} {' '.join(self.args)}"


def events_of(serial):
    return [Event(m.group(1), int(m.group(2)), m.group(3).split())
            for m in map(LINE.match, serial.splitlines()) if m]


def contents(seed, number, offset, length):
    """What operation `number` writes to [offset, offset + length) of a file; the kernel computes the same."""
    base = mix64((seed << 32 ^ number) & (1 << 64) - 1)
    first, last = offset // 8, (offset + length + 7) // 8
    words = b"".join(struct.pack("<Q", mix64((base + w * 0x9E3779B97F4A7C15) & (1 << 64) - 1)) for w in range(first, last))
    return words[offset - 8 * first:][:length]


# ---- what must be there ---------------------------------------------------------------------------

class File:
    """A file's contents over time.

    versions[k]: all its bytes after its k-th change.  since[i]: the version that byte i had when it was last promised;
    from then on all later versions are allowed, and none before.
    """

    def __init__(self, born, block):
        self.born, self.block = born, block     # number of the operation that made it; the volume's, bytes
        self.versions = [b""]
        self.since = array.array("H")
        self.size_since = 0
        self.promised = False           # it has been promised, and has had a name ever since
        self.links = 1

    def change(self, data):
        self.versions.append(data)
        if len(data) > len(self.since):
            # A byte that was never there: promised as absent up to the last promise about the size.
            self.since.extend([self.size_since] * (len(data) - len(self.since)))

    def write(self, offset, data):
        old = self.versions[-1]
        self.change(old[:offset].ljust(offset, b"\0") + data + old[offset + len(data):])

    def truncate(self, size):
        self.change(self.versions[-1][:size].ljust(size, b"\0"))

    def promise(self, first=0, last=None):
        now = len(self.versions) - 1
        if last is None:
            self.size_since = now
            last = len(self.since)
        last = min(last, len(self.since))
        if first < last:
            self.since[first:last] = array.array("H", [now]) * (last - first)

    def fault(self, got):
        """None: `got` is one of the contents that a cut may leave; else what is wrong with it, as (offset, sentence)."""
        sizes = [len(v) for v in self.versions[self.size_since:]]
        # A pointer may arrive without the size that covers it: e2fsck then makes the file end with that block.
        most = max(sizes) if len(sizes) == 1 else -(-max(sizes) // self.block) * self.block
        if not min(sizes) <= len(got) <= most:
            return 0, f"its size is {len(got)}, but was {min(sizes)} to {max(sizes)} since the last promise"
        newest = self.versions[-1]
        for at in range(0, max(len(got), len(self.since)), CHUNK):
            if got[at:at + CHUNK] == newest[at:at + CHUNK]:
                continue
            for i in range(at, min(at + CHUNK, max(len(got), len(self.since)))):
                sentence = self.fault_at(i, got)
                if sentence:
                    return i, sentence
        return None

    def fault_at(self, i, got):
        since = self.since[i] if i < len(self.since) else self.size_since
        allowed = set()
        for v in self.versions[since:]:
            # Past its end a byte is absent, or zero where the size arrived and the data did not.
            allowed |= {v[i]} if i < len(v) else {None, 0}
        byte = got[i] if i < len(got) else None
        if byte in allowed:
            return None
        show = ["absent" if b is None else f"{b:#04x}" for b in sorted(allowed, key=lambda b: -1 if b is None else b)]
        what = "promised" if since or len(allowed) == 1 else "ever written"
        return (f"byte {i} is {'absent' if byte is None else f'{byte:#04x}'}; {what}: {' or '.join(show[:6])}")


class Model:
    """All files and names, as far as the workload's lines have been taken in."""

    def __init__(self, seed, block):
        self.seed, self.block = seed, block
        self.names = {}         # path -> what it may mean after a cut, oldest first; the last is what it means now
        self.taken = 0          # events

    def now(self, path):
        meanings = self.names.get(path, [None])
        return meanings[-1]

    def mean(self, path, what):
        meanings = self.names.setdefault(path, [None])
        if meanings[-1] is not what:
            meanings.append(what)

    def need(self, path):
        f = self.now(path)
        if f is None:
            raise Failure(f"the workload used {path}, which does not exist")
        return f

    def lose_name(self, path):
        f = self.now(path)
        if f is not None:
            f.links -= 1
            if f.links == 0:
                f.promised = False

    def take(self, event):
        getattr(self, f"{event.kind}_{event.verb}")(event.number, *event.args)
        self.taken += 1

    def op_create(self, number, path):
        self.mean(path, File(number, self.block))

    def op_write(self, number, path, offset, length):
        self.need(path).write(int(offset), contents(self.seed, number, int(offset), int(length)))

    op_mwrite = op_write

    def op_late(self, number, path, offset, length):
        """After the last unlink; a cut may bring the name back and keep the write."""
        f = next(f for f in reversed(self.names[path]) if f is not None)
        f.write(int(offset), contents(self.seed, number, int(offset), int(length)))

    def op_truncate(self, number, path, size):
        self.need(path).truncate(int(size))

    def op_rename(self, number, old, new):
        """What was replaced or what replaces it: at no moment is there neither."""
        f = self.need(old)
        self.lose_name(new)
        self.mean(new, f)
        self.mean(old, None)

    def op_link(self, number, old, new):
        f = self.need(old)
        f.links += 1
        self.mean(new, f)

    def op_unlink(self, number, path):
        self.lose_name(path)
        self.mean(path, None)

    def op_folder(self, number, *paths):
        """Folders and links hold no promised bytes; e2fsck judges them."""

    op_mkdir = op_rmdir = op_rendir = op_symlink = op_folder

    def ack_fsync(self, number, path, size, crc):
        f = self.need(path)
        self.same(path, f.versions[-1], int(size), int(crc, 16))
        f.promise()
        f.promised = True       # it can be found, under this name or under one that it gets later
        self.names[path] = [f]

    def ack_msync(self, number, path, offset, length, crc):
        f = self.need(path)
        offset, length = int(offset), int(length)
        self.same(path, f.versions[-1][offset:offset + length], length, int(crc, 16))
        f.promise(offset, offset + length)

    def ack_sync(self, number):
        for name, meanings in self.names.items():
            f = meanings[-1]
            self.names[name] = [f]
            if f is not None:
                f.promise()
                f.promised = True

    def same(self, path, data, size, crc):
        """The kernel read back what it had written: the model must know the same bytes."""
        if len(data) != size or zlib.crc32(data) != crc:
            raise Failure(f"before any cut: {path} holds {size} bytes with CRC {crc:08x}, "
                          f"must be {len(data)} with {zlib.crc32(data):08x}")

    # ---- after a cut ----

    def faults(self, found):
        """found: path -> bytes, of every file below the workload's folder.  Sentences."""
        sentences, seen = [], set()
        for path in sorted(set(found) | set(self.names)):
            meanings = self.names.get(path, [None])
            if path not in found:
                if None not in meanings:
                    sentences.append(f"{path} is gone")
                continue
            wrong = []
            for f in [m for m in meanings if m is not None]:
                fault = f.fault(found[path])
                if fault is None:
                    seen.add(f)
                else:
                    wrong.append(fault)
            if not wrong and all(m is None for m in meanings):
                sentences.append(f"{path} exists, which was never made or whose removal was promised")
            elif len(wrong) == len([m for m in meanings if m is not None]):
                # The candidate that agrees furthest is the one that was meant.
                sentences.append(f"{path}: {max(wrong)[1]}")
        for f in {m for meanings in self.names.values() for m in meanings if m is not None and m.promised}:
            names = [n for n, meanings in self.names.items() if f in meanings]
            if f not in seen and not any(s.split(":")[0] in names for s in sentences):
                sentences.append(f"the file made by operation {f.born} has lost its names: {', '.join(names)}")
        return sentences


def advance(model, events, marks, position):
    """Take in all that may have happened before a cut at `position`: up to the promise whose marker is not in the log yet."""
    passed = max((number for at, number in marks if at < position), default=0)
    for e in events[model.taken:]:
        if e.kind == "ack" and e.number > passed:
            break
        model.take(e)
