# SPDX-License-Identifier: BSD-2-Clause
"""vm threads, vm bt: who there is, what they wait for, and where they stand.

A thread that does not run has a struct switch_frame at its saved rsp (kernel/amd64/switch.S); from there its frame
pointers lead up, across trap frames, to thread_trampoline.
"""

import re
import struct

import gdb
from common import (Command, array_text, define, enum_word, evaluate, fetch, need_kernel, offset_of, pointer_to, register, say,
                    tailq, text)
import cpus

FRAMES_MAX = 64
# Where a sleeping thread always stands; what called these is where it waits.
SLEEP_FUNCTIONS = {"cpu_switch", "sched_switch", "give_way", "sched_preempt", "thread_yield", "tsleep", "tsleep_sig", "sleep_on", "spin_leave",
                   "spin_unlock", "lock_retake", "mutex_lock_slow", "mutex_lock", "rw_rlock_slow", "rw_wlock_slow",
                   "rw_rlock", "rw_wlock", "biowait", "trap", "intr_dispatch"}


def all_threads():
    need_kernel()
    for td in tailq(gdb.parse_and_eval("all_threads"), "all_link"):
        yield td, fetch(td)


def current():
    """The thread that runs on the processor gdb has selected.  => GdbError where a processor has not come so far"""
    i = cpus.index_here()
    if i is None and gdb.selected_thread().num > 1:
        raise gdb.GdbError("this processor runs no thread yet; `vm cpus` lists them, `thread 1` leads to the first")
    return gdb.parse_and_eval("cpus")[i or 0]["thread"]


def find_by_name(expression):
    """-> (pointer, structure), or None."""
    named = [(td, t) for td, t in all_threads() if array_text(t["name"]) == expression]
    if len(named) > 1:
        raise gdb.GdbError(f"{len(named)} threads are named {expression}; give a number: "
                           + ", ".join(str(int(t["tid"])) for _, t in named))
    return named[0] if named else None


def process(t):
    """The struct proc that a thread belongs to, or None: it is the kernel's."""
    return fetch(fetch(t["user"])["proc"]) if int(t["user"]) else None


def process_words(t):
    """Whose thread it is, as `pid program`."""
    p = process(t)
    return f"{int(p['pid'])} {array_text(p['name'])}" if p is not None else ""


def find_by_pid(pid):
    """The first thread of a process -> (pointer, structure)."""
    for td, t in all_threads():
        p = process(t)
        if p is not None and int(p["pid"]) == pid:
            return td, t
    raise gdb.GdbError(f"no thread belongs to a process {pid}; `vm threads` lists them")


def find(expression):
    """What the user calls a thread: its name, its number, `pid N`, or a struct thread *."""
    if match := re.fullmatch(r"pid (\d+)", expression):
        return find_by_pid(int(match.group(1)))
    named = find_by_name(expression)
    if named:
        return named
    try:
        value, tag = evaluate(expression)
    except gdb.error as e:
        raise gdb.GdbError(f"there is no thread {expression} ({e}); `vm threads` lists them") from None
    if tag == "thread":
        return pointer_to("struct thread", int(value)), fetch(value)
    for td, t in all_threads():
        if int(t["tid"]) == int(value):
            return td, t
    raise gdb.GdbError(f"there is no thread {int(value)}; `vm threads` lists them")


def of_pmap(address):
    """Names of the threads that use an address space, by its pmap's address."""
    offset = offset_of("struct vmspace", "pmap")
    return [f"{array_text(t['name'])} (tid {int(t['tid'])})" for _, t in all_threads()
            if int(t["vmspace"]) != 0 and int(t["vmspace"]) + offset == address]


# ---- backtraces -----------------------------------------------------------------------------------

class Frame:
    def __init__(self, pc, is_return, trap=None):
        self.pc, self.trap = pc, trap
        self.look_at = pc - 1 if is_return else pc      # a return address may lie behind the end of its function


def word(address):
    try:
        return struct.unpack("<Q", bytes(gdb.selected_inferior().read_memory(address, 8)))[0]
    except gdb.MemoryError:
        return None


def symbol_address(name):
    symbol = gdb.lookup_static_symbol(name) or gdb.lookup_global_symbol(name)
    return int(symbol.value().address) if symbol else int(gdb.parse_and_eval(f"(unsigned long)&{name}"))


def frames(t):
    """The frames of a thread that is not running, innermost first; the last may be in user mode."""
    saved = int(t["rsp"])
    rbp = word(saved + offset_of("struct switch_frame", "rbp"))
    pc = word(saved + offset_of("struct switch_frame", "rip"))
    traps = {symbol_address("trap_return_address"), symbol_address("trap_paranoid_return_address"),
             symbol_address("syscall_return_address")}
    if rbp is None or pc is None:
        raise gdb.GdbError(f"its saved stack pointer {saved:#x} points to no memory")
    found = [Frame(pc, True)]
    while len(found) < FRAMES_MAX and rbp:
        following, pc = word(rbp), word(rbp + 8)
        if following is None or not pc:
            break
        if pc in traps:
            trapframe = fetch(pointer_to("struct trapframe", rbp + 16))
            found.append(Frame(int(trapframe["rip"]), False, trapframe))
            if int(trapframe["cs"]) & 3:
                break
            rbp = int(trapframe["rbp"])
            continue
        found.append(Frame(pc, True))
        if following and following <= rbp:
            break
        rbp = following
    return found


def functions(address):
    """Names of the functions around an address, the innermost inlined one first."""
    names, block = [], None
    try:
        block = gdb.block_for_pc(address)
    except RuntimeError:
        pass
    while block is not None and not block.is_static and not block.is_global:
        if block.function is not None:
            names.append(block.function.name)
        block = block.superblock
    if not names:
        answer = gdb.execute(f"info symbol {address:#x}", to_string=True).strip()
        names = ["??" if answer.startswith("No symbol") else answer.split()[0]]
    return names


def place(address):
    line = gdb.find_pc_line(address)
    return f" at {line.symtab.filename}:{line.line}" if line.symtab is not None else ""


def say_backtrace(t):
    number = 0
    for frame in frames(t):
        if frame.trap is not None:
            vector, error = int(frame.trap["vector"]), int(frame.trap["error"])
            if vector == define("kernel/amd64/layout.h", "TRAP_SYSCALL"):
                say(f"    --- system call {error}, from user mode")
            else:
                say(f"    --- trap {vector}, error {error:#x}: interrupted here")
        names = functions(frame.look_at)
        for inlined in names[:-1]:
            say(f"#{number:<3}{inlined} (inlined)")
            number += 1
        say(f"#{number:<3}{frame.pc:#x} in {names[-1]}{place(frame.look_at)}")
        number += 1


def waits_in(t):
    """The function that a thread's wait belongs to."""
    for frame in frames(t):
        for name in functions(frame.look_at):
            if name not in SLEEP_FUNCTIONS:
                return name
    return "?"


# ---- commands -------------------------------------------------------------------------------------

class Threads(Command):
    """List all threads: state, class, what they wait for, pid and program, and the function that waits.

    (gdb) vm threads

    vm threads"""

    NAME = "threads"
    COMPLETE = gdb.COMPLETE_NONE

    def run(self, args):
        if args:
            self.usage()
        need_kernel()
        here, all_cpus = int(current()), gdb.parse_and_eval("cpus")
        on_cpu = {int(all_cpus[i]["thread"]): i for i in range(int(gdb.parse_and_eval("ncpus")))}
        say(f" {'tid':>4}  {'name':<20} {'state':<9} {'class':<8} {'waits for':<10} {'on':<19} {'program':<16} in")
        for td, t in all_threads():
            state = enum_word("enum thread_state", t["state"], "TD_")
            prio = enum_word("enum thread_prio", t["prio"], "PRI_")
            wait, on = (text(t["wmesg"]), f"{int(t['wchan']):#x}") if int(t["wchan"]) else ("-", "-")
            running = int(td) == here
            where = ("runs now" if running else f"runs on CPU {on_cpu[int(td)]}" if int(td) in on_cpu
                     else "" if state in ("running", "dead", "new") else waits_in(t))
            say(f"{'*' if running else ' '}{int(t['tid']):>4}  {array_text(t['name']):<20} {state:<9} {prio:<8} "
                f"{wait:<10} {on:<19} {process_words(t):<16} {where}")


class Backtrace(Command):
    """Show the backtrace of a thread, from the stack pointer it saved when it last gave up its processor.

Traps on the way are crossed.  For a thread that runs, on this or another processor, this is gdb's own `bt`.

    (gdb) vm bt 3
    (gdb) vm bt pageout
    (gdb) vm bt pid 1

    vm bt TID|NAME|pid N"""

    NAME = "bt"

    def run(self, args):
        if not args:
            self.usage()
        td, t = find(" ".join(args))
        name, state = array_text(t["name"]), enum_word("enum thread_state", t["state"], "TD_")
        if int(td) == int(current()):
            say(f"thread {int(t['tid'])}, {name}, runs now:")
            gdb.execute("bt")
            return
        if (elsewhere := cpus.running_elsewhere(td)) is not None:
            with cpus.At(elsewhere):
                say(f"thread {int(t['tid'])}, {name}, runs on CPU {cpus.index_here()}, gdb's thread {elsewhere.num}:")
                gdb.execute("bt")
            return
        wait = f", waits for {text(t['wmesg'])} on {int(t['wchan']):#x}" if int(t["wchan"]) else ""
        say(f"thread {int(t['tid'])}, {name}: {state}{wait}")
        if state == "dead":
            raise gdb.GdbError("it is dead and will never stand anywhere again")
        say_backtrace(t)


Threads()
Backtrace()
