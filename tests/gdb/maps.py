# SPDX-License-Identifier: BSD-2-Clause
"""vm map: what the addresses of an address space mean."""

import bisect

import gdb
from common import (Command, PAGE_SHIFT, PAGE_SIZE, defines, enum_word, evaluate, fetch, machine_mode, need_kernel,
                    offset_of, plural, pointer_to, rb_addresses, read_rb_node, say)
import object as vm_objects
import thread

SHOWN_MAX = 200
BAR = 10
VM_H = "vm/vm.h"


def prot_letters(prot):
    c = defines(VM_H)
    return "".join(letter if prot & c[name] else "-" for letter, name in
                   (("r", "VM_PROT_READ"), ("w", "VM_PROT_WRITE"), ("x", "VM_PROT_EXECUTE")))


def entries(m):
    """The entries of a struct vm_map in order, without the sentinel, as structures."""
    offset, sentinel = offset_of("struct vm_map_entry", "node"), int(m["sentinel"].address)
    for node in rb_addresses(int(m["entries"]["root"]), read_rb_node):
        if node - offset != sentinel:
            yield fetch(pointer_to("struct vm_map_entry", node - offset))


def find_entry(m, va):
    """The entry that holds va, by the tree's own order; None: nothing is mapped there."""
    offset, node, seen = offset_of("struct vm_map_entry", "node"), int(m["entries"]["root"]), 0
    while node and seen < 128:
        e, seen = fetch(pointer_to("struct vm_map_entry", node - offset)), seen + 1
        if int(e["start"]) <= va < int(e["end"]):
            return e
        node = int(e["node"]["child"][0 if va < int(e["start"]) else 1])
    return None


def space_of_root(root):
    """The struct vmspace whose tables begin at a physical address, or None."""
    for _, t in thread.all_threads():
        if int(t["vmspace"]) != 0:
            space = fetch(t["vmspace"])
            if int(space["pmap"]["pml4_pa"]) == root:
                return space
    return None


def pmap_name(address):
    names = thread.of_pmap(address)
    return f"the address space of {' and '.join(names)}" if names else f"pmap {address:#x}"


def entry_words(e):
    """An entry's rights and kind."""
    words = [prot_letters(int(e["protection"])), enum_word("enum vm_inherit", e["inheritance"], "VM_INHERIT_")]
    if int(e["needs_copy"]):
        words.append("needs copy")
    if int(e["wired_count"]):
        words.append("wired")
    return " ".join(words)


def explain_address(va, root):
    """One sentence about what the map has at va, for the address space whose page tables begin at `root`."""
    if machine_mode() is not None:
        return "no map"
    try:
        space = space_of_root(root)
    except (gdb.error, gdb.GdbError) as e:
        return f"the map cannot be read: {e}"
    if space is None:
        return "no thread's map: these tables belong to the kernel alone"
    e = find_entry(space["map"], va)
    if e is None:
        return "the map has no entry there: a fault is SIGSEGV"
    start, end = int(e["start"]), int(e["end"])
    line = f"map entry [{start:#x}, {end:#x}) {entry_words(e)}: "
    if int(e["object"]) == 0:
        return line + "anonymous, not touched yet"
    pindex = (int(e["offset"]) + (va & ~(PAGE_SIZE - 1)) - start) >> PAGE_SHIFT
    return line + f"index {pindex} of {vm_objects.name(e['object'])}"


class Map(Command):
    """List the mappings of an address space: rights, object, offset, and how much of it is resident.

Without an argument, that of the running thread.  Else a thread's number or name, a process, or an expression of type
struct vm_map * or struct vmspace *.  Resident counts pages of the entry's own object; what that shadows is told by
`vm object`.

    (gdb) vm map
    (gdb) vm map main
    (gdb) vm map pid 1

    vm map [TID|NAME|pid N]"""

    NAME = "map"

    def run(self, args):
        need_kernel()
        m, whose = self.find(" ".join(args))
        self.indices = {}       # by object: of its resident pages
        say(f"{whose}: {plural(int(m['nentries']), 'entry', 'entries')}, {int(m['size']) // 1024} KiB")
        count = 0
        for e in entries(m):
            count += 1
            if count <= SHOWN_MAX:
                self.say_entry(e)
        if count > SHOWN_MAX:
            say(f"  ... and {count - SHOWN_MAX} more")
        if count != int(m["nentries"]):
            say(f"BROKEN: the tree holds {plural(count, 'entry', 'entries')}, nentries says {int(m['nentries'])} (M2)")

    def find(self, expression):
        """-> (struct vm_map, whose it is)"""
        if not expression:
            t = fetch(thread.current())
        elif expression.startswith("pid ") or thread.find_by_name(expression):
            _, t = thread.find(expression)
        else:
            try:
                value, tag = evaluate(expression)
            except gdb.error as e:
                raise gdb.GdbError(f"there is no thread {expression} ({e}); `vm threads` lists them") from None
            if tag == "vm_map":
                return fetch(value), "map"
            if tag == "vmspace":
                return fetch(value)["map"], "address space"
            _, t = thread.find(expression)
        who = f"thread {int(t['tid'])}, {thread.array_text(t['name'])}"
        if program := thread.process_words(t):
            who += f", of process {program}"
        if int(t["vmspace"]) == 0:
            raise gdb.GdbError(f"{who}, has no address space of its own: it uses the kernel's half only")
        return fetch(t["vmspace"])["map"], who

    def say_entry(self, e):
        start, end = int(e["start"]), int(e["end"])
        line = f"  {start:#014x}-{end:#014x} {entry_words(e):<12} "
        if int(e["object"]) == 0:
            say(line + "anonymous, not touched yet")
            return
        first, pages = int(e["offset"]) >> PAGE_SHIFT, (end - start) >> PAGE_SHIFT
        if int(e["object"]) not in self.indices:
            self.indices[int(e["object"])] = [i for i, _ in vm_objects.resident(fetch(e["object"]))]
        indices = self.indices[int(e["object"])]
        here = bisect.bisect_left(indices, first + pages) - bisect.bisect_left(indices, first)
        bar = "#" * -(-here * BAR // pages)
        say(line + f"[{bar:.<{BAR}}] {here} of {pages} resident, from page {first} of {vm_objects.name(e['object'])}")


Map()
