# SPDX-License-Identifier: BSD-2-Clause
"""What the `vm` commands share: reading the guest without disturbing it, and saying it in words.

Rules that every command here keeps:

- It only reads.  No function of the kernel is called, no register or byte is written.
- It works wherever the machine stands.  Page tables are read as physical memory, through QEMU's PhyMemMode; what
  needs the kernel's data says so in a sentence when there is none yet.
- Every list and tree is walked with a bound and a check for cycles, and a broken one is reported with how far it was
  good.
- Constants come from the kernel: enumerators from its debug information, #defines from its headers.
"""

import os
import re
import struct

import gdb

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE_SHIFT, PAGE_SIZE = 12, 4096
LIST_MAX = 100000       # no list of structures is walked further than this
M64 = (1 << 64) - 1


class Command(gdb.Command):
    """A command `vm NAME`; its help is the class's own docstring."""

    NAME = None
    COMPLETE = gdb.COMPLETE_EXPRESSION

    def __init__(self):
        super().__init__("vm " + self.NAME, gdb.COMMAND_DATA, self.COMPLETE)

    def invoke(self, argument, from_tty):
        try:
            self.run(gdb.string_to_argv(argument))
        except gdb.MemoryError as e:
            raise gdb.GdbError(f"vm {self.NAME}: {e}: the structures are not (yet) what they should be") from None
        except gdb.error as e:
            raise gdb.GdbError(f"vm {self.NAME}: {e}") from None

    def usage(self):
        raise gdb.GdbError(f"usage: {self.__doc__.strip().splitlines()[-1].strip()}; see `help vm {self.NAME}`")


def say(text=""):
    gdb.write(text + "\n")


def plural(n, noun, nouns=None):
    return f"{n} {noun if n == 1 else nouns or noun + 's'}"


def comma_list(words, nothing="none"):
    return ", ".join(words) if words else nothing


# ---- where the machine stands ---------------------------------------------------------------------

def register(name):
    return int(gdb.parse_and_eval("$" + name)) & M64


def machine_mode():
    """A sentence about why addresses are not translated by 4-level page tables now, or None when they are."""
    if gdb.selected_thread() is None:
        raise gdb.GdbError("there is no machine: `target remote build/gdb.sock`, or start with `make gdb`")
    if not register("cr0") >> 31 & 1:
        protected = "protected mode" if register("cr0") & 1 else "real mode"
        return f"paging is off ({protected}): every address is a physical address"
    if not register("efer") >> 10 & 1:
        return "paging is on, but not in long mode: 32-bit page tables are not decoded"
    if register("cr4") >> 12 & 1:
        return "paging has five levels, which this kernel does not use: not decoded"
    return None


def need_kernel():
    """The kernel's variables must be readable."""
    why = machine_mode()
    if why is not None:
        raise gdb.GdbError(f"the kernel has not come to that yet: {why}")
    try:
        gdb.selected_inferior().read_memory(int(gdb.parse_and_eval("&vm_page_count")), 4)
    except gdb.MemoryError:
        raise gdb.GdbError("the kernel is not mapped in the page tables loaded now") from None


def need_pages():
    need_kernel()
    if int(gdb.parse_and_eval("vm_page_array")) == 0:
        raise gdb.GdbError("there are no vm_page structures yet: vm_page_init() has not run")


class Physical:
    """with Physical() as p: p.read(pa, length), of physical memory.  gdb's caches are off meanwhile."""

    SETTINGS = ("code-cache", "stack-cache")

    def __enter__(self):
        self.former = {s: gdb.parameter(s) for s in self.SETTINGS}
        for s in self.SETTINGS:
            gdb.execute(f"set {s} off")
        self.switch(1)
        return self

    def __exit__(self, *_):
        self.switch(0)
        for s in self.SETTINGS:
            gdb.execute(f"set {s} {'on' if self.former[s] else 'off'}")

    def switch(self, on):
        if '"OK"' not in gdb.execute(f"maint packet Qqemu.PhyMemMode:{on}", to_string=True):
            raise gdb.GdbError("physical memory cannot be read: this is not QEMU's gdb stub")

    def read(self, pa, length):
        return bytes(gdb.selected_inferior().read_memory(pa, length))

    def read64(self, pa):
        return struct.unpack("<Q", self.read(pa, 8))[0]


# ---- constants ------------------------------------------------------------------------------------

_defines = {}


def defines(header):
    """The numbers that a header's #defines stand for -> {name: value}."""
    if header not in _defines:
        found = {}
        with open(os.path.join(TOP, header), encoding="utf-8") as f:
            for name, text in re.findall(r"^#define[ \t]+(\w+)[ \t]+(\(?[0-9(][^/\n]*)", f.read(), re.M):
                text = re.sub(r"\b(0x[0-9a-fA-F]+|[0-9]+)[uUlL]+\b", r"\1", text).strip()
                if re.fullmatch(r"[0-9a-fA-Fx<()+ |-]+", text):
                    found[name] = int(eval(text, {"__builtins__": {}}))
        _defines[header] = found
    return _defines[header]


def define(header, name):
    try:
        return defines(header)[name]
    except KeyError:
        raise gdb.GdbError(f"{header} does not define {name} any more; tests/gdb needs to learn its new name") from None


def enumerators(type_name):
    """{value: name} of an enum."""
    return {f.enumval: f.name for f in gdb.lookup_type(type_name).fields()}


def enum_word(type_name, value, prefix):
    """PQ_ACTIVE -> active."""
    name = enumerators(type_name).get(int(value))
    return name[len(prefix):].lower() if name else f"unknown ({int(value)})"


def flag_words(value, words, nothing="none"):
    """words: [(mask, word)]; bits that no word stands for are shown as a number."""
    found = [word for mask, word in words if value & mask]
    rest = value & ~sum(mask for mask, _ in words)
    if rest:
        found.append(f"unknown bits {rest:#x}")
    return comma_list(found, nothing)


# ---- structures -----------------------------------------------------------------------------------

def fetch(pointer):
    """The structure that a pointer points to, read in one go."""
    value = pointer.dereference()
    value.fetch_lazy()
    return value


def pointer_to(type_name, address):
    return gdb.Value(address).cast(gdb.lookup_type(type_name).pointer())


def text(char_pointer, limit=64):
    """A C string, or its absence."""
    if int(char_pointer) == 0:
        return ""
    return char_pointer.string(errors="replace", length=-1)[:limit]


def array_text(chars):
    return chars.string(errors="replace").split("\0")[0]


def offset_of(type_name, field):
    return next(f.bitpos // 8 for f in gdb.lookup_type(type_name).fields() if f.name == field)


def tailq(head, link, limit=LIST_MAX):
    """The elements of a TAILQ (kernel/lib/queue.h), as pointers.  Stops with a sentence where the list is broken."""
    seen, previous, element = set(), 0, head["first"]
    while int(element) != 0:
        address = int(element)
        if address in seen or len(seen) >= limit:
            raise gdb.GdbError(f"the list is broken: after {len(seen)} elements {address:#x} comes again or never ends")
        seen.add(address)
        try:
            structure = fetch(element)
        except gdb.MemoryError:
            raise gdb.GdbError(f"the list is broken: after {len(seen) - 1} elements it points to {address:#x}, "
                               f"which is no memory; the last good one is {previous:#x}") from None
        if int(structure[link]["prev"]) != previous:
            raise gdb.GdbError(f"the list is broken at {address:#x}: its prev is {int(structure[link]['prev']):#x}, "
                               f"not {previous:#x}")
        yield element
        previous, element = address, structure[link]["next"]


def rb_addresses(root, read_node, limit=LIST_MAX):
    """Addresses of the nodes of a red-black tree (kernel/lib/rbtree.h) in order.

    read_node(address) -> (left, right), or None where there is no node.
    """
    stack, seen, node = [], set(), root
    while stack or node:
        while node:
            if node in seen or len(seen) >= limit:
                raise gdb.GdbError(f"the tree is broken: node {node:#x} comes again after {len(seen)} nodes")
            seen.add(node)
            children = read_node(node)
            if children is None:
                raise gdb.GdbError(f"the tree is broken: node {node:#x}, the {len(seen)}th, is no memory")
            stack.append((node, children[1]))
            node = children[0]
        here, node = stack.pop()
        yield here


def read_rb_node(address):
    try:
        return struct.unpack("<QQ", bytes(gdb.selected_inferior().read_memory(address, 16)))
    except gdb.MemoryError:
        return None


def evaluate(expression, *types):
    """Evaluate what the user typed -> (value, name of the structure that it points to, or None)."""
    value = gdb.parse_and_eval(expression)
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_PTR:
        target = kind.target().unqualified().strip_typedefs()
        return value, target.tag
    if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY) and value.address is not None:
        return value.address, kind.unqualified().tag if kind.code == gdb.TYPE_CODE_STRUCT else None
    return value, None


class Prefix(gdb.Command):
    """Look at Faultline's virtual memory.  None of these commands changes anything, but for `vm freeze`.

    vm fault [VA]     the page fault under way, explained
    vm walk VA        page tables, level by level, and the page at the end
    vm map [THREAD]   the mappings of an address space
    vm object O       an object, its pages as a strip, the objects it shadows
    vm page P         one page: state, owner, mappings, its last events
    vm why P          why it is not free, not evictable, not clean
    vm whatis X       what a number is
    vm queues         the page queues, counted and checked
    vm mem [FIRST N]  physical memory, a letter for each frame
    vm snap           remember all pages and counters ...
    vm diff           ... and what has changed since
    vm vnode V OFF    a byte of a file: inode, pointer blocks, sector, page
    vm io             disks, requests under way, how long, who waits for them
    vm cpus           the processors, and what each of them does
    vm threads        all threads and what they wait for
    vm wait           who is asleep, on what, and who will wake them
    vm bt THREAD      the backtrace of a thread that is not running
    vm check          the laws of the VM, evaluated from outside
    vm stages         the named stages of a page fault
    vm step [STAGE]   run to the next of them
    vm undo [STAGE]   back to the stage before (`make gdb RR=1`)
    vm story          run one fault and tell it, stage by stage
    vm break WHAT X   stop when the VM comes to an address, object, page, file, sector
    vm trace [N]      the last events recorded
    vm freeze on|off  hold the reclaim thread; this one writes
    vm user [FILE]    the running program's symbols, loaded where it lies
    vm touched        which pages of its file it has used, and what that cost
    vm attach SOCKET  connect to the stopped machine, run to a named place
    vm selftest       run them all

`help vm NAME` shows an example of each."""

    def __init__(self):
        super().__init__("vm", gdb.COMMAND_DATA, prefix=True)


def counters():
    """The VM's counters, of all CPUs together -> {name: value}."""
    cpus, sums = gdb.parse_and_eval("cpus"), {}
    for i in range(int(gdb.parse_and_eval("ncpus"))):
        cnt = cpus[i]["cnt"]
        for f in cnt.type.fields():
            sums[f.name] = sums.get(f.name, 0) + int(cnt[f.name])
    return sums
