# SPDX-License-Identifier: BSD-2-Clause
"""vm fault, vm why, vm whatis: what is the matter here?"""

import gdb
from common import (Command, M64, PAGE_SHIFT, PAGE_SIZE, array_text, define, defines, enumerators, evaluate, fetch, machine_mode,
                    need_kernel, need_pages, plural, pointer_to, register, say, tailq)
import maps
import object as vm_objects
import page
import thread
import walk

PAGE_FAULT = 14
ERROR_BITS = ((1, "the page is mapped, but not for this", "no page is mapped"), (2, "a write", "a read"),
              (4, "in user mode", "in kernel mode"))
CHAIN_MAX = 64


def fault_frame():
    """The trap frame of the fault that the running thread is in, or None."""
    t = fetch(thread.current())
    if int(t["frame"]) == 0:
        return None
    frame = fetch(t["frame"])
    return frame if int(frame["vector"]) == PAGE_FAULT else None


def chain(pointer, pindex):
    """[(object, its structure, index)] from the top down."""
    found = []
    while int(pointer) != 0 and len(found) < CHAIN_MAX:
        o = fetch(pointer)
        found.append((pointer, o, pindex))
        pindex += int(o["backing_object_offset"]) >> PAGE_SHIFT
        pointer = o["backing_object"]
    return found


def resident_at(o, pindex):
    """The page of an object at an index: its address, or None."""
    node, offset, seen = int(o["memq"]["root"]), page.array().node_offset, 0
    while node and seen < 128:
        address, seen = node - offset, seen + 1
        here = page.array().field(address, "pindex")
        if here == pindex:
            return address
        children = page.array().node(node)
        if children is None:
            return None
        node = children[0] if pindex < here else children[1]
    return None


def in_file(o, pindex):
    return pindex * PAGE_SIZE < int(o["un_pager"]["vnp"]["vnp_size"])


def verdict(e, va, write):
    """What the handler should come to: sentences, one for each step."""
    c = defines("vm/vm.h")
    if e is None:
        yield "nothing is mapped there: SIGSEGV (SEGV_MAPERR), and EFAULT inside copyin or copyout"
        return
    wanted = c["VM_PROT_WRITE"] if write else c["VM_PROT_READ"]
    if not int(e["protection"]) & wanted:
        yield f"the mapping is {maps.prot_letters(int(e['protection']))}: SIGSEGV (SEGV_ACCERR)"
        return
    pindex = (int(e["offset"]) + (va & -PAGE_SIZE) - int(e["start"])) >> PAGE_SHIFT
    if int(e["object"]) == 0:
        yield "no object yet: one is made, and the page is filled with zeros"
        return
    steps = chain(e["object"], pindex)
    for depth, (pointer, o, index) in enumerate(steps):
        m = resident_at(o, index)
        where = f"{vm_objects.name(pointer)}, index {index}"
        if m is not None and page.array().field(m, "valid"):
            copy = write and (depth > 0 or int(e["needs_copy"]))
            busy = page.array().field(m, "busy")
            mine = busy and page.array().field(m, "busy_tid") == int(fetch(thread.current())["tid"])
            yield f"resident in {where}, frame {page.array().field(m, 'pfn'):#x}" + (
                "; busy for this very fault" if mine else "; it is busy, so the fault sleeps in vmpfw and starts again" if busy else "")
            yield "a write: it is copied to the top object" if copy else "it is mapped" if mine else "it is mapped as it is: a soft fault"
            return
        if vm_objects.kind(o) == "vnode":
            if not in_file(o, index):
                yield f"{where} lies past the end of the file: SIGBUS"
            elif m is not None:
                yield f"{where}: a frame is there and busy, its contents are on their way"
            else:
                yield f"{where} is not resident: the vnode pager reads it"
                if write and depth > 0:
                    yield "then the write copies it to the top object"
            return
        yield f"{where} is not resident" + ("" if vm_objects.kind(o) != "swap" else ", unless the swap disk has it")
    yield "nobody has it: the page is filled with zeros in the top object"


class Fault(Command):
    """Explain the page fault that the running thread is in, or the last one that the processor took.

Says what was touched and how, what the map and the objects hold for it, what the handler should come to, and what the
page tables say by now.  With an address, what a read of it would come to.

    (gdb) vm fault
    (gdb) vm fault 0x12000

    vm fault [VA]"""

    NAME = "fault"

    def run(self, args):
        why = machine_mode()
        if why is not None:
            say(f"no fault is explained here: {why}.")
            return
        need_kernel()
        frame = fault_frame() if not args else None
        va, error = register("cr2"), 0
        if args:
            va = int(evaluate(" ".join(args))[0]) & M64
            say(f"a read of {va:#x} would be answered like this:")
        elif frame is not None:
            error = int(frame["error"])
            words = ", ".join(yes if error & bit else no for bit, yes, no in ERROR_BITS)
            say(f"page fault at {va:#x}, error {error:#x}: {words}; by {thread.place(int(frame['rip']))[4:] or '??'} "
                f"({thread.functions(int(frame['rip']))[0]})")
        else:
            say(f"no fault is under way in this thread; the last address that faulted on this processor is {va:#x}:")
        self.explain(va, bool(error & 2))

    def explain(self, va, write):
        steps = walk.walk(va, register("cr3"))
        if not va >> 47 == 0:
            say(f"  {walk.region(va)}: the kernel's own memory is never paged, so a fault there is a bug")
        else:
            space = int(fetch(thread.current())["vmspace"])
            e = maps.find_entry(fetch(pointer_to("struct vmspace", space))["map"], va) if space else None
            if e is not None:
                say(f"  map       [{int(e['start']):#x}, {int(e['end']):#x}) {maps.entry_words(e)}")
            else:
                say("  map       " + ("no entry" if space else "the thread has no address space"))
            for sentence in verdict(e, va, write):
                say(f"  should    {sentence}")
        pa = walk.translate(steps, va)
        say("  is        " + (f"mapped, to frame {pa >> PAGE_SHIFT:#x}" if pa is not None else "not mapped (yet)"))


def obstacles(p):
    """Why a page cannot be had: [(what is asked, answer)]"""
    c = defines(page.PAGE_H)
    busy, queue = int(p["busy"]), int(p["queue"])
    names = {number: name[3:].lower() for number, name in enumerators("enum page_queue").items()}
    free = busy >= c["VPB_FREED"]
    yield "free", "it is" if free else "it belongs to " + page.owner_words(p)
    if free:
        return
    if busy:
        yield "evictable", "no: " + page.busy_words(busy, int(p["busy_tid"]))
    elif int(p["wire_count"]):
        yield "evictable", f"no: wired {plural(int(p['wire_count']), 'time')}, and on no queue"
    elif int(p["object"]) == 0:
        yield "evictable", "no: it has no object, the kernel uses it itself"
    elif names.get(queue) == "unswappable":
        yield "evictable", "no: it is anonymous and dirty, and the swap disk has no room (or there is none)"
    elif int(p["dirty"]):
        yield "evictable", f"not before it is written: {page.sector_words(int(p['dirty']))} dirty, on queue {names.get(queue)}"
    elif names.get(queue) == "active":
        yield "evictable", f"not yet: active, activity {int(p['act_count'])}; each scan that finds it unused takes one away"
    else:
        yield "evictable", "yes, unless it turns out to have been used or modified through a mapping"
    mapped = page.mappings(p)
    if int(p["dirty"]):
        yield "clean", "no: " + page.sector_words(int(p["dirty"]))
    elif mapped and int(p["flags"]) & c["PG_WRITEABLE"]:
        yield "clean", "as far as is known; a mapping may be writable, and the page table's own bit is asked before it goes"
    else:
        yield "clean", "yes"


class Why(Command):
    """Why is this page not free, not evictable, or not clean?

    (gdb) vm why m[reqpage]

    vm why PAGE"""

    NAME = "why"

    def run(self, args):
        if not args:
            self.usage()
        m = page.find(" ".join(args))
        say(f"page {int(fetch(m)['pfn'])}:")
        for what, answer in obstacles(fetch(m)):
            say(f"  {what:<10} {answer}")


class Whatis(Command):
    """Say what a number is: a kernel address, a user address, a physical address, a vm_page, an object, a vnode, a thread.

    (gdb) vm whatis $cr2
    (gdb) vm whatis object

    vm whatis X"""

    NAME = "whatis"

    def run(self, args):
        if not args:
            self.usage()
        need_kernel()
        x = int(evaluate(" ".join(args))[0]) & M64
        found = list(self.answers(x))
        for answer in found or [f"{x:#x}: nothing that is known here"]:
            say(answer)

    def answers(self, x):
        need_pages()
        for td, t in thread.all_threads():
            if int(td) <= x < int(td) + t.type.sizeof:
                yield f"{x:#x} lies in struct thread {int(td):#x}, {array_text(t['name'])}: vm bt {int(t['tid'])}"
        if page.array().contains(x):
            yield f"{x:#x} is a vm_page: {page.one_line(pointer_to('struct vm_page', x))}: vm page {x:#x}"
            return
        for o in tailq(gdb.parse_and_eval("'vm/vm_object.c'::object_list"), "object_list"):
            if int(o) == x:
                yield f"{x:#x} is {vm_objects.name(o)}: vm object {x:#x}"
            elif int(fetch(o)["handle"]) == x and vm_objects.kind(fetch(o)) == "vnode":
                yield f"{x:#x} is the vnode of {vm_objects.name(o)}: vm vnode {x:#x} 0"
        yield from self.address(x)

    def address(self, x):
        if x < PAGE_SIZE:
            yield f"{x} is a small number: as an address, page 0, which is never mapped"
            return
        m = page.by_pfn(x >> PAGE_SHIFT)
        if m is not None:
            yield f"{x:#x} as a physical address: {page.one_line(m)}: vm page {x >> PAGE_SHIFT}"
        m = page.by_pfn(x)
        if m is not None:
            yield f"{x:#x} as a page number: {page.one_line(m)}: vm page {x:#x}"
        if not walk.canonical(x):
            return
        pa = walk.translate(walk.walk(x, register("cr3")), x)
        if x >= define("vm/vm.h", "DMAP_BASE"):
            symbol = gdb.execute(f"info symbol {x:#x}", to_string=True).strip()
            yield (f"{x:#x} is in {walk.region(x)}" + ("" if symbol.startswith("No symbol") else f": {symbol}")
                   + (f"; physical {pa:#x}" if pa is not None else "; not mapped") + f": vm walk {x:#x}")
        elif pa is not None or x < 1 << 47:
            yield (f"{x:#x} as a user address here: " + (f"physical {pa:#x}" if pa is not None else "not mapped")
                   + f"; {maps.explain_address(x, register('cr3') & walk.Bits().PG_FRAME)}: vm walk {x:#x}")


Fault()
Why()
Whatis()
