# SPDX-License-Identifier: BSD-2-Clause
"""vm user, vm touched: the symbols of the program that runs, and what of its file it has used.

gdb knows the kernel's symbols only.  The program's own lie in its file; where that came from, the host has it, too.
Which file is no guess: the page of the guest's file that holds its ELF header must be the same, byte for byte.
"""

import os
import struct

import gdb
from common import Command, PAGE_SHIFT, PAGE_SIZE, Physical, TOP, array_text, counters, fetch, need_kernel, say
import maps
import object as vm_objects
import page
import thread
import walk

CHAIN_MAX = 64
PT_LOAD = 1
loaded = []             # [(file, bias)] whose symbols gdb has now: the program, then what it has loaded
LIBRARIES = ("build/root/lib64", "build/root/lib/x86_64-linux-gnu", "/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")


def bottom(pointer):
    """The object at the end of a chain of shadows."""
    for _ in range(CHAIN_MAX):
        below = fetch(pointer)["backing_object"]
        if int(below) == 0:
            break
        pointer = below
    return pointer


def text_start(p):
    """(address, object) at which a process has the first page of its program's file."""
    for e in maps.entries(fetch(p["vmspace"])["map"]):
        if int(e["object"]) and int(e["offset"]) == 0:
            pointer = bottom(e["object"])
            if int(fetch(pointer)["handle"]) == int(p["text"]):
                return int(e["start"]), pointer
    raise gdb.GdbError("the first page of its file is not mapped: where it lies cannot be told")


def libraries(p):
    """[(address, object)] of the other files whose first page a process has mapped: its interpreter, its libraries."""
    found = {}
    for e in maps.entries(fetch(p["vmspace"])["map"]):
        if int(e["object"]) and int(e["offset"]) == 0:
            pointer = bottom(e["object"])
            handle = int(fetch(pointer)["handle"])
            if vm_objects.kind(fetch(pointer)) == "vnode" and handle not in (0, int(p["text"])):
                found.setdefault(handle, (int(e["start"]), pointer))
    return list(found.values())


def library_file(pointer):
    """The host's file that an object's file is, or None."""
    wanted, size = first_page(pointer), int(fetch(pointer)["un_pager"]["vnp"]["vnp_size"])
    for folder in (os.path.join(TOP, name) for name in LIBRARIES):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if ".so" in name and same_program(os.path.join(folder, name), wanted, size):
                return os.path.realpath(os.path.join(folder, name))
    return None


def first_page(pointer):
    """The bytes of the file's first page as they are in memory, or None: it is not there."""
    for index, address in vm_objects.resident(fetch(pointer)):
        if index == 0:
            with Physical() as memory:
                return memory.read(page.array().field(address, "pfn") << PAGE_SHIFT, PAGE_SIZE)
    return None


def same_program(path, wanted, size):
    try:
        if os.path.getsize(path) != size:
            return False
        with open(path, "rb") as f:
            return wanted is None or f.read(PAGE_SIZE).ljust(PAGE_SIZE, b"\0") == wanted
    except OSError:
        return False


def link_address(path):
    """The address that the file's first page is linked at."""
    with open(path, "rb") as f:
        head = f.read(PAGE_SIZE)
    if head[:6] != b"\x7fELF\x02\x01":
        raise gdb.GdbError(f"{path} is no 64-bit ELF file")
    table, = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    for i in range(count):
        if table + (i + 1) * size > len(head):
            break
        kind, _, offset, va = struct.unpack_from("<IIQQ", head, table + i * size)
        if kind == PT_LOAD and offset < PAGE_SIZE:
            return va - offset
    raise gdb.GdbError(f"{path} does not load its first page")


def forget():
    """Drop the former program's symbols: another program has other things at these addresses."""
    for path, _ in loaded:
        gdb.execute(f"remove-symbol-file {path}", to_string=True)
    loaded.clear()


class User(Command):
    """Load the symbols of the program that runs, and of its interpreter and libraries, where they lie.

`bt` and `break` then know their functions.  What a dynamic program has not mapped yet is found by another `vm user`.
The host's file is looked for in build/user, /bin, /usr/bin and as busybox, and must be the one that runs: its size
and its first page are compared; libraries are looked for in build/root and /lib.  FILE names it; then a difference is told and the file is taken all the same.  The
symbols of the program before are dropped.  `vm user off` drops them, too.

    (gdb) vm user
    (gdb) vm user build/user/mem_eof

    vm user [FILE|off]"""

    NAME = "user"
    COMPLETE = gdb.COMPLETE_FILENAME

    def run(self, args):
        if len(args) > 1:
            self.usage()
        if args == ["off"]:
            forget()
            say("gdb knows the kernel's symbols only.")
            return
        need_kernel()
        _, p = current_process()
        start, pointer = text_start(p)
        path = self.find(args, p, pointer)
        others = [(library_file(o), at) for at, o in libraries(p)]
        self.load([(path, start)] + [(name, at) for name, at in others if name is not None])
        self.tell(path, start, p)
        for name, at in others:
            say(f"  {name} lies at {at:#x}." if name is not None else f"  What lies at {at:#x} is no library of this host's.")

    def find(self, args, p, pointer):
        """The program's file on the host."""
        name, wanted = array_text(p["name"]), first_page(pointer)
        size = int(fetch(pointer)["un_pager"]["vnp"]["vnp_size"])
        if args:
            path = os.path.abspath(os.path.expanduser(args[0]))
            if not os.path.isfile(path):
                raise gdb.GdbError(f"{path} is no file")
            if not same_program(path, wanted, size):
                say(f"BEWARE: {path} is not the file that runs.")
            return path
        places = [os.path.join(TOP, "build", "user", name)] + [f"{folder}/{name}" for folder in ("/bin", "/usr/bin")]
        places.append("/bin/busybox")
        for path in places:
            if same_program(path, wanted, size):
                return os.path.realpath(path)
        raise gdb.GdbError(f"none of {', '.join(places)} is the {name} that runs ({size} bytes); name its file")

    def load(self, wanted):
        """Have the symbols of these files, each at its address."""
        wanted = [(path, start - link_address(path)) for path, start in wanted]
        if wanted != loaded:
            forget()
            for path, bias in wanted:
                gdb.execute(f"add-symbol-file {path} -o {bias:#x}", to_string=True)
                loaded.append((path, bias))

    def tell(self, path, start, p):
        bias = loaded[0][1]
        say(f"process {int(p['pid'])}, {array_text(p['name'])}: {path} lies at {start:#x}, "
            + (f"{bias:#x} above where it is linked." if bias else "where it is linked."))
        if not any(o.filename == path and o.lookup_global_symbol("main") for o in gdb.objfiles()):
            say("It is stripped of its debug information: frames are found, their names are not.")


def current_process():
    """-> (the running thread, its process), both as structures."""
    t = fetch(thread.current())
    p = thread.process(t)
    if p is None:
        raise gdb.GdbError(f"there is no program here: thread {array_text(t['name'])} is the kernel's")
    if int(p["text"]) == 0:
        raise gdb.GdbError("there is no program yet: the process has not executed one")
    return t, p


def touched_indices(p):
    """Pages of a process's program's file that its page tables have accessed.  A page that it has changed is no longer the file's."""
    bits, root, found = walk.Bits(), int(fetch(p["vmspace"])["pmap"]["pml4_pa"]), set()
    for e in maps.entries(fetch(p["vmspace"])["map"]):
        if int(e["object"]) == 0 or int(fetch(bottom(e["object"]))["handle"]) != int(p["text"]):
            continue
        frames = {page.array().field(a, "pfn"): i for i, a in vm_objects.resident(fetch(bottom(e["object"])))}
        for va in range(int(e["start"]), int(e["end"]), PAGE_SIZE):
            entry = walk.walk(va, root)[-1][3]
            if entry & bits.PG_V and entry & bits.PG_A and (entry & bits.PG_FRAME) >> PAGE_SHIFT in frames:
                found.add(frames[(entry & bits.PG_FRAME) >> PAGE_SHIFT])
    return found


class Touched(Command):
    """Show which pages of its file the running program has touched, out of how many, and what that cost.

Touched is what the processor has marked as accessed in the page tables of this process.  The counters are those of
the whole machine, and what they have gained since the last `vm touched`.

    (gdb) vm touched

    vm touched"""

    NAME = "touched"
    COMPLETE = gdb.COMPLETE_NONE
    COUNTERS = (("v_vm_faults", "page faults"), ("v_io_faults", "that needed a pager"), ("v_vnodein", "requests to the vnode pager"),
                ("v_vnodepgsin", "pages read"))
    before = {}

    def run(self, args):
        if args:
            self.usage()
        need_kernel()
        _, p = current_process()
        _, pointer = text_start(p)
        o = fetch(pointer)
        there, touched = {i for i, _ in vm_objects.resident(o)}, touched_indices(p)
        say(f"process {int(p['pid'])}, {array_text(p['name'])}: its file has {int(o['size'])} pages; {len(there)} are in memory, "
            f"{len(touched)} of them touched by this process.")
        for at in range(0, int(o["size"]), vm_objects.STRIP_LINE):
            say(f"    {at:8} " + "".join("#" if i in touched else "o" if i in there else "."
                                         for i in range(at, min(at + vm_objects.STRIP_LINE, int(o["size"])))))
        say("    # touched  o in memory only  . not read")
        now = counters()
        say("counters: " + ", ".join(f"{now[name]} {words}" for name, words in self.COUNTERS))
        if self.before:
            say("since the last look: " + ", ".join(f"+{now[name] - self.before[name]} {words}" for name, words in self.COUNTERS))
        Touched.before = now


User()
Touched()
