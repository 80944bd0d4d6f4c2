# SPDX-License-Identifier: BSD-2-Clause
"""vm mem, vm snap, vm diff: all of physical memory at a glance, and what has changed in it."""

import gdb
from common import Command, counters, defines, enum_word, need_pages, plural, say
import page

LINE, LINES = 64, 32
GLYPHS = {"free": "f", "zero": "0", "inactive": "i", "active": "A", "laundry": "L", "unswappable": "U"}
LEGEND = "f free  0 free and zero  i inactive  A active  L laundry  U no room on swap  W wired  B busy  k the kernel's own"
SHOWN = 20


def glyph(pages, address):
    busy, c = pages.field(address, "busy"), defines(page.PAGE_H)
    queue = enum_word("enum page_queue", pages.field(address, "queue"), "PQ_")
    if queue in GLYPHS and (busy == 0 or busy >= c["VPB_FREED"]):
        return GLYPHS[queue]
    if 0 < busy < c["VPB_FREED"]:
        return "B"
    if pages.field(address, "object") and pages.field(address, "wire_count"):
        return "W"
    return "k"


class Mem(Command):
    """Draw physical memory: one letter for each page frame, or for several (the one that occurs most) when there are many.

With a first page number and a count, just those, one letter each.

    (gdb) vm mem
    (gdb) vm mem 0x400 256

    vm mem [FIRST COUNT]"""

    NAME = "mem"

    def run(self, args):
        if len(args) not in (0, 2):
            self.usage()
        need_pages()
        pages = page.array()
        indices = self.chosen(args) if args else range(pages.count)
        letters = [glyph(pages, pages.base + i * pages.size) for i in indices]
        each = max(1, -(-len(letters) // (LINE * LINES))) if not args else 1
        say(f"{plural(len(letters), 'page frame')}, {each} to a letter")
        for at in range(0, len(letters), LINE * each):
            row = ""
            for n in range(at, min(at + LINE * each, len(letters)), each):
                few = letters[n:n + each]
                row += max(set(few), key=lambda c: (few.count(c), c))
            say(f"  {pages.field(pages.base + indices[at] * pages.size, 'pfn'):#10x} {row}")
        say(f"  {LEGEND}")
        say("  " + ", ".join(f"{c} {letters.count(c)}" for c in sorted(set(letters))))

    def chosen(self, args):
        first, count = (int(gdb.parse_and_eval(a)) for a in args)
        pages = page.array()
        if not 0 < count <= 4096:
            raise gdb.GdbError("a count is a number from 1 to 4096")
        found = []
        for pfn in range(first, first + count):
            m = page.by_pfn(pfn)
            if m is not None:
                found.append((int(m) - pages.base) // pages.size)
        if not found:
            raise gdb.GdbError(f"there is no RAM at page {first:#x}")
        return found


FIELDS = ("object", "pindex", "queue", "dirty", "wire_count")
_snap = None


def snapshot():
    pages = page.array()
    rows = {}
    for i in range(pages.count):
        address = pages.base + i * pages.size
        rows[address] = tuple(pages.field(address, f) for f in FIELDS)
    return rows, counters()


class Snap(Command):
    """Remember all pages and counters, for `vm diff`.

    (gdb) vm snap

    vm snap"""

    NAME = "snap"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        global _snap
        if args:
            self.usage()
        need_pages()
        _snap = snapshot()
        say(f"{plural(len(_snap[0]), 'page')} and {plural(len(_snap[1]), 'counter')} are remembered.")


class Diff(Command):
    """What has changed since the last `vm snap`: pages that moved, changed owner or became dirty, and counters.

    (gdb) vm diff

    vm diff"""

    NAME = "diff"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        need_pages()
        if _snap is None:
            raise gdb.GdbError("there is nothing to compare with: `vm snap` first")
        rows, counters = snapshot()
        changed = [a for a in rows if rows[a] != _snap[0].get(a)]
        for address in changed[:SHOWN]:
            say(f"  page {page.array().field(address, 'pfn'):#x}: " + "; ".join(self.words(_snap[0][address], rows[address])))
        if len(changed) > SHOWN:
            say(f"  ... and {plural(len(changed) - SHOWN, 'other page')}")
        for name, value in counters.items():
            if value != _snap[1][name]:
                say(f"  {name} {value - _snap[1][name]:+d}")
        say(f"{plural(len(changed), 'page')} changed since the snapshot.")

    def words(self, old, new):
        for name, a, b in zip(FIELDS, old, new):
            if a == b:
                continue
            if name == "queue":
                a, b = (enum_word("enum page_queue", v, "PQ_") for v in (a, b))
            elif name in ("object", "dirty"):
                a, b = f"{a:#x}", f"{b:#x}"
            yield f"{name} {a} -> {b}"


Mem()
Snap()
Diff()
