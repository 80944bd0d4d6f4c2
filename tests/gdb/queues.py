# SPDX-License-Identifier: BSD-2-Clause
"""vm queues: the page queues."""

import gdb
from common import Command, enum_word, enumerators, plural, say
import page


def walk(queue, number):
    """Follow a queue's links, indices of vm_page_array -> (pages seen, sentence about what is wrong or None)."""
    pages, seen, previous = page.array(), 0, page.NIL
    index = int(queue["head"])
    while index != page.NIL:
        if index >= pages.count:
            return seen, f"after {plural(seen, 'page')} the link is {index:#x}, which is no page"
        address = pages.base + index * pages.size
        if pages.field(address, "queue") != number:
            other = enum_word("enum page_queue", pages.field(address, "queue"), "PQ_")
            return seen, f"page {pages.field(address, 'pfn')} is linked in, but says it is on queue {other} (P1)"
        if pages.field(address, "q_prev") != previous:
            return seen, f"page {pages.field(address, 'pfn')}: its q_prev is not the page before it (P1)"
        seen += 1
        if seen > pages.count:
            return seen, "the links form a cycle"
        previous, index = index, pages.field(address, "q_next")
    if int(queue["tail"]) != previous:
        return seen, "the tail is not the last page (P1)"
    return seen, None


def lists(number, name):
    """The lists of a queue -> [(where, struct pageq)]: one, or for free pages the depot's and each CPU's."""
    if name not in ("PQ_FREE", "PQ_ZERO"):
        return [("", gdb.parse_and_eval("pageq")[number])]
    kind = int(name == "PQ_ZERO")
    places = [(" in the depot", gdb.parse_and_eval("'vm/vm_freelist.c'::depot"))]
    caches = gdb.parse_and_eval("'vm/vm_freelist.c'::caches")
    places += [(f" of CPU {i}", caches[i]) for i in range(int(gdb.parse_and_eval("ncpus")))]
    return [(where, place["list"][kind]) for where, place in places]


def check(number, name):
    """Follow all lists of a queue -> (pages seen, sentence about what is wrong or None)."""
    total = 0
    for where, queue in lists(number, name):
        seen, wrong = walk(queue, number)
        total += seen
        if wrong is None and seen != int(queue["count"]):
            wrong = f"{seen} pages{where}, the counter says {int(queue['count'])}"
        if wrong is not None:
            return total, wrong
    return total, None


class Queues(Command):
    """Count the pages on each queue by following its links, compare with the counters, and show the thresholds.

    (gdb) vm queues

    vm queues"""

    NAME = "queues"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        pages = page.array()
        total, free = 0, 0
        for number, name in sorted(enumerators("enum page_queue").items()):
            if name in ("PQ_NONE", "PQ_COUNT"):
                continue
            word = name[3:].lower()
            seen, wrong = check(number, name)
            total += seen
            free += seen if word in ("free", "zero") else 0
            say(f"  {word:<9} {seen:>8}  {'the counter agrees' if wrong is None else 'BROKEN: ' + wrong}")
        say(f"  {'no queue':<9} {pages.count - total:>8}  wired, busy being filled, or the kernel's own")
        say(f"  {'RAM':<9} {pages.count:>8}  pages")
        self.say_ladder(free)

    def say_ladder(self, free):
        ladder = gdb.parse_and_eval("vm_ladder")
        rungs = [(int(ladder[n]), n) for n in ("target", "min", "reserved", "interrupt_min")]
        say(f"thresholds: {', '.join(f'{name} {value}' for value, name in rungs)}")
        below = [name for value, name in rungs if free < value]
        say(f"{free} pages are free, "
            + (f"below {', '.join(below)}" if below else "more than any threshold: nobody reclaims"))


Queues()
