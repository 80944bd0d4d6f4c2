# SPDX-License-Identifier: BSD-2-Clause
"""vm break, vm freeze: stop where the VM does something to one thing; hold the reclaim thread."""

import gdb
from common import Command, PAGE_SHIFT, define, evaluate, say
import page
import stages

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


class Break(Command):
    """Stop when the VM comes to one thing: an address, an object, a page frame, a file's block, a sector.

The stops are ordinary breakpoints, at the named stages: `info breakpoints` lists them, `delete` removes them.

    (gdb) vm break va 0x12000
    (gdb) vm break vnode object->handle

    vm break va|object|page|vnode|sector X"""

    NAME = "break"

    def run(self, args):
        if len(args) < 2 or args[0] not in WHAT:
            self.usage()
        stage, which, words = WHAT[args[0]]
        value = int(evaluate(" ".join(args[1:]))[0]) & (1 << 64) - 1
        if args[0] == "page" and page.array().contains(value):
            value = page.array().field(value, "pfn")
        for place in stages.find_stages([stage]):
            StageBreak(place, which, value, PAGE_SHIFT if args[0] == "va" else 0)
        say(f"The machine will stop at {words}.")


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
