# SPDX-License-Identifier: BSD-2-Clause
"""A trace as one page of HTML that needs nothing else: no script, no network, a drawing that a browser can search and print.

    CPUs      who ran on each
    threads   their faults and pager calls as brackets inside each other, sleeps, and single events as ticks
    disks     requests under way

An arrow leads from who asked a disk to who took its interrupt, and from who woke a thread to the sleep that this ended.

The time axis is not to scale: what follows at once is drawn apart, so that it can be seen, and a long wait takes little
room and has its length written above it.  Every bar and tick tells its words when the mouse is over it.
"""

from html import escape

PIXELS_A_MICROSECOND, STEP_MIN, STEP_MAX = 6, 7, 90
LABELS, LANE, TOP = 150, 18, 46         # pixels: left column, height of a lane, above the first
COLOURS = {"fault": "#d9534f", "pager-get": "#e8963a", "pager-put": "#b9770e", "disk-read": "#3f83c5", "disk-write": "#7d5ba6",
           "disk-flush": "#555", "asleep": "#c8cdd3"}
RUNS = "#6aa56a"
STYLE = """body{font:13px sans-serif;margin:1em;background:#fff;color:#222}.wide{overflow-x:auto;border:1px solid #ccc}
text{font:11px sans-serif;fill:#222}.gap,.head{fill:#777}.head{font-weight:bold}.lane{stroke:#e4e4e4}.cut{stroke:#ddd;stroke-dasharray:2 3}
.arrow{fill:none;stroke:#3f83c5;opacity:.6}"""


class Axis:
    """Where a time is drawn."""

    def __init__(self, times):
        self.x, at, before, self.gaps = {}, LABELS + 10, None, []
        for t in sorted(times):
            step = 0 if before is None else min(max((t - before) * PIXELS_A_MICROSECOND, STEP_MIN), STEP_MAX)
            if step == STEP_MAX:
                self.gaps.append((at + step / 2, t - before))
            at, before = at + step, t
            self.x[t] = at
        self.end = at + 40


class Bar:
    def __init__(self, name, start, end, args):
        self.name, self.start, self.end, self.args, self.lane = name, start, end, args, 0


class Row:
    """A CPU, a thread or a disk: its bars, in lanes so that none lies on another, and its ticks."""

    def __init__(self, name):
        self.name, self.bars, self.ticks, self.open, self.lanes, self.y = name, [], [], {}, 1, 0

    def settle(self):
        """Give each bar the first lane that is free where it begins; what lies inside another comes below it."""
        ends = []
        for bar in sorted(self.bars, key=lambda b: (b.start, -b.end)):
            lane = next((n for n, end in enumerate(ends) if end <= bar.start), len(ends))
            ends[lane:lane + 1] = [bar.end]
            bar.lane = lane
        self.lanes = max(1, len(ends))


def rows_of(events):
    """{(pid, tid): Row} and the arrows [(from row, time, to row, time)] of the trace events that traceview makes."""
    groups = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    rows = {(e["pid"], e["tid"]): Row(e["args"]["name"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    stacks, arrows, began = {}, [], {}
    for e in events:
        where, ph = (e["pid"], e["tid"]), e["ph"]
        if ph == "B":
            stacks.setdefault(where, []).append(e)
        elif ph == "E":
            b = stacks[where].pop()
            rows[where].bars.append(Bar(b["name"], b["ts"], e["ts"], {**b.get("args", {}), **e.get("args", {})}))
        elif ph == "X":
            rows[where].bars.append(Bar(e["name"], e["ts"], round(e["ts"] + e["dur"], 3), {}))
        elif ph == "b":
            began[e["id"]] = e
        elif ph == "e":
            b = began.pop(e["id"])
            rows[where].bars.append(Bar(b["name"], b["ts"], e["ts"], {**b["args"], **e["args"]}))
        elif ph == "i":
            rows[where].ticks.append(e)
        elif ph == "s":
            began["arrow", e["id"]] = where, e["ts"]
        elif ph == "f":
            arrows.append((*began.pop(("arrow", e["id"])), where, e["ts"]))
    return groups, rows, arrows


def words(args):
    return " ".join(f"{k}={v}" for k, v in args.items() if v is not None)


def microseconds(t):
    return f"{t / 1000:.3g} ms" if t >= 1000 else f"{t:.3g} us"


def svg(groups, rows, arrows):
    """Lines of the drawing."""
    axis = Axis({t for r in rows.values() for b in r.bars for t in (b.start, b.end)}
                | {e["ts"] for r in rows.values() for e in r.ticks} | {t for a in arrows for t in (a[1], a[3])})
    y, out = TOP, []
    for pid, title in groups.items():
        members = [(key, rows[key]) for key in sorted(rows) if key[0] == pid]
        if members:
            out.append(f'<text class="head" x="6" y="{y + 12}">{escape(title)}</text>')
            y += LANE
        for _, row in members:
            row.settle()
            row.y = y
            out.append(f'<line class="lane" x1="0" x2="{axis.end:.0f}" y1="{y}" y2="{y}"/>')
            out.append(f'<text x="14" y="{y + 13}">{escape(row.name)}</text>')
            y += LANE * row.lanes + 6
    for x, length in axis.gaps:
        out.append(f'<line class="cut" x1="{x:.0f}" x2="{x:.0f}" y1="{TOP - 14}" y2="{y}"/>')
        out.append(f'<text class="gap" text-anchor="middle" x="{x:.0f}" y="{TOP - 20}">{microseconds(length)}</text>')
    for row in rows.values():
        out += bars_of(row, axis)
    for a, start, b, end in arrows:
        if a in rows and b in rows:
            x1, x2, y1, y2 = axis.x[start], axis.x[end], rows[a].y + LANE / 2, rows[b].y + LANE / 2
            out.append(f'<path class="arrow" d="M{x1:.1f} {y1:.0f} C{x1:.1f} {(y1 + y2) / 2:.0f} {x2:.1f} {(y1 + y2) / 2:.0f} {x2:.1f} {y2:.0f}"/>')
    return [f'<svg width="{axis.end:.0f}" height="{y + 10}" xmlns="http://www.w3.org/2000/svg">', *out, "</svg>"]


def bars_of(row, axis):
    out = []
    for b in row.bars:
        x, width, y = axis.x[b.start], max(axis.x[b.end] - axis.x[b.start], 2), row.y + LANE * b.lane + 2
        colour = COLOURS.get(b.name.split(" in ")[0], RUNS)
        title = escape(f"{b.name}, {microseconds(b.end - b.start)}: {words(b.args)}")
        out.append(f'<g class="bar"><title>{title}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{LANE - 4}" '
                   f'rx="2" fill="{colour}"/>')
        if width > 7 * len(b.name):
            out.append(f'<text x="{x + 4:.1f}" y="{y + 11}">{escape(b.name)}</text>')
        out.append("</g>")
    for e in row.ticks:
        x, y = axis.x[e["ts"]], row.y + LANE * row.lanes
        out.append(f'<g class="tick"><title>{escape(e["name"] + " " + words(e.get("args", {})))}</title>'
                   f'<path d="M{x:.1f} {y - 4} l-3 7 h6 z" fill="#333"/></g>')
    return out


def page(title, events, lost):
    """The whole page."""
    note = f"<p>{lost} events were lost: the rings were overwritten before they were read.</p>" if lost else ""
    return "\n".join(["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">', f"<title>{escape(title)}</title>",
                      f"<style>{STYLE}</style></head><body>", f"<h1>{escape(title)}</h1>",
                      "<p>The time axis is not to scale: long waits are cut short and have their length above them.  "
                      "Words appear when the mouse is over a bar or a tick.</p>", note, '<div class="wide">',
                      *svg(*rows_of(events)), "</div></body></html>", ""])
