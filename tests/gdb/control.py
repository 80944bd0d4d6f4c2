# SPDX-License-Identifier: BSD-2-Clause
"""vm break, vm freeze: stop where the VM does something to one thing; hold the reclaim thread."""

import gdb
from common import Command, PAGE_SHIFT, define, evaluate, fetch, pointer_to, say, tailq
import object as vm_objects
import page
import stages

VNODE_H = "kernel/fs/vnode.h"
WHAT = {
    "va": ("FAULT_ENTER", 0, "a fault at that page"),
    "object": ("OBJECT_LOOKUP", 0, "a fault that looks in that object"),
    "page": ("PAGE_ENTER", 1, "the mapping of that frame"),
    "vnode": ("BMAP", 0, "a question where a block of that file lies"),
    "sector": ("DISK_REQUEST", 1, "a request at that sector"),
}


class StageBreak(gdb.Breakpoint):
    """Stops at a stage if one of its words is the one asked for."""

    def __init__(self, place, which, wanted, shift):
        super().__init__(f"*{place.address:#x}")
        self.place, self.which, self.wanted, self.shift = place, which, wanted, shift

    def stop(self):
        return stages.operand(self.place.operands[self.which]) >> self.shift == self.wanted >> self.shift


def cached_names(vp):
    """[(directory, name)] by which the name cache knows a vnode."""
    for entry in tailq(vp["v_cache_dst"], "nc_dst"):
        ncp = fetch(entry)
        name = bytes(gdb.selected_inferior().read_memory(int(ncp["nc_name"].address), int(ncp["nc_len"])))
        if name != b"..":
            yield ncp["nc_dvp"], name.decode(errors="replace")


def is_named(pointer, parts, absolute):
    """Does a path's end, or with `absolute` a whole path, lead to this vnode, as far as the name cache knows?"""
    vp = fetch(pointer)
    if int(vp["v_flag"]) & define(VNODE_H, "VROOT"):
        covered = fetch(vp["v_mount"])["mnt_covered"] if int(vp["v_mount"]) else 0
        return is_named(covered, parts, absolute) if int(covered) else not parts
    if not parts:
        return not absolute
    return any(name == parts[-1] and is_named(directory, parts[:-1], absolute) for directory, name in cached_names(vp))


class FileBreak(gdb.Breakpoint):
    """Stops where a pager is asked for one page of a file, be it as the page that is wanted or as one beside it."""

    def __init__(self, place, path, pindex):
        super().__init__(f"*{place.address:#x}")
        self.place, self.pindex = place, pindex
        self.parts, self.absolute = [part for part in path.split("/") if part], path.startswith("/")

    def stop(self):
        pointer, first = (stages.operand(o) for o in self.place.operands)
        if not first <= self.pindex < first + int(gdb.newest_frame().read_var("count")):
            return False
        o = fetch(pointer_to("struct vm_object", pointer))
        return vm_objects.kind(o) == "vnode" and int(o["handle"]) != 0 and is_named(
            pointer_to("struct vnode", int(o["handle"])), self.parts, self.absolute)


class Break(Command):
    """Stop when the VM comes to one thing: an address, an object, a page frame, a file's block, a sector.

FILE:OFFSET stops where the vnode pager is asked for the page of a file that holds that byte.  The file is a path, or
the end of one; what it names is asked at each stop, from the kernel's name cache, so it need not be open yet.

The stops are ordinary breakpoints, at the named stages: `info breakpoints` lists them, `delete` removes them.

    (gdb) vm break va 0x12000
    (gdb) vm break vnode object->handle
    (gdb) vm break /tour/story.txt:0x5000

    vm break va|object|page|vnode|sector X | FILE:OFFSET"""

    NAME = "break"

    def run(self, args):
        if len(args) == 1 and ":" in args[0]:
            self.at_file(*args[0].rsplit(":", 1))
            return
        if len(args) < 2 or args[0] not in WHAT:
            self.usage()
        stage, which, words = WHAT[args[0]]
        value = int(evaluate(" ".join(args[1:]))[0]) & (1 << 64) - 1
        if args[0] == "page" and page.array().contains(value):
            value = page.array().field(value, "pfn")
        for place in stages.find_stages([stage]):
            StageBreak(place, which, value, PAGE_SHIFT if args[0] == "va" else 0)
        say(f"The machine will stop at {words}.")

    def at_file(self, path, offset):
        pindex = int(evaluate(offset)[0]) >> PAGE_SHIFT if offset else -1
        if not path.strip("/") or pindex < 0:
            self.usage()
        for place in stages.find_stages(["PAGER_GET"]):
            FileBreak(place, path, pindex)
        say(f"The machine will stop when a pager is asked for page {pindex} of {path}.")


class Freeze(Command):
    """Hold the reclaim thread, or let it go on: THE ONLY COMMAND THAT WRITES, one flag of the kernel.

While it is held nothing is reclaimed, so a machine that is short of memory will wait.

    (gdb) vm freeze on
    (gdb) vm freeze off

    vm freeze on|off"""

    NAME = "freeze"

    def run(self, args):
        if args not in (["on"], ["off"]):
            self.usage()
        gdb.execute(f"set var 'vm/vm_pageout.c'::frozen = {int(args[0] == 'on')}")
        say("The reclaim thread will not begin another scan." if args[0] == "on" else
            "The reclaim thread goes on the next time that it is woken.")


Break()
Freeze()
