# SPDX-License-Identifier: BSD-2-Clause
"""Pretty-printers: one line for each of the VM's structures, so that `print *m` and `info locals` can be read."""

import gdb
from common import array_text, define
import disk
import maps
import object as vm_objects
import page

PMAP_H = "vm/pmap.h"


def vm_page(v):
    return f"page {int(v['pfn'])}: {page.owner_words(v)}; {page.busy_words(int(v['busy']), int(v['busy_tid']))}; " \
           f"dirty {page.sector_words(int(v['dirty']))}"


def vm_object(v):
    return f"{vm_objects.kind(v)} object: {int(v['size'])} pages, {int(v['resident_page_count'])} resident, " \
           f"{int(v['ref_count'])} references"


def vm_map_entry(v):
    return f"[{int(v['start']):#x}, {int(v['end']):#x}) {maps.entry_words(v)}, object {int(v['object']):#x} " \
           f"from byte {int(v['offset'])}"


def vnode(v):
    return f"inode {int(v['v_ino'])}, used {int(v['v_usecount'])} times, object {int(v['v_object']):#x}"


def buf(v):
    return disk.request_words(v) + (", done" if int(v["b_flags"]) & define(disk.BUF_H, "B_DONE") else "")


def ext2_inode(v):
    return f"inode {int(v['i_number'])}: {int(v['i_size'])} bytes, {int(v['i_nlink'])} links, {int(v['i_blocks'])} sectors"


def pt_entry(v):
    entry = int(v)
    if not entry & define(PMAP_H, "PG_V"):
        return f"{entry:#x}: not present"
    words = ["writable" if entry & define(PMAP_H, "PG_RW") else "read-only", "user" if entry & define(PMAP_H, "PG_U") else "kernel"]
    return f"{entry:#x}: frame {(entry & define(PMAP_H, 'PG_FRAME')) >> 12:#x}, {', '.join(words)}"


STRUCTS = {"vm_page": vm_page, "vm_object": vm_object, "vm_map_entry": vm_map_entry, "vnode": vnode, "buf": buf,
           "ext2_inode": ext2_inode}


class Printer:
    """to_string() says it in one line; what cannot be read is said, too."""

    def __init__(self, value, say):
        self.value, self.say = value, say

    def to_string(self):
        try:
            return self.say(self.value)
        except (gdb.error, gdb.GdbError) as e:
            return f"(unreadable: {e})"


def lookup(value):
    kind = value.type.unqualified()
    if kind.code == gdb.TYPE_CODE_TYPEDEF and kind.name == "pt_entry_t":
        return Printer(value, pt_entry)
    kind = kind.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT and kind.tag in STRUCTS:
        return Printer(value, STRUCTS[kind.tag])
    return None


gdb.pretty_printers.insert(0, lookup)
