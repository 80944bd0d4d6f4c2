# SPDX-License-Identifier: BSD-2-Clause
"""vm cpus: the processors.  QEMU shows each as a thread, so `thread 2` is gdb's way to the second one."""

import gdb
from common import Command, array_text, enum_word, fetch, register, say

HALT = 0xF4


class At:
    """with At(gdb thread): the processor that it stands for is the selected one; afterwards the former one is again."""

    def __init__(self, number):
        self.wanted = number

    def __enter__(self):
        self.former, self.frame = gdb.selected_thread(), gdb.selected_frame()
        self.wanted.switch()

    def __exit__(self, *_):
        self.former.switch()
        if self.frame.is_valid():
            self.frame.select()


def processors():
    """gdb's threads, the first processor first."""
    return sorted(gdb.selected_inferior().threads(), key=lambda t: t.num)


def index_here():
    """Which struct cpu the selected processor uses, or None: it has none (yet).

    GS leads to it, but in user mode, and for a moment after and before, that register holds the program's base.
    """
    try:
        cpus, size = gdb.parse_and_eval("cpus"), gdb.lookup_type("struct cpu").sizeof
    except gdb.error:
        return None
    for base in ("k_gs_base", "gs_base") if register("cs") & 3 else ("gs_base", "k_gs_base"):
        at = register(base) - int(cpus.address)
        if at % size == 0 and 0 <= at // size <= cpus.type.range()[1]:
            return at // size
    return None


def running_elsewhere(td):
    """The gdb thread of another processor that runs this thread of the kernel, or None."""
    for processor in processors():
        if processor.num != gdb.selected_thread().num:
            with At(processor):
                i = index_here()
                if i is not None and int(gdb.parse_and_eval("cpus")[i]["thread"]) == int(td):
                    return processor
    return None


def byte_at(address):
    try:
        return gdb.selected_inferior().read_memory(address, 1)[0][0]
    except gdb.MemoryError:
        return None


def what_it_does(cpu):
    """Where a processor stands, in a few words."""
    if register("cs") & 3:
        return "user mode"
    if cpu is not None and int(cpu["in_nmi"]):
        return "non-maskable interrupt"
    if cpu is not None and int(cpu["intr_depth"]):
        return "interrupt handler"
    if byte_at(register("rip") - 1) == HALT:
        return "halted"
    return "kernel" if register("cr0") >> 31 & 1 else "paging off"


class Cpus(Command):
    """List the processors: the thread that each runs, the mode it is in, locks held, and where it stands.

The star is the one that gdb looks at.  `thread 2` selects the second: then `bt` and all vm commands are about that one.
`vm bt` of a thread that runs on another processor looks there by itself.

    (gdb) vm cpus
    (gdb) thread 2

    vm cpus"""

    NAME = "cpus"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        import thread
        if args:
            self.usage()
        if gdb.selected_thread() is None:
            raise gdb.GdbError("there is no machine: start with `make gdb`")
        here = gdb.selected_thread().num
        say(f" {'gdb':>4} {'cpu':>3}  {'thread':<22} {'program':<16} {'does':<18} {'spin':<4} at")
        for processor in processors():
            with At(processor):
                i = index_here()
                cpu = gdb.parse_and_eval("cpus")[i] if i is not None else None
                t = fetch(cpu["thread"]) if cpu is not None and int(cpu["thread"]) else None
                name = f"{int(t['tid'])} {array_text(t['name'])}" if t is not None else "none yet"
                program = thread.process_words(t) if t is not None else ""
                spin = int(cpu["spin_depth"]) if cpu is not None else 0
                pc = register("rip")
                say(f"{'*' if processor.num == here else ' '}{processor.num:>4} {'-' if i is None else i:>3}  {name:<22} {program:<16} "
                    f"{what_it_does(cpu):<18} {spin:<4} {thread.functions(pc)[0]}{thread.place(pc)}")


Cpus()
