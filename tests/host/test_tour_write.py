#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Are the numbers of the tour's chapters about writing and about short memory true?

The witnesses are QEMU's record of every write and flush that reached the disk, the image as the host finds it
afterwards, and debugfs's word on where the file lies.
"""

import os
import re
import struct
import sys
import zlib

sys.dont_write_bytecode = True
import guest  # noqa: E402
import mkimage  # noqa: E402
import powercut  # noqa: E402
import volume  # noqa: E402
from guest import check, contains, equal, scratch, test  # noqa: E402
from tale import Act, PAGE, TRAP, number  # noqa: E402

DRAFT = "/tour.draft"
PAGES, LINE = 16, 64
SWAP_MIB = 8


def fresh_image(bs):
    root, path = scratch(f"empty-{bs}"), scratch(f"write-{bs}.img")
    os.makedirs(root, exist_ok=True)
    volume.mke2fs(path, bs, (56 if bs > 8192 else 8) << 20, root, mkimage.TEST_FEATURES, 64)
    return path


class Chapter(guest.Run):
    """One boot that played a chapter: its acts by their headings."""

    def __init__(self, name, acts, *options, words=()):
        super().__init__(*options, words=[f"tour={name}", *words])
        equal(f"the exit status ({self.err.strip()})", self.status, 0)
        parts = re.split(r"^---- (?:\d\. )?(.*)$", self.out, flags=re.M)
        self.head, self.acts = parts[0], [Act(text) for text in parts[2::2]]
        equal(f"the number of acts in {self.out[-600:]!r}", len(self.acts), acts)


def draft_text():
    """What the file holds in the end."""
    text = bytearray()
    for page in range(PAGES):
        for n in range(PAGE // LINE):
            text += f"page {page}, line {n} of the draft ".encode().ljust(LINE - 1, b".") + b"\n"
    for at, what in ((2 * PAGE, b"STORED"), (2 * PAGE + LINE, b"STORED"), (5 * PAGE + 1536, b"=" * 100),
                     *((page * PAGE, b"WASHED") for page in range(8, 12))):
        text[at:at + len(what)] = what
    return bytes(text)


def told_places(act):
    """The last part: {page: (sector, crc32)}"""
    return {int(p): (int(s), int(c, 16)) for p, s, c in
            re.findall(r"^  page (\d+): sector (\d+) of vda, crc32 ([0-9a-f]{8})$", act.text, re.M)}


def state(act, page):
    """The last line about a page's state -> (queue, dirty, mapped)"""
    found = re.findall(rf"^  page {page} is frame 0x[0-9a-f]+, on the (\w+) queue; dirty sectors ([.#]+); mapped (\S+)$",
                       act.text, re.M)
    check(found, f"no state of page {page}")
    return found[-1]


def check_disk(image, places):
    """The image holds what was said, where it was said, and debugfs finds the same file."""
    expected = draft_text()
    with open(image, "rb") as f:
        for page, (sector, crc) in places.items():
            f.seek(sector * 512)
            data = f.read(PAGE)
            equal(f"the checksum of page {page} at sector {sector} of the image", zlib.crc32(data), crc)
            check(data == expected[page * PAGE:(page + 1) * PAGE], f"page {page} on disk is not what was written")
    volume.debugfs(image, f"dump {DRAFT} {scratch('draft')}")
    with open(scratch("draft"), "rb") as f:
        check(f.read() == expected, "the file, as debugfs reads it, is not what was written")
    volume.fsck_clean(image)


def check_log(log, acts, places):
    """QEMU's record of what was written to the file's sectors is what was told, in that order; flushes, too."""
    sectors = {s for sector, _ in places.values() for s in range(sector, sector + 8)}
    seen, flushes_between, flushes = [], [], 0
    for e in powercut.WriteLog(log).entries:
        if e.flags & powercut.FLUSH:
            flushes += 1
        if e.count and e.sector in sectors:
            seen.append((e.sector, e.count))
            flushes_between.append(flushes)
    by_act = [[r for r in act.requests(write=True) if r[0] in sectors] for act in acts]
    told = [r for requests in by_act for r in requests]
    equal("the writes to the file's sectors that reached the disk", seen, told)
    # Whoever waited for a sync, fsync or msync, had the disk flushed after the data.
    last = len(by_act[1]) - 1
    check(flushes_between[last + 1] > flushes_between[last], "no flush between the writes of fsync and those of msync")
    last += len(by_act[4])
    told_flushes = [len(act.who("disk", r"vda gets a request to flush.*")) for act in acts]
    check(told_flushes[1] >= 1 and told_flushes[4] >= 1, f"flushes told by act: {told_flushes}")
    check(flushes_between[last + 1] > flushes_between[last], "no flush between msync's writes and the laundry's")
    return by_act


def check_write(bs):
    image, log = fresh_image(bs), scratch(f"write-{bs}.log")
    t = Chapter("write", 8, "--disk", f"{image},log={log}")
    write, fsync, store, partial, msync, laundry, disk, _ = t.acts
    places = told_places(disk)
    equal("the pages whose place is told", sorted(places), list(range(PAGES)))
    blocks = dict(volume.file_map(image, DRAFT)[0])
    for page, (sector, _) in places.items():
        equal(f"the sector of page {page}", sector, blocks[page * PAGE // bs] * (bs // 512) + page * PAGE % bs // 512)
    equal("the inode", number(r" is inode (\d+) of vda", t.head), number(r"^Inode: (\d+)", volume.debugfs(image, f"stat {DRAFT}")))
    check_disk(image, places)
    by_act = check_log(log, t.acts[:6], places)
    equal("writes of act 1", write.requests(write=True), [])
    equal("writes of act 2, in sectors of the file", sum(n for _, n in by_act[1]), PAGES * 8)
    for act, requests in ((fsync, None), (msync, by_act[4]), (laundry, by_act[5])):
        equal("the sectors counted as written", number(r"^  written: sectors \+(\d+)", act.text),
              sum(n for _, n in act.requests(write=True)))
        if requests is not None:
            equal("the requests for the file", act.requests(write=True)[:len(requests)], requests)
    check_states(t.acts, places, by_act)


def check_states(acts, places, by_act):
    """The dirty bits: a store dirties the page, write() its sector; msync writes just these."""
    _, _, store, partial, msync, laundry, _, _ = acts
    (_, kind, _, _, error), = store.who("trap", TRAP)
    equal("the fault of act 3", (kind, int(error, 16) & 3), ("write", 3))
    contains("act 3", store.text, "There was no page fault: the processor found the page by itself.")
    equal("page 2 after the store", state(store, 2)[1:], ("########", "rw-"))
    equal("page 5 after the write()", state(partial, 5)[1], "...#....")
    for page in (2, 5):
        equal(f"page {page} after msync", state(msync, page)[1], "........")
    equal("page 2 after msync", state(msync, 2)[2], "r--")
    equal("msync's requests", sorted(by_act[4]), sorted([(places[2][0], 8), (places[5][0] + 3, 1)]))
    equal("the laundry's sectors", sorted(s + n for s, c in by_act[5] for n in range(c)),
          sorted(places[page][0] + n for page in range(8, 12) for n in range(8)))
    check(laundry.who("pager", r"\[laundry\] putpages: pages? .* of the file's object.*"), "the laundry did not do it")
    for page in range(8, 12):
        equal(f"page {page} after the laundry", state(laundry, page)[1:], ("........", "r--"))


@test
def what_is_told_as_written_is_what_the_disk_got():
    for bs in (1024, 4096, 65536):
        check_write(bs)


@test
def a_read_only_volume_is_left_alone():
    run = guest.Run("--disk", fresh_image(4096) + ",ro", words=["tour=write"])
    equal("the exit status", run.status, 0)
    contains("the tour", run.out, f"tour: {DRAFT} cannot be made: EROFS")


# ---- short memory ---------------------------------------------------------------------------------

def swap_image():
    path = scratch("swap.img")
    with open(path, "wb") as f:
        f.truncate(SWAP_MIB << 20)
    return path


def pageout_writes(act, thread):
    """The first pages and requests of a thread's clusters: [((first, last page), [(sector, count)])]"""
    clusters = []
    for _, who, what in act.lines:
        put = re.fullmatch(rf"\[{thread}\] putpages: pages? (\d+)(?:-(\d+))? of .*", what)
        disk = re.fullmatch(rf"\[{thread}\] vd\w gets a request to write: sectors (\d+)-\d+ \((\d+) sectors, .*", what)
        if who == "pager" and put:
            clusters.append(((int(put.group(1)), int(put.group(2) or put.group(1))), []))
        elif who == "disk" and disk and clusters:
            clusters[-1][1].append((int(disk.group(1)), int(disk.group(2))))
    return clusters


def check_memory(*options):
    image, swap = fresh_image(4096), swap_image()
    t = Chapter("memory", 4, "--disk", image, "--disk", swap, *options, words=["swap=vdb"])
    out, page, anon, _ = t.acts
    for act in (page, anon):
        contains("an act", act.text, ": the same")
        equal("page faults", act.counter("faults"), 1)
    equal("reads of the volume", sum(n for _, n in page.requests("vda")), page.counter("sectors"))
    equal("reads of the swap disk", sum(n for _, n in anon.requests("vdb")), anon.counter("sectors"))
    check(anon.requests("vdb"), "the anonymous page did not come from the swap disk")
    with open(swap, "rb") as f:
        swapped = {}
        for (first, _), requests in pageout_writes(out, "swapout"):
            sectors = [s + n for s, c in requests for n in range(0, c, 8)]
            for n, sector in enumerate(sectors):
                f.seek(sector * 512)
                swapped[first + n] = struct.unpack("<Q", f.read(8))[0]
    equal("the pages on the swap disk", swapped, {n: 0xfa000 + n for n in range(PAGES)})
    laundered = {p for (first, last), _ in pageout_writes(out, "laundry") for p in range(first, last + 1)}
    check(laundered >= set(range(8, 16)), f"the laundry wrote pages {sorted(laundered)}")
    volume.debugfs(image, f"dump {DRAFT} {scratch('draft')}")
    with open(scratch("draft"), "rb") as f:
        data = f.read()
    for n in range(PAGES):
        equal(f"the first word of page {n} of the file", struct.unpack_from("<Q", data, n * PAGE)[0],
              0xfa000 + n if n >= 8 else struct.unpack("<Q", b"A page o")[0])
    volume.fsck_clean(image)


@test
def what_was_paged_out_is_on_the_disks():
    check_memory()
    check_memory("--mem", "8M")


@test
def without_swap_anonymous_memory_stays():
    t = Chapter("memory", 4, "--disk", fresh_image(4096))
    contains("page-out", t.acts[0].text, f"{PAGES} anonymous pages stay: there is no swap disk")
    contains("the anonymous page", t.acts[2].text, ": the same")
    equal("requests for the anonymous page", (t.acts[2].counter("disk requests"), t.acts[2].counter("pager")), (0, 0))


if __name__ == "__main__":
    sys.exit(guest.main("tour_write"))
