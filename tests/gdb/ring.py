# SPDX-License-Identifier: BSD-2-Clause
"""vm trace: the rings of events (kernel/trace.c), read from outside."""

import os
import struct
import sys

import gdb
from common import Command, TOP, array_text, enumerators, need_kernel, plural, say, text

sys.path.insert(0, os.path.join(TOP, "tests", "host"))
import traceview  # noqa: E402

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


def as_file(found):
    """Events as `boot/qemu --trace` would have written them, with the threads' names: the input of tests/host/traceview.py."""
    import thread
    boot, hz = times()
    for _, t in thread.all_threads():
        yield f"# thread {int(t['tid'])} {array_text(t['name'])}"
    for e in found:
        ns = (e.tsc - boot) * 10**9 // hz if hz else 0
        yield f"{ns // 10**9:5}.{ns % 10**9:09} cpu{e.cpu} tid{e.tid:<3} {e.name:<13} {e.shown()}"


class Trace(Command):
    """Show the last events that the kernel has recorded: 40, or as many as asked for; or all of them in a file.

The kernel records when it was given the word `trace`, or after `trace on` in its monitor.  -f html writes a page with a
drawing, for a browser; -f json a file for ui.perfetto.dev; -f text a time line in words.  Each goes to build/trace.FORM
unless a file is named.

    (gdb) vm trace
    (gdb) vm trace 10
    (gdb) vm trace -f html build/fault.html

    vm trace [N | -f html|json|text [FILE]]"""

    NAME = "trace"

    def run(self, args):
        form = args[1] if len(args) in (2, 3) and args[0] == "-f" else None
        if len(args) > 1 and form not in ("html", "json", "text"):
            self.usage()
        found = events()
        if not found:
            say("Nothing has been recorded: the kernel's word `trace` switches it on, or `trace on` in its monitor.")
        elif form is not None:
            self.write(found, form, args[2] if len(args) == 3 else os.path.join(TOP, "build", "trace." + form))
        else:
            for e in found[max(0, len(found) - (int(gdb.parse_and_eval(args[0])) if args else SHOWN)):]:
                say(line(e))
            say(f"({plural(len(found), 'event')} in the rings)")

    def write(self, found, form, path):
        trace = traceview.Trace(as_file(found))
        try:
            with open(path, "w", encoding="utf-8") as f:
                f.write({"html": lambda: traceview.to_html(trace, "Faultline's trace, read by gdb"),
                         "json": lambda: traceview.json.dumps(traceview.to_json(trace)),
                         "text": lambda: "\n".join(traceview.timeline(trace)) + "\n"}[form]())
        except OSError as e:
            raise gdb.GdbError(f"{path} cannot be written: {e.strerror}") from None
        say(f"{os.path.relpath(path)}: {plural(len(trace.events), 'event')}")


Trace()
