# SPDX-License-Identifier: BSD-2-Clause
"""vm check: the laws of the VM evaluated from outside."""

import gdb
from common import Command, defines, enumerators, fetch, need_pages, plural, say, tailq
import maps
import object as vm_objects
import page
import queues


def page_laws():
    """Sentences about pages that break a law."""
    pages, c = page.array(), defines(page.PAGE_H)
    free = {n for n, name in enumerators("enum page_queue").items() if name in ("PQ_FREE", "PQ_ZERO")}
    for i in range(pages.count):
        a = pages.base + i * pages.size
        queue, dirty, valid = (pages.field(a, f) for f in ("queue", "dirty", "valid"))
        name = f"page {pages.field(a, 'pfn')}"
        if dirty & ~valid:
            yield f"P5: {name}: dirty {dirty:#04x}, but valid {valid:#04x}"
        if pages.field(a, "wire_count") and queue:
            yield f"P4: {name} is wired and on a queue"
        if queue in free and (pages.field(a, "object") or pages.field(a, "busy") != c["VPB_FREED"]
                              or pages.field(a, "wire_count")):
            yield f"P2: {name} is on a free queue, but in use"
        if queue not in free and queue and not pages.field(a, "object"):
            yield f"P1: {name} is on a queue of pages in use, but has no object"


def queue_laws():
    for number, name in sorted(enumerators("enum page_queue").items()):
        if name in ("PQ_NONE", "PQ_COUNT"):
            continue
        _, wrong = queues.check(number, name)
        if wrong is not None:
            yield f"P1: queue {name[3:].lower()}: {wrong}"


def object_laws():
    pages = page.array()
    for pointer in tailq(gdb.parse_and_eval("'vm/vm_object.c'::object_list"), "object_list"):
        o, name = fetch(pointer), vm_objects.name(pointer)
        count = busy = 0
        try:
            for address in pages.of_object(int(o["memq"]["root"])):
                count += 1
                busy += 0 < pages.field(address, "busy") < defines(page.PAGE_H)["VPB_FREED"]
                if pages.field(address, "object") != int(pointer):
                    yield f"P3: page {pages.field(address, 'pfn')} is in the tree of {name}, but says it is another's"
        except gdb.GdbError as e:
            yield f"P3: {name}: {e}"
        if count != int(o["resident_page_count"]):
            yield f"O8: {name} has {count} pages, resident_page_count says {int(o['resident_page_count'])}"
        if busy and int(o["paging_in_progress"]) <= 0:
            yield f"O2: {name} has {plural(busy, 'busy page')}, but paging_in_progress is {int(o['paging_in_progress'])}"
        seen, at = set(), pointer
        while int(at):
            if int(at) in seen:
                yield f"O4: the chain below {name} comes back to {int(at):#x}"
                break
            seen.add(int(at))
            at = fetch(at)["backing_object"]


def map_laws():
    for pointer in tailq(gdb.parse_and_eval("'vm/vmspace.c'::vmspaces"), "link"):
        m, end, count = fetch(pointer)["map"], 0, 0
        for e in maps.entries(m):
            count += 1
            if int(e["start"]) < end or int(e["start"]) >= int(e["end"]):
                yield f"M1: address space {int(pointer):#x}: the entry at {int(e['start']):#x} overlaps or is empty"
            end = int(e["end"])
        if count != int(m["nentries"]):
            yield f"M2: address space {int(pointer):#x} has {count} entries, nentries says {int(m['nentries'])}"


class Check(Command):
    """Evaluate the laws of the VM from outside the kernel: queues and pages, objects, maps.

Where the machine was stopped in the middle of a change, a law may be broken for a moment.

    (gdb) vm check

    vm check"""

    NAME = "check"
    COMPLETE = gdb.COMPLETE_NONE
    SHOWN = 10

    def run(self, args):
        if args:
            self.usage()
        need_pages()
        broken = []
        for laws in (queue_laws, page_laws, object_laws, map_laws):
            broken += list(laws())
        for sentence in broken[:self.SHOWN]:
            say(f"BROKEN {sentence}")
        if len(broken) > self.SHOWN:
            say(f"... and {len(broken) - self.SHOWN} more")
        if not broken:
            say("P1 to P5, O2, O4, O8, M1 and M2 hold.")


Check()
