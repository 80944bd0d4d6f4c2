#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Are the tour's numbers true?

Each of them is compared with somebody who did not print it: debugfs says where the file's blocks
lie, QEMU's log which page faults the processor took, the file itself what its pages hold.  The same
file is laid out in several ways, and each layout must change the story.
"""

import os
import re
import sys
import zlib

sys.dont_write_bytecode = True
import guest  # noqa: E402
import mkimage  # noqa: E402
import volume  # noqa: E402
from guest import ask, check, contains, equal, scratch, test  # noqa: E402
from tale import Act, PAGE, TRAP, number, pages_named  # noqa: E402

STORY = "/tour/story.txt"
SIZE = 256 << 10
TEXT = mkimage.story(SIZE)
# How the story is laid out: block size, and lengths of its extents in blocks (None: as mke2fs likes).
LAYOUTS = {"1k": (1024, None), "4k": (4096, None), "64k": (65536, None),
           "1k-pieces": (1024, [3, 5, 2]), "4k-pieces": (4096, [2, 1, 4])}


def image(name):
    """The volume of that layout."""
    path = scratch(name + ".img")
    if os.path.exists(path):
        return path
    bs, lengths = LAYOUTS[name]
    root, story = scratch(name + ".root"), scratch("story.txt")
    os.makedirs(os.path.join(root, "tour"))
    with open(story, "wb") as f:
        f.write(TEXT)
    if lengths is None:
        os.link(story, os.path.join(root, "tour", "story.txt"))

    def make(out):
        volume.mke2fs(out, bs, (56 if bs > 8192 else 12) << 20, root, mkimage.TEST_FEATURES, 256)
        if lengths is not None:
            mkimage.write_fragmented(out, STORY, SIZE, lengths, story)

    mkimage.build_at(path, make)
    return path


class Tour(guest.Run):
    """One boot that played the tour: its acts."""

    def __init__(self, *options, words=(), path=STORY):
        super().__init__(*options, words=words)
        equal(f"the exit status ({self.err.strip()})", self.status, 0)
        self.parts = re.split(r"^---- (?:\d\. )?(.*)$", self.out, flags=re.M)
        equal(f"the number of headings in {self.out[-500:]!r}", len(self.parts), 11)
        self.head = self.parts[0]
        self.acts = [Act(text) for text in self.parts[2::2]]
        self.cold, self.again, self.neighbour, self.write, self.sum = self.acts
        contains("the head", self.head, path + " is inode ")
        self.inode = number(r" is inode (\d+) of vda", self.head)
        self.base = number(r"^It is mapped at (0x[0-9a-f]+)-", self.head)

    def faults(self):
        """All page faults told: [(address, error code)]"""
        return [(int(va, 16), int(error, 16)) for act in self.acts for va, _, _, _, error in act.who("trap", TRAP)]


# ---- one tour, checked ----------------------------------------------------------------------------

def sectors_of_page(blocks, bs, page):
    """The sectors of a page, in order, one by one."""
    return [blocks[byte // bs] * (bs // 512) + byte % bs // 512
            for byte in range(page * PAGE, (page + 1) * PAGE, 512)]


def check_cold(t, name):
    """The cold fault, against debugfs."""
    bs, act = LAYOUTS[name][0], t.cold
    blocks = dict(volume.file_map(image(name), STORY)[0])
    equal("the inode", t.inode, number(r"^Inode: (\d+)", volume.debugfs(image(name), f"stat {STORY}")))
    (va, kind, mode, _, error), = act.who("trap", TRAP)
    page = (int(va, 16) - t.base) // PAGE
    equal("the fault", (kind, mode, int(error, 16)), ("read", "kernel", 0))
    bmaps = act.who("bmap", rf"block (\d+) of inode {t.inode} lies at sector (\d+); "
                    r"(\d+) more blocks? follows? it there")
    check(bmaps, "VOP_BMAP was not asked")
    for lbn, sector, more in (map(int, m) for m in bmaps):
        equal(f"the sector of block {lbn}", sector, blocks[lbn] * (bs // 512))
        equal(f"the blocks after block {lbn}", [blocks[lbn + n] for n in range(more + 1)],
              [blocks[lbn] + n for n in range(more + 1)])
    (pages, wanted), = act.who("pager", r"getpages: pages? ([0-9-]+) of the file's object"
                               r"(?: \(\d+ pages\), for page (\d+))?")
    asked = sorted(pages_named(pages))
    equal("the page asked for", int(wanted or asked[0]), page)
    read = [s for first, count in act.requests() for s in range(first, first + count)]
    equal("the sectors read", read, [s for p in asked for s in sectors_of_page(blocks, bs, p)])
    check_company(act, page, asked)
    return tuple(act.requests())


def check_company(act, page, asked):
    """What happened meanwhile and afterwards: sleeps, interrupts, queues, counters, the picture."""
    requests = act.requests()
    whole = len(requests) == 1 and requests[0][1] == 8 * len(asked)
    sleeps = [s for s, in act.who("sleep", r'thread tour (?:sleeps|need not sleep) in "(\w+)".*')]
    check(set(sleeps) <= {"vnread" if whole else "vnsrd"}, f"it slept in {sleeps}")
    awake = re.search(r"^  For (\d+) of \d+ requests it did not sleep: ", act.text, re.M)
    equal("the requests that it slept for", len(sleeps), len(requests) - (int(awake.group(1)) if awake else 0))
    equal("the times that it was woken", len(act.who("wake", r"thread tour can run")), len(sleeps))
    slept = len(act.who("sleep", r"thread tour sleeps .*"))
    equal("the times that another thread got the CPU",
          len(act.who("run", r"thread bystander gets the CPU")), slept)
    equal("the times that it got the CPU back",
          len(act.who("run", r"thread tour is on the CPU again")), slept)
    done = act.who("irq", r"vda interrupts thread (\w+): the request at sector (\d+) took (\d+) us, no error")
    equal("the requests that ended", [int(s) for _, s, _ in done], [first for first, _ in requests])
    equal("requests by the counters", act.counter("disk requests"), len(requests))
    equal("sectors by the counters", act.counter("sectors"), sum(count for _, count in requests))
    equal("pages by the counters", act.counter("pages in"), len(asked))
    queue = {}
    for pages, name in act.who("queue", r"pages? (.*) of the file's object: to the (\w+) queue"):
        queue.update({p: name for p in pages_named(pages)})
    equal("the pages that went to a queue", set(queue), set(asked))
    strip = re.search(r"^ +0 ([iAWdB.]{64})$", act.text, re.M).group(1)
    glyphs = {"active": "A", "inactive": "i", None: "."}
    equal("the picture", strip, "".join(glyphs[queue.get(p)] for p in range(64)))
    mapped = act.who("pmap", r"pages? (.*) (?:is|are) mapped along, r--")
    along = pages_named(mapped[0][0]) if mapped else set()
    equal("the neighbours mapped along", along, set(asked) - {page})
    result = act.who("return", r"(\w+) after \d+ us: the instruction is tried again")
    equal("the result", result, [("KERN_SUCCESS",)])


def line_in(page):
    """The first line that begins in that page."""
    start = TEXT.index(b"\n", page * PAGE) + 1
    return start - page * PAGE, TEXT[start:TEXT.index(b"\n", start)].decode()


def check_rest(t):
    """The three acts that need no disk."""
    for act in (t.again, t.neighbour, t.write):
        equal("disk requests of a later act", (act.requests(), act.counter("disk requests")), ([], 0))
    equal("soft faults of act 2", (t.again.counter("faults"), t.again.counter("soft")), (1, 1))
    equal("the address of act 2", t.again.who("trap", TRAP)[0][0], t.cold.who("trap", TRAP)[0][0])
    contains("act 2", t.again.text, "was mapped, and now is not mapped")
    equal("the disk's counter in act 3", number(r"since boot: (\d+) before", t.neighbour.text),
          number(r"(\d+) after$", t.neighbour.text))
    page = (int(t.write.who("trap", TRAP)[0][0], 16) - t.base) // PAGE
    at, line = line_in(page)
    contains("act 1", t.cold.text, f'"{line}"')
    contains("act 4, through the mapping", t.write.text, f'"MINE{line[4:]}"')
    contains("act 4, through VOP_READ", t.write.text, f'"{line}"')
    mine = bytearray(TEXT[page * PAGE:(page + 1) * PAGE])
    was = zlib.crc32(mine)
    mine[at:at + 4] = b"MINE"
    contains("act 4, the file's page", t.write.text, f"crc32 {was:08x} before and {was:08x} after: unchanged")
    contains("act 4, the copy", t.write.text, f"crc32 {zlib.crc32(mine):08x}; ")
    copied = t.write.who("copy", r"frame (0x[0-9a-f]+) is copied to frame (0x[0-9a-f]+), "
                         r"now page (\d+) of the shadow object")
    equal("the page copied", [int(p) for _, _, p in copied], [page])
    contains("act 4, the copy", t.write.text, f"the private copy:    frame {copied[0][1]}, ")
    contains("act 4, the file's page", t.write.text, f"the file's own page: frame {copied[0][0]}, ")
    equal("copies by the counters", t.write.counter("copied"), 1)
    picture = "." * page + "d" + "." * (63 - page)
    check(re.search(rf"^ +0 {re.escape(picture)}$", t.write.text, re.M),
          "the shadow's picture is not one dirty page")


def tour_of(name, *options):
    t = Tour("--disk", image(name) + ",ro", *options)
    requests = check_cold(t, name)
    check(t.neighbour.counter("disk requests") == 0 or name.endswith("pieces"),
          "the neighbour was read from the disk")
    if not t.neighbour.counter("disk requests"):
        check_rest(t)
    return requests


@test
def numbers_are_debugfs_numbers():
    stories = {name: tour_of(name) for name in LAYOUTS}
    equal(f"the number of different stories in {stories}", len(set(stories.values())), len(LAYOUTS))


@test
def with_8_mib():
    tour_of("1k", "--mem", "8M")
    tour_of("64k", "--mem", "8M", "--cpu", "qemu64")


@test
def the_processor_took_the_same_faults():
    """The second witness: QEMU logs each exception with its error code and CR2."""
    t = Tour("--disk", image("4k") + ",ro", "--qemu", "-d int")
    seen = [(int(cr2, 16), int(error, 16)) for error, cr2 in
            re.findall(r"v=0e e=([0-9a-f]+) .*?CR2=([0-9a-f]+)", t.log) if int(cr2, 16) < 1 << 47]
    untold = number(r"^  \(cold fault number (\d+): ", t.cold.text) - 1
    equal("the page faults on user addresses", seen, untold * t.faults()[:1] + t.faults())
    equal("how many were told", len(t.faults()), 3)


@test
def default_disk():
    t = Tour()
    check(len(t.cold.requests()) == 1, "the story on the default disk is not read by one request")
    for act in t.acts[:4]:
        check(all(len(line) <= 110 for line in act.text.splitlines()), "a line is longer than 110 columns")
    check(len(t.out.splitlines()) < 110, f"the tour has {len(t.out.splitlines())} lines")


# ---- elsewhere ------------------------------------------------------------------------------------

def sentences(*options, words=()):
    """A boot that cannot play the tour: what it says about it."""
    run = guest.Run(*options, words=words)
    equal(f"the exit status ({run.err.strip()})", run.status, 0)
    return [line for line in run.out.splitlines() if line.startswith("tour: ")]


@test
def without_a_disk():
    equal("the tour", sentences("--no-disk"), ["tour: no volume is mounted, so there is no file to fault in."])


def other_volume(name, files):
    root, out = scratch(name + ".root"), scratch(name + ".img")
    for path, content in files.items():
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), "wb") as f:
            f.write(content)
    mkimage.build_at(out, lambda made: volume.mke2fs(made, 1024, 4 << 20, root, mkimage.TEST_FEATURES, 64))
    return out


@test
def another_file_is_found():
    path = other_volume("other", {"a/short": b"x" * 100, "b/c/long": bytes(range(256)) * 100, "b/c/empty": b""})
    t = Tour("--disk", path + ",ro", path="/b/c/long")
    contains("act 1", t.cold.text, "00 01 02 03 04 05 06 07")
    contains("act 4", t.write.text, "4d 49 4e 45 04 05 06 07")


@test
def no_file_will_do():
    path = other_volume("small", {"a/short": b"x" * 100})
    equal("the tour", sentences("--disk", path + ",ro"),
          ["tour: this volume has neither /tour/story.txt nor another file of 5 pages without holes."])
    equal("the tour of a short file", sentences("--disk", path + ",ro", words=["tour=/a/short"]),
          ["tour: /a/short has 100 bytes; the tour wants a file of at least 5 pages."])
    equal("the tour of nothing", sentences("--disk", path + ",ro", words=["tour=/nope"]),
          ["tour: /nope: ENOENT"])


@test
def a_file_of_ones_own():
    with open(os.path.join(mkimage.ROOT_DIR, "tour", "sparse"), "rb") as f:
        equal("the size of the sparse file", len(f.read()), 1114112)
    t = Tour(words=["tour=/tour/sparse"], path="/tour/sparse")
    contains("act 1", t.cold.text, "of the file's object")


@test
def a_bad_sector_ends_the_tour():
    blocks = dict(volume.file_map(image("4k"), STORY)[0])
    rules = scratch("tour.rules")
    with open(rules, "w", encoding="ascii") as f:
        f.write(f'[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "{blocks[2] * 8}"\nonce = "off"\n')
    run = guest.Run("--disk", f"{image('4k')},ro,blkdebug={rules}")
    equal("the exit status", run.status, 0)
    contains("the tour", run.out, "EIO")
    contains("the tour", run.out, "answers VM_PAGER_ERROR")
    contains("the tour", run.out, "A program would get SIGBUS (BUS_ADRERR)")
    contains("the tour", run.out, "The page cannot be had, so the tour ends here.")


@test
def a_second_tour_is_cold_too():
    answers = ask([f"sum {STORY}", "tour", "tour"])
    for answer in answers[1:3]:
        cold = Act(answer.partition("---- 2.")[0].partition("---- 1.")[2])
        equal("requests of the cold fault", len(cold.requests()), 1)
        contains("the cold fault", cold.text, "the file's object (0xffff")


@test
def nothing_stays_behind():
    """Twice the same views, with a tour and a fault in between."""
    views = ["drop", "kmem", "threads", "objects", "maps"]
    answers = ask(["drop", "tour", f"fault {STORY} 100000 write", *views,
                   "tour", f"fault {STORY} 50000", *views, "check"])
    for n, view in enumerate(views[1:], 1):
        before, after = answers[3 + n], answers[3 + len(views) + 2 + n]
        if view == "kmem":
            row = r"^(\S.*?) +([1-9]\d*) +\d+ +\d+$"
            before, after = (re.findall(row, text, re.M) for text in (before, after))
        elif view == "threads":
            before, after = (re.findall(r"^ +\d+  (\w+)", text, re.M) for text in (before, after))
        equal(view, after, before)
    contains("the first tour", answers[1], "---- In sum")
    contains("the second tour", answers[3 + len(views)], "vda gets a request")
    contains("check", answers[-2], "all laws hold")


if __name__ == "__main__":
    sys.exit(guest.main("tour"))
