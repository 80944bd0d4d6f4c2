# SPDX-License-Identifier: BSD-2-Clause
"""vm object: an object, its pages, what it shadows."""

import gdb
from common import (Command, PAGE_SIZE, defines, enum_word, evaluate, fetch, flag_words, need_pages, plural, pointer_to,
                    say)
import page

OBJECT_H = "vm/vm_object.h"
CHAIN_MAX = 64
STRIP_PAGES, STRIP_LINE = 256, 64


def kind(o):
    return {"default": "anonymous"}.get(word := enum_word("enum obj_type", o["type"], "OBJT_"), word)


def inode(o):
    """The inode number of a vnode object, or None."""
    if kind(o) != "vnode" or int(o["handle"]) == 0:
        return None
    return int(fetch(o["handle"].cast(gdb.lookup_type("struct vnode").pointer()))["v_ino"])


def name(pointer):
    """A word or two that identify an object."""
    o = fetch(pointer)
    number = inode(o)
    return f"object {int(pointer):#x} ({kind(o)}{f', inode {number}' if number is not None else ''})"


def say_bytes(pointer, pindex):
    """Which bytes of a file a page holds."""
    o = fetch(pointer)
    if kind(o) != "vnode":
        return
    size, first = int(o["un_pager"]["vnp"]["vnp_size"]), pindex * PAGE_SIZE
    end = min(first + PAGE_SIZE, size)
    say(f"            bytes {first} to {end - 1} of the file" if first < size else
        f"            past the end of the file, which has {size} bytes")


def glyph(address):
    """The letter for one page: the same as vm_object_print()'s."""
    pages = page.array()
    if pages.field(address, "busy") != 0:
        return "B"
    if pages.field(address, "wire_count"):
        return "W"
    if pages.field(address, "dirty"):
        return "d"
    return {"active": "A", "inactive": "i"}.get(enum_word("enum page_queue", pages.field(address, "queue"), "PQ_"), "o")


def resident(o):
    """[(index, address of the vm_page)] in order.  Says what is wrong with the tree, if anything."""
    pages, found = page.array(), []
    try:
        for address in pages.of_object(int(o["memq"]["root"])):
            index = pages.field(address, "pindex")
            if found and index <= found[-1][0]:
                say(f"  BROKEN: index {index} comes after {found[-1][0]} in the tree of pages (P3)")
                break
            found.append((index, address))
    except gdb.GdbError as e:
        say(f"  BROKEN: {e}")
    if len(found) != int(o["resident_page_count"]):
        say(f"  BROKEN: the tree holds {plural(len(found), 'page')}, resident_page_count says "
            f"{int(o['resident_page_count'])} (O8)")
    return found


def say_strip(o):
    """The first pages, one letter each."""
    found = resident(o)
    letters, size = dict(found), int(o["size"])
    shown = min(size, STRIP_PAGES)
    start = 0
    if found and found[0][0] >= shown:      # nothing to see there: begin at the first page that is resident
        start = found[0][0] - found[0][0] % STRIP_LINE
        shown = min(size - start, STRIP_PAGES)
    for line in range(start, start + shown, STRIP_LINE):
        strip = "".join(glyph(letters[i]) if i in letters else "." for i in range(line, min(line + STRIP_LINE, size)))
        say(f"    {line:8} {strip}")
    if start + shown < size or start:
        beyond = sum(1 for i, _ in found if i >= start + shown)
        say(f"    (pages {start} to {start + shown - 1} of {size} are shown; {beyond} of the others are resident)")
    say("    . absent  i inactive  A active  d dirty  B busy  W wired  o on no queue")


def say_object(pointer, o):
    c = defines(OBJECT_H)
    say(f"{name(pointer)}: {plural(int(o['size']), 'page')}, {int(o['resident_page_count'])} resident")
    rests = ", in the object cache" if o["cached"] else ""
    say(f"  {plural(int(o['ref_count']), 'reference')}, {plural(int(o['shadow_count']), 'shadow')}{rests}, "
        f"paging in progress: {int(o['paging_in_progress'])}; flags: " + flag_words(int(o["flags"]), [
            (c["OBJ_CANPERSIST"], "can persist"), (c["OBJ_DEAD"], "DEAD"), (c["OBJ_VNODE_GONE"], "vnode gone"),
            (c["OBJ_ONEMAPPING"], "no page is mapped twice"),
            (c["OBJ_BOUNDED"], "bounded"), (c["OBJ_NOSTORES"], "no stores"), (c["OBJ_PIPWNT"], "somebody waits for paging to end")]))
    number = inode(o)
    if number is not None:
        say(f"  vnode {int(o['handle']):#x}, inode {number}, vnp_size {int(o['un_pager']['vnp']['vnp_size'])} bytes")


class Object(Command):
    """Show an object: counts, flags, its pages as a strip of letters, and the objects that it shadows.

O is a struct vm_object *, its address, or a struct vm_page * or struct vnode * whose object is meant.

    (gdb) vm object object
    (gdb) vm object m[0]

    vm object O"""

    NAME = "object"

    def run(self, args):
        if not args:
            self.usage()
        need_pages()
        value, tag = evaluate(" ".join(args))
        if tag == "vm_page":
            value = fetch(value)["object"]
        elif tag == "vnode":
            value = fetch(value)["v_object"]
        if int(value) == 0:
            raise gdb.GdbError("there is no object: the pointer is NULL")
        pointer, seen = pointer_to("struct vm_object", int(value) & ((1 << 64) - 1)), set()
        while int(pointer) != 0:
            if int(pointer) in seen or len(seen) > CHAIN_MAX:
                say(f"BROKEN: the chain comes back to {int(pointer):#x} after {plural(len(seen), 'object')} (O4)")
                return
            seen.add(int(pointer))
            o = fetch(pointer)
            say_object(pointer, o)
            say_strip(o)
            pointer = o["backing_object"]
            if int(pointer) != 0:
                say(f"shadows, from its byte {int(o['backing_object_offset'])} on:")


Object()
