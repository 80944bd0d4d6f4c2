# SPDX-License-Identifier: BSD-2-Clause
"""vm trace: the rings of events (kernel/trace.c), read from outside."""

import struct

import gdb
from common import Command, enumerators, need_kernel, plural, say, text

SHOWN = 40


def variable(name):
    return gdb.parse_and_eval(f"'kernel/trace.c'::{name}")


class Event:
    def __init__(self, raw, kinds):
        self.tsc, self.tid, self.type, self.cpu, *self.arg = struct.unpack("<QIHH4Q", raw)
        self.name, self.words = kinds.get(self.type, (f"type {self.type}", []))

    def value(self, *labels):
        """The word of one of these labels, or None."""
        return next((self.arg[i] for i, (_, label) in enumerate(self.words) if label in labels), None)

    def shown(self):
        out = []
        for i, (kind, label) in enumerate(self.words):
            if kind == "CHARS":
                chars = struct.pack(f"<{4 - i}Q", *self.arg[i:]).split(b"\0")[0]
                out.append(f"{label}={chars.decode(errors='replace')}")
                break
            if kind == "TEXT":
                out.append(f"{label}={text(gdb.Value(self.arg[i]).cast(gdb.lookup_type('char').pointer()))}")
            elif kind == "SIGNED":
                out.append(f"{label}={self.arg[i] - (self.arg[i] >> 63 << 64)}")
            else:
                out.append(f"{label}={self.arg[i]:#x}" if kind == "HEX" else f"{label}={self.arg[i]}")
        return " ".join(out)


def kinds():
    """{type: (name, [(kind, label)])}: trace.c's own table."""
    table, names, found = variable("types"), {}, {}
    for kind in ("END", "HEX", "DEC", "SIGNED", "TEXT", "CHARS"):
        names[int(gdb.parse_and_eval(f"'kernel/trace.c'::{kind}"))] = kind
    for number in enumerators("enum trace_type"):
        if number < table.type.range()[1] + 1:
            words = []
            for i in range(4):
                kind = names[int(table[number]["arg"][i]["kind"])]
                if kind == "END":
                    break
                words.append((kind, text(table[number]["arg"][i]["label"])))
            found[number] = (text(table[number]["name"]), words)
    return found


def events():
    """All events that the rings still hold, in the order of their times."""
    need_kernel()
    rings, size, found, table = variable("rings"), int(variable("ring_events")), [], kinds()
    for cpu in range(rings.type.range()[1] + 1):
        base, end = int(rings[cpu]["events"]), int(rings[cpu]["next"])
        if base == 0:
            continue
        one = gdb.lookup_type("struct trace_event").sizeof
        raw = bytes(gdb.selected_inferior().read_memory(base, size * one))
        for n in range(max(0, end - size), end):
            at = n % size * one
            found.append(Event(raw[at:at + one], table))
    return sorted(found, key=lambda e: e.tsc)


def times():
    """(TSC when the clock began, counts a second)"""
    return (int(gdb.parse_and_eval(f"'kernel/amd64/clock.c'::{n}")) for n in ("tsc_boot", "tsc_hz"))


def line(e):
    boot, hz = times()
    return f"{(e.tsc - boot) / hz if hz else 0:12.6f} cpu{e.cpu} tid{e.tid:<3} {e.name:<13} {e.shown()}"


def of_page(pfn, limit):
    """The last events of a page's life."""
    return [e for e in events() if e.value("page", "to", "from") == pfn
            and e.name in ("page-alloc", "page-queue", "page-enter", "page-dirty", "page-free", "copy", "zero-fill",
                           "object-lookup")][-limit:]


class Trace(Command):
    """Show the last events that the kernel has recorded: 40, or as many as asked for.

The kernel records when it was given the word `trace`, or after `trace on` in its monitor.

    (gdb) vm trace
    (gdb) vm trace 10

    vm trace [N]"""

    NAME = "trace"

    def run(self, args):
        if len(args) > 1:
            self.usage()
        found, n = events(), int(gdb.parse_and_eval(args[0])) if args else SHOWN
        if not found:
            say("Nothing has been recorded: the kernel's word `trace` switches it on, or `trace on` in its monitor.")
        for e in found[max(0, len(found) - n):]:
            say(line(e))
        if found:
            say(f"({plural(len(found), 'event')} in the rings)")


Trace()
