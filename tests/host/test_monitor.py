#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Drive the monitor through a pipe and compare what it says with what the host knows about the
same volume.

The bytes of every file come from debugfs, so a checksum that agrees has gone through the kernel's
ext2, its pager, its page faults and the disk driver, and through none of them on the host.
"""

import os
import re
import subprocess
import sys
import zlib

sys.dont_write_bytecode = True
import guest  # noqa: E402
import mkimage
import programs  # noqa: E402
import run  # noqa: E402
import volume  # noqa: E402
from guest import Session, ask, check, contains, equal, scratch, test  # noqa: E402

LARGEST = 5 << 20       # files over this, which are sparse ones of gigabytes, are left out
STORY = "/tour/story.txt"


class Volume:
    """A test volume and what debugfs says about its folder /t."""

    def __init__(self, bs):
        self.bs, self.image = bs, run.volume(bs)
        self.disk = ("--disk", self.image + ",ro")
        self.inodes, self.sizes, self.kinds = {}, {}, {}
        for line in volume.debugfs(self.image, "ls -p /t").splitlines():
            if line.startswith("/"):
                _, ino, mode, _, _, name, size, _ = line.split("/")
                self.inodes[name], self.kinds[name] = int(ino), mode[:2]
                if size:
                    self.sizes[name] = int(size)

    def regular(self):
        return [name for name in sorted(self.inodes) if self.kinds[name] == "10"]

    def small(self):
        return [name for name in self.regular() if self.sizes[name] <= LARGEST]

    def content(self, name):
        path = scratch("dumped")
        volume.debugfs(self.image, f"dump /t/{name} {path}")
        with open(path, "rb") as f:
            return f.read()


def parse_sum(answer):
    found = re.fullmatch(r"(\S+): crc32 ([0-9a-f]{8}), (\d+) bytes; "
                         r"(\d+) page faults, (\d+) disk requests, (\d+) sectors\n?", answer)
    check(found, f"no checksum in {answer!r}")
    return int(found.group(2), 16), *map(int, found.groups()[2:])


def sums_agree(bs, *options):
    v = Volume(bs)
    names = v.small()
    check(len(names) > 12 and {"checker", "frag", "holefirst", "tail"} <= set(names), f"the volume has only {names}")
    lines = [line for name in names for line in ("drop", f"sum /t/{name}", "drop", f"mapsum /t/{name}")]
    answers = ask(lines, *v.disk, *options)
    for n, name in enumerate(names):
        data = v.content(name)
        pages = (len(data) + 4095) // 4096
        crc, size, faults, requests, _ = parse_sum(answers[4 * n + 1])
        equal(f"sum's bytes of {name}", size, len(data))
        equal(f"sum's CRC-32 of {name}", f"{crc:08x}", f"{zlib.crc32(data):08x}")
        equal(f"page faults of sum {name}", faults, 0)
        mapped = parse_sum(answers[4 * n + 3])
        equal(f"mapsum's bytes of {name}", mapped[1], len(data))
        equal(f"mapsum's CRC-32 of {name}", f"{mapped[0]:08x}", f"{zlib.crc32(data):08x}")
        check((mapped[2] > 0) == (pages > 0) and mapped[2] <= pages,
              f"{mapped[2]} page faults for {pages} pages of {name}")
        if data.strip(b"\0"):
            check(requests > 0 and mapped[3] > 0,
                  f"{name} was read without the disk: {requests} and {mapped[3]} requests")


@test
def sums_agree_with_1k_blocks():
    sums_agree(1024)


@test
def sums_agree_with_4k_blocks():
    sums_agree(4096)


@test
def sums_agree_with_64k_blocks_in_8_mib():
    sums_agree(65536, "--mem", "8M")


@test
def a_cached_file_is_not_read_again():
    v = Volume(4096)
    lines = ["sum /t/seq", "mapsum /t/seq", "sum /t/seq", "drop", "sum /t/seq"]
    answers = ask(lines, *v.disk)
    cold, mapped, warm, again = (parse_sum(answers[i]) for i in (0, 1, 2, 4))
    check(cold[3] > 0 and again[3] > 0, "a file that was not in memory was read without the disk")
    equal("disk requests of mapsum after sum", mapped[3], 0)
    equal("disk requests of the second sum", warm[3], 0)
    check(mapped[2] > 0, "mapsum took no page fault")


# ---- where files lie ------------------------------------------------------------------------------

def host_runs(v, name):
    """[(first block, last block, first sector or None for a hole)], neighbours joined."""
    blocks = dict(volume.file_map(v.image, f"/t/{name}")[0])
    per, runs = v.bs // 512, []
    for lbn in range((v.sizes[name] + v.bs - 1) // v.bs):
        sector = blocks[lbn] * per if lbn in blocks else None
        if runs and (sector is None) == (runs[-1][2] is None) and \
                (sector is None or sector == runs[-1][2] + (lbn - runs[-1][0]) * per):
            runs[-1][1] = lbn
        else:
            runs.append([lbn, lbn, sector])
    return runs


def guest_runs(answer, bs):
    runs = []
    for first, last, hole, sector, last_sector in re.findall(
            r"^  blocks (\d+)-(\d+): (?:(hole) of \d+ bytes|sectors (\d+)-(\d+) \(\d+ bytes\))$", answer, re.M):
        first, last = int(first), int(last)
        if not hole:
            sectors = (last - first + 1) * (bs // 512)
            equal("the last sector of a run", int(last_sector), int(sector) + sectors - 1)
        runs.append([first, last, None if hole else int(sector)])
    return runs


@test
def map_is_what_debugfs_says():
    for bs in (1024, 4096):
        v = Volume(bs)
        names = [n for n in v.small() if n != "frag" or bs != 1024] + (["frag"] if bs == 1024 else [])
        answers = ask([f"map /t/{n}" for n in names], *v.disk)
        for name, answer in zip(names, answers):
            wanted, got = host_runs(v, name), guest_runs(answer, bs)
            if len(wanted) > 200:       # the monitor stops there and says so
                contains(f"map of {name}", answer, f"and so on, to block {wanted[-1][1]}")
                wanted = wanted[:len(got) - 1]
                got = got[:len(wanted)]
                check(len(got) > 190, f"map of {name} shows {len(got)} runs")
            equal(f"the runs of {name} with blocks of {bs}", got, wanted)
        check(len(host_runs(v, "frag")) > 20, "frag is not fragmented")


# ---- directories and inodes -----------------------------------------------------------------------

LS = re.compile(r"^([-dlbcps?!])([rwx-]{9}) +(\d+) +(\d+) +(\d+) (.*?)(?: -> (.*))?$")


def listed(answer):
    entries = {}
    for line in answer.splitlines():
        found = LS.match(line)
        check(found, f"no line of ls: {line!r}")
        entries[found.group(6)] = (found.group(1), int(found.group(4)), int(found.group(5)), found.group(7))
    return entries


@test
def ls_and_stat_are_what_debugfs_says():
    v = Volume(4096)
    stats = [f"stat /t/{n}" for n in v.small()]
    answers = ask(["ls /t", "ls /t/many", "ls /t/tiny", *stats], *v.disk)
    got = listed(answers[0])
    equal("the names of ls /t", sorted(got), sorted(v.inodes))
    types = {"04": "d", "10": "-", "12": "l"}
    for name, (kind, size, ino, target) in got.items():
        equal(f"the type of {name}", kind, types[v.kinds[name]])
        equal(f"the inode of {name}", ino, v.inodes[name])
        if kind == "-":
            equal(f"the size of {name}", size, v.sizes[name])
    equal("the target of /t/fast", got["fast"][3], "seq")
    equal("the target of /t/slow, which is not in its inode", got["slow"][3], "./" * 40 + "seq")
    equal("entries of /t/many", len(listed(answers[1])), 502)
    equal("ls of a file", list(listed(answers[2])), ["/t/tiny"])
    for name, answer in zip(v.small(), answers[3:]):
        contains(f"stat {name}", answer, f"/t/{name}: file, inode {v.inodes[name]}, ")
        contains(f"stat {name}", answer, f"  {v.sizes[name]} bytes in blocks of {v.bs}; ")


@test
def cat_prints_the_text():
    answers = ask(["cat /etc/motd", f"cat {STORY}", "cat /tour"], words=[])
    with open(os.path.join(mkimage.ROOT_DIR, "etc", "motd"), encoding="ascii") as f:
        equal("cat /etc/motd", answers[0].rstrip("\n"), f.read().rstrip("\n"))
    with open(os.path.join(mkimage.ROOT_DIR, STORY[1:]), encoding="ascii") as f:
        story = f.read()
    check(answers[1].startswith(story[:65536]), "cat of the story differs")
    contains("cat of the story", answers[1][-100:], f"(65536 of {len(story)} bytes)")
    contains("cat of a folder", answers[2], "EISDIR")


# ---- errors, and how it ends ----------------------------------------------------------------------

SENTENCES = {
    "ls /nope": "ls: /nope: ENOENT",
    "ls /etc/motd/x": "ls: /etc/motd/x: ENOTDIR",
    "sum /etc": "sum: /etc: EISDIR",
    "mapsum /etc": "mapsum: /etc: EISDIR",
    "map /nope": "map: /nope: ENOENT",
    "object /nope": "object: /nope: ENOENT",
    "stat": "usage: stat PATH",
    "stat a b": "usage: stat PATH",
    "fault /etc/motd": "usage: fault PATH OFFSET [write]",
    "fault /etc/motd x": "fault: `x` is not a number (such as 4096, 0x1000 or 4K)",
    "fault /etc/motd 1 read": "fault: after the offset there may only be `write`, not `read`",
    "fault /nope 1": "fault: /nope: ENOENT",
    "fault /etc 1": "fault: /etc: EISDIR",
    "fault /etc/motd 0xffffffffffffffff": "fault: /etc/motd: EFBIG",
    "crash nothing": "crash: `nothing` is not one of null, wild, text, code, jump, stray, lock, interrupt, tables, livelock, order",
    "trace maybe": "usage: trace on [GLOB]|off|show [N]",
    "poweroff 111": "poweroff: a status is a number from 0 to 110, not 111",
    "poweroff -1": "poweroff: `-1` is not a number (such as 4096, 0x1000 or 4K)",
    "frobnicate": "There is no command `frobnicate`; help lists those that there are.",
    "tour /etc/motd": f"tour: /etc/motd has {len(programs.MOTD)} bytes; the tour wants a file of at least 5 pages.",
    "one two three four five six": "There is no command `one`; help lists those that there are.",
    "": "",
}


@test
def mistakes_cost_one_sentence():
    answers = ask(SENTENCES)
    for (line, sentence), answer in zip(SENTENCES.items(), answers):
        equal(f"the answer to `{line}`", answer.strip("\n"), sentence)


@test
def poweroff_gives_the_status():
    for status in (0, 7, 110):
        Session([], end=f"poweroff {status}").expect_end(status)
    Session([], end="exit 3").expect_end(3)
    ended = guest.Run(words=["monitor"], stdin=b"queues\n\x04")
    equal("the exit status after Ctrl-D", ended.status, 0)
    contains("the output before Ctrl-D", ended.out, "pages of RAM")


@test
def no_input_is_lost():
    """Everything is in the pipe before the kernel starts, and much more than its input buffer holds."""
    lines = [f"sum {STORY}"] + [f"stat /no/such/path/number/{n:03}" for n in range(200)] + ["objects"]
    for n, answer in enumerate(ask(lines)[1:201]):
        equal("an answer", answer.strip(), f"stat: /no/such/path/number/{n:03}: ENOENT")


@test
def lines_can_be_edited():
    keys = b"objectz\x7fs\x08s\n" + b"junk\x15queues\n" + b"poweroff 9\x7f5\n"
    ended = guest.Run(words=["monitor"], stdin=keys)
    equal("the exit status", ended.status, 5)
    contains("the output", ended.out, "resident")
    contains("the output", ended.out, "pages of RAM")
    check("There is no command" not in ended.out, "an edited line was not understood")


@test
def a_bad_disk_costs_a_sentence():
    v = Volume(4096)
    rules = scratch("rules")
    mkimage.build_blkdebug(v.image, rules)
    at = mkimage.ERRDATA_PAGE * 4096
    lines = ["sum /t/errdata", "mapsum /t/errdata", f"fault /t/errdata {at}", "sum /t/seq", "check"]
    answers = ask(lines, "--disk", f"{v.image},ro,blkdebug={rules}")
    contains("sum", answers[0], "/t/errdata: byte ")
    contains("sum", answers[0], "EIO")
    contains("mapsum", answers[1], f"mapsum: /t/errdata: byte {at}: signal 7, code 2")
    contains("fault", answers[2], "SIGBUS (BUS_ADRERR)")
    contains("fault", answers[2], "VM_PAGER_ERROR")
    contains("fault", answers[2], "EIO")
    equal("sum of a good file", parse_sum(answers[3])[0], zlib.crc32(v.content("seq")))
    contains("check", answers[4], "all laws hold")


# ---- the views ------------------------------------------------------------------------------------

def value(pattern, answer):
    found = re.search(pattern, answer, re.M)
    check(found, f"no {pattern!r} in {answer[-400:]!r}")
    return int(found.group(1))


@test
def views_agree_with_each_other():
    # The first stat reads the folders, so that afterwards only the file itself comes from the disk.
    stat, before, mapsum, after, picture, objects, vmstat = ask(
        [f"stat {STORY}", "disks", f"mapsum {STORY}", "disks", f"object {STORY}", "objects", "vmstat"]
    )[:7]
    contains("stat", stat, "262144 bytes")
    reads = value(r"^ +(\d+) reads", after) - value(r"^ +(\d+) reads", before)
    equal("disk requests by `disks`", reads, parse_sum(mapsum)[3])
    strip = re.search(r"^ +0 ([iAWdB.]+)$", picture, re.M)
    check(strip, f"no strip in {picture!r}")
    equal("pages in the strip", len(strip.group(1)), 64)
    equal("resident pages in the strip", 64 - strip.group(1).count("."), value(r"(\d+) resident", picture))
    equal("resident pages in `objects`", value(r"vnode +64 +(\d+) ", objects), 64)
    equal("pages in of vmstat", value(r"^ +(\d+)  v_vnodepgsin", vmstat), 64)
    equal("page faults of vmstat", value(r"^ +(\d+)  v_vm_faults", vmstat), parse_sum(mapsum)[2])


@test
def views_show_the_kernel():
    patterns = {
        "queues": r"^\d+ pages of RAM$",
        "threads": r"^ +\d+  pageout +asleep",
        "locks": r"^ +[1-9]\d* +\d+ +\d+  sched$",
        "locks order": r"^  sleepq, then sched: .*\bsleep_on\b",
        "maps": r"^There is no address space now",
        "mounts": r"^/: ext2 on vda, \d+ blocks of 4096 bytes",
        "pages": r"^  [0-9a-f]{10} [iAWLb.0]{64}$",
        "kmem": r"^vm_object +\d+",
        "check": r"^all laws hold: ",
        "selftest trap.peek*": r"^1 passed, 0 failed$",
        "trace show": r"^Nothing has been recorded",
    }
    for line, answer in zip(patterns, ask(patterns)):
        check(re.search(patterns[line], answer, re.M), f"{line} says {answer!r}")
    help_text = ask(["help"])[0]
    known = set(re.findall(r"^  (\w+)", help_text, re.M))
    check({line.split()[0] for line in patterns} <= known, f"help lists only {sorted(known)}")


@test
def volumes_come_and_go():
    other = scratch("other.img")
    subprocess.run(["cp", "--sparse=always", run.volume(1024), other], check=True)
    said = ask(
        ["mount vdb /tour ro", "mounts", "ls /tour", "remount vdb rw", "mounts", "mount vdb /etc", "umount vdb",
         "ls /tour", "mount vdb /tour", "remount vdb maybe", "umount vdc", "mount vdc /tour", "mount vdb /nowhere",
         "sync", "umount vdb force", "mounts"], "--disk", guest.default_disk(), "--disk", other)
    contains("mounts", said[1], "tour: ext2 on vdb (read-only), ")
    check(re.search(r" t$", said[2], re.M), f"ls of the volume says {said[2]!r}")
    contains("mounts, read-write", said[4], "tour: ext2 on vdb, ")
    contains("a second mount", said[5], "mount: vdb: EBUSY")
    contains("ls of what was covered", said[7], "story.txt")
    contains("remount", said[9], "the last word is ro or rw")
    contains("umount of nothing", said[10], "umount: nothing is mounted from vdc")
    contains("mount of no disk", said[11], "mount: there is no such disk")
    contains("mount on nothing", said[12], "mount: /nowhere: ENOENT")
    for n in (3, 6, 13):
        check("umount:" not in said[n] and "remount:" not in said[n] and "sync:" not in said[n], f"it says {said[n]!r}")
    check("vdb" not in said[15], f"it is still mounted: {said[15]!r}")
    volume.fsck_clean(other)


@test
def trace_and_drop():
    answers = ask(["trace on", f"sum {STORY}", "trace off", "trace show 900", "drop",
                   f"object {STORY}", "objects"])
    for kind in ("bmap", "pager-get", "disk-read", "disk-done", "pager-done", "page-queue"):
        contains("the trace", answers[3], f" {kind} ")
    contains("object after drop", answers[5], "has no object")
    equal("objects after drop", len(answers[6].splitlines()), 1)


if __name__ == "__main__":
    sys.exit(guest.main("monitor"))
