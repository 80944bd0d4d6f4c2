# SPDX-License-Identifier: BSD-2-Clause
"""vm stages, vm step, vm undo, vm story: follow a page fault by its named stages (kernel/stage.h), forwards and backwards.

Where the stages are, and where their words are found there, is read from the records that the compiler left beside
the code: in the ELF file, so it is known before the machine has executed one instruction.
"""

import os
import re
import struct

import gdb
from common import (Command, TOP, array_text, enumerators, fetch, machine_mode, need_kernel, plural, pointer_to, register,
                    say, text)
import maps
import object as vm_objects
import session
import thread

STAGE_H = "kernel/stage.h"
STORY_MAX = 400         # stages of one fault, at most
TEXTS = None


class Place:
    """A record: address, stage (its name in the enum), and the assembler's words for its two operands."""

    def __init__(self, address, stage, operands):
        self.address, self.stage, self.operands = address, stage, operands

    def where(self):
        line = gdb.find_pc_line(self.address)
        function = thread.functions(self.address)[0]
        return f"{function} at {line.symtab.filename}:{line.line}" if line.symtab is not None else function


def file_bytes(start, end):
    """Bytes of the kernel's file by their addresses."""
    with open(gdb.current_progspace().filename, "rb") as f:
        elf = f.read()
    at, size, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    for n in range(count):
        kind, _, offset, va, _, filesz = struct.unpack_from("<IIQQQQ", elf, at + n * size)
        if kind == 1 and va <= start and end <= va + filesz:
            return elf[offset + start - va:offset + end - va]
    raise gdb.GdbError("the kernel's file has no stage records where its symbols say")


_places = {}


def places():
    """All places, in the order of the stages."""
    key = gdb.current_progspace().filename
    if key not in _places:
        start, end = (int(gdb.parse_and_eval(f"(unsigned long)&stage_records_{w}")) for w in ("start", "end"))
        names, raw, at, found = enumerators("enum stage"), file_bytes(start, end), 0, []
        while at < len(raw):
            address, stage, size = struct.unpack_from("<QII", raw, at)
            operands = [s.decode() for s in raw[at + 16:at + size].split(b"\0")[:2]]
            found.append(Place(address, names[stage][len("STAGE_"):], operands))
            at += size
        order = [names[n] for n in sorted(names)]
        _places[key] = sorted(found, key=lambda p: (order.index("STAGE_" + p.stage), p.address))
    return _places[key]


def stage_text(stage):
    """What one says of a stage: the texts of kernel/stage.h."""
    global TEXTS
    if TEXTS is None:
        with open(f"{TOP}/{STAGE_H}", encoding="utf-8") as f:
            TEXTS = dict(re.findall(r'^\tX\((\w+),\s*"([^"]+)"\)', f.read(), re.M))
    return TEXTS.get(stage, stage.lower().replace("_", " "))


def operand(words):
    """The value of an operand where the machine stands now: $5, %rax, -8(%rbp), 16(%rax,%rdx,8), name+8(%rip)."""
    if words.startswith("$"):
        return int(gdb.parse_and_eval(re.sub(r"^\$([A-Za-z_.]\w*)", r"(unsigned long)&\1", words) if words[1:2].isalpha()
                                      else words[1:])) & (1 << 64) - 1
    if words.startswith("%"):
        return register(words[1:])
    m = re.fullmatch(r"(-?\w*(?:\+\d+)?)\((%\w+)?(?:,(%\w+)(?:,(\d))?)?\)", words)
    if not m:
        raise gdb.GdbError(f"operand {words!r} is not understood")
    disp, base, index, scale = m.groups()
    address = 0
    if disp and re.match(r"[A-Za-z_]", disp):
        name, _, plus = disp.partition("+")
        address = int(gdb.parse_and_eval(f"(unsigned long)&{name}")) + int(plus or 0)
    elif disp:
        address = int(disp, 0)
    if base and base != "%rip":
        address += register(base[1:])
    if index:
        address += register(index[1:]) * int(scale or 1)
    return struct.unpack("<Q", bytes(gdb.selected_inferior().read_memory(address & (1 << 64) - 1, 8)))[0]


# ---- words ----------------------------------------------------------------------------------------

def object_index(a, b):
    return f"page {b} of {vm_objects.name(pointer_to('struct vm_object', a))}"


def say_entry(a, b):
    e = fetch(pointer_to("struct vm_map_entry", b))
    return f"{a:#x} lies in [{int(e['start']):#x}, {int(e['end']):#x}) {maps.entry_words(e)}"


def disk(a, b):
    name = array_text(fetch(pointer_to("struct disk", a))["dk_name"])
    return f"{name}, sector {b}"


def kern_return(value):
    return enumerators("enum kern_return").get(value, f"result {value}")


WORDS = {
    "FAULT_ENTER": lambda a, b: f"page fault at {a:#x}, wanted {maps.prot_letters(b)}",
    "MAP_LOOKUP": say_entry,
    "OBJECT_LOOKUP": lambda a, b: "is there " + object_index(a, b) + "?",
    "PAGE_ALLOC": lambda a, b: "a frame for " + object_index(a, b),
    "PAGER_GET": lambda a, b: "from " + object_index(a, b) + " on",
    "BMAP": lambda a, b: f"block {b} of inode {int(fetch(pointer_to('struct vnode', a))['v_ino'])}",
    "DISK_REQUEST": disk,
    "SLEEP": lambda a, b: f'in "{text(gdb.Value(b).cast(gdb.lookup_type("char").pointer()))}"',
    "DISK_DONE": disk,
    "WAKE": lambda a, b: "thread " + array_text(fetch(pointer_to("struct thread", b))["name"]),
    "PAGER_DONE": object_index,
    "COW": lambda a, b: f"frame {a:#x} to frame {b:#x}",
    "ZERO_FILL": object_index,
    "PAGE_ENTER": lambda a, b: f"{a:#x} leads to frame {b:#x}",
    "FAULT_RETURN": lambda a, b: f"{a:#x}: {kern_return(b)}",
}


def words_at(place):
    """What the stage at which the machine stands is about."""
    try:
        a, b = (operand(o) for o in place.operands)
        return WORDS[place.stage](a, b) if place.stage in WORDS else f"{a:#x}, {b:#x}"
    except (gdb.error, gdb.GdbError) as e:
        return f"(its words cannot be read: {e})"


def running():
    """(tid, name) of the thread at which the machine stands."""
    t = fetch(thread.current())
    return int(t["tid"]), array_text(t["name"])


# ---- running --------------------------------------------------------------------------------------

class Watch:
    """with Watch(places) as w: w.go() -> the place at which the machine came to stand, or None."""

    def __init__(self, wanted, condition=None):
        self.wanted, self.condition = {p.address: p for p in wanted}, condition

    def __enter__(self):
        self.former = gdb.parameter("breakpoint always-inserted")
        gdb.execute("set breakpoint always-inserted on")
        self.points = []
        for address in self.wanted:
            self.points.append(gdb.Breakpoint(f"*{address:#x}", internal=True))
            self.points[-1].silent = True
            try:
                self.points[-1].condition = self.condition
            except gdb.error as e:
                self.__exit__()
                raise gdb.GdbError(f"no condition at {self.wanted[address].where()}: {e}") from None
        return self

    def __exit__(self, *_):
        for point in self.points:
            if point.is_valid():
                point.delete()
        gdb.execute(f"set breakpoint always-inserted {'on' if self.former else 'off'}")

    def go(self, command="continue"):
        try:
            gdb.execute(command, to_string=True)
        except gdb.error as e:
            raise gdb.GdbError(f"the machine ended before it came to a stage ({e})") from None
        if gdb.selected_thread() is None:
            raise gdb.GdbError("the machine ended before it came to a stage")
        return self.wanted.get(register("rip"))


def find_stages(words):
    """The stages that the user names: `disk submitted`, DISK_REQUEST or nothing for all."""
    wanted = " ".join(words).strip().lower()
    if not wanted:
        return places()
    found = [p for p in places() if wanted in (p.stage.lower(), stage_text(p.stage).lower())]
    if not found:
        raise gdb.GdbError(f"there is no stage `{' '.join(words)}`; `vm stages` lists them")
    return found


class Stages(Command):
    """List the named stages of a page fault, in the order in which a cold one passes them, and where they are.

    (gdb) vm stages

    vm stages"""

    NAME = "stages"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        for place in places():
            say(f"  {stage_text(place.stage):<16} {place.address:#x}  {place.where()}")


class Step(Command):
    """Run to the next named stage, whoever comes to it, or to the next one of that name.

Interrupts happen on the way, as they do when nobody looks.  A condition is one for the function in which the stage is.

    (gdb) vm step
    (gdb) vm step disk submitted
    (gdb) vm step copied if fs->addr > 0x7ff000000000

    vm step [STAGE [if EXPRESSION]]"""

    NAME = "step"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        machine_mode()
        name, _, condition = " ".join(args).partition(" if ")
        with Watch(find_stages(name.split()), condition or None) as watch:
            place = watch.go()
        if place is None:
            say("stopped for another reason, before a stage:")
            gdb.execute("frame")
            return
        say(f"{stage_text(place.stage)}: {words_at(place)}")
        say(f"  thread {running()[1]}, {place.where()}")


def instructions():
    """How far a replayed machine has come, in instructions since it started; None: it is not replayed."""
    found = re.search(r"Replaying .*instruction count = (\d+)", gdb.execute("monitor info replay", to_string=True))
    return int(found.group(1)) if found else None


class Alone:
    """with Alone(): the user's own breakpoints do not stop the machine, and gdb says nothing of where it comes to stand.

    What gdb says of a stop by itself goes past to_string=True and past its logging, so its output is closed meanwhile.
    """

    def __enter__(self):
        gdb.flush()
        self.stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        self.enabled = [b for b in gdb.breakpoints() if b.enabled]
        for b in self.enabled:
            b.enabled = False

    def __exit__(self, *_):
        for b in self.enabled:
            if b.is_valid():
                b.enabled = True
        gdb.flush()
        os.dup2(self.stdout, 1)
        os.close(self.stdout)


class Undo(Command):
    """Go back to the stage before, or to the last one of that name: the machine runs backwards.

That needs a machine that is replayed: `make gdb RR=1` records a run first and then repeats it under gdb.  A repeated run
is the same to the instruction, so going back is starting again and stopping earlier; `vm step` goes forward again, over
the same stages, and what was changed by hand in between is gone.

    (gdb) vm undo
    (gdb) vm undo fault enter

    vm undo [STAGE]"""

    NAME = "undo"
    COMPLETE = gdb.COMPLETE_NONE
    WINDOW = 1 << 22        # instructions before now that are searched first; stopping at each stage takes its time

    def run(self, args):
        machine_mode()
        wanted, now, window = find_stages(args), instructions(), self.WINDOW
        if now is None or session.attached is None or not os.path.exists(session.attached + ".again"):
            raise gdb.GdbError("only a recorded machine runs backwards: `make gdb RR=1` starts one")
        with Alone():
            while True:
                begin = max(now - window, 0)
                last = self.last_between(wanted, begin, now)
                if last is not None or begin == 0:
                    break
                window *= 16
            session.start_again()
            if last is not None:
                self.run_to(last - 1)
                with Watch(wanted) as watch:
                    place = watch.go()
        if last is None:
            say("No such stage comes before: the machine stands before its first instruction.")
            return
        say(f"{stage_text(place.stage)}: {words_at(place)}")
        say(f"  thread {running()[1]}, {place.where()}; {now - instructions()} instructions back")

    def run_to(self, count):
        """From the first instruction to one that is known by its number."""
        if count > 0:
            session.monitor(f"replay_break {count}")
            gdb.execute("continue", to_string=True)

    def last_between(self, wanted, begin, end):
        """How many instructions lead to the last of these stages between two moments; None: there is none."""
        session.start_again()
        self.run_to(begin)
        last = None
        with Watch(wanted) as watch:
            session.monitor(f"replay_break {end}")
            while watch.go() is not None and (here := instructions()) < end:
                last = here
        return last


class Story(Command):
    """Run one whole fault, stage by stage, and tell it: who, what, and the line of source.

Without an argument the next fault that begins; if the machine stands at a fault's beginning, that one.  Other threads
are told of only where they matter: the interrupt, and who is woken.

    (gdb) vm story

    vm story"""

    NAME = "story"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        machine_mode()
        start = find_stages(["FAULT_ENTER"])
        here = {p.address: p for p in start}.get(register("rip"))
        if here is None:
            with Watch(start) as watch:
                here = watch.go()
            if here is None:
                raise gdb.GdbError("stopped for another reason before a fault began")
        need_kernel()
        self.tell(here)

    def tell(self, place):
        tid, name = running()
        others, count, last, same = {"DISK_DONE", "WAKE"}, 0, None, 0
        say(f"thread {name}:")
        with Watch(places()) as watch:
            while place is not None and count < STORY_MAX:
                who = running()
                if who[0] == tid or place.stage in others:
                    same = same + 1 if place is last else 0
                    if same == 0:
                        say(f"  {stage_text(place.stage):<16} {words_at(place)}"
                            + ("" if who[0] == tid else f" [on thread {who[1]}]"))
                        say(f"  {'':<16}   {place.where()}")
                    else:
                        say(f"  {'':<16} {words_at(place)}")
                    last, count = place, count + 1
                if place.stage == "FAULT_RETURN" and who[0] == tid:
                    say(f"  {plural(count, 'stage')}.")
                    return
                place = watch.go()
        say("  The machine stopped for another reason before the fault ended." if place is None else
            f"  The fault has passed {count} stages and is still not over.")


Stages()
Step()
Undo()
Story()
