# SPDX-License-Identifier: BSD-2-Clause
"""vm vnode, vm io: from a byte of a file to a sector, and what the disks are doing."""

import struct

import gdb
from common import (Command, PAGE_SHIFT, PAGE_SIZE, array_text, define, evaluate, fetch, need_kernel, offset_of, plural,
                    pointer_to, rb_addresses, read_rb_node, register, say, tailq)
import explain
import object as vm_objects
import page
import thread
import walk

BUF_H, EXT2_H = "kernel/fs/buf.h", "kernel/fs/ext2/ext2.h"
NDIRECT = 12


def buffers():
    """{(device vnode, sector): buffer} of the metadata cache."""
    offset, found = offset_of("struct buf", "b_node"), {}
    for node in rb_addresses(int(gdb.parse_and_eval("'kernel/fs/bio.c'::bio")["tree"]["root"]), read_rb_node):
        b = fetch(pointer_to("struct buf", node - offset))
        found[(int(b["b_vp"]), int(b["b_blkno"]))] = b
    return found


def path_of(lbn, shift):
    """(slot in the inode, [index in each pointer block]) of a logical block."""
    if lbn < NDIRECT:
        return lbn, []
    lbn -= NDIRECT
    for depth in (1, 2, 3):
        if lbn < 1 << shift * depth:
            return NDIRECT + depth - 1, [lbn >> shift * (depth - 1 - k) & (1 << shift) - 1 for k in range(depth)]
        lbn -= 1 << shift * depth
    raise gdb.GdbError("the block lies beyond what three levels of pointers reach")


class Vnode(Command):
    """Follow a byte of a file: vnode, inode, each pointer block, the sector, and the page that holds it, if any.

The vnode is a struct vnode *, or an object or page of the file.  Only ext2 is decoded.  Pointer blocks are read from the
metadata cache; one that is not there is on the disk alone.

    (gdb) vm vnode object->handle 0x12000

    vm vnode V OFFSET"""

    NAME = "vnode"

    def run(self, args):
        if len(args) != 2:
            self.usage()
        need_kernel()
        value, tag = evaluate(args[0])
        if tag == "vm_page":
            value, tag = fetch(value)["object"], "vm_object"
        if tag == "vm_object":
            value = fetch(value)["handle"]
        v, offset = fetch(pointer_to("struct vnode", int(value))), int(evaluate(args[1])[0])
        kind = v["v_op"].dereference()["name"].string() if int(v["v_op"]) else "?"
        say(f"vnode {int(value):#x}: inode {int(v['v_ino'])} of {kind}, used {plural(int(v['v_usecount']), 'time')}")
        if int(v["v_object"]):
            self.say_page(v["v_object"], offset)
        if kind == "ext2":
            self.walk(fetch(pointer_to("struct ext2_inode", int(v["v_data"]))), offset)

    def say_page(self, pointer, offset):
        o = fetch(pointer)
        m = explain.resident_at(o, offset >> PAGE_SHIFT)
        say(f"  byte {offset} is in page {offset >> PAGE_SHIFT} of {vm_objects.name(pointer)}: "
            + (page.one_line(pointer_to("struct vm_page", m)) if m is not None else "not resident"))

    def walk(self, inode, offset):
        em = fetch(inode["i_em"])
        bsize, shift = int(em["em_bsize"]), int(em["em_ptr_shift"])
        if offset >= int(inode["i_size"]):
            say(f"  byte {offset} lies past the end: the file has {int(inode['i_size'])} bytes")
            return
        lbn = offset // bsize
        slot, indices = path_of(lbn, shift)
        pointer = int(inode["i_block"][slot])
        say(f"  block {lbn} of the file (of {bsize} bytes): i_block[{slot}] = {pointer}")
        cache = buffers() if indices else {}
        for depth, index in enumerate(indices):
            if pointer == 0:
                break
            b = cache.get((int(em["em_devvp"]), pointer * bsize // 512))
            if b is None:
                say(f"  pointer block {pointer} is not in the metadata cache: the next step is on the disk alone")
                return
            raw = bytes(gdb.selected_inferior().read_memory(int(b["b_data"]) + 4 * index, 4))
            say(f"  pointer block {pointer} (level {len(indices) - depth}, in memory at {int(b['b_data']):#x})"
                f"[{index}] = {struct.unpack('<I', raw)[0]}")
            pointer = struct.unpack("<I", raw)[0]
        if pointer == 0:
            say("  a hole: it reads as zeros, and no block is allocated")
        else:
            sector = pointer * bsize // 512 + offset % bsize // 512
            say(f"  block {pointer} of {array_text(em['em_name'])}: sector {sector}")


def pages_of(b):
    """The pages that a pager's buffer transfers, by its window: their one-line words."""
    if not int(b["b_npages"]):
        return []
    found = []
    for n in range(min(int(b["b_npages"]), 32)):
        va = int(b["b_kvabase"]) + n * PAGE_SIZE
        pa = walk.translate(walk.walk(va, register("cr3")), va)
        m = page.by_pfn(pa >> PAGE_SHIFT) if pa is not None else None
        if m is not None:
            found.append(fetch(m))
    return found


def virtio_requests(sc):
    """[(buffer, state)] at a virtio disk: those begun, then those that wait, oldest first."""
    jobs = sc["jobs"]
    for i in range(jobs.type.range()[1] + 1):
        if int(jobs[i]["bp"]) and (int(jobs[i]["outstanding"]) or not int(jobs[i]["complete"])):
            yield jobs[i]["bp"], f"{plural(int(jobs[i]['outstanding']), 'request')} at the device"
    for bp in tailq(sc["queue"], "b_link"):
        yield bp, "not begun"


def ata_requests(dev):
    """The same of an ATA disk, whose port does one command at a time."""
    port = fetch(dev["port"])
    state = int(port["state"])
    waits = state == int(gdb.parse_and_eval("(int)ATA_MENDING")) and bool(port["again"])
    if int(port["cmd"]["dev"]) == int(dev["disk"]["dk_softc"]) and (waits or state == int(gdb.parse_and_eval("(int)ATA_ACTIVE"))):
        yield port["cmd"]["bp"], "waits for its port to be mended" if waits else "at the device"
    for bp in tailq(dev["queue"], "b_link"):
        yield bp, "not begun"


def disks():
    return [fetch(pointer) for pointer in tailq(gdb.parse_and_eval("'drivers/disk.c'::disks"), "dk_link")]


def requests_of(dk):
    """[(buffer, state)] under way at a whole disk; a partition's are its disk's."""
    if int(dk["dk_ops"]) == int(gdb.parse_and_eval("&'drivers/virtio_blk.c'::vblk_ops")):
        return list(virtio_requests(fetch(pointer_to("struct vblk", int(dk["dk_softc"])))))
    if int(dk["dk_ops"]) == int(gdb.parse_and_eval("&'drivers/ata.c'::ata_disk_ops")):
        return list(ata_requests(fetch(pointer_to("struct ata_dev", int(dk["dk_softc"])))))
    return []


def requests():
    """The buffers that are under way at any disk."""
    return [bp for dk in disks() for bp, _ in requests_of(dk)]


def request_words(b):
    """What a buffer is for: its request to the disk."""
    flags = int(b["b_flags"])
    what = "flush" if flags & define(BUF_H, "B_FLUSH") else "read" if flags & define(BUF_H, "B_READ") else "write"
    return f"{what} of {int(b['b_bcount'])} bytes at sector {int(b['b_blkno'])}"


def age(b):
    """Ticks since the disk got a request."""
    return int(gdb.parse_and_eval("ticks")) - int(b["b_start_tick"])


class Io(Command):
    """List the disks, the requests that are under way, how long, which pages each of them transfers, and who waits for them.

A request's age is in ticks of the clock, 100 a second.

    (gdb) vm io

    vm io"""

    NAME = "io"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        need_kernel()
        found = disks()
        if not found:
            say("No disk has been found (yet).")
        for dk in found:
            st = dk["dk_stats"]
            say(f"{array_text(dk['dk_name'])}: {int(st['reads'])} reads, {int(st['writes'])} writes, "
                f"{int(st['flushes'])} flushes, {int(st['errors'])} errors; under way: {int(st['inflight'])}")
            for bp, state in requests_of(dk):
                self.buffer(bp, state)

    def buffer(self, bp, state):
        b = fetch(bp)
        say(f"  {request_words(b)}, {state}, {plural(age(b), 'tick')} old (buf {int(bp):#x})")
        found = pages_of(b)
        if found:
            say(f"    pages: {page.owner_words(found[0])}" + (f" and {len(found) - 1} more" if len(found) > 1 else ""))
        for _, t in thread.all_threads():
            if int(bp) <= int(t["wchan"]) < int(bp) + b.type.sizeof:
                say(f"    thread {array_text(t['name'])} waits for it in {t['wmesg'].string()}")


Vnode()
Io()
