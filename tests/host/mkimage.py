#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Build Faultline's disk images with mke2fs and debugfs: no root, no mount.

    mkimage.py default                   build/root.img (128 MiB, 4096-byte blocks) from build/root/,
                                         which is first given its usual files
    mkimage.py test --block-size N OUT   the self-tests' volume; /t/manifest describes its files
    mkimage.py blkdebug IMAGE OUT        QEMU rules that break chosen blocks of a test volume
    mkimage.py bench OUT                 the benchmarks' volume

The manifest has one line a file, `name size kind offset:length ...`, where the extents hold the
pattern of volume.pattern() for the path /t/name and everything else reads as zeros; # starts a comment.

All images end clean for `e2fsck -fn`.
"""

import argparse
import fcntl
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
import programs  # noqa: E402
from volume import (Failure, block_size_of, command, debugfs, file_map, fsck_clean, mke2fs, runs,  # noqa: E402
                    write_sparse)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOT_DIR = os.path.join(TOP, "build", "root")
ROOT_IMAGE = os.path.join(TOP, "build", "root.img")

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE = 4096
BLOCK_SIZES = (1024, 2048, 4096, 8192, 65536)
SUPERBLOCK, STATE, STATE_CLEAN = 1024, 58, 1
TEST_FEATURES = "none,sparse_super,large_file,filetype,dir_index,ext_attr"

# Pages of the files that the error-injection rules break.
ERRDATA_PAGE = 5        # the page that the test demands
ERRAHEAD_PAGE = 9       # a page that only read-ahead touches


# ---- the default disk -----------------------------------------------------------------------------

README = """\
This disk was made by `make disk` from build/root/ on the host.  Put your own files
there; the disk is made again when something in that folder is newer than it.

  bin/, usr/bin/  programs of this machine's Debian packages
  tour/story.txt  the file whose pages the tour faults in, one by one
  tour/sparse     64 KiB of file around 1 MiB of hole
  tour/link       a symbolic link to story.txt
"""


def story(size):
    """Numbered lines that say where in the file they are, exactly `size` bytes."""
    lines, at, number = [], 0, 1
    while at < size:
        line = (f"line {number:06}: this line begins in page {at // PAGE} of the file, at byte {at % PAGE:4} "
                "of that page.\n")
        lines.append(line)
        at += len(line)
        number += 1
    return ("".join(lines)[:size - 1] + "\n").encode()


def populate_root():
    programs.populate(ROOT_DIR)
    programs.put(ROOT_DIR, "readme.txt", README.encode())
    programs.put(ROOT_DIR, "tour/story.txt", story(256 * KIB))
    link = os.path.join(ROOT_DIR, "tour", "link")
    if not os.path.lexists(link):
        os.symlink("story.txt", link)
    sparse = os.path.join(ROOT_DIR, "tour", "sparse")
    if not os.path.lexists(sparse):
        write_sparse(sparse, "/tour/sparse", MIB + 64 * KIB, [(0, 32 * KIB), (MIB + 32 * KIB, 32 * KIB)])


def newest(folder):
    """The latest change below a folder: of content, of a link, or of what a folder lists."""
    latest = os.lstat(folder).st_mtime
    for at, dirs, files in os.walk(folder):
        for name in dirs + files:
            latest = max(latest, os.lstat(os.path.join(at, name)).st_mtime)
    return latest


def ensure_default():
    """Make the default image unless it is newer than everything in build/root/ -> its path."""
    populate_root()
    if os.path.exists(ROOT_IMAGE) and os.path.getmtime(ROOT_IMAGE) > newest(ROOT_DIR):
        mend_unclean(ROOT_IMAGE)
        return ROOT_IMAGE
    build_at(ROOT_IMAGE, lambda out: mke2fs(out, 4096, 128 * MIB, ROOT_DIR))
    return ROOT_IMAGE


def mend_unclean(image):
    """Who ends QEMU leaves the volume as it is, mounted, and the next machine would mount it read-only: look it over first."""
    with open(image, "r+b") as f:
        f.seek(SUPERBLOCK + STATE)
        if f.read(2)[0] & STATE_CLEAN:
            return
        try:
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return              # a machine is at work on it: QEMU locks what it writes
        try:
            command(["e2fsck", "-p", image], allowed=(0, 1))
        except Failure as e:
            raise Failure(f"{e}\n{image} was in use when its machine was ended; remove it for a fresh one") from e
    print(f"{os.path.relpath(image)} was in use when its machine was ended: e2fsck has looked it over", file=sys.stderr)


def build_at(path, make):
    """Call make(temporary name), check the image, and only then let it appear under its name."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    try:
        make(temporary)
        fsck_clean(temporary)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


# ---- the test volume ------------------------------------------------------------------------------

def huge_extents(bs):
    """Data around 2, 4 and 6 GiB and on both sides of each boundary of the block map.

    The triple-indirect boundary of 64 KiB blocks lies at 16 TiB, past what ext2 can say in i_blocks
    and past 2 TiB, so such a file stops short of it.
    """
    per = bs // 4
    spots = {2 * GIB, 4 * GIB, 6 * GIB}
    for blocks in (12, 12 + per, 12 + per + per * per):
        if blocks * bs < 2 << 40:
            spots.add(blocks * bs)
    extents = []
    for spot in sorted(spots):
        spot -= spot % bs
        if extents and extents[-1][0] + extents[-1][1] > spot - bs:
            last = extents.pop()
            extents.append((last[0], spot + bs - last[0]))
        else:
            extents.append((spot - bs, 2 * bs))
    return extents


class TestVolume:
    """The files below /t, first on the host, then in the image."""

    def __init__(self, bs, host):
        self.bs, self.host = bs, host
        self.lines = []
        os.makedirs(os.path.join(host, "t"))

    def add(self, name, size, kind="data", extents=None):
        if extents is None:
            extents = [(0, size)] if size else []
        extents = [(o, min(n, size - o)) for o, n in extents if o < size]
        path = os.path.join(self.host, "t", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_sparse(path, "/t/" + name, size, extents)
        self.describe(name, size, kind, extents)

    def describe(self, name, size, kind, extents):
        self.lines.append(" ".join([name, str(size), kind] + [f"{o}:{n}" for o, n in extents]))

    def comment(self, text):
        self.lines.append("# " + text)

    def plain_files(self):
        for name, size in (("empty", 0), ("tiny", 5), ("page", PAGE), ("page1", PAGE + 1), ("odd", 3 * PAGE + 1234),
                           ("seq", MIB + 123), ("sectors", 1536), ("seq4m", 4 * MIB), ("d1/d2/d3/deep", 3000)):
            self.add(name, size)

    def sparse_files(self):
        bs = self.bs
        # A page whose first block only is a hole.
        at = PAGE if bs < PAGE else 0
        size = max(16 * KIB, 4 * bs)
        self.add("holefirst", size, "sparse", [(0, at), (at + bs, size - at - bs)] if at else [(bs, size - bs)])
        # Hole, data and EOF in one page; with blocks of a page or more, in neighbouring blocks.
        if bs == 1024:
            size = PAGE + 3 * bs + 300
            self.add("holemix", size, "sparse", [(0, PAGE), (PAGE + bs, bs), (PAGE + 3 * bs, bs)])
        elif bs == 2048:
            self.add("holemix", PAGE + bs + 700, "sparse", [(0, PAGE), (PAGE + bs, bs)])
        else:
            self.add("holemix", 2 * bs + 700, "sparse", [(0, bs), (2 * bs, bs)])
        self.add("checker", 40 * bs, "sparse", [(n * bs, bs) for n in range(1, 40, 2)])
        self.add("allhole", 100 * KIB, "sparse", [])
        extents = huge_extents(bs)
        end = extents[-1][0] + extents[-1][1]
        self.add("huge", end - bs + min(bs, PAGE) // 2 + 77, "sparse", extents)

    def error_files(self):
        self.add("errdata", max(64 * PAGE, 2 * self.bs), "err")
        self.add("errahead", max(64 * PAGE, 2 * self.bs), "err")
        self.add("errind", max(64 * PAGE, 12 * self.bs) + 8 * max(PAGE, self.bs), "err")
        self.comment(f"errdata: page {ERRDATA_PAGE} fails; errahead: page {ERRAHEAD_PAGE} fails; errind: its "
                     "indirect block fails (only with the blkdebug rules)")

    def names(self):
        t = os.path.join(self.host, "t")
        many = os.path.join(t, "many")
        os.mkdir(many)
        for n in range(500):
            open(os.path.join(many, f"entry{n:03}" + "x" * (n % 23)), "wb").close()
        self.comment("many/: 500 empty files, entryNNN followed by NNN % 23 letters x")
        longest = "n" * 255
        write_sparse(os.path.join(t, longest), "/t/" + longest, 100, [(0, 100)])
        self.comment("a file whose name is 255 letters n: 100 bytes of its pattern")
        slow = "./" * 40 + "seq"
        for name, target in (("fast", "seq"), ("slow", slow), ("loop", "loop"), ("absolute", "/t/seq"),
                             ("dangling", "nowhere/at/all"), ("dirlink", "d1/d2")):
            os.symlink(target, os.path.join(t, name))
            self.comment(f"symlink {name} -> {target}")
        os.link(os.path.join(t, "seq"), os.path.join(t, "hard"))
        self.comment("hard: a second name of seq (pattern of /t/seq)")

    def tail_size(self):
        """(full size on disk, size that the file is then cut to)"""
        return max(2 * PAGE, self.bs), 2 * PAGE - 100

    def tail(self):
        full, size = self.tail_size()
        write_sparse(os.path.join(self.host, "t", "tail"), "/t/tail", full, [(0, full)])
        self.describe("tail", size, "stale", [(0, size)])
        self.comment("tail: the rest of its last block on disk holds bytes that are not zero")

    def frag_blocks(self):
        return max(600 * KIB, 24 * self.bs) // self.bs

    def frag(self):
        """Only described here: the file is made inside the image, where free space can be broken up."""
        size = self.frag_blocks() * self.bs
        self.describe("frag", size, "frag", [(0, size)])

    def manifest(self):
        head = [f"# Faultline test volume, block size {self.bs}", "# name size kind offset:length ..."]
        with open(os.path.join(self.host, "t", "manifest"), "w", encoding="ascii") as f:
            f.write("\n".join(head + self.lines) + "\n")


def write_fragmented(image, name, size, lengths, host):
    """Write a file into an image so that its extents are about as long as `lengths` says (in blocks).

    Fillers use up the space that the allocator would take next; every other one is removed, and the
    file falls into the gaps.
    """
    bs = block_size_of(image)
    blocks = size // bs
    gaps, fillers = [], []
    while sum(gaps) < blocks:
        gaps.append(lengths[len(gaps) % len(lengths)])
    with tempfile.TemporaryDirectory() as scratch:
        for length in set(gaps) | {1}:
            with open(os.path.join(scratch, str(length)), "wb") as f:
                f.write(b"filler!\n" * (length * bs // 8))
        folder = os.path.dirname(name)
        requests = [f"cd {folder}"]
        for n, length in enumerate(gaps):
            requests += [f"write {scratch}/{length} gap{n}", f"write {scratch}/1 wall{n}"]
        requests += [f"rm gap{n}" for n in range(len(gaps))]
        requests += [f"write {host} {os.path.basename(name)}"]
        requests += [f"rm wall{n}" for n in range(len(gaps))]
        debugfs(image, *requests, write=True)
    data, _ = file_map(image, name)
    if len(data) != blocks or runs(data) < len(gaps) // 2:
        raise Failure(f"{image}: {name} has {runs(data)} extents, which is not fragmented enough")


def build_test(bs, out):
    with tempfile.TemporaryDirectory(prefix="faultline-image-") as scratch:
        host = os.path.join(scratch, "root")
        v = TestVolume(bs, host)
        v.plain_files()
        v.sparse_files()
        v.error_files()
        v.names()
        v.tail()
        v.frag()
        v.manifest()
        size = v.frag_blocks() * bs
        frag = os.path.join(scratch, "frag")
        write_sparse(frag, "/t/frag", size, [(0, size)])

        def make(image):
            mke2fs(image, bs, {8192: 24, 65536: 56}.get(bs, 20) * MIB, host, TEST_FEATURES, 6144)
            debugfs(image, f"sif /t/tail size {v.tail_size()[1]}", write=True)
            write_fragmented(image, "/t/frag", size, [1, 2, 3, 4, 2, 1, 4], frag)

        build_at(out, make)


# ---- error-injection rules ------------------------------------------------------------------------

def build_blkdebug(image, out):
    """Rules that fail every read which touches a chosen sector.

    QEMU matches a rule against a request when the rule's sector lies inside the request, so one rule
    for each sector catches any overlap.  read_aio: reads only; writes and flushes go through.
    """
    bs = block_size_of(image)

    def page_sectors(path, page):
        data = dict(file_map(image, path)[0])
        return [data[byte // bs] * (bs // 512) + byte % bs // 512 for byte in range(page * PAGE, (page + 1) * PAGE, 512)]

    sectors = page_sectors("/t/errdata", ERRDATA_PAGE) + page_sectors("/t/errahead", ERRAHEAD_PAGE)
    indirect = file_map(image, "/t/errind")[1]["IND"][0]
    sectors += range(indirect * (bs // 512), (indirect + 1) * (bs // 512))
    with open(out, "w", encoding="ascii") as f:
        for sector in sectors:
            f.write(f'[inject-error]\nevent = "read_aio"\niotype = "read"\nerrno = "5"\nsector = "{sector}"\n'
                    'once = "off"\nimmediately = "off"\n\n')


# ---- the benchmarks' volume -----------------------------------------------------------------------

def build_bench(out):
    size = 64 * MIB
    with tempfile.TemporaryDirectory(prefix="faultline-image-") as scratch:
        host = os.path.join(scratch, "root")
        os.makedirs(os.path.join(host, "b"))
        write_sparse(os.path.join(host, "b", "small"), "/b/small", 64 * KIB, [(0, 64 * KIB)])
        write_sparse(os.path.join(host, "b", "mib"), "/b/mib", MIB, [(0, MIB)])
        write_sparse(os.path.join(host, "b", "sparse"), "/b/sparse", 6 * GIB, [(0, 64 * KIB), (6 * GIB - MIB, MIB)])
        contig, frag = os.path.join(scratch, "contig"), os.path.join(scratch, "frag")
        write_sparse(contig, "/b/contig", size, [(0, size)])
        write_sparse(frag, "/b/frag", size, [(0, size)])

        def make(image):
            mke2fs(image, 4096, 224 * MIB, host, TEST_FEATURES, 8192)
            debugfs(image, "cd /b", f"write {contig} contig", write=True)
            write_fragmented(image, "/b/frag", size, [8], frag)

        build_at(out, make)


# ---- command line ---------------------------------------------------------------------------------

def main(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="what", required=True)
    sub.add_parser("default")
    test = sub.add_parser("test")
    test.add_argument("--block-size", type=int, required=True, choices=BLOCK_SIZES)
    test.add_argument("out")
    rules = sub.add_parser("blkdebug")
    rules.add_argument("image")
    rules.add_argument("out")
    bench = sub.add_parser("bench")
    bench.add_argument("out")
    opts = p.parse_args(argv)
    if opts.what == "default":
        ensure_default()
    elif opts.what == "test":
        build_test(opts.block_size, opts.out)
    elif opts.what == "blkdebug":
        build_blkdebug(opts.image, opts.out)
    else:
        build_bench(opts.out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failure, OSError) as e:
        print(f"mkimage: {e}", file=sys.stderr)
        sys.exit(1)
