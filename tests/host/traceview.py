#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Show a trace that `boot/qemu --trace FILE` wrote: as a time line, as JSON for a viewer, or as a drawing in a page.

    tests/host/traceview.py build/trace.txt                     a time line, faults and requests as brackets
    tests/host/traceview.py build/trace.txt --json out.json     for ui.perfetto.dev or chrome://tracing
    tests/host/traceview.py build/trace.txt --html out.html     a page that needs nothing but a browser (tracehtml.py)
    tests/host/traceview.py build/trace.txt --thread tour       one thread's events only

The time line has a line for each event: seconds, CPU, thread, and what happened, indented by what is under way in
that thread (a page fault, a pager's call).  The JSON is the Trace Event Format, which both viewers load: a track for
each CPU with who ran on it, a track for each thread with its faults, pager calls, sleeps and instants, a track for
each disk with its requests, and arrows: from where a disk was asked to where its interrupt was taken, and from where a
thread was woken to its sleep, which that ends.
"""

import argparse
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tracehtml  # noqa: E402

LINE = re.compile(r"^ *(\d+)\.(\d{9}) cpu(\d+) tid(\d+) +(\S+) *(.*)$")
FIELD = re.compile(r"(\w[\w-]*)=(.*?)(?= \w[\w-]*=|$)")
# What begins and what ends it, in one thread: a bracket in the time line, a slice in the viewer.
SPANS = {"fault": "fault-return", "pager-get": "pager-done", "pager-put": "put-done"}
ENDS = {end: begin for begin, end in SPANS.items()}
REQUESTS = ("disk-read", "disk-write", "disk-flush")
# Three groups of tracks.  Perfetto looks a track's name up by its tid alone, and takes the one whose tid is the group's pid
# for its first, so each number is used once: a thread's own, and for CPUs and disks their number from their group's on.
PID_CPUS, PID_THREADS, PID_DISKS = 1000000, 2000000, 3000000


class Event:
    """ns since boot, CPU, thread's number, type, and the words as text and by name."""

    def __init__(self, seconds, nanos, cpu, tid, kind, words):
        self.ns, self.cpu, self.tid, self.kind, self.words = int(seconds) * 10**9 + int(nanos), int(cpu), int(tid), kind, words
        self.args = dict(FIELD.findall(words))


class Trace:
    """The events of a file in order, the threads' names, how many events were lost, and lines that made no sense."""

    def __init__(self, lines):
        self.events, self.names, self.lost, self.strange = [], {}, 0, []
        for text in lines:
            text = text.rstrip("\r\n")
            found = LINE.match(text)
            thread = re.match(r"^# thread (\d+) (.*)$", text)
            lost = re.match(r"^# (\d+) events lost$", text)
            if found:
                event = Event(*found.groups())
                self.events.append(event)
                if event.kind == "switch" and "name" in event.args:
                    self.names[int(event.args["tid"])] = event.args["name"]
            elif thread:
                self.names[int(thread.group(1))] = thread.group(2)
            elif lost:
                self.lost += int(lost.group(1))
            elif text:
                self.strange.append(text)

    def name(self, tid):
        return self.names.get(tid, f"thread {tid}")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return Trace(f)


# ---- the time line --------------------------------------------------------------------------------

def timeline(trace, only=None):
    """Lines of text."""
    depth, began = {}, {}
    for e in trace.events:
        open_spans = depth.setdefault(e.tid, [])
        after = ""
        if e.kind in ENDS and ENDS[e.kind] in open_spans:
            while open_spans.pop() != ENDS[e.kind]:
                pass
            after = f"  ({(e.ns - began.pop((e.tid, ENDS[e.kind]), e.ns)) / 1000:.1f} us)"
        elif e.kind == "disk-done" and e.args.get("buf") in began:
            after = f"  ({(e.ns - began.pop(e.args['buf'])) / 1000:.1f} us)"
        bar = "| " * len(open_spans)
        if e.kind in SPANS:
            open_spans.append(e.kind)
            began[(e.tid, e.kind)] = e.ns
        elif e.kind in REQUESTS:
            began[e.args.get("buf")] = e.ns
        if only is None or trace.name(e.tid) == only:
            yield f"{e.ns / 1e9:12.6f}  cpu{e.cpu}  {trace.name(e.tid):<12.12} {bar}{e.kind} {e.words}{after}"
    if trace.lost:
        yield f"({trace.lost} events were lost: the rings were overwritten before they were read)"


# ---- JSON -----------------------------------------------------------------------------------------

def meta(pid, tid, what, name):
    return {"ph": "M", "pid": pid, "tid": tid, "name": what, "args": {"name": name}}


def cpu_track(cpu):
    return PID_CPUS + 1 + cpu


class Json:
    """Builds the list of trace events."""

    def __init__(self, trace):
        self.trace, self.out, self.open, self.running = trace, [], {}, {}
        self.asleep, self.woken, self.requests, self.disks, self.arrows = {}, {}, {}, {}, 0
        self.switches = any(e.kind == "switch" for e in trace.events)
        for pid, name in ((PID_CPUS, "CPUs"), (PID_THREADS, "threads"), (PID_DISKS, "disks")):
            self.out.append(meta(pid, pid, "process_name", name))
        for e in trace.events:
            self.event(e)
        self.finish()
        for tid in sorted({e.tid for e in trace.events}):
            self.out.append(meta(PID_THREADS, tid, "thread_name", trace.name(tid)))
        for cpu in sorted({e.cpu for e in trace.events}):
            self.out.append(meta(PID_CPUS, cpu_track(cpu), "thread_name", f"cpu{cpu}"))
        for disk, track in self.disks.items():
            self.out.append(meta(PID_DISKS, track, "thread_name", f"disk {disk}"))
        # In order, and of one moment the slices first: an arrow's end at their beginning is to find them.
        self.out.sort(key=lambda e: (e.get("ts", -1), e["ph"] != "X"))

    def put(self, ph, pid, tid, ns, name, **more):
        self.out.append({"ph": ph, "pid": pid, "tid": tid, "ts": ns / 1000, "name": name, **more})

    def event(self, e):
        spans = self.open.setdefault(e.tid, [])
        if self.switches:
            self.running.setdefault(e.cpu, (e.ns, e.tid))
        if e.kind in SPANS:
            spans.append(e)
            self.put("B", PID_THREADS, e.tid, e.ns, e.kind, args=e.args)
        elif e.kind in ENDS:
            kind = ENDS[e.kind]
            if any(span.kind == kind for span in spans):
                self.end(e, kind, spans)
        elif e.kind == "switch":
            self.switch(e)
        elif e.kind == "sleep":
            self.asleep[e.tid] = (e.ns, e.args.get("wmesg", "?"))
        elif e.kind in REQUESTS:
            self.requests[e.args.get("buf")] = e, self.place(e)
        elif e.kind == "disk-done":
            self.done(e)
        else:
            self.put("i", PID_THREADS, e.tid, e.ns, e.kind, s="t", args=e.args)
        if e.kind == "wake":
            self.woken[int(e.args.get("woken", -1))] = self.place(e)

    def end(self, e, kind, spans):
        """The innermost span of this kind ends at the event, and with it all in it; a viewer wants each argument once."""
        begun = spans.pop()
        while begun.kind != kind:
            self.put("E", PID_THREADS, e.tid, e.ns, begun.kind)
            begun = spans.pop()
        self.put("E", PID_THREADS, e.tid, e.ns, kind, args={k: v for k, v in e.args.items() if k not in begun.args})

    def switch(self, e):
        """Who leaves ran on that CPU since it came; who comes has slept until now."""
        since = self.running.pop(e.cpu, None)
        if since is not None:
            self.put("X", PID_CPUS, cpu_track(e.cpu), since[0], self.trace.name(since[1]), dur=(e.ns - since[0]) / 1000)
        comes = int(e.args["tid"])
        self.running[e.cpu] = (e.ns, comes)
        slept = self.asleep.pop(comes, None)
        if slept is not None:
            self.put("X", PID_THREADS, comes, slept[0], f"asleep in {slept[1]}", dur=(e.ns - slept[0]) / 1000)
            waker = self.woken.pop(comes, None)
            if waker is not None and waker[2] >= slept[0]:
                self.arrow("wake", "thread", waker, (PID_THREADS, comes, waker[2]))

    def place(self, e):
        """The end of an arrow at an event: (pid, tid, ns) of a slice around it, for a viewer drops an arrow that ends nowhere."""
        return (PID_THREADS, e.tid, e.ns) if self.open.get(e.tid) else (PID_CPUS, cpu_track(e.cpu), e.ns)

    def arrow(self, name, category, start, end):
        ident = self.ident(category)
        self.put("s", *start, name, **ident)
        self.put("f", *end, name, bp="e", **ident)

    def done(self, e):
        start, place = self.requests.pop(e.args.get("buf"), (None, None))
        if start is None:
            return
        self.request(start, e.ns, {"error": e.args.get("error")}, self.ident("disk"))
        self.arrow("request", "disk", place, self.place(e))

    def ident(self, category):
        self.arrows += 1
        return {"id": self.arrows, "cat": category}

    def request(self, start, end_ns, result, ident):
        track = self.disks.setdefault(start.args["disk"], PID_DISKS + 1 + len(self.disks))
        self.put("b", PID_DISKS, track, start.ns, start.kind, args=start.args, **ident)
        self.put("e", PID_DISKS, track, end_ns, start.kind, args=result, **ident)

    def finish(self):
        """What is still under way when the trace ends, ends with it."""
        if not self.trace.events:
            return
        last = self.trace.events[-1].ns
        for tid, spans in self.open.items():
            for begun in reversed(spans):
                self.put("E", PID_THREADS, tid, last, begun.kind)
        for start, _ in self.requests.values():
            self.request(start, last, {}, self.ident("disk"))
        for cpu, (ns, tid) in self.running.items():
            self.put("X", PID_CPUS, cpu_track(cpu), ns, self.trace.name(tid), dur=(last - ns) / 1000)


def to_json(trace):
    return {"displayTimeUnit": "ns", "traceEvents": Json(trace).out}


def to_html(trace, title):
    return tracehtml.page(title, Json(trace).out, trace.lost)


def main(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", help="what boot/qemu --trace wrote")
    p.add_argument("--json", metavar="OUT", help="write JSON for Perfetto or Chrome to OUT instead of a time line")
    p.add_argument("--html", metavar="OUT", help="write a page with a drawing to OUT instead")
    p.add_argument("--thread", metavar="NAME", help="only the events that this thread recorded")
    opts = p.parse_args(argv)
    try:
        trace = read(opts.file)
        if not trace.events:
            print(f"traceview: no event is in {opts.file}", file=sys.stderr)
            return 1
        if opts.html is not None:
            with open(opts.html, "w", encoding="utf-8") as f:
                f.write(to_html(trace, f"Faultline: {os.path.basename(opts.file)}"))
            print(f"{opts.html}: {len(trace.events)} events, {trace.lost} lost; open it in a browser")
            return 0
        if opts.json is None:
            for line in timeline(trace, opts.thread):
                print(line)
            return 0
        with open(opts.json, "w", encoding="utf-8") as f:
            json.dump(to_json(trace), f)
        print(f"{opts.json}: {len(trace.events)} events, {trace.lost} lost; open it in https://ui.perfetto.dev")
    except BrokenPipeError:
        return 0
    except OSError as e:
        print(f"traceview: {e.filename or opts.file}: {e.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
