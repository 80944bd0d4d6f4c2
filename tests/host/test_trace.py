#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Does the trace tell the truth, and does the tool that shows it?

Two witnesses who know nothing of the kernel's own counting: QEMU's log has every exception that the processor took,
with its error code, its program counter and CR2; QEMU's block statistics have every request that a disk got.
"""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree

sys.dont_write_bytecode = True
import guest  # noqa: E402
import traceview  # noqa: E402
import volume  # noqa: E402
from guest import Live, check, contains, equal, scratch, test  # noqa: E402

STORY = "/tour/story.txt"
PATIENCE_SECONDS = 60       # until the last events are in the file: only how long a failure takes
USER_END = 1 << 47
VIEWER = os.path.join(guest.TOP, "tests", "host", "traceview.py")


def rebuilt_disk():
    """A disk of our own that may be written."""
    path = scratch("witness.img")
    subprocess.run(["cp", "--sparse=always", guest.default_disk(), path], check=True)
    return path


def trace_so_far(path):
    """Of a machine that goes on: what comes after the last whole line is still being written."""
    with open(path, encoding="utf-8", errors="replace") as f:
        return traceview.Trace(f.read().rpartition("\n")[0].splitlines())


def whole_trace(path):
    trace = traceview.read(path)
    equal("events lost", trace.lost, 0)
    equal("lines that are no event", trace.strange, [])
    check(trace.events, "no event was recorded")
    return trace


def faults_of(trace):
    return [(int(e.args["error"], 16), int(e.args["pc"], 16), int(e.args["va"], 16))
            for e in trace.events if e.kind == "fault"]


def faults_seen(log):
    """QEMU's own word: the page faults on user addresses, in order."""
    found = re.findall(r"v=0e e=([0-9a-f]+) .*? pc=([0-9a-f]+) .*?CR2=([0-9a-f]+)", log)
    return [f for f in ((int(e, 16), int(pc, 16), int(cr2, 16)) for e, pc, cr2 in found) if f[2] < USER_END]


def same_faults(told, seen):
    """The kernel's word against QEMU's, fault by fault; what only one of them has is shown."""
    only_told, only_seen = ([f"(error {e:#x}, pc {pc:#x}, address {va:#x})" for e, pc, va in (collections.Counter(a) - collections.Counter(b))]
                            for a, b in ((told, seen), (seen, told)))
    check(not only_told and not only_seen, f"of {len(seen)} faults that the processor took, the kernel does not tell of {only_seen[:5]}, "
          f"and it tells of {only_told[:5]}, which the processor did not take")


@test
def faults_are_those_that_the_processor_took():
    path = scratch("faults.trace")
    live = Live("--disk", rebuilt_disk(), "--trace", path, "--qemu", "-d int", words=["trace=fault*"])
    for line in (f"mapsum {STORY}", f"fault {STORY} 100000", f"fault {STORY} 70000 write", "fault /tour/sparse 5000",
                 f"fault {STORY} 999999999", "tour write", f"mapsum {STORY}"):
        live.ask(line)
    counted = int(re.search(r"(\d+)  v_vm_faults", live.ask("vmstat")).group(1))
    status, log = live.end()
    equal("the exit status", status, 0)
    told, seen = faults_of(whole_trace(path)), faults_seen(log)
    check(len(seen) > 15, f"only {len(seen)} page faults were taken")
    check({e & 7 for e, _, _ in seen} >= {0, 2, 3}, f"the kinds of fault are only {sorted({e for e, _, _ in seen})}")
    same_faults(told, seen)
    equal("the order of the faults", told, seen)
    equal("faults that vmstat counts", counted, len(seen))


@test
def faults_on_several_processors_are_all_told():
    """A program and its children fault on two CPUs: each has a ring of its own, and none of its faults is missing."""
    path, root, image = scratch("cpus.trace"), scratch("cpus-root"), scratch("cpus.img")
    for folder in ("bin", "dev", "proc", "tmp", "scratch"):
        os.makedirs(os.path.join(root, folder))
    shutil.copy(os.path.join(guest.TOP, "build", "user", "file_fifo"), os.path.join(root, "bin"))
    volume.mke2fs(image, 4096, 16 << 20, root)
    done = guest.Run("--smp", "2", "--disk", image, "--trace", path, "--qemu", "-d int", timeout=120,
                     words=["trace=fault*", "init=/bin/file_fifo", "--", "/scratch"])
    equal("the exit status", done.status, 0)
    trace = whole_trace(path)
    told, seen = faults_of(trace), faults_seen(done.log)
    cpus = {e.cpu for e in trace.events if e.kind == "fault"}
    equal("the CPUs that took a fault", cpus, {0, 1})
    check(len(seen) > 50, f"only {len(seen)} page faults were taken")
    # Two CPUs write to QEMU's log as it comes; what is compared is what happened, not in which order.
    same_faults(told, seen)


def disk_counts(trace):
    """By disk: requests and bytes read and written, and flushes."""
    counts = {}
    for e in trace.events:
        if e.kind in traceview.REQUESTS:
            c = counts.setdefault(e.args["disk"], [0] * 5)
            at = {"disk-read": 0, "disk-write": 2, "disk-flush": 4}[e.kind]
            c[at] += 1
            if at < 4:
                c[at + 1] += int(e.args["bytes"])
    return sorted(counts.values())


def open_requests(trace):
    """Requests that have begun and not ended, and ends without a beginning."""
    under_way, strange = {}, []
    for e in trace.events:
        buf = e.args.get("buf")
        if e.kind in traceview.REQUESTS:
            strange += [under_way[buf].words] if buf in under_way else []
            under_way[buf] = e
        elif e.kind == "disk-done" and under_way.pop(buf, None) is None:
            strange.append(e.words)
    return strange + [e.words for e in under_way.values()]


def disk_statistics(live):
    """The same from QEMU, and that nothing failed."""
    found = []
    for device in live.query("query-blockstats"):
        st = device["stats"]
        equal("requests that failed", (st["failed_rd_operations"], st["failed_wr_operations"]), (0, 0))
        c = [st["rd_operations"], st["rd_bytes"], st["wr_operations"], st["wr_bytes"], st["flush_operations"]]
        if any(c):
            found.append(c)
    return sorted(found)


@test
def requests_are_those_that_the_disks_got():
    path, swap = scratch("disk.trace"), scratch("swap.img")
    with open(swap, "wb") as f:
        f.truncate(8 << 20)
    live = Live("--disk", rebuilt_disk(), "--disk", swap, "--trace", path, timeout=120, words=["trace=disk-*", "swap=vdb"])
    for line in (f"sum {STORY}", "tour write", "drop", f"mapsum {STORY}", "tour memory"):
        live.ask(line)
    end = time.monotonic() + PATIENCE_SECONDS
    while (told := disk_counts(trace := trace_so_far(path))) != (seen := disk_statistics(live)) or open_requests(trace):
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    equal("requests whose end was not recorded", open_requests(trace), [])
    equal("[reads, bytes, writes, bytes, flushes] by disk", told, seen)
    check(len(seen) == 2 and all(c[0] and c[2] for c in seen), f"too little happened: {seen}")
    counted = live.ask("disks")
    equal("the exit status", live.end()[0], 0)
    whole_trace(path)
    for reads, _, writes, _, _ in seen:
        check(re.search(rf"\b{reads}\b.*\b{writes}\b", counted, re.S), f"`disks` does not count {reads} and {writes}: {counted}")


@test
def switched_on_at_run_time():
    path = scratch("late.trace")
    live = Live("--disk", rebuilt_disk(), "--trace", path, words=["trace=nothing-like-that"])
    live.ask(f"sum {STORY}")
    contains("the monitor", live.ask("trace on nosuch"), "no type of event is called `nosuch`")
    live.ask("trace on disk-read,bmap")
    live.ask("drop")
    live.ask(f"mapsum {STORY}")
    live.ask("trace off")
    live.ask("drop")
    live.ask(f"mapsum {STORY}")
    equal("the exit status", live.end()[0], 0)
    trace = whole_trace(path)
    equal("the types recorded", {e.kind for e in trace.events}, {"disk-read", "bmap"})
    reads = [e for e in trace.events if e.kind == "disk-read" and int(e.args["bytes"]) > 4096]
    check(sum(int(e.args["bytes"]) for e in reads) <= 300 << 10, "the second reading was recorded, too")


# ---- the tool -------------------------------------------------------------------------------------

def balanced(events):
    """B and E of each thread match like brackets, no argument said twice; b and e, s and f come in pairs."""
    open_spans, pairs = {}, {}
    for e in events:
        key = (e["pid"], e["tid"])
        if e["ph"] == "B":
            open_spans.setdefault(key, []).append(e)
        elif e["ph"] == "E":
            check(open_spans.get(key), f"an end without a beginning: {e}")
            begun = open_spans[key].pop()
            equal("the span that ends", e["name"], begun["name"])
            equal("arguments said twice", set(begun["args"]) & set(e.get("args", {})), set())
        elif e["ph"] in "besf":
            pairs.setdefault((e["ph"] in "be", e["id"]), []).append(e["ph"])
    equal("spans left open", [k for k, v in open_spans.items() if v], [])
    equal("pairs that are none", [p for k, p in pairs.items() if p != (["b", "e"] if k[0] else ["s", "f"])], [])


NUMBER, TEXT, COUNT, WORDS = (int, float), str, int, dict
# The Trace Event Format, as far as it is used: for each phase the fields that it must have, of which type; no others.
SCHEMA = {ph: {"pid": COUNT, "tid": COUNT, "name": TEXT, **more} for ph, more in {
    "M": {"args": WORDS}, "B": {"ts": NUMBER, "args": WORDS}, "E": {"ts": NUMBER, "args": WORDS},
    "X": {"ts": NUMBER, "dur": NUMBER}, "i": {"ts": NUMBER, "s": TEXT, "args": WORDS},
    "b": {"ts": NUMBER, "id": COUNT, "cat": TEXT, "args": WORDS}, "e": {"ts": NUMBER, "id": COUNT, "cat": TEXT, "args": WORDS},
    "s": {"ts": NUMBER, "id": COUNT, "cat": TEXT}, "f": {"ts": NUMBER, "id": COUNT, "cat": TEXT, "bp": TEXT}}.items()}


def follows_the_schema(document):
    equal("the fields of the document", set(document), {"displayTimeUnit", "traceEvents"})
    check(document["displayTimeUnit"] in ("ms", "ns"), document["displayTimeUnit"])
    for e in document["traceEvents"]:
        fields = SCHEMA.get(e.get("ph"))
        check(fields is not None, f"no such phase: {e}")
        check(set(e) - {"ph"} in (set(fields), set(fields) - {"args"} if e["ph"] == "E" else set(fields)), f"fields too many or missing: {e}")
        for name, kind in fields.items():
            check(name not in e or isinstance(e[name], kind) and not isinstance(e[name], bool), f"{name} has the wrong type: {e}")
        check(e["pid"] > 0 and e["tid"] >= 0 and e.get("ts", 0) >= 0 and e.get("dur", 0) >= 0, f"a number is negative: {e}")
        check(e["ph"] != "M" or e["name"] in ("process_name", "thread_name") and isinstance(e["args"].get("name"), str), f"metadata: {e}")
        check(e.get("s", "t") in ("t", "p", "g") and e.get("bp", "e") == "e", f"scope or binding point: {e}")


def slices(events):
    """{(pid, tid): [(start, end, name)]} of what a viewer draws as a bar on a track."""
    found, stacks = {}, {}
    for e in events:
        where = e["pid"], e["tid"]
        if e["ph"] == "X":
            found.setdefault(where, []).append((e["ts"], e["ts"] + e["dur"], e["name"]))
        elif e["ph"] == "B":
            stacks.setdefault(where, []).append(e)
        elif e["ph"] == "E":
            b = stacks[where].pop()
            found.setdefault(where, []).append((b["ts"], e["ts"], b["name"]))
    return found


def arrows(events):
    """[(arrow's name, the innermost slice where it begins, and where it ends)]: a viewer drops an arrow with an end in no slice."""
    bars, began, found = slices(events), {}, []
    for e in events:
        if e["ph"] in "sf":
            around = [b for b in bars.get((e["pid"], e["tid"]), []) if b[0] - 0.001 <= e["ts"] <= b[1] + 0.001]
            check(around, f"an arrow's end lies in no slice: {e}")
            name = min(around, key=lambda b: b[1] - b[0])[2]
            if e["ph"] == "s":
                began[e["id"]] = name, e["ts"]
            else:
                start, ts = began.pop(e["id"])
                check(ts <= e["ts"], f"an arrow leads back in time: {e}")
                found.append((e["name"], start, name))
    return found


@test
def the_tool_shows_all_of_it():
    path, out = scratch("view.trace"), scratch("view.json")
    guest.Run("--smp", "2", "--trace", path, words=["tour"])
    trace = whole_trace(path)
    text = subprocess.run([VIEWER, path], stdout=subprocess.PIPE, text=True, check=True).stdout
    equal("the lines of the time line", len(text.splitlines()), len(trace.events))
    for pattern in (r"tour +fault va=0x", r"tour +\| pager-get ", r"tour +\| \| disk-read ", r"fault-return .* \([0-9.]+ us\)$",
                    r"disk-done .* \([0-9.]+ us\)$", r"\S+ +switch tid=\d+ name=tour"):
        check(re.search(pattern, text, re.M), f"no line {pattern!r} in the time line")
    subprocess.run([VIEWER, path, "--json", out], stdout=subprocess.DEVNULL, check=True)
    with open(out, encoding="utf-8") as f:
        document = json.load(f)
    follows_the_schema(document)
    events = document["traceEvents"]
    balanced(events)
    faults = [e for e in events if e["ph"] == "B" and e["name"] == "fault"]
    equal("faults in the JSON", len(faults), sum(e.kind == "fault" for e in trace.events))
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    check({"tour", "main", "cpu0", "cpu1"} <= names, f"the tracks are {sorted(names)}")
    tracks = [(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"]
    equal("tracks whose number is another's, too", len(tracks) - len({tid for _, tid in tracks} - {pid for pid, _ in tracks}), 0)
    led = arrows(events)
    equal("arrows for requests", sum(name == "request" for name, _, _ in led), sum(e.kind == "disk-done" for e in trace.events))
    check(("request", "pager-get") in {arrow[:2] for arrow in led}, f"no arrow leads from a pager's call to its interrupt: {led}")
    ends = [end for name, _, end in led if name == "wake"]
    # A disk that answers at once leaves nobody asleep for it; but main waits for the tour's end.
    check("asleep in join" in ends and all(end.startswith("asleep in ") for end in ends), f"arrows that wake lead to {ends}")
    woken = {trace.name(int(e.args["woken"])) for e in trace.events if e.kind == "wake"}
    check("main" in woken, f"who is woken: {sorted(woken)}")


@test
def the_page_draws_all_of_it():
    path, out = scratch("page.trace"), scratch("page.html")
    guest.Run("--trace", path, words=["tour"])
    trace = whole_trace(path)
    subprocess.run([VIEWER, path, "--html", out], stdout=subprocess.DEVNULL, check=True)
    with open(out, encoding="utf-8") as f:
        text = f.read()
    check(not re.search(r"<script|<link|src=|url\(|@import", text), "the page wants something from elsewhere")
    drawing = xml.etree.ElementTree.fromstring(re.search(r"<svg.*</svg>", text, re.S).group())
    titles = [t.text for t in drawing.iter("{http://www.w3.org/2000/svg}title")]
    for kind in ("fault", "pager-get", *traceview.REQUESTS):
        equal(f"bars of {kind}", sum(t.startswith(kind + ", ") for t in titles), sum(e.kind == kind for e in trace.events))
    equal("ticks for page-enter", sum(t.startswith("page-enter ") for t in titles), sum(e.kind == "page-enter" for e in trace.events))
    width = float(drawing.get("width"))
    for r in drawing.iter("{http://www.w3.org/2000/svg}rect"):
        check(0 < float(r.get("x")) < float(r.get("x")) + float(r.get("width")) <= width, f"a bar lies outside: {r.attrib}")


@test
def the_tool_survives_a_broken_file():
    path = scratch("broken.trace")
    with open(path, "w", encoding="utf-8") as f:
        f.write("# thread 2 main\n# 7 events lost\n    1.000000000 cpu0 tid2   fault-return  va=0x1 result=0 ns=5\n"
                "    1.000000100 cpu0 tid2   disk-done     disk=0x1 sector=8 error=0 buf=0x9\n"
                "    1.000000200 cpu0 tid2   fault         va=0x1 pc=0x2 map=0x3 error=0x0\nnonsense\n    1.0000")
    trace = traceview.read(path)
    equal("events, events lost and strange lines", (len(trace.events), trace.lost, len(trace.strange)), (3, 7, 2))
    contains("the time line", "\n".join(traceview.timeline(trace)), "7 events were lost")
    balanced(traceview.to_json(trace)["traceEvents"])
    contains("the page", traceview.to_html(trace, "broken"), "7 events were lost")


if __name__ == "__main__":
    sys.exit(guest.main("trace"))
