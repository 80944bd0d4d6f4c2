# SPDX-License-Identifier: BSD-2-Clause
"""A tale of the tour (kernel/tour_print.c), read back: its lines, and what the disk was asked for."""

import re

from guest import check, equal

PAGE = 4096
TRAP = r"page fault at 0x([0-9a-f]+): (\w+), in (\w+) mode, (.+) \(error 0x([0-9a-f]+)\)"


def number(pattern, text):
    found = re.search(pattern, text, re.M)
    check(found, f"no {pattern!r} in {text[-600:]!r}")
    return int(found.group(1), 0)


def pages_named(text):
    """"0-1, 3-11" -> {0, 1, 3, ...}"""
    pages = set()
    for part in text.split(", "):
        first, _, last = part.partition("-")
        pages |= set(range(int(first), int(last or first) + 1))
    return pages


class Act:
    """One act: its lines, each (microseconds, who, what), and its text."""

    def __init__(self, text):
        self.text = text
        self.lines = [(float(us), who, what) for us, who, what in
                      re.findall(r"^ *([0-9.]+) us  (\w+) +(.*)$", text, re.M)]
        times = [us for us, _, _ in self.lines]
        equal("the lines' times, sorted", times, sorted(times))

    def who(self, name, pattern=r"(.*)"):
        found = [re.fullmatch(pattern, what) for _, who, what in self.lines if who == name]
        return [m.groups() for m in found if m]

    def requests(self, disk="vda", write=False):
        """What the disk was asked to read, or to write: [(first sector, sectors)]"""
        what = "a request to write" if write else "a request"
        found = self.who("disk", rf"(?:\[\w+\] )?{disk} gets {what}: sectors (\d+)-(\d+) "
                         r"\((\d+) sectors, (\d+) bytes\)")
        requests = []
        for first, last, count, size in ((int(n) for n in m) for m in found):
            equal("the sectors of a request", (last - first + 1, size), (count, count * 512))
            requests.append((first, count))
        return requests

    def counter(self, name):
        return number(rf"^  counters: .*\b{name} \+(\d+)", self.text)
