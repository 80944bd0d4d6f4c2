# SPDX-License-Identifier: BSD-2-Clause
"""vm page: one page of RAM, and the array of all of them."""

import struct

import gdb
from common import (Command, LIST_MAX, PAGE_SHIFT, PAGE_SIZE, comma_list, define, defines, enum_word, evaluate, fetch,
                    flag_words, need_pages, offset_of, plural, pointer_to, rb_addresses, say)
import maps
import object as vm_objects

PAGE_H = "vm/vm_page.h"
CHUNK = 64 * 1024
NIL = 0xFFFFFFFF
SEGMENTS_MAX = 1024     # stretches of RAM that are believed


class PageArray:
    """vm_page_array, read in chunks as it is needed and kept until the machine runs again."""

    FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}

    def __init__(self):
        need_pages()
        self.base = int(gdb.parse_and_eval("vm_page_array"))
        self.count = int(gdb.parse_and_eval("vm_page_count"))
        self.type = gdb.lookup_type("struct vm_page")
        self.size = self.type.sizeof
        self.fields = {f.name: (f.bitpos // 8, "<" + self.FORMATS[f.type.sizeof])
                       for f in self.type.fields() if f.type.sizeof in self.FORMATS}
        self.node_offset = offset_of("struct vm_page", "obj_node")
        self.chunks = {}

    def bytes_at(self, address, length):
        """Bytes inside the array, or None when they lie outside of it."""
        at = address - self.base
        if at < 0 or at + length > self.count * self.size:
            return None
        out = b""
        for number in range(at // CHUNK, (at + length - 1) // CHUNK + 1):
            if number not in self.chunks:
                end = min((number + 1) * CHUNK, self.count * self.size)
                self.chunks[number] = bytes(gdb.selected_inferior().read_memory(self.base + number * CHUNK,
                                                                                end - number * CHUNK))
            out += self.chunks[number]
        return out[at % CHUNK:at % CHUNK + length]

    def field(self, address, name):
        offset, form = self.fields[name]
        raw = self.bytes_at(address + offset, struct.calcsize(form))
        if raw is None:
            raise gdb.GdbError(f"{address:#x} is not in vm_page_array")
        return struct.unpack(form, raw)[0]

    def node(self, address):
        raw = self.bytes_at(address, 16)
        return struct.unpack("<QQ", raw) if raw is not None else None

    def of_object(self, root):
        """Addresses of the pages in an object's tree, in index order."""
        for node in rb_addresses(root, self.node, self.count + 1):
            yield node - self.node_offset

    def contains(self, address):
        return 0 <= address - self.base < self.count * self.size and (address - self.base) % self.size == 0


_array = None


def array():
    global _array
    if _array is None:
        _array = PageArray()
    return _array


def forget(_event=None):
    global _array
    _array = None


gdb.events.cont.connect(forget)
gdb.events.memory_changed.connect(forget)
gdb.events.exited.connect(forget)
gdb.events.new_objfile.connect(forget)


def by_pfn(pfn):
    """The vm_page of a page number, as PHYS_TO_VM_PAGE() finds it; None when no RAM is there."""
    try:
        need_pages()
        segments, n = gdb.parse_and_eval("&vm_phys_seg[0]"), int(gdb.parse_and_eval("vm_phys_nsegs"))
    except (gdb.error, gdb.GdbError):
        return None
    for i in range(min(n, SEGMENTS_MAX)):
        segment = (segments + i).dereference()
        if int(segment["first_pfn"]) <= pfn < int(segment["end_pfn"]):
            return gdb.parse_and_eval("vm_page_array") + (int(segment["index"]) + pfn - int(segment["first_pfn"]))
    return None


def find(expression):
    """What the user calls a page: a struct vm_page *, its address, or a page number."""
    value, tag = evaluate(expression)
    number = int(value) & ((1 << 64) - 1)
    if tag == "vm_page" or array().contains(number):
        if not array().contains(number):
            raise gdb.GdbError(f"{number:#x} is not in vm_page_array" if number else "that vm_page is NULL")
        return pointer_to("struct vm_page", number)
    m = by_pfn(number)
    if m is None:
        raise gdb.GdbError(f"{expression}: {number:#x} is neither the number of a page of RAM nor the address of a "
                           "vm_page (a physical address is a page number times 4096)")
    return m


# ---- words ----------------------------------------------------------------------------------------

def busy_words(word, tid):
    c = defines(PAGE_H)
    waiters = ", somebody waits for it" if word < c["VPB_FREED"] and word & c["VPB_WAITERS"] else ""
    if word >= c["VPB_FREED"]:
        return "free: cannot be busied"
    if word & c["VPB_EXCLUSIVE"]:
        return f"exclusive-busy by thread {tid}{waiters}"
    if word >= c["VPB_ONE_SHARER"]:
        return f"shared-busy by {plural(word // c['VPB_ONE_SHARER'], 'holder')}{waiters}"
    return "not busy" + waiters


def sector_words(mask):
    if mask == define(PAGE_H, "VM_PAGE_BITS_ALL"):
        return "all"
    return "sectors " + comma_list([str(i) for i in range(8) if mask >> i & 1]) if mask else "none"


def owner_words(p):
    if int(p["object"]) == 0:
        return "no object"
    return f"index {int(p['pindex'])} of {vm_objects.name(p['object'])}"


def one_line(m):
    p = fetch(m)
    queue = enum_word("enum page_queue", p["queue"], "PQ_")
    state = "wired" if int(p["wire_count"]) else f"on queue {queue}" if queue != "none" else "on no queue"
    return f"vm_page {int(m):#x}: {owner_words(p)}; {busy_words(int(p['busy']), int(p['busy_tid']))}; {state}"


def mappings(p):
    """[(va, pmap)] of the page's pv entries."""
    found, seen, pv = [], set(), p["pv"]
    while int(pv) != 0:
        if int(pv) in seen or len(seen) > LIST_MAX:
            raise gdb.GdbError(f"the pv list is broken: {int(pv):#x} comes again after {len(seen)} entries")
        seen.add(int(pv))
        entry = fetch(pv)
        found.append((int(entry["va"]), int(entry["pmap"])))
        pv = entry["next"]
    return found


class Page(Command):
    """Show one page of RAM: whose it is, its state, where it is mapped.

P is a page number (physical address / 4096), a struct vm_page *, or its address.

    (gdb) vm page m[reqpage]
    (gdb) vm page 5123

    vm page P"""

    NAME = "page"
    SHOWN = 8

    def run(self, args):
        if not args:
            self.usage()
        m = find(" ".join(args))
        p = fetch(m)
        pfn, queue = int(p["pfn"]), enum_word("enum page_queue", p["queue"], "PQ_")
        say(f"page {pfn}, physical {pfn << PAGE_SHIFT:#x}, vm_page {int(m):#x}")
        say(f"  owner     {owner_words(p)}")
        if int(p["object"]) != 0:
            vm_objects.say_bytes(p["object"], int(p["pindex"]))
        say(f"  busy      {busy_words(int(p['busy']), int(p['busy_tid']))}")
        say(f"  valid     {sector_words(int(p['valid']))}")
        say(f"  dirty     {sector_words(int(p['dirty']))}")
        say(f"  queue     {queue}, activity {int(p['act_count'])}; wired {plural(int(p['wire_count']), 'time')}")
        c = defines(PAGE_H)
        say("  flags     " + flag_words(int(p["flags"]), [
            (c["PG_ZERO"], "came zeroed"), (c["PG_REFERENCED"], "referenced"), (c["PG_MAPPED"], "may be mapped"),
            (c["PG_WRITEABLE"], "may be mapped writable")]))
        self.say_mappings(p)
        self.say_life(pfn)

    def say_life(self, pfn):
        import ring     # which imports nothing of this
        try:
            found = ring.of_page(pfn, self.SHOWN)
        except gdb.error as e:
            raise gdb.GdbError(f"the trace cannot be read: {e}") from None
        for n, e in enumerate(found):
            say(f"  {'events' if n == 0 else '':<9} {ring.line(e).strip()}")

    def say_mappings(self, p):
        found = mappings(p)
        if not found:
            say("  mapped    nowhere in a user address space")
        for va, pmap in found[:self.SHOWN]:
            say(f"  mapped    at {va:#x} in {maps.pmap_name(pmap)}")
        if len(found) > self.SHOWN:
            say(f"            and at {plural(len(found) - self.SHOWN, 'other address', 'other addresses')}")


Page()
